"""The networks at full size against their papers' tables: shape, parameters and multiply-adds of every stage, what each
module is made of, the names, and the comments at the ends of the source's rows.

The figures come from the tables' filters and a shape calculator that knows nothing of torch, the totals also from other
people's networks.
"""

import ast
import functools
import inspect
import re

import pytest
import torch
from torch import nn

from inception_lessons import baselines, bn_inception, googlenet, inception_resnet, inception_v3, inception_v4, measure
from inception_lessons.baselines import NIN, VGG16, AlexNet, Plain
from inception_lessons.bn_inception import BNInception
from inception_lessons.googlenet import GoogLeNet
from inception_lessons.inception_resnet import InceptionResNetV1, InceptionResNetV2, Residual
from inception_lessons.inception_v3 import InceptionV3
from inception_lessons.inception_v4 import InceptionV4
from inception_lessons.layers import Concat

TORCHVISION = {"norm": "bn", "kernel5": 3, "pool4": 2, "aux_pool": "adaptive"}
VGG19 = {"blocks": (2, 2, 4, 4, 4)}


def meta(make, *args, **kwargs):
    """A network without numbers: enough to count."""
    with torch.device("meta"):
        return make(*args, **kwargs)


@functools.cache
def form(label: str) -> tuple[nn.Module, int]:
    """Label -> the network in that form, and the side of its paper's images."""
    kinds = {
        "AlexNet": (AlexNet, 224),
        "VGG": (VGG16, 224),
        "NIN": (NIN, 224),
        "V1": (GoogLeNet, 224),
        "V2": (BNInception, 224),
        "V3": (InceptionV3, 299),
        "V4": (InceptionV4, 299),
        "R1": (InceptionResNetV1, 299),
        "R2": (InceptionResNetV2, 299),
    }
    settings = {
        "VGG 19": VGG19,
        "V1 bn": {"norm": "bn"},
        "V1 torchvision": TORCHVISION,
        **{f"{kind} {variant}": {"variant": variant} for kind, variant in (("R1", "facenet"), ("R2", "slim"))},
        **{
            f"V2 {believe} {first}": {"believe": believe, "first": first}
            for believe in ("filters", "sizes")
            for first in ("separable", "slim", "dense")
        },
        "AlexNet torchvision": {"variant": "torchvision"},
    }
    kind, size = kinds[label.split()[0]]
    return meta(kind, **settings[label] if " " in label else {}), size


@functools.cache
def measured(label: str) -> list[measure.Stage]:
    return measure.stages(*form(label))


# ------------------------------------------------------------------------------------ every stage, shape and two counts


def times(letter: str, count: int, *figures) -> list[tuple]:
    """Rows that are all alike."""
    return [(f"{letter}{i}", *figures) for i in range(1, count + 1)]


def tall(*figures) -> tuple:
    """A row whose output is no map but logits."""
    return ("head", (1000,), *figures)


TABLE_1 = [  # arXiv:1409.4842, with biases. (The paper prints rounded figures, some of them wrong.)
    ("conv1", (64, 112, 112), 9_472, 118_013_952),
    ("pool1", (64, 56, 56), 0, 0),
    ("norm1", (64, 56, 56), 0, 0),
    ("conv2_reduce", (64, 56, 56), 4_160, 12_845_056),
    ("conv2", (192, 56, 56), 110_784, 346_816_512),
    ("norm2", (192, 56, 56), 0, 0),
    ("pool2", (192, 28, 28), 0, 0),
    ("3a", (256, 28, 28), 163_696, 128_049_152),
    ("3b", (480, 28, 28), 388_736, 304_267_264),
    ("pool3", (480, 14, 14), 0, 0),
    ("4a", (512, 14, 14), 376_176, 73_608_192),
    ("4b", (512, 14, 14), 449_160, 87_908_352),
    ("4c", (512, 14, 14), 510_104, 99_850_240),
    ("4d", (528, 14, 14), 605_376, 118_515_712),
    ("4e", (832, 14, 14), 868_352, 169_996_288),
    ("pool4", (832, 7, 7), 0, 0),
    ("5a", (832, 7, 7), 1_043_456, 51_079_168),
    ("5b", (1024, 7, 7), 1_444_080, 70_697_984),
    tall(1_025_000, 1_024_000),
]


def figure_5(believe: str, first: str) -> list[tuple]:
    """arXiv:1502.03167 in one of its six readings."""
    conv1 = {"separable": (2_840, 34_019_328), "slim": (2_776, 34_019_328), "dense": (9_536, 118_013_952)}[first]
    disputed = {
        "filters": [
            ("4c", (608, 14, 14), 914_432, 178_827_264),
            ("4d", (608, 14, 14), 1_142_912, 223_584_256),
            ("4e", (1056, 7, 7), 1_449_984, 164_577_280),
            ("5a", (1024, 7, 7), 2_208_896, 108_079_104),
        ],
        "sizes": [
            ("4c", (576, 14, 14), 895_936, 175_214_592),
            ("4d", (576, 14, 14), 1_108_032, 216_760_320),
            ("4e", (1024, 7, 7), 1_439_744, 162_570_240),
            ("5a", (1024, 7, 7), 2_182_272, 106_774_528),
        ],
    }[believe]
    return [
        ("conv1", (64, 112, 112), *conv1),
        ("pool1", (64, 56, 56), 0, 0),
        ("conv2_reduce", (64, 56, 56), 4_224, 12_845_056),
        ("conv2", (192, 56, 56), 110_976, 346_816_512),
        ("pool2", (192, 28, 28), 0, 0),
        ("3a", (256, 28, 28), 219_072, 170_999_808),
        ("3b", (320, 28, 28), 260_160, 203_112_448),
        ("3c", (576, 14, 14), 385_088, 143_904_768),
        ("4a", (576, 14, 14), 609_984, 119_218_176),
        ("4b", (576, 14, 14), 665_344, 130_056_192),
        *disputed,
        ("5b", (1024, 7, 7), 2_279_616, 111_541_248),
        tall(1_025_000, 1_024_000),
    ]


