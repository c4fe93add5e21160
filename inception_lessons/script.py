"""Training out of a lesson: ``python -m inception_lessons train NETWORK --data SET --out FOLDER``, alone or under
``torchrun``.

The folder then holds ``log.jsonl``, ``checkpoint.safetensors`` (all that the run needs to go on) and, at the end,
``weights.safetensors``, which ``weights.load`` reads. A run that was killed goes on with the same command, and ends
where it would have ended.
"""

import argparse
import ast
import contextlib
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import torch
from torch import Tensor

from inception_lessons import data, locks, processes, train, weights
from inception_lessons.processes import Share
from inception_lessons.train import History, Recipe

SETS = {"digits": data.digits_in_the_wild, "mnist": data.mnist_digits, "cifar10": data.cifar10}
SKIP = "leave such images out: --on-corrupt skip"
SIDE_299 = ("InceptionV3", "InceptionV4", "InceptionResNetV1", "InceptionResNetV2")  # the other papers have 224


def main(arguments: Sequence[str]) -> int:
    """Train a network on a set of images and keep it; the same command goes on with a run that was stopped."""
    chosen = _parser().parse_args(arguments)
    recipe = _recipe(chosen)
    with processes.join(chosen.device) as share:
        if recipe.batch_size % share.world:
            raise ValueError(
                f"--batch-size {recipe.batch_size} is for all processes together and cannot be shared out evenly "
                f"among {share.world}"
            )
        try:
            said = _train(chosen, recipe, share)
        except (RuntimeError, MemoryError) as error:
            if not _is_memory(error):
                raise
            raise MemoryError(_too_large(error, chosen, recipe, share)) from error
        except ValueError as error:  # of data.image_folder, which knows no options
            raise ValueError(str(error).replace('say image_folder(..., on_error="skip")', SKIP)) from error
        if share.rank == 0:
            print(said, file=sys.stderr)
    return 0


def _train(chosen: argparse.Namespace, recipe: Recipe, share: Share) -> str:
    """The whole run -> a sentence on how it ended."""
    if share.world == 1:
        train.usable(share.device)
    images = _images(chosen)
    arguments = {"num_classes": len(images.classes), **dict(chosen.set)}
    settings = _settings(chosen, recipe, images, arguments)
    try:
        with torch.device("meta"):  # no numbers yet: a slip in --set is answered before there is a folder
            weights.build(chosen.network, arguments, chosen.preset)
    except TypeError as error:
        raise ValueError(f"--set does not fit {chosen.network}: {error}") from error
    with _alone(Path(chosen.out), share):
        return _run(chosen, recipe, share, images, arguments, settings)


@contextlib.contextmanager
def _alone(folder: Path, share: Share) -> Iterator[None]:
    """Two runs in one folder would write over each other's log and checkpoint: the second says who is there."""
    if share.rank:
        yield
        return
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locks.alone(folder / ".run.lock"))
        except BlockingIOError as error:
            raise BlockingIOError(f"{folder} is {error}: wait for it, end it, or give another --out") from error
        except FileExistsError as error:
            raise NotADirectoryError(f"--out is a folder, and {folder} is a file") from error
        except OSError as error:
            said = f"nothing can be written into {folder} ({error.strerror or error})"
            raise OSError(f"{said}: give another --out") from error
        yield


