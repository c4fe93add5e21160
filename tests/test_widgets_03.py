"""Tests of the widgets of lesson 03: what a unit sees, what a reduction hands on, and where two outputs differ. And of
its check of the module that a learner completes.
"""

import re
from collections import OrderedDict
from pathlib import Path

import ipywidgets
import nbformat
import pytest
import torch
from torch import nn

from inception_lessons import inception_v3, layers, measure, plots, widgets
from inception_lessons.experiments import FORMS, REDUCTIONS, Reduction
from inception_lessons.widgets import lesson_03

POOL, CONVOLVE, BESIDE = REDUCTIONS
NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "03_factorization.ipynb"


def beside(c_in, c_out, n):
    """A row and a column side by side: a cross."""
    row, column = (nn.Conv2d(c_in, c_out, kernel, padding=layers.same(kernel)) for kernel in ((1, n), (n, 1)))
    return layers.Concat(row=row, column=column)


# --------------------------------------------------------------------------------------------------- what one unit sees


def binomial(n):
    """Paths through as many 3 x 3 as see n: [1, 1, 1] times itself (n - 1) / 2 times."""
    row = torch.ones(1)
    for _ in range((n - 1) // 2):
        row = torch.conv1d(row[None, None], torch.ones(1, 1, 3), padding=2)[0, 0]
    return row


@pytest.mark.parametrize("n", [3, 5, 7, 9])
def test_sight_counts_the_paths(n):
    torch.manual_seed(0)
    even = torch.full((n, n), 1 / n**2)
    torch.testing.assert_close(lesson_03.sight(FORMS["n x n"](3, 4, n)), even)
    torch.testing.assert_close(lesson_03.sight(FORMS["1 x n + n x 1"](3, 4, n)), even)
    row = binomial(n)
    torch.testing.assert_close(lesson_03.sight(FORMS["3 x 3 stacked"](3, 4, n)), row.outer(row) / row.sum() ** 2)
    cross = lesson_03.sight(beside(3, 4, n))
    assert int((cross > 0).sum()) == 2 * n - 1 and float(cross[n // 2, n // 2]) == pytest.approx(2 / (2 * n))


def test_sight_is_not_square_where_the_kernel_is_not():
    seen = lesson_03.sight(nn.Conv2d(2, 2, (1, 7), padding=(0, 3)))
    assert seen.shape == (7, 7) and seen.sum(1).tolist() == pytest.approx([0, 0, 0, 1, 0, 0, 0])


def test_sight_looks_through_any_normalization_and_a_pool_alone():
    norms = [nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4, track_running_stats=False), nn.LocalResponseNorm(3)]
    for norm in norms:
        torch.testing.assert_close(
            lesson_03.sight(nn.Sequential(nn.Conv2d(3, 4, 3), norm)), torch.full((3, 3), 1 / 9), rtol=1e-6, atol=0
        )
    torch.testing.assert_close(lesson_03.sight(nn.MaxPool2d(3, 1, 1)), torch.full((3, 3), 1 / 9))


def test_sight_is_what_measure_says_of_a_whole_network():
    torch.manual_seed(0)
    parts = [layers.conv(3, 4, 7, 2), nn.MaxPool2d(3, 2), layers.conv_bn(4, 4, 3), nn.AvgPool2d(3, 1, 1)]
    stack = nn.Sequential(*parts)
    network = nn.Sequential(OrderedDict(all=stack))
    assert lesson_03.sight(stack).shape == measure.receptive_field(network, "all", 64) == (27, 27)


def test_sight_does_not_depend_on_the_weights_and_leaves_the_module_alone():
    torch.manual_seed(0)
    stack = FORMS["3 x 3 stacked"](3, 4, 5).train()
    stack(torch.randn(8, 3, 9, 9))  # statistics that are not fresh
    with torch.no_grad():
        stack[0].conv.weight[:, :, 0, 0] = 0.0
        stack[0].norm.bias -= 3.0
    before = {key: value.clone() for key, value in stack.state_dict().items()}
    row = binomial(5)
    torch.testing.assert_close(lesson_03.sight(stack), row.outer(row) / 81)
    assert stack.training and all(torch.equal(value, before[key]) for key, value in stack.state_dict().items())


def test_what_cannot_be_seen_is_said():
    with pytest.raises(ValueError, match=r"no grid of positions but \(1, 6075\)"):
        lesson_03.sight(nn.Sequential(nn.Conv2d(3, 27, 1), nn.Flatten()))
    with pytest.raises(ValueError, match="more than 63 x 63"):
        lesson_03.sight(nn.Conv2d(1, 1, 65, padding=32))
    with pytest.raises(ValueError, match="no module to look through"):
        widgets.sight_chart({}, 17)


# ---------------------------------------------------------------------------------------------------------- sight_chart


def shown(chart):
    """The maps of a sight chart, cut to what is drawn, and the words under them."""
    maps = [ax.images[0].get_array().filled(0) for ax in chart.figure.axes if ax.images]
    words = [ax.texts[0].get_text() for ax in chart.figure.axes if not ax.images]
    return [torch.tensor(one) for one in maps], words


def test_sight_chart_says_what_each_form_costs():
    chart = widgets.sight_chart({name: make(64, 64, 5) for name, make in FORMS.items()}, 17)
    maps, words = shown(chart)
    assert words == [
        f"{25 * 64 * 64:,} weights\n{25 * 64 * 64 * 17**2 / 1e6:.1f} M multiply-adds",
        f"{18 * 64 * 64:,} weights (28% fewer)\n{18 * 64 * 64 * 17**2 / 1e6:.1f} M multiply-adds",
        f"{10 * 64 * 64:,} weights (60% fewer)\n{10 * 64 * 64 * 17**2 / 1e6:.1f} M multiply-adds",
    ]
    assert [one.shape for one in maps] == [(7, 7)] * 3 and all(float(one.sum()) == pytest.approx(1) for one in maps)
    assert float(maps[1][3, 3]) == pytest.approx(9 / 81) and float(maps[1][1, 1]) == pytest.approx(1 / 81)
    assert not maps[0][0].any() and "sees 5 x 5" in chart.alt and "11.1%" in chart.alt and "28% fewer" in chart.alt
    lengths = [ax.patches[1].get_width() for ax in chart.figure.axes if not ax.images]
    assert lengths == pytest.approx([1, 0.72, 0.4])


def test_sight_chart_of_a_cross_and_of_something_dearer():
    chart = widgets.sight_chart({"one": nn.Conv2d(8, 8, 3, padding=1), "cross": beside(8, 8, 5)}, 9)
    titles = [ax.get_title(loc="center") for ax in chart.figure.axes if ax.images]
    assert titles == ["one\nsees 3 x 3", "cross\nsees 5 x 5, 9 of 25 places"]
    assert f"{2 * 5 * 8 * 8:,} weights (11% more)" in chart.alt


def test_numbers_are_written_into_small_maps_only():
    texts = [
        [t.get_text() for t in widgets.sight_chart({"k": FORMS["n x n"](4, 4, n)}, 17).figure.axes[0].texts]
        for n in (5, 9)
    ]
    assert texts == [["4"] * 25, []]


# ------------------------------------------------------------------------------------------------- reductions, by hand


def by_hand(how, k, out, d):
    """Numbers that pass after each step, multiply-adds and weights, from the formulas of section 5."""
    half = d // 2
    if how == POOL:
        return [k * half**2, out * half**2], 9 * k * out * half**2, 9 * k * out
    if how == CONVOLVE:
        return [out * d**2, out * half**2], 9 * k * out * d**2, 9 * k * out
    return [out * half**2], 9 * k * (out - k) * half**2, 9 * k * (out - k)


@pytest.mark.parametrize("how", REDUCTIONS)
@pytest.mark.parametrize("k, out, d", [(320, 640, 34), (24, 72, 8), (96, 120, 16)])
def test_steps_of_a_reduction(how, k, out, d):
    found = lesson_03.steps(Reduction(k, out, how=how), k, d)
    passed, macs, _ = by_hand(how, k, out, d)
    assert [step.handed_on for step in found] == passed and found[-1].side == d // 2
    assert sum(part.macs for step in found for part in step.parts) == macs
    pools = [[part.pools for part in step.parts] for step in found]
    assert pools == {POOL: [[True], [False]], CONVOLVE: [[False], [True]], BESIDE: [[False, True]]}[how]
    words = {part.words for step in found for part in step.parts}
    assert words == {"max pool 3 x 3 / 2", "convolution 3 x 3" + (" / 2" if how == BESIDE else "")}


@pytest.mark.parametrize("how", REDUCTIONS)
def test_reduction_chart_shows_these_numbers(how):
    k, out, d = 48, 96, 16
    forms = {name: Reduction(k, out, how=name) for name in REDUCTIONS}
    chart = widgets.reduction_chart(forms, how, k, d)
    flow, costs = chart.figure.axes
    passed, _, _ = by_hand(how, k, out, d)
    written = [text.get_text() for text in flow.texts]
    assert all(f"{count:,}" in written for count in [k * d**2, *passed])
    heights = {}
    for patch in flow.patches:  # bars side by side are stacked at one place
        heights[round(patch.get_x(), 3)] = heights.get(round(patch.get_x(), 3), 0) + patch.get_height()
    assert list(heights.values()) == [k * d**2, *passed]
    by_name = {name: by_hand(name, k, out, d)[1:] for name in REDUCTIONS}
    assert [patch.get_width() for patch in costs.patches] == pytest.approx([m / 1e6 for m, _ in by_name.values()])
    for (name, (macs, weights)), text in zip(by_name.items(), costs.texts, strict=True):
        assert text.get_text() == f"{name}\n{lesson_03._millions(macs)}, {weights:,} weights"
        assert (text.get_weight() == "bold") == (name == how)
    neck = any("bottleneck" in text for text in written)
    assert neck == (how == POOL) and (f"a bottleneck of {passed[0]:,}" in chart.alt) == neck
    assert chart.alt.startswith(f"{how}: {k * d**2:,} numbers go in, then {', '.join(f'{p:,}' for p in passed)} pass")


def test_pooling_first_is_a_bottleneck_however_little_it_widens():
    for out in (49, 60, 480):
        chart = widgets.reduction_chart({POOL: Reduction(48, out, how=POOL)}, POOL, 48, 8)
        assert f"a bottleneck of {48 * 4**2:,}" in chart.alt


def test_millions_keep_their_digits():
    assert [lesson_03._millions(count) for count in (20_736, 7_990_272, 10_000_000, 2_130_739_200)] == [
        "0.021 M",
        "7.99 M",
        "10.0 M",
        "2,130.7 M",
    ]


def test_any_reduction_will_do_and_what_is_none_is_said():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(6, 8, 1)
            self.rest = nn.Sequential(layers.Concat(a=nn.AvgPool2d(2), b=layers.conv(8, 4, (1, 3), 2)))

        def forward(self, x):
            return self.rest(self.first(x))

    found = lesson_03.steps(Mine(), 6, 10)
    assert [(step.handed_on, [part.words for part in step.parts]) for step in found] == [
        (800, ["convolution 1 x 1"]),
        (300, ["mean pool 2 x 2 / 2", "convolution 1 x 3 / 2"]),
    ]
    with pytest.raises(ValueError, match="convolutions and pools, not of Linear"):
        lesson_03.steps(nn.Sequential(nn.Linear(3, 3)), 3, 4)
    with pytest.raises(ValueError, match="no reduction 'none'; there are a"):
        widgets.reduction_chart({"a": nn.MaxPool2d(2)}, "none", 3, 4)


# ----------------------------------------------------------------------------------------------------- difference_chart


def test_difference_chart_marks_the_places_that_differ():
    apart = torch.zeros(4, 5, 5)
    apart[0, 0, :], apart[:2, 2, 2], apart[3, 4, 4] = 1.0, 0.5, 5e-4
    chart = widgets.difference_chart({"rim": apart, "none": torch.zeros(4, 5, 5)})
    first, second, *_ = chart.figure.axes
    wanted = torch.zeros(5, 5)
    wanted[0, :], wanted[2, 2] = 0.25, 0.5
    assert torch.equal(torch.tensor(first.images[0].get_array()), wanted) and first.images[0].get_clim() == (0, 0.5)
    assert "rim, 6 of 25 positions; none, 0 of 25 positions" in chart.alt and not second.images[0].get_array().any()
    assert "rim, 7 of 25" in widgets.difference_chart({"rim": apart}, least=1e-4).alt
    with pytest.raises(ValueError, match="no difference to draw"):
        widgets.difference_chart({})


# --------------------------------------------------------------------------------------------------------- the controls


def pictures(page):  # noqa: F811
    """What was shown, one after the other."""
    (handle,) = page.handles
    return handle.shown


def moved(page, description, value):  # noqa: F811
    """Move one control; the picture that comes."""
    before = len(pictures(page))
    page.controls()[description].value = value
    assert len(pictures(page)) == before + 1
    chart = pictures(page)[-1]
    assert "No chart" not in chart.alt and chart.png != pictures(page)[-2].png
    return chart


def test_every_control_of_the_receptive_viewer_redraws(page):  # noqa: F811
    widgets.receptive_viewer(FORMS | {"one beside": beside})
    assert (
        pictures(page)[0].alt
        == widgets.sight_chart(
            {"5 x 5": FORMS["n x n"](64, 64, 5), "3 x 3 stacked": FORMS["3 x 3 stacked"](64, 64, 5)}, 17
        ).alt
    )
    assert page.controls()["left"].options == (*FORMS, "one beside")
    assert "1 x 5 + 5 x 1 sees 5 x 5" in moved(page, "right", "1 x n + n x 1").alt
    assert "1 x 5 + 5 x 1 sees" in moved(page, "left", "3 x 3 stacked").alt
    assert "1 x 11 + 11 x 1 sees 11 x 11" in moved(page, "n", 11).alt
    assert f"{22 * 192 * 192:,} weights" in moved(page, "channels", 192).alt
    assert f"{22 * 192 * 192 * 35**2 / 1e6:,.1f} M" in moved(page, "grid", 35).alt
    assert "one beside sees 11 x 11" in moved(page, "left", "one beside").alt, "only n itself is replaced"
    alone = moved(page, "left", "1 x n + n x 1")
    assert sum(bool(ax.images) for ax in alone.figure.axes) == 1, "one form is shown once"


@pytest.mark.parametrize("n", lesson_03.SIZES)
def test_the_viewer_shows_every_size(page, n):  # noqa: F811
    widgets.receptive_viewer(FORMS, n=n, channels=16)
    assert re.search(rf"{n} x {n} sees {n} x {n}, .*3 x 3 stacked sees {n} x {n}, ", pictures(page)[0].alt)


def test_every_control_of_the_reduction_chooser_redraws(page):  # noqa: F811
    widgets.reduction_chooser(Reduction, REDUCTIONS)
    assert "320 x 17 x 17\nbottleneck" in [text.get_text() for text in pictures(page)[0].figure.axes[0].texts]
    assert moved(page, "reduction", BESIDE).alt.startswith(f"{BESIDE}: {320 * 34**2:,} numbers go in")
    assert f"then {2 * 96 * 17**2:,} pass" in moved(page, "channels in", 96).alt
    assert f"then {120 * 17**2:,} pass" in moved(page, "times wider", 1.25).alt
    assert f"then {120 * 4**2:,} pass" in moved(page, "grid", 8).alt
    for times in page.controls()["times wider"].options:
        for count in page.controls()["channels in"].options:
            assert count * times == int(count * times), "no channel is lost in rounding"


def test_sliders_redraw_once_they_are_let_go(page):  # noqa: F811
    widgets.receptive_viewer(FORMS)
    stops = [c for c in page.controls().values() if isinstance(c, ipywidgets.SelectionSlider)]
    assert len(stops) == 2 and not any(one.continuous_update for one in stops)


def test_an_error_is_a_sentence_on_the_page(page):  # noqa: F811
    widgets.receptive_viewer({"a": lambda c_in, c_out, n: nn.Flatten(), "b": FORMS["n x n"]})
    assert (
        isinstance(pictures(page)[0], plots.Chart)
        and "ValueError: this module puts out no grid" in pictures(page)[0].alt
    )


# --------------------------------------------------------------------------- the check of the module that one completes


@pytest.fixture(scope="module")
def lesson():
    """The half-given module, the check and the answer of the lesson, as the page has them."""
    code = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    (stub,) = (source for source in code if "class MyInceptionB" in source)
    (check,) = (source for source in code if "def compare" in source)
    (answer,) = (source for source in code if "class Answer" in source)
    return stub.split("checks.run(")[0], check, answer.split("sentence, apart = ")[0]


def told(lesson, answer=None):
    """What the lesson's check says of an answer, and of the half-given module where there is none."""
    names = {"torch": torch, "nn": nn, "layers": layers, "inception_v3": inception_v3}
    exec("\n".join((*lesson[:2], answer or "Answer = MyInceptionB")), names)  # the page's own cells
    return names["compare"](names["Answer"])[0]


def test_what_is_not_written_yet_is_said(lesson):
    with pytest.raises(NotImplementedError, match="build_twice"):
        told(lesson)


def test_the_answer_passes(lesson):
    assert told(lesson, lesson[2]) == "Equal weights, equal outputs (2, 768, 17, 17): it is the package's module."


def test_another_right_answer_passes(lesson):
    other = """
class Answer(MyInceptionB):
    def build_twice(self, c_in, r7, n77):
        conv = layers.conv_bn
        column, row = {"padding": (3, 0)}, {"padding": (0, 3)}
        halves = [nn.Sequential(conv(r7, r7, (7, 1), **column), conv(r7, c, (1, 7), **row)) for c in (r7, n77)]
        return nn.ModuleList([conv(c_in, r7, (1, 1)), *halves])

    def build_pool(self, c_in, proj):
        mean = nn.AvgPool2d((3, 3), stride=(1, 1), padding=(1, 1), count_include_pad=False)
        return nn.ModuleDict({"conv": layers.conv_bn(c_in, proj, 1), "mean": mean})

    def forward(self, x):
        twice = x
        for part in self.twice:
            twice = part(twice)
        pool = self.pool["conv"](self.pool["mean"](x))
        return torch.cat((self.one(x), self.seven(x), twice, pool), 1)
"""
    assert told(lesson, other).startswith("Equal weights, equal outputs")


PAIR = "unit(r7, r7, kernel) for kernel"
WRONG = {
    "zeros counted": (", count_include_pad=False", "", "not: pool at 64 of 289 places."),
    "a maximum": ("nn.AvgPool2d(3, 1, 1, count_include_pad=False)", "nn.MaxPool2d(3, 1, 1)", "not: pool at 289 of"),
    "no mean": ("nn.AvgPool2d(3, 1, 1, count_include_pad=False)", "nn.Identity()", "not: pool at 289 of"),
    "rows for columns": ("unit, row, column =", "unit, column, row =", "leave the package's at twice.1.conv.weight"),
    "one unit too few": ("(column, row, column)", "(column, row)", "leave the package's at twice.3.conv.weight"),
    "wide too early": (PAIR, "unit(r7, n77, kernel) for kernel", "leave the package's at twice.1.conv.weight"),
    "no squeeze": ("unit(c_in, r7, 1)", "unit(c_in, c_in, 1)", "leave the package's at twice.0.conv.weight"),
    "no batch norm": ("column = layers.conv_bn", "column = layers.conv", "leave the package's at twice.1.conv.weight"),
    "no last ReLU": ("unit(r7, n77, row))", "unit(r7, n77, row)[:2])", "not: twice at 289 of 289 places."),
    "a unit too many": ("layers.conv_bn(c_in, proj, 1))", "layers.conv_bn(c_in, proj, 1), nn.PReLU())", "at the end"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_answer_gets_its_sentence(lesson, mistake):
    old, new, sentence = WRONG[mistake]
    assert lesson[2].count(old) == 1
    answer = lesson[2].replace(old, new)
    assert sentence in told(lesson, answer)


def test_paddings_that_cancel_are_found(lesson):
    last = "unit(r7, n77, row"
    assert lesson[2].count(PAIR) == lesson[2].count(last) == 1
    swapped = lesson[2].replace(PAIR, "unit(r7, r7, kernel, 1, layers.same(kernel[::-1])) for kernel")
    assert "not: twice at 264 of 289 places." in told(lesson, swapped.replace(last, f"{last}, 1, (3, 0)"))
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):  # one alone is found by the shape
        told(lesson, swapped)
