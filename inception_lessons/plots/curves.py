"""Charts of numbers: losses of runs, live or stored, and bars, lines and seeds."""

import math
import time
from collections.abc import Mapping, Sequence
from numbers import Real

import torch

from inception_lessons.plots.base import BRANCHES, PALETTE, Chart, came, canvas, look_of, positive, styled

_HATCHES = ("", "//", "..", "xx")


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
    positive("every", every)
    if not isinstance(runs, Mapping):
        raise ValueError(f"runs are loss curves by name, {{name: [curve, ...]}}, not {came(runs)}")
    for name, curves in runs.items():
        if not isinstance(curves, Sequence) or any(not isinstance(curve, Sequence) for curve in curves):
            raise ValueError(f"{name} should have a list of curves, one for each seed, and has {came(curves)}")
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
    xlabel: str = "",
) -> Chart:
    """{series: {category: value}} -> grouped or stacked bars, a series one colour and one hatch. ``number`` formats a
    label on each bar, ``xlabel`` says what categories are that do not speak for themselves. Raises ValueError where
    there is no bar.
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
    ax.set(xticks=range(len(categories)), xticklabels=categories, xlabel=xlabel, ylabel=ylabel, title=title)
    if log:
        ax.set_yscale("log")
    if len(categories) > 10:
        ax.tick_params(axis="x", rotation=40)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")  # a long name ends under its own bars
    ax.grid(False, axis="x")
    if len(groups) > 1:
        if len(groups) <= len(PALETTE):
            ax.legend(ncols=len(groups), loc="lower center", bbox_to_anchor=(0.5, -0.4 if xlabel else -0.32))
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

    Every x has a place of its own, equally far from the next: in the order in which they come, or where the x of the
    lines differ and all are numbers, from small to large.
    """
    figure, ax = canvas(size=(8.0, max(3.4, 0.8 + 0.23 * len(series))))  # the legend grows with the names
    given = [list(points) for points in series.values()]
    places = [x for xs in given for x in xs]
    numbers = all(isinstance(x, Real) and not isinstance(x, bool) for x in places)
    if numbers and any(xs != given[0] for xs in given):
        ax.xaxis.update_units([str(x) for x in sorted(places)])
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
        above = [i + 0.13 * (dots[:k].count(dot) - (dots.count(dot) - 1) / 2) for k, dot in enumerate(dots)]
        ax.plot(dots, above, look.marker, color=look.colour, markersize=5)  # equal values stand above each other
        ax.plot([mean], [i], "|", color=look.colour, markersize=18, markeredgewidth=2)
    ax.set(
        yticks=range(len(values)), yticklabels=list(values), xlabel=xlabel, title=title, ylim=(len(values) - 0.5, -0.5)
    )
    ax.grid(False, axis="y")
    return Chart(figure, title, alt)
