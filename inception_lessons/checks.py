"""Checks of what a learner wrote: run in a process of its own, compared with what is right, answered in sentences.

A check is a function whose name says the exercise. It gets an `Answer`, and asks it with small *probes*::

    def check_2_1(answer):
        def forward(MyNorm, x):                # runs beside the learner's code, in a process of its own
            return MyNorm(6)(x)

        x = checks.varied(4, 6, 5, 3)
        checks.same("the output", answer(forward, x), torch.nn.BatchNorm2d(6)(x), "that of torch.nn.BatchNorm2d")

    checks.run(check_2_1, "MyNorm")

`run` takes the learner's definitions (functions, classes, imports, simple constants) as text, hands them and the check
to a clean process, and prints or raises what comes back. So nothing that a notebook's cells have done to torch, or to
this module, reaches the comparison, and no answer can hold up a kernel. Check and probes see `torch`, `nn`, `F`, `math`
and `checks`, and import what else they need; a probe sees its arguments alone.

The checks of the exercises inside lessons lie in the module `exercises`. They are called after what the learner writes.
"""

import ast
import errno
import hashlib
import inspect
import linecache
import math
import re
import sys
import textwrap
import traceback
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from inception_lessons import sandbox

SECONDS, MEGABYTES = 5, 1000  # what an answer may take, for each probe: processor time, memory beyond torch's own
TOLERANCE = 1e-5  # of float32, relative to the largest right value
_judging = None  # in the process that judges: makes the Answer that a check is given


class Wrong(Exception):
    """An answer is not right; the text says in what, to the learner."""


class CheckFailed(Exception):
    """A check did not pass. The text is the sentence for the learner."""

    def _render_traceback_(self):
        """In a notebook the sentence alone: the lines of a check say nothing to a learner."""
        return [textwrap.fill(f"CheckFailed: {self}", 110)]


class Answer:
    """What the learner defined under the names that `run` was given: ``answer(probe, *args)`` -> the probe's result.

    The probe's text runs after the learner's definitions, in a guarded process; it gets the learner's objects first,
    then the arguments (numbers, text, tensors, and lists and dicts of them), and returns such values. Raises Wrong with
    a sentence where the answer is missing, raises, takes too long or too much memory, or ends the process.
    """

    def __init__(self, ask: Callable, cells: list, names: list, exercise: str | None, limits: dict):
        self._ask, self._cells, self._names, self._exercise, self._limits = ask, cells, names, exercise, limits

    def __call__(self, probe: Callable, *args):
        """Run the probe with the learner's objects; its result."""
        if probe.__closure__:
            raise TypeError(
                f"the probe {probe.__name__} uses {probe.__code__.co_freevars}: hand them over as arguments"
            )
        work = {"cells": self._cells, "names": self._names, "args": list(args)}
        work |= {"probe": textwrap.dedent(inspect.getsource(probe)), "function": probe.__name__}
        order = {"entry": "inception_lessons.checks:_probe", "work": work, "guarded": True, **self._limits}
        found = self._ask(order)
        name = " and ".join(self._names)
        said = " ".join(found["printed"].split())
        said = f" It printed: {said if len(said) < 300 else said[:300] + ' ...'}" if said else ""
        if found.get("memory"):
            raise Wrong(f"{name} asked for more than {self._limits['megabytes']:,} MB of memory, and was stopped.")
        if found.get("time"):
            raise Wrong(
                f"{name} was stopped after {self._limits['seconds']:g} s: does a loop never end, or wait for something?"
            )
        if found.get("output"):
            raise Wrong(f"{name} printed more than {sandbox.LARGEST // sandbox.MEGABYTE} MB, and was stopped.")
        if "died" in found:
            raise Wrong(f"{name} ended its process (exit status {found['died']}) instead of returning.{said}")
        if "error" in found:
            last = found["error"].strip().splitlines()[-1]
            raise Wrong(f"{name} returned something that cannot be compared: {last}.{said}")
        found = found.get("value")
        if not isinstance(found, dict):  # it wrote the reply itself
            raise Wrong(f"{name} ended its process instead of returning.{said}")
        if "missing" in found:
            raise Wrong(found["missing"])
        if "raised" in found:
            if found["raised"].startswith("NotImplementedError") and f"exercise {self._exercise}" in found["raised"]:
                raise Wrong(f"Exercise {self._exercise} is not written yet.")
            stub = re.match(r"NotImplementedError: ([\w .]{1,40}) \(line ", found["raised"])
            if stub and self._exercise is None:
                raise Wrong(f"{stub[1]} is not written yet.")
            raise Wrong(f"{name} raised {found['raised']}{said}")
        return found.get("value")


