"""The client: submit(request, profile) gives a future of its image.

One thread with one event loop lives as long as the process, because every ComfyUI prompt brings a
short-lived loop of its own. A call that is sent goes on in that thread whatever becomes of the
prompt that asked for it, and its image is kept in the store.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .database import DatabaseServer
from .disk import Executors
from .errors import Billed, CancelledCall, InputError, MaiError, ProfileError, StoreError
from .http import Transport
from .in_flight import CallStatus, InFlightCall, Listener, Orders, Waiter
from .jobs import GO_ON, POLL, Jobs
from .ledger import BEAT_SECONDS, Ledger
from .pipeline import Pipeline, estimate_usd
from .profiles import Profile, Profiles, Shared
from .providers import PROVIDERS
from .rate_limit import RateLimiter
from .store import ObjectStore, SharedStore, Store
from .types import Request, Result, request_key
from .validation import snap_request, validate_request

logger = logging.getLogger(__name__)

T = TypeVar("T")

WITHDRAWAL = 10.0
"""Seconds, at most, that the end waits for withdrawn calls to close their rows."""


UPLOAD = 10.0
"""Seconds, at most, that the end waits for images on their way to the shared object store."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What `images` requests would cost now: `bought` of them `usd` at most, the others nothing.

    `why_unbounded` is why it may be more, "" where it can't.
    """

    images: int
    bought: int
    usd: float
    why_unbounded: str


class StoredAs(NamedTuple):
    """Where a request's image is, or would be: its key, and whether the store has it."""

    key: str
    kept: bool


