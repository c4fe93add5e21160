"""Tests of the widgets of lesson 04: the figures in the charts are right by hand, and every control redraws."""

import math
import re
import time

import pytest
import torch
from figures import cut_off
from matplotlib.patches import Rectangle

from inception_lessons import experiments, measure, plots, widgets

OPTIMUM = experiments.smoothing_optimum


# ------------------------------------------------------------------------------------------------- the smoothing slider


def loss_by_hand(gap, classes, smoothing):
    """Cross-entropy of one right logit ``gap`` above the others against the smoothed target, by a loop."""
    total = math.exp(gap) + classes - 1
    loss = 0.0
    for k in range(classes):
        target = smoothing / classes + (1 - smoothing if k == 0 else 0)
        loss -= target * math.log((math.exp(gap) if k == 0 else 1.0) / total)
    return loss


def bars(ax):
    """Series -> heights of its bars, in order."""
    return {
        name: [bar.get_height() for bar in made] for made, name in zip(*ax.get_legend_handles_labels(), strict=True)
    }


@pytest.mark.parametrize(
    "smoothing, classes, gap", [(0.1, 10, 9.0), (0.3, 2, 1.0), (0.05, 1000, 14.0), (0.9, 5, 0.0), (0.0, 10, 6.0)]
)
def test_the_smoothed_label_and_its_loss_are_right(smoothing, classes, gap):
    chart = widgets.smoothing_chart(OPTIMUM, smoothing=smoothing, classes=classes, gap=gap)
    left, right = chart.figure.axes
    total = math.exp(gap) + classes - 1
    told = [1 - smoothing + smoothing / classes] + [smoothing / classes] * (min(classes, 10) - 1)
    says = [math.exp(gap) / total] + [1 / total] * (min(classes, 10) - 1)
    assert bars(left) == {"it is told": pytest.approx(told), "it says": pytest.approx(says)}
    lines = {line.get_label(): line for line in right.get_lines()}
    drawn = {"labels as they are": 0.0} | ({f"smoothed by {smoothing:.2f}": smoothing} if smoothing else {})
    for name, amount in drawn.items():
        for x, y in zip(*lines[name].get_data(), strict=True):
            assert y == pytest.approx(loss_by_hand(float(x), classes, amount), abs=1e-9)
    here = loss_by_hand(gap, classes, smoothing)
    marks = {
        line.get_marker(): line.get_xydata()[0].tolist() for line in right.get_lines() if len(line.get_xdata()) == 1
    }
    assert marks["s"] == pytest.approx([gap, here])
    assert f"loss is {here:.3f}." in chart.alt and f"{classes:,} classes" in chart.alt
    if smoothing:
        best = math.log((1 - smoothing + smoothing / classes) * classes / smoothing)
        assert marks["*"] == pytest.approx([best, loss_by_hand(best, classes, smoothing)])
        x, y = lines[f"smoothed by {smoothing:.2f}"].get_data()
        assert min(y) == pytest.approx(marks["*"][1], abs=1e-3) and min(y) >= marks["*"][1] - 1e-9
        assert f"least, {marks['*'][1]:.3f}, at a gap of {best:.2f}" in chart.alt
    else:
        assert "*" not in marks and "no gap is the best" in chart.alt
        assert [text.get_text() for text in right.texts] == ["no least: it falls for ever"]


def test_the_chart_says_what_it_draws_of_the_classes():
    labels = {
        classes: widgets.smoothing_chart(OPTIMUM, smoothing=0.1, classes=classes, gap=3.0).figure.axes[0].get_xlabel()
        for classes in (2, 10, 1000)
    }
    assert labels == {2: "and the one other", 10: "and the 9 others", 1000: "and 999 others, the first 9 drawn"}
    text = widgets.smoothing_chart(OPTIMUM, smoothing=0.1, classes=10, gap=0.0).figure.axes[0].texts[0].get_text()
    assert re.findall(r"(right|other)\s+(\S+)\s+(\S+)", text) == [
        ("right", "0.910", "0.100"),
        ("other", "0.01", "0.100"),
    ]
    nothing = widgets.smoothing_chart(OPTIMUM, smoothing=0.0, classes=10, gap=14.0)
    assert ("other", "0", "8e-07") in re.findall(
        r"(right|other)\s+(\S+)\s+(\S+)", nothing.figure.axes[0].texts[0].get_text()
    )
    assert nothing.alt.endswith("loss is 7e-06."), "a loss that is almost nothing is not nothing"


