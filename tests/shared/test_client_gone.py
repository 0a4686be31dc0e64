"""The client of a machine whose [shared] database is there, gone, or changed."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_harness import (
    COST,
    OneProfile,
    draw,
    draw_after,
    failure,
    generate,
    image,
    outcome,
    profile_for,
    quicken,
    until,
)
from mai_image.mai.client import Client
from mai_image.mai.database import DatabaseGone
from mai_image.mai.errors import BudgetError, ProfileError
from mai_image.mai.types import Budget
from postgres_engine import PostgresEngine
from scripted_server import Scripted


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch.setattr)
    monkeypatch.setattr("mai_image.mai.client.BEAT_SECONDS", 0.2)


@pytest.fixture
def service() -> Iterator[Scripted]:
    server = Scripted(default=draw)
    yield server
    server.close()


class Machines:
    """ComfyUI machines with folders of their own, one database and one service."""

    def __init__(self, folder: Path, service: Scripted, database: str) -> None:
        self.folder = folder
        self.service = service
        self.database = database
        self.clients: list[Client] = []

    def start(self, name: str, **changes: object) -> Client:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        text = f'[shared]\ndatabase = "{self.database}"\nmachine = "{name}"\n'
        (folder / "profiles.toml").write_text(text)
        profile = profile_for(self.service.url)
        profile = dataclasses.replace(profile, **changes)  # type: ignore[arg-type]
        self.clients.append(Client(folder, OneProfile(folder, profile)))
        return self.clients[-1]

    def close(self) -> None:
        while self.clients:
            self.clients.pop().close(grace=2)


@pytest.fixture
def machines(tmp_path: Path, service: Scripted, postgres: str) -> Iterator[Machines]:
    made = Machines(tmp_path, service, postgres)
    yield made
    made.close()


@pytest.fixture
def on_own_server(
    tmp_path: Path, service: Scripted, own_postgres: PostgresEngine
) -> Iterator[Machines]:
    made = Machines(tmp_path, service, own_postgres.url())
    yield made
    made.close()


def test_machines_have_one_bill_and_one_budget(machines: Machines) -> None:
    budget = Budget(day=1.5 * COST)
    one, two = machines.start("one", budget=budget), machines.start("two", budget=budget)
    image(outcome(one.submit(generate(1))))
    assert isinstance(failure(outcome(two.submit(generate(2)))), BudgetError)
    assert len(machines.service.billed) == 1
    assert one.ledger.spend() == two.ledger.spend()
    assert [share.name for share in two.ledger.spend_by("machine")] == ["one"]
    assert not (machines.folder / "one" / "ledger.sqlite").exists()


def test_nothing_is_sent_while_the_database_is_gone_and_what_is_kept_is_given(
    on_own_server: Machines, own_postgres: PostgresEngine
) -> None:
    client = on_own_server.start("one")
    image(outcome(client.submit(generate(1))))
    own_postgres.kill()
    found = failure(outcome(client.submit(generate(2))))
    assert isinstance(found, DatabaseGone)
    assert "127.0.0.1" not in str(found)
    assert image(outcome(client.submit(generate(1)))).from_store
    assert len(on_own_server.service.billed) == 1
    own_postgres.start()
    until(lambda: not isinstance(outcome(client.submit(generate(3))), DatabaseGone))
    assert len(on_own_server.service.billed) == 2


def test_a_call_that_is_out_while_the_database_stands_still_arrives_and_is_booked_later(
    on_own_server: Machines, own_postgres: PostgresEngine
) -> None:
    answered = threading.Event()
    on_own_server.service.default = draw_after(lambda: answered.wait(30))
    client = on_own_server.start("one")
    out = client.submit(generate(1))
    until(lambda: len(on_own_server.service.billed) == 1, 20)
    with own_postgres.frozen():
        answered.set()
        image(outcome(out))
    until(lambda: _is_booked(client), 20)
    assert client.ledger.spend().total.usd == pytest.approx(COST)


def _is_booked(client: Client) -> bool:
    try:
        return client.ledger.spend().in_flight.calls == 0
    except DatabaseGone:
        return False


def test_what_a_machine_shares_is_not_changed_under_its_calls(machines: Machines) -> None:
    client = machines.start("one")
    path = machines.folder / "one" / "profiles.toml"
    text = path.read_text()
    path.write_text("")
    assert isinstance(failure(outcome(client.submit(generate(1)))), ProfileError)
    assert len(machines.service.billed) == 0
    path.write_text(text)
    image(outcome(client.submit(generate(1))))


def test_a_machine_alone_writes_its_name_too(tmp_path: Path, service: Scripted) -> None:
    client = Client(tmp_path, OneProfile(tmp_path, profile_for(service.url)))
    image(outcome(client.submit(generate(1))))
    (row,) = client.ledger.rows()
    assert row["machine"] == client.profiles.machine() != ""
    assert (tmp_path / "ledger.sqlite").exists()
    assert not (tmp_path / "unbooked.sqlite").exists()
    client.close(grace=2)
