"""What the store's tests share: an image to keep, and where its files lie."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import sys
from pathlib import Path

import pytest
from mai_image.mai.store import Order, Store
from mai_image.mai.types import Result, Usage

SECRET_PROMPT = "a fox in the snow"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes and limits")


def key(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def image(data: bytes = b"\x89PNG image", media_type: str = "image/png") -> Result:
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
        result or image(f"image {name}".encode()),
        Order(SECRET_PROMPT, "foundry", "work", keep),
    )
    return key(name)


def image_of(store: Store, name: str) -> Path:
    return store.folder / name[:2] / f"{name}.png"


def sidecar_of(store: Store, name: str) -> Path:
    return store.folder / name[:2] / f"{name}.json"


def indexed_bytes(store: Store) -> int:
    """The bytes of all images, as the index's file holds them."""
    with contextlib.closing(sqlite3.connect(store.folder / "index.sqlite")) as sql:
        return int(sql.execute("SELECT bytes FROM facts").fetchone()[0])


def bytes_on_disk(store: Store) -> int:
    """The bytes of all images and sidecars that are there."""
    return sum(path.stat().st_size for path in store.folder.glob("??/*"))


def set_aside(store: Store) -> list[bytes]:
    damaged = store.folder / "damaged"
    return [path.read_bytes() for path in sorted(damaged.iterdir())] if damaged.exists() else []
