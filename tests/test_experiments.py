"""Tests of `inception_lessons.experiments`: statistics, rules, stored results, and a runner that resumes."""

import contextlib
import json
import math
import os
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from test_data import DEFAULT_FINGERPRINT

from inception_lessons import data, experiments
from inception_lessons.experiments import EXPERIMENTS, SWEEP_SEEDS, VERDICTS, Interval, Verdict
from inception_lessons.train import Recipe

ROOT = Path(__file__).resolve().parent.parent
STORED = sorted((ROOT / "data" / "results").glob("*.json"))
HOLDS, PART, NOT_HERE, OPPOSITE, _ = VERDICTS


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("INCEPTION_LESSONS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# ---------------------------------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize("count", [2, 5, 12])
def test_interval_is_students(count):
    values = np.random.default_rng(count).normal(0.3, 0.1, count)
    found = experiments.interval(values.tolist())
    low, high = scipy.stats.t.interval(0.95, count - 1, values.mean(), scipy.stats.sem(values))
    assert found == pytest.approx((values.mean(), low, high), rel=1e-9)


def test_interval_of_equal_values_has_no_width_and_of_one_value_none():
    assert experiments.interval([0.25] * 5) == (0.25, 0.25, 0.25)
    with pytest.raises(ValueError, match="at least 2 values, not 1"):
        experiments.interval([0.1])


def test_paired_is_the_paired_test_and_no_other():
    a, b = np.random.default_rng(0).normal(0.5, 0.2, (2, 6))
    b = a - 0.05 + (b - 0.5) * 0.05  # seeds matter more than arms: an unpaired interval would be far wider
    arms = {"a": [{"x": v} for v in a.tolist()], "b": [{"x": v} for v in b.tolist()]}
    found, wanted = experiments.paired(arms, "a", "b", "x"), scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-9)
    assert found.mean == pytest.approx((a - b).mean()) and found.high - found.low < 0.1
    with pytest.raises(ValueError):
        experiments.paired({"a": arms["a"], "b": arms["b"][1:]}, "a", "b", "x")


@pytest.mark.parametrize(
    "low, high, word",
    [
        (0.02, 0.08, HOLDS),
        (0.01, 0.08, HOLDS),  # exactly the threshold is enough
        (0.0099, 0.08, PART),
        (1e-9, 0.005, PART),
        (0.0, 0.08, NOT_HERE),  # an interval that touches 0 shows nothing
        (-0.01, 0.08, NOT_HERE),
        (-0.08, 0.0, NOT_HERE),
        (-0.08, -1e-9, OPPOSITE),
        (-0.08, -0.02, OPPOSITE),
    ],
)
def test_decide(low, high, word):
    assert experiments.decide(Interval((low + high) / 2, low, high), 0.01) == word


def test_an_interval_reads_with_its_signs():
    assert str(Interval(0.0123, -0.001, 0.0256)) == "+0.012 [-0.001, +0.026]"


# ------------------------------------------------------------------------------------------------------------- verdicts


def rows(arm, count=5, **measured):
    """Runs of one arm, one a seed; each measurement is a function of the seed."""
    return [{"arm": arm, "seed": s} | {key: value(s) for key, value in measured.items()} for s in range(count)]


