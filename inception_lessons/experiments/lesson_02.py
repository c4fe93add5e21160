"""The claims of lesson 02: what batch normalization buys, and what it does not."""

import itertools
import time
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inception_lessons import data, googlenet
from inception_lessons.experiments.engine import (
    EVERY,
    VERDICTS,
    Verdict,
    as_ratio,
    decide,
    decide_ratio,
    experiment,
    judges,
    log_ratios,
    overfitting,
    paired,
    trained,
)
from inception_lessons.train import History, Recipe


@experiment(
    "B1",
    claim="batch norm reaches the same training loss in a fourteenth of the steps",
    threshold="steps to a smoothed training loss of 1.5 (CIFAR-10: 1.8), without over with batch norm, each at the "
    "constant learning rate that gets there first: interval above 14 holds, above 1 in part",
    arms={
        "no batch norm": {"norm": "none"},
        "batch norm": {"norm": "bn"},
        "batch norm, same rate": {"norm": "bn", "rate_of": "no batch norm", "times": 1},
        "batch norm, 5 times the rate": {"norm": "bn", "rate_of": "no batch norm", "times": 5},
        "batch norm, 30 times the rate": {"norm": "bn", "rate_of": "no batch norm", "times": 30},
    },
    rates=(0.007, 0.02, 0.06, 0.2, 0.6),
    recipe=Recipe(steps=320, schedule="constant"),
    datasets=("digits", "cifar10"),
    lowest="steps_to",
)
def b1(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm=arm["norm"], dropout=0.0)
    found, history = trained(model, recipe, seed, images, final, watch, scored=2000)
    found["reached"] = history.steps_to(1.8 if images.name == "CIFAR-10" else 1.5)
    found["steps_to"] = found["reached"] or recipe.steps  # never there: the whole run, which understates the ratio
    return found


@judges(b1)
def _(arms):
    logs = log_ratios(arms, "no batch norm", "batch norm", "steps_to")
    others = [
        f"{name.removeprefix('batch norm, ')} {as_ratio(log_ratios(arms, 'no batch norm', name, 'steps_to'))}"
        for name in list(arms)[2:]
    ]
    missed = {name: sum(run["reached"] is None for run in runs) for name, runs in arms.items()}
    late = "; ".join(f"{name} {count} of {len(logs)}" for name, count in missed.items() if count)
    return Verdict(
        decide_ratio(logs, 14),
        f"{as_ratio(logs)} fewer steps; {'; '.join(others)}; runs that never got there and count as the last step: "
        f"{late or 'none'}",
    )


RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
DEPTHS = {3: (1, 1, 1), 5: (1, 3, 1)}  # modules -> blocks


@experiment(
    "B2",
    claim="batch norm tolerates learning rates five times as large and more",
    threshold="largest of the constant rates with which the network learns (smoothed training loss below 2.2, a tenth "
    "under chance, after 150 steps), with over without batch norm, mean over two depths: interval above "
    "5 holds, above 1 in part",
    arms={
        f"{norm}, {depth} modules, rate {rate:g}": {"norm": norm, "blocks": blocks, "rate": rate}
        for norm, (depth, blocks), rate in itertools.product(("none", "bn"), DEPTHS.items(), RATES)
    },
    recipe=Recipe(steps=150, schedule="constant"),
    # plain digits: on photographs a network without batch norm takes longer than this to start, at any rate
    datasets=("mnist", "cifar10"),
)
def b2(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm=arm["norm"], blocks=arm["blocks"], dropout=0.0)
    found, _ = trained(model, recipe, seed, images, final, watch, scored=500)
    return found | {"learns": found["loss"] < 2.2}


@judges(b2)
def _(arms):
    def largest(norm, depth, place):
        learns = [rate for rate in RATES if arms[f"{norm}, {depth} modules, rate {rate:g}"][place]["learns"]]
        return max(learns, default=RATES[0] / 3)  # none learns: one step below the grid

    places = range(len(next(iter(arms.values()))))
    found = {
        depth: [{norm: largest(norm, depth, place) for norm in ("none", "bn")} for place in places] for depth in DEPTHS
    }
    logs = {
        depth: log_ratios(
            {"bn": [{"rate": r["bn"]} for r in rows], "none": [{"rate": r["none"]} for r in rows]}, "bn", "none", "rate"
        )
        for depth, rows in found.items()
    }
    both = [sum(pair) / len(pair) for pair in zip(*logs.values(), strict=True)]
    beyond = sum(row["bn"] == RATES[-1] for rows in found.values() for row in rows)
    each = "; ".join(f"with {depth} modules {as_ratio(values)}" for depth, values in logs.items())
    return Verdict(
        decide_ratio(both, 5),
        f"{as_ratio(both)} as large; {each}; with batch norm {beyond} of {len(places) * len(DEPTHS)} still learn at "
        f"{RATES[-1]:g}, the largest tried",
    )