def _run(chosen, recipe: Recipe, share: Share, images: data.ImageSet, arguments: dict, settings: dict) -> str:
    checkpoint = Checkpoint(Path(chosen.out), settings, chosen.save_every, share)
    torch.manual_seed(chosen.seed)
    model = share.prepare(weights.build(chosen.network, arguments, chosen.preset))
    log = None
    if share.rank == 0:
        print(
            f"{chosen.network} with {sum(p.numel() for p in model.parameters()):,} parameters, {len(images.train):,} "
            f"images of {images.name}, {share.world} x {share.device.split(':')[0]}",
            file=sys.stderr,
        )
        log = Log(Path(chosen.out), chosen.log_every, recipe, checkpoint.step)
    history = train.fit(
        model,
        images.train,
        images.validation if len(images.validation) else None,
        recipe,
        seed=chosen.seed,
        device=share.device,
        augment=data.Augment(chosen.crop, chosen.flip) if chosen.crop or chosen.flip else None,
        watch=log,
        validate_every=chosen.validate_every,
        progress=False,
        keep=checkpoint,
        share=share,
    )
    if history.stopped:
        raise ValueError(history.stopped)
    found = {"steps": len(history.loss), "final_loss": history.final_loss()}
    if history.validation:
        found["validation_accuracy"] = history.validation[-1][2]
    if len(images.test):
        at_once = recipe.batch_size // share.world
        found["test_accuracy"] = train.evaluate(model, images.test, batch_size=at_once, share=share).accuracy
    if share.rank == 0:
        about = {"network": chosen.network, "preset": chosen.preset, "settings": arguments, "run": settings}
        path = Path(chosen.out) / "weights.safetensors"
        try:
            weights.save(path, model, {**about, **found, "classes": images.classes, "torch": torch.__version__})
        except OSError as error:
            raise OSError(f"{weights.unwritable(path, error)}. {checkpoint.whole()}") from error
    return ", ".join(f"{name.replace('_', ' ')} {value:.6g}" for name, value in found.items()) + f": {chosen.out}"


# --------------------------------------------------------------------------------------------------- what was asked for


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m inception_lessons train", description=main.__doc__)
    add = parser.add_argument
    add("network", choices=weights.NETWORKS, metavar="NETWORK", help=", ".join(weights.NETWORKS))
    add("--data", required=True, help=f"{', '.join(SETS)}, or a folder with one folder for each class")
    add("--out", required=True, metavar="FOLDER", help="for the log, the checkpoint and the weights")
    add("--preset", choices=("laptop", "paper"), default="laptop", help="size of the network (default: laptop)")
    add("--set", action="append", default=[], type=_assignment, metavar="NAME=VALUE", help="an argument of the network")
    add("--seed", type=int, default=0, help="of weights, order, augmentation and dropout (default: 0)")
    add("--crop", type=int, default=0, help="shift by up to so many pixels; folders: crops of any size")
    add("--flip", action="store_true", help="mirror half of the images")
    add("--size", type=_positive, help="side of a folder's images (default: 32, or the paper's)")
    add("--on-corrupt", choices=("refuse", "skip"), default="refuse", help="unreadable images (default: refuse)")
    add("--workers", type=int, help="processes that read a folder's images, for each process that trains")
    add("--device", help="cpu, cuda or mps (default: a CUDA GPU where there is one)")
    add("--save-every", type=_positive, default=500, metavar="STEPS", help="between checkpoints (default: 500)")
    add("--validate-every", type=_positive, metavar="STEPS", help="between validations (default: at the end only)")
    add("--log-every", type=_positive, default=50, metavar="STEPS", help="between lines of the log (default: 50)")
    group = parser.add_argument_group("recipe", "as train.Recipe says; --batch-size is that of all processes together")
    group.add_argument("--recipe", choices=("plain", "inception_v3"), default="plain", help="what the others change")
    for field in fields(Recipe):
        kind = field.type if isinstance(field.type, type) else _number_or_none
        option = f"--{field.name.replace('_', '-')}"
        group.add_argument(option, type=kind, default=argparse.SUPPRESS, help=f"(plain: {field.default})")
    return parser


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number of at least 1, not {text}")
    return int(text)


def _number_or_none(text: str) -> float | None:
    return None if text.lower() == "none" else float(text)


