"""`pytest --nbval` fails what it should fail: each plant runs through the real plug-in and the real configuration."""

import os
import re
import subprocess
import sys
import types
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import nbval.kernel
import nbval.plugin
import nbval_shims
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parent.parent
LIMIT = 2


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def result(text):
    return new_output("execute_result", data={"text/plain": text}, execution_count=1)


def error(ename, evalue):
    return new_output("error", ename=ename, evalue=evalue, traceback=[])


# name -> (source, stored outputs, tags, what the report must say; "" = must pass)
PLANTS = {
    "good": ("x = 6 * 7\nprint('x is', x)\nx", [stream("x is 42\n"), result("42")], [], ""),
    "semicolon": ("x;", [], [], ""),
    "semicolon_on_a_call": ("str(x);  # silenced", [], [], ""),
    "address": ("object()", [result("<object at 0x7f0000000010>")], [], ""),
    "picture": (
        "from IPython.display import Image\nImage(data=b'\\x89PNG\\r\\n\\x1a\\nxx')",
        [
            new_output(
                "execute_result",
                data={"image/png": "other", "text/plain": "<IPython.core.display.Image object>"},
                execution_count=1,
            )
        ],
        [],
        "",
    ),
    "warning_from_a_cell": (
        "import warnings\nwarnings.warn('careful')",
        [stream("/tmp/ipykernel_1/2.py:2: UserWarning: careful\n  warnings.warn('careful')\n", "stderr")],
        [],
        "",
    ),
    "promised_error": ("1 / 0", [error("ZeroDivisionError", "division by zero")], ["raises-exception"], ""),
    "private_start_up": (
        "import os\nprint(os.path.basename(os.environ['IPYTHONDIR'])[:5])",
        [stream("nbval\n")],
        [],
        "",
    ),
    "wrong_number": ("print('x is', x)", [stream("x is 43\n")], [], "43"),
    "wrong_hexadecimal": ("print(hex(255))", [stream("0xfe\n")], [], "0xfe"),
    "wrong_line_number": (
        "import warnings\nwarnings.warn('careful')",
        [stream("/tmp/ipykernel_1/2.py:9: UserWarning: careful\n  warnings.warn('careful')\n", "stderr")],
        [],
        "mismatch",
    ),
    "raises": ("raise ValueError('planted')", [], [], "planted"),
    "bad_line_magic": ("%no_such_magic\nprint('never')", [], [], "no_such_magic"),
    "bad_line_magic_stored": (
        "%no_such_magic",
        [stream("UsageError: Line magic function `%no_such_magic` not found.\n", "stderr")],
        [],
        "no_such_magic",
    ),
    "bad_cell_magic": ("%%no_such_cell\nprint('never')", [], [], "no_such_cell"),
    "bad_magic_ignored": ("%no_such_magic\n", [], ["nbval-ignore-output"], "no_such_magic"),
    "bad_magic_may_raise": ("%no_such_magic\n", [], ["nbval-ignore-output", "raises-exception"], "no_such_magic"),
    "stale_stderr": ("x = 1", [stream("an old warning\n", "stderr")], [], "Missing output"),
    "new_stderr": ("import sys\nprint('news', file=sys.stderr)", [], [], "Unexpected output"),
    "error_gone": (
        "x = 1",
        [error("ValueError", "was here")],
        ["raises-exception", "nbval-ignore-output"],
        "The stored page shows",
    ),
}
LATE = {  # each in a notebook of its own, since it costs the kernel
    "endless": ("while True:\n    pass", [], [], "Timeout of 2 seconds"),
    "endless_tagged": (
        "while True:\n    pass",
        [],
        ["raises-exception", "nbval-ignore-output"],
        "Timeout of 2 seconds",
    ),
    "stubborn": (
        "import time\nwhile True:\n    try:\n        print('still here', flush=True)\n        time.sleep(0.1)\n"
        "    except KeyboardInterrupt:\n        pass",
        [],
        [],
        "Timeout of 2 seconds",
    ),
    "dying": ("import os\nos._exit(1)", [], [], "The kernel died"),
}


