"""Every notebook in a real browser: Run All, then each control by mouse and by keyboard. And the harness itself."""

import os
import shutil
from pathlib import Path

import browser
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SCREENSHOTS = ROOT / "build" / "screenshots"
pytestmark = pytest.mark.browser

START = """
import os
import ipywidgets as widgets
import matplotlib.pyplot as plt

ALT = {"image/png": {"alt": "A bar as long as the value of the control above it."}}

def draw(value):
    figure, axes = plt.subplots(figsize=(2, 0.8), dpi=50)
    axes.set_title(repr(value))
    plt.close(figure)
    return figure

def follow(control):
    display(control)
    handle = display(draw(control.value), display_id=True, metadata=ALT)
    control.observe(lambda change: handle.update(draw(change["new"]), metadata=ALT), "value")

print("budget", os.environ["LESSON_BUDGET"])
"""
KINDS = {  # what the harness calls a control -> the controls that it must be able to move
    "slider": [
        "widgets.IntSlider(3, 0, 9, description='width')",
        "widgets.FloatSlider(1.0, min=0, max=1, description='at its end')",
        "widgets.FloatSlider(0.2, max=1, continuous_update=False, description='on release')",
        "widgets.IntSlider(3, 0, 9, orientation='vertical')",
        "widgets.IntRangeSlider(value=(2, 5), min=0, max=9)",
    ],
    "dropdown": ["widgets.Dropdown(options=['3a', '3b', '4a'], value='4a')"],
    "select": ["widgets.Select(options=['3a', '3b', '4a'])"],
    "toggle buttons": ["widgets.ToggleButtons(options=['train', 'test'])"],
    "radio buttons": ["widgets.RadioButtons(options=['train', 'test'])"],
    "checkbox": ["widgets.Checkbox(False, description='branch')"],
    "toggle button": ["widgets.ToggleButton(False, description='norm')"],
    "number": ["widgets.IntText(4)", "widgets.BoundedIntText(9, 0, 9)"],
    "text": ["widgets.Text('3', continuous_update=False)"],
    "play": ["widgets.Play(min=0, max=50, interval=100)"],
}


