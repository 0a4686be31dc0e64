"""When one deployment may be called next: a state machine on plain numbers, without clock or file.

The service doesn't say how it counts requests: by the last 60 seconds, by the clock's minute, by a
tenth of a minute, by a bucket that refills. So calls go as fast as the most generous of these would
let them, and the first refusal (a 429) shows which one it is.

      +----- an hour without a refusal, if the limit is known -----+
      v                                                            |
    OPEN --- refused ---> COOLDOWN --- time is over ---------> WINDOW --- 5 calls ---> TRIAL
                            ^  ^                               |    ^                  |   |
                            |  +----------- refused -----------+    +-- 5 calls: kept -+   |
                            +----------- refused: back to the longer window ---------------+

After a cooldown from which nothing was learned, OPEN goes on.

OPEN      Nothing is learned. With a known limit: a bucket of one minute's quota that refills
          evenly. Without one: calls follow each other at `first_spacing`. The calls that a stricter
          server would be the first to refuse are probes: nothing is sent for `probe_wait` seconds
          after them, by then a refusal would be back.
COOLDOWN  Nothing is sent until the refusal's Retry-After is over. Each further refusal of the same
          burst shows that one call less was let through.
WINDOW    `window_calls` in any `window_seconds`, as the burst before the refusal showed: its calls
          were let through, and there was room for more when the Retry-After was over. Every server
          that allowed this once allows it again. The first call after a cooldown is a probe.
TRIAL     The same calls in fewer seconds, each of them a probe.

What each part is worth, and what was tried and left, is in benchmarks/README.md.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

MINUTE = 60.0
MARGIN, MARGIN_MIN, MARGIN_MAX = 0.02, 0.02, 0.5
"""What a window's seconds are lengthened by (share, least, most): calls travel unevenly fast."""
COOLDOWN_MAX, RETRY_AFTER_MAX = 60.0, 3600.0
"""Seconds: the longest cooldown without a Retry-After, and the longest Retry-After believed: who is
asked to wait for a day asks again every hour, and one wrong answer locks nobody out for longer."""
LIMIT_MIN, LIMIT_MAX = 1.0, 10_000.0
"""Requests a minute that are believed where a server names its limit. Microsoft's tiers give 2 to
90; less than one a minute or more than 10,000 is a mistake or malice."""
WINDOW_MAX = 3600.0
"""Seconds of the longest window that refusals can teach, unless the known limit makes it longer: a
server that refuses everything is still asked every hour."""
EXPIRE_AFTER = 86_400.0
"""Seconds after which a server's limit that no answer confirmed, or a window that no refusal
confirmed, is forgotten: quotas are raised from one day to the next."""
TRIAL_CALLS = 5
"""Calls in a window before a faster one is tried, and calls of a trial before it is kept."""
FORGET_AFTER = 3600.0
"""Seconds after the last refusal when what was learned is put to the test again."""
LEAD_MAX = 1.0
"""Seconds before it is due that a slot is given at most: so it is here in time on a slow link."""
REMEMBERED = 600
"""Calls whose times are remembered, at most."""


Rate = Annotated[float, Field(gt=0, lt=math.inf)]
Moment = Annotated[float, Field(lt=math.inf)]
Seconds = Annotated[float, Field(ge=0, lt=math.inf)]
Count = Annotated[int, Field(ge=0, lt=10**9)]
"""What the stored numbers can be; NaN is none of them."""


@dataclass(frozen=True)
class Timings:
    """Waits in seconds that are there for the sake of a real service; tests set them to 0.

    `probe_wait` is how long a refusal may take to come back: a new TLS connection and some.
    `spacing` lies between the calls of a burst, `full_spacing` once a third of the quota was let
    through, when hardly any server would still refuse; `first_spacing` lies between them where the
    limit is unknown and nothing is learned. 90 calls with a known limit take 2 s: 3 % of the
    shortest run of 100 images. `backoff` is the first cooldown after a refusal that names no time.
    """

    probe_wait: float = 0.35
    spacing: float = 0.04
    full_spacing: float = 0.01
    first_spacing: float = 0.075
    backoff: float = 1.0


