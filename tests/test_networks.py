"""The networks against their papers: every figure of the tables, the shapes that the source promises, and learning."""

import inspect
import math
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from inception_lessons import baselines, googlenet, layers, measure
from inception_lessons.baselines import NIN, MLPConv, Plain
from inception_lessons.googlenet import NAMES, AuxiliaryClassifier, GoogLeNet, Inception, NaiveInception

# arXiv:1409.4842, Table 1, with biases: parameters and multiply-adds, counted from the table's filters by a shape
# calculator that knows nothing of torch. (The paper prints rounded figures, some of them wrong.)
TABLE_1 = {
    "conv1": (9_472, 118_013_952),
    "pool1": (0, 0),
    "norm1": (0, 0),
    "conv2_reduce": (4_160, 12_845_056),
    "conv2": (110_784, 346_816_512),
    "norm2": (0, 0),
    "pool2": (0, 0),
    "3a": (163_696, 128_049_152),
    "3b": (388_736, 304_267_264),
    "pool3": (0, 0),
    "4a": (376_176, 73_608_192),
    "4b": (449_160, 87_908_352),
    "4c": (510_104, 99_850_240),
    "4d": (605_376, 118_515_712),
    "4e": (868_352, 169_996_288),
    "pool4": (0, 0),
    "5a": (1_043_456, 51_079_168),
    "5b": (1_444_080, 70_697_984),
    "head": (1_025_000, 1_024_000),
}
TORCHVISION = {"norm": "bn", "kernel5": 3, "pool4": 2, "aux_pool": "adaptive"}


def meta(make, *args, **kwargs):
    """A network without numbers: enough to count."""
    with torch.device("meta"):
        return make(*args, **kwargs)


# --------------------------------------------------------------------------------------------- the source's last column


def commented_rows(module) -> dict[tuple[str, str], list[tuple[str, tuple[int, ...]]]]:
    """(class, list) -> [(stage, shape)] of every ``("3a", ...),  #  256 x 28 x 28`` in a module's source."""
    tables, where, current = {}, None, None
    for line in inspect.getsource(module).splitlines():
        if found := re.match(r"class (\w+)", line):
            where, current = found[1], None
        elif found := re.match(r" +(\w+) = \[( +#.*)?$", line):
            current = (where, found[1])
        elif re.match(r" +\]", line):
            current = None
        elif current and (found := re.match(r' +\("(\w+)", ', line)):
            shape = re.search(r"# +(\d+) x (\d+) x (\d+)$", line)
            assert shape, f"no shape at the end of this row: {line.strip()}"
            tables.setdefault(current, []).append((found[1], tuple(map(int, shape.groups()))))
    return tables


def measured(model, size):
    return [(row.name, row.shape) for row in measure.stages(model, size) if row.name != "head"]


def test_googlenet_shapes_are_what_the_source_says():
    tables = commented_rows(googlenet)
    assert {key: len(rows) for key, rows in tables.items()} == {
        ("GoogLeNet", "full"): 7,
        ("GoogLeNet", "small"): 5,
        ("GoogLeNet", "table"): 11,
    }
    full, small, table = tables.values()
    assert measured(meta(GoogLeNet), 224) == full + table
    assert measured(meta(GoogLeNet, stem="small"), 32)[:5] == small


def test_baseline_shapes_are_what_the_source_says():
    tables = commented_rows(baselines)
    assert {key: len(rows) for key, rows in tables.items()} == {("NIN", "rows"): 8, ("Plain", "rows"): 6}
    assert measured(meta(NIN), 32) == tables["NIN", "rows"]
    assert measured(meta(Plain), 32) == tables["Plain", "rows"]


# ----------------------------------------------------------------------------------------------------------- the counts


def test_every_row_of_table_1():
    rows = measure.stages(meta(GoogLeNet), 224)
    assert {row.name: (row.params, row.macs) for row in rows} == TABLE_1
    assert [row.name for row in rows] == list(TABLE_1)


