"""The records of a CSV, JSONL or text file, one at a time, with the lines on which they begin.

CSV is as Excel writes it: a byte order mark, UTF-8 or UTF-16, commas, semicolons or tabs, quotes,
any line ends, empty rows at the end. A record that can't be read is a RowMistake, and reading goes
on with the next line. Names of columns are lower-case and without white space around them.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import json
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO

from ..errors import InputError

FORMATS = ("csv", "jsonl", "txt")

MAX_RECORD = 1_000_000
"""Characters of a record. A prompt has 32,000 tokens at most, some 130,000 characters."""

FACTS = ("line", "code", "message", "perhaps_billed", "n", "key")
"""What a list of failed rows says of each besides the row's own columns: left out when it is read.
Where a row has a column of such a name, the fact is called error_NAME."""

_MARK = "perhaps_billed"
"""The fact by which a record of a list of failed rows is known."""

_ENDINGS = {".csv": "csv", ".tsv": "csv", ".tab": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl",
            ".txt": "txt"}  # fmt: skip
_DELIMITERS = ",;\t"
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class RowMistake:
    """What is wrong with the file at a line, counted from 1."""

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Record:
    """The texts of one row by the names of its columns, and the line on which it begins.

    `header` is the line on which the names stand, where that is another one. `first_line` is that
    of the row in the file whose failed rows this one lists.
    """

    line: int
    cells: dict[str, str]
    header: int | None = None
    first_line: int | None = None


def format_of(name: str, head: bytes, columns: Collection[str] = ("prompt",)) -> str:
    """One of FORMATS, by the ending of a file's name, else by its first bytes.

    A first line with one of `columns` among its cells is a CSV's header. InputError: it is another
    kind of file.
    """
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputError(
            "This is a workbook, not a text file.", "Save it as CSV UTF-8 from the spreadsheet."
        )
    known = _ENDINGS.get(PurePath(name).suffix.lower())
    text = head.decode(_encoding(head), "replace").lstrip("\ufeff \t\r\n")
    first = text.partition("\n")[0].lower()
    if known == "txt" and "\t" in first:  # a table with tabs is "Unicode text" to a spreadsheet
        names = {cell.strip().strip('"') for cell in first.split("\t")}
        return "csv" if names & {"id", *columns} else "txt"
    if known is not None:
        return known
    if text.startswith("{"):
        return "jsonl"
    if text.startswith("["):
        raise InputError("This is one JSON list.", "Write one JSON object a line (JSONL).")
    cells = first.replace(";", ",").replace("\t", ",").replace('"', "").split(",")
    return "csv" if any(cell.strip() in columns for cell in cells) else "txt"


def read_records(stream: BinaryIO, kind: str) -> Iterator[Record | RowMistake]:
    """Every record of a file, read from where it stands. `kind` is one of FORMATS."""
    lines = _Lines(stream)
    try:
        yield from {"csv": _read_csv, "jsonl": _read_jsonl, "txt": _read_text}[kind](lines)
    except UnicodeError as error:
        yield RowMistake(
            lines.number + 1, f"this can't be read as {_named(lines.encoding)}: {error}"
        )
    finally:
        lines.detach()


class _TooLongError(Exception):
    """A record has more than MAX_RECORD characters."""

    def __init__(self) -> None:
        super().__init__(f"a row of more than {MAX_RECORD:,} characters")


class _Lines:
    """The lines of a file with their ends, at most MAX_RECORD characters since `begin`.

    `number` is that of the line which was given last.
    """

    def __init__(self, stream: BinaryIO) -> None:
        head = stream.read(_HEAD)
        stream.seek(-len(head), io.SEEK_CUR)
        self.encoding = _encoding(head)
        errors = "surrogateescape" if self.encoding == "utf-8-sig" else "surrogatepass"
        self._text = io.TextIOWrapper(stream, self.encoding, errors, newline="")
        self._again: deque[str] = deque()
        self.number = 0
        self._taken: list[str] = []
        self._length = 0

    def detach(self) -> None:
        """Leave the stream open; it may be closed already."""
        with contextlib.suppress(ValueError):
            self._text.detach()

    def begin(self) -> int:
        """A new record begins with the next line; gives its number."""
        self._taken, self._length = [], 0
        return self.number + 1

    def restart_after_first(self) -> None:
        """Give all lines since `begin` but the first once more."""
        self._again.extendleft(reversed(self._taken[1:]))
        self.number -= len(self._taken[1:])

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._text.readline(MAX_RECORD + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_RECORD:
            while line and not line.endswith(("\n", "\r")):
                line = self._text.readline(MAX_RECORD)
            raise _TooLongError
        self._taken.append(line)
        self._length += len(line)
        if self._length > MAX_RECORD:
            raise _TooLongError
        return line


def _read_csv(lines: _Lines) -> Iterator[Record | RowMistake]:
    header: list[str] | None = None
    delimiter, header_line = ",", 1
    reader: Iterator[list[str]] = iter(())
    while True:
        start = lines.begin()
        try:
            if header is None:
                delimiter = _delimiter(lines, delimiter)
                reader = csv.reader(lines, delimiter=delimiter, strict=True)
                start = lines.begin()
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLongError) as error:
            yield RowMistake(start, _csv_mistake(error))
            if header is None:
                return
            lines.restart_after_first()
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header, header_line = [cell.strip().lower() for cell in cells], start
            yield from _header_mistakes(start, header)
            continue
        yield _record_of(start, header_line, header, cells)


def _delimiter(lines: _Lines, so_far: str) -> str:
    """What separates the cells, as the header shows; also from Excel's own line "sep=;"."""
    line = next(lines)
    if line.lower().startswith("sep=") and len(line.strip()) == 5:
        return line[4]
    lines._again.appendleft(line)
    lines.number -= 1
    outside = "".join(line.split('"')[::2])
    counts = {each: outside.count(each) for each in _DELIMITERS}
    most = max(counts, key=lambda each: counts[each])
    return most if counts[most] and so_far == "," else so_far


