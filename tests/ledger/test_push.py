"""`push_to`: the calls of a machine's own ledger, brought into the one that a studio shares."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from mai_image.mai.database import DatabaseServer
from mai_image.mai.ledger import ImagePlace, Ledger, NewCall, Outcome
from mai_image.mai.types import Budget, Usage
from postgres_engine import PostgresEngine
from store_helpers import key

NO_LIMIT = Budget()


def call(name: str) -> NewCall:
    return NewCall(key(name), "work", "foundry", "MAI-Image-2.6", "generate", 0.05)


def buy(
    ledger: Ledger, name: str, outcome: Outcome = Outcome.DELIVERED, cost: float = 0.04
) -> None:
    row = ledger.open(call(name), NO_LIMIT)
    ledger.mark_sent(row, "a deployment")
    ledger.close(row, outcome, cost_usd=cost, usage=Usage(1, 2, 3))


@pytest.fixture
def own(tmp_path: Path) -> Ledger:
    """A machine's own ledger, with three calls that count and one that doesn't."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    buy(ledger, "a")
    buy(ledger, "b", cost=0.03)
    buy(ledger, "c", Outcome.REFUSED)
    buy(ledger, "d", Outcome.BLOCKED)
    return ledger


@pytest.fixture
def shared(postgres: str) -> Ledger:
    return Ledger(DatabaseServer(postgres), machine="render-07", user="ada")


def test_all_calls_and_their_sums_are_brought(own: Ledger, shared: Ledger) -> None:
    pushed = own.push_to(shared)
    assert (pushed.brought, pushed.there, pushed.in_flight) == (4, 0, 0)
    assert shared.spend().total == own.spend().total
    assert shared.spend().total.usd == pytest.approx(0.11)
    mine = [{**row, "id": 0, "machine": "render-07", "user": "ada"} for row in own.rows()]
    assert [{**row, "id": 0} for row in shared.rows()] == mine


def test_bringing_them_again_counts_nothing_twice(own: Ledger, shared: Ledger) -> None:
    own.push_to(shared)
    before = shared.spend()
    again = own.push_to(shared)
    assert (again.brought, again.there) == (0, 4)
    assert shared.spend() == before
    buy(own, "e", cost=0.01)
    assert own.push_to(shared).brought == 1
    assert shared.spend().total == own.spend().total


def test_what_is_in_flight_stays_until_it_has_ended(own: Ledger, shared: Ledger) -> None:
    row = own.open(call("e"), NO_LIMIT)
    assert own.push_to(shared).in_flight == 1
    assert len(shared.rows()) == 4
    own.close(row, Outcome.DELIVERED, cost_usd=0.02)
    assert own.push_to(shared).brought == 1
    assert shared.spend().total == own.spend().total


def test_a_dry_run_says_it_and_changes_nothing(own: Ledger, shared: Ledger) -> None:
    assert own.push_to(shared, dry_run=True).brought == 4
    assert shared.rows() == []


def test_two_machines_add_up(own: Ledger, shared: Ledger, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "other" / "ledger.sqlite")
    for name in range(150):  # more than one transaction
        buy(other, str(name), cost=0.01)
    own.push_to(shared)
    assert other.push_to(shared).brought == 150
    total = own.spend().total.usd + other.spend().total.usd
    assert shared.spend().total.usd == pytest.approx(total)


# Images that are bought and not where other machines find them yet


def test_an_image_is_awaited_from_its_machine_until_it_is_shared(postgres: str) -> None:
    one = Ledger(DatabaseServer(postgres), machine="one", shares_images=True)
    other = Ledger(DatabaseServer(postgres), machine="other", shares_images=True)
    assert other.awaited_from(key("a")) is None
    buy(one, "a")
    assert other.awaited_from(key("a")) == "one"
    one.set_image(key("a"), ImagePlace.SHARED)
    assert other.awaited_from(key("a")) is None


