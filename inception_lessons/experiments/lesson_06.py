"""The claim of lesson 06, the bake-off: ten networks on the same data, by step, by multiply-add and by second."""

import bisect
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from inception_lessons import measure, train
from inception_lessons.baselines import NIN, Plain
from inception_lessons.bn_inception import BNInception
from inception_lessons.experiments.engine import (
    EVERY,
    VERDICTS,
    Interval,
    Verdict,
    experiment,
    find,
    interval,
    judges,
    results,
)
from inception_lessons.googlenet import GoogLeNet
from inception_lessons.inception_resnet import InceptionResNetV1, InceptionResNetV2
from inception_lessons.inception_v3 import InceptionV3
from inception_lessons.inception_v4 import InceptionV4
from inception_lessons.train import Recipe

RACING = (Plain, NIN, GoogLeNet, BNInception, InceptionV3, InceptionV4, InceptionResNetV1, InceptionResNetV2)

BACKWARD = 3  # a training step multiplies about three times as often as a look: once forward, twice backward
LOOK_EVERY, LOOKED_AT = 10, 300  # steps between two looks at validation images, and how many
BUDGETS = ("steps", "multiply-adds", "seconds")
AGREE = 0.6  # Kendall's tau: of the 45 pairs that ten networks make, 36 in the same order and 9 in the other


def bake_off_network(arm: Mapping, num_classes: int) -> nn.Module:
    """An arm of A2 and a number of classes -> its network at laptop size, with fresh weights."""
    kinds = {network.__name__: network for network in RACING}
    changes = {"norm": arm["norm"]} if "norm" in arm else {}
    return kinds[arm["network"]].laptop(num_classes, **changes)


