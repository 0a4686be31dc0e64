"""One call from its request to its image, from top to bottom.

_admit        store: paid for before?  ledger: in flight elsewhere?  budget, and the call's row
              (and where machines share their images: does the object store have it?)
_buy          credential, slot in the rate limit, one exchange; again while that is safe
_keep_answer  the provider reads the answer, the store keeps the image, the ledger its cost
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from .auth import Headers
from .disk import Executors
from .errors import (
    AnswerError,
    Billed,
    BlockedError,
    ConnectError,
    ConnectionLostError,
    MaiError,
    PendingError,
    RateLimitError,
    RunningElsewhere,
    ServiceError,
    StoreError,
    UnreadableError,
)
from .http import HttpAnswer, HttpRequest, NotSentError, Transport, header_number, retry_after
from .in_flight import InFlightCall, RowLostError
from .jobs import Jobs
from .ledger import EndedCall, ImagePlace, Ledger, LostElsewhere, NewCall, Outcome
from .models import CATALOGUE
from .profiles import Profile
from .providers import PROVIDERS, Job, JobProvider, round_up, was_not_begun
from .rate_limit import CooldownTooLong, Deployment, RateLimiter
from .store import USAGE, Order, SharedStore, Store
from .types import Progress, Result, Usage, client_request_id

logger = logging.getLogger(__name__)

LOOK_ELSEWHERE = 0.5
"""Seconds between looks at a call that another process has in flight."""

AWAIT_SHARED = 30.0
"""Seconds to wait for an image that another machine has bought and is bringing."""

MAX_REPEATS = 4
"""How often one call is sent again for other reasons than a 429."""

MAX_REFUSALS = 10
"""How many 429s one call takes; each is followed by a wait for a slot, so this is minutes."""

LONGEST_PAUSE = 900.0
"""Seconds. An answer that asks to wait longer than this ends the call instead."""


class Pipeline:
    """Fetches images: from the store, from another process's call, or from the service."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        limiter: RateLimiter,
        transport: Transport,
        executors: Executors,
        jobs: Jobs,
    ) -> None:
        self._store = store
        self._shared = store if isinstance(store, SharedStore) else None
        self._ledger = ledger
        self._limiter = limiter
        self._transport = transport
        self._executors = executors
        self._jobs = jobs
        self._unsaved: dict[str, _Unsaved] = {}
        """Images that the disk refused, by key: saved as soon as it has room again."""

    async def fetch(self, call: InFlightCall) -> Result:
        """The image of a call. Whatever happens, its row in the ledger is closed, or left to a job.

        Raises a MaiError, which says whether the call was perhaps billed.
        """
        try:
            while True:
                kept = await self._admit(call)
                if kept is not None:  # it was paid for before
                    return replace(kept, from_store=True, cost_usd=0.0)
                with contextlib.suppress(RowLostError):
                    return await self._resume(call) if call.job_id else await self._buy(call)
        except BaseException as error:
            await self._executors.in_order(partial(self._settle, call, error))
            raise

    def keep_up(self) -> bool:
        """What is due every BEAT_SECONDS while calls are in flight, here or elsewhere. Blocks.

        It shows that this process lives, closes the calls of those that died, and saves what the
        disk refused. False: there is nothing to look after.
        """
        self.save_unsaved()
        in_flight = self._ledger.keep_alive()
        if in_flight:
            self.recover()
        return in_flight or bool(self._unsaved)

    def recover(self) -> None:
        """Calls of dead processes become "perhaps billed", unless the store has them. Blocks."""
        self._ledger.recover(self._store.has_arrived)

    def save_unsaved(self) -> None:
        """Try again to save the images that the disk refused. Blocks."""
        for key, unsaved in list(self._unsaved.items()):
            self._save(key, unsaved)

    def paid_before(self, calls: Iterable[InFlightCall]) -> set[str]:
        """The keys of calls that needn't be bought. Blocks."""
        keys = {call.key: {call.key, call.key_of_version_0_1} for call in calls}
        there = self._store.arrived(set().union(*keys.values()))
        return {key for key, both in keys.items() if key in self._unsaved or both & there}

    def note_uploaded(self, key: str, facts: Mapping[str, Any]) -> bool:
        """The image of a key is where all machines find it. False: the ledger can't be told yet.

        `facts` are its sidecar's. Blocks.
        """
        usage = facts.get("usage")
        try:
            self._ledger.set_image(
                key,
                ImagePlace.SHARED,
                facts.get("cost_usd"),
                Usage(*(usage[name] for name in USAGE)) if usage else None,
                facts.get("request_id"),
            )
        except StoreError as error:
            logger.debug("The ledger hears of a shared image later: %s", error)
            return False
        return True

    async def _admit(self, call: InFlightCall) -> Result | None:
        """The image if it was paid for before; None when the call has its row in the ledger."""
        if self._shared is not None:
            kept = await self._look_up_shared(call, self._shared)
            if kept is not None:
                return kept
        while True:
            try:
                kept = await self._executors.in_order(lambda: self._look_up_or_open(call))
                break
            except RunningElsewhere as other:
                call.joined_row = other.row
                call.report(Progress("joined", reason=other.owner))
                await asyncio.sleep(LOOK_ELSEWHERE)
        if kept is None and self._shared is not None:
            # Another machine may have delivered it between the first look and the call's row. The
            # ledger is asked first: in the other order neither would see an image that comes then.
            kept = await self._await_shared(call, self._shared)
            kept = kept or await self._shared.fetch(call.key)
            step = self._note_loss if kept is None else self._give_up_row
            await self._executors.in_order(partial(step, call))
        return kept

    async def _look_up_shared(self, call: InFlightCall, store: SharedStore) -> Result | None:
        """The image as another machine has bought it. StoreError: it can't be known."""
        if (kept := await self._executors.in_order(lambda: self._kept(call))) is not None:
            return kept
        found = await store.fetch(call.key, call.key_of_version_0_1)
        return found or await self._await_shared(call, store)

    async def _await_shared(self, call: InFlightCall, store: SharedStore) -> Result | None:
        """The image that a machine has bought and is bringing; None as soon as none is."""
        end = time.monotonic() + AWAIT_SHARED
        look = partial(self._ledger.awaited_from, call.key)
        while (machine := await self._executors.in_order(look)) is not None:
            if (found := await store.fetch(call.key)) is not None:
                return found
            if time.monotonic() > end:
                raise StoreError(
                    f"This image was bought by {machine}, which hasn't brought it to the images "
                    "that machines share yet. Nothing was sent.",
                    f"Start ComfyUI on {machine} and queue again. If its image is lost, give it "
                    f"up: `mai-image store forget {call.key}`.",
                )
            call.report(Progress("joined", reason=machine))
            await asyncio.sleep(LOOK_ELSEWHERE)
        return None

    def _look_up_or_open(self, call: InFlightCall) -> Result | None:
        """The blocking half of `_admit`. MaiError: the call has no row."""
        if (kept := self._kept(call)) is not None:
            return kept
        # To look for shared images may take long: `keep_up` does it, not this one thread.
        if call.joined_row and self._shared is None:
            self.recover()
        has_jobs = isinstance(PROVIDERS[call.profile.service], JobProvider)
        if not (has_jobs and self._jobs.find(call)):
            self._open_row(call)
        # Another process may have delivered it between the first look and the row.
        if (kept := self._kept(call)) is not None:
            self._give_up_row(call)
        return kept

    def _open_row(self, call: InFlightCall) -> None:
        """Write the call down, if budget and disk have room for it. Blocks."""
        profile = call.profile
        new = NewCall(
            key=call.key,
            profile=profile.name,
            service=profile.store_service,
            model=call.request.model,
            kind=call.request.kind,
            estimate_usd=estimate_usd(call),
            why_unbounded=profile.why_unbounded(call.request),
        )
        try:
            call.row = self._ledger.open(
                new, profile.budget, self._store.check_room, call.joined_row
            )
        except LostElsewhere as lost:
            raise _error_of_joined(lost.ended) from None

    def _give_up_row(self, call: InFlightCall) -> None:
        """The image is there: the row that was opened for it counts nothing. Blocks."""
        if call.row is not None:
            self._ledger.close(call.row, Outcome.DELIVERED if call.job_id else Outcome.WITHDRAWN)
            call.row = None

    def _kept(self, call: InFlightCall) -> Result | None:
        """The image, if the store has it, or if the disk refused it before."""
        unsaved = self._unsaved.get(call.key)
        if unsaved is not None:
            return self._save(call.key, unsaved)
        kept = self._store.get(call.key)
        if kept is None and call.key_of_version_0_1 != call.key:
            kept = self._store.get(call.key_of_version_0_1)
        return kept

    def _note_loss(self, call: InFlightCall) -> None:
        """Say it where an image is bought again that all machines had before. Blocks."""
        if (before := self._ledger.shared_before(call.key)) is not None:
            call.note = (
                f"bought again: {before.machine} bought this image on {before.day}, and the "
                "images that machines share have it no more"
            )
            logger.warning(
                "Image %s is %s. If a machine still has it: `mai-image store push` there.",
                call.key,
                call.note,
            )

    async def _resume(self, call: InFlightCall) -> Result:
        """The image of a job that an earlier run began."""
        image = await self._jobs.resume(call)
        return await self._executors.uninterrupted(lambda: self._keep_image(call, image))

    async def _buy(self, call: InFlightCall) -> Result:
        """Send the call, again only where `Attempts.repeat` allows it, and keep what comes."""
        profile = call.profile
        attempts = Attempts()
        while True:
            headers = Headers(await profile.credential.headers(renew=attempts.renew))
            self._transport.prepare(profile)
            deployment = await self._wait_for_slot(call, first=attempts.refusals > 0)
            name = deployment.name.partition("|")[2]
            await self._mark_sent(call, deployment, name)
            request = PROVIDERS[profile.service].build(
                call.request, profile.endpoint, name, client_request_id(call.key)
            )
            outcome = await self._exchange(call, deployment, request, headers)
            if isinstance(outcome, HttpAnswer) and outcome.status == 200:
                break
            # A refusal's body is searched for words: not in the event loop.
            again = partial(attempts.repeat, call, outcome)
            repeat = await self._executors.uninterrupted(again)
            if repeat is None:
                break
            await self._mark_not_sent(call)
            if repeat.seconds:
                until = time.monotonic() + repeat.seconds
                call.report(Progress("retrying", until, reason=repeat.reason))
                await asyncio.sleep(repeat.seconds)
        if isinstance(outcome, NotSentError):
            raise _unreachable(profile, outcome)
        keep = partial(self._keep_answer, call, outcome)
        found = await self._executors.uninterrupted(keep)
        if isinstance(found, Job):
            image = await self._jobs.follow(call, found)
            return await self._executors.uninterrupted(lambda: self._keep_image(call, image))
        return found

    async def _wait_for_slot(self, call: InFlightCall, first: bool) -> Deployment:
        """Wait for a slot of any of the model's deployments.

        `first`: the call had a slot and was refused, so it goes before those that had none yet.
        """
        profile, model = call.profile, call.request.model
        rpm = profile.rpm(CATALOGUE[model])
        # A rate limit belongs to a deployment at an endpoint, whatever the profile is called.
        names = [f"{profile.endpoint}|{name}" for name in profile.deployments_for(model)]

        def report(seconds: float, rpm: float | None) -> None:
            call.report(Progress("waiting", time.monotonic() + seconds, rpm))

        def report_locked(holder: str) -> None:
            call.report(Progress("waiting", reason=f"{holder} holds the quota file"))

        try:
            return await self._limiter.acquire(
                [Deployment(name, rpm) for name in names],
                report,
                on_locked=report_locked,
                first=first,
                unsent=True,
                max_cooldown=LONGEST_PAUSE,
            )
        except CooldownTooLong as error:
            raise _cooling_down(call, error.seconds) from None

    async def _exchange(
        self, call: InFlightCall, deployment: Deployment, request: HttpRequest, headers: Headers
    ) -> HttpAnswer | NotSentError:
        """Send the call once. The rate limiter hears of a refusal before anything else is done."""
        call.report(Progress("sent"))
        try:
            answer = await self._transport.exchange(request, headers, call.profile)
        except NotSentError as error:
            return error
        self._limiter.learn(deployment, header_number(answer.headers, "x-ratelimit-limit-requests"))
        if answer.status == 429:
            self._limiter.cool_down(deployment, retry_after(answer.headers))
        return answer

    async def _mark_sent(self, call: InFlightCall, deployment: Deployment, name: str) -> None:
        """From now on the call is perhaps billed, whatever becomes of this process; where that
        can't be written down, its slot goes to others."""
        assert call.row is not None
        mark = partial(self._ledger.mark_sent, call.row, name)
        try:
            if not await self._executors.in_order(mark):
                raise RowLostError
        except BaseException:
            self._limiter.give_back(deployment)
            raise
        self._limiter.mark_sent(deployment)
        call.sent = True

    async def _mark_not_sent(self, call: InFlightCall) -> None:
        """The service surely did not begin: the call may be withdrawn again."""
        assert call.row is not None
        kept = await self._executors.in_order(partial(self._ledger.mark_not_sent, call.row))
        call.sent = False
        if not kept:
            raise RowLostError

    def _keep_answer(self, call: InFlightCall, answer: HttpAnswer) -> Result | Job:
        """Read an answer, and keep its image or the id of its job. Blocks."""
        try:
            found = PROVIDERS[call.profile.service].read(call.request, answer)
        except UnreadableError as error:
            raise self._keep_unreadable(call, error) from error
        except ServiceError as error:
            raise _with_retirement(error, call.request.model) from error
        if isinstance(found, Job):
            self._jobs.begin(call, found)
            return found
        return self._keep_image(call, found)

    def _keep_image(self, call: InFlightCall, image: Result) -> Result:
        """The image into the store, then its cost into the ledger. Blocks."""
        if call.profile.emulated:
            image = _as_emulated(image)
        unsaved = _Unsaved(image, _order(call), call.row)
        self._unsaved[call.key], call.row = unsaved, None
        kept = self._save(call.key, unsaved)
        if call.key in self._unsaved:
            logger.error("An image is %s", kept.notes[-1])
            self._close(unsaved.row, Outcome.NOT_KEPT, result=image)
        return replace(kept, notes=(*kept.notes, call.note)) if call.note else kept

    def _keep_unreadable(self, call: InFlightCall, error: UnreadableError) -> MaiError:
        """Put what was paid for and is no image into the store; gives the error that names it."""
        try:
            return self._store.keep_unreadable(call.key, call.request.model, error, _order(call))
        except StoreError as problem:
            return AnswerError(
                f"{error.what} {problem.what}",
                problem.hint,
                request_id=error.request_id,
                cost_usd=error.cost_usd,
            )

    def _save(self, key: str, unsaved: _Unsaved) -> Result:
        """Put an image into the store before anything decodes it; a full disk loses nothing."""
        result = unsaved.result
        try:
            self._store.put(key, result, unsaved.order)
        except StoreError as error:
            return replace(result, notes=(*result.notes, f"not kept on disk: {error.what}"))
        self._unsaved.pop(key, None)
        self._close(unsaved.row, Outcome.DELIVERED, result=result)
        return result

    def _settle(self, call: InFlightCall, error: BaseException) -> None:
        """Close the row of a call that brought no image, or leave it to its job. Blocks."""
        if isinstance(error, PendingError) or (call.job_id and not isinstance(error, MaiError)):
            self._jobs.leave(call)
            return
        row, call.row = call.row, None
        if isinstance(error, MaiError):
            cost_usd = None if call.profile.emulated else error.cost_usd
            self._close(row, _outcome(error), error=error, cost_usd=cost_usd)
        elif call.sent:
            self._close(row, Outcome.PERHAPS_BILLED)
        else:
            cancelled = isinstance(error, asyncio.CancelledError)
            self._close(row, Outcome.WITHDRAWN if cancelled else Outcome.REFUSED)

    def _close(
        self,
        row: str | None,
        outcome: Outcome,
        *,
        result: Result | None = None,
        error: MaiError | None = None,
        cost_usd: float | None = None,
    ) -> None:
        """Write down how a call ended; one without a row has nothing to close. Blocks."""
        if row is None:
            return
        try:
            self._ledger.close(
                row,
                outcome,
                cost_usd=result.cost_usd if result else cost_usd,
                usage=result.usage if result else None,
                request_id=result.request_id if result else error.request_id if error else None,
                status=200 if result else error.status if error else None,
                code=error.code if error else None,
            )
        except StoreError as problem:
            logger.error("%s", problem)


