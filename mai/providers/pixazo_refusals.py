"""What Pixazo's refusals and failed jobs mean: refusals.py's errors with this gateway's hints."""

from __future__ import annotations

from ..errors import Billed, BlockedError, ServiceError
from ..http import HttpAnswer
from .pixazo import Job
from .refusals import error_for as foundry_error_for
from .refusals import is_block

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


def error_for(answer: HttpAnswer) -> ServiceError:
    """The error that an answer other than 200 and 202 stands for."""
    error = foundry_error_for(answer)
    if isinstance(error, BlockedError) or answer.status not in _HINTS:
        return error
    return type(error)(
        error.what,
        _HINTS[answer.status],
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        billed=error.billed,
    )


def failure(job: Job) -> ServiceError:
    """The error for a job that ended as "failed" or "error".

    Only of ERROR does the gateway say that it isn't charged; a FAILED job is perhaps billed.
    """
    kind, what, hint = _meaning(job)
    return kind(
        what + (f' It said: "{job.reason}"' if job.reason else ""),
        hint,
        code=job.phase.upper(),
        request_id=job.job_id,
        billed=Billed.NO if job.phase == "error" else Billed.PERHAPS,
    )


def _meaning(job: Job) -> tuple[type[ServiceError], str, str]:
    text = job.reason.lower()
    if is_block(text) or any(word in text for word in _MORE_BLOCK_WORDS):
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
        "Queue again if you accept that this image may be paid for twice: whether Pixazo charges "
        "for a failed job isn't documented; your account's usage page shows it.",
    )
