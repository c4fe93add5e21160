"""What Inception is measured against: Network in Network, where the 1 x 1 convolution comes from, and a plain stack
of 3 x 3 convolutions.
"""

from torch import Tensor, nn

from inception_lessons import layers
from inception_lessons.layers import conv, conv_bn


class MLPConv(nn.Sequential):
    """(N, c_in, H, W) -> (N, outs[-1], H / stride, W / stride): a convolution, then 1 x 1 convolutions.

    The same small multilayer perceptron slides over every position. Fig. 1(b) of "Network In Network", arXiv:1312.4400.
    """

    def __init__(self, c_in: int, outs: tuple[int, ...], kernel: int, stride: int = 1, *, unit=conv):
        first, *rest = outs
        super().__init__(unit(c_in, first, kernel, stride), *(unit(a, b, 1) for a, b in zip(outs, rest, strict=False)))


class NIN(nn.Module):
    """(N, 3, H, W) -> logits (N, num_classes). Network In Network for 32 x 32 images: three MLPConv layers, no fully
    connected one.

    The last 1 x 1 convolution makes one map for each class; averaging a map gives its logit. That is global average
    pooling as arXiv:1312.4400 first used it. ``norm`` is ``"none"`` (the paper) or ``"bn"``. Widths as in the
    authors' CIFAR-10 network.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        width: float = 1.0,
        norm: str = "none",
        dropout: float = 0.5,
        init: str = "he",
    ):
        super().__init__()
        layers.check_size(num_classes, width)
        if norm not in ("none", "bn"):
            raise ValueError(f"norm is 'none' or 'bn', not {norm!r}")
        unit = conv_bn if norm == "bn" else conv

        def mlpconv(*outs, kernel):
            return lambda c_in: MLPConv(c_in, tuple(layers.channels(n, width) for n in outs), kernel, unit=unit)

        rows = [
            ("mlpconv1", mlpconv(192, 160, 96, kernel=5)),                          #  96 x 32 x 32
            ("pool1", lambda c: nn.MaxPool2d(3, 2, ceil_mode=True)),                #  96 x 16 x 16
            ("drop1", lambda c: nn.Dropout(dropout)),                               #  96 x 16 x 16
            ("mlpconv2", mlpconv(192, 192, 192, kernel=5)),                         # 192 x 16 x 16
            ("pool2", lambda c: nn.AvgPool2d(3, 2, ceil_mode=True)),                # 192 x 8 x 8
            ("drop2", lambda c: nn.Dropout(dropout)),                               # 192 x 8 x 8
            ("mlpconv3", mlpconv(192, 192, kernel=3)),                              # 192 x 8 x 8
            ("classes", lambda c: nn.Conv2d(c, num_classes, 1)),                    #  10 x 8 x 8
        ]  # fmt: skip
        self.stages, _ = layers.chain(3, rows)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        layers.initialize(self, init)
        nn.init.normal_(self.stages["classes"].weight, std=0.01)  # the classifier starts small, as everywhere here

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> "NIN":
        """A fifth of the width: 12 M multiply-adds, half as many again as ``GoogLeNet.laptop()``."""
        return cls(num_classes, **{"width": 0.2, **changes})

    def forward(self, x: Tensor) -> Tensor:
        layers.check_images(x, 4)  # two pools
        for stage in self.stages.values():
            x = stage(x)
        return self.head(x)


class Plain(nn.Module):
    """(N, 3, H, W) -> logits (N, num_classes). No branches: 3 x 3 convolutions on the grids that the laptop GoogLeNet
    uses.

    The network to beat. ``width=1`` costs as many multiply-adds as ``GoogLeNet.laptop()`` to within 0.1 %.
    """

    def __init__(
        self, num_classes: int = 10, *, width: float = 1.0, norm: str = "bn", dropout: float = 0.4, init: str = "he"
    ):
        super().__init__()
        layers.check_size(num_classes, width)
        if norm not in ("none", "bn"):
            raise ValueError(f"norm is 'none' or 'bn', not {norm!r}")
        unit = conv_bn if norm == "bn" else conv

        def convolution(count, stride=1):
            return lambda c_in: unit(c_in, layers.channels(count, width), 3, stride)

        rows = [
            ("conv1", convolution(16, stride=2)),    #  16 x 16 x 16
            ("conv2", convolution(32)),              #  32 x 16 x 16
            ("conv3", convolution(40)),              #  40 x 16 x 16
            ("conv4", convolution(60, stride=2)),    #  60 x 8 x 8
            ("conv5", convolution(60)),              #  60 x 8 x 8
            ("conv6", convolution(88, stride=2)),    #  88 x 4 x 4
        ]  # fmt: skip
        self.stages, widths = layers.chain(3, rows)
        self.head = layers.average_head(next(reversed(widths.values())), num_classes, dropout)
        layers.initialize(self, init, heads=[self.head[-1]])

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> "Plain":
        """The same; here so that every network is made in one way."""
        return cls(num_classes, **changes)

    def forward(self, x: Tensor) -> Tensor:
        layers.check_images(x)
        for stage in self.stages.values():
            x = stage(x)
        return self.head(x)
