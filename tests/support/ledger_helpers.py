"""What the ledger's tests share: a call to write down, and a clock to turn."""

from __future__ import annotations

from mai_image.mai.ledger import Call, Ledger, Outcome
from mai_image.mai.types import Budget

KEY = "a" * 64
FREE = Budget()
NOON = 1_794_225_600.0
"""A day in the middle of a month, in every time zone."""

DAY = 86_400.0
DELIVERED, REFUSED, BLOCKED = Outcome.DELIVERED, Outcome.REFUSED, Outcome.BLOCKED
PERHAPS, WITHDRAWN = Outcome.PERHAPS_BILLED, Outcome.WITHDRAWN


def call(estimate: float = 0.04, profile: str = "work", key: str = KEY, model: str = "m") -> Call:
    return Call(key, profile, "foundry", model, "generate", estimate)


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def only(ledger: Ledger) -> dict[str, object]:
    """The one row that there is."""
    (row,) = ledger.rows()
    return row
