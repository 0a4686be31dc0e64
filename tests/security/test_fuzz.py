"""A few hundred cases of each fuzz target; `tasks.py fuzz` runs as many as one likes."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import fuzzing
import pytest

CASES = 400


@pytest.mark.parametrize("name", fuzzing.TARGETS)
def test_nothing_but_errors_of_the_tree_comes_of(name: str) -> None:
    fuzzing.run_cases(name, int(CASES * fuzzing.TARGETS[name].share) + 40, seed=14)


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The program, whose target "csv" fails for two rows and more, and that writes to tmp_path."""

    def refuses_long(rows: list[object]) -> None:
        assert len(rows) < 2

    spec = importlib.util.spec_from_file_location(
        "fuzz_program", Path(__file__).with_name("fuzz.py")
    )
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    monkeypatch.setattr(program, "FINDINGS", tmp_path)
    target = fuzzing.TARGETS["csv"]
    broken = fuzzing.Target(target.inputs, refuses_long, target.share)
    monkeypatch.setitem(fuzzing.TARGETS, "csv", broken)
    return program


def test_a_failing_input_is_shrunk_and_its_file_runs_it_again(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fuzz.run_targets(20, seed=1, only="csv") == 1
    (file,) = tmp_path.glob("csv-*.txt")
    assert ast.literal_eval(file.read_text("utf-8")) == ("csv", [("", ""), ("", "")])
    assert fuzz.run_again(file) == 1
    mended = fuzzing.Target(fuzzing.TARGETS["csv"].inputs, fuzzing.check_csv, 1)
    monkeypatch.setitem(fuzzing.TARGETS, "csv", mended)
    assert fuzz.run_again(file) == 0


def test_a_seed_gives_the_same_cases_again_and_another_one_others() -> None:
    def cases(seed: int) -> list[object]:
        seen: list[object] = []
        target = fuzzing.Target(fuzzing.TARGETS["csv"].inputs, seen.append, 1)
        with mock.patch.dict(fuzzing.TARGETS, {"csv": target}):
            fuzzing.run_cases("csv", 30, seed)
        return seen

    assert cases(1) == cases(1)
    assert cases(1) != cases(2)


def test_a_run_prints_its_seed_and_the_branches_of_every_part() -> None:
    command = [sys.executable, str(Path(__file__).with_name("fuzz.py")), "0.01", "--target", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"seed \d+ ", done.stdout)
    for part in ("mai/http", "mai/providers", "mai/profiles", "mai/formats/headers.py"):
        assert re.search(rf"^{part}\S* +\d+ of +\d+ branches", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1] == "0 findings"
