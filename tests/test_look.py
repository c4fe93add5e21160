"""`inception_lessons.look` shows what the network really computes, and leaves it as it was."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from inception_lessons import look
from inception_lessons.baselines import NIN
from inception_lessons.googlenet import GoogLeNet

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture
def images():
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model():
    """In training mode but for one frozen stage, with statistics that make the two modes differ."""
    torch.manual_seed(0)
    network = GoogLeNet.laptop(norm="bn")
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    network.train().stages["conv1"].eval()
    return network


@pytest.fixture
def unchanged(model):
    """After the test: no hook, no gradient, no other weight or statistic, every layer in the mode it was in."""
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    assert len(set(modes)) == 2
    yield
    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


@torch.no_grad()
def by_hand(model, x) -> dict[str, torch.Tensor]:
    """Each stage's output in evaluation mode, by a loop, from a copy."""
    found = {}
    for name, stage in copy.deepcopy(model).eval().stages.items():
        x = found[name] = stage(x.clone())
    return found


# ---------------------------------------------------------------------------------------------------------- activations


def test_activations_are_those_of_a_forward_pass(model, images, unchanged):
    want = by_hand(model, images)
    found = look.activations(model, images)
    assert list(found) == list(model.stages)
    for name, value in found.items():
        assert torch.equal(value, want[name]) and not value.requires_grad
    some = look.activations(model, images, ["4a", "conv1"])
    assert list(some) == ["4a", "conv1"] and torch.equal(some["4a"], want["4a"])


def test_activations_survive_layers_that_work_in_place(images):
    """A stage that changes its input where it lies must not change what was recorded before it."""

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 3), "relu": nn.ReLU(inplace=True)})

        def forward(self, x):
            return self.stages["relu"](self.stages["conv"](x))

    small = Small()
    found = look.activations(small, images)
    assert found["conv"].min() < 0
    assert torch.equal(found["conv"], small.stages["conv"](images)) and torch.equal(found["relu"], found["conv"].relu())


def test_unknown_stage(model, images, unchanged):
    with pytest.raises(ValueError, match="no stage 3b, 9z; this network has conv1, conv2_reduce, conv2, 3a, .*5a"):
        look.activations(model, images, ["3a", "3b", "9z"])


def test_nothing_stays_behind_when_the_pass_fails(model, unchanged):
    with pytest.raises(ValueError, match="N, 3, H, W"):
        look.activations(model, torch.zeros(2, 1, 32, 32))


# ------------------------------------------------------------------------------------------------------------- branches


def test_branches_are_the_parts_of_their_stage(model, images, unchanged):
    found = look.branches(model, images, "4a")
    want = by_hand(model, images)
    assert list(found) == ["b1", "b3", "b5", "pool"]
    assert torch.equal(torch.cat(list(found.values()), 1), want["4a"])
    frozen = model.stages["4a"].branches["b3"]
    modes = [m.training for m in frozen.modules()]
    with torch.no_grad():
        assert torch.equal(found["b3"], frozen.eval()(want["pool3"]))
    for module, mode in zip(frozen.modules(), modes, strict=True):
        module.training = mode


def test_stages_without_branches(model):
    assert look.branch_modules(model, "3a") is model.stages["3a"].branches
    for name in ("conv1", "3b"):
        with pytest.raises(ValueError, match=f"stage '{name}' has no branches; those that have are 3a, 4a, 4b, 5a"):
            look.branch_modules(model, name)
    with pytest.raises(ValueError, match="those that have are none"):
        look.branches(NIN.laptop(), torch.zeros(1, 3, 32, 32), "mlpconv1")


# ------------------------------------------------------------------------------------------------------------- ablation


def test_ablate_holds_the_branch_at_its_mean(model, images, unchanged):
    before, plain = look.branches(model, images, "4a"), by_hand(model, images)
    mean = before["b5"].mean(0, keepdim=True)
    assert (before["b5"] - mean).abs().max() > 0.1
    others = images[:4].flip(3) * 2  # other images than the mean was taken over, and fewer
    intact = look.branches(model, others, "4a")
    with look.ablate(model, "4a", "b5", images) as inside:
        assert inside is model
        during, after = look.branches(model, others, "4a"), look.activations(model, images)
    torch.testing.assert_close(during["b5"], mean.expand(4, -1, -1, -1))
    for name in ("b1", "b3", "pool"):
        assert torch.equal(during[name], intact[name])
    assert torch.equal(after["3a"], plain["3a"])  # nothing before it changes, all after it does
    assert not torch.equal(after["4a"], plain["4a"]) and not torch.equal(after["5a"], plain["5a"])
    again = look.activations(model, images)
    assert all(torch.equal(again[name], plain[name]) for name in plain)


