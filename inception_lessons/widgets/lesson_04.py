"""The widgets of lesson 04: what a smoothed label asks for, and how far a network's confidence can be believed."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from inception_lessons import measure, plots
from inception_lessons.widgets.controls import choice, scale, show, slider, stops

WIDEST = 14.0  # the largest gap between logits that is drawn
SHOWN = 10  # classes that get bars of their own
FEW = 20  # a bin with fewer examples says little, and is drawn pale
TOLD, SAID, UNSURE = plots.PALETTE[:3]


def smoothing_slider(
    optimum: Callable[[int, float], tuple[float, float]], *, smoothing: float = 0.1, classes: int = 10, gap: float = 9.0
) -> None:
    """What finds the best gap and its loss, from classes and smoothing -> sliders for smoothing, number of classes and
    how sure the network is; the target that it is told, and its loss.
    """
    controls = {
        "smoothing": scale("smoothing", smoothing, 0.0, 0.9, 0.05),
        "classes": stops("classes", [2, 3, 5, 10, 20, 100, 1000], classes),
        "gap": scale("logit gap", gap, 0.0, WIDEST, 0.25),
    }
    show(lambda **state: smoothing_chart(optimum, **state), controls)


@plots.styled
def smoothing_chart(
    optimum: Callable[[int, float], tuple[float, float]], *, smoothing: float, classes: int, gap: float
) -> plots.Chart:
    """What ``smoothing_slider`` shows for one state: target and prediction as bars, and the loss of every gap.

    The network gives the right class a logit ``gap`` above all others, which are equal. The loss is torch's own; where
    it is least comes from ``optimum(classes, smoothing)``, which is infinite without smoothing. Raises ValueError for
    smoothing outside [0, 1), fewer than two classes, or a gap beyond what is drawn.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is at least 0 and below 1, not {smoothing!r}")
    if not (isinstance(classes, int) and classes >= 2):
        raise ValueError(f"classes is a whole number of at least 2, not {classes!r}")
    if not 0 <= gap <= WIDEST:
        raise ValueError(f"the gap is from 0 to {WIDEST:g}, not {gap!r}")
    gaps = torch.linspace(0, WIDEST, 141, dtype=torch.double)
    told = [1 - smoothing + smoothing / classes, smoothing / classes]
    said = _logits(torch.tensor([gap]).double(), classes).softmax(1)[0, :2].tolist()
    best, least = optimum(classes, smoothing)
    here = _losses(torch.tensor([gap]).double(), classes, smoothing)[0]

    figure, (left, right) = plots.canvas(1, 2, size=(9.6, 3.7), gridspec_kw={"width_ratios": [1, 1.25]})
    drawn = min(classes, SHOWN)
    for shift, colour, hatch, name, pair in ((-0.2, TOLD, "", "it is told", told), (0.2, SAID, "//", "it says", said)):
        heights = [pair[0]] + [pair[1]] * (drawn - 1)
        x = [k + shift for k in range(drawn)]
        left.bar(x, heights, 0.38, color=colour, hatch=hatch, edgecolor="white", label=name)
    left.set(xticks=[0], xticklabels=["right class"], ylabel="probability", ylim=(0, 1.05), xlim=(-0.7, drawn - 0.3))
    left.set_xlabel(f"and {classes - 1:,} other{'s' if classes > 2 else ''}, the first {drawn - 1} drawn")
    if drawn == classes:
        left.set_xlabel(f"and the {'one other' if classes == 2 else f'{classes - 1} others'}")
    left.set_title("The target, and the network", size=10.5)
    left.legend(loc="upper right")
    left.grid(False, axis="x")
    table = [
        ("", "told", "says"),
        *((n, *map(_probability, (told[i], said[i]))) for i, n in enumerate(("right", "other"))),
    ]
    left.text(
        0.98,
        0.7,
        "\n".join(f"{name:<6}{first:>8}{second:>9}" for name, first, second in table),
        transform=left.transAxes,
        ha="right",
        va="top",
        family="monospace",
        size=8.5,
    )

    plain, smoothed = (_losses(gaps, classes, amount) for amount in (0.0, smoothing))
    right.plot(gaps, plain, color="#666666", linestyle="--", label="labels as they are")
    if smoothing:
        right.plot(gaps, smoothed, color=TOLD, label=f"smoothed by {smoothing:.2f}")
        right.plot([best], [least], "*", color=TOLD, markersize=15, label=f"least: {least:.3f} at {best:.2f}")
    right.plot(
        [gap], [here], "s", color=SAID, markersize=8, clip_on=False, label=f"the network: {_nats(here)} at {gap:.2f}"
    )
    right.set(xlabel="gap between the right logit and the others", ylabel="loss (nats)", xlim=(0, WIDEST))
    right.set_ylim(0, 1.45 * max(plain[0], here, smoothed[-1]))  # nothing runs under the legend
    right.set_title("Its loss, by how sure it is", size=10.5)
    right.legend(loc="upper right", ncols=2 if smoothing else 1, fontsize=9)
    end = (
        f"the smoothed loss is least, {least:.3f}, at a gap of {best:.2f}"
        if smoothing
        else "the loss falls for ever: no gap is the best"
    )
    if not smoothing:
        right.text(0.5, 0.32, "no least: it falls for ever", transform=right.transAxes, color="#444444", size=9.5)
    return plots.Chart(
        figure,
        "A smoothed label and its loss",
        f"Left, bars for {classes:,} classes with smoothing {smoothing:.2f}: the target gives the right class "
        f"{_probability(told[0])} and each other {_probability(told[1])}; a network with a gap of {gap:.2f} says "
        f"{_probability(said[0])} and {_probability(said[1])}. Right, loss against the gap: {end}; the network's loss "
        f"is {_nats(here)}.",
    )


