"""Tests of the widgets of lesson 05."""

import math
import re

import pytest
import torch
from torch import nn

from inception_lessons import inception_resnet, inception_v4, widgets
from inception_lessons.experiments import signal_by_depth

# ------------------------------------------------------------------------------------------------------ signal by depth


def powers(scale, blocks=2):
    """Not one of our networks: a stem, and blocks that multiply the variance by 1 + scale squared."""
    found = {"stem": 0.5}
    return found | {f"b{i}": 0.5 * (1 + scale**2) ** i for i in range(1, blocks + 1)}


def drawn(chart):
    (ax,) = chart.figure.axes
    return {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()}


@pytest.mark.parametrize("scale", [0.0, 0.1, 0.35, 1.0])
def test_signal_chart_draws_what_the_function_says(scale):
    chart = widgets.signal_chart(powers, scale, blocks=5)
    (ax,) = chart.figure.axes
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["stem", "b1", "b2", "b3", "b4", "b5"]
    wanted = {"scale 0.1, as in the paper": 0.1, "scale 0: shortcuts alone": 0.0, f"scale {scale:.2f}": scale}
    lines = drawn(chart)
    assert list(lines) == list(wanted)
    for label, value in wanted.items():
        assert lines[label] == pytest.approx(list(powers(value, 5).values()))
    last = 0.5 * (1 + scale**2) ** 5
    assert f"{last / 0.5:.1f} times as loud" in ax.get_title(loc="left")
    for said in (f"ends at {last:.3g},", f"with scale 0.1 at {0.5 * 1.01**5:.3g}", "alone at 0.5", "blocks 5"):
        assert said in chart.alt
    low, high = ax.get_ylim()
    assert ax.get_yscale() == "log" and low < 0.5 and high > last


def test_signal_chart_of_a_network_is_the_variance_of_its_stages():
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(2))

    def signal(scale, width):
        torch.manual_seed(1)
        net = inception_resnet.InceptionResNetV1.laptop(width=width, scales=(scale,) * 3)
        return signal_by_depth(net, images)

    lines = drawn(widgets.signal_chart(signal, 0.7, width=0.0625))
    torch.manual_seed(1)
    net = inception_resnet.InceptionResNetV1.laptop(width=0.0625, scales=(0.7, 0.7, 0.7)).train()
    x, by_hand = images, []
    with torch.no_grad():
        for stage in net.stages.values():
            x = stage(x)
            by_hand.append(float(x.var()))
    assert lines["scale 0.70"] == pytest.approx(by_hand, rel=1e-4)
    assert lines["scale 0.70"][-1] > lines["scale 0: shortcuts alone"][-1]


def test_a_signal_that_fell_silent_is_drawn():
    chart = widgets.signal_chart(lambda scale: {"a": 1.0, "b": 0.0}, 0.5)
    assert "inf times" in chart.alt and min(drawn(chart)["scale 0.50"]) > 0, "a logarithmic axis has no 0"


@pytest.mark.parametrize(
    "signal, sentence",
    [
        (lambda scale: {}, "it gave none"),
        (lambda scale: {"a": 1.0, "b": math.nan}, "stage b has nan"),
        (lambda scale: {"a": 1.0, "b": math.inf}, "stage b has inf"),
        (lambda scale: {"a": -1.0}, "at least 0, but stage a has -1.0"),
        (lambda scale: {"a": 1.0} if scale else {"z": 1.0}, "stages change with the scale: z at scale 0"),
        (lambda scale: {"a": 1.0, "b": 1.0} if scale else {"b": 1.0, "a": 1.0}, "stages change"),
    ],
)
def test_a_signal_that_is_none_is_said(signal, sentence, page):  # noqa: F811
    with pytest.raises(ValueError, match=re.escape(sentence)):
        widgets.signal_chart(signal, 0.5)
    widgets.residual_scale(signal)
    assert sentence in page.handles[0].shown[0].alt and "No chart" in page.handles[0].shown[0].alt