@experiment(
    "A2",
    claim="on the same data the networks' losses fall at different speeds, and the seeds agree on the order",
    threshold="order of the ten networks by validation loss at three equal budgets (250 steps; the multiply-adds and "
    "the processor seconds that the cheapest network spends on them): Kendall's tau of one seed's order and that of "
    "the other seeds' mean loss: interval above 0.6 at all three budgets holds, at one or two, or above 0 at all, in "
    "part; below 0 at all: the opposite",
    arms={
        "plain": {"network": "Plain"},
        "NIN": {"network": "NIN"},
        "V1": {"network": "GoogLeNet", "norm": "none"},
        "V1 with batch norm": {"network": "GoogLeNet", "norm": "bn"},
        "V2, BN-Inception": {"network": "BNInception"},
        "V3": {"network": "InceptionV3"},
        "V3, labels smoothed": {"network": "InceptionV3", "smoothing": 0.1},
        "V4": {"network": "InceptionV4"},
        "Inception-ResNet-v1": {"network": "InceptionResNetV1"},
        "Inception-ResNet-v2": {"network": "InceptionResNetV2"},
    },
    rates=(0.002, 0.005, 0.01, 0.02, 0.04),
    # A rate that falls to 0 is over at one budget and in the middle at another. A constant one, with the weights
    # averaged, can be read at any.
    recipe=Recipe(steps=250, optimizer="adamw", schedule="constant", warmup=20, average=0.95),
    datasets=("digits", "cifar10"),
)
def a2(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = bake_off_network(arm, len(images.classes))
    recipe = replace(recipe, label_smoothing=arm.get("smoothing", 0.0))
    return raced(model, images, recipe, seed=seed, final=final, watch=watch)


def raced(model: nn.Module, images, recipe: Recipe, *, seed: int = 0, final: bool = False, watch=None) -> dict:
    """Any network, image set and recipe -> one run of the bake-off, as A2 stores it; the network is trained in place.

    ``validation`` has the steps, losses and accuracies of the weights (averaged, if the recipe says so) on 300
    validation images; ``step_macs`` and ``step_seconds`` say what one training step costs: multiply-adds of the batch,
    and processor seconds, the median of all steps. ``watch`` is what ``train.fit`` shows its progress to.
    """
    looked_at = _spread(images.validation, LOOKED_AT)
    picture, _ = next(iter(looked_at.take(1).batches(1)))
    cost = measure.count(model, tuple(picture.shape[2:]))
    ends = [time.process_time()]
    between: list[float] = []

    def clock(history):
        between.append(time.process_time() - ends[-1])
        if watch is not None:
            watch(history)
        ends.append(time.process_time())

    history = train.fit(
        model,
        images.train,
        looked_at,
        recipe,
        seed=seed,
        watch=clock,
        validate_every=LOOK_EVERY,
        progress=watch is not None,
    )
    steps, losses, accuracies = zip(*history.validation, strict=True) if history.validation else ((), (), ())
    found = {
        "loss": round(min(history.final_loss(), 99.0), 5),
        "stopped": history.stopped,
        "curve": [round(value, 4) for value in history.smoothed()[EVERY - 1 :: EVERY]],
        "validation": {
            "steps": list(steps),
            "loss": [round(value, 4) for value in losses],
            "accuracy": [round(value, 4) for value in accuracies],
        },
        "validation_accuracy": train.evaluate(model, images.validation).accuracy,
        "step_macs": BACKWARD * cost.macs * recipe.batch_size,
        "step_seconds": round(statistics.median(between), 5),
        "params": cost.params,
        "cpu_seconds": round(time.process_time() - ends[0], 1),
        "seconds": round(history.seconds, 1),
    }
    if final:
        found["test_accuracy"] = train.evaluate(model, images.test).accuracy
    return found


def _spread(split, count: int):
    """At most ``count`` examples from all over a split: a folder's are sorted by class."""
    return split if count >= len(split) else split.take([i * len(split) // count for i in range(count)])


def loss_at(run: Mapping, step: float) -> float:
    """One run of A2 and a number of steps, not always whole -> the validation loss there, on a line between two looks.

    A run that diverged before has an infinite one. Before the first look it is taken as the first look's.
    """
    steps, losses = run["validation"]["steps"], run["validation"]["loss"]
    if run["stopped"] and (not steps or step > steps[-1]):
        return float("inf")
    place = bisect.bisect_left(steps, step)
    if place == 0 or place == len(steps):
        return losses[min(place, len(steps) - 1)]
    part = (step - steps[place - 1]) / (steps[place] - steps[place - 1])
    return losses[place - 1] + part * (losses[place] - losses[place - 1])


def spent(arms: Mapping[str, Sequence[Mapping]], budget: str) -> dict[str, float]:
    """Runs by network, and one of BUDGETS -> what one training step of each network costs in it.

    Seconds are the median over the seeds. Raises ValueError for another budget.
    """
    if budget not in BUDGETS:
        raise ValueError(f"a budget is one of {', '.join(BUDGETS)}, not {budget!r}")
    key = {"multiply-adds": "step_macs", "seconds": "step_seconds"}.get(budget)
    return {name: statistics.median(run[key] for run in runs) if key else 1.0 for name, runs in arms.items()}


def at_equal(arms: Mapping[str, Sequence[Mapping]], budget: str) -> dict[str, list[float]]:
    """Runs by network, and one of BUDGETS -> validation loss of each network by seed, when all have spent the same:
    what the network whose steps are cheapest spends in all of its own.
    """
    costs = spent(arms, budget)
    steps = min(runs[0]["validation"]["steps"][-1] for runs in arms.values() if not runs[0]["stopped"])
    most = steps * min(costs.values())
    return {name: [loss_at(run, most / costs[name]) for run in runs] for name, runs in arms.items()}


def agreement(losses: Mapping[str, Sequence[float]]) -> Interval:
    """Losses by network, a value a seed -> Kendall's tau of the order in one seed and the order of the other seeds'
    mean, its mean and 95 % interval over the seeds. 1: the same order; 0: as if shuffled.
    """
    from scipy.stats import kendalltau

    taus = []
    for seed in range(len(next(iter(losses.values())))):
        one = [values[seed] for values in losses.values()]
        rest = [statistics.mean(v for i, v in enumerate(values) if i != seed) for values in losses.values()]
        taus.append(float(kendalltau(one, rest).statistic))
    return interval(taus)


def order(losses: Mapping[str, Sequence[float]]) -> list[str]:
    """Losses by network, a value a seed -> the networks' names, lowest mean loss first."""
    return sorted(losses, key=lambda name: statistics.mean(losses[name]))


@judges(a2)
def _(arms):
    found = {budget: at_equal(arms, budget) for budget in BUDGETS}
    taus = {budget: agreement(losses) for budget, losses in found.items()}
    word = VERDICTS[2]
    if all(tau.low > AGREE for tau in taus.values()):
        word = VERDICTS[0]
    elif any(tau.low > AGREE for tau in taus.values()) or all(tau.low > 0 for tau in taus.values()):
        word = VERDICTS[1]
    elif all(tau.high < 0 for tau in taus.values()):
        word = VERDICTS[3]
    orders = "; ".join(
        f"by {budget} {' < '.join(order(losses))} (agreement of the seeds {taus[budget]})"
        for budget, losses in found.items()
    )
    return Verdict(word, f"validation loss at equal budgets: {orders}")


def racer(runs: Sequence[Mapping], memory: int | None = None) -> dict:
    """Runs of one network, a seed each -> its curves and costs, as ``plots.Racer(**found)`` takes them. ``memory``: the
    bytes that a step holds.
    """
    steps = max((run["validation"]["steps"] for run in runs), key=len)

    def padded(key):
        return [[*run["validation"][key], *[math.nan] * (len(steps) - len(run["validation"][key]))] for run in runs]

    return {
        "steps": steps,
        "loss": padded("loss"),
        "accuracy": padded("accuracy"),
        "macs": runs[0]["step_macs"],
        "seconds": statistics.median(run["step_seconds"] for run in runs),
        "params": runs[0]["params"],
        "memory": memory,
    }


def racers(dataset: str | None = None) -> dict[str, dict]:
    """Name of a data set -> the stored race on it: for every network of A2 what ``racer`` gives. Raises what
    ``results`` raises.
    """
    runs = results("A2", dataset=dataset)["runs"]
    held = {name: measure.memory(bake_off_network(arm, 10), 32).total for name, arm in find("A2").arms.items()}
    return {name: racer([run for run in runs if run["arm"] == name], total) for name, total in held.items()}
