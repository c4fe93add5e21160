"""How fast the course is beside its peers, on one page: `python tests/bench.py [--quick] [--only SECTION ...]`.

Times depend on the machine and on what else it does, so nothing here passes or fails. Two things that are compared run
in turn, pair by pair, and what is told is the median ratio of the pairs with the lowest and the highest: ours over the
peer's, in seconds or bytes, so below 1 the course is the better one. The page is printed; build/bench.md has each
section's own tables below it.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from inception_lessons import assignments, baselines, data, experiments, googlenet, train
from inception_lessons.plots import table

ROOT = Path(__file__).resolve().parent.parent
BATCH, CROP, RATE = 64, 2, 0.05
ROUNDS = 5


class Line(NamedTuple):
    """A line of the page: what is measured, ours, the peer's with their units, who the peer is, the ratio. "" where
    there is no peer.
    """

    what: str
    ours: str
    theirs: str = ""
    peer: str = ""
    ratio: str = ""


class Section(NamedTuple):
    """What a section found: its own tables in Markdown, and its lines of the page."""

    text: str
    lines: list[Line]


def page(lines: Sequence[Line]) -> str:
    """Lines -> one Markdown table, its columns padded so that it reads well as it is."""
    rows = [Line("what", "ours", "the peer's", "peer", "ours / peer's"), *lines]
    widths = [max(len(row[place]) for row in rows) for place in range(len(Line._fields))]
    rows.insert(1, Line(*("-" * width for width in widths)))
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


class Pictures(Dataset):
    """What a user would write first: one picture at a time, made ready in `__getitem__`."""

    def __init__(self, split: data.Split):
        self.pixels, self.labels = split.pixels, split.labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.pixels[index].permute(2, 0, 1).float() / 255
        side = image.shape[1]
        image = F.pad(image, (CROP,) * 4, mode="reflect")
        top, left = torch.randint(0, 2 * CROP + 1, (2,)).tolist()
        image = image[:, top : top + side, left : left + side]
        if torch.rand(()) < 0.5:
            image = image.flip(2)
        return (image - 0.5) / 0.5, self.labels[index]


def plain_loop(model: nn.Module, split: data.Split, steps: int, workers: int, device: str) -> None:
    """The usual loop: DataLoader, SGD with momentum, a falling rate, the loss noted at every step."""
    model.to(device).train()
    loader = DataLoader(
        Pictures(split),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=device != "cpu",
    )
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    losses: list[float] = []
    while True:
        for images, labels in loader:
            loss = F.cross_entropy(model(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
            if len(losses) == steps:
                model.eval()
                return


def our_loop(model: nn.Module, split: data.Split, steps: int, device: str) -> None:
    """The same with `train.fit`, progress bar and all."""
    recipe = train.Recipe(steps=steps, batch_size=BATCH, lr=RATE)
    with contextlib.redirect_stderr(io.StringIO()):
        train.fit(model, split, recipe=recipe, augment=data.Augment(crop=CROP, flip=True), device=device)


def tiny() -> nn.Module:
    """One convolution on patches of 8 x 8: a network so quick that the data decides."""
    return nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 10))


def seconds(work: Callable[[], object]) -> float:
    """A function without arguments -> the seconds it takes, a GPU's queue included."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Values -> "median (lowest to highest)"."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def bench_loops(quick: bool) -> Section:
    """Steps per second of both loops on three networks, and their ratios pair by pair."""
    device, split = train.device(), data.digits_in_the_wild().train
    networks = {
        "one convolution: the data is the bottleneck": (tiny, 156, 468),  # passes over 10,000 images
        "Plain": (baselines.Plain.laptop, 40, 156),
        'GoogLeNet.laptop(norm="bn")': (lambda: googlenet.GoogLeNet.laptop(norm="bn"), 25, 156),
    }
    rows, lines = [], []
    for name, (make, few, many) in networks.items():
        steps, times = few if quick else many, {"fit": [], 0: [], 2: []}
        for turn in range(ROUNDS + 1):
            for way, found in times.items():
                torch.manual_seed(turn)
                model = make()
                if way == "fit":
                    taken = seconds(lambda: our_loop(model, split, steps, device))  # noqa: B023
                else:
                    taken = seconds(lambda: plain_loop(model, split, steps, way, device))  # noqa: B023
                if turn:  # the first turn warms up
                    found.append(taken)
        rates = [spread([steps / t for t in found], ".1f") for found in times.values()]
        ratios = [spread([b / a for a, b in zip(times["fit"], times[w], strict=True)]) for w in (0, 2)]
        rows.append([name, steps, *rates, *ratios])
        short = name.partition(":")[0]
        per_step = {way: f"{1e3 * statistics.median(found) / steps:.2f} ms" for way, found in times.items()}
        for workers in (0, 2):
            quotient = spread([a / b for a, b in zip(times["fit"], times[workers], strict=True)])
            peer = f"DataLoader, {workers} workers"
            lines.append(Line(f"training step, {short}", per_step["fit"], per_step[workers], peer, quotient))
    columns = ["network", "steps", "fit", "plain, 0 workers", "plain, 2 workers", "fit is quicker, than 0", "than 2"]
    text = (
        f"## Training steps per second\n\nBatches of {BATCH} on {device}, random crop and flip, everything that `fit` "
        f"does counted, {ROUNDS} pairs.\n\n{table(columns, rows)}"
    )
    return Section(text, lines)


