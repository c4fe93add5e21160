"""Tests of the claims of lesson 05: twins without the shortcut, the signal by depth, and the rules that judge them."""

import copy
import itertools
import json
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from inception_lessons import data, measure
from inception_lessons.experiments import VERDICTS, lesson_05
from inception_lessons.experiments.lesson_05 import Plain, dead_channels, network, signal_by_depth, twin
from inception_lessons.inception_resnet import SCALES, InceptionResNetV1, Residual
from inception_lessons.train import History, Recipe

HOLDS, PART, NOT_HERE, OPPOSITE, _ = VERDICTS
BLOCKS = [f"A{i}" for i in (1, 2)] + [f"B{i}" for i in (1, 2, 3, 4)] + [f"C{i}" for i in (1, 2)]


def judged(of, made):
    """Verdict of made-up runs: arm -> rows without arm and seed."""
    return of.verdict([{"arm": arm, "seed": s} | row for arm, rows in made.items() for s, row in enumerate(rows)])


# ---------------------------------------------------------------------------------------------------------------- twins


def made(shortcut, **options):
    torch.manual_seed(3)
    return network(10, shortcut, **options)


def test_twins_lose_the_shortcut_in_every_block_and_nothing_else():
    with_it, bare, norm = (made(word) for word in ("residual", "none", "none, batch norm"))
    for name in BLOCKS:
        assert isinstance(with_it.stages[name], Residual)
        assert type(bare.stages[name]) is type(norm.stages[name]) is Plain
    assert list(with_it.stages) == list(bare.stages) == list(norm.stages)
    weights = with_it.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in bare.state_dict().items())
    assert set(bare.state_dict()) == set(weights)
    extra = set(norm.state_dict()) - set(weights)
    assert extra == {
        f"stages.{name}.norm.{what}"
        for name in BLOCKS
        for what in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }


def test_twins_cost_the_same_but_for_two_numbers_a_channel_of_batch_norm():
    cost = {word: measure.count(made(word), 32) for word in ("residual", "none", "none, batch norm")}
    assert cost["residual"] == cost["none"] and cost["none, batch norm"].macs == cost["residual"].macs
    channels = sum(made("residual").stages[name].up.out_channels for name in BLOCKS)
    assert cost["none, batch norm"].params - cost["none"].params == 2 * channels


@pytest.mark.parametrize("name", ["A1", "B3", "C2"])
def test_nothing_passes_a_twin_but_through_its_branches(name):
    """With ``up`` at zero a residual block hands on its input, and a block without the shortcut hands on nothing."""
    block, plain = made("residual").stages[name].eval(), made("none").stages[name].eval()
    for layer in (block, plain):
        nn.init.zeros_(layer.up.weight)
    c = block.up.out_channels
    x = torch.rand(2, c, 6, 6) - 0.5
    assert torch.equal(block(x), x.relu()) and not plain(x).any()


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("relu", [True, False])
def test_plain_is_up_of_the_branches_then_batch_norm_then_relu(norm, relu):
    block = made("residual").stages["B1"]
    block.relu = relu
    plain = Plain(copy.deepcopy(block), norm=norm).train()
    x = torch.randn(4, block.up.out_channels, 7, 7)
    wanted = block.up(block.train().branches(x))
    if norm:
        centred = wanted - wanted.mean((0, 2, 3), keepdim=True)
        wanted = centred / (wanted.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(plain(x), wanted.relu() if relu else wanted, rtol=1e-4, atol=1e-4)


def test_twin_changes_a_network_in_place_and_only_residual_blocks():
    model = InceptionResNetV1.laptop()
    parts = {name: stage for name, stage in model.stages.items() if not isinstance(stage, Residual)}
    assert twin(model, norm=True) is model
    assert all(model.stages[name] is stage for name, stage in parts.items()) and len(parts) == 7


def test_another_word_for_the_shortcut_is_refused():
    with pytest.raises(ValueError, match="shortcut is 'residual', 'none' or .* not 'off'"):
        network(10, "off")


# ------------------------------------------------------------------------------------------------------ signal by depth


def signal(scales, width=0.125):
    torch.manual_seed(0)
    model = InceptionResNetV1.laptop(blocks=(2, 4, 2), width=width, scales=scales)
    return model, signal_by_depth(model, torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(1)))


