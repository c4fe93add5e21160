"""JupyterLab in a real browser, driven as a learner drives it: open, Run All, move every control, watch its picture.

    with browser.Lab(notebooks) as lab:
        page = lab.open("01_inception_v1.ipynb")
        page.run_all()
        assert page.errors() == []
        for control in page.controls():
            assert control.faults() == []

The server works on a copy of the notebooks, listens on the loopback address alone, and keeps its settings in a
temporary folder.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOOPBACK = {"127.0.0.1", "localhost", "::1", None}  # None: data: and blob: addresses have no host
SETTINGS = {
    # every cell stands in the page, also those out of view
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
}
# kind -> the element that holds one control. A slider of a range counts as one control per handle.
CONTROLS = {
    "slider": ".widget-slider .noUi-handle",
    "dropdown": ".widget-dropdown select",
    "select": ".widget-select select, .widget-select-multiple select",
    "toggle buttons": ".widget-toggle-buttons",
    "radio buttons": ".widget-radio",
    "checkbox": ".widget-checkbox input[type=checkbox]",
    "toggle button": "button.widget-toggle-button:not(.widget-toggle-buttons button)",
    "number": ".widget-text input[type=number]",
    "text": ".widget-text input[type=text], .widget-textarea textarea",
    "play": ".widget-play",
    "button": "button.widget-button:not(.widget-toggle-buttons button, .widget-toggle-button, .widget-play button)",
}
# What a learner sees as the answer of a cell: pictures, text and HTML, but not the controls themselves, whose own
# numbers always move.
SEEN = """cell => {
  const seen = [];
  for (const node of cell.querySelectorAll('.jp-OutputArea-output img, .jp-OutputArea-output canvas'))
    seen.push(node.tagName === 'CANVAS' ? node.toDataURL() : node.src);
  const texts = '.jp-RenderedText, .jp-RenderedHTMLCommon, .jp-RenderedSVG, .widget-html-content';
  for (const node of cell.querySelectorAll('.jp-OutputArea')) for (const part of node.querySelectorAll(texts))
    seen.push(part.innerHTML);
  return JSON.stringify(seen);
}"""
CELLS = """() => jupyterapp.shell.currentWidget.content.widgets.filter(w => w.model.type === 'code').map(w => ({
  count: w.model.executionCount, tags: w.model.getMetadata('tags') || [], source: w.model.sharedModel.source,
  outputs: w.model.outputs.toJSON(),
}))"""


def find_chromium() -> str | None:
    """The path of an installed Chromium or Chrome, or None."""
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


def why_missing() -> str:
    """ "" where a browser test can run, else the sentence that says what to install."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "the package playwright is not installed (extra: tests)"
    return (
        ""
        if find_chromium()
        else f"no browser: none of {', '.join(CHROMIUM)} is on the PATH (Debian: apt-get install chromium)"
    )


