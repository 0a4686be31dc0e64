"""Microsoft Foundry: a request becomes HTTP, an answer becomes an image or an error.

Source: Microsoft Learn "Deploy and use MAI image models in Microsoft Foundry", and for what it
does not say (field names that are refused, answers with empty data) measurements by independent
clients in 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from ..errors import AnswerError, BlockedError, ServiceError, UnreadableError
from ..http import FormFile, HttpAnswer, HttpRequest
from ..image_formats import inspect
from ..models import CATALOGUE, DEFAULT_MODEL
from ..types import OPAQUE, Edit, Generate, Request, Result
from .answers import error_in_200, json_object, refusal, refuses_field, unusable
from .base64_field import PLACEHOLDER, cut_out_image, decode_base64, holds_image
from .error_body import find_error
from .usage import charge_of, counted_cost

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
        whose body is an error, or isn't what the service documents.
        """
        if answer.status != 200:
            raise refusal(answer)
        json, encoded = cut_out_image(answer.body)
        try:
            body = json_object(answer, SERVICE, json)
        except AnswerError as error:
            if holds_image(answer.body):
                raise _unreadable(answer, error.what, answer.body, None) from error
            raise
        data = _first_image(request, body, encoded, answer)
        charge = charge_of(request, body)
        try:
            header = inspect(data, CATALOGUE[request.model].most_decoded)
        except AnswerError as error:
            raise _unreadable(answer, error.what, data, charge.cost_usd) from error
        return Result(
            image=data,
            media_type=header.media_type,
            width=header.width,
            height=header.height,
            model=request.model,
            asked=request.requested_size,
            request_id=answer.request_id,
            usage=charge.usage,
            cost_usd=charge.cost_usd,
            seconds=answer.seconds,
            notes=(*_size_notes(request, (header.width, header.height)), *charge.notes),
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


def _first_image(
    request: Request, body: Mapping[str, object], encoded: memoryview, answer: HttpAnswer
) -> bytes:
    """The image's bytes; `encoded` is its base64 where that was cut out of the JSON."""
    data = body.get("data")
    first = data[0] if isinstance(data, list) and data else None
    item = first if isinstance(first, dict) else {}
    text = item.get("b64_json")
    cost_usd = counted_cost(request, body)
    cut_out = text == PLACEHOLDER
    if not isinstance(text, str) or not text or (cut_out and not encoded):
        raise _without_image(body, item, answer, cost_usd)
    try:
        return decode_base64(encoded if cut_out else text.encode("ascii"))
    except ValueError:
        received = bytes(encoded) if cut_out else text.encode("utf-8", "replace")
        what = "The image's base64 is cut or damaged."
        raise _unreadable(answer, what, received, cost_usd) from None


def _unreadable(
    answer: HttpAnswer, what: str, received: bytes, cost_usd: float | None
) -> UnreadableError:
    error = UnreadableError(
        what,
        "Another seed buys another image.",
        status=answer.status,
        request_id=answer.request_id,
        cost_usd=cost_usd,
    )
    error.received = received
    return error


def _without_image(
    body: Mapping[str, object],
    item: Mapping[str, object],
    answer: HttpAnswer,
    cost_usd: float | None,
) -> ServiceError:
    """What a 200 without an image stands for; `item` is the first of its list of images."""
    for holder in (body, item):
        if holder.get("error"):
            return error_in_200(answer, holder, SERVICE, cost_usd)
    data = body.get("data")
    if data == [] or (data is None and cost_usd is not None):
        return BlockedError(
            "The service answered without an image: usually the content filter stopped it.",
            "Change the prompt or a reference; the filter isn't deterministic, so another seed may "
            "pass too.",
            status=answer.status,
            code="empty_data",
            request_id=answer.request_id,
            cost_usd=cost_usd,
        )
    if data is None and find_error(body, answer.redactor).message:
        return error_in_200(answer, body, SERVICE, cost_usd)
    if isinstance(item.get("url"), str):
        what = "gives an address instead of the image, which is not followed"
    else:
        what = "has no image in it" if item else "has no list of images"
    return unusable(answer, what, SERVICE, cost_usd)


def _size_notes(request: Request, size: tuple[int, int]) -> tuple[str, ...]:
    asked = request.requested_size
    if not asked or asked == size:
        return ()
    return (f"asked for {asked[0]}x{asked[1]}, the service sent {size[0]}x{size[1]}",)
