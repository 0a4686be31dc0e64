"""Which process holds a SQLite file: named to those who wait for it."""

from __future__ import annotations

import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mai_image.mai.database import BusyError, Database, Schema
from mai_image.mai.disk import holder
from store_helpers import POSIX

LINUX = pytest.mark.skipif(
    not Path("/proc/locks").exists(), reason="only Linux lists the locks of all processes"
)

IMPATIENT = Schema(
    name="The list",
    version=1,
    statements=("CREATE TABLE numbers (n INTEGER)",),
    synchronous="OFF",
    if_damaged="Remove it.",
    busy_seconds=0.1,
)

HOLD = """
    import sqlite3, sys
    sql = sqlite3.connect(sys.argv[1], isolation_level=None)
    sql.execute(f"PRAGMA journal_mode={sys.argv[2]}")
    sql.execute("CREATE TABLE IF NOT EXISTS numbers (n INTEGER)")
    sql.execute("BEGIN IMMEDIATE")
    sql.execute("INSERT INTO numbers VALUES (1)")
    print("held", flush=True)
    sys.stdin.readline()
    sql.execute("COMMIT")
    print("free", flush=True)
    sys.stdin.readline()
"""

Hold = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Starts a process that stands still inside a transaction."""
    children: list[subprocess.Popen[str]] = []

    def start(path: Path, mode: str = "WAL", code: str = HOLD) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(path), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


@LINUX
def test_the_error_names_the_stopped_process_that_holds_the_file(
    tmp_path: Path, hold: Hold
) -> None:
    database = Database(tmp_path / "list.sqlite", IMPATIENT)
    with database.write() as sql:
        sql.execute("INSERT INTO numbers VALUES (0)")
    child = hold(database.path)
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(BusyError, match=rf"process {child.pid} \(") as raised, database.write():
        pass
    assert raised.value.holder.startswith(f"process {child.pid} (python")
    another = Database(database.path, IMPATIENT)
    with pytest.raises(BusyError, match=f"process {child.pid}"), another.write():
        pass
    os.kill(child.pid, signal.SIGCONT)
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout is not None
    assert child.stdout.readline() == "free\n"
    assert holder(database.path) == "another process"
    with database.write() as sql:
        assert sql.execute("SELECT count(*) FROM numbers").fetchone() == (2,)


@LINUX
def test_the_holder_is_named_without_a_wal_too(tmp_path: Path, hold: Hold) -> None:
    path = tmp_path / "list.sqlite"
    child = hold(path, "DELETE")
    assert holder(path).startswith(f"process {child.pid} (")


@LINUX
def test_readers_and_those_who_wait_are_not_the_holder(tmp_path: Path, hold: Hold) -> None:
    path = tmp_path / "list.sqlite"
    with Database(path, IMPATIENT).write():
        pass
    hold(
        path,
        code="""
            import sqlite3, sys
            sql = sqlite3.connect(sys.argv[1], isolation_level=None)
            sql.execute("BEGIN")
            sql.execute("SELECT * FROM numbers").fetchall()
            print("held", flush=True)
            sys.stdin.readline()
        """,
    )
    assert holder(path) == "another process"
    child = hold(path)
    assert holder(path).startswith(f"process {child.pid} (")


def test_a_file_that_is_not_there_is_held_by_nobody_known(tmp_path: Path) -> None:
    assert holder(tmp_path / "missing.sqlite") == "another process"


@LINUX
def test_asking_for_the_holder_drops_no_lock_of_this_process(tmp_path: Path) -> None:
    database = Database(tmp_path / "list.sqlite", IMPATIENT)
    with database.write():
        assert holder(database.path).startswith(f"process {os.getpid()} (")
        other = sqlite3.connect(database.path, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


@POSIX
def test_a_disposable_file_waits_for_a_locked_folder_only_so_long(
    tmp_path: Path, hold: Hold
) -> None:
    child = hold(
        tmp_path,
        code="""
            import fcntl, os, sys
            fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
            print("held", flush=True)
            sys.stdin.readline()
        """,
    )
    disposable = Database(tmp_path / "list.sqlite", dataclasses.replace(IMPATIENT, disposable=True))
    with pytest.raises(BusyError) as raised, disposable.write():
        pass
    if Path("/proc/locks").exists():
        assert raised.value.holder.startswith(f"process {child.pid} (")
    child.kill()
    child.wait()
    with disposable.write() as sql:
        assert sql.execute("SELECT count(*) FROM numbers").fetchone() == (0,)
