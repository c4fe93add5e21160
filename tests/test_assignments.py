"""The assignments: checks tested with right, wrong and mutated answers; copies that give nothing away; a class."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import marking
import nbformat
import pytest

from inception_lessons import assignments, checks

# A class takes minutes, and all ask the same of the machinery: one stands for all. CLASSES=all runs each.
CLASSES = marking.NAMES if os.environ.get("CLASSES") == "all" else ["02_batch_norm"]
ALL = [(name, number) for name in marking.NAMES for number in marking.exercises(name)]
needs_nbgrader = pytest.mark.skipif(
    not os.environ.get("CI") and shutil.which("nbgrader", path=Path(sys.executable).parent) is None,
    reason='no nbgrader here: pip install -c constraints.txt -e ".[course]"',
)


def exercise_of(name: str, number: str) -> marking.Exercise:
    return marking.exercises(name)[number]


def cells_of(path: Path) -> tuple[nbformat.NotebookNode, dict]:
    notebook = nbformat.read(path, 4)
    return notebook, {c.metadata["nbgrader"]["grade_id"]: c for c in notebook.cells if "nbgrader" in c.metadata}


# ------------------------------------------------------------------------------------- the checks, with answers to them


@pytest.mark.parametrize("name, number", ALL)
def test_right_answers_get_full_marks(name, number):
    exercise, right = exercise_of(name, number), marking.answers(name).RIGHT[number]
    assert len(right) >= 2
    texts = {"the reference": exercise.solution, **right}
    judged = marking.two_at_a_time(marking.judged, [exercise] * len(texts), texts.values())
    for what, (points, said) in zip(texts, judged, strict=True):
        assert points == sum(exercise.points.values()), f"{what}: {said}"


@pytest.mark.parametrize("name, number", ALL)
def test_wrong_answers_lose_marks_with_a_sentence_of_their_own(name, number):
    exercise, wrong = exercise_of(name, number), marking.answers(name).WRONG[number]
    assert len(wrong) >= 5
    sentences = {}
    texts = [answer.text(exercise) for answer in wrong]
    judged = marking.two_at_a_time(marking.judged, [exercise] * len(texts), texts)
    for answer, (points, said) in zip(wrong, judged, strict=True):
        assert points == answer.keeps < sum(exercise.points.values()), f"{answer.name}: {points} points, {said}"
        own = next((sentence for sentence in said if answer.says in sentence), None)
        assert own, f"{answer.name}: {answer.says!r} is not in {said}"
        assert own not in sentences, f"{answer.name} is told the same as {sentences[own]}: {own}"
        sentences[own] = answer.name


@pytest.mark.parametrize("name, number", ALL)
def test_a_blank_gets_nothing(name, number):
    exercise = exercise_of(name, number)
    assert exercise.stub != exercise.solution
    assert marking.judged(exercise, exercise.stub) == (0, [f"{number}: Exercise {number} is not written yet."] * 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", marking.NAMES)
def test_mutants_are_caught(name):
    """Each small change of a reference solution costs marks; those that do not are few, and explained."""
    known, survivors, count = marking.answers(name).EQUIVALENT, [], 0
    for number, exercise in marking.exercises(name).items():
        made = list(marking.mutants(exercise.solution))
        count += len(made)
        sentences = marking.two_at_a_time(marking.fails, [exercise] * len(made), [text for _, text in made])
        survivors += [(number, what) for (what, _), said in zip(made, sentences, strict=True) if said is None]
    unexplained = [(number, what) for number, what in survivors if what not in known.get(number, {})]
    assert not unexplained, unexplained
    explained = {(number, what) for number, reasons in known.items() for what in reasons}
    assert explained == set(survivors), f"explained, but caught or gone: {explained - set(survivors)}"
    assert count >= 15 * len(marking.exercises(name)), f"only {count} mutants"
    assert len(survivors) <= 0.05 * count, f"{len(survivors)} of {count} survive"
    page = (assignments.masters() / "README.md").read_text(encoding="utf-8")
    answers = marking.answers(name)
    right, wrong = (sum(len(found) for found in part.values()) for part in (answers.RIGHT, answers.WRONG))
    row = f"| {name} | {len(answers.RIGHT)} | {right} | {wrong} | {count} | {count - len(survivors)} |"
    assert row in page, f"notebooks/assignments/README.md should have the row {row}"


def test_mutants_are_made():
    text = '''def f(x, *, axis=(0, 2), keep=True):
    """Adds 1."""
    if x.sum() > 3 and not keep:
        raise ValueError(f"{x + 1} is too many")
    total = x.mean(dim=axis, keepdim=keep) * 2
    total += 1
    return total - g(x, 0.5)
'''
    made = dict(marking.mutants(text))
    for what in (
        "line 1: last axis dropped: (0, 2)", "line 1: truth turned round: True",
        "line 3: and/or changed: x.sum() > 3 and not keep",
        "line 3: comparison changed: x.sum() > 3",
        "line 3: sign or not dropped: not keep",
        "line 3: mean for sum: x.sum",
        "line 5: dim= dropped: x.mean(dim=axis, keepdim=keep)",
        "line 5: Mult changed: x.mean(dim=axis, keepdim=keep) * 2",
        "line 6: left out: total += 1",
        "line 6: Add changed: total += 1",
        "line 7: two arguments swapped: g(x, 0.5)",
        "line 7: another number: 0.5",
        "line 7: left out: return total - g(x, 0.5)",
        "line 1: one more: 2",
    ):  # fmt: skip
        assert what in made, (what, sorted(made))
    assert len(set(made.values())) == len(made) and not any("Adds 2" in m or "x - 1" in m for m in made.values())


# ---------------------------------------------------------------------------------------------------------- the masters


@pytest.mark.parametrize("name", marking.NAMES)
def test_master(name):
    notebook, cells = cells_of(assignments.masters() / name / f"{name}.ipynb")
    found = marking.exercises(name)
    assert 3 <= len(found) <= 5 and set(marking.answers(name).RIGHT) == set(marking.answers(name).WRONG) == set(found)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    order = [cell.metadata["nbgrader"]["grade_id"] for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert order == [f"{kind}_{n.replace('.', '_')}" for n in found for kind in ("exercise", "check", "hidden")]
    for number, exercise in found.items():
        assert number.startswith(f"{int(name[:2])}.")
        row = re.search(rf"^\| {re.escape(number)} \|.*\| [●○]{{5}} \| [●○]{{5}} \| \d+ \| 5 \|$", text, re.MULTILINE)
        assert row, f"{number} has no row with difficulty, importance, minutes and points"
        part = text.split(f"## Exercise {number}:")[1].split("\n## ")[0]
        assert [
            re.search(rf"<summary>Hint {n}: [^<]+</summary>[^\n]{{20,}}</details>", part) is not None for n in (1, 2, 3)
        ] == [True] * 3
        assert exercise.points == {"check": 2, "hidden": 3}
        key = number.replace(".", "_")
        assert cells[f"check_{key}"].metadata["tags"] == ["raises-exception"]
        assert cells[f"check_{key}"].metadata["jupyter"] == {"source_hidden": True}  # its first line is what one sees
        assert exercise.check.startswith(f"# Check {number}: run this cell as often as you like.")
        assert "tags" not in cells[f"hidden_{key}"].metadata
        visible = assignments._HIDDEN.sub("", exercise.hidden).strip()
        assert visible == f"# Hidden tests for exercise {number} run here when this is graded."
        assert "BEGIN HIDDEN" not in exercise.check and f"checks.run(check_{key}, " in exercise.check


def test_what_the_functions_of_assignment_06_are_for():
    """The code that its last page shows, after the reference solutions."""
    name = "06_bake_off"
    notebook = nbformat.read(assignments.masters() / name / f"{name}.ipynb", 4)
    (shown,) = (cell.source for cell in notebook.cells if cell.cell_type == "markdown" and "```python" in cell.source)
    found = marking.exercises(name)
    texts = [*found["6.1"].head, *(exercise.solution for exercise in found.values())]
    texts.append(shown.split("```python")[1].split("```")[0])
    ran = subprocess.run([sys.executable, "-c", "\n".join(texts)], cwd=marking.root(), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    printed = ran.stdout.strip().split("\n")
    assert re.fullmatch(r"\{'trained': 250, 'tuned': \d+\}", printed[0]) and "undecided" in printed[-1]


# ------------------------------------------------------------------------------------------- what learners get to see


def lines(text: str) -> set[str]:
    """The lines of a text that say something: no comments' marks, blanks and two-word lines."""
    return {line.strip() for line in text.split("\n") if len(re.findall(r"\w+", line)) > 2}


