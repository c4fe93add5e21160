"""`inception_lessons.weights`: a checkpoint comes back bit for bit or not at all; a reference fits name by name."""

import json
import os

import pytest
import torch
from safetensors.torch import save as to_bytes
from torch import nn

from inception_lessons import data, weights
from inception_lessons.baselines import NIN, VGG16, AlexNet, Plain
from inception_lessons.bn_inception import BNInception
from inception_lessons.googlenet import GoogLeNet, NaiveInception
from inception_lessons.inception_resnet import InceptionResNetV1, InceptionResNetV2
from inception_lessons.inception_v3 import InceptionV3
from inception_lessons.inception_v4 import InceptionV4

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
    with pytest.raises(
        ValueError, match="other.safetensors (is damaged|does not say which of GoogLeNet, .*, Plain it belongs to)"
    ):
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


def fitting(**changes) -> GoogLeNet:
    settings = {"width": 0.05, "norm": "bn", "kernel5": 3, "pool4": 2, "aux_pool": "adaptive", "aux": True}
    return GoogLeNet(3, **(settings | changes))


def state_for(model: nn.Module) -> dict[str, torch.Tensor]:
    """A state dict under the library's names that fits, every tensor another. (test_parity has the true ones.)"""
    reference = weights.REFERENCES[type(model)]
    names = reference.names(model) | {f"head.{len(model.head) - 1}": name for name in reference.classifiers[:1]}
    torch.manual_seed(0)
    state = {}
    for key, value in model.state_dict().items():
        layer, _, last = key.rpartition(".")
        if layer in names:
            state[f"{names[layer]}.{last}"] = torch.randn(value.shape) if value.ndim else torch.tensor(3)
    return state


@pytest.fixture
def reference():
    return state_for(fitting())


FITTING = {
    "googlenet": (fitting, 364, "inception4e.branch3.1.conv.weight"),
    "inception_v3": (lambda: InceptionV3(3, width=0.05, aux=True), 580, "Mixed_7b.branch3x3dbl_3b.bn.running_var"),
    "inception_v3 without AuxLogits": (lambda: InceptionV3(3, width=0.05), 566, "Mixed_6e.branch7x7dbl_5.conv.weight"),
    "inception_v4": (lambda: InceptionV4(3, width=0.05), 896, "features.20.branch2_3a.conv.weight"),
    "inception_resnet_v2": (lambda: InceptionResNetV2(3, width=0.05, variant="slim"), 1306, "repeat_1.19.conv2d.bias"),
    "bninception": (
        lambda: BNInception(3, width=0.05, first="dense"),
        416,
        "inception_5b_double_3x3_2_bn.running_mean",
    ),
    "facenet": (lambda: InceptionResNetV1(3, width=0.05, variant="facenet"), 708, "repeat_3.4.branch1.2.bn.bias"),
    "alexnet": (lambda: AlexNet(3, width=0.05, variant="torchvision"), 16, "features.10.bias"),
    "vgg16": (lambda: VGG16(3, width=0.05), 32, "classifier.3.weight"),
    "vgg19_bn": (lambda: VGG16(3, width=0.05, norm="bn", blocks=(2, 2, 4, 4, 4)), 102, "features.50.running_var"),
}


@pytest.mark.parametrize(("make", "count", "entry"), FITTING.values(), ids=FITTING)
def test_every_reference_fits(make, count, entry):
    """As many entries as the library has, but for what is said in ``load_reference``; no two of ours have one name."""
    model = make()
    state = state_for(model)
    assert len(state) == count and entry in state
    assert weights.load_reference(model, state) is model
    values = [value for value in model.state_dict().values() if value.ndim]
    for value in state.values():
        assert not value.ndim or any(value.shape == ours.shape and torch.equal(value, ours) for ours in values)


def test_reference_names(reference):
    assert {"conv3.bn.running_var", "inception4e.branch3.1.conv.weight", "aux2.fc1.bias", "fc.weight"} <= set(reference)
    model = weights.load_reference(fitting(), reference)
    assert torch.equal(model.stages["4e"].branches["b5"][1].conv.weight, reference["inception4e.branch3.1.conv.weight"])
    assert torch.equal(model.aux["4d"].hidden[1].bias, reference["aux2.fc1.bias"])
    assert model.stages["4e"].branches["b1"].norm.num_batches_tracked == 3


def test_a_bias_before_batch_norm_goes_into_the_mean():
    make = FITTING["bninception"][0]
    state = state_for(make())
    bias = {key.replace("running_mean", "bias").replace("_bn.", "."): None for key in state if "running_mean" in key}
    bias = {key: torch.randn(state[key.replace("bias", "weight")].shape[0]) for key in bias}
    model = weights.load_reference(make(), state | bias)
    want = state["inception_3b_1x1_bn.running_mean"] - bias["inception_3b_1x1.bias"]
    assert torch.equal(model.stages["3b"].branches["b1"].norm.running_mean, want)
    with pytest.raises(ValueError, match=r"3b.branches.b1.norm.running_mean is \(4,\), but .*3b_1x1.bias is \(1,\)"):
        weights.load_reference(make(), state | bias | {"inception_3b_1x1.bias": torch.ones(1)})


def test_files_that_do_not_count_batches(reference):
    old = {key: value for key, value in reference.items() if not key.endswith("num_batches_tracked")}
    model = fitting()
    model.stages["4e"].branches["b1"].norm.num_batches_tracked.fill_(5)
    weights.load_reference(model, old)
    assert model.stages["4e"].branches["b1"].norm.num_batches_tracked == 0
    assert torch.equal(model.head[3].weight, reference["fc.weight"])
    del reference["inception4e.branch1.bn.num_batches_tracked"]  # one alone may not be missing
    with pytest.raises(
        ValueError, match="inception4e.branch1.bn.num_batches_tracked in the reference, which has no such"
    ):
        weights.load_reference(model, reference)


