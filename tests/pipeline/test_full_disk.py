"""Disks that are full, folders that can't be written, files that were damaged."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from client_harness import (
    COST,
    SIDE,
    Harness,
    ask,
    batch,
    draw_after,
    drawn,
    failure,
    generate,
    image,
    outcome,
    prompt_of,
    until,
)
from mai_image.mai.disk import files
from mai_image.mai.errors import StoreError
from mai_image.mai.ledger import Ledger
from mai_image.mai.store import store as store_module
from scripted_server import Connection, ReceivedRequest, image_body, usage_of

FULL = errno.ENOSPC


def fill_up(
    monkeypatch: pytest.MonkeyPatch, fails: Callable[[bytes], bool], number: int = FULL
) -> None:
    """Let the store's writes of some files fail."""
    write = files.write_temporary

    def refuse(folder: Path, data: bytes, mode: int) -> Path:
        if fails(data):
            raise OSError(number, os.strerror(number))
        return write(folder, data, mode)

    monkeypatch.setattr(files, "write_temporary", refuse)


def test_a_full_disk_is_noticed_before_anything_is_bought(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    requests = batch(3)
    with monkeypatch.context() as full:
        usage = type(shutil.disk_usage(harness.folder.parent))
        full.setattr(store_module.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 0))
        for found in ask(harness.start(), requests):
            assert isinstance(failure(found), StoreError)
            assert "full" in str(found)
    assert harness.server.connections == 0
    assert harness.rows() == []
    assert all(image(found) for found in ask(harness.restart(), requests))
    harness.balance(requests)


