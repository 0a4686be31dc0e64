"""What an answer without an image means: status, code and wording become an error with a hint, and
say whether the call was perhaps billed.

The code decides first, then a keyword of the message: bodies may be HTML or empty behind a gateway.

Microsoft charges whenever its service did work, whatever the status. Source: its page on the costs
of Foundry models: charged are "for example a 400 error due to a content filter or input limit, or a
408 error due to a time-out", not charged are calls that did no processing, "such as a 401 or 429".
What isn't known for sure to be free is perhaps billed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from ..formats import parse_json
from ..http import HttpAnswer, Redactor, identifier, retry_after

_LONGEST_BODY = 65_536
_LONGEST_MESSAGE = 500

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
    "was flagged",
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

_FREE = frozenset({401, 402, 403, 404, 410, 429})
"""Who calls, and what is called, is looked at before any work is done."""

_NOT_SENT_ON = re.compile(r"before (?:the )?request was sent")
"""What a 499 of a gateway says that passed nothing on to the model."""

_INPUT_LIMIT = re.compile(
    r"input[ _]limit|context[ _](?:length|window)|too[ _]long|\btokens?\b|max(?:imum)?[ _]length"
)
_PROMPT = re.compile(r"prompt\W")
_MEASURE = re.compile(r"\b(?:exceeds?|longer|shorter|at most|limit|characters)\b")
"""The prompt was read, and is too long: that is charged. A measure counts after the word "prompt";
one pattern for both would look for each "prompt" through the whole rest of a text."""

_NAMED = re.compile(
    r"unsupported_request|unrecognized_request_argument|missing_required_parameter"
    r"|invalid parameters?\b|request (?:parameter|argument)"
    r"|(?:required|unknown|unrecognized|unsupported) (?:parameter|argument|field)"
    r"|invalid dimensions|model not found|\bpixels?\b"
    r"|image files? (?:is|are|must)|file must be attached"
    r"|['\"`](?:width|height|size|model|prompt|image|images|seed|n|quality|response_format"
    r"|auto_aspect_ratio|web_grounding)['\"`]"
)
"""What a 400 says that was refused for a parameter, a field, a size or the files of an edit."""


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The parts of an error. `message` is one line for a person; `text` is all of the body in lower
    case, to look for keywords in, and `named` the same of code, messages and parameter alone."""

    code: str | None = None
    message: str = ""
    text: str = ""
    named: str = ""


def refusal(
    answer: HttpAnswer,
    hints: Mapping[int, str] | None = None,
    fields: frozenset[str] = frozenset(),
) -> ServiceError:
    """The error that a refusal stands for; `hints` of a provider go before the usual ones.

    `fields` are names of its own: a 400 or 422 that says one of them is free.
    """
    error = _error_in(answer)
    kind, what, hint = _meaning(answer.status, error)
    if hints and kind is not BlockedError:
        hint = hints.get(answer.status, hint)
    perhaps = kind is BlockedError or _is_perhaps_billed(answer, error, fields)
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
    error = _error_in(answer)
    text = f"{error.code} {error.message}".lower()
    return answer.status == 400 and "argument" in text and field in _WORD.findall(text)


def names_field(answer: HttpAnswer, fields: Sequence[str]) -> str | None:
    """The first of these fields that a refusal's code, message or parameter names."""
    words = set(_WORD.findall(_error_in(answer).named))
    return next((field for field in fields if field in words), None)


def was_not_begun(answer: HttpAnswer) -> bool:
    """Whether the service says that it did not begin the work, so that the call may be sent again.

    A 429, a 499 "before request was sent", a 503 with a time to come back. Never a 408, a 500, 502,
    504 or a plain 503: the image may be made and billed.
    """
    if answer.status == 503:
        return retry_after(answer.headers) is not None
    if answer.status == 499:
        return _NOT_SENT_ON.search(_error_in(answer).text) is not None
    return answer.status == 429


def _error_in(answer: HttpAnswer) -> ErrorBody:
    """The error in a refusal; its body may be HTML or empty behind a gateway."""
    text = answer.body[:_LONGEST_BODY].decode("utf-8", "replace")
    try:
        body = answer.redactor.parsed(parse_json(text.encode()))
    except ValueError:
        body = None
    return find_error(body if isinstance(body, dict) else {}, answer.redactor, text)


def find_error(
    body: Mapping[str, object], redactor: Redactor, text: str | None = None
) -> ErrorBody:
    """The error in a JSON object; `text` is what it was read from.

    A code that is no identifier is read as a part of the message.
    """
    error = body.get("error")
    if isinstance(error, str):
        error = {"code": error, "message": body.get("message")}
    if not isinstance(error, dict):
        error = body
    parts = [error.get(name) for name in ("code", "message", "details", "param", "type")]
    code, message, details = parts[:3]
    if isinstance(code, float):
        code = f"{code:g}"
    shown = next((one for one in (message, details) if isinstance(one, str) and one), "")
    clean_code = redactor.shown(code) if isinstance(code, str) else ""
    known = identifier(clean_code)
    said = [redactor.shown(shown)] if known else [clean_code.strip(), redactor.shown(shown)]
    return ErrorBody(
        code=known,
        message=one_line(": ".join(part for part in said if part), _LONGEST_MESSAGE),
        text=(json.dumps(body) if text is None else text).lower(),
        named="\n".join(part for part in parts if isinstance(part, str)).lower(),
    )


def one_line(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    """A server's text on one line, without control characters, cut to `longest` characters."""
    folded = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return folded if len(folded) <= longest else folded[:longest] + " …"


def _is_perhaps_billed(answer: HttpAnswer, error: ErrorBody, fields: frozenset[str]) -> bool:
    """Whether a refusal may be charged; a content block, which always may, is told before."""
    if answer.status in _FREE or was_not_begun(answer):
        return False
    if answer.status != 400 and not (answer.status == 422 and fields):
        return True
    named = _NAMED.search(error.named) or fields.intersection(_WORD.findall(error.named))
    return _is_about_length(error.named) or not named


def _is_about_length(text: str) -> bool:
    prompt = _PROMPT.search(text)
    measured = prompt is not None and _MEASURE.search(text, prompt.end()) is not None
    return measured or _INPUT_LIMIT.search(text) is not None


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
