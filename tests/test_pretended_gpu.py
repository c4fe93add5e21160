"""What a GPU would trip over, without one: data -> model -> train -> look and every lesson, on a pretended card.

The stored outputs are the same on a CPU and on a GPU, so nbval compares them here, too. Three lessons run each time:
one that trains, one that measures along the way, one that looks. All of them, which takes minutes, run once a week and
with

    EVERY_LESSON=1 pytest tests/test_pretended_gpu.py
"""

import contextlib
import copy
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pretended_gpu
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook
from torch import nn

from inception_lessons import data, experiments, googlenet, look, measure, train

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("0[0-9]_*.ipynb"))
SOME = LESSONS if os.environ.get("EVERY_LESSON") else [LESSONS[k] for k in (1, 5, 8)]


@pytest.fixture
def card():
    with pretended_gpu.installed():
        yield "cuda"
    assert torch.ones(1).device.type == "cpu" and train.device() == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def images():
    return data.digits_in_the_wild()


def test_what_is_on_the_card_stays_there(card):
    x = torch.arange(6.0).reshape(2, 3).to(card)
    assert x.device == (x + 1).device == x[0].device == x.T.device == torch.zeros(2, device=card).device
    assert x.is_cuda and not x.cpu().is_cuda and not x.to("cpu").is_cuda and x.to(torch.float64).is_cuda
    assert x.sum().item() == 15 and x.cpu().numpy().sum() == 15 and x.tolist()[1] == [3, 4, 5]
    values, places = x.max(1)
    assert values.is_cuda and places.is_cuda and all(each.is_cuda for each in x.unbind())
    assert torch.ones(2).to(x).is_cuda and x.to(torch.ones(1)).device.type == "cpu"
    layer = nn.BatchNorm1d(3).to(card)
    assert layer.weight.is_cuda and layer.running_mean.is_cuda and copy.deepcopy(layer).weight.is_cuda
    layer(x).sum().backward()
    assert layer.weight.grad.is_cuda and not copy.deepcopy(layer).cpu().weight.is_cuda
    assert x[torch.tensor([1])].is_cuda, "an index may come from the processor"
    here = torch.zeros(2, 3)
    here.copy_(x)
    assert not here.is_cuda and here.sum() == 15 and (x * torch.tensor(2.0)).is_cuda, "so may a single number"


MIXED = {
    "a sum": lambda x, here: x + here,
    "the other way round": lambda x, here: here + x,
    "a list": lambda x, here: torch.cat([x, here]),
    "a layer": lambda x, here: nn.Linear(3, 2)(x),
    "a layer there": lambda x, here: nn.Linear(3, 2).to("cuda")(here),
    "a choice": lambda x, here: torch.where(x > 0, x, here),
    "a comparison": lambda x, here: torch.equal(x, here),
    "an index": lambda x, here: here[x > 2],
    "an index written to": lambda x, here: here.__setitem__(x > 2, 0.0),
    "a gathering": lambda x, here: x.index_select(0, torch.tensor([0])),
    "random numbers": lambda x, here: torch.rand(2, device="cuda", generator=torch.Generator()),
    "random numbers in place": lambda x, here: x.uniform_(generator=torch.Generator()),
}


@pytest.mark.parametrize("mistake", MIXED)
def test_what_a_gpu_refuses_is_refused(card, mistake):
    x, here = torch.arange(6.0).reshape(2, 3).to(card), torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="same device|'cuda' device type for generator"):
        MIXED[mistake](x, here)


def test_numpy_is_refused(card):
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        torch.ones(2, device=card).numpy()


def small(seed=0):
    torch.manual_seed(seed)
    return googlenet.GoogLeNet.laptop(10, width=0.125, norm="bn", aux=True)


@pytest.mark.parametrize("recipe", [{}, {"optimizer": "adamw", "lr": 0.01, "clip": 1.0, "average": 0.9}], ids=str)
def test_training_and_scores_are_the_processors(images, recipe):
    """The card computes what the processor does, so a difference is a mistake of ours."""
    recipe, augment = train.Recipe(steps=6, batch_size=16, **recipe), data.Augment(2, True)
    parts = images.train.take(64), images.validation.take(40)

    def run(device):
        model = small()
        options = {"augment": augment, "device": device, "progress": False, "validate_every": 3}
        history = train.fit(model, *parts, recipe, **options)
        scores = train.evaluate(model, parts[1])
        logits, labels = train.predict(model, parts[1])
        assert logits.device.type == labels.device.type == "cpu", "what is looked at is on the processor"
        assert {p.device.type for p in model.parameters()} == {device}
        return history.loss, history.validation, scores, logits

    with pretended_gpu.installed():
        *there, logits = run("cuda")
    *here, wanted = run("cpu")
    assert there == here and torch.equal(logits, wanted)


