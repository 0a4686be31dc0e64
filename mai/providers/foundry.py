"""Microsoft Foundry: a request becomes HTTP, an answer becomes an image or an error.

Source: Microsoft Learn "Deploy and use MAI image models in Microsoft Foundry", and for what it
does not say (field names that are refused, answers with empty data) measurements by independent
clients in 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from ..errors import BlockedError, ServiceError
from ..http import FormFile, HttpAnswer, HttpRequest
from ..image_formats import inspect
from ..models import CATALOGUE, DEFAULT_MODEL
from ..types import OPAQUE, Edit, Generate, Request, Result, Usage
from .answers import json_object, refusal, refuses_field, unusable
from .base64_field import PLACEHOLDER, cut_out_image, decode_base64

GENERATIONS = "/mai/v1/images/generations"
EDITS = "/mai/v1/images/edits"
CLIENT_REQUEST_ID = "x-ms-client-request-id"
SERVICE = "the MAI service"

_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg"}


class Foundry:
    """MAI models as deployments of a Microsoft Foundry resource."""

    test_model: ClassVar[str] = DEFAULT_MODEL

    def validate(self, request: Request) -> None:
        """Every valid request can be sent."""

    def build(
        self, request: Request, endpoint: str, deployment: str, client_request_id: str
    ) -> HttpRequest:
        """The HTTP request; its field `model` is the deployment's name.

        The seed is not sent: the service refuses it. `client_request_id` goes along in Azure's
        header, by which support finds a call; it is the same whenever the same image is requested.
        """
        headers = {CLIENT_REQUEST_ID: client_request_id}
        if isinstance(request, Generate):
            body = _generation(request, deployment)
            return HttpRequest("POST", endpoint + GENERATIONS, json=body, headers=headers)
        return HttpRequest(
            "POST",
            endpoint + EDITS,
            fields=_edit_fields(request, deployment),
            files=tuple(
                FormFile(
                    "image",
                    f"image_{i}.{_EXTENSIONS[image.media_type]}",
                    image.data,
                    image.media_type,
                )
                for i, image in enumerate(request.images, 1)
            ),
            headers=headers,
        )

    def read(self, request: Request, answer: HttpAnswer) -> Result:
        """The image of an answer, or the error that it stands for.

        ServiceError: whatever isn't a 200. BlockedError: a 200 without an image. AnswerError: a 200
        whose body isn't what the service documents.
        """
        if answer.status != 200:
            raise refusal(answer)
        json, encoded = cut_out_image(answer.body)
        body = json_object(answer, SERVICE, json)
        data = _first_image(body, encoded, answer)
        header = inspect(data)
        usage = _usage(body)
        model = CATALOGUE[request.model]
        return Result(
            image=data,
            media_type=header.media_type,
            width=header.width,
            height=header.height,
            model=request.model,
            asked=request.requested_size,
            request_id=answer.request_id,
            usage=usage,
            cost_usd=model.cost(usage) if usage else model.estimate(request),
            seconds=answer.seconds,
            notes=_notes(request, (header.width, header.height), body, usage),
        )

    def error_for(self, answer: HttpAnswer) -> ServiceError:
        """The error that a refusal stands for."""
        return refusal(answer)

    def without_refused_field(self, request: Request, answer: HttpAnswer) -> Request | None:
        """An edit without its `size`, which some models refuse (measured, November 2026)."""
        if isinstance(request, Edit) and request.size and refuses_field(answer, "size"):
            return replace(request, size=None)
        return None

    def probe(self, endpoint: str, deployment: str | None = None) -> HttpRequest:
        """A generation without a prompt.

        The service refuses it (400) after it has looked at the credential and the deployment, so
        each of the two shows by another status.
        """
        body: dict[str, object] = {} if deployment is None else {"model": deployment}
        return HttpRequest("POST", endpoint + GENERATIONS, json=body)


def _options(request: Request) -> dict[str, bool | str]:
    """The options of 2.6 and later, only where they are on: other models refuse them."""
    options = {
        "auto_aspect_ratio": request.auto_aspect_ratio,
        "web_grounding": request.web_grounding,
        "background": request.background != OPAQUE and request.background,
    }
    return {name: value for name, value in options.items() if value}


def _generation(request: Generate, deployment: str) -> dict[str, object]:
    body: dict[str, object] = {"model": deployment, "prompt": request.prompt}
    if not request.auto_aspect_ratio:
        body.update(width=request.width, height=request.height)
    return {**body, **_options(request)}


def _edit_fields(request: Edit, deployment: str) -> dict[str, str]:
    fields = {"model": deployment, "prompt": request.prompt}
    if request.size is not None:
        fields["size"] = f"{request.size[0]}x{request.size[1]}"
    # A form has texts only: "true" is how it says yes.
    return {**fields, **{name: str(value).lower() for name, value in _options(request).items()}}


def _first_image(body: Mapping[str, object], encoded: memoryview, answer: HttpAnswer) -> bytes:
    """The image's bytes; `encoded` is its base64 where that was cut out of the JSON."""
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
        raise unusable(answer, "has no list of images", SERVICE)
    text = data[0].get("b64_json")
    if not isinstance(text, str) or not text:
        if isinstance(data[0].get("url"), str):
            what = "gives an address instead of the image, which is not followed"
            raise unusable(answer, what, SERVICE)
        raise unusable(answer, "has no image in it", SERVICE)
    try:
        cut_out = encoded and text == PLACEHOLDER
        return decode_base64(encoded if cut_out else text.encode("ascii"))
    except ValueError:
        raise unusable(answer, "holds an image whose base64 is cut or damaged", SERVICE) from None


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
    request: Request, size: tuple[int, int], body: Mapping[str, object], usage: Usage | None
) -> tuple[str, ...]:
    notes = []
    asked = request.requested_size
    if asked and asked != size:
        notes.append(f"asked for {asked[0]}x{asked[1]}, the service sent {size[0]}x{size[1]}")
    answered = body.get("model")
    if isinstance(answered, str) and answered in CATALOGUE and answered != request.model:
        notes.append(f"the deployment answers as {answered}, the node asked for {request.model}")
    if usage is None:
        notes.append("the service counted no tokens: the cost is an estimate")
    return tuple(notes)
