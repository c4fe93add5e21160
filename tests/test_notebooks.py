"""Every stored notebook keeps every rule, every rule catches its planted faults, what the command writes is sound."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import execute_notebooks
import nbformat
import notebook_rules
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_nbval import run

NOTEBOOKS = notebook_rules.all_notebooks()
ALT = "A curve that falls from 2.3 to 0.4 nats over 300 steps."
PNG = "iVBORw0KGgo="


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_keeps_the_rules(path):
    assert notebook_rules.faults(path) == []


def test_there_are_notebooks_to_check():
    assert NOTEBOOKS, "no notebook under notebooks/: the test above would check nothing"


def test_the_readme_says_what_each_page_says_of_its_time_and_memory():
    """Who chooses a lesson reads the one, who has opened it the other."""
    text = (execute_notebooks.ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[.*?\]\(notebooks/(\w+)\.ipynb\) \|.*?\| (\d+) \| ([\d.]+ GB) \|", text, re.MULTILINE)
    pages = {path.stem: path for path in (execute_notebooks.ROOT / "notebooks").glob("*.ipynb")}
    assert {name for name, *_ in rows} == set(pages)
    for name, seconds, memory in rows:
        head = nbformat.read(pages[name], 4).cells[0].source
        said = dict(re.findall(r"^\| (time for \*Run All\*|memory) \| (.*?) \|", head, re.MULTILINE))
        assert said["time for *Run All*"] == f"about {seconds} s", name
        assert said.get("memory", memory) == memory, name


def test_the_readme_shows_a_picture_of_the_lesson_as_it_is_stored():
    notebook, picture = execute_notebooks.README_PICTURE
    assert execute_notebooks.first_picture(execute_notebooks.read(notebook)) == picture.read_bytes(), "make notebooks"
    assert f"(data/{picture.name})" in (execute_notebooks.ROOT / "README.md").read_text(encoding="utf-8")


# --- planted faults -----------------------------------------------------------------------------------------


def printed(text):
    return new_output("stream", name="stdout", text=text)


def error(evalue="too many", traceback=("Cell In[4]", "ValueError: too many")):
    return new_output("error", ename="ValueError", evalue=evalue, traceback=list(traceback))


def good():
    """A notebook without a fault: 0 title, 1 imports, 2 prose, 3 training, 4 its check, 5 figure, 6 promised error."""
    figure = new_output(
        "display_data",
        data={"image/png": PNG, "text/plain": "<Figure size 640x480 with 1 Axes>"},
        metadata={"image/png": {"alt": ALT}},
    )
    code = [
        ("from inception_lessons import data, train\nimport torch", [], []),
        ("net = torch.nn.Linear(2, 2)\nhistory = train.fit(net, 3)", ["nbval-ignore-output"], [printed("loss 0.4\n")]),
        (
            "best = max(history)\nassert best > 0.9\nprint('The network passes 90 %.')",
            [],
            [printed("The network passes 90 %.\n")],
        ),
        ("look_at = 3\nlook_at", [], [figure]),
        ("train.check(9)", ["raises-exception"], [error()]),
    ]
    cells = [
        new_code_cell(source, execution_count=count, outputs=outputs, metadata={"tags": tags})
        for count, (source, tags, outputs) in enumerate(code, 1)
    ]
    cells.insert(0, new_markdown_cell("# A lesson\n\n[Ledger](ledger.ipynb)\n\n## Promise\n![a small net](net.png)"))
    cells.insert(
        2,
        new_markdown_cell(
            "## Train\n\nSee [the next one](next.ipynb#Look), ![net](net.png), [paper](https://arxiv.org/abs/1409.4842)"
            " and `~/.cache`.\n```\n# no heading\n![](x.png)\n```"
        ),
    )
    cells.append(new_markdown_cell("**Sources.** None.\n\n[Ledger](ledger.ipynb)"))
    return new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
    )


def source(number, text):
    return lambda cells: cells[number].update(source=text)


def more(number, text):
    return lambda cells: cells[number].update(source=cells[number].source + "\n" + text)


def tag(number, *tags):
    return lambda cells: cells[number].metadata.update(tags=list(tags))


def outputs(number, *found):
    return lambda cells: cells[number].update(outputs=list(found))


def html(text):
    return new_output("display_data", data={"text/html": text})


def stderr(text):
    return new_output("stream", name="stderr", text=text)


def extra_cells(count, text="1"):
    return lambda cells: cells.extend(new_code_cell(text, execution_count=6 + k) for k in range(count))


TRACE = (
    "Cell In[5], line 1",
    "File \x1b[32m/home/someone/lessons/train.py:9\x1b[39m, in check(n)",
    "ValueError: too many",
)
FAULTS = {  # rule -> {what is wrong: how to plant it}
    "one_clean_run": {
        "never run": lambda cells: cells[1].update(execution_count=None),
        "run twice": lambda cells: cells[1].update(execution_count=7),
        "result of another run": outputs(5, new_output("execute_result", data={"text/plain": "3"}, execution_count=9)),
    },
    "figures_have_alt": {
        "none": lambda cells: cells[5].outputs[0].metadata.clear(),
        "short": lambda cells: cells[5].outputs[0].metadata.update({"image/png": {"alt": "a plot"}}),
        "spaces": lambda cells: cells[5].outputs[0].metadata.update({"image/png": {"alt": " " * 30}}),
        "html": outputs(5, html("<p><img src='x.png' alt='net'></p>")),
    },
    "training_is_checked": {
        "check says nothing about it": source(4, "assert torch.pi > 3\nprint('The network passes 90 %.')"),
        "check cannot fail": source(4, "history\nassert True\nprint('The network passes 90 %.')"),
        "check only in a comment": source(4, "history  # assert\nprint('The network passes 90 %.')"),
        "check prints nothing": outputs(4),
        "check prints one word": outputs(4, printed("0.93124\n")),
        "check not compared": tag(4, "nbval-ignore-output"),
        "untagged training": lambda cells: (tag(3)(cells), source(4, "pass")(cells)),
        "behind %time": lambda cells: (
            tag(3)(cells),
            source(3, "%time net = train.fit(3)")(cells),
            source(4, "pass")(cells),
        ),
        "behind %%time": lambda cells: (
            tag(3)(cells),
            source(3, "%%time\nnet = train.fit(3)")(cells),
            source(4, "pass")(cells),
        ),
        "ignored without training": tag(5, "nbval-ignore-output"),
        "shows what nobody checked": lambda cells: (tag(5, "nbval-ignore-output")(cells), source(5, "other")(cells)),
        "training after its check": lambda cells: cells.insert(3, cells.pop(4)),
        "check too late": lambda cells: cells.insert(4, new_code_cell("1")) or cells.insert(4, new_code_cell("2")),
    },
    "owns_no_package_name": {
        "function": more(5, "def Thing(): pass"),
        "class in a function": more(5, "def f():\n    class Thing: pass"),
        "assignment": more(5, "a, (Thing, b) = 1, (2, 3)"),
        "loop": more(5, "for Thing in []: pass"),
        "import": more(5, "import os as Thing"),
        "walrus": more(5, "print(Thing := 3)"),
        "with": more(5, "with open('x') as Thing: pass"),
    },
    "no_stored_complaints": {
        "error": lambda cells: tag(6)(cells),
        "tagged, and nothing raised": outputs(6),
        "tagged twice": tag(6, "raises-exception", "nbval-ignore-output"),
        "stderr": outputs(1, stderr("UserWarning: careful")),
    },
    "no_machine_paths": {
        "source": more(5, "open('/home/someone/digits.csv')"),
        "prose": source(2, "## Train\n\nlook into /home/someone/lessons"),
        "stream": outputs(4, printed("saved to /tmp/net.pt\n")),
        "home": outputs(4, printed("saved to ~/net.pt\n")),
        "result": outputs(
            5, new_output("execute_result", data={"text/plain": "PosixPath('/srv/a/b/c.pt')"}, execution_count=4)
        ),
        "traceback": outputs(6, error(traceback=TRACE)),
        "warning": outputs(3, stderr("ipykernel_77/12.py:3: UserWarning")),
        "windows": outputs(4, printed("C:\\Users\\someone\\net.pt")),
    },
    "nothing_hidden": {
        "capture": source(5, "%%capture\nlook_at = 3"),
        "shell": source(5, "%%bash\nfalse"),
        "comment": source(5, "# NBVAL_SKIP\nlook_at = 3"),
        "comment to ignore": source(5, "look_at = 3\n  # NBVAL_IGNORE_OUTPUT"),
        "tag": tag(5, "nbval-skip"),
        "warnings": more(5, "import warnings\nwarnings.filterwarnings('ignore')"),
    },
    "can_be_read": {
        "many cells": extra_cells(26),
        "long cell": source(5, "look_at = 3\n" * 26),
        "many longish cells": extra_cells(4, "look_at = 3\n" * 21),
        "heavy": outputs(
            5, new_output("display_data", data={"image/png": "A" * 1_100_000}, metadata={"image/png": {"alt": ALT}})
        ),
        "empty cell": source(5, " \n"),
    },
    "pictures_in_text_have_alt": {
        "markdown": source(2, "## Train\n![ ](net.png)"),
        "html": source(2, "## Train\n<img src='net.png'>"),
        "html, empty": source(2, "## Train\n<img alt='' src='net.png'>"),
    },
    "nothing_left_to_write": {
        "prose": source(2, "## Train\nTODO: say why"),
        "code": source(1, "import torch  # FIXME"),
    },
    "headings_in_order": {
        "no title": source(0, "## A lesson"),
        "two titles": source(2, "# Train"),
        "title later": lambda cells: (source(0, "## A lesson")(cells), source(2, "# Train")(cells)),
        "level skipped": source(2, "#### Train"),
        "html": source(2, "<h4>Train</h4>"),
    },
    "calls_stay_qualified": {
        "from a module": source(1, "from inception_lessons.train import something\nimport torch"),
        "star": source(1, "from math import *"),
        "sys.path": source(1, "import sys\nsys.path.insert(0, '..')"),
        "sys.path +=": source(1, "import sys\nsys.path += ['..']"),
        "from the package": source(1, "from inception_lessons import Thing"),
    },
    "links_lead_somewhere": {
        "notebook": source(2, "## Train\n[gone](02_gone.ipynb)"),
        "anchor": source(2, "## Train\n[gone](02_gone.ipynb#Look)"),
        "picture": source(2, "## Train\n![a net](gone.png)"),
        "html": source(2, "## Train\n<a href='gone.ipynb'>x</a>"),
        "reference": source(2, "## Train\n[x][y]\n\n[y]: gone.ipynb"),
        "from the root of a server": source(2, "## Train\n[x](/next.ipynb)"),
        "copy without a master": source(2, "## Train\n[x](../build/assignments/02_gone.ipynb)"),
        "copy beside its master": source(2, "## Train\n[x](../build/02_norm.ipynb)"),
        "copy that only was built": source(2, "## Train\n[x](../build/assignments/03_built.ipynb)"),
    },
    "html_is_not_markdown": {
        "code": more(2, "\n<details><summary>Why?</summary>Because of `up`.</details>"),
        "bold": more(2, "\n<details><summary>Why?</summary>It is **not**.</details>"),
        "link": more(2, "\n<div class='alert'>See [the next](next.ipynb).</div>"),
    },
    "leads_on": {
        "not at the top": source(0, "# A lesson\n\n## Promise\n![a small net](net.png)\n\n[Ledger](ledger.ipynb)"),
        "another line": source(0, "# A lesson\n\n[Ledger](ledger.ipynb) · [Next](next.ipynb)\n\n## Promise"),
        "not at the end": more(7, "\nOne more sentence."),
        "the end is code": extra_cells(1),
    },
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a mini notebook lives: its links lead somewhere, and the package owns `Thing`."""
    notebooks, built = tmp_path / "notebooks", tmp_path / "build" / "assignments"
    for path in (notebooks / "assignments" / "02_norm" / "02_norm.ipynb", built / "03_built.ipynb"):
        path.parent.mkdir(parents=True)
        path.touch()
    for name in ("next.ipynb", "net.png", "ledger.ipynb"):
        (notebooks / name).touch()
    monkeypatch.setattr(notebook_rules, "package_names", lambda: {"Thing": "layers"})
    return notebooks


