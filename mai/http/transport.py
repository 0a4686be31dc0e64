"""One HTTP exchange. This is the only file that opens a connection.

It sends a request once and reads its answer within limits of time and size. Whether a request may
be sent again is not decided here: `NotSentError` says that the service can't have a whole request,
every ServiceError says whether the call was perhaps billed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import zlib
from collections.abc import AsyncIterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Protocol

import httpx

from ..auth import Headers
from ..errors import (
    AnswerError,
    Billed,
    CallTimeoutError,
    ConnectionLostError,
    ProfileError,
    ServiceError,
)
from .messages import HttpAnswer, HttpRequest
from .redaction import Redactor, redacted_logs

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A 2048 x 2048 PNG of noise is 12.6 MB, 16.8 MB in base64; anything near this is no image."""

_KEEP_ALIVE = 30.0
"""Seconds. Shorter than the idle timeouts of Azure's front ends: no dead connection is reused."""

_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

_GZIP_OR_ZLIB = 47
"""zlib's window bits for both formats, told apart by their headers."""


class NotSentError(Exception):
    """The request did not leave this machine whole; the service can't have begun it."""


class Target(Protocol):
    """Where a request goes and how long it may take, in seconds. A profile is one.

    `endpoint` is the address below which the credential may be sent.
    """

    @property
    def endpoint(self) -> str: ...
    @property
    def timeout(self) -> float: ...
    @property
    def connect_timeout(self) -> float: ...
    @property
    def on_loopback(self) -> bool: ...


class Transport:
    """The kept httpx clients. They belong to the event loop in which they are first used.

    Proxies of the environment are used, but never for addresses on this machine. `http` replaces
    httpx's own transport, for tests.
    """

    def __init__(self, http: httpx.AsyncBaseTransport | None = None) -> None:
        self._http = http
        self._clients: dict[bool, httpx.AsyncClient] = {}

    async def close(self) -> None:
        """Close every connection."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()

    def prepare(self, target: Target) -> None:
        """Make the client for a target."""
        self._client_for(target)

    async def exchange(self, request: HttpRequest, headers: Headers, target: Target) -> HttpAnswer:
        """Send a request once, with the credential's headers, and read its whole answer.

        NotSentError: the service can't have it. ServiceError: no usable answer came. ProfileError:
        the credential would go to another address than the target's endpoint.
        """
        if headers and not request.url.startswith(f"{target.endpoint}/"):
            raise ProfileError("A key is sent to no other address than its profile's endpoint.")
        exchange = _Exchange(self._client_for(target), request, headers, target)
        with contextlib.suppress(asyncio.TimeoutError):
            outcome = await asyncio.wait_for(exchange.run(), target.timeout)
            if isinstance(outcome, HttpAnswer):
                return outcome
            raise outcome
        raise exchange.timed_out()

    def _client_for(self, target: Target) -> httpx.AsyncClient:
        use_proxies = not target.on_loopback
        if use_proxies not in self._clients:
            self._clients[use_proxies] = httpx.AsyncClient(
                transport=self._http,
                trust_env=use_proxies,
                follow_redirects=False,
                limits=httpx.Limits(
                    max_connections=None,
                    max_keepalive_connections=32,
                    keepalive_expiry=_KEEP_ALIVE,
                ),
                headers={"user-agent": "mai-image", "accept-encoding": "identity"},
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            )
        return self._clients[use_proxies]


class _Exchange:
    """One request and its answer, watching how far the request got.

    httpcore reports when the last byte of the body was handed over. Before that the service can't
    have a whole request, so nothing was begun; from then on it may have one.
    """

    def __init__(
        self, client: httpx.AsyncClient, request: HttpRequest, headers: Headers, target: Target
    ) -> None:
        self._client = client
        self._target = target
        self._redactor = Redactor(headers.values())
        self._sent = False
        self._request = client.build_request(
            request.method,
            request.url,
            headers=dict(request.headers),
            timeout=httpx.Timeout(target.timeout, connect=target.connect_timeout),
            extensions={"trace": self._trace},
            **_content(request),
        )
        self._request.headers.update(headers)

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith("send_request_body.complete"):
            self._sent = True

    async def run(self) -> HttpAnswer | Exception:
        """The answer, or NotSentError, or a ServiceError once the request was sent.

        The error is returned, not raised where it is met: chained to it would be the frames of
        httpx and h11, which hold the request's headers and what the server said.
        """
        started = time.monotonic()
        with redacted_logs(self._redactor):
            try:
                response = await self._client.send(self._request, stream=True)
                self._sent = True
                try:
                    encoding = response.headers.get("content-encoding", "")
                    body = await _read(response.aiter_raw(), encoding.strip().lower())
                finally:
                    await response.aclose()
            except _NO_CONNECTION as error:
                return NotSentError(self._reason(error))
            except httpx.TimeoutException:
                return self.timed_out()
            except (httpx.TransportError, ssl.SSLError, OSError) as error:
                return self._lost(error)
            except httpx.InvalidURL:  # httpx reads a Location even where it doesn't follow it
                return _unusable(None, "redirects to an address that can't be read")
        if isinstance(body, str):
            return _unusable(response.status_code, body)
        clean = self._redactor.text
        named = {clean(name.lower()): clean(value) for name, value in response.headers.items()}
        seconds = time.monotonic() - started
        return HttpAnswer(response.status_code, named, self._redactor.body(body), seconds)

    def _lost(self, error: Exception) -> Exception:
        if not self._sent:
            return NotSentError(self._reason(error))
        return ConnectionLostError(
            f"The connection to {self._target.endpoint} broke after the request was sent "
            f"({self._reason(error)}).",
            "Queue again if you accept that this image may be paid for twice.",
        )

    def _reason(self, error: BaseException) -> str:
        return self._redactor.text(str(error).strip())[:200] or type(error).__name__

    def timed_out(self) -> ServiceError:
        """The error for a call that took longer than its target's timeout."""
        return CallTimeoutError(
            f"No whole answer within {self._target.timeout:g} s from {self._target.endpoint}.",
            "Queue again if you accept that this image may be paid for twice; a longer `timeout` "
            "can be set in the profile."
            if self._sent
            else "The request could not even be sent whole: check the network, then queue again.",
            billed=Billed.PERHAPS if self._sent else Billed.NO,
        )


