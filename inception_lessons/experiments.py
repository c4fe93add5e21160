"""Every trained claim of the course as a short function: what differs between the arms, what is measured, and the
rule that decides.

python -m inception_lessons experiments N1 --seeds 5

runs a claim over several processes of one thread each (bit-identical on one machine), resumes where it was killed,
and writes ``data/results/N1.json``. Each arm trains at its own best learning rate, chosen from the same sweep on the
validation split with seeds that are not used again; the test split is read once, by the final runs. A verdict is
worked out from stored runs alone, so it can be checked at any time.
"""

import contextlib
import copy
import functools
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from inception_lessons import data, googlenet, look, measure, train, weights
from inception_lessons.train import History, Recipe

VERDICTS = ("holds", "holds in part", "does not hold at this size", "the opposite holds", "cannot be shown here")
SWEEP_SEEDS = (1000, 1001)
EVERY = 10  # steps between two stored points of a loss curve

EXPERIMENTS: dict[str, "Experiment"] = {}


class Interval(NamedTuple):
    """Mean of paired differences over seeds and its 95 % t-interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


class Verdict(NamedTuple):
    """One of VERDICTS, and a sentence with the figures it rests on."""

    word: str
    sentence: str


@dataclass
class Experiment:
    """A claim, the arms that test it, and the rule. Made by ``@experiment``; ``measure`` is the decorated function.

    ``arms`` maps a name to what differs; ``rates`` is the sweep of learning rates (one rate: nothing to sweep).
    """

    id: str
    claim: str
    threshold: str
    arms: Mapping[str, Mapping]
    rates: Sequence[float]
    recipe: Recipe
    measure: Callable
    judge: Callable[[dict], Verdict] | None = None

    def settings(self) -> dict:
        """What runs are made from, as plain values: arms, sweep, recipe, threshold, data. Not the measuring code."""
        return {
            "arms": {name: dict(arm) for name, arm in self.arms.items()},
            "rates": list(self.rates),
            "recipe": asdict(self.recipe),
            "threshold": self.threshold,
            "data": f"digits_in_the_wild, version {data.DATA_VERSION}",
            "sweep_seeds": list(SWEEP_SEEDS),
        }

    def settings_hash(self) -> str:
        """Hash of ``settings``: a results file made under others is refused."""
        return hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode()).hexdigest()[:16]

    def verdict(self, runs: Sequence[Mapping]) -> Verdict:
        """Final runs -> Verdict. Raises ValueError for fewer than 5 seeds in an arm, or arms with different seeds."""
        arms = {name: sorted((r for r in runs if r["arm"] == name), key=lambda r: r["seed"]) for name in self.arms}
        seeds = {name: [r["seed"] for r in rows] for name, rows in arms.items()}
        if min(map(len, seeds.values())) < 5:
            raise ValueError(
                f"{self.id}: a verdict wants at least 5 seeds in each arm; there are "
                f"{ ({k: len(v) for k, v in seeds.items()}) }"
            )
        if len({tuple(s) for s in seeds.values()}) > 1 or any(len(set(s)) < len(s) for s in seeds.values()):
            raise ValueError(f"{self.id}: arms are compared seed by seed, but their seeds differ: {seeds}")
        return self.judge(arms)


def experiment(id: str, *, claim: str, threshold: str, arms: Mapping, rates: Sequence[float], recipe: Recipe):
    """Decorate ``measure(arm, recipe, seed, images, final, watch) -> dict`` into an Experiment; ``@judges`` then
    gives it its verdict rule.
    """

    def register(function: Callable) -> Experiment:
        EXPERIMENTS[id] = Experiment(id, claim, threshold, arms, rates, recipe, function)
        return EXPERIMENTS[id]

    return register


def judges(of: Experiment):
    """Decorate ``judge(arms) -> Verdict``, where ``arms`` maps a name to its final runs in order of seed."""

    def register(function: Callable) -> Callable:
        of.judge = function
        return function

    return register


# ---------------------------------------------------------------------------------------------------------- statistics


def interval(values: Sequence[float]) -> Interval:
    """Values, one a seed -> mean and 95 % t-interval. Raises ValueError for fewer than two."""
    from scipy.special import stdtrit

    count = len(values)
    if count < 2:
        raise ValueError(f"an interval needs at least 2 values, not {count}")
    mean = sum(values) / count
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1) / count)
    half = float(stdtrit(count - 1, 0.975)) * spread
    return Interval(mean, mean - half, mean + half)


def paired(arms: Mapping, first: str, second: str, key: str) -> Interval:
    """Interval of ``first - second`` in one measurement, seed by seed."""
    return interval([a[key] - b[key] for a, b in zip(arms[first], arms[second], strict=True)])


def decide(difference: Interval, least: float) -> str:
    """A difference that the claim says is at least ``least`` > 0 -> one of the first four verdicts.

    The whole interval beyond ``least``: holds. Above 0 only: holds in part. Below 0: the opposite. Else this size
    shows nothing.
    """
    if difference.low >= least:
        return VERDICTS[0]
    if difference.low > 0:
        return VERDICTS[1]
    if difference.high < 0:
        return VERDICTS[3]
    return VERDICTS[2]


# -------------------------------------------------------------------------------------------------------------- claims


def _trained(
    model: nn.Module, recipe: Recipe, seed: int, images, final: bool, watch=None, examples: int | None = None
) -> tuple[dict, History]:
    """Train and score one network: what every claim measures, and the history for what it measures beside that."""
    start = time.process_time()
    some = images.train.take(examples) if examples else images.train
    history = train.fit(model, some, recipe=recipe, seed=seed, watch=watch, progress=watch is not None)
    found = {
        "loss": round(min(history.final_loss(), 99.0), 5),
        "stopped": history.stopped,
        "curve": [round(value, 4) for value in history.smoothed()[EVERY - 1 :: EVERY]],
        "validation_accuracy": train.evaluate(model, images.validation).accuracy,
        "cpu_seconds": round(time.process_time() - start, 1),
        "seconds": round(history.seconds, 1),
    }
    if final:
        found["test_accuracy"] = train.evaluate(model, images.test).accuracy
    return found, history


@experiment(
    "N1",
    claim="1 x 1 reductions before the large kernels make the module cheaper and better for its cost",
    threshold="test accuracy with reductions minus naive at equal multiply-adds: interval above +0.01 holds, above "
    "0 in part",
    arms={
        "reduced": {"naive": False, "width": 0.25},
        "naive, equal steps": {"naive": True, "width": 0.25},
        "naive, equal multiply-adds": {"naive": True, "width": 0.12},
    },
    rates=(0.001, 0.002, 0.005, 0.01, 0.02),
    recipe=Recipe(steps=250, optimizer="adamw"),
)
def n1(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    module = googlenet.NaiveInception if arm["naive"] else googlenet.Inception
    model = googlenet.GoogLeNet.laptop(norm="bn", width=arm["width"], module=module)
    cost = measure.count(model, 32)
    found, _ = _trained(model, recipe, seed, images, final, watch)
    return found | {"params": cost.params, "macs": cost.macs}


@judges(n1)
def _(arms):
    fair = paired(arms, "reduced", "naive, equal multiply-adds", "test_accuracy")
    costly = paired(arms, "reduced", "naive, equal steps", "test_accuracy")
    ratio = arms["naive, equal steps"][0]["macs"] / arms["reduced"][0]["macs"]
    return Verdict(
        decide(fair, 0.01),
        f"accuracy with reductions minus naive: {fair} at equal multiply-adds, {costly} at equal steps, where naive "
        f"costs {ratio:.1f} times as many",
    )


@experiment(
    "N2",
    claim="global average pooling in place of fully connected layers overfits less",
    threshold="train-test gap in accuracy, fully connected minus average pooling, 1,500 training images: interval "
    "above +0.03 holds, above 0 in part",
    arms={"average pooling": {"dense": False}, "fully connected": {"dense": True}},
    rates=(0.01, 0.03, 0.1, 0.2, 0.4),
    recipe=Recipe(steps=400),
)
def n2(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm="bn", dropout=0.4)
    if arm["dense"]:  # VGG's way: flatten the last grid of 4 x 4, a layer of 256, the same dropout, the classifier
        c = model.head[-1].in_features
        model.head = nn.Sequential(nn.Flatten(), nn.Linear(c * 16, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, 10))
        nn.init.kaiming_normal_(model.head[1].weight, nonlinearity="relu")
        nn.init.normal_(model.head[-1].weight, std=0.01)
    found, _ = _trained(model, recipe, seed, images, final, watch, examples=1500)
    found["head_params"] = sum(p.numel() for p in model.head.parameters())
    found["train_accuracy"] = train.evaluate(model, images.train.take(1500)).accuracy
    if final:
        found["gap"] = found["train_accuracy"] - found["test_accuracy"]
    return found


@judges(n2)
def _(arms):
    gap = paired(arms, "fully connected", "average pooling", "gap")
    better = paired(arms, "average pooling", "fully connected", "test_accuracy")
    fit = {name: sum(r["train_accuracy"] for r in rows) / len(rows) for name, rows in arms.items()}
    return Verdict(
        decide(gap, 0.03),
        f"train-test gap, fully connected minus average pooling: {gap}; test accuracy, average pooling minus fully "
        f"connected: {better}; "
        f"training accuracy {fit['average pooling']:.3f} and {fit['fully connected']:.3f}",
    )


SIZES = ((12, 16), (16, 20), (20, 24), (24, 28.01))  # px: the four bins of object size


@experiment(
    "V1b",
    claim="branches with different kernels see different scales: from small digits to large ones, losing the 5 x 5 "
    "branch grows dearer relative to losing the 1 x 1 branch",
    threshold="share of above-chance accuracy lost without the branch, largest minus smallest digits, 5 x 5 minus 1 "
    "x 1: interval above +0.05 holds, above 0 in part",
    arms={"Inception V1": {}},
    rates=(0.1,),
    recipe=Recipe(steps=600),
)
def v1b(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm="bn")
    found, _ = _trained(model, recipe, seed, images, final, watch)
    found["intact"] = accuracy_by_size(model, images.test)
    found["without"] = {
        name: accuracy_by_size(model, images.test, without=name, reference=images.validation)
        for name in next(iter(look.branched_stages(model).values()))
    }
    return found


def accuracy_by_size(model, split, *, without: str | None = None, reference=None, bins=SIZES) -> list[float]:
    """Network -> accuracy on the digits of each size bin; with one branch of every module replaced by its mean on
    ``reference`` if asked.
    """
    with contextlib.ExitStack() as stack:
        if without is not None:
            some = data.normalize(reference.take(500).images)
            for name in look.branched_stages(model):
                stack.enter_context(look.ablate(model, name, without, some))
        logits, labels = train.predict(model, split)
    right, size = logits.argmax(1) == labels, split.factors["size"]
    return [float(right[(size >= low) & (size < high)].float().mean()) for low, high in bins]


def share_lost(intact: Sequence[float], ablated: Sequence[float], chance: float = 0.1) -> list[float]:
    """Accuracy by size, whole and ablated -> share of the above-chance accuracy that is gone. Small digits have less
    to lose, so points mislead.
    """
    return [(a - b) / (a - chance) for a, b in zip(intact, ablated, strict=True)]


@judges(v1b)
def _(arms):
    def slope(run, branch):
        lost = share_lost(run["intact"], run["without"][branch])
        return lost[-1] - lost[0]

    runs = arms["Inception V1"]
    difference = interval([slope(r, "b5") - slope(r, "b1") for r in runs])
    pool = interval([slope(r, "pool") for r in runs])
    return Verdict(
        decide(difference, 0.05),
        f"5 x 5 minus 1 x 1: {difference}; the pool branch alone, largest minus smallest: {pool}",
    )


@experiment(
    "V1d",
    claim="training groups correlated units: channels of one branch go together more than channels of different "
    "branches",
    threshold="mean absolute correlation within minus across branches, trained minus untrained: interval above "
    "+0.02 holds, above 0 in part",
    arms={"Inception V1": {}},
    rates=(0.1,),
    recipe=Recipe(steps=600),
)
def v1d(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm="bn")
    some = data.normalize(images.validation.take(200).images)
    before = {name: branch_contrast(model, some, name) for name in ("3a", "4a", "4b", "5a")}
    found, _ = _trained(model, recipe, seed, images, final, watch)
    after = {name: branch_contrast(model, some, name) for name in before}
    return found | {"before": before, "after": after}


def branch_contrast(model, images, stage: str) -> tuple[float, float]:
    """Stage -> mean absolute channel correlation within one branch, and across two branches."""
    return look.within_and_across(*look.branch_correlation(model, images, stage))


@judges(v1d)
def _(arms):
    def contrast(found):
        return sum(within - across for within, across in found.values()) / len(found)

    runs = arms["Inception V1"]
    change = interval([contrast(r["after"]) - contrast(r["before"]) for r in runs])
    before, after = (interval([contrast(r[key]) for r in runs]) for key in ("before", "after"))
    return Verdict(decide(change, 0.02), f"within minus across: untrained {before}, trained {after}, change {change}")


@experiment(
    "V1e",
    claim="auxiliary classifiers send gradient to the early layers, speed up training and regularize",
    threshold="with minus without, nine modules, He's start: stem gradient at the start at least 1.5 times (log "
    "ratio above 0.405); share of steps saved "
    "to a loss of 1.0 above 0.1; train-test gap smaller by 0.01. All three hold: holds; some: in part",
    arms={"no auxiliary classifiers": {"aux": False}, "auxiliary classifiers": {"aux": True}},
    rates=(0.0005, 0.001, 0.002, 0.004),
    recipe=Recipe(steps=300, optimizer="adamw"),
)
def v1e(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    model = googlenet.GoogLeNet.laptop(norm="none", blocks=(2, 5, 2), aux=True)
    found = {"stem_gradient": stem_gradient(model, images, recipe.aux_weight if arm["aux"] else 0.0)}
    recipe = replace(recipe, aux_weight=recipe.aux_weight if arm["aux"] else 0.0)
    found_more, history = _trained(model, recipe, seed, images, final, watch)
    found |= found_more
    found["steps_to_1.0"] = (
        history.steps_to(1.0) or recipe.steps
    )  # never there: the whole run, which understates the difference
    found["train_accuracy"] = train.evaluate(model, images.train.take(4000)).accuracy
    if final:
        found["gap"] = found["train_accuracy"] - found["test_accuracy"]
    return found


def stem_gradient(model: nn.Module, images, aux_weight: float, examples: int = 64) -> float:
    """Untrained network -> root-mean-square gradient in its first convolution for one batch of training images.

    As in training, with the batch's own statistics, but with dropout off: one less source of chance. Works on a copy.
    """
    shadow = copy.deepcopy(model).train()
    for layer in shadow.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    some = images.train.take(examples)
    pictures, labels = data.normalize(some.images), some.labels

    def loss(model):
        logits, aux = model.forward_with_aux(pictures)
        return F.cross_entropy(logits, labels) + sum(
            aux_weight * F.cross_entropy(extra, labels) for extra in aux.values()
        )

    return measure.gradient_norms(shadow, loss)["conv1"]


@judges(v1e)
def _(arms):
    without, with_aux = arms["no auxiliary classifiers"], arms["auxiliary classifiers"]
    pairs = list(zip(with_aux, without, strict=True))
    gradient = interval([math.log(a["stem_gradient"] / b["stem_gradient"]) for a, b in pairs])
    saved = interval([1 - a["steps_to_1.0"] / b["steps_to_1.0"] for a, b in pairs])
    gap = interval([b["gap"] - a["gap"] for a, b in pairs])
    parts = {
        "gradient": decide(gradient, math.log(1.5)),
        "speed": decide(saved, 0.1),
        "regularizing": decide(gap, 0.01),
    }
    good = sum(word == "holds" for word in parts.values())
    some = any(word in ("holds", "holds in part") for word in parts.values())
    word = VERDICTS[0] if good == 3 else VERDICTS[1] if some else VERDICTS[2]
    if not some and all(word == "the opposite holds" for word in parts.values()):
        word = VERDICTS[3]
    return Verdict(
        word,
        "stem gradient times {:.2f} [{:.2f}, {:.2f}] ".format(*map(math.exp, gradient))
        + f"({parts['gradient']}); share of steps saved to loss "
        f"1.0: {saved} ({parts['speed']}); "
        f"train-test gap smaller by {gap} ({parts['regularizing']})",
    )


# -------------------------------------------------------------------------------------------------------------- runner


@functools.cache
def _images():
    return data.digits_in_the_wild()


def run_one(
    id: str,
    arm: str,
    *,
    rate: float | None = None,
    seed: int = 0,
    final: bool = False,
    watch=None,
    steps: int | None = None,
) -> dict:
    """One run of one arm, here and now: what the lessons repeat live. ``rate`` defaults to the arm's stored best,
    ``steps`` to the recipe's.
    """
    of = find(id)
    if arm not in of.arms:
        raise ValueError(f"{id} has no arm {arm!r}; it has {', '.join(of.arms)}")
    if rate is None:
        rate = results(id)["rates"][arm]
    recipe = replace(of.recipe, lr=rate, steps=steps or of.recipe.steps)
    return of.measure(of.arms[arm], recipe, seed, _images(), final, watch)


def find(id: str) -> Experiment:
    """Claim -> its experiment. Raises ValueError naming those there are."""
    if id not in EXPERIMENTS:
        raise ValueError(f"no experiment {id!r}; there are {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[id]


def run(id: str, *, seeds: int = 5, workers: int | None = None, out: Path | None = None, progress: bool = True) -> Path:
    """Run a claim's sweep and final seeds over processes of one thread each and write its results file; returns its
    path.

    Finished runs are kept in the cache folder and not repeated, so a run that was killed goes on where it was; kept
    runs of other code, settings or torch are not used.
    """
    of = find(id)
    if seeds < 5:
        raise ValueError(f"a verdict wants at least 5 seeds, not {seeds}")
    workers = workers or os.cpu_count() or 1
    _images()  # built once, here: the workers then read the cache
    with _pool(workers) as pool:
        sweep, best = [], {}
        if len(of.rates) > 1:
            tasks = [(id, arm, rate, seed, False) for arm in of.arms for rate in of.rates for seed in SWEEP_SEEDS]
            sweep = _all(pool, tasks, f"{id}: sweep", progress)
        for arm in of.arms:
            score = {
                rate: [r["validation_accuracy"] for r in sweep if r["arm"] == arm and r["rate"] == rate]
                for rate in of.rates
            }
            best[arm] = max(of.rates, key=lambda rate, score=score: sum(score[rate]))
            if best[arm] in (of.rates[0], of.rates[-1]) and len(of.rates) > 1:
                print(f"{id}: {arm} is best at {best[arm]:g}, the edge of the sweep {list(of.rates)}: widen it")
        tasks = [(id, arm, best[arm], seed, True) for arm in of.arms for seed in range(seeds)]
        runs = _all(pool, tasks, f"{id}: seeds", progress)
    verdict = of.verdict(runs)
    report = {
        "id": id,
        "claim": of.claim,
        "threshold": of.threshold,
        "verdict": verdict.word,
        "sentence": verdict.sentence,
        "command": f"python -m inception_lessons experiments {id} --seeds {seeds}",
        "settings": of.settings(),
        "settings_hash": of.settings_hash(),
        "data_sha256": data.fingerprint(_images()),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "hardware": hardware(),
        "workers": workers,
        "seconds": round(sum(r["seconds"] for r in sweep + runs)),  # of training, in all runs; each has one thread
        "every": EVERY,
        "rates": best,
        "sweep": [{k: r[k] for k in ("arm", "rate", "seed", "validation_accuracy", "loss")} for r in sweep],
        "runs": runs,
    }
    path = Path(out) if out else weights.folder() / "results" / f"{id}.json"
    weights.write(path, (json.dumps(report, indent=1) + "\n").encode())
    return path


def results(id: str, folder: Path | None = None) -> dict:
    """Claim -> its stored results. Raises FileNotFoundError with the command that makes them, ValueError if they are
    damaged or out of date.
    """
    of = find(id)
    path = (folder or weights.folder() / "results") / f"{id}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no stored results for {id}: run python -m inception_lessons experiments {id}")
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path.name} is damaged ({error}): run python -m inception_lessons experiments {id}"
        ) from error
    if not isinstance(found, dict) or "runs" not in found:
        raise ValueError(f"{path.name} is damaged (no runs in it): run python -m inception_lessons experiments {id}")
    if found.get("settings_hash") != of.settings_hash():
        raise ValueError(
            f"{path.name} was made under other settings than {id} has now: run python -m inception_lessons "
            f"experiments {id}"
        )
    return found


def verdict(id: str, folder: Path | None = None) -> Verdict:
    """Claim -> its verdict, worked out again from the stored runs."""
    return find(id).verdict(results(id, folder)["runs"])


def curves(id: str, folder: Path | None = None) -> dict[str, list[list[float]]]:
    """Claim -> stored loss curves by arm, one a seed, a point every ``EVERY`` steps: what ``plots.losses`` takes."""
    found = results(id, folder)
    return {arm: [r["curve"] for r in found["runs"] if r["arm"] == arm and not r["stopped"]] for arm in find(id).arms}


def hardware() -> str:
    """Processor, cores and GPU in words."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return f"{name}, {os.cpu_count()} cores{gpu}"


