"""Tests of `inception_lessons.train`: loss and steps against arithmetic written out here, and seeds to the bit."""

import dataclasses
import json
import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from inception_lessons import data, train
from inception_lessons.train import Recipe

CLASSES = 5


def split(count=40, side=8, seed=0):
    """Random pixels with random labels, in memory."""
    numbers = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, side, side, 3), generator=numbers, dtype=torch.uint8)
    return data.Split(pixels, torch.arange(count) % CLASSES)


class Recorded:
    """A streaming set: nothing but `batches`, which notes how it was asked and what it gave."""

    def __init__(self, source, spoil_at=None):
        self.source, self.spoil_at, self.asked, self.given = source, spoil_at, [], []

    def batches(self, batch_size, *, seed=None, augment=None, device="cpu"):
        self.asked.append({"seed": seed, "augment": augment, "device": device})
        for images, labels in self.source.batches(batch_size, seed=seed, augment=augment, device=device):
            if len(self.given) + 1 == self.spoil_at:
                images = images * math.nan
            self.given.append((images.clone(), labels.clone()))
            yield images, labels


class Net(nn.Module):
    """Convolution, batch norm, classifier: weights that decay, and three kinds of parameters that do not."""

    def __init__(self, dropout=0.0, aux=(), num_classes=CLASSES):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * 36, num_classes))
        self.aux = nn.ModuleDict({name: nn.Linear(4 * 36, num_classes) for name in aux})
        self.calls = []

    def forward(self, x):
        self.calls.append("forward")
        return self.head(self.trunk(x))

    def forward_with_aux(self, x):
        self.calls.append("forward_with_aux")
        x = self.trunk(x)
        return self.head(x), {name: head(x) for name, head in self.aux.items()}


