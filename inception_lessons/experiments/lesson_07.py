"""The claims of lesson 07, which are about seconds: V3 beside VGG, and a network that leaves Python."""

import contextlib
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from inception_lessons import data, export, layers, measure, train, weights
from inception_lessons.baselines import NIN, VGG16, AlexNet
from inception_lessons.bn_inception import BNInception
from inception_lessons.experiments.engine import (
    VERDICTS,
    Verdict,
    as_ratio,
    decide_ratio,
    experiment,
    interval,
    judges,
    log_ratios,
)
from inception_lessons.googlenet import GoogLeNet
from inception_lessons.inception_resnet import InceptionResNetV1, InceptionResNetV2
from inception_lessons.inception_v3 import InceptionV3
from inception_lessons.inception_v4 import InceptionV4

#: Every network of the course at its paper's size: how to make it, and the side of the pictures it takes.
FIELD: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "AlexNet": (AlexNet, 224),
    "NIN": (NIN, 224),
    "VGG-16": (VGG16, 224),
    "V1": (GoogLeNet, 224),
    "V1 with batch norm": (functools.partial(GoogLeNet, norm="bn"), 224),
    "V2": (BNInception, 224),
    "V3": (InceptionV3, 299),
    "V4": (InceptionV4, 299),
    "Inception-ResNet-v1": (InceptionResNetV1, 299),
    "Inception-ResNet-v2": (InceptionResNetV2, 299),
}
LAYOUTS = {"channels first": False, "channels last": True}


# ------------------------------------------------------------------------------------------------- F6: V3 beside VGG-16


@experiment(
    "F6",
    claim="V3's forward pass is faster than VGG's although its input is 78 % larger in area",
    threshold="forward pass, evaluation mode, milliseconds an image, VGG-16 at 224 x 224 over V3 at 299 x 299, each in "
    "the memory layout that is faster for it: interval above 1.2 holds, above 1 in part",
    arms={name: {"network": name, "size": size} for name, (_, size) in FIELD.items()},
    datasets=("noise",),
    timed={"batch": 8, "burn_in": 2, "batches": 3, "training_burn_in": 1, "training_batches": 2},
)
def f6(arm, timed, number, images):
    start = time.perf_counter()
    torch.manual_seed(number)
    model, size = FIELD[arm["network"]][0](), arm["size"]
    cost = measure.count(model, size)
    pictures = data.normalize(images.train.take(timed["batch"]).images[:, :, :size, :size])
    found = {"params": cost.params, "macs": cost.macs, "device": train.device(), "forward": {}, "deviation": {}}
    common = {"device": train.device()}
    for layout, last in LAYOUTS.items():
        taken = measure.speed(
            model, pictures, burn_in=timed["burn_in"], batches=timed["batches"], channels_last=last, **common
        )
        found["forward"][layout], found["deviation"][layout] = _ms(taken.mean), _ms(taken.deviation)
    taken = measure.speed(
        model, pictures, burn_in=timed["training_burn_in"], batches=timed["training_batches"], backward=True, **common
    )
    found |= {"training": _ms(taken.mean), "training_deviation": _ms(taken.deviation)}
    return found | {"seconds": round(time.perf_counter() - start, 1)}


def _ms(seconds: float) -> float:
    return float(f"{1e3 * seconds:.5g}")