def free_port() -> int:
    """A port of the loopback address that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


#: Barriers that are not ours to take down: axe's rule -> (the element, why).
EXCUSED = {
    "image-alt": (".jp-RenderedImage img", "JupyterLab 4.6 leaves a PNG's alt text in the notebook; the site shows it"),
    "aria-input-field-name": (".widget-slider .noUi-handle", "ipywidgets 8.1 names no handle after its label"),
    "button-name": (".widget-play button", "ipywidgets 8.1 gives the buttons of Play a picture and no name"),
}
SEVERE = ("serious", "critical")


def barriers(page, within: str | None = None) -> list[str]:
    """What axe says of a page that stops a reader who cannot see it or has no mouse, but for what is `EXCUSED`.

    `within` is the selector of the part that is asked about, which must be there.
    """
    from axe_playwright_python.sync_playwright import Axe

    if within and not page.locator(within).count():
        raise ValueError(f"the page has no {within} to look into")
    options = {"resultTypes": ["violations"], "preload": False}  # a page on a disk may not read its style sheets
    found = []
    for rule in Axe().run(page, context=within, options=options).response["violations"]:
        for node in rule["nodes"] if rule["impact"] in SEVERE else []:
            excused = EXCUSED.get(rule["id"])
            if excused and page.locator(node["target"][-1]).first.evaluate("(n, e) => n.matches(e)", excused[0]):
                continue
            found.append(f"{rule['id']}: {rule['help']}: {node['html'][:160]}")
    return found


class Lab:
    """A JupyterLab server on a copy of a folder of notebooks, and a browser. Everything ends with the `with` block."""

    def __init__(self, notebooks: Path, *, budget: str = "smoke", seconds: float = 60):
        self.notebooks, self.budget, self.seconds = Path(notebooks), budget, seconds
        self.token = secrets.token_hex(16)
        self.stack = contextlib.ExitStack()
        self.page = None

    def __enter__(self) -> "Lab":
        with contextlib.ExitStack() as stack:
            # the browser may still write while its profile is being removed
            self.home = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True))
            )
            self.root = self.home / "notebooks"
            shutil.copytree(self.notebooks, self.root, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
            self.start_server(stack)
            self.start_browser(stack)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error) -> None:
        self.stack.close()

    def start_server(self, stack: contextlib.ExitStack) -> None:
        """Starts `jupyter lab` with settings of its own and waits until it answers."""
        for name, settings in SETTINGS.items():
            path = self.home / "settings" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings))
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("JUPYTER", "PYTEST_", "COV_", "MPLBACKEND"))
        }
        environment |= {
            "JUPYTER_TOKEN": self.token,
            "LESSON_BUDGET": self.budget,
            "JUPYTER_PREFER_ENV_PATH": "1",
            "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", ""),
            **{
                name: str(self.home / folder)
                for name, folder in {
                    "JUPYTER_CONFIG_DIR": "config",
                    "JUPYTER_DATA_DIR": "data",
                    "JUPYTER_RUNTIME_DIR": "runtime",
                    "JUPYTERLAB_SETTINGS_DIR": "settings",
                    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
                    "IPYTHONDIR": "ipython",
                }.items()
            },
        }
        self.log = self.home / "server.log"
        for _ in range(3):  # another process may take the port first
            self.port = free_port()
            with self.log.open("wb") as log:
                server = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "jupyterlab",
                        "--no-browser",
                        "--allow-root",
                        "--ip=127.0.0.1",
                        f"--port={self.port}",
                        "--ServerApp.port_retries=0",
                        f"--ServerApp.root_dir={self.root}",
                        "--LabApp.expose_app_in_browser=True",
                        # where this process is killed, what it started ends by itself
                        "--MappingKernelManager.cull_idle_timeout=600",
                        "--MappingKernelManager.cull_interval=60",
                        "--ServerApp.shutdown_no_activity_timeout=900",
                    ],
                    env=environment,
                    cwd=self.root,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=os.name != "nt",
                )
            if self.answers(server):
                stack.callback(self.stop_server, server)
                return
            self.stop_server(server)
        raise RuntimeError(f"JupyterLab did not start. Its last lines:\n{self.log.read_text(errors='replace')[-2000:]}")

    def answers(self, server: subprocess.Popen) -> bool:
        """Waits for the server; False where it ended or stayed silent."""
        deadline = time.monotonic() + self.seconds
        while server.poll() is None and time.monotonic() < deadline:
            try:
                self.ask("/api/status")
                return True
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        return False

    def ask(self, path: str, method: str = "GET"):
        """One request to the server's API; its JSON, or None."""
        request = urllib.request.Request(
            f"{self.base}{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop_server(self, server: subprocess.Popen) -> None:
        """Ends kernels, then the server, politely first."""
        with contextlib.suppress(OSError):
            self.end_kernels()
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def end_kernels(self) -> None:
        """A kernel outlives its page, and would share the machine with the next one."""
        for session in self.ask("/api/sessions"):
            self.ask(f"/api/sessions/{session['id']}", "DELETE")

    def start_browser(self, stack: contextlib.ExitStack) -> None:
        """A Chromium with an empty profile."""
        from playwright.sync_api import sync_playwright

        driver = stack.enter_context(sync_playwright())
        self.context = driver.chromium.launch_persistent_context(
            str(self.home / "profile"),
            executable_path=find_chromium(),
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 900},
        )
        stack.callback(self.context.close)

    def open(self, notebook: str) -> "NotebookPage":
        """Opens a notebook (its path below the folder) with a kernel of its own; what was open before is closed."""
        if self.page:
            self.page.page.close()
        self.end_kernels()
        self.page = NotebookPage(self, notebook)
        return self.page


