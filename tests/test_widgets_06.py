"""Tests of the widgets of lesson 06: the race that is played, and the linked views."""

import math
import re
import time

import ipywidgets
import pytest

from inception_lessons import plots, widgets

WIDGETS = (widgets.race, widgets.linked_views)


def racer(curve, *, seconds=0.1, macs=1e9, memory=None):
    """A network of one seed that was measured every ten steps; its accuracy mirrors its loss."""
    return plots.Racer(
        steps=[10 * (k + 1) for k in range(len(curve))],
        loss=[list(curve)],
        accuracy=[[1 - value / 3 for value in curve]],
        macs=macs,
        seconds=seconds,
        params=1000,
        memory=memory,
    )


@pytest.fixture
def field():
    """The first leads at the start, the second at the end; the second takes twice as long, the third diverges."""
    return {
        "V1": racer([2.0, 1.0, 0.9, 0.8]),
        "V4": racer([2.2, 1.5, 0.7, 0.3], seconds=0.2, macs=3e9, memory=10**8),
        "plain": racer([2.1, 1.2, 5.0, math.nan], seconds=0.05, macs=2e9),
    }


# ------------------------------------------------------------------------------------------------------------ the race


@pytest.mark.parametrize("far", [0, 50, 100])
@pytest.mark.parametrize("by, last", [("steps", 40), ("multiply-adds", 1.2e11), ("seconds", 8.0)])
@pytest.mark.parametrize("quantity", plots.QUANTITIES)
def test_race_chart_is_the_race_at_this_share_of_the_way(field, far, by, last, quantity):
    chart = widgets.race_chart(field, far, by, quantity)
    wanted = plots.race(field, at=last * far / 100, by=by, quantity=quantity)
    assert chart.alt == wanted.alt and chart.png == wanted.png
    if far == 100:
        assert "at the end" in chart.figure.get_suptitle()


def test_race_chart_reads_by_hand(field):
    # 25 steps: V1 midway from 1.0 to 0.9, V4 midway from 1.5 to 0.7, plain midway from 1.2 to 5.0
    assert "Standing: 1. V1 0.950, 2. V4 1.100, 3. plain 3.100." in widgets.race_chart(field, 62.5).alt
    end = widgets.race_chart(field, 100).alt
    assert "Standing: 1. V4 0.300, 2. V1 0.800. Diverged: plain." in end
    # at 2 of 8 seconds V1 is at step 20, V4 at step 10, and plain at step 40, where it has no number any more
    early = widgets.race_chart(field, 25, "seconds").alt
    assert "Standing: 1. V1 1.000, 2. V4 2.200. Diverged: plain." in early
    late = widgets.race_chart(field, 100, "seconds").alt
    assert "Standing: 1. V4 0.300. Ended before, held at their last value and not ranked: V1 0.800." in late
    best = widgets.race_chart(field, 100, quantity="accuracy").alt
    assert f"Standing: 1. V4 {1 - 0.3 / 3:.3f}, 2. V1 {1 - 0.8 / 3:.3f}." in best


@pytest.mark.parametrize("far", [-1, 101, math.nan, math.inf])
def test_a_share_outside_the_race_is_refused(field, far):
    with pytest.raises(ValueError, match=re.escape(f"between 0 and 100 per cent raced; got {far!r}")):
        widgets.race_chart(field, far)


def test_race_moves(field, page):
    assert widgets.race(field) is None
    controls, (handle,) = page.controls(), page.handles
    assert list(controls) == ["play", "raced, in %", "over", "for"]
    assert handle.shown[0].alt == widgets.race_chart(field, 100).alt, "at first its end: the whole race"
    assert controls["over"].options == tuple(plots.AXES) and controls["for"].options == tuple(plots.QUANTITIES)
    controls["raced, in %"].value = 50
    controls["over"].value = "seconds"
    controls["for"].value = "accuracy"
    wanted = [(100, "steps", "loss"), (50, "steps", "loss"), (50, "seconds", "loss"), (50, "seconds", "accuracy")]
    assert [chart.alt for chart in handle.shown] == [widgets.race_chart(field, *state).alt for state in wanted]
    assert len({chart.png for chart in handle.shown}) == 4
    assert len({chart.title for chart in handle.shown}) == 1, "nbval compares this line"