def save(notebook, path):
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def test_a_good_notebook_has_no_fault(folder):
    assert notebook_rules.faults(save(good(), folder / "good.ipynb")) == []


def test_every_rule_has_planted_faults():
    assert set(FAULTS) == {rule.__name__ for rule in notebook_rules.RULES}


@pytest.mark.parametrize("rule, fault", [(rule, fault) for rule, faults in FAULTS.items() for fault in faults])
def test_a_rule_catches_its_fault(rule, fault, folder):
    notebook = good()
    FAULTS[rule][fault](notebook.cells)
    page = notebook_rules.read(save(notebook, folder / "bad.ipynb"))
    sentences = list(getattr(notebook_rules, rule)(page))
    assert sentences and all("cell" in s or "notebook" in s or "MB" in s for s in sentences)


def test_the_line_of_links_names_what_stands_around(tmp_path):
    for name in ("00_start", "01_norm", "02_cut"):
        title = new_markdown_cell(f"# {name[:2]} · {name[3:]}: why?\n\nText.")
        save(new_notebook(cells=[title]), tmp_path / f"{name}.ipynb")
    (tmp_path / "assignments" / "01_norm").mkdir(parents=True)
    for name in ("assignments/01_norm/01_norm.ipynb", "glossary.ipynb"):
        (tmp_path / name).touch()
    after, before, aside = "[02 · cut →](02_cut.ipynb)", "[← 00 · start](00_start.ipynb)", "[Glossary](glossary.ipynb)"
    task = "[Assignment 01](../build/assignments/01_norm.ipynb)"
    lines = {path.stem: notebook_rules.navigation(path) for path in tmp_path.glob("*.ipynb")}
    assert lines["01_norm"] == " | ".join([before, after, task, aside])
    assert lines["02_cut"] == f"[← 01 · norm](01_norm.ipynb) | {aside}"
    assert lines["glossary"] == "[00 · start](00_start.ipynb)"


