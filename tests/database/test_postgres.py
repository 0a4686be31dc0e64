"""The studio's server: transactions, locks, versions, and a server that is gone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
import sqlalchemy
from mai_image.mai.database import (
    DatabaseGone,
    DatabaseServer,
    RolledBackError,
    Schema,
    database_at,
    repeat_if_rolled_back,
)
from mai_image.mai.errors import StoreError
from postgres_engine import PostgresEngine

METADATA = sqlalchemy.MetaData()
NOTES = sqlalchemy.Table(
    "notes",
    METADATA,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("text", sqlalchemy.String, nullable=False),
)
SCHEMA = Schema("Notes", 1, "OFF", "", tables=METADATA, part="notes")
NEXT = Schema(
    "Notes", 2, "OFF", "", tables=METADATA, part="notes",
    server_upgrades={1: ["ALTER TABLE notes ADD COLUMN author text"]},
)  # fmt: skip


@pytest.fixture
def server(postgres: str) -> Iterator[DatabaseServer]:
    server = DatabaseServer(postgres)
    yield server
    server.close()


def _add(server: DatabaseServer, text: str, schema: Schema = SCHEMA) -> None:
    with database_at(server, schema).transaction() as sql:
        sql.execute(NOTES.insert().values(text=text))


def _texts(server: DatabaseServer) -> list[str]:
    with database_at(server, SCHEMA).transaction(read_only=True) as sql:
        return list(sql.execute(sqlalchemy.select(NOTES.c.text).order_by(NOTES.c.id)).scalars())


def test_a_transaction_is_written_whole_or_not_at_all(server: DatabaseServer) -> None:
    _add(server, "kept")

    def fail() -> None:
        with database_at(server, SCHEMA).transaction() as sql:
            sql.execute(NOTES.insert().values(text="not kept"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert _texts(server) == ["kept"]


def test_everything_lies_in_one_schema_of_its_own(
    server: DatabaseServer, postgres: str, postgres_engine: PostgresEngine
) -> None:
    _add(server, "a")
    query = "SELECT table_schema, table_name FROM information_schema.tables"
    where = " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 2"
    found = postgres_engine.run_sql(query + where, postgres.rpartition("/")[2])
    assert found == [("mai_image", "notes"), ("mai_image", "versions")]


def test_a_role_needs_nothing_but_its_schema(
    postgres: str, postgres_engine: PostgresEngine
) -> None:
    name = postgres.rpartition("/")[2]
    for statement in (
        f"CREATE ROLE {name} LOGIN",
        f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC',
        f'GRANT CONNECT ON DATABASE "{name}" TO {name}',
        f"CREATE SCHEMA mai_image AUTHORIZATION {name}",
    ):
        postgres_engine.run_sql(statement, name)
    server = DatabaseServer(postgres_engine.url(name, role=name))
    _add(server, "a")
    assert _texts(server) == ["a"]
    server.close()


def test_a_role_without_rights_is_a_sentence(
    postgres: str, postgres_engine: PostgresEngine
) -> None:
    name = postgres.rpartition("/")[2]
    postgres_engine.run_sql(f"CREATE ROLE {name} LOGIN", name)
    server = DatabaseServer(postgres_engine.url(name, role=name))
    with pytest.raises(StoreError, match="doesn't give this machine's role its rights"):
        _add(server, "a")
    server.close()


def test_many_that_begin_together_make_the_tables_once(postgres: str) -> None:
    servers = [DatabaseServer(postgres) for _ in range(6)]
    threads = [threading.Thread(target=_add, args=(each, "a")) for each in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _texts(servers[0]) == ["a"] * 6
    for each in servers:
        each.close()


def test_tables_of_an_older_version_are_upgraded_and_keep_what_they_hold(
    server: DatabaseServer, postgres: str
) -> None:
    _add(server, "old")
    newer = DatabaseServer(postgres)
    with database_at(newer, NEXT).transaction() as sql:
        assert sql.exec_driver_sql("SELECT text, author FROM notes").all() == [("old", None)]
    newer.close()


def test_tables_of_a_newer_version_are_left_alone(postgres: str) -> None:
    newer, older = DatabaseServer(postgres), DatabaseServer(postgres)
    with database_at(newer, NEXT).transaction():
        pass
    with pytest.raises(StoreError, match="newer MAI Image"):
        _add(older, "a")
    newer.close()
    older.close()


def test_a_lock_is_held_by_one_transaction_at_a_time(server: DatabaseServer) -> None:
    """Each reads the last number and adds one: without the lock some would be written twice."""
    database = database_at(server, SCHEMA)

    @repeat_if_rolled_back
    def count() -> None:
        with database.transaction(locks=("numbers",)) as sql:
            texts = sql.execute(sqlalchemy.select(NOTES.c.text)).scalars().all()
            sql.execute(NOTES.insert().values(text=str(len(texts))))

    threads = [threading.Thread(target=lambda: [count() for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, _texts(server))) == list(range(40))


def test_those_who_stand_in_each_others_way_are_repeated(server: DatabaseServer) -> None:
    """Two that update the same rows in the opposite order: the server ends one of them."""
    for text in ("a", "b"):
        _add(server, text)
    both = threading.Barrier(2)
    tries: list[int] = []

    @repeat_if_rolled_back
    def swap(first: int, second: int) -> None:
        tries.append(first)
        with database_at(server, SCHEMA).transaction() as sql:
            sql.execute(NOTES.update().where(NOTES.c.id == first).values(text="x"))
            if len(tries) == 2 or len(tries) < 2:
                both.wait(10)
            sql.execute(NOTES.update().where(NOTES.c.id == second).values(text="y"))

    threads = [threading.Thread(target=swap, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tries) == 3
    assert sorted(_texts(server)) == ["x", "y"]


def test_a_machine_that_stops_in_the_middle_is_ended_by_the_server(server: DatabaseServer) -> None:
    """Its locks are free after some seconds, and it hears that nothing was written."""
    database = database_at(server, SCHEMA)
    _add(server, "a")

    @repeat_if_rolled_back
    def lock() -> None:
        with database.transaction(locks=("numbers",)) as sql:
            sql.execute(NOTES.insert().values(text="b"))

    def stand_still() -> None:
        with database.transaction(locks=("numbers",)) as sql:
            lock()
            sql.exec_driver_sql("SELECT 1")

    with pytest.raises(RolledBackError):
        stand_still()
    assert _texts(server) == ["a", "b"]


def test_the_time_is_the_servers(server: DatabaseServer) -> None:
    database = database_at(server, SCHEMA)
    with database.transaction(read_only=True) as sql:
        assert abs(database.now(sql) - time.time()) < 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_connects_for_itself(server: DatabaseServer) -> None:
    _add(server, "parent")
    pid = os.fork()
    if pid == 0:
        try:
            _add(server, "child")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    _add(server, "parent again")
    assert _texts(server) == ["parent", "child", "parent again"]


def test_a_server_that_was_restarted_is_used_again_unseen(own_postgres: PostgresEngine) -> None:
    server = DatabaseServer(own_postgres.url())
    _add(server, "before")
    own_postgres.kill()
    own_postgres.start()
    _add(server, "after")
    assert _texts(server) == ["before", "after"]
    server.close()


def test_a_server_that_is_away_is_a_sentence_without_its_host(own_postgres: PostgresEngine) -> None:
    server = DatabaseServer(own_postgres.url())
    _add(server, "before")
    own_postgres.kill()
    with pytest.raises(DatabaseGone) as raised:
        _add(server, "lost")
    assert "127.0.0.1" not in str(raised.value)
    assert str(own_postgres.port) not in str(raised.value)
    assert "doctor" in raised.value.hint
    server.close()


def test_a_server_that_stands_still_is_given_up_and_is_used_again_later(
    own_postgres: PostgresEngine,
) -> None:
    server = DatabaseServer(own_postgres.url(), answer_seconds=2)
    _add(server, "before")
    with own_postgres.frozen():
        for _ in range(2):  # on a connection that is there, and on a new one
            with pytest.raises(DatabaseGone, match="doesn't answer"):
                _add(server, "lost")
            time.sleep(1.1)
    _add(server, "after")
    assert [text for text in _texts(server) if text != "lost"] == ["before", "after"]
    server.close()


def test_those_who_come_after_one_who_waited_in_vain_dont_wait_too(
    own_postgres: PostgresEngine,
) -> None:
    server = DatabaseServer(own_postgres.url(), answer_seconds=2)
    _add(server, "before")
    with own_postgres.frozen():
        begun = time.monotonic()
        for _ in range(20):
            with pytest.raises(DatabaseGone):
                _add(server, "lost")
        assert time.monotonic() - begun < 20 * 2
    server.close()
