"""The words that every network here is written in: convolution units, branches that are concatenated, stages in a row,
and the width rule.

Images are ``(N, C, H, W)``. A convolution with stride 1 keeps ``H x W``; stride 2 halves it, rounding up. ``VALID``
asks for no padding: the kernel stays inside the picture and the grid loses its rim, as TensorFlow names it.
"""

import copy
import dataclasses
import functools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

VALID = 0
#: Starting weights by name, for ``initialize``.
INITS = ("he", "truncated", "torch")
#: Above these a network is too large to be meant, and a slip is answered at once instead of when the memory is full. At
#: width 4 it has about 16 times the paper's weights; TF-slim's longest row has 20 modules; ImageNet has 21,841 classes.
WIDEST, MOST_BLOCKS, MOST_CLASSES = 4, 100, 100_000


@dataclasses.dataclass(frozen=True)
class Scope:
    """What holds for every layer of a network, said once. TF-slim calls the idea ``arg_scope``.

    Each network has its own, ``SCOPE``, and its constructor takes these names as changes to it:
    ``InceptionV3(eps=1e-5, dropout=0.0)``. What was chosen stays in ``network.scope``.

    ``eps`` and ``momentum`` are batch norm's. TF-slim's decay of 0.9997 is a momentum of 0.0003 here and needs some
    ten thousand steps to settle, so 0.1 is the default, as in every PyTorch port. ``dropout`` is the share that is
    *dropped*; papers and TensorFlow print the share that is kept, see ``keep``. ``weight_decay`` is for the recipe:
    ``train.Recipe(weight_decay=network.scope.weight_decay)``. For ``init`` and ``deviation`` see ``initialize``.
    Raises ValueError for a value that cannot be.
    """

    init: str = "he"
    deviation: float | None = None
    eps: float = 1e-3
    momentum: float = 0.1
    dropout: float = 0.2
    weight_decay: float = 4e-5

    def __post_init__(self):
        _check_init(self.init)
        for name, low, high in (("momentum", 0, 1), ("dropout", 0, 1), ("eps", 0, 1), ("weight_decay", 0, math.inf)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ValueError(f"{name} is a number from {low} to {high}, not {value!r}")
        number = isinstance(self.deviation, int | float) and not isinstance(self.deviation, bool)
        if self.deviation is not None and not (number and 0 < self.deviation < math.inf):
            raise ValueError(f"deviation is a number above 0, or None, not {self.deviation!r}")

    @property
    def keep(self) -> float:
        """The share that dropout leaves, as the papers and TensorFlow print it: "dropout 0.8" means keep 0.8."""
        return 1 - self.dropout

    @property
    def unit(self) -> Callable[..., nn.Sequential]:
        """``conv_bn`` with this scope's epsilon and momentum."""
        return functools.partial(conv_bn, eps=self.eps, momentum=self.momentum)

    def but(self, **changes) -> Self:
        """The same scope but for these fields; TypeError names a field that there is not."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise TypeError(f"there is no argument {name!r}: beside its own, a network takes {', '.join(known)}")
        return dataclasses.replace(self, **changes)


def channels(count: int, width: float) -> int:
    """``count`` filters of the paper -> filters at this width: a multiple of 4, at least 4.

    Width 1 is the paper's network, untouched. Thin networks keep multiples of 4 because odd channel counts are slow.
    Raises ValueError for fewer than one filter, or a width that is no number above 0 and at most ``WIDEST``.
    """
    _check_whole("the count of filters", count)
    _check_width(width)
    return count if width == 1 else max(4, 4 * round(count * width / 4))


def same(kernel: int | tuple[int, int]) -> int | tuple[int, int]:
    """Kernel size -> the padding that keeps the grid at stride 1. Raises ValueError for an even size: nothing does."""
    sizes = kernel if isinstance(kernel, tuple) else (kernel,)
    if not all(isinstance(k, int) and k > 0 and k % 2 for k in sizes):
        raise ValueError(f"only kernels of odd size keep the grid, not {kernel!r}: say padding=... for another")
    return tuple((k - 1) // 2 for k in kernel) if isinstance(kernel, tuple) else (kernel - 1) // 2


def conv(
    c_in: int, c_out: int, kernel: int | tuple[int, int], stride: int = 1, padding=None, *, groups: int = 1
) -> nn.Sequential:
    """(N, c_in, H, W) -> (N, c_out, H / stride, W / stride): convolution with bias, then ReLU. The unit of 2014.

    ``padding`` is what keeps the grid at stride 1, unless it is given. Raises ValueError for channels, a kernel or a
    stride below 1, and for an even kernel without ``padding``.
    """
    _check_unit(c_in, c_out, kernel, stride)
    padding = same(kernel) if padding is None else padding
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups)
    return nn.Sequential(OrderedDict(conv=convolution, relu=nn.ReLU(inplace=True)))


def conv_bn(
    c_in: int,
    c_out: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding=None,
    *,
    eps: float = 1e-3,
    momentum: float = 0.1,
) -> nn.Sequential:
    """(N, c_in, H, W) -> (N, c_out, H / stride, W / stride): convolution without bias, batch norm, ReLU.

    Batch norm subtracts the mean, so a bias before it would do nothing. ``eps`` and ``momentum``: see ``Scope``.
    ``padding`` is what keeps the grid at stride 1, unless it is given. Raises ValueError as ``conv`` does.
    """
    _check_unit(c_in, c_out, kernel, stride)
    padding = same(kernel) if padding is None else padding
    unit = OrderedDict(
        conv=nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False),
        norm=nn.BatchNorm2d(c_out, eps=eps, momentum=momentum),
        relu=nn.ReLU(inplace=True),
    )
    return nn.Sequential(unit)


class Concat(nn.ModuleDict):
    """(N, c_in, H, W) -> (N, sum of the branches' channels, H, W): each branch sees the same input; outputs are
    stacked.

    Branches keep the order in which they are written. Raises ValueError for no branch at all, for a name that
    ``nn.Module`` needs itself (``half``, ``train``), and for branches that end on different grids.
    """

    def __init__(self, **branches: nn.Module):
        super().__init__()
        taken = [name for name in branches if hasattr(self, name)]
        if taken or not branches:
            wrong = f"{taken[0]!r} is a name that torch needs itself" if taken else "there is none"
            raise ValueError(f"branches are one module or more, each with a name of its own, but {wrong}")
        self.update(branches)

    def forward(self, x: Tensor) -> Tensor:
        parts = [branch(x) for branch in self.values()]
        if any(part.shape[2:] != parts[0].shape[2:] for part in parts):
            grids = ", ".join(f"{name} {tuple(part.shape[2:])}" for name, part in zip(self, parts, strict=True))
            raise ValueError(f"branches that are stacked end on one grid, but here they end on {grids}")
        return torch.cat(parts, dim=1)


def chain(c_in: int, rows: Iterable[tuple[str, Callable[[int], nn.Module]]]) -> tuple[nn.ModuleDict, dict[str, int]]:
    """Rows of (stage name, function from input channels to module) -> the modules, and the channels after each stage.

    A stage is told how many channels reach it, so that thinner networks and networks with fewer modules need no second
    table. How many come out is read from the stage's last convolution(s), not written down twice.
    """
    stages, widths = nn.ModuleDict(), {}
    for name, make in rows:
        stages[name] = make(c_in)
        widths[name] = c_in = channels_out(stages[name], c_in)
    return stages, widths


def channels_out(module: nn.Module, c_in: int) -> int:
    """Module and the channels that reach it -> the channels that leave it."""
    if isinstance(module, nn.Conv2d):
        return module.out_channels
    if isinstance(module, Concat):
        return sum(channels_out(branch, c_in) for branch in module.values())
    for child in module.children():
        c_in = channels_out(child, c_in)
    return c_in


class Maker:
    """Writes the rows of a table: filter counts of the paper -> a function from input channels to a module.

    Holds the two things that no row should repeat: the ``width`` that thins every layer, and the ``unit`` of
    convolution, normalization and ReLU.
    """

    def __init__(self, width: float, unit: Callable[..., nn.Module]):
        self.width, self.unit = width, unit

    def __call__(self, kind: Callable[..., nn.Module], *filters: int, **settings) -> Callable[[int], nn.Module]:
        """A module of this kind, its filters thinned: ``make(Inception, 64, 96, 128, 16, 32, 32)``."""
        counts = [channels(count, self.width) for count in filters]
        return lambda c_in: kind(c_in, *counts, unit=self.unit, **settings)

    def conv(self, count: int, kernel, stride: int = 1, padding=None) -> Callable[[int], nn.Module]:
        """A convolution unit on its own."""
        return lambda c_in: self.unit(c_in, channels(count, self.width), kernel, stride, padding)


def max_pool(kernel: int = 3, stride: int = 2, *, ceil_mode: bool = False) -> Callable[[int], nn.Module]:
    """A row of max pooling without padding."""
    return lambda c_in: nn.MaxPool2d(kernel, stride, ceil_mode=ceil_mode)


def stage_rows(letter: str, count: int, make: Callable[[int], nn.Module]) -> list[tuple[str, Callable]]:
    """``count`` rows of a table that are all alike: ("A1", make), ("A2", make), ..."""
    return [(f"{letter}{i}", make) for i in range(1, count + 1)]


class Network(nn.Module):
    """(N, 3, H, W) -> logits (N, num_classes): named stages one after the other, then a head.

    What every network of the course is. ``rows`` is its table (see ``chain``), ``head`` makes the classifier from the
    last stage's channels, and ``aux`` says which stages an auxiliary classifier listens to, and how it is made from
    that stage's channels. ``smallest`` is the side of the smallest image for which no pool or kernel runs out of rows.
    """

    def __init__(
        self,
        rows: Iterable[tuple[str, Callable[[int], nn.Module]]],
        head: Callable[[int], nn.Module],
        *,
        scope: Scope,
        smallest: int,
        aux: Mapping[str, Callable[[int], nn.Module]] | None = None,
    ):
        super().__init__()
        self.scope, self.smallest = scope, smallest
        self.stages, widths = chain(3, rows)
        self.head = head(next(reversed(widths.values())))
        self.aux = nn.ModuleDict({name: make(widths[name]) for name, make in (aux or {}).items()})
        heads = [_last_linear(part) for part in (self.head, *self.aux.values())]
        initialize(self, scope.init, heads, scope.deviation)

    def forward(self, x: Tensor) -> Tensor:
        check_images(x, self.smallest)
        for stage in self.stages.values():
            x = stage(x)
        return self.head(x)

    def forward_with_aux(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(N, 3, H, W) -> logits, and the auxiliary logits by the stage that feeds them: ``{"4a": ..., "4d": ...}``."""
        check_images(x, self.smallest)
        logits = {}
        for name, stage in self.stages.items():
            x = stage(x)
            if name in self.aux:
                logits[name] = self.aux[name](x)
        return self.head(x), logits


def _last_linear(module: nn.Module) -> nn.Module | None:
    """The classifier of a head: its last linear layer, None where averaging is the head."""
    return next((layer for layer in reversed(list(module.modules())) if isinstance(layer, nn.Linear)), None)


def average_head(c_in: int, num_classes: int, dropout: float) -> nn.Sequential:
    """(N, c_in, H, W) -> logits (N, num_classes): global average pooling, dropout, one linear layer.

    ``dropout`` is the share that is *dropped*. Section 3.2 of arXiv:1312.4400, as arXiv:1409.4842 uses it.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(c_in, num_classes),
    )


def initialize(
    model: nn.Module, init: str, heads: Iterable[nn.Linear | None] = (), deviation: float | None = None
) -> None:
    """Set the starting weights of every convolution and linear layer in place.

    ``he``: He et al. 2015 (arXiv:1502.01852), so that ReLU layers neither shrink nor swell the signal; ``truncated``: a
    normal distribution cut at two deviations, as TF-slim has it, of the given ``deviation``, or where none is given of
    ``sqrt(1.3 x 2 / fan in)``, its ``variance_scaling_initializer``; ``torch``: leave PyTorch's own default, under
    which a plain GoogLeNet does not learn at all. ``heads`` are classifiers: they start small, so that the first loss
    is close to ln(classes).

    Raises ValueError for another name.
    """
    _check_init(init)
    if init == "torch":
        return
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if init == "he":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:  # cutting takes a quarter of the variance away; 1.3 gives it back
                std = deviation or math.sqrt(1.3 * 2 / layer.weight[0].numel())
                nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for head in heads:
        if head is not None:
            nn.init.normal_(head.weight, std=0.01)


def _check_init(init: str) -> None:
    if init not in INITS:
        raise ValueError(f"init is {', '.join(map(repr, INITS[:-1]))} or {INITS[-1]!r}, not {init!r}")


def fold(model: nn.Module) -> nn.Module:
    """Network in evaluation mode -> a copy for inference: every batch norm has gone into the convolution before it, and
    a 1 x 1 convolution after an average has gone before it.

    At inference batch norm is one multiplication and one addition a channel, both of which a convolution can do on the
    side (section 3.1 of arXiv:1502.03167). Averaging and mixing channels are both linear, so they may change places,
    and fewer channels are left to average. The outputs are equal up to rounding. Raises ValueError for a network in
    training mode, where the statistics are the batch's and nothing can be folded.
    """
    if model.training:
        raise ValueError("only a network in evaluation mode can be folded: call .eval() first")
    folded = copy.deepcopy(model)
    for module in list(folded.modules()):
        if isinstance(getattr(module, "conv", None), nn.Conv2d) and isinstance(
            getattr(module, "norm", None), nn.BatchNorm2d
        ):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            del module.norm
    for module in list(folded.modules()):
        for name, branch in module.items() if isinstance(module, Concat) else ():
            if _mixes_after_average(branch):
                module[name] = _average_last(*branch)
    return folded


def _mixes_after_average(branch: nn.Module) -> bool:
    """Whether a folded branch is an average and a unit of convolution and ReLU that mixes channels and does no more:
    only such a convolution, which sees one place at a time and every place, may change places with the average.
    """
    if type(branch) is not nn.Sequential or [type(part) for part in branch] != [nn.AvgPool2d, nn.Sequential]:
        return False
    unit = dict(branch[1].named_children())
    if list(unit) != ["conv", "relu"] or not isinstance(unit["conv"], nn.Conv2d):
        return False
    conv = unit["conv"]
    return conv.kernel_size == conv.stride == (1, 1) and conv.padding in ((0, 0), "valid", "same")


def _average_last(average: nn.AvgPool2d, unit: nn.Sequential) -> nn.Sequential:
    """An average and the folded 1 x 1 unit after it -> the same with the average between convolution and ReLU."""
    parts = OrderedDict(conv=unit.conv, average=average, relu=unit.relu)
    scales = average.count_include_pad or average.divisor_override  # zeros beyond the border would thin out the bias
    if scales and unit.conv.bias is not None:  # so it comes after them
        parts = OrderedDict(conv=unit.conv, average=average, shift=Shift(unit.conv.bias), relu=unit.relu)
        unit.conv.bias = None
    return nn.Sequential(parts)


class Shift(nn.Module):
    """(N, C, H, W) -> the same, plus one number a channel."""

    def __init__(self, bias: Tensor):
        super().__init__()
        self.bias = nn.Parameter(bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[:, None, None]


def check_blocks(blocks: tuple[int, ...], groups: str, most: tuple[int, ...] | None = None, *, length: int = 3) -> None:
    """Raise ValueError unless ``blocks`` says for each of the groups how many modules to keep (at most ``most``), or to
    have (at most ``MOST_BLOCKS`` in a group).
    """
    whole = isinstance(blocks, tuple | list) and all(isinstance(n, int) and not isinstance(n, bool) for n in blocks)
    if not whole or len(blocks) != length:
        raise ValueError(f"blocks is {length} whole numbers, how many modules of {groups} there are, not {blocks!r}")
    limits = most or (MOST_BLOCKS,) * length
    if min(blocks) < 0 or any(kept > limit for kept, limit in zip(blocks, limits, strict=True)):
        limit = f"at most {most}" if most else f"none below 0 or above {MOST_BLOCKS}"
        raise ValueError(f"blocks says how many modules of {groups} there are, {limit}, not {blocks!r}")


def check_choice(name: str, value: object, choices: tuple) -> None:
    """Raise ValueError unless ``value`` is one of the choices."""
    if value not in choices or type(value) is not type(choices[choices.index(value)]):  # 5.0 is no kernel size
        raise ValueError(f"{name} is one of {', '.join(map(repr, choices))}, not {value!r}")


def check_size(num_classes: int, width: float) -> None:
    """Raise ValueError unless a network can have so many classes, at most ``MOST_CLASSES``, and be so wide: above 0, at
    most ``WIDEST``.
    """
    _check_whole("num_classes", num_classes)
    if num_classes > MOST_CLASSES:
        raise ValueError(f"num_classes is a whole number of at most {MOST_CLASSES:,}, not {num_classes!r}")
    _check_width(width)


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is a whole number of at least 1, not {value!r}")


def _check_unit(c_in: int, c_out: int, kernel: int | tuple[int, int], stride: int | tuple[int, int]) -> None:
    """Torch makes a layer of nothing from a 0, and a convolution that fails at its first picture from stride 0."""
    for name, value in (("c_in", c_in), ("c_out", c_out), ("kernel", kernel), ("stride", stride)):
        for number in value if isinstance(value, tuple) and name in ("kernel", "stride") else (value,):
            _check_whole(name, number)


def _check_width(width: float) -> None:
    if not isinstance(width, int | float) or isinstance(width, bool) or not 0 < width <= WIDEST:
        raise ValueError(f"width is a number above 0 and at most {WIDEST} (1 is the paper's), not {width!r}")


def check_images(x: Tensor, smallest: int = 1) -> None:
    """Raise ValueError unless ``x`` is a batch ``(N, 3, H, W)`` of floating-point pictures of at least ``smallest``
    pixels.
    """
    if not isinstance(x, Tensor):
        raise ValueError(f"the network wants images as a tensor (N, 3, H, W), not as {type(x).__name__}")
    if x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(f"the network wants images of shape (N, 3, H, W), not {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"the network wants floating-point images (see data.normalize), not {x.dtype}")
    if min(x.shape[2:]) < smallest:
        raise ValueError(
            f"the network wants images of at least {smallest} x {smallest} pixels, not {tuple(x.shape[2:])}"
        )