@dataclass(frozen=True)
class _Unsaved:
    """An image that isn't on the disk yet, with what its sidecar needs and its row."""

    result: Result
    order: Order
    row: str | None


@dataclass(frozen=True)
class Repeat:
    """Why a call may be sent again, and how many seconds from now (0: when it has a slot)."""

    reason: str
    seconds: float = 0.0


@dataclass
class Attempts:
    """The attempts of one call so far: `refusals` are 429s, `repeats` all others that failed.

    A call is a paid POST that isn't idempotent: it is sent again only where the service surely did
    not begin it; everything else is left to the user. `renew` asks for a new token, once.
    """

    repeats: int = 0
    refusals: int = 0
    renew: bool = False
    renewed: bool = False

    def repeat(self, call: InFlightCall, outcome: HttpAnswer | NotSentError) -> Repeat | None:
        """Whether the call may be sent again after this outcome, and why; None: it may not."""
        self.renew = False
        if isinstance(outcome, NotSentError):
            return self._backed_off("no connection", None)
        provider = PROVIDERS[call.profile.service]
        if (changed := provider.without_refused_field(call.request, outcome)) is not None:
            call.request = changed
            return Repeat("without what the service doesn't take")
        if outcome.status == 401 and call.profile.credential.can_renew and not self.renewed:
            self.renew = self.renewed = True
            return Repeat("with a new token")
        if not was_not_begun(outcome):
            return None
        seconds = retry_after(outcome.headers)
        if outcome.status == 429:
            self.refusals += 1
            if seconds is not None and seconds > LONGEST_PAUSE:
                raise _cooling_down(call, seconds, outcome)
            return Repeat("refused") if self.refusals < MAX_REFUSALS else None
        if seconds is not None and seconds > LONGEST_PAUSE:
            return None
        return self._backed_off(f"HTTP {outcome.status}", seconds)

    def _backed_off(self, reason: str, retry_after: float | None) -> Repeat | None:
        """Another attempt after a pause, as long as there were few."""
        self.repeats += 1
        if self.repeats > MAX_REPEATS:
            return None
        pause = backoff(self.repeats) if retry_after is None else retry_after + jitter(0.5)
        logger.info("%s; trying again in %.1f s", reason, pause)
        return Repeat(reason, pause)


