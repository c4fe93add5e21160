"""The rules of lesson 02's claims on made-up runs, what their arms differ in, and the small parts they measure with."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from inception_lessons import batch_norm, data, googlenet, train
from inception_lessons.experiments import EXPERIMENTS, VERDICTS, lesson_02, steepest, whitening
from inception_lessons.experiments.lesson_02 import Grey, Perceptron, quarter

HOLDS, PART, NOT_HERE, OPPOSITE, _ = VERDICTS
IDS = [id for id, of in EXPERIMENTS.items() if of.measure.__module__ == lesson_02.__name__]


def rows(arm, count=5, **measured):
    """Runs of one arm, one a seed; each measurement is a function of the seed."""
    return [{"arm": arm, "seed": s} | {key: value(s) for key, value in measured.items()} for s in range(count)]


def about(value, sign=1):
    """The value, 1 % up and down over the seeds; its mean logarithm is the value's."""
    return lambda s: value * math.exp(sign * 0.005 * (s - 2))


def near(value, sign=1):
    return lambda s: value + sign * 0.002 * (s - 2)


def ratios(first, second, key, factor, **common):
    """Two arms, the first with ``factor`` times the second's measurement."""
    return rows(first, **{key: about(100 * factor)}, **common) + rows(second, **{key: about(100, -1)}, **common)


def cells(largest):
    """B2's runs, where ``largest(norm, depth, seed)`` is the largest rate that learns."""
    found = []
    for name, arm in EXPERIMENTS["B2"].arms.items():
        norm, depth = arm["norm"], sum(arm["blocks"])
        found += rows(name, learns=lambda s, a=arm, n=norm, d=depth: a["rate"] <= largest(n, d, s))
    return found


def synthetic(id, effect):
    """Made-up runs: effect 1 clear, 0.3 a little, 0 none, -1 turned round."""
    if id == "B1":
        factor = {1: 20, 0.3: 3, 0: 1, -1: 0.5}[effect]
        there = {"reached": lambda s: 1}
        runs = ratios("no batch norm", "batch norm", "steps_to", factor, **there)
        for name in list(EXPERIMENTS["B1"].arms)[2:]:
            runs += rows(name, steps_to=about(400), reached=lambda s: None)
        return runs
    if id == "B2":
        # over two depths: ten times; between three and ten, by seed; now one and now the other; a third
        steps = {1: (0.1, 1.0), 0.3: (0.1, 0.3), 0: (0.1, 0.1), -1: (0.3, 0.1)}[effect]
        return cells(lambda norm, depth, seed: steps[norm == "bn"])
    if id == "B3":
        factor = {1: 40, 0.3: 2, 0: 1, -1: 0.5}[effect]
        common = {"drift": about(2), "test_accuracy": near(0.9)}
        return ratios("no batch norm", "batch norm", "growth", factor, **common)
    if id == "B6":
        free = 0 if effect > 0 else -0.019 if effect == 0 else -0.1  # at 0 the interval lies across the bound
        common = {"train_accuracy": near(0.95)}
        return (
            rows("no batch norm", gap=near(0.2 + 0.06 * effect), test_accuracy=near(0.7), **common)
            + rows("no batch norm, dropout", gap=near(0.2), test_accuracy=near(0.7, -1), **common)
            + rows("batch norm", gap=near(0.2, -1), test_accuracy=near(0.8 + free), **common)
            + rows("batch norm, dropout", gap=near(0.2), test_accuracy=near(0.8, -1), **common)
            + rows("batch norm, weight decay", gap=near(0.2), test_accuracy=near(0.8, -1), **common)
        )
    if id == "B7":
        factor = {1: 30, 0.3: 1.5, 0: 1, -1: 0.5}[effect]
        common = {"test_accuracy": near(0.9), "reached": lambda s: 1}
        return ratios("raw", "whitened", "steps_to", factor, **common) + rows("centred", steps_to=about(60), **common)
    raise AssertionError(f"give {id} made-up runs here")


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("effect, word", [(1, HOLDS), (0.3, PART), (0, NOT_HERE), (-1, OPPOSITE)])
def test_every_rule_says_what_the_runs_say(id, effect, word):
    verdict = EXPERIMENTS[id].verdict(synthetic(id, effect))
    assert verdict.word == word, verdict.sentence
    assert "[" in verdict.sentence and "]" in verdict.sentence, "no interval"


