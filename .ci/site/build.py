"""The course as a website: python .ci/site/build.py [FOLDER]

Lessons with their stored outputs, assignments as a learner gets them, and the documents of the repository, in one
folder (build/site unless another is named) that works from a disk without a network and below any address. Nothing is
run. The pages are laid out as in the repository, so that links between them hold as they are; Sphinx and MyST-NB,
set up by conf.py beside this file, turn them into HTML.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

import ipywidgets
import nbformat
from conf import slug

from inception_lessons import assignments

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
DOCUMENTS = ("README.md", "data/README.md", "notebooks/assignments/README.md", "notebooks/assignments/hub/README.md")
FOLDS = {"source_hidden": "hide-input", "outputs_hidden": "hide-output"}  # JupyterLab's word -> MyST-NB's
LINK = re.compile(r"(\]\(\s*<?)([^)\s>]+)")  # ](target
HREF = re.compile(r'(<a\s+href=")([^"]+)')
#: What an ipywidget leaves in a notebook that is stored without its state: the beginning of a constructor's call.
CALL = re.compile(r"(\w+)\(\w+=")
IN_LAB = (
    '<p class="in-lab">The controls that belong here move in JupyterLab. This page shows the picture as it is before '
    "you move them.</p>"
)


def stage(folder: Path) -> list[str]:
    """Lay the sources of all pages into an empty folder; -> the copied notebooks' paths below it, in reading order."""
    for name in DOCUMENTS:
        put_text(folder, name, (ROOT / name).read_text(encoding="utf-8"))
    pages = [f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    for page in pages:
        put_notebook(folder, page, nbformat.read(ROOT / page, 4))
    for name in assignments.names():
        copy = assignments.copy(name, folder / "copies")  # never the master: it holds the solutions
        page = f"notebooks/assignments/{name}/{name}.ipynb"
        put_notebook(folder, page, nbformat.read(copy, 4))
        pages.append(page)
    shutil.rmtree(folder / "copies")
    (folder / "index.md").write_text(index(pages), encoding="utf-8")
    shutil.copyfile(HERE / "conf.py", folder / "conf.py")
    shutil.copytree(HERE / "static", folder / "static")
    return pages


def put_notebook(folder: Path, page: str, notebook) -> None:
    """Write a notebook as the site shows it: links of the site, a sentence for controls, folded cells folded."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = linked(folder, page, cell.source)
            continue
        hidden = cell.metadata.get("jupyter", {})
        folds = [tag for key, tag in FOLDS.items() if hidden.get(key)]
        cell.metadata["tags"] = cell.metadata.get("tags", []) + folds
        for output in cell.outputs:
            data = output.get("data", {})
            if is_widget(data):
                output["data"] = {"text/html": IN_LAB}
            if "text/markdown" in data:
                data["text/markdown"] = linked(folder, page, data["text/markdown"])
    notebook.metadata.pop("widgets", None)  # without their scripts the controls would be dead
    path = folder / page
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def is_widget(data: dict) -> bool:
    """Whether an output is what is left of an ipywidget."""
    call = CALL.match(data.get("text/plain", ""))
    return bool(call) and hasattr(ipywidgets, call[1]) and not any(kind.startswith("image/") for kind in data)


def put_text(folder: Path, page: str, text: str) -> None:
    """Write a document with the site's links."""
    path = folder / page
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(linked(folder, page, text), encoding="utf-8")


def linked(folder: Path, page: str, text: str) -> str:
    """Markdown of the repository -> the same with the site's links; what it links to is staged where it is no page.

    Raises ValueError for a relative link to what the repository does not have.
    """

    def point(found: re.Match) -> str:
        target, _, anchor = found[2].partition("#")
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            return found[0]
        anchor = f"#{slug(unquote(anchor))}" if anchor else ""
        if not target:
            return found[1] + anchor
        place = os.path.normpath(os.path.join(os.path.dirname(page), unquote(target)))
        place = re.sub(r"^build/assignments/(\w+)\.ipynb$", r"notebooks/assignments/\1/\1.ipynb", place)
        source = ROOT / place
        if place.startswith("..") or not source.exists():
            raise ValueError(f"{page} links to {found[2]}, which the repository does not have")
        if source.is_dir():
            place, source = f"{place}/README.md", source / "README.md"
        if place.endswith(".py"):
            place = show_source(folder, place)
        elif not place.endswith((".ipynb", ".md")):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / place)
        return found[1] + os.path.relpath(place, os.path.dirname(page) or ".") + anchor

    def in_html(found: re.Match) -> str:  # which Sphinx hands on as it is
        return re.sub(r"\.(?:ipynb|md)(?=#|$)", ".html", point(found))

    return "".join(part if code else HREF.sub(in_html, LINK.sub(point, part)) for part, code in by_code(text))