class Client:
    """Safe to call from any thread; make one where it is first needed.

    `folder` holds the store, the ledger and the rate limits. `launch_emulator` starts the built-in
    emulator and gives its address; without it the profile "emulator" can't be used. `transport`,
    `store`, `ledger` and `limiter` replace those of the folder; `poll` is the seconds between
    polls of a gateway's job.
    """

    def __init__(
        self,
        folder: Path,
        profiles: Profiles,
        *,
        launch_emulator: Callable[[], str] | None = None,
        transport: Transport | None = None,
        store: Store | None = None,
        ledger: Ledger | None = None,
        limiter: RateLimiter | None = None,
        poll: float = POLL,
    ) -> None:
        self.profiles = profiles
        self._shared = _shared_by(profiles)
        self.store = store or self._open_store(folder / "store")
        server = _server(self._shared)
        self.ledger = ledger or Ledger(
            server or folder / "ledger.sqlite",
            spool=folder / "unbooked.sqlite" if server else None,
            machine=profiles.machine(),
            user=profiles.user(),
            shares_images=isinstance(self.store, SharedStore),
        )
        self.orders = Orders(folder / "orders", self.store, self.ledger)
        self.transport = transport or Transport()
        self._executors = Executors()
        self._limiter = limiter or RateLimiter(
            server or folder / "quota.sqlite", machine=profiles.machine()
        )
        jobs = Jobs(self.transport, self.ledger, self._executors, profiles.get, poll)
        self._pipeline = Pipeline(
            self.store, self.ledger, self._limiter, self.transport, self._executors, jobs
        )
        self._launch_emulator = launch_emulator
        self._emulator_url = ""
        self._emulator_lock = threading.Lock()
        self._calls: dict[str, InFlightCall] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        """Of all calls, also of those that nobody waits for and that only close their row."""
        self._held: list[str] = []
        self._upkeep: asyncio.Task[None] | None = None
        self._process = os.getpid()
        self._closing: Future[None] | None = None
        # Reentrant: a signal's handler may close the client while the program closes it.
        self._closing_lock = threading.RLock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="mai-image", daemon=True)
        self._thread.start()
        atexit.register(self.close)
        if isinstance(self.store, SharedStore):
            if self.ledger.shared:
                self.store.images.may_begin = lambda: not self.ledger.has_shared_images()
            self._loop.call_soon_threadsafe(self.store.start, self._pipeline.note_uploaded)
        self._recover()
        self._loop.call_soon_threadsafe(self._look_after_calls)

    def _open_store(self, folder: Path) -> Store:
        """The store in the folder; behind it the images that machines share, where they do."""
        profiles, shared = self.profiles, self._shared
        if shared is not None and shared.images:
            objects = ObjectStore(
                shared.images,
                profiles.storage_variable,
                token=profiles.storage_token,
                ca_file=shared.ca_file,
            )
            return SharedStore(
                folder, shared.cache_bytes, objects, buy_without_store=shared.buy_without_store
            )
        limit = profiles.store_limit_bytes()
        return Store(folder) if limit is None else Store(folder, limit)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _recover(self) -> None:
        """Close the calls that dead processes left in flight; `_keep_up` finds later ones.

        What machines share may be slow or gone: `_keep_up` alone asks it.
        """
        if self.ledger.shared:
            return
        try:
            self.ledger.verify()
            if not isinstance(self.store, SharedStore):
                self._pipeline.recover()
        except StoreError as error:
            logger.warning("%s", error)

    def submit(
        self, request: Request, profile: str = "default", on_progress: Listener | None = None
    ) -> Future[Result]:
        """Ask for one image.

        The future gives a Result or raises a MaiError. Cancelling it only ends this wait: a call
        that isn't sent yet is withdrawn when nobody else waits for it, one that is sent goes on.
        `on_progress` is called in the client's thread and must be quick.
        """
        future: Future[Result] = Future()
        future.add_done_callback(self._leave_if_cancelled)
        with self._closing_lock:
            if self._process != os.getpid():
                _set_error(future, _forked())
            elif self._closing is not None:
                _set_error(future, _ending())
            else:
                begin = partial(self._begin, request, profile, future, on_progress)
                self._loop.call_soon_threadsafe(begin)
        return future

    def check_affordable(self, requests: Sequence[Request], profile: str = "default") -> None:
        """Raise BudgetError where the profile's budget can't pay for all of them. Blocks.

        Images that were paid for before and calls in flight are free. Each call is checked again
        when it is written down; mistakes and a ledger that can't be read are left to `submit`.
        """
        try:
            account = self.profiles.get(profile)
            calls = {call.key: call for call in self._calls_of(requests, account)}
            prices = {key: estimate_usd(call) for key, call in calls.items()}
            free = functools.cache(lambda: self._free_keys(calls))
            self.ledger.check_batch(account.name, account.budget, prices, lambda key: key in free())
        except (InputError, ProfileError, StoreError):
            return

    def quote(self, requests: Sequence[Request], profile: str = "default") -> Quote:
        """What these requests would buy and cost now. Blocks. InputError, ProfileError: none of
        them could be sent; StoreError: the store can't be read."""
        account = self.profiles.get(profile)
        calls = {call.key: call for call in self._calls_of(requests, account)}
        free = self._free_keys(calls)
        bought = [call for key, call in calls.items() if key not in free]
        why = next((account.why_unbounded(call.request) for call in bought), "")
        return Quote(len(requests), len(bought), sum(map(estimate_usd, bought)), why)

    def is_free(self, request: Request, profile: str = "default") -> bool:
        """Whether a request costs nothing: it was paid for before, or is in flight. Blocks.

        InputError, ProfileError: it can't be submitted.
        """
        (found,) = self.look_up([request], profile)
        return found.kept or found.key in self._calls

    def look_up(self, requests: Sequence[Request], profile: str = "default") -> list[StoredAs]:
        """Under which key each request is kept, and whether it is. Blocks; MaiError: a mistake."""
        account = self.profiles.get(profile)
        calls = self._calls_of(requests, account)
        kept = self._pipeline.paid_before(calls)
        return [StoredAs(call.key, call.key in kept) for call in calls]

    def _calls_of(self, requests: Sequence[Request], account: Profile) -> list[InFlightCall]:
        """Calls that are not begun, for what is known of them beforehand. InputError."""
        calls = []
        for request in requests:
            validate_request(request)
            sent, _ = snap_request(request)
            calls.append(InFlightCall(request_key(sent, account.store_identity), sent, account))
        return calls

    def _free_keys(self, calls: Mapping[str, InFlightCall]) -> set[str]:
        """Those that are under way, or were paid for before. Blocks; raises StoreError."""
        idle = {key: call for key, call in calls.items() if key not in self._calls}
        return calls.keys() - idle.keys() | self._pipeline.paid_before(idle.values())

    def in_flight(self) -> list[CallStatus]:
        """The calls of this process that are under way now, the oldest first."""
        return [call.status() for call in list(self._calls.values())]

    def _begin(
        self, request: Request, name: str, future: Future[Result], listener: Listener | None
    ) -> None:
        """Join the call of the same request, or start one; in the client's thread."""
        if future.cancelled():
            return
        try:
            if self._closing is not None:
                raise _ending()
            validate_request(request)
            request, notes = snap_request(request)
            profile = self.profiles.get(name)
            if not self.profiles.still_share(self._shared):
                raise _sharing_changed()
            PROVIDERS[profile.service].validate(request)
            key = request_key(request, profile.store_identity)
        except Exception as error:  # noqa: BLE001  whatever it is, its caller waits for it
            _set_error(future, error)
            return
        waiter = Waiter(name, listener, notes)
        call = self._calls.get(key)
        if call is not None:
            call.join(future, waiter)
            return
        call = InFlightCall(key, request, profile, {future: waiter})
        self._calls[key] = call
        self.store.hold(key)
        self._held.append(key)
        call.task = self._loop.create_task(self._run(call, request, name))
        self._tasks.add(call.task)
        call.task.add_done_callback(self._tasks.discard)
        self._look_after_calls()

    def _leave_if_cancelled(self, future: Future[Result]) -> None:
        if future.cancelled() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave, future)

    def _leave(self, future: Future[Result]) -> None:
        for call in list(self._calls.values()):
            if future not in call.waiting:
                continue
            del call.waiting[future]
            if not call.waiting:
                call.abandoned.set()
            if not call.waiting and not call.sent and call.task is not None:
                call.task.cancel()
                self._forget(call)

    def _look_after_calls(self) -> None:
        """Begin to look after calls in flight, if nobody does yet; in the client's thread."""
        if self._upkeep is None or self._upkeep.done():
            self._upkeep = self._loop.create_task(self._keep_up())

    async def _keep_up(self) -> None:
        """Look after calls in flight, also other processes', as long as there are any."""
        busy = True
        pause = 0.0 if self.ledger.shared else BEAT_SECONDS
        while busy:
            await asyncio.sleep(pause)
            pause = BEAT_SECONDS
            try:
                busy = await self._executors.in_parallel(self._pipeline.keep_up)
            except StoreError as error:
                logger.warning("%s", error)

    async def _run(self, call: InFlightCall, request: Request, name: str) -> None:
        """Run one call to its end and give everybody who waits its outcome."""
        try:
            if call.profile.emulated:
                profile = call.profile
                call.profile = await self._executors.in_order(lambda: self.ready(profile))
            result = await self._pipeline.fetch(call)
        except asyncio.CancelledError:
            self._fail(call, request, name, _withdrawn(call))
        except Exception as error:
            if not isinstance(error, MaiError):
                logger.exception("a call failed in an unforeseen way")
            self._fail(call, request, name, error)
        else:
            self._deliver(call, result)

    def ready(self, profile: Profile) -> Profile:
        """The profile with the emulator's address filled in, if it is the emulator. May block."""
        if not profile.emulated:
            return profile
        with self._emulator_lock:
            if not self._emulator_url:
                if self._launch_emulator is None:
                    raise ProfileError(
                        "The built-in emulator can't be started from here.",
                        "Start `mai-image emulator` and set the variables that it prints.",
                    )
                self._emulator_url = self._launch_emulator()
            return replace(profile, endpoint=self._emulator_url)

    def _deliver(self, call: InFlightCall, result: Result) -> None:
        """Give everybody who waits the result; only the first one pays."""
        self._forget(call)
        result = replace(result, key=result.key or call.key)
        for future, waiter in call.waiting.items():
            if future.set_running_or_notify_cancel():
                future.set_result(replace(result, notes=(*waiter.notes, *result.notes)))
                result = replace(result, cost_usd=0.0)
        call.waiting.clear()

    def _fail(self, call: InFlightCall, request: Request, name: str, error: Exception) -> None:
        """Give everybody who waits the error.

        One that cost nothing may come of the profile `name` (its budget, its key): who asked with
        another one begins anew with that, and so does who came while the call was withdrawn.
        """
        self._forget(call)
        is_free = isinstance(error, MaiError) and error.billed is Billed.NO
        withdrawn = isinstance(error, CancelledCall) and self._closing is None
        for future, waiter in call.waiting.items():
            if is_free and (withdrawn or waiter.profile != name):
                self._begin(request, waiter.profile, future, waiter.listener)
            else:
                _set_error(future, error)
        call.waiting.clear()

    def _forget(self, call: InFlightCall) -> None:
        """The call has ended. With the last one, eviction may have all images again."""
        if self._calls.get(call.key) is call:
            del self._calls[call.key]
        if not self._calls:
            while self._held:
                self.store.release(self._held.pop())

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine in the client's loop: for checks that share its connections."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self, grace: float | None = None) -> None:
        """End the client: withdraw what isn't sent, give what is sent `grace` seconds to arrive.

        None takes the longest `shutdown_grace` of the calls' profiles. A second call waits for the
        end that the first one has begun. A forked child has nothing to end: the thread stayed with
        the parent.
        """
        if self._process != os.getpid():
            return
        with self._closing_lock:
            if self._closing is None:
                self._closing = asyncio.run_coroutine_threadsafe(self._wind_up(grace), self._loop)
        self._closing.result()
        self.orders.close()
        atexit.unregister(self.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._executors.close()

    async def _wind_up(self, grace: float | None) -> None:
        calls = list(self._calls.values())
        for call in calls:
            if (call.job_id or not call.sent) and call.task is not None:
                call.task.cancel()
        tasks = list(self._tasks)
        if tasks:
            longest = max((c.profile.shutdown_grace for c in calls), default=WITHDRAWAL)
            longest = longest if grace is None else grace
            sent = sum(call.sent and not call.job_id for call in calls)
            if sent:
                logger.warning("waiting up to %.0f s for %d paid calls to arrive", longest, sent)
            _, late = await asyncio.wait(tasks, timeout=longest)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=2)
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait([self._upkeep], timeout=2)
        await self._limiter.close()
        await self._executors.in_order(self._pipeline.save_unsaved)
        if isinstance(self.store, SharedStore):
            await self.store.end(UPLOAD)
        await self.transport.close()


