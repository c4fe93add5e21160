"""All views of the racers side by side, and how stable their ranks are."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from inception_lessons.plots.base import GREY, INK, PALE, Chart, look_of, plain, styled
from inception_lessons.plots.racers import (
    AXES,
    QUANTITIES,
    Place,
    Racer,
    average,
    finish,
    known_ends,
    listed,
    points_of,
    standing,
)
from inception_lessons.plots.scales import amount, curve_of, decimals, limits_of, networks, put_ticks, unit_of


@styled
def linked(racers: Mapping[str, Racer], *, highlight: str | None = None, title: str = "Side by side") -> Chart:
    """Racers by name -> six linked views: loss and accuracy by step, and what a step costs in seconds, multiply-adds,
    parameters and memory.

    With ``highlight`` that network is coloured in every view and the others are grey; without it each has its own look.
    Raises ValueError for no racers, and for a name that is not among them.
    """
    known_ends(racers, "steps", "loss")
    if highlight is not None and highlight not in racers:
        raise ValueError(f"there is no network {highlight!r}; there are {', '.join(racers)}")
    rows = len(racers)
    figure = plain((10.0, 3.83 + 0.23 * rows))
    high = figure.get_figheight()  # in inches, as are the numbers below
    told = []
    for k, quantity in enumerate(QUANTITIES):
        ax = figure.add_axes((0.065 + 0.505 * k, (1.08 + 0.23 * rows) / high, 0.42, 2.3 / high))
        ax.set(ylim=limits_of(racers, quantity), yscale="log" if quantity == "loss" else "linear")
        last = max(racer.steps[-1] for racer in racers.values())
        ax.set_xlim(0, 1.02 * last)
        put_ticks(ax, "steps", last, quantity)
        ax.set_xlabel("steps")
        for i, (name, racer) in enumerate(racers.items()):
            look, x, mean, lowest, highest = look_of(i), *curve_of(racer, "steps", quantity)
            mine = name == highlight
            if mine:
                ax.fill_between(x, lowest, highest, color=look.colour, alpha=0.18, linewidth=0, zorder=3)
            colour = look.colour if mine or highlight is None else PALE
            width = 2.4 if mine else 1.6 if highlight is None else 1.0
            line = look.line if mine or highlight is None else "-"
            ax.plot(x, mean, color=colour, linestyle=line, linewidth=width, zorder=4 if mine else 2)
            whole = [(a, b) for a, b in zip(x, mean, strict=True) if math.isfinite(b)]
            if whole and (mine or highlight is None):
                marker = look.marker if math.isfinite(mean[-1]) else "x"
                ax.plot(*whole[-1], marker, color=look.colour, markersize=7 if mine else 5.5, zorder=5)
        if highlight is not None:
            told.append(_placed(racers, highlight, quantity))
            ax.set_title(told[-1], loc="right", size=9, weight="normal", color=INK, pad=3)  # inside, a curve may run
    costs = {
        "seconds a step": {name: average(listed(r.seconds)) for name, r in racers.items()},
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
        f"{title}: {highlight or ('all ' * (rows > 1) + networks(rows))}",
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
        f"Six views of {networks(rows)}: curves of loss and accuracy against steps, and bars for {', '.join(spans)}. "
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
    first, _ = known_ends(racers, by, quantity)
    begin = max(points_of(racer, by)[0] for racer in racers.values())
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
    figure = plain((10.0, max(3.4, 1.35 + 0.3 * len(names))))
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
            ax.text(x, row, text, size=9, ha=side, va="center", color=INK, transform=ax.get_yaxis_transform())
        right.plot([min(mine), max(mine)], [row, row], color=look.colour, linewidth=7, alpha=0.3)
        for place in sorted(set(mine)):
            size = 4.5 + 1.3 * mine.count(place)
            right.plot([place], [row], look.marker, color=look.colour, markersize=min(size, 11), zorder=3)
        told.append((row, f"{name} {whole[-1][name]} ({_range(mine)})"))
    ax.set(xlim=(-0.15, len(budgets) - 0.85), ylim=(len(names) - 0.5, -0.5), ylabel="place by the mean")
    unit, word = unit_of(budgets[-1]) if by == "multiply-adds" else (1, "")
    ax.set_xticks(range(len(budgets)), [f"{at / unit:.3g}" for at in budgets])
    ax.set_xlabel(f"{AXES[by]}{f' ({word})' if word else ''}")
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(False, axis="y")
    right.set(xlim=(0.5, len(names) + 0.5), ylim=(len(names) - 0.5, -0.5), xticks=range(1, len(names) + 1), yticks=[])
    right.set_xlabel(f"place with each of {many} seeds, at {amount(budgets[-1], by)}" if many > 1 else "place")
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
        f"Places of {networks(len(names))} by {QUANTITIES[quantity]} at {len(budgets)} budgets up to "
        f"{amount(budgets[-1], by)}; the one that moves most moves by {moved}. At the last budget, by the mean and in "
        f"brackets with single seeds: {said}{agreed}.",
    )


def _placed(racers: Mapping[str, Racer], name: str, quantity: str) -> str:
    """A network's place in words, where the first of all ends."""
    places = standing(racers, at=finish(racers)[0], quantity=quantity)
    (mine,) = (place for place in places if place.name == name)
    what = quantity if quantity == "loss" else QUANTITIES[quantity]
    if mine.rank is None:
        return f"{what}: {mine.state if mine.state != 'waiting' else 'not measured yet'}, no place"
    return f"{what} {decimals(mine.value)}, place {mine.rank} of {len(places)}"


def _draw_costs(ax, label: str, values: Mapping[str, float | None], highlight: str | None, first: bool) -> str:
    """One cost as bars, a row a network, from the top; returns what it is for the highlighted one."""
    known = [value for value in values.values() if value is not None]
    most = max(known, default=1) or 1
    words = ""
    for i, (name, value) in enumerate(values.items()):
        look, mine = look_of(i), name == highlight
        colour = look.colour if mine or highlight is None else "#D5D5D5"
        ink, weight = (INK, "bold" if mine else "normal") if mine or highlight is None else (GREY, "normal")
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
            seen = colour if highlight is None or mine else PALE
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


def _range(numbers: Sequence[int]) -> str:
    return f"{min(numbers)}" if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"
