"""Checks and the processes that they run answers in: limits that hold, sentences that fit, nothing that leaks."""

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inception_lessons import checks, sandbox

HEAD = "import torch\n"
TEST = """
SECRET_OF_THE_TEST = "a word that no answer may find: " + "xylophone"

def check_9_1(answer):
    def call(double, x):
        return double(x)

    x = checks.varied(2, 3)
    checks.same("the double", answer(call, x), 2 * x, "twice x", unless={"That is the square.": x * x})

checks.run(check_9_1, "double", seconds=60, megabytes=300)
"""
HURRIED = TEST.replace("seconds=60", "seconds=1")  # for what never ends; a busy machine may need long for all the rest


def answered(body: str, before: str = "", test: str = TEST) -> dict:
    text = "def double(x):\n" + "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))
    return checks.judge(checks.cells([("cell 1", HEAD + before), ("cell 2", text)]), test)


def test_right():
    found = answered("return x + x")
    assert found == {"passed": True, "sentence": "9.1: the check passes. Hidden tests run when it is graded."}


@pytest.mark.parametrize(
    "body, sentence",
    {
        "a named mistake": ("return x * x", "9.1: That is the square."),
        "another one": ("return x", "the double differs from the right one (twice x) in 6 of 6 places"),
        "a shape": ("return x[0]", "the double has the shape (3,) and should have (2, 3)."),
        "a type": ("return 5", "the double should be a tensor of shape (2, 3), not 5."),
        "nan": ("return x * float('nan')", "the double is not a number (nan) in 6 of 6 places"),
        "nothing": ("pass", "the double should be a tensor of shape (2, 3), not None."),
        "not written": ("raise NotImplementedError('exercise 9.1')", "9.1: Exercise 9.1 is not written yet."),
        "an error": ("y = 1\nreturn y / 0", "ZeroDivisionError: division by zero (line 3 of cell 2: return y / 0)."),
        "a name": ("return twice * x", "put what you need inside the function"),
        "an object": ("return object()", "something of type object came"),
        "the end": ("import os\nos._exit(3)", "ended its process (exit status 3)"),
        "exit": ("import sys\nsys.exit('bye')", "raised SystemExit: bye"),
        "a crash": ("import os, signal\nsignal.raise_signal(signal.SIGSEGV)", "ended its process (exit status -11)"),
        "recursion": ("return double(x)", "RecursionError"),
        "lists": ("a = []\nwhile True: a.append('x' * 10**6)", "more than 300 MB of memory"),
        "a tensor": ("return torch.zeros(10**10)", "more than 300 MB of memory"),
        "a flood": ("while True: print('x' * 10**5)", "printed or wrote more than 16 MB"),
        "a file": ("open('/tmp/mine', 'w')", "may write only in its own folder"),
        "reading": ("open('/etc/passwd').read()", "may not read"),
        "deleting": ("import shutil\nshutil.rmtree('/tmp/no such folder')", "outside its own folder"),
        "renaming": ("import os\nos.rename('/tmp/a', '/tmp/b')", "outside its own folder"),
        "a program": ("import os\nos.system('true')", "may not start programs"),
        "a process": ("import subprocess\nsubprocess.run(['true'])", "may not start programs"),
        "a fork": ("import os\nos.fork()", "may not start programs"),
        "killing": ("import os\nos.kill(os.getppid(), 9)", "may not start programs or end them"),
        "a way around": ("import ctypes\nctypes.CDLL(None)", "may not start programs"),
        "the network": ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "may not use the network"),
    }.values(),
)  # fmt: skip
def test_sentence(body, sentence):
    found = answered(body)
    assert not found["passed"] and sentence in found["sentence"], found["sentence"]
    assert answered("return x + x")["passed"]  # whatever it did, the next one is judged as ever


def test_a_loop_is_stopped():
    assert "was stopped after 1 s" in answered("while True: pass", test=HURRIED)["sentence"]
    assert answered("return x + x")["passed"]


def test_waiting_is_stopped():
    """Sleep costs no processor time: the clock on the wall ends it."""
    start = time.monotonic()
    found = answered("import time\ntime.sleep(1000)", test=HURRIED)
    assert "was stopped after 1 s" in found["sentence"] and time.monotonic() - start < 60


def test_own_folder():
    body = "open('a.txt', 'w').write('2')\nprint('hello')\nreturn int(open('a.txt').read()) * x"
    assert answered(body)["passed"]
    assert "It printed: hello" in answered("print('hello')\nreturn 1 / 0")["sentence"]