V3_STEM = [
    ("conv1a", (32, 149, 149), 928, 19_181_664),
    ("conv2a", (32, 147, 147), 9_280, 199_148_544),
    ("conv2b", (64, 147, 147), 18_560, 398_297_088),
    ("pool3a", (64, 73, 73), 0, 0),
    ("conv3b", (80, 73, 73), 5_280, 27_284_480),
    ("conv4a", (192, 71, 71), 138_624, 696_867_840),
]
V4_STEM = [
    *V3_STEM[:3],
    ("3a", (160, 73, 73), 55_488, 294_672_384),
    ("4a", (192, 71, 71), 189_312, 972_218_368),
    ("5a", (384, 35, 35), 332_160, 406_425_600),
]
R1_TRUNK = [
    *V3_STEM,
    ("conv4b", (256, 35, 35), 442_880, 541_900_800),
    *times("A", 5, (256, 35, 35), 77_440, 94_080_000),
    ("reductionA", (896, 17, 17), 1_710_080, 850_169_856),
    *times("B", 10, (896, 17, 17), 690_048, 198_868_992),
    ("reductionB", (1792, 8, 8), 3_346_176, 501_448_704),
]
STAGES = {
    "V1": TABLE_1,
    **{
        f"V2 {believe} {first}": figure_5(believe, first)
        for believe in ("filters", "sizes")
        for first in ("separable", "slim", "dense")
    },
    "V2": figure_5("filters", "separable"),
    "V3": [
        *V3_STEM,
        ("pool5a", (192, 35, 35), 0, 0),
        ("5b", (256, 35, 35), 255_904, 312_345_600),
        ("5c", (288, 35, 35), 277_472, 338_688_000),
        ("5d", (288, 35, 35), 285_152, 348_096_000),
        ("6a", (768, 17, 17), 1_153_280, 401_937_408),
        ("6b", (768, 17, 17), 1_297_408, 374_063_104),
        ("6c", (768, 17, 17), 1_691_008, 487_702_528),
        ("6d", (768, 17, 17), 1_691_008, 487_702_528),
        ("6e", (768, 17, 17), 2_141_952, 617_914_368),
        ("7a", (1280, 8, 8), 1_698_304, 291_004_416),
        ("7b", (2048, 8, 8), 5_044_608, 322_437_120),
        ("7c", (2048, 8, 8), 6_076_800, 388_497_408),
        tall(2_049_000, 2_048_000),
    ],
    "V4": [
        *V4_STEM,
        *times("A", 4, (384, 35, 35), 317_632, 387_609_600),
        ("reductionA", (1024, 17, 17), 2_306_112, 1_097_164_800),
        *times("B", 7, (1024, 17, 17), 2_936_256, 847_264_768),
        ("reductionB", (1536, 8, 8), 2_747_392, 511_098_880),
        *times("C", 3, (1536, 8, 8), 4_553_088, 290_979_840),
        tall(1_537_000, 1_536_000),
    ],
    "R1": [*R1_TRUNK, *times("C", 5, (1792, 8, 8), 1_600_768, 102_236_160), tall(1_793_000, 1_792_000)],
    "R1 facenet": [*R1_TRUNK, *times("C", 6, (1792, 8, 8), 1_600_768, 102_236_160), tall(1_793_000, 1_792_000)],
    "R2": [
        *V4_STEM,
        *times("A", 5, (384, 35, 35), 137_568, 167_462_400),
        ("reductionA", (1152, 17, 17), 2_902_528, 1_482_178_560),
        *times("B", 10, (1152, 17, 17), 1_171_904, 337_958_912),
        ("reductionB", (2144, 8, 8), 3_930_112, 599_629_824),
        *times("C", 5, (2144, 8, 8), 2_088_736, 133_431_296),
        tall(2_145_000, 2_144_000),
    ],
    "R2 slim": [
        *V3_STEM,
        ("pool5a", (192, 35, 35), 0, 0),
        ("5b", (320, 35, 35), 268_320, 327_398_400),
        *times("A", 10, (320, 35, 35), 123_168, 149_900_800),
        ("reductionA", (1088, 17, 17), 2_664_960, 1_398_185_984),
        *times("B", 20, (1088, 17, 17), 1_126_784, 324_937_728),
        ("reductionB", (2080, 8, 8), 3_880_960, 585_424_896),
        *times("C", 10, (2080, 8, 8), 2_035_424, 130_023_424),
        ("conv7b", (1536, 8, 8), 3_197_952, 204_472_320),
        tall(1_537_000, 1_536_000),
    ],
    "AlexNet": [
        ("conv1", (96, 55, 55), 34_944, 105_415_200),
        ("norm1", (96, 55, 55), 0, 0),
        ("pool1", (96, 27, 27), 0, 0),
        ("conv2", (256, 27, 27), 307_456, 223_948_800),
        ("norm2", (256, 27, 27), 0, 0),
        ("pool2", (256, 13, 13), 0, 0),
        ("conv3", (384, 13, 13), 885_120, 149_520_384),
        ("conv4", (384, 13, 13), 663_936, 112_140_288),
        ("conv5", (256, 13, 13), 442_624, 74_760_192),
        ("pool5", (256, 6, 6), 0, 0),
        tall(58_631_144, 58_621_952),
    ],
    "AlexNet torchvision": [
        ("conv1", (64, 55, 55), 23_296, 70_276_800),
        ("pool1", (64, 27, 27), 0, 0),
        ("conv2", (192, 27, 27), 307_392, 223_948_800),
        ("pool2", (192, 13, 13), 0, 0),
        ("conv3", (384, 13, 13), 663_936, 112_140_288),
        ("conv4", (256, 13, 13), 884_992, 149_520_384),
        ("conv5", (256, 13, 13), 590_080, 99_680_256),
        ("pool5", (256, 6, 6), 0, 0),
        tall(58_631_144, 58_621_952),
    ],
    "VGG": [
        ("conv1_1", (64, 224, 224), 1_792, 86_704_128),
        ("conv1_2", (64, 224, 224), 36_928, 1_849_688_064),
        ("pool1", (64, 112, 112), 0, 0),
        ("conv2_1", (128, 112, 112), 73_856, 924_844_032),
        ("conv2_2", (128, 112, 112), 147_584, 1_849_688_064),
        ("pool2", (128, 56, 56), 0, 0),
        ("conv3_1", (256, 56, 56), 295_168, 924_844_032),
        ("conv3_2", (256, 56, 56), 590_080, 1_849_688_064),
        ("conv3_3", (256, 56, 56), 590_080, 1_849_688_064),
        ("pool3", (256, 28, 28), 0, 0),
        ("conv4_1", (512, 28, 28), 1_180_160, 924_844_032),
        ("conv4_2", (512, 28, 28), 2_359_808, 1_849_688_064),
        ("conv4_3", (512, 28, 28), 2_359_808, 1_849_688_064),
        ("pool4", (512, 14, 14), 0, 0),
        *times("conv5_", 3, (512, 14, 14), 2_359_808, 462_422_016),
        ("pool5", (512, 7, 7), 0, 0),
        tall(123_642_856, 123_633_664),
    ],
    "NIN": [
        ("mlpconv1", (96, 54, 54), 53_568, 155_364_480),
        ("pool1", (96, 27, 27), 0, 0),
        ("mlpconv2", (256, 27, 27), 746_240, 543_449_088),
        ("pool2", (256, 13, 13), 0, 0),
        ("mlpconv3", (384, 13, 13), 1_180_800, 199_360_512),
        ("pool3", (384, 6, 6), 0, 0),
        ("drop3", (384, 6, 6), 0, 0),
        ("mlpconv4", (1024, 6, 6), 4_589_568, 165_150_720),
        ("classes", (1000, 6, 6), 1_025_000, 36_864_000),
        tall(0, 0),
    ],
}  # fmt: skip


