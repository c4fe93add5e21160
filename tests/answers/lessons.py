"""The small exercises inside lessons: by their check, the package's own answer, others that are right, and wrong ones."""

from marking import Wrong

RIGHT = {
    "naive_module": {
        "the package's own": "from inception_lessons import googlenet\nMyNaiveInception = googlenet.NaiveInception\n",
        "convolutions by hand, in another order": '''
import torch
from torch import nn

class MyNaiveInception(nn.Module):
    def __init__(self, c_in, n1, r3, n3, r5, n5, proj):
        super().__init__()
        self.large = nn.Conv2d(c_in, n5, (5, 5), padding="same")
        self.small = nn.Conv2d(c_in, n1, 1)
        self.middle = nn.Conv2d(c_in, n3, 3, padding=1)

    def forward(self, x):
        a, b, c = (torch.relu(layer(x)) for layer in (self.small, self.middle, self.large))
        return torch.cat((a, b, c, torch.max_pool2d(x, 3, stride=1, padding=1)), dim=-3)
''',
    },
    "folded_norm": {
        "the package's own": '''
from collections import OrderedDict
from torch import nn
from inception_lessons import layers

def my_fold(conv, norm):
    return layers.fold(nn.Sequential(OrderedDict(conv=conv, norm=norm)).eval()).conv
''',
        "by asking the two": '''
import torch

def my_fold(conv, norm):
    new = torch.nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, stride=conv.stride, padding=conv.padding,
                          dilation=conv.dilation, groups=conv.groups, bias=True)
    norm = norm.eval()
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
    with torch.no_grad():
        at = lambda value: norm(value.reshape(1, -1, 1, 1)).flatten()
        scale = at(torch.ones(len(bias))) - at(torch.zeros(len(bias)))
        for channel in range(len(bias)):
            new.weight[channel] = conv.weight[channel] * scale[channel]
        new.bias[:] = at(bias)
    return new
''',
    },
    "half_given_module": {
        "the package's own": '''
from torch import nn
from inception_lessons import inception_v3, layers

class MyInceptionB(nn.Module):
    def __init__(self, *row):
        super().__init__()
        self.theirs = inception_v3.InceptionB(*row, unit=layers.conv_bn)

    def forward(self, x):
        return self.theirs(x)
''',
        "in lists, with the paddings written out": '''
import torch
from torch import nn
from inception_lessons import layers

class MyInceptionB(nn.Module):
    def __init__(self, c_in, n1, r7, n7, n77, proj):
        super().__init__()
        conv, column, row = layers.conv_bn, {"padding": (3, 0)}, {"padding": (0, 3)}
        self.mean = nn.AvgPool2d((3, 3), stride=(1, 1), padding=(1, 1), count_include_pad=False)
        self.after_mean = conv(c_in, proj, 1)
        halves = [nn.Sequential(conv(r7, r7, (7, 1), **column), conv(r7, c, (1, 7), **row)) for c in (r7, n77)]
        self.twice = nn.ModuleList([conv(c_in, r7, (1, 1)), *halves])
        self.seven = nn.ModuleList([conv(c_in, r7, 1), conv(r7, r7, (1, 7)), conv(r7, n7, (7, 1))])
        self.one = conv(c_in, n1, 1)

    def forward(self, x):
        twice = seven = x
        for part in self.twice:
            twice = part(twice)
        for part in self.seven:
            seven = part(seven)
        return torch.cat((self.one(x), seven, twice, self.after_mean(self.mean(x))), 1)
''',
    },
    "calibration_error": {
        "the package's own": '''
from inception_lessons import measure

def my_calibration_error(logits, labels, bins=15):
    return measure.calibration(logits, labels, bins).ece
''',
        "all bins at once": '''
import torch

def my_calibration_error(logits, labels, bins=15):
    p = torch.softmax(logits, dim=-1)
    sure = p.amax(dim=1)
    right = (p.argmax(dim=1) == labels).float()
    member = torch.nn.functional.one_hot((sure * bins).ceil().long() - 1, bins).float()
    return torch.abs((sure - right) @ member).sum() / len(labels)
''',
    },
    "block_a": {
        "the package's own": '''
from torch import nn
from inception_lessons import inception_v4, layers

class MyInceptionA(nn.Module):
    def __init__(self, *row):
        super().__init__()
        self.branches = inception_v4.InceptionA(*row, unit=layers.conv_bn)

    def forward(self, x):
        return self.branches(x)
''',
        "with torch's own layers": '''
import torch
from torch import nn

def unit(a, b, k):
    return nn.Sequential(nn.Conv2d(a, b, k, padding=k // 2, bias=False), nn.BatchNorm2d(b, eps=0.001), nn.ReLU())

class MyInceptionA(nn.Module):
    def __init__(self, c_in=384, n1=96, r3=64, n3=96, r33=64, n33=96, proj=96):
        super().__init__()
        self.paths = nn.ModuleList()
        for widths in ([n1], [r3, n3], [r33, n33, n33]):
            path = [unit(c_in, widths[0], 1)] + [unit(a, b, 3) for a, b in zip(widths, widths[1:])]
            self.paths.append(nn.Sequential(*path))
        self.last = unit(c_in, proj, 1)

    def forward(self, x):
        mean = nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([path(x) for path in self.paths] + [self.last(mean)], dim=1)
''',
    },
    "block_b": {
        "the package's own": '''
from inception_lessons import inception_v4, layers

def MyInceptionB(*row):
    return inception_v4.InceptionB(*row, unit=layers.conv_bn)
''',
        "from a list of widths": '''
import torch
from torch import nn
from inception_lessons import layers

class MyInceptionB(nn.Module):
    def __init__(self, c_in, n1, r, m7, n7, n77, proj):
        super().__init__()
        self.one = layers.conv_bn(c_in, n1, 1)
        self.short = self.path([c_in, r, m7, n7], [1, (1, 7), (7, 1)])
        self.long = self.path([c_in, r, r, m7, m7, n77], [1, (7, 1), (1, 7), (7, 1), (1, 7)])
        self.proj = layers.conv_bn(c_in, proj, 1)

    def path(self, widths, kernels):
        return nn.Sequential(*[layers.conv_bn(a, b, k) for a, b, k in zip(widths, widths[1:], kernels)])

    def forward(self, x):
        ones = torch.nn.functional.avg_pool2d(torch.ones_like(x), 3, 1, 1)
        mean = torch.nn.functional.avg_pool2d(x, 3, 1, 1) / ones
        return torch.cat([self.one(x), self.short(x), self.long(x), self.proj(mean)], 1)
''',
    },
    "equal_budget": {
        "the package's own": '''
from inception_lessons import experiments

def my_losses_at_equal(curves, cost):
    runs = {}
    for name, (steps, losses) in curves.items():
        looks = {"steps": steps, "loss": losses}
        runs[name] = [{"validation": looks, "stopped": None, "step_macs": cost[name]}]
    return {name: losses[0] for name, losses in experiments.at_equal(runs, "multiply-adds").items()}
''',
        "line by line": '''
def my_losses_at_equal(curves, cost):
    cheapest = sorted(cost, key=cost.get)[0]
    budget = curves[cheapest][0][-1] * cost[cheapest]
    found = {}
    for name in curves:
        steps, losses = curves[name]
        have = budget / cost[name]
        found[name] = losses[-1] if have >= steps[-1] else losses[0]
        for i in range(len(steps) - 1):
            if steps[i] <= have < steps[i + 1]:
                part = (have - steps[i]) / (steps[i + 1] - steps[i])
                found[name] = (1 - part) * losses[i] + part * losses[i + 1]
    return found
''',
    },
}

