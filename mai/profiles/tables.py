"""TOML tables read with care: every mistake is kept with its line and a suggestion.

Nothing here raises for what a file says: mistakes are gathered as sentences, so that no traceback
ever passes through a frame that holds the file's text.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

PARSERS = ("tomllib", "tomli", "pip._vendor.tomli")
"""Python 3.11's own, and on 3.10 what is usually there beside it."""

NO_PARSER = (
    "This Python can't read TOML: run `pip install tomli`, or use Python 3.11 or newer, or "
    "configure the account by environment variables instead of the file."
)

MAX_LINE = 2000
"""Characters: no line is meant to be longer, and a key of 100,000 parts would take minutes."""

_BARE = r"[A-Za-z0-9_-]+"
_PART = rf'(?:{_BARE}|"(?:[^"\\]|\\.)*"|\'[^\']*\')'
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")
_DEPTH = 5
"""Tables in tables that are looked up; a key of a thousand parts costs no more."""

_KINDS: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: a sentence, and the line it is on (from 1) where that is known."""

    text: str
    line: int | None = None

    def __str__(self) -> str:
        return self.text if self.line is None else f"line {self.line}: {self.text}"


def short(value: object, limit: int = 40) -> str:
    """A value as it stands in an error text: quoted, and not longer than about `limit`."""
    if isinstance(value, str):
        return repr(value if len(value) <= limit else value[:limit] + "…")
    text = repr(value) if isinstance(value, (bool, int, float)) else _kind(value)
    return text if len(text) <= limit else text[:limit] + "…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a mistyped one most likely means, whatever its case."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word[:100].lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggestion(word: str, known: Sequence[str]) -> str:
    """The end of a sentence about a mistyped word: the nearest known one, or all of them."""
    near = nearest(word, known)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"known are {', '.join(known)}." if known else "nothing can stand here."


class Document:
    """A parsed TOML file: its `tree`, where each key stands, and the mistakes found so far."""

    def __init__(self, text: str, parsers: Sequence[str] = PARSERS) -> None:
        self.problems: list[Problem] = []
        self._lines = _index(text)
        self.tree: dict[str, object] = {}
        for number, line in enumerate(text.split("\n"), start=1):
            if len(line) > MAX_LINE:
                self.problems.append(Problem(f"longer than {MAX_LINE} characters.", number))
        parser = _parser(parsers)
        if parser is None:
            self.problems.append(Problem(NO_PARSER))
        if parser is None or self.problems:
            return
        try:
            self.tree = parser.loads(text)
        except (ValueError, OverflowError) as error:
            self.problems.append(_syntax(str(error)))
        except RecursionError:
            self.problems.append(Problem("the values are nested too deep."))

    def line(self, path: Sequence[str]) -> int | None:
        """The line of a key, or of the nearest table around it."""
        for length in range(len(path), 0, -1):
            line = self._lines.get(tuple(path[:length]))
            if line is not None:
                return line
        return None

    def tables(self, first: str) -> list[str]:
        """The names of [first.name] tables by the lines alone, also of a file that is broken."""
        names = (path[1] for path in self._lines if len(path) > 1 and path[0] == first)
        return list(dict.fromkeys(names))


class Table:
    """One table: each reader checks a key and notes a mistake in `problems`.

    A reader gives None for what is missing or wrong. `close` notes every key that no reader asked
    for. With `hidden`, no value of the table is ever quoted: it may be a secret.
    """

    def __init__(
        self,
        document: Document,
        path: tuple[str, ...],
        values: Mapping[str, object],
        problems: list[Problem],
        hidden: bool = False,
    ) -> None:
        self.document = document
        self.path = path
        self.problems = problems
        self._values = values
        self._hidden = hidden
        self._known: list[str] = []

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that the file gives, in its order."""
        return tuple(self._values)

    def wrong(self, text: str, key: str | None = None) -> None:
        """Notes a mistake, at the key's line."""
        path = self.path if key is None else (*self.path, key)
        self.problems.append(Problem(text, self.document.line(path)))

    def raw(self, key: str) -> object:
        """The value as it is, None if it is missing."""
        if key not in self._known:
            self._known.append(key)
        return self._values.get(key)

    def text(self, key: str, required: bool = False, hidden: bool = False) -> str | None:
        """A text that isn't empty; with `hidden` it is not quoted."""
        value = self.raw(key)
        if isinstance(value, str) and value.strip():
            return value
        if value is None:
            if required:
                self.wrong(f"{self._name()} has no {key}.")
        else:
            self._wrong_kind(key, None if hidden else value, "a text in quotes that isn't empty")
        return None

    def choice(self, key: str, known: Sequence[str], default: str | None) -> str | None:
        """One of the known words; a missing one is the default, or a mistake if there is none."""
        if key not in self._values and default is not None:
            self.raw(key)
            return default
        value = self.text(key, required=True)
        if value is None or value in known:
            return value
        said = "this" if self._hidden else short(value)
        self.wrong(f"{key} can't be {said}: {suggestion(value, known)}", key)
        return None

    def number(self, key: str, low: float, high: float, whole: bool = False) -> float | None:
        """A number from `low` to `high`; never true or false, nan or inf."""
        value = self.raw(key)
        if value is None:
            return None
        kind = "a whole number" if whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            self._wrong_kind(key, value, f"{kind} from {low:g} to {high:g}")
        elif not low <= value <= high:
            self.wrong(f"{key} must be from {low:g} to {high:g}, not {short(value)}.", key)
        else:
            return float(value)
        return None

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self.raw(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self._wrong_kind(key, value, "true or false, without quotes")
        return default

    def table(self, key: str, hidden: bool = False) -> Table | None:
        """A table inside this one."""
        value = self.raw(key)
        if isinstance(value, dict):
            return Table(self.document, (*self.path, key), value, self.problems, hidden)
        if value is not None:
            self._wrong_kind(key, None if hidden else value, "a table")
        return None

    def close(self) -> None:
        """Notes every key that nothing asked for."""
        for key in self._values:
            if key not in self._known:
                ends = suggestion(key, self._known)
                self.wrong(f"{self._name()} has an unknown key {short(key)}: {ends}", key)

    def _name(self) -> str:
        parts = (part if re.fullmatch(_BARE, part) else short(part) for part in self.path)
        return f"[{'.'.join(parts)}]" if self.path else "the file"

    def _wrong_kind(self, key: str, value: object, wanted: str) -> None:
        said = "" if self._hidden or value is None else f", not {short(value)}"
        self.wrong(f"{key} must be {wanted}{said}.", key)


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "a date or time")


def _parser(names: Sequence[str]) -> ModuleType | None:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _syntax(message: str) -> Problem:
    """The parser's message with its "(at line 3, column 9)" as a line."""
    found = re.search(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)", message)
    line = int(found[1]) if found and found[1] else None
    text = message[: found.start()] if found else message
    return Problem(f"this is not TOML: {text[:120].rstrip('.')}.", line)


def _index(text: str) -> dict[tuple[str, ...], int]:
    """Where each key and table first stands: a scan of the lines, good enough for messages."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        header = _HEADER.match(line)
        if header:
            table = _parts(header[1])
            path = table
        else:
            key = _KEY.match(line)
            if key is None:
                continue
            path = (*table, *_parts(key[1]))
        for length in range(1, min(len(path), _DEPTH) + 1):
            lines.setdefault(path[:length], number)
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))
