"""When a call may be sent again, and how long to wait before: decisions without a connection.

A call is a paid POST that isn't idempotent, so it is sent again only where the service surely did
not begin it; all else is left to the user.
"""

from __future__ import annotations

import random
from typing import Protocol

from .http import HttpAnswer, HttpRequest
from .providers import was_never_sent_on

MAX_REPEATS = 4
"""How often one call is sent again for reasons other than 429."""

MAX_REFUSALS = 10
"""How many 429s in a row one call takes; each is a full wait for its turn, so this is minutes."""

LONGEST_PAUSE = 900.0
"""Seconds. An answer that asks to wait longer than this ends the call instead."""


class Caller(Protocol):
    """Who a call belongs to: hears of every step, and says what to send and when."""

    async def turn(self) -> HttpRequest:
        """Wait for a place in the quota; the request as it is to be sent now."""

    async def refused(self, answer: HttpAnswer, seconds: float | None) -> None:
        """A 429 came, asking to wait `seconds` (None: it doesn't say)."""

    async def retrying(self, seconds: float, reason: str) -> None:
        """Nothing is out; the next try is `seconds` away."""


def may_repeat(answer: HttpAnswer) -> bool:
    """Whether the service says that it did not do the work: 408, 429, 499 closed, 503 with a date.

    Never 500, 502, 504 or a plain 503: the image may have been made and billed.
    """
    if answer.status == 503:
        return "retry-after" in answer.headers
    return answer.status in (408, 429) or was_never_sent_on(answer)


def backoff(attempt: int) -> float:
    """Seconds before try number `attempt` + 1: 0.5, 1, 2, 4, each plus up to half in jitter."""
    base = min(0.5 * 2.0 ** (attempt - 1), 8.0)
    return base + random.uniform(0, base / 2)
