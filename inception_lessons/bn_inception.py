"""Inception V2: BN-Inception, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift", arXiv:1502.03167, appendix.

The table there (Fig. 5) contradicts itself in modules 4c, 4d and 4e: the filters do not add up to the printed output
sizes. An argument says which to believe.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from inception_lessons import layers
from inception_lessons.layers import Concat

#: Each stage with weights under its three names: in the paper, in TF-slim, in Cadene's pretrainedmodels.
NAMES = {
    "conv1": ("Conv2d_1a_7x7", "conv1_7x7_s2"),
    "conv2_reduce": ("Conv2d_2b_1x1", "conv2_3x3_reduce"),
    "conv2": ("Conv2d_2c_3x3", "conv2_3x3"),
    "3a": ("Mixed_3b", "inception_3a"),
    "3b": ("Mixed_3c", "inception_3b"),
    "3c": ("Mixed_4a", "inception_3c"),
    "4a": ("Mixed_4b", "inception_4a"),
    "4b": ("Mixed_4c", "inception_4b"),
    "4c": ("Mixed_4d", "inception_4c"),
    "4d": ("Mixed_4e", "inception_4d"),
    "4e": ("Mixed_5a", "inception_4e"),
    "5a": ("Mixed_5b", "inception_5a"),
    "5b": ("Mixed_5c", "inception_5b"),
}


class Inception(nn.Module):
    """(N, c_in, H, W) -> (N, n1 + n3 + n33 + proj, H, W). One row of Fig. 5: two 3 x 3 in place of V1's 5 x 5.

    ``pool`` is ``"avg"`` or ``"max"``; ``count_include_pad`` counts the zeros beyond the border in the average.
    """

    def __init__(self, c_in, n1, r3, n3, r33, n33, proj, *, unit, pool="avg", count_include_pad=False):
        super().__init__()
        average = nn.AvgPool2d(3, 1, 1, count_include_pad=count_include_pad)
        self.branches = Concat(
            b1=unit(c_in, n1, 1),
            b3=nn.Sequential(unit(c_in, r3, 1), unit(r3, n3, 3)),
            b33=nn.Sequential(unit(c_in, r33, 1), unit(r33, n33, 3), unit(n33, n33, 3)),
            pool=nn.Sequential(average if pool == "avg" else nn.MaxPool2d(3, 1, 1), unit(c_in, proj, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class Reduction(nn.Module):
    """(N, c_in, H, W) -> (N, n3 + n33 + c_in, H / 2, W / 2). Rows 3c and 4e: stride 2, and a pool that hands all on.

    TensorFlow pads an even grid at its end only, Caffe and PyTorch on both sides: their windows lie one pixel apart.
    """

    def __init__(self, c_in, r3, n3, r33, n33, *, unit):
        super().__init__()
        self.branches = Concat(
            b3=nn.Sequential(unit(c_in, r3, 1), unit(r3, n3, 3, 2)),
            b33=nn.Sequential(unit(c_in, r33, 1), unit(r33, n33, 3), unit(n33, n33, 3, 2)),
            pool=nn.Sequential(PadOdd(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class PadOdd(nn.Module):
    """(N, C, H, W) -> the same, with a row of zeros above where H is odd, a column of them on the left where W is.

    So that the pool of a ``Reduction`` ends on the grid of the convolutions beside it, ``ceil(H / 2)``, whatever the
    image's size. On 28 x 28 and 14 x 14, the paper's, it does nothing. What comes in has been through ReLU, so zeros
    never win the maximum.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2] % 2, x.shape[3] % 2
        return F.pad(x, (columns, 0, rows, 0)) if rows or columns else x


