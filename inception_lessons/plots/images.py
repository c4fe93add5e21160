"""Pictures, and what a network makes of them: feature maps, occlusion, made pictures, filters."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from inception_lessons.plots.base import GREY, PALETTE, Chart, bare, came, canvas, positive, styled


@styled
def pictures(
    images: Tensor,
    titles: Sequence[str] = (),
    *,
    columns: int = 8,
    title: str = "Pictures",
    alt: str = "",
    good: Sequence[bool] = (),
) -> Chart:
    """Images (N, 3, H, W) in [0, 1] -> a grid. ``good`` frames each: a solid frame for True, a dashed one for False.

    Raises ValueError for another shape, no image or no column.
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"pictures are images of shape (N, 3, H, W), not {came(images)}")
    count = len(images)
    if count == 0:
        raise ValueError("there are no images to show")
    positive("columns", columns)
    rows = math.ceil(count / columns)
    figure, axes = canvas(
        rows, columns, size=(8.0, (9.6 if len(titles) else 8.2) / columns * rows + 0.35), squeeze=False
    )
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    for i, ax in enumerate(axes.flat):
        bare(ax, hide=i >= count)
        if i >= count:
            continue
        ax.imshow(images[i].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        if i < len(titles):
            ax.set_title(titles[i], size=8.5, weight="normal", loc="center", pad=3)
        if i < len(good):
            for spine in ax.spines.values():
                spine.set(
                    visible=True,
                    linewidth=3,
                    color=PALETTE[2] if good[i] else PALETTE[1],
                    linestyle="-" if good[i] else ":",
                )
    return Chart(figure, title, alt or f"A grid of {count} pictures. {title}.")


@styled
def maps(
    image: Tensor,
    chosen: Tensor,
    others: Mapping[str, Tensor],
    *,
    title: str,
    alt: str,
    columns: Sequence[str] = (),
) -> Chart:
    """One image (3, H, W), one feature map (h, w), and rows of further maps {label: (count, h, w)} -> picture, map,
    and rows of small maps.

    Where ``chosen`` is a map of the rows, it is framed there too and named. ``columns`` names the maps of a row, else
    they are channels 0, 1, ... Each small map has its own brightness scale: this shows where a channel answers, not
    how strongly. Raises ValueError for other shapes, and for another number of names.
    """
    if image.ndim != 3 or image.shape[0] != 3 or chosen.ndim != 2:
        raise ValueError(f"wanted an image (3, H, W) and a map (h, w), not {came(image)} and {came(chosen)}")
    if not others or any(rows.ndim != 3 for rows in others.values()):
        shapes = ", ".join(came(rows) for rows in others.values()) or "nothing"
        raise ValueError(f"further maps are rows {{label: (count, h, w)}}, not {shapes}")
    most = max(len(rows) for rows in others.values())
    if columns and len(columns) != most:
        raise ValueError(f"{most} maps in the longest row want as many names, not {len(columns)}: {', '.join(columns)}")
    names = columns or [f"channel {c}" for c in range(most)]
    # By its place in memory: channels that are silent look all alike.
    place = {(label, c): row.data_ptr() for label, rows in others.items() for c, row in enumerate(rows)}
    found = [key for key, pointer in place.items() if pointer == chosen.data_ptr()]
    name = f"chosen, framed: {found[0][0]}, {names[found[0][1]]}" if found else "chosen channel"
    figure, _ = canvas(size=(8.0, 4.7), subplot_kw={"visible": False})
    grid = figure.add_gridspec(2, 2, width_ratios=[1, 2.6])
    for row, (picture, label) in enumerate(((image.permute(1, 2, 0).clamp(0, 1), "image"), (chosen, name))):
        ax = figure.add_subplot(grid[row, 0])
        bare(ax, frame=row == 1 and bool(found))
        ax.imshow(picture.numpy(), interpolation="nearest")
        ax.set_title(label, size=9, weight="normal", loc="center")
    inner = grid[:, 1].subgridspec(len(others), most, wspace=0.06, hspace=0.1)
    for r, (label, rows) in enumerate(others.items()):
        for c in range(most):
            ax = figure.add_subplot(inner[r, c])
            bare(ax, hide=c >= len(rows), frame=(label, c) in found)
            if c < len(rows):
                ax.imshow(rows[c].numpy(), interpolation="nearest")
            if r == 0:
                head = names[c] if columns or c == 0 else f"{c}"  # of numbers, the first says of what
                ax.set_title(head, size=9, weight="normal", loc="center", pad=4)
            if c == 0:
                ax.set_ylabel(label, size=9, rotation=0, ha="right", va="center")
    figure.supxlabel("bright: the channel answers; each map has a brightness scale of its own", size=9, color=GREY)
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    return Chart(figure, title, alt)


@styled
def occlusion(
    images: Tensor,
    losses: Mapping[str, Tensor],
    titles: Sequence[str] = (),
    *,
    patch: int,
    stride: int,
    scale: str,
    title: str,
    alt: str,
) -> Chart:
    """Images (N, 3, H, W) in [0, 1] and rows of maps {label: (N, rows, columns)}, each what covering a patch costs ->
    the pictures, and below them one row a label: a map over the faint picture.

    All maps share one colour scale, ``scale`` says of what: a map with a scale of its own would look busy even where
    nothing happens. Each number is a square of ``stride`` pixels in the middle of its patch. Raises ValueError for
    another number of maps than of pictures.
    """
    for label, maps in losses.items():
        if len(maps) != len(images):
            raise ValueError(f"wanted one map for each of {len(images)} pictures, but {label!r} has {len(maps)}")
    count, most = len(images), max(float(maps.abs().max()) for maps in losses.values()) or 1.0
    figure, axes = canvas(
        1 + len(losses),
        count,
        size=(max(0.9 + 1.15 * count, 0.09 * len(title) + 0.3), 1.28 * (1 + len(losses)) + 0.5),
        squeeze=False,
    )
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    height, width = images.shape[2:]
    for row, (label, maps) in enumerate([("picture", None), *losses.items()]):
        for n, ax in enumerate(axes[row]):
            bare(ax)
            picture = images[n].permute(1, 2, 0).clamp(0, 1)
            ax.imshow(
                (picture if maps is None else 0.75 + 0.25 * picture.mean(2, keepdim=True).expand(-1, -1, 3)).numpy()
            )
            if row == 0 and n < len(titles):
                ax.set_title(titles[n], size=9, weight="normal", loc="center", pad=3)
            if n == 0:
                ax.set_ylabel(label, size=9)
            if maps is not None:
                down, across = maps[n].shape
                left, top = ((side - (k - 1) * stride) / 2 - 0.5 for side, k in ((width, across), (height, down)))
                edges = (
                    left - stride / 2,
                    left + (across - 0.5) * stride,
                    top + (down - 0.5) * stride,
                    top - stride / 2,
                )
                drawn = ax.imshow(
                    maps[n].numpy(),
                    cmap="PuOr_r",
                    vmin=-most,
                    vmax=most,
                    extent=edges,
                    alpha=0.75,
                    interpolation="nearest",
                )
                ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    figure.colorbar(drawn, ax=axes, label=scale, shrink=0.6)
    return Chart(figure, title, alt)


@styled
def gallery(
    groups: Mapping[str, Tensor],
    rows: Sequence[str],
    under: Mapping[str, Sequence[str]] | None = None,
    *,
    title: str,
    alt: str,
) -> Chart:
    """{heading: pictures (R, n, 3, H, W) in [0, 1]} and R names -> one row a name, the groups side by side under their
    headings; ``under`` puts one line below each row's pictures of a group.

    Raises ValueError for pictures of another shape.
    """
    import textwrap

    from matplotlib.figure import Figure

    for heading, pictures in groups.items():
        if pictures.ndim != 5 or len(pictures) != len(rows):
            raise ValueError(f"wanted pictures ({len(rows)}, n, 3, H, W), but {heading!r} has {tuple(pictures.shape)}")
    counts = [pictures.shape[1] for pictures in groups.values()]
    # Everything stands at whole hundredths of an inch, which are pixels: small pictures stay sharp, the file small.
    each, step, left, line = 0.96, 1.02, 0.2 + 0.075 * max(map(len, rows)), 0.17
    gap = 0.2 if len(groups) < 8 else 0.0
    headings = [textwrap.wrap(heading, max(6, int(12 * step * n))) for heading, n in zip(groups, counts, strict=True)]
    deep, foot = line * max(map(len, headings)) + 0.1, 0.22 * bool(under)
    width = max(left + step * sum(counts) + gap * (len(groups) - 1) + 0.1, 0.085 * len(title) + 0.2)
    height = round(0.4 + deep + (step + foot) * len(rows), 2)
    width, left = round(width, 2), round(left, 2)
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("none")
    figure.text(0.1 / width, 1 - 0.1 / height, title, ha="left", va="top", weight="bold", size=11)
    x = left
    for heading, words, pictures, n in zip(groups, headings, groups.values(), counts, strict=True):
        centre = (x + (step * n - 0.06) / 2) / width
        top = height - 0.4 - deep
        figure.text(centre, (top + 0.06) / height, "\n".join(words), ha="center", va="bottom", size=9.5)
        for r, name in enumerate(rows):
            y = round(top - r * (step + foot) - each, 2)
            for k in range(n):
                ax = figure.add_axes(((x + k * step) / width, y / height, each / width, each / height))
                bare(ax)
                ax.imshow(pictures[r, k].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
            if x == left:
                figure.text((left - 0.08) / width, (y + each / 2) / height, name, ha="right", va="center", size=9)
            if under and under.get(heading):
                figure.text(centre, (y - 0.03) / height, under[heading][r], ha="center", va="top", size=8.5)
        x = round(x + step * n + gap, 2)
    return Chart(figure, title, alt, colours=256)


@styled
def filters(groups: Mapping[str, Tensor], *, columns: int = 16, title: str, alt: str) -> Chart:
    """{label: kernels (count, 3, h, w)} -> the kernels as small pictures, numbered from 0, a row a group: those of one
    number stand below each other.

    A weight of 0 is mid-grey, and each kernel has a scale of its own: this shows what a filter looks for, not how
    loudly it answers. Raises ValueError for kernels that are not of three colours.
    """
    for label, kernels in groups.items():
        if kernels.ndim != 4 or kernels.shape[1] != 3 or len(kernels) == 0:
            raise ValueError(f"wanted kernels (count, 3, h, w) of colours, but {label!r} has {tuple(kernels.shape)}")
    deep = math.ceil(max(map(len, groups.values())) / columns)  # so many times all groups, one below the other
    size = max(1.3 + 0.43 * columns, 0.09 * len(title) + 0.3), 0.35 + deep * (0.45 * len(groups) + 0.22)
    figure, axes = canvas(deep * len(groups), columns, size=size, squeeze=False)
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    for g, (label, kernels) in enumerate(groups.items()):
        for n in range(deep * columns):
            ax = axes[n // columns * len(groups) + g, n % columns]
            bare(ax, hide=n >= len(kernels))
            if n >= len(kernels):
                continue
            picture = 0.5 + 0.5 * kernels[n].float() / kernels[n].float().abs().max().clamp(min=1e-12)
            ax.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
            if g == 0:
                ax.set_title(f"{n}", size=9, weight="normal", loc="center", pad=3)
            if n % columns == 0:
                ax.set_ylabel(label, size=9, rotation=0, ha="right", va="center")
    return Chart(figure, title, alt)