def net(seed=0, **settings):
    """A Net with the weights of this seed; torch's global random state is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net(**settings)


def fitted(recipe=None, seed=0, model=None, source=None, **options):
    """-> the trained network and its history, on the CPU, without a progress bar."""
    model = model or net()
    recipe = recipe or Recipe(steps=6, batch_size=8)
    source = source or split()
    return model, train.fit(model, source, recipe=recipe, seed=seed, **{"device": "cpu", "progress": False, **options})


def same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# ---------------------------------------------------------------------------------------------------- seeds, to the bit


@pytest.mark.parametrize("optimizer", train.OPTIMIZERS)
def test_a_seed_decides_every_bit(optimizer):
    recipe = Recipe(steps=12, batch_size=8, optimizer=optimizer, lr=0.02)
    augment = data.Augment(crop=1, flip=True)
    runs = []
    for seed, noise in ((3, 11), (3, 12), (4, 11)):
        torch.manual_seed(noise)  # what went on outside must not matter
        runs.append(fitted(recipe, seed, net(dropout=0.5), augment=augment))
    (first, first_history), (again, again_history), (other, _) = runs
    assert same_weights(first, again) and first_history.loss == again_history.loss
    assert not same_weights(first, other)
    assert not same_weights(first, net(dropout=0.5))


def test_dropout_depends_on_the_seed():
    class Constant:
        def batches(self, batch_size, *, seed=None, augment=None, device="cpu"):
            yield next(split().batches(batch_size))

    runs = [fitted(seed=seed, model=net(dropout=0.5), source=Constant())[0] for seed in (1, 1, 2)]
    assert same_weights(runs[0], runs[1]) and not same_weights(runs[0], runs[2])


def test_order_depends_on_the_seed_and_changes_from_pass_to_pass():
    sources = [Recorded(split()) for _ in range(3)]
    for seed, source in zip((1, 1, 2), sources, strict=True):
        fitted(Recipe(steps=10, batch_size=8), seed, source=source)  # two passes of five batches
    orders = [torch.cat([images.flatten(1)[:, 0] for images, _ in source.given]) for source in sources]
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])
    first, second = orders[0].split(40)
    assert not torch.equal(first, second) and torch.equal(first.sort()[0], second.sort()[0])
    seeds = [asked["seed"] for source in (sources[0], sources[2]) for asked in source.asked]
    assert len(set(seeds)) == 4, "two passes share a seed"


def test_random_state_outside_is_as_it_was():
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    fitted(model=net(dropout=0.5), augment=data.Augment(crop=1, flip=True), validation=split(10))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


def test_random_state_is_given_back_after_an_error():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="outputs"):
        fitted(model=net(dropout=0.5, num_classes=2))
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------------------------------------ arithmetic, by hand


def by_hand(model, batches, rates, *, optimizer, momentum, weight_decay, smoothing, aux_weight):
    """The losses of a run and, in `model`, its weights: no torch.optim, no cross_entropy."""
    model.train()
    parameters, state, losses = list(model.parameters()), {}, []
    for step, ((images, labels), rate) in enumerate(zip(batches, rates, strict=True), 1):
        target = torch.full((len(labels), CLASSES), smoothing / CLASSES)
        target[torch.arange(len(labels)), labels] += 1 - smoothing

        def entropy(logits, target=target):
            return -(target * (logits - logits.exp().sum(1, keepdim=True).log())).sum(1).mean()

        features = model.trunk(images)
        loss = entropy(model.head(features))
        losses.append(loss.item())
        total = loss + sum(aux_weight * entropy(head(features)) for head in model.aux.values())
        for i, (p, g) in enumerate(zip(parameters, torch.autograd.grad(total, parameters), strict=True)):
            decay = weight_decay if p.ndim > 1 else 0.0
            old = state.get(i, (torch.zeros_like(p), torch.zeros_like(p)))
            with torch.no_grad():
                if optimizer == "adamw":
                    m, v = 0.9 * old[0] + 0.1 * g, 0.999 * old[1] + 0.001 * g * g
                    p *= 1 - rate * decay
                    p -= rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
                    state[i] = m, v
                else:
                    g = g + decay * p
                    square = 0.9 * old[1] + 0.1 * g * g
                    moved = momentum * old[0] + (g / (square.sqrt() + 1) if optimizer == "rmsprop" else g)
                    p -= rate * moved
                    state[i] = moved, square
    return losses


FIVE = {  # five steps, two of warm-up, at a rate of 0.1
    "constant": [0.05, 0.1, 0.1, 0.1, 0.1],
    "linear": [0.05, 0.1, 0.1, 0.1 * 2 / 3, 0.1 / 3],
    "cosine": [0.05, 0.1, 0.1, 0.075, 0.025],
    "exponential": [0.05, 0.1, 0.1, 0.1 * 0.01 ** (1 / 3), 0.1 * 0.01 ** (2 / 3)],
}


@pytest.mark.parametrize("schedule", train.SCHEDULES)
@pytest.mark.parametrize("optimizer", train.OPTIMIZERS)
def test_five_steps_are_what_arithmetic_says(optimizer, schedule):
    recipe = Recipe(
        steps=5,
        batch_size=8,
        optimizer=optimizer,
        lr=0.1,
        momentum=0.8,
        weight_decay=0.3,
        schedule=schedule,
        warmup=2,
        label_smoothing=0.2,
        aux_weight=0.5,
    )
    source, model, mine = Recorded(split()), net(aux=("4a", "4d")), net(aux=("4a", "4d"))
    _, history = fitted(recipe, model=model, source=source)
    losses = by_hand(
        mine,
        source.given,
        FIVE[schedule],
        optimizer=optimizer,
        momentum=0.8,
        weight_decay=0.3,
        smoothing=0.2,
        aux_weight=0.5,
    )
    assert history.loss == pytest.approx(losses, rel=1e-4)
    for (name, a), b in zip(model.named_parameters(), mine.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_the_hand_written_steps_can_tell():
    """The comparison above is no looser than the differences it is there to find."""
    source = Recorded(split())
    model, _ = fitted(
        Recipe(steps=5, batch_size=8, lr=0.1, weight_decay=0.3, label_smoothing=0.2, schedule="constant"), source=source
    )
    right = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.3, "smoothing": 0.2, "aux_weight": 0.0}
    found = {}
    for change in ({}, {"optimizer": "rmsprop"}, {"momentum": 0.89}, {"weight_decay": 0.29}, {"smoothing": 0.19}):
        mine = net()
        by_hand(mine, source.given, [0.1] * 5, **(right | change))
        pairs = zip(model.parameters(), mine.parameters(), strict=True)
        found[str(change)] = all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in pairs)
    assert found.pop("{}") and not any(found.values()), found


def test_auxiliary_classifiers_run_only_when_they_count():
    def calls(**settings):  # but for the first, the look at one picture before anything is changed
        return set(fitted(Recipe(steps=2, batch_size=8, **settings), model=net(aux=("4a",)))[0].calls[1:])

    assert calls() == {"forward_with_aux"} and calls(aux_weight=0.0) == {"forward"}
    assert set(fitted(model=net())[0].calls) == {"forward"}


@pytest.mark.parametrize("aux", [None, False, "linear"])
def test_an_attribute_of_ones_own_that_is_called_aux_is_no_auxiliary_classifier(aux):
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.aux = nn.Linear(3 * 64, CLASSES), nn.Linear(2, 2) if aux == "linear" else aux

        def forward(self, x):
            return self.head(x.flatten(1))

    model = Mine()
    assert not fitted(model=model)[1].stopped


@pytest.mark.parametrize(
    "schedule, first, middle, last",
    [
        ("constant", 0.2, 0.2, 0.2),
        ("linear", 0.2, 0.1, 0.002),
        ("cosine", 0.2, 0.1, 0.2 * 0.000246719817),
        ("exponential", 0.2, 0.02, 0.2 * 0.01**0.99),
    ],
)
def test_rate_at_its_ends(schedule, first, middle, last):
    recipe = Recipe(steps=100, lr=0.2, schedule=schedule)
    assert [recipe.rate(0), recipe.rate(50), recipe.rate(99)] == pytest.approx([first, middle, last], rel=1e-6)
    warm = dataclasses.replace(recipe, steps=110, warmup=10)
    assert [warm.rate(k) for k in (0, 4, 9)] == pytest.approx([0.02, 0.1, 0.2])
    assert [warm.rate(10), warm.rate(60), warm.rate(109)] == pytest.approx([first, middle, last], rel=1e-6)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"optimizer": "adam"}, "'sgd', 'rmsprop', 'adamw', not 'adam'"),
        ({"schedule": "step"}, "not 'step'"),
        ({"precision": "float16"}, "not 'float16'"),
        ({"steps": 0}, "steps .* not 0"),
        ({"steps": 2.5}, "steps .* not 2.5"),
        ({"batch_size": 0}, "batch_size .* not 0"),
        ({"warmup": -1}, "warmup .* not -1"),
        ({"lr": 0}, "lr .* not 0"),
        ({"lr": -0.1}, "lr .* not -0.1"),
        ({"lr": math.nan}, "lr .* not nan"),
        ({"lr": math.inf}, "lr .* not inf"),
        ({"momentum": 1.0}, "momentum .* not 1.0"),
        ({"momentum": -0.1}, "momentum .* not -0.1"),
        ({"weight_decay": -1e-4}, "weight_decay .* not -0.0001"),
        ({"label_smoothing": 1.0}, "label_smoothing .* not 1.0"),
        ({"aux_weight": math.nan}, "aux_weight .* not nan"),
        ({"clip": 0}, "clip .* not 0"),
        ({"clip": -2.0}, "clip .* not -2.0"),
        ({"clip": math.nan}, "clip .* not nan"),
        ({"clip": math.inf}, "clip .* not inf"),
        ({"average": 0.0}, "average .* not 0.0"),
        ({"average": 1.0}, "average .* not 1.0"),
        ({"average": math.nan}, "average .* not nan"),
    ],
)
def test_a_bad_recipe_is_refused_with_what_came(changes, said):
    with pytest.raises(ValueError, match=said):
        Recipe(**changes)


def test_a_recipe_cannot_be_changed_behind_ones_back():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().lr = 1.0


# --------------------------------------------------------------------------- clipped gradients and averaged weights


def gradients(model, images, labels, aux_weight=0.3):
    """Of the first step's loss, auxiliary classifiers included, by parameter."""
    logits, aux = model.train().forward_with_aux(images)
    loss = nn.functional.cross_entropy(logits, labels)
    loss = loss + sum(aux_weight * nn.functional.cross_entropy(extra, labels) for extra in aux.values())
    return torch.autograd.grad(loss, list(model.parameters()))


