"""Calls in flight: who waits for one, what the page may know of it, and which ones end together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

from ..errors import (
    AuthenticationError,
    Billed,
    BudgetError,
    ConfigurationError,
    CredentialError,
    ForbiddenError,
    MaiError,
    NotFoundError,
    PaymentError,
    ProfileError,
    StoreError,
)
from ..types import Progress, Request, Result, request_key

if TYPE_CHECKING:
    from ..profiles import Profile

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


class RowLostError(Exception):
    """The call's row is closed, and somebody still waits: it must be opened anew.

    This process was taken for dead, or the job was withdrawn while nobody waited.
    """


@dataclass(eq=False)
class InFlightCall:
    """One request on its way to an image, and everybody who waits for it.

    `row` is the token of its row in the ledger, None before it has one; `joined_row` is that of the
    same request in another process, which it waits for. `sent` is True while the service may be
    working on it: from before the first byte is sent until an answer says that nothing was begun.
    A call that isn't sent can be withdrawn. One with a `job_id` can be left at any time: the job
    stands in the ledger, and the next run takes it up. `job_profile` is the name of the profile
    that bought a job of an earlier run. `note` is a sentence for whoever gets the image.
    `abandoned` is set when the last one who waits leaves.
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
    note: str = ""
    progress: Progress | None = None
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)

    @cached_property
    def key_of_version_0_1(self) -> str:
        """The request's key in version 0.1, which knew images by their service alone."""
        if self.profile.store_identity == self.profile.store_service:
            return self.key
        return request_key(self.request, self.profile.store_service)

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


REFUSES_ALL = (
    AuthenticationError,
    BudgetError,
    ConfigurationError,
    CredentialError,
    ForbiddenError,
    NotFoundError,
    PaymentError,
    ProfileError,
    StoreError,
)
"""Errors that every call to the same profile would get until the user has done something."""

SENT = ("sent", "queued", "processing")
"""Phases of a call that the service has: nobody withdraws it."""


class Submits(Protocol):
    """What sends calls: the client."""

    def submit(
        self, request: Request, profile: str, on_progress: Callable[[Progress], None] | None
    ) -> Future[Result]:
        """Ask for one image."""


@dataclass(eq=False)
class _Sibling:
    phase: str = ""
    future: Future[Result] | None = None


class Siblings:
    """Calls that end together. Safe to use from any thread.

    `refusal` is the first error that all of them would get, None as long as there is none. From
    then on the futures of those that wait are cancelled, and of those that are submitted. One that
    has said nothing yet may come from the store, free: it is left until it says that it waits. One
    that is sent goes on.
    """

    def __init__(self) -> None:
        self.refusal: MaiError | None = None
        self._calls: set[_Sibling] = set()

    def submit(
        self,
        client: Submits,
        request: Request,
        profile: str,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Future[Result]:
        """Ask for one more image; what it gives and raises is `Client.submit`'s."""
        call = _Sibling()
        if self.refusal is not None:
            call.future = Future()
            call.future.cancel()
            return call.future
        self._calls.add(call)
        call.future = client.submit(request, profile, partial(self._hear, call, on_progress))
        call.future.add_done_callback(partial(self._end, call))
        self._withdraw(call)  # what it said, and the refusal, may have come before the future
        return call.future

    def _hear(
        self,
        call: _Sibling,
        on_progress: Callable[[Progress], None] | None,
        progress: Progress,
    ) -> None:
        call.phase = progress.phase
        if on_progress is not None:
            on_progress(progress)
        self._withdraw(call)

    def _end(self, call: _Sibling, future: Future[Result]) -> None:
        self._calls.discard(call)  # it would keep the image
        error = None if future.cancelled() else future.exception()
        if self.refusal is None and isinstance(error, REFUSES_ALL) and error.billed is Billed.NO:
            self.refusal = error
            for each in list(self._calls):
                self._withdraw(each)

    def _withdraw(self, call: _Sibling) -> None:
        """Withdraw a call that waits, after a refusal."""
        waits = call.phase not in ("", *SENT)
        if self.refusal is not None and waits and call.future is not None:
            call.future.cancel()