def synthetic(id, effect):
    """Made-up runs with an effect of this size: 1 clear, 0.3 a little, 0 none, -1 turned round."""

    def wobble(s):  # differs from seed to seed, the mean over five seeds is 0
        return 0.002 * (s - 2)

    def near(value, sign=1):
        return lambda s: value + sign * wobble(s)

    if id == "N1":
        return (
            rows("reduced", test_accuracy=near(0.8 + 0.03 * effect), macs=lambda s: 100)
            + rows("naive, equal steps", test_accuracy=near(0.8, -1), macs=lambda s: 330)
            + rows("naive, equal multiply-adds", test_accuracy=near(0.8, -1), macs=lambda s: 101)
        )
    if id == "N2":
        common = {"train_accuracy": near(0.9), "test_accuracy": near(0.7)}
        return rows("fully connected", gap=near(0.2 + 0.06 * effect), **common) + rows(
            "average pooling", gap=near(0.2, -1), **common
        )
    if id == "V1b":
        lost = {"b1": 0.2, "b3": 0.3, "b5": 0.2 + 0.15 * effect, "pool": 0.1}
        return rows(
            "Inception V1",
            intact=lambda s: [0.9] * 4,
            without=lambda s: {k: [0.74, 0.7, 0.7, 0.9 - 0.8 * v + wobble(s) * len(k)] for k, v in lost.items()},
        )
    if id == "V1d":
        names = ("3a", "4a", "4b", "5a")
        return rows(
            "Inception V1",
            before=lambda s: {k: [0.2 + wobble(s), 0.2] for k in names},
            after=lambda s: {k: [0.25 + 0.06 * effect, 0.25 + wobble(s)] for k in names},
        )
    if id == "V1e":
        return rows(
            "auxiliary classifiers",
            **{
                "stem_gradient": lambda s: math.exp(1.0 * effect) + wobble(s),
                "steps_to_1.0": near(200 - 60 * effect),
                "gap": near(0.1 - 0.03 * effect),
            },
        ) + rows(
            "no auxiliary classifiers",
            **{"stem_gradient": near(1.0, -1), "steps_to_1.0": near(200, -1), "gap": near(0.1, -1)},
        )
    raise AssertionError(f"give {id} made-up runs here")


@pytest.mark.parametrize("id", EXPERIMENTS)
@pytest.mark.parametrize("effect, word", [(1, HOLDS), (0.3, PART), (0, NOT_HERE), (-1, OPPOSITE)])
def test_every_rule_says_what_the_runs_say(id, effect, word):
    verdict = EXPERIMENTS[id].verdict(synthetic(id, effect))
    assert verdict.word == word, verdict.sentence


@pytest.mark.parametrize(
    "id, swapped",
    [
        ("N1", ("reduced", "naive, equal multiply-adds")),
        ("N2", ("average pooling", "fully connected")),
        ("V1e", ("auxiliary classifiers", "no auxiliary classifiers")),
    ],
)
def test_arms_turned_round_turn_the_verdict_round(id, swapped):
    other = dict(zip(swapped, swapped[::-1], strict=True))
    for effect, before, after in ((1, HOLDS, OPPOSITE), (-1, OPPOSITE, HOLDS)):
        runs = synthetic(id, effect)
        turned = [run | {"arm": other.get(run["arm"], run["arm"])} for run in runs]
        assert EXPERIMENTS[id].verdict(runs).word == before
        assert EXPERIMENTS[id].verdict(turned).word == after


def test_v1e_with_one_part_of_three_holds_in_part():
    runs = synthetic("V1e", 1)
    for run in runs:
        run["gap"], run["steps_to_1.0"] = 0.1 + 0.001 * run["seed"], 200 + run["seed"]
    assert EXPERIMENTS["V1e"].verdict(runs).word == PART


def test_sentences_carry_the_figures():
    for id in EXPERIMENTS:
        sentences = {effect: EXPERIMENTS[id].verdict(synthetic(id, effect)).sentence for effect in (1, 0, -1)}
        assert len(set(sentences.values())) == 3, f"the sentence of {id} does not depend on the runs"
        assert all("[" in s and "]" in s for s in sentences.values()), "no interval"


def test_too_few_or_unequal_seeds_are_refused():
    of, runs = EXPERIMENTS["N1"], synthetic("N1", 1)
    few = [run for run in runs if run["seed"] < 4]
    with pytest.raises(ValueError, match="at least 5 seeds .*'reduced': 4"):
        of.verdict(few)
    with pytest.raises(ValueError, match="at least 5 seeds .*'naive, equal steps': 0"):
        of.verdict([run for run in runs if run["arm"] != "naive, equal steps"])
    shifted = [run | {"seed": run["seed"] + 1} if run["arm"] == "reduced" else run for run in runs]
    with pytest.raises(ValueError, match="seeds differ"):
        of.verdict(shifted)
    with pytest.raises(ValueError, match="seeds differ"):
        of.verdict([*runs, runs[0]])
    with pytest.raises(ValueError, match="seeds differ"):  # the same doubled seed in every arm
        of.verdict(runs + [run for run in runs if run["seed"] == 0])


