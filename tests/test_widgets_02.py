"""Tests of the widgets and charts of lesson 02: what they show is what torch computes, and a moved control redraws."""

import copy
import re

import ipywidgets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.colors import to_hex
from torch import nn

from inception_lessons import googlenet, plots, widgets
from inception_lessons.widgets import lesson_02

BATCH = lesson_02.BATCH
START = {"moved": 12.0, "count": 8, "epsilon": 1e-5, "mode": "training"}


def points(ax, colour=None):
    """The marks of an axes as {height: x}, those of one colour where it is said, hollow ones left out."""
    marks = [
        line for line in ax.get_lines() if line.get_marker() not in ("None", "") and line.get_fillstyle() == "full"
    ]
    return {
        round(float(line.get_ydata()[0]), 6): float(line.get_xdata()[0])
        for line in marks
        if colour is None or to_hex(line.get_color()) == colour.lower()
    }


def hollow(ax):
    """The hollow marks of an axes as {height: x}."""
    marks = [line for line in ax.get_lines() if line.get_fillstyle() == "none"]
    return {round(float(line.get_ydata()[0]), 6): float(line.get_xdata()[0]) for line in marks}


# ------------------------------------------------------------------------------------------------- the batch playground


@pytest.mark.parametrize("mode", lesson_02.MODES)
@pytest.mark.parametrize("moved, count, epsilon", [(12.0, 8, 1e-5), (-10.0, 2, 10.0), (2.0, 5, 0.1), (20.0, 3, 1.0)])
def test_the_playground_shows_what_torch_computes(mode, moved, count, epsilon):
    chart = widgets.batch_chart(BATCH, moved=moved, count=count, epsilon=epsilon, mode=mode)
    comes_in, goes_out = chart.figure.axes
    all_of_them, outs = torch.tensor(BATCH)[:, None], []
    for first in (BATCH[0], moved):
        batch = torch.tensor([first, *BATCH[1:count]])
        remembered = all_of_them.mean(0), all_of_them.var(0, correction=1)
        out = F.batch_norm(batch[:, None], *remembered, training=mode == "training", momentum=0.0, eps=epsilon)
        outs.append(dict(enumerate(out[:, 0].tolist(), 1)))
    assert points(comes_in) == {1: moved} | {k + 1: BATCH[k] for k in range(1, count)}
    assert points(goes_out) == pytest.approx(outs[1], abs=1e-5) and hollow(goes_out) == pytest.approx(outs[0], abs=1e-5)
    assert points(goes_out, plots.PALETTE[1]) == pytest.approx({1: outs[1][1]}, abs=1e-5), (
        "example 1 has its own colour"
    )
    others = max(abs(outs[1][k] - outs[0][k]) for k in range(2, count + 1))
    assert f"move by up to {others:.2f}" in chart.alt and f"goes out at {outs[1][1]:.2f}" in chart.alt
    limits = goes_out.get_xlim()
    assert all(limits[0] < value < limits[1] for out in outs for value in out.values()), "nothing beyond the edge"


def test_the_line_and_the_band_are_mean_and_deviation():
    now = np.array([12.0, *BATCH[1:]])
    for mode, values, ddof in (("training", now, 0), ("inference", np.array(BATCH), 1)):
        chart = widgets.batch_chart(BATCH, **START | {"mode": mode})
        ax = chart.figure.axes[0]
        (line,) = [x for x in ax.get_lines() if x.get_linestyle() == "--"]
        mean, deviation = values.mean(), values.std(ddof=ddof)
        assert line.get_xdata()[0] == pytest.approx(mean, abs=1e-5)
        (band,) = ax.patches
        edges = band.get_corners()[:, 0]
        assert (edges.min(), edges.max()) == pytest.approx((mean - deviation, mean + deviation), abs=1e-5)
        assert f"Mean {mean:.2f} and deviation {deviation:.2f}" in chart.alt
        assert ("remembered" in chart.alt) == (mode == "inference")


def test_the_title_says_whether_the_others_moved():
    assert "moves the other answers too, by up to" in widgets.batch_chart(BATCH, **START).title
    for change in ({"moved": BATCH[0]}, {"mode": "inference"}):
        assert "stay where they were" in widgets.batch_chart(BATCH, **START | change).title


