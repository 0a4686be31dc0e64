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
from ..http import HttpAnswer, parse_json

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

_LONGEST_MESSAGE = 500

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
    code, message, text = _parts(answer)
    kind, what, hint = _meaning(answer.status, message, text)
    if hints and kind is not BlockedError:
        hint = hints.get(answer.status, hint)
    billed = Billed.PERHAPS if _is_perhaps_billed(answer) else Billed.NO
    return kind(
        what, hint, status=answer.status, code=code, request_id=answer.request_id, billed=billed
    )


def unusable(answer: HttpAnswer, what: str, service: str) -> AnswerError:
    """The error for a 200 that isn't what the service documents; `what` ends a sentence."""
    media_type = answer.headers.get("content-type", "").split(";")[0].strip()[:60]
    return AnswerError(
        f"The answer of {service} {what} "
        f"({len(answer.body)} bytes, {media_type or 'no content type'}).",
        f"Check with `mai-image doctor` that the endpoint is {service} itself and that no proxy "
        "changes or cuts its answers; then queue again.",
        status=answer.status,
        request_id=answer.request_id,
    )


def json_object(answer: HttpAnswer, service: str, body: bytes | None = None) -> dict[str, object]:
    """The JSON object in an answer, or in `body` in its place; AnswerError where it has none."""
    try:
        found = parse_json(answer.body if body is None else body)
    except ValueError:
        raise unusable(answer, "isn't JSON", service) from None
    if not isinstance(found, dict):
        raise unusable(answer, "is JSON of another shape", service)
    return found


def is_content_block(text: str) -> bool:
    """Whether a service's text says that its content filter stopped the call."""
    return any(word in text.lower() for word in _BLOCK_WORDS)


def was_not_begun(answer: HttpAnswer) -> bool:
    """Whether the service says that it did not begin the work: 408, 429, 499 closed, 503 with a
    time to come back. Never 500, 502, 504 or a plain 503: the image may be made and billed."""
    if answer.status == 503:
        return "retry-after" in answer.headers
    if answer.status == 499:
        return "client_connection_closed" in _parts(answer)[2]
    return answer.status in (408, 429)


def refuses_field(answer: HttpAnswer, field: str) -> bool:
    """Whether a 400 says that the service doesn't take a field of the request."""
    code, message, _ = _parts(answer)
    text = f"{code} {message}".lower()
    known = "argument" in text and re.search(rf"\b{re.escape(field)}\b", text) is not None
    return answer.status == 400 and known


def _is_perhaps_billed(answer: HttpAnswer) -> bool:
    """Whether the image may have been made although none came: a 5xx may come after the work."""
    if answer.status == 503:
        return "retry-after" not in answer.headers
    return answer.status >= 500 or answer.status < 200 or 200 < answer.status < 300


def _parts(answer: HttpAnswer) -> tuple[str | None, str, str]:
    """The code, the message for a person, and lower-case text to look for keywords in."""
    text = answer.body[:65536].decode("utf-8", "replace")
    try:
        body = parse_json(text.encode())
    except ValueError:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str):
        error = {"code": error, "message": body.get("message") if isinstance(body, dict) else ""}
    if not isinstance(error, dict):
        error = body if isinstance(body, dict) else {}
    code = error.get("code")
    message = error.get("message") or error.get("details") or ""
    clean = one_line(message if isinstance(message, str) else "", _LONGEST_MESSAGE)
    return (one_line(code)[:80] if isinstance(code, str) and code else None, clean, text.lower())


def one_line(text: str, longest: int = 500) -> str:
    """A server's text on one line, without control characters, cut to `longest` characters."""
    folded = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return folded if len(folded) <= longest else folded[:longest] + " …"


def _meaning(status: int, message: str, text: str) -> tuple[type[ServiceError], str, str]:
    said = f' It said: "{message}"' if message else ""
    if status in (400, 403, 422) and is_content_block(text):
        return _blocked(text, said)
    if status in _BY_STATUS:
        kind, what, hint = _BY_STATUS[status]
        return kind, what + said, hint
    if status >= 500:
        return (
            UnavailableError,
            f"The service failed (HTTP {status}).{said}",
            "Wait a minute and queue again if you accept that this image may be paid for twice.",
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


def _blocked(text: str, said: str) -> tuple[type[ServiceError], str, str]:
    if "response content" in text or "blocked by label" in text:
        what = "The content filter blocked the image that the model made."
    else:
        what = "The content filter blocked the prompt or a reference image."
    return (
        BlockedError,
        what + said,
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
        "Queue again; web_grounding often runs into this, so try without it.",
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