def test_residual_scale_moves(page):  # noqa: F811
    asked = []

    def signal(scale, blocks, width):
        asked.append((scale, blocks, width))
        return powers(scale, blocks)

    assert widgets.residual_scale(signal, 0.5, blocks=[3, 4], width=[("thin", 0.1), ("wide", 0.2)]) is None
    controls, (handle,) = page.controls(), page.handles
    assert list(controls) == ["scale", "blocks", "width"]
    assert (controls["scale"].value, controls["scale"].min, controls["scale"].max) == (0.5, 0, 1)
    assert not controls["scale"].continuous_update
    assert controls["blocks"].value == 3 and controls["width"].value == 0.1
    assert controls["width"].options == (("thin", 0.1), ("wide", 0.2))
    assert (
        handle.shown[0].alt == widgets.signal_chart(lambda scale, **_: powers(scale, 3), 0.5, blocks=3, width=0.1).alt
    )
    controls["scale"].value = 1.0
    controls["blocks"].value = 4
    controls["width"].value = 0.2
    assert len({chart.alt for chart in handle.shown}) == len({chart.png for chart in handle.shown[:3]}) + 1 == 4
    assert "blocks 4, width 0.2" in handle.shown[-1].alt and f"ends at {0.5 * 2**4:.3g}" in handle.shown[-1].alt
    before = len(asked)
    controls["width"].value = 0.1
    assert len(asked) == before and len(handle.shown) == 5, "what was asked once is remembered"
    assert set(asked) >= {(1.0, 4, 0.2), (0.0, 4, 0.2), (0.1, 4, 0.2)}


def test_a_choice_of_nothing_is_refused(page):  # noqa: F811
    with pytest.raises(ValueError, match="nothing to choose from for 'blocks'"):
        widgets.residual_scale(powers, blocks=[])


# -------------------------------------------------------------------------------------------------- blocks side by side


@pytest.fixture(scope="module")
def blocks():
    with torch.device("meta"):
        networks = {
            "V4": inception_v4.InceptionV4(),
            "v1": inception_resnet.InceptionResNetV1(),
            "v2": inception_resnet.InceptionResNetV2(),
        }
    grids = {"A": 35, "B": 17, "C": 8}
    return {
        f"{name} {kind}": (network.stages[f"{kind}1"], grid)
        for name, network in networks.items()
        for kind, grid in grids.items()
    }


