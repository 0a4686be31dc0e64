"""`mai-image doctor` on a machine that shares a database."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mai_image.cli import main
from mai_image.mai.examination import Step
from object_stores import Engine
from postgres_engine import PostgresEngine


def doctor(folder: Path, database: str) -> int:
    text = f'[shared]\ndatabase = "{database}"\nmachine = "m1"\n'
    (folder / "profiles.toml").write_text(text)
    return main(["--folder", str(folder), "doctor", "--profile", "emulator"])


def test_what_is_right_with_the_database_is_said(
    tmp_path: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor(tmp_path, postgres)
    said = capsys.readouterr().out
    assert "ok    database: PostgreSQL" in said
    assert "without TLS" in said
    assert "its role has its rights; the ledger has version" in said
    assert "its clock is " in said


def test_a_database_that_is_gone_is_named_with_what_the_driver_said(
    tmp_path: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    port = postgres.partition("127.0.0.1:")[2].partition("/")[0]
    assert doctor(tmp_path, postgres.replace(port, "1")) == Step.DATABASE
    said = capsys.readouterr().out
    assert "wrong database: The studio's database doesn't take connections" in said
    assert "127.0.0.1" in said, "a terminal may see the host"


def test_tables_that_the_role_may_not_write_are_named(
    tmp_path: Path,
    postgres: str,
    postgres_engine: PostgresEngine,
    capsys: pytest.CaptureFixture[str],
) -> None:
    doctor(tmp_path, postgres)
    name = postgres.rpartition("/")[2]
    for statement in (
        f"CREATE ROLE {name} LOGIN",
        f"GRANT USAGE ON SCHEMA mai_image TO {name}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA mai_image TO {name}",
    ):
        postgres_engine.run_sql(statement, name)
    assert doctor(tmp_path, postgres_engine.url(name, role=name)) == Step.DATABASE
    assert "may not read and write calls, owners" in capsys.readouterr().out


def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(
    tmp_path: Path,
    postgres: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert doctor(tmp_path, postgres) == Step.DATABASE
    assert 'pip install "psycopg[binary]' in capsys.readouterr().out


def images_doctor(folder: Path, images: str) -> int:
    (folder / "profiles.toml").write_text(f'[shared]\nimages = "{images}"\n')
    return main(["--folder", str(folder), "doctor", "--profile", "emulator"])


def test_the_shared_images_are_written_and_read(
    tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    images_doctor(tmp_path, engine.address)
    said = capsys.readouterr().out
    assert f"ok    store: {engine.address} was written and read in" in said


def test_an_object_store_that_is_gone_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm9uZQ==")
    found = images_doctor(tmp_path, "http://127.0.0.1:1/account/container")
    assert found == Step.STORE
    assert "wrong store: The object store http://127.0.0.1:1" in capsys.readouterr().out


def test_obstore_that_is_missing_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    assert images_doctor(tmp_path, str(tmp_path / "images")) == Step.STORE
    said = capsys.readouterr().out
    assert "python -m pip install obstore" in said
