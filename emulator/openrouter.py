"""OpenRouter's Images API: POST /api/v1/images, and what an endpoint of a model takes.

MAI-Image-2.7 takes a size in pixels or a ratio with a resolution, 2.6 only the latter. What a
model lacks is a 400 that names it. Every answer says what was charged.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from PIL import Image

from ..mai.models import CATALOGUE, Model
from .access import same_secret
from .answers import Answer, json_answer
from .directives import Fault
from .foundry import checked_size, image_data, parse_sides
from .images import image_file
from .refusals import Refusal, refusal_of_status
from .requests import (
    ImageRequest,
    Upload,
    aspect_of,
    measured,
    read_json,
    shortened,
    size_for,
    upload_of_uri,
)
from .state import ServedRequest, resized

SLUGS = {
    f"microsoft/{name.lower()}": CATALOGUE[name]
    for name in ("MAI-Image-2.7", "MAI-Image-2.6", "MAI-Image-2.6-Flash")
}
OTHER_CREDENTIALS = ("api-key", "Ocp-Apim-Subscription-Key", "Cookie")

RATIOS = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")
RESOLUTIONS = {"1K": 1024 * 1024, "1.5K": 1536 * 1536, "2K": 2048 * 2048}
FORMATS = ("png", "jpeg", "webp")
BACKGROUNDS = ("transparent", "opaque")
COMMON = ("model", "prompt", "n", "aspect_ratio", "resolution", "output_format", "input_references")

COUNTED_AS = "openrouter"
"""The name under which requests a minute are counted."""


def openrouter_envelope(refused: Refusal) -> object:
    """The JSON of an error: its code is the status."""
    return {"error": {"code": refused.status, "message": refused.message}}


async def answer_openrouter(request: ServedRequest) -> Answer:
    """POST /api/v1/images: bill, wait, paint, and answer."""
    state, entry = request.state, request.entry
    _check_key(request)
    await request.reset_early()
    fields = await read_json(request.http)
    entry.fields = shortened(fields)
    model = _model(fields)
    entry.model = model.name
    request.headers.update(state.limits.take(COUNTED_AS))
    order, output_format = await state.work(lambda: _parse(fields, model))
    request.log_files(order.references)
    directives = request.directives(order.prompt)
    order, fault = resized(order, directives, state.options.edit_output), directives.fault
    if not request.can_pay(order.tokens().cost(model)):
        raise Refusal(402, "402", "Insufficient credits. Add more at the account's page.")
    if fault is None or fault.bills:
        request.bill(order.tokens(), model)
    await request.apply_fault(fault, directives.latency)
    image = await request.paint(order, directives)
    return await state.work(lambda: _answer_with(request, order, image, output_format, fault))


async def answer_openrouter_endpoints(request: ServedRequest) -> Answer:
    """GET /api/v1/images/models/{owner}/{model}/endpoints: what a model takes."""
    match = request.http.match_info
    slug = f"{match['owner']}/{match['model']}"
    if slug not in SLUGS:
        raise refusal_of_status(404)
    endpoint = {"provider_name": "Azure", "supported_parameters": _parameters(SLUGS[slug])}
    return json_answer(200, {"data": {"id": slug, "endpoints": [endpoint]}})


def _check_key(request: ServedRequest) -> None:
    headers = request.http.headers
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not same_secret(key, request.state.options.key):
        raise Refusal(401, "401", "No auth credentials found")
    if any(name in headers for name in OTHER_CREDENTIALS):
        raise _bad("The only credential here is Authorization.")


def _answer_with(
    request: ServedRequest,
    order: ImageRequest,
    image: Image.Image,
    output_format: str,
    fault: Fault | None,
) -> Answer:
    """The 200, or what the fault's `answer=` makes of it."""
    broken = fault.answer if fault else None
    if broken == "error-body":
        return json_answer(200, openrouter_envelope(refusal_of_status(500)), fault)
    if broken == "wrong-shape":
        return json_answer(200, {"result": {}}, fault)
    data = image_data(request, image_file(image, broken or output_format), broken)
    for item in data:
        item["media_type"] = f"image/{output_format}"
    return json_answer(
        200, {"created": int(time.time()), "data": data, **_usage(order, fault)}, fault
    )


