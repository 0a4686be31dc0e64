"""The two image endpoints of a Foundry resource: /mai/v1/images/generations and …/edits.

The order is the service's: credential, body, deployment, requests a minute, parameters. What is
then in order is billed, and only then meets latency, content blocks and faults.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from aiohttp import web

from ..mai.models import Model
from . import paint, refusal, rules
from .answers import Answer, of_fault, of_refusal, success
from .directives import Directives, Edits, Fault, in_prompt, parse_edits, parse_latency
from .faults import Candidate
from .reading import Form, Upload, read_form, read_json
from .record import Entry, File
from .rules import Wish
from .sending import reset, send
from .state import State, add_headers, entry_of, state_of
from .tokens import Tokens, count
from .uploads import measure
from .values import DirectiveError

FAULT = "x-emulator-fault"
LATENCY = "x-emulator-latency"
EDIT = "x-emulator-edit"


@dataclass(frozen=True)
class _Order:
    """A request that passed every check, and what is to happen to it."""

    wish: Wish
    fault: Fault | None
    latency: float
    edits: Edits
    uploads: tuple[Upload, ...] = field(default=(), repr=False)
    sizes: tuple[tuple[int, int], ...] = ()
    nonce: str = ""


async def generations(request: web.Request) -> web.StreamResponse:
    """POST /mai/v1/images/generations."""
    state = state_of(request)
    entry = _admit(request)
    if await _reset_early(request, state):
        return web.Response()
    fields = await read_json(request)
    model = _note_fields(request, Form(fields, ()))
    wish = rules.generation(fields, model)
    order = _order(request, wish)
    if wish.auto:
        choice = hashlib.sha256(wish.prompt.encode("utf-8", "surrogatepass")).digest()[0]
        aspect = rules.AUTO_ASPECTS[choice % len(rules.AUTO_ASPECTS)]
        order = replace(order, wish=replace(wish, size=rules.edit_size(aspect, model)))
    return await _deliver(request, entry, order)


async def edits(request: web.Request) -> web.StreamResponse:
    """POST /mai/v1/images/edits."""
    state = state_of(request)
    entry = _admit(request)
    if await _reset_early(request, state):
        return web.Response()
    form = await read_form(request, state.options.max_body)
    model = _note_fields(request, form)
    wish = rules.edit(form.fields, model, state.options.edit_size)
    rules.references([upload.field for upload in form.files], model)
    sizes = await state.work(lambda: tuple(measure(upload) for upload in form.files))
    for file, (width, height) in zip(entry.files, sizes, strict=True):
        file.width, file.height = width, height
    order = replace(_order(request, wish), uploads=form.files, sizes=sizes)
    aspect = order.edits.aspect
    if aspect is not None or wish.size is None or wish.auto:
        own = sizes[0][0] / sizes[0][1]
        size = rules.edit_size(own if aspect is None else aspect, model)
        order = replace(order, wish=replace(wish, size=size))
    return await _deliver(request, entry, order)


def _admit(request: web.Request) -> Entry:
    state_of(request).access.check(request.headers)
    return entry_of(request)


async def _reset_early(request: web.Request, state: State) -> bool:
    """Break the connection before the body has been read, where a fault asks for it."""
    fault = state.faults.choose(_candidates(request), early=True)
    if fault is None:
        return False
    if fault.reset == "body":
        await request.content.readany()
    entry_of(request).fault = repr(fault)
    reset(request)
    return True


def _candidates(
    request: web.Request, prompt: str = "", fault: Fault | None = None
) -> list[Candidate]:
    try:
        return state_of(request).faults.asked(request.headers.get(FAULT, ""), prompt, fault)
    except DirectiveError as error:
        raise refusal.bad_directive(str(error)) from error


def _note_fields(request: web.Request, form: Form) -> Model:
    """Write the request into the log, find its deployment and count it; the model."""
    state = state_of(request)
    entry = entry_of(request)
    entry.fields = dict(form.fields)
    entry.files = [
        File(upload.field, upload.filename, upload.media_type, len(upload.data))
        for upload in form.files
    ]
    name, model = rules.deployment(form.fields, state.options)
    entry.deployment, entry.model = name, model.name
    add_headers(request, state.limits.take(name))
    return model


def _order(request: web.Request, wish: Wish) -> _Order:
    """What directives and options add to a wish. Raises the 400 for a bad directive."""
    state = state_of(request)
    try:
        asked: Directives = in_prompt(wish.prompt)
        by_header = request.headers.get(LATENCY)
        latency = state.latency if asked.latency is None else asked.latency
        latency = latency if by_header is None else parse_latency(by_header)
        changes = parse_edits(request.headers.get(EDIT, "")) or asked.edits or state.edits
    except DirectiveError as error:
        raise refusal.bad_directive(str(error)) from error
    fault = state.faults.choose(_candidates(request, wish.prompt, asked.fault), early=False)
    return _Order(
        wish,
        fault,
        latency + (fault.latency if fault else 0.0),
        changes,
        nonce=request.headers.get("x-ms-client-request-id", ""),
    )


async def _deliver(request: web.Request, entry: Entry, order: _Order) -> web.StreamResponse:
    """Bill, wait, paint and send."""
    state = state_of(request)
    fault = order.fault
    size = fault.size if fault and fault.size else order.wish.size
    if size is None:
        raise ValueError("a wish without a size")
    usage = count(order.wish.prompt, order.sizes, size)
    entry.fault = repr(fault) if fault else None
    if fault is None or fault.bills:
        state.log.bill(entry, usage.cost(order.wish.model))
    await asyncio.sleep(order.latency)
    answer = await _answer(state, request, order, size, usage)
    entry.status = answer.status
    entry.size = size if answer.status == 200 else None
    response, entry.delivered = await send(request, answer, fault)
    return response


async def _answer(
    state: State, request: web.Request, order: _Order, size: tuple[int, int], usage: Tokens
) -> Answer:
    fault = order.fault
    if fault is not None and fault.status is not None and fault.status != 200:
        return of_fault(fault.status, fault.body, fault.code)
    kind = fault.answer if fault else None
    if kind is not None and kind in refusal.BLOCKS:
        return of_refusal(refusal.blocked(kind))
    painting = _painting(order, size)

    def work() -> Answer:
        return success(
            paint.paint(painting),
            order.wish.model.name,
            usage,
            state.options.usage,
            kind,
            _publisher(state, request, painting),
        )

    return await state.work(work)


def _publisher(
    state: State, request: web.Request, painting: paint.Painting
) -> Callable[[bytes], str]:
    def publish(image: bytes) -> str:
        name = painting.digest().hex()[:32] + ".png"
        state.publish(name, image)
        return str(request.url.origin() / "emulator" / "images" / name)

    return publish


def _painting(order: _Order, size: tuple[int, int]) -> paint.Painting:
    wish = order.wish
    chosen = (("auto aspect", wish.auto), ("web grounding", wish.grounding))
    return paint.Painting(
        wish.model.name,
        wish.prompt,
        size,
        [name for name, on in chosen if on],
        [upload.data for upload in order.uploads],
        order.sizes,
        order.edits,
        order.nonce,
    )
