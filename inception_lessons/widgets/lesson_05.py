"""The widgets of lesson 05: how loud the signal gets with depth, and two blocks drawn side by side."""

import math
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from inception_lessons import layers, measure, plots
from inception_lessons.widgets.controls import choice, scale, show, stops

PAPER = 0.1  # "typically around 0.1": the caption of Fig. 20 in arXiv:1602.07261

_FILLS = {  # a kind of layer has one colour in every drawing; its name stands in the box
    "1 x 1": "#CFE3F1",
    "3 x 3": "#F8D9C4",
    "5 x 5": "#CBE8DE",
    "1 x 7": "#FBE7C2",
    "1 x 3": "#DDF0FB",
    "pool": "#E4E4E4",
    "none": "#FFFFFF",
}
_EDGES = {
    "1 x 1": plots.PALETTE[0],
    "3 x 3": plots.PALETTE[1],
    "5 x 5": plots.PALETTE[2],
    "1 x 7": plots.PALETTE[7],
    "1 x 3": plots.PALETTE[5],
    "pool": "#777777",
    "none": "#333333",
}


# ------------------------------------------------------------------------------------------------ signal by depth


def residual_scale(signal: Callable[..., Mapping[str, float]], start: float = 1.0, **choices: Sequence) -> None:
    """``signal(scale, ...) -> {stage: variance}`` -> a slider for the scale, and the variance of every stage drawn.

    Each further keyword is one more argument of ``signal`` with the values, or (text, value) pairs, to choose from:
    ``residual_scale(signal, blocks=[(1, 1, 1), (5, 10, 5)])``. The first is chosen at the start. Raises ValueError for
    an argument without values.
    """
    controls = {"scale": scale("scale", start, 0.0, 1.0, 0.05)}
    for name, values in choices.items():
        pairs = [value if _is_pair(value) else (str(value), value) for value in values]
        if not pairs:
            raise ValueError(f"there is nothing to choose from for {name!r}")
        controls[name] = stops(name, pairs, pairs[0][1])
    known: dict[str, Mapping[str, float]] = {}

    def remembered(scale, **chosen):
        key = repr((scale, chosen))
        if key not in known:
            known[key] = signal(scale, **chosen)
        return known[key]

    show(lambda scale, **chosen: signal_chart(remembered, scale, **chosen), controls)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)


@plots.styled
def signal_chart(signal: Callable[..., Mapping[str, float]], scale: float, **chosen) -> plots.Chart:
    """What ``residual_scale`` shows for one state: variance by stage at this scale, at the paper's 0.1, and at 0, where
    only the shortcut is left.

    Raises ValueError where a variance is no number of at least 0, or the scale changes which stages there are.
    """
    wanted = {f"scale {PAPER:g}, as in the paper": PAPER, "scale 0: shortcuts alone": 0.0, f"scale {scale:.2f}": scale}
    found = {name: dict(signal(value, **chosen)) for name, value in wanted.items()}
    mine = found[f"scale {scale:.2f}"]
    if not mine:
        raise ValueError("signal gives the variance of each stage by its name, but it gave none")
    for name, values in found.items():
        if list(values) != list(mine):
            raise ValueError(f"the stages change with the scale: {', '.join(values)} at {name}")
        for stage, value in values.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"a variance is a number of at least 0, but stage {stage} has {value!r} at {name}")
    stages = list(mine)
    figure, ax = plots.canvas(size=(8.0, 3.6))
    looks = {0: (plots.PALETTE[2], "-.", "^", 1.4), 1: ("#777777", ":", "s", 1.4), 2: (plots.PALETTE[1], "-", "o", 2.2)}
    for i, (name, values) in enumerate(found.items()):
        colour, line, marker, width = looks[i]
        y = [max(value, 1e-12) for value in values.values()]
        ax.plot(
            range(len(y)), y, color=colour, linestyle=line, marker=marker, linewidth=width, markersize=4, label=name
        )
    ax.set(
        xticks=range(len(stages)), xlabel="stage, from the picture to the classifier", ylabel="variance of its output"
    )
    ax.set_xticklabels(stages, rotation=55, ha="right", rotation_mode="anchor", size=8.5)
    everything = [value for values in found.values() for value in values.values() if value > 0] or [1.0]
    ax.set_yscale("log")
    ax.set_ylim(min(0.1, 0.7 * min(everything)), max(20.0, 1.6 * max(everything)))
    ax.grid(False, axis="x")
    ax.legend(loc="upper left")
    last = stages[-1]
    alone = found["scale 0: shortcuts alone"][last]
    times = mine[last] / alone if alone else math.inf
    with_what = "".join(f", {name} {value}" for name, value in chosen.items())
    ax.set_title(f"Scale {scale:.2f}: {last} is {times:.1f} times as loud as with the shortcuts alone")
    return plots.Chart(
        figure,
        "Signal by depth",
        f"Variance of each stage's output on a logarithmic axis, from {stages[0]} to {last}{with_what}. With scale "
        f"{scale:.2f} it ends at {mine[last]:.3g}, with scale {PAPER:g} at "
        f"{found[f'scale {PAPER:g}, as in the paper'][last]:.3g}, with the shortcuts alone at {alone:.3g}: {times:.1f} "
        f"times as loud.",
    )


