"""The Pixazo gateway: a request becomes a job, polled answers become an image or an error.

Source: Pixazo's API pages of "Microsoft MAI Image 2.5" and "MAI Image 2.5 Edit" as of November
2026. Nothing was called live, so what its answers may lack they are allowed to lack.

The gateway takes an aspect ratio instead of a size. A message's width x height becomes the nearest
ratio of the gateway's list and the Result's notes say by how much it differs; exact pixels can't be
had. A size that none of its ratios comes near (see FARTHEST) is refused like everything else that
the gateway can't do: other models, several references, the options of 2.6, other prompt lengths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

from ..errors import (
    Billed,
    BlockedError,
    ImageError,
    OptionError,
    PromptError,
    ServiceError,
    SizeError,
)
from ..formats import inspect
from ..http import HttpAnswer, HttpRequest
from ..models import CATALOGUE
from ..sizes import Size, off_by, ratio_of
from ..types import OPAQUE, Edit, Generate, Request, Result
from .answers import find_error, is_content_block, json_object, one_line, refusal, unusable
from .base64_field import data_uri, image_of_data_uri
from .provider import Job

MODEL = "MAI-Image-2.5"
"""The one model that the gateway has."""

GENERATIONS = "/microsoft-mai-image-2-5/v1/microsoft-mai-image-2-5-request"
EDITS = "/microsoft-mai-image-2-5-edit/v1/microsoft-mai-image-2-5-edit-request"
STATUS = "/v2/requests/status/"

SHORTEST_PROMPT, LONGEST_PROMPT = 3, 5000
"""Characters, documented."""

GENERATION_RATIOS = ("21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")
EDIT_RATIOS = ("1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3")
AUTO = "auto"
"""Documented lists. "auto" is sent for an edit without a size: its image has a ratio already."""

FARTHEST = Fraction(6, 5)
"""A size is refused when its ratio differs from the list's nearest by more than this factor: the
list is dense enough that this meets only ratios beyond its ends, such as 4:1."""

NO_JOB = "00000000-0000-0000-0000-000000000000"
"""The id of no job."""

SERVICE = "the Pixazo gateway"

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HINTS = {
    401: "Copy the key again from your Pixazo account and check which profile it stands in.",
    402: "Top up your Pixazo account, then queue again.",
    403: "Check in your Pixazo account that the key's subscription covers MAI Image 2.5 and its "
    "edit.",
    404: "Check the profile's endpoint: it is https://gateway.pixazo.ai unless you have a gateway "
    "of your own before it.",
    429: "Wait a minute, or set `requests_a_minute` in the profile.",
}
_MORE_BLOCK_WORDS = ("moderation", "nsfw", "content policy", "safety")
"""The gateway's own wording isn't documented; these are what such texts usually say."""

_PHASES = {"QUEUED": "queued", "COMPLETED": "completed", "FAILED": "failed", "ERROR": "error"}
_LONGEST_REASON = 300


class Pixazo:
    """MAI Image 2.5 and its edit at the Pixazo gateway, as jobs."""

    test_model: ClassVar[str] = MODEL
    models: ClassVar[tuple[str, ...]] = (MODEL,)
    price_step: ClassVar[float] = 0.0

    def validate(self, request: Request) -> None:
        """Raise InputError for what the gateway can't do."""
        if request.model != MODEL:
            raise OptionError(
                f"Pixazo has no {request.model[:60]}, only {MODEL}.",
                f"Choose {MODEL}, or a profile whose service is Microsoft Foundry.",
            )
        if request.auto_aspect_ratio or request.web_grounding:
            raise OptionError(
                "Pixazo has neither auto_aspect_ratio nor web_grounding.",
                "Switch them off, or choose a profile of Microsoft Foundry and MAI-Image-2.6.",
            )
        if request.background != OPAQUE:
            raise OptionError(
                "Pixazo has no transparent background.",
                "Set background to opaque, or choose a profile of Microsoft Foundry and "
                "MAI-Image-2.7.",
            )
        length = len(request.prompt)
        if len(request.prompt.strip()) < SHORTEST_PROMPT or length > LONGEST_PROMPT:
            raise PromptError(
                f"Pixazo takes prompts of {SHORTEST_PROMPT} to {LONGEST_PROMPT:,} characters, this "
                f"one has {length:,}.",
                "Change its length, or choose a profile of Microsoft Foundry.",
            )
        if isinstance(request, Edit) and len(request.images) != 1:
            raise ImageError(
                f"Pixazo takes exactly one reference image, there are {len(request.images)}.",
                "Connect image_1 only, with one image, or choose a profile of Microsoft Foundry.",
            )
        _validate_ratio(request)

    def build(
        self, request: Request, endpoint: str, deployment: str, client_request_id: str
    ) -> HttpRequest:
        """The request that begins a job for one image. Neither seed nor size is sent."""
        body: dict[str, object] = {
            "prompt": request.prompt,
            "num_images": 1,
            "aspect_ratio": ratio_for(request),
            "output_format": "png",
            "sync_mode": False,
        }
        if isinstance(request, Generate):
            return HttpRequest("POST", endpoint + GENERATIONS, json=body)
        image = request.images[0]
        body["image_urls"] = [data_uri(image.data, image.media_type)]
        return HttpRequest("POST", endpoint + EDITS, json=body)

    def read(self, request: Request, answer: HttpAnswer) -> Job:
        """The job that was begun. ServiceError: none was."""
        if not 200 <= answer.status < 300:
            raise self.error_for(answer)
        body = json_object(answer, SERVICE)
        job = _job(body, answer) or Job("failed", reason=_reason(body, answer))
        if job.job_id is not None or job.media:
            return job
        if job.reason or job.phase == "error":
            raise self.job_error(job)
        raise unusable(answer, "names no job", SERVICE)

    def error_for(self, answer: HttpAnswer) -> ServiceError:
        """The error that a refusal stands for."""
        return refusal(answer, _HINTS)

    def without_refused_field(self, request: Request, answer: HttpAnswer) -> None:
        """No field is optional."""

    def probe(self, endpoint: str, deployment: str | None = None) -> HttpRequest:
        """The status of a job that can't exist: answered only to a key that the gateway knows."""
        return self.build_poll(endpoint, NO_JOB)

    def build_poll(self, endpoint: str, job_id: str) -> HttpRequest:
        """The request for a job's status.

        Its address is made here: the answer's own `polling_url` could send the key anywhere.
        """
        return HttpRequest("GET", f"{endpoint}{STATUS}{job_id}")

    def read_job(self, answer: HttpAnswer) -> Job:
        """What a 200 or 202 says of a job. AnswerError: it isn't what the gateway documents.

        A word for the status that isn't documented counts as "processing".
        """
        body = json_object(answer, SERVICE)
        job = _job(body, answer)
        if job is None:
            raise unusable(answer, "names neither a job nor an image", SERVICE)
        return job

    def build_result(self, endpoint: str, job_id: str) -> None:
        """The status has the image."""

    def read_result(self, answer: HttpAnswer) -> None:
        """There is no such answer."""

    def build_cancel(self, endpoint: str, job_id: str) -> None:
        """No job can be cancelled."""

    def read_data_uri(self, uri: str) -> bytes | None:
        """The image in a data URI, None for an address; AnswerError for damaged base64."""
        return image_of_data_uri(uri)

    def read_image(
        self, request: Request, image: bytes, job_id: str | None, seconds: float
    ) -> Result:
        """The result of a finished job; AnswerError for bytes that are no image."""
        header = inspect(image, CATALOGUE[request.model].most_decoded)
        size = Size(header.width, header.height)
        return Result(
            image=image,
            media_type=header.media_type,
            width=header.width,
            height=header.height,
            model=MODEL,
            asked=request.requested_size,
            request_id=job_id,
            cost_usd=CATALOGUE[MODEL].estimate(request),
            seconds=seconds,
            notes=_notes(request, size),
        )

    def job_error(self, job: Job) -> ServiceError:
        """The error for a job that ended as "failed" or "error".

        Only of ERROR does the gateway say that it isn't charged; a FAILED job is perhaps billed.
        """
        kind, what, hint = _failure(job)
        return kind(
            what + (f' It said: "{job.reason}"' if job.reason else ""),
            hint,
            code=job.phase.upper(),
            request_id=job.job_id,
            billed=Billed.NO if job.phase == "error" else Billed.PERHAPS,
        )


