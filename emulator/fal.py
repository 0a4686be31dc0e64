"""fal's queue: orders of MAI Image 2.7 and its edit, their status, their result, and cancelling.

Every request wants the key as "Authorization: Key …" and no other credential; the image's address
must be requested without any. A job is billed when it is begun, unless it ends as an error; one
that is cancelled in the queue isn't billed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..mai.models import CATALOGUE
from .access import same_secret
from .answers import Answer, json_answer
from .directives import Directives, Fault
from .images import image_file
from .jobs import GatewayJob
from .refusals import Refusal
from .requests import (
    ImageRequest,
    Upload,
    aspect_of,
    measured,
    read_json,
    round_down,
    shortened,
    size_for,
    upload_of_uri,
)
from .state import ServedRequest, begin_job, resized

MODEL = CATALOGUE["MAI-Image-2.7"]
APP = "/microsoft/mai-image-2.7"
OTHER_CREDENTIALS = ("api-key", "Ocp-Apim-Subscription-Key", "Cookie")

PRESETS = {
    "square_hd": (1024, 1024),
    "square": (768, 768),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (768, 1360),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1360, 768),
}
"""The names are fal's; for which sizes they stand with this model is the emulator's guess."""

FORMATS = ("png", "jpeg", "webp")
MAX_REFERENCES = 5
MAX_SIDE = 100_000

COUNTED_AS = "fal"
"""The name under which requests a minute are counted."""

STEP = 10_000
"""Each call is rounded up to this part of a dollar."""


@dataclass(eq=False)
class FalRefusal(Refusal):
    """A 422 that names the field that is wrong."""

    field: str = ""


def fal_envelope(refused: Refusal) -> object:
    """The JSON of an error: `detail` is a text, or a list of errors with their places."""
    if isinstance(refused, FalRefusal):
        place = ["body", refused.field] if refused.field else ["body"]
        return {"detail": [{"loc": place, "msg": refused.message, "type": refused.code}]}
    if refused.code == "content_safety_violation":
        return {"detail": [_blocked_detail(refused.message)]}
    return {"detail": refused.message}


async def answer_fal_order(request: ServedRequest, edit: bool) -> Answer:
    """POST …/text-to-image or …/edit: bill, paint, and begin a job."""
    state, entry = request.state, request.entry
    _check_key(request)
    await request.reset_early()
    fields = await read_json(request.http)
    entry.fields, entry.model = shortened(fields), MODEL.name
    state.limits.take(COUNTED_AS)
    order, output_format = await state.work(lambda: _parse_order(fields, edit))
    request.log_files(order.references)
    directives = request.directives(order.prompt)
    order = resized(order, directives, state.options.edit_output)
    _bill(request, order, directives)
    await request.apply_fault(directives.fault, directives.latency)
    image = await request.paint(order, directives)
    file = await state.work(lambda: image_file(image, output_format))
    job = begin_job(request, directives, file, f"image/{output_format}")
    receipt = {**_links(job), "status": "IN_QUEUE", "queue_position": 0}
    if not job.directive.id:
        del receipt["request_id"]
    return json_answer(200, receipt, directives.fault)


async def answer_fal_status(request: ServedRequest) -> Answer:
    """GET …/requests/{job}/status."""
    job, fault = await _found(request, "poll")
    job.polls += 1
    forget = job.directive.forget
    if job.cancelled or (forget is not None and job.polls >= forget):
        raise _unknown_job()
    status = _status(request, job)
    body = {**_links(job), "status": status}
    if status == "IN_QUEUE":
        body["queue_position"] = 0
    if status == "COMPLETED" and job.directive.end == "error":
        body.update(error=_reason(job), error_type="internal_error")
    return json_answer(200 if status == "COMPLETED" else 202, body, fault)


async def answer_fal_result(request: ServedRequest) -> Answer:
    """GET …/requests/{job}: the image's address, or why there is none."""
    job, fault = await _found(request, "result")
    if job.cancelled:
        raise _unknown_job()
    if _status(request, job) != "COMPLETED":
        raise Refusal(400, "in_progress", "Request is still in progress")
    if job.directive.end == "failed":
        reason = _reason(job)
        blocked = any(word in reason.lower() for word in ("content", "nsfw", "safety"))
        detail = _blocked_detail(reason) if blocked else _failed_detail(reason)
        return json_answer(422, {"detail": [detail]}, fault)
    if job.directive.end == "error":
        return json_answer(500, {"detail": _reason(job)}, fault)
    url = job.place()
    width, height = job.order.size if job.order and job.order.size else (0, 0)
    image = {"url": url, "content_type": job.media_type, "width": width, "height": height}
    return json_answer(200, {"images": [image] if url else []}, fault)


async def answer_fal_cancel(request: ServedRequest) -> Answer:
    """PUT …/requests/{job}/cancel: only a job in the queue is dropped."""
    job, fault = await _found(request, "cancel")
    if job.cancelled or _status(request, job) != "IN_QUEUE":
        return json_answer(400, {"status": "ALREADY_COMPLETED"}, fault)
    job.cancelled = True
    if job.order is not None:
        request.state.log.give_back(job.order)
    return json_answer(202, {"status": "CANCELLATION_REQUESTED"}, fault)


