"""What a service says of an error: the code, the message and the parameter in an answer's body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ..http import HttpAnswer, Redactor, identifier
from ..safe_json import parse_json

_LONGEST_BODY = 65_536
_LONGEST_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The parts of an error. `message` is one line for a person; `text` is all of the body in lower
    case, to look for keywords in, and `named` the same of code, messages and parameter alone."""

    code: str | None = None
    message: str = ""
    text: str = ""
    named: str = ""


def read_error_body(answer: HttpAnswer) -> ErrorBody:
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
