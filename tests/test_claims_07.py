"""Tests of lesson 07's claims, which are timed: how they run, what they measure, and the rules that judge them."""

import json
import re

import pytest
import torch
from torch import nn

from inception_lessons import data, experiments, export, measure
from inception_lessons.experiments import EXPERIMENTS, VERDICTS, Experiment, Verdict, engine, lesson_07

HOLDS, PART, NOT_HERE, OPPOSITE, _ = VERDICTS


def judged(id, made):
    """Verdict of made-up rounds: arm -> rows without arm and seed."""
    return EXPERIMENTS[id].verdict(
        [{"arm": a, "seed": s} | row for a, rows in made.items() for s, row in enumerate(rows)]
    )


# ------------------------------------------------------------------------------------------------------ how timing runs


class Stopwatch:
    """A timed claim whose seconds are arithmetic; ``calls`` is the order in which it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, arm, timed, number, images):
        self.calls.append((arm["x"], number))
        return {"ms": arm["x"] + 0.01 * number, "seconds": 0.5, "threads": torch.get_num_threads(), **timed}


@pytest.fixture
def toy(monkeypatch):
    watch = Stopwatch()
    arms = {"slow": {"x": 4.0}, "middle": {"x": 2.0}, "quick": {"x": 1.0}}

    def judge(arms):
        logs = experiments.log_ratios(arms, "slow", "quick", "ms")
        return Verdict(experiments.decide_ratio(logs, 1.2), experiments.as_ratio(logs))

    of = Experiment("TOY", "a toy", "above 1.2", arms, (), None, watch, ("noise",), judge=judge, timed={"batch": 3})
    monkeypatch.setitem(EXPERIMENTS, "TOY", of)
    monkeypatch.setattr(engine, "_pool", lambda workers: pytest.fail("a timed claim runs alone, in this process"))
    small = data.Split(torch.zeros(2, 8, 8, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    monkeypatch.setattr(engine, "_noise", lambda: data.ImageSet("noise", small, small, small, ("0",), "made here"))
    engine._images.cache_clear()
    yield watch
    engine._images.cache_clear()


def test_rounds_go_forth_and_back_and_nothing_is_kept(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTION_LESSONS_CACHE", str(tmp_path / "cache"))
    path = experiments.run("TOY", out=tmp_path / "TOY.json", progress=False)
    forth = [4.0, 2.0, 1.0]
    assert toy.calls == [(x, n) for n in range(5) for x in (forth if n % 2 == 0 else forth[::-1])]
    found = json.loads(path.read_text())
    assert found["verdict"] == HOLDS and found["threads"] == torch.get_num_threads() == found["runs"][0]["threads"]
    assert found["seconds"] == round(15 * 0.5) and found["workers"] == 1 and found["data"] == "noise"
    assert found["rates"] == {} and found["sweep"] == [] and all(run["batch"] == 3 for run in found["runs"])
    assert found["command"] == "python -m inception_lessons experiments TOY --seeds 5"
    assert experiments.verdict("TOY", tmp_path) == Verdict(found["verdict"], found["sentence"])
    experiments.run("TOY", out=path, progress=False)
    assert len(toy.calls) == 30, "seconds of another hour were taken for these"
    assert not (tmp_path / "cache" / "experiments").exists()
    with pytest.raises(ValueError, match="at least 5 seeds, not 4"):
        experiments.run("TOY", out=path, seeds=4, progress=False)


def test_run_one_times_one_arm(toy):
    assert experiments.run_one("TOY", "middle", seed=3) == {
        "ms": 2.03,
        "seconds": 0.5,
        "batch": 3,
        "threads": torch.get_num_threads(),
    }


def test_what_is_timed_decides_whether_results_are_current(toy, tmp_path, monkeypatch):
    path = experiments.run("TOY", out=tmp_path / "TOY.json", progress=False)
    assert experiments.results("TOY", tmp_path)["settings"] == {
        "arms": {name: dict(arm) for name, arm in EXPERIMENTS["TOY"].arms.items()},
        "timed": {"batch": 3},
        "threshold": "above 1.2",
        "data": "noise",
    }
    for field, value in (("timed", {"batch": 4}), ("threshold", "above 1.3"), ("arms", {"slow": {"x": 3.0}})):
        with monkeypatch.context() as patch:
            patch.setattr(EXPERIMENTS["TOY"], field, value)
            with pytest.raises(ValueError, match=f"{path.name} was made under other settings"):
                experiments.results("TOY", tmp_path)


@pytest.mark.parametrize(
    "changes", [{"recipe": engine.Recipe()}, {"rates": (0.1,)}, {"lowest": "loss"}, {"recipes": {"digits": {}}}]
)
def test_a_timed_claim_trains_nothing(changes):
    with pytest.raises(ValueError, match="X is timed and trains nothing"):
        experiments.experiment("X", claim="c", threshold="t", arms={"a": {}}, timed={"batch": 1}, **changes)
    assert "X" not in EXPERIMENTS


def test_a_claim_on_shared_runs_times_nothing():
    with pytest.raises(ValueError, match="X is judged on the runs of F6"):
        experiments.experiment("X", claim="c", threshold="t", shares="F6", timed={"batch": 1})


def test_settings_of_trained_claims_have_no_trace_of_timing():
    for of in EXPERIMENTS.values():
        assert ("timed" in of.settings()) == bool(of.timed) == ("recipe" not in of.settings())
    assert {id for id, of in EXPERIMENTS.items() if of.timed} == {"F6", "A3"}


# --------------------------------------------------------------------------------------------------------------- F6


def rounds(first, last=None, training=1.0, macs=1):
    """Five rounds of a network: milliseconds channels first, channels last, forward and backward."""
    wobble = [0.98, 1.01, 1.0, 0.99, 1.02]
    forward = [{"channels first": first * w, "channels last": (last or first) * w} for w in wobble]
    return [
        {"forward": f, "training": training * w, "macs": macs, "params": 7}
        for f, w in zip(forward, wobble, strict=True)
    ]


def field(vgg, v3):
    return {name: rounds(10.0) for name in lesson_07.FIELD} | {"VGG-16": vgg, "V3": v3}


@pytest.mark.parametrize(
    "vgg, word", [(130.0, HOLDS), (108.0, PART), (100.0, NOT_HERE), (80.0, OPPOSITE), (119.0, PART), (122.5, HOLDS)]
)
def test_f6_asks_for_a_fifth(vgg, word):
    found = judged("F6", field(rounds(vgg)[::-1] if vgg == 100.0 else rounds(vgg), rounds(100.0)))
    assert found.word == word, found.sentence


def test_f6_takes_each_network_in_its_better_layout():
    found = judged("F6", field(rounds(130.0, 200.0, 300.0, 27), rounds(500.0, 100.0, 100.0, 10)))
    assert found.word == HOLDS
    for said in (
        "VGG-16 130.0 (channels first), V3 100.0 (channels last)",
        "VGG-16 over V3: 1.3 times [1.3, 1.3] forward, 3 times [3, 3] forward and backward",
        "1.78 times as large and its multiply-adds 2.7 times fewer",
    ):
        assert said in found.sentence
    assert judged("F6", field(rounds(200.0, 130.0), rounds(140.0, 500.0))).word == OPPOSITE


def test_f6_chooses_a_layout_by_the_mean_and_not_round_by_round():
    lucky = rounds(100.0, 99.0)
    lucky[0]["forward"]["channels first"] = 1.0
    best = lesson_07.at_best({"V3": lucky})["V3"]
    assert {row["layout"] for row in best} == {"channels first"} and best[0]["ms"] == 1.0
    lucky[0]["forward"]["channels first"] = 97.0
    assert {row["layout"] for row in lesson_07.at_best({"V3": lucky})["V3"]} == {"channels last"}


def test_by_network_is_mean_and_deviation():
    runs = [{"arm": name} | row for name in ("V1", "V3") for row in rounds(50.0, 40.0, 120.0, 11)]
    found = experiments.by_network(runs)
    assert list(found) == ["V1", "V3"]
    assert found["V1"]["ms"] == found["V1"]["channels last"] == pytest.approx(40.0)
    assert found["V1"]["channels first"] == pytest.approx(50.0) and found["V1"]["training"] == pytest.approx(120.0)
    assert found["V1"]["ms, deviation"] == pytest.approx(40.0 * 0.0158113883)
    assert (found["V1"]["macs"], found["V1"]["params"], found["V1"]["layout"]) == (11, 7, "channels last")


class Tiny(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_f6_measures_what_it_says(monkeypatch):
    monkeypatch.setitem(lesson_07.FIELD, "V3", (Tiny, 299))
    asked = []

    def speed(model, images, **how):
        asked.append((type(model), tuple(images.shape), how))
        return measure.Seconds(0.01 * len(asked), 0.001)

    monkeypatch.setattr(lesson_07.measure, "speed", speed)
    monkeypatch.setattr(lesson_07.train, "device", lambda: "cpu")
    noise = engine._noise()
    of = EXPERIMENTS["F6"]
    found = of.measure({"network": "V3", "size": 20}, of.timed, 0, noise)
    forward = {"burn_in": 2, "batches": 3, "device": "cpu"}
    assert asked == [
        (Tiny, (8, 3, 20, 20), forward | {"channels_last": False}),
        (Tiny, (8, 3, 20, 20), forward | {"channels_last": True}),
        (Tiny, (8, 3, 20, 20), {"burn_in": 1, "batches": 2, "backward": True, "device": "cpu"}),
    ]
    assert found["forward"] == {"channels first": 10.0, "channels last": 20.0} and found["training"] == 30.0
    assert (found["macs"], found["params"]) == (3 * 9 * 4 * 18 * 18, 3 * 9 * 4 + 4)
    assert json.loads(json.dumps(found)) == found
    assert tuple(noise.train.images.shape[1:]) == (3, 299, 299) and len(noise.train) >= of.timed["batch"]


def test_the_field_is_the_whole_course_at_its_papers_sizes():
    sizes = {name: arm["size"] for name, arm in EXPERIMENTS["F6"].arms.items()}
    assert sizes == {name: 299 if name in ("V3", "V4") or "ResNet" in name else 224 for name in lesson_07.FIELD}
    with torch.device("meta"):
        counts = {name: measure.count(make(), size) for name, (make, size) in lesson_07.FIELD.items()}
    published = {"AlexNet": 60_965_224, "VGG-16": 138_357_544, "V1": 6_998_552, "V3": 23_834_568, "V4": 42_679_816}
    assert {name: counts[name].params for name in published} == published
    assert counts["V1"].macs == counts["V1 with batch norm"].macs


# --------------------------------------------------------------------------------------------------------------- A3


def forms(size=28.0, small=7.2, ms=60.0, away=1e-6, lost=0.001):
    common = {"ms": 50.0, "difference": 0.0, "same": 1.0, "seconds": 1.0}
    wobble = [-0.001, 0.0, 0.001, 0.0005, -0.0005]
    return {
        "torch": [common | {"megabytes": 28.0, "accuracy": 0.95} for _ in wobble],
        "torch.export": [common | {"megabytes": 28.1, "accuracy": 0.95} for _ in wobble],
        "ONNX": [
            common | {"megabytes": size, "ms": ms + 1e3 * w, "difference": away, "accuracy": 0.95} for w in wobble
        ],
        "ONNX int8": [
            common | {"megabytes": small, "ms": 30.0, "same": 0.97 + w, "accuracy": 0.95 - lost + w} for w in wobble
        ],
    }


@pytest.mark.parametrize(
    "changes, word, missed",
    [
        ({}, HOLDS, []),
        ({"size": 30.5}, PART, ["30.5 MB"]),
        ({"small": 7.6}, PART, ["7.6 MB as int8"]),
        ({"ms": 99.8}, PART, ["one picture on one thread 100 ms"]),
        ({"away": 2e-3}, PART, ["float32 logits not within 1e-3"]),
        ({"lost": 0.0095}, PART, ["the checkpoint's accuracy minus that of its int8 form"]),
        ({"size": 99, "small": 99, "ms": 999, "away": 1, "lost": 0.5}, OPPOSITE, ["99.0 MB", "99.0 MB as int8"]),
    ],
)
def test_a3_asks_for_all_five(changes, word, missed):
    found = judged("A3", forms(**changes))
    assert found.word == word, found.sentence
    said = [part for part in re.split(r"; ", found.sentence) if "(missed)" in part]
    assert len(said) == (5 if word == OPPOSITE else len(missed))
    assert all(any(part.startswith(word) for part in said) for word in missed), said
    assert "a phone itself cannot be shown here" in found.sentence and "96.9%" in found.sentence


@pytest.mark.slow
def test_a3_measures_every_form(monkeypatch):
    """On a network that is exported in a moment; the checkpoint is the real one."""
    if export.missing():
        pytest.skip(export.missing())
    monkeypatch.setattr(lesson_07, "GoogLeNet", lambda: lesson_07.weights.NETWORKS["Plain"](10, width=0.25))
    lesson_07._made.cache_clear()
    digits = experiments.images_of("digits")
    few = data.ImageSet("digits", digits.train, digits.validation, digits.test.take(300), digits.classes, "made here")
    of, found, threads = EXPERIMENTS["A3"], {}, torch.get_num_threads()
    for form, arm in of.arms.items():
        found[form] = of.measure(arm, of.timed | {"batches": 2, "calibration": 50}, 1, few)
    lesson_07._made.cache_clear()
    assert torch.get_num_threads() == threads
    assert json.loads(json.dumps(found)) == found
    assert found["torch"]["difference"] == 0 and found["ONNX"]["difference"] < 1e-4
    assert found["torch"]["accuracy"] == found["ONNX"]["accuracy"] > 0.9
    assert found["torch"]["same"] == found["torch.export"]["same"] == found["ONNX"]["same"] == 1
    assert 0.9 < found["ONNX int8"]["same"] <= 1 and 0 < found["ONNX int8"]["difference"] < 1
    assert found["ONNX int8"]["megabytes"] < found["ONNX"]["megabytes"]
    assert all(row["ms"] > 0 for row in found.values())
