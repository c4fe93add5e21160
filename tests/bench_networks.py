"""How fast the paper-sized networks are, beside the same networks of torchvision and timm in the same run.

`python tests/bench_networks.py [--quick] [--only V3 ...]` prints the tables; bench.py has them too.
"""

import argparse
import contextlib
import copy
import dataclasses
import functools
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import peers
import pytest
import torch
import torch.nn.functional as F
from bench import Line, seconds, spread
from torch import Tensor, nn

from inception_lessons import layers, train, weights
from inception_lessons.baselines import NIN, VGG16, AlexNet
from inception_lessons.bn_inception import BNInception
from inception_lessons.googlenet import GoogLeNet
from inception_lessons.inception_resnet import InceptionResNetV1, InceptionResNetV2
from inception_lessons.inception_v3 import InceptionV3
from inception_lessons.inception_v4 import InceptionV4
from inception_lessons.plots import table

BATCH = 4
TURNS = {False: (8, 6, 3), True: (4, 3, 1)}  # quick or not: pairs of forward, of forward and backward, constructions
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
GOALS = {"same": 1.02, "folded": 0.85}


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison: our network in the form of a peer's, the peer's library, name and settings.

    ``init`` says whether the peer can be built without its own slow start (``init_weights``).
    """

    name: str
    ours: Callable[[], nn.Module]
    side: int
    library: str = ""
    model: str = ""
    settings: dict = dataclasses.field(default_factory=dict)
    init: bool = False

    @property
    def there(self) -> bool:
        """Whether there is a peer, and its library can be imported."""
        if not self.library:
            return False
        try:
            getattr(peers, self.library)()
        except (pytest.skip.Exception, pytest.fail.Exception):
            return False
        return True

    def theirs(self, init: bool = False) -> nn.Module:
        library = getattr(peers, self.library)()
        make = library.create_model if self.library == "timm" else library.models.get_model
        return make(self.model, **self.settings, **({"init_weights": init} if self.init else {}))


_alone, _tv = {"aux_logits": False}, "torchvision"
_slim = functools.partial(InceptionResNetV2, variant="slim")
_v1 = functools.partial(GoogLeNet, norm="bn", kernel5=3, pool4=2)
_v3 = functools.partial(InceptionV3, count_include_pad=True)
ROWS = [
    Row("V1", _v1, 224, _tv, "googlenet", _alone, init=True),
    Row("V2", BNInception, 224),
    Row("V3", _v3, 299, _tv, "inception_v3", _alone, init=True),
    Row("V3 (timm)", _v3, 299, "timm", "inception_v3"),
    Row("V4", InceptionV4, 299, "timm", "inception_v4"),
    Row("IR-v1", InceptionResNetV1, 299),
    Row("IR-v2", InceptionResNetV2, 299),
    Row("IR-v2 slim", _slim, 299, "timm", "inception_resnet_v2"),
    Row("AlexNet", functools.partial(AlexNet, variant="torchvision"), 224, _tv, "alexnet"),
    Row("VGG-16", VGG16, 224, _tv, "vgg16", init=True),
    Row("NIN", NIN, 224),
]


def in_turn(works: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Functions by name -> seconds of each turn: all of them forth, then all back (a b b a), after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for turn in range(turns):
        for name in list(works) if turn % 2 == 0 else reversed(works):
            times[name].append(seconds(works[name]))
    return times


def ratio(times: dict[str, list[float]], one: str, other: str) -> str:
    """The paired ratios of two of them, "" where one of them did not run."""
    if one not in times or other not in times:
        return ""
    return spread([a / b for a, b in zip(times[one], times[other], strict=True)])


def per_image(times: dict[str, list[float]], name: str) -> str:
    """Milliseconds an image, the median."""
    return f"{statistics.median(times[name]) / BATCH * 1e3:.1f}" if name in times else ""


@torch.inference_mode()
def forward(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)


def forward_in_bfloat16(model: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, torch.bfloat16):
        return forward(model, x)


def forward_and_backward(model: nn.Module, x: Tensor) -> None:
    model.zero_grad(set_to_none=True)
    F.cross_entropy(model(x), torch.arange(len(x), device=x.device)).backward()


def pair(row: Row, device: str) -> tuple[nn.Module, nn.Module | None]:
    """Both networks with one set of random weights, none of which makes its signal fade into slow, tiny numbers."""
    ours = peers.randomize(row.ours().to(device)).eval()
    if not row.there:
        return ours, None
    theirs = peers.randomize(row.theirs().to(device)).eval()
    return weights.load_reference(ours, theirs.state_dict()), theirs


def images(row: Row, device: str, layout: str) -> Tensor:
    return torch.randn(BATCH, 3, row.side, row.side).to(device, memory_format=LAYOUTS[layout])


def time_forward(row: Row, ours: nn.Module, theirs: nn.Module | None, turns: int, device: str) -> list[list[object]]:
    """A row of the table for each memory layout, in evaluation mode."""
    folded = layers.fold(ours) if any(isinstance(layer, nn.BatchNorm2d) for layer in ours.modules()) else None
    as_it_is = copy.deepcopy(theirs)
    rows = []
    for layout, form in LAYOUTS.items():
        x, plain = images(row, device, layout), images(row, device, "contiguous")
        networks = {"ours": ours, "theirs": theirs, "folded": folded}
        networks = {name: model.to(memory_format=form) for name, model in networks.items() if model is not None}
        works = {name: functools.partial(forward, model, x) for name, model in networks.items()}
        if theirs is not None and folded is not None:
            works["as it is"] = functools.partial(forward, as_it_is, plain)
        best = "folded" if folded is not None else "ours"
        works["bfloat16"] = functools.partial(forward_in_bfloat16, networks[best], x)
        times = in_turn(works, turns)
        rows.append(
            [row.name, layout, per_image(times, "ours"), per_image(times, "theirs"), per_image(times, "folded")]
        )
        rows[-1] += [ratio(times, "ours", "theirs"), ratio(times, "folded", "theirs")]
        rows[-1] += [ratio(times, "folded", "as it is"), ratio(times, "bfloat16", best)]
    return rows


def time_training(row: Row, ours: nn.Module, theirs: nn.Module | None, turns: int, device: str) -> list[list[object]]:
    """A row of the table for each memory layout: one batch forward and backward in training mode."""
    rows = []
    for layout, form in LAYOUTS.items():
        x, networks = images(row, device, layout), {"ours": ours, "theirs": theirs}
        works = {
            name: functools.partial(forward_and_backward, model.to(memory_format=form).train(), x)
            for name, model in networks.items()
            if model is not None
        }
        times = in_turn(works, turns)
        figures = [per_image(times, "ours"), per_image(times, "theirs"), ratio(times, "ours", "theirs")]
        rows.append([row.name, layout, *figures])
    return rows


def describe(row: Row, ours: nn.Module, theirs: nn.Module | None, turns: int, device: str) -> list[object]:
    """Whether both compute the same, seconds to build each, and megabytes in a fresh process."""
    build, same, makes = {}, "", {"ours": row.ours}
    if theirs is not None:
        x = images(row, device, "contiguous")
        one, other = forward(ours.eval(), x), forward(theirs.eval(), x)
        same = f"{float((one - other).abs().max() / other.abs().max()):.0e}"
        makes |= {"theirs": functools.partial(row.theirs, init=True)}
        makes |= {"theirs, bare": row.theirs} if row.init else {}
    build = in_turn(makes, turns)
    megabytes = {who: peak(row, who) for who in (["ours", "theirs"] if theirs is not None else ["ours"])}
    mine, peer = megabytes["ours"], megabytes.get("theirs", ("", ""))
    columns = [spread(build[name]) if name in build else "" for name in ("ours", "theirs", "theirs, bare")]
    return [row.name, row.library, same, *columns, mine[0], peer[0], mine[1], peer[1]]


# ------------------------------------------------------------------------------------------- memory, in a process each


def peak(row: Row, who: str) -> tuple[str, str]:
    """Megabytes that the network took at most, above the imports: for forward, and for forward and backward."""
    command = [sys.executable, __file__, "--peak", row.name, who]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    base, *peaks = json.loads(done.stdout.splitlines()[-1])
    if base is None:
        return "", ""
    return tuple(f"{(value - base) / 1e6:,.0f}" for value in peaks)


def most_bytes() -> int | None:
    """The largest size that this process has had; None where no system call tells.

    Linux also hands ``ru_maxrss`` down from the process that started this one, which may have been larger: its own
    high-water mark is in ``/proc``.
    """
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def print_peaks(name: str, who: str) -> None:
    """What the fresh process does: imports, then build and forward, then forward and backward; the peak after each."""
    row = next(row for row in ROWS if row.name == name)
    if row.library:
        row.there  # noqa: B018 (both import the library, so that both begin with the same size)
    found = [most_bytes()]
    model, x = (row.ours() if who == "ours" else row.theirs()), images(row, "cpu", "contiguous")
    forward(model.eval(), x)
    found.append(most_bytes())
    forward_and_backward(model.train(), x)
    found.append(most_bytes())
    print(json.dumps(found))


# ----------------------------------------------------------------------------------------------------------- the tables


def measured(quick: bool = False, only: Iterable[str] = ()) -> tuple[str, list[Line]]:
    """Forward, forward and backward, construction and memory of every network, as tables, and as lines of the page;
    ``quick``: of V1 only.
    """
    device, turns = train.device(), TURNS[quick]
    chosen = [row for row in ROWS if row.name in (tuple(only) or (["V1"] if quick else [row.name for row in ROWS]))]
    forwards, trainings, descriptions = [], [], []
    torch.manual_seed(0)
    for row in chosen:
        print(f"{row.name} ...", file=sys.stderr, flush=True)
        ours, theirs = pair(row, device)
        forwards += time_forward(row, ours, theirs, turns[0], device)
        trainings += time_training(row, ours, theirs, turns[1], device)
        descriptions.append(describe(row, ours, theirs, turns[2], device))
    absent = sorted({row.library for row in chosen if row.library and not row.there})
    lacking = f" Not installed, so not compared: {', '.join(absent)} (extra: parity)." if absent else ""
    text = f"""## Networks of the paper's size

