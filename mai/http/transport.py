"""The only file that opens a connection: timeouts, byte limits, and sending a call again.

When a call may be sent again stands in retry.py, and at `_Exchange` how far a request got.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import httpx

from ..auth import Headers
from ..errors import (
    AnswerError,
    Billed,
    CallTimeoutError,
    ConnectError,
    ConnectionLostError,
    PendingError,
    ProfileError,
    ServiceError,
)
from ..profiles import Profile, allowed_media_url, describe_host
from ..retry import LONGEST_PAUSE, MAX_REFUSALS, MAX_REPEATS, Caller, backoff, may_repeat
from . import bodies
from .messages import HttpAnswer, HttpRequest, retry_after
from .redaction import Redactor, kept_out_of_logs

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A 2048 x 2048 PNG of noise is 12.6 MB, 16.8 MB in base64; anything near this is no image."""

_KEEP_ALIVE = 30.0
"""Seconds. Shorter than the idle timeouts of Azure's front ends: no dead connection is reused."""


_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class NotSentError(Exception):
    """The request did not leave this machine whole; the service can't have begun it."""


class Transport:
    """The kept httpx clients. They belong to the event loop in which they are first used.

    Proxies of the environment work, but loopback addresses never go through one.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._given = transport
        self._clients: dict[bool, httpx.AsyncClient] = {}

    async def close(self) -> None:
        """Close every connection."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()

    async def send(self, profile: Profile, caller: Caller) -> HttpAnswer:
        """Send one call until it has an answer that is final. ServiceError: no answer came."""
        repeats = refusals = 0
        renew = renewed = False
        while True:
            request = await caller.turn()
            headers = Headers(await profile.credential.headers(renew=renew))
            renew = False
            try:
                answer = await self._exchange(request, profile, headers)
            except NotSentError as error:
                repeats += 1
                if repeats > MAX_REPEATS:
                    raise _unreachable(profile, error) from error.__cause__
                await _pause(backoff(repeats), "no connection", caller)
                continue
            if answer.status == 401 and profile.credential.can_renew and not renewed:
                renew = renewed = True
                continue
            asked = retry_after(answer.headers)
            if not may_repeat(answer) or (asked is not None and asked > LONGEST_PAUSE):
                return answer
            if answer.status == 429:
                refusals += 1
                await caller.refused(answer, asked)
                if refusals >= MAX_REFUSALS:
                    return answer
                continue
            repeats += 1
            if repeats > MAX_REPEATS:
                return answer
            pause = backoff(repeats) if asked is None else asked + random.uniform(0, 0.5)
            await _pause(pause, f"HTTP {answer.status}", caller)

    async def fetch(self, request: HttpRequest, profile: Profile) -> HttpAnswer:
        """One exchange with the profile's credential, never repeated: for checks and polling."""
        try:
            headers = Headers(await profile.credential.headers())
            return await self._exchange(request, profile, headers)
        except NotSentError as error:
            raise _unreachable(profile, error) from error.__cause__

    async def fetch_media(self, url: str, profile: Profile) -> HttpAnswer:
        """One GET of an image's file that a gateway's answer names, without any credential.

        PendingError for an address that allowed_media_url refuses: once its host is listed, the
        job can be taken up again.
        """
        own = urlsplit(profile.endpoint).hostname or ""
        address = allowed_media_url(url, (*profile.media_hosts, own), loopback=profile.on_loopback)
        if address is None:
            raise _media_refused(url)
        try:
            return await self._exchange(HttpRequest("GET", address), profile, Headers())
        except NotSentError as error:
            raise ConnectError(f"No connection to the image's host ({error}).") from error

    async def _exchange(
        self, request: HttpRequest, profile: Profile, headers: Headers
    ) -> HttpAnswer:
        if headers and not request.url.startswith(f"{profile.endpoint}/"):
            raise ProfileError("A key is sent to no other address than its profile's endpoint.")
        exchange = _Exchange(self._client_for(profile), request, profile, headers)
        with contextlib.suppress(asyncio.TimeoutError):
            outcome = await asyncio.wait_for(exchange.run(), profile.timeout)
            if isinstance(outcome, HttpAnswer):
                return outcome
            raise outcome
        raise exchange.too_slow()

    def _client_for(self, profile: Profile) -> httpx.AsyncClient:
        outside = not profile.on_loopback
        if outside not in self._clients:
            self._clients[outside] = httpx.AsyncClient(
                transport=self._given,
                trust_env=outside,
                follow_redirects=False,
                limits=httpx.Limits(
                    max_connections=None,
                    max_keepalive_connections=32,
                    keepalive_expiry=_KEEP_ALIVE,
                ),
                headers={"user-agent": "mai-image", "accept-encoding": "identity"},
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            )
        return self._clients[outside]


