"""Two machines with folders of their own, and a folder that both keep their images in."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client_harness import (
    Harness,
    OneProfile,
    ask,
    batch,
    draw_after,
    failure,
    generate,
    image,
    outcome,
    until,
)
from mai_image.mai.client import Client
from mai_image.mai.errors import BudgetError, StoreError
from mai_image.mai.ledger import ImagePlace, Ledger
from mai_image.mai.store import ObjectStore, SharedStore
from mai_image.mai.types import Budget, Result
from object_stores import Folder

Start = Callable[[str], Client]


@pytest.fixture
def images(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "studio")


@pytest.fixture
def start(harness: Harness, images: Folder, tmp_path: Path) -> Start:
    """Starts a machine by its name, again after it has ended too."""

    def begin(name: str, **changes: object) -> Client:
        folder = tmp_path / name
        store = SharedStore(folder / "store", 10**9, ObjectStore(images.address))
        return harness.start_in(folder, store=store, **changes)

    return begin


@pytest.fixture
def start_on_postgres(harness: Harness, images: Folder, tmp_path: Path, postgres: str) -> Start:
    """As `start`, on one PostgreSQL."""

    def begin(name: str) -> Client:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        places = f'database = "{postgres}"\nimages = "{images.address}"\nmachine = "{name}"\n'
        (folder / "profiles.toml").write_text(f"[shared]\n{places}")
        harness.clients.append(Client(folder, OneProfile(folder, harness.profile)))
        return harness.clients[-1]

    return begin


def shared(client: Client) -> SharedStore:
    assert isinstance(client.store, SharedStore)
    return client.store


def test_an_image_is_bought_by_one_machine_and_given_to_the_other(harness: Harness, start: Start):
    one, other = start("one"), start("other")
    bought = image(*ask(one, [generate(0)]))
    until(lambda: shared(one).waiting() == 0)
    given = image(*ask(other, [generate(0)]))
    assert given.image == bought.image
    assert (given.cost_usd, given.from_store) == (0.0, True)
    assert len(harness.server.billed) == 1


def test_without_the_object_store_what_is_here_is_given_and_nothing_is_sent(
    harness: Harness, start: Start, images: Folder
):
    one = start("one")
    bought = image(*ask(one, [generate(0)]))
    until(lambda: shared(one).waiting() == 0)
    images.stop()
    assert image(*ask(one, [generate(0)])).image == bought.image
    error = failure(*ask(one, [generate(1)]))
    assert isinstance(error, StoreError)
    assert "can't be known" in str(error)
    assert len(harness.server.requests) == 1
    images.resume()
    assert image(*ask(one, [generate(1)]))


def test_an_image_that_comes_while_the_object_store_is_gone_is_given_and_brought_later(
    harness: Harness, start: Start, images: Folder
):
    one = start("one")
    image(*ask(one, [generate(0)]))
    until(lambda: shared(one).waiting() == 0)
    gate = threading.Event()
    harness.server.default = draw_after(lambda: gate.wait(10))
    future = one.submit(generate(1))
    until(lambda: len(harness.server.requests) == 2)
    images.stop()
    gate.set()
    assert image(outcome(future))
    assert shared(one).waiting() == 1
    harness.stop()
    images.resume()
    again = start("one")
    until(lambda: shared(again).waiting() == 0)
    assert image(*ask(start("other"), [generate(1)])).cost_usd == 0.0
    assert len(harness.server.billed) == 2


def test_the_end_brings_what_is_still_here(harness: Harness, start: Start, images: Folder):
    image(*ask(start("one"), [generate(0)]))
    harness.stop()
    assert image(*ask(start("other"), [generate(0)])).from_store


def test_an_image_that_is_damaged_in_the_object_store_is_bought_again_and_repaired(
    harness: Harness, start: Start, images: Folder, caplog: pytest.LogCaptureFixture
):
    image(*ask(start("one"), [generate(0)]))
    harness.stop()
    (path,) = images.path.glob("??/*.png")
    path.write_bytes(b"\x89PNG noise")
    with caplog.at_level(logging.WARNING):
        again = image(*ask(start("other"), [generate(0)]))
    assert not again.from_store
    assert "is damaged" in caplog.text
    harness.stop()
    assert path.read_bytes() == again.image
    assert len(harness.server.billed) == 2


@pytest.mark.parametrize("lost", ["??/*.json", "??/*.png", "??/*"])
@pytest.mark.parametrize("left", [None, b"\x89PNG noise"], ids=["deleted", "damaged"])
def test_an_image_that_was_lost_there_is_bought_again_and_everybody_is_told(
    start_on_postgres: Start,
    harness: Harness,
    images: Folder,
    lost: str,
    left: bytes | None,
    caplog: pytest.LogCaptureFixture,
):
    request = generate(0)
    image(*ask(start_on_postgres("one"), [request]))
    harness.stop()
    for path in images.path.glob(lost):
        path.unlink() if left is None else path.write_bytes(left)
    with caplog.at_level(logging.WARNING):
        again = image(*ask(start_on_postgres("other"), [request]))
    assert not again.from_store
    (note,) = again.notes
    assert "bought again: one bought this image on 20" in note
    assert f"Image {harness.key(request)} is {note}" in caplog.text
    harness.stop()
    given = image(*ask(start_on_postgres("third"), [request]))
    assert (given.image, given.notes) == (again.image, ())
    assert len(harness.server.billed) == 2


def test_an_image_that_is_bought_for_the_first_time_is_no_loss(start: Start):
    assert image(*ask(start("one"), [generate(0)])).notes == ()


@pytest.mark.parametrize("deleted", ["??/*.json", "??/*.png", "??/*"])
def test_what_was_deleted_there_is_brought_back_by_a_machine_that_gives_it(
    start_on_postgres: Start,
    harness: Harness,
    images: Folder,
    deleted: str,
    caplog: pytest.LogCaptureFixture,
):
    bought = image(*ask(start_on_postgres("one"), [generate(0)]))
    harness.stop()
    there = sorted(images.path.glob("??/*"))
    for path in images.path.glob(deleted):
        path.unlink()
    with caplog.at_level(logging.WARNING):
        assert image(*ask(start_on_postgres("one"), [generate(0)])).from_store
        harness.stop()
    assert "brings it back" in caplog.text
    assert sorted(images.path.glob("??/*")) == there
    assert image(*ask(start_on_postgres("other"), [generate(0)])).image == bought.image
    assert len(harness.server.billed) == 1


def test_what_was_forgotten_stays_forgotten_where_a_machine_still_gives_it(
    start_on_postgres: Start, harness: Harness, images: Folder
):
    one = start_on_postgres("one")
    image(*ask(one, [generate(0)]))
    until(lambda: shared(one).waiting() == 0)
    key = harness.key(generate(0))
    one.run(shared(one).forget_shared(key)).result(10)
    one.ledger.set_image(key, ImagePlace.ALONE)
    assert image(*ask(one, [generate(0)])).from_store
    harness.stop()
    assert list(images.path.glob("??/*")) == []


def test_an_image_that_the_studio_has_costs_no_budget(harness: Harness, start: Start):
    ask(start("one"), batch(3))
    harness.stop()
    other = start("other", budget=Budget(day=0.000001))
    other.check_affordable(batch(3))
    with pytest.raises(BudgetError):
        other.check_affordable([*batch(3), generate("new")])
    assert [image(found).cost_usd for found in ask(other, batch(3))] == [0.0] * 3


def test_what_another_machine_delivers_between_look_and_row_is_not_bought_again(
    harness: Harness, start: Start, monkeypatch: pytest.MonkeyPatch
):
    one, other = start("one"), start("other")
    opened = Ledger.open

    def late(self: Ledger, *arguments: object, **named: object) -> str:
        if self is other.ledger:
            image(*ask(one, [generate(0)]))
            until(lambda: shared(one).waiting() == 0)
        return opened(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "open", late)
    assert image(*ask(other, [generate(0)])).from_store
    assert len(harness.server.billed) == 1
    (row,) = other.ledger.rows()
    assert row["outcome"] == "withdrawn"


def test_what_is_brought_while_the_second_look_goes_on_is_not_bought_again(
    harness: Harness, start_on_postgres: Start, monkeypatch: pytest.MonkeyPatch
):
    one, other = start_on_postgres("one"), start_on_postgres("other")
    gate = threading.Event()
    opened, put, fetch = Ledger.open, shared(one).images.put, shared(other).fetch

    def late(self: Ledger, *arguments: object, **named: object) -> str:
        if self is other.ledger:
            image(*ask(one, [generate(0)]))
        return opened(self, *arguments, **named)  # type: ignore[arg-type]

    async def put_late(stored: Any) -> None:
        await asyncio.to_thread(gate.wait, 10)
        await put(stored)

    async def bring_after(*keys: str) -> Result | None:
        found = await fetch(*keys)
        if any(row["outcome"] == "in flight" for row in other.ledger.rows()):
            gate.set()
            await asyncio.to_thread(until, lambda: shared(one).waiting() == 0)
        return found

    monkeypatch.setattr(Ledger, "open", late)
    monkeypatch.setattr(shared(one).images, "put", put_late)
    monkeypatch.setattr(shared(other), "fetch", bring_after)
    assert image(*ask(other, [generate(0)])).from_store
    assert len(harness.server.billed) == 1
