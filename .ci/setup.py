# -*- coding: utf-8 -*-
"""Make .venv and install the course into it: python3 .ci/setup.py [--extras tests,parity] [--versions newest]

A torch that already imports is kept, in .venv or in the Python that runs this, so that a CUDA build survives; else the
version in constraints.txt is installed. A stamp in .venv makes the second call instant and free of the network.
The standard library alone, in syntax that Python 2.7 can read: an old Python answers in a sentence, not a SyntaxError.
"""

from __future__ import print_function

import argparse
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

OLDEST = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TORCH_VERSION = (
    "import torch\n"
    "from importlib.metadata import version\n"
    "print(version('torch'))\n"
)
REASONS = (  # (what pip's log says, what it means), the first that fits
    ("No space left on device", "The disk is full: make room, about 2 GB, or about 7 GB with a CUDA torch."),
    (
        "NewConnectionError|ConnectTimeout|ReadTimeout|Temporary failure in name|Network is unreachable|ProxyError"
        "|Connection refused|Connection reset|nodename nor servname|getaddrinfo failed|Max retries exceeded",
        "The package registry cannot be reached. The first set-up needs the network: mend that.",
    ),
    ("ResolutionImpossible", "The versions asked for do not fit together."),
    (
        "No matching distribution found for torch",
        "There is no such torch for this Python. Delete .venv and say another: make lab PYTHON=python3.12",
    ),
    ("Permission denied", "A folder may not be written to."),
)


class Stop(Exception):
    """Set-up cannot go on; the text is for the learner."""


def wrong_python(version, path):
    """(3, 9, 1), "/usr/bin/python3" -> the sentence for a Python that is too old, or None."""
    if tuple(version[:2]) >= OLDEST:
        return None
    return (
        "Inception Lessons needs Python %d.%d or newer; this is Python %s at %s. "
        "Install one, or say which: make lab PYTHON=python3.12"
        % (OLDEST + (".".join(str(part) for part in version[:3]), path))
    )


def venv_python(venv):
    """The path of a virtual environment's own Python."""
    return os.path.join(venv, "Scripts", "python.exe") if os.name == "nt" else os.path.join(venv, "bin", "python")


