"""How fast networks are out of Python, beside a peer's: `python tests/bench_export.py [--quick]`; bench.py has it too.

One picture on one thread, milliseconds: as it is, as a program of torch.export, in onnxruntime, and there with 8 bits.
Ours and torchvision's have the same weights and run in turn. And the course's stopwatch beside torch's own.
"""

import argparse
import copy
import functools
import sys
import tempfile
from pathlib import Path

import torch
from bench import Line, spread
from bench_networks import ROWS, Row, forward, in_turn, pair, ratio
from torch import nn

from inception_lessons import export, layers, measure
from inception_lessons.plots import table

TURNS = {False: 8, True: 3}
CHOSEN = {False: ("V1", "V3", "AlexNet", "VGG-16"), True: ("V1",)}


def forms(model: nn.Module, side: int, folder: Path, name: str) -> dict[str, tuple]:
    """Network -> {form: (function from images, bytes on disk)}: what it can leave Python as."""
    program = export.to_program(model, side).module()
    size = sum(p.numel() * p.element_size() for p in model.state_dict().values())
    found = {
        "torch": (functools.partial(forward, model), size),
        "torch.export": (functools.partial(forward, program), size),
    }
    if not export.missing():
        files = {"ONNX": export.to_onnx(model, folder / f"{name}.onnx", side)}
        noise = torch.randn(8, 3, side, side)
        files["ONNX int8"] = export.quantize(files["ONNX"], folder / f"{name}.int8.onnx", noise)
        found |= {form: (export.session(file, threads=1), file.stat().st_size) for form, file in files.items()}
    return found


def rows_of(row: Row, turns: int) -> list[list[object]]:
    """A row of the table for each form of a network, ours folded first, and of its peer."""
    ours, theirs = pair(row, "cpu")
    x, folded = torch.randn(1, 3, row.side, row.side), layers.fold(ours)
    with tempfile.TemporaryDirectory() as folder:
        mine = forms(folded, row.side, Path(folder), "ours")
        peer = {} if theirs is None else forms(theirs, row.side, Path(folder), "theirs")
        works = {f"ours, {form}": functools.partial(run, x) for form, (run, _) in mine.items()}
        works |= {f"theirs, {form}": functools.partial(run, x) for form, (run, _) in peer.items()}
        times = in_turn(works, turns)
        wanted = forward(ours, x)
        made = []
        for form, (run, size) in mine.items():
            away = measure.agreement(run(x), wanted).difference
            per = [
                f"{1e3 * min(times[who]):.1f}" if who in times else "" for who in (f"ours, {form}", f"theirs, {form}")
            ]
            ratios = [ratio(times, f"ours, {form}", f"theirs, {form}"), ratio(times, f"ours, {form}", "ours, torch")]
            made.append([row.name, form, f"{size / 1e6:.1f}", f"{away:.0e}", *per, *ratios])
    return made


def stopwatch(turns: int) -> str:
    """``measure.speed`` beside ``torch.utils.benchmark`` on one network: the ratio of the two should be 1."""
    from torch.utils.benchmark import Timer

    model, x = copy.deepcopy(next(row for row in ROWS if row.name == "V1").ours()).eval(), torch.randn(2, 3, 224, 224)
    plain = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    ratios = []
    for _ in range(turns):
        ours = measure.speed(model, x, burn_in=2, batches=5).mean * len(x)
        timer = Timer("forward(model, x)", globals={"forward": forward, "model": plain[0], "x": plain[1]},
                      num_threads=torch.get_num_threads())  # fmt: skip
        ratios.append(ours / timer.timeit(5).mean)
    return spread(ratios)


def measured(quick: bool = False) -> tuple[str, list[Line]]:
    """The tables, and the lines of the page. ``quick``: of V1 only."""
    chosen, threads = [row for row in ROWS if row.name in CHOSEN[quick]], torch.get_num_threads()
    torch.manual_seed(0)
    watch = stopwatch(TURNS[quick])
    torch.set_num_threads(1)
    try:
        rows = [line for row in chosen for line in rows_of(row, TURNS[quick])]
    finally:
        torch.set_num_threads(threads)
    columns = [
        "network",
        "form",
        "MB",
        "logits differ by",
        "ours, ms",
        "theirs, ms",
        "ours / theirs",
        "ours / in torch",
    ]
    lacking = f" {export.missing()}." * bool(export.missing())
    text = (
        "## Out of Python\n\nOne picture on one thread, fastest of the turns; ours with batch norm folded, theirs "
        f"(torchvision) as it comes, same weights, in turn.{lacking}\n\n{table(columns, rows)}\n\n`measure.speed` over "
        f"`torch.utils.benchmark`, V1, batch 2: {watch}"
    )
    lines = []
    for name, form, _, _, ours, theirs, quotient, _ in rows:
        if form.startswith("ONNX") and theirs:
            lines.append(Line(f"{name}, {form}, a picture", f"{ours} ms", f"{theirs} ms", "torchvision", quotient))
    return text, [*lines, Line("measure.speed, V1", peer="torch.utils.benchmark", ours="", ratio=watch)]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Networks out of Python, beside torchvision's.")
    parser.add_argument("--quick", action="store_true", help="V1 only")
    print(measured(parser.parse_args(arguments).quick)[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