@pytest.mark.parametrize(
    "state, said",
    [
        ({"smoothing": 1.0}, "smoothing is at least 0 and below 1, not 1.0"),
        ({"smoothing": -0.1}, "not -0.1"),
        ({"smoothing": math.nan}, "not nan"),
        ({"classes": 1}, "classes is a whole number of at least 2, not 1"),
        ({"classes": 2.5}, "not 2.5"),
        ({"gap": 14.5}, "the gap is from 0 to 14, not 14.5"),
        ({"gap": -1.0}, "not -1.0"),
    ],
)
def test_a_label_that_cannot_be_drawn_is_said(state, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        widgets.smoothing_chart(OPTIMUM, **({"smoothing": 0.1, "classes": 10, "gap": 3.0} | state))


def test_smoothing_slider(page):
    widgets.smoothing_slider(OPTIMUM)
    controls, (handle,) = page.controls(), page.handles
    assert [control.value for control in controls.values()] == [0.1, 10, 9.0]
    state = {"smoothing": 0.1, "classes": 10, "gap": 9.0}
    moves = [("smoothing", "smoothing", 0.3), ("classes", "classes", 1000), ("logit gap", "gap", 4.5)]
    for count, (label, key, value) in enumerate([*moves, ("smoothing", "smoothing", 0.0)], 1):
        controls[label].value, state[key] = value, value
        assert len(handle.shown) == count + 1
        assert handle.shown[-1].png == widgets.smoothing_chart(OPTIMUM, **state).png
    assert len({chart.png for chart in handle.shown}) == 5 and len({chart.alt for chart in handle.shown}) == 5


def test_every_end_of_the_sliders_can_be_drawn(page):
    widgets.smoothing_slider(OPTIMUM)
    controls, (handle,) = page.controls(), page.handles
    for classes in (controls["classes"].options[0], controls["classes"].options[-1]):
        controls["classes"].value = classes
        for label in ("smoothing", "logit gap"):
            for end in (controls[label].min, controls[label].max):
                controls[label].value = end
    assert not any("No chart" in chart.alt for chart in handle.shown)
    bests = [OPTIMUM(classes, 0.05).gap for classes in controls["classes"].options]
    assert max(bests) < controls["logit gap"].max, "the best gap is on the chart for every stop but 0"


# ---------------------------------------------------------------------------------------------- the reliability diagram


def shaky(count=600, classes=5, seed=0):
    """Logits that are too sure, and labels drawn from softer ones."""
    numbers = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, classes, generator=numbers)
    labels = torch.multinomial((logits / 2).softmax(1), 1, generator=numbers)[:, 0]
    return logits, labels


def by_hand(logits, labels, temperature, bins):
    """Confidence, accuracy and count of each bin by loops; and accuracy, mean confidence and calibration error."""
    rows = [[] for _ in range(bins)]
    for row, label in zip((logits.double() / temperature).tolist(), labels.tolist(), strict=True):
        shares = [math.exp(value - max(row)) for value in row]
        sure = max(shares) / sum(shares)
        rows[min(math.ceil(sure * bins) - 1, bins - 1)].append((sure, row.index(max(row)) == label))
    found = [(sum(s for s, _ in r) / len(r), sum(ok for _, ok in r) / len(r), len(r)) if r else None for r in rows]
    total = len(labels)
    means = [sum(cell[i] * cell[2] for cell in found if cell) / total for i in (1, 0)]
    error = sum(abs(cell[0] - cell[1]) * cell[2] for cell in found if cell) / total
    return found, means, error