def answer(python, code):
    """The last line that `code` prints under `python`, or None where it fails or there is no such Python."""
    try:
        process = subprocess.Popen([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    except OSError:
        return None
    lines = process.communicate()[0].decode("utf-8", "replace").split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    return lines[-1] if process.returncode == 0 and lines else None


def torch_to_keep(python, oldest):
    """The version of the torch that `python` imports, or None where it has none or one before `oldest`, as in "2.6"."""
    version = answer(python, TORCH_VERSION)
    if version is None:
        return None
    if [int(part) for part in re.findall(r"\d+", version)[:2]] < [int(part) for part in oldest.split(".")[:2]]:
        print("torch %s is here, but the course needs %s or newer: .venv gets another." % (version, oldest))
        return None
    return version


def keep_torch(constraints, version):
    """The text of constraints.txt -> the same text made for an installed torch, as in "2.11.0+cu130".

    Torchvision goes by its torch, so its line stays only where the torch is the one that the file has already.
    """
    if re.search(r"(?m)^torch==%s\s*$" % re.escape(version.split("+")[0]), constraints):
        return constraints
    dropped = re.compile(r"^(torch|torchvision|triton|nvidia-[\w-]+)==")
    lines = [line for line in constraints.splitlines() if not dropped.match(line)]
    return "\n".join(lines + ["torch==" + version]) + "\n"


def project(root):
    """The tables of pyproject.toml as a dict."""
    import tomllib  # new in 3.11: not to be had while an old Python reads this file

    with open(os.path.join(root, "pyproject.toml"), "rb") as file:
        return tomllib.load(file)


def read_text(path):
    with open(path, "rb") as file:
        return file.read().decode("utf-8")


def limits(root, versions):
    """"pinned", "newest" or "oldest" -> the text of the constraints for pip.

    Oldest is the oldest that pyproject.toml allows of each package that the course itself needs. Extras, and what a
    package needs in its turn, stay as new as these allow: nobody has promised that old ones of those fit together.
    """
    if versions == "oldest":
        return "".join(line.replace(">=", "==") + "\n" for line in project(root)["project"]["dependencies"])
    return read_text(os.path.join(root, "constraints.txt")) if versions == "pinned" else ""


def digest(root, versions):
    """What an install depends on, in one word: its folder, what pyproject.toml asks for (tools aside), the pins."""
    tables = project(root)
    asked = [os.path.realpath(root), tables["build-system"], tables["project"], tables.get("tool", {}).get("hatch")]
    asked.append(tables.get("tool", {}).get("inception-lessons"))
    asked += [versions, limits(root, versions)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("utf-8")).hexdigest()


def read_stamp(path):
    """{"digest": ..., "extras": [...]} of the last install that was finished; empty where there is none."""
    try:
        stamp = json.loads(read_text(path))
        return {"digest": stamp["digest"], "extras": list(stamp["extras"])}
    except (IOError, OSError, ValueError, KeyError, TypeError):
        return {"digest": None, "extras": []}


def write_stamp(path, digest, extras):
    """Write the stamp beside and rename: a stamp that is there is whole."""
    with open(path + ".part", "w") as file:
        json.dump({"digest": digest, "extras": sorted(extras)}, file)
    os.replace(path + ".part", path)


def drop_unfinished(site_packages):
    """Forget packages whose install was cut off, so that pip lays them again; it writes a package's RECORD last."""
    for folder in glob.glob(os.path.join(glob.escape(site_packages), "*.dist-info")):
        if not os.path.exists(os.path.join(folder, "RECORD")):
            shutil.rmtree(folder)


def why(log):
    """Pip's log -> one sentence about why it failed."""
    for pattern, sentence in REASONS:
        if re.search(pattern, log):
            return sentence
    return "Pip's own lines above say why."


def make_venv(root, oldest_torch):
    """Make .venv where there is none that works -> the version of the torch that it keeps, or None."""
    venv = os.path.join(root, ".venv")
    python = venv_python(venv)
    version = answer(python, "import sys; print(*sys.version_info[:3])")
    if version is not None:
        problem = wrong_python([int(part) for part in version.split()], python)
        if problem:
            raise Stop(problem + "\nThe folder .venv was made with it: delete .venv first.")
        if answer(python, "import pip; print(pip.__version__)") is None:
            if subprocess.call([python, "-m", "ensurepip", "--upgrade"]) != 0:
                raise Stop("The folder .venv has no pip, and none can be added. Delete .venv and run this again.")
        return torch_to_keep(python, oldest_torch)

    if os.path.isdir(venv) and os.listdir(venv) and not os.path.exists(os.path.join(venv, "pyvenv.cfg")):
        raise Stop("There is a folder .venv here that is not a virtual environment. Move it away and run this again.")
    try:
        import ensurepip  # noqa: F401  Debian ships Python without it
        import venv as _  # noqa: F401
    except ImportError:
        raise Stop(
            "Python %d.%d at %s cannot make virtual environments: a part of it is missing. On Debian and Ubuntu: "
            "sudo apt install python%d.%d-venv. If you may not do that, conda can: conda env create -f environment.yml"
            % (sys.version_info[:2] + (sys.executable,) + sys.version_info[:2])
        )
    kept = torch_to_keep(sys.executable, oldest_torch)
    print("Making .venv with Python %s" % sys.version.split()[0] + (", keeping its torch %s" % kept if kept else ""))
    sys.stdout.flush()
    nested = sys.prefix != sys.base_prefix
    command = [sys.executable, "-m", "venv", "--clear", venv]
    if subprocess.call(command + ["--system-site-packages"] * bool(kept and not nested)) != 0:
        raise Stop("The folder .venv could not be made; the lines above say why.")
    if kept and nested:  # the torch is in another virtual environment: a .pth file makes the new one see it
        import site

        with open(os.path.join(folder_of(python), "kept_torch.pth"), "w") as file:
            file.write("".join(folder + "\n" for folder in site.getsitepackages()))
    return kept


def folder_of(python):
    """The site-packages folder of `python`."""
    return answer(python, "import sysconfig; print(sysconfig.get_path('purelib'))")


def install(root, extras, kept, versions):
    """Pip's install of the course, editable, under constraints.txt as the kept torch has it."""
    python = venv_python(os.path.join(root, ".venv"))
    drop_unfinished(folder_of(python))
    constraints = limits(root, versions)
    scratch = tempfile.mkdtemp(prefix="inception-lessons-")
    try:
        path, log = os.path.join(scratch, "constraints.txt"), os.path.join(scratch, "pip.log")
        with open(path, "w") as file:
            file.write(keep_torch(constraints, kept) if kept else constraints)
        quiet = [] if sys.stdout.isatty() else ["--quiet", "--progress-bar", "off"]
        target = "." + ("[" + ",".join(sorted(extras)) + "]" if extras else "")
        print("Installing into .venv: the first time one to ten minutes, about 2 GB on the disk (7 with a CUDA torch)")
        sys.stdout.flush()
        command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--log", log] + quiet
        if subprocess.call(command + ["-c", path, "-e", target], cwd=root) != 0:
            reason = why(read_text(log)) if os.path.exists(log) else "Pip's own lines above say why."
            raise Stop("The install failed. %s Then the same command goes on." % reason)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    loose = project(root).get("tool", {}).get("inception-lessons", {}).get("without-dependencies", {})
    for extra in sorted(set(extras) & set(loose)):
        command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps"]
        if subprocess.call(command + loose[extra], cwd=root) != 0:
            print("%s could not be installed: the tests that compare with them are skipped." % ", ".join(loose[extra]))
    kernels = os.path.join(root, ".venv", "share", "jupyter", "kernels", "python3")
    if not os.path.isdir(kernels):  # ipykernel lies outside .venv: else another Python's kernel could start
        command = [python, "-m", "ipykernel", "install", "--sys-prefix"]
        if subprocess.call(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) != 0:
            raise Stop("The notebook kernel could not be put into .venv. Delete .venv and run this again.")


def set_up(root, extras, versions="pinned"):
    """Make what is missing; return at once where the last install was for the same files and at least these extras."""
    tables = project(root)
    unknown = sorted(set(extras) - set(tables["project"].get("optional-dependencies", {})))
    if unknown:
        raise Stop("There is no extra named %s in pyproject.toml." % ", ".join(unknown))
    stamp_path = os.path.join(root, ".venv", "inception-lessons.json")
    stamp, wanted = read_stamp(stamp_path), digest(root, versions)
    whole = os.path.exists(venv_python(os.path.join(root, ".venv")))
    if whole and stamp["digest"] == wanted and set(extras) <= set(stamp["extras"]):
        return
    oldest_torch = re.search(r"torch>=([\d.]+)", " ".join(tables["project"]["dependencies"])).group(1)
    kept = make_venv(root, oldest_torch)
    extras = set(extras) | set(stamp["extras"]) if whole else set(extras)
    if os.path.exists(stamp_path):
        os.remove(stamp_path)
    install(root, extras, kept, versions)
    write_stamp(stamp_path, wanted, extras)


def main(arguments):
    """-> exit status."""
    problem = wrong_python(sys.version_info, sys.executable)
    if problem:
        print(problem, file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(description="Make .venv and install Inception Lessons into it.")
    parser.add_argument("--extras", default="", help="extras of pyproject.toml, with commas between: tests,parity")
    known = ("pinned", "newest", "oldest")
    parser.add_argument("--versions", default="pinned", choices=known, help="those of constraints.txt (default), ...")
    options = parser.parse_args(arguments)
    try:
        set_up(ROOT, [extra for extra in options.extras.split(",") if extra], options.versions)
    except Stop as stop:
        print("\n%s" % stop, file=sys.stderr)
        return 1
    except EnvironmentError as error:  # a full disk, a folder that may not be written to
        print("\nSet-up stopped: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to go on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