def ratio_for(request: Request) -> str:
    """The ratio of the gateway's list that is nearest to the request's size, or "auto"."""
    if request.requested_size is None:
        return AUTO
    size = Size(*request.requested_size)
    if min(size) <= 0:
        return "1:1"
    return min(_ratios(request), key=lambda ratio: off_by(size, ratio_of(ratio)))


def _validate_ratio(request: Request) -> None:
    if request.requested_size is None:
        return
    size, nearest = Size(*request.requested_size), ratio_for(request)
    if min(size) <= 0 or off_by(size, ratio_of(nearest)) > FARTHEST:
        raise SizeError(
            f"Pixazo takes aspect ratios instead of sizes, and none is near {size}: the nearest is "
            f"{nearest}.",
            f"Choose a size near one of {', '.join(_ratios(request))}, or a profile of Microsoft "
            "Foundry.",
        )


def _ratios(request: Request) -> tuple[str, ...]:
    return GENERATION_RATIOS if isinstance(request, Generate) else EDIT_RATIOS


def _notes(request: Request, got: Size) -> tuple[str, ...]:
    notes = []
    if request.requested_size is not None:
        asked, ratio = Size(*request.requested_size), ratio_for(request)
        off = float(off_by(asked, ratio_of(ratio)) - 1) * 100
        if off:
            notes.append(f"asked for {asked}, sent as aspect ratio {ratio}, {off:.1f} % off")
        if asked != got:
            notes.append(f"asked for {asked}, the service sent {got}")
    notes.append("Pixazo has prices of its own and counts no tokens: the cost is an estimate")
    return tuple(notes)


