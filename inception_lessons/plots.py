"""Numbers in, charts out. A ``Chart`` is a picture with a sentence for those who cannot see it; a notebook shows it
as the last value of a cell.

One family: a colour-blind-safe palette (Okabe and Ito), a line style and a marker that vary along with the colour,
axes with units. Figures are built without pyplot, so that nothing is kept alive behind the lesson's back and no
backend is chosen.
"""

import functools
import io
import math
import re
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#603000")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)), (0, (3, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Every branch of a V1 module has one colour in all charts.
BRANCHES = {
    "b1": ("1 x 1", PALETTE[0]),
    "b3": ("3 x 3", PALETTE[1]),
    "b5": ("5 x 5", PALETTE[2]),
    "pool": ("pool", PALETTE[3]),
}

_MORE_MARKERS = ("<", "d", ">", "p", "h", "H", "8", "|")  # from the ninth series on
_HATCHES = ("", "//", "..", "xx")

_STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "legend.frameon": False,
    "image.cmap": "viridis",
    "figure.constrained_layout.use": True,
}


class Chart:
    """A figure with a title and ``alt``, a sentence that says what it shows. Shown by Jupyter; ``save(path)`` writes
    the PNG. ``colours`` keeps at most so many (256 or fewer) in it, which halves the file of a noisy picture; 0 keeps
    all.

    Raises ValueError for an ``alt`` of fewer than 20 characters.
    """

    def __init__(self, figure, title: str, alt: str, *, colours: int = 0):
        if not isinstance(alt, str) or len(alt) < 20:
            raise ValueError(f"alt says in a sentence what the chart shows; got {alt!r}")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100, facecolor="white")
        if colours:
            from PIL import Image

            drawn, buffer = Image.open(buffer).convert("RGB"), io.BytesIO()
            drawn.quantize(colours, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
        self.figure, self.title, self.alt, self.png = figure, title, alt, buffer.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/png": self.png, "text/plain": repr(self)}, {"image/png": {"alt": self.alt}}

    def __repr__(self) -> str:
        return f"<Chart: {self.title}>"

    def save(self, path) -> None:
        """Write the picture as a PNG file."""
        with open(path, "wb") as file:
            file.write(self.png)


def _positive(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is a whole number of at least 1, not {value!r}")


def _came(value: object) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r}"[:80]


class Look(NamedTuple):
    """How one series is drawn: its colour, its line style and its marker."""

    colour: str
    line: object
    marker: str


def look_of(i: int) -> Look:
    """Number of a series, from 0 -> its look. No two of the first 64 are alike, and no two of the first 16 share a
    marker.

    From the ninth on a colour comes again, with another line style and another marker than it had before.
    """
    k, again = i % len(PALETTE), i // len(PALETTE)
    markers = MARKERS + _MORE_MARKERS
    return Look(PALETTE[k], LINES[(k + again) % len(LINES)], markers[i % len(markers)])


def styled(draw):
    """Decorate a function that makes a chart: it runs in the course's style, whatever matplotlib's settings are
    outside.

    ``draw`` is that function.
    """

    @functools.wraps(draw)
    def in_style(*args, **options):
        import matplotlib

        with matplotlib.rc_context(_STYLE):
            return draw(*args, **options)

    return in_style


def canvas(rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (8.0, 3.6), **options):
    """Empty figure and its axes (an array unless there is one), to draw on within a ``styled`` function and hand to
    ``Chart``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    return figure, figure.subplots(rows, columns, **options)


@styled
def pictures(
    images: Tensor,
    titles: Sequence[str] = (),
    *,
    columns: int = 8,
    title: str = "Pictures",
    alt: str = "",
    good: Sequence[bool] = (),
) -> Chart:
    """Images (N, 3, H, W) in [0, 1] -> a grid. ``good`` frames each: a solid frame for True, a dashed one for False.

    Raises ValueError for another shape, no image or no column.
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"pictures are images of shape (N, 3, H, W), not {_came(images)}")
    count = len(images)
    if count == 0:
        raise ValueError("there are no images to show")
    _positive("columns", columns)
    rows = math.ceil(count / columns)
    figure, axes = canvas(
        rows, columns, size=(8.0, (9.6 if len(titles) else 8.2) / columns * rows + 0.35), squeeze=False
    )
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    for i, ax in enumerate(axes.flat):
        _bare(ax, hide=i >= count)
        if i >= count:
            continue
        ax.imshow(images[i].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        if i < len(titles):
            ax.set_title(titles[i], size=8.5, weight="normal", loc="center", pad=3)
        if i < len(good):
            for spine in ax.spines.values():
                spine.set(
                    visible=True,
                    linewidth=3,
                    color=PALETTE[2] if good[i] else PALETTE[1],
                    linestyle="-" if good[i] else ":",
                )
    return Chart(figure, title, alt or f"A grid of {count} pictures. {title}.")


@styled
def losses(
    runs: Mapping[str, Sequence[Sequence[float]]],
    *,
    every: int = 1,
    live: Sequence[float] | None = None,
    steps: int | None = None,
    title: str = "Training loss",
    alt: str = "",
    chance: float | None = None,
) -> Chart:
    """Loss curves by name, several seeds each -> mean line with a band from the lowest to the highest seed.

    ``every`` is the number of steps between two points of a curve. ``live`` is one more run, with one point a step,
    drawn over the bands so that a learner can tell slow from broken. ``chance`` draws the loss of guessing. Raises
    ValueError for what is no curves by name.
    """
    _positive("every", every)
    if not isinstance(runs, Mapping):
        raise ValueError(f"runs are loss curves by name, {{name: [curve, ...]}}, not {_came(runs)}")
    for name, curves in runs.items():
        if not isinstance(curves, Sequence) or any(not isinstance(curve, Sequence) for curve in curves):
            raise ValueError(f"{name} should have a list of curves, one for each seed, and has {_came(curves)}")
    more = max(0, len(runs) - len(PALETTE))
    figure, ax = canvas(size=(8.0, 3.4 + 0.25 * more + 0.35 * (more > 0)))  # the legend grows with the names
    for i, (name, curves) in enumerate(runs.items()):
        look = look_of(i)
        if not curves:  # every run of this arm diverged: its colour and line style stay its own
            continue
        length = min(map(len, curves))
        x = [every * (k + 1) for k in range(length)]
        stack = torch.tensor([list(curve[:length]) for curve in curves], dtype=torch.float64)
        ax.fill_between(x, stack.amin(0), stack.amax(0), color=look.colour, alpha=0.18, linewidth=0)
        ax.plot(
            x,
            stack.mean(0),
            color=look.colour,
            linestyle=look.line,
            label=f"{name} ({len(curves)} seeds)" if len(curves) > 1 else name,
        )
    if live is not None and len(live):
        ax.plot(range(1, len(live) + 1), live, color="black", linewidth=1.6, label="this run")
    if chance is not None:
        ax.axhline(chance, color="#888888", linewidth=1, linestyle=":")
        ax.annotate(
            "guessing",
            (1, chance),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            color="#666666",
            size=9,
        )
    ax.set(xlabel="step", ylabel="training loss (nats)", title=title, ylim=(0, None))
    if steps:
        ax.set_xlim(0, steps)
    if chance is not None:
        ax.set_ylim(0, max(ax.get_ylim()[1], 1.12 * chance))
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)  # inside, it would lie on a band
    names = " and ".join(runs) or "this run"
    return Chart(
        figure,
        title,
        alt
        or f"Training loss in nats against steps for {names}: lines fall from left to right, a band shows the "
        f"spread of seeds.",
    )


class LiveLoss:
    """Pass as ``watch`` to ``train.fit``: the loss so far, redrawn about once a second, over the band of stored runs
    if one is given.

    ``band``, ``every`` and ``chance`` are what ``losses`` takes as ``runs``, ``every`` and ``chance``. One picture is
    shown and updated, so that the notebook keeps the last one.
    """

    def __init__(
        self,
        band: Mapping[str, Sequence[Sequence[float]]] | None = None,
        *,
        every: int = 1,
        title: str = "Training loss",
        chance: float | None = None,
        seconds: float = 1.0,
    ):
        self.band, self.every, self.title = dict(band or {}), every, title
        self.chance, self.seconds = chance, seconds
        self.handle, self.shown, self.drawn = None, False, -math.inf

    def __call__(self, history) -> None:
        if not history.finished and time.monotonic() - self.drawn < self.seconds:
            return
        chart = losses(
            self.band,
            every=self.every,
            live=history.smoothed(),
            steps=history.recipe.steps,
            chance=self.chance,
            title=self.title if not history.stopped else f"{self.title}: stopped, not a number any more",
            alt=f"{self.title}: loss in nats of the running training, a black line"
            f"{' over the band of stored runs' if self.band else ''}, up to step {len(history.loss)}.",
        )
        if not self.shown:
            from IPython.display import display

            self.handle, self.shown = display(chart, display_id=True), True
        elif self.handle is not None:  # None outside a notebook: there display printed a line, once is enough
            self.handle.update(chart)
        self.drawn = time.monotonic()


class Markdown:
    """Text that Jupyter shows as Markdown, and that prints as it is where nothing renders it."""

    def __init__(self, text: str):
        self.text = text

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def table(columns: Sequence[str], rows: Sequence[Sequence]) -> Markdown:
    """Column names and rows -> a Markdown table; whole numbers get thousands separators. A column of numbers stands on
    the right, with their units, spreads and gaps: "7 ms", "96%", "0.9 ± 0.1", "0.9 [0.8, 1.0]", "".

    Raises ValueError for a row of another length.
    """
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"every row needs {len(columns)} entries ({', '.join(columns)})")
    cells = [[f"{v:,}" if isinstance(v, int) and not isinstance(v, bool) else str(v) for v in row] for row in rows]
    right = [any(row[i] for row in cells) and all(map(_is_number, (row[i] for row in cells)))
             for i in range(len(columns))]  # fmt: skip
    ruler = ["---:" if r else "---" for r in right]
    return Markdown("\n".join("| " + " | ".join(row) + " |" for row in [list(columns), ruler, *cells]))


