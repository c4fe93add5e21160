"""Tests of the widget of lesson 07: any two costs of the networks against each other."""

import re

import pytest
from figures import cut_off

from inception_lessons import widgets

MACS, MS, SIZE = "multiply-adds (G)", "milliseconds an image, forward", "parameters (M)"
PAPER = {
    "V1": {MACS: 1.6, MS: 32.0, SIZE: 7.0},
    "VGG": {MACS: 16.0, MS: 80.0, SIZE: 138.0},
    "counted only": {MACS: 5.0, SIZE: 24.0},
}
SMALL = {"tiny": {MACS: 0.01, MS: 0.5}, "V1": {MACS: 0.02, MS: 0.75}}


def places(chart):
    (ax,) = chart.figure.axes
    return {text.get_text(): text.xy for text in ax.texts if not text.get_text().endswith("a second")}


def rates(chart):
    return [text.get_text() for text in chart.figure.axes[0].texts if text.get_text().endswith("a second")]


def test_cost_chart_draws_who_has_both_costs():
    chart = widgets.cost_chart(PAPER, MACS, MS, "V1", "VGG")
    (ax,) = chart.figure.axes
    assert places(chart) == {"V1": (1.6, 32.0), "VGG": (16.0, 80.0)}
    assert (ax.get_xlabel(), ax.get_ylabel()) == (MACS, MS)
    assert ax.get_title(loc="left") == "V1 over VGG: 0.1 times the multiply-adds, 0.4 times the milliseconds"
    for said in ("2 networks", "0.1 times the multiply-adds, 0.4 times", "Most multiply-adds for its milliseconds has"):
        assert said in chart.alt
    assert "has VGG, fewest V1: 4 times apart" in chart.alt
    assert "100 G a second" in rates(chart), "1.6 G in 32 ms are 50 G a second, 16 G in 80 ms 200 G"


def test_the_other_way_round_is_the_other_ratio():
    chart = widgets.cost_chart(PAPER, SIZE, MACS, "VGG", "V1")
    assert "VGG over V1: 20 times the parameters, 10 times the multiply-adds" in chart.alt
    assert set(places(chart)) == set(PAPER) and rates(chart) == [], "parameters a multiply-add are no rate"


def test_two_kinds_of_milliseconds_are_told_apart_and_the_title_is_read_to_its_end():
    both, long = f"{MS} and backward", "Inception-ResNet-v2 (slim)"
    points = {long: {MS: 32.0, both: 90.0}, "Inception-ResNet-v1": {MS: 80.0, both: 200.0}}
    chart = widgets.cost_chart(points, MS, both, long, "Inception-ResNet-v1")
    said = f"{long} over Inception-ResNet-v1: 0.4 times the milliseconds forward, 0.45 times the milliseconds forward"
    assert f"{said} and backward." in chart.alt
    (ax,) = chart.figure.axes
    assert ax.get_title(loc="left").replace("\n", " ") == f"{said} and backward"
    assert not cut_off(chart)


def test_one_cost_against_itself_and_one_network_with_itself():
    chart = widgets.cost_chart(PAPER, MACS, MACS, "V1", "V1")
    assert chart.figure.axes[0].get_title(loc="left") == "V1 over V1: 1 times the multiply-adds"


@pytest.mark.parametrize(
    "state, sentence",
    [
        ((PAPER, "weight", MS, "V1", "VGG"), "no network has the cost 'weight'; there are multiply-adds (G), "),
        ((PAPER, MACS, MS, "counted only", "VGG"), f"'counted only' has no {MACS} and {MS} here; these have: V1, VGG"),
        ((PAPER, MACS, MS, "V1", "V9"), "'V9' has no"),
        (({"a": {MACS: 0.0, MS: 1.0}, "b": {MACS: 1.0, MS: 1.0}}, MACS, MS, "a", "b"), "a has (0.0, 1.0)"),
    ],
)
def test_what_cannot_be_drawn_is_said(state, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        widgets.cost_chart(*state)


def test_cost_explorer_moves(page):
    assert widgets.cost_explorer({"paper's": PAPER, "small": SMALL}, MACS, MS, "V1", "VGG") is None
    controls, (handle,) = page.controls(), page.handles
    assert list(controls) == ["networks", "across", "up", "compare", "with"]
    assert controls["networks"].options == ("paper's", "small")
    assert controls["across"].options == controls["up"].options == (MACS, MS, SIZE)
    assert controls["compare"].options == ("V1", "VGG", "counted only", "tiny")
    assert handle.shown[0].alt == widgets.cost_chart(PAPER, MACS, MS, "V1", "VGG").alt
    controls["up"].value = SIZE
    assert handle.shown[-1].alt == widgets.cost_chart(PAPER, MACS, SIZE, "V1", "VGG").alt
    controls["with"].value = "counted only"
    assert handle.shown[-1].alt == widgets.cost_chart(PAPER, MACS, SIZE, "V1", "counted only").alt
    controls["compare"].value = "VGG"
    controls["across"].value = SIZE
    assert handle.shown[-1].alt == widgets.cost_chart(PAPER, SIZE, SIZE, "VGG", "counted only").alt
    controls["networks"].value = "small"
    assert "No chart: ValueError: no network has the cost 'parameters (M)'" in handle.shown[-1].alt
    controls["across"].value, controls["up"].value = MACS, MS
    controls["compare"].value, controls["with"].value = "tiny", "V1"
    assert handle.shown[-1].alt == widgets.cost_chart(SMALL, MACS, MS, "tiny", "V1").alt


def test_cost_explorer_starts_with_the_first_and_the_last(page):
    widgets.cost_explorer({"small": SMALL}, MACS, MS)
    assert (page.controls()["compare"].value, page.controls()["with"].value) == ("tiny", "V1")


@pytest.mark.parametrize("sets", [{}, {"empty": {}}])
def test_nothing_to_choose_from(sets, page):
    with pytest.raises(ValueError, match="nothing to choose from"):
        widgets.cost_explorer(sets, MACS, MS)
    with pytest.raises(ValueError, match="no network has the cost 'x'"):
        widgets.cost_explorer({"small": SMALL}, "x", MS)
