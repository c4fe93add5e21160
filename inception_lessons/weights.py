"""Weights from elsewhere: the checkpoints that ship with the course, and other libraries' state dicts under our stage
names.

Ours are safetensors files: numbers and a few words of text, nothing that could run.
"""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from inception_lessons import baselines, bn_inception, fetch, googlenet, inception_resnet, inception_v3, inception_v4

NETWORKS = {
    network.__name__: network
    for network in (
        googlenet.GoogLeNet,
        bn_inception.BNInception,
        inception_v3.InceptionV3,
        inception_v4.InceptionV4,
        inception_resnet.InceptionResNetV1,
        inception_resnet.InceptionResNetV2,
        baselines.AlexNet,
        baselines.VGG16,
        baselines.NIN,
        baselines.Plain,
    )
}


FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows knows no quota by that name


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

    ``about`` must hold ``network`` (a name in NETWORKS) and ``settings`` (its arguments), so that ``load`` can rebuild
    it; and ``preset``, unless that is ``laptop``: see ``build``. Raises ValueError for an ``about`` that lacks one of
    these.
    """
    from safetensors.torch import save as to_bytes

    missing = {"network", "settings"} - set(about)
    if missing:
        raise ValueError(f"about lacks {', '.join(sorted(missing))}: a checkpoint must say how to rebuild its network")
    if about["network"] not in NETWORKS:
        raise ValueError(f"about says the network {about['network']!r}, and there are {', '.join(NETWORKS)}")
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    return write(path, to_bytes(state, metadata={"about": json.dumps(dict(about), sort_keys=True)}))


def write(path: str | Path, blob: bytes) -> Path:
    """Bytes -> a file, written beside its place and renamed into it: what was there before is whole until then.

    An interruption leaves no part behind. Raises OSError on a full disk, with what is wanted and what is free;
    NotADirectoryError where a file lies in the place of a folder.
    """
    path = Path(path)
    in_the_way = next((place for place in path.parents if place.exists() and not place.is_dir()), None)
    if in_the_way is not None:
        raise NotADirectoryError(f"{path.name} cannot be written into {path.parent}: {in_the_way} is no folder")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: the file needs a name of its own")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())  # some disks say only now that they are full
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException as error:
        Path(part).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            raise OSError(unwritable(path, error, len(blob))) from error
        raise
    return path


def unwritable(path: Path, error: OSError, size: int | None = None) -> str:
    """A file, why it could not be written, and its bytes -> a sentence that says what to free."""
    if isinstance(error.__cause__, OSError):  # it is such a sentence already
        error = error.__cause__
    wanted = f"{size / 1e6:,.1f} MB are wanted, and " if size is not None else ""
    free = f"{shutil.disk_usage(path.parent).free / 1e6:,.1f} MB are free in {path.parent}"
    return f"{path.name} could not be written ({error.strerror or error}): {wanted}{free}"


def build(network: str, settings: Mapping[str, object], preset: str = "laptop") -> nn.Module:
    """A name in NETWORKS and its arguments -> the network, at laptop size or, with ``preset="paper"``, at the paper's.

    Raises ValueError for a name or a preset that there is not, TypeError for such an argument.
    """
    if not isinstance(network, str) or network not in NETWORKS:
        raise ValueError(f"network is one of {', '.join(NETWORKS)}, not {network!r}")
    if preset not in ("laptop", "paper"):
        raise ValueError(f"preset is 'laptop' or 'paper', not {preset!r}")
    kind = NETWORKS[network]
    return kind.laptop(**settings) if preset == "laptop" else kind(**settings)


def load(name: str | Path) -> tuple[nn.Module, dict]:
    """Name of a shipped checkpoint, or a path -> the network in evaluation mode, and what is known about it.

    Raises FileNotFoundError naming the checkpoints there are, ValueError for a file that is damaged or made by
    something else.
    """
    from safetensors import SafetensorError, safe_open

    if not isinstance(name, str | Path):
        raise ValueError(f"wanted the name of a checkpoint, or a path, not {name!r}")
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
    if not isinstance(about, dict) or str(about.get("network")) not in NETWORKS:
        raise ValueError(
            f"{path.name} does not say which of {', '.join(NETWORKS)} it belongs to: not a checkpoint of this course"
        )
    try:
        model = build(about["network"], about["settings"], about.get("preset", "laptop"))
        model.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path.name} does not fit the network and settings that it names ({error})") from error
    return model.eval(), about


def load_reference(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Another library's state dict -> our network, in place and by name, in the form that its publisher's code has.

    Every tensor of ours must be given and every tensor of theirs be used: a pairing by shape or order would not notice
    two swapped layers of one size. ``REFERENCES`` says which libraries' networks there are, and in which form ours
    equals each. Three things are not copied as they are. A bias before batch norm, which ours does not have,
    is taken from the running mean: the outputs are the same, in training too. Files older than torch 0.4.1 do not count
    their batches: the count stays 0. facenet-pytorch ends in a face embedding (``last_linear``, ``last_bn``,
    ``logits``), for which ours has no place: these three are left out, and our head keeps its own weights.

    What no tensor tells must be right in ``model``: ``eps``, ``count_include_pad``, ``scales``, sizes of pools. Raises
    ValueError for a network that has no reference, and for the first tensor that has no partner of its shape; nothing
    has been copied then.
    """
    reference = next((known for kind, known in REFERENCES.items() if isinstance(model, kind)), None)
    if reference is None:
        known = "; ".join(f"{known.published}, as {known.form}" for known in REFERENCES.values())
        raise ValueError(f"no reference is known for {type(model).__name__}; there are {known}")
    model.load_state_dict(_converted(model, state, reference))
    return model


