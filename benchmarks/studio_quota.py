"""Fifty machines of a studio on one quota: rate limiters on one real PostgreSQL, against a strict
server that counts.

`python -m mai_image.benchmarks.studio_quota [--machines 50] [--calls 20] [--quota 60] [--kind
"sliding window"]` prints the makespan over the best possible one, refusals and what each machine
waited, on a virtual clock. With `--processes` each machine is a process in real time, and a line
says what the database had to do; `--minute 6` is how many seconds stand for a minute (the waits
that are there for a refusal's way back aren't shortened with it), `--link 0` the milliseconds that
the database is away, there and back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import statistics
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))

import psutil
import simulated_servers
from cutting_proxy import CuttingProxy
from postgres_engine import PostgresEngine, binaries
from shared_queue import PolledBell, SharedQueue
from simulated_servers import KINDS, bound

from ..mai.database import DatabaseServer
from ..mai.rate_limit import Deployment, RateLimiter, limiter, pacing
from ..mai.rate_limit.limiter import ON_SERVER

DEPLOYMENT = "https://example.invalid|deployment"
TRAVEL = 0.05
"""Seconds from a machine to the service, on the virtual clock."""


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

    def take(self, now: float) -> float:
        """Count a call: seconds until it would be let through, 0.0: it is."""
        wait = self._server.wait(now)
        if wait > 0:
            self.refusals += 1
            self._server.refuse(now)
        else:
            self._server.take(now)
        return wait

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
            wait = self.take(time.monotonic() - self.began_at)
            writer.write(f"{words[1]} {math.ceil(wait)}\n".encode())
            await writer.drain()
        writer.close()


async def machine(name: str, options: argparse.Namespace) -> None:
    """One machine: all of its calls at once, refused ones again."""
    pacing.MINUTE = options.minute
    # Fifty processes that start at once on two cores are slower than any database.
    rhythm = replace(ON_SERVER, fail_after=60.0)
    own = RateLimiter(DatabaseServer(options.url), machine=name, rhythm=rhythm)
    deployment = Deployment(DEPLOYMENT, options.quota)
    await own.acquire([Deployment(name, 6000.0)])  # connected, as one that has worked before
    reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
    await reader.readline()
    began = time.monotonic()
    answers: dict[str, asyncio.Future[float]] = {}

    async def call(number: str) -> None:
        first = False
        while True:
            await own.acquire([deployment], first=first)
            answers[number] = asyncio.get_running_loop().create_future()
            writer.write(f"call {number}\n".encode())
            if not (wait := await answers[number]):
                writer.write(f"waited {name} {time.monotonic() - began}\n".encode())
                return
            own.cool_down(deployment, wait)
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


def simulate(options: argparse.Namespace, engine: PostgresEngine) -> str:
    """One run on a virtual clock: every machine's limiter in this process, on a real PostgreSQL,
    and 50 ms from each machine to the service."""
    server = DatabaseServer(engine.new_database())
    queue, service = SharedQueue(server), Service(options.kind, options.quota, options.machines)
    with mock.patch.object(limiter, "Bell", PolledBell):
        PolledBell.loop, PolledBell.opened = queue.loop, []
        rhythm = replace(ON_SERVER, look=20.0, work_out=20.0, dead_after=999, passed_over_after=999)
        names = [f"machine-{number}" for number in range(options.machines)]
        limiters = {name: queue.limiter(name, rhythm=rhythm, tick=20.0) for name in names}
        deployment = Deployment(DEPLOYMENT, options.quota)

        async def call(name: str) -> None:
            first = False
            while True:
                await limiters[name].acquire([deployment], first=first)
                await asyncio.sleep(TRAVEL)
                wait = service.take(queue.loop.time())
                await asyncio.sleep(TRAVEL)
                if not wait:
                    service.waits.setdefault(name, []).append(queue.loop.time() - 2 * TRAVEL)
                    return
                limiters[name].cool_down(deployment, math.ceil(wait))
                first = True

        async def everybody() -> None:
            await asyncio.gather(*(call(name) for name in names for _ in range(options.calls)))

        queue.run(everybody())
    service.ended_at = queue.loop.time()
    for connection in PolledBell.opened:
        connection.close()
    server.close()
    return table(options, service)


def table(options: argparse.Namespace, service: Service) -> str:
    """What a run was worth."""
    calls = options.machines * options.calls
    best = bound(KINDS[options.kind](options.quota, 0.3), [0.0] * calls, 0.0)
    makespan = service.ended_at - service.began_at
    means = [statistics.mean(each) for each in service.waits.values()]
    lasts = [max(each) for each in service.waits.values()]
    return "\n".join(
        (
            f"{options.machines} machines x {options.calls} calls at {options.quota} in "
            f"{simulated_servers.MINUTE:g} s, {options.kind}",
            f"  makespan               {makespan:8.1f} s, {makespan / best:.3f} of the bound",
            f"  refusals               {100 * service.refusals / calls:8.1f} per 100",
            f"  a machine's mean wait  {min(means):8.1f} to {max(means):.1f} s: "
            f"{max(means) / statistics.mean(means):.2f} of the mean at most",
            f"  its last call after    {min(lasts):8.1f} to {max(lasts):.1f} s",
        )
    )


async def run(options: argparse.Namespace, engine: PostgresEngine) -> str:
    """One run with real processes."""
    simulated_servers.MINUTE = options.minute
    service = Service(options.kind, options.quota, options.machines)
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    url = engine.new_database()
    proxy = CuttingProxy(engine.port, options.link / 2000)
    near = proxy.url(url) if options.link else url
    async with machines(options, server.sockets[0].getsockname()[1], near):
        await service._go.wait()
        cpu = seconds_of(engine)
        count = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        database = url.rpartition("/")[2]
        commits = engine.run_sql(count, database)[0][0]
    proxy.close()
    cpu = seconds_of(engine) - cpu
    commits = engine.run_sql(count, database)[0][0] - commits  # type: ignore[operator]
    seconds = service.ended_at - service.began_at
    return (
        f"{table(options, service)}\n  database               {commits / seconds:8.1f} "
        f"transactions a second, {100 * cpu / seconds:.1f} % of a core, {options.link:g} ms away"
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
    parser.add_argument("--processes", action="store_true", help="real ones, in real time")
    for name in ("--name", "--url", "--port"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.name:
        asyncio.run(machine(options.name, options))
        return 0
    engine = PostgresEngine(binaries())
    try:
        engine.start()
        found = (
            asyncio.run(run(options, engine)) if options.processes else simulate(options, engine)
        )
        sys.stdout.write(found + "\n")
    finally:
        engine.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
