"""JupyterHub for one course: students fetch and submit the assignments of Inception Lessons, instructors collect them.

README.md beside this file goes through it step by step. What differs from school to school is said by environment
variables; one that is missing or wrong stops the start with a sentence:

| variable | unless set | what it says |
|---|---|---|
| INCEPTION_EXCHANGE | - | nbgrader's exchange: a folder with mode 1777 that all users reach |
| INCEPTION_INSTRUCTORS | - | user names with commas between |
| INCEPTION_STUDENTS | - | user names with commas between; @name is every member of the system's group of that name |
| INCEPTION_COURSE | ~/inception_course | the folder in the instructor's home where assignments are made and graded |
| INCEPTION_HUB_STATE | /var/lib/inception-hub | cookie secret and database; nobody but the hub may read it |
| INCEPTION_HUB_URL | http://127.0.0.1:8000 | where the hub listens; beyond this machine https only |
| INCEPTION_HUB_KEY, INCEPTION_HUB_CERT | - | files of the TLS key and certificate, for https |
| INCEPTION_HUB_PUBLIC_URL | - | https://..., where a web server with TLS on this machine stands before the hub |
| INCEPTION_HUB_AUTHENTICATOR | pam | who checks passwords, by JupyterHub's name or as module.Class |
| INCEPTION_MEMORY | 4G | what one process of a user may take |
| INCEPTION_CPUS | 2 | how many processors a user's server and all that it starts may use |
| INCEPTION_IDLE_MINUTES | 0 | a server without work for so long is stopped, its kernels first; 0: never |
"""

import inspect
import ipaddress
import os
import random
import re
import resource
import shutil
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

from jupyterhub.spawner import LocalProcessSpawner

c = get_config()  # noqa: F821  JupyterHub gives it to its configuration file

HERE = Path(__file__).resolve().parent
PROGRAMS = str(Path(sys.prefix, "bin"))  # nbgrader and Jupyter start programs by name
PATH = os.pathsep.join([PROGRAMS, os.environ.get("PATH", os.defpath)])
PROCESSES = 1000  # and threads, of one user: against a notebook that starts itself again and again


def stop(sentence):
    """End the start with a sentence instead of a traceback."""
    raise SystemExit(f"jupyterhub_config.py: {sentence}")


def setting(name, default=None):
    value = os.environ.get(name, "").strip() or default
    if value is None:
        stop(f"{name} is not set; see the table at the top of {__file__}")
    return value


def number(name, default, least):
    value = setting(name, default)
    try:
        if float(value) >= least:
            return float(value)
    except ValueError:
        pass
    stop(f"{name} is {value!r}; a number from {least} on is wanted")


def names(name):
    """'Ada, grace,@class' -> (['ada', 'grace'], ['class']): JupyterHub writes user names small."""
    words = [word.strip() for word in setting(name).split(",") if word.strip()]
    return [word.lower() for word in words if word[0] != "@"], [word[1:] for word in words if word[0] == "@"]


# --- the exchange ----------------------------------------------------------------------------------------------------


def check_exchange(folder):
    """Students of different accounts meet in this folder, so it must be everybody's, and what is in it its owner's."""
    advice = f"make it with: install -d -m 1777 {folder}"
    if not folder.is_absolute():
        stop(f"INCEPTION_EXCHANGE is {str(folder)!r}; a path that begins with / is wanted")
    if not folder.is_dir():
        stop(f"the exchange {folder} (INCEPTION_EXCHANGE) is not a folder; {advice}")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o777 != 0o777 or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        stop(f"the exchange {folder} (INCEPTION_EXCHANGE) has mode {mode:o} and is not writable by all; {advice}")
    if not mode & stat.S_ISVTX:  # nbgrader itself asks for 777 and lets the sticky bit be
        stop(f"in the exchange {folder} with mode {mode:o} any student can move the course away; {advice}")


exchange = Path(setting("INCEPTION_EXCHANGE"))
check_exchange(exchange)

# --- who may come in -------------------------------------------------------------------------------------------------

