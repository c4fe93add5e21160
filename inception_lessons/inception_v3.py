"""Inception V3: factorized modules, grid reductions without a bottleneck, and the network, "Rethinking the Inception
Architecture for Computer Vision", arXiv:1512.00567.

The paper prints the grids and its modules' shapes, but not their filters ("model.txt in the tar-file of this
submission"). The counts here are TF-slim's, which are those of the published weights. Modules are named after their
grid as the V4 paper does it: A on 35 x 35, B on 17 x 17, C on 8 x 8; torchvision calls the five of them A to E.
"""

from collections.abc import Callable

from torch import Tensor, nn

from inception_lessons import layers
from inception_lessons.layers import VALID, Concat, max_pool

#: Each stage with weights under its three names: in this course, in TF-slim, in torchvision and timm.
NAMES = {
    "conv1a": ("Conv2d_1a_3x3", "Conv2d_1a_3x3"),
    "conv2a": ("Conv2d_2a_3x3", "Conv2d_2a_3x3"),
    "conv2b": ("Conv2d_2b_3x3", "Conv2d_2b_3x3"),
    "conv3b": ("Conv2d_3b_1x1", "Conv2d_3b_1x1"),
    "conv4a": ("Conv2d_4a_3x3", "Conv2d_4a_3x3"),
    **{stage: (f"Mixed_{stage}", f"Mixed_{stage}") for stage in "5b 5c 5d 6a 6b 6c 6d 6e 7a 7b 7c".split()},
}


def average(count_include_pad: bool) -> nn.AvgPool2d:
    """(N, C, H, W) -> (N, C, H, W): the mean of 3 x 3. At the border, of the pixels that are there, or with zeros."""
    return nn.AvgPool2d(3, 1, 1, count_include_pad=count_include_pad)


