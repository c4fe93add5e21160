"""Writes every stored output anew: each notebook runs from a fresh kernel and is replaced if all went well.

    python tests/execute_notebooks.py [notebook ...] [--check] [--timeout 300]

Nothing in a stored output is typed by hand. What depends on the run or the machine and is no result is left out
(timings, widget state, the kernel's version, folders in a traceback), so that a second run writes the same again.
`--check` runs and compares, and writes nothing. Exit status 1: a cell failed, or --check found a difference.
"""

import argparse
import base64
import dataclasses
import multiprocessing
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import memory
import nbformat
from notebook_rules import all_notebooks

ROOT = Path(__file__).resolve().parent.parent
README_PICTURE = (ROOT / "notebooks" / "00_start_here.ipynb", ROOT / "data" / "readme.png")
SANITIZE = Path(__file__).with_name("nbval_sanitize.cfg")
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
TRANSIENT_CELL = ("execution", "ExecuteTime", "collapsed", "scrolled", "trusted")
TRANSIENT_NOTEBOOK = ("widgets", "signature", "papermill")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # holds a random model id that no kernel knows any more


class NotebookFailed(Exception):
    """A sentence that names notebook and cell, and the error's own text below it."""


@dataclasses.dataclass
class Report:
    """What one execution gave: wall seconds, the largest process below us in MB (None: unknown), the changed cells; and
    the most that kernel and all that it started held together, in MB.
    """

    seconds: float
    peak_mb: float | None
    changed: list[str]
    together_mb: float


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook in format 4.5 whose cells all have an id; an id, once there, is never changed."""
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)
        if notebook.nbformat != 4:
            notebook = nbformat.convert(notebook, 4)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise NotebookFailed(f"{path.name} is not a readable notebook: {error}") from error
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells):
        cell.setdefault("id", f"cell-{number:02d}")
    return notebook


def run_cells(notebook: nbformat.NotebookNode, folder: Path, name: str, timeout: float) -> None:
    """Fills in the outputs, in place. NotebookFailed at a cell that raises, runs too long or kills its kernel."""
    import nbclient
    import nbclient.output_widget

    # nbclient and ipywidgets answer each other's updates of an Output widget, and under load wait for each other for
    # ever (jupyter/nbclient issue 312). The page is read from the messages, so nothing is lost without the answer.
    if not callable(getattr(nbclient.output_widget.OutputWidget, "sync_state", None)):
        raise NotebookFailed("nbclient has changed: OutputWidget.sync_state is gone, see tests/execute_notebooks.py")
    nbclient.output_widget.OutputWidget.sync_state = lambda self: None
    started = {"index": 0}

    def on_start(cell, cell_index):
        started["index"] = cell_index

    def on_executed(cell, cell_index, execute_reply):
        reply = execute_reply[
            "content"
        ]  # a tag allows an exception, but IPython only prints a UsageError and skips the rest
        if reply["status"] == "error" and reply["ename"] == "UsageError":
            raise NotebookFailed(reply["evalue"])

    client = nbclient.NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name=KERNEL["name"],
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=50"],
        on_cell_start=on_start,
        on_cell_executed=on_executed,
    )
    try:
        client.execute()
    except (
        nbclient.exceptions.CellExecutionError,
        nbclient.exceptions.CellTimeoutError,
        nbclient.exceptions.DeadKernelError,
        NotebookFailed,
    ) as error:
        index = started["index"]
        count = sum(cell.cell_type == "code" for cell in notebook.cells[: index + 1])
        source = "\n".join(f"    {line}" for line in notebook.cells[index].source.splitlines())
        text = str(error)
        if isinstance(error, nbclient.exceptions.CellExecutionError):  # its text repeats the source between two rules
            text = text.rpartition("------------------\n")[2] if "\n------------------\n" in text else text
            text = re.sub(r"\x1b\[[0-9;]*m", "", text)
        if isinstance(error, nbclient.exceptions.CellTimeoutError):
            text = f"It ran longer than {timeout:g} seconds."
        raise NotebookFailed(
            f"{name}: code cell {count} failed; the stored file is as it was.\n\n{source}\n\n{text}"
        ) from None


def without_machine(text: str) -> str:
    """A traceback without the folders of its machine. nbval compares no traceback, so this hides no difference."""
    home = os.path.expanduser("~")
    shorts = {str(ROOT): "", sys.prefix: "", sys.base_prefix: "", home: "~/"}
    for folder in sorted(shorts, key=len, reverse=True):  # an environment may lie inside the repository
        text = text.replace(folder + os.sep, shorts[folder])
        if folder.startswith(home + os.sep):  # IPython itself writes ~ for the home folder
            text = text.replace("~" + folder.removeprefix(home) + os.sep, shorts[folder])
    return re.sub(r"[^\s\x1b\"']*[/\\]ipykernel_\d+[/\\]\d+\.py", "cell.py", text)


def tidy(notebook: nbformat.NotebookNode, name: str) -> None:
    """Leaves out what belongs to the run and not to the lesson, in place."""
    for key in TRANSIENT_NOTEBOOK:
        notebook.metadata.pop(key, None)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata.get("language_info", {}).pop("version", None)
    counts = []
    for cell in notebook.cells:
        for key in TRANSIENT_CELL:
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        counts.append(cell.execution_count)
        for output in cell.outputs:
            if "data" in output and len(output.data) > 1:
                output.data.pop(WIDGET_VIEW, None)
            output.get("metadata", {}).pop(WIDGET_VIEW, None)
            if output.output_type == "error":
                output.traceback = [without_machine(line) for line in output.traceback]
    if counts != list(range(1, len(counts) + 1)):
        raise NotebookFailed(
            f"{name}: code cells came out numbered {counts}, not 1..{len(counts)}. Is one of them empty?"
        )


def shown(cell: nbformat.NotebookNode) -> list:
    """What nbval compares of a cell: text of every kind, errors by name and message; no pictures, no widget ids."""
    from nbval.plugin import get_sanitize_patterns

    def sanitized(text):
        for regex, replace in get_sanitize_patterns(SANITIZE.read_text(encoding="utf-8")):
            text = re.sub(regex, replace, text)
        return text

    texts = []
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            texts.append(("error", output.ename, output.evalue))
        for mime, data in sorted(output.get("data", {}).items()):  # a file has them by name, a kernel in its own order
            if mime not in (WIDGET_VIEW, "image/png", "image/jpeg"):
                texts.append((mime, sanitized(data) if isinstance(data, str) else data))
        if "text" in output:
            texts.append((output.name, sanitized(output.text)))
    return texts


def changes(before: nbformat.NotebookNode, after: nbformat.NotebookNode) -> list[str]:
    """Names the cells whose number or compared outputs differ; a cell tagged nbval-ignore-output has only a number."""
    found = []
    for old, new in zip(before.cells, after.cells, strict=True):
        if new.cell_type != "code":
            continue
        ignored = "nbval-ignore-output" in new.metadata.get("tags", [])
        if old.execution_count != new.execution_count or (not ignored and shown(old) != shown(new)):
            found.append(f"code cell {new.execution_count}")
    return found


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Beside and then renamed, so that no half-written notebook is ever seen."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(nbformat.writes(notebook).rstrip("\n") + "\n")
        os.chmod(beside, path.stat().st_mode & 0o777)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def execute(path: Path, *, timeout: float = 300, check: bool = False) -> Report:
    """Runs one notebook in its own folder and, unless `check`, writes it. Wants a process of its own (its peak)."""
    before, notebook = read(path), read(path)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = (
        "1"  # this environment's kernel, not a "python3" that a person installed elsewhere
    )
    os.environ.pop("MPLBACKEND", None)  # a kernel that inherits one does not draw into the page
    os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IPYTHONDIR"] = folder
        with memory.Watch() as watch:
            run_cells(notebook, path.parent, path.name, timeout)
    seconds = time.perf_counter() - start
    tidy(notebook, path.name)
    nbformat.validate(notebook)
    if not check:
        write(notebook, path)
        if path == README_PICTURE[0]:
            README_PICTURE[1].write_bytes(first_picture(notebook))
    largest = peak_mb()  # one process alone, but exact: the looks may have missed its moment
    return Report(seconds, largest, changes(before, notebook), max(watch.peak / 1e6, largest or 0.0))


def first_picture(notebook: nbformat.NotebookNode) -> bytes:
    """The first PNG stored in a notebook: the picture that the README shows is lesson 00's."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output.data["image/png"])
    raise NotebookFailed("there is no picture in this notebook for the README to show")


def peak_mb() -> float | None:
    """The largest resident size that any finished child had; None on Windows, which does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Execute notebooks from fresh kernels and store their outputs.")
    parser.add_argument("notebook", nargs="*", type=Path, help="which (all under notebooks/ unless named)")
    parser.add_argument("--check", action="store_true", help="write nothing; say which compared outputs would change")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS", help="limit for one cell (300)")
    options = parser.parse_args(arguments)
    paths = [path.resolve() for path in options.notebook] or all_notebooks()
    missing = [path.name for path in paths if not path.is_file()]
    if missing or not paths:
        print(
            f"no such notebook: {', '.join(missing)}" if missing else "no notebooks under notebooks/", file=sys.stderr
        )
        return 1
    status = 0
    for path in paths:
        # a process for each notebook, so that its children's largest size is this notebook's
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                report = pool.submit(execute, path, timeout=options.timeout, check=options.check).result()
            except NotebookFailed as failure:
                print(failure, file=sys.stderr)
                status = 1
                continue
        peak = f", {report.together_mb:,.0f} MB"
        print(
            f"{path.name}: {report.seconds:.1f} s{peak}, {', '.join(report.changed) or 'nothing'} changed", flush=True
        )
        if options.check and report.changed:
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
