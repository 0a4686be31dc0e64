"""A job from its id to its image: the id is written down first, then the job is polled.

A job is never lost: whatever ends the wait (a deadline, a lost network, a restart) leaves its row
in the ledger in flight with the job's id, and the next run of the same request takes it up again.
Polls are GETs and cost nothing, so they are repeated over every error that may pass.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from .auth import Headers
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
from .executors import Executors
from .http import HttpAnswer, HttpRequest, NotSentError, Transport, retry_after
from .in_flight import InFlightCall
from .ledger import Ledger
from .profiles import Profile, allowed_media_url, describe_host
from .providers import PROVIDERS, Job, JobProvider
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


class Jobs:
    """Follows jobs. `profile_named` finds the account that bought one; `poll` is in seconds."""

    def __init__(
        self,
        transport: Transport,
        ledger: Ledger,
        executors: Executors,
        profile_named: Callable[[str], Profile],
        poll: float = POLL,
    ) -> None:
        self.transport = transport
        self.executors = executors
        self.poll = poll
        self._ledger = ledger
        self._profile_named = profile_named

    def find(self, call: InFlightCall) -> bool:
        """Whether the request has an unfinished job, which is this call's from now on. Blocks."""
        if not isinstance(PROVIDERS[call.profile.service], JobProvider):
            return False
        found = self._ledger.find_job(call.key)
        if found is not None:
            call.row, call.job_id, call.sent = found.row, found.job_id, True
            call.job_profile = found.profile
        return found is not None

    def begin(self, call: InFlightCall, job: Job) -> None:
        """Write down the id of a job that was just begun: before it is polled. Blocks."""
        if call.row is None or job.job_id is None:
            return
        try:
            self._ledger.set_job(call.row, job.job_id)
        except StoreError as error:
            logger.error("%s", error)
        else:
            call.job_id = job.job_id

    async def follow(self, call: InFlightCall, job: Job) -> Result:
        """The image of a job that was just begun.

        PendingError: the job goes on without us. Another ServiceError: it came to nothing.
        """
        return await _Wait(self, call, call.profile, job.job_id or "").image(job)

    async def resume(self, call: InFlightCall) -> Result:
        """The image of a job that an earlier run began, asked for by the account that bought it."""
        result = await _Wait(self, call, self._account(call), call.job_id).image(None)
        note = "an earlier run ordered it; this one went on waiting for it"
        return replace(result, notes=(*result.notes, note))

    def leave(self, call: InFlightCall) -> None:
        """Stop waiting for a job; the next run of its request, in any process, goes on. Blocks."""
        row, call.row = call.row, None
        if row is None:
            return
        try:
            self._ledger.leave_job(row)
        except StoreError as error:
            logger.error("%s", error)

    def _account(self, call: InFlightCall) -> Profile:
        if call.job_profile == call.profile.name:
            return call.profile
        try:
            profile = self._profile_named(call.job_profile)
        except MaiError:
            return call.profile
        same = profile.store_service == call.profile.store_service
        return profile if same else call.profile


class _Damaged(AnswerError):
    """What was fetched is no whole image."""