@pytest.mark.parametrize(
    ("settings", "params", "macs"),
    [
        ({}, 6_998_552, 1_582_671_872),
        ({"aux": True}, 13_378_280, 1_582_671_872),  # forward does not run the heads
        ({"norm": "none"}, 6_998_552, 1_582_671_872),
        ({"norm": "bn"}, 7_005_832, 1_582_671_872),
        (TORCHVISION, 6_624_904, 1_498_376_192),
        (TORCHVISION | {"aux": True}, 13_004_888, 1_498_376_192),
    ],
    ids=lambda value: " ".join(map(str, value.values())) or "paper" if isinstance(value, dict) else None,
)
def test_published_counts(settings, params, macs):
    assert measure.count(meta(GoogLeNet, **settings), 224) == measure.Cost(params, macs)


def test_auxiliary_heads_by_size():
    heads = meta(GoogLeNet, aux=True).aux
    size = {name: sum(p.numel() for p in head.parameters()) for name, head in heads.items()}
    assert size == {"4a": 3_188_840, "4d": 3_190_888}


def test_docstrings_quote_the_counts():
    assert "22 layers with weights, 6,998,552 parameters" in " ".join(GoogLeNet.__doc__.split())
    assert measure.depth(GoogLeNet(width=0.1), 64) == 22
    nin, inception = measure.count(NIN.laptop(), 32).macs, measure.count(GoogLeNet.laptop(), 32).macs
    assert "12 M multiply-adds, half as many again" in " ".join(NIN.laptop.__doc__.split())
    assert nin / 1e6 == pytest.approx(12, abs=0.5) and nin / inception == pytest.approx(1.5, abs=0.1)


def test_plain_costs_what_the_laptop_network_costs():
    plain, inception = measure.count(Plain.laptop(), 32).macs, measure.count(GoogLeNet.laptop(norm="bn"), 32).macs
    assert abs(plain / inception - 1) < 0.001


def test_naive_module_3a():
    """Fig. 2(a) at 3a by hand: 192 x 64, 9 x 192 x 128 and 25 x 192 x 32 weights, 224 biases, a grid of 28 x 28."""
    before, row = nn.Conv2d(3, 192, 1), (192, 64, 96, 128, 16, 32, 32)
    alone = measure.count(before, 28)
    for module, params, macs in ((NaiveInception, 387_296, 303_464_448), (Inception, 163_696, 128_049_152)):
        both = measure.count(nn.Sequential(before, module(*row)), 28)
        assert (both.params - alone.params, both.macs - alone.macs) == (params, macs)
    assert params * 2 < 387_296 and NaiveInception(*row)(torch.zeros(1, 192, 8, 8)).shape == (
        1,
        64 + 128 + 32 + 192,
        8,
        8,
    )


def test_naive_network_is_wired_through():
    """Each module hands on all that came in, so the next one is told a number that no table holds."""
    model = GoogLeNet.laptop(module=NaiveInception, width=1.0)
    shapes = {row.name: row.shape[0] for row in measure.stages(model, 32)}
    widths, c = {}, 192
    for stage, (n1, n3, n5) in {
        "3a": (64, 128, 32),
        "4a": (192, 208, 48),
        "4b": (160, 224, 64),
        "5a": (256, 320, 128),
    }.items():
        widths[stage] = c = n1 + n3 + n5 + c
    assert {stage: shapes[stage] for stage in widths} == widths
    assert model.head[-1].in_features == c


def test_branches_are_stacked_in_the_order_written():
    module = Inception(8, 4, 8, 12, 4, 16, 20)
    x = torch.randn(2, 8, 5, 5)
    out = module(x)
    assert list(module.branches) == ["b1", "b3", "b5", "pool"]
    for name, part in zip(module.branches, out.split([4, 12, 16, 20], 1), strict=True):
        assert torch.equal(part, module.branches[name](x))


# -------------------------------------------------------------------------------------------------- names and structure


