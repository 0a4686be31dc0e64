"""Microsoft Foundry's wire format: a request becomes a request, an answer a Result or an error.

Source: Microsoft Learn "Deploy and use MAI image models in Microsoft Foundry", and for what it
does not say (field names that are refused, answers with empty data) measurements by independent
clients in 2026.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import AnswerError, BlockedError
from ..http import FilePart, HttpAnswer, HttpRequest, parse
from ..image_formats import inspect
from ..models import BY_NAME
from ..types import Edit, Generate, Request, Result, Usage
from .base64_field import PLACE, lift, unpack
from .refusals import error_for

GENERATIONS = "/mai/v1/images/generations"
EDITS = "/mai/v1/images/edits"
CALL_ID_HEADER = "x-ms-client-request-id"

_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg"}


def build(request: Request, endpoint: str, deployment: str, call_id: str = "") -> HttpRequest:
    """The request for one request; `model` on the wire is the deployment's name.

    The seed is not sent: the service refuses it. `call_id` goes along as Azure's client request
    id, by which support finds a call; it is the same whenever the same image is asked for.
    """
    headers = {CALL_ID_HEADER: call_id} if call_id else {}
    if isinstance(request, Generate):
        body = _generation(request, deployment)
        return HttpRequest("POST", endpoint + GENERATIONS, json=body, headers=headers)
    return HttpRequest(
        "POST",
        endpoint + EDITS,
        fields=_edit_fields(request, deployment),
        files=tuple(
            FilePart(
                "image", f"image_{i}.{_EXTENSIONS[image.media_type]}", image.data, image.media_type
            )
            for i, image in enumerate(request.images, 1)
        ),
        headers=headers,
    )


def _options(request: Request) -> dict[str, bool]:
    """The options of 2.6 and later, only where they are on: earlier models refuse the names."""
    options = {
        "auto_aspect_ratio": request.auto_aspect_ratio,
        "web_grounding": request.web_grounding,
    }
    return {name: True for name, on in options.items() if on}


def _generation(request: Generate, deployment: str) -> dict[str, object]:
    body: dict[str, object] = {"model": deployment, "prompt": request.prompt}
    if not request.auto_aspect_ratio:
        body.update(width=request.width, height=request.height)
    return {**body, **_options(request)}


def _edit_fields(request: Edit, deployment: str) -> dict[str, str]:
    fields = {"model": deployment, "prompt": request.prompt}
    if request.size is not None:
        fields["size"] = f"{request.size[0]}x{request.size[1]}"
    return {**fields, **dict.fromkeys(_options(request), "true")}


def read(answer: HttpAnswer, request: Request) -> Result:
    """The image of an answer, or the error that it stands for.

    ServiceError: whatever isn't a 200 (see refusals.py). BlockedError: a 200 without an image.
    AnswerError: a 200 whose body isn't what the service documents.
    """
    if answer.status != 200:
        raise error_for(answer)
    json, image_text = lift(answer.body)
    body = _json_object(json, answer)
    data = _first_image(body, image_text, answer)
    image = inspect(data)
    usage = _usage(body)
    model = BY_NAME[request.model]
    asked = _asked(request)
    return Result(
        image=data,
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        model=request.model,
        asked=asked,
        request_id=answer.request_id,
        usage=usage,
        cost_usd=model.cost(usage) if usage else model.estimate(request),
        seconds=answer.seconds,
        notes=_notes(asked, (image.width, image.height), body, request.model, usage),
    )


def _asked(request: Request) -> tuple[int, int] | None:
    if request.auto_aspect_ratio:
        return None
    return (request.width, request.height) if isinstance(request, Generate) else request.size


def _json_object(json: bytes, answer: HttpAnswer) -> Mapping[str, object]:
    try:
        body = parse(json)
    except ValueError:
        raise _odd(answer, "isn't JSON") from None
    if not isinstance(body, dict):
        raise _odd(answer, "is JSON of another shape")
    return body


def _odd(answer: HttpAnswer, what: str) -> AnswerError:
    kind = answer.headers.get("content-type", "").split(";")[0].strip()[:60] or "no content type"
    return AnswerError(
        f"The service's answer {what} ({len(answer.body)} bytes, {kind}).",
        "Check with `mai-image doctor` that the endpoint is the MAI service itself and that no "
        "proxy changes or cuts its answers; then queue again.",
        status=answer.status,
        request_id=answer.request_id,
    )


def _first_image(body: Mapping[str, object], lifted: memoryview, answer: HttpAnswer) -> bytes:
    data = body.get("data")
    if isinstance(data, list) and not data:
        raise BlockedError(
            "The service answered without an image: usually the content filter stopped it.",
            "Change the prompt or a reference; the filter isn't deterministic, so another seed may "
            "pass too.",
            status=answer.status,
            code="empty_data",
            request_id=answer.request_id,
        )
    if not isinstance(data, list) or not isinstance(data[0], dict):
        raise _odd(answer, "has no list of images")
    encoded = data[0].get("b64_json")
    if not isinstance(encoded, str) or not encoded:
        if isinstance(data[0].get("url"), str):
            raise _odd(answer, "gives an address instead of the image, which is not followed: it")
        raise _odd(answer, "has no image in it")
    try:
        return unpack(lifted if lifted and encoded == PLACE else encoded.encode("ascii"))
    except ValueError:
        raise _odd(answer, "holds an image whose base64 is cut or damaged") from None


def _usage(body: Mapping[str, object]) -> Usage | None:
    """Token counts; early versions put `num_output_tokens` at the top level, some none at all."""
    nested = body.get("usage")
    source: Mapping[str, object] = nested if isinstance(nested, dict) else body
    counts = [
        _count(source.get(name))
        for name in ("num_input_text_tokens", "num_input_image_tokens", "num_output_tokens")
    ]
    if not counts[2]:
        return None
    return Usage(text_in=counts[0], image_in=counts[1], image_out=counts[2])


def _count(value: object) -> int:
    """A count from an answer: a whole number of at most 2^53, else 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0
    return int(value) if 0 <= value <= 2**53 else 0


def _notes(
    asked: tuple[int, int] | None,
    got: tuple[int, int],
    body: Mapping[str, object],
    model: str,
    usage: Usage | None,
) -> tuple[str, ...]:
    notes = []
    if asked and asked != got:
        notes.append(f"asked for {asked[0]}x{asked[1]}, the service sent {got[0]}x{got[1]}")
    answered = body.get("model")
    if isinstance(answered, str) and answered in BY_NAME and answered != model:
        notes.append(f"the deployment answers as {answered}, the node asked for {model}")
    if usage is None:
        notes.append("the service counted no tokens: the cost is an estimate")
    return tuple(notes)
