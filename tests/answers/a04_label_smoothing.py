"""Assignment 04: smoothing by frequency, its loss and its optimum, calibration in bins of equal numbers."""

from marking import Wrong

RIGHT = {
    "4.1": {
        "row by row, in Python numbers": """
import torch

def smoothed_targets(labels, frequencies, epsilon):
    if epsilon < 0 or epsilon >= 1:
        raise ValueError("epsilon")
    total = float(sum(frequencies.tolist()))
    rows = []
    for label in labels.tolist():
        if label not in range(len(frequencies)):
            raise ValueError(label)
        row = [epsilon * f / total for f in frequencies.tolist()]
        row[label] += 1 - epsilon
        rows.append(row)
    return torch.tensor(rows)
""",
        "added to the shared part with scatter": """
import torch
from torch.nn.functional import normalize

def smoothed_targets(labels, frequencies, epsilon):
    classes = frequencies.numel()
    if labels.min() < 0 or labels.max() > classes - 1 or not (0 <= epsilon < 1):
        raise ValueError
    prior = normalize(frequencies.float(), p=1, dim=0)
    out = (prior * epsilon).repeat(labels.numel(), 1)
    return out.scatter_add(1, labels.unsqueeze(1), torch.full((len(labels), 1), 1.0 - epsilon))
""",
        "a matrix of all classes, rows taken from it": """
import torch

def smoothed_targets(labels, frequencies, epsilon):
    k = frequencies.shape[0]
    if not all(0 <= n < k for n in labels) or epsilon >= 1.0 or epsilon < 0.0:
        raise ValueError("no")
    everyone = torch.lerp(torch.eye(k), (frequencies / torch.sum(frequencies)).to(torch.float32).expand(k, k), epsilon)
    return everyone[labels]
""",
    },
    "4.2": {
        "soft targets for torch's cross-entropy": """
import torch
import torch.nn.functional as F

def smoothed_loss(logits, labels, frequencies, epsilon):
    there = torch.nonzero(labels >= 0).flatten()
    if there.numel() == 0:
        return logits[there].sum()
    x, y, e = logits[there], labels[there], epsilon[there].unsqueeze(1)
    target = F.one_hot(y, logits.size(1)) * (1 - e) + e * frequencies.float() / frequencies.sum()
    return F.cross_entropy(x, target)
""",
        "one example after the other, with logsumexp": """
import torch

def smoothed_loss(logits, labels, frequencies, epsilon):
    prior = frequencies.double() / frequencies.double().sum()
    total, count = torch.zeros((), requires_grad=True) * 1.0, 0
    for row, label, e in zip(logits, labels.tolist(), epsilon.tolist()):
        if label == -100:
            continue
        count += 1
        gaps = torch.logsumexp(row, 0) - row
        total = total + (1 - e) * gaps[label] + e * (gaps * prior.float()).sum()
    return total / max(count, 1)
""",
        "filled with harmless logits, then weighted": """
import torch
import torch.nn.functional as F

def smoothed_loss(logits, labels, frequencies, epsilon):
    valid = labels != -100
    safe = logits.masked_fill(~valid[:, None], 0.0)
    classes = torch.where(valid, labels, 0)
    hard = F.cross_entropy(safe, classes, reduction="none")
    prior = frequencies / frequencies.sum()
    soft = 0
    for k, p in enumerate(prior):
        soft = soft + p * F.cross_entropy(safe, torch.full_like(classes, k), reduction="none")
    each = torch.lerp(hard, soft, epsilon) * valid
    return each.sum() / max(int(valid.sum()), 1)
""",
    },
    "4.3": {
        "class by class, in Python numbers": """
import math
import torch

def optimal_logits(label, frequencies, epsilon):
    shares = [f / sum(frequencies.tolist()) for f in frequencies.tolist()]
    q = [epsilon * s + (1 - epsilon if k == label else 0) for k, s in enumerate(shares)]
    logs = [math.log(v) for v in q if v > 0]
    centre = sum(logs) / len(logs)
    logits = [math.log(v) - centre if v > 0 else -math.inf for v in q]
    return torch.tensor(logits), -sum(v * math.log(v) for v in q if v > 0)
""",
        "torch's entropy and a mean that skips": """
import torch
import torch.nn.functional as F

def optimal_logits(label, frequencies, epsilon):
    hard = F.one_hot(torch.tensor(label), len(frequencies)).double()
    told = torch.lerp(hard, frequencies.double() / frequencies.sum(), epsilon)
    best = torch.log(told)
    finite = torch.where(torch.isinf(best), torch.nan, best)
    return [best - finite.nanmean(), torch.special.entr(told).sum()]
""",
        "ratios to the own class": """
import torch

def optimal_logits(label, frequencies, epsilon):
    prior = frequencies.double() / frequencies.double().sum()
    told = prior.mul(epsilon).index_add(0, torch.tensor([label]), torch.tensor([1 - epsilon]).double())
    gaps = torch.log(told / told[label])
    some = gaps[gaps.isfinite()]
    loss = (gaps.exp().sum().log() - (told[told > 0] * some).sum()).item()
    return gaps - some.sum() / some.numel(), loss
""",
    },
    "4.4": {
        "sorted lists and slices": """
def adaptive_ece(confidence, correct, bins):
    if bins <= 0 or confidence.shape != correct.shape:
        raise ValueError("bins or lengths")
    pairs = sorted(zip(confidence.tolist(), correct.tolist()))
    seen = {}
    for said, hit in pairs:
        seen.setdefault(said, []).append(hit)
    fair = [(said, sum(seen[said]) / len(seen[said])) for said, _ in pairs]
    base, more = divmod(len(fair), bins)
    total, start = 0.0, 0
    for number in range(bins):
        end = start + base + (1 if number < more else 0)
        if end > start:
            size = end - start
            mean = sum(said for said, _ in fair[start:end]) / size
            accuracy = sum(hit for _, hit in fair[start:end]) / size
            total += size / len(fair) * abs(mean - accuracy)
        start = end
    return total
""",
        "numpy, a matrix of equalities": """
import numpy as np
import torch

def adaptive_ece(confidence, correct, bins):
    if bins < 1:
        raise ValueError(bins)
    if len(correct) != len(confidence):
        raise ValueError((len(correct), len(confidence)))
    alike = (confidence[:, None] == confidence[None, :]).double()
    fair = (alike @ correct.double()) / alike.sum(1)
    order = confidence.argsort()
    groups = zip(np.array_split(confidence[order].double().numpy(), bins), np.array_split(fair[order].numpy(), bins))
    weighted = [len(c) * abs(c.mean() - a.mean()) for c, a in groups if len(c)]
    return torch.tensor(sum(weighted) / len(confidence))
""",
        "group numbers and bincount": """
import torch

def adaptive_ece(confidence, correct, bins):
    n = confidence.numel()
    if not bins >= 1 or correct.numel() != n:
        raise ValueError
    said, order = torch.sort(confidence.double())
    hit = correct[order].double()
    _, run = torch.unique_consecutive(said, return_inverse=True)
    hit = (torch.zeros(n).double().scatter_add(0, run, hit) / torch.bincount(run, minlength=n).clamp(min=1))[run]
    small, large = n // bins, n % bins
    place = torch.arange(n)
    border = large * (small + 1)
    group = torch.where(place < border, place // (small + 1), large + (place - border) // max(small, 1))
    return float(torch.bincount(group, said - hit).abs().sum() / n)
""",
    },
}

