"""Tests of `inception_lessons.data`: no leaks, true factors, honest batches, and files that are whole or not there."""

import hashlib
import io
import tarfile
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from servers import Server

from inception_lessons import data

# The one place that knows the default set's bytes. A change here says: every stored result has to be measured again.
DEFAULT_FINGERPRINT = "13ac897c81a6646410854283a3c25c321e4d1a6c83558bf1689afba1c4bba1e3"
SPLITS = ("train", "validation", "test")
SMALL = {"counts": (300, 100, 100)}


def splits(image_set):
    return [getattr(image_set, name) for name in SPLITS]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("INCEPTION_LESSONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INCEPTION_LESSONS_CIFAR10", raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def wild():
    return data.digits_in_the_wild(cache=False)


@pytest.fixture(scope="module")
def small():
    return data.digits_in_the_wild(**SMALL, cache=False)


# ----------------------------------------------------------------------------------------------------------- the digits


def test_default_set_is_what_it_says(wild):
    assert [len(split) for split in splits(wild)] == [10_000, 2_000, 4_000]
    assert wild.classes == tuple("0123456789")
    for split in splits(wild):
        assert split.pixels.shape[1:] == (32, 32, 3) and split.pixels.dtype == torch.uint8
        assert split.pixels.is_contiguous()
        assert 12 <= split.factors["size"].min() < 12.1 and 27.9 < split.factors["size"].max() <= 28
        assert set(split.factors["photograph"].tolist()) == set(range(len(wild.photographs)))
        for name in ("size", "x", "y"):
            assert split.factors[name].dtype == torch.float32
        for name in ("digit", "photograph", "crop_x", "crop_y"):
            assert split.factors[name].dtype == torch.int64
    assert torch.bincount(wild.test.labels).tolist() == [400] * 10


def test_default_set_is_the_same_bytes_everywhere(wild):
    assert data.fingerprint(wild) == DEFAULT_FINGERPRINT


def test_no_digit_is_in_two_splits(wild):
    plain = data.mnist_digits()
    seen = []
    for split, plain_split, count in zip(splits(wild), splits(plain), (3500, 500, 1000), strict=True):
        identities = set(split.factors["digit"].tolist())
        assert identities == set(plain_split.factors["digit"].tolist()) and len(identities) == count
        assert torch.bincount(plain_split.labels).tolist() == [count // 10] * 10
        seen.append(identities)
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_another_seed_moves_no_digit_to_another_split(small):
    other = data.digits_in_the_wild(seed=1, **SMALL, cache=False)
    assert data.fingerprint(other) != data.fingerprint(small)
    train = set(data.mnist_digits().train.factors["digit"].tolist())
    assert set(other.train.factors["digit"].tolist()) <= train
    assert not set(other.test.factors["digit"].tolist()) & train


def test_no_part_of_a_photograph_is_in_two_splits(wild):
    shapes = [pixels.shape for pixels in data._read_photographs()]
    owner = [np.zeros(shape[:2], np.int64) for shape in shapes]  # one bit for each split that shows the pixel
    for bit, split in enumerate(splits(wild)):
        f = {name: split.factors[name].tolist() for name in ("photograph", "crop_x", "crop_y")}
        for photograph, x, y in zip(f["photograph"], f["crop_x"], f["crop_y"], strict=True):
            patch = owner[photograph][y : y + 32, x : x + 32]
            assert patch.shape == (32, 32)
            patch |= 1 << bit
    for pixels in owner:
        assert set(np.unique(pixels)) <= {0, 1, 2, 4}
        assert (pixels > 0).mean() > 0.9  # and nearly all of every photograph is used


def test_a_smaller_count_is_the_start_of_a_larger_one(small, wild):
    for few, many in zip(splits(small), splits(wild), strict=True):
        assert torch.equal(few.pixels, many.pixels[: len(few)])
        assert torch.equal(few.factors["size"], many.factors["size"][: len(few)])
    sizes = [split.factors["size"][:100].tolist() for split in splits(wild)]
    assert len(set().union(*sizes)) > 290  # and each split draws its own random numbers


def test_crop_corner_says_where_the_ground_comes_from():
    """With the photograph left as it is and a small digit in the middle, the image's rim is the photograph's."""
    image_set = data.digits_in_the_wild(**SMALL, sizes=(8, 12), place=0, contrast=1, cache=False)
    photographs = data._read_photographs()
    for split in splits(image_set):
        for i in range(0, len(split), 10):
            x, y = int(split.factors["crop_x"][i]), int(split.factors["crop_y"][i])
            crop = photographs[int(split.factors["photograph"][i])][y : y + 32, x : x + 32]
            assert np.array_equal(split.pixels[i, :8], crop[:8]) and np.array_equal(
                split.pixels[i, :, 25:], crop[:, 25:]
            )


def draw_on_black(digits, size, room):
    """White digits on black: the pixels are the mask itself."""
    count = len(digits)
    white = np.full((count, 1, 3), 255.0)
    return data._draw(
        digits, np.zeros((count, 32, 32, 3), np.uint8), size, room, white, np.zeros(count, bool), contrast=1.0, ink=0.5
    )


def test_size_and_place_are_those_of_the_drawn_ink():
    rng = np.random.default_rng(0)
    solid = np.zeros((200, 28, 28), np.uint8)  # boxes of solid ink, whose edges can be measured to a part of a pixel
    height, width = rng.integers(6, 21, 200), rng.integers(6, 21, 200)
    for image, h, w in zip(solid, height, width, strict=True):
        image[3 : 3 + h, 5 : 5 + w] = 255
    size, room = rng.uniform(8, 26, 200), rng.uniform(-0.8, 0.8, (200, 2))
    pixels, x, y = draw_on_black(solid, size, room)
    mask = pixels[..., 0] / 255.0
    across, down = mask.max(axis=1).sum(axis=1), mask.max(axis=2).sum(axis=1)
    assert np.abs(np.maximum(across, down) - size).max() < 0.5
    assert np.abs(np.minimum(across, down) - size * np.minimum(height, width) / np.maximum(height, width)).max() < 0.5
    total = mask.sum(axis=(1, 2))
    middle = np.arange(32) + 0.5
    assert np.abs((mask.sum(axis=1) * middle).sum(axis=1) / total - x).max() < 0.15
    assert np.abs((mask.sum(axis=2) * middle).sum(axis=1) / total - y).max() < 0.15


def test_real_digits_fit_and_fill_their_box():
    digits, _ = data._read_digits()
    digits = digits[::10]
    rng = np.random.default_rng(1)
    size = rng.uniform(8, 28, len(digits))
    pixels, x, y = draw_on_black(digits, size, rng.choice([-1.0, 1.0], (len(digits), 2)))  # pushed into the corners
    for image, side, cx, cy in zip(pixels[..., 0], size, x, y, strict=True):
        rows, columns = np.flatnonzero(image.max(axis=1) > 20), np.flatnonzero(image.max(axis=0) > 20)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(side, abs=2.6)
        assert (rows[0] + rows[-1] + 1) / 2 == pytest.approx(cy, abs=1.6)
        assert (columns[0] + columns[-1] + 1) / 2 == pytest.approx(cx, abs=1.6)


def test_resampling_equals_a_slow_loop():
    scale, centre, ink = np.array([0.6, 1.3]), np.array([14.2, 17.9]), np.array([13.0, 14.5])
    fast = data._resampling(scale, centre, ink)
    for b in range(2):
        reach = max(1.0, 1 / scale[b])
        for i in range(32):
            place = (i + 0.5 - centre[b]) / scale[b] + ink[b]
            weight = {j: max(0.0, 1 - abs(j + 0.5 - place) / reach) for j in range(-60, 100)}
            for j in range(28):
                assert fast[b, i, j] == pytest.approx(weight[j] / sum(weight.values()), abs=1e-12)


def test_place_contrast_ink_and_difference_do_what_they_say():
    middle = data.digits_in_the_wild(**SMALL, place=0, contrast=0, cache=False)
    for split in splits(middle):
        assert (split.factors["x"] == 16).all() and (split.factors["y"] == 16).all()
        assert (split.pixels[:, 0, :1] == split.pixels[:, 0]).all()  # a flat ground
    anywhere = data.digits_in_the_wild(**SMALL, place=1, sizes=(12, 12), cache=False).train.factors
    assert anywhere["y"].min() < 8 and anywhere["y"].max() > 24

    weights = torch.tensor([0.299, 0.587, 0.114]).double()
    for ink in (0.3, 0.5):
        flat = data.digits_in_the_wild(**SMALL, place=0, contrast=0, ink=ink, cache=False).train
        light = flat.pixels.double() @ weights / 255
        ground = light[:, 0, 0]
        distance = (light - ground[:, None, None]).abs().flatten(1).amax(1)
        assert (
            distance >= ink - 0.01
        ).float().mean() > 0.8  # all but where the ink is thin or black and white are near
        assert (distance > 0.2).all()

    share = data.digits_in_the_wild(**SMALL, difference=0.3, cache=False).train.factors["by_difference"]
    assert 0.2 < share.float().mean() < 0.4
    subtracted = data.digits_in_the_wild(**SMALL, place=0, contrast=0, difference=1.0, cache=False).train
    assert subtracted.factors["by_difference"].all()
    some = subtracted.pixels[:40].int()
    ground, mask = (
        some[:, :1, :1, None],
        torch.arange(256)[:, None],
    )  # is there one mask that explains all three channels?
    misfit = ((ground - mask).abs() - some[..., None, :]).abs().amax(-1)
    assert (misfit.amin(-1) <= 1).all()
    assert (misfit.argmin(-1).flatten(1).amax(1) > 200).float().mean() > 0.8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"sizes": (2, 28)}, "between 4 and 32"),
        ({"sizes": (28, 12)}, "least and a greatest"),
        ({"sizes": (12, 33)}, "between 4 and 32"),
        ({"place": 1.5}, "place must be a number from 0 to 1"),
        ({"contrast": "high"}, "contrast must be a number from 0 to 1"),
        ({"ink": -0.1}, "ink must be"),
        ({"difference": float("nan")}, "difference must be"),
        ({"counts": (10, 10)}, "three numbers"),
        ({"counts": (10, 0, 10)}, "the validation count must be a whole number of at least 1, not 0"),
    ],
)
def test_bad_arguments_get_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        data.digits_in_the_wild(**arguments, cache=False)