#: What stands on the right of a table; "01", "3a" and "64 x 56" are names.
_NUMBER = r"(?:[x<>] )?[+\-−]?(?:(?:0|[1-9][\d,]*)(?:\.\d+)?(?:e[+-]?\d+)?|nan|inf)"
_MEASURED = re.compile(rf"(?:{_NUMBER}(?: ± {_NUMBER})?(?: ?%| [A-Za-zµ]{{1,3}})?(?: \[{_NUMBER}, {_NUMBER}\])?)?")


def _is_number(cell: str) -> bool:
    return _MEASURED.fullmatch(cell) is not None


def source(*things) -> Markdown:
    """Classes or functions of the package -> their source as the package has it: shown, never pasted, so that page
    and package cannot differ.
    """
    import inspect
    import textwrap

    return Markdown(
        "\n".join(f"```python\n{textwrap.dedent(inspect.getsource(thing)).rstrip()}\n```" for thing in things)
    )


@styled
def bars(
    groups: Mapping[str, Mapping[str, float]],
    *,
    ylabel: str,
    title: str,
    alt: str,
    stacked: bool = False,
    log: bool = False,
    colours: Mapping[str, str] | None = None,
    number: str = "",
) -> Chart:
    """{series: {category: value}} -> grouped or stacked bars, a series one colour and one hatch. ``number`` formats a
    label on each bar. Raises ValueError where there is no bar.
    """
    if not any(groups.values()):
        raise ValueError("there are no bars to draw")
    categories = list(dict.fromkeys(c for series in groups.values() for c in series))
    figure, ax = canvas(size=(8.0, 3.4 + 0.3 * (len(groups) > len(PALETTE))))
    bottom, width = [0.0] * len(categories), 0.8 if stacked else 0.8 / len(groups)
    for i, (name, series) in enumerate(groups.items()):
        heights = [series.get(c, 0.0) for c in categories]
        x = [k if stacked else k - 0.4 + width * (i + 0.5) for k in range(len(categories))]
        colour = (colours or {}).get(name, look_of(i).colour)
        drawn = ax.bar(
            x,
            heights,
            width * 0.95,
            bottom=bottom if stacked else 0,
            color=colour,
            label=name,
            hatch=_HATCHES[(i + i // len(PALETTE)) % len(_HATCHES)],  # a colour that comes again has another hatch
            edgecolor="white",
        )
        if number:
            ax.bar_label(drawn, [format(h, number) for h in heights], size=8.5, padding=2)
            ax.margins(y=0.1)  # room for the label of the tallest
        if stacked:
            bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    ax.set(xticks=range(len(categories)), xticklabels=categories, ylabel=ylabel, title=title)
    if log:
        ax.set_yscale("log")
    if len(categories) > 10:
        ax.tick_params(axis="x", rotation=40)
    ax.grid(False, axis="x")
    if len(groups) > 1:
        if len(groups) <= len(PALETTE):
            ax.legend(ncols=len(groups), loc="lower center", bbox_to_anchor=(0.5, -0.32))
        else:
            figure.legend(ncols=5, loc="outside lower center")
    return Chart(figure, title, alt)


@styled
def lines(
    series: Mapping[str, Mapping],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    alt: str,
    bands: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    log: bool = False,
    zero: bool = True,
) -> Chart:
    """{name: {x: y}} -> one line each, with markers; ``bands`` gives (low, high) by name, such as the limits of an
    interval.
    """
    figure, ax = canvas(size=(8.0, max(3.4, 0.8 + 0.23 * len(series))))  # the legend grows with the names
    for i, (name, points) in enumerate(series.items()):
        look = look_of(i)
        colour = next((c for label, c in BRANCHES.values() if label == name), look.colour)
        x, y = [str(k) for k in points], list(points.values())
        ax.plot(x, y, color=colour, linestyle=look.line, marker=look.marker, label=name)
        if bands and name in bands:
            ax.fill_between(x, *bands[name], color=colour, alpha=0.15, linewidth=0)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if log:
        ax.set_yscale("log")
    elif zero:
        ax.set_ylim(0, None)
    if len(series) > 1:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return Chart(figure, title, alt)


@styled
def seeds(
    values: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float]],
    *,
    xlabel: str,
    title: str,
    alt: str,
) -> Chart:
    """Values of each seed and their 95 % interval, by arm -> one row an arm: a dot a seed, a bar for the interval of
    the mean. Raises ValueError for an arm without values or without an interval.
    """
    for name, dots in values.items():
        if not dots or name not in intervals:
            raise ValueError(f"{name} has {len(dots)} values and {'an' if name in intervals else 'no'} interval")
    if not values:
        raise ValueError("there are no arms to draw")
    figure, ax = canvas(size=(8.0, 0.9 + 0.55 * len(values)))
    for i, (name, dots) in enumerate(values.items()):
        mean, look = sum(dots) / len(dots), look_of(i)
        ax.plot(intervals[name], [i, i], color=look.colour, linewidth=7, alpha=0.3, solid_capstyle="butt")
        ax.plot(dots, [i] * len(dots), look.marker, color=look.colour, markersize=5)
        ax.plot([mean], [i], "|", color=look.colour, markersize=18, markeredgewidth=2)
    ax.set(
        yticks=range(len(values)), yticklabels=list(values), xlabel=xlabel, title=title, ylim=(len(values) - 0.5, -0.5)
    )
    ax.grid(False, axis="y")
    return Chart(figure, title, alt)


@styled
def maps(image: Tensor, chosen: Tensor, others: Mapping[str, Tensor], *, title: str, alt: str) -> Chart:
    """One image (3, H, W), one feature map (h, w), and rows of further maps {label: (count, h, w)} -> picture, map,
    and rows of small maps.

    Where ``chosen`` is a map of the rows, it is framed there too and named. Each small map has its own brightness
    scale: this shows where a channel answers, not how strongly. Raises ValueError for other shapes.
    """
    if image.ndim != 3 or image.shape[0] != 3 or chosen.ndim != 2:
        raise ValueError(f"wanted an image (3, H, W) and a map (h, w), not {_came(image)} and {_came(chosen)}")
    if not others or any(rows.ndim != 3 for rows in others.values()):
        shapes = ", ".join(_came(rows) for rows in others.values()) or "nothing"
        raise ValueError(f"further maps are rows {{label: (count, h, w)}}, not {shapes}")
    # By its place in memory: channels that are silent look all alike.
    place = {(label, c): row.data_ptr() for label, rows in others.items() for c, row in enumerate(rows)}
    found = [key for key, pointer in place.items() if pointer == chosen.data_ptr()]
    name = f"chosen, framed: {found[0][0]}, channel {found[0][1]}" if found else "chosen channel"
    figure, _ = canvas(size=(8.0, 4.7), subplot_kw={"visible": False})
    grid = figure.add_gridspec(2, 2, width_ratios=[1, 2.6])
    for row, (picture, label) in enumerate(((image.permute(1, 2, 0).clamp(0, 1), "image"), (chosen, name))):
        ax = figure.add_subplot(grid[row, 0])
        _bare(ax, frame=row == 1 and bool(found))
        ax.imshow(picture.numpy(), interpolation="nearest")
        ax.set_title(label, size=9, weight="normal", loc="center")
    columns = max(len(rows) for rows in others.values())
    inner = grid[:, 1].subgridspec(len(others), columns, wspace=0.06, hspace=0.1)
    for r, (label, rows) in enumerate(others.items()):
        for c in range(columns):
            ax = figure.add_subplot(inner[r, c])
            _bare(ax, hide=c >= len(rows), frame=(label, c) in found)
            if c < len(rows):
                ax.imshow(rows[c].numpy(), interpolation="nearest")
            if r == 0:
                ax.set_title(f"{'channel ' * (c == 0)}{c}", size=9, weight="normal", loc="center", pad=4)
            if c == 0:
                ax.set_ylabel(label, size=9, rotation=0, ha="right", va="center")
    figure.supxlabel("bright: the channel answers; each map has a brightness scale of its own", size=9, color=_GREY)
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    return Chart(figure, title, alt)