@pytest.mark.parametrize("id", IDS)
def test_sentences_carry_the_figures(id):
    assert len({EXPERIMENTS[id].verdict(synthetic(id, effect)).sentence for effect in (1, 0.3, 0, -1)}) == 4


@pytest.mark.parametrize(
    "id, swapped",
    [
        ("B1", ("no batch norm", "batch norm")),
        ("B3", ("no batch norm", "batch norm")),
        ("B7", ("raw", "whitened")),
    ],
)
def test_arms_turned_round_turn_the_verdict_round(id, swapped):
    other = dict(zip(swapped, swapped[::-1], strict=True))
    turned = [run | {"arm": other.get(run["arm"], run["arm"])} for run in synthetic(id, 1)]
    assert EXPERIMENTS[id].verdict(turned).word == OPPOSITE


def test_b2_turned_round():
    def other(name):
        return name.replace("bn", "none") if name.startswith("bn") else name.replace("none", "bn")

    turned = [run | {"arm": other(run["arm"])} for run in synthetic("B2", 1)]
    assert EXPERIMENTS["B2"].verdict(turned).word == OPPOSITE


def test_b1_counts_fourteen_times_and_no_less():
    for factor, word in ((14.2, HOLDS), (13.8, PART), (1.02, PART)):
        runs = [r for r in synthetic("B1", 1) if r["arm"] not in ("no batch norm", "batch norm")]
        runs += rows("no batch norm", steps_to=lambda s, f=factor: 100 * f * 1.001 ** (s - 2), reached=lambda s: 1)
        runs += rows("batch norm", steps_to=lambda s: 100, reached=lambda s: 1)
        assert EXPERIMENTS["B1"].verdict(runs).word == word, factor


def test_b1_says_which_runs_never_got_there():
    said = EXPERIMENTS["B1"].verdict(synthetic("B1", 1)).sentence
    assert "batch norm, 30 times the rate 5 of 5" in said and "; no batch norm" not in said


def test_b2_takes_both_depths_and_the_largest_rate():
    def one_depth(norm, depth, seed):  # 10 times with three modules, nothing with five: the mean of the logarithms
        return 1.0 if norm == "bn" and depth == 3 else 0.1

    verdict = EXPERIMENTS["B2"].verdict(cells(one_depth))
    assert verdict.word == PART and verdict.sentence.startswith("3.2 times [3.2, 3.2] as large")
    assert "with 3 modules 10 times" in verdict.sentence and "with 5 modules 1 times" in verdict.sentence
    assert "0 of 10 still learn at 3" in verdict.sentence
    best = EXPERIMENTS["B2"].verdict(cells(lambda norm, depth, seed: 3.0 if norm == "bn" else 0.0))
    assert best.word == HOLDS and best.sentence.startswith("900 times") and "10 of 10 still learn" in best.sentence


@pytest.mark.parametrize(
    "gap, free, word",
    [
        (0.06, 0.0, HOLDS),
        (0.06, -0.05, PART),  # dropout is still wanted
        (0.01, -0.05, PART),  # a gap, but a small one
        (0.01, 0.0, PART),
        (0.0, 0.0, PART),  # dropout can go, and that is all
        (-0.06, 0.0, PART),
        (0.0, -0.05, NOT_HERE),
        (-0.06, -0.05, OPPOSITE),
    ],
)
def test_b6_has_two_parts(gap, free, word):
    runs = synthetic("B6", 1)
    for run in runs:
        if run["arm"] == "no batch norm":
            run["gap"] = 0.2 + gap + 0.0001 * run["seed"] ** 2 - 0.0006
        if run["arm"] == "batch norm":
            run["test_accuracy"] = 0.8 + free + 0.0001 * run["seed"] ** 2 - 0.0006
    assert EXPERIMENTS["B6"].verdict(runs).word == word


