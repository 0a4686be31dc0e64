"""Files that survive a crash, and SQLite files that several processes share.

`write_durable` writes one file so that a reader sees the old one or the new one. The store, which
names several files at once, uses the steps below it: `write_temporary`, `replace`, `sync_folder`.
A `Database` is one SQLite file, described by its `Schema`. All files are the user's only (0600).
File functions raise OSError; a Database raises StoreError, DamagedError for a damaged
file, BusyError for one that another process holds.
"""

from __future__ import annotations

from .database import BusyError, DamagedError, Database, Schema
from .files import (
    create_private,
    make_folder,
    read_file,
    remove,
    remove_stale,
    replace,
    sync_folder,
    write_durable,
    write_temporary,
)

__all__ = [
    "BusyError",
    "DamagedError",
    "Database",
    "Schema",
    "create_private",
    "make_folder",
    "read_file",
    "remove",
    "remove_stale",
    "replace",
    "sync_folder",
    "write_durable",
    "write_temporary",
]
