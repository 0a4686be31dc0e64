"""Files of rows as spreadsheets, programs and people write them, and as nobody should."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mai_image.mai.bulk import FACTS, Record, RowMistake, format_of, read_records
from mai_image.mai.errors import InputError


def read(data: bytes | str, kind: str = "csv") -> list[Record | RowMistake]:
    stream = io.BytesIO(data if isinstance(data, bytes) else data.encode())
    return list(read_records(stream, kind))


def cells(data: bytes | str, kind: str = "csv") -> list[dict[str, str]]:
    found = read(data, kind)
    assert all(isinstance(each, Record) for each in found), found
    return [each.cells for each in found if isinstance(each, Record)]


def mistakes(data: bytes | str, kind: str = "csv") -> list[tuple[int, str]]:
    return [(each.line, each.what) for each in read(data, kind) if isinstance(each, RowMistake)]


ROWS = [{"id": "a", "prompt": "a fox, red; fast"}, {"id": "b", "prompt": 'Zoë said "hi"\r\ntwice'}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_is_read_however_a_spreadsheet_writes_it(delimiter, end, encoding) -> None:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, ["id", "prompt"], delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(ROWS)
    assert cells(stream.getvalue().encode(encoding)) == ROWS


def test_lines_of_old_macs_excels_separator_line_and_empty_rows_are_understood() -> None:
    assert cells("id,prompt\ra,fox\rb,owl\r") == [
        {"id": "a", "prompt": "fox"},
        {"id": "b", "prompt": "owl"},
    ]
    assert cells("sep=;\r\nprompt;id\r\nfox;a\r\n;\r\n\r\n") == [{"prompt": "fox", "id": "a"}]


def test_names_of_columns_are_lower_case_and_a_row_may_end_early() -> None:
    assert cells(" Prompt ,ID,Note\nfox,a\n") == [{"prompt": "fox", "id": "a"}]


def test_a_record_is_known_by_the_line_on_which_it_begins() -> None:
    found = read('prompt\n"one\ntwo"\nthree\n')
    assert [each.line for each in found] == [2, 4]


def test_a_quote_that_is_never_closed_hides_none_of_the_rows_after_it() -> None:
    found = read('id,prompt\na,"open\nb,fox\nc,owl\n')
    assert isinstance(found[0], RowMistake)
    assert found[0].line == 2
    assert "never closed" in found[0].what
    assert [each.line for each in found[1:]] == [3, 4]


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (b"prompt\nfox\xff\n", 2, "0xFF isn't UTF-8"),
        (b"prompt\nfox\0\n", 2, "NUL"),
        (b"prompt,prompt\nfox,owl\n", 1, "stands twice"),
        (b"id,prompt\na,a fox, red\n", 2, "more cells"),
        (b'prompt\n"fox" red\n', 2, "closing quote"),
        (b"prompt\n" + b"x" * 140_000 + b"\n", 2, "131,072"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(data, line, said) -> None:
    found = mistakes(data)
    assert found[0][0] == line
    assert said in found[0][1]


class Endless(io.RawIOBase):
    """A file with one line of 100 MB, which is never held at once."""

    def __init__(self, before: bytes, after: bytes) -> None:
        self._parts = [before, *([b"x" * 1_000_000] * 100), after]
        self._data = io.BytesIO(b"".join(self._parts))
        self.most = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._data.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        self.most = max(self.most, size if size >= 0 else 10**9)
        return self._data.read(size)

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "txt"])
def test_a_line_of_100_mb_is_refused_in_small_pieces_and_the_next_is_read(kind) -> None:
    first = {"csv": b"prompt\n", "jsonl": b"", "txt": b""}[kind]
    last = {"jsonl": b'\n{"prompt": "owl"}\n'}.get(kind, b"\nowl\n")
    stream = Endless(first, last)
    found = list(read_records(stream, kind))  # type: ignore[arg-type]
    assert isinstance(found[0], RowMistake)
    assert "1,000,000" in found[0].what or "131,072" in found[0].what
    assert isinstance(found[-1], Record)
    assert found[-1].cells == {"prompt": "owl"}
    assert stream.most < 1_000_000


def test_json_values_become_the_texts_that_a_cell_would_have() -> None:
    line = {"Prompt": "fox", "width": 1024, "seed": 3.0, "web_grounding": True, "mask": None}
    assert cells(json.dumps(line), "jsonl") == [
        {"prompt": "fox", "width": "1024", "seed": "3", "web_grounding": "true", "mask": ""}
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON object"),
        ('["fox"]', "no JSON object"),
        ('{"prompt": "a", "prompt": "b"}', "stands twice"),
        ('{"prompt": ["a"]}', "no text, number or truth value"),
        ("[" * 100_000, "lists inside"),
        ('{"seed": ' + "9" * 5000 + "}", "digits"),
    ],
)
def test_a_wrong_json_line_does_not_stop_the_next_one(line, said) -> None:
    found = read(f'{line}\n\n{{"prompt": "owl"}}\n', "jsonl")
    assert isinstance(found[0], RowMistake)
    assert said in found[0].what
    assert found[1] == Record(3, {"prompt": "owl"})


def test_a_list_of_failed_rows_is_a_list_of_rows() -> None:
    facts = dict.fromkeys(FACTS, "x")
    line = json.dumps({"id": "a", "prompt": "fox", **facts})
    assert cells(line, "jsonl") == [{"id": "a", "prompt": "fox"}]
    own = {"error_code" if name == "code" else name: "x" for name in FACTS}
    line = json.dumps({"id": "a", "code": "SKU-7", **own})
    assert cells(line, "jsonl") == [{"id": "a", "code": "SKU-7"}]


def test_a_failed_row_keeps_the_line_of_its_first_file() -> None:
    line = json.dumps({"id": "a", "line": 8, "perhaps_billed": False})
    assert read(line, "jsonl") == [Record(1, {"id": "a"}, first_line=8)]


@pytest.mark.parametrize(
    "line", ['{"id": "\\ud800"}', '{"\\ud800": "a"}', '{"id": "a\\udc85", "prompt": "fox"}']
)
def test_half_a_character_is_a_mistake_wherever_it_stands(line) -> None:
    ((number, said),) = mistakes(line, "jsonl")
    assert number == 1
    assert "half a character" in said


def test_half_a_character_of_utf_16_costs_its_own_row_alone() -> None:
    data = "id\tprompt\na\tfo\ud800x\nb\towl\n".encode("utf-16", "surrogatepass")
    found = read(data)
    assert [each.line for each in found] == [2, 3]
    assert isinstance(found[0], RowMistake)
    assert found[1] == Record(3, {"id": "b", "prompt": "owl"}, header=1)


def test_a_text_file_has_a_prompt_a_line() -> None:
    assert cells("\ufeffa fox, red\r\n\r\n  an owl \n", "txt") == [
        {"prompt": "a fox, red"},
        {"prompt": "an owl"},
    ]


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.CSV", b"", "csv"),
        ("a.tsv", b"", "csv"),
        ("a.jsonl", b"", "jsonl"),
        ("a.txt", b"", "txt"),
        ("a.txt", "id\tproduct\na\tfox\n".encode("utf-16"), "csv"),  # Excel's "Unicode text"
        ("a.txt", b"Prompt\tsize\r\n", "csv"),
        ("a.txt", b"a fox\tand its prompt\n", "txt"),
        ("a.txt", b"id,prompt\n", "txt"),
        ("-", b'{"prompt": 1}', "jsonl"),
        ("-", b"\xef\xbb\xbfid;prompt\n", "csv"),
        ("-", b"a fox, and a prompt of it\n", "txt"),
    ],
)
def test_the_format_is_known_by_the_ending_or_the_beginning(name, head, kind) -> None:
    assert format_of(name, head) == kind


@pytest.mark.parametrize("head", [b"PK\x03\x04rest", b'[{"prompt": "a"}]'])
def test_a_workbook_and_a_json_list_say_what_to_save_instead(head) -> None:
    with pytest.raises(InputError):
        format_of("-", head)


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8), st.sampled_from(",;\t"))
def test_whatever_stands_in_cells_comes_out_of_them(rows, delimiter) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerow(["id", "prompt"])
    writer.writerows(rows)
    wanted = [{"id": a, "prompt": b} for a, b in rows if a.strip() or b.strip()]
    assert cells(stream.getvalue()) == wanted


@given(st.binary(max_size=300), st.sampled_from(["csv", "jsonl", "txt"]))
def test_no_bytes_raise_anything(data, kind) -> None:
    found = read(data, kind)
    lines = [each.line for each in found]
    assert all(line >= 1 for line in lines)
