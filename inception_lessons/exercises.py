"""Checks of the small exercises inside lessons, where a learner rebuilds what the package or PyTorch already has.

    checks.run(exercises.naive_module, "MyNaiveInception")

Each check compares what the learner wrote with what is there, under equal weights or equal numbers, and names the
mistakes that are easily made. The graded assignments ask for more: for what the package does not have.
"""

import bisect
import itertools
import math
from collections import Counter, OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

from inception_lessons import checks, googlenet, inception_v3, inception_v4, layers, measure

# ---------------------------------------------------------------------------- modules whose branches stand side by side


def _filled(Module, sizes, x):
    """A probe: the learner's module with weights that depend on their shapes alone, in training."""
    module = checks.fill(Module(*sizes))
    return {"output": module(x), "shapes": [tuple(p.shape) for p in module.parameters()]}


def _same_module(answer, theirs: nn.Module, sizes: tuple, x: Tensor, names: dict, source: str, mistakes: dict) -> None:
    """The learner's module beside `theirs`, branch by branch.

    `names` says what each branch of theirs is called in a sentence; `mistakes` is a sentence -> theirs with it. In
    training batch norm uses the batch's statistics, so there are none that would have to be equal.
    """
    got = answer(_filled, sizes, x)
    output, shapes, wanted = got["output"], got["shapes"], [tuple(p.shape) for p in theirs.parameters()]
    kind = type(output).__name__
    checks.that(isinstance(output, Tensor), f"It should return one tensor, not something of type {kind}.")
    missing, odd = _convolutions(wanted) - _convolutions(shapes), _convolutions(shapes) - _convolutions(wanted)
    missing, odd = (" and ".join(sorted(found.elements())) for found in (missing, odd))
    asked = f"With the sizes {sizes}"
    checks.that(not (missing and odd), f"{asked} there should be {missing}; yours has {odd} there.")
    checks.that(not missing, f"{asked} this is missing: {missing}.")
    checks.that(not odd, f"{asked} there is a convolution too many: {odd}.")
    right = checks.fill(theirs)(x)
    shape = f"{tuple(x.shape)} comes in, and {tuple(output.shape)} goes out; {tuple(right.shape)} is right"
    checks.that(output.shape == right.shape, f"All convolutions are there, but {shape}.")
    parts = {name: branch(x) for name, branch in theirs.branches.items()}
    for order in itertools.permutations(parts):
        stacked = torch.cat([parts[name] for name in order], 1)
        if order != tuple(parts) and torch.allclose(stacked, output, atol=1e-5):
            told = ", ".join(names[name] for name in order)
            raise checks.Wrong(f"The branches are right, but stacked in another order: {told}.")
    wrong = {said: {name: b(x) for name, b in checks.fill(m).branches.items()} for said, m in mistakes.items()}
    found = output.split([part.shape[1] for part in parts.values()], 1)
    for (name, part), mine in zip(parts.items(), found, strict=True):
        unless = {said.format(names[name]): other[name] for said, other in wrong.items()}
        told = f"{names[name].capitalize()} puts out numbers below 0: its last ReLU is missing."
        checks.that(part.min() < 0 or mine.min() >= 0, told)
        checks.same(f"What comes out of {names[name]}", mine, part, source, unless=unless)
    count, most = (sum(map(math.prod, found)) for found in (shapes, wanted))
    told = f"The outputs are right, but there are {count} parameters where {most} do"
    checks.that(count == most, f"{told}: is there a bias in front of a batch norm?")


def _convolutions(shapes: list) -> Counter:
    """Shapes of parameters -> how often there is which convolution, in words."""
    return Counter("a {2} x {3} from {1} to {0} channels".format(*shape) for shape in shapes if len(shape) == 4)


def _with_pool(module: nn.Module, pool: nn.Module) -> nn.Module:
    """The module with another pool in its pool branch."""
    if isinstance(module.branches["pool"], nn.Sequential):
        module.branches["pool"][0] = pool
    else:
        module.branches["pool"] = pool
    return module