def _assignment(text: str) -> tuple[str, object]:
    """``width=0.5`` -> ("width", 0.5); what is no number, tuple, True, False or None is a word."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"wanted NAME=VALUE, not {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _recipe(chosen: argparse.Namespace) -> Recipe:
    changes = {field.name: getattr(chosen, field.name) for field in fields(Recipe) if field.name in chosen}
    return Recipe.inception_v3(**changes) if chosen.recipe == "inception_v3" else Recipe(**changes)


def _images(chosen: argparse.Namespace) -> data.ImageSet:
    if chosen.data in SETS:
        if chosen.size is not None:
            raise ValueError(f"--size is for folders; the images of {chosen.data} are as large as they are")
        return SETS[chosen.data]()
    if not Path(chosen.data).is_dir():
        raise FileNotFoundError(f"--data is one of {', '.join(SETS)} or a folder, and there is no folder {chosen.data}")
    on_error = "skip" if chosen.on_corrupt == "skip" else "raise"
    return data.image_folder(chosen.data, _side(chosen), workers=chosen.workers, on_error=on_error)


def _side(chosen: argparse.Namespace) -> int | None:
    """Side of a folder's images, in pixels; None for a set whose images have their size."""
    if chosen.data in SETS:
        return None
    papers = 299 if chosen.network in SIDE_299 else 224
    return chosen.size or (papers if chosen.preset == "paper" else 32)


def _settings(chosen: argparse.Namespace, recipe: Recipe, images: data.ImageSet, arguments: dict) -> dict:
    """Everything that decides how the run ends, by option, as JSON gives it back. Who computes it is no part of it."""
    found = {"network": chosen.network, "preset": chosen.preset, **{f"set {k}": v for k, v in arguments.items()}}
    found |= {"data": images.name, "contents of data": data.fingerprint(images), "size": _side(chosen)}
    found |= {"seed": chosen.seed, "crop": chosen.crop, "flip": chosen.flip, "on-corrupt": chosen.on_corrupt}
    return json.loads(json.dumps(found | {name.replace("_", "-"): v for name, v in asdict(recipe).items()}))


def _differences(old: dict, new: dict) -> list[str]:
    """Names of the settings that are not the same in both."""
    return [name for name in old | new if old.get(name) != new.get(name)]


# ------------------------------------------------------------------------------------------------- what is written down


