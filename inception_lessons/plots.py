"""Numbers in, charts out. A ``Chart`` is a picture with a sentence for those who cannot see it; a notebook shows it
as the last value of a cell.

One family: a colour-blind-safe palette (Okabe and Ito), a line style and a marker that vary along with the colour,
axes with units. Figures are built without pyplot, so that nothing is kept alive behind the lesson's back and no
backend is chosen.
"""

import functools
import io
import math
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D00")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)), (0, (3, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Every branch of a V1 module has one colour in all charts.
BRANCHES = {
    "b1": ("1 x 1", PALETTE[0]),
    "b3": ("3 x 3", PALETTE[1]),
    "b5": ("5 x 5", PALETTE[2]),
    "pool": ("pool", PALETTE[3]),
}

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
    the PNG.
    """

    def __init__(self, figure, title: str, alt: str):
        if len(alt) < 20:
            raise ValueError(f"alt says in a sentence what the chart shows; got {alt!r}")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100, facecolor="white")
        self.figure, self.title, self.alt, self.png = figure, title, alt, buffer.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/png": self.png, "text/plain": repr(self)}, {"image/png": {"alt": self.alt}}

    def __repr__(self) -> str:
        return f"<Chart: {self.title}>"

    def save(self, path) -> None:
        """Write the picture as a PNG file."""
        with open(path, "wb") as file:
            file.write(self.png)


def styled(draw):
    """Decorate a function that makes a chart: it runs in the course's style, whatever matplotlib's settings are
    outside.
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
    """Images (N, 3, H, W) in [0, 1] -> a grid. ``good`` frames each: a solid frame for True, a dashed one for False."""
    count = len(images)
    if count == 0:
        raise ValueError("there are no images to show")
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
    drawn over the bands so that a learner can tell slow from broken. ``chance`` draws the loss of guessing.
    """
    figure, ax = canvas(size=(8.0, 3.4))
    for i, (name, curves) in enumerate(runs.items()):
        if not curves:  # every run of this arm diverged: its colour and line style stay its own
            continue
        length = min(map(len, curves))
        x = [every * (k + 1) for k in range(length)]
        stack = torch.tensor([list(curve[:length]) for curve in curves], dtype=torch.float64)
        ax.fill_between(x, stack.amin(0), stack.amax(0), color=PALETTE[i], alpha=0.18, linewidth=0)
        ax.plot(
            x,
            stack.mean(0),
            color=PALETTE[i],
            linestyle=LINES[i],
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
    """Column names and rows -> a Markdown table; whole numbers get thousands separators and, like other numbers,
    stand on the right.
    """
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"every row needs {len(columns)} entries ({', '.join(columns)})")
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    cells = [[f"{v:,}" if isinstance(v, int) and not isinstance(v, bool) else str(v) for v in row] for row in rows]
    ruler = ["---:" if r else "---" for r in right]
    return Markdown("\n".join("| " + " | ".join(row) + " |" for row in [list(columns), ruler, *cells]))


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
    label on each bar.
    """
    categories = list(dict.fromkeys(c for series in groups.values() for c in series))
    figure, ax = canvas(size=(8.0, 3.4))
    bottom, width = [0.0] * len(categories), 0.8 if stacked else 0.8 / len(groups)
    for i, (name, series) in enumerate(groups.items()):
        heights = [series.get(c, 0.0) for c in categories]
        x = [k if stacked else k - 0.4 + width * (i + 0.5) for k in range(len(categories))]
        colour = (colours or {}).get(name, PALETTE[i])
        drawn = ax.bar(
            x,
            heights,
            width * 0.95,
            bottom=bottom if stacked else 0,
            color=colour,
            label=name,
            hatch=("", "//", "..", "xx")[i % 4],
            edgecolor="white",
        )
        if number:
            ax.bar_label(drawn, [format(h, number) for h in heights], size=8.5, padding=2)
        if stacked:
            bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    ax.set(xticks=range(len(categories)), xticklabels=categories, ylabel=ylabel, title=title)
    if log:
        ax.set_yscale("log")
    if len(categories) > 10:
        ax.tick_params(axis="x", rotation=40)
    ax.grid(False, axis="x")
    if len(groups) > 1:
        ax.legend(ncols=len(groups), loc="lower center", bbox_to_anchor=(0.5, -0.32))
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
    figure, ax = canvas(size=(8.0, 3.4))
    for i, (name, points) in enumerate(series.items()):
        colour = next((c for label, c in BRANCHES.values() if label == name), PALETTE[i])
        x, y = [str(k) for k in points], list(points.values())
        ax.plot(x, y, color=colour, linestyle=LINES[i], marker=MARKERS[i], label=name)
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
    the mean.
    """
    figure, ax = canvas(size=(8.0, 0.9 + 0.55 * len(values)))
    for i, (name, dots) in enumerate(values.items()):
        mean = sum(dots) / len(dots)
        ax.plot(intervals[name], [i, i], color=PALETTE[i], linewidth=7, alpha=0.3, solid_capstyle="butt")
        ax.plot(dots, [i] * len(dots), MARKERS[i], color=PALETTE[i], markersize=5)
        ax.plot([mean], [i], "|", color=PALETTE[i], markersize=18, markeredgewidth=2)
    ax.set(
        yticks=range(len(values)), yticklabels=list(values), xlabel=xlabel, title=title, ylim=(len(values) - 0.5, -0.5)
    )
    ax.grid(False, axis="y")
    return Chart(figure, title, alt)


@styled
def maps(image: Tensor, chosen: Tensor, others: Mapping[str, Tensor], *, title: str, alt: str) -> Chart:
    """One image (3, H, W), one feature map (h, w), and rows of further maps {label: (count, h, w)} -> picture, map,
    and rows of small maps.

    Each small map has its own brightness scale: this shows where a channel answers, not how strongly.
    """
    figure, _ = canvas(size=(8.0, 4.3), subplot_kw={"visible": False})
    grid = figure.add_gridspec(2, 2, width_ratios=[1, 2.6])
    for ax, picture, label in (
        (figure.add_subplot(grid[0, 0]), image.permute(1, 2, 0).clamp(0, 1), "image"),
        (figure.add_subplot(grid[1, 0]), chosen, "chosen channel"),
    ):
        _bare(ax)
        ax.imshow(picture.numpy(), interpolation="nearest")
        ax.set_title(label, size=9, weight="normal", loc="center")
    columns = max(len(rows) for rows in others.values())
    inner = grid[:, 1].subgridspec(len(others), columns, wspace=0.06, hspace=0.1)
    for r, (label, rows) in enumerate(others.items()):
        for c in range(columns):
            ax = figure.add_subplot(inner[r, c])
            _bare(ax, hide=c >= len(rows))
            if c < len(rows):
                ax.imshow(rows[c].numpy(), interpolation="nearest")
            if c == 0:
                ax.set_ylabel(label, size=9, rotation=0, ha="right", va="center")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    return Chart(figure, title, alt)


@styled
def matrix(values: Tensor, groups: Sequence[str], *, title: str, alt: str) -> Chart:
    """Correlations (C, C) with each row's group, rows of a group together -> a square picture with the groups'
    borders drawn.
    """
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

    Under each stands what it costs. Drawn to one scale, so that the two can be compared by eye.
    """
    naive = {"b1": [(1, n1)], "b3": [(3, n3)], "b5": [(5, n5)], "pool": [("max", c_in)]}
    reduced = {"b1": [(1, n1)], "b3": [(1, r3), (3, n3)], "b5": [(1, r5), (5, n5)], "pool": [("max", c_in), (1, proj)]}
    figure, axes = canvas(1, 2, size=(10.0, 4.4))
    widest = max(sum(max(c for _, c in path) for path in form.values()) for form in (naive, reduced))
    totals = []
    for ax, form, label in (
        (axes[0], naive, "Fig. 2(a): naive"),
        (axes[1], reduced, "Fig. 2(b): with 1 x 1 reductions"),
    ):
        params, macs, out = _draw_module(ax, form, c_in, grid, widest)
        totals.append((params, macs, out))
        ax.set_title(f"{label}\n{params:,} parameters, {macs / 1e6:.1f} M multiply-adds", size=10, loc="center")
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


