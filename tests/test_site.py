"""The website of the course: built once, then every page walked, and opened in a real browser as a reader does."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import browser
import pytest
from bs4 import BeautifulSoup

from inception_lessons import assignments

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".ci" / "site" / "build.py"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SCREENSHOTS = ROOT / "build" / "screenshots"
LOADS = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}  # what a browser fetches
# a folder of somebody's machine; the pages of the hub name folders that a system has, in code
MACHINE_PATH = re.compile(r"file://|/(?:home|Users|root|tmp|work)/[\w.+-]+|[A-Z]:\\+Users\b")


def built(*arguments) -> subprocess.CompletedProcess:
    """`build.py` with these arguments, as `make site` calls it."""
    return subprocess.run(
        [sys.executable, BUILD, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=900
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site."""
    if not os.environ.get("CI"):
        pytest.importorskip("myst_nb", reason="the site's tools are not installed (extra: site)")
    folder = tmp_path_factory.mktemp("made") / "site"
    done = built(folder)
    assert done.returncode == 0, done.stderr
    assert "index.html" in done.stdout
    return folder


@pytest.fixture(scope="module")
def soups(site):
    """Every page, parsed, by its path below the site."""
    return read(site)


def read(folder):
    return {
        path.relative_to(folder).as_posix(): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(folder.rglob("*.html"))
    }


def faults(folder, soups) -> list[str]:
    """What is wrong with a site: a sentence for each link, picture or path that would fail a reader."""
    found = []
    ids = {page: {tag["id"] for tag in soup.find_all(id=True)} for page, soup in soups.items()}
    for page, soup in soups.items():
        if not (soup.html and soup.html.get("lang")):
            found.append(f"{page} does not say its language")
        for tag in soup.find_all(list(LOADS)):
            target = tag.get(LOADS[tag.name], "")
            if urlsplit(target).netloc:
                found.append(f"{page} loads {target} from another machine")
        for tag in soup.find_all("img"):
            if not tag.get("alt", "").strip():
                found.append(f"{page} shows {tag.get('src', '')[:60]} without alt text")
        for tag in soup.find_all(lambda tag: tag.get("href") or tag.get("src")):
            target = tag.get("href") or tag.get("src")
            if re.match(r"[a-z][a-z0-9+.-]*:|//", target):
                continue
            path, _, anchor = target.partition("#")
            path = unquote(path.split("?")[0])
            place = Path(os.path.normpath((Path(page).parent / path).as_posix() if path else page)).as_posix()
            if path.startswith("/") or place.startswith("..") or not (folder / place).is_file():
                found.append(f"{page} leads to {target}, which is not there")
            elif anchor and place in ids and unquote(anchor) not in ids[place]:
                found.append(f"{page} leads to {target}: the page has no such place")
        words = soup.get_text(" ")
        for text in re.findall(r"Error displaying widget|VBox\(|model not found|\$\\\w+|\w+\(children=", words):
            found.append(f"{page} shows {text!r}")
        for text in MACHINE_PATH.findall(str(soup)):
            found.append(f"{page} names {text}")
    return found


def test_every_link_leads_somewhere_and_nothing_comes_from_elsewhere(site, soups):
    assert faults(site, soups) == []
    assert sum(len(soup.find_all("a", href=True)) for soup in soups.values()) > 500, "there is something to follow"


PLANTED = {
    "leads to gone.html": '<a href="gone.html">x</a>',
    "leads to ../../up.html": '<a href="../../up.html">x</a>',
    "leads to /index.html": '<a href="/index.html">x</a>',
    "no such place": '<a href="other.html#nowhere">x</a>',
    "index.html leads to #gone: the page has no such place": '<a href="#gone">x</a>',
    "leads to gone.png": '<img src="gone.png" alt="a picture">',
    "without alt text": '<img src="there.png" alt=" ">',
    "loads https://cdn.invalid/a.js from": '<script src="https://cdn.invalid/a.js"></script>',
    "loads //cdn.invalid/a.css from": '<link rel="stylesheet" href="//cdn.invalid/a.css">',
    "names /home/ada": "<p>written to /home/ada</p>",
    "shows 'VBox('": "<pre>VBox(children=(IntSlider(value=3),))</pre>",
    "shows 'Error displaying widget'": "<p>Error displaying widget</p>",
    "shows '$\\\\gamma'": "<p>$\\gamma$</p>",
}


