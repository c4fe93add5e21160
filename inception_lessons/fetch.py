"""Files that others publish, fetched only when somebody asks: at the end the right file lies there, or none.

    fetch.download(fetch.cache_folder() / "set.tar.gz", ["https://..."], md5="...", size=170_052_171)

What has come so far lies beside, in `<name>.part`, and a later call goes on with it; a call at the same time waits.
For the rest Python's own library is enough: a dropped connection is taken up again here, and a checksum and a rename
are two lines.
"""

import hashlib
import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from inception_lessons import locks

ATTEMPTS = 100  # at one server, as long as each brings more
LEAST, WITHIN = 60_000, 60.0  # bytes that a server must bring, and in how many seconds: 1 kB/s


class _Unwritable(Exception):
    """The folder's fault and no server's: another mirror would not help."""


class _TooSlow(Exception):
    """A server that is never silent for long, and yet would never come to an end."""


class _Pace:
    """Looks every ``WITHIN`` seconds at what one server has brought since the last look, over all its connections."""

    def __init__(self):
        self.since, self.came = time.monotonic(), 0

    def add(self, count: int) -> None:
        """So many bytes have come now. Raises _TooSlow if it was time to look and they were fewer than ``LEAST``."""
        self.came += count
        seconds = time.monotonic() - self.since
        if seconds < WITHIN:
            return
        if self.came < LEAST:
            raise _TooSlow(f"it sent only {self.came:,} bytes in {seconds:.0f} s")
        self.since, self.came = time.monotonic(), 0


