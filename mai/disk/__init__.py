"""Files that survive a crash, and the threads that wait for them.

`write_durable` writes one file so that a reader sees the old one or the new one. The store, which
names several files at once, uses the steps below it: `temporary_files`, `replace`, `sync_folder`.
`write_new` never replaces a file, and lets everybody read what it writes; all other files are the
user's only (0600). The functions raise OSError. `hold_folder` keeps a second program out of a
folder that one works in, `lock_folder` for a moment; `holder` says which process keeps a SQLite
file. `Executors` has the threads in which all this runs, so that no event loop waits for a disk;
`within` bounds how long it waits for anything.
"""

from __future__ import annotations

from .executors import Executors, ignore_error, in_thread, within
from .files import (
    STALE_SECONDS,
    create_private,
    make_folder,
    read_file,
    remove,
    remove_stale,
    replace,
    sync_folder,
    temporary_files,
    write_durable,
    write_new,
)
from .locks import UNKNOWN_HOLDER, hold_folder, holder, lock_folder

__all__ = [
    "STALE_SECONDS",
    "UNKNOWN_HOLDER",
    "Executors",
    "create_private",
    "hold_folder",
    "holder",
    "ignore_error",
    "in_thread",
    "lock_folder",
    "make_folder",
    "read_file",
    "remove",
    "remove_stale",
    "replace",
    "sync_folder",
    "temporary_files",
    "within",
    "write_durable",
    "write_new",
]