instructors, groups = names("INCEPTION_INSTRUCTORS")
if groups:
    stop(f"INCEPTION_INSTRUCTORS names the group @{groups[0]}; name each instructor")
students, student_groups = names("INCEPTION_STUDENTS")
if both := sorted(set(students) & set(instructors)):
    stop(f"{both[0]} is in INCEPTION_STUDENTS and in INCEPTION_INSTRUCTORS; a user is one or the other")

authenticator = setting("INCEPTION_HUB_AUTHENTICATOR", "pam")
if "dummy" in authenticator.lower() or "null" in authenticator.lower():
    stop(f"INCEPTION_HUB_AUTHENTICATOR is {authenticator!r}, which checks no password")
c.JupyterHub.authenticator_class = authenticator
c.Authenticator.allowed_users = {*instructors, *students}
c.Authenticator.allow_existing_users = False  # who is struck off the list stays out
c.Authenticator.admin_users = set()
if student_groups:
    c.LocalAuthenticator.allowed_groups = set(student_groups)

# An instructor sees who works and stops a server that hangs, and enters nobody's server.
c.JupyterHub.load_roles = [
    {
        "name": "instructor",
        "description": "Sees the class and stops servers",
        "scopes": ["admin-ui", "list:users", "read:users:activity", "read:servers", "delete:servers"],
        "users": instructors,
    }
]

# --- where it listens, and what it keeps -----------------------------------------------------------------------------


def only_here(host):
    """Whether the address is one of this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


url = setting("INCEPTION_HUB_URL", "http://127.0.0.1:8000")
parts = urlsplit(url)
if parts.scheme not in ("http", "https") or not parts.hostname:
    stop(f"INCEPTION_HUB_URL is {url!r}; something like https://0.0.0.0:443 or http://127.0.0.1:8000 is wanted")
if parts.scheme == "https":
    for name in ("INCEPTION_HUB_KEY", "INCEPTION_HUB_CERT"):
        if not os.access(setting(name), os.R_OK):
            stop(f"the file {setting(name)} ({name}) cannot be read")
    c.JupyterHub.ssl_key, c.JupyterHub.ssl_cert = setting("INCEPTION_HUB_KEY"), setting("INCEPTION_HUB_CERT")
elif not only_here(parts.hostname):
    stop(f"INCEPTION_HUB_URL is {url!r}: passwords would cross the network in the clear; https:// is wanted")
public = setting("INCEPTION_HUB_PUBLIC_URL", "none")
if public != "none":
    if urlsplit(public).scheme != "https" or not urlsplit(public).hostname:
        stop(f"INCEPTION_HUB_PUBLIC_URL is {public!r}; something like https://hub.school.example is wanted")
    c.JupyterHub.public_url = public
if public != "none" or parts.scheme == "https":
    c.JupyterHub.tornado_settings = {"cookie_options": {"secure": True}}  # browsers keep these cookies for https
c.JupyterHub.bind_url = url
c.JupyterHub.hub_ip = "127.0.0.1"

state = Path(setting("INCEPTION_HUB_STATE", "/var/lib/inception-hub"))
try:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
except OSError as error:
    stop(f"the folder for the hub's state cannot be made (INCEPTION_HUB_STATE): {error}")
if not os.access(state, os.W_OK) or stat.S_IMODE(state.stat().st_mode) & 0o077:
    stop(f"{state} (INCEPTION_HUB_STATE) must be the hub's alone, and writable; try: chmod 700 {state}")
c.JupyterHub.cookie_secret_file = str(state / "cookie_secret")
c.JupyterHub.db_url = f"sqlite:///{state / 'jupyterhub.sqlite'}"

proxy = shutil.which("configurable-http-proxy") or shutil.which("configurable-http-proxy", path=PROGRAMS)
if proxy is None:
    stop("there is no configurable-http-proxy on the PATH; the extra `hub` installs one, npm another")
if parts.scheme == "https" and b"python" in Path(proxy).read_bytes().split(b"\n")[0]:
    stop(f"{proxy} is the Python one, which has no TLS; npm's is wanted on the PATH, or a web server that has it")
c.ConfigurableHTTPProxy.command = [proxy]
c.ConfigurableHTTPProxy.pid_file = str(state / "proxy.pid")

# --- each user's server ----------------------------------------------------------------------------------------------


class LimitedSpawner(LocalProcessSpawner):
    """A server is a process of its user, under the limits that Linux holds for a process and what it starts."""

    async def start(self):
        """Who was struck off may still have a page open: a session outlives the list of users, and the hub."""
        allowed = self.authenticator.check_allowed(self.user.name, None)
        if not (await allowed if inspect.isawaitable(allowed) else allowed):
            raise PermissionError(f"{self.user.name} is no longer in the course")
        return await super().start()

    def make_preexec_fn(self, name):
        become_user, home, hub = super().make_preexec_fn(name), Path(self.user_env({})["HOME"]), os.getuid()

        def prepare():
            become_user()
            own_account = os.getuid() != hub
            if sentence := obstacle(name, home, own_account):
                os.write(2, f"{name}'s server is not started: {sentence}\n".encode())  # Popen drops its text
                raise PermissionError(sentence)
            if self.mem_limit:
                lower(resource.RLIMIT_DATA, self.mem_limit)
            if own_account:  # the limit counts all that an account runs: on a shared one, others' too
                lower(resource.RLIMIT_NPROC, PROCESSES)
            if self.cpu_limit and hasattr(os, "sched_setaffinity"):
                here = sorted(os.sched_getaffinity(0))
                os.sched_setaffinity(0, random.sample(here, min(len(here), round(self.cpu_limit))))

        return prepare


def obstacle(name, home, own_account):
    """Why a user's server must not be started, as that user finds it, or None."""
    for folder in (HERE / "student", exchange):
        if not os.access(folder, os.R_OK | os.X_OK):
            return f"{name} cannot read {folder}"
    mode = stat.S_IMODE(home.stat().st_mode) if own_account else 0o700
    if mode & 0o077:
        return f"other users can come into {home}, mode {mode:o}, and read notebooks and answers; try: chmod 700 {home}"
    return None


