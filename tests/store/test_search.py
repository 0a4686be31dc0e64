"""Images found by what the index knows of them, also in a store that an earlier version made."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from mai_image.mai.store import Order, Search, Store
from mai_image.mai.types import Result


def key(number: int) -> str:
    return f"{number:064x}"


def put(store: Store, number: int, prompt: str = "", keep_prompt: bool = True) -> None:
    image = Result(b"image", "image/png", 64, 48, model="MAI-Image-2.7", seconds=1.0)
    order = Order(prompt or f"number {number}", "foundry", "work", keep_prompt)
    store.put(key(number), image, order)


def found(store: Store, *words: str) -> list[int]:
    return [int(one["key"], 16) for one in store.search(Search(words=words), 100).sidecars]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_prompt_that_is_not_kept_is_nowhere_in_the_index(store: Store) -> None:
    put(store, 1, "a canary in a mine", keep_prompt=False)
    assert found(store, "canary") == []
    store.close_file()
    for file in store.folder.glob("index.sqlite*"):
        assert b"canary" not in file.read_bytes()


def test_an_image_that_is_kept_again_is_found_once_and_as_the_newest(store: Store) -> None:
    put(store, 1, "a fox")
    put(store, 2, "a fox")
    put(store, 1, "a fox")
    assert found(store, "fox") == [1, 2]


def test_eviction_takes_an_image_out_of_the_search(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit_bytes=3000)
    for number in range(10):
        put(store, number)
    left = found(store, "number")
    assert left
    assert len(left) < 10
    assert left == [int(one["key"], 16) for one in store.recent(100)]


def test_an_index_of_the_version_before_is_described_by_the_first_search(store: Store) -> None:
    for number in range(5):
        put(store, number)
    store.close_file()
    with sqlite3.connect(store.folder / "index.sqlite") as sql:
        for statement in (
            "DROP TRIGGER details_removed",
            "DROP TRIGGER details_moved",
            "DROP TABLE details",
            "ALTER TABLE facts DROP COLUMN undescribed",
            "PRAGMA user_version=2",
        ):
            sql.execute(statement)
    assert found(store, "number") == [4, 3, 2, 1, 0]
    put(store, 9)
    assert found(store, "number") == [9, 4, 3, 2, 1, 0]


def test_a_search_of_a_long_store_says_what_is_left_to_describe(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        put(store, number)
    store.close_file()
    for file in store.folder.glob("index.sqlite*"):
        file.unlink()
    monkeypatch.setattr("mai_image.mai.store.store._DESCRIBE_SECONDS", 0.0)
    monkeypatch.setattr("mai_image.mai.store.store._DESCRIBE_AT_ONCE", 2)
    left = [store.search(Search(words=("number",)), 100).undescribed for _ in range(3)]
    assert left == [3, 1, 0]
    assert found(store, "number") == [4, 3, 2, 1, 0]


def test_a_store_that_is_not_there_has_no_images(store: Store) -> None:
    assert store.search(Search(words=("x",)), 5).sidecars == []
    assert store.models() == []
    assert not store.folder.exists()