def test_a_clipped_step_is_a_scaled_gradient():
    source, model, before = Recorded(split()), net(aux=("4a",)), net(aux=("4a",))
    fitted(Recipe(steps=1, batch_size=8, lr=0.5, momentum=0.0, clip=0.25), model=model, source=source)
    found = gradients(net(aux=("4a",)), *source.given[0])
    length = math.sqrt(sum(value * value for g in found for value in g.flatten().tolist()))
    assert length > 0.5, "nothing to clip"
    for p, start, g in zip(model.parameters(), before.parameters(), found, strict=True):
        torch.testing.assert_close(p - start, -0.5 * g * (0.25 / length), rtol=1e-3, atol=1e-6)


def test_a_gradient_shorter_than_the_threshold_is_left_alone():
    plain, history = fitted(Recipe(steps=12, batch_size=8))
    model, clipped = fitted(Recipe(steps=12, batch_size=8, clip=1e6))
    assert same_weights(plain, model) and history.loss == clipped.loss
    assert not same_weights(plain, fitted(Recipe(steps=12, batch_size=8, clip=0.1))[0])


def followed(recipe, **options):
    """-> network, history, and its state after every step, as a watcher sees it."""
    states, model = [], net()

    def watch(history):
        if not history.finished:
            states.append({key: value.clone() for key, value in model.state_dict().items()})

    return *fitted(recipe, model=model, watch=watch, **options), states


