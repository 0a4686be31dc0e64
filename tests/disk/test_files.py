"""Files that are written so that no crash and no full disk leaves a part of one."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import pytest
from mai_image.mai.disk import (
    create_private,
    make_folder,
    remove,
    remove_stale,
    temporary_files,
    write_durable,
)
from store_helpers import POSIX


def _raiser(code: int):
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_durable_write_keeps_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings"
    write_durable(path, b"old")
    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, _raiser(errno.ENOSPC))
            with pytest.raises(OSError, match="space"):
                write_durable(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["settings"]
    write_durable(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_temporary_file_that_cannot_be_synced_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _raiser(errno.EIO))
    with (
        pytest.raises(OSError, match=os.strerror(errno.EIO)),
        temporary_files(tmp_path, b"data"),
    ):
        pytest.fail("there is no file to be used")
    assert list(tmp_path.iterdir()) == []


def test_no_temporary_file_is_left_of_several_when_their_use_fails(tmp_path: Path) -> None:
    def use() -> None:
        with temporary_files(tmp_path, b"one", b"two") as (one, two):
            assert (one.read_bytes(), two.read_bytes()) == (b"one", b"two")
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert list(tmp_path.iterdir()) == []


def test_stale_temporary_files_go_and_a_missing_folder_has_none(tmp_path: Path) -> None:
    with temporary_files(tmp_path, b"old", b"young") as (old, young):
        pass
    os.utime(old, (time.time() - 3700,) * 2)
    remove_stale(tmp_path)
    remove_stale(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == [young]


def test_a_file_that_is_gone_is_removed_without_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    remove(path)
    remove(path)
    assert not path.exists()


@POSIX
def test_folders_and_files_are_the_users_only(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    path = tmp_path / "a" / "b" / "file"
    path.write_bytes(b"kept")
    path.chmod(0o644)
    create_private(path)
    create_private(path.with_name("new"))
    write_durable(path.with_name("written"), b"")
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert path.read_bytes() == b"kept"
