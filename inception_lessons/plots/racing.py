"""The race, drawn: curves up to a point, the name of each head, and the standing."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from inception_lessons.plots.base import GREY, INK, PALE, Chart, halo, look_of, plain, styled
from inception_lessons.plots.racers import AXES, QUANTITIES, Place, Racer, known_ends, standing
from inception_lessons.plots.scales import amount, curve_of, decimals, limits_of, networks, put_ticks, unit_of


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
    first, last = known_ends(racers, by, quantity)
    at = last if at is None else at
    places = standing(racers, at=at, by=by, quantity=quantity)
    figure = plain((10.0, max(4.8, 1.5 + 0.24 * len(racers))))
    ax = figure.add_axes((0.065, 0.13, 0.575, 0.76))
    low, high = limits_of(racers, quantity)
    ax.set(xlim=(0, 1.34 * last), ylim=(low, high), yscale="log" if quantity == "loss" else "linear")
    put_ticks(ax, by, last, quantity)
    ax.axvspan(last, 1.34 * last, color="white", linewidth=0, zorder=0.6)  # no grid behind the names
    heads = []
    for i, (name, racer) in enumerate(racers.items()):
        look, x, mean, lowest, highest = look_of(i), *curve_of(racer, by, quantity)
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
        ax.axvline(at, color=PALE, linewidth=1, zorder=0)
    if first < last:
        ax.plot([first, first], [0, 0.035], color=GREY, linewidth=1.2, transform=ax.get_xaxis_transform(), zorder=4)
        ax.text(
            first, 0.02, " the first one ends", transform=ax.get_xaxis_transform(), size=8, color=GREY, zorder=4,
        )  # fmt: skip
    figure.suptitle(f"{title}, {_headline(places, at, by, last)}", x=0.012, y=0.975, ha="left", weight="bold")
    _draw_standing(figure.add_axes((0.665, 0.03, 0.33, 0.9)), places, list(racers))
    return Chart(
        figure,
        title,
        f"Curves of {QUANTITIES[quantity]} for {networks(len(racers))} against {AXES[by]}, drawn up to "
        f"{_so_far(at, last, by)}. {_told(places)}",
    )


def _so_far(at: float, last: float, by: str) -> str:
    """A point on an axis and its end, in one unit: "95 of 250 steps"."""
    unit = unit_of(last)[0] if by == "multiply-adds" else 1
    number = f"{at:,.0f}" if by == "steps" else f"{at / unit:.3g}"
    return f"{number} of {amount(last, by)}"


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
                left + 0.016, place, name, transform=ax.transAxes, size=8.5, color=INK, va="center", bbox=halo(),
                zorder=5, style="italic" if state == "ended" else "normal",
            )  # fmt: skip
    lines = LineCollection(leaders, colors=colours, linewidths=0.7, transform=ax.transAxes, zorder=4, clip_on=False)
    ax.add_collection(lines, autolim=False)


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
            ax.text(0.02, y, headers[state], size=8.5, weight="bold", color=INK, va="center")
            if state == places[0].state and state != "waiting":
                ax.text(0.765, y, "mean" if many else "value", size=8, color=GREY, ha="right", va="center")
                if many:
                    ax.text(1.0, y, "seeds", size=8, color=GREY, ha="right", va="center")
            y += 1
        look = look_of(names.index(place.name))
        if place.rank:
            ax.text(0.065, y, f"{place.rank}", size=9, ha="right", va="center", color=INK)
        hollow = {"markerfacecolor": "white"} if place.state == "ended" else {}
        ax.plot([0.095, 0.175], [y, y], color=look.colour, linestyle=look.line, linewidth=1.7)
        ax.plot(
            [0.135], [y], "x" if state == "diverged" else look.marker, color=look.colour, markersize=6.5,
            markeredgewidth=1.4, **hollow,
        )  # fmt: skip
        ax.text(0.2, y, place.name, size=9, va="center", color=INK, style="italic" if state == "ended" else "normal")
        if state in ("running", "ended"):
            ax.text(0.765, y, decimals(place.value), size=9, ha="right", va="center", color=INK)
            if many:
                ax.text(1.0, y, f"{place.low:.2f} to {place.high:.2f}", size=8, ha="right", va="center", color=GREY)
        y += 1


def _headline(places: list[Place], at: float, by: str, last: float) -> str:
    """Where the race is, and who leads."""
    where = f"at the end, {amount(last, by)}" if at == last else f"at {_so_far(at, last, by)}"
    leaders = [place for place in places if place.rank == 1]
    if not leaders:
        return f"{where}: nobody has a rank"
    names = " and ".join(place.name for place in leaders)
    among = sum(place.rank is not None for place in places)
    if among == 1:
        return f"{where}: only {names}{' still' * (len(places) > 1)} in the race, {decimals(leaders[0].value)}"
    still = "" if among == len(places) else f" the {among} in the race"
    return f"{where}: {names} lead{'s' * (len(leaders) == 1)}{still}, {decimals(leaders[0].value)}"


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
        named = [f"{f'{p.rank}. ' if p.rank else ''}{p.name}{f' {decimals(p.value)}' if values else ''}" for p in rows]
        said += [f"{words}: {', '.join(named)}."] if rows else []
    return " ".join(said)
