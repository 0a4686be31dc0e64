"""One HTTP exchange. This is the only file that opens a connection.

It sends a request once and reads its answer within limits of time and size. Whether a request may
be sent again is not decided here: `NotSentError` says that the service can't have a whole request,
every ServiceError says whether the call was perhaps billed.
"""

from __future__ import annotations

import asyncio
import ssl
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import chain
from typing import Any, Protocol

import httpx

from ..auth import (
    Headers,
    Network,
    certificate_folder_mistake,
    redacted_loggers,
    setting_mistakes,
    unusable_settings,
)
from ..disk import Executors
from ..errors import (
    AnswerError,
    Billed,
    CallTimeoutError,
    ConnectionLostError,
    ProfileError,
    ServiceError,
)
from .failures import describe_failure
from .messages import HttpAnswer, HttpRequest
from .redaction import Redactor

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A 2048 x 2048 PNG of noise is 12.6 MB, 16.8 MB in base64; anything near this is no image."""

LONGEST_ON_LOOP = 4096
"""Bytes of an answer that are searched for secrets in the event loop; more is searched in a thread,
so that no answer keeps the other calls waiting."""

_KEEP_ALIVE = 30.0
"""Seconds. Shorter than the idle timeouts of Azure's front ends: no dead connection is reused."""

LOOK = 0.05
"""Seconds between looks at an answer that is overdue."""

QUIET_LOOKS = 10
"""So many looks in a row without data end a call: half a second, which is a few round trips."""

STEADY_BYTES = 8192
"""Bytes between two looks that are data out of a buffer; a server that drips sends fewer."""

SHORTEST_EXTRA, LONGEST_EXTRA = 1.0, 10.0
"""Seconds after its timeout at which a call ends even if data still comes: as many as the timeout
has, within these."""

_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)
"""They record an answer's status line and headers."""

_GZIP_OR_ZLIB = 47
"""zlib's window bits for both formats, told apart by their headers."""


class NotSentError(Exception):
    """The request did not leave this machine whole; the service can't have begun it."""