def varied(*shape: int, seed: int = 0, mean: float = 0.4, scale: float = 1.3) -> torch.Tensor:
    """Sizes -> float32 numbers that differ everywhere, are not symmetric around zero, and are the same everywhere."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator) * scale + mean


def fill(module: nn.Module) -> nn.Module:
    """Give each parameter values that depend on its shape alone, so that two modules with equal layers agree.

    Whatever the layers are called and in whatever order they were made: a check that uses this chooses sizes at which
    no two weights have the same shape. One-dimensional parameters of equal length do get equal values.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            seed = int(hashlib.sha256(str(tuple(parameter.shape)).encode()).hexdigest()[:8], 16)
            fan_in = max(1, parameter[0].numel()) if parameter.dim() > 1 else 4
            parameter.copy_(varied(*parameter.shape, seed=seed, mean=0.1 / fan_in, scale=fan_in**-0.5))
    return module


def that(condition: bool, sentence: str) -> None:
    """Raise Wrong with the sentence unless the condition holds."""
    _count()
    if not condition:
        raise Wrong(sentence)


def same(
    what: str, got: object, wanted: object, source: str = "", *,
    unless: dict[str, object] | None = None, tolerance: float = TOLERANCE,
) -> None:  # fmt: skip
    """Raise Wrong unless `got` is `wanted`: numbers and tensors within the tolerance, everything else exactly.

    `what` begins the sentence ("the output"), `source` says where the right value is from ("torch's batch norm").
    `unless` names mistakes: sentence -> the value that this mistake gives. The first that `got` equals is the answer.
    """
    _count()
    if _agree(got, wanted, tolerance):
        return
    for sentence, value in (unless or {}).items():
        if _agree(got, value, tolerance):
            raise Wrong(sentence)
    raise Wrong(_difference(what, got, wanted, f" ({source})" if source else "", tolerance))


def _agree(got: object, wanted: object, tolerance: float) -> bool:
    if isinstance(wanted, torch.Tensor):
        if not isinstance(got, torch.Tensor) or got.shape != wanted.shape:
            return False
        return bool((_gap(got, wanted) <= _allowed(wanted, tolerance)).all())
    if isinstance(wanted, dict):
        return (
            isinstance(got, dict)
            and set(got) == set(wanted)
            and all(_agree(got[k], wanted[k], tolerance) for k in wanted)
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(got, list | tuple)
            and len(got) == len(wanted)
            and all(_agree(a, b, tolerance) for a, b in zip(got, wanted, strict=True))
        )
    if isinstance(wanted, bool) or wanted is None or isinstance(wanted, str):
        return type(got) is type(wanted) and got == wanted
    if isinstance(got, torch.Tensor) and got.numel() == 1:
        got = got.item()
    if isinstance(got, bool) or not isinstance(got, int | float):
        return False
    if isinstance(wanted, int):
        return got == wanted
    if math.isnan(wanted):
        return math.isnan(got)
    return math.isclose(got, wanted, rel_tol=tolerance, abs_tol=1e-12)


def _gap(got: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How far apart two tensors of one shape are at each place; infinitely where only one of them is a number."""
    got, wanted = got.double(), wanted.double()
    equal = (got == wanted) | (got.isnan() & wanted.isnan())
    return torch.where(equal, 0.0, (got - wanted).abs().nan_to_num(math.inf, posinf=math.inf))


def _allowed(wanted: torch.Tensor, tolerance: float) -> float:
    """How far apart from the right tensor another may be: relative to the largest right value."""
    finite = wanted[wanted.isfinite()].double()
    return tolerance * max(finite.abs().max().item() if finite.numel() else 1.0, 1e-12)


def _difference(what: str, got: object, wanted: object, source: str, tolerance: float) -> str:
    """Where two values differ, in a sentence."""
    if isinstance(wanted, torch.Tensor):
        if not isinstance(got, torch.Tensor):
            return f"{what} should be a tensor of shape {tuple(wanted.shape)}, not {_short(got)}."
        if got.shape != wanted.shape:
            return f"{what} has the shape {tuple(got.shape)} and should have {tuple(wanted.shape)}."
        if got.isnan().any() and not wanted.isnan().any():
            return f"{what} is not a number (nan) in {int(got.isnan().sum())} of {got.numel()} places."
        gap = _gap(got, wanted)
        place = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), tuple(gap.shape)))
        if not place:
            return f"{what} is {got.item():.6g}; right is {wanted.item():.6g}{source}."
        wrong = int((gap > _allowed(wanted, tolerance)).sum())
        return (
            f"{what} differs from the right one{source} in {wrong} of {gap.numel()} places, most at {list(place)}: "
            f"{got[place].item():.6g}, where {wanted[place].item():.6g} is right."
        )
    if isinstance(wanted, dict) and isinstance(got, dict):
        if set(got) != set(wanted):
            return f"{what} has the keys {sorted(map(str, got))} and should have {sorted(map(str, wanted))}."
        key = next(key for key in wanted if not _agree(got[key], wanted[key], tolerance))
        return _difference(f"{what}, at {key!r},", got[key], wanted[key], source, tolerance)
    return f"{what} is {_short(got)}; right is {_short(wanted)}{source}."


def _short(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}" if value.numel() > 8 else f"tensor({value.tolist()})"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) < 120 else text[:117] + "..."


def run(check: Callable, *names: str, seconds: float = SECONDS, megabytes: int = MEGABYTES) -> None:
    """Check the learner's `names`: print a line where all is right, raise CheckFailed with a sentence where not.

    The exercise is in the check's name: ``check_2_1``; a check of a lesson goes by the learner's own names. `seconds`
    (processor time) and `megabytes` limit each probe. Raises ValueError outside a notebook: there are no cells to take
    definitions from; `judge` takes their text.
    """
    limits = {"seconds": seconds, "megabytes": megabytes}
    if _judging is not None:  # in the clean process: the text of a whole test cell came here
        return _judging(check, list(names), limits)
    if _of_a_lesson(check):
        text = f"from {check.__module__} import {check.__name__}"
    else:
        text = textwrap.dedent(inspect.getsource(check))
    found = judge(_notebook(), f"{text}\nchecks.run({check.__name__}, *{names!r}, **{limits!r})")
    if not found["passed"]:
        raise CheckFailed(found["sentence"])
    from IPython.display import display

    display({"text/plain": found["sentence"]}, raw=True)


def judge(cells: list[list[str]], test: str, host: sandbox.Host | None = None) -> dict:
    """[[label, text of a cell], ...] and a test cell's text -> {"passed": bool, "sentence": str}.

    The test's text runs as it stands, in a clean process; each of its probes in another, beside the cells' definitions.
    A host does one thing at a time; who judges several at once brings one for each.
    """
    found = (host or _host).run("inception_lessons.checks:_judge", {"cells": cells, "test": test}, seconds=120)
    if "value" in found:
        return found["value"]
    why = found["error"].strip().splitlines()[-1] if "error" in found else f"it {', '.join(set(found) - {'printed'})}"
    return {"passed": False, "sentence": f"The check itself failed; tell your teacher. {why}"}


_host = sandbox.Host()


def _count() -> None:
    if _judging is not None:
        _judging.passed += 1


def exercise_of(check: str) -> str:
    """ "check_2_1" or "hidden_2_1" -> "2.1"; raises ValueError for a name without two numbers at its end."""
    found = re.fullmatch(r"(?:check|hidden|exercise)_(\d+)_(\d+)", check)
    if not found:
        raise ValueError(f"a check is named after its exercise, as in check_2_1; got {check}")
    return f"{found[1]}.{found[2]}"


def _judge(work: dict, ask: Callable) -> dict:
    """The entry of the judging process: run the test's text."""
    global _judging
    said = []

    def judging(check, names, limits):
        judging.passed = 0
        exercise = None if _of_a_lesson(check) else exercise_of(check.__name__)
        title = exercise or " and ".join(names)
        try:
            check(Answer(ask, work["cells"], names, exercise, limits))
        except Wrong as wrong:
            raise CheckFailed(str(wrong) if str(wrong).startswith(title) else f"{title}: {wrong}") from None
        count = f"{judging.passed} checks pass" if judging.passed > 1 else "the check passes"
        hidden_follow = exercise and not check.__name__.startswith("hidden")
        said.append(f"{title}: {count}.{' Hidden tests run when it is graded.' if hidden_follow else ''}")

    judging.passed = 0
    _judging = judging
    try:
        _execute("test", work["test"], _words())
    except CheckFailed as failed:
        return {"passed": False, "sentence": str(failed)}
    return {"passed": True, "sentence": "\n".join(said)}


def _of_a_lesson(check: Callable) -> bool:
    """Checks that come with the package belong to lessons: they have no number of their own and nothing hidden."""
    return check.__module__.startswith(f"{__package__}.")


def _words() -> dict:
    """What a check and its probes see."""
    return {"torch": torch, "nn": nn, "F": F, "math": math, "checks": sys.modules[__name__], "__name__": "check"}


def _execute(label: str, text: str, namespace: dict) -> None:
    """Run a text so that tracebacks and inspect find its lines."""
    linecache.cache[label] = (len(text), None, text.splitlines(keepends=True), label)
    exec(compile(text, label, "exec"), namespace)  # the learner's own code, or the teacher's test: meant to be run


def _probe(work: dict) -> dict:
    """The entry of the guarded process: the learner's definitions, then the probe."""
    namespace, problems = {"__name__": "answer"}, []
    for label, text in work["cells"]:
        try:
            _execute(label, text, namespace)
        except MemoryError:
            raise
        except BaseException as error:
            problems.append(f"{_raised(error, [label])}")
    missing = [name for name in work["names"] if name not in namespace]
    if missing:
        why = f" A cell could not be run: {problems[-1]}" if problems else ""
        return {"missing": f"There is no {' and no '.join(missing)} in your notebook.{why}"}
    words = _words() | {"__name__": "probe"}
    _execute("probe", work["probe"], words)
    try:
        torch.manual_seed(0)
        value = words[work["function"]](*(namespace[name] for name in work["names"]), *work["args"])
        sandbox.pack(value)
        return {"value": value}
    except MemoryError:
        raise
    except BaseException as error:
        if "can't allocate memory" in str(error):
            raise MemoryError from None
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            error = OSError(f"it printed or wrote more than {sandbox.LARGEST // sandbox.MEGABYTE} MB")
        return {"raised": _raised(error, [label for label, _ in work["cells"]])}


def _raised(error: BaseException, labels: list[str]) -> str:
    """ "ValueError: text (line 3 of cell 5: return x / 0)", by the last line that is the learner's own."""
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in labels]
    if isinstance(error, NameError) and frames:
        text += ". A check sees functions, classes, imports and plain constants: put what you need inside the function"
    return (
        f"{text[:400]} (line {frames[-1].lineno} of {frames[-1].filename}: {frames[-1].line})."
        if frames
        else f"{text[:400]}."
    )


