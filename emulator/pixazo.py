"""The Pixazo gateway: orders of MAI Image 2.5 and its edit, the status of a job, and its image.

Orders and polls want the key in Ocp-Apim-Subscription-Key and nothing else; the image's address
must be asked without any credential. A job that ends as ERROR isn't billed, every other one is.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiohttp import web

from ..mai.models import BY_NAME
from . import answers, gateway_rules, paint
from .answers import Answer
from .directives import Directives, Fault, in_prompt
from .faults import Candidate
from .gateway_rules import MODEL, Order
from .job_words import JobWords
from .jobs import STATUS_PATH, Job, output
from .reading import read_json
from .refusal import GatewayRefusal, Refusal, bad_directive, of_status
from .sending import reset, send
from .state import State, entry_of, state_of
from .tokens import count
from .values import DirectiveError

KEY_HEADER = "Ocp-Apim-Subscription-Key"
CREDENTIALS = (KEY_HEADER, "api-key", "Authorization", "Cookie")
FAULT = "x-emulator-fault"
LANE = "pixazo"
"""The name under which requests a minute are counted."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _gateways_own(handler: Handler) -> Handler:
    """Give a handler's refusals the gateway's envelope."""

    @functools.wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except GatewayRefusal:
            raise
        except Refusal as refused:
            raise GatewayRefusal(
                refused.status, refused.code, refused.message, refused.headers
            ) from refused

    return handle


@_gateways_own
async def generations(request: web.Request) -> web.StreamResponse:
    """POST …/microsoft-mai-image-2-5-request."""
    return await _take(request, edit=False)


@_gateways_own
async def edits(request: web.Request) -> web.StreamResponse:
    """POST …/microsoft-mai-image-2-5-edit-request."""
    return await _take(request, edit=True)


@_gateways_own
async def status(request: web.Request) -> web.StreamResponse:
    """GET /v2/requests/status/{job}."""
    _admit(request)
    state, job = state_of(request), _job(request)
    job.polls += 1
    if job.words.forget is not None and job.polls >= job.words.forget:
        raise _unknown_job()
    fault = _strike(state, f"poll {job.id}", job.poll_fault)
    report = state.jobs.report(job, str(request.url.origin()))
    return await _send(request, answers.of_json(200, report), fault)


@_gateways_own
async def media(request: web.Request) -> web.StreamResponse:
    """GET /media/{job}.{kind}: the image; a request that brings a credential is refused."""
    if any(name in request.headers for name in CREDENTIALS):
        raise GatewayRefusal(400, "Bad Request", "An image's address must not get a key.")
    job = _job(request)
    fault = _strike(state_of(request), f"media {job.id}", job.media_fault)
    body = job.image
    if fault is not None and fault.answer is not None:
        body = answers.spoilt(job.image, fault.answer)
    return await _send(request, Answer(200, body, job.media_type), fault)


def _admit(request: web.Request) -> None:
    key = request.headers.get(KEY_HEADER, "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(key, state_of(request).options.key.encode()):
        raise GatewayRefusal(401, "Unauthorized", "Access denied due to a missing or invalid key.")
    if any(name in request.headers for name in CREDENTIALS[1:]):
        raise GatewayRefusal(400, "Bad Request", f"The only credential here is {KEY_HEADER}.")


def _job(request: web.Request) -> Job:
    job = state_of(request).jobs.find(request.match_info["job"])
    if job is None:
        raise _unknown_job()
    return job


def _unknown_job() -> GatewayRefusal:
    return GatewayRefusal(404, "Not Found", "There is no request of this id.")


async def _take(request: web.Request, *, edit: bool) -> web.StreamResponse:
    """Take an order: check it, bill it, paint, and answer with the job."""
    state, entry = state_of(request), entry_of(request)
    _admit(request)
    early = state.faults.choose(_candidates(request), early=True)
    if early is not None:
        entry.fault = repr(early)
        reset(request)
        return web.Response()
    fields = await read_json(request)
    entry.fields, entry.model = gateway_rules.shortened(fields), MODEL
    state.limits.take(LANE)
    order = gateway_rules.order(fields, edit)
    sizes = await state.work(lambda: gateway_rules.measured(order))
    entry.size = size = gateway_rules.size(order, sizes)
    words, fault = _directives(request, order)
    _bill(request, count(order.prompt, sizes, size).cost(BY_NAME[MODEL]), words, fault)
    await asyncio.sleep(state.latency if words.latency is None else words.latency)
    files = [upload.data for upload in order.uploads]
    painting = paint.Painting(MODEL, order.prompt, size, (), files, sizes)
    kind = order.output_format
    image = await state.work(lambda: answers.encoded(paint.paint(painting), kind))
    faults = (words.poll, words.media)
    job = state.jobs.begin(words.job or JobWords(), image, f"image/{kind}", faults)
    return await _send(request, _receipt(request, job, order), fault)


def _directives(request: web.Request, order: Order) -> tuple[Directives, Fault | None]:
    state = state_of(request)
    try:
        words = in_prompt(order.prompt)
    except DirectiveError as error:
        raise bad_directive(str(error)) from error
    fault = state.faults.choose(_candidates(request, order.prompt, words.fault), early=False)
    return replace(words, job=words.job or state.job), fault


def _candidates(
    request: web.Request, prompt: str = "", fault: Fault | None = None
) -> list[Candidate]:
    try:
        return state_of(request).faults.asked(request.headers.get(FAULT, ""), prompt, fault)
    except DirectiveError as error:
        raise bad_directive(str(error)) from error


def _bill(request: web.Request, cost: float, words: Directives, fault: Fault | None) -> None:
    state, entry = state_of(request), entry_of(request)
    balance = state.options.balance
    if balance is not None and state.log.billed_usd + cost > balance:
        raise GatewayRefusal(402, "Insufficient Balance", "Please add funds to your account.")
    entry.fault = repr(fault) if fault else None
    charged = words.job is None or words.job.end != "error"
    if charged and (fault is None or fault.bills):
        state.log.bill(entry, cost)


def _receipt(request: web.Request, job: Job, order: Order) -> Answer:
    origin = str(request.url.origin())
    receipt: dict[str, object] = {"request_id": job.id, "status": "QUEUED"}
    if order.sync_mode:
        receipt.update(status="COMPLETED", output=output(job, origin, inline=True))
    else:
        receipt["polling_url"] = f"{origin}{STATUS_PATH}{job.id}"
    if not job.words.id:
        del receipt["request_id"]
    return answers.of_json(200 if order.sync_mode else 202, receipt)


def _strike(state: State, key: str, fault: Fault | None) -> Fault | None:
    """The fault, if it strikes this time."""
    return state.faults.choose([Candidate(key, fault)], early=False) if fault else None


async def _send(request: web.Request, answer: Answer, fault: Fault | None) -> web.StreamResponse:
    """Send the answer, or what the fault makes of it."""
    entry = entry_of(request)
    if fault is not None:
        await asyncio.sleep(fault.latency)
        if fault.status is not None:
            plain = of_status(fault.status, fault.code)
            own = GatewayRefusal(plain.status, plain.code, plain.message)
            answer = answers.of_fault(fault.status, fault.body, fault.code)
            answer = answers.of_refusal(own) if fault.body == "envelope" else answer
    entry.status = answer.status
    response, entry.delivered = await send(request, answer, fault)
    return response
