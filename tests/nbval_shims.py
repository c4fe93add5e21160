"""A pytest plug-in that makes `pytest --nbval` trustworthy. pyproject.toml loads it for every run (`-p nbval_shims`).

Left alone, nbval 0.11 passes a cell whose magic is unknown (and skips the rest of that cell), fails `plt.plot(x);`,
waits the whole time limit for a kernel that died, waits for ever for a cell that swallows its interrupt, and passes an
endless cell that is tagged both `raises-exception` and `nbval-ignore-output`. What follows mends exactly that. Where
nbval has changed so much that a mend would no longer apply, pytest stops with a sentence instead of running without it.
"""

import functools
import inspect
import shutil
import tempfile
import time
from pathlib import Path
from queue import Empty

import pytest

CELL_SECONDS = 300.0
SANITIZE = Path(__file__).with_name("nbval_sanitize.cfg")
IDLE_SECONDS = 60.0  # from a cell's reply to its last output: short anyway, and on a busy machine no reason to fail
LATE_SECONDS = 3.0  # what an interrupted cell gets to end; after that its kernel is killed

# What is replaced, and the arguments that it must still have for the replacement to mean the same.
EXPECTED = {
    ("kernel", "RunningKernel", "execute_cell_input"): ["self", "cell_input", "allow_stdin"],
    ("kernel", "RunningKernel", "await_reply"): ["self", "msg_id", "timeout"],
    ("kernel", "RunningKernel", "get_message"): ["self", "stream", "timeout"],
    ("kernel", "RunningKernel", "is_alive"): ["self"],
    ("plugin", "IPyNbFile", "get_kernel_message"): ["self", "timeout", "stream"],
    ("plugin", "IPyNbCell", "runtest"): ["self"],
    ("plugin", "IPyNbCell", "raise_cell_error"): ["self", "message", "args", "kwargs"],
}


class KernelDied(RuntimeError):
    """The process behind the notebook is gone; nothing more will come from it."""


def why_not(modules: dict) -> str:
    """{"kernel": module, "plugin": module} -> "" where every shim applies, else a sentence that names the change."""
    for (module, cls, method), wanted in EXPECTED.items():
        found = getattr(getattr(modules[module], cls, None), method, None)
        arguments = list(inspect.signature(found).parameters) if found else None
        if arguments != wanted:
            there = f"takes {arguments}" if found else "is gone"
            return (
                f"nbval has changed: {cls}.{method} {there}, and tests/nbval_shims.py wants {wanted}. "
                "Install nbval 0.11.0 or adapt the shims; without them unknown magics pass unseen."
            )
    return ""


def shimmed_kernel(base: type) -> type:
    """nbval's RunningKernel -> one that runs cells as JupyterLab does, notices its death and keeps the last reply."""

    class RunningKernel(base):
        reply = None  # content of the newest finished cell's reply
        patience = None  # the moment after which an interrupted cell is given up, though it may still be printing

        def execute_cell_input(self, cell_input, allow_stdin=None):
            self.patience = None
            # store_history=True is what a person's front end sends, and what makes a trailing `;` silence a result
            return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)

        def await_reply(self, msg_id, timeout=None):
            deadline = time.monotonic() + (CELL_SECONDS if timeout is None else timeout)
            while True:
                left = deadline - time.monotonic()
                try:
                    if left <= 0:
                        raise Empty
                    message = self.get_message("shell", timeout=left)
                except Empty:
                    self.patience = time.monotonic() + LATE_SECONDS
                    raise
                if message["parent_header"].get("msg_id") == msg_id:
                    self.reply = message["content"]
                    if message["content"]["status"] == "aborted":
                        raise RuntimeError("the kernel refused to run the cell (reply: aborted)")
                    return

        def get_message(self, stream, timeout=None):
            deadline = time.monotonic() + (CELL_SECONDS if timeout is None else timeout)
            if stream == "iopub" and self.patience:
                deadline = min(deadline, self.patience)
                if time.monotonic() > deadline:
                    raise Empty
            while True:  # in slices, so that a death is seen within a second
                alive = self.is_alive()
                slice_ = min(1.0, max(0.0, deadline - time.monotonic())) if alive else 0.2
                try:
                    return super().get_message(stream, timeout=slice_)
                except Empty:
                    if not alive:
                        raise KernelDied("the kernel died") from None
                    if time.monotonic() >= deadline:
                        raise

    return RunningKernel


def shimmed_runtest(original):
    """IPyNbCell.runtest -> one that also fails unknown magics, tagged time-outs and exceptions that are gone."""

    @functools.wraps(original)
    def runtest(self):
        kernel, late_before = self.parent.kernel, self.parent.timed_out
        kernel.reply = None
        self.output_timeout = IDLE_SECONDS
        try:
            original(self)
        except KernelDied:
            self.raise_cell_error("The kernel died while this cell ran.")
        if self.parent.timed_out and not late_before:
            self.raise_cell_error(
                f"Timeout of {self.config.option.nbval_cell_timeout:g} seconds exceeded executing cell"
            )
        if self.parent.timed_out:
            return
        if kernel.reply is None:
            pytest.exit("nbval has changed: a cell ran without passing through tests/nbval_shims.py.", returncode=3)
        raised = [output.ename for output in self.test_outputs if output.output_type == "error"]
        if kernel.reply["status"] == "error" and not raised:  # IPython prints a UsageError instead of raising it
            what = f"{kernel.reply['ename']}: {kernel.reply['evalue']}"
            self.raise_cell_error(f"{what} (the rest of the cell did not run)")
        stored = [output.ename for output in self.cell.outputs if output.output_type == "error"]
        if stored != raised and self.cell.execution_count is not None:
            self.raise_cell_error(f"The stored page shows {stored or 'no error'}, this run {raised or 'none'}")

    return runtest


def pytest_configure(config: pytest.Config) -> None:
    """Applies the shims where notebooks are run, and fills in the options that this project always wants."""
    option = config.option
    if not (getattr(option, "nbval", False) or getattr(option, "nbval_lax", False)):
        return
    import nbval.kernel
    import nbval.plugin

    if option.nbval_lax:
        raise pytest.UsageError("--nbval-lax compares no output. Use --nbval alone.")
    reason = why_not({"kernel": nbval.kernel, "plugin": nbval.plugin})
    if reason:
        raise pytest.UsageError(reason)
    patches = pytest.MonkeyPatch()
    patches.setattr(nbval.plugin, "RunningKernel", shimmed_kernel(nbval.kernel.RunningKernel))
    patches.setattr(nbval.plugin.IPyNbCell, "runtest", shimmed_runtest(nbval.plugin.IPyNbCell.runtest))
    if option.nbval_cell_timeout == 2000:  # nbval's own default
        option.nbval_cell_timeout = CELL_SECONDS
    option.nbval_sanitize_with = option.nbval_sanitize_with or str(SANITIZE)
    option.nbval_current_env = option.nbval_current_env or not option.nbval_kernel_name
    # A person's IPython start-up files must not decide the result, nor these cells fill that person's history.
    folder = tempfile.mkdtemp(prefix="nbval-ipython-")
    patches.setenv("IPYTHONDIR", folder)
    patches.delenv("MPLBACKEND", raising=False)  # a kernel that inherits one does not draw into the page
    config.add_cleanup(patches.undo)
    config.add_cleanup(functools.partial(shutil.rmtree, folder, ignore_errors=True))