def backoff(repeat: int) -> float:
    """Seconds before a repeat, counted from 1: 0.5, 1, 2, 4, each plus up to half of it."""
    base = min(0.5 * 2.0 ** (repeat - 1), 8.0)
    return base + jitter(base / 2)


def jitter(most: float) -> float:
    """Seconds, at random: calls that failed together don't come back together."""
    return random.uniform(0, most)


def estimate_usd(call: InFlightCall) -> float:
    """What a call counts in a budget until its cost is known: the emulator's nothing."""
    if call.profile.emulated:
        return 0.0
    usd = CATALOGUE[call.request.model].estimate(call.request)
    step = PROVIDERS[call.profile.service].price_step
    return round_up(usd, step) if step else usd


def _order(call: InFlightCall) -> Order:
    profile, request = call.profile, call.request
    settings = {
        "kind": request.kind,
        "seed": request.seed,
        "auto_aspect_ratio": request.auto_aspect_ratio,
        "web_grounding": request.web_grounding,
        "background": request.background,
    }
    return Order(
        request.prompt, profile.store_service, profile.name, profile.keep_prompts, settings
    )


def _as_emulated(result: Result) -> Result:
    """The built-in emulator's images cost nothing; a note says what a real one would."""
    note = f"emulated: a real one would have cost ${result.cost_usd or 0.0:.4f}"
    return replace(result, cost_usd=0.0, notes=(*result.notes, note))