def secrets(name: str) -> tuple[set[str], set[str]]:
    """-> what no learner's copy may hold: lines of solutions and of hidden tests that are not in visible parts too."""
    given, hidden = set(), set()
    everything = [exercise for other in marking.NAMES for exercise in marking.exercises(other).values()]
    visible = set().union(*(lines(exercise.stub) | lines(exercise.check) for exercise in everything))
    for exercise in marking.exercises(name).values():
        given |= lines(exercise.solution) - visible
        hidden |= lines("\n".join(assignments._HIDDEN.findall(exercise.hidden))) - visible
    return given, hidden


def expected_numbers(name: str) -> set[str]:
    """Numbers with four digits or more that only the hidden tests have."""
    found = [
        set(re.findall(r"\d[\d_]*\.?\d*", text))
        for text in ("\n".join(e.hidden for e in marking.exercises(name).values()),)
    ]
    seen = set(re.findall(r"\d[\d_]*\.?\d*", "\n".join(e.check for e in marking.exercises(name).values())))
    return {number for number in found[0] - seen if len(re.sub(r"\D", "", number)) >= 5}


def learners_tree(folder: Path) -> Path:
    """What a learner has: the package as it is installed, the lessons, and a released copy of each assignment."""
    package = Path(assignments.__file__).resolve().parent
    shutil.copytree(package, folder / "inception_lessons", ignore=shutil.ignore_patterns("__pycache__"))
    lessons = marking.root() / "notebooks"
    for path in lessons.glob("*.ipynb"):
        shutil.copy(path, folder)
    for name in marking.NAMES:
        assignments.copy(name, folder / "assignments")
    return folder