def test_mnist_digits_are_the_stored_ones():
    digits, labels = data._read_digits()
    image_set = data.mnist_digits()
    for split in splits(image_set):
        ids = split.factors["digit"].numpy()
        for plane in range(3):
            assert np.array_equal(split.pixels[..., plane], digits[ids])
        assert np.array_equal(split.labels, labels[ids])
        assert len(set(split.labels[:50].tolist())) >= 8  # not stored class by class


# ------------------------------------------------------------------------------------------------------------ the cache


def test_the_second_time_comes_from_the_cache(small, own_cache, monkeypatch):
    first = data.digits_in_the_wild(**SMALL)
    assert [path.suffix for path in own_cache.iterdir()] == [".safetensors"]
    monkeypatch.setattr(data, "_read_digits", lambda: pytest.fail("built again"))
    second = data.digits_in_the_wild(**SMALL)
    for a, b, c in zip(splits(small), splits(first), splits(second), strict=True):
        assert torch.equal(a.pixels, b.pixels) and torch.equal(a.pixels, c.pixels) and torch.equal(a.labels, c.labels)
        assert a.factors.keys() == c.factors.keys()
        assert all(
            torch.equal(a.factors[k], c.factors[k]) and a.factors[k].dtype == c.factors[k].dtype for k in a.factors
        )