def running_average(states, decay):
    """By loops: the first state, then each later one with the weight 1 - decay."""
    average = {key: value.clone() for key, value in states[0].items()}
    for state in states[1:]:
        for key, value in state.items():
            if value.is_floating_point():
                average[key] = decay * average[key] + (1 - decay) * value
            else:
                average[key] = value
    return average


def test_averaged_weights_are_what_loops_say():
    model, history, states = followed(Recipe(steps=9, batch_size=8, average=0.8))
    wanted = running_average(states, 0.8)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, wanted[key], rtol=1e-5, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")
    assert model.state_dict()["trunk.1.num_batches_tracked"] == 9, "a count has no average"
    for key in ("trunk.0.weight", "trunk.1.running_mean", "trunk.1.running_var", "head.1.bias"):
        for other in (states[-1][key], running_average(states, 0.7)[key]):
            assert not torch.allclose(wanted[key], other, rtol=1e-3, atol=1e-4), "the comparison cannot tell"
    plain, without = fitted(Recipe(steps=9, batch_size=8))
    assert history.loss == without.loss and same_weights_as(plain, states[-1]), "averaging changed the training"
    assert not model.training and not history.stopped


def same_weights_as(model, state):
    return all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_an_average_over_one_step_is_that_step():
    assert same_weights(
        fitted(Recipe(steps=1, batch_size=8, average=0.99))[0], fitted(Recipe(steps=1, batch_size=8))[0]
    )


def test_validation_is_of_the_averaged_weights():
    some = split(17, seed=1)
    recipe = Recipe(steps=7, batch_size=8, average=0.9)
    model, history, states = followed(recipe, validation=some, validate_every=3)
    assert [row[0] for row in history.validation] == [3, 6, 7]
    for step, loss, accuracy in history.validation:
        other = net()
        other.load_state_dict(running_average(states[:step], 0.9))
        scores = train.evaluate(other, some)
        assert (loss, accuracy) == (pytest.approx(scores.loss, rel=1e-5), scores.accuracy)
        other.load_state_dict(states[step - 1])
        assert abs(train.evaluate(other, some).loss - loss) > 1e-3, "the comparison cannot tell"
    scores = train.evaluate(model, some)
    assert history.validation[-1][1:] == (scores.loss, scores.accuracy), "another network is kept than was validated"
    assert same_weights(model, fitted(recipe)[0]), "looking changed the training"


def test_an_interrupted_run_leaves_the_weights_of_its_last_step():
    def interrupted(average):
        model = net()

        def watch(history):
            if len(history.loss) == 4:
                raise KeyboardInterrupt

        recipe = Recipe(steps=9, batch_size=8, average=average)
        with pytest.raises(KeyboardInterrupt):
            fitted(recipe, model=model, watch=watch, validation=split(10), validate_every=2)
        return model

    stopped, plain = interrupted(0.9), interrupted(None)
    assert same_weights(stopped, plain) and all(p.isfinite().all() for p in stopped.parameters())


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_run_that_diverged_is_stopped_with_an_average_as_without(device):
    found = []
    for average in (None, 0.9):
        recipe = Recipe(steps=60, batch_size=8, average=average, clip=1.0)
        options = {"device": device, "validation": split(10), "validate_every": 4}
        model, history = fitted(recipe, source=Recorded(split(), spoil_at=3), **options)
        found.append((history.loss, history.validation, history.stopped, history.finished, model.training))
        assert model.state_dict()["trunk.1.num_batches_tracked"] == (3 if device == "cpu" else 4)
    assert found[0] == found[1] and "at step 3" in found[1][2] and found[1][3:] == (True, False)


