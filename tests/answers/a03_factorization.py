"""Assignment 03: what a dilated stack sees, dilated factors, the nearest row and column, the cheapest chain."""

from marking import Wrong

RIGHT = {
    "3.1": {
        "by gradient": '''
import torch
import torch.nn.functional as F

def seen(layers, size, unit):
    x = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
    y = x
    for k, s, p, d in layers:
        y = F.conv1d(y, torch.ones(1, 1, k, dtype=torch.float64), stride=s, padding=p, dilation=d)
    if unit < 0 or unit >= y.shape[2]:
        raise ValueError("no such unit")
    y[0, 0, unit].backward()
    return torch.nonzero(x.grad[0, 0] > 0)[:, 0].tolist()
''',
        "forwards, what every unit of every layer sees": '''
def seen(layers, size, unit):
    below = [{pixel} for pixel in range(size)]
    for k, s, p, d in layers:
        wide = [set()] * p + below + [set()] * p
        below = []
        start = 0
        while start + d * (k - 1) < len(wide):
            below.append(set().union(*wide[start : start + d * (k - 1) + 1 : d]))
            start += s
    if unit < 0:
        raise ValueError(unit)
    try:
        return sorted(below[unit])
    except IndexError:
        raise ValueError(unit) from None
''',
        "backwards, by recursion": '''
def outputs(layers, size):
    for k, s, p, d in layers:
        size = (size - d * (k - 1) - 1 + p + p) // s + 1
    return size

def seen(layers, size, unit):
    if not 0 <= unit < outputs(layers, size):
        raise ValueError
    if not layers:
        return [unit]
    *before, (k, s, p, d) = layers
    found = []
    for tap in range(k):
        place = unit * s + tap * d - p
        if 0 <= place < outputs(before, size):
            found += seen(before, size, place)
    return sorted(set(found))
''',
    },
    "3.2": {
        "written out, numbers for the padding": '''
import torch
from torch import nn
import torch.nn.functional as F

class Branch(nn.Module):
    def __init__(self, a, b, k, d):
        super().__init__()
        edge = d * (k // 2)
        self.across = nn.Conv2d(a, a, kernel_size=(1, k), padding=(0, edge), dilation=(1, d), bias=False)
        self.n1 = nn.BatchNorm2d(a)
        self.down = nn.Conv2d(a, b, kernel_size=(k, 1), padding=(edge, 0), dilation=(d, 1), bias=False)
        self.n2 = nn.BatchNorm2d(b)

    def forward(self, x):
        return F.relu(self.n2(self.down(F.relu(self.n1(self.across(x))))))

class DilatedFactors(nn.Module):
    def __init__(self, c_in, c_mid, c_out, k, dilations):
        super().__init__()
        if k // 2 * 2 == k:
            raise ValueError("k")
        self.squeeze, self.norm = nn.Conv2d(c_in, c_mid, 1, bias=False), nn.BatchNorm2d(c_mid)
        for i, d in enumerate(dilations):
            self.add_module(f"branch{i}", Branch(c_mid, c_out, k, d))
        self.count = len(dilations)

    def forward(self, x):
        x = torch.relu(self.norm(self.squeeze(x)))
        return torch.cat([getattr(self, f"branch{i}")(x) for i in range(self.count)], 1)
''',
        "branches first, zeros by hand, output filled in": '''
import torch
from torch import nn

class DilatedFactors(nn.Module):
    def __init__(self, c_in, c_mid, c_out, k, dilations):
        if k % 2 != 1:
            raise ValueError(f"even: {k}")
        nn.Module.__init__(self)
        self.width = c_out
        self.branches = nn.ModuleDict()
        for number, d in enumerate(dilations):
            reach = (k - 1) * d // 2
            parts = [nn.ZeroPad2d((reach, reach, 0, 0)), nn.Conv2d(c_mid, c_mid, (1, k), dilation=d, bias=False)]
            parts += [nn.BatchNorm2d(c_mid), nn.ReLU(inplace=True), nn.ZeroPad2d((0, 0, reach, reach))]
            parts += [nn.Conv2d(c_mid, c_out, (k, 1), dilation=d, bias=False), nn.BatchNorm2d(c_out)]
            self.branches[str(number)] = nn.Sequential(*parts)
        self.first = nn.Sequential(nn.Conv2d(c_in, c_mid, 1, bias=False), nn.BatchNorm2d(c_mid), nn.ReLU())

    def forward(self, x):
        thin = self.first(x)
        n, _, h, w = x.shape
        out = x.new_zeros(n, self.width * len(self.branches), h, w)
        for i, branch in enumerate(self.branches.values()):
            out[:, i * self.width : (i + 1) * self.width] = branch(thin)
        return out.clamp(min=0)
''',
    },
    "3.3": {
        "eigenvectors of the rows, then projected": '''
import torch
from torch import nn

def nearest_pair(conv, width):
    O, I, H, W = conv.weight.shape
    if width < 1 or width > O * H or width > I * W:
        raise ValueError(width)
    lines = torch.cat([conv.weight.detach()[:, :, y].flatten(1) for y in range(H)]).double()  # (h, c_out) lines
    values, vectors = torch.linalg.eigh(lines.T @ lines)
    strong = vectors[:, values.argsort(descending=True)[:width]]
    first = nn.Conv2d(I, width, (1, W), bias=False)
    second = nn.Conv2d(width, O, (H, 1), bias=conv.bias is not None)
    first.weight = nn.Parameter(strong.T.float().reshape(width, I, 1, W))
    weight = (lines @ strong).float().reshape(H, O, width).permute(1, 2, 0)
    second.weight = nn.Parameter(weight[..., None].contiguous())
    if second.bias is not None:
        second.bias = nn.Parameter(conv.bias.detach().clone())
    for axis, layer in ((1, first), (0, second)):
        for what in ("stride", "padding", "dilation"):
            value = [0 if what == "padding" else 1] * 2
            value[axis] = getattr(conv, what)[axis]
            setattr(layer, what, tuple(value))
    return nn.Sequential(first, second)
''',
        "numpy, the size in both halves, all padding and strides in one layer": '''
import numpy as np
import torch
from torch import nn

def nearest_pair(conv, width):
    weight = conv.weight.detach().numpy()
    o, i, h, w = weight.shape
    if width not in range(1, min(o * h, i * w) + 1):
        raise ValueError("too wide or too thin")
    big = np.zeros((o * h, i * w))
    for a in range(o):
        for b in range(i):
            big[a * h : (a + 1) * h, b * w : (b + 1) * w] = weight[a, b]
    u, s, vh = np.linalg.svd(big)
    row = nn.Conv2d(i, width, (1, w), padding=conv.padding, dilation=conv.dilation, bias=False)
    column = nn.Conv2d(width, o, (h, 1), stride=conv.stride, dilation=conv.dilation, bias=conv.bias is not None)
    with torch.no_grad():
        for r in range(width):
            for b in range(i):
                for x in range(w):
                    row.weight[r, b, 0, x] = -float(np.sqrt(s[r]) * vh[r, b * w + x])
            for a in range(o):
                for y in range(h):
                    column.weight[a, r, y, 0] = -float(np.sqrt(s[r]) * u[a * h + y, r])
        if conv.bias is not None:
            column.bias[:] = conv.bias
    return nn.Sequential(row, column)
''',
    },
    "3.4": {
        "the forms that can win, by thought": '''
def cheapest_chain(c_in, c_mid, c_out, n, most):
    if n < 1 or n % 2 == 0 or most < 1:
        raise ValueError("none")
    point, best = (1, 1), None
    for middle in ([(n, n)], [(n, 1), (1, n)]):
        for before in ([], [point]):
            for after in ([], [point]):
                chain = before + middle + after
                if len(chain) > most:
                    continue
                total, channels = 0, c_in
                for number, (h, w) in enumerate(chain, 1):
                    to = c_out if number == len(chain) else c_mid
                    total += channels * to * h * w
                    channels = to
                if best is None or total < best[1]:
                    best = (chain, total)
    return best
''',
        "kernel by kernel, remembering what is left": '''
from functools import lru_cache

def cheapest_chain(c_in, c_mid, c_out, n, most):
    @lru_cache(None)
    def go(channels, up, across, left):
        options = [(channels * c_out * (up + 1) * (across + 1), ((up + 1, across + 1),))]
        if left > 1:
            for a in range(0, up + 1, 2):
                for b in range(0, across + 1, 2):
                    cost, chain = go(c_mid, up - a, across - b, left - 1)
                    options.append((cost + channels * c_mid * (a + 1) * (b + 1), ((a + 1, b + 1), *chain)))
        return min(options)

    if n % 2 != 1 or n <= 0 or most <= 0:
        raise ValueError(f"{n}, {most}")
    cost, chain = go(c_in, n - 1, n - 1, most)
    return [list(chain), cost]
''',
    },
}

