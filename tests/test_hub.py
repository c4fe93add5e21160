"""A class on one machine, for real: the hub of notebooks/assignments/hub starts, an assignment goes out and comes back.

Only who checks passwords, and whose account a server runs in, are replaced: ``TRIAL`` loads the hub's own file and then
says so. All that listens does so on 127.0.0.1, at ports that were free.
"""

import contextlib
import importlib
import json
import os
import re
import runpy
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from traitlets.config.loader import Config, PyFileConfigLoader

HUB = Path(__file__).resolve().parent.parent / "notebooks" / "assignments" / "hub"
STUDENT, INSTRUCTOR, STRUCK_OFF = "ada", "grace", "mallory"
PATIENCE = 300  # seconds for a server to answer or a command to end; usually it takes three
BAD = "<script>alert(1)</script><img src=x onerror=alert(2)><iframe src=x></iframe><a href='javascript:alert(4)'>a</a>"
SHOW = 'display(HTML("<b>bold</b><script>alert(3)</script><img src=x onerror=alert(2)>"), Javascript("alert(5)"))'
TRIAL = """
import os
from jupyterhub.spawner import SimpleLocalProcessSpawner

load_subconfig(os.environ["TRIAL_OF"])
c = get_config()

class Trial(c.JupyterHub.spawner_class, SimpleLocalProcessSpawner):
    "The course's spawner, but each user is a folder and not an account."

c.JupyterHub.spawner_class = Trial
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ["TRIAL_PASSWORD"]
if os.getuid() == 0:
    c.Spawner.args = [*c.Spawner.args, "--allow-root"]
c.SimpleLocalProcessSpawner.home_dir_template = os.environ["TRIAL_HOMES"] + "/{username}"
c.JupyterHub.hub_port = int(os.environ["TRIAL_HUB_PORT"])
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:" + os.environ["TRIAL_API_PORT"]
"""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_for(what: str, ask, seconds: float = PATIENCE):
    """The first true answer of ``ask``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} seconds in vain for {what}")


@contextlib.contextmanager
def telling(log: Path):
    """Adds to an error what the hub has written last."""
    try:
        yield
    except BaseException as error:
        lines = log.read_text(errors="replace").splitlines()
        error.add_note("\n".join(["The hub's log:", *lines[-80:]]))
        raise


def settings(folder: Path) -> dict[str, str]:
    """Environment variables that the hub's file is content with; makes the exchange."""
    exchange = folder / "exchange"
    exchange.mkdir(exist_ok=True)
    exchange.chmod(0o1777)
    return {
        "INCEPTION_EXCHANGE": str(exchange),
        "INCEPTION_HUB_STATE": str(folder / "state"),
        "INCEPTION_INSTRUCTORS": INSTRUCTOR,
        "INCEPTION_STUDENTS": f"{STUDENT}, @a-group",
    }


