"""fal: a request becomes a job in its queue, polled answers become an image or an error.

Source: fal's pages of "MAI Image 2.7" and of its queue as of November 2026. Nothing was called
live, so what its answers may lack they are allowed to lack.

A job's status says whether it is completed; what it made stands at another address, and the image
itself on a host that must not see the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from ..errors import Billed, BlockedError, OptionError, PaymentError, ServiceError
from ..formats import inspect, parse_json
from ..http import HttpAnswer, HttpRequest
from ..models import CATALOGUE, PIXELS_PER_TOKEN, estimate_usage
from ..types import OPAQUE, Generate, Request, Result, Usage
from .answers import is_content_block, json_object, one_line, refusal, unusable
from .base64_field import data_uri, image_of_data_uri, size_notes
from .provider import Job, round_up

MODEL = "MAI-Image-2.7"
"""The one MAI model that fal is known to have."""

APP = "/microsoft/mai-image-2.7"
GENERATIONS = f"{APP}/text-to-image"
EDITS = f"{APP}/edit"

NO_JOB = "00000000-0000-0000-0000-000000000000"
"""The id of no job."""

SERVICE = "fal"

FIELDS = frozenset({"prompt", "image_size", "image_urls", "output_format", "width", "height"})
"""What a refusal can name that was looked at before any work was done."""

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?=&%\[\]-]{1,500}")
_LINKS = {"status_url": "/status", "response_url": "", "cancel_url": "/cancel"}
"""A job's addresses in the answer to its order, and where they are below the job by fal's pages."""

_PHASES = {
    "IN_QUEUE": "queued",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "ERROR": "failed",
    "CANCELLED": "cancelled",
    "CANCELED": "cancelled",
}
"""Documented are IN_QUEUE, IN_PROGRESS and COMPLETED; any other word counts as in progress."""

_TOP_UP = "Add credits to your account at fal.ai/dashboard/billing, then queue again."
_HINTS = {
    401: "Copy the key again from fal.ai/dashboard/keys, whole, and check which profile or "
    "variable (FAL_KEY) holds it.",
    402: _TOP_UP,
    403: "Check in your fal account that the key may call models; a new one may be needed.",
    404: "Check the profile's endpoint: it is https://queue.fal.run unless you have a gateway of "
    "your own before it.",
    429: "Wait a minute, or set `requests_a_minute` in the profile.",
}
_MORE_BLOCK_WORDS = ("content checker", "moderation", "nsfw", "content policy", "safety")
_LONGEST_REASON = 300
_LONGEST_BODY = 65_536


class Fal:
    """MAI Image 2.7 and its edit at fal, as jobs."""

    test_model: ClassVar[str] = MODEL
    models: ClassVar[tuple[str, ...]] = (MODEL,)
    price_step: ClassVar[float] = 0.0001
    """Its page: each call is rounded up to a hundredth of a cent."""

    def validate(self, request: Request) -> None:
        """Raise OptionError for what fal can't do."""
        if request.model != MODEL:
            raise OptionError(
                f"fal has no {request.model[:60]}, only {MODEL}.",
                f"Choose {MODEL}, or a profile of another service.",
            )
        if request.auto_aspect_ratio or request.web_grounding:
            raise OptionError(
                "fal has neither auto_aspect_ratio nor web_grounding.",
                "Switch them off, or choose a profile of Microsoft Foundry and MAI-Image-2.6.",
            )
        if request.background != OPAQUE:
            raise OptionError(
                "fal has no transparent background.",
                "Set background to opaque, or choose a profile of OpenRouter or Microsoft Foundry.",
            )

    def build(
        self, request: Request, endpoint: str, deployment: str, client_request_id: str
    ) -> HttpRequest:
        """The request that begins a job for one image. The seed is not sent."""
        body: dict[str, object] = {"prompt": request.prompt, "output_format": "png"}
        if request.requested_size is not None:
            width, height = request.requested_size
            body["image_size"] = {"width": width, "height": height}
        if isinstance(request, Generate):
            return HttpRequest("POST", endpoint + GENERATIONS, json=body)
        body["image_urls"] = [data_uri(image.data, image.media_type) for image in request.images]
        return HttpRequest("POST", endpoint + EDITS, json=body)

    def read(self, request: Request, answer: HttpAnswer) -> Job:
        """The job that was begun. ServiceError: none was."""
        if not 200 <= answer.status < 300:
            raise self.error_for(answer)
        body = json_object(answer, SERVICE)
        job = _job(body, answer) or Job("failed", reason=_reason(body, answer))
        if job.job_id is not None:
            return replace(job, job_id=_with_links(job.job_id, body))
        if job.media:
            return job
        if job.reason:
            raise self.job_error(job)
        raise unusable(answer, "names no job", SERVICE)

    def error_for(self, answer: HttpAnswer) -> ServiceError:
        """The error that a refusal stands for."""
        answer = _in_usual_form(answer)
        error = refusal(answer, _HINTS, FIELDS)
        if answer.status == 403 and "balance" in error.what.lower():
            return PaymentError(
                error.what, _TOP_UP, status=403, code=error.code, request_id=error.request_id
            )
        return error

    def without_refused_field(self, request: Request, answer: HttpAnswer) -> None:
        """No field is optional."""

    def probe(self, endpoint: str, deployment: str | None = None) -> HttpRequest:
        """The status of a job that can't exist: answered only to a key that fal knows."""
        return self.build_poll(endpoint, NO_JOB)

    def build_poll(self, endpoint: str, job_id: str) -> HttpRequest:
        """The request for a job's status."""
        return HttpRequest("GET", _address(endpoint, job_id, "status_url"))

    def read_job(self, answer: HttpAnswer) -> Job:
        """What a status says of its job. AnswerError: it isn't what fal documents."""
        body = json_object(answer, SERVICE)
        job = _job(body, answer)
        if job is None:
            raise unusable(answer, "names neither a job nor an image", SERVICE)
        return job

    def build_result(self, endpoint: str, job_id: str) -> HttpRequest:
        """The request for what a completed job made."""
        return HttpRequest("GET", _address(endpoint, job_id, "response_url"))

    def read_result(self, answer: HttpAnswer) -> Job | None:
        """The completed job, or the one that failed or was cancelled; None: neither is said.

        A 422 with `detail` is what fal documents for a job that failed.
        """
        if 200 <= answer.status < 300:
            body = json_object(answer, SERVICE)
            media, reason = _media(body), _reason(body, answer)
            if media or not reason:
                return Job("completed", media=media)
            return Job(_failed(reason), reason=reason)
        body = _parsed(answer)
        reason = _reason(body, answer)
        if reason and (answer.status == 422 or _failed(reason) == "cancelled"):
            return Job(_failed(reason), reason=reason)
        return None

    def build_cancel(self, endpoint: str, job_id: str) -> HttpRequest:
        """The request to drop a job that is still in the queue."""
        return HttpRequest("PUT", _address(endpoint, job_id, "cancel_url"))

    def read_data_uri(self, uri: str) -> bytes | None:
        """The image in a data URI, None for an address; AnswerError for damaged base64."""
        return image_of_data_uri(uri)

    def read_image(
        self, request: Request, image: bytes, job_id: str | None, seconds: float
    ) -> Result:
        """The result of a finished job; AnswerError for bytes that are no image."""
        header = inspect(image, CATALOGUE[request.model].most_decoded)
        asked, size = request.requested_size, (header.width, header.height)
        return Result(
            image=image,
            media_type=header.media_type,
            width=header.width,
            height=header.height,
            model=request.model,
            asked=asked,
            request_id=job_id,
            cost_usd=_cost(request, header.width * header.height, self.price_step),
            seconds=seconds,
            notes=(
                *size_notes(asked, size),
                "fal counts no tokens in its answers: the cost is the most that they come to",
            ),
        )

    def job_error(self, job: Job) -> ServiceError:
        """The error for a job that came to nothing; whether it was charged isn't documented."""
        text = job.reason.lower()
        kind: type[ServiceError] = ServiceError
        if is_content_block(text) or any(word in text for word in _MORE_BLOCK_WORDS):
            kind, what = BlockedError, "The content filter stopped the image."
            hint = (
                "Change the prompt or the image; another seed may pass too. if_blocked = skip goes "
                "on with the other images of a batch."
            )
        else:
            what = "The job failed at fal."
            hint = "Your account's usage page at fal shows whether it was charged."
        if job.phase == "cancelled":
            what = "The job was cancelled at fal."
        return kind(
            what + (f' It said: "{job.reason}"' if job.reason else ""),
            hint,
            code=job.phase.upper(),
            request_id=job.job_id,
            billed=Billed.PERHAPS,
        )