def test_learners_tree_gives_nothing_away(tmp_path):
    tree = learners_tree(tmp_path)
    texts = {}
    for path in tree.rglob("*"):
        if path.suffix == ".ipynb":
            cells = nbformat.read(path, 4).cells
            texts[path] = "\n".join(cell.source for cell in cells) + json.dumps([cell.get("outputs") for cell in cells])
        elif path.is_file():
            texts[path] = path.read_text(encoding="utf-8", errors="replace")
    assert len([path for path in texts if path.parent.name == "assignments"]) == len(marking.NAMES)
    leaks = []
    for name in marking.NAMES:
        given, hidden = secrets(name)
        assert len(given) >= 8 and len(hidden) >= 20
        for path, text in texts.items():
            found = lines(text)
            wanted = (
                (given | hidden)
                if path.parent.name == "assignments"
                else {line for line in given | hidden if len(line) > 60}
            )
            leaks += [(path.name, line) for line in wanted & found]
            leaks += [(path.name, number) for number in expected_numbers(name) if path.stem == name and number in text]
            if path.stem == name:
                leaks += [(path.name, word) for word in ("BEGIN", "def hidden_") if word in text]
    assert not leaks, leaks


def test_copies_have_no_outputs_and_are_never_overwritten(tmp_path):
    name = marking.NAMES[0]
    path = assignments.copy(name, tmp_path)
    notebook, cells = cells_of(path)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells)
    assert all(cell.metadata["editable"] is False for key, cell in cells.items() if not key.startswith("exercise"))
    path.write_text("my work")
    assert assignments.copy(name, tmp_path).read_text() == "my work"
    with pytest.raises(ValueError, match="no assignment 09_nothing; there are 0"):
        assignments.copy("09_nothing", tmp_path)
    with pytest.raises(ValueError, match=rf"copied into a folder, and .*{name}.ipynb is a file"):
        assignments.copy(name, path)
    assert path.read_text() == "my work" and [file.name for file in tmp_path.iterdir()] == [path.name]
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{name}.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("name", marking.NAMES)
def test_copies_run_up_to_their_stubs(name, tmp_path):
    """A learner's copy under nbval: every check says that the exercise is not written, and nothing else fails."""
    path = assignments.copy(name, tmp_path)
    notebook, cells = cells_of(path)
    for cell in cells.values():  # a stub raises where it is called, not where it stands
        if cell.metadata["nbgrader"]["solution"]:
            compile(cell.source, "stub", "exec")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    command += ["-p", "nbval_shims", "--nbval", "--nbval-current-env", "--nbval-cell-timeout=120", str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(marking.root() / "tests"), str(marking.root())])}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0 and " passed" in ran.stdout and "failed" not in ran.stdout, ran.stdout[-3000:]
    import nbclient

    done = nbclient.NotebookClient(
        notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": tmp_path}}
    ).execute()
    for cell in done.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        said = [output for output in cell.get("outputs", []) if output.output_type == "error"]
        if grade_id.startswith("check"):
            number = checks.exercise_of(grade_id)
            assert [error.evalue for error in said] == [f"{number}: Exercise {number} is not written yet."]
        else:
            assert not said, said


