"""The glossary: every entry leads to a place that uses its word, in order, no word twice, no box forgotten."""

import copy
import dataclasses
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from notebook_rules import ROOT, all_notebooks, without_code

NOTEBOOKS = ROOT / "notebooks"
WORDS_OF_AN_ENTRY = 75  # one to three sentences and a formula; what wants more is a lesson's
BOX = re.compile(r'<div class="alert alert-info">(.*?)</div>', re.DOTALL)
TERM_OF_BOX = re.compile(r"\s*<b>(?:<a [^>]*>)?([^<]+)")


@dataclasses.dataclass
class Entry:
    """One word: its heading, what it means, its other names, where it leads ("02_batch_norm.ipynb#Write-it")."""

    title: str
    letter: str
    text: str
    names: list[str]
    links: list[str]


def sections(cells: list[dict]) -> dict[str, str]:
    """Cells of a notebook -> heading: heading, prose and code below it, to the next heading of any level."""
    found, heading = {}, None
    for cell in cells:
        fenced = cell["cell_type"] == "code"
        for line in "".join(cell["source"]).split("\n"):
            fenced ^= line.lstrip().startswith("```")
            title = None if fenced else re.fullmatch(r"#{1,6} +(.+?) *", line)
            heading = title[1] if title else heading
            if heading is not None:
                found[heading] = found.get(heading, "") + line + "\n"
    return found