def _cost(request: Request, pixels: int, step: float) -> float:
    """USD by the catalogue's prices: the image's own tokens, those of the inputs from above."""
    model = CATALOGUE[request.model]
    bound = estimate_usage(model, request)
    usage = Usage(bound.text_in, bound.image_in, -(-pixels // PIXELS_PER_TOKEN))
    return round_up(model.cost(usage), step)


def _address(endpoint: str, job_id: str, link: str) -> str:
    """Where a job's status, result or cancel is: as its order's answer said, or as documented.

    Only below the endpoint: an answer could send the key anywhere.
    """
    known, *links = job_id.split(" ")
    given = dict(zip(_LINKS, links, strict=False)).get(link, "")
    if given.startswith(f"{endpoint}/") and ".." not in given:
        return given
    return f"{endpoint}{APP}/requests/{known}{_LINKS[link]}"


def _with_links(job_id: str, body: Mapping[str, object]) -> str:
    """The id and, where an answer says other addresses than documented, those behind it."""
    found = [body.get(link) for link in _LINKS]
    links = [one if isinstance(one, str) and _LINK.fullmatch(one) else "-" for one in found]
    documented = [f"{APP}/requests/{job_id}{end}" for end in _LINKS.values()]
    usual = all(one == "-" or one.endswith(end) for one, end in zip(links, documented, strict=True))
    return job_id if usual else " ".join((job_id, *links))


def _job(body: Mapping[str, object], answer: HttpAnswer) -> Job | None:
    """The job that an answer names, None where it names neither a job nor an image."""
    job_id, media, word = body.get("request_id"), _media(body), body.get("status")
    word = word.strip().upper() if isinstance(word, str) else ""
    known = job_id if isinstance(job_id, str) and _JOB_ID.fullmatch(job_id) else None
    if not word and not media and known is None:
        return None
    phase = _PHASES.get(word, "processing") if word else "completed" if media else "queued"
    reason = _reason(body, answer)
    if phase == "completed" and reason and not media:
        phase = _failed(reason)
    return Job(phase, known, media, reason)


def _failed(reason: str) -> str:
    """The phase of a job that made nothing for this reason."""
    return (
        "cancelled" if "cancelled" in reason.lower().replace("canceled", "cancelled") else "failed"
    )


def _media(body: Mapping[str, object]) -> tuple[str, ...]:
    """The addresses in `images`."""
    images = body.get("images")
    items = images if isinstance(images, list) else []
    urls = [item.get("url") for item in items if isinstance(item, dict)]
    return tuple(url for url in urls if isinstance(url, str) and url)


def _parsed(answer: HttpAnswer) -> dict[str, object]:
    """The JSON object in an answer, {} where it has none."""
    try:
        found = answer.redactor.parsed(parse_json(answer.body[:_LONGEST_BODY]))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _details(body: Mapping[str, object]) -> dict[str, str]:
    """Code, message and parameter of what fal says went wrong: `detail`, a text or a list of
    errors, or a status' `error` and `error_type`."""
    detail = body.get("detail")
    first = detail[0] if isinstance(detail, list) and detail else detail
    if not isinstance(first, dict):
        message = first if isinstance(first, str) else body.get("error")
        first = {"msg": message, "type": body.get("error_type")}
    place = first.get("loc")
    texts = {
        "code": first.get("type"),
        "message": first.get("msg"),
        "param": " ".join(map(str, place)) if isinstance(place, list) else "",
    }
    return {name: text for name, text in texts.items() if isinstance(text, str) and text}


def _reason(body: Mapping[str, object], answer: HttpAnswer) -> str:
    """What went wrong, in fal's words; "" where it says nothing."""
    details = _details(body)
    parts = (details.get("code"), details.get("message"))
    return one_line(answer.redactor.shown(": ".join(filter(None, parts))), _LONGEST_REASON)


def _in_usual_form(answer: HttpAnswer) -> HttpAnswer:
    """A refusal with fal's `detail` in the envelope that is read everywhere."""
    body = _parsed(answer)
    if "detail" not in body:
        return answer
    return replace(answer, body=json.dumps({"error": _details(body)}).encode())
