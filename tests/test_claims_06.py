"""Tests of lesson 06's experiment: the three budgets by hand, agreement of seeds, and the rule on made-up runs."""

import math
from dataclasses import replace

import pytest
import scipy.stats
import torch
from torch import nn

from inception_lessons import data, experiments, measure, plots
from inception_lessons.experiments import EXPERIMENTS, VERDICTS, lesson_06

HOLDS, PART, NOT_HERE, OPPOSITE, _ = VERDICTS
A2 = EXPERIMENTS["A2"]


def run(losses, *, macs=10.0, seconds=0.1, seed=0, stopped=None, every=50):
    """One made-up run that looked at its validation images every 50 steps."""
    steps = [every * (i + 1) for i in range(len(losses))]
    looks = {"steps": steps, "loss": list(losses), "accuracy": [0.5] * len(losses)}
    return {"seed": seed, "validation": looks, "step_macs": macs, "step_seconds": seconds, "stopped": stopped}


# ---------------------------------------------------------------------------------------------------- reading a budget


@pytest.mark.parametrize(
    "step, loss",
    [(100, 1.0), (200, 0.5), (150, 0.75), (110, 0.95), (20, 1.0), (0.5, 1.0), (200.0, 0.5), (999, 0.5)],
)
def test_loss_at_lies_on_the_line_between_two_looks(step, loss):
    assert lesson_06.loss_at(run([1.0, 0.5], every=100), step) == pytest.approx(loss)


def test_a_run_that_diverged_has_no_loss_after_that():
    broken = run([1.0, 0.5], every=100, stopped="the loss stopped being a number")
    assert lesson_06.loss_at(broken, 150) == pytest.approx(0.75)
    assert lesson_06.loss_at(broken, 201) == math.inf
    assert lesson_06.loss_at(run([], stopped="at once"), 10) == math.inf


def test_equal_budgets_by_hand():
    """The cheap network's 200 steps: 2,000 multiply-adds, 8 seconds. The dear one gets 100 steps for the former and 40
    for the latter.
    """
    arms = {
        "cheap": [run([2.0, 1.6, 1.2, 1.0], macs=10, seconds=0.04, seed=s) for s in range(5)],
        "dear": [run([1.8, 1.0, 0.6, 0.4], macs=20, seconds=0.2, seed=s) for s in range(5)],
    }
    assert lesson_06.at_equal(arms, "steps") == {"cheap": [1.0] * 5, "dear": [0.4] * 5}
    assert lesson_06.at_equal(arms, "multiply-adds") == {"cheap": [1.0] * 5, "dear": [1.0] * 5}
    assert lesson_06.at_equal(arms, "seconds") == {"cheap": [1.0] * 5, "dear": [1.8] * 5}


def test_a_slow_seed_does_not_count_as_a_slow_network():
    arms = {"a": [run([1.0], seconds=s) for s in (0.1, 0.1, 0.1, 0.1, 9.0)]}
    assert lesson_06.spent(arms, "seconds") == {"a": 0.1}


def test_a_run_that_stopped_early_does_not_shorten_the_race():
    arms = {
        "a": [run([2.0, 1.0, 0.5, 0.25]) for _ in range(5)],
        "b": [run([2.0], stopped="diverged"), *(run([2.0, 1.5, 1.4, 1.3]) for _ in range(4))],
    }
    assert lesson_06.at_equal(arms, "steps")["a"] == [0.25] * 5
    arms = dict(reversed(arms.items()))
    assert lesson_06.at_equal(arms, "steps") == {"b": [math.inf, *[1.3] * 4], "a": [0.25] * 5}


def test_another_budget_is_refused():
    with pytest.raises(ValueError, match="steps, multiply-adds, seconds, not 'joules'"):
        lesson_06.spent({"a": [run([1.0])]}, "joules")


# --------------------------------------------------------------------------------------------------- agreement of seeds


def test_agreement_is_kendalls_tau_of_a_seed_and_the_rest():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(10, 5, generator=generator) * 2 + torch.arange(10.0)[:, None]
    losses = {f"n{i}": row for i, row in enumerate(noise.tolist())}
    taus = []
    for seed in range(5):
        rest = noise[:, [s for s in range(5) if s != seed]].mean(1)
        taus.append(scipy.stats.kendalltau(noise[:, seed].numpy(), rest.numpy()).statistic)
    assert lesson_06.agreement(losses) == pytest.approx(experiments.interval(taus))
    assert 0.3 < lesson_06.agreement(losses).mean < 0.95


def test_seeds_that_agree_and_seeds_that_do_not():
    same = {f"n{i}": [float(i)] * 5 for i in range(10)}
    assert lesson_06.agreement(same) == pytest.approx((1, 1, 1))
    against = {f"n{i}": [float(i), float(-i)] for i in range(10)}
    assert lesson_06.agreement(against) == pytest.approx((-1, -1, -1))


def test_a_network_that_diverged_in_every_seed_comes_last():
    losses = {"dead": [math.inf] * 5, "a": [1.0] * 5, "b": [0.5] * 5}
    assert lesson_06.order(losses) == ["b", "a", "dead"]
    assert lesson_06.agreement(losses).mean == pytest.approx(1)


# ------------------------------------------------------------------------------------------------------------- the rule


