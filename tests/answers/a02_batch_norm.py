"""Assignment 02: batch norm over groups, with padding, folded forwards, merged from parts."""

from marking import Wrong

RIGHT = {
    "2.1": {
        "batch norm on a reshaped batch": '''
import torch
import torch.nn.functional as F

class GroupedBatchNorm(torch.nn.Module):
    def __init__(self, channels, groups, eps=1e-5, momentum=0.1):
        super().__init__()
        if channels // groups * groups != channels:
            raise ValueError("no")
        self.g, self.e, self.m = groups, eps, momentum
        self.weight = torch.nn.Parameter(torch.ones(channels))
        self.bias = torch.nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(groups))
        self.register_buffer("running_var", torch.ones(groups))

    def forward(self, x):
        flat = x.reshape(x.shape[0], self.g, -1)
        flat = F.batch_norm(flat, self.running_mean, self.running_var, training=self.training, momentum=self.m, eps=self.e)
        return torch.einsum("nchw,c->nchw", flat.reshape(x.shape), self.weight) + self.bias.reshape(1, -1, 1, 1)
''',
        "group by group, in a loop": '''
import torch
from torch import nn

class GroupedBatchNorm(nn.Module):
    def __init__(self, channels, groups, eps=1e-5, momentum=0.1):
        super().__init__()
        if channels % groups != 0:
            raise ValueError(groups)
        self.norms = groups
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.full((channels,), 1.0))
        self.bias = nn.Parameter(torch.full((channels,), 0.0))
        self.register_buffer("running_mean", torch.zeros(groups))
        self.register_buffer("running_var", torch.ones(groups))

    def forward(self, x):
        outs = []
        for i, part in enumerate(torch.chunk(x, self.norms, dim=1)):
            if self.training:
                var, mean = torch.var_mean(part, correction=0)
                unbiased = part.var().detach()
                self.running_mean[i] = (1 - self.momentum) * self.running_mean[i] + self.momentum * mean.detach()
                self.running_var[i] = (1 - self.momentum) * self.running_var[i] + self.momentum * unbiased
            else:
                mean, var = self.running_mean[i], self.running_var[i]
            outs.append((part - mean) / (var + self.eps) ** 0.5)
        return torch.cat(outs, 1) * self.weight.reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)
''',
    },
    "2.2": {
        "weighted sums, padding taken out first": '''
import torch

def masked_batch_norm(x, real, eps=1e-5):
    if real.sum() == 0:
        raise ValueError("nothing there")
    weight = real.to(x.dtype)[:, None, None, None]
    clean = torch.where(real[:, None, None, None], x, torch.zeros_like(x))
    count = real.sum() * x.shape[2] * x.shape[3]
    mean = clean.sum((0, 2, 3)) / count
    centred = (clean - mean[None, :, None, None]) * weight
    squares = centred.pow(2).sum((0, 2, 3))
    return centred / (squares / count + eps).sqrt()[None, :, None, None], mean, squares / (count - 1)
''',
        "torch's batch norm on the real ones": '''
import torch
import torch.nn.functional as F

def masked_batch_norm(x, real, eps=1e-5):
    kept = [example for example, there in zip(x, real.tolist()) if there]
    if len(kept) == 0:
        raise ValueError
    kept = torch.stack(kept)
    mean, var = torch.zeros(x.shape[1]), torch.zeros(x.shape[1])
    normal = F.batch_norm(kept, mean, var, training=True, momentum=1.0, eps=eps)
    out = x.new_zeros(x.shape)
    out[torch.nonzero(real)[:, 0]] = normal
    return [out, mean, var]
''',
    },
    "2.3": {
        "probing with unit pictures": '''
import copy
import torch

def fold_into_next(norm, conv):
    if conv.padding not in [(0, 0), "valid"]:
        raise ValueError("padding")
    with torch.no_grad():
        at_zero = norm(torch.zeros(1, conv.in_channels, 1, 1)).flatten()
        slope = norm(torch.ones(1, conv.in_channels, 1, 1)).flatten() - at_zero
        new = torch.nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, 0, conv.dilation, conv.groups)
        per = conv.in_channels // conv.groups
        for o in range(conv.out_channels):
            g = o // (conv.out_channels // conv.groups)
            for i in range(per):
                new.weight[o, i] = conv.weight[o, i] * slope[g * per + i]
        reach = [d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.kernel_size)]
        level = at_zero[None, :, None, None].expand(1, -1, *reach)
        new.bias.copy_(conv(level)[0, :, 0, 0])
    return new
''',
        "by einsum over the groups": '''
import torch
from torch import nn

def fold_into_next(norm, conv):
    if conv.padding == "same" or conv.padding != "valid" and sum(conv.padding) > 0:
        raise ValueError(f"padding {conv.padding}")
    g = conv.groups
    std = (norm.running_var.double() + norm.eps).sqrt()
    a = norm.weight.double() / std
    b = norm.bias.double() - norm.running_mean.double() * a
    w = conv.weight.detach().double().reshape(g, conv.out_channels // g, conv.in_channels // g, -1)
    bias = torch.einsum("goik,gi->go", w, b.reshape(g, -1)).reshape(-1)
    w = torch.einsum("goik,gi->goik", w, a.reshape(g, -1)).reshape(conv.weight.shape)
    if conv.bias is not None:
        bias = bias + conv.bias.double()
    out = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, dilation=conv.dilation, groups=g)
    out.weight = nn.Parameter(w.float())
    out.bias = nn.Parameter(bias.float())
    return out
''',
    },
    "2.4": {
        "two at a time": '''
import torch

def merge_statistics(means, variances, counts):
    mean, m2, n = means[0], variances[0] * counts[0], counts[0]
    for i in range(1, len(means)):
        delta = means[i] - mean
        total = n + counts[i]
        mean = mean + delta * counts[i] / total
        m2 = m2 + variances[i] * counts[i] + delta * delta * n * counts[i] / total
        n = total
    return mean, m2 / n
''',
        "in double precision, squares and all": '''
def merge_statistics(means, variances, counts):
    w = counts.double().reshape(-1, 1) / counts.sum()
    m, v = means.double(), variances.double()
    mean = (w * m).sum(dim=0)
    second = (w * (v + m ** 2)).sum(dim=0)
    return mean.float(), (second - mean ** 2).float()
''',
    },
}

