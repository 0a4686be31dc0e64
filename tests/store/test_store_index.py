"""The store's limit, its gallery, and several processes in one folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from mai_image.mai.store import Store
from store_helpers import (
    SECRET_PROMPT,
    bytes_on_disk,
    image,
    image_of,
    indexed_bytes,
    key,
    put,
    set_aside,
    sidecar_of,
)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut leaves is the matter of test_store_disk.py."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def _child(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock of the store that moves by a second a look, in nanoseconds."""
    moment = [1_700_000_000 * 10**9]

    def tick() -> int:
        moment[0] += 10**9
        return moment[0]

    monkeypatch.setattr(time, "time_ns", tick)
    real = os.utime

    def touch(path: Path, *rest: object, ns: tuple[int, int] | None = None) -> None:
        real(path, ns=ns or (tick(), moment[0]))

    monkeypatch.setattr(os, "utime", touch)
    return moment


def _bytes_of_one(folder: Path) -> int:
    probe = Store(folder)
    put(probe, 0, image(b"x" * 10_000))
    return bytes_on_disk(probe)


def _have(store: Store, names: range) -> list[int]:
    """Without get(), which would count as a use."""
    return [name for name in names if sidecar_of(store, key(name)).exists()]


def test_the_least_recently_used_go_first_down_to_nine_tenths(
    tmp_path: Path, clock: list[int]
) -> None:
    one = _bytes_of_one(tmp_path / "probe")
    store = Store(tmp_path / "store", limit_bytes=one * 20 + 1000)
    for name in range(20):
        put(store, name, image(b"x" * 10_000))
    assert _have(store, range(20)) == list(range(20))
    for name in (0, 2):
        assert store.get(key(name)) is not None
    put(store, 20, image(b"x" * 10_000))
    assert _have(store, range(21)) == [0, 2, *range(5, 21)]
    assert indexed_bytes(store) <= store.limit_bytes * 0.9
    assert indexed_bytes(store) == bytes_on_disk(store)


def test_an_image_that_nobody_used_yet_stays_where_older_ones_were_used_before_it(
    tmp_path: Path, clock: list[int]
) -> None:
    one = _bytes_of_one(tmp_path / "probe")
    store = Store(tmp_path / "store", limit_bytes=one * 20 + 1000)
    for name in range(19):
        put(store, name, image(b"x" * 10_000))
    for name in range(19):
        assert store.get(key(name)) is not None
    put(store, 19, image(b"x" * 10_000))
    put(store, 20, image(b"x" * 10_000))
    assert _have(store, range(21)) == list(range(3, 21))


def test_the_newest_image_stays_even_when_it_alone_is_over_the_limit(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit_bytes=100)
    for name in range(3):
        put(store, name, image(b"x" * 500))
    assert _have(store, range(3)) == [2]


def test_the_newest_image_stays_when_the_clock_was_set_back(
    tmp_path: Path, clock: list[int]
) -> None:
    one = _bytes_of_one(tmp_path / "probe")
    store = Store(tmp_path / "store", limit_bytes=one * 2 + 1000)
    put(store, 0, image(b"x" * 10_000))
    put(store, 1, image(b"x" * 10_000))
    clock[0] -= 10**6 * 10**9
    put(store, 2, image(b"x" * 10_000))
    assert 2 in _have(store, range(3))


def test_eviction_passes_images_that_vanished(tmp_path: Path) -> None:
    one = _bytes_of_one(tmp_path / "probe")
    store = Store(tmp_path / "store", limit_bytes=one * 4)
    for name in range(4):
        put(store, name, image(b"x" * 10_000))
    image_of(store, key(0)).unlink()
    sidecar_of(store, key(0)).unlink()
    image_of(store, key(1)).unlink()
    put(store, 4, image(b"x" * 10_000))
    assert _have(store, range(5)) == [2, 3, 4]


def test_a_limit_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="limit_bytes"):
        Store(tmp_path, limit_bytes=0)


def test_recent_gives_the_newest_first_without_paths(store: Store, clock: list[int]) -> None:
    for name in range(6):
        put(store, name)
    sidecar_of(store, key(4)).unlink()
    found = store.recent(3)
    assert [facts["key"] for facts in found] == [key(5), key(3), key(2)]
    assert str(store.folder) not in json.dumps(found)
    assert found[0]["prompt"] == SECRET_PROMPT
    assert store.recent(0) == []


@pytest.mark.parametrize("damage", ["lost", "garbage", "cut"])
def test_a_lost_or_damaged_index_is_made_anew_from_the_files(
    store: Store, clock: list[int], damage: str
) -> None:
    for name in range(25):
        put(store, name)
    total = indexed_bytes(store)
    store.close_file()
    index = store.folder / "index.sqlite"
    if damage == "lost":
        index.unlink()
    elif damage == "garbage":
        index.write_bytes(b"garbage" * 1000)
    else:
        index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])
    again = Store(store.folder)
    assert len(again.recent(100)) == 25
    assert indexed_bytes(again) == total
    put(again, 25)
    assert again.get(key(25)) is not None


def test_an_image_is_kept_even_when_the_index_cannot_be(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.folder.mkdir()
    (store.folder / "index.sqlite").mkdir()
    put(store, 1)
    assert store.get(key(1)) is not None
    assert "without the index" in caplog.text


def test_a_store_that_is_deleted_while_in_use_goes_on_empty(store: Store) -> None:
    put(store, 1)
    store.close_file()
    for path in sorted(store.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert store.get(key(1)) is None
    put(store, 2)
    assert [facts["key"] for facts in store.recent(5)] == [key(2)]


def test_readers_never_see_damage_while_others_replace_the_same_image(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, 1, image(b"0" * 50_000))
    stop, seen = threading.Event(), []

    def read() -> None:
        reader = Store(store.folder)
        while not stop.is_set():
            found = reader.get(key(1))
            seen.append(found is not None and len(set(found.image)) == 1)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        put(store, 1, image(bytes([number]) * 50_000))
    stop.set()
    reader.join()
    assert seen
    assert all(seen)
    assert set_aside(store) == []


def test_two_processes_fill_and_evict_one_store_without_harm(tmp_path: Path) -> None:
    code = """
        import hashlib, sys
        from pathlib import Path
        from mai_image.mai.types import Result
        from mai_image.mai.store import Order, Store
        store = Store(Path(sys.argv[1]), limit_bytes=300_000)
        for number in range(60):
            key = hashlib.sha256(f"{sys.argv[2] if number % 2 else 0}{number}".encode()).hexdigest()
            result = Result(key.encode() * 150, "image/png", 1, 1, "m")
            store.put(key, result, Order("", "s", "p"))
            assert store.get(key).image == result.image
    """
    children = [_child(code, tmp_path / "store", name) for name in ("a", "b")]
    for child in children:
        child.communicate(timeout=60)
    assert [child.returncode for child in children] == [0, 0]
    store = Store(tmp_path / "store")
    images = {path.stem for path in store.folder.glob("??/*.png")}
    assert images == {path.stem for path in store.folder.glob("??/*.json")}
    assert all(store.get(name) is not None for name in images)
    assert indexed_bytes(store) == bytes_on_disk(store)
    assert indexed_bytes(store) <= 300_000
    assert set_aside(store) == []
