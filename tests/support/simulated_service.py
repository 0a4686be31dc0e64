"""A modelled image service on a virtual clock: one of the kinds of server, latency and travel."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass

from simulated_servers import KINDS, Server, bound
from virtual_time import VirtualLoop

IMAGES = 100
P50, P95, LONGEST = 32.0, 48.0, 106.0
"""Seconds an image of 2.6 at 1024 x 1024 takes (MAI_API.md section 5)."""
TRAVEL, JITTER = 0.05, 0.01
"""Seconds from here to the server, one way, and how much more at most: an assumption."""


@dataclass(frozen=True)
class Case:
    """One run. `retry_after`: "whole" seconds (rounded up, as servers do), "exact" or "none"."""

    kind: str
    quota: int
    known: bool = True
    seed: int = 0
    retry_after: str = "whole"
    latency: float = P50
    images: int = IMAGES


@dataclass(frozen=True)
class Outcome:
    """How a run went. `makespan` and `bound` in seconds."""

    makespan: float
    bound: float
    refusals: int
    failed: int

    @property
    def ratio(self) -> float:
        """Makespan over the best possible one."""
        return self.makespan / self.bound


class Service:
    """The modelled service: counts calls as they arrive and answers in its own time."""

    def __init__(self, case: Case, loop: VirtualLoop) -> None:
        self._case = case
        self._loop = loop
        self._random = random.Random(case.seed)
        scale = case.latency / P50
        spread = math.log(P95 / P50) / 1.645
        draw = self._random.lognormvariate
        self._latencies = [
            scale * min(LONGEST, draw(math.log(P50), spread)) for _ in range(case.images)
        ]
        self._phase = self._random.random()
        self._server = self._new_server()
        self._passed = 0
        self.refusals = 0

    def bound(self) -> float:
        """The shortest possible makespan, in seconds."""
        latencies = [each + TRAVEL for each in self._latencies]
        return bound(self._new_server(), latencies, TRAVEL)

    async def call(self) -> tuple[bool, float | None]:
        """Send one call: whether it was let through, and if not the Retry-After in seconds."""
        await asyncio.sleep(self._travel())
        now = self._loop.time()
        wait = self._server.wait(now)
        if wait <= 0:
            self._server.take(now)
            self._passed += 1
            await asyncio.sleep(self._latencies[self._passed - 1] + self._travel())
            return True, None
        self.refusals += 1
        self._server.refuse(now)
        wait = max(wait, self._server.wait(now))
        await asyncio.sleep(self._travel())
        if self._case.retry_after == "none":
            return False, None
        return False, float(math.ceil(wait)) if self._case.retry_after == "whole" else wait

    def _new_server(self) -> Server:
        return KINDS[self._case.kind](self._case.quota, self._phase)

    def _travel(self) -> float:
        return TRAVEL + JITTER * self._random.random()
