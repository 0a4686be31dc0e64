"""A call in flight: who waits for it, and what the page may know of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from .profiles import Profile
from .types import Progress, Request, Result

logger = logging.getLogger(__name__)

Listener = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class CallStatus:
    """What one call of this process is doing: no prompt, no key, no endpoint.

    `phase` is Progress's ("waiting", "joined", "sent", "retrying"), "" before the first one.
    `seconds` is the time until its slot or its next attempt, None where it isn't known; `rpm` are
    the requests a minute that make it wait, `reason` is why it tries again; `nodes` wait for it.
    """

    model: str
    kind: str
    profile: str
    phase: str
    seconds: float | None
    rpm: float | None
    reason: str
    nodes: int


@dataclass(frozen=True, slots=True)
class Waiter:
    """Who waits for a call: the name of the profile they asked with, and how they hear of it.

    `notes` are sentences about their own request, for the result.
    """

    profile: str
    listener: Listener | None = None
    notes: tuple[str, ...] = ()


@dataclass(eq=False)
class InFlightCall:
    """One request on its way to an image, and everybody who waits for it.

    `row` is the token of its row in the ledger, None before it has one; `joined_row` is that of the
    same request in another process, which it waits for. `sent` is True while the service may be
    working on it: from before the first byte is sent until an answer says that nothing was begun.
    A call that isn't sent can be withdrawn. One with a `job_id` can be left at any time: the job
    stands in the ledger, and the next run takes it up. `job_profile` is the name of the profile
    that bought a job of an earlier run.
    """

    key: str
    request: Request
    profile: Profile
    waiting: dict[Future[Result], Waiter] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    row: str | None = None
    joined_row: str = ""
    sent: bool = False
    job_id: str = ""
    job_profile: str = ""
    progress: Progress | None = None

    def join(self, future: Future[Result], waiter: Waiter) -> None:
        """One more who waits for this call."""
        self.waiting[future] = waiter
        _inform(waiter.listener, self.progress or Progress("joined"))

    def report(self, progress: Progress) -> None:
        """Pass on to all who listen what the call is doing."""
        self.progress = progress
        for waiter in list(self.waiting.values()):
            _inform(waiter.listener, progress)

    def status(self) -> CallStatus:
        """What the call is doing now; safe to call from any thread."""
        progress = self.progress or Progress("")
        until = progress.until
        return CallStatus(
            model=self.request.model,
            kind=self.request.kind,
            profile=self.profile.name,
            phase=progress.phase,
            seconds=None if until is None else max(0.0, until - time.monotonic()),
            rpm=progress.rpm,
            reason=progress.reason,
            nodes=len(self.waiting),
        )


def _inform(listener: Listener | None, progress: Progress) -> None:
    """Call a listener; one that fails must not cost the image."""
    if listener is None:
        return
    try:
        listener(progress)
    except Exception:
        logger.exception("a progress listener failed")
