"""What holds a secret shows it nowhere: in no repr, no pickle and no log."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

Redact = Callable[[str], str]
"""Replaces the secrets that it knows in a text."""

S = TypeVar("S", bound="Sealed")


class Sealed:
    """An object that holds a secret: it can't be pickled, and a copy of it is itself."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} can't be pickled")

    def __copy__(self: S) -> S:
        return self

    def __deepcopy__(self: S, memo: dict[int, Any]) -> S:
        return self


class Secret(Sealed):
    """A text that is shown by `reveal` alone."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('…')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Headers(Sealed, dict[str, str]):
    """Headers that authenticate a request; only their names are shown."""

    def __repr__(self) -> str:
        return f"<Headers: {', '.join(self)}>"


_PLACEHOLDER = "[hidden]"

_NAMED_VALUE = re.compile(
    r"""((?:access_?token|refresh_?token|id_?token|client_?secret|client_?assertion|assertion"""
    r"""|password)\\{0,4}["']?\s{0,8}[:=]\s{0,8}\\{0,4})"""
    r"""("(?:[^"\\]|\\.)*|'(?:[^'\\]|\\.)*|[^\s"'&,;}]+)""",
    re.IGNORECASE | re.DOTALL,
)
"""A secret by its name, in JSON or in a form; its end may be cut off."""

_TOKEN_ALONE = re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}")
"""A JWT (RFC 7519) begins with "{" and a quote in base64."""

_BEARER = re.compile(r"(bearer\s{1,8})[A-Za-z0-9._~+/=-]{20,}", re.IGNORECASE)


def hide_tokens(text: str) -> str:
    """A text without what looks like a token or a client's secret, whole or cut.

    Azure's libraries quote an answer that they can't read, and that may hold a token.
    """
    text = _NAMED_VALUE.sub(rf"\1{_PLACEHOLDER}", text)
    text = _TOKEN_ALONE.sub(_PLACEHOLDER, text)
    return _BEARER.sub(rf"\1{_PLACEHOLDER}", text)


class _TokenFilter(logging.Filter):
    """Keeps tokens out of a logger for as long as this process lives."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass, without tokens in its text, traceback and stack."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # arguments that don't fit: logging itself tells of it
            text = f"{record.msg} {record.args}"
        clean = hide_tokens(text)
        if clean != text:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            record.exc_info = None
        if record.exc_text:
            record.exc_text = hide_tokens(record.exc_text)
        if record.stack_info:
            record.stack_info = hide_tokens(record.stack_info)
        return True


_token_filter = _TokenFilter()


def keep_tokens_out(packages: Iterable[str]) -> None:
    """From now on no logger of these packages that there is records a token."""
    packages = tuple(packages)
    for name in [*packages, *list(logging.root.manager.loggerDict)]:
        if name.partition(".")[0] in packages:
            logging.getLogger(name).addFilter(_token_filter)  # again changes nothing


_redact: ContextVar[Redact | None] = ContextVar("_redact", default=None)


class _LogFilter(logging.Filter):
    """Redacts the records of a task or thread that is inside `redacted_loggers`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass, a redacted one without its traceback, which repeats the text."""
        redact = _redact.get()
        if redact is not None:
            record.msg, record.args = redact(record.getMessage()), ()
            record.exc_info = record.exc_text = None
        return True


_filter = _LogFilter()
_users: Counter[str] = Counter()
"""How many tasks and threads need the filter, by the name of the logger."""
_users_lock = threading.Lock()


@contextlib.contextmanager
def redacted_loggers(names: Iterable[str], redact: Redact) -> Iterator[None]:
    """While this lasts, what these loggers record from this task or thread is redacted.

    Records of other tasks and threads stay as they are. The last to leave takes the filter off.
    """
    names = tuple(names)
    with _users_lock:
        _users.update(names)
        for name in names:
            logging.getLogger(name).addFilter(_filter)  # adding it again changes nothing
    token = _redact.set(redact)
    try:
        yield
    finally:
        _redact.reset(token)
        with _users_lock:
            _users.subtract(names)
            for name in names:
                if not _users[name]:
                    logging.getLogger(name).removeFilter(_filter)
