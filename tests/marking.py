"""What the tests of the assignments share: masters read as exercises, answers judged, reference solutions mutated."""

import ast
import copy
import dataclasses
import importlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

from inception_lessons import assignments, checks, sandbox

NAMES = assignments.names()


@dataclasses.dataclass
class Exercise:
    """One exercise of a master: texts of its three cells, points of the two tests, and the cells that come before."""

    number: str
    solution: str
    check: str
    hidden: str
    points: dict[str, float]
    head: list[str]

    @property
    def stub(self) -> str:
        """What the learner finds: no solution."""
        line = assignments.stub(f"exercise_{self.number.replace('.', '_')}")
        return assignments._SOLUTION.sub(lambda found: found["indent"] + line, self.solution)


@dataclasses.dataclass
class Wrong:
    """A plausible wrong answer: the reference solution with edits, or a text of its own.

    `says` is what the learner's sentence must contain; `keeps` the points that it still gets: 0, those of the visible
    check (passed) or those of the hidden test.
    """

    name: str
    edits: list[tuple[str, str]] | str
    says: str
    keeps: float = 0

    def text(self, exercise: Exercise) -> str:
        """The answer's text. Each edit must fit in one place only: else it is not the mistake that it says."""
        if isinstance(self.edits, str):
            return self.edits
        text = exercise.solution
        for old, new in self.edits:
            assert text.count(old) == 1, f"{exercise.number} {self.name}: {old!r} is there {text.count(old)} times"
            text = text.replace(old, new)
        return text


