"""`inception_lessons.weights`: a checkpoint comes back bit for bit or not at all; a reference fits name by name."""

import json
import os

import pytest
import torch
from safetensors.torch import save as to_bytes
from torch import nn

from inception_lessons import data, weights
from inception_lessons.baselines import NIN, Plain
from inception_lessons.googlenet import GoogLeNet, NaiveInception

SETTINGS = {"norm": "bn", "width": 0.125, "blocks": [1, 1, 1], "aux": True}
ABOUT = {"network": "GoogLeNet", "settings": SETTINGS, "test_accuracy": 0.5, "command": "none"}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """An empty folder in the place of the shipped one."""
    monkeypatch.setattr(weights, "folder", lambda: tmp_path)
    return tmp_path


def small() -> GoogLeNet:
    """A little network whose statistics are not those of a new one."""
    model = GoogLeNet.laptop(**SETTINGS)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            layer.num_batches_tracked.fill_(7)
    return model


# ---------------------------------------------------------------------------------------------------------- round trips


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    model = small().train()
    path = weights.save(tmp_path / "deep" / "one.safetensors", model, ABOUT)
    again, about = weights.load(path)
    assert about == ABOUT and type(again) is GoogLeNet and not again.training
    assert list(again.state_dict()) == list(model.state_dict())
    for (name, a), b in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b) and a.dtype == b.dtype, name
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(x), model.eval()(x))
    assert [p.name for p in path.parent.iterdir()] == ["one.safetensors"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("kind", "settings"), [(NIN, {"norm": "bn", "num_classes": 3}), (Plain, {"width": 0.5})])
def test_every_network_can_be_kept(tmp_path, kind, settings):
    model = kind.laptop(**settings).eval()
    path = weights.save(tmp_path / "n.safetensors", model, {"network": kind.__name__, "settings": settings})
    again, x = weights.load(str(path))[0], torch.randn(1, 3, 32, 32)
    assert type(again) is kind and torch.equal(again(x), model(x))


def test_loading_by_name(shipped):
    weights.save(shipped / "mine.safetensors", small(), ABOUT)
    assert weights.load("mine")[1] == ABOUT


def test_saving_replaces_a_file_as_a_whole(tmp_path):
    path = tmp_path / "one.safetensors"
    weights.save(path, small(), ABOUT)
    weights.save(path, small(), ABOUT | {"test_accuracy": 0.75})
    assert weights.load(path)[1]["test_accuracy"] == 0.75 and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("point", ["write", "rename"])
