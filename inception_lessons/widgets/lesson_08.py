"""The widgets of lesson 08: what a channel wants to see, and which part of a picture a class rests on."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from inception_lessons import look, plots
from inception_lessons.widgets.controls import choice, show, slider, stops

WHOLE = "all"  # the branch that stands for the whole stage
STEPS = (0, 16, 32, 64, 128)
OBJECTIVES = (("channel, everywhere", "channel"), ("channel, in the middle", "neuron"), ("whole branch", "branch"),
              ("class", "class"))  # fmt: skip


# ---------------------------------------------------------------------------------------------------- the visualizer


def visualizer(
    model: nn.Module,
    images: Tensor,
    normalize: Callable[[Tensor], Tensor],
    *,
    stage: str | None = None,
    steps: int = 64,
    classes: Sequence[str] = (),
    **options,
) -> None:
    """Network and images (N, 3, H, W) in [0, 1] -> objective, stage, branch, channel and steps to choose; the picture
    that optimization finds, beside the images that drive the same thing most.

    ``options`` go to ``look.visualize`` (``seed``, ``basis``, ``shake``, ...). What was drawn once is remembered.
    Raises ValueError for a network without stages, or a stage that there is not.
    """
    widths = {
        name: maps.shape[1] for name, maps in look.activations(model, normalize(images[:1])).items() if maps.ndim == 4
    }
    branched, logits = look.branched_stages(model), look.responses(model, normalize(images[:1]), None).shape[1]
    stage = stage or next(iter(branched), next(iter(widths)))
    if stage not in widths:
        raise ValueError(f"no stage {stage!r} to visualize; there are {', '.join(widths)}")
    controls = {
        "objective": choice("objective", OBJECTIVES, "channel"),
        "stage": choice("stage", list(widths), stage),
        "branch": choice("branch", [(_branch(WHOLE), WHOLE)], WHOLE),
        "channel": slider("channel", 0, 0, max(*widths.values(), logits) - 1),
        "steps": stops("steps", [(str(count), count) for count in sorted({*STEPS, steps})], steps),
    }

    def adapt(change: object = None) -> None:
        """Only what there is can be chosen, and what says nothing now cannot be moved."""
        objective, stage, branch, channel = (controls[name] for name in ("objective", "stage", "branch", "channel"))
        kinds = (WHOLE, *branched.get(stage.value, ()))
        if [value for _, value in branch.options] != [*kinds]:
            branch.options = [(_branch(kind), kind) for kind in kinds]
        stage.disabled = objective.value == "class"
        branch.disabled = objective.value == "class" or len(kinds) == 1
        channel.disabled = objective.value == "branch"
        if objective.value == "class":
            channel.max = logits - 1
        else:
            part = None if branch.value == WHOLE else branch.value
            channel.max = look.responses(model, normalize(images[:1]), stage.value, branch=part).shape[1] - 1

    adapt()
    for name in ("objective", "stage", "branch"):
        controls[name].observe(adapt, "value")
    known: dict[tuple, plots.Chart] = {}

    def remembered(**state):
        key = tuple(state.values())
        if key not in known:
            known[key] = visualizer_chart(model, images, normalize, classes=classes, **state, **options)
        return known[key]

    show(remembered, controls)


def visualizer_chart(
    model: nn.Module,
    images: Tensor,
    normalize: Callable[[Tensor], Tensor],
    *,
    objective: str,
    stage: str,
    branch: str,
    channel: int,
    steps: int,
    classes: Sequence[str] = (),
    strongest: int = 6,
    **options,
) -> plots.Chart:
    """What ``visualizer`` shows for one state: the start, the picture found, and the ``strongest`` of the images, each
    with the answer of what is driven.

    ``objective`` is one of ``look.OBJECTIVES`` or ``"branch"``: all channels of the branch together. A channel beyond
    the last one is the last one. Raises ValueError for a stage or branch that there is not.
    """
    if objective not in [value for _, value in OBJECTIVES]:
        raise ValueError(f"objective is one of {', '.join(value for _, value in OBJECTIVES)}, not {objective!r}")
    place, part = (None, None) if objective == "class" else (stage, None if branch == WHOLE else branch)

    def answers(pictures: Tensor) -> Tensor:
        return look.responses(model, normalize(pictures), place, branch=part, middle=objective == "neuron")

    found = answers(images)
    channel = min(channel, found.shape[1] - 1)
    wanted = torch.ones(found.shape[1]) / found.shape[1] if objective == "branch" else channel

    def along(values: Tensor) -> Tensor:
        return values.mean(1) if objective == "branch" else values[:, channel]

    made = [
        look.visualize(
            model,
            place,
            wanted,
            branch=part,
            objective="channel" if objective == "branch" else objective,
            normalize=normalize,
            steps=count,
            **{"size": images.shape[-1], **options},
        )
        for count in (0, steps)
    ]
    best = along(found).argsort(descending=True, stable=True)[:strongest]
    start, end = (float(along(answers(picture))[0]) for picture in made)
    real = along(found)[best].tolist()
    name = {
        "class": f"class {classes[channel] if channel < len(classes) else channel}",
        "branch": f"{stage}, {_branch(branch)}: all {found.shape[1]} channels",
    }.get(objective, f"{stage}, {_branch(branch)}: channel {channel}" + " in the middle" * (objective == "neuron"))
    return plots.gallery(
        {
            "start": made[0][None],
            f"after {steps} steps": made[1][None],
            "the pictures that drive it most": images[best][None],
        },
        [""],
        {
            "start": [f"{start:.2f}"],
            f"after {steps} steps": [f"{end:.2f}"],
            "the pictures that drive it most": [f"{real[0]:.2f} to {real[-1]:.2f}"],
        },
        title=f"What drives {name}?",
        alt=f"What drives {name}: the noise at the start, where the answer is {start:.2f}, the picture after {steps} "
        f"steps with {end:.2f}, and the {len(real)} of {len(images)} real pictures with the strongest answers, "
        f"{real[0]:.2f} to {real[-1]:.2f}.",
    )


def _branch(kind: str) -> str:
    return "all branches" if kind == WHOLE else plots.BRANCHES.get(kind, (kind,))[0]


# ------------------------------------------------------------------------------------------------------- occlusion


def occlusion_browser(
    model: nn.Module,
    images: Tensor,
    labels: Sequence[int] | Tensor,
    normalize: Callable[[Tensor], Tensor],
    *,
    classes: Sequence[str] = (),
) -> None:
    """Network, images (N, 3, H, W) in [0, 1] and their labels -> picture, patch and class to choose; what the class
    loses where a patch is covered.

    The first choice of class is each picture's own label. Raises ValueError for another number of labels than of
    images.
    """
    if len(images) == 0 or len(labels) != len(images):
        raise ValueError(f"wanted a label for each picture, not {len(labels)} labels for {len(images)} pictures")
    outputs = look.responses(model, normalize(images[:1]), None).shape[1]
    names = [(classes[k] if k < len(classes) else str(k), k) for k in range(outputs)]
    side = min(images.shape[2:])
    patches = sorted({max(1, side // share) for share in (8, 4, 3, 2)})
    controls = {
        "image": slider("picture", 0, 0, len(images) - 1),
        "patch": stops("patch (px)", [(str(patch), patch) for patch in patches], max(1, side // 4)),
        "of": choice("class", [("its label", -1), *names], -1),
    }
    show(
        lambda image, patch, of: occlusion_chart(
            model, images, labels, normalize, image=image, patch=patch, of=of, classes=classes
        ),
        controls,
    )


def occlusion_chart(
    model: nn.Module,
    images: Tensor,
    labels: Sequence[int] | Tensor,
    normalize: Callable[[Tensor], Tensor],
    *,
    image: int,
    patch: int,
    of: int = -1,
    classes: Sequence[str] = (),
) -> plots.Chart:
    """What ``occlusion_browser`` shows for one state. ``of`` is the class asked about, -1 the picture's own label."""
    picture, wanted = images[image : image + 1], int(labels[image]) if of < 0 else of
    stride = max(1, patch // 2)
    lost = look.occlusion(model, normalize(picture), [wanted], patch=patch, stride=stride)
    whole = float(look.responses(model, normalize(picture), None).softmax(1)[0, wanted])
    name = classes[wanted] if wanted < len(classes) else str(wanted)
    worst = float(lost.max())
    row, column = divmod(int(lost[0].argmax()), lost.shape[2])
    tops, lefts = (look.places(side, patch, stride) for side in images.shape[2:])
    return plots.occlusion(
        picture,
        {f"{patch} px covered": lost},
        [f"class {name}: {whole:.2f}"],
        patch=patch,
        stride=stride,
        scale="probability lost",
        title=f"Picture {image}: what class {name} rests on",
        alt=f"Picture {image}, to which the network gives class {name} with probability {whole:.2f}, and a map of what "
        f"that loses while {patch} pixels square are covered: most, {worst:.2f}, at row {tops[row]}, column "
        f"{lefts[column]}.",
    )
