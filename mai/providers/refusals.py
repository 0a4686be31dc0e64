"""What each refusal of the service means: status, code and wording become an error with a hint.

The code decides first, then a keyword of the message: bodies may be HTML or empty behind a gateway.
"""

from __future__ import annotations

import re

from ..errors import (
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
from ..http import HttpAnswer, parse

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


def error_for(answer: HttpAnswer) -> ServiceError:
    """The error that an answer other than 200 stands for."""
    code, message, haystack = _parse(answer)
    kind, what, hint = _meaning(answer.status, message, haystack)
    billed = Billed.PERHAPS if is_uncertain(answer) else Billed.NO
    return kind(
        what, hint, status=answer.status, code=code, request_id=answer.request_id, billed=billed
    )


def is_block(text: str) -> bool:
    """Whether a service's text says that its content filter stopped the call."""
    return any(word in text.lower() for word in _BLOCK_WORDS)


def is_uncertain(answer: HttpAnswer) -> bool:
    """Whether the image may have been made and billed although none came.

    A 5xx may come after the work was done; a 503 with Retry-After says that it was not begun.
    """
    if answer.status == 503:
        return "retry-after" not in answer.headers
    return answer.status >= 500 or answer.status < 200 or 200 < answer.status < 300


def was_never_sent_on(answer: HttpAnswer) -> bool:
    """499 `client_connection_closed`: the service says itself that it did not begin."""
    return answer.status == 499 and "client_connection_closed" in _parse(answer)[2]


def names_size(error: BadRequestError) -> bool:
    """Whether a 400 is about an edit's `size` field."""
    text = f"{error.code} {error.what}".lower()
    return "argument" in text and re.search(r"\bsize\b", text) is not None


def _parse(answer: HttpAnswer) -> tuple[str | None, str, str]:
    """(code, message for a person, lower-case text to look for keywords in)."""
    text = answer.body[:65536].decode("utf-8", "replace")
    try:
        body = parse(text.encode())
    except ValueError:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str):
        error = {"code": error, "message": body.get("message") if isinstance(body, dict) else ""}
    if not isinstance(error, dict):
        error = body if isinstance(body, dict) else {}
    code = error.get("code")
    message = error.get("message") or error.get("details") or ""
    clean = _one_line(message if isinstance(message, str) else "")
    return (_one_line(code)[:80] if isinstance(code, str) and code else None, clean, text.lower())


def _one_line(text: str) -> str:
    folded = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return folded if len(folded) <= _LONGEST_MESSAGE else folded[:_LONGEST_MESSAGE] + " …"


def _meaning(status: int, message: str, haystack: str) -> tuple[type[ServiceError], str, str]:
    said = f' It said: "{message}"' if message else ""
    if status in (400, 403, 422) and any(word in haystack for word in _BLOCK_WORDS):
        return _blocked(haystack, said)
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
        hint = next((h for words, h in _HINTS_400 if any(w in haystack for w in words)), _HINT_400)
        return BadRequestError, f"The service refused the request.{said}", hint
    return (
        ServiceError,
        f"The service answered with HTTP {status}, not with an image.{said}",
        _HINT_400,
    )


def _blocked(haystack: str, said: str) -> tuple[type[ServiceError], str, str]:
    if "response content" in haystack or "blocked by label" in haystack:
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
