"""The widgets of lesson 03: what one unit sees and what that costs, and what a grid reduction hands on. With them a
map of where two modules differ.
"""

import copy
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inception_lessons import measure, plots
from inception_lessons.layers import Concat
from inception_lessons.widgets.controls import choice, show, stops

SIZES = (3, 5, 7, 9, 11)  # of a kernel
CHANNELS = (16, 32, 64, 128, 192)
SPANS = (15, 31, 63)  # grids on which a receptive field is looked for, the smallest that holds it

# ------------------------------------------------------------------------------------------- the receptive field viewer


def receptive_viewer(
    stacks: Mapping[str, Callable[[int, int, int], nn.Module]], *, n: int = 5, channels: int = 64, grid: int = 17
) -> None:
    """Functions ``(c_in, c_out, n) -> nn.Module`` by name -> two of them to choose, the kernel size, channels and grid;
    what one unit of each sees, and what it costs.
    """
    names = list(stacks)
    controls = {
        "left": choice("left", names, names[0]),
        "right": choice("right", names, names[min(1, len(names) - 1)]),
        "n": stops("n", SIZES, n),
        "channels": stops("channels", CHANNELS, channels),
        "grid": choice("grid", [(f"{side} x {side}", side) for side in (73, 35, 17, 8)], grid),
    }

    def draw(left: str, right: str, n: int, channels: int, grid: int) -> plots.Chart:
        chosen = dict.fromkeys((left, right))
        return sight_chart(
            {re.sub(r"\bn\b", str(n), name): stacks[name](channels, channels, n) for name in chosen}, grid
        )

    show(draw, controls)


def sight(stack: nn.Module) -> Tensor:
    """Any module from grid to grid -> (side, side), odd, cut to what its middle output unit sees: each input position's
    share of all that the unit hears; the shares add up to 1.

    Measured, not derived: in a ``measure.transparent`` copy the gradient of one output counts the paths that lead to it
    from each position. Raises ValueError for a module that puts out no grid, or whose unit sees more than 63 x 63.
    """
    shadow = measure.transparent(stack)
    colours = next((layer.in_channels for layer in shadow.modules() if isinstance(layer, nn.Conv2d)), 1)
    for span in SPANS:
        image = torch.ones(1, colours, span, span, requires_grad=True)
        out = shadow(image)
        if out.ndim != 4:
            raise ValueError(f"this module puts out no grid of positions but {tuple(out.shape)}")
        unit = out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum()
        paths = torch.autograd.grad(unit, image)[0][0].sum(0)
        rows, columns = (paths.sum(axis).nonzero().flatten() for axis in (1, 0))
        low, high = min(int(rows[0]), int(columns[0])), max(int(rows[-1]), int(columns[-1]))
        if low > 0 and high < span - 1:
            return paths[low : high + 1, low : high + 1] / paths.sum()
    raise ValueError(f"one unit of this module sees more than {SPANS[-1]} x {SPANS[-1]} positions")


@plots.styled
def sight_chart(stacks: Mapping[str, nn.Module], grid: int) -> plots.Chart:
    """Modules by name -> for each what its middle output unit sees, and its weights and multiply-adds on ``grid``
    beside those of the first.

    Weights are those of the convolutions; batch norm's two a channel are left out, as in the papers. Raises ValueError
    where there is nothing to draw, and as ``sight`` does.
    """
    if not stacks:
        raise ValueError("there is no module to look through")
    maps = {name: sight(stack) for name, stack in stacks.items()}
    widest = max(len(seen) for seen in maps.values())
    window, strongest = widest + 2, max(float(seen.max()) for seen in maps.values())
    costs = {name: _cost(stack, grid) for name, stack in stacks.items()}
    first = next(iter(costs.values()))
    figure, axes = plots.canvas(
        2, len(maps), size=(max(8.0, 2.9 * len(maps)), 4.5), squeeze=False, gridspec_kw={"height_ratios": [4, 1]}
    )
    figure.suptitle("How much of what one unit hears comes from where (per cent)", x=0.01, ha="left", size=9.5)
    told = []
    for column, (name, seen) in enumerate(maps.items()):
        (weights, macs), ax = costs[name], axes[0, column]
        rows, columns = (int((seen.sum(axis) > 0).sum()) for axis in (1, 0))
        _draw_sight(ax, seen, window, strongest)
        full = int((seen > 0).sum())
        spot = f"sees {rows} x {columns}" + ("" if full == rows * columns else f", {full} of {rows * columns} places")
        ax.set_title(f"{name}\n{spot}", size=10, loc="center")
        share = weights / first[0]
        ax = axes[1, column]
        ax.barh([0], [1], color="none", edgecolor="#999999", linestyle=":", height=0.5)
        ax.barh([0], [share], color=plots.look_of(column).colour, height=0.5, hatch=("", "//", "..", "xx")[column % 4])
        ax.set(xlim=(0, max(1.0, *(cost[0] / first[0] for cost in costs.values()))), ylim=(-1.9, 0.5))
        ax.set_axis_off()
        saved = "" if column == 0 else f" ({abs(1 - share):.0%} {'fewer' if share <= 1 else 'more'})"
        words = f"{weights:,} weights{saved}\n{_millions(macs)} multiply-adds"
        ax.text(0.5, 0.42, words, ha="center", va="top", size=9.5, transform=ax.transAxes)
        told.append(f"{name} {spot}, the middle with {float(seen.max()):.1%}, for {words.replace(chr(10), ' and ')}")
    return plots.Chart(
        figure,
        "What one unit sees, and what it costs",
        f"Input positions that one output unit sees, brighter where more paths lead from, on a {grid} x {grid} grid: "
        + "; ".join(told)
        + ".",
    )


