"""Assignments: copies for learners, an nbgrader course for teachers, marks that no answer can forge.

Masters lie in notebooks/assignments/, one notebook each, with solutions and hidden tests. A learner's copy has neither.
Grading is nbgrader's own (``nbgrader autograde``), with one part replaced: instead of running a submission's cells in a
kernel, where one cell can hold up, redefine or end everything, `Mark` hands the learner's definitions and each of the
teacher's tests to `checks.judge`.
"""

import csv
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path

# `make lab` asks for `copy` at every start, and torch comes with `checks`: it is imported where it is needed.

LONGEST = 100 * 2**20  # bytes of a submitted notebook: nbgrader's own limit for a file
_SOLUTION = re.compile(r"^(?P<indent>[ \t]*)#+ BEGIN SOLUTION.*?#+ END SOLUTION[^\n]*$", re.DOTALL | re.MULTILINE)
_HIDDEN = re.compile(r"^[^\n]*#+ BEGIN HIDDEN TESTS.*?#+ END HIDDEN TESTS[^\n]*\n?", re.DOTALL | re.MULTILINE)


def masters() -> Path:
    """The folder of the masters, beside the lessons. Raises FileNotFoundError where the package came without them."""
    folder = Path(__file__).resolve().parent.parent / "notebooks" / "assignments"
    if not folder.is_dir():
        raise FileNotFoundError(f"the assignments lie in the course's repository, and are not at {folder}")
    return folder


def names() -> list[str]:
    """The assignments that there are, in order: ["01_inception_v1", ...]."""
    return sorted(path.stem for path in masters().glob("*/*.ipynb") if path.stem == path.parent.name)


def _known(name: str) -> str:
    if name not in names():
        raise ValueError(f"there is no assignment {name}; there are {', '.join(names())}")
    return name


# ------------------------------------------------------------------------------------------------------ for learners


def stub(grade_id: str) -> str:
    """ "exercise_2_1" -> the line that stands where the solution was."""
    from inception_lessons import checks

    return f'raise NotImplementedError("exercise {checks.exercise_of(grade_id)}")'


def copy(name: str, folder: str | Path) -> Path:
    """An assignment's name -> folder/NAME.ipynb, without solutions and hidden tests; needs no nbgrader.

    A file that is there is the learner's work and stays as it is. Raises ValueError for a name that there is not, and
    for a folder that is a file.
    """
    path = Path(folder) / f"{_known(name)}.ipynb"
    if path.parent.exists() and not path.parent.is_dir():
        raise ValueError(f"assignments are copied into a folder, and {path.parent} is a file")
    if path.exists():
        return path
    import nbformat

    notebook = nbformat.read(masters() / name / f"{name}.ipynb", 4)
    for cell in notebook.cells:
        about = cell.metadata.get("nbgrader", {})
        if about.get("solution"):
            line = stub(about["grade_id"])
            cell.source = _SOLUTION.sub(lambda found, line=line: found["indent"] + line, cell.source)
        cell.source = _HIDDEN.sub("", cell.source).rstrip("\n")
        if about.get("locked"):
            cell.metadata.update(editable=False, deletable=False)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    _place(path, lambda beside: nbformat.write(notebook, beside))
    return path


