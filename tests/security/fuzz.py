"""Fuzz the client for some minutes: `python3 tasks.py fuzz [minutes] [--seed N] [--target NAME]`.

All targets of tests/support/fuzzing.py run in turns, with a new seed each time. A failing input is
shrunk, shown and written to fuzz-findings/; `--again FILE` runs it again. At the end stands which
branches of the code that meets answers, files and settings were taken. The exit code is 1 after a
finding.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import logging
import secrets
import sys
import tempfile
import time
import traceback
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import coverage

ROOT = Path(__file__).resolve().parents[2]

FINDINGS = ROOT / "fuzz-findings"

MEASURED = ("mai/http/*", "mai/providers/*", "mai/profiles/*", "mai/formats/headers.py")

ENOUGH = 95.0
"""Per cent of the branches that a run of some minutes takes."""

CASES = 100
"""Cases of one target before the next has its turn."""

FINDING = "# a failing input of tasks.py fuzz: target {name}, seed {seed}\n# {error}\n{literal}\n"


def main() -> int:
    """Run one file again, or all targets until the time is over; 1 after a finding."""
    options = _options()
    logging.disable(logging.CRITICAL)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    if options.again:
        return run_again(options.again)
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed
    say(f"seed {seed} (--seed {seed} runs the same cases again)")
    measuring = coverage.Coverage(
        data_file=None, branch=True, include=[str(ROOT / name) for name in MEASURED]
    )
    measuring.start()
    found = run_targets(60 * options.minutes, seed, options.target)
    measuring.stop()
    enough = print_branches(measuring)
    if not enough and options.target is None:
        say(f"Less than {ENOUGH:g} % of a part's branches were taken: longer runs take more.")
    say(f"{found} finding{'s' * (found != 1)}" + (f", in {FINDINGS}" if found else ""))
    return 1 if found else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tasks.py fuzz", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=10.0, help="10 if not given")
    parser.add_argument("--seed", type=int, help="the cases of an earlier run, in its order")
    parser.add_argument("--target", help="this target alone")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run one failing input again")
    return parser.parse_args()


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run_targets(seconds: float, seed: int, only: str | None) -> int:
    """Every target in turns, the one that is farthest behind its share next; gives the findings.

    A target that failed isn't run again: it would find the same once more.
    """
    import fuzzing

    began = time.monotonic()
    names = [name for name in fuzzing.TARGETS if only in (None, name)]
    if not names:
        raise SystemExit(f"There is no target {only!r}; there are {', '.join(fuzzing.TARGETS)}.")
    spent, turns = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
    failed: set[str] = set()
    while len(failed) < len(names) and time.monotonic() < began + seconds:
        name = min(
            (one for one in names if one not in failed),
            key=lambda one: spent[one] / fuzzing.TARGETS[one].share,
        )
        started = time.monotonic()
        case_seed = int(_digest(f"{seed}/{name}/{turns[name]}"), 16)
        try:
            fuzzing.run_cases(name, CASES, case_seed)
        except fuzzing.FoundInput as found:
            failed.add(name)
            write_finding(name, seed, found.arguments, found.__cause__)
        spent[name] += time.monotonic() - started
        turns[name] += 1
    for name in names:
        outcome = "FAILED" if name in failed else "ok"
        say(f"{name:10} {turns[name] * CASES:8,} cases {spent[name]:6.0f} s  {outcome}")
    return len(failed)


def write_finding(name: str, seed: int, arguments: tuple[Any, ...], error: Any) -> None:
    """Show a failure, and write its input as Python values that --again reads."""
    literal = repr((name, *arguments))
    file = FINDINGS / f"{name}-{_digest(literal)}.txt"
    FINDINGS.mkdir(exist_ok=True)
    first = f"{type(error).__name__}: {error}".splitlines()[0]
    line = first[:200].encode("ascii", "backslashreplace").decode()
    text = FINDING.format(name=name, seed=seed, error=line, literal=literal)
    file.write_text(text, encoding="utf-8")
    shown = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    say(shown.encode("ascii", "backslashreplace").decode())
    say(f"{name}: a failing input is in {file}\nrun it again: python3 tasks.py fuzz --again {file}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_again(file: Path) -> int:
    """One failing input; 1 while it still fails."""
    import fuzzing

    name, *arguments = ast.literal_eval(file.read_text(encoding="utf-8"))
    try:
        fuzzing.check_once(name, tuple(arguments))
    except Exception:  # noqa: BLE001 (whatever a target raises is what is looked for)
        say(traceback.format_exc().encode("ascii", "backslashreplace").decode())
        return 1
    say(f"{name}: this input is handled now")
    return 0


def print_branches(measuring: coverage.Coverage) -> bool:
    """Each part's branches and those that no case took; whether all parts have enough."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "branches.json"
        measuring.json_report(outfile=str(report))
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    percents = []
    for part in MEASURED:
        mine = {_short(name): one for name, one in files.items() if fnmatch(_short(name), part)}
        taken = sum(one["summary"]["covered_branches"] for one in mine.values())
        every = sum(one["summary"]["num_branches"] for one in mine.values())
        percents.append(100 * taken / every if every else 0.0)
        say(f"{part:22} {taken:4} of {every:4} branches, {percents[-1]:5.1f} %")
        for name, one in sorted(mine.items()):
            missing = [f"{start}->{end}" for start, end in one["missing_branches"]]
            if missing:
                say(f"    {name}: {', '.join(missing[:12])}{' …' * (len(missing) > 12)}")
    return min(percents) >= ENOUGH


def _short(name: str) -> str:
    path = Path(name).resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else name


if __name__ == "__main__":
    raise SystemExit(main())
