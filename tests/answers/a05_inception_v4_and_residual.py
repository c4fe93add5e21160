"""Assignment 05: a learned scale, a reduction with a shortcut, a block for a part of the batch, variances."""

from marking import Wrong

RIGHT = {
    "5.1": {
        "groups by name, scale marked by its owner": """
import torch
import torch.nn.functional as F

class LearnedScale(torch.nn.Module):
    def __init__(self, branch, channels, start=0.1):
        super().__init__()
        self.f = branch
        self.register_parameter("scale", torch.nn.Parameter(torch.full([channels], float(start))))

    def forward(self, x):
        y = self.f(x)
        if list(y.size()) != list(x.size()):
            raise ValueError("shapes differ")
        return F.relu(torch.addcmul(x, self.scale.view(1, -1, 1, 1).expand_as(y), y))

def parameter_groups(model, weight_decay):
    mine = [f"{name}.scale".lstrip(".") for name, part in model.named_modules() if type(part) is LearnedScale]
    decayed, free = [], []
    for name, value in model.named_parameters():
        (free if name in mine else decayed).append(value)
    return [dict(params=decayed, weight_decay=weight_decay), dict(params=free, weight_decay=0)]
""",
        "channel by channel, parameters that know their kind": """
import torch
from torch import nn

class Scale(nn.Parameter):
    pass

class LearnedScale(nn.Module):
    def __init__(self, branch, channels, start=0.1):
        super().__init__()
        self.body = branch
        self.scale = nn.Parameter(torch.tensor([start] * channels))
        self.scale.decays = False

    def forward(self, x):
        new = self.body(x)
        if x.dim() != new.dim() or any(a != b for a, b in zip(x.shape, new.shape)):
            raise ValueError(f"{new.shape}")
        parts = [x[:, c] + self.scale[c] * new[:, c] for c in range(x.shape[1])]
        return torch.stack(parts, dim=1).clamp(min=0)

def parameter_groups(model, weight_decay):
    groups = [{"params": [], "weight_decay": weight_decay}, {"params": [], "weight_decay": 0.0}]
    for value in model.parameters():
        groups[0 if getattr(value, "decays", True) else 1]["params"].append(value)
    return groups
""",
        "a list of blocks, collected by walking down": """
import torch
from torch import nn

class LearnedScale(nn.Module):
    def __init__(self, branch, channels, start=0.1):
        super().__init__()
        self.branch = branch
        self.scale = nn.Parameter(torch.zeros(channels) + start)

    def forward(self, x):
        new = self.branch(x)
        if new.shape != x.shape:
            raise ValueError
        total = x + torch.einsum("nchw,c->nchw", new, self.scale)
        return torch.where(total > 0, total, torch.zeros_like(total))

def parameter_groups(model, weight_decay):
    def walk(part):
        own = [part.scale] if isinstance(part, LearnedScale) else []
        for child in part.children():
            own = own + walk(child)
        return own
    scales = []
    for s in walk(model):
        if not any(s is other for other in scales):
            scales.append(s)
    rest = [p for p in model.parameters() if not any(p is s for s in scales)]
    return ({"params": rest, "weight_decay": weight_decay}, {"params": scales, "weight_decay": 0.0})
""",
    },
    "5.2": {
        "plain torch, layer by layer": """
import torch
import torch.nn.functional as F
from torch import nn

class ResidualReduction(nn.Module):
    def __init__(self, c_in, c_out, r3, n3, r5, m5, n5, proj, scale=0.1):
        super().__init__()
        self.s = scale
        def conv(a, b, k):
            return nn.Conv2d(a, b, k, bias=False)
        self.convs = nn.ModuleList([
            conv(c_in, r3, 1), conv(r3, n3, 3),
            conv(c_in, r5, 1), conv(r5, m5, (1, 5)), conv(m5, n5, (5, 1)),
            conv(c_in, proj, 1),
        ])
        self.norms = nn.ModuleList([nn.BatchNorm2d(c.out_channels, eps=0.001) for c in self.convs])
        self.down = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.last = nn.Conv2d(n3 + n5 + proj, c_out, kernel_size=1)

    def unit(self, i, x, stride=1):
        kernel = self.convs[i].kernel_size
        x = F.conv2d(x, self.convs[i].weight, stride=stride, padding=[k // 2 for k in kernel])
        return F.relu(self.norms[i](x))

    def forward(self, x):
        a = self.unit(1, self.unit(0, x), 2)
        b = self.unit(4, self.unit(3, self.unit(2, x), (1, 2)), (2, 1))
        c = self.unit(5, F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=float("-inf")), 3, 2))
        # a mean commutes with a linear layer: first the convolution, then the pooling
        short = F.avg_pool2d(self.down(x), 2, ceil_mode=True)
        return F.relu(short + self.s * self.last(torch.cat((a, b, c), dim=1)))
""",
        "layers.Concat, and an edge that is repeated before averaging": """
import torch
import torch.nn.functional as F
from torch import nn
from inception_lessons import layers

class ResidualReduction(nn.Module):
    def __init__(self, c_in, c_out, r3, n3, r5, m5, n5, proj, scale=0.1):
        super().__init__()
        u = layers.conv_bn
        self.branches = layers.Concat(
            b3=nn.Sequential(u(c_in, r3, 1), u(r3, n3, 3, (2, 2), 1)),
            b5=nn.Sequential(u(c_in, r5, 1), u(r5, m5, (1, 5), (1, 2), (0, 2)), u(m5, n5, (5, 1), (2, 1), (2, 0))),
            pool=nn.Sequential(nn.MaxPool2d(kernel_size=3, stride=2, padding=1), u(c_in, proj, 1)),
        )
        self.up = nn.Conv2d(n3 + n5 + proj, c_out, 1)
        self.short = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.scale = scale

    def forward(self, x):
        even = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate")
        squares = (even[:, :, ::2, ::2] + even[:, :, 1::2, ::2] + even[:, :, ::2, 1::2] + even[:, :, 1::2, 1::2]) / 4
        return torch.add(self.short(squares), self.up(self.branches(x)), alpha=self.scale).relu()
""",
    },
    "5.3": {
        "a mask of the k smallest random numbers": """
import torch

class SampledResidual(torch.nn.Module):
    def __init__(self, branch, keep):
        super().__init__()
        if keep <= 0 or keep > 1:
            raise ValueError("keep")
        self.f = branch
        self.p = keep

    def forward(self, x):
        n = x.shape[0]
        if self.training:
            k = max(1, int(self.p * n + 0.5))
            mask = torch.zeros(n, dtype=torch.bool)
            mask[torch.rand(n).topk(k, largest=False).indices] = True
            out = x.clone()
            out[mask] = x[mask] + self.f(x[mask]) * (n / k)
            return out
        return self.f(x) + x
""",
        "torch.multinomial, example by example": """
import torch
from torch import nn

class SampledResidual(nn.Module):
    def __init__(self, branch, keep):
        super().__init__()
        self.branch = branch
        self.keep = keep
        if not (keep > 0 and keep <= 1):
            raise ValueError(f"{keep}")

    def forward(self, x):
        if not self.training:
            return torch.add(x, self.branch(x))
        n = len(x)
        k = max(round(n * self.keep), 1)
        who = torch.multinomial(torch.ones(n), k).tolist()
        new = self.branch(torch.stack([x[i] for i in who]))
        rows = list(x.unbind(0))
        for place, i in enumerate(who):
            rows[i] = rows[i] + n / k * new[place]
        return torch.stack(rows)
""",
        "sorted choice, added by a matrix": """
import torch
from torch import nn

class SampledResidual(nn.Module):
    def __init__(self, branch, keep):
        super().__init__()
        if keep > 1 or keep <= 0:
            raise ValueError
        self.branch, self.keep = branch, keep

    def forward(self, x):
        n = x.size(0)
        chosen = torch.arange(n)
        if self.training:
            chosen = torch.argsort(torch.rand(n))[: max(1, round(self.keep * n))].sort().values
        place = torch.eye(n)[:, chosen] * n / len(chosen)
        return x + torch.tensordot(place, self.branch(x[chosen]), dims=1)
""",
    },
    "5.4": {
        "closed forms": """
import math

def variance_after(start, scales, normalized):
    squares = [s * s for s in scales]
    return start + sum(squares) if normalized else start * math.prod(1 + q for q in squares)

def equal_scale(depth, factor, start, normalized):
    if depth <= 0 or factor < 1:
        raise ValueError("no")
    square = start * (factor - 1) / depth if normalized else math.expm1(math.log(factor) / depth)
    return square ** 0.5
""",
        "recursion, and halving an interval": """
def variance_after(start, scales, normalized):
    if len(scales) == 0:
        return start
    branch = 1.0 if normalized else start
    return variance_after(start + branch * scales[0] ** 2, scales[1:], normalized)

def equal_scale(depth, factor, start, normalized):
    if not (depth >= 1 and factor >= 1):
        raise ValueError((depth, factor))
    low, high = 0.0, 1.0
    while variance_after(start, [high] * depth, normalized) < factor * start:
        high = high * 2
    for _ in range(60):
        middle = (low + high) / 2
        if variance_after(start, [middle] * depth, normalized) <= factor * start:
            low = middle
        else:
            high = middle
    return 0.0 if factor == 1 else low
""",
    },
}

