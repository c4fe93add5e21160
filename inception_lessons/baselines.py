"""What Inception is measured against: AlexNet and VGG-16, Network in Network, where the 1 x 1 convolution comes from,
and a plain stack of 3 x 3 convolutions.
"""

from torch import nn

from inception_lessons import layers
from inception_lessons.layers import conv, max_pool


class AlexNet(layers.Network):
    """(N, 3, H, W) -> logits (N, num_classes). "ImageNet Classification with Deep Convolutional Neural Networks",
    Krizhevsky, Sutskever and Hinton 2012: 60,965,224 parameters, 58,631,144 of them in the three fully connected
    layers.

    ``variant="paper"``: layers 2, 4 and 5 in two groups, one on each of two graphics cards, and response
    normalization. ``variant="torchvision"``: the single column of arXiv:1404.5997, without normalization. The paper
    says 224 x 224, but its 55 x 55 grid needs 227 or, as here and in torchvision, a border of 2. ``stem="small"`` is
    for 32 x 32 images. ``scope`` changes ``SCOPE``.
    """

    #: Dropout, deviation and weight decay: sections 4.2 and 5 of the paper.
    SCOPE = layers.Scope(init="he", deviation=0.01, dropout=0.5, weight_decay=5e-4)

    def __init__(
        self, num_classes: int = 1000, *, variant: str = "paper", width: float = 1.0, stem: str = "full", **scope
    ):
        layers.check_size(num_classes, width)
        layers.check_choice("variant", variant, ("paper", "torchvision"))
        layers.check_choice("stem", stem, ("full", "small"))
        scope = self.SCOPE.but(**scope)
        paper = variant == "paper"
        first, second, fourth, groups = (96, 256, 384, 2) if paper else (64, 192, 256, 1)
        kernel, stride, border, side = (11, 4, 2, 6) if stem == "full" else (5, 1, 2, 3)

        def convolution(count, kernel, stride=1, padding=None, groups=1):
            return lambda c_in: conv(c_in, layers.channels(count, width), kernel, stride, padding, groups=groups)

        def response(c_in):  # the paper's alpha of 1e-4 is for the sum of the five squares, PyTorch's for their mean
            return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)

        table = [
            #                                                                  output at 224 x 224; torchvision's
            ("conv1", convolution(first, kernel, stride, border)),          #  96 x 55 x 55    64
            ("norm1", response),                                            #  96 x 55 x 55
            ("pool1", max_pool()),                                          #  96 x 27 x 27    64
            ("conv2", convolution(second, 5, groups=groups)),               # 256 x 27 x 27   192
            ("norm2", response),                                            # 256 x 27 x 27
            ("pool2", max_pool()),                                          # 256 x 13 x 13   192
            ("conv3", convolution(384, 3)),                                 # 384 x 13 x 13   384
            ("conv4", convolution(fourth, 3, groups=groups)),               # 384 x 13 x 13   256
            ("conv5", convolution(256, 3, groups=groups)),                  # 256 x 13 x 13   256
            ("pool5", max_pool()),                                          # 256 x 6 x 6     256
        ]  # fmt: skip
        super().__init__(
            [row for row in table if paper or row[1] is not response],
            lambda c_in: dense_head(c_in, side, layers.channels(4096, width), num_classes, scope.dropout),
            scope=scope,
            smallest=63 if stem == "full" else 15,
        )
        if scope.init != "torch":  # smaller than 0.01: a hidden layer is not an average
            nn.init.normal_(self.head[-1].weight, std=0.001)

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> "AlexNet":
        """For 32 x 32 images, an eighth of the width."""
        return cls(num_classes, **{"width": 0.125, "stem": "small", **changes})


