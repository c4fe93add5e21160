"""Every network leaves Python and computes the same: as a program of torch.export, as an ONNX file in onnxruntime, and
through torch.compile. And what `inception_lessons.export` makes of one, down to 8 bits.
"""

import functools
import importlib
import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

import peers
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from inception_lessons import data, layers, measure, weights
from inception_lessons import export as leave
from inception_lessons.baselines import NIN, VGG16, AlexNet, Plain
from inception_lessons.bn_inception import BNInception
from inception_lessons.googlenet import GoogLeNet
from inception_lessons.inception_resnet import InceptionResNetV1, InceptionResNetV2
from inception_lessons.inception_v3 import InceptionV3
from inception_lessons.inception_v4 import InceptionV4

#: Each network with the paper's stem and all its modules, and the side of the paper's image.
NETWORKS = {
    "V1": (GoogLeNet, {}, 224),
    "V1 with batch norm": (GoogLeNet, {"norm": "bn", "kernel5": 3, "pool4": 2}, 224),
    "V2": (BNInception, {}, 224),
    "V3": (InceptionV3, {}, 299),
    "V4": (InceptionV4, {}, 299),
    "IR-v1": (InceptionResNetV1, {}, 299),
    "IR-v2": (InceptionResNetV2, {}, 299),
    "IR-v2 slim": (InceptionResNetV2, {"variant": "slim"}, 299),
    "AlexNet": (AlexNet, {}, 224),
    "VGG-16": (VGG16, {}, 224),
    "NIN": (NIN, {}, 224),
}
WITHOUT_NORMS = ("V1", "AlexNet", "VGG-16", "NIN")
PLAIN, FOLDED = [(name, False) for name in NETWORKS], [(name, True) for name in NETWORKS if name not in WITHOUT_NORMS]
FULL = ("V3", "IR-v2 slim")  # these go to ONNX in full size
ONNX = [case for case in PLAIN if case[0] not in FULL] + [
    (name, True) for name in ("V1 with batch norm", "V2", "IR-v1")
]


def label(value: str | bool) -> str:
    return value if isinstance(value, str) else ("whole", "folded")[value]


#: For torch.compile, which takes longer for each layer: the networks for 32 x 32 images, one module of each kind.
LAPTOP = {
    "V1": (GoogLeNet, {"blocks": (1, 1, 1)}),
    "V1 with batch norm": (GoogLeNet, {"blocks": (1, 1, 1), "norm": "bn"}),
    "V2": (BNInception, {"blocks": (1, 1, 1)}),
    "V3": (InceptionV3, {"blocks": (1, 1, 1)}),
    "V4": (InceptionV4, {}),
    "IR-v1": (InceptionResNetV1, {}),
    "IR-v2": (InceptionResNetV2, {}),
    "IR-v2 slim": (InceptionResNetV2, {"variant": "slim"}),
    "AlexNet": (AlexNet, {}),
    "VGG-16": (VGG16, {"blocks": (1, 1, 1, 1, 1)}),
    "NIN": (NIN, {}),
    "Plain": (Plain, {"width": 0.25}),
}
THIN = {"width": 0.0625}
#: A batch of one is what programs take for a constant; three is none that they were traced with.
TRACED, ASKED = 2, (1, 3)
#: Largest difference over largest logit: float32 sums in another order. Up to 2e-6 seen; a single batch norm of the
#: thin V3 whose epsilon is 1e-5 and not 1e-3 makes 2e-4 of it.
BOUND = 2e-5


@pytest.fixture(scope="module")
def onnxruntime():
    """onnxruntime, with onnx and onnxscript, which torch.onnx needs."""
    try:
        for name in ("onnx", "onnxscript"):
            importlib.import_module(name)
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        peers.absent(f"ONNX (extra: export) cannot be tested: {error}")