class Perceptron(nn.Sequential):
    """(N, 784) -> logits (N, 10): three sigmoid layers of 100, with or without batch norm before each sigmoid.

    What Fig. 1 of arXiv:1502.03167 was drawn with. "Small random Gaussian values" there has a size here: one over the
    root of the inputs, which leaves the spread of the sums as it is from layer to layer but for the sigmoids.
    """

    def __init__(self, norm: bool):
        layers = []
        for before, after in itertools.pairwise((784, 100, 100, 100)):
            linear = nn.Linear(before, after)
            nn.init.normal_(linear.weight, std=before**-0.5)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.BatchNorm1d(after)] if norm else [linear]
            layers.append(nn.Sigmoid())
        super().__init__(*layers, nn.Linear(100, 10))


class Grey(nn.Module):
    """(N, 3, 28, 28) of a black-and-white set -> (N, 784): the three planes are the same."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0].flatten(1)


LOOK_EVERY = 20  # steps between two looks at a layer's inputs


@experiment(
    "B3",
    claim="batch norm keeps the distribution of a layer's inputs stable",
    threshold="largest over smallest spread (15th to 85th percentile of a batch) of the inputs to the last sigmoid "
    "layer, median unit, over 2,000 steps, without over with batch norm: interval above 5 holds, above 1 in part",
    arms={"no batch norm": {"norm": False}, "batch norm": {"norm": True}},
    rates=(0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
    recipe=Recipe(steps=2000, batch_size=60, momentum=0.0, schedule="constant"),
    datasets=("mnist",),
)
def b3(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = nn.Sequential(Grey(), Perceptron(arm["norm"]))
    last = [layer for layer in model[1] if isinstance(layer, nn.Sigmoid)][-1]
    latest, bands = {}, []
    last.register_forward_hook(lambda layer, inputs, out: latest.update(x=inputs[0].detach()))

    def look(history):
        if history.steps % LOOK_EVERY == 1:  # at the batch that it has just been trained on
            bands.append(torch.quantile(latest["x"].cpu(), torch.tensor([0.15, 0.5, 0.85]), dim=0))

    found, _ = trained(model, recipe, seed, images, final, watch, each=look)
    low, middle, high = torch.stack(bands, 1)  # (moments, 100) each
    spread = (high - low).clamp(min=1e-6)
    return found | {
        "growth": float((spread.amax(0) / spread.amin(0)).median()),
        "drift": float((middle.amax(0) - middle.amin(0)).median()),
        "unit": [[round(float(v[0]), 3) for v in moment] for moment in bands],  # the first unit's, for the figure
    }


@judges(b3)
def _(arms):
    growth = log_ratios(arms, "no batch norm", "batch norm", "growth")
    drift = log_ratios(arms, "no batch norm", "batch norm", "drift")
    accuracy = paired(arms, "batch norm", "no batch norm", "test_accuracy")
    return Verdict(
        decide_ratio(growth, 5),
        f"judged on the spread: without batch norm it changes {as_ratio(growth)} as much, and the median "
        f"drifts {as_ratio(drift)} as far; test accuracy with minus without: {accuracy}",
    )


@experiment(
    "B6",
    claim="batch norm regularizes: the train-test gap is smaller, and dropout can go",
    threshold="1,500 training images. Train-test gap in accuracy without dropout, without minus with batch norm: "
    "interval above +0.03; test accuracy with batch norm, without minus with dropout: interval above -0.02. Both: "
    "holds; one, or a gap above 0: in part",
    arms={
        "no batch norm": {"norm": "none", "dropout": 0.0},
        "batch norm": {"norm": "bn", "dropout": 0.0},
        # one knob each, so at the rate of the arm that they turn it in
        "no batch norm, dropout": {"norm": "none", "dropout": 0.4, "rate_of": "no batch norm", "times": 1},
        "batch norm, dropout": {"norm": "bn", "dropout": 0.4, "rate_of": "batch norm", "times": 1},
        "batch norm, weight decay": {
            "norm": "bn",
            "dropout": 0.0,
            "weight_decay": 5e-4,
            "rate_of": "batch norm",
            "times": 1,
        },
    },
    rates=(0.01, 0.03, 0.1, 0.3, 1.0),
    recipe=Recipe(steps=320),
    datasets=("digits", "cifar10"),
)
def b6(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm=arm["norm"], dropout=arm["dropout"])
    recipe = replace(recipe, weight_decay=arm.get("weight_decay", 0.0))
    found, _ = trained(model, recipe, seed, images, final, watch, examples=1500)
    return found | overfitting(found, model, images.train.take(1500))


@judges(b6)
def _(arms):
    gap = paired(arms, "no batch norm", "batch norm", "gap")
    better = paired(arms, "batch norm", "no batch norm", "test_accuracy")
    free = paired(arms, "batch norm", "batch norm, dropout", "test_accuracy")
    plain = paired(arms, "no batch norm", "no batch norm, dropout", "test_accuracy")
    decay = paired(arms, "batch norm", "batch norm, weight decay", "test_accuracy")
    word, dispensable = decide(gap, 0.03), free.low > -0.02
    if (word == VERDICTS[0]) != dispensable and (dispensable or word == VERDICTS[0]):
        word = VERDICTS[1]
    fit = [sum(run["train_accuracy"] for run in arms[name]) / len(arms[name]) for name in list(arms)[:2]]
    return Verdict(
        word,
        f"gap without minus with batch norm: {gap}, test accuracy with minus without: {better}, training accuracy "
        f"{fit[0]:.3f} without and {fit[1]:.3f} with; test accuracy without minus with dropout: {free} with batch "
        f"norm, {plain} without it; with batch norm, without minus with weight decay: {decay}",
    )


@experiment(
    "B7",
    claim="whitening the inputs speeds up optimization",
    threshold="steps of gradient descent until a linear classifier of 3,000 real digits has a training loss of 0.2, "
    "raw pixels over whitened ones, each at the rate that gets there first: interval above 3 holds, above 1 in part",
    arms={"raw": {"inputs": "raw"}, "centred": {"inputs": "centred"}, "whitened": {"inputs": "whitened"}},
    rates=(4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0),
    recipe=Recipe(steps=500, momentum=0.0, schedule="constant"),
    datasets=("mnist",),
    lowest="steps_to",
)
def b7(arm, recipe, seed, images, final, watch=None):
    """Full-batch descent from zero: the seed chooses the digits, and nothing else is left to chance. The rate counts in
    units of the largest that is sure to descend.
    """
    start, cpu = time.perf_counter(), time.process_time()
    chosen = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(seed))[:3000]
    split, history = images.train.take(chosen), History(recipe, seed)
    mean, turn = whitening(quarter(split), arm["inputs"])

    def inputs(split):
        x = (quarter(split) - mean) @ turn
        return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)  # the last weight is the bias

    x, targets = inputs(split), F.one_hot(split.labels, 10).double()
    weights = torch.zeros(x.shape[1], 10, dtype=x.dtype)
    rate = recipe.lr / steepest(x)
    for _ in range(recipe.steps):
        logits = x @ weights
        history.loss.append(float(F.cross_entropy(logits, split.labels)))
        history.steps += 1
        weights -= rate / len(x) * x.T @ (logits.softmax(1) - targets)
        if watch is not None:
            watch(history)
    history.finished, history.seconds = True, time.perf_counter() - start
    if watch is not None:
        watch(history)

    def accuracy(split):
        return float(((inputs(split) @ weights).argmax(1) == split.labels).double().mean())

    reached = history.steps_to(0.2, window=1)
    found = {
        "loss": round(min(history.loss[-1], 99.0), 5),  # of all the digits: nothing to smooth
        "stopped": None,
        "curve": [round(min(value, 99.0), 4) for value in history.loss[EVERY - 1 :: EVERY]],
        "validation_accuracy": accuracy(images.validation),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "seconds": round(history.seconds, 1),
        "reached": reached,
        "steps_to": reached or recipe.steps,  # never there: the whole run, which understates the ratio
    }
    return found | ({"test_accuracy": accuracy(images.test)} if final else {})


def quarter(split: data.Split) -> Tensor:
    """Split of N black-and-white digits, 28 x 28 -> (N, 196) in [0, 1]: means of 2 x 2 pixels, so that thousands of
    digits outnumber the directions that they vary in.
    """
    return F.avg_pool2d(split.images[:, :1], 2).flatten(1).double()


def steepest(x: Tensor) -> float:
    """(N, D) -> the largest curvature that a softmax classifier's mean loss on ``x`` can have in any direction."""
    return float(torch.linalg.eigvalsh(x.T @ x / len(x))[-1]) / 2  # the softmax itself adds at most 1/2


