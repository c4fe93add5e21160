"""What every experiment shares: arms, seeds, sweeps, intervals, verdicts, results files, and the processes that run.

Each arm trains at its own best learning rate, chosen from the same sweep on the validation split with seeds that are
not used again; the test split is read once, by the final runs. A verdict is worked out from stored runs alone, so it
can be checked at any time.
"""

import contextlib
import functools
import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from inception_lessons import data, train, weights
from inception_lessons.train import History, Recipe

VERDICTS = ("holds", "holds in part", "does not hold at this size", "the opposite holds", "cannot be shown here")
SWEEP_SEEDS = (1000, 1001)
EVERY = 10  # steps between two stored points of a loss curve

EXPERIMENTS: dict[str, "Experiment"] = {}

#: Where an experiment's pictures may come from: the default set, MNIST's plain digits, CIFAR-10 from a path of yours,
#: and noise, for what depends on the size of pictures alone. What settings call them stands behind.
DATASETS = {"digits": "digits_in_the_wild", "mnist": "mnist_digits", "cifar10": "cifar10", "noise": "noise"}
NOISE = 32  # pictures, 299 x 299
CIFAR10_PATH = "INCEPTION_LESSONS_CIFAR10"  # the variable that data.cifar10 reads; worker processes inherit it


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

    ``arms`` maps a name to what differs; ``rates`` is the sweep of learning rates (one rate: nothing to sweep). An arm
    may bring its own: ``{"rate": 0.3}``, or ``{"rate_of": "plain", "times": 5}``, five times what was best for the arm
    "plain". ``datasets`` names the sets that it can run on, the default first; ``recipes`` changes the recipe on some.
    The sweep chooses the rate with the highest validation accuracy, or with the lowest ``lowest``, a measurement: a
    claim about steps compares each arm at the rate that saves it most steps. ``shares`` names the claim whose runs
    this one is judged on, if it has none of its own.

    ``timed`` makes it a claim about seconds, and says how many are taken (plain values: batch, batches). Nothing is
    trained, so there is no recipe and no sweep; what stands where others have seeds are rounds, each with all arms.
    """

    id: str
    claim: str
    threshold: str
    arms: Mapping[str, Mapping]
    rates: Sequence[float]
    recipe: Recipe | None
    measure: Callable
    datasets: tuple[str, ...] = ("digits",)
    recipes: Mapping[str, Mapping] = field(default_factory=dict)
    lowest: str | None = None
    shares: str | None = None
    judge: Callable[[dict], Verdict] | None = None
    timed: Mapping[str, object] | None = None

    def recipe_on(self, dataset: str) -> Recipe | None:
        """The recipe for one of ``datasets``, None if nothing is trained. Raises ValueError for another data set."""
        if dataset not in self.datasets:
            raise ValueError(f"{self.id} runs on {', '.join(self.datasets)}, not on {dataset!r}")
        return self.recipe and replace(self.recipe, **self.recipes.get(dataset, {}))

    def settings(self, dataset: str | None = None) -> dict:
        """What runs are made from, as plain values: arms, sweep, recipe, threshold, data. Not the measuring code."""
        dataset = dataset or self.datasets[0]
        _known(dataset)
        version = f", version {data.DATA_VERSION}" if dataset == "digits" else ""
        common = {
            "arms": {name: dict(arm) for name, arm in self.arms.items()},
            "threshold": self.threshold,
            "data": DATASETS[dataset] + version,
        }
        if self.timed:
            return common | {"timed": dict(self.timed)}
        recipe = asdict(self.recipe_on(dataset))  # None is "not used": a recipe that learns a new trick stays the same
        return common | {
            "rates": list(self.rates),
            "recipe": {key: value for key, value in recipe.items() if value is not None},
            "sweep_seeds": list(SWEEP_SEEDS),
        } | ({"lowest": self.lowest} if self.lowest else {})

    def settings_hash(self, dataset: str | None = None) -> str:
        """Hash of ``settings``: a results file made under others is refused."""
        return hashlib.sha256(json.dumps(self.settings(dataset), sort_keys=True).encode()).hexdigest()[:16]

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


def experiment(
    id: str,
    *,
    claim: str,
    threshold: str,
    arms: Mapping | None = None,
    recipe: Recipe | None = None,
    rates: Sequence[float] = (),
    datasets: tuple[str, ...] = ("digits",),
    recipes: Mapping[str, Mapping] | None = None,
    lowest: str | None = None,
    shares: str | None = None,
    timed: Mapping[str, object] | None = None,
):
    """Decorate ``measure(arm, recipe, seed, images, final, watch) -> dict`` into an Experiment; ``@judges`` then
    gives it its verdict rule.

    With ``timed``, a claim about seconds, it is ``measure(arm, timed, round, images) -> dict``.

    With ``shares``, the claim whose runs it is judged on, there is nothing to measure and no more to say than claim
    and threshold: what is decorated then is the rule, ``judge(arms) -> Verdict``. Raises ValueError for an arm whose
    rate cannot be known, or a data set that there is not.
    """
    if shares:
        if arms or recipe or rates or recipes or lowest or timed:
            raise ValueError(
                f"{id} is judged on the runs of {shares}: it cannot have arms, rates or a recipe of its own"
            )
        base = find(shares)

        def register_rule(judge: Callable) -> Experiment:
            EXPERIMENTS[id] = replace(base, id=id, claim=claim, threshold=threshold, shares=shares, judge=judge)
            return EXPERIMENTS[id]

        return register_rule
    if timed and (recipe or rates or recipes or lowest):
        raise ValueError(f"{id} is timed and trains nothing: it cannot have a recipe or rates")
    if not arms or (recipe is None and not timed):
        raise ValueError(f"{id} wants arms and a recipe, or shares, the claim whose runs it is judged on")
    if not datasets or set(datasets) - set(DATASETS) or set(recipes or {}) - set(datasets):
        raise ValueError(f"{id}: data sets are some of {', '.join(DATASETS)}; recipes are for those that it runs on")
    names = list(arms)
    for place, (name, arm) in enumerate(arms.items()):
        if ("rate_of" in arm and arm["rate_of"] not in names[:place]) or {"rate", "rate_of"} <= set(arm):
            raise ValueError(f"{id}: the rate of {name!r} is its own, or that of an arm that stands above it")

    def register(function: Callable) -> Experiment:
        swept = () if timed else tuple(rates) or (recipe.lr,)
        of = Experiment(id, claim, threshold, arms, swept, recipe, function)
        EXPERIMENTS[id] = replace(of, datasets=tuple(datasets), recipes=recipes or {}, lowest=lowest, timed=timed)
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
    """Values, one a seed -> mean and 95 % t-interval. Raises ValueError for fewer than two, and for what is no number.
    """
    from scipy.special import stdtrit

    count = len(values)
    if count < 2:
        raise ValueError(f"an interval needs at least 2 values, not {count}")
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise ValueError(f"an interval is of numbers, and among these is one that is none: {list(values)}")
    mean = sum(values) / count
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1) / count)
    half = float(stdtrit(count - 1, 0.975)) * spread
    return Interval(mean, mean - half, mean + half)


def paired(arms: Mapping, first: str, second: str, key: str) -> Interval:
    """Interval of ``first - second`` in one measurement, seed by seed. Raises ValueError for an arm or a measurement
    that there is not, and for arms of unequal length.
    """
    return interval([a - b for a, b in _pairs(arms, first, second, key)])


def _pairs(arms: Mapping, first: str, second: str, key: str) -> list[tuple[float, float]]:
    """One measurement of two arms, seed by seed."""
    for name in (first, second):
        if name not in arms:
            raise ValueError(f"no arm {name!r}; there are {', '.join(arms)}")
        if any(key not in run for run in arms[name]):
            raise ValueError(f"the runs of {name!r} have no {key!r}")
    if len(arms[first]) != len(arms[second]):
        raise ValueError(f"{first!r} has {len(arms[first])} runs and {second!r} {len(arms[second])}: no pairs")
    return [(a[key], b[key]) for a, b in zip(arms[first], arms[second], strict=True)]


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


def log_ratios(arms: Mapping, first: str, second: str, key: str) -> list[float]:
    """Logarithms of ``first / second`` in one measurement, seed by seed: steps are compared by how many times. Raises
    ValueError as ``paired`` does, and for values that are not above 0.
    """
    pairs = _pairs(arms, first, second, key)
    if any(not value > 0 for pair in pairs for value in pair):
        raise ValueError(f"only what is above 0 has a ratio, and {key!r} of {first!r} and {second!r} is {pairs}")
    return [math.log(a / b) for a, b in pairs]


def as_ratio(logs: Sequence[float]) -> str:
    """Logarithms of ratios, one a seed -> "3.0 times [2.5, 3.6]": the mean and its 95 % t-interval, as ratios."""
    mean, low, high = (f"{float(f'{math.exp(value):.2g}'):g}" for value in interval(logs))  # 310, not 3.1e+02
    return f"{mean} times [{low}, {high}]"


def decide_ratio(logs: Sequence[float], least: float) -> str:
    """``decide`` for a ratio that the claim says is at least ``least`` > 1."""
    return decide(interval(logs), math.log(least))


# ------------------------------------------------------------------------------------------------------------ measuring


def trained(
    model: nn.Module,
    recipe: Recipe,
    seed: int,
    images,
    final: bool,
    watch=None,
    examples: int | None = None,
    each: Callable[[History], None] | None = None,
    scored: int | None = None,
) -> tuple[dict, History]:
    """Train and score one network: what every claim measures, and the history for what it measures beside that.

    ``examples`` is how many images it trains on, ``scored`` how many of validation and test it is scored on at most
    (all, unless said): a claim about the loss need not spend its time on 10,000 test images. ``each`` is called after
    every step, for a claim that measures along the way; ``watch`` is the onlooker's, and is called once more at the
    end. ``images`` is a set with train, validation and test.
    """
    start = time.process_time()
    some = images.train.take(examples) if examples else images.train

    def both(history):
        if not history.finished:
            each(history)
        if watch is not None:
            watch(history)

    seen = watch if each is None else both
    history = train.fit(model, some, recipe=recipe, seed=seed, watch=seen, progress=watch is not None)
    found = {
        "loss": round(min(history.final_loss(), 99.0), 5),
        "stopped": history.stopped,
        "curve": [round(value, 4) for value in history.smoothed()[EVERY - 1 :: EVERY]],
        "validation_accuracy": train.evaluate(model, _first(images.validation, scored)).accuracy,
        "cpu_seconds": round(time.process_time() - start, 1),
        "seconds": round(history.seconds, 1),
    }
    if final:
        found["test_accuracy"] = train.evaluate(model, _first(images.test, scored)).accuracy
    return found, history


def _first(split, count: int | None):
    return split if count is None or count >= len(split) else split.take(count)


def overfitting(found: Mapping, model: nn.Module, some) -> dict:
    """What ``trained`` found, the network and pictures that it was trained on -> its accuracy on them, and in a final
    run the gap to the test split's.

    ``some`` is the split of those pictures.
    """
    accuracy = train.evaluate(model, some).accuracy
    gap = {"gap": accuracy - found["test_accuracy"]} if "test_accuracy" in found else {}
    return {"train_accuracy": accuracy} | gap


# -------------------------------------------------------------------------------------------------------------- runner


def images_of(dataset: str):
    """Name in DATASETS -> its image set, read once. CIFAR-10 comes from where ``data.cifar10()`` looks: the path in the
    environment variable CIFAR10_PATH, or what was downloaded. Raises ValueError for another name.
    """
    _known(dataset)
    return _images(dataset, os.environ.get(CIFAR10_PATH) if dataset == "cifar10" else None)


def _known(dataset: str) -> None:
    if dataset not in DATASETS:
        raise ValueError(f"no data set {dataset!r}; there are {', '.join(DATASETS)}")


@functools.cache
def _images(dataset: str, path: str | None):
    sets = {"digits": data.digits_in_the_wild, "mnist": data.mnist_digits, "cifar10": data.cifar10, "noise": _noise}
    return sets[dataset]()


def _noise() -> data.ImageSet:
    """Random pictures of the largest size that the course's networks take: the clock does not see what is on them."""
    import numpy as np

    def split(count: int) -> data.Split:
        pixels = np.random.default_rng(count).integers(0, 256, (count, 299, 299, 3), dtype=np.uint8)
        return data.Split(torch.from_numpy(pixels), torch.zeros(count, dtype=torch.int64))

    return data.ImageSet("noise", split(NOISE), split(1), split(1), ("noise",), "made here: random numbers")


