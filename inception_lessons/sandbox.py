"""Code that may do anything, run in a process of its own: limits on time, memory, files; the answer comes back as data.

A learner's function may loop for ever, fill the memory, end its process or change torch. So it runs in a child that
starts clean, is stopped from outside, and hands back plain values and tensors, never objects. On Linux a *host* that
has imported torch once forks such children in milliseconds; elsewhere, where a fork is not safe beside torch's threads,
each child is a new Python and costs the import.

This stops accidents and casual cheating. It is no jail: who grades strangers does it on a machine that holds nothing
else.
"""

import atexit
import importlib
import json
import math
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

FORKS = sys.platform == "linux"
MEGABYTE = 2**20
PRINTED = 2_000  # characters of what a child printed that are kept
LARGEST = 16 * MEGABYTE  # of a file that a child writes: what it prints, and its reply


def pack(value: object) -> bytes:
    """None, bool, int, float, str, tensor, array, and lists, tuples and dicts of them -> bytes, without pickle.

    Tensors are written as safetensors, the rest as JSON. Raises TypeError that names a type that cannot travel.
    """
    tensors = {}

    def plain(item):
        if item is None or isinstance(item, bool | int | float | str):
            return item
        if isinstance(item, np.generic):
            return plain(item.item())
        if isinstance(item, np.ndarray):
            item = torch.from_numpy(np.ascontiguousarray(item))
        if isinstance(item, torch.Tensor):
            tensors[str(len(tensors))] = item.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": str(len(tensors) - 1)}
        if isinstance(item, list | tuple):
            return {"tuple" if isinstance(item, tuple) else "list": [plain(part) for part in item]}
        if isinstance(item, dict):
            return {"dict": [[plain(key), plain(part)] for key, part in item.items()]}
        raise TypeError(
            f"something of type {type(item).__name__} came; numbers, text, tensors, lists and dicts can be compared"
        )

    header = json.dumps(plain(value)).encode()
    return struct.pack("<Q", len(header)) + header + safetensors.torch.save(tensors)


def unpack(content: bytes) -> object:
    """What `pack` wrote -> the value. Raises ValueError for anything else."""

    def value(item):
        if not isinstance(item, dict):
            return item
        ((kind, content),) = item.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "dict":
            return {value(key): value(part) for key, part in content}
        return {"list": list, "tuple": tuple}[kind](value(part) for part in content)

    try:
        (length,) = struct.unpack("<Q", content[:8])
        tensors = safetensors.torch.load(content[8 + length :])
        return value(json.loads(content[8 : 8 + length]))
    except Exception as error:  # safetensors raises its own kind; what came is damaged, whichever it is
        raise ValueError(f"{len(content)} bytes came that are no packed value: {error}") from None


# ---------------------------------------------------------------------------------------------------- inside a child


class Refused(PermissionError):
    """What a guarded child is told when it reaches for something outside its folder."""