def test_names_cover_every_stage_with_weights():
    with_weights = [row.name for row in measure.stages(meta(GoogLeNet), 224) if row.params and row.name != "head"]
    assert list(NAMES) == with_weights
    slim = ["Conv2d_1a_7x7", "Conv2d_2b_1x1", "Conv2d_2c_3x3"]  # Mixed_3b, Mixed_3c, Mixed_4b, ...: one letter later
    slim += [
        f"Mixed_{group}{letter}" for group, letters in (("3", "bc"), ("4", "bcdef"), ("5", "bc")) for letter in letters
    ]
    assert [names[0] for names in NAMES.values()] == slim
    torchvision = ["conv1", "conv2", "conv3", *(f"inception{stage}" for stage in with_weights[3:])]
    assert [names[1] for names in NAMES.values()] == torchvision


def test_laptop_keeps_four_modules():
    model = GoogLeNet.laptop()
    assert list(model.stages) == [
        "conv1", "norm1", "conv2_reduce", "conv2", "norm2", "3a", "pool3", "4a", "4b", "pool4", "5a",
    ]  # fmt: skip
    assert model.head[-1].out_features == 10
    assert [row.shape[1] for row in measure.stages(model, 32) if row.name in ("3a", "4a", "5a")] == [16, 8, 4]


@pytest.mark.parametrize("blocks", [(2, 5, 2), (1, 1, 1), (0, 3, 2), (0, 0, 0)])
def test_blocks_are_kept_from_the_front(blocks):
    model = GoogLeNet.laptop(blocks=blocks, norm="none").eval()
    kept = [name for name in model.stages if name[0].isdigit()]
    assert kept == [f"{group}{letter}" for group, n in zip("345", blocks, strict=True) for letter in "abcde"[:n]]
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_norm_none_is_lrn_without_the_norms():
    """Same weights under the same names, so that the two can be compared."""
    lrn, none = meta(GoogLeNet.laptop, norm="lrn"), meta(GoogLeNet.laptop, norm="none")
    assert list(lrn.state_dict()) == list(none.state_dict())
    assert set(lrn.stages) - set(none.stages) == {"norm1", "norm2"}
    assert not any(isinstance(m, nn.LocalResponseNorm | nn.BatchNorm2d) for m in none.modules())
    bn = meta(GoogLeNet.laptop, norm="bn")
    assert sum(isinstance(m, nn.BatchNorm2d) for m in bn.modules()) == sum(
        isinstance(m, nn.Conv2d) for m in bn.modules()
    )
    assert all(m.bias is None for m in bn.modules() if isinstance(m, nn.Conv2d))


def test_dropout_is_the_share_that_is_dropped():
    model = GoogLeNet(aux=True, width=0.1, num_classes=2)
    assert [m.p for m in model.head if isinstance(m, nn.Dropout)] == [0.4]
    assert [head.dropout.p for head in model.aux.values()] == [0.7, 0.7]
    assert [m.p for m in GoogLeNet.laptop(dropout=0.1).head if isinstance(m, nn.Dropout)] == [0.1]


def test_units_pad_to_keep_the_grid():
    x = torch.zeros(1, 3, 9, 11)
    for unit in (layers.conv, layers.conv_bn):
        for kernel in (1, 3, 5, 7, (1, 7), (7, 1)):
            assert unit(3, 4, kernel)(x).shape == (1, 4, 9, 11)
        assert unit(3, 4, 3, stride=2)(x).shape == (1, 4, 5, 6)
        assert unit(3, 4, 3, padding=0)(x).shape == (1, 4, 7, 9)
    assert MLPConv(3, (4, 8, 12), 5, 2)(x).shape == (1, 12, 5, 6)
    assert layers.conv_bn(3, 4, 1).norm.eps == 1e-3


# ------------------------------------------------------------------------------------------------- forward and gradient