def test_facenets_head_is_left_out():
    make = FITTING["facenet"][0]
    model, state = make(), state_for(make())
    assert not any(key.startswith("head.") for key in state)
    head = model.head[3].weight.clone()
    embedding = {"last_linear.weight": torch.ones(512, 88), "last_bn.running_mean": torch.ones(512)}
    weights.load_reference(model, state | embedding | {"logits.bias": torch.ones(8631)})
    assert torch.equal(model.head[3].weight, head)
    assert torch.equal(model.stages["C6"].up.bias, state["block8.conv2d.bias"])
    with pytest.raises(ValueError, match="no place for, first fc.weight; "):
        weights.load_reference(model, state | {"fc.weight": torch.ones(3, 88)})


def test_a_classifier_with_two_names():
    """timm's inception_resnet_v2 calls it classif, pretrainedmodels' last_linear."""
    model = FITTING["inception_resnet_v2"][0]()
    state = state_for(model)
    renamed = {key.replace("classif.", "last_linear."): value for key, value in state.items()}
    assert torch.equal(weights.load_reference(model, renamed).head[3].bias, state["classif.bias"])
    with pytest.raises(ValueError, match="no place for, first last_linear.bias; "):
        weights.load_reference(model, state | renamed)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda s: s.pop("inception3a.branch2.1.bn.running_mean"),
            "3a.branches.b3.1.norm.running_mean .*no such entry",
        ),
        (lambda s: s.pop("fc.bias"), "head.3.bias of ours should be fc.bias in the reference, which has no such entry"),
        (lambda s: s.update(fc2=torch.zeros(1)), "no place for, first fc2; "),
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
        (
            lambda: fitting(aux=False),
            "no place for, first aux1.conv.bn.bias; here, .*, with aux=True where it has aux1",
        ),
        (lambda: fitting(norm="none"), "conv1.conv.bias of ours .* no such entry"),
        (lambda: fitting(kernel5=5), r"b5.1.conv.weight is \(4, 4, 5, 5\), but .* is \(4, 4, 3, 3\)"),
        (
            lambda: fitting(blocks=(2, 4, 2)),
            r"5a.branches.b1.conv.weight is \(12, 28, 1, 1\), but .* is \(12, 44, 1, 1\)",
        ),
        (
            lambda: fitting(module=NaiveInception),
            "3a.branches.b1.conv.weight has no place in torchvision's googlenet; here, torchvision's",
        ),
    ],
    ids=["no heads", "no norm", "5 x 5", "fewer modules", "naive"],
)
def test_networks_that_do_not_fit(reference, model, sentence):
    with pytest.raises(ValueError, match=sentence):
        weights.load_reference(model(), reference)


@pytest.mark.parametrize(
    ("kind", "settings", "source", "sentence"),
    [
        (BNInception, {}, "bninception", r"stages.conv1.depthwise.weight has no place in .*, believe=\"filters\""),
        (
            BNInception,
            {"first": "dense", "believe": "sizes", "width": 0.2},
            "bninception",
            r"is \(12, 3, 7, 7\), but .* is \(4, 3, 7, 7\)",
        ),
        (
            InceptionV3,
            {"aux": True},
            "inception_v3 without AuxLogits",
            "aux.6e.conv.conv.weight of ours .* AuxLogits.conv0",
        ),
        (InceptionV3, {}, "inception_v3", "no place for, first AuxLogits.conv0.bn.bias; .* aux=True where"),
        (InceptionV4, {"aux": True}, "inception_v4", "aux.B7.conv.conv.weight has no place in timm's inception_v4; "),
        (InceptionV4, {"blocks": (4, 7, 2)}, "inception_v4", "no place for, first features.21.branch0.bn.bias; "),
        (
            InceptionV4,
            {"blocks": (4, 8, 3)},
            "inception_v4",
            "stages.B8.branches.b1.conv.weight has no place in timm's",
        ),
        (InceptionResNetV1, {}, "facenet", r"no place for, first block8.branch0.bn.bias; .* is .*variant=\"facenet\""),
        (InceptionResNetV2, {}, "inception_resnet_v2", "stages.3a.branches.b3.conv.weight has no place in timm's "),
        (AlexNet, {}, "alexnet", r"stages.conv2.conv.weight of ours .* features.4.weight .*variant=\"torchvision\""),
        (VGG16, {"norm": "bn"}, "vgg16", "stages.conv1_1.norm.weight of ours should be features.1.weight in the"),
        (
            VGG16,
            {},
            "vgg19_bn",
            "stages.conv1_1.conv.bias of ours should be features.0.bias in the reference",
        ),
    ],
)
def test_forms_that_nobody_published(kind, settings, source, sentence):
    """Each refusal says which form of ours is the library's network."""
    state = state_for(FITTING[source][0]())
    with pytest.raises(ValueError, match=sentence):
        weights.load_reference(kind(3, **({"width": 0.05} | settings)), state)


def test_networks_without_a_reference():
    for model in (NIN.laptop(), Plain()):
        name = type(model).__name__
        sentence = f"no reference is known for {name}; there are torchvision's googlenet, as GoogLeNet.*vgg16, as VGG16"
        with pytest.raises(ValueError, match=sentence):
            weights.load_reference(model, {})


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