def _outcome(error: MaiError) -> Outcome:
    if error.billed is Billed.YES:
        return Outcome.DELIVERED
    if error.billed is Billed.NO:
        return Outcome.REFUSED
    return Outcome.BLOCKED if isinstance(error, BlockedError) else Outcome.PERHAPS_BILLED


def _error_of_joined(ended: EndedCall) -> ServiceError:
    """For whoever waited for a call that was perhaps billed: nobody buys again by itself."""
    if ended.outcome is Outcome.BLOCKED:
        kind: type[ServiceError] = BlockedError
        what = "The same request was in flight in another process: the content filter stopped it."
        hint = "Change the prompt or a reference, or take another seed."
    else:
        kind = ConnectionLostError
        what = "The same request was in flight in another process, and its image was lost."
        hint = "Queue again to buy it."
    return kind(
        what,
        hint,
        status=ended.status,
        code=ended.code,
        request_id=ended.request_id,
        billed=Billed.PERHAPS,
    )


def _with_retirement(error: ServiceError, model: str) -> ServiceError:
    """The error, and for a deployment that is gone the day on which its model was retired."""
    note = CATALOGUE[model].retirement_note()
    if not note or error.status not in (404, 410):
        return error
    return type(error)(
        error.what,
        f"{note} {error.hint}",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        billed=error.billed,
    )


def _unreachable(profile: Profile, error: NotSentError) -> ConnectError:
    return ConnectError(
        f"No connection to the endpoint of profile {profile.name!r} after {MAX_REPEATS + 1} "
        f"attempts ({error}).",
        "Check the endpoint's spelling, the network and the proxy settings; `mai-image doctor` "
        "names the first thing that is wrong. Nothing was billed.",
    )


def _cooling_down(
    call: InFlightCall, seconds: float, answer: HttpAnswer | None = None
) -> RateLimitError:
    seconds = min(seconds, 1e9)  # 30 years: a date that a server makes up need not exist
    ends = datetime.now() + timedelta(seconds=seconds)
    return RateLimitError(
        f"The deployment of {call.request.model} takes no requests until {ends:%Y-%m-%d %H:%M}, "
        f"says the service (in {timedelta(seconds=round(seconds))}).",
        "Queue again after that, or use another deployment or profile. Nothing was billed.",
        status=429,
        request_id=answer.request_id if answer else None,
    )
