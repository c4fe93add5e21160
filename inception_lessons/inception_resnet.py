"""Inception-ResNet v1 and v2: Inception modules whose output is added to their input, scaled down, "Inception-v4,
Inception-ResNet and the Impact of Residual Connections on Learning", arXiv:1602.07261.

Two networks are called v2: the paper's, and the larger one of TF-slim, which all published weights are for.
"""

from typing import Self

import torch
from torch import Tensor, nn

from inception_lessons import inception_v3, inception_v4, layers
from inception_lessons.inception_v3 import ReductionA, auxiliary
from inception_lessons.layers import VALID, Concat, stage_rows

_TRUNK = {name: (slim, name.replace("conv", "conv2d_")) for name, (slim, _) in list(inception_v3.NAMES.items())[:5]}
#: V1's stages with weights under two names: in the paper (A1 is the first Inception-ResNet-A), in facenet-pytorch.
NAMES_V1 = {
    **{name: theirs for name, (_, theirs) in _TRUNK.items()},
    "conv4b": "conv2d_4b",
    **{f"A{i + 1}": f"repeat_1.{i}" for i in range(5)},
    "reductionA": "mixed_6a",
    **{f"B{i + 1}": f"repeat_2.{i}" for i in range(10)},
    "reductionB": "mixed_7a",
    **{f"C{i + 1}": f"repeat_3.{i}" for i in range(5)},
    "C6": "block8",
}
#: The stages of v2 in TF-slim's form under three names: here, in TF-slim, in timm. The paper's form has fewer blocks.
NAMES_V2 = {
    **_TRUNK,
    "5b": ("Mixed_5b", "mixed_5b"),
    **{f"A{i + 1}": (f"Repeat/block35_{i + 1}", f"repeat.{i}") for i in range(10)},
    "reductionA": ("Mixed_6a", "mixed_6a"),
    **{f"B{i + 1}": (f"Repeat_1/block17_{i + 1}", f"repeat_1.{i}") for i in range(20)},
    "reductionB": ("Mixed_7a", "mixed_7a"),
    **{f"C{i + 1}": (f"Repeat_2/block8_{i + 1}", f"repeat_2.{i}") for i in range(9)},
    "C10": ("Block8", "block8"),
    "conv7b": ("Conv2d_7b_1x1", "conv2d_7b"),
}

#: How much of each branch sum is added, for blocks A, B, C. The paper says "between 0.1 and 0.3"; these are TF-slim's.
SCALES = (0.17, 0.10, 0.20)


class Residual(nn.Module):
    """(N, c_in, H, W) -> (N, c_in, H, W): ReLU(x + scale * up(branches(x))).

    ``up`` is a 1 x 1 convolution without activation that brings the branches back to ``c_in`` channels. No batch norm
    stands on the sum, so that one graphics card could train the network (section 3.2). Without the scale, networks
    with more than 1000 filters died early in training (section 3.3). ``relu=False`` leaves the sum as it is.
    """

    def __init__(self, c_in: int, branches: Concat, *, scale: float, relu: bool = True):
        super().__init__()
        self.branches = branches
        self.up = nn.Conv2d(layers.channels_out(branches, c_in), c_in, 1)
        self.scale, self.relu = scale, relu

    def forward(self, x: Tensor) -> Tensor:
        x = torch.add(x, self.up(self.branches(x)), alpha=self.scale)
        return x.relu_() if self.relu else x

    def extra_repr(self) -> str:
        """What ``print`` shows of it, beside its parts."""
        return f"scale={self.scale}, relu={self.relu}"


class BlockA(Residual):
    """(N, c_in, H, W) -> the same shape. Inception-ResNet-A, Fig. 10 (v1) and 16 (v2): the 35 x 35 grid."""

    def __init__(self, c_in, n1, r3, n3, r33, m33, n33, *, unit, **add):
        branches = Concat(
            b1=unit(c_in, n1, 1),
            b3=nn.Sequential(unit(c_in, r3, 1), unit(r3, n3, 3)),
            b33=nn.Sequential(unit(c_in, r33, 1), unit(r33, m33, 3), unit(m33, n33, 3)),
        )
        super().__init__(c_in, branches, **add)


class BlockB(Residual):
    """(N, c_in, H, W) -> the same shape. Inception-ResNet-B, Fig. 11 and 17: the 17 x 17 grid."""

    def __init__(self, c_in, n1, r7, m7, n7, *, unit, **add):
        branches = Concat(
            b1=unit(c_in, n1, 1),
            b7=nn.Sequential(unit(c_in, r7, 1), unit(r7, m7, (1, 7)), unit(m7, n7, (7, 1))),
        )
        super().__init__(c_in, branches, **add)