@pytest.mark.parametrize("label", STAGES)
def test_every_stage(label):
    assert [(row.name, row.shape, row.params, row.macs) for row in measured(label)] == STAGES[label]


def test_vgg_19_has_three_more():
    """Configuration E: one convolution more before each of the last three pools, as large as the one before it."""
    more = {"conv3_4": "conv3_3", "conv4_4": "conv4_3", "conv5_4": "conv5_3"}
    sixteen = {row.name: row for row in measured("VGG")}
    want = [
        (name, *(getattr(sixteen[more.get(name, name)], field) for field in ("shape", "params", "macs")))
        for name in [row.name for row in measured("VGG 19")]
    ]
    assert [(row.name, row.shape, row.params, row.macs) for row in measured("VGG 19")] == want
    assert {row.name for row in measured("VGG 19")} - set(sixteen) == set(more)


@pytest.mark.parametrize(
    ("label", "params", "macs"),
    [
        ("AlexNet", 60_965_224, 724_406_816),  # torchvision's networks, or Caffe's where there is no torchvision
        ("AlexNet torchvision", 61_100_840, 714_188_480),
        ("VGG", 138_357_544, 15_470_264_320),
        ("VGG 19", 143_667_240, 19_632_062_464),
        ("NIN", 7_595_176, 1_100_188_800),
        ("V1", 6_998_552, 1_582_671_872),
        ("V1 bn", 7_005_832, 1_582_671_872),
        ("V1 torchvision", 6_624_904, 1_498_376_192),
        ("V2", 11_278_528, 1_948_605_440),
        ("V2 filters separable", 11_278_528, 1_948_605_440),
        ("V2 filters slim", 11_278_464, 1_948_605_440),
        ("V2 filters dense", 11_285_224, 2_032_600_064),
        ("V2 sizes separable", 11_188_288, 1_934_857_216),
        ("V2 sizes slim", 11_188_224, 1_934_857_216),
        ("V2 sizes dense", 11_194_984, 2_018_851_840),
        ("V3", 23_834_568, 5_713_216_096),  # torchvision and timm
        ("V4", 42_679_816, 12_253_974_624),  # timm
        ("R1", 22_756_328, 6_206_361_696),
        ("R1 facenet", 24_357_096, 6_308_597_856),
        ("R2", 32_433_928, 9_257_953_632),
        ("R2 slim", 55_843_464, 13_155_794_016),  # timm
    ],
)
def test_totals(label, params, macs):
    assert measure.count(*form(label)) == measure.Cost(params, macs)


@pytest.mark.parametrize(
    ("settings", "params", "macs"),
    [
        ({"aux": True}, 13_378_280, 1_582_671_872),  # forward does not run the heads
        ({"norm": "none"}, 6_998_552, 1_582_671_872),
        (TORCHVISION | {"aux": True}, 13_004_888, 1_498_376_192),
    ],
    ids=["aux", "norm", "torchvision aux"],
)
def test_other_forms_of_googlenet(settings, params, macs):
    assert measure.count(meta(GoogLeNet, **settings), 224) == measure.Cost(params, macs)


@pytest.mark.parametrize(
    ("kind", "settings", "grid", "heads"),
    [
        (GoogLeNet, {}, 14, {"4a": (3_188_840, 4_169_728), "4d": (3_190_888, 4_202_496)}),
        (GoogLeNet, TORCHVISION, 14, {"4a": (3_188_968, 4_169_728), "4d": (3_191_016, 4_202_496)}),
        (InceptionV3, {}, 17, {"6e": (3_326_696, 5_683_200)}),
        (InceptionV4, {}, 17, {"B7": (3_359_464, 6_502_400)}),
        (InceptionResNetV1, {}, 17, {"B10": (3_343_080, 6_092_800)}),
        (InceptionResNetV2, {}, 17, {"B10": (3_375_848, 6_912_000)}),
        (InceptionResNetV2, {"variant": "slim"}, 17, {"B20": (3_367_656, 6_707_200)}),
    ],
    ids=["V1", "V1 torchvision", "V3", "V4", "R1", "R2", "R2 slim"],
)
def test_auxiliary_heads(kind, settings, grid, heads):
    """Each on the stage that the paper or TF-slim says, with its parameters and multiply-adds."""
    model, without = meta(kind, aux=True, **settings), meta(kind, **settings)
    found = {name: measure.count(head, grid) for name, head in model.aux.items()}
    assert found == {name: measure.Cost(*figures) for name, figures in heads.items()}
    size = 224 if kind is GoogLeNet else 299
    main = measure.count(without, size)
    assert measure.count(model, size) == measure.Cost(main.params + sum(p for p, _ in heads.values()), main.macs)
    assert not without.aux


@pytest.mark.parametrize(
    ("kind", "settings", "total"),
    [
        (GoogLeNet, TORCHVISION, 5_607_184),
        (BNInception, {"believe": "sizes", "first": "slim"}, 10_173_112),
        (InceptionV3, {}, 21_802_784),
    ],
    ids=["V1", "V2", "V3"],
)
def test_totals_of_slims_own_tests(kind, settings, total):
    """TF-slim's unit tests count the variables before the classifier: its batch norm has no gamma, but a mean, a
    variance and a beta.
    """
    found = 0
    for layer in meta(kind, **settings).stages.modules():
        if isinstance(layer, nn.Conv2d):
            found += sum(p.numel() for p in layer.parameters())
        elif isinstance(layer, nn.BatchNorm2d):
            found += layer.bias.numel() + layer.running_mean.numel() + layer.running_var.numel()
    assert found == total


@pytest.mark.parametrize(
    ("label", "layers"),
    [("AlexNet", 8), ("AlexNet torchvision", 8), ("VGG", 16), ("VGG 19", 19), ("NIN", 12), ("V1", 22)]
    + [("V2", 34), ("V2 filters dense", 34), ("V3", 48), ("V4", 76)]
    + [("R1", 93), ("R1 facenet", 97), ("R2", 96), ("R2 slim", 176)],
)
def test_longest_path(label, layers):
    """V2: the column "depth" of its Fig. 5 and the classifier. A separable convolution is written as two layers."""
    if label == "V2":
        layers += 1
    assert measure.depth(*form(label)) == layers


