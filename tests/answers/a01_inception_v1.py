"""Assignment 01: modules from rows, their cost, the width of a bottleneck, class maps."""

from marking import Wrong

RIGHT = {
    "1.1": {
        "functions of the package, one list for all layers": """
import torch
from inception_lessons import layers

class RowModule(torch.nn.Module):
    def __init__(self, c_in, row):
        super().__init__()
        paths = {}
        outs = []
        for i, steps in enumerate(row):
            widths = [c_in]
            path = []
            for step in steps:
                if isinstance(step, str):
                    kind = torch.nn.MaxPool2d if step == "max" else torch.nn.AvgPool2d
                    more = {} if step == "max" else {"count_include_pad": False}
                    path.append(kind(kernel_size=3, stride=1, padding=1, **more))
                    continue
                if not step[0] % 2:
                    raise ValueError("even")
                path.append(layers.conv(widths[-1], step[1], step[0]))
                widths.append(step[1])
            outs.append(widths[-1])
            paths[f"b{i}"] = torch.nn.Sequential(*path)
        self.paths = layers.Concat(**paths)
        self.c_out = sum(outs)

    def forward(self, x):
        return self.paths(x)
""",
        "functions of torch, padded by hand": """
import torch
import torch.nn.functional as F

class RowModule(torch.nn.Module):
    def __init__(self, c_in, row):
        super().__init__()
        self.row, self.c_in = row, c_in
        for b, steps in enumerate(row):
            for s, step in enumerate(steps):
                if type(step) is tuple:
                    before = [old[1] for old in steps[:s] if type(old) is tuple]
                    if step[0] in range(0, 1000, 2):
                        raise ValueError(step)
                    setattr(self, f"conv{b}_{s}", torch.nn.Conv2d(before[-1] if before else c_in, step[1], step[0]))

    @property
    def c_out(self):
        width = []
        for steps in self.row:
            convs = [step[1] for step in steps if type(step) is tuple]
            width.append(convs[-1] if convs else self.c_in)
        return sum(width)

    def forward(self, x):
        outs = []
        for b, steps in enumerate(self.row):
            y = x
            for s, step in enumerate(steps):
                if step == "max":
                    y = F.pad(y, (1, 1, 1, 1), value=float("-inf"))
                    y = y.unfold(2, 3, 1).unfold(3, 3, 1).amax((-2, -1))
                elif step == "average":
                    ones = torch.ones_like(y)
                    y = F.avg_pool2d(y, 3, 1, 1) / F.avg_pool2d(ones, 3, 1, 1)
                else:
                    p = (step[0] - 1) // 2
                    y = getattr(self, f"conv{b}_{s}")(F.pad(y, (p, p, p, p))).clamp(min=0)
            outs.append(y)
        return torch.cat(outs, 1)
""",
    },
    "1.2": {
        "channels first, then sums": """
def row_cost(c_in, row, height, width):
    area = height * width
    result = {"parameters": 0, "multiply_adds": 0, "kept": 0}
    for branch in row:
        channels = [c_in]
        for step in branch:
            channels.append(channels[-1] if isinstance(step, str) else step[1])
        pairs = [(a, b, s[0]) for a, b, s in zip(channels, channels[1:], branch) if not isinstance(s, str)]
        result["kept"] += sum(channels[1:]) * area
        result["parameters"] += sum(b * (a * k * k + 1) for a, b, k in pairs)
        result["multiply_adds"] += sum(area * a * b * k * k for a, b, k in pairs)
    return result
""",
        "recursion along a branch": """
from collections import Counter

def branch_cost(c, steps, h, w):
    if not steps:
        return Counter()
    step, *rest = steps
    if step == "max" or step == "average":
        return Counter(kept=c * h * w) + branch_cost(c, rest, h, w)
    k, n = step
    here = Counter(parameters=(k * k * c + 1) * n, multiply_adds=k * k * c * n * h * w, kept=n * h * w)
    return here + branch_cost(n, rest, h, w)

def row_cost(c_in, row, height, width):
    total = Counter()
    for steps in row:
        total += branch_cost(c_in, steps, height, width)
    return {key: total[key] for key in ("parameters", "multiply_adds", "kept")}
""",
    },
    "1.3": {
        "the root of a quadratic equation": """
import math

def widest_bottleneck(c_in, n, kernel, stride):
    a, b, c = kernel ** 2, c_in * stride ** 2 + n, kernel ** 2 * c_in * n
    return max(0, (math.isqrt(b * b + 4 * a * (c - 1)) - b) // (2 * a))
""",
        "layers counted on a grid of stride x stride, found by halving": """
def macs(c_in, c_out, kernel, height, width):
    return c_in * c_out * kernel * kernel * height * width

def widest_bottleneck(c_in, n, kernel, stride):
    direct = macs(c_in, n, kernel, 5, 7)

    def pays(r):
        first = macs(c_in, r, 1, 5 * stride, 7 * stride)
        return first + macs(r, r, kernel, 5, 7) + macs(r, n, 1, 5, 7) < direct

    low, high = 0, c_in + n + 1
    while high - low > 1:
        middle = (low + high) // 2
        if pays(middle):
            low = middle
        else:
            high = middle
    return low
""",
    },
    "1.4": {
        "features stretched first, one picture after the other": """
import torch
import torch.nn as nn

def class_maps(features, weight, bias, labels, size, rivals=None):
    def check(c):
        if not 0 <= c < weight.shape[0]:
            raise ValueError(c)
    larger = nn.Upsample(size=size, mode="bilinear")(features)
    result = []
    for n, label in enumerate(labels.tolist()):
        check(label)
        w, b = weight[label], bias[label]
        if rivals is not None:
            rival = rivals.tolist()[n]
            check(rival)
            w, b = w - weight[rival], b - bias[rival]
        result.append((w.reshape(-1, 1, 1) * larger[n]).sum(0) + b)
    return torch.stack(result)
""",
        "one-hot labels and einsum": """
import torch
import torch.nn.functional as F

def class_maps(features, weight, bias, labels, size, rivals=None):
    k = weight.size(0)
    picked = [labels] + ([] if rivals is None else [rivals])
    if any(bool((p < 0).any()) or bool((p > k - 1).any()) for p in picked):
        raise ValueError("no such class")
    hot = F.one_hot(labels, k).float()
    if rivals is not None:
        hot = hot - F.one_hot(rivals, k).float()
    maps = torch.einsum("nchw,nc->nhw", features, hot @ weight) + (hot @ bias).view(-1, 1, 1)
    return F.interpolate(maps.unsqueeze(1), size, mode="bilinear", align_corners=False).squeeze(1)
""",
    },
}