class Checkpoint:
    """``checkpoint.safetensors`` of a folder: the state of a ``train.Run`` after ``step`` steps, and its settings.

    One file, written beside and renamed: whenever the run is killed, there is one whole checkpoint or none yet. Process
    0 reads and writes it; the others are told. Raises ValueError for a damaged one, and for one of other settings.
    """

    def __init__(self, folder: Path, settings: dict, every: int, share: Share):
        self.path, self.settings, self.every, self.share = folder / "checkpoint.safetensors", settings, every, share
        first = json.loads(share.send(json.dumps(settings).encode()))
        if others := _differences(first, settings):
            said = "; ".join(f"{name}: {first.get(name)}, {settings.get(name)}" for name in others)
            raise ValueError(f"process 0 and process {share.rank} do not agree: {said}")
        if share.rank == 0:
            for part in folder.glob("*.part"):  # a run was killed while it wrote
                part.unlink()
        found = share.send(self.path.read_bytes() if share.rank == 0 and self.path.exists() else b"")
        self._state = self._checked(found) if found else None
        self.step = len(self._state["history.loss"]) if self._state else 0

    def _checked(self, content: bytes) -> dict[str, Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            state = load(content)
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            settings = json.loads(header["__metadata__"]["settings"])
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged or no checkpoint of a run ({error}): move it away") from error
        if others := _differences(settings, self.settings):
            said = "; ".join(f"{name} was {settings.get(name)} and is {self.settings.get(name)} now" for name in others)
            raise ValueError(
                f"{self.path.parent} holds a run with other settings: {said}. Say what was said then to go on with "
                "that run, or give another --out"
            )
        return state

    def load(self) -> dict[str, Tensor] | None:
        """The state to begin with, once: it takes as much memory as the run. None for a new run."""
        state, self._state = self._state, None
        return state

    def save(self, state: dict[str, Tensor]) -> None:
        """The state takes the place of the one before. Raises OSError, and leaves that one, if it cannot be written."""
        from safetensors.torch import save

        if self.share.rank:
            return
        state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        content = save(state, metadata={"settings": json.dumps(self.settings)})
        try:
            weights.write(self.path, content)
        except OSError as error:
            raise OSError(f"{weights.unwritable(self.path, error, len(content))}. {self.whole()}") from error
        self.step = len(state["history.loss"])

    def whole(self) -> str:
        """What can be gone on from, for the end of an error."""
        if not self.step:
            return "There is no earlier checkpoint"
        return f"The checkpoint of step {self.step} is whole: with room on the disk, the same command goes on from it"


class Log:
    """One line of JSON in ``log.jsonl`` for every so many steps, and the same for people on stderr.

    ``loss`` is the mean since the line before, in nats; ``eta_seconds`` what is left at this process's pace so far.
    Lines after ``first``, the step that the run goes on from, tell of steps that were lost: they will come again.
    """

    def __init__(self, folder: Path, every: int, recipe: Recipe, first: int):
        self.path, self.every, self.recipe, self.first = folder / "log.jsonl", every, recipe, first
        if first:
            print(f"going on after step {first:,}: {folder}", file=sys.stderr)
        kept = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in kept if _step_of(line) <= first]
        weights.write(self.path, "".join(f"{line}\n" for line in kept).encode())
        steps = [_step_of(line) for line in kept if "images_per_second" in line]
        self.step, self.rows = max(steps, default=0), len(kept) - len(steps)
        self.read, self.time, self.start = first, time.perf_counter(), None

    def __call__(self, history: History) -> None:
        """Called after each step: a line where one is due."""
        done = len(history.loss)
        if self.start is None:  # the first step takes longer than the others, and says little about them
            self.start, self.first = time.perf_counter(), self.first + 1
        if done > self.step and (done // self.every > self.step // self.every or done == self.recipe.steps):
            self._progress(history.loss[self.step :], done)
        for step, loss, accuracy in history.validation[self.rows :]:
            known = loss if math.isfinite(loss) else None  # JSON has no nan
            self._write({"step": step, "validation_loss": known, "validation_accuracy": accuracy})
            print(f"step {step:,}: validation loss {loss:.4f}, accuracy {accuracy:.2%}", file=sys.stderr)
            self.rows += 1

    def _progress(self, losses: list[float], done: int) -> None:
        now = time.perf_counter()
        left = (now - self.start) / max(1, done - self.first) * (self.recipe.steps - done)
        line = {
            "step": done,
            "loss": sum(losses) / len(losses),
            "rate": self.recipe.rate(done - 1),
            "images_per_second": round(self.recipe.batch_size * (done - self.read) / (now - self.time), 1),
            "eta_seconds": round(left, 1),
        }
        self._write(line)
        self.step = self.read = done
        self.time = now
        print(
            f"step {done:,} of {self.recipe.steps:,}: loss {line['loss']:.4f}, rate {line['rate']:.3g}, "
            f"{line['images_per_second']:,.0f} images/s, {_duration(left)} to go",
            file=sys.stderr,
        )

    def _write(self, line: dict) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OSError(f"{weights.unwritable(self.path, error)}. The last checkpoint is whole") from error


def _step_of(line: str) -> float:
    """The step of a line of the log; infinite for half a line, which a killed run may leave."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _duration(seconds: float) -> str:
    """3725 -> "1 h 2 min"."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60:,} h {minutes % 60} min"
    return f"{minutes} min" if minutes >= 2 else f"{seconds:.0f} s"


# ---------------------------------------------------------------------------------------------------- too little memory


def _is_memory(error: Exception) -> bool:
    """Is it memory that ran out? On a CPU torch raises a RuntimeError like any other."""
    words = ("can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)


def _too_large(error: Exception, chosen, recipe: Recipe, share: Share) -> str:
    each = f", {recipe.batch_size // share.world} in each process" if share.world > 1 else ""
    width = dict(chosen.set).get("width", f"the {chosen.preset} preset's")
    size = "" if chosen.data in SETS else f"; a smaller --size (now {_side(chosen)})"
    narrow = "; --precision bfloat16 (now float32)" if recipe.precision == "float32" else ""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"{share.device} ran out of memory. What needs less: a smaller --batch-size (now {recipe.batch_size}{each}), "
        f"or more processes{narrow}; a thinner network, --set width=... (now {width}){size}. Torch says: {said}"
    )
