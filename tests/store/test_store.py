"""The store: bytes as they arrived, found again, and never a damaged one."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
from pathlib import Path

import pytest
from mai_image.mai.store import Order, Store
from mai_image.mai.types import Result, Usage
from store_helpers import POSIX, SECRET_PROMPT, image, image_of, key, put, set_aside, sidecar_of


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut leaves is the matter of test_store_disk.py."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.mark.parametrize(
    ("media_type", "ending"),
    [("image/png", ".png"), ("image/jpeg", ".jpg"), ("image/webp", ".webp"), ("x/y", ".bin")],
)
def test_a_kept_image_comes_back_with_its_bytes_and_facts_and_costs_nothing(
    store: Store, media_type: str, ending: str
) -> None:
    sent = image(bytes(range(256)) * 9, media_type)
    name = put(store, 1, sent)
    found = Store(store.folder).get(name)
    assert found is not None
    assert found.image == sent.image
    assert (found.from_store, found.cost_usd) == (True, 0.0)
    assert found.usage == sent.usage
    assert (found.media_type, found.width, found.height) == (media_type, 1024, 768)
    assert (found.asked, found.model, found.request_id) == ((1024, 768), sent.model, "rid-1")
    assert (found.seconds, found.notes) == (31.5, ("rounded down",))
    assert (store.folder / name[:2] / f"{name}{ending}").read_bytes() == sent.image


def test_an_image_without_usage_size_or_request_id_comes_back_so(store: Store) -> None:
    put(store, 1, Result(b"bytes", "image/png", 1, 2, "MAI-Image-2"))
    found = store.get(key(1))
    assert found == Result(
        b"bytes", "image/png", 1, 2, "MAI-Image-2", cost_usd=0.0, from_store=True
    )


def test_a_key_that_was_never_kept_gives_none_and_makes_nothing(store: Store) -> None:
    assert store.get(key("never")) is None
    assert store.recent(5) == []
    assert not store.folder.exists()


@pytest.mark.parametrize("bad", ["", "ab", "../" + "a" * 61, "A" * 64, "g" * 64, "a" * 65])
def test_a_key_that_is_no_hash_is_refused_everywhere(store: Store, bad: str) -> None:
    with pytest.raises(ValueError, match="64"):
        store.get(bad)
    with pytest.raises(ValueError, match="64"):
        store.put(bad, image(), Order("", "foundry", "work"))
    assert not store.folder.exists()


def test_the_sidecar_holds_the_prompt_only_where_it_may_be_kept(store: Store) -> None:
    kept, dropped = put(store, 1), put(store, 2, keep=False)
    assert json.loads(sidecar_of(store, kept).read_bytes())["prompt"] == SECRET_PROMPT
    facts = sidecar_of(store, dropped).read_text()
    assert SECRET_PROMPT not in facts
    assert json.loads(facts)["prompt_sha256"] == hashlib.sha256(SECRET_PROMPT.encode()).hexdigest()


def test_a_prompt_of_any_characters_can_be_kept(store: Store) -> None:
    prompt = "雪の狐 🦊 \ud800 \x00"
    store.put(key(1), image(), Order(prompt, "foundry", "work"))
    assert json.loads(sidecar_of(store, key(1)).read_bytes())["prompt"] == prompt


@pytest.mark.parametrize("count", [-1, 2**53, 10**30])
def test_numbers_that_no_image_has_never_keep_it_from_being_found_again(
    store: Store, count: int
) -> None:
    sent = Result(
        b"bytes that nobody looked into yet",
        "",
        0,
        0,
        "MAI-Image-2.6",
        usage=Usage(count, 0, count),
        cost_usd=float(count) * 1e300,
        seconds=float("nan"),
    )
    name = put(store, 1, sent)
    found = store.get(name)
    assert found is not None
    assert found.image == sent.image
    assert not set_aside(store)


@POSIX
def test_files_are_the_users_only(store: Store) -> None:
    name = put(store, 1)
    for path in (image_of(store, name), sidecar_of(store, name), store.folder / "index.sqlite"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for path in (store.folder, store.folder / name[:2], store.folder / "incoming"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def _truncate(image: Path, side: Path) -> None:
    image.write_bytes(image.read_bytes()[:-1])


def _flip(image: Path, side: Path) -> None:
    data = bytearray(image.read_bytes())
    data[3] ^= 1
    image.write_bytes(data)


def _empty_image(image: Path, side: Path) -> None:
    image.write_bytes(b"")


def _no_sidecar(image: Path, side: Path) -> None:
    side.unlink()


def _no_image(image: Path, side: Path) -> None:
    image.unlink()


def _empty_sidecar(image: Path, side: Path) -> None:
    side.write_bytes(b"")


def _list_sidecar(image: Path, side: Path) -> None:
    side.write_text("[1, 2]")


def _other_sidecar(image: Path, side: Path) -> None:
    side.write_text(side.read_text().replace(side.stem, key("other")))


def _other_hash(image: Path, side: Path) -> None:
    facts = json.loads(side.read_text())
    facts["sha256"] = key("other")
    side.write_text(json.dumps(facts))


def _no_width(image: Path, side: Path) -> None:
    facts = json.loads(side.read_text())
    del facts["width"]
    side.write_text(json.dumps(facts))


def _wrong_usage(image: Path, side: Path) -> None:
    facts = json.loads(side.read_text())
    facts["usage"] = {"text_in": "many"}
    side.write_text(json.dumps(facts))


def _wrong_type(image: Path, side: Path) -> None:
    facts = json.loads(side.read_text())
    facts["media_type"] = 7
    side.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _flip,
        _empty_image,
        _no_sidecar,
        _no_image,
        _empty_sidecar,
        _list_sidecar,
        _other_sidecar,
        _other_hash,
        _no_width,
        _wrong_usage,
        _wrong_type,
    ],
)
def test_a_damaged_image_is_set_aside_and_warned_of_once_and_can_be_kept_again(
    store: Store, caplog: pytest.LogCaptureFixture, damage
) -> None:
    name = put(store, 1)
    damage(image_of(store, name), sidecar_of(store, name))
    left = [path.read_bytes() for path in (store.folder / name[:2]).iterdir()]
    with caplog.at_level(logging.WARNING):
        assert store.get(name) is None
        assert store.get(name) is None
    assert sum("damaged" in record.message for record in caplog.records) == 1
    assert SECRET_PROMPT not in caplog.text
    assert sorted(set_aside(store)) == sorted(left)
    assert list((store.folder / name[:2]).iterdir()) == []
    put(store, 1)
    found = store.get(name)
    assert found is not None
    assert found.image == b"image 1"


def test_an_orphan_image_is_set_aside_not_overwritten_by_the_next(store: Store) -> None:
    name = put(store, 1, image(b"first, paid"))
    sidecar_of(store, name).unlink()
    put(store, 1, image(b"second, paid"))
    assert set_aside(store) == [b"first, paid"]
    found = store.get(name)
    assert found is not None
    assert found.image == b"second, paid"


def test_an_image_of_another_type_under_the_same_key_leaves_one_file(store: Store) -> None:
    name = put(store, 1, image(b"png"))
    put(store, 1, image(b"jpg", "image/jpeg"))
    assert {path.suffix for path in (store.folder / name[:2]).iterdir()} == {".jpg", ".json"}
    found = store.get(name)
    assert found is not None
    assert found.image == b"jpg"


def test_damage_that_cannot_be_set_aside_is_not_served_either(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = put(store, 1)
    _flip(image_of(store, name), sidecar_of(store, name))
    monkeypatch.setattr(os, "replace", _raiser(errno.EROFS))
    assert store.get(name) is None
    assert store.get(name) is None
    assert sum("can't be set aside" in record.message for record in caplog.records) == 1


def _raiser(code: int):
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail
