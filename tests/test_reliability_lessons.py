"""Lessons under the hands of a learner: a kernel interrupted while it trains, cells run twice, cells run out of order.

Everything here runs in real kernels and is slow. `LESSON_BUDGET=smoke` makes the lessons small; still, all nine take
minutes, so what runs whole lessons takes the first one, and all of them when asked:

    EVERY_LESSON=1 pytest tests/test_reliability_lessons.py
"""

import ast
import contextlib
import copy
import os
import re
import time
from pathlib import Path

import execute_notebooks
import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("0[0-9]_*.ipynb"))
BY_NAME = {"argvalues": LESSONS, "ids": [path.stem for path in LESSONS]}
SOME = LESSONS if os.environ.get("EVERY_LESSON") else LESSONS[:1]
SOME_BY_NAME = {"argvalues": SOME, "ids": [path.stem for path in SOME]}
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def smoke(monkeypatch, tmp_path):
    """The small size, and an IPython of nobody's."""
    monkeypatch.setenv("LESSON_BUDGET", "smoke")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("MPLBACKEND", raising=False)


# ------------------------------------------------------------------------------------------------------- interruptions


class Kernel:
    """A running kernel that a cell can be run in, and interrupted in the middle."""

    def __init__(self):
        self.manager, self.client = start_new_kernel(extra_arguments=["--log-level=50"], cwd=str(ROOT / "notebooks"))

    def run(self, source: str, *, interrupt_at: str = "", timeout: float = 300) -> dict:
        """Run a cell -> its status, error, printed text and the number of pictures shown and updated. With
        ``interrupt_at`` the kernel is interrupted when this word has been printed, or stands below a picture.
        """
        asked = self.client.execute(source)
        found = {"error": "", "evalue": "", "text": "", "printed": "", "shown": 0, "updated": 0}
        end = time.monotonic() + timeout
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.1, end - time.monotonic()))
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            said = ""
            if kind == "stream":
                found["text"] += content["text"]
                found["printed"] += content["text"] * (content["name"] == "stdout")
                said = found["text"]
            elif kind == "display_data":
                said = content["metadata"].get("image/png", {}).get("alt", "")
                found["shown"] += "image/png" in content["data"]
            elif kind == "update_display_data":
                found["updated"] += "image/png" in content["data"]
            elif kind == "error":
                found |= {"error": content["ename"], "evalue": content["evalue"]}
            elif kind == "status" and content["execution_state"] == "idle":
                return found
            if interrupt_at and interrupt_at in said:
                self.manager.interrupt_kernel()
                interrupt_at = ""

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel():
    kernel = Kernel()
    yield kernel
    kernel.close()


FIRST = """
import torch
from inception_lessons import baselines, data, plots, train
generator = torch.Generator().manual_seed(0)
pixels = torch.randint(0, 256, (64, 16, 16, 3), generator=generator).to(torch.uint8)
split = data.Split(pixels, torch.arange(64) % 4)
class Telling(plots.LiveLoss):
    def __call__(self, history):
        super().__call__(history)
        if len(history.loss) == 5:
            print("five steps", flush=True)
"""
CELL = """
torch.manual_seed(0)
model = baselines.Plain.laptop(4, width=0.1, dropout=0.5)
live = Telling(title="Training", seconds=0.5)
history = train.fit(model, split, split, train.Recipe(steps=STEPS, batch_size=16AVERAGE), watch=live, validate_every=10)
"""
ASK = """
import hashlib
state = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
print(history.loss[:3], len(history.loss), history.finished, hashlib.sha256(state).hexdigest())
"""


@pytest.mark.parametrize("average", ["", ", average=0.9"], ids=["plain", "averaged"])
def test_a_training_cell_that_was_interrupted_runs_again_as_if_for_the_first_time(kernel, average):
    cell = CELL.replace("AVERAGE", average)
    assert kernel.run(FIRST)["error"] == ""
    short = cell.replace("STEPS", "20")
    fresh = kernel.run(short)
    wanted = kernel.run(ASK)["text"]
    assert fresh["error"] == "" and fresh["shown"] == 1 and " 20 True " in wanted
    stopped = kernel.run(cell.replace("STEPS", "100_000"), interrupt_at="five steps")
    assert stopped["error"] == "KeyboardInterrupt"
    again = kernel.run(short)
    assert again["error"] == "" and again["shown"] == 1, "one live picture, and no leftover of the first"
    assert again["updated"] >= 1, "its last state is drawn"
    assert "100000" not in again["text"], "no progress bar of the run before"
    assert kernel.run(ASK)["text"] == wanted, "the same losses and the same weights, bit for bit"


def test_the_model_of_an_interrupted_cell_can_be_looked_at(kernel):
    """What a learner does next: evaluate what there is. It is a network like any other."""
    kernel.run(FIRST)
    cell = CELL.replace("AVERAGE", "").replace("STEPS", "100_000")
    assert kernel.run(cell, interrupt_at="five steps")["error"] == "KeyboardInterrupt"
    found = kernel.run("scores = train.evaluate(model, split); print(scores.count, 0 <= scores.accuracy <= 1)")
    assert found["error"] == "" and found["text"].strip() == "64 True"
    assert kernel.run("print(history)")["error"] == "NameError", "a run that did not end leaves no history"


def trains(cell) -> bool:
    """Is this a lesson's own training, drawn while it goes on?"""
    return cell.cell_type == "code" and "LiveLoss(" in cell.source


TRAINING = [path for path in LESSONS if any(map(trains, execute_notebooks.read(path).cells))]
SOME_TRAINING = TRAINING if os.environ.get("EVERY_LESSON") else TRAINING[1:2]


@pytest.mark.parametrize("path", SOME_TRAINING, ids=[path.stem for path in SOME_TRAINING])
def test_a_lessons_own_training_cell_that_was_interrupted_runs_again(kernel, path):
    """What stops it is KeyboardInterrupt and nothing else; the same cell and those after it then say what they always
    say, but for the numbers of the small size.
    """
    cells = code_cells(execute_notebooks.read(path))
    place = next(i for i, cell in enumerate(cells) if trains(cell))
    for cell in cells[:place]:
        found = kernel.run(cell.source)
        assert found["error"] == "" or "raises-exception" in tags(cell), found
    stopped = kernel.run(cells[place].source, interrupt_at="up to step 1.")
    assert stopped["error"] == "KeyboardInterrupt" and stopped["shown"] == 1, stopped
    assert [kernel.run(cells[place].source)[key] for key in ("error", "shown")] == ["", 1]
    wrong = []
    for number, cell in enumerate(cells[place + 1 :], place + 2):
        found = kernel.run(cell.source)
        if "nbval-ignore-output" in tags(cell) or "raises-exception" in tags(cell):
            continue
        stored = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
        if found["error"] or but_numbers(found["printed"]) != but_numbers(stored):
            wrong.append(f"code cell {number}: stored {stored!r}, here {found}")
    assert not wrong, "\n".join(wrong)


def but_numbers(text: str) -> str:
    return re.sub(r"-?\d[\d.,]*", "0", text)


# ------------------------------------------------------------------------------------------------------------- lessons


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell) -> list:
    return cell.metadata.get("tags", [])


def run(notebook, path: Path) -> None:
    execute_notebooks.run_cells(notebook, path.parent, path.name, 300)


def twice(notebook) -> None:
    """Each code cell of the notebook is followed by itself, in place."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            cells.append(copy.deepcopy(cell))
            cells[-1]["id"] = f"{cell['id']}-again"[:64]
    notebook.cells = cells


@pytest.mark.parametrize("path", **SOME_BY_NAME)
def test_a_cell_that_is_run_twice_says_the_same(path):
    notebook = execute_notebooks.read(path)
    twice(notebook)
    run(notebook, path)
    cells = code_cells(notebook)
    wrong = []
    for number, (first, second) in enumerate(zip(cells[::2], cells[1::2], strict=True), 1):
        if "nbval-ignore-output" in tags(first):
            continue
        one, other = execute_notebooks.shown(first), execute_notebooks.shown(second)
        if one != other:
            wrong.append(f"code cell {number}: {one} the first time, {other} the second")
    assert not wrong, "\n".join(wrong)


def retrained(source: str) -> set[str]:
    """Names of networks that a cell trains and does not make: run twice, or after an interruption, it trains on."""
    tree = ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE))
    made = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    made |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    fits = [call.args[0] for call in calls if ast.unparse(call.func) in ("train.fit", "experiments.trained")]
    return {network.id for network in fits if isinstance(network, ast.Name)} - made


@pytest.mark.parametrize("path", **BY_NAME)
def test_a_cell_that_trains_makes_its_network(path):
    found = {n: retrained(cell.source) for n, cell in enumerate(code_cells(execute_notebooks.read(path)), 1)}
    found = {number: names for number, names in found.items() if names}
    assert not found


def sections(notebook) -> list[list]:
    """Code cells by heading, in order, but for the first cell, which imports."""
    found = [[]]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search(r"^#{1,3} ", cell.source, re.MULTILINE):
            found.append([])
        elif cell.cell_type == "code":
            found[-1].append(cell)
    found[next(i for i, some in enumerate(found) if some)].pop(0)
    return [some for some in found if some]


def stored_names(source: str) -> set[str]:
    """Names that a cell's top level binds."""
    tree = ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names | {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


KEEP = "kept_names = set(globals()) | {'kept_names'}"
FORGET = """
for name in [name for name in globals() if name not in kept_names and not name.startswith("_")]:
    del globals()[name]
globals().pop("name", None)
"""


@pytest.mark.parametrize("path", **SOME_BY_NAME)
def test_a_learner_who_jumps_ahead_is_told_which_name_is_missing(path):
    """Restart, the import cell, and then any section: it works, or the error names what an earlier cell makes. Where
    one has said so, Jupyter runs nothing more: errors of later cells of the section follow from it.
    """
    notebook = execute_notebooks.read(path)
    imports, jumps = code_cells(notebook)[0], sections(notebook)
    new = nbformat.v4.new_code_cell
    cells, places = [imports, new(KEEP)], []
    for section, some in enumerate(jumps):
        cells.append(new(FORGET))
        for cell in some:
            before = cell.source
            cells.append(new(before, metadata={"tags": ["raises-exception"]}))
            places.append((section, cells[-1], "raises-exception" in tags(cell)))
    order = [cell.source for cell in code_cells(notebook)]
    run(nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata), path)
    wrong, told = [], set()  # and the sections that have named what they miss
    for section, cell, meant in places:
        number = order.index(cell.source)
        earlier = set().union(*(stored_names(source) for source in order[:number]))
        for output in cell.outputs:
            if output.output_type != "error" or meant or section in told:
                continue
            missing = re.fullmatch(r"name '(\w+)' is not defined", output.evalue)
            if output.ename == "NameError" and missing and missing[1] in earlier:
                told.add(section)
            else:
                wrong.append(f"code cell {number + 1}: {output.ename}: {output.evalue[:200]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("names", [("00_start_here", "00_start_here"), ("00_start_here", "01_inception_v1")])
def test_two_lessons_at_once_on_a_fresh_cache(names, tmp_path, monkeypatch):
    """Two kernels that begin at the same moment both build the data; both lessons say what they always say."""
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setenv("INCEPTION_LESSONS_CACHE", str(tmp_path / "cache"))
    paths = [ROOT / "notebooks" / f"{name}.ipynb" for name in names]
    notebooks = [execute_notebooks.read(path) for path in paths]
    for notebook in notebooks:  # up to the cell that builds the set: what races is over by then
        first = next(i for i, cell in enumerate(notebook.cells) if "data.digits_in_the_wild(" in cell.source)
        notebook.cells = notebook.cells[: first + 1]
    stored = copy.deepcopy(notebooks)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, notebooks, paths))
    for before, after in zip(stored, notebooks, strict=True):
        for cell in code_cells(after):  # the bar of the building, which the stored run had no need of
            cell.outputs = [o for o in cell.outputs if "drawing digits" not in o.get("data", {}).get("text/plain", "")]
        assert execute_notebooks.changes(before, after) == []
    left = [file.name for file in (tmp_path / "cache").iterdir() if file.is_file()]
    assert len([name for name in left if name.endswith(".safetensors")]) == 1
    assert not [name for name in left if name.endswith(".tmp")]


