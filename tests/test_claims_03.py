"""Tests of the claims of lesson 03: forms of a kernel, grid reductions, and the rules that judge them."""

import json
from collections import OrderedDict

import pytest
import torch
from torch import nn

from inception_lessons import data, measure
from inception_lessons.experiments import VERDICTS, lesson_03
from inception_lessons.experiments.lesson_03 import FORMS, REDUCTIONS, Reduction, TwoGrids, TwoReductions, share_saved
from inception_lessons.train import Recipe

HOLDS, PART, NOT_HERE, OPPOSITE, _ = VERDICTS


def runs(mean, spread=0.002, **same):
    """Five runs of an arm with this mean test accuracy."""
    return [{"seed": s, "test_accuracy": mean + spread * (s - 2)} | same for s in range(5)]


# ---------------------------------------------------------------------------------------------------- forms of a kernel


@pytest.mark.parametrize(
    "form, n, weights",
    [
        ("n x n", 5, 25),
        ("3 x 3 stacked", 3, 9),
        ("3 x 3 stacked", 5, 9 + 9),
        ("3 x 3 stacked", 7, 9 + 9 + 9),
        ("1 x n + n x 1", 3, 3 + 3),
        ("1 x n + n x 1", 5, 5 + 5),
        ("1 x n + n x 1", 7, 7 + 7),
    ],
)
def test_share_saved_is_that_of_the_weights(form, n, weights):
    for channels, grid in ((64, 17), (8, 5)):
        assert share_saved(form, n, channels, grid) == pytest.approx(1 - weights / n**2, abs=1e-12)


def test_the_papers_28_and_33_percent():
    assert share_saved("3 x 3 stacked", 5) == pytest.approx(0.28)
    assert share_saved("1 x n + n x 1", 3) == pytest.approx(1 / 3)


@pytest.mark.parametrize("n", [3, 5, 7])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_sees_n_x_n_and_keeps_the_grid(form, n):
    model = nn.Sequential(OrderedDict(kernel=FORMS[form](3, 4, n)))
    assert measure.receptive_field(model, "kernel", 20) == (n, n)
    assert model(torch.zeros(2, 3, 9, 11)).shape == (2, 4, 9, 11)


def test_a_row_and_a_column_and_nothing_else():
    kernels = [layer.kernel_size for layer in FORMS["1 x n + n x 1"](6, 6, 7).modules() if isinstance(layer, nn.Conv2d)]
    assert kernels == [(1, 7), (7, 1)]


def test_kernels_that_cannot_be_split():
    for n in (1, 4, -3):
        for form in ("3 x 3 stacked", "1 x n + n x 1"):
            with pytest.raises(ValueError, match=f"odd and at least 3 wide, not {n}"):
                FORMS[form](4, 4, n)
    with pytest.raises(ValueError, match="form is one of 'n x n', .* not '5 x 5'"):
        share_saved("5 x 5", 5)


# ------------------------------------------------------------------------------------------------------------------- F3


def kernels(model, stage):
    return [layer.kernel_size for layer in model.stages[stage].modules() if isinstance(layer, nn.Conv2d)]


def test_arms_of_f3_split_what_they_say_on_the_grid_they_say():
    models = {name: TwoGrids(**arm) for name, arm in lesson_03.f3.arms.items()}
    split, whole = [(1, 7), (7, 1)], [(7, 7)]
    for name, early, mid in (
        ("not split", whole, whole),
        ("split early", split, whole),
        ("split in the middle", whole, split),
    ):
        model = models[name]
        assert [kernels(model, stage) for stage in ("early1", "early2", "mid1", "mid2")] == [early] * 2 + [mid] * 2
        shapes = {row.name: row.shape for row in measure.stages(model, 32)}
        assert [shapes[stage] for stage in ("early1", "early2")] == [(8, 32, 32)] * 2
        assert [shapes[stage] for stage in ("mid1", "mid2")] == [(16, 16, 16)] * 2
        others = {k: v.shape for k, v in model.state_dict().items() if not k.startswith(("stages.early", "stages.mid"))}
        plain = models["not split"].state_dict()
        assert others and all(plain[key].shape == shape for key, shape in others.items())


def test_splitting_early_saves_as_many_multiply_adds_as_in_the_middle():
    macs = {name: measure.count(TwoGrids(**arm), 32).macs for name, arm in lesson_03.f3.arms.items()}
    assert macs["split early"] == macs["split in the middle"]
    # two layers of 49 weights for 14, with 8 x 8 channels at 32 x 32 positions
    assert macs["not split"] - macs["split early"] == 2 * (49 - 14) * 8 * 8 * 32 * 32


def f3(none, early, mid, spread=0.002):
    made = {
        "not split": runs(none, spread, macs=100),
        "split early": runs(early, -spread, macs=66),
        "split in the middle": runs(mid, 2 * spread, macs=66),
    }
    return lesson_03.f3.verdict([{"arm": arm} | run for arm, rows in made.items() for run in rows])


