"""What a refusal may cost: Microsoft charges whenever its service did work, whatever the status.

Source: Microsoft's page on the costs of Foundry models: charged are "for example a 400 error due to
a content filter or input limit, or a 408 error due to a time-out", not charged are calls that did
no processing, "such as a 401 or 429". What isn't known for sure to be free is perhaps billed.
"""

from __future__ import annotations

import re

from ..http import HttpAnswer, retry_after
from .error_body import ErrorBody, read_error_body

FREE = frozenset({401, 402, 403, 404, 410, 429})
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


def was_not_begun(answer: HttpAnswer) -> bool:
    """Whether the service says that it did not begin the work, so that the call may be sent again.

    A 429, a 499 "before request was sent", a 503 with a time to come back. Never a 408, a 500, 502,
    504 or a plain 503: the image may be made and billed.
    """
    if answer.status == 503:
        return retry_after(answer.headers) is not None
    if answer.status == 499:
        return _NOT_SENT_ON.search(read_error_body(answer).text) is not None
    return answer.status == 429


def is_perhaps_billed(answer: HttpAnswer, error: ErrorBody) -> bool:
    """Whether a refusal may be charged; a content block, which always may, is told before."""
    if answer.status in FREE or was_not_begun(answer):
        return False
    if answer.status != 400:
        return True
    return _is_about_length(error.named) or not _NAMED.search(error.named)


def _is_about_length(text: str) -> bool:
    prompt = _PROMPT.search(text)
    measured = prompt is not None and _MEASURE.search(text, prompt.end()) is not None
    return measured or _INPUT_LIMIT.search(text) is not None
