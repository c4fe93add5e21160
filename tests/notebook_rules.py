"""What every stored notebook keeps to. A rule is a function of a `Page` that yields a sentence for each fault.

from notebook_rules import faults
faults(Path("notebooks/01_inception_v1.ipynb"))  # [] where all is well
"""

import ast
import builtins
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "inception_lessons"
# Package names that a notebook may use for something else: words that checks alone has, always called as checks.run.
ALLOWED_NAMES = frozenset({"run", "judge", "cells", "Answer"})
ALT_LENGTH = 20
CODE_CELLS, LINES, LINES_HARD, LONG_CELLS, MEGABYTES = 30, 20, 25, 3, 1.0
IGNORED, RAISES = "nbval-ignore-output", "raises-exception"
MACHINE_PATH = re.compile(
    r"(?<![\w:/.<~$\\{}^])/(?:[\w.+-]+/){2,}[\w.+-]*"  # two folders or more
    r"|(?<![\w:/.<~])/(?:home|Users|root|tmp|work|content|mnt|opt|var|usr)/[\w.+-]+"
    r"|\b[A-Z]:\\+(?:Users|Windows|Temp|Program Files)\b|ipykernel_\d+"
)
HOME_PATH = re.compile(r"(?<!\w)~/[\w.+-]+")  # fine in prose, which speaks of the reader's home; not in an output

ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Page:
    """One notebook: `.cells` with their numbers, code cells also with their syntax tree; `.path` for links and size."""

    def __init__(self, notebook: dict, path: Path):
        self.notebook, self.path = notebook, path
        self.markdown = [(n, c) for n, c in enumerate(notebook["cells"]) if c["cell_type"] == "markdown"]
        self.code = [
            Code(n, k, c)
            for k, (n, c) in enumerate(((n, c) for n, c in enumerate(notebook["cells"]) if c["cell_type"] == "code"), 1)
        ]


class Code:
    """A code cell: `.count` from 1 as a reader sees it, `.tree` of everything that runs in it, also behind a magic."""

    def __init__(self, number: int, count: int, cell: dict):
        self.number, self.count, self.cell, self.source = number, count, cell, cell["source"]
        self.tags = cell["metadata"].get("tags", [])
        self.outputs = cell["outputs"]
        self.ignored = IGNORED in self.tags
        self.raises = RAISES in self.tags
        self.tests = cell["metadata"].get("nbgrader", {}).get("grade", False)  # a test of an assignment's master
        self.tree = tree(self.source)

    def __str__(self):
        return f"code cell {self.count}"


def tree(source: str) -> ast.Module:
    """IPython source -> its syntax tree, with the code behind `%time` and `%%time`; empty where it is no Python."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        parsed = ast.parse(TransformerManager().transform_cell(source))
    except (SyntaxError, ValueError):
        return ast.parse("")
    for node in list(ast.walk(parsed)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("run_line_magic", "run_cell_magic")
        ):
            last = node.args[-1]
            if isinstance(last, ast.Constant) and isinstance(last.value, str):
                parsed.body += tree(last.value).body
    return parsed


@functools.cache
def package_names() -> dict[str, str]:
    """Each public class and function of the package -> the module that owns it, read without importing anything."""
    owners = {}
    for path in sorted(PACKAGE.glob("[!_]*.py")):
        if path.stem in ("assignments", "sandbox", "locks"):
            continue  # no lesson imports them
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith(
                "_"
            ):
                owners.setdefault(node.name, path.stem)
    for node in ast.parse((PACKAGE / "widgets" / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            owners |= {alias.name: "widgets" for alias in node.names}
    return owners


def texts(output: dict) -> Iterator[str]:
    """Every text that a reader may see of an output: streams, results of a text kind, tracebacks."""
    if "text" in output:
        yield output["text"]
    yield from (
        data for mime, data in output.get("data", {}).items() if isinstance(data, str) and not mime.startswith("image/")
    )
    if output["output_type"] == "error":
        yield "\n".join([output["evalue"], *output["traceback"]])


# --- the rules ----------------------------------------------------------------------------------------------


def one_clean_run(page: Page) -> Iterator[str]:
    """Cells are numbered 1..n and results carry their cell's number: a fresh kernel, top to bottom, once."""
    for code in page.code:
        count = code.cell["execution_count"]
        if count != code.count:
            yield f"{code} is stored with number {count}: not one clean run (an unnumbered cell is never compared)"
        for output in code.outputs:
            if output.get("execution_count", count) != count:
                yield f"{code} shows a result of run {output['execution_count']}, not of its own"
    if page.notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not python3, which is the one name that every machine has"


