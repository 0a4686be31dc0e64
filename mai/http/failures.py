"""Why a connection failed, in words of this package.

What libraries say of it names hosts, addresses and ports, and quotes what a server sent. A node's
error is kept in ComfyUI's history and pasted into reports: only fixed words go there.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterator

_DEEPEST = 16
"""Errors below each other that are looked at."""

_ANOTHER_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH: only their texts name a host."""

_BY_KIND = {
    "ConnectTimeout": "no connection in time",
    "PoolTimeout": "no free connection in time",
    "TimeoutException": "no answer in time",
    "RemoteProtocolError": "the connection ended early, or what came isn't HTTP",
    "LocalProtocolError": "the request isn't valid HTTP",
    "ReadError": "the connection was closed or reset",
    "WriteError": "the connection was closed or reset",
    "ConnectError": "no connection could be made",
    "UnsupportedProtocol": "an address of a kind that isn't supported",
}
"""httpx's classes by their names: only the transport imports a library that connects."""


def describe_failure(error: BaseException) -> str:
    """Why a connection failed, to stand in brackets: no host, address, port or server's text."""
    if "ProxyError" in _kinds(error):
        return _describe_proxy(str(error))
    causes = list(_chain(error))
    for cause in causes:
        if "gaierror" in _kinds(cause):
            return "the name can't be resolved"
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {_describe_tls(cause)}"
    for cause in causes:
        number = cause.errno if isinstance(cause, OSError) else None
        if number is not None and number in errno.errorcode:
            return os.strerror(number).lower()
    return next((_BY_KIND[kind] for kind in _kinds(error) if kind in _BY_KIND), _kinds(error)[0])


def _kinds(error: BaseException) -> list[str]:
    """The names of an error's class and of those that it is made of."""
    return [kind.__name__ for kind in type(error).__mro__]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on; asyncio joins several addresses' in a group."""
    waiting, seen = [error], 0
    while waiting and seen < _DEEPEST:
        one = waiting.pop(0)
        yield one
        seen += 1
        waiting += [each for each in (one.__cause__, one.__context__) if each is not None]
        waiting += [each for each in getattr(one, "exceptions", ()) if each is not None]


def _describe_tls(error: ssl.SSLError) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return (error.reason or "the handshake failed").replace("_", " ").lower()
    if error.verify_code in _ANOTHER_NAME:
        return "the certificate is for another name"
    return f"the certificate isn't trusted ({error.verify_message})"


def _describe_proxy(text: str) -> str:
    """httpx gives a proxy's refusal as its status and its words; only the status is ours to say."""
    status = text[:3]
    said = f" (HTTP {status})" if len(status) == 3 and status.isdecimal() else ""
    return f"the proxy makes no connection{said}"
