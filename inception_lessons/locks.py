"""One process at a time in one place: a lock that the system lifts when its holder ends, however it ends."""

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LEFT_BEHIND = 20.0  # seconds in which what a killed holder had started finds out, and lets go as well


@contextlib.contextmanager
def alone(lock: str | Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Within the block no other process is in a block of the same lock file; both files of it are gone afterwards.

    Where another process holds it: BlockingIOError that says which, and since when; or with ``waiting``, that is told
    so once, and the block begins when the other has ended. A holder that was killed holds nothing: the lock is the
    system's, and the file alone blocks nobody. The folder must be there. Raises OSError where nothing can be written.
    """
    from filelock import FileLock, Timeout

    lock = Path(lock)
    held, note = FileLock(lock), lock.with_suffix(".who")
    try:
        held.acquire(timeout=0)
    except Timeout:
        if waiting is not None:
            waiting(_holder(note))
            held.acquire(poll_interval=0.2)
        else:
            _outlast(held, note)
    try:
        now = time.strftime("%Y-%m-%d %H:%M")
        with contextlib.suppress(OSError):  # it is only for the sentence that another process says
            note.write_text(f"process {os.getpid()} on {platform.node()}, since {now}", encoding="utf-8")
        yield
    finally:
        for file in (note, lock):
            with contextlib.suppress(OSError):  # Windows keeps an open file, and removes it when the lock is released
                file.unlink()
        held.release()


def _holder(note: Path) -> str:
    """Who holds a lock, in words."""
    try:
        return note.read_text(encoding="utf-8") or "another process"
    except OSError:  # between its two files
        return "another process"


def _outlast(held, note: Path) -> None:
    """Take a lock whose holder is gone but left children behind; BlockingIOError for one that is alive."""
    import psutil
    from filelock import Timeout

    holder = _holder(note)
    words = holder.split()
    here = f" on {platform.node()}, " in holder and len(words) > 1 and words[1].isdecimal()
    if here and not psutil.pid_exists(int(words[1])):
        with contextlib.suppress(Timeout):
            held.acquire(timeout=LEFT_BEHIND)
            return
    raise BlockingIOError(f"in use by {holder}")