def test_an_image_that_is_given_up_is_awaited_no_longer(postgres: str) -> None:
    one = Ledger(DatabaseServer(postgres), machine="one", shares_images=True)
    buy(one, "a")
    one.set_image(key("a"), ImagePlace.ALONE)
    assert one.awaited_from(key("a")) is None


def test_an_image_that_is_in_flight_is_awaited_although_older_ones_are_given_up(
    postgres: str,
) -> None:
    one = Ledger(DatabaseServer(postgres), machine="one", shares_images=True)
    row = one.open(call("a"), NO_LIMIT)
    one.set_image(key("a"), ImagePlace.ALONE)
    one.close(row, Outcome.DELIVERED, cost_usd=0.04)
    assert one.awaited_from(key("a")) == "one"


def test_who_shared_an_image_is_known_until_it_is_given_up(postgres: str) -> None:
    one = Ledger(DatabaseServer(postgres), machine="one", shares_images=True)
    other = Ledger(DatabaseServer(postgres), machine="other", shares_images=True)
    buy(one, "a")
    assert other.shared_before(key("a")) is None
    one.set_image(key("a"), ImagePlace.SHARED)
    found = other.shared_before(key("a"))
    assert found is not None
    assert found.machine == "one"
    other.set_image(key("a"), ImagePlace.ALONE)
    assert one.shared_before(key("a")) is None


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.WITHDRAWN, Outcome.BLOCKED])
def test_a_call_that_brought_no_image_keeps_nobody_waiting(postgres: str, outcome: Outcome) -> None:
    one = Ledger(DatabaseServer(postgres), machine="one", shares_images=True)
    buy(one, "a", outcome)
    assert one.awaited_from(key("a")) is None


def test_images_of_a_machine_that_shares_none_are_awaited_by_nobody(postgres: str) -> None:
    one = Ledger(DatabaseServer(postgres), machine="one")
    buy(one, "a")
    assert one.awaited_from(key("a")) is None


def test_what_is_brought_from_before_is_known_as_shared(own: Ledger, shared: Ledger) -> None:
    own.push_to(shared)
    shared.set_shared([key("a"), key("d")])
    found = shared.shared_before(key("a"))
    assert found is not None
    assert found.machine == "render-07"
    assert shared.shared_before(key("b")) is None
    assert shared.shared_before(key("d")) is None  # it was blocked


@pytest.mark.parametrize("server", [False, True])
def test_tables_of_version_3_are_upgraded_and_know_who_shared_an_image(
    server: bool, tmp_path: Path, postgres: str, postgres_engine: PostgresEngine
) -> None:
    file = tmp_path / "ledger.sqlite"
    older = Ledger(DatabaseServer(postgres) if server else file, machine="one", shares_images=True)
    buy(older, "a")
    older.set_image(key("a"), ImagePlace.SHARED)
    older.close_file()
    index = 'CREATE INDEX by_image ON calls ("key") WHERE image = 1'
    if server:
        name = postgres.rpartition("/")[2]
        change = f"SET search_path = mai_image; DROP INDEX by_image; {index};"
        change += " UPDATE versions SET version = 3 WHERE part = 'ledger'"
        postgres_engine.run_sql(change, name)
    else:
        with contextlib.closing(sqlite3.connect(file)) as sql, sql:
            sql.executescript(f"DROP INDEX by_image; {index}; PRAGMA user_version = 3")
    newer = Ledger(DatabaseServer(postgres) if server else file)
    found = newer.shared_before(key("a"))
    assert found is not None
    assert found.machine == "one"
    newer.close_file()
    if server:
        asked = "SELECT indexdef FROM pg_indexes WHERE indexname = 'by_image'"
        (made,) = postgres_engine.run_sql(asked, name)
    else:
        with contextlib.closing(sqlite3.connect(file)) as sql:
            made = sql.execute("SELECT sql FROM sqlite_master WHERE name = 'by_image'").fetchone()
    assert "image > 0" in str(made)