def _converted(model: nn.Module, state: Mapping[str, Tensor], reference: "Reference") -> dict[str, Tensor]:
    """Their state dict under our names, every tensor of both in its place, or ValueError."""
    names, ours, hint = reference.names(model), model.state_dict(), f"; here, {reference.published} is {reference.form}"
    unused = {key for key in state if not key.startswith(reference.left_out)}
    names |= _classifier(model, state, reference)
    counts_batches = any(key.endswith(".num_batches_tracked") for key in state)

    def take(key: str, layer: str, last: str) -> Tensor:
        theirs = f"{names[layer]}.{last}"
        if theirs not in state:
            raise ValueError(f"{key} of ours should be {theirs} in the reference, which has no such entry{hint}")
        if state[theirs].shape != ours[key].shape:
            raise ValueError(
                f"{key} is {tuple(ours[key].shape)}, but the reference's {theirs} is {tuple(state[theirs].shape)}{hint}"
            )
        unused.discard(theirs)
        return state[theirs]

    converted = {}
    for key, value in ours.items():
        layer, _, last = key.rpartition(".")
        if not reference.classifiers and layer.startswith("head."):
            converted[key] = value
        elif layer not in names:
            raise ValueError(f"{key} has no place in {reference.published}{hint}")
        elif last == "num_batches_tracked" and not counts_batches:
            converted[key] = torch.zeros_like(value)
        else:
            converted[key] = take(key, layer, last)
        if last == "running_mean":
            conv = layer.removesuffix("norm") + "conv"
            if f"{conv}.bias" not in ours and f"{names[conv]}.bias" in state:
                converted[key] = converted[key] - take(key, conv, "bias")
    if unused:
        raise ValueError(f"the reference has entries that our network has no place for, first {min(unused)}{hint}")
    return converted


def _classifier(model: nn.Module, state: Mapping[str, Tensor], reference: "Reference") -> dict[str, str]:
    """Our last linear layer -> theirs, under the first of its names that the state dict has."""
    if not reference.classifiers:
        return {}
    given = [name for name in reference.classifiers if f"{name}.weight" in state]
    return {f"head.{len(model.head) - 1}": (given or reference.classifiers)[0]}


