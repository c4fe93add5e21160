"""The set-up files agree with each other, and .ci/setup.py keeps its promises. No network is needed or used."""

import ast
import importlib.metadata
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import rattler
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
TARGETS = ["lab", "test", "site", "notebooks", "bench", "lint", "clean"]


def load_setup():
    spec = importlib.util.spec_from_file_location("course_setup", ROOT / ".ci" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup = load_setup()


def pins() -> dict[str, Version]:
    """Canonical name -> the version that constraints.txt asks for."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def requirements() -> list[Requirement]:
    """Everything that pyproject.toml asks for, all extras included."""
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for lines in [PROJECT["dependencies"], *extras] for line in lines]


# --- the files agree -------------------------------------------------------------------------------------------------


def conda_lines() -> list[str]:
    return [line for line in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"] if line != "pip"]


def test_conda_and_pip_ask_for_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert (environment["name"], environment["channels"]) == (PROJECT["name"], ["conda-forge"])
    wanted = {("python", PROJECT["requires-python"])}
    for requirement in map(Requirement, PROJECT["dependencies"]):
        wanted.add((CONDA_NAMES.get(requirement.name, requirement.name), str(requirement.specifier)))
    *lines, by_pip = conda_lines()
    assert by_pip == {"pip": ["-e ."]} and "pip" in environment["dependencies"]
    assert sorted(tuple(line.split()) for line in lines) == sorted(wanted)


def test_conda_reads_each_line():
    for line in conda_lines()[:-1]:
        assert rattler.MatchSpec(line, strict=True).version is not None
    with pytest.raises(Exception, match="version"):
        rattler.MatchSpec("pytorch >=>2.6", strict=True)


def test_constraints_are_exact_and_public():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9][\w.-]*==\d[\w.]*", line), f"not one exact, public version: {line}"
        assert not re.match(r"(nvidia|cuda|triton|pip|inception)", line), f"does not belong here: {line}"
    assert len(pins()) == len(lines), "a package is named twice"


def test_constraints_fit_pyproject():
    for requirement in requirements():
        pin = pins().get(canonicalize_name(requirement.name))
        assert pin is not None, f"constraints.txt has no version for {requirement.name}"
        assert requirement.specifier.contains(pin), f"{requirement} is asked for, constraints.txt has {pin}"


def as_pinned() -> dict[str, importlib.metadata.Distribution]:
    """The packages that are installed here in the version of constraints.txt, by canonical name."""
    packages = {canonicalize_name(found.name): found for found in importlib.metadata.distributions()}
    wanted = {name: str(version) for name, version in pins().items()}
    return {name: found for name, found in packages.items() if Version(found.version).public == wanted.get(name)}


BASE = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]} - {"torch"}  # may be kept
needs_pins = pytest.mark.skipif(not BASE <= set(as_pinned()), reason="not an environment made with constraints.txt")


@needs_pins
def test_constraints_reach_what_the_packages_need():
    """Walks the installed packages from pyproject.toml on; what a CUDA torch needs is torch's own business."""
    installed, seen = as_pinned(), set()
    todo = [(requirement, "") for requirement in requirements()]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if re.match(r"nvidia|cuda|triton", name):
            continue
        assert name in pins(), f"constraints.txt has no version for {name}"
        for wanted in requirement.extras | {""}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                needs = installed[name].requires if name in installed else None
                todo += [(Requirement(need), wanted) for need in needs or []]
    assert len(seen) > 80


@needs_pins
def test_constraints_hold_for_the_first_python_311():
    """Debian 12 has 3.11.2: a pin that wants 3.11.5 would stop the set-up there."""
    for name, distribution in as_pinned().items():
        wants = distribution.metadata["Requires-Python"] or ""
        assert Requirement(f"python{wants}").specifier.contains("3.11.0"), f"{name} wants {wants}"


def test_citation_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation) and citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == PROJECT["version"] and citation["title"] == "Inception Lessons"
    papers = {reference["identifiers"][0]["value"] for reference in citation["references"]}
    assert papers == {f"arXiv:{n}" for n in ("1312.4400", "1409.4842", "1502.03167", "1512.00567", "1602.07261")}
    assert all({"type", "title", "authors"} <= set(reference) for reference in citation["references"])
    licence = (ROOT / "LICENSE").read_text()
    assert "MIT License" in licence and "https://creativecommons.org/licenses/by/4.0/" in licence


def test_the_version_is_said_once():
    source = (ROOT / "inception_lessons" / "__init__.py").read_text()
    assert re.search(r'__version__ = "(.+)"', source).group(1) == PROJECT["version"]