class BlockC(Residual):
    """(N, c_in, H, W) -> the same shape. Inception-ResNet-C, Fig. 13 and 19: the 8 x 8 grid."""

    def __init__(self, c_in, n1, r3, m3, n3, *, unit, **add):
        branches = Concat(
            b1=unit(c_in, n1, 1),
            b3=nn.Sequential(unit(c_in, r3, 1), unit(r3, m3, (1, 3)), unit(m3, n3, (3, 1))),
        )
        super().__init__(c_in, branches, **add)


class ReductionB(nn.Module):
    """(N, c_in, H, W) -> (N, n + n3 + n33 + c_in, (H - 1) // 2, (W - 1) // 2). Fig. 12 and 18: to the 8 x 8 grid."""

    def __init__(self, c_in, r, n, n3, m33, n33, *, unit):
        super().__init__()
        self.branches = Concat(
            b3=nn.Sequential(unit(c_in, r, 1), unit(r, n, 3, 2, VALID)),
            b3b=nn.Sequential(unit(c_in, r, 1), unit(r, n3, 3, 2, VALID)),
            b33=nn.Sequential(unit(c_in, r, 1), unit(r, m33, 3), unit(m33, n33, 3, 2, VALID)),
            pool=nn.MaxPool2d(3, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class _InceptionResNet(layers.Network):
    """What v1 and v2 share once their tables are written."""

    #: TF-slim's ``arg_scope`` for these networks. "Dropout (keep 0.8)" of Fig. 15 drops a fifth.
    SCOPE = layers.Scope(init="he", eps=1e-3, momentum=0.1, dropout=0.2, weight_decay=4e-5)

    def __init__(self, rows, num_classes, *, width, stem, aux, scope):
        middle = [name for name, _ in rows if name[0] == "B" or name == "reductionA"]  # on the 17 x 17 grid
        super().__init__(
            rows,
            lambda c_in: layers.average_head(c_in, num_classes, scope.dropout),
            aux={middle[-1]: auxiliary(num_classes, stem, width, scope.unit)} if aux else {},
            scope=scope,
            smallest=75 if stem == "full" else 13,
        )

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> Self:
        """The same network for 32 x 32 images and two processor cores: an eighth of the width, three blocks."""
        return cls(num_classes, **{"width": 0.125, "blocks": (1, 1, 1), "stem": "small", **changes})


class InceptionResNetV1(_InceptionResNet):
    """(N, 3, H, W) -> logits (N, num_classes). Fig. 15 with Fig. 10 to 14 of arXiv:1602.07261: 22,756,328 parameters,
    93 layers on its longest path; about as much work as Inception V3.

    ``width`` thins every layer; ``blocks`` says how many blocks A, B and C there are; ``stem="small"`` starts a
    32 x 32 image on a 16 x 16 grid; ``scales`` is how much of the branches is added in blocks A, B and C.
    ``variant="facenet"`` is the network that facenet trained on faces: one more block C, unscaled and without ReLU.
    ``aux`` adds V3's auxiliary classifier after the last block B, which neither the paper nor facenet has. ``scope``
    changes ``SCOPE``. Raises ValueError for any other choice.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        variant: str = "paper",
        width: float = 1.0,
        blocks: tuple[int, int, int] = (5, 10, 5),
        stem: str = "full",
        scales: tuple[float, float, float] = SCALES,
        aux: bool = False,
        **scope,
    ):
        _check(num_classes, width, blocks, stem, scales)
        layers.check_choice("variant", variant, ("paper", "facenet"))
        scope = self.SCOPE.but(**scope)
        make = layers.Maker(width, scope.unit)
        (a, b, c), (scale_a, scale_b, scale_c) = blocks, scales

        grid = {"stride": 2, "padding": VALID} if stem == "full" else {}
        table = [
            ("conv4b", make.conv(256, 3, **grid)),                                              #  256 x 35 x 35
            #                                n1   r3   n3  r33  m33  n33                    output at 299 x 299
            *stage_rows("A", a, make(BlockA, 32,  32,  32,  32,  32,  32, scale=scale_a)),      #  256 x 35 x 35
            #                                 n    k    l    m
            ("reductionA", make(ReductionA, 384, 192, 192, 256)),                               #  896 x 17 x 17
            #                                n1   r7   m7   n7
            *stage_rows("B", b, make(BlockB, 128, 128, 128, 128, scale=scale_b)),               #  896 x 17 x 17
            #                                 r    n   n3  m33  n33
            ("reductionB", make(ReductionB, 256, 384, 256, 256, 256)),                          # 1792 x 8 x 8
            #                                n1   r3   m3   n3
            *stage_rows("C", c, make(BlockC, 192, 192, 192, 192, scale=scale_c)),               # 1792 x 8 x 8
        ]  # fmt: skip
        if variant == "facenet":
            table += [(f"C{c + 1}", make(BlockC, 192, 192, 192, 192, scale=1.0, relu=False))]  # 1792 x 8 x 8
        rows = [row for row in inception_v3.stem_rows(make, stem) if row[0] != "pool5a"] + table  # 4b is in its place
        super().__init__(rows, num_classes, width=width, stem=stem, aux=aux, scope=scope)


class InceptionResNetV2(_InceptionResNet):
    """(N, 3, H, W) -> logits (N, num_classes). Fig. 15 with Fig. 16 to 19 of arXiv:1602.07261: 32,433,928 parameters,
    96 layers on its longest path.

    The figures print 1154 and 2048 filters where the inputs that they are added to have 1152 and 2144: here the sums
    fit. ``variant="slim"`` is the other network of this name, 55,843,464 parameters and 176 layers, which all
    published weights are for: V3's stem, twice as many blocks, the last one unscaled and without ReLU, and a 1 x 1
    convolution of 1536 at the end. ``blocks`` is (5, 10, 5) in the paper and (10, 20, 9) in TF-slim, where the unscaled
    block comes on top. The other arguments are as in v1; TF-slim has the auxiliary classifier. ``count_include_pad``
    counts the zeros beyond the border in slim's one average: TensorFlow and timm do not.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        variant: str = "paper",
        width: float = 1.0,
        blocks: tuple[int, int, int] | None = None,
        stem: str = "full",
        scales: tuple[float, float, float] = SCALES,
        aux: bool = False,
        count_include_pad: bool = False,
        **scope,
    ):
        layers.check_choice("variant", variant, ("paper", "slim"))
        slim = variant == "slim"
        if blocks is None:
            blocks = (10, 20, 9) if slim else (5, 10, 5)
        _check(num_classes, width, blocks, stem, scales)
        scope = self.SCOPE.but(**scope)
        make = layers.Maker(width, scope.unit)
        (a, b, c), (scale_a, scale_b, scale_c) = blocks, scales
        borders = {"count_include_pad": count_include_pad}

        paper_stem = inception_v4.stem_rows(make, stem)
        slim_stem = [
            *inception_v3.stem_rows(make, stem),
            #                                       n1   r5   n5  r33  n33 proj
            ("5b", make(inception_v3.InceptionA,    96,  48,  64,  64,  96,  64, **borders)),   #  320 x 35 x 35
        ]  # fmt: skip
        table = [
            #                                n1   r3   n3  r33  m33  n33                    output at 299 x 299, slim's
            *stage_rows("A", a, make(BlockA, 32,  32,  32,  32,  48,  64, scale=scale_a)),      #  384 x 35 x 35   320
            #                                 n    k    l    m
            ("reductionA", make(ReductionA, 384, 256, 256, 384)),                               # 1152 x 17 x 17  1088
            #                                n1   r7   m7   n7
            *stage_rows("B", b, make(BlockB, 192, 128, 160, 192, scale=scale_b)),               # 1152 x 17 x 17  1088
            #                                 r    n   n3  m33  n33
            ("reductionB", make(ReductionB, 256, 384, 288, 288, 320)),                          # 2144 x 8 x 8    2080
            #                                n1   r3   m3   n3
            *stage_rows("C", c, make(BlockC, 192, 192, 224, 256, scale=scale_c)),               # 2144 x 8 x 8    2080
        ]  # fmt: skip
        slim_end = [
            (f"C{c + 1}", make(BlockC, 192, 192, 224, 256, scale=1.0, relu=False)),             # 2080 x 8 x 8
            ("conv7b", make.conv(1536, 1)),                                                     # 1536 x 8 x 8
        ]  # fmt: skip
        rows = [*slim_stem, *table, *slim_end] if slim else [*paper_stem, *table]
        super().__init__(rows, num_classes, width=width, stem=stem, aux=aux, scope=scope)


def _check(num_classes, width, blocks, stem, scales):
    layers.check_size(num_classes, width)
    layers.check_blocks(blocks, "kinds A, B, C")
    layers.check_choice("stem", stem, ("full", "small"))
    numbers = isinstance(scales, tuple | list) and all(isinstance(s, int | float) and s == s for s in scales)
    if not numbers or len(scales) != 3 or any(isinstance(s, bool) for s in scales):
        raise ValueError(f"scales is three numbers, for the blocks A, B, C, not {scales!r}")
