"""How much memory a lesson takes: its kernel and all that the kernel starts, together and at the same moment."""

import threading

import psutil


def together(process: psutil.Process) -> int:
    """A process -> bytes that all its descendants hold at this moment, itself left out.

    What is their own is added up; what they share, the libraries mostly, is counted once. Windows and macOS do not say
    what is shared: there it is counted for each, so the sum is rather too large.
    """
    own, shared = 0, 0
    for child in process.children(recursive=True):
        try:
            found = child.memory_info()
        except psutil.Error:  # ended a moment ago
            continue
        common = getattr(found, "shared", 0)
        own, shared = own + found.rss - common, max(shared, common)
    return own + shared


class Watch:
    """``with Watch() as watch:`` looks at all that this process starts, every ``every`` seconds; then ``watch.peak`` is
    the most bytes that they held together. A peak that is over between two looks is not seen.
    """

    def __init__(self, every: float = 0.05):
        self.every, self.peak = every, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        here = psutil.Process()
        while not self._over.wait(self.every):
            self.peak = max(self.peak, together(here))

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()
