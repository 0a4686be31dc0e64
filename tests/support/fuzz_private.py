"""What is fuzzed of the folder that is closed to other users: odd trees, modes and owners."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from hypothesis import strategies as st
from mai_image.mai.errors import ProfileError
from mai_image.mai.profiles.folders import make_private

OWN_FOLDERS = ("__mai", "mai-image")

OWN_FILES = ("profiles.toml", "store", "ledger.sqlite", "quota.sqlite")

PATHS = ["profiles.toml", "store", "store/a.png", "store/b/c.png", "ledger.sqlite-wal", "store/b",
         "quota.sqlite", "notes.txt", "other", "other/d.txt", "profiles.toml.bak"]  # fmt: skip

FOLDER_MODES = [0o700, 0o755, 0o777, 0o750, 0o701]

FILE_MODES = [0o600, 0o644, 0o666, 0o640, 0o400, 0o755, 0]

Entry = tuple[str, str, int]
"""A path, "file", "folder" or "link", and the file's mode."""


def trees() -> st.SearchStrategy[tuple[str, int, list[Entry], str]]:
    """A folder's name, its mode, what is in it, and whether modes can be changed."""
    entry = st.tuples(
        st.sampled_from(PATHS), st.sampled_from(["file", "file", "folder", "link"]),
        st.sampled_from(FILE_MODES),
    )  # fmt: skip
    return st.tuples(
        st.sampled_from([*OWN_FOLDERS, "studio"]), st.sampled_from(FOLDER_MODES),
        st.lists(entry, max_size=6),
        st.sampled_from(["mine", "mine", "mine", "without modes", "another's", "missing"]),
    )  # fmt: skip


def check_private(name: str, mode: int, entries: list[Entry], owner: str) -> None:
    """What is the pack's is closed and named, what isn't stays as it is, and twice is as once."""
    with tempfile.TemporaryDirectory(prefix="mai-fuzz-private-") as root:
        folder, outside = Path(root, name), Path(root, "outside")
        outside.write_bytes(b"")
        outside.chmod(0o644)
        if owner != "missing":
            _make(folder, mode, entries, outside)
        before = _modes(Path(root))
        with _chmod_as(owner):
            found = _closed(folder)
        after = _modes(Path(root))
        changed = {path for path, one in before.items() if after[path] != one}
        if sys.platform == "win32" or owner == "missing":
            assert (found, changed) == ([], set())
            return
        own = name in OWN_FOLDERS or all(
            path.name.startswith(OWN_FILES) for path in folder.iterdir()
        )
        if owner != "mine":
            refused = own and mode & 0o077 and owner == "another's"
            assert (found is None) == bool(refused), found
            assert not changed
            return
        assert found is not None
        assert set(found) == changed
        assert outside not in changed
        assert not own or not after[folder] & 0o077
        assert own or folder not in changed
        for path in folder.iterdir():
            ours = name in OWN_FOLDERS or path.name.startswith(OWN_FILES)
            assert path.is_symlink() or not ours or not after[path] & 0o077, path
            below = {path} if path.is_symlink() else {path, *path.rglob("*")}
            assert ours or not changed & below, path
            if own and ours and mode & 0o077:
                assert not any(after[one] & 0o077 for one in below if not one.is_symlink()), path
        assert _closed(folder) == []


def _make(folder: Path, mode: int, entries: list[Entry], outside: Path) -> None:
    folder.mkdir()
    for name, kind, file_mode in entries:
        path = folder / name
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(path) or folder not in (path.parent.resolve(), *path.parents):
                continue
            if kind == "link":
                path.symlink_to(outside)
            elif kind == "folder":
                path.mkdir()
            else:
                path.write_bytes(b"")
                path.chmod(file_mode)
    folder.chmod(mode)


def _modes(root: Path) -> dict[Path, int]:
    """The mode of everything below a folder, of links their own."""
    return {path: stat.S_IMODE(path.lstat().st_mode) for path in root.rglob("*")}


def _closed(folder: Path) -> list[Path] | None:
    """What make_private closed; None where it refuses the folder."""
    with contextlib.suppress(ProfileError):
        return make_private(folder)
    return None


@contextlib.contextmanager
def _chmod_as(owner: str) -> Iterator[None]:
    """chmod of a file system without modes, or as it is for somebody else's files."""
    with contextlib.ExitStack() as stack:
        if owner in ("without modes", "another's") and sys.platform != "win32":
            stack.enter_context(mock.patch.object(Path, "chmod", side_effect=PermissionError))
        if owner == "another's" and sys.platform != "win32":
            stack.enter_context(mock.patch.object(os, "geteuid", return_value=os.geteuid() + 1))
        yield