# -------------------------------------------------------------------------------------------------- what is measured


@pytest.fixture(scope="module")
def few():
    """Forty pictures a split; three equal planes, as MNIST's digits have."""

    def split(seed, size):
        numbers = torch.Generator().manual_seed(seed)
        pixels = torch.randint(0, 256, (40, size, size, 1), generator=numbers, dtype=torch.uint8)
        return Few(pixels.repeat(1, 1, 1, 3), torch.arange(40) % 10)

    return {
        size: data.ImageSet("few", *(split(seed, size) for seed in range(3)), data.DIGIT_NAMES, "made here")
        for size in (28, 32)
    }


class Few(data.Split):
    """A split that gives what it has when asked for more."""

    def take(self, which):
        taken = super().take(min(which, len(self)) if isinstance(which, int) else which)
        return Few(taken.pixels, taken.labels, taken.factors)


class Locked:
    """A test split that nobody may touch."""

    def __getattribute__(self, name):
        raise AssertionError(f"the test split was read ({name})")


ARMS = [(id, arm) for id in IDS if id != "B2" for arm in EXPERIMENTS[id].arms]
ARMS += [("B2", name) for name in EXPERIMENTS["B2"].arms if name.endswith("rate 0.1")]


@pytest.mark.parametrize("id, arm", ARMS)
def test_every_arm_runs_and_leaves_the_test_split_alone_in_the_sweep(id, arm, few):
    of = EXPERIMENTS[id]
    images = few[28 if of.datasets == ("mnist",) else 32]
    recipe = replace(of.recipe, steps=22, batch_size=8, lr=0.05)
    found = of.measure(of.arms[arm], recipe, 0, images, True, None)
    assert {"loss", "stopped", "curve", "validation_accuracy", "cpu_seconds", "seconds"} <= set(found)
    assert len(found["curve"]) == 2 and found["stopped"] is None and 0 <= found["test_accuracy"] <= 1
    locked = replace(images, test=Locked())
    swept = of.measure(of.arms[arm], recipe, 0, locked, False, None)
    assert "test_accuracy" not in swept and swept["loss"] == found["loss"], "not the same run"


def built(id, arm, images, monkeypatch):
    """The network that an arm trains and the recipe that it trains with."""
    caught = {}

    def trained(model, recipe, *rest, **more):
        caught.update(model=model, recipe=recipe)
        raise InterruptedError

    monkeypatch.setattr(lesson_02, "trained", trained)
    of = EXPERIMENTS[id]
    with pytest.raises(InterruptedError):
        of.measure(of.arms[arm], of.recipe, 0, images, False, None)
    return caught["model"], caught["recipe"]


def kinds(model):
    return [type(layer).__name__ for layer in model.modules()]


def test_arms_differ_in_what_is_named_and_in_nothing_else(few, monkeypatch):
    for id in ("B1", "B6"):
        plain, plain_recipe = built(id, "no batch norm", few[32], monkeypatch)
        normal, recipe = built(id, "batch norm", few[32], monkeypatch)
        assert plain_recipe == recipe and "BatchNorm2d" not in kinds(plain) and "BatchNorm2d" in kinds(normal)
        weights = [[p.shape for p in model.parameters() if p.ndim > 1] for model in (plain, normal)]
        assert weights[0] == weights[1]
        assert all(
            layer.p == 0 for model in (plain, normal) for layer in model.modules() if isinstance(layer, nn.Dropout)
        )
    dropout, same = built("B6", "batch norm, dropout", few[32], monkeypatch)
    decayed, decay = built("B6", "batch norm, weight decay", few[32], monkeypatch)
    assert [layer.p for layer in dropout.modules() if isinstance(layer, nn.Dropout)] == [0.4] and same == recipe
    assert decay == replace(recipe, weight_decay=5e-4) and kinds(decayed) == kinds(normal)
    for norm, (depth, blocks) in (("none", (3, (1, 1, 1))), ("bn", (5, (1, 3, 1)))):
        model, recipe = built("B2", f"{norm}, {depth} modules, rate 0.1", few[32], monkeypatch)
        assert ("BatchNorm2d" in kinds(model)) == (norm == "bn") and sum(blocks) == depth
        assert sum(isinstance(layer, googlenet.Inception) for layer in model.modules()) == depth