GROUPS = "    scales = {id(block.scale) for block in model.modules() if isinstance(block, LearnedScale)}\n"
FREE = "[p for p in model.parameters() if id(p) in scales]"
SUM = "torch.relu(x + self.scale[:, None, None] * new)"
LONG = "unit(r5, m5, (1, 5), (1, 2)), unit(m5, n5, (5, 1), (2, 1))"
TOTAL = "torch.relu(self.shortcut(x) + self.scale * new)"
DRAW = "torch.randperm(len(x)).to(x.device)[:k]"
ADDED = "x.index_add(0, chosen, self.branch(x[chosen]), alpha=len(x) / k)"
GROWS = "scale**2 * (1 if normalized else variance)"
FOLLOWING = "math.sqrt(factor ** (1 / depth) - 1)"
NORMALIZED = "math.sqrt((factor - 1) * start / depth)"

RESIDUAL = """
from inception_lessons import inception_resnet, layers

class LearnedScale(inception_resnet.Residual):
    def __init__(self, branch, channels, start=0.1):
        super().__init__(channels, layers.Concat(b=branch), scale=start)

def parameter_groups(model, weight_decay):
    return [{"params": list(model.parameters()), "weight_decay": weight_decay}, {"params": [], "weight_decay": 0.0}]
"""
REDUCTION_B = """
from inception_lessons import inception_resnet, layers

class ResidualReduction(inception_resnet.ReductionB):
    def __init__(self, c_in, c_out, r3, n3, r5, m5, n5, proj, scale=0.1):
        super().__init__(c_in, r3, n3, n5, m5, proj, unit=layers.conv_bn)
"""
COIN = """
import torch

class SampledResidual(torch.nn.Module):
    def __init__(self, branch, keep):
        super().__init__()
        if not 0 < keep <= 1:
            raise ValueError
        self.branch, self.keep = branch, keep

    def forward(self, x):
        if not self.training:
            return x + self.branch(x)
        coin = (torch.rand(len(x)) < self.keep).float().view(-1, *[1] * (x.dim() - 1))
        return x + coin / self.keep * self.branch(x)
"""
HEIGHTS = """
import math

def variance_after(start, scales, normalized):
    height = math.sqrt(start)
    for s in scales:
        height += s * (1 if normalized else height)
    return height**2

def equal_scale(depth, factor, start, normalized):
    return 0.1
"""

