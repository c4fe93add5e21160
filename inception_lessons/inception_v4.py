"""Inception V4: a stem of its own, one shape of module for each grid, and the network, "Inception-v4,
Inception-ResNet and the Impact of Residual Connections on Learning", arXiv:1602.07261.

The two reductions are V3's with other filters, so they come from there.
"""

from torch import Tensor, nn

from inception_lessons import layers
from inception_lessons.inception_v3 import ReductionA, ReductionB, auxiliary, average
from inception_lessons.layers import VALID, Concat, stage_rows

#: Each stage with weights under its three names: in the paper (A1 is the first Inception-A), in TF-slim, in timm.
NAMES = {
    "conv1a": ("Conv2d_1a_3x3", "features.0"),
    "conv2a": ("Conv2d_2a_3x3", "features.1"),
    "conv2b": ("Conv2d_2b_3x3", "features.2"),
    "3a": ("Mixed_3a", "features.3"),
    "4a": ("Mixed_4a", "features.4"),
    "5a": ("Mixed_5a", "features.5"),
    **{f"A{i + 1}": (f"Mixed_5{'bcde'[i]}", f"features.{6 + i}") for i in range(4)},
    "reductionA": ("Mixed_6a", "features.10"),
    **{f"B{i + 1}": (f"Mixed_6{'bcdefgh'[i]}", f"features.{11 + i}") for i in range(7)},
    "reductionB": ("Mixed_7a", "features.18"),
    **{f"C{i + 1}": (f"Mixed_7{'bcd'[i]}", f"features.{19 + i}") for i in range(3)},
}