# ---------------------------------------------------------------------------------------------- two blocks side by side


def block_browser(blocks: Mapping[str, tuple[nn.Module, int]], left: str, right: str) -> None:
    """{name: (block, side of its grid)} -> two lists to choose from; both blocks drawn, and what they cost.

    A block is any module with ``branches`` (a ``ModuleDict``), such as one of your own. One that also has ``up`` and
    ``scale`` is drawn with its shortcut. Raises ValueError for a name that is not among the blocks.
    """
    for name in (left, right):
        if name not in blocks:
            raise ValueError(f"there is no block {name!r}; there are {', '.join(blocks) or 'none'}")
    controls = {side: choice(side, list(blocks), name) for side, name in (("left", left), ("right", right))}
    show(lambda left, right: block_chart({name: blocks[name] for name in dict.fromkeys((left, right))}), controls)


@plots.styled
def block_chart(blocks: Mapping[str, tuple[nn.Module, int]]) -> plots.Chart:
    """What ``block_browser`` shows for one state: {name: (block, side of its grid)} -> the blocks, side by side.

    Raises ValueError for a block without branches.
    """
    for name, (block, _) in blocks.items():
        if not isinstance(getattr(block, "branches", None), nn.ModuleDict):
            raise ValueError(f"{name} has no branches to draw: it is a {type(block).__name__}")
    deepest = max(len(rows) for block, _ in blocks.values() for rows in map(_rows, block.branches.values()))
    residual = any(hasattr(block, "up") for block, _ in blocks.values())
    height = 0.6 * (deepest + 1.7 + 2.6 * residual) + 0.7
    figure, axes = plots.canvas(1, len(blocks), size=(10.0, height), squeeze=False)
    said = []
    for ax, (name, (block, grid)) in zip(axes.flat, blocks.items(), strict=True):
        cost = measure.count(block, grid)
        _draw(ax, block, deepest, residual)
        ax.set_title(
            f"{name}\n{cost.params:,} parameters, {cost.macs / 1e6:.1f} M multiply-adds at {grid} x {grid}",
            size=10,
            loc="center",
        )
        paths = "; ".join(" then ".join(_told(row) for row in _rows(path)) for path in block.branches.values())
        end = _end(block)
        said.append(
            f"{name}, {len(block.branches)} branches ({paths}){end}: {cost.params:,} parameters, "
            f"{cost.macs / 1e6:.1f} million multiply-adds at {grid} x {grid}"
        )
    return plots.Chart(figure, "Blocks side by side", f"Blocks drawn bottom to top as boxes. {'. '.join(said)}.")


def _end(block: nn.Module) -> str:
    """What happens to the branches once they are side by side, in words; "" where nothing does."""
    if not hasattr(block, "up"):
        return ""
    words = f", then 1 x 1 to {block.up.out_channels} without ReLU"
    return f"{words}, times {block.scale:g}, added to the input" if hasattr(block, "scale") else f"{words}, no shortcut"


def _rows(branch: nn.Module) -> list[list[tuple[str, str, int]]]:
    """A branch -> its layers in order, each (kind, name, channels out; 0 where they stay). A fork is a row of
    several.
    """
    if isinstance(branch, nn.ModuleDict):  # a fork inside the branch: what lies in parallel stands in one row
        parts = [[layer for row in _rows(part) for layer in row] for part in branch.values()]
        return [[(part[0][0], " then ".join(name for _, name, _ in part), part[-1][2]) for part in parts if part]]
    if isinstance(branch, nn.Conv2d):
        return [[_conv(branch)]]
    if isinstance(branch, nn.MaxPool2d | nn.AvgPool2d):
        kind = "max pool" if isinstance(branch, nn.MaxPool2d) else "average"
        return [[("pool", kind + _stride(branch.stride), 0)]]
    return [row for child in branch.children() for row in _rows(child)]