@dataclass(frozen=True)
class Reference:
    """Another library's network: what it is called there and here, and a function from our network to the names of its
    layers there, but for the classifier, which ``classifiers`` names. ``left_out``: how the entries begin that we have
    no place for.
    """

    published: str
    form: str
    names: Callable[[nn.Module], dict[str, str]]
    classifiers: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Tables:
    """Our network -> their name for each of our layers that they have.

    ``places`` are their names for our stages and auxiliary classifiers, ``units`` for the convolution units, or layers
    on their own, in a module of each kind; ``between`` stands between the two. ``conv`` and ``norm`` are what they add
    for the parts of a unit.
    """

    places: Mapping[str, str]
    units: Mapping[type, Mapping[str, str]]
    between: str = "."
    conv: str = ".conv"
    norm: str = ".bn"

    def __call__(self, model: nn.Module) -> dict[str, str]:
        layers = {key.rpartition(".")[0] for key in model.state_dict()}
        return {layer: name for layer in layers if (name := self._name(model, layer)) is not None}

    def _name(self, model: nn.Module, layer: str) -> str | None:
        """``stages.3a.branches.b5.0.norm`` -> ``inception3a.branch3.0.bn``."""
        group, stage, *path = layer.split(".")
        place = f"{group}.{stage}"
        part = path.pop() if path and path[-1] in ("conv", "norm") else ""
        unit = ".".join(path).removeprefix("branches.")
        units = self.units.get(type(model.get_submodule(place)), {})
        if place not in self.places or (unit and unit not in units):
            return None
        name = self.places[place] + (self.between + units[unit] if unit else "")
        return name + {"conv": self.conv, "norm": self.norm, "": ""}[part]


def _in_a_row(model: nn.Module, *hidden: str) -> dict[str, str]:
    """AlexNet or VGG -> torchvision's names: ``features`` counts every layer, also those without weights."""
    names, number = {f"head.{place}": name for place, name in zip((2, 5), hidden, strict=True)}, 0
    for stage, module in model.stages.items():
        for part in [part for part, _ in module.named_children()] or [""]:
            names[f"stages.{stage}.{part}"] = f"features.{number}"
            number += 1
    return names


def _stages(names: Mapping[str, tuple | str]) -> dict[str, str]:
    """A network's ``NAMES`` -> the last name of each stage, by its place here."""
    return {f"stages.{stage}": found if isinstance(found, str) else found[-1] for stage, found in names.items()}


def _numbered(names: Mapping[str, str], first: int = 0) -> dict[str, str]:
    """Names in which "#" is a unit's number, which ours count from 0 and theirs from ``first`` -> one name a unit."""
    numbers = {ours: range(5) if "#" in ours else [0] for ours in names}
    return {
        ours.replace("#", str(i)): theirs.replace("#", str(i + first))
        for ours, theirs in names.items()
        for i in numbers[ours]
    }


_GOOGLENET = _Tables(
    places={**_stages(googlenet.NAMES), "aux.4a": "aux1", "aux.4d": "aux2"},
    units={
        googlenet.Inception: _numbered(
            {"b1": "branch1", "b3.#": "branch2.#", "b5.#": "branch3.#", "pool.#": "branch4.#"}
        ),
        googlenet.AuxiliaryClassifier: {"conv": "conv", "hidden.1": "fc1", "classifier": "fc2"},
    },
)

_BN_INCEPTION = _Tables(
    places=_stages(bn_inception.NAMES),
    units={
        bn_inception.Inception: {
            "b1": "1x1",
            "b3.0": "3x3_reduce",
            "b3.1": "3x3",
            "b33.0": "double_3x3_reduce",
            "b33.1": "double_3x3_1",
            "b33.2": "double_3x3_2",
            "pool.1": "pool_proj",
        },
        bn_inception.Reduction: {
            "b3.0": "3x3_reduce",
            "b3.1": "3x3",
            "b33.0": "double_3x3_reduce",
            "b33.1": "double_3x3_1",
            "b33.2": "double_3x3_2",
        },
    },
    between="_",
    conv="",
    norm="_bn",
)