# ------------------------------------------------------------------------------------------- what the learner defined


def definitions(source: str) -> str:
    """A cell's text -> its lines with all but definitions blanked: what can be run again without running everything.

    Functions, classes, imports, and names given a value that calls nothing. Line numbers stay. A line of IPython's own
    (% or !) is dropped. Raises SyntaxError as Python does.
    """
    text = "\n".join("" if line.lstrip().startswith(("%", "!", "?")) else line for line in source.split("\n"))
    lines, kept = text.split("\n"), set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            plain = all(isinstance(part, ast.Name) for target in targets for part in _parts(target))
            calls = (ast.Call, ast.Await, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr)
            if not plain or node.value is None or any(isinstance(part, calls) for part in ast.walk(node.value)):
                continue
        elif not isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        kept |= set(range(first, node.end_lineno + 1))
    return "\n".join(line if number in kept else "" for number, line in enumerate(lines, 1)).rstrip("\n")


def _parts(target: ast.expr) -> list[ast.expr]:
    return target.elts if isinstance(target, ast.Tuple | ast.List) else [target]


def cells(sources: list[tuple[str, str]]) -> list[list[str]]:
    """[(label, text of a code cell), ...] in the order that counts -> what `judge` takes; later definitions win.

    A cell that Python cannot read keeps its place as one that raises its SyntaxError, so that the check can say so.
    """
    found = []
    for label, source in sources:
        try:
            text = definitions(source)
        except (SyntaxError, ValueError) as error:  # ValueError: null bytes
            text = source if isinstance(error, SyntaxError) else "raise SyntaxError('null bytes')"
        if text.strip():
            found.append([label, text])
    return found


def _notebook() -> list[list[str]]:
    """The cells that this notebook has run so far, in the order in which they ran."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or "In" not in shell.user_ns:
        raise ValueError("checks.run was called outside a notebook, and found no cells; checks.judge takes their text")
    return cells([(f"cell {number}", text) for number, text in enumerate(shell.user_ns["In"]) if text.strip()])
