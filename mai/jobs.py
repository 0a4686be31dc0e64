"""A job from its id to its image: the id is written down first, then the job is polled.

A job is never thrown away: only the service's own FAILED or ERROR ends it. Whatever else ends the
wait (a deadline, a lost network, a restart, a status that can't be had, an image that its host
doesn't give or that can't be read) is a PendingError: the job's row stays in flight in the ledger
with the job's id, and the next run of the same request takes it up again. After ledger.JOB_SECONDS
it counts as perhaps billed. Polls and downloads are GETs and cost nothing, so they are repeated.

A job that nobody waits for any more, and that the service says is still queued, is cancelled where
the service can do that. Only when the service says that it is gone does its call count as
withdrawn; as long as it says anything else the job is followed, and its image kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from .auth import Headers
from .disk import Executors, within
from .errors import (
    AnswerError,
    CallTimeoutError,
    CancelledCall,
    ConnectError,
    ConnectionLostError,
    MaiError,
    PendingError,
    ServiceError,
    StoreError,
)
from .http import HttpAnswer, HttpRequest, NotSentError, Transport, retry_after
from .in_flight import InFlightCall, RowLostError
from .ledger import Ledger, Outcome
from .profiles import SERVICES, Profile, allowed_media_url, describe_host
from .providers import PROVIDERS, Job, JobProvider, service_id
from .types import Progress, Result

logger = logging.getLogger(__name__)

POLL = 5.0
"""Seconds to the first poll; 5 to 10 between two are documented."""

LONGEST_ASKED = 60.0
"""Seconds: the longest pause between two polls, whatever a Retry-After says. Polls are free, and a
header must not keep a finished image away until the job's time is over."""

SLOWER, SLOWEST, SLOWEST_FAILING = 1.15, 2.0, 6.0
"""Each pause is so much longer than the last, up to so many times the first; and up to so many
times while polls fail."""

POLL_TIMEOUT, LAST_POLL_TIMEOUT = 30.0, 5.0
"""Seconds for one poll, and for the one at the end of the job's time, which has the last word."""

MISSES = 3
"""How often a job may be unknown (its status may take a moment to be everywhere) before asking
again is left to the next run."""

FETCHES = 4
"""How often an image is fetched, each time from the address that the service names then, before
that is left to the next run."""

_UNKNOWN = (400, 404, 410, 422)
_GONE = (404, 410)
_PASSING = (408, 425, 429, 499)
_NO_ANSWER = (ConnectError, ConnectionLostError, CallTimeoutError, asyncio.TimeoutError)

GO_ON = "Queue again to go on with the same job: it isn't bought twice."

_ANOTHER = "Another seed orders another image."


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
        found = self._ledger.find_job(call.key) or self._ledger.find_job(call.key_of_version_0_1)
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
        try:
            return await _Wait(self, call, call.profile, job.job_id).image(job)
        except PendingError as error:
            if not call.job_id:
                await self.executors.in_order(lambda: self.begin(call, job))
            if not call.job_id:
                raise _lost(error) from error
            raise

    async def resume(self, call: InFlightCall) -> Result:
        """The image of a job that an earlier run began, asked for by the account that bought it."""
        account = self._account(call)
        result = await _Wait(self, call, account, call.job_id).image(None)
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

    def withdraw(self, call: InFlightCall) -> None:
        """The service dropped the job before it began: nothing is billed. Blocks."""
        row, call.row, call.job_id, call.sent = call.row, None, "", False
        if row is None:
            return
        try:
            self._ledger.close(row, Outcome.WITHDRAWN)
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


class _FetchAgain(Exception):
    """The image didn't come, or not whole: it may the next time. `error` says what was wrong."""

    def __init__(self, what: str, hint: str = "", status: int | None = None) -> None:
        super().__init__(what)
        self.error = ServiceError(what, hint, status=status)


