"""Files when the world is against them: servers that lie, disks that are full or shut, two processes at once, a kill.

After each trouble what was there before is whole, the error says what is wrong, and the same call then goes through.
"""

import contextlib
import gzip
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from pathlib import Path

import pytest
import torch
from servers import Server

from inception_lessons import assignments, baselines, data, fetch, locks, plots, train, weights
from inception_lessons.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
CONTENT = bytes(range(256)) * 1200  # 307,200 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ABOUT = {"network": "Plain", "settings": {"num_classes": 4, "width": 0.05}}


# ------------------------------------------------------------------------------------------------------- the network


class Liar(Server):
    """More ways to misbehave than `Server` has.

    | manner | what it does |
    |---|---|
    | redirects | sends everybody to itself |
    | to a file | redirects to a file of the learner's own machine |
    | packed | packs what it sends, and says so: the bytes are not the file's |
    | says packed | says that it packs, and does not |
    | too long | sends more than it announced |
    | too short | announces more than it has |
    | never answers | takes the question and says nothing |
    | talks nonsense | what comes is not HTTP |
    | changes | hangs up after 100,000 bytes, and has another file of the same length from then on |
    | grows | hangs up after 100,000 bytes, and has a longer file from then on |
    """

    def answer(self, request):
        manner, mine = self.manner, CONTENT
        if manner not in ("redirects", "to a file", "packed", "says packed", "too long", "too short", "never answers",
                          "talks nonsense", "changes", "grows"):  # fmt: skip
            return super().answer(request)
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        if manner == "never answers":
            return self.release.wait(10)
        if manner == "talks nonsense":
            return request.wfile.write(b"\x00\xff garbage \r\n\r\n")
        if manner in ("redirects", "to a file"):
            request.send_response(302)
            request.send_header("Location", self.url if manner == "redirects" else Path(__file__).as_uri())
            return request.end_headers()
        if manner in ("changes", "grows") and len(self.ranges) > 1:
            mine = CONTENT[::-1] + b"more" * (manner == "grows")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = gzip.compress(mine) if manner == "packed" else mine[start:]
        request.send_response(206 if start else 200)
        if manner in ("packed", "says packed"):
            request.send_header("Content-Encoding", "gzip")
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(mine) - 1}/{len(mine)}")
        announced = {"too long": len(body) - 7, "too short": len(body) + 7}.get(manner, len(body))
        request.send_header("Content-Length", str(announced))
        request.end_headers()
        request.wfile.write(body[:100_000] if manner in ("changes", "grows") and len(self.ranges) == 1 else body)


@pytest.fixture
def serve():
    servers = []

    def started(manner, content=CONTENT):
        servers.append(Liar(manner, content))
        return servers[-1]

    yield started
    for server in servers:
        server.close()


@pytest.mark.parametrize("known", [{}, {"size": len(CONTENT)}], ids=["no size", "size"])
@pytest.mark.parametrize(
    "manner, words",
    [
        ("redirects", "redirect.*infinite loop|HTTP Error 302"),
        ("to a file", "HTTP Error 302|not allowed"),
        ("packed", "it offers another file|has not the official checksum"),
        ("too long", "it offers another file|has not the official checksum"),
        ("too short", "it offers another file|connection broke off|has not the official checksum"),
        ("never answers", "it sent nothing for 0.3 s"),
        ("talks nonsense", "garbage"),
        ("changes", "has not the official checksum and was removed"),
        ("grows", "it offers another file|has not the official checksum"),
    ],
)
def test_a_server_that_lies_is_told_of_and_leaves_nothing_wrong(serve, tmp_path, known, manner, words):
    path, start = tmp_path / "cache" / "file.bin", time.monotonic()
    server = serve(manner)
    with pytest.raises(ConnectionError, match=words):
        fetch.download(path, [server.url], sha256=SHA256, timeout=0.3, **known)
    assert time.monotonic() - start < 30 and len(server.ranges) <= 12, "bounded, on a busy machine too"
    assert not path.exists()
    left = {file.name for file in path.parent.iterdir()} if path.parent.exists() else set()
    assert left <= {"file.bin.part"}
    assert fetch.download(path, [serve("well").url], sha256=SHA256, **known).read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["file.bin"]


