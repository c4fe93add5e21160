"""The words that the networks are written in: scope, starting weights, width rule, units, branches, folding."""

import dataclasses
import math
from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from inception_lessons import layers
from inception_lessons.baselines import MLPConv
from inception_lessons.inception_resnet import Residual
from inception_lessons.layers import Concat, Maker, Scope

FIELDS = "init, deviation, eps, momentum, dropout, weight_decay"

# ---------------------------------------------------------------------------------------------------------------- scope


def test_scope_is_slims_but_for_the_momentum():
    assert dataclasses.asdict(Scope()) == {
        "init": "he",
        "deviation": None,
        "eps": 1e-3,
        "momentum": 0.1,
        "dropout": 0.2,
        "weight_decay": 4e-5,
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scope().eps = 1e-5


def test_keep_is_what_the_papers_print():
    assert Scope(dropout=0.4).keep == 0.6 and Scope(dropout=0.0).keep == 1.0 and Scope().keep == 0.8


def test_but_changes_these_fields_and_no_other():
    scope = Scope(eps=1e-5, dropout=0.5)
    changed = scope.but(dropout=0.1, init="truncated")
    assert dataclasses.asdict(changed) == dataclasses.asdict(scope) | {"dropout": 0.1, "init": "truncated"}
    assert scope == Scope(eps=1e-5, dropout=0.5) and scope.but() == scope


def test_but_names_a_field_that_there_is_not():
    with pytest.raises(TypeError, match=rf"no argument 'epsilon': .* takes {FIELDS}$"):
        Scope().but(eps=1e-5, epsilon=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"init": "xavier"}, "init is 'he', 'truncated' or 'torch', not 'xavier'"),
        ({"init": None}, "init is 'he', 'truncated' or 'torch', not None"),
        ({"eps": -1e-3}, "eps is a number from 0 to 1, not -0.001"),
        ({"eps": float("nan")}, "eps is a number from 0 to 1, not nan"),
        ({"eps": "1e-3"}, "eps is a number from 0 to 1, not '1e-3'"),
        ({"momentum": 1.1}, "momentum is a number from 0 to 1, not 1.1"),
        ({"momentum": None}, "momentum is a number from 0 to 1, not None"),
        ({"dropout": 80}, "dropout is a number from 0 to 1, not 80"),
        ({"dropout": True}, "dropout is a number from 0 to 1, not True"),
        ({"weight_decay": -4e-5}, "weight_decay is a number from 0 to inf, not -4e-05"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_scope_refuses_what_cannot_be(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Scope(**change)
    with pytest.raises(ValueError, match=sentence):
        Scope().but(**change)


def test_unit_has_the_scopes_batch_norm():
    unit = Scope(eps=0.02, momentum=0.3).unit(3, 4, 3, 2)
    assert (unit.norm.eps, unit.norm.momentum) == (0.02, 0.3)
    assert unit(torch.zeros(2, 3, 8, 8)).shape == (2, 4, 4, 4)


# ----------------------------------------------------------------------------------------------------- starting weights


def rows(*sizes) -> nn.Sequential:
    """Layers large enough for their deviation to be measured, with biases that are not 0."""
    made = nn.Sequential(
        *(nn.Conv2d(c_in, 64, kernel, groups=groups) for c_in, kernel, groups in sizes), nn.Linear(500, 200)
    )
    for layer in made:
        nn.init.ones_(layer.bias)
    return made


SIZES = ((64, 3, 1), (256, 1, 1), (64, (1, 7), 2))
FAN_IN = (64 * 9, 256, 32 * 7, 500)


@pytest.mark.parametrize("init", ["he", "truncated"])
def test_variance_is_two_over_fan_in(init):
    """He et al. 2015, equation 10; and TF-slim's variance scaling, which makes up for the tails that it cuts."""
    torch.manual_seed(0)
    model = rows(*SIZES)
    layers.initialize(model, init)
    for layer, fan_in in zip(model, FAN_IN, strict=True):
        weight = layer.weight
        assert weight.numel() > 14_000  # the standard error of a variance: sqrt(2 / 14,000) = 1.2 %
        assert (weight.var() * fan_in / 2).item() == pytest.approx(1, abs=0.05)
        largest = weight.abs().max().item() / math.sqrt(2 / fan_in)
        assert largest <= 2 * math.sqrt(1.3) + 1e-4 if init == "truncated" else largest > 3
        assert not layer.bias.any()


def test_truncated_with_a_deviation():
    """The deviation is that before cutting, as TensorFlow has it: what is left has 0.88 of it."""
    torch.manual_seed(0)
    model = rows(*SIZES)
    layers.initialize(model, "truncated", deviation=0.01)
    for layer in model:
        assert layer.weight.abs().max().item() == pytest.approx(0.02, rel=0.01) and layer.weight.abs().max() <= 0.02
        assert layer.weight.std().item() == pytest.approx(0.0088, rel=0.03)


def test_heads_start_small_and_torch_touches_nothing():
    torch.manual_seed(0)
    model = rows(*SIZES)
    before = [p.clone() for p in model.parameters()]
    layers.initialize(model, "torch", [model[-1]], 0.01)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    for init in ("he", "truncated"):
        layers.initialize(model, init, [None, model[-1]])
        assert model[-1].weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert model[0].weight.std().item() == pytest.approx(math.sqrt(2 / 576), rel=0.03)
    with pytest.raises(ValueError, match="init is 'he', 'truncated' or 'torch', not 'zeros'"):
        layers.initialize(model, "zeros")


# ----------------------------------------------------------------------------------------------------------- width rule

counts = st.integers(1, 300).map(lambda k: 4 * k)  # every count in the papers' tables is a multiple of 4
widths = st.floats(0.01, 4)


@given(st.integers(1, 2000))
def test_width_one_is_the_paper(count):
    assert layers.channels(count, 1.0) == layers.channels(count, 1) == count


@given(counts, widths)
def test_width_gives_multiples_of_four_near_the_share(count, width):
    got = layers.channels(count, width)
    assert isinstance(got, int) and got >= 4
    assert got % 4 == 0
    assert abs(got - count * width) <= 2 + 1e-6 or (got == 4 and count * width < 4)


@given(counts, counts, widths, widths)
def test_width_rule_is_monotone(a, b, v, w):
    (a, b), (v, w) = sorted((a, b)), sorted((v, w))
    assert layers.channels(a, v) <= layers.channels(b, v) <= layers.channels(b, w)


def test_maker_thins_and_hands_on():
    def kind(c_in, a, b, *, unit, extra):
        return c_in, a, b, unit, extra

    make = Maker(0.25, layers.conv)
    assert make(kind, 64, 100, extra="x")(7) == (7, 16, 24, layers.conv, "x")
    unit = make.conv(64, (1, 7), 2, 0)(5)
    convolution = unit.conv
    assert (convolution.in_channels, convolution.out_channels) == (5, 16)
    assert (convolution.kernel_size, convolution.stride, convolution.padding) == ((1, 7), (2, 2), (0, 0))


# ------------------------------------------------------------------------------------------- units, branches and chains


def test_units_pad_to_keep_the_grid():
    x = torch.zeros(1, 3, 9, 11)
    for unit in (layers.conv, layers.conv_bn):
        for kernel in (1, 3, 5, 7, (1, 7), (7, 1)):
            assert unit(3, 4, kernel)(x).shape == (1, 4, 9, 11)
        assert unit(3, 4, 3, stride=2)(x).shape == (1, 4, 5, 6)
        assert unit(3, 4, 3, padding=layers.VALID)(x).shape == (1, 4, 7, 9)
        assert unit(3, 4, 3, 2, layers.VALID)(x).shape == (1, 4, 4, 5)
        assert unit(3, 4, (1, 3), 1, layers.VALID)(x).shape == (1, 4, 9, 9)
    assert MLPConv(3, (4, 8, 12), 5, 2)(x).shape == (1, 12, 5, 6)
    assert layers.conv_bn(3, 4, 1).norm.eps == 1e-3 and layers.conv_bn(3, 4, 1).norm.momentum == 0.1
    assert layers.conv_bn(3, 4, 1).conv.bias is None and layers.conv(3, 4, 1).conv.bias is not None


def test_groups_see_their_own_channels_only():
    unit, x = layers.conv(4, 6, 3, groups=2), torch.randn(1, 4, 5, 5)
    changed = x.clone()
    changed[:, 2:] += 1
    difference = (unit(x) - unit(changed)).abs().amax((0, 2, 3))
    assert unit.conv.weight.shape == (6, 2, 3, 3)
    assert not difference[:3].any() and difference[3:].any()


def test_concat_keeps_the_order_in_which_it_is_written():
    branches = Concat(b=nn.Conv2d(2, 3, 1), a=nn.MaxPool2d(3, 1, 1), c=nn.Conv2d(2, 1, 3, 1, 1))
    x = torch.randn(2, 2, 4, 5)
    out = branches(x)
    assert list(branches) == ["b", "a", "c"] and out.shape == (2, 6, 4, 5)
    for name, part in zip("bac", out.split([3, 2, 1], 1), strict=True):
        assert torch.equal(part, branches[name](x)), name


def test_channels_out_is_what_comes_out():
    x = torch.zeros(1, 8, 9, 9)
    modules = [
        nn.MaxPool2d(3, 2),
        layers.conv_bn(8, 12, 3),
        nn.Sequential(nn.MaxPool2d(3), layers.conv(8, 5, 1), nn.Conv2d(5, 7, 1)),
        Concat(a=nn.Conv2d(8, 3, 1), pool=nn.MaxPool2d(1)),
        nn.Sequential(nn.Conv2d(8, 4, 1), Concat(a=nn.Conv2d(4, 3, 1), b=nn.Identity())),
        Residual(8, Concat(a=nn.Conv2d(8, 3, 1), b=nn.Conv2d(8, 2, 1)), scale=0.1),
    ]
    for module in modules:
        assert layers.channels_out(module, 8) == module(x).shape[1], module


def test_chain_tells_each_stage_what_reaches_it():
    told = []

    def row(c_out):
        def make(c_in):
            told.append(c_in)
            return nn.Conv2d(c_in, c_out, 1) if c_out else nn.MaxPool2d(2)

        return make

    stages, widths = layers.chain(3, [("a", row(5)), ("pool", row(None)), ("b", row(7))])
    assert list(stages) == ["a", "pool", "b"] and told == [3, 5, 5] and widths == {"a": 5, "pool": 5, "b": 7}


# ------------------------------------------------------------------------------------------------------- residual block


@pytest.fixture
def block():
    """Two branches of one convolution each, in float64."""
    torch.manual_seed(0)
    branches = Concat(a=nn.Conv2d(4, 3, 1), b=nn.Sequential(nn.Conv2d(4, 2, 3, 1, 1)))
    return Residual(4, branches, scale=0.3).double()


def test_residual_by_hand(block):
    """ReLU(x + scale * (W concat + b)): the bias is scaled too, and nothing else is done to the sum."""
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    both = torch.cat([block.branches["a"](x), block.branches["b"](x)], 1)
    weight, bias = block.up.weight[:, :, 0, 0], block.up.bias
    assert weight.shape == (4, 5)
    total = x + 0.3 * (torch.einsum("oc,nchw->nohw", weight, both) + bias[:, None, None])
    assert (total < 0).any() and (total > 0).any()
    torch.testing.assert_close(block(x), total.clamp(min=0))
    block.relu = False
    torch.testing.assert_close(block(x), total)


def test_residual_of_scale_zero_is_its_input(block):
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    kept = x.clone()
    block.scale = 0
    assert torch.equal(block(x), x.clamp(min=0))
    block.relu = False
    assert torch.equal(block(x), x)
    assert torch.equal(x, kept)  # the sum is not written over the input


def test_residual_gradient_runs_past_the_branches(block):
    x = torch.rand(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)
    block.scale, block.relu = 0, False
    (gradient,) = torch.autograd.grad(block(x).sum(), x)
    assert torch.equal(gradient, torch.ones_like(x))


def test_residual_says_what_it_is(block):
    assert "scale=0.3, relu=True" in repr(block)
    assert Residual(4, Concat(a=nn.Conv2d(4, 3, 1)), scale=1.0, relu=False).extra_repr() == "scale=1.0, relu=False"


# -------------------------------------------------------------------------------------------------------------- folding


def test_fold_by_hand():
    """weight * gamma / sqrt(var + eps), and beta - mean * gamma / sqrt(var + eps)."""
    torch.manual_seed(0)
    unit = layers.conv_bn(2, 3, 3, eps=0.5).double().eval()
    for numbers in (unit.norm.weight, unit.norm.bias, unit.norm.running_mean, unit.norm.running_var):
        nn.init.uniform_(numbers, 0.5, 1.5)
    folded = layers.fold(nn.Sequential(unit).eval())[0]
    factor = unit.norm.weight / (unit.norm.running_var + 0.5).sqrt()
    torch.testing.assert_close(folded.conv.weight, unit.conv.weight * factor[:, None, None, None])
    torch.testing.assert_close(folded.conv.bias, unit.norm.bias - unit.norm.running_mean * factor)
    assert list(dict(folded.named_children())) == ["conv", "relu"] and unit.conv.bias is None


class Twice(nn.Sequential):
    """What looks like an average and a unit, and does something else."""

    def forward(self, x):
        return super().forward(super().forward(x))


def named(**parts):
    return nn.Sequential(OrderedDict(parts))


POOLED = {  # what stands in the branch, and whether the average moves
    "1 x 1": (lambda: nn.Sequential(nn.AvgPool2d(3, 1, 1), layers.conv_bn(4, 4, 1)), True),
    "a divisor of its own": (
        lambda: nn.Sequential(
            nn.AvgPool2d(3, 1, 1, count_include_pad=False, divisor_override=4), layers.conv_bn(4, 4, 1)
        ),
        True,
    ),
    "no bias": (
        lambda: nn.Sequential(nn.AvgPool2d(3, 1, 1), named(conv=nn.Conv2d(4, 4, 1, bias=False), relu=nn.ReLU())),
        True,
    ),
    "3 x 3": (lambda: nn.Sequential(nn.AvgPool2d(3, 1, 1), layers.conv_bn(4, 4, 3)), False),
    "stride": (lambda: nn.Sequential(nn.AvgPool2d(2, 1), layers.conv_bn(4, 4, 1, 2)), False),
    "padding": (lambda: nn.Sequential(nn.AvgPool2d(3, 1), layers.conv_bn(4, 4, 1, padding=1)), False),
    "no names": (
        lambda: nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())),
        False,
    ),
    "no ReLU": (
        lambda: nn.Sequential(nn.AvgPool2d(3, 1, 1), named(conv=nn.Conv2d(4, 4, 1), norm=nn.BatchNorm2d(4))),
        False,
    ),
    "one more": (
        lambda: nn.Sequential(
            nn.AvgPool2d(3, 1, 1), named(conv=nn.Conv2d(4, 4, 1), relu=nn.ReLU(), more=nn.Conv2d(4, 4, 1))
        ),
        False,
    ),
    "another way forward": (lambda: Twice(nn.AvgPool2d(3, 1, 1), layers.conv_bn(4, 4, 1)), False),
}