class _Wait:
    """The wait for one job, for up to the profile's timeout. `job_id` None: it can't be polled."""

    def __init__(
        self, jobs: Jobs, call: InFlightCall, profile: Profile, job_id: str | None
    ) -> None:
        provider = PROVIDERS[profile.service]
        assert isinstance(provider, JobProvider)
        self._provider = provider
        self._jobs, self._call, self._profile, self._job_id = jobs, call, profile, job_id
        self._started = time.monotonic()
        self._pause = jobs.poll
        self._phase = "queued"
        self._trouble = ""
        """Why there is no status, or no image, at the moment."""
        self._asked_to_cancel = self._cancelling = False
        """Whether the service was asked to drop the job; and didn't refuse."""

    async def image(self, job: Job | None) -> Result:
        """Poll until the job ends, then fetch its image. `job` is what its order's answer said,
        None where that isn't known.

        Its status is asked for again before each further fetch: an address may have run out, and
        a finished job may be without one for a moment. PendingError: all this is for the next run.
        """
        for fetch in range(1, FETCHES + 1):
            job = await self._ended(job or await self._ask_status())
            try:
                return await self._fetch(job)
            except _FetchAgain as caught:
                problem = caught
                self._trouble = caught.error.what
            if fetch < FETCHES:
                self._call.report(Progress("processing", reason="fetching the image again"))
                await self._sleep(self._jobs.poll * 0.2 * 2.0**fetch)
                job = job if self._job_id is None else None
        raise self._pending(problem.error, _ANOTHER)

    async def _ended(self, job: Job) -> Job:
        """The job when it is completed. ServiceError: the service says that it came to nothing."""
        while job.phase in ("queued", "processing") and self._job_id is not None:
            self._phase = job.phase
            self._call.report(Progress(job.phase))
            if job.phase == "queued" and not self._call.waiting:
                await self._cancel(self._job_id)
            await self._sleep(self._pause)
            self._pause = min(self._pause * SLOWER, self._jobs.poll * SLOWEST)
            job = await self._ask_status()
        if job.phase == "completed" and not job.media and self._job_id is not None:
            request = self._provider.build_result(self._profile.endpoint, self._job_id)
            job = job if request is None else await self._ask(request, self._provider.read_result)
        if job.phase == "cancelled" and self._cancelling:
            await self._jobs.executors.in_order(partial(self._jobs.withdraw, self._call))
            raise RowLostError if self._call.waiting else _dropped()
        if job.phase in ("failed", "error", "cancelled"):
            raise self._provider.job_error(replace(job, job_id=self._shown_id))
        self._phase = "completed"
        return job

    @property
    def _shown_id(self) -> str | None:
        return None if self._job_id is None else service_id(self._job_id)

    async def _cancel(self, job_id: str) -> None:
        """Ask the service, once, to drop the job. Whether it does is for the next status to say: it
        may refuse, or begin in the same moment; a lost answer may have been a yes."""
        request = self._provider.build_cancel(self._profile.endpoint, job_id)
        if request is None or self._asked_to_cancel:
            return
        self._asked_to_cancel = True
        answer, _ = await self._send(request)
        self._cancelling = answer is None or 200 <= answer.status < 300

    async def _ask_status(self) -> Job:
        assert self._job_id is not None
        request = self._provider.build_poll(self._profile.endpoint, self._job_id)
        return await self._ask(request, self._read_status)

    async def _ask(self, request: HttpRequest, read: Callable[[HttpAnswer], Job | None]) -> Job:
        """What the service says of the job, asked again for as long as that can't be had.

        `read` gives None, or raises AnswerError, for an answer that decides nothing.
        """
        misses = failures = 0
        while True:
            answer, reason = await self._send(request)
            if answer is not None:
                job = await self._jobs.executors.in_parallel(partial(_read_or_none, read, answer))
                if job is not None:
                    self._trouble = ""
                    return job
            if answer is None:
                pass
            elif 200 <= answer.status < 300:
                reason = "an answer that can't be read"
            elif answer.status in _GONE and self._cancelling:
                return Job("cancelled")
            elif answer.status in _UNKNOWN:
                misses += 1
                if misses >= MISSES:
                    unknown = "The gateway doesn't know the job at the moment."
                    raise self._pending(ServiceError(unknown, status=answer.status), _ANOTHER)
            elif answer.status not in _PASSING and answer.status < 500:
                raise self._pending(self._provider.error_for(answer))
            failures += 1
            self._trouble = f"Its status can't be had: {reason}."
            asked = retry_after(answer.headers) if answer is not None else None
            pause = self._jobs.poll * min(1.5**failures, SLOWEST_FAILING)
            self._call.report(Progress(self._phase, reason=f"{reason}, asking again"))
            await self._sleep(max(pause, min(asked or 0.0, LONGEST_ASKED)))

    def _read_status(self, answer: HttpAnswer) -> Job | None:
        """What a status says of this job; None where it is none, or speaks of another."""
        if not 200 <= answer.status < 300:
            return None
        job = self._provider.read_job(answer)
        return job if job.job_id in (None, self._shown_id) else None

    async def _send(self, request: HttpRequest) -> tuple[HttpAnswer | None, str]:
        """One exchange about the job: its answer, or why there is none, in words for the node."""
        limit = min(POLL_TIMEOUT, max(LAST_POLL_TIMEOUT, self._left()))
        try:
            headers = Headers(await self._profile.credential.headers())
            answer = await self._exchange(request, headers, limit)
        except _NO_ANSWER:
            return None, "no connection"
        except MaiError as error:
            raise self._pending(error) from error
        return answer, f"HTTP {answer.status}"

    async def _fetch(self, job: Job) -> Result:
        """The image of a completed job, inline or from its address."""
        if not job.media:
            said = f' It said: "{job.reason}"' if job.reason else ""
            raise _FetchAgain(f"The job is done, but the gateway names no image.{said}")
        source = job.media[0]
        try:
            inline = await self._jobs.executors.in_parallel(
                lambda: self._provider.read_data_uri(source)
            )
        except AnswerError as error:
            raise _FetchAgain(error.what, error.hint) from error
        return await self._read(await self._download(source) if inline is None else inline)

    async def _read(self, image: bytes) -> Result:
        seconds = time.monotonic() - self._started
        request, job_id = self._call.request, self._shown_id
        read = self._provider.read_image
        try:
            return await self._jobs.executors.in_parallel(
                lambda: read(request, image, job_id, seconds)
            )
        except AnswerError as error:
            what = f"The job is done, but its image can't be read: {error.what}"
            raise _FetchAgain(what, error.hint) from error

    async def _download(self, url: str) -> bytes:
        """The file at an address that the service named: fetched without any credential."""
        profile = self._profile
        gateway = profile.endpoint != SERVICES[profile.service].endpoint
        own = (urlsplit(profile.endpoint).hostname or "") if gateway else ""
        address = allowed_media_url(
            url,
            (*profile.media_hosts, own),
            loopback=profile.on_loopback,
            service=profile.service,
        )
        if address is None:
            where = describe_host(url)
            if own and repr(own) in where:  # the endpoint's name stands in no error
                where = "on the endpoint's host, but not at https and its usual port"
            refused = ServiceError(
                f"The image is ready, but lies {where}, from which nothing is fetched.",
                "If that host is the gateway's, add it to media_hosts in the profile.",
            )
            raise self._pending(refused)
        try:
            request = HttpRequest("GET", address)
            answer = await self._exchange(request, Headers(), profile.timeout)
        except _NO_ANSWER as error:
            raise _FetchAgain(f"The image can't be fetched: {_first_line(error)}") from error
        except MaiError as error:
            raise self._pending(error) from error
        if answer.status != 200:
            what = f"The image is ready, but can't be fetched: its host says HTTP {answer.status}."
            raise _FetchAgain(what, status=answer.status)
        return answer.body

    async def _exchange(self, request: HttpRequest, headers: Headers, seconds: float) -> HttpAnswer:
        """One exchange that costs nothing, for at most so many seconds (asyncio.TimeoutError)."""
        exchange = self._jobs.transport.exchange(request, headers, self._profile)
        try:
            return await within(seconds, exchange)
        except NotSentError as error:
            raise ConnectError(f"No connection ({error}).") from error.__cause__

    def _left(self) -> float:
        return max(0.0, self._profile.timeout - (time.monotonic() - self._started))

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or until the last one who waits leaves; PendingError when the time for the whole
        job is over."""
        if self._left() <= 0.0:
            raise self._pending(
                CallTimeoutError(
                    f"No image within {self._profile.timeout:g} s; the job is {self._phase}. "
                    f"{self._trouble}".strip(),
                    "A longer `timeout` can be set in the profile.",
                )
            )
        left = asyncio.ensure_future(self._call.abandoned.wait())
        try:
            await asyncio.wait({left}, timeout=min(seconds, self._left()))
        finally:
            left.cancel()
        self._call.abandoned.clear()

    def _pending(self, error: MaiError, more: str = "") -> PendingError:
        """The error that leaves the job open; `more` ends its hint."""
        return PendingError(
            error.what,
            " ".join(part for part in (error.hint, GO_ON, more) if part),
            status=error.status,
            code=error.code,
            request_id=self._shown_id,
        )


def _read_or_none(read: Callable[[HttpAnswer], Job | None], answer: HttpAnswer) -> Job | None:
    try:
        return read(answer)
    except AnswerError:
        return None


def _dropped() -> CancelledCall:
    return CancelledCall("The job was withdrawn before it began.", "Queue again.")


def _lost(error: PendingError) -> AnswerError:
    """The error for a job without an id in the ledger: no run can ever ask for it again."""
    return AnswerError(
        error.what,
        "Its job can't be asked for again. Look for the image in your account at the gateway "
        "before you queue again, which buys another one.",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no answer in time"])[0]