def _cost(stack: nn.Module, grid: int) -> tuple[int, int]:
    return sum(p.numel() for p in stack.parameters() if p.ndim > 1), measure.count(stack, grid).macs


def _draw_sight(ax, seen: Tensor, window: int, strongest: float) -> None:
    """One map in the middle of a window, every position a square; its share as a number where there is room."""
    whole, margin = torch.zeros(window, window), (window - len(seen)) // 2
    whole[margin : margin + len(seen), margin : margin + len(seen)] = seen
    shown = whole.where(whole > 0, torch.nan)
    ax.set_facecolor("#F2F2F2")
    ax.imshow(shown.numpy(), vmin=0, vmax=strongest)
    ax.set(xticks=[k - 0.5 for k in range(window + 1)], yticks=[k - 0.5 for k in range(window + 1)])
    ax.tick_params(length=0, labelbottom=False, labelleft=False)
    ax.grid(True, color="white", linewidth=0.8)
    ax.set_axisbelow(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    for r, row in enumerate(whole.tolist()) if window <= 9 else ():
        for c, share in enumerate(row):
            if share:
                text, colour = f"{100 * share:.2g}", "white" if share < 0.6 * strongest else "black"
                ax.text(c, r, text, ha="center", va="center", size=8, color=colour)


# ------------------------------------------------------------------------------------------------ the reduction chooser


@dataclass(frozen=True)
class Part:
    """What is done in one place of a reduction, in ``words``: its channels out, its multiply-adds, whether it pools."""

    words: str
    channels: int
    macs: int
    pools: bool


@dataclass(frozen=True)
class Step:
    """One step of a reduction: its parts side by side, and the side of the grid after it."""

    parts: tuple[Part, ...]
    side: int

    @property
    def handed_on(self) -> int:
        """Numbers that leave this step for one image."""
        return sum(part.channels for part in self.parts) * self.side**2


def reduction_chooser(
    make: Callable[..., nn.Module], ways: tuple[str, ...], *, channels: int = 320, grid: int = 34
) -> None:
    """A function ``make(c_in, c_out, how=)`` of reductions and their names -> which one, channels and grid; what
    passes through at each point, and what all of them cost.
    """
    controls = {
        "how": choice("reduction", ways, ways[0]),
        "c_in": stops("channels in", (24, 48, 96, 192, 320, 768), channels),
        "times": stops("times wider", (1.25, 1.5, 2, 3), 2),
        "grid": choice("grid", [(f"{side} x {side}", side) for side in (8, 16, 34, 72)], grid),
    }

    def draw(how: str, c_in: int, times: float, grid: int) -> plots.Chart:
        with torch.device("meta"):  # shapes without numbers: nothing to store, nothing to wait for
            forms = {name: make(c_in, int(c_in * times), how=name) for name in ways}
        return reduction_chart(forms, how, c_in, grid)

    show(draw, controls)


def steps(module: nn.Module, c_in: int, grid: int) -> list[Step]:
    """A reduction in any nesting of ``Sequential`` and ``Concat``, its channels in and its grid -> its steps in order.

    A unit of one convolution, or a pool, is a step; a ``Concat`` of such is one step with parts side by side. Raises
    ValueError for a module with something else in it.
    """
    found, x = [], torch.empty(1, c_in, grid, grid, device="meta")
    for layer in _parts(module):
        branches = list(layer.values()) if isinstance(layer, Concat) else [layer]
        outs = [copy.deepcopy(branch).to("meta")(x) for branch in branches]
        parts = []
        for branch, out in zip(branches, outs, strict=True):
            convolutions = [part for part in branch.modules() if isinstance(part, nn.Conv2d)]
            macs = sum(part.weight[0].numel() for part in convolutions) * math.prod(out.shape[1:])
            parts.append(Part(_words(branch), out.shape[1], macs, not convolutions))
        x = torch.cat(outs, 1)
        found.append(Step(tuple(parts), x.shape[-1]))
    return found


def _parts(module: nn.Module) -> list[nn.Module]:
    """What is done one after the other, down to single units."""
    if isinstance(module, Concat) or _is_unit(module):
        return [module]
    children = list(module.children())
    if not children:
        raise ValueError(f"a reduction is made of convolutions and pools, not of {type(module).__name__}")
    return [part for child in children for part in _parts(child)]


def _is_unit(module: nn.Module) -> bool:
    """A pool, or one convolution with whatever normalizes and activates it."""
    inside = [m for m in module.modules() if not list(m.children())]
    kernels = sum(isinstance(m, nn.Conv2d) for m in inside)
    pools = sum(isinstance(m, nn.MaxPool2d | nn.AvgPool2d) for m in inside)
    return kernels + pools == 1


def _words(unit: nn.Module) -> str:
    """A unit -> "convolution 3 x 3", or "max pool 3 x 3 / 2" with its stride."""
    layer = next(m for m in unit.modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d))
    kernel, stride = (size if isinstance(size, tuple) else (size, size) for size in (layer.kernel_size, layer.stride))
    size = " x ".join(map(str, kernel)) + (f" / {stride[0]}" if stride[0] > 1 else "")
    kind = {nn.MaxPool2d: "max pool ", nn.AvgPool2d: "mean pool "}.get(type(layer), "")
    return f"{kind}{size}" if kind else f"convolution {size}"