def test_signal_by_depth_is_the_variance_of_each_stage_in_training_mode():
    torch.manual_seed(0)
    model = InceptionResNetV1.laptop(blocks=(1, 1, 1)).eval()
    before = copy.deepcopy(model.state_dict())
    x = torch.randn(8, 3, 32, 32)
    found = signal_by_depth(model, x)
    assert not model.training and all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(not layer._forward_hooks for layer in model.modules())
    assert list(found) == list(model.stages)
    model.train()
    with torch.no_grad():
        for name, stage in model.stages.items():
            x = stage(x)
            assert found[name] == pytest.approx(float(x.var()), rel=1e-4), name


def test_unscaled_blocks_swell_the_signal_and_scaled_ones_hardly():
    scaled, unscaled = signal(SCALES)[1], signal((1.0, 1.0, 1.0))[1]
    assert scaled["conv4b"] == pytest.approx(unscaled["conv4b"])
    for first, last in (("conv4b", "A2"), ("reductionA", "B4"), ("reductionB", "C2")):
        assert 0.8 * scaled[first] < scaled[last] < 1.2 * scaled[first]
        assert unscaled[last] > (2.5 if last == "A2" else 1.5 if last == "B4" else 1.1) * unscaled[first]
    assert unscaled["C2"] > 4 * scaled["C2"]


# ------------------------------------------------------------------------------------------------------------------- R1


def arm_of_steps(steps, accuracy=0.6, missed=0):
    return [
        {"steps_to": steps + s, "reached": None if s < missed else steps + s, "test_accuracy": accuracy + 0.001 * s}
        for s in (0, 4, 1, 3, 2)
    ]


def r1(with_it, norm, bare=150):
    made = {"shortcut": with_it, "no shortcut": bare, "no shortcut, batch norm": norm}
    return judged(lesson_05.r1, {arm: arm_of_steps(steps) for arm, steps in made.items()})


@pytest.mark.parametrize(
    "with_it, norm, bare, word",
    [
        (80, 120, 150, HOLDS),
        (80, 150, 120, HOLDS),
        (80, 92, 150, PART),
        (80, 150, 92, PART),
        (80, 80, 150, NOT_HERE),
        (80, 150, 80, NOT_HERE),
        (120, 80, 150, OPPOSITE),
        (120, 150, 80, OPPOSITE),
    ],
)
def test_judge_of_r1_compares_with_the_faster_rival(with_it, norm, bare, word):
    verdict = r1(with_it, norm, bare)
    assert verdict.word == word
    ratio = math.exp(sum(math.log((bare + s) / (with_it + s)) for s in range(5)) / 5)
    told = f"{float(f'{ratio:.2g}'):g}"
    assert verdict.sentence.startswith(f"steps without over with the shortcut: no shortcut {told} times [")
    assert f"minus {'batch norm in its place' if norm < bare else 'no shortcut'}: +0.000" in verdict.sentence


def test_r1_says_who_never_got_there():
    rows = {"shortcut": arm_of_steps(80), "no shortcut": arm_of_steps(196, missed=2)}
    verdict = judged(lesson_05.r1, rows | {"no shortcut, batch norm": arm_of_steps(120)})
    assert "runs of 5 that never got there: no shortcut 2;" in verdict.sentence
    assert "never got there: none" in r1(80, 120).sentence


@pytest.mark.parametrize("factors", [{"size": torch.ones(1)}, {}])
def test_r1_counts_the_steps_to_each_data_sets_own_loss(monkeypatch, factors):
    losses = [2.3] * 10 + [1.6] * 20 + [0.5] * 170
    history = History(Recipe(), loss=losses)
    monkeypatch.setattr(lesson_05, "trained", lambda *a, **k: ({}, history))
    images = SimpleNamespace(train=SimpleNamespace(factors=factors), classes=("a", "b"))
    found = lesson_05.r1.measure({"shortcut": "none"}, Recipe(steps=200), 0, images, False)
    level = 1.0 if factors else 1.7
    wanted = next(i for i in range(20, 201) if sum(losses[i - 20 : i]) / 20 <= level)
    assert found["reached"] == found["steps_to"] == wanted
    history.loss = [2.3] * 200
    found = lesson_05.r1.measure({"shortcut": "none"}, Recipe(steps=200), 0, images, False)
    assert found["reached"] is None and found["steps_to"] == 200