def _guard(folder: str) -> None:
    """From here on this process reads Python's folders, writes its own, and starts nothing. There is no way back."""
    own = os.path.realpath(folder)
    package = Path(__file__).resolve().parent
    readable = [own, *{os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, package)}]
    readable += [os.path.realpath(path) for path in sys.path if path.endswith("site-packages")]
    readable += [
        os.path.join(os.path.sep, *parts) for parts in (("proc",), ("sys",), ("dev",), ("usr", "share", "zoneinfo"))
    ]

    def inside(path, folders):
        if isinstance(path, int):
            return True
        real = os.path.realpath(os.fsdecode(path))
        return any(real == folder or real.startswith(folder + os.sep) for folder in folders)

    starts = {"os.system", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile"}
    starts |= {"subprocess.Popen", "pty.spawn", "ctypes.dlopen", "os.kill", "os.killpg"}
    changes = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
    changes |= {"os.chown", "os.utime", "shutil.rmtree", "shutil.move", "shutil.copyfile"}

    def watch(event, args):
        if event == "open":
            path, mode, flags = args
            by_flags = (flags or 0) & (os.O_WRONLY | os.O_RDWR)
            writes = set(mode) & set("wax+") if isinstance(mode, str) else by_flags
            if path is None or inside(path, [own]) or os.fsdecode(path) == os.devnull:
                return
            if writes:
                raise Refused(f"an answer may write only in its own folder, not {os.fsdecode(path)}")
            if not inside(path, readable):
                raise Refused(f"an answer may not read {os.fsdecode(path)}")
        elif event in starts:
            raise Refused(f"an answer may not start programs or end them ({event})")
        elif event == "sqlite3.connect" and not inside(args[0], [own]):
            raise Refused(f"an answer may not read {os.fsdecode(args[0])}")
        elif event in changes:
            if not all(inside(path, [own]) for path in args[:2] if isinstance(path, str | bytes | os.PathLike)):
                raise Refused(f"an answer may not change files outside its own folder ({event} {args[0]})")
        elif event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
            raise Refused(f"an answer may not use the network ({event})")

    sys.addaudithook(watch)


def _limit(seconds: float, megabytes: int) -> None:
    """Processor seconds, memory beyond what is in use now, size of files: held by the system, where it can."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows: the parent watches instead
        return
    whole = math.ceil(time.process_time() + seconds)  # what importing torch took is not the answer's
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
    if sys.platform == "linux":
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + megabytes * MEGABYTE,) * 2)


def _work(job: list[bytes], folder: str, ask: Callable | None) -> None:
    """Do the one job in `job`, write folder/reply. The list is emptied, so that no frame keeps what it held."""
    order = unpack(job.pop())
    module, name = order["entry"].split(":")
    function, guarded = getattr(importlib.import_module(module), name), order["guarded"]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    os.chdir(folder)
    _limit(order["seconds"], order["megabytes"])
    if guarded:
        _guard(folder)
    try:
        reply = {"value": function(order.pop("work"), *([] if guarded else [ask]))}
        content = pack(reply)
    except MemoryError:
        content = pack({"memory": True})
    except BaseException:  # an entry that fails says so; a sys.exit in an answer is handled by the entry
        content = pack({"error": traceback.format_exc()})
    with open(os.path.join(folder, "reply"), "wb") as file:
        file.write(content)


# ------------------------------------------------------------------------------------------------- around the children


def _outcome(folder: str, status: int, reason: str) -> dict:
    """What became of a child that ended: {"value"}, {"time"}, {"memory"}, {"died"} or {"error"}; and "printed"."""
    try:
        with open(os.path.join(folder, "printed"), "rb") as file:
            found = {"printed": file.read(4 * PRINTED).decode("utf-8", "replace")[:PRINTED]}
    except OSError:  # it may delete what is in its own folder
        found = {"printed": ""}
    if reason:
        return found | {reason: True}
    if hasattr(signal, "SIGXCPU") and status == -signal.SIGXCPU:
        return found | {"time": True}
    try:
        with open(os.path.join(folder, "reply"), "rb") as file:
            return found | unpack(file.read())
    except (OSError, ValueError, TypeError):  # it ended before it could answer, or wrote what is no answer
        return found | {"died": status}


def spawn(order: dict) -> dict:
    """{"entry", "work", "guarded", "seconds", "megabytes"} -> outcome, from a new Python: what every system can do."""
    import psutil

    folder = tempfile.mkdtemp(prefix="inception-lessons-")
    try:
        Path(folder, "job").write_bytes(pack(order))
        printed = open(os.path.join(folder, "printed"), "ab")  # a child may delete the file: what it fills is this
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "inception_lessons.sandbox", "child", folder],
            stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, start_new_session=True, env=_environment(),
        )  # fmt: skip
        reason, own, base = "", psutil.Process(process.pid), None
        deadline = time.monotonic() + _patience(order["seconds"])
        try:
            while process.poll() is None:
                time.sleep(0.02)
                try:
                    used, spent = own.memory_info().rss, sum(own.cpu_times()[:2])
                except psutil.Error:
                    continue
                if base is None and os.path.exists(os.path.join(folder, "started")):
                    base = used, spent  # what Python and torch took is not the answer's
                if base and used > base[0] + order["megabytes"] * MEGABYTE:
                    reason = "memory"
                elif base and spent > base[1] + order["seconds"] or time.monotonic() > deadline:
                    reason = "time"
                elif printed.seek(0, os.SEEK_END) > LARGEST:
                    reason = "output"
                if reason:
                    break
        finally:
            _kill(process.pid)
            process.wait()
            printed.close()
        return _outcome(folder, process.returncode, reason)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kill(process: int) -> None:
    """End a process and whatever it has started, each in a session of its own."""
    import psutil

    try:
        own = psutil.Process(process)
        family = [*own.children(recursive=True), own]
    except psutil.Error:
        return
    for member in family:
        try:
            member.kill()
        except psutil.Error:
            pass  # it ended by itself


def _patience(seconds: float) -> float:
    """Seconds on the wall: a busy machine may make a child wait, three times as long as it may compute and 10 more."""
    return 3 * seconds + 10


def _fork(order: list[bytes], seconds: float, closed: list[int], answer: Callable[[bytes], bytes] | None) -> dict:
    """`spawn` by a fork of this process: the host has torch, and nothing of an earlier job."""
    folder = tempfile.mkdtemp(prefix="inception-lessons-")
    printed = os.open(os.path.join(folder, "printed"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    ask_in, ask_out, told_in, told_out = *os.pipe(), *os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            for descriptor in (*closed, ask_in, told_out):
                os.close(descriptor)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((nothing, 0), (printed, 1), (printed, 2)):
                os.dup2(source, target)
            if answer is None:
                os.closerange(3, 1024)
                _work(order, folder, None)
            else:

                def ask(asked):
                    _send(ask_out, pack(asked))
                    return unpack(_receive(told_in))

                _work(order, folder, ask)
            sys.stdout.flush()
        finally:
            os._exit(0)
    order.clear()
    for descriptor in (printed, ask_out, told_in):
        os.close(descriptor)
    try:
        deadline, reason, status = time.monotonic() + _patience(seconds), "", None
        while status is None and not reason:
            ready = select.select([ask_in], [], [], 0.005)[0] if answer is not None else time.sleep(0.002)
            if ready:
                asked = _receive(ask_in)
                if asked:
                    begun = time.monotonic()
                    _send(told_out, answer(asked))
                    deadline += time.monotonic() - begun
            ended, code = os.waitpid(child, os.WNOHANG)
            if ended:
                status = os.waitstatus_to_exitcode(code)
            elif time.monotonic() > deadline:
                reason = "time"
        return _outcome(folder, status or 0, reason)
    finally:
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nobody is left of it
        if status is None:
            os.waitpid(child, 0)
        os.close(ask_in)
        os.close(told_out)
        shutil.rmtree(folder, ignore_errors=True)


def _send(descriptor: int, content: bytes) -> None:
    content = memoryview(struct.pack("<Q", len(content)) + content)
    while content:
        content = content[os.write(descriptor, content) :]


def _receive(descriptor: int) -> bytes:
    """The next message, or nothing where the other side is gone."""

    def exactly(count):
        parts = bytearray()
        while len(parts) < count:
            part = os.read(descriptor, min(count - len(parts), MEGABYTE))
            if not part:
                return b""
            parts += part
        return bytes(parts)

    length = exactly(8)
    return exactly(struct.unpack("<Q", length)[0]) if length else b""


def _serve() -> None:
    """The host: orders in at standard input, outcomes out at standard output, a fork for each; ends with its parent."""
    commands, outcomes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for target in (0, 1):
        os.dup2(nothing, target)
    torch.set_num_threads(1)

    def answer(asked: bytes) -> bytes:
        return pack(_fork([asked], unpack(asked)["seconds"], [commands, outcomes], None))

    job = []
    while True:
        job.append(_receive(commands))
        if not job[0]:
            return
        module, seconds = itemgetter("preload", "seconds")(unpack(job[0]))
        importlib.import_module(module)
        # _fork empties the list on both sides: a child that looks through its frames finds no test of its own
        _send(outcomes, pack(_fork(job, seconds, [commands, outcomes], answer)))


def _environment() -> dict[str, str]:
    """Answers are judged on the processor, alike on every machine."""
    return os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}


class Host:
    """The parent's end: `run(entry, work)` -> outcome. Started at the first run, closed at exit, and anew if lost."""

    def __init__(self, forks: bool = FORKS):
        self.forks, self.process = forks, None
        atexit.register(self.close)

    def run(self, entry: str, work: object, *, seconds: float = 60, megabytes: int = 4000) -> dict:
        """ "module:function", plain values -> {"value": what function(work, ask) returned}, or what became of it.

        `ask(order)` lets that function have a child of its own, guarded if the order says so. Raises OSError where no
        process can be started.
        """
        order = {"entry": entry, "work": work, "guarded": False, "seconds": seconds, "megabytes": megabytes}
        if not self.forks:
            return spawn(order)
        order["preload"] = entry.split(":")[0]
        try:
            return unpack(self._exchange(pack(order)))
        except BaseException:  # also when the learner interrupts: whatever it is doing must not go on
            self.close()
            raise

    def _exchange(self, content: bytes) -> bytes:
        if self.process is not None and self.process.poll() is not None:
            self.close()
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "inception_lessons.sandbox", "host"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=_environment(),
            )  # fmt: skip
        _send(self.process.stdin.fileno(), content)
        reply = _receive(self.process.stdout.fileno())
        if not reply:
            raise OSError(f"the process that runs answers has ended (exit status {self.process.wait()})")
        return reply

    def close(self) -> None:
        """End the host and all that it has started."""
        if self.process is not None:
            _kill(self.process.pid)
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def main(arguments: list[str]) -> int:
    """What the parent starts: ``host``, or ``child FOLDER``."""
    if arguments[:1] == ["host"]:
        _serve()
    else:
        folder = arguments[1]
        content = [Path(folder, "job").read_bytes()]
        importlib.import_module(unpack(content[0])["entry"].split(":")[0])
        os.remove(os.path.join(folder, "job"))
        Path(folder, "started").touch()
        _work(content, folder, spawn)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
