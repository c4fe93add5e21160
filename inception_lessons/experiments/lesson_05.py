"""The claims of lesson 05: what the shortcut of a residual Inception block buys, and what its scale is for."""

import contextlib
import copy
import itertools
import math

import torch
from torch import Tensor, nn

from inception_lessons import data, measure
from inception_lessons.experiments.engine import (
    VERDICTS,
    Verdict,
    as_ratio,
    decide,
    experiment,
    interval,
    judges,
    log_ratios,
    paired,
    trained,
)
from inception_lessons.inception_resnet import SCALES, InceptionResNetV1, Residual
from inception_lessons.train import Recipe

BLOCKS = (2, 4, 2)  # of kinds A, B, C: the preset's three are too few to show what depth does


class Plain(nn.Module):
    """(N, c_in, H, W) -> the same shape: ReLU(up(branches(x))), a residual block that has lost its shortcut.

    Built from that block's own parts, so it starts from the same weights. Without a sum there is nothing for a scale to
    balance, and it goes too. ``norm`` puts batch norm after ``up``, as everywhere else in the network: a rival in
    which no signal grows or fades with depth.
    """

    def __init__(self, block: Residual, *, norm: bool):
        super().__init__()
        self.branches, self.up = block.branches, block.up
        c = block.up.out_channels
        self.norm = nn.BatchNorm2d(c, eps=InceptionResNetV1.SCOPE.eps) if norm else nn.Identity()
        self.relu = block.relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.up(self.branches(x)))
        return x.relu_() if self.relu else x


def twin(model: InceptionResNetV1, *, norm: bool) -> InceptionResNetV1:
    """Inception-ResNet -> the same network, changed in place, with every residual block a ``Plain`` one."""
    for name, stage in model.stages.items():
        if isinstance(stage, Residual):
            model.stages[name] = Plain(stage, norm=norm)
    return model


def network(num_classes: int, shortcut: str, width: float = 0.125) -> InceptionResNetV1:
    """``"residual"``, ``"none"`` or ``"none, batch norm"`` -> the laptop's Inception-ResNet-v1 of eight blocks, with or
    without its shortcuts. Raises ValueError for another word.
    """
    model = InceptionResNetV1.laptop(num_classes, blocks=BLOCKS, width=width)
    if shortcut == "residual":
        return model
    if shortcut not in ("none", "none, batch norm"):
        raise ValueError(f"shortcut is 'residual', 'none' or 'none, batch norm', not {shortcut!r}")
    return twin(model, norm=shortcut == "none, batch norm")