def test_copies_that_are_there_cost_no_time(tmp_path):
    """`make lab` asks for them at every start, and torch alone takes longer to load than all else that it does."""
    program = """
import sys
from inception_lessons import __main__
assert __main__.main(["assignments", "copy", "--out", sys.argv[1]]) == 0
print("loaded", *sorted({"torch", "numpy", "nbformat", "IPython"} & set(sys.modules)))
"""
    for wanted in ("loaded nbformat numpy torch", "loaded"):  # the first call writes them
        ran = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines()[-1] == wanted
    assert len(list(tmp_path.glob("*.ipynb"))) == len(assignments.names())


# ---------------------------------------------------------------------------------------------------- a teacher's way


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return assignments.create(tmp_path_factory.mktemp("teacher") / "course")


def nbgrader(course: Path, *arguments: str) -> str:
    """One of the README's commands, as a teacher gives it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ran = subprocess.run(
        ["nbgrader", *arguments], cwd=course, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stderr


@needs_nbgrader
@pytest.mark.parametrize("name", marking.NAMES)
def test_nbgrader_releases_the_same_copy(name, course, tmp_path):
    nbgrader(course, "generate_assignment", name, "--force")
    theirs, ours = (
        nbformat.read(p, 4) for p in (course / "release" / name / f"{name}.ipynb", assignments.copy(name, tmp_path))
    )
    assert [cell.source.rstrip() for cell in theirs.cells] == [cell.source.rstrip() for cell in ours.cells]
    assert [c.metadata.get("nbgrader", {}).get("grade_id") for c in theirs.cells] == [
        c.metadata.get("nbgrader", {}).get("grade_id") for c in ours.cells
    ]
    assert [c.metadata.get("editable", True) for c in theirs.cells] == [
        c.metadata.get("editable", True) for c in ours.cells
    ]


@needs_nbgrader
def test_the_readmes_five_steps(tmp_path):
    """A teacher's commands as the README has them, for two learners."""
    text = (marking.root() / "README.md").read_text(encoding="utf-8").split("## Assignments")[1]
    steps = [line.split("   #")[0].strip() for line in text.split("```")[1].strip().split("\n")]
    assert steps[0] == "make course && cd build/course && . ../../.venv/bin/activate" and len(steps) == 5
    course, name = assignments.create(tmp_path / "course"), "02_batch_norm"
    for learner, text_of in {"ada": "solution", "bob": "stub"}.items():
        notebook, cells = cells_of(assignments.copy(name, tmp_path / "copy"))
        for number, exercise in marking.exercises(name).items():
            cells[f"exercise_{number.replace('.', '_')}"].source = getattr(exercise, text_of)
        nbformat.write(notebook, course / f"{learner}.ipynb")
    steps.insert(3, steps[2].replace("ada", "bob"))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for step in steps[1:]:
        ran = subprocess.run(
            step, shell=True, cwd=course, env=os.environ | {"PATH": path}, capture_output=True, text=True
        )
        assert ran.returncode == 0, f"{step}: {ran.stderr[-2000:]}"
    with open(course / "grades.csv", newline="", encoding="utf-8") as file:
        grades = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(file)}
    assert grades == {"ada": (20, 20), "bob": (0, 20)}
    pages = [path.read_text(encoding="utf-8") for path in sorted(course.glob(f"feedback/*/{name}/{name}.html"))]
    assert "2.1: 20 checks pass" not in pages[0] and "is not written yet" not in pages[0]
    assert "Exercise 2.1 is not written yet." in pages[1]