def naive_module(answer: checks.Answer) -> None:
    """Lesson 01: Fig. 2(a), ``MyNaiveInception(c_in, n1, r3, n3, r5, n5, proj)`` beside `googlenet.NaiveInception`."""
    sizes, x = (6, 3, 2, 4, 2, 5, 7), checks.varied(2, 6, 7, 5, mean=-1.5)

    def make(pool=None):
        module = googlenet.NaiveInception(*sizes)
        return _with_pool(module, pool) if pool else module

    maximum = "in Fig. 2(a) it takes the maximum over 3 x 3"
    mistakes = {
        f"The pool branch takes a mean; {maximum}.": make(nn.AvgPool2d(3, 1, 1)),
        f"The pool branch takes a mean of what is there; {maximum}.": make(inception_v3.average(False)),
        f"The pool branch hands on what came in; {maximum}.": make(nn.Identity()),
        f"The pool branch looks through a window of 5 x 5; {maximum}.": make(nn.MaxPool2d(5, 1, 2)),
        "The pool branch ends in a ReLU; it hands on the maximum as it is.": make(
            nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.ReLU())
        ),
    }
    names = {"b1": "the 1 x 1", "b3": "the 3 x 3", "b5": "the 5 x 5", "pool": "the pool branch"}
    source = "that of googlenet.NaiveInception with equal weights"
    _same_module(answer, make(), sizes, x, names, source, mistakes)


def _with_norm_and_mean(make) -> dict[str, nn.Module]:
    """Mistakes of a module with batch norm, and a mean in its pool branch; `make` takes unit and count_include_pad."""

    def loose(*sizes):
        return layers.conv_bn(*sizes, eps=1e-5)

    return {
        "The mean of the pool branch counts the zeros beyond the border: along the rim it is too small.": make(
            count_include_pad=True
        ),
        "The pool branch takes a maximum; a mean is asked for.": _with_pool(make(), nn.MaxPool2d(3, 1, 1)),
        "The pool branch has no mean over 3 x 3, only its 1 x 1.": _with_pool(make(), nn.Identity()),
        "Batch norm is missing in {}.": make(unit=layers.conv),
        "The eps of batch norm is PyTorch's 1e-5 in {}; layers.conv_bn has 1e-3.": make(unit=loose),
    }


def half_given_module(answer: checks.Answer) -> None:
    """Lesson 03: V3's module of the medium grid, half of it given, beside `inception_v3.InceptionB`."""
    sizes, x = (5, 3, 4, 6, 7, 8), checks.varied(3, 5, 9, 8)

    def make(unit=layers.conv_bn, **settings):
        return inception_v3.InceptionB(*sizes, unit=unit, **settings)

    def twice(*kernels, padding=layers.same):
        module, widths = make(), (5, 4, 4, 4, 4, 7)
        rows = zip(itertools.pairwise(widths), (1, *kernels), strict=True)
        module.branches["b77"] = nn.Sequential(*(layers.conv_bn(*ends, k, 1, padding(k)) for ends, k in rows))
        return module

    row, column, order = (1, 7), (7, 1), "column, row, column, row is asked for"
    wrong_way = twice(column, row, column, row, padding=lambda k: layers.same(k if k == 1 else k[::-1]))
    mistakes = _with_norm_and_mean(make) | {
        f"`twice` begins with two columns; {order}.": twice(column, column, row, row),
        f"`twice` begins with a row; {order}.": twice(row, column, column, row),
        "The paddings of rows and columns are swapped in `twice`. They cancel, so the shape is right.": wrong_way,
    }
    names = {"b1": "`one`", "b7": "`seven`", "b77": "`twice`", "pool": "`pool`"}
    _same_module(answer, make(), sizes, x, names, "that of inception_v3.InceptionB with equal weights", mistakes)