class VGG16(layers.Network):
    """(N, 3, H, W) -> logits (N, num_classes). Configuration D of "Very Deep Convolutional Networks", arXiv:1409.1556:
    16 layers with weights, 138,357,544 parameters, 123,642,856 of them in the three fully connected layers.

    3 x 3 kernels and nothing else. ``blocks`` is how many convolutions stand before each of the five pools:
    (2, 2, 4, 4, 4) is VGG-19. ``norm`` is ``"none"`` (the paper) or ``"bn"``; ``stem="small"`` is for 32 x 32 images,
    which the pools leave as one position. ``scope`` changes ``SCOPE``.
    """

    #: Dropout, deviation and weight decay: section 3.1 of the paper.
    SCOPE = layers.Scope(init="he", deviation=0.01, eps=1e-5, momentum=0.1, dropout=0.5, weight_decay=5e-4)

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        width: float = 1.0,
        blocks: tuple[int, int, int, int, int] = (2, 2, 3, 3, 3),
        stem: str = "full",
        norm: str = "none",
        **scope,
    ):
        layers.check_size(num_classes, width)
        layers.check_blocks(blocks, "groups 1 to 5", length=5)
        layers.check_choice("stem", stem, ("full", "small"))
        layers.check_choice("norm", norm, ("none", "bn"))
        scope = self.SCOPE.but(**scope)
        make = layers.Maker(width, scope.unit if norm == "bn" else conv)

        def group(number, count):
            return layers.stage_rows(f"conv{number}_", blocks[number - 1], make.conv(count, 3))

        table = [
            *group(1, 64),                           #  64 x 224 x 224
            ("pool1", max_pool(2)),                  #  64 x 112 x 112
            *group(2, 128),                          # 128 x 112 x 112
            ("pool2", max_pool(2)),                  # 128 x 56 x 56
            *group(3, 256),                          # 256 x 56 x 56
            ("pool3", max_pool(2)),                  # 256 x 28 x 28
            *group(4, 512),                          # 512 x 28 x 28
            ("pool4", max_pool(2)),                  # 512 x 14 x 14
            *group(5, 512),                          # 512 x 14 x 14
            ("pool5", max_pool(2)),                  # 512 x 7 x 7
        ]  # fmt: skip
        side = 7 if stem == "full" else 1
        super().__init__(
            table,
            lambda c_in: dense_head(c_in, side, layers.channels(4096, width), num_classes, scope.dropout),
            scope=scope,
            smallest=32,
        )
        if scope.init != "torch":  # smaller than 0.01: a hidden layer is not an average
            nn.init.normal_(self.head[-1].weight, std=0.001)

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> "VGG16":
        """For 32 x 32 images, a quarter of the width."""
        return cls(num_classes, **{"width": 0.25, "stem": "small", **changes})