def _pool(workers: int):
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # spawn: a forked child of a process whose torch already has threads can hang
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _single_thread)


def _single_thread() -> None:
    torch.set_num_threads(1)


def _all(pool, tasks: list[tuple], title: str, progress: bool) -> list[dict]:
    from concurrent.futures import as_completed

    from tqdm.auto import tqdm

    found = {task: _kept(task) for task in tasks}
    bar = tqdm(
        total=len(tasks),
        desc=title,
        disable=not progress,
        unit="run",
        initial=sum(r is not None for r in found.values()),
    )
    with bar:
        waiting = {pool.submit(_run, task): task for task in tasks if found[task] is None}
        try:
            for done in as_completed(waiting):
                found[waiting[done]] = done.result()
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True, wait=False)
            raise
    return [found[task] for task in tasks]


def _run(task: tuple) -> dict:
    id, arm, rate, seed, final = task
    found = {"arm": arm, "rate": rate, "seed": seed} | run_one(id, arm, rate=rate, seed=seed, final=final)
    weights.write(_place(task), json.dumps(found).encode())
    return found


def _place(task: tuple) -> Path:
    id, *rest = task
    key = hashlib.sha256(json.dumps([rest, torch.__version__, _code()]).encode()).hexdigest()[:12]
    return data.cache_folder() / "experiments" / f"{id}-{find(id).settings_hash()}" / f"{key}.json"


