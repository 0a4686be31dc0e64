"""The ledger's file: damaged, locked, full, foreign, or of another version."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sqlite3
import stat
import sys
import time
from pathlib import Path

import pytest
from ledger_helpers import DELIVERED, FREE, call, only, sent
from mai_image.mai.database import DamagedError, Database
from mai_image.mai.errors import StoreError
from mai_image.mai.ledger import Ledger, Outcome, Sum
from mai_image.mai.ledger.tables import SCHEMA
from mai_image.mai.types import Budget

VERSION_1 = Path(__file__).parent.parent / "data" / "version_0_1" / "ledger.sqlite"


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Only a file here."""
    return str(tmp_path / "ledger.sqlite")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_the_file_is_the_users_only_also_when_it_was_not(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.sqlite"
    ledger = Ledger(path)
    ledger.open(call(), FREE)
    modes = {stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert modes == {0o600}
    ledger.close_file()
    path.chmod(0o644)
    ledger.spend()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ledger.close_file()


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all " * 500)


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _holes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_garbage, _half, _holes])
@pytest.mark.parametrize("budget", [FREE, Budget(day=1.0)])
def test_a_damaged_ledger_stops_spending_and_says_how_to_go_on(
    tmp_path: Path, damage, budget: Budget
) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    for _ in range(40):
        ledger.close(ledger.open(call(), FREE), DELIVERED)
    ledger.close_file()
    damage(path)
    broken = path.read_bytes()
    with pytest.raises(DamagedError) as raised:
        Ledger(path).verify()
    assert str(path) in str(raised.value)
    assert "rename" in raised.value.hint
    assert "Nothing was sent" in raised.value.hint
    with pytest.raises(StoreError):
        Ledger(path).open(call(), budget)
    assert path.read_bytes() == broken, "the evidence stays as it was"


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as sql:
        sql.execute(f"PRAGMA user_version={SCHEMA.version + 1}")
    sql.close()
    with pytest.raises(StoreError, match="newer MAI Image"):
        Ledger(path).open(call(), FREE)


def test_a_locked_ledger_is_a_clear_error(tmp_path: Path) -> None:
    impatient = dataclasses.replace(SCHEMA, busy_seconds=0.05)
    path = tmp_path / "ledger.sqlite"
    Ledger(path).spend()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    ledger = Ledger(path, schema=impatient)
    with pytest.raises(StoreError, match="locked by"):
        ledger.open(call(), FREE)
    holder.execute("ROLLBACK")
    holder.close()
    assert ledger.open(call(), FREE)
    ledger.close_file()


def test_a_file_where_the_folder_should_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be made"):
        Ledger(tmp_path / "file" / "ledger.sqlite").open(call(), FREE)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps an open file")
def test_a_ledger_that_is_renamed_while_no_call_is_out_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    ledger.close(ledger.open(call(), FREE), DELIVERED)
    path.rename(tmp_path / "aside.sqlite")
    ledger.open(call(), FREE)
    assert only(ledger)["id"] == 1
    ledger.close_file()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps an open file")
@pytest.mark.parametrize("step", ["open", "mark"])
def test_a_ledger_that_goes_while_calls_are_out_stops_sending(tmp_path: Path, step: str) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    waiting = ledger.open(call(), FREE)
    row = sent(ledger, 0.05)
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(StoreError, match="replaced or deleted while 2 calls"):
        _ = ledger.open(call(), FREE) if step == "open" else ledger.mark_sent(waiting)
    ledger.close(row, DELIVERED, cost_usd=0.03)
    ledger.close(waiting, Outcome.REFUSED)
    assert ledger.spend().total == Sum(0.03, 1), "what came is in the new file"
    ledger.close_file()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps an open file")
