"""The audit of dependencies: it passes only if every version was really looked up."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("audit", Path(__file__).with_name("audit.py"))
assert _spec is not None
assert _spec.loader is not None
audit = importlib.util.module_from_spec(_spec)
sys.modules["audit"] = audit
_spec.loader.exec_module(audit)

STAND_IN = """
import json, sys
database = sys.argv[sys.argv.index("--vulnerability-service") + 1]
names = [line.split("==") for line in open(sys.argv[-1]).read().split()]
known = json.loads({known!r})[database]
if known is None:
    sys.exit("ConnectionError: nobody is there")
answers = [{{"name": name, "version": version, **known[name]}} if name in known
           else {{"name": name, "skip_reason": f"{{name}} isn't known"}} for name, version in names]
print(json.dumps({{"dependencies": answers, "fixes": []}}))
sys.exit(any(answer.get("vulns") for answer in answers))
"""

CLEAN = {"vulns": []}
HURT = {"vulns": [{"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": [], "description": "x"}]}


def audited(folder: Path, pypi: object, osv: object) -> int:
    """The exit code for a==1 and b==1 with a stand-in for pip-audit that knows these."""
    program = folder / "pip_audit_stand_in.py"
    program.write_text(STAND_IN.format(known=json.dumps({"pypi": pypi, "osv": osv})), "utf-8")
    code = audit.audit([sys.executable, str(program)], ["a==1", "b==1"])
    assert isinstance(code, int)
    return code


def test_no_known_vulnerability_is_a_pass(tmp_path: Path) -> None:
    assert audited(tmp_path, {"a": CLEAN, "b": CLEAN}, None) == 0


def test_a_vulnerability_is_named_with_the_version_that_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audited(tmp_path, {"a": CLEAN, "b": HURT}, None) == 1
    assert "b 1: PYSEC-1, mended in 2.0" in capsys.readouterr().out


def test_the_second_database_is_asked_where_the_first_knows_nothing(tmp_path: Path) -> None:
    assert audited(tmp_path, {}, {"a": CLEAN, "b": HURT}) == 1
    assert audited(tmp_path, None, {"a": CLEAN, "b": CLEAN}) == 0


@pytest.mark.parametrize("pypi", [None, {}])
def test_without_a_database_it_says_so_and_does_not_pass(
    pypi: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audited(tmp_path, pypi, None) == audit.NOT_AUDITED
    assert "NOT AUDITED" in capsys.readouterr().out


def test_one_version_that_nobody_knows_is_named_and_keeps_it_from_passing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audited(tmp_path, {"a": CLEAN}, None) == audit.NOT_AUDITED
    assert "not looked up: b isn't known" in capsys.readouterr().out