@pytest.mark.parametrize("words", PLANTED)
def test_a_planted_fault_is_found(words, tmp_path):
    fine = '<a href="other.html#here">x</a><a id="here" href="https://example.org/x">x</a><img src="there.png" alt="a">'
    (tmp_path / "there.png").touch()
    for page in ("index.html", "other.html"):
        (tmp_path / page).write_text(f"<html lang='en'><body>{fine}</body></html>")
    assert faults(tmp_path, read(tmp_path)) == []
    (tmp_path / "index.html").write_text(f"<html lang='en'><body>{fine}{PLANTED[words]}</body></html>")
    found = faults(tmp_path, read(tmp_path))
    assert any(words in sentence for sentence in found), found


def test_every_notebook_has_its_page(soups):
    pages = [f"notebooks/{path.stem}.html" for path in NOTEBOOKS]
    pages += [f"notebooks/assignments/{name}/{name}.html" for name in assignments.names()]
    assert set(pages) <= set(soups) and len(assignments.names()) >= 6 and len(NOTEBOOKS) >= 10
    links = {tag["href"] for tag in soups["index.html"].select(".sidebar-tree a[href]")}
    assert set(pages) <= links, "the side bar leads to each"
    rows = soups["index.html"].select("article table tbody tr")
    lessons = [row.find("a")["href"] for row in rows]
    assert sorted(lessons) == sorted(page for page in pages if page.count("/") == 1) and len(lessons) >= 10
    assert all(len(soup.find_all("h1")) == 1 for page, soup in soups.items() if page != "search.html")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_shows_what_its_notebook_stores(path, soups):
    """Each figure with the alt text of its notebook; a sentence and a picture where there are controls."""
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    shown = soups[f"notebooks/{path.stem}.html"].select("div.cell")
    assert len(shown) == len(cells)
    controls = 0
    for cell, page in zip(cells, shown, strict=True):
        alts = [out["metadata"]["image/png"]["alt"] for out in cell["outputs"] if "image/png" in out.get("data", {})]
        assert [img["alt"].split() for img in page.select(".cell_output img")] == [alt.split() for alt in alts]
        plain = ["".join(out.get("data", {}).get("text/plain", "")) for out in cell["outputs"]]
        if any(text.startswith("VBox(") for text in plain):
            controls += 1
            assert page.select_one(".in-lab") and alts, "controls stand in the notebook"
        printed = "".join("".join(out["text"]) for out in cell["outputs"] if out["output_type"] == "stream")
        assert printed.strip() == "" or printed.split()[-1] in page.get_text()
    assert controls >= 1 or not re.match(r"\d", path.name), "each lesson has a widget"


@pytest.mark.parametrize("name", assignments.names())
def test_an_assignment_has_no_solution_and_its_checks_are_folded(name, soups):
    soup = soups[f"notebooks/assignments/{name}/{name}.html"]
    words = "\n".join(cell.get_text() for cell in soup.select("div.cell"))  # a hint may say a line of code
    master = json.loads((assignments.masters() / name / f"{name}.ipynb").read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in master["cells"] if cell["cell_type"] == "code"]
    secret = "".join(re.findall(r"BEGIN (?:SOLUTION|HIDDEN TESTS)(.*?)END (?:SOLUTION|HIDDEN)", "".join(sources), re.S))
    lines = [line.strip() for line in secret.splitlines() if len(line.strip()) > 35]
    given = "".join(re.sub(r"BEGIN (SOLUTION|HIDDEN TESTS).*?END \1", "", source, flags=re.S) for source in sources)
    assert len(lines) > 10
    assert [line for line in lines if line in words and line not in given] == []
    assert "raise NotImplementedError" in words and "BEGIN SOLUTION" not in words
    folded = [cell for cell in master["cells"] if cell["metadata"].get("jupyter", {}).get("source_hidden")]
    assert folded and len(soup.select("div.cell details.hide:not([open])")) == len(folded)
    assert len(soup.find_all("details")) > len(folded), "hints stay folded too"


def test_maths_needs_no_script(soups):
    maths = soups["notebooks/02_batch_norm.html"].find_all("math")
    assert len(maths) > 10 and any(tag.get("display") == "block" for tag in maths)
    assert "γ" in soups["notebooks/02_batch_norm.html"].get_text()


def test_the_site_can_stand_anywhere_and_says_nothing_of_its_maker(site, soups):
    for page in soups:
        assert soups[page].find("base") is None and soups[page].find("link", rel="canonical") is None
    left = {path.name for path in site.rglob("*") if path.suffix in (".ipynb", ".py", ".pickle", ".doctree")}
    assert left == set(), "pages alone"


# ------------------------------------------------------------------------------------------------- building, and not


