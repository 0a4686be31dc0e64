"""Paid bytes that can't be read as an image: on the disk, and never bought again by themselves."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.errors import Billed, StoreError, UnreadableError
from mai_image.mai.store import Order, Store
from store_helpers import POSIX, SECRET_PROMPT, image, image_of, indexed_bytes, key, put, set_aside

PNG = b"\x89PNG\r\n\x1a\n and a wrong checksum"
REASON = "the checksum of the chunk at byte 33 is wrong"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close_file()


def keep(store: Store, name: object, data: bytes = PNG, *, prompt: bool = True) -> UnreadableError:
    error = UnreadableError(REASON, request_id="rid-9", cost_usd=0.0292)
    error.received = data
    order = Order(SECRET_PROMPT, "foundry", "work", keep_prompt=prompt)
    return store.keep_unreadable(key(name), "MAI-Image-2.6", error, order)


def files(store: Store) -> dict[str, bytes]:
    folder = store.folder / "unreadable"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def refusal(store: Store, name: object) -> str:
    with pytest.raises(UnreadableError) as raised:
        store.get(key(name))
    return str(raised.value)


@pytest.mark.parametrize(
    ("data", "ending"),
    [
        (PNG, ".png"),
        (b"\xff\xd8\xff\xe0 cut", ".jpg"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", ".webp"),
        (b"<html>", ".bin"),
        (b"", ".bin"),
    ],
)
def test_the_bytes_are_kept_and_whoever_asks_gets_the_same_error(
    store: Store, data: bytes, ending: str
) -> None:
    given_now = keep(store, 1, data)
    path = store.folder / "unreadable" / f"{key(1)}{ending}"
    assert path.read_bytes() == data
    assert given_now.billed is Billed.YES
    for part in (str(path), REASON, f"mai-image store forget {key(1)}", "seed", "paid", "rid-9"):
        assert part in str(given_now)
    assert refusal(store, 1) == refusal(Store(store.folder), 1) == str(given_now)
    assert store.get(key(2)) is None
    assert store.has_arrived(key(1))
    assert not store.has_arrived(key(2))


def test_another_process_gets_the_error_too(store: Store) -> None:
    given_now = keep(store, 1)
    code = """
        import sys
        from pathlib import Path
        from mai_image.mai.errors import UnreadableError
        from mai_image.mai.store import Store
        try:
            Store(Path(sys.argv[1])).get(sys.argv[2])
        except UnreadableError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(store.folder), key(1)]
    assert subprocess.check_output(command, text=True).strip() == str(given_now)


def test_the_sidecar_says_what_it_cost_and_holds_the_prompt_only_where_it_may(store: Store) -> None:
    keep(store, 1)
    keep(store, 2, prompt=False)
    facts = json.loads(files(store)[f"{key(1)}.json"])
    assert (facts["key"], facts["reason"], facts["bytes"]) == (key(1), REASON, len(PNG))
    assert (facts["cost_usd"], facts["request_id"]) == (0.0292, "rid-9")
    assert (facts["model"], facts["service"]) == ("MAI-Image-2.6", "foundry")
    assert facts["prompt"] == SECRET_PROMPT
    assert SECRET_PROMPT.encode() not in files(store)[f"{key(2)}.json"]


def test_an_image_that_is_there_goes_first(store: Store) -> None:
    keep(store, 1)
    put(store, 1, image(b"readable"))
    found = store.get(key(1))
    assert found is not None
    assert found.image == b"readable"
    image_of(store, key(1)).write_bytes(b"damaged")
    assert REASON in refusal(store, 1)
    assert set_aside(store)


def test_forget_makes_the_request_free_to_be_sent_again(store: Store) -> None:
    keep(store, 1)
    keep(store, 2)
    assert store.find(key(1)[:8]) == [key(1)]
    assert store.forget(key(1))
    assert store.get(key(1)) is None
    assert set(files(store)) == {f"{key(2)}.json", f"{key(2)}.png"}
    assert not store.forget(key(1))
    assert store.forget(key(2)[:8])
    assert files(store) == {}


def test_forget_removes_an_image_too_and_it_no_longer_counts(store: Store) -> None:
    put(store, 1)
    put(store, 2)
    assert store.forget(key(1)[:12])
    assert store.get(key(1)) is None
    assert store.get(key(2)) is not None
    assert [facts["key"] for facts in store.recent(5)] == [key(2)]
    assert indexed_bytes(store) == sum(f.stat().st_size for f in store.folder.glob("??/*"))