SEARCH = """
import gc, sys, threading
frames, texts = [sys._getframe(), *sys._current_frames().values()], []
for frame in frames:
    while frame:
        texts.append(repr(frame.f_locals) + repr(frame.f_globals))
        frame = frame.f_back
texts += [repr(thing) for thing in gc.get_objects() if isinstance(thing, (dict, list, tuple, bytes))]
found = any(" ".join(["no answer may", "find"]) in text for text in texts)
sees = any("".join(["def call(dou", "ble"]) in text for text in texts)
if found or not sees: raise ValueError("found" if found else "blind")
return 2 * x
"""


def test_answer_finds_no_test():
    """An answer that looks through all frames and objects of its process finds its probe, and nothing of the test."""
    assert answered(SEARCH) == {
        "passed": True,
        "sentence": "9.1: the check passes. Hidden tests run when it is graded.",
    }


@pytest.mark.parametrize(
    "before",
    {
        "torch": "torch.allclose = lambda *a, **k: True\nclass Torch:\n    torch.allclose = lambda *a, **k: True\n"
        "    torch.Tensor.__mul__ = lambda a, b: a",
        "checks": "from inception_lessons import checks\nclass Patch:\n    checks.same = lambda *a, **k: None\n"
        "    checks._agree = lambda *a: True\n    checks._judging = None",
        "builtins": "import builtins\nclass Patch:\n    builtins.all = builtins.isinstance = lambda *a: True",
        "the reply": "class Reply:\n    import os\n    open('reply', 'wb').write(b'')\n",
    }.values(),
)  # fmt: skip
def test_patches_reach_nothing(before):
    """Definitions that change torch, the checks or Python change their own process only: a wrong answer stays wrong."""
    assert not answered("return x * 3", before)["passed"]
    assert answered("return x + x")["passed"]


def test_forged_reply():
    """A process may write the reply itself, and end: it still has to be the right value."""
    body = """
from inception_lessons import sandbox
open('reply', 'wb').write(sandbox.pack({"value": {"value": 3 * x}}))
import os
os._exit(0)
"""
    assert "differs from the right one" in answered(body)["sentence"]
    for forged in (
        "b'nonsense'",
        "sandbox.pack([1])",
        "b'\\x02' + bytes(7) + b'{}' + sandbox.pack(1)[9:]",
        "sandbox.pack({})",
    ):
        found = answered(body.replace('sandbox.pack({"value": {"value": 3 * x}})', forged))
        assert not found["passed"], forged
        assert answered("return x + x")["passed"]


def test_missing_and_broken_cells():
    found = checks.judge(checks.cells([("cell 1", "def single(x): return x")]), TEST)
    assert found["sentence"] == "9.1: There is no double in your notebook."
    found = checks.judge(checks.cells([("your answer", "def double(x)\n    return 2 * x")]), TEST)
    assert "There is no double" in found["sentence"] and "SyntaxError" in found["sentence"]
    texts = ["(((", "import nothing_of_this_name", "def double(x): return x + x"]
    found = checks.judge(checks.cells([(f"cell {n}", text) for n, text in enumerate(texts)]), TEST)
    assert found["passed"]  # what else is broken costs nothing


def test_later_definitions_win():
    texts = [
        "def double(x): return x",
        "N = 2",
        "def double(x): return N * x",
        "raise ValueError",
        "def other(x): return x",
    ]
    assert checks.judge(checks.cells([(f"cell {n}", text) for n, text in enumerate(texts)]), TEST)["passed"]


def test_definitions():
    text = """import os, sys
%matplotlib inline
!rm -rf nothing
N = 3
A: float = 1e-5
a, b = 1, [2, 3]
x = train()
squares = [n * n for n in range(10 ** 9)]
torch.allclose = N
@decorated
def f(x):
    return train(x)

for i in range(9):
    print(i)
class C:
    n = 1
f(3)"""
    kept = checks.definitions(text).split("\n")
    assert kept == [
        "import os, sys", "", "", "N = 3", "A: float = 1e-5", "a, b = 1, [2, 3]", "", "", "",
        "@decorated", "def f(x):", "    return train(x)", "", "", "", "class C:", "    n = 1",
    ]  # fmt: skip
    with pytest.raises(SyntaxError):
        checks.definitions("def f(:")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


@given(values)
def test_pack(value):
    assert repr(sandbox.unpack(sandbox.pack(value))) == repr(value)  # nan, too


