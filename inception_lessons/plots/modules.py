"""A V1 module drawn as boxes that are as wide as their channels."""

from inception_lessons.plots.base import BRANCHES, Chart, canvas, positive, styled


@styled
def module(c_in: int, n1: int, r3: int, n3: int, r5: int, n5: int, proj: int, grid: int = 28) -> Chart:
    """The seven numbers of a V1 module and its grid -> the module without and with 1 x 1 reductions, boxes as wide as
    their channels.

    Under each stands what it costs. Drawn to one scale, so that the two can be compared by eye. Raises ValueError for a
    number below 1.
    """
    numbers = {"c_in": c_in, "n1": n1, "r3": r3, "n3": n3, "r5": r5, "n5": n5, "proj": proj, "grid": grid}
    for name, value in numbers.items():
        positive(name, value)
    naive = {"b1": [(1, n1)], "b3": [(3, n3)], "b5": [(5, n5)], "pool": [("max", c_in)]}
    reduced = {"b1": [(1, n1)], "b3": [(1, r3), (3, n3)], "b5": [(1, r5), (5, n5)], "pool": [("max", c_in), (1, proj)]}
    figure, axes = canvas(1, 2, size=(10.0, 4.4))
    widest = max(sum(max(c for _, c in path) for path in form.values()) for form in (naive, reduced))
    totals, beside = [], []
    for ax, form, label in (
        (axes[0], naive, "Fig. 2(a): naive"),
        (axes[1], reduced, "Fig. 2(b): with 1 x 1 reductions"),
    ):
        params, macs, out = _draw_module(ax, form, c_in, grid, widest, beside)
        totals.append((params, macs, out))
        ax.set_title(f"{label}\n{params:,} parameters, {macs / 1e6:.1f} M multiply-adds", size=10, loc="center")
    figure.draw_without_rendering()  # only then the axes have their final size, and a word its width
    for text, limit in beside:
        if text.get_window_extent().x1 > text.axes.transData.transform((limit, 0))[0]:
            text.set_text(text.get_text().replace(" ", "\n"))
    title = "The Inception module, without and with reductions"
    ratio = totals[0][1] / totals[1][1]
    return Chart(
        figure,
        title,
        f"Two Inception modules drawn as four columns of boxes. The naive one costs {totals[0][1] / 1e6:.1f} "
        f"million multiply-adds, "
        f"the one with 1 x 1 reductions {totals[1][1] / 1e6:.1f} million, {ratio:.2f} times less; they put out "
        f"{totals[0][2]} and {totals[1][2]} channels.",
    )


def _draw_module(ax, form, c_in: int, grid: int, widest: int, beside: list) -> tuple[int, int, int]:
    """Draw one form of the module bottom to top; returns parameters (with biases), multiply-adds and channels out.

    To `beside` go the words that stand at the right of a box too narrow for them, each with the x where the next
    branch begins.
    """
    from matplotlib.patches import Rectangle

    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(-0.1, 1.14))
    height, gap = 0.13, 0.1
    unit = (0.96 - 3 * gap) / widest
    slots = {name: max(count for _, count in path) * unit for name, path in form.items()}
    x = (1 - sum(slots.values()) - 3 * gap) / 2
    out = sum(path[-1][1] for path in form.values())
    segment = 0.5 - out * unit / 2
    params = macs = 0

    def box(middle: float, y: float, count: int, text: str, colour: str) -> None:
        ax.add_patch(
            Rectangle((middle - count * unit / 2, y - height / 2), count * unit, height, facecolor=colour, zorder=2)
        )
        if len(text) * 0.0135 < count * unit:
            ax.text(middle, y, text, ha="center", va="center", size=8.5, color="white", zorder=3)
        else:
            right = middle + count * unit / 2 + 0.006
            words = ax.text(right, y, text, ha="left", va="center", size=8.5, color="#333333", zorder=3)
            beside.append((words, x + slots.get(name, 0) + gap))

    def wire(a: tuple[float, float], b: tuple[float, float]) -> None:
        ax.plot(*zip(a, b, strict=True), color="#BBBBBB", linewidth=1.2, zorder=1)

    name = None  # no branch yet
    box(0.5, 0, c_in, f"{c_in} channels in", "#555555")
    for name, path in form.items():
        middle, c, below = x + slots[name] / 2, c_in, (0.5, height / 2)
        for y, (kernel, count) in zip([0.5] if len(path) == 1 else [0.36, 0.66], path, strict=True):
            wire(below, (middle, y - height / 2))
            if kernel == "max":
                box(middle, y, count, f"max pool {count}", "#8A8A8A")
            else:
                weights = kernel * kernel * c * count
                params, macs, c = params + weights + count, macs + weights * grid * grid, count
                box(middle, y, count, f"{kernel}x{kernel} {count}", BRANCHES[name][1])
            below = (middle, y + height / 2)
        share = path[-1][1] * unit
        colour = "#8A8A8A" if path[-1][0] == "max" else BRANCHES[name][1]
        ax.add_patch(
            Rectangle((segment, 0.93), share, 0.09, facecolor=colour, edgecolor="white", linewidth=1.5, zorder=2)
        )
        wire(below, (segment + share / 2, 0.93))
        segment, x = segment + share, x + slots[name] + gap
    ax.text(0.5, 1.04, f"{out} channels out", ha="center", va="bottom", size=9, color="#333333")
    return params, macs, out
