"""One training loop for every lesson: ``fit``, ``evaluate``, ``predict``, and the ``Recipe`` and ``History`` they
speak in.

The loop knows no network, no data set and no chart. A data set is anything with ``batches(batch_size, seed=,
augment=, device=)`` that yields (images, labels); whoever wants to see the run passes ``watch``, a function that is
handed the history after each step.
"""

import math
import numbers
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import swa_utils

OPTIMIZERS = ("sgd", "rmsprop", "adamw")
SCHEDULES = ("constant", "linear", "cosine", "exponential")


@dataclass(frozen=True)
class Recipe:
    """How to train: everything that two runs must share to be compared. Immutable; ``dataclasses.replace`` makes a
    variant.

    ``lr`` is the highest learning rate, reached after ``warmup`` steps; ``schedule`` then lowers it to 0
    (``exponential``: to a hundredth; ``constant``: not at all). ``rmsprop`` has the papers' decay 0.9 and epsilon 1,
    but PyTorch's form of it, where epsilon stands outside the root (TensorFlow's has it inside). Weight decay leaves
    biases and normalization alone. ``aux_weight`` scales the loss of each auxiliary classifier (0.3 in
    arXiv:1409.4842). ``clip`` scales the gradient of all weights together down to this norm where it is longer;
    ``average`` is the decay of a running average of the weights, which is then what is validated and what is left in
    the network at the end; None: neither. Raises ValueError for a value out of range.
    """

    steps: int = 600
    batch_size: int = 64
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "linear"
    warmup: int = 0
    label_smoothing: float = 0.0
    aux_weight: float = 0.3
    precision: str = "float32"
    clip: float | None = None
    average: float | None = None

    def __post_init__(self):
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, ("float32", "bfloat16"))
        for name, least in (("steps", 1), ("batch_size", 1), ("warmup", 0)):
            value = getattr(self, name)
            _whole(name, value, least)
        if not (_is_number(self.lr) and self.lr > 0):
            raise ValueError(f"lr is a number above 0, not {self.lr!r}")
        if self.clip is not None and not (_is_number(self.clip) and self.clip > 0):
            raise ValueError(f"clip is a number above 0 or None, not {self.clip!r}")
        if self.average is not None and not (_is_number(self.average) and 0 < self.average < 1):
            raise ValueError(f"average is above 0 and below 1 or None, not {self.average!r}")
        for name, below in (
            ("momentum", 1),
            ("label_smoothing", 1),
            ("weight_decay", math.inf),
            ("aux_weight", math.inf),
        ):
            if not (_is_number(getattr(self, name)) and 0 <= getattr(self, name) < below):
                raise ValueError(f"{name} is at least 0 and below {below}, not {getattr(self, name)!r}")

    @classmethod
    def inception_v3(cls, **changes) -> "Recipe":
        """Section 8 of arXiv:1512.00567: RMSProp, gradients clipped at 2, labels smoothed by 0.1, weights averaged;
        ``changes`` are fields of the recipe.

        The paper lowers its rate of 0.045 by 6 % every two epochs; here that is a smooth curve to a hundredth, where
        its staircase arrives after 149 epochs. The rate belongs to batches of 50 x 32 images: shorter runs want a
        larger one. The paper names neither momentum nor weight decay nor the decay of the average; the released code
        has 0.9, 4e-5, and 0.9999, which looks back over 10,000 steps and begins smaller. Here momentum is 0, and 0.99
        looks back over 100.
        """
        paper = {"optimizer": "rmsprop", "lr": 0.045, "momentum": 0.0, "weight_decay": 4e-5, "schedule": "exponential"}
        return cls(**{**paper, "label_smoothing": 0.1, "clip": 2.0, "average": 0.99, **changes})

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0. Raises ValueError for a step that the recipe does not have."""
        if not (_is_number(step) and 0 <= step < self.steps):
            raise ValueError(f"this recipe has the steps 0 to {self.steps - 1}, not {step!r}")
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        factors = {
            "constant": 1.0,
            "linear": 1 - done,
            "cosine": (1 + math.cos(math.pi * done)) / 2,
            "exponential": 0.01**done,
        }
        return self.lr * factors[self.schedule]

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer for a network's parameters."""
        decayed = [p for p in model.parameters() if p.ndim > 1]
        free = [p for p in model.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": free, "weight_decay": 0.0}]
        if self.optimizer == "sgd":
            return torch.optim.SGD(groups, self.lr, momentum=self.momentum)
        if self.optimizer == "rmsprop":
            return torch.optim.RMSprop(groups, self.lr, alpha=0.9, eps=1.0, momentum=self.momentum)
        return torch.optim.AdamW(groups, self.lr)


@dataclass
class History:
    """What happened in a run: ``steps`` taken, ``loss`` by step (nats, mean over the batch, auxiliary losses left out),
    ``validation`` as rows of (step, loss, accuracy), ``seconds`` of training without validation and drawing, and
    ``stopped``: a sentence if the run diverged, else None.

    Reading a loss from a GPU waits for it, so while a run lasts ``loss`` may be up to 24 steps behind there.
    """

    recipe: Recipe
    seed: int = 0
    loss: list[float] = field(default_factory=list)
    validation: list[tuple[int, float, float]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str | None = None
    finished: bool = False
    steps: int = 0

    def smoothed(self, window: int = 20) -> list[float]:
        """Loss by step, each the mean of the last ``window`` steps: single batches are too noisy to compare. Raises
        ValueError for a window below 1.
        """
        _whole("window", window, 1)
        ends = range(1, len(self.loss) + 1)
        # Each window by itself: differences of one running sum would forget small losses behind a spike.
        return [math.fsum(self.loss[max(0, end - window) : end]) / min(window, end) for end in ends]

    def final_loss(self, window: int = 20) -> float:
        """Mean loss of the last ``window`` steps; infinite for a run that diverged."""
        _whole("window", window, 1)
        last = self.loss[-window:]
        return math.inf if self.stopped or not last else math.fsum(last) / len(last)

    def steps_to(self, loss: float, window: int = 20) -> int | None:
        """First step (counted from 1) whose smoothed loss is at most ``loss``, once a full window is in; None if
        never.
        """
        for step, value in enumerate(self.smoothed(window), 1):
            if step >= window and value <= loss:
                return step
        return None

    def as_dict(self) -> dict:
        """Plain values for a results file."""
        return asdict(self)


@dataclass(frozen=True)
class Scores:
    """Mean cross-entropy in nats, accuracy as a fraction, and the number of examples that both are means over."""

    loss: float
    accuracy: float
    count: int


def device() -> str:
    """``"cuda"`` where a CUDA GPU is, else ``"cpu"``: the two that the lessons are checked on. Pass ``device="mps"``
    to try a Mac's.
    """
    return "cuda" if torch.cuda.is_available() else "cpu"


_default_device = device  # `fit` has an argument of that name


def usable(device: str | torch.device) -> str:
    """Device -> its name, once it is known that torch can compute on it here. Raises ValueError if not."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        here = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        here += ["mps"] if torch.backends.mps.is_available() else []
        raise ValueError(f"device is one that is here ({', '.join(here)}), not {str(device)!r}") from error
    return str(device)


def budget(*, smoke, laptop, full):
    """``smoke``, ``laptop`` or ``full``, by this run's size: the environment variable LESSON_BUDGET, ``laptop`` unless
    set. Raises ValueError for another name.
    """
    choice = os.environ.get("LESSON_BUDGET") or "laptop"
    _one_of("LESSON_BUDGET", choice, ("smoke", "laptop", "full"))
    return {"smoke": smoke, "laptop": laptop, "full": full}[choice]


class Run:
    """A network in training, between two steps: its optimizer, the running average, the history.

    ``state`` puts down everything that the next step depends on as tensors by name, random numbers included, and
    ``restore`` takes it up, so that a run that was killed goes on as if it never had been. ``share`` is None, or a
    ``processes.Share`` of the work: each process then computes on its part of every batch, and all take the same step.
    ``labels`` are those of the training set, where they are known before the first batch.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, seed: int, device: str, share=None, labels: Tensor | None = None
    ):
        self.model, self.recipe, self.device, self.share, self.labels = model, recipe, device, share, labels
        self.optimizer, self.history = recipe.build(model), History(recipe, seed)
        self.averaged = _averaged(model, recipe.average)
        heads = hasattr(model, "forward_with_aux") and len(getattr(model, "aux", ())) > 0
        self.forward = _Forward(model, heads and recipe.aux_weight > 0)
        if share is not None:
            self.forward = share.wrap(self.forward, unused=heads and recipe.aux_weight == 0)
        self._unread: list[Tensor] = []

    @property
    def best(self) -> nn.Module:
        """What is validated and kept in the end: the averaged network where the recipe averages."""
        return self.model if self.averaged is None else self.averaged.module

    def step(self, number: int, images: Tensor, labels: Tensor) -> None:
        """Train on one batch, or on this process's share of it; ``number`` counts the steps from 0."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(number)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            logits, aux = self.forward(images)
        if number == 0:
            _check_classes(logits.shape[1], labels if self.labels is None else self.labels)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        total = loss
        for extra in aux.values():
            total = total + recipe.aux_weight * F.cross_entropy(
                extra.float(), labels, label_smoothing=recipe.label_smoothing
            )
        loss = loss.detach()
        if self.share is not None:
            loss, weight = self.share.mean(loss, len(labels))
            total = total * weight
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        self._unread.append(loss)
        self.history.steps = number + 1

    def read(self, now: bool) -> None:
        """Bring the losses of the last steps into the history. Reading from a GPU waits for it: rarely, unless
        ``now``.
        """
        if not (now or self.device == "cpu" or len(self._unread) >= 25):
            return
        read = torch.stack(self._unread).tolist()
        self._unread.clear()
        good = next((i for i, value in enumerate(read) if not math.isfinite(value)), len(read))
        self.history.loss += read[:good]
        if good < len(read):
            self.diverged(f"the loss stopped being a number at step {len(self.history.loss) + 1}")

    def diverged(self, sign: str) -> None:
        """Note that the run is over, and what showed it."""
        self.history.stopped = (
            f"{sign}: training has diverged. "
            f"A learning rate below {self.recipe.lr:g}, batch norm or He's starting weights may help."
        )

    def finish(self) -> None:
        """Leave the averaged weights in the network, unless the run diverged."""
        if self.averaged is not None and not self.history.stopped:
            floating = {k: value for k, value in self.averaged.module.state_dict().items() if value.is_floating_point()}
            self.model.load_state_dict(floating, strict=False)  # a count of batches has no average
        self.history.finished = True

    def state(self) -> dict[str, Tensor]:
        """Tensors by name: the whole run after its last step. In several processes, all must ask at once."""
        state = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.averaged is not None:
            state |= {f"averaged.{name}": value for name, value in self.averaged.state_dict().items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            for name, value in values.items():
                if value is not None:  # SGD without momentum has nothing to remember
                    state[f"optimizer.{number}.{name}"] = torch.as_tensor(value)
        state["history.loss"] = torch.tensor(self.history.loss, dtype=torch.float64)
        state["history.validation"] = torch.tensor(self.history.validation, dtype=torch.float64).reshape(-1, 3)
        state["history.seconds"] = torch.tensor(self.history.seconds, dtype=torch.float64)
        for name, value in _random_state(self.device).items():
            rows = [value] if self.share is None else self.share.gather(value)
            state |= {f"random.{name}.{rank}": row for rank, row in enumerate(rows)}
        return state

    def restore(self, state: Mapping[str, Tensor]) -> int:
        """Take up what ``state`` gave; -> the number of steps done. Raises RuntimeError for another network's.

        A process that was not there before draws other random numbers for dropout; nothing else depends on how many
        there are.
        """
        self.model.load_state_dict(_below(state, "model."))
        if self.averaged is not None:
            self.averaged.load_state_dict(_below(state, "averaged."))
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for key, value in _below(state, "optimizer.").items():
            number, _, name = key.partition(".")
            p = parameters[int(number)]
            if value.shape == p.shape:  # in the parameter's order in memory, which the optimizer is quick with
                value = torch.empty_like(p, requires_grad=False).copy_(value)
            self.optimizer.state[p][name] = value
        history, rank = self.history, 0 if self.share is None else self.share.rank
        history.loss = state["history.loss"].tolist()
        history.validation = [(int(step), *scores) for step, *scores in state["history.validation"].tolist()]
        history.seconds, history.steps = float(state["history.seconds"]), len(history.loss)
        _set_random_state(self.device, {name: state.get(f"random.{name}.{rank}") for name in ("cpu", "gpu")})
        return len(history.loss)


def fit(
    model: nn.Module,
    train,
    validation=None,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    device: str | None = None,
    augment: Callable | None = None,
    watch: Callable[[History], None] | None = None,
    validate_every: int | None = None,
    progress: bool = True,
    keep=None,
    share=None,
) -> History:
    """Train ``model`` in place on ``train`` for ``recipe.steps`` steps and return what happened.

    ``seed`` decides the order of the examples, the augmentation and dropout: from the same starting weights, the same
    seed on one machine and thread count gives the same weights, bit for bit. Validation runs every ``validate_every``
    steps and at the end. A loss that is no longer a number ends the run with a sentence in ``history.stopped``. The
    model is left on the device, in evaluation mode; with ``recipe.average`` it holds the averaged weights, unless the
    run was stopped or interrupted: then the weights of the last step, as without.

    Long runs from a script: ``keep`` has ``load()``, whose state of a ``Run`` or None says where to begin, and
    ``save(state)``, called every ``keep.every`` steps and at the end. ``share``, a ``processes.Share``, makes this one
    of several processes that train the network together. Both need a ``train`` of this course's ``data``.

    Raises ValueError if the network has fewer outputs than the labels need, if the set is smaller than one batch, and
    for whatever else cannot be trained with, before anything is changed.
    """
    recipe = recipe or Recipe()
    _check_fit(model, train, recipe, seed, validate_every, watch, keep)
    _check_split("validation", validation, none=True)
    device = usable(device or _default_device())
    known = getattr(train, "labels", None)
    if known is not None and len(known) < recipe.batch_size:
        raise ValueError(
            f"a batch of {recipe.batch_size} needs at least as many training examples; this set has {len(known)}"
        )
    at_once = 500 if share is None else recipe.batch_size // share.world  # what training fits into memory, this fits
    model.to(device, memory_format=torch.channels_last)
    if known is not None and hasattr(train, "take"):
        _check_outputs(model, train, known, device)
    bar = _bar(recipe.steps, progress)
    with _training(model), _seeded(seed, device, share), bar:
        run = Run(model, recipe, seed, device, share, known)
        history = run.history
        state = keep.load() if keep is not None else None
        first = run.restore(state) if state is not None else 0
        bar.update(first)
        start = time.perf_counter()
        batches = _forever(train, recipe, seed, augment, device, first, share)
        for step, (images, labels) in zip(range(first, recipe.steps), batches, strict=False):
            run.step(step, images, labels)
            last = step + 1 == recipe.steps
            validate = validation is not None and (last or _due(step, validate_every))
            save = keep is not None and (last or _due(step, keep.every))
            run.read(now=last or validate or save)
            history.seconds += time.perf_counter() - start
            if validate and not history.stopped:
                scores = evaluate(run.best, validation, batch_size=at_once, device=device, share=share)
                history.validation.append((step + 1, scores.loss, scores.accuracy))
                if last and not math.isfinite(scores.loss):  # there is no next step whose loss would show it
                    run.diverged("the validation loss is no number after the last step")
            if save and not history.stopped:
                keep.save(run.state())
            bar.update()
            if watch is not None:
                watch(history)
            start = time.perf_counter()
            if history.stopped:
                break
        if history.loss:
            bar.set_postfix_str(f"loss {history.final_loss():.3f}" if not history.stopped else "diverged")
    run.finish()
    if watch is not None:
        watch(history)
    return history


@torch.no_grad()
def predict(model: nn.Module, split, *, batch_size: int = 500, device: str | None = None) -> tuple[Tensor, Tensor]:
    """Network and split -> logits (N, K) and labels (N,) on the CPU, in stored order, in evaluation mode.

    ``split`` is one of a set of ``data``. Raises ValueError for what is no network or no split, and for a split
    without examples.
    """
    rows = list(_outputs(model, split, batch_size, device))
    if not rows:
        raise ValueError("this split has no examples to predict")
    return torch.cat([logits.cpu() for logits, _ in rows]), torch.cat([labels.cpu() for _, labels in rows])


@torch.no_grad()
def evaluate(model: nn.Module, split, *, batch_size: int = 500, device: str | None = None, share=None) -> Scores:
    """Network and split -> Scores. Summed over examples, not over batches, so that a short last batch counts for what
    it is.

    With a ``processes.Share`` each process looks at its own examples, and all get the sums over all of them: each
    example counts once, however many processes there are. Raises ValueError as ``predict`` does, and if the network
    has fewer outputs than the labels need.
    """
    loss = correct = count = 0
    for logits, labels in _outputs(model, split, batch_size, device, share):
        _check_classes(logits.shape[1], labels)
        loss += float(F.cross_entropy(logits.float(), labels, reduction="sum"))  # in double, which mps does not have
        correct += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    if share is not None:
        loss, correct, count = share.sum([loss, correct, count])
    if count == 0:
        raise ValueError("this split has no examples to evaluate on")
    return Scores(loss / count, correct / count, int(count))


def _check_outputs(model: nn.Module, train, labels: Tensor, device: str) -> None:
    """One picture, in evaluation mode, before a weight or a running statistic changes."""
    with torch.no_grad(), _evaluating(model):
        for images, _ in train.take(1).batches(1, device=device):
            _check_classes(model(images).shape[1], labels)


def _check_classes(outputs: int, labels: Tensor) -> None:
    """Torch would answer a label that is too large with an IndexError on a CPU and a dead process on a GPU."""
    if labels.is_floating_point() or labels.ndim != 1:
        raise ValueError(f"labels are whole numbers (N,), not {tuple(labels.shape)} {labels.dtype}")
    if int(labels.max()) >= outputs:
        raise ValueError(f"the network has {outputs} outputs, but label {int(labels.max())} came: pass num_classes")
    if int(labels.min()) < 0:
        raise ValueError(f"labels count classes from 0, but label {int(labels.min())} came")


def _check_fit(model, train, recipe, seed, validate_every, watch, keep) -> None:
    """What ``fit`` was given, looked at before a weight or a random number changes."""
    _check_network(model)
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"this {type(model).__name__} has no weights that could learn")
    _check_split("train", train)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe is a train.Recipe, not {recipe!r}")
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise ValueError(f"seed is a whole number, not {seed!r}")
    if validate_every is not None:
        _whole("validate_every", validate_every, 1)
    if watch is not None and not callable(watch):
        raise ValueError(f"watch is a function that is handed the history, such as plots.LiveLoss(), not {watch!r}")
    if keep is not None and not (hasattr(keep, "load") and hasattr(keep, "save") and hasattr(keep, "every")):
        raise ValueError(f"keep has load(), save(state) and every, and {keep!r} does not")


def _check_network(model) -> None:
    if not isinstance(model, nn.Module):
        made = " itself: build one of it, with ()" if isinstance(model, type) else ""
        raise ValueError(f"the network is a torch.nn.Module, not {getattr(model, '__name__', repr(model))}{made}")


def _check_split(name: str, split, none: bool = False) -> None:
    """The commonest slip: the whole set where one of its splits is wanted."""
    if not (hasattr(split, "batches") or none and split is None):
        which = ": say which of its splits, as in images.train" if hasattr(split, "train") else ""
        raise ValueError(f"{name} is a split, with batches(...), not {type(split).__name__}{which}")


class _Forward(nn.Module):
    """images -> logits, auxiliary logits by stage: one ``forward`` for networks with auxiliary classifiers and without,
    since PyTorch's wrapper for several processes knows no other method.
    """

    def __init__(self, model: nn.Module, heads: bool):
        super().__init__()
        self.model, self.heads = model, heads

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.model.forward_with_aux(images) if self.heads else (self.model(images), {})


def _outputs(
    model: nn.Module, split, batch_size: int, device: str | None, share=None
) -> Iterator[tuple[Tensor, Tensor]]:
    _check_network(model)
    _check_split("what is looked at", split)
    first = next(model.parameters(), None)
    device = usable(device or ("cpu" if first is None else str(first.device)))
    part = {}
    if share is not None:
        share.spread(model)
        batch_size, part = batch_size * share.world, {"share": (share.rank, share.world)}
    with _evaluating(model):
        for images, labels in split.batches(batch_size, device=device, **part):
            yield model(images), labels


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each part as it was: a frozen one may differ from the whole."""
    was_training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in was_training:
            module.training = mode


@contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    """Training mode, and evaluation mode afterwards, also where somebody interrupts."""
    model.train()
    try:
        yield
    finally:
        model.eval()


def _forever(
    train, recipe: Recipe, seed: int, augment, device: str, first: int = 0, share=None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pass after pass over the training set, each in another order that depends on the seed alone; from the batch
    ``first`` on, counted from the start of training.
    """
    passes, part = 0, {}
    if share is not None:
        part["share"] = (share.rank, share.world)
    if first:
        passes, part["first"] = divmod(first, len(train) // recipe.batch_size)
    while True:
        empty = True
        order = seed * 100_003 + passes
        for batch in train.batches(recipe.batch_size, seed=order, augment=augment, device=device, **part):
            empty = False
            yield batch
        if empty:
            raise ValueError(f"the training set gave no batch of {recipe.batch_size}")
        passes += 1
        part.pop("first", None)


def _due(step: int, every: int | None) -> bool:
    """Is something due after this step, counted from 0, that happens every so many steps?"""
    return bool(every) and (step + 1) % every == 0


def _averaged(model: nn.Module, decay: float | None):
    """A copy that follows the network's weights and buffers, from those after the first step on; None without decay.

    The buffers too: batch norm's running statistics belong to the weights that they were measured under.
    """
    if decay is None:
        return None
    return swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(decay), use_buffers=True)


@contextmanager
def _seeded(seed: int, device: str, share=None) -> Iterator[None]:
    """Dropout draws from torch's global generator: seed it for this run, and give back what was there.

    Each process drops others, or the shares of a batch would all lose the same units.
    """
    with torch.random.fork_rng(devices=_gpus(device)):
        torch.manual_seed(seed if share is None else seed + 1_000_003 * share.rank)
        yield


def _random_state(device: str) -> dict[str, Tensor]:
    """Where torch's generators stand, as bytes: ``cpu``, and ``gpu`` on a GPU."""
    gpu = [torch.cuda.get_rng_state(index) for index in _gpus(device)]
    return {"cpu": torch.get_rng_state(), **({"gpu": gpu[0]} if gpu else {})}


def _set_random_state(device: str, state: Mapping[str, Tensor | None]) -> None:
    """The generators that ``state`` knows go on from there."""
    if state["cpu"] is not None:
        torch.set_rng_state(state["cpu"])
    for index in _gpus(device):
        if state["gpu"] is not None:
            torch.cuda.set_rng_state(state["gpu"], index)


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _gpus(device: str) -> list[int]:
    """Name of a device -> the number of its GPU, in a list; none for a CPU."""
    if not device.startswith("cuda"):
        return []
    index = torch.device(device).index
    return [torch.cuda.current_device() if index is None else index]


def _bar(steps: int, progress: bool):
    from tqdm.auto import tqdm  # importing it asks what front end listens: not at import of this module

    return tqdm(total=steps, disable=not progress, unit="step", leave=True, mininterval=0.5)


def _is_number(value) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _whole(name: str, value, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is a whole number of at least {least}, not {value!r}")


def _one_of(name: str, value, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is one of {', '.join(map(repr, choices))}, not {value!r}")
