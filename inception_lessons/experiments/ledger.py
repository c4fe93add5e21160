"""The claims ledger: every claim of the course, what its paper says, what we found, and where a lesson shows it."""

import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inception_lessons.experiments.counted import COUNTED
from inception_lessons.experiments.engine import EXPERIMENTS, VERDICTS, Verdict, find, results, verdict

#: Claim -> the figure in its paper, and where it stands. In the order of the course.
PAPER = {
    "N1": "no accuracy given; 'computational blow up' without (1409.4842, section 4)",
    "N2": "CIFAR-10 error 10.41 % with average pooling, 10.88 % or 11.59 % without (1312.4400, section 4.6)",
    "V1a": "22 layers, 1.5 G multiply-adds, 12 times fewer parameters than AlexNet (1409.4842, sections 1 and 5)",
    "V1b": "none given (1409.4842, section 4)",
    "V1c": "none given; 'their ratio should increase' (1409.4842, section 4)",
    "V1d": "none given; cites a theorem (1409.4842, section 3)",
    "V1e": "weight 0.3, no figure (1409.4842, section 5); no early effect (1512.00567, section 4)",
    "V1f": "its Table 1 (1409.4842)",
    "B1": "31.0 M steps without, 13.3 M with, 2.1 M with at 5 times the rate: 14 times fewer (1502.03167, Fig. 3)",
    "B2": "5 and 30 times the rate train with, and diverge at 5 times without (1502.03167, section 4.2)",
    "B3": "its Fig. 1, no number (1502.03167)",
    "B4": "algebra (1502.03167, section 3)",
    "B5": "algebra (1502.03167, section 3.2)",
    "B6": "dropout removed, L2 divided by 5, accuracy improves (1502.03167, section 4.2.1)",
    "B7": "cites LeCun et al. 1998 (1502.03167, section 2)",
    "B8": "algebra (1502.03167, section 3.1)",
    "F1": "28 % (1512.00567, section 3.1)",
    "F2": "33 % at n = 3 (1512.00567, section 3.2)",
    "F3": "good on grids of 12 to 20, not in early layers; no number (1512.00567, section 3.2)",
    "F4": "its Figs. 9 and 10, no accuracy (1512.00567, section 5)",
    "F5": "42 layers, 2.5 times GoogLeNet's cost, below 25 M parameters (1512.00567, sections 1 and 6)",
    "F6": "'much more efficient than VGGNet' (1512.00567, section 6)",
    "L1": "0.2 points of top-1 and top-5 (1512.00567, section 7); Table 3 has 0.3 of top-1",
    "L2": "none given (1512.00567, section 7)",
    "L3": "none given: a popular extension",
    "R1": "its training curves; no number (1602.07261, section 5)",
    "R2": "one crop, top-5 error: V4 5.0 %, Inception-ResNet-v2 4.9 % (1602.07261, section 5)",
    "R3": "'died' above 1,000 filters, scales of 0.1 to 0.3 help; no number (1602.07261, section 3.3)",
    "R4": "Inception-ResNet-v1 about V3's cost, v2 about V4's (1602.07261, section 3.2)",
    "A1": "top-5 error of ensembles: 6.67 %, 4.8 %, 3.5 %, 3.08 %",
    "A2": "none given: the course's own comparison",
    "A3": "'mobile and embedded computing' (1409.4842, section 1)",
    "LOG": "none given: the course's own comparison, a first look at A2",
}
#: Data sets as prose names them, for results files that do not say it themselves.
NAMES = {"digits": "digits in the wild", "mnist": "MNIST digits", "cifar10": "CIFAR-10", "noise": "noise"}


class Entry(NamedTuple):
    """One row of the ledger. ``data`` is empty for a claim that is counted."""

    id: str
    claim: str
    paper: str
    data: str
    sentence: str
    word: str
    hardware: str
    link: str


def stored(id: str) -> list[str]:
    """Claim -> the data sets that it has stored results for, its default first. Raises ValueError for files that are
    damaged or out of date, as ``results`` does.
    """
    found = []
    for dataset in find(id).datasets:
        try:
            results(id, dataset=dataset)
        except FileNotFoundError:
            continue
        found.append(dataset)
    return found


