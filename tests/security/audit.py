"""Known vulnerabilities in what .venv holds: `python3 tasks.py audit`.

pip-audit looks every version up in PyPI's database, or in OSV's. Exit codes: 0 none is known, 1
some are, 3 nothing is known either way because a version could not be looked up.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TOOL = ROOT / ".venv" / "audit"
"""pip-audit's own environment: what it needs is no part of what is audited."""

PIP_AUDIT = "pip-audit>=2.7,<3"

DATABASES = ("pypi", "osv")

NOT_AUDITED = 3


@dataclass
class AuditAnswer:
    """What a database says: sentences for vulnerabilities, and for what it couldn't look up."""

    vulnerable: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def main() -> int:
    """Install pip-audit, ask, and say what came of it."""
    tool = install_tool()
    if isinstance(tool, str):
        say(f"NOT AUDITED: pip-audit can't be installed here: {tool}")
        return NOT_AUDITED
    return audit(tool, installed())


def installed() -> list[str]:
    """name==version of all that this Python has, but for the pack; local versions left out."""
    found = {one.name: one.version.split("+")[0] for one in importlib.metadata.distributions()}
    return sorted(f"{name}=={version}" for name, version in found.items() if name != "mai-image")


def audit(tool: Sequence[str], versions: Sequence[str]) -> int:
    """The exit code for these versions. A database is asked for one version first: an index that
    isn't PyPI knows no vulnerabilities, and pip-audit would count each version as skipped."""
    reasons = []
    for database in DATABASES:
        first = ask(tool, database, versions[:1])
        if not first.unknown:
            break
        reasons.append(f"{database}: {first.unknown[0]}")
    else:
        say("NOT AUDITED: no database of vulnerabilities can be reached from here.")
        say("\n".join(reasons))
        return NOT_AUDITED
    answer = ask(tool, database, versions)
    say("\n".join([*answer.vulnerable, *(f"not looked up: {one}" for one in answer.unknown)]))
    if answer.vulnerable:
        return 1
    if answer.unknown:
        say(f"NOT AUDITED: {len(answer.unknown)} of {len(versions)} versions.")
        return NOT_AUDITED
    say(f"{len(versions)} versions looked up at {database}: no known vulnerability")
    return 0


def ask(tool: Sequence[str], database: str, versions: Iterable[str]) -> AuditAnswer:
    """What pip-audit finds in a database."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "versions.txt"
        listed.write_text("\n".join(versions), encoding="utf-8")
        options = ["--disable-pip", "--no-deps", "--format", "json", "--progress-spinner", "off"]
        command = [*tool, *options, "--vulnerability-service", database, "--requirement", listed]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return AuditAnswer(unknown=[_last_line(done)])
    answer = AuditAnswer()
    for one in found:
        if "skip_reason" in one:
            answer.unknown.append(one["skip_reason"])
        for problem in one.get("vulns", ()):
            mended = ", ".join(problem["fix_versions"]) or "no version yet"
            line = f"{one['name']} {one['version']}: {problem['id']}, mended in {mended}"
            answer.vulnerable.append(line)
    return answer


def install_tool() -> list[str] | str:
    """The command that runs pip-audit, or why it can't be installed."""
    scripts = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    python = TOOL / scripts
    command = [str(python), "-m", "pip_audit"]
    if python.exists() and _quiet(*command, "--version").returncode == 0:
        return command
    venv.create(TOOL, with_pip=True, clear=True)
    done = _quiet(str(python), "-m", "pip", "install", "--quiet", PIP_AUDIT)
    return command if done.returncode == 0 else _last_line(done)


def _quiet(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"exit code {done.returncode}"


def say(text: str) -> None:
    """Print lines at once; nothing for an empty text."""
    if text:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
