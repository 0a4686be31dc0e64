"""Some rows of a list that is checked whole, of which only some columns are read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from mai_image.mai.bulk import COLUMNS, Selection, Settings, format_of, select_rows

READS = frozenset({"id", "prompt", "size", "image_1", "out"})


def select(text: str, start: int = 1, count: int = 64, **settings: object) -> Selection:
    known = {"out": "{id}.png", "reads": READS, **settings}
    stream = io.BytesIO(text.encode())
    return select_rows(stream, "csv", Settings(**known), start, count)  # type: ignore[arg-type]


TEXT = "id,prompt\n" + "".join(f"{i},fox {i}\n" for i in range(1, 101))


@pytest.mark.parametrize(
    ("start", "count", "ids", "left"),
    [(1, 64, range(1, 65), 36), (65, 64, range(65, 101), 0), (100, 1, [100], 0), (101, 9, [], 0)],
)
def test_rows_are_counted_from_1_and_the_rest_is_left(
    start: int, count: int, ids: list[int], left: int
) -> None:
    selection = select(TEXT, start, count)
    assert [row.id for row in selection.rows] == [str(i) for i in ids]
    assert (selection.total, selection.left) == (100, left)


def test_a_mistake_outside_of_the_selected_rows_is_found() -> None:
    selection = select(TEXT + "7,again\n", start=1, count=2)
    assert [mistake.line for mistake in selection.mistakes] == [102]


def test_columns_that_are_not_read_are_not_checked_but_named() -> None:
    row = "id,prompt,model,count,background,mask\na,fox,no such,-1,purple,nowhere.png\n"
    selection = select(row)
    assert not selection.mistakes
    assert selection.unread == ("model", "count", "mask", "background")


def test_a_column_in_a_template_is_not_named_as_unread() -> None:
    assert not select("prompt,model\na {model},x\n").unread
    assert not select("model\nx\n", prompt="a {model}").unread


def test_without_a_model_its_template_name_is_unknown() -> None:
    assert "no column 'model'" in select("prompt\na {model}\n").mistakes[0].what


def test_an_empty_list_is_a_mistake() -> None:
    assert [each.what for each in select("prompt\n").mistakes] == ["There is no row in this list."]


@pytest.mark.parametrize("path", ["../a.png", "/a.png", "~/a.png", "C:\\a.png", "b/../../a.png"])
def test_confined_images_stay_in_their_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    folder = tmp_path / "lists"
    folder.mkdir()
    found = select(f"prompt,image_1\nfox,{path}\n", images=folder, confined=True).mistakes
    assert "out of the list's folder" in found[0].what


def test_a_confined_image_below_the_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "a.png").write_bytes(b"x")
    (row,) = select("prompt,image_1\nfox,shots/a.png\n", images=tmp_path, confined=True).rows
    assert row.images == (tmp_path / "shots" / "a.png",)


def test_a_header_is_known_by_any_of_the_given_columns() -> None:
    head = b"product,surface\nmug,oak\n"
    assert format_of("", head) == "txt"
    assert format_of("", head, {"prompt", "surface"}) == "csv"


def test_by_default_every_column_is_read() -> None:
    assert Settings().reads == frozenset(COLUMNS)
