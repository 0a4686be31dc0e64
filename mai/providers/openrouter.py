"""OpenRouter: a request becomes HTTP, an answer becomes an image or an error.

Source: OpenRouter's pages of its Images API and of "MAI Image 2.7" as of November 2026. Nothing was
called live.

A model's endpoint there may lack a parameter, and then answers 400. What isn't needed for the image
is left out after such a refusal, and a size goes as the nearest aspect ratio and resolution; the
result's notes say by how much that differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import ClassVar

from ..errors import AnswerError, Billed, OptionError, ServiceError
from ..formats import inspect
from ..http import HttpAnswer, HttpRequest
from ..models import CATALOGUE
from ..sizes import Size, off_by, ratio_of
from ..types import OPAQUE, Edit, Generate, Request, Result
from .answers import json_object, names_field, refusal
from .base64_field import cut_out_image, data_uri, first_image, holds_image, size_notes, unreadable

IMAGES = "/images"

SLUGS = {
    "MAI-Image-2.7": "microsoft/mai-image-2.7",
    "MAI-Image-2.6": "microsoft/mai-image-2.6",
    "MAI-Image-2.6-Flash": "microsoft/mai-image-2.6-flash",
}
"""The models that it has, and their names there."""

RATIOS = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")
"""The ratios that another client offers for MAI models there."""

_SMALL = {"1K": 1024 * 1024, "1.5K": 1536 * 1536}
TIERS = {
    "MAI-Image-2.7": {"1K": 1024 * 1024, "2K": 2048 * 2048},
    "MAI-Image-2.6": _SMALL,
    "MAI-Image-2.6-Flash": _SMALL,
}
"""Each `resolution` of a model, and about how many pixels its images have."""

FARTHEST = Fraction(6, 5)
"""A size whose nearest ratio differs by more than this factor isn't sent as a ratio."""

SERVICE = "OpenRouter"

OPTIONAL = ("output_format", "size", "resolution")
"""What a request can do without."""

FIELDS = frozenset({*OPTIONAL, "aspect_ratio", "background", "input_references", "quality", "n"})
"""What a refusal can name that was looked at before any work was done."""

MOST_USD = 1000.0
"""More than any one image costs: what says so is a mistake."""

_HINTS = {
    401: "Copy the key again from openrouter.ai/settings/keys and check which profile or variable "
    "(OPENROUTER_API_KEY) holds it.",
    402: "Add credits at openrouter.ai/settings/credits, or raise the key's limit, then queue "
    "again.",
    403: "Check at openrouter.ai/settings that the key may use this model and provider.",
    404: "Check the profile's endpoint: it is https://openrouter.ai/api/v1 unless you have a "
    "gateway of your own before it. The account's privacy settings may also leave no provider.",
    408: "Wait a minute, then queue again.",
    429: "Wait a minute, or set `requests_a_minute` in the profile.",
}


@dataclass(frozen=True, slots=True)
class _ReducedGenerate(Generate):
    """A generation without the fields of OPTIONAL that were refused."""

    left_out: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _ReducedEdit(Edit):
    """An edit without the fields of OPTIONAL that were refused."""

    left_out: frozenset[str] = frozenset()