_V3_ENDS = {"b1": "branch1x1", "pool.1": "branch_pool"}
_INCEPTION_V3 = _Tables(
    places={**_stages(inception_v3.NAMES), "aux.6e": "AuxLogits"},
    units={
        inception_v3.InceptionA: _numbered({**_V3_ENDS, "b5.#": "branch5x5_#", "b33.#": "branch3x3dbl_#"}, first=1),
        inception_v3.ReductionA: _numbered({"b3": "branch3x3", "b33.#": "branch3x3dbl_#"}, first=1),
        inception_v3.InceptionB: _numbered({**_V3_ENDS, "b7.#": "branch7x7_#", "b77.#": "branch7x7dbl_#"}, first=1),
        inception_v3.ReductionB: _numbered({"b3.#": "branch3x3_#", "b7.#": "branch7x7x3_#"}, first=1),
        inception_v3.InceptionC: _numbered(
            {
                **_V3_ENDS,
                "b3.#": "branch3x3_#",
                "b3.#.row": "branch3x3_#a",
                "b3.#.column": "branch3x3_#b",
                "b33.#": "branch3x3dbl_#",
                "b33.#.row": "branch3x3dbl_#a",
                "b33.#.column": "branch3x3dbl_#b",
            },
            first=1,
        ),
        inception_v3.AuxiliaryClassifier: {"conv": "conv0", "hidden": "conv1", "classifier": "fc"},
    },
)

_V4_ENDS = {"b1": "branch0", "pool.#": "branch3.#"}
_INCEPTION_V4 = _Tables(
    places=_stages(inception_v4.NAMES),
    units={
        inception_v4.Mixed3a: {"b3": "conv"},
        inception_v4.Mixed4a: _numbered({"b3.#": "branch0.#", "b7.#": "branch1.#"}),
        inception_v4.Mixed5a: {"b3": "conv"},
        inception_v4.InceptionA: _numbered({**_V4_ENDS, "b3.#": "branch1.#", "b33.#": "branch2.#"}),
        inception_v3.ReductionA: _numbered({"b3": "branch0", "b33.#": "branch1.#"}),
        inception_v4.InceptionB: _numbered({**_V4_ENDS, "b7.#": "branch1.#", "b77.#": "branch2.#"}),
        inception_v3.ReductionB: _numbered({"b3.#": "branch0.#", "b7.#": "branch1.#"}),
        inception_v4.InceptionC: _numbered(
            {
                **_V4_ENDS,
                "b3.#": "branch1_#",
                "b3.#.row": "branch1_#a",
                "b3.#.column": "branch1_#b",
                "b33.#": "branch2_#",
                "b33.#.row": "branch2_#a",
                "b33.#.column": "branch2_#b",
            }
        ),
    },
)

_BLOCK_ENDS = {"b1": "branch0", "up": "conv2d"}
_RESNET_UNITS = {
    inception_v3.InceptionA: _numbered({**_V4_ENDS, "b5.#": "branch1.#", "b33.#": "branch2.#"}),
    inception_resnet.BlockA: _numbered({**_BLOCK_ENDS, "b3.#": "branch1.#", "b33.#": "branch2.#"}),
    inception_v3.ReductionA: _numbered({"b3": "branch0", "b33.#": "branch1.#"}),
    inception_resnet.BlockB: _numbered({**_BLOCK_ENDS, "b7.#": "branch1.#"}),
    inception_resnet.ReductionB: _numbered({"b3.#": "branch0.#", "b3b.#": "branch1.#", "b33.#": "branch2.#"}),
    inception_resnet.BlockC: _numbered({**_BLOCK_ENDS, "b3.#": "branch1.#"}),
}

