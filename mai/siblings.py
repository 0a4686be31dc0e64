"""Calls of one batch to one profile: the first refusal that all would get ends those that wait.

With two requests a minute, 64 calls without a key would else fail one after the other for half an
hour.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from .errors import (
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
from .types import Progress, Request, Result

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