def run_one(
    id: str,
    arm: str,
    *,
    rate: float | None = None,
    seed: int = 0,
    final: bool = False,
    watch=None,
    steps: int | None = None,
    dataset: str | None = None,
) -> dict:
    """One run of one arm, here and now: what the lessons repeat live. ``rate`` defaults to the arm's stored best,
    ``steps`` to the recipe's, ``dataset`` to the experiment's first.

    ``watch`` is called after every step, as in ``train.fit``. Raises ValueError for a claim or an arm that there is
    not.
    """
    of = find(id)
    if arm not in of.arms:
        raise ValueError(f"{id} has no arm {arm!r}; it has {', '.join(of.arms)}")
    dataset = dataset or of.datasets[0]
    if of.timed:
        return of.measure(of.arms[arm], of.timed, seed, images_of(dataset))
    if rate is None:
        rate = results(id, dataset=dataset)["rates"][arm]
    recipe = of.recipe_on(dataset)
    recipe = replace(recipe, lr=rate, steps=steps or recipe.steps)
    return of.measure(of.arms[arm], recipe, seed, images_of(dataset), final, watch)


def find(id: str) -> Experiment:
    """Claim -> its experiment. Raises ValueError naming those there are."""
    if id not in EXPERIMENTS:
        raise ValueError(f"no experiment {id!r}; there are {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[id]


def run(
    id: str,
    *,
    seeds: int = 5,
    workers: int | None = None,
    out: Path | None = None,
    progress: bool = True,
    dataset: str | None = None,
    note: str = "",
) -> Path:
    """Run a claim's sweep and final seeds over processes of one thread each and write its results file; returns its
    path. A timed claim runs in this process, alone, ``seeds`` rounds.

    Finished runs are kept in the cache folder and not repeated, so a run that was killed goes on where it was; kept
    runs of other code, settings or torch are not used. ``note`` is stored with the data's name ("JPEG re-encoded").
    Raises ValueError for fewer than five seeds, or a claim that is judged on the runs of another.
    """
    of = _with_runs(id)
    dataset = dataset or of.datasets[0]
    settings = of.settings(dataset)
    if not isinstance(seeds, int) or seeds < 5:
        raise ValueError(f"a verdict wants at least 5 seeds, not {seeds!r}")
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers are processes, at least 1, not {workers!r}")
    of.recipe_on(dataset)  # a data set that the claim does not run on is said before anything is read
    images = images_of(dataset)  # built once, here: the workers then read the cache
    if of.timed:
        runs = _timed(of, seeds, images, progress)
        workers, best, sweep = 1, {}, []
    else:
        workers = workers or os.cpu_count() or 1
        runs, best, sweep = _trained(of, seeds, images, dataset, workers, progress)
    verdict = of.verdict(runs)
    others = {}
    for other in EXPERIMENTS.values():
        if other.shares == id:
            word, sentence = other.verdict(runs)
            others[other.id] = {"threshold": other.threshold, "verdict": word, "sentence": sentence}
    command = [f"python -m inception_lessons experiments {id} --seeds {seeds}"]
    command += ["--cifar10 PATH"] if dataset == "cifar10" else []
    command += [f"--note {json.dumps(note)}"] if note else []
    said = ("arm", "rate", "seed", "validation_accuracy", "loss", *([of.lowest] if of.lowest else []))
    report = {
        "id": id,
        "claim": of.claim,
        "threshold": of.threshold,
        "verdict": verdict.word,
        "sentence": verdict.sentence,
        "command": " ".join(command),
        "data": f"{images.name}, {note}" if note else images.name,
        "settings": settings,
        "settings_hash": of.settings_hash(dataset),
        "data_sha256": data.fingerprint(images),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "hardware": hardware(),
        "workers": workers,
        "seconds": round(sum(r["seconds"] for r in sweep + runs)),  # in all runs; one that trains has one thread
        "every": EVERY,
        "rates": best,
        "sweep": [{key: r[key] for key in said} for r in sweep],
        "runs": runs,
    } | ({"shared": others} if others else {})
    if of.timed:
        report["threads"] = torch.get_num_threads()
    path = Path(out) if out else _stored(id, dataset)
    weights.write(path, (json.dumps(report, indent=1) + "\n").encode())
    return path


def _trained(of: Experiment, seeds: int, images, dataset: str, workers: int, progress: bool) -> tuple[list, dict, list]:
    """-> final runs, each arm's rate, and the runs of the sweep that chose it."""
    kept = _kept_in(of, dataset, data.fingerprint(images))
    with _pool(workers) as pool:
        swept = [arm for arm in of.arms if len(of.rates) > 1 and not {"rate", "rate_of"} & set(of.arms[arm])]
        tasks = [(of.id, dataset, arm, rate, seed, False) for arm in swept for rate in of.rates for seed in SWEEP_SEEDS]
        sweep = _all(pool, tasks, kept, f"{of.id}: sweep", progress)
        best = _best(of, sweep)
        for arm in swept:
            if best[arm] in (of.rates[0], of.rates[-1]):
                print(f"{of.id}: {arm} is best at {best[arm]:g}, the edge of the sweep {list(of.rates)}: widen it")
        tasks = [(of.id, dataset, arm, best[arm], seed, True) for arm in of.arms for seed in range(seeds)]
        runs = _all(pool, tasks, kept, f"{of.id}: seeds", progress)
    return runs, best, sweep


def _timed(of: Experiment, rounds: int, images, progress: bool) -> list[dict]:
    """Every arm once, then every arm again: what is compared runs next to each other, here, with torch's own threads.

    Forth in one round and back in the next, so that a machine that grows slower wrongs nobody. Nothing is kept for a
    run that is stopped: seconds of two different hours are not comparable.
    """
    from tqdm.auto import tqdm

    runs = []
    with tqdm(total=rounds * len(of.arms), desc=f"{of.id}: rounds", disable=not progress, unit="run") as bar:
        for number in range(rounds):
            for name in list(of.arms) if number % 2 == 0 else reversed(of.arms):
                runs.append({"arm": name, "seed": number} | of.measure(of.arms[name], of.timed, number, images))
                bar.update()
    return runs


def _with_runs(id: str) -> Experiment:
    """Claim -> its experiment, if it has runs of its own. Raises ValueError naming the claim that does, if not."""
    of = find(id)
    if of.shares:
        raise ValueError(
            f"{id} is judged on the runs of {of.shares}: run python -m inception_lessons experiments {of.shares}"
        )
    return of


def _best(of: Experiment, sweep: Sequence[Mapping]) -> dict[str, float]:
    """Learning rate of each arm: the best of its runs in the sweep, or what the arm itself says."""
    best = {}
    for name, arm in of.arms.items():
        if "rate_of" in arm:
            best[name] = float(f"{best[arm['rate_of']] * arm['times']:.6g}")  # 0.6, not 0.6000000000000001
        elif "rate" in arm or len(of.rates) == 1:
            best[name] = arm.get("rate", of.rates[0])
        else:
            runs = [r for r in sweep if r["arm"] == name]
            score = {
                rate: sum(-r[of.lowest] if of.lowest else r["validation_accuracy"] for r in runs if r["rate"] == rate)
                for rate in of.rates
            }
            best[name] = max(of.rates, key=lambda rate, score=score: score[rate])
    return best


def _stored(id: str, dataset: str, folder: Path | None = None) -> Path:
    folder = folder or weights.folder() / "results"
    return (folder if dataset == find(id).datasets[0] else folder / dataset) / f"{id}.json"


def results(id: str, folder: Path | None = None, *, dataset: str | None = None) -> dict:
    """Claim -> its stored results; of a claim that shares another's runs, that one's. Raises FileNotFoundError with the
    command that makes them, ValueError if they are damaged or out of date.
    """
    of, base = find(id), find(find(id).shares or id)
    dataset = dataset or of.datasets[0]
    of.recipe_on(dataset)
    path = _stored(base.id, dataset, folder)
    remedy = f"run python -m inception_lessons experiments {base.id}"
    remedy += " --cifar10 PATH" if dataset == "cifar10" else ""
    if not path.is_file():
        raise FileNotFoundError(f"no stored results for {id}: {remedy}")
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path.name} is damaged ({error}): {remedy}") from error
    if not isinstance(found, dict) or "runs" not in found:
        raise ValueError(f"{path.name} is damaged (no runs in it): {remedy}")
    if found.get("settings_hash") != base.settings_hash(dataset):
        raise ValueError(f"{path.name} was made under other settings than {base.id} has now: {remedy}")
    if of.shares and found.get("shared", {}).get(id, {}).get("threshold") != of.threshold:
        # the rule that judges another claim's runs is written before them, too
        raise ValueError(f"{path.name} was made under another threshold than {id} has now: {remedy}")
    return found


def verdict(id: str, folder: Path | None = None, *, dataset: str | None = None) -> Verdict:
    """Claim -> its verdict, worked out again from the stored runs."""
    return find(id).verdict(results(id, folder, dataset=dataset)["runs"])


def curves(id: str, folder: Path | None = None, *, dataset: str | None = None) -> dict[str, list[list[float]]]:
    """Claim -> stored loss curves by arm, one a seed, a point every ``EVERY`` steps: what ``plots.losses`` takes."""
    found = results(id, folder, dataset=dataset)
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


def _all(pool, tasks: list[tuple], kept: Callable[[tuple], Path], title: str, progress: bool) -> list[dict]:
    from concurrent.futures import as_completed

    from tqdm.auto import tqdm

    found = {task: _kept(kept(task)) for task in tasks}
    bar = tqdm(
        total=len(tasks),
        desc=title,
        disable=not progress,
        unit="run",
        initial=sum(r is not None for r in found.values()),
    )
    with bar:
        waiting = {pool.submit(_run, (task, kept(task))): task for task in tasks if found[task] is None}
        try:
            for done in as_completed(waiting):
                found[waiting[done]] = done.result()
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True, wait=False)
            raise
    return [found[task] for task in tasks]


def _run(work: tuple[tuple, Path]) -> dict:
    (id, dataset, arm, rate, seed, final), place = work
    found = run_one(id, arm, rate=rate, seed=seed, final=final, dataset=dataset)
    found = {"arm": arm, "rate": rate, "seed": seed} | found
    weights.write(place, json.dumps(found).encode())
    return found