def by_code(text: str):
    """Markdown -> its pieces in order, each with whether it is code, in which nothing is a link."""
    fences = r"(^ {0,3}(?P<fence>```|~~~).*?^ {0,3}(?P=fence)[^\n]*$|`[^`\n]*`)"
    start = 0
    for code in re.finditer(fences, text, re.MULTILINE | re.DOTALL):
        yield text[start : code.start()], False
        yield code[0], True
        start = code.end()
    yield text[start:], False


def show_source(folder: Path, place: str) -> str:
    """A Python file of the repository gets a page of its own; -> the page's source, below the staging folder."""
    page = folder / f"{place}.md"
    if not page.exists():
        page.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / place, folder / place)
        name = Path(place).name
        page.write_text(f"---\norphan: true\n---\n\n# {place}\n\n```{{literalinclude}} {name}\n```\n", encoding="utf-8")
    return f"{place}.md"


def index(pages: list[str]) -> str:
    """The front page: what the README says first, its table of lessons, and the tree that the side bar shows."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    opening = readme.partition("\n## ")[0].strip()
    table = re.search(r"^## The lessons$(.*?)(?=^## )", readme, re.MULTILINE | re.DOTALL)
    if not table:
        raise ValueError("README.md has no section named 'The lessons', from which the front page takes its table")
    lessons = [page for page in pages if re.match(r"notebooks/\d", page)]
    beside = [page for page in pages if page.count("/") == 1 and page not in lessons]
    trees = {
        "Lessons": lessons,
        "Beside the lessons": beside,
        "Assignments": [page for page in pages if page.count("/") > 1],
        "Documents": ["The course and how to run it <README>", "What ships with it <data/README>"],
        "For teachers": ["The assignments <notebooks/assignments/README>", "A hub <notebooks/assignments/hub/README>"],
    }
    parts = [opening, READ_AND_RUN, "## The lessons\n" + table[1].rstrip()]
    for caption, names in trees.items():
        listed = "\n".join(named(name) if name.endswith(".ipynb") else name for name in names)
        parts.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```")
    return "\n\n".join(parts) + "\n"


def named(page: str) -> str:
    """A notebook -> its line in the side bar, with its title as far as the colon."""
    name = Path(page).stem
    source = assignments.masters() / name / f"{name}.ipynb" if page.count("/") > 1 else ROOT / page
    title = nbformat.read(source, 4).cells[0].source.splitlines()[0].lstrip("# ")
    return f"{title.partition(':')[0]} <{page.removesuffix('.ipynb')}>"


READ_AND_RUN = """These pages are for reading: every lesson with the outputs of its last run, and the assignments as a
learner gets them. To run them, to move their sliders and to have your answers checked, [get the course](README.md) and
call `make lab`."""


def build(site: Path) -> None:
    """Build the site and put it in the place of an earlier one. Raises ValueError where a link or a page is wrong."""
    with tempfile.TemporaryDirectory(prefix="site-") as scratch:
        sources, made = Path(scratch) / "sources", Path(scratch) / "site"
        sources.mkdir()
        stage(sources)
        command = [sys.executable, "-m", "sphinx", "--builder", "html", "--quiet", "--jobs", "auto"]
        command += ["--fail-on-warning", "--keep-going", "--doctree-dir", str(Path(scratch) / "doctrees")]
        said = subprocess.run([*command, str(sources), str(made)], capture_output=True, text=True, encoding="utf-8")
        if said.returncode:
            raise ValueError((said.stderr + said.stdout).replace(str(sources) + os.sep, "").strip())
        for left in (".buildinfo", "objects.inv"):
            (made / left).unlink(missing_ok=True)
        shutil.rmtree(made / "_sources", ignore_errors=True)
        site.parent.mkdir(parents=True, exist_ok=True)
        if site.exists():
            shutil.rmtree(site)
        shutil.move(made, site)


def main(arguments: list[str]) -> int:
    """-> exit status."""
    parser = argparse.ArgumentParser(description="Make a website of the course, to be read without a network.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "site")
    folder = parser.parse_args(arguments).folder
    if folder.exists() and any(folder.iterdir()) and not (folder / "searchindex.js").exists():
        print(f"make site: {folder} holds something else than a site: name another folder.", file=sys.stderr)
        return 1
    try:
        build(folder)
    except ValueError as error:
        print(f"make site: {error}", file=sys.stderr)
        return 1
    print(f"The site is in {os.path.relpath(folder)}: open {os.path.relpath(folder / 'index.html')}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
