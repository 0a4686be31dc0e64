"""The image endpoints of a Foundry resource: /mai/v1/images/generations and …/edits.

The order is the service's: credential, body, deployment, requests a minute, parameters. What is
then in order is billed, and only then meets latency, content blocks and faults. Each check raises
the Refusal that MAI_API.md's H rows document.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from PIL import Image

from ..mai.models import CATALOGUE, PIXELS_2X, PROMPT_TOKENS, Model
from .answers import Answer, json_answer
from .directives import Fault
from .images import image_file, with_credentials
from .options import Options
from .refusals import Refusal, bad_request, bad_value, prompt_too_long, refusal_of_status
from .requests import (
    Form,
    ImageRequest,
    Upload,
    aspect_for,
    aspect_of,
    measured,
    output_pixels,
    read_form,
    read_json,
    round_down,
    size_for,
    text_tokens,
)
from .state import MAX_PUBLISHED, ServedRequest, State, keep_newest, resized

DEFAULT_SIDE = 1024
MAX_DIGITS_SIDE = 100_000
"""Far over any model's limit: keeps the product in an error text short."""

AUTO = "auto aspect"
CREDENTIALS_MODELS = frozenset(
    {"MAI-Image-2e", "MAI-Image-2.5", "MAI-Image-2.5-Flash", "MAI-Image-2.5-Pro"}
)
"""Models whose images carry content credentials, says Microsoft's page."""

SWITCHES = {"auto_aspect_ratio": AUTO, "web_grounding": "web grounding"}
"""The options of 2.6, and what a request calls them."""

BACKGROUND = "background"
TRANSPARENT, OPAQUE = "transparent", "opaque"
"""The option of 2.7 and its values."""

FOREIGN_PARAMETERS = frozenset(
    "size seed response_format negative_prompt quality background output_format mask stream user "
    "style moderation output_compression partial_images input_fidelity strength guidance_scale "
    "steps aspect_ratio".split()
)
"""Parameters of other image APIs: refused as unsupported; any other name as unrecognized. The first
four (three and `size`) are known to be refused so."""


def foundry_envelope(refused: Refusal) -> object:
    """The JSON of an error: `details` repeats the message, as the service does."""
    message = refused.message
    return {"error": {"code": refused.code, "message": message, "details": message}}


async def answer_generation(request: ServedRequest) -> Answer:
    """POST /mai/v1/images/generations."""
    request.state.access.check(request.http.headers)
    await request.reset_early()
    fields = await read_json(request.http)
    model = _admit(request, Form(fields, ()))
    return await _answer(request, _parse_generation(fields, model))


async def answer_edit(request: ServedRequest) -> Answer:
    """POST /mai/v1/images/edits."""
    state = request.state
    state.access.check(request.http.headers)
    await request.reset_early()
    form = await read_form(request.http, state.options.max_body)
    model = _admit(request, form)
    order = await state.work(lambda: _parse_edit(form, model, state.options))
    request.log_files(order.references)
    return await _answer(request, order)


async def answer_openai_path(request: ServedRequest) -> Answer:
    """/openai/…: MAI deployments aren't served there, neither by deployment path nor by model."""
    request.state.access.check(request.http.headers)
    if "/deployments/" in request.http.path:
        raise Refusal(404, "api_not_supported", "The API is not supported for this model.")
    raise Refusal(404, "unknown_model", "The model is unknown to this API.")


def _admit(request: ServedRequest, form: Form) -> Model:
    """Write the request into the log, find its deployment and count it; the model."""
    state, entry = request.state, request.entry
    entry.fields = dict(form.fields)
    request.log_files(form.files)
    entry.deployment, model = _deployment(form.fields, state)
    entry.model = model.name
    request.headers.update(state.limits.take(entry.deployment))
    return model


async def _answer(request: ServedRequest, order: ImageRequest) -> Answer:
    """Bill, wait, paint, and answer."""
    directives = request.directives(order.prompt)
    fault = directives.fault
    order = resized(order, directives, request.state.options.edit_output)
    if text_tokens(order.prompt) > PROMPT_TOKENS:
        request.bill(replace(order.tokens(), image_out=0), order.model)
        raise prompt_too_long()
    if fault is None or fault.bills:
        request.bill(order.tokens(), CATALOGUE.get(_named(order, fault), order.model))
    await request.apply_fault(fault, directives.latency)
    image = await request.paint(order, directives)
    return await request.state.work(lambda: _image_answer(request, order, image, fault))


