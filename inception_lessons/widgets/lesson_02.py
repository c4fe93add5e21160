"""The widgets of lesson 02: a batch that normalizes itself, and signals that die, explode or arrive. With them the
lesson's own charts.
"""

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from inception_lessons import measure, plots
from inception_lessons.batch_norm import BatchNorm2d
from inception_lessons.widgets.controls import choice, scale, show, slider, stops

#: What the playground's eight examples come in as: neither centred nor of unit size.
BATCH = (2.0, 0.5, 1.0, 2.5, 3.0, 4.5, 5.0, 3.5)
MODES = ("training", "inference")
EPSILONS = (1e-5, 1e-3, 0.1, 1.0, 10.0)
SCALES = (0.25, 0.41, 1.0, 2.0, 4.0)  # 0.41: what PyTorch starts with, in units of He's start
ENOUGH = 20_000  # numbers to draw a histogram from
DECADES = 10  # signals are drawn from 1e-10 to 1e10; what lies beyond stands at the end

# ------------------------------------------------------------------------------------------------- the batch playground


def batch_playground(values: Sequence[float] = BATCH, moved: float = 12.0) -> None:
    """A batch of one feature -> sliders for the first example, the batch size, epsilon and the mode; every example
    before and after batch norm.
    """
    controls = {
        "moved": scale("example 1", moved, -10, 20, 0.5, readout=".1f"),
        "count": slider("batch size", len(values), 1, len(values)),
        "epsilon": stops("epsilon", [(f"{value:g}", value) for value in EPSILONS], EPSILONS[0]),
        "mode": choice("mode", MODES, MODES[0]),
    }
    show(lambda **state: batch_chart(values, **state), controls)


