"""Entra ID's tokens: had once, shared by all calls, renewed in time.

azure-identity blocks, and where no credential is to be had it takes up to 24 s to say so. So it
runs in a thread, every wait for it is bounded, and a failure is remembered for a while.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from ..errors import CredentialError
from .entra import DEVICE_WAIT, HINTS, SCOPE, Build, Entra, Redact, TokenProvider, explain, names
from .keys import Sealed

log = logging.getLogger(__name__)

WAIT = 30.0
"""Seconds for a token: the default chain was measured to need 24 s to fail."""

SPARE_WAIT = 5.0
"""Seconds for a new token while the old one is still good; the old one is used after that."""

MARGIN = 300.0
"""Seconds before its end at which a token is renewed: a call lasts up to 300 s by default."""

REMEMBER = 15.0
"""Seconds for which a failure is given to everyone who asks, instead of trying again."""

RENEW_PAUSE = 10.0
"""Seconds after a forced renewal in which a further one gives the same token: a batch of 16 whose
old token was refused comes back with sixteen 401s."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A token in hand; times are Unix seconds, `turn` is the request that brought it."""

    token: str = field(repr=False)
    ends: float
    refresh: float
    since: float
    forced: bool
    turn: int


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why there is no token, in words fit for the user, and until when that holds."""

    reason: str
    until: float


_Outcome = _Held | _Failure


class _Request:
    """One running request for a token, shared by all who wait for it."""

    def __init__(self, turn: int, forced: bool) -> None:
        self.turn = turn
        self.forced = forced
        self.done: Future[_Outcome] = Future()
        self.done.set_running_or_notify_cancel()  # one caller who gives up cancels nobody else


class EntraCredential(Sealed):
    """A bearer token in `Authorization`. One object serves a process, any thread, any loop.

    `build` makes azure-identity's object and `clock` gives Unix seconds (both replaceable in
    tests); `redact` takes secrets out of azure-identity's texts; `wait` is in seconds.
    """

    def __init__(
        self,
        entra: Entra,
        build: Build,
        *,
        wait: float | None = None,
        clock: Callable[[], float] = time.time,
        redact: Redact = str,
    ) -> None:
        self._entra = entra
        self._build = build
        self._wait = wait or (DEVICE_WAIT if entra.method == "device_code" else WAIT)
        self._clock = clock
        self._redact = redact
        self._lock = threading.Lock()
        self._provider: TokenProvider | None = None
        self._held: _Held | None = None
        self._failure: _Failure | None = None
        self._request: _Request | None = None
        self._turns = 0

    @property
    def can_renew(self) -> bool:
        """A device code can't be renewed without its user."""
        return self._entra.method != "device_code"

    def describe(self) -> str:
        """The method, and the identity where one is named."""
        named = f" {self._entra.client_id}" if self._entra.client_id else ""
        return f"Entra ID ({self._entra.tried}{named})"

    async def headers(self, *, renew: bool = False) -> dict[str, str]:
        """The bearer header; with `renew` a token other than the last. Raises CredentialError."""
        held, spare = self._ready(renew)
        if held is not None:
            return _bearer(held)
        wait = min(SPARE_WAIT, self._wait) if spare else self._wait
        outcome = await self._ask(renew, wait)
        if isinstance(outcome, _Held):
            return _bearer(outcome)
        if spare is not None:
            log.warning("The Entra token could not be renewed yet; the old one is still good.")
            return _bearer(spare)
        raise CredentialError(f"No Entra ID token: {outcome.reason}", HINTS[self._entra.method])

    def _ready(self, renew: bool) -> tuple[_Held | None, _Held | None]:
        """The token to use at once, or None and the one to fall back on while it lasts."""
        with self._lock:
            held, now = self._held, self._clock()
        if held is None or held.ends <= now:
            return None, None
        if renew:
            fresh = held.forced and now - held.since < RENEW_PAUSE
            return (held if fresh else None), None
        return (held, None) if now < held.refresh else (None, held)

    async def _ask(self, renew: bool, wait: float) -> _Outcome:
        """Waits for the shared request, which is started if there is none."""
        with self._lock:
            if self._failure is not None and self._clock() < self._failure.until:
                return self._failure
            request = self._request
            if request is None or (renew and not request.forced):
                request = self._start(renew)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(request.done), wait)
        except asyncio.TimeoutError:
            return self._give_up(request, wait)

    def _start(self, forced: bool) -> _Request:
        self._turns += 1
        request = _Request(self._turns, forced)
        self._request = request
        threading.Thread(
            target=self._run, args=(request,), name="mai-entra-token", daemon=True
        ).start()
        return request

    def _give_up(self, request: _Request, wait: float) -> _Failure:
        """Stops waiting; a token that still arrives is kept."""
        with self._lock:
            tried = names(self._provider, self._entra)
            reason = f"no answer within {wait:g} s. Tried: {tried}."
            failure = _Failure(reason, self._clock() + REMEMBER)
            if self._request is request:
                self._request = None
                self._failure = failure
        return failure

    def _run(self, request: _Request) -> None:
        """The thread: one request for a token; its outcome is never an exception."""
        outcome = self._fetch(request)
        with self._lock:
            if isinstance(outcome, _Held):
                if self._held is None or self._held.turn < outcome.turn:
                    self._held = outcome
                self._failure = None
            elif self._request is request:
                self._failure = outcome
                self._provider = None
            if self._request is request:
                self._request = None
        request.done.set_result(outcome)

    def _fetch(self, request: _Request) -> _Outcome:
        try:
            if request.forced or self._provider is None:
                self._provider = self._build(self._entra)
            provider = self._provider
            info = getattr(provider, "get_token_info", provider.get_token)(SCOPE)
            return self._take(info, request)
        except ImportError as error:
            reason = (
                f"azure-identity can't be imported ({error.name}): `pip install azure-identity`."
            )
        except Exception as error:  # noqa: BLE001 (azure-core, msal, requests, subprocess raise)
            log.debug("No token from %s: %s", self._entra.tried, type(error).__name__)
            reason = explain(error, self._entra, self._redact)
        return _Failure(reason, self._clock() + REMEMBER)

    def _take(self, info: Any, request: _Request) -> _Outcome:
        """A token as azure-identity gave it, with the time to renew it; half a short life."""
        now = self._clock()
        if not re.fullmatch(r"[\x21-\x7e]{1,65536}", str(info.token)):
            return _Failure("what the token endpoint gave isn't a token.", now + REMEMBER)
        ends = float(info.expires_on)
        refresh = ends - min(MARGIN, (ends - now) / 2)
        asked = getattr(info, "refresh_on", None)
        if isinstance(asked, (int, float)) and now < asked:
            refresh = min(refresh, float(asked))
        return _Held(str(info.token), ends, refresh, now, request.forced, request.turn)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.describe()}>"


def _bearer(held: _Held) -> dict[str, str]:
    return {"Authorization": f"Bearer {held.token}"}
