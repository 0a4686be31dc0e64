"""The Pixazo gateway's wire format: a request becomes a job, polled answers an image or an error.

Source: Pixazo's API pages of "Microsoft MAI Image 2.5" and "MAI Image 2.5 Edit" as of November
2026. Nothing was called live, so what its answers may lack they are allowed to lack.

The gateway takes an aspect ratio instead of a size. A message's width x height becomes the nearest
ratio of the gateway's list and the Result's notes say by how much it differs; exact pixels can't be
had. A size that none of its ratios comes near (see FARTHEST) is refused like everything else that
the gateway can't do: other models, several references, the options of 2.6, other prompt lengths.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from ..errors import AnswerError, ImageError, OptionError, PromptError, SizeError
from ..http import HttpAnswer, HttpRequest, parse
from ..image_formats import inspect
from ..models import BY_NAME
from ..sizes import Size, off_by, ratio_of
from ..types import Edit, Generate, Request, Result

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

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DATA_URI = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,", re.IGNORECASE)
_PHASES = {"QUEUED": "queued", "COMPLETED": "completed", "FAILED": "failed", "ERROR": "error"}
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Job:
    """What the gateway says of a job.

    `phase` is "queued", "processing", "completed", "failed" or "error". `media` are addresses or
    data URIs, `reason` the gateway's text for a job that failed; `job_id` None where it gives none.
    """

    phase: str
    job_id: str | None = None
    media: tuple[str, ...] = field(default=(), repr=False)
    reason: str = ""


def check(request: Request) -> None:
    """InputError for a request that the gateway can't do; to be called before anything is sent."""
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
    if len(request.prompt.strip()) < SHORTEST_PROMPT or len(request.prompt) > LONGEST_PROMPT:
        raise PromptError(
            f"Pixazo takes prompts of {SHORTEST_PROMPT} to {LONGEST_PROMPT:,} characters, this one "
            f"has {len(request.prompt):,}.",
            "Change its length, or choose a profile of Microsoft Foundry.",
        )
    if isinstance(request, Edit) and len(request.images) != 1:
        raise ImageError(
            f"Pixazo takes exactly one reference image, there are {len(request.images)}.",
            "Connect image_1 only, with one image, or choose a profile of Microsoft Foundry.",
        )
    _check_ratio(request)


def _check_ratio(request: Request) -> None:
    size = _asked(request)
    if size is None:
        return
    nearest = ratio_for(request)
    if min(size) <= 0 or off_by(size, ratio_of(nearest)) > FARTHEST:
        raise SizeError(
            f"Pixazo takes aspect ratios instead of sizes, and none is near {size}: the nearest is "
            f"{nearest}.",
            f"Choose a size near one of {', '.join(_ratios(request))}, or a profile of Microsoft "
            "Foundry.",
        )


def ratio_for(request: Request) -> str:
    """The ratio of the gateway's list that is nearest to the message's size, or "auto"."""
    size = _asked(request)
    if size is None:
        return AUTO
    if min(size) <= 0:
        return "1:1"
    return min(_ratios(request), key=lambda ratio: off_by(size, ratio_of(ratio)))


def _asked(request: Request) -> Size | None:
    if isinstance(request, Generate):
        return Size(request.width, request.height)
    return None if request.size is None else Size(*request.size)


def _ratios(request: Request) -> tuple[str, ...]:
    return GENERATION_RATIOS if isinstance(request, Generate) else EDIT_RATIOS


def build(request: Request, endpoint: str) -> HttpRequest:
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
    encoded = base64.b64encode(image.data).decode("ascii")
    body["image_urls"] = [f"data:{image.media_type};base64,{encoded}"]
    return HttpRequest("POST", endpoint + EDITS, json=body)


def ask(endpoint: str, job_id: str) -> HttpRequest:
    """The request for a job's status.

    Its address is made here: the answer's own `polling_url` could send the key anywhere.
    """
    return HttpRequest("GET", f"{endpoint}{STATUS}{job_id}")


def read(answer: HttpAnswer) -> Job:
    """What a 200 or 202 says of a job; AnswerError where it isn't what the gateway documents.

    A word for the status that isn't documented counts as "processing".
    """
    body = _json_object(answer)
    job_id = body.get("request_id")
    media = _media(body)
    word = body.get("status")
    word = word.strip().upper() if isinstance(word, str) else ""
    if not word and not media and not job_id:
        raise odd(answer, "names neither a job nor an image")
    phase = _PHASES.get(word, "processing" if word or not media else "completed")
    return Job(
        phase,
        job_id if isinstance(job_id, str) and _JOB_ID.fullmatch(job_id) else None,
        media,
        _reason(body),
    )


def result(request: Request, image: bytes, job_id: str | None, seconds: float) -> Result:
    """The image of a finished job; AnswerError for bytes that are none."""
    header = inspect(image)
    asked = _asked(request)
    return Result(
        image=image,
        media_type=header.media_type,
        width=header.width,
        height=header.height,
        model=MODEL,
        asked=None if asked is None else (asked.width, asked.height),
        request_id=job_id,
        cost_usd=BY_NAME[MODEL].estimate(request),
        seconds=seconds,
        notes=_notes(request, asked, Size(header.width, header.height)),
    )


def _notes(request: Request, asked: Size | None, got: Size) -> tuple[str, ...]:
    notes = []
    if asked is not None:
        ratio = ratio_for(request)
        off = float(off_by(asked, ratio_of(ratio)) - 1) * 100
        if off:
            notes.append(f"asked for {asked}, sent as aspect ratio {ratio}, {off:.1f} % off")
        if asked != got:
            notes.append(f"asked for {asked}, the service sent {got}")
    notes.append("Pixazo has prices of its own and counts no tokens: the cost is an estimate")
    return tuple(notes)


def decode(uri: str) -> bytes | None:
    """The image in a data URI, None for an address; AnswerError for damaged base64."""
    if uri[:5].lower() != "data:":
        return None
    head = _DATA_URI.match(uri)
    try:
        return base64.b64decode(uri[head.end() :] if head else "!", validate=True)
    except (binascii.Error, ValueError):
        raise AnswerError(
            "The image in the gateway's answer is cut or damaged.",
            "Check that no proxy changes or cuts its answers; then queue again.",
        ) from None


def _json_object(answer: HttpAnswer) -> Mapping[str, object]:
    try:
        body = parse(answer.body)
    except ValueError:
        raise odd(answer, "isn't JSON") from None
    if not isinstance(body, dict):
        raise odd(answer, "is JSON of another shape")
    return body


def odd(answer: HttpAnswer, what: str) -> AnswerError:
    """The error for an answer that isn't what the gateway documents."""
    return AnswerError(
        f"The gateway's answer {what} ({len(answer.body)} bytes).",
        "Check with `mai-image doctor` that the endpoint is the Pixazo gateway itself and that no "
        "proxy changes its answers.",
        status=answer.status,
        request_id=answer.request_id,
    )


def _media(body: Mapping[str, object]) -> tuple[str, ...]:
    """`output.media_url`, a list or one text; sync_mode may have it at the top level."""
    output = body.get("output")
    found = output.get("media_url") if isinstance(output, dict) else None
    found = body.get("media_url") if found is None else found
    many = found if isinstance(found, list) else [found]
    return tuple(one for one in many if isinstance(one, str) and one)


def _reason(body: Mapping[str, object]) -> str:
    error = body.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    text = error if isinstance(error, str) else ""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST_REASON]