@styled
def matrix(values: Tensor, groups: Sequence[str], *, title: str, alt: str) -> Chart:
    """Correlations (C, C) with each row's group, rows of a group together -> a square picture with the groups'
    borders drawn. Raises ValueError unless there is a group for each row.
    """
    if values.shape != (len(groups), len(groups)):
        raise ValueError(f"{len(groups)} groups go with as many rows and columns, not with {_came(values)}")
    figure, ax = canvas(size=(5.4, 4.6))
    drawn = ax.imshow(values.numpy(), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    starts = [i for i in range(len(groups)) if i == 0 or groups[i] != groups[i - 1]]
    for start in starts[1:]:
        ax.axhline(start - 0.5, color="black", linewidth=1)
        ax.axvline(start - 0.5, color="black", linewidth=1)
    middles = [(a + b - 1) / 2 for a, b in zip(starts, [*starts[1:], len(groups)], strict=True)]
    labels = [BRANCHES.get(groups[s], (groups[s],))[0] for s in starts]
    ax.set(xticks=middles, xticklabels=labels, yticks=middles, yticklabels=labels, title=title)
    ax.grid(False)
    figure.colorbar(drawn, ax=ax, label="correlation", shrink=0.85)
    return Chart(figure, title, alt)


@styled
def heat(
    values: Mapping[str, Mapping[str, float]],
    *,
    xlabel: str,
    ylabel: str,
    scale: str,
    title: str,
    alt: str,
    number: str = ".2f",
    limits: tuple[float, float] | None = None,
    none: str = "no number",
) -> Chart:
    """{row: {column: value}} -> a grid of coloured cells, its number in each; ``scale`` says what the colour means.

    Dark is low, light is high, and the numbers say it too. A value that is no number is an empty cell that says
    ``none``; ``limits`` are the ends of the colours (lowest and highest value, unless said). Raises ValueError where
    rows have different columns.
    """
    columns = list(next(iter(values.values()), {}))
    if not columns or any(list(row) != columns for row in values.values()):
        raise ValueError(f"every row needs the columns {', '.join(columns) or '(there are none)'}")
    cells = torch.tensor([list(row.values()) for row in values.values()], dtype=torch.float64)
    finite = cells[cells.isfinite()]
    low, high = limits or ((float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0))
    figure, ax = canvas(size=(1.9 + 0.95 * len(columns), 1.5 + 0.42 * len(values)))
    drawn = ax.imshow(cells.where(cells.isfinite(), torch.nan).numpy(), vmin=low, vmax=high, aspect="auto")
    for r, row in enumerate(cells.tolist()):
        for c, value in enumerate(row):
            dark = math.isfinite(value) and (value - low) < 0.6 * (high - low)
            text = format(value, number) if math.isfinite(value) else none
            ax.text(c, r, text, ha="center", va="center", size=9, color="white" if dark else "black")
    ax.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(values)), yticklabels=list(values))
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.grid(False)
    figure.colorbar(drawn, ax=ax, label=scale)
    return Chart(figure, title, alt)


@styled
def module(c_in: int, n1: int, r3: int, n3: int, r5: int, n5: int, proj: int, grid: int = 28) -> Chart:
    """The seven numbers of a V1 module and its grid -> the module without and with 1 x 1 reductions, boxes as wide as
    their channels.

    Under each stands what it costs. Drawn to one scale, so that the two can be compared by eye. Raises ValueError for a
    number below 1.
    """
    numbers = {"c_in": c_in, "n1": n1, "r3": r3, "n3": n3, "r5": r5, "n5": n5, "proj": proj, "grid": grid}
    for name, value in numbers.items():
        _positive(name, value)
    naive = {"b1": [(1, n1)], "b3": [(3, n3)], "b5": [(5, n5)], "pool": [("max", c_in)]}
    reduced = {"b1": [(1, n1)], "b3": [(1, r3), (3, n3)], "b5": [(1, r5), (5, n5)], "pool": [("max", c_in), (1, proj)]}
    figure, axes = canvas(1, 2, size=(10.0, 4.4))
    widest = max(sum(max(c for _, c in path) for path in form.values()) for form in (naive, reduced))
    totals, beside = [], []
    for ax, form, label in (
        (axes[0], naive, "Fig. 2(a): naive"),
        (axes[1], reduced, "Fig. 2(b): with 1 x 1 reductions"),
    ):
        params, macs, out = _draw_module(ax, form, c_in, grid, widest, beside)
        totals.append((params, macs, out))
        ax.set_title(f"{label}\n{params:,} parameters, {macs / 1e6:.1f} M multiply-adds", size=10, loc="center")
    figure.draw_without_rendering()  # only then the axes have their final size, and a word its width
    for text, limit in beside:
        if text.get_window_extent().x1 > text.axes.transData.transform((limit, 0))[0]:
            text.set_text(text.get_text().replace(" ", "\n"))
    title = "The Inception module, without and with reductions"
    ratio = totals[0][1] / totals[1][1]
    return Chart(
        figure,
        title,
        f"Two Inception modules drawn as four columns of boxes. The naive one costs {totals[0][1] / 1e6:.1f} "
        f"million multiply-adds, "
        f"the one with 1 x 1 reductions {totals[1][1] / 1e6:.1f} million, {ratio:.2f} times less; they put out "
        f"{totals[0][2]} and {totals[1][2]} channels.",
    )


def _draw_module(ax, form, c_in: int, grid: int, widest: int, beside: list) -> tuple[int, int, int]:
    """Draw one form of the module bottom to top; returns parameters (with biases), multiply-adds and channels out.

    To `beside` go the words that stand at the right of a box too narrow for them, each with the x where the next
    branch begins.
    """
    from matplotlib.patches import Rectangle

    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(-0.1, 1.14))
    height, gap = 0.13, 0.1
    unit = (0.96 - 3 * gap) / widest
    slots = {name: max(count for _, count in path) * unit for name, path in form.items()}
    x = (1 - sum(slots.values()) - 3 * gap) / 2
    out = sum(path[-1][1] for path in form.values())
    segment = 0.5 - out * unit / 2
    params = macs = 0

    def box(middle: float, y: float, count: int, text: str, colour: str) -> None:
        ax.add_patch(
            Rectangle((middle - count * unit / 2, y - height / 2), count * unit, height, facecolor=colour, zorder=2)
        )
        if len(text) * 0.0135 < count * unit:
            ax.text(middle, y, text, ha="center", va="center", size=8.5, color="white", zorder=3)
        else:
            right = middle + count * unit / 2 + 0.006
            words = ax.text(right, y, text, ha="left", va="center", size=8.5, color="#333333", zorder=3)
            beside.append((words, x + slots.get(name, 0) + gap))

    def wire(a: tuple[float, float], b: tuple[float, float]) -> None:
        ax.plot(*zip(a, b, strict=True), color="#BBBBBB", linewidth=1.2, zorder=1)

    name = None  # no branch yet
    box(0.5, 0, c_in, f"{c_in} channels in", "#555555")
    for name, path in form.items():
        middle, c, below = x + slots[name] / 2, c_in, (0.5, height / 2)
        for y, (kernel, count) in zip([0.5] if len(path) == 1 else [0.36, 0.66], path, strict=True):
            wire(below, (middle, y - height / 2))
            if kernel == "max":
                box(middle, y, count, f"max pool {count}", "#8A8A8A")
            else:
                weights = kernel * kernel * c * count
                params, macs, c = params + weights + count, macs + weights * grid * grid, count
                box(middle, y, count, f"{kernel}x{kernel} {count}", BRANCHES[name][1])
            below = (middle, y + height / 2)
        share = path[-1][1] * unit
        colour = "#8A8A8A" if path[-1][0] == "max" else BRANCHES[name][1]
        ax.add_patch(
            Rectangle((segment, 0.93), share, 0.09, facecolor=colour, edgecolor="white", linewidth=1.5, zorder=2)
        )
        wire(below, (segment + share / 2, 0.93))
        segment, x = segment + share, x + slots[name] + gap
    ax.text(0.5, 1.04, f"{out} channels out", ha="center", va="bottom", size=9, color="#333333")
    return params, macs, out


def _bare(ax, hide: bool = False, frame: bool = False) -> None:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.set_visible(not hide)
    for spine in ax.spines.values():
        spine.set(visible=frame, linewidth=3, color=PALETTE[1])


# ------------------------------------------------------------------------------------------------------------ the race

#: What a race can be run over -> the axis's name.
AXES = {"steps": "steps", "multiply-adds": "multiply-adds of training", "seconds": "seconds of training"}
#: What is raced for -> the axis's name; of the first the lowest wins, of the second the highest.
QUANTITIES = {"loss": "validation loss (nats)", "accuracy": "validation accuracy"}
_PALE, _GREY, _INK = "#C4C4C4", "#6E6E6E", "#222222"


@dataclass(frozen=True)
class Racer:
    """One network of a race -> its curves and its costs, for ``race``, ``linked``, ``ranks`` and ``standing``.

    ``steps`` are the points where it was measured; ``loss`` and ``accuracy`` hold one list a seed with a value a point,
    no number (nan) from where a seed diverged. A step costs ``macs`` multiply-adds (forward and backward, the whole
    batch) and ``seconds`` (one number, or one a seed); ``memory`` is the most bytes that a step held, None where nobody
    measured it. Raises ValueError where these do not fit together.
    """

    steps: Sequence[int]
    loss: Sequence[Sequence[float]]
    accuracy: Sequence[Sequence[float]]
    macs: float
    seconds: float | Sequence[float]
    params: int
    memory: int | None = None

    def __post_init__(self):
        steps = list(self.steps)
        if not steps or steps[0] < 0 or any(b <= a for a, b in zip(steps, steps[1:], strict=False)):
            raise ValueError(f"steps are at least one point, none below 0, each later than the one before; got {steps}")
        if not self.loss or len(self.loss) != len(self.accuracy):
            raise ValueError(
                f"loss and accuracy have one list a seed, at least one; got {len(self.loss)} and {len(self.accuracy)}"
            )
        for name in QUANTITIES:
            for curve in getattr(self, name):
                if len(curve) != len(steps):
                    raise ValueError(f"{name} has {len(curve)} values in one seed, but steps has {len(steps)} points")
        for name, costs in (("macs", [self.macs]), ("seconds", _listed(self.seconds))):
            if not costs or not all(math.isfinite(cost) and cost > 0 for cost in costs):
                raise ValueError(f"{name} of a step are above 0; got {costs}")
        if self.params < 0 or (self.memory is not None and self.memory < 0):
            raise ValueError(f"params and memory are at least 0; got {self.params} and {self.memory}")


