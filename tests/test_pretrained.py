"""`weights.pretrained`: published layouts become our networks with the same logits; a wrong file never does.

The published files are too large for a test. Their layouts are not: the publishers' own code writes a file of the same
layout, with random weights and random batch-norm statistics, under the published name.
"""

import dataclasses
import hashlib
import io
import re

import numpy as np
import peers
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from servers import Server
from torch import nn

from inception_lessons import data, fetch, weights

TIMM = {  # our name -> timm's
    "inception_v3_tf": "inception_v3.tf_in1k",
    "inception_v3_tf_adv": "inception_v3.tf_adv_in1k",
    "inception_v3_gluon": "inception_v3.gluon_in1k",
    "inception_v4": "inception_v4.tf_in1k",
    "inception_resnet_v2": "inception_resnet_v2.tf_in1k",
    "inception_resnet_v2_ens_adv": "inception_resnet_v2.tf_ens_adv_in1k",
}
TORCHVISION = {  # our name -> torchvision's weights
    "googlenet": "GoogLeNet_Weights",
    "inception_v3": "Inception_V3_Weights",
    "alexnet": "AlexNet_Weights",
    "vgg16": "VGG16_Weights",
}
CASES = [(name, i) for name, row in weights.PUBLISHED.items() for i in range(len(row.files))]


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    """No test reads or writes the user's caches."""
    monkeypatch.setenv("INCEPTION_LESSONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "checkpoints"


@pytest.fixture(scope="module")
def photographs():
    """Wider than high, higher than wide, square and grey: as PIL opens them."""
    folder = data._package_file("skimage", "data", "chelsea.png").parent
    cat, coffee = (Image.open(folder / f"{name}.png") for name in ("chelsea", "coffee"))
    square, grey = Image.open(folder / "astronaut.png"), Image.open(folder / "camera.png")
    return [cat, coffee.rotate(90, expand=True), square, grey, cat.convert("RGBA"), coffee.resize((333, 299))]


# ------------------------------------------------------------------------------------------------------------- pictures


def transform_of(name):
    """The publisher's own transform, without its network."""
    if name in TORCHVISION:
        return getattr(peers.torchvision().models, TORCHVISION[name]).IMAGENET1K_V1.transforms()
    timm = peers.timm()
    config = timm.get_pretrained_cfg(TIMM[name])
    return timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config.to_dict()))


@pytest.mark.parametrize("name", weights.PUBLISHED)
def test_a_picture_is_seen_as_the_publisher_shows_it(name, photographs):
    theirs, ours = transform_of(name), weights.PUBLISHED[name].preprocess
    for photograph in photographs:
        wanted = theirs(photograph.convert("RGB"))[None]
        if name in ("googlenet", "inception_v3"):  # what torchvision's network does first, with its own method
            network = getattr(peers.torchvision().models, "GoogLeNet" if name == "googlenet" else "Inception3")
            wanted = network._transform_input(type("", (), {"transform_input": True}), wanted)
        got = ours(photograph)
        assert got.shape == wanted.shape == (1, 3, ours.crop, ours.crop) and got.dtype == torch.float32
        # Normalizing twice rounds twice: two units in the last place of numbers up to 2.6. Else the steps are the same.
        assert (got - wanted).abs().max() <= (5e-7 if name in ("googlenet", "inception_v3") else 0), photograph.size
    assert theirs(photographs[0]).std() > 0.3