def _image_answer(
    request: ServedRequest, order: ImageRequest, image: Image.Image, fault: Fault | None
) -> Answer:
    """The 200, or what the fault's `answer=` makes of it."""
    broken = fault.answer if fault else None
    if broken == "error-body":
        return json_answer(200, foundry_envelope(refusal_of_status(500)), fault)
    options = request.state.options
    file = image_file(image, broken)
    if _has_credentials(order.model, fault, options):
        file = with_credentials(file)
    if broken == "wrong-shape":
        return json_answer(200, {"result": {"images": [_base64(file)]}}, fault)
    body = {
        "created": int(time.time()),
        "model": _named(order, fault),
        "size": f"{image.width}x{image.height}",
        **_usage(order, fault, options),
        "data": image_data(request, file, broken),
    }
    return json_answer(200, body, fault)


def image_data(request: ServedRequest, file: bytes, broken: str | None) -> list[dict[str, str]]:
    """The answer's `data` with the image, or what the fault's `answer=` makes of it."""
    if broken == "empty-data":
        return []
    if broken == "no-picture":
        return [{}]
    if broken == "url":
        name = f"{request.entry.request_id}.png"
        keep_newest(request.state.published, name, file, MAX_PUBLISHED)
        return [{"url": f"{request.origin}/emulator/images/{name}"}]
    return [{"b64_json": _base64(file, broken)}]