def block_a(answer: checks.Answer) -> None:
    """Lesson 05: V4's block A from its row alone, beside `inception_v4.InceptionA`."""
    sizes, x = (9, 3, 4, 5, 6, 7, 8), checks.varied(3, 9, 6, 7)

    def make(unit=layers.conv_bn, **settings):
        return inception_v4.InceptionA(*sizes, unit=unit, **settings)

    names = {"b1": "the 1 x 1", "b3": "the branch with one 3 x 3", "b33": "the branch with two 3 x 3"}
    names |= {"pool": "the pool branch"}
    source = "that of inception_v4.InceptionA with equal weights"
    _same_module(answer, make(), sizes, x, names, source, _with_norm_and_mean(make))


def block_b(answer: checks.Answer) -> None:
    """Lesson 05: V4's block B from its row alone, beside `inception_v4.InceptionB`."""
    sizes, x = (9, 3, 4, 5, 6, 7, 8), checks.varied(3, 9, 9, 8)

    def make(unit=layers.conv_bn, **settings):
        return inception_v4.InceptionB(*sizes, unit=unit, **settings)

    names = {"b1": "the 1 x 1", "b7": "the short branch", "b77": "the long branch", "pool": "the pool branch"}
    source = "that of inception_v4.InceptionB with equal weights"
    _same_module(answer, make(), sizes, x, names, source, _with_norm_and_mean(make))


# ----------------------------------------------------------------------------------------------------- other exercises