def field(order_at, *, seconds=lambda place: 0.1):
    """Ten networks and five seeds; ``order_at(seed)`` says which place each network has in that seed."""
    arms = {name: [] for name in A2.arms}
    for seed in range(5):
        for name, place in zip(arms, order_at(seed), strict=True):
            losses = [2.0 - 0.01 * place, 1.5 - 0.01 * place, 1.0 + 0.05 * place]
            arms[name].append(run(losses, seconds=seconds(place), seed=seed))
    return arms


def shuffled(seed):
    return torch.randperm(10, generator=torch.Generator().manual_seed(100 + seed)).tolist()


def test_one_order_in_all_seeds_holds():
    word, sentence = A2.judge(field(lambda seed: range(10)))
    assert word == HOLDS
    assert sentence.count(" < ".join(A2.arms)) == 3 and sentence.count("[+1.000, +1.000]") == 3


def test_an_order_that_chance_makes_is_not_shown_here():
    assert A2.judge(field(shuffled))[0] == NOT_HERE


def test_an_order_that_only_the_end_has_is_one_in_part():
    """Every network is slower than the one before, and at an equal time all but the first are in the first 50 steps,
    where these runs have their looks by chance.
    """
    arms = field(lambda seed: range(10))
    for seed in range(5):
        for place, name in zip(shuffled(seed), arms, strict=True):
            one = arms[name][seed]
            one["validation"]["loss"][0] = 2.0 + 0.01 * place
            one["step_seconds"] = 0.1 if name == "plain" else 1.0
    word, sentence = A2.judge(arms)
    assert word == PART and "by seconds" in sentence


def test_the_rule_wants_whole_arms():
    rows = [one | {"arm": name} for name, runs in field(lambda s: range(10)).items() for one in runs]
    assert A2.verdict(rows).word == HOLDS
    with pytest.raises(ValueError, match="at least 5 seeds"):
        A2.verdict([row for row in rows if row["arm"] != "NIN"])


# ------------------------------------------------------------------------------------------------------------ measuring


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)

    def split(count):
        pixels = torch.randint(0, 256, (count, 16, 16, 3), generator=generator, dtype=torch.uint8)
        return data.Split(pixels, torch.arange(count) % 4)

    class Images:
        classes, train, validation, test = list("abcd"), split(64), split(700), split(20)

    return Images


class Small(nn.Module):
    """Knows the label of no picture; counts how many it was shown in evaluation."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 16)

    def forward(self, x):
        return self.layer(x).flatten(1)


def test_a_run_says_what_a_step_costs(images):
    recipe = replace(A2.recipe, steps=20, batch_size=8)
    found = lesson_06.raced(Small(), images, recipe, seed=3)
    assert found["validation"]["steps"] == [10, 20] and len(found["validation"]["loss"]) == 2
    assert found["step_macs"] == 3 * 8 * measure.count(Small(), 16).macs == 3 * 8 * 4 * 3 * 256
    assert 0 < found["step_seconds"] * 20 < found["cpu_seconds"] + 1
    assert "test_accuracy" not in found
    assert "test_accuracy" in lesson_06.raced(Small(), images, recipe, seed=3, final=True)


def test_smoothing_is_of_the_training_alone(images):
    """What is compared is the loss of the labels as they are: a smoothed one would be higher for the same network."""
    recipe = replace(A2.recipe, steps=10, batch_size=8, lr=1e-9)
    found = []
    for smoothing in (0.0, 0.5):
        torch.manual_seed(0)
        found.append(lesson_06.raced(Small(), images, replace(recipe, label_smoothing=smoothing)))
    plain, smoothed = found
    assert plain["validation"] == smoothed["validation"]
    assert plain["loss"] != smoothed["loss"]


def test_validation_is_looked_at_from_end_to_end(images):
    some = lesson_06._spread(images.validation, 300)
    assert len(some) == 300
    assert torch.equal(some.pixels[0], images.validation.pixels[0])
    assert torch.equal(some.pixels[-1], images.validation.pixels[299 * 700 // 300])
    assert lesson_06._spread(images.test, 300) is images.test


@pytest.mark.parametrize("name", A2.arms)
def test_each_arm_is_the_network_that_it_says(name):
    arm = A2.arms[name]
    network = lesson_06.bake_off_network(arm, 7)
    assert type(network).__name__ == arm["network"]
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    normed = any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    assert normed == (name not in ("NIN", "V1"))


# ----------------------------------------------------------------------------------------------------------- for charts


def test_a_racer_has_the_runs_of_its_network():
    runs = [
        run([1.0, 0.5], seconds=0.1) | {"params": 7},
        run([0.8, 0.4], seconds=0.2) | {"params": 7},
        run([0.9], seconds=9.0, stopped="diverged") | {"params": 7},
    ]
    found = lesson_06.racer(runs, 99)
    made = plots.Racer(**found)
    assert (made.steps, made.seconds, made.macs, made.params, made.memory) == ([50, 100], 0.2, 10.0, 7, 99)
    assert made.loss[:2] == [[1.0, 0.5], [0.8, 0.4]] and made.loss[2][0] == 0.9 and math.isnan(made.loss[2][1])
    assert len(made.accuracy) == 3


def test_the_stored_race_is_the_stored_runs():
    found = lesson_06.racers()
    assert list(found) == list(A2.arms)
    stored = experiments.results("A2")["runs"]
    for name, one in found.items():
        assert one["loss"] == [r["validation"]["loss"] for r in stored if r["arm"] == name]
        assert one["memory"] > 4 * 4 * one["params"]
