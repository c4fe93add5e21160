"""Tests of `inception_lessons.fetch` against servers on this machine: the right file, or none and nothing lost."""

import hashlib
import os
import time

import numpy as np
import pytest
from servers import Server

from inception_lessons import data, fetch

CONTENT = np.random.default_rng(1).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
# The three ways in which a caller may know its file: CIFAR-10's, a checkpoint's, a safetensors file's.
KNOWN = {
    "md5 and size": {"md5": MD5, "size": len(CONTENT)},
    "start of sha256": {"sha256": SHA256[:8]},
    "sha256": {"sha256": SHA256},
}


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started = []

    def start(manner):
        started.append(Server(manner, CONTENT))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(params=KNOWN)
def get(tmp_path, request):
    """Fetches from the servers given, knowing the file in one of the three ways."""
    path = tmp_path / "cache" / "file.bin"

    def call(*servers, **more):
        known = KNOWN[request.param] | {"timeout": 5.0} | more
        return fetch.download(path, [server.url for server in servers], **known)

    call.path, call.part, call.known = path, path.with_name("file.bin.part"), KNOWN[request.param]
    return call


def keep_part(get, content):
    get.path.parent.mkdir(parents=True)
    get.part.write_bytes(content)


def only_the_file(get):
    return get.path.read_bytes() == CONTENT and [p.name for p in get.path.parent.iterdir()] == [get.path.name]


def test_the_cache_folder_is_the_users_choice_or_the_systems(monkeypatch, tmp_path):
    monkeypatch.setenv("INCEPTION_LESSONS_CACHE", str(tmp_path / "mine"))
    assert fetch.cache_folder() == tmp_path / "mine" == data.cache_folder()
    monkeypatch.delenv("INCEPTION_LESSONS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert fetch.cache_folder().name and fetch.cache_folder() != tmp_path / "mine"
    assert not list(tmp_path.iterdir())  # asking makes no folder


def test_it_says_what_it_does_and_places_the_file(serve, get, capfd):
    server = serve("well")
    assert get(server) == get.path and only_the_file(get)
    captured = capfd.readouterr()
    assert captured.out.startswith("Fetching file.bin") and "It can be stopped" in captured.out
    assert ("0 MB (0 MiB); about 0 s at 5 MB/s" in captured.out) == ("size" in get.known)
    assert str(get.path.parent) not in captured.out + captured.err  # a notebook keeps this line
    get(server)
    assert len(server.ranges) == 1  # what is there is not fetched again
    get.path.unlink()
    get(server, say="two weeks")
    assert "Fetching file.bin: two weeks. It can" in capfd.readouterr().out


def test_how_long():
    assert fetch.how_long(170_052_171) == "170 MB (162 MiB); about 34 s at 5 MB/s"


def test_a_file_that_is_there_is_verified(serve, get):
    get.path.parent.mkdir()
    get.path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with pytest.raises(ConnectionError, match="the one that is there has the (md5|sha256) [0-9a-f]{32,64}, wanted"):
        get(serve("missing"))
    assert get.path.exists()  # what there was is not lost before something better has come
    get(serve("well"))
    assert only_the_file(get)


@pytest.mark.parametrize("manner", ["drops", "resets"])
def test_it_goes_on_after_each_dropped_connection(serve, get, manner):
    server = serve(manner)
    get(server)
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-"]
    assert only_the_file(get)


def test_it_goes_on_with_the_part_of_a_killed_call(serve, get):
    keep_part(get, CONTENT[:250_000])
    server = serve("well")
    get(server)
    assert server.ranges == ["bytes=250000-"] and only_the_file(get)


def test_a_part_that_is_whole_needs_no_server(get):
    keep_part(get, CONTENT)
    get()
    assert only_the_file(get)


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 7])
def test_a_part_as_long_as_the_file_yet_not_it_is_fetched_anew(serve, get, length):
    keep_part(get, bytes(length))
    server = serve("well")
    get(server)
    assert only_the_file(get) and server.ranges[-1] is None


def test_it_starts_again_where_a_server_ignores_range(serve, get):
    keep_part(get, b"x" * 1000)
    server = serve("no range")
    get(server)
    assert server.ranges == ["bytes=1000-"] and only_the_file(get)


def test_wrong_bytes_are_removed_and_the_next_mirror_is_tried(serve, get):
    got = "[0-9a-f]{32,64}"
    words = f"not the official checksum and was removed .(md5|sha256) {got}, wanted .*Nothing is kept.*path="
    with pytest.raises(ConnectionError, match=words) as caught:
        get(serve("lies"))
    algorithm = "md5" if "md5" in get.known else "sha256"
    assert hashlib.new(algorithm, bytes(len(CONTENT))).hexdigest() in str(caught.value)
    assert ("begins with" in str(caught.value)) == (get.known.get("sha256") == SHA256[:8])
    assert list(get.path.parent.iterdir()) == []
    get(serve("missing"), serve("lies"), serve("well"))
    assert only_the_file(get)


@pytest.mark.parametrize("manner", ["page", "html page", "shifted", "no middle"])
def test_another_answer_does_not_cost_the_part(serve, get, manner):
    keep_part(get, CONTENT[:250_000])
    words = r"(another file|a page and not the file|416).*0.2 MB (of 0.3 MB )?are kept in file\.bin\.part"
    with pytest.raises(ConnectionError, match=words):
        get(serve(manner))
    assert get.part.read_bytes() == CONTENT[:250_000]


