"""Images that several machines share, on real object stores: a folder, Azurite, moto's S3."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import pytest
from faulty_server import FAULTS, FaultyServer
from mai_image.mai.errors import StoreError, UnreadableError
from mai_image.mai.store import ObjectStore, Order, SharedStore, Store, objects, prune, push
from mai_image.mai.store.objects import StoredObject
from mai_image.mai.store.shared import LOOKED_FOR_AT_ONCE
from mai_image.mai.types import Result
from object_stores import Engine
from slow_link import SlowLink
from store_helpers import image, key, put

T = TypeVar("T")

FOX = key("fox")


def machine(engine: Engine, folder: Path, **options: Any) -> SharedStore:
    """The store of one machine, whose cache is in `folder`."""
    return SharedStore(folder, 10_000_000_000, engine.objects(), **options)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def names(engine: Engine) -> list[str]:
    """All objects that are there."""

    async def collect() -> list[str]:
        return [one.name async for page in engine.objects().list() for one in page]

    return sorted(run(collect()))


def sell(store: SharedStore, name: str = "fox", data: bytes = b"\x89PNG a fox") -> Result:
    """An image is bought on this machine, and reaches the object store."""
    put(store, name, image(data))
    run(store.bring())
    kept = store.get(key(name))
    assert kept is not None
    return kept


@pytest.fixture
def here(engine: Engine, tmp_path: Path) -> SharedStore:
    return machine(engine, tmp_path / "here")


@pytest.fixture
def there(engine: Engine, tmp_path: Path) -> SharedStore:
    return machine(engine, tmp_path / "there")


def test_what_one_machine_has_bought_another_one_is_given(here: SharedStore, there: SharedStore):
    bought = sell(here)
    assert there.get(FOX) is None
    assert run(there.fetch(FOX)) == bought
    assert run(there.fetch(key("a cat"))) is None


def test_a_fetched_image_is_in_the_local_cache_from_then_on(
    here: SharedStore, there: SharedStore, engine: Engine
):
    bought = sell(here)
    run(there.fetch(FOX))
    engine.stop()
    assert there.get(FOX) == bought
    assert [each["key"] for each in there.recent(5)] == [FOX]


def test_an_image_is_brought_once_however_often_it_is_asked_for(
    here: SharedStore, there: SharedStore, engine: Engine
):
    sell(here)
    before = names(engine)
    run(there.fetch(FOX))
    run(here.bring())
    run(there.bring())
    assert names(engine) == before
    assert here.waiting() == there.waiting() == 0


def test_of_two_images_for_one_key_the_first_counts_and_the_other_leaves_nothing(
    here: SharedStore, there: SharedStore, engine: Engine, tmp_path: Path
):
    first = sell(here, data=b"\x89PNG first")
    before = names(engine)
    sell(there, data=b"\x89PNG second")
    assert names(engine) == before
    third = machine(engine, tmp_path / "third")
    assert run(third.fetch(FOX)) == first


@pytest.mark.parametrize("damage", ["other bytes", "shortened", "no bytes", "no sidecar", "noise"])
def test_a_damaged_object_is_noticed_and_never_served(
    here: SharedStore,
    there: SharedStore,
    engine: Engine,
    damage: str,
    caplog: pytest.LogCaptureFixture,
):
    sell(here)
    break_object(engine, damage)
    with caplog.at_level(logging.WARNING):
        assert run(there.fetch(FOX)) is None
    assert there.get(FOX) is None
    if damage != "no sidecar":  # then nothing says that there was an image
        assert "is damaged" in caplog.text


@pytest.mark.parametrize("damage", ["other bytes", "shortened", "no bytes", "no sidecar", "noise"])
def test_a_damaged_object_is_repaired_by_whoever_buys_it_anew(
    here: SharedStore, there: SharedStore, engine: Engine, damage: str, tmp_path: Path
):
    sell(here)
    break_object(engine, damage)
    again = sell(there)
    third = machine(engine, tmp_path / "third")
    assert run(third.fetch(FOX)) == again


def break_object(engine: Engine, damage: str) -> None:
    """Damage the one image that is there."""
    objects = engine.objects()
    (data,) = [name for name in names(engine) if FOX in name and name.endswith(".png")]
    sidecar = f"{FOX[:2]}/{FOX}.json"
    work = {
        "other bytes": lambda: objects.replace(data, b"\x89PNG a box"),
        "shortened": lambda: objects.replace(data, b"\x89PNG"),
        "no bytes": lambda: objects.delete(data),
        "no sidecar": lambda: objects.delete(sidecar),
        "noise": lambda: objects.replace(sidecar, b"{"),
    }
    run(work[damage]())


def test_what_is_damaged_here_is_had_from_the_object_store(here: SharedStore):
    bought = sell(here)
    (here.folder / FOX[:2] / f"{FOX}.png").write_bytes(b"\x89PNG a box")
    assert here.get(FOX) is None
    assert run(here.fetch(FOX)) == bought
    assert here.get(FOX) == bought


def test_what_was_paid_for_and_cannot_be_read_is_bought_by_no_machine_again(
    here: SharedStore, there: SharedStore
):
    error = UnreadableError("It has no pixels.", request_id="rid-9", cost_usd=0.1)
    error.received = b"no image"
    here.keep_unreadable(FOX, "MAI-Image-2.6", error, Order("a fox", "foundry", "work"))
    run(here.bring())
    with pytest.raises(UnreadableError, match="It has no pixels"):
        run(there.fetch(FOX))
    run(there.forget_shared(FOX))
    assert run(there.fetch(FOX)) is None


def test_an_image_that_is_forgotten_is_in_the_object_store_no_longer(
    here: SharedStore, there: SharedStore, engine: Engine
):
    sell(here)
    run(there.forget_shared(FOX))
    assert run(there.fetch(FOX)) is None
    assert [name for name in names(engine) if FOX in name] == []


# When the object store is gone


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that hangs is given up soon."""
    monkeypatch.setattr(ObjectStore, "small_seconds", 1.0)
    monkeypatch.setattr(ObjectStore, "large_seconds", 1.0)


