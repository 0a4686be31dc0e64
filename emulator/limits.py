"""Requests a minute: the ways in which a service may count, since the real one's isn't known."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .options import Options
from .refusals import Refusal, refusal_of_status


@dataclass(frozen=True)
class Verdict:
    """`limit` and `remaining` are requests; `reset` is the seconds until all are free again,
    `wait` those until the next request passes (0 where this one did)."""

    allowed: bool
    limit: int
    remaining: int
    reset: float
    wait: float = 0.0

    def headers(self) -> dict[str, str]:
        """The x-ratelimit headers, and those that say when to come again."""
        found = {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": str(math.ceil(self.reset)),
        }
        if not self.allowed:
            found["retry-after"] = str(max(1, math.ceil(self.wait)))
            found["retry-after-ms"] = str(math.ceil(self.wait * 1000))
        return found


class SlidingWindow:
    """`limit` requests in any stretch of `window` seconds."""

    def __init__(self, limit: int, window: float, count_refused: bool) -> None:
        self._limit, self._window, self._count_refused = limit, window, count_refused
        self._times: deque[float] = deque(maxlen=limit)

    def take(self, now: float) -> Verdict:
        """Count one request at `now` (seconds, never going back).

        With `count_refused`, a client that keeps trying is kept waiting.
        """
        while self._times and now - self._times[0] >= self._window:
            self._times.popleft()
        allowed = len(self._times) < self._limit
        if allowed or self._count_refused:
            self._times.append(self._counted_at(now))
        reset = self._times[-1] + self._window - now
        wait = 0.0 if allowed else self._times[0] + self._window - now
        return Verdict(allowed, self._limit, self._limit - len(self._times), reset, wait)

    def _counted_at(self, now: float) -> float:
        return now


class FixedWindow(SlidingWindow):
    """`limit` requests in each window; windows follow one another from the first request on."""

    _start: float | None = None

    def _counted_at(self, now: float) -> float:
        """When the window of `now` began."""
        if self._start is None:
            self._start = now
        return now - (now - self._start) % self._window


class TokenBucket:
    """`rate` requests a second flow in, up to `burst`; each request takes one out."""

    def __init__(self, rate: float, burst: float, count_refused: bool) -> None:
        self._rate, self._burst, self._count_refused = rate, burst, count_refused
        self._level = burst
        self._time: float | None = None

    def take(self, now: float) -> Verdict:
        """Count one request. With `count_refused`, a refused one empties the bucket."""
        if self._time is not None:
            self._level = min(self._burst, self._level + (now - self._time) * self._rate)
        self._time = now
        # A level of 1 that was summed up in steps may fall short by the steps' rounding.
        allowed = self._level >= 1 - 1e-9
        if allowed:
            self._level = max(0.0, self._level - 1)
        elif self._count_refused:
            self._level = 0.0
        reset = (self._burst - self._level) / self._rate
        wait = 0.0 if allowed else (1 - self._level) / self._rate
        return Verdict(allowed, max(1, int(self._burst)), int(self._level), reset, wait)


class RateLimits:
    """The counters of all deployments."""

    def __init__(self, options: Options, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._counters: dict[str, SlidingWindow | TokenBucket] = {}

    def take(self, deployment: str) -> dict[str, str]:
        """Count a request; the headers of its answer. Raises the 429 where none is left."""
        rpm = self._options.rpm_by_deployment.get(deployment, self._options.rpm)
        if rpm is None:
            return {}
        if deployment not in self._counters:
            self._counters[deployment] = _counter(rpm, self._options)
        verdict = self._counters[deployment].take(self._clock())
        headers = verdict.headers()
        if not verdict.allowed:
            usual = refusal_of_status(429)
            message = f"{usual.message} Please retry after {headers['retry-after']} seconds."
            raise Refusal(429, usual.code, message, headers)
        return headers


def _counter(rpm: float, options: Options) -> SlidingWindow | TokenBucket:
    if options.counting == "token bucket":
        burst = options.burst if options.burst is not None else max(1.0, rpm)
        return TokenBucket(rpm / 60, burst, options.count_refused)
    limit = max(1, int(rpm * options.window / 60 + 1e-9))
    # Where not one request fits into the window of the options, it grows instead of the rate.
    window = max(options.window, 60 / rpm)
    counter = FixedWindow if options.counting == "fixed window" else SlidingWindow
    return counter(limit, window, options.count_refused)
