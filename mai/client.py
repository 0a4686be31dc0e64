"""The one door: submit(request, profile) gives a future of its image.

One thread with one event loop lives as long as the process, because every ComfyUI prompt brings a
short-lived loop of its own. A call that is out goes on in that thread whatever becomes of the
prompt that asked for it, and its image lands in the store.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from .call_status import CallStatus, standing
from .errors import Billed, CancelledCall, MaiError, ProfileError, StoreError
from .http import Transport
from .in_flight import InFlightCall, Listener, tell
from .jobs import GO_ON, POLL, Jobs
from .ledger import Ledger
from .pipeline import Pipeline
from .profiles import Profile, Profiles
from .rate_limit import RateLimiter
from .store import Store
from .types import Progress, Request, Result, request_key
from .validation import check, check_service

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Client:
    """The client. Safe to call from any thread; make one where it is first needed.

    `folder` holds the store, the ledger and the quota. `launch_emulator` starts the built-in
    emulator and gives its address; without it the profile "emulator" can't be used. `poll` is the
    seconds between polls of a gateway's job.
    """

    def __init__(
        self,
        folder: Path,
        profiles: Profiles,
        *,
        launch_emulator: Callable[[], str] | None = None,
        transport: Transport | None = None,
        poll: float = POLL,
    ) -> None:
        self.profiles = profiles
        limit = profiles.store_limit_bytes()
        self.store = Store(folder / "store") if limit is None else Store(folder / "store", limit)
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.transport = transport or Transport()
        quota = RateLimiter(folder / "quota.sqlite")
        write_down, work = self._write_down, self._work
        jobs = Jobs(self.transport, self.ledger, write_down, work, profiles.get, poll)
        self._desk = Pipeline(
            self.store, self.ledger, quota, self.transport, write_down, work, jobs
        )
        self._launch_emulator = launch_emulator
        self._emulator_url = ""
        self._flights: dict[str, InFlightCall] = {}
        self._lock = threading.Lock()
        self._door = threading.RLock()  # a signal's handler may close while the program closes
        self._closing: Future[None] | None = None
        self._workers = ThreadPoolExecutor(2, "mai-image-work")
        self._clerk = ThreadPoolExecutor(1, "mai-image-clerk")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="mai-image", daemon=True)
        self._thread.start()
        atexit.register(self.close)
        self._settle_dead_calls()

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _settle_dead_calls(self) -> None:
        """Calls that a killed process had out become "perhaps billed", unless they landed."""
        try:
            self.ledger.recover(lambda key: self.store.get(key) is not None)
        except StoreError as error:
            logger.warning("%s", error)

    def submit(
        self, request: Request, profile: str = "default", on_progress: Listener | None = None
    ) -> Future[Result]:
        """Ask for one image.

        The future gives a Result or raises a MaiError. Cancelling it only ends this wait: a call
        that isn't out yet is withdrawn when nobody else waits for it, one that is out goes on.
        `on_progress` is called in the service's thread and must be quick.
        """
        future: Future[Result] = Future()
        future.add_done_callback(self._forget_if_cancelled)
        with self._door:
            if self._closing is not None:
                _fail(future, _ending())
            else:
                begin = partial(self._begin, request, profile, future, on_progress)
                self._loop.call_soon_threadsafe(begin)
        return future

    def flights(self) -> list[CallStatus]:
        """The calls of this process that are under way now, the oldest first."""
        return [standing(flight) for flight in list(self._flights.values())]

    def _begin(
        self, request: Request, name: str, future: Future[Result], listener: Listener | None
    ) -> None:
        if future.cancelled():
            return
        try:
            if self._closing is not None:
                raise _ending()
            check(request)
            profile = self.profiles.get(name)
            check_service(request, profile.service)
            key = request_key(request, profile.store_service)
        except Exception as error:  # noqa: BLE001  whatever it is, its caller waits for it
            _fail(future, error)
            return
        flight = self._flights.get(key)
        if flight is not None:
            flight.waiting[future] = listener
            tell(listener, flight.progress or Progress("joined"))
            return
        flight = InFlightCall(key, request, profile, {future: listener})
        self._flights[key] = flight
        flight.task = self._loop.create_task(self._fly(flight))

    def _forget_if_cancelled(self, future: Future[Result]) -> None:
        if future.cancelled() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave, future)

    def _leave(self, future: Future[Result]) -> None:
        for flight in list(self._flights.values()):
            if future not in flight.waiting:
                continue
            del flight.waiting[future]
            if not flight.waiting and not flight.out and flight.task is not None:
                flight.task.cancel()
                del self._flights[flight.key]

    async def _fly(self, flight: InFlightCall) -> None:
        """Run one call to its end and give everybody who waits its outcome."""
        try:
            flight.profile = await self._write_down(lambda: self.ready(flight.profile))
            result = await self._desk.fetch(flight)
        except asyncio.CancelledError:
            self._land(flight, error=_withdrawn(flight))
        except Exception as error:
            if not isinstance(error, MaiError):
                logger.exception("a call failed in an unforeseen way")
            self._land(flight, error=error)
        else:
            self._land(flight, result)

    def ready(self, profile: Profile) -> Profile:
        """The profile with the emulator's address filled in, if it is the emulator."""
        if not profile.emulated:
            return profile
        with self._lock:
            if not self._emulator_url:
                if self._launch_emulator is None:
                    raise ProfileError(
                        "The built-in emulator can't be started from here.",
                        "Start `mai-image emulator` and set the variables that it prints.",
                    )
                self._emulator_url = self._launch_emulator()
            return replace(profile, endpoint=self._emulator_url)

    def _land(
        self, flight: InFlightCall, result: Result | None = None, error: Exception | None = None
    ) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        for future in flight.waiting:
            if error is not None:
                _fail(future, error)
            elif result is not None and future.set_running_or_notify_cancel():
                future.set_result(result)
                result = replace(result, cost_usd=0.0)
        flight.waiting.clear()

    async def _write_down(self, job: Callable[[], T]) -> T:
        """Run a job on the store or the ledger: one at a time, in the order of the calls."""
        return await self._in_thread(self._clerk, job)

    async def _work(self, job: Callable[[], T]) -> T:
        """Run a job on an image's bytes."""
        return await self._in_thread(self._workers, job)

    async def _in_thread(self, workers: ThreadPoolExecutor, job: Callable[[], T]) -> T:
        """Run a blocking job in a worker; at the interpreter's end, when none starts, run it here.

        A job that has begun is waited for even when the call is cancelled: a row or a file that
        is half written down must not be left alone.
        """
        try:
            pending = self._loop.run_in_executor(workers, job)
        except RuntimeError:
            return job()
        try:
            return await asyncio.shield(pending)
        except asyncio.CancelledError:
            await asyncio.wait([pending])
            raise

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine in the service's loop: for checks that share its connections."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self, grace: float | None = None) -> None:
        """End the service: withdraw what waits, give what is out `grace` seconds to land.

        None takes the longest `shutdown_grace` of the calls' profiles. A second call waits for the
        end that the first one has begun.
        """
        with self._door:
            if self._closing is None:
                self._closing = asyncio.run_coroutine_threadsafe(self._wind_up(grace), self._loop)
        self._closing.result()
        atexit.unregister(self.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._workers.shutdown(wait=False)
        self._clerk.shutdown(wait=False)

    async def _wind_up(self, grace: float | None) -> None:
        flights = list(self._flights.values())
        for flight in flights:
            if (flight.job_id or not flight.out) and flight.task is not None:
                flight.task.cancel()
        tasks = [flight.task for flight in flights if flight.task is not None]
        if tasks:
            longest = max(f.profile.shutdown_grace for f in flights) if grace is None else grace
            out = sum(flight.out and not flight.job_id for flight in flights)
            if out:
                logger.warning("waiting up to %.0f s for %d paid calls to land", longest, out)
            _, late = await asyncio.wait(tasks, timeout=longest)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=2)
        await self.transport.close()


def _fail(future: Future[Result], error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)


def _ending() -> CancelledCall:
    return CancelledCall("The program is ending; nothing more is sent.", "Start it, queue again.")


def _withdrawn(flight: InFlightCall) -> CancelledCall:
    if flight.job_id:
        return CancelledCall("The program ended before the job did.", GO_ON)
    if flight.out:
        return CancelledCall(
            "The program ended before the image came.",
            "Queue again if you accept that it may be paid for twice.",
            billed=Billed.PERHAPS,
        )
    return CancelledCall("The call was withdrawn before it was sent.", "Queue again.")