def _usage(order: ImageRequest, fault: Fault | None) -> dict[str, object]:
    """The tokens and what they cost, where the fault leaves them."""
    if fault is not None and fault.usage in ("absent", "top-level"):
        return {}
    tokens = order.tokens()
    if fault is not None and fault.tokens is not None:
        tokens = replace(tokens, image_out=fault.tokens)
    prompt = tokens.text_in + tokens.image_in
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": tokens.image_out,
        "total_tokens": prompt + tokens.image_out,
        "cost": tokens.cost(order.model),
    }
    return {"usage": usage}


# What a request may ask


def _parameters(model: Model) -> list[str]:
    own = ("size", "background") if "background" in model.options else ()
    return [*COMMON, *own]


def _model(fields: Mapping[str, object]) -> Model:
    name = fields.get("model")
    if not isinstance(name, str) or not name:
        raise _bad("Missing required parameter: 'model'.")
    if name not in SLUGS:
        raise Refusal(404, "404", f"No endpoints found for {name[:100]}.")
    return SLUGS[name]


def _parse(fields: Mapping[str, object], model: Model) -> tuple[ImageRequest, str]:
    """The image that a request's body asks for, its references measured, and the file's format."""
    known = _parameters(model)
    strange = [name for name in fields if name not in known]
    if strange:
        raise _bad(f"Unsupported parameter: {', '.join(strange)[:200]}")
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise _bad("Missing required parameter: 'prompt'.")
    if fields.get("n", 1) != 1 or isinstance(fields.get("n"), bool):
        raise _bad("Unsupported parameter value: 'n' must be 1.")
    output_format = _one_of(fields, "output_format", FORMATS, "png")
    transparent = _one_of(fields, "background", BACKGROUNDS, "opaque") == "transparent"
    references = _references(fields.get("input_references", []), model)
    size = _size(fields, model, references)
    image = ImageRequest(model, prompt, size, references=references, transparent=transparent)
    return image, output_format


def _one_of(fields: Mapping[str, object], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise _bad(f"Unsupported parameter value: '{name}' must be one of {', '.join(allowed)}.")
    return value


def _size(
    fields: Mapping[str, object], model: Model, references: tuple[Upload, ...]
) -> tuple[int, int]:
    if "size" in fields:
        if {"aspect_ratio", "resolution"} & set(fields):
            raise _bad("'size' excludes 'aspect_ratio' and 'resolution'.")
        return checked_size(*parse_sides(fields["size"]), model)
    aspect = aspect_of(references[0]) if references else 1.0
    if "aspect_ratio" in fields:
        width, _, height = _one_of(fields, "aspect_ratio", RATIOS, "1:1").partition(":")
        aspect = int(width) / int(height)
    fitting = tuple(name for name, pixels in RESOLUTIONS.items() if pixels <= model.max_pixels)
    wanted = _one_of(fields, "resolution", fitting, "1K")
    return size_for(aspect, model, min(RESOLUTIONS[wanted], model.max_pixels))


def _references(value: object, model: Model) -> tuple[Upload, ...]:
    if not isinstance(value, list) or len(value) > model.max_references:
        raise _bad(f"'input_references' must be a list of up to {model.max_references} images.")
    urls = []
    for one in value:
        image = one.get("image_url") if isinstance(one, dict) else None
        if not isinstance(image, dict) or one.get("type") != "image_url":
            raise _bad("Each of 'input_references' must be of type image_url.")
        urls.append(image.get("url"))
    return tuple(measured(upload_of_uri("input_references", url)) for url in urls)


def _bad(message: str) -> Refusal:
    return Refusal(400, "400", message)