def test_the_recipe_of_inception_v3():
    recipe = Recipe.inception_v3(steps=40, batch_size=8, lr=0.5)
    assert (recipe.optimizer, recipe.momentum, recipe.clip, recipe.label_smoothing) == ("rmsprop", 0.0, 2.0, 0.1)
    assert (recipe.steps, recipe.lr) == (40, 0.5) and Recipe.inception_v3().lr == 0.045
    group = recipe.build(net()).param_groups[0]
    assert (group["alpha"], group["eps"], group["momentum"], group["weight_decay"]) == (0.9, 1.0, 0.0, 4e-5)
    # the paper's staircase, 0.94 every two epochs, comes to the hundredth where ours ends after 149 epochs
    ours = Recipe.inception_v3(steps=149)
    assert [ours.rate(n) for n in (0, 50, 100, 148)] == pytest.approx(
        [0.045 * 0.94 ** (n / 2) for n in (0, 50, 100, 148)], rel=0.01
    )
    _, history = fitted(recipe)
    assert history.final_loss() < history.loss[0] and Recipe.inception_v3(average=None, clip=None).average is None


# --------------------------------------------------------------------------------------------------- put down, taken up


class Kept:
    """Checkpoints in memory: after every `every` steps; `dies` at the one of that many steps, once it is kept."""

    def __init__(self, every=4, dies=None):
        self.every, self.dies, self.steps, self.state = every, dies, [], None

    def load(self):
        return self.state

    def save(self, state):
        self.state = {name: value.clone() for name, value in state.items()}
        self.steps.append(len(state["history.loss"]))
        if self.steps[-1] == self.dies:
            self.dies = None
            raise KeyboardInterrupt


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])  # "cpu:0" takes the path of a GPU, where the loss is read rarely
@pytest.mark.parametrize("optimizer, momentum", [("sgd", 0.9), ("sgd", 0.0), ("rmsprop", 0.9), ("adamw", 0.0)])
def test_a_run_goes_on_as_if_it_had_never_stopped(optimizer, momentum, device):
    """With dropout, batch statistics, averaged weights, augmentation, and a stop in the middle of the second pass."""
    recipe = Recipe(steps=12, batch_size=8, optimizer=optimizer, momentum=momentum, lr=0.02, average=0.8, clip=1.0)
    options = {
        "augment": data.Augment(crop=1, flip=True),
        "validation": split(10),
        "validate_every": 3,
        "device": device,
    }
    whole, history = fitted(recipe, 3, net(dropout=0.5), **options)
    keep = Kept(dies=8)
    with pytest.raises(KeyboardInterrupt):
        fitted(recipe, 3, net(dropout=0.5), keep=keep, **options)
    torch.manual_seed(99)  # another process, another state
    model, gone_on = fitted(recipe, 3, net(seed=1, dropout=0.5), keep=keep, **options)
    assert same_weights(model, whole) and keep.steps == [4, 8, 12]
    assert (gone_on.loss, gone_on.validation) == (history.loss, history.validation)
    again, ended = fitted(recipe, 3, net(seed=1, dropout=0.5), keep=keep, **options)
    assert same_weights(again, whole) and ended.loss == history.loss and keep.steps == [4, 8, 12], "it was at its end"


def test_a_state_that_lacks_something_would_be_seen():
    """The comparison above can tell: without any one part of the state, the run ends elsewhere."""
    recipe = Recipe(steps=12, batch_size=8, lr=0.02, average=0.8)
    whole, _ = fitted(recipe, 3, net(dropout=0.5))
    keep = Kept(dies=8)
    with pytest.raises(KeyboardInterrupt):
        fitted(recipe, 3, net(dropout=0.5), keep=keep)
    state = keep.state
    for part in ("random.", "optimizer.", "averaged."):
        spoiled = {
            name: torch.zeros_like(v) if name.startswith(part) and v.is_floating_point() else v
            for name, v in state.items()
        }
        if part == "random.":
            spoiled = {name: v for name, v in state.items() if not name.startswith(part)}
        keep.state = spoiled
        assert not same_weights(fitted(recipe, 3, net(dropout=0.5), keep=keep)[0], whole), part


