"""The claims of lesson 01: reductions, average pooling, branches, auxiliary classifiers."""

import contextlib
import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from inception_lessons import data, googlenet, look, measure, train
from inception_lessons.experiments.engine import (
    VERDICTS,
    Verdict,
    decide,
    experiment,
    interval,
    judges,
    overfitting,
    paired,
    trained,
)
from inception_lessons.train import Recipe


@experiment(
    "N1",
    claim="1 x 1 reductions before the large kernels make the module cheaper and better for its cost",
    threshold="test accuracy with reductions minus naive at equal multiply-adds: interval above +0.01 holds, above "
    "0 in part",
    arms={
        "reduced": {"naive": False, "width": 0.25},
        "naive, equal steps": {"naive": True, "width": 0.25},
        "naive, equal multiply-adds": {"naive": True, "width": 0.12},
    },
    rates=(0.001, 0.002, 0.005, 0.01, 0.02),
    recipe=Recipe(steps=250, optimizer="adamw"),
)
def n1(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    module = googlenet.NaiveInception if arm["naive"] else googlenet.Inception
    model = googlenet.GoogLeNet.laptop(norm="bn", width=arm["width"], module=module)
    cost = measure.count(model, 32)
    found, _ = trained(model, recipe, seed, images, final, watch)
    return found | {"params": cost.params, "macs": cost.macs}


@judges(n1)
def _(arms):
    fair = paired(arms, "reduced", "naive, equal multiply-adds", "test_accuracy")
    costly = paired(arms, "reduced", "naive, equal steps", "test_accuracy")
    ratio = arms["naive, equal steps"][0]["macs"] / arms["reduced"][0]["macs"]
    return Verdict(
        decide(fair, 0.01),
        f"accuracy with reductions minus naive: {fair} at equal multiply-adds, {costly} at equal steps, where naive "
        f"costs {ratio:.1f} times as many",
    )


@experiment(
    "N2",
    claim="global average pooling in place of fully connected layers overfits less",
    threshold="train-test gap in accuracy, fully connected minus average pooling, 1,500 training images: interval "
    "above +0.03 holds, above 0 in part",
    arms={"average pooling": {"dense": False}, "fully connected": {"dense": True}},
    rates=(0.01, 0.03, 0.1, 0.2, 0.4),
    recipe=Recipe(steps=400),
)
def n2(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm="bn", dropout=0.4)
    if arm["dense"]:  # VGG's way: flatten the last grid of 4 x 4, a layer of 256, the same dropout, the classifier
        c = model.head[-1].in_features
        model.head = nn.Sequential(nn.Flatten(), nn.Linear(c * 16, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, 10))
        nn.init.kaiming_normal_(model.head[1].weight, nonlinearity="relu")
        nn.init.normal_(model.head[-1].weight, std=0.01)
    found, _ = trained(model, recipe, seed, images, final, watch, examples=1500)
    found["head_params"] = sum(p.numel() for p in model.head.parameters())
    return found | overfitting(found, model, images.train.take(1500))


@judges(n2)
def _(arms):
    gap = paired(arms, "fully connected", "average pooling", "gap")
    better = paired(arms, "average pooling", "fully connected", "test_accuracy")
    fit = {name: sum(r["train_accuracy"] for r in rows) / len(rows) for name, rows in arms.items()}
    return Verdict(
        decide(gap, 0.03),
        f"train-test gap, fully connected minus average pooling: {gap}; test accuracy, average pooling minus fully "
        f"connected: {better}; "
        f"training accuracy {fit['average pooling']:.3f} and {fit['fully connected']:.3f}",
    )


SIZES = ((12, 16), (16, 20), (20, 24), (24, 28.01))  # px: the four bins of object size


@experiment(
    "V1b",
    claim="branches with different kernels see different scales: from small digits to large ones, losing the 5 x 5 "
    "branch grows dearer relative to losing the 1 x 1 branch",
    threshold="share of above-chance accuracy lost without the branch, largest minus smallest digits, 5 x 5 minus 1 "
    "x 1: interval above +0.05 holds, above 0 in part",
    arms={"Inception V1": {}},
    rates=(0.1,),
    recipe=Recipe(steps=600),
)
def v1b(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm="bn")
    found, _ = trained(model, recipe, seed, images, final, watch)
    found["intact"] = accuracy_by_size(model, images.test)
    found["without"] = {
        name: accuracy_by_size(model, images.test, without=name, reference=images.validation)
        for name in next(iter(look.branched_stages(model).values()))
    }
    return found


def accuracy_by_size(model, split, *, without: str | None = None, reference=None, bins=SIZES) -> list[float]:
    """``model`` -> accuracy on the digits of each size bin; with one branch of every module replaced by its mean on
    ``reference`` if asked.

    ``split`` has the factor "size"; ``reference`` is a batch of normalized images.
    """
    with contextlib.ExitStack() as stack:
        if without is not None:
            some = data.normalize(reference.take(500).images)
            for name in look.branched_stages(model):
                stack.enter_context(look.ablate(model, name, without, some))
        logits, labels = train.predict(model, split)
    right, size = logits.argmax(1) == labels, split.factors["size"]
    return [float(right[(size >= low) & (size < high)].float().mean()) for low, high in bins]


def share_lost(intact: Sequence[float], ablated: Sequence[float], chance: float = 0.1) -> list[float]:
    """Accuracy by size, whole and ablated -> share of the above-chance accuracy that is gone. Small digits have less
    to lose, so points mislead.
    """
    return [(a - b) / (a - chance) for a, b in zip(intact, ablated, strict=True)]


@judges(v1b)
def _(arms):
    def slope(run, branch):
        lost = share_lost(run["intact"], run["without"][branch])
        return lost[-1] - lost[0]

    runs = arms["Inception V1"]
    difference = interval([slope(r, "b5") - slope(r, "b1") for r in runs])
    pool = interval([slope(r, "pool") for r in runs])
    return Verdict(
        decide(difference, 0.05),
        f"5 x 5 minus 1 x 1: {difference}; the pool branch alone, largest minus smallest: {pool}",
    )


@experiment(
    "V1d",
    claim="training groups correlated units: channels of one branch go together more than channels of different "
    "branches",
    threshold="mean absolute correlation within minus across branches, trained minus untrained: interval above "
    "+0.02 holds, above 0 in part",
    arms={"Inception V1": {}},
    rates=(0.1,),
    recipe=Recipe(steps=600),
)
def v1d(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm="bn")
    some = data.normalize(images.validation.take(200).images)
    before = {name: branch_contrast(model, some, name) for name in ("3a", "4a", "4b", "5a")}
    found, _ = trained(model, recipe, seed, images, final, watch)
    after = {name: branch_contrast(model, some, name) for name in before}
    return found | {"before": before, "after": after}


def branch_contrast(model, images, stage: str) -> tuple[float, float]:
    """Stage -> mean absolute channel correlation within one branch, and across two branches.

    ``model`` is a network whose stage has branches, ``images`` a normalized batch (N, 3, H, W).
    """
    return look.within_and_across(*look.branch_correlation(model, images, stage))


@judges(v1d)
def _(arms):
    def contrast(found):
        return sum(within - across for within, across in found.values()) / len(found)

    runs = arms["Inception V1"]
    change = interval([contrast(r["after"]) - contrast(r["before"]) for r in runs])
    before, after = (interval([contrast(r[key]) for r in runs]) for key in ("before", "after"))
    return Verdict(decide(change, 0.02), f"within minus across: untrained {before}, trained {after}, change {change}")


@experiment(
    "V1e",
    claim="auxiliary classifiers send gradient to the early layers, speed up training and regularize",
    threshold="with minus without, nine modules, He's start: stem gradient at the start at least 1.5 times (log "
    "ratio above 0.405); share of steps saved "
    "to a loss of 1.0 above 0.1; train-test gap smaller by 0.01. All three hold: holds; some: in part",
    arms={"no auxiliary classifiers": {"aux": False}, "auxiliary classifiers": {"aux": True}},
    rates=(0.0005, 0.001, 0.002, 0.004),
    recipe=Recipe(steps=300, optimizer="adamw"),
)
def v1e(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm="none", blocks=(2, 5, 2), aux=True)
    found = {"stem_gradient": stem_gradient(model, images, recipe.aux_weight if arm["aux"] else 0.0)}
    recipe = replace(recipe, aux_weight=recipe.aux_weight if arm["aux"] else 0.0)
    found_more, history = trained(model, recipe, seed, images, final, watch)
    found |= found_more
    found["steps_to_1.0"] = (
        history.steps_to(1.0) or recipe.steps
    )  # never there: the whole run, which understates the difference
    return found | overfitting(found, model, images.train.take(4000))


def stem_gradient(model: nn.Module, images, aux_weight: float, examples: int = 64) -> float:
    """Untrained network -> root-mean-square gradient in its first convolution for one batch of training images.

    As in training, with the batch's own statistics, but with dropout off: one less source of chance. Works on a copy.
    ``images`` is a set of pictures, of which the first ``examples`` to train on are taken.
    """
    shadow = copy.deepcopy(model).train()
    for layer in shadow.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    some = images.train.take(examples)
    place = next(shadow.parameters()).device  # ``fit`` leaves a network on the GPU it trained on
    pictures, labels = data.normalize(some.images).to(place), some.labels.to(place)

    def loss(model):
        logits, aux = model.forward_with_aux(pictures)
        return F.cross_entropy(logits, labels) + sum(
            aux_weight * F.cross_entropy(extra, labels) for extra in aux.values()
        )

    return measure.gradient_norms(shadow, loss)["conv1"]


@judges(v1e)
def _(arms):
    without, with_aux = arms["no auxiliary classifiers"], arms["auxiliary classifiers"]
    pairs = list(zip(with_aux, without, strict=True))
    gradient = interval([math.log(a["stem_gradient"] / b["stem_gradient"]) for a, b in pairs])
    saved = interval([1 - a["steps_to_1.0"] / b["steps_to_1.0"] for a, b in pairs])
    gap = interval([b["gap"] - a["gap"] for a, b in pairs])
    parts = {
        "gradient": decide(gradient, math.log(1.5)),
        "speed": decide(saved, 0.1),
        "regularizing": decide(gap, 0.01),
    }
    good = sum(word == "holds" for word in parts.values())
    some = any(word in ("holds", "holds in part") for word in parts.values())
    word = VERDICTS[0] if good == 3 else VERDICTS[1] if some else VERDICTS[2]
    if not some and all(word == "the opposite holds" for word in parts.values()):
        word = VERDICTS[3]
    return Verdict(
        word,
        "stem gradient times {:.2f} [{:.2f}, {:.2f}] ".format(*map(math.exp, gradient))
        + f"({parts['gradient']}); share of steps saved to loss "
        f"1.0: {saved} ({parts['speed']}); "
        f"train-test gap smaller by {gap} ({parts['regularizing']})",
    )