@plots.styled
def batch_chart(values: Sequence[float], *, moved: float, count: int, epsilon: float, mode: str) -> plots.Chart:
    """What ``batch_playground`` shows for one state: the first ``count`` of ``values``, the first of them at ``moved``,
    and what batch norm makes of them; hollow, where they were with the first one in its place.

    The running averages are those of all ``values`` as they were given. Raises ValueError for a batch that has no
    spread, or another mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode is {' or '.join(MODES)}, not {mode!r}")
    if mode == "training" and count < 2:
        raise ValueError("a batch of one has no spread to divide by: training needs at least two examples")
    norm = BatchNorm2d(1, eps=epsilon, momentum=1.0)
    norm(_maps(values))  # one batch at full weight: it remembers these and no other
    mean, variance = norm.running_mean[0].clone(), norm.running_var[0].clone()
    before, after = [values[0], *values[1:count]], [moved, *values[1:count]]
    norm.train(mode == "training")
    was, now = (norm(_maps(batch)).flatten().tolist() for batch in (before, after))
    if mode == "training":
        mean, variance = _maps(after).mean(), _maps(after).var(correction=0)
    center, deviation = float(mean), float(variance) ** 0.5
    others = max((abs(b - a) for a, b in zip(was[1:], now[1:], strict=True)), default=0.0)

    figure, axes = plots.canvas(1, 2, size=(9.0, 3.4), sharey=True)
    for ax, old, new in zip(axes, (before, was), (after, now), strict=True):
        for k, (a, b) in enumerate(zip(old, new, strict=True)):
            ax.plot([a, b], [k + 1, k + 1], color="#999999", linewidth=1, zorder=1)
            ax.plot(a, k + 1, plots.MARKERS[k == 0], color="#777777", fillstyle="none", markersize=8, zorder=2)
            ax.plot(b, k + 1, plots.MARKERS[k == 0], color=plots.PALETTE[k == 0], markersize=8, zorder=3)
    axes[0].axvspan(center - deviation, center + deviation, color=plots.PALETTE[5], alpha=0.18, linewidth=0, zorder=0)
    axes[0].axvline(center, color=plots.PALETTE[0], linestyle="--", linewidth=1.2, zorder=0)
    whose = "of this batch" if mode == "training" else "remembered"
    axes[0].set(
        yticks=range(1, count + 1),
        ylim=(count + 0.6, 0.4),
        ylabel="example",
        xlim=(-11, 21),
        xlabel=f"comes in (line and band: mean {center:.2f}, deviation {deviation:.2f}, {whose})",
    )
    reach = max(3.0, *map(abs, now), *map(abs, was)) * 1.08
    axes[1].set(xlim=(-reach, reach), xlabel=f"goes out (hollow: with example 1 at {values[0]:g})")
    title = (
        f"In {mode}, example 1 moves the other answers too, by up to {others:.2f}"
        if others > 0.005
        else f"In {mode}, as example 1 is now, the other answers stay where they were"
    )
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    return plots.Chart(
        figure,
        title,
        f"A batch of {count} before and after batch norm in {mode}, epsilon {epsilon:g}. Example 1 comes in at "
        f"{moved:g} (it was {values[0]:g}) and goes out at {now[0]:.2f} (it was {was[0]:.2f}). Mean {center:.2f} and "
        f"deviation {deviation:.2f} are {whose}. The other answers move by up to {others:.2f}.",
    )


def _maps(values: Sequence[float]) -> Tensor:
    """N numbers -> (N, 1, 1, 1): what batch norm takes for one feature."""
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None]


# --------------------------------------------------------------------------------------------------- signals by depth


def depth_histograms(
    networks: Mapping[str, nn.Module],
    images: Tensor,
    stages: Sequence[str] | None = None,
    scales: Sequence[float] = SCALES,
    start: float = 0.41,
) -> None:
    """Networks by name and normalized images (N, 3, H, W) -> the scale of the weights to choose; what each stage of
    each network hands on. A few images are enough.
    """
    control = stops("weights", [(f"times {value:g}", value) for value in scales], start)
    show(lambda factor: depth_chart(networks, images, stages, factor=factor), {"factor": control})


@plots.styled
def depth_chart(
    networks: Mapping[str, nn.Module], images: Tensor, stages: Sequence[str] | None = None, *, factor: float = 1.0
) -> plots.Chart:
    """What ``depth_histograms`` shows for one state: by network and stage, a histogram of the sizes of the numbers
    handed on, all weights taken ``factor`` times. ``stages`` defaults to all of them.

    Sizes are on a logarithmic axis; zeros have no place there, their share is written beside.
    """
    found = {name: signals(model, images, stages, factor=factor) for name, model in networks.items()}
    figure, axes = plots.canvas(1, len(found), size=(9.4, 1.5 + 0.3 * max(map(len, found.values()))), squeeze=False)
    edges = torch.linspace(-DECADES, DECADES, 121)
    middles = (edges[:-1] + edges[1:]) / 2
    told = []
    for i, (ax, (name, layers)) in enumerate(zip(axes[0], found.items(), strict=True)):
        for k, sizes in enumerate(layers.values()):
            alive = sizes[(sizes > 0) & sizes.isfinite()]
            ax.axhline(k, color="#DDDDDD", linewidth=0.8, zorder=0)
            if len(alive):
                logs = alive.log10().clamp(-DECADES + 0.01, DECADES - 0.01)
                counts = torch.histogram(logs, edges).hist
                ax.fill_between(
                    middles.tolist(),
                    k,
                    (k - 0.95 * counts / counts.max()).tolist(),
                    color=plots.look_of(i).colour,
                    alpha=0.75,
                    linewidth=0,
                    zorder=len(layers) - k + 1,
                )
            ax.text(DECADES * 0.97, k - 0.12, _zeros(sizes), ha="right", va="bottom", size=8, color="#555555")
        ax.axvline(0, color="#888888", linewidth=1, linestyle=":", zorder=0)
        ax.set(
            yticks=range(len(layers)),
            yticklabels=list(layers),
            ylim=(len(layers) - 0.7, -1.15),
            xlim=(-DECADES, DECADES),
            xticks=range(-8, 9, 4),
            xticklabels=["1e-8", "1e-4", "1", "1e4", "1e8"],
            xlabel="size of the numbers handed on",
        )
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
        ends = [_median(sizes) for sizes in layers.values()]
        ax.set_title(f"{name}: median from {ends[0]:.2g} to {ends[-1]:.2g}", size=10, weight="normal")
        first, *_, last = layers
        told.append(f"{name}: from {ends[0]:.2g} in {first} to {ends[-1]:.2g} in {last}")
    title = f"What each stage hands on before training, all weights times {factor:g}"
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    return plots.Chart(
        figure,
        title,
        f"Histograms of the sizes of the numbers that each stage hands on, on a logarithmic axis, all weights times "
        f"{factor:g}. Median of those that are not zero: {'; '.join(told)}.",
    )


@torch.no_grad()
def signals(
    model: nn.Module, images: Tensor, stages: Sequence[str] | None = None, *, factor: float = 1.0
) -> dict[str, Tensor]:
    """Network and normalized images (N, 3, H, W) -> the sizes of the numbers that each stage hands on, by its name, in
    training mode, every kernel (of convolutions and linear layers) taken ``factor`` times; of very many, some.

    On a copy: in training mode a forward pass moves running averages. Raises ValueError for a stage that there is not,
    or a factor that is not above 0.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"weights are multiplied by a number above 0, not {factor!r}")
    copied = copy.deepcopy(model).train()
    named = measure.stage_modules(copied)
    unknown = [name for name in stages or () if name not in named]
    if unknown:
        raise ValueError(f"no stage {', '.join(unknown)}; this network has {', '.join(named)}")
    for layer in copied.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.mul_(factor)
    found = {}
    for name in stages or named:

        def keep(layer, inputs, out, name=name):
            sizes = out.detach().abs().flatten()
            found[name] = sizes[:: math.ceil(len(sizes) / ENOUGH)].cpu()

        named[name].register_forward_hook(keep)
    copied(images.to(next(copied.parameters()).device))
    return found