def dense_head(c_in: int, side: int, hidden: int, num_classes: int, dropout: float) -> nn.Sequential:
    """(N, c_in, H, W) -> logits (N, num_classes): two fully connected layers of ``hidden`` on a grid of ``side`` by
    ``side``, and the classifier.

    A larger picture is averaged down to that grid, as torchvision does it; at the paper's size that changes nothing.
    ``dropout`` is the share of the hidden layers that is *dropped*.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(side),
        nn.Flatten(),
        *(nn.Linear(c_in * side * side, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)),
        *(nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)),
        nn.Linear(hidden, num_classes),
    )


class MLPConv(nn.Sequential):
    """(N, c_in, H, W) -> (N, outs[-1], H / stride, W / stride): a convolution, then 1 x 1 convolutions.

    The same small multilayer perceptron slides over every position. Fig. 1(b) of "Network In Network", arXiv:1312.4400.
    """

    def __init__(self, c_in: int, outs: tuple[int, ...], kernel: int, stride: int = 1, padding=None, *, unit=conv):
        first, *rest = outs
        mixers = (unit(a, b, 1) for a, b in zip(outs, rest, strict=False))
        super().__init__(unit(c_in, first, kernel, stride, padding), *mixers)


class NIN(layers.Network):
    """(N, 3, H, W) -> logits (N, num_classes). Network In Network, arXiv:1312.4400: MLPConv layers, and no fully
    connected one. 7,595,176 parameters.

    The last 1 x 1 convolution makes one map for each class; averaging a map gives its logit. That is global average
    pooling as it was first used. ``stem="full"`` is the authors' network for ImageNet, known from Caffe's collection;
    ``stem="small"`` is theirs for the 32 x 32 images of CIFAR-10. ``norm`` is ``"none"`` (the paper) or ``"bn"``.
    ``scope`` changes ``SCOPE``.
    """

    #: Dropout: section 4.1 of the paper, which prints no weight decay (the value is the ImageNet solver's in Caffe).
    SCOPE = layers.Scope(init="he", eps=1e-3, momentum=0.1, dropout=0.5, weight_decay=5e-4)

    def __init__(self, num_classes: int = 1000, *, width: float = 1.0, stem: str = "full", norm: str = "none", **scope):
        layers.check_size(num_classes, width)
        layers.check_choice("stem", stem, ("full", "small"))
        layers.check_choice("norm", norm, ("none", "bn"))
        scope = self.SCOPE.but(**scope)
        unit = scope.unit if norm == "bn" else conv

        def mlpconv(*outs, kernel, stride=1, padding=None):
            counts = tuple(layers.channels(n, width) for n in outs)
            return lambda c_in: MLPConv(c_in, counts, kernel, stride, padding, unit=unit)

        def drop(c_in):
            return nn.Dropout(scope.dropout)

        def classes(c_in):
            return nn.Conv2d(c_in, num_classes, 1)

        full = [
            ("mlpconv1", mlpconv(96, 96, 96, kernel=11, stride=4, padding=0)),      #   96 x 54 x 54
            ("pool1", max_pool(ceil_mode=True)),                                    #   96 x 27 x 27
            ("mlpconv2", mlpconv(256, 256, 256, kernel=5)),                         #  256 x 27 x 27
            ("pool2", max_pool(ceil_mode=True)),                                    #  256 x 13 x 13
            ("mlpconv3", mlpconv(384, 384, 384, kernel=3)),                         #  384 x 13 x 13
            ("pool3", max_pool(ceil_mode=True)),                                    #  384 x 6 x 6
            ("drop3", drop),                                                        #  384 x 6 x 6
            ("mlpconv4", mlpconv(1024, 1024, kernel=3)),                            # 1024 x 6 x 6
            ("classes", classes),                                                   # 1000 x 6 x 6
        ]  # fmt: skip
        small = [
            ("mlpconv1", mlpconv(192, 160, 96, kernel=5)),                          #   96 x 32 x 32
            ("pool1", max_pool(ceil_mode=True)),                                    #   96 x 16 x 16
            ("drop1", drop),                                                        #   96 x 16 x 16
            ("mlpconv2", mlpconv(192, 192, 192, kernel=5)),                         #  192 x 16 x 16
            ("pool2", lambda c: nn.AvgPool2d(3, 2, ceil_mode=True)),                #  192 x 8 x 8
            ("drop2", drop),                                                        #  192 x 8 x 8
            ("mlpconv3", mlpconv(192, 192, kernel=3)),                              #  192 x 8 x 8
            ("classes", classes),                                                   #   10 x 8 x 8
        ]  # fmt: skip
        super().__init__(
            full if stem == "full" else small,
            lambda c_in: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            scope=scope,
            smallest=39 if stem == "full" else 4,
        )
        if scope.init != "torch":  # the classifier starts small, as everywhere here
            nn.init.normal_(self.stages["classes"].weight, std=0.01)

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> "NIN":
        """For 32 x 32 images, a fifth of the width: 12 M multiply-adds, half as many again as
        ``GoogLeNet.laptop()``.
        """
        return cls(num_classes, **{"width": 0.2, "stem": "small", **changes})


class Plain(layers.Network):
    """(N, 3, H, W) -> logits (N, num_classes). No branches: 3 x 3 convolutions on the grids that the laptop GoogLeNet
    uses.

    The network to beat. ``width=1`` costs as many multiply-adds as ``GoogLeNet.laptop()`` to within 0.1 %.
    """

    #: Nothing here is from a paper: the values are GoogLeNet's.
    SCOPE = layers.Scope(init="he", eps=1e-3, momentum=0.1, dropout=0.4, weight_decay=4e-5)

    def __init__(self, num_classes: int = 10, *, width: float = 1.0, norm: str = "bn", **scope):
        layers.check_size(num_classes, width)
        layers.check_choice("norm", norm, ("none", "bn"))
        scope = self.SCOPE.but(**scope)
        make = layers.Maker(width, scope.unit if norm == "bn" else conv)

        rows = [
            ("conv1", make.conv(16, 3, stride=2)),    #  16 x 16 x 16
            ("conv2", make.conv(32, 3)),              #  32 x 16 x 16
            ("conv3", make.conv(40, 3)),              #  40 x 16 x 16
            ("conv4", make.conv(60, 3, stride=2)),    #  60 x 8 x 8
            ("conv5", make.conv(60, 3)),              #  60 x 8 x 8
            ("conv6", make.conv(88, 3, stride=2)),    #  88 x 4 x 4
        ]  # fmt: skip
        super().__init__(
            rows, lambda c_in: layers.average_head(c_in, num_classes, scope.dropout), scope=scope, smallest=1
        )

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> "Plain":
        """The same; here so that every network is made in one way."""
        return cls(num_classes, **changes)
