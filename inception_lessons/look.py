"""Looking inside a network: activations by stage and branch, ablations, how channels go together, what covering a
part of a picture costs, and pictures that a channel answers to most. Returns tensors, draws nothing.

Everything takes any ``nn.Module`` whose stages have names (``measure.stage_modules`` lists them) and leaves the
network as it was.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.no_grad()
def activations(model: nn.Module, images: Tensor, stages: list[str] | None = None) -> dict[str, Tensor]:
    """Normalized images (N, 3, H, W) -> what each stage hands on, by name: (N, C, H, W), in evaluation mode.

    Raises ValueError for a stage that the network does not have.
    """
    named = _stages(model)
    if isinstance(stages, str):
        raise ValueError(f"stages is a list of names, as in [{stages!r}], not {stages!r}")
    unknown = [name for name in stages or () if name not in named]
    if unknown:
        raise ValueError(f"no stage {', '.join(unknown)}; this network has {', '.join(named)}")
    return _record(model, images, {name: named[name] for name in stages or named})


@torch.no_grad()
def branches(model: nn.Module, images: Tensor, stage: str) -> dict[str, Tensor]:
    """Normalized images (N, 3, H, W) -> what each branch of one stage puts out, by name: (N, C, H, W), in evaluation
    mode.
    """
    return _record(model, images, dict(branch_modules(model, stage).items()))


def branched_stages(model: nn.Module) -> dict[str, nn.ModuleDict]:
    """Network -> the branches of each stage that has some, by stage name; empty for a network without branches."""
    stages = getattr(model, "stages", {})
    return {name: stage.branches for name, stage in stages.items() if hasattr(stage, "branches")}


def branch_modules(model: nn.Module, stage: str) -> nn.ModuleDict:
    """Network and stage name -> the stage's branches by name. Raises ValueError where there are none, naming the
    stages that have some.
    """
    have = branched_stages(model)
    if stage not in have:
        raise ValueError(f"stage {stage!r} has no branches; those that have are {', '.join(have) or 'none'}")
    return have[stage]


@contextmanager
def ablate(model: nn.Module, stage: str, branch: str, images: Tensor) -> Iterator[nn.Module]:
    """Within the block, one branch says the same for every image: the mean, by channel and position, of what it says
    on ``images``.

    Mean ablation: setting a branch to zero would also shift everything after it, and the damage would say little about
    what the branch knows. Nothing is retrained. Raises ValueError for a branch that the stage does not have.
    """
    modules = branch_modules(model, stage)
    if branch not in modules:
        raise ValueError(f"no branch {branch!r} in {stage}; it has {', '.join(modules)}")
    mean = branches(model, images, stage)[branch].mean(0, keepdim=True)
    handle = modules[branch].register_forward_hook(lambda layer, inputs, out: mean.to(out).expand_as(out))
    try:
        yield model
    finally:
        handle.remove()


def correlation(maps: Tensor) -> Tensor:
    """Activations (N, C, H, W) -> correlation of every pair of channels (C, C) over images and positions.

    A channel that never changes correlates with nothing: its row is 0, and so is its place on the diagonal. Raises
    ValueError for another shape, and for activations that are no numbers.
    """
    if not isinstance(maps, Tensor) or maps.ndim != 4 or 0 in maps.shape:
        came = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(f"activations are (N, C, H, W), at least one of each, not {came}")
    if not maps.isfinite().all():
        raise ValueError("activations must be numbers, but some are infinite or nan: has this network diverged?")
    flat = maps.transpose(0, 1).flatten(1).double()
    flat = flat - flat.mean(1, keepdim=True)
    norms = flat.norm(dim=1, keepdim=True)
    flat = torch.where(norms > 1e-9, flat / norms.clamp(min=1e-9), torch.zeros_like(flat))
    return (flat @ flat.T).float()


def branch_correlation(model: nn.Module, images: Tensor, stage: str) -> tuple[Tensor, list[str]]:
    """Images -> the stage's channel correlation (C, C), channels in order of their branch, and each channel's branch
    name.
    """
    maps = branches(model, images, stage)
    names = [name for name, value in maps.items() for _ in range(value.shape[1])]
    return correlation(torch.cat(list(maps.values()), 1)), names


def within_and_across(matrix: Tensor, names: list[str]) -> tuple[float, float]:
    """Correlation matrix and each channel's group -> mean absolute correlation of pairs in one group, and of pairs in
    two (nan where there is no such pair). Raises ValueError unless there is a group for each row of a square matrix.
    """
    if matrix.shape != (len(names), len(names)):
        raise ValueError(f"{len(names)} channels have a matrix of as many rows and columns, not {tuple(matrix.shape)}")
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    group = torch.tensor([index[name] for name in names])
    alike = group[:, None] == group[None, :]
    pair = ~torch.eye(len(names), dtype=torch.bool)
    return float(matrix[alike & pair].abs().mean()), float(matrix[~alike].abs().mean())


def filters(model: nn.Module) -> Tensor:
    """Network -> the kernels of its first convolution (count, channels, height, width), a copy on the CPU.

    Raises ValueError for a network without one.
    """
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    if first is None:
        raise ValueError("this network has no convolution to look at")
    return first.weight.detach().cpu().clone()


def _record(model: nn.Module, images: Tensor, modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda layer, inputs, out, name=name: seen.update({name: out.detach().clone()}))
        for name, module in modules.items()
    ]
    try:
        with _evaluating(model):
            model(images.to(next(model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return {name: seen[name].cpu() for name in modules}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = [(module, module.training) for module in model.modules()]  # a frozen part may differ from the whole
    model.eval()
    try:
        yield
    finally:
        for module, mode in was_training:
            module.training = mode


# ------------------------------------------------------------------------------------------------ pictures that matter


def responses(
    model: nn.Module,
    images: Tensor,
    stage: str | None,
    *,
    branch: str | None = None,
    middle: bool = False,
    batch_size: int = 500,
) -> Tensor:
    """Normalized images (N, 3, H, W) -> how strongly each channel of a stage, or of one branch of it, answers to each
    (N, C): its mean over the grid, or with ``middle`` its value in the middle of it. ``stage=None``: the logits.

    Raises ValueError for a stage or branch that there is not, and where there are no images.
    """
    if len(images) == 0:
        raise ValueError("there are no images to answer to")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is a whole number of at least 1, not {batch_size!r}")
    module = _listened(model, stage, branch)
    with torch.no_grad():
        return torch.cat([_values(_record(model, x, {"": module})[""], middle) for x in images.split(batch_size)])


def strongest(
    model: nn.Module, images: Tensor, stage: str | None, channel: int, *, branch: str | None = None, count: int = 9
) -> tuple[Tensor, Tensor]:
    """Normalized images (N, 3, H, W) -> positions of the ``count`` that drive one channel most, and its mean answer to
    each, the strongest first.

    The plain rival of ``visualize``: real pictures. Raises ValueError for a channel that there is not.
    """
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"count is a whole number of at least 1, not {count!r}")
    found = responses(model, images, stage, branch=branch)
    _check_channel(channel, found.shape[1], "what is listened to")
    answers, positions = found[:, channel].sort(descending=True, stable=True)
    return positions[:count], answers[:count]


def likeness(model: nn.Module, stage: str | None, real: Tensor, made: Tensor) -> Tensor:
    """Normalized real images (N, 3, H, W) and others (K, 3, H, W) -> how alike each two are to this network (N, K),
    from -1 to 1.

    The cosine between their mean answers at one stage, each channel counted from its mean over the real images and in
    units of its spread there: what is loud in all pictures makes no two alike. Raises ValueError for fewer than two
    real images.
    """
    if len(real) < 2:
        raise ValueError(f"what is typical takes two real images or more, not {len(real)}")
    known, other = (responses(model, some, stage) for some in (real, made))
    centre, spread = known.mean(0), known.std(0)
    alive = spread > 1e-6  # a channel that never changes says nothing about what is alike
    known, other = (F.normalize(((answers - centre) / spread)[:, alive], dim=1) for answers in (known, other))
    return known @ other.T


def pairs_right(scores: Tensor, answers: Tensor, share: float = 0.1) -> float:
    """A score and an answer for each of N pictures -> of all pairs of one picture with a strong answer and one with a
    weak one, the share in which the score is higher for the strong one. Guessing is right in half of them.

    Strong and weak are the ``share`` of the pictures with the largest and the smallest answers; a tie of scores is
    half right. It is the question that people were asked in arXiv:2010.12606, put to numbers. Raises ValueError where
    scores and answers do not match or one of the two groups would be empty or reach into the other.
    """
    if scores.ndim != 1 or scores.shape != answers.shape:
        raise ValueError(f"wanted scores (N,) and answers (N,), not {tuple(scores.shape)} and {tuple(answers.shape)}")
    if not (isinstance(share, float | int) and 0 <= share <= 1):
        raise ValueError(f"share is a number from 0 to 1, not {share!r}")
    count = round(share * len(answers))
    if not 1 <= count <= len(answers) // 2:
        raise ValueError(f"a share of {share:g} of {len(answers)} pictures is {count}: wanted 1 to {len(answers) // 2}")
    order = answers.argsort(stable=True)
    strong, weak = scores[order[-count:], None], scores[None, order[:count]]
    return float(((strong > weak).double() + 0.5 * (strong == weak).double()).mean())


@torch.no_grad()
def occlusion(
    model: nn.Module,
    images: Tensor,
    classes: Tensor | Sequence[int],
    *,
    patch: int = 8,
    stride: int = 4,
    fill: float | Tensor = 0.0,
    of: str = "probability",
    batch_size: int = 250,
) -> Tensor:
    """Normalized images (N, 3, H, W) and a class for each -> what that class loses while a square patch is covered
    (N, rows, columns), in evaluation mode.

    The patches lie ``stride`` pixels apart, in the middle of the picture if they do not fill it (``places``).
    ``fill`` is a number, or a colour (3,), in normalized units: 0 is mid-grey. ``of`` is ``"probability"`` or
    ``"logit"``. A negative value: the class gains by the cover. Source: Zeiler and Fergus, arXiv:1311.2901, Section
    4.2. Raises ValueError for a patch that does not fit, and for classes that are not one for each image.
    """
    classes = torch.as_tensor(classes)
    if images.ndim != 4 or len(images) == 0 or classes.shape != images.shape[:1]:
        raise ValueError(
            f"wanted images (N, 3, H, W) and N classes, not {tuple(images.shape)} and {tuple(classes.shape)}"
        )
    if classes.is_floating_point():
        raise ValueError(f"classes are whole numbers, not {classes.dtype}")
    classes = classes.cpu().long()  # as ``gather`` wants them, from wherever the labels are
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is a whole number of at least 1, not {batch_size!r}")
    if not isinstance(fill, Tensor | int | float) or isinstance(fill, Tensor) and fill.numel() not in (1, 3):
        came = f"a tensor {tuple(fill.shape)}" if isinstance(fill, Tensor) else repr(fill)
        raise ValueError(f"fill is a number or a colour (3,), not {came}")
    if of not in ("probability", "logit"):
        raise ValueError(f'of must be "probability" or "logit", not {of!r}')
    tops, lefts = (places(side, patch, stride) for side in images.shape[2:])
    device = next(model.parameters()).device
    colour = torch.as_tensor(fill, dtype=images.dtype).reshape(-1, 1, 1)

    def scores(pictures: Tensor, wanted: Tensor) -> Tensor:
        logits = model(pictures.to(device)).cpu()
        if int(wanted.min()) < 0 or int(wanted.max()) >= logits.shape[1]:
            raise ValueError(f"classes are 0 to {logits.shape[1] - 1}, not {int(wanted.min())} to {int(wanted.max())}")
        return (logits.softmax(1) if of == "probability" else logits).gather(1, wanted[:, None])[:, 0]

    covered = []
    with _evaluating(model):
        whole = torch.cat(
            [scores(*some) for some in zip(images.split(batch_size), classes.split(batch_size), strict=True)]
        )
        all_places = [(n, top, left) for n in range(len(images)) for top in tops for left in lefts]
        for first in range(0, len(all_places), batch_size):
            some = all_places[first : first + batch_size]
            which = torch.tensor([n for n, _, _ in some])
            pictures = images[which]  # a copy
            for picture, (_, top, left) in zip(pictures, some, strict=True):
                picture[:, top : top + patch, left : left + patch] = colour
            covered.append(scores(pictures, classes[which]))
    return whole[:, None, None] - torch.cat(covered).view(len(images), len(tops), len(lefts))


def places(side: int, patch: int, stride: int) -> list[int]:
    """Side of a picture, of a patch, and the step -> where patches begin: all inside, the rest shared by both ends.

    Raises ValueError for a patch that is larger than the picture, or no step.
    """
    if not all(isinstance(number, int) for number in (side, patch, stride)) or not 1 <= patch <= side or stride < 1:
        raise ValueError(f"a patch of {patch} px every {stride} px does not fit into {side} px")
    rest = (side - patch) % stride
    return list(range(rest // 2, side - patch + 1, stride))


# ------------------------------------------------------------------------ feature visualization by optimization

OBJECTIVES = ("channel", "neuron", "class")
#: Directions of colour that do not repeat each other: brightness, red against blue, green against both (orthonormal),
#: and how far pictures spread along each: measured on the training pictures of `data.digits_in_the_wild`.
COLOURS = ((3**-0.5, 2**-0.5, 6**-0.5), (3**-0.5, 0.0, -2 * 6**-0.5), (3**-0.5, -(2**-0.5), 6**-0.5))
SPREAD = (1.0, 0.4, 0.16)


@torch.enable_grad()
def visualize(
    model: nn.Module,
    stage: str | None,
    channel: int | Sequence[int] | Tensor,
    *,
    normalize: Callable[[Tensor], Tensor],
    branch: str | None = None,
    objective: str = "channel",
    steps: int = 96,
    seed: int = 0,
    size: int = 32,
    basis: str = "fourier",
    shake: float = 1.0,
    leak: int = 16,
    contrast: float = 0.1,
    rate: float = 0.05,
) -> Tensor:
    """A channel, or K channels at once -> the pictures (K, 3, size, size) in [0, 1] that drive each most, as far as
    ``steps`` steps of Adam find them from noise.

    ``objective`` is ``"channel"`` (its mean over the grid), ``"neuron"`` (its value in the middle) or ``"class"``
    (a logit: then ``stage`` is None). ``channel`` may also be directions (K, C) in the space of all channels: all
    ones are a whole branch. ``normalize`` is what stands between a picture and the network.

    Three things keep the picture from being noise, and can be taken away: ``basis="fourier"`` (``"pixels"``) makes a
    step change waves, large ones most; ``shake`` (0) turns, resizes and shifts the picture a little before each step;
    for the first ``leak`` (0) steps, gradients pass a ReLU that is shut. All K start from the same noise, of this
    ``contrast``, so that what differs between them is the channels'. The same seed on one CPU gives the same
    pictures. The network is left as it was.

    Source: Olah, Mordvintsev and Schubert, "Feature visualization", Distill 2017. Raises ValueError for an unknown
    choice, and where the start has no gradient at all, which would leave a grey picture.
    """
    channel = torch.as_tensor(channel)
    _check_picture(channel, stage, branch, objective, basis, steps, size)
    listen = _listened(model, stage, branch)
    random, device = torch.Generator().manual_seed(seed), next(model.parameters()).device
    start, paint = {"fourier": _fourier, "pixels": _pixels}[basis](size, random)
    count = channel.numel() if not channel.is_floating_point() else channel.numel() // channel.shape[-1]
    code = (contrast * start).repeat(count, *(1 for _ in start.shape[1:])).to(device).requires_grad_()
    optimizer = torch.optim.Adam([code], lr=rate)
    heard: dict[str, Tensor] = {}
    handles = [listen.register_forward_hook(lambda layer, inputs, out: heard.update(out=out))]
    try:
        with _evaluating(model):
            for step in range(steps):
                with _leaking(model, step < leak):
                    model(normalize(_shaken(paint(code), shake, random)))
                answers = _answers(heard["out"], channel, objective)
                (code.grad,) = torch.autograd.grad(-answers.sum(), code)
                if step == 0 and not code.grad.flatten(1).any(1).all():
                    raise ValueError(
                        "what is to be driven is silent at the start, and behind a ReLU that is shut there is no "
                        "gradient: the picture would stay as it is. Take leak=16, more contrast or another seed"
                    )
                optimizer.step()
    finally:
        for handle in handles:
            handle.remove()
    return paint(code).detach().cpu()


def _answers(out: Tensor, channel: Tensor, objective: str) -> Tensor:
    """What the network put out for K pictures -> one number each: how far along its channel or direction it is."""
    values = _values(out, objective == "neuron")
    if channel.is_floating_point():
        if channel.shape[-1] != values.shape[1]:
            raise ValueError(f"a direction has {values.shape[1]} numbers here, one a channel, not {channel.shape[-1]}")
        return (values * channel.to(values).view(-1, values.shape[1])).sum(1)
    chosen = channel.flatten()
    for one in (int(chosen.min()), int(chosen.max())):
        _check_channel(one, values.shape[1], "what is listened to")
    return values.gather(1, chosen[:, None].to(values.device))[:, 0]


def _values(maps: Tensor, middle: bool) -> Tensor:
    """Maps (N, C, H, W) -> their mean over the grid, or their value in the middle of it (N, C). Logits stay."""
    if maps.ndim == 2:
        return maps
    return maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2] if middle else maps.mean((2, 3))


def _fourier(size: int, random: torch.Generator) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """-> noise (1, 3, size, size // 2 + 1, 2) as waves, and what paints waves as a picture in [0, 1].

    A wave's weight falls as 1 / frequency, as in photographs: then all waves are as likely, and one step of Adam, which
    has one size for all numbers, does not make fine waves as loud as coarse ones.
    """
    frequency = (torch.fft.fftfreq(size)[:, None] ** 2 + torch.fft.rfftfreq(size) ** 2).sqrt()
    weight, colours = 1 / (size * frequency.clamp(min=1 / size)), torch.tensor(COLOURS) * torch.tensor(SPREAD)

    def paint(code: Tensor) -> Tensor:
        waves = torch.view_as_complex(code) * weight.to(code.device)
        planes = torch.fft.irfft2(waves, s=(size, size), norm="forward")
        return torch.einsum("rc,kchw->krhw", colours.to(code.device), planes).sigmoid()

    return torch.randn(1, 3, size, size // 2 + 1, 2, generator=random), paint


def _pixels(size: int, random: torch.Generator) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """-> noise (1, 3, size, size), and what makes it a picture in [0, 1]: each number is one pixel's."""
    return torch.randn(1, 3, size, size, generator=random), torch.sigmoid


def _shaken(pictures: Tensor, strength: float, random: torch.Generator) -> Tensor:
    """Pictures (K, 3, H, W) -> all of them turned (8 degrees), resized (10 %) and shifted (1/8 of the side), at most
    and at strength 1; what comes in from outside is mirrored.
    """
    if not strength:
        return pictures
    turn, larger, right, down = (strength * (2 * torch.rand(4, generator=random) - 1)).tolist()
    angle, scale = math.radians(8) * turn, 1 + 0.1 * larger
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    theta = torch.tensor([[cos, -sin, right / 4], [sin, cos, down / 4]], device=pictures.device)
    grid = F.affine_grid(theta.expand(len(pictures), 2, 3), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


@contextmanager
def _leaking(model: nn.Module, on: bool, share: float = 0.1) -> Iterator[None]:
    """Within the block, a ReLU that is shut lets a share of the gradient pass. What it puts out is the same.

    Source: Lucid's ``redirected_relu_grad``, for the same trouble: tensorflow/lucid issue 68.
    """
    before: dict[nn.Module, Tensor] = {}

    def leak(layer: nn.Module, inputs: tuple[Tensor], out: Tensor) -> Tensor:
        shut = before.pop(layer)
        return out + share * (shut - shut.detach()) * (out == 0)

    handles = []
    for layer in (layer for layer in model.modules() if on and isinstance(layer, nn.ReLU)):
        # a copy, since most ReLUs here work in place
        handles.append(layer.register_forward_pre_hook(lambda layer, x: before.update({layer: x[0].clone()})))
        handles.append(layer.register_forward_hook(leak, prepend=True))  # before whoever listens to this very layer
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _listened(model: nn.Module, stage: str | None, branch: str | None) -> nn.Module:
    """Stage and branch (None: the whole stage) -> the module; for the logits both are None, and it is the network.
    Raises ValueError that says what there is.
    """
    if stage is None and branch is None:
        return model
    if branch is None:
        named = _stages(model)
        if stage not in named:
            raise ValueError(f"no stage {stage}; this network has {', '.join(named)}")
        return named[stage]
    modules = branch_modules(model, stage)
    if branch not in modules:
        raise ValueError(f"no branch {branch!r} in {stage}; it has {', '.join(modules)}")
    return modules[branch]


def _stages(model: nn.Module) -> dict[str, nn.Module]:
    if not isinstance(getattr(model, "stages", None), nn.ModuleDict):
        raise ValueError(f"what is looked into has named stages, and this {type(model).__name__} has none")
    return dict(model.stages.items())


def _check_channel(channel: int, count: int, where: str) -> None:
    if not isinstance(channel, int) or not 0 <= channel < count:
        raise ValueError(f"no channel {channel}: {where} has {count}, from 0 to {count - 1}")


def _check_picture(channel: Tensor, stage, branch, objective: str, basis: str, steps: int, size: int) -> None:
    for name, value, choices in (("objective", objective, OBJECTIVES), ("basis", basis, ("fourier", "pixels"))):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    if (objective == "class") != (stage is None):
        raise ValueError(f"a class is asked of the whole network (stage None), all else of a stage, not {stage!r}")
    if channel.numel() == 0 or channel.ndim > 1 + channel.is_floating_point():
        raise ValueError(f"channel is a number, some numbers or directions (K, C), not of shape {tuple(channel.shape)}")
    if steps < 0 or size < 2:
        raise ValueError(f"wanted at least 0 steps and a side of 2 px, not {steps} and {size}")
