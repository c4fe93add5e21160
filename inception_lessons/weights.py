"""Weights from elsewhere: the checkpoints that ship with the course, and other libraries' state dicts under our stage
names.

Ours are safetensors files: numbers and a few words of text, nothing that could run.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from inception_lessons import baselines, googlenet

NETWORKS = {"GoogLeNet": googlenet.GoogLeNet, "NIN": baselines.NIN, "Plain": baselines.Plain}


def folder() -> Path:
    """The folder of shipped files: ``data/`` of the checkout, or the copy inside an installed wheel.

    Raises FileNotFoundError where there is neither.
    """
    beside = Path(__file__).resolve().parent.parent / "data"
    inside = Path(__file__).resolve().parent / "_shipped"
    for place in (beside, inside):
        if (place / "README.md").is_file():
            return place
    raise FileNotFoundError(
        "the course's data folder (checkpoints and results) is missing: it should lie beside the package "
        "inception_lessons"
    )


def save(path: str | Path, model: nn.Module, about: Mapping[str, object]) -> Path:
    """Write a network's weights and ``about`` (plain values: which network, how trained) to a safetensors file,
    beside and renamed.

    ``about`` must hold ``network`` (a name in NETWORKS) and ``settings`` (the arguments of its ``laptop``), so that
    ``load`` can rebuild it.
    """
    from safetensors.torch import save as to_bytes

    missing = {"network", "settings"} - set(about)
    if missing:
        raise ValueError(f"about lacks {', '.join(sorted(missing))}: a checkpoint must say how to rebuild its network")
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    return write(path, to_bytes(state, metadata={"about": json.dumps(dict(about), sort_keys=True)}))


def write(path: str | Path, blob: bytes) -> Path:
    """Bytes -> a file, written beside its place and renamed into it: what was there before is whole until then.

    A full disk or an interruption raises as usual and leaves no part behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(blob)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


def load(name: str | Path) -> tuple[nn.Module, dict]:
    """Name of a shipped checkpoint, or a path -> the network in evaluation mode, and what is known about it.

    Raises FileNotFoundError naming the checkpoints there are, ValueError for a file that is damaged or made by
    something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(name)
    if path.suffix != ".safetensors":
        path = folder() / f"{name}.safetensors"
    if not path.is_file():
        have = ", ".join(sorted(p.stem for p in folder().glob("*.safetensors"))) or "none"
        raise FileNotFoundError(f"no checkpoint {str(name)!r}; shipped are: {have}")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "null"))
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise ValueError(f"{path.name} is damaged or not a safetensors file ({error})") from error
    if not isinstance(about, dict) or about.get("network") not in NETWORKS:
        raise ValueError(
            f"{path.name} does not say which of {', '.join(NETWORKS)} it belongs to: not a checkpoint of this course"
        )
    try:
        model = NETWORKS[about["network"]].laptop(**about["settings"])
        model.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path.name} does not fit the network and settings that it names ({error})") from error
    return model.eval(), about


def load_reference(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Copy another library's state dict into our network, in place, by name: torchvision's ``googlenet`` into
    ``GoogLeNet``.

    Every tensor of ours must be given and every tensor of theirs be used, else ValueError names the first that is
    not: a pairing by shape or order alone would not notice two swapped layers of one size. torchvision's form of the
    network is ``GoogLeNet(norm="bn", kernel5=3, pool4=2, aux_pool="adaptive", aux=True)``.
    """
    if not isinstance(model, googlenet.GoogLeNet):
        raise ValueError(f"load_reference knows GoogLeNet so far, not {type(model).__name__}")
    ours = model.state_dict()
    unused, converted = set(state), {}
    for key, value in ours.items():
        theirs = _torchvision_key(key)
        if theirs not in state:
            raise ValueError(f"{key} of ours should be {theirs} in the reference, which has no such entry")
        if state[theirs].shape != value.shape:
            raise ValueError(
                f"{key} is {tuple(value.shape)}, but the reference's {theirs} is {tuple(state[theirs].shape)}"
            )
        converted[key] = state[theirs]
        unused.discard(theirs)
    if unused:
        raise ValueError(
            f"the reference has entries that our network has no place for, first {min(unused)}: does one have "
            f"auxiliary classifiers?"
        )
    model.load_state_dict(converted)
    return model


_BRANCHES = {
    "b1": "branch1",
    "b3.0": "branch2.0",
    "b3.1": "branch2.1",
    "b5.0": "branch3.0",
    "b5.1": "branch3.1",
    "pool.1": "branch4.1",
}
_HEADS = {"4a": "aux1", "4d": "aux2"}
_LAYERS = {"conv.conv": "conv.conv", "conv.norm": "conv.bn", "hidden.1": "fc1", "classifier": "fc2"}


def _torchvision_key(key: str) -> str:
    """``stages.3a.branches.b5.0.norm.weight`` -> ``inception3a.branch3.0.bn.weight``."""
    if key.startswith("head.3."):
        return key.replace("head.3.", "fc.", 1)
    place, stage, rest = key.split(".", 2)
    if place == "aux":
        ours = next(name for name in _LAYERS if rest.startswith(name + "."))
        return f"{_HEADS[stage]}.{_LAYERS[ours]}{rest[len(ours) :]}"
    if rest.startswith("branches."):
        rest = rest.removeprefix("branches.")
        ours = next((name for name in _BRANCHES if rest.startswith(name + ".")), None)
        if ours is None:
            raise ValueError(f"{key} has no place in torchvision's network, whose modules are Inception's")
        rest = _BRANCHES[ours] + rest[len(ours) :]
    return f"{googlenet.NAMES[stage][1]}.{rest.replace('norm.', 'bn.')}"