def _shared_by(profiles: Profiles) -> Shared | None:
    """What the machines share; None while the file is mistaken, and no profile can be used."""
    try:
        return profiles.shared()
    except ProfileError:
        return None


def _server(shared: Shared | None) -> DatabaseServer | None:
    """The studio's database, where there is one."""
    if shared is None or not shared.database:
        return None
    return DatabaseServer(shared.database, shared.password, ca_file=shared.ca_file)


def _set_error(future: Future[Result], error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)


def _sharing_changed() -> ProfileError:
    """Never a private ledger or quota beside the studio's, nor the other way round."""
    return ProfileError(
        "[shared] in profiles.toml was changed since this program began. Nothing was sent.",
        "Start ComfyUI (or the command) again, or put the old settings back.",
    )


def _ending() -> CancelledCall:
    return CancelledCall("The program is ending; nothing more is sent.", "Start it, queue again.")


def _forked() -> CancelledCall:
    return CancelledCall(
        "This process was forked from the one that made the client.",
        "Make a client of its own in the child, or start the process anew.",
    )


def _withdrawn(call: InFlightCall) -> CancelledCall:
    if call.job_id:
        return CancelledCall("The program ended before the job did.", GO_ON)
    if call.sent:
        return CancelledCall(
            "The program ended before the image came.",
            "Start it and queue again.",
            billed=Billed.PERHAPS,
        )
    return CancelledCall("The call was withdrawn before it was sent.", "Queue again.")