def boxes(ax):
    """Bars of an axis as (x of the middle, bottom, height, colour, alpha)."""
    shown = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    return [
        (b.get_x() + b.get_width() / 2, b.get_y(), b.get_height(), plots.PALETTE.index(_hex(b)), b.get_alpha())
        for b in shown
    ]


def _hex(patch):
    return "#" + "".join(f"{round(255 * part):02X}" for part in patch.get_facecolor()[:3])


def drawn(chart):
    """The axes of a diagram that hold something: the first of a figure is the invisible canvas."""
    return [ax for ax in chart.figure.axes if ax.get_visible()]


@pytest.mark.parametrize("temperature, bins", [(1.0, 15), (3.0, 8), (0.5, 30)])
def test_the_diagram_is_right_by_hand(temperature, bins):
    logits, labels = shaky()
    before = logits.clone()
    chart = widgets.reliability_chart(logits, labels, temperature=temperature, bins=bins, name="Shaky")
    found, (accuracy, confidence), error = by_hand(logits, labels, temperature, bins)
    top, below = drawn(chart)
    shown = boxes(top)
    for k, cell in enumerate(found):
        mine = sorted(box[1:] for box in shown if abs(box[0] - (k + 0.5) / bins) < 1e-9)
        if cell is None:
            assert mine == []
            continue
        sure, right, n = cell
        base, gap = mine
        assert base[:3] == (0, pytest.approx(min(sure, right), abs=1e-6), 0)
        assert gap[:2] == (pytest.approx(min(sure, right), abs=1e-6), pytest.approx(abs(sure - right), abs=1e-6))
        assert gap[2] == (1 if sure > right else 2), "another colour for too sure and for not sure enough"
        assert (base[3] < 0.5) == (n < 20), "pale where there are few"
    assert [bar.get_height() for bar in below.patches] == [cell[2] if cell else 0 for cell in found]
    text = top.texts[0].get_text()
    assert [float(number) for number in re.findall(r"[\d.]+$", text, re.MULTILINE)] == [
        pytest.approx(value, abs=6e-4) for value in (accuracy, confidence, error)
    ]
    word = "over" if confidence > accuracy else "under"
    assert (
        f"Shaky, temperature {temperature:g}: accuracy {accuracy:.3f}" in chart.alt and f"{word}-confident" in chart.alt
    )
    assert f"calibration error {error:.3f}" in chart.alt and f"in {bins} bins" in chart.alt
    assert torch.equal(logits, before)


def test_temperature_turns_too_sure_into_not_sure_enough():
    logits, labels = shaky()
    said = [
        re.search(r"(over|under)-confident", widgets.reliability_chart(logits, labels, temperature=number).alt).group(1)
        for number in (1.0, 4.0)
    ]
    assert said == ["over", "under"]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"temperature": 0.0}, "the temperature is a number above 0, not 0.0"),
        ({"temperature": math.inf}, "not inf"),
        ({"temperature": -1.0}, "not -1.0"),
        ({"bins": 0}, "bins is a whole number of at least 1, not 0"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, "labels are (600,) whole numbers, not (3,)"),
        ({"logits": torch.full((600, 5), math.nan)}, "logits must be numbers"),
    ],
)
def test_a_diagram_that_cannot_be_drawn_is_said(change, said):
    logits, labels = shaky()
    with pytest.raises(ValueError, match=re.escape(said)):
        widgets.reliability_chart(**({"logits": logits, "labels": labels} | change))