def test_pack_tensors():
    kinds = [torch.float32, torch.float64, torch.int64, torch.bool, torch.bfloat16]
    value = {
        "a": [torch.arange(6).reshape(2, 3).t().to(kind) for kind in kinds],
        "b": torch.tensor(2.5),
        "c": torch.empty(0, 3),
    }
    back = sandbox.unpack(sandbox.pack(value))
    for one, two in zip([*value["a"], value["b"], value["c"]], [*back["a"], back["b"], back["c"]], strict=True):
        assert one.dtype == two.dtype and one.shape == two.shape and torch.equal(one, two)
    assert torch.equal(
        sandbox.unpack(sandbox.pack(np.arange(3.0)[::-1])), torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    )
    assert sandbox.unpack(sandbox.pack(np.float32(0.5))) == 0.5
    for bad in (object(), {1, 2}, lambda: 1):
        with pytest.raises(TypeError, match=type(bad).__name__):
            sandbox.pack(bad)
    for damaged in (b"", b"123", sandbox.pack([1, torch.ones(3)])[:-2], b"\xff" * 40):
        with pytest.raises(ValueError, match="no packed value"):
            sandbox.unpack(damaged)


@pytest.mark.slow
def test_without_a_fork(monkeypatch):
    """What Windows and macOS do: a new Python for each process, watched from outside."""
    monkeypatch.setattr(checks, "_host", sandbox.Host(forks=False))
    monkeypatch.setattr(sandbox, "FORKS", False)
    assert answered("return x + x")["passed"]
    assert "That is the square." in answered("return x * x")["sentence"]
    assert "may not start programs" in answered("import os\nos.system('true')")["sentence"]
    assert "was stopped after 1 s" in answered("while True: pass", test=HURRIED)["sentence"]
    assert "of memory" in answered("a = []\nwhile True: a.append('x' * 10**6)")["sentence"]
    assert "exit status 3" in answered("import os\nos._exit(3)")["sentence"]


def test_host_is_started_again():
    host = sandbox.Host()
    work = {"cells": checks.cells([("cell", "def double(x): return 2 * x")]), "test": TEST}
    assert host.run("inception_lessons.checks:_judge", work)["value"]["passed"]
    host.process.kill()
    host.process.wait()
    assert host.run("inception_lessons.checks:_judge", work)["value"]["passed"]
    host.close()
    host.close()


def test_no_process_is_left():
    import psutil

    answered("return x + x")
    mine = {child.pid for child in psutil.Process().children(recursive=True)}
    answered("while True: pass", test=HURRIED)
    answered("import threading, time\nthreading.Thread(target=time.sleep, args=(100,)).start()\nreturn x + x")
    assert {child.pid for child in psutil.Process().children(recursive=True)} == mine


def test_comparisons():
    same = checks.same
    for got, wanted in [
        (1, 1), (True, True), ("a", "a"), (None, None), (0.1 + 0.2, 0.3), (torch.tensor(3), 3),
        (2, 2.0), (math.nan, math.nan),
        ([1, 2.0], [1, 2]), ((1,), [1]), ({"a": 1.0}, {"a": 1}), (torch.ones(2), torch.ones(2) + 1e-7),
        (torch.tensor([math.inf, 1]), torch.tensor([math.inf, 1])), (torch.tensor([1, 2]), torch.tensor([1.0, 2.0])),
    ]:  # fmt: skip
        same("it", got, wanted)
    for got, wanted, sentence in [
        (1, True, "it is 1; right is True."), (True, 1, "it is True; right is 1."),
        ("a", "b", "it is 'a'; right is 'b'."),
        (1.001, 1.0, "it is 1.001; right is 1"), (None, 1, "it is None"), ([1], [1, 2], r"it is \[1\]"),
        ({"a": 1}, {"b": 1}, r"keys \['a'\] and should have \['b'\]"),
        ({"a": 1}, {"a": 2}, "it, at 'a', is 1; right is 2"),
        (torch.ones(2), torch.ones(2) * 1.001, r"most at \[0\]: 1, where 1.001"),
        (torch.tensor(1.0), torch.tensor(2.0), "it is 1; right is 2"),
        (torch.zeros(3), torch.tensor([0, 0, 1e-7]), "differs"),
        (torch.ones(2), torch.tensor([1, math.inf]), r"most at \[1\]"),
        (torch.tensor([1.0, math.inf]), torch.tensor([2.0, math.inf]), r"in 1 of 2 places, most at \[0\]"),
    ]:  # fmt: skip
        with pytest.raises(checks.Wrong, match=sentence):
            same("it", got, wanted)
    with pytest.raises(checks.Wrong, match="^named$"):
        same("it", 3, 4, unless={"other": 5, "right by chance": 4, "named": 3})