class OpenRouter:
    """MAI models through OpenRouter's Images API."""

    test_model: ClassVar[str] = "MAI-Image-2.7"
    models: ClassVar[tuple[str, ...]] = tuple(SLUGS)
    price_step: ClassVar[float] = 0.0

    def validate(self, request: Request) -> None:
        """Raise OptionError for what OpenRouter can't do."""
        if request.model not in SLUGS:
            raise OptionError(
                f"OpenRouter has no {request.model[:60]}, only {', '.join(SLUGS)}.",
                f"Choose {self.test_model}, or a profile of another service.",
            )
        if request.auto_aspect_ratio or request.web_grounding:
            raise OptionError(
                "OpenRouter has neither auto_aspect_ratio nor web_grounding.",
                "Switch them off, or choose a profile of Microsoft Foundry and MAI-Image-2.6.",
            )

    def build(
        self, request: Request, endpoint: str, deployment: str, client_request_id: str
    ) -> HttpRequest:
        """The request for one image; an edit is one with references. The seed is not sent."""
        body: dict[str, object] = {"model": SLUGS[request.model], "prompt": request.prompt}
        left_out = _left_out(request)
        if "output_format" not in left_out:
            body["output_format"] = "png"
        body.update(_size_fields(request, left_out))
        if request.background != OPAQUE:
            body["background"] = request.background
        if isinstance(request, Edit):
            body["input_references"] = [
                {"type": "image_url", "image_url": {"url": data_uri(image.data, image.media_type)}}
                for image in request.images
            ]
        return HttpRequest("POST", endpoint + IMAGES, json=body)

    def read(self, request: Request, answer: HttpAnswer) -> Result:
        """The image of an answer, or the error that it stands for, as with Foundry."""
        if answer.status != 200:
            raise self.error_for(answer)
        json, encoded = cut_out_image(answer.body)
        try:
            body = json_object(answer, SERVICE, json)
        except AnswerError as error:
            if holds_image(answer.body):
                raise unreadable(answer, error.what, answer.body, None) from error
            raise
        charged = _charged(body)
        data = first_image(body, encoded, answer, charged, SERVICE)
        model = CATALOGUE[request.model]
        cost_usd = model.estimate(request) if charged is None else charged
        try:
            header = inspect(data, model.most_decoded)
        except AnswerError as error:
            raise unreadable(answer, error.what, data, cost_usd) from error
        size = Size(header.width, header.height)
        notes = () if charged is not None else ("the answer names no cost: it is an estimate",)
        return Result(
            image=data,
            media_type=header.media_type,
            width=header.width,
            height=header.height,
            model=request.model,
            asked=request.requested_size,
            request_id=answer.request_id,
            cost_usd=cost_usd,
            seconds=answer.seconds,
            notes=(*_ratio_notes(request), *size_notes(request.requested_size, size), *notes),
        )

    def error_for(self, answer: HttpAnswer) -> ServiceError:
        """The error that a refusal stands for."""
        return refusal(answer, _HINTS, FIELDS)

    def without_refused_field(self, request: Request, answer: HttpAnswer) -> Request | None:
        """The request without the optional field that this answer refuses; a size that is refused
        goes as the nearest ratio, unless none is near."""
        if answer.status != 400 or self.error_for(answer).billed is not Billed.NO:
            return None
        body = self.build(request, "", "", "").json or {}
        sent = [name for name in OPTIONAL if name in body]
        refused = names_field(answer, sent)
        if refused is None or (refused == "size" and _ratio_and_tier(request) is None):
            return None
        return _without(request, _left_out(request) | {refused})

    def probe(self, endpoint: str, deployment: str | None = None) -> HttpRequest:
        """A request without a prompt: refused (400) once the key is accepted."""
        return HttpRequest("POST", endpoint + IMAGES, json={"model": SLUGS[self.test_model]})


def _left_out(request: Request) -> frozenset[str]:
    if isinstance(request, (_ReducedGenerate, _ReducedEdit)):
        return request.left_out
    return frozenset()


def _without(request: Request, left_out: frozenset[str]) -> Request:
    kind = Generate if isinstance(request, Generate) else Edit
    values = {field.name: getattr(request, field.name) for field in fields(kind)}
    reduced = _ReducedGenerate if kind is Generate else _ReducedEdit
    return reduced(**values, left_out=left_out)


def _size_fields(request: Request, left_out: frozenset[str]) -> Mapping[str, str]:
    """The size in pixels; or, if that was refused, the nearest ratio and resolution."""
    if request.requested_size is None:
        return {}
    if "size" not in left_out:
        width, height = request.requested_size
        return {"size": f"{width}x{height}"}
    nearest = _ratio_and_tier(request)
    if nearest is None:
        return {}
    ratio, tier = nearest
    both = {"aspect_ratio": ratio, "resolution": tier}
    return {name: value for name, value in both.items() if name not in left_out}


def _ratio_and_tier(request: Request) -> tuple[str, str] | None:
    """The nearest ratio, and the largest resolution that isn't larger than the size, so that the
    image isn't dearer than its estimate where that can be; None: no ratio is near."""
    if request.requested_size is None or min(request.requested_size) <= 0:
        return None
    size = Size(*request.requested_size)
    ratio = min(RATIOS, key=lambda one: off_by(size, ratio_of(one)))
    if off_by(size, ratio_of(ratio)) > FARTHEST:
        return None
    tiers = TIERS[request.model]
    fitting = [tier for tier, pixels in tiers.items() if pixels <= size.pixels]
    return ratio, (fitting or list(tiers))[-1 if fitting else 0]


def _ratio_notes(request: Request) -> tuple[str, ...]:
    nearest = _ratio_and_tier(request) if "size" in _left_out(request) else None
    if nearest is None or request.requested_size is None:
        return ()
    asked = Size(*request.requested_size)
    off = float(off_by(asked, ratio_of(nearest[0])) - 1) * 100
    return (
        f"asked for {asked}, sent as aspect ratio {nearest[0]} at {nearest[1]}, {off:.1f} % off",
    )


def _charged(body: Mapping[str, object]) -> float | None:
    """USD that the answer says were charged; None where it says nothing that can be right.

    With a key of the user's own at the model's provider, that one's charge comes on top. Nothing
    at all isn't believed: what may be billed is never counted free.
    """
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return None
    details = usage.get("cost_details")
    upstream = details.get("upstream_inference_cost") if isinstance(details, dict) else None
    own = _usd(usage.get("cost"))
    if own is None:
        return None
    total = own + ((_usd(upstream) or 0.0) if usage.get("is_byok") is True else 0.0)
    return total if total > 0 else None


def _usd(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= MOST_USD else None