def _base64(file: bytes, broken: str | None = None) -> str:
    encoded = base64.b64encode(file).decode("ascii")
    if broken == "truncated-base64":
        return encoded[: len(encoded) * 3 // 4 // 4 * 4 + 1]
    if broken == "bad-base64":
        return f"{encoded[:100]}!$!${encoded[100:]}"
    return encoded


def _named(order: ImageRequest, fault: Fault | None) -> str:
    """The model that the answer names."""
    return order.model.name if fault is None or fault.model is None else fault.model


def _has_credentials(model: Model, fault: Fault | None, options: Options) -> bool:
    if fault is not None and fault.credentials is not None:
        return fault.credentials
    return options.content_credentials and model.name in CREDENTIALS_MODELS


def _usage(order: ImageRequest, fault: Fault | None, options: Options) -> dict[str, object]:
    """The token counts, where the fault or Options.usage want them."""
    tokens = order.tokens()
    place = options.usage if fault is None or fault.usage is None else fault.usage
    if fault is not None and fault.tokens is not None:
        tokens = replace(tokens, image_out=fault.tokens)
    if place == "absent":
        return {}
    if place in ("top level", "top-level"):
        return {"num_output_tokens": tokens.image_out}
    return {
        "usage": {
            "num_output_tokens": tokens.image_out,
            "num_input_text_tokens": tokens.text_in,
            "num_input_image_tokens": tokens.image_in,
        }
    }


# What a request may ask


def _deployment(fields: Mapping[str, object], state: State) -> tuple[str, Model]:
    """The deployment that a request names, and its model."""
    name, options = _required(fields, "model"), state.options
    known = state.azure.served(name)
    retired = known is not None and options.retired != "answer" and CATALOGUE[known].is_retired
    if retired and options.retired == "410":
        raise refusal_of_status(410)
    if known is None or retired:
        raise Refusal(
            404,
            "DeploymentNotFound",
            f"The API deployment {name[:200]!r} does not exist on this resource. A deployment made "
            "within the last minutes may not be known yet.",
        )
    return name, CATALOGUE[known]


def _parse_generation(fields: Mapping[str, object], model: Model) -> ImageRequest:
    """A text-to-image request. `n` is ignored, whatever it says."""
    prompt = _prompt(fields)
    _check_names(fields, {"model", "prompt", "width", "height", "n"}, model)
    transparent = _wants_transparent(fields)
    for name in SWITCHES:
        if not isinstance(fields.get(name, False), bool):
            raise bad_value(f"'{name}' must be a boolean.")
    switches = _switches(fields, True)
    size = checked_size(_side(fields, "width"), _side(fields, "height"), model)
    if AUTO in switches:
        size = size_for(aspect_for(prompt), model)
    return ImageRequest(model, prompt, size, switches, transparent=transparent)


def _parse_edit(form: Form, model: Model, options: Options) -> ImageRequest:
    """An edit, with its references measured."""
    fields = form.fields
    if not model.can_edit:
        message = f"The model {model.name} has no image edits: choose another model."
        raise Refusal(400, "OperationNotSupported", message)
    prompt = _prompt(fields)
    size_rule = options.edit_size
    if size_rule == "by model":
        size_rule = "accepted" if model.max_pixels > PIXELS_2X else "ignored"
    known = {"model", "prompt", "n"} | ({"size"} if size_rule != "refused" else set())
    _check_names(fields, known, model)
    transparent = _wants_transparent(fields)
    for name in SWITCHES:
        if fields.get(name, "false") not in ("true", "false"):
            raise bad_value(f"'{name}' must be 'true' or 'false'.")
    switches = _switches(fields, "true")
    size = None
    if size_rule == "accepted" and "size" in fields:
        size = checked_size(*parse_sides(fields["size"]), model)
    _check_files(form.files, model)
    references = tuple(measured(upload) for upload in form.files)
    if size is None or AUTO in switches:
        pixels = output_pixels(options.edit_output, references[0], model)
        size = size_for(aspect_of(references[0]), model, pixels)
    return ImageRequest(model, prompt, size, switches, references, transparent)


def _required(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if value is None or value == "":
        raise _missing(name)
    if not isinstance(value, str):
        raise bad_value(f"'{name}' must be a string.")
    return value


def _prompt(fields: Mapping[str, object]) -> str:
    """The prompt: a string with something in it."""
    prompt = _required(fields, "prompt")
    if not prompt.strip():
        raise _missing("prompt")
    return prompt


def _check_names(fields: Mapping[str, object], known: set[str], model: Model) -> None:
    """Raise the 400 for parameters that this model, or any image API, doesn't know."""
    known = known | model.options
    others = [name for name in fields if name not in known]
    foreign = FOREIGN_PARAMETERS | set(SWITCHES) | {"width", "height"}
    unsupported = [name for name in others if name in foreign]
    if unsupported:
        raise _unsupported(*unsupported)
    if others:
        message = f"Unrecognized request argument supplied: {', '.join(others)}"
        raise Refusal(400, "unrecognized_request_argument", message)


def _wants_transparent(fields: Mapping[str, object]) -> bool:
    """Whether the image is to have alpha. Raises the 400 for any other value than the two."""
    if fields.get(BACKGROUND, OPAQUE) not in (TRANSPARENT, OPAQUE):
        raise _unsupported(BACKGROUND)
    return fields.get(BACKGROUND) == TRANSPARENT


def _switches(fields: Mapping[str, object], on: object) -> list[str]:
    return [shown for name, shown in SWITCHES.items() if fields.get(name) == on]


def _side(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name, DEFAULT_SIDE)
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad_value(f"'{name}' must be an integer.")
    return value


def parse_sides(size: object) -> tuple[int, int]:
    """Width and height of "1024x768"."""
    width, times, height = str(size).partition("x")
    digits = all(side.isascii() and side.isdigit() and len(side) < 10 for side in (width, height))
    if not times or not digits:
        raise bad_value("'size' must be WIDTHxHEIGHT.")
    return int(width), int(height)


def checked_size(width: int, height: int, model: Model) -> tuple[int, int]:
    """The size of the image for the requested one: the limits are checked before rounding."""
    for name, side in (("width", width), ("height", height)):
        if side < model.min_side:
            raise bad_value(f"'{name}' must be at least {model.min_side} pixels.")
        if side > MAX_DIGITS_SIDE:
            raise bad_value(f"'{name}' must be at most {MAX_DIGITS_SIDE} pixels.")
    if width * height > model.max_pixels:
        raise Refusal(
            400,
            "unsupported_request_value",  # a guess: the text is documented, the code isn't
            f"Invalid dimensions {width}x{height}: total pixel count ({width * height}) "
            f"exceeds the maximum of {model.max_pixels}",
        )
    return round_down(width), round_down(height)


def _check_files(files: Sequence[Upload], model: Model) -> None:
    """An edit's file parts: each exactly named `image`, as many as the model takes."""
    if any(upload.field != "image" for upload in files):
        message = "File must be attached in a form field with a name starting with 'image'."
        raise Refusal(400, "invalid_request", message)
    if 1 <= len(files) <= model.max_references:
        return
    if model.max_references == 1:
        message = "Exactly one image file must be attached for edit requests"
        raise Refusal(400, "invalid_request", message)
    raise bad_request(
        f"Only 1 to {model.max_references} image files are supported for edit requests."
    )


def _missing(name: str) -> Refusal:
    return Refusal(400, "missing_required_parameter", f"Missing required parameter: '{name}'.")


def _unsupported(*names: str) -> Refusal:
    message = "Model does not support request argument supplied: Invalid parameters: "
    return Refusal(400, "unsupported_request_argument", message + ", ".join(names))