def test_bad_courses_and_names(tmp_path, monkeypatch):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="letters is not empty"):
        assignments.create(tmp_path / "letters")
    with pytest.raises(ValueError, match="is no course: there is no nbgrader_config.py.*assignments create FOLDER"):
        assignments.mark(tmp_path / "nowhere", "02_batch_norm")
    course = assignments.create(tmp_path / "course")
    with pytest.raises(ValueError, match="no assignment 2; it has .*02_batch_norm"):
        assignments.mark(course, "2")
    with pytest.raises(ValueError, match="not a folder of submissions"):
        assignments.mark(course, "02_batch_norm", tmp_path / "nobody")
    with pytest.raises(ValueError, match="names.txt is no class list, a text file with one name a line"):
        assignments.mark(course, "02_batch_norm", class_list=tmp_path / "names.txt")
    master = course / "source" / "02_batch_norm" / "02_batch_norm.ipynb"
    master.write_text("mine")
    (course / "nbgrader_config.py").write_text("mine too")
    assignments.create(course)  # a second time: what is there stays
    assert master.read_text() == "mine" and (course / "nbgrader_config.py").read_text() == "mine too"
    monkeypatch.setattr(
        assignments, "__file__", str(tmp_path / "site-packages" / "inception_lessons" / "assignments.py")
    )
    with pytest.raises(FileNotFoundError, match="in the course's repository"):
        assignments.names()