def whitening(x: Tensor, how: str, damping: float = 1e-3) -> tuple[Tensor, Tensor]:
    """(N, D) -> mean (D,) and matrix (D, D) such that ``(x - mean) @ matrix`` is ``x`` "raw", "centred", or "whitened":
    with unit variance in every direction and none shared. Raises ValueError for another word.

    A direction whose variance is less than ``damping`` of the largest stays smaller: there is nothing in it but noise.
    """
    if how not in ("raw", "centred", "whitened"):
        raise ValueError(f"inputs are raw, centred or whitened, not {how!r}")
    same = torch.eye(x.shape[1], dtype=x.dtype)
    mean = torch.zeros_like(x[0]) if how == "raw" else x.mean(0)
    if how != "whitened":
        return mean, same
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    return mean, vectors / (values + damping * values[-1]).sqrt()


@judges(b7)
def _(arms):
    logs = log_ratios(arms, "raw", "whitened", "steps_to")
    missed = sum(run["reached"] is None for run in arms["raw"])
    accuracy = paired(arms, "whitened", "raw", "test_accuracy")
    return Verdict(
        decide_ratio(logs, 3),
        f"raw pixels take {as_ratio(logs)} as many steps as whitened ones, and "
        f"{as_ratio(log_ratios(arms, 'raw', 'centred', 'steps_to'))} as many as centred ones; {len(logs) - missed} of "
        f"{len(logs)} raw runs got there; test accuracy after all steps, whitened minus raw: {accuracy}",
    )