def conv_and_norm(
    c_in: int, c_out: int, kernel: int | tuple[int, int], settings: dict, eps: float
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """Sizes -> a convolution and a batch norm in evaluation, whose numbers are the same in every process."""
    conv, norm = checks.fill(nn.Conv2d(c_in, c_out, kernel, **settings)), nn.BatchNorm2d(c_out, eps=eps).eval()
    for seed, values in enumerate((norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var)):
        values.copy_(checks.varied(c_out, seed=seed))
    norm.running_var.abs_().add_(0.2)
    return conv, norm


def folded_norm(answer: checks.Answer) -> None:
    """Lesson 02: ``my_fold(conv, norm)`` beside `layers.fold`."""

    def folded(my_fold, x, *sizes):
        from inception_lessons import exercises

        conv, norm = exercises.conv_and_norm(*sizes)
        found, before = my_fold(conv, norm), exercises.conv_and_norm(*sizes)[0].state_dict()
        if not isinstance(found, nn.Conv2d):
            return {"kind": type(found).__name__}
        kept = all(torch.equal(now, before[name]) for name, now in conv.state_dict().items())
        return {"kind": "Conv2d", "output": found(x), "kept": kept}

    def asked(*sizes):
        got = answer(folded, x, *sizes)
        checks.that(got["kind"] == "Conv2d", f"my_fold should return an nn.Conv2d; it returns a {got['kind']}.")
        conv, norm = conv_and_norm(*sizes)
        return got, layers.fold(nn.Sequential(OrderedDict(conv=conv, norm=norm)).eval())(x).detach()

    x, eps = checks.varied(2, 4, 6, 7), 0.3
    got, right = asked(4, 4, 3, {}, eps)
    conv, norm = conv_and_norm(4, 4, 3, {}, eps)
    weight, bias, gamma, beta = (p.detach() for p in (*conv.parameters(), *norm.parameters()))
    mean, var = norm.running_mean, norm.running_var
    scale, nothing = gamma / (var + eps).sqrt(), torch.ones(4)

    def out(kernels=scale, shift=beta + (bias - mean) * scale, axis=0):
        along = kernels.view([-1 if k == axis else 1 for k in range(4)])
        return nn.functional.conv2d(x, weight * along, shift)

    def scaled(by):
        return out(by, beta + (bias - mean) * by)

    mistakes = {
        "The convolution came back as it was: the batch norm is not in it.": out(nothing, bias),
        "The bias is right, but the kernels are not scaled.": out(nothing),
        "The kernels are scaled, but the bias is still the convolution's own.": out(shift=bias),
        "beta is missing in the new bias.": out(shift=(bias - mean) * scale),
        "The running mean is missing in the new bias.": out(shift=beta + bias * scale),
        "The convolution's own bias got lost.": out(shift=beta - mean * scale),
        "The convolution's own bias is not scaled; batch norm comes after it.": out(shift=beta + bias - mean * scale),
        "The running mean is not scaled.": out(shift=beta + bias * scale - mean),
        "The running mean is subtracted; yours is added.": out(shift=beta + (bias + mean) * scale),
        "eps belongs inside the root, added to the variance.": scaled(gamma / (var.sqrt() + eps)),
        "eps is missing, or is not the norm's own, norm.eps.": scaled(gamma / (var + 1e-5).sqrt()),
        "Batch norm divides by the root of the variance; yours divides by the variance.": scaled(gamma / (var + eps)),
        "gamma, the norm's weight, is missing.": scaled(1 / (var + eps).sqrt()),
        "The kernels are scaled along axis 1, the input; an output channel has one scale, along axis 0.": out(axis=1),
    }
    checks.same("The output of a folded 3 x 3", got["output"], right, "that of layers.fold", unless=mistakes)
    checks.that(got["kept"], "my_fold has changed the convolution that came in; it should make a new one.")
    got, right = asked(4, 6, (3, 2), {"stride": 2, "padding": (1, 0), "bias": False}, 1e-3)
    shape = f"{tuple(got['output'].shape)} comes out where the convolution makes {tuple(right.shape)}"
    checks.that(got["output"].shape == right.shape, f"Stride or padding got lost: {shape}.")
    checks.same("The output of a 3 x 2 with stride 2 and no bias", got["output"], right, "that of layers.fold")


def calibration_error(answer: checks.Answer) -> None:
    """Lesson 04: ``my_calibration_error(logits, labels, bins=15)`` beside `measure.calibration`."""

    def asked(my_calibration_error, logits, labels, bins):
        return [my_calibration_error(logits, labels, bins), my_calibration_error(logits, labels)]

    logits = 2 * checks.varied(60, 4)
    logits[:3] = torch.tensor([0.0, 0.0, -200.0, -200.0])  # a confidence of 0.5 is the edge of a bin
    labels = torch.where(torch.arange(60) % 5 < 2, logits.argmax(1), torch.arange(60) % 4)  # too sure, on the whole
    labels[:3] = 2
    for bins, got in zip((4, 15), answer(asked, logits, labels, 4), strict=True):
        right, mistakes = measure.calibration(logits, labels, bins).ece, _miscalibrated(logits.double(), labels, bins)
        source = "that of measure.calibration"
        checks.same(f"The error in {bins} bins", got, right, source, unless=mistakes, tolerance=1e-4)


def _miscalibrated(logits: Tensor, labels: Tensor, bins: int) -> dict[str, float]:
    """What the easy mistakes make of the calibration error."""
    sure, guess = logits.softmax(1).max(1)
    right = (guess == labels).double()
    steps = torch.arange(1, bins, dtype=torch.double) / bins
    spread = sure.min() + steps * (sure.max() - sure.min())

    def error(sure=sure, edges=steps, distance=torch.abs, middle=False, share=None, upper=False):
        place, total = torch.bucketize(sure, edges, right=upper), 0.0
        for k in place.unique():
            here = place == k
            believed = (k + 0.5) / bins if middle else sure[here].mean()
            total += float(distance(believed - right[here].mean()) * (share or here.double().mean()))
        return total

    filled = len(torch.bucketize(sure, steps).unique())
    signed, told = error(distance=lambda gap: gap), logits.softmax(1).gather(1, labels[:, None])[:, 0]
    by_size = "a bin counts by its share of the pictures"
    return {
        "The result is not a number: an empty bin has no mean, and has to be left out.": math.nan,
        f"All bins that are not empty count alike; {by_size}.": error(share=1 / filled),
        f"The distances are divided by the number of bins; {by_size}.": error(share=1 / bins),
        f"The distances of all bins are added up as they are; {by_size}.": error(share=1.0),
        "The bins cancel, as if all were one: take the distance in each bin, without its sign.": signed,
        "Accuracy minus confidence has a sign, and the bins cancel: take the distance without it.": -signed,
        "This is each picture's own distance; take that of a bin's two means.": float((sure - right).abs().mean()),
        "Confidence is the largest probability, not that of the right class.": error(told),
        "The distances are squared; take them as they are.": error(distance=torch.square),
        "Accuracy is compared with the middle of the bin, not with its mean confidence.": error(middle=True),
        "A confidence at the edge of two bins belongs to the lower: a bin is without its lower end.": error(upper=True),
        "The bins run from the smallest to the largest confidence, not from 0 to 1.": error(edges=spread),
        "There are 15 bins, however many were asked for.": measure.calibration(logits, labels, 15).ece,
        "There are 10 bins, however many were asked for.": measure.calibration(logits, labels, 10).ece,
    }


def equal_budget(answer: checks.Answer) -> None:
    """Lesson 06: ``my_losses_at_equal(curves, cost)`` beside `experiments.at_equal`."""
    from inception_lessons import experiments  # everything that lessons measure: only this check needs it

    def asked(my_losses_at_equal, curves, cost):
        return [my_losses_at_equal(curves, cost), my_losses_at_equal(curves, {n: 7 * c for n, c in cost.items()})]

    steps, cost = [10, 20, 40, 60, 100], {"A": 3e6, "B": 1e6, "C": 2.1e6, "D": 16e6}
    losses = {"A": [2.0, 1.7, 1.4, 0.9, 0.5], "B": [2.2, 1.9, 1.2, 0.8, 0.7], "C": [2.1, 1.6, 1.5, 1.3, 0.4]}
    losses["D"] = [2.3, 2.0, 1.8, 1.1, 0.6]
    runs = {
        name: [{"validation": {"steps": steps, "loss": losses[name]}, "stopped": None, "step_macs": cost[name]}]
        for name in cost
    }
    right = {name: found for name, (found,) in experiments.at_equal(runs, "multiply-adds").items()}
    fair = {name: 100 * 1e6 / cost[name] for name in cost}  # steps

    def line(step, values):
        return float(np.interp(step, steps, values))

    def before(step, values):
        return values[max(0, bisect.bisect_right(steps, step) - 1)]

    def after(step, values):
        return values[bisect.bisect_left(steps, step)]

    def nearest(step, values):
        return values[min(range(5), key=lambda k: abs(steps[k] - step))]

    def beyond(step, values):
        return values[0] + (step - 10) * (values[1] - values[0]) / 10 if step < 10 else line(step, values)

    def at(afford, read=line):
        return {name: read(afford[name], losses[name]) for name in cost}

    mean, looks = sum(cost.values()) / 4, "Between two looks the loss lies on a line; yours is that of the look"
    whole, first = "A part of a step counts, too; yours are", "Before the first look the first look's loss counts"
    mistakes = {
        "These are losses at equal steps; whose steps cost more can afford fewer.": at(dict.fromkeys(cost, 100)),
        "These are the steps that each can afford; the losses there are wanted.": fair,
        "The budget is what the cheapest network spends in all its steps. Yours is the mean of all.": at(
            {n: 100 * mean / c for n, c in cost.items()}
        ),
        f"{looks} before.": at(fair, before),
        f"{looks} after.": at(fair, after),
        f"{looks} that is nearest.": at(fair, nearest),
        f"{first}; yours goes on in a straight line.": at(fair, beyond),
        f"{first}; yours is not a number there.": right | {"D": math.nan},
        "A run has as many steps as its last look says, not as many as there are looks.": at(
            {n: s / 20 for n, s in fair.items()}
        ),
        f"{whole} rounded down.": at({n: math.floor(s) for n, s in fair.items()}),
        f"{whole} rounded.": at({n: round(s) for n, s in fair.items()}),
    }
    curves = {name: [steps, values] for name, values in losses.items()}
    for got, told in zip(answer(asked, curves, cost), ("", " at 7 times the cost"), strict=True):
        kind = type(got).__name__
        checks.that(isinstance(got, dict), f"A dict of losses by name is wanted, not something of type {kind}.")
        checks.same(f"The losses{told}", got, right, "those of experiments.at_equal", unless=mistakes)
