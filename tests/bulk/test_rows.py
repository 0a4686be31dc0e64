"""Rows: what a file asks for, every kind of mistake with its line, and where images go."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mai_image.mai.bulk import Row, RowCheck, RowMistake, Settings, fill, names_in, read_records
from mai_image.mai.errors import InputError
from mai_image.mai.sizes import Size


def check(text: str, settings: Settings | None = None, kind: str = "csv") -> tuple[list[Row], str]:
    """The rows without a mistake, and all mistakes as lines of text."""
    checking = RowCheck(settings or Settings())
    records = read_records(io.BytesIO(text.encode()), kind)
    rows = [row for record in records if (row := checking.check(record)) is not None]
    return rows, "\n".join(f"{each.line}: {each.what}" for each in checking.finish())


def rows_of(text: str, settings: Settings | None = None) -> list[Row]:
    rows, mistakes = check(text, settings)
    assert mistakes == ""
    return rows


def test_a_row_says_all_that_it_asks_for() -> None:
    (row,) = rows_of(
        "id,prompt,model,width,height,seed,count,background,profile,out\n"
        "a,fox,MAI-Image-2.7,1024,768,7,2,transparent,work,cats/{id}.png\n"
    )
    assert (row.id, row.model, row.size, row.seed) == ("a", "MAI-Image-2.7", Size(1024, 768), 7)
    assert (row.background, row.profile, row.count) == ("transparent", "work", 2)
    assert row.files == ("cats/a_0.png", "cats/a_1.png")


def test_what_a_row_leaves_out_is_as_the_settings_say() -> None:
    (row,) = rows_of("prompt\nfox\n", Settings(size=Size(768, 768), seed=3, profile="work"))
    assert (row.id, row.size, row.seed, row.profile) == ("2", Size(768, 768), 3, "work")
    assert row.files == ("2_0.png",)


@pytest.mark.parametrize("size", ["1024x768", "1024 x 768", "1024×768", "1024X768"])
def test_a_size_is_one_column_or_two(size) -> None:
    assert rows_of(f"prompt,size\nfox,{size}\n")[0].size == Size(1024, 768)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("No", False), ("1", True), ("WAHR", True), ("FALSCH", False)],
)
def test_truth_is_written_in_several_ways(text, value) -> None:
    (row,) = rows_of(f"prompt,model,web_grounding\nfox,MAI-Image-2.6,{text}\n")
    assert row.web_grounding is value


MISTAKES = [
    ("prompt,model\nfox,MAI-Image-9\n", "2: There is no model 'MAI-Image-9'"),
    ("prompt,size\nfox,10x10\n", "2: MAI-Image-2.7 can't make 10 x 10"),
    ("prompt,size\nfox,big\n", "2: 'big' is no size"),
    ("prompt,size\nfox,4096x4096\n", "2: MAI-Image-2.7 can't make 4096 x 4096"),
    ("prompt,width\nfox,1024\n", "2: The height is missing"),
    ("prompt,size,width,height\nfox,1024x1024,1,1\n", "2: Give either size or width and height"),
    ("prompt,width,height\nfox,wide,1024\n", "2: The width must be a whole number"),
    ("prompt,seed\nfox,-1\n", "2: The seed must be"),
    ("prompt,seed\nfox," + "9" * 40 + "\n", "2: The seed must be"),
    ("prompt,count\nfox,0\n", "2: The count must be"),
    ("prompt,count\nfox,1000000000\n", "2: The count must be"),
    ("prompt,count\nfox,2.5\n", "2: The count must be"),
    ("prompt,image_1\nfox,nowhere.png\n", "2: The file 'nowhere.png' of image_1 isn't there"),
    ("prompt,mask\nfox,pyproject.toml\n", "2: A mask needs the image"),
    ("prompt,background\nfox,pink\n", "2: There is no background 'pink'"),
    ("prompt,web_grounding\nfox,maybe\n", "2: web_grounding must be true or false"),
    ("prompt,web_grounding\nfox,true\n", "2: MAI-Image-2.7 has no web_grounding"),
    ("prompt,auto_aspect_ratio\nfox,yes\n", "2: MAI-Image-2.7 has no auto_aspect_ratio"),
    ("id,prompt\na,\n", "2: The prompt is empty"),
    ("id,prompt\na,fox\nb,owl\na,hen\n", "4: The id 'a' stands on line 2 already"),
    ("prompt,widht\nfox,1\n", "1: The column 'widht' is neither known nor used by a template. Did"),
    ("prompt,out\nfox,../fox.png\n", "2: The output '../fox.png' is out of the folder"),
    ("prompt,out\nfox,/etc/fox.png\n", "2: The output '/etc/fox.png' is out of the folder"),
    ("prompt,out\nfox,C:\\fox.png\n", "2: The output 'C:\\\\fox.png' is out of the folder"),
    ("prompt,out\nfox,a\\..\\..\\fox.png\n", "is out of the folder"),
    ("id,prompt\n../../fox,fox\n", "2: The output '../../fox_0.png' is out of the folder"),
    ("prompt,out\nfox,con.png\n", "2: 'con.png' can't be a name on every system"),
    ("prompt,out\nfox,fox.png\nowl,fox.png\n", "3: The output 'fox.png' is that of line 2"),
    ("prompt,out\nfox,fox.png\nowl,FOX.jpg\n", "3: The output 'FOX.jpg' is that of line 2"),
    ("prompt,out\nfox,index_files/a.png\n", "2: The name 'index_files' is that of the batch's"),
    ("prompt,out\nfox,Index_2.html/a.png\n", "2: The name 'Index_2.html' is that of the batch's"),
    ("prompt,out\nfox,fox.png\nowl,FOX.png/a.png\n", "3: The output 'FOX.png/a.png' and that of"),
    ("prompt,out\nfox,fox.png/a.png\nowl,fox.jpg\n", "3: The output 'fox.jpg' and that of line 2"),
    ("id,prompt,size\na,fox,1x1\na,owl,\n", "3: The id 'a' stands on line 2 already"),
    ("id,prompt,seed\na,fox,1\na,owl,x\n", "3: The id 'a' stands on line 2 already"),
    ("prompt,out,size\nfox,a.png,1x1\nowl,a.png,\n", "3: The output 'a.png' is that of line 2"),
    ("prompt,model,mask\nfox,MAI-Image-9,pyproject.toml\n", "2: A mask needs the image"),
    ("prompt\na {colour} fox\n", "2: There is no column 'colour' for {colour}"),
    ("prompt,color\na {colour} fox,red\n", "Did you mean 'color'?"),
    ("prompt\na {prompt} fox\n", "2: There is no column 'prompt'"),
    ("prompt,model,image_1\nfox,MAI-Image-2,pyproject.toml\n", "2: MAI-Image-2 makes images from"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_a_mistake_is_said_with_its_line(text, said, monkeypatch) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    _, mistakes = check(text, Settings(reserved=("index_files", "index*.html")))
    assert said in mistakes


def test_a_side_that_is_no_number_is_one_mistake_and_no_size() -> None:
    _, mistakes = check("prompt;width;height\nfox;1024,5;1024\n")
    assert len(mistakes.splitlines()) == 1


def test_outputs_in_one_folder_that_is_called_like_an_image_are_apart() -> None:
    assert len(rows_of("prompt,out\nfox,a.png/1.png\nowl,a.png/2.png\n")) == 2


def test_all_mistakes_of_a_row_are_said_at_once() -> None:
    _, mistakes = check("id,prompt,size,seed,background,out\na,,5x5,x,pink,../a.png\n")
    assert len(mistakes.splitlines()) == 5


def test_images_of_an_edit_follow_each_other(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    settings = Settings(images=tmp_path)
    (row,) = rows_of("prompt,image_1,image_2\nfox,a.png,b.png\n", settings)
    assert row.images == (tmp_path / "a.png", tmp_path / "b.png")
    _, mistakes = check("prompt,image_1,image_2,image_3\nfox,a.png,,b.png\n", settings)
    assert "no image_2" in mistakes


def test_a_column_that_only_a_template_uses_is_no_mistake() -> None:
    text = "id,product,category\na,chair,home\n"
    settings = Settings(prompt="a photograph of {product}", out="{category}/{id}_{n}.png")
    (row,) = rows_of(text, settings)
    assert row.prompts == ("a photograph of chair",)
    assert row.files == ("home/a_0.png",)


def test_a_template_stands_for_a_missing_prompt_or_around_each_one() -> None:
    text = "id,prompt\na,fox\nb,\n"
    around = [row.prompts[0] for row in rows_of("id,prompt\na,fox\n", Settings(prompt="{prompt}!"))]
    instead = [row.prompts[0] for row in rows_of(text, Settings(prompt="an owl"))]
    assert around == ["fox!"]
    assert instead == ["fox", "an owl"]


def test_each_image_of_a_row_has_its_own_number_and_seed() -> None:
    (row,) = rows_of("prompt,seed,count,out\nfox {n} {seed},5,2,x.png\n")
    assert row.prompts == ("fox 0 5", "fox 1 6")
    assert row.files == ("x_0.png", "x_1.png")


def test_formulas_are_texts_and_values_are_filled_in_once() -> None:
    (row,) = rows_of('id,prompt,x\na,{x},"=HYPERLINK(""{id}"")"\n')
    assert row.prompts == ('=HYPERLINK("{id}")',)


def test_braces_that_hold_no_name_stay() -> None:
    assert fill('{red|blue} {} {{id}} {"a": 1}', {"id": "x"}) == '{red|blue} {} {id} {"a": 1}'


@given(st.text(max_size=60), st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=9)))
def test_a_template_fills_or_says_which_name_is_missing(template, values) -> None:
    try:
        filled = fill(template, values)
    except InputError:
        assert names_in(template) - set(values)
    else:
        assert "{" in template or "}}" in template or filled == template


@given(st.text(max_size=60))
def test_no_name_leads_out_of_the_folder(name) -> None:
    check_ = RowCheck(Settings(out="{x}/{id}.png"))
    from mai_image.mai.bulk import Record

    row, found = check_.build(Record(1, {"id": name, "prompt": "fox", "x": name}))
    if not found:
        path = PurePosixPath(row.files[0])
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert not set('<>:"|?*\\\0') & set(row.files[0])


def test_three_hundred_rows_with_every_mistake_are_listed_by_line() -> None:
    """Good rows between them stay good."""
    bad = {
        5: "r4,fox,99x99,,,",
        17: "r16,,,,,",
        40: "r1,fox,,,,",
        77: "r76,fox,,x,,",
        80: "r4,fox,,,,",  # the id of a row that has a mistake itself
        120: "r119,fox,,,../x.png,",
        200: "r199,fox,,,,nowhere.png",
        250: 'r249,"fox" red,,,,',
    }
    lines = ["id,prompt,size,seed,out,image_1"]
    lines += [bad.get(line, f"r{line - 1},fox {line},,,,") for line in range(2, 302)]
    rows, mistakes = check("\n".join(lines) + "\n")
    assert [int(each.partition(":")[0]) for each in mistakes.splitlines()] == sorted(bad)
    assert len(rows) == 300 - len(bad)


def test_a_record_that_cannot_be_read_is_among_the_mistakes() -> None:
    checking = RowCheck(Settings())
    assert checking.check(RowMistake(3, "It can't be read.")) is None
    assert checking.finish() == [RowMistake(3, "It can't be read.")]
