"""Answers, and putting them on the wire: complete, slowly, in part, or not at all."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate

from aiohttp import web

from .directives import Fault
from .refusals import Refusal

logger = logging.getLogger(__name__)

JSON = "application/json"
HTML = "text/html; charset=utf-8"
PAGE = (
    b"<!DOCTYPE html><html><body><h1>Bad gateway</h1><p>The emulator was asked.</p></body></html>"
)
GARBAGE = bytes((index * 151 + 17) % 256 for index in range(4096))

DRIP_STEP = 0.05
"""Seconds between two pieces of a slow body."""

_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""Winsock's linger holds two shorts, elsewhere two ints: on, and 0 s, which makes close a reset."""

Envelope = Callable[[Refusal], object]
"""The JSON that a service sends for an error."""


@dataclass(frozen=True)
class Answer:
    """What is sent. `headers` are besides Content-Type and Content-Length; `fault` says how."""

    status: int
    body: bytes = field(repr=False)
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None


def json_answer(status: int, value: object, fault: Fault | None = None) -> Answer:
    """A JSON answer, or what the fault's `answer=` makes of any JSON."""
    broken = fault.answer if fault else None
    if broken == "html":
        return Answer(status, PAGE, HTML, fault=fault)
    body = json.dumps([value] if broken == "list" else value).encode("ascii")
    if broken == "garbage":
        body = GARBAGE
    elif broken == "empty-body":
        body = b""
    elif broken == "cut-json":
        body = body[: len(body) * 3 // 4]
    return Answer(status, body, fault=fault)


def error_answer(refused: Refusal, envelope: Envelope) -> Answer:
    """An error in a service's envelope, or with the body that its fault asks for."""
    body, content_type = json.dumps(envelope(refused)).encode("ascii"), JSON
    wanted = refused.fault.body if refused.fault else "envelope"
    if wanted == "html":
        body, content_type = PAGE, HTML
    elif wanted != "envelope":
        body = GARBAGE if wanted == "garbage" else b""
    return Answer(refused.status, body, content_type, refused.headers, refused.fault)


async def send(
    http: web.Request, answer: Answer, headers: Mapping[str, str]
) -> tuple[web.StreamResponse, bool]:
    """Send an answer as its fault wants it; the response, and whether all of it was sent."""
    fault = answer.fault or Fault()
    response = web.StreamResponse(
        status=answer.status, headers={**headers, **_headers(answer, fault)}
    )
    if fault.reset == "answer":
        reset(http)
        return response, False
    total = len(answer.body)
    end = total if fault.cut is None else fault.cut.end(total)
    end = total // 2 if fault.reset == "middle" else end
    try:
        response.content_length = total
        await response.prepare(http)
        await _write(response, memoryview(answer.body)[:end], fault.drip)
        if end == total and fault.reset is None and fault.cut is None:
            await response.write_eof()
            return response, True
    except ConnectionError:
        logger.debug("The client was gone before the answer was sent.")
        return response, False
    if fault.reset is not None:
        reset(http)
    elif http.transport is not None:
        http.transport.close()
    return response, False


def reset(http: web.Request) -> None:
    """Break the connection so that the client sees "connection reset by peer"."""
    if http.transport is None:
        return
    connection = http.transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    http.transport.abort()


def _headers(answer: Answer, fault: Fault) -> dict[str, str]:
    headers = {**answer.headers, "Content-Type": answer.content_type}
    if fault.retry_after is not None:
        headers["retry-after"] = f"{fault.retry_after:g}"
    if fault.retry_after_date is not None:
        date = math.ceil(time.time() + fault.retry_after_date)
        headers["retry-after"] = formatdate(date, usegmt=True)
    if fault.limit_requests is not None:
        headers["x-ratelimit-limit-requests"] = f"{fault.limit_requests:g}"
    if fault.location is not None:
        headers["location"] = fault.location
    return headers


async def _write(response: web.StreamResponse, body: memoryview, drip: float | None) -> None:
    step = len(body) if drip is None else int(drip * DRIP_STEP)
    step = max(1, step)
    for start in range(0, len(body), step):
        await response.write(bytes(body[start : start + step]))
        if drip is not None:
            await asyncio.sleep(step / drip)