# --- make and the workflows ------------------------------------------------------------------------------------------


def run(*command):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    options = {"cwd": ROOT, "env": environment, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    return subprocess.run(command, timeout=60, **options)


def test_make_alone_lists_every_target():
    said = run("make")
    assert said.returncode == 0 and len(said.stdout.splitlines()) < 10
    for target in TARGETS:
        assert f"make {target} " in said.stdout, f"make does not tell of {target}"
        planned = run("make", "-n", target)
        assert planned.returncode == 0, planned.stderr


def test_make_passes_on_what_was_asked():
    lab = run("make", "-n", "lab", "ARGS=--no-browser").stdout
    assert lab.index("inception_lessons assignments copy") < lab.index("jupyterlab")  # a learner's copies come first
    assert "notebooks/00_start_here.ipynb" in lab and "--no-browser" in lab and "--ip=127.0.0.1" in lab
    assert (ROOT / "notebooks" / "00_start_here.ipynb").exists()
    test = run("make", "-n", "test").stdout
    for part in ("tests,parity,export,course,hub,site", "pytest tests", "--nbval ", "--nbval-cell-timeout=300"):
        assert part in test
    assert "notebooks/*.ipynb notebooks/assignments/*/*.ipynb" in test
    assert test.index("pytest tests") < test.index("--nbval ")


def test_ci_runs_make_on_a_new_machine():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK) and run("bash", "-n", str(script)).returncode == 0
    lines = script.read_text().splitlines()
    assert "set -euo pipefail" in lines and "export CI=true" in lines and lines[-2:] == ["make lint", "make test"]


@pytest.fixture
def machine(tmp_path):
    """A machine made of links and small scripts, with nothing else on its PATH -> a function that runs .ci/run there.

    `tools` are there and do nothing; python3 has the modules in `python`, or is not there where that is None; `root`
    may install with an apt-get that lays what it is asked for, but for what is in `never`. What make and apt-get were
    asked is in the file `asked`.
    """
    bin, asked, bash = tmp_path / "bin", tmp_path / "asked", shutil.which("bash")
    bin.mkdir()
    asked.touch()

    def write(name: str, *lines: str):
        (bin / name).write_text("\n".join([f"#!{bash}", *lines, ""]))
        (bin / name).chmod(0o755)

    def start(tools, python="ensurepip Python.h", root=True, apt=True, never=""):
        for name in ("bash", "dirname", "ln"):
            (bin / name).symlink_to(shutil.which(name))
        write("tool", f'echo "${{0##*/}} $@" >> "{asked}"')  # it goes by the name that it is called by
        for name in tools.split():
            (bin / name).symlink_to(bin / "tool")
        write("id", f"echo {0 if root else 1000}")
        if python is not None:
            lacks = [f'[[ "$2" != *{part}* ]] || exit 1' for part in ("ensurepip", "Python.h") if part not in python]
            write("python3", *lacks, "exit 0")
        if apt:
            lay = [
                f'echo "apt-get $@" >> "{asked}"; [ "$1" = install ] || exit 0; cd "{bin}"',
                f'for package in "$@"; do [[ " {never} " = *" $package "* ]] || case "$package" in',
                "g++) ln -sf tool c++ ;; python3-*) ln -sf tool python3 ;; -*) ;; *) ln -sf tool $package;; esac; done",
            ]
            write("apt-get", *lay)
        command = [str(bin / "bash"), str(ROOT / ".ci" / "run")]
        said = subprocess.run(command, env={"PATH": str(bin)}, capture_output=True, text=True, timeout=60)
        return said, asked.read_text().splitlines()

    return start


FULL = "make chromium c++"
TESTED = ["make lint", "make test"]


def test_ci_asks_for_nothing_where_all_is_there(machine):
    said, asked = machine(FULL)
    assert (said.returncode, asked) == (0, TESTED), said.stderr


@pytest.mark.parametrize(
    "tools, python, packages",
    [
        ("make google-chrome c++", "Python.h", "python3-venv"),  # Debian without pip and venv
        ("make chrome c++", None, "python3-venv python3-dev"),
        ("", "ensurepip", "make chromium g++ python3-dev"),
    ],
)
def test_ci_installs_what_is_lacking(machine, tools, python, packages):
    said, asked = machine(tools, python)
    install = [line for line in asked if line.startswith("apt-get install")]
    assert install == [f"apt-get install -y -qq --no-install-recommends {packages}"]
    assert said.returncode == 0 and asked[-2:] == TESTED, said.stderr