def test_pixels_are_seen_as_the_picture_that_they_are(photographs):
    see = weights.PUBLISHED["googlenet"].preprocess
    pixels = np.asarray(photographs[0])
    assert torch.equal(see(pixels), see(photographs[0]))
    assert torch.equal(see(torch.from_numpy(pixels.copy())), see(photographs[0]))
    assert torch.equal(see(pixels[:, ::-1]), see(photographs[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    kept = pixels.copy()
    see(pixels)
    assert np.array_equal(pixels, kept)
    assert see(photographs[0]).min() >= -1 and see(photographs[0]).max() <= 1


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((3, 5, 5), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        torch.zeros(1, 3, 5, 5),
    ],
)
def test_what_is_no_picture_gets_a_sentence(bad):
    words = "wanted a PIL image or uint8 pixels (H, W, 3), not"
    with pytest.raises(ValueError, match=re.escape(words) + rf" \w+ of shape {re.escape(str(tuple(bad.shape)))}"):
        weights.PUBLISHED["alexnet"].preprocess(bad)


def test_bad_steps_get_a_sentence():
    half = (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="crop must be from 1 to resize, which is 224, not 256"):
        weights.Preprocess(224, 256, half, half)
    with pytest.raises(ValueError, match="interpolation must be .* not 'nearest'"):
        weights.Preprocess(256, 224, half, half, "nearest")


# ---------------------------------------------------------------------------------------------------------------- table


def test_the_table_is_the_publishers():
    """Hashes, sizes, accuracies as torchvision's package says them today; the rest by its form."""
    models = peers.torchvision().models
    for name, kind in TORCHVISION.items():
        row, theirs = weights.PUBLISHED[name], getattr(models, kind).IMAGENET1K_V1
        (file,) = row.files
        assert file.url == theirs.url and file.name == theirs.url.rsplit("/", 1)[1]
        assert file.size == theirs.meta["_file_size"] * 2**20
        metrics = theirs.meta["_metrics"]["ImageNet-1K"]
        assert (row.top1, row.top5) == pytest.approx((metrics["acc@1"] / 100, metrics["acc@5"] / 100), abs=1e-12)
    assert set(weights.PUBLISHED) == set(TORCHVISION) | set(TIMM)
    names = [file.name for row in weights.PUBLISHED.values() for file in row.files]
    assert len(set(names)) == len(names)
    for row in weights.PUBLISHED.values():
        assert 0.5 < row.top1 < row.top5 < 1 and row.source
        for file in row.files:
            assert file.url.startswith("https://") and re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", file.sha256)
            assert f"-{file.sha256[:8]}." in file.name and (len(file.sha256) == 64) == file.name.endswith("safetensors")
            assert len(file.sha256) == 64 or file.url.endswith("/" + file.name)


def test_the_classifiers_are_those_that_timm_names():
    timm = peers.timm()
    for name, theirs in TIMM.items():
        assert timm.get_pretrained_cfg(theirs).classifier == weights.PUBLISHED[name].classifier


# ----------------------------------------------------------------------------------------------------------- conversion


def stir(model):
    """Random weights of He's size, random biases and batch-norm statistics: fresh ones would hide a swapped layer."""
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            layer.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if layer.bias is not None:
                layer.bias.data.normal_(0, 0.2, generator=generator)
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.8, 1.2, generator=generator)
            layer.bias.data.normal_(0, 0.2, generator=generator)
            layer.running_mean.normal_(0, 0.2, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            layer.num_batches_tracked.fill_(7)
    return model.eval()


def built(name, rows):
    """The publisher's network, as its loader builds it for this file."""
    if name in TIMM:
        return stir(peers.timm().create_model(TIMM[name], num_classes=rows))
    models = peers.torchvision().models
    if name in ("alexnet", "vgg16"):
        return stir(getattr(models, name)(num_classes=rows))
    kind = models.GoogLeNet if name == "googlenet" else models.Inception3
    return stir(kind(num_classes=rows, init_weights=False, aux_logits=True, transform_input=True))


@pytest.fixture
def publish(own_caches, monkeypatch):
    """Writes a state dict as the `i`-th file of a name, and puts its hash and address into the table."""

    def write(name, state, i=0, *, folder=None, url="http://127.0.0.1:9/nobody", **how):
        row = weights.PUBLISHED[name]
        file = row.files[i]
        place = (own_caches if folder is None else folder) / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.name.endswith(".safetensors"):
            save_file({key: value.contiguous() for key, value in state.items()}, place)
        else:
            torch.save(state, place, **how)
        file = dataclasses.replace(file, sha256=fetch.checksum(place)[: len(file.sha256)], url=url)
        monkeypatch.setitem(weights.PUBLISHED, name, dataclasses.replace(row, files=(file,)))
        return place

    yield write
    for left in own_caches.parent.parent.rglob("*.*"):
        if left.is_file():
            left.unlink()  # up to 553 MB each, and pytest keeps folders


@torch.no_grad()
@pytest.mark.parametrize(("name", "i"), CASES)
def test_logits_are_the_publishers(publish, photographs, name, i):
    rows = weights.PUBLISHED[name].files[i].rows
    theirs = built(name, rows)
    publish(name, theirs.state_dict(), i)
    random = torch.get_rng_state()
    ours, see = weights.pretrained(name)
    assert torch.equal(torch.get_rng_state(), random)
    assert type(ours).__name__ == weights.PUBLISHED[name].network and not ours.training
    show = transform_of(name)
    wanted = torch.cat([theirs(show(photograph.convert("RGB"))[None]) for photograph in photographs[:2]])
    got = torch.cat([ours(see(photograph)) for photograph in photographs[:2]])
    wanted = wanted[:, 1:] if rows == 1001 else wanted
    assert got.shape == wanted.shape == (2, 1000)
    spread = wanted.std()
    assert (wanted[0] - wanted[1]).abs().max() > 0.05 * spread  # the logits hang on the picture
    assert (got - wanted).abs().max() <= 1e-5 * spread  # rounding in up to 244 layers: 1e-6 was seen


@torch.no_grad()
def test_inception_v3_keeps_its_trained_auxiliary_classifier(publish, photographs):
    theirs, fed = built("inception_v3", 1000), []
    publish("inception_v3", theirs.state_dict())
    ours, see = weights.pretrained("inception_v3")
    theirs.Mixed_6e.register_forward_hook(lambda layer, inputs, out: fed.append(out))
    theirs(transform_of("inception_v3")(photographs[0])[None])
    wanted, got = theirs.AuxLogits(*fed), ours.forward_with_aux(see(photographs[0]))[1]["6e"]
    assert (got - wanted).abs().max() <= 1e-5 * wanted.std()


@pytest.fixture(scope="module")
def googlenet():
    """torchvision's network, to be published as a file."""
    return built("googlenet", 1000)


def same(ours, theirs):
    """Do two of our networks hold the same numbers?"""
    a, b = ours.state_dict(), theirs.state_dict()
    return list(a) == list(b) and all(torch.equal(x, y) for x, y in zip(a.values(), b.values(), strict=True))


def test_old_files_are_read_as_well(publish, googlenet, own_caches):
    """Torch's format before 1.6, and from before 0.4.1, when batches were not counted."""
    state = googlenet.state_dict()
    publish("googlenet", state)
    wanted = weights.pretrained("googlenet")[0]
    assert same(wanted, weights.pretrained("googlenet")[0])
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    place = publish("googlenet", old, _use_new_zipfile_serialization=False)
    assert place.read_bytes()[:2] != b"PK"
    got = weights.pretrained("googlenet")[0]
    counts = [value for key, value in got.state_dict().items() if key.endswith("num_batches_tracked")]
    assert counts and all(int(count) == 0 for count in counts)
    for key, value in got.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(value, wanted.state_dict()[key])


def test_untrained_classifiers_are_left_out(publish, googlenet):
    publish("googlenet", googlenet.state_dict())
    model = weights.pretrained("googlenet")[0]
    assert not any("aux" in key for key in model.state_dict())
    assert sum(p.numel() for p in model.parameters()) == 6_624_904
    with_them = sum(p.numel() for p in googlenet.parameters())
    assert with_them == 13_004_888  # the file does hold them


def test_row_0_is_cut_from_1001_rows_and_only_there():
    row = weights.PUBLISHED["inception_v4"]
    safe, release = row.files
    assert (safe.rows, release.rows) == (1000, 1001)
    for file in row.files:
        state = {f"last_linear.{k}": torch.arange(file.rows * 2.0).view(-1, 2) for k in ("weight", "bias")}
        got = weights._as_ours_expects(state, row, file)
        assert torch.equal(got["last_linear.weight"], state["last_linear.weight"][-1000:])
        assert len(got["last_linear.bias"]) == 1000 and len(state["last_linear.bias"]) == file.rows
        for wrong in ({}, {f"last_linear.{k}": torch.zeros(2001 - file.rows) for k in ("weight", "bias")}):
            with pytest.raises(
                ValueError, match=f"should have {file.rows} rows in last_linear.weight, not (0|100[01])"
            ):
                weights._as_ours_expects(wrong, row, file)
    assert [name for name, row in weights.PUBLISHED.items() if row.files[-1].rows == 1001] == [
        "inception_v3_tf", "inception_v3_tf_adv", "inception_v4", "inception_resnet_v2", "inception_resnet_v2_ens_adv",
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------- where the file may come from


def test_it_is_fetched_once_and_whole(publish, googlenet, own_caches, capfd):
    place = publish("googlenet", googlenet.state_dict())
    wanted = weights.pretrained("googlenet")[0]
    server = Server("drops once", place.read_bytes(), place.name)
    row = weights.PUBLISHED["googlenet"]
    weights.PUBLISHED["googlenet"] = dataclasses.replace(
        row, files=(dataclasses.replace(row.files[0], url=server.url),)
    )
    place.unlink()
    try:
        capfd.readouterr()
        got = weights.pretrained("googlenet")[0]
        assert "Fetching googlenet-1378be20.pth: 52 MB (50 MiB)" in capfd.readouterr().out
        assert same(got, wanted) and server.ranges == [None, "bytes=120000-"]
        assert [path.name for path in own_caches.iterdir()] == ["googlenet-1378be20.pth"]
        weights.pretrained("googlenet")
        assert len(server.ranges) == 2
    finally:
        server.close()


def test_torchs_own_cache_and_a_file_of_the_users_serve_as_well(publish, googlenet, own_caches, tmp_path):
    place = publish("googlenet", googlenet.state_dict(), folder=tmp_path / "torch" / "hub" / "checkpoints")
    wanted = weights.pretrained("googlenet")[0]
    assert not own_caches.exists()  # and nothing is copied
    other = place.rename(tmp_path / "under another name.bin")
    assert same(weights.pretrained("googlenet", other)[0], wanted)
    assert same(weights.pretrained("googlenet", path=str(other))[0], wanted)
    with pytest.raises(ConnectionError):
        weights.pretrained("googlenet")


@pytest.fixture
def small(own_caches, monkeypatch):
    """Lets small bytes be the published file of `googlenet`, at an address where nobody listens; -> their place."""

    def write(content, url="http://127.0.0.1:9/nobody", name="googlenet"):
        row = weights.PUBLISHED[name]
        sha256 = hashlib.sha256(content).hexdigest()
        files = tuple(dataclasses.replace(f, sha256=sha256[: len(f.sha256)], url=url) for f in row.files)
        monkeypatch.setitem(weights.PUBLISHED, name, dataclasses.replace(row, files=files))
        return own_caches / files[0].name

    return write


def test_an_unknown_name_lists_the_names():
    with pytest.raises(
        ValueError, match="'inception_v5'; there are: googlenet, inception_v3, alexnet, vgg16, .*_ens_adv"
    ):
        weights.pretrained("inception_v5")


def test_a_file_of_the_users_is_verified(small, tmp_path):
    small(b"right")
    right, wrong = (hashlib.sha256(content).hexdigest() for content in (b"right", b"wrong"))
    (tmp_path / "mine.pth").write_bytes(b"wrong")
    with pytest.raises(ValueError, match=f"mine.pth is not .* its sha256 is {wrong}; wanted .*sha256 {right[:8]}..."):
        weights.pretrained("googlenet", tmp_path / "mine.pth")
    with pytest.raises(FileNotFoundError, match="there is no file .*nowhere.pth; wanted googlenet-1378be20.pth"):
        weights.pretrained("googlenet", tmp_path / "nowhere.pth")
    assert (tmp_path / "mine.pth").read_bytes() == b"wrong"


def test_without_a_network_it_says_what_to_put_where(small, own_caches):
    small(b"right")
    sha256 = hashlib.sha256(b"right").hexdigest()
    with pytest.raises(ConnectionError) as caught:
        weights.pretrained("googlenet")
    for words in (
        "googlenet-1378be20.pth could not be fetched (127.0.0.1:9: ",
        f"fetch http://127.0.0.1:9/nobody (sha256 {sha256[:8]}...)",
        f"put it as googlenet-1378be20.pth into the folder {own_caches}",
        "pretrained('googlenet', path=...)",
    ):
        assert words in str(caught.value)
    small(b"right", name="inception_v4")
    with pytest.raises(ConnectionError) as caught:
        weights.pretrained("inception_v4")
    for words in (
        "inception_v4.tf_in1k-a756a086.safetensors could not",
        f"sha256 {sha256})",
        "inceptionv4-8e4777a0.pth",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize("manner", ["lies", "missing", "page", "no length"])
def test_a_bad_server_leaves_nothing_bad(small, own_caches, manner):
    server = Server(manner, b"right" * 10, "f.pth")
    try:
        small(b"right" * 10, server.url)
        with pytest.raises(ConnectionError, match="not the official checksum|404|it does not say how many"):
            weights.pretrained("googlenet")
    finally:
        server.close()
    assert server.ranges == [None] and not any(own_caches.iterdir())


def test_a_truncated_download_is_kept_as_a_part(small, own_caches):
    content = bytes(range(250)) * 1200
    server = Server("stalls", content, "f.pth")
    try:
        place = small(content, server.url)
        with pytest.raises(
            ConnectionError, match="sent nothing for 0.3 s.*0.1 MB are kept in googlenet-1378be20.pth.part"
        ):
            weights.pretrained("googlenet", timeout=0.3)
        assert not place.exists() and place.with_name(place.name + ".part").read_bytes() == content[:120_000]
        with pytest.raises(
            ValueError, match="cannot be read as tensors"
        ):  # whole now, and these bytes are no checkpoint
            weights.pretrained("googlenet")
        assert server.ranges == [None, "bytes=120000-"] and place.read_bytes() == content
    finally:
        server.close()


def test_a_damaged_file_in_the_cache_is_never_used(small, own_caches):
    place = small(b"right")
    own_caches.mkdir(parents=True)
    place.write_bytes(b"wrong")
    found = hashlib.sha256(b"wrong").hexdigest()
    with pytest.raises(
        ConnectionError, match=f"the one that is there has the sha256 {found}, wanted one that begins with"
    ):
        weights.pretrained("googlenet")
    assert place.read_bytes() == b"wrong"


def test_a_cache_that_takes_nothing_is_said(small, own_caches):
    small(b"right")
    own_caches.parent.write_text("no folder")
    with pytest.raises(OSError, match="could not be written into the folder .*INCEPTION_LESSONS_CACHE.*path="):
        weights.pretrained("googlenet")


class Runs:
    """Does something when it is unpickled: what a forged checkpoint might hold."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return __import__("os").mkdir, (self.folder,)


def test_nothing_in_a_file_is_run(small, own_caches, tmp_path):
    for content, words in (
        ({"conv1.conv.weight": Runs(str(tmp_path / "run"))}, "cannot be read as tensors"),
        ({"conv1.conv.weight": 3}, "something else than tensors by name"),
        ([torch.zeros(3)], "something else than tensors by name"),
    ):
        packed = io.BytesIO()
        torch.save(content, packed)
        place = small(packed.getvalue())
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(packed.getvalue())
        with pytest.raises(ValueError, match=words):
            weights.pretrained("googlenet")
    assert not (tmp_path / "run").exists()
    place = small(b"no safetensors file", name="inception_v4")
    place.write_bytes(b"no safetensors file")
    with pytest.raises(ValueError, match="inception_v4.tf_in1k-a756a086.safetensors cannot be read as tensors"):
        weights.pretrained("inception_v4")


# --- at hand: lesson 08 asks before it shows a published network


def test_at_hand_says_where_a_file_lies_and_fetches_nothing(small, own_caches, tmp_path, monkeypatch):
    def no_download(*_, **__):
        raise AssertionError("it tried to fetch")

    monkeypatch.setattr(fetch, "download", no_download)
    place = small(b"right")
    assert weights.at_hand("googlenet") is None and not own_caches.exists()
    own_caches.mkdir(parents=True)
    place.write_bytes(b"wrong")
    assert weights.at_hand("googlenet") is None, "a damaged file is none"
    place.write_bytes(b"right")
    assert weights.at_hand("googlenet") == place
    torchs = tmp_path / "torch" / "hub" / "checkpoints"
    torchs.mkdir(parents=True)
    moved = place.rename(torchs / place.name)
    assert weights.at_hand("googlenet") == moved
    assert weights.at_hand("vgg16") is None
    with pytest.raises(ValueError, match="no published checkpoint 'resnet'; there are: googlenet, "):
        weights.at_hand("resnet")