class Hub:
    """A running hub in a folder of its own, and what a browser and an instructor's terminal do with it."""

    def __init__(self, folder: Path, **changes: str):
        self.folder, self.password, self.log = folder, secrets.token_urlsafe(20), folder / "hub.log"
        port, hub_port, api_port = free_ports(3)
        self.url = f"http://127.0.0.1:{port}"
        (folder / "homes").mkdir(exist_ok=True)
        (folder / "trial.py").write_text(TRIAL)
        foreign = re.compile("INCEPTION_|JUPYTER|CONFIGPROXY")
        kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
        here = str(Path(sys.executable).parent)
        environment = kept | settings(folder) | {
            "INCEPTION_HUB_URL": self.url,
            "INCEPTION_MEMORY": "3G",
            "INCEPTION_CPUS": "1",
            "INCEPTION_IDLE_MINUTES": "30",
            "TRIAL_OF": str(HUB / "jupyterhub_config.py"),
            "TRIAL_PASSWORD": self.password,
            "TRIAL_HOMES": str(folder / "homes"),
            "TRIAL_HUB_PORT": str(hub_port),
            "TRIAL_API_PORT": str(api_port),
            "PATH": os.pathsep.join([here, os.environ.get("PATH", os.defpath)]),
        } | changes  # fmt: skip
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(folder / "trial.py")],
                cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> "Hub":
        try:
            with telling(self.log):
                wait_for("the hub", self.up)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def up(self) -> bool:
        assert self.process.poll() is None, "the hub ended"
        with contextlib.suppress(self.requests.ConnectionError):
            return self.requests.get(self.url + "/hub/health", timeout=10).ok
        return False

    @property
    def requests(self):
        return importlib.import_module("requests")

    def family(self) -> list:
        """The hub, its proxy, the servers and all that they started."""
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def stop(self) -> None:
        """End every process, also where the hub no longer answers."""
        import psutil

        family = self.family()
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(20)
        left = psutil.wait_procs(family, timeout=20)[1]
        assert not left, f"still running: {left}"

    def home(self, user: str) -> Path:
        return self.folder / "homes" / user

    def log_in(self, user: str, password: str | None = None):
        """A browser after the form was sent, and the answer to it."""
        browser = self.requests.Session()
        browser.get(self.url + "/hub/login", timeout=30)
        form = {"username": user, "password": self.password if password is None else password, "_xsrf": token(browser)}
        return browser, browser.post(self.url + "/hub/login", data=form, timeout=30, allow_redirects=False)

    def spawn(self, user: str) -> "Server":
        browser, answer = self.log_in(user)
        assert answer.status_code == 302, answer.text
        browser.get(f"{self.url}/hub/spawn/{user}", timeout=30)
        server = Server(self, user, browser)
        with telling(self.log):
            wait_for(f"{user}'s server", lambda: server.get("lab").url.startswith(self.url + server.path))
        return server


def token(browser, path: str = "/hub/") -> str:
    """The value that a form must send along: the page's own cookie."""
    return next(cookie.value for cookie in browser.cookies if cookie.name == "_xsrf" and cookie.path == path)


