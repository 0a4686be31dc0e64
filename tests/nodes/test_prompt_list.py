"""MAI Prompt List: which rows it gives, what it refuses, and when it counts as changed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from mai_image.mai.errors import InputError
from mai_image.nodes import prompt_list
from mai_image.nodes.inputs import LIST_TEXT
from mai_image.nodes.prompt_list import MAIPromptList
from PIL import Image

PROMPT, WIDTH, HEIGHT, SEED, NAME, INDEX, IMAGE_1 = range(7)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's input folder."""
    found = tmp_path / "input"
    found.mkdir()
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(found))
    return found


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the node shows."""
    shown: list[str] = []
    monkeypatch.setattr(prompt_list, "show_notes", lambda *given: shown.extend(given[2]))
    return shown


def run(file: str = LIST_TEXT, text: str = "", template: str = "", **more: Any) -> tuple[Any, ...]:
    return tuple(asyncio.run(MAIPromptList.execute(file, text, template, **more)).result)


def validated(text: str, template: str = "", file: str = LIST_TEXT) -> bool | str:
    return asyncio.run(MAIPromptList.validate_inputs(file=file, text=text, template=template))


@pytest.fixture(autouse=True)
def unlinked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody uses image_1, unless a test says so."""
    monkeypatch.setattr(prompt_list, "_is_linked", lambda *_: False)


def test_each_row_is_one_item_of_every_list() -> None:
    text = "id,prompt,size,seed\na,a fox,768x1024,7\nb,a hare,,\n"
    assert run(text=text)[:IMAGE_1] == (
        ["a fox", "a hare"],
        [768, 1024],
        [1024, 1024],
        [7, 0],
        ["a", "b"],
        [1, 2],
    )


def test_start_and_rows_choose_what_runs_and_the_node_says_what_is_left(said: list[str]) -> None:
    given = run(text="one\ntwo\nthree\nfour\n", start=2, rows=2)
    assert (given[PROMPT], given[INDEX]) == (["two", "three"], [2, 3])
    assert said == ["rows 2 to 3 of 4 · 1 left: the next run begins with start 4"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("product,surface\na mug,oak\n", "csv by the template's names"),
        ('{"product": "a mug", "surface": "oak"}\n', "jsonl"),
        ("PRODUCT;Surface\r\na mug;oak\r\n", "a spreadsheet's csv"),
    ],
)
def test_a_template_is_filled_in_from_typed_lists_of_every_kind(text: str, kind: str) -> None:
    assert run(text=text, template="{product} on {surface}")[PROMPT] == ["a mug on oak"], kind


def test_a_text_without_a_header_is_a_prompt_a_line() -> None:
    assert run(text="a fox, red\n\na hare\n")[PROMPT] == ["a fox, red", "a hare"]


def test_columns_of_the_paid_node_are_named_and_not_read(said: list[str]) -> None:
    run(text="prompt,model,background,count\na fox,no such model,purple,-3\n")
    assert said[1].startswith("Columns that aren't read here: model, count, background.")


def test_a_column_of_the_paid_node_may_be_in_a_template(said: list[str]) -> None:
    assert run(text="model\nBeetle\n", template="a {model}")[PROMPT] == ["a Beetle"]
    assert len(said) == 1


@pytest.mark.parametrize(
    ("out", "name"),
    [
        ("shots/{id}.png", "shots/a"),
        ("v1.5.png", "v1.5"),
        ('what?<>|".png', "what_____"),
        ("back\\slash.png", "back/slash"),
    ],
)
def test_a_name_is_the_column_out_without_its_ending(out: str, name: str) -> None:
    assert run(text=json.dumps({"id": "a", "prompt": "a fox", "out": out}))[NAME] == [name]