def controls_notebook():
    """One control to a cell, each with its picture."""
    cells = [new_code_cell(START)] + [new_code_cell(f"follow({made})") for kind in KINDS.values() for made in kind]
    button = """out = display(draw(0), display_id=True, metadata=ALT)
button = widgets.Button(description='draw')
button.on_click(lambda b: out.update(draw(b.tooltip), metadata=ALT) or setattr(b, 'tooltip', f'{b.tooltip}x'))
display(button)"""
    return new_notebook(
        cells=[new_markdown_cell("# Controls"), *cells, new_code_cell(button)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
    )


RACE = """from inception_lessons import plots, widgets

def racer(i):
    loss = [[2.3 / (1 + 0.1 * k * (i + 1)) + 0.01 * seed for k in range(9)] for seed in range(2)]
    accuracy = [[1 - value / 3 for value in curve] for curve in loss]
    return plots.Racer(range(10, 100, 10), loss, accuracy, 1e9 * (1 + i), 0.1 * (1 + i), 1000)

racers = {f"network {i}": racer(i) for i in range(3)}"""


def race_notebook():
    """The two widgets of lesson 06 with networks that were never trained."""
    cells = [new_code_cell(text) for text in (RACE, "widgets.race(racers)", "widgets.linked_views(racers)")]
    return new_notebook(
        cells=[new_markdown_cell("# A race"), *cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
    )


BROKEN = {  # what must be said of a cell -> the cell
    "moved by mouse": "display(draw(1))\ndisplay(widgets.IntSlider(3, 0, 9, description='leads nowhere'))",
    "moved by keyboard": """def fails(change):
    raise RuntimeError('planted')
display(draw(1))
box = widgets.Checkbox(False)
box.observe(fails, 'value')
display(box)""",
    "hidden": "display(widgets.IntText(3, layout={'visibility': 'hidden'}))",
    "cannot move": "display(widgets.ColorPicker())",
    "alt text ''": "display(draw(2))",
    "picture in text": "from IPython.display import HTML\nHTML('<img src=\"data:image/gif;base64,R0lGODlhAQABAA==\">')",
    "console": "from IPython.display import Javascript\nJavascript(\"console.error('planted')\")",
    "another machine": 'HTML(\'<img alt="a picture of another machine" src="http://nowhere.invalid/x.png">\')',
    "ValueError: planted": "raise ValueError('planted')",
    "did not run in its turn": "print('never')",
}
FINE = ["widgets.IntProgress(3)", "widgets.Label('words')", "widgets.IntText(3, disabled=True)"]


def broken_notebook():
    """A fault in each cell, and a few things to show that are none."""
    cells = [new_code_cell(START), new_code_cell(f"display({', '.join(FINE)})")] + [
        new_code_cell(text) for text in BROKEN.values()
    ]
    return new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """One server and one browser for this module, on a copy of the notebooks with the generated ones in it."""
    reason = browser.why_missing()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    nbformat.write(controls_notebook(), folder / "controls.ipynb")
    nbformat.write(broken_notebook(), folder / "broken.ipynb")
    nbformat.write(race_notebook(), folder / "race.ipynb")
    with browser.Lab(folder) as started:
        yield started


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_runs_and_each_control_answers(path, lab):
    before = path.read_bytes()
    page = lab.open(path.name)
    passed = page.run_all()
    page.screenshot(SCREENSHOTS / f"{path.stem}.png")
    assert page.errors() == [] and passed
    assert page.pictures_without_alt() == []
    assert page.unknown_controls() == [] and page.barriers() == [] and page.cut_labels() == []
    found = [fault for control in page.controls() for fault in control.faults()]
    page.screenshot(SCREENSHOTS / f"{path.stem}_moved.png")
    assert found == [] and page.errors() == []
    assert path.read_bytes() == before


def test_every_kind_of_control_is_moved_by_mouse_and_by_keyboard(lab):
    page = lab.open("controls.ipynb")
    assert page.run_all()
    page.screenshot(SCREENSHOTS / "harness.png")
    assert page.errors() == [] and page.pictures_without_alt() == [] and page.unknown_controls() == []
    assert page.cells()[0]["outputs"][0]["text"] == "budget smoke\n"
    assert page.cut_labels() == []
    page.page.add_style_tag(content=".widget-label { width: 20px !important; }")
    assert any("is cut off" in said for said in page.cut_labels())
    controls = page.controls()
    handles = [kind for kind, made in KINDS.items() for text in made for _ in range(1 + ("Range" in text))]
    assert [control.kind for control in controls] == [*handles, "button"]
    assert [fault for control in controls for fault in control.faults(5)] == []


def test_a_race_is_played_paused_and_scrubbed(lab):
    """Play and its slider are linked in the page, so only a browser can tell whether one drives the other."""
    page = lab.open("race.ipynb")
    assert page.run_all()
    assert page.errors() == [] and page.pictures_without_alt() == [] and page.unknown_controls() == []
    controls = page.controls()
    assert [control.kind for control in controls] == ["slider", "dropdown", "dropdown", "play", "dropdown"]
    slider, play = controls[0], controls[3]

    def far():
        return slider.value("aria-valuenow")

    def alt():
        return page.cells()[1]["outputs"][-1]["metadata"]["image/png"]["alt"]

    assert far() == 100 and "drawn up to 90 of 90 steps" in alt()
    play.play_by_key()  # from its end it begins anew; pressed again it stops
    page.settle()
    stopped = far()
    assert 0 <= stopped < 100
    page.page.wait_for_timeout(1000)
    assert far() == stopped, "it went on after pause"
    assert f"drawn up to {0.9 * stopped:.0f} of 90 steps" in alt(), "the picture stands where the slider stands"
    slider.drag()
    page.settle()
    scrubbed = far()
    assert abs(scrubbed - stopped) > 10
    play.play()
    page.settle()
    assert scrubbed < far() < 100, "played on from where it was scrubbed to"
    assert [fault for control in controls for fault in control.faults()] == []
    page.screenshot(SCREENSHOTS / "race.png")
    assert page.errors() == []


# JupyterLab forgets the word when it opens a page (jupyterlab/jupyterlab#15207): the glossary tells its readers so
HEADINGS_IN_VIEW = """() => [...document.querySelectorAll(".jp-NotebookPanel:not(.lm-mod-hidden) h3")]
    .filter(node => (top => 0 <= top && top < 900)(node.getBoundingClientRect().top)).map(node => node.textContent)"""


def test_a_word_leads_to_its_place_in_the_open_glossary(lab):
    shown = lab.open("01_inception_v1.ipynb").page
    for time in ("first", "second"):
        word = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-MarkdownCell a[href*='glossary.ipynb'][href$='#Interval']"
        shown.locator(word).first.scroll_into_view_if_needed()
        shown.locator(word).first.click()
        shown.wait_for_function("() => jupyterapp.shell.currentWidget.context.path.endsWith('glossary.ipynb')")
        if time == "first":
            shown.locator(".jp-NotebookPanel:not(.lm-mod-hidden) h1", has_text="Glossary").wait_for()
            shown.evaluate("() => jupyterapp.commands.execute('docmanager:open', {path: '01_inception_v1.ipynb'})")
            shown.wait_for_function("() => jupyterapp.shell.currentWidget.context.path.startsWith('01')")
    shown.wait_for_function(f"() => ({HEADINGS_IN_VIEW})().some(text => text.startsWith('Interval'))")


def test_tab_comes_to_every_control_and_shows_where_it_is(lab):
    """Elsewhere a script gives a control the focus before keys move it; here nothing but Tab does."""
    page = lab.open("race.ipynb")
    assert page.run_all()
    for count in (2, 3):
        controls = page.controls(count)
        assert controls and {str(c) for c in page.tabbed(count)} == {str(c) for c in controls}
    assert page.barriers() == []
    dull = "border: 0 !important; outline: 0 !important; box-shadow: none !important; background: #fff !important"
    page.page.add_style_tag(content=f".widget-dropdown select, .widget-dropdown select:focus {{ {dull} }}")
    assert {c.kind for c in page.tabbed(2)} == {"slider", "play"}, "where the focus cannot be seen, nobody finds it"
    page.cell(2).locator(".noUi-handle").evaluate("node => { node.tabIndex = -1; }")
    assert {c.kind for c in page.tabbed(2)} == {"play"}, "a control out of reach is missed"
    page.cell(2).locator(".widget-dropdown select").first.evaluate(
        "node => { node.removeAttribute('id'); node.ariaLabel = ''; }"
    )
    assert any(said.startswith("select-name") for said in page.barriers()), "a list without its label is found"


@pytest.fixture(scope="module")
def said(lab):
    """Cell -> what the harness says of the notebook in which everything is broken."""
    page = lab.open("broken.ipynb")
    assert not page.run_all()
    sentences = page.errors() + page.pictures_without_alt() + page.unknown_controls()
    for control in page.controls():
        sentences += control.faults(2)
    return sentences


@pytest.mark.parametrize("words", BROKEN)
def test_a_planted_fault_is_said(words, said):
    assert any(words in sentence for sentence in said), said


def test_nothing_else_is_said(said):
    number = list(BROKEN).index
    moved = [number("moved by mouse"), number("moved by keyboard")]
    assert not [s for s in said if s.startswith(("code cell 1:", "code cell 2:", "code cell 1,", "code cell 2,"))], said
    assert sum("no picture or text" in s for s in said) == 2 * len(moved)


def test_without_a_browser_the_reason_is_a_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert browser.find_chromium() is None and "no browser" in browser.why_missing()
