"""One call from its key to its image: store, ledger, quota, wire, store, in this order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from uuid import UUID

from .errors import (
    BadRequestError,
    Billed,
    BlockedError,
    MaiError,
    PendingError,
    RunningElsewhere,
    StoreError,
)
from .http import HttpAnswer, HttpRequest, Transport, number
from .in_flight import InFlightCall, Work
from .jobs import Jobs
from .ledger import Call, Ledger, Outcome
from .models import BY_NAME, Model
from .profiles import Profile
from .providers import foundry, names_size, pixazo
from .rate_limit import Deployment, RateLimiter
from .store import Store
from .types import Edit, Progress, Result

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ELSEWHERE_POLL = 0.5
"""Seconds between looks at a call that another process has in flight."""


@dataclass
class Pipeline:
    """What every call needs: where images are kept, money is written down, turns are taken."""

    store: Store
    ledger: Ledger
    quota: RateLimiter
    transport: Transport
    write_down: Work
    """One job at a time, in the order of the calls."""
    work: Work
    jobs: Jobs
    unsaved: dict[str, Result] = field(default_factory=dict)
    """Images that aren't on the disk (yet): kept for as long as the process lives, and tried
    again when they are asked for."""

    async def fetch(self, flight: InFlightCall) -> Result:
        """The image: from the store, from another process's call, or bought."""
        while True:
            kept = await self._kept(flight)
            if kept is not None:
                return kept
            await self.write_down(self.store.check_room)
            try:
                return await self._buy(flight)
            except RunningElsewhere:
                flight.tell(Progress("joined"))
                await asyncio.sleep(_ELSEWHERE_POLL)

    async def _kept(self, flight: InFlightCall) -> Result | None:
        """The image if it was paid for before. One that the disk refused is tried again."""
        kept = self.unsaved.get(flight.key)
        if kept is not None:
            kept = await self._keep(flight, kept)
        else:
            kept = await self.write_down(lambda: self.store.get(flight.key))
        return None if kept is None else replace(kept, from_store=True, cost_usd=0.0)

    async def _buy(self, flight: InFlightCall) -> Result:
        """Write the call down, send it and close its ledger row, whatever happens."""
        model = BY_NAME[flight.request.model]
        job = await self.jobs.find(flight)
        row = await self._open(flight, model) if job is None else job.row
        try:
            # Another process may have landed it between the first look and the row.
            kept = await self._kept(flight)
            if kept is not None:
                await self._close(row, Outcome.WITHDRAWN if job is None else Outcome.DELIVERED)
                return kept
            if job is None:
                result = await self._send(flight, model, row)
            else:
                result = await self.jobs.resumed(flight, job)
        except PendingError:
            await self.jobs.leave(row)
            raise
        except MaiError as error:
            await self._close(row, _outcome(error), error=error)
            raise
        except BaseException as error:
            await self._give_up(flight, row, cancelled=isinstance(error, asyncio.CancelledError))
            raise
        if flight.profile.emulated:
            result = _emulated(result)
        return await _uninterrupted(self._bring_in(flight, row, result))

    async def _give_up(self, flight: InFlightCall, row: int, *, cancelled: bool) -> None:
        """Settle the row of a call that was cancelled, or failed in an unforeseen way."""
        if flight.job_id:
            await self.jobs.leave(row)
        elif flight.out:
            await self._close(row, Outcome.PERHAPS_BILLED)
        else:
            await self._close(row, Outcome.WITHDRAWN if cancelled else Outcome.REFUSED)

    async def _open(self, flight: InFlightCall, model: Model) -> int:
        """The call's ledger row. One that is cancelled while it is written is withdrawn."""
        rows: list[int] = []
        call, budget = _ledger_call(flight, model), flight.profile.budget
        try:
            await self.write_down(
                lambda: rows.append(self.ledger.open(call, budget, alone=True, out=False))
            )
        except asyncio.CancelledError:
            for row in rows:
                await self._close(row, Outcome.WITHDRAWN)
            raise
        return rows[0]

    async def _bring_in(self, flight: InFlightCall, row: int, result: Result) -> Result:
        """What arrived goes into the store first, then into the ledger."""
        kept = await self._keep(flight, result)
        await self._close(row, Outcome.DELIVERED, result=kept)
        return kept

    async def _send(self, flight: InFlightCall, model: Model, row: int) -> Result:
        sender = _Sender(self, flight, model, row)
        answer = await self.transport.send(flight.profile, sender)
        await sender.answered(answer)
        if flight.profile.service == "pixazo":
            return await self.jobs.begun(flight, row, answer)
        request = flight.request
        try:
            return await self.work(lambda: foundry.read(answer, request))
        except BadRequestError as error:
            if not isinstance(request, Edit) or request.size is None or not names_size(error):
                raise
            flight.request = replace(request, size=None)
            return await self._send(flight, model, row)

    async def _keep(self, flight: InFlightCall, result: Result) -> Result:
        """Put an image into the store before anything decodes it; a full disk loses nothing."""
        self.unsaved[flight.key] = result
        try:
            await self.work(
                lambda: self.store.put(
                    flight.key,
                    result,
                    prompt=flight.request.prompt,
                    keep_prompt=flight.profile.keep_prompts,
                    service=flight.profile.store_service,
                    profile=flight.profile.name,
                )
            )
        except StoreError as error:
            logger.error("%s", error)
            return replace(result, notes=(*result.notes, f"not kept on disk: {error.what}"))
        del self.unsaved[flight.key]
        return result

    async def _close(
        self,
        row: int,
        outcome: Outcome,
        *,
        result: Result | None = None,
        error: MaiError | None = None,
    ) -> None:
        try:
            await self.write_down(
                lambda: self.ledger.close(
                    row,
                    outcome,
                    cost_usd=result.cost_usd if result else None,
                    usage=result.usage if result else None,
                    request_id=result.request_id if result else error.request_id if error else None,
                    status=200 if result else error.status if error else None,
                    code=error.code if error else None,
                )
            )
        except StoreError as problem:
            logger.error("%s", problem)