def test_forward_with_aux_at_224():
    torch.manual_seed(0)
    model, x = GoogLeNet(7, width=0.125, aux=True).eval(), torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        logits, aux = model.forward_with_aux(x)
        assert list(aux) == ["4a", "4d"]
        assert logits.shape == aux["4a"].shape == aux["4d"].shape == (2, 7)
        assert torch.equal(model(x), logits)
    assert not any(
        torch.allclose(a, b, atol=1e-3) for a, b in ((logits, aux["4a"]), (logits, aux["4d"]), (aux["4a"], aux["4d"]))
    )


def test_aux_only_where_its_stage_is_kept():
    x = torch.randn(2, 3, 32, 32)
    for settings, want in (({}, []), ({"aux": True}, ["4a"]), ({"aux": True, "blocks": (2, 5, 2)}, ["4a", "4d"])):
        model = GoogLeNet.laptop(**settings).train()
        assert isinstance(model(x), torch.Tensor)  # logits, in training too
        logits, aux = model.forward_with_aux(x)
        assert logits.shape == (2, 10) and list(aux) == want


def test_aux_head_wants_the_grid_it_was_built_for():
    model = GoogLeNet.laptop(aux=True).eval()
    x = torch.randn(1, 3, 40, 40)
    assert model(x).shape == (1, 10)
    with pytest.raises(ValueError, match="built for a 8 x 8 grid, not 10 x 10"):
        model.forward_with_aux(x)
    anywhere = GoogLeNet.laptop(aux=True, aux_pool="adaptive").eval()
    assert anywhere.forward_with_aux(x)[1]["4a"].shape == (1, 10)


def test_aux_head_pools_as_the_paper_says():
    """5 x 5 at stride 3 on 14 x 14: four windows a side, from 0, 3, 6 and 9. The adaptive one ends at 14."""
    head = AuxiliaryClassifier(2, 3, 14)
    x = torch.randn(1, 2, 14, 14)
    by_hand = torch.stack(
        [torch.stack([x[0, :, i : i + 5, j : j + 5].mean((1, 2)) for j in (0, 3, 6, 9)], 1) for i in (0, 3, 6, 9)], 1
    )
    torch.testing.assert_close(head.pool(x)[0], by_hand)
    assert head.hidden[1].in_features == 4 * 4 * 128
    assert not torch.allclose(AuxiliaryClassifier(2, 3, 14, pool="adaptive").pool(x)[0], by_hand, atol=1e-3)


@pytest.mark.parametrize("size", [(33, 47), (31, 31), (64, 40)])
@pytest.mark.parametrize("stem", ["full", "small"])
def test_odd_sizes_and_a_batch_of_one(stem, size):
    model = GoogLeNet.laptop(stem=stem, norm="bn").eval()
    x = torch.randn(3, 3, *size)
    with torch.no_grad():
        together = model(x)
        assert together.shape == (3, 10) and together.isfinite().all()
        torch.testing.assert_close(model(x[1:2]), together[1:2])


@pytest.mark.parametrize("norm", ["lrn", "none", "bn"])
def test_gradient_reaches_every_parameter(norm):
    torch.manual_seed(0)
    model, x, labels = GoogLeNet.laptop(norm=norm, aux=True), torch.randn(16, 3, 32, 32), torch.arange(16) % 10
    logits, aux = model.forward_with_aux(x)
    sum(F.cross_entropy(each, labels) for each in (logits, *aux.values())).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    "make",
    [*(lambda norm=norm: GoogLeNet.laptop(norm=norm, aux=True) for norm in ("lrn", "none", "bn"))]
    + [*(lambda kind=kind, norm=norm: kind.laptop(norm=norm) for kind in (NIN, Plain) for norm in ("none", "bn"))],
    ids=["lrn", "none", "bn", "NIN none", "NIN bn", "Plain none", "Plain bn"],
)
def test_first_loss_is_that_of_a_guess(make):
    """As many labels of each class, and no dropout: what is left above ln 10 is half the variance of the logits."""
    for seed in range(3):
        torch.manual_seed(seed)
        model, x, labels = make().eval(), torch.randn(20, 3, 32, 32), torch.arange(20) % 10
        with torch.no_grad():
            outputs = model.forward_with_aux(x) if hasattr(model, "aux") else (model(x), {})
        for logits in (outputs[0], *outputs[1].values()):
            assert F.cross_entropy(logits, labels).item() == pytest.approx(math.log(10), abs=0.1)
            assert logits.std(0).max() > 1e-4  # and it does look at its input