IMPORTED = """
import torch
from inception_lessons import measure

def adaptive_ece(confidence, correct, bins):
    if bins < 1 or len(confidence) != len(correct):
        raise ValueError
    others = ((1 - confidence) / 999)[:, None].expand(-1, 999)
    logits = torch.cat([confidence[:, None], others], 1).log()
    return measure.calibration(logits, (~correct).long(), bins).ece
"""
LESSON = """
import torch
from inception_lessons import experiments

def optimal_logits(label, frequencies, epsilon):
    best, k = experiments.smoothing_optimum(len(frequencies), epsilon), len(frequencies)
    logits = torch.full((k,), -best.gap / k)
    logits[label] += best.gap
    return logits, best.loss
"""
TORCHS = """
import torch.nn.functional as F

def smoothed_loss(logits, labels, frequencies, epsilon):
    return F.cross_entropy(logits, labels, label_smoothing=float(epsilon.mean()))
"""
MULTIPLIED = """
def smoothed_loss(logits, labels, frequencies, epsilon):
    known = labels != -100
    logs = logits.log_softmax(1)
    right = logs.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    drawn = logs @ (frequencies / frequencies.sum())
    return (((epsilon - 1) * right - epsilon * drawn) * known).sum() / known.sum().clamp(min=1)
"""
MASKED_LATE = """
import torch

def smoothed_loss(logits, labels, frequencies, epsilon):
    known = labels != -100
    logs = logits.log_softmax(1)
    right = logs.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    each = (epsilon - 1) * right - epsilon * (logs @ (frequencies / frequencies.sum()))
    return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)
"""
TOGETHER = """
def adaptive_ece(confidence, correct, bins):
    if bins < 1 or len(confidence) != len(correct):
        raise ValueError
    pairs = sorted(zip(confidence.tolist(), correct.tolist()))
    small, more = divmod(len(pairs), bins)
    groups, before = {}, None
    for place, (said, hit) in enumerate(pairs):
        if said != before:
            border = more * (small + 1)
            number = place // (small + 1) if place < border else more + (place - border) // small
        before = said
        groups.setdefault(number, []).append(said - hit)
    return sum(abs(sum(part)) for part in groups.values()) / len(pairs)
"""
PIECES = [
    ("    values, place, count = confidence.unique(return_inverse=True, return_counts=True)\n", ""),
    ("    right = torch.bincount(place, correct.double()) / count\n", ""),
]
BEYOND, CUT = "(values - right).repeat_interleave(count)", "beyond.tensor_split(bins)"
SUM = "sum(part.sum().abs() for part in beyond.tensor_split(bins)) / len(beyond)"
ORDERED = "(confidence - correct.double())[confidence.argsort(stable=True)]"
SHARE = "frequencies / frequencies.sum()"
LOSS = "((own - 1) * right - own * drawn).sum() / known.sum().clamp(min=1)"
LOGS = "logits[known].log_softmax(1)"
LEFT = "-(target[there] * logs[there]).sum()"
CENTRED = "logs - logs[there].mean()"
RETURNED = "(1 - epsilon) * F.one_hot(labels, len(share)) + epsilon * share"
REFUSED = "if ((labels < 0) | (labels >= len(frequencies))).any():"