def write(path, plants):
    cells = []
    for count, (source, outputs, tags, _) in enumerate(plants.values(), 1):
        cell = new_code_cell(source, execution_count=count, outputs=outputs, metadata={"tags": tags})
        cells.append(cell)
    nbformat.write(
        new_notebook(cells=cells, metadata={"kernelspec": {"name": "elsewhere", "display_name": "not here"}}), path
    )


def run(paths, *options, cwd=ROOT):
    report = paths[0].with_suffix(".xml")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "-c",
        ROOT / "pyproject.toml",
        "--rootdir",
        paths[0].parent,
        "-p",
        "no:cacheprovider",
        "--color=no",
        f"--junitxml={report}",
        *options,
        *paths,
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)
    return done, report


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """(notebook, cell) -> (what the report says or "", seconds), from one pytest run over all plants."""
    folder = tmp_path_factory.mktemp("plants")
    write(folder / "plants.ipynb", PLANTS)
    for name, plant in LATE.items():
        write(folder / f"{name}.ipynb", {"good": PLANTS["good"], name: plant, "after": PLANTS["good"]})
    done, report = run(sorted(folder.glob("*.ipynb")), f"--nbval-cell-timeout={LIMIT}", cwd=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        faults = [e for e in case if e.tag in ("failure", "error")]
        notebook, cell = Path(case.get("classname")).stem, int(case.get("name").split()[-1])
        found[notebook, cell] = (
            "".join(f.text for f in faults) or ("failed" if faults else ""),
            float(case.get("time")),
        )
    return found


@pytest.mark.parametrize("name", PLANTS)
def test_a_cell(outcome, name):
    says, wanted = outcome["plants", list(PLANTS).index(name)][0], PLANTS[name][3]
    assert (wanted in says) if wanted else not says, says


@pytest.mark.parametrize("name", LATE)
def test_a_cell_that_does_not_come_back_fails_soon(outcome, name):
    assert not outcome[name, 0][0]
    says, seconds = outcome[name, 1]
    assert LATE[name][3] in says
    assert seconds < (LIMIT if name == "dying" else LIMIT + nbval_shims.LATE_SECONDS + 4)


def test_lax_is_refused(tmp_path):
    write(tmp_path / "a.ipynb", {"good": PLANTS["good"]})
    done, _ = run([tmp_path / "a.ipynb"], "--nbval-lax")
    assert done.returncode == 4 and "compares no output" in done.stderr


def test_the_installed_nbval_takes_the_shims():
    assert nbval_shims.why_not({"kernel": nbval.kernel, "plugin": nbval.plugin}) == ""


@pytest.mark.parametrize("module, cls, method", nbval_shims.EXPECTED)
def test_a_changed_nbval_is_refused_in_a_sentence(module, cls, method):
    def copy(name, original, change):
        classes = {c: type(c, (getattr(original, c),), {}) for m, c, _ in nbval_shims.EXPECTED if m == name}
        if name == module:
            setattr(classes[cls], method, change)
        return types.SimpleNamespace(**classes)

    for change, says in ((None, "is gone"), (lambda self, other: None, "takes ['self', 'other']")):
        modules = {"kernel": copy("kernel", nbval.kernel, change), "plugin": copy("plugin", nbval.plugin, change)}
        sentence = nbval_shims.why_not(modules)
        assert f"{cls}.{method} {says}" in sentence and "0.11.0" in sentence


def test_nothing_that_a_lesson_prints_is_sanitized():
    patterns = nbval.plugin.get_sanitize_patterns(nbval_shims.SANITIZE.read_text())
    assert len(patterns) == 2
    page = (
        "loss 0.693147\n6,998,552 parameters\n0x7fffffffffff\n2.3 s, 41 ms a step\n256 x 28 x 28\nat 0x1f: 90 %\n2026"
    )
    for regex, replace in patterns:
        assert re.sub(regex, replace, page) == page
