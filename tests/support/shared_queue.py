"""The rate limiter's queue on either engine, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from mai_image.mai.database import DatabaseServer, database_at
from mai_image.mai.rate_limit import Deployment, RateLimiter, limiter, queue
from virtual_time import VirtualLoop, run

ENGINES = ["sqlite", "postgres"]


class PolledBell:
    """Stands in for the thread that listens: asks whenever the virtual clock would go on.

    PostgreSQL says what was committed before it answers, so the order of events is always the same.
    """

    loop: VirtualLoop
    opened: list[Any]

    def __init__(
        self,
        server: DatabaseServer,
        owner: str,
        ring: Callable[[bool], None],
        is_needed: Callable[[], bool],
    ) -> None:
        self._connection = server.connect()
        self._connection.execute(f"LISTEN {queue.CHANNEL}")
        self._connection.add_notify_handler(
            lambda note: ring(bool(note.payload)) if note.payload in ("", owner) else None
        )
        self.loop.before_skip.append(self._poll)
        self.opened.append(self._connection)

    def listen(self) -> None:
        """It does already."""

    def _poll(self) -> None:
        self._connection.execute("SELECT 1")


class SharedQueue:
    """A queue on a virtual clock; `slots` that were given: (name, deployment, second)."""

    def __init__(self, where: Path | DatabaseServer) -> None:
        self.where = where
        self.loop = VirtualLoop()
        self.slots: list[tuple[str, str, float]] = []

    def limiter(self, machine: str = "one", **options: Any) -> RateLimiter:
        """One process's limiter."""
        return RateLimiter(self.where, machine=machine, **{"clock": self.loop.time, **options})

    def ask(
        self, limiter: RateLimiter, name: str, *deployments: Deployment, **options: Any
    ) -> asyncio.Task[None]:
        """Ask for a slot and note when it came."""

        async def slot() -> None:
            deployment = await limiter.acquire(deployments, **options)
            self.slots.append((name, deployment.name, round(self.loop.time(), 1)))

        return self.loop.create_task(slot())

    def names(self) -> list[str]:
        """Who had a slot, in order."""
        return [name for name, _, _ in self.slots]

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run a test's body to its end."""
        run(main, self.loop)

    def execute(self, statement: str, **values: object) -> list[Any]:
        """What a statement gives that somebody else runs."""
        with database_at(self.where, queue.SCHEMA).transaction() as sql:
            result = sql.execute(sqlalchemy.text(statement), values)
            return list(result) if result.returns_rows else []


def queue_on(
    engine: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SharedQueue]:
    """A queue on one of ENGINES."""
    if engine == "sqlite":
        yield SharedQueue(request.getfixturevalue("tmp_path") / "quota.sqlite")
        return
    server = DatabaseServer(request.getfixturevalue("postgres"))
    found = SharedQueue(server)
    monkeypatch.setattr(limiter, "Bell", PolledBell)
    monkeypatch.setattr(PolledBell, "loop", found.loop, raising=False)
    monkeypatch.setattr(PolledBell, "opened", [], raising=False)
    yield found
    for connection in PolledBell.opened:
        connection.close()
    server.close()