def test_b1_rates_follow_the_plain_network():
    arms = EXPERIMENTS["B1"].arms
    times = [arm.get("times") for arm in arms.values()]
    assert times == [None, None, 1, 5, 30] and all(arm["norm"] == "bn" for arm in list(arms.values())[1:])


def test_levels_are_those_of_the_thresholds(few):
    of = EXPERIMENTS["B1"]
    history = train.History(of.recipe, loss=[2.0] * 30 + [1.75] * 30 + [1.4] * 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lesson_02, "trained", lambda *a, **k: ({"loss": 2.25}, history))
        reached = {
            name: of.measure(of.arms["batch norm"], of.recipe, 0, replace(few[32], name=name), False, None)["reached"]
            for name in ("digits in the wild", "CIFAR-10")
        }
        assert reached == {"digits in the wild": history.steps_to(1.5), "CIFAR-10": history.steps_to(LEVEL)}
        assert len(set(reached.values())) == 2
        cell = EXPERIMENTS["B2"]
        arm = next(iter(cell.arms.values()))
        assert not cell.measure(arm, cell.recipe, 0, few[32], False, None)["learns"]
        patch.setattr(lesson_02, "trained", lambda *a, **k: ({"loss": 2.19}, history))
        assert cell.measure(arm, cell.recipe, 0, few[32], False, None)["learns"]
    assert f"1.5 (CIFAR-10: {LEVEL})" in of.threshold and "below 2.2," in cell.threshold


LEVEL = 1.8


def test_b3_sees_the_spread_of_what_the_last_sigmoid_is_given(few):
    of = EXPERIMENTS["B3"]
    for name, arm in of.arms.items():
        found = of.measure(arm, replace(of.recipe, steps=41, batch_size=20, lr=0.5), 0, few[28], False, None)
        assert len(found["unit"]) == 3 and all(low < middle < high for low, middle, high in found["unit"])
        assert found["growth"] >= 1 and found["drift"] > 0
        first = found["unit"][0]
        if name == "batch norm":  # unit variance: 15th and 85th percentile of a Gaussian are at -1.04 and 1.04
            assert first[2] - first[0] == pytest.approx(2.07, abs=0.7)
        else:
            assert first[2] - first[0] < 0.7
    # what does not learn does not change
    still = of.measure(
        of.arms["no batch norm"], replace(of.recipe, steps=41, batch_size=40, lr=1e-9), 0, few[28], False
    )
    assert still["growth"] == pytest.approx(1, abs=1e-3) and still["drift"] == pytest.approx(0, abs=1e-3)


def test_the_perceptron_is_the_papers():
    plain, normal = Perceptron(False), Perceptron(True)
    assert [m.out_features for m in plain if isinstance(m, nn.Linear)] == [100, 100, 100, 10]
    assert kinds(normal)[1:4] == ["Linear", "BatchNorm1d", "Sigmoid"] and "BatchNorm1d" not in kinds(plain)
    assert sum(isinstance(m, nn.Sigmoid) for m in normal) == 3
    assert normal(Grey()(torch.rand(4, 3, 28, 28))).shape == (4, 10)
    assert float(plain[0].weight.detach().std()) == pytest.approx(784**-0.5, rel=0.05)


# ------------------------------------------------------------------------------------------------- whitening, descent