class NotebookPage:
    """One open notebook. Code cells are counted from 1, as the reader sees them."""

    def __init__(self, lab: Lab, notebook: str):
        self.lab, self.notebook = lab, notebook
        self.complaints: list[str] = []
        self.page = lab.context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on(
            "console", lambda message: message.type == "error" and self.complaints.append(f"console: {message.text}")
        )
        self.page.on("pageerror", lambda error: self.complaints.append(f"page: {error}"))
        self.page.on("request", self.saw_request)
        self.page.on("requestfailed", self.saw_failure)
        self.page.goto(f"{lab.base}/lab/tree/{quote(notebook)}?token={lab.token}&reset")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        # without this Run All can come before the kernel, and a dialog that asks for one blocks everything
        self.evaluate(
            """async () => { const w = jupyterapp.shell.currentWidget;
                         await w.context.ready; await w.context.sessionContext.ready; }""",
            60,
        )
        self.page.locator(".jp-SideBar .lm-mod-current[data-id=filebrowser]").click()  # room for the notebook

    def saw_request(self, request) -> None:
        if urlsplit(request.url).hostname not in LOOPBACK:
            self.complaints.append(f"request to another machine: {request.url}")

    def saw_failure(self, request) -> None:
        if "ERR_ABORTED" not in (request.failure or ""):  # a page that is left aborts its own requests
            self.complaints.append(f"failed request: {request.url.split('?')[0]} ({request.failure})")

    def evaluate(self, script: str, seconds: float):
        """Runs an async JavaScript function in the page, for at most so long (Playwright itself sets no limit)."""
        late = f"() => no(new Error('no answer within {seconds:g} s'))"
        limit = f"new Promise((_, no) => setTimeout({late}, {seconds * 1000:.0f}))"
        return self.page.evaluate(f"() => Promise.race([({script})(), {limit}])")

    def run_all(self, seconds: float = 300) -> bool:
        """Runs every cell as the menu does, until the kernel is idle; False where one failed that does not promise to.

        JupyterLab itself answers at the first error, also at a promised one, after which it runs on.
        """
        deadline = time.monotonic() + seconds
        self.evaluate("async () => await jupyterapp.commands.execute('notebook:run-all-cells')", seconds)
        while True:
            self.settle(seconds)
            cells = self.cells()
            failed = any(
                output["output_type"] == "error" and "raises-exception" not in cell["tags"]
                for cell in cells
                for output in cell["outputs"]
            )
            if failed or all(cell["count"] for cell in cells) or time.monotonic() > deadline:
                return not failed

    def cells(self) -> list[dict]:
        """What the page holds of each code cell: count, tags, source, outputs."""
        return self.page.evaluate(CELLS)

    def cell(self, count: int):
        """Code cell `count` as a Playwright locator."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell").nth(count - 1)

    def seen(self, count: int) -> str:
        """The pictures, text and HTML that a cell shows at this moment."""
        return self.cell(count).evaluate(SEEN)

    def settle(self, seconds: float = 30) -> None:
        """Waits until the kernel is idle and no cell has changed for a moment."""
        look = "[...document.querySelectorAll('.jp-CodeCell')].map(" + SEEN + ").join()"
        state = f"() => [jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status, {look}]"
        deadline, before, still = time.monotonic() + seconds, None, 0
        while still < 2:
            now = self.page.evaluate(state)
            still = still + 1 if now == before and now[0] == "idle" else 0
            before = now
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.notebook} was not at rest after {seconds:g} s (kernel: {now[0]})")
            self.page.wait_for_timeout(100)

    def errors(self) -> list[str]:
        """Everything that is wrong after a run: cells not run, errors, dead widgets, the browser's own complaints."""
        found = list(self.complaints)
        for number, cell in enumerate(self.cells(), 1):
            if cell["count"] != number:
                found.append(f"code cell {number} has the number {cell['count']}: it did not run in its turn")
            for output in cell["outputs"]:
                if output["output_type"] == "error" and "raises-exception" not in cell["tags"]:
                    found.append(f"code cell {number}: {output['ename']}: {output['evalue']}")
        for text in self.page.locator(".jp-OutputArea-output").all_inner_texts():
            if "Error displaying widget" in text or "model not found" in text:
                found.append(f"a widget does not show: {text[:200]}")
        dialog = self.page.locator(".jp-Dialog")
        if dialog.count():
            found.append(f"a dialog is open: {dialog.first.inner_text()[:200]}")
        return found

    def pictures_without_alt(self, length: int = 20) -> list[str]:
        """Figures whose alt text is missing or shorter.

        JupyterLab 4.6 leaves a PNG's alt text in the output's metadata and gives its <img> none, so there the metadata
        is asked; every other <img> must carry its own.
        """
        found = []
        for number, cell in enumerate(self.cells(), 1):
            for output in cell["outputs"]:
                for mime in (m for m in output.get("data", {}) if m in ("image/png", "image/jpeg", "image/svg+xml")):
                    metadata = output.get("metadata", {})
                    alt = metadata.get(mime, {}).get("alt") or metadata.get("alt") or ""
                    if len(alt.strip()) < length:
                        found.append(f"code cell {number}: a figure with alt text {alt!r}")
        others = ".jp-RenderedHTMLCommon img, .widget-html-content img"
        for alt, source in self.page.eval_on_selector_all(others, "all => all.map(i => [i.alt, i.src.slice(0, 80)])"):
            if len(alt.strip()) < (length if source.startswith("data:") else 1) or alt == "Image":
                found.append(f"a picture in text has alt text {alt!r}: {source}")
        return found

    def controls(self, count: int | None = None) -> list["Control"]:
        """Every control that is shown below a code cell (or below all of them)."""
        numbers = range(1, len(self.cells()) + 1) if count is None else [count]
        return [
            Control(self, number, kind, index)
            for number in numbers
            for kind, selector in CONTROLS.items()
            for index in range(self.cell(number).locator(f".jp-OutputArea :is({selector})").count())
        ]

    def unknown_controls(self) -> list[str]:
        """Things to move that `controls` does not know; without this a new kind of widget would go untested."""
        known = ", ".join(f"{selector}" for selector in CONTROLS.values())
        return self.page.eval_on_selector_all(
            ".jp-OutputArea .jupyter-widgets :is(input, select, textarea, button, [role=slider])",
            """(all, known) => all.filter(node => !node.closest(known) && !node.querySelector(known))
                    .map(node => `a control that tests/browser.py cannot move: ${node.outerHTML.slice(0, 120)}`)""",
            known,
        )

    def cut_labels(self) -> list[str]:
        """Labels of controls that end in dots, because there is no room for the whole."""
        return self.page.eval_on_selector_all(
            ".jp-OutputArea .jupyter-widgets .widget-label",
            """all => all.filter(node => node.scrollWidth > node.clientWidth)
                    .map(node => `the label ${JSON.stringify(node.textContent)} is cut off`)""",
        )

    def barriers(self) -> list[str]:
        """What axe says of the cells' outputs, widgets included; JupyterLab's own frame is not asked about."""
        return barriers(self.page, ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output")

    def tabbed(self, count: int) -> list["Control"]:
        """The controls of a code cell that Tab alone comes to, in its order, and on which the focus can be seen."""
        controls = self.controls(count)
        self.cell(count).locator(".jp-InputPrompt").click()  # the cell is chosen, as by arrow keys, and not edited
        found = []
        for _ in range(20 + 4 * len(controls)):
            self.page.keyboard.press("Tab")
            here = [c for c in controls if c.node.evaluate("node => node.contains(document.activeElement)")]
            if here and here[0] not in found and here[0].shows_focus():
                found += here[:1]
        return found

    def screenshot(self, path: Path) -> None:
        """The whole notebook as one picture, however long."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.locator(".jp-WindowedPanel-outer").last.evaluate("node => { node.scrollTop = 0; }")
        bottom = self.page.locator(".jp-Cell").last.evaluate("node => node.getBoundingClientRect().bottom")
        self.page.set_viewport_size({"width": 1280, "height": int(min(max(bottom + 60, 900), 15_000))})
        self.page.wait_for_timeout(300)
        self.page.screenshot(path=str(path))
        self.page.set_viewport_size({"width": 1280, "height": 900})


class Control:
    """One control of a cell. `mouse()` and `keyboard()` change it once each, as a person would."""

    def __init__(self, page: NotebookPage, cell: int, kind: str, index: int):
        self.page, self.number, self.kind = page, cell, kind
        self.node = page.cell(cell).locator(f".jp-OutputArea :is({CONTROLS[kind]})").nth(index)
        self.name = self.node.evaluate("""node => {
            const label = node.closest('.jupyter-widgets')?.querySelector('.widget-label');
            const words = label?.textContent || node.getAttribute('aria-label') || node.textContent || '';
            return words.replace(/[\\s\\u200b]+/g, ' ').trim().slice(0, 40);
        }""")

    def __str__(self):
        return f"code cell {self.number}, {self.kind} {self.name!r}"

    def shows_focus(self) -> bool:
        """Whether this control, which has the focus, looks different without it. The focus stays where it is."""
        box = self.node.bounding_box()
        around = {"x": box["x"] - 6, "y": box["y"] - 6, "width": box["width"] + 12, "height": box["height"] + 12}
        self.page.page.mouse.move(0, 0)  # a pointer above it would change its look too
        self.page.page.wait_for_timeout(300)
        focused = self.page.page.screenshot(clip=around, caret="hide")
        active = self.page.page.evaluate_handle("document.activeElement")
        active.evaluate("node => node.blur()")
        self.page.page.wait_for_timeout(300)
        without = self.page.page.screenshot(clip=around, caret="hide")
        active.evaluate("node => node.focus({preventScroll: true, focusVisible: true})")
        return focused != without

    def faults(self, seconds: float = 15) -> list[str]:
        """Changes it by mouse and by keyboard; a sentence for each time that nothing in its cell changed."""
        if self.node.evaluate("node => !!(node.disabled || node.closest('[disabled]'))"):
            return []  # somebody meant it so
        if not self.node.is_visible():
            return [f"{self}: hidden, so nobody can move it"]
        found = []
        for way in (self.mouse, self.keyboard):
            self.page.settle()
            before = self.page.seen(self.number)
            try:
                way()
            except Exception as error:  # a control that cannot be reached is a fault of the page, with its name
                found.append(f"{self}: could not be moved by {way.__name__}: {str(error).splitlines()[0]}")
                continue
            if not self.changes(before, seconds):
                found.append(f"{self}: moved by {way.__name__}, and no picture or text of its cell changed")
        return found

    def changes(self, before: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.page.seen(self.number) != before:
                return True
            self.page.page.wait_for_timeout(100)
        return False

    def mouse(self) -> None:
        """One change with the mouse."""
        self.node.scroll_into_view_if_needed()
        self.by("mouse")

    def keyboard(self) -> None:
        """One change with the keyboard."""
        self.node.scroll_into_view_if_needed()
        self.by("keyboard")

    def by(self, way: str) -> None:
        actions: dict[str, tuple[Callable, Callable]] = {
            "slider": (self.drag, self.arrow),
            "dropdown": (self.choose, self.choose_in_list),
            "select": (self.click_option, self.choose_by_end),
            "toggle buttons": (self.click_other, self.press_other),
            "radio buttons": (self.click_other, self.press_other),
            "checkbox": (self.click, self.space),
            "toggle button": (self.click, self.space),
            "button": (self.click, self.space),
            "number": (self.spin, self.type_number),
            "text": (self.paste, self.type_text),
            "play": (self.play, self.play_by_key),
        }
        actions[self.kind][way == "keyboard"]()

    def keys(self, *names: str) -> None:
        for name in names:
            self.page.page.keyboard.press(name)

    def value(self, attribute: str) -> float:
        return float(self.node.get_attribute(attribute) or 0)

    def drag(self) -> None:
        """Drags the handle to the middle of the wider part of its track."""
        track = self.node.evaluate(
            "node => { const r = node.closest('.noUi-base').getBoundingClientRect(); "
            "return [r.x, r.y, r.width, r.height]; }"
        )
        box, mouse = self.node.bounding_box(), self.page.page.mouse
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        left, top, width, height = track
        upright = height > width
        place = (top + height - y) / height if upright else (x - left) / width
        goal = place / 2 if place > 0.5 else (1 + place) / 2
        end = (x, top + height * (1 - goal)) if upright else (left + width * goal, y)
        mouse.move(x, y)
        mouse.down()
        mouse.move(*end, steps=5)
        mouse.up()

    def arrow(self) -> None:
        self.node.focus()
        self.keys("ArrowLeft" if self.value("aria-valuenow") >= self.value("aria-valuemax") else "ArrowRight")

    def other_option(self) -> int:
        chosen, count = self.node.evaluate("node => [node.selectedIndex, node.options.length]")
        return chosen + 1 if chosen + 1 < count else chosen - 1

    def choose(self) -> None:
        """The browser draws a list of its own, out of reach; this is what a click in it does."""
        self.node.select_option(index=self.other_option())

    def click_option(self) -> None:
        self.node.locator("option").nth(self.other_option()).click()

    def choose_in_list(self) -> None:
        """Opens the list first: JupyterLab takes an arrow key on a closed one for a walk through the cells."""
        down = self.node.evaluate("node => node.selectedIndex + 1 < node.options.length")
        self.node.focus()
        self.keys("Space", "ArrowDown" if down else "ArrowUp", "Enter")

    def choose_by_end(self) -> None:
        """The keys that JupyterLab leaves to a list which is always open."""
        last = self.node.evaluate("node => node.selectedIndex + 1 === node.options.length")
        self.node.focus()
        self.keys("Home" if last else "End")

    def other(self):
        choices = self.node.locator("button, input")
        return next(
            choices.nth(k)
            for k in range(choices.count())
            if not choices.nth(k).evaluate("node => node.checked || node.classList.contains('mod-active')")
        )

    def click_other(self) -> None:
        self.other().click()

    def press_other(self) -> None:
        self.other().focus()
        self.keys("Space")

    def click(self) -> None:
        self.node.click()

    def space(self) -> None:
        self.node.focus()
        self.keys("Space")

    def spin(self) -> None:
        """Clicks one of the two arrows at the right end of a number."""
        box = self.node.bounding_box()
        full = self.node.get_attribute("max") not in (None, "") and float(self.node.input_value()) >= self.value("max")
        self.node.hover()
        self.page.page.mouse.click(box["x"] + box["width"] - 8, box["y"] + box["height"] * (0.75 if full else 0.25))

    def type_number(self) -> None:
        now = float(self.node.input_value())
        step = float(self.node.get_attribute("step") or 1) if self.node.get_attribute("step") != "any" else 1.0
        top = self.node.get_attribute("max")
        new = now - step if top not in (None, "") and now + step > float(top) else now + step
        self.node.focus()
        self.keys("Control+A")
        self.page.page.keyboard.type(f"{new:g}")
        self.keys("Enter")

    def paste(self) -> None:
        """A mouse writes no text: a click puts the caret, then one letter."""
        self.node.click()
        self.page.page.keyboard.type("a")
        self.keys("Tab")

    def type_text(self) -> None:
        self.node.focus()
        self.page.page.keyboard.type("b")
        self.keys("Enter", "Tab")

    def play(self) -> None:
        self.node.locator("button").first.click()
        self.page.page.wait_for_timeout(600)
        self.node.locator("button").first.click()

    def play_by_key(self) -> None:
        self.node.locator("button").first.focus()
        self.keys("Enter")
        self.page.page.wait_for_timeout(600)
        self.keys("Enter")