def test_command(tmp_path, capsys):
    assert assignments.main(["copy", "02_batch_norm", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "02_batch_norm.ipynb")
    assert assignments.main(["create", str(tmp_path / "course")]) == 0
    assert "02_batch_norm" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        assignments.main([])


class Classroom:
    """A class of simulated learners for one assignment: their files, and the marks that each must get."""

    def __init__(self, name: str, folder: Path):
        self.name, self.folder = name, folder
        self.exercises, self.answers = marking.exercises(name), marking.answers(name)
        self.expected, self.unreadable = {}, set()
        self.released = assignments.copy(name, folder / "released")
        (folder / "submissions").mkdir()

    def hand_in(
        self, learner: str, texts: dict[str, str], marks: dict[str, float], change=lambda notebook, cells: None
    ):
        """A submission in which the exercises have these texts; `change` may do anything to the notebook."""
        notebook, cells = cells_of(self.released)
        for number, text in texts.items():
            cells[f"exercise_{number.replace('.', '_')}"].source = text
        change(notebook, cells)
        nbformat.write(notebook, self.folder / "submissions" / f"{learner}.ipynb")
        self.expected[learner] = {number: float(marks.get(number, 0)) for number in self.exercises}

    def reference(self) -> tuple[dict, dict]:
        return {n: e.solution for n, e in self.exercises.items()}, {n: 5.0 for n in self.exercises}

    def right(self, index: int) -> tuple[dict, dict]:
        texts = {n: list(self.answers.RIGHT[n].values())[index % len(self.answers.RIGHT[n])] for n in self.exercises}
        return texts, {n: 5.0 for n in self.exercises}

    def wrong(self, index: int) -> tuple[dict, dict]:
        chosen = {n: self.answers.WRONG[n][index % len(self.answers.WRONG[n])] for n in self.exercises}
        return {n: w.text(self.exercises[n]) for n, w in chosen.items()}, {n: w.keeps for n, w in chosen.items()}

    def fill(self) -> None:
        """Right, wrong in each known way, blank, and the disasters. A disaster's other exercises are right."""
        for index in range(2):
            self.hand_in(f"right_{index}", *self.right(index))
        for index in range(max(len(wrong) for wrong in self.answers.WRONG.values())):
            self.hand_in(f"wrong_{index:02d}", *self.wrong(index))
        self.hand_in("blank", {}, {})
        first = next(iter(self.exercises))
        called = re.search(r"^(?:class|def) (\w+)", self.exercises[first].solution, re.MULTILINE)[1]
        for disaster, body in IN_THE_ANSWER.items():
            texts, marks = self.reference()
            inside = "\n".join("    " + line for line in body.format(course=self.folder / "course").split("\n"))
            texts[first] = f"def {called}(*args, **kwargs):\n{inside}\n"
            self.hand_in(disaster, texts, marks | {first: 0.0})
        for disaster, (cell, where) in IN_A_CELL.items():
            texts, marks = self.reference()
            texts = {} if disaster.startswith("patches") else texts

            def change(notebook, cells, cell=cell, where=where):
                notebook.cells.insert(
                    where, nbformat.v4.new_code_cell(cell.format(course=self.folder / "course", name=called))
                )

            self.hand_in(disaster, texts, marks if texts else {}, change)
        texts, marks = self.reference()
        texts[first] += "\n((("
        self.hand_in("syntax_error", texts, marks | {first: 0.0})
        self.hand_in("edits_the_tests", *self.wrong(0), self.edit_tests)
        self.hand_in("removes_the_tests", *self.wrong(1), self.remove_tests)
        self.hand_in("forges_outputs", {}, {}, self.forge)
        self.hand_in("calls_it_manual", *self.reference(), self.call_it_manual)
        self.hand_in("prints_megabytes", *self.reference(), self.print_megabytes)
        for learner, content in {
            "not_a_notebook": b'{"cells": [',
            "empty": b"",
            "another_file": b"\x00\xff" * 999,
        }.items():
            (self.folder / "submissions" / f"{learner}.ipynb").write_bytes(content)
            self.unreadable.add(learner)
        (self.folder / "submissions" / "two_files").mkdir()
        for copy in "ab":
            shutil.copy(self.released, self.folder / "submissions" / "two_files" / f"{copy}.ipynb")
        self.unreadable.add("two_files")
        self.expected |= {learner: dict.fromkeys(self.exercises, 0.0) for learner in self.unreadable}

    def edit_tests(self, notebook, cells):
        for grade_id, cell in cells.items():
            if not grade_id.startswith("exercise"):
                cell.source = "print('all checks pass')"
                cell.metadata["nbgrader"]["points"] = 100

    def remove_tests(self, notebook, cells):
        notebook.cells = [c for c in notebook.cells if not c.metadata.get("nbgrader", {}).get("grade")]

    def forge(self, notebook, cells):
        for grade_id, cell in cells.items():
            if not grade_id.startswith("exercise"):
                cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "3"}, execution_count=1)]

    def call_it_manual(self, notebook, cells):
        for grade_id, cell in cells.items():
            if not grade_id.startswith("exercise"):
                cell.metadata["nbgrader"].update(solution=True, locked=False)

    def print_megabytes(self, notebook, cells):
        for cell in cells.values():
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="spam " * 10**6)]


