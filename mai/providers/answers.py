"""What an answer without an image means: status, code and wording become an error with a hint.

The code decides first, then a keyword of the message: bodies may be HTML or empty behind a gateway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import (
    AnswerError,
    AuthenticationError,
    BadRequestError,
    Billed,
    BlockedError,
    CallTimeoutError,
    ForbiddenError,
    NotFoundError,
    PaymentError,
    RateLimitError,
    ServiceError,
    UnavailableError,
)
from ..http import HttpAnswer
from ..safe_json import parse_json
from .charges import is_perhaps_billed
from .error_body import ErrorBody, find_error, one_line, read_error_body

_BLOCK_WORDS = (
    "content_safety_violation",
    "content_filter",
    "contentfilter",
    "content_policy_violation",
    "moderation_blocked",
    "responsibleaipolicyviolation",
    "dalleblocklist",
    "safety polic",
    "blocked by label",
)
"""Every spelling of a content block that clients have met, in lower case."""

_WORD = re.compile(r"\w+")

_BLOCK_STATUSES = (400, 403, 422, 451)

_HINTS_400 = (
    (
        ("pixel", "dimension", "width", "height"),
        "Use MAI Size Helper to pick a size that the model can do.",
    ),
    (
        ("exactly one image",),
        "This model takes one reference: connect image_1 only, or choose MAI-Image-2.6.",
    ),
    (
        ("image file", "file must be attached"),
        "Connect 1 to 5 images, as many as the model takes.",
    ),
    (
        ("unsupported_request_argument", "unrecognized_request_argument", "invalid parameters"),
        (
            "The deployment doesn't know this option: switch it off, or choose a model that has "
            "it, and check that the deployment is of the model that the node names."
        ),
    ),
    (("prompt",), "Check the prompt's text and length (32,000 tokens at most)."),
)


def refusal(answer: HttpAnswer, hints: Mapping[int, str] | None = None) -> ServiceError:
    """The error that a refusal stands for; `hints` of a provider go before the usual ones."""
    error = read_error_body(answer)
    kind, what, hint = _meaning(answer.status, error)
    if hints and kind is not BlockedError:
        hint = hints.get(answer.status, hint)
    perhaps = kind is BlockedError or is_perhaps_billed(answer, error)
    return kind(
        what,
        hint,
        status=answer.status,
        code=error.code,
        request_id=answer.request_id,
        billed=Billed.PERHAPS if perhaps else Billed.NO,
    )


def error_in_200(
    answer: HttpAnswer, body: Mapping[str, object], service: str, cost_usd: float | None = None
) -> ServiceError:
    """The error for a 200 whose JSON holds the service's error in place of an image."""
    error = find_error(body, answer.redactor)
    if is_content_block(error.text):
        kind, what, hint = _blocked(error)
    else:
        kind, hint = AnswerError, _HINT_400
        what = f"The answer of {service} is an error instead of an image.{_said(error)}"
    return kind(
        what,
        hint,
        status=answer.status,
        code=error.code,
        request_id=answer.request_id,
        billed=Billed.PERHAPS,
        cost_usd=cost_usd,
    )


def unusable(
    answer: HttpAnswer, what: str, service: str, cost_usd: float | None = None
) -> AnswerError:
    """The error for a 200 that isn't what the service documents; `what` ends a sentence."""
    media_type = answer.redactor.shown(answer.headers.get("content-type", ""))
    media_type = one_line(media_type.split(";")[0], 60)
    return AnswerError(
        f"The answer of {service} {what} "
        f"({len(answer.body)} bytes, {media_type or 'no content type'}).",
        f"Check with `mai-image doctor` that the endpoint is {service} itself and that no proxy "
        "changes or cuts its answers; then queue again.",
        status=answer.status,
        request_id=answer.request_id,
        cost_usd=cost_usd,
    )


