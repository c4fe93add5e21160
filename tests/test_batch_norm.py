"""Our batch norm against PyTorch's in everything that can be observed: outputs, running statistics, gradients."""

import copy

import pytest
import torch
from torch import nn

from inception_lessons.batch_norm import BatchNorm2d

SHAPES = [(4, 3, 5, 7), (1, 2, 3, 3), (2, 1, 1, 1), (3, 5, 1, 9), (16, 4, 8, 8)]
SETTINGS = [{}, {"eps": 1e-3, "momentum": 0.3}, {"affine": False}, {"eps": 0.5, "momentum": 0.01, "affine": False}]


def pair(channels: int, **settings) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs with the same random parameters and statistics."""
    theirs = nn.BatchNorm2d(channels, **settings).double()
    for tensor in (theirs.weight, theirs.bias, theirs.running_mean):
        if tensor is not None:
            nn.init.normal_(tensor)
    nn.init.uniform_(theirs.running_var, 0.5, 2.0)
    ours = BatchNorm2d(channels, **settings).double()
    ours.load_state_dict(theirs.state_dict())  # the same names
    return ours, theirs


def batch(shape) -> torch.Tensor:
    """Neither centred nor of unit size, and another in each channel."""
    x = torch.randn(shape, dtype=torch.float64)
    return x * torch.linspace(0.5, 3, shape[1], dtype=torch.float64)[:, None, None] + 2


def observe(layer: nn.Module, batches: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Outputs in both modes, running statistics and all gradients of a few steps."""
    found = {}
    layer.train()
    for step, x in enumerate(batches):
        x = x.clone().requires_grad_()
        out = layer(x)
        (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape)).square().sum().backward()
        found |= {f"output {step}": out.detach(), f"gradient {step}": x.grad}
    found |= {f"gradient of {name}": p.grad for name, p in layer.named_parameters()}
    found |= {name: value.clone() for name, value in layer.named_buffers()}
    layer.eval()
    x = batches[0].clone().requires_grad_()
    out = layer(x)
    out.square().sum().backward()
    return found | {"output in evaluation": out.detach(), "gradient in evaluation": x.grad}


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: " ".join(f"{k}={v}" for k, v in s.items()) or "default")
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_equal_to_pytorchs(shape, settings):
    torch.manual_seed(0)
    ours, theirs = pair(shape[1], **settings)
    batches = [batch(shape) for _ in range(3)]
    got, want = observe(ours, batches), observe(theirs, batches)
    assert list(got) == list(want)
    for name in want:
        torch.testing.assert_close(
            got[name], want[name], rtol=1e-10, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_evaluation_is_one_image_at_a_time():
    layer, _ = pair(3)
    layer.eval()
    before, x = copy.deepcopy(layer.state_dict()), batch((5, 3, 4, 4))
    assert torch.equal(layer(x)[2:3], layer(x[2:3]))
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    with torch.no_grad():  # the mode is .train() and .eval(), not whether gradients are wanted
        torch.testing.assert_close(layer.train()(x).mean((0, 2, 3)), layer.bias)


def test_single_precision_and_channels_last():
    torch.manual_seed(0)
    ours, theirs = (layer.float() for layer in pair(8))
    x = batch((6, 8, 5, 5)).float().to(memory_format=torch.channels_last)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 2, 5, 5), (3, 5, 5), (4, 3)])
def test_wrong_shapes(shape):
    with pytest.raises(
        ValueError, match=r"wanted a batch of shape \(N, 3, H, W\), got \(" + ", ".join(map(str, shape))
    ):
        BatchNorm2d(3)(torch.zeros(shape))


def test_one_value_has_no_variance():
    layer, one = BatchNorm2d(3), torch.zeros(1, 3, 1, 1)
    with pytest.raises(ValueError, match=r"more than one value per channel, got a batch of shape \(1, 3, 1, 1\)"):
        layer(one)
    with pytest.raises(ValueError):
        nn.BatchNorm2d(3)(one)
    assert layer.eval()(one).shape == one.shape
