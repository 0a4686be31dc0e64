"""Models of how a service may count calls, and the best that anyone could do against each.

Which kind the real service has isn't known (MAI_API.md): these are the kinds that others have.
Times are seconds from the beginning of a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MINUTE = 60.0


@dataclass
class Windows:
    """At most `calls` in `seconds`, for each pair of `limits`.

    `phase` is where fixed windows begin; None: every stretch of that length counts (sliding).
    `refused_too`: calls that were refused use up the limit as well.
    """

    limits: Sequence[tuple[int, float]]
    phase: float | None = None
    refused_too: bool = False
    seen: list[float] = field(default_factory=list)

    def wait(self, now: float) -> float:
        """Seconds until a call would be let through, 0.0: at once."""
        at = now
        for _ in range(100):
            later = max(self._free_at(calls, seconds, at) for calls, seconds in self.limits)
            if later <= at:
                return at - now
            at = later
        raise AssertionError("no time found")

    def take(self, now: float) -> None:
        """Count a call."""
        self.seen.append(now)

    def refuse(self, now: float) -> None:
        """Count a refused call, if this kind does."""
        if self.refused_too:
            self.seen.append(now)

    def _free_at(self, calls: int, seconds: float, at: float) -> float:
        if self.phase is None:
            if len(self.seen) < calls:
                return at
            return max(at, self.seen[-calls] + seconds - 1e-6)
        window = self._window(at, seconds)
        used = sum(self._window(each, seconds) == window for each in self.seen[-2 * calls :])
        return at if used < calls else self.phase + (window + 1) * seconds

    def _window(self, at: float, seconds: float) -> int:
        assert self.phase is not None
        return math.floor((at - self.phase) / seconds + 1e-6)


@dataclass
class Bucket:
    """`burst` calls at once, refilled with one each `seconds`; full at first."""

    burst: int
    seconds: float
    full_at: float = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until a call would be let through, 0.0: at once."""
        return max(0.0, self.full_at - (self.burst - 1) * self.seconds - now - 1e-9)

    def take(self, now: float) -> None:
        """Count a call."""
        self.full_at = max(self.full_at, now) + self.seconds

    def refuse(self, now: float) -> None:
        """Refused calls don't count."""


Server = Windows | Bucket


def _part(quota: int, divisor: int, seconds: float, phase: float | None) -> Windows:
    """A part of the quota per some seconds, at least one, and the whole per minute."""
    return Windows([(max(1, quota // divisor), seconds), (quota, MINUTE)], phase)


KINDS: dict[str, Callable[[int, float], Server]] = {
    "sliding window": lambda q, _: Windows([(q, MINUTE)]),
    "bucket": lambda q, _: Bucket(q, MINUTE / q),
    "bucket, no burst": lambda q, _: Bucket(1, MINUTE / q),
    "sliding, refused too": lambda q, _: Windows([(q, MINUTE)], None, True),
    "fixed window": lambda q, p: Windows([(q, MINUTE)], p * MINUTE - MINUTE),
    "fixed, refused too": lambda q, p: Windows([(q, MINUTE)], p * MINUTE - MINUTE, True),
    "1/10 per 6 s": lambda q, _: _part(q, 10, 6, None),
    "1/10 per 6 s, fixed": lambda q, p: _part(q, 10, 6, p * MINUTE - MINUTE),
    "1/6 per 10 s": lambda q, _: _part(q, 6, 10, None),
    "1/6 per 10 s, fixed": lambda q, p: _part(q, 6, 10, p * MINUTE - MINUTE),
    "1/10 per 10 s": lambda q, _: _part(q, 10, 10, None),
}
"""A server for a quota (requests a minute) and a phase (0 to 1). A tenth per 10 s gives 0.6 of the
quota; the others give the whole where it can be divided."""

SMOOTH = ("sliding window", "bucket", "bucket, no burst", "sliding, refused too")
"""The kinds where 1.05 of the bound is asked for; 1.4 on the others."""


def bound(server: Server, latencies: Sequence[float], travel: float) -> float:
    """The shortest possible makespan against this (new) server: seconds until the last answer.

    Every call arrives as early as the server would let it through, after every earlier call did
    too, and after `travel` seconds on the way. The i-th call that is let through takes
    `latencies[i]` for every strategy, so luck with the latencies isn't counted as merit.
    """
    at, end = travel, 0.0
    for latency in latencies:
        at += server.wait(at)
        server.take(at)
        end = max(end, at + latency)
    return end