def test_claims_that_measure_along_the_way_count_steps_and_not_losses(images):
    """A GPU's losses are read every 25 steps: who counts them looks at other moments."""
    found = {}
    for device in ("cuda", "cpu"):
        with pretended_gpu.installed() if device == "cuda" else contextlib.nullcontext():
            bands = experiments.run_one("B3", "batch norm", rate=1.0, steps=60, final=True)["unit"]
            gaps = experiments.run_one("L1", "1,500 images, smoothing", rate=0.1, steps=100, final=True)["gap_by_step"]
        found[device] = bands, gaps
    assert found["cuda"] == found["cpu"] and [len(looks) for looks in found["cpu"]] == [3, 2]


def test_looking_and_measuring_take_a_network_on_the_card(card, images):
    model, pictures = small().to(card).eval(), images.validation.take(4).images
    found = look.activations(model, pictures)
    assert {each.device.type for each in found.values()} == {"cpu"}
    assert measure.count(model, 32) == measure.count(small(), 32)
    assert measure.speed(model, 32, batch=2, burn_in=0, batches=2, backward=True).mean > 0
    assert experiments.hardware().endswith("a pretended GPU")


def test_occlusion_takes_labels_on_the_card(images):
    some, options = images.validation.take(2), {"patch": 16, "stride": 16}
    wanted = look.occlusion(small(), some.images, some.labels, **options)
    with pretended_gpu.installed():
        found = look.occlusion(small().to("cuda"), some.images.to("cuda"), some.labels.to("cuda"), **options)
    assert found.device.type == "cpu" and torch.equal(found, wanted)


def test_measurements_of_the_claims_take_a_network_on_the_card(images):
    """Pictures come from the data set, on the processor."""

    def run(device):
        torch.manual_seed(0)
        pictures = data.normalize(images.train.take(8).images)
        residual = experiments.lesson_05.network(10, "residual").to(device)
        found = experiments.signal_by_depth(residual, pictures), experiments.dead_channels(residual, pictures)
        return *found, experiments.lesson_01.stem_gradient(small().to(device), images, 0.3, examples=8)

    with pretended_gpu.installed():
        there = run("cuda")
    assert there == run("cpu")


# ------------------------------------------------------------------------------------------------------------- lessons


def nbval(path: Path, tmp_path: Path) -> subprocess.CompletedProcess:
    """A notebook at smoke size under strict nbval, in a kernel that has the card."""
    (tmp_path / "sitecustomize.py").write_text("import pretended_gpu\n\npretended_gpu.start()\n", encoding="utf-8")
    places = [str(tmp_path), str(ROOT / "tests"), str(ROOT)]
    given = {"LESSON_BUDGET": "smoke", "IPYTHONDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    command += ["--nbval-cell-timeout=300", "--nbval-sanitize-with=tests/nbval_sanitize.cfg", str(path)]
    environment = os.environ | given | {"PYTHONPATH": os.pathsep.join(places)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", SOME, ids=lambda path: path.stem)
def test_a_lesson_runs_on_the_card(path, tmp_path):
    ran = nbval(path, tmp_path)
    assert ran.returncode == 0, ran.stdout[-6000:]


@pytest.mark.slow
def test_a_lesson_with_a_picture_here_and_a_network_there_fails(tmp_path):
    cells = [
        "from inception_lessons import data, googlenet, train",
        "network = googlenet.GoogLeNet.laptop(10).to(train.device())",
        "print(train.device(), network(data.digits_in_the_wild().validation.take(2).images).shape)",
    ]
    cell = new_code_cell("\n".join(cells), metadata={"tags": ["nbval-ignore-output"]})
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "planted.ipynb")
    ran = nbval(tmp_path / "planted.ipynb", tmp_path)
    assert ran.returncode == 1 and "Expected all tensors to be on the same device" in ran.stdout
