"""Putting an answer on the wire: whole, slowly, in part, or not at all."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
import time

from aiohttp import web

from .answers import Answer
from .directives import Fault
from .limits import http_date

log = logging.getLogger(__name__)

DRIP_STEP = 0.05
"""Seconds between two pieces of a slow body."""

_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""Winsock's linger holds two shorts, elsewhere two ints: on, and 0 s, which makes close a reset."""


async def send(
    request: web.Request, answer: Answer, fault: Fault | None
) -> tuple[web.StreamResponse, bool]:
    """Send an answer as the fault wants it; the response, and whether all of it went out."""
    wanted = fault or Fault()
    response = web.StreamResponse(status=answer.status, headers=_headers(answer, wanted))
    if wanted.reset == "answer":
        reset(request)
        return response, False
    end = _end(wanted, len(answer.body))
    try:
        response.content_length = len(answer.body)
        await response.prepare(request)
        await _write(response, memoryview(answer.body)[:end], wanted.drip)
        if end == len(answer.body) and wanted.reset is None and wanted.cut is None:
            await response.write_eof()
            return response, True
    except ConnectionError:
        log.debug("The client was gone before the answer was out.")
        return response, False
    if wanted.reset is None:
        _close(request)
    else:
        reset(request)
    return response, False


def reset(request: web.Request) -> None:
    """Break the connection so that the client sees "connection reset by peer"."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    transport.abort()


def _close(request: web.Request) -> None:
    """End the connection after what has been written."""
    if request.transport is not None:
        request.transport.close()


def _headers(answer: Answer, fault: Fault) -> dict[str, str]:
    headers = {**answer.headers, "Content-Type": answer.content_type}
    if fault.retry_after is not None:
        headers["retry-after"] = f"{fault.retry_after:g}"
    if fault.retry_after_date is not None:
        headers["retry-after"] = http_date(fault.retry_after_date, time.time())
    if fault.location is not None:
        headers["location"] = fault.location
    return headers


def _end(fault: Fault, total: int) -> int:
    if fault.reset == "middle":
        return total // 2
    return total if fault.cut is None else fault.cut.at(total)


async def _write(response: web.StreamResponse, body: memoryview, drip: float | None) -> None:
    step = len(body) if drip is None else max(1, int(drip * DRIP_STEP))
    for start in range(0, len(body), max(1, step)):
        await response.write(bytes(body[start : start + step]))
        if drip is not None:
            await asyncio.sleep(step / drip)