def test_reliability_diagram(page):
    first, second = shaky(), shaky(seed=1)
    widgets.reliability_diagram({"first": first, "second": second})
    controls, (handle,) = page.controls(), page.handles
    assert list(controls) == ["network", "temperature", "bins"] and controls["temperature"].value == 1.0
    controls["network"].value = "second"
    controls["temperature"].value = 2.5
    controls["bins"].value = 7
    assert len({chart.png for chart in handle.shown}) == 4 and len({chart.alt for chart in handle.shown}) == 4
    wanted = widgets.reliability_chart(*second, temperature=2.5, bins=7, name="second")
    assert handle.shown[-1].png == wanted.png and handle.shown[-1].alt == wanted.alt
    assert handle.shown[0].alt == widgets.reliability_chart(*first, name="first").alt


def test_one_network_needs_no_choice_and_none_is_said(page):
    widgets.reliability_diagram({"only": shaky()}, bins=10)
    assert list(page.controls()) == ["temperature", "bins"] and page.controls()["bins"].value == 10
    with pytest.raises(ValueError, match="no network to draw"):
        widgets.reliability_diagram({})


# ---------------------------------------------------------------------------------------------------- several diagrams


def test_panels_pool_the_networks_of_an_arm():
    sets = [shaky(seed=seed) for seed in range(3)]
    found = [measure.calibration(*one, 10) for one in sets]
    together = by_hand(torch.cat([x for x, _ in sets]), torch.cat([y for _, y in sets]), 1.0, 10)
    chart = widgets.reliability_panels({"three": found, "one": found[0]}, title="Pooled")
    top, below, *_ = drawn(chart)
    for k, cell in enumerate(together[0]):
        mine = sorted(box[1:3] for box in boxes(top) if abs(box[0] - (k + 0.5) / 10) < 1e-9)
        if cell is None:
            assert mine == []
        else:
            assert mine[0][1] == pytest.approx(min(cell[:2]), abs=1e-6)
            assert mine[1] == pytest.approx((min(cell[:2]), abs(cell[0] - cell[1])), abs=1e-6)
    assert [bar.get_height() for bar in below.patches] == [cell[2] if cell else 0 for cell in together[0]]
    mean = sum(one.ece for one in found) / 3
    assert f"three: accuracy {together[1][0]:.3f}, confidence {together[1][1]:.3f}" in chart.alt
    assert f"calibration error {mean:.3f}. one: " in chart.alt and f"error {found[0].ece:.3f}." in chart.alt
    assert abs(mean - together[2]) > 1e-4, "the mean error of three is not the error of their pool"


def test_panels_take_bins_as_results_files_have_them():
    """An empty bin is None there and nan in a Calibration."""
    whole = measure.Calibration(0.1, 0.5, (math.nan, 0.7), (math.nan, 0.6), (0, 40))
    stored = measure.Calibration(0.1, 0.5, (None, 0.7), (None, 0.6), (0, 40))
    charts = [widgets.reliability_panels({"a": [one, one]}, title="Stored") for one in (whole, stored)]
    assert charts[0].png == charts[1].png and "accuracy 0.600, confidence 0.700" in charts[0].alt
    assert not cut_off(charts[0]), "one panel is narrow, and must have room for the keys"


def test_panels_that_cannot_be_drawn_are_said():
    fifteen, ten = (measure.calibration(*shaky(), bins) for bins in (15, 10))
    with pytest.raises(ValueError, match=re.escape("pooled bin by bin, but they have [10, 15] bins")):
        widgets.reliability_panels({"mixed": [fifteen, ten]}, title="t")
    with pytest.raises(ValueError, match="they have no bins"):
        widgets.reliability_panels({"none": []}, title="t")
    with pytest.raises(ValueError, match="no network to draw"):
        widgets.reliability_panels({}, title="t")


def test_a_move_is_answered_soon():
    """Well under a second on a quiet machine; the limit leaves room for a busy one."""
    logits, labels = shaky(4000, 10)
    widgets.reliability_chart(logits, labels)
    start = time.process_time()
    widgets.reliability_chart(logits, labels, bins=30)
    widgets.smoothing_chart(OPTIMUM, smoothing=0.1, classes=1000, gap=3.0)
    assert time.process_time() - start < 2