#: Our networks for which other libraries have published weights, or could.
REFERENCES = {
    googlenet.GoogLeNet: Reference(
        "torchvision's googlenet",
        'GoogLeNet(norm="bn", kernel5=3, pool4=2, aux_pool="adaptive"), with aux=True where it has aux1 and aux2',
        _GOOGLENET,
        ("fc",),
    ),
    bn_inception.BNInception: Reference(
        "pretrainedmodels' bninception",
        'BNInception(first="dense", believe="filters", count_include_pad=True, eps=1e-5)',
        _BN_INCEPTION,
        ("last_linear",),
    ),
    inception_v3.InceptionV3: Reference(
        "torchvision's and timm's inception_v3",
        "InceptionV3(count_include_pad=True), with aux=True where it has AuxLogits",
        _INCEPTION_V3,
        ("fc",),
    ),
    inception_v4.InceptionV4: Reference("timm's inception_v4", "InceptionV4()", _INCEPTION_V4, ("last_linear",)),
    inception_resnet.InceptionResNetV1: Reference(
        "facenet-pytorch's InceptionResnetV1",
        'InceptionResNetV1(variant="facenet")',
        _Tables(_stages(inception_resnet.NAMES_V1), _RESNET_UNITS),
        (),
        left_out=("last_linear.", "last_bn.", "logits."),
    ),
    inception_resnet.InceptionResNetV2: Reference(
        "timm's inception_resnet_v2",
        'InceptionResNetV2(variant="slim")',
        _Tables(_stages(inception_resnet.NAMES_V2), _RESNET_UNITS),
        ("classif", "last_linear"),
    ),
    baselines.AlexNet: Reference(
        "torchvision's alexnet",
        'AlexNet(variant="torchvision")',
        lambda model: _in_a_row(model, "classifier.1", "classifier.4"),
        ("classifier.6",),
    ),
    baselines.VGG16: Reference(
        "torchvision's vgg16",
        'VGG16(), vgg19 VGG16(blocks=(2, 2, 4, 4, 4)), either with norm="bn" where it has batch norm',
        lambda model: _in_a_row(model, "classifier.0", "classifier.3"),
        ("classifier.6",),
    ),
}


# ------------------------------------------------------------------------------------------------ published checkpoints


@dataclass(frozen=True)
class Preprocess:
    """PIL image, or uint8 (H, W, 3) -> float32 (1, 3, crop, crop): the picture as a published network wants to see it.

    The shorter side is resized to `resize` (antialiased, as Pillow does it), the middle `crop` x `crop` is cut out,
    [0, 255] becomes [0, 1], and each channel loses its `mean` and is divided by its `std`. Equal to the publisher's own
    transform; another resize alone moves the published accuracy. Raises ValueError for anything that is no picture.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bilinear"

    def __post_init__(self):
        if not all(isinstance(side, int) for side in (self.crop, self.resize)) or not 1 <= self.crop <= self.resize:
            raise ValueError(f"crop must be from 1 to resize, which is {self.resize}, not {self.crop}")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f'interpolation must be "bilinear" or "bicubic", not {self.interpolation!r}')
        if len(self.mean) != 3 or len(self.std) != 3 or not min(self.std) > 0:
            raise ValueError(f"mean and std are three numbers each, std above 0, not {self.mean!r} and {self.std!r}")

    def __call__(self, image) -> Tensor:
        """A picture of any size and mode -> a batch of one."""
        from PIL import Image

        if not isinstance(image, Image.Image):
            pixels = np.asarray(image)
            if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
                raise ValueError(
                    f"wanted a PIL image or uint8 pixels (H, W, 3), not {pixels.dtype} of shape {pixels.shape}"
                )
            image = Image.fromarray(np.ascontiguousarray(pixels))
        image = image.convert("RGB")
        width, height = image.size
        shorter = min(width, height)
        size = (int(self.resize * width / shorter), int(self.resize * height / shorter))
        image = image.resize(size, Image.Resampling[self.interpolation.upper()])
        left, top = (round((side - self.crop) / 2) for side in size)
        image = image.crop((left, top, left + self.crop, top + self.crop))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous().to(torch.float32).div(255)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return pixels.sub_(mean).div_(std)


@dataclass(frozen=True)
class PublishedFile:
    """Where a checkpoint lies, its name here, how its sha256 begins (all 64 digits where somebody recorded them), its
    size in bytes as published, and how many rows its classifier has: 1001 if row 0 is TensorFlow's "background"."""

    url: str
    name: str
    sha256: str
    size: float
    rows: int = 1000