def test_html_with_html_in_it_is_right(folder):
    notebook = good()
    notebook.cells[2].source += "\n\n<details><summary>Why?</summary>Of <code>2 ** n</code> and <em>up</em>.</details>"
    assert notebook_rules.faults(save(notebook, folder / "good.ipynb")) == []


def test_a_rule_lets_through_what_is_right(folder):
    notebook = good()
    notebook.cells[
        5
    ].source = "def helper(Thing):\n    return [Thing for Thing in range(3)]\n%matplotlib inline\nratio = 1/2/3"
    notebook.cells[3].source = "%%time\n" + notebook.cells[3].source
    notebook.cells[5].metadata["tags"] = ["nbval-ignore-output"]
    notebook.cells[5].source += "\nprint(f'{best:.1%} here')"  # what the cell before has asserted
    notebook.cells[2].source += "\n[a copy](../build/assignments/02_norm.ipynb)"  # which is not built yet
    assert notebook_rules.faults(save(notebook, folder / "good.ipynb")) == []


@pytest.mark.parametrize(
    "text, says",
    [
        ("{", "not a readable notebook"),
        ("[]", "not a readable notebook"),
        ('{"cells": []}', "not a readable notebook"),
        (json.dumps({**good(), "nbformat_minor": 4}), "not a readable notebook"),
        (json.dumps({**good(), "cells": good().cells[:1] * 2}), "same id"),
    ],
)
def test_a_file_that_is_no_notebook_is_a_fault(text, says, tmp_path):
    (tmp_path / "bad.ipynb").write_text(text)
    assert says in " ".join(notebook_rules.faults(tmp_path / "bad.ipynb"))


