"""Some rows of a list that is checked whole: what one run of a graph takes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from .reading import Record, RowMistake, read_records
from .rows import COLUMNS, Row, RowCheck, Settings
from .templates import names_in


@dataclass(frozen=True)
class Selection:
    """`rows` are those from `start`, counted from 1; `total` are all of the list.

    `mistakes` are those of the whole list. `unread` are columns that mean something elsewhere, but
    aren't in `Settings.reads` and in no template.
    """

    rows: tuple[Row, ...]
    start: int
    total: int
    mistakes: tuple[RowMistake, ...]
    unread: tuple[str, ...]

    @property
    def left(self) -> int:
        """Rows behind the selected ones."""
        return max(0, self.total - (self.start - 1) - len(self.rows))


def select_rows(
    stream: BinaryIO, kind: str, settings: Settings, start: int, count: int
) -> Selection:
    """Check a whole list and keep `count` of its rows from `start`. `kind` is one of FORMATS."""
    check = RowCheck(settings)
    rows: list[Row] = []
    total, columns, used = 0, set[str](), names_in(settings.prompt)
    for record in read_records(stream, kind):
        row = check.check(record)
        total += 1
        if row is not None and start <= total < start + count:
            rows.append(row)
        if isinstance(record, Record):
            columns.update(record.cells)
            used |= names_in(record.cells.get("prompt", ""))
    unread = set(COLUMNS) - settings.reads - used
    mistakes = check.finish()
    if not total:
        mistakes.append(RowMistake(1, "There is no row in this list."))
    in_order = tuple(each for each in COLUMNS if each in unread & columns)
    return Selection(tuple(rows), start, total, tuple(mistakes), in_order)