class Place(NamedTuple):
    """One row of a standing. ``rank`` is None for a network that is not ranked, and ``state`` says why: "running"
    (ranked), "diverged", "ended" (its value is its last one) or "waiting" (not measured yet).

    ``value`` is the mean over seeds, ``low`` and ``high`` the lowest and highest seed.
    """

    rank: int | None
    name: str
    value: float
    low: float
    high: float
    state: str


def finish(racers: Mapping[str, Racer], by: str = "steps") -> tuple[float, float]:
    """Racers by name, and an axis -> where on it the first of them ends, and where the last one does.

    Up to the first end all are compared; after it only those that still run. Raises ValueError for no racers and for an
    axis that there is not.
    """
    _known(racers, by, "loss")
    ends = [_points(racer, by)[-1] for racer in racers.values()]
    return min(ends), max(ends)


def standing(
    racers: Mapping[str, Racer], *, at: float, by: str = "steps", quantity: str = "loss", seed: int | None = None
) -> list[Place]:
    """Racers by name, and a point on an axis -> one ``Place`` each: the ranked ones best first, then those that are
    not ranked.

    Only networks that have got as far as ``at`` have a rank; equal values share it. Between two points of measurement a
    value lies on the straight line between them. A network of which one seed diverged has no mean, and no rank. With
    ``seed`` that run alone is asked. Raises ValueError for a point that nobody reaches.
    """
    first, last = _known(racers, by, quantity, at)
    if seed is not None and not 0 <= seed < min(len(racer.loss) for racer in racers.values()):
        raise ValueError(f"not every racer has a seed number {seed!r}; they count from 0")
    found = []
    for name, racer in racers.items():
        x = _points(racer, by)
        curves = getattr(racer, quantity)
        values = [_value(x, curve, min(at, x[-1])) for curve in (curves if seed is None else [curves[seed]])]
        mean = _mean(values) if all(map(math.isfinite, values)) else math.nan
        whole = [value for value in values if math.isfinite(value)] or [math.nan]
        state = "waiting" if at < x[0] else "diverged" if math.isnan(mean) else "ended" if at > x[-1] else "running"
        found.append(Place(None, name, mean, min(whole), max(whole), state))
    sign = 1 if quantity == "loss" else -1
    order = ("running", "diverged", "ended", "waiting")
    # what differs by rounding alone is a tie
    key = {place.name: (order.index(place.state), _or(sign * round(place.value, 9), 0.0)) for place in found}
    found.sort(key=lambda place: key[place.name])
    ranked: list[Place] = []
    for i, place in enumerate(found):
        if place.state == "running":
            tie = i > 0 and key[place.name] == key[found[i - 1].name]
            place = place._replace(rank=ranked[-1].rank if tie else i + 1)
        ranked.append(place)
    return ranked


@styled
def race(
    racers: Mapping[str, Racer],
    *,
    at: float | None = None,
    by: str = "steps",
    quantity: str = "loss",
    title: str = "The race",
) -> Chart:
    """Racers by name -> their curves up to ``at`` (the end, unless said) on the axis ``by``, and the standing there.

    A line is the mean over seeds, its band runs from the lowest to the highest seed, and where it will go shows faintly
    behind, so that nothing moves but the heads. A network that ended before ``at`` is held at its last value and drawn
    hollow. Raises ValueError for no racers, an axis or a quantity that there is not, and a point that nobody reaches.
    """
    first, last = _known(racers, by, quantity)
    at = last if at is None else at
    places = standing(racers, at=at, by=by, quantity=quantity)
    figure = _plain((10.0, max(4.8, 1.5 + 0.24 * len(racers))))
    ax = figure.add_axes((0.065, 0.13, 0.575, 0.76))
    low, high = _limits(racers, quantity)
    ax.set(xlim=(0, 1.34 * last), ylim=(low, high), yscale="log" if quantity == "loss" else "linear")
    _ticks(ax, by, last, quantity)
    ax.axvspan(last, 1.34 * last, color="white", linewidth=0, zorder=0.6)  # no grid behind the names
    heads = []
    for i, (name, racer) in enumerate(racers.items()):
        look, x, mean, lowest, highest = look_of(i), *_curve(racer, by, quantity)
        ax.plot(x, mean, color=look.colour, alpha=0.22, linewidth=1, zorder=1)
        place = next(place for place in places if place.name == name)
        if place.state == "waiting":
            continue
        there = bisect_left(x, at)  # how many points lie before it
        xs = x[:there]
        lines = [line[:there] for line in (mean, lowest, highest)]
        if there < len(x):
            xs = [*xs, at]
            lines = [[*part, value] for part, value in zip(lines, place[2:5], strict=True)]
        ax.fill_between(xs, lines[1], lines[2], color=look.colour, alpha=0.1, linewidth=0, zorder=2)
        ax.plot(xs, lines[0], color=look.colour, linestyle=look.line, linewidth=1.7, zorder=3)
        whole = [(a, b) for a, b in zip(xs, lines[0], strict=True) if math.isfinite(b)]
        if not whole:  # it diverged before it was measured once: only the standing can say so
            continue
        x_head, y_head = whole[-1]
        y_head = min(max(y_head, low), high)
        if place.state == "ended":
            ax.plot([x_head, at], [y_head, y_head], color=look.colour, linewidth=0.9, linestyle=(0, (1, 2)), zorder=2)
            x_head = at
        hollow = {"markerfacecolor": "white"} if place.state == "ended" else {}
        marker = "x" if place.state == "diverged" else look.marker
        ax.plot(
            [x_head], [y_head], marker, color=look.colour, markersize=7, markeredgewidth=1.5, zorder=6, clip_on=False,
            **hollow,
        )  # fmt: skip
        heads.append((name, look.colour, marker, x_head, y_head, place.state))
    _name_heads(ax, heads, at, last)
    if at > 0:
        ax.axvline(at, color=_PALE, linewidth=1, zorder=0)
    if first < last:
        ax.plot([first, first], [0, 0.035], color=_GREY, linewidth=1.2, transform=ax.get_xaxis_transform(), zorder=4)
        ax.text(
            first, 0.02, " the first one ends", transform=ax.get_xaxis_transform(), size=8, color=_GREY, zorder=4,
        )  # fmt: skip
    figure.suptitle(f"{title}, {_headline(places, at, by, last)}", x=0.012, y=0.975, ha="left", weight="bold")
    _draw_standing(figure.add_axes((0.665, 0.03, 0.33, 0.9)), places, list(racers))
    return Chart(
        figure,
        title,
        f"Curves of {QUANTITIES[quantity]} for {_networks(len(racers))} against {AXES[by]}, drawn up to "
        f"{_so_far(at, last, by)}. {_told(places)}",
    )


def _listed(value: float | Sequence[float]) -> list[float]:
    return [value] if isinstance(value, int | float) else list(value)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _or(value: float, otherwise: float) -> float:
    """A number that can be sorted: nan is neither above nor below anything."""
    return value if math.isfinite(value) else otherwise


def _known(racers: Mapping[str, Racer], by: str, quantity: str, at: float | None = None) -> tuple[float, float]:
    """Where the first and the last racer end; ValueError where one of the arguments is none."""
    if not racers:
        raise ValueError("there are no racers; a race needs at least one")
    if by not in AXES:
        raise ValueError(f"a race is run over {', '.join(AXES)}; got {by!r}")
    if quantity not in QUANTITIES:
        raise ValueError(f"a race is run for {' or '.join(QUANTITIES)}; got {quantity!r}")
    ends = [_points(racer, by)[-1] for racer in racers.values()]
    if at is not None and not 0 <= at <= max(ends):  # nan is outside too
        raise ValueError(f"the race runs from 0 to {max(ends):g} {AXES[by]}; got {at!r}")
    return min(ends), max(ends)


def _points(racer: Racer, by: str) -> list[float]:
    """Where on the axis a racer was measured: its steps, times what a step costs (the mean over its seeds)."""
    unit = {"steps": 1, "multiply-adds": racer.macs, "seconds": _mean(_listed(racer.seconds))}[by]
    return [step * unit for step in racer.steps]


def _value(x: list[float], y: Sequence[float], at: float) -> float:
    """The value at a point of a curve, on the straight line between two points of measurement; nan before the first."""
    i = bisect_left(x, at)
    if at < x[0]:
        return math.nan
    if x[i] == at:
        return float(y[i])
    share = (at - x[i - 1]) / (x[i] - x[i - 1])
    return (1 - share) * y[i - 1] + share * y[i]


def _curve(racer: Racer, by: str, quantity: str) -> tuple[list[float], list[float], list[float], list[float]]:
    """Points, and mean, lowest and highest over seeds at each; none of them where one seed has no number."""
    columns = [c if all(map(math.isfinite, c)) else [math.nan] for c in zip(*getattr(racer, quantity), strict=True)]
    return _points(racer, by), *([how(c) for c in columns] for how in (_mean, min, max))


def _limits(racers: Mapping[str, Racer], quantity: str) -> tuple[float, float]:
    """Ends of the upward axis: all curves, but a loss that explodes may leave at the top."""
    curves = [[v for v in curve if math.isfinite(v)] for racer in racers.values() for curve in getattr(racer, quantity)]
    values = [value for curve in curves for value in curve] or [0.5]
    if quantity == "accuracy":
        return max(0.0, min(values) - 0.03), min(1.0, max(values)) + 0.03
    start = max((curve[0] for curve in curves if curve), default=1.0)
    lowest = max(min(values), 1e-6)
    return 0.85 * lowest, 1.15 * max(min(max(values), 1.5 * start), 1.2 * lowest)


