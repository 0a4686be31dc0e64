"""A disposable SQLite file that is damaged, also while it is in use: begun anew, once, for all."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mai_image.mai.database import DamagedError, Database, Schema, repeat_if_damaged
from store_helpers import POSIX

DISPOSABLE = Schema(
    name="The list",
    version=1,
    statements=(
        "CREATE TABLE numbers (n INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, filler BLOB)",
    ),
    synchronous="OFF",
    if_damaged="Remove it.",
    disposable=True,
)

PAGE = 4096


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "list.sqlite", DISPOSABLE)
    fill(database)
    yield database
    database.close_file()


def fill(database: Database) -> None:
    with database.write() as sql:
        for number in range(30):
            row = (f"name {number}", os.urandom(600))
            sql.execute("INSERT INTO numbers (name, filler) VALUES (?, ?)", row)


@repeat_if_damaged
def replace_all(database: Database) -> int:
    """Reads and writes every page; gives how many rows there were."""
    with database.write() as sql:
        rows = sql.execute("SELECT * FROM numbers").fetchall()
        sql.execute("UPDATE numbers SET name = name || '.', filler = randomblob(600)")
        for number in range(5):
            sql.execute("INSERT OR REPLACE INTO numbers (name) VALUES (?)", (f"new {number}",))
        return len(rows)


def damage_page(path: Path, number: int) -> None:
    with path.open("r+b") as file:
        file.seek(number * PAGE)
        file.write(random.Random(number).randbytes(PAGE))


def checkpoint(path: Path) -> int:
    """Moves everything from the -wal file to the main one; gives its pages."""
    sql = sqlite3.connect(path)
    sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sql.close()
    return path.stat().st_size // PAGE


def test_every_page_may_be_damaged_while_the_file_is_in_use(tmp_path: Path) -> None:
    probe = Database(tmp_path / "probe.sqlite", DISPOSABLE)
    fill(probe)
    pages = checkpoint(probe.path)
    probe.close_file()
    assert pages >= 6
    for number in range(pages):
        database = Database(tmp_path / f"{number}.sqlite", DISPOSABLE)
        fill(database)
        checkpoint(database.path)
        damage_page(database.path, number)
        # A connection that has the file open may still know a page: a second process doesn't.
        for user in (database, Database(database.path, DISPOSABLE)):
            replace_all(user)
            fill(user)
            user.verify()
            user.close_file()


def _garbage(path: Path) -> None:
    path.write_bytes(b"garbage, and no header of a database " * 1000)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _other_tables(path: Path) -> None:
    path.unlink()
    sql = sqlite3.connect(path)
    sql.execute("CREATE TABLE something (else_)")
    sql.execute("PRAGMA user_version=1")
    sql.commit()
    sql.close()


def _no_text(path: Path) -> None:
    sql = sqlite3.connect(path)
    sql.execute("UPDATE numbers SET name = CAST(x'fffe80' AS TEXT) WHERE n = 7")
    sql.commit()
    sql.close()


@POSIX
@pytest.mark.parametrize("damage", [_garbage, _cut, _empty, _other_tables, _no_text])
@pytest.mark.parametrize("is_open", [True, False])
def test_a_damaged_file_is_begun_anew(
    database: Database, damage: Callable[[Path], None], is_open: bool
) -> None:
    checkpoint(database.path)
    if not is_open:
        database.close_file()
    damage(database.path)
    replace_all(database)
    database.verify()
    assert replace_all(database) <= 35


def test_a_damaged_wal_file_is_no_obstacle(database: Database) -> None:
    wal = database.path.with_name("list.sqlite-wal")
    size = wal.stat().st_size
    with wal.open("r+b") as file:
        file.seek(32)
        file.write(os.urandom(size - 32))
    for user in (database, Database(database.path, DISPOSABLE)):
        replace_all(user)
        user.verify()
        user.close_file()


def test_the_transaction_that_meets_the_damage_says_that_it_may_be_repeated(
    database: Database,
) -> None:
    checkpoint(database.path)
    database.close_file()
    for number in range(1, database.path.stat().st_size // PAGE):
        damage_page(database.path, number)

    def insert_twice() -> None:
        with database.write(), database.write() as sql:
            sql.execute("INSERT INTO numbers (name) VALUES ('one')")

    with pytest.raises(DamagedError, match="Remove it") as raised:
        insert_twice()
    assert raised.value.begun_anew
    assert database.path.with_name("list.sqlite.damaged").exists()
    insert_twice()
    database.verify()


def test_the_damage_of_another_file_is_no_reason_to_put_this_one_aside(
    database: Database, tmp_path: Path
) -> None:
    other = Database(tmp_path / "other.sqlite", DISPOSABLE)
    fill(other)
    checkpoint(other.path)
    other.close_file()
    for number in range(1, other.path.stat().st_size // PAGE):
        damage_page(other.path, number)
    with pytest.raises(DamagedError), database.write(), other.write() as sql:
        sql.execute("INSERT INTO numbers (name) VALUES ('one')")
    assert other.path.with_name("other.sqlite.damaged").exists()
    assert not database.path.with_name("list.sqlite.damaged").exists()
    assert replace_all(database) == 30
    other.close_file()


PROCESS = """
    import os, sys, time
    from pathlib import Path
    sys.path[:0] = sys.argv[3].split(os.pathsep)
    from test_damage import DISPOSABLE
    from mai_image.mai.database import Database, repeat_if_damaged
    database = Database(Path(sys.argv[1]), DISPOSABLE)
    name = sys.argv[2]

    @repeat_if_damaged
    def add(number):
        with database.write() as sql:
            sql.execute("SELECT sum(length(filler)) FROM numbers").fetchone()
            sql.execute("INSERT INTO numbers (name) VALUES (?)", (f"{name} {number}",))

    with database.read() as sql:
        sql.execute("SELECT 1 FROM numbers LIMIT 1").fetchone()
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(200):
        add(number)
    database.close_file()
"""


@POSIX
@pytest.mark.parametrize("damage", [_garbage, _cut])
def test_processes_that_find_the_damage_together_end_on_one_new_file(
    database: Database, damage: Callable[[Path], None]
) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    command = [sys.executable, "-c", textwrap.dedent(PROCESS), str(database.path)]
    children = [
        subprocess.Popen(
            [*command, str(name), paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in range(6)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    checkpoint(database.path)
    damage(database.path)
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=60)
    assert [child.returncode for child in children] == [0] * 6
    database.close_file()
    database.verify()
    with database.read() as sql:
        last = {row[0] for row in sql.execute("SELECT name FROM numbers WHERE name LIKE '% 199'")}
    assert last == {f"{name} 199" for name in range(6)}
