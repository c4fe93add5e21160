"""SqueezeNet: modules that squeeze with 1 x 1 and expand with 1 x 1 and 3 x 3 side by side, "SqueezeNet: AlexNet-level
accuracy with 50x fewer parameters", arXiv:1602.07360.

A template: copy it to ``inception_lessons/``, keep the order (names, parts, whole), and change what is in the parts.
"""

from torch import Tensor, nn

from inception_lessons import layers
from inception_lessons.layers import Concat, conv, max_pool

#: Each stage under its two names: in the paper, in torchvision.
NAMES = {
    "conv1": "features.0",
    "fire2": "features.3",
    "fire3": "features.4",
    "fire4": "features.5",
    "fire5": "features.7",
    "fire6": "features.8",
    "fire7": "features.9",
    "fire8": "features.10",
    "fire9": "features.12",
    "conv10": "classifier.1",
}


class Fire(nn.Module):
    """(N, c_in, H, W) -> (N, n1 + n3, H, W). One row of Table 1, drawn in Fig. 1.

    ``s1`` is the 1 x 1 convolution that makes the input thin; ``n1`` and ``n3`` look at what is left side by side.
    """

    def __init__(self, c_in, s1, n1, n3, *, unit=conv):
        super().__init__()
        self.squeeze = unit(c_in, s1, 1)
        self.branches = Concat(b1=unit(s1, n1, 1), b3=unit(s1, n3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(self.squeeze(x))


class SqueezeNet(layers.Network):
    """(N, 3, H, W) -> logits (N, num_classes). Table 1 of arXiv:1602.07360 (version 1.0): 1,248,424 parameters.

    ``width`` thins every layer; ``stem="small"`` starts a 32 x 32 image on a 16 x 16 grid; ``norm`` is ``"none"`` (the
    paper) or ``"bn"``. ``last="relu"`` puts a ReLU behind the classifier's maps, as the released network and
    torchvision's have it (section 3.3.1 names one behind squeeze and expand layers alone): a class whose map is below
    0 everywhere then gets no gradient, and stays so. ``scope`` changes ``SCOPE``. Raises ValueError for any other
    choice.
    """

    #: Dropout: section 3.3.1 of the paper. It prints no weight decay; the value is that of its released solver.
    SCOPE = layers.Scope(init="he", eps=1e-3, momentum=0.1, dropout=0.5, weight_decay=2e-4)

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        width: float = 1.0,
        stem: str = "full",
        norm: str = "none",
        last: str = "linear",
        **scope,
    ):
        layers.check_size(num_classes, width)
        layers.check_choice("stem", stem, ("full", "small"))
        layers.check_choice("norm", norm, ("none", "bn"))
        layers.check_choice("last", last, ("linear", "relu"))
        scope = self.SCOPE.but(**scope)
        make = layers.Maker(width, scope.unit if norm == "bn" else conv)

        def fire(*filters):
            return make(Fire, *filters)

        def pool():  # ceil_mode, as Caffe has it: 109 -> 54 -> 27 -> 13
            return max_pool(ceil_mode=True)

        def drop(c_in):
            return nn.Dropout(scope.dropout)

        def classes(c_in):  # one map a class, as in Network in Network
            unit = conv(c_in, num_classes, 1)
            return unit if last == "relu" else unit[:1]

        # Table 1 prints 111 x 111 for conv1: that wants a picture of 227, as AlexNet does. At 224 it is 109.
        full = [
            ("conv1", make.conv(96, 7, stride=2, padding=0)),    #   96 x 109 x 109
            ("pool1", pool()),                                   #   96 x 54 x 54
        ]  # fmt: skip
        small = [  # not in the paper: for 32 x 32 images
            ("conv1", make.conv(96, 3, stride=2)),               #   96 x 16 x 16
        ]  # fmt: skip
        table = [
            #               s1   n1   n3                         output at 224 x 224
            ("fire2", fire( 16,  64,  64)),                      #  128 x 54 x 54
            ("fire3", fire( 16,  64,  64)),                      #  128 x 54 x 54
            ("fire4", fire( 32, 128, 128)),                      #  256 x 54 x 54
            ("pool4", pool()),                                   #  256 x 27 x 27
            ("fire5", fire( 32, 128, 128)),                      #  256 x 27 x 27
            ("fire6", fire( 48, 192, 192)),                      #  384 x 27 x 27
            ("fire7", fire( 48, 192, 192)),                      #  384 x 27 x 27
            ("fire8", fire( 64, 256, 256)),                      #  512 x 27 x 27
            ("pool8", pool()),                                   #  512 x 13 x 13
            ("fire9", fire( 64, 256, 256)),                      #  512 x 13 x 13
            ("drop9", drop),                                     #  512 x 13 x 13
            ("conv10", classes),                                 # 1000 x 13 x 13
        ]  # fmt: skip
        super().__init__(
            (full if stem == "full" else small) + table,
            lambda c_in: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            scope=scope,
            smallest=21 if stem == "full" else 7,
        )
        if scope.init != "torch":  # the classifier starts small, as everywhere here
            nn.init.normal_(self.stages["conv10"].conv.weight, std=0.01)

    @classmethod
    def laptop(cls, num_classes: int = 10, **changes) -> "SqueezeNet":
        """For 32 x 32 images, a quarter of the width."""
        return cls(num_classes, **{"width": 0.25, "stem": "small", **changes})