def test_a_batch_of_one_and_a_wrong_mode_are_said():
    with pytest.raises(ValueError, match="a batch of one has no spread"):
        widgets.batch_chart(BATCH, **START | {"count": 1})
    assert "A batch of 1 " in widgets.batch_chart(BATCH, **START | {"count": 1, "mode": "inference"}).alt
    with pytest.raises(ValueError, match="mode is training or inference, not 'eval'"):
        widgets.batch_chart(BATCH, **START | {"mode": "eval"})


def test_every_control_of_the_playground_redraws(page):
    widgets.batch_playground()
    (box,), (handle,) = page.plain, page.handles
    controls = {control.description: control for control in box.children}
    assert list(controls) == ["example 1", "batch size", "epsilon", "mode"]
    assert handle.shown[0].alt == widgets.batch_chart(BATCH, **START).alt
    for label, value in {"example 1": -4.5, "batch size": 3, "epsilon": 1.0, "mode": "inference"}.items():
        controls[label].value = value
    assert len({chart.png for chart in handle.shown}) == 5
    state = {"moved": -4.5, "count": 3, "epsilon": 1.0, "mode": "inference"}
    assert handle.shown[-1].alt == widgets.batch_chart(BATCH, **state).alt
    controls["mode"].value = "training"
    controls["batch size"].value = 1
    assert "a batch of one has no spread" in handle.shown[-1].alt, "a sentence, not a dead widget"
    sliders = [control for control in box.children if not isinstance(control, ipywidgets.Dropdown)]
    assert not any(slider.continuous_update for slider in sliders)


# ---------------------------------------------------------------------------------------------------- signals by depth


