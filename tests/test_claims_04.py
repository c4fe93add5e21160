"""Tests of the claims of lesson 04: the closed form of label smoothing, what the arms do, and what the rules say."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_experiments import Few
from torch import nn

from inception_lessons import data, measure, train
from inception_lessons.experiments import EXPERIMENTS, VERDICTS, Interval, lesson_04
from inception_lessons.experiments.lesson_04 import smoothing_optimum
from inception_lessons.train import Recipe

HOLDS, PART, NOT_HERE, OPPOSITE, UNKNOWN = VERDICTS


# ------------------------------------------------------------------------------------------------------ the closed form


def by_target(logits, label, right, other):
    """Cross-entropy of one example against a target of two values, by a loop."""
    total = sum(math.exp(value) for value in logits)
    return -sum(
        (right if k == label else other) * (value - math.log(total)) for k, value in enumerate(logits)
    )  # fmt: skip


@pytest.mark.parametrize("classes, smoothing", [(2, 0.3), (10, 0.1), (7, 0.5)])
def test_torch_shares_epsilon_among_all_classes_the_right_one_too(classes, smoothing):
    logits = [math.sin(3 * k) * 2 for k in range(classes)]
    found = float(F.cross_entropy(torch.tensor([logits]).double(), torch.tensor([1]), label_smoothing=smoothing))
    among_all = by_target(logits, 1, 1 - smoothing + smoothing / classes, smoothing / classes)
    among_others = by_target(logits, 1, 1 - smoothing, smoothing / (classes - 1))
    assert found == pytest.approx(among_all, rel=1e-6) and abs(found - among_others) > 1e-3


@pytest.mark.parametrize("classes, smoothing", [(2, 0.1), (10, 0.1), (10, 0.6), (100, 0.3), (1000, 0.1)])
def test_at_the_optimum_the_loss_of_torch_is_flat_and_what_is_said(classes, smoothing):
    """The loss is convex in the logits, so where it is flat it is least."""
    label = torch.tensor([classes // 2])

    def slope(gap):
        logits = torch.zeros(1, classes, dtype=torch.double)
        logits[0, label] = gap
        logits.requires_grad_()
        loss = F.cross_entropy(logits, label, label_smoothing=smoothing)
        loss.backward()
        return float(logits.grad.abs().max()), float(loss.detach())

    gap, least = smoothing_optimum(classes, smoothing)
    assert slope(gap)[0] < 1e-12 and slope(gap)[1] == pytest.approx(least, rel=1e-9)
    among_others = math.log((1 - smoothing) * (classes - 1) / smoothing)
    for other in (gap - 0.1, gap + 0.1, among_others):
        assert slope(other)[0] > 1e-7 and slope(other)[1] > least


def test_descent_ends_at_the_optimum_with_smoothing_and_nowhere_without():
    found = {}
    for smoothing in (0.1, 0.0):
        logits, label, gaps = torch.zeros(1, 10, requires_grad=True), torch.tensor([3]), []
        for _ in range(400):
            (slope,) = torch.autograd.grad(F.cross_entropy(logits, label, label_smoothing=smoothing), logits)
            with torch.no_grad():
                logits -= 5.0 * slope
            gaps.append(measure.logit_gap(logits.detach()))
        found[smoothing] = gaps
    assert found[0.1][-1] == pytest.approx(smoothing_optimum(10, 0.1).gap, rel=1e-3)
    assert found[0.0][-1] > found[0.0][200] + 0.5 > found[0.1][-1] + 2


def test_the_optimum_in_figures_and_at_its_ends():
    assert smoothing_optimum(10, 0.1) == pytest.approx((math.log(91), 0.500288), rel=1e-5)
    assert smoothing_optimum(1000, 0.1).gap == pytest.approx(math.log(9001))
    assert smoothing_optimum(10, 0.1).gap < math.log(0.9 * 9 / 0.1) + 0.2, "the gap of the other formula is ln 81"
    assert smoothing_optimum(10, 0.0) == (math.inf, 0.0)
    assert smoothing_optimum(10, 1.0) == pytest.approx((0.0, math.log(10)))
    gaps = [smoothing_optimum(10, e).gap for e in (0.01, 0.1, 0.3, 0.9)]
    assert gaps == sorted(gaps, reverse=True)


@pytest.mark.parametrize(
    "classes, smoothing, said", [(1, 0.1, "not 1"), (10, -0.1, "not -0.1"), (10, 1.1, "not 1.1"), (10, math.nan, "nan")]
)
def test_an_optimum_that_there_is_not(classes, smoothing, said):
    with pytest.raises(ValueError, match=said):
        smoothing_optimum(classes, smoothing)


# ------------------------------------------------------------------------------------------------------------- the arms


@pytest.fixture(scope="module")
def few():
    """An image set like the default one: 4,000 examples to train on, most of them not looked at, and 40 to score."""

    def split(seed, count):
        numbers = torch.Generator().manual_seed(seed)
        pixels = torch.randint(0, 256, (count, 32, 32, 3), generator=numbers, dtype=torch.uint8)
        return Few(pixels, torch.arange(count) % 10)

    return data.ImageSet("few", split(0, 4000), split(1, 40), split(2, 41), data.DIGIT_NAMES, "made here")


@pytest.fixture
def asked(monkeypatch):
    """What each run asks of training, with the weights that it starts from; nothing is trained."""
    calls = []

    def spy(model, recipe, seed, images, final, watch=None, each=None):
        start = {key: value.clone() for key, value in model.state_dict().items()}
        calls.append((model, start, recipe, seed, images))
        return {"loss": 1.0, "stopped": None}, None

    monkeypatch.setattr(lesson_04, "trained", spy)
    return calls


@pytest.mark.parametrize("id, pairs", [("L1", 2), ("L3", 1)])
def test_arms_differ_in_smoothing_alone(id, pairs, few, asked):
    of = EXPERIMENTS[id]
    arms = list(of.arms.values())
    assert len(arms) == 2 * pairs
    for plain, smooth in zip(arms[::2], arms[1::2], strict=True):
        asked.clear()
        for arm in (plain, smooth):
            assert of.measure(arm, Recipe(steps=3, lr=0.05), 4, few, False) == {"loss": 1.0, "stopped": None}
        (model, start, recipe, seed, images), (other, again, smoothed, same, pictures) = asked
        assert (recipe.label_smoothing, smoothed.label_smoothing) == (0.0, 0.1)
        assert replace(smoothed, label_smoothing=0.0) == recipe and recipe.lr == 0.05 and seed == same == 4
        assert start.keys() == again.keys() and all(torch.equal(start[key], again[key]) for key in start)
        assert torch.equal(images.train.pixels, pictures.train.pixels), "other images"
        assert torch.equal(images.train.labels, pictures.train.labels), "other labels"
        assert images.validation is few.validation and images.test is few.test, "scored on other labels"
        dropped = [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)]
        assert not any(dropped) and any(isinstance(layer, nn.BatchNorm2d) for layer in other.modules())


def test_arms_train_on_what_they_are_called(few, asked):
    wrong = {}
    for id in ("L1", "L3"):
        for name, arm in EXPERIMENTS[id].arms.items():
            EXPERIMENTS[id].measure(arm, Recipe(steps=3), 0, few, False)
            labels = asked[-1][-1].train.labels
            wrong[id, name] = len(labels), int((labels != few.train.labels[: len(labels)]).sum())
    assert wrong == {
        ("L1", "all images, no smoothing"): (4000, 0),
        ("L1", "all images, smoothing"): (4000, 0),
        ("L1", "1,500 images, no smoothing"): (1500, 0),
        ("L1", "1,500 images, smoothing"): (1500, 0),
        ("L3", "no smoothing"): (3000, 900),
        ("L3", "smoothing"): (3000, 900),
    }


def test_wrong_labels_are_wrong_evenly_spread_and_hang_on_the_seed(few):
    before = few.train.labels.clone()
    first, again, other = (lesson_04.wrong_labels(few.train, 0.3, 10, seed) for seed in (1, 1, 2))
    assert torch.equal(first.labels, again.labels) and not torch.equal(first.labels, other.labels)
    assert torch.equal(few.train.labels, before), "the set itself was changed"
    changed = first.labels != before
    assert int(changed.sum()) == 1200 and first.labels.min() == 0 and first.labels.max() == 9
    shift = torch.bincount((first.labels - before)[changed] % 10, minlength=10)
    assert shift[0] == 0 and shift[1:].min() > 90 and shift[1:].max() < 180  # 133 each, deviation 11
    assert 250 < int(changed[:1000].sum()) < 350, "not the first ones alone"
    assert torch.equal(first.pixels, few.train.pixels)
    assert torch.equal(lesson_04.wrong_labels(few.train, 0.0, 10, 1).labels, before)


def test_a_run_measures_what_it_says(few, monkeypatch):
    models, real = [], lesson_04.trained

    def spy(model, *settings, **options):
        models.append(model)
        return real(model, *settings, **options)

    monkeypatch.setattr(lesson_04, "trained", spy)
    monkeypatch.setattr(lesson_04, "LOOK_EVERY", 2)
    little = replace(few, train=few.train.take(60))
    arm, recipe = EXPERIMENTS["L3"].arms["smoothing"], Recipe(steps=6, batch_size=16, lr=0.1)
    found = lesson_04.smoothed(arm, recipe, 3, little, True)
    swept = lesson_04.smoothed(arm, recipe, 3, little, False)
    assert swept["loss"] == found["loss"] and "test_accuracy" not in swept and "ece" not in swept
    logits, labels = train.predict(models[0], few.test)
    order = logits.argsort(1, descending=True)
    assert found["top5"] == pytest.approx(
        sum(int(b) in a[:5].tolist() for a, b in zip(order, labels, strict=True)) / 41
    )
    assert found["test_accuracy"] == pytest.approx(float((order[:, 0] == labels).float().mean()))
    assert found["logit_gap"] == pytest.approx(measure.logit_gap(logits))
    sure = measure.calibration(logits, labels)
    assert (found["ece"], found["nll"], found["overconfidence"]) == (sure.ece, sure.nll, sure.overconfidence)
    assert found["bins"]["count"] == list(sure.count) and sum(sure.count) == 41
    shown = [(c, n) for c, n in zip(found["bins"]["confidence"], sure.count, strict=True)]
    assert all((c is None) == (n == 0) for c, n in shown) and any(n for _, n in shown)
    given = lesson_04.wrong_labels(little.train, 0.3, 10, 3)
    assert found["train_accuracy"] == train.evaluate(models[0], given).accuracy
    assert len(found["gap_by_step"]) == 3
    assert found["gap_by_step"][-1] == round(measure.logit_gap(train.predict(models[0], given)[0]), 3)


# ------------------------------------------------------------------------------------------------------------ the rules


def wobbling(mean, width):
    """Five values, one a seed, with this mean."""
    return [mean + width * (seed - 2) for seed in range(5)]


def runs(arms):
    """{arm: {measurement: five values}} -> runs."""
    return [
        {"arm": arm, "seed": seed} | {key: values[seed] for key, values in found.items()}
        for arm, found in arms.items()
        for seed in range(5)
    ]


def flat(value):
    return [value] * 5


def l1_runs(one, five, width):
    """Gains in top-1 and top-5; the interval reaches 1.96 ``width`` to either side."""
    arms = {
        "all images, no smoothing": {"test_accuracy": flat(0.9), "top5": flat(0.95)},
        "all images, smoothing": {
            "test_accuracy": wobbling(0.9 + one, width),
            "top5": wobbling(0.95 + five, -width),
        },
    }
    # with few images it is the other way round: that is not asked here
    few = {"test_accuracy": flat(0.5 - one), "top5": flat(0.6 - five)}
    plain = {"test_accuracy": flat(0.5), "top5": flat(0.6)}
    return runs(arms | {"1,500 images, no smoothing": plain, "1,500 images, smoothing": few})


@pytest.mark.parametrize(
    "one, five, width, word",
    [
        (0.01, 0.01, 0.001, HOLDS),
        (0.002, 0.002, 0.0005, HOLDS),  # just what the paper found, known well enough
        (0.001, 0.001, 0.0004, PART),  # a gain, but 0.2 points are excluded
        (0.01, 0.0, 0.0001, PART),
        (-0.01, 0.01, 0.0001, PART),
        (0.0, 0.0, 0.0005, NOT_HERE),
        (0.0, 0.0, 0.002, UNKNOWN),
        (0.001, -0.001, 0.002, UNKNOWN),
        (-0.01, 0.0, 0.002, NOT_HERE),
        (0.0, -0.01, 0.002, NOT_HERE),
        (-0.01, -0.01, 0.001, OPPOSITE),
    ],
)
def test_l1_says_what_the_runs_say(one, five, width, word):
    verdict = EXPERIMENTS["L1"].verdict(l1_runs(one, five, width))
    assert verdict.word == word, verdict.sentence


def test_l1_says_what_is_excluded_and_what_it_would_take():
    sentence = EXPERIMENTS["L1"].verdict(l1_runs(0.0, -0.01, 0.002)).sentence
    assert "top-1 +0.00 points [-0.39, +0.39], so a gain of 0.2 points is neither shown nor excluded" in sentence
    assert "top-5 -1.00 points [-1.39, -0.61], so a gain of 0.2 points is excluded" in sentence
    assert "about 39 seeds" in sentence  # deviation 0.00316: (1.96 x 3.16)^2
    assert "is exceeded" in EXPERIMENTS["L1"].verdict(l1_runs(0.01, 0.01, 0.001)).sentence
    assert "is within what was found" in EXPERIMENTS["L1"].verdict(l1_runs(0.002, 0.002, 0.0005)).sentence


@pytest.mark.parametrize(
    "low, high, word",
    [
        (0.0001, 0.002, HOLDS),
        (0.0001, 0.0019, PART),
        (0.0, 0.0019, NOT_HERE),
        (0.0, 0.002, UNKNOWN),
        (-0.01, 0.01, UNKNOWN),
        (-0.01, 0.0, NOT_HERE),
        (-0.01, -0.0001, OPPOSITE),
    ],
)
def test_resolve(low, high, word):
    assert lesson_04.resolve(Interval((low + high) / 2, low, high)) == word


def l2_runs(ratios, errors):
    """By regime: how many times as large the gap is without smoothing, and by how much the calibration error falls."""
    arms = {}
    for size, ratio, error in zip(("all images", "1,500 images"), ratios, errors, strict=True):
        common = {"overconfidence": flat(0.01), "nll": flat(0.5)}
        arms[f"{size}, no smoothing"] = common | {"logit_gap": wobbling(4.0 * ratio, 0.01), "ece": flat(0.1 + error)}
        arms[f"{size}, smoothing"] = common | {"logit_gap": flat(4.0), "ece": wobbling(0.1, 0.001)}
    return runs(arms)


@pytest.mark.parametrize(
    "ratios, errors, word",
    [
        ((2.0, 2.0), (0.05, 0.05), HOLDS),
        ((2.0, 2.0), (-0.05, 0.05), PART),  # worse calibrated where nothing was learnt by heart
        ((2.0, 2.0), (-0.05, -0.05), PART),  # the gap alone
        ((2.0, 1.1), (0.05, 0.05), PART),
        ((1.1, 1.1), (0.01, 0.01), PART),
        ((1.0, 1.0), (0.0, 0.0), NOT_HERE),
        ((1.0, 1.0), (-0.05, -0.05), NOT_HERE),
        ((0.5, 0.5), (-0.05, -0.05), OPPOSITE),
    ],
)
def test_l2_says_what_the_runs_say(ratios, errors, word):
    verdict = EXPERIMENTS["L2"].verdict(l2_runs(ratios, errors))
    assert verdict.word == word, verdict.sentence


def test_l2_names_each_part():
    sentence = EXPERIMENTS["L2"].verdict(l2_runs((2.0, 1.0), (-0.05, 0.05))).sentence
    assert f"all images: gap 2.00 [2.00, 2.00] times as large without ({HOLDS})" in sentence
    assert f"-0.050 [-0.052, -0.048] ({OPPOSITE})" in sentence
    assert f"1,500 images: gap 1.00 [1.00, 1.00] times as large without ({NOT_HERE})" in sentence
    assert f"+0.050 [+0.048, +0.052] ({HOLDS})" in sentence and sentence.index(OPPOSITE) < sentence.index("1,500")


def l3_runs(gain):
    plain = {"test_accuracy": flat(0.7), "train_accuracy": flat(0.9), "nll": flat(1.0)}
    smooth = {"test_accuracy": wobbling(0.7 + gain, 0.002), "train_accuracy": wobbling(0.8, 0.002), "nll": flat(0.9)}
    return runs({"no smoothing": plain, "smoothing": smooth})


@pytest.mark.parametrize("gain, word", [(0.03, HOLDS), (0.01, PART), (0.0, NOT_HERE), (-0.03, OPPOSITE)])
def test_l3_says_what_the_runs_say(gain, word):
    verdict = EXPERIMENTS["L3"].verdict(l3_runs(gain))
    assert verdict.word == word, verdict.sentence
    assert f"{100 * gain:+.2f} points" in verdict.sentence and "on 70.0 % without" in verdict.sentence
    assert "wrong ones included: -10.00 points" in verdict.sentence and "+0.100 [+0.100, +0.100]" in verdict.sentence


@pytest.mark.parametrize(
    "id, made",
    [
        ("L1", l1_runs(0.01, 0.01, 0.001)),
        ("L2", l2_runs((2.0, 2.0), (0.05, 0.05))),
        ("L3", l3_runs(0.03)),
    ],
)
def test_arms_turned_round_turn_the_verdict_round(id, made):
    def turned(name):
        return name.replace("no smoothing", "smoothing") if "no smoothing" in name else name.replace("smoo", "no smoo")

    assert EXPERIMENTS[id].verdict(made).word == HOLDS
    assert EXPERIMENTS[id].verdict([run | {"arm": turned(run["arm"])} for run in made]).word == OPPOSITE


def test_l2_is_judged_on_the_runs_of_l1():
    assert EXPERIMENTS["L2"].shares == "L1" and EXPERIMENTS["L2"].arms == EXPERIMENTS["L1"].arms
    assert EXPERIMENTS["L1"].shares is None and EXPERIMENTS["L3"].shares is None
