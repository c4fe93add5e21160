"""Tests of `inception_lessons.widgets`: what the charts say is what the networks do, and a moved control redraws."""

import re

import IPython.display
import ipywidgets
import PIL.Image
import pytest
import torch
from torch import nn

from inception_lessons import data, googlenet, inception_v3, layers, look, measure, plots, widgets

V1_3A = {"c_in": 192, "n1": 64, "r3": 96, "n3": 128, "r5": 16, "n5": 32, "proj": 32}
V1_5B = {"c_in": 832, "n1": 384, "r3": 192, "n3": 384, "r5": 48, "n5": 128, "proj": 128}


# ------------------------------------------------------------------------------------------- the drawn module's figures


@pytest.mark.parametrize("row, grid", [(V1_3A, 28), (V1_5B, 7), ({k: 8 for k in V1_3A} | {"c_in": 16}, 14)])
def test_the_drawn_module_costs_what_measure_counts(row, grid):
    chart = plots.module(**row, grid=grid)
    title = [ax.get_title(loc="center") for ax in chart.figure.axes]
    in_alt = re.findall(r"([\d.]+) million", chart.alt)
    out_alt = re.search(r"put out (\d+) and (\d+) channels", chart.alt).groups()
    macs = []
    for i, make in enumerate((googlenet.NaiveInception, googlenet.Inception)):
        module = make(*row.values())
        params = sum(p.numel() for p in module.parameters())
        macs.append(sum(p.numel() for p in module.parameters() if p.ndim > 1) * grid * grid)
        out = module(torch.zeros(1, row["c_in"], 8, 8)).shape[1]
        assert f"\n{params:,} parameters, {macs[-1] / 1e6:.1f} M multiply-adds" in title[i]
        assert in_alt[i] == f"{macs[-1] / 1e6:.1f}" and out_alt[i] == str(out)
        assert f"{out} channels out" in [text.get_text() for text in chart.figure.axes[i].texts]
    assert f"{macs[0] / macs[1]:.2f} times" in chart.alt


def test_module_3a_has_the_known_numbers():
    naive, reduced = (ax.get_title(loc="center") for ax in plots.module(**V1_3A).figure.axes)
    assert "387,296 parameters, 303.5 M" in naive and "163,696 parameters, 128.0 M" in reduced
    table = {stage.name: stage for stage in measure.stages(googlenet.GoogLeNet(), 224)}
    assert table["3a"].params == 163_696 and f"{table['3a'].macs / 1e6:.1f}" == "128.0"


# ----------------------------------------------------------------------------------------------------- the data browser


def image_set(count=12):
    """A small set with the factors of the default one, each recognizable."""
    pixels = (torch.arange(count, dtype=torch.uint8) * 20)[:, None, None, None].expand(count, 32, 32, 3)
    factors = {
        "digit": torch.arange(100, 100 + count),
        "size": torch.arange(count) + 12.5,
        "x": torch.full((count,), 16.0),
        "y": torch.full((count,), 20.0),
        "photograph": torch.arange(count) % 2,
        "by_difference": torch.arange(count) % 2 == 0,
    }
    some = data.Split(pixels.contiguous(), torch.arange(count) % 3, factors)
    return data.ImageSet("toys", some, some.take(10), some.take(9), ("cat", "dog", "fox"), "made here", ("moon", "sea"))


def test_data_chart_shows_the_picture_its_label_and_its_factors():
    some = image_set()
    chart = widgets.data_chart(some, "train", 4)
    large, words, *small = chart.figure.axes[-10:]
    assert large.images[0].get_array()[0, 0].tolist() == pytest.approx([80 / 255] * 3, abs=1e-6)
    assert [ax.images[0].get_array()[0, 0, 0] for ax in small] == pytest.approx(
        [20 * i % 256 / 255 for i in range(5, 12)] + [0]
    )
    assert "train 4: label dog" in large.get_title(loc="left")
    box = large.get_lines()[0].get_xydata()
    assert box[:, 0].min() == 16 - 8.25 - 0.5 and box[:, 1].max() == 20 + 8.25 - 0.5, "a box around the ink"
    for said in (
        "Picture 4",
        "train split",
        "label dog",
        "digit 104",
        "size 16.5 px",
        "photograph moon",
        "by_difference True",
    ):
        assert said in chart.alt
    assert "104" in words.texts[0].get_text() and "moon" in words.texts[0].get_text()
    assert chart.png != widgets.data_chart(some, "train", 5).png


