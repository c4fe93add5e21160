"""Looking inside a network: activations by stage and branch, ablations, and how channels go together. Returns
tensors, draws nothing.

Everything takes any ``nn.Module`` whose stages have names (``measure.stage_modules`` lists them) and leaves the
network as it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@torch.no_grad()
def activations(model: nn.Module, images: Tensor, stages: list[str] | None = None) -> dict[str, Tensor]:
    """Normalized images (N, 3, H, W) -> what each stage hands on, by name: (N, C, H, W), in evaluation mode.

    Raises ValueError for a stage that the network does not have.
    """
    named = dict(model.stages.items())
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

    Mean ablation: setting a branch to zero would also shift everything after it, and the damage would say little
    about what the branch knows. Nothing is retrained.
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

    A channel that never changes correlates with nothing: its row is 0, and so is its place on the diagonal.
    """
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
    two.
    """
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    group = torch.tensor([index[name] for name in names])
    alike = group[:, None] == group[None, :]
    pair = ~torch.eye(len(names), dtype=torch.bool)
    return float(matrix[alike & pair].abs().mean()), float(matrix[~alike].abs().mean())


def filters(model: nn.Module) -> Tensor:
    """Network -> the kernels of its first convolution (count, channels, height, width), a copy."""
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    if first is None:
        raise ValueError("this network has no convolution to look at")
    return first.weight.detach().clone()


def _record(model: nn.Module, images: Tensor, modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda layer, inputs, out, name=name: seen.update({name: out.detach().clone()}))
        for name, module in modules.items()
    ]
    was_training = [(module, module.training) for module in model.modules()]  # a frozen part may differ from the whole
    model.eval()
    try:
        model(images.to(next(model.parameters()).device))
    finally:
        for module, mode in was_training:
            module.training = mode
        for handle in handles:
            handle.remove()
    return {name: seen[name].cpu() for name in modules}