# ------------------------------------------------------------------------------------------------------------------- R2


def r2(size, shortcut, spread=0.002):
    return judged(
        lesson_05.r2,
        {
            f"{a}, {b}": [
                {
                    "test_accuracy": 0.5
                    + size * (a == "large")
                    + shortcut * (b == "shortcut")
                    + spread * (s - 2) * (1 if b == "shortcut" else -1)  # nothing cancels in the difference
                }
                for s in range(5)
            ]
            for a, b in itertools.product(("small", "large"), ("shortcut", "no shortcut"))
        },
    )


@pytest.mark.parametrize(
    "size, shortcut, spread, word",
    [
        (0.06, 0.01, 0.002, HOLDS),
        (0.06, -0.01, 0.002, HOLDS),  # a shortcut that harms has an effect, too
        (0.06, -0.08, 0.002, OPPOSITE),
        (0.06, 0.08, 0.002, OPPOSITE),
        (0.03, 0.02, 0.002, PART),
        (0.03, -0.02, 0.002, PART),
        (0.03, 0.03, 0.002, NOT_HERE),
        (0.00, 0.00, 0.01, NOT_HERE),
        (-0.06, 0.01, 0.002, OPPOSITE),  # the small network is the better one
    ],
)
def test_judge_of_r2(size, shortcut, spread, word):
    verdict = r2(size, shortcut, spread)
    assert verdict.word == word
    assert f"twice the width: {size:+.3f} [" in verdict.sentence or size == 0
    assert f"by the shortcut: {shortcut:+.3f} [" in verdict.sentence or shortcut == 0


def test_arms_of_r2_are_two_by_two():
    made = {name: network(10, arm["shortcut"], arm["width"]) for name, arm in lesson_05.r2.arms.items()}
    assert list(made) == ["small, shortcut", "small, no shortcut", "large, shortcut", "large, no shortcut"]
    shapes = {name: [row.shape for row in measure.stages(model, 32)] for name, model in made.items()}
    for size in ("small", "large"):
        assert shapes[f"{size}, shortcut"] == shapes[f"{size}, no shortcut"]
        assert isinstance(made[f"{size}, shortcut"].stages["A1"], Residual)
        assert isinstance(made[f"{size}, no shortcut"].stages["A1"].norm, nn.BatchNorm2d)
    assert all(
        large[0] == 2 * small[0] and large[1:] == small[1:]
        for small, large in zip(shapes["small, shortcut"][:-1], shapes["large, shortcut"][:-1], strict=True)
        if small[0] != 4  # no layer is thinner than 4
    )


# ------------------------------------------------------------------------------------------------------------------- R3


def r3(saved, wide, narrow=0.1, spread=0.004):
    """Unscaled wide networks have ``wide`` dead channels, scaled ones ``saved`` fewer."""
    level = {
        ("scaled", "wide"): wide - saved,
        ("unscaled", "wide"): wide,
        ("scaled", "narrow"): 0.0,
        ("unscaled", "narrow"): narrow,
    }
    return judged(
        lesson_05.r3,
        {
            name: [
                {
                    "dead": level[tuple(name.split(", ")[:2])] + spread * (s - 2) * (-1) ** (len(name) % 2),
                    "stopped": None,
                }
                for s in range(5)
            ]
            for name in lesson_05.r3.arms
        },
    )


@pytest.mark.parametrize(
    "saved, wide, narrow, spread, word",
    [
        (0.5, 0.6, 0.1, 0.004, HOLDS),
        (0.5, 0.6, 0.6, 0.004, PART),  # width has nothing to do with it
        (0.5, 0.6, 0.9, 0.004, PART),
        (0.1, 0.6, 0.1, 0.004, PART),  # fewer, but not by the threshold
        (0.0, 0.6, 0.1, 0.004, NOT_HERE),
        (0.0, 0.0, 0.0, 0.0, NOT_HERE),  # nobody dies
        (-0.3, 0.6, 0.1, 0.004, OPPOSITE),
    ],
)
def test_judge_of_r3(saved, wide, narrow, spread, word):
    verdict = r3(saved, wide, narrow, spread)
    assert verdict.word == word
    assert (
        f"unscaled and wide {wide:.2f}" in verdict.sentence and "scaled 0 of 40, unscaled 0 of 40" in verdict.sentence
    )