def test_whitening():
    torch.manual_seed(0)
    x = torch.randn(400, 3, dtype=torch.float64) @ torch.tensor([[3.0, 1, 0], [0, 0.5, 2], [0, 0, 1]]).double() + 5
    for how in ("raw", "centred", "whitened"):
        mean, turn = whitening(x, how, damping=0.0)
        y = (x - mean) @ turn
        covariance = (y - y.mean(0)).T @ (y - y.mean(0)) / len(y)
        if how == "raw":
            assert torch.equal(y, x)
        else:
            assert y.mean(0).abs().max() < 1e-12
        white = torch.allclose(covariance, torch.eye(3, dtype=x.dtype), atol=1e-9)
        assert white == (how == "whitened")
    assert steepest(torch.eye(4, dtype=torch.float64) * 2) == pytest.approx(0.5)
    flat = torch.cat([x, torch.full((400, 1), 7.0, dtype=x.dtype)], 1)  # a pixel that is always the same
    mean, turn = whitening(flat, "whitened")
    assert torch.isfinite(turn).all() and ((flat - mean) @ turn).var(0).max() < 1.1
    with pytest.raises(ValueError, match="raw, centred or whitened, not 'white'"):
        whitening(x, "white")


def test_steepest_bounds_the_curvature():
    """Against autograd's Hessian of the loss, at several weights."""
    torch.manual_seed(0)
    x, labels = torch.randn(30, 4, dtype=torch.float64), torch.arange(30) % 3
    for scale in (0.0, 0.3, 2.0):
        start = scale * torch.randn(4, 3, dtype=torch.float64)
        hessian = torch.autograd.functional.hessian(lambda w: nn.functional.cross_entropy(x @ w, labels), start)
        assert torch.linalg.eigvalsh(hessian.reshape(12, 12))[-1] <= steepest(x) + 1e-12
    two = torch.autograd.functional.hessian(  # two classes, even odds: the bound is reached
        lambda w: nn.functional.cross_entropy(x @ w, labels.clamp(max=1)), torch.zeros(4, 2, dtype=torch.float64)
    )
    assert torch.linalg.eigvalsh(two.reshape(8, 8))[-1] == pytest.approx(steepest(x))


def test_quarter_is_the_mean_of_four(few):
    split = few[28].train
    small = quarter(split)
    assert small.shape == (40, 196) and small.dtype == torch.float64
    assert small[3, 15] == pytest.approx(float(split.images[3, 0, 2:4, 2:4].mean()), abs=1e-6)


def test_b7_is_gradient_descent(few):
    """Against torch's own optimizer on the same data."""
    of, images = EXPERIMENTS["B7"], few[28]
    recipe = replace(of.recipe, steps=30, lr=2.0)
    found = of.measure(of.arms["centred"], recipe, 3, images, True, None)
    x = quarter(images.train)
    x = torch.cat([x - x.mean(0), torch.ones(40, 1, dtype=x.dtype)], 1)
    layer = nn.Linear(197, 10, bias=False, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=2.0 / steepest(x))
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(layer(x), images.train.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert found["curve"] == pytest.approx([losses[9], losses[19], losses[29]], abs=1e-4)
    assert found["loss"] == pytest.approx(losses[29], abs=1e-5)
    assert found["steps_to"] == next((i for i, v in enumerate(losses, 1) if v <= 0.2), 30)


def test_b7_tells_who_watches(few):
    of, seen = EXPERIMENTS["B7"], []
    of.measure(
        of.arms["raw"], replace(of.recipe, steps=5), 0, few[28], False, lambda h: seen.append((len(h.loss), h.finished))
    )
    assert seen == [(1, False), (2, False), (3, False), (4, False), (5, False), (5, True)]


def test_our_batch_norm_in_the_lessons_network_is_torchs():
    torch.manual_seed(0)
    theirs = googlenet.GoogLeNet.laptop(norm="bn", dropout=0.0).train()
    ours = googlenet.GoogLeNet.laptop(norm="bn", dropout=0.0).train()
    for name, layer in list(ours.named_modules()):
        if isinstance(layer, nn.BatchNorm2d):
            parent = ours.get_submodule(name.rpartition(".")[0])
            setattr(
                parent, name.rpartition(".")[2], batch_norm.BatchNorm2d(layer.num_features, layer.eps, layer.momentum)
            )
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(8, 3, 32, 32)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-3, atol=1e-4)
