"""The widget of lesson 07: what networks cost, any two costs against each other."""

import math
from collections.abc import Mapping

from inception_lessons import plots
from inception_lessons.widgets.controls import choice, show

MACS = "multiply-adds (G)"  # the cost that, over milliseconds, is a rate

#: {network: {what it costs, with its unit: how much}}
Points = Mapping[str, Mapping[str, float]]


def cost_explorer(
    sets: Mapping[str, Points], x: str, y: str, first: str | None = None, second: str | None = None
) -> None:
    """{name of a set: {network: {cost: value}}}, two costs and two networks -> lists to choose each from, and the
    networks drawn as points.

    A set is what may be compared: one input size, one machine, one run. The networks of the first set are offered; a
    set that lacks one says so. Raises ValueError for a set, a cost or a network that there is not.
    """
    if not sets or not all(sets.values()):
        raise ValueError("there is nothing to choose from: sets is {name: {network: {cost: value}}}")
    start = next(iter(sets.values()))
    networks = list(dict.fromkeys(name for points in sets.values() for name in points))
    first, second = first or networks[0], second or networks[-1]
    costs = list(dict.fromkeys(cost for points in sets.values() for found in points.values() for cost in found))
    cost_chart(start, x, y, first, second)  # a slip here should not wait for a click
    controls = {
        "points": choice("networks", list(sets), next(iter(sets))),
        "x": choice("across", costs, x),
        "y": choice("up", costs, y),
        "first": choice("compare", networks, first),
        "second": choice("with", networks, second),
    }
    show(lambda points, **chosen: cost_chart(sets[points], **chosen), controls)


def cost_chart(points: Points, x: str, y: str, first: str, second: str) -> plots.Chart:
    """What ``cost_explorer`` shows for one state: a point for each network that has both costs, and how many times the
    one of two networks costs what the other does.

    Raises ValueError for a cost that no network has, a network that has not both, or a value that is not above 0.
    """
    for cost in (x, y):
        if not any(cost in found for found in points.values()):
            have = dict.fromkeys(name for found in points.values() for name in found)
            raise ValueError(f"no network has the cost {cost!r}; there are {', '.join(have)}")
    drawn = {name: (found[x], found[y]) for name, found in points.items() if x in found and y in found}
    for name in (first, second):
        if name not in drawn:
            raise ValueError(f"{name!r} has no {x} and {y} here; these have: {', '.join(drawn) or 'none'}")
    for name, values in drawn.items():
        if not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError(f"a cost is a number above 0, but {name} has {values}")
    ratios = [a / b for a, b in zip(drawn[first], drawn[second], strict=True)]
    across, up = _bare(x), _bare(y)
    if across == up and x != y:  # there are two kinds of milliseconds
        across, up = (cost.replace(" an image,", "") for cost in (x, y))
    said = f"{first} over {second}: {ratios[0]:.2g} times the {across}"
    if x != y:
        said += f", {ratios[1]:.2g} times the {up}"
    a_rate = x == MACS and y.startswith("milliseconds")
    spread = {name: a / b for name, (a, b) in drawn.items()}
    low, high = min(spread, key=spread.get), max(spread, key=spread.get)
    alt = f"{len(drawn)} networks as points, {x} across and {y} up, both axes logarithmic. {said}."
    if len(drawn) > 1 and not math.isclose(spread[low], spread[high]):
        apart = f"{spread[high] / spread[low]:.2g} times apart"
        alt += f" Most {across} for its {up} has {high}, fewest {low}: {apart}."
    return plots.costs(
        drawn,
        xlabel=x,
        ylabel=y,
        title=said,
        alt=alt,
        rates="{:g} G a second" if a_rate else "",
        scale=1e3,  # G a ms are a thousand G a second
        pair=(first, second),
    )


def _bare(cost: str) -> str:
    """ "multiply-adds (G)" -> "multiply-adds", "milliseconds an image, forward" -> "milliseconds"."""
    return cost.split(" (")[0].split(" an image")[0]
