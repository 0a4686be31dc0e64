"""A studio's database can be gone in many ways: each is a sentence in 5 s, and nothing is sent."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from client_harness import (
    OneProfile,
    draw,
    failure,
    generate,
    image,
    outcome,
    profile_for,
    quick,
    until,
)
from mai_image.mai.client import Client
from mai_image.mai.database import DatabaseGone
from postgres_engine import PostgresEngine, binaries
from scripted_server import Scripted

PROMISED = 5.0
"""Seconds until the error says so."""

SLACK = 3.5
"""More seconds for a machine that runs other tests; one wait too many would be four more."""

ACCESS = """
local all all trust
host all guarded 127.0.0.1/32 scram-sha-256
host all unwanted 127.0.0.1/32 reject
host all stranger 127.0.0.1/32 trust
host all all 127.0.0.1/32 trust
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[PostgresEngine]:
    """A database that has something against each of its roles."""
    engine = PostgresEngine(binaries(), access=ACCESS)
    try:
        engine.start()
        for statement in (
            "CREATE ROLE guarded LOGIN PASSWORD 'right'",
            "CREATE ROLE unwanted LOGIN",
            "CREATE ROLE nologin",
            "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0",
        ):
            engine.run_sql(statement)
        yield engine
    finally:
        engine.close()


class Machine:
    """A ComfyUI machine that shares a database, and the service that it calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service = Scripted()
        self.client: Client

    def start(self, database: str, more: str = "") -> None:
        """Use the database at this address."""
        (self.folder / "profiles.toml").write_text(f'[shared]\ndatabase = "{database}"\n{more}')
        profile = OneProfile(self.folder, profile_for(self.service.url))
        self.client = Client(self.folder, profile)

    def refused(self, number: int) -> DatabaseGone:
        """The error of one more image, which came in time; nothing was sent or written."""
        begun = time.monotonic()
        found = failure(outcome(self.client.submit(generate(number)), 60))
        seconds = time.monotonic() - begun
        assert isinstance(found, DatabaseGone), found
        assert seconds < PROMISED + SLACK
        assert not self.service.requests
        names = {path.name for path in self.folder.iterdir()}
        assert not names & {"ledger.sqlite", "quota.sqlite", "unbooked.sqlite"}
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    quick(monkeypatch)
    machine = Machine(tmp_path)
    yield machine
    machine.client.close(grace=2)
    machine.service.close()


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("role", "more", "sentence"),
    [
        ("postgres@127.0.0.1:1/x", "", "doesn't take connections"),
        ("postgres@nowhere.invalid/x", "", "isn't found by its name"),
        ("postgres@127.0.0.1:{port}/nonesuch", "", "no database of that name"),
        ("nonesuch@127.0.0.1:{port}/postgres", "", "doesn't accept this machine's role"),
        ("nologin@127.0.0.1:{port}/postgres", "", "doesn't accept this machine's role"),
        ("guarded@127.0.0.1:{port}/postgres", "", "none is configured"),
        ("guarded@127.0.0.1:{port}/postgres", "wrong", "doesn't accept this machine's role"),
        ("guarded@127.0.0.1:{port}/postgres", "missing", "There is no password"),
        ("unwanted@127.0.0.1:{port}/postgres", "", "doesn't let this machine in"),
        ("crowded@127.0.0.1:{port}/postgres", "", "has no connection left"),
        ("postgres@127.0.0.1:{port}/postgres?sslmode=verify-full", "", "doesn't speak TLS"),
    ],
)
def test_a_database_that_cant_be_used_says_why(
    engine: PostgresEngine,
    machine: Machine,
    role: str,
    more: str,
    sentence: str,
) -> None:
    (machine.folder / "wrong").write_text("a-wrong-one")
    more = f'password_file = "{more}"\n' if more else ""
    machine.start(f"postgresql://{role.format(port=engine.port)}", more)
    for number in (1, 2):
        found = machine.refused(number)
        assert sentence in found.what
        assert not {"127.0.0.1", "nowhere.invalid", "a-wrong-one"} & set(str(found).split())


def test_one_that_swallows_everything_is_given_up(machine: Machine, black_hole: int) -> None:
    machine.start(f"postgresql://postgres@127.0.0.1:{black_hole}/postgres")
    for number in (1, 2):
        assert "doesn't answer" in machine.refused(number).what
        time.sleep(1.1)  # it isn't asked again at once


def test_a_name_server_that_never_answers_is_given_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = threading.Event()
    known = socket.getaddrinfo

    def look_up(host: object, *rest: object, **named: object) -> object:
        if host == "db.invalid":
            given_up.wait(60)
        return known(host, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    machine.start("postgresql://postgres@db.invalid/postgres")
    assert "doesn't answer" in machine.refused(1).what
    given_up.set()


def test_a_database_with_no_connection_left_says_so(machine: Machine) -> None:
    options = {"max_connections": "6", "superuser_reserved_connections": "2"}
    engine = PostgresEngine(binaries(), options)
    with contextlib.ExitStack() as stack:
        stack.callback(engine.close)
        engine.start()
        engine.run_sql("CREATE ROLE mai LOGIN")
        for _ in range(4):
            stack.enter_context(psycopg.connect(engine.url(role="mai")))
        machine.start(engine.url(role="mai"))
        assert "has no connection left" in machine.refused(1).what
        for _ in range(2):
            stack.enter_context(psycopg.connect(engine.url()))
        time.sleep(1.1)
        assert "has no connection left" in machine.refused(2).what


def _killed(engine: PostgresEngine) -> contextlib.AbstractContextManager[None]:
    engine.kill()
    return contextlib.nullcontext()


@contextlib.contextmanager
def _shutting_down(engine: PostgresEngine) -> Iterator[None]:
    """Let nobody in while somebody is there; and those who were there are gone."""
    with psycopg.connect(engine.url(), autocommit=True) as stays:
        engine.shut_down_smartly()
        log = engine.folder / "log"
        until(lambda: "received smart shutdown request" in log.read_text(), 30)
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
        stays.execute(f"{query} pg_backend_pid()")
        yield


@contextlib.contextmanager
def _standby(engine: PostgresEngine) -> Iterator[None]:
    """What a client reaches after a failover that left the old address behind."""
    engine.kill()
    engine.add_file("standby.signal", b"")
    engine.start()
    yield


@pytest.mark.parametrize(
    ("goes", "sentence"),
    [
        (_killed, "doesn't take connections"),
        (PostgresEngine.frozen, "doesn't answer"),
        (_shutting_down, "is starting or stopping"),
        (_standby, "only lets itself be read"),
    ],
)
def test_a_database_that_goes_while_it_is_used_says_how(
    own_postgres: PostgresEngine,
    machine: Machine,
    goes: Callable[[PostgresEngine], contextlib.AbstractContextManager[None]],
    sentence: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine.service.default = draw
    machine.start(own_postgres.url())
    image(outcome(machine.client.submit(generate(0)), 60))
    machine.service.requests.clear()
    with goes(own_postgres):
        for number in (1, 2):
            assert sentence in machine.refused(number).what
        assert image(outcome(machine.client.submit(generate(0)))).from_store
    assert "Traceback" not in caplog.text
