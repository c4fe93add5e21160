"""Other people's networks, to compare ours with: torchvision, timm, pretrainedmodels, facenet-pytorch."""

import functools
import importlib
import os
import sys

import pytest
import torch
from torch import nn

_kept = []  # torch forgets an operator's schema when its Library is collected


def torchvision():
    """torchvision, if need be beside a torch that its compiled part was not built for: that part is not used here."""
    return _package("torchvision")


def timm():
    """timm, for Inception V3, V4 and Inception-ResNet-v2 in TF-slim's form."""
    return _package("timm")


def pretrainedmodels():
    """Cadene's pretrainedmodels, for BN-Inception. It asks for nothing that torch does not have any more."""
    return _package("pretrainedmodels")


def facenet():
    """facenet-pytorch, for Inception-ResNet-v1. It names an older torch; its network does not need one."""
    return _package("facenet_pytorch")


@functools.cache
def _imported(name: str):
    """The package, or the sentence that says why it cannot be imported."""
    try:
        if name != "torchvision":  # the others import it, and it may need the operators declared
            found = _imported("torchvision")
            if isinstance(found, str):
                return found
            return importlib.import_module(name)
        try:
            return importlib.import_module(name)
        except RuntimeError:  # operator torchvision::nms does not exist
            for part in [part for part in sys.modules if part.split(".")[0] == name]:
                del sys.modules[part]
            library = torch.library.Library(name, "FRAGMENT")
            for operator in ("nms", "qnms"):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _kept.append(library)
            return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        return f"{name} (extra: parity) cannot be imported: {error}"


def _package(name: str):
    found = _imported(name)
    if isinstance(found, str):
        absent(found)
    return found


def absent(reason: str) -> None:
    """Skip the test for this reason; under CI, where everything is to be there, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
    """Network -> the same network with random weights of He's size, random biases and batch-norm statistics.

    With small weights, or fresh statistics, the logits would hardly depend on the image, and a comparison would prove
    nothing: means of 0, variances of 1 and biases of 0 may all be left out, or swapped, unseen.
    """
    make = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=make)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.2, generator=make)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.8, 1.2, generator=make)
            nn.init.normal_(layer.bias, std=0.2, generator=make)
            nn.init.normal_(layer.running_mean, std=0.2, generator=make)
            nn.init.uniform_(layer.running_var, 0.5, 1.5, generator=make)
    return model
