"""The Pixazo gateway: orders of MAI Image 2.5 and its edit, the status of a job, and its image.

Orders and polls want the key in Ocp-Apim-Subscription-Key and nothing else; the image's address
must be requested without any credential. A job that ends as ERROR isn't billed, every other one
is. Of the refusals of an order only the status 400 is documented.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

from PIL import Image

from ..mai.models import CATALOGUE
from .access import same_secret
from .answers import Answer, json_answer
from .directives import Directives
from .images import image_file
from .jobs import GatewayJob
from .refusals import Refusal
from .requests import (
    ImageRequest,
    Upload,
    aspect_for,
    aspect_of,
    measured,
    read_json,
    shortened,
    size_for,
    upload_of_uri,
)
from .state import ServedRequest, begin_job, resized

KEY_HEADER = "Ocp-Apim-Subscription-Key"
OTHER_CREDENTIALS = ("api-key", "Authorization", "Cookie")

MODEL = CATALOGUE["MAI-Image-2.5"]
MIN_PROMPT, MAX_PROMPT = 3, 5000
MAX_IMAGES = 4
FORMATS = ("jpeg", "png", "webp")
GENERATION_RATIOS = (
    "auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16",
)  # fmt: skip
EDIT_RATIOS = ("auto", "1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3")
PARAMETERS = ("prompt", "num_images", "aspect_ratio", "output_format", "sync_mode")

COUNTED_AS = "pixazo"
"""The name under which requests a minute are counted."""


def pixazo_envelope(refused: Refusal) -> object:
    """The JSON of an error: a short text and a sentence, no details."""
    return {"error": refused.code, "message": refused.message}


async def answer_status(request: ServedRequest) -> Answer:
    """GET /v2/requests/status/{job}."""
    _check_key(request)
    job = _find_job(request)
    job.polls += 1
    forget = job.directive.forget
    if forget is not None and job.polls >= forget:
        raise _unknown_job()
    fault = request.state.fault_counts.choose({f"poll {job.id}": job.directives.poll})
    await request.apply_fault(fault)
    return json_answer(200, job.report(request.state.clock()), fault)


async def answer_media(request: ServedRequest) -> Answer:
    """GET /media/{job}.{format}: the image; a request that brings a credential is refused."""
    if any(name in request.http.headers for name in (KEY_HEADER, *OTHER_CREDENTIALS)):
        raise _bad_order("An image's address must not get a key.")
    job = request.state.jobs.get(request.http.match_info["job"])
    if job is None:
        raise _unknown_job()
    fault = request.state.fault_counts.choose({f"media {job.id}": job.directives.media})
    await request.apply_fault(fault)
    body = job.image
    if fault is not None and fault.answer is not None:
        with Image.open(io.BytesIO(job.image)) as image:
            body = image_file(image.convert("RGB"), fault.answer)
    return Answer(200, body, job.media_type, fault=fault)


def _check_key(request: ServedRequest) -> None:
    headers = request.http.headers
    if not same_secret(headers.get(KEY_HEADER, ""), request.state.options.key):
        raise Refusal(401, "Unauthorized", "Access denied due to a missing or invalid key.")
    if any(name in headers for name in OTHER_CREDENTIALS):
        raise _bad_order(f"The only credential here is {KEY_HEADER}.")


def _find_job(request: ServedRequest) -> GatewayJob:
    job = request.state.jobs.get(request.http.match_info["job"])
    if job is None:
        raise _unknown_job()
    return job


def _unknown_job() -> Refusal:
    return Refusal(404, "Not Found", "There is no request of this id.")


async def answer_order(request: ServedRequest, edit: bool) -> Answer:
    """POST …/microsoft-mai-image-2-5-request, or …-edit-request: bill, paint, and begin a job."""
    state, entry = request.state, request.entry
    _check_key(request)
    await request.reset_early()
    fields = await read_json(request.http)
    entry.fields, entry.model = shortened(fields), MODEL.name
    state.limits.take(COUNTED_AS)
    order, output_format = await state.work(lambda: _parse_order(fields, edit))
    directives = request.directives(order.prompt)
    wanted = resized(order, directives)
    _bill(request, wanted, directives)
    await request.apply_fault(directives.fault, directives.latency)
    image = await request.paint(wanted, directives)
    file = await state.work(lambda: image_file(image, output_format))
    job = begin_job(request, directives, file, f"image/{output_format}")
    receipt: dict[str, object] = {"request_id": job.id, "status": "QUEUED"}
    sync_mode = fields.get("sync_mode", False)
    if sync_mode:
        receipt.update(status="COMPLETED", output=job.output(inline=True))
    else:
        receipt["polling_url"] = job.polling_url
    if not job.directive.id:
        del receipt["request_id"]
    return json_answer(200 if sync_mode else 202, receipt, directives.fault)


def _bill(request: ServedRequest, image: ImageRequest, directives: Directives) -> None:
    """Charge for the order, unless it is free. Raises the 402 where the balance is used up."""
    fault = directives.fault
    if not request.can_pay(image.tokens().cost(image.model)):
        raise Refusal(402, "Insufficient Balance", "Please add funds to your account.")
    charged = directives.job is None or directives.job.end != "error"
    if charged and (fault is None or fault.bills):
        request.bill(image.tokens(), image.model)


# What an order may ask


def _parse_order(fields: Mapping[str, object], edit: bool) -> tuple[ImageRequest, str]:
    """The image that a request's body asks for, its references measured, and the file's format."""
    known = (*PARAMETERS, "image_urls") if edit else PARAMETERS
    strange = [name for name in fields if name not in known]
    if strange:
        raise _bad_order(f"Unknown parameters: {', '.join(strange)[:200]}.")
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not MIN_PROMPT <= len(prompt) <= MAX_PROMPT:
        raise _bad_order(f"prompt must be a text of {MIN_PROMPT} to {MAX_PROMPT} characters.")
    images = fields.get("num_images", 1)
    if isinstance(images, bool) or not isinstance(images, int) or not 1 <= images <= MAX_IMAGES:
        raise _bad_order(f"num_images must be a whole number from 1 to {MAX_IMAGES}.")
    if not isinstance(fields.get("sync_mode", False), bool):
        raise _bad_order("sync_mode must be true or false.")
    ratio = _one_of(fields, "aspect_ratio", EDIT_RATIOS if edit else GENERATION_RATIOS, "auto")
    output_format = _one_of(fields, "output_format", FORMATS, "jpeg")
    references = _references(fields.get("image_urls")) if edit else ()
    if ratio != "auto":
        width, _, height = ratio.partition(":")
        aspect = int(width) / int(height)
    else:
        aspect = aspect_of(references[0]) if references else aspect_for(prompt)
    image = ImageRequest(MODEL, prompt, size_for(aspect, MODEL), references=references)
    return image, output_format


def _one_of(fields: Mapping[str, object], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise _bad_order(f"{name} must be one of {', '.join(allowed)}.")
    return value


def _references(urls: object) -> tuple[Upload, ...]:
    if not isinstance(urls, list) or len(urls) != 1:
        raise _bad_order("image_urls must hold exactly one address.")
    return (measured(upload_of_uri("image_urls", urls[0])),)


def _bad_order(message: str) -> Refusal:
    return Refusal(400, "Bad Request", message)