class InceptionA(nn.Module):
    """(N, c_in, H, W) -> (N, n1 + n5 + n33 + proj, H, W). The module of the 35 x 35 grid, Fig. 5.

    The figure has no 5 x 5 any more; the released network kept one, in the second branch.
    """

    def __init__(self, c_in, n1, r5, n5, r33, n33, proj, *, unit, count_include_pad=False):
        super().__init__()
        self.branches = Concat(
            b1=unit(c_in, n1, 1),
            b5=nn.Sequential(unit(c_in, r5, 1), unit(r5, n5, 5)),
            b33=nn.Sequential(unit(c_in, r33, 1), unit(r33, n33, 3), unit(n33, n33, 3)),
            pool=nn.Sequential(average(count_include_pad), unit(c_in, proj, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class ReductionA(nn.Module):
    """(N, c_in, H, W) -> (N, n + m + c_in, (H - 1) // 2, (W - 1) // 2). Fig. 10: convolve and pool side by side.

    ``k, l, m, n`` are named as in Fig. 7 of arXiv:1602.07261, whose networks use the same module.
    """

    def __init__(self, c_in, n, k, l, m, *, unit):  # noqa: E741 (the paper's letter)
        super().__init__()
        self.branches = Concat(
            b3=unit(c_in, n, 3, 2, VALID),
            b33=nn.Sequential(unit(c_in, k, 1), unit(k, l, 3), unit(l, m, 3, 2, VALID)),
            pool=nn.MaxPool2d(3, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class InceptionB(nn.Module):
    """(N, c_in, H, W) -> (N, n1 + n7 + n77 + proj, H, W). The module of the 17 x 17 grid, Fig. 6 with n = 7.

    A 7 x 7 kernel as a row of 7 and a column of 7: 14 weights in place of 49. ``r7`` is the width inside.
    """

    def __init__(self, c_in, n1, r7, n7, n77, proj, *, unit, count_include_pad=False):
        super().__init__()
        row, column = (1, 7), (7, 1)
        self.branches = Concat(
            b1=unit(c_in, n1, 1),
            b7=nn.Sequential(unit(c_in, r7, 1), unit(r7, r7, row), unit(r7, n7, column)),
            b77=nn.Sequential(
                unit(c_in, r7, 1),
                unit(r7, r7, column),
                unit(r7, r7, row),
                unit(r7, r7, column),
                unit(r7, n77, row),
            ),
            pool=nn.Sequential(average(count_include_pad), unit(c_in, proj, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class ReductionB(nn.Module):
    """(N, c_in, H, W) -> (N, n3 + n7 + c_in, (H - 1) // 2, (W - 1) // 2). From 17 x 17 to 8 x 8."""

    def __init__(self, c_in, r3, n3, r7, m7, n7, *, unit):
        super().__init__()
        self.branches = Concat(
            b3=nn.Sequential(unit(c_in, r3, 1), unit(r3, n3, 3, 2, VALID)),
            b7=nn.Sequential(unit(c_in, r7, 1), unit(r7, r7, (1, 7)), unit(r7, m7, (7, 1)), unit(m7, n7, 3, 2, VALID)),
            pool=nn.MaxPool2d(3, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class InceptionC(nn.Module):
    """(N, c_in, H, W) -> (N, n1 + 2 n3 + 2 n33 + proj, H, W). The module of the 8 x 8 grid, Fig. 7.

    A row and a column side by side, not in turn: the coarsest grid is to be wide, "to promote high dimensional
    representations" (the figure's caption, with principle 2 of section 2).
    """

    def __init__(self, c_in, n1, n3, r33, n33, proj, *, unit, count_include_pad=False):
        super().__init__()
        self.branches = Concat(
            b1=unit(c_in, n1, 1),
            b3=nn.Sequential(unit(c_in, n3, 1), Concat(row=unit(n3, n3, (1, 3)), column=unit(n3, n3, (3, 1)))),
            b33=nn.Sequential(
                unit(c_in, r33, 1),
                unit(r33, n33, 3),
                Concat(row=unit(n33, n33, (1, 3)), column=unit(n33, n33, (3, 1))),
            ),
            pool=nn.Sequential(average(count_include_pad), unit(c_in, proj, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class AuxiliaryClassifier(nn.Module):
    """(N, c_in, G, G) -> logits (N, num_classes), where G is at least the grid that it was built for (17 at 299).

    Section 4 and Fig. 8: average pooling 5 x 5 at stride 3, 128 1 x 1 filters, 768 as large as what is left of the grid
    (5 x 5), the classifier. Batch norm in it is what the paper calls BN-auxiliary. Only for training. Raises ValueError
    for a smaller grid than it was built for.
    """

    def __init__(self, c_in, num_classes, grid, *, width=1.0, unit):
        super().__init__()
        side = (grid - 5) // 3 + 1
        narrow, hidden = layers.channels(128, width), layers.channels(768, width)
        self.grid = grid
        self.pool = nn.AvgPool2d(5, 3)
        self.conv = unit(c_in, narrow, 1)
        self.hidden = unit(narrow, hidden, side, 1, VALID)
        self.average = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())  # of one position at the built-for size
        self.classifier = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < self.grid:
            raise ValueError(
                f"this auxiliary classifier was built for a grid of at least {self.grid} x {self.grid}, "
                f"not {' x '.join(map(str, x.shape[2:]))}"
            )
        return self.classifier(self.average(self.hidden(self.conv(self.pool(x)))))


def auxiliary(num_classes: int, stem: str, width: float, unit) -> Callable[[int], nn.Module]:
    """How the middle grid's auxiliary classifier is made from its channels: 17 x 17 at 299, 7 x 7 at 32.

    ``unit`` is its unit of convolution, normalization and ReLU.
    """
    return lambda c_in: AuxiliaryClassifier(c_in, num_classes, 17 if stem == "full" else 7, width=width, unit=unit)


def stem_rows(make: layers.Maker, stem: str) -> list:
    """The rows before the first module, which Inception-ResNet starts with too."""
    full = [  # Table 1 has 3 x 3, 3 x 3 / 2, 3 x 3 after the pool; TF-slim's released stem has these
        ("conv1a", make.conv(32, 3, 2, VALID)),                               #   32 x 149 x 149
        ("conv2a", make.conv(32, 3, 1, VALID)),                               #   32 x 147 x 147
        ("conv2b", make.conv(64, 3)),                                         #   64 x 147 x 147
        ("pool3a", max_pool()),                                               #   64 x 73 x 73
        ("conv3b", make.conv(80, 1)),                                         #   80 x 73 x 73
        ("conv4a", make.conv(192, 3, 1, VALID)),                              #  192 x 71 x 71
        ("pool5a", max_pool()),                                               #  192 x 35 x 35
    ]  # fmt: skip
    small = [  # not in the paper: for 32 x 32 images
        ("conv1a", make.conv(32, 3, 2)),                                      #   32 x 16 x 16
        ("conv2b", make.conv(64, 3)),                                         #   64 x 16 x 16
        ("conv3b", make.conv(80, 1)),                                         #   80 x 16 x 16
        ("conv4a", make.conv(192, 3)),                                        #  192 x 16 x 16
    ]  # fmt: skip
    return full if stem == "full" else small


class InceptionV3(layers.Network):
    """(N, 3, H, W) -> logits (N, num_classes). Table 1 of arXiv:1512.00567 with TF-slim's filters: 23,834,568
    parameters.

    ``width`` thins every layer; ``blocks`` says how many modules of groups 5, 6 and 7 are kept beside the two
    reductions; ``stem="small"`` starts a 32 x 32 image on a 16 x 16 grid; ``aux`` adds the classifier on the last
    module before 7a. ``count_include_pad`` counts the zeros beyond the border in the averages of the pool branches:
    torchvision and timm do (also under weights that were trained without), TF-slim does not. The paper says "42 layers
    deep"; the longest path of the released network has 48. ``scope`` changes ``SCOPE``. Raises ValueError for any
    other choice.
    """

    #: TF-slim's ``arg_scope`` for this network, which keeps 0.8 before the classifier; torchvision drops 0.5.
    SCOPE = layers.Scope(init="he", eps=1e-3, momentum=0.1, dropout=0.2, weight_decay=4e-5)

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        width: float = 1.0,
        blocks: tuple[int, int, int] = (3, 4, 2),
        stem: str = "full",
        aux: bool = False,
        count_include_pad: bool = False,
        **scope,
    ):
        layers.check_size(num_classes, width)
        layers.check_blocks(blocks, "groups 5, 6, 7", (3, 4, 2))
        layers.check_choice("stem", stem, ("full", "small"))
        scope = self.SCOPE.but(**scope)
        make = layers.Maker(width, scope.unit)
        borders = {"count_include_pad": count_include_pad}

        table = [
            #                        n1   r5   n5  r33  n33 proj                    output at 299 x 299
            ("5b", make(InceptionA,  64,  48,  64,  64,  96,  32, **borders)),          #  256 x 35 x 35
            ("5c", make(InceptionA,  64,  48,  64,  64,  96,  64, **borders)),          #  288 x 35 x 35
            ("5d", make(InceptionA,  64,  48,  64,  64,  96,  64, **borders)),          #  288 x 35 x 35
            #                         n    k    l    m
            ("6a", make(ReductionA, 384,  64,  96,  96)),                               #  768 x 17 x 17
            #                        n1   r7   n7  n77 proj
            ("6b", make(InceptionB, 192, 128, 192, 192, 192, **borders)),               #  768 x 17 x 17
            ("6c", make(InceptionB, 192, 160, 192, 192, 192, **borders)),               #  768 x 17 x 17
            ("6d", make(InceptionB, 192, 160, 192, 192, 192, **borders)),               #  768 x 17 x 17
            ("6e", make(InceptionB, 192, 192, 192, 192, 192, **borders)),               #  768 x 17 x 17
            #                        r3   n3   r7   m7   n7
            ("7a", make(ReductionB, 192, 320, 192, 192, 192)),                          # 1280 x 8 x 8
            #                        n1   n3  r33  n33 proj
            ("7b", make(InceptionC, 320, 384, 448, 384, 192, **borders)),               # 2048 x 8 x 8
            ("7c", make(InceptionC, 320, 384, 448, 384, 192, **borders)),               # 2048 x 8 x 8
        ]  # fmt: skip
        kept = {"6a", "7a", *"5b 5c 5d".split()[: blocks[0]], *"6b 6c 6d 6e".split()[: blocks[1]]}
        kept |= {*"7b 7c".split()[: blocks[2]]}
        rows = stem_rows(make, stem) + [row for row in table if row[0] in kept]
        listens = max(name for name in kept if name[0] == "6")  # 6e in the paper's network
        super().__init__(
            rows,
            lambda c_in: layers.average_head(c_in, num_classes, scope.dropout),
            aux={listens: auxiliary(num_classes, stem, width, scope.unit)} if aux else {},
            scope=scope,
            smallest=75 if stem == "full" else 13,
        )

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> "InceptionV3":
        """The same network for 32 x 32 images and two processor cores: three sixteenths of the width, four
        modules beside the two reductions.
        """
        return cls(num_classes, **{"width": 0.1875, "blocks": (1, 2, 1), "stem": "small", **changes})
