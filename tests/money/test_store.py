"""The store: bytes as they arrived, safe, found again, and never a damaged one."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest
from mai_image.mai import files
from mai_image.mai.errors import StoreError
from mai_image.mai.messages import Result, Usage
from mai_image.mai.store import Store

SECRET_PROMPT = "a fox in the snow"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes and limits")


def key(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def picture(data: bytes = b"\x89PNG picture", media_type: str = "image/png") -> Result:
    return Result(
        image=data,
        media_type=media_type,
        width=1024,
        height=768,
        model="MAI-Image-2.6",
        asked=(1024, 768),
        request_id="rid-1",
        usage=Usage(text_in=10, image_in=3, image_out=768),
        cost_usd=0.0292,
        seconds=31.5,
        notes=("rounded down",),
    )


def put(store: Store, name: object, result: Result | None = None, *, keep: bool = True) -> str:
    store.put(
        key(name),
        result or picture(f"picture {name}".encode()),
        prompt=SECRET_PROMPT,
        keep_prompt=keep,
        service="foundry",
        profile="work",
    )
    return key(name)


def image_of(store: Store, name: str) -> Path:
    return store.folder / name[:2] / f"{name}.png"


def sidecar_of(store: Store, name: str) -> Path:
    return store.folder / name[:2] / f"{name}.json"


def set_aside(store: Store) -> list[bytes]:
    damaged = store.folder / "damaged"
    return [path.read_bytes() for path in sorted(damaged.iterdir())] if damaged.exists() else []


def leftovers(store: Store) -> list[str]:
    return [path.name for path in store.folder.rglob("*.tmp")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.mark.parametrize(
    ("media_type", "ending"),
    [("image/png", ".png"), ("image/jpeg", ".jpg"), ("image/webp", ".webp"), ("x/y", ".bin")],
)
def test_a_kept_picture_comes_back_with_its_bytes_and_facts_and_costs_nothing(
    store: Store, media_type: str, ending: str
) -> None:
    sent = picture(bytes(range(256)) * 9, media_type)
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


def test_a_picture_without_usage_size_or_request_id_comes_back_so(store: Store) -> None:
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
        store.put(bad, picture(), prompt="", service="foundry", profile="work")
    assert not store.folder.exists()


def test_the_sidecar_holds_the_prompt_only_where_it_may_be_kept(store: Store) -> None:
    kept, dropped = put(store, 1), put(store, 2, keep=False)
    assert json.loads(sidecar_of(store, kept).read_bytes())["prompt"] == SECRET_PROMPT
    facts = sidecar_of(store, dropped).read_text()
    assert SECRET_PROMPT not in facts
    assert json.loads(facts)["prompt_sha256"] == hashlib.sha256(SECRET_PROMPT.encode()).hexdigest()


def test_a_prompt_of_any_characters_can_be_kept(store: Store) -> None:
    prompt = "雪の狐 🦊 \ud800 \x00"
    store.put(key(1), picture(), prompt=prompt, service="foundry", profile="work")
    assert json.loads(sidecar_of(store, key(1)).read_bytes())["prompt"] == prompt


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
def test_a_damaged_picture_is_set_aside_and_warned_of_once_and_can_be_kept_again(
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
    assert found.image == b"picture 1"


def test_an_orphan_picture_is_set_aside_not_overwritten_by_the_next(store: Store) -> None:
    name = put(store, 1, picture(b"first, paid"))
    sidecar_of(store, name).unlink()
    put(store, 1, picture(b"second, paid"))
    assert set_aside(store) == [b"first, paid"]
    found = store.get(name)
    assert found is not None
    assert found.image == b"second, paid"


def test_a_picture_of_another_type_under_the_same_key_leaves_one_file(store: Store) -> None:
    name = put(store, 1, picture(b"png"))
    put(store, 1, picture(b"jpg", "image/jpeg"))
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


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("step", ["fsync", "replace", "utime"])
def test_a_disk_that_fails_at_any_step_is_a_clear_error_and_leaves_nothing_half(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    put(store, "before")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, _raiser(code))
        with pytest.raises(StoreError) as raised:
            put(store, 1)
    assert str(store.folder) in str(raised.value)
    assert ("full" in str(raised.value)) == (code != errno.EIO)
    assert "save it" in str(raised.value)
    assert leftovers(store) == []
    assert store.get(key(1)) is None
    put(store, 1)
    assert store.get(key(1)) is not None
    assert store.get(key("before")) is not None


def test_a_failure_between_the_two_names_leaves_an_old_pair_or_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.replace, []

    def second_fails(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "full")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", second_fails)
        with pytest.raises(StoreError):
            put(store, 1)
    assert store.get(key(1)) is None
    assert set_aside(store) == [b"picture 1"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_read_only_folder_is_a_clear_error_and_pictures_in_it_are_still_served(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    put(store, 1)
    real = os.open

    def read_only(path, flags, *rest, **options):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(code, os.strerror(code))
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", read_only)
    monkeypatch.setattr(os, "utime", _raiser(code))
    with pytest.raises(StoreError, match="permitted") as raised:
        put(store, 2)
    assert "may write" in raised.value.hint
    with pytest.raises(StoreError, match="Nothing was sent"):
        store.check_room()
    assert store.get(key(1)) is not None


def test_a_picture_that_cannot_be_read_is_an_error_not_a_miss(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, 1)
    monkeypatch.setattr(Path, "read_bytes", _raiser(errno.EACCES))
    with pytest.raises(StoreError, match="can't be read"):
        store.get(key(1))


def test_a_file_where_the_folder_should_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a folder")
    store = Store(tmp_path / "store")
    for attempt in (lambda: put(store, 1), store.check_room, lambda: store.get(key(1))):
        with pytest.raises(StoreError, match="store"):
            attempt()


def test_room_is_checked_before_a_picture_is_bought(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.check_room()
    disk = namedtuple("disk", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk(10**9, 10**9 - 10, 10))
    with pytest.raises(StoreError, match="full"):
        store.check_room()
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk(0, 0, 0))
    store.check_room()


def _child(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@POSIX
def test_a_real_file_size_limit_is_a_clear_error_and_leaves_no_part(tmp_path: Path) -> None:
    code = """
        import resource, sys
        from pathlib import Path
        from mai_image.mai.errors import StoreError
        from mai_image.mai.messages import Result
        from mai_image.mai.store import Store
        store = Store(Path(sys.argv[1]))
        def put(key, size):
            result = Result(b"x" * size, "image/png", 1, 1, "m")
            store.put(key, result, prompt="", service="s", profile="p")
        put("a" * 64, 10)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        try:
            put("b" * 64, 1_000_001)
        except StoreError as error:
            print(error)
    """
    out, _ = _child(code, tmp_path / "store").communicate(timeout=30)
    store = Store(tmp_path / "store")
    assert "full" in out
    assert leftovers(store) == []
    assert store.get("a" * 64) is not None
    assert store.get("b" * 64) is None


@POSIX
def test_a_process_killed_while_it_keeps_pictures_leaves_whole_ones_only(tmp_path: Path) -> None:
    code = """
        import hashlib, sys
        from pathlib import Path
        from mai_image.mai.messages import Result
        from mai_image.mai.store import Store
        store = Store(Path(sys.argv[1]))
        for number in range(100_000):
            key = hashlib.sha256(str(number).encode()).hexdigest()
            result = Result(key.encode() * 4000, "image/png", 1, 1, "m")
            store.put(key, result, prompt="", service="s", profile="p")
            print(number, flush=True)
    """
    for wait in (0.0, 0.011, 0.023):
        child = _child(code, tmp_path / "store")
        assert child.stdout is not None
        for _ in range(3):
            last = int(child.stdout.readline())
        time.sleep(wait)
        child.kill()
        rest, _ = child.communicate(timeout=30)
        last = max([last, *map(int, rest.split())])
        store = Store(tmp_path / "store")
        for number in range(last + 1):
            found = store.get(key(number))
            assert found is not None
            assert found.image == key(number).encode() * 4000
        half = store.get(key(last + 1))
        assert half is None or half.image == key(last + 1).encode() * 4000
        store.dispose()


def test_temporary_files_of_dead_processes_go_after_an_hour_and_others_stay(store: Store) -> None:
    incoming = store.folder / "incoming"
    incoming.mkdir(parents=True)
    for name, age in (("old.tmp", 3700), ("young.tmp", 60), ("old.txt", 3700)):
        (incoming / name).write_bytes(b"part")
        os.utime(incoming / name, (time.time() - age,) * 2)
    put(store, 1)
    assert {path.name for path in incoming.iterdir()} == {"young.tmp", "old.txt"}


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
    put(probe, 0, picture(b"x" * 10_000))
    return probe._shelf.total()


def _have(store: Store, names: range) -> list[int]:
    """Without get(), which would count as a use."""
    return [name for name in names if sidecar_of(store, key(name)).exists()]


def test_the_least_recently_used_go_first_down_to_nine_tenths(
    tmp_path: Path, clock: list[int]
) -> None:
    one = _bytes_of_one(tmp_path / "probe")
    store = Store(tmp_path / "store", limit_bytes=one * 20 + 1000)
    for name in range(20):
        put(store, name, picture(b"x" * 10_000))
    assert _have(store, range(20)) == list(range(20))
    for name in (0, 2):
        assert store.get(key(name)) is not None
    put(store, 20, picture(b"x" * 10_000))
    assert _have(store, range(21)) == [0, 2, *range(5, 21)]
    assert store._shelf.total() <= store.limit_bytes * 0.9
    on_disk = sum(path.stat().st_size for path in store.folder.glob("??/*"))
    assert store._shelf.total() == on_disk


def test_the_newest_picture_stays_even_when_it_alone_is_over_the_limit(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit_bytes=100)
    for name in range(3):
        put(store, name, picture(b"x" * 500))
    assert _have(store, range(3)) == [2]


def test_the_newest_picture_stays_when_the_clock_was_set_back(
    tmp_path: Path, clock: list[int]
) -> None:
    one = _bytes_of_one(tmp_path / "probe")
    store = Store(tmp_path / "store", limit_bytes=one * 2 + 1000)
    put(store, 0, picture(b"x" * 10_000))
    put(store, 1, picture(b"x" * 10_000))
    clock[0] -= 10**6 * 10**9
    put(store, 2, picture(b"x" * 10_000))
    assert 2 in _have(store, range(3))


def test_eviction_passes_pictures_that_vanished(tmp_path: Path) -> None:
    one = _bytes_of_one(tmp_path / "probe")
    store = Store(tmp_path / "store", limit_bytes=one * 4)
    for name in range(4):
        put(store, name, picture(b"x" * 10_000))
    image_of(store, key(0)).unlink()
    sidecar_of(store, key(0)).unlink()
    image_of(store, key(1)).unlink()
    put(store, 4, picture(b"x" * 10_000))
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
    for name in range(60):
        put(store, name)
    total = store._shelf.total()
    store.dispose()
    index = store.folder / "index.sqlite"
    if damage == "lost":
        index.unlink()
    elif damage == "garbage":
        index.write_bytes(b"garbage" * 1000)
    else:
        index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])
    again = Store(store.folder)
    assert len(again.recent(100)) == 60
    assert again._shelf.total() == total
    put(again, 60)
    assert again.get(key(60)) is not None


def test_a_picture_is_kept_even_when_the_index_cannot_be(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.folder.mkdir()
    (store.folder / "index.sqlite").mkdir()
    put(store, 1)
    assert store.get(key(1)) is not None
    assert "without the index" in caplog.text


def test_a_store_that_is_deleted_while_in_use_goes_on_empty(store: Store) -> None:
    put(store, 1)
    store.dispose()
    for path in sorted(store.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert store.get(key(1)) is None
    put(store, 2)
    assert [facts["key"] for facts in store.recent(5)] == [key(2)]


def test_readers_never_see_damage_while_others_replace_the_same_picture(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, 1, picture(b"0" * 50_000))
    stop, seen = threading.Event(), []

    def read() -> None:
        reader = Store(store.folder)
        while not stop.is_set():
            found = reader.get(key(1))
            seen.append(found is not None and len(set(found.image)) == 1)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        put(store, 1, picture(bytes([number]) * 50_000))
    stop.set()
    reader.join()
    assert seen
    assert all(seen)
    assert set_aside(store) == []


def test_two_processes_fill_and_evict_one_store_without_harm(tmp_path: Path) -> None:
    code = """
        import hashlib, sys
        from pathlib import Path
        from mai_image.mai.messages import Result
        from mai_image.mai.store import Store
        store = Store(Path(sys.argv[1]), limit_bytes=300_000)
        for number in range(60):
            key = hashlib.sha256(f"{sys.argv[2] if number % 2 else 0}{number}".encode()).hexdigest()
            result = Result(key.encode() * 150, "image/png", 1, 1, "m")
            store.put(key, result, prompt="", service="s", profile="p")
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
    assert store._shelf.total() == sum(p.stat().st_size for p in store.folder.glob("??/*"))
    assert store._shelf.total() <= 300_000
    assert set_aside(store) == []


def test_a_durable_write_keeps_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings"
    files.write_durable(path, b"old")
    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, _raiser(errno.ENOSPC))
            with pytest.raises(OSError, match="space"):
                files.write_durable(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["settings"]
    files.write_durable(path, b"new")
    assert path.read_bytes() == b"new"
