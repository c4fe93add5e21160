"""The templates for contributors are what the course itself is: they keep its rules, run, learn, and are judged."""

import ast
import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import execute_notebooks
import marking
import nbformat
import notebook_rules
import peers
import pytest
import torch
from test_networks import losses
from test_tables import firsts, rows_of

from inception_lessons import checks, data, experiments, layers, measure
from inception_lessons.experiments import engine

TEMPLATES = notebook_rules.ROOT / ".github" / "templates"
PAGE = notebook_rules.ROOT / ".github" / "CONTRIBUTING.md"


def loaded(name: str):
    """A template's module, from its file."""
    spec = importlib.util.spec_from_file_location(f"template_{name}", TEMPLATES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------------------------------------------------- the page


def test_the_page_leads_to_every_template_and_to_what_is_there():
    text = PAGE.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    for link in links:
        assert (PAGE.parent / link.split("#")[0]).exists(), f"CONTRIBUTING.md links to {link}, which is not there"
    assert {f"templates/{path.name}" for path in TEMPLATES.iterdir() if path.is_file()} == {
        link for link in links if link.startswith("templates/")
    }
    root, targets = notebook_rules.ROOT, (notebook_rules.ROOT / "Makefile").read_text(encoding="utf-8")
    for name in re.findall(r"`make (\w+)", text):
        assert re.search(rf"^{name}:", targets, re.MULTILINE), f"there is no make {name}"
    paths = re.findall(r"`((?:tests|notebooks|inception_lessons|data)/[\w./-]*)`", text)
    assert len(paths) > 15
    for path in paths:
        assert (root / path).exists(), f"CONTRIBUTING.md names {path}, which is not there"
    assert not re.search(r"https?://|@\w+\.\w", text), "the project has no address yet"


# ----------------------------------------------------------------------------------------------------- lesson, exercise


@pytest.mark.parametrize("name", ["lesson", "exercise"])
def test_a_notebook_keeps_the_rules_where_it_will_lie(name):
    """Links are followed from notebooks/, where a copy of the template goes."""
    page = notebook_rules.read(TEMPLATES / f"{name}.ipynb")
    page.path = notebook_rules.ROOT / "notebooks" / f"{name}.ipynb"
    rules = [rule for rule in notebook_rules.RULES if rule is not notebook_rules.leads_on]  # which pages it will have
    assert [sentence for rule in rules for sentence in rule(page)] == []  # beside it nobody knows yet
    if name == "lesson":
        first, last = page.notebook["cells"][0]["source"], page.notebook["cells"][-1]["source"]
        assert first.split("\n\n")[1] == last.split("\n\n")[-1] and "(ledger.ipynb)" in last


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lesson", "exercise"])
def test_a_notebook_runs_and_says_what_is_stored(name, capsys):
    assert execute_notebooks.main([str(TEMPLATES / f"{name}.ipynb"), "--check"]) == 0, capsys.readouterr()
    assert "nothing changed" in capsys.readouterr().out


def headings(path: Path) -> list[str]:
    """The headings of level 2, as every lesson has them; what is said in some of them is a lesson's own."""
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def test_a_lesson_has_the_headings_of_the_lessons():
    wanted = headings(TEMPLATES / "lesson.ipynb")
    assert len(wanted) == 10
    for path in sorted((notebook_rules.ROOT / "notebooks").glob("0*.ipynb")):
        found = [heading.replace("The claims and their verdicts", "The claim and its verdict") for heading in
                 headings(path)]  # fmt: skip
        assert found[:6] == wanted[:6] and sorted(found) == sorted(wanted), path.name


@pytest.fixture(scope="module")
def exercise():
    """The exercise of the template, as the masters of assignments are read."""
    cells = nbformat.read(TEMPLATES / "exercise.ipynb", 4).cells
    of = {cell.metadata["nbgrader"]["grade_id"]: cell for cell in cells if "nbgrader" in cell.metadata}
    assert list(of) == ["exercise_7_1", "check_7_1", "hidden_7_1"]
    head = [cell.source for cell in cells if cell.cell_type == "code" and "nbgrader" not in cell.metadata]
    points = {kind: of[f"{kind}_7_1"].metadata["nbgrader"]["points"] for kind in ("check", "hidden")}
    texts = (of[f"{kind}_7_1"].source for kind in ("exercise", "check", "hidden"))
    return marking.Exercise("7.1", *texts, points, head)


def test_right_answers_get_full_marks_and_a_blank_none(exercise):
    answers = loaded("exercise_answers")
    assert len(answers.RIGHT["7.1"]) >= 2 and exercise.points == {"check": 2, "hidden": 3}
    for what, text in {"the reference": exercise.solution, **answers.RIGHT["7.1"]}.items():
        points, said = marking.judged(exercise, text)
        assert points == 5, f"{what}: {said}"
    assert exercise.stub != exercise.solution
    assert marking.judged(exercise, exercise.stub) == (0, ["7.1: Exercise 7.1 is not written yet."] * 2)


def test_wrong_answers_are_named(exercise):
    wrong, sentences = loaded("exercise_answers").WRONG["7.1"], {}
    assert len(wrong) >= 5
    for answer in wrong:
        points, said = marking.judged(exercise, answer.text(exercise))
        own = next((sentence for sentence in said if answer.says in sentence), None)
        assert own and points == answer.keeps < 5, f"{answer.name}: {points} points, {said}"
        assert own not in sentences, f"{answer.name} is told the same as {sentences[own]}"
        sentences[own] = answer.name


@pytest.mark.slow
def test_mutants_of_the_reference_are_caught(exercise):
    known, made = loaded("exercise_answers").EQUIVALENT["7.1"], list(marking.mutants(exercise.solution))
    survivors = [what for what, text in made if marking.fails(exercise, text) is None]
    assert len(made) >= 10 and sorted(survivors) == sorted(known)


# -------------------------------------------------------------------------------------------------------------- network


@pytest.fixture(scope="module")
def network():
    return loaded("network")


def test_the_last_column_of_the_network_is_true(network):
    tables = rows_of((TEMPLATES / "network.py").read_text(encoding="utf-8"))
    with torch.device("meta"):
        full, small = network.SqueezeNet(), network.SqueezeNet(10, stem="small")
    assert {key: len(rows) for key, rows in tables.items()} == {
        ("SqueezeNet", "full"): 2, ("SqueezeNet", "small"): 1, ("SqueezeNet", "table"): 12,
    }  # fmt: skip
    measured = [(row.name, row.shape) for row in measure.stages(full, 224) if row.name != "head"]
    assert firsts(tables["SqueezeNet", "full"] + tables["SqueezeNet", "table"]) == measured
    assert firsts(tables["SqueezeNet", "small"]) == [(s.name, s.shape) for s in measure.stages(small, 32)][:1]
    assert measure.count(full, 224).params == 1_248_424  # torchvision's squeezenet1_0


def test_the_network_is_torchvisions_under_its_weights(network):
    torch.manual_seed(0)
    theirs, ours = peers.torchvision().models.squeezenet1_0().eval(), network.SqueezeNet(last="relu").eval()
    own, parts = ours.state_dict(), {"squeeze.conv": "squeeze", "branches.b1.conv": "expand1x1"}
    parts |= {"branches.b3.conv": "expand3x3", "conv": ""}
    for name in own:
        _, stage, *middle, kind = name.split(".")
        path = [network.NAMES[stage], parts[".".join(middle)], kind]
        own[name] = theirs.state_dict()[".".join(filter(None, path))]
    ours.load_state_dict(own)
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize(("norm", "steps", "rate"), [("none", 200, 2e-3), ("bn", 60, 1e-2)])
def test_the_network_memorizes_eight_images(network, norm, steps, rate):
    torch.manual_seed(0)
    assert min(losses(network.SqueezeNet.laptop(norm=norm, dropout=0.0), steps, rate)) < 0.05


def test_the_network_refuses_what_it_cannot_be(network):
    wrongs = ({"norm": "lrn"}, {"last": "sigmoid"}, {"stem": "large"}, {"width": 0}, {"num_classes": 0}, {"dropout": 2})
    for wrong in wrongs:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            network.SqueezeNet(**wrong)
    with pytest.raises(TypeError, match="epsilon"):
        network.SqueezeNet(epsilon=1)
    for stem, least in (("full", 21), ("small", 7)):
        model = network.SqueezeNet(10, stem=stem, width=0.05).eval()
        assert model(torch.zeros(1, 3, least, least)).shape == (1, 10)
        with pytest.raises(ValueError, match=f"at least {least} x {least}"):
            model(torch.zeros(1, 3, least - 1, least - 1))
    assert issubclass(network.SqueezeNet, layers.Network)


# ---------------------------------------------------------------------------------------------------------------- claim


@pytest.fixture
def claim(monkeypatch):
    """The template's claim, which is forgotten again afterwards."""
    monkeypatch.setattr(engine, "EXPERIMENTS", dict(engine.EXPERIMENTS))
    module = loaded("claim")
    assert "X1" in engine.EXPERIMENTS and "X1" not in experiments.EXPERIMENTS
    return module.x1


def test_the_claim_runs_and_gives_a_verdict(claim):
    """At smoke size: three steps, 64 pictures, five seeds of each arm."""
    generator = torch.Generator().manual_seed(0)

    def split(count):
        pixels = torch.randint(0, 256, (count, 32, 32, 3), generator=generator).to(torch.uint8)
        return data.Split(pixels, torch.arange(count) % 10)

    images = data.ImageSet("made up", split(64), split(32), split(32), tuple("0123456789"), "made here")
    recipe = replace(claim.recipe, steps=3, batch_size=16, lr=claim.rates[0])
    runs = [
        {"arm": name, "seed": seed} | claim.measure(arm, recipe, seed, images, True)
        for name, arm in claim.arms.items()
        for seed in range(5)
    ]
    found = claim.verdict(runs)
    assert found.word in experiments.VERDICTS and re.search(r"[+-]0\.\d{3} \[", found.sentence)
    assert {run["steps_to"] for run in runs} == {3}  # nobody is at a loss of 1.5 after three steps
    assert {run["macs"] for run in runs} == {runs[0]["macs"]}, "the arms differ in one thing, which costs nothing"
    with pytest.raises(ValueError, match="at least 5 seeds"):
        claim.verdict(runs[1:])


@pytest.mark.parametrize(
    ("gain", "word"),
    [(0.2, "holds"), (0.03, "holds in part"), (0.0, "does not hold at this size"), (-0.1, "the opposite holds")],
)
def test_the_claims_rule_is_the_one_that_its_threshold_says(claim, gain, word):
    wobble = (-0.004, -0.002, 0.0, 0.002, 0.004)
    runs = [
        {"arm": name, "seed": seed, "steps_to": 100 + seed, "test_accuracy": 0.5 + first * (gain + wobble[seed])}
        for name, first in zip(claim.arms, (1, 0), strict=True)
        for seed in range(5)
    ]
    assert claim.verdict(runs).word == word
    assert "+0.05" in claim.threshold and "differ in one thing" in (TEMPLATES / "claim.py").read_text(encoding="utf-8")


def test_templates_are_python_that_says_what_it_is():
    for path in TEMPLATES.glob("*.py"):
        assert len(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))) > 80, path.name
    assert checks.exercise_of("check_7_1") == "7.1"
