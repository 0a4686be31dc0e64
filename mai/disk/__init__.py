"""TODO."""

from __future__ import annotations

from .database import DamagedError, Database, Schema
from .files import (
    create_private,
    make_folder,
    read,
    remove,
    remove_stale,
    replace,
    sync_folder,
    write_durable,
    write_temporary,
)

__all__ = [
    "DamagedError",
    "Database",
    "Schema",
    "create_private",
    "make_folder",
    "read",
    "remove",
    "remove_stale",
    "replace",
    "sync_folder",
    "write_durable",
    "write_temporary",
]
