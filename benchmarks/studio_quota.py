"""Fifty machines of a studio on one quota: processes with a rate limiter each on one PostgreSQL,
against a strict server that counts.

`python -m mai_image.benchmarks.studio_quota [--machines 50] [--calls 20] [--quota 60]
[--minute 6] [--kind "sliding window"] [--link 0]` prints the makespan over the best possible one,
refusals, what each machine waited, and what the database had to do. `--minute` is how many seconds
stand for one; the waits that are there for a refusal's way back aren't shortened with it. `--link`
is the milliseconds that the database is away, there and back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import statistics
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))

import psutil
import simulated_servers
from postgres_engine import PostgresEngine, binaries
from simulated_servers import KINDS, bound

from ..mai.database import DatabaseServer
from ..mai.rate_limit import Deployment, RateLimiter, pacing
from ..mai.rate_limit.limiter import ON_SERVER

DEPLOYMENT = "https://example.invalid|deployment"


@dataclass
class Service:
    """The strict server: one line is one call, its answer "" or the seconds of a Retry-After."""

    kind: str
    quota: int
    machines: int
    refusals: int = 0
    waits: dict[str, list[float]] = field(default_factory=dict)
    began_at: float = 0.0
    ended_at: float = 0.0

    def __post_init__(self) -> None:
        self._server = KINDS[self.kind](self.quota, 0.3)
        self._ready = 0
        self._go = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One machine, from its first line to its last."""
        self._ready += 1
        if self._ready == self.machines:
            self._go.set()
        await self._go.wait()
        self.began_at = self.began_at or time.monotonic()
        writer.write(b"go\n")
        while line := await reader.readline():
            words = line.decode().split()
            if words[0] == "waited":
                self.waits.setdefault(words[1], []).append(float(words[2]))
                self.ended_at = time.monotonic()
                continue
            now = time.monotonic() - self.began_at
            wait = self._server.wait(now)
            if wait > 0:
                self.refusals += 1
                self._server.refuse(now)
            else:
                self._server.take(now)
            writer.write(f"{words[1]} {math.ceil(wait)}\n".encode())
            await writer.drain()
        writer.close()


async def machine(name: str, options: argparse.Namespace) -> None:
    """One machine: all of its calls at once, refused ones again."""
    pacing.MINUTE = options.minute
    # Fifty processes that start at once on two cores are slower than any database.
    rhythm = replace(ON_SERVER, fail_after=60.0)
    limiter = RateLimiter(DatabaseServer(options.url), machine=name, rhythm=rhythm)
    deployment = Deployment(DEPLOYMENT, options.quota)
    await limiter.acquire([Deployment(name, 6000.0)])  # connected, as one that has worked before
    reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
    await reader.readline()
    began = time.monotonic()
    answers: dict[str, asyncio.Future[float]] = {}

    async def call(number: str) -> None:
        first = False
        while True:
            await limiter.acquire([deployment], first=first)
            answers[number] = asyncio.get_running_loop().create_future()
            writer.write(f"call {number}\n".encode())
            if not (wait := await answers[number]):
                writer.write(f"waited {name} {time.monotonic() - began}\n".encode())
                return
            limiter.cool_down(deployment, wait)
            first = True

    async def hear() -> None:
        while line := await reader.readline():
            number, wait = line.decode().split()
            answers[number].set_result(float(wait))

    hearing = asyncio.create_task(hear())
    await asyncio.gather(*(call(str(number)) for number in range(options.calls)))
    await writer.drain()
    hearing.cancel()
    writer.close()


@contextlib.contextmanager
def far_away(port: int, seconds: float) -> Iterator[int]:
    """A port that leads to another one, with so many seconds there and back."""
    if not seconds:
        yield port
        return
    loop = asyncio.new_event_loop()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            loop.call_later(seconds / 2, writer.write, data)
        loop.call_later(seconds / 2, writer.close)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, there[1]), carry(there[0], writer))

    server = loop.run_until_complete(asyncio.start_server(connect, "127.0.0.1", 0))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    yield server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(loop.stop)


@contextlib.asynccontextmanager
async def machines(options: argparse.Namespace, port: int, url: str) -> AsyncIterator[None]:
    """All of them, as processes; ends when they have."""
    command = [sys.executable, "-m", __spec__.name, "--url", url, "--port", str(port)]
    for name in ("calls", "quota", "minute"):
        command += [f"--{name}", str(getattr(options, name))]
    started = [
        await asyncio.create_subprocess_exec(*command, "--name", f"machine-{number}")
        for number in range(options.machines)
    ]
    yield
    for process in started:
        await process.wait()


def seconds_of(engine: PostgresEngine) -> float:
    """CPU seconds of the database until now."""
    port = f"{engine.port}"
    found = 0.0
    for process in psutil.process_iter(["cmdline", "cpu_times", "ppid"]):
        if port in (process.info["cmdline"] or []):
            family = [process, *process.children()]
            with contextlib.suppress(psutil.Error):
                found = sum(sum(each.cpu_times()[:4]) for each in family)
    return found


async def run(options: argparse.Namespace, engine: PostgresEngine) -> str:
    """One run, as a table."""
    simulated_servers.MINUTE = options.minute
    service = Service(options.kind, options.quota, options.machines)
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    url = engine.new_database()
    with far_away(engine.port, options.link / 1000) as port:
        near = url.replace(f":{engine.port}/", f":{port}/")
        async with machines(options, server.sockets[0].getsockname()[1], near):
            await service._go.wait()
            cpu = seconds_of(engine)
            count = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
            database = url.rpartition("/")[2]
            commits = engine.run_sql(count, database)[0][0]
    cpu = seconds_of(engine) - cpu
    commits = engine.run_sql(count, database)[0][0] - commits  # type: ignore[operator]
    calls = options.machines * options.calls
    best = bound(KINDS[options.kind](options.quota, 0.3), [0.0] * calls, 0.0)
    makespan = service.ended_at - service.began_at
    means = [statistics.mean(each) for each in service.waits.values()]
    lasts = [max(each) for each in service.waits.values()]
    per_call = makespan / calls
    return "\n".join(
        (
            f"{options.machines} machines x {options.calls} calls at {options.quota} in "
            f"{options.minute:g} s, {options.kind}, database {options.link:g} ms away",
            f"  makespan               {makespan:8.1f} s, {makespan / best:.3f} of the bound",
            f"  refusals               {100 * service.refusals / calls:8.1f} per 100",
            f"  a machine's mean wait  {min(means):8.1f} to {max(means):.1f} s: "
            f"{max(means) / statistics.mean(means):.2f} of the mean at most",
            f"  its last call after    {min(lasts):8.1f} to {max(lasts):.1f} s",
            f"  database               {commits / makespan:8.1f} transactions a second, "
            f"{100 * cpu / makespan:.1f} % of a core; a call every {1000 * per_call:.0f} ms",
        )
    )


def main() -> int:
    """Print the table; or be one of the machines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--machines", type=int, default=50)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--quota", type=int, default=60)
    parser.add_argument("--minute", type=float, default=6.0)
    parser.add_argument("--kind", choices=KINDS, default="sliding window")
    parser.add_argument("--link", type=float, default=0.0)
    for name in ("--name", "--url", "--port"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.name:
        asyncio.run(machine(options.name, options))
        return 0
    engine = PostgresEngine(binaries())
    try:
        engine.start()
        sys.stdout.write(asyncio.run(run(options, engine)) + "\n")
    finally:
        engine.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
