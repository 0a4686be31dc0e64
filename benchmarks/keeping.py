"""Store, ledger and quota: milliseconds a call, with much in them.

`python -m mai_image.benchmarks.keeping [--rows 100000] [--entries 10000] [--full]`; --full fills
the store with 100,000 entries. The waits for the disk (fsync) are measured with and without.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

from . import pack

pack.ready()

from ..mai.ledger import Ledger, NewCall, Outcome
from ..mai.ledger.tables import SCHEMA
from ..mai.rate_limit import Deployment, RateLimiter
from ..mai.store import Order, Store
from ..mai.store.sidecar import build_sidecar, dump_sidecar
from ..mai.types import Budget, Generate, Result, Usage, request_key
from ..nodes.imaging.codec import decode_image
from . import chains, measure
from .measure import Table

CALLS = 30
ROWS, ENTRIES, MANY = 100_000, 10_000, 100_000
ORDER = Order("a lake", "foundry", "bench")
HIT, DECODE = "store hit and decode", "decode alone"


def key_of(seed: int) -> str:
    """The key of a request."""
    return request_key(Generate(chains.MODEL, "a lake", 1024, 1024, seed), "foundry")


def image(data: bytes) -> Result:
    """What a call brings."""
    usage = Usage(text_in=9, image_out=1024)
    return Result(data, "image/png", 1024, 1024, chains.MODEL, usage=usage, cost_usd=0.04)


def store_hit(folder: Path, repeat: int) -> Table:
    """An image from the store as a tensor, beside decoding it."""
    data = chains.png(chains.painting(1024, 1024))
    store, key = Store(folder), key_of(0)
    keep(store, 0, data)

    def hit() -> object:
        found = store.get(key)
        assert found is not None
        return decode_image(found.image)

    ways: dict[str, Callable[[], object]] = {DECODE: partial(decode_image, data), HIT: hit}
    return measure.compare("Store hit, 1024 x 1024", ways, repeat, {HIT: (1.3, None)})


def keep(store: Store, seed: int, data: bytes) -> None:
    """Put an image into the store."""
    store.put(key_of(seed), image(data), ORDER)


def fill_store(folder: Path, first: int, last: int) -> None:
    """Small images as put() leaves them, by hand: 100,000 puts would wait for the disk."""
    for seed in range(first, last):
        key = key_of(seed)
        subfolder = folder / key[:2]
        subfolder.mkdir(parents=True, exist_ok=True)
        facts = dump_sidecar(build_sidecar(key, image(b"not decoded"), ORDER, time.time_ns()))
        (subfolder / f"{key}.png").write_bytes(b"not decoded")
        (subfolder / f"{key}.json").write_bytes(facts)


def store_sizes(folder: Path, sizes: Sequence[int]) -> str:
    """Look-up of what is there and of what isn't, and a put that evicts, by the store's size."""
    head = f"  {'entries':>10}{'hit ms':>9}{'miss ms':>9}{'put ms':>9}{'evicting put ms':>17}"
    lines, filled = ["Store by its size (small images; put with its fsyncs)", head], 1
    for size in sizes:
        fill_store(folder, filled, size)
        filled = size
        cells = _at_size(folder, size)
        lines.append(f"  {size:10}{cells[0]:9.2f}{cells[1]:9.2f}{cells[2]:9.2f}{cells[3]:17.2f}")
    return "\n".join([*lines, ""])


def _at_size(folder: Path, size: int) -> list[float]:
    """Milliseconds of a hit, a miss, a put, and a put that evicts, on an index made anew."""
    for end in ("", "-wal", "-shm"):
        (folder / f"index.sqlite{end}").unlink(missing_ok=True)
    store = Store(folder)
    keep(store, 10**7, b"the index is made by the first put")
    found = [
        middle(lambda i: store.get(key_of(1 + i * 7 % (size - 1)))),
        middle(lambda i: store.get(key_of(10**8 + i))),
        middle(lambda i: keep(store, 10**9 + size * 100 + i, b"new")),
    ]
    store.limit_bytes = sum(path.stat().st_size for path in folder.glob("??/*")) - 1
    found.append(middle(lambda i: keep(store, 2 * 10**9 + size * 100 + i, b"new")))
    store.close_file()
    return found


def middle(work: Callable[[int], object], count: int = CALLS) -> float:
    """Median milliseconds of work(0), work(1), …"""
    taken = []
    for i in range(count):
        began = time.perf_counter()
        work(i)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def fill_ledger(path: Path, rows: int) -> None:
    """Closed rows, copied inside of SQLite: the triggers sum them up as ever."""
    ledger = Ledger(path)
    ledger.close(ledger.open(call(0), Budget()), Outcome.DELIVERED, cost_usd=0.04)
    ledger.close_file()
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        names = [row[1] for row in sql.execute("PRAGMA table_info(calls)") if row[1] != "id"]
        columns = ", ".join(names)
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        sql.execute(
            f"{numbers} INSERT INTO calls ({columns}) SELECT {columns} FROM calls, n WHERE id = 1",
            (rows,),
        )


def call(seed: int) -> NewCall:
    """What the ledger notes of a request."""
    return NewCall(key_of(seed), "bench", "foundry", chains.MODEL, "generate", 0.04)


def one_call(folder: Path, rows: int) -> str:
    """Ledger, quota and store of a call, with the disk's waits and without."""
    path, store = folder / "ledger.sqlite", Store(folder / "store")
    fill_ledger(path, rows)
    ledger = Ledger(path)
    data = chains.png(chains.painting(1024, 1024))
    limiter = RateLimiter(folder / "quota.sqlite")
    deployment = Deployment("a deployment", 60_000.0)

    def write_down(i: int) -> None:
        row = ledger.open(call(i + 1), Budget(1e6, 1e6))
        ledger.mark_sent(row, "a deployment")
        ledger.close(row, Outcome.DELIVERED, cost_usd=0.04)

    def keep_it(i: int) -> None:
        assert store.get(key_of(i + 1)) is None
        keep(store, i + 1, data)

    async def turns() -> float:
        taken = []
        for _ in range(CALLS):
            await asyncio.sleep(0.06)  # a turn that needs no wait: after the pause of the last
            began = time.perf_counter()
            await limiter.acquire([deployment])
            taken.append(time.perf_counter() - began)
        return statistics.median(taken) * 1000

    head = f"  {'':24}{'ledger':>9}{'quota':>9}{'store':>9}{'sum':>9}{'aim':>7}"
    lines = [f"One call's ms, {rows} rows in the ledger, 1.5 MB an image", head]
    synced = [middle(write_down), asyncio.run(turns()), middle(keep_it)]
    lines.append(f"  {'with the disk':24}" + "".join(f"{ms:9.2f}" for ms in [*synced, sum(synced)]))
    ledger.close_file()
    unsynced = dataclasses.replace(SCHEMA, synchronous="NORMAL")
    ledger = Ledger(path, schema=unsynced)
    with mock.patch.object(os, "fsync"):
        offset = CALLS
        bare = [
            middle(lambda i: write_down(i + offset)),
            asyncio.run(turns()),
            middle(lambda i: keep_it(i + offset)),
        ]
    missed = "  MISSED" if sum(bare) > 10 else ""
    cells = "".join(f"{ms:9.2f}" for ms in [*bare, sum(bare)])
    lines.append(f"  {'fsync apart':24}{cells}{10:7}{missed}")
    return "\n".join([*lines, f"  (SQLite {sqlite3.sqlite_version})", ""])


def main(argv: Sequence[str] | None = None) -> int:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--full", action="store_true", help=f"a store of {MANY} entries too")
    arguments = parser.parse_args(argv)
    pack.as_comfyui()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(store_hit(folder / "hit", arguments.repeat))
        print(one_call(folder / "call", arguments.rows))
        sizes = [100, arguments.entries, *([MANY] if arguments.full else [])]
        print(store_sizes(folder / "sizes", sizes))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