def _ticks(ax, by: str, last: float, quantity: str) -> None:
    """Round numbers on both axes, none to the right of the end, where the names stand."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    unit, word = _unit(last) if by == "multiply-adds" else (1, "")
    ticks = [t for t in MaxNLocator(6).tick_values(0, last / unit) if 0 <= t <= 1.0001 * last / unit]
    ax.set_xticks([t * unit for t in ticks], [f"{t:g}" for t in ticks])
    ax.set_xlabel(f"{AXES[by]}{f' ({word})' if word else ''}", x=0.373)
    ax.spines["bottom"].set_bounds(0, last)
    ax.set_ylabel(QUANTITIES[quantity])
    if quantity == "loss":
        low, high = ax.get_ylim()
        digits = (1, 1.5, 2, 3, 5, 7) if high / low < 40 else (1, 2, 5)
        ticks = [digit * 10.0**power for power in range(-6, 7) for digit in digits]
        ax.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _unit(most: float) -> tuple[float, str]:
    """The largest number of an axis -> what to divide by, and its word."""
    scales = ((1e15, "quadrillions"), (1e12, "trillions"), (1e9, "billions"), (1e6, "millions"), (1e3, "thousands"))
    return next(((size, word) for size, word in scales if most >= 2 * size), (1, ""))


def _amount(value: float, by: str) -> str:
    """A point on an axis in words."""
    if by == "multiply-adds":
        unit, word = _unit(value)
        return f"{value / unit:,.3g} {word.removesuffix('s')} multiply-adds".replace("  ", " ")
    number = f"{value:,.0f}" if by == "steps" or value >= 100 else f"{value:.3g}"
    return f"{number} {by.removesuffix('s') if number == '1' else by}"


def _so_far(at: float, last: float, by: str) -> str:
    """A point on an axis and its end, in one unit: "95 of 250 steps"."""
    unit = _unit(last)[0] if by == "multiply-adds" else 1
    number = f"{at:,.0f}" if by == "steps" else f"{at / unit:.3g}"
    return f"{number} of {_amount(last, by)}"


def _spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights that labels want, in rising order -> heights at least ``gap`` apart between ``low`` and ``high``, as
    near to them as can be (least squares: labels that would touch become one block around their mean).
    """
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    blocks: list[tuple[float, int]] = []  # (height less the gaps below it, labels)
    for k, height in enumerate(wanted):
        mean, count = height - gap * k, 1
        while blocks and blocks[-1][0] > mean:
            below, many = blocks.pop()
            mean, count = (below * many + mean * count) / (many + count), many + count
        blocks.append((mean, count))
    bare = [mean for mean, count in blocks for _ in range(count)]
    return [min(max(height, low), high - gap * (len(wanted) - 1)) + gap * k for k, height in enumerate(bare)]


def _name_heads(ax, heads: list[tuple], at: float, last: float) -> None:
    """The name of each head and its marker, right of it: spread where they would lie on one another, with a thin line
    to each head.

    A network that diverged is named where it did, if its name has room before ``at``.
    """
    from matplotlib.collections import LineCollection

    leaders, colours = [], []
    to_share = (ax.transData + ax.transAxes.inverted()).transform
    width, height = (ax.get_position().width, ax.get_position().height) * ax.figure.get_size_inches()
    shares = [to_share((x, y)) for *_, x, y, _ in heads]
    now = to_share((at, heads[0][4]))[0] if heads else 0
    # at this size a letter is 0.09 inches wide at most
    behind = [state == "diverged" and x + 0.06 + 0.09 * len(name) / width < now
              for (name, *_, state), (x, _) in zip(heads, shares, strict=True)]  # fmt: skip
    for group in (True, False):
        order = sorted((i for i in range(len(heads)) if behind[i] == group), key=lambda i: shares[i][1])
        places = _spread([float(shares[i][1]) for i in order], 0.155 / height, 0.012, 0.988)
        for i, place in zip(order, places, strict=True):
            name, colour, marker, _, _, state = heads[i]
            left = (shares[i][0] if group else now) + 0.04
            leaders.append(((*shares[i],), (left, place)))
            colours.append(colour)
            looks = {"facecolor": "white", "edgecolor": colour} if state == "ended" else {"color": colour}
            ax.scatter([left], [place], 22, marker=marker, transform=ax.transAxes, zorder=5, clip_on=False, **looks)
            ax.text(
                left + 0.016, place, name, transform=ax.transAxes, size=8.5, color=_INK, va="center", bbox=_halo(),
                zorder=5, style="italic" if state == "ended" else "normal",
            )  # fmt: skip
    lines = LineCollection(leaders, colors=colours, linewidths=0.7, transform=ax.transAxes, zorder=4, clip_on=False)
    ax.add_collection(lines, autolim=False)


def _halo() -> dict:
    return {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}


