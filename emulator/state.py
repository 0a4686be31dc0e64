"""What the handlers of one emulator share, and one request from its line in the log to its image.

A handler (in foundry.py, pixazo.py, fal.py, openrouter.py, entra.py) gets a `ServedRequest` and
returns an Answer, or raises a Refusal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from aiohttp import web
from PIL import Image

from ..mai.models import Model
from .access import Access
from .answers import reset
from .azure_account import AzureAccount
from .directives import (
    DirectiveError,
    Directives,
    EditChanges,
    Fault,
    FaultCounts,
    JobDirective,
    parse_changes,
    parse_fault,
    parse_job,
    parse_latency,
    parse_prompt,
)
from .jobs import GatewayJob
from .limits import RateLimits
from .options import Options
from .painting import paint
from .record import LoggedFile, RequestLog
from .refusals import bad_directive, refusal_of_fault
from .requests import ImageRequest, Tokens, Upload, aspect_of, output_pixels, size_for

Done = TypeVar("Done")
Kept = TypeVar("Kept")

CLIENT_REQUEST_ID = "x-ms-client-request-id"

MAX_PUBLISHED = 32
"""Images that are kept for `answer=url`."""

MAX_JOBS = 256
"""Jobs of the gateway that are kept, with their images."""


def keep_newest(values: dict[str, Kept], name: str, value: Kept, most: int) -> None:
    """Keep a value, and forget the oldest one where there are too many."""
    values[name] = value
    if len(values) > most:
        del values[next(iter(values))]


class State:
    """One emulator's options, credentials, counters, faults, log, jobs and workers."""

    def __init__(self, options: Options, clock: Callable[[], float] = time.monotonic) -> None:
        self.options = options
        self.clock = clock
        self.access = Access(options, clock)
        self.limits = RateLimits(options, clock)
        self.log = RequestLog()
        self.fault_counts = FaultCounts()
        self.server = Directives(
            parse_fault(options.fault),
            options.latency,
            parse_changes(options.edits),
            parse_job(options.job),
        )
        self.token_fault = parse_fault(options.token_fault)
        self.manager_fault = parse_fault(options.manager_fault)
        self.azure = AzureAccount.usual(options)
        self.jobs: dict[str, GatewayJob] = {}
        self.published: dict[str, bytes] = {}
        self._workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="mai-emulator")

    async def work(self, task: Callable[[], Done]) -> Done:
        """Run what takes long (decoding, painting) beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, task)

    def close(self) -> None:
        """End the workers."""
        self._workers.shutdown(wait=False, cancel_futures=True)


class ServedRequest:
    """One request to the emulator: `http` is aiohttp's, `entry` its line in the log, `headers` go
    with its answer, whatever that is."""

    def __init__(self, state: State, http: web.Request) -> None:
        self.state = state
        self.http = http
        client_id = http.headers.get(CLIENT_REQUEST_ID)
        self.entry = state.log.open(http.method, http.path, client_id)
        request_id = self.entry.request_id
        self.headers = {"apim-request-id": request_id, "x-ms-request-id": request_id}
        if client_id is not None:
            self.headers[CLIENT_REQUEST_ID] = client_id

    @property
    def origin(self) -> str:
        """The emulator's origin, as the client calls it."""
        return str(self.http.url.origin())

    def log_files(self, uploads: Sequence[Upload]) -> None:
        """Write the files into the log: when they are read, and again when they are measured."""
        self.entry.files = [
            LoggedFile(
                upload.field, upload.filename, upload.media_type, len(upload.data), *upload.size
            )
            for upload in uploads
        ]

    async def reset_early(self) -> None:
        """Break the connection before the body has been read, where a fault asks for it.

        Raises ConnectionResetError then.
        """
        fault = self._choose(self._from_headers(), Directives(), early=True)
        if fault is None:
            return
        if fault.reset == "body":
            await self.http.content.readany()
        self.entry.fault = repr(fault)
        reset(self.http)
        raise ConnectionResetError("a fault reset the connection")

    def directives(self, prompt: str) -> Directives:
        """What is to happen to this request; the nearest to it wins: header, prompt, server."""
        header, server = self._from_headers(), self.state.server
        try:
            prompted = parse_prompt(prompt) if self.state.options.directives else Directives()
        except DirectiveError as error:
            raise bad_directive(error) from error
        latency = server.latency if prompted.latency is None else prompted.latency
        return replace(
            prompted,
            fault=self._choose(header, prompted, prompt),
            latency=latency if header.latency is None else header.latency,
            changes=header.changes or prompted.changes or server.changes or EditChanges(),
            job=prompted.job or server.job,
        )

    def bill(self, tokens: Tokens, model: Model) -> None:
        """Charge for tokens."""
        self.state.log.bill(self.entry, tokens.cost(model))

    def can_pay(self, usd: float) -> bool:
        """Whether a gateway's account has so much left."""
        balance = self.state.options.balance
        return balance is None or self.state.log.billed_usd + usd <= balance

    async def apply_fault(self, fault: Fault | None, latency: float | None = None) -> None:
        """Let the latency pass. Raises the error that the fault asks for instead of an answer."""
        if fault is not None:
            self.entry.fault = repr(fault)
        await asyncio.sleep((latency or 0.0) + (fault.latency if fault else 0.0))
        refused = refusal_of_fault(fault)
        if refused is not None:
            raise refused

    async def paint(self, order: ImageRequest, directives: Directives) -> Image.Image:
        """The image: RGB, or RGBA where it is to be transparent."""
        self.entry.size = order.size
        nonce = self.entry.client_request_id or ""
        changes = directives.changes or EditChanges()
        return await self.state.work(lambda: paint(order, changes, nonce))

    def _from_headers(self) -> Directives:
        if not self.state.options.directives:
            return Directives()
        headers = self.http.headers
        latency = headers.get("x-emulator-latency")
        try:
            return Directives(
                parse_fault(headers.get("x-emulator-fault", "")),
                None if latency is None else parse_latency(latency),
                parse_changes(headers.get("x-emulator-edit", "")),
            )
        except DirectiveError as error:
            raise bad_directive(error) from error

    def _choose(
        self, header: Directives, prompted: Directives, prompt: str = "", early: bool = False
    ) -> Fault | None:
        faults = {
            f"header {header.fault}": header.fault,
            f"prompt {prompt}": prompted.fault,
            "server": self.state.server.fault,
        }
        return self.state.fault_counts.choose(faults, early)


def begin_job(
    request: ServedRequest, directives: Directives, file: bytes, media_type: str
) -> GatewayJob:
    """A job whose image is there when its time has passed."""
    state = request.state
    options, wanted = state.options, directives.job or JobDirective()
    job = GatewayJob(
        directives,
        state.clock(),
        options.queued if wanted.queued is None else wanted.queued,
        options.processing if wanted.processing is None else wanted.processing,
        request.origin,
        file,
        media_type,
        order=request.entry,
    )
    keep_newest(state.jobs, job.id, job, MAX_JOBS)
    return job


def resized(order: ImageRequest, directives: Directives, edit_output: str = "1mp") -> ImageRequest:
    """The request with the size that a directive asks for: any, or an edit's of another kind."""
    fault, changes = directives.fault, directives.changes
    if fault is not None and fault.size is not None:
        return replace(order, size=fault.size)
    if not order.references or changes is None or (changes.aspect or changes.output) is None:
        return order
    reference, model = order.references[0], order.model
    pixels = output_pixels(changes.output or edit_output, reference, model)
    aspect = aspect_of(reference) if changes.aspect is None else changes.aspect
    return replace(order, size=size_for(aspect, model, pixels))