def test_a_run_that_diverges_keeps_nothing_of_it():
    keep = Kept(every=2)
    _, history = fitted(Recipe(steps=8, batch_size=8), source=Recorded(split(), spoil_at=4), keep=keep)
    assert history.stopped and keep.steps == [2]


class Half:
    """A share of the work without another process: `rank` of two, who believes that the other does the same."""

    world = 2

    def __init__(self, rank):
        self.rank, self.spread_to = rank, []

    def wrap(self, network, unused):
        return network

    def mean(self, loss, count):
        return loss, 1.0

    def sum(self, numbers):
        return [2 * number for number in numbers]

    def spread(self, model):
        self.spread_to.append(model)

    def gather(self, value):
        return [value, value]


def test_a_share_trains_on_its_rows():
    class Noted(data.Split):
        def batches(self, *arguments, **options):
            for images, labels in super().batches(*arguments, **options):
                self.given.append(labels)
                yield images, labels

    given, models = [], []
    for share in (None, Half(0), Half(1)):
        source = Noted(split().pixels, split().labels)
        source.given = []
        options = {"validation": split(10)} if share else {}
        model, history = fitted(Recipe(steps=6, batch_size=8), source=source, share=share, **options)
        given.append(source.given)
        models.append(model)
        if share:
            assert len(history.validation) == 1 and share.spread_to == [model]
    for whole, first, second in zip(*given, strict=True):
        assert torch.equal(torch.cat([first, second]), whole) and len(first) == 4
    assert not same_weights(models[1], models[2])


def test_each_process_drops_its_own_units():
    class Alike:
        def batches(self, batch_size, **options):
            yield next(split().batches(batch_size))

    alone, first, second = (
        fitted(model=net(dropout=0.5), source=Alike(), share=s)[0] for s in (None, Half(0), Half(1))
    )
    assert same_weights(alone, first) and not same_weights(first, second)


# --------------------------------------------------------------------------------------------------------------- scores


@pytest.fixture
def scored():
    """A network that is not at chance, and 23 examples of unequal classes, with what they score, computed directly."""
    model, _ = fitted(Recipe(steps=20, batch_size=8))
    some = split(23, seed=0)
    some.labels[20:] = 0
    with torch.no_grad():
        logits = model(data.normalize(some.images))
    log = logits.double() - logits.double().logsumexp(1, keepdim=True)
    loss = -log[torch.arange(23), some.labels].mean().item()
    return model, some, logits, loss, (logits.argmax(1) == some.labels).double().mean().item()


@pytest.mark.parametrize("batch_size", [10, 22, 23, 500])
def test_evaluate_sums_over_examples(scored, batch_size):
    model, some, _, loss, accuracy = scored
    scores = train.evaluate(model, some, batch_size=batch_size)
    assert (scores.loss, scores.accuracy, scores.count) == (pytest.approx(loss, rel=1e-6), pytest.approx(accuracy), 23)
    batches = list(some.batches(22))
    means = [train.evaluate(model, some.take(list(at)), batch_size=500).loss for at in (range(22), range(22, 23))]
    assert len(batches) == 2 and abs(sum(means) / 2 - loss) > 1e-3, "a mean over batches would pass as well"


def test_predict_keeps_the_stored_order(scored):
    model, some, logits, *_ = scored
    model.train()
    found, labels = train.predict(model, some, batch_size=10)
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-5)
    assert torch.equal(labels, some.labels) and not found.requires_grad and model.training


@pytest.mark.parametrize("mode", [True, False])
def test_evaluate_puts_the_mode_back(mode):
    model, some = net(dropout=0.5).train(mode), split()
    seen = []
    model.register_forward_hook(lambda module, inputs, out: seen.append((module.training, out.requires_grad)))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train.evaluate(model, some)
    assert model.training == mode and model.head[0].training == mode and seen == [(False, False)]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), (
        "evaluating changed the network"
    )

    class Broken:
        def batches(self, batch_size, *, device):
            yield from some.batches(10, device=device)
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        train.evaluate(model, Broken())
    assert model.training == mode


def test_evaluating_nothing_is_an_error():
    with pytest.raises(ValueError, match="no examples"):
        train.evaluate(net(), split().take(0))


# --------------------------------------------------------------------------------------------------- a run and its end