def test_data_chart_of_plain_pictures():
    plain = image_set()
    plain.validation.factors.clear()
    chart = widgets.data_chart(plain, "validation", 9)
    assert "label cat" in chart.alt and "Its factors: none" in chart.alt
    assert not chart.figure.axes[-10].get_lines(), "no box without a place"


def test_data_chart_prints_factors_of_any_kind():
    """Pixels are the unit of lengths alone, and a factor may have several numbers for each picture."""
    some = image_set()
    some.train.factors |= {
        "brightness": torch.full((12,), 0.5),
        "box": torch.arange(48).reshape(12, 4),
        "weights": torch.ones(12, 2, 5) / 3,
    }
    chart = widgets.data_chart(some, "train", 1)
    for said in ("brightness 0.5, ", "box 4, 5, 6, 7, ", f"weights {'0.3333, ' * 6}...", "size 13.5 px", "x 16.0 px"):
        assert said in chart.alt
    some.train.factors["size"] = torch.ones(12, 2)
    chart = widgets.data_chart(some, "train", 1)
    assert "size 1.0 px, 1.0 px" in chart.alt and not chart.figure.axes[-10].get_lines(), "two sizes are no square"


# ----------------------------------------------------------------------------------------------------- the branch chart


class Mix(nn.Module):
    """A stage of two branches, one with a name of its own."""

    def __init__(self, c_in):
        super().__init__()
        self.branches = layers.Concat(left=nn.Conv2d(c_in, 3, 1), b3=nn.Conv2d(c_in, 2, 3, 1, 1))

    def forward(self, x):
        return self.branches(x)