@pytest.mark.parametrize("make, moves", POOLED.values(), ids=POOLED)
@torch.no_grad()
def test_fold_moves_only_averages_that_may_move(make, moves):
    torch.manual_seed(0)
    model = nn.Sequential(Concat(pool=make())).double().eval()
    for norm in (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)):
        for numbers in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            nn.init.uniform_(numbers, 0.5, 1.5)
    folded, x = layers.fold(model), torch.randn(2, 4, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(folded(x), model(x))
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert isinstance(folded[0]["pool"][0], nn.Conv2d) == moves


# ------------------------------------------------------------------------------------------------------ wrong arguments


@pytest.mark.parametrize("blocks", [None, 3, "123", (1, 2), (1, 2, 3, 4), (1, 2.0, 3), (1, True, 3)])
def test_blocks_are_whole_numbers_for_each_group(blocks):
    with pytest.raises(ValueError, match="blocks is 3 whole numbers, how many modules of kinds A, B, C there are, not"):
        layers.check_blocks(blocks, "kinds A, B, C")


@pytest.mark.parametrize(
    ("blocks", "most"), [((1, -1, 1), None), ((1, 101, 1), None), ((2, 1, 1), (1, 1, 1)), ((0, 0, -1), (1, 1, 1))]
)
def test_blocks_have_their_limits(blocks, most):
    limit = r"at most \(1, 1, 1\)" if most else "none below 0 or above 100"
    with pytest.raises(ValueError, match=rf"modules of groups 1 to 3 there are, {limit}, not \({blocks[0]}, "):
        layers.check_blocks(blocks, "groups 1 to 3", most)
    layers.check_blocks([0, 1, 1], "groups 1 to 3", most)
    layers.check_blocks((0, 100, 1), "groups 1 to 3", most and (1, 100, 1))


def test_choices_are_told():
    layers.check_choice("stem", "full", ("full", "small"))
    with pytest.raises(ValueError, match="stem is one of 'full', 'small', not None"):
        layers.check_choice("stem", None, ("full", "small"))
    with pytest.raises(ValueError, match="pool is one of 1, 2, not True"):
        layers.check_choice("pool", True, (1, 2))


@pytest.mark.parametrize("deviation", [0, -1, 0.0, -0.5, "x", True, float("nan"), float("inf")])
def test_a_deviation_is_a_number_above_0(deviation):
    with pytest.raises(ValueError, match=f"deviation is a number above 0, or None, not {deviation!r}"):
        layers.Scope(deviation=deviation)


@pytest.mark.parametrize("deviation", [1, 0.5, None])
def test_a_deviation_may_be_whole(deviation):
    assert Scope(deviation=deviation).deviation == deviation


@pytest.mark.parametrize("width", [float("inf"), float("nan"), True, 0, 4.01, 10**400])
def test_a_width_is_a_number_above_0_and_not_absurd(width):
    with pytest.raises(ValueError, match=f"width is a number above 0 and at most 4 .*, not {width!r}"):
        layers.check_size(10, width)
    layers.check_size(100_000, 4)
    with pytest.raises(ValueError, match="num_classes is a whole number of at most 100,000, not 100001"):
        layers.check_size(100_001, 4)


def test_a_choice_is_of_the_same_type():
    layers.check_choice("kernel5", 5, (5, 3))
    for value in (5.0, True, "5", None):
        with pytest.raises(ValueError, match=f"kernel5 is one of 5, 3, not {value!r}"):
            layers.check_choice("kernel5", value, (5, 3))