def _conv(layer: nn.Conv2d) -> tuple[str, str, int]:
    high, wide = layer.kernel_size
    kind = f"{min(high, wide)} x {max(high, wide)}"
    return kind if kind in _FILLS else "none", f"{high} x {wide}{_stride(layer.stride)}", layer.out_channels


def _stride(stride) -> str:
    stride = stride if isinstance(stride, int) else max(stride)
    return f" / {stride}" if stride > 1 else ""


def _told(row: list[tuple[str, str, int]]) -> str:
    return " beside ".join(f"{name}, {count}" if count else name for _, name, count in row)


def _draw(ax, block: nn.Module, deepest: int, residual: bool) -> None:
    """One block, bottom to top, in an area of its own: x from 0 to 1, one unit of y for each row of boxes."""
    from matplotlib.patches import Rectangle

    ax.set_axis_off()
    ax.set(xlim=(-0.02, 1.1), ylim=(-0.4, deepest + 1.4 + 2.7 * residual))
    paths = {name: _rows(path) for name, path in block.branches.items()}
    boxes = [max(map(len, rows), default=1) for rows in paths.values()]  # a fork needs the room of two
    slot = 1 / sum(boxes)

    def box(middle: float, y: float, width: float, text: str, kind: str) -> None:
        ax.add_patch(
            Rectangle(
                (middle - width / 2, y - 0.3), width, 0.6, facecolor=_FILLS[kind], edgecolor=_EDGES[kind], zorder=2
            )
        )
        ax.text(middle, y, text, ha="center", va="center", size=8, color="#222222", zorder=3, linespacing=0.95)

    def wire(*points: tuple[float, float], **look) -> None:
        ax.plot(*zip(*points, strict=True), **{"color": "#999999", "linewidth": 1.2, "zorder": 1} | look)

    first = next((layer for layer in block.modules() if isinstance(layer, nn.Conv2d)), None)
    c_in = first.in_channels if first is not None else 0
    box(0.5, 0, 1.0, f"input: {c_in} channels", "none")
    joined = deepest + 1
    x = 0.0
    for rows, many in zip(paths.values(), boxes, strict=True):
        middle, below = x + many * slot / 2, [(x + many * slot / 2, 0.3)]
        for y, row in enumerate(rows, 1):
            places = [middle + (k - (len(row) - 1) / 2) * slot for k in range(len(row))]
            for place in places:
                for point in below:
                    wire(point, (place, y - 0.3))
            for place, (kind, name, count) in zip(places, row, strict=True):
                box(place, y, 0.9 * slot, f"{name}\n{count}" if count else name.replace(" ", "\n", 1), kind)
            below = [(place, y + 0.3) for place in places]
        for point in below:
            wire(point, (point[0], joined - 0.3))
        x += many * slot
    out = sum(layers.channels_out(branch, c_in) for branch in block.branches.values())
    box(0.5, joined, 1.0, f"side by side: {out} channels", "none")
    if not hasattr(block, "up"):
        return
    has_shortcut = hasattr(block, "scale")
    box(0.5, joined + 1, 0.5, f"1 x 1, {block.up.out_channels}, no ReLU", "1 x 1")
    wire((0.5, joined + 0.3), (0.5, joined + 0.7))
    plus = joined + 2.1
    wire((0.5, joined + 1.3), (0.5, plus + 0.9))
    ax.annotate("", (0.5, plus + 1.0), (0.5, plus + 0.7), arrowprops={"arrowstyle": "->", "color": "#777777"})
    if has_shortcut:
        ax.text(0.47, joined + 1.58, f"x {block.scale:g}", ha="right", va="center", size=10, weight="bold")
        wire((1.0, 0), (1.06, 0), (1.06, plus), (0.53, plus), color=plots.PALETTE[2], linewidth=2.6)
        ax.text(1.045, deepest / 2 + 0.5, "shortcut", rotation=90, ha="right", va="center", size=9, color="#00684C")
        ax.plot([0.5], [plus], "o", markersize=15, color="white", markeredgecolor=plots.PALETTE[2], zorder=4)
        ax.text(0.5, plus, "+", ha="center", va="center_baseline", size=13, weight="bold", zorder=5)
    ax.text(0.53, plus + 0.62, "ReLU" if getattr(block, "relu", True) else "no ReLU", va="center", size=9)