def _median(sizes: Tensor) -> float:
    alive = sizes[sizes > 0]
    return float(alive.median()) if len(alive) else 0.0


def _zeros(sizes: Tensor) -> str:
    overflowed = int((~sizes.isfinite()).sum())
    if overflowed:
        return f"{overflowed / len(sizes):.0%} overflowed"
    return f"{float((sizes == 0).double().mean()):.0%} zeros"


# ------------------------------------------------------------------------------------------------ charts of the lesson


@plots.styled
def descent_chart(inputs: Mapping[str, Tensor], target: Tensor, *, stop: float = 1e-3, most: int = 2000) -> plots.Chart:
    """The same examples in other coordinates, {name: (N, 2)}, and what to predict from them (N,) -> one panel each:
    the loss of a linear unit over its two weights, and the path of gradient descent from zero.

    The rate is one over the largest curvature, the same share of what each could stand; a path ends where the loss is
    ``stop`` of what it was. The loss is measured from its lowest point, so that it can reach zero in all panels.
    """
    paths = {name: descent(x.double(), target.double(), stop=stop, most=most) for name, x in inputs.items()}
    figure, axes = plots.canvas(1, len(paths), size=(2.7 * len(paths) + 0.4, 3.0), squeeze=False)
    for i, (ax, (name, x)) in enumerate(zip(axes[0], inputs.items(), strict=True)):
        path, best = paths[name]
        x, reach = x.double(), float(best.abs().max())
        curve = x.T @ x / len(x)
        lines = torch.linspace(-1.6 * reach, 1.6 * reach, 121, dtype=torch.float64)
        around = torch.cartesian_prod(lines, lines)
        loss = ((around @ curve) * around).sum(1).reshape(121, 121) / 2
        seen = loss.sqrt().T  # even steps of the root keep steep and flat sides apart
        ax.contour(best[0] + lines, best[1] + lines, seen, levels=6, colors="#9A9A9A", linewidths=0.8)
        ax.plot(*path.T, color=plots.look_of(i).colour, marker=plots.look_of(i).marker, markersize=3.5)
        ax.plot(*best, "*", color="black", markersize=11, zorder=4)
        ax.plot(0, 0, "o", color="white", markeredgecolor="black", markersize=7, zorder=4)
        steps = len(path) - 1
        ax.set_title(f"{name}: {steps} step{'s' * (steps != 1)}", size=10, weight="normal")
        ax.set(xlabel="weight 1", aspect="equal")
        if i == 0:
            ax.set_ylabel("weight 2")
        ax.grid(False)
    title = "The same two inputs, the same task, three sets of coordinates"
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    counts = "; ".join(f"{name} {len(path) - 1}" for name, (path, _) in paths.items())
    return plots.Chart(
        figure,
        title,
        f"Contour lines of the loss over two weights with the path of gradient descent, by kind of inputs. Steps to "
        f"{stop:g} of the first loss: {counts}. The narrower the valley, the more steps.",
    )


