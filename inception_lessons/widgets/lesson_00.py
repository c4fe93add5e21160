"""The widget of lesson 00: a walk through an image set."""

from inception_lessons import plots
from inception_lessons.widgets.controls import choice, show, slider


def data_browser(image_set) -> None:
    """An image set -> split and number to choose; the picture, its neighbours, its label and its factors.

    ``image_set`` is what ``data`` makes: it has train, validation and test.
    """
    splits = ["train", "validation", "test"]
    least = min(len(getattr(image_set, name)) for name in splits)
    controls = {"split": choice("split", splits, "train"), "index": slider("image", 0, 0, least - 1)}
    show(lambda split, index: data_chart(image_set, split, index), controls)


@plots.styled
def data_chart(image_set, split: str, index: int) -> plots.Chart:
    """What ``data_browser`` shows for one state of ``image_set``: one picture large, its factors in words, and the
    eight that follow it.
    """
    chosen = getattr(image_set, split)
    some = chosen.take([(index + k) % len(chosen) for k in range(9)])
    figure, _ = plots.canvas(size=(8.0, 2.7), subplot_kw={"visible": False})
    grid = figure.add_gridspec(2, 7, width_ratios=[1.2, 1.2, 2.6, 1, 1, 1, 1])
    large, words = figure.add_subplot(grid[:, :2]), figure.add_subplot(grid[:, 2])
    name = image_set.classes[int(some.labels[0])]
    large.imshow(some.images[0].permute(1, 2, 0).numpy(), interpolation="nearest")
    large.set(xticks=[], yticks=[])
    large.grid(False)
    large.set_title(f"{split} {index}: label {name}", size=10)
    if {"x", "y", "size"} <= set(some.factors):
        size, x, y = (float(some.factors[key][0]) for key in ("size", "x", "y"))
        left, right, top, bottom = x - size / 2 - 0.5, x + size / 2 - 0.5, y - size / 2 - 0.5, y + size / 2 - 0.5
        large.plot(
            [left, right, right, left, left],
            [top, top, bottom, bottom, top],
            color="white",
            linewidth=1.2,
            linestyle="--",
        )
    words.set_axis_off()
    factors = {key: _factor(image_set, key, value[0]) for key, value in some.factors.items()}
    words.text(
        0,
        0.97,
        "\n".join(f"{key.replace('_', ' '):<14}{value}" for key, value in factors.items()),
        va="top",
        family="monospace",
        size=9,
    )
    for k in range(8):
        ax = figure.add_subplot(grid[k // 4, 3 + k % 4])
        ax.imshow(some.images[k + 1].permute(1, 2, 0).numpy(), interpolation="nearest")
        ax.set_axis_off()
        ax.set_title(image_set.classes[int(some.labels[k + 1])], size=8.5, weight="normal", loc="center", pad=2)
    told = ", ".join(f"{key} {value}" for key, value in factors.items())
    return plots.Chart(
        figure,
        f"One picture of {image_set.name}",
        f"Picture {index} of the {split} split, label {name}, and the eight that follow. Its factors: "
        f"{told or 'none'}.",
    )


def _factor(image_set, key: str, value) -> str:
    if key == "photograph":
        return image_set.photographs[int(value)]
    if value.dtype.is_floating_point:
        return f"{float(value):.1f} px"
    return str(value.item())