def test_runs_are_paired_by_seed_not_by_place():
    runs = synthetic("N1", 0.3)
    assert EXPERIMENTS["N1"].verdict(runs[::-1]) == EXPERIMENTS["N1"].verdict(runs)
    mixed = runs[:5][::-1] + runs[5:]
    assert EXPERIMENTS["N1"].verdict(mixed) == EXPERIMENTS["N1"].verdict(runs)


# ------------------------------------------------------------------------------------------------------- stored results


@pytest.mark.parametrize("id", EXPERIMENTS)
def test_every_claim_has_its_results(id):
    assert experiments.results(id)["id"] == id


def test_there_are_no_results_without_a_claim():
    assert {path.stem for path in STORED} <= set(EXPERIMENTS)


@pytest.fixture(params=STORED, ids=lambda path: path.stem)
def stored(request):
    return request.param.stem, json.loads(request.param.read_text())


def test_stored_settings_are_the_current_ones(stored):
    id, found = stored
    assert found["settings_hash"] == EXPERIMENTS[id].settings_hash()
    assert found["settings"] == json.loads(json.dumps(EXPERIMENTS[id].settings()))
    assert found["claim"] == EXPERIMENTS[id].claim and found["threshold"] == EXPERIMENTS[id].threshold
    assert found["data_sha256"] == DEFAULT_FINGERPRINT


def test_stored_verdict_follows_from_the_stored_runs(stored):
    id, found = stored
    assert experiments.verdict(id) == Verdict(found["verdict"], found["sentence"])
    assert found["verdict"] in VERDICTS


def test_stored_runs_are_enough_and_fair(stored):
    id, found = stored
    final = {(run["arm"], run["seed"]): run for run in found["runs"]}
    assert len(final) == len(found["runs"]) and {arm for arm, _ in final} == set(EXPERIMENTS[id].arms)
    seeds = {seed for _, seed in final}
    assert len(seeds) >= 5 and not seeds & set(SWEEP_SEEDS)
    assert f"--seeds {len(seeds)}" in found["command"] and id in found["command"].split()
    assert all(run["rate"] == found["rates"][run["arm"]] for run in found["runs"])
    for run in found["runs"]:
        assert 0 <= run["validation_accuracy"] <= 1 and 0 <= run["test_accuracy"] <= 1


def test_stored_rates_are_the_best_of_the_stored_sweep(stored):
    id, found = stored
    of = EXPERIMENTS[id]
    assert set(found["rates"]) == set(of.arms)
    if len(of.rates) == 1:
        assert found["sweep"] == [] and set(found["rates"].values()) == set(of.rates)
        return
    swept = {(run["arm"], run["rate"], run["seed"]): run["validation_accuracy"] for run in found["sweep"]}
    assert set(swept) == {(arm, rate, seed) for arm in of.arms for rate in of.rates for seed in SWEEP_SEEDS}
    for arm, rate in found["rates"].items():
        mean = {r: sum(swept[arm, r, s] for s in SWEEP_SEEDS) for r in of.rates}
        assert mean[rate] == max(mean.values()), f"{id}: {arm} was not run at its best rate"


def test_stored_curves_are_whole(stored):
    id, found = stored
    steps = found["settings"]["recipe"]["steps"]
    assert found["every"] == experiments.EVERY
    for run in found["runs"]:
        if run["stopped"] is None:
            assert len(run["curve"]) == (steps - experiments.EVERY) // experiments.EVERY + 1
            assert all(map(math.isfinite, run["curve"])) and run["curve"][0] > run["curve"][-1]
            assert run["curve"][-1] == pytest.approx(run["loss"], abs=2e-4) or steps % experiments.EVERY
    for arm, curves in experiments.curves(id).items():
        whole = [run["curve"] for run in found["runs"] if run["arm"] == arm and not run["stopped"]]
        assert curves == whole and whole, f"every run of {arm} diverged"


