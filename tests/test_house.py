"""The house rules that a machine can hold: who imports whom, nothing at import, docstrings, no pickle, no prints."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "inception_lessons"
FILES = {  # by module: a folder's own file has the folder's name
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
MODULES = sorted(FILES)

_networks = {"baselines", "googlenet", "bn_inception", "inception_v3", "inception_v4", "inception_resnet"}
_stages = {"data", "train", "measure", "look"}
# What each module may import from the package, at its top or inside a function. A module that is not here needs a row.
MAY_IMPORT = {
    "__init__": set(),
    "layers": set(),
    "batch_norm": set(),
    "baselines": {"layers"},
    "googlenet": {"layers"},
    "bn_inception": {"layers"},
    "inception_v3": {"layers"},
    "inception_v4": {"layers", "inception_v3"},  # the reductions and the auxiliary classifier are V3's
    "inception_resnet": {"layers", "inception_v3", "inception_v4"},
    "locks": set(),
    "fetch": {"locks"},
    "data": {"fetch"},
    "train": set(),
    "measure": set(),
    "look": set(),
    "weights": {"fetch"} | _networks,
    "plots": {name for name in MODULES if name.startswith("plots.")},
    "plots.base": set(),  # the family; a kind of chart takes it, and no other kind
    "plots.words": set(),
    "plots.curves": {"plots.base"},
    "plots.images": {"plots.base"},
    "plots.grids": {"plots.base"},
    "plots.modules": {"plots.base"},
    "plots.speed": {"plots.base"},
    "plots.racers": set(),
    "plots.scales": {"plots.racers"},
    "plots.racing": {"plots.base", "plots.racers", "plots.scales"},
    "plots.compare": {"plots.base", "plots.racers", "plots.scales"},
    "export": {"weights"},
    "widgets": {name for name in MODULES if name.startswith("widgets.")},
    "widgets.controls": {"plots"},
    "widgets.lesson": {"widgets.controls", "look", "measure", "plots", "layers", "batch_norm"},  # each lesson's widgets
    "experiments": {name for name in MODULES if name.startswith("experiments.")},
    "experiments.engine": {"data", "train", "weights"},
    # each lesson's claims; A3 loads the shipped checkpoint and lets networks leave Python
    "experiments.lesson": {"experiments.engine", "layers", "batch_norm", "weights", "export"} | _networks | _stages,
    "experiments.counted": {"experiments.engine", "experiments.lesson_03", "layers", "batch_norm", "look", "measure"}
    | _networks,
    "experiments.road": {"experiments.engine", "measure", "train"} | _networks,
    "experiments.ledger": {"experiments.engine", "experiments.counted"},
    "sandbox": set(),
    "checks": {"sandbox"},
    # what learners rebuild in lessons; a probe, which runs in another process, imports its own module
    "exercises": {"checks", "exercises", "experiments", "layers", "measure"} | _networks,
    "assignments": {"checks"},
    "processes": set(),
    "script": {"data", "locks", "processes", "train", "weights"},
}
# Slow to load, or a choice that belongs to the learner's session: wanted inside functions only.
LATE = (
    "matplotlib", "matplotlib.pyplot", "torchvision", "timm", "pandas", "mlxtend", "skimage", "scipy", "PIL",
    "IPython.display", "ipywidgets", "nbformat", "nbgrader", "psutil", "torchinfo", "onnx", "onnxruntime", "onnxscript",
    "filelock",
)  # fmt: skip
PRINTS = {  # where a print is meant: module, function (None: anywhere in it)
    ("__main__", None),
    ("assignments", "main"),
    ("experiments.engine", "main"),
    ("experiments.engine", "_trained"),
    ("fetch", "download"),
    ("fetch", "_download"),
    ("script", "main"),
    ("script", "Log"),
    ("script", "_run"),
}
RUNS_WHAT_IT_LOADS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
RUNS_ANSWERS = {("checks", "_execute")}  # in a process of its own, made for that
SYSTEM_FILES = {"/proc/cpuinfo", "/proc/self/statm"}  # the same on every machine that has it


def parsed(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def imported(tree: ast.AST, package: str = "inception_lessons") -> set[str]:
    """Names of the package's own modules that a tree imports, however it writes it; ``package`` is what it lies in."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {_module(name) for name in names if name.startswith("inception_lessons.")}
    return found