def test_a_call_never_closes_the_row_of_another_that_has_its_number(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    mine = sent(ledger, 0.05)
    for file in tmp_path.iterdir():
        file.unlink()
    other = Ledger(path)
    sent(other, 0.5, key="b" * 64)
    ledger.close(mine, DELIVERED, cost_usd=0.03)
    assert [row["outcome"] for row in ledger.rows()] == ["delivered", "in flight"]
    assert other.spend().in_flight == Sum(0.5, 1)
    for each in (ledger, other):
        each.close_file()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_opens_the_file_for_itself(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.open(call(), FREE)
    pid = os.fork()
    if pid == 0:
        try:
            sent(ledger, key="b" * 64)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert ledger.recover() == 1, "the child's own call, as the child's process is gone"
    assert ledger.spend().in_flight.calls == 1
    ledger.close_file()


def test_the_ledger_waits_for_the_disk_at_every_commit(tmp_path: Path, ledger: Ledger) -> None:
    ledger.open(call(), FREE)
    database = Database(tmp_path / "ledger.sqlite", SCHEMA)
    with database.read() as sql:
        assert sql.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert sql.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    database.close_file()


def test_a_file_of_version_2_is_upgraded_and_what_it_holds_is_kept(tmp_path: Path) -> None:
    """It didn't say who bought; a call that was in flight goes on."""
    path = tmp_path / "ledger.sqlite"
    shutil.copy(VERSION_1, path)
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        for statement in SCHEMA.upgrades[1]:
            sql.execute(statement)
        sql.execute("PRAGMA user_version=2")
        columns = "id, token, opened_at, day, outcome, key, profile, counted_nano"
        before = sql.execute(f"SELECT {columns} FROM calls ORDER BY id").fetchall()
        count = sql.execute("SELECT sum(calls) FROM sums").fetchone()[0]
    ledger = Ledger(path, machine="m1", user="ann")
    assert ledger.spend().total.calls == count
    row = ledger.open(call(), FREE)
    ledger.close(row, DELIVERED, cost_usd=0.04)
    newest, *others = ledger.rows(None)
    assert (newest["machine"], newest["user"]) == ("m1", "ann")
    assert {(row["machine"], row["user"]) for row in others} == {(None, None)}
    ledger.close_file()
    with contextlib.closing(sqlite3.connect(path)) as sql:
        after = sql.execute(f"SELECT {columns} FROM calls ORDER BY id").fetchall()
    assert after[: len(before)] == before


def test_a_budget_is_checked_without_reading_the_calls(tmp_path: Path, ledger: Ledger) -> None:
    ledger.open(call(), FREE)
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as sql:
        plans = [
            str(row)
            for statement in (
                "SELECT sum(nano) FROM sums WHERE profile = 'p' AND day BETWEEN 'a' AND 'b'",
                "SELECT sum(estimate_nano) FROM calls WHERE outcome IS NULL AND profile = 'p'",
                "SELECT id FROM calls WHERE key = 'k' AND outcome IS NULL",
            )
            for row in sql.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]
    assert len(plans) == 3
    assert all("SCAN calls'" not in plan and "SCAN sums" not in plan for plan in plans)


def test_a_call_that_version_1_left_in_flight_goes_on_and_is_counted_once(tmp_path: Path) -> None:
    """Its trigger is gone: what it summed is what the ledger sums now."""
    path = tmp_path / "ledger.sqlite"
    shutil.copy(VERSION_1, path)
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        before = sql.execute("SELECT sum(nano), sum(calls) FROM days").fetchone()
        sql.execute(
            "UPDATE calls SET outcome = NULL, closed_at = NULL, counted_nano = 0,"
            " counted_calls = 0, pid = 1, machine = 'another', out = 1 WHERE id = 1"
        )
        first = sql.execute("SELECT sum(nano), sum(calls) FROM days").fetchone()
    ledger = Ledger(path, dead_after=0.05)
    assert (ledger.spend().total.usd, ledger.spend().total.calls) == (first[0] / 1e9, first[1])
    assert ledger.recover() == 0, "nobody has seen its owner dead yet"
    until = time.monotonic() + 10
    while not ledger.recover() and time.monotonic() < until:
        time.sleep(0.01)
    assert ledger.spend().total.calls == before[1]
    assert ledger.open(call(), FREE)
    ledger.close_file()