def _plain(size: tuple[float, float]):
    """A figure whose axes stand where they are put: nothing moves between frames, and it is drawn faster."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    figure.set_layout_engine("none")  # as an argument it would be forgotten when the figure is saved
    return figure


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "no number"


def _draw_standing(ax, places: list[Place], names: list[str]) -> None:
    """The standing as rows: rank, look, name, mean, lowest and highest seed. All frames of a race share the heights."""
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(len(places) + 5.2, -1.2))
    headers = {
        "running": "standing",
        "diverged": "diverged: no number any more",
        "ended": "ended before, held at the last value",
        "waiting": "not measured yet",
    }
    y, state, many = 0.0, "", any(place.low < place.high for place in places)
    for place in places:
        if place.state != state:
            y += 0.45 * bool(state)
            state = place.state
            ax.text(0.02, y, headers[state], size=8.5, weight="bold", color=_INK, va="center")
            if state == places[0].state and state != "waiting":
                ax.text(0.765, y, "mean" if many else "value", size=8, color=_GREY, ha="right", va="center")
                if many:
                    ax.text(1.0, y, "seeds", size=8, color=_GREY, ha="right", va="center")
            y += 1
        look = look_of(names.index(place.name))
        if place.rank:
            ax.text(0.065, y, f"{place.rank}", size=9, ha="right", va="center", color=_INK)
        hollow = {"markerfacecolor": "white"} if place.state == "ended" else {}
        ax.plot([0.095, 0.175], [y, y], color=look.colour, linestyle=look.line, linewidth=1.7)
        ax.plot(
            [0.135], [y], "x" if state == "diverged" else look.marker, color=look.colour, markersize=6.5,
            markeredgewidth=1.4, **hollow,
        )  # fmt: skip
        ax.text(0.2, y, place.name, size=9, va="center", color=_INK, style="italic" if state == "ended" else "normal")
        if state in ("running", "ended"):
            ax.text(0.765, y, _number(place.value), size=9, ha="right", va="center", color=_INK)
            if many:
                ax.text(1.0, y, f"{place.low:.2f} to {place.high:.2f}", size=8, ha="right", va="center", color=_GREY)
        y += 1


def _headline(places: list[Place], at: float, by: str, last: float) -> str:
    """Where the race is, and who leads."""
    where = f"at the end, {_amount(last, by)}" if at == last else f"at {_so_far(at, last, by)}"
    leaders = [place for place in places if place.rank == 1]
    if not leaders:
        return f"{where}: nobody has a rank"
    names = " and ".join(place.name for place in leaders)
    among = sum(place.rank is not None for place in places)
    if among == 1:
        return f"{where}: only {names}{' still' * (len(places) > 1)} in the race, {_number(leaders[0].value)}"
    still = "" if among == len(places) else f" the {among} in the race"
    return f"{where}: {names} lead{'s' * (len(leaders) == 1)}{still}, {_number(leaders[0].value)}"


def _told(places: list[Place]) -> str:
    """A standing in sentences."""
    said = []
    for state, words in (
        ("running", "Standing"),
        ("ended", "Ended before, held at their last value and not ranked"),
        ("diverged", "Diverged"),
        ("waiting", "Not measured yet"),
    ):
        rows = [place for place in places if place.state == state]
        values = state in ("running", "ended")
        named = [f"{f'{p.rank}. ' if p.rank else ''}{p.name}{f' {_number(p.value)}' if values else ''}" for p in rows]
        said += [f"{words}: {', '.join(named)}."] if rows else []
    return " ".join(said)


# ------------------------------------------------------------------------------------------------- all views, all ranks


@styled
def linked(racers: Mapping[str, Racer], *, highlight: str | None = None, title: str = "Side by side") -> Chart:
    """Racers by name -> six linked views: loss and accuracy by step, and what a step costs in seconds, multiply-adds,
    parameters and memory.

    With ``highlight`` that network is coloured in every view and the others are grey; without it each has its own look.
    Raises ValueError for no racers, and for a name that is not among them.
    """
    _known(racers, "steps", "loss")
    if highlight is not None and highlight not in racers:
        raise ValueError(f"there is no network {highlight!r}; there are {', '.join(racers)}")
    rows = len(racers)
    figure = _plain((10.0, 3.83 + 0.23 * rows))
    high = figure.get_figheight()  # in inches, as are the numbers below
    told = []
    for k, quantity in enumerate(QUANTITIES):
        ax = figure.add_axes((0.065 + 0.505 * k, (1.08 + 0.23 * rows) / high, 0.42, 2.3 / high))
        ax.set(ylim=_limits(racers, quantity), yscale="log" if quantity == "loss" else "linear")
        last = max(racer.steps[-1] for racer in racers.values())
        ax.set_xlim(0, 1.02 * last)
        _ticks(ax, "steps", last, quantity)
        ax.set_xlabel("steps")
        for i, (name, racer) in enumerate(racers.items()):
            look, x, mean, lowest, highest = look_of(i), *_curve(racer, "steps", quantity)
            mine = name == highlight
            if mine:
                ax.fill_between(x, lowest, highest, color=look.colour, alpha=0.18, linewidth=0, zorder=3)
            colour = look.colour if mine or highlight is None else _PALE
            width = 2.4 if mine else 1.6 if highlight is None else 1.0
            line = look.line if mine or highlight is None else "-"
            ax.plot(x, mean, color=colour, linestyle=line, linewidth=width, zorder=4 if mine else 2)
            whole = [(a, b) for a, b in zip(x, mean, strict=True) if math.isfinite(b)]
            if whole and (mine or highlight is None):
                marker = look.marker if math.isfinite(mean[-1]) else "x"
                ax.plot(*whole[-1], marker, color=look.colour, markersize=7 if mine else 5.5, zorder=5)
        if highlight is not None:
            told.append(_placed(racers, highlight, quantity))
            ax.text(
                0.98, 0.96 if quantity == "loss" else 0.05, told[-1], transform=ax.transAxes, ha="right",
                va="top" if quantity == "loss" else "bottom", size=9, color=_INK, bbox=_halo(), zorder=6,
            )  # fmt: skip
    costs = {
        "seconds a step": {name: _mean(_listed(r.seconds)) for name, r in racers.items()},
        "multiply-adds a step": {name: r.macs for name, r in racers.items()},
        "parameters": {name: r.params for name, r in racers.items()},
        "memory of a step (bytes)": {name: r.memory for name, r in racers.items()},
    }
    for k, (label, values) in enumerate(costs.items()):
        ax = figure.add_axes((0.205 + 0.2 * k, 0.15 / high, 0.155, 0.23 * rows / high))
        words = _draw_costs(ax, label, values, highlight, first=k == 0)
        if highlight is not None:
            told.append(f"{label}: {words}")
    figure.suptitle(
        f"{title}: {highlight or ('all ' * (rows > 1) + _networks(rows))}",
        x=0.012,
        y=0.985,
        ha="left",
        weight="bold",
        size=11,
    )
    spans = [
        f"{label} from {_short(min(known))} to {_short(max(known))}"
        for label, values in costs.items()
        if (known := [value for value in values.values() if value is not None])
    ]
    return Chart(
        figure,
        title,
        f"Six views of {_networks(rows)}: curves of loss and accuracy against steps, and bars for {', '.join(spans)}. "
        + (f"{highlight} is coloured: {'; '.join(told)}." if highlight else "Each network has its own colour."),
    )


@styled
def ranks(
    racers: Mapping[str, Racer],
    *,
    by: str = "steps",
    quantity: str = "loss",
    budgets: Sequence[float] | None = None,
    title: str = "How stable is the rank?",
) -> Chart:
    """Racers by name -> the place of each at several budgets on the axis ``by``, and at the last budget its place with
    each seed.

    The budgets are tenths, quarters and halves up to where the first network ends, unless said. Networks of which a
    seed diverged share the last place. Raises ValueError where a network was not measured yet, or ended before, at a
    budget, and where the networks have different numbers of seeds.
    """
    first, _ = _known(racers, by, quantity)
    begin = max(_points(racer, by)[0] for racer in racers.values())
    if budgets is None:
        budgets = [share * first for share in (0.1, 0.25, 0.5, 0.75, 1.0) if share * first >= begin] or [first]
        budgets = [round(at) for at in budgets] if by == "steps" else budgets
    budgets = [float(at) for at in budgets]
    if not budgets or any(b <= a for a, b in zip(budgets, budgets[1:], strict=False)):
        raise ValueError(f"budgets are at least one point, each above the one before it; got {budgets}")
    if not begin <= budgets[0] <= budgets[-1] <= first:  # then also nan
        raise ValueError(f"all networks can be compared from {begin:g} to {first:g} {AXES[by]}; got budgets {budgets}")
    counts = {name: len(racer.loss) for name, racer in racers.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"places by seed need as many seeds of each network; got {counts}")
    names, many = list(racers), next(iter(counts.values()))
    whole = [_all_ranked(standing(racers, at=at, by=by, quantity=quantity)) for at in budgets]
    by_seed = [
        _all_ranked(standing(racers, at=budgets[-1], by=by, quantity=quantity, seed=seed)) for seed in range(many)
    ]
    rows = [{name: row for row, name in enumerate(table)} for table in whole]  # ties stand one below the other
    figure = _plain((10.0, max(3.4, 1.35 + 0.3 * len(names))))
    high = figure.get_figheight()
    bottom, height = 0.62 / high, 1 - 1.2 / high
    ax = figure.add_axes((0.035, bottom, 0.445, height))
    right = figure.add_axes((0.66, bottom, 0.325, height))
    told = []
    for i, name in enumerate(names):
        look, heights = look_of(i), [table[name] for table in rows]
        ax.plot(
            range(len(budgets)), heights, color=look.colour, linestyle=look.line, marker=look.marker, markersize=7,
            linewidth=2, clip_on=False, zorder=3,
        )  # fmt: skip
        mine = [table[name] for table in by_seed]
        row = heights[-1]
        for x, text, side in ((1.03, f"{whole[-1][name]}", "right"), (1.05, name, "left")):
            ax.text(x, row, text, size=9, ha=side, va="center", color=_INK, transform=ax.get_yaxis_transform())
        right.plot([min(mine), max(mine)], [row, row], color=look.colour, linewidth=7, alpha=0.3)
        for place in sorted(set(mine)):
            size = 4.5 + 1.3 * mine.count(place)
            right.plot([place], [row], look.marker, color=look.colour, markersize=min(size, 11), zorder=3)
        told.append((row, f"{name} {whole[-1][name]} ({_range(mine)})"))
    ax.set(xlim=(-0.15, len(budgets) - 0.85), ylim=(len(names) - 0.5, -0.5), ylabel="place by the mean")
    unit, word = _unit(budgets[-1]) if by == "multiply-adds" else (1, "")
    ax.set_xticks(range(len(budgets)), [f"{at / unit:.3g}" for at in budgets])
    ax.set_xlabel(f"{AXES[by]}{f' ({word})' if word else ''}")
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(False, axis="y")
    right.set(xlim=(0.5, len(names) + 0.5), ylim=(len(names) - 0.5, -0.5), xticks=range(1, len(names) + 1), yticks=[])
    right.set_xlabel(f"place with each of {many} seeds, at {_amount(budgets[-1], by)}" if many > 1 else "place")
    right.spines["left"].set_visible(False)
    same, pairs = _agreed(by_seed)
    agreed = f": all {many} seeds agree on {same} of {pairs} pairs" if many > 1 and pairs else ""
    figure.suptitle(f"{title.removesuffix('?')}{agreed}" if agreed else title, x=0.012, y=0.975, ha="left",
                    weight="bold", size=11)  # fmt: skip
    said = ", ".join(words for _, words in sorted(told))
    moved = max(max(table[name] for table in rows) - min(table[name] for table in rows) for name in names)
    return Chart(
        figure,
        title,
        f"Places of {_networks(len(names))} by {QUANTITIES[quantity]} at {len(budgets)} budgets up to "
        f"{_amount(budgets[-1], by)}; the one that moves most moves by {moved}. At the last budget, by the mean and in "
        f"brackets with single seeds: {said}{agreed}.",
    )


def _placed(racers: Mapping[str, Racer], name: str, quantity: str) -> str:
    """A network's place in words, where the first of all ends."""
    places = standing(racers, at=finish(racers)[0], quantity=quantity)
    (mine,) = (place for place in places if place.name == name)
    what = quantity if quantity == "loss" else QUANTITIES[quantity]
    if mine.rank is None:
        return f"{what}: {mine.state if mine.state != 'waiting' else 'not measured yet'}, no place"
    return f"{what} {_number(mine.value)}, place {mine.rank} of {len(places)}"


def _draw_costs(ax, label: str, values: Mapping[str, float | None], highlight: str | None, first: bool) -> str:
    """One cost as bars, a row a network, from the top; returns what it is for the highlighted one."""
    known = [value for value in values.values() if value is not None]
    most = max(known, default=1) or 1
    words = ""
    for i, (name, value) in enumerate(values.items()):
        look, mine = look_of(i), name == highlight
        colour = look.colour if mine or highlight is None else "#D5D5D5"
        ink, weight = (_INK, "bold" if mine else "normal") if mine or highlight is None else (_GREY, "normal")
        if value is not None:
            ax.barh([i], [value / most], 0.68, color=colour)
        ax.text(
            0.02 + (value or 0) / most, i, "not measured" if value is None else _short(value), size=8, va="center",
            color=ink, weight=weight,
        )  # fmt: skip
        if mine:
            rank = sum(other < value for other in known) + 1 if value is not None else None
            words = f"{_short(value)}, {rank} of {len(known)} from the cheapest" if rank else "not measured"
        if first:
            ax.text(-0.32, i, name, size=9, ha="right", va="center", color=ink, weight=weight)
            seen = colour if highlight is None or mine else _PALE
            ax.plot([-0.28, -0.06], [i, i], color=seen, linestyle=look.line, linewidth=1.7, clip_on=False)
            ax.plot([-0.17], [i], look.marker, color=seen, markersize=6, clip_on=False)
    ax.set(xlim=(0, 1.38), ylim=(len(values) - 0.45, -0.55), xticks=[], yticks=[])
    ax.set_title(label, size=9.5, loc="left", pad=4)
    ax.grid(False)
    ax.spines["bottom"].set_visible(False)
    return words