# ------------------------------------------------------------------------------------------------------------- learning


def losses(model, steps, rate, classes=10):
    """Loss by step of Adam on 8 images of 8 labels."""
    x, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % classes
    optimizer, found = torch.optim.Adam(model.parameters(), lr=rate), []
    for _ in range(steps):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize(
    ("kind", "norm", "steps", "rate"),
    [
        (GoogLeNet, "bn", 20, 1e-2),
        (GoogLeNet, "none", 40, 3e-3),
        (GoogLeNet, "lrn", 40, 3e-3),
        (NIN, "bn", 50, 1e-2),
        (NIN, "none", 90, 3e-3),
        (Plain, "bn", 25, 1e-2),
        (Plain, "none", 50, 3e-3),
    ],
)
def test_memorizes_eight_images(kind, norm, steps, rate):
    torch.manual_seed(0)
    assert min(losses(kind.laptop(norm=norm, dropout=0.0), steps, rate)) < 0.05


def test_pytorchs_default_start_does_not_learn_and_hes_does():
    """The lesson's claim: nine modules without normalization, and the starting weights decide."""
    found = {}
    for init in ("torch", "he"):
        torch.manual_seed(0)
        model = GoogLeNet.laptop(8, norm="none", blocks=(2, 5, 2), dropout=0.0, init=init)
        found[init] = losses(model, 30, 1e-3)
    assert min(found["torch"]) > math.log(8) - 0.01
    assert min(found["he"]) < 0.1


def test_starting_weights_are_what_they_are_called():
    torch.manual_seed(0)
    he, tf = GoogLeNet.laptop(norm="none", aux=True), GoogLeNet.laptop(norm="none", aux=True, init="truncated")
    heads = [he.head[-1], he.aux["4a"].classifier]
    for layer in he.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.numel() > 2000:
            want = 0.01 if layer in heads else math.sqrt(2 / layer.weight[0].numel())  # He et al. 2015, eq. 10
            assert layer.weight.std().item() == pytest.approx(want, rel=0.1)  # 2000 draws: 1.6 % is one deviation
            assert not layer.bias.any()
    convolutions = [layer.weight for layer in tf.modules() if isinstance(layer, nn.Conv2d)]
    assert max(w.abs().max() for w in convolutions) <= 0.02
    assert torch.cat([w.flatten() for w in convolutions]).std().item() == pytest.approx(0.0088, rel=0.02)


def test_same_seed_same_network():
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in GoogLeNet.laptop(aux=True).parameters()])

    assert torch.equal(weights(3), weights(3)) and not torch.equal(weights(3), weights(4))


# ----------------------------------------------------------------------------------------------------------- width rule

counts = st.integers(1, 300).map(lambda k: 4 * k)  # every count in the papers' tables is a multiple of 4
widths = st.floats(0.01, 4)


@given(st.integers(1, 2000))
def test_width_one_is_the_paper(count):
    assert layers.channels(count, 1.0) == layers.channels(count, 1) == count


@given(counts, widths)
def test_width_gives_multiples_of_four_near_the_share(count, width):
    got = layers.channels(count, width)
    assert isinstance(got, int) and got >= 4 and got % 4 == 0
    assert abs(got - count * width) <= 2 + 1e-6 or (got == 4 and count * width < 4)


@given(counts, counts, widths, widths)
def test_width_rule_is_monotone(a, b, v, w):
    (a, b), (v, w) = sorted((a, b)), sorted((v, w))
    assert layers.channels(a, v) <= layers.channels(b, v) <= layers.channels(b, w)