def descent(x: Tensor, target: Tensor, *, stop: float = 1e-3, most: int = 2000) -> tuple[Tensor, Tensor]:
    """Inputs (N, D) and targets (N,) -> the weights after each step of gradient descent from zero, (steps + 1, D), and
    the best weights (D,), by least squares.
    """
    curve, best = x.T @ x / len(x), torch.linalg.lstsq(x, target[:, None]).solution[:, 0]
    rate = 1 / float(torch.linalg.eigvalsh(curve)[-1])
    path = [torch.zeros_like(best)]
    loss = [float(best @ curve @ best)]
    for _ in range(most):
        if loss[-1] <= stop * loss[0]:
            break
        path.append(path[-1] - rate * (curve @ (path[-1] - best)))
        loss.append(float((path[-1] - best) @ curve @ (path[-1] - best)))
    return torch.stack(path), best


@plots.styled
def checks_chart(
    differences: Mapping[str, Mapping[str, float]], *, tolerance: float = 1e-9, title: str = "Which check sees it?"
) -> plots.Chart:
    """{implementation: {check: largest difference from the reference}} -> a grid: filled, with the difference, where a
    check sees one; empty where it sees none.

    Raises ValueError where rows have different checks.
    """
    checks = list(next(iter(differences.values()), {}))
    if not checks or any(list(row) != checks for row in differences.values()):
        raise ValueError(f"every row needs the checks {', '.join(checks) or '(there are none)'}")
    figure, ax = plots.canvas(size=(9.0, 1.0 + 0.42 * len(differences)))
    for r, row in enumerate(differences.values()):
        for c, value in enumerate(row.values()):
            seen = not value <= tolerance  # nan is a difference too
            ax.fill_between(
                [c - 0.46, c + 0.46], r - 0.4, r + 0.4, color=plots.PALETTE[1] if seen else "#F0F0F0", linewidth=0
            )
            ax.text(
                c,
                r,
                f"off by {value:.2g}" if seen else "equal",
                ha="center",
                va="center",
                size=9,
                color="white" if seen else "#777777",
                weight="bold" if seen else "normal",
            )
    ax.set(
        xticks=range(len(checks)),
        xticklabels=checks,
        yticks=range(len(differences)),
        yticklabels=list(differences),
        xlim=(-0.5, len(checks) - 0.5),
        ylim=(len(differences) - 0.5, -0.5),
        title=title,
    )
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    caught = {
        name: [check for check, value in row.items() if not value <= tolerance] for name, row in differences.items()
    }
    told = "; ".join(f"{name}: {', '.join(seen) or 'no check'}" for name, seen in caught.items())
    return plots.Chart(figure, title, f"A grid of implementations and checks. Who sees a difference: {told}.")


@plots.styled
def unit_chart(bands: Mapping[str, Sequence[Sequence[float]]], *, every: int, title: str, alt: str = "") -> plots.Chart:
    """{network: [(15th, 50th, 85th percentile of a unit's input), ...]}, one row every ``every`` steps -> one panel a
    network, drawn as Fig. 1 of arXiv:1502.03167 is. The panels share their axes.
    """
    figure, axes = plots.canvas(1, len(bands), size=(9.0, 3.1), squeeze=False, sharey=True, sharex=True)
    told = []
    for i, (ax, (name, rows)) in enumerate(zip(axes[0], bands.items(), strict=True)):
        low, middle, high = zip(*rows, strict=True)
        x = [every * k + 1 for k in range(len(rows))]
        ax.fill_between(x, low, high, color=plots.look_of(i).colour, alpha=0.2, linewidth=0)
        for line, style, label in ((high, "--", "85th"), (middle, "-", "50th"), (low, ":", "15th")):
            ax.plot(x, line, color=plots.look_of(i).colour, linestyle=style, linewidth=1.4, label=f"{label} percentile")
        ax.set_title(name, size=10, weight="normal")
        ax.set_xlabel("step")
        ax.locator_params(axis="x", nbins=5)
        told.append(
            f"{name}: the band is {high[0] - low[0]:.2g} wide at first and {high[-1] - low[-1]:.2g} at the end, its "
            f"middle between {min(middle):.2g} and {max(middle):.2g}"
        )
    axes[0, 0].set_ylabel("input of one sigmoid")
    legend = figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9, handlelength=3
    )
    for handle in legend.legend_handles:
        handle.set_color("#555555")  # the lines mean the same in every panel, whatever its colour
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    return plots.Chart(
        figure, title, alt or f"15th, 50th and 85th percentile of one unit's input by step. {'. '.join(told)}."
    )
