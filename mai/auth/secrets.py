"""What holds a secret shows it nowhere: in no repr, no pickle and no log."""

from __future__ import annotations

import contextlib
import logging
import threading
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