def _content(request: HttpRequest) -> dict[str, Any]:
    """The body of a request, as httpx takes it."""
    if request.json is not None:
        return {"json": request.json}
    if not request.files:
        return {}
    files = [
        (file.field_name, (file.file_name, file.data, file.media_type)) for file in request.files
    ]
    return {"data": dict(request.fields), "files": files}


async def _read(chunks: AsyncIterator[bytes], encoding: str) -> bytes | str:
    """The whole body, at most MAX_ANSWER_BYTES; or what is wrong with it, to end a sentence.

    `encoding` is the answer's Content-Encoding. None is asked for, but a proxy may compress an
    answer that is paid for: gzip and deflate are decompressed step by step, so that a few
    kilobytes never become gigabytes in memory.
    """
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        return "is compressed in a way that was not asked for (its Content-Encoding)"
    decompressor = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding not in ("", "identity") else None
    received = bytearray()
    async for chunk in chunks:
        if decompressor is not None:
            try:
                chunk = decompressor.decompress(chunk, MAX_ANSWER_BYTES - len(received) + 1)
            except zlib.error:
                return "can't be decompressed"
        received += chunk
        if len(received) > MAX_ANSWER_BYTES:
            return f"is larger than {MAX_ANSWER_BYTES // 2**20} MiB; the rest was not read"
    if decompressor is not None and received and not decompressor.eof:
        return "ends before it can be decompressed whole"
    return bytes(received)


def _unusable(status: int | None, what: str) -> AnswerError:
    return AnswerError(
        f"The service's answer {what}.",
        "Check that the endpoint is the MAI service itself and that no proxy changes its answers.",
        status=status,
    )


async def resolve(host: str) -> str:
    """The first address of a host name, as the system resolves it. OSError: it can't be."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None)
    return str(found[0][4][0])