@pytest.mark.parametrize(
    "none, early, mid, spread, word",
    [
        (0.80, 0.75, 0.80, 0.002, HOLDS),
        (0.80, 0.75, 0.82, 0.002, HOLDS),  # better than unsplit is no loss
        (0.80, 0.65, 0.75, 0.002, PART),  # dearer early, but not free in the middle
        (0.80, 0.79, 0.80, 0.002, PART),  # an effect, but below the threshold
        (0.80, 0.80, 0.80, 0.001, PART),  # free in the middle, and early too
        (0.80, 0.75, 0.755, 0.01, NOT_HERE),  # dear in both
        (0.80, 0.79, 0.80, 0.02, NOT_HERE),  # seeds spread too far to tell
        (0.80, 0.80, 0.75, 0.002, OPPOSITE),
        (0.80, 0.82, 0.80, 0.002, OPPOSITE),  # early is better than the middle, though the middle loses nothing
    ],
)
def test_judge_of_f3(none, early, mid, spread, word):
    assert f3(none, early, mid, spread).word == word


def test_f3_says_its_figures():
    sentence = f3(0.80, 0.75, 0.79).sentence
    assert "by splitting early: +0.050 [" in sentence and "in the middle: +0.010 [" in sentence
    assert "early minus middle: +0.040 [" in sentence and "either saves 34% of" in sentence


# ------------------------------------------------------------------------------------------------------------------- F4


@pytest.mark.parametrize("how", REDUCTIONS)
def test_a_reduction_halves_the_grid_and_widens(how):
    assert Reduction(8, 20, how=how)(torch.rand(2, 8, 16, 12)).shape == (2, 20, 8, 6)


def test_reductions_are_what_they_are_called():
    x = torch.rand(2, 8, 16, 16)
    pool = nn.MaxPool2d(3, 2, 1)
    for how in REDUCTIONS:
        torch.manual_seed(0)
        reduction = Reduction(8, 16, how=how).eval()
        (conv,) = [layer for layer in reduction.modules() if isinstance(layer, nn.Conv2d)]

        def unit(x, conv=conv):
            return (conv(x) / (1 + 1e-3) ** 0.5).relu()  # batch norm before it has seen anything

        wanted = {
            "pool, then convolve": lambda: unit(pool(x)),
            "convolve, then pool": lambda: pool(unit(x)),
            "side by side": lambda: torch.cat([unit(x), pool(x)], 1),
        }[how]()
        torch.testing.assert_close(reduction(x), wanted)


def test_reductions_that_cannot_be():
    with pytest.raises(ValueError, match="how is one of .* not 'pool'"):
        Reduction(8, 16, how="pool")
    with pytest.raises(ValueError, match="more than 8 channels come out, not 8"):
        Reduction(8, 8, how="side by side")


def test_costs_of_the_three_reductions_are_the_papers():
    """To a quarter by pooling first (section 5), to an eighth side by side, where half the output costs nothing."""
    cost = {how: measure.count(Reduction(32, 64, how=how), 16) for how in REDUCTIONS}
    pool, convolve, both = (cost[how].macs for how in REDUCTIONS)
    assert (pool, convolve, both) == (9 * 32 * 64 * 64, 4 * pool, pool // 2)


@pytest.mark.parametrize("how", REDUCTIONS)
def test_batch_norm_behind_a_reduction_is_the_last_word(how):
    """Written out: no batch norm before the end, and what comes out has mean 0 and variance 1 before the ReLU."""
    x = torch.rand(64, 8, 16, 16) * torch.arange(1, 9).view(1, 8, 1, 1)
    module = lesson_03.normed(8, 16, how=how, norm="behind").train()
    (conv,) = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    assert conv.bias is None and sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()) == 1
    pool = nn.MaxPool2d(3, 2, 1)
    before = {
        "pool, then convolve": lambda: conv(pool(x)),
        "convolve, then pool": lambda: pool(conv(x)),
        "side by side": lambda: torch.cat([conv(x), pool(x)], 1),
    }[how]()
    mean, variance = before.mean((0, 2, 3), keepdim=True), before.var((0, 2, 3), keepdim=True, unbiased=False)
    torch.testing.assert_close(module(x), ((before - mean) / (variance + 1e-3).sqrt()).relu())


def test_batch_norm_inside_is_the_reduction_of_the_papers():
    for how in REDUCTIONS:
        assert isinstance(lesson_03.normed(8, 16, how=how, norm="inside"), Reduction)
    with pytest.raises(ValueError, match="norm is one of .*inside.*behind.* not 'none'"):
        TwoReductions(norm="none")


