"""Tests of the widgets of lesson 08: the visualizer and the occlusion browser."""

import re

import pytest
import torch
from torch import nn

from inception_lessons import data, look, widgets
from inception_lessons.googlenet import GoogLeNet

STATE = {"objective": "channel", "stage": "3a", "branch": "all", "channel": 0, "steps": 4}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GoogLeNet.laptop(norm="bn").eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def draw(model, images, **changes):
    return widgets.visualizer_chart(model, images, data.normalize, **{**STATE, **changes})


def shown(chart):
    """The pictures of a gallery, by heading; each with what stands under it."""
    axes = [ax for ax in chart.figure.axes if ax.images]
    start, end, *real = ([torch.tensor(ax.images[0].get_array()).permute(2, 0, 1) for ax in axes][k] for k in range(8))
    texts = [text.get_text() for text in chart.figure.texts]
    return start, end, torch.stack(real), [text for text in texts if text.lstrip("-")[:1].isdigit()]


# ------------------------------------------------------------------------------------------------------ the visualizer

ASKED = {
    "channel": ({"channel": 5}, {"stage": "3a", "channel": 5}),
    "neuron": ({"objective": "neuron", "channel": 5}, {"stage": "3a", "channel": 5, "objective": "neuron"}),
    "in a branch": ({"branch": "b5", "channel": 3, "stage": "4a"}, {"stage": "4a", "branch": "b5", "channel": 3}),
    "branch": (
        {"objective": "branch", "branch": "b1"},
        {"stage": "3a", "branch": "b1", "channel": torch.ones(16) / 16},
    ),
    "class": ({"objective": "class", "channel": 7}, {"stage": None, "objective": "class", "channel": 7}),
    "beyond the last": ({"branch": "b5", "channel": 99}, {"stage": "3a", "branch": "b5", "channel": 7}),
}


@pytest.mark.parametrize("name", ASKED)
def test_the_chart_shows_what_look_finds(name, model, images):
    changes, asked = ASKED[name]
    chart = draw(model, images, **changes)
    start, end, real, under = shown(chart)
    for picture, steps in ((start, 0), (end, 4)):
        torch.testing.assert_close(picture, look.visualize(model, normalize=data.normalize, steps=steps, **asked)[0])
    assert (start - end).abs().max() > 0.01
    where = {key: asked.get(key) for key in ("stage", "branch")}
    middle = asked.get("objective") == "neuron"
    seen = torch.cat([start[None], end[None], images])
    found = look.responses(model, data.normalize(seen), middle=middle, **where)
    channel = asked["channel"]
    found = found[:, channel] if isinstance(channel, int) else found.mean(1)
    best = found[2:].argsort(descending=True, stable=True)[:6]
    torch.testing.assert_close(real, images[best])
    wanted = [f"{found[0]:.2f}", f"{found[1]:.2f}", f"{found[2:][best[0]]:.2f} to {found[2:][best[-1]]:.2f}"]
    assert under == wanted
    for said in (f"answer is {wanted[0]},", f"after 4 steps with {wanted[1]},", "6 of 12 real pictures", wanted[2]):
        assert said in chart.alt


def test_the_chart_says_what_it_drives(model, images):
    said = {
        name: shown_title(draw(model, images, steps=0, classes="zero one two".split(), **changes))
        for name, changes in {
            "channel": {"channel": 5, "branch": "b3"},
            "neuron": {"objective": "neuron", "channel": 5},
            "branch": {"objective": "branch", "branch": "pool"},
            "class": {"objective": "class", "channel": 1},
            "no name": {"objective": "class", "channel": 4},
        }.items()
    }
    assert said == {
        "channel": "What drives 3a, 3 x 3: channel 5?",
        "neuron": "What drives 3a, all branches: channel 5 in the middle?",
        "branch": "What drives 3a, pool: all 8 channels?",
        "class": "What drives class one?",
        "no name": "What drives class 4?",
    }