WRONG = {
    "4.1": [
        Wrong("nothing smoothed", [(RETURNED, "F.one_hot(labels, len(share)).float()")], "not smoothed at all"),
        Wrong(
            "shared evenly",
            [(SHARE, "torch.full((len(frequencies),), 1 / len(frequencies))")],
            "however common they are",
        ),
        Wrong(
            "shared evenly among the others",
            [(RETURNED, "torch.where(F.one_hot(labels, len(share)) == 1, 1 - epsilon, epsilon / (len(share) - 1))")],
            "All other classes get ε / (K - 1)",
        ),
        Wrong(
            "shared by frequency among the others",
            [
                (
                    "    return (1",
                    "    hard = F.one_hot(labels, len(share))\n    others = share * (1 - hard)\n    return (1",
                ),
                ("+ epsilon * share", "+ epsilon * others / others.sum(1, keepdim=True)"),
            ],
            "shared by frequency, but among the others only",
        ),
        Wrong(
            "epsilon on the wrong side",
            [("(1 - epsilon) *", "epsilon *"), ("epsilon * share", "(1 - epsilon) * share")],
            "wrong side",
        ),
        Wrong("counts as they came", [(SHARE, "frequencies")], "counts were added as they came"),
        Wrong("divided by the largest", [(SHARE, "frequencies / frequencies.max()")], "not by their largest"),
        Wrong("softmax of the frequencies", [(SHARE, "frequencies.float().softmax(0)")], "A softmax was taken"),
        Wrong(
            "rare classes get more",
            [(SHARE, "1 / frequencies\n    share = share / share.sum()")],
            "Rare classes get more",
        ),
        Wrong(
            "the own class gets 1 - epsilon and no more",
            [(RETURNED, "torch.where(F.one_hot(labels, len(share)) == 1, 1 - epsilon, epsilon * share)")],
            "yours gives the own class 1 - ε alone",
        ),
        Wrong("epsilon of 1 taken", [("epsilon < 1", "epsilon <= 1")], "epsilon of 1 should be refused", keeps=2),
        Wrong("epsilon below 0 taken", [("0 <= epsilon < 1", "epsilon < 1")], "epsilon of -0.1 should be refused"),
        Wrong("epsilon of 0 refused", [("0 <= epsilon", "0 < epsilon")], "epsilon of 0 is allowed", keeps=2),
        Wrong(
            "label -1 is the last class",
            [
                (REFUSED, "if (labels >= len(frequencies)).any():"),
                ("F.one_hot(labels, len(share))", "torch.eye(len(share))[labels]"),
            ],
            "Label -1 of 3 classes",
            keeps=2,
        ),
        Wrong("labels not checked", [(REFUSED, "if False:")], "Label 4 of 4 classes"),
        Wrong(
            "the frequencies changed",
            [
                (
                    f"share = {SHARE}",
                    "if frequencies.is_floating_point():\n        share = frequencies.div_(frequencies.sum())\n"
                    f"    else:\n        share = {SHARE}",
                )
            ],
            "that came in were changed",
            keeps=2,
        ),
        Wrong("classes by examples", [(f"return {RETURNED}", f"return ({RETURNED}).T")], "has the shape (5, 4)"),
    ],
    "4.2": [
        Wrong("torch's loss, with the mean epsilon", TORCHS, "That is torch's own smoothing"),
        Wrong(
            "shared evenly", [("logs @ (frequencies / frequencies.sum())", "logs.mean(1)")], "however common they are"
        ),
        Wrong("nothing smoothed", [("epsilon[known]", "0 * epsilon[known]")], "The labels are not smoothed."),
        Wrong(
            "the mean epsilon for all", [("epsilon[known]", "epsilon[known].mean()")], "takes the mean of them for all"
        ),
        Wrong("the first epsilon for all", [("epsilon[known]", "epsilon[0]")], "takes the first for all"),
        Wrong("divided by all", [("known.sum().clamp(min=1)", "len(labels)")], "not by all"),
        Wrong("the sum", [(LOSS, "((own - 1) * right - own * drawn).sum()")], "not the sum"),
        Wrong("the sign", [(LOSS, f"-{LOSS}")], "minus the sum of target times logarithm"),
        Wrong(
            "frequencies as they came",
            [("(frequencies / frequencies.sum())", "frequencies.float()")],
            "Frequencies were used as they came",
        ),
        Wrong("log of softmax", [(LOGS, "logits[known].softmax(1).log()")], "a probability that was rounded to 0"),
        Wrong(
            "a small number in the logarithm",
            [(LOGS, "(logits[known].softmax(1) + 1e-12).log()")],
            "a small number keeps",
        ),
        Wrong("softmax over the examples", [("log_softmax(1)", "log_softmax(0)")], "not over the examples"),
        Wrong("unknown ones multiplied by 0", MULTIPLIED, "0 * nan is nan", keeps=2),
        Wrong("unknown ones masked at the end", MASKED_LATE, "gradient is nan where an example without", keeps=2),
        Wrong(
            "unknown ones are class 0",
            [("known = labels != -100", "labels = labels.clamp(min=0)\n    known = labels != -100")],
            "taken for class 0",
        ),
        Wrong(
            "no label at all: nan", [(".clamp(min=1)", "")], "The loss is nan where no example has a label: it", keeps=2
        ),
        Wrong(
            "no label at all: a plain 0",
            [("    logs, own", "    if not known.any():\n        return torch.tensor(0.0)\n    logs, own")],
            "backward() should work",
            keeps=2,
        ),
        Wrong(
            "no label at all: 0 times the logits",
            [("    logs, own", "    if not known.any():\n        return 0 * logits.sum()\n    logs, own")],
            "nan where no example has a label and the logits hold nan",
            keeps=2,
        ),
        Wrong(
            "item()",
            [(f"return {LOSS}", f"return torch.tensor(({LOSS}).item())")],
            "without item(), float() or detach()",
        ),
        Wrong("no mean", [(LOSS, "(own - 1) * right - own * drawn")], "a tensor of shape (4,)"),
        Wrong(
            "epsilon on the wrong side",
            [("(own - 1) * right - own * drawn", "-own * right - (1 - own) * drawn")],
            "wrong side",
        ),
        Wrong(
            "the divergence",
            [
                (
                    "    return (",
                    "    target = F.one_hot(labels[known], logits.shape[1]) * (1 - own[:, None])"
                    " + own[:, None] * frequencies / frequencies.sum()\n"
                    "    return F.kl_div(logs, target, reduction='batchmean')\n    return (",
                )
            ],
            "That is the divergence",
        ),
        Wrong(
            "probabilities mixed",
            [
                ("drawn = logs @", "drawn = logs.exp() @"),
                ("((own - 1) * right - own * drawn)", "-((1 - own) * right.exp() + own * drawn).log()"),
            ],
            "mix the logarithms",
        ),
        Wrong(
            "shared among the others",
            [
                (
                    "    return (",
                    "    f = (frequencies / frequencies.sum())[labels[known]]\n"
                    "    drawn = (drawn - f * right) / (1 - f)\n    return (",
                )
            ],
            "goes to the others only",
        ),
        Wrong(
            "averaged over the classes, too",
            [("clamp(min=1)", "clamp(min=1) / logits.shape[1]")],
            "average over the examples alone",
        ),
        Wrong(
            "no gradient through the drawn part",
            [("own * drawn)", "own * drawn.detach())")],
            "the gradient with equal frequencies",
        ),
    ],
    "4.3": [
        Wrong("the lesson's optimum, imported", LESSON, "get the same logit: smooth towards"),
        Wrong("probabilities", [(CENTRED, "target")], "These are probabilities. Logits"),
        Wrong("probabilities, shifted", [(CENTRED, "target - target.mean()")], "These are probabilities, shifted"),
        Wrong("not centred", [(CENTRED, "logs")], "subtract their mean from all"),
        Wrong("the smallest is 0", [(CENTRED, "logs - logs[there].min()")], "is to be 0, not their smallest"),
        Wrong(
            "centred by the target",
            [(CENTRED, "logs - (target[there] * logs[there]).sum()")],
            "yours is weighted by the target",
        ),
        Wrong(
            "the inverse of a sigmoid",
            [("target.log()", "torch.logit(target)"), (LEFT, "torch.special.entr(target).sum()")],
            "undoes a sigmoid",
        ),
        Wrong("-inf in the mean", [("logs[there].mean()", "logs.mean()")], "hold nan or +inf", keeps=2),
        Wrong(
            "a small number for 0",
            [("target.log()", "target.clamp(min=1e-12).log()"), ("target > 0", "target >= 0")],
            "wants the logit -inf",
            keeps=2,
        ),
        Wrong("0 times -inf", [(LEFT, "-(target * logs).sum()")], "0 * log 0 counts as 0", keeps=2),
        Wrong("a floor of 0", [(LEFT, "0.0")], "never reaches 0"),
        Wrong("the own class alone", [(LEFT, "-logs[label]")], "against the own class alone"),
        Wrong("bits", [(LEFT, "-(target[there] * target[there].log2()).sum()")], "That is in bits"),
        Wrong("the sign of the loss", [(LEFT, LEFT[1:])], "the loss that is left is above 0"),
        Wrong(
            "the mean over the classes",
            [(LEFT, "-(target[there] * logs[there]).mean()")],
            "sum over the classes is wanted, not the mean",
        ),
        Wrong(
            "frequencies as they came",
            [("epsilon * frequencies / frequencies.sum()", "epsilon * frequencies.float()")],
            "Frequencies were used as they came",
        ),
        Wrong(
            "shared among the others",
            [
                (
                    "target[label] += 1 - epsilon",
                    "target[label] = 0\n    target *= epsilon / target.sum()\n    target[label] = 1 - epsilon",
                )
            ],
            "goes to the others only",
        ),
        Wrong(
            "epsilon on the wrong side",
            [("epsilon * frequencies", "(1 - epsilon) * frequencies"), ("+= 1 - epsilon", "+= epsilon")],
            "wrong side",
        ),
        Wrong("the sign of the logits", [(CENTRED, "logs[there].mean() - logs")], "should have the largest logit"),
        Wrong("the logits alone", [(f", {LEFT}", "")], "Two things are to be returned"),
    ],
    "4.4": [
        Wrong("the package's bins of equal width", IMPORTED, "Your bins have equal width"),
        Wrong(
            "not ordered", [*PIECES, (BEYOND, "confidence - correct.double()")], "cut into groups in the order in which"
        ),
        Wrong(
            "confidence alone ordered",
            [*PIECES, (BEYOND, "confidence.sort().values - correct.double()")],
            "stayed where it was",
        ),
        Wrong(
            "groups count the same",
            [(SUM, "sum(part.mean().abs() for part in beyond.tensor_split(bins) if len(part)) / bins")],
            "Each group counted the same",
            keeps=2,
        ),
        Wrong("torch.chunk", [(CUT, "beyond.chunk(bins)")], "as torch.chunk makes them", keeps=2),
        Wrong(
            "the rest left out",
            [
                (CUT, "beyond[: len(beyond) // bins * bins].tensor_split(bins)"),
                ("/ len(beyond)", "/ (len(beyond) // bins * bins)"),
            ],
            "that are left over were left out",
            keeps=2,
        ),
        Wrong(
            "the rest to the last",
            [
                (
                    CUT,
                    "[beyond[len(beyond) // bins * k : len(beyond) // bins * (k + 1) if k < bins - 1 else None]"
                    " for k in range(bins)]",
                )
            ],
            "all went to the last group",
            keeps=2,
        ),
        Wrong("the most sure first", [(CUT, "beyond.flip(0).tensor_split(bins)")], "at the wrong end", keeps=2),
        Wrong("signed", [(".abs()", "")], "yours has a sign"),
        Wrong(
            "no distance in a group, one in the end", [(SUM, "abs(beyond.sum()) / len(beyond)")], "so that they cancel"
        ),
        Wrong(
            "each picture's distance",
            [*PIECES, (BEYOND, ORDERED + ".abs()")],
            "yours takes the distance of each picture",
        ),
        Wrong(
            "the largest",
            [(SUM, "max(part.mean().abs() for part in beyond.tensor_split(bins) if len(part))")],
            "That is the largest distance of all bins",
        ),
        Wrong(
            "squared",
            [
                (
                    SUM,
                    "sum(len(p) * p.mean() ** 2 for p in beyond.tensor_split(bins) if len(p)) / len(beyond)",
                )
            ],
            "not its square",
        ),
        Wrong("equal confidences by chance", [*PIECES, (BEYOND, ORDERED)], "right among those of the same confidence"),
        Wrong("equal confidences kept in one group", TOGETHER, "kept together in one group", keeps=2),
        Wrong("equal confidences are one picture", [(BEYOND, "values - right")], "counted as one picture", keeps=2),
        Wrong("not divided by the number", [("/ len(beyond)", "")], "so that a group counts by its share"),
        Wrong("any bins", [("bins < 1 or ", "bins == 0 or ")], "-2 bins should be refused", keeps=2),
        Wrong("any length", [(" or len(confidence) != len(correct)", "")], "13 confidences with 12 answers", keeps=2),
        Wrong("no bins taken", [("bins < 1 or ", "")], "0 bins should be refused"),
    ],
}

EQUIVALENT = {}
