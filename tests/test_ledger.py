"""Tests of the ledger: every claim has its row, its verdict is the one that the lessons print, and counts are right."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from notebook_rules import ROOT

from inception_lessons import experiments
from inception_lessons.experiments import counted, ledger

NOTEBOOKS = ROOT / "notebooks"
#: The claims of the course, written down once more.
IDS = (
    ("N1 N2 V1a V1b V1c V1d V1e V1f B1 B2 B3 B4 B5 B6 B7 B8 F1 F2 F3 F4 F5 F6 L1 L2 L3 R1 R2 R3 R4 A1 A2 A3").split()
) + ["LOG"]


def test_every_claim_has_one_home_and_a_figure_of_its_paper():
    assert list(ledger.PAPER) == IDS
    homes = [set(experiments.EXPERIMENTS), set(counted.COUNTED)]
    assert set.union(*homes) == set(IDS) and sum(map(len, homes)) == len(IDS)
    for id in IDS:
        assert len(ledger.claim_of(id)) > 10
        assert re.search(r"\d{4}\.\d{4,5}|the course's own|none given|ensembles|LeCun", ledger.PAPER[id]), id


def test_a_claim_that_there_is_not():
    with pytest.raises(ValueError, match="no claim 'Z9' in the ledger; it has N1, N2"):
        experiments.claim_of("Z9")
    with pytest.raises(ValueError, match="'B1' is not a counted claim; those are V1a"):
        experiments.counted_verdict("B1")


# ------------------------------------------------------------------------------------------------------------- counting

#: What each counted claim has to say: its word, and figures known from elsewhere.
SAID = {
    "V1a": ("holds in part", ["22 layers", "1.583 G", "6,998,552", "13,378,280", "60,965,224"]),
    "V1c": ("the opposite holds", ["61%, 58%, 52%"]),
    "V1f": ("holds in part", ["803 at 112 x 112", "602 at 56 x 56", "376 at 28 x 28", "163 at 14 x 14", "50 at 7 x 7"]),
    "B4": ("holds", ["below 1e-4"]),
    "B5": ("holds", ["32 pairs for 32 feature maps"]),
    "B8": ("holds", ["batch norms at laptop size 0 are left"]),
    "F1": ("holds", ["28%"]),
    "F2": ("holds", ["33% at n = 3", "71% at n = 7"]),
    "F5": ("holds in part", ["48 layers", "23,834,568", "27,161,264", "5.713 G"]),
    "R4": ("holds in part", ["42,679,816", "22,756,328", "32,433,928", "55,843,464"]),
    "A1": ("cannot be shown here", ["10.07 %", "5.6 %", "4.9 %"]),
}


@pytest.mark.parametrize("id", counted.COUNTED)
def test_counted(id):
    word, figures = SAID[id]
    found = experiments.counted_verdict(id)
    assert found.word == word
    for figure in figures:
        assert figure in found.sentence


def test_folding_that_folds_wrongly_is_seen(monkeypatch):
    """B8 compares logits: a fold that forgets the shift changes them."""
    right = counted.layers.fold

    def forgets(model):
        folded = right(model)
        next(p for name, p in folded.named_parameters() if name.endswith("bias")).data.add_(1.0)
        return folded

    monkeypatch.setattr(counted.layers, "fold", forgets)
    assert experiments.counted_verdict("B8").word == "the opposite holds"


def test_batch_norm_with_a_biased_running_variance_is_seen(monkeypatch):
    real = counted.batch_norm.BatchNorm2d.forward

    def biased(self, x):
        before, out = self.running_var.clone(), real(self, x)
        count = x.numel() / x.shape[1]
        self.running_var.copy_(before + (self.running_var - before) - 0.1 * x.var((0, 2, 3)) / count)
        return out

    monkeypatch.setattr(counted.batch_norm.BatchNorm2d, "forward", biased)
    assert experiments.counted_verdict("B5").word == "the opposite holds"


# ------------------------------------------------------------------------------------------------------------- the page


def page(folder: Path, *cells, name="02_made_up.ipynb") -> Path:
    """A folder with one notebook of (heading, printed text)."""
    made = []
    for heading, text in cells:
        made.append(nbformat.v4.new_markdown_cell(f"## {heading}\n\nSome words, # not a heading."))
        made.append(
            nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", name="stdout", text=text)])
        )
    (folder / name).write_text(nbformat.writes(nbformat.v4.new_notebook(cells=made)))
    return folder


def test_a_claim_is_found_under_its_heading(tmp_path):
    page(tmp_path, ("B1 · fewer steps", "B1: holds in part. 4 times\n"), ("Other", "B10: holds. no\nB2: holdsx. no\n"))
    assert experiments.where(tmp_path) == {"B1": "02_made_up.ipynb#B1-·-fewer-steps"}
    assert experiments.printed_verdicts(tmp_path) == [("02_made_up.ipynb", "B1", "holds in part")]


def test_a_page_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "03_torn.ipynb").write_text('{"cells": [')
    with pytest.raises(ValueError, match="03_torn.ipynb is not a readable notebook"):
        experiments.where(tmp_path)


def turned(notebooks: Path) -> list[str]:
    """What lessons print against what runs and counts give: a sentence for each that differs."""
    faults = []
    for name, id, word in experiments.printed_verdicts(notebooks):
        found = experiments.verdict(id) if id in experiments.EXPERIMENTS else experiments.counted_verdict(id)
        if found.word != word:
            faults.append(f"{name} says of {id}: {word}; it {found.word}")
    return faults


def test_lessons_print_the_verdicts_that_runs_and_counts_give():
    assert turned(NOTEBOOKS) == []


def test_a_verdict_turned_round_in_a_lesson_is_seen(tmp_path):
    page(tmp_path, ("V1c", "V1c: holds. The share rises.\n"), ("F1", "F1: holds. 28 %\n"))
    assert turned(tmp_path) == ["02_made_up.ipynb says of V1c: holds; it the opposite holds"]


def test_every_claim_is_shown_by_a_lesson_and_stands_in_the_ledger():
    rows = experiments.entries(NOTEBOOKS)
    shown = {row.id for row in rows if row.link}
    assert shown == set(IDS), "a claim without a verdict line in a lesson, or a line without a claim"
    by_id = {}
    for row in rows:
        by_id.setdefault(row.id, []).append(row)
        assert not row.link or (NOTEBOOKS / row.link.split("#")[0]).is_file()
        assert row.word in experiments.VERDICTS
    assert list(by_id) == IDS, "a claim that has no results yet"
    for id, found in by_id.items():
        if id in experiments.EXPERIMENTS:
            assert len(found) == len(experiments.stored(id)) >= 1
            assert found[0].word == experiments.verdict(id).word
            assert all(f"5 {'rounds' if experiments.find(id).timed else 'seeds'}" in row.hardware for row in found)


def test_the_stored_page_shows_every_row():
    cells = json.loads((NOTEBOOKS / "ledger.ipynb").read_text(encoding="utf-8"))["cells"]
    shown = "".join("".join(o.get("data", {}).get("text/markdown", [])) for c in cells for o in c.get("outputs", []))
    for row in experiments.entries(NOTEBOOKS):
        if row.word:
            assert row.sentence in shown, row.id
            assert f"**{row.word}**" in shown


# ------------------------------------------------------------------------------------------------ the log of the course


def test_the_log_goes_as_far_as_the_lesson():
    columns, rows = experiments.log("05")
    assert [row[0] for row in rows] == sorted(row[0] for row in rows) and len(rows) == 8
    assert [len(experiments.log(lesson)[1]) for lesson in ("01", "02", "03", "04", "05")] == [1, 3, 4, 5, 8]
    assert all(len(row) == len(columns) for row in rows)
    arm = {row[1]: row for row in rows}
    assert arm["V1 with batch norm"][2:4] == [122434, 8453152] and arm["V3"][2] == arm["V3, labels smoothed"][2]
    with pytest.raises(ValueError, match="no network of the log belongs to lesson '06'"):
        experiments.log("06")


def test_the_log_and_n1_tell_the_same_of_the_same_network():
    """V1 with batch norm under N1's recipe: one network, one recipe, the same seeds, so the same runs."""
    a, b = experiments.results("LOG"), experiments.results("N1")
    same = {run["seed"]: run["test_accuracy"] for run in b["runs"] if run["arm"] == "reduced"}
    found = {run["seed"]: run["test_accuracy"] for run in a["runs"] if run["arm"] == "V1 with batch norm"}
    assert a["rates"]["V1 with batch norm"] == b["rates"]["reduced"]
    assert found == pytest.approx(same, abs=0.02)