class Target(Protocol):
    """Where a request goes and how long it may take, in seconds. A profile is one.

    `endpoint` is the address below which the credential may be sent; `name` stands for it in every
    error, where no host or address is named. `network` is its own proxy and certificates.
    """

    @property
    def name(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def timeout(self) -> float: ...
    @property
    def connect_timeout(self) -> float: ...
    @property
    def on_loopback(self) -> bool: ...
    @property
    def network(self) -> Network: ...


class Transport:
    """The kept httpx clients. They belong to the event loop in which they are first used.

    Proxies of the environment are used, but never for addresses on this machine; a target's own
    comes before them. `http` replaces httpx's own transport, for tests.
    """

    def __init__(self, http: httpx.AsyncBaseTransport | None = None) -> None:
        self._http = http
        self._clients: dict[tuple[bool, Network], httpx.AsyncClient] = {}
        self._executors = Executors()

    async def close(self) -> None:
        """Close every connection."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()
        self._executors.close()

    def prepare(self, target: Target) -> None:
        """Make what a call to this target needs on this machine; nothing is sent.

        ConfigurationError: a proxy or a certificate file of the environment or of the target can't
        be used.
        """
        wanted = (target.on_loopback, target.network)
        if wanted in self._clients:
            return
        if (own := target.network.mistake(target.name)) is not None:
            raise own
        if not target.on_loopback and (mistake := certificate_folder_mistake()) is not None:
            raise mistake
        try:
            self._clients[wanted] = self._make_client(*wanted)
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
            socks = isinstance(error, ImportError)
            problem = target.network.mistake(target.name, socks=socks) or unusable_settings(error)
        else:
            return
        raise problem  # not chained: what httpx says may quote a proxy's password

    async def exchange(self, request: HttpRequest, headers: Headers, target: Target) -> HttpAnswer:
        """Send a request once, with the credential's headers, and read its whole answer.

        NotSentError: the service can't have it. ServiceError: no usable answer came. ProfileError:
        the credential would go to another address than the target's endpoint. ConfigurationError:
        see `prepare`.
        """
        if headers and not request.url.startswith(f"{target.endpoint}/"):
            raise ProfileError("A key is sent to no other address than its profile's endpoint.")
        self.prepare(target)
        client = self._clients[target.on_loopback, target.network]
        exchange = _Exchange(client, request, headers, target)
        answer = await exchange.within(target.timeout)
        if not isinstance(answer, HttpAnswer):
            raise answer
        headers_length = sum(len(name) + len(value) for name, value in answer.headers.items())
        if headers_length + len(answer.body) <= LONGEST_ON_LOOP:
            return exchange.redacted(answer)
        return await self._executors.uninterrupted(partial(exchange.redacted, answer))

    def _make_client(self, on_loopback: bool, network: Network) -> httpx.AsyncClient:
        address, tls = network.proxy_address, _tls_context(on_loopback, network)
        return httpx.AsyncClient(
            transport=self._http,
            trust_env=not on_loopback and network.proxy is None,
            proxy=None if address is None else _proxy(address, tls),
            verify=tls,
            follow_redirects=False,
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=32,
                keepalive_expiry=_KEEP_ALIVE,
            ),
            headers={"user-agent": "mai-image", "accept-encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )


def _proxy(address: str, tls: ssl.SSLContext) -> httpx.Proxy:
    """A proxy; one that is called by https is trusted like the service."""
    return httpx.Proxy(address, ssl_context=tls if address[:6].lower() == "https:" else None)


def _tls_context(on_loopback: bool, network: Network) -> ssl.SSLContext:
    """Whom to trust, and as whom to come: SSL_CERT_FILE or the usual authorities, and the
    target's own. On this machine a file that can't be read stops nothing: most isn't https."""
    try:
        context = httpx.create_ssl_context()
    except (OSError, ValueError):
        if not on_loopback:
            raise
        context = httpx.create_ssl_context(trust_env=False)
    if network.ca_file is not None:
        context.load_verify_locations(cafile=network.ca_file)
    if network.client_certificate is not None:
        context.load_cert_chain(network.client_certificate, password=lambda: b"")
    return context


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
        urls = [httpx.URL(target.endpoint), httpx.URL(request.url)]
        self._redactor = Redactor(
            chain(headers.values(), target.network.secrets),  # in no variable that a report shows
            # The hosts, with the port and without, as a server may quote them.
            [name for url in urls for name in (url.netloc.decode("ascii"), url.host) if name],
        )
        self._sent = False
        self._response: httpx.Response | None = None
        self._request = client.build_request(
            request.method,
            request.url,
            headers=dict(request.headers),
            # Only `within` ends a call that is out: httpx gives up with the answer in its socket.
            timeout=httpx.Timeout(None, connect=target.connect_timeout),
            extensions={"trace": self._trace},
            json=request.json,
            data=request.fields,
            files=[
                (file.field_name, (file.file_name, file.data, file.media_type))
                for file in request.files
            ],
        )
        self._request.headers.update(headers)

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith("send_request_body.complete"):
            self._sent = True

    @property
    def _received(self) -> int:
        """Bytes of the answer's body so far."""
        return self._response.num_bytes_downloaded if self._response is not None else 0

    async def within(self, seconds: float) -> HttpAnswer | Exception:
        """The outcome of `_run`, or a CallTimeoutError.

        A process that was stopped (a suspended laptop) finds its time over when it goes on, with
        the answer in its socket: what is there is read before the timeout is believed.
        """
        task = asyncio.ensure_future(self._run())
        try:
            _, overdue = await asyncio.wait({task}, timeout=seconds)
            if overdue:
                extra = max(SHORTEST_EXTRA, min(seconds, LONGEST_EXTRA))
                await self._read_what_is_there(task, extra)
        except asyncio.CancelledError:
            if not task.done():
                raise
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        return self._timed_out() if task.cancelled() else task.result()

    async def _read_what_is_there(
        self, task: asyncio.Task[HttpAnswer | Exception], extra: float
    ) -> None:
        """Go on for as long as data comes as fast as out of a buffer, at most `extra` seconds.

        Looks are counted, not only seconds: the process may be stopped here too.
        """
        quiet, ends = 0, time.monotonic() + extra
        while not task.done() and quiet < QUIET_LOOKS:
            before = self._received
            await asyncio.wait({task}, timeout=LOOK)
            steady = self._received - before >= STEADY_BYTES and time.monotonic() < ends
            quiet = 0 if steady else quiet + 1

    async def _run(self) -> HttpAnswer | Exception:
        """The answer as it came, or NotSentError, or a ServiceError once the request was sent.

        The error is returned, not raised where it is met: chained to it would be the frames of
        httpx and h11, which hold the request's headers and what the server said.
        """
        started = time.monotonic()
        with redacted_loggers(_LOGGERS, self._redactor.text):
            try:
                response = self._response = await self._client.send(self._request, stream=True)
                self._sent = True
                try:
                    encoding = response.headers.get("content-encoding", "")
                    body = await _read(response.aiter_raw(), encoding.strip().lower())
                finally:
                    await response.aclose()
            except _NO_CONNECTION as error:
                return NotSentError(describe_failure(error))
            except (httpx.TransportError, ssl.SSLError, OSError) as error:
                return self._lost(error)
            except httpx.InvalidURL:  # httpx reads a Location even where it doesn't follow it
                return _unusable(None, "redirects to an address that can't be read")
            except Exception as error:  # noqa: BLE001  a proxy's port, say, that no socket takes
                return self._unexpected(error)
        if isinstance(body, str):
            return _unusable(response.status_code, body)
        named = {name.lower(): value for name, value in response.headers.items()}
        seconds = time.monotonic() - started
        return HttpAnswer(response.status_code, named, body, seconds, self._redactor)

    def redacted(self, answer: HttpAnswer) -> HttpAnswer:
        """The answer without the request's secrets."""
        clean = self._redactor.text
        headers = {clean(name): clean(value) for name, value in answer.headers.items()}
        return replace(answer, headers=headers, body=self._redactor.body(answer.body))

    def _lost(self, error: Exception) -> Exception:
        if not self._sent:
            return NotSentError(describe_failure(error))
        return ConnectionLostError(
            f"The connection to the endpoint of profile {self._target.name!r} broke after the "
            f"request was sent ({describe_failure(error)}).",
            "Check the network.",
        )

    def _unexpected(self, error: Exception) -> Exception:
        """The error for what httpx doesn't name: before anything is sent, mostly a setting."""
        if not self._sent and not self._target.on_loopback and any(setting_mistakes()):
            return unusable_settings(error)
        return self._lost(error)

    def _timed_out(self) -> ServiceError:
        """The error for a call that took longer than its target's timeout."""
        arrived = f"; {self._received:,} bytes of it had arrived" if self._received else ""
        return CallTimeoutError(
            f"No whole answer from the endpoint of profile {self._target.name!r} within "
            f"{self._target.timeout:g} s{arrived}.",
            "A longer `timeout` can be set in the profile."
            if self._sent
            else "The request could not even be sent whole: check the network, then queue again.",
            billed=Billed.PERHAPS if self._sent else Billed.NO,
        )


async def _read(chunks: AsyncIterator[bytes], encoding: str) -> bytes | str:
    """The whole body, at most MAX_ANSWER_BYTES; or what is wrong with it, to end a sentence.

    `encoding` is the answer's Content-Encoding. None is asked for, but a proxy may compress an
    answer that is paid for.
    """
    if encoding in ("gzip", "x-gzip", "deflate"):
        return await _read_compressed(chunks)
    if encoding not in ("", "identity"):
        return "is compressed in a way that was not asked for (its Content-Encoding)"
    received = bytearray()
    async for chunk in chunks:
        received += chunk
        if len(received) > MAX_ANSWER_BYTES:
            return _too_large()
    return bytes(received)


async def _read_compressed(chunks: AsyncIterator[bytes]) -> bytes | str:
    """A body out of its compression, up to the end of the first compressed stream.

    It is decompressed step by step, so that a few kilobytes never become gigabytes in memory. What
    comes after the stream's end is not read: it belongs to no image, and may have no end.
    """
    received, start, raw = bytearray(), b"", 0
    decompressor = None
    async for chunk in chunks:
        raw += len(chunk)
        if decompressor is None:
            start += chunk
            if len(start) < 2:
                continue
            chunk, decompressor = start, zlib.decompressobj(_window_bits(start))
        try:
            received += decompressor.decompress(chunk, MAX_ANSWER_BYTES - len(received) + 1)
        except zlib.error:
            return "can't be decompressed"
        if max(len(received), raw) > MAX_ANSWER_BYTES:
            return _too_large()
        if decompressor.eof:
            return bytes(received)
    return "ends before it can be decompressed whole" if raw else b""


def _too_large() -> str:
    return f"is larger than {MAX_ANSWER_BYTES // 2**20} MiB; the rest was not read"


def _window_bits(start: bytes) -> int:
    """zlib's argument for a stream that begins so: gzip (RFC 1952), zlib (RFC 1950), or deflate
    without a header, which some servers send as "deflate"."""
    is_zlib = start[0] & 15 == zlib.DEFLATED and int.from_bytes(start[:2], "big") % 31 == 0
    return _GZIP_OR_ZLIB if is_zlib or start[:2] == b"\x1f\x8b" else -zlib.MAX_WBITS


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
