"""A batch end to end on the emulator, the event loop meanwhile, and the first call.

`python -m mai_image.benchmarks.batch [--count 16] [--repeat 3] [--scale 1,8,64]`

The emulator runs in a process of its own and has painted every image before the clock starts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from . import pack

pack.ready()

import httpx
import torch
from torch import Tensor

from ..mai.client import Client
from ..mai.ledger import Ledger
from ..mai.ledger.tables import SCHEMA
from ..mai.profiles import Profiles
from ..mai.types import Generate
from ..nodes.imaging.codec import decode_batch
from . import chains, measure
from .measure import Table

SIDE = 1024
MODEL = chains.MODEL
KEY = {"api-key": "emulator"}
NAIVE, AT_ONCE, OURS = "naive, one after the other", "naive, all at once", "ours"
APART = "ours, fsync apart"
NOTHING = "nothing (the machine itself)"
BLOCK_RUNS = 8

PROFILE = """
[profiles.bench]
service = "foundry"
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 60000
"""


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The address of a service in another process that answers at once with a ready image."""
    command = [sys.executable, "-m", "mai_image.benchmarks.ready_made", str(SIDE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextlib.contextmanager
def client_for(url: str, synchronous: Literal["FULL", "OFF"] = "FULL") -> Iterator[Client]:
    """The client on a fresh folder: store, ledger and quota as in ComfyUI.

    `synchronous` "OFF": the ledger doesn't wait for the disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "profiles.toml").write_text(PROFILE.format(url=url), encoding="utf-8")
        ledger = Ledger(path / "ledger.sqlite", schema=replace(SCHEMA, synchronous=synchronous))
        client = Client(path, Profiles(path, {}), ledger=ledger)
        try:
            yield client
        finally:
            client.close(grace=1)


_seed = iter(range(10**9))


async def ours(client: Client, count: int) -> Tensor:
    """As MAI Generate does it: everything asked for at once, decoded together."""
    requests = [Generate(MODEL, "a lake", SIDE, SIDE, next(_seed)) for _ in range(count)]
    futures = [asyncio.wrap_future(client.submit(request, "bench")) for request in requests]
    results = await asyncio.gather(*futures)
    decoded = await asyncio.to_thread(decode_batch, [one.image for one in results])
    return decoded.batch


async def without_fsync(client: Client, count: int) -> Tensor:
    """The same, but nothing waits for the disk: what a machine with a better one would take."""
    with mock.patch.object(os, "fsync"):
        return await ours(client, count)


async def naive_call(url: str) -> Tensor:
    """A client for each call, and all work in the event loop."""
    body = {"model": MODEL, "prompt": f"a lake {next(_seed)}", "width": SIDE, "height": SIDE}
    async with httpx.AsyncClient(timeout=300) as client:
        answer = await client.post(url + "/mai/v1/images/generations", json=body, headers=KEY)
    return chains.naive_answer(answer.content)[0]


async def one_by_one(url: str, count: int) -> Tensor:
    """The usual loop."""
    return torch.cat([await naive_call(url) for _ in range(count)])


async def at_once(url: str, count: int) -> Tensor:
    """gather, where no limiter is in the way."""
    return torch.cat(await asyncio.gather(*(naive_call(url) for _ in range(count))))


async def longest_block(work: Coroutine[Any, Any, object]) -> float:
    """Seconds for which the event loop that waits for `work` stood still at most."""
    task, longest = asyncio.ensure_future(work), 0.0
    while not task.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - began - 0.001)
    task.result()
    return longest


@dataclass
class Blocks:
    """The longest block of each run, in milliseconds; those of the runs during which Python's
    garbage collector looked through all objects, which stops every thread, are apart."""

    of_runs: list[float] = field(default_factory=list)
    collected: list[float] = field(default_factory=list)

    def run(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Measure one more, after the garbage of whatever ran before is gone."""
        gc.collect()
        seen: list[str] = []

        def hear(phase: str, facts: dict[str, int]) -> None:
            if facts["generation"] == 2:
                seen.append(phase)

        gc.callbacks.append(hear)
        try:
            longest = asyncio.run(longest_block(work())) * 1000
        finally:
            gc.callbacks.remove(hear)
        (self.collected if seen else self.of_runs).append(longest)


def tables(count: int = 16, repeat: int = 3) -> list[Table]:
    """The batch, and the longest block of the loop with it."""
    with server() as url, client_for(url) as client, client_for(url, "OFF") as unsynced:
        works: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            NAIVE: lambda: one_by_one(url, count),
            AT_ONCE: lambda: at_once(url, count),
            OURS: lambda: ours(client, count),
            APART: lambda: without_fsync(unsynced, count),
        }
        ways = {name: (lambda work=work: asyncio.run(work())) for name, work in works.items()}
        title = f"Batch of {count}, {SIDE} x {SIDE}, no latency: whole time"
        whole = measure.compare(title, ways, repeat, {OURS: (0.65, None), APART: (0.65, None)})
        blocks: dict[str, Blocks] = {name: Blocks() for name in (*works, NOTHING)}
        for _ in range(BLOCK_RUNS):
            for name, work in {**works, NOTHING: _nothing}.items():
                blocks[name].run(work)
    return [whole, _blocks(blocks)]


async def _nothing() -> None:
    await asyncio.sleep(1.0)


def _blocks(found: dict[str, Blocks]) -> Table:
    middle = {
        name: statistics.median(each.of_runs or each.collected) for name, each in found.items()
    }
    rows = [measure.Row(name, ms, ms / middle[NAIVE]) for name, ms in middle.items()]
    ours = found[OURS].of_runs + found[APART].of_runs
    collected = [ms for each in found.values() for ms in each.collected]
    note = f"ours at most {max(ours, default=0):.1f} ms in {len(ours)} runs, aim 20 ms"
    if collected:
        note += (
            f"; apart from {len(collected)} runs of all ways in which Python's garbage collector "
            f"went through this process's objects, at most {max(collected):.0f} ms"
        )
    return Table(f"Longest block of the event loop meanwhile, median of {BLOCK_RUNS}", rows, note)


def _run(client: Client, count: int) -> Tensor:
    return asyncio.run(ours(client, count))


def scale(counts: Sequence[int] = (1, 8, 64)) -> str:
    """Milliseconds and megabytes an image as the batch grows."""
    head = f"  {'images':>8}{'ms each':>10}{'MB each':>10}"
    lines = ["Cost of an image by the size of the batch", head]
    with server() as url, client_for(url) as client:
        asyncio.run(ours(client, 2))
        for count in counts:
            began = time.perf_counter()
            peak = measure.peak_of(partial(_run, client, count))
            taken = time.perf_counter() - began
            lines.append(f"  {count:8}{taken * 1000 / count:10.1f}{peak / count:10.1f}")
    tensor = SIDE * SIDE * 12 / 1e6
    return "\n".join([*lines, f"  ({tensor:.1f} MB of an image are the tensor itself)", ""])


def first_call() -> str:
    """A new service's first image, and the later ones."""
    with server() as url, client_for(url) as client:
        taken = []
        for _ in range(6):
            began = time.perf_counter()
            asyncio.run(ours(client, 1))
            taken.append(time.perf_counter() - began)
    return f"First call {taken[0] * 1000:.0f} ms, later {measure.spread(taken[1:])}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--scale", default="1,8,64", help="sizes of batches, '' for none")
    arguments = parser.parse_args(argv)
    pack.as_comfyui()
    for table in tables(arguments.count, arguments.repeat):
        print(table)
    if arguments.scale:
        print(scale([int(each) for each in arguments.scale.split(",")]))
    print(first_call())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