def json_object(answer: HttpAnswer, service: str, body: bytes | None = None) -> dict[str, object]:
    """The JSON object in an answer, or in `body` in its place; AnswerError where it has none."""
    try:
        found = answer.redactor.parsed(parse_json(answer.body if body is None else body))
    except ValueError:
        raise unusable(answer, "isn't JSON", service) from None
    if not isinstance(found, dict):
        raise unusable(answer, "is JSON of another shape", service)
    return found


def is_content_block(text: str) -> bool:
    """Whether a service's text says that its content filter stopped the call."""
    return any(word in text.lower() for word in _BLOCK_WORDS)


def refuses_field(answer: HttpAnswer, field: str) -> bool:
    """Whether a 400 says that the service doesn't take a field of the request."""
    error = read_error_body(answer)
    text = f"{error.code} {error.message}".lower()
    return answer.status == 400 and "argument" in text and field in _WORD.findall(text)


def _said(error: ErrorBody) -> str:
    return f' It said: "{error.message}"' if error.message else ""


def _meaning(status: int, error: ErrorBody) -> tuple[type[ServiceError], str, str]:
    said, text = _said(error), error.text
    if status in _BLOCK_STATUSES and is_content_block(text):
        return _blocked(error)
    if status in _BY_STATUS:
        kind, what, hint = _BY_STATUS[status]
        return kind, what + said, hint
    if status >= 500:
        return (
            UnavailableError,
            f"The service failed (HTTP {status}).{said}",
            "Wait a minute, then queue again.",
        )
    if 300 <= status < 400:
        return (
            ServiceError,
            f"The endpoint redirects elsewhere (HTTP {status}), which is not followed.",
            "Check the endpoint: copy it from the resource's page in the Foundry portal.",
        )
    if status >= 400:
        hint = next((h for words, h in _HINTS_400 if any(w in text for w in words)), _HINT_400)
        return BadRequestError, f"The service refused the request.{said}", hint
    return (
        ServiceError,
        f"The service answered with HTTP {status}, not with an image.{said}",
        _HINT_400,
    )


def _blocked(error: ErrorBody) -> tuple[type[ServiceError], str, str]:
    if "response content" in error.text or "blocked by label" in error.text:
        what = "The content filter blocked the image that the model made."
    else:
        what = "The content filter blocked the prompt or a reference image."
    return (
        BlockedError,
        what + _said(error),
        (
            "Change the prompt or the references; the filter isn't deterministic, so another seed "
            "may pass. if_blocked = skip goes on with the other images of a batch."
        ),
    )


_HINT_400 = "Run `mai-image doctor` to check the profile, then look at the node's inputs."

_BY_STATUS: dict[int, tuple[type[ServiceError], str, str]] = {
    401: (
        AuthenticationError,
        "The service does not accept the profile's key or token.",
        (
            "Copy the key again from the resource's page (Keys and Endpoint) and check that it "
            "belongs to this endpoint; with Entra ID sign in again (`az login`)."
        ),
    ),
    402: (
        PaymentError,
        "The gateway's balance is used up.",
        "Top up the account, then queue again.",
    ),
    403: (
        ForbiddenError,
        "The account may not use this resource.",
        (
            "Give it the role Cognitive Services User, or Foundry User; if the resource has a "
            "private endpoint or a firewall, run ComfyUI inside that network."
        ),
    ),
    404: (
        NotFoundError,
        "The service knows no such deployment or address.",
        (
            "Check the deployment's name in the Foundry portal and in the profile, and that the "
            "endpoint ends in .services.ai.azure.com. A new deployment needs a few minutes."
        ),
    ),
    408: (
        CallTimeoutError,
        "The service gave up on the request.",
        "web_grounding often runs into this: try without it.",
    ),
    413: (
        BadRequestError,
        "The request is too large for the service.",
        "Use smaller reference images.",
    ),
    429: (
        RateLimitError,
        "The deployment's requests a minute are used up, again and again.",
        (
            "Wait a minute, set `requests_a_minute` or `tier` in the profile, or ask for more "
            "quota in the Foundry portal. Another program may be using the same deployment."
        ),
    ),
    499: (
        UnavailableError,
        "The service says that the connection was closed early.",
        "Queue again.",
    ),
}
