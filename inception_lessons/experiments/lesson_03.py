"""The claims of lesson 03: where a kernel may be split into a row and a column, and how a grid is halved."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from inception_lessons import layers, measure
from inception_lessons.experiments.engine import (
    VERDICTS,
    Verdict,
    decide,
    experiment,
    judges,
    paired,
    trained,
)
from inception_lessons.layers import Concat
from inception_lessons.train import Recipe

SCOPE = layers.Scope(dropout=0.0)  # as in Inception V3 but for dropout, which networks this small do not need


# --------------------------------------------------------------------------------------------------- one kernel's forms


def square(c_in: int, c_out: int, n: int = 7, *, unit=layers.conv_bn) -> nn.Sequential:
    """(N, c_in, H, W) -> (N, c_out, H, W): one n x n kernel."""
    return nn.Sequential(unit(c_in, c_out, n))


def stacked(c_in: int, c_out: int, n: int = 7, *, unit=layers.conv_bn) -> nn.Sequential:
    """(N, c_in, H, W) -> (N, c_out, H, W): as many 3 x 3 kernels as see n x n pixels, two for n = 5.

    Section 3.1 of arXiv:1512.00567. ``c_out`` channels from the first kernel on, as in Fig. 1 of that paper, so the
    saving of 28 % is that of ``c_in = c_out``. Raises ValueError for an n that is even or below 3.
    """
    _check_kernel(n)
    widths = [c_in] + [c_out] * ((n - 1) // 2)
    return nn.Sequential(*(unit(a, b, 3) for a, b in zip(widths, widths[1:], strict=False)))


def asymmetric(c_in: int, c_out: int, n: int = 7, *, unit=layers.conv_bn) -> nn.Sequential:
    """(N, c_in, H, W) -> (N, c_out, H, W): a row of n and a column of n, with batch norm and ReLU after both.

    Section 3.2 of arXiv:1512.00567. Raises ValueError for an n that is even or below 3.
    """
    _check_kernel(n)
    return nn.Sequential(unit(c_in, c_out, (1, n)), unit(c_out, c_out, (n, 1)))


#: The forms of one n x n kernel by name; all see n x n pixels and keep the grid.
FORMS: dict[str, Callable[..., nn.Module]] = {"n x n": square, "3 x 3 stacked": stacked, "1 x n + n x 1": asymmetric}


def share_saved(form: str, n: int, channels: int = 64, grid: int = 17) -> float:
    """Name in FORMS and kernel size -> share of the n x n kernel's multiply-adds that this form does without.

    The same share for every number of channels and every grid, as long as the channels stay what they are. Raises
    ValueError for another name.
    """
    layers.check_choice("form", form, tuple(FORMS))
    whole, split = (measure.count(make(channels, channels, n), grid) for make in (square, FORMS[form]))
    return 1 - split.macs / whole.macs


def _check_kernel(n: int) -> None:
    if n < 3 or n % 2 == 0:
        raise ValueError(f"a kernel that is split is odd and at least 3 wide, not {n!r}")


# ------------------------------------------------------------------------------------------ F3: early, or in the middle


class TwoGrids(layers.Network):
    """(N, 3, 32, 32) -> logits (N, num_classes): two layers of n x n on the 32 x 32 grid, two on the 16 x 16 grid.

    Each of the two stages can be a row and a column in place of every square. Channels double where the grid halves,
    so both stages do the same number of multiply-adds, and splitting either saves the same number.
    """

    def __init__(self, num_classes: int = 10, *, early: str = "n x n", mid: str = "n x n", n: int = 7, width: int = 8):
        make = layers.Maker(1.0, SCOPE.unit)
        first, second = FORMS[early], FORMS[mid]
        rows = [
            ("conv1", make.conv(width, 3)),                         #     width x 32 x 32
            ("early1", make(first, width, n=n)),                    #     width x 32 x 32
            ("early2", make(first, width, n=n)),                    #     width x 32 x 32
            ("reduce1", make.conv(2 * width, 3, 2)),                # 2 * width x 16 x 16
            ("mid1", make(second, 2 * width, n=n)),                 # 2 * width x 16 x 16
            ("mid2", make(second, 2 * width, n=n)),                 # 2 * width x 16 x 16
            ("reduce2", make.conv(4 * width, 3, 2)),                # 4 * width x 8 x 8
        ]  # fmt: skip
        super().__init__(
            rows, lambda c_in: layers.average_head(c_in, num_classes, SCOPE.dropout), scope=SCOPE, smallest=4
        )


@experiment(
    "F3",
    claim="splitting n x n into 1 x n and n x 1 works on medium grids and poorly in early layers",
    threshold="test accuracy, split on the 16 x 16 grid minus split on the 32 x 32 grid: interval above +0.01; and not "
    "split minus split on the 16 x 16 grid: interval below +0.02. Both: holds; one, or the first above 0: in part",
    arms={
        "not split": {"early": "n x n", "mid": "n x n"},
        "split early": {"early": "1 x n + n x 1", "mid": "n x n"},
        "split in the middle": {"early": "n x n", "mid": "1 x n + n x 1"},
    },
    rates=(0.02, 0.05, 0.1, 0.2, 0.4, 0.8),
    recipe=Recipe(steps=300),
    datasets=("digits", "cifar10"),
)
def f3(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = TwoGrids(len(images.classes), **arm)
    cost = measure.count(model, 32)
    found, _ = trained(model, recipe, seed, images, final, watch)
    return found | {"params": cost.params, "macs": cost.macs}


@judges(f3)
def _(arms):
    early = paired(arms, "not split", "split early", "test_accuracy")
    mid = paired(arms, "not split", "split in the middle", "test_accuracy")
    apart = paired(arms, "split in the middle", "split early", "test_accuracy")
    worse, harmless = decide(apart, 0.01), mid.high < 0.02
    if worse == VERDICTS[0] and harmless:
        word = VERDICTS[0]
    elif worse == VERDICTS[3]:  # harmless in the middle, but still more so early
        word = VERDICTS[3]
    elif harmless or worse in VERDICTS[:2]:
        word = VERDICTS[1]
    else:
        word = VERDICTS[2]
    saved = 1 - arms["split early"][0]["macs"] / arms["not split"][0]["macs"]
    return Verdict(
        word,
        f"accuracy lost by splitting early: {early}, in the middle: {mid}, early minus middle: {apart} ({worse}); "
        f"either saves {saved:.0%} of the multiply-adds",
    )


# -------------------------------------------------------------------------------------------- F4: three grid reductions


class Reduction(nn.Module):
    """(N, c_in, H, W) -> (N, c_out, H / 2, W / 2) in one of REDUCTIONS, for an even grid and c_out > c_in.

    Fig. 9 of arXiv:1512.00567 has the first two, Fig. 10 the third, there with more convolutions. Raises ValueError for
    another name, or where side by side has no channels left for its convolution.
    """

    def __init__(self, c_in: int, c_out: int, *, how: str, unit=layers.conv_bn):
        super().__init__()
        layers.check_choice("how", how, REDUCTIONS)
        if c_out <= c_in:
            raise ValueError(f"a reduction widens: more than {c_in} channels come out, not {c_out}")
        pool = nn.MaxPool2d(3, 2, 1)
        if how == "pool, then convolve":
            self.body = nn.Sequential(pool, unit(c_in, c_out, 3))
        elif how == "convolve, then pool":
            self.body = nn.Sequential(unit(c_in, c_out, 3), pool)
        else:
            self.body = Concat(b3=unit(c_in, c_out - c_in, 3, 2), pool=pool)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


REDUCTIONS = ("pool, then convolve", "convolve, then pool", "side by side")


def normed(c_in: int, c_out: int, *, how: str, norm: str, unit=layers.conv_bn) -> nn.Module:
    """(N, c_in, H, W) -> (N, c_out, H / 2, W / 2): a ``Reduction`` with batch norm and ReLU ``"inside"``, right behind
    its convolution as in the released V3, or ``"behind"`` the whole of it.

    Inside, only pooling first hands on what batch norm has just made; the others hand on maxima, with a mean and a
    variance of their own. Behind, the three end alike. (Side by side still has half of the weights.) Raises
    ValueError for another word.
    """
    layers.check_choice("norm", norm, ("inside", "behind"))
    if norm == "inside":
        return Reduction(c_in, c_out, how=how, unit=unit)

    def bare(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
        return nn.Conv2d(c_in, c_out, kernel, stride, layers.same(kernel), bias=False)

    body = Reduction(c_in, c_out, how=how, unit=bare)
    last = nn.BatchNorm2d(c_out, eps=SCOPE.eps, momentum=SCOPE.momentum)
    return nn.Sequential(OrderedDict(body=body, norm=last, relu=nn.ReLU(inplace=True)))


class TwoReductions(layers.Network):
    """(N, 3, 32, 32) -> logits (N, num_classes): from 16 x 16 over 8 x 8 to 4 x 4, both steps in one of REDUCTIONS.

    Every stage puts out the same channels whichever it is. ``norm``: see ``normed``.
    """

    def __init__(self, num_classes: int = 10, *, how: str = "side by side", norm: str = "behind", width: int = 24):
        make = layers.Maker(1.0, SCOPE.unit)
        rows = [
            ("conv1", make.conv(width, 3, 2)),                          #     width x 16 x 16
            ("conv2", make.conv(width, 3)),                             #     width x 16 x 16
            ("reduce1", make(normed, 2 * width, how=how, norm=norm)),   # 2 * width x 8 x 8
            ("conv3", make.conv(2 * width, 3)),                         # 2 * width x 8 x 8
            ("reduce2", make(normed, 4 * width, how=how, norm=norm)),   # 4 * width x 4 x 4
        ]  # fmt: skip
        super().__init__(
            rows, lambda c_in: layers.average_head(c_in, num_classes, SCOPE.dropout), scope=SCOPE, smallest=8
        )


@experiment(
    "F4",
    claim="pooling first is a bottleneck, convolving first is expensive, both side by side is neither",
    threshold="bottleneck: test accuracy, convolving first minus pooling first, interval above +0.01; neither: side by "
    "side minus convolving first, interval above -0.02, with no more multiply-adds in the reductions than pooling "
    "first; expensive: convolving first has at least 2 times the multiply-adds of pooling first (counted). All three: "
    "holds; bottleneck or neither: in part; the count alone is no more than a condition. Judged with batch norm behind "
    "all three reductions, so that they differ in their order alone",
    arms={how: {"how": how, "norm": "behind"} for how in REDUCTIONS}
    | {f"{how}, norm inside": {"how": how, "norm": "inside"} for how in REDUCTIONS[1:]},  # pooling first is the same
    rates=(0.02, 0.05, 0.1, 0.2, 0.4, 0.8),
    recipe=Recipe(steps=300),
    datasets=("digits", "cifar10"),
)
def f4(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = TwoReductions(len(images.classes), **arm)
    cost = measure.count(model, 32)
    spent = sum(row.macs for row in measure.stages(model, 32) if row.name.startswith("reduce"))
    found, _ = trained(model, recipe, seed, images, final, watch)
    return found | {"params": cost.params, "macs": cost.macs, "reduction_macs": spent}


@judges(f4)
def _(arms):
    pool, convolve, both = REDUCTIONS
    lost = paired(arms, convolve, pool, "test_accuracy")
    as_good = paired(arms, both, convolve, "test_accuracy")
    dearer = arms[convolve][0]["reduction_macs"] / arms[pool][0]["reduction_macs"]
    cheaper = arms[both][0]["reduction_macs"] / arms[pool][0]["reduction_macs"]
    bottleneck = decide(lost, 0.01)
    if as_good.low > -0.02 and cheaper <= 1:
        neither = VERDICTS[0]
    else:
        neither = VERDICTS[3] if as_good.high < -0.02 or cheaper > 1 else VERDICTS[2]
    parts = (bottleneck, neither)
    if parts == (VERDICTS[0], VERDICTS[0]) and dearer >= 2:
        word = VERDICTS[0]
    elif any(part in VERDICTS[:2] for part in parts):
        word = VERDICTS[1]
    else:
        word = VERDICTS[3] if VERDICTS[3] in parts else VERDICTS[2]
    inside = ", ".join(f"{how} {paired(arms, f'{how}, norm inside', how, 'test_accuracy')}" for how in REDUCTIONS[1:])
    return Verdict(
        word,
        f"accuracy, convolving first minus pooling first: {lost} (bottleneck: {bottleneck}); side by side minus "
        f"convolving first: {as_good} (neither: {neither}); multiply-adds of the reductions, pooling first being 1: "
        f"convolving first {dearer:g}, side by side {cheaper:g}; with batch norm inside instead of behind: {inside}",
    )
