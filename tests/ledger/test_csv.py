"""The CSV file of all calls holds no formula, with whatever separator a spreadsheet reads it."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_helpers import DELIVERED, FREE, call, ledger_at
from mai_image.mai.ledger import ledger as ledger_module
from mai_image.mai.ledger.spend import COLUMNS, write_csv

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")

ODD = st.text(st.sampled_from("=+-@;,\t\r\n\"' a1；＝\x00\x0b\u2028"), max_size=12) | st.text()


def exported(text: str) -> str:
    """The file of one call whose texts are all this one."""
    row: dict[str, object] = dict.fromkeys(COLUMNS, text)
    row.update(id=7, opened_at=1.0, closed_at=None, estimate_usd=0.5)
    stream = io.StringIO(newline="")
    assert write_csv([row], stream) == 1
    return stream.getvalue()


@given(ODD)
def test_no_cell_begins_like_a_formula_under_any_separator(text: str) -> None:
    content = exported(text)
    for separator in (",", ";", "\t", "|"):
        for row in csv.reader(io.StringIO(content, newline=""), delimiter=separator):
            for cell in row:
                if separator != "|" or "|" not in text:
                    assert not cell.lstrip(" \"'").startswith(FORMULA) or cell.startswith("'")


@given(ODD)
def test_every_row_stays_one_line_with_its_number_first(text: str) -> None:
    lines = exported(text).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("7,")


@pytest.mark.parametrize("text", ["x;=1+1", 'x";=cmd|x', "x\t@SUM(1)", "x\r\n=1", " =1", "；＝1"])
def test_a_hidden_formula_becomes_text(text: str) -> None:
    (_, row) = csv.reader(io.StringIO(exported(text), newline=""))
    assert ";" not in row[COLUMNS.index("request_id")]
    assert len(row) == len(COLUMNS)


def test_a_csv_of_more_calls_than_are_read_at_once_has_each_of_them_once(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "PAGE_ROWS", 3)
    ledger = ledger_at(place)
    for count in (6, 7):
        for _ in range(count - len(ledger.rows())):
            ledger.close(ledger.open(call(), FREE), DELIVERED)
        stream = io.StringIO()
        assert ledger.export_csv(stream) == count
        found = [int(row["id"]) for row in csv.DictReader(io.StringIO(stream.getvalue()))]
        assert found == sorted(found, reverse=True)
        assert len(set(found)) == count
    ledger.close_file()