def test_docstrings_quote_the_counts():
    quoted = {
        GoogLeNet: "22 layers with weights, 6,998,552 parameters",
        AlexNet: "60,965,224 parameters, 58,631,144 of them in the three fully connected layers",
        VGG16: "16 layers with weights, 138,357,544 parameters, 123,642,856 of them in the three fully connected",
        NIN: "7,595,176 parameters",
        BNInception: "11,278,528 parameters",
        InceptionV3: "23,834,568 parameters",
        InceptionV4: "42,679,816 parameters, 76 layers on its longest path",
        InceptionResNetV1: "22,756,328 parameters, 93 layers on its longest path",
        InceptionResNetV2: "32,433,928 parameters, 96 layers on its longest path",
    }
    for kind, sentence in quoted.items():
        assert sentence in " ".join(kind.__doc__.split()), kind
    assert "the longest path of the released network has 48" in " ".join(InceptionV3.__doc__.split())
    assert "55,843,464 parameters and 176 layers" in " ".join(InceptionResNetV2.__doc__.split())
    nin, inception = measure.count(NIN.laptop(), 32).macs, measure.count(GoogLeNet.laptop(), 32).macs
    assert "12 M multiply-adds, half as many again" in " ".join(NIN.laptop.__doc__.split())
    assert nin / 1e6 == pytest.approx(12, abs=0.5) and nin / inception == pytest.approx(1.5, abs=0.1)


# --------------------------------------------------------------------------------------------- what modules are made of