IMPORT = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def bench_start(quick: bool) -> Section:
    """Seconds to import each module in a fresh Python beside `import torch`, and of `make lab` beside JupyterLab."""
    modules = sorted(path.stem for path in (ROOT / "inception_lessons").glob("*.py") if path.stem[0] != "_")
    if quick:
        modules = [name for name in modules if name in ("data", "train", "experiments", "widgets")]
    names = ["torch", "inception_lessons", *(f"inception_lessons.{name}" for name in modules)]
    times = {name: [] for name in names}
    for turn in range(ROUNDS + 1):
        for name in names:
            done = subprocess.run(
                [sys.executable, "-c", IMPORT.format(name)], capture_output=True, text=True, check=True, cwd=ROOT
            )
            if turn:
                times[name].append(float(done.stdout))
    rows = [
        [f"`{name}`", spread(found), spread([t / base for t, base in zip(found, times["torch"], strict=True)])]
        for name, found in times.items()
    ]
    slowest = max(names[1:], key=lambda name: statistics.median(times[name]))
    both = [times[slowest], times["torch"]]
    quotient = spread([a / b for a, b in zip(*both, strict=True)])
    ours, theirs = (f"{statistics.median(found):.2f} s" for found in both)
    lines = [
        Line(f"import of the slowest module, {slowest.rpartition('.')[2]}", ours, theirs, "import torch", quotient)
    ]
    if (ROOT / ".venv" / "inception-lessons.json").exists():  # else make would install
        lines.append(make_lab(1 if quick else ROUNDS))
    columns = ["module", "seconds", "ratio to torch"]
    return Section(f"## Import\n\nFresh processes in turn, {ROUNDS} each.\n\n{table(columns, rows)}", lines)


def make_lab(turns: int) -> Line:
    """What `make lab` adds to JupyterLab's own start, once the course is installed: both only say their version."""
    python = str(ROOT / ".venv" / "bin" / "python")
    ways = {"ours": ["make", "lab", "ARGS=--version"], "theirs": [python, "-m", "jupyterlab", "--version"]}
    times = {who: [] for who in ways}
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    for _ in range(turns):
        for who, command in ways.items():
            options = {"cwd": ROOT, "env": environment, "capture_output": True, "check": True}
            times[who].append(seconds(lambda: subprocess.run(command, **options)))  # noqa: B023
    quotient = spread([a / b for a, b in zip(*times.values(), strict=True)])
    ours, theirs = (f"{statistics.median(found):.2f} s" for found in times.values())
    return Line("make lab --version, installed before", ours, theirs, "jupyter lab", quotient)