def _place(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file beside, then rename it: whoever looks finds the file before or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------------ for teachers


def configure(c: object) -> None:
    """What nbgrader_config.py of a course says to nbgrader: three parts of ours, the rest as nbgrader has it.

    ``c`` is the object that ``get_config()`` gives. Raises ValueError where this nbgrader is put together differently.
    """
    from nbgrader import preprocessors as theirs
    from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback

    Mark, Stubs, Restore = _parts()
    c.CourseDirectory.course_id = "inception"
    release = [Stubs if part is theirs.ClearSolutions else part for part in _default(GenerateAssignment, "")]
    marking = [Mark if part is theirs.Execute else part for part in _default(Autograde, "autograde_")]
    if Stubs not in release or Mark not in marking:
        raise ValueError("this nbgrader is put together in another way than 0.9.6: install the course's extra")
    c.GenerateAssignment.preprocessors = release
    c.Autograde.sanitize_preprocessors = [Restore, *_default(Autograde, "sanitize_")]
    c.Autograde.autograde_preprocessors = marking
    c.OverwriteCells.add_missing_cells = True  # a test that a learner deleted comes back
    hide = theirs.ClearHiddenTests  # for next year's class
    c.GenerateFeedback.preprocessors = [*_default(GenerateFeedback, ""), hide]


def _default(converter: type, kind: str) -> list:
    """The preprocessors of one of nbgrader's converters, in their order."""
    return list(getattr(converter, f"{kind}preprocessors").default())


def _parts() -> tuple[type, type, type]:
    """Our preprocessors, made when nbgrader is there."""
    from nbformat.v4 import new_output
    from nbgrader.preprocessors import ClearSolutions, NbGraderPreprocessor

    class Stubs(ClearSolutions):
        """nbgrader's own, with the exercise's number in the line that is left."""

        def preprocess_cell(self, cell, resources, cell_index):
            about = cell.metadata.get("nbgrader", {})
            if about.get("solution"):
                self.code_stub = {**self.code_stub, "python": stub(about["grade_id"])}
            return super().preprocess_cell(cell, resources, cell_index)

    class Mark(NbGraderPreprocessor):
        """In the place of nbgrader's Execute: no cell of a submission is run here, each test is judged elsewhere."""

        def preprocess(self, nb, resources):
            from inception_lessons import checks

            graded = [cell for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade")]
            written = [
                (_label(cell, number), cell.source)
                for number, cell in enumerate(nb.cells, 1)
                if cell.cell_type == "code" and cell not in graded
            ]
            sources = checks.cells(written)
            for cell in graded:
                found = checks.judge(sources, cell.source)
                if found["passed"]:
                    cell.outputs = [new_output("stream", name="stdout", text=found["sentence"] + "\n")]
                else:
                    said = textwrap.fill(found["sentence"], 100)
                    cell.outputs = [new_output("error", ename="CheckFailed", evalue=said, traceback=[said])]
            return nb, resources

    class Restore(NbGraderPreprocessor):
        """Before anything else: what a cell is follows from its name, whatever a submission's metadata say."""

        def preprocess_cell(self, cell, resources, cell_index):
            about = cell.metadata.get("nbgrader", {})
            kind = re.fullmatch(r"(exercise|check|hidden)_\d+_\d+", str(about.get("grade_id")))
            if not kind:
                cell.metadata.pop("nbgrader", None)
                return cell, resources
            answer = kind[1] == "exercise"
            about |= {"solution": answer, "grade": not answer, "locked": not answer, "task": False, "schema_version": 3}
            if not answer:
                about["points"] = 0  # nbgrader puts the right number back
            return cell, resources

    return Mark, Stubs, Restore


def _label(cell, number: int) -> str:
    """What a cell is called in a sentence: the exercise that it answers, else its place."""
    from inception_lessons import checks

    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
    answers = grade_id.startswith("exercise_")
    return f"your answer to {checks.exercise_of(grade_id)}" if answers else f"cell {number}"


def create(folder: str | Path) -> Path:
    """An nbgrader course: masters in source/, and its configuration. A file that is there stays.

    Raises FileExistsError for a folder that holds something else.
    """
    course = Path(folder)
    if course.exists() and any(course.iterdir()) and not (course / "nbgrader_config.py").exists():
        raise FileExistsError(f"{course} is not empty and holds no nbgrader_config.py: name a new folder")
    for name in names():
        target = course / "source" / name / f"{name}.ipynb"
        if not target.exists():
            _place(target, partial(shutil.copyfile, masters() / name / f"{name}.ipynb"))
    config = course / "nbgrader_config.py"
    if not config.exists():
        _place(config, lambda beside: beside.write_text(_CONFIG, encoding="utf-8"))
    return course


_CONFIG = '''"""nbgrader reads this in the folder where you call it. Settings of your own go below."""

from inception_lessons import assignments

c = get_config()  # noqa: F821  nbgrader's
assignments.configure(c)
'''


def mark(
    course: str | Path, name: str, submissions: str | Path | None = None, class_list: str | Path | None = None
) -> dict:
    """Release, collect, autograde, feedback, marks: nbgrader's commands one after the other -> what came of them.

    `submissions`: a folder with one folder or one notebook a learner, copied into the course's submitted/.
    `class_list`: a text file with a learner's name a line, so that whoever handed in nothing is told, too. The answer
    has `marks` (learner -> {"exercise": points}), `failed` (learner -> sentence) and `table`, the CSV file. One
    submission that cannot be read stops nothing. Raises ValueError for a course or an assignment that there is not.
    """
    course = Path(course).resolve()
    if not (course / "nbgrader_config.py").exists():
        raise ValueError(
            f"{course} is no course: there is no nbgrader_config.py in it. Is it the right folder? A new course: "
            "python -m inception_lessons assignments create FOLDER"
        )
    if not (course / "source" / name).is_dir():
        there = sorted(path.name for path in (course / "source").iterdir())
        raise ValueError(f"the course has no assignment {name}; it has {', '.join(there)}")
    learners = _names(Path(class_list)) if class_list else []
    failed = _collect(course, name, Path(submissions)) if submissions else {}
    _nbgrader(course, "generate_assignment", name, "--force")
    there = {path.parent.name for path in (course / "submitted").glob(f"*/{name}")}
    failed |= {learner: _unreadable(course / "submitted" / learner / name, name) for learner in sorted(there)}
    failed = {learner: reason for learner, reason in failed.items() if reason}
    good = sorted(there - set(failed))
    if good:
        left_out = [f"--CourseDirectory.student_id_exclude={','.join(sorted(failed))}"] if failed else []
        _nbgrader(course, "autograde", name, "--force", *left_out, tolerant=True)
        _nbgrader(course, "generate_feedback", name, "--force", *left_out, tolerant=True)
    marks, whole = _marks(course, name)
    graded = {path.parent.parent.name for path in course.glob(f"autograded/*/{name}/{name}.ipynb")}
    failed |= {learner: f"nbgrader autograde {name} --student={learner} says why not" for learner in set(good) - graded}
    failed |= {learner: "nothing was handed in" for learner in learners if learner not in there | set(failed)}
    table = course / f"marks_{name}.csv"
    rows = [["learner", *whole, "sum", "note"], ["(most)", *whole.values(), sum(whole.values()), ""]]
    for learner in sorted(there | set(failed)):
        points = marks.get(learner, {}) if learner not in failed else {}
        points = [points.get(exercise, 0.0) for exercise in whole]
        rows.append([learner, *points, sum(points), failed.get(learner, "")])

    def write(beside):
        with open(beside, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    _place(table, write)
    return {
        "marks": {row[0]: dict(zip(whole, row[1:-2], strict=True)) for row in rows[2:]},
        "failed": failed,
        "table": table,
    }


def _names(path: Path) -> list[str]:
    """A class list -> its names, one a line, empty lines left out."""
    try:
        found = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no class list, a text file with one name a line: {error}") from None
    return [name.strip() for name in found if name.strip()]


def _collect(course: Path, name: str, folder: Path) -> dict:
    """Lay a folder of submissions into submitted/LEARNER/NAME/; what is not one is reported."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder of submissions: one folder, or one notebook, a learner")
    failed = {}
    for path in sorted(folder.iterdir()):
        learner = path.stem if path.is_file() else path.name
        if learner.startswith((".", "__")):
            continue
        found = [path] if path.suffix == ".ipynb" else sorted(path.rglob("*.ipynb")) if path.is_dir() else []
        found = [one for one in found if ".ipynb_checkpoints" not in one.parts]
        named = [one for one in found if one.name == f"{name}.ipynb"] or found
        if len(named) != 1:
            failed[learner] = f"{len(named)} notebooks where one named {name}.ipynb was wanted"
            continue
        _place(course / "submitted" / learner / name / f"{name}.ipynb", partial(shutil.copyfile, named[0]))
    return failed


def _unreadable(folder: Path, name: str) -> str:
    """Why a submission cannot be graded, or nothing."""
    import nbformat

    path = folder / f"{name}.ipynb"
    if not path.exists():
        return f"no file {name}.ipynb"
    if path.stat().st_size > LONGEST:
        size, most = path.stat().st_size / 2**20, LONGEST / 2**20
        return f"the notebook has {size:.0f} MB, and {most:.0f} are allowed: clear its outputs"
    try:
        nbformat.read(path, 4)
    except Exception as error:  # whatever a damaged file makes it raise
        return f"the file is no notebook: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}"
    return ""


def _nbgrader(course: Path, *arguments: str, tolerant: bool = False) -> None:
    """One of nbgrader's own commands; `tolerant` where one submission's failure must not stop the others."""
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}
    command = [sys.executable, "-m", "nbgrader", *arguments]
    ran = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if ran.returncode and not tolerant:
        raise ValueError(f"nbgrader {' '.join(arguments)} failed:\n{ran.stderr[-2000:]}")


def _marks(course: Path, name: str) -> tuple[dict, dict]:
    """-> ({learner: {"2.1": points}}, {"2.1": the most}), from nbgrader's database, check and hidden test together."""
    from nbgrader.api import Gradebook

    from inception_lessons import checks

    marks, whole = {}, {}
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        for cell in book.find_notebook(name, name).grade_cells:
            exercise = checks.exercise_of(cell.name)
            whole[exercise] = whole.get(exercise, 0.0) + cell.max_score
        for submission in book.assignment_submissions(name):
            points = dict.fromkeys(whole, 0.0)
            for notebook in submission.notebooks:
                for grade in notebook.grades:
                    points[checks.exercise_of(grade.name)] += grade.score
            marks[submission.student_id] = points
    return marks, dict(sorted(whole.items()))


def main(arguments: list[str]) -> int:
    """``assignments copy | create | mark``: a learner's copies, a teacher's course, a class's marks; -> exit status."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m inception_lessons assignments", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("copy", help="assignments to work on, without solutions; what is there stays")
    command.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    command.add_argument("--out", default="build/assignments", help="folder (default: %(default)s)")
    command = commands.add_parser("create", help="an nbgrader course with the masters")
    command.add_argument("course", help="a new folder")
    command = commands.add_parser("mark", help="release, collect, autograde, feedback and marks in one")
    command.add_argument("course", help="the folder that create made")
    command.add_argument("name", help="the assignment, as in 02_batch_norm")
    command.add_argument("--submissions", help="a folder with one folder or notebook a learner (default: submitted/)")
    command.add_argument("--class", dest="class_list", metavar="FILE", help="names, one a line: who is missing is told")
    chosen = parser.parse_args(arguments)
    if chosen.command == "copy":
        for name in chosen.names or names():
            print(copy(name, chosen.out))
    elif chosen.command == "create":
        print(f"{create(chosen.course)}: {', '.join(names())}")
    else:
        found = mark(chosen.course, chosen.name, chosen.submissions, chosen.class_list)
        for learner, points in found["marks"].items():
            print(f"{learner:24} {sum(points.values()):6.1f}  {found['failed'].get(learner, '')}".rstrip())
        print(found["table"])
        return 1 if found["failed"] else 0
    return 0
