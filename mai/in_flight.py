"""A call under way, and everybody who waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from .profiles import Profile
from .types import Progress, Request, Result

logger = logging.getLogger(__name__)

T = TypeVar("T")

Listener = Callable[[Progress], None]


class Work(Protocol):
    """Runs a blocking job outside the event loop."""

    def __call__(self, job: Callable[[], T]) -> Awaitable[T]: ...


@dataclass(eq=False)
class InFlightCall:
    """One call under way and everybody who waits for it.

    `out` is True while a request may be at the service: from before it is sent until an answer
    says that nothing was begun. A flight that isn't out can be withdrawn. One with a `job_id` can
    be left at any time: the job stands in the ledger, and the next run takes it up.
    """

    key: str
    request: Request
    profile: Profile
    waiting: dict[Future[Result], Listener | None] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    out: bool = False
    job_id: str = ""
    progress: Progress | None = None

    def tell(self, progress: Progress) -> None:
        """Pass on what the call is doing to all who listen."""
        self.progress = progress
        for listener in list(self.waiting.values()):
            tell(listener, progress)


def tell(listener: Listener | None, progress: Progress) -> None:
    """Call a listener; one that fails must not cost the image."""
    if listener is None:
        return
    try:
        listener(progress)
    except Exception:
        logger.exception("a progress listener failed")