class Server:
    """A user's server, as the pages of JupyterLab in that user's browser reach it."""

    def __init__(self, hub: Hub, user: str, browser):
        self.hub, self.user, self.browser, self.path = hub, user, browser, f"/user/{user}/"

    def get(self, path: str, **options):
        return self.browser.get(self.hub.url + self.path + path, timeout=60, **options)

    def post(self, path: str, **fields):
        headers = {"X-XSRFToken": token(self.browser, self.path)}
        return self.browser.post(self.hub.url + self.path + path, data=fields, headers=headers, timeout=60)

    def process(self):
        (found,) = [each for each in self.hub.family() if each.environ().get("JUPYTERHUB_USER") == self.user
                    and "jupyterhub-singleuser" in " ".join(each.cmdline())]  # fmt: skip
        return found

    def lab(self) -> set[str]:
        """The parts of nbgrader that JupyterLab's page is told to leave out."""
        page = self.get("lab").text
        disabled = re.search(r'"disabledExtensions": (\[[^]]*\]|\{[^}]*\})', page)
        assert '"federated_extensions"' in page and "@jupyter/nbgrader" in page, page[:2000]
        return set(re.findall(r"@jupyter/nbgrader:([\w-]+)", disabled.group(1))) if disabled else set()

    def cell(self, code: str) -> str:
        """What a notebook's cell prints, run as a page runs it: over a websocket."""
        import websocket

        headers = {"X-XSRFToken": token(self.browser, self.path)}
        made = self.browser.post(self.hub.url + self.path + "api/kernels", json={}, headers=headers, timeout=60)
        assert made.ok, made.text
        address = f"{self.hub.url.replace('http', 'ws', 1)}{self.path}api/kernels/{made.json()['id']}/channels"
        sent = [cookie for cookie in self.browser.cookies if self.path.startswith(cookie.path)]
        sent.sort(key=lambda cookie: -len(cookie.path))  # as a browser does: the nearest first
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in sent)
        line = websocket.create_connection(address, cookie=cookies, timeout=PATIENCE)
        with contextlib.closing(line):
            header = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "1", "version": "5.3"}
            content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}}
            message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
            line.send(json.dumps(message))
            said = ""
            while True:
                reply = json.loads(line.recv())
                if reply["parent_header"].get("msg_id") == "1":
                    said += reply["content"].get("text", "")
                    assert reply["msg_type"] != "error", reply["content"]
                    if reply["content"].get("execution_state") == "idle":
                        return said

    def terminal(self, *command: str) -> str:
        """What a command says in a terminal of this server."""
        done = subprocess.run(
            command, env=self.process().environ(), cwd=self.hub.home(self.user), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def installed():
    if sys.platform == "win32":
        pytest.skip("neither JupyterHub nor nbgrader's exchange runs on Windows")
    try:
        for name in ("jupyterhub", "nbgrader", "psutil", "requests", "websocket"):
            importlib.import_module(name)
    except ImportError as error:
        import peers  # slow to load, as it brings torch

        peers.absent(f"the hub (extras: hub, course) cannot be tested: {error}")


@pytest.fixture(scope="module")
def hub(installed, tmp_path_factory):
    with Hub(tmp_path_factory.mktemp("hub")) as started:
        yield started


@pytest.fixture
def log(hub):
    """Where a test fails, pytest shows what the hub wrote meanwhile."""
    before = hub.log.stat().st_size
    yield
    print(hub.log.read_bytes()[before:].decode(errors="replace"))


@pytest.fixture(scope="module")
def student(hub):
    return hub.spawn(STUDENT)


@pytest.fixture(scope="module")
def instructor(hub):
    return hub.spawn(INSTRUCTOR)


# --- who comes in ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("log")
def test_a_stranger_is_sent_to_the_login(hub):
    for path in ("/", "/hub/home", "/hub/spawn", "/hub/admin", f"/user/{STUDENT}/lab"):
        answer = hub.requests.get(hub.url + path, timeout=30)
        assert answer.url.startswith(hub.url + "/hub/login"), f"{path} led to {answer.url}"
    assert hub.requests.get(hub.url + "/hub/api/users", timeout=30).status_code == 403


@pytest.mark.usefixtures("log")
def test_only_the_right_password_of_a_listed_user_opens(hub):
    wrong = [(user, password) for user in (STUDENT, INSTRUCTOR) for password in ("wrong", "")]
    for user, password in [*wrong, (STRUCK_OFF, None), ("root", None)]:
        browser, answer = hub.log_in(user, password)
        assert answer.status_code == 403, f"{user}, {password}: {answer.status_code}"
        assert browser.get(hub.url + "/hub/home", timeout=30).url.startswith(hub.url + "/hub/login")
    browser, answer = hub.log_in(STUDENT)
    assert answer.status_code == 302 and browser.get(hub.url + "/hub/home", timeout=30).url == hub.url + "/hub/home"


@pytest.mark.usefixtures("log")
def test_all_listen_on_this_machine_alone(hub, student):
    listening = [socket.laddr for process in hub.family() for socket in process.net_connections("inet")
                 if socket.status == "LISTEN"]  # fmt: skip
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}, listening
    assert len({address.port for address in listening}) >= 4, "the hub, the proxy's two, the student's server"


@pytest.mark.usefixtures("log")
def test_secrets_are_the_hubs_own(hub):
    state = hub.folder / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {"cookie_secret", "jupyterhub.sqlite"} <= {path.name for path in state.iterdir()}


@pytest.mark.usefixtures("installed")
def test_who_is_struck_off_gets_no_server_from_an_open_page(tmp_path):
    with Hub(tmp_path, INCEPTION_STUDENTS=STRUCK_OFF) as before:
        browser, answer = before.log_in(STRUCK_OFF)
        assert answer.status_code == 302
    with Hub(tmp_path) as after, telling(after.log):
        assert browser.get(after.url + "/hub/home", timeout=60).url == after.url + "/hub/home", "the page is still open"
        browser.get(f"{after.url}/hub/spawn/{STRUCK_OFF}", timeout=60)
        wait_for("the refusal", lambda: f"{STRUCK_OFF} is no longer in the course" in after.log.read_text())
        assert not any("singleuser" in " ".join(process.cmdline()) for process in after.family())