def exercises(name: str) -> dict[str, Exercise]:
    """An assignment's name -> its exercises by number, from the master."""
    notebook = nbformat.read(assignments.masters() / name / f"{name}.ipynb", 4)
    cells = {cell.metadata["nbgrader"]["grade_id"]: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
    head = [cell.source for cell in notebook.cells if cell.cell_type == "code" and "nbgrader" not in cell.metadata]
    found = {}
    for grade_id in cells:
        if grade_id.startswith("exercise_"):
            number = checks.exercise_of(grade_id)
            parts = {kind: cells[f"{kind}_{number.replace('.', '_')}"] for kind in ("check", "hidden")}
            points = {kind: cell.metadata["nbgrader"]["points"] for kind, cell in parts.items()}
            texts = {kind: cell.source for kind, cell in parts.items()}
            found[number] = Exercise(number, cells[grade_id].source, **texts, points=points, head=head)
    return found


def answers(name: str):
    """The module with an assignment's right and wrong answers: RIGHT, WRONG, EQUIVALENT."""
    return importlib.import_module(f"answers.a{name}")


def judged(exercise: Exercise, text: str) -> tuple[float, list[str]]:
    """An answer's text -> its points and the sentences of check and hidden test, as autograding would give them."""
    cells = checks.cells([*((f"cell {n}", head) for n, head in enumerate(exercise.head)), ("your answer", text)])
    found = {kind: checks.judge(cells, getattr(exercise, kind), _host()) for kind in ("check", "hidden")}
    points = sum(exercise.points[kind] for kind in found if found[kind]["passed"])
    return points, [found[kind]["sentence"] for kind in found]


def fails(exercise: Exercise, text: str) -> str | None:
    """The sentence of the first of check and hidden test that an answer fails, or nothing."""
    cells = checks.cells([*((f"cell {n}", head) for n, head in enumerate(exercise.head)), ("your answer", text)])
    for kind in ("check", "hidden"):
        found = checks.judge(cells, getattr(exercise, kind), _host())
        if not found["passed"]:
            return found["sentence"]
    return None


def two_at_a_time(function, *columns) -> list:
    """Like map, on two processors."""
    return list(_pool.map(function, *columns))


def _host() -> sandbox.Host:
    """This thread's own."""
    if not hasattr(_mine, "host"):
        _mine.host = sandbox.Host()
    return _mine.host


_mine, _pool = threading.local(), ThreadPoolExecutor(2)  # two hosts for the whole session

# ----------------------------------------------------------------------------------------------------------- mutants

BINARY = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
NAMED = {
    "mean": "sum", "sum": "mean", "var": "std", "min": "max", "max": "min", "zeros": "ones", "ones": "zeros",
    "zeros_like": "ones_like", "ones_like": "zeros_like", "argmax": "argmin", "argmin": "argmax",
    "any": "all", "all": "any",
    "sqrt": "square", "rsqrt": "sqrt", "square": "abs", "exp": "log", "log": "exp", "floor": "ceil", "ceil": "floor",
    "MaxPool2d": "AvgPool2d", "AvgPool2d": "MaxPool2d", "max_pool2d": "avg_pool2d", "avg_pool2d": "max_pool2d",
    "relu": "sigmoid", "ReLU": "Sigmoid", "softmax": "log_softmax", "log_softmax": "softmax", "append": "count",
    "in_channels": "out_channels", "out_channels": "in_channels",
}  # fmt: skip


def mutants(text: str) -> Iterator[tuple[str, str]]:
    """A solution's text -> (what was changed, the changed text), one small change each.

    Operators, comparisons, numbers, axes, keyword arguments, names of reductions, negations, conditions, the order of
    two arguments, and statements that are left out. Texts of errors and docstrings stay.
    """
    tree = ast.parse(text)
    nodes = [node for node in ast.walk(tree) if not isinstance(node, ast.Module)]
    quiet = {id(part) for node in nodes if isinstance(node, ast.Raise | ast.JoinedStr) for part in ast.walk(node)}
    quiet -= {id(node) for node in nodes if isinstance(node, ast.Raise)}
    seen = {ast.unparse(tree)}
    for place, node in enumerate(nodes):
        if id(node) in quiet:
            continue
        for change, what in _changes(node):
            other = copy.deepcopy(tree)
            twin = [n for n in ast.walk(other) if not isinstance(n, ast.Module)][place]
            if change(twin, other) is False:
                continue
            try:
                mutated = ast.unparse(ast.fix_missing_locations(other))
                ast.parse(mutated)
            except (SyntaxError, ValueError):
                continue
            if mutated not in seen:
                seen.add(mutated)
                yield f"line {node.lineno}: {what}: {_line(text, node)}", mutated


def _line(text: str, node: ast.AST) -> str:
    return re.sub(r"\s+", " ", ast.get_source_segment(text, node) or "").strip()[:90]


def _changes(node: ast.AST) -> Iterator:
    """The changes that a node allows: (function of the node and its tree, what it does)."""
    match node:
        case ast.BinOp() | ast.AugAssign() if type(node.op) in BINARY:
            yield lambda n, _: setattr(n, "op", BINARY[type(n.op)]()), f"{type(node.op).__name__} changed"
            if isinstance(node, ast.BinOp):
                yield lambda n, t: _replace(t, n, n.left), "right side dropped"
        case ast.Compare() if type(node.ops[0]) in COMPARED:
            yield lambda n, _: n.ops.__setitem__(0, COMPARED[type(n.ops[0])]()), "comparison changed"
        case ast.BoolOp():
            yield lambda n, _: setattr(n, "op", ast.Or() if isinstance(n.op, ast.And) else ast.And()), "and/or changed"
        case ast.UnaryOp():
            yield lambda n, t: _replace(t, n, n.operand), "sign or not dropped"
        case ast.IfExp() | ast.If():
            yield lambda n, _: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test)), "condition turned round"
        case ast.Constant() if isinstance(node.value, bool):
            yield lambda n, _: setattr(n, "value", not n.value), "truth turned round"
        case ast.Constant() if isinstance(node.value, int):
            yield lambda n, _: setattr(n, "value", n.value + 1), "one more"
        case ast.Constant() if isinstance(node.value, float):
            yield lambda n, _: setattr(n, "value", n.value * 2 + 0.5), "another number"
        case ast.Tuple() if len(node.elts) > 1 and all(isinstance(e, ast.Constant) for e in node.elts):
            yield lambda n, _: n.elts.pop(), "last axis dropped"
            yield lambda n, _: n.elts.pop(0), "first axis dropped"
        case ast.Call():
            for index, keyword in enumerate(node.keywords):
                yield lambda n, _, i=index: n.keywords.pop(i), f"{keyword.arg}= dropped"
            if len(node.args) > 1 and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
                yield lambda n, _: n.args.__setitem__(slice(0, 2), n.args[1::-1]), "two arguments swapped"
        case ast.Attribute() if node.attr in NAMED:
            yield lambda n, _: setattr(n, "attr", NAMED[n.attr]), f"{NAMED[node.attr]} for {node.attr}"
        case ast.Name() if node.id in NAMED and isinstance(node.ctx, ast.Load):
            yield lambda n, _: setattr(n, "id", NAMED[n.id]), f"{NAMED[node.id]} for {node.id}"
        case ast.Assign() | ast.AugAssign() | ast.Expr() | ast.Raise() | ast.Return() | ast.For():
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                yield lambda n, t: _replace(t, n, ast.Pass()), "left out"
    if isinstance(node, ast.AugAssign):
        yield lambda n, t: _replace(t, n, ast.Pass()), "left out"


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> bool:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
                return True
            if isinstance(value, list) and any(item is old for item in value):
                value[[item is old for item in value].index(True)] = new
                return True
    return False


def root() -> Path:
    """The repository."""
    return Path(__file__).resolve().parent.parent