def test_arms_of_f4_differ_in_their_reductions_alone():
    models = {name: TwoReductions(**arm) for name, arm in lesson_03.f4.arms.items()}
    assert list(models)[:3] == list(REDUCTIONS) and len(models) == 5
    judged, inside = list(lesson_03.f4.arms.values())[:3], list(lesson_03.f4.arms.values())[3:]
    assert all(arm["norm"] == "behind" for arm in judged) and all(arm["norm"] == "inside" for arm in inside)
    tables = [[(row.name, row.shape) for row in measure.stages(model, 32)] for model in models.values()]
    assert all(table == tables[0] for table in tables)
    assert [shape for name, shape in tables[0] if name.startswith("reduce")] == [(48, 8, 8), (96, 4, 4)]
    others = [
        {row.name: (row.params, row.macs) for row in measure.stages(model, 32) if not row.name.startswith("reduce")}
        for model in models.values()
    ]
    assert all(other == others[0] for other in others) and len(others[0]) == 4


def test_pooling_first_needs_no_second_arm():
    """With batch norm inside or behind it is one and the same function: that is why it has no arm with norm inside."""
    x, found = torch.rand(4, 3, 32, 32), []
    for norm in ("inside", "behind"):
        torch.manual_seed(0)
        found.append(TwoReductions(how="pool, then convolve", norm=norm).train()(x))
    torch.testing.assert_close(*found)


def f4(pool, convolve, both, spread=0.002, macs=(100, 400, 50), inside=(0.6, 0.6)):
    made = {
        how: runs(mean, spread * sign, reduction_macs=count)
        for how, mean, sign, count in zip(REDUCTIONS, (pool, convolve, both), (1, -1, 2), macs, strict=True)
    }
    made |= {f"{how}, norm inside": runs(mean, spread) for how, mean in zip(REDUCTIONS[1:], inside, strict=True)}
    return lesson_03.f4.verdict([{"arm": arm} | run for arm, rows in made.items() for run in rows])


@pytest.mark.parametrize(
    "pool, convolve, both, spread, macs, word",
    [
        (0.70, 0.75, 0.75, 0.002, (100, 400, 50), HOLDS),
        (0.70, 0.75, 0.75, 0.002, (100, 150, 50), PART),  # convolving first must be dear
        (0.70, 0.75, 0.75, 0.002, (100, 400, 150), PART),  # side by side must not be
        (0.70, 0.75, 0.65, 0.002, (100, 400, 50), PART),  # a bottleneck, but side by side is worse still
        (0.742, 0.75, 0.75, 0.001, (100, 400, 50), PART),
        (0.75, 0.75, 0.75, 0.001, (100, 400, 50), PART),  # as good for an eighth of the cost; no bottleneck
        (0.80, 0.75, 0.75, 0.002, (100, 400, 50), PART),  # pooling first is better; side by side as good as convolving
        (0.75, 0.75, 0.75, 0.03, (100, 400, 50), NOT_HERE),
        (0.77, 0.75, 0.70, 0.002, (100, 400, 50), OPPOSITE),
        (0.75, 0.75, 0.70, 0.005, (100, 400, 50), OPPOSITE),
    ],
)
def test_judge_of_f4(pool, convolve, both, spread, macs, word):
    assert f4(pool, convolve, both, spread, macs).word == word


def test_f4_says_its_figures():
    sentence = f4(0.70, 0.75, 0.76).sentence
    assert "convolving first minus pooling first: +0.050 [" in sentence and "(bottleneck: holds)" in sentence
    assert "side by side minus convolving first: +0.010 [" in sentence and "(neither: holds)" in sentence
    assert "pooling first being 1: convolving first 4, side by side 0.5" in sentence
    assert "bottleneck: the opposite holds" in f4(0.80, 0.75, 0.75).sentence


def test_batch_norm_inside_is_told_and_does_not_decide():
    low, high = (f4(0.70, 0.75, 0.75, inside=(value, value)) for value in (0.2, 0.9))
    assert low.word == high.word == HOLDS
    assert "inside instead of behind: convolve, then pool -0.550 [" in low.sentence
    assert "side by side +0.150 [" in high.sentence


# ----------------------------------------------------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def tiny():
    """An image set of 32 examples with random pixels."""
    pixels = torch.randint(0, 256, (32, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    split = data.Split(pixels, torch.arange(32) % 10)
    return data.ImageSet("tiny", split, split, split, data.DIGIT_NAMES, "made here")


@pytest.mark.parametrize("of", [lesson_03.f3, lesson_03.f4], ids=lambda of: of.id)
def test_runs_store_what_the_judge_reads(of, tiny):
    made = []
    for arm in of.arms:
        found = of.measure(of.arms[arm], Recipe(steps=2, batch_size=4, lr=0.01), 0, tiny, True)
        assert {"loss", "stopped", "curve", "validation_accuracy", "cpu_seconds", "seconds"} < set(found)
        made += [{"arm": arm, "seed": seed} | found for seed in range(5)]
    verdict = of.verdict(json.loads(json.dumps(made)))
    counted = {"F3": "either saves 34% of the", "F4": "convolving first 4, side by side 0.5"}[of.id]
    assert verdict.word in VERDICTS and counted in verdict.sentence
