"""When one deployment may be called next: a state machine on plain numbers, without clock or file.

Which kind of limiter the service has is not known, so the pacer starts with the most permissive
one that keeps the quota and lets the refusals tell the rest:

1. Limit known, nothing learned: a bucket of the whole quota that refills evenly. Never refused by a
   token bucket. The first burst is spread a little, and the calls with which a stricter server
   would begin to refuse (`_is_probe`) are followed by `SETTLE` seconds of silence.
2. The first refusal turns the calls that went through since the last pause into a rule, "`calls`
   in any `seconds`". Every server that allowed those calls allows the same again, so it holds on
   sliding and fixed windows, on parts of a minute, and, as "1 in 60 / quota seconds", on a bucket
   without a burst. A Retry-After much earlier than the rule expects is the edge of a fixed window:
   the count starts anew there.
3. Limit unknown: the same, with `seconds` taken from the Retry-After alone.

A refusal pauses everything until its Retry-After; then one probe goes, then the rest by the rule.
A refusal inside the rule makes it slower; long good conduct, or `AGE`, makes it faster again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

MINUTE = 60.0
SETTLE, SETTLE_MAX = 0.35, 3.0
"""Seconds in which a refusal is back, at first (a new TLS connection and some) and at most."""
CAREFUL, SWIFT = 0.04, 0.01
"""Seconds between the starts of a burst: before and after the counts where a server that divides
the minute would refuse. 90 calls take 3.5 s: below 5 % of the shortest run of 100 images."""
STEPS = 15
"""Limit unknown: so many calls go at half that speed. Quotas of the new models are 2 to 12."""
MARGIN, MARGIN_MIN, MARGIN_MAX = 0.02, 0.02, 0.5
"""What a rule's seconds are lengthened by (share, least, most): calls travel unevenly fast."""
BACKOFF, PAUSE_MAX, RETRY_AFTER_MAX = 1.0, 60.0, 3600.0
"""Seconds: first and longest pause without a Retry-After, and the longest that is believed."""
TRIAL = 5
"""Calls that must pass at a faster pace before it is trusted; doubled by each failure."""
AGE = 3600.0
"""Seconds after the last refusal when what was learned is put to the test again."""
TIMES = ("pause_until", "gap_until", "full_at", "run_start", "run_first", "refused_at")
"""The fields that are times, beside `starts`."""
KEPT = 600
"""Starts that are remembered, at most."""