@pytest.mark.parametrize(
    "tools, lack, case",
    [
        ("make c++", "chromium", {"root": False}),
        ("chromium", "make g++ python3-venv", {"root": False, "python": "Python.h"}),
        ("make c++", "chromium", {"apt": False}),  # not Debian
        ("make c++", "chromium", {"never": "chromium"}),  # Ubuntu's package of that name brings none
    ],
)
def test_ci_says_at_once_what_cannot_be_had(machine, tools, lack, case):
    said, asked = machine(tools, **case)
    assert said.returncode == 1 and f".ci/run: this machine lacks {lack}, by the names" in said.stderr, said.stderr
    assert not any(line.startswith("make") for line in asked) and "not found" not in said.stderr


WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_workflow(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"} and True in workflow  # YAML reads the key `on` as true
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert any("make test" in step.get("run", "") for step in steps)
    for step in steps:
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), f"not pinned: {step['uses']}"
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 90
        if "strategy" in job:
            assert job["strategy"]["fail-fast"] is False, "one version's failure would hide the others'"


def rows(job: dict) -> set[tuple[str, str]]:
    """A job's matrix -> {(python, versions)}, as GitHub makes them of lists and of rows to include."""
    matrix = dict(job["strategy"]["matrix"])
    more = {(row["python"], row["versions"]) for row in matrix.pop("include", [])}
    return more | set(itertools.product(matrix["python"], matrix["versions"]))


def test_every_python_and_both_ends_of_the_versions_are_tested():
    tested = rows(WORKFLOWS["test"]["jobs"]["cpu"])
    pythons = {python for python, _ in tested}
    assert f">={min(pythons, key=Version)}" == PROJECT["requires-python"]
    assert pythons >= {"3.11", "3.12", "3.13"} and tested >= {(python, "pinned") for python in pythons}
    assert (min(pythons, key=Version), "oldest") in tested, "old packages have no wheels for a new Python"
    assert any(versions == "newest" for _, versions in tested)
    assert {"schedule", "workflow_dispatch"} == set(WORKFLOWS["weekly"][True])


def torch_step(name: str) -> str:
    (job,) = WORKFLOWS[name]["jobs"].values()
    return next(step["run"] for step in job["steps"] if "CPU build of torch" in step.get("name", ""))


@pytest.mark.parametrize("versions", ["pinned", "oldest", "newest"])
def test_the_torch_that_a_workflow_installs(versions, tmp_path):
    """Its own lines, run by bash with a python that only writes down what it was asked."""
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "python").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "VERSIONS": versions}
    command = ["bash", "-euo", "pipefail", "-c", torch_step("test")]
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    oldest = next(line for line in PROJECT["dependencies"] if line.startswith("torch>=")).replace(">=", "==")
    wanted = {"pinned": f"torch=={pins()['torch']}", "oldest": oldest, "newest": "torch"}[versions]
    assert said.stdout == f"-m pip install {wanted} --index-url https://download.pytorch.org/whl/cpu\n", said.stderr


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_setup_takes_what_a_workflow_passes(name):
    """A word that .ci/setup.py does not know would stop the job at its first step, and is seen here before."""
    (job,) = WORKFLOWS[name]["jobs"].values()
    passed = re.findall(r'SETUP="--versions ([^"]+)"', " ".join(step.get("run", "") for step in job["steps"]))
    assert (len(passed) > 0) is (name != "gpu")
    for word in passed:
        words = {versions for _, versions in rows(job)} if "matrix" in word else {word}
        assert words <= {"pinned", "oldest", "newest"}


def test_the_workflows_are_there():
    assert set(WORKFLOWS) == {"test", "gpu", "weekly"}


# --- .ci/setup.py ----------------------------------------------------------------------------------------------------


def test_an_old_python_gets_a_sentence():
    assert setup.wrong_python((3, 11, 0), "python") is None and setup.wrong_python((4, 0, 0), "python") is None
    assert setup.wrong_python((3, 9, 1), "/usr/bin/python3") == (
        "Inception Lessons needs Python 3.11 or newer; this is Python 3.9.1 at /usr/bin/python3. "
        "Install one, or say which: make lab PYTHON=python3.12"
    )


def test_setup_is_written_for_an_old_python():
    """Python 2.7 has no f-strings, annotations, keyword-only arguments, `raise from`, walrus or unpacking displays."""
    tree = ast.parse((ROOT / ".ci" / "setup.py").read_text())
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Match, ast.AsyncFunctionDef, ast.Nonlocal, ast.YieldFrom)
    for node in ast.walk(tree):
        assert not isinstance(node, new), f"line {node.lineno}: {type(node).__name__} is too new"
        if isinstance(node, ast.arguments):
            arguments = node.args + [argument for argument in (node.vararg, node.kwarg) if argument]
            assert not node.kwonlyargs and not node.posonlyargs and not any(a.annotation for a in arguments)
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None
        if isinstance(node, ast.Raise):
            assert node.cause is None
        if isinstance(node, ast.Starred):
            raise AssertionError(f"line {node.lineno}: a star in a list or call")