def test_fit_leaves_evaluation_mode_and_a_full_history():
    model, history = fitted(Recipe(steps=7, batch_size=8), seed=9)
    assert not model.training and not model.head[0].training
    assert len(history.loss) == 7 and history.finished and history.stopped is None and history.seconds > 0
    assert (history.seed, history.recipe.steps, history.validation) == (9, 7, [])
    assert json.loads(json.dumps(history.as_dict()))["recipe"]["optimizer"] == "sgd"


def test_validation_rows():
    some = split(17, seed=1)
    every, last = (fitted(Recipe(steps=7, batch_size=8), validation=some, validate_every=n) for n in (3, None))
    assert [row[0] for row in every[1].validation] == [3, 6, 7]
    assert [row[0] for row in last[1].validation] == [7]
    for model, history in (every, last):
        scores = train.evaluate(model, some)
        assert history.validation[-1][1:] == (scores.loss, scores.accuracy)
    assert same_weights(every[0], last[0]), "looking changed the training"
    exact = fitted(Recipe(steps=6, batch_size=8), validation=some, validate_every=3)[1]
    assert [row[0] for row in exact.validation] == [3, 6]


def test_validation_time_is_not_training_time():
    class Slow:
        def batches(self, batch_size, *, device):
            import time

            time.sleep(0.5)
            yield next(split().batches(8))

    assert fitted(Recipe(steps=2, batch_size=8), validation=Slow())[1].seconds < 0.5


def test_watch_sees_each_step_and_the_end():
    seen = []
    fitted(Recipe(steps=4, batch_size=8), watch=lambda h: seen.append((len(h.loss), h.finished)))
    assert seen == [(1, False), (2, False), (3, False), (4, False), (4, True)]


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])  # "cpu:0" takes the path of a GPU, where the loss is read rarely
def test_a_loss_that_is_no_number_ends_the_run(device):
    seen, source = [], Recorded(split(), spoil_at=3)
    model, history = fitted(
        Recipe(steps=60, batch_size=8, lr=0.25),
        source=source,
        device=device,
        validation=split(10),
        validate_every=4,
        watch=lambda h: seen.append((h.finished, h.stopped)),
    )
    assert len(history.loss) == 2 and all(map(math.isfinite, history.loss)) and len(source.given) < 60
    assert "at step 3" in history.stopped and "0.25" in history.stopped and "diverged" in history.stopped
    assert history.finished and seen[-1] == (True, history.stopped) and not seen[0][0]
    assert history.validation == [] and history.final_loss() == math.inf and not model.training


def test_reading_the_loss_rarely_changes_nothing():
    some = split(10)
    often, rarely = (
        fitted(Recipe(steps=32, batch_size=8), device=device, validation=some, validate_every=10)
        for device in ("cpu", "cpu:0")
    )
    assert often[1].loss == rarely[1].loss and often[1].validation == rarely[1].validation and len(rarely[1].loss) == 32


def test_smoothed_and_steps_to_by_hand():
    history = train.History(Recipe(), loss=[4.0, 2.0, 3.0, 1.0, 1.0])
    assert history.smoothed(2) == [4.0, 3.0, 2.5, 2.0, 1.0] and history.smoothed(20)[-1] == pytest.approx(2.2)
    assert history.steps_to(2.5, window=2) == 3 and history.steps_to(2.4, window=2) == 4
    assert history.steps_to(0.9, window=2) is None
    assert history.steps_to(9.0, window=2) == 2, "a window that is not full does not count"
    assert history.steps_to(9.0) is None
    assert history.final_loss(2) == 1.0 and train.History(Recipe()).final_loss() == math.inf


def test_a_spike_is_forgotten_with_its_window():
    history = train.History(Recipe(), loss=[2.3] * 5 + [1e18] + [2.303] * 60)
    assert history.final_loss() == history.smoothed()[-1] == pytest.approx(2.303, rel=1e-12)
    assert history.smoothed()[5] > 1e16 and history.steps_to(2.4) == 26 and history.steps_to(1.0) is None


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu")])
def test_steps_are_counted_as_they_are_taken(device):
    seen = []
    _, history = fitted(Recipe(steps=30, batch_size=8), device=device, watch=lambda h: seen.append(h.steps))
    assert seen == [*range(1, 31), 30] and len(history.loss) == 30