# --- what a server offers --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("log")
def test_a_student_has_assignments_and_nothing_of_the_instructors(hub, student):
    assert student.lab() == {"course-list", "create-assignment", "formgrader"}
    assert student.get("assignments", params={"course_id": "inception"}).json()["success"]
    assert student.get("formgrader/").status_code == 404
    assert student.get("formgrader/api/assignments").status_code == 404
    assert student.browser.get(hub.url + "/hub/admin", timeout=30).status_code == 403


@pytest.mark.usefixtures("log")
def test_nobody_enters_another_ones_server(hub, student, instructor):
    for one, other in [(student, instructor), (instructor, student)]:
        assert one.get("api/contents").json()["type"] == "directory"
        for path in ("lab", "api/contents"):
            assert one.browser.get(f"{hub.url}{other.path}{path}", timeout=30).status_code in (403, 404)


@pytest.mark.usefixtures("log")
def test_an_instructor_grades_and_sees_the_class(hub, instructor):
    assert instructor.lab() == {"course-list"}
    assert "nbgrader" in instructor.get("formgrader/").text
    assert instructor.get("formgrader/api/assignments").json() is not None
    assert instructor.browser.get(hub.url + "/hub/admin", timeout=30).status_code == 200
    seen = instructor.browser.get(hub.url + "/hub/api/users", timeout=30)
    assert STUDENT in [user["name"] for user in seen.json()]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone holds these limits")
@pytest.mark.usefixtures("log")
def test_a_server_has_its_limits(student):
    """A cell feels them. It also goes through the proxy's websocket and runs in the course's own Python."""
    said = student.cell("""
import os, sys
from ipykernel import get_connection_info
print(len(os.sched_getaffinity(0)), "processor,", sys.prefix)
print("encrypted" if "curve_secretkey" in get_connection_info(unpack=True) else "every user of the machine can listen")
try:
    bytearray(4 * 2**30)
except MemoryError:
    print("no room")
""")
    assert said == f"1 processor, {sys.prefix}\nencrypted\nno room\n"
    assert "--ServerApp.shutdown_no_activity_timeout=1800" in student.process().cmdline()


# --- an assignment's way ---------------------------------------------------------------------------------------------


def tiny() -> nbformat.NotebookNode:
    """A master with one answer to write and one test of it."""

    def marked(cell, name, **what):
        about = dict.fromkeys(("locked", "solution", "grade", "task"), False) | {"schema_version": 3, "grade_id": name}
        cell["metadata"]["nbgrader"] = about | what
        return cell

    answer = "def twice(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    cells = [
        new_markdown_cell("# Tiny"),
        marked(new_code_cell(answer), "twice", solution=True),
        marked(new_code_cell("assert twice(3) == 6"), "twice_test", grade=True, locked=True, points=1),
    ]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.mark.usefixtures("log")