def lower(kind, limit):
    """Set a limit of this process for good; one that is there and lower stays."""
    hard = resource.getrlimit(kind)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (limit, limit))


def configuration(spawner):
    """Jupyter's configuration folders for a user: what instructors have more than students comes first, and wins."""
    folders = ["instructor", "student"] if spawner.user.name in instructors else ["student"]
    return os.pathsep.join(str(HERE / folder) for folder in folders)


c.JupyterHub.spawner_class = LimitedSpawner
c.Spawner.cmd = [str(Path(PROGRAMS, "jupyterhub-singleuser"))]
c.Spawner.default_url = "/lab"
c.Spawner.http_timeout = 120  # a whole class starts at once
c.Spawner.mem_limit = setting("INCEPTION_MEMORY", "4G")
if not re.fullmatch(r"[1-9][0-9]*[KMGT]", c.Spawner.mem_limit):
    stop(f"INCEPTION_MEMORY is {c.Spawner.mem_limit!r}; something like 4G or 1500M is wanted")
c.Spawner.cpu_limit = number("INCEPTION_CPUS", "2", 1)
c.Spawner.environment = {
    "INCEPTION_COURSE": setting("INCEPTION_COURSE", "~/inception_course"),
    "INCEPTION_EXCHANGE": str(exchange),
    "JUPYTER_CONFIG_PATH": configuration,
    "JUPYTER_PREFER_ENV_PATH": "1",  # the course's kernel wins over one in the user's home
    "PATH": PATH,
}

if idle := round(60 * number("INCEPTION_IDLE_MINUTES", "0", 0)):
    c.Spawner.args = [
        f"--MappingKernelManager.cull_idle_timeout={idle}",
        f"--MappingKernelManager.cull_interval={max(1, idle // 4)}",
        f"--TerminalManager.cull_inactive_timeout={idle}",
        f"--TerminalManager.cull_interval={max(1, idle // 4)}",
        f"--ServerApp.shutdown_no_activity_timeout={idle}",
    ]
