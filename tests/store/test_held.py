"""Images that somebody waits for stay, however small the store's limit is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image.mai.store import Store
from store_helpers import image, key, put, sidecar_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Room for two images of `add`."""
    store = Store(tmp_path / "store", limit_bytes=24_000)
    yield store
    store.close_file()


def add(store: Store, *names: int) -> None:
    for name in names:
        put(store, name, image(b"x" * 10_000))


def have(store: Store) -> list[int]:
    return [name for name in range(300) if sidecar_of(store, key(name)).exists()]


def test_what_is_held_stays_until_it_is_released(store: Store) -> None:
    for name in range(5):
        store.hold(key(name))
    add(store, *range(5))
    assert have(store) == [0, 1, 2, 3, 4]
    add(store, 5, 6)
    assert have(store) == [0, 1, 2, 3, 4, 6]
    for name in range(5):
        store.release(key(name))
    add(store, 7)
    assert have(store) == [6, 7]


def test_a_key_that_is_held_twice_is_released_twice(store: Store) -> None:
    store.hold(key(0))
    store.hold(key(0))
    add(store, 0)
    store.release(key(0))
    add(store, 1, 2, 3)
    assert 0 in have(store)
    store.release(key(0))
    store.release(key(0))
    add(store, 4)
    assert 0 not in have(store)
    store.hold(key(4))
    add(store, 5, 6)
    assert 4 in have(store)


def test_more_held_images_than_one_look_at_the_oldest_keep_no_other_from_going(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "store", limit_bytes=20_000)
    for name in range(210):
        store.hold(key(name))
        put(store, name, image(b"x"))
    for name in range(210, 213):
        put(store, name, image(b"x"))
    assert have(store) == [*range(210), 212]
    store.close_file()


def test_a_batch_larger_than_the_limit_is_warned_of_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for name in range(6):
        store.hold(key(name))
    with caplog.at_level(logging.WARNING):
        add(store, *range(6))
    said = [record.message for record in caplog.records if "one batch" in record.message]
    assert len(said) == 1
    assert "limit_gb is smaller than one batch" in said[0]


def test_a_limit_under_64_images_is_warned_of_at_the_first_use(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        store.check_room()
        store.check_room()
        add(store, 0)
        enough = Store(tmp_path / "enough", limit_bytes=160_000_000)
        enough.check_room()
    (warning,) = store.warnings()
    assert [record.message for record in caplog.records] == [warning]
    assert "limit_gb" in warning
    assert "0.16" in warning
    assert enough.warnings() == []