@dataclass
class Pacing:
    """What is known of one deployment. Times are seconds of one clock, the same in every process.

    Every field is stored in quota.sqlite, as JSON; one that is missing there is as it is at first.
    """

    limit: Rate | None = None
    """Requests a minute: the profile's, or else the server's. None: unknown."""
    server_limit: Rate | None = None
    """Requests a minute, as the server's headers say. None: they said nothing to believe."""
    server_limit_at: Moment = -math.inf
    """When a header last said so."""
    updated_at: Annotated[Moment, Field(gt=-math.inf)] = 0.0
    """When `update` was last called. A clock that shows less was set back by a reboot."""
    sent: list[Moment] = field(default_factory=list)
    """When the calls of the last window, or of the last minute, were sent; the latest last."""
    given: dict[str, list[Moment]] = field(default_factory=dict)
    """Those of `sent` that nobody knows to be sent yet, by the process that has the slot."""
    not_before: Moment = -math.inf
    """When the next call may be sent: after a cooldown, a probe's wait or the spacing."""
    bucket_full_at: Moment = -math.inf
    """OPEN: when the bucket is full again."""
    cooldown_until: Moment = -math.inf
    """When the last cooldown is over, or was. The burst after it begins here."""
    refused_at: Moment = -math.inf
    """When the last refusal came."""
    tested_at: Moment = -math.inf
    """When what was learned was last put to the test for want of refusals."""
    cooldowns_in_a_row: Count = 0
    """Cooldowns since a call was last let through; each one without a Retry-After is doubled."""
    burst: list[Moment] = field(default_factory=list)
    """When the calls were sent that were let through before the last cooldown. Empty: the last
    refusal says nothing about the size of a window."""
    window_calls: Count = 0
    """WINDOW: so many calls ... 0: nothing is learned."""
    window_seconds: Seconds = 0.0
    """... in so many seconds."""
    refused_seconds: Seconds = 0.0
    """The longest window of so many calls that is known to be refused, in seconds."""
    trial_seconds: Seconds = 0.0
    """TRIAL: the shorter window, in seconds. 0.0: none is on trial."""
    calls_kept: Count = 0
    """Calls since the window was learned, or since its trial began."""

    timings: ClassVar[Timings] = Timings()
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

    def state(self, now: float) -> Literal["open", "cooldown", "window", "trial"]:
        """Which of the four states it is in."""
        if now < self.cooldown_until:
            return "cooldown"
        if self.trial_seconds:
            return "trial"
        return "window" if self.window_calls else "open"

    @property
    def rpm(self) -> float | None:
        """Requests a minute that go through as far as is known, None where nothing is."""
        learned = self.window_calls * MINUTE / self.window_seconds if self.window_calls else None
        return min((rate for rate in (self.limit, learned) if rate), default=None)

    def update(self, now: float) -> bool:
        """Bring the state to `now`. True where it must be stored at once to hold.

        A clock that was set back (a reboot) moves every time along with it: no wait becomes longer,
        and no burst is sent early.
        """
        set_back = now < self.updated_at
        if set_back:
            self._shift(now - self.updated_at)
        self.updated_at = now
        changes = (self._keep_bounds(now), self._forget_old(now))
        return set_back or any(changes)

    def learn_limit(self, now: float, limit: float) -> None:
        """Take over the requests a minute that an answer of `now` names, if they can be true."""
        if LIMIT_MIN <= limit <= LIMIT_MAX:
            self.server_limit, self.server_limit_at = float(limit), now

    def set_limit(self, profile_limit: float | None) -> None:
        """Use the profile's requests a minute (> 0), or the server's where it names none."""
        limit = profile_limit or self.server_limit
        if limit != self.limit:
            self.limit, self.bucket_full_at = limit, -math.inf
            for at in self.sent:
                self.bucket_full_at = max(self.bucket_full_at, at) + self._refill_seconds
                # No more than empty: what was let through before is no debt.
                empty_now = at + self._bucket_size * self._refill_seconds
                self.bucket_full_at = min(self.bucket_full_at, empty_now)
            self.window_seconds = max(self.window_seconds, self._quota_seconds(self.window_calls))
        self.window_seconds = min(self.window_seconds, self._longest_window(self.window_calls))
        self.trial_seconds = min(self.trial_seconds, self.window_seconds)

    def next_at(self) -> float:
        """The earliest time for the next call; it may lie in the past."""
        return max(self.not_before, self._room_at())

    def send(self, now: float, owner: str = "") -> None:
        """Count one call that is sent at `now` (not before `next_at`).

        With `owner` it is a slot given to that process, until `mark_sent` or `withdraw`.
        """
        last = self.sent[-1] if self.sent else -math.inf
        if self.cooldown_until <= last <= now - self.timings.probe_wait:
            self.cooldowns_in_a_row = 0
        self.sent.append(now)
        oldest = now - max(MINUTE, self.window_seconds) - 1
        self.sent = [at for at in self.sent[-REMEMBERED:] if at >= oldest]
        recent = {o: [at for at in given if at >= oldest] for o, given in self.given.items()}
        self.given = {each: slots for each, slots in recent.items() if slots}
        if owner:
            self.given.setdefault(owner, []).append(now)
        self.bucket_full_at = max(self.bucket_full_at, now) + self._refill_seconds
        if self.window_calls:
            self._count_kept_call()
        self.not_before = now + self._silence_after(len(self._calls_since_cooldown(now)))

    def mark_sent(self, owner: str, slot_at: float) -> None:
        """The call of a slot is sent: nobody takes the slot back any more."""
        slots = self.given.get(owner, [])
        if slot_at in slots:
            slots.remove(slot_at)
        elif slot_at not in self.sent and abs(slot_at - self.updated_at) < MINUTE:
            # The process was silent for so long that its slot was taken back. A time that lies
            # further away is of before the clock was set.
            bisect.insort(self.sent, slot_at)
            self.bucket_full_at = max(self.bucket_full_at, slot_at) + self._refill_seconds

    def take_back(self, owner: str, but: Collection[float] = ()) -> bool:
        """Take back the slots that a process has, `but` these. True: there were any."""
        lost = [at for at in self.given.get(owner, ()) if at not in but]
        for slot_at in lost:
            self.withdraw(owner, slot_at)
        return bool(lost)

    def withdraw(self, owner: str, slot_at: float) -> None:
        """Take back a slot: its call was counted and is never sent."""
        slots = self.given.get(owner, [])
        if slot_at not in slots:
            return
        slots.remove(slot_at)
        if slot_at not in self.sent:
            return
        was_last = slot_at == self.sent[-1]
        self.sent.remove(slot_at)
        if slot_at in self.burst and len(self.burst) > 1:
            self.burst.remove(slot_at)
            self.window_calls = min(self.window_calls, len(self.burst))
        if slot_at < self.cooldown_until:
            return  # the cooldown began everything else anew
        later = -math.inf  # of a bucket that was full before the first call after it
        for at in self.sent:
            later = max(later, at) + self._refill_seconds if at > slot_at else later
        self.bucket_full_at = max(self.bucket_full_at - self._refill_seconds, later)
        self.calls_kept = max(0, self.calls_kept - 1)
        if was_last:
            calls = self._calls_since_cooldown(slot_at)
            pause_ends = calls[-1] + self._silence_after(len(calls)) if calls else -math.inf
            self.not_before = max(self.cooldown_until, pause_ends)

    def cool_down(self, now: float, retry_after: float | None) -> None:
        """Count a refusal that came at `now`. `retry_after` in seconds; None: it names no time."""
        wait = float(min(retry_after, RETRY_AFTER_MAX)) if retry_after and retry_after > 0 else None
        self.refused_at = now
        self._judge_refusal(now, wait)
        if wait is None:
            until = self._guess_end(now)
            uncertain = until - now
        else:
            # Most servers round a Retry-After up to whole seconds.
            until = now + wait
            uncertain = 1.0 if wait.is_integer() else self.timings.probe_wait
        if self.burst:
            self._learn_window(until, uncertain)
        self.cooldown_until = max(self.cooldown_until, until)
        self.not_before = max(self.not_before, self.cooldown_until)
        # The bucket holds one call when the cooldown is over.
        self.bucket_full_at = self.cooldown_until + (self._bucket_size - 1) * self._refill_seconds

    def _room_at(self) -> float:
        """When the window, or else the bucket, has room for one more call."""
        if self.window_calls:
            if len(self.sent) < self.window_calls:
                return -math.inf
            seconds = self.trial_seconds or self.window_seconds
            margin = min(MARGIN_MAX, max(MARGIN_MIN, MARGIN * seconds))
            return self.sent[-self.window_calls] + seconds + margin
        if self.limit:
            return self.bucket_full_at - (self._bucket_size - 1) * self._refill_seconds
        return -math.inf

    def _judge_refusal(self, now: float, wait: float | None) -> None:
        """Find out what a refusal says: which calls were let through, or that a window is short."""
        state, calls = self.state(now), self._calls_since_cooldown(now)
        if wait is not None and wait > max(MINUTE, self._quota_seconds(1)) + 1:
            # No limit of requests a minute says so: this is an outage, or the quota of a day.
            self.burst = []
            return
        if state == "cooldown":
            if len(self.burst) > 1:
                self.burst.pop()
            return
        self.cooldowns_in_a_row += 1
        if state == "trial":
            self.refused_seconds, self.trial_seconds, self.calls_kept = self.trial_seconds, 0.0, 0
            self.burst = []
        elif state == "window" and len(calls) > self.window_calls:
            self._lengthen_window(now, wait)
            self.burst = []
        elif len(calls) > 1:
            self.burst = calls[:-1]
        elif state == "window" and not self.burst:
            self._lengthen_window(now, wait)

    def _learn_window(self, until: float, uncertain: float) -> None:
        """Learn from a burst after which there was room at `until`, or `uncertain` seconds less."""
        calls = len(self.burst)
        seconds, quota_seconds = until - self.burst[0], self._quota_seconds(calls)
        if self.limit and seconds - uncertain <= quota_seconds:
            self.window_seconds = self.refused_seconds = quota_seconds
            if seconds < quota_seconds - max(1.5, MARGIN * quota_seconds):
                # So early only a server is open again that counts by the clock's minute: what was
                # sent before doesn't count any more.
                self.sent = []
        else:
            self.window_seconds = seconds
            self.refused_seconds = max(seconds - uncertain, quota_seconds)
            if calls == 1 and not self.limit:
                # Each call waits for this window: the middle of what is possible.
                self.window_seconds -= uncertain / 2
        self.window_calls = calls
        self.calls_kept = 0

    def _lengthen_window(self, now: float, wait: float | None) -> None:
        """The window was kept to and yet refused: the same calls get more seconds."""
        seconds, calls = self.window_seconds, self.window_calls
        is_quota = self.limit and seconds <= self._quota_seconds(calls) * 1.01
        longer = seconds * (1.05 if is_quota else 1.25)
        if wait and len(self.sent) > calls:
            until_room = now + wait - self.sent[-calls - 1]
            longer = max(min(longer, until_room), until_room - 1.0, seconds * 1.01)
        longer = min(longer, self._longest_window(calls))
        self.refused_seconds, self.window_seconds, self.calls_kept = seconds, longer, 0

    def _count_kept_call(self) -> None:
        """Count a call that kept to the window; after enough of them begin a trial, or keep it."""
        self.calls_kept += 1
        if self.calls_kept < TRIAL_CALLS:
            return
        self.calls_kept = 0
        if self.trial_seconds:
            self.window_seconds, self.trial_seconds = self.trial_seconds, 0.0
            return
        quota_seconds, seconds = self._quota_seconds(self.window_calls), self.window_seconds
        if self.limit and self.refused_seconds <= quota_seconds < 0.8 * seconds:
            shorter = quota_seconds
        else:
            least = max(quota_seconds, self.refused_seconds)
            shorter = max(math.sqrt(least * seconds), 0.8 * seconds)
        self.trial_seconds = shorter if shorter < 0.95 * seconds else 0.0

    def _silence_after(self, count: int) -> float:
        """Seconds until the next call, after the call `count` since the last cooldown."""
        timings, size = self.timings, self._bucket_size
        # A probe is a call that some server would be the first to refuse.
        if self.window_calls:
            is_probe = count == 1 or self.trial_seconds > 0
        elif self.limit is None:
            is_probe = count in (2, 3)
        else:
            is_probe = count in (2, size // 10 + 1, size // 6 + 1, size + 1)
        if is_probe:
            return timings.probe_wait
        if self.limit is None:
            return timings.spacing if self.window_calls else timings.first_spacing
        full = count > self.limit / 3
        spacing = timings.full_spacing if full else timings.spacing
        # An even rate is right by every rule: with thousands a minute it is faster than a burst.
        return min(spacing, self._refill_seconds)

    def _guess_end(self, now: float) -> float:
        """When a cooldown ends for which the server names no time."""
        if self.cooldowns_in_a_row == 1:
            if self.burst:
                room_at = self.burst[0] + len(self.burst) * self._refill_seconds
            else:
                room_at = self._room_at()
            if room_at > now:
                return min(room_at, now + COOLDOWN_MAX)
        doubled = math.ldexp(self.timings.backoff, min(self.cooldowns_in_a_row - 1, 9))
        return now + min(COOLDOWN_MAX, doubled)

    def _calls_since_cooldown(self, now: float) -> list[float]:
        """The calls since the last cooldown, of the last minute at most: what a server counts."""
        return [at for at in self.sent if at >= self.cooldown_until and at > now - MINUTE]

    def _forget_old(self, now: float) -> bool:
        """Forget what nothing confirmed for long, or test it again; True: something changed."""
        if self.server_limit is not None and now - self.server_limit_at > EXPIRE_AFTER:
            self.server_limit = None
            return True
        if not self.window_calls:
            return False
        expired = now - self.refused_at > EXPIRE_AFTER
        old = now - max(self.refused_at, self.tested_at) > FORGET_AFTER
        if old or expired:
            self.tested_at = now
            self.refused_seconds = self.trial_seconds = 0.0
            self.calls_kept = 0
            if self.limit is not None or expired:
                self.window_calls = 0
        return old or expired

    def _keep_bounds(self, now: float) -> bool:
        """Cut what an older version believed to what is believed today; True: something changed."""
        before = dict(vars(self))
        if self.server_limit is not None and not LIMIT_MIN <= self.server_limit <= LIMIT_MAX:
            self.server_limit = None
        latest = now + RETRY_AFTER_MAX
        self.not_before = min(self.not_before, latest)
        self.cooldown_until = min(self.cooldown_until, latest)
        bucket_seconds = self._bucket_size * self._refill_seconds
        self.bucket_full_at = min(self.bucket_full_at, latest + 2 * bucket_seconds)
        self.refused_at = min(self.refused_at, now)
        self.tested_at = min(self.tested_at, now)
        self.server_limit_at = min(self.server_limit_at, now)
        if any(at > now + LEAD_MAX for at in self.sent):
            self.sent = [min(at, now) for at in self.sent]
        return vars(self) != before

    def _shift(self, seconds: float) -> None:
        """Move every time."""
        self.sent = [at + seconds for at in self.sent]
        self.burst = [at + seconds for at in self.burst]
        self.given = {o: [at + seconds for at in slots] for o, slots in self.given.items()}
        self.not_before += seconds
        self.bucket_full_at += seconds
        self.cooldown_until += seconds
        self.refused_at += seconds
        self.tested_at += seconds
        self.server_limit_at += seconds

    def _quota_seconds(self, calls: int) -> float:
        """The fewest seconds for so many calls that the limit allows; 0.0: it isn't known."""
        return calls * MINUTE / self.limit if self.limit else 0.0

    def _longest_window(self, calls: int) -> float:
        """Seconds beyond which no window of so many calls is believed."""
        return max(WINDOW_MAX, 2 * self._quota_seconds(calls))

    @property
    def _bucket_size(self) -> int:
        return max(1, int(self.limit or 1))

    @property
    def _refill_seconds(self) -> float:
        """Seconds for one call at an even rate, with the margin; 0.0: the limit isn't known."""
        return self._quota_seconds(1) * (1 + MARGIN)
