"""The small exercises inside lessons: the stub and the answer of each page, their checks, right and wrong answers."""

import dataclasses
import re
import textwrap

import marking
import nbformat
import pytest
from answers import lessons

from inception_lessons import assignments, checks, exercises

LESSONS = sorted((marking.root() / "notebooks").glob("0[1-6]_*.ipynb"))
RUN = re.compile(r"^checks\.run\(exercises\.(\w+), \"(\w+)\"\)$", re.MULTILINE)


@dataclasses.dataclass
class Small:
    """One exercise of a lesson: `solution` as the page gives it away, and the cells that come `before`."""

    lesson: str
    number: str  # of the exercise: what its wrong answers call it
    name: str
    stub: str
    output: list[dict]
    solution: str
    before: list[str]

    def judged(self, text: str) -> dict:
        """What the check says of an answer, on the lesson's page."""
        sources = [*((f"cell {n}", source) for n, source in enumerate(self.before, 1)), ("your answer", text)]
        test = f"from inception_lessons import exercises\nchecks.run(exercises.{self.number}, {self.name!r})"
        return checks.judge(checks.cells(sources), test)


def found() -> dict[str, Small]:
    small = {}
    for path in LESSONS:
        cells = nbformat.read(path, 4).cells
        fenced = [text for cell in cells for text in re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)]
        fenced = [textwrap.dedent(text) for text in fenced]
        code = [cell for cell in cells if cell.cell_type == "code"]
        for place, cell in enumerate(code):
            for check, name in RUN.findall(cell.source):
                solution = [text for text in fenced if re.search(rf"^(class|def) {name}\b", text, re.MULTILINE)]
                if not solution:  # lesson 03 has its answer in a cell of its own, as a class with two methods
                    [answer] = [c.source for c in code if f"class Answer({name})" in c.source]
                    methods = answer.split(":\n", 1)[1].split("\n\n\n")[0]
                    given = RUN.sub("", cell.source)
                    first, last = given.index("    def build_twice"), given.index("    def forward")
                    solution = [f"{given[:first]}{methods}\n\n{given[last:]}"]
                [solution] = solution
                before = [c.source for c in code[:place]]
                small[check] = Small(path.stem, check, name, cell.source, cell.outputs, solution, before)
    return small


SMALL = found()


def test_each_lesson_has_one_and_each_check_is_used():
    assert {exercise.lesson for exercise in SMALL.values()} == {path.stem for path in LESSONS}
    checks_of_lessons = {
        name
        for name, thing in vars(exercises).items()
        if callable(thing) and (thing.__doc__ or "").startswith("Lesson ")
    }
    assert set(SMALL) == checks_of_lessons == set(lessons.RIGHT) == set(lessons.WRONG)


@pytest.mark.parametrize("name", SMALL)
def test_the_page_says_that_it_is_not_written(name):
    """What is stored under the stub is what the check says of it, and one sentence without lines of a traceback."""
    small = SMALL[name]
    [output] = small.output
    said = small.judged(RUN.sub("", small.stub))["sentence"]
    assert re.fullmatch(rf"{small.name}: [\w ]+ is not written yet\.", said)
    assert (output.output_type, output.ename, output.evalue) == ("error", "CheckFailed", said)
    assert output.traceback == [f"CheckFailed: {said}"]
    assert any(f"Lesson {small.lesson[:2]}:" in line for line in (getattr(exercises, name).__doc__,))


@pytest.mark.parametrize("name", SMALL)
def test_right_answers_pass(name):
    small, right = SMALL[name], lessons.RIGHT[name]
    assert len(right) >= 2 and "the package's own" in right
    for what, text in {"the page's": small.solution, **right}.items():
        said = small.judged(text)
        assert said["passed"] and re.fullmatch(rf"{small.name}: \d+ checks pass\.", said["sentence"]), f"{what}: {said}"


@pytest.mark.parametrize("name", SMALL)
def test_wrong_answers_get_a_sentence_of_their_own(name):
    small, sentences = SMALL[name], {}
    assert len(lessons.WRONG[name]) >= 5
    for wrong in lessons.WRONG[name]:
        said = small.judged(wrong.text(small))
        assert not said["passed"] and wrong.says in said["sentence"], f"{wrong.name}: {said['sentence']}"
        assert said["sentence"] not in sentences, f"{wrong.name} is told the same as {sentences[said['sentence']]}"
        sentences[said["sentence"]] = wrong.name


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_mutants_are_caught(name):
    """Of the small changes of the page's answer 95 in 100 are found; those that are not are listed with the reason."""
    known, survivors, count = lessons.EQUIVALENT.get(name, {}), [], 0
    small = SMALL[name]
    small = dataclasses.replace(small, before=[s for s in small.before if "import torch" in s or "layers" in s][:1])
    for what, text in marking.mutants(small.solution):
        count += 1
        if small.judged(text)["passed"]:
            survivors.append(what)
    print(f"{name}: {count} mutants, {len(survivors)} survive")
    assert sorted(survivors) == sorted(known), set(survivors) ^ set(known)
    assert count >= 15 and len(survivors) <= 0.05 * count


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_links_to_its_assignment(path):
    """By its title, once; where the master is there, in the master's own words."""
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    [(title, target)] = re.findall(r"\[(Assignment \d\d: [^\]]+)\]\(\.\./build/assignments/(\w+)\.ipynb\)", text)
    assert target == path.stem and title.startswith(f"Assignment {path.stem[:2]}: ")
    if target in assignments.names():
        master = nbformat.read(assignments.masters() / target / f"{target}.ipynb", 4)
        assert master.cells[0].source.startswith(f"# {title}\n")
