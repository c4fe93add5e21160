"""The claims of lesson 04: what label smoothing does to accuracy, to confidence, and under wrong labels.

One network and one measurement serve all three. It is Inception V1 with batch norm, not V3: smoothing belongs to the
loss, not to the network, and V1's steps cost two thirds of V3's. It has no dropout, so that smoothing is the only
regularizer that an arm can have beside the normalization which both arms share.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch

from inception_lessons import data, googlenet, measure, train
from inception_lessons.experiments.engine import (
    VERDICTS,
    Interval,
    Verdict,
    decide,
    experiment,
    interval,
    judges,
    paired,
    trained,
)
from inception_lessons.train import Recipe

HOLDS, IN_PART, NOT_HERE, OPPOSITE, UNKNOWN = VERDICTS
LOOK_EVERY = 50  # steps between two looks at the gap between the logits


class Optimum(NamedTuple):
    """What the smoothed loss wants of every example: the gap between the right logit and the others, and the loss that
    is left there, in nats.
    """

    gap: float
    loss: float


def smoothing_optimum(classes: int, smoothing: float) -> Optimum:
    """Number of classes K and smoothing e -> the minimum of the smoothed loss over the logits of one example.

    The target gives the right class 1 - e + e/K and each other one e/K; the loss is least where the softmax equals
    it: the others equal, the right one higher by the logarithm of the ratio, and the target's entropy left over.
    Without smoothing the gap is infinite, and nothing holds the largest logit back. Source: arXiv:1512.00567,
    section 7. Raises ValueError for fewer than two classes, or smoothing outside [0, 1].
    """
    if classes < 2:
        raise ValueError(f"smoothing shares probability among at least 2 classes, not {classes}")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is from 0 to 1, not {smoothing!r}")
    other = smoothing / classes
    right = 1 - smoothing + other
    if other == 0:
        return Optimum(math.inf, 0.0)
    return Optimum(
        math.log(right / other), -right * math.log(right) - (classes - 1) * other * math.log(other) if right else 0.0
    )


def wrong_labels(split: data.Split, share: float, classes: int, seed: int) -> data.Split:
    """Split -> the same images, ``share`` of them under another class than their own, each other class as likely."""
    generator = torch.Generator().manual_seed(seed)
    labels, count = split.labels.clone(), round(share * len(split.labels))
    hit = torch.randperm(len(labels), generator=generator)[:count]
    labels[hit] = (labels[hit] + torch.randint(1, classes, (count,), generator=generator)) % classes
    return data.Split(split.pixels, labels, split.factors)


def smoothed(arm: Mapping, recipe: Recipe, seed: int, images, final: bool, watch=None) -> dict:
    """One network, trained with ``arm["smoothing"]`` on all training images or the first ``arm["examples"]``, of which
    ``arm["noise"]`` have a wrong label. Validation and test labels stay as they are. ``watch``: as in ``trained``.
    """
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm="bn", dropout=0.0)
    some = images.train.take(arm["examples"]) if "examples" in arm else images.train
    if "noise" in arm:
        some = wrong_labels(some, arm["noise"], len(images.classes), seed)
    seen = some.take(min(500, len(some)))
    gaps: list[float] = []

    def look(history):
        if history.steps % LOOK_EVERY == 0:
            gaps.append(round(measure.logit_gap(train.predict(model, seen)[0]), 3))

    recipe = replace(recipe, label_smoothing=arm["smoothing"])
    found, _ = trained(
        model, recipe, seed, replace(images, train=some), final, watch, each=look if final else None
    )  # in the sweep nobody reads the gaps
    if not final:
        return found
    logits, labels = train.predict(model, images.test)
    sure = measure.calibration(logits, labels)
    five = logits.topk(min(5, logits.shape[1]), dim=1).indices
    return found | {
        "top5": float((five == labels[:, None]).any(1).float().mean()),
        "train_accuracy": train.evaluate(model, some.take(min(2000, len(some)))).accuracy,  # on the labels it was given
        "nll": sure.nll,
        "ece": sure.ece,
        "overconfidence": sure.overconfidence,
        "logit_gap": measure.logit_gap(logits),
        "gap_by_step": gaps,
        "bins": {
            "confidence": [round(c, 4) if n else None for c, n in zip(sure.confidence, sure.count, strict=True)],
            "accuracy": [round(a, 4) if n else None for a, n in zip(sure.accuracy, sure.count, strict=True)],
            "count": list(sure.count),
        },
    }


RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
RECIPE = Recipe(steps=500)

SIZES = ("all images", "1,500 images")  # the second number is small enough to learn by heart
GAIN = 0.002

l1 = experiment(
    "L1",
    claim="label smoothing of 0.1 improves top-1 and top-5 accuracy by about 0.2 points",
    threshold="test accuracy with minus without, all training images, top-1 and top-5 each: interval above 0 that "
    "reaches +0.002 holds; above 0 but short of it in part; below 0 the opposite; around 0 and short of +0.002: "
    "excluded, so it does not hold; around both: cannot be shown with so few seeds. Where the two differ: in part if "
    "one is above 0, else it does not hold",
    arms={
        "all images, no smoothing": {"smoothing": 0.0},
        "all images, smoothing": {"smoothing": 0.1},
        "1,500 images, no smoothing": {"smoothing": 0.0, "examples": 1500},  # these two for L2
        "1,500 images, smoothing": {"smoothing": 0.1, "examples": 1500},
    },
    rates=RATES,
    recipe=RECIPE,
    datasets=("digits", "cifar10"),
)(smoothed)


def resolve(difference: Interval, about: float = GAIN) -> str:
    """Interval of a difference that the claim says is about ``about`` > 0 or more -> one of VERDICTS.

    Unlike ``decide`` it tells "excluded" from "not known": an interval that holds both 0 and ``about`` has not
    failed to show a gain, it could not have shown it.
    """
    if difference.low > 0:
        return HOLDS if difference.high >= about else IN_PART
    if difference.high < 0:
        return OPPOSITE
    return NOT_HERE if difference.high < about else UNKNOWN


def points(difference: Interval) -> str:
    """A difference of two fractions in points: "+0.12 points [-0.30, +0.54]"."""
    mean, low, high = (100 * value for value in difference)
    return f"{mean:+.2f} points [{low:+.2f}, {high:+.2f}]"


@judges(l1)
def _(arms):
    without, smooth = (f"{SIZES[0]}, {name}" for name in ("no smoothing", "smoothing"))
    words, said = [], []
    for name, key in (("top-1", "test_accuracy"), ("top-5", "top5")):
        difference = paired(arms, smooth, without, key)
        words.append(resolve(difference))
        said.append(f"{name} {points(difference)}, so a gain of 0.2 points {told(difference)}")
    spread = statistics.stdev(
        a["test_accuracy"] - b["test_accuracy"] for a, b in zip(arms[smooth], arms[without], strict=True)
    )
    enough = max(5, math.ceil((1.96 * spread / (GAIN / 2)) ** 2))  # half the gain on either side
    if words[0] == words[1]:
        word = words[0]
    elif {HOLDS, IN_PART} & set(words):
        word = IN_PART
    else:  # whatever the other does: not both
        word = NOT_HERE
    return Verdict(word, f"{'; '.join(said)}; to know top-1 to 0.1 points would take about {enough:,} seeds")


def told(difference: Interval, about: float = GAIN) -> str:
    """What an interval says of a gain of this size, in words."""
    if difference.high < about:
        return "is excluded"
    if difference.low > about:
        return "is exceeded"
    return "is neither shown nor excluded" if difference.low <= 0 else "is within what was found"


@experiment(
    "L2",
    claim="label smoothing of 0.1 keeps the largest logit from running away, so the network is less over-confident",
    threshold="on the test split, with all training images and with 1,500: gap between the largest logit and the mean "
    "of the others, without over with smoothing: interval above 1.25 holds, above 1 in part; expected calibration "
    "error, without minus with: interval above +0.02 holds, above 0 in part. All four hold: holds; some: in part",
    shares="L1",
)
def l2(arms):
    words, said = [], []
    for size in SIZES:
        without, smooth = f"{size}, no smoothing", f"{size}, smoothing"
        logs = [math.log(a["logit_gap"] / b["logit_gap"]) for a, b in zip(arms[without], arms[smooth], strict=True)]
        gap, error = interval(logs), paired(arms, without, smooth, "ece")
        parts = decide(gap, math.log(1.25)), decide(error, 0.02)
        words += parts
        beyond = [statistics.mean(run["overconfidence"] for run in arms[name]) for name in (without, smooth)]
        said.append(
            f"{size}: gap {{:.2f}} [{{:.2f}}, {{:.2f}}] times as large without ({parts[0]}), ".format(
                *map(math.exp, gap)
            )
            + f"calibration error without minus with {error} ({parts[1]}), confidence minus accuracy "
            f"{beyond[0]:+.3f} without and {beyond[1]:+.3f} with, log loss without minus with "
            f"{paired(arms, without, smooth, 'nll')}"
        )
    if all(word == words[0] for word in words):
        word = words[0]
    elif {HOLDS, IN_PART} & set(words):
        word = IN_PART
    else:
        word = NOT_HERE
    return Verdict(word, "; ".join(said))


l3 = experiment(
    "L3",
    claim="label smoothing of 0.1 resists noisy labels",
    threshold="test accuracy with minus without, 3,000 training images of which 30 % have a wrong label: interval "
    "above +0.01 holds, above 0 in part",
    arms={
        "no smoothing": {"smoothing": 0.0, "examples": 3000, "noise": 0.3},
        "smoothing": {"smoothing": 0.1, "examples": 3000, "noise": 0.3},
    },
    rates=RATES,
    recipe=RECIPE,
    datasets=("digits", "cifar10"),
)(smoothed)


@judges(l3)
def _(arms):
    difference = paired(arms, "smoothing", "no smoothing", "test_accuracy")
    fitted = paired(arms, "smoothing", "no smoothing", "train_accuracy")
    plain = interval([run["test_accuracy"] for run in arms["no smoothing"]])
    return Verdict(
        decide(difference, 0.01),
        f"{points(difference)} on {100 * plain.mean:.1f} % without; labels fitted, wrong ones included: "
        f"{points(fitted)}; log loss without minus with {paired(arms, 'no smoothing', 'smoothing', 'nll')}",
    )