def test_a_difference_is_one_beyond_the_tolerance():
    """What is told is counted and looked for as it was compared."""
    right = {"a": 1.0, "b": 1.0}
    with pytest.raises(checks.Wrong, match="^it, at 'b', is 2; right is 1"):
        checks.same("it", {"a": 1.0005, "b": 2.0}, right, tolerance=1e-2)
    with pytest.raises(checks.Wrong, match="^it, at 'a', is 1; right is 1"):
        checks.same("it", {"a": 1 + 1e-6, "b": 1.0}, right, tolerance=1e-8)
    wanted = checks.varied(6, 10)
    got = wanted + 1e-7
    got[2, 3] = wanted[2, 3] + 0.5
    with pytest.raises(checks.Wrong, match=r"in 1 of 60 places, most at \[2, 3\]"):
        checks.same("it", got, wanted)
    with pytest.raises(checks.Wrong, match="in 60 of 60 places"):
        checks.same("it", wanted * (wanted.abs() > 1) + wanted + 3e-5, wanted, tolerance=1e-6)
    missing = torch.tensor([math.nan, 1.0, 2.0])  # in one place both are no numbers
    with pytest.raises(checks.Wrong, match=r"in 1 of 3 places, most at \[2\]: 5, where 2 is right"):
        checks.same("it", torch.tensor([math.nan, 1.0, 5.0]), missing)


def test_check_written_badly():
    """A teacher's mistake is said to be the teacher's."""
    found = answered("return x + x", test=TEST.replace("checks.varied(2, 3)", "1 / 0"))
    assert (
        not found["passed"]
        and "The check itself failed" in found["sentence"]
        and "ZeroDivisionError" in found["sentence"]
    )
    found = answered(
        "return x + x", test=TEST.replace("return double(x)", "return double(y)").replace("x = ", "y = 1\n    x = ")
    )
    assert "hand them over as arguments" in found["sentence"]
    with pytest.raises(ValueError, match="check_2_1"):
        checks.exercise_of("check_two")
    with pytest.raises(ValueError, match="outside a notebook"):
        checks.run(test_check_written_badly, "nothing")


LESSON = """
from inception_lessons import exercises
checks.run(exercises.calibration_error, "my_error")
"""


@pytest.mark.parametrize(
    "body, sentence",
    {
        "not written": ("raise NotImplementedError('exercise 6')", "my_error: exercise 6 is not written yet."),
        "a part": ("return half(logits)", "my_error: half is not written yet."),
        "torch's own": ("return nn.Module()(logits)", "my_error raised NotImplementedError: Module [Module] is"),
        "no words": ("raise NotImplementedError", "my_error raised NotImplementedError (line"),
        "wrong": ("return 0.5", "my_error: The error in 4 bins is 0.5; right is"),
    }.values(),
)  # fmt: skip
def test_check_of_a_lesson(body, sentence):
    """It comes from the package, goes by the learner's own name, and speaks of no hidden tests."""
    before = "from torch import nn\ndef half(x): raise NotImplementedError('half')\n"
    answer = f"def my_error(logits, labels, bins=15):\n    {body}"
    found = checks.judge(checks.cells([("cell 1", before), ("cell 2", answer)]), LESSON)
    assert not found["passed"] and found["sentence"].startswith(sentence), found
    right = "from inception_lessons import measure\ndef my_error(*args): return measure.calibration(*args).ece"
    found = checks.judge(checks.cells([("cell 1", right)]), LESSON)
    assert found == {"passed": True, "sentence": "my_error: 2 checks pass."}


@pytest.mark.parametrize("check", [checks.varied, test_comparisons])
def test_run_hands_over_a_check_of_the_package_by_name(check, monkeypatch):
    """From a lesson's cell: a check of the package is imported anew, where nothing has changed it; another is sent."""
    tests = []
    monkeypatch.setattr(checks, "_notebook", list)
    refused = {"passed": False, "sentence": "no"}
    monkeypatch.setattr(checks, "judge", lambda cells, test: tests.append(test) or refused)
    with pytest.raises(checks.CheckFailed, match="^no$"):
        checks.run(check, "mine")
    sent = f"def {check.__name__}(" in tests[0]
    assert sent == (check is test_comparisons) != (f"from inception_lessons.checks import {check.__name__}" in tests[0])


def test_fill_depends_on_shapes_alone():
    torch.manual_seed(0)
    one = checks.fill(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 5, 3)))
    two = checks.fill(torch.nn.ModuleDict({"b": torch.nn.Conv2d(4, 5, 3), "a": torch.nn.Conv2d(3, 4, 1)}))
    assert torch.equal(one[0].weight, two["a"].weight) and torch.equal(one[1].bias, two["b"].bias)
    assert one[0].weight.unique().numel() == 12 and abs(one[1].weight.std() - 1.3 / 6) < 0.05
