"""HTTP: plain requests and answers, and the transport that exchanges one for the other.

Others use `Transport.exchange`, which opens all connections and sends each request once, after
`Transport.prepare`, which finds out whether this machine's settings let it; the plain data
`HttpRequest` and `HttpAnswer`; and what reads them. Secrets of a request are taken out of its
answer and of the logs here (redaction.py), before anybody else sees them.
"""

from __future__ import annotations

from .messages import (
    FormFile,
    HttpAnswer,
    HttpRequest,
    header_number,
    identifier,
    retry_after,
)
from .redaction import Redactor
from .transport import NotSentError, Transport, resolve

__all__ = [
    "FormFile",
    "HttpAnswer",
    "HttpRequest",
    "NotSentError",
    "Redactor",
    "Transport",
    "header_number",
    "identifier",
    "resolve",
    "retry_after",
]
