"""A call under way as others may see it: no prompt, no key, no endpoint."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .in_flight import InFlightCall


@dataclass(frozen=True, slots=True)
class CallStatus:
    """What one call of this process is doing.

    `phase` is Progress's ("waiting", "joined", "sent", "retrying"), "" before the first word.
    `seconds` is the time to its turn or its next try, None where it isn't known; `rpm` are the
    requests a minute that make it wait, `reason` is why it tries again; `nodes` wait for it.
    """

    model: str
    kind: str
    profile: str
    phase: str
    seconds: float | None
    rpm: float | None
    reason: str
    nodes: int


def standing(flight: InFlightCall) -> CallStatus:
    """How a flight stands now; safe to call from any thread."""
    told = flight.progress
    until = told.until if told else None
    return CallStatus(
        model=flight.request.model,
        kind=type(flight.request).__name__.lower(),
        profile=flight.profile.name,
        phase=told.phase if told else "",
        seconds=None if until is None else max(0.0, until - time.monotonic()),
        rpm=told.rpm if told else None,
        reason=told.reason if told else "",
        nodes=len(flight.waiting),
    )