@pytest.mark.parametrize("change", [{"seed": 3}, {"place": 0.5}, {"ink": 0.4}, {"counts": (301, 100, 100)}])
def test_other_arguments_are_another_file(own_cache, change):
    data.digits_in_the_wild(**SMALL)
    data.digits_in_the_wild(**{**SMALL, **change})
    assert len(list(own_cache.iterdir())) == 2


def cut(content):
    return content[: len(content) // 2]


def flip_a_pixel(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip_a_pixel, lambda content: b"", lambda content: b"not a set" * 100])
def test_a_damaged_cache_is_built_again(small, own_cache, damage):
    data.digits_in_the_wild(**SMALL)
    (path,) = own_cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.warns(UserWarning, match="is damaged .* building it again"):
        again = data.digits_in_the_wild(**SMALL)
    assert data.fingerprint(again) == data.fingerprint(small)
    assert path.read_bytes() == whole


def test_a_killed_build_leaves_nothing(own_cache, monkeypatch):
    import safetensors.torch

    def half(tensors, path, metadata=None):
        with open(path, "wb") as file:
            file.write(b"half")
        names.extend(entry.name for entry in own_cache.iterdir())  # what a kill without any clean-up would leave
        raise KeyboardInterrupt

    names = []

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(safetensors.torch, "save_file", half)
        data.digits_in_the_wild(**SMALL)
    assert list(own_cache.iterdir()) == []
    assert len(names) == 1 and not names[0].endswith(".safetensors")


def test_leftovers_of_a_kill_without_warning_are_swept(own_cache):
    import os

    data.digits_in_the_wild(**SMALL)
    (path,) = own_cache.iterdir()
    path.unlink()
    old, young = own_cache / f"{path.stem}.111.tmp", own_cache / f"{path.stem}.222.tmp"
    for leftover in (old, young):
        leftover.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    data.digits_in_the_wild(**SMALL)
    assert path.exists() and not old.exists() and young.exists()


def test_an_unwritable_cache_only_warns(small, own_cache, monkeypatch):
    own_cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="could not be kept"):
        image_set = data.digits_in_the_wild(**SMALL)
    assert data.fingerprint(image_set) == data.fingerprint(small)

    import safetensors.torch

    def full(tensors, path, metadata=None):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    monkeypatch.setenv("INCEPTION_LESSONS_CACHE", str(own_cache.parent / "other"))
    with pytest.warns(UserWarning, match="No space left"):
        data.digits_in_the_wild(**SMALL)
    assert list((own_cache.parent / "other").iterdir()) == []


# --------------------------------------------------------------------------------------------- splits, batches, augment


def test_batches_without_a_seed_are_the_normalized_images_in_order(small):
    split = small.validation
    batches = list(split.batches(32))
    assert [len(labels) for _, labels in batches] == [32, 32, 32, 4]
    images = torch.cat([images for images, _ in batches])
    assert torch.equal(images, data.normalize(split.images))
    assert torch.allclose(data.denormalize(data.normalize(split.images)), split.images, rtol=0, atol=1e-7)
    assert split.images.dtype == torch.float32 and split.images.min() >= 0 and 0.9 < split.images.max() <= 1
    assert torch.equal(split.images[3, 1], split.pixels[3, :, :, 1] / 255)
    assert torch.equal(torch.cat([labels for _, labels in batches]), split.labels)
    for images, _ in batches:
        assert images.is_contiguous(memory_format=torch.channels_last) and images.dtype == torch.float32


def test_a_seed_shuffles_the_same_way_each_time(small):
    split = small.train
    before = split.pixels.clone()
    state = torch.get_rng_state()
    one, two, other = (list(split.batches(64, seed=seed)) for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(one) == 300 // 64
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0][0], other[0][0])
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images, _ in one)
    # One pass shows every example once, each beside its own label.
    rows = {
        row.numpy().tobytes(): int(label) for row, label in zip(data.normalize(split.images), split.labels, strict=True)
    }
    whole = list(split.batches(64, seed=7, drop_last=False))
    shown = [
        (r.contiguous().numpy().tobytes(), int(c))
        for images, labels in whole
        for r, c in zip(images, labels, strict=True)
    ]
    assert len(shown) == 300 and sorted(rows.items()) == sorted(shown)
    list(split.batches(64, seed=1, augment=data.Augment(crop=4, flip=True)))
    assert torch.equal(split.pixels, before)


