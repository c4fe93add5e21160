"""Lesson 08's text quotes figures of its own stored run. The run differs with the number of threads, so whoever
executes the lesson again has to read the text again: this says where.
"""

import re
from pathlib import Path

import nbformat
import pytest

LESSON = Path(__file__).resolve().parent.parent / "notebooks" / "08_looking_inside.ipynb"
KINDS = ("plain pixels", "pixels, shaken", "waves", "waves, shaken")


@pytest.fixture(scope="module")
def page() -> tuple[str, str]:
    """(what the cells have printed, what stands between them)"""
    cells = nbformat.read(LESSON, as_version=4).cells
    printed = [out.text for cell in cells if cell.cell_type == "code" for out in cell.outputs if "text" in out]
    return "\n".join(printed), "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def figures(pattern: str, text: str) -> tuple[str, ...]:
    found = re.findall(pattern, text)
    assert len(found) == 1, f"{len(found)} places in lesson 08 for {pattern!r}"
    return found[0] if isinstance(found[0], tuple) else (found[0],)


def test_what_each_kind_tells_a_stranger(page):
    printed, prose = page
    number = r"(\d\.\d\d)"
    names = (*KINDS, "one real picture", "another channel's")
    means = dict(zip(names, figures(", ".join(f"{name} {number}" for name in names), printed), strict=True))
    assert figures(rf"\*another\* channel is right in {number}", prose) == (means["another channel's"],)
    best = max(means[kind] for kind in KINDS)
    assert figures(rf"all four: {number} where the best made kind has {number}", prose) == (
        means["one real picture"],
        best,
    )
    assert figures(rf"pretty waves: {number} and {number} here", prose) == (
        means["plain pixels"],
        means["waves, shaken"],
    )


def test_occlusion_lies_in_the_range_that_the_text_names(page):
    printed, prose = page
    low, high, twin_low, twin_high = figures(
        r"did not: ([\d.]+) to ([\d.]+) in our four trainings. But look at the twin: ([\d.]+) to ([\d.]+),", prose
    )
    hits, blind = figures(r"trained ([\d.]+), twin ([\d.]+),", printed)
    assert float(low) <= float(hits) <= float(high)
    assert float(twin_low) <= float(blind) <= float(twin_high)


def test_another_seed_and_the_twin(page):
    printed, prose = page
    (share,) = figures(r"From another seed (\d+)% of the channels", printed)
    found, of = figures(r"finds every channel again, (\d+) of (\d+)", prose)
    assert round(100 * int(found) / int(of)) == int(share)
    said = figures(r"told by their pictures in (\d\.\d\d) of the pairs", prose)
    assert said == figures(r"twin's channels in hand, (\d\.\d\d) of the pairs", printed)
    control = figures(r"picture of \*another\* of the twin's channels: (\d\.\d\d) as well", prose)
    assert control == said == figures(r"another of its channels' (\d\.\d\d)", printed)
