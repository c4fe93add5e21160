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
    the PNG. ``colours`` keeps at most so many (256 or fewer) in it, which halves the file of a noisy picture; 0 keeps
    all.
    """

    def __init__(self, figure, title: str, alt: str, *, colours: int = 0):
        if len(alt) < 20:
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
    nothing happens. Each number is a square of ``stride`` pixels in the middle of its patch.
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
def filters(groups: Mapping[str, Tensor], *, columns: int = 8, title: str, alt: str) -> Chart:
    """{label: kernels (count, 3, h, w)} -> the kernels of each group as small pictures, groups side by side.

    A weight of 0 is mid-grey, and each kernel has a scale of its own: this shows what a filter looks for, not how
    loudly it answers.
    """
    for label, kernels in groups.items():
        if kernels.ndim != 4 or kernels.shape[1] != 3 or len(kernels) == 0:
            raise ValueError(f"wanted kernels (count, 3, h, w) of colours, but {label!r} has {tuple(kernels.shape)}")
    deepest = max(math.ceil(len(kernels) / columns) for kernels in groups.values())
    figure, _ = canvas(size=(8.0, 8.0 / (len(groups) * columns) * deepest * 0.97 + 0.8), subplot_kw={"visible": False})
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    outer = figure.add_gridspec(1, len(groups), wspace=0.06)
    for g, (label, kernels) in enumerate(groups.items()):
        inner = outer[g].subgridspec(deepest, columns, wspace=0.1, hspace=0.1)
        for n, kernel in enumerate(kernels.float()):
            ax = figure.add_subplot(inner[n // columns, n % columns])
            _bare(ax)
            picture = 0.5 + 0.5 * kernel / kernel.abs().max().clamp(min=1e-12)
            ax.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
            if n == (columns - 1) // 2:
                ax.set_title(label, size=9.5, weight="normal", loc="center", pad=5)
    return Chart(figure, title, alt)
