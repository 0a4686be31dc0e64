"""A gateway's job from its id to its image: the id is written down first, then it is polled.

A job is never lost: whatever ends the wait (a deadline, a lost network, a restart) leaves its row
in the ledger in flight with the job's id, and the next run of the same request takes it up again.
Polls are GETs and cost nothing, so they are repeated over every error that may pass.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from .errors import (
    AnswerError,
    Billed,
    CallTimeoutError,
    ConnectError,
    ConnectionLostError,
    MaiError,
    NotFoundError,
    PendingError,
    ServiceError,
    StoreError,
)
from .http import HttpAnswer, Transport, retry_after
from .in_flight import InFlightCall, Work
from .ledger import Ledger, OpenJob
from .profiles import Profile
from .providers import error_for, failure, pixazo
from .types import Progress, Result

logger = logging.getLogger(__name__)

POLL = 5.0
"""Seconds to the first poll; 5 to 10 between two are documented."""

SLOWER, SLOWEST, SLOWEST_FAILING = 1.15, 2.0, 6.0
"""Each pause is so much longer than the last, up to so many times the first; and up to so many
times while polls fail."""

POLL_TIMEOUT = 30.0
"""Seconds for one poll."""

MISSES = 3
"""How often in a row a job may be unknown: its status may take a moment to be everywhere."""

DOWNLOADS = 4
"""How often an image is fetched before that is left to the next run."""

_UNKNOWN = (400, 404, 410, 422)
_PASSING = (408, 425, 429, 499)
_NO_ANSWER = (ConnectError, ConnectionLostError, CallTimeoutError, asyncio.TimeoutError)

GO_ON = "Queue again to go on with the same job: it isn't bought twice."


@dataclass(frozen=True)
class Jobs:
    """Follows jobs. `profile_named` finds the account that bought one; `poll` is in seconds."""

    transport: Transport
    ledger: Ledger
    write_down: Work
    work: Work
    profile_named: Callable[[str], Profile]
    poll: float = POLL

    async def find(self, flight: InFlightCall) -> OpenJob | None:
        """The unfinished job of the same request, now this flight's; None where there is none."""
        if flight.profile.service != "pixazo":
            return None
        found = await self.write_down(lambda: self.ledger.find_job(flight.key))
        if found is not None:
            flight.out, flight.job_id = True, found.job_id
        return found

    async def begun(self, flight: InFlightCall, row: int, answer: HttpAnswer) -> Result:
        """The image of a job that was just ordered. Its id is in the ledger before it is polled.

        PendingError: the job goes on without us. Another ServiceError: it came to nothing.
        """
        if answer.status not in (200, 202):
            raise error_for(answer)
        job = pixazo.read(answer)
        if job.job_id is not None:
            await self._write_down(flight, row, job.job_id)
        elif not job.media:
            raise pixazo.odd(answer, "names no job")
        return await _Follower(self, flight, flight.profile, job.job_id or "").image(job)

    async def resumed(self, flight: InFlightCall, found: OpenJob) -> Result:
        """The image of a job that an earlier run ordered, asked for by the same account."""
        profile = self._account(flight, found)
        result = await _Follower(self, flight, profile, found.job_id).image(None)
        note = "an earlier run ordered it; this one went on waiting for it"
        return replace(result, notes=(*result.notes, note))

    async def leave(self, row: int) -> None:
        """Give up waiting for a job; the next run of its request, in any process, goes on."""
        try:
            await self.write_down(lambda: self.ledger.leave_job(row))
        except StoreError as error:
            logger.error("%s", error)

    async def _write_down(self, flight: InFlightCall, row: int, job_id: str) -> None:
        flight.job_id = job_id
        try:
            await self.write_down(lambda: self.ledger.set_job(row, job_id))
        except StoreError as error:
            flight.job_id = ""
            logger.error("%s", error)

    def _account(self, flight: InFlightCall, found: OpenJob) -> Profile:
        if found.profile == flight.profile.name:
            return flight.profile
        try:
            profile = self.profile_named(found.profile)
        except MaiError:
            return flight.profile
        same = profile.store_service == flight.profile.store_service
        return profile if same else flight.profile


class _Damaged(AnswerError):
    """What was fetched is no whole image."""