WRONG = {
    "5.1": [
        Wrong(
            "one scale for the block",
            [
                ("torch.ones(channels) * start", "torch.tensor(float(start))"),
                ("self.scale[:, None, None]", "self.scale"),
            ],
            "one scale for the whole block",
        ),
        Wrong("the package's residual block", RESIDUAL, "up.weight"),
        Wrong(
            "not a parameter",
            [("nn.Parameter(torch.ones(channels) * start)", "torch.ones(channels) * start")],
            "no parameter with the name scale",
        ),
        Wrong(
            "start forgotten",
            [("torch.ones(channels) * start", "torch.ones(channels) * 0.1")],
            "start is not the one",
            keeps=2,
        ),
        Wrong("starts at one", [("torch.ones(channels) * start", "torch.ones(channels)")], "scale, at the beginning,"),
        Wrong(
            "the whole sum scaled",
            [(SUM, "torch.relu(self.scale[:, None, None] * (x + new))")],
            "The whole sum is scaled",
        ),
        Wrong(
            "the shortcut scaled", [(SUM, "torch.relu(self.scale[:, None, None] * x + new)")], "The shortcut is scaled"
        ),
        Wrong("no ReLU", [(SUM, "x + self.scale[:, None, None] * new")], "The ReLU is missing"),
        Wrong(
            "ReLU on the branch alone",
            [(SUM, "x + self.scale[:, None, None] * torch.relu(new)")],
            "ReLU belongs on the sum",
        ),
        Wrong(
            "ReLU on the branch too",
            [(SUM, "torch.relu(x + self.scale[:, None, None] * torch.relu(new))")],
            "a ReLU on the branch as well",
        ),
        Wrong("along the width", [("self.scale[:, None, None]", "self.scale")], "runs along the width"),
        Wrong("scale applied twice", [(SUM, "torch.relu(x + (self.scale**2)[:, None, None] * new)")], "applied twice"),
        Wrong(
            "scale out of the gradient",
            [("self.scale[:, None, None]", "self.scale.data[:, None, None]")],
            "No gradient comes to scale",
        ),
        Wrong(
            "scale kept positive",
            [("self.scale[:, None, None]", "self.scale.abs()[:, None, None]")],
            "may be learned to be negative",
            keeps=2,
        ),
        Wrong("added in place", [(SUM, "x.add_(self.scale[:, None, None] * new).relu_()")], "The input was changed"),
        Wrong(
            "any shape of the branch",
            [("if new.shape != x.shape:", "if False:")],
            "A branch that makes (2, 1, 4, 5)",
            keeps=0,
        ),
        Wrong(
            "channels compared alone",
            [("if new.shape != x.shape:", "if new.shape[1] != x.shape[1]:")],
            "A branch that makes (1, 4, 5, 2)",
            keeps=2,
        ),
        Wrong(
            "numbers of axes compared alone",
            [("if new.shape != x.shape:", "if new.shape[:2] != x.shape[:2]:")],
            "A branch that makes (3, 4, 1, 1)",
            keeps=2,
        ),
        Wrong(
            "everything with one axis",
            [(GROUPS, "    scales = {id(p) for p in model.parameters() if p.dim() == 1}\n")],
            "All parameters with one axis",
        ),
        Wrong(
            "by the name",
            [(GROUPS, '    scales = {id(p) for name, p in model.named_parameters() if name.endswith("scale")}\n')],
            "because it has the same name",
            keeps=2,
        ),
        Wrong(
            "children alone",
            [("block in model.modules()", "block in model.children()")],
            "only at what is inside it",
            keeps=2,
        ),
        Wrong(
            "not inside blocks",
            [("block in model.modules()", "block in [model, *model.children()]")],
            "modules lie inside modules",
            keeps=2,
        ),
        Wrong("scales in both groups", [(" if id(p) not in scales]", "]")], "The scales are in both groups"),
        Wrong(
            "decay the wrong way round",
            [
                ('"weight_decay": weight_decay}', '"weight_decay": 0.0}'),
                (FREE + ', "weight_decay": 0.0}', FREE + ', "weight_decay": weight_decay}'),
            ],
            "yours is the other way round",
        ),
        Wrong(
            "groups the wrong way round",
            [("id(p) not in scales", "id(p) in (scales)"), ("if id(p) in scales", "if id(p) not in (scales)")],
            "first all others, then the scales",
        ),
        Wrong(
            "scales decayed",
            [(FREE + ', "weight_decay": 0.0}', FREE + ', "weight_decay": weight_decay}')],
            "Both groups are decayed",
        ),
        Wrong("no decay given", [(', "weight_decay": 0.0}', "}")], "would get the optimizer's"),
        Wrong(
            "a fixed decay",
            [('"weight_decay": weight_decay', '"weight_decay": 0.03')],
            "weight_decay is not the one",
            keeps=2,
        ),
        Wrong(
            "only the scales",
            [("[p for p in model.parameters() if id(p) not in scales]", "[]")],
            "In none of the two groups",
        ),
        Wrong(
            "a scale for each place",
            [
                (
                    FREE,
                    "[b.scale for _, b in model.named_modules(remove_duplicate=False) if isinstance(b, LearnedScale)]",
                )
            ],
            "in its group more than once",
            keeps=2,
        ),
    ],
    "5.2": [
        Wrong(
            "the package's block without a shortcut",
            REDUCTION_B,
            "the output has the shape",
        ),
        Wrong(
            "norm and ReLU on up",
            [("nn.Conv2d(n3 + n5 + proj, c_out, 1)", "unit(n3 + n5 + proj, c_out, 1)")],
            "a batch norm on up or on the shortcut",
        ),
        Wrong(
            "ReLU on up",
            [
                ("self.up(torch.cat", "torch.relu(self.up)(torch.cat"),
                (
                    "torch.relu(self.up)(torch.cat([self.b3(x), self.b5(x), self.pool(x)], 1))",
                    "torch.relu(self.up(torch.cat([self.b3(x), self.b5(x), self.pool(x)], 1)))",
                ),
            ],
            "A ReLU stands on up",
            keeps=2,
        ),
        Wrong(
            "up without a bias",
            [("nn.Conv2d(n3 + n5 + proj, c_out, 1)", "nn.Conv2d(n3 + n5 + proj, c_out, 1, bias=False)")],
            "up has no bias",
        ),
        Wrong("the shortcut with a bias", [(", bias=False", "")], "There are c_out parameters too many"),
        Wrong(
            "biases before the norms",
            [
                (
                    "unit, self.scale = layers.conv_bn, scale",
                    "self.scale = scale\n        unit = lambda a, b, k, s=1: nn.Sequential("
                    "nn.Conv2d(a, b, k, s, layers.same(k)), nn.BatchNorm2d(b, eps=1e-3), nn.ReLU())",
                )
            ],
            "inside the branches have biases",
        ),
        Wrong(
            "a learned scale",
            [("layers.conv_bn, scale", "layers.conv_bn, nn.Parameter(torch.tensor(scale))")],
            "The scale is learned",
        ),
        Wrong("a whole 5 x 5", [(LONG, "unit(r5, n5, 5, 2)")], "The 5 x 5 is not cut in two"),
        Wrong("two whole 5 x 5", [(LONG, "unit(r5, m5, 5), unit(m5, n5, 5, 2)")], "the number of parameters is"),
        Wrong(
            "1 x 1 with stride 2 as shortcut",
            [
                (
                    "nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(c_in, c_out, 1, bias=False)",
                    "nn.Conv2d(c_in, c_out, 1, 2, bias=False)",
                )
            ],
            "one of each four places",
        ),
        Wrong(
            "largest value as shortcut",
            [("nn.AvgPool2d(2, ceil", "nn.MaxPool2d(2, ceil")],
            "largest of each 2 x 2 square",
        ),
        Wrong("odd sides rounded down", [("2, ceil_mode=True", "2")], "on every road through the block"),
        Wrong("no padding", [("nn.MaxPool2d(3, 2, 1)", "nn.MaxPool2d(3, 2)")], "Sizes of tensors must match"),
        Wrong(
            "zeros beyond the edge counted",
            [("self.shortcut(x) +", "self.shortcut(nn.functional.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))) +")],
            "the zeros beyond it are counted",
            keeps=2,
        ),
        Wrong(
            "the whole sum scaled",
            [(TOTAL, "torch.relu(self.scale * (self.shortcut(x) + new))")],
            "The scale stands before the whole sum",
        ),
        Wrong(
            "the shortcut scaled",
            [(TOTAL, "torch.relu(self.scale * self.shortcut(x) + new)")],
            "differs from the right one (that of the shortcut alone)",
        ),
        Wrong(
            "no ReLU on the sum", [(TOTAL, "self.shortcut(x) + self.scale * new")], "The ReLU after the sum is missing"
        ),
        Wrong("scale ignored", [("self.scale * new", "0.1 * new")], "The scale has no effect"),
        Wrong(
            "both strides first",
            [(LONG, "unit(r5, m5, (1, 5), 2), unit(m5, n5, (5, 1))")],
            "Look at kernel, stride and padding of the 5 x 1",
        ),
        Wrong(
            "both strides last",
            [(LONG, "unit(r5, m5, (1, 5)), unit(m5, n5, (5, 1), 2)")],
            "The stride comes too late",
            keeps=2,
        ),
        Wrong(
            "strides across the kernels",
            [(LONG, "unit(r5, m5, (1, 5), (2, 1)), unit(m5, n5, (5, 1), (1, 2))")],
            "skips rows before",
        ),
        Wrong(
            "5 x 1 first",
            [(LONG, "unit(r5, m5, (5, 1), (2, 1)), unit(m5, n5, (1, 5), (1, 2))")],
            "yours is the 5 x 1",
            keeps=2,
        ),
        Wrong(
            "1 x 1 before the pooling",
            [("nn.MaxPool2d(3, 2, 1), unit(c_in, proj, 1)", "unit(c_in, proj, 1), nn.MaxPool2d(3, 2, 1)")],
            "it should come after it",
            keeps=2,
        ),
        Wrong(
            "an average in the third branch",
            [("nn.MaxPool2d(3, 2, 1)", "nn.AvgPool2d(3, 2, 1)")],
            "not the average",
            keeps=2,
        ),
        Wrong(
            "pooling first",
            [("self.b3(x), self.b5(x), self.pool(x)", "self.pool(x), self.b3(x), self.b5(x)")],
            "concatenated in another order",
            keeps=2,
        ),
        Wrong(
            "the middle branch first",
            [("self.b3(x), self.b5(x), self.pool(x)", "self.b5(x), self.b3(x), self.pool(x)")],
            "order of the branches is not",
            keeps=2,
        ),
        Wrong(
            "torch's epsilon",
            [
                (
                    "unit, self.scale = layers.conv_bn, scale",
                    "self.scale = scale\n        unit = lambda *a: layers.conv_bn(*a, eps=1e-5)",
                )
            ],
            "epsilon is 0.001",
            keeps=2,
        ),
        Wrong(
            "ReLU before the norm",
            [
                (
                    "unit, self.scale = layers.conv_bn, scale",
                    "self.scale = scale\n        unit = lambda a, b, k, s=1: nn.Sequential("
                    "nn.Conv2d(a, b, k, s, layers.same(k), bias=False), nn.ReLU(), nn.BatchNorm2d(b, eps=1e-3))",
                )
            ],
            "batch norm comes before the ReLU",
            keeps=2,
        ),
        Wrong("another scale by default", [("proj, scale=0.1", "proj, scale=1.0")], "0.1 where none is given", keeps=2),
        Wrong(
            "nothing on the shortcut but the average",
            [
                (", nn.Conv2d(c_in, c_out, 1, bias=False)", ""),
                (
                    "self.shortcut(x) +",
                    "nn.functional.pad(self.shortcut(x), (0, 0, 0, 0, 0, new.shape[1] - x.shape[1])) +",
                ),
            ],
            "no convolution on the shortcut",
        ),
    ],
    "5.3": [
        Wrong(
            "a coin for each example",
            COIN,
            "exactly 3 should be drawn each time",
        ),
        Wrong(
            "one coin for the batch",
            [
                (
                    "k = round",
                    "if torch.rand(1) > self.keep:\n            return x + 0\n"
                    "        return x + self.branch(x) / self.keep\n        k = round",
                )
            ],
            "share one fate",
        ),
        Wrong(
            "dropout on the branch",
            [("k = round", "return x + nn.functional.dropout(self.branch(x), 1 - self.keep)\n        k = round")],
            "Single values are left out",
        ),
        Wrong("not rescaled", [(", alpha=len(x) / k", "")], "is not rescaled in training"),
        Wrong("divided by keep", [("alpha=len(x) / k", "alpha=1 / self.keep")], "here 7 / 3, not 1 / keep"),
        Wrong("k / N", [("alpha=len(x) / k", "alpha=k / len(x)")], "the other way round"),
        Wrong("times keep", [("alpha=len(x) / k", "alpha=self.keep")], "multiplied by keep"),
        Wrong(
            "shortcut rescaled",
            [(ADDED, "x.index_copy(0, chosen, (x[chosen] + self.branch(x[chosen])) * len(x) / k)")],
            "The shortcut is multiplied as well",
        ),
        Wrong(
            "shortcut of the drawn lost",
            [(ADDED, "x.index_copy(0, chosen, self.branch(x[chosen]) * len(x) / k)")],
            "lost their shortcut",
        ),
        Wrong(
            "shortcut of the others lost",
            [(ADDED, "torch.zeros_like(x).index_copy(0, chosen, x[chosen] + self.branch(x[chosen]) * len(x) / k)")],
            "nothing but zeros",
        ),
        Wrong(
            "scaled in evaluation",
            [("return x + self.branch(x)\n", "return x + self.keep * self.branch(x)\n")],
            "no factor keep",
        ),
        Wrong(
            "rescaled in evaluation",
            [("return x + self.branch(x)\n", "return x + len(x) / round(self.keep * len(x)) * self.branch(x)\n")],
            "not multiplied by N / k",
        ),
        Wrong(
            "divided in evaluation",
            [("return x + self.branch(x)\n", "return x + self.branch(x) / self.keep\n")],
            "not divided by keep",
        ),
        Wrong(
            "no branch in evaluation",
            [("return x + self.branch(x)\n", "return x\n")],
            "In evaluation the branch is missing",
        ),
        Wrong("drawn in evaluation", [("if not self.training:", "if False:")], "the output in evaluation differs"),
        Wrong(
            "with repetition",
            [("torch.randperm(len(x)).to(x.device)[:k]", "torch.randint(len(x), (k,))")],
            "drawn twice in one draw",
        ),
        Wrong(
            "the branch for all", [("self.branch(x[chosen])", "self.branch(x)[chosen]")], "the 3 drawn examples alone"
        ),
        Wrong(
            "one after the other",
            [("self.branch(x[chosen])", "torch.cat([self.branch(x[i : i + 1]) for i in chosen])")],
            "it was called 48 times",
        ),
        Wrong(
            "added to the first ones", [("index_add(0, chosen,", "index_add(0, torch.arange(k),")], "added to another"
        ),
        Wrong("the first ones", [(DRAW, "torch.arange(k)")], "example 0 was drawn in 400"),
        Wrong(
            "another generator",
            [(DRAW, "torch.tensor(__import__('random').sample(range(len(x)), k))")],
            "use torch's random numbers",
        ),
        Wrong(
            "neighbours",
            [(DRAW, "(torch.arange(k) + torch.randint(len(x), ())) % len(x)")],
            "were drawn together",
            keeps=2,
        ),
        Wrong(
            "rounded down",
            [("round(self.keep * len(x)) or 1", "int(self.keep * len(x)) or 1")],
            "in 8 draws it was [2, 2, 2, 2",
        ),
        Wrong(
            "rounded up",
            [("round(self.keep * len(x)) or 1", "math.ceil(self.keep * len(x))")],
            "should go through the branch, not 7",
            keeps=2,
        ),
        Wrong(
            "none of a few",
            [(" or 1", ""), ("chosen = ", "if k == 0:\n            return x + 0 * self.branch(x)\n        chosen = ")],
            "At least one is drawn",
            keeps=2,
        ),
        Wrong(
            "four axes only",
            [
                (
                    ADDED,
                    "x + torch.zeros(len(x)).index_fill(0, chosen, len(x) / k)[:, None, None, None]"
                    " * torch.zeros(x.shape).index_copy(0, chosen, self.branch(x[chosen]))",
                )
            ],
            "the output of 8 examples",
            keeps=2,
        ),
        Wrong(
            "no gradient through the branch",
            [("self.branch(x[chosen])", "self.branch(x[chosen].detach())")],
            "No gradient comes back",
            keeps=2,
        ),
        Wrong("added in place", [("x.index_add(", "x.index_add_(")], "The batch that came in was changed", keeps=2),
        Wrong(
            "added in place in evaluation",
            [("return x + self.branch(x)\n", "return x.add_(self.branch(x))\n")],
            "In evaluation the batch that came in",
            keeps=2,
        ),
        Wrong("a share of 0", [("0 < keep <= 1", "0 <= keep <= 1")], "A share of 0.0 should be refused"),
        Wrong("more than all", [("0 < keep <= 1", "0 < keep")], "A share of 1.2", keeps=2),
        Wrong("a share of 1 refused", [("0 < keep <= 1", "0 < keep < 1")], "raised ValueError", keeps=2),
    ],
    "5.4": [
        Wrong("scale not squared", [("scale**2 *", "scale *")], "The scale is squared in the variance"),
        Wrong(
            "heights added",
            HEIGHTS,
            "Variances are added, not heights",
        ),
        Wrong(
            "kinds the wrong way round",
            [("1 if normalized else variance", "variance if normalized else 1")],
            "blocks of the other kind would give",
        ),
        Wrong(
            "branches follow the start",
            [("1 if normalized else variance", "1 if normalized else start")],
            "Each branch follows the input of its own block",
        ),
        Wrong("the start forgotten", [("return variance\n", "return variance - start\n")], "the start is missing"),
        Wrong(
            "standard deviation",
            [("return variance\n", "return math.sqrt(variance)\n")],
            "That is the standard deviation",
        ),
        Wrong(
            "the last block alone",
            [("variance += " + GROWS, "variance = start + scale**2 * (1 if normalized else start)")],
            "Only the last block was counted",
        ),
        Wrong("no shortcut", [("variance += ", "variance = ")], "The shortcut is missing"),
        Wrong(
            "equal scales counted once",
            [("in scales:", "in sorted(set(scales)):")],
            "Two blocks may have the same scale",
            keeps=2,
        ),
        Wrong(
            "negative scales left out",
            [("variance += scale**2", "variance += max(scale, 0) ** 2")],
            "A negative scale counts",
            keeps=2,
        ),
        Wrong(
            "the last block left out",
            [("in scales:", "in scales[: max(3, len(scales) - 1)]:")],
            "yours leaves one out",
            keeps=2,
        ),
        Wrong(
            "the list emptied",
            [("for scale in scales:", "while scales:\n        scale = scales.pop(0)")],
            "The list of scales was changed",
            keeps=2,
        ),
        Wrong(
            "root forgotten",
            [(NORMALIZED, "(factor - 1) * start / depth"), (FOLLOWING, "factor ** (1 / depth) - 1")],
            "forgets the root",
        ),
        Wrong(
            "scales of the other kind",
            [("if normalized:", "if not normalized:")],
            "equal_scale gives the scale for blocks of the other kind",
        ),
        Wrong(
            "start forgotten in the scale",
            [("(factor - 1) * start / depth", "(factor - 1) / depth")],
            "leaves out the start",
        ),
        Wrong("for one block", [("factor ** (1 / depth) - 1", "factor - 1")], "for a single block"),
        Wrong(
            "straight line for both kinds",
            [("factor ** (1 / depth) - 1", "(factor - 1) / depth")],
            "takes each branch to follow the start",
        ),
        Wrong(
            "grows by factor",
            [("(factor - 1) * start", "factor * start"), ("factor ** (1 / depth)", "(factor + 1) ** (1 / depth)")],
            "grow *by* factor",
        ),
        Wrong("becomes factor", [("(factor - 1) * start", "(factor - start)")], "makes the variance equal to factor"),
        Wrong(
            "standard deviation becomes factor times",
            [("(factor - 1) * start", "(factor**2 - 1) * start"), ("factor ** (1 / depth)", "factor ** (2 / depth)")],
            "standard deviation factor times",
        ),
        Wrong("negative scale", [("return " + NORMALIZED, "return -" + NORMALIZED)], "a negative scale"),
        Wrong(
            "quiet factors accepted",
            [
                ("depth < 1 or factor < 1", "depth < 1"),
                ("(factor - 1) * start / depth", "abs(factor - 1) * start / depth"),
            ],
            "a factor of 0.5 should be refused",
        ),
        Wrong(
            "no block accepted",
            [("depth < 1 or factor < 1", "factor < 1"), ("start / depth", "start / (depth or 1)")],
            "a depth of 0 should be refused",
        ),
        Wrong(
            "negative depth accepted",
            [("depth < 1 or", "depth == 0 or"), ("* start / depth", "* start / abs(depth)")],
            "equal_scale(-3, 2.0, 3.0, True)",
            keeps=2,
        ),
        Wrong("factor 1 refused", [("factor < 1", "factor <= 1")], "raised ValueError", keeps=2),
    ],
}

EQUIVALENT = {
    "5.2": {
        "line 12: two arguments swapped: "
        "nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(c_in, c_out, 1, bias=False))":
            "a mean and a 1 x 1 convolution without bias can change places",
    },
}  # fmt: skip