def _module(name: str) -> str:
    """inception_lessons.experiments.engine.run -> experiments.engine: the longest part that is a module."""
    parts = name.split(".")[1:]
    whole = (".".join(parts[:count]) for count in range(len(parts), 1, -1))
    return next((part for part in whole if part in FILES), parts[0])


def functions_around(tree: ast.Module, wanted) -> list[tuple[str | None, int]]:
    """(outermost function, line) of every node that ``wanted`` accepts."""
    found = []
    for top in tree.body:
        name = top.name if isinstance(top, ast.FunctionDef | ast.ClassDef) else None
        found += [(name, node.lineno) for node in ast.walk(top) if wanted(node)]
    return found


@pytest.mark.parametrize("module", MODULES)
def test_arrows(module):
    if module == "__main__":
        return
    row = re.sub(r"^((?:experiments|widgets)\.lesson)_\d\d$", r"\1", module)
    assert row in MAY_IMPORT, f"{module} is new: say in this test what it may import"
    package = ".".join(FILES[module].relative_to(PACKAGE.parent).parts[:-1])
    extra = imported(parsed(module), package) - MAY_IMPORT[row]
    assert not extra, f"{module} may not import {', '.join(sorted(extra))}"


def test_arrows_are_seen_however_they_are_written():
    text = """
import inception_lessons.data
from inception_lessons import train as t
from inception_lessons.look import activations
from . import plots
from .layers import conv
def late():
    from inception_lessons import widgets
import torch.nn
"""
    assert imported(ast.parse(text)) == {"data", "train", "look", "plots", "layers", "widgets"}
    text = """
from inception_lessons.experiments.engine import run
from inception_lessons.experiments import lesson_01, results
import inception_lessons.experiments.lesson_02
from . import engine as e
from .. import plots
from ..layers import conv
"""
    wanted = {
        "experiments",
        *(f"experiments.{name}" for name in ("engine", "lesson_01", "lesson_02")),
        "plots",
        "layers",
    }
    assert imported(ast.parse(text), "inception_lessons.experiments") == wanted