class _Follower:
    """One job's wait, for up to the profile's timeout."""

    def __init__(self, jobs: Jobs, flight: InFlightCall, profile: Profile, job_id: str) -> None:
        self._jobs, self._flight, self._profile, self._job_id = jobs, flight, profile, job_id
        self._started = time.monotonic()
        self._pause = jobs.poll
        self._phase = "queued"

    async def image(self, job: pixazo.Job | None) -> Result:
        """Poll until the job ends, then fetch its image. `job` is what its order's answer said,
        None where that isn't known."""
        if job is None:
            job = await self._ask()
        while job.phase in ("queued", "processing"):
            self._phase = job.phase
            self._flight.tell(Progress(job.phase))
            await self._rest(self._pause)
            self._pause = min(self._pause * SLOWER, self._jobs.poll * SLOWEST)
            job = await self._ask()
        if job.phase != "completed":
            raise failure(replace(job, job_id=self._job_id))
        if not job.media:
            raise self._lost("The job is done, but the gateway names no image.")
        self._phase = "completed"
        return await self._fetch(job.media[0])

    async def _ask(self) -> pixazo.Job:
        """The job's status, asked again for as long as it can't be had."""
        misses = failures = 0
        while True:
            answer, reason = await self._poll()
            status = 0 if answer is None else answer.status
            if answer is not None and status == 200:
                try:
                    return pixazo.read(answer)
                except AnswerError:
                    reason = "an answer that can't be read"
            elif answer is not None and status in _UNKNOWN:
                misses += 1
                if misses >= MISSES:
                    raise self._lost("The gateway doesn't know the job any more.", status)
            elif answer is not None and status not in _PASSING and status < 500:
                raise self._pending(error_for(answer))
            failures += 1
            asked = retry_after(answer.headers) if answer is not None else None
            pause = self._jobs.poll * min(1.5**failures, SLOWEST_FAILING)
            self._flight.tell(Progress(self._phase, reason=f"{reason}, asking again"))
            await self._rest(max(pause, asked or 0.0))

    async def _poll(self) -> tuple[HttpAnswer | None, str]:
        """One poll's answer, or why there is none, in words for the node."""
        request = pixazo.ask(self._profile.endpoint, self._job_id)
        limit = min(POLL_TIMEOUT, self._left())
        try:
            answer = await _within(limit, self._jobs.transport.fetch(request, self._profile))
        except _NO_ANSWER:
            return None, "no connection"
        except MaiError as error:
            raise self._pending(error) from error
        return answer, f"HTTP {answer.status}"

    async def _fetch(self, source: str) -> Result:
        """The image, inline or from its address; fetched again when it comes damaged."""
        inline = pixazo.decode(source)
        if inline is not None:
            return await self._read(inline)
        for attempt in range(1, DOWNLOADS + 1):
            try:
                return await self._read(await self._download(source))
            except _NO_ANSWER as error:
                problem: ServiceError = self._pending(
                    ServiceError(f"The image can't be fetched: {_first_line(error)}")
                )
            except _Damaged as error:
                problem = self._lost(error.what)
            if attempt < DOWNLOADS:
                self._flight.tell(Progress("processing", reason="fetching the image again"))
                await self._rest(self._jobs.poll * 0.2 * 2.0**attempt)
        raise problem

    async def _read(self, image: bytes) -> Result:
        seconds = time.monotonic() - self._started
        request, job_id = self._flight.request, self._job_id or None
        try:
            return await self._jobs.work(lambda: pixazo.result(request, image, job_id, seconds))
        except AnswerError as error:
            raise _Damaged(error.what, error.hint) from error

    async def _download(self, url: str) -> bytes:
        try:
            answer = await _within(
                self._profile.timeout, self._jobs.transport.fetch_media(url, self._profile)
            )
        except AnswerError as error:
            raise self._lost(error.what) from error
        except PendingError as error:
            raise self._pending(error) from error
        if answer.status == 200:
            return answer.body
        if answer.status in _PASSING or answer.status >= 500:
            raise ConnectionLostError(f"HTTP {answer.status}.")
        raise self._lost("The image is ready, but its host doesn't give it.", answer.status)

    def _left(self) -> float:
        return max(0.0, self._profile.timeout - (time.monotonic() - self._started))

    async def _rest(self, seconds: float) -> None:
        """Sleep; PendingError when the time for the whole job is over."""
        if self._left() <= 0.0:
            raise self._pending(
                CallTimeoutError(
                    f"No image within {self._profile.timeout:g} s; the job is {self._phase}.",
                    "A longer `timeout` can be set in the profile.",
                )
            )
        await asyncio.sleep(min(seconds, self._left()))

    def _pending(self, error: MaiError) -> ServiceError:
        """The error that leaves the job open; where its id isn't written down, none can."""
        if not self._flight.job_id:
            return self._lost(error.what, error.status)
        return PendingError(
            error.what,
            f"{error.hint} {GO_ON}".strip(),
            status=error.status,
            code=error.code,
            request_id=self._job_id,
        )

    def _lost(self, what: str, status: int | None = None) -> ServiceError:
        """The error for an image that is perhaps paid and can't be had."""
        kind = NotFoundError if status in _UNKNOWN else AnswerError
        return kind(
            what,
            "Look for it in your Pixazo account before you queue again, which buys another one.",
            status=status,
            request_id=self._job_id or None,
            billed=Billed.PERHAPS,
        )


async def _within(seconds: float, exchange: Coroutine[Any, Any, HttpAnswer]) -> HttpAnswer:
    """An exchange's answer; asyncio.TimeoutError after so many seconds.

    asyncio.wait_for loses a cancel that comes in the moment of the answer (up to Python 3.11): the
    job would be followed on while the program wants to end.
    """
    task = asyncio.ensure_future(exchange)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    if not done:
        raise asyncio.TimeoutError
    return task.result()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no answer in time"])[0]
