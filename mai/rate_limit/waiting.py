"""What is asked of the quota: a turn on one of some lanes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

OnWait = Callable[[float, "float | None"], None]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment: `name` is unique for endpoint and deployment; `rpm` requests a minute, None
    where nobody knows."""

    name: str
    rpm: float | None = None


@dataclass(eq=False)
class Waiter:
    """One acquire: what it asked for, what it was told last, and how it ended."""

    lanes: tuple[Deployment, ...]
    first: bool
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ticket: int | None = None
    turn: float = -math.inf
    seconds: float = 0.0
    rpm: float | None = None
    lane: Deployment | None = None
    started: float = 0.0
    error: Exception | None = None

    def tell(self, turn: float, now: float, rpm: float | None) -> None:
        """Let it know when its turn will be."""
        self.turn, self.seconds, self.rpm = turn, turn - now, rpm
        self.changed.set()