# ------------------------------------------------------------------------------------------- the tests can tell


def planted(*sources: str, tagged: str = "") -> nbformat.NotebookNode:
    new = nbformat.v4.new_code_cell
    cells = [new(source) for source in sources]
    if tagged:
        cells[-1].metadata["tags"] = [tagged]
    return nbformat.v4.new_notebook(cells=cells)


def written(tmp_path, notebook) -> Path:
    path = tmp_path / "09_planted.ipynb"
    nbformat.write(notebook, path)
    return path


def test_a_cell_that_counts_up_is_seen(tmp_path):
    path = written(tmp_path, planted("import math", "n = 1", "n += 1\nprint(n)"))
    with pytest.raises(AssertionError, match="code cell 3: .*2.* the first time, .*3"):
        test_a_cell_that_is_run_twice_says_the_same(path)


def test_a_network_that_is_trained_on_is_seen(tmp_path):
    assert retrained("history = train.fit(model, images.train)") == {"model"}
    assert retrained("model = Plain()\nhistory = train.fit(model, images.train)") == set()
    assert retrained("train.fit(Plain(), images.train)") == set()


def test_a_jump_that_ends_in_another_error_is_seen(tmp_path):
    notebook = planted("import math", "n = 1", "try:\n    print(n)\nexcept NameError:\n    print({}['n'])")
    notebook.cells.insert(2, nbformat.v4.new_markdown_cell("## Two"))
    path = written(tmp_path, notebook)
    with pytest.raises(AssertionError, match="code cell 3: KeyError"):
        test_a_learner_who_jumps_ahead_is_told_which_name_is_missing(path)
    good = planted("import math", "n = 1", "found = []\nfound.append(n)", "print(found[0])")
    good.cells.insert(2, nbformat.v4.new_markdown_cell("## Two"))
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    test_a_learner_who_jumps_ahead_is_told_which_name_is_missing(written(tmp_path, good))


PICTURE = """# plots.LiveLoss(
import time
from IPython.display import display
trained += 1
display({"image/png": "AAAA"}, metadata={"image/png": {"alt": "up to step 1."}}, raw=True)
time.sleep(1)
"""


def test_a_training_cell_that_does_not_start_anew_is_seen(tmp_path, kernel):
    def lesson(picture):
        notebook = planted("trained = 0", picture, "print('once' if trained == 1 else 'more')")
        notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", name="stdout", text="once\n")]
        return written(tmp_path, notebook)

    with pytest.raises(AssertionError, match="code cell 3: stored 'once.*more"):
        test_a_lessons_own_training_cell_that_was_interrupted_runs_again(kernel, lesson(PICTURE))
    with pytest.raises(AssertionError, match="'error': ''"):  # nothing was interrupted, so nothing is proved
        test_a_lessons_own_training_cell_that_was_interrupted_runs_again(kernel, lesson(PICTURE.replace("to step", "")))
