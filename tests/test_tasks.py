"""tasks.py's lock: what it holds, and when it is used."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent

LOCK = (ROOT / "tests" / "constraints.txt").read_text("utf-8").splitlines()


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tasks.py, whose .venv is in tmp_path and whose pip only notes how it is called."""
    spec = importlib.util.spec_from_file_location("tasks_under_test", ROOT / "tasks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path)
    monkeypatch.setattr(module, "_make_venv", lambda: None)
    module.calls = []  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "_pip", lambda *arguments: module.calls.append(arguments))
    monkeypatch.delenv(module.LOCKED, raising=False)
    return module


def test_the_lock_holds_versions_and_neither_addresses_nor_paths() -> None:
    versions = [line for line in LOCK if not line.startswith("#")]
    assert len(versions) > 40
    assert [line for line in versions if not re.fullmatch(r"[a-z0-9._-]+==[0-9][\w.]*", line)] == []
    assert not any("/" in line for line in LOCK)


def test_the_lock_holds_everything_that_the_project_asks_for() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    asked = re.findall(r'^ *(?:dependencies = \[)?"([A-Za-z0-9-]+)[>=]=', project, re.MULTILINE)
    locked = {line.split("==")[0].replace("_", "-") for line in LOCK}
    assert len(asked) > 10
    assert {name.lower() for name in asked} - {"mai-image"} <= locked


def test_a_set_up_uses_the_lock_only_where_it_is_asked_for(
    tasks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.set_up("dev")
    assert not any("--constraint" in call for call in tasks.calls)
    monkeypatch.setenv(tasks.LOCKED, "1")
    monkeypatch.setattr(tasks, "_python_line", lambda: LOCK[2])
    tasks.calls.clear()
    tasks.set_up("dev")
    installed = next(call for call in tasks.calls if "--editable" in call)
    assert installed[installed.index("--constraint") + 1] == str(ROOT / "tests" / "constraints.txt")


def test_the_lock_of_another_python_is_refused_by_name(
    tasks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tasks.LOCKED, "1")
    monkeypatch.setattr(tasks, "_python_line", lambda: "# Python 3.99")
    with pytest.raises(tasks.Failed, match=r"is of Python 3\.\d+, this is Python 3\.99"):
        tasks.set_up("dev")
    assert tasks.calls == []


def test_a_lock_is_what_is_installed_without_local_versions(
    tasks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(tasks, "ROOT", tmp_path)
    monkeypatch.setattr(tasks, "CONSTRAINTS", tmp_path / "constraints.txt")
    monkeypatch.setattr(tasks, "set_up", lambda extra: None)
    assert tasks.lock(()) == 0
    lines = (tmp_path / "constraints.txt").read_text("utf-8").splitlines()
    version = ".".join(map(str, sys.version_info[:2]))
    assert f"# Python {version}" in lines
    assert any(line.startswith("httpx==") for line in lines)
    assert not any("+" in line or line.startswith("mai-image") for line in lines)