@pytest.fixture(scope="module")
def inductor(tmp_path_factory):
    """torch.compile's own backend writes C++: a compiler and Python's headers are needed, and a folder of its own."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++", "cl") if name):
        peers.absent("torch.compile writes C++, and there is no compiler")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        peers.absent("torch.compile writes C++ that includes Python.h, which is not there")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield "inductor"


def images(count: int, side: int) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(count))


def network(name: str, folded: bool = False, **changes) -> nn.Module:
    make, settings, _ = NETWORKS[name]
    torch.manual_seed(0)
    model = peers.randomize(make(10, **settings, **changes)).eval()
    return layers.fold(model) if folded else model


def export(model: nn.Module, side: int) -> torch.export.ExportedProgram:
    """A program for any number of images."""
    return torch.export.export(model, (images(TRACED, side),), dynamic_shapes=({0: torch.export.Dim("count")},))


@functools.cache
def thin(name: str, folded: bool) -> tuple[nn.Module, torch.export.ExportedProgram]:
    """The *unfolded* network, and the program made of it or of what is left of it when its batch norms are folded."""
    return network(name, **THIN), export(network(name, folded, **THIN), NETWORKS[name][2])


def difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


@torch.no_grad()
def check(program, model: nn.Module, side: int, batches: tuple[int, ...] = ASKED) -> None:
    """The program gives the network's logits for each batch, and they depend on the image."""
    for count in batches:
        x = images(count, side)
        logits = model(x)
        assert difference(program(x), logits) < BOUND
    assert difference(logits[:1], logits[1:2]) > 100 * BOUND


def in_onnxruntime(onnxruntime, program: torch.export.ExportedProgram, path: Path):
    """Program -> an ONNX file, checked -> a function from images to logits that knows nothing of torch's program."""
    import onnx

    names = {"input_names": ["images"], "output_names": ["logits"]}
    torch.onnx.export(program, (), path, dynamo=True, external_data=False, verbose=False, **names)
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(["logits"], {"images": x.numpy()})[0])


@pytest.mark.parametrize(("name", "folded"), PLAIN + FOLDED, ids=label)
def test_exported_program(name, folded):
    model, program = thin(name, folded)
    check(program.module(), model, NETWORKS[name][2])
    norms = sum("batch_norm" in str(node.target) for node in program.graph.nodes if node.op == "call_function")
    assert norms == (0 if folded else sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()))
    assert folded or norms or name in WITHOUT_NORMS


@pytest.mark.parametrize(("name", "folded"), ONNX, ids=label)
def test_onnx(name, folded, onnxruntime, tmp_path):
    model, program = thin(name, folded)
    check(in_onnxruntime(onnxruntime, program, tmp_path / "model.onnx"), model, NETWORKS[name][2])


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_full_size(name, onnxruntime, tmp_path):
    """What the thin networks show also holds for the paper's."""
    model, side = network(name), NETWORKS[name][2]
    program = export(model, side)
    check(program.module(), model, side)
    check(in_onnxruntime(onnxruntime, program, tmp_path / "model.onnx"), model, side)


def test_one_wrong_layer_is_noticed():
    """The comparison is as fine as its bound says: one epsilon of 1e-5 in place of 1e-3 among V3's 94."""
    model, program = thin("V3", False)
    wrong = network("V3", **THIN)
    wrong.stages["6c"].branches["b77"][2].norm.eps = 1e-5
    check(program.module(), model, 299)
    with torch.no_grad():
        assert difference(program.module()(images(3, 299)), wrong(images(3, 299))) > 5 * BOUND


def test_another_size_is_refused():
    """A program knows the image that it was made for: another one must not give logits that nobody has checked."""
    _, program = thin("V3", False)
    with pytest.raises((AssertionError, RuntimeError), match="299"):
        program.module()(images(2, 267))


# ------------------------------------------------------------------------------------------------------- torch.compile


def small(name: str) -> nn.Module:
    make, settings = LAPTOP[name]
    torch.manual_seed(0)
    torch.compiler.reset()
    return peers.randomize(make.laptop(10, **{**THIN, **settings})).eval()


@pytest.mark.parametrize("name", LAPTOP)
def test_compiles_as_one_graph(name):
    """``fullgraph``: nothing in a network sends the compiler back to Python.

    The backend runs the captured graph as it is: one second a network where C++ takes twenty.
    """
    model = small(name)
    check(torch.compile(model, fullgraph=True, backend="aot_eager"), model, 32)


