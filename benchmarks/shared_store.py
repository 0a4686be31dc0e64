"""An image that another machine has bought: milliseconds from the object store, and from then on.

`python -m mai_image.benchmarks.shared_store [--repeat 15]` measures a folder, Azurite and moto's
S3 as far as they can be had, and Azurite over a link of 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from . import pack

pack.ready()

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from object_stores import ENGINES, Engine
from slow_link import SlowLink

from ..demo.browser import Missing
from ..mai.store import ObjectStore, SharedStore, Store
from . import chains
from .keeping import keep, key_of, middle

LINK_SECONDS = 0.2
LIMIT = 10**10


def local_hits(folder: Path, data: bytes) -> str:
    """A hit in a store alone, and in the cache of one that is shared."""
    alone = Store(folder / "alone")
    cache = SharedStore(folder / "cache", LIMIT, ObjectStore(str(folder / "nowhere")))
    cells = []
    for store in (alone, cache):
        keep(store, 0, data)
        cells.append(middle(partial(hit, store), 100))
    return f"  {'local hit: alone, and as a cache':40}{cells[0]:9.2f}{cells[1]:9.2f}"


def hit(store: Store, _: int) -> None:
    """Read the image that is there."""
    assert store.get(key_of(0)) is not None


async def remote(folder: Path, engine: Engine, name: str, data: bytes, repeat: int) -> str:
    """What it takes to bring an image, to fetch it, and to learn that there is none."""
    seller = SharedStore(folder / f"{name}-seller", LIMIT, engine.objects())
    await seller.fetch(key_of(10**6))
    brought = []
    for seed in range(repeat):
        await asyncio.to_thread(keep, seller, seed, data)
        began = time.perf_counter()
        await seller.bring()
        brought.append(time.perf_counter() - began)
    buyer = SharedStore(folder / f"{name}-buyer", LIMIT, engine.objects())
    await buyer.fetch(key_of(10**6))  # the connection, and which store this is
    hits = await each(repeat, lambda seed: buyer.fetch(key_of(seed)))
    misses = await each(repeat, lambda seed: buyer.fetch(key_of(10**7 + seed)))
    found = [1000 * median(brought), hits, misses]
    return f"  {name:40}" + "".join(f"{ms:9.1f}" for ms in found)


async def each(repeat: int, work: Callable[[int], Awaitable[object]]) -> float:
    """Median milliseconds of work(0), work(1), …"""
    taken = []
    for i in range(repeat):
        began = time.perf_counter()
        await work(i)
        taken.append(time.perf_counter() - began)
    return 1000 * median(taken)


def engines(folder: Path, repeat: int, data: bytes) -> list[str]:
    """A line for each object store that can be had here."""
    lines = []
    for name, kind in ENGINES.items():
        try:
            engine = kind(folder / f"engine-{name}")
        except Missing as reason:
            lines.append(f"  {name}: {reason}")
            continue
        os.environ.update(engine.variables)
        lines.append(asyncio.run(remote(folder, engine.at("near"), name, data, repeat)))
        if name == "azurite":
            port = int(engine.address.split(":")[2].split("/")[0])
            link = SlowLink(port, LINK_SECONDS)
            engine.address = engine.address.replace(str(port), str(link.port), 1)
            far = f"{name}, {LINK_SECONDS:g} s away"
            lines.append(asyncio.run(remote(folder, engine.at("far"), far, data, repeat)))
            link.close()
        engine.close()
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeat", type=int, default=15)
    arguments = parser.parse_args(argv)
    data = chains.png(chains.painting(1024, 1024))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"An image of {len(data) / 1e6:.1f} MB that machines share, ms")
        print(local_hits(folder, data))
        print(f"  {'':40}{'bring':>9}{'hit':>9}{'miss':>9}")
        for line in engines(folder, arguments.repeat, data):
            print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