def _millions(count: int) -> str:
    places = 1 if count >= 1e7 else 2 if count >= 1e6 else 3
    return f"{count / 1e6:,.{places}f} M"


@plots.styled
def reduction_chart(forms: Mapping[str, nn.Module], chosen: str, c_in: int, grid: int) -> plots.Chart:
    """What ``reduction_chooser`` shows for one state: how many numbers pass at each point of the chosen reduction, with
    the bottleneck marked where fewer pass than come out, and the multiply-adds of all.

    Raises ValueError for another name, and as ``steps`` does.
    """
    if chosen not in forms:
        raise ValueError(f"no reduction {chosen!r}; there are {', '.join(forms)}")
    walks = {name: steps(module, c_in, grid) for name, module in forms.items()}
    figure, axes = plots.canvas(1, 2, size=(10.0, 4.2), gridspec_kw={"width_ratios": [2.1, 1]})
    narrow = _draw_walk(axes[0], walks[chosen], c_in, grid)
    axes[0].set_title(f"{chosen}: numbers that pass", size=11)
    macs = {name: sum(part.macs for step in walk for part in step.parts) for name, walk in walks.items()}
    weights = {name: _cost(module, grid)[0] for name, module in forms.items()}
    for row, (name, total) in enumerate(macs.items()):
        mine = name == chosen
        axes[1].barh(
            [row],
            [total / 1e6],
            color=plots.PALETTE[0] if mine else "#C9C9C9",
            hatch="" if mine else "//",
            edgecolor="white",
            height=0.5,
        )
        words = f"{_millions(total)}, {weights[name]:,} weights"
        axes[1].text(0, row - 0.32, f"{name}\n{words}", size=9, va="bottom", weight="bold" if mine else "normal")
    axes[1].set(yticks=[], ylim=(len(macs) - 0.6, -0.95), xlabel="multiply-adds (millions)", title="What each costs")
    axes[1].grid(False, axis="y")
    passed = ", ".join(f"{step.handed_on:,}" for step in walks[chosen])
    neck = f"a bottleneck of {narrow:,}" if narrow else "no bottleneck"
    costs = "; ".join(f"{name} {_millions(total)}" for name, total in macs.items())
    return plots.Chart(
        figure,
        "Three ways to halve a grid",
        f"{chosen}: {c_in * grid**2:,} numbers go in, then {passed} pass: {neck}. Multiply-adds: {costs}.",
    )


