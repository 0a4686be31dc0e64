"""Microsoft Foundry: a request becomes HTTP, an answer becomes an image or an error.

Source: Microsoft Learn "Deploy and use MAI image models in Microsoft Foundry", and for what it
does not say (field names that are refused, answers with empty data) measurements by independent
clients in 2026.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ..errors import AnswerError, ServiceError
from ..formats import inspect
from ..http import FormFile, HttpAnswer, HttpRequest
from ..models import CATALOGUE, DEFAULT_MODEL, Model
from ..types import OPAQUE, Edit, Generate, Request, Result, Usage
from .answers import json_object, refusal, refuses_field
from .base64_field import cut_out_image, first_image, holds_image, size_notes, unreadable

logger = logging.getLogger(__name__)

GENERATIONS = "/mai/v1/images/generations"
EDITS = "/mai/v1/images/edits"
CLIENT_REQUEST_ID = "x-ms-client-request-id"
SERVICE = "the MAI service"

MAX_TOKENS = 10_000_000
"""More than any one image can have: the largest one has 4096, a prompt 32,000 (mai/models.py)."""

_COUNTS = ("num_input_text_tokens", "num_input_image_tokens", "num_output_tokens")

_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg"}


@dataclass(frozen=True, slots=True)
class Charge:
    """What an answer costs, by the dearer model where it names another one than was asked for.

    `usage` is what the service counted, None where that can't be believed; `counted_usd` is its
    price, None where nothing was counted, and `estimate_usd` that of the request. `notes` are
    sentences for the user of an image.
    """

    usage: Usage | None
    counted_usd: float | None
    estimate_usd: float
    notes: tuple[str, ...]


class Foundry:
    """MAI models as deployments of a Microsoft Foundry resource."""

    test_model: ClassVar[str] = DEFAULT_MODEL
    models: ClassVar[tuple[str, ...]] = ()
    price_step: ClassVar[float] = 0.0

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
            body: dict[str, object] = {"model": deployment, "prompt": request.prompt}
            if not request.auto_aspect_ratio:
                body.update(width=request.width, height=request.height)
            body.update(_options(request))
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
                raise unreadable(answer, error.what, answer.body, None) from error
            raise
        charge = _charge(request, body)
        data = first_image(body, encoded, answer, charge.counted_usd, SERVICE)
        has_usage = charge.usage is not None and charge.usage.image_out > 0
        cost_usd = charge.counted_usd if has_usage else charge.estimate_usd
        try:
            header = inspect(data, CATALOGUE[request.model].most_decoded)
        except AnswerError as error:
            raise unreadable(answer, error.what, data, cost_usd) from error
        asked, size = request.requested_size, (header.width, header.height)
        return Result(
            image=data,
            media_type=header.media_type,
            width=header.width,
            height=header.height,
            model=request.model,
            asked=asked,
            request_id=answer.request_id,
            usage=charge.usage if has_usage else None,
            cost_usd=cost_usd,
            seconds=answer.seconds,
            notes=(*size_notes(asked, size), *charge.notes),
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


def _edit_fields(request: Edit, deployment: str) -> dict[str, str]:
    fields = {"model": deployment, "prompt": request.prompt}
    if request.size is not None:
        fields["size"] = f"{request.size[0]}x{request.size[1]}"
    # A form has texts only: "true" is how it says yes.
    return {**fields, **{name: str(value).lower() for name, value in _options(request).items()}}


def _charge(request: Request, body: Mapping[str, object]) -> Charge:
    usage, note = _usage(body)
    asked, answered = CATALOGUE[request.model], _other_model(request, body)
    models = [asked] if answered is None else [asked, answered]
    notes = [_note_model(asked.name, answered.name)] if answered else []
    if note or usage is None or not usage.image_out:
        notes.append(note or "the service counted no tokens: the cost is an estimate")
    return Charge(
        usage,
        max(model.cost(usage) for model in models) if usage and usage != Usage() else None,
        max(model.estimate(request) for model in models),
        tuple(notes),
    )


def _usage(body: Mapping[str, object]) -> tuple[Usage | None, str]:
    """Token counts, or None and why they aren't believed.

    Early versions put `num_output_tokens` at the top level, some count nothing at all. A count that
    is there and can't be right makes all of them doubtful.
    """
    nested = body.get("usage")
    source: Mapping[str, object] = nested if isinstance(nested, dict) else body
    given = [source.get(name) for name in _COUNTS]
    if all(value is None for value in given):
        return None, ""
    counts = [0 if value is None else _count(value) for value in given]
    text_in, image_in, image_out = counts
    if text_in is None or image_in is None or image_out is None:
        return None, "the service's token counts can't be right: the cost is an estimate"
    return Usage(text_in, image_in, image_out), ""


def _count(value: object) -> int | None:
    """A whole number that a count can be, else None; parse_json gives every number as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value <= MAX_TOKENS and value == int(value) else None


def _other_model(request: Request, body: Mapping[str, object]) -> Model | None:
    """The model of the catalogue that an answer names, where it isn't the one asked for."""
    name = body.get("model")
    word = name.strip().casefold() if isinstance(name, str) else ""
    for model in CATALOGUE.values():
        full = model.name.casefold()
        if word in (full, f"{full}-{model.version}") and model.name != request.model:
            return model
    return None


@functools.cache
def _note_model(asked: str, answered: str) -> str:
    """The note for the user, and once for each pair a warning: a batch would fill the log."""
    logger.warning(
        "A deployment for %s answers as %s: check in the profile which deployment is of which "
        "model. Its images are counted at the dearer model's price.",
        asked,
        answered,
    )
    return (
        f"the deployment answers as {answered}, the node asked for {asked}: the cost is that of "
        "the dearer one"
    )