def shown_title(chart):
    return chart.figure.texts[0].get_text()


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"stage": "9z"}, "no stage 9z"),
        ({"branch": "b7"}, "no branch 'b7' in 3a"),
        ({"stage": "conv1", "branch": "b1"}, "stage 'conv1' has no branches"),
        ({"objective": "dream"}, "objective is one of channel, neuron, branch, class, not 'dream'"),
    ],
)
def test_a_state_that_there_is_not(model, images, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw(model, images, **changes)


def test_the_visualizer_moves_and_remembers(model, images, page, monkeypatch):  # noqa: F811
    asked = []
    real = look.visualize
    monkeypatch.setattr(look, "visualize", lambda *a, **k: asked.append(k["steps"]) or real(*a, **k))
    widgets.visualizer(model, images, data.normalize, stage="4a", steps=3, shake=0.0)
    controls, (handle,) = page.controls(), page.handles
    assert list(controls) == ["objective", "stage", "branch", "channel", "steps"]
    values = {name: control.value for name, control in controls.items()}
    assert values == {"objective": "channel", "stage": "4a", "branch": "all", "channel": 0, "steps": 3}
    assert controls["stage"].options[:2] == ("conv1", "conv2_reduce") and controls["stage"].options[-1] == "5a"
    assert [value for _, value in controls["branch"].options] == ["all", "b1", "b3", "b5", "pool"]
    assert controls["channel"].max == 127 and not controls["channel"].continuous_update
    assert handle.shown[0].png == draw(model, images, stage="4a", steps=3, shake=0.0).png
    for name, value in {"channel": 2, "branch": "b3", "stage": "3a", "objective": "neuron", "steps": 0}.items():
        controls[name].value = value
    assert len({chart.png for chart in handle.shown}) == 6 and not any("No chart" in c.alt for c in handle.shown)
    before = len(asked)
    controls["steps"].value = 3
    assert len(asked) == before, "what was drawn once is remembered"


def test_only_what_there_is_can_be_chosen(model, images, page):  # noqa: F811
    widgets.visualizer(model, images, data.normalize, stage="3a", steps=0)
    controls, (handle,) = page.controls(), page.handles

    def disabled():
        return [name for name, control in controls.items() if control.disabled]

    assert disabled() == [] and controls["channel"].max == 63
    controls["branch"].value = "b5"
    assert controls["channel"].max == 7
    controls["channel"].value = 6
    controls["stage"].value = "4a"
    assert controls["branch"].value == "b5" and controls["channel"].value == 6 and controls["channel"].max == 11
    controls["stage"].value = "conv1"
    assert controls["branch"].value == "all" and controls["channel"].max == 15 and disabled() == ["branch"]
    controls["stage"].value = "5a"
    assert len(controls["branch"].options) == 5 and disabled() == [] and controls["channel"].max == 207
    controls["channel"].value = 200
    controls["objective"].value = "class"
    assert disabled() == ["stage", "branch"] and controls["channel"].max == controls["channel"].value == 9
    assert "What drives class 9" in handle.shown[-1].alt
    controls["objective"].value = "branch"
    assert disabled() == ["channel"] and "all 208 channels" in handle.shown[-1].alt
    assert not any("No chart" in chart.alt for chart in handle.shown)


def test_the_visualizer_takes_any_network_with_stages(images, page):  # noqa: F811
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleDict({"a": nn.Conv2d(3, 4, 3), "b": nn.Flatten(), "c": nn.LazyLinear(5)})

        def forward(self, x):
            for stage in self.stages.values():
                x = stage(x)
            return x

    own = Own()
    own(images[:1])
    widgets.visualizer(own, images, data.normalize, steps=2)
    controls = page.controls()
    assert controls["stage"].options == ("a",), "only what has a grid"
    assert controls["channel"].max == 3 and controls["branch"].disabled
    assert "What drives a" in page.handles[0].shown[0].alt
    with pytest.raises(ValueError, match="no stage 'b' to visualize; there are a"):
        widgets.visualizer(own, images, data.normalize, stage="b")


# ------------------------------------------------------------------------------------------------------------ occlusion


def test_the_occlusion_chart_is_looks(model, images):
    labels = torch.arange(12) % 10
    chart = widgets.occlusion_chart(model, images, labels, data.normalize, image=4, patch=16, classes="abcdefghij")
    want = look.occlusion(model, data.normalize(images[4:5]), [4], patch=16, stride=8)[0]
    picture, over, _ = chart.figure.axes
    torch.testing.assert_close(torch.tensor(over.images[1].get_array()), want)
    whole = float(model(data.normalize(images[4:5])).softmax(1)[0, 4])
    assert picture.get_title(loc="center") == f"class e: {whole:.2f}"
    row, column = divmod(int(want.argmax()), 3)
    assert f"class e with probability {whole:.2f}" in chart.alt
    assert f"most, {float(want.max()):.2f}, at row {8 * row}, column {8 * column}." in chart.alt
    other = widgets.occlusion_chart(model, images, labels, data.normalize, image=4, patch=16, of=7)
    want = look.occlusion(model, data.normalize(images[4:5]), [7], patch=16, stride=8)[0]
    torch.testing.assert_close(torch.tensor(other.figure.axes[1].images[1].get_array()), want)
    assert "class 7" in other.alt


def test_the_occlusion_browser_moves(model, images, page):  # noqa: F811
    widgets.occlusion_browser(model, images, list(range(10)) + [0, 1], data.normalize, classes="abcdefghij")
    controls, (handle,) = page.controls(), page.handles
    assert list(controls) == ["picture", "patch (px)", "class"]
    assert [value for _, value in controls["patch (px)"].options] == [4, 8, 10, 16] and controls[
        "patch (px)"
    ].value == 8
    assert controls["class"].options[:2] == (("its label", -1), ("a", 0)) and len(controls["class"].options) == 11
    controls["picture"].value = 11
    controls["patch (px)"].value = 16
    controls["class"].value = 9
    assert [re.search(r"class (\w)", chart.alt)[1] for chart in handle.shown] == ["a", "b", "b", "j"]
    assert len({chart.png for chart in handle.shown}) == 4 and not any("No chart" in c.alt for c in handle.shown)
    with pytest.raises(ValueError, match="a label for each picture, not 3 labels for 12 pictures"):
        widgets.occlusion_browser(model, images, [0, 1, 2], data.normalize)