@dataclass(frozen=True)
class Published:
    """One checkpoint: our network and its arguments, the files that hold it (the first that can be had is taken), the
    name of its classifier, what of it is left out, how it sees a picture, its published accuracy on ImageNet's
    validation set (a fraction, single crop), and whose it is."""

    network: str
    settings: dict
    files: tuple[PublishedFile, ...]
    preprocess: Preprocess
    top1: float
    top5: float
    source: str
    classifier: str = "fc"
    leave_out: tuple[str, ...] = ()


def _torchvision(name: str, sha256: str, mebibytes: float) -> tuple[PublishedFile, ...]:
    file = f"{name}-{sha256}.pth"
    return (PublishedFile(f"https://download.pytorch.org/models/{file}", file, sha256, mebibytes * 2**20),)


def _release(tag: str, name: str, sha256: str, size: float, rows: int = 1001) -> PublishedFile:
    file = f"{name}-{sha256}.pth"
    place = "https://github.com/rwightman/pytorch-image-models/releases/download"
    return PublishedFile(f"{place}/{tag}/{file}", file, sha256, size, rows)


def _hub(name: str, commit: str, sha256: str, size: float) -> PublishedFile:
    url = "/".join(("https://huggingface.co/timm", name, "resolve", commit, "model.safetensors"))
    return PublishedFile(url, f"{name}-{sha256[:8]}.safetensors", sha256, size)


_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# torchvision normalizes GoogLeNet's and Inception V3's pictures with ImageNet's figures, and the networks then undo it
# (`transform_input`, on whenever weights are loaded): ((x - m) / s) * (s / 0.5) + (m - 0.5) / 0.5 = (x - 0.5) / 0.5,
# for every m and s. So the two steps are one here, and our networks take what they are given.
_HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
_TORCHVISION = "as its package says, a model may have a licence or terms of its own, from the data it was trained on"
_TIMM = "Apache-2.0, as timm states it; top-1 and top-5 from timm's results-imagenet.csv"
_TF_V3 = {"count_include_pad": True}  # as timm's network, with which the accuracy was measured; TF-slim's excludes it