class Straight(nn.Module):
    """No network of ours: named stages without a head, one of them linear on pixels."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleDict({"a": nn.Conv2d(3, 4, 1, bias=False), "b": nn.Conv2d(4, 5, 1, bias=False)})

    def forward(self, x):
        for stage in self.stages.values():
            x = stage(x)
        return x


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {norm: googlenet.GoogLeNet.laptop(norm=norm) for norm in ("none", "bn")}


@pytest.fixture(scope="module")
def some():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_signals_are_the_sizes_of_what_each_stage_hands_on(some):
    torch.manual_seed(0)
    model, some = Straight(), some[:2]
    found = lesson_02.signals(model, some, factor=3.0)
    with torch.no_grad():
        a = F.conv2d(some, 3 * model.stages["a"].weight)
        b = F.conv2d(a, 3 * model.stages["b"].weight)
    assert list(found) == ["a", "b"]
    for name, wanted in (("a", a), ("b", b)):
        wanted = wanted.abs().flatten()
        assert torch.allclose(found[name], wanted, atol=1e-6)


def test_of_very_many_numbers_some_are_enough(monkeypatch, some):
    torch.manual_seed(0)
    model, some = Straight(), some[:2]
    everything = lesson_02.signals(model, some)["b"]
    monkeypatch.setattr(lesson_02, "ENOUGH", 1000)
    few = lesson_02.signals(model, some)["b"]
    assert 500 <= len(few) <= 1000 and set(few.tolist()) <= set(everything.tolist())
    assert float(few.median()) == pytest.approx(float(everything.median()), rel=0.1)


def test_looking_leaves_the_network_as_it_was(networks, some):
    model = networks["bn"]
    before = copy.deepcopy(model.state_dict())
    was_training = model.training
    lesson_02.signals(model, some, factor=2.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training == was_training and not any(layer._forward_hooks for layer in model.modules())


def test_batch_norm_keeps_the_signal_whatever_the_weights(networks, some):
    medians = {
        norm: [float(sizes[sizes > 0].median()) for sizes in (lesson_02.signals(model, some, ["5a"], factor=f)["5a"]
        for f in (0.5, 1.0, 2.0))]
        for norm, model in networks.items()
    }  # fmt: skip
    assert medians["none"][2] > 100 * medians["none"][0]
    assert max(medians["bn"]) < 1.1 * min(medians["bn"])


def test_in_training_mode_even_where_the_network_is_not(networks, some):
    """Before training the running averages are 0 and 1: in inference mode batch norm would do nothing."""
    model = copy.deepcopy(networks["bn"]).eval()
    assert torch.equal(
        lesson_02.signals(model, some, ["5a"])["5a"], lesson_02.signals(networks["bn"], some, ["5a"])["5a"]
    )


def test_depth_chart_tells_the_medians_and_draws_each_histogram(networks, some):
    stages = ["conv1", "3a", "5a"]
    chart = widgets.depth_chart(networks, some, stages, factor=2.0)
    assert "all weights times 2" in chart.title
    for ax, (name, model) in zip(chart.figure.axes, networks.items(), strict=True):
        found = lesson_02.signals(model, some, stages, factor=2.0)
        ends = [float(sizes[sizes > 0].median()) for sizes in (found["conv1"], found["5a"])]
        assert f"{name}: from {ends[0]:.2g} in conv1 to {ends[1]:.2g} in 5a" in chart.alt
        assert ax.get_title(loc="left") == f"{name}: median from {ends[0]:.2g} to {ends[1]:.2g}"
        assert [tick.get_text() for tick in ax.get_yticklabels()] == stages and len(ax.collections) == 3
        for k, (sizes, ridge) in enumerate(zip(found.values(), ax.collections, strict=True)):
            corners = ridge.get_paths()[0].vertices
            peak = corners[corners[:, 1].argmin()]
            assert peak[1] == pytest.approx(k - 0.95), "the tallest bin of each row reaches the same height"
            counts, edges = np.histogram(np.log10(sizes[sizes > 0].numpy()), bins=np.linspace(-10, 10, 121))
            assert edges[counts.argmax()] <= peak[0] <= edges[counts.argmax() + 1]
        zeros = [text.get_text() for text in ax.texts]
        assert zeros == [f"{float((sizes == 0).double().mean()):.0%} zeros" for sizes in found.values()]


def test_dead_and_overflowing_signals_are_drawn_too(some):
    model = Straight()
    nn.init.zeros_(model.stages["a"].weight)
    chart = widgets.depth_chart({"dead": model}, some)
    assert [text.get_text() for text in chart.figure.axes[0].texts] == ["100% zeros", "100% zeros"]
    assert "from 0 in a to 0 in b" in chart.alt
    nn.init.constant_(model.stages["a"].weight, 1e30)
    nn.init.constant_(model.stages["b"].weight, 1e30)
    chart = widgets.depth_chart({"burst": model}, some)
    assert "overflowed" in chart.figure.axes[0].texts[1].get_text()


def test_a_stage_that_there_is_not_and_a_wrong_factor_are_said(networks, some):
    with pytest.raises(ValueError, match="no stage 9z; this network has conv1, .*, head"):
        widgets.depth_chart(networks, some, ["conv1", "9z"])
    for factor in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weights are multiplied by a number above 0"):
            lesson_02.signals(networks["bn"], some, factor=factor)


def test_the_slider_of_the_histograms_redraws(page, networks, some):
    widgets.depth_histograms(networks, some, ["conv1", "5a"])
    (box,), (handle,) = page.plain, page.handles
    (control,) = box.children
    assert control.value == 0.41 and [value for _, value in control.options] == list(lesson_02.SCALES)
    for value in (0.25, 4.0):
        control.value = value
    assert len({chart.png for chart in handle.shown}) == 3 and "times 4" in handle.shown[-1].title
    assert handle.shown[-1].alt == widgets.depth_chart(networks, some, ["conv1", "5a"], factor=4.0).alt


def test_the_first_stop_is_pytorchs_default_start():
    """Its weights have a third of the variance that fan in asks for, He's twice: in units of each other, root 1/6."""
    torch.manual_seed(0)
    he, default = (nn.Conv2d(64, 64, 3) for _ in range(2))
    nn.init.kaiming_normal_(he.weight, nonlinearity="relu")
    assert (
        float((default.weight.std() / he.weight.std()).detach()) == pytest.approx(0.41, abs=0.01)
        and 0.41 in lesson_02.SCALES
    )


# ------------------------------------------------------------------------------------------------ charts of the lesson