def test_import_does_no_work(tmp_path):
    """In a fresh process that watches files, network and processes while each module is imported."""
    program = """
import importlib, json, random, sys
import numpy, torch
modules, late = json.loads(sys.argv[1])
deeds = []
def watch(event, args):
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        deeds.append(f"opens {args[0]} for writing")
    elif event.split(".")[0] in ("socket", "subprocess", "urllib", "shutil", "tempfile"):
        deeds.append(event)
    elif event in ("os.mkdir", "os.remove", "os.rename", "os.system", "os.exec", "os.fork", "os.posix_spawn"):
        deeds.append(event)
sys.addaudithook(watch)
def state():
    return {
        "random": hash(random.getstate()), "numpy": hash(numpy.random.get_state()[1].tobytes()),
        "torch": hash(torch.get_rng_state().numpy().tobytes()), "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()), "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
found, before, loaded = {}, state(), set(sys.modules)
for module in modules:
    importlib.import_module(f"inception_lessons.{module}")
    new = [name for name in late if name in sys.modules and name not in loaded]
    after = state()
    changed = [f"changes {key}" for key in after if after[key] != before[key]]
    found[module] = [*deeds, *(f"loads {name}" for name in new), *changed]
    loaded, before = set(sys.modules), after
    deeds.clear()
print(json.dumps(found))
"""
    modules = [name for name in MODULES if name != "__init__"]
    assert "experiments.engine" in modules
    found = subprocess.run(
        [sys.executable, "-B", "-c", program, json.dumps([modules, LATE])],
        cwd=tmp_path, env=_environment(tmp_path), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    seen = json.loads(found.stdout)  # a print at import would break this line, too
    assert set(seen) == set(modules)
    assert {module: deeds for module, deeds in seen.items() if deeds} == {}
    assert not list(tmp_path.iterdir())


def _environment(home: Path) -> dict[str, str]:
    return os.environ | {"HOME": str(home), "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("module", MODULES)
def test_docstrings(module):
    found = undocumented(parsed(module))
    assert not found, f"{module}.py: {'; '.join(found)}"


def undocumented(tree: ast.Module) -> list[str]:
    """What a module's docstrings leave open, a sentence each.

    The module and every public class, function and method says what it does, in a first sentence that ends; a network's
    part says shapes; who raises a ValueError says so; a public function's arguments have a type,
    a default that shows it, or a word in the docstring.
    """
    found = [] if _first_sentence(tree) else ["the module has no docstring, or its first sentence does not end"]

    def check(node, name, around=None):
        if isinstance(node, ast.ClassDef):
            public = [m for m in node.body if isinstance(m, ast.FunctionDef)]
            first = (ast.get_docstring(node) or "").split("\n\n")[0]
            if any(ast.unparse(base).split(".")[-1] in PARTS for base in node.bases) and "->" not in first:
                found.append(f"{name} is a part of a network: its first lines say what shape comes in -> what goes out")
            for method in public:
                if not method.name.startswith("_") or method.name in ("__init__", "__post_init__", "__call__"):
                    check(method, f"{name}.{method.name}", node)
        says = ast.get_docstring(node) or ""
        inherits = around is not None and (node.name == "forward" or node.name.startswith("__"))  # the class's contract
        if not inherits and not _first_sentence(node):
            found.append(f"{name} has no docstring, or its first sentence does not end")
        if isinstance(node, ast.FunctionDef):
            says += (ast.get_docstring(around) or "") if around is not None else ""
            if _raises(node) and "ValueError" not in says and name != "main":  # its docstring is what --help prints
                found.append(f"{name} raises a ValueError, and its docstring does not say when")
            dark = [a for a in _untyped(node) if around is None and not re.search(rf"\b{a}\b", says, re.IGNORECASE)]
            if dark:
                found.append(f"{name} leaves open what {', '.join(dark)} is: no type, no default, not in its docstring")

    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if any(isinstance(d, ast.Call) and getattr(d.func, "id", "") == "experiment" for d in node.decorator_list):
                continue  # an Experiment from here on: its claim and threshold say what it is
            check(node, node.name)
    return found


#: Whose subclasses are layers, modules and networks.
PARTS = {"Module", "Sequential", "ModuleDict", "Network"}


def _raises(node: ast.FunctionDef) -> bool:
    """Whether the function's own lines raise a ValueError."""
    return any(isinstance(n, ast.Raise) and n.exc is not None and ast.unparse(n.exc).startswith("ValueError")
               for n in ast.walk(node))  # fmt: skip


def _untyped(node: ast.FunctionDef) -> list[str]:
    """Arguments that have neither a type nor a default that shows it."""
    given = node.args.posonlyargs + node.args.args
    defaults = [None] * (len(given) - len(node.args.defaults)) + node.args.defaults
    pairs = [*zip(given, defaults, strict=True), *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
    return [a.arg for a, d in pairs if a.annotation is None and (d is None or ast.unparse(d) == "None")]


def _first_sentence(node) -> bool:
    first = (ast.get_docstring(node) or "").split("\n\n")[0].rstrip()
    return len(first.strip(" .")) >= 8 and first.endswith((".", ":", ")", "!", "?"))


GOOD = '''"""A module that says what it is."""

from torch import nn


class Half(nn.Module):
    """(N, c, H, W) -> (N, c, H / 2, W / 2): every second value. Raises ValueError for an odd grid."""

    def __init__(self, c):
        super().__init__()

    def forward(self, x):
        if x.shape[2] % 2:
            raise ValueError(f"an even grid is wanted, not {x.shape}")
        return x[..., ::2, ::2]

    def back(self, x):
        """(N, c, H / 2, W / 2) -> (N, c, H, W), with zeros."""
        return x


def third(values: list[float], *, start: int = 0, watch=None) -> float:
    """Values -> the third. ``watch`` is called with it.

    Raises ValueError for fewer than three.
    """
    if len(values) < 3:
        raise ValueError("three are wanted")
    return values[2]


def _own(anything):
    raise ValueError
'''
BAD = {
    "no word on the module": ('"""A module that says what it is."""', "", "the module has no docstring"),
    "the module's sentence has no end": ("says what it is.", "says what", "the module has no docstring"),
    "no word on a class": (GOOD.split("\n")[6], "    size = 1", "Half has no docstring"),
    "no shapes": ("(N, c, H, W) -> (N, c, H / 2, W / 2): every", "Every", "Half is a part of a network"),
    "no word on a method": ('"""(N, c, H / 2, W / 2) -> (N, c, H, W), with zeros."""', "pass", "Half.back has no"),
    "the class does not say that it raises": (" Raises ValueError for an odd grid.", "", "Half.forward raises"),
    "a function does not say that it raises": ("Raises ValueError for fewer", "Not for fewer", "third raises"),
    "a function raises something else": ("Raises ValueError for fewer", "Raises KeyError for fewer", "third raises"),
    "no word on a function": (GOOD[GOOD.index('    """Values'):GOOD.index("    if len")], "", "third has no docstring"),
    "too short": ("Values -> the third. ``watch`` is called with it.", "Third.", "third has no docstring"),
    "no type": ("values: list[float]", "numbers", "third leaves open what numbers is"),
    "no type and no default": ("start: int = 0", "start=None", "third leaves open what start is"),
    "not in the docstring": ("``watch`` is called with it.", "More.", "third leaves open what watch is"),
}  # fmt: skip


def test_a_module_that_says_all_is_let_through():
    assert undocumented(ast.parse(GOOD)) == []
    assert undocumented(ast.parse(GOOD.replace("start: int = 0", "start=0"))) == []  # a number shows its type


@pytest.mark.parametrize("name", BAD)
def test_planted_faults_in_docstrings_are_found(name):
    old, new, said = BAD[name]
    assert old in GOOD
    found = undocumented(ast.parse(GOOD.replace(old, new, 1)))
    assert any(sentence.startswith(said) for sentence in found), found


@pytest.mark.parametrize("module", MODULES)
def test_nothing_that_can_run_is_loaded(module):
    unsafe = []
    for node in ast.walk(parsed(module)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        unsafe += [f"{n} (line {node.lineno})" for n in names if n.split(".")[0] in RUNS_WHAT_IT_LOADS]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, call = getattr(node.func.value, "id", ""), node.func.attr
            given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            if (owner, call) == ("torch", "load") and given.get("weights_only") is not True:
                unsafe.append(f"torch.load without weights_only=True (line {node.lineno})")
            if owner in ("np", "numpy") and call == "load" and given.get("allow_pickle"):
                unsafe.append(f"np.load with allow_pickle (line {node.lineno})")

    def runs_text(node):
        return isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("eval", "exec")

    found = functions_around(parsed(module), runs_text)
    unsafe += [f"eval or exec in {name} (line {line})" for name, line in found if (module, name) not in RUNS_ANSWERS]
    assert not unsafe, f"{module}: {', '.join(unsafe)}"


@pytest.mark.parametrize("module", MODULES)
def test_no_paths_of_one_machine(module):
    def absolute(node):
        text = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
        if not isinstance(text, str) or text in SYSTEM_FILES:
            return False
        return text.startswith(("/", "~/", "file:")) and text.strip("/~") != "" or text[1:3] in (":\\", ":/")

    found = functions_around(parsed(module), absolute)
    assert not found, f"{module}: absolute paths in (function, line) {found}"


@pytest.mark.parametrize("module", MODULES)
def test_no_prints(module):
    def is_print(node):
        return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"

    places = functions_around(parsed(module), is_print)
    wrong = [(name, line) for name, line in places if not {(module, name), (module, None)} & PRINTS]
    assert not wrong, f"{module} prints in (function, line) {wrong}: return it instead"
