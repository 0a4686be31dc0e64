"""What is evicted first: what was not used for the longest time, whatever the clocks say."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image.mai.store import Store
from store_helpers import POSIX, bytes_on_disk, image, indexed_bytes, key, put, sidecar_of

YEAR = 365 * 24 * 3600 * 10**9

VERSION_0_1 = """
    CREATE TABLE pictures (key TEXT PRIMARY KEY, bytes INTEGER NOT NULL,
     kept_at INTEGER NOT NULL, used_at INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX by_age ON pictures (kept_at);
    CREATE INDEX by_use ON pictures (used_at);
    CREATE TABLE facts (bytes INTEGER NOT NULL, scanned INTEGER NOT NULL);
    INSERT INTO facts VALUES (0, 1);
    CREATE TRIGGER added AFTER INSERT ON pictures BEGIN
     UPDATE facts SET bytes = bytes + NEW.bytes; END;
    CREATE TRIGGER removed AFTER DELETE ON pictures BEGIN
     UPDATE facts SET bytes = bytes - OLD.bytes; END;
    CREATE TRIGGER changed AFTER UPDATE OF bytes ON pictures BEGIN
     UPDATE facts SET bytes = bytes + NEW.bytes - OLD.bytes; END;
    PRAGMA user_version=1;
"""


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut leaves is the matter of test_store_disk.py."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Room for ten images; the eleventh brings it to nine."""
    probe = Store(tmp_path / "probe")
    add(probe, 0)
    one = bytes_on_disk(probe)
    probe.close_file()
    store = Store(tmp_path / "store", limit_bytes=one * 10 + 500)
    yield store
    store.close_file()


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Nanoseconds by which the clock is ahead; also of the times that files get."""
    shift = [0]
    now, touch = time.time_ns, os.utime
    monkeypatch.setattr(time, "time_ns", lambda: now() + shift[0])

    def touch_shifted(path: Path, ns: tuple[int, int] | None = None) -> None:
        touch(path, ns=ns or (now() + shift[0],) * 2)

    monkeypatch.setattr(os, "utime", touch_shifted)
    return shift


def add(store: Store, *names: int) -> None:
    for name in names:
        put(store, name, image(b"x" * 10_000))


def use(store: Store, *names: int) -> None:
    for name in names:
        assert store.get(key(name)) is not None


def have(store: Store, names: range) -> list[int]:
    """Without get(), which would count as a use."""
    return [name for name in names if sidecar_of(store, key(name)).exists()]


def newest(store: Store) -> list[str]:
    return [str(facts["key"]) for facts in store.recent(100)]


def test_a_clock_that_was_years_ahead_does_not_protect_what_came_then(
    store: Store, ahead: list[int]
) -> None:
    ahead[0] = 5 * YEAR
    add(store, *range(5))
    ahead[0] = 0
    add(store, *range(5, 10))
    use(store, 1)
    ahead[0] = -YEAR
    add(store, 10)
    assert have(store, range(11)) == [1, *range(3, 11)]
    for name in range(11, 20):
        add(store, name)
        assert name in have(store, range(20))
    assert have(store, range(20)) == list(range(20))[-len(have(store, range(20))) :]


def test_a_clock_beyond_every_calendar_keeps_no_image_from_being_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in (253_402_300_800 * 10, -5):
        monkeypatch.setattr(time, "time_ns", lambda seconds=seconds: seconds * 10**9)
        with monkeypatch.context() as patch:
            patch.setattr(os, "utime", lambda *_args, **_options: None)
            add(store, 1)
        use(store, 1)


def test_files_whose_times_lie_in_the_future_go_in_their_turn(store: Store) -> None:
    add(store, *range(10))
    for name in (0, 1, 2):
        for path in sidecar_of(store, key(name)).parent.glob(f"{key(name)}*"):
            os.utime(path, ns=(time.time_ns() + YEAR,) * 2)
    add(store, 10)
    assert have(store, range(11)) == list(range(2, 11))


def test_the_gallery_goes_by_arrival_not_by_the_clock(store: Store, ahead: list[int]) -> None:
    ahead[0] = YEAR
    add(store, 0, 1)
    ahead[0] = 0
    add(store, 2)
    use(store, 0)
    assert newest(store) == [key(2), key(1), key(0)]


def _child(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_another_process_used_stays(store: Store) -> None:
    add(store, *range(10))
    code = """
        import sys, time
        from pathlib import Path
        time.time_ns = lambda: 1
        from mai_image.mai.store import Store
        store = Store(Path(sys.argv[1]))
        for key in sys.argv[2:]:
            assert store.get(key) is not None
    """
    child = _child(code, store.folder, key(0), key(3))
    child.communicate(timeout=30)
    assert child.returncode == 0
    add(store, 10)
    assert have(store, range(11)) == [0, *range(3, 11)]


@POSIX
def test_a_stopped_process_that_holds_the_index_delays_no_hit_and_uses_are_entered_later(
    store: Store,
) -> None:
    add(store, *range(10))
    code = """
        import sqlite3, sys
        sql = sqlite3.connect(sys.argv[1], isolation_level=None)
        sql.execute("BEGIN IMMEDIATE")
        print("held", flush=True)
        sys.stdin.readline()
        sql.execute("COMMIT")
    """
    child = _child(code, store.folder / "index.sqlite")
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    os.kill(child.pid, signal.SIGSTOP)
    fresh = Store(store.folder, store.limit_bytes)
    begun = time.monotonic()
    for _ in range(20):
        use(store, 0, 1)
        use(fresh, 2)
    assert time.monotonic() - begun < 5  # SQLite's own wait would be 10 s for the first one
    os.kill(child.pid, signal.SIGCONT)
    child.communicate("\n", timeout=30)
    use(fresh, 2)
    add(store, 10)
    assert have(store, range(11)) == [0, 1, 2, *range(5, 11)]
    fresh.close_file()


def test_another_thread_that_holds_the_index_delays_no_hit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, 0, 1)
    inside, leave, real = threading.Event(), threading.Event(), os.replace

    def slow(source: Path, target: Path) -> None:
        inside.set()
        leave.wait(30)
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", slow)
        writer = threading.Thread(target=add, args=(store, 2))
        writer.start()
        assert inside.wait(30)
        use(store, 0, 1)
        assert writer.is_alive()
        leave.set()
        writer.join()
    assert have(store, range(3)) == [0, 1, 2]


@pytest.mark.parametrize("damage", ["garbage", "cut", "no sums", "a folder"])
def test_a_hit_is_served_whatever_became_of_the_index(store: Store, damage: str) -> None:
    add(store, *range(8))
    store.close_file()
    index = store.folder / "index.sqlite"
    if damage == "garbage":
        index.write_bytes(b"garbage" * 3000)
    elif damage == "cut":
        os.truncate(index, 5000)
    elif damage == "no sums":
        with contextlib.closing(sqlite3.connect(index)) as sql:
            sql.execute("DELETE FROM facts")
            sql.commit()
    else:
        index.unlink()
        index.mkdir()
    for again in (store, Store(store.folder, store.limit_bytes)):
        use(again, *range(8))
        again.close_file()
    if damage != "a folder":
        assert sorted(newest(store)) == sorted(map(key, range(8)))
        assert indexed_bytes(store) == bytes_on_disk(store)


def test_an_index_that_is_deleted_in_use_is_made_anew_from_the_files(store: Store) -> None:
    add(store, *range(10))
    for path in store.folder.glob("index.sqlite*"):
        path.unlink()
    use(store, 0)
    add(store, 10)
    assert indexed_bytes(store) == bytes_on_disk(store)
    assert have(store, range(11)) == [0, *range(3, 11)]


@pytest.fixture
def old(store: Store) -> Store:
    """A store whose index is of version 0.1: image n was kept, then used, n seconds after 2023."""
    add(store, *range(10))
    store.close_file()
    for path in store.folder.glob("index.sqlite*"):
        path.unlink()
    begin = 1_700_000_000 * 10**9
    with contextlib.closing(sqlite3.connect(store.folder / "index.sqlite")) as sql:
        sql.executescript(VERSION_0_1)
        for name in range(10):
            sidecar = sidecar_of(store, key(name))
            size = sum(path.stat().st_size for path in sidecar.parent.glob(f"{key(name)}*"))
            moment = begin + name * 10**9
            row = (key(name), size, moment, moment)
            sql.execute("INSERT INTO pictures VALUES (?, ?, ?, ?)", row)
            os.utime(sidecar, ns=(moment, moment))
        sql.commit()
    return store


def test_an_index_of_version_0_1_is_taken_over_with_its_order(old: Store) -> None:
    # Version 0.1 moved the sidecar's time at a hit, which its index learned of at eviction only.
    os.utime(sidecar_of(old, key(0)))
    assert newest(old) == [key(name) for name in reversed(range(10))]
    assert indexed_bytes(old) == bytes_on_disk(old)
    add(old, 10)
    assert have(old, range(11)) == [0, *range(3, 11)]
    assert newest(old)[0] == key(10)


def test_a_hit_before_the_old_index_is_taken_over_counts(old: Store) -> None:
    use(old, 1)
    old.close_file()
    again = Store(old.folder, old.limit_bytes)
    use(again, 0)
    add(again, 10)
    assert have(again, range(11)) == [0, 1, *range(4, 11)]


def test_a_time_of_the_future_in_an_old_index_protects_only_once(old: Store) -> None:
    with contextlib.closing(sqlite3.connect(old.folder / "index.sqlite")) as sql:
        sql.execute("UPDATE pictures SET used_at = ? WHERE key = ?", (2**63 - 1, key(0)))
        sql.commit()
    use(old, *range(1, 10))
    for name in range(10, 14):
        add(old, name)
    left = have(old, range(14))
    assert 0 not in left
    assert left[-4:] == [10, 11, 12, 13]


def test_several_processes_upgrade_one_old_index(old: Store) -> None:
    code = """
        import sys
        from pathlib import Path
        from mai_image.mai.store import Store
        store = Store(Path(sys.argv[1]))
        print("ready", flush=True)
        sys.stdin.readline()
        assert store.get(sys.argv[2]) is not None
        assert len(store.recent(100)) == 10
    """
    children = [_child(code, old.folder, key(name)) for name in range(4)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=30)
    assert [child.returncode for child in children] == [0] * 4
    assert indexed_bytes(old) == bytes_on_disk(old)
    assert not (old.folder / "index.sqlite.damaged").exists()
