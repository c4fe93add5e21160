"""The widget of lesson 00: a walk through an image set."""

from torch import Tensor

from inception_lessons import plots
from inception_lessons.widgets.controls import choice, show, slider

_LENGTHS = ("size", "x", "y")  # factors that are counted in pixels
_MOST = 6  # numbers of one factor that are printed


def data_browser(image_set) -> None:
    """An image set -> split and number to choose; the picture, its neighbours, its label and its factors.

    ``image_set`` is what ``data`` makes: it has train, validation and test, and those with pictures can be chosen; a
    small folder may have none to test on. Raises ValueError for a set without pictures.
    """
    sizes = {name: len(getattr(image_set, name)) for name in ("train", "validation", "test")}
    splits = [name for name, size in sizes.items() if size]
    if not splits:
        raise ValueError(f"{image_set.name} has no pictures to browse, neither in {' nor in '.join(sizes)}")
    least = min(sizes[name] for name in splits)
    controls = {"split": choice("split", splits, splits[0]), "index": slider("image", 0, 0, least - 1)}
    show(lambda split, index: data_chart(image_set, split, index), controls)


@plots.styled
def data_chart(image_set, split: str, index: int) -> plots.Chart:
    """What ``data_browser`` shows for one state of ``image_set``: one picture large, its factors in words, and the
    eight that follow it. Raises ValueError for a split without pictures.
    """
    chosen = getattr(image_set, split)
    if not len(chosen):
        raise ValueError(f"the {split} split of {image_set.name} has no pictures to show")
    some = chosen.take([(index + k) % len(chosen) for k in range(9)])
    figure, _ = plots.canvas(size=(8.0, 2.7), subplot_kw={"visible": False})
    grid = figure.add_gridspec(2, 7, width_ratios=[1.2, 1.2, 2.6, 1, 1, 1, 1])
    large, words = figure.add_subplot(grid[:, :2]), figure.add_subplot(grid[:, 2])
    name = image_set.classes[int(some.labels[0])]
    large.imshow(some.images[0].permute(1, 2, 0).numpy(), interpolation="nearest")
    large.set(xticks=[], yticks=[])
    large.grid(False)
    large.set_title(f"{split} {index}: label {name}", size=10)
    if all(key in some.factors and some.factors[key].ndim == 1 for key in _LENGTHS):
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


def _factor(image_set, key: str, value: Tensor) -> str:
    """The factor of one picture, a number or several, in words."""
    if value.ndim:
        several = [_factor(image_set, key, each) for each in value.flatten()[:_MOST]]
        return ", ".join(several) + (", ..." if value.numel() > _MOST else "")
    if key == "photograph":
        return image_set.photographs[int(value)]
    if value.dtype.is_floating_point:
        return f"{float(value):.1f} px" if key in _LENGTHS else f"{float(value):.4g}"
    return str(value.item())