def test_an_assignment_goes_to_a_student_and_back(hub, student, instructor):
    course = hub.home(INSTRUCTOR) / "inception_course"
    (course / "source" / "tiny").mkdir(parents=True)
    nbformat.write(tiny(), course / "source" / "tiny" / "tiny.ipynb")
    instructor.terminal("nbgrader", "generate_assignment", "tiny")
    instructor.terminal("nbgrader", "release_assignment", "tiny")
    assert [each["name"] for each in instructor.get("formgrader/api/assignments").json()] == ["tiny"]

    def listed():
        answer = student.get("assignments", params={"course_id": "inception"}).json()
        assert answer["success"], answer
        return [(each["assignment_id"], each["status"]) for each in answer["value"]]

    assert student.get("courses").json()["value"] == ["inception"]
    assert listed() == [("tiny", "released")]
    fetched = student.post("assignments/fetch", course_id="inception", assignment_id="tiny")
    assert fetched.json()["success"] and listed() == [("tiny", "fetched")]
    notebook = hub.home(STUDENT) / "inception" / "tiny" / "tiny.ipynb"
    text = notebook.read_text()
    assert "YOUR CODE HERE" in text and "return 2 * x" not in text

    mark = secrets.token_hex(8)
    written = nbformat.read(notebook, as_version=4)
    written.cells[1].source = f"def twice(x):\n    return x + x  # {mark}"
    written.cells.append(new_markdown_cell(f"## Before\n{BAD}\n\nafter"))
    written.cells.append(new_code_cell(f"from IPython.display import HTML, Javascript\n{SHOW}"))
    nbformat.write(written, notebook)
    sent = notebook.read_bytes()
    submitted = student.post("assignments/submit", course_id="inception", assignment_id="tiny").json()
    assert submitted["success"] and ("tiny", "submitted") in listed()
    inbound = hub.folder / "exchange" / "inception" / "inbound"
    assert stat.S_IMODE(inbound.stat().st_mode) & 0o777 == 0o733, "students could list what others handed in"
    notebook.write_text(text)  # what is done after that is not part of what was sent

    instructor.terminal("nbgrader", "collect", "tiny")
    assert [path.name for path in (course / "submitted").iterdir()] == [STUDENT]
    arrived = course / "submitted" / STUDENT / "tiny" / "tiny.ipynb"
    assert arrived.read_bytes() == sent and mark.encode() in sent

    instructor.terminal("nbgrader", "autograde", "tiny")
    (graded,) = instructor.get("formgrader/api/submissions/tiny").json()
    assert (graded["student"], graded["score"], graded["max_score"]) == (STUDENT, 1, 1)
    (shown,) = instructor.get("formgrader/api/submitted_notebooks/tiny/tiny").json()
    page = instructor.get(f"formgrader/submissions/{shown['id']}/").text
    assert re.search(r"<h2[^>]*>Before", page) and "<p>after</p>" in page and mark in page
    assert "<b>bold</b>" in page and page.count("alert(3)") >= 2, "the code and what it showed"
    ran = re.search(r"<script[^>]*>\s*alert|<[^>]*onerror=|<iframe|href=.javascript", page)
    assert not ran, f"a student's script would run in this page: {page[ran.start() - 200 : ran.end() + 200]}"


# --- settings that are wrong -----------------------------------------------------------------------------------------


@pytest.fixture
def load(installed, tmp_path, monkeypatch):
    """Reads the hub's file under its settings, some of them changed -> the configuration."""
    for name in [name for name in os.environ if name.startswith("INCEPTION_")]:
        monkeypatch.delenv(name)
    for name, value in settings(tmp_path).items():
        monkeypatch.setenv(name, value)

    def load(**changes):
        for name, value in changes.items():
            monkeypatch.setenv(f"INCEPTION_{name}", value)
        return PyFileConfigLoader(str(HUB / "jupyterhub_config.py")).load_config()

    return load


def test_what_holds_unless_set(load):
    read = load()
    assert read.JupyterHub.bind_url == "http://127.0.0.1:8000" and read.JupyterHub.authenticator_class == "pam"
    assert read.Authenticator.allowed_users == {STUDENT, INSTRUCTOR}
    assert read.LocalAuthenticator.allowed_groups == {"a-group"}
    assert not read.Authenticator.admin_users and not read.Authenticator.allow_existing_users
    assert "allow_all" not in read.Authenticator and "args" not in read.Spawner
    assert "tornado_settings" not in read.JupyterHub
    read = load(HUB_PUBLIC_URL="https://hub.school.example")
    assert read.JupyterHub.tornado_settings["cookie_options"]["secure"]
    assert read.JupyterHub.bind_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"EXCHANGE": ""}, "INCEPTION_EXCHANGE is not set"),
        ({"EXCHANGE": "exchange"}, "begins with /"),
        ({"EXCHANGE": "/no/such/folder"}, "/no/such/folder .* is not a folder; make it with: install -d -m 1777"),
        ({"INSTRUCTORS": " "}, "INCEPTION_INSTRUCTORS is not set"),
        ({"INSTRUCTORS": "@teachers"}, "names the group @teachers"),
        ({"INSTRUCTORS": "Ada"}, "ada is in INCEPTION_STUDENTS and in"),
        ({"STUDENTS": ""}, "INCEPTION_STUDENTS is not set"),
        ({"HUB_AUTHENTICATOR": "dummy"}, "checks no password"),
        ({"HUB_AUTHENTICATOR": "jupyterhub.auth.NullAuthenticator"}, "checks no password"),
        ({"HUB_URL": "http://0.0.0.0:8000"}, "in the clear; https:// is wanted"),
        ({"HUB_URL": "http://:8000"}, "something like https"),
        ({"HUB_URL": "http://school.example:80"}, "in the clear"),
        ({"HUB_URL": "127.0.0.1:8000"}, "something like https"),
        ({"HUB_URL": "https://0.0.0.0:443"}, "INCEPTION_HUB_KEY is not set"),
        ({"HUB_URL": "https://0.0.0.0:443", "HUB_KEY": "/no/key"}, r"/no/key \(INCEPTION_HUB_KEY\) cannot be read"),
        ({"HUB_PUBLIC_URL": "http://hub.school.example"}, "https://hub.school.example is wanted"),
        ({"MEMORY": "4 gigabytes"}, "something like 4G or 1500M is wanted"),
        ({"CPUS": "many"}, "'many'; a number from 1 on is wanted"),
        ({"CPUS": "0"}, "'0'; a number from 1"),
        ({"IDLE_MINUTES": "-1"}, "'-1'; a number from 0"),
        ({"HUB_STATE": "/dev/null/state"}, "cannot be made"),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_wrong_setting_stops_with_a_sentence(load, changes, sentence):
    with pytest.raises(SystemExit, match=sentence):
        load(**changes)


