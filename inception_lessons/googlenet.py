"""Inception V1: the module, the auxiliary classifier and GoogLeNet, "Going deeper with convolutions",
arXiv:1409.4842.

One definition serves ImageNet (224 x 224, 1000 classes) and a laptop (``GoogLeNet.laptop()``, 32 x 32). Where the
paper and the well-known implementations differ, an argument chooses and the paper is the default.
"""

from collections.abc import Callable

from torch import Tensor, nn

from inception_lessons import layers
from inception_lessons.layers import Concat, conv

#: Each stage under its three names: in the paper, in TF-slim, in torchvision.
NAMES = {
    "conv1": ("Conv2d_1a_7x7", "conv1"),
    "conv2_reduce": ("Conv2d_2b_1x1", "conv2"),
    "conv2": ("Conv2d_2c_3x3", "conv3"),
    "3a": ("Mixed_3b", "inception3a"),
    "3b": ("Mixed_3c", "inception3b"),
    "4a": ("Mixed_4b", "inception4a"),
    "4b": ("Mixed_4c", "inception4b"),
    "4c": ("Mixed_4d", "inception4c"),
    "4d": ("Mixed_4e", "inception4d"),
    "4e": ("Mixed_4f", "inception4e"),
    "5a": ("Mixed_5b", "inception5a"),
    "5b": ("Mixed_5c", "inception5b"),
}