COUNTED = 'return {"parameters": parameters, "multiply_adds": multiply_adds, "kept": kept}'

WRONG = {
    "1.1": [
        Wrong(
            "V1's module for any row",
            """from inception_lessons import googlenet

class RowModule(googlenet.Inception):
    def __init__(self, c_in, row):
        super().__init__(c_in, 5, 4, 7, 3, 8, 9)
        self.c_out = 29
""",
            "the output of a 3 x 3 convolution has the shape",
        ),
        Wrong("no ReLU", [("                    branch.append(nn.ReLU())\n", "")], "there is none"),
        Wrong(
            "ReLU at the end of a branch alone",
            [
                ("                    branch.append(nn.ReLU())\n", ""),
                (
                    "            self.branches.append(branch)",
                    """            if steps and not isinstance(steps[-1], str):
                branch.append(nn.ReLU())
            self.branches.append(branch)""",
                ),
            ],
            "at the end of a branch only",
        ),
        Wrong(
            "ReLU after pools",
            [
                ("branch.append(nn.MaxPool2d(3, 1, 1))", "branch.extend([nn.MaxPool2d(3, 1, 1), nn.ReLU()])"),
                (
                    "branch.append(nn.AvgPool2d(3, 1, 1, count_include_pad=False))",
                    "branch.extend([nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.ReLU()])",
                ),
            ],
            "the pool; only convolutions should",
        ),
        Wrong("no padding", [(", padding=kernel // 2", "")], "A 3 x 3 convolution should keep the grid"),
        Wrong(
            "a padding of 1 for all", [("padding=kernel // 2", "padding=1")], "A 5 x 5 convolution should keep the grid"
        ),
        Wrong("no bias", [("padding=kernel // 2)", "padding=kernel // 2, bias=False)")], "yours has none"),
        Wrong(
            "the pool's default stride",
            [("nn.MaxPool2d(3, 1, 1)", "nn.MaxPool2d(3, padding=1)")],
            'the output of "max" alone has the shape',
        ),
        Wrong("padding counted", [(", count_include_pad=False", "")], "counts zeros outside the grid"),
        Wrong(
            "max for average",
            [("nn.AvgPool2d(3, 1, 1, count_include_pad=False)", "nn.MaxPool2d(3, 1, 1)")],
            "yours takes the largest value",
        ),
        Wrong("layers in a plain list", [("nn.ModuleList()", "[]")], "no parameters"),
        Wrong(
            "branches one after the other",
            [
                (
                    "return torch.cat([branch(x) for branch in self.branches], dim=1)",
                    """found = []
        for branch in self.branches:
            x = branch(x)
            found.append(x)
        return torch.cat(found, dim=1)""",
                )
            ],
            "what the branch before gave",
        ),
        Wrong("stacked along the batch", [("dim=1", "dim=0")], "along the batch"),
        Wrong(
            "added",
            [
                (
                    "torch.cat([branch(x) for branch in self.branches], dim=1)",
                    "sum(branch(x) for branch in self.branches)",
                )
            ],
            "are added",
        ),
        Wrong(
            "the last branch first",
            [("in self.branches]", "in reversed(self.branches)]")],
            "in another order than the row's",
        ),
        Wrong(
            "channels go on from branch to branch",
            [
                (
                    "branch, now = nn.Sequential(), c_in",
                    "branch = nn.Sequential()\n            now = locals().get('now', c_in)",
                )
            ],
            "channels, but got",
        ),
        Wrong(
            "c_out with the reductions",
            [
                ("now = channels", "now = channels\n                    self.c_out += channels"),
                ("            self.c_out += now\n", "            self.c_out += 0 if steps and now != c_in else now\n"),
            ],
            "c_out counts the reductions",
        ),
        Wrong(
            "c_out without the branches that end with a pool",
            [("self.c_out += now", "self.c_out += steps[-1][1] if steps and not isinstance(steps[-1], str) else 0")],
            "end with a pool or have no steps",
            keeps=2,
        ),
        Wrong(
            "c_out without the branches that have no convolution",
            [("self.c_out += now", "self.c_out += now if any(not isinstance(step, str) for step in steps) else 0")],
            "have no convolution",
            keeps=2,
        ),
        Wrong(
            "pools first",
            [
                (
                    "in self.branches]",
                    "in sorted(self.branches, key=lambda b: len(b) == 0 or isinstance(b[0], nn.Conv2d))]",
                )
            ],
            "pool's branch comes out first",
        ),
        Wrong("even kernels too", [("if kernel % 2 == 0:", "if False:")], "should be refused"),
        Wrong(
            "only the first kernel looked at",
            [("if kernel % 2 == 0:", "if kernel % 4 == 0:")],
            "A kernel of 2 behind a pool",
            keeps=2,
        ),
    ],
    "1.2": [
        Wrong(
            "the package's count of a module that is built",
            """from torch import nn
from inception_lessons import measure

def row_cost(c_in, row, height, width):
    found = {'parameters': 0, 'multiply_adds': 0, 'kept': 0}
    for steps in row:
        now = c_in
        for step in steps:
            if not isinstance(step, str):
                cost = measure.count(nn.Conv2d(now, step[1], step[0], padding=step[0] // 2), (height, width))
                now = step[1]
                found['parameters'] += cost.params
                found['multiply_adds'] += cost.macs
            found['kept'] += now * height * width
    return found
""",
            "row_cost raised",
            keeps=2,
        ),
        Wrong("biases forgotten", [("weights + channels", "weights")], "biases are missing in parameters"),
        Wrong(
            "a bias for each input channel", [("weights + channels", "weights + now")], "belongs to an output channel"
        ),
        Wrong("the kernel not squared", [("kernel**2", "kernel")], "9 weights for each pair"),
        Wrong("multiply-adds without the grid", [("weights * height * width", "weights")], "yours count once"),
        Wrong(
            "biases as multiply-adds",
            [("weights * height * width", "(weights + channels) * height * width")],
            "Biases are added, not multiplied",
        ),
        Wrong(
            "a square grid", [("weights * height * width", "weights * height * height")], "you counted height x height"
        ),
        Wrong(
            "ReLU kept as well",
            [
                (
                    "now * height * width\n    return",
                    "now * height * width * (1 if isinstance(step, str) else 2)\n    return",
                )
            ],
            "ReLU and stacking add nothing",
        ),
        Wrong(
            "what comes in is kept",
            [
                (
                    "now * height * width\n    return",
                    "now * height * width\n        kept += c_in * height * width\n    return",
                )
            ],
            "only what the steps put out",
        ),
        Wrong(
            "kept without the grid",
            [("now * height * width\n    return", "now\n    return")],
            "kept is for the whole grid",
        ),
        Wrong(
            "pools not kept",
            [("            kept += now * height * width", "                kept += now * height * width")],
            "What a pool puts out has to be kept",
        ),
        Wrong(
            "every step begins with c_in",
            [("kernel**2 * now * channels", "kernel**2 * c_in * channels")],
            "what the first gave",
        ),
        Wrong(
            "the end of a branch alone is kept",
            [("            kept += now", "        if steps:\n            kept += now")],
            "yours counts the end of a branch only",
        ),
        Wrong(
            "branches go on",
            [("    for steps in row:\n        now = c_in\n", "    now = c_in\n    for steps in row:\n")],
            "Every branch begins with c_in",
        ),
        Wrong(
            "a pool puts out c_in channels",
            [("kept += now", "kept += (c_in if isinstance(step, str) else now)")],
            "A pool puts out as many channels",
            keeps=2,
        ),
        Wrong(
            "an empty branch is kept",
            [("        now = c_in\n", "        now = c_in\n        kept += 0 if steps else c_in * height * width\n")],
            "A branch without steps",
            keeps=2,
        ),
        Wrong(
            "only pools at the start are kept",
            [
                (
                    "            kept += now",
                    "            if not isinstance(step, str) or step == steps[0]:\n                kept += now",
                )
            ],
            "at the beginning of a branch only",
            keeps=2,
        ),
        Wrong(
            "numbers with a point",
            [
                (
                    COUNTED,
                    'return {"parameters": parameters / 1, "multiply_adds": multiply_adds / 1, "kept": kept / 1}',
                )
            ],
            "digits get lost",
            keeps=2,
        ),
        Wrong(
            "the row eaten up",
            [("for steps in row:\n", "while row:\n        steps = row.pop(0)\n")],
            "The row that came in was changed",
            keeps=2,
        ),
        Wrong(
            "a list returned", [(COUNTED, "return [parameters, multiply_adds, kept]")], "A dictionary with parameters"
        ),
    ],
    "1.3": [
        Wrong("as many is enough", [("n < kernel", "n <= kernel")], "exactly as much"),
        Wrong("the stride forgotten", [("stride**2 * c_in", "c_in")], "before the stride"),
        Wrong("the stride in one direction", [("stride**2 * c_in", "stride * c_in")], "in both directions"),
        Wrong(
            "the middle on the large grid",
            [("kernel**2 * r**2", "stride**2 * kernel**2 * r**2")],
            "middle convolution has the stride",
        ),
        Wrong("the last on the large grid", [("r * n", "stride**2 * r * n")], "comes behind the stride"),
        Wrong(
            "the whole bottleneck on the large grid",
            [("kernel**2 * r**2", "stride**2 * kernel**2 * r**2"), ("r * n", "stride**2 * r * n")],
            "two of its three layers",
        ),
        Wrong(
            "kernels not squared",
            [("kernel**2 * r", "kernel * r"), ("kernel**2 * c_in", "kernel * c_in")],
            "kernel x kernel weights",
        ),
        Wrong("the last layer forgotten", [(" + r * n", "")], "last 1 x 1 is missing"),
        Wrong(
            "the lesson's reduction",
            [("kernel**2 * r**2 + r * n", "kernel**2 * r * n")],
            "this is the lesson's reduction",
        ),
        Wrong("the kernel widens", [("kernel**2 * r**2", "kernel**2 * r * n")], "not from r to n"),
        Wrong("one too many", [("return r - 1", "return r")], "the first r that does not pay"),
        Wrong("never 0", [("return r - 1", "return max(1, r - 1)")], "0 is wanted"),
        Wrong("not above c_in", [("return r - 1", "return min(c_in, r - 1)")], "r may be larger than c_in"),
        Wrong(
            "below c_in",
            """def widest_bottleneck(c_in, n, kernel, stride):
    best = 0
    for r in range(1, c_in):
        if stride**2 * c_in * r + kernel**2 * r**2 + r * n < kernel**2 * c_in * n:
            best = r
    return best
""",
            "as large as c_in",
        ),
        Wrong("not above n", [("return r - 1", "return min(n, r - 1)")], "r may be larger than n", keeps=2),
        Wrong("biases counted", [("+ r * n <", "+ r * n + (stride**2 + 1) * r <")], "Biases are no multiply-adds"),
        Wrong(
            "a root with a point",
            """def widest_bottleneck(c_in, n, kernel, stride):
    a, b, c = kernel**2, stride**2 * c_in + n, kernel**2 * c_in * n
    return ((b * b + 4 * a * c) ** 0.5 - b) / (2 * a)
""",
            "should be a whole number",
        ),
        Wrong(
            "modules built and counted",
            """from torch import nn

def widest_bottleneck(c_in, n, kernel, stride):
    def macs(a, b, k, area):
        return nn.Conv2d(a, b, k, bias=False).weight.numel() * area
    r, direct = 1, macs(c_in, n, kernel, 1)
    while macs(c_in, r, 1, stride**2) + macs(r, r, kernel, 1) + macs(r, n, 1, 1) < direct:
        r += 1
    return r - 1
""",
            "MB of memory",
            keeps=2,
        ),
    ],
    "1.4": [
        Wrong("no bias", [("[:, :, None, None], bias)", "[:, :, None, None])")], "The bias is missing: the mean"),
        Wrong(
            "the bias divided",
            [("[:, :, None, None], bias)", "[:, :, None, None], bias / features[0, 0].numel())")],
            "divided among the places",
        ),
        Wrong(
            "after the averaging",
            [("F.conv2d(features,", "F.conv2d(features.mean((2, 3), keepdim=True).expand_as(features),")],
            "says the same everywhere",
        ),
        Wrong(
            "a mean over channels",
            [("F.conv2d(features,", "F.conv2d(features / features.shape[1],")],
            "sum over channels; yours is a mean",
        ),
        Wrong(
            "the answer in place of the label",
            [
                (
                    "return maps[torch.arange(len(maps)), classes]",
                    "return maps[torch.arange(len(maps)), maps.mean((2, 3)).argmax(1)]",
                )
            ],
            "the largest logit",
        ),
        Wrong(
            "the first label for all",
            [("return maps[torch.arange(len(maps)), classes]", "return maps[:, classes[0]]")],
            "takes the first label",
        ),
        Wrong(
            "all labels for each",
            [
                ("return maps[torch.arange(len(maps)), classes]", "return maps[:, classes]"),
                ('chosen[:, None], size=size, mode="bilinear")[:, 0]', 'chosen, size=size, mode="bilinear")'),
            ],
            "should give a tensor of shape",
        ),
        Wrong(
            "cut at 0",
            [
                (
                    "F.conv2d(features, weight[:, :, None, None], bias)",
                    "F.conv2d(features, weight[:, :, None, None], bias).relu()",
                )
            ],
            "mean of each map differs",
        ),
        Wrong(
            "negative places cut, the mean mended",
            [
                (
                    "F.conv2d(features, weight[:, :, None, None], bias)",
                    """F.conv2d(features, weight[:, :, None, None], bias)
    mean = maps.mean((2, 3), keepdim=True)
    maps = maps.clamp(min=0)
    maps = maps + mean - maps.mean((2, 3), keepdim=True)""",
                )
            ],
            "the map at [0, 1] differs",
        ),
        Wrong("repeated", [('mode="bilinear"', 'mode="nearest"')], "Every value is repeated"),
        Wrong("aligned corners", [('mode="bilinear"', 'mode="bilinear", align_corners=True')], "align_corners=False"),
        Wrong("bicubic", [('mode="bilinear"', 'mode="bicubic"')], "is bicubic; bilinear"),
        Wrong("width first", [("size=size", "size=size[::-1]")], "not (3, 2, 3)"),
        Wrong(
            "rivals ignored",
            [("chosen = of(labels) if rivals is None else of(labels) - of(rivals)", "chosen = of(labels)")],
            "rivals change nothing",
        ),
        Wrong(
            "rival minus label", [("of(labels) - of(rivals)", "of(rivals) - of(labels)")], "yours is rival minus label"
        ),
        Wrong(
            "a rival without bias",
            [("of(labels) - of(rivals)", "of(labels) - of(rivals) + bias[rivals][:, None, None]")],
            "The rival's bias is missing",
        ),
        Wrong(
            "a difference without biases",
            [("of(labels) - of(rivals)", "of(labels) - of(rivals) - (bias[labels] - bias[rivals])[:, None, None]")],
            "biases of label and rival",
        ),
        Wrong(
            "too large a label",
            [("classes.min() < 0 or classes.max() >= len(weight)", "classes.min() < 0")],
            "the label 4 should raise a ValueError; yours raised IndexError",
        ),
        Wrong(
            "a negative label",
            [("classes.min() < 0 or classes.max() >= len(weight)", "classes.max() >= len(weight)")],
            "the label -1 should raise",
        ),
        Wrong(
            "rivals not looked at",
            [("of(labels) - of(rivals)", "of(labels) - maps[torch.arange(len(maps)), rivals]")],
            "-7 as a rival should",
            keeps=2,
        ),
        Wrong(
            "features multiplied in place",
            """
def class_maps(features, weight, bias, labels, size, rivals=None):
    both = labels if rivals is None else torch.cat([labels, rivals])
    if both.min() < 0 or both.max() >= len(weight):
        raise ValueError(both)
    w, b = weight[labels], bias[labels]
    if rivals is not None:
        w, b = w - weight[rivals], b - bias[rivals]
    features *= w[:, :, None, None]
    return F.interpolate((features.sum(1) + b[:, None, None])[:, None], size, mode="bilinear")[:, 0]
""",
            "tensors that came in was changed",
            keeps=2,
        ),
    ],
}

EQUIVALENT = {}