def figures_have_alt(page: Page) -> Iterator[str]:
    """Every picture says what it shows, for a reader who cannot see it."""
    for code in page.code:
        for output in code.outputs:
            for mime in (m for m in output.get("data", {}) if m.startswith("image/")):
                metadata = output.get("metadata", {})
                of_mime = metadata.get(mime, {})
                alt = (of_mime.get("alt") if isinstance(of_mime, dict) else "") or metadata.get("alt") or ""
                if len(alt.strip()) < ALT_LENGTH:
                    yield f"{code} shows a figure with alt text {alt!r}; it takes {ALT_LENGTH} characters or more"
            for tag in re.findall(r"<img\b[^>]*>", "".join(texts(output))):
                if len(attribute(tag, "alt").strip()) < ALT_LENGTH:
                    yield f"{code} shows an <img> without alt text of {ALT_LENGTH} characters"


def training_is_checked(page: Page) -> Iterator[str]:
    """What nbval cannot compare is asserted.

    A cell that trains leads, within two code cells, to a compared one that asserts something about it and prints a
    sentence; another ignored cell has such a one beside it. A promised exception is compared by itself.
    """
    common = imported(page) | set(dir(builtins))
    for index, code in enumerate(page.code):
        if not (code.ignored or trains(code)) or (code.raises and not code.ignored):
            continue  # an exception is compared by its name and message
        about = names(code) - common
        candidates = page.code[index + 1 : index + 3] + ([] if code.ignored else [code])
        if not trains(code):  # it may also show what was asserted just before
            candidates += page.code[max(0, index - 2) : index]
        if not any(asserts(check, about) for check in candidates):
            why = f"is tagged {IGNORED}" if code.ignored else "trains"
            yield (
                f"{code} {why}, and no compared cell beside it asserts something about "
                f"{', '.join(sorted(about)) or 'it'} and prints a sentence"
            )


def trains(code: Code) -> bool:
    """Whether the cell calls `fit` of anything."""
    return any(
        isinstance(node, ast.Call) and "fit" in (getattr(node.func, "attr", ""), getattr(node.func, "id", ""))
        for node in ast.walk(code.tree)
    )


def names(code: Code) -> set[str]:
    """Every plain name that the cell reads or binds."""
    return {node.id for node in ast.walk(code.tree) if isinstance(node, ast.Name)}