def words(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("name", [f"{network} {kind}" for network in ("V4", "v1", "v2") for kind in "ABC"])
def test_a_drawn_block_is_the_block(name, blocks):
    block, grid = blocks[name]
    chart = widgets.block_chart({name: (block, grid)})
    (ax,) = chart.figure.axes
    params = sum(p.numel() for p in block.parameters())
    convs = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
    macs = sum(layer.weight.numel() for layer in convs) * grid * grid  # all keep the grid
    cost = f"{params:,} parameters, {macs / 1e6:.1f} M multiply-adds at {grid} x {grid}"
    assert ax.get_title(loc="center") == f"{name}\n{cost}"
    assert cost.replace(" M ", " million ") in chart.alt
    up = [block.up] if hasattr(block, "up") else []
    said = words(ax)
    boxes = sorted(text for text in said if re.match(r"\d x \d\n\d+$", text))
    wanted = [
        f"{layer.kernel_size[0]} x {layer.kernel_size[1]}\n{layer.out_channels}" for layer in convs if layer not in up
    ]
    assert boxes == sorted(wanted)
    assert f"input: {convs[0].in_channels} channels" in said
    with torch.device("meta"):
        out = block.eval().branches(torch.empty(1, convs[0].in_channels, 9, 9)).shape[1]
    assert f"side by side: {out} channels" in said
    assert (f"1 x 1, {convs[0].in_channels}, no ReLU" in said) == bool(up) == ("+" in said) == ("shortcut" in said)
    assert (f"x {block.scale:g}" in said and f"times {block.scale:g}" in chart.alt) if up else "times" not in chart.alt
    assert said.count("average") == (name[:2] == "V4")


def test_a_branch_is_told_in_its_order(blocks):
    alt = widgets.block_chart({"V4 C": blocks["V4 C"]}).alt
    assert "1 x 1, 384 then 3 x 1, 448 then 1 x 3, 512 then 1 x 3, 256 beside 3 x 1, 256" in alt
    boxes = {
        text.get_text(): text.get_position() for text in widgets.block_chart({"B": blocks["V4 B"]}).figure.axes[0].texts
    }
    first, *rest = (boxes[text][1] for text in ("7 x 1\n192", "1 x 7\n256"))
    assert [first, *rest] == [2, 5], "the first kernel is drawn lowest"


def test_each_of_two_blocks_has_its_own_cost_and_one_twice_is_one(blocks):
    both = {name: blocks[name] for name in ("V4 A", "v1 A")}
    titles = [ax.get_title(loc="center") for ax in widgets.block_chart(both).figure.axes]
    assert [title.split("\n")[0] for title in titles] == list(both)
    assert "317,632" in titles[0] and "387.6 M" in titles[0] and "77,440" in titles[1] and "94.1 M" in titles[1]


def test_a_residual_block_without_its_shortcut_is_drawn_without(blocks):
    class Bare(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.branches, self.up = block.branches, block.up

        def forward(self, x):
            return self.up(self.branches(x)).relu()

    chart = widgets.block_chart({"bare": (Bare(blocks["v1 A"][0]), 35)})
    said = words(chart.figure.axes[0])
    assert "no shortcut" in chart.alt and "+" not in said and "shortcut" not in said and "1 x 1, 256, no ReLU" in said


def test_a_block_of_ones_own_will_do():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleDict(
                {
                    "big": nn.Sequential(nn.Conv2d(6, 4, 5, 2, 2), nn.ReLU(), nn.Conv2d(4, 3, 9, 1, 4)),
                    "pool": nn.MaxPool2d(3, 2, 1),
                }
            )

        def forward(self, x):
            return torch.cat([branch(x) for branch in self.branches.values()], 1)

    chart = widgets.block_chart({"mine": (Mine(), 8)})
    said = words(chart.figure.axes[0])
    assert {"5 x 5 / 2\n4", "9 x 9\n3", "max\npool / 2", "side by side: 9 channels"} <= set(said)
    macs = (6 * 4 * 25 + 4 * 3 * 81) * 16
    assert f"{macs / 1e6:.1f} million" in chart.alt


def test_a_block_without_branches_is_refused(blocks):
    with pytest.raises(ValueError, match="plain has no branches to draw: it is a Conv2d"):
        widgets.block_chart({"plain": (nn.Conv2d(3, 4, 1), 8)})


def test_block_browser_moves(blocks, page):  # noqa: F811
    widgets.block_browser(blocks, "V4 A", "v1 A")
    controls, (handle,) = page.controls(), page.handles
    assert controls["left"].options == controls["right"].options == tuple(blocks)
    assert (controls["left"].value, controls["right"].value) == ("V4 A", "v1 A")
    controls["right"].value = "v2 C"
    controls["left"].value = "V4 B"
    controls["right"].value = "V4 B"
    assert [len(chart.figure.axes) for chart in handle.shown] == [2, 2, 2, 1]
    assert "v2 C" in handle.shown[1].alt and "V4 B" in handle.shown[2].alt and "v2" not in handle.shown[3].alt
    assert len({chart.png for chart in handle.shown}) == 4 and not any("No chart" in c.alt for c in handle.shown)


def test_block_browser_refuses_a_name_that_there_is_not(blocks):
    with pytest.raises(ValueError, match="there is no block 'V5'; there are V4 A, V4 B"):
        widgets.block_browser(blocks, "V4 A", "V5")
