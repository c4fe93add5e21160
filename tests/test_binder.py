"""What Binder finds in .binder/: it agrees with the other files, and both scripts, run for real, do what they say."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import peers
import pytest
import rattler
import yaml

from inception_lessons import assignments

ROOT = Path(__file__).resolve().parents[1]
BINDER = ROOT / ".binder"
LONG = 900  # seconds, on a machine that is busy with much else
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Binder's scripts are bash's")


def lines(path: Path) -> list:
    return yaml.safe_load(path.read_text())["dependencies"]


def test_binder_installs_what_conda_installs():
    binder, conda = lines(BINDER / "environment.yml"), lines(ROOT / "environment.yml")
    assert [line for line in conda if line not in binder] == ["python >=3.11", "pytorch >=2.6", {"pip": ["-e ."]}]
    python, torch = [line for line in binder if line not in conda]
    assert torch == "pytorch-cpu >=2.6", "CUDA is 3 GB that Binder has no use for"
    assert re.fullmatch(r"python=3\.\d+", python), "repo2docker reads no other form, and would take a Python of its own"
    for line in binder:
        rattler.MatchSpec(line, strict=True)


def test_binders_python_is_one_that_is_tested():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    python = next(line for line in lines(BINDER / "environment.yml") if line.startswith("python")).split("=")[1]
    assert python in workflow["jobs"]["cpu"]["strategy"]["matrix"]["python"]


def bare() -> dict[str, str]:
    """This process's variables, but for those that would help: Binder sets none of them."""
    ours = ("INCEPTION_LESSONS_CACHE", "XDG_CACHE_HOME", "MPLCONFIGDIR", "OMP_NUM_THREADS", "CPU_LIMIT", "PYTHONPATH")
    return {key: value for key, value in os.environ.items() if key not in ours}


def script(name: str, *command: str, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess:
    """Run .binder/NAME as Binder does, by its own first line."""
    run = [f"./.binder/{name}", *command]
    return subprocess.run(run, cwd=folder, env=bare() | variables, capture_output=True, text=True, timeout=LONG)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A copy of the course after postBuild, its home folder, and what was asked of pip, which needs the network."""
    course, home, tools = (tmp_path_factory.mktemp(name) for name in ("course", "home", "tools"))
    for part in (".binder", "inception_lessons", "data"):
        shutil.copytree(ROOT / part, course / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "notebooks" / "assignments", course / "notebooks" / "assignments")
    python = tools / "python"
    python.write_text(f"""#!/bin/sh
[ "$1 $2" != "-m pip" ] || {{ echo "$@" >> "{tools}/pip"; exit 0; }}
exec "{sys.executable}" "$@"
""")
    python.chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    made = script("postBuild", folder=course, HOME=str(home), PATH=path, PYTHONPATH=str(course))
    assert made.returncode == 0, made.stderr
    return course, home, (tools / "pip").read_text().splitlines()


def test_post_build_installs_the_course_alone(image):
    assert image[2] == ["-m pip install --no-deps -e ."]


def test_post_build_lays_the_assignments(image):
    copies = sorted((image[0] / "build" / "assignments").glob("*.ipynb"))
    assert [path.stem for path in copies] == assignments.names()
    for path in copies:
        source = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
        assert "raise NotImplementedError" in source and "BEGIN SOLUTION" not in source


OPEN = """
from inception_lessons import data
def build(*_, **__): raise SystemExit("the pictures are drawn again")
data._draw_split = build
print(len(data.digits_in_the_wild().train))
"""


def test_post_build_leaves_the_pictures_ready(image, tmp_path):
    course, home, _ = image
    environment = bare() | {"PYTHONPATH": str(course)}
    options = {"cwd": course, "capture_output": True, "text": True, "timeout": LONG}
    opened = subprocess.run([sys.executable, "-c", OPEN], env=environment | {"HOME": str(home)}, **options)
    assert opened.stdout.strip() == "10000", opened.stderr
    elsewhere = environment | {"HOME": str(tmp_path)}  # without what postBuild left: else this test could not fail
    opened = subprocess.run([sys.executable, "-c", OPEN], env=elsewhere, **options)
    assert opened.returncode != 0 and "drawn again" in opened.stderr


@pytest.mark.parametrize(
    "limit, threads",
    [("1.0", "1"), ("2.0", "2"), ("2", "2"), ("16.0", "16"), ("0.5", "1"), ("", "1"), ("many", "1"), (None, "1")],
)
def test_start_takes_the_cores_that_binder_lends(limit, threads):
    told = {} if limit is None else {"CPU_LIMIT": limit}
    said = script("start", "bash", "-c", 'echo "$OMP_NUM_THREADS $1"; exit 3', "-", "two words", **told)
    assert (said.stdout.strip(), said.returncode, said.stderr) == (f"{threads} two words", 3, "")


def test_start_leaves_a_number_of_threads_that_is_set():
    said = script("start", "printenv", "OMP_NUM_THREADS", CPU_LIMIT="1", OMP_NUM_THREADS="4")
    assert said.stdout.strip() == "4"


LENDS, LAB = 2.0, 0.2  # GB: what Binder lends, and what JupyterLab itself takes of it, with a notebook open


def test_every_lesson_fits_and_says_so_twice():
    """README's column of memory is what the lessons say at their top, and fits beside JupyterLab."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"\(notebooks/(\w+)\.ipynb\) \|[^|]*\| \d+ \| ([\d.]+) GB \|", readme))
    lessons = sorted(path for path in ROOT.glob("notebooks/*.ipynb") if path.stem[0] == "0")
    assert {path.stem for path in lessons} <= set(told)
    for path in lessons:
        top = nbformat.read(path, 4).cells[0].source
        assert re.findall(r"\| memory \| ([\d.]+) GB \|", top) == [told[path.stem]], path.stem
    assert max(map(float, told.values())) + LAB <= LENDS, "README says that every lesson fits"


def test_repo2docker_reads_it():
    """Binder's own program, up to where Docker would begin: the recipe of the image, no network, nothing built."""
    try:
        import repo2docker  # noqa: F401
    except ImportError:
        peers.absent("repo2docker (extra: tests) is not installed")
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    recipe = said.stdout + said.stderr
    assert said.returncode == 0, recipe
    assert "unspecified" not in recipe, "repo2docker has found no Python and takes its own"
    assert "Building conda environment for python=3.11" in recipe
    installs = recipe.index('--file ".binder/environment.yml"')
    assert installs < recipe.index("# Copy stuff."), "a change of any file would install everything anew"
    assert recipe.index("# Copy stuff.") < recipe.index("RUN ./.binder/postBuild")
    assert 'R2D_ENTRYPOINT="${REPO_DIR}/.binder/start"' in recipe