def test_ablate_ends_with_the_block_even_if_it_raises(model, images, unchanged):
    plain = look.activations(model, images, ["5a"])["5a"]
    with pytest.raises(KeyboardInterrupt), look.ablate(model, "4a", "b3", images):
        assert not torch.equal(look.activations(model, images, ["5a"])["5a"], plain)
        raise KeyboardInterrupt
    assert torch.equal(look.activations(model, images, ["5a"])["5a"], plain)


def test_ablations_can_be_nested(model, images, unchanged):
    with look.ablate(model, "3a", "b1", images), look.ablate(model, "3a", "pool", images):
        both = look.branches(model, images, "3a")
    spread = {name: float(value.std(0).max()) for name, value in both.items()}
    assert spread["b1"] < 1e-6 and spread["pool"] < 1e-6 < spread["b3"]


def test_ablate_says_what_there_is(model, images, unchanged):
    with pytest.raises(ValueError, match="no branch 'b7' in 4a; it has b1, b3, b5, pool"):
        with look.ablate(model, "4a", "b7", images):
            pass
    with pytest.raises(ValueError, match="stage 'pool3' has no branches"):
        with look.ablate(model, "pool3", "b1", images):
            pass


@pytest.mark.parametrize("device", DEVICES)
def test_everything_runs_where_the_network_is(device, model, images):
    """Images are taken to the network's device, and what comes back lies in memory."""
    want = look.activations(model, images)
    model.to(device)
    found = look.activations(model, images)
    assert all(value.device.type == "cpu" for value in found.values())
    torch.testing.assert_close(found["5a"], want["5a"], rtol=1e-3, atol=1e-3)  # TF32 is off by default for matmul only
    with look.ablate(model, "4a", "b5", images):
        assert look.branches(model, images, "4a")["b5"].std(0).max() < 1e-6
        assert model.eval()(images.to(device)).device.type == device
    matrix, names = look.branch_correlation(model, images, "3a")
    assert matrix.shape == (len(names), len(names))


# ---------------------------------------------------------------------------------------------------------- correlation


def test_correlation_equals_numpys():
    torch.manual_seed(0)
    maps = torch.randn(5, 4, 3, 6)
    maps[:, 1] = 0.3 * maps[:, 0] - maps[:, 2] + 100  # a large mean must not cost digits
    found = look.correlation(maps)
    want = np.corrcoef(maps.permute(1, 0, 2, 3).reshape(4, -1).double().numpy())
    assert found.dtype == torch.float32 and found.shape == (4, 4)
    np.testing.assert_allclose(found.numpy(), want, atol=1e-6)
    assert abs(want[0, 1]) > 0.2


def test_dead_channels_correlate_with_nothing():
    torch.manual_seed(0)
    maps = torch.randn(5, 4, 3, 7)
    maps[:, 0], maps[:, 2] = 0.0, 0.1  # 0.1 has no exact form: its mean is off by rounding
    found = look.correlation(maps)
    assert not found[[0, 2]].any() and not found[:, [0, 2]].any()
    want = np.corrcoef(maps[:, [1, 3]].permute(1, 0, 2, 3).reshape(2, -1).double().numpy())
    np.testing.assert_allclose(found[[1, 3]][:, [1, 3]].numpy(), want, atol=1e-6)


def test_branch_correlation_is_in_order_of_the_branches(model, images, unchanged):
    matrix, names = look.branch_correlation(model, images, "3a")
    assert names == ["b1"] * 16 + ["b3"] * 32 + ["b5"] * 8 + ["pool"] * 8
    assert torch.equal(matrix, look.correlation(by_hand(model, images)["3a"]))


def test_within_and_across_by_hand():
    matrix = torch.tensor([[1.0, 0.5, 0.1, -0.3], [0.5, 1.0, 0.2, 0.4], [0.1, 0.2, 1.0, -0.9], [-0.3, 0.4, -0.9, 1.0]])
    within, across = look.within_and_across(matrix, ["a", "a", "b", "b"])
    assert within == pytest.approx((0.5 + 0.9) / 2)  # absolute, and without the diagonal
    assert across == pytest.approx((0.1 + 0.3 + 0.2 + 0.4) / 4)
    mixed = matrix[[0, 2, 1, 3]][:, [0, 2, 1, 3]]
    assert look.within_and_across(mixed, ["a", "b", "a", "b"]) == pytest.approx((within, across))


# -------------------------------------------------------------------------------------------------------------- filters


def test_filters_are_a_copy_of_the_first_convolutions(model, unchanged):
    found = look.filters(model)
    assert found.shape == (16, 3, 3, 3) and torch.equal(found, model.stages["conv1"].conv.weight)
    assert not found.requires_grad
    found.zero_()
    with pytest.raises(ValueError, match="no convolution to look at"):
        look.filters(nn.Linear(2, 2))
