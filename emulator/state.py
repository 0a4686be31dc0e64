"""What the handlers of one emulator share."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from .access import Access
from .directives import Edits, parse_edits, parse_job
from .faults import Faults
from .job_words import JobWords
from .jobs import Jobs
from .limits import Limits
from .options import Options
from .record import Entry, Log

Done = TypeVar("Done")

MAX_PUBLISHED = 32
"""Images that are kept for the `url` variant of an answer."""


class State:
    """One emulator's options, credentials, counters, faults, log and workers."""

    def __init__(self, options: Options, clock: Callable[[], float] = time.monotonic) -> None:
        self.options = options
        self.access = Access(options, clock)
        self.limits = Limits(options, clock)
        self.faults = Faults(options.fault)
        self.token_faults = Faults(options.token_fault)
        self.edits: Edits = parse_edits(options.edits) or Edits()
        self.job: JobWords | None = parse_job(options.job)
        self.jobs = Jobs(options, clock)
        self.latency = options.latency
        self.log = Log()
        self._published: OrderedDict[str, bytes] = OrderedDict()
        self._workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="mai-emulator")

    async def work(self, task: Callable[[], Done]) -> Done:
        """Run what takes long (decoding, painting) beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, task)

    def publish(self, name: str, image: bytes) -> None:
        """Keep an image for GET /emulator/images/NAME."""
        self._published[name] = image
        while len(self._published) > MAX_PUBLISHED:
            self._published.popitem(last=False)

    def published(self, name: str) -> bytes | None:
        """An image that was published, None where it isn't kept."""
        return self._published.get(name)

    def close(self) -> None:
        """End the workers."""
        self._workers.shutdown(wait=False, cancel_futures=True)


@dataclass
class Exchange:
    """One request's line in the log, and headers that its answer gets, whatever it is."""

    entry: Entry
    headers: dict[str, str] = field(default_factory=dict)


STATE = web.AppKey("state", State)

# aiohttp 3.14 wants such keys; the versions that ComfyUI ships may lack them.
_EXCHANGE: Any = (
    web.RequestKey("exchange", Exchange) if hasattr(web, "RequestKey") else "emulator exchange"
)


def state_of(request: web.Request) -> State:
    """The emulator that a request is for."""
    return request.app[STATE]


def begin(request: web.Request, entry: Entry) -> None:
    """Tie a request to its line in the log."""
    request[_EXCHANGE] = Exchange(entry)


def exchange_of(request: web.Request) -> Exchange | None:
    """What `begin` made; the control endpoints have none."""
    exchange = request.get(_EXCHANGE)
    return exchange if isinstance(exchange, Exchange) else None


def entry_of(request: web.Request) -> Entry:
    """The line in the log of a request that has one. Raises LookupError for another."""
    exchange = exchange_of(request)
    if exchange is None:
        raise LookupError(f"{request.path} is not logged")
    return exchange.entry


def add_headers(request: web.Request, headers: Mapping[str, str]) -> None:
    """Give a request's answer these headers."""
    exchange = exchange_of(request)
    if exchange is not None:
        exchange.headers.update(headers)