def written(module: nn.Module) -> str:
    """A module in the notation of the papers' figures: branches between bars, layers of a branch between commas.

    ``3x3/2V 96`` is a kernel of 3 x 3 at stride 2 without padding, 96 filters, batch norm and ReLU; ``relu`` or
    ``linear`` after it says that there is only that. Counts and shapes do not know a row of seven from a column of
    seven, nor an average from a maximum: this does.
    """
    if isinstance(module, nn.Conv2d):
        window = "x".join(map(str, module.kernel_size))
        assert module.stride[0] == module.stride[1] and module.dilation == (1, 1), module
        stride = f"/{module.stride[0]}" if module.stride[0] > 1 else ""
        same = tuple((k - 1) // 2 for k in module.kernel_size)
        border = {same: "", (0, 0): "V"}.get(module.padding, f"+{module.padding[0]}") if max(same) else ""
        groups = f" in {module.groups} groups" if module.groups > 1 else ""
        bias = "" if module.bias is None else " bias"
        return f"{window}{stride}{border} {module.out_channels}{groups}{bias}"
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        kernel, stride, padding = module.kernel_size, module.stride, module.padding
        assert padding == (1 if stride == 1 else 0), module
        name = "max" if isinstance(module, nn.MaxPool2d) else "avg"
        zeros = " with zeros" if name == "avg" and padding and module.count_include_pad else ""
        ceil = " ceil" if module.ceil_mode else ""
        return f"{name} {kernel}x{kernel}{f'/{stride}' if stride > 1 else ''}{ceil}{zeros}"
    if isinstance(module, Residual):
        end = "" if module.relu else ", no relu"
        return f"{written(module.branches)} | > {written(module.up)} linear, times {module.scale}{end}"
    if isinstance(module, Concat):
        return " | ".join(written(branch) for branch in module.values())
    if hasattr(module, "branches"):
        return written(module.branches)
    parts = dict(module.named_children())
    if list(parts) == ["conv", "norm", "relu"]:
        assert isinstance(parts["norm"], nn.BatchNorm2d) and isinstance(parts["relu"], nn.ReLU), module
        return written(parts["conv"])
    if list(parts) == ["conv", "relu"]:
        assert isinstance(parts["relu"], nn.ReLU), module
        return f"{written(parts['conv'])} relu"
    if isinstance(module, nn.Sequential):
        texts = [f"{written(part)} linear" if isinstance(part, nn.Conv2d) else written(part) for part in parts.values()]
        return ", ".join(f"({t})" if isinstance(p, Concat) else t for p, t in zip(parts.values(), texts, strict=True))
    return type(module).__name__


def v1(n1, r3, n3, r5, n5, proj, kernel5=5):
    five = f"{kernel5}x{kernel5}"
    return f"1x1 {n1} | 1x1 {r3}, 3x3 {n3} | 1x1 {r5}, {five} {n5} | max 3x3, 1x1 {proj}"


def v2(n1, r3, n3, r33, n33, pool, proj):
    return f"1x1 {n1} | 1x1 {r3}, 3x3 {n3} | 1x1 {r33}, 3x3 {n33}, 3x3 {n33} | {pool} 3x3, 1x1 {proj}"


def six(inner):
    """V3's module of the 17 x 17 grid."""
    long = f"1x1 {inner}, 7x1 {inner}, 1x7 {inner}, 7x1 {inner}, 1x7 192"
    return f"1x1 192 | 1x1 {inner}, 1x7 {inner}, 7x1 192 | {long} | avg 3x3, 1x1 192"


STEM = {
    "conv1a": "3x3/2V 32",
    "conv2a": "3x3V 32",
    "conv2b": "3x3 64",
    "pool3a": "max 3x3/2",
    "conv3b": "1x1 80",
    "conv4a": "3x3V 192",
}
FIGURE_3 = {
    "conv1a": "3x3/2V 32",
    "conv2a": "3x3V 32",
    "conv2b": "3x3 64",
    "3a": "max 3x3/2 | 3x3/2V 96",
    "4a": "1x1 64, 3x3V 96 | 1x1 64, 1x7 64, 7x1 64, 3x3V 96",
    "5a": "3x3/2V 192 | max 3x3/2",
}
V1 = {
    "conv1": "7x7/2 64",
    "pool1": "max 3x3/2 ceil",
    "conv2_reduce": "1x1 64",
    "conv2": "3x3 192",
    "pool2": "max 3x3/2 ceil",
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "pool3": "max 3x3/2 ceil",
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "pool4": "max 3x3/2 ceil",
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
V2 = {
    "conv1": "7x7/2 24 in 3 groups linear, 1x1 64",
    "pool1": "max 3x3/2 ceil",
    "conv2_reduce": "1x1 64",
    "conv2": "3x3 192",
    "pool2": "max 3x3/2 ceil",
    "3a": v2(64, 64, 64, 64, 96, "avg", 32),
    "3b": v2(64, 64, 96, 64, 96, "avg", 64),
    "3c": "1x1 128, 3x3/2 160 | 1x1 64, 3x3 96, 3x3/2 96 | PadOdd, max 3x3/2 ceil",
    "4a": v2(224, 64, 96, 96, 128, "avg", 128),
    "4b": v2(192, 96, 128, 96, 128, "avg", 128),
    "4c": v2(160, 128, 160, 128, 160, "avg", 128),
    "4d": v2(96, 128, 192, 160, 192, "avg", 128),
    "4e": "1x1 128, 3x3/2 192 | 1x1 192, 3x3 256, 3x3/2 256 | PadOdd, max 3x3/2 ceil",
    "5a": v2(352, 192, 320, 160, 224, "avg", 128),
    "5b": v2(352, 192, 320, 192, 224, "max", 128),
}
SIZES = {"4c": v2(160, 128, 160, 128, 160, "avg", 96), "4d": v2(96, 128, 192, 160, 192, "avg", 96)}
THREE = "3x3/2V {n} | 1x1 {k}, 3x3 {l}, 3x3/2V {m} | max 3x3/2"  # Reduction-A with its letters of Table 1
A3 = "1x1 64 | 1x1 48, 5x5 64 | 1x1 64, 3x3 96, 3x3 96 | avg 3x3, 1x1 {proj}"
E3 = "1x1 320 | 1x1 384, (1x3 384 | 3x1 384) | 1x1 448, 3x3 384, (1x3 384 | 3x1 384) | avg 3x3, 1x1 192"
C4 = "1x1 384, 3x1 448, 1x3 512, (1x3 256 | 3x1 256)"
MODULES = {
    "V1 bn": {stage: v1(*row) if isinstance(row, tuple) else row for stage, row in V1.items()},
    "V1 torchvision": {
        **{stage: v1(*row, kernel5=3) if isinstance(row, tuple) else row for stage, row in V1.items()},
        "pool4": "max 2x2/2 ceil",
    },
    "V2": V2,
    "V2 filters slim": V2 | {"conv1": "7x7/2 24 in 3 groups linear, 1x1 64 bias relu"},
    "V2 filters dense": V2 | {"conv1": "7x7/2 64"},
    "V2 sizes separable": V2 | SIZES,
    "V2 sizes slim": V2 | SIZES | {"conv1": "7x7/2 24 in 3 groups linear, 1x1 64 bias relu"},
    "V2 sizes dense": V2 | SIZES | {"conv1": "7x7/2 64"},
    "V3": {
        **STEM,
        "pool5a": "max 3x3/2",
        "5b": A3.format(proj=32),
        "5c": A3.format(proj=64),
        "5d": A3.format(proj=64),
        "6a": THREE.format(n=384, k=64, l=96, m=96),
        "6b": six(128),
        "6c": six(160),
        "6d": six(160),
        "6e": six(192),
        "7a": "1x1 192, 3x3/2V 320 | 1x1 192, 1x7 192, 7x1 192, 3x3/2V 192 | max 3x3/2",
        "7b": E3,
        "7c": E3,
    },
    "V4": {
        **FIGURE_3,
        **dict.fromkeys(["A1", "A2", "A3", "A4"], "1x1 96 | 1x1 64, 3x3 96 | 1x1 64, 3x3 96, 3x3 96 | avg 3x3, 1x1 96"),
        "reductionA": THREE.format(n=384, k=192, l=224, m=256),
        **dict.fromkeys(
            ["B1", "B2", "B3", "B4", "B5", "B6", "B7"],
            "1x1 384 | 1x1 192, 1x7 224, 7x1 256 | 1x1 192, 7x1 192, 1x7 224, 7x1 224, 1x7 256 | avg 3x3, 1x1 128",
        ),
        "reductionB": "1x1 192, 3x3/2V 192 | 1x1 256, 1x7 256, 7x1 320, 3x3/2V 320 | max 3x3/2",
        **dict.fromkeys(["C1", "C2", "C3"], f"1x1 256 | 1x1 384, (1x3 256 | 3x1 256) | {C4} | avg 3x3, 1x1 256"),
    },
}


def residual_modules(start, a, b, c, reductions, counts, end):
    """The stages of an Inception-ResNet: kinds A, B, C with their scales, two reductions between them."""
    stages = dict(start)
    for letter, kind, scale, count in zip("ABC", (a, b, c), (0.17, 0.1, 0.2), counts, strict=True):
        stages |= {f"{letter}{i}": f"{kind} linear, times {scale}" for i in range(1, count + 1)}
        if letter in reductions:
            stages[f"reduction{letter}"] = reductions[letter]
    return stages | end


R1_C = "1x1 192 | 1x1 192, 1x3 192, 3x1 192 | > 1x1 1792 bias"
R1 = (
    STEM | {"conv4b": "3x3/2V 256"},
    "1x1 32 | 1x1 32, 3x3 32 | 1x1 32, 3x3 32, 3x3 32 | > 1x1 256 bias",
    "1x1 128 | 1x1 128, 1x7 128, 7x1 128 | > 1x1 896 bias",
    R1_C,
    {
        "A": THREE.format(n=384, k=192, l=192, m=256),
        "B": "1x1 256, 3x3/2V 384 | 1x1 256, 3x3/2V 256 | 1x1 256, 3x3 256, 3x3/2V 256 | max 3x3/2",
    },
    (5, 10, 5),
)
R2_C = "1x1 192 | 1x1 192, 1x3 224, 3x1 256 | > 1x1 {} bias"


def r2(start, widths, counts, end):
    a, b, c = widths
    return residual_modules(
        start,
        f"1x1 32 | 1x1 32, 3x3 32 | 1x1 32, 3x3 48, 3x3 64 | > 1x1 {a} bias",
        f"1x1 192 | 1x1 128, 1x7 160, 7x1 192 | > 1x1 {b} bias",
        R2_C.format(c),
        {
            "A": THREE.format(n=384, k=256, l=256, m=384),
            "B": "1x1 256, 3x3/2V 384 | 1x1 256, 3x3/2V 288 | 1x1 256, 3x3 288, 3x3/2V 320 | max 3x3/2",
        },
        counts,
        end,
    )


MODULES |= {
    "R1": residual_modules(*R1, {}),
    "R1 facenet": residual_modules(*R1, {"C6": f"{R1_C} linear, times 1.0, no relu"}),
    "R2": r2(FIGURE_3, (384, 1152, 2144), (5, 10, 5), {}),
    "R2 slim": r2(
        STEM | {"pool5a": "max 3x3/2", "5b": "1x1 96 | 1x1 48, 5x5 64 | 1x1 64, 3x3 96, 3x3 96 | avg 3x3, 1x1 64"},
        (320, 1088, 2080),
        (10, 20, 9),
        {"C10": f"{R2_C.format(2080)} linear, times 1.0, no relu", "conv7b": "1x1 1536"},
    ),
    "AlexNet": {
        "conv1": "11x11/4+2 96 bias relu",
        "norm1": "LocalResponseNorm",
        "pool1": "max 3x3/2",
        "conv2": "5x5 256 in 2 groups bias relu",
        "norm2": "LocalResponseNorm",
        "pool2": "max 3x3/2",
        "conv3": "3x3 384 bias relu",
        "conv4": "3x3 384 in 2 groups bias relu",
        "conv5": "3x3 256 in 2 groups bias relu",
        "pool5": "max 3x3/2",
    },
    "AlexNet torchvision": {
        "conv1": "11x11/4+2 64 bias relu",
        "pool1": "max 3x3/2",
        "conv2": "5x5 192 bias relu",
        "pool2": "max 3x3/2",
        "conv3": "3x3 384 bias relu",
        "conv4": "3x3 256 bias relu",
        "conv5": "3x3 256 bias relu",
        "pool5": "max 3x3/2",
    },
    "VGG": {
        f"{kind}{group}{f'_{i}' if kind == 'conv' else ''}": f"3x3 {n} bias relu" if kind == "conv" else "max 2x2/2"
        for group, (n, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1)
        for kind, i in [*(("conv", i) for i in range(1, count + 1)), ("pool", 0)]
    },
    "NIN": {
        "mlpconv1": "11x11/4V 96 bias relu, 1x1 96 bias relu, 1x1 96 bias relu",
        "pool1": "max 3x3/2 ceil",
        "mlpconv2": "5x5 256 bias relu, 1x1 256 bias relu, 1x1 256 bias relu",
        "pool2": "max 3x3/2 ceil",
        "mlpconv3": "3x3 384 bias relu, 1x1 384 bias relu, 1x1 384 bias relu",
        "pool3": "max 3x3/2 ceil",
        "drop3": "Dropout",
        "mlpconv4": "3x3 1024 bias relu, 1x1 1024 bias relu",
        "classes": "1x1 1000 bias",
    },
}


@pytest.mark.parametrize("label", MODULES)
def test_every_module_is_made_as_its_figure_says(label):
    found = {name: written(stage) for name, stage in form(label)[0].stages.items()}
    assert found == MODULES[label]
    assert list(found) == list(MODULES[label])


@pytest.mark.parametrize(
    ("label", "start"),
    [
        ("V1 bn", {"conv1": "3x3/2 64", "conv2_reduce": "1x1 64", "conv2": "3x3 192"}),
        (
            "V2",
            {"conv1": "3x3/2 24 in 3 groups linear, 1x1 64", "conv2_reduce": "1x1 64", "conv2": "3x3 192"},
        ),
        ("V3", {"conv1a": "3x3/2 32", "conv2b": "3x3 64", "conv3b": "1x1 80", "conv4a": "3x3 192"}),
        (
            "V4",
            {
                "conv1a": "3x3/2 32",
                "conv2b": "3x3 64",
                "4a": "1x1 64, 3x3 96 | 1x1 64, 1x7 64, 7x1 64, 3x3 96",
                "5a": "3x3 192 | max 3x3",
            },
        ),
        (
            "R1",
            {"conv1a": "3x3/2 32", "conv2b": "3x3 64", "conv3b": "1x1 80", "conv4a": "3x3 192", "conv4b": "3x3 256"},
        ),
        ("AlexNet", {"conv1": "5x5+2 96 bias relu", "norm1": "LocalResponseNorm"}),
        ("VGG", {"conv1_1": "3x3 64 bias relu", "conv1_2": "3x3 64 bias relu"}),
    ],
)
def test_small_stem_replaces_the_first_rows_and_nothing_else(label, start):
    """No pooling before the first module, for 32 x 32 images; what follows is the paper's."""
    kind = type(form(label)[0])
    settings = {"norm": "bn"} if label == "V1 bn" else {}
    found = {name: written(stage) for name, stage in meta(kind, stem="small", **settings).stages.items()}
    rest = list(found)[len(start) :]
    assert {name: found[name] for name in list(found)[: len(start)]} == {
        n: t.replace("+2", "") for n, t in start.items()
    }
    assert {name: found[name] for name in rest} == {name: MODULES[label][name] for name in rest}
    assert rest == list(MODULES[label])[-len(rest) :]


def test_nin_small_is_the_network_for_cifar_10():
    model = meta(NIN, 10, stem="small")
    assert {name: written(stage) for name, stage in model.stages.items()} == {
        "mlpconv1": "5x5 192 bias relu, 1x1 160 bias relu, 1x1 96 bias relu",
        "pool1": "max 3x3/2 ceil",
        "drop1": "Dropout",
        "mlpconv2": "5x5 192 bias relu, 1x1 192 bias relu, 1x1 192 bias relu",
        "pool2": "avg 3x3/2 ceil",
        "drop2": "Dropout",
        "mlpconv3": "3x3 192 bias relu, 1x1 192 bias relu",
        "classes": "1x1 10 bias",
    }
    assert measure.count(model, 32) == measure.Cost(966_986, 222_486_528)


@pytest.mark.parametrize("label", ["V2", "V3", "V4", "R2 slim"])
def test_count_include_pad_reaches_every_average(label):
    settings = {"variant": "slim"} if label == "R2 slim" else {}
    model = meta(type(form(label)[0]), count_include_pad=True, **settings)
    found = {name: written(stage) for name, stage in model.stages.items()}
    assert found == {name: text.replace("avg 3x3", "avg 3x3 with zeros") for name, text in MODULES[label].items()}
    assert found != MODULES[label]


@pytest.mark.parametrize(("kind", "k", "alpha"), [(AlexNet, 2, 1e-4), (GoogLeNet, 1, 1e-4 / 5)])
def test_response_normalization(kind, k, alpha):
    """Section 3.3 of the paper of 2012: k = 2, n = 5, alpha = 1e-4, beta = 0.75, and the sum runs over five channels.

    Caffe's form of GoogLeNet has k = 1 and divides alpha by five, as PyTorch does.
    """
    norms = [layer for layer in meta(kind).modules() if isinstance(layer, nn.LocalResponseNorm)]
    assert len(norms) == 2
    x = 30 * torch.randn(2, 9, 3, 3, dtype=torch.float64)
    squares = torch.nn.functional.pad(x.square(), (0, 0, 0, 0, 2, 2))
    by_hand = x / (k + alpha * sum(squares[:, i : i + 9] for i in range(5))) ** 0.75
    for norm in norms:
        torch.testing.assert_close(norm(x), by_hand)


# -------------------------------------------------------------------------------------------------- names of the stages


def test_names_cover_every_stage_with_weights():
    for module, label in (
        (googlenet, "V1"),
        (bn_inception, "V2"),
        (inception_v3, "V3"),
        (inception_v4, "V4"),
    ):
        with_weights = [row.name for row in measured(label) if row.params and row.name != "head"]
        assert list(module.NAMES) == with_weights, label
    for names, label in (
        (inception_resnet.NAMES_V1, "R1 facenet"),
        (inception_resnet.NAMES_V2, "R2 slim"),
    ):
        assert list(names) == [row.name for row in measured(label) if row.params and row.name != "head"], label


def spread(pattern: str, parts: str) -> list[str]:
    return [pattern.format(part) for part in parts.split()]


FIVE = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"]
LOWER = ["conv2d_1a", "conv2d_2a", "conv2d_2b", "conv2d_3b", "conv2d_4a"]


@pytest.mark.parametrize(
    ("names", "slim", "other"),
    [
        (
            googlenet.NAMES,
            ["Conv2d_1a_7x7", "Conv2d_2b_1x1", "Conv2d_2c_3x3", *spread("Mixed_{}", "3b 3c 4b 4c 4d 4e 4f 5b 5c")],
            ["conv1", "conv2", "conv3", *spread("inception{}", "3a 3b 4a 4b 4c 4d 4e 5a 5b")],
        ),
        (
            bn_inception.NAMES,
            ["Conv2d_1a_7x7", "Conv2d_2b_1x1", "Conv2d_2c_3x3", *spread("Mixed_{}", "3b 3c 4a 4b 4c 4d 4e 5a 5b 5c")],
            ["conv1_7x7_s2", "conv2_3x3_reduce", "conv2_3x3"] + spread("inception_{}", "3a 3b 3c 4a 4b 4c 4d 4e 5a 5b"),
        ),
        (
            inception_v3.NAMES,
            FIVE + spread("Mixed_{}", "5b 5c 5d 6a 6b 6c 6d 6e 7a 7b 7c"),
            FIVE + spread("Mixed_{}", "5b 5c 5d 6a 6b 6c 6d 6e 7a 7b 7c"),
        ),
        (
            inception_v4.NAMES,
            FIVE[:3] + spread("Mixed_{}", "3a 4a 5a 5b 5c 5d 5e 6a 6b 6c 6d 6e 6f 6g 6h 7a 7b 7c 7d"),
            [f"features.{i}" for i in range(22)],
        ),
        (
            inception_resnet.NAMES_V2,
            [*FIVE, "Mixed_5b", *(f"Repeat/block35_{i}" for i in range(1, 11)), "Mixed_6a"]
            + [*(f"Repeat_1/block17_{i}" for i in range(1, 21)), "Mixed_7a"]
            + [*(f"Repeat_2/block8_{i}" for i in range(1, 10)), "Block8", "Conv2d_7b_1x1"],
            [*LOWER, "mixed_5b", *(f"repeat.{i}" for i in range(10)), "mixed_6a"]
            + [*(f"repeat_1.{i}" for i in range(20)), "mixed_7a"]
            + [*(f"repeat_2.{i}" for i in range(9)), "block8", "conv2d_7b"],
        ),
    ],
    ids=["V1", "V2", "V3", "V4", "R2"],
)
def test_names_elsewhere(names, slim, other):
    """TF-slim's end points and scopes; then torchvision's, Cadene's, torchvision's and timm's, timm's and timm's."""
    assert [pair[0] for pair in names.values()] == slim
    assert [pair[1] for pair in names.values()] == other


def test_names_of_facenet():
    assert list(inception_resnet.NAMES_V1.values()) == [
        *LOWER,
        "conv2d_4b",
        *(f"repeat_1.{i}" for i in range(5)),
        "mixed_6a",
        *(f"repeat_2.{i}" for i in range(10)),
        "mixed_7a",
        *(f"repeat_3.{i}" for i in range(5)),
        "block8",
    ]


# --------------------------------------------------------------------------------------------- the source's last column


class Unknown(dict):
    """What a name that is not given stands for: it can be ``make(...)``, ``**borders`` and ``module.stem_rows()``."""

    def __call__(self, *args, **settings):
        return None

    def __getattr__(self, name):
        return self


class Names(dict):
    def __missing__(self, name):
        return Unknown()


def rows_of(source: str, **given) -> dict[tuple[str, str], list[tuple[str, tuple[int, ...], int | None]]]:
    """(class or function, list) -> [(stage, shape, second figure)] of every table in a source.

    A table is a list whose elements are rows, ``("3a", ...),  #  256 x 28 x 28``, or give several of them,
    ``*stage_rows("A", a, ...),  #  384 x 35 x 35``. How many, and what ``f"C{c + 1}"`` is called, follows from
    ``given``. A comment may have a figure after the shape, ``#  608 x 14 x 14   576``. A row without a shape is an
    AssertionError.
    """
    lines = source.splitlines()
    names = Names(
        stage_rows=lambda letter, count, make: [f"{letter}{i}" for i in range(1, count + 1)],
        group=lambda number, count: [f"conv{number}_{i}" for i in range(1, given["blocks"][number - 1] + 1)],
        **given,
    )

    def stages(element: ast.expr) -> list[str]:
        """The names of the stages that one element of a list stands for; none where it is no row."""
        if isinstance(element, ast.Tuple) and isinstance(element.elts[0], ast.Constant | ast.JoinedStr):
            element = ast.List([element.elts[0]], ast.Load())
        elif isinstance(element, ast.Starred) and isinstance(element.value, ast.Call):
            element = element.value
        else:
            return []
        expression = ast.fix_missing_locations(ast.Expression(element))
        return eval(compile(expression, "row", "eval"), {"__builtins__": {}}, names) or []

    tables = {}
    for top in ast.parse(source).body:
        for node in ast.walk(top):
            if not (isinstance(node, ast.Assign | ast.AugAssign) and isinstance(node.value, ast.List)):
                continue
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            for element in node.value.elts:
                if found := stages(element):
                    line = lines[element.end_lineno - 1]
                    shape = re.search(r"# +(\d+) x (\d+) x (\d+)(?: +(\d+))?$", line)
                    assert shape, f"no shape at the end of this row: {line.strip()}"
                    c, h, w, second = (figure and int(figure) for figure in shape.groups())
                    tables.setdefault((top.name, target.id), []).extend((name, (c, h, w), second) for name in found)
    return tables


def test_comments_are_read():
    """The reader above: several rows at once, rows that are added later, and a row without a shape."""
    source = """
def stem_rows(make):
    full = [
        ("conv1", make.conv(8, 3)),          #   8 x 4 x 4
    ]

class Net:
    def __init__(self):
        def group(number, count):
            return stage_rows(f"conv{number}_", blocks[number - 1], count)
        table = [
            *stem_rows(make),
            #      n1
            ("pool", lambda c: (
                c
            )),                              #   8 x 2 x 2
            *stage_rows("B", b, make(5)),    #  16 x 2 x 2   12
            *group(2, 64),                   #  64 x 2 x 2
        ]
        table += [(f"C{b + 1}", make(7))]    # 32 x 1 x 1
        heads = [name for name in ("a", "b")]
"""
    assert rows_of(source, b=2, blocks=(1, 2)) == {
        ("stem_rows", "full"): [("conv1", (8, 4, 4), None)],
        ("Net", "table"): [
            ("pool", (8, 2, 2), None),
            ("B1", (16, 2, 2), 12),
            ("B2", (16, 2, 2), 12),
            ("conv2_1", (64, 2, 2), None),
            ("conv2_2", (64, 2, 2), None),
            ("C3", (32, 1, 1), None),
        ],
    }
    for shape in ("#   8 x 4 x 4", "#   8 x 2 x 2", "#  16 x 2 x 2   12", "#  64 x 2 x 2", "# 32 x 1 x 1"):
        with pytest.raises(AssertionError, match="no shape at the end of this row"):
            rows_of(source.replace(shape, "# as before"), b=2, blocks=(1, 2))


def commented(module, **given) -> dict[tuple[str, str], list]:
    return rows_of(inspect.getsource(module), **given)


def firsts(rows) -> list[tuple]:
    return [(name, shape) for name, shape, _ in rows]


def seconds(rows) -> list[tuple]:
    """The rows with the second figure in place of the channels, where there is one."""
    return [(name, (second or shape[0], *shape[1:])) for name, shape, second in rows]


def shapes(label, size=None, **changes) -> list[tuple]:
    """(stage, shape) of a network as it is measured, without the head; ``changes`` make it another one."""
    model, paper = form(label)
    rows = measure.stages(meta(type(model), **changes), size or paper) if changes else measured(label)
    return [(row.name, row.shape) for row in rows if row.name != "head"]


def test_comments_of_googlenet():
    tables = commented(googlenet)
    assert {key: len(rows) for key, rows in tables.items()} == {
        ("GoogLeNet", "full"): 7,
        ("GoogLeNet", "small"): 5,
        ("GoogLeNet", "table"): 11,
    }
    full, small, table = map(firsts, tables.values())
    assert shapes("V1") == full + table
    assert shapes("V1", 32, stem="small")[:5] == small


def test_comments_of_bn_inception():
    tables = commented(bn_inception)
    assert {key: len(rows) for key, rows in tables.items()} == {
        ("BNInception", "full"): 5,
        ("BNInception", "small"): 3,
        ("BNInception", "table"): 10,
    }
    full, small, table = tables.values()
    assert shapes("V2") == firsts(full + table)
    assert all(second for _, _, second in table)
    assert shapes("V2 sizes slim") == firsts(full) + seconds(table)
    for first in ("separable", "slim", "dense"):
        assert shapes("V2", 32, stem="small", first=first)[:3] == firsts(small)


def test_comments_of_inception_v3():
    tables = commented(inception_v3)
    assert {key: len(rows) for key, rows in tables.items()} == {
        ("stem_rows", "full"): 7,
        ("stem_rows", "small"): 4,
        ("InceptionV3", "table"): 11,
    }
    full, small, table = map(firsts, tables.values())
    assert shapes("V3") == full + table
    assert shapes("V3", 32, stem="small")[:4] == small


def test_comments_of_inception_v4():
    tables = commented(inception_v4, a=4, b=7, c=3)
    assert {key: len(rows) for key, rows in tables.items()} == {
        ("stem_rows", "full"): 6,
        ("stem_rows", "small"): 4,
        ("InceptionV4", "table"): 16,
    }
    full, small, table = map(firsts, tables.values())
    assert shapes("V4") == full + table
    assert shapes("V4", 32, stem="small")[:4] == small


def test_comments_of_inception_resnet():
    stems = [firsts(commented(module, a=1, b=1, c=1)["stem_rows", "full"]) for module in (inception_v3, inception_v4)]
    tables = commented(inception_resnet, a=5, b=10, c=5)
    assert {key: len(rows) for key, rows in tables.items()} == {
        ("InceptionResNetV1", "table"): 24,
        ("InceptionResNetV2", "slim_stem"): 1,
        ("InceptionResNetV2", "table"): 22,
        ("InceptionResNetV2", "slim_end"): 2,
    }
    first = firsts(tables["InceptionResNetV1", "table"])
    assert shapes("R1 facenet") == stems[0][:-1] + first
    assert shapes("R1") == stems[0][:-1] + first[:-1]
    assert shapes("R2") == stems[1] + firsts(tables["InceptionResNetV2", "table"])

    _, *slims = commented(inception_resnet, a=10, b=20, c=9).values()
    start, table, end = slims
    assert all(second for _, _, second in table)
    assert shapes("R2 slim") == stems[0] + firsts(start) + seconds(table) + firsts(end)


def test_comments_of_baselines():
    tables = commented(baselines, blocks=(2, 2, 3, 3, 3))
    assert {key: len(rows) for key, rows in tables.items()} == {
        ("AlexNet", "table"): 10,
        ("VGG16", "table"): 18,
        ("NIN", "full"): 9,
        ("NIN", "small"): 8,
        ("Plain", "rows"): 6,
    }
    alexnet, vgg, full, small, plain = tables.values()
    assert shapes("AlexNet") == firsts(alexnet)
    column = [row for row in alexnet if not row[0].startswith("norm")]
    assert all(second for _, _, second in column)
    assert shapes("AlexNet torchvision") == seconds(column)
    assert shapes("VGG") == firsts(vgg)
    assert shapes("NIN") == firsts(full)
    assert shapes("NIN", 32, num_classes=10, stem="small") == firsts(small)
    rows = measure.stages(meta(Plain), 32)
    assert [(row.name, row.shape) for row in rows[:-1]] == firsts(plain) and rows[-1].name == "head"