def imported(page: Page) -> set[str]:
    """Names that the notebook's imports bind."""
    found = set()
    for code in page.code:
        for node in ast.walk(code.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                found |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return found


def asserts(code: Code, about: set[str]) -> bool:
    """Whether a compared cell asserts something that can fail, mentions one of `about` (if any) and has printed."""
    if code.ignored or code.raises:
        return False
    real = any(
        isinstance(node, ast.Assert) and any(isinstance(part, ast.Name) for part in ast.walk(node.test))
        for node in ast.walk(code.tree)
    )
    printed = any(
        output["output_type"] == "stream"
        and output["name"] == "stdout"
        and re.search(r"[^\W\d]+\s+[^\W\d]+", output["text"])
        for output in code.outputs
    )
    return real and printed and (not about or bool(about & names(code)))


def owns_no_package_name(page: Page) -> Iterator[str]:
    """A name of the package means one thing everywhere; a notebook neither redefines nor shadows it."""
    owners = {name: module for name, module in package_names().items() if name not in ALLOWED_NAMES}
    for code in page.code:
        if code.tests:
            continue  # it runs by itself, where it shadows nothing
        for name in sorted(bound(code.tree) & set(owners)):
            yield f"{code} binds {name!r}, which belongs to inception_lessons.{owners[name]}"


def bound(module: ast.Module) -> set[str]:
    """Names of all classes and functions, and of everything that is bound outside of them."""
    found = set()

    def visit(node):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
            found.update(
                n.name for n in ast.walk(node) if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            )
            return
        if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            return
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            found.add(node.id)
        if isinstance(node, ast.Import | ast.ImportFrom) and not (getattr(node, "module", "") or "").startswith(
            "inception_lessons"
        ):
            found.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        if isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(module)
    return found


def no_stored_complaints(page: Page) -> Iterator[str]:
    """A stored error or warning is either the lesson's point, and tagged, or a defect."""
    for code in page.code:
        errors = [output for output in code.outputs if output["output_type"] == "error"]
        if errors and not code.raises:
            yield f"{code} stores {errors[0]['ename']} without the tag {RAISES}"
        if code.raises and not errors and not code.tests:  # a learner's copy raises there, the master does not
            yield f"{code} is tagged {RAISES} and stores no error: nothing breaks on the page"
        if code.raises and code.ignored:
            yield f"{code} is tagged {RAISES} and {IGNORED}: then nothing of it is checked"
        for output in code.outputs:
            if output["output_type"] == "stream" and output["name"] == "stderr" and not code.ignored:
                yield f"{code} stores stderr: {output['text'][:80]!r}"


def no_machine_paths(page: Page) -> Iterator[str]:
    """Nothing on the page names a folder of the machine that made it."""
    for number, cell in enumerate(page.notebook["cells"]):
        found = MACHINE_PATH.search(cell["source"])
        if found:
            yield f"cell {number} names the path {found.group()!r} in its source"
        for output in cell.get("outputs", []):
            for text in texts(output):
                found = MACHINE_PATH.search(ANSI.sub("", text)) or HOME_PATH.search(ANSI.sub("", text))
                if found:
                    yield f"cell {number} names the path {found.group()!r} in its output"


def nothing_hidden(page: Page) -> Iterator[str]:
    """No cell escapes the comparison or hides what it says; tags, not comments, speak to nbval."""
    for code in page.code:
        if re.search(r"^\s*%%capture\b|^\s*%%?(?:script|bash|sh|cmd)\b", code.source, re.MULTILINE):
            yield f"{code} uses a magic whose output or failure is not compared"
        if re.search(r"^\s*#\s*(?:NBVAL_\w+|PYTEST_VALIDATE_\w+)", code.source, re.MULTILINE):
            yield f"{code} speaks to nbval in a comment; a tag does that"
        for tag in {"nbval-skip", "skip-execution", "nbval-raises-exception", "nbval-check-output"} & set(code.tags):
            yield f"{code} carries the tag {tag}"
        for node in ast.walk(code.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in ("filterwarnings", "simplefilter") and "ignore" in ast.unparse(node):
                    yield f"{code} silences warnings"


def can_be_read(page: Page) -> Iterator[str]:
    """Short enough for one sitting: cells, lines and bytes."""
    if len(page.code) > CODE_CELLS:
        yield f"{len(page.code)} code cells; {CODE_CELLS} at most"
    lines = [(len(code.source.splitlines()), code) for code in page.code if "nbgrader" not in code.cell["metadata"]]
    for length, code in lines:
        if length > LINES_HARD:
            yield f"{code} has {length} lines; {LINES_HARD} at most"
    if sum(length > LINES for length, _ in lines) > LONG_CELLS:
        yield f"more than {LONG_CELLS} cells have over {LINES} lines"
    for code in page.code:
        if not code.source.strip():
            yield f"{code} is empty"
    size = len(json.dumps(page.notebook, indent=1, ensure_ascii=False).encode()) / 1e6
    if size > MEGABYTES:
        yield f"{size:.2f} MB; {MEGABYTES:g} at most"


def pictures_in_text_have_alt(page: Page) -> Iterator[str]:
    """Pictures between the cells say what they show too."""
    for number, cell in page.markdown:
        source = without_code(cell["source"])
        if re.search(r"!\[\s*\]", source):
            yield f"cell {number} has a picture without alt text"
        if any(not attribute(tag, "alt").strip() for tag in re.findall(r"<img\b[^>]*>", source)):
            yield f"cell {number} has an <img> without alt text"


def nothing_left_to_write(page: Page) -> Iterator[str]:
    """A note of the author to himself is not a sentence of the lesson."""
    for number, cell in enumerate(page.notebook["cells"], 1):
        for mark in re.findall(r"\b(?:TODO|FIXME|XXX|TBD)\b", cell["source"]):
            yield f"cell {number} still says {mark}"


def headings_in_order(page: Page) -> Iterator[str]:
    """One title, first; below it no level is skipped, so that the table of contents is a tree."""
    levels = []
    for number, cell in page.markdown:
        pattern = r"^ {0,3}(#{1,6})\s+(\S.*)$|<h([1-6])\b"
        for marks, title, html in re.findall(pattern, without_code(cell["source"]), re.MULTILINE):
            levels.append((len(marks) or int(html), title, number))
    if sum(level == 1 for level, *_ in levels) != 1 or levels[0][0] != 1:
        yield f"a notebook has one level-1 heading and it comes first; found levels {[level for level, *_ in levels]}"
    for (above, *_), (level, title, number) in zip(levels, levels[1:], strict=False):
        if level > above + 1:
            yield f"cell {number}: heading {title!r} has level {level} below level {above}"


def calls_stay_qualified(page: Page) -> Iterator[str]:
    """`train.fit(...)`, never a bare `fit(...)`: a reader sees where each word comes from."""
    for code in page.code:
        for node in ast.walk(code.tree):
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                yield f"{code} imports * from {node.module}"
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("inception_lessons."):
                yield f"{code} imports names out of {node.module}; import the module and call through it"
            elif isinstance(node, ast.ImportFrom) and node.module == "inception_lessons":
                for alias in node.names:
                    if alias.name in package_names() and not (
                        (PACKAGE / f"{alias.name}.py").exists() or (PACKAGE / alias.name).is_dir()
                    ):
                        yield f"{code} imports {alias.name} from the package; import its module"
            elif isinstance(node, ast.Attribute) and node.attr == "path" and getattr(node.value, "id", "") == "sys":
                yield f"{code} touches sys.path; the package is installed"


def links_lead_somewhere(page: Page) -> Iterator[str]:
    """Every relative link or picture is a file that is there; of a learner's copy of an assignment, the master is."""
    for number, cell in page.markdown:
        source = without_code(cell["source"])
        targets = re.findall(r"\]\(\s*<?([^)\s>]+)", source) + re.findall(
            r"^\s*\[[^\]]+\]:\s*(\S+)", source, re.MULTILINE
        )
        targets += [
            attribute(tag, "href") or attribute(tag, "src") for tag in re.findall(r"<(?:a|img)\b[^>]*>", source)
        ]
        for target in targets:
            place = unquote(target.split("#")[0].split("?")[0])
            if not place or re.match(r"[a-z][a-z0-9+.-]*:", place):
                continue
            copy = re.fullmatch(r"\.\./build/assignments/(\w+)\.ipynb", place)
            if copy:  # made from its master, at the first `make lab`
                place = f"assignments/{copy[1]}/{copy[1]}.ipynb"
            if place.startswith("/") or not (page.path.parent / place).exists():
                yield f"cell {number} links to {target}, which is not there"


def html_is_not_markdown(page: Page) -> Iterator[str]:
    """A line that begins with a tag is HTML up to the next empty line: a backtick there stays a backtick."""
    for number, cell in page.markdown:
        for line in re.findall(r"^<(?:details|div|p|table)\b.*", cell["source"], re.MULTILINE):
            if re.search(r"`|\*\*\w|\]\(", re.sub(r"<code>.*?</code>", "", line)):
                yield f"cell {number} has Markdown in a line of HTML, which shows its marks: {line[:80]}"


BESIDE = {"glossary": "Glossary", "symptoms": "My Inception does not learn", "ledger": "Ledger"}


def navigation(path: Path) -> str:
    """The line of links that a page of the course carries: before, after, its assignment, what stands beside."""
    lessons = sorted(path.parent.glob("[0-9][0-9]_*.ipynb"))
    place = lessons.index(path) if path in lessons else None
    if place is None:
        around = {0: ""} if lessons else {}
    else:
        around = {number: arrow for number, arrow in ((place - 1, "←"), (place + 1, "→")) if 0 <= number < len(lessons)}
    links = []
    for number, arrow in around.items():
        title = json.loads(lessons[number].read_text(encoding="utf-8"))["cells"][0]["source"]
        words = "".join(title).partition("\n")[0].removeprefix("# ").partition(":")[0]
        words = {"←": f"← {words}", "→": f"{words} →", "": words}[arrow]
        links.append(f"[{words}]({lessons[number].name})")
    if (path.parent / "assignments" / path.stem / path.name).exists():
        links.append(f"[Assignment {path.stem[:2]}](../build/assignments/{path.name})")
    pages = ((path.parent / f"{name}.ipynb", words) for name, words in BESIDE.items())
    links += [f"[{words}]({page.name})" for page, words in pages if page.exists() and page != path]
    return " | ".join(links)


def leads_on(page: Page) -> Iterator[str]:
    """Below the title and at the very end stands the same line of links, so that no page is a dead end."""
    wanted = navigation(page.path)
    cells = page.notebook["cells"]
    if not wanted:
        return
    if cells[0]["source"].split("\n\n")[1:2] != [wanted]:
        yield f"below the title of the notebook stands no line {wanted}"
    if cells[-1]["cell_type"] != "markdown" or cells[-1]["source"].split("\n\n")[-1] != wanted:
        yield f"the last line of the notebook is not {wanted}"


def without_code(source: str) -> str:
    """Markdown without fenced blocks and code spans."""
    return re.sub(
        r"`[^`\n]*`", "", re.sub(r"^ {0,3}(```|~~~).*?^ {0,3}\1[^\n]*$", "", source, flags=re.MULTILINE | re.DOTALL)
    )


def attribute(tag: str, name: str) -> str:
    """The value of an HTML attribute, "" where it is missing."""
    found = re.search(rf"""\b{name}\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""", tag)
    return next((value for value in found.groups() if value is not None), "") if found else ""


RULES = (
    one_clean_run,
    figures_have_alt,
    training_is_checked,
    owns_no_package_name,
    no_stored_complaints,
    no_machine_paths,
    nothing_hidden,
    can_be_read,
    pictures_in_text_have_alt,
    nothing_left_to_write,
    headings_in_order,
    calls_stay_qualified,
    links_lead_somewhere,
    leads_on,
    html_is_not_markdown,
)


def read(path: Path) -> Page:
    """A valid notebook of format 4.5 with distinct cell ids; anything else is a ValueError that says what is wrong."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if (raw["nbformat"], raw["nbformat_minor"]) < (4, 5):
            raise ValueError(
                f"format {raw['nbformat']}.{raw['nbformat_minor']}, wanted 4.5 or newer, whose cells have ids"
            )
        ids = [cell["id"] for cell in raw["cells"]]
        if len(set(ids)) < len(ids):  # nbformat would give one of them a new one
            raise ValueError("two cells have the same id")
        nbformat.validate(raw)
        return Page(nbformat.from_dict(nbformat.reads(json.dumps(raw), as_version=4)), path)
    except (ValueError, KeyError, nbformat.ValidationError, AttributeError, TypeError) as error:
        raise ValueError(f"{path.name} is not a readable notebook: {error}") from error


def faults(path: Path) -> list[str]:
    """All faults of one notebook, each a sentence that begins with the file's name."""
    try:
        page = read(path)
    except ValueError as error:
        return [str(error)]
    return [f"{path.name}: {sentence}" for rule in RULES for sentence in rule(page)]


def all_notebooks() -> list[Path]:
    """Every stored notebook of the course, without JupyterLab's checkpoints."""
    return [path for path in sorted((ROOT / "notebooks").rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