class Mixed3a(nn.Module):
    """(N, c_in, H, W) -> (N, c_in + n, (H - 1) // 2, (W - 1) // 2). Fig. 3: pooling and convolution side by side."""

    def __init__(self, c_in, n, *, unit):
        super().__init__()
        self.branches = Concat(pool=nn.MaxPool2d(3, 2), b3=unit(c_in, n, 3, 2, VALID))

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class Mixed4a(nn.Module):
    """(N, c_in, H, W) -> (N, 2 n, H - 2, W - 2). Fig. 3: a 3 x 3 with and without a factorized 7 x 7 before it.

    The figure draws 7 x 1 before 1 x 7; the released code has them the other way round, as here.
    """

    def __init__(self, c_in, r, n, *, unit, padding=VALID):
        super().__init__()
        self.branches = Concat(
            b3=nn.Sequential(unit(c_in, r, 1), unit(r, n, 3, 1, padding)),
            b7=nn.Sequential(unit(c_in, r, 1), unit(r, r, (1, 7)), unit(r, r, (7, 1)), unit(r, n, 3, 1, padding)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class Mixed5a(nn.Module):
    """(N, c_in, H, W) -> (N, n + c_in, (H - 1) // 2, (W - 1) // 2), or on the same grid with stride 1. Fig. 3.

    The figure forgets the convolution's stride of 2, without which its two branches would not fit together.
    """

    def __init__(self, c_in, n, *, unit, stride=2):
        super().__init__()
        padding = VALID if stride == 2 else 1
        self.branches = Concat(b3=unit(c_in, n, 3, stride, padding), pool=nn.MaxPool2d(3, stride, padding))

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class InceptionA(nn.Module):
    """(N, c_in, H, W) -> (N, n1 + n3 + n33 + proj, H, W). Fig. 4, the module of the 35 x 35 grid."""

    def __init__(self, c_in, n1, r3, n3, r33, n33, proj, *, unit, count_include_pad=False):
        super().__init__()
        self.branches = Concat(
            b1=unit(c_in, n1, 1),
            b3=nn.Sequential(unit(c_in, r3, 1), unit(r3, n3, 3)),
            b33=nn.Sequential(unit(c_in, r33, 1), unit(r33, n33, 3), unit(n33, n33, 3)),
            pool=nn.Sequential(average(count_include_pad), unit(c_in, proj, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class InceptionB(nn.Module):
    """(N, c_in, H, W) -> (N, n1 + n7 + n77 + proj, H, W). Fig. 5, the module of the 17 x 17 grid.

    Each asymmetric kernel has a width of its own: ``r``, then ``m7``, then ``n7`` or ``n77``. The figure prints 1 x 7
    twice in its third branch; a row needs its column, so the code has 7 x 1.
    """

    def __init__(self, c_in, n1, r, m7, n7, n77, proj, *, unit, count_include_pad=False):
        super().__init__()
        row, column = (1, 7), (7, 1)
        self.branches = Concat(
            b1=unit(c_in, n1, 1),
            b7=nn.Sequential(unit(c_in, r, 1), unit(r, m7, row), unit(m7, n7, column)),
            b77=nn.Sequential(
                unit(c_in, r, 1), unit(r, r, column), unit(r, m7, row), unit(m7, m7, column), unit(m7, n77, row)
            ),
            pool=nn.Sequential(average(count_include_pad), unit(c_in, proj, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class InceptionC(nn.Module):
    """(N, c_in, H, W) -> (N, n1 + 4 n3 + proj, H, W). Fig. 6, the module of the 8 x 8 grid: rows and columns side by
    side.
    """

    def __init__(self, c_in, n1, r, m33, l33, n3, proj, *, unit, count_include_pad=False):
        super().__init__()
        self.branches = Concat(
            b1=unit(c_in, n1, 1),
            b3=nn.Sequential(unit(c_in, r, 1), Concat(row=unit(r, n3, (1, 3)), column=unit(r, n3, (3, 1)))),
            b33=nn.Sequential(
                unit(c_in, r, 1),
                unit(r, m33, (3, 1)),
                unit(m33, l33, (1, 3)),
                Concat(row=unit(l33, n3, (1, 3)), column=unit(l33, n3, (3, 1))),
            ),
            pool=nn.Sequential(average(count_include_pad), unit(c_in, proj, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


def stem_rows(make: layers.Maker, stem: str) -> list:
    """The rows of Fig. 3, which Inception-ResNet-v2 starts with too."""
    full = [
        ("conv1a", make.conv(32, 3, 2, VALID)),                                  #   32 x 149 x 149
        ("conv2a", make.conv(32, 3, 1, VALID)),                                  #   32 x 147 x 147
        ("conv2b", make.conv(64, 3)),                                            #   64 x 147 x 147
        ("3a", make(Mixed3a, 96)),                                               #  160 x 73 x 73
        ("4a", make(Mixed4a, 64, 96)),                                           #  192 x 71 x 71
        ("5a", make(Mixed5a, 192)),                                              #  384 x 35 x 35
    ]  # fmt: skip
    small = [  # not in the paper: for 32 x 32 images, which start on a 16 x 16 grid
        ("conv1a", make.conv(32, 3, 2)),                                         #   32 x 16 x 16
        ("conv2b", make.conv(64, 3)),                                            #   64 x 16 x 16
        ("4a", make(Mixed4a, 64, 96, padding=None)),                             #  192 x 16 x 16
        ("5a", make(Mixed5a, 192, stride=1)),                                    #  384 x 16 x 16
    ]  # fmt: skip
    return full if stem == "full" else small


class InceptionV4(layers.Network):
    """(N, 3, H, W) -> logits (N, num_classes). Fig. 9 of arXiv:1602.07261: 42,679,816 parameters, 76 layers on its
    longest path.

    ``width`` thins every layer; ``blocks`` says how many modules A, B and C there are; ``stem="small"`` starts a
    32 x 32 image on a 16 x 16 grid. ``aux`` adds a classifier on the last module B, which only TF-slim has.
    ``count_include_pad`` counts the zeros beyond the border in the averages of the pool branches: TensorFlow and timm
    do not. ``scope`` changes ``SCOPE``. Raises ValueError for any other choice.
    """

    #: TF-slim's ``arg_scope`` for this network. "Dropout (keep 0.8)" of Fig. 9 drops a fifth.
    SCOPE = layers.Scope(init="he", eps=1e-3, momentum=0.1, dropout=0.2, weight_decay=4e-5)

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        width: float = 1.0,
        blocks: tuple[int, int, int] = (4, 7, 3),
        stem: str = "full",
        aux: bool = False,
        count_include_pad: bool = False,
        **scope,
    ):
        layers.check_size(num_classes, width)
        layers.check_blocks(blocks, "kinds A, B, C")
        layers.check_choice("stem", stem, ("full", "small"))
        scope = self.SCOPE.but(**scope)
        make = layers.Maker(width, scope.unit)
        a, b, c = blocks
        borders = {"count_include_pad": count_include_pad}

        table = [
            #                                    n1   r3   n3  r33  n33 proj             output at 299 x 299
            *stage_rows("A", a, make(InceptionA, 96,  64,  96,  64,  96,  96, **borders)),   #  384 x 35 x 35
            #                                     n    k    l    m
            ("reductionA", make(ReductionA,     384, 192, 224, 256)),                        # 1024 x 17 x 17
            #                                    n1    r   m7   n7  n77 proj
            *stage_rows("B", b, make(InceptionB, 384, 192, 224, 256, 256, 128, **borders)),  # 1024 x 17 x 17
            #                                    r3   n3   r7   m7   n7
            ("reductionB", make(ReductionB,     192, 192, 256, 320, 320)),                   # 1536 x 8 x 8
            #                                    n1    r  m33  l33   n3 proj
            *stage_rows("C", c, make(InceptionC, 256, 384, 448, 512, 256, 256, **borders)),  # 1536 x 8 x 8
        ]  # fmt: skip
        listens = f"B{b}" if b else "reductionA"
        super().__init__(
            stem_rows(make, stem) + table,
            lambda c_in: layers.average_head(c_in, num_classes, scope.dropout),
            aux={listens: auxiliary(num_classes, stem, width, scope.unit)} if aux else {},
            scope=scope,
            smallest=75 if stem == "full" else 13,
        )

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> "InceptionV4":
        """The same network for 32 x 32 images and two processor cores: an eighth of the width, three of the fourteen
        modules.
        """
        return cls(num_classes, **{"width": 0.125, "blocks": (1, 1, 1), "stem": "small", **changes})