#: What `pretrained` knows. Every digit of a sha256 was read where the file is published: in torchvision's `weights`
#: tables, in timm's sources up to 0.6 (files of its GitHub releases), on Hugging Face's page of the file.
PUBLISHED = {
    "googlenet": Published(
        "GoogLeNet", {"norm": "bn", "kernel5": 3, "pool4": 2}, _torchvision("googlenet", "1378be20", 49.731),
        Preprocess(256, 224, **_HALF), 0.69778, 0.89530,
        f"torchvision, GoogLeNet_Weights.IMAGENET1K_V1, ported from TensorFlow; {_TORCHVISION}",
        leave_out=("aux1.", "aux2."),  # never trained, as torchvision warns
    ),
    "inception_v3": Published(
        "InceptionV3", {"aux": True, "count_include_pad": True},
        _torchvision("inception_v3_google", "0cc3c7bd", 103.903),
        Preprocess(342, 299, **_HALF), 0.77294, 0.93450,
        f"torchvision, Inception_V3_Weights.IMAGENET1K_V1, ported from TensorFlow; {_TORCHVISION}",
    ),
    "alexnet": Published(
        "AlexNet", {"variant": "torchvision"}, _torchvision("alexnet-owt", "7be5be79", 233.087),
        Preprocess(256, 224, **_IMAGENET), 0.56522, 0.79066,
        f"torchvision, AlexNet_Weights.IMAGENET1K_V1; {_TORCHVISION}", classifier="classifier.6",
    ),
    "vgg16": Published(
        "VGG16", {}, _torchvision("vgg16", "397923af", 527.796),
        Preprocess(256, 224, **_IMAGENET), 0.71592, 0.90382,
        f"torchvision, VGG16_Weights.IMAGENET1K_V1; {_TORCHVISION}", classifier="classifier.6",
    ),
    "inception_v3_tf": Published(
        "InceptionV3", _TF_V3, (_release("v0.1-weights", "tf_inception_v3", "e0069de4", 95_549_439),),
        Preprocess(341, 299, **_HALF, interpolation="bicubic"), 0.77862, 0.93644,
        f"TF-slim's inception_v3_2016_08_28, ported by Ross Wightman (timm: inception_v3.tf_in1k); {_TIMM}",
    ),
    "inception_v3_tf_adv": Published(
        "InceptionV3", _TF_V3, (_release("v0.1-weights", "adv_inception_v3", "9e27bd63", 95_549_439),),
        Preprocess(341, 299, **_HALF, interpolation="bicubic"), 0.77592, 0.93730,
        "TF-slim's adv_inception_v3_2017_08_18, trained on adversarial examples, ported by Ross Wightman (timm: "
        f"inception_v3.tf_adv_in1k); {_TIMM}",
    ),
    "inception_v3_gluon": Published(
        "InceptionV3", _TF_V3, (_release("v0.1-weights", "gluon_inception_v3", "9f746940", 95_567_055, rows=1000),),
        Preprocess(341, 299, **_IMAGENET, interpolation="bicubic"), 0.78806, 0.94374,
        f"GluonCV's InceptionV3, ported by Ross Wightman (timm: inception_v3.gluon_in1k); {_TIMM}",
    ),
    "inception_v4": Published(
        "InceptionV4", {},
        (
            _hub("inception_v4.tf_in1k", "24edbb8f3ca9aab790ab91929a4101165581b168",
                 "a756a086851c8d5a8de135ec15c76b90ea56cb5aef450e3299107e659e725bb1", 171e6),
            _release("v0.1-cadene", "inceptionv4", "8e4777a0", 171_082_495),
        ),
        Preprocess(341, 299, **_HALF, interpolation="bicubic"), 0.80156, 0.94968,
        f"TF-slim's inception_v4_2016_09_09, ported by Remi Cadene (timm: inception_v4.tf_in1k); {_TIMM}",
        classifier="last_linear",
    ),
    "inception_resnet_v2": Published(
        "InceptionResNetV2", {"variant": "slim"},
        (
            _hub("inception_resnet_v2.tf_in1k", "89854797f99e77e1189626b74d7c07013a4308fa",
                 "dbea26b13a5fc8351919fed6a94222c0577ce324b2765fd081a798f837ca9d72", 224e6),
            _release("v0.1-weights", "inception_resnet_v2", "940b1cd6", 223_774_238),
        ),
        Preprocess(333, 299, **_HALF, interpolation="bicubic"), 0.80462, 0.95308,
        "TF-slim's inception_resnet_v2_2016_08_30, ported after Remi Cadene's code (timm: "
        f"inception_resnet_v2.tf_in1k); {_TIMM}", classifier="classif",
    ),
    "inception_resnet_v2_ens_adv": Published(
        "InceptionResNetV2", {"variant": "slim"},
        (_release("v0.1-weights", "ens_adv_inception_resnet_v2", "2592a550", 223_774_238),),
        Preprocess(333, 299, **_HALF, interpolation="bicubic"), 0.79978, 0.94946,
        "TF-slim's ens_adv_inception_resnet_v2_2017_08_18, trained on adversarial examples of several networks (timm: "
        f"inception_resnet_v2.tf_ens_adv_in1k); {_TIMM}", classifier="classif",
    ),
}  # fmt: skip


def pretrained(name: str, path: str | Path | None = None, *, timeout: float = 30.0) -> tuple[nn.Module, Preprocess]:
    """A name in `PUBLISHED` -> our network with the published weights, in evaluation mode, and how it sees a picture.

    `path`: a file that you have; else the cache folder and torch's own are looked into, and only then is the file
    fetched (once: 52 to 553 MB). A file counts by its sha256, wherever it lies and whatever it is called. Row 0 of a
    classifier with 1001 rows is TensorFlow's "background" and is cut; GoogLeNet's auxiliary classifiers were published
    untrained and are left out, Inception V3's from torchvision is trained and kept.

    Raises ValueError for an unknown name (and lists the names) and for a file that is another than the published one,
    FileNotFoundError if `path` is not there, ConnectionError if nothing could be fetched: it says which file to put
    where by hand. Nothing in a file is run: only tensors are read.
    """
    if name not in PUBLISHED:
        raise ValueError(f"no published checkpoint {name!r}; there are: {', '.join(PUBLISHED)}")
    row = PUBLISHED[name]
    file, place = _fetched(name, row, timeout) if path is None else _given(name, row, Path(path).expanduser())
    state = _as_ours_expects(_read(place, file.name.endswith(".safetensors")), row, file)
    with torch.random.fork_rng(devices=[]):  # the start that is overwritten must not cost the caller's random numbers
        model = NETWORKS[row.network](**row.settings)
    return load_reference(model, state).eval(), row.preprocess


