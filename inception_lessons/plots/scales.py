"""What all views of a race share: curves, the ends and ticks of their axes, and amounts in words."""

import math
from collections.abc import Mapping

from inception_lessons.plots.racers import AXES, QUANTITIES, Racer, average, points_of


def curve_of(racer: Racer, by: str, quantity: str) -> tuple[list[float], list[float], list[float], list[float]]:
    """Points, and mean, lowest and highest over seeds at each; none of them where one seed has no number."""
    columns = [c if all(map(math.isfinite, c)) else [math.nan] for c in zip(*getattr(racer, quantity), strict=True)]
    return points_of(racer, by), *([how(c) for c in columns] for how in (average, min, max))


def limits_of(racers: Mapping[str, Racer], quantity: str) -> tuple[float, float]:
    """Ends of the upward axis: all curves, but a loss that explodes may leave at the top."""
    curves = [[v for v in curve if math.isfinite(v)] for racer in racers.values() for curve in getattr(racer, quantity)]
    values = [value for curve in curves for value in curve] or [0.5]
    if quantity == "accuracy":
        return max(0.0, min(values) - 0.03), min(1.0, max(values)) + 0.03
    start = max((curve[0] for curve in curves if curve), default=1.0)
    lowest = max(min(values), 1e-6)
    return 0.85 * lowest, 1.15 * max(min(max(values), 1.5 * start), 1.2 * lowest)


def put_ticks(ax, by: str, last: float, quantity: str) -> None:
    """Round numbers on both axes of ``ax``, none to the right of the end, where the names stand."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    unit, word = unit_of(last) if by == "multiply-adds" else (1, "")
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


def unit_of(most: float) -> tuple[float, str]:
    """The largest number of an axis -> what to divide by, and its word."""
    scales = ((1e15, "quadrillions"), (1e12, "trillions"), (1e9, "billions"), (1e6, "millions"), (1e3, "thousands"))
    return next(((size, word) for size, word in scales if most >= 2 * size), (1, ""))


def amount(value: float, by: str) -> str:
    """A point on an axis in words."""
    if by == "multiply-adds":
        unit, word = unit_of(value)
        return f"{value / unit:,.3g} {word.removesuffix('s')} multiply-adds".replace("  ", " ")
    number = f"{value:,.0f}" if by == "steps" or value >= 100 else f"{value:.3g}"
    return f"{number} {by.removesuffix('s') if number == '1' else by}"


def decimals(value: float) -> str:
    """A value with three decimals, or the words for none."""
    return f"{value:.3f}" if math.isfinite(value) else "no number"


def networks(count: int) -> str:
    """A number of networks in words."""
    return f"{count} network{'s' * (count != 1)}"