def claim_of(id: str) -> str:
    """Claim -> what it says. Raises ValueError for one that the ledger does not have."""
    if id in EXPERIMENTS:
        return EXPERIMENTS[id].claim
    if id in COUNTED:
        return COUNTED[id][0]
    raise ValueError(f"no claim {id!r} in the ledger; it has {', '.join(PAPER)}")


def counted_verdict(id: str) -> Verdict:
    """Counted claim -> its verdict, worked out now from the networks. Raises ValueError for another."""
    if id not in COUNTED:
        raise ValueError(f"{id!r} is not a counted claim; those are {', '.join(COUNTED)}")
    return COUNTED[id][1]()


def say(id: str, folder: Path | None = None, *, dataset: str | None = None) -> str:
    """Claim, trained or counted -> its verdict as a lesson prints it: whole sentences, lines of at most 100 characters.

    With ``dataset`` it says on which data. JupyterLab breaks a longer line in the middle of a word. Raises ValueError
    for a claim that there is not, and for one without results.
    """
    word, sentence = COUNTED[id][1]() if id in COUNTED else verdict(id, folder, dataset=dataset)
    if dataset:
        sentence = f"On {results(id, folder, dataset=dataset).get('data', NAMES[dataset])}: {sentence}"
    text = f"{id}: {word}. {sentence[:1].upper()}{sentence[1:].removesuffix('.')}."
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def entries(notebooks: Path | None = None) -> list[Entry]:
    """All rows of the ledger: a claim that is trained has one for each data set it has results for.

    ``notebooks`` is the folder of the lessons; with it each row links to the heading under which a lesson prints the
    verdict. Trained verdicts are worked out again from the stored runs, counted ones from the networks.
    """
    places = where(notebooks) if notebooks else {}
    rows = []
    for id, paper in PAPER.items():
        claim, link = claim_of(id), places.get(id, "")
        if id in EXPERIMENTS:
            for dataset in stored(id) or find(id).datasets[:1]:  # none at all: ``results`` says the command
                made, found = results(id, dataset=dataset), verdict(id, dataset=dataset)
                seeds = len({run["seed"] for run in made["runs"]})
                what = ("rounds", "timing in all") if find(id).timed else ("seeds", "training in all runs")
                cost = f"{made['hardware']}, {seeds} {what[0]}, {made['seconds']} s of {what[1]}"
                rows.append(
                    Entry(id, claim, paper, made.get("data", NAMES[dataset]), found.sentence, found.word, cost, link)
                )
        else:
            rows.append(Entry(id, claim, paper, "", *reversed(counted_verdict(id)), "any", link))
    return rows


def where(notebooks: Path) -> dict[str, str]:
    """Folder of the lessons -> "file#heading" of the cell that prints each claim's verdict, as JupyterLab links to
    headings. Raises ValueError for a notebook that cannot be read, FileNotFoundError for a folder that is not there.
    """
    found: dict[str, str] = {}
    for path, heading, text in _printed(notebooks):
        for id, _ in _verdicts_in(text):
            found.setdefault(id, f"{path.name}#{heading.replace(' ', '-')}")
    return found


def printed_verdicts(notebooks: Path) -> list[tuple[str, str, str]]:
    """Folder of the lessons -> (notebook, claim, verdict) of every verdict line that is stored in them."""
    return [(path.name, id, word) for path, _, text in _printed(notebooks) for id, word in _verdicts_in(text)]


def _verdicts_in(text: str) -> Sequence[tuple[str, str]]:
    words = "|".join(VERDICTS)
    ids = "|".join(sorted(PAPER, key=len, reverse=True))
    return re.findall(rf"^({ids}): ({words})\.", text, flags=re.MULTILINE)


def _printed(notebooks: Path):
    """(notebook, last heading above, printed text) of every code cell of the lessons, which have a number."""
    if not Path(notebooks).is_dir():
        raise FileNotFoundError(f"there is no folder {notebooks}: wanted the one with the lessons")
    for path in sorted(Path(notebooks).glob("[0-9]*.ipynb")):
        heading = ""
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path.name} is not a readable notebook ({error!r})") from error
        for cell in cells:
            if cell["cell_type"] == "markdown":
                found = re.findall(r"^#{1,6} +(.+?) *$", "".join(cell["source"]), flags=re.MULTILINE)
                heading = found[-1] if found else heading
            for output in cell.get("outputs", []):
                if output.get("name") == "stdout":
                    yield path, heading, "".join(output["text"])