def bench_sets(quick: bool) -> Section:
    """Seconds to build the default set, and to load it once it is built."""
    turns = 1 if quick else ROUNDS
    quiet = contextlib.redirect_stderr(io.StringIO())
    with tempfile.TemporaryDirectory() as folder, quiet:
        before = os.environ.get("INCEPTION_LESSONS_CACHE")
        os.environ["INCEPTION_LESSONS_CACHE"] = folder
        try:
            build = [seconds(lambda: data.digits_in_the_wild(cache=False)) for _ in range(turns)]
            data.digits_in_the_wild()
            load = [seconds(data.digits_in_the_wild) for _ in range(ROUNDS)]
            plain = [seconds(data.mnist_digits) for _ in range(ROUNDS)]
        finally:
            if before is None:
                del os.environ["INCEPTION_LESSONS_CACHE"]
            else:
                os.environ["INCEPTION_LESSONS_CACHE"] = before
    rows = [
        ["`digits_in_the_wild`, first time", len(build), spread(build)],
        ["`digits_in_the_wild`, later", len(load), spread(load)],
        ["`mnist_digits`", len(plain), spread(plain)],
    ]
    first, later, mnist = (statistics.median(found) for found in (build, load, plain))
    lines = [
        Line("digits_in_the_wild, from the cache", f"{later:.3f} s", f"{first:.2f} s", "built", f"{later / first:.2f}"),
        Line("mnist_digits", f"{mnist:.3f} s"),
    ]
    return Section(f"## Image sets\n\n{table(['set', 'times', 'seconds'], rows)}", lines)


def bench_lessons(quick: bool) -> Section:
    """Seconds and peak memory of every lesson, each in a fresh kernel; nothing is written to the notebooks."""
    import execute_notebooks

    paths, rows, lines = sorted((ROOT / "notebooks").glob("*.ipynb")), [], []
    for path in paths[-1:] if quick else paths:
        # a process for each: the largest size of its children is then this lesson's
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                report = pool.submit(execute_notebooks.execute, path, timeout=CELL, check=True).result()
            except execute_notebooks.NotebookFailed as failure:
                rows.append([path.stem, f"failed: {str(failure).splitlines()[0]}", "", ""])
                lines.append(Line(f"lesson {path.stem}", "failed"))
                continue
        largest = "" if report.peak_mb is None else f"{report.peak_mb:,.0f}"
        rows.append([path.stem, f"{report.seconds:.0f}", largest, f"{report.together_mb:,.0f}"])
        lines.append(Line(f"lesson {path.stem}", f"{report.seconds:.0f} s, {report.together_mb / 1e3:.1f} GB"))
    columns = ["lesson", "seconds", "largest process, MB", "kernel and what it starts, MB"]
    size = os.environ.get("LESSON_BUDGET") or "laptop"
    return Section(f"## Lessons\n\nBudget {size}, kernel start included.\n\n{table(columns, rows)}", lines)


