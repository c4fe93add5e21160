"""The page of symptoms: its table leads to twelve sections, each with a broken and a repaired run; its figures hold."""

import ast
import copy
import math
import random
import re

import nbformat
import pytest
from notebook_rules import ROOT

PAGE = nbformat.read(ROOT / "notebooks" / "symptoms.ipynb", as_version=4)
LABELS = ("One look", "What it is not", "Repair")


def sections(page):
    """{heading: its cells, the headings' text included}, for every heading, in order."""
    found, heading = {}, None
    for cell in page.cells:
        if cell.cell_type == "code":
            found[heading].append(cell)
            continue
        for part in re.split(r"^(?=#{1,6} )", cell.source, flags=re.MULTILINE):
            if part.startswith("#"):
                heading = part.splitlines()[0].lstrip("# ").strip()
                assert heading not in found, f"two headings {heading!r}: a link could not tell them apart"
                found[heading] = []
            if part.strip():
                found[heading].append(nbformat.v4.new_markdown_cell(part))
    return found


def anchor(heading):
    """What JupyterLab and nbconvert make of a heading: blanks become hyphens."""
    return heading.replace(" ", "-")


def said(cells):
    return "".join(o.text for c in cells if c.cell_type == "code" for o in c.outputs if o.get("name") == "stdout")


def faults(page):
    """A sentence for each way in which the page does not keep its promise."""
    found = sections(page)
    numbered = [h for h in found if re.match(r"\d+ ", h)]
    if [int(h.split()[0]) for h in numbered] != list(range(1, 13)):
        yield f"the sections are {numbered}, not twelve in order"
    targets = re.findall(r"\]\(#([^)]+)\)", "".join(c.source for c in page.cells if c.cell_type == "markdown"))
    anchors = {anchor(h) for h in found}
    yield from (f"#{t} leads nowhere" for t in targets if t not in anchors)
    yield from (f"no row of the table leads to {h!r}" for h in numbered if anchor(h) not in targets)
    for h in numbered:
        text = "".join(c.source for c in found[h] if c.cell_type == "markdown")
        yield from (f"{h!r} has no {label!r}" for label in LABELS if f"**{label}" not in text)
        if not re.search(r"\bBroken\b.*\bRepaired\b", said(found[h])):
            yield f"{h!r} prints no sentence about the broken and the repaired one"
        code = [c for c in found[h] if c.cell_type == "code"]
        checks = [c for c in code if "nbval-ignore-output" not in c.metadata.get("tags", [])]
        if not any(isinstance(n, ast.Assert) for c in checks for n in ast.walk(ast.parse(c.source))):
            yield f"{h!r} asserts nothing in a compared cell"


def test_the_page_keeps_its_promise():
    assert list(faults(PAGE)) == []


def cell_with(page, text):
    return next(c for c in page.cells if text in c.source)


def rename(page):
    cell = cell_with(page, "### 6 ")
    cell.source = cell.source.replace("### 6 Falls", "### 6 It falls")


def drop_row(page):
    cell = cell_with(page, "| section |")
    cell.source = "\n".join(line for line in cell.source.splitlines() if "[7](" not in line)


def drop_section(page):
    cell = cell_with(page, "### 11 ")
    cell.source = cell.source.replace("### 11 ", "#### eleven ")


def drop_look(page):
    cell = cell_with(page, "`nn.ModuleList`, `nn.ModuleDict`")
    cell.source = cell.source.replace("**One look.**", "Look.")


def silence(page):
    for cell in page.cells:
        if cell.cell_type == "code" and "4: softmax" in cell.source:
            cell.outputs = []


def believe(page):
    cell = cell_with(page, "loudest =")
    cell.source = re.sub(r"^assert .*$", "pass", cell.source, flags=re.MULTILINE)


@pytest.mark.parametrize("plant", [rename, drop_row, drop_section, drop_look, silence, believe])
def test_a_planted_fault_is_found(plant):
    page = copy.deepcopy(PAGE)
    plant(page)
    assert list(faults(page))


def test_the_figures_in_the_text_are_right():
    """Floors, first losses and shares that the prose states, from their formulas."""

    def smoothed(classes, amount=0.1):
        right, wrong = 1 - amount + amount / classes, amount / classes
        return -right * math.log(right) - (classes - 1) * wrong * math.log(wrong)

    text = "".join(cell.source for cell in PAGE.cells if cell.cell_type == "markdown")
    stated = {
        "ln 1000 = 6.908": math.log(1000),
        "$\\ln(1 + 9/e)$ = 1.461": math.log(1 + 9 / math.e),
        "cannot go below 5.909": math.log(1 + 999 / math.e),
        "$e / (e + 9)$ = 23 %": 100 * math.e / (math.e + 9),
        "$ = 0.500": smoothed(10),
        "the floor is 1.015": smoothed(1000),
        "256 × ln 10 = 589": 256 * math.log(10),
        "147 / 2.303 = 64": round(64 * math.log(10)) / math.log(10),
    }
    for words, value in stated.items():
        assert words in text, f"the page does not say {words!r} any more"
        number = re.findall(r"\d+(?:\.\d+)?", words)[-1]
        digits = len(number.partition(".")[2])
        assert f"{value:.{digits}f}" == number, f"{words}: computed {value}"


def test_the_first_six_patients_have_the_six_diseases_that_the_answers_say():
    cell = cell_with(PAGE, "ward = {")
    ward = next(n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Assign) and n.targets[0].id == "ward")
    diseases = sorted(key.value for key in ward.value.keys)
    first = int(re.search(r"random\.Random\((\d+) \+ number\)", cell.source)[1])
    drawn = [random.Random(first + number).choice(diseases) for number in range(6)]
    answers = re.search(r"Patients 0 to 5 have (.*?)\.", "".join(c.source for c in PAGE.cells))[1]
    assert sorted(drawn) == diseases and [int(n) for n in re.findall(r"\d+", answers)] == drawn