def _draw_walk(ax, walk: list[Step], c_in: int, grid: int) -> int:
    """Bars of the numbers at each point, what is done between them; returns the bottleneck, 0 where there is none."""
    out = walk[-1].handed_on
    points = [(f"{c_in} x {grid} x {grid}", [(c_in * grid**2, "#777777", "")])]
    for step in walk:
        stacked = []
        for part in step.parts:
            colour, hatch = ("#9A9A9A", "//") if part.pools else (plots.PALETTE[0], "")
            stacked.append((part.channels * step.side**2, colour, hatch))
        widths = " + ".join(str(part.channels) for part in step.parts)
        widths = f"({widths})" if len(step.parts) > 1 else widths
        points.append((f"{widths} x {step.side} x {step.side}", stacked))
    top = max(sum(value for value, _, _ in stacked) for _, stacked in points)
    narrow = min((step.handed_on for step in walk[:-1] if step.handed_on < out), default=0)
    for x, (shape, stacked) in enumerate(points):
        height = 0
        for value, colour, hatch in stacked:
            ax.bar([x], [value], 0.42, bottom=height, color=colour, hatch=hatch, edgecolor="white")
            height += value
        ink = {"color": plots.PALETTE[1], "weight": "bold"} if height == narrow else {"color": "#333333"}
        above = ax.text(x, height + 0.015 * top, f"{height:,}", ha="center", va="bottom", size=9, zorder=3, **ink)
        above.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})  # the dashed line may pass behind
        ax.text(
            x, -0.03 * top, shape + ("\nbottleneck" if height == narrow else ""), ha="center", va="top", size=9, **ink
        )
    for x, step in enumerate(walk):
        said = [p.words + (f"\n{_millions(p.macs)}\nmultiply-adds" if p.macs else "") for p in step.parts]
        arrow = {"arrowstyle": "->", "color": "#666666"}
        ax.annotate("", (x + 0.74, 0.72 * top), (x + 0.26, 0.72 * top), arrowprops=arrow)
        ax.text(x + 0.5, 0.75 * top, "\nbeside\n".join(reversed(said)), ha="center", va="bottom", size=8.5)
    ax.axhline(out, color=plots.PALETTE[1], linestyle="--", linewidth=1)
    last = len(points) - 0.72
    ax.text(last, out + 0.01 * top, "as many\nas come out", size=8.5, color=plots.PALETTE[1], va="bottom")
    ax.set(xticks=[], yticks=[], xlim=(-0.4, len(points) - 0.2), ylim=(-0.16 * top, 1.15 * top))
    ax.grid(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    return narrow


# --------------------------------------------------------------------------------------------- where two modules differ


@plots.styled
def difference_chart(apart: Mapping[str, Tensor], *, least: float = 1e-3) -> plots.Chart:
    """Absolute differences (C, H, W) of two outputs by name -> for each the positions of the grid where they are more
    than ``least`` apart in some channel, darker the more channels are.

    Raises ValueError for no outputs.
    """
    if not apart:
        raise ValueError("there is no difference to draw")
    figure, axes = plots.canvas(1, len(apart), size=(max(8.0, 2.9 * len(apart)), 3.4), squeeze=False)
    shares = {name: (values > least).float().mean(0) for name, values in apart.items()}
    most, told = max(float(share.max()) for share in shares.values()), []
    for ax, (name, share) in zip(axes[0], shares.items(), strict=True):
        wrong = int((share > 0).sum())
        drawn = ax.imshow(share.numpy(), cmap="Reds", vmin=0, vmax=most or 1)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        for spine in ax.spines.values():
            spine.set_visible(True)
        ax.set_title(f"{name}\n{wrong} of {share.numel()} positions", size=10, loc="center")
        told.append(f"{name}, {wrong} of {share.numel()} positions")
    figure.colorbar(drawn, ax=axes[0].tolist(), label="share of channels that differ", shrink=0.85)
    return plots.Chart(
        figure,
        "Where the outputs differ",
        f"Maps of the grid, red where outputs under equal weights differ: {'; '.join(told)}.",
    )