@functools.cache
def _code() -> str:
    """Hash of the package's source: a kept run is only as good as the code that made it."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _kept(task: tuple) -> dict | None:
    try:
        return json.loads(_place(task).read_text())
    except (OSError, ValueError):
        return None


def main(arguments: Sequence[str]) -> int:
    """``experiments ID ... [--seeds 5] [--workers N]``: run claims and print their verdicts."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m inception_lessons experiments", description=main.__doc__)
    parser.add_argument("ids", nargs="+", metavar="ID", help=f"claims: {', '.join(EXPERIMENTS)}")
    parser.add_argument("--seeds", type=int, default=5, help="final seeds of each arm (at least 5)")
    parser.add_argument("--workers", type=int, help="processes of one thread each (default: one a core)")
    parser.add_argument("--out", type=Path, help="folder for the results files (default: data/results)")
    chosen = parser.parse_args(arguments)
    for id in chosen.ids:
        find(id)  # all names first: a slip in the last one should not cost an hour
    for id in chosen.ids:
        path = run(id, seeds=chosen.seeds, workers=chosen.workers, out=chosen.out and chosen.out / f"{id}.json")
        found = json.loads(path.read_text())
        print(f"{id}: {found['verdict']}. {found['sentence']}. {found['seconds']} s, written to {path.name}")
    return 0