class _Sender:
    """The caller that the transport speaks with: takes turns, and writes down what is out."""

    def __init__(self, desk: Pipeline, flight: InFlightCall, model: Model, row: int) -> None:
        self._desk, self._flight, self._row = desk, flight, row
        self._rpm = flight.profile.rpm(model)
        self._deployments = {
            _lane_name(flight.profile, name): name
            for name in flight.profile.deployments_for(model.name)
        }
        self._lane: Deployment | None = None
        self._was_refused = False

    async def turn(self) -> HttpRequest:
        """Wait for a place on one of the model's deployments, then note the call as out."""
        await self._set_out(False)
        lanes = [Deployment(name, self._rpm) for name in self._deployments]
        self._lane = await self._desk.quota.acquire(lanes, self._wait, first=self._was_refused)
        deployment = self._deployments[self._lane.name]
        await self._set_out(True, deployment)
        self._flight.tell(Progress("sent"))
        if self._flight.profile.service == "pixazo":
            return pixazo.build(self._flight.request, self._flight.profile.endpoint)
        call_id = str(UUID(self._flight.key[:32]))
        return foundry.build(
            self._flight.request, self._flight.profile.endpoint, deployment, call_id
        )

    async def _set_out(self, out: bool, deployment: str | None = None) -> None:
        if out == self._flight.out:
            return
        await self._desk.write_down(lambda: self._desk.ledger.mark(self._row, out, deployment))
        self._flight.out = out

    def _wait(self, seconds: float, rpm: float | None) -> None:
        self._flight.tell(Progress("waiting", time.monotonic() + seconds, rpm))

    async def refused(self, answer: HttpAnswer, seconds: float | None) -> None:
        """A 429: the lane pauses for everybody."""
        await self._set_out(False)
        self._was_refused = True
        self._learn(answer)
        if self._lane is not None:
            self._desk.quota.cool_down(self._lane, seconds)

    async def retrying(self, seconds: float, reason: str) -> None:
        """Nothing is out until the next try."""
        await self._set_out(False)
        self._flight.tell(Progress("retrying", time.monotonic() + seconds, reason=reason))

    async def answered(self, answer: HttpAnswer) -> None:
        """The final answer: its headers may say what the limit is."""
        self._learn(answer)

    def _learn(self, answer: HttpAnswer) -> None:
        if self._lane is not None:
            limit = number(answer.headers, "x-ratelimit-limit-requests")
            self._desk.quota.learn(self._lane, limit)


async def _uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of some short work that the waiting task's cancel doesn't end."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    return task.result()


def _emulated(result: Result) -> Result:
    """The built-in emulator's images cost nothing; a note says what a real one would."""
    note = f"emulated: a real one would have cost ${result.cost_usd or 0.0:.4f}"
    return replace(result, cost_usd=0.0, notes=(*result.notes, note))


def _ledger_call(flight: InFlightCall, model: Model) -> Call:
    return Call(
        key=flight.key,
        profile=flight.profile.name,
        service=flight.profile.store_service,
        model=model.name,
        kind=type(flight.request).__name__.lower(),
        estimate_usd=0.0 if flight.profile.emulated else model.estimate(flight.request),
        deployment=None,
    )


def _lane_name(profile: Profile, deployment: str) -> str:
    return f"{profile.endpoint}|{deployment}"


def _outcome(error: MaiError) -> Outcome:
    if error.billed is Billed.PERHAPS:
        return Outcome.PERHAPS_BILLED
    return Outcome.BLOCKED if isinstance(error, BlockedError) else Outcome.REFUSED
