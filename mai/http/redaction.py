"""A server may say back the key that it was sent: it is taken out before anybody sees the answer.

Gateways quote a request's headers in their errors, and a hostile server may want a key in a log.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from urllib.parse import quote

from ..auth import Sealed

HIDDEN = "[hidden]"

RUN = 12
"""So many letters and digits of a key in a row are in no text, however they are spelled: too few
to be of use, too many to stand there by chance."""

SHORTEST = 6
"""Keys with fewer letters and digits are no secrets, and would be found in every image."""

WORD = 16
"""Keys with fewer letters and digits, such as the emulator's, may be words of the answer: of them
only the whole and plain one is looked for."""

LOOKED_AT = 65_536
"""Bytes of a body that are searched for every spelling: error texts are taken from no more."""

LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)
"""They log an answer's status line and headers."""

_ESCAPE = re.compile(
    r"\\+u([0-9a-f]{4})|\\+x([0-9a-f]{2})|%(?:25)*([0-9a-f]{2})|=([0-9a-f]{2})"
    r"|&(?:amp;)*#x0*([0-9a-f]{2});|&(?:amp;)*#0*([0-9]{2,3});|\\+[bfnrtv]"
)
_SEPARATOR = re.compile(r"[\W_]+", re.ASCII)


class Redactor(Sealed):
    """The secrets of one request, to be taken out of what comes back.

    A whole secret is replaced, in plain, percent-encoded, hexadecimal or base64 text. A text that
    still has RUN letters and digits of one in a row, after escapes are resolved and all that
    stands between them is dropped, is hidden whole. An image in which the key is written is
    damaged by this, and so refused.
    """

    __slots__ = ("_forms", "_runs")

    def __init__(self, secrets: Iterable[str]) -> None:
        known = [secret for secret in secrets if len(_letters(secret)) >= SHORTEST]
        self._forms = {form.encode() for secret in known for form in _forms(secret)}
        self._runs = frozenset(run for secret in known for run in _runs(secret))

    def text(self, text: str) -> str:
        """A short text, such as a header's value or a line of a log, without any secret."""
        data = self._without_forms(text.encode("utf-8", "surrogatepass"))
        plain = data.decode("utf-8", "surrogatepass")
        return HIDDEN if self._repeats(plain) else plain

    def body(self, body: bytes, *, image: bool = True) -> bytes:
        """An answer's body without any secret.

        In a long one that may hold a `image` only whole secrets are looked for: no text of it
        is shown.
        """
        if image and len(body) > LOOKED_AT:
            for form in self._forms:
                body = body.replace(form, HIDDEN.encode())
            return body
        body = self._without_forms(body)
        head = body[:LOOKED_AT].decode("utf-8", "replace")
        return HIDDEN.encode() if self._repeats(head) else body

    def _without_forms(self, data: bytes) -> bytes:
        lower = data.lower()
        for form in self._forms:
            if form.lower() in lower:
                data = re.sub(re.escape(form), HIDDEN.encode(), data, flags=re.IGNORECASE)
                lower = data.lower()
        return data

    def _repeats(self, text: str) -> bool:
        if not self._runs:
            return False
        return not self._runs.isdisjoint(_windows(_letters(_unescaped(_unescaped(text)))))


def _letters(text: str) -> str:
    """A text's ASCII letters and digits, in lower case."""
    return _SEPARATOR.sub("", text.lower().encode("ascii", "ignore").decode())


def _unescaped(text: str) -> str:
    """A text in lower case with the escapes of JSON, addresses, HTML and mail resolved."""

    def resolve(found: re.Match[str]) -> str:
        *hexadecimal, decimal = found.groups("")
        code = int(decimal or 0) or int("".join(hexadecimal) or "0", 16)
        return chr(code) if 0 < code < 128 else " "

    return _ESCAPE.sub(resolve, text.lower())


def _forms(secret: str) -> Iterator[str]:
    """The spellings in which a whole secret is looked for."""
    yield secret
    if len(_letters(secret)) < WORD:
        return
    yield quote(secret, safe="")
    yield secret.encode().hex()
    yield from _base64(secret)


def _base64(secret: str) -> Iterator[str]:
    """What a secret gives in base64 wherever it stands: three alignments, inner characters."""
    data = secret.encode()
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + data).decode()
        yield encoded[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6]


def _runs(secret: str) -> Iterator[str]:
    """Every run of RUN letters and digits of a secret, forwards, backwards and encoded."""
    letters = _letters(secret)
    if len(letters) < WORD:
        return
    for form in (letters, letters[::-1], secret.encode().hex(), *map(_letters, _base64(secret))):
        yield from _windows(form)


def _windows(letters: str) -> Iterator[str]:
    return (letters[i : i + RUN] for i in range(len(letters) - RUN + 1))


_speaking: ContextVar[Redactor | None] = ContextVar("_speaking", default=None)


class _LogFilter(logging.Filter):
    """Takes the secrets of the exchange under way out of a record; other people's pass unread."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass; of ours without its traceback, which repeats the answer."""
        echoes = _speaking.get()
        if echoes is not None:
            record.msg, record.args = echoes.text(record.getMessage()), ()
            record.exc_info = record.exc_text = None
        return True


_log_filter = _LogFilter()


@contextlib.contextmanager
def redacted_logs(echoes: Redactor) -> Iterator[None]:
    """While this lasts, what LOGGERS log from this task holds no secret."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_log_filter)  # adding it again changes nothing
    token = _speaking.set(echoes)
    try:
        yield
    finally:
        _speaking.reset(token)
