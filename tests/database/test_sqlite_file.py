"""A SQLite file on a full or failing disk, and transactions within transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image.mai.database import Database, Schema
from mai_image.mai.errors import StoreError

SCHEMA = Schema(
    name="The list",
    version=1,
    statements=("CREATE TABLE numbers (n INTEGER, filler BLOB)",),
    synchronous="FULL",
    if_damaged="Remove it.",
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "list.sqlite", SCHEMA)
    yield database
    database.close_file()


def add(database: Database, number: int) -> None:
    with database.write() as sql:
        sql.execute("INSERT INTO numbers VALUES (?, zeroblob(100))", (number,))


def count(database: Database) -> int:
    with database.read() as sql:
        return int(sql.execute("SELECT count(*) FROM numbers").fetchone()[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("attempt to write a readonly database", "can't be written"),
        ("unable to open database file", "can't be written"),
        ("database or disk is full", "disk is full"),
        ("disk I/O error", "disk I/O error"),
    ],
)
def test_a_failing_disk_is_a_clear_error_and_writes_nothing(
    database: Database, text: str, said: str
) -> None:
    def fail() -> None:
        with database.write() as sql:
            sql.execute("INSERT INTO numbers VALUES (1, '')")
            raise sqlite3.OperationalError(text)

    with pytest.raises(StoreError, match=said):
        fail()
    assert count(database) == 0
    add(database, 1)
    assert count(database) == 1


def test_a_full_disk_is_a_clear_error_and_the_file_goes_on_after(database: Database) -> None:
    with database.read() as sql:
        pages = sql.execute("PRAGMA page_count").fetchone()[0]
        sql.execute(f"PRAGMA max_page_count={pages}")

    def fill() -> None:
        for number in range(1000):
            add(database, number)

    with pytest.raises(StoreError, match="disk is full"):
        fill()
    before = count(database)
    with database.read() as sql:
        sql.execute("PRAGMA max_page_count=1000000")
    add(database, -1)
    assert count(database) == before + 1


def test_nested_writes_are_one_transaction(database: Database) -> None:
    def fail() -> None:
        with database.write() as outer:
            outer.execute("INSERT INTO numbers VALUES (1, '')")
            add(database, 2)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert count(database) == 0


def test_a_file_that_was_closed_is_opened_by_the_next_use(database: Database) -> None:
    add(database, 1)
    database.close_file()
    database.close_file()
    assert count(database) == 1