def _logits(gaps: Tensor, classes: int) -> Tensor:
    """Gaps (N,) -> logits (N, K): the right class, number 0, above the others, which are equal."""
    logits = torch.zeros(len(gaps), classes, dtype=gaps.dtype)
    logits[:, 0] = gaps
    return logits


def _losses(gaps: Tensor, classes: int, smoothing: float) -> list[float]:
    right = torch.zeros(len(gaps), dtype=torch.long)
    return F.cross_entropy(_logits(gaps, classes), right, label_smoothing=smoothing, reduction="none").tolist()


def _nats(loss: float) -> str:
    """A loss, with the order of one that is almost nothing: 0.811, 8e-07."""
    return f"{loss:.3f}" if loss >= 0.001 else f"{loss:.0e}"


def _probability(value: float) -> str:
    """As many figures as mean something: 0.910, 0.01, 1e-06, and 0 only for nothing."""
    if value == 0:
        return "0"
    return f"{value:.3f}" if value >= 0.0995 else f"{value:.2g}" if value >= 1e-4 else f"{value:.0e}"


def reliability_diagram(networks: Mapping[str, tuple[Tensor, Tensor]], *, bins: int = 15) -> None:
    """Networks by name, each with its logits (N, K) and labels (N,) -> network, temperature and number of bins to
    choose; how often it is right by how sure it is.

    Raises ValueError for no network.
    """
    if not networks:
        raise ValueError("there is no network to draw: hand in {name: (logits, labels)}")
    names = list(networks)
    temperatures = [0.25, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0, 4.0]
    controls = {"network": choice("network", names, names[0])} if len(names) > 1 else {}
    controls["temperature"] = stops("temperature", temperatures, 1.0)
    controls["bins"] = slider("bins", bins, 5, 30)

    def draw(temperature, bins, network=names[0]):
        return reliability_chart(*networks[network], temperature=temperature, bins=bins, name=network)

    show(draw, controls)


