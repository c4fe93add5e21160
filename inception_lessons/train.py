"""One training loop for every lesson: ``fit``, ``evaluate``, ``predict``, and the ``Recipe`` and ``History`` they
speak in.

The loop knows no network, no data set and no chart. A data set is anything with ``batches(batch_size, seed=,
augment=, device=)`` that yields (images, labels); whoever wants to see the run passes ``watch``, a function that is
handed the history after each step.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
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
            if not (isinstance(value, int) and value >= least):
                raise ValueError(f"{name} is a whole number of at least {least}, not {value!r}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr is a number above 0, not {self.lr!r}")
        if self.clip is not None and not (math.isfinite(self.clip) and self.clip > 0):
            raise ValueError(f"clip is a number above 0 or None, not {self.clip!r}")
        if self.average is not None and not 0 < self.average < 1:
            raise ValueError(f"average is above 0 and below 1 or None, not {self.average!r}")
        for name, below in (
            ("momentum", 1),
            ("label_smoothing", 1),
            ("weight_decay", math.inf),
            ("aux_weight", math.inf),
        ):
            if not 0 <= getattr(self, name) < below:
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
        """Learning rate of a step, counted from 0."""
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
    """What happened in a run: ``loss`` by step (nats, mean over the batch, auxiliary losses left out), ``validation``
    as rows of (step, loss, accuracy), ``seconds`` of training without validation and drawing, and ``stopped``: a
    sentence if the run ended early, else None.
    """

    recipe: Recipe
    seed: int = 0
    loss: list[float] = field(default_factory=list)
    validation: list[tuple[int, float, float]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str | None = None
    finished: bool = False

    def smoothed(self, window: int = 20) -> list[float]:
        """Loss by step, each the mean of the last ``window`` steps: single batches are too noisy to compare."""
        sums = [0.0]
        for value in self.loss:
            sums.append(sums[-1] + value)
        return [(sums[i + 1] - sums[max(0, i + 1 - window)]) / min(window, i + 1) for i in range(len(self.loss))]

    def final_loss(self, window: int = 20) -> float:
        """Mean loss of the last ``window`` steps; infinite for a run that diverged."""
        return math.inf if self.stopped or not self.loss else self.smoothed(window)[-1]

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


def budget(*, smoke, laptop, full):
    """The value for this run's size: the environment variable LESSON_BUDGET, ``laptop`` unless set. Raises ValueError
    for another name.
    """
    choice = os.environ.get("LESSON_BUDGET") or "laptop"
    _one_of("LESSON_BUDGET", choice, ("smoke", "laptop", "full"))
    return {"smoke": smoke, "laptop": laptop, "full": full}[choice]


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
) -> History:
    """Train ``model`` in place on ``train`` for ``recipe.steps`` steps and return what happened.

    ``seed`` decides the order of the examples, the augmentation and dropout: from the same starting weights, the same
    seed on one machine and thread count gives the same weights, bit for bit. Validation runs every ``validate_every``
    steps and at the end. A loss that is no longer a number ends the run with a sentence in ``history.stopped``. The
    model is left on the device, in evaluation mode; with ``recipe.average`` it holds the averaged weights, unless the
    run was stopped or interrupted: then the weights of the last step, as without.

    Raises ValueError if the network has fewer outputs than the labels need, or the set is smaller than one batch.
    """
    recipe = recipe or Recipe()
    device = device or _default_device()
    known = getattr(train, "labels", None)
    if known is not None and len(known) < recipe.batch_size:
        raise ValueError(
            f"a batch of {recipe.batch_size} needs at least as many training examples; this set has {len(known)}"
        )
    model.to(device, memory_format=torch.channels_last).train()
    optimizer, history = recipe.build(model), History(recipe, seed)
    averaged = _averaged(model, recipe.average)
    heads = recipe.aux_weight > 0 and len(getattr(model, "aux", ())) > 0
    read_every = 1 if device == "cpu" else 25  # reading a loss from a GPU waits for it: do that rarely
    pending: list[Tensor] = []
    bar = _bar(recipe.steps, progress)
    with _seeded(seed, device), bar:
        start = time.perf_counter()
        for step, (images, labels) in enumerate(_forever(train, recipe, seed, augment, device)):
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate(step)
            with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                logits, aux = model.forward_with_aux(images) if heads else (model(images), {})
            if step == 0:
                _check_classes(logits.shape[1], labels if known is None else known)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
            total = loss
            for extra in aux.values():
                total = total + recipe.aux_weight * F.cross_entropy(
                    extra.float(), labels, label_smoothing=recipe.label_smoothing
                )
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            if recipe.clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            if averaged is not None:
                averaged.update_parameters(model)

            pending.append(loss.detach())
            last = step + 1 == recipe.steps
            validate = validation is not None and (last or (validate_every and (step + 1) % validate_every == 0))
            if len(pending) >= read_every or last or validate:
                read = torch.stack(pending).tolist()
                pending.clear()
                good = next((i for i, value in enumerate(read) if not math.isfinite(value)), len(read))
                history.loss += read[:good]
                if good < len(read):
                    history.stopped = (
                        f"the loss stopped being a number at step {len(history.loss) + 1}: training has diverged. "
                        f"A learning rate below {recipe.lr:g}, batch norm or He's starting weights may help."
                    )
            history.seconds += time.perf_counter() - start
            if validate and not history.stopped:
                scores = evaluate(model if averaged is None else averaged.module, validation, device=device)
                history.validation.append((step + 1, scores.loss, scores.accuracy))
            bar.update()
            if watch is not None:
                watch(history)
            start = time.perf_counter()
            if last or history.stopped:
                break
        if history.loss:
            bar.set_postfix_str(f"loss {history.smoothed()[-1]:.3f}" if not history.stopped else "diverged")
    if averaged is not None and not history.stopped:
        floating = {name: value for name, value in averaged.module.state_dict().items() if value.is_floating_point()}
        model.load_state_dict(floating, strict=False)  # a count of batches has no average
    history.finished = True
    model.eval()
    if watch is not None:
        watch(history)
    return history


@torch.no_grad()
def predict(model: nn.Module, split, *, batch_size: int = 500, device: str | None = None) -> tuple[Tensor, Tensor]:
    """Network and split -> logits (N, K) and labels (N,) on the CPU, in stored order, in evaluation mode."""
    rows = list(_outputs(model, split, batch_size, device))
    if not rows:
        raise ValueError("this split has no examples to predict")
    return torch.cat([logits.cpu() for logits, _ in rows]), torch.cat([labels.cpu() for _, labels in rows])


@torch.no_grad()
def evaluate(model: nn.Module, split, *, batch_size: int = 500, device: str | None = None) -> Scores:
    """Network and split -> Scores. Summed over examples, not over batches, so that a short last batch counts for what
    it is.
    """
    loss = correct = count = 0
    for logits, labels in _outputs(model, split, batch_size, device):
        loss += F.cross_entropy(logits.float(), labels, reduction="sum").double()
        correct += (logits.argmax(1) == labels).sum()
        count += len(labels)
    if count == 0:
        raise ValueError("this split has no examples to evaluate on")
    return Scores(float(loss) / count, float(correct) / count, count)


def _check_classes(outputs: int, labels: Tensor) -> None:
    """Torch would answer a label that is too large with an IndexError on a CPU and a dead process on a GPU."""
    if int(labels.max()) >= outputs:
        raise ValueError(f"the network has {outputs} outputs, but label {int(labels.max())} came: pass num_classes")


def _outputs(model: nn.Module, split, batch_size: int, device: str | None) -> Iterator[tuple[Tensor, Tensor]]:
    device = device or str(next(model.parameters()).device)
    was_training = model.training
    model.eval()
    try:
        for images, labels in split.batches(batch_size, device=device):
            yield model(images), labels
    finally:
        model.train(was_training)


def _forever(train, recipe: Recipe, seed: int, augment, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Pass after pass over the training set, each in another order that depends on the seed alone."""
    passes = 0
    while True:
        empty = True
        for batch in train.batches(recipe.batch_size, seed=seed * 100_003 + passes, augment=augment, device=device):
            empty = False
            yield batch
        if empty:
            raise ValueError(f"the training set gave no batch of {recipe.batch_size}")
        passes += 1


def _averaged(model: nn.Module, decay: float | None):
    """A copy that follows the network's weights and buffers, from those after the first step on; None without decay.

    The buffers too: batch norm's running statistics belong to the weights that they were measured under.
    """
    if decay is None:
        return None
    return swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(decay), use_buffers=True)


@contextmanager
def _seeded(seed: int, device: str) -> Iterator[None]:
    """Dropout draws from torch's global generator: seed it for this run, and give back what was there."""
    with torch.random.fork_rng(devices=_gpus(device)):
        torch.manual_seed(seed)
        yield


def _gpus(device: str) -> list[int]:
    """Name of a device -> the number of its GPU, in a list; none for a CPU."""
    if not device.startswith("cuda"):
        return []
    index = torch.device(device).index
    return [torch.cuda.current_device() if index is None else index]


def _bar(steps: int, progress: bool):
    from tqdm.auto import tqdm  # importing it asks what front end listens: not at import of this module

    return tqdm(total=steps, disable=not progress, unit="step", leave=True, mininterval=0.5)


def _one_of(name: str, value, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is one of {', '.join(map(repr, choices))}, not {value!r}")
