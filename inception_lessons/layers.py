"""The words that every network here is written in: convolution units, branches that are concatenated, and the width
rule.

Images are ``(N, C, H, W)``. A convolution with stride 1 keeps ``H x W``; stride 2 halves it, rounding up.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def channels(count: int, width: float) -> int:
    """``count`` filters of the paper -> filters at this width: a multiple of 4, at least 4.

    Width 1 is the paper's network, untouched. Thin networks keep multiples of 4 because odd channel counts are slow.
    """
    return count if width == 1 else max(4, 4 * round(count * width / 4))


def same(kernel: int | tuple[int, int]) -> int | tuple[int, int]:
    """Kernel size -> the padding that keeps the grid at stride 1 (odd kernels only)."""
    return tuple((k - 1) // 2 for k in kernel) if isinstance(kernel, tuple) else (kernel - 1) // 2


def conv(c_in: int, c_out: int, kernel: int | tuple[int, int], stride: int = 1, padding=None) -> nn.Sequential:
    """(N, c_in, H, W) -> (N, c_out, H / stride, W / stride): convolution with bias, then ReLU. The unit of 2014."""
    padding = same(kernel) if padding is None else padding
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(c_in, c_out, kernel, stride, padding), relu=nn.ReLU(inplace=True)))


def conv_bn(
    c_in: int, c_out: int, kernel: int | tuple[int, int], stride: int = 1, padding=None, *, eps: float = 1e-3
) -> nn.Sequential:
    """(N, c_in, H, W) -> (N, c_out, H / stride, W / stride): convolution without bias, batch norm, ReLU.

    Batch norm subtracts the mean, so a bias before it would do nothing. ``eps`` is TF-slim's; its decay of 0.9997 would
    need hundreds of thousands of steps to settle, so momentum is PyTorch's 0.1 (= decay 0.9).
    """
    padding = same(kernel) if padding is None else padding
    unit = OrderedDict(
        conv=nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False),
        norm=nn.BatchNorm2d(c_out, eps=eps),
        relu=nn.ReLU(inplace=True),
    )
    return nn.Sequential(unit)


class Concat(nn.ModuleDict):
    """(N, c_in, H, W) -> (N, sum of the branches' channels, H, W): each branch sees the same input; outputs are
    stacked.

    Branches keep the order in which they are written. Names must not be attributes of ``nn.Module`` (``half``,
    ``train``).
    """

    def __init__(self, **branches: nn.Module):
        super().__init__(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.values()], dim=1)


def chain(c_in: int, rows: Iterable[tuple[str, Callable[[int], nn.Module]]]) -> tuple[nn.ModuleDict, dict[str, int]]:
    """Rows of (stage name, function from input channels to module) -> the modules, and the channels after each stage.

    A stage is told how many channels reach it, so that thinner networks and networks with fewer modules need no second
    table. How many come out is read from the stage's last convolution(s), not written down twice.
    """
    stages, widths = nn.ModuleDict(), {}
    for name, make in rows:
        stages[name] = make(c_in)
        widths[name] = c_in = _channels_out(stages[name], c_in)
    return stages, widths


def _channels_out(module: nn.Module, c_in: int) -> int:
    if isinstance(module, nn.Conv2d):
        return module.out_channels
    if isinstance(module, Concat):
        return sum(_channels_out(branch, c_in) for branch in module.values())
    for child in module.children():
        c_in = _channels_out(child, c_in)
    return c_in


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


def initialize(model: nn.Module, init: str, heads: Iterable[nn.Linear] = ()) -> None:
    """Set the starting weights of every convolution and linear layer in place.

    ``he``: He et al. 2015 (arXiv:1502.01852), so that ReLU layers neither shrink nor swell the signal; ``truncated``:
    normal of deviation 0.01 cut at two deviations, as TF-slim has it; ``torch``: leave PyTorch's own default, under
    which a plain GoogLeNet does not learn at all. ``heads`` are classifiers: they start small, so that the first loss
    is close to ln(classes).

    Raises ValueError for another name.
    """
    if init not in ("he", "truncated", "torch"):
        raise ValueError(f"init is 'he', 'truncated' or 'torch', not {init!r}")
    if init == "torch":
        return
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if init == "he":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.02, b=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for head in heads:
        nn.init.normal_(head.weight, std=0.01)


def check_size(num_classes: int, width: float) -> None:
    """Raise ValueError unless a network can have so many classes and be so wide."""
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 1:
        raise ValueError(f"num_classes is a whole number of at least 1, not {num_classes!r}")
    if not isinstance(width, int | float) or not width > 0:
        raise ValueError(f"width is a number above 0 (1 is the paper's), not {width!r}")


def check_images(x: Tensor, smallest: int = 1) -> None:
    """Raise ValueError unless ``x`` is a batch ``(N, 3, H, W)`` of floating-point pictures of at least ``smallest``
    pixels.
    """
    if x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(f"the network wants images of shape (N, 3, H, W), not {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"the network wants floating-point images (see data.normalize), not {x.dtype}")
    if min(x.shape[2:]) < smallest:
        raise ValueError(
            f"the network wants images of at least {smallest} x {smallest} pixels, not {tuple(x.shape[2:])}"
        )