WRONG = {
    "naive_module": [
        Wrong("the reduced module", "from inception_lessons import googlenet\nMyNaiveInception = googlenet.Inception\n", "there should be a 3 x 3 from 6 to 4 channels"),
        Wrong("a 1 x 1 behind the pool", [("nn.MaxPool2d(3, stride=1, padding=1)", "nn.Sequential(nn.MaxPool2d(3, 1, 1), layers.conv(c_in, proj, 1))")], "a convolution too many: a 1 x 1 from 6 to 7"),
        Wrong("a mean", [("MaxPool2d", "AvgPool2d")], "takes a mean; in Fig. 2(a)"),
        Wrong("a ReLU on the pool", [("self.pool(x)", "torch.relu(self.pool(x))")], "ends in a ReLU"),
        Wrong("no pool", [("self.pool(x)", "x")], "hands on what came in"),
        Wrong("a pool that halves", [("stride=1", "stride=2")], "Sizes of tensors must match"),
        Wrong("another order", [("self.one(x), self.three(x)", "self.three(x), self.one(x)")], "another order: the 3 x 3, the 1 x 1, the 5 x 5"),
        Wrong("along the wrong axis", [("dim=1", "dim=0")], "raised RuntimeError"),
        Wrong("no ReLU", [("self.one = layers.conv(c_in, n1, 1)", "self.one = nn.Conv2d(c_in, n1, 1)")], "The 1 x 1 puts out numbers below 0"),
        Wrong("a branch left out", [("self.one(x), self.three(x), self.five(x)", "self.one(x), self.three(x)")], "(2, 13, 7, 5) goes out"),
        Wrong("a window of 5", [("nn.MaxPool2d(3, stride=1, padding=1)", "nn.MaxPool2d(5, stride=1, padding=2)")], "window of 5 x 5"),
        Wrong("3 x 3 twice", [("self.five = layers.conv(c_in, n5, 5)", "self.five = layers.conv(c_in, n5, 3)")], "should be a 5 x 5 from 6 to 5"),
    ],
    "folded_norm": [
        Wrong("nothing folded", "def my_fold(conv, norm):\n    return conv\n", "came back as it was"),
        Wrong("two layers", "from torch import nn\ndef my_fold(conv, norm):\n    return nn.Sequential(conv, norm)\n", "it returns a Sequential"),
        Wrong("eps of the default", [("norm.eps", "1e-5")], "not the norm's own, norm.eps"),
        Wrong("eps outside the root", [("torch.sqrt(norm.running_var + norm.eps)", "(torch.sqrt(norm.running_var) + norm.eps)")], "inside the root"),
        Wrong("the variance itself", [("torch.sqrt(norm.running_var + norm.eps)", "(norm.running_var + norm.eps)")], "divides by the variance"),
        Wrong("gamma forgotten", [("norm.weight / ", "1 / ")], "gamma, the norm's weight, is missing"),
        Wrong("beta forgotten", [("norm.bias + ", "")], "beta is missing"),
        Wrong("running mean forgotten", [("(bias - norm.running_mean)", "bias")], "running mean is missing"),
        Wrong("running mean added", [("bias - norm.running_mean", "bias + norm.running_mean")], "yours is added"),
        Wrong("own bias lost", [("bias = torch.zeros_like(scale) if conv.bias is None else conv.bias", "bias = torch.zeros_like(scale)")], "own bias got lost"),
        Wrong("own bias not scaled", [("norm.bias + (bias - norm.running_mean) * scale", "bias + norm.bias - norm.running_mean * scale")], "own bias is not scaled"),
        Wrong("running mean not scaled", [("norm.bias + (bias - norm.running_mean) * scale", "norm.bias + bias * scale - norm.running_mean")], "The running mean is not scaled"),
        Wrong("along the input", [("scale[:, None, None, None]", "scale[:, None, None]")], "along axis 1"),
        Wrong("kernels not scaled", [("conv.weight * scale[:, None, None, None]", "conv.weight")], "kernels are not scaled"),
        Wrong("the bias not changed", [("norm.bias + (bias - norm.running_mean) * scale", "bias")], "still the convolution's own"),
        Wrong("stride and padding lost", [("kernel_size, conv.stride, conv.padding)", "kernel_size)")], "Stride or padding got lost"),
        Wrong("no bias expected to be missing", [("torch.zeros_like(scale) if conv.bias is None else conv.bias", "conv.bias")], "raised TypeError"),
        Wrong("the old one changed", [("folded = nn.Conv2d", "nn.Conv2d"), ("    with torch.no_grad():\n", "    folded = conv\n    folded.bias = folded.bias if folded.bias is not None else nn.Parameter(torch.zeros_like(scale))\n    with torch.no_grad():\n")], "has changed the convolution that came in"),
    ],
    "half_given_module": [
        Wrong("half of the half", [('        return nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), layers.conv_bn(c_in, proj, 1))', '        raise NotImplementedError("build_pool")')], "build_pool is not written yet"),
        Wrong("zeros counted", [(", count_include_pad=False", "")], "counts the zeros beyond the border"),
        Wrong("a maximum", [("nn.AvgPool2d(3, 1, 1, count_include_pad=False)", "nn.MaxPool2d(3, 1, 1)")], "takes a maximum"),
        Wrong("no mean", [("nn.AvgPool2d(3, 1, 1, count_include_pad=False)", "nn.Identity()")], "no mean over 3 x 3"),
        Wrong("rows for columns", [("unit, row, column =", "unit, column, row =")], "yours has a 1 x 7 from 4 to 4"),
        Wrong("one unit too few", [("(column, row, column)", "(column, row)")], "this is missing: a 7 x 1 from 4 to 4"),
        Wrong("wide too early", [("unit(r7, r7, kernel) for kernel", "unit(r7, n77, kernel) for kernel")], "raised RuntimeError"),
        Wrong("no squeeze", [("unit(c_in, r7, 1), *inside", "*inside")], "expected input"),
        Wrong("no last ReLU", [("unit(r7, n77, row))", "unit(r7, n77, row)[:2])")], "`twice` puts out numbers below 0"),
        Wrong("two columns first", [("(column, row, column)", "(column, column, row)")], "begins with two columns"),
        Wrong("a row first", [("(column, row, column)", "(row, column, column)")], "begins with a row"),
        Wrong("no batch norm", [("unit, row, column = layers.conv_bn", "unit, row, column = layers.conv")], "Batch norm is missing in `twice`"),
        Wrong("paddings swapped", [("unit(r7, r7, kernel)", "unit(r7, r7, kernel, 1, layers.same(kernel[::-1]))"), ("unit(r7, n77, row)", "unit(r7, n77, row, 1, (3, 0))")], "paddings of rows and columns are swapped"),
    ],
    "calibration_error": [
        Wrong("empty bins", [("        if here.any():\n            gap = ", "        if True:\n            gap = ")], "not a number"),
        Wrong("bins count alike", [("here.float().mean() * gap", "gap / bins")], "divided by the number of bins"),
        Wrong("added up", [("here.float().mean() * gap", "gap")], "added up as they are"),
        Wrong("signed", [(".abs()", "")], "The bins cancel, as if all were one"),
        Wrong("signed the other way", [("(confidence[here].mean() - right[here].mean()).abs()", "right[here].mean() - confidence[here].mean()")], "Accuracy minus confidence has a sign"),
        Wrong("picture by picture", "import torch\ndef my_calibration_error(logits, labels, bins=15):\n    confidence, guess = logits.softmax(1).max(1)\n    return (confidence - (guess == labels).float()).abs().mean().item()\n", "each picture's own distance"),
        Wrong("the right class's probability", [("    right = ", "    confidence = logits.softmax(1)[range(len(labels)), labels]\n    right = ")], "not that of the right class"),
        Wrong("squared", [(".abs()", ".square()")], "squared"),
        Wrong("the middle", [("confidence[here].mean()", "(k + 0.5) / bins")], "with the middle of the bin"),
        Wrong("with the lower end", [("confidence > k / bins", "confidence >= k / bins"), ("confidence <= (k", "confidence < (k")], "belongs to the lower: a bin"),
        Wrong("always 15", [("for k in range(bins)", "bins = 15\n    for k in range(bins)")], "There are 15 bins"),
        Wrong("no softmax", [(".softmax(1)", "")], "The error in 4 bins is"),
        Wrong("softmax over the pictures", [(".softmax(1)", ".softmax(0)")], "The error in 4 bins is"),
        Wrong("bins between least and most", [("(confidence > k / bins) & (confidence <= (k + 1) / bins)", "torch.bucketize(confidence, torch.linspace(confidence.min(), confidence.max(), bins + 1)[1:-1]) == k")], "from the smallest to the largest"),
    ],
    "block_a": [
        Wrong("zeros counted", [(", count_include_pad=False", "")], "counts the zeros beyond the border"),
        Wrong("a maximum", [("nn.AvgPool2d(3, 1, 1, count_include_pad=False)", "nn.MaxPool2d(3, 1, 1)")], "takes a maximum"),
        Wrong("no mean", [("nn.AvgPool2d(3, 1, 1, count_include_pad=False), ", "")], "no mean over 3 x 3"),
        Wrong("one 3 x 3 too few", [(", unit(n33, n33, 3)", "")], "this is missing: a 3 x 3 from 7 to 7"),
        Wrong("a 5 x 5", [("unit(r3, n3, 3)", "unit(r3, n3, 5)")], "yours has a 5 x 5 from 4 to 5"),
        Wrong("no reduction", [("unit(c_in, r3, 1), unit(r3, n3, 3)", "unit(c_in, n3, 3)")], "yours has a 3 x 3 from 9 to 5"),
        Wrong("no batch norm", [("b1=unit(c_in, n1, 1)", "b1=layers.conv(c_in, n1, 1)")], "Batch norm is missing in the 1 x 1"),
        Wrong("eps of PyTorch", [("b1=unit(c_in, n1, 1)", "b1=layers.conv_bn(c_in, n1, 1, eps=1e-5)")], "PyTorch's 1e-5 in the 1 x 1"),
        Wrong("no last ReLU", [("unit(n33, n33, 3)", "unit(n33, n33, 3)[:2]")], "The branch with two 3 x 3 puts out numbers below 0"),
        Wrong("a dilated kernel", [("unit(n33, n33, 3)", "nn.Sequential(nn.Conv2d(n33, n33, 3, 1, 2, dilation=2, bias=False), *unit(n33, n33, 3)[1:])")], "What comes out of the branch with two 3 x 3 differs"),
        Wrong("a branch too many", [("unit(c_in, proj, 1)),", "unit(c_in, proj, 1)), more=unit(c_in, 2, 1),")], "a convolution too many: a 1 x 1 from 9 to 2"),
        Wrong("another order", [("b1=unit(c_in, n1, 1),", ""), ("unit(c_in, proj, 1)),", "unit(c_in, proj, 1)), b1=unit(c_in, n1, 1),")], "another order: the branch with one 3 x 3"),
        Wrong("halved", [("        self.branches =", "        self.halve = nn.MaxPool2d(2)\n        self.branches ="), ("return self.branches(x)", "return self.halve(self.branches(x))")], "(3, 23, 3, 3) goes out"),
        Wrong("a bias in front of the norm", [("b1=unit(c_in, n1, 1)", "b1=nn.Sequential(nn.Conv2d(c_in, n1, 1), *unit(c_in, n1, 1)[1:])")], "is there a bias in front of a batch norm?"),
    ],
    "block_b": [
        Wrong("zeros counted", [(", count_include_pad=False", "")], "counts the zeros beyond the border"),
        Wrong("a maximum", [("nn.AvgPool2d(3, 1, 1, count_include_pad=False)", "nn.MaxPool2d(3, 1, 1)")], "takes a maximum"),
        Wrong("V3's block, one width inside", [("unit(r, r, column), unit(r, m7, row), unit(m7, m7, column), unit(m7, n77, row)", "unit(r, r, column), unit(r, r, row), unit(r, r, column), unit(r, n77, row)")], "there should be a 1 x 7 from 4 to 5"),
        Wrong("1 x 7 twice in a row, as Fig. 5 has it", [("unit(m7, m7, column)", "unit(m7, m7, row)")], "yours has a 1 x 7 from 5 to 5"),
        Wrong("the row first in the long branch", [("unit(r, r, column), unit(r, m7, row)", "unit(r, r, row), unit(r, m7, column)")], "yours has a 1 x 7 from 4 to 4"),
        Wrong("n7 for n77", [("unit(m7, n77, row)", "unit(m7, n7, row)")], "should be a 1 x 7 from 5 to 7"),
        Wrong("the long branch without its 1 x 1", [("unit(c_in, r, 1), unit(r, r, column)", "unit(c_in, r, column)")], "yours has a 7 x 1 from 9 to 4"),
        Wrong("no last ReLU", [("unit(m7, n7, column))", "unit(m7, n7, column)[:2])")], "The short branch puts out numbers below 0"),
        Wrong("no batch norm in the pool branch", [("unit(c_in, proj, 1)", "layers.conv(c_in, proj, 1)")], "Batch norm is missing in the pool branch"),
        Wrong("short and long swapped", [("self.branches(x)", "torch.cat([self.branches[k](x) for k in ('b1', 'b77', 'b7', 'pool')], 1)")], "another order: the 1 x 1, the long branch"),
    ],
    "equal_budget": [
        Wrong("equal steps", [("budget / cost[name]", "steps[-1]")], "losses at equal steps"),
        Wrong("steps for losses", [("losses_at[name] = float(np.interp(afford, steps, losses))", "losses_at[name] = afford")], "the losses there are wanted"),
        Wrong("the mean budget", [("min(", "sum("), ("for name in curves)", "for name in curves) / len(curves)")], "is the mean of all"),
        Wrong("the look before", [("float(np.interp(afford, steps, losses))", "([l for s, l in zip(steps, losses) if s <= afford] or losses)[0 if afford < steps[0] else -1]")], "the look before"),
        Wrong("the look after", [("float(np.interp(afford, steps, losses))", "next(l for s, l in zip(steps, losses) if s >= afford)")], "the look after"),
        Wrong("the nearest look", [("float(np.interp(afford, steps, losses))", "min(zip(steps, losses), key=lambda look: abs(look[0] - afford))[1]")], "that is nearest"),
        Wrong("nothing before the first look", [("float(np.interp(afford, steps, losses))", "float(np.interp(afford, steps, losses, left=np.nan))")], "not a number there"),
        Wrong("looks counted", [("curves[name][0][-1]", "len(curves[name][0])")], "not as many as there are looks"),
        Wrong("whole steps", [("budget / cost[name]", "budget // cost[name]")], "rounded down"),
        Wrong("rounded steps", [("budget / cost[name]", "round(budget / cost[name])")], "yours are rounded."),
        Wrong("a list", [("return losses_at", "return list(losses_at.values())")], "not something of type list"),
        Wrong("the cheapest left out", [("return losses_at", "return {n: v for n, v in losses_at.items() if n != min(cost, key=cost.get)}")], "has the keys"),
    ],
}  # fmt: skip

EQUIVALENT = {}