def test_nothing_half_written_stays(tmp_path, monkeypatch, point):
    """Not under the final name, where the old file stays, and not beside it."""
    path = weights.save(tmp_path / "one.safetensors", small(), ABOUT)
    before = path.read_bytes()

    def stopped(*arguments):
        raise KeyboardInterrupt

    if point == "rename":
        monkeypatch.setattr(weights.os, "replace", stopped)
    else:
        opened = os.fdopen

        class Half:
            def __init__(self, handle, mode):
                self.file = opened(handle, mode)

            def __enter__(self):
                return self

            def __exit__(self, *error):
                self.file.close()

            def write(self, blob):
                self.file.write(blob[: len(blob) // 2])
                raise KeyboardInterrupt

        monkeypatch.setattr(weights.os, "fdopen", Half)
    with pytest.raises(KeyboardInterrupt):
        weights.save(path, small(), ABOUT | {"test_accuracy": 1})
    assert [p.name for p in tmp_path.iterdir()] == ["one.safetensors"] and path.read_bytes() == before


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("about", "lacks"),
    [({}, "network, settings"), ({"network": "GoogLeNet"}, "settings"), ({"settings": {}}, "network")],
)
def test_about_must_rebuild_the_network(tmp_path, about, lacks):
    with pytest.raises(ValueError, match=f"about lacks {lacks}: a checkpoint must say how to rebuild"):
        weights.save(tmp_path / "one.safetensors", small(), about)
    assert not list(tmp_path.iterdir())


def test_about_must_be_plain(tmp_path):
    with pytest.raises(TypeError, match="JSON"):
        weights.save(tmp_path / "one.safetensors", small(), ABOUT | {"images": torch.zeros(2)})
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_not_there(shipped):
    with pytest.raises(FileNotFoundError, match="no checkpoint 'resnet'; shipped are: none"):
        weights.load("resnet")
    for name in ("b", "a"):
        weights.save(shipped / f"{name}.safetensors", small(), ABOUT)
    (shipped / "notes.txt").write_text("no checkpoint")
    with pytest.raises(FileNotFoundError, match="no checkpoint 'resnet'; shipped are: a, b$"):
        weights.load("resnet")
    with pytest.raises(FileNotFoundError, match="shipped are: a, b$"):
        weights.load(shipped / "c.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, -1], ids=["empty", "4 bytes", "100 bytes", "half", "one byte short"])
def test_a_truncated_file(tmp_path, keep):
    path = weights.save(tmp_path / "one.safetensors", small(), ABOUT)
    blob = path.read_bytes()
    path.write_bytes(blob[: int(len(blob) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match="one.safetensors is damaged or not a safetensors file"):
        weights.load(path)


@pytest.mark.parametrize(
    "about",
    [None, "not json", "null", "[1]", json.dumps({"settings": {}}), json.dumps({"network": "ResNet", "settings": {}})],
)
def test_a_file_of_something_else(tmp_path, about):
    path = tmp_path / "other.safetensors"
    path.write_bytes(to_bytes({"w": torch.zeros(2)}, metadata=about and {"about": about}))
    with pytest.raises(ValueError, match="other.safetensors (is damaged|does not say which of GoogLeNet, NIN, Plain)"):
        weights.load(path)


@pytest.mark.parametrize(
    "change",
    [{"width": 0.25}, {"norm": "lrn"}, {"aux": False}, {"norm": "batch"}, {"depth": 4}, None],
    ids=["wider", "other entries", "entries left over", "bad value", "bad name", "no settings"],
)
def test_settings_that_do_not_fit(tmp_path, change):
    path = tmp_path / "one.safetensors"
    about = {"network": "GoogLeNet"} | ({} if change is None else {"settings": SETTINGS | change})
    path.write_bytes(to_bytes(dict(small().state_dict()), metadata={"about": json.dumps(about)}))
    with pytest.raises(ValueError, match="one.safetensors does not fit the network and settings that it names"):
        weights.load(path)


def test_folder_is_the_courses_data():
    assert (weights.folder() / "README.md").is_file()


def test_folder_that_is_missing(tmp_path, monkeypatch):
    package = tmp_path / "site" / "inception_lessons"
    monkeypatch.setattr(weights, "__file__", str(package / "weights.py"))
    with pytest.raises(FileNotFoundError, match="data folder .* is missing"):
        weights.folder()
    (package / "_shipped").mkdir(parents=True)
    (package / "_shipped" / "README.md").touch()
    assert weights.folder() == package / "_shipped"  # as in an installed wheel


# ----------------------------------------------------------------------------------------------------------- references


@pytest.fixture
def reference():
    """A state dict under torchvision's names that fits ``fitting()``, every tensor of it different. (test_parity uses
    the true one.)
    """
    torch.manual_seed(0)
    return {weights._torchvision_key(k): torch.randn(v.shape).to(v.dtype) for k, v in fitting().state_dict().items()}


def fitting(**changes) -> GoogLeNet:
    settings = {"width": 0.05, "norm": "bn", "kernel5": 3, "pool4": 2, "aux_pool": "adaptive", "aux": True}
    return GoogLeNet(3, **(settings | changes))


def test_reference_names(reference):
    assert len(reference) == len(fitting().state_dict()) == 364  # torchvision's googlenet has as many, as published
    assert {"conv3.bn.running_var", "inception4e.branch3.1.conv.weight", "aux2.fc1.bias", "fc.weight"} <= set(reference)
    model = weights.load_reference(fitting(), reference)
    assert torch.equal(model.stages["4e"].branches["b5"][1].conv.weight, reference["inception4e.branch3.1.conv.weight"])
    assert torch.equal(model.aux["4d"].hidden[1].bias, reference["aux2.fc1.bias"])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda s: s.pop("inception3a.branch2.1.bn.running_mean"),
            "3a.branches.b3.1.norm.running_mean .*no such entry",
        ),
        (lambda s: s.pop("fc.bias"), "head.3.bias of ours should be fc.bias in the reference, which has no such entry"),
        (lambda s: s.update(fc2=torch.zeros(1)), "no place for, first fc2: "),
        (lambda s: s.update({"fc.weight": torch.zeros(3, 4)}), r"head.3.weight is \(3, \d+\), .*fc.weight is \(3, 4\)"),
        (lambda s: s.update({"fc.weight": s["fc.weight"].T}), r"fc.weight is \(\d+, 3\)"),
    ],
    ids=["missing", "missing last", "extra", "shape", "transposed"],
)
def test_references_that_do_not_fit(reference, spoil, sentence):
    spoil(reference)
    model = fitting()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=sentence):
        weights.load_reference(model, reference)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())  # nothing was copied by halves


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (lambda: Plain(), "knows GoogLeNet so far, not Plain"),
        (lambda: fitting(aux=False), "no place for, first aux1.conv.bn.bias: does one have auxiliary classifiers"),
        (lambda: fitting(norm="none"), "conv1.conv.bias of ours .* no such entry"),
        (lambda: fitting(kernel5=5), r"b5.1.conv.weight is \(4, 4, 5, 5\), but .* is \(4, 4, 3, 3\)"),
        (
            lambda: fitting(blocks=(2, 4, 2)),
            r"5a.branches.b1.conv.weight is \(12, 28, 1, 1\), but .* is \(12, 44, 1, 1\)",
        ),
        (lambda: fitting(module=NaiveInception), "3a.branches.b3.conv.weight has no place in torchvision's network"),
    ],
    ids=["other network", "no heads", "no norm", "5 x 5", "fewer modules", "naive"],
)
def test_networks_that_do_not_fit(reference, model, sentence):
    with pytest.raises(ValueError, match=sentence):
        weights.load_reference(model(), reference)


# ------------------------------------------------------------------------------------------- the checkpoint that ships


def test_shipped_checkpoint_is_as_good_as_it_says():
    """data/googlenet.safetensors on 1,000 of the 4,000 test images: within three standard errors of what it states.

    The 1,000 are part of the 4,000 that were scored, so three standard errors of 1,000 alone is a wide enough bound.
    """
    model, about = weights.load("googlenet")
    images = data.digits_in_the_wild()
    assert data.fingerprint(images) == about["data_sha256"], "the checkpoint was trained on another version of the data"
    stated = about["test_accuracy"]
    assert stated > 0.9
    some = torch.arange(0, 4000, 4)
    with torch.no_grad():
        logits = model(data.normalize(images.test.images[some]))
    accuracy = (logits.argmax(1) == images.test.labels[some]).float().mean().item()
    assert abs(accuracy - stated) < 3 * (stated * (1 - stated) / 1000) ** 0.5
    assert about["command"].startswith("python -m inception_lessons checkpoint") and about["validation_accuracy"] > 0.9
    assert (weights.folder() / "googlenet.safetensors").stat().st_size < 2e6