def _short(value: float) -> str:
    """A cost in three figures: 0.0594, 8.45 M, 1.62 G."""
    if value < 1000 and value == round(value):
        return f"{value:.0f}"
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * size:
            figures = f"{value / size:#.3g}".rstrip(".") if value < 999.5 * size else f"{value / size:,.0f}"
            return figures + letter
    return f"{value:.3g}"


def _all_ranked(places: list[Place]) -> dict[str, int]:
    """A standing -> rank by name in order; who diverged shares the last place."""
    count = sum(place.rank is not None for place in places)
    return {place.name: place.rank or count + 1 for place in places}


def _agreed(tables: list[dict[str, int]]) -> tuple[int, int]:
    """Places by name, a table a seed -> how many pairs every seed puts in the same order (no tie), and how many there
    are.
    """
    pairs = list(combinations(tables[0], 2))
    orders = [{(t[a] > t[b]) - (t[a] < t[b]) for t in tables} for a, b in pairs]
    return sum(order in ({1}, {-1}) for order in orders), len(pairs)


def _networks(count: int) -> str:
    return f"{count} network{'s' * (count != 1)}"


def _range(numbers: Sequence[int]) -> str:
    return f"{min(numbers)}" if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"


# ----------------------------------------------------------------------------------------------------- cost and seconds


@styled
def costs(
    points: Mapping[str, tuple[float, float]],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    alt: str,
    rates: str = "",
    scale: float = 1.0,
    pair: Sequence[str] = (),
) -> Chart:
    """{name: (x, y)} -> named points on two logarithmic axes; ``pair`` names those to make stand out.

    ``rates``, such as ``"{:g} G a second"``, draws lines of equal x / y and writes that ratio, times ``scale``, on
    each: on a line all is in proportion, and who stands above it pays more y for each x. Raises ValueError for no
    points, or a value that is not above 0.
    """
    if not points:
        raise ValueError("there are no points to draw")
    for name, values in points.items():
        if not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError(f"logarithmic axes want numbers above 0, but {name} has {values}")
    figure, ax = canvas(size=(8.0, 4.6))
    xs, ys = zip(*points.values(), strict=True)
    ends = [_room(xs), _room(ys)]
    ax.set(xscale="log", yscale="log", xlim=ends[0], ylim=ends[1], xlabel=xlabel, ylabel=ylabel, title=title)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    for axis in (ax.xaxis, ax.yaxis):
        _few_ticks(axis)
    if rates:
        low, high = (math.log10(scale * ends[0][i] / ends[1][1 - i]) for i in (0, 1))
        for power in range(math.floor(2 * low), math.ceil(2 * high) + 1):
            said = float(f"{10 ** (power / 2):.1g}")
            rate = said / scale
            left, right = max(ends[0][0], rate * ends[1][0]), min(ends[0][1], rate * ends[1][1])
            if right < 2 * left:  # not on the picture, or only a corner of it
                continue
            ax.plot(ends[0], [x / rate for x in ends[0]], color="#BBBBBB", linewidth=0.9, linestyle=":", zorder=1)
            top = right / rate
            ax.annotate(
                rates.format(said), (right, top), xytext=(-4, -3 if top > 0.97 * ends[1][1] else 3),
                textcoords="offset points", ha="right", va="top" if top > 0.97 * ends[1][1] else "bottom",
                size=8, color="#777777",
            )  # fmt: skip
    for i, (name, (x, y)) in enumerate(points.items()):
        strong = not pair or name in pair
        ax.plot(
            [x], [y], MARKERS[i % len(MARKERS)], color=PALETTE[i % len(PALETTE)], markersize=9 if strong else 7,
            alpha=1 if strong else 0.45, markeredgecolor="black" if name in pair else "white", zorder=3,
        )  # fmt: skip
    _name_points(figure, ax, points, pair)
    return Chart(figure, title, alt)


def _room(values: Sequence[float]) -> tuple[float, float]:
    """Ends of a logarithmic axis with a little room on both sides; at least a factor of three apart."""
    low, high = min(values), max(values)
    more = max((high / low) ** 0.1, 1.25, math.sqrt(3 / (high / low)) if high / low < 3 else 1.0)
    return low / more, high * more


def _few_ticks(axis) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_formatter(NullFormatter())


def _name_points(
    figure, ax, points: Mapping[str, tuple[float, float]], pair: Sequence[str], line: Sequence[tuple] = ()
) -> None:
    """Write each name beside its point, where it hits the fewest others, and not on ``line`` through some points."""
    from matplotlib.path import Path

    places = [(9, 0, "left"), (-9, 0, "right"), (0, 12, "center"), (0, -12, "center"), (8, 10, "left")]
    places += [(8, -10, "left"), (-8, 10, "right"), (-8, -10, "right"), (0, 22, "center"), (0, -22, "center")]
    places += [(10, 20, "left"), (-10, 20, "right"), (10, -20, "left"), (-10, -20, "right")]
    figure.draw_without_rendering()  # the layout decides where things are
    area = ax.get_window_extent()
    dots = {name: ax.transData.transform(point) for name, point in points.items()}
    taken = [text.get_window_extent() for text in ax.texts]
    drawn = Path(ax.transData.transform(line)) if line else None

    def hits(box, own: str) -> float:
        outside = box.x0 < area.x0 or box.x1 > area.x1 or box.y0 < area.y0 or box.y1 > area.y1
        over = sum(box.overlaps(other) for other in taken)
        near = [(x - box.x0, box.x1 - x, y - box.y0, box.y1 - y) for name, (x, y) in dots.items() if name != own]
        on = sum(min(gaps) > -5 for gaps in near)
        crosses = drawn is not None and drawn.intersects_bbox(box.padded(2), filled=False)
        return 3 * over + 2 * on + 4 * outside + 2 * crosses

    for name in sorted(points, key=lambda name: name not in pair):
        text = ax.annotate(
            name, points[name], xytext=(0, 0), textcoords="offset points", va="center", size=9, zorder=4,
            weight="bold" if name in pair else "normal", color="#222222" if not pair or name in pair else "#777777",
        )  # fmt: skip
        best = None
        for rank, (right, up, side) in enumerate(places):
            text.set(position=(right, up), ha=side)
            score = hits(text.get_window_extent(), name) + 0.01 * rank
            if best is None or score < best[0]:
                best = (score, right, up, side)
        text.set(position=best[1:3], ha=best[3])
        taken.append(text.get_window_extent())


#: Every kind of layer that ``measure.spent`` knows has one colour and one hatch.
KINDS = {
    "1 x 1": (PALETTE[0], ""),
    "3 x 3": (PALETTE[1], ""),
    "5 x 5": (PALETTE[2], ""),
    "1 x 7": (PALETTE[4], ""),
    "1 x 3": (PALETTE[5], ""),
    "other kernels": (PALETTE[7], ""),
    "linear": (PALETTE[3], ""),
    "batch norm": ("#9C9C9C", "//"),
    "response norm": ("#6E6E6E", "xx"),
    "pooling": ("#B8B8B8", ".."),
    "ReLU": ("#D0D0D0", "\\\\"),
    "side by side": ("#858585", "--"),
    "other": ("#EEEEEE", ""),
}


@styled
def shares(rows: Mapping[str, Mapping[str, float]], *, xlabel: str, title: str, alt: str) -> Chart:
    """{row: {kind of layer: value}} -> one bar a row, cut into its kinds' shares of the whole; grey is what multiplies
    nothing.

    Kinds that ``KINDS`` does not have are added up: kernels to "other kernels", the rest to "other". Raises ValueError
    for a row without anything in it, and for no row at all.
    """
    if not rows:
        raise ValueError("there are no rows to share out")
    cut = {}
    for name, row in rows.items():
        known: dict[str, float] = {}
        for kind, value in row.items():
            place = kind if kind in KINDS else "other kernels" if " x " in kind else "other"
            known[place] = known.get(place, 0.0) + value
        if not sum(known.values()) > 0:
            raise ValueError(f"{name} has nothing to share out")
        cut[name] = {kind: value / sum(known.values()) for kind, value in known.items()}
    figure, ax = canvas(size=(8.0, 1.5 + 0.42 * len(rows)))
    left = dict.fromkeys(cut, 0.0)
    for kind, (colour, hatch) in KINDS.items():
        widths = [row.get(kind, 0.0) for row in cut.values()]
        if not any(widths):
            continue
        drawn = ax.barh(
            list(cut), widths, 0.74, left=list(left.values()), color=colour, hatch=hatch, edgecolor="white", label=kind
        )
        dark = kind in ("1 x 1", "3 x 3", "5 x 5", "other kernels", "response norm")
        ax.bar_label(
            drawn, [f"{w:.0%}" if w >= 0.06 else "" for w in widths], label_type="center", size=8.5,
            color="white" if dark and not hatch else "#222222",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8} if hatch else None,
        )  # fmt: skip
        left = {name: left[name] + width for name, width in zip(cut, widths, strict=True)}
    ax.set(xlim=(0, 1), xlabel=xlabel, title=title, ylim=(len(cut) - 0.5, -0.5))
    ax.xaxis.set_major_formatter(lambda value, place: f"{value:.0%}")
    ax.grid(False)
    ax.legend(ncols=1, loc="center left", bbox_to_anchor=(1.03, 0.5), fontsize=9)
    return Chart(figure, title, alt)