def test_descent_takes_the_steps_that_it_says():
    torch.manual_seed(0)
    x = torch.randn(200, 2, dtype=torch.float64) @ torch.tensor([[1.0, 0.9], [0.0, 0.3]], dtype=torch.float64)
    target = x @ torch.tensor([1.0, -1.0], dtype=torch.float64)
    path, best = lesson_02.descent(x, target)
    assert best.tolist() == pytest.approx([1.0, -1.0])
    rate = 1 / torch.linalg.svdvals(x)[0].square() * len(x)
    weights = torch.zeros(2, dtype=torch.float64)
    for place in path[1:]:  # by autograd, on the loss itself
        leaf = weights.clone().requires_grad_()
        (0.5 * (x @ leaf - target).square().mean()).backward()
        weights = weights - rate * leaf.grad
        assert torch.allclose(place, weights, atol=1e-9)
    losses = [float((x @ w - target).square().mean()) for w in path]
    assert losses[-1] <= 1e-3 * losses[0] < losses[-2]
    chart = widgets.descent_chart({"raw": x, "also raw": x}, target)
    assert f"raw {len(path) - 1}; also raw {len(path) - 1}" in chart.alt
    titles = [ax.get_title(loc="left") for ax in chart.figure.axes]
    assert titles == [f"raw: {len(path) - 1} steps", f"also raw: {len(path) - 1} steps"]
    drawn = [line for line in chart.figure.axes[0].get_lines() if len(line.get_xdata()) > 1]
    assert np.allclose(np.stack(drawn[0].get_data(), 1), path)


def test_descent_gives_up_in_time_and_a_round_bowl_takes_one_step():
    x = torch.eye(2, dtype=torch.float64).repeat(5, 1)
    assert len(lesson_02.descent(x, x[:, 0])[0]) == 2
    narrow = x * torch.tensor([1.0, 1e-4], dtype=torch.float64)
    assert len(lesson_02.descent(narrow, narrow[:, 1], most=50)[0]) == 51


def test_the_checks_are_filled_where_they_differ():
    rows = {
        "right": {"out": 0.0, "mean": 1e-12},
        "wrong": {"out": 0.25, "mean": 0.0},
        "worse": {"out": float("nan"), "mean": 2},
    }
    chart = widgets.checks_chart(rows, title="t")
    (ax,) = chart.figure.axes
    assert [text.get_text() for text in ax.texts] == [
        "equal",
        "equal",
        "off by 0.25",
        "equal",
        "off by nan",
        "off by 2",
    ]
    filled = [to_hex(patch.get_facecolor()[0]) == plots.PALETTE[1].lower() for patch in ax.collections]
    assert filled == [False, False, True, False, True, True]
    assert "right: no check; wrong: out; worse: out, mean" in chart.alt
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(rows)
    with pytest.raises(ValueError, match="every row needs the checks out, mean"):
        widgets.checks_chart({"a": {"out": 0, "mean": 0}, "b": {"mean": 0, "out": 0}})
    with pytest.raises(ValueError, match="there are none"):
        widgets.checks_chart({})


def test_the_units_percentiles_are_drawn_where_they_are():
    rows = {"plain": [(0.0, 1.0, 3.0), (-2.0, 0.0, 4.0), (-1.0, 5.0, 6.0)], "norm": [(-1.0, 0.0, 1.0)] * 3}
    chart = widgets.unit_chart(rows, every=20, title="t")
    first, second = chart.figure.axes
    by_style = {line.get_linestyle(): line for line in first.get_lines()}
    assert by_style["-"].get_xydata().tolist() == [[1, 1], [21, 0], [41, 5]]
    assert by_style[":"].get_ydata().tolist() == [0, -2, -1] and by_style["--"].get_ydata().tolist() == [3, 4, 6]
    assert first.get_ylim() == second.get_ylim() and first.get_title(loc="left") == "plain"
    assert "plain: the band is 3 wide at first and 7 at the end, its middle between 0 and 5" in chart.alt
    assert len(re.findall("percentile", " ".join(t.get_text() for t in chart.figure.legends[0].get_texts()))) == 3
    assert widgets.unit_chart(rows, every=20, title="t", alt="What this one shows.").alt == "What this one shows."