def test_a_beginning_of_several_keys_or_of_none_forgets_nothing(store: Store) -> None:
    twins = ["ab" * 31 + end for end in ("00", "01")]
    for twin in twins:
        store.put(twin, image(), Order("", "foundry", "work"))
    assert store.find("ab" * 10) == twins
    with pytest.raises(ValueError, match="2 keys"):
        store.forget("ab" * 10)
    for bad in ("", "abababa", "../../..", "ABABABAB", "*" * 8, "a" * 65):
        with pytest.raises(ValueError, match="hex"):
            store.forget(bad)
    assert not store.forget("cd" * 4)
    assert store.get(twins[0]) is not None


def test_other_bytes_of_the_same_request_are_not_overwritten(store: Store) -> None:
    keep(store, 1, b"<html>first, paid")
    keep(store, 1, PNG)
    assert b"<html>first, paid" in set_aside(store)
    keep(store, 1, PNG)
    assert files(store)[f"{key(1)}.png"] == PNG
    assert len(set_aside(store)) == 2


def test_eviction_the_limit_and_the_gallery_leave_them_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit_bytes=3000)
    keep(store, "unreadable", b"x" * 100_000)
    for name in range(6):
        put(store, name, image(b"x" * 500))
    assert len(files(store)) == 2
    assert len(store.recent(10)) >= 2
    assert key("unreadable") not in [facts["key"] for facts in store.recent(10)]
    store.close_file()
    (store.folder / "index.sqlite").unlink()
    put(store, 7, image(b"x" * 500))
    assert indexed_bytes(store) < 3000
    assert REASON in refusal(store, "unreadable")


@POSIX
def test_the_files_are_the_users_only(store: Store) -> None:
    keep(store, 1)
    folder = store.folder / "unreadable"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_refuses_is_a_clear_error_and_keeps_nothing_half(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(StoreError, match="written"):
            keep(store, 1)
    assert files(store) == {}
    assert list(store.folder.rglob("*.tmp")) == []
    assert store.get(key(1)) is None


def test_a_miss_costs_one_look_at_the_folder(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, 1)
    looked: list[str] = []
    real = os.stat

    def count(path: object, **options: bool) -> os.stat_result:
        if "unreadable" in str(path):
            looked.append(str(path))
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", count)
    assert store.get(key(2)) is None
    assert len(looked) == 1


@pytest.mark.parametrize("end", [".json", ".png"])
def test_half_of_the_pair_holds_the_request_back_as_well(store: Store, end: str) -> None:
    keep(store, 1)
    (store.folder / "unreadable" / f"{key(1)}{end}").unlink()
    assert f"forget {key(1)}" in refusal(store, 1)
    assert store.forget(key(1))
    assert store.get(key(1)) is None


@pytest.fixture(scope="module")
def kept() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        keep(store, 1)
        yield store


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["key", "reason", "request_id"]) | st.text(), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    sidecar=st.binary(max_size=40)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(["reason", "request_id"]), JSON).map(
        lambda facts: json.dumps({**facts, "key": key(1)}).encode()
    )
    | st.sampled_from([b"[" * 100_000, b"9" * 10_000])
)
def test_whatever_a_sidecar_holds_the_request_is_held_back(kept: Store, sidecar: bytes) -> None:
    (kept.folder / "unreadable" / f"{key(1)}.json").write_bytes(sidecar)
    text = refusal(kept, 1)
    assert f"{key(1)}.png" in text
    assert f"mai-image store forget {key(1)}" in text


@POSIX
def test_a_process_killed_while_it_keeps_them_leaves_whole_bytes_only(tmp_path: Path) -> None:
    code = """
        import hashlib, sys
        from pathlib import Path
        from mai_image.mai.errors import UnreadableError
        from mai_image.mai.store import Order, Store
        store = Store(Path(sys.argv[1]))
        for number in range(100_000):
            key = hashlib.sha256(str(number).encode()).hexdigest()
            error = UnreadableError("it is none")
            error.received = key.encode() * 4000
            store.keep_unreadable(key, "m", error, Order("", "s", "p", keep_prompt=False))
            print(number, flush=True)
    """
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for _ in range(4):
            last = int(child.stdout.readline())
        child.kill()
        rest, _ = child.communicate(timeout=30)
        last = max([last, *map(int, rest.split())])
        store = Store(tmp_path / "store")
        for number in range(last + 1):
            assert "it is none" in refusal(store, number)
        for path in (store.folder / "unreadable").glob("*.bin"):
            assert path.read_bytes() == path.stem.encode() * 4000