def _kept_in(of: Experiment, dataset: str, fingerprint: str) -> Callable[[tuple], Path]:
    """-> where each finished run is kept: a place of its own for other settings, data, code or torch.

    Made once, before the first run: an edit made while runs are under way must not pass for the code that they use.
    """
    same = (fingerprint, torch.__version__, _code(Path(train.__file__).parent, of.measure.__module__))
    folder = data.cache_folder() / "experiments" / f"{of.id}-{of.settings_hash(dataset)}"

    def place(task: tuple) -> Path:
        _, _, arm, rate, seed, final = task
        return folder / f"{hashlib.sha256(json.dumps([arm, rate, seed, final, *same]).encode()).hexdigest()[:12]}.json"

    return place


def _code(package: Path, module: str) -> str:
    """Hash of the source that a kept run of this module's experiments is made by: it is only as good as its code."""
    looks = ("plots", "widgets", "weights", "fetch", "checks", "script", "processes", "export", "__init__", "__main__")
    files = [path for path in sorted(package.glob("*.py")) if path.stem not in looks]
    lesson = package.joinpath(*module.split(".")[1:]).with_suffix(".py")
    files += [package / "experiments" / "engine.py", lesson if lesson.is_file() else Path(sys.modules[module].__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _kept(place: Path) -> dict | None:
    try:
        return json.loads(place.read_text())
    except (OSError, ValueError):
        return None


def main(arguments: Sequence[str]) -> int:
    """``experiments ID ... [--seeds 5] [--workers N] [--cifar10 PATH]``: run claims and print their verdicts."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m inception_lessons experiments", description=main.__doc__)
    parser.add_argument("ids", nargs="+", metavar="ID", help=f"claims: {', '.join(EXPERIMENTS)}")
    parser.add_argument("--seeds", type=int, default=5, help="final seeds of each arm, or rounds (at least 5)")
    parser.add_argument("--workers", type=int, help="processes of one thread each (default: one a core)")
    parser.add_argument("--out", type=Path, help="folder for the results files (default: data/results)")
    parser.add_argument("--cifar10", metavar="PATH", help="run on CIFAR-10, from this file or folder, instead")
    parser.add_argument("--note", default="", help='stored with the name of the data: "JPEG re-encoded"')
    chosen = parser.parse_args(arguments)
    if chosen.cifar10:
        os.environ[CIFAR10_PATH] = str(Path(chosen.cifar10).expanduser().absolute())
    dataset = {id: "cifar10" if chosen.cifar10 else find(id).datasets[0] for id in chosen.ids}
    for id in chosen.ids:
        _with_runs(id).recipe_on(dataset[id])  # a slip in the last name should not cost an hour
    for id in chosen.ids:
        out = chosen.out and _stored(id, dataset[id], chosen.out)
        path = run(id, seeds=chosen.seeds, workers=chosen.workers, out=out, dataset=dataset[id], note=chosen.note)
        found = json.loads(path.read_text())
        print(f"{id}: {found['verdict']}. {found['sentence']}. {found['seconds']} s, written to {path.name}")
        for other, said in found.get("shared", {}).items():
            print(f"{other}, on the same runs: {said['verdict']}. {said['sentence']}")
    return 0