def cache_folder() -> Path:
    """The folder for built and downloaded files: $INCEPTION_LESSONS_CACHE, or else the system's place for caches."""
    chosen = os.environ.get("INCEPTION_LESSONS_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("inception-lessons"))


def checksum(path: str | Path, algorithm: str = "sha256") -> str:
    """A file -> the hex digits of its checksum, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def how_long(size: float) -> str:
    """Bytes -> "170 MB (162 MiB); about 34 s at 5 MB/s"."""
    return f"{size / 1e6:.0f} MB ({size / 2**20:.0f} MiB); about {size / 5e6:.0f} s at 5 MB/s"


def download(
    path: str | Path,
    mirrors: Sequence[str],
    *,
    md5: str = "",
    sha256: str = "",
    size: int | None = None,
    timeout: float = 30.0,
    say: str = "",
    otherwise: str = "get the file another way and give it as path=...",
) -> Path:
    """Fetch the file to `path` from the first mirror that gives it; -> `path`, where the right file then lies.

    The right file is the one with this `md5`, or whose `sha256` begins with these digits: published checkpoints carry
    the first eight in their names. Eight tell a damaged file from a whole one, but not a forged one, so what is fetched
    must be read as data all the same. A file that is there already is verified, and fetched again if it is another.
    `size` in bytes where it is known; else the server's word counts. `timeout`: seconds of silence after which a server
    is given up; one that is not silent is given up when it brings fewer than `LEAST` bytes (60,000) in `WITHIN` seconds
    (60), a twentieth of what a slow network of 20 kB/s brings. `say`: what is printed of size and time. `otherwise`:
    what an error advises.

    Raises ConnectionError if no mirror gives the file (what has come is kept), OSError if it cannot be written.
    ValueError for arguments that name no file: no mirror, no checksum, or no time.
    """
    if isinstance(mirrors, str) or not all(isinstance(url, str) for url in mirrors):
        raise ValueError(f"mirrors must be a list of addresses, not {mirrors!r}")
    for url in mirrors:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ValueError(f"an address begins with https:// or http:// and names a server, and {url!r} does not")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}")
    if bool(md5) == bool(sha256) or not re.fullmatch("[0-9a-f]{32}|[0-9a-f]{8,64}", md5 or sha256):
        raise ValueError(f"wanted either a md5 or the start of a sha256 in lower case, got {md5!r} and {sha256!r}")
    algorithm, wanted = ("md5", md5) if md5 else ("sha256", sha256)
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    kept = path.is_file() and checksum(path, algorithm).startswith(wanted)  # then nothing needs to be writable
    if kept:
        return path
    try:
        _make_writable(part)
        told = f"{path.name} is being fetched already: waiting for"
        with locks.alone(part.with_suffix(".lock"), lambda who: print(told, who)):
            return _download(path, part, mirrors, algorithm, wanted, size, timeout, say, otherwise)
    except _Unwritable as error:
        raise OSError(
            f"{path.name} could not be written into the folder {path.parent} ({error.__cause__}). {_kept(part, size)}; "
            "make room there, or let the environment variable INCEPTION_LESSONS_CACHE name a folder that can be "
            f"written to; or {otherwise}"
        ) from error.__cause__


def _download(path, part, mirrors, algorithm, wanted, size, timeout, say, otherwise) -> Path:
    """What ``download`` does while no other process does."""
    troubles = []
    if path.is_file():  # another one, or that of a process that was waited for
        found = checksum(path, algorithm)
        if found.startswith(wanted):
            return path
        troubles.append(f"the one that is there has the {algorithm} {found}, wanted {_shown(wanted, algorithm)}")
    if _have(part) and (size is None or _have(part) >= size):  # a call may have been killed just before the rename
        if checksum(part, algorithm).startswith(wanted):
            return _place(part, path)
        if size is not None:
            part.unlink()
    about = say or (how_long(size) if size is not None else "")
    print(f"Fetching {path.name}{': ' * bool(about)}{about}. It can be stopped: the next call goes on from there.")
    for url in mirrors:
        server = urlsplit(url).netloc
        try:
            _bring(url, part, size, timeout)
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
            troubles.append(f"{server}: {reason}")
            continue
        found = checksum(part, algorithm)
        if found.startswith(wanted):
            return _place(part, path)
        part.unlink()
        troubles.append(
            f"{server}: what came has not the official checksum and was removed ({algorithm} {found}, "
            f"wanted {_shown(wanted, algorithm)})"
        )
    raise ConnectionError(
        f"{path.name} could not be fetched ({'; '.join(troubles) or 'no mirrors given'}). {_kept(part, size)}; "
        f"or {otherwise}"
    )


def _shown(wanted: str, algorithm: str) -> str:
    whole = len(wanted) == hashlib.new(algorithm, usedforsecurity=False).digest_size * 2
    return wanted if whole else f"one that begins with {wanted}"


def _have(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _kept(part: Path, size: int | None) -> str:
    """How much is there, for the end of an error."""
    try:
        have = _have(part)
    except OSError:  # the folder is a file, or locked
        have = 0
    if not have:
        return "Nothing is kept: try again later"
    of = f" of {size / 1e6:.1f} MB" if size is not None else ""
    return f"{have / 1e6:.1f} MB{of} are kept in {part.name}: the same call goes on from there"


def _make_writable(part: Path) -> None:
    """See before any byte travels that there is a folder that takes it."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=part.parent).close()
    except OSError as error:
        raise _Unwritable from error


def _place(part: Path, path: Path) -> Path:
    try:
        os.replace(part, path)
    except OSError as error:
        raise _Unwritable from error
    return path


def _bring(url: str, part: Path, size: int | None, timeout: float) -> None:
    """Bring `part` to its full size from one server, again and again as long as each connection brings more."""
    from tqdm.auto import tqdm

    pace = _Pace()
    for _ in range(ATTEMPTS):
        have = _have(part)
        if have == size:
            return
        request = urllib.request.Request(url, headers={"User-Agent": "inception-lessons"})
        if have:
            request.add_header("Range", f"bytes={have}-")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                start, size = _offered(answer, have, size)
                with (
                    _opened(part, start) as file,
                    tqdm(total=size, initial=start, unit="B", unit_scale=True, desc=part.stem, leave=False) as progress,
                ):
                    while chunk := answer.read1(1 << 16):
                        _write(file, chunk)
                        progress.update(len(chunk))
                        pace.add(len(chunk))
        except TimeoutError:
            raise ConnectionError(f"it sent nothing for {timeout:g} s") from None
        except _TooSlow as error:
            raise ConnectionError(str(error)) from None
        except HTTPError as error:
            if error.code != 416 or size is not None or not _is_past(error.headers.get("Content-Range"), have):
                raise
            part.unlink()  # as long as the whole file, yet not it
            have = -1
        except (OSError, HTTPException):
            if _have(part) <= have:
                raise
        now = _have(part)
        if now <= have:
            break
    if _have(part) != size:
        raise ConnectionError(f"the connection broke off after {_have(part) / 1e6:.1f} MB")


def _offered(answer, have: int, size: int | None) -> tuple[int, int]:
    """An answer's head -> where its bytes begin, and how many the whole file has; ConnectionError for another file."""
    if answer.headers.get_content_type() == "text/html":
        raise ConnectionError("it offers a page and not the file")
    spread = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range") or "")
    length = answer.headers.get("Content-Length") or ""
    if answer.status == 206 and spread:
        start, last, total = map(int, spread.groups())
        right = start == have and last == total - 1
    else:  # the server does not go on from the middle
        start, total = 0, int(length) if length.isdecimal() else -1
        right = answer.status == 200 and total >= 0 and (size is not None or total > have)
    if not right or size not in (None, total):
        offered = answer.headers.get("Content-Range") or length or "it does not say how many"
        wanted = f"wanted {size}" if size is not None else f"{have} are here already"
        raise ConnectionError(f"it offers another file ({offered} bytes, {wanted})")
    return start, total


def _is_past(content_range: str | None, have: int) -> bool:
    """`bytes */1000`: is the whole file no longer than what is here?"""
    total = re.fullmatch(r"bytes \*/(\d+)", content_range or "")
    return total is not None and int(total[1]) <= have


def _opened(part: Path, start: int):
    try:
        return open(part, "ab" if start else "wb")
    except OSError as error:
        raise _Unwritable from error


def _write(file, chunk: bytes) -> None:
    try:
        file.write(chunk)
        file.flush()  # a full disk should show here, and not when the file is closed
    except OSError as error:
        raise _Unwritable from error