def test_package_names_are_those_of_the_package():
    owners = notebook_rules.package_names()
    assert (
        owners["GoogLeNet"] == "googlenet"
        and owners["fit"] == "train"
        and not any(name.startswith("_") for name in owners)
    )


# --- the command that writes the outputs --------------------------------------------------------------------


def unexecuted(path, *cells):
    made = [
        new_code_cell(text, metadata={"tags": tags, "execution": {"iopub.execute_input": "2020"}})
        for text, tags in cells
    ]
    notebook = new_notebook(cells=made, metadata={"widgets": {"a": 1}})
    nbformat.write(notebook, path)
    return path


def command(*arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(
        [sys.executable, execute_notebooks.__file__, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_order_of_an_outputs_kinds_is_no_change():
    """A file has them by name, a kernel in its own order: --check must not call every table changed."""

    def cell(*kinds):
        output = nbformat.v4.new_output("display_data", data={kind: f"as {kind}" for kind in kinds})
        return nbformat.v4.new_code_cell("1", outputs=[output], execution_count=1)

    first = execute_notebooks.shown(cell("text/plain", "text/markdown"))
    assert first == execute_notebooks.shown(cell("text/markdown", "text/plain")) and len(first) == 2
    assert first != execute_notebooks.shown(cell("text/markdown", "text/html"))


def test_what_the_command_writes_is_clean_and_passes_nbval(tmp_path):
    path = unexecuted(
        tmp_path / "lesson.ipynb",
        ("import ipywidgets\nfrom IPython.display import Image\nslider = ipywidgets.IntSlider()\ndisplay(slider)", []),
        ("handle = display('before', display_id=True)\nhandle.update('after')\n1 + 1;", ["nbval-ignore-output"]),
        ("box = ipywidgets.Output()\ndisplay(box)\nwith box:\n    print('inside')", ["nbval-ignore-output"]),
        ("import json\njson.loads('{')", ["raises-exception"]),
        ("6 * 7, object()", []),
    )
    ids = [cell.id for cell in nbformat.read(path, as_version=4).cells]
    done = command(path)
    assert done.returncode == 0, done.stderr
    assert "lesson.ipynb: " in done.stdout and " s" in done.stdout
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3, 4, 5]
    assert [cell.id for cell in notebook.cells] == ids
    assert 'execution"' not in text and 'widgets"' not in text and "model_id" not in text
    assert "version" not in json.dumps(notebook.metadata.language_info).replace('"version": 3', "")
    assert (
        notebook.metadata.kernelspec.name == "python3"
        and notebook.metadata.kernelspec.display_name == "Python 3 (ipykernel)"
    )
    assert notebook.cells[1].outputs[0].data["text/plain"] == "'after'"
    assert "JSONDecodeError" in "".join(notebook.cells[3].outputs[0].traceback)
    assert list(notebook_rules.no_machine_paths(notebook_rules.read(path))) == []
    assert [p.name for p in tmp_path.iterdir()] == ["lesson.ipynb"]
    ran, _ = run([path])
    assert ran.returncode == 0 and "5 passed" in ran.stdout, ran.stdout
    # a second run finds nothing to change in what is compared; a stale number is found, and --check leaves it
    assert "nothing changed" in command(path, "--check").stdout
    stale = text.replace("(42, ", "(43, ")
    path.write_text(stale, encoding="utf-8")
    done = command(path, "--check")
    assert done.returncode == 1 and "code cell 5 changed" in done.stdout
    assert path.read_text(encoding="utf-8") == stale


@pytest.mark.parametrize(
    "cell, tags, says",
    [
        ("raise ValueError('planted')", [], "planted"),
        ("%no_such_magic", ["raises-exception"], "no_such_magic"),
        ("while True:\n    pass", [], "longer than 2 seconds"),
        ("import os\nos._exit(1)", [], "died"),
        ("", [], "numbered [1, None, 2]"),
    ],
)
def test_a_failing_cell_leaves_the_file_as_it_was(cell, tags, says, tmp_path, monkeypatch):
    for name in (
        "IPYTHONDIR",
        "JUPYTER_PREFER_ENV_PATH",
        "PATH",
    ):  # execute() expects a process of its own: put them back after it
        monkeypatch.setenv(name, os.environ.get(name, ""))
    path = unexecuted(tmp_path / "lesson.ipynb", ("1", []), (cell, tags), ("2", []))
    before = path.read_bytes()
    with pytest.raises(execute_notebooks.NotebookFailed) as failure:
        execute_notebooks.execute(path, timeout=2)
    assert says in str(failure.value) and "lesson.ipynb" in str(failure.value)
    assert ("code cell 2" in str(failure.value)) == bool(cell)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["lesson.ipynb"]


def test_a_traceback_forgets_its_machine():
    root, library = execute_notebooks.ROOT, Path(sys.prefix, "lib", "site-packages", "torch", "nn.py")
    ours = root / "inception_lessons" / "train.py"
    text = f"File \x1b[32m{ours}:9\x1b[39m, File {library}:3, File /tmp/ipykernel_3/4.py:1"
    assert execute_notebooks.without_machine(text) == (
        "File \x1b[32minception_lessons/train.py:9\x1b[39m, File lib/site-packages/torch/nn.py:3, File cell.py:1"
    )


def test_a_missing_notebook_is_said():
    done = command("no_such.ipynb")
    assert done.returncode == 1 and "no_such.ipynb" in done.stderr