def test_a_link_to_nothing_stops_the_build(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BUILD.parent)
    import build

    assert build.linked(tmp_path, "notebooks/a.ipynb", "[x](../LICENSE)") == "[x](../LICENSE)"
    assert (tmp_path / "LICENSE").exists()
    copy = build.linked(tmp_path, "notebooks/a.ipynb", "[x](../build/assignments/02_batch_norm.ipynb#A-b%3F)")
    assert copy == "[x](assignments/02_batch_norm/02_batch_norm.ipynb#A-b)"
    text = "[x](../inception_lessons/layers.py) `[x](no.py)` [y](#A%2C-b)"
    source = build.linked(tmp_path, "notebooks/a.ipynb", text)
    assert source == "[x](../inception_lessons/layers.py.md) `[x](no.py)` [y](#A-b)"
    assert "literalinclude" in (tmp_path / "inception_lessons/layers.py.md").read_text()
    for gone in ("gone.ipynb", "../../outside.md", "/LICENSE"):
        with pytest.raises(ValueError, match=f"notebooks/a.ipynb links to {re.escape(gone)}"):
            build.linked(tmp_path, "notebooks/a.ipynb", f"[x]({gone})")


def test_a_folder_of_something_else_stays(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = built(tmp_path)
    assert done.returncode == 1 and "holds something else" in done.stderr and (tmp_path / "thesis.txt").exists()


# ------------------------------------------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def chromium():
    """A browser of its own, which may open files."""
    reason = browser.why_missing()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=browser.find_chromium(), args=browser.FLAGS)
        yield started
        started.close()


def opened(chromium, **options):
    """A page and the list of what goes wrong in it."""
    page = chromium.new_page(**options)
    wrong = []
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or wrong.append(f"asked for {asked.url}"))
    page.on("requestfailed", lambda asked: wrong.append(f"failed: {asked.url}"))
    return page, wrong


@pytest.mark.browser
@pytest.mark.parametrize("look", ["light", "dark"])
def test_no_page_has_a_barrier(look, chromium, site, soups):
    """axe on every page, read from the disk. In the dark colours differ, and nothing else: there one page of a kind."""
    page, wrong = opened(chromium, viewport={"width": 1280, "height": 900}, color_scheme=look)
    some = ["index.html", "search.html", "notebooks/02_batch_norm.html", "README.html", "notebooks/ledger.html"]
    some += [f"notebooks/assignments/{assignments.names()[0]}/{assignments.names()[0]}.html"]
    found = {}
    for name in soups if look == "light" else some:
        page.goto((site / name).as_uri())
        found[name] = browser.barriers(page)
    assert {name: said for name, said in found.items() if said} == {} and wrong == []
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.goto((site / "notebooks/02_batch_norm.html").as_uri())
    page.screenshot(path=str(SCREENSHOTS / f"site_{look}.png"))


@pytest.mark.browser
def test_a_telephone_shows_every_page_without_sideways_scrolling(chromium, site, soups):
    page, wrong = opened(chromium, viewport={"width": 390, "height": 844})
    wide = {}
    for name in soups:
        page.goto((site / name).as_uri())
        wide[name] = page.evaluate("document.documentElement.scrollWidth")
    assert {name: width for name, width in wide.items() if width > 390} == {} and wrong == []
    page.screenshot(path=str(SCREENSHOTS / "site_phone.png"))


@pytest.mark.browser
def test_the_site_is_searched_without_a_network(chromium, site):
    page, wrong = opened(chromium)
    page.goto((site / "search.html").as_uri() + "?q=residual")
    page.wait_for_selector("#search-results li a", timeout=30_000)
    page.locator("#search-results li a", has_text="05").first.click()
    assert "05_inception_v4" in page.url and wrong == []


@pytest.mark.browser
def test_a_barrier_is_found(chromium, tmp_path):
    page, _ = opened(chromium)
    for words, html in {
        "image-alt": "<img src='x.png'>",
        "color-contrast": "<p style='color: #aaa; background: #fff'>pale words</p>",
        "select-name": "<select><option>3a</option></select>",
    }.items():
        (tmp_path / "page.html").write_text(f"<html lang='en'><title>x</title><main><h1>x</h1>{html}</main></html>")
        page.goto((tmp_path / "page.html").as_uri())
        assert any(words in sentence for sentence in browser.barriers(page)), words
        assert browser.barriers(page, within="h1") == []


def test_make_site_is_what_ci_runs():
    if not shutil.which("make"):
        pytest.skip("no make here")
    planned = subprocess.run(["make", "-n", "site"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "--extras site" in planned and ".ci/site/build.py" in planned