def test_arms_of_r3_are_a_grid_of_scale_width_and_rate():
    arms = lesson_05.r3.arms
    assert len(arms) == 2 * 2 * 4 and all("rate" in arm for arm in arms.values())
    for name, arm in arms.items():
        scaled, width, rate = name.split(", ")
        assert f"rate {arm['rate']:g}" == rate
        assert (arm["scales"] == SCALES) == (scaled == "scaled") and (arm["width"] == 0.25) == (width == "wide")
        model = InceptionResNetV1.laptop(blocks=lesson_05.BLOCKS, width=arm["width"], scales=arm["scales"])
        scales = [stage.scale for stage in model.stages.values() if isinstance(stage, Residual)]
        assert scales == ([0.17] * 2 + [0.10] * 4 + [0.20] * 2 if scaled == "scaled" else [1.0] * 8)


def test_dead_channels_are_counted_before_the_pooling():
    torch.manual_seed(0)
    model = InceptionResNetV1.laptop(blocks=(1, 1, 1)).eval()
    before = copy.deepcopy(model.state_dict())
    x = torch.randn(16, 3, 32, 32)
    assert dead_channels(model, x) < 0.02
    assert not model.training and all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    last = model.stages["C1"]
    c = last.up.out_channels
    with torch.no_grad():
        last.up.bias[: c // 4] = -1e4  # what comes in is then below 0 everywhere, as scaled as it is
    assert dead_channels(model, x) == pytest.approx(c // 4 / c, abs=0.02)
    with torch.no_grad():
        last.up.bias.fill_(-1e4)
    assert dead_channels(model, x) == 1.0
    with torch.no_grad():
        last.up.bias.fill_(float("nan"))
    assert dead_channels(model, x) == 1.0


def test_a_channel_that_lives_for_one_image_is_not_dead():
    class Last(nn.Module):
        def forward(self, x):
            out = torch.zeros(4, 2, 3, 3)
            out[3, 1, 2, 0] = 1e-3
            return out

    model = nn.Module()
    model.stages = nn.ModuleDict({"last": Last()})
    assert dead_channels(model, torch.zeros(4, 3, 8, 8)) == 0.5


# ----------------------------------------------------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def tiny():
    """An image set of 32 examples with random pixels; ``take`` gives what there is."""

    class Few(data.Split):
        def take(self, which):
            return self

    pixels = torch.randint(0, 256, (32, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    split = Few(pixels, torch.arange(32) % 10)
    return data.ImageSet("tiny", split, split, split, data.DIGIT_NAMES, "made here")


def few_steps(of, name, images, lr=0.01):
    recipe = Recipe(steps=2, batch_size=4, lr=of.arms[name].get("rate", lr))
    return of.measure(of.arms[name], recipe, 0, images, True)


@pytest.mark.parametrize("of", [lesson_05.r1, lesson_05.r2, lesson_05.r3], ids=lambda of: of.id)
def test_runs_store_what_the_judge_reads(of, tiny):
    measured = list(of.arms)[: 1 if of.id == "R3" else None]  # its sixteen arms differ in numbers alone
    found = {arm: few_steps(of, arm, tiny) for arm in measured}
    for run in found.values():
        assert {"loss", "stopped", "curve", "validation_accuracy", "cpu_seconds", "seconds"} < set(run)
    first = found[measured[0]]
    made = [found.get(arm, first) | {"arm": arm, "seed": seed} for arm in of.arms for seed in range(5)]
    assert of.verdict(json.loads(json.dumps(made))).word in VERDICTS


def test_r3_stores_the_signal_at_the_start_and_counts_a_diverged_run_as_dead(tiny, monkeypatch):
    slow, fast = (few_steps(lesson_05.r3, f"unscaled, narrow, rate {rate}", tiny) for rate in ("0.01", "0.3"))
    assert slow["signal"] == fast["signal"] and list(slow["signal"])[-1] == "C2"
    monkeypatch.setattr(lesson_05, "trained", lambda *a, **k: ({"stopped": "no number", "loss": 99.0}, None))
    assert few_steps(lesson_05.r3, "scaled, narrow, rate 0.01", tiny)["dead"] == 1.0