@pytest.mark.usefixtures("impatient")
def test_without_the_object_store_nothing_is_bought_as_it_cannot_be_known(
    here: SharedStore, there: SharedStore, engine: Engine
):
    sell(here)
    run(there.fetch(key("a cat")))  # this machine has seen the store
    engine.stop()
    with pytest.raises(
        StoreError, match=r"(?s)can't be known.*Nothing was sent.*buy_without_store"
    ):
        run(there.fetch(FOX))
    engine.resume()
    assert run(there.fetch(FOX)) is not None


@pytest.mark.usefixtures("impatient")
def test_with_buy_without_store_a_store_that_is_gone_has_nothing(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    store = machine(engine, tmp_path / "here", buy_without_store=True)
    run(store.fetch(FOX))
    engine.stop()
    with caplog.at_level(logging.WARNING):
        assert run(store.fetch(FOX)) is None
    assert "may be bought a second time" in caplog.text


@pytest.mark.parametrize("engine", ["folder"], indirect=True)
def test_an_image_is_brought_although_the_clock_was_set_while_it_was_written(
    here: SharedStore, there: SharedStore, monkeypatch: pytest.MonkeyPatch
):
    known, write = time.time, Store.put

    def written_later(self: Store, *image: Any) -> None:
        monkeypatch.setattr(time, "time", lambda: known() + 25 * 3600)
        run(here.bring())  # it is announced, and not there yet
        write(self, *image)

    monkeypatch.setattr(Store, "put", written_later)
    put(here, "fox")
    run(here.bring())
    assert run(there.fetch(FOX)) is not None


@pytest.mark.parametrize("engine", ["folder"], indirect=True)
@pytest.mark.parametrize("steps", range(8))
def test_the_end_comes_also_in_the_moment_in_which_an_image_is_noted(here: SharedStore, steps: int):
    async def work() -> None:
        here.start(lambda key, facts: True)
        await asyncio.sleep(0.05)  # it has nothing to bring, and waits
        await asyncio.to_thread(put, here, "fox")
        for _ in range(steps):
            await asyncio.sleep(0)
        ending = asyncio.ensure_future(here.end(5))
        done, _ = await asyncio.wait({ending}, timeout=10)
        assert done, "it goes on for ever"

    run(work())
    assert here.waiting() == 0


@pytest.mark.usefixtures("impatient")
def test_what_is_bought_meanwhile_waits_and_is_brought_after_a_restart(
    engine: Engine, tmp_path: Path, there: SharedStore
):
    here = machine(engine, tmp_path / "here")
    run(here.fetch(FOX))
    engine.stop()
    put(here, "fox", image(b"\x89PNG a fox"))
    with pytest.raises(StoreError):
        run(here.bring())
    assert here.waiting() == 1
    engine.resume()
    again = machine(engine, tmp_path / "here")
    run(again.bring())
    assert again.waiting() == 0
    found = run(there.fetch(FOX))
    assert found is not None
    assert found.image == b"\x89PNG a fox"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("engine", ["azurite", "moto"], indirect=True)
def test_in_every_way_of_being_gone_nothing_is_bought_and_what_is_here_is_brought_later(
    engine: Engine, fault: str, tmp_path: Path, there: SharedStore, monkeypatch: pytest.MonkeyPatch
):
    port = engine.port
    faulty = FaultyServer(port)
    engine.address = engine.address.replace(str(port), str(faulty.port))
    engine.variables = {
        name: value.replace(str(port), str(faulty.port)) for name, value in engine.variables.items()
    }
    for name, value in engine.variables.items():
        monkeypatch.setenv(name, value)
    here = machine(engine, tmp_path / "behind a faulty server")
    run(here.fetch(FOX))
    faulty.fault = fault
    with pytest.raises(StoreError, match=r"can't be known.*Nothing was sent"):
        run(here.fetch(key("a cat")))
    put(here, "fox", image(b"\x89PNG a fox"))
    with pytest.raises(StoreError):
        run(here.bring())
    assert here.waiting() == 1
    faulty.fault = ""
    run(here.bring())
    assert here.waiting() == 0
    found = run(there.fetch(FOX))
    faulty.close()
    assert found is not None
    assert found.image == b"\x89PNG a fox"


@pytest.mark.usefixtures("impatient")
def test_an_image_reaches_the_object_store_by_itself_once_that_is_back(
    engine: Engine, here: SharedStore, there: SharedStore
):
    async def outage() -> Result | None:
        here.start(lambda key, facts: True)
        await here.fetch(FOX)
        engine.stop()
        await asyncio.to_thread(put, here, "fox", image(b"\x89PNG a fox"))
        await asyncio.sleep(0.2)
        engine.resume()
        while here.waiting():
            await asyncio.sleep(0.02)
        await here.end(1.0)
        return await there.fetch(FOX)

    assert run(asyncio.wait_for(outage(), 60)) is not None


@pytest.mark.usefixtures("impatient")
def test_an_object_store_that_is_gone_has_lost_nothing(engine: Engine, here: SharedStore):
    sell(here)
    engine.stop()
    assert here.get(FOX) is not None
    run(here.bring())
    assert here.waiting() == 0


@pytest.mark.parametrize("engine", ["folder"], indirect=True)
def test_what_was_bought_is_brought_before_what_was_given_is_looked_for(
    here: SharedStore, monkeypatch: pytest.MonkeyPatch
):
    sell(here)
    find, waiting = ObjectStore.find, []

    async def note_and_find(objects: ObjectStore, name: str) -> StoredObject | None:
        waiting.append(here.waiting())
        return await find(objects, name)

    monkeypatch.setattr(ObjectStore, "find", note_and_find)
    put(here, "a cat")
    run(here.bring())
    assert waiting == [0]


@pytest.mark.parametrize("engine", ["folder"], indirect=True)
def test_what_is_bought_does_not_wait_until_all_that_was_given_is_looked_for(
    here: SharedStore, monkeypatch: pytest.MonkeyPatch
):
    given = [put(here, name) for name in range(LOOKED_FOR_AT_ONCE + 1)]
    run(here.bring())
    assert [name for name in given if here.get(name) is None] == []
    find, looked_for, before = ObjectStore.find, [], []

    async def buy_and_find(objects: ObjectStore, name: str) -> StoredObject | None:
        looked_for.append(name)
        if len(looked_for) == 1:
            await asyncio.to_thread(put, here, "a cat")
        return await find(objects, name)

    def on_uploaded(name: str, facts: object) -> bool:
        before.append(len(looked_for))
        return True

    async def bring_all() -> None:
        here.start(on_uploaded)
        while len(looked_for) < len(given) or here.waiting():
            await asyncio.sleep(0.02)
        await here.end(1.0)

    monkeypatch.setattr(ObjectStore, "find", buy_and_find)
    run(asyncio.wait_for(bring_all(), 60))
    assert before == [LOOKED_FOR_AT_ONCE]


def test_an_image_that_waits_for_the_object_store_is_not_evicted(engine: Engine, tmp_path: Path):
    store = SharedStore(tmp_path / "here", 5_000, engine.objects())
    waiting = [put(store, name, image(bytes(1000))) for name in range(8)]
    assert [name for name in waiting if store.get(name) is None] == []
    run(store.bring())
    put(store, "one more", image(bytes(1000)))
    assert [name for name in waiting if store.get(name) is None] != []


def test_an_empty_store_in_place_of_the_one_that_was_there_is_refused(
    engine: Engine, here: SharedStore
):
    sell(here)
    for name in names(engine):
        run(engine.objects().delete(name))
    with pytest.raises(StoreError, match="isn't the one that was there before"):
        run(here.fetch(key("a cat")))


def test_a_store_that_was_replaced_on_purpose_is_begun_by_push(engine: Engine, here: SharedStore):
    bought = sell(here)
    for name in names(engine):
        run(engine.objects().delete(name))
    assert run(push(here)).brought == 1
    here.forget(FOX)
    assert run(here.fetch(FOX)) == bought


def test_an_empty_store_is_not_begun_where_other_machines_have_shared_images(here: SharedStore):
    here.images.may_begin = lambda: False
    with pytest.raises(StoreError, match="is missing"):
        run(here.fetch(FOX))


def test_while_the_object_store_is_silent_only_the_first_look_up_waits_for_it(
    engine: Engine, here: SharedStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ObjectStore, "small_seconds", 4.0)

    async def ask(number: int) -> None:
        with pytest.raises(StoreError):
            await here.fetch(key(number))

    async def one_after_another() -> None:
        await here.fetch(FOX)
        engine.stop()
        for number in range(6):
            await ask(number)
        engine.resume()
        assert await here.fetch(FOX) is None

    run(asyncio.wait_for(one_after_another(), 20))  # six that wait would take 24 s


# The commands


def test_push_brings_all_that_this_machine_has_and_nothing_twice(
    engine: Engine, here: SharedStore, there: SharedStore
):
    for name in range(20):
        put(here, name)
    first = run(push(here))
    assert (first.brought, first.there, first.damaged) == (20, 0, ())
    second = run(push(here))
    assert (second.brought, second.there) == (0, 20)
    assert run(there.fetch(key(7))) is not None


def test_push_repairs_what_is_missing_or_too_short(engine: Engine, here: SharedStore):
    bought = sell(here)
    break_object(engine, "shortened")
    assert run(push(here)).brought == 1
    here.forget(FOX)
    assert run(here.fetch(FOX)) == bought


def test_push_says_what_is_damaged_here(here: SharedStore):
    put(here, "fox")
    (here.folder / FOX[:2] / f"{FOX}.png").write_bytes(b"")
    assert run(push(here)).damaged == (FOX,)


def test_a_dry_run_changes_nothing(engine: Engine, here: SharedStore, tmp_path: Path):
    put(here, "fox")
    assert run(push(here, dry_run=True)).brought == 1
    assert [name for name in names(engine) if FOX in name] == []
    run(here.bring())
    before = names(engine)
    later = datetime.now(timezone.utc) + timedelta(days=100)
    found = run(prune(here.images, older_than=timedelta(days=90), dry_run=True, now=later))
    assert found.images == 1
    assert names(engine) == before


def test_prune_deletes_what_is_older_and_leaves_the_rest(
    engine: Engine, here: SharedStore, there: SharedStore
):
    sell(here)
    now = datetime.now(timezone.utc)
    young = now + timedelta(days=89)
    assert run(prune(here.images, older_than=timedelta(days=90), now=young)).images == 0
    old = now + timedelta(days=91)
    pruned = run(prune(here.images, older_than=timedelta(days=90), now=old))
    assert (pruned.images, pruned.images_left, pruned.bytes_left) == (1, 0, 0)
    assert run(there.fetch(FOX)) is None
    assert names(engine) == ["mai-image.json"]


def test_prune_deletes_the_oldest_until_the_rest_is_within_the_limit(
    engine: Engine, here: SharedStore
):
    for name in range(6):
        put(here, name, image(bytes(100_000) + str(name).encode()))
    run(here.bring())
    later = datetime.now(timezone.utc) + timedelta(hours=2)
    pruned = run(prune(here.images, limit_bytes=350_000, now=later))
    assert (pruned.images, pruned.images_left) == (3, 3)
    assert pruned.bytes_left <= 350_000


def test_prune_leaves_what_is_brought_anew_after_it_was_listed(
    here: SharedStore, there: SharedStore, monkeypatch: pytest.MonkeyPatch
):
    sell(here)
    sell(here, "a cat")
    listed = ObjectStore.list

    async def list_and_sell(objects: ObjectStore) -> AsyncIterator[Any]:
        pages = [page async for page in listed(objects)]
        await there.forget_shared(FOX)
        await asyncio.to_thread(put, there, "fox", image(b"\x89PNG another fox"))
        await there.bring()
        for page in pages:
            yield page

    monkeypatch.setattr(ObjectStore, "list", list_and_sell)
    later = datetime.now(timezone.utc) + timedelta(days=100)
    pruned = run(prune(here.images, older_than=timedelta(days=90), now=later))
    assert (pruned.images, pruned.images_left) == (1, 1)
    here.forget(FOX)
    found = run(here.fetch(FOX))
    assert found is not None
    assert found.image == b"\x89PNG another fox"


def test_an_image_is_as_young_as_what_was_brought_of_it_last(engine: Engine, here: SharedStore):
    """A prune that was stopped left its bytes, then it was bought anew, and these are the same."""
    sell(here)
    run(engine.objects().delete(f"{FOX[:2]}/{FOX}.json"))
    before = datetime.now(timezone.utc) + timedelta(seconds=1)
    time.sleep(2.1)  # a service's clock has seconds
    run(push(here))
    two_hours = timedelta(hours=2)
    assert run(prune(here.images, older_than=two_hours, now=before + two_hours)).images == 0


def test_prune_leaves_what_has_just_come_and_what_cannot_be_read(
    engine: Engine, here: SharedStore, there: SharedStore
):
    sell(here)
    error = UnreadableError("It has no pixels.")
    error.received = b"no image"
    here.keep_unreadable(key("a cat"), "MAI-Image-2.6", error, Order("", "foundry", "work"))
    run(here.bring())
    assert run(prune(here.images, limit_bytes=1)).images == 0
    later = datetime.now(timezone.utc) + timedelta(days=400)
    assert run(prune(here.images, limit_bytes=1, now=later)).images == 1
    with pytest.raises(UnreadableError):
        run(there.fetch(key("a cat")))


# Slow, and silent


def test_a_link_of_200_ms_is_slow_and_no_more(
    engines: dict[str, Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    azurite = engines.get("azurite")
    if azurite is None:
        pytest.skip("no azurite")
    for variable, value in azurite.variables.items():
        monkeypatch.setenv(variable, value)
    link = SlowLink(azurite.port, 0.2)
    far = azurite.at("far")
    far.address = far.address.replace(str(azurite.port), str(link.port), 1)
    bought = sell(machine(far, tmp_path / "here"))
    assert run(machine(far, tmp_path / "there").fetch(FOX)) == bought
    link.close()


@pytest.mark.parametrize("engine", ["azurite", "moto"], indirect=True)
def test_who_stops_waiting_for_a_silent_store_leaves_the_wait_to_the_next(
    engine: Engine, here: SharedStore, there: SharedStore, monkeypatch: pytest.MonkeyPatch
):
    async def ask_three_times() -> Result | None:
        engine.stop()
        monkeypatch.setattr(objects, "_SILENT_SECONDS", 0.0)
        monkeypatch.setattr(ObjectStore, "small_seconds", 0.2)
        with pytest.raises(StoreError):
            await there.fetch(FOX)
        monkeypatch.setattr(ObjectStore, "small_seconds", 30.0)
        second = asyncio.ensure_future(there.fetch(FOX))
        await asyncio.sleep(0.1)
        second.cancel()
        await asyncio.wait([second])
        third = asyncio.ensure_future(there.fetch(FOX))
        await asyncio.wait([third], timeout=1.0)  # longer than a brief look-up
        engine.resume()
        return await third

    bought = sell(here)
    assert run(ask_three_times()) == bought


@pytest.mark.usefixtures("impatient")
def test_no_event_loop_waits_for_a_store_that_is_silent(engine: Engine, here: SharedStore):
    async def watch() -> int:
        await here.fetch(FOX)
        engine.stop()
        asked = asyncio.ensure_future(here.fetch(key("a cat")))
        turns = 0
        while not asked.done():
            await asyncio.sleep(0.001)
            turns += 1
        engine.resume()
        assert isinstance(asked.exception(), StoreError)
        return turns

    assert run(watch()) >= (1 if here.images.objects.address.kind == "folder" else 50)