Batches of {BATCH} on {device}, float32, milliseconds an image (median), ratios of ours to theirs with the same \
weights, pair by pair. Folded: batch norm gone into the convolutions; beside the peer in the same memory layout, and \
beside the peer as it comes, in the contiguous one. bfloat16 (autocast) beside float32, both ours and folded: below 1 \
it pays.{lacking}

{forward_table(forwards)}

Forward and backward, training mode:

{training_table(trainings)}

Building; and the most memory above the imports, in a fresh process, batch {BATCH}, contiguous, on the CPU. "Bare": \
with `init_weights=False`. The logits' largest difference is relative to the largest logit.

{description_table(descriptions)}"""
    return text, lines_of(chosen, forwards, trainings, descriptions)


def lines_of(chosen: Sequence[Row], forwards, trainings, descriptions) -> list[Line]:
    """The tables' rows -> what the page tells of each network that has a peer: both as they come in the contiguous
    layout, our best form beside the peer as it comes, and memory.
    """
    lines = []
    for row in chosen:
        plain, last = ([r for r in forwards if r[:2] == [row.name, layout]] for layout in LAYOUTS)
        if not plain or not plain[0][3]:
            continue
        peer, batch = row.library, f"{row.name.partition(' (')[0]}, an image"
        lines.append(Line(f"{batch} forward", f"{plain[0][2]} ms", f"{plain[0][3]} ms", peer, plain[0][5]))
        if last[0][7]:
            lines.append(Line(f"{batch} forward, best form", f"{last[0][4]} ms", f"{plain[0][3]} ms", peer, last[0][7]))
        ((*_, ours, theirs, quotient),) = (r for r in trainings if r[:2] == [row.name, "contiguous"])
        lines.append(Line(f"{batch} and back", f"{ours} ms", f"{theirs} ms", peer, quotient))
        ours, theirs = next(r for r in descriptions if r[0] == row.name)[-2:]
        if ours and theirs:
            quotient = f"{float(ours.replace(',', '')) / float(theirs.replace(',', '')):.2f}"
            lines.append(Line(f"{row.name.partition(' (')[0]}, memory", f"{ours} MB", f"{theirs} MB", peer, quotient))
    return lines


def forward_table(rows: Sequence[Sequence[object]]) -> object:
    same, folded = (f"goal {GOALS[name]:.2f}" for name in ("same", "folded"))
    columns = ["network", "layout", "ours, ms", "theirs, ms", "folded, ms", f"ours / theirs, {same}", "folded / theirs"]
    return table([*columns, f"folded / theirs as it comes, {folded}", "bfloat16 / float32"], rows)


def training_table(rows: Sequence[Sequence[object]]) -> object:
    return table(["network", "layout", "ours, ms", "theirs, ms", f"ours / theirs, goal {GOALS['same']:.2f}"], rows)


def description_table(rows: Sequence[Sequence[object]]) -> object:
    build = ["built in s, ours", "theirs", "theirs, bare"]
    memory = ["forward MB, ours", "theirs", "with backward MB, ours", "theirs"]
    return table(["network", "peer", "logits differ by", *build, *memory], rows)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description="The paper-sized networks beside torchvision's and timm's.")
    parser.add_argument("--quick", action="store_true", help="fewer pairs, and V1 only unless --only says otherwise")
    parser.add_argument("--only", nargs="+", choices=names, default=[], help="these networks")
    parser.add_argument("--peak", nargs=2, metavar=("NETWORK", "WHO"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.peak:
        print_peaks(*options.peak)
    else:
        print(measured(options.quick, options.only)[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