WRONG = {
    "3.1": [
        Wrong("dilation ignored", [("tap * dilation", "tap")], "The dilation has no effect"),
        Wrong("one pixel too many between the weights", [
            ("tap * dilation", "tap * (dilation + 1)"),
        ], "Dilation 1 is the plain kernel"),
        Wrong("stride ignored", [("p * stride - padding", "p - padding")], "The stride has no effect"),
        Wrong("padding ignored", [("p * stride - padding", "p * stride")], "The padding has no effect"),
        Wrong("padding the wrong way", [
            ("p * stride - padding", "p * stride + padding"),
        ], "The padding moves the units the wrong way"),
        Wrong("around the kernel's middle", [
            ("p * stride - padding + tap * dilation", "p * stride + (tap - kernel // 2) * dilation"),
        ], "Yours puts the kernel's middle there"),
        Wrong("from the first layer to the last", [
            ("reversed(inputs)", "inputs"),
        ], "You go through the layers from the first to the last"),
        Wrong("the list turned round", [
            ("return sorted(places)", "layers.reverse()\n    return sorted(places)"),
        ], "The list of layers that came in was changed", keeps=2),
        Wrong("the last layer alone", [("reversed(inputs)", "inputs[-1:]")], "One layer alone is looked through"),
        Wrong("everything within reach", [
            ("return sorted(places)", "return list(range(min(places), max(places) + 1)) if places else []"),
        ], "list the pixels under its weights only"),
        Wrong("as far as the receptive field reaches, holes only in one layer", '''
def seen(layers, size, unit):
    sizes = [size]
    for k, s, p, d in layers:
        sizes.append((sizes[-1] + 2 * p - d * (k - 1) - 1) // s + 1)
    if not 0 <= unit < sizes[-1]:
        raise ValueError
    if len(layers) == 1:
        (k, s, p, d), = layers
        return [q for q in range(unit * s - p, unit * s - p + d * k, d) if 0 <= q < size]
    low = high = unit
    for k, s, p, d in layers[::-1]:
        low, high = low * s - p, high * s - p + d * (k - 1)
    return list(range(max(low, 0), min(high, size - 1) + 1))
''', "Holes stay holes"),
        Wrong("padding dropped at the end only", [
            (" & set(grid)", ""),
            ("return sorted(places)", "return sorted(p for p in places if p in inputs[0][1])"),
        ], "Zeros between two layers see nothing", keeps=2),
        Wrong("padding listed", [(" & set(grid)", "")], "Places before pixel 0 are padding"),
        Wrong("padding behind the last pixel listed", [
            (" & set(grid)", ""),
            ("return sorted(places)", "return sorted(p for p in places if p >= 0)"),
        ], "Places behind the last pixel are padding"),
        Wrong("each path listed", [
            ("places = {unit}", "places = [unit]"),
            ("{p * stride", "[p * stride"),
            ("range(kernel)} & set(grid)", "range(kernel)]\n        places = [p for p in places if p in grid]"),
        ], "Each pixel is to be listed once"),
        Wrong("padding counted once for the size", [("size + 2 * padding", "size + padding")], "there is no unit 19"),
        Wrong("size without dilation", [
            ("dilation * (kernel - 1) - 1)", "kernel)"),
        ], "The grids between the layers have wrong sizes", keeps=2),
        Wrong("no refusal", [("if unit not in range(size):", "if False:")], "unit 8 should be refused"),
        Wrong("counted from the end", [
            ("if unit not in range(size):", "if unit >= size:"),
        ], "unit -1 should be refused"),
        Wrong("the last one refused", [
            ("if unit not in range(size):", "if unit not in range(size - 1):"),
        ], "and 7 was refused"),
        Wrong("unsorted", [
            ("return sorted(places)", "return sorted(places, reverse=True)"),
        ], "what unit 7 of a kernel of 5 sees is [11"),
    ],
    "3.2": [
        Wrong("no ReLU behind the 1 x 1", [
            ("unit(c_in, c_mid, 1)", "unit(c_in, c_mid, 1)[:2]"),
        ], "The ReLU between the 1 x 1 and the row is missing"),
        Wrong("no ReLU between row and column", [
            ("unit(c_mid, c_mid, (1, k), dilation=d)", "unit(c_mid, c_mid, (1, k), dilation=d)[:2]"),
        ], "The ReLU between row and column is missing"),
        Wrong("no ReLU at the end", [
            ("unit(c_mid, c_out, (k, 1), dilation=d)", "unit(c_mid, c_out, (k, 1), dilation=d)[:2]"),
        ], "The ReLU behind the column is missing"),
        Wrong("ReLU at the end alone", [
            ("unit(c_in, c_mid, 1)", "unit(c_in, c_mid, 1)[:2]"),
            ("unit(c_mid, c_mid, (1, k), dilation=d)", "unit(c_mid, c_mid, (1, k), dilation=d)[:2]"),
        ], "ReLUs are missing in more than one place"),
        Wrong("biases", [("bias=False", "bias=True")], "The convolutions have biases"),
        Wrong("no batch norm", [("nn.BatchNorm2d(c_out), ", "")], "and no batch norm's"),
        Wrong("the package's unit", '''
import torch
from torch import nn
from inception_lessons import layers

def unit(a, b, kernel, d=1):
    made = layers.conv_bn(a, b, kernel)
    made.conv.dilation, made.conv.padding = (d, d), tuple(d * p for p in made.conv.padding)
    return made

class DilatedFactors(nn.Module):
    def __init__(self, c_in, c_mid, c_out, k, dilations):
        super().__init__()
        if k % 2 == 0:
            raise ValueError(k)
        self.thin = layers.conv_bn(c_in, c_mid, 1)
        pairs = [nn.Sequential(unit(c_mid, c_mid, (1, k), d), unit(c_mid, c_out, (k, 1), d)) for d in dilations]
        self.rest = layers.Concat(**{f'd{i}': pair for i, pair in enumerate(pairs)})

    def forward(self, x):
        return self.rest(self.thin(x))
''', "Was a layer of the package taken"),
        Wrong("weights shared", '''
import torch
from torch import nn
import torch.nn.functional as F

class DilatedFactors(nn.Module):
    def __init__(self, c_in, c_mid, c_out, k, dilations):
        super().__init__()
        if k % 2 == 0:
            raise ValueError(k)
        self.ds = dilations
        self.thin = nn.Sequential(nn.Conv2d(c_in, c_mid, 1, bias=False), nn.BatchNorm2d(c_mid), nn.ReLU())
        self.row, self.column = nn.Conv2d(c_mid, c_mid, (1, k), bias=False), nn.Conv2d(c_mid, c_out, (k, 1), bias=False)
        self.n1, self.n2 = nn.BatchNorm2d(c_mid), nn.BatchNorm2d(c_out)

    def forward(self, x):
        x, outs = self.thin(x), []
        for d in self.ds:
            y = F.relu(self.n1(F.conv2d(x, self.row.weight, padding='same', dilation=d)))
            outs.append(F.relu(self.n2(F.conv2d(y, self.column.weight, padding='same', dilation=d))))
        return torch.cat(outs, 1)
''', "The branches share their weights"),
        Wrong("a Python list", [("nn.ModuleList(", "list(")], "layers in a Python list are hidden"),
        Wrong("a 1 x 1 for each branch", [
            ("self.thin = unit(c_in, c_mid, 1)", "self.thin = nn.Identity()"),
            ("nn.Sequential(unit(c_mid", "nn.Sequential(unit(c_in, c_mid, 1), unit(c_mid"),
        ], "Each branch has a 1 x 1 of its own"),
        Wrong("squares", [("(1, k)", "(k, k)"), ("(k, 1)", "(k, k)")], "The kernels are k x k"),
        Wrong("large instead of dilated", [
            ("(1, k), dilation=d", "(1, d * (k - 1) + 1)"),
            ("(k, 1), dilation=d", "(d * (k - 1) + 1, 1)"),
        ], "holes need no weights"),
        Wrong("added", [
            ("torch.cat([branch(x) for branch in self.branches], dim=1)", "sum(branch(x) for branch in self.branches)"),
        ], "The branches are added"),
        Wrong("row not dilated", [("(1, k), dilation=d", "(1, k)")], "Only the column is dilated"),
        Wrong("column not dilated", [("(k, 1), dilation=d", "(k, 1)")], "Only the row is dilated"),
        Wrong("padding of the plain kernel", [
            ('padding="same"', "padding=tuple(side // 2 for side in kernel) if kernel != 1 else 0"),
        ], "raised RuntimeError: Sizes of tensors must match"),
        Wrong("zeros at the wrong sides", [
            ('padding="same"',
             "padding=tuple(spread['dilation'] * (side // 2) for side in kernel[::-1]) if kernel != 1 else 0"),
        ], "The zeros of row and column are swapped", keeps=2),
        Wrong("zeros at one end", [
            ("return nn.Sequential(conv,",
             "conv.padding = 0\n"
             '            reach = [0, 0] if kernel == 1 else [spread["dilation"] * (side - 1) for side in kernel]\n'
             "            return nn.Sequential(nn.ZeroPad2d((reach[1], 0, reach[0], 0)), conv,"),
        ], "All zeros are added at one end"),
        Wrong("column first", [
            ("(1, k)", "(k, 0)"),
            ("(k, 1)", "(1, k)"),
            ("(k, 0)", "(k, 1)"),
        ], "Yours has the column before the row", keeps=2),
        Wrong("dilations sorted", [
            ("for d in dilations", "for d in sorted(dilations)"),
        ], "not in the order of the dilations", keeps=2),
        Wrong("dilations backwards", [("for d in dilations", "for d in dilations[::-1]")], "in the opposite order"),
        Wrong("even kernels accepted", [("if k % 2 == 0:", "if False:")], "An even k, here 4"),
    ],
    "3.3": [
        Wrong("singular values forgotten", [("(u * s)", "u")], "lost their size"),
        Wrong("singular values on both sides", [
            ("vh[:width]", "(s[:, None] * vh)[:width]"),
        ], "The kernel's size counts twice"),
        Wrong("roots on one side only", [("(u * s)", "(u * s.sqrt())")], "Half of the kernel's size is lost"),
        Wrong("axes mixed up", [("detach().permute(0, 2, 1, 3)", "detach()")], "The axes of the weight are mixed up"),
        Wrong("column read in the wrong order", [
            (".reshape(c_out, h, width, 1).permute(0, 2, 1, 3)", ".reshape(column.weight.shape)"),
        ], "The column's weights are read in the wrong order"),
        Wrong("V for its transpose", [
            ("vh[:width]", "vh.T[:, :width]"),
        ], "The row's weights are read in the wrong order"),
        Wrong("the weakest pairs", [
            ("vh[:width]", "vh[-width:]"),
            ("(u * s)[:, :width]", "(u * s)[:, -width:]"),
        ], "The weakest pairs"),
        Wrong("counted from 1", [
            ("vh[:width]", "vh[1:].repeat(2, 1)[:width]"),
            ("(u * s)[:, :width]", "(u * s)[:, 1:].repeat(1, 2)[:, :width]"),
        ], "The strongest pair is left out"),
        Wrong("principal components", [("svd(matrix,", "svd(matrix - matrix.mean(0),")], "Mean values are subtracted"),
        Wrong("all lines made equally long first", [
            ("svd(matrix,", "svd(matrix / matrix.norm(dim=1, keepdim=True),"),
            ("(u * s)", "(matrix @ vh.T)"),
        ], "the pair is not the nearest"),
        Wrong("column first", [
            ("return nn.Sequential(row, column)", "return nn.Sequential(column, row)"),
        ], "Yours has the column before the row"),
        Wrong("bias lost", [
            ("bias=conv.bias is not None", "bias=False"),
            ("if conv.bias is not None:", "if False:"),
        ], "The convolution's bias is lost"),
        Wrong("a bias in the row", [(", bias=False)", ")")], "The row has a bias; it is to have none"),
        Wrong("a bias in both where there is one", [
            ("bias=False", "bias=conv.bias is not None"),
        ], "The row has a bias where"),
        Wrong("a bias where there was none", [
            ("bias=conv.bias is not None", "bias=True"),
        ], "so the column is to have none"),
        Wrong("padding lost", [("(0, left)", "0"), ("(top, 0)", "0")], "The padding is lost"),
        Wrong("padding turned", [
            ("(0, left)", "(0, top)"),
            ("(top, 0)", "(left, 0)"),
        ], "height comes first, width second"),
        Wrong("stride lost", [("(1, right)", "1"), ("(down, 1)", "1")], "The stride is lost", keeps=2),
        Wrong("dilation lost", [
            ("(0, left), conv.dilation", "(0, left)"),
            ("(top, 0), conv.dilation", "(top, 0)"),
        ], "The dilation is lost", keeps=2),
        Wrong("the bias itself, no copy", [
            ("conv.bias.detach().clone()", "conv.bias.detach()"),
        ], "shares numbers", keeps=2),
        Wrong("any width", [("if not 1 <= width <= len(s):", "if False:")], "a width of 0 should be refused"),
        Wrong("width limited by the column alone", [
            ("<= len(s):", "<= c_out * h:"),
        ], "7, a kernel of (3, 2): width 7 should be refused", keeps=2),
    ],
    "3.4": [
        Wrong("always a row and a column", '''
def cheapest_chain(c_in, c_mid, c_out, n, most):
    if n < 1 or n % 2 == 0 or most < 1:
        raise ValueError
    if most == 1 or n == 1:
        return [(n, n)], c_in * c_out * n * n
    return [(1, n), (n, 1)], c_in * c_mid * n + c_mid * c_out * n
''', "One single kernel would cost"),
        Wrong("never split", '''
def cheapest_chain(c_in, c_mid, c_out, n, most):
    if n < 1 or n % 2 == 0 or most < 1:
        raise ValueError
    return [(n, n)], c_in * c_out * n * n
''', "A row and a column would cost"),
        Wrong("no 1 x 1", [
            ("kernels = [(h, w) for h in sides for w in sides]",
             "kernels = [(h, w) for h in sides for w in sides if n == 1 or h * w > 1]"),
        ], "the cheapest without a 1 x 1"),
        Wrong("rows and columns only", [
            ("for w in sides]", "for w in sides if 1 in (h, w) or most == 1]"),
        ], "the cheapest of rows, columns and 1 x 1"),
        Wrong("squares only", [("for w in sides]", "for w in sides if h == w]")], "the cheapest of squares"),
        Wrong("one kernel fewer", [
            ("range(1, most + 1)", "range(1, max(most, 2))"),
        ], "with one kernel fewer than allowed"),
        Wrong("exactly so many", [
            ("range(1, most + 1)", "range(max(most, 1), most + 1)"),
        ], "with exactly as many kernels as allowed"),
        Wrong("more kernels than allowed", [
            ("range(1, most + 1)", "range(1, most + 2)"),
            ("if not chains:", "if not chains or most < 1:"),
        ], "and at most 3 has 4 kernels"),
        Wrong("c_in everywhere", [("[c_mid] * (len(chain) - 1)", "[c_in] * (len(chain) - 1)")], "your cost takes c_in"),
        Wrong("c_out everywhere", [
            ("[c_mid] * (len(chain) - 1)", "[c_out] * (len(chain) - 1)"),
        ], "your cost takes c_out"),
        Wrong("c_mid everywhere", [
            ("[c_in] + [c_mid] * (len(chain) - 1) + [c_out]", "[c_mid] * (len(chain) + 1)"),
        ], "your cost takes c_mid"),
        Wrong("channels left out", [
            ("[c_in] + [c_mid] * (len(chain) - 1) + [c_out]", "[1] * (len(chain) + 1)"),
        ], "The channels are left out"),
        Wrong("cost of the whole window", [
            ("return list(best), cost(best)", "return list(best), cost(best) * n * n"),
        ], "are counted too often"),
        Wrong("sides added up", [
            ("sum(h - 1 for h, _ in chain) == sum(w - 1 for _, w in chain) == n - 1",
             "sum(h for h, _ in chain) == sum(w for _, w in chain) == n"),
        ], "sees 3 x 3"),
        Wrong("an even n rounded up", [
            ("== n - 1", "== n // 2 * 2"),
        ], "n = 4 with at most 2 kernels should be refused"),
        Wrong("nothing refused", [
            ('raise ValueError(f"no chain of 1 to {most} odd kernels sees {n} x {n}")', "return [], 0"),
        ], "n = 3 with at most 0 kernels should be refused"),
        Wrong("the cost alone", [
            ("return list(best), cost(best)", "return cost(best)"),
        ], "Two things are to be returned"),
        Wrong("the forms of the lesson alone", '''
def cheapest_chain(c_in, c_mid, c_out, n, most):
    if n < 1 or n % 2 == 0 or most < 1:
        raise ValueError
    forms = [[(n, n)], [(1, n), (n, 1)], [(1, 1), (n, n)], [(1, 1), (1, n), (n, 1)], [(1, 1), (1, n), (n, 1), (1, 1)]]

    def cost(chain):
        c = [c_in, *[c_mid] * (len(chain) - 1), c_out]
        return sum(a * b * h * w for a, b, (h, w) in zip(c, c[1:], chain))

    best = min((form for form in forms if len(form) <= most), key=cost)
    return best, cost(best)
''', "the cheapest of a few forms", keeps=2),
    ],
}  # fmt: skip

EQUIVALENT = {
    "3.4": {
        'line 16: left out: raise ValueError(f"no chain of 1 to {most} odd kernels sees {n} x {n}")':
            "the minimum of no chains is a ValueError too, in Python's words",
    },
}  # fmt: skip