def old_pythons() -> list[str]:
    """The too old Pythons of this machine that answer, at most one of each kind."""
    folders = [*os.environ["PATH"].split(os.pathsep), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    names = ["python2.7", "python3.6", "python3.7", "python3.8", "python3.9", "python3.10"]
    found = [shutil.which(name, path=folder) for name in names for folder in folders]
    return [path for path in found if path and subprocess.run([path, "-V"], capture_output=True).returncode == 0]


def test_make_lab_with_a_wrong_python(tmp_path):
    fake = tmp_path / "python3.9"
    fake.write_text(f"""#!/bin/sh
exec "{sys.executable}" -c "
import runpy, sys
sys.version_info = (3, 9, 18)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')" "$@"
""")
    fake.chmod(0o755)
    for python in [str(fake), *old_pythons()]:
        said = run("make", "lab", f"PYTHON={python}", "ARGS=--version")
        assert said.returncode != 0 and "needs Python 3.11 or newer; this is Python " in said.stderr, python
        assert "Error" not in said.stderr.replace("] Error 1", "") and said.stdout == "", said.stderr


def test_make_lab_with_no_python():
    said = run("make", "lab", "PYTHON=python-of-nowhere", "ARGS=--version")
    assert said.returncode != 0 and "There is no Python named python-of-nowhere here." in said.stderr


def test_constraints_for_a_torch_that_is_kept():
    text = "# why\nnumpy==2.4.6\nnvidia-nccl-cu13==2.29.7\ntorch==2.13.0\ntorchinfo==1.8.0\ntorchvision==0.28.0\n"
    text += "triton==3.7.1\n"
    kept = setup.keep_torch(text, "2.11.0+cu130")
    assert kept == "# why\nnumpy==2.4.6\ntorchinfo==1.8.0\ntorch==2.11.0+cu130\n"
    assert setup.keep_torch(text, "2.13.0+cu130") == text, "torch==2.13.0 already lets 2.13.0+cu130 be"
    assert setup.keep_torch("", "2.11.0") == "torch==2.11.0\n"


def test_a_torch_is_kept_unless_too_old(monkeypatch, capsys):
    for version, kept in {"2.6.0+cu124": True, "2.14.0.dev20261101": True, "2.5.1": False, "1.13.1": False}.items():
        monkeypatch.setattr(setup, "answer", lambda python, code, version=version: version)
        assert setup.torch_to_keep("python", "2.6") == (version if kept else None)
        assert (version in capsys.readouterr().out) is not kept
    monkeypatch.setattr(setup, "answer", lambda python, code: None)
    assert setup.torch_to_keep("python", "2.6") is None


def test_answers_of_a_python():
    assert setup.answer(sys.executable, "print('a banner'); print(7)") == "7"
    assert setup.answer(sys.executable, "print(7); raise SystemExit(3)") is None
    assert setup.answer("/no/such/python", "print(7)") is None


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A copy of the course's set-up files, where making and installing only write down that they were called."""
    root = tmp_path / "a course"
    root.mkdir()
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    calls = []

    def make_venv(root, oldest_torch):
        python = Path(setup.venv_python(os.path.join(root, ".venv")))
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        assert oldest_torch == "2.6"

    monkeypatch.setattr(setup, "make_venv", make_venv)
    monkeypatch.setattr(setup, "install", lambda root, extras, kept, versions: calls.append(sorted(extras)))
    return root, calls


def change(path: Path, old: str, new: str):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_second_time_nothing_is_done(course):
    root, calls = course
    setup.set_up(str(root), [])
    setup.set_up(str(root), [])
    assert calls == [[]]
    setup.set_up(str(root), ["tests", "parity"])
    setup.set_up(str(root), ["tests"])
    setup.set_up(str(root), [])
    assert calls == [[], ["parity", "tests"]], "lab after test must install nothing"
    setup.set_up(str(root), ["export"])
    assert calls[-1] == ["export", "parity", "tests"], "extras add up"


def test_what_makes_an_install_stale(course):
    root, calls = course
    setup.set_up(str(root), ["tests"])
    change(root / "pyproject.toml", "line-length = 120", "line-length = 99")
    setup.set_up(str(root), [])
    assert len(calls) == 1, "a tool's settings are no reason to install"
    change(root / "constraints.txt", "torch==2.13.0", "torch==2.13.1")
    setup.set_up(str(root), [])
    assert calls[1:] == [["tests"]], "new pins are, and the extras stay"
    change(root / "pyproject.toml", '"tqdm>=4.66"', '"tqdm>=4.67"')
    setup.set_up(str(root), [])
    setup.set_up(str(root), [], "newest")
    assert len(calls) == 4
    moved = root.rename(root.parent / "elsewhere")
    setup.set_up(str(moved), [], "newest")
    assert len(calls) == 5, "an editable install names its folder"
    os.remove(setup.venv_python(str(moved / ".venv")))
    setup.set_up(str(moved), [], "newest")
    assert len(calls) == 6, "so is a .venv whose Python is gone"


def test_the_oldest_versions_are_those_of_pyproject(course):
    root, calls = course
    told = setup.limits(str(root), "oldest").splitlines()
    assert len(told) == len(PROJECT["dependencies"]) and "numpy==1.26" in told and "torch==2.6" in told
    for line in told:
        assert re.fullmatch(r"[\w-]+==[\d.]+", line), f"no exact version: {line}"
    assert setup.keep_torch("\n".join(told), "2.6.0+cpu").splitlines()[-1] == "torch==2.6.0+cpu"
    assert setup.limits(str(root), "pinned") == (ROOT / "constraints.txt").read_text()
    assert setup.limits(str(root), "newest") == ""
    for versions in ("oldest", "pinned", "newest"):
        setup.set_up(str(root), [], versions)
        setup.set_up(str(root), [], versions)
    assert len(calls) == 3, "each is an install of its own"


def test_an_unknown_kind_of_versions(capsys):
    with pytest.raises(SystemExit):
        setup.main(["--versions", "old"])
    assert "invalid choice: 'old'" in capsys.readouterr().err


def test_a_failed_install_leaves_no_stamp(course, monkeypatch):
    root, calls = course
    setup.set_up(str(root), [])
    good = setup.install

    def bad(root, extras, kept, versions):
        raise setup.Stop("no")

    monkeypatch.setattr(setup, "install", bad)
    with pytest.raises(setup.Stop):
        setup.set_up(str(root), ["tests"])
    assert not list((root / ".venv").glob("*.json*"))
    monkeypatch.setattr(setup, "install", good)
    setup.set_up(str(root), [])
    assert len(calls) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": "x"}', "null"])
def test_a_damaged_stamp_is_none(tmp_path, text):
    (tmp_path / "stamp").write_text(text)
    assert setup.read_stamp(tmp_path / "stamp") == {"digest": None, "extras": []}
    setup.write_stamp(str(tmp_path / "stamp"), "x", {"tests"})
    assert setup.read_stamp(tmp_path / "stamp") == {"digest": "x", "extras": ["tests"]}


def test_an_unknown_extra(course):
    with pytest.raises(setup.Stop, match="no extra named gpu"):
        setup.set_up(str(course[0]), ["gpu", "tests"])


def test_an_interrupted_install_is_laid_again(tmp_path):
    for name, whole in {"numpy-2.4.6": True, "torch-2.13.0": False}.items():
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        (folder / "METADATA").touch()
        if whole:
            (folder / "RECORD").touch()
    setup.drop_unfinished(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["numpy-2.4.6.dist-info"]


def test_reasons_for_a_failed_install():
    assert "disk is full" in setup.why("OSError: [Errno 28] No space left on device")
    offline = "NewConnectionError: [Errno -3]\nERROR: No matching distribution found for torch==2.13.0"
    assert "network" in setup.why(offline)
    assert "say another" in setup.why("ERROR: No matching distribution found for torch==2.13.0")
    assert setup.why("something else") == "Pip's own lines above say why."


def test_a_python_that_cannot_make_environments(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(setup.Stop, match=r"sudo apt install python3\.\d+-venv\. If you may not do that, conda can"):
        setup.make_venv(str(tmp_path), "2.6")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "thesis.txt").touch()
    with pytest.raises(setup.Stop, match="not a virtual environment"):
        setup.make_venv(str(tmp_path), "2.6")


def test_a_new_environment_sees_the_torch_that_is_here(tmp_path, capfd):
    """For real: this Python imports torch, so the .venv that it makes imports the same one."""
    kept = setup.make_venv(str(tmp_path), "2.6")
    assert kept == importlib.metadata.version("torch")
    there = setup.answer(setup.venv_python(str(tmp_path / ".venv")), setup.TORCH_VERSION)
    assert there == kept and f"keeping its torch {kept}" in capfd.readouterr().out