@pytest.mark.parametrize("name", ["V1 with batch norm", "IR-v2"])
def test_training_compiles_as_one_graph(name):
    """Batch statistics, and sums and ReLUs in place, which the backward pass must not see overwritten."""
    model, gradients = small(name), []
    for layer in model.train().modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    for way in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        F.cross_entropy(way(images(4, 32)), torch.arange(4)).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(difference(*pair) < 1e-3 for pair in zip(*gradients, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Plain", "IR-v2"])
def test_compiles_to_machine_code(name, inductor):
    model = small(name)
    with torch.no_grad():
        check(torch.compile(model, fullgraph=True, backend=inductor), model, 32, batches=(3,))  # each one compiles anew


# ------------------------------------------------------------------------------------------- inception_lessons.export


@pytest.fixture(scope="module")
def reader():
    """The course's checkpoint, folded; test pictures and labels."""
    model, _ = weights.load("googlenet")
    split = data.digits_in_the_wild().test.take(500)
    return layers.fold(model), data.normalize(split.images), split.labels


def accuracy(logits, labels):
    return float((logits.argmax(1) == labels).float().mean())


def test_a_program_is_saved_whole_and_read_back(reader, tmp_path):
    model, pictures, _ = reader
    path = leave.save_program(model, tmp_path / "reader.pt2", 32)
    assert [p.name for p in tmp_path.iterdir()] == ["reader.pt2"]
    with torch.no_grad():
        found = torch.export.load(path).module()(pictures)
        assert measure.agreement(found, model(pictures)) == measure.Agreement(pytest.approx(0, abs=1e-6), 1.0)
    assert path.stat().st_size > 4 * sum(p.numel() for p in model.parameters())


def test_training_mode_is_refused():
    for make in (leave.to_program, lambda model, size: leave.save_program(model, "x", size)):
        with pytest.raises(ValueError, match="evaluation mode can be exported: call .eval"):
            make(nn.Conv2d(3, 3, 1).train(), 8)


def test_onnx_and_its_8_bit_form(onnxruntime, reader, tmp_path):
    """The float32 file is the network; the int8 one is a quarter of it, decides nearly as it did, and does hold
    8-bit numbers. Calibration changes what it is, so the pictures are used.
    """
    import onnx

    model, pictures, labels = reader
    path = leave.to_onnx(model, tmp_path / "reader.onnx", 32)
    some = data.normalize(data.digits_in_the_wild().train.take(60).images)
    small = leave.quantize(path, tmp_path / "small.onnx", some)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["reader.onnx", "small.onnx"], "a part was left behind"
    with torch.no_grad():
        wanted = model(pictures)
    plain, quantized = (leave.session(file, threads=1)(pictures) for file in (path, small))
    assert measure.agreement(plain, wanted).difference < BOUND and measure.agreement(plain, wanted).same == 1
    found = measure.agreement(quantized, wanted)
    assert 1e-3 < found.difference < 0.3 and found.same > 0.93
    assert accuracy(quantized, labels) > accuracy(wanted, labels) - 0.03
    numbers = sum(p.numel() for p in model.parameters())
    assert 4 * numbers < path.stat().st_size < 4.6 * numbers and small.stat().st_size < 0.5 * path.stat().st_size
    kernels = [
        t for t in onnx.load(small).graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4
    ]
    assert len(kernels) == sum(isinstance(layer, nn.Conv2d) for layer in model.modules())
    values = [abs(onnx.numpy_helper.to_array(t).astype(int)).max() for t in kernels]
    assert max(values) == 64, "seven bits: one is given away"
    blind = leave.quantize(path, tmp_path / "blind.onnx", torch.zeros(1, 3, 32, 32))
    assert accuracy(leave.session(blind)(pictures), labels) < accuracy(quantized, labels) - 0.02


def test_what_cannot_be_written_leaves_what_was_there(onnxruntime, reader, tmp_path, monkeypatch):
    path = tmp_path / "reader.onnx"
    path.write_bytes(b"before")

    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        leave.to_onnx(nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(), path, 8)
    assert path.read_bytes() == b"before" and [p.name for p in tmp_path.iterdir()] == ["reader.onnx"]


def test_what_is_not_there_is_said(onnxruntime, tmp_path):
    with pytest.raises(FileNotFoundError, match="no ONNX file nothing.onnx: export.to_onnx"):
        leave.session(tmp_path / "nothing.onnx")
    with pytest.raises(ValueError, match="calibration wants at least 1 image"):
        leave.quantize(tmp_path / "a.onnx", tmp_path / "b.onnx", torch.zeros(0, 3, 8, 8))


@pytest.mark.parametrize(
    "absent, said",
    [(("onnx", "onnxscript"), "onnx, onnxscript, which are not"), (("onnxruntime",), "onnxruntime, which is not")],
)
def test_without_the_extra_the_error_says_what_to_install(monkeypatch, absent, said):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else real(name))
    for call in (
        lambda: leave.to_onnx(nn.Identity().eval(), "x", 8),
        lambda: leave.quantize("x", "y", torch.zeros(1, 3, 8, 8)),
        lambda: leave.session("x"),
    ):
        with pytest.raises(ModuleNotFoundError, match=said) as error:
            call()
        assert 'pip install -e ".[export]"' in str(error.value)


def test_with_the_extra_nothing_is_missing(onnxruntime):
    assert leave.missing() == ""
