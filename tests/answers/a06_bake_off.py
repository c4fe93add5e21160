"""Assignment 06: steps at equal multiply-adds, a rate for each budget, steps to a target, verdicts by Holm's rule."""

from marking import Wrong

RIGHT = {
    "6.1": {
        "from the first trained stage on": """
def spent(stages):
    first = [learns for _, learns in stages].index(True)
    forward = sum(cost for cost, _ in stages)
    weights = sum(cost for cost, learns in stages if learns)
    inputs = sum(cost for cost, _ in stages[first + 1:])
    return forward + weights + inputs

def equal_steps(networks, reference, steps):
    if steps <= 0:
        raise ValueError("steps")
    if reference not in networks.keys():
        raise ValueError("reference")
    for name in networks:
        if not any(learns for _, learns in networks[name]):
            raise ValueError(name)
    budget = steps * spent(networks[reference])
    out = {}
    for name, stages in networks.items():
        count = 0
        while (count + 1) * spent(stages) <= budget:
            count += 1
        if count == 0:
            raise ValueError(name)
        out[name] = count
    return out
""",
        "back from the loss, with tensors": """
import torch

def cost_of(stages):
    macs = torch.tensor([float(m) for m, _ in stages], dtype=torch.float64)
    trained = torch.tensor([float(t) for _, t in stages], dtype=torch.float64)
    before = torch.cat([torch.zeros(1, dtype=torch.float64), trained.cumsum(0)[:-1]]).clamp(max=1)
    if trained.sum() == 0:
        raise ValueError("all is frozen")
    return float(macs @ (1 + trained + before))

def equal_steps(networks, reference, steps):
    try:
        budget = cost_of(networks[reference]) * steps
    except KeyError as error:
        raise ValueError(f"no {error}") from None
    result = {name: int(budget // cost_of(stages)) for name, stages in networks.items()}
    if steps < 1 or 0 in result.values():
        raise ValueError("not one step")
    return result
""",
    },
    "6.2": {
        "with torch, sorted rates": """
import torch

def choose_rates(steps, sweep, budgets):
    rates = sorted(sweep)
    if len(rates) == 1 or any(len(sweep[rate]) != len(sweep[rates[0]]) for rate in rates):
        raise ValueError("sweep")
    table = torch.tensor([sweep[rate] for rate in rates], dtype=torch.float64).mean(dim=1)
    table[~torch.isfinite(table)] = float("inf")
    out = {}
    for budget in budgets:
        if budget < steps[0] or budget > steps[-1]:
            raise ValueError(budget)
        column = table[:, int(torch.searchsorted(torch.tensor(steps), torch.tensor(budget), right=True)) - 1].tolist()
        if min(column) == float("inf"):
            raise ValueError(budget)
        place = column.index(min(column))
        out[budget] = [rates[place], "low" if place == 0 else "high" if place == len(rates) - 1 else None]
    return out
""",
        "loops and comparisons": """
import math

def last_look(steps, budget):
    look = None
    for i in range(len(steps)):
        if steps[i] <= budget:
            look = i
    if look is None or budget > steps[len(steps) - 1]:
        raise ValueError("outside")
    return look

def choose_rates(steps, sweep, budgets):
    if len(sweep) <= 1:
        raise ValueError("too few")
    counts = [len(runs) for runs in sweep.values()]
    if min(counts) != max(counts):
        raise ValueError("unequal")
    answer = {}
    for budget in budgets:
        look, best = last_look(steps, budget), None
        for rate, runs in sweep.items():
            values = [run[look] for run in runs]
            if any(math.isnan(value) or math.isinf(value) for value in values):
                continue
            score = (sum(values) / len(values), rate)
            if best is None or score < best:
                best = score
        if best is None:
            raise ValueError("all diverged")
        edge = None
        if all(best[1] <= rate for rate in sweep):
            edge = "low"
        if all(best[1] >= rate for rate in sweep):
            edge = "high"
        answer[budget] = (best[1], edge)
    return answer
""",
    },
    "6.3": {
        "with a streak that is counted": """
def one(steps, run, target, hold):
    streak = 0
    for i, loss in enumerate(run):
        if loss <= target:
            streak += 1
        else:
            streak = 0
        if streak == hold:
            start = i - hold + 1
            if start == 0:
                return steps[0]
            slope = (run[start] - run[start - 1]) / (steps[start] - steps[start - 1])
            return steps[start - 1] + (target - run[start - 1]) / slope
    return None

def steps_to_reach(steps, runs, target, hold=3):
    if len(runs) == 0:
        raise ValueError("no runs")
    if hold <= 0:
        raise ValueError("hold")
    for run in runs:
        if len(run) != len(steps):
            raise ValueError("lengths")
    all_of_them = [one(steps, run, target, hold) for run in runs]
    arrived = sorted(time for time in all_of_them if time is not None)
    low, high = (len(runs) - 1) // 2, len(runs) // 2
    if high >= len(arrived):
        return None
    return (arrived[low] + arrived[high]) / 2
""",
        "with windows in numpy": """
import numpy as np

def steps_to_reach(steps, runs, target, hold=3):
    if hold < 1 or len(runs) < 1 or {len(run) for run in runs} != {len(steps)}:
        raise ValueError("runs do not fit")
    x, times = np.array(steps, dtype=float), []
    for run in np.array(runs, dtype=float):
        if hold > len(run):
            times.append(np.inf)
            continue
        low = np.lib.stride_tricks.sliding_window_view(run <= target, hold).all(axis=1)
        if not low.any():
            times.append(np.inf)
            continue
        i = int(low.argmax())
        times.append(x[0] if i == 0 else np.interp(-target, -run[[i - 1, i]], x[[i - 1, i]]))
    median = float(np.median(times))
    return None if median == np.inf else median
""",
    },
    "6.4": {
        "scipy's paired test and adjusted p": """
from scipy import stats

def verdicts(mine, rivals, alpha=0.05):
    if len(mine) <= 1:
        raise ValueError("seeds")
    p, sign = {}, {}
    for name in rivals:
        if len(rivals[name]) != len(mine):
            raise ValueError(name)
        test = stats.ttest_rel(mine, rivals[name])
        p[name], sign[name] = float(test.pvalue), float(test.statistic)
    words, highest, left = {}, 0.0, len(p)
    for name, value in sorted(p.items(), key=lambda pair: pair[1]):
        highest = max(highest, value * left)
        left -= 1
        if highest > alpha:
            words[name] = "undecided"
        elif sign[name] > 0:
            words[name] = "worse"
        else:
            words[name] = "better"
    return {name: [p[name], words[name]] for name in rivals}
""",
        "with tensors, limits and a break": """
import torch
from scipy.stats import t as student

def verdicts(mine, rivals, alpha=0.05):
    count = len(mine)
    if count < 2 or not all(len(losses) == count for losses in rivals.values()):
        raise ValueError("unequal, or too few")
    names = list(rivals)
    d = torch.tensor([mine], dtype=torch.float64) - torch.tensor([rivals[n] for n in names], dtype=torch.float64)
    mean = d.mean(dim=1)
    t = mean / (d.var(dim=1) / count) ** 0.5
    p = student.sf(t.abs().numpy(), count - 1) + student.cdf(-t.abs().numpy(), count - 1)
    out = {name: (float(value), "undecided") for name, value in zip(names, p)}
    for done, i in enumerate(p.argsort()):
        if p[i] > alpha / (len(names) - done):
            break
        out[names[i]] = (float(p[i]), ["better", "worse"][int(mean[i] > 0)])
    return out
""",
    },
}