@plots.styled
def reliability_chart(
    logits: Tensor, labels: Tensor, *, temperature: float = 1.0, bins: int = 15, name: str = "The network"
) -> plots.Chart:
    """Logits (N, K) and labels (N,) -> accuracy by confidence after dividing the logits by ``temperature``, the gap
    between the two shaded, with the number of examples in each bin below. What ``reliability_diagram`` shows.

    Source of diagram and temperature: Guo et al., arXiv:1706.04599, sections 2 and 4.2. Raises ValueError for a
    temperature that is not above 0, and whatever ``measure.calibration`` objects to.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"the temperature is a number above 0, not {temperature!r}")
    found = measure.calibration(logits / temperature, labels, bins)
    figure, _ = plots.canvas(size=(8.0, 4.9), subplot_kw={"visible": False})
    said = _panel(figure, figure.add_gridspec(1, 1)[0], found, f"{name}, temperature {temperature:g}")
    _keys(figure)
    return plots.Chart(
        figure, "How far its confidence can be believed", f"Accuracy against confidence in {bins} bins. {said}."
    )


@plots.styled
def reliability_panels(
    networks: Mapping[str, measure.Calibration | Sequence[measure.Calibration]], *, title: str, columns: int = 2
) -> plots.Chart:
    """Calibration by name, of one network or of several with equal bins -> one diagram each, side by side.

    Several networks (the seeds of one arm) are drawn as one: their examples share the bins; the error that is written
    is the mean of theirs. Raises ValueError where there is nothing, or bins differ in number.
    """
    if not networks:
        raise ValueError("there is no network to draw: hand in {name: calibration}")
    rows = math.ceil(len(networks) / columns)
    figure, _ = plots.canvas(size=(4.4 * min(columns, len(networks)), 0.4 + 3.3 * rows), subplot_kw={"visible": False})
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    figure.get_layout_engine().set(h_pad=0.02)
    grid = figure.add_gridspec(rows, min(columns, len(networks)))
    said = []
    for i, (name, found) in enumerate(networks.items()):
        found = [found] if isinstance(found, measure.Calibration) else list(found)
        said.append(_panel(figure, grid[i // columns, i % columns], _pooled(found), name))
    _keys(figure)
    return plots.Chart(figure, title, f"Diagrams of accuracy against confidence. {'. '.join(said)}.")


def _keys(figure) -> None:
    """What the colours mean, below all diagrams of a figure."""
    from matplotlib.patches import Patch

    keys = [
        Patch(facecolor=SAID, alpha=0.6, hatch="//", edgecolor="white", label="too sure: confidence above accuracy"),
        Patch(facecolor=UNSURE, alpha=0.6, hatch="..", edgecolor="white", label="not sure enough: below it"),
        Patch(facecolor=TOLD, alpha=0.19, label=f"pale: fewer than {FEW} pictures"),
    ]
    side_by_side = figure.get_figwidth() > 7  # one panel is narrower than the three in a row
    figure.legend(handles=keys, loc="outside lower center", ncols=3 if side_by_side else 1, fontsize=8.5)


def _pooled(found: Sequence[measure.Calibration]) -> measure.Calibration:
    """Several networks as one: bins with the examples of all, and the mean of their errors and losses."""
    sizes = {len(one.count) for one in found}
    if len(sizes) != 1:
        raise ValueError(f"networks are pooled bin by bin, but they have {sorted(sizes) or 'no'} bins")
    count = [sum(column) for column in zip(*(one.count for one in found), strict=True)]

    def mean(key: str) -> tuple[float, ...]:
        totals = [sum(getattr(one, key)[k] * one.count[k] for one in found if one.count[k]) for k in range(len(count))]
        return tuple(total / n if n else math.nan for total, n in zip(totals, count, strict=True))

    ece, nll = (sum(getattr(one, key) for one in found) / len(found) for key in ("ece", "nll"))
    return measure.Calibration(ece, nll, mean("confidence"), mean("accuracy"), tuple(count))


def _panel(figure, place, found: measure.Calibration, name: str) -> str:
    """One diagram, its counts below it; returns what it shows in words."""
    inner = place.subgridspec(2, 1, height_ratios=[3.2, 1], hspace=0.04)
    ax = figure.add_subplot(inner[0])
    below = figure.add_subplot(inner[1], sharex=ax)
    bins = len(found.count)
    width, total = 1 / bins, sum(found.count)
    for k, (sure, right, n) in enumerate(zip(found.confidence, found.accuracy, found.count, strict=True)):
        if not n:
            continue
        x, strength = (k + 0.5) * width, 1.0 if n >= FEW else 0.25
        ax.bar(x, min(sure, right), 0.94 * width, color=TOLD, alpha=0.75 * strength)
        over = sure > right
        ax.bar(
            x,
            abs(sure - right),
            0.94 * width,
            bottom=min(sure, right),
            color=SAID if over else UNSURE,
            alpha=0.6 * strength,
            hatch="//" if over else "..",
            edgecolor="white",
        )
    ax.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
    beyond = found.overconfidence
    accuracy = sum(a * n for a, n in zip(found.accuracy, found.count, strict=True) if n) / total
    word = "over-confident" if beyond > 0 else "under-confident"
    ax.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    ax.tick_params(labelbottom=False)
    ax.set_title(name, size=10)
    sums = f"accuracy     {accuracy:.3f}\nconfidence   {accuracy + beyond:.3f}\ncalib. error {found.ece:.3f}"
    ax.text(0.03, 0.97, sums, transform=ax.transAxes, va="top", family="monospace", size=8.5)
    below.bar([(k + 0.5) * width for k in range(bins)], found.count, 0.94 * width, color="#777777")
    below.set(ylabel="pictures\n(log scale)", xlabel="confidence", yscale="symlog", ylim=(0, 1.6 * total))
    below.set_yticks([10, 1000], ["10", "1,000"])
    below.minorticks_off()
    return (
        f"{name}: accuracy {accuracy:.3f}, confidence {accuracy + beyond:.3f}, so {word} by {abs(beyond):.3f}; "
        f"calibration error {found.ece:.3f}"
    )