def test_stored_results_name_no_machine(stored):
    text = json.dumps(stored[1])
    assert "/home/" not in text and "/root" not in text and "/tmp" not in text and str(ROOT) not in text


# ------------------------------------------------------------------------------------- a results file that is no good


COMMAND = "python -m inception_lessons experiments N1"


def report(tmp_path, **changes):
    found = {"id": "N1", "settings_hash": EXPERIMENTS["N1"].settings_hash(), "runs": synthetic("N1", 1)} | changes
    (tmp_path / "N1.json").write_text(json.dumps(found))
    return tmp_path


def test_results_and_verdict_of_a_good_file(tmp_path):
    report(tmp_path)
    assert experiments.results("N1", tmp_path)["id"] == "N1"
    assert experiments.verdict("N1", tmp_path) == EXPERIMENTS["N1"].verdict(synthetic("N1", 1))


def test_missing_results_say_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no stored results for N1: run {COMMAND}"):
        experiments.results("N1", tmp_path)


def test_results_under_other_settings_are_refused(tmp_path, monkeypatch):
    report(tmp_path)
    monkeypatch.setattr(EXPERIMENTS["N1"], "recipe", Recipe(steps=251))
    with pytest.raises(ValueError, match=f"N1.json was made under other settings .* run {COMMAND}"):
        experiments.verdict("N1", tmp_path)


@pytest.mark.parametrize("text", [b'{"id": "N1", "runs": [', b"", b"\x89PNG\xff", b"[]", b"null"], ids=repr)
def test_damaged_results_are_refused(tmp_path, text):
    (tmp_path / "N1.json").write_bytes(text)
    with pytest.raises(ValueError, match=f"N1.json .*run {COMMAND}"):
        experiments.results("N1", tmp_path)


@pytest.mark.parametrize(
    "field, value",
    [
        ("recipe", Recipe(steps=250, lr=0.2)),
        ("rates", (0.01,)),
        ("threshold", "another"),
        ("arms", {"reduced": {"naive": False, "width": 0.25}}),
    ],
)
def test_settings_hash_changes_with_what_decides(monkeypatch, field, value):
    before = EXPERIMENTS["N1"].settings_hash()
    monkeypatch.setattr(EXPERIMENTS["N1"], field, value)
    assert EXPERIMENTS["N1"].settings_hash() != before


def test_settings_hash_changes_with_the_data(monkeypatch):
    before = EXPERIMENTS["N1"].settings_hash()
    monkeypatch.setattr(data, "DATA_VERSION", data.DATA_VERSION + 1)
    assert EXPERIMENTS["N1"].settings_hash() != before


# --------------------------------------------------------------------------------------------------------------- runner


class FakePool:
    """Runs what is submitted at once, in this process."""

    def submit(self, work, task):
        future = Future()
        try:
            future.set_result(work(task))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, **options):
        pass


class Toy:
    """A claim whose runs are arithmetic. `calls` counts them; `break_at` makes the nth call raise."""

    def __init__(self, break_at=None):
        self.calls, self.break_at = [], break_at

    def __call__(self, arm, recipe, seed, images, final, watch=None):
        self.calls.append((arm["bonus"], recipe.lr, seed, final))
        if len(self.calls) == self.break_at:
            raise RuntimeError("the power went")
        best = (
            {0.1: 0.01, 0.2: 0.1, 0.4: 0.05}[recipe.lr] if arm["bonus"] else {0.1: 0.3, 0.2: 0.2, 0.4: 0.1}[recipe.lr]
        )
        found = {"loss": 0.5, "stopped": None, "curve": [1.0, 0.5], "seconds": 0.1, "validation_accuracy": 0.5 + best}
        return found | ({"test_accuracy": 0.5 + arm["bonus"] + seed * 0.001} if final else {})