def test_a_server_that_says_it_packs_and_does_not_gives_the_file(serve, tmp_path):
    path = fetch.download(tmp_path / "file.bin", [serve("says packed").url], sha256=SHA256)
    assert path.read_bytes() == CONTENT


def test_a_lying_server_does_not_cost_the_file_that_is_there(serve, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"an older edition")
    with pytest.raises(ConnectionError, match="the one that is there has the sha256 .*wanted"):
        fetch.download(path, [serve("changes").url], sha256=SHA256)
    assert path.read_bytes() == b"an older edition"


# ----------------------------------------------------------------------------------------- a full disk, a shut folder


@contextlib.contextmanager
def full_after(room: int):
    """Within the block no file grows beyond `room` bytes: the kernel itself says no, as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextlib.contextmanager
def shut(folder: Path):
    """Within the block nobody writes into the folder: root, to whom nothing is forbidden, is somebody else then."""
    folder.chmod(0o555)
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        if os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            pytest.skip("nothing is forbidden to this user")
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.fixture
def place():
    """A folder that everybody can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def network(seed):
    torch.manual_seed(seed)
    return baselines.Plain.laptop(4, width=0.05)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def executed(path):
    """The notebook's stored outputs, written anew."""
    import execute_notebooks
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("another text " * 300)])
    execute_notebooks.write(notebook, path)


def chart():
    return plots.bars({"a": {"x": 1, "y": 2}}, ylabel="count", title="Bars", alt="Two bars, of heights 1 and 2.")


WRITERS = {  # what writes, the file, whether one was there before
    "a checkpoint": (lambda path: weights.save(path, network(1), ABOUT), "plain.safetensors"),
    "a results file": (lambda path: weights.write(path, b"{}" * 3000), "N1.json"),
    "an executed notebook": (executed, "lesson.ipynb"),
    "a chart": (lambda path: chart().save(path), "chart.png"),
}


@pytest.mark.parametrize("what", WRITERS)
@pytest.mark.parametrize("trouble", ["full", "shut"])
def test_what_was_there_before_is_whole(place, what, trouble):
    write, name = WRITERS[what]
    (place / name).touch()
    write(place / name)
    (place / name).write_bytes(b"what was there before")
    before = contents(place)
    with full_after(2000) if trouble == "full" else shut(place), pytest.raises(OSError) as caught:
        write(place / name)
    assert contents(place) == before, "and nothing half written beside it"
    said = str(caught.value)
    if what == "a chart":
        assert said.endswith(f"{str(place / name)!r}")
    if trouble == "full" and what not in ("an executed notebook", "a chart"):
        assert f"{name} could not be written (File too large)" in said
        assert "MB are wanted" in said and "MB are free in" in said
    write(place / name)
    assert contents(place) != before


def digits():
    return data.digits_in_the_wild(counts=(30, 10, 10))


@pytest.mark.parametrize("trouble", ["full", "shut"])
def test_the_data_set_is_there_without_a_cache_too(place, monkeypatch, trouble):
    cache = place / "cache"
    cache.mkdir()
    monkeypatch.setenv("INCEPTION_LESSONS_CACHE", str(cache))
    wanted = data.fingerprint(digits())
    (kept,) = cache.iterdir()
    kept.unlink()
    data.mnist_digits()
    with full_after(2000) if trouble == "full" else shut(cache):
        with pytest.warns(UserWarning, match=r"could not be kept in .*cache \(.*; it will be built again"):
            assert data.fingerprint(digits()) == wanted
    assert contents(cache) == {}
    assert data.fingerprint(digits()) == wanted and [file.name for file in cache.iterdir()] == [kept.name]
    with shut(cache), warnings.catch_warnings():
        warnings.simplefilter("error")  # what is there is read, by another user of the same cache too
        assert data.fingerprint(digits()) == wanted