WRONG = {
    "2.1": [
        Wrong("running variance biased", [("var * count / (count - 1), ", "var, ")], "running_var takes the unbiased"),
        Wrong("running mean never updated", [("self.running_mean.lerp_(mean, self.momentum)", "pass")], "running_mean was not updated"),
        Wrong("running variance never updated", [("self.running_var.lerp_(var * count / (count - 1), self.momentum)", "pass")], "running_var was not updated"),
        Wrong("normalizing with the unbiased variance", [("unbiased=False", "unbiased=True"), ("var * count / (count - 1), ", "var, ")], "normalized with the biased"),
        Wrong("affine ignored", [("return normal * self.weight[:, None, None] + self.bias[:, None, None]", "return normal")], "no effect on the output"),
        Wrong("batch statistics at inference", [("if self.training:", "if True:")], "yours still uses those of the batch"),
        Wrong("running statistics in training", [("scale = torch", "mean, var = self.running_mean.clone(), self.running_var.clone()\n        scale = torch")], "yours uses the running ones"),
        Wrong("eps outside the root", [("torch.rsqrt(var + self.eps)", "(1 / (var.sqrt() + self.eps))")], "eps belongs inside", keeps=2),
        Wrong("momentum the wrong way round", [("lerp_(mean, self.momentum)", "lerp_(mean, 1 - self.momentum)"), ("(count - 1), self.momentum)", "(count - 1), 1 - self.momentum)")], "the other way round"),
        Wrong("groups of every second channel", [("grouped = x.reshape(n, self.groups, -1, h, w)", "grouped = x.reshape(n, -1, self.groups, h, w).transpose(1, 2)"),
              (".reshape(x.shape)\n", ".transpose(1, 2).reshape(x.shape)\n")], "every second channel", keeps=2),
        Wrong("statistics of each example", [("grouped.mean(dim=(0, 2, 3, 4))", "grouped.mean(dim=(2, 3, 4)).mean(0)"),
              ("normal = ((grouped - mean[None, :, None, None, None]) * scale).reshape(x.shape)", "normal = torch.nn.functional.group_norm(x, self.groups, eps=self.eps)")], "Each example is normalized by itself"),
        Wrong("any number of groups", [("if channels % groups:", "if False:")], "should be refused with a ValueError", keeps=3),
        Wrong("eps forgotten in the arguments", [("self.groups, self.eps, self.momentum = groups, eps, momentum", "self.groups, self.eps, self.momentum = groups, 1e-5, momentum")], "eps is not the one", keeps=2),
        Wrong("weight and bias as buffers", [("self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))", 'self.register_buffer("weight", torch.ones(channels))\n        self.register_buffer("bias", torch.zeros(channels))')], "should be parameters", keeps=2),
        Wrong("running statistics as parameters", [('self.register_buffer("running_mean", torch.zeros(groups))', "self.running_mean = nn.Parameter(torch.zeros(groups))"), ('self.register_buffer("running_var", torch.ones(groups))', "self.running_var = nn.Parameter(torch.ones(groups))")], "should be parameters", keeps=2),
        Wrong("weight and bias that never learn", [("self.weight[:, None, None] + self.bias[", "self.weight.detach()[:, None, None] + self.bias.detach()[")], "they cannot learn", keeps=2),
        Wrong("no gradient through the statistics", [("count = x.numel()", "mean, var = mean.detach(), var.detach()\n            count = x.numel()")], "gradient does not flow", keeps=2),
    ],
    "2.2": [
        Wrong("padding counted", [("kept = x[real]\n", "kept = x\n"), ("out[real] = (kept", "out[real] = (kept[real]")], "Padding is counted"),
        Wrong("zeros counted", [("kept = x[real]\n", "kept = x * real[:, None, None, None]\n"), ("out[real] = (kept", "out[real] = (x[real]")], "zeros are still counted"),
        Wrong("the mask upside down", [("kept = x[real]", "kept = x[~real] if not real.all() else x"), ("out[real]", "out[~real if not real.all() else real]")], "left out the real"),
        Wrong("biased variance returned", [("var * count / (count - 1)", "var")], "returned is the biased one"),
        Wrong("normalized with the unbiased variance", [("unbiased=False", "unbiased=True"), ("var * count / (count - 1)", "var")], "output is normalized with the unbiased"),
        Wrong("no refusal", [("if not real.any():", "if False:")], "should be refused", keeps=3),
        Wrong("padding multiplied away", "def masked_batch_norm(x, real, eps=1e-5):\n    if not real.any():\n        raise ValueError\n    m = real.float()[:, None, None, None]\n    n = real.sum() * x.shape[2] * x.shape[3]\n    mean = (x * m).sum((0, 2, 3)) / n\n    c = (x - mean[None, :, None, None]) * m\n    s = (c * c).sum((0, 2, 3))\n    return c / (s / n + eps).sqrt()[None, :, None, None], mean, s / (n - 1)\n", "0 * nan", keeps=2),
        Wrong("padding normalized too", [("out = torch.zeros_like(x)\n    out[real] = (kept -", "out = (x -")], "output of the padding"),
        Wrong("the first ones are the real ones", [("kept = x[real]", "kept = x[: int(real.sum())]"), ("out[real]", "out[: int(real.sum())]")], "last examples are taken", keeps=2),
        Wrong("the batch changed", [("kept = x[real]", "x[~real] = 0\n    kept = x[real]")], "The batch that came in was changed", keeps=2),
        Wrong("examples counted, not values", [("count = kept.numel() / kept.shape[1]", "count = len(kept)")], "the variance where all examples are real"),
        Wrong("eps ignored", [("[:, None, None] + eps)", "[:, None, None] + 1e-5)")], "eps is not the one", keeps=2),
    ],
    "2.3": [
        Wrong("nothing folded", "def fold_into_next(norm, conv):\n    return conv\n", "came back as it was"),
        Wrong("shift forgotten", [("shift = (conv.weight.sum((2, 3)) * b).sum(1)", "shift = torch.zeros(out)")], "shift is missing"),
        Wrong("bias lost", [("shift if conv.bias is None else shift + conv.bias", "shift")], "own bias got lost"),
        Wrong("scaled twice", [("shift = (conv.weight.sum", "shift = (folded.weight.sum")], "scaled twice"),
        Wrong("kernel averaged", [("conv.weight.sum((2, 3))", "conv.weight.mean((2, 3))")], "summed over the whole kernel"),
        Wrong("running mean forgotten", [("norm.bias - a * norm.running_mean", "norm.bias")], "running mean is missing"),
        Wrong("padding accepted", [('if conv.padding not in ((0, 0), "valid"):', "if False:")], "cannot be folded", keeps=0),
        Wrong("padding on both sides only", [('if conv.padding not in ((0, 0), "valid"):', 'if conv.padding == "same" or conv.padding != "valid" and all(conv.padding):')], "in one direction alone", keeps=2),
        Wrong("groups forgotten", [("torch.arange(out) // (out // conv.groups)", "torch.zeros(out, dtype=torch.long)")], "the output for one with 2 groups", keeps=2),
        Wrong("eps of the default", [("norm.running_var + norm.eps", "norm.running_var + 1e-5")], "eps is not the one", keeps=2),
        Wrong("the old one changed", [("folded = nn.Conv2d(", "nn.Conv2d("), ("with torch.no_grad():\n        folded", "folded = conv\n    with torch.no_grad():\n        folded"), ("shift = (conv.weight.sum((2, 3)) * b)", "shift = ((conv.weight / a[:, :, None, None]).sum((2, 3)) * b)")], "should stay as it was"),
        Wrong("the norm changed", [("    return folded\n", "    norm.running_mean.zero_()\n    return folded\n")], "the norm that came in was changed", keeps=2),
        Wrong("stride lost", [("stride=conv.stride, ", "")], "the output for a kernel of 2 x 3 with a stride", keeps=2),
    ],
    "2.4": [
        Wrong("variances averaged", [("variances + (means - mean).square()", "variances")], "add their variance"),
        Wrong("variance of the means alone", [("variances + (means - mean).square()", "(means - mean).square()")], "how much varies within"),
        Wrong("sizes ignored", [("(counts / counts.sum())[:, None]", "torch.full_like(means, 1 / len(means))")], "counts by its number", keeps=2),
        Wrong("sizes ignored for the variances", [("(share * (variances + (means - mean).square())).sum(0)", "variances.mean(0) + (share * (means - mean).square()).sum(0)")], "variances count by size", keeps=2),
        Wrong("sizes ignored for the differences", [("(share * (variances + (means - mean).square())).sum(0)", "(share * variances).sum(0) + (means - mean).square().mean(0)")], "differences of the means count", keeps=2),
        Wrong("around the means' own average", [("(means - mean).square()", "(means - means.mean(0)).square()")], "not around their own average", keeps=2),
        Wrong("Bessel between the parts", [("(share * (variances + (means - mean).square())).sum(0)", "(share * variances).sum(0) + means.var(0)")], "divided by the number of parts"),
        Wrong("the means changed", [("    return mean, (share * (variances + (means - mean).square())).sum(0)", "    means -= mean\n    return mean, (share * (variances + means.square())).sum(0)")], "The statistics that came in were changed", keeps=2),
        Wrong("large squares subtracted", [("(share * (variances + (means - mean).square())).sum(0)", "(share * (variances + means.square())).sum(0) - mean.square()")], "do not subtract large squares", keeps=2),
    ],
}  # fmt: skip

EQUIVALENT = {}
