"""Batch normalization written out to be read, "Batch Normalization: Accelerating Deep Network Training by Reducing
Internal Covariate Shift", arXiv:1502.03167.

The networks of the course use ``torch.nn.BatchNorm2d``, which computes the same and is faster. Here every step of the
paper's Algorithms 1 and 2 has its own line.
"""

import math

import torch
from torch import Tensor, nn


class BatchNorm2d(nn.Module):
    """(N, C, H, W) -> (N, C, H, W): each channel normalized, then scaled by gamma and shifted by beta.

    In training mode with the mean and variance of this batch, over its images and positions alike: one gamma and one
    beta serve a whole feature map (section 3.2). In evaluation mode with the running averages, so that an image's
    output does not depend on its neighbours. Equal to ``torch.nn.BatchNorm2d`` in the output of both modes, both
    running statistics and the gradients; parameters and buffers have the same names.

    ``momentum`` is the weight of the *new* batch in the running averages, PyTorch's way; TensorFlow's decay is one
    minus it. Raises ValueError for anything but (N, C, H, W) with ``num_features`` channels, and in training mode for a
    single value a channel, whose variance says nothing; and for settings that cannot be.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True):
        super().__init__()
        if not isinstance(num_features, int) or num_features < 1:
            raise ValueError(f"num_features is a whole number of at least 1, not {num_features!r}")
        if not (0 <= eps < math.inf and 0 <= momentum <= 1):
            raise ValueError(f"eps is at least 0 and momentum from 0 to 1, not {eps!r} and {momentum!r}")
        self.num_features, self.eps, self.momentum, self.affine = num_features, eps, momentum, affine
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None  # gamma
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None  # beta
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ValueError(f"wanted a batch of shape (N, {self.num_features}, H, W), got {tuple(x.shape)}")
        if self.training:
            mean, variance = self.batch_statistics(x)
        else:
            mean, variance = self.running_mean, self.running_var
        x = (x - per_channel(mean)) / torch.sqrt(per_channel(variance) + self.eps)
        if self.affine:
            x = per_channel(self.weight) * x + per_channel(self.bias)
        return x

    def batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> mean and variance of each channel, (C,) and (C,); the running averages take a step towards
        them.

        The batch is normalized with the mean of the squares (divided by m). The running average estimates the variance
        of all data, so it takes the unbiased one (divided by m - 1): Algorithm 2, step 10.
        """
        count = x.numel() // x.shape[1]
        if count < 2:
            raise ValueError(f"training needs more than one value per channel, got a batch of shape {tuple(x.shape)}")
        mean = x.mean(dim=(0, 2, 3))
        variance = (x - per_channel(mean)).square().mean(dim=(0, 2, 3))
        with torch.no_grad():  # the averages are remembered, not learned
            unbiased = variance * count / (count - 1)
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (unbiased - self.running_var)
            self.num_batches_tracked += 1
        return mean, variance

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"


def per_channel(values: Tensor) -> Tensor:
    """(C,) -> (1, C, 1, 1), so that it meets the channels of (N, C, H, W)."""
    return values[None, :, None, None]
