"""HTTP as plain data: what a provider builds, and what the transport gives back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from .redaction import Redactor

_REQUEST_ID_HEADERS = ("apim-request-id", "x-ms-request-id", "x-request-id")

_IDENTIFIER = re.compile(r"[A-Za-z0-9._:-]{1,100}")
"""What a service's id or error code is made of. It stands in error texts, the ledger and its CSV
file: so it holds no formula, no markup and no second line."""

_LONGEST_TIME = 64
"""Characters that are read of a header that says a number or a date; dates have 29."""


@dataclass(frozen=True, slots=True)
class FormFile:
    """One file of a multipart form."""

    field_name: str
    file_name: str
    data: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request without its credential: `json`, or a multipart form of `fields` and `files`."""

    method: str
    url: str
    json: Mapping[str, object] | None = field(default=None, repr=False)
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: tuple[FormFile, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer; header names are lower case.

    Neither headers nor body hold the request's secrets as they are. What JSON's escapes may still
    hide is taken out by `redactor`, after the JSON is parsed and before its texts are cut or shown.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    seconds: float = 0.0
    redactor: Redactor = field(default=Redactor(()), repr=False, compare=False)

    @property
    def request_id(self) -> str | None:
        """What the service's support asks for, where one of its headers says it."""
        for name in _REQUEST_ID_HEADERS:
            value = identifier(self.redactor.shown(self.headers.get(name, "")))
            if value is not None:
                return value
        return None


def identifier(text: str) -> str | None:
    """A service's id or code without the space around it; None for what can't be one."""
    text = text.strip()
    return text if _IDENTIFIER.fullmatch(text) else None


def header_number(headers: Mapping[str, str], name: str) -> float | None:
    """A header's value as a number that is at least 0, None where it is none."""
    try:
        value = float(headers.get(name, "").strip()[:_LONGEST_TIME])
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait: from `retry-after-ms`, or from `retry-after` in seconds or as a date.

    None where no header says a usable time (RFC 9110, section 10.2.3, gives both forms).
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()[:_LONGEST_TIME]
        if not text:
            continue
        try:
            seconds = float(text) * unit
        except ValueError:
            seconds = _seconds_until(text, now) if unit == 1.0 else -1.0
        if 0 <= seconds < float("inf"):
            return seconds
    return None


def _seconds_until(text: str, now: datetime | None) -> float:
    try:
        then = parsedate_to_datetime(text)
        if then.tzinfo is None:
            then = then.replace(tzinfo=timezone.utc)
        return max(0.0, (then - (now or datetime.now(timezone.utc))).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return -1.0