def _given(name: str, row: Published, path: Path) -> tuple[PublishedFile, Path]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; wanted {_wanted(row)}")
    found = fetch.checksum(path)
    for file in row.files:
        if found.startswith(file.sha256):
            return file, path
    raise ValueError(
        f"{path.name} is not the published file: its sha256 is {found}; wanted {_wanted(row)}. Weights of your own go "
        f"into a network by load_reference or load_state_dict, not under the name {name!r}"
    )


def _wanted(row: Published) -> str:
    return " or ".join(f"{file.name} (sha256 {_digits(file)})" for file in row.files)


def _digits(file: PublishedFile) -> str:
    return file.sha256 if len(file.sha256) == 64 else f"{file.sha256}..."


def _fetched(name: str, row: Published, timeout: float) -> tuple[PublishedFile, Path]:
    """The first of the files that lies in a cache, or else the first that can be fetched."""
    cache = fetch.cache_folder() / "checkpoints"
    have = _cached(row)
    if have is not None:
        return have
    troubles = []
    for file in row.files:
        by_hand = (
            f"fetch {file.url} (sha256 {_digits(file)}) where there is a network, and put it as {file.name} into the "
            f"folder {cache}, or give it as pretrained({name!r}, path=...)"
        )
        try:
            return file, fetch.download(
                cache / file.name, [file.url], sha256=file.sha256, timeout=timeout, say=fetch.how_long(file.size),
                otherwise=by_hand,
            )  # fmt: skip
        except ConnectionError as error:
            troubles.append(str(error))
    raise ConnectionError("\n".join(troubles))


def _cached(row: Published) -> tuple[PublishedFile, Path] | None:
    """The first of the files that lies in the course's cache or in torch's, None where none does."""
    for file in row.files:
        for place in (fetch.cache_folder() / "checkpoints", Path(torch.hub.get_dir()) / "checkpoints"):
            if (place / file.name).is_file() and fetch.checksum(place / file.name).startswith(file.sha256):
                return file, place / file.name
    return None


def _read(path: Path, safe: bool) -> dict[str, Tensor]:
    """A file -> its tensors by name. Only tensors: a pickle that wants to run anything is refused by torch."""
    try:
        if safe:
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file may be bad in many ways, and torch and safetensors have many errors
        raise ValueError(f"{path.name} cannot be read as tensors ({error})") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path.name} holds something else than tensors by name")
    return dict(state)


def _as_ours_expects(state: dict[str, Tensor], row: Published, file: PublishedFile) -> dict[str, Tensor]:
    """The published state without what our network has no place for: untrained classifiers, the background's row."""
    state = {key: value for key, value in state.items() if not key.startswith(row.leave_out)}
    for key in (f"{row.classifier}.weight", f"{row.classifier}.bias"):
        if len(state.get(key, ())) != file.rows:
            raise ValueError(f"{file.name} should have {file.rows} rows in {key}, not {len(state.get(key, ()))}")
        if file.rows == 1001:
            state[key] = state[key][1:]
    return state


def at_hand(name: str) -> Path | None:
    """A name in `PUBLISHED` -> its file, if it lies where `pretrained` finds it without a network; else None.

    Downloads nothing: a lesson asks here first. Raises ValueError for an unknown name.
    """
    if name not in PUBLISHED:
        raise ValueError(f"no published checkpoint {name!r}; there are: {', '.join(PUBLISHED)}")
    have = _cached(PUBLISHED[name])
    return None if have is None else have[1]
