"""The store on a disk that is full, read-only or failing, and with processes that die."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image.mai.errors import StoreError
from mai_image.mai.store import Store
from store_helpers import POSIX, image, key, put, set_aside


def leftovers(store: Store) -> list[str]:
    return [path.name for path in store.folder.rglob("*.tmp")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


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
    assert set_aside(store) == [b"image 1"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_read_only_folder_is_a_clear_error_and_images_in_it_are_still_served(
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


def test_an_image_that_cannot_be_read_is_an_error_not_a_miss(
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


def test_room_is_checked_before_an_image_is_bought(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.check_room()
    disk = namedtuple("disk", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk(10**9, 10**9 - 10, 10))
    with pytest.raises(StoreError, match="full"):
        store.check_room()
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk(0, 0, 0))
    store.check_room()


def test_room_is_reserved_for_every_call_in_flight(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    mib = 2**20
    disk = namedtuple("disk", "total used free")
    free = 64 * mib + 7 * 16 * mib
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk(10**12, 10**12 - free, free))
    for calls in (1, 2, 8):
        store.check_room(calls)
    with pytest.raises(StoreError) as raised:
        store.check_room(9)
    for part in ("9 calls in flight", "176 MiB are free", "192 MiB", "Nothing was sent", "Free"):
        assert part in str(raised.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 100 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_calls_that_pass_the_check_can_all_be_kept_on_a_small_disk(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    largest = image(os.urandom(13_000_000))
    calls = 1
    with contextlib.suppress(StoreError):
        while calls < 20:
            store.check_room(calls + 1)
            calls += 1
    assert 2 <= calls <= 4
    for name in range(calls):
        put(store, name, largest)
    assert all(store.get(key(name)) is not None for name in range(calls))
    store.close_file()


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
        from mai_image.mai.types import Result
        from mai_image.mai.store import Order, Store
        store = Store(Path(sys.argv[1]))
        def put(key, size):
            result = Result(b"x" * size, "image/png", 1, 1, "m")
            store.put(key, result, Order("", "s", "p"))
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
def test_a_process_killed_while_it_keeps_images_leaves_whole_ones_only(tmp_path: Path) -> None:
    code = """
        import hashlib, sys
        from pathlib import Path
        from mai_image.mai.types import Result
        from mai_image.mai.store import Order, Store
        store = Store(Path(sys.argv[1]))
        for number in range(100_000):
            key = hashlib.sha256(str(number).encode()).hexdigest()
            result = Result(key.encode() * 4000, "image/png", 1, 1, "m")
            store.put(key, result, Order("", "s", "p"))
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
        store.close_file()


def test_temporary_files_of_dead_processes_go_after_an_hour_and_others_stay(store: Store) -> None:
    incoming = store.folder / "incoming"
    incoming.mkdir(parents=True)
    old, young = f"17-{'0' * 32}.tmp", f"18-{'0' * 32}.tmp"
    for name, age in ((old, 3700), (young, 60), ("old.tmp", 3700), ("old.txt", 3700)):
        (incoming / name).write_bytes(b"part")
        os.utime(incoming / name, (time.time() - age,) * 2)
    put(store, 1)
    assert {path.name for path in incoming.iterdir()} == {young, "old.tmp", "old.txt"}