def _csv_mistake(error: Exception) -> str:
    text = str(error)
    if "end of data" in text:
        text = "a quote that opens here is never closed"
    elif "expected after" in text:
        text = "there is text behind a closing quote: a quote inside of quotes is written twice"
    elif "field larger" in text:
        text = "a cell is longer than 131,072 characters"
    return f"{text}."


def _header_mistakes(line: int, header: list[str]) -> Iterator[RowMistake]:
    for name in sorted({name for name in header if name and header.count(name) > 1}):
        yield RowMistake(line, f"The column {name[:60]!r} stands twice.")
    bad = next((name for name in header if _unreadable(name)), None)
    if bad is not None:
        yield RowMistake(line, _unreadable(bad))


def _record_of(
    line: int, header_line: int, header: list[str], cells: list[str]
) -> Record | RowMistake:
    extra = [cell for cell in cells[len(header) :] if cell.strip()]
    nameless = [cell for name, cell in zip(header, cells, strict=False) if not name and cell]
    if extra or any(cell.strip() for cell in nameless):
        count = len(header) if extra else sum(map(bool, header))
        return RowMistake(
            line,
            f"This row has more cells than the header has names ({count}): a text with the "
            "separator in it must stand in quotes.",
        )
    found = {name: cell for name, cell in zip(header, cells, strict=False) if name}
    problem = next(filter(None, map(_unreadable, found.values())), "")
    return RowMistake(line, problem) if problem else Record(line, found, header_line)


def _read_text(lines: _Lines) -> Iterator[Record | RowMistake]:
    for line, text in _single_lines(lines):
        problem = text if isinstance(text, RowMistake) else None
        if problem is not None:
            yield problem
        elif str(text).strip():
            yield Record(line, {"prompt": str(text).strip()})


def _read_jsonl(lines: _Lines) -> Iterator[Record | RowMistake]:
    for line, text in _single_lines(lines):
        if isinstance(text, RowMistake):
            yield text
        elif text.strip():
            try:
                cells, facts = _without_facts(_object(text))
                first_line = facts.get("line", "")
                yield Record(line, cells, None, int(first_line) if first_line.isdecimal() else None)
            except (ValueError, RecursionError) as error:
                yield RowMistake(line, _json_mistake(error))


def _single_lines(lines: _Lines) -> Iterator[tuple[int, str | RowMistake]]:
    """Each line with its number, a RowMistake for one that can't be read."""
    while True:
        start = lines.begin()
        try:
            line = next(lines)
        except StopIteration:
            return
        except _TooLongError as error:
            yield start, RowMistake(start, f"{error}.")
            continue
        problem = _unreadable(line)
        yield start, RowMistake(start, problem) if problem else line


def _json_mistake(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"This line is no JSON object: {error.msg} at character {error.colno}."
    if isinstance(error, RecursionError):
        return "This line has lists inside of lists inside of lists."
    return f"{error}."


def _object(text: str) -> dict[str, str]:
    """A JSON object's keys and its values as a cell would have them; ValueError."""
    pairs = json.loads(text, object_pairs_hook=_Pairs)
    if not isinstance(pairs, _Pairs):
        raise ValueError("This line is no JSON object")
    cells: dict[str, str] = {}
    for key, value in pairs.items:
        name = key.strip().lower()
        if name in cells:
            raise ValueError(f"The key {name[:60]!r} stands twice")
        if isinstance(value, (list, _Pairs)) and name.removeprefix("error_") not in FACTS:
            raise ValueError(f"{name[:60]!r} is no text, number or truth value")
        cells[name] = _cell(value)
        problem = _unreadable(name, escaped=True) or _unreadable(cells[name], escaped=True)
        if problem:
            raise ValueError(problem.rstrip("."))
    return cells


class _Pairs:
    """A JSON object as it is written."""

    def __init__(self, items: list[tuple[str, object]]) -> None:
        self.items = items


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _without_facts(cells: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """A row's own cells, and what a list of failed rows says of it."""
    if _MARK not in cells and f"error_{_MARK}" not in cells:
        return cells, {}
    names = {fact: f"error_{fact}" if f"error_{fact}" in cells else fact for fact in FACTS}
    facts = {fact: cells.pop(name) for fact, name in names.items() if name in cells}
    return cells, facts


def _unreadable(text: str, *, escaped: bool = False) -> str:
    """Why a text can't be used; "" where it can. `escaped`: it came out of JSON's escapes."""
    if "\0" in text:
        return "There is a NUL character in this row."
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        if not escaped and 0xDC80 <= code <= 0xDCFF:
            return (
                f"The byte 0x{code - 0xDC00:02X} isn't UTF-8: save the file as UTF-8 (in Excel: "
                "CSV UTF-8)."
            )
        return "There is half a character in this row: it was cut in two where the text came from."
    return ""


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def _named(encoding: str) -> str:
    return encoding.upper().removesuffix("-SIG")
