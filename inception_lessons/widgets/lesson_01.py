"""The widgets of lesson 01: what a V1 module costs, and what its branches see."""

from collections.abc import Callable

from torch import Tensor, nn

from inception_lessons import look, plots
from inception_lessons.widgets.controls import choice, show, slider


def module_calculator(
    c_in: int = 192, row: tuple[int, int, int, int, int, int] = (64, 96, 128, 16, 32, 32), grid: int = 28
) -> None:
    """Sliders for the numbers of a V1 module -> the module drawn, its parameters and multiply-adds, without and with
    reductions.
    """
    names = ("n1", "r3", "n3", "r5", "n5", "proj")
    labels = ("1 x 1", "3 x 3 reduce", "3 x 3", "5 x 5 reduce", "5 x 5", "pool proj")
    controls = {"c_in": slider("channels in", c_in, 16, 832, 16)}
    controls |= {name: slider(label, value, 8, 384, 8) for name, label, value in zip(names, labels, row, strict=True)}
    controls["grid"] = choice("grid", [56, 28, 14, 7], grid)
    show(plots.module, controls)


def branch_explorer(
    model: nn.Module, images: Tensor, normalize: Callable[[Tensor], Tensor], *, stage: str | None = None, most: int = 8
) -> None:
    """Network and images (N, 3, H, W) in [0, 1] -> image, stage, branch and channel to choose; the feature map, and
    each branch's busiest.

    Raises ValueError for a network without branches.
    """
    stages = list(look.branched_stages(model))
    if not stages:
        raise ValueError("this network has no stage with branches to explore")
    stage = stage or stages[0]

    def kinds(stage: str) -> list[tuple[str, str]]:
        return [(plots.BRANCHES.get(kind, (kind,))[0], kind) for kind in look.branch_modules(model, stage)]

    controls = {
        "image": slider("image", 0, 0, len(images) - 1),
        "stage": choice("stage", stages, stage),
        "branch": choice("branch", kinds(stage), kinds(stage)[0][1]),
        "channel": slider("channel", 0, 0, most - 1),
    }

    def adapt(change: object) -> None:
        """Only branches that the stage has can be chosen; one that it shares with the last stage stays chosen."""
        branch, there = controls["branch"], kinds(controls["stage"].value)
        if list(branch.options) != there:
            chosen, branch.options = branch.value, there  # a new list chooses its first
            branch.value = chosen if chosen in dict(there).values() else branch.value

    controls["stage"].observe(adapt, "value")
    show(lambda **state: branch_chart(model, images, normalize, most=most, **state), controls)


def branch_chart(
    model: nn.Module, images: Tensor, normalize, *, image: int, stage: str, branch: str, channel: int, most: int = 8
) -> plots.Chart:
    """What ``branch_explorer`` shows for one state. Channels are ranked by how strongly they answer to this image: 0
    is the busiest.

    ``normalize`` maps images to what the network takes. Raises ValueError for a branch that the stage does not have.
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
