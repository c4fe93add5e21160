"""How fast the course is, as ratios: `python tests/bench.py [--quick] [--lessons]`; tables go to build/bench.md too.

Times depend on the machine and on what else it does, so nothing here passes or fails. Two things that are compared run
in turn, pair by pair, and what is told is the median ratio of the pairs with the lowest and the highest.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from inception_lessons import baselines, data, experiments, googlenet, train
from inception_lessons.plots import table

ROOT = Path(__file__).resolve().parent.parent
BATCH, CROP, RATE = 64, 2, 0.05
ROUNDS = 5


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


def bench_loops(quick: bool) -> str:
    """Steps per second of both loops on three networks, and their ratios pair by pair."""
    device, split = train.device(), data.digits_in_the_wild().train
    networks = {
        "one convolution: the data is the bottleneck": (tiny, 156, 468),  # passes over 10,000 images
        "Plain": (baselines.Plain.laptop, 40, 156),
        'GoogLeNet.laptop(norm="bn")': (lambda: googlenet.GoogLeNet.laptop(norm="bn"), 25, 156),
    }
    rows = []
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
    columns = ["network", "steps", "fit", "plain, 0 workers", "plain, 2 workers", "ratio to 0", "ratio to 2"]
    return (
        f"## Training steps per second\n\nBatches of {BATCH} on {device}, random crop and flip, everything that `fit` "
        f"does counted, {ROUNDS} pairs.\n\n{table(columns, rows)}"
    )


IMPORT = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def bench_imports(quick: bool) -> str:
    """Seconds to import each module in a fresh Python, beside `import torch`."""
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
    columns = ["module", "seconds", "ratio to torch"]
    return f"## Import\n\nFresh processes in turn, {ROUNDS} each.\n\n{table(columns, rows)}"


def bench_sets(quick: bool) -> str:
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
    return f"## Image sets\n\n{table(['set', 'times', 'seconds'], rows)}"


def bench_lessons(timeout: float) -> str:
    """Seconds and peak memory of every lesson, each in a fresh kernel; nothing is written to the notebooks."""
    import execute_notebooks

    rows = []
    for path in execute_notebooks.all_notebooks():
        # a process for each: the largest size of its children is then this lesson's
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                report = pool.submit(execute_notebooks.execute, path, timeout=timeout, check=True).result()
            except execute_notebooks.NotebookFailed as failure:
                rows.append([path.stem, f"failed: {str(failure).splitlines()[0]}", ""])
                continue
        rows.append([path.stem, f"{report.seconds:.0f}", "" if report.peak_mb is None else f"{report.peak_mb:,.0f}"])
    size = os.environ.get("LESSON_BUDGET") or "laptop"
    return f"## Lessons\n\nBudget {size}, kernel start included.\n\n{table(['lesson', 'seconds', 'peak MB'], rows)}"


def bench_networks(quick: bool) -> str:
    """The paper-sized networks beside torchvision's and timm's."""
    import bench_networks

    return bench_networks.bench_networks(quick)


def bench_export(quick: bool) -> str:
    """The paper-sized networks out of Python: size on disk and seconds, beside torchvision's."""
    import bench_export

    return bench_export.bench_export(quick)


def machine() -> str:
    """Processor, threads, versions, and how busy the machine already is."""
    busy = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    python = sys.version.split()[0]
    return (
        f"{experiments.hardware()}; torch {torch.__version__}, {torch.get_num_threads()} threads; Python {python}{busy}"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Training steps per second, import time, set seconds, networks, lessons."
    )
    parser.add_argument("--quick", action="store_true", help="fewer steps and modules, one network: a few minutes")
    parser.add_argument("--lessons", action="store_true", help="also run every lesson, for its seconds and memory")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS", help="limit for one cell (300)")
    options = parser.parse_args(arguments)
    parts = [f"# Benchmark\n\n{machine()}"]
    print(parts[0], flush=True)
    benches = [
        lambda: bench_loops(options.quick),
        lambda: bench_imports(options.quick),
        lambda: bench_sets(options.quick),
        lambda: bench_networks(options.quick),
        lambda: bench_export(options.quick),
    ]
    if options.lessons:
        benches.append(lambda: bench_lessons(options.timeout))
    for bench in benches:
        parts.append(bench())
        print(f"\n{parts[-1]}", flush=True)
    path = ROOT / "build" / "bench.md"
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    os.replace(beside, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