def test_a_read_only_store_is_noticed_before_anything_is_bought(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    """Enforced at os.open: the tests may run as a user whom no permission stops."""
    requests = batch(3)
    really_open, store = os.open, str(harness.folder / "store")

    def read_only(path: object, flags: int, *rest: object, **named: object) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).startswith(store):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return really_open(path, flags, *rest, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as locked:
        locked.setattr(os, "open", read_only)
        for found in ask(harness.start(), requests):
            assert isinstance(failure(found), StoreError)
            assert "permitted" in str(found)
        harness.stop()
    assert harness.server.connections == 0
    assert harness.rows() == []
    assert all(image(found) for found in ask(harness.start(), requests))
    harness.balance(requests)


def test_a_file_in_the_place_of_the_store_stops_the_call(harness: Harness):
    harness.folder.mkdir()
    (harness.folder / "store").write_text("in the way")
    assert isinstance(failure(ask(harness.start(), batch(1))[0]), StoreError)
    harness.stop()
    assert harness.server.connections == 0
    assert harness.rows() == []


@pytest.mark.parametrize("part", [b"\x89PNG", b"{"], ids=["image", "sidecar"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_while_an_image_lands_loses_nothing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, part: bytes, number: int
):
    """The user has it with a note, a rerun is free, and it is kept as soon as the disk takes it."""
    requests = batch(3)
    client = harness.start()
    with monkeypatch.context() as failing:
        fill_up(failing, lambda data: data.startswith(part), number)
        for found in ask(client, requests):
            assert any("not kept on disk" in note for note in image(found).notes)
            assert image(found).cost_usd
        assert harness.kept(requests) == []
        assert not list((harness.folder / "store" / "incoming").iterdir())
        for found in ask(client, requests):
            assert image(found).cost_usd == 0.0
    for found in ask(client, requests):
        assert image(found).from_store
        assert not image(found).notes
    assert len(harness.server.requests) == 3
    harness.balance(requests)
    assert all(image(found).from_store for found in ask(harness.restart(), requests))
    assert len(harness.server.requests) == 3


def test_one_image_that_the_disk_refused_is_all_that_is_bought_after_a_restart(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    requests = batch(4)
    refused: list[bytes] = []

    def first_image(data: bytes) -> bool:
        if data.startswith(b"\x89PNG") and not refused:
            refused.append(data)
        return data in refused

    with monkeypatch.context() as full:
        fill_up(full, first_image)
        assert all(image(found) for found in ask(harness.start(), requests))
        harness.stop()
    assert harness.outcomes().count("delivered, not kept") == 1
    harness.balance(requests)
    assert all(image(found) for found in ask(harness.start(), requests))
    assert len(harness.server.billed) == 5
    harness.balance(requests)


def test_what_the_disk_refused_is_saved_at_the_latest_when_the_program_ends(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    requests = batch(3)
    with monkeypatch.context() as full:
        fill_up(full, lambda data: data.startswith(b"\x89PNG"))
        assert all(image(found) for found in ask(harness.start(), requests))
    assert harness.outcomes() == ["delivered, not kept"] * 3
    harness.stop()
    assert harness.outcomes() == ["delivered"] * 3
    assert len(harness.kept(requests)) == 3
    assert harness.counted() == pytest.approx(3 * COST)


def test_what_the_disk_refused_is_saved_when_it_has_room_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mai_image.mai.client.BEAT_SECONDS", 0.05)
    requests = batch(2)
    with monkeypatch.context() as full:
        fill_up(full, lambda data: data.startswith(b"\x89PNG"))
        assert all(image(found) for found in ask(harness.start(), requests))
    until(lambda: harness.outcomes() == ["delivered"] * 2)
    assert len(harness.kept(requests)) == 2


def test_room_is_reserved_for_every_call_in_flight(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    """On room for eight images, four of twelve calls are refused before anything is sent."""
    gate = threading.Event()
    harness.server.default = draw_after(lambda: gate.wait(20))
    free = store_module.ROOM_BYTES + 7 * store_module.ROOM_PER_CALL
    usage = type(shutil.disk_usage(harness.folder.parent))
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda path: usage(10**12, 1, free))
    client = harness.start()
    futures = [client.submit(request) for request in batch(12)]
    until(lambda: sum(future.done() for future in futures) == 4)
    until(lambda: len(harness.server.requests) == 8)
    gate.set()
    found = [outcome(future) for future in futures]
    refused = [each for each in found if isinstance(each, StoreError)]
    assert len(refused) == 4
    assert "9 calls" in str(refused[0])
    assert len(harness.server.billed) == 8
    harness.balance(batch(12))


def test_a_batch_larger_than_the_store_is_not_bought_in_parts_again(harness: Harness):
    """Eviction leaves what this process's open requests delivered, with a warning."""
    harness.folder.mkdir(parents=True, exist_ok=True)
    (harness.folder / "profiles.toml").write_text("[store]\nlimit_gb = 0.001\n", "utf-8")
    shades = [random.Random(i).randbytes(400_000) for i in range(6)]

    def noise(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        number = int(prompt_of(request).split()[-1])
        whole = drawn(request.json["prompt"])  # type: ignore[arg-type]
        text = struct.pack(">I", len(shades[number])) + b"tEXt" + shades[number]
        checksum = struct.pack(">I", zlib.crc32(text[4:]))
        image = whole[:-12] + text + checksum + whole[-12:]
        connection.answer(200, image_body(image, usage_of(SIDE, SIDE)))

    harness.server.default = noise
    for _ in range(2):
        assert all(image(found) for found in ask(harness.restart(), batch(6)))
    assert len(harness.server.billed) == 6


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    # The middle of a sidecar may be a text, such as the model's name, that could be any.
    data[len(data) // 2 if path.suffix == ".png" else 0] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGE = [cut_off, flip, empty, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("ending", [".png", ".json"])
def test_a_damaged_image_is_set_aside_and_it_alone_is_bought_again(
    harness: Harness, ending: str, damage: Callable[[Path], None]
):
    requests = batch(4)
    ask(harness.start(), requests)
    harness.stop()
    key = harness.key(requests[2])
    damage(harness.folder / "store" / key[:2] / (key + ending))

    found = [image(each) for each in ask(harness.start(), requests)]
    assert [each.from_store for each in found] == [True, True, False, True]
    harness.stop()
    assert harness.bills(requests[2]) == 2
    aside = list((harness.folder / "store" / "damaged").glob(f"{key}*"))
    assert aside
    harness.balance(requests, lost=1)


def test_a_sidecar_that_was_edited_is_not_believed(harness: Harness):
    (request,) = requests = batch(1)
    ask(harness.start(), requests)
    harness.stop()
    key = harness.key(request)
    side = harness.folder / "store" / key[:2] / f"{key}.json"
    side.write_text(json.dumps({**json.loads(side.read_text()), "bytes": 1}))
    assert not image(ask(harness.start(), requests)[0]).from_store
    harness.balance(requests, lost=1)


def test_a_damaged_index_of_the_store_loses_no_image(harness: Harness):
    requests = batch(3)
    ask(harness.start(), requests)
    harness.stop()
    for part in harness.folder.glob("store/index.sqlite*"):
        part.write_bytes(b"not a database" * 100)
    assert all(image(found) for found in ask(harness.start(), [*requests, generate("new")]))
    harness.stop()
    assert len(harness.server.billed) == 4
    harness.balance([*requests, generate("new")])


def in_the_way(path: Path) -> None:
    path.mkdir(parents=True)


def garbage(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this was a database once" * 1000)


@pytest.mark.parametrize("damage", [in_the_way, garbage], ids=lambda damage: damage.__name__)
def test_without_a_ledger_nothing_is_sent(harness: Harness, damage: Callable[[Path], None]):
    damage(harness.folder / "ledger.sqlite")
    for found in ask(harness.start(), batch(2)):
        assert isinstance(failure(found), StoreError)
    assert harness.server.connections == 0


def test_a_ledger_that_breaks_between_row_and_request_lets_nothing_out(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    requests = batch(2)

    def full(self: Ledger, row: int, deployment: str | None = None) -> None:
        raise StoreError("The ledger can't be written: the disk is full.")

    with monkeypatch.context() as failing:
        failing.setattr(Ledger, "mark_sent", full)
        for found in ask(harness.start(), requests):
            assert isinstance(failure(found), StoreError)
        harness.stop()
    assert harness.server.connections == 0
    harness.balance(requests)
    assert harness.counted() == 0.0


def test_a_ledger_that_can_t_be_closed_costs_no_image(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    """The row stays in flight, so that budgets still count the call."""
    requests = batch(2)

    def full(self: Ledger, row: int, *rest: object, **named: object) -> None:
        raise StoreError("The ledger can't be written: the disk is full.")

    client = harness.start()
    with monkeypatch.context() as failing:
        failing.setattr(Ledger, "close", full)
        assert all(image(found) for found in ask(client, requests))
    assert harness.kept(requests) == requests
    assert harness.outcomes() == ["in flight"] * 2
    assert harness.counted() > 0.04
    assert all(image(found).cost_usd == 0.0 for found in ask(client, requests))
    assert len(harness.server.billed) == 2


@pytest.mark.parametrize("damage", [in_the_way, garbage], ids=lambda damage: damage.__name__)
def test_a_quota_file_out_of_order_never_costs_money(
    harness: Harness, damage: Callable[[Path], None]
):
    """Garbage is put aside: nothing in it is worth much. A folder in its place stops the call."""
    requests = batch(2)
    damage(harness.folder / "quota.sqlite")
    client = harness.start()
    found = [outcome(client.submit(request)) for request in requests]
    harness.stop()
    assert len(harness.server.billed) == (2 if damage is garbage else 0)
    assert all(isinstance(each, StoreError) for each in found) == (damage is in_the_way)
    harness.balance(requests)