def read(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def entries(cells: list[dict]) -> list[Entry]:
    """Cells of the glossary -> its entries, which are the headings of level 3."""
    found = []
    for cell in cells:
        source = "".join(cell["source"])
        letter = re.match(r"## (\S+)\n", source)
        if cell["cell_type"] != "markdown" or "\n### " not in source or not letter:
            continue
        for part in re.split(r"^### ", source, flags=re.MULTILINE)[1:]:
            title, _, rest = part.partition("\n")
            text, _, place = rest.strip().rpartition("\n\n")
            also = re.match(r"Also: (.*?)\. In \[", place)
            names = re.findall(r"\*([^*]+)\*", also[1]) if also else []
            links = re.findall(r"\]\(([^)#]+\.ipynb#[^)]+)\)", place)
            found.append(Entry(title.strip(), letter[1], text, names, links))
    return found


def order(title: str) -> str:
    """What an entry is sorted by: letters and digits alone."""
    return re.sub(r"[\W_]+", " ", title.lower()).strip()


def uses(text: str, word: str) -> bool:
    """Whether a text has a word, or one that begins with it: "logit" is in "Logits"."""
    return re.search(rf"(?<!\w){re.escape(word.lower())}", text.lower()) is not None


def anchor(heading: str) -> str:
    """A heading -> what JupyterLab's links to it end in."""
    return heading.replace(" ", "-")


def problems(cells: list[dict], lessons: dict[str, list[dict]]) -> list[str]:
    """Cells of the glossary, and of each lesson by its file's name -> a sentence for each fault."""
    found, words = [], entries(cells)
    titles = [entry.title for entry in words]
    for before, after in zip(titles, titles[1:], strict=False):
        if order(before) > order(after):
            found.append(f"{after!r} stands behind {before!r}")
    seen = {}
    for title in titles:
        key = order(title).removesuffix("s")
        if key in seen:
            found.append(f"{title!r} is there twice, also as {seen[key]!r}")
        seen[key] = title
    places = {name: {anchor(heading): text for heading, text in sections(of).items()} for name, of in lessons.items()}
    for entry in words:
        first = order(entry.title)[0].upper()
        if entry.letter != ("1" if first.isdigit() else first):
            found.append(f"{entry.title!r} stands under {entry.letter}")
        if not re.search(r"[.)]$", entry.text) or len(entry.text.split()) > WORDS_OF_AN_ENTRY:
            found.append(f"{entry.title!r} wants one to three whole sentences; it has {len(entry.text.split())} words")
        if len(entry.links) != 1:
            found.append(f"{entry.title!r} leads to {len(entry.links)} places in lessons, not to one")
        for link in entry.links:
            page, _, heading = link.partition("#")
            text = places.get(page, {}).get(unquote(heading))
            if text is None:
                found.append(f"{entry.title!r} leads to {unquote(link)}, where there is no such heading")
            elif not any(uses(text, name) for name in (entry.title, *entry.names)):
                found.append(f"{entry.title!r} leads to {unquote(link)}, which has neither it nor its other names")
    here = {anchor(title) for title in titles} | {entry.letter for entry in words}
    for cell in cells:
        for target in re.findall(r"\]\(#([^)]*)\)", "".join(cell["source"])):
            if unquote(target) not in here:
                found.append(f"a link leads to #{unquote(target)}, which is no entry")
    letters = list(dict.fromkeys(entry.letter for entry in words))
    top = "".join(cells[0]["source"])
    if re.findall(r"\[(\S)\]\(#\1\)", top) != letters:
        found.append(f"the links at the top should jump to {' '.join(letters)}")
    if f"{len(words)} words" not in top:
        found.append(f"there are {len(words)} words; the page says otherwise")
    for name, of in lessons.items():
        for cell in of:
            source = "".join(cell["source"])
            for box in BOX.findall(source) if cell["cell_type"] == "markdown" else ():
                term = TERM_OF_BOX.match(box)
                if not term:
                    found.append(f"{name}: a box that explains a word begins with the word in bold: {box[:40]!r}")
                elif not any(order(term[1]) in map(order, (e.title, *e.names)) for e in words):
                    found.append(f"{name}: the word of a box, {term[1]!r}, is not in the glossary")
    return found


@pytest.fixture(scope="module")
def glossary():
    return read(NOTEBOOKS / "glossary.ipynb")


@pytest.fixture(scope="module")
def lessons():
    return {path.name: read(path) for path in sorted(NOTEBOOKS.glob("0*.ipynb"))}


def test_every_word_is_in_its_place(glossary, lessons):
    assert len(lessons) == 9 and len(entries(glossary)) >= 80
    assert problems(glossary, lessons) == []


def test_a_lesson_that_links_to_a_word_finds_it(glossary):
    here = {anchor(entry.title) for entry in entries(glossary)}
    for path in all_notebooks():
        for cell in read(path):
            text = without_code("".join(cell["source"])) if cell["cell_type"] == "markdown" else ""
            for target in re.findall(r"glossary\.ipynb#([^)\"\s]+)", text):
                assert unquote(target) in here, f"{path.name} links to {unquote(target)}, which is no entry"


def swapped(old: str, new: str):
    """A change of the glossary's text that is made in one place, the first."""

    def change(cells, lessons):
        cell = next(cell for cell in cells if old in "".join(cell["source"]))
        cell["source"] = "".join(cell["source"]).replace(old, new, 1)

    return change


def in_lesson(name: str, change):
    def plant(cells, lessons):
        for cell in lessons[name]:
            cell["source"] = change("".join(cell["source"]))

    return plant


FAULTS = {
    "out of order": (swapped("### Ablation\n", "### Axis\n"), "'Accuracy' stands behind 'Axis'"),
    "twice": (swapped("### Accuracy\n", "### Ablations\n"), "'Ablations' is there twice, also as 'Ablation'"),
    "under another letter": (swapped("## B\n", "## C\n"), "'Backward pass' stands under C"),
    "no sentence": (swapped("Loosely, the whole network.", "Loosely"), "'Classifier' wants one to three"),
    "too long": (swapped("An optimizer. ", "An optimizer. " + "Very " * 80), "'AdamW' wants one to three whole"),
    "leads nowhere": (swapped("Write-it)", "Write-that)"), "#Write-that, where there is no such heading"),
    "another lesson": (swapped("02_batch_norm.ipynb#Write-it", "01_inception_v1.ipynb#Write-it"), "no such heading"),
    "no lesson": (swapped("(02_batch_norm.ipynb#Write-it)", "(#Batch-norm)"), "leads to 0 places in lessons"),
    "not used there": (swapped("02_batch_norm.ipynb#Data", "03_factorization.ipynb#Data"), "'Batch' leads to 03_"),
    "inner link": (swapped("(#Batch-norm)", "(#Batch-Norm)"), "#Batch-Norm, which is no entry"),
    "a letter that is not there": (swapped("[Q](#Q)", "[J](#J)"), "the links at the top should jump to 1 A B C"),
    "counted wrongly": (swapped(" words of the course", "0 words of the course"), "the page says otherwise"),
    "a heading that was renamed": (
        in_lesson("04_label_smoothing.ipynb", lambda text: text.replace("### What the label", "### That the label")),
        None,  # no entry leads there: not a fault
    ),
    "a section that lost its word": (
        in_lesson("06_bake_off.ipynb", lambda text: text.replace("Kendall's tau", "A number").replace("tau", "it")),
        "which has neither it nor its other names",
    ),
    "a box whose word is missing": (
        in_lesson("00_start_here.ipynb", lambda text: text.replace(">Multiply-adds</a></b>", ">Entanglement</a></b>")),
        "the word of a box, 'Entanglement', is not in the glossary",
    ),
    "a box without a word": (
        in_lesson("00_start_here.ipynb", lambda text: re.sub(r"<b>(<a [^>]*>Multiply-adds</a>)</b>", r"\1", text)),
        "begins with the word in bold",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_found(name, glossary, lessons):
    plant, said = FAULTS[name]
    cells, pages = copy.deepcopy(glossary), copy.deepcopy(lessons)
    for page in (cells, *pages.values()):
        for cell in page:
            cell["source"] = "".join(cell["source"])
    before = json.dumps([cells, pages])
    plant(cells, pages)
    assert json.dumps([cells, pages]) != before, "nothing was planted"
    found = problems(cells, pages)
    assert (found == []) if said is None else any(said in sentence for sentence in found), found