class Separable(nn.Sequential):
    """(N, c_in, H, W) -> (N, c_out, H / 2, W / 2): eight kernels on each colour alone, then a 1 x 1 that mixes them.

    The paper has such a "separable convolution with depth multiplier 8 on the first convolutional layer" (appendix). A
    thin network takes fewer kernels, so that the first step is not wider than what comes out.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, *, unit):
        deep = c_in * max(1, min(8, c_out // c_in))
        super().__init__()
        self.depthwise = nn.Conv2d(c_in, deep, kernel, 2, layers.same(kernel), groups=c_in, bias=False)
        self.pointwise = unit(deep, c_out, 1)


class BNInception(layers.Network):
    """(N, 3, H, W) -> logits (N, num_classes). Fig. 5 of arXiv:1502.03167: 11,278,528 parameters.

    ``believe="filters"`` takes the table's filter columns, as Caffe and its ports do, so that 4c, 4d and 4e put out
    608, 608 and 1056 channels; ``"sizes"`` takes its column of output sizes, 576, 576 and 1024, as TF-slim does, with
    96 in place of 128 filters after the pools of 4c and 4d. ``first`` is the first convolution: ``"separable"`` (the
    paper), ``"slim"`` (separable, with a bias and no batch norm, which TF-slim's ``arg_scope`` misses) or ``"dense"``
    (Caffe and its ports). ``width`` thins every layer; ``blocks`` says how many modules of groups 3, 4 and 5 are kept
    beside the two reductions; ``stem="small"`` starts a 32 x 32 image on a 16 x 16 grid; ``count_include_pad`` counts
    the zeros beyond the border in the averages (Caffe does, TensorFlow does not). ``scope`` changes ``SCOPE``. Raises
    ValueError for any other choice.
    """

    #: TF-slim's ``arg_scope`` for this network, but for dropout: the paper removes it (section 4.2.1), slim keeps 0.8.
    #: The paper prints no epsilon; Caffe's port has 1e-5.
    SCOPE = layers.Scope(init="he", eps=1e-3, momentum=0.1, dropout=0.0, weight_decay=4e-5)

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        width: float = 1.0,
        blocks: tuple[int, int, int] = (2, 4, 2),
        stem: str = "full",
        believe: str = "filters",
        first: str = "separable",
        count_include_pad: bool = False,
        **scope,
    ):
        layers.check_size(num_classes, width)
        layers.check_blocks(blocks, "groups 3, 4, 5", (2, 4, 2))
        layers.check_choice("stem", stem, ("full", "small"))
        layers.check_choice("believe", believe, ("filters", "sizes"))
        layers.check_choice("first", first, ("separable", "slim", "dense"))
        scope = self.SCOPE.but(**scope)
        make = layers.Maker(width, scope.unit)
        proj = 128 if believe == "filters" else 96

        def conv1(count, kernel):
            if first == "dense":
                return make.conv(count, kernel, stride=2)
            unit = layers.conv if first == "slim" else scope.unit
            return lambda c_in: Separable(c_in, layers.channels(count, width), kernel, unit=unit)

        def inception(*filters, pool="avg"):
            return make(Inception, *filters, pool=pool, count_include_pad=count_include_pad)

        def reduction(*filters):
            return make(Reduction, *filters)

        def pool():
            return layers.max_pool(ceil_mode=True)

        full = [
            ("conv1", conv1(64, 7)),                                              #   64 x 112 x 112
            ("pool1", pool()),                                                    #   64 x 56 x 56
            ("conv2_reduce", make.conv(64, 1)),                                   #   64 x 56 x 56
            ("conv2", make.conv(192, 3)),                                         #  192 x 56 x 56
            ("pool2", pool()),                                                    #  192 x 28 x 28
        ]  # fmt: skip
        small = [  # not in the paper: for 32 x 32 images
            ("conv1", conv1(64, 3)),                                              #   64 x 16 x 16
            ("conv2_reduce", make.conv(64, 1)),                                   #   64 x 16 x 16
            ("conv2", make.conv(192, 3)),                                         #  192 x 16 x 16
        ]  # fmt: skip
        table = [
            #                  n1   r3   n3  r33  n33  proj                         output at 224 x 224; by the sizes
            ("3a", inception( 64,  64,  64,  64,  96,   32)),                     #  256 x 28 x 28   256
            ("3b", inception( 64,  64,  96,  64,  96,   64)),                     #  320 x 28 x 28   320
            ("3c", reduction(     128, 160,  64,  96)),                           #  576 x 14 x 14   576
            ("4a", inception(224,  64,  96,  96, 128,  128)),                     #  576 x 14 x 14   576
            ("4b", inception(192,  96, 128,  96, 128,  128)),                     #  576 x 14 x 14   576
            ("4c", inception(160, 128, 160, 128, 160, proj)),                     #  608 x 14 x 14   576
            ("4d", inception( 96, 128, 192, 160, 192, proj)),                     #  608 x 14 x 14   576
            ("4e", reduction(     128, 192, 192, 256)),                           # 1056 x 7 x 7    1024
            ("5a", inception(352, 192, 320, 160, 224,  128)),                     # 1024 x 7 x 7    1024
            ("5b", inception(352, 192, 320, 192, 224,  128, pool="max")),         # 1024 x 7 x 7    1024
        ]  # fmt: skip
        kept = {f"{group}{'abcd'[i]}" for group, count in zip("345", blocks, strict=True) for i in range(count)}
        rows = (full if stem == "full" else small) + [row for row in table if row[0] in kept | {"3c", "4e"}]
        super().__init__(
            rows,
            lambda c_in: layers.average_head(c_in, num_classes, scope.dropout),
            scope=scope,
            smallest=7 if stem == "full" else 1,
        )

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> "BNInception":
        """The same network for 32 x 32 images and two processor cores: three sixteenths of the width, four modules
        beside the two reductions.
        """
        return cls(num_classes, **{"width": 0.1875, "blocks": (1, 2, 1), "stem": "small", **changes})