def at_best(arms: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """Rounds of every network by name -> the same with ``ms``, its forward pass in the memory layout whose mean is the
    lower for it, and ``layout``, that one's name.
    """
    found = {}
    for name, rounds in arms.items():
        layout = min(LAYOUTS, key=lambda layout, rounds=rounds: sum(row["forward"][layout] for row in rounds))
        found[name] = [row | {"ms": row["forward"][layout], "layout": layout} for row in rounds]
    return found


def by_network(runs: Sequence[dict]) -> dict[str, dict[str, float]]:
    """Runs of F6 -> {network: what it costs}: counts, milliseconds an image (mean over the rounds), and their standard
    deviation over the rounds.
    """
    found = {}
    arms = {name: [run for run in runs if run["arm"] == name] for name in FIELD}
    for name, rows in at_best({name: rows for name, rows in arms.items() if rows}).items():
        found[name] = {"params": rows[0]["params"], "macs": rows[0]["macs"], "layout": rows[0]["layout"]}
        columns = {layout: [row["forward"][layout] for row in rows] for layout in LAYOUTS}
        columns |= {key: [row[key] for row in rows] for key in ("ms", "training")}
        for key, values in columns.items():
            found[name] |= {key: statistics.mean(values), f"{key}, deviation": statistics.stdev(values)}
    return found


@judges(f6)
def _(arms):
    best = at_best(arms)
    logs, both = (log_ratios(best, "VGG-16", "V3", key) for key in ("ms", "training"))
    means = {name: sum(row["ms"] for row in best[name]) / len(best[name]) for name in ("VGG-16", "V3")}
    counts = {name: best[name][0]["macs"] for name in means}
    area = (f6.arms["V3"]["size"] / f6.arms["VGG-16"]["size"]) ** 2
    return Verdict(
        decide_ratio(logs, 1.2),
        "milliseconds an image, forward: "
        + ", ".join(f"{name} {value:.1f} ({best[name][0]['layout']})" for name, value in means.items())
        + f"; VGG-16 over V3: {as_ratio(logs)} forward, {as_ratio(both)} forward and backward, where V3's input is "
        f"{area:.2f} times as large and its multiply-adds {counts['VGG-16'] / counts['V3']:.1f} times fewer",
    )


# -------------------------------------------------------------------------------------------------- A3: out of Python

LARGEST, LARGEST_INT8, SLOWEST, DIFFERENCE, LOSS = 30.0, 7.5, 100.0, 1e-3, 0.01


@experiment(
    "A3",
    claim="the network is small enough for an ordinary server or a phone",
    threshold="GoogLeNet at the paper's size as an ONNX file: below 30 MB, as int8 below 7.5 MB; one picture on one "
    "thread of this processor within 100 ms (its interval, float32); float32 logits within 1e-3 of the largest; and "
    "the course's own checkpoint as int8 loses at most 0.01 of test accuracy (its interval). All five: holds, some: in "
    "part",
    arms={name: {"form": name} for name in ("torch", "torch.export", "ONNX", "ONNX int8")},
    timed={"batch": 1, "burn_in": 3, "batches": 20, "calibration": 200},
)
def a3(arm, timed, number, images):
    start, form, size = time.perf_counter(), arm["form"], 224
    kept, paper, laptop = _made()
    folder = Path(kept.name)
    some = images.train.take(range(number * timed["calibration"], (number + 1) * timed["calibration"]))
    calibration = data.normalize(some.images)
    picture = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(number))
    runs, file = _runner(paper, form, size, folder / "paper", noise(8, size))
    small, _ = _runner(laptop, form, 32, folder / "laptop", calibration, number)
    with _one_thread(), torch.inference_mode():
        taken = measure.seconds(lambda: runs(picture), repeats=timed["batches"], burn_in=timed["burn_in"])
        away = measure.agreement(runs(noise(4, size)), paper(noise(4, size)))
        logits = torch.cat([small(x) for x in data.normalize(images.test.images).split(500)])
    return {
        "megabytes": round(file.stat().st_size / 1e6, 3),
        "ms": _ms(taken.mean),
        "deviation": _ms(taken.deviation),
        "difference": float(f"{away.difference:.3g}"),
        "same": measure.agreement(logits, _as_it_was(images)).same,
        "accuracy": float((logits.argmax(1) == images.test.labels).double().mean()),
        "seconds": round(time.perf_counter() - start, 1),
    }


def noise(count: int, size: int) -> Tensor:
    """(count, 3, size, size), the same numbers each time."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count))


@functools.cache
def _made() -> tuple[tempfile.TemporaryDirectory, nn.Module, nn.Module]:
    """A folder for files that is gone with this process, V1 at the paper's size and the checkpoint, both folded."""
    torch.manual_seed(0)
    paper, (laptop, _) = GoogLeNet().eval(), weights.load("googlenet")
    return tempfile.TemporaryDirectory(), layers.fold(paper), layers.fold(laptop)


@functools.cache
def _as_it_was(images: data.ImageSet) -> Tensor:
    """The checkpoint's logits for the test pictures, in torch."""
    with torch.inference_mode():
        return torch.cat([_made()[2](x) for x in data.normalize(images.test.images).split(500)])


def _runner(
    model: nn.Module, form: str, size: int, place: Path, calibration: Tensor, number: int = 0
) -> tuple[Callable, Path]:
    """Network and form -> a function from images to logits on one thread, and its file; made where it is not there, as
    int8 once for each round's calibration.
    """
    plain, small = place.with_suffix(".onnx"), place.with_suffix(f".{number}.onnx")
    if form in ("torch", "torch.export"):
        file = place.with_suffix(".pt2")
        program = _program(model, size)
        if not file.is_file():
            export.save_program(model, file, size)
        return (model if form == "torch" else program.module()), file
    if not plain.is_file():
        export.to_onnx(model, plain, size)
    if form == "ONNX int8" and not small.is_file():
        export.quantize(plain, small, calibration)
    file = small if form == "ONNX int8" else plain
    return export.session(file, threads=1), file


@functools.cache
def _program(model: nn.Module, size: int) -> torch.export.ExportedProgram:
    return export.to_program(model, size)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@judges(a3)
def _(arms):
    ms = interval([row["ms"] for row in arms["ONNX"]])
    lost = interval([a["accuracy"] - b["accuracy"] for a, b in zip(arms["torch"], arms["ONNX int8"], strict=True)])
    size, small = (max(row["megabytes"] for row in arms[name]) for name in ("ONNX", "ONNX int8"))
    away = max(row["difference"] for row in arms["ONNX"])
    met = {
        f"{size:.1f} MB": size < LARGEST,
        f"{small:.1f} MB as int8": small < LARGEST_INT8,
        f"one picture on one thread {ms.mean:.0f} ms [{ms.low:.0f}, {ms.high:.0f}]": ms.high < SLOWEST,
        f"float32 logits {'within' if away < DIFFERENCE else 'not within'} 1e-3": away < DIFFERENCE,
        f"the checkpoint's accuracy minus that of its int8 form {lost}": lost.high <= LOSS,
    }
    word = VERDICTS[0] if all(met.values()) else VERDICTS[1] if any(met.values()) else VERDICTS[3]
    int8, same = interval([row["ms"] for row in arms["ONNX int8"]]), min(row["same"] for row in arms["ONNX int8"])
    return Verdict(
        word,
        "; ".join(f"{said} ({'met' if good else 'missed'})" for said, good in met.items())
        + f"; int8 takes {int8.mean:.0f} ms and decides as float32 did on {same:.1%} of the test pictures or more. On "
        "this processor: a phone itself cannot be shown here",
    )
