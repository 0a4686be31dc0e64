"""TODO."""

from __future__ import annotations

from .messages import MAX_JSON_PARTS, FilePart, HttpAnswer, HttpRequest, number, parse, retry_after
from .redaction import Redactor, redacted_logs
from .transport import Transport, resolve

__all__ = [
    "MAX_JSON_PARTS",
    "FilePart",
    "HttpAnswer",
    "HttpRequest",
    "Redactor",
    "Transport",
    "number",
    "parse",
    "redacted_logs",
    "resolve",
    "retry_after",
]