@pytest.fixture
def toy(monkeypatch):
    measure = Toy()

    def judge(arms):
        change = experiments.paired(arms, "with", "without", "test_accuracy")
        return Verdict(experiments.decide(change, 0.01), f"with minus without: {change}")

    arms = {"with": {"bonus": 0.1}, "without": {"bonus": 0}}
    of = experiments.Experiment("TOY", "a toy", "above 0.01", arms, (0.1, 0.2, 0.4), Recipe(steps=20), measure, judge)
    monkeypatch.setitem(EXPERIMENTS, "TOY", of)
    monkeypatch.setattr(experiments, "_pool", lambda workers: contextlib.nullcontext(FakePool()))
    small = data.Split(torch.zeros(4, 8, 8, 3, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    monkeypatch.setattr(experiments, "_images", lambda: data.ImageSet("toy", small, small, small, ("0",), "made here"))
    return measure


def go(tmp_path, **options):
    path = experiments.run("TOY", out=tmp_path / "out" / "TOY.json", progress=False, **options)
    return json.loads(path.read_text())


def test_run_sweeps_chooses_and_measures(toy, tmp_path):
    found = go(tmp_path)
    sweep = [(b, rate, seed, False) for b in (0.1, 0) for rate in (0.1, 0.2, 0.4) for seed in SWEEP_SEEDS]
    final = [(0.1, 0.2, seed, True) for seed in range(5)] + [(0, 0.1, seed, True) for seed in range(5)]
    assert toy.calls == sweep + final, "each arm at its own best rate; the test split only in the final runs"
    assert found["rates"] == {"with": 0.2, "without": 0.1} and found["verdict"] == HOLDS
    assert all("test_accuracy" not in run for run in found["sweep"]) and len(found["sweep"]) == 12
    assert found["sentence"].startswith("with minus without: +0.100 [")
    assert experiments.verdict("TOY", tmp_path / "out") == Verdict(found["verdict"], found["sentence"])
    assert experiments.curves("TOY", tmp_path / "out") == {"with": [[1.0, 0.5]] * 5, "without": [[1.0, 0.5]] * 5}


def test_run_writes_atomically(toy, tmp_path, own_cache, monkeypatch):
    go(tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["TOY.json"]
    assert not list(own_cache.rglob("*.part"))
    before = (tmp_path / "out" / "TOY.json").read_text()

    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        go(tmp_path, seeds=6)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["TOY.json"], "a half-made file was left behind"
    assert (tmp_path / "out" / "TOY.json").read_text() == before and not list(own_cache.rglob("*.part"))


@pytest.mark.parametrize("break_at", [1, 8, 15, 22])
def test_a_run_that_was_stopped_goes_on_where_it_was(toy, tmp_path, own_cache, break_at):
    toy.break_at = break_at
    with pytest.raises(RuntimeError, match="the power went"):
        go(tmp_path)
    assert not (tmp_path / "out").exists()
    stopped, toy.break_at = toy.calls.pop(break_at - 1), None
    found = go(tmp_path)
    assert len(toy.calls) == len(set(toy.calls)) == 22 and stopped in toy.calls, "a finished run was repeated"
    assert len(found["runs"]) == 10
    assert go(tmp_path)["runs"] == found["runs"] and len(toy.calls) == 22


def test_more_seeds_need_only_the_new_runs(toy, tmp_path):
    go(tmp_path)
    assert len(go(tmp_path, seeds=7)["runs"]) == 14
    assert len(toy.calls) == 22 + 4 and "--seeds 7" in go(tmp_path, seeds=7)["command"]


def test_other_settings_and_damaged_leftovers_are_not_taken_for_finished(toy, tmp_path, own_cache, monkeypatch):
    go(tmp_path)
    kept = sorted(own_cache.rglob("*.json"))
    assert len(kept) == 22
    kept[0].write_text('{"arm": "wi')
    go(tmp_path)
    assert len(toy.calls) == 23
    monkeypatch.setattr(EXPERIMENTS["TOY"], "recipe", Recipe(steps=21))
    go(tmp_path)
    assert len(toy.calls) == 23 + 22


def test_one_rate_needs_no_sweep(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(EXPERIMENTS["TOY"], "rates", (0.2,))
    assert go(tmp_path)["sweep"] == []
    assert len(toy.calls) == 10 and all(final for *_, final in toy.calls)


def test_four_seeds_are_refused_before_anything_runs(toy, tmp_path):
    with pytest.raises(ValueError, match="at least 5 seeds, not 4"):
        go(tmp_path, seeds=4)
    assert toy.calls == []


def test_run_one(toy, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="TOY has no arm 'wiht'; it has with, without"):
        experiments.run_one("TOY", "wiht", rate=0.1)
    with pytest.raises(ValueError, match="no experiment 'N9'; there are N1, "):
        experiments.run_one("N9", "with")
    assert "test_accuracy" not in experiments.run_one("TOY", "with", rate=0.4, seed=3)
    assert toy.calls == [(0.1, 0.4, 3, False)]
    go(tmp_path)
    monkeypatch.setattr(experiments.weights, "folder", lambda: tmp_path)
    (tmp_path / "out").rename(tmp_path / "results")
    experiments.run_one("TOY", "without", seed=8)
    assert toy.calls[-1] == (0, 0.1, 8, False), "the arm's stored best rate"


class Locked:
    """A test split that nobody may touch."""

    def __getattribute__(self, name):
        raise AssertionError(f"the test split was read ({name})")


class Few(data.Split):
    """A split that gives what it has when asked for more."""

    def take(self, which):
        taken = super().take(min(which, len(self)))
        return Few(taken.pixels, taken.labels, taken.factors)


@pytest.fixture(scope="module")
def few():
    """An image set like the default one, of 40 examples each."""

    def split(seed):
        numbers = torch.Generator().manual_seed(seed)
        pixels = torch.randint(0, 256, (40, 32, 32, 3), generator=numbers, dtype=torch.uint8)
        return Few(pixels, torch.arange(40) % 10, {"size": 12 + 16 * torch.rand(40, generator=numbers)})

    return data.ImageSet("few", split(0), split(1), split(2), data.DIGIT_NAMES, "made here")


@pytest.mark.parametrize("id, arm", [(id, arm) for id, of in EXPERIMENTS.items() for arm in of.arms])
def test_every_arm_runs_and_leaves_the_test_split_alone_in_the_sweep(id, arm, few):
    of = EXPERIMENTS[id]
    recipe = Recipe(**(vars(of.recipe) | {"steps": 12, "batch_size": 8, "lr": of.rates[0]}))
    found = of.measure(of.arms[arm], recipe, 0, few, True)
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(found)) and 0 <= found["test_accuracy"] <= 1
    assert len(found["curve"]) == 1 and found["stopped"] is None
    if len(of.rates) > 1:
        locked = data.ImageSet("few", few.train, few.validation, Locked(), few.classes, few.source)
        swept = of.measure(of.arms[arm], recipe, 0, locked, False)
        assert "test_accuracy" not in swept and swept["loss"] == found["loss"], "not the same run"


def test_arms_differ_in_what_is_named_and_in_nothing_else(few):
    """The same seed gives both arms the same first batch and, where the network is the same, the same start."""
    of = EXPERIMENTS["V1e"]
    recipe = Recipe(**(vars(of.recipe) | {"steps": 20, "batch_size": 4}))
    found = [of.measure(arm, recipe, 0, few, False) for arm in of.arms.values()]
    assert found[0]["stem_gradient"] < found[1]["stem_gradient"]
    macs = {
        name: EXPERIMENTS["N1"].measure(arm, Recipe(steps=1, batch_size=2), 0, few, False)["macs"]
        for name, arm in EXPERIMENTS["N1"].arms.items()
    }
    assert macs["naive, equal multiply-adds"] == pytest.approx(macs["reduced"], rel=0.1)
    assert macs["naive, equal steps"] > 2 * macs["reduced"]


def test_share_lost():
    assert experiments.share_lost([0.9, 0.5], [0.5, 0.5]) == [pytest.approx(0.5), 0]
    assert experiments.share_lost([0.9], [0.1]) == [pytest.approx(1)]


# --------------------------------------------------------------------------------------------------------- command line

TOY = '''
"""Registers a toy claim in every process that starts, as a spawned one does."""
import os, torch
from inception_lessons import data, experiments
from inception_lessons.train import Recipe

def images():
    split = data.Split(torch.zeros(4, 8, 8, 3, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    return data.ImageSet("toy", split, split, split, ("0",), "made here")

experiments._images = images

arms = {"a": {"x": 1.0}, "b": {"x": 0.0}}

@experiments.experiment("TOY", claim="c", threshold="t", arms=arms, rates=(0.1,), recipe=Recipe())
def toy(arm, recipe, seed, images, final, watch=None):
    return {"loss": 0.1, "stopped": None, "curve": [0.1], "seconds": 0.0, "validation_accuracy": 0.5,
            "test_accuracy": arm["x"] + 0.01 * seed, "pid": os.getpid(), "threads": torch.get_num_threads()}

@experiments.judges(toy)
def _(arms):
    change = experiments.paired(arms, "a", "b", "test_accuracy")
    return experiments.Verdict(experiments.decide(change, 0.5), f"a minus b: {change}")
'''


def command(*arguments, path=""):
    """Run `python -m inception_lessons ...` -> what came back."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(path), str(ROOT)]))}
    environment.pop("OMP_NUM_THREADS", None)
    line = [sys.executable, "-m", "inception_lessons", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=200)


@pytest.mark.slow
def test_command_runs_a_claim_in_processes_of_one_thread(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(TOY)  # imported by every Python that starts with this folder on its path
    done = command("experiments", "TOY", "--workers", 2, "--out", tmp_path / "out", path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.startswith("TOY: holds. a minus b: +1.000 [+1.000, +1.000]. ") and str(tmp_path) not in done.stdout
    )
    found = json.loads((tmp_path / "out" / "TOY.json").read_text())
    assert {run["threads"] for run in found["runs"]} == {1}
    assert len(found["runs"]) == 10 and 1 <= len({run["pid"] for run in found["runs"]}) <= 2
    assert (tmp_path / "out" / "TOY.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("arguments", [(), ("experiment",), ("--help",)])
def test_command_without_a_known_name_says_how_it_is_used(arguments):
    done = command(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("usage: python -m inception_lessons experiments | checkpoint")
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1


def test_command_with_an_unknown_claim_says_which_there_are():
    done = command("experiments", "N9")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"inception_lessons: no experiment 'N9'; there are {', '.join(EXPERIMENTS)}\n"


def test_an_unknown_claim_among_known_ones_is_said_before_anything_runs(monkeypatch):
    ran = []
    monkeypatch.setattr(experiments, "run", lambda id, **options: ran.append(id) or 1 / 0)
    with pytest.raises((ValueError, ZeroDivisionError), match="no experiment 'N9'"):
        experiments.main(["N1", "N9"])
    assert ran == []


def test_command_with_four_seeds_is_refused():
    done = command("experiments", "N1", "--seeds", "4")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "inception_lessons: a verdict wants at least 5 seeds, not 4\n"


def test_the_default_data_have_no_dead_plateau():
    """The laptop V1 with batch norm leaves chance (ln 10 = 2.303) within its first 30 steps, on each stored seed."""
    curves = experiments.curves("V1b")["Inception V1"]
    assert len(curves) >= 5
    by_step_30 = [curve[30 // experiments.EVERY - 1] for curve in curves]
    assert max(by_step_30) < math.log(10) - 0.05, by_step_30
    assert all(curve[-1] < 0.3 for curve in curves)


def test_the_laptop_v1_reads_nine_in_ten_on_each_seed():
    runs = experiments.results("V1b")["runs"]
    assert min(run["validation_accuracy"] for run in runs) > 0.9


@pytest.mark.parametrize("id", ["N1", "N2", "V1e"])
def test_no_arm_was_best_at_the_edge_of_its_sweep(id):
    found = experiments.results(id)
    rates = experiments.find(id).rates
    assert all(rates[0] < best < rates[-1] for best in found["rates"].values()), found["rates"]
