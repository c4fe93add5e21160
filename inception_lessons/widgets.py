"""Sliders over look and plots. Each widget is a plain function from a state to a chart, with a thin skin of
controls.

The skin shows the controls and one picture, and replaces the picture when a control moves; where no front end listens
(a page on the web, a freshly cloned notebook) the picture stays, so nothing that is taught is only in the sliders.
"""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from inception_lessons import look, plots


def show(draw: Callable[..., plots.Chart], controls: Mapping[str, object]) -> None:
    """Display ``controls`` (widgets by argument name) and the chart that ``draw`` makes of their values; redraw when
    one changes.

    An error while drawing is shown as a picture with its sentence, so that a widget never goes silently dead.
    """
    import ipywidgets
    from IPython.display import display

    def chart():
        try:
            return draw(**{name: control.value for name, control in controls.items()})
        except Exception as error:  # noqa: BLE001 - whatever it is, the learner has to see it
            return _sentence(f"{type(error).__name__}: {error}")

    display(ipywidgets.VBox(list(controls.values())))
    handle = display(chart(), display_id=True)
    if handle is None:  # outside a notebook: there is no picture to replace
        return
    for control in controls.values():
        control.observe(lambda change: handle.update(chart()), "value")


def module_calculator(
    c_in: int = 192, row: tuple[int, int, int, int, int, int] = (64, 96, 128, 16, 32, 32), grid: int = 28
) -> None:
    """Sliders for the numbers of a V1 module -> the module drawn, its parameters and multiply-adds, without and with
    reductions.
    """
    names = ("n1", "r3", "n3", "r5", "n5", "proj")
    labels = ("1 x 1", "3 x 3 reduce", "3 x 3", "5 x 5 reduce", "5 x 5", "pool proj")
    controls = {"c_in": _slider("channels in", c_in, 16, 832, 16)}
    controls |= {name: _slider(label, value, 8, 384, 8) for name, label, value in zip(names, labels, row, strict=True)}
    controls["grid"] = _choice("grid", [56, 28, 14, 7], grid)
    show(plots.module, controls)


def branch_explorer(
    model: nn.Module, images: Tensor, normalize: Callable[[Tensor], Tensor], *, stage: str | None = None, most: int = 8
) -> None:
    """Network and images (N, 3, H, W) in [0, 1] -> image, stage, branch and channel to choose; the feature map, and
    each branch's busiest.
    """
    stages = list(look.branched_stages(model))
    if not stages:
        raise ValueError("this network has no stage with branches to explore")
    stage = stage or stages[0]
    kinds = list(look.branch_modules(model, stage))
    controls = {
        "image": _slider("image", 0, 0, len(images) - 1),
        "stage": _choice("stage", stages, stage),
        "branch": _choice("branch", [(plots.BRANCHES.get(kind, (kind,))[0], kind) for kind in kinds], kinds[0]),
        "channel": _slider("channel", 0, 0, most - 1),
    }
    show(lambda **state: branch_chart(model, images, normalize, most=most, **state), controls)


def branch_chart(
    model: nn.Module, images: Tensor, normalize, *, image: int, stage: str, branch: str, channel: int, most: int = 8
) -> plots.Chart:
    """What ``branch_explorer`` shows for one state. Channels are ranked by how strongly they answer to this image: 0
    is the busiest.
    """
    found = {name: maps[0] for name, maps in look.branches(model, normalize(images[image : image + 1]), stage).items()}
    ranked = {name: maps[maps.mean((1, 2)).argsort(descending=True)][:most] for name, maps in found.items()}
    if branch not in ranked:
        raise ValueError(f"stage {stage} has no branch {branch!r}; it has {', '.join(ranked)}")
    chosen = ranked[branch][min(channel, len(ranked[branch]) - 1)]
    labels = {plots.BRANCHES.get(name, (name,))[0]: maps for name, maps in ranked.items()}
    side = " x ".join(map(str, chosen.shape))
    return plots.maps(
        images[image],
        chosen,
        labels,
        title=f"Stage {stage}: the busiest channels of each branch",
        alt=f"Picture {image}, and what stage {stage} makes of it on a {side} grid: one row of small feature maps "
        f"for each branch, brightest where the "
        f"channel answers; channel {channel} of branch {plots.BRANCHES.get(branch, (branch,))[0]} is shown large.",
    )


def data_browser(image_set) -> None:
    """An image set -> split and number to choose; the picture, its neighbours, its label and its factors."""
    splits = ["train", "validation", "test"]
    least = min(len(getattr(image_set, name)) for name in splits)
    controls = {"split": _choice("split", splits, "train"), "index": _slider("image", 0, 0, least - 1)}
    show(lambda split, index: data_chart(image_set, split, index), controls)


@plots.styled
def data_chart(image_set, split: str, index: int) -> plots.Chart:
    """What ``data_browser`` shows for one state: one picture large, its factors in words, and the eight that follow
    it.
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


@plots.styled
def _sentence(text: str) -> plots.Chart:
    figure, ax = plots.canvas(size=(8.0, 1.2))
    ax.set_axis_off()
    ax.text(0, 0.5, text, wrap=True, color=plots.PALETTE[1], va="center")
    return plots.Chart(figure, "This could not be drawn", f"No chart: {text}")


def _slider(label: str, value: int, low: int, high: int, step: int = 1):
    import ipywidgets

    return ipywidgets.IntSlider(
        value,
        low,
        high,
        step,
        description=label,
        continuous_update=False,
        style={"description_width": "110px"},
        layout={"width": "420px"},
    )


def _choice(label: str, options, value):
    import ipywidgets

    return ipywidgets.Dropdown(
        options=options, value=value, description=label, style={"description_width": "110px"}, layout={"width": "300px"}
    )