def test_a_page_instead_of_the_file_is_named(serve, get):
    with pytest.raises(ConnectionError, match="it offers a page and not the file"):
        get(serve("html page"))
    with pytest.raises(ConnectionError, match="it does not say how many bytes"):
        get(serve("no length"))
    assert list(get.path.parent.iterdir()) == []
    get.part.write_bytes(CONTENT[:250_000])
    get(serve("no length"))  # the Range of its answer says how many there are
    assert only_the_file(get)


def test_a_stalled_server_is_given_up_and_the_part_is_kept(serve, get):
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="sent nothing for 0.3 s.*the same call goes on from there"):
        get(serve("stalls"), timeout=0.3)
    assert time.monotonic() - start < 3
    assert get.part.read_bytes() == CONTENT[:120_000] and not get.path.exists()
    get(serve("well"))
    assert only_the_file(get)


@pytest.mark.parametrize("manner", ["drips", "drips and drops"])
def test_a_server_that_is_never_silent_and_never_done_is_given_up(serve, get, monkeypatch, manner):
    """Each byte comes well before the time-out, which begins anew with it: only the pace tells."""
    monkeypatch.setattr(fetch, "LEAST", 300)  # at most 20 come a second
    monkeypatch.setattr(fetch, "WITHIN", 0.3)
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=r"sent only \d+ bytes in \d s.*the same call goes on from there"):
        get(serve(manner))
    assert time.monotonic() - start < 2
    kept = get.part.read_bytes()
    assert kept == CONTENT[: len(kept)] and 120_000 <= len(kept) < 120_060 and not get.path.exists()
    get(serve("drips"), serve("well"))
    assert only_the_file(get)


def test_a_slow_and_honest_server_is_not_given_up(serve, get, monkeypatch):
    """20 kB/s against the 1 kB/s of the rule; the half second that it takes is five times looked at."""
    assert (fetch.LEAST, fetch.WITHIN) == (60_000, 60.0), "as the docstring says"
    keep_part(get, CONTENT[:290_000])
    monkeypatch.setattr(fetch, "LEAST", 100)
    monkeypatch.setattr(fetch, "WITHIN", 0.1)
    get(serve("slow"))
    assert only_the_file(get)


def test_without_a_network_the_reason_is_said(serve, get):
    server = serve("well")
    server.close()
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:\d+: .*refused.*Nothing is kept"):
        get(server)
    with pytest.raises(ConnectionError, match="no mirrors given.*or ask a friend"):
        get(otherwise="ask a friend")


def test_a_folder_that_takes_nothing_is_said_before_anything_travels(serve, tmp_path, get):
    get.path.parent.write_text("a file in the place of the folder")
    server = serve("well")
    with pytest.raises(OSError, match="could not be written into the folder .*INCEPTION_LESSONS_CACHE") as caught:
        get(server)
    assert not isinstance(caught.value, ConnectionError) and server.ranges == []
    assert get.path.parent.read_text() == "a file in the place of the folder"


def test_a_read_only_folder_still_gives_what_it_has(serve, get):
    get.path.parent.mkdir()
    get.path.write_bytes(CONTENT)
    get.path.parent.chmod(0o500)
    try:
        if os.access(get.path.parent, os.W_OK):
            pytest.skip("nothing is forbidden to this user")
        assert get() == get.path
        get.path.write_bytes(b"")
        with pytest.raises(OSError, match="could not be written into the folder"):
            get(serve("well"))
    finally:
        get.path.parent.chmod(0o700)


def test_a_file_that_is_there_needs_no_writing(get, monkeypatch):
    get.path.parent.mkdir()
    get.path.write_bytes(CONTENT)
    monkeypatch.setattr(fetch, "_make_writable", lambda part: pytest.fail("it wants to write"))
    assert get() == get.path


def test_a_full_disk_is_no_servers_fault(serve, get, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file, self.room = file, 130_000

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, chunk):
            if len(chunk) > self.room:
                raise OSError(28, "No space left on device")
            self.room -= len(chunk)
            self.file.write(chunk)

        def flush(self):
            self.file.flush()

    opened = fetch._opened
    monkeypatch.setattr(fetch, "_opened", lambda part, start: Full(opened(part, start)))
    servers = serve("well"), serve("well")
    with pytest.raises(OSError, match="No space left on device.*0.1 MB.* kept in file.bin.part.*make room") as caught:
        get(*servers)
    assert not isinstance(caught.value, ConnectionError) and servers[1].ranges == []
    kept = get.part.read_bytes()
    assert kept == CONTENT[: len(kept)] and 60_000 < len(kept) <= 130_000
    monkeypatch.setattr(fetch, "_opened", opened)
    get(servers[1])
    assert servers[1].ranges == [f"bytes={len(kept)}-"] and only_the_file(get)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"mirrors": "http://one"}, "must be a list of addresses"),
        ({"timeout": 0}, "must be a positive number of seconds"),
        ({"timeout": True}, "must be a positive number of seconds"),
        ({"sha256": ""}, "either a md5 or the start of a sha256"),
        ({"md5": MD5}, "either a md5 or the start of a sha256"),
        ({"sha256": "1378BE20"}, "in lower case"),
        ({"sha256": "1378be2"}, "either a md5 or the start"),
    ],
)
def test_bad_arguments_get_a_sentence(tmp_path, bad, words):
    with pytest.raises(ValueError, match=words):
        fetch.download(tmp_path / "f", **({"mirrors": [], "sha256": SHA256} | bad))
    assert list(tmp_path.iterdir()) == []