@styled
def roofline(points: Mapping[str, tuple[float, float]], macs: float, moved: float, *, title: str, alt: str) -> Chart:
    """{kind: (multiply-adds a byte, multiply-adds a second)} and what the machine can do at best in a second
    (multiply-adds, and bytes to and from memory) -> points under a roof. A kind, which has a colour, may have more
    behind a comma, such as its network, which has a marker.

    Left of the ridge memory is the limit, right of it arithmetic. Raises ValueError for a value that is not above 0,
    and where there are no points.
    """
    if not points:
        raise ValueError("there are no points to draw")
    for name, values in [*points.items(), ("the machine", (macs, moved))]:
        if not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError(f"logarithmic axes want numbers above 0, but {name} has {values}")
    figure, ax = canvas(size=(8.0, 5.4))
    ridge = macs / moved
    xs = [x for x, _ in points.values()]
    left, right = min([*xs, ridge]) / 1.8, max([*xs, ridge]) * 3
    ax.plot([left, ridge], [left * moved / 1e9, macs / 1e9], color="black", linewidth=1.8)
    ax.plot([ridge, right], [macs / 1e9] * 2, color="black", linewidth=1.8)
    highest = max([y for _, y in points.values()] + [macs]) / 1e9
    lowest = min([y for _, y in points.values()] + [left * moved]) / 1e9
    ax.set(xscale="log", yscale="log", xlim=(left, right), ylim=(lowest / 1.6, highest * 2.2), title=title)
    ax.set(xlabel="multiply-adds for each byte moved to or from memory", ylabel="G multiply-adds a second")
    for axis in (ax.xaxis, ax.yaxis):
        _few_ticks(axis)
        axis.set_major_formatter("{x:g}")
    ax.annotate(
        f"limit of arithmetic: {macs / 1e9:.0f} G a second", (ridge, macs / 1e9), xytext=(4, 4),
        textcoords="offset points", ha="left", va="bottom", size=9,
    )  # fmt: skip
    middle = math.sqrt(left * ridge)
    ax.text(
        middle, 1.05 * middle * moved / 1e9, f"limit of memory: {moved / 1e9:.0f} GB a second", ha="center",
        va="bottom", size=9, rotation=math.degrees(math.atan(moved / 1e9)), rotation_mode="anchor",
        transform_rotates_text=True,
    )  # fmt: skip
    behind = list(dict.fromkeys(name.partition(",")[2] for name in points))
    for name, (x, y) in points.items():
        kind, _, more = name.partition(",")
        colour = KINDS.get(kind, KINDS["other kernels"])[0]
        mark = MARKERS[behind.index(more) % len(MARKERS)]
        ax.plot([x], [y / 1e9], mark, color=colour, markersize=9, markeredgecolor="white", zorder=3)
    roof = ((left, left * moved / 1e9), (ridge, macs / 1e9), (right, macs / 1e9))
    _name_points(figure, ax, {name: (x, y / 1e9) for name, (x, y) in points.items()}, (), line=roof)
    return Chart(figure, title, alt)


@styled
def occlusion(
    images: Tensor,
    losses: Mapping[str, Tensor],
    titles: Sequence[str] = (),
    *,
    patch: int,
    stride: int,
    scale: str,
    title: str,
    alt: str,
) -> Chart:
    """Images (N, 3, H, W) in [0, 1] and rows of maps {label: (N, rows, columns)}, each what covering a patch costs ->
    the pictures, and below them one row a label: a map over the faint picture.

    All maps share one colour scale, ``scale`` says of what: a map with a scale of its own would look busy even where
    nothing happens. Each number is a square of ``stride`` pixels in the middle of its patch. Raises ValueError for
    another number of maps than of pictures.
    """
    for label, maps in losses.items():
        if len(maps) != len(images):
            raise ValueError(f"wanted one map for each of {len(images)} pictures, but {label!r} has {len(maps)}")
    count, most = len(images), max(float(maps.abs().max()) for maps in losses.values()) or 1.0
    figure, axes = canvas(
        1 + len(losses),
        count,
        size=(max(0.9 + 1.15 * count, 0.09 * len(title) + 0.3), 1.28 * (1 + len(losses)) + 0.5),
        squeeze=False,
    )
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    height, width = images.shape[2:]
    for row, (label, maps) in enumerate([("picture", None), *losses.items()]):
        for n, ax in enumerate(axes[row]):
            _bare(ax)
            picture = images[n].permute(1, 2, 0).clamp(0, 1)
            ax.imshow(
                (picture if maps is None else 0.75 + 0.25 * picture.mean(2, keepdim=True).expand(-1, -1, 3)).numpy()
            )
            if row == 0 and n < len(titles):
                ax.set_title(titles[n], size=9, weight="normal", loc="center", pad=3)
            if n == 0:
                ax.set_ylabel(label, size=9)
            if maps is not None:
                down, across = maps[n].shape
                left, top = ((side - (k - 1) * stride) / 2 - 0.5 for side, k in ((width, across), (height, down)))
                edges = (
                    left - stride / 2,
                    left + (across - 0.5) * stride,
                    top + (down - 0.5) * stride,
                    top - stride / 2,
                )
                drawn = ax.imshow(
                    maps[n].numpy(),
                    cmap="PuOr_r",
                    vmin=-most,
                    vmax=most,
                    extent=edges,
                    alpha=0.75,
                    interpolation="nearest",
                )
                ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    figure.colorbar(drawn, ax=axes, label=scale, shrink=0.6)
    return Chart(figure, title, alt)


@styled
def gallery(
    groups: Mapping[str, Tensor],
    rows: Sequence[str],
    under: Mapping[str, Sequence[str]] | None = None,
    *,
    title: str,
    alt: str,
) -> Chart:
    """{heading: pictures (R, n, 3, H, W) in [0, 1]} and R names -> one row a name, the groups side by side under their
    headings; ``under`` puts one line below each row's pictures of a group.

    Raises ValueError for pictures of another shape.
    """
    import textwrap

    from matplotlib.figure import Figure

    for heading, pictures in groups.items():
        if pictures.ndim != 5 or len(pictures) != len(rows):
            raise ValueError(f"wanted pictures ({len(rows)}, n, 3, H, W), but {heading!r} has {tuple(pictures.shape)}")
    counts = [pictures.shape[1] for pictures in groups.values()]
    # Everything stands at whole hundredths of an inch, which are pixels: small pictures stay sharp, the file small.
    each, step, left, line = 0.96, 1.02, 0.2 + 0.075 * max(map(len, rows)), 0.17
    gap = 0.2 if len(groups) < 8 else 0.0
    headings = [textwrap.wrap(heading, max(6, int(12 * step * n))) for heading, n in zip(groups, counts, strict=True)]
    deep, foot = line * max(map(len, headings)) + 0.1, 0.22 * bool(under)
    width = max(left + step * sum(counts) + gap * (len(groups) - 1) + 0.1, 0.085 * len(title) + 0.2)
    height = round(0.4 + deep + (step + foot) * len(rows), 2)
    width, left = round(width, 2), round(left, 2)
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("none")
    figure.text(0.1 / width, 1 - 0.1 / height, title, ha="left", va="top", weight="bold", size=11)
    x = left
    for heading, words, pictures, n in zip(groups, headings, groups.values(), counts, strict=True):
        centre = (x + (step * n - 0.06) / 2) / width
        top = height - 0.4 - deep
        figure.text(centre, (top + 0.06) / height, "\n".join(words), ha="center", va="bottom", size=9.5)
        for r, name in enumerate(rows):
            y = round(top - r * (step + foot) - each, 2)
            for k in range(n):
                ax = figure.add_axes(((x + k * step) / width, y / height, each / width, each / height))
                _bare(ax)
                ax.imshow(pictures[r, k].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
            if x == left:
                figure.text((left - 0.08) / width, (y + each / 2) / height, name, ha="right", va="center", size=9)
            if under and under.get(heading):
                figure.text(centre, (y - 0.03) / height, under[heading][r], ha="center", va="top", size=8.5)
        x = round(x + step * n + gap, 2)
    return Chart(figure, title, alt, colours=256)


@styled
def filters(groups: Mapping[str, Tensor], *, columns: int = 16, title: str, alt: str) -> Chart:
    """{label: kernels (count, 3, h, w)} -> the kernels as small pictures, numbered from 0, a row a group: those of one
    number stand below each other.

    A weight of 0 is mid-grey, and each kernel has a scale of its own: this shows what a filter looks for, not how
    loudly it answers. Raises ValueError for kernels that are not of three colours.
    """
    for label, kernels in groups.items():
        if kernels.ndim != 4 or kernels.shape[1] != 3 or len(kernels) == 0:
            raise ValueError(f"wanted kernels (count, 3, h, w) of colours, but {label!r} has {tuple(kernels.shape)}")
    deep = math.ceil(max(map(len, groups.values())) / columns)  # so many times all groups, one below the other
    size = max(1.3 + 0.43 * columns, 0.09 * len(title) + 0.3), 0.35 + deep * (0.45 * len(groups) + 0.22)
    figure, axes = canvas(deep * len(groups), columns, size=size, squeeze=False)
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    for g, (label, kernels) in enumerate(groups.items()):
        for n in range(deep * columns):
            ax = axes[n // columns * len(groups) + g, n % columns]
            _bare(ax, hide=n >= len(kernels))
            if n >= len(kernels):
                continue
            picture = 0.5 + 0.5 * kernels[n].float() / kernels[n].float().abs().max().clamp(min=1e-12)
            ax.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
            if g == 0:
                ax.set_title(f"{n}", size=9, weight="normal", loc="center", pad=3)
            if n % columns == 0:
                ax.set_ylabel(label, size=9, rotation=0, ha="right", va="center")
    return Chart(figure, title, alt)