class Tiny(nn.Module):
    """Any network with stages, some of which have branches: not one of ours."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleDict({"stem": nn.Conv2d(3, 4, 3, 2, 1), "mix": Mix(4), "more": Mix(5)})

    def forward(self, x):
        for stage in self.stages.values():
            x = stage(x)
        return x


@pytest.fixture(scope="module")
def v1():
    torch.manual_seed(0)
    return googlenet.GoogLeNet.laptop(norm="bn").eval()


def pictures(count=3):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "state, side",
    [
        ({"image": 0, "stage": "3a", "branch": "b1", "channel": 0}, "16 x 16"),
        ({"image": 2, "stage": "4b", "branch": "pool", "channel": 3}, "8 x 8"),
        ({"image": 1, "stage": "5a", "branch": "b5", "channel": 7}, "4 x 4"),
    ],
)
def test_branch_chart_shows_the_busiest_channels(v1, state, side):
    some = pictures()
    chart = widgets.branch_chart(v1, some, data.normalize, **state, most=6)
    with torch.no_grad():  # by hand: run the network up to the stage, then each branch
        x = data.normalize(some[state["image"]][None])
        for name, stage in v1.stages.items():
            if name == state["stage"]:
                break
            x = stage(x)
        maps = {name: branch(x)[0] for name, branch in stage.branches.items()}
    wanted = []
    for own in maps.values():
        busiest = sorted(range(len(own)), key=lambda c, own=own: -float(own[c].mean()))[:6]
        wanted.append([own[c] for c in busiest])
    first, chosen, *rest = [ax for ax in chart.figure.axes if ax.images]
    torch.testing.assert_close(torch.tensor(first.images[0].get_array()), some[state["image"]].permute(1, 2, 0))
    mine = wanted[list(maps).index(state["branch"])]
    shown = torch.tensor(chosen.images[0].get_array())
    torch.testing.assert_close(shown, mine[min(state["channel"], len(mine) - 1)])
    flat = [one for row in wanted for one in row]
    assert len(rest) == len(flat)
    for ax, one in zip(rest, flat, strict=True):
        torch.testing.assert_close(torch.tensor(ax.images[0].get_array()), one)
    assert f"stage {state['stage']}" in chart.alt and side in chart.alt and f"channel {state['channel']}" in chart.alt
    assert plots.BRANCHES[state["branch"]][0] in chart.alt


def test_every_part_of_the_state_matters(v1):
    state = {"image": 0, "stage": "3a", "branch": "b1", "channel": 0}
    changes = [{}, {"image": 1}, {"stage": "4a"}, {"branch": "b3"}, {"channel": 2}]
    charts = [widgets.branch_chart(v1, pictures(), data.normalize, **(state | change)) for change in changes]
    assert len({chart.png for chart in charts}) == len({chart.alt for chart in charts}) == 5


def test_a_wrong_branch_or_stage_is_said(v1):
    state = {"image": 0, "stage": "3a", "branch": "b7", "channel": 0}
    with pytest.raises(ValueError, match="stage 3a has no branch 'b7'; it has b1, b3, b5, pool"):
        widgets.branch_chart(v1, pictures(), data.normalize, **state)
    with pytest.raises(ValueError, match="stage 'conv1' has no branches; those that have are 3a, 4a, 4b, 5a"):
        widgets.branch_chart(v1, pictures(), data.normalize, **(state | {"stage": "conv1"}))


def test_any_network_with_stages_and_branches_will_do(page):
    torch.manual_seed(0)
    model, some = Tiny().eval(), pictures()
    chart = widgets.branch_chart(model, some, data.normalize, image=0, stage="mix", branch="left", channel=9)
    assert "branch left" in chart.alt and "3 x 3" in [ax.get_ylabel() for ax in chart.figure.axes]
    widgets.branch_explorer(model, some, data.normalize)
    controls = page.controls()
    assert controls["stage"].options == ("mix", "more") and controls["stage"].value == "mix"
    assert controls["branch"].options == (("left", "left"), ("3 x 3", "b3"))
    with pytest.raises(ValueError, match="no stage with branches"):
        widgets.branch_explorer(nn.Sequential(nn.Conv2d(3, 4, 1)), some, data.normalize)


def test_looking_leaves_the_network_as_it_was(v1):
    before = {key: value.clone() for key, value in v1.state_dict().items()}
    v1.train()
    try:
        widgets.branch_chart(v1, pictures(), data.normalize, image=0, stage="3a", branch="b1", channel=0)
        assert v1.training and all(torch.equal(value, before[key]) for key, value in v1.state_dict().items())
        assert not any(module._forward_hooks for module in v1.modules())
    finally:
        v1.eval()


# -------------------------------------------------------------------------------------------------------- the thin skin


def test_show_redraws_when_a_control_moves(page):
    drawn = []

    def draw(a, b):
        drawn.append((a, b))
        return plots.bars({"n": {"a": a, "b": b}}, ylabel="n", title="t", alt=f"Two bars of heights {a} and {b}.")

    one, two = ipywidgets.IntSlider(1, 0, 9), ipywidgets.Dropdown(options=[2, 3], value=2)
    assert widgets.show(draw, {"a": one, "b": two}) is None
    (handle,) = page.handles
    assert page.plain[0].children == (one, two) and drawn == [(1, 2)]
    one.value = 5
    two.value = 3
    one.value = 5  # not a change
    assert drawn == [(1, 2), (5, 2), (5, 3)]
    assert [chart.alt[-8:] for chart in handle.shown] == ["1 and 2.", "5 and 2.", "5 and 3."]
    assert len({chart.png for chart in handle.shown}) == 3


def test_an_error_becomes_a_picture_with_its_sentence_and_the_widget_lives_on(page):
    def draw(a):
        if a > 3:
            raise ValueError(f"a is at most 3, not {a}")
        return plots.bars({"n": {"a": a}}, ylabel="n", title="t", alt=f"One bar of height {a}.")

    control = ipywidgets.IntSlider(1, 0, 9)
    widgets.show(draw, {"a": control})
    control.value = 4
    broken = page.handles[0].shown[-1]
    assert isinstance(broken, plots.Chart) and "ValueError: a is at most 3, not 4" in broken.alt
    assert "a is at most 3, not 4" in [text.get_text() for ax in broken.figure.axes for text in ax.texts][0]
    control.value = 2
    assert page.handles[0].shown[-1].alt == "One bar of height 2."


def test_show_where_nobody_listens(monkeypatch):
    """Outside a notebook `display` gives back None; a control that moves all the same must not raise."""
    monkeypatch.setattr(IPython.display, "display", lambda *things, **options: None)
    control = ipywidgets.IntSlider(1, 0, 9)
    widgets.show(
        lambda a: plots.bars({"n": {"a": a}}, ylabel="n", title="t", alt="One bar of some height."), {"a": control}
    )
    control.value = 2


def test_module_calculator(page):
    widgets.module_calculator()
    controls, (handle,) = page.controls(), page.handles
    assert [c.value for c in controls.values()] == [*V1_3A.values(), 28] and len(controls) == 8
    assert handle.shown[0].alt == plots.module(**V1_3A, grid=28).alt
    moves = {
        "channels in": 256,
        "1 x 1": 128,
        "3 x 3 reduce": 128,
        "3 x 3": 192,
        "5 x 5 reduce": 32,
        "5 x 5": 96,
        "pool proj": 64,
    }
    for count, (label, value) in enumerate(moves.items(), 1):
        controls[label].value = value
        assert len(handle.shown) == count + 1
    controls["grid"].value = 14
    assert handle.shown[-1].alt == plots.module(256, 128, 128, 192, 32, 96, 64, grid=14).alt


def test_module_calculator_reaches_every_module_of_the_paper(page):
    widgets.module_calculator()
    controls = page.controls()
    table = [  # Table 1 of arXiv:1409.4842: input, 1 x 1, 3 x 3 reduce, 3 x 3, 5 x 5 reduce, 5 x 5, pool proj
        (192, 64, 96, 128, 16, 32, 32),
        (256, 128, 128, 192, 32, 96, 64),
        (480, 192, 96, 208, 16, 48, 64),
        (512, 160, 112, 224, 24, 64, 64),
        (512, 128, 128, 256, 24, 64, 64),
        (512, 112, 144, 288, 32, 64, 64),
        (528, 256, 160, 320, 32, 128, 128),
        (832, 256, 160, 320, 32, 128, 128),
        (832, 384, 192, 384, 48, 128, 128),
    ]
    for row in table:
        for control, value in zip(controls.values(), row, strict=False):
            assert control.min <= value <= control.max and (value - control.min) % control.step == 0, (
                control.description,
                value,
            )


def test_branch_explorer(page, v1):
    widgets.branch_explorer(v1, pictures(), data.normalize, stage="4a", most=4)
    controls, (handle,) = page.controls(), page.handles
    assert controls["stage"].options == ("3a", "4a", "4b", "5a") and controls["stage"].value == "4a"
    assert (controls["image"].max, controls["channel"].max) == (2, 3)
    for name, value, said in (
        ("image", 2, "Picture 2"),
        ("stage", "5a", "stage 5a"),
        ("branch", "pool", "branch pool"),
        ("channel", 3, "channel 3"),
    ):
        controls[name].value = value
        assert said in handle.shown[-1].alt
    assert len(handle.shown) == 5 and not any("No chart" in chart.alt for chart in handle.shown)
    assert (
        handle.shown[-1].png
        == widgets.branch_chart(
            v1, pictures(), data.normalize, image=2, stage="5a", branch="pool", channel=3, most=4
        ).png
    )


def test_branch_explorer_offers_what_the_stage_has(page):
    torch.manual_seed(0)
    model = inception_v3.InceptionV3.laptop(10).eval()
    widgets.branch_explorer(model, pictures(), data.normalize, stage="5b", most=4)
    controls, (handle,) = page.controls(), page.handles
    stage, branch = controls["stage"], controls["branch"]
    assert len({tuple(branches) for branches in look.branched_stages(model).values()}) > 1
    branch.value = "pool"
    for name, branches in look.branched_stages(model).items():
        stage.value = name
        assert [value for _, value in branch.options] == list(branches)
        assert branch.value == "pool", "every stage has it: it stays chosen"
        assert f"stage {name}" in handle.shown[-1].alt and "branch pool" in handle.shown[-1].alt
    stage.value, branch.value = "6b", "b77"
    stage.value = "5b"
    assert branch.value == "b1" and "branch 1 x 1" in handle.shown[-1].alt
    assert not any("No chart" in chart.alt for chart in handle.shown)


def test_data_browser(page):
    widgets.data_browser(image_set())
    controls, (handle,) = page.controls(), page.handles
    assert controls["split"].options == ("train", "validation", "test") and controls["image"].max == 8
    controls["image"].value = 8
    controls["split"].value = "test"
    assert "Picture 8 of the test split" in handle.shown[-1].alt


@pytest.mark.parametrize("word, missing", [("picture", {"validation"}), ("photo", {"validation", "test"})])
def test_data_browser_offers_what_has_pictures(page, tmp_path, word, missing):
    """A folder of six pictures may have none to test on: names decide."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(3):
            colour = (40 * number, 90, 90 if name == "cat" else 200)
            PIL.Image.new("RGB", (32, 32), colour).save(tmp_path / name / f"{word} {number}.png")
    with pytest.warns(UserWarning, match="is empty: too few images to share out"):
        some = data.image_folder(tmp_path, size=32)
    sizes = {name: len(getattr(some, name)) for name in ("train", "validation", "test")}
    assert sum(sizes.values()) == 6 and {name for name, size in sizes.items() if not size} == missing
    widgets.data_browser(some)
    controls, (handle,) = page.controls(), page.handles
    offered = [name for name, size in sizes.items() if size]
    assert list(controls["split"].options) == offered
    assert controls["image"].max == min(sizes[name] for name in offered) - 1
    for name in offered:
        controls["split"].value = name
        assert f"of the {name} split" in handle.shown[-1].alt
    empty = min(missing)
    with pytest.raises(ValueError, match=f"the {empty} split of .* has no pictures to show"):
        widgets.data_chart(some, empty, 0)
    some.train = some.validation = some.test = getattr(some, empty)
    with pytest.raises(ValueError, match="has no pictures to browse, neither in train nor in validation nor in test"):
        widgets.data_browser(some)


def test_sliders_redraw_once_they_are_let_go(page):
    widgets.module_calculator()
    sliders = [c for c in page.controls().values() if isinstance(c, ipywidgets.IntSlider)]
    assert sliders and not any(slider.continuous_update for slider in sliders)


def test_ranking_is_by_the_mean_answer():
    """A channel with one bright point is less busy than one that answers everywhere."""

    class Fixed(nn.Module):
        def forward(self, x):
            maps = torch.stack([torch.zeros(16, 16), torch.full((16, 16), 0.5), torch.full((16, 16), -9.0)])
            maps[0, 3, 4] = 50.0
            return maps[None]

    model = Tiny().eval()
    model.stages["mix"].branches["left"] = Fixed()
    chart = widgets.branch_chart(model, pictures(), data.normalize, image=0, stage="mix", branch="left", channel=1)
    chosen, *row = [ax.images[0].get_array() for ax in chart.figure.axes if ax.images][1:5]
    assert [float(one.sum()) for one in row] == [128, 50, -9 * 256] and float(chosen.max()) == 50