@dataclass
class Pacer:
    """The state of one deployment. Times are seconds of one clock, the same in every process.

    `limit` is requests a minute (None: unknown), `told` what the server's headers say of it.
    `calls` in `seconds` is the learned rule (`calls` 0: none), `too_fast` a shorter time that was
    refused, `trial` a faster pace under test after `good` calls in good conduct, `patience` how
    many that takes. `full_at` is when the bucket is full again. A run begins after a pause and is
    a minute at most: `proved` calls of one were seen to pass; `passed` calls since `run_first` did
    in the last. `row` counts pauses with no call let through between them, `kept_rule` tells that
    the refusal came in spite of the rule, `echo` how long a refusal takes to come back.
    """

    limit: float | None = None
    told: float | None = None
    stamp: float = 0.0
    starts: list[float] = field(default_factory=list)
    pause_until: float = 0.0
    gap_until: float = 0.0
    full_at: float = 0.0
    run_start: float = -math.inf
    calls: int = 0
    seconds: float = 0.0
    too_fast: float = 0.0
    trial: float = 0.0
    good: int = 0
    patience: int = TRIAL
    proved: int = 0
    row: int = 0
    passed: int = 0
    kept_rule: bool = False
    run_first: float = 0.0
    refused_at: float = -math.inf
    echo: float = 0.0

    @classmethod
    def restore(cls, state: Mapping[str, object]) -> Pacer:
        """A pacer from `state`'s form; TypeError where the form is another one."""
        if set(state) != {each.name for each in fields(cls)}:
            raise TypeError("the stored pace has other fields")
        return cls(**state)  # type: ignore[arg-type]

    def state(self) -> dict[str, object]:
        """Plain numbers, for storing."""
        return dict(self.__dict__)

    @property
    def rpm(self) -> float | None:
        """Requests a minute that go through as far as is known, None where nothing is."""
        learned = self.calls * MINUTE / self.seconds if self.calls else None
        return min((rate for rate in (self.limit, learned) if rate), default=None)

    def set_limit(self, limit: float | None) -> None:
        """Take over the profile's requests a minute (> 0, or None); the server's, if less, stay."""
        limit = min((each for each in (limit, self.told) if each), default=None)
        if limit != self.limit:
            self.limit, self.full_at = limit, -math.inf
            for at in self.starts:
                self.full_at = max(self.full_at, at) + self._even()
        self.seconds = max(self.seconds, self._least(self.calls))

    def settle_clock(self, now: float) -> bool:
        """Bring the state to `now`; True where it must be stored at once to hold.

        A clock that went back (a reboot) moves every time along with it, so that nothing lies
        further ahead than it did: no wait grows and no burst is let loose. After `AGE` without a
        refusal a rule is tried anew, or, where the limit is known, dropped.
        """
        back, old = now < self.stamp, self.calls > 0 and now - self.refused_at > AGE
        if back:
            by = now - self.stamp
            self.starts = [at + by for at in self.starts]
            for name in TIMES:
                setattr(self, name, getattr(self, name) + by)
        elif old:
            self.refused_at = now
            self.too_fast, self.trial, self.patience, self.good = 0.0, 0.0, TRIAL, 0
            if self.limit is not None:
                self.calls = self.proved = 0
        self.stamp = now
        return back or old

    def ready_at(self) -> float:
        """The earliest time at which the next call may start; it may lie in the past."""
        return max(self.pause_until, self.gap_until, self._quota_at())

    def start(self, now: float) -> None:
        """Count one call that starts at `now` (not before `ready_at`)."""
        saturated = self.calls and now - self._quota_at() < 2 * self._settle()
        last = self.starts[-1] if self.starts else -math.inf
        if now - last >= self._settle() and last >= self.run_start:
            self.row = 0
            self.proved = max(self.proved, self._in_run(now))
        self.starts.append(now)
        keep = now - max(MINUTE, self.seconds) - 1
        self.starts = [at for at in self.starts[-KEPT:] if at >= keep]
        self.full_at = max(self.full_at, now) + self._even()
        if saturated:
            self._judge()
        self.gap_until = now + self._gap(self._in_run(now), now - last > 2 * self._settle())

    def withdraw(self, started: float) -> None:
        """Take back a start whose call was never sent."""
        if started in self.starts:
            self.starts.remove(started)
            self.full_at -= self._even()

    def refused(self, now: float, retry_after: float | None) -> None:
        """Count a 429. `retry_after` is seconds from now, None where the server did not say."""
        self.refused_at = now
        if self.starts:
            self.echo = max(self.echo * 0.9, min(now - self.starts[-1], SETTLE_MAX))
        told = min(retry_after, RETRY_AFTER_MAX) if retry_after and retry_after > 0 else None
        if now >= self.pause_until:
            self._begin_pause(now, told)
        elif not self.kept_rule and self.passed > 1:
            self.passed -= 1
        until = now + told if told else self._guess(now)
        rounding = until - now
        if told:
            rounding = 1.0 if told == int(told) else SETTLE
        if self.passed and not self.kept_rule:
            self._conclude(until, rounding)
        self.pause_until = max(self.pause_until, until)
        self.run_start = self.gap_until = self.pause_until
        self.full_at = self.pause_until + (self._burst() - 1) * self._even()

    def _begin_pause(self, now: float, told: float | None) -> None:
        """Find which calls were let through before the first refusal after a time without.

        If it meets the probe after a pause, the pause was too short: the calls before it count on.
        """
        self.row += 1
        run = [at for at in self.starts if at >= self.run_start and at > now - MINUTE]
        self.kept_rule = bool(self.trial) or 0 < self.calls < len(run)
        if self.kept_rule:
            self.passed, self.run_first = self.calls, (self.starts[-self.calls - 1 :] or [now])[0]
            if self.trial:
                self.too_fast, self.trial, self.good = self.trial, 0.0, 0
                self.patience *= 2
            else:
                self._slow_down(now, told)
        elif run and not (self.row > 1 and len(run) == 1):
            self.passed, self.run_first = len(run) - 1, run[0]

    def _even(self) -> float:
        """Seconds a call at an even pace, with the margin; 0.0: no limit known."""
        return self._least(1) * (1 + MARGIN)

    def _settle(self) -> float:
        return max(SETTLE, self.echo * 1.25)

    def _burst(self) -> int:
        return max(1, int(self.limit or 1))

    def _in_run(self, now: float) -> int:
        """Calls since the last pause, of the last minute at most: what a server may count."""
        return sum(at >= self.run_start and at > now - MINUTE for at in self.starts)

    def _quota_at(self) -> float:
        """When the rule, or else the bucket, has room for one more."""
        if self.calls:
            if len(self.starts) < self.calls:
                return -math.inf
            seconds = self.trial or self.seconds
            margin = min(MARGIN_MAX, max(MARGIN_MIN, MARGIN * seconds))
            return self.starts[-self.calls] + seconds + margin
        if self.limit:
            return self.full_at - (self._burst() - 1) * self._even()
        return -math.inf

    def _is_probe(self, count: int, lull: bool) -> bool:
        """Whether the run's call `count` is the first that some kind of server would refuse."""
        if self.trial or (lull and self.good <= 2 * self.calls and self.calls):
            return True
        if count <= self.proved:
            return False
        if self.calls:
            return count <= (2 if self.limit else 4)
        if self.limit is None:
            return count in (2, 3)
        burst = self._burst()
        return count in (2, burst // 10 + 1, burst // 6 + 1, burst + 1)

    def _gap(self, count: int, lull: bool) -> float:
        """Seconds of silence after the run's call `count`."""
        if self._is_probe(count, lull):
            return self._settle()
        if count <= self.proved or (self.limit and count > self._burst() / 3):
            gap = SWIFT
        else:
            gap = CAREFUL if self.limit or self.calls or count > STEPS else 2 * CAREFUL
        # An even pace is right by every rule: with thousands a minute it is faster than a burst.
        return min(gap, self._even()) if self.limit else gap

    def _guess(self, now: float) -> float:
        """When to send the next probe, where the server does not say."""
        due = now
        if self.row == 1 and self.passed and self.limit and not self.kept_rule:
            due = self.run_first + self.passed * self._even()
        elif self.row == 1 and self.kept_rule:
            due = self._quota_at()
        if due > now:
            return min(due, now + PAUSE_MAX)
        # The last digits of the clock stand in for random numbers.
        spread = 0.75 + 0.25 * (now * 997 % 1)
        return now + min(PAUSE_MAX, BACKOFF * math.ldexp(spread, min(self.row - 1, 9)))

    def _least(self, calls: int) -> float:
        """The fewest seconds for so many calls that the known limit allows; 0.0: none known."""
        return calls * MINUTE / self.limit if self.limit else 0.0

    def _conclude(self, until: float, rounding: float) -> None:
        """Make the rule of a run: `passed` calls since `run_first`, room again at `until`, or up to
        `rounding` seconds before."""
        span, least = until - self.run_first, self._least(self.passed)
        if self.limit and span - rounding <= least:
            self.seconds, self.too_fast = least, least
            if span < least - max(1.5, MARGIN * least):
                self.starts = [at for at in self.starts if at > until]
        else:
            self.seconds, self.too_fast = span, max(span - rounding, least)
            if self.passed == 1 and not self.limit:
                self.seconds -= rounding / 2
        self.calls = self.passed
        self.proved = min(self.proved, self.calls)
        self.good = 0

    def _slow_down(self, now: float, told: float | None) -> None:
        """The rule was kept and still too fast: keep its calls, lengthen its seconds.

        A known limit is nearly right at first, so it is lengthened just enough for uneven travel.
        """
        exact = self.limit and self.seconds <= self._least(self.calls) * 1.01
        longer = self.seconds * (1.05 if exact else 1.25 if told and told == int(told) else 1.5)
        if told:
            span = now + told - self.starts[-self.calls - 1]
            longer = max(min(longer, span), span - 1.0, self.seconds * 1.01)
        self.too_fast, self.seconds, self.good = self.seconds, longer, 0

    def _judge(self) -> None:
        """Count a call that kept to the rule; begin or end a trial of a faster one."""
        self.good += 1
        if self.good < self.patience:
            return
        self.good = 0
        if self.trial:
            self.seconds, self.trial = self.trial, 0.0
            return
        least = self._least(self.calls)
        if self.too_fast <= least < self.seconds * 0.8:
            faster = least
        else:
            faster = max(math.sqrt(max(least, self.too_fast) * self.seconds), 0.8 * self.seconds)
        self.trial = faster if faster < self.seconds * 0.95 else 0.0