@pytest.fixture
def pictures(tmp_path):
    """A folder of a few random photographs."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 2)):
        for name in "ab":
            folder = tmp_path / "pictures" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def command(pictures, out, steps=4):
    return ["train", "Plain", "--data", str(pictures), "--size", "16", "--set", "width=0.05", "--batch-size", "4",
            "--steps", str(steps), "--save-every", "2", "--workers", "0", "--device", "cpu",
            "--out", str(out)]  # fmt: skip


def test_a_run_into_a_shut_folder_says_so_before_it_begins(pictures, place, capsys):
    out = place / "run"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    place.chmod(0o755)
    assert main(command(pictures, place / "warm")) == 0  # imports are done while everything is allowed
    open_to_all(pictures)
    with shut(out):
        assert main(command(pictures, out)) == 1
    error = capsys.readouterr().err
    assert "nothing can be written into" in error and "Permission denied" in error and "give another --out" in error
    assert contents(out) == {"notes.txt": b"mine"}


def open_to_all(folder: Path) -> None:
    """Let everybody read it: pytest's folders are their owner's."""
    for parent in [folder, *folder.parents][:-1]:
        if parent.stat().st_uid == os.geteuid():
            with contextlib.suppress(PermissionError):
                parent.chmod(parent.stat().st_mode | 0o055)


def test_a_full_disk_in_the_middle_of_a_run(pictures, tmp_path, capsys):
    """The checkpoint does not fit: the error says how much is wanted, and with room the same command ends."""
    out = tmp_path / "run"
    with full_after(3000):
        assert main(command(pictures, out)) == 1
    error = capsys.readouterr().err
    assert "checkpoint.safetensors could not be written (File too large)" in error and error.count("File too") == 1
    assert "MB are wanted" in error and "MB are free" in error
    assert {file.name for file in out.iterdir()} <= {"log.jsonl"}
    assert main(command(pictures, out)) == 0
    assert (out / "weights.safetensors").is_file() and not list(out.glob(".run.*"))


@pytest.mark.parametrize("trouble", ["full", "shut"])
def test_copies_of_assignments_keep_the_learners_work(place, trouble):
    name = assignments.names()[0]
    whole = assignments.copy(name, place / "elsewhere").read_bytes()
    mine = place / f"{assignments.names()[1]}.ipynb"
    mine.write_text("a learner's work")
    with full_after(2000) if trouble == "full" else shut(place), pytest.raises(OSError):
        assignments.copy(name, place)
    assert mine.read_text() == "a learner's work" and not (place / f"{name}.ipynb").exists()
    assert assignments.copy(name, place).read_bytes() == whole
    assert assignments.copy(assignments.names()[1], place).read_text() == "a learner's work"


# ------------------------------------------------------------------------------------------------- two at the same time


def started(code: str, *arguments) -> subprocess.Popen:
    """A process of Python that runs the code; its words come through a pipe."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


HOLD = """
    import sys, time
    from inception_lessons import locks
    with locks.alone(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of tmp_path / "run"."""
    (tmp_path / "run").mkdir()
    process = started(HOLD, tmp_path / "run" / ".run.lock")
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_the_second_run_in_a_folder_says_who_holds_it(holder, pictures, tmp_path, capsys):
    part = tmp_path / "run" / "checkpoint.safetensors1.part"
    part.write_bytes(b"being written by the first")
    start = time.monotonic()
    assert main(command(pictures, tmp_path / "run")) == 1
    error = capsys.readouterr().err
    assert f"run is in use by process {holder.pid} on " in error and "since 20" in error
    assert "wait for it, end it, or give another --out" in error and time.monotonic() - start < locks.LEFT_BEHIND
    assert part.exists(), "the second sweeps nothing of the first away"
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.wait(30) == 0
    assert main(command(pictures, tmp_path / "run")) == 0, "afterwards it is free"


def test_a_killed_run_blocks_nobody(holder, pictures, tmp_path, capsys):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / ".run.lock").exists(), "a kill without warning leaves the file"
    assert main(command(pictures, tmp_path / "run")) == 0
    assert "in use" not in capsys.readouterr().err
    assert not list((tmp_path / "run").glob(".run.*"))