def bench_marking(quick: bool) -> Section:
    """Seconds to autograde a submission: each answer in a sandbox of ours, beside nbgrader's own run of the cells."""
    if not _there("nbgrader"):
        return Section("## Marking\n\nnbgrader is not installed (extra: course).", [Line("autograde", "no nbgrader")])
    name, learners, turns = assignments.names()[1], ["ada"] if quick else ["ada", "bob", "cem"], 1 if quick else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        courses = {who: Path(folder, who) for who in ("ours", "theirs")}
        for who, course in courses.items():
            assignments.create(course)
            if who == "theirs":  # nbgrader as it comes
                (course / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'plain'\n")
            _nbgrader(course, "generate_assignment", name)
            for learner in learners:  # the solved master: every answer right, so every test runs to its end
                target = course / "submitted" / learner / name / f"{name}.ipynb"
                target.parent.mkdir(parents=True)
                shutil.copyfile(course / "source" / name / f"{name}.ipynb", target)
        times = {who: [] for who in courses}
        for _ in range(turns):
            for who, course in courses.items():
                took = seconds(lambda: _nbgrader(course, "autograde", name, "--force", "--create"))  # noqa: B023
                times[who].append(took / len(learners))
        points = {who: _points(course, name) for who, course in courses.items()}
    both = [f"{statistics.median(found):.1f} s" for found in times.values()]
    quotient = spread([a / b for a, b in zip(*times.values(), strict=True)])
    rows = [[who, spread(times[who], ".1f"), points[who]] for who in courses]
    text = (
        f"## Marking\n\n`nbgrader autograde {name}`, {len(learners)} learners with every answer right, {turns} pairs, "
        f"nbgrader's own start included.\n\n{table(['way', 'seconds a submission', 'points'], rows)}"
    )
    return Section(text, [Line(f"autograde a submission, {name}", *both, "nbgrader's own execution", quotient)])


def _there(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def _nbgrader(course: Path, *arguments: str) -> None:
    """nbgrader's command in a course; it starts `alembic` by name, so this Python's programs come first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "nbgrader", *arguments]
    subprocess.run(command, cwd=course, env=os.environ | {"PATH": path}, capture_output=True, check=True)


def _points(course: Path, name: str) -> str:
    """What the learners got, of what there is to get: both ways should give the same."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        got = {f"{found.score:g} of {found.max_score:g}" for found in book.assignment_submissions(name)}
    return ", ".join(sorted(got))


def bench_tests(quick: bool) -> Section:
    """Seconds of each part of `make test`."""
    nbval = shlex.split(re.search(r"^nbval = (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1))
    lessons, copies = sorted(ROOT.glob("notebooks/*.ipynb")), sorted(ROOT.glob("notebooks/assignments/*/*.ipynb"))
    parts = {
        "unit tests, without a browser": ["tests", "-m", "not browser"],
        "tests in a real browser": ["tests", "-m", "browser"],
        "lessons, outputs compared": [*nbval, *map(str, lessons)],
        "assignments, outputs compared": [*nbval, *map(str, copies)],
    }
    if quick:
        parts = {"one file of unit tests": ["tests/test_house.py"]}
    rows, lines = [], []
    for part, arguments in parts.items():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        took = time.perf_counter() - start
        said = done.stdout.strip().splitlines()[-1].strip("= ") if done.stdout.strip() else done.stderr[-200:]
        rows.append([part, f"{took:.0f}", said])
        failed = "" if done.returncode == 0 else ", failed"
        lines.append(Line(f"make test: {part}", f"{took:.0f} s{failed}"))
    return Section(f"## `make test`\n\n{table(['part', 'seconds', 'pytest says'], rows)}", lines)


def bench_networks(quick: bool) -> Section:
    """The paper-sized networks beside torchvision's and timm's."""
    import bench_networks

    return Section(*bench_networks.measured(quick))


def bench_export(quick: bool) -> Section:
    """The paper-sized networks out of Python: size on disk and seconds, beside torchvision's."""
    import bench_export

    return Section(*bench_export.measured(quick))


SECTIONS = {
    "loops": bench_loops,
    "start": bench_start,
    "sets": bench_sets,
    "networks": bench_networks,
    "export": bench_export,
    "marking": bench_marking,
    "lessons": bench_lessons,
    "tests": bench_tests,
}
CELL = 300  # seconds that one cell of a lesson may take


def machine() -> str:
    """Processor, threads, versions, and how busy the machine already is."""
    busy = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    python = sys.version.split()[0]
    return (
        f"{experiments.hardware()}; torch {torch.__version__}, {torch.get_num_threads()} threads; Python {python}{busy}"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="The course's speed and memory beside its peers', on one page.")
    parser.add_argument("--quick", action="store_true", help="each section at its smallest: to see that it works")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=[*SECTIONS], metavar="SECTION", help="these")
    parser.add_argument("--skip", nargs="+", choices=SECTIONS, default=[], metavar="SECTION", help="all but these")
    parser.epilog = f"Sections: {', '.join(SECTIONS)}."
    options = parser.parse_args(arguments)
    title, found = f"# Benchmark\n\n{machine()}", []
    for name in SECTIONS:
        if name in options.only and name not in options.skip:
            print(f"{name} ...", file=sys.stderr, flush=True)
            found.append(SECTIONS[name](options.quick))
    told = f"{title}\n\n{page([line for section in found for line in section.lines])}"
    print(told, flush=True)
    path = ROOT / "build" / "bench.md"
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text("\n\n".join([told, *(section.text for section in found)]) + "\n", encoding="utf-8")
    os.replace(beside, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