def test_play_drives_the_slider(field, page, monkeypatch):
    linked = []
    monkeypatch.setattr(ipywidgets, "jslink", lambda *ends: linked.append(ends))
    widgets.race(field, by="seconds", quantity="accuracy")
    controls = page.controls()
    play, far = controls["play"], controls["raced, in %"]
    assert isinstance(play, ipywidgets.Play) and linked == [((play, "value"), (far, "value"))]
    for limit in ("min", "max", "step", "value"):
        assert getattr(play, limit) == getattr(far, limit), "the two must agree, or one pulls the other back"
    assert (far.min, far.max, far.value) == (0, 100, 100) and (far.max - far.min) % far.step == 0
    frames = (far.max - far.min) / far.step
    assert 10 <= frames * play.interval / 1000 <= 20, "a race is watched in a quarter of a minute"
    assert not play.repeat and not play.show_repeat
    row = page.plain[0].children[0]
    assert isinstance(row, ipywidgets.HBox) and row.children == (play, far)
    assert (controls["over"].value, controls["for"].value) == ("seconds", "accuracy")


def test_a_linked_pair_is_one_link_and_one_redraw(field, page):
    """`jslink` lives in the page; the kernel sees the slider's new value, and must draw once for it."""
    widgets.race(field)
    controls, (handle,) = page.controls(), page.handles
    controls["play"].value = 40
    assert len(handle.shown) == 1, "a new value of Play alone draws nothing: the slider brings it"
    controls["raced, in %"].value = 40
    assert len(handle.shown) == 2


def test_a_redraw_is_fast():
    """Ten networks of five seeds: processor time, so that a busy machine is no reason to fail."""
    ten = {
        f"network {i}": plots.Racer(
            steps=[10 * (k + 1) for k in range(25)],
            loss=[[2.3 / (1 + 0.1 * k * (1 + i / 5) + 0.02 * seed) for k in range(25)] for seed in range(5)],
            accuracy=[[1 - 0.8 / (1 + 0.1 * k) for k in range(25)] for seed in range(5)],
            macs=1e9 * (1 + i),
            seconds=0.05 * (1 + i),
            params=1000,
        )
        for i in range(10)
    }
    widgets.race_chart(ten, 60)  # the first drawing loads fonts
    took = []
    for far in (20, 40, 60, 80, 100):
        began = time.process_time()
        widgets.race_chart(ten, far)
        took.append(time.process_time() - began)
    assert min(took) < 0.5, "a quarter of a second is wanted on a quiet machine"


# ---------------------------------------------------------------------------------------------------- the linked views


def test_linked_views_move(field, page):
    assert widgets.linked_views(field) is None
    controls, (handle,) = page.controls(), page.handles
    assert controls["network"].options == (("all networks", ""), ("V1", "V1"), ("V4", "V4"), ("plain", "plain"))
    assert controls["network"].index == 0, "one of them is chosen, or the page shows an empty list"
    assert handle.shown[0].alt == plots.linked(field).alt
    controls["network"].value = "V4"
    assert handle.shown[1].alt == plots.linked(field, highlight="V4").alt and "V4 is coloured" in handle.shown[1].alt
    controls["network"].value = "plain"
    assert (
        len({chart.png for chart in handle.shown}) == 3
        and "memory of a step (bytes): not measured" in handle.shown[2].alt
    )


def test_linked_views_begin_where_they_are_told(field, page):
    widgets.linked_views(field, "V1")
    assert page.controls()["network"].value == "V1" and "V1 is coloured" in page.handles[0].shown[0].alt


@pytest.mark.parametrize(
    "show, arguments, sentence",
    [
        *((show, ({},), "there are no racers") for show in WIDGETS),
        (widgets.race, (None, "hours"), "run over steps, multiply-adds, seconds; got 'hours'"),
        (widgets.race, (None, "steps", "beauty"), "for loss or accuracy; got 'beauty'"),
        (widgets.linked_views, (None, "V9"), "no network 'V9'; there are V1, V4, plain"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_anything_is(show, arguments, sentence, field, page):
    racers, *others = arguments
    with pytest.raises(ValueError, match=re.escape(sentence)):
        show(field if racers is None else racers, *others)
    assert page.plain == [] and page.handles == []