def test_take_keeps_rows_together(small):
    split = small.train
    few = split.take(20)
    assert len(few) == 20 and torch.equal(few.pixels, split.pixels[:20])
    picked = split.take([5, 250, -1])
    for name, values in split.factors.items():
        assert torch.equal(picked.factors[name], values[[5, 250, 299]])
    assert torch.equal(picked.labels, split.labels[[5, 250, 299]])
    assert torch.equal(split.take(split.labels == 3).labels.unique(), torch.tensor([3]))
    assert len(split.take([])) == 0


def test_bad_use_of_a_split_gets_a_sentence(small):
    split = small.train
    for call, words in [
        (lambda: split.batches(0), "batch_size must be a whole number of at least 1"),
        (lambda: split.batches(64, augment=data.Augment(4)), "needs a seed"),
        (lambda: split.batches(64, seed="x"), "seed must be a whole number or None"),
        (lambda: split.batches(301, seed=0), "batch_size 301 is more than the 300 examples"),
        (lambda: split.batches(64, seed=0, augment=4), "augment must be a function"),
        (lambda: split.take(301), "301"),
        (lambda: split.take([300]), "positions from 300 to 300"),
        (lambda: split.take([0.5]), "list of positions"),
        (lambda: data.Split(split.images, split.labels), "pixels must be"),
        (lambda: data.Split(split.pixels, split.labels[:5]), "labels must be"),
        (lambda: data.Split(split.pixels, split.labels, {"a": split.labels[:5]}), "factor 'a' has 5 rows"),
        (lambda: data.Augment(crop=-1), "crop must be"),
        (lambda: data.Augment(flip=1), "flip must be True or False"),
        (lambda: data.Augment(crop=40)(split.images, torch.Generator()), "must be less than the side"),
        (lambda: data.Augment()(split.images[0], torch.Generator()), "wants a batch"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    assert len(list(split.batches(300, seed=0))) == 1


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_augment_equals_padding_and_cropping_one_by_one(kind, flip):
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (40, 3, 9, 12), generator=generator, dtype=torch.uint8).to(kind)
    for batch in (images, images.contiguous(memory_format=torch.channels_last)):
        drawn = data.Augment(crop=2, flip=flip)(batch, torch.Generator().manual_seed(3))
        assert drawn.dtype == kind and drawn.shape == images.shape
        assert drawn.is_contiguous(memory_format=torch.channels_last)
        draw = torch.Generator().manual_seed(3)
        shifts = torch.randint(0, 5, (40, 2), generator=draw)
        mirrored = torch.rand(40, generator=draw) < 0.5
        for i in range(40):
            padded = np.pad(images[i].numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect")
            top, left = shifts[i].tolist()
            slow = padded[:, top : top + 9, left : left + 12]
            slow = slow[:, :, ::-1] if flip and mirrored[i] else slow
            assert np.array_equal(drawn[i], slow)
        assert len({tuple(s) for s in shifts.tolist()}) > 15 and 8 < mirrored.sum() < 32


def test_augmented_batches_keep_labels_and_differ_between_passes(small):
    augment = data.Augment(crop=4)
    one, again, next_pass = (list(small.train.batches(64, seed=s, augment=augment)) for s in (0, 0, 1))
    plain = list(small.train.batches(64, seed=0))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(one, again, strict=True))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(one, plain, strict=True))
    assert not torch.equal(one[0][0], plain[0][0]) and not torch.equal(one[0][0], next_pass[0][0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_sees_the_same_pictures(small):
    augment = data.Augment(crop=4, flip=True)
    here = list(small.train.batches(64, seed=0, augment=augment))
    there = list(small.train.batches(64, seed=0, augment=augment, device="cuda"))
    for (a, x), (b, y) in zip(here, there, strict=True):
        assert b.device.type == "cuda" and torch.equal(x, y.cpu())
        assert b.is_contiguous(memory_format=torch.channels_last)
        assert torch.allclose(a, b.cpu(), rtol=0, atol=3e-7)  # a GPU divides by multiplying with the reciprocal


def test_fingerprint_sees_pixels_labels_and_order(small):
    before = data.fingerprint(small)
    other = data.Split(small.test.pixels.clone(), small.test.labels.clone())
    changed = data.ImageSet("x", small.train, small.validation, other, small.classes, "")
    assert data.fingerprint(changed) == before
    other.labels[0] += 1
    assert data.fingerprint(changed) != before
    other.labels[0] -= 1
    other.pixels[-1, -1, -1, -1] ^= 1
    assert data.fingerprint(changed) != before


# ------------------------------------------------------------------------------------------------------------- CIFAR-10


@pytest.fixture(scope="module")
def cifar_rows():
    """Six files in the official layout, with pixels that say which image they belong to."""
    rng = np.random.default_rng(0)
    rows = {}
    for name in data.CIFAR10_FILES:
        record = np.empty((10_000, 3073), np.uint8)
        record[:, 0] = rng.permutation(np.arange(10_000) % 10)
        record[:, 1:] = rng.integers(0, 256, (1, 3072), dtype=np.uint8)
        record[:, 1:4] = rng.integers(0, 256, (10_000, 3), dtype=np.uint8)
        rows[name] = record
    return rows


def write_cifar(folder, rows):
    folder.mkdir(parents=True)
    for name, record in rows.items():
        record.tofile(folder / name)


def pack(path, members):
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_cifar10_from_a_folder_its_parent_the_environment_and_an_archive(tmp_path, cifar_rows, monkeypatch):
    write_cifar(tmp_path / "x" / "cifar-10-batches-bin", cifar_rows)
    image_set = data.cifar10(tmp_path / "x")
    assert [len(split) for split in splits(image_set)] == [45_000, 5_000, 10_000]
    assert torch.bincount(image_set.validation.labels).tolist() == [500] * 10
    assert "as given by the user" in image_set.source and "not the official" not in image_set.source

    stored = cifar_rows["test_batch.bin"]
    assert np.array_equal(image_set.test.labels, stored[:, 0])
    for i in (0, 4321, 9999):
        assert np.array_equal(image_set.test.images[i] * 255, stored[i, 1:].reshape(3, 32, 32))
    # Training and validation together are the five files, each image once and beside its label.
    rows = np.concatenate([cifar_rows[name] for name in data.CIFAR10_FILES[:5]])
    key = [0, 1, 2, 3]  # label and the first three bytes of the red plane
    stored = sorted(map(bytes, rows[:, key]))
    found = []
    for split in (image_set.train, image_set.validation):
        red = split.pixels[:, 0, :3, 0].numpy()
        found += map(bytes, np.concatenate([split.labels.numpy().astype(np.uint8)[:, None], red], axis=1))
    assert sorted(found) == stored

    prints = {data.fingerprint(image_set), data.fingerprint(data.cifar10(tmp_path / "x" / "cifar-10-batches-bin"))}
    pack(tmp_path / "mine.tar.gz", {name: record.tobytes() for name, record in cifar_rows.items()})
    with pytest.warns(UserWarning, match="mine.tar.gz is not the official file"):
        packed = data.cifar10(tmp_path / "mine.tar.gz")
    assert "not the official file" in packed.source
    monkeypatch.setenv("INCEPTION_LESSONS_CIFAR10", str(tmp_path / "x"))
    assert prints | {data.fingerprint(packed), data.fingerprint(data.cifar10())} == {data.fingerprint(image_set)}

    official = hashlib.md5((tmp_path / "mine.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setattr(data, "CIFAR10_MD5", official)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert data.cifar10(tmp_path / "mine.tar.gz").source == data.CIFAR10_SOURCE


def test_cifar10_bad_files_get_a_sentence(tmp_path, cifar_rows, own_cache):
    with pytest.raises(
        FileNotFoundError, match=r"path=.*download=True.*170 MB \(162 MiB\).*55 kB/s since June 2026.*50 min"
    ):
        data.cifar10()
    with pytest.raises(ValueError, match="not both"):
        data.cifar10(tmp_path, download=True)
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        data.cifar10(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no CIFAR-10"):
        data.cifar10(tmp_path)

    folder = tmp_path / "b"
    write_cifar(folder, cifar_rows)
    (folder / "data_batch_3.bin").write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="data_batch_3.bin has 1,000 bytes, and .* has 30,730,000"):
        data.cifar10(folder)
    wrong = cifar_rows["data_batch_3.bin"].copy()
    wrong[77, 0] = 10
    wrong.tofile(folder / "data_batch_3.bin")
    with pytest.raises(ValueError, match="data_batch_3.bin: image 77 has the label 10"):
        data.cifar10(folder)
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(FileNotFoundError, match="lacks data_batch_3.bin"):
        data.cifar10(folder)

    python = tmp_path / "p" / "cifar-10-batches-py"
    python.mkdir(parents=True)
    (python / "data_batch_1").write_bytes(b"\x80\x04.")
    for place in (python, python.parent):
        with pytest.raises(ValueError, match="pickle .* refused: give the binary version"):
            data.cifar10(place)
    pack(tmp_path / "python.tar.gz", {"data_batch_1": b"\x80\x04."})
    with pytest.raises(ValueError, match="pickle .* refused"):
        data.cifar10(tmp_path / "python.tar.gz")

    pack(tmp_path / "short.tar.gz", {"data_batch_1.bin": b"x" * 99})
    with pytest.raises(ValueError, match="data_batch_1.bin has 99 bytes"):
        data.cifar10(tmp_path / "short.tar.gz")
    pack(tmp_path / "one.tar.gz", {"data_batch_1.bin": cifar_rows["data_batch_1.bin"].tobytes()})
    with pytest.raises(ValueError, match="one.tar.gz lacks data_batch_2.bin"):
        data.cifar10(tmp_path / "one.tar.gz")
    content = (tmp_path / "one.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cut.tar.gz is damaged"):
        data.cifar10(tmp_path / "cut.tar.gz")
    (tmp_path / "page.tar.gz").write_bytes(b"<html>log in</html>" * 100)
    with pytest.raises(ValueError, match="page.tar.gz is damaged or no .tar.gz"):
        data.cifar10(tmp_path / "page.tar.gz")

    own_cache.mkdir()
    pack(own_cache / data.CIFAR10_ARCHIVE, {name: record.tobytes() for name, record in cifar_rows.items()})
    with pytest.raises(ValueError, match="is not the official file .* fetches it again"):
        data.cifar10()


def test_cifar10_downloads_only_when_asked(own_cache, cifar_rows, tmp_path, monkeypatch, capfd):
    pack(tmp_path / "official.tar.gz", {name: record.tobytes() for name, record in cifar_rows.items()})
    content = (tmp_path / "official.tar.gz").read_bytes()
    monkeypatch.setattr(data, "CIFAR10_MD5", hashlib.md5(content).hexdigest())
    monkeypatch.setattr(data, "CIFAR10_BYTES", len(content))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server("drops once", content, data.CIFAR10_ARCHIVE)
    try:
        with pytest.raises(FileNotFoundError):
            data.cifar10(mirrors=[server.url])
        assert server.ranges == []
        capfd.readouterr()
        image_set = data.cifar10(download=True, mirrors=[server.url])
    finally:
        server.close()
    assert len(image_set.train) == 45_000 and image_set.source == data.CIFAR10_SOURCE and len(server.ranges) == 2
    out = capfd.readouterr().out
    assert f"Fetching cifar-10-binary.tar.gz: {len(content) / 1e6:.0f} MB" in out and "at the 55 kB/s" in out
    assert [p.name for p in own_cache.iterdir()] == [data.CIFAR10_ARCHIVE]
    assert data.fingerprint(data.cifar10()) == data.fingerprint(image_set)
    for bad in ({"mirrors": server.url}, {"timeout": 0}):
        with pytest.raises(ValueError, match="must be a"):
            data.cifar10(download=True, **bad)


# ----------------------------------------------------------------------------------------------- folders of photographs


def paint(path, colour, shape=(40, 60)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*shape, 3), colour, np.uint8)
    pixels[..., 2] = np.linspace(0, 255, shape[1])  # blue says which part of the picture one sees, and which way round
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """train/ and val/ with two classes; the red value of a file counts through the files."""
    for part, count in (("train", 30), ("val", 5)):
        for c, name in enumerate(("cat", "dog")):
            for i in range(count):
                paint(tmp_path / "set" / part / name / f"{part}{i}.png", (4 * i, 100 * c, 0))
    (tmp_path / "set" / "train" / "cat" / "notes.txt").write_text("not an image")
    return tmp_path / "set"


def test_image_folder_gives_the_same_thing_as_the_other_sets(folder):
    image_set = data.image_folder(folder, 16, workers=0)
    assert image_set.classes == ("cat", "dog") and len(image_set.test) == 10
    assert len(image_set.train) + len(image_set.validation) == 60 and 1 <= len(image_set.validation) <= 15
    assert not set(image_set.train.names) & set(image_set.validation.names)
    split = image_set.test
    assert split.factors == {} and split.images.shape == (10, 3, 16, 16) and len(split.images) == 10
    assert split.images[1].shape == (3, 16, 16) and split.images[2:5].shape == (3, 3, 16, 16)
    assert [round(float(image[0, 0, 0]) * 255) for image in split.images] == [0, 4, 8, 12, 16] * 2
    batches = list(split.batches(4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([images for images, _ in batches]), data.normalize(split.images[:]))
    assert torch.equal(torch.cat([labels for _, labels in batches]), torch.tensor([0] * 5 + [1] * 5))
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images, _ in batches)
    few = split.take([9, 0])
    assert few.names == [split.names[9], split.names[0]] and few.labels.tolist() == [1, 0]
    before = data.fingerprint(image_set)
    assert before == data.fingerprint(data.image_folder(folder, 16))
    assert before != data.fingerprint(data.image_folder(folder, 20))


def test_workers_change_nothing(folder):
    state = torch.get_rng_state()
    augment = data.Augment(crop=4, flip=True)
    passes = [
        list(data.image_folder(folder, 16, workers=workers).train.batches(8, seed=3, augment=augment))
        for workers in (0, 2)
    ]
    assert len(passes[0]) >= 5
    assert len(torch.unique(torch.cat([images[:, 2, 0] for images, _ in passes[0]]), dim=0)) >= 40  # no two crops agree
    for (a, x), (b, y) in zip(*passes, strict=True):
        assert torch.equal(a, b) and torch.equal(x, y)
    assert torch.equal(torch.get_rng_state(), state)
    other = list(data.image_folder(folder, 16).train.batches(5, seed=3, augment=data.Augment(crop=4), drop_last=False))
    whole = list(data.image_folder(folder, 16).train.batches(8, seed=3, augment=data.Augment(crop=4), drop_last=False))
    assert torch.equal(torch.cat([a for a, _ in other]), torch.cat([a for a, _ in whole]))


def test_the_middle_square_and_how_the_camera_was_held(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 10:50, 0], pixels[:20, :, 1] = 200, 100  # red where the middle square is; green in the upper half
    image = Image.fromarray(pixels)
    image.save(tmp_path / "plain.png")
    drawn = data._read_image(str(tmp_path / "plain.png"), 40)
    assert np.array_equal(drawn, pixels[:, 10:50])
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to look at it
    image.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(data._read_image(str(tmp_path / "turned.png"), 40), np.rot90(pixels[:, 10:50], -1))
    large = np.asarray(image.resize((1200, 800), Image.Resampling.NEAREST))
    Image.fromarray(large).save(tmp_path / "large.jpg", quality=95)
    assert np.abs(data._read_image(str(tmp_path / "large.jpg"), 40).astype(int) - pixels[:, 10:50]).mean() < 8
    image.convert("P").save(tmp_path / "palette.png")
    assert data._read_image(str(tmp_path / "palette.png"), 16).shape == (16, 16, 3)


def test_random_boxes_are_the_papers():
    rng = np.random.default_rng(0)
    boxes = np.array([data._random_box(500, 375, rng) for _ in range(2000)])
    left, top, wide, high = boxes.T
    area, ratio = wide * high / (500 * 375), wide / high
    assert (
        (left >= 0).all()
        and (top >= 0).all()
        and (left + wide <= 500 + 1e-9).all()
        and (top + high <= 375 + 1e-9).all()
    )
    assert 0.08 <= area.min() < 0.1 and 0.9 < area.max() <= 1
    assert 0.75 - 1e-9 <= ratio.min() < 0.77 and 1.3 < ratio.max() <= 4 / 3 + 1e-9
    assert np.median(left / np.maximum(500 - wide, 1e-9)) == pytest.approx(0.5, abs=0.05)
    assert data._random_box(1000, 10, rng) == (495, 0, 10, 10)


def test_a_random_crop_is_a_part_of_the_picture(tmp_path):
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(100)[None], np.arange(100)[:, None]
    Image.fromarray(pixels).save(tmp_path / "ramp.png")
    for seed in range(20):
        left, top, wide, high = data._random_box(100, 100, np.random.default_rng(seed))
        crop = data._read_image(str(tmp_path / "ramp.png"), 8, np.random.default_rng(seed)).astype(float)
        steps = (np.arange(8) + 0.5) / 8
        assert np.abs(crop[:, 1:-1, 0] - (left + wide * steps - 0.5)[None, 1:-1]).max() < 1.5
        assert np.abs(crop[1:-1, :, 1] - (top + high * steps - 0.5)[1:-1, None]).max() < 1.5


def test_a_corrupt_image_is_named_or_skipped(folder):
    for name in ("train/cat/broken.png", "train/dog/cut.png"):
        (folder / name).write_bytes((folder / "train/cat/train3.png").read_bytes()[:60])
    one_set = data.image_folder(folder, 16, validation=0.0)
    for workers in (0, 1):
        one_set.train.workers = workers
        with pytest.raises(ValueError, match=r"^train/(cat/broken|dog/cut).png cannot be read as an image") as caught:
            list(one_set.train.batches(8, seed=0))
        assert str(folder) not in str(caught.value)
    with pytest.raises(ValueError, match="train/cat/broken.png"):
        one_set.train.images[one_set.train.names.index("train/cat/broken.png")]

    train = data.image_folder(folder, 16, validation=0.0, on_error="skip").train
    with pytest.warns(UserWarning, match="left out") as caught:
        shown = sum(len(labels) for _, labels in train.batches(8))
    assert shown == 60 and len(train) == 62
    assert sorted(train.skipped) == ["train/cat/broken.png", "train/dog/cut.png"] and len(caught) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # each is told once
        assert sum(len(labels) for _, labels in train.batches(8)) == 60


def test_a_decompression_bomb_is_a_corrupt_image(folder, monkeypatch):
    paint(folder / "train" / "cat" / "huge.png", 0, (300, 300))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60_000)
    with pytest.raises(ValueError, match="huge.png cannot be read as an image: .*exceeds limit"):
        list(data.image_folder(folder, 16, validation=0.0).train.batches(8))


def test_a_flat_folder_is_shared_out_by_name(tmp_path):
    names = [f"{c}/{i}.png" for c in "ab" for i in range(150)]
    paint(tmp_path / "flat" / "first.png", 0, (4, 4))
    content = (tmp_path / "flat" / "first.png").read_bytes()
    (tmp_path / "flat" / "first.png").unlink()

    def write(some):
        for name in some:
            (tmp_path / "flat" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "flat" / name).write_bytes(content)

    write(names[::2])
    before = [set(split.names) for split in splits(data.image_folder(tmp_path / "flat", 4))]
    write(names[1::2])
    after = [set(split.names) for split in splits(data.image_folder(tmp_path / "flat", 4))]
    assert sum(map(len, after)) == 300 and set.union(*after) == set(names)
    assert 220 < len(after[0]) < 260 and 15 < len(after[1]) < 50 and 15 < len(after[2]) < 50
    assert all(old <= new for old, new in zip(before, after, strict=True))  # none changes sides when others join


def test_three_folders_are_taken_as_they_are(folder):
    for name in ("cat", "dog"):
        paint(folder / "test" / name / "t.png", 9)
    image_set = data.image_folder(folder, 16)
    assert [len(split) for split in splits(image_set)] == [60, 10, 2]


def test_bad_folders_get_a_sentence(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, kind, words in [
        ({"path": tmp_path / "nowhere"}, FileNotFoundError, "there is no folder"),
        ({"path": tmp_path / "empty"}, ValueError, "no sub-folders: wanted one for each class"),
        ({"path": folder, "size": 0}, ValueError, "size must be a whole number of at least 1"),
        ({"path": folder, "size": 16.5}, ValueError, "size must be a whole number"),
        ({"path": folder, "workers": -1}, ValueError, "workers must be"),
        ({"path": folder, "validation": 0.5}, ValueError, "less than half"),
        ({"path": folder, "on_error": "ignore"}, ValueError, 'on_error must be "raise" or "skip"'),
    ]:
        with pytest.raises(kind, match=words):
            data.image_folder(**arguments)
    (folder / "val" / "bird").mkdir()
    with pytest.raises(ValueError, match="'bird', which the training images do not have"):
        data.image_folder(folder)
    (folder / "train" / "bird").mkdir()
    with pytest.raises(ValueError, match="bird has no images in it"):
        data.image_folder(folder)
    (folder / "val").rename(tmp_path / "val")
    with pytest.raises(ValueError, match="neither val/ nor test/"):
        data.image_folder(folder)


# ------------------------------------------------------------------------ a share of each batch, a start inside a pass


@pytest.fixture(params=["in memory", "streamed"])
def of_either_kind(request, folder, small):
    """A split of 60 examples, held in memory or read from files."""
    if request.param == "in memory":
        return small.train.take(60)
    return data.image_folder(folder, 16, validation=0.0, workers=0).train


PASSES = [
    {},
    {"seed": 3},
    {"seed": 3, "augment": data.Augment(crop=1, flip=True)},
    {"seed": 3, "augment": data.Augment(flip=True), "drop_last": False},
]


@pytest.mark.parametrize("options", PASSES, ids=str)
@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_the_shares_of_a_batch_are_the_batch(of_either_kind, options, of):
    """Also of a short last batch, of 11 or 4 images: no image is missing, and none comes twice."""
    for size in (7, 49):
        whole = list(of_either_kind.batches(size, **options))
        shares = [list(of_either_kind.batches(size, share=(number, of), **options)) for number in range(of)]
        for place in (0, 1):
            together = torch.cat([batch[place] for batch in whole])
            rows = [
                torch.cat([part[place] for part in parts])
                for parts in zip(*(s[: 60 // size] for s in shares), strict=True)
            ]
            rows += [part[place] for share in shares for part in share[60 // size :]]  # the last: not in every share
            assert torch.equal(torch.cat(rows), together)
        counts = [sum(len(labels) for _, labels in share) for share in shares]
        assert max(counts) - min(counts) <= len(whole) and sum(counts) == sum(len(labels) for _, labels in whole)


@pytest.mark.parametrize("options", PASSES, ids=str)
def test_a_pass_can_begin_at_any_batch(of_either_kind, options):
    whole = list(of_either_kind.batches(16, **options))
    for first in (1, 3, len(whole), 9):
        rest = list(of_either_kind.batches(16, first=first, **options))
        assert len(rest) == len(whole[first:])
        for (images, labels), (wanted, wanted_labels) in zip(rest, whole[first:], strict=True):
            assert torch.equal(images, wanted) and torch.equal(labels, wanted_labels)


def test_files_of_other_shares_and_earlier_batches_are_not_read(folder):
    train = data.image_folder(folder, 16, validation=0.0, workers=0).train
    for name in train.names[:40] + train.names[48:54]:
        (folder / name).write_bytes(b"")
    assert [len(labels) for _, labels in train.batches(16, first=2, share=(1, 2))] == [8, 6]


@pytest.mark.filterwarnings("ignore:.*left out")
def test_an_unreadable_image_changes_no_other(folder):
    """Each keeps the mirroring that was drawn for it; a share with nothing to read says so, as others wait for it."""
    train = data.image_folder(folder, 16, validation=0.0, workers=0, on_error="skip").train
    options = {"seed": 3, "augment": data.Augment(crop=1, flip=True)}
    (before, labels), (later, _) = list(train.batches(20, **options))[:2]
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    (folder / train.names[order[4]]).write_bytes(b"")
    kept = torch.arange(20) != 4
    (after, left), (again, _) = list(train.batches(20, **options))[:2]
    assert torch.equal(after, before[kept]) and torch.equal(left, labels[kept]) and torch.equal(later, again)
    shares = [next(train.batches(20, share=(number, 4), **options))[0] for number in range(4)]
    assert [len(share) for share in shares] == [4, 5, 5, 5] and torch.equal(torch.cat(shares), after)
    assert len(list(train.batches(1, **options))) == 59
    with pytest.raises(ValueError, match="none of the 1 images of this share"):
        next(train.batches(20, share=(4, 20), **options))


@pytest.mark.parametrize(
    "options, said",
    [
        ({"share": (2, 2)}, r"share=\(2, 2\): shares are counted from 0 to 1"),
        ({"share": (0, 0)}, "the count of shares must be a whole number of at least 1"),
        ({"share": (-1, 2)}, "the number of a share must be"),
        ({"first": -1}, "first must be a whole number of at least 0"),
    ],
)
def test_a_share_that_cannot_be_is_refused(of_either_kind, options, said):
    with pytest.raises(ValueError, match=said):
        of_either_kind.batches(16, **options)


def test_a_function_of_ones_own_and_shares(folder, small):
    def darker(images, generator):
        return images // int(torch.randint(2, 5, (), generator=generator))

    whole = list(small.train.batches(30, seed=1, augment=darker))
    halves = [list(small.train.batches(30, seed=1, augment=darker, first=1, share=(n, 2))) for n in range(2)]
    assert torch.equal(torch.cat([halves[0][0][0], halves[1][0][0]]), whole[1][0])
    with pytest.raises(ValueError, match="go with Augment or no augmentation"):
        data.image_folder(folder, 16).train.batches(8, seed=0, augment=darker, share=(0, 2))