def _check_key(request: ServedRequest) -> None:
    headers = request.http.headers
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    if scheme != "Key" or not same_secret(key, request.state.options.key):
        raise Refusal(401, "unauthorized", "Authentication is required to access this model.")
    if any(name in headers for name in OTHER_CREDENTIALS):
        raise Refusal(400, "bad_request", "The only credential here is Authorization.")


async def _found(request: ServedRequest, what: str) -> tuple[GatewayJob, Fault | None]:
    """The job of an address, once the fault for this kind of request has had its way."""
    _check_key(request)
    job = request.state.jobs.get(request.http.match_info["job"])
    if job is None:
        raise _unknown_job()
    wanted = getattr(job.directives, what)
    fault = request.state.fault_counts.choose({f"{what} {job.id}": wanted})
    await request.apply_fault(fault)
    return job, fault


def _unknown_job() -> Refusal:
    return Refusal(404, "not_found", "Request not found")


def _status(request: ServedRequest, job: GatewayJob) -> str:
    """IN_QUEUE, IN_PROGRESS or COMPLETED, however it ended."""
    names = {"QUEUED": "IN_QUEUE", "PROCESSING": "IN_PROGRESS"}
    return names.get(job.status(request.state.clock()), "COMPLETED")


def _links(job: GatewayJob) -> dict[str, object]:
    own = f"{job.origin}{APP}/requests/{job.id}"
    return {
        "request_id": job.id,
        "status_url": f"{own}/status",
        "response_url": own,
        "cancel_url": f"{own}/cancel",
    }


def _reason(job: GatewayJob) -> str:
    return job.directive.reason or "The model could not make the image."


def _blocked_detail(message: str) -> dict[str, object]:
    return {"loc": ["body", "prompt"], "msg": message, "type": "content_policy_violation"}


def _failed_detail(message: str) -> dict[str, object]:
    return {"loc": ["body"], "msg": message, "type": "no_media_generated"}


def _bill(request: ServedRequest, order: ImageRequest, directives: Directives) -> None:
    """Charge for the order, unless it is free. Raises the 402 where the balance is used up."""
    cost = math.ceil(round(order.tokens().cost(MODEL) * STEP, 6)) / STEP
    if not request.can_pay(cost):
        raise Refusal(402, "exhausted", "User is locked. Reason: Exhausted balance.")
    charged = directives.job is None or directives.job.end != "error"
    if charged and (directives.fault is None or directives.fault.bills):
        request.state.log.bill(request.entry, cost)


# What an order may ask


def _parse_order(fields: Mapping[str, object], edit: bool) -> tuple[ImageRequest, str]:
    """The image that a request's body asks for, its references measured, and the file's format."""
    known = {"prompt", "image_size", "output_format"} | ({"image_urls"} if edit else set())
    for name in fields:
        if name not in known:
            raise _wrong(name[:60], "extra_forbidden", "Extra inputs are not permitted")
    prompt = fields.get("prompt")
    if prompt is None:
        raise _wrong("prompt", "missing", "Field required")
    if not isinstance(prompt, str) or not prompt.strip():
        raise _wrong("prompt", "string_type", "Input should be a valid string")
    output_format = fields.get("output_format", "png")
    if output_format not in FORMATS:
        raise _wrong("output_format", "literal_error", f"Input should be {' or '.join(FORMATS)}")
    references = _references(fields.get("image_urls")) if edit else ()
    size = _size(fields.get("image_size"))
    if size is None:
        size = size_for(aspect_of(references[0]), MODEL) if references else PRESETS["square_hd"]
    return ImageRequest(MODEL, prompt, size, references=references), str(output_format)


def _size(value: object) -> tuple[int, int] | None:
    """The size of a preset's name, or of {"width", "height"}; None where none is given."""
    if value is None:
        return None
    if isinstance(value, str):
        if value not in PRESETS:
            raise _wrong("image_size", "enum", f"Input should be one of {', '.join(PRESETS)}")
        return PRESETS[value]
    if not isinstance(value, dict) or set(value) != {"width", "height"}:
        raise _wrong("image_size", "model_type", "Input should have width and height")
    sides = value["width"], value["height"]
    for side in sides:
        if isinstance(side, bool) or not isinstance(side, int):
            raise _wrong("image_size", "int_type", "Input should be a valid integer")
        if not MODEL.min_side <= side <= MAX_SIDE:
            raise _wrong("image_size", "greater_than_equal", "Each side must be at least 768")
    if sides[0] * sides[1] > MODEL.max_pixels:
        raise _wrong("image_size", "less_than_equal", f"At most {MODEL.max_pixels} pixels")
    return round_down(sides[0]), round_down(sides[1])


def _references(urls: object) -> tuple[Upload, ...]:
    if not isinstance(urls, list) or not 1 <= len(urls) <= MAX_REFERENCES:
        raise _wrong("image_urls", "too_long", f"Input should have 1 to {MAX_REFERENCES} items")
    try:
        return tuple(measured(upload_of_uri("image_urls", url)) for url in urls)
    except Refusal as refused:
        raise _wrong("image_urls", "image_load_error", refused.message) from None


def _wrong(field: str, kind: str, message: str) -> FalRefusal:
    return FalRefusal(422, kind, message, field=field)