@pytest.mark.parametrize("id_", ["../up", "/root", "C:\\x", "~/x", "a/../../b", "..\\up"])
def test_no_name_leads_out_of_the_output_folder(id_: str) -> None:
    answer = validated(json.dumps({"id": id_, "prompt": "a fox"}))
    assert "out of the folder" in str(answer)


@pytest.mark.parametrize("image", ["../secret.png", "/etc/hostname", "~/x.png", "link/x.png"])
def test_no_image_is_read_out_of_the_lists_folder(folder: Path, tmp_path: Path, image: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere" / "x.png")
    (folder / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    answer = validated(json.dumps({"prompt": "a fox", "image_1": image}))
    assert "is out of the list's folder" in str(answer)


def test_a_list_over_a_symbolic_link_out_of_the_input_folder_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("a fox\n")
    (folder / "list.txt").symlink_to(tmp_path / "list.txt")
    assert "input folder" in str(validated("", file="list.txt"))


def test_comfyui_shows_all_mistakes_once_though_it_asks_for_each_input() -> None:
    answer = validated("prompt,widht\na fox,1\n,2\n")
    lines = str(answer).splitlines()
    assert lines[0] == "The list has 2 mistakes:"
    assert [line.split(":")[0] for line in lines[1:]] == ["line 1", "line 3"]
    assert str(answer) == "see above"


def test_a_size_is_a_mistake_only_if_no_model_can_make_it() -> None:
    assert validated("prompt,size\na fox,2048x2048\n") is True
    assert "line 2" in str(validated("prompt,size\na fox,4096x4096\n"))


def test_a_list_that_comes_over_a_link_is_checked_when_it_runs() -> None:
    assert asyncio.run(MAIPromptList.validate_inputs(file=LIST_TEXT, template="")) is True
    with pytest.raises(InputError, match="line 1"):
        run(text="prompt,prompt\na,b\n")


def test_a_start_behind_the_last_row_is_refused_with_the_number_of_rows() -> None:
    with pytest.raises(InputError, match="The list has 2 rows"):
        run(text="one\ntwo\n", start=3)


def test_a_row_without_a_usable_image_is_blocked_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(prompt_list, "_is_linked", lambda *_: True)
    Image.new("RGB", (12, 8), "red").save(folder / "a.png")
    (folder / "broken.png").write_bytes(b"none")
    text = "prompt,image_1\nx,a.png\ny,\nz,broken.png\nw,a.png\n"
    images = run(text=text)[IMAGE_1]
    assert [isinstance(image, torch.Tensor) for image in images] == [True, False, False, True]
    assert images[0].shape == (1, 8, 12, 3)
    assert images[0] is images[3], "a file is read once"
    assert any("'broken.png' is no whole PNG or JPEG" in each for each in said)


def test_an_image_that_nobody_uses_is_not_read(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"none")
    assert run(text="prompt,image_1\nx,broken.png\n")[PROMPT] == ["x"]


def test_the_fingerprint_changes_with_the_file_and_with_the_images_of_its_rows(
    folder: Path,
) -> None:
    (folder / "list.csv").write_text("prompt,image_1\nx,a.png\n")
    Image.new("RGB", (8, 8), "red").save(folder / "a.png")

    def fingerprint() -> str:
        return asyncio.run(MAIPromptList.fingerprint_inputs("list.csv", "", "", start=1, rows=1))

    first = fingerprint()
    assert fingerprint() == first
    Image.new("RGB", (9, 8), "red").save(folder / "a.png")
    second = fingerprint()
    (folder / "list.csv").write_text("prompt,image_1\ny,a.png\n")
    assert len({first, second, fingerprint()}) == 3


def test_lists_of_the_input_folder_are_offered_behind_the_text(folder: Path) -> None:
    for name in ("b.CSV", "a.txt", "c.jsonl", "photo.png", "notes.md"):
        (folder / name).write_text("x")
    (folder / "d.csv").mkdir()
    assert prompt_list.list_files() == ["a.txt", "b.CSV", "c.jsonl"]