@pytest.mark.skipif(sys.platform != "linux", reason="a child that inherits the lock is made by fork")
def test_the_children_of_a_killed_run_are_outlasted(tmp_path):
    """A reader of images that outlives its run for a moment holds the lock as well: that moment is waited for."""
    code = """
        import os, sys, time
        from inception_lessons import locks
        with locks.alone(sys.argv[1]):
            if os.fork() == 0:
                time.sleep(3)
                os._exit(0)
            print("held", flush=True)
            os.kill(os.getpid(), 9)
    """
    process = started(code, tmp_path / ".run.lock")
    assert process.stdout.readline() == "held\n"
    process.wait()
    process.stdin.close()
    with locks.alone(tmp_path / ".run.lock"):
        pass
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), locks.alone(tmp_path / ".run.lock"):
        raise KeyboardInterrupt
    with locks.alone(tmp_path / ".run.lock"):
        with pytest.raises(BlockingIOError, match=f"in use by process {os.getpid()} on .*, since 20"):
            with locks.alone(tmp_path / ".run.lock"):
                pass
    assert list(tmp_path.iterdir()) == []


def test_two_downloads_of_one_file_are_one(serve, tmp_path):
    """The second waits for the first and then finds the file: no byte is asked for or written twice."""
    code = """
        import sys
        from inception_lessons import fetch
        path, url, sha256 = sys.argv[1:]
        print("begins", flush=True)
        fetch.download(path, [url], sha256=sha256)
        print("ends", flush=True)
    """
    server = serve("drops")  # each connection brings a third
    both = [started(code, tmp_path / "file.bin", server.url, SHA256) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges == [None, *(f"bytes={done}-" for done in (100_000, 200_000, 300_000))]
    assert [file.name for file in tmp_path.iterdir()] == ["file.bin"]


def _at_once(work, gate, answers):
    gate.wait()
    try:
        answers.put(("done", work()))
    except BaseException as error:  # told, whatever it is
        answers.put((type(error).__name__, str(error)))


def at_once(count, work) -> list:
    """What `count` processes answer that begin the same work at the same moment."""
    fork = multiprocessing.get_context("fork")
    gate, answers = fork.Barrier(count), fork.Queue()
    processes = [fork.Process(target=_at_once, args=(work, gate, answers)) for _ in range(count)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(30)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="processes are made by fork, which costs no imports")
class TestAtOnce:
    """Several processes begin the same thing on one folder at the same moment."""

    def test_building_the_data_set(self, tmp_path, monkeypatch):
        wanted = data.fingerprint(data.digits_in_the_wild(counts=(30, 10, 10), cache=False))
        monkeypatch.setenv("INCEPTION_LESSONS_CACHE", str(tmp_path / "cache"))
        assert at_once(3, lambda: data.fingerprint(digits())) == [("done", wanted)] * 3
        (kept,) = (tmp_path / "cache").iterdir()
        assert kept.suffix == ".safetensors" and data.fingerprint(digits()) == wanted

    def test_writing_a_results_file(self, tmp_path):
        path = tmp_path / "N1.json"

        def work():
            for _ in range(20):
                weights.write(path, json.dumps([os.getpid()] * 5000).encode())
                assert len(set(json.loads(path.read_bytes()))) == 1
            return True

        assert at_once(3, work) == [("done", True)] * 3
        assert [file.name for file in tmp_path.iterdir()] == ["N1.json"]

    def test_training_into_one_folder(self, pictures, tmp_path):
        """One trains, the others are sent away: what is there in the end is one whole run."""
        out = tmp_path / "run"
        found = at_once(3, lambda: main(command(pictures, out, steps=6)))
        codes = sorted(code for _, code in found)
        assert codes[0] == 0 and set(codes) <= {0, 1}
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert max(line["step"] for line in lines) == 6
        weights.load(out / "weights.safetensors")
        assert not list(out.glob(".run.*")) and not list(out.glob("*.part"))


def test_a_chart_that_cannot_be_saved_says_where(tmp_path):
    chart = plots.losses({}, live=[1.0, 0.5])
    with pytest.raises(OSError, match="nowhere"):
        chart.save(tmp_path / "nowhere" / "a.png")


def test_training_itself_needs_no_disk(place):
    """`train.fit` writes nothing: on a full disk a lesson trains on."""
    split = data.Split(torch.randint(0, 256, (8, 16, 16, 3)).to(torch.uint8), torch.arange(8) % 4)
    with full_after(0):
        history = train.fit(network(0), split, recipe=train.Recipe(steps=2, batch_size=4), progress=False)
    assert len(history.loss) == 2
