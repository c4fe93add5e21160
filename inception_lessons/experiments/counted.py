"""The claims that need no training: each is worked out from the networks themselves, and is exact on any machine."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

from inception_lessons import batch_norm, layers, look, measure
from inception_lessons.baselines import AlexNet
from inception_lessons.bn_inception import BNInception
from inception_lessons.experiments.engine import VERDICTS, Verdict
from inception_lessons.experiments.lesson_03 import share_saved
from inception_lessons.googlenet import GoogLeNet
from inception_lessons.inception_resnet import InceptionResNetV1, InceptionResNetV2
from inception_lessons.inception_v3 import InceptionV3
from inception_lessons.inception_v4 import InceptionV4

HOLDS, PART, NOT_HERE, OPPOSITE, CANNOT = VERDICTS

COUNTED: dict[str, tuple[str, Callable[[], Verdict]]] = {}


def counted(id: str, *, claim: str):
    """Decorate ``work_out() -> Verdict``, which counts what the claim says."""

    def register(function: Callable[[], Verdict]) -> Callable[[], Verdict]:
        COUNTED[id] = (claim, function)
        return function

    return register


def _built(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):  # shapes without numbers: nothing to store, nothing to wait for
        return make()


def _settled(model: nn.Module) -> nn.Module:
    """Batch norm as after a training: statistics and scales that are not 0 and 1. In place, eval mode."""
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | batch_norm.BatchNorm2d):
            for values, low, high in (
                (layer.running_mean, -0.5, 0.5),
                (layer.running_var, 0.5, 2.0),
                (layer.weight.data, 0.5, 1.5),
                (layer.bias.data, -0.5, 0.5),
            ):
                values.copy_(torch.rand(values.shape, generator=generator) * (high - low) + low)
    return model.eval()


@counted("V1a", claim="22 layers, 1.5 G multiply-adds, 5 M parameters, 12 times fewer than AlexNet")
def _() -> Verdict:
    network = _built(GoogLeNet)
    cost, deep = measure.count(network), measure.depth(network)
    rival = measure.count(_built(AlexNet)).params
    with_aux = measure.count(_built(lambda: GoogLeNet(aux=True))).params
    true = (deep == 22, round(cost.macs / 1e9, 1) == 1.5, round(cost.params / 1e6) == 5, rival / cost.params >= 12)
    return Verdict(
        HOLDS if all(true) else PART if any(true) else OPPOSITE,
        f"{deep} layers, {cost.macs / 1e9:.3f} G multiply-adds, {cost.params:,} parameters ({with_aux:,} with "
        f"auxiliary classifiers), {rival / cost.params:.1f} times fewer than AlexNet's {rival:,}",
    )


@counted("V1c", claim="later modules put a larger share of channels into 3 x 3 and 5 x 5")
def _() -> Verdict:
    network = GoogLeNet(width=0.25)  # the shares are the whole network's to rounding
    large: dict[str, list[float]] = {}
    for name in look.branched_stages(network):
        found = {kind: maps.shape[1] for kind, maps in look.branches(network, torch.zeros(1, 3, 32, 32), name).items()}
        large.setdefault(name[0], []).append((found["b3"] + found["b5"]) / sum(found.values()))
    means = [sum(values) / len(values) for values in large.values()]
    rises = [b > a for a, b in pairwise(means)]
    return Verdict(
        HOLDS if all(rises) else PART if any(rises) else OPPOSITE,
        f"share in 3 x 3 and 5 x 5, mean of the modules of groups {', '.join(large)}: "
        + ", ".join(f"{mean:.0%}" for mean in means),
    )


@counted("V1f", claim="channels grow, the grid shrinks, the volume falls stage by stage")
def _() -> Verdict:
    network = _built(GoogLeNet)
    stages = [stage for stage in measure.stages(network, 224)[:-1] if not stage.name.startswith("norm")]
    volumes = [(stage.shape[-1], stage.shape[0] * stage.shape[1] * stage.shape[2]) for stage in stages]
    largest: dict[int, int] = {}
    for grid, volume in volumes:
        largest[grid] = max(largest.get(grid, 0), volume)
    between = all(b < a for a, b in pairwise(largest.values()))
    within = all(b <= a for (_, a), (_, b) in pairwise(volumes))
    return Verdict(
        HOLDS if between and within else PART if between else OPPOSITE,
        "most numbers that a stage hands on, in thousands: "
        + ", ".join(f"{volume / 1000:.0f} at {grid} x {grid}" for grid, volume in largest.items())
        + ("" if within else "; within one grid it also rises"),
    )


@counted("B4", claim="gamma and beta can restore the identity")
def _() -> Verdict:
    x = torch.randn(64, 8, 5, 5, generator=torch.Generator().manual_seed(0)) * 3 + 2
    norm, misprint = nn.BatchNorm2d(8, eps=0.1), nn.BatchNorm2d(8, eps=0.1)
    variance = x.var((0, 2, 3), unbiased=False)
    for layer, gamma in ((norm, (variance + norm.eps).sqrt()), (misprint, variance.sqrt())):
        layer.weight.data, layer.bias.data = gamma, x.mean((0, 2, 3))
    right, wrong = (float((layer(x) - x).abs().max().detach()) for layer in (norm, misprint))
    return Verdict(
        HOLDS if right < 1e-4 < wrong else OPPOSITE,
        f"with gamma the root of variance plus epsilon and beta the mean, output equals input to rounding "
        f"({'below' if right < 1e-4 else 'not below'} 1e-4); with gamma the root of the variance alone and epsilon 0.1 "
        f"it is {wrong:.2f} away",
    )


@counted("B5", claim="in convolutions one pair (gamma, beta) serves a whole feature map")
def _() -> Verdict:
    ours, torchs = batch_norm.BatchNorm2d(32), nn.BatchNorm2d(32)
    pairs = {name: tuple(p.shape) for name, p in torchs.named_parameters()}
    chance, same = torch.Generator().manual_seed(0), True
    for size in ((1, 1), (7, 5), (28, 28)):  # the same pairs serve them all
        x = torch.randn(4, 32, *size, generator=chance)
        same &= bool(torch.allclose(ours(x), torchs(x), atol=1e-5))
        same &= bool(torch.allclose(ours.running_var, torchs.running_var, atol=1e-6))
    return Verdict(
        HOLDS if pairs == {"weight": (32,), "bias": (32,)} and same else OPPOSITE,
        f"{pairs['weight'][0]} pairs for 32 feature maps of any size, and written out by hand it equals torch's in "
        f"output and running statistics",
    )


@counted("B8", claim="at inference batch norm is an affine map and folds into the convolution")
def _() -> Verdict:
    torch.manual_seed(0)
    model = _settled(BNInception.laptop())
    x = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    folded = layers.fold(model)
    with torch.no_grad():
        before, after = model(x), folded(x)
    away = float((before - after).abs().max() / before.std())
    left = sum(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    total = sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    return Verdict(
        HOLDS if away < 1e-5 and left == 0 else PART if away < 1e-5 else OPPOSITE,
        f"of BN-Inception's {total} batch norms at laptop size {left} are left, and the logits are the same to 1e-5 of "
        f"their spread",
    )


@counted("F1", claim="5 x 5 as two 3 x 3 saves 28 %")
def _() -> Verdict:
    saved = share_saved("3 x 3 stacked", 5)
    return Verdict(
        HOLDS if abs(saved - 7 / 25) < 1e-9 else OPPOSITE,
        f"{saved:.0%} of the multiply-adds where all layers have the same number of channels",
    )


@counted("F2", claim="n x n as 1 x n and n x 1 saves 33 % at n = 3, and more at 7")
def _() -> Verdict:
    saved = {n: share_saved("1 x n + n x 1", n) for n in (3, 5, 7)}
    right = all(abs(share - (1 - 2 / n)) < 1e-9 for n, share in saved.items())
    return Verdict(
        HOLDS if right else OPPOSITE,
        "multiply-adds saved: " + ", ".join(f"{share:.0%} at n = {n}" for n, share in saved.items()),
    )


@counted("F5", claim="Inception V3: 42 layers, under 25 M parameters, 5 G multiply-adds")
def _() -> Verdict:
    network = _built(InceptionV3)
    cost, deep = measure.count(network, 299), measure.depth(network, 299)
    with_aux = measure.count(_built(lambda: InceptionV3(aux=True)), 299).params
    true = (deep == 42, cost.params < 25e6, round(cost.macs / 1e9) == 5)
    return Verdict(
        HOLDS if all(true) else PART if any(true) else OPPOSITE,
        f"{deep} layers on the longest path, {cost.params:,} parameters ({with_aux:,} with the auxiliary classifier), "
        f"{cost.macs / 1e9:.3f} G multiply-adds",
    )


@counted("R4", claim="V4 and Inception-ResNet-v2 cost about the same, and so do V3 and Inception-ResNet-v1")
def _() -> Verdict:
    networks = {
        "V3": InceptionV3,
        "Inception-ResNet-v1": InceptionResNetV1,
        "V4": InceptionV4,
        "Inception-ResNet-v2": InceptionResNetV2,
        "Inception-ResNet-v2 with public weights": lambda: InceptionResNetV2(variant="slim"),
    }
    cost = {name: measure.count(_built(make), 299) for name, make in networks.items()}

    def near(a: str, b: str) -> bool:
        """Within a tenth of each other in multiply-adds."""
        return abs(cost[a].macs / cost[b].macs - 1) < 0.1

    small, large = near("Inception-ResNet-v1", "V3"), near("Inception-ResNet-v2", "V4")
    public = near("Inception-ResNet-v2 with public weights", "V4")
    return Verdict(
        HOLDS if small and large else PART if small or large or public else OPPOSITE,
        "; ".join(f"{name} {c.params:,} parameters, {c.macs / 1e9:.2f} G multiply-adds" for name, c in cost.items()),
    )


@counted("A1", claim="top-5 error 6.67 % (V1), 4.8 % (batch norm), 3.5 % (V3), 3.08 % (V4 with residual networks)")
def _() -> Verdict:
    return Verdict(
        CANNOT,
        "it takes ImageNet and seven, six, four and four trained networks, each over many crops; with one network and "
        "one crop the papers report 10.07 %, 7.8 %, 5.6 %, and 5.0 % (V4) and 4.9 % (Inception-ResNet-v2)",
    )