def signal_by_depth(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Network and a normalized batch (N, 3, H, W) -> variance of what each stage but the head puts out, by its name.

    As in training, with the batch's own statistics; works on a copy. In a residual network at its start every block
    adds scale squared times the variance of ``up``, which batch norm in the branches makes about the same in each: with
    scale 1 the signal swells block by block, with a scale of 0.1 to 0.3 it stays (section 3.3 of arXiv:1602.07261).
    """
    shadow = copy.deepcopy(model).train()
    images = images.to(next(shadow.parameters(), images).device)  # ``fit`` leaves a network on the GPU it trained on
    found: dict[str, float] = {}
    named = {name: stage for name, stage in measure.stage_modules(shadow).items() if name != "head"}
    with contextlib.ExitStack() as stack, torch.no_grad():
        for name, stage in named.items():
            handle = stage.register_forward_hook(
                lambda layer, inputs, out, name=name: found.update({name: float(out.var())})
            )
            stack.callback(handle.remove)
        shadow(images)
    return found


# -------------------------------------------------------------------------------------------------- R1: steps to a loss


@experiment(
    "R1",
    claim="residual Inception trains faster than the same Inception without the shortcut",
    threshold="steps to a smoothed training loss of 1.0 (CIFAR-10: 1.7), without the shortcut over with it, against "
    "the faster of the two networks without (bare, or with batch norm in its place): interval above 1.2 holds, above 1 "
    "in part",
    arms={
        "shortcut": {"shortcut": "residual"},
        "no shortcut": {"shortcut": "none"},
        "no shortcut, batch norm": {"shortcut": "none, batch norm"},
    },
    rates=(0.001, 0.002, 0.005, 0.01, 0.02),
    recipe=Recipe(steps=250, optimizer="adamw"),
    datasets=("digits", "cifar10"),
)
def r1(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = network(len(images.classes), arm["shortcut"])
    cost = measure.count(model, 32)
    found, history = trained(model, recipe, seed, images, final, watch)
    found["reached"] = history.steps_to(1.0 if images.train.factors else 1.7)
    found["steps_to"] = found["reached"] or recipe.steps  # never there: the whole run, which understates the ratio
    return found | {"params": cost.params, "macs": cost.macs}


@judges(r1)
def _(arms):
    rivals = {
        name: log_ratios(arms, name, "shortcut", "steps_to") for name in ("no shortcut", "no shortcut, batch norm")
    }
    fastest = min(rivals, key=lambda name: sum(rivals[name]))
    missed = {name: sum(run["reached"] is None for run in rows) for name, rows in arms.items()}
    said = {name: name for name in arms} | {"no shortcut, batch norm": "batch norm in its place"}
    never = ", ".join(f"{said[name]} {count}" for name, count in missed.items() if count) or "none"
    steps = ", ".join(f"{said[name]} {as_ratio(logs)}" for name, logs in rivals.items())
    gain = paired(arms, "shortcut", fastest, "test_accuracy")
    return Verdict(
        decide(interval(rivals[fastest]), math.log(1.2)),
        f"steps without over with the shortcut: {steps}; runs of {len(arms['shortcut'])} that never got there: "
        f"{never}; accuracy with the shortcut minus {said[fastest]}: {gain}",
    )


# -------------------------------------------------------------------------------------------- R2: size and the shortcut

SIZES = {"small": 0.0625, "large": 0.125}


@experiment(
    "R2",
    claim="final accuracy depends on the network's size more than on the shortcut",
    threshold="test accuracy: effect of twice the width (mean over with and without the shortcut) minus the size of "
    "the shortcut's effect (mean over both widths): interval above +0.01 holds, above 0 in part",
    arms={
        f"{size}, {name}": {"width": width, "shortcut": shortcut}
        for (size, width), (name, shortcut) in itertools.product(
            SIZES.items(), (("shortcut", "residual"), ("no shortcut", "none, batch norm"))
        )
    },
    rates=(0.002, 0.005, 0.01, 0.02, 0.04),
    recipe=Recipe(steps=250, optimizer="adamw"),
    datasets=("digits", "cifar10"),
)
def r2(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = network(len(images.classes), arm["shortcut"], arm["width"])
    cost = measure.count(model, 32)
    found, _ = trained(model, recipe, seed, images, final, watch)
    return found | {"params": cost.params, "macs": cost.macs}


@judges(r2)
def _(arms):
    def effect(plus, minus):
        return [
            sum(r["test_accuracy"] for r in runs[:2]) / 2 - sum(r["test_accuracy"] for r in runs[2:]) / 2
            for runs in zip(*(arms[name] for name in plus + minus), strict=True)
        ]

    size = effect(["large, shortcut", "large, no shortcut"], ["small, shortcut", "small, no shortcut"])
    shortcut = effect(["small, shortcut", "large, shortcut"], ["small, no shortcut", "large, no shortcut"])
    sign = math.copysign(1, sum(shortcut))  # of the mean: seed by seed, noise alone would look like an effect
    more = interval([a - sign * b for a, b in zip(size, shortcut, strict=True)])
    return Verdict(
        decide(more, 0.01),
        f"accuracy gained by twice the width: {interval(size)}, by the shortcut: {interval(shortcut)}; the first minus "
        f"the size of the second: {more}",
    )


# ----------------------------------------------------------------------------------------- R3: residual scale and death

WIDTHS = {"narrow": 0.0625, "wide": 0.25}
SCALED = {"scaled": SCALES, "unscaled": (1.0, 1.0, 1.0)}
RATES = (0.01, 0.03, 0.1, 0.3)


def dead_channels(model: nn.Module, images: Tensor) -> float:
    """Network and a normalized batch (N, 3, H, W) -> share of the channels before the average pooling that are 0 at
    every position of every image. 1 if they are no numbers.

    Such a channel tells the images apart no more, and no gradient comes back through its ReLU. "The last layer before
    the average pooling started to produce only zeros" is how section 3.3 of arXiv:1602.07261 describes a network that
    died. As in training, with the batch's own statistics; works on a copy.
    """
    shadow = copy.deepcopy(model).train()
    images = images.to(next(shadow.parameters(), images).device)  # ``fit`` leaves a network on the GPU it trained on
    with torch.no_grad():
        for stage in shadow.stages.values():
            images = stage(images)
    if not images.isfinite().all():
        return 1.0
    return float((images == 0).all(dim=3).all(dim=2).all(dim=0).float().mean())


@experiment(
    "R3",
    claim="without residual scaling wide networks die",
    threshold="share of dead channels (0 for all of 200 images) before the average pooling after 60 steps, mean over "
    "four learning rates, a run whose loss is no number counting as all dead: wide network, unscaled minus scaled: "
    "interval above 0.2; and unscaled, wide minus narrow: interval above 0. Both: holds; the first, or the first above "
    "0: in part",
    arms={
        f"{scaled}, {width}, rate {rate:g}": {"scales": scales, "width": WIDTHS[width], "rate": rate}
        for (scaled, scales), width, rate in itertools.product(SCALED.items(), WIDTHS, RATES)
    },
    recipe=Recipe(steps=60, schedule="constant"),
    datasets=("digits", "cifar10"),
)
def r3(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = InceptionResNetV1.laptop(len(images.classes), blocks=BLOCKS, width=arm["width"], scales=arm["scales"])
    signal = signal_by_depth(model, data.normalize(images.train.take(64).images))
    found, _ = trained(model, recipe, seed, images, final, watch)
    some = data.normalize(images.validation.take(200).images)
    found["dead"] = 1.0 if found["stopped"] else round(dead_channels(model, some), 4)
    return found | {"signal": {name: float(f"{value:.4g}") for name, value in signal.items()}}


@judges(r3)
def _(arms):
    def dead(scaled, width):
        """Share of dead channels, mean over the rates, seed by seed."""
        runs = zip(*(arms[f"{scaled}, {width}, rate {rate:g}"] for rate in RATES), strict=True)
        return [sum(run["dead"] for run in row) / len(row) for row in runs]

    def minus(a, b):
        return interval([x - y for x, y in zip(a, b, strict=True)])

    shares = {pair: dead(*pair) for pair in itertools.product(SCALED, WIDTHS)}
    saved = minus(shares["unscaled", "wide"], shares["scaled", "wide"])
    wider = minus(shares["unscaled", "wide"], shares["unscaled", "narrow"])
    word = decide(saved, 0.2)
    if word == VERDICTS[0] and not wider.low > 0:
        word = VERDICTS[1]
    means = ", ".join(f"{' and '.join(pair)} {sum(s) / len(s):.2f}" for pair, s in shares.items())
    stopped = {
        scaled: [bool(run["stopped"]) for name in arms if name.startswith(scaled) for run in arms[name]]
        for scaled in SCALED
    }
    lost = ", ".join(f"{name} {sum(found)} of {len(found)}" for name, found in stopped.items())
    return Verdict(
        word,
        f"share of dead channels: {means}; wide, unscaled minus scaled: {saved}; unscaled, wide minus narrow: {wider}; "
        f"runs whose loss was no number at the end: {lost}",
    )