def _job(body: Mapping[str, object], answer: HttpAnswer) -> Job | None:
    """The job that an answer names, None where it names neither a job nor an image."""
    job_id, media, word = body.get("request_id"), _media(body), body.get("status")
    word = word.strip().upper() if isinstance(word, str) else ""
    if not word and not media and not job_id:
        return None
    phase = _PHASES.get(word, "processing" if word or not media else "completed")
    known = job_id if isinstance(job_id, str) and _JOB_ID.fullmatch(job_id) else None
    return Job(phase, known, media, _reason(body, answer))


def _media(body: Mapping[str, object]) -> tuple[str, ...]:
    """`output.media_url`, a list or one text; sync_mode may have it at the top level."""
    output = body.get("output")
    found = output.get("media_url") if isinstance(output, dict) else None
    found = body.get("media_url") if found is None else found
    many = found if isinstance(found, list) else [found]
    return tuple(one for one in many if isinstance(one, str) and one)


def _reason(body: Mapping[str, object], answer: HttpAnswer) -> str:
    """The text of `error`, which is a text or an object, with the `message` beside it."""
    error = body.get("error")
    if not isinstance(error, (str, dict)) or not error:
        return ""
    found = find_error(body, answer.redactor)
    return one_line(
        ": ".join(part for part in (found.code, found.message) if part), _LONGEST_REASON
    )


def _failure(job: Job) -> tuple[type[ServiceError], str, str]:
    text = job.reason.lower()
    if is_content_block(text) or any(word in text for word in _MORE_BLOCK_WORDS):
        return (
            BlockedError,
            "The content filter stopped the image.",
            "Change the prompt or the image; another seed may pass too. if_blocked = skip goes "
            "on with the other images of a batch.",
        )
    if job.phase == "error":
        what = "The job ended with an error at Pixazo, which isn't charged."
        return ServiceError, what, "Queue again."
    return (
        ServiceError,
        "The job failed at Pixazo.",
        "Whether Pixazo charges for a failed job isn't documented; your account's usage page shows "
        "it.",
    )