@pytest.mark.parametrize("mode, sentence", [(0o755, "not writable by all"), (0o1775, "not writable"), (0o777, "move")])
def test_an_exchange_that_is_not_everybodys(load, tmp_path, mode, sentence):
    (tmp_path / "exchange").chmod(mode)
    with pytest.raises(SystemExit, match=f"mode {mode:o}.*{sentence}"):
        load()


def test_a_state_that_others_can_read(load, tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)
    with pytest.raises(SystemExit, match="must be the hub's alone"):
        load()


def test_a_proxy_without_tls(load, tmp_path, monkeypatch):
    for name in ("key", "cert", "configurable-http-proxy"):
        (tmp_path / name).write_text("#!/usr/bin/python3\n")
    wanted = {"HUB_URL": "https://0.0.0.0:443", "HUB_KEY": str(tmp_path / "key"), "HUB_CERT": str(tmp_path / "cert")}
    proxy = tmp_path / "configurable-http-proxy"
    proxy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SystemExit, match="which has no TLS; npm's is wanted"):
        load(**wanted)
    proxy.write_text("#!/usr/bin/env node\n")
    read = load(**wanted)
    assert read.ConfigurableHTTPProxy.command == [str(proxy)] and read.JupyterHub.ssl_key == wanted["HUB_KEY"]
    assert read.JupyterHub.tornado_settings["cookie_options"]["secure"]


def test_a_home_that_others_can_enter(load, tmp_path):
    """The spawner asks it of each account of its own; here there is one account, so it is asked directly."""
    load()
    hub = runpy.run_path(str(HUB / "jupyterhub_config.py"), {"get_config": Config})
    for mode in (0o700, 0o500):
        tmp_path.chmod(mode)
        assert hub["obstacle"]("ada", tmp_path, True) is None
    tmp_path.chmod(0o711)
    assert hub["obstacle"]("ada", tmp_path, False) is None
    assert "mode 711, and read notebooks" in hub["obstacle"]("ada", tmp_path, True)
    (tmp_path / "exchange").rename(tmp_path / "gone")
    assert hub["obstacle"]("ada", tmp_path, False) == f"ada cannot read {tmp_path / 'exchange'}"


def test_no_proxy(load, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(SystemExit, match="no configurable-http-proxy on the PATH"):
        load()


@pytest.mark.usefixtures("installed")
def test_a_hub_with_a_wrong_setting_does_not_start(tmp_path):
    """Not with JupyterHub's own defaults either, which listen to the whole network."""
    environment = os.environ | settings(tmp_path) | {"INCEPTION_EXCHANGE": "/no/such/folder"}
    command = [sys.executable, "-m", "jupyterhub", "-f", str(HUB / "jupyterhub_config.py")]
    said = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert said.returncode != 0 and "the exchange /no/such/folder" in said.stderr and "Traceback" not in said.stderr