class _Exchange:
    """One request and its answer, watching how far the request got.

    httpcore reports when the last byte of the body was handed over. Before that the service can't
    have a whole request, so nothing was begun; from then on it may have one.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        request: HttpRequest,
        profile: Profile,
        headers: Headers,
    ) -> None:
        self._client = client
        self._profile = profile
        self._echoes = Redactor(value.split()[-1] for value in headers.values() if value.split())
        self._sent = False
        self._request = self._build(request)
        self._request.headers.update(headers)

    def _build(self, request: HttpRequest) -> httpx.Request:
        content: dict[str, Any] = {}
        if request.json is not None:
            content["json"] = request.json
        elif request.files:
            content["data"] = dict(request.fields)
            content["files"] = [
                (part.field_name, (part.file_name, part.data, part.media_type))
                for part in request.files
            ]
        return self._client.build_request(
            request.method,
            request.url,
            headers=dict(request.headers),
            timeout=httpx.Timeout(self._profile.timeout, connect=self._profile.connect_timeout),
            extensions={"trace": self._trace},
            **content,
        )

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith("send_request_body.complete"):
            self._sent = True

    async def run(self) -> HttpAnswer | Exception:
        """The answer, or NotSentError, or an error of the tree once the request was sent.

        The error is returned, not raised where it is met: chained to it would be the frames of
        httpx and h11, which hold the request's headers and what the server said.
        """
        started = time.monotonic()
        with kept_out_of_logs(self._echoes):
            try:
                response = await self._client.send(self._request, stream=True)
                self._sent = True
                try:
                    encoding = response.headers.get("content-encoding", "")
                    body = await bodies.read(response.aiter_raw(), encoding, MAX_ANSWER_BYTES)
                finally:
                    await response.aclose()
            except _NO_CONNECTION as error:
                return NotSentError(self._reason(error))
            except httpx.TimeoutException:
                return self.too_slow()
            except (httpx.TransportError, ssl.SSLError, OSError) as error:
                return self._lost(error)
            except httpx.InvalidURL:  # httpx reads a Location even where it doesn't follow it
                return _unusable(None, "redirects to an address that can't be read")
        if isinstance(body, str):
            return _unusable(response.status_code, body)
        return self._answer(response, body, time.monotonic() - started)

    def _answer(self, response: httpx.Response, body: bytes, seconds: float) -> HttpAnswer:
        """What came, without the profile's secrets should the server echo them."""
        status, clean = response.status_code, self._echoes.out_of
        headers = {clean(name.lower()): clean(value) for name, value in response.headers.items()}
        body = self._echoes.out_of_body(body, image=status == 200)
        return HttpAnswer(status, headers, body, seconds)

    def _lost(self, error: Exception) -> Exception:
        if not self._sent:
            return NotSentError(self._reason(error))
        return ConnectionLostError(
            f"The connection to {self._profile.endpoint} broke after the request was sent "
            f"({self._reason(error)}).",
            "Queue again if you accept that this image may be paid for twice.",
        )

    def _reason(self, error: BaseException) -> str:
        return self._echoes.out_of(str(error).strip())[:200] or type(error).__name__

    def too_slow(self) -> ServiceError:
        """The error for a call that passed its time."""
        return CallTimeoutError(
            f"No whole answer within {self._profile.timeout:g} s from {self._profile.endpoint}.",
            "Queue again if you accept that this image may be paid for twice; a longer `timeout` "
            "can be set in the profile."
            if self._sent
            else "The request could not even be sent whole: check the network, then queue again.",
            billed=Billed.PERHAPS if self._sent else Billed.NO,
        )


async def _pause(seconds: float, reason: str, caller: Caller) -> None:
    await caller.retrying(seconds, reason)
    logger.info("%s; trying again in %.1f s", reason, seconds)
    await asyncio.sleep(seconds)


def _unusable(status: int | None, what: str) -> AnswerError:
    return AnswerError(
        f"The service's answer {what}.",
        "Check that the endpoint is the MAI service itself and that no proxy changes its answers.",
        status=status,
    )


def _unreachable(profile: Profile, error: NotSentError) -> ServiceError:
    return ConnectError(
        f"No connection to {profile.endpoint} after {MAX_REPEATS + 1} tries ({error}).",
        "Check the endpoint's spelling, the network and the proxy settings; `mai-image doctor` "
        "names the first thing that is wrong. Nothing was billed.",
    )


def _media_refused(url: str) -> PendingError:
    return PendingError(
        f"The image is ready, but lies {describe_host(url)}, from which nothing is fetched.",
        "If that host is the gateway's, add it to media_hosts in the profile.",
    )


async def resolve(host: str) -> str:
    """The first address of a host name, as the system resolves it. OSError: it can't be."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None)
    return str(found[0][4][0])
