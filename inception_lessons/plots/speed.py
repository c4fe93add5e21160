"""Counts against the clock: cost and seconds, shares of a whole, and the roof of a machine."""

import math
import textwrap
from collections.abc import Mapping, Sequence

from inception_lessons.plots.base import MARKERS, PALETTE, Chart, canvas, styled

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
    ax.set(xscale="log", yscale="log", xlim=ends[0], ylim=ends[1], xlabel=xlabel, ylabel=ylabel)
    ax.set_title(textwrap.fill(title, 84))  # what the width of the figure has room for
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
