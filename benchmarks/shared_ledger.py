"""A studio's PostgreSQL over loopback: what the books and the slot of one call cost.

`python -m mai_image.benchmarks.shared_ledger [--rows 1000000] [--machines 50] [--delay 0.1]`. A
call is opened, gets its slot, is marked sent and closed, each in a transaction of its own; the
ledger's wait for the disk.
The ledger is empty at first, then holds --rows calls of --machines machines; all of these stand in
the ledger as owners that live. --delay puts a link of so many seconds each way before the server.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from . import pack

pack.ready()

from ..mai.database import DatabaseServer
from ..mai.ledger import Ledger, NewCall, Outcome
from ..mai.rate_limit import Deployment, RateLimiter
from ..mai.types import Budget

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from cutting_proxy import CuttingProxy
from postgres_engine import PostgresEngine, binaries

CALLS = 60
AIM = 15.0
BUDGET = Budget(1e6, 1e6)

STEPS = ("open", "slot", "mark sent", "close")

DEPLOYMENT = Deployment("a deployment", 60_000.0)


class Slots:
    """The rate limiter in an event loop of its own, as the client has it."""

    def __init__(self, server: DatabaseServer) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._limiter = RateLimiter(server, machine="bench")

    def acquire(self) -> None:
        """Wait for a slot; the quota is larger than what is asked for. That the call is sent is
        written with the next one's slot, or a moment later."""
        waiting = self._limiter.acquire([DEPLOYMENT])
        asyncio.run_coroutine_threadsafe(waiting, self._loop).result()


def one_call(ledger: Ledger, number: int, slots: Slots) -> list[float]:
    """Milliseconds of each of STEPS."""
    call = NewCall(f"{number:064x}", "bench", "foundry", "m", "generate", 0.04)
    marks = [time.perf_counter()]
    row = ledger.open(call, BUDGET)
    marks.append(time.perf_counter())
    slots.acquire()
    marks.append(time.perf_counter())
    assert ledger.mark_sent(row, "a deployment")
    marks.append(time.perf_counter())
    ledger.close(row, Outcome.DELIVERED, cost_usd=0.04, request_id="r", status=200)
    marks.append(time.perf_counter())
    return [1000 * (after - before) for before, after in itertools.pairwise(marks)]


def book(ledger: Ledger, number: int) -> None:
    """The ledger's part of a call."""
    call = NewCall(f"{number:064x}", "bench", "foundry", "m", "generate", 0.04)
    row = ledger.open(call, BUDGET)
    ledger.mark_sent(row, "a deployment")
    ledger.close(row, Outcome.DELIVERED, cost_usd=0.04)


def measure(
    title: str,
    ledger: Ledger,
    slots: Slots,
    first: int,
    count: int = CALLS,
    engine: PostgresEngine | None = None,
) -> None:
    """Print the medians of one machine's calls, one after another, and the CPU that both used."""
    one_call(ledger, first, slots)
    taken = []
    cpu = time.process_time() + (engine.cpu_seconds() if engine else 0.0)
    for i in range(count):
        time.sleep(0.06)  # a slot that needs no wait: after the pause of the last
        taken.append(one_call(ledger, first + 1 + i, slots))
    cpu = time.process_time() + (engine.cpu_seconds() if engine else 0.0) - cpu
    steps = [statistics.median(each) for each in zip(*taken, strict=True)]
    whole = statistics.median(map(sum, taken))
    missed = "  MISSED" if whole > AIM else ""
    cells = "".join(f"{ms:11.2f}" for ms in [*steps, whole])
    used = f"  CPU {1000 * cpu / count:.1f}" if engine else ""
    print(f"  {title:36}{cells}{AIM:7.0f}{missed}{used}", flush=True)


def together(url: str, first: int, machines: int, count: int) -> None:
    """Print how many calls a second so many machines book at once, one thread and server each."""
    servers = [DatabaseServer(url) for _ in range(machines)]
    ledgers = [Ledger(server, machine=f"m{i}") for i, server in enumerate(servers)]
    taken: list[float] = []

    def work(index: int) -> None:
        for i in range(count):
            begun = time.perf_counter()
            book(ledgers[index], first + index * count + i)
            taken.append(1000 * (time.perf_counter() - begun))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(machines)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    print(
        f"  {machines} machines at once: {len(taken) / seconds:.0f} calls a second, a call "
        f"{statistics.median(taken):.0f} ms in the middle, {max(taken):.0f} ms at most"
    )
    for ledger in ledgers:
        ledger.close_file()


def fill(engine: PostgresEngine, database: str, rows: int, machines: int) -> None:
    """Closed calls of many machines, copied inside of PostgreSQL, and owners that live."""
    engine.run_sql(
        "INSERT INTO mai_image.calls (token, opened_at, day, closed_at, outcome, key, profile,"
        " service, model, kind, estimate_usd, cost_usd, estimate_nano, counted_nano, counted_calls,"
        " machine, \"user\") SELECT md5(i::text), 0, to_char(now() - (i % 300) * interval '1 day',"
        " 'YYYY-MM-DD'), 0, 'delivered', md5(i::text), 'bench', 'foundry', 'm', 'generate', 0.04,"
        f" 0.04, 40000000, 40000000, 1, 'm' || i % {machines}, 'u' || i % 7"
        f" FROM generate_series(1, {rows}) AS i",
        database,
    )
    engine.run_sql(
        "INSERT INTO mai_image.sums SELECT profile, day, model, outcome, sum(counted_nano),"
        " count(*) FROM mai_image.calls WHERE key = md5(id::text) GROUP BY 1, 2, 3, 4"
        " ON CONFLICT (profile, day, model, outcome) DO UPDATE SET nano = excluded.nano",
        database,
    )
    engine.run_sql(
        "INSERT INTO mai_image.owners SELECT 'owner ' || i, 'm' || i, 'boot ' || i, '', i, '',"
        f" 9000000000 FROM generate_series(1, {machines}) AS i",
        database,
    )
    engine.run_sql("VACUUM ANALYZE", database)


def main(argv: Sequence[str] | None = None) -> int:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--machines", type=int, default=50)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds each way of a slow link")
    arguments = parser.parse_args(argv)
    engine = PostgresEngine(binaries(), {"fsync": "on"})
    try:
        engine.start()
        url = engine.new_database()
        name = url.rpartition("/")[2]
        server = DatabaseServer(url)
        ledger, slots = Ledger(server, machine="m0", user="u0"), Slots(server)
        heads = "".join(f"{step:>11}" for step in (*STEPS, "sum"))
        print(f"One call's ms on PostgreSQL over loopback\n  {'':36}{heads}{'aim':>7}")
        measure("empty", ledger, slots, 10**9, engine=engine)
        fill(engine, name, arguments.rows, arguments.machines)
        many = f"{arguments.rows} rows, {arguments.machines} machines"
        measure(many, ledger, slots, 2 * 10**9, engine=engine)
        for title, work in (
            ("sums of the page", lambda: (ledger.spend(), ledger.spend_here())),
            ("spend --by machine", lambda: ledger.spend_by("machine")),
        ):
            began = time.perf_counter()
            work()
            print(f"  {title}: {1000 * (time.perf_counter() - began):.0f} ms")
        together(url, 3 * 10**9, 16, 10)
        proxy = CuttingProxy(engine.port, arguments.delay)
        far = DatabaseServer(proxy.url(url))
        slow = Ledger(far, machine="far")
        measure(f"a link of {2000 * arguments.delay:.0f} ms", slow, Slots(far), 4 * 10**9, 3)
        slow.close_file()
        ledger.close_file()
        proxy.close()
    finally:
        engine.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