class _Wait:
    """The wait for one job, for up to the profile's timeout."""

    def __init__(self, jobs: Jobs, call: InFlightCall, profile: Profile, job_id: str) -> None:
        provider = PROVIDERS[profile.service]
        assert isinstance(provider, JobProvider)
        self._provider = provider
        self._jobs, self._call, self._profile, self._job_id = jobs, call, profile, job_id
        self._started = time.monotonic()
        self._pause = jobs.poll
        self._phase = "queued"

    async def image(self, job: Job | None) -> Result:
        """Poll until the job ends, then fetch its image. `job` is what its order's answer said,
        None where that isn't known."""
        if job is None:
            job = await self._ask()
        while job.phase in ("queued", "processing"):
            self._phase = job.phase
            self._call.report(Progress(job.phase))
            await self._sleep(self._pause)
            self._pause = min(self._pause * SLOWER, self._jobs.poll * SLOWEST)
            job = await self._ask()
        if job.phase != "completed":
            raise self._provider.job_error(replace(job, job_id=self._job_id))
        if not job.media:
            raise self._lost("The job is done, but the gateway names no image.")
        self._phase = "completed"
        return await self._fetch(job.media[0])

    async def _ask(self) -> Job:
        """The job's status, asked again for as long as it can't be had."""
        misses = failures = 0
        while True:
            answer, reason = await self._poll()
            status = 0 if answer is None else answer.status
            if answer is not None and status == 200:
                try:
                    return self._provider.read_job(answer)
                except AnswerError:
                    reason = "an answer that can't be read"
            elif answer is not None and status in _UNKNOWN:
                misses += 1
                if misses >= MISSES:
                    raise self._lost("The gateway doesn't know the job any more.", status)
            elif answer is not None and status not in _PASSING and status < 500:
                raise self._pending(self._provider.error_for(answer))
            failures += 1
            asked = retry_after(answer.headers) if answer is not None else None
            pause = self._jobs.poll * min(1.5**failures, SLOWEST_FAILING)
            self._call.report(Progress(self._phase, reason=f"{reason}, asking again"))
            await self._sleep(max(pause, asked or 0.0))

    async def _poll(self) -> tuple[HttpAnswer | None, str]:
        """One poll's answer, or why there is none, in words for the node."""
        request = self._provider.build_poll(self._profile.endpoint, self._job_id)
        limit = min(POLL_TIMEOUT, self._left())
        try:
            headers = Headers(await self._profile.credential.headers())
            answer = await self._exchange(request, headers, limit)
        except _NO_ANSWER:
            return None, "no connection"
        except MaiError as error:
            raise self._pending(error) from error
        return answer, f"HTTP {answer.status}"

    async def _fetch(self, source: str) -> Result:
        """The image, inline or from its address; fetched again when it comes damaged."""
        inline = self._provider.read_data_uri(source)
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
                self._call.report(Progress("processing", reason="fetching the image again"))
                await self._sleep(self._jobs.poll * 0.2 * 2.0**attempt)
        raise problem

    async def _read(self, image: bytes) -> Result:
        seconds = time.monotonic() - self._started
        request, job_id = self._call.request, self._job_id or None
        read = self._provider.read_image
        try:
            return await self._jobs.executors.in_parallel(
                lambda: read(request, image, job_id, seconds)
            )
        except AnswerError as error:
            raise _Damaged(error.what, error.hint) from error

    async def _download(self, url: str) -> bytes:
        """The file at an address that the service named: fetched without any credential."""
        profile = self._profile
        own = urlsplit(profile.endpoint).hostname or ""
        hosts = (*profile.media_hosts, own)
        address = allowed_media_url(url, hosts, loopback=profile.on_loopback)
        if address is None:
            refused = ServiceError(
                f"The image is ready, but lies {describe_host(url)}, from which nothing is "
                "fetched.",
                "If that host is the gateway's, add it to media_hosts in the profile.",
            )
            raise self._pending(refused)
        try:
            request = HttpRequest("GET", address)
            answer = await self._exchange(request, Headers(), profile.timeout)
        except AnswerError as error:
            raise self._lost(error.what) from error
        if answer.status == 200:
            return answer.body
        if answer.status in _PASSING or answer.status >= 500:
            raise ConnectionLostError(f"HTTP {answer.status}.")
        raise self._lost("The image is ready, but its host doesn't give it.", answer.status)

    async def _exchange(self, request: HttpRequest, headers: Headers, seconds: float) -> HttpAnswer:
        """One exchange that costs nothing, for at most so many seconds (asyncio.TimeoutError).

        asyncio.wait_for loses a cancel that comes in the moment of the answer (up to Python 3.11):
        the job would be followed on while the program wants to end.
        """
        exchange = self._jobs.transport.exchange(request, headers, self._profile)
        task = asyncio.ensure_future(exchange)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        finally:
            task.cancel()
        if not done:
            raise asyncio.TimeoutError
        try:
            return task.result()
        except NotSentError as error:
            raise ConnectError(f"No connection ({error}).") from error.__cause__

    def _left(self) -> float:
        return max(0.0, self._profile.timeout - (time.monotonic() - self._started))

    async def _sleep(self, seconds: float) -> None:
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
        if not self._call.job_id:
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


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no answer in time"])[0]
