"""Files that survive a crash, and SQLite files that several processes share.

`write_durable` writes one file so that a reader sees the old one or the new one. The store, which
names several files at once, uses the steps below it: `temporary_files`, `replace`, `sync_folder`.
`write_new` never replaces a file, and lets everybody read what it writes.
A `Database` is one SQLite file, described by its `Schema`. All files are the user's only (0600).
File functions raise OSError; a Database raises StoreError, DamagedError for a damaged
file (see `repeat_if_damaged`), BusyError for one that another process holds (see `holder`).
`hold_folder` keeps a second program out of a folder that one works in. `Executors` has the threads
in which all this runs, so that no event loop waits for a disk.
"""

from __future__ import annotations

from .database import BusyError, DamagedError, Database, Schema, repeat_if_damaged
from .executors import Executors
from .files import (
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
from .locks import hold_folder, holder

__all__ = [
    "BusyError",
    "DamagedError",
    "Database",
    "Executors",
    "Schema",
    "create_private",
    "hold_folder",
    "holder",
    "make_folder",
    "read_file",
    "remove",
    "remove_stale",
    "repeat_if_damaged",
    "replace",
    "sync_folder",
    "temporary_files",
    "write_durable",
    "write_new",
]