_SORTED = "enumerate(sorted(p, key=p.get))"
_DECIDE = "decided = decided and p[name] <= alpha / (len(p) - place)"
_LOOK = "max(i for i, step in enumerate(steps) if step <= budget)"
_EDGE = '{min(sweep): "low", max(sweep)'
_STEPS = "steps * cost[reference] // cost[name]"
_SUM = "sum(run[look] for run in sweep[rate])"
_MEDIAN = "statistics.median(times)"
_ARRIVED = "[t for t in times if t < math.inf] or [math.inf]"
_WHEN = "time -= to_go * (steps[at] - steps[at - 1])"
_P = "2 * special.stdtr(n - 1, -abs(t))"

WRONG = {
    "6.1": [
        Wrong("everything three times", [("macs * (1 + trained + learns)", "3 * macs")], "fewer gradients to compute"),
        Wrong(
            "frozen stages free",
            [("macs * (1 + trained + learns)", "3 * macs * trained")],
            "the picture still has to pass",
        ),
        Wrong("only the passes back", [("1 + trained + learns", "trained + learns")], "The forward pass is missing"),
        Wrong(
            "frozen stages free, gradients pass",
            [("1 + trained + learns", "2 * trained + learns")],
            "besides the gradient",
        ),
        Wrong(
            "the first trained stage hands its gradient on",
            [("1 + trained + learns", "1 + trained + max(trained, learns)")],
            "Who would need it",
        ),
        Wrong(
            "gradients stop at frozen stages",
            [("1 + trained + learns", "1 + trained + trained * learns")],
            "has to pass through frozen stages",
        ),
        Wrong("trained three times, frozen once", [("1 + trained + learns", "1 + 2 * trained")], "is not exact"),
        Wrong(
            "gradients to the second stage",
            [
                ("for macs, trained in stages:", "for i, (macs, trained) in enumerate(stages):"),
                ("1 + trained + learns", "1 + trained + (i > 0)"),
            ],
            "down to the second stage",
        ),
        Wrong("the wrong way", [("in stages:", "in stages[::-1]:")], "yours runs with the picture"),
        Wrong("gradients to the picture", [("1 + trained + learns", "2 + trained")], "computed in every stage"),
        Wrong("no gradients of inputs", [("1 + trained + learns", "1 + trained")], "A gradient comes to a stage"),
        Wrong("upside down", [(_STEPS, "steps * cost[name] // cost[reference]")], "upside down"),
        Wrong(
            "rounded to the nearest",
            [(_STEPS, "round(steps * cost[reference] / cost[name])")],
            "rounded to the nearest",
        ),
        Wrong(
            "rounded up",
            [("steps * cost[reference] //", "-(-steps * cost[reference] //"), ("cost[name] for", "cost[name]) for")],
            "rounded up",
        ),
        Wrong("reference not looked for", [("reference not in networks or ", "")], "raised KeyError"),
        Wrong(
            "no steps accepted",
            [(" or steps < 1", ""), ("if min(found.values()) < 1:", "if 0 < min(found.values()) < 1:")],
            "0 steps of",
        ),
        Wrong("nothing to train accepted", [("if not learns:", "if False:")], "of which nothing is trained"),
        Wrong("at least one step", [(f"{_STEPS} for", f"max(1, {_STEPS}) for")], "first step costs more"),
    ],
    "6.2": [
        Wrong("the end decides", [(_LOOK, "-1")], "lesson's mistake"),
        Wrong(
            "the next look",
            [(_LOOK, "min(i for i, step in enumerate(steps) if step >= budget)")],
            "you read the look at step 20",
        ),
        Wrong(
            "on a line between looks",
            [
                ("look = max(i for i, step in enumerate(steps) if step <= budget)", "import numpy as np"),
                ("sum(run[look] for run", "sum(float(np.interp(budget, steps, run)) for run"),
            ],
            "on a line between two looks",
        ),
        Wrong("the look before", [("if step <= budget)", "if step < budget or i == 0)")], "reads this look"),
        Wrong("places by division", [(_LOOK, "budget // steps[0] - 1")], "not by division"),
        Wrong(
            "diverged runs left out",
            [
                (
                    "sum(run[look] for run in sweep[rate]) for",
                    "[run[look] for run in sweep[rate] if math.isfinite(run[look])] for",
                ),
                (
                    "rate: loss for rate, loss in losses.items() if math.isfinite(loss)",
                    "rate: sum(loss) / len(loss) for rate, loss in losses.items() if loss",
                ),
            ],
            "A run at rate 0.02 has diverged",
        ),
        Wrong(
            "out for ever",
            [
                (
                    "in losses.items() if math.isfinite(loss)",
                    "in losses.items() if all(math.isfinite(run[-1]) for run in sweep[rate])",
                )
            ],
            "Rate 0.08 diverges later",
        ),
        Wrong(
            "min of nan",
            [("in losses.items() if math.isfinite(loss)", "in losses.items()")],
            "every rate has a run that diverged",
        ),
        Wrong(
            "the best seed",
            [(_SUM, "min((run[look] for run in sweep[rate]), key=lambda loss: loss if loss == loss else -9)")],
            "The best seed",
            keeps=2,
        ),
        Wrong(
            "the median seed",
            [(_SUM, "float(torch.tensor([run[look] for run in sweep[rate]]).median())")],
            "The median of the seeds",
            keeps=2,
        ),
        Wrong("the highest", [("best = min(", "best = max(")], "highest loss is chosen"),
        Wrong(
            "the lowest so far",
            [
                (
                    "sum(run[look] for run in sweep[rate]) for",
                    "min(sum(run[i] for run in sweep[rate]) for i in range(look + 1)) for",
                ),
            ],
            "lowest loss so far",
        ),
        Wrong("edge of the kept", [(_EDGE, '{min(kept): "low", max(kept)')], "next to one of them is no edge", keeps=2),
        Wrong("edge by place", [(_EDGE, '{list(sweep)[0]: "low", list(sweep)[-1]')], "wherever it stands"),
        Wrong("low and high swapped", [(_EDGE, '{max(sweep): "low", min(sweep)')], "are swapped"),
        Wrong("the larger of two", [("in sorted(sweep)}", "in sorted(sweep, reverse=True)}")], "smaller is wanted"),
        Wrong("the first of two", [("in sorted(sweep)}", "in sweep}")], "the first in the dictionary", keeps=2),
        Wrong("the last of two", [("in sorted(sweep)}", "in reversed(sweep)}")], "the last in the dictionary"),
        Wrong("one rate", [("len(sweep) < 2 or ", "")], "no search"),
        Wrong(
            "unequal seeds", [(" or len({len(runs) for runs in sweep.values()}) > 1", "")], "different numbers of runs"
        ),
        Wrong(
            "beyond the end",
            [("if not steps[0] <= budget <= steps[-1]:", "if steps[0] > budget:")],
            "after the last look",
        ),
        Wrong(
            "before the start",
            [
                ("if not steps[0] <= budget <= steps[-1]:", "if budget > steps[-1]:"),
                ("if step <= budget)", "if step <= max(budget, steps[0]))"),
            ],
            "before the first look",
        ),
    ],
    "6.3": [
        Wrong(
            "hold ignored",
            [("all(below[i : i + hold])", "below[i]"), ("len(run) - hold + 1", "len(run)")],
            "One look below",
        ),
        Wrong("hold looks more", [("i + hold]", "i + hold + 1]"), ("- hold + 1", "- hold")], "waits for one more"),
        Wrong("hold looks less", [("i + hold]", "i + hold - 1]"), ("- hold + 1", "- hold + 2")], "waits for one less"),
        Wrong("hold always 3", [("    times = []", "    hold = 3\n    times = []")], "hold is not the one"),
        Wrong("the step of the look", [(_WHEN, "pass")], "Your step is that of the look. "),
        Wrong("the step of the look before", [(_WHEN, "time = steps[at - 1]")], "Your step is that of the look before"),
        Wrong("half way", [(_WHEN, "time = (steps[at] + steps[at - 1]) / 2")], "half of the way"),
        Wrong(
            "the wrong share",
            [(_WHEN, "time = steps[at - 1] + to_go * (steps[at] - steps[at - 1])")],
            "from its far end",
        ),
        Wrong(
            "even spacing",
            [(_WHEN, "time = steps[at - 1] + (1 - to_go) * (steps[1] - steps[0])")],
            "The looks are not evenly",
        ),
        Wrong("when it has held", [(_WHEN, "time = steps[at + hold - 1]")], "long enough"),
        Wrong(
            "the last arrival",
            [("at = arrived[0]", "at = max(i for i in arrived if i == 0 or not below[i - 1])")],
            "not the last",
        ),
        Wrong("below only", [("loss <= target", "loss < target")], "Exactly at the target", keeps=2),
        Wrong("short rows count", [("range(len(run) - hold + 1)", "range(len(run))")], "not enough looks left"),
        Wrong("the look before the first", [("if at > 0:", "if True:")], "At the first look there is none"),
        Wrong("nan arrives", [("loss <= target", "not loss > target")], "neither above the target nor below", keeps=2),
        Wrong("infinity", [("return median if math.isfinite(median) else None", "return median")], "not infinity"),
        Wrong("the last step", [("time = math.inf", "time = steps[-1]")], "step of its last look is none"),
        Wrong(
            "survivors' median", [(_MEDIAN, f"statistics.median({_ARRIVED})")], "are left out, which rewards failing"
        ),
        Wrong("survivors' mean", [(_MEDIAN, f"statistics.mean({_ARRIVED})")], "those that fail most look best"),
        Wrong("mean", [("statistics.median(", "statistics.mean(")], "The mean of the times"),
        Wrong(
            "averaged curves",
            [("for run in runs:\n", "for run in [[sum(look) / len(runs) for look in zip(*runs, strict=True)]]:\n")],
            "averaged first",
        ),
        Wrong("the lower median", [("statistics.median(", "statistics.median_low(")], "here the third does not arrive"),
        Wrong(
            "the upper median", [("statistics.median(", "statistics.median_high(")], "yours is the later one", keeps=2
        ),
        Wrong(
            "no runs",
            [("if hold < 1 or not runs or", "if not runs:\n        return None\n    if hold < 1 or")],
            "No runs at all",
        ),
        Wrong("short runs", [(" or any(len(run) != len(steps) for run in runs)", "")], "fewer losses than looks"),
        Wrong("hold of nothing", [("hold < 1 or ", "")], "hold=0"),
    ],
    "6.4": [
        Wrong("one tail", [("2 * special", "special")], "One tail is counted"),
        Wrong("the normal distribution", [("special.stdtr(n - 1, ", "special.ndtr(")], "normal distribution is used"),
        Wrong(
            "not paired",
            [(_P, "__import__('scipy.stats').stats.ttest_ind(mine, theirs).pvalue")],
            "compares two separate groups",
        ),
        Wrong("n for n - 1", [("statistics.stdev(d)", "statistics.pstdev(d)")], "divides by n - 1, not by n."),
        Wrong("the spread of one", [(" / math.sqrt(n)", "")], "standard deviation of one difference"),
        Wrong("n for its root", [("math.sqrt(n)", "n")], "not by n itself"),
        Wrong("n degrees of freedom", [("stdtr(n - 1", "stdtr(n")], "n - 1 degrees of freedom"),
        Wrong("the other probability", [(_P, f"1 - {_P}")], "*smaller* difference"),
        Wrong("turned round", [("mean[name] < 0", "mean[name] > 0")], "mine is better where"),
        Wrong("no correction", [(_DECIDE, "decided = p[name] <= alpha")], "the smaller p may be at most alpha / 2"),
        Wrong("Bonferroni", [("(len(p) - place)", "len(p)")], "yours has to be smaller"),
        Wrong("no stop", [(_DECIDE, "decided = p[name] <= alpha / (len(p) - place)")], "yours goes on", keeps=2),
        Wrong(
            "from the other end",
            [
                (_SORTED, "reversed(list(enumerate(sorted(p, key=p.get))))"),
                (_DECIDE, "decided = decided or p[name] <= alpha / (len(p) - place)"),
                ("found, decided = {}, True", "found, decided = {}, False"),
            ],
            "yours starts at the other end",
            keeps=2,
        ),
        Wrong(
            "false discoveries",
            [
                (_SORTED, "reversed(list(enumerate(sorted(p, key=p.get))))"),
                (_DECIDE, "decided = decided or p[name] <= alpha * (place + 1) / len(p)"),
                ("found, decided = {}, True", "found, decided = {}, False"),
            ],
            "2 alpha / m",
            keeps=2,
        ),
        Wrong(
            "the largest first", [(_SORTED, "enumerate(sorted(p, key=p.get, reverse=True))")], "begins with the largest"
        ),
        Wrong("mine counted", [("(len(p) - place)", "(len(p) + 1 - place)")], "yours is one more"),
        Wrong("always a word", [('word if decided else "undecided"', "word")], "whichever mean is lower"),
        Wrong("p multiplied", [("(p[name], word if", "(min(1.0, p[name] * len(p)), word if")], "not multiplied"),
        Wrong(
            "one seed",
            [("if n < 2 or", 'if n < 2:\n        return {name: (1.0, "undecided") for name in rivals}\n    if')],
            "One seed has no spread",
        ),
        Wrong(
            "unequal seeds", [(" or any(len(theirs) != n for theirs in rivals.values())", "")], "more seeds than mine"
        ),
    ],
}

EQUIVALENT = {
    "6.1": {
        "line 10: Add changed: cost[name] += macs * (1 + trained + learns)": "all costs become negative, and the ratio "
        "of two negative numbers is that of the positive ones",
    },
    "6.2": {
        'line 15: left out: raise ValueError(f"at {budget} steps every rate has a run that diverged")': (
            "the minimum of nothing, two lines below, raises a ValueError as well, if one that says less"
        ),
    },
    "6.4": {
        "line 16: comparison changed: mean[name] < 0": "a mean of exactly 0 has p = 1, and is undecided",
    },
}