class Inception(nn.Module):
    """(N, c_in, H, W) -> (N, n1 + n3 + n5 + proj, H, W). One row of Table 1, drawn in Fig. 2(b).

    ``r3`` and ``r5`` are the 1 x 1 convolutions that make the input thin before the costly kernels. ``kernel5=3`` is
    what TF-slim and torchvision run in place of the paper's 5 x 5.
    """

    def __init__(self, c_in, n1, r3, n3, r5, n5, proj, *, unit=conv, kernel5=5):
        super().__init__()
        self.branches = Concat(
            b1=unit(c_in, n1, 1),
            b3=nn.Sequential(unit(c_in, r3, 1), unit(r3, n3, 3)),
            b5=nn.Sequential(unit(c_in, r5, 1), unit(r5, n5, kernel5)),
            pool=nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(c_in, proj, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class NaiveInception(nn.Module):
    """(N, c_in, H, W) -> (N, n1 + n3 + n5 + c_in, H, W). Fig. 2(a): the module before the 1 x 1 reductions.

    Takes the same seven numbers and ignores ``r3``, ``r5`` and ``proj``. The pool branch hands on everything that
    came in, so each module is wider than the one before.
    """

    def __init__(self, c_in, n1, r3, n3, r5, n5, proj, *, unit=conv, kernel5=5):
        super().__init__()
        self.branches = Concat(
            b1=unit(c_in, n1, 1),
            b3=unit(c_in, n3, 3),
            b5=unit(c_in, n5, kernel5),
            pool=nn.MaxPool2d(3, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(x)


class AuxiliaryClassifier(nn.Module):
    """(N, c_in, G, G) -> logits (N, num_classes), where G is the grid that this head was built for (14 at 224 x 224).

    Section 5: average pooling 5 x 5 at stride 3, 128 1 x 1 filters, a layer of 1024, dropout of 70 %, the classifier.
    Only for training. ``pool="adaptive"`` is torchvision's: four by four windows that do not sit where the paper's do.
    Raises ValueError for a grid of another size than it was built for.
    """

    def __init__(self, c_in, num_classes, grid, *, width=1.0, unit=conv, dropout=0.7, pool="paper"):
        super().__init__()
        side = (grid - 5) // 3 + 1
        narrow, hidden = layers.channels(128, width), layers.channels(1024, width)
        self.grid = grid if pool == "paper" else None
        self.pool = nn.AvgPool2d(5, 3) if pool == "paper" else nn.AdaptiveAvgPool2d(side)
        self.conv = unit(c_in, narrow, 1)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(narrow * side * side, hidden), nn.ReLU(inplace=True))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.grid is not None and x.shape[2:] != (self.grid, self.grid):
            wanted, got = f"{self.grid} x {self.grid}", " x ".join(map(str, x.shape[2:]))
            raise ValueError(
                f"this auxiliary classifier was built for a {wanted} grid, not {got}: its image size is fixed"
            )
        return self.classifier(self.dropout(self.hidden(self.conv(self.pool(x)))))


class GoogLeNet(layers.Network):
    """(N, 3, H, W) -> logits (N, num_classes). Table 1 of arXiv:1409.4842: 22 layers with weights, 6,998,552
    parameters.

    ``width`` thins every layer; ``blocks`` says how many modules of groups 3, 4 and 5 are kept; ``stem="small"``
    starts a 32 x 32 image on a 16 x 16 grid; ``norm`` is ``"lrn"`` (the paper), ``"none"`` or ``"bn"``; ``aux`` adds
    the classifiers on 4a and 4d, where ``blocks`` keeps them; ``aux_dropout`` is the share that they *drop*.
    ``kernel5=3, pool4=2, aux_pool="adaptive", norm="bn", dropout=0.2`` is torchvision's network. ``module`` builds the
    modules (``NaiveInception`` for Fig. 2(a)). ``scope`` changes ``SCOPE``. Raises ValueError for any other choice.
    """

    #: Dropout: section 5 of the paper, which keeps 60 %. The rest is TF-slim's (weight decay in Caffe: 2e-4); ``eps``
    #: and ``momentum`` count with ``norm="bn"`` only.
    SCOPE = layers.Scope(init="he", deviation=0.01, dropout=0.4, eps=1e-3, momentum=0.1, weight_decay=4e-5)

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        width: float = 1.0,
        blocks: tuple[int, int, int] = (2, 5, 2),
        stem: str = "full",
        norm: str = "lrn",
        aux: bool = False,
        aux_dropout: float = 0.7,
        kernel5: int = 5,
        pool4: int = 3,
        aux_pool: str = "paper",
        module: Callable[..., nn.Module] = Inception,
        **scope,
    ):
        layers.check_size(num_classes, width)
        layers.check_blocks(blocks, "groups 3, 4, 5", (2, 5, 2))
        layers.check_choice("stem", stem, ("full", "small"))
        layers.check_choice("norm", norm, ("lrn", "none", "bn"))
        layers.check_choice("kernel5", kernel5, (5, 3))
        layers.check_choice("pool4", pool4, (3, 2))
        layers.check_choice("aux_pool", aux_pool, ("paper", "adaptive"))
        scope = self.SCOPE.but(**scope)
        unit = scope.unit if norm == "bn" else conv
        make = layers.Maker(width, unit)

        def inception(*filters):
            return make(module, *filters, kernel5=kernel5)

        def pool(kernel=3):  # ceil_mode: 112 -> 56 -> 28 -> 14 -> 7; rounding down would lose a row at every step
            return layers.max_pool(kernel, ceil_mode=True)

        def response(c_in):  # AlexNet's normalization, which nobody has needed since
            return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)

        full = [
            ("conv1", make.conv(64, 7, stride=2)),                    #   64 x 112 x 112
            ("pool1", pool()),                                        #   64 x 56 x 56
            ("norm1", response),                                      #   64 x 56 x 56
            ("conv2_reduce", make.conv(64, 1)),                       #   64 x 56 x 56
            ("conv2", make.conv(192, 3)),                             #  192 x 56 x 56
            ("norm2", response),                                      #  192 x 56 x 56
            ("pool2", pool()),                                        #  192 x 28 x 28
        ]  # fmt: skip
        small = [  # not in the paper: for 32 x 32 images
            ("conv1", make.conv(64, 3, stride=2)),                    #   64 x 16 x 16
            ("norm1", response),                                      #   64 x 16 x 16
            ("conv2_reduce", make.conv(64, 1)),                       #   64 x 16 x 16
            ("conv2", make.conv(192, 3)),                             #  192 x 16 x 16
            ("norm2", response),                                      #  192 x 16 x 16
        ]  # fmt: skip
        table = [
            #                  n1   r3   n3  r5   n5 proj                 output at 224 x 224
            ("3a", inception( 64,  96, 128, 16,  32,  32)),           #  256 x 28 x 28
            ("3b", inception(128, 128, 192, 32,  96,  64)),           #  480 x 28 x 28
            ("pool3", pool()),                                        #  480 x 14 x 14
            ("4a", inception(192,  96, 208, 16,  48,  64)),           #  512 x 14 x 14
            ("4b", inception(160, 112, 224, 24,  64,  64)),           #  512 x 14 x 14
            ("4c", inception(128, 128, 256, 24,  64,  64)),           #  512 x 14 x 14
            ("4d", inception(112, 144, 288, 32,  64,  64)),           #  528 x 14 x 14
            ("4e", inception(256, 160, 320, 32, 128, 128)),           #  832 x 14 x 14
            ("pool4", pool(pool4)),                                   #  832 x 7 x 7
            ("5a", inception(256, 160, 320, 32, 128, 128)),           #  832 x 7 x 7
            ("5b", inception(384, 192, 384, 48, 128, 128)),           # 1024 x 7 x 7
        ]  # fmt: skip
        kept = {f"{group}{'abcde'[i]}" for group, count in zip("345", blocks, strict=True) for i in range(count)}
        rows = [row for row in (full if stem == "full" else small) if norm == "lrn" or row[1] is not response]
        rows += [row for row in table if row[0] in kept or row[0].startswith("pool")]

        grid = 14 if stem == "full" else 8
        settings = {"width": width, "unit": unit, "dropout": aux_dropout, "pool": aux_pool}
        heads = [name for name in ("4a", "4d") if aux and name in kept]
        if aux and not heads:
            raise ValueError(f"auxiliary classifiers hang on 4a and 4d, and blocks={blocks} keeps neither")
        super().__init__(
            rows,
            lambda c_in: layers.average_head(c_in, num_classes, scope.dropout),
            aux={name: lambda c_in: AuxiliaryClassifier(c_in, num_classes, grid, **settings) for name in heads},
            scope=scope,
            # below this the last pool would have less than two rows to work on
            smallest={("full", 3): 31, ("full", 2): 15, ("small", 3): 7, ("small", 2): 3}[stem, pool4],
        )

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> "GoogLeNet":
        """The same network for 32 x 32 images and two processor cores: a quarter of the width, four of the nine
        modules.
        """
        return cls(num_classes, **{"width": 0.25, "blocks": (1, 2, 1), "stem": "small", **changes})
