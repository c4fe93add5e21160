"""Numbers as a grid of colours: correlations between channels, and a value for each row and column."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from inception_lessons.plots.base import BRANCHES, Chart, came, canvas, styled


@styled
def matrix(values: Tensor, groups: Sequence[str], *, title: str, alt: str) -> Chart:
    """Correlations (C, C) with each row's group, rows of a group together -> a square picture with the groups'
    borders drawn. Raises ValueError unless there is a group for each row.
    """
    if values.shape != (len(groups), len(groups)):
        raise ValueError(f"{len(groups)} groups go with as many rows and columns, not with {came(values)}")
    figure, ax = canvas(size=(5.4, 4.6))
    drawn = ax.imshow(values.numpy(), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    starts = [i for i in range(len(groups)) if i == 0 or groups[i] != groups[i - 1]]
    for start in starts[1:]:
        ax.axhline(start - 0.5, color="black", linewidth=1)
        ax.axvline(start - 0.5, color="black", linewidth=1)
    middles = [(a + b - 1) / 2 for a, b in zip(starts, [*starts[1:], len(groups)], strict=True)]
    labels = [BRANCHES.get(groups[s], (groups[s],))[0] for s in starts]
    ax.set(xticks=middles, xticklabels=labels, yticks=middles, yticklabels=labels, title=title)
    ax.grid(False)
    figure.colorbar(drawn, ax=ax, label="correlation", shrink=0.85)
    return Chart(figure, title, alt)


@styled
def heat(
    values: Mapping[str, Mapping[str, float]],
    *,
    xlabel: str,
    ylabel: str,
    scale: str,
    title: str,
    alt: str,
    number: str = ".2f",
    limits: tuple[float, float] | None = None,
    none: str = "no number",
) -> Chart:
    """{row: {column: value}} -> a grid of coloured cells, its number in each; ``scale`` says what the colour means.

    Dark is low, light is high, and the numbers say it too. A value that is no number is an empty cell that says
    ``none``; ``limits`` are the ends of the colours (lowest and highest value, unless said). Raises ValueError where
    rows have different columns.
    """
    columns = list(next(iter(values.values()), {}))
    if not columns or any(list(row) != columns for row in values.values()):
        raise ValueError(f"every row needs the columns {', '.join(columns) or '(there are none)'}")
    cells = torch.tensor([list(row.values()) for row in values.values()], dtype=torch.float64)
    finite = cells[cells.isfinite()]
    low, high = limits or ((float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0))
    figure, ax = canvas(size=(1.9 + 0.95 * len(columns), 1.5 + 0.42 * len(values)))
    drawn = ax.imshow(cells.where(cells.isfinite(), torch.nan).numpy(), vmin=low, vmax=high, aspect="auto")
    for r, row in enumerate(cells.tolist()):
        for c, value in enumerate(row):
            dark = math.isfinite(value) and (value - low) < 0.6 * (high - low)
            text = format(value, number) if math.isfinite(value) else none
            ax.text(c, r, text, ha="center", va="center", size=9, color="white" if dark else "black")
    ax.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(values)), yticklabels=list(values))
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.grid(False)
    figure.colorbar(drawn, ax=ax, label=scale)
    return Chart(figure, title, alt)