def test_width_reaches_every_layer():
    thin, paper = meta(GoogLeNet, width=0.5, aux=True), meta(GoogLeNet, aux=True)
    for (name, a), b in zip(thin.named_modules(), paper.modules(), strict=True):
        if isinstance(a, nn.Conv2d):
            assert a.out_channels == layers.channels(b.out_channels, 0.5), name
        if isinstance(a, nn.Linear) and a.out_features != 1000:
            assert a.out_features == b.out_features // 2, name


# -------------------------------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_classes": 0}, "num_classes is a whole number of at least 1, not 0"),
        ({"num_classes": -3}, "num_classes is a whole number of at least 1, not -3"),
        ({"num_classes": 2.5}, "num_classes is a whole number of at least 1, not 2.5"),
        ({"num_classes": True}, "num_classes is a whole number of at least 1, not True"),
        ({"width": 0}, "width is a number above 0 .*, not 0"),
        ({"width": -0.5}, "width is a number above 0 .*, not -0.5"),
        ({"width": float("nan")}, "width is a number above 0 .*, not nan"),
        ({"width": "wide"}, "width is a number above 0 .*, not 'wide'"),
        ({"init": "xavier"}, "init is 'he', 'truncated' or 'torch', not 'xavier'"),
        ({"norm": "batch"}, "norm is .*, not 'batch'"),
        ({"dropout": 1.5}, "between 0 and 1, but got 1.5"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("kind", [GoogLeNet, NIN, Plain])
def test_bad_arguments_of_every_network(kind, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(**change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"blocks": (3, 5, 2)}, r"at most \(2, 5, 2\), not \(3, 5, 2\)"),
        ({"blocks": (2, 6, 2)}, r"not \(2, 6, 2\)"),
        ({"blocks": (1, 2, -1)}, r"not \(1, 2, -1\)"),
        ({"blocks": (1, 2)}, r"groups 3, 4, 5 .* not \(1, 2\)"),
        ({"stem": "tiny"}, "stem is one of 'full', 'small', not 'tiny'"),
        ({"norm": "batch"}, "norm is one of 'lrn', 'none', 'bn', not 'batch'"),
        ({"kernel5": 4}, "kernel5 is one of 5, 3, not 4"),
        ({"pool4": 1}, "pool4 is one of 3, 2, not 1"),
        ({"aux_pool": "max"}, "aux_pool is one of 'paper', 'adaptive', not 'max'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_arguments_of_googlenet(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        GoogLeNet(**change)


@pytest.mark.parametrize("kind", [GoogLeNet, NIN, Plain])
@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.zeros(3, 32, 32), r"shape \(N, 3, H, W\), not \(3, 32, 32\)"),
        (torch.zeros(2, 1, 32, 32), r"shape \(N, 3, H, W\), not \(2, 1, 32, 32\)"),
        (torch.zeros(2, 32, 32, 3), r"shape \(N, 3, H, W\), not \(2, 32, 32, 3\)"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "floating-point images .*, not torch.uint8"),
    ],
)
def test_wrong_images(kind, images, sentence):
    model = kind.laptop()
    for forward in (model.forward, getattr(model, "forward_with_aux", model.forward)):
        with pytest.raises(ValueError, match=sentence):
            forward(images)


@pytest.mark.parametrize(
    ("make", "smallest"),
    [(lambda: GoogLeNet.laptop(stem="full"), 31), (GoogLeNet.laptop, 7), (NIN.laptop, 4), (Plain.laptop, 1)],
    ids=["full", "small", "NIN", "Plain"],
)
def test_images_too_small_for_the_pools(make, smallest):
    model = make().eval()
    assert model(torch.zeros(1, 3, smallest, smallest)).shape == (1, 10)
    if smallest > 1:
        with pytest.raises(ValueError, match=rf"at least {smallest} x {smallest} pixels, not \({smallest - 1}, 40\)"):
            model(torch.zeros(1, 3, smallest - 1, 40))