def _draw_module(ax, form, c_in: int, grid: int, widest: int) -> tuple[int, int, int]:
    """Draw one form of the module bottom to top; returns parameters (with biases), multiply-adds and channels out."""
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
            ax.text(
                middle + count * unit / 2 + 0.006, y, text, ha="left", va="center", size=8.5, color="#333333", zorder=3
            )

    def wire(a: tuple[float, float], b: tuple[float, float]) -> None:
        ax.plot(*zip(a, b, strict=True), color="#BBBBBB", linewidth=1.2, zorder=1)

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


def _bare(ax, hide: bool = False) -> None:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.set_visible(not hide)
    for spine in ax.spines.values():
        spine.set_visible(False)


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


def _name_points(figure, ax, points: Mapping[str, tuple[float, float]], pair: Sequence[str]) -> None:
    """Write each name beside its point, where it hits the fewest others."""
    places = [(9, 0, "left"), (-9, 0, "right"), (0, 12, "center"), (0, -12, "center"), (8, 10, "left")]
    places += [(8, -10, "left"), (-8, 10, "right"), (-8, -10, "right"), (0, 22, "center"), (0, -22, "center")]
    figure.draw_without_rendering()  # the layout decides where things are
    area = ax.get_window_extent()
    dots = {name: ax.transData.transform(point) for name, point in points.items()}
    taken = [text.get_window_extent() for text in ax.texts]

    def hits(box, own: str) -> float:
        outside = box.x0 < area.x0 or box.x1 > area.x1 or box.y0 < area.y0 or box.y1 > area.y1
        over = sum(box.overlaps(other) for other in taken)
        near = [(x - box.x0, box.x1 - x, y - box.y0, box.y1 - y) for name, (x, y) in dots.items() if name != own]
        on = sum(min(gaps) > -5 for gaps in near)
        return 3 * over + 2 * on + 4 * outside

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
    for a row without anything in it.
    """
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
    (multiply-adds, and bytes to and from memory) -> points under a roof. A kind may have more behind a comma.

    Left of the ridge memory is the limit, right of it arithmetic. Raises ValueError for a value that is not above 0.
    """
    for name, values in [*points.items(), ("the machine", (macs, moved))]:
        if not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError(f"logarithmic axes want numbers above 0, but {name} has {values}")
    figure, ax = canvas(size=(8.0, 4.2))
    ridge = macs / moved
    xs = [x for x, _ in points.values()]
    left, right = min([*xs, ridge]) / 1.8, max([*xs, ridge]) * 3
    ax.plot([left, ridge], [left * moved / 1e9, macs / 1e9], color="black", linewidth=1.8)
    ax.plot([ridge, right], [macs / 1e9] * 2, color="black", linewidth=1.8)
    highest = max([y for _, y in points.values()] + [macs]) / 1e9
    lowest = min([y for _, y in points.values()] + [left * moved]) / 1e9
    ax.set(xscale="log", yscale="log", xlim=(left, right), ylim=(lowest / 1.6, highest * 2.2), title=title)
    ax.set(xlabel="multiply-adds for each byte moved", ylabel="G multiply-adds a second")
    for axis in (ax.xaxis, ax.yaxis):
        _few_ticks(axis)
        axis.set_major_formatter("{x:g}")
    ax.annotate(
        f"arithmetic: {macs / 1e9:.0f} G a second", (ridge, macs / 1e9), xytext=(4, 4), textcoords="offset points",
        ha="left", va="bottom", size=9,
    )  # fmt: skip
    ax.annotate(
        f"memory: {moved / 1e9:.0f} GB a second", (math.sqrt(left * ridge), math.sqrt(left * ridge) * moved / 1e9),
        xytext=(10, -4), textcoords="offset points", ha="left", va="top", size=9,
    )  # fmt: skip
    for i, (name, (x, y)) in enumerate(points.items()):
        colour = KINDS.get(name.split(",")[0], KINDS["other kernels"])[0]
        mark = MARKERS[i % len(MARKERS)]
        ax.plot([x], [y / 1e9], mark, color=colour, markersize=9, markeredgecolor="white", zorder=3)
    _name_points(figure, ax, {name: (x, y / 1e9) for name, (x, y) in points.items()}, ())
    return Chart(figure, title, alt)