def test_a_last_step_that_was_one_too_far_is_no_success():
    recipe = {"batch_size": 8, "lr": 1e30, "momentum": 0.0, "schedule": "constant", "warmup": 0}
    stopped = fitted(Recipe(steps=60, **recipe))[1]
    steps = len(stopped.loss)
    assert stopped.stopped and 0 < steps < 60
    keep = Kept(every=1000)
    _, history = fitted(Recipe(steps=steps, **recipe), validation=split(10), keep=keep)
    assert len(history.loss) == steps and "after the last step: training has diverged" in history.stopped
    assert history.final_loss() == math.inf and keep.steps == []


def test_too_few_outputs_are_said_before_anything_is_changed():
    model = net(num_classes=2).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="the network has 2 outputs, but label"):
        fitted(model=model)
    assert not model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_who_interrupts_gets_a_network_in_evaluation_mode():
    def interrupt(history):
        raise KeyboardInterrupt

    model = net()
    with pytest.raises(KeyboardInterrupt):
        fitted(model=model, watch=interrupt)
    assert not model.training


def test_looking_leaves_frozen_parts_frozen():
    model = net().train()
    model.trunk[1].eval()
    train.evaluate(model, split())
    train.predict(model, split())
    assert model.training and model.head[0].training and not model.trunk[1].training


def test_too_few_examples_is_said_before_anything_happens():
    model = net()
    with pytest.raises(ValueError, match="batch of 64 .* this set has 40"):
        fitted(Recipe(steps=2), model=model)
    assert model.calls == []

    class Empty:
        def batches(self, batch_size, **options):
            return iter(())

    with pytest.raises(ValueError, match="no batch of 8"):
        fitted(source=Empty())


def test_a_label_too_many_is_said():
    with pytest.raises(ValueError, match="3 outputs, but label 4 .*num_classes"):
        fitted(model=net(num_classes=3), source=split(40), recipe=Recipe(steps=1, batch_size=40))
    with pytest.raises(ValueError, match="3 outputs, but label 4 .*num_classes"):
        fitted(model=net(num_classes=3), source=Recorded(split(40)), recipe=Recipe(steps=1, batch_size=40))


def test_a_rare_label_too_many_is_said_as_well():
    """The one example whose label does not fit may come late."""
    some = split(200)
    some.labels[:] = 0
    some.labels[7] = 4
    with pytest.raises(ValueError, match="3 outputs, but label 4"):
        fitted(model=net(num_classes=3), source=some, recipe=Recipe(steps=100, batch_size=2))


def test_a_streaming_set_is_enough_and_gets_what_fit_was_given():
    source, augment = Recorded(split()), data.Augment(flip=True)
    _, history = fitted(source=source, augment=augment)
    assert len(history.loss) == 6
    assert all(asked["augment"] is augment and asked["device"] == "cpu" for asked in source.asked)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights():
    model, kinds = net(), []
    model.head[1].register_forward_hook(lambda module, inputs, out: kinds.append(out.dtype))
    _, history = fitted(Recipe(steps=4, batch_size=8, precision="bfloat16"), model=model)
    assert set(kinds[1:]) == {torch.bfloat16} and {p.dtype for p in model.parameters()} == {torch.float32}
    _, exact = fitted(Recipe(steps=4, batch_size=8))
    assert history.loss != exact.loss and history.loss == pytest.approx(exact.loss, rel=0.05)


def test_progress(capfd):
    fitted()
    assert capfd.readouterr() == ("", "")
    fitted(progress=True)
    out, err = capfd.readouterr()
    assert out == "" and "6/6" in err and "loss" in err


@pytest.mark.parametrize("choice, value", [(None, 2), ("", 2), ("smoke", 1), ("laptop", 2), ("full", 3)])
def test_budget(monkeypatch, choice, value):
    monkeypatch.delenv("LESSON_BUDGET", raising=False)
    if choice is not None:
        monkeypatch.setenv("LESSON_BUDGET", choice)
    assert train.budget(smoke=1, laptop=2, full=3) == value


def test_budget_of_another_name(monkeypatch):
    monkeypatch.setenv("LESSON_BUDGET", "Laptop")
    with pytest.raises(ValueError, match="LESSON_BUDGET is one of 'smoke', 'laptop', 'full', not 'Laptop'"):
        train.budget(smoke=1, laptop=2, full=3)


def test_device_is_one_of_two():
    assert train.device() == ("cuda" if torch.cuda.is_available() else "cpu")