IN_THE_ANSWER = {
    "crashes": "import os\nos._exit(1)",
    "segfault": "import signal\nsignal.raise_signal(signal.SIGSEGV)",
    "exits": "raise SystemExit",
    "loops": "while True: pass",
    "eats_memory": "a = []\nwhile True: a.append(bytearray(10**7))",
    "floods": "while True: print('spam' * 10**6)",
    "deletes": "import shutil\nshutil.rmtree('{course}')",
    "deletes_here": "import os, shutil\nshutil.rmtree(os.getcwd())\nreturn 1",
    "reads_the_key": "import sqlite3\nsqlite3.connect('{course}/gradebook.db').execute('select * from cell')",
    "opens_the_master": "import glob\nfor path in glob.glob('{course}/source/*/*.ipynb'): open(path).read()\nreturn 1",
    "starts_programs": "import subprocess\nsubprocess.Popen(['sleep', '1000'])",
}
IN_A_CELL = {
    "loops_in_a_cell": ("while True:\n    pass", 2),
    "crashes_in_a_cell": ("import os\nos._exit(1)", 2),
    "raises_in_a_cell": ("1 / 0", 2),
    "deletes_in_a_cell": ("import shutil\nshutil.rmtree('{course}')\n!rm -rf {course}", 2),
    "patches_torch": (
        "import torch\ntorch.allclose = torch.equal = lambda *a, **k: True\n"
        "class {name}:\n    torch.allclose = lambda *a, **k: True",
        -1,
    ),
    "patches_checks": (
        "from inception_lessons import checks\nchecks.run = checks.same = checks.that = print\n"
        "class Patch:\n    checks.same = checks.that = print\n    checks._agree = lambda *a: True",
        2,
    ),
}


@needs_nbgrader
@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_a_class(name, tmp_path):
    """At least 30 submissions, one command: exactly the marks that each deserves, and nobody pays for another."""
    classroom = Classroom(name, tmp_path)
    classroom.fill()
    assert len(classroom.expected) >= 30
    course = assignments.create(tmp_path / "course")
    start = time.monotonic()
    command = [sys.executable, "-m", "inception_lessons", "assignments", "mark", str(course), name]
    command += ["--submissions", str(tmp_path / "submissions"), "--class", str(tmp_path / "names.txt")]
    (tmp_path / "names.txt").write_text("\n".join([*classroom.expected, "", " ill "]), encoding="utf-8")
    classroom.expected["ill"] = dict.fromkeys(classroom.exercises, 0.0)  # on the list, and handed in nothing
    classroom.unreadable.add("ill")
    ran = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - start
    print(f"{name}: {len(classroom.expected)} submissions in {seconds:.0f} s")
    assert ran.returncode == 1, ran.stdout + ran.stderr  # some could not be read, and are named
    with open(course / f"marks_{name}.csv", newline="", encoding="utf-8") as file:
        table = {row["learner"]: row for row in csv.DictReader(file)}
    assert float(table.pop("(most)")["sum"]) == 5 * len(classroom.exercises)
    marks = {learner: {n: float(row[n]) for n in classroom.exercises} for learner, row in table.items()}
    assert marks == classroom.expected
    assert {learner for learner, row in table.items() if row["note"]} == classroom.unreadable
    assert table["ill"]["note"] == "nothing was handed in"
    feedback = {
        path.parent.parent.name: path.read_text(encoding="utf-8") for path in course.glob(f"feedback/*/{name}/*.html")
    }
    assert set(feedback) == set(classroom.expected) - classroom.unreadable
    assert not [learner for learner, page in feedback.items() if "def hidden_" in page or "BEGIN HIDDEN" in page]
    assert "is not written yet" in feedback["blank"] and len(feedback["prints_megabytes"]) < 5e6
    assert sorted(p.name for p in course.glob("source/*")) == marking.NAMES  # nothing was deleted
