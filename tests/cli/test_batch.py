"""`mai-image batch` against the emulator, in this process: files, sums, folders and exit codes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mai_image import emulator
from mai_image.cli import main
from mai_image.cli.batch_run import BatchRun
from mai_image.emulator import Emulator
from mai_image.mai.models import CATALOGUE
from mai_image.mai.types import Generate
from PIL import Image

PROFILES = """
[profiles.work]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000

[profiles.slow]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 2

[profiles.poor]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000
budget = {{ day = 0.05 }}
"""

MODEL = "MAI-Image-2.7"

Run = Callable[..., int]


@pytest.fixture(scope="module")
def emulators() -> Iterator[Emulator]:
    with emulator.start() as started:
        yield started


@pytest.fixture
def service(emulators: Emulator) -> Emulator:
    emulators.log.clear()
    emulators.fault("")
    return emulators


@pytest.fixture
def run(tmp_path: Path, service: Emulator, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in an empty folder, with a data folder whose profiles lead to the emulator.

    The first word is the text of the file; --yes is given unless --max-usd or --dry-run is.
    """
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    path = folder / "profiles.toml"
    path.write_text(PROFILES.format(url=service.url), encoding="utf-8")
    path.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def command(text: str | None, *words: str, name: str = "rows.csv") -> int:
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
        consent = [] if {"--max-usd", "--dry-run", "--ask"} & set(words) else ["--yes"]
        rest = [word for word in words if word != "--ask"]
        size = [] if "--size" in rest else ["--size", "768x768"]
        return main(["--folder", str(folder), "batch", name, *size, *consent, *rest])

    return command


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def images(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*.png"))
    return sorted(path.relative_to(folder).as_posix() for path in found)


def rows(count: int, prompt: str = "fox") -> str:
    return "id,prompt\n" + "".join(f"r{i:03},{prompt} {i}\n" for i in range(count))


def estimate(prompt: str) -> float:
    return CATALOGUE[MODEL].estimate(Generate(MODEL, prompt, 768, 768))


def test_each_row_becomes_its_images_and_a_line_of_results(run, service, tmp_path) -> None:
    assert run("id,prompt,count\nfox,a fox,2\nowl,an owl,\n") == 0
    assert images(tmp_path / "batch") == ["fox_0.png", "fox_1.png", "owl_0.png"]
    results = lines(tmp_path / "batch" / "results.jsonl")
    assert [(each["id"], each["n"], each["seed"]) for each in results] == [
        ("fox", 0, 0), ("fox", 1, 1), ("owl", 0, 0),
    ]  # fmt: skip
    assert all(
        each["usd"] > 0 and each["request_id"] and not each["from_store"] for each in results
    )
    assert {each["size"] for each in results} == {"768x768"}
    assert (tmp_path / "batch" / "errors.jsonl").read_text() == ""
    assert sum(each["usd"] for each in results) == pytest.approx(service.log.billed_usd)


def test_the_files_are_the_bytes_as_they_came(run, tmp_path) -> None:
    assert run(rows(1)) == 0
    (stored,) = (tmp_path / "data" / "store").glob("??/*.png")
    assert (tmp_path / "batch" / "r000_0.png").read_bytes() == stored.read_bytes()


def test_the_same_command_again_buys_and_writes_nothing(run, service, tmp_path) -> None:
    assert run(rows(3)) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "batch").glob("*.png")}
    results = (tmp_path / "batch" / "results.jsonl").read_text()
    assert run(rows(3)) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (tmp_path / "batch" / "results.jsonl").read_text() == results
    assert service.log.billed == 3


def test_a_lost_image_and_a_lost_folder_come_from_the_store(run, service, tmp_path) -> None:
    assert run(rows(3)) == 0
    (tmp_path / "batch" / "r001_0.png").unlink()
    assert run(rows(3)) == 0
    assert run(rows(3), "--out", "other") == 0
    assert images(tmp_path / "batch") == images(tmp_path / "other")
    assert all(each["from_store"] for each in lines(tmp_path / "other" / "results.jsonl"))
    assert len(lines(tmp_path / "batch" / "results.jsonl")) == 3
    assert service.log.billed == 3


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize("name", ["index.html", "index_2.html", "results.jsonl", "errors.jsonl"])
def test_a_list_or_page_that_no_batch_has_written_is_never_replaced(
    run, service, tmp_path, capsys, name, end
) -> None:
    mine = '{"id": "mine", "file": "mine.png"}' + end
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / name).write_text(mine)
    assert run(rows(1)) == 2
    assert f"{name} is there already" in capsys.readouterr().err
    assert (tmp_path / "batch" / name).read_text() == mine
    assert service.log.billed == 0


def test_a_line_of_the_results_that_no_batch_has_written_is_passed_by(run, tmp_path) -> None:
    assert run(rows(2)) == 0
    path = tmp_path / "batch" / "results.jsonl"
    good = lines(path)
    for name, value in (("n", "0"), ("usd", "much")):
        (tmp_path / "batch" / f"{name}.png").touch()
        odd = {**good[0], "file": f"{name}.png", name: value}
        path.write_text("\n".join(map(json.dumps, [*good, odd])) + "\n")
        assert run(rows(2)) == 0
        assert lines(path) == good


@pytest.mark.parametrize("left", ["", '{"id": "a", "n": 0, "fi'])
def test_lists_that_a_batch_left_at_its_beginning_are_gone_on_with(run, tmp_path, left) -> None:
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "results.jsonl").write_text(left)
    (tmp_path / "batch" / "errors.jsonl").write_text("")
    assert run(rows(1)) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
def test_a_link_or_a_file_on_an_outputs_way_is_a_mistake(run, service, tmp_path, capsys) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "batch" / "loop").symlink_to("loop")
    (tmp_path / "batch" / "file").write_text("mine")
    text = "id,prompt,out\na,fox,link/a.png\nb,owl,file/x/b.png\nc,hen,new/c.png\n"
    assert run(f"{text}d,elk,loop/x/d.png\n") == 2
    said = capsys.readouterr().err
    assert "line 5: The file batch/loop is there already" in said
    assert "line 2: The output 'link/a.png' is out of the folder" in said
    assert "line 3: The file batch/file is there already" in said
    assert "3 mistakes" in said
    assert service.log.billed == 0


def test_a_name_with_a_tilde_that_is_no_home_is_a_files(run, tmp_path, capsys) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "~draft.png")
    out = ("--out", "~drafts/x/{id}.png")
    assert run("id,prompt,image_1\na,fox,~draft.png\n", *out) == 0
    assert images(tmp_path / "~drafts" / "x") == ["a.png"]
    assert run("id,prompt,image_1,mask\na,fox,~none.png,~none.png\n") == 2
    assert "The file '~none.png' of mask isn't there" in capsys.readouterr().err


def test_a_row_whose_image_goes_after_the_check_has_failed(
    run, service, tmp_path, monkeypatch
) -> None:
    for name in "ab":
        Image.new("RGB", (64, 64), "red").save(tmp_path / f"{name}.png")
    while_it_begins(monkeypatch, (tmp_path / "a.png").unlink)
    assert run("id,prompt,image_1,count\na,fox,a.png,2\nb,owl,b.png,\n") == 1
    (error,) = lines(tmp_path / "batch" / "errors.jsonl")
    assert (error["id"], error["perhaps_billed"]) == ("a", False)
    assert images(tmp_path / "batch") == ["b_0.png"]


def test_a_changed_row_replaces_its_image_and_no_other(run, service, tmp_path) -> None:
    assert run(rows(3)) == 0
    assert run(rows(3).replace("fox 1", "owl")) == 0
    assert service.log.billed == 4
    results = lines(tmp_path / "batch" / "results.jsonl")
    assert [each["prompt"] for each in results] == ["fox 0", "owl", "fox 2"]


def test_a_file_that_no_batch_has_saved_is_never_replaced(run, service, tmp_path, capsys) -> None:
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "r001_0.png").write_text("mine")
    assert run(rows(3)) == 2
    assert "line 3: The file" in capsys.readouterr().err
    assert (tmp_path / "batch" / "r001_0.png").read_text() == "mine"
    assert service.log.billed == 0


def test_mistakes_are_listed_with_their_lines_and_nothing_is_sent(run, service, tmp_path, capsys):
    text = "id,prompt,size,widht,profile\na,fox,5x5,,\nb,,,,\nc,owl,,,nobody\nd,hen,,,\n"
    assert run(text) == 2
    said = capsys.readouterr().err
    for part in ("line 1: The column 'widht'", "line 2: MAI-Image-2.7 can't make 5 x 5",
                 "line 3: The prompt is empty", "line 4: The profile 'nobody'"):  # fmt: skip
        assert part in said
    assert "4 mistakes" in said
    assert service.log.billed == 0
    assert not (tmp_path / "batch").exists()


def test_a_row_with_several_mistakes_says_them_all(run, tmp_path, capsys) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert run("id,prompt,seed,image_1,profile\na,fox,x,broken.png,nobody\n") == 2
    said = capsys.readouterr().err
    for part in ("The seed must be", "broken.png is no whole PNG", "The profile 'nobody'"):
        assert f"line 2: {part}" in said or part in said
    assert "3 mistakes" in said
    assert run("id,prompt,image_1,profile\na,fox,broken.png,nobody\n") == 2
    assert "2 mistakes" in capsys.readouterr().err


def test_a_line_of_100_mb_is_a_mistake_of_its_line(run, tmp_path, capsys) -> None:
    with (tmp_path / "rows.csv").open("wb") as stream:
        stream.write(b"id,prompt\na,fox\nb,")
        for _ in range(100):
            stream.write(b"x" * 1_000_000)
        stream.write(b"\nc,\n")
    assert run(None) == 2
    said = capsys.readouterr().err
    assert "line 3: a row of more than 1,000,000 characters." in said
    assert "line 4: The prompt is empty" in said


def test_a_dry_run_says_what_it_comes_to_and_makes_no_folder(
    run, service, tmp_path, capsys
) -> None:
    assert run(rows(1)) == 0
    assert run(rows(4), "--dry-run", "--profile", "slow", "--out", "other") == 0
    table = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[-9:]
                 if line.strip())  # fmt: skip
    assert (table["rows"], table["images"], table["to"]) == ("4", "4", "buy             3")
    assert table["free"].startswith("1: 1 in the store")
    assert table["price"].startswith("≤ $0.0")
    assert table["done"].startswith("about")
    assert not (tmp_path / "other").exists()
    assert service.log.billed == 1


def test_a_price_that_is_no_bound_has_another_sign(run, capsys) -> None:
    assert run(rows(1), "--model", "MAI-Image-2.7-Flash", "--dry-run") == 0
    assert "≈ $0.0" in capsys.readouterr().out


def test_without_a_terminal_somebody_must_have_agreed(run, service, capsys) -> None:
    assert run(rows(1), "--ask") == 2
    assert "--yes" in capsys.readouterr().err
    assert service.log.billed == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("count", "answer", "code"), [(60, "n\n", 130), (60, "\n", 130), (2, "", 0)]
)
def test_a_person_is_asked_above_a_dollar(
    run, service, monkeypatch, capsys, count, answer, code
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert run(rows(count), "--ask", "--json") == code
    assert service.log.billed == (0 if code else count)
    said = capsys.readouterr()
    assert ("[y/N]" in said.err) == (code != 0)
    assert "[y/N]" not in said.out  # which programs read


@pytest.mark.parametrize("affordable", [0, 1, 3])
def test_max_usd_is_never_passed_and_the_next_run_goes_on(run, service, tmp_path, affordable):
    price = estimate("fox 0")
    limit = f"{price * affordable + price * 0.5:.9f}"
    assert run(rows(5), "--max-usd", limit) == 3
    assert service.log.billed_usd <= float(limit)
    assert service.log.billed >= affordable
    assert run(rows(5), "--max-usd", "1") == 0
    assert service.log.billed == 5
    assert len(images(tmp_path / "batch")) == 5


def test_at_its_edge_max_usd_lets_all_through(run, service) -> None:
    whole = sum(estimate(f"fox {i}") for i in range(3))
    assert run(rows(3), "--max-usd", f"{whole:.9f}") == 0
    assert service.log.billed == 3


def test_what_is_there_is_delivered_whatever_the_limit(run, service) -> None:
    assert run(rows(3)) == 0
    assert run(rows(3), "--max-usd", "0", "--out", "other") == 0
    assert service.log.billed == 3


def while_it_begins(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Changes something after the file was checked, before anything is sent."""
    begun = BatchRun.run

    def run_changed(self: BatchRun, items: Any) -> Any:
        change()
        return begun(self, items)

    monkeypatch.setattr(BatchRun, "run", run_changed)


def test_what_came_and_cannot_be_saved_counts_against_the_limit(
    run, service, tmp_path, monkeypatch
) -> None:
    while_it_begins(monkeypatch, lambda: (tmp_path / "batch" / "0").write_text("in the way"))
    limit = estimate("fox 0") * 3.5
    assert run(rows(9), "--max-usd", f"{limit:.9f}", "--out", "batch/{n}/{id}.png") == 3
    assert images(tmp_path / "batch") == []
    assert service.log.billed >= 3
    assert service.log.billed_usd <= limit


def test_why_a_job_was_stopped_names_the_path_as_it_is(run, tmp_path, monkeypatch, capsys) -> None:
    while_it_begins(monkeypatch, lambda: (tmp_path / "batch" / "0").write_text("in the way"))
    batch = f"../{tmp_path.name}/batch"
    assert run(rows(12), "--out", batch + "/{n}/{id}.png") == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "Stopped: " in line)
    assert f"can't be written to {batch}/0/r0" in line


def test_lists_that_cannot_be_written_are_told_and_the_sums_with_them(
    run, tmp_path, monkeypatch, capsys
) -> None:
    def block() -> None:
        (tmp_path / "batch" / "index.html").mkdir()

    while_it_begins(monkeypatch, block)
    assert run(rows(2)) == 1
    said = capsys.readouterr()
    assert "lists and contact sheet can't be written: Is a directory" in said.err
    assert "2 of 2" in said.out
    assert "Pillow" not in said.out


def test_an_image_that_is_damaged_in_the_store_is_not_bought_beyond_the_limit(
    run, service, tmp_path
) -> None:
    assert run(rows(2)) == 0
    for path in (tmp_path / "data" / "store").glob("??/*.png"):
        path.write_bytes(path.read_bytes()[:1000])
    assert run(rows(2), "--max-usd", "0", "--out", "other") == 3
    assert service.log.billed == 2


@pytest.mark.parametrize("limit", ["-1", "nan", "inf"])
def test_a_limit_is_an_amount(run, limit) -> None:
    assert run(rows(1), "--max-usd", limit) == 2


def test_every_seventh_row_is_blocked_and_the_others_come(run, service, tmp_path) -> None:
    text = "id,prompt\n" + "".join(
        f"r{i},{'blockprompt' if i % 7 == 0 else 'fox'} {i}\n" for i in range(1, 22)
    )
    assert run(text) == 1
    errors = lines(tmp_path / "batch" / "errors.jsonl")
    assert [each["id"] for each in errors] == ["r7", "r14", "r21"]
    assert all(each["perhaps_billed"] and each["prompt"] for each in errors)
    assert [each["line"] for each in errors] == [8, 15, 22]
    assert len(images(tmp_path / "batch")) == 18
    sent = len(service.log.entries)
    assert sent == 21
    assert run(text) == 1  # a block may be charged: it is told again, and not sent again
    assert len(service.log.entries) == sent
    assert lines(tmp_path / "batch" / "errors.jsonl")[0]["id"] == "r7"
    assert run(text, "--retry-blocked") == 1
    assert len(service.log.entries) == sent + 3


def test_two_rows_that_ask_for_the_same_are_paid_once(run, service, tmp_path) -> None:
    assert run("id,prompt\na,fox\nb,fox\nc,blockprompt\nd,blockprompt\n") == 1
    assert len(service.log.entries) == 2
    assert images(tmp_path / "batch") == ["a_0.png", "b_0.png"]


def test_the_list_of_failed_rows_is_a_file_for_the_next_run(run, service, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "photos" / "a.png")
    service.fault("status=500")
    text = "id,prompt,image_1,code\na,a {code} fox,photos/a.png,SKU-7\n"
    assert run(text) == 1
    (error,) = lines(tmp_path / "batch" / "errors.jsonl")
    assert (error["id"], error["code"], error.get("error_line", 2)) == (
        "a", "SKU-7", 2,
    )  # fmt: skip
    assert error["perhaps_billed"] is True
    service.fault("")
    assert run(None, name="batch/errors.jsonl") == 0
    assert images(tmp_path / "batch") == ["a_0.png"]
    assert (tmp_path / "batch" / "errors.jsonl").read_text() == ""
    assert run(None, name="batch/errors.jsonl") == 0
    capsys.readouterr()
    assert run(None, "--json", name="batch/errors.jsonl") == 0
    assert json.loads(capsys.readouterr().out)["images"] == 0
    assert run(None, "--quiet", name="batch/errors.jsonl") == 0
    assert capsys.readouterr() == ("", "")


def test_a_failed_row_has_the_line_of_its_first_file_when_it_is_run_again(
    run, service, tmp_path
) -> None:
    text = "prompt\nfox\nowl [[fault status=500]]\nhen\nelk [[fault status=500]]\n"
    out = ("--out", "batch/{line}.png")
    assert run(text, *out) == 1
    before = {name: (tmp_path / "batch" / name).read_bytes() for name in images(tmp_path / "batch")}
    assert list(before) == ["2.png", "4.png"]
    assert run(None, *out, name="batch/errors.jsonl") == 1
    assert {n: (tmp_path / "batch" / n).read_bytes() for n in images(tmp_path / "batch")} == before
    assert [each["line"] for each in lines(tmp_path / "batch" / "errors.jsonl")] == [3, 5]
    assert [each["line"] for each in lines(tmp_path / "batch" / "results.jsonl")] == [2, 4]


@pytest.mark.parametrize("fault", ["status=401", "status=403", "status=404"])
def test_what_all_rows_would_get_stops_the_job_at_once(run, service, capsys, fault) -> None:
    service.fault(fault)
    assert run(rows(40), "--profile", "slow") == 1
    assert len(service.log.entries) <= 2
    assert "Stopped" in capsys.readouterr().err
    service.fault("")


def test_an_empty_budget_stops_the_job_as_money_does(run, service, tmp_path) -> None:
    assert run(rows(9), "--profile", "poor") == 3
    assert 1 <= service.log.billed <= 2
    assert len(images(tmp_path / "batch")) == service.log.billed
    assert (tmp_path / "batch" / "errors.jsonl").read_text() == ""


def test_one_bad_answer_stops_nobody(run, service, tmp_path) -> None:
    text = rows(6).replace("fox 2", "fox [[fault status=500]]").replace("fox 4", "emptyresult")
    assert run(text) == 1
    assert len(images(tmp_path / "batch")) == 4
    assert [each["id"] for each in lines(tmp_path / "batch" / "errors.jsonl")] == ["r002", "r004"]


def test_an_image_of_another_type_gets_its_own_ending(run, service, tmp_path) -> None:
    service.fault("answer=jpeg")
    assert run("id,prompt\na,fox\n") == 0
    assert (tmp_path / "batch" / "a_0.jpg").read_bytes().startswith(b"\xff\xd8")
    assert run("id,prompt\na,fox\n") == 0
    assert service.log.billed == 1


def test_templates_make_folders_and_standard_input_is_a_file(run, tmp_path, monkeypatch) -> None:
    text = '{"id": "a", "product": "chair", "category": "home"}\n'
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    words = ("--prompt", "a photograph of {product}", "--out", "shots/{category}/{id}_{n}.png")
    assert run(None, *words, name="-") == 0
    assert images(tmp_path / "shots") == ["home/a_0.png"]
    assert lines(tmp_path / "shots" / "results.jsonl")[0]["file"] == "home/a_0.png"


def test_a_mask_keeps_every_pixel_that_it_does_not_cover(run, tmp_path) -> None:
    photo = Image.effect_noise((800, 600), 80).convert("RGB")
    photo.save(tmp_path / "photo.png")
    mask = Image.new("L", photo.size)
    mask.paste(255, (100, 100, 300, 300))
    mask.save(tmp_path / "mask.png")
    assert run("id,prompt,image_1,mask\na,a fox,photo.png,mask.png\n") == 0
    with Image.open(tmp_path / "batch" / "a_0.png") as made:
        assert made.size == photo.size
        assert made.crop((0, 300, 800, 600)).tobytes() == photo.crop((0, 300, 800, 600)).tobytes()
        inside = (120, 120, 280, 280)
        assert made.crop(inside).tobytes() != photo.crop(inside).tobytes()
    Image.new("L", (10, 10), 255).save(tmp_path / "mask.png")
    assert run("id,prompt,image_1,mask\na,a fox,photo.png,mask.png\n") == 2


def test_the_contact_sheet_shows_all_and_runs_nothing_of_a_row(run, tmp_path) -> None:
    text = 'id,prompt\na,"<script>alert(1)</script> & ""fox"""\nb,blockprompt\n'
    assert run(text) == 1
    page = (tmp_path / "batch" / "index.html").read_text("utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;fox&quot;" in page
    assert page.count("<script>") == 1
    assert page.count("<figure") == 2
    assert len(list((tmp_path / "batch" / "index_files").glob("*.jpg"))) == 1


def test_a_page_of_the_sheet_has_500_images(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("mai_image.cli.contact_sheet.IMAGES_A_PAGE", 2)
    assert run(rows(5)) == 0
    pages = [(tmp_path / "batch" / f"index{i}.html").read_text() for i in ("", "_2", "_3")]
    assert [page.count("<figure") for page in pages] == [2, 2, 1]
    assert run(rows(2), "--out", "batch") == 0  # the other images are still in the folder
    assert (tmp_path / "batch" / "index_3.html").exists()


def test_without_pillow_images_come_all_the_same(run, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("mai_image.cli.batch.has_pillow", lambda: False)
    assert run(rows(1)) == 0
    assert images(tmp_path / "batch") == ["r000_0.png"]
    assert "pip install pillow" in capsys.readouterr().out
    assert not (tmp_path / "batch" / "index.html").exists()


def test_a_profile_that_keeps_no_prompts_has_none_in_its_results(run, tmp_path) -> None:
    path = tmp_path / "data" / "profiles.toml"
    path.write_text(path.read_text().replace("= 6000", "= 6000\nkeep_prompts = false", 1))
    assert run(rows(1, "secret")) == 0
    for name in ("results.jsonl", "index.html"):
        assert "secret" not in (tmp_path / "batch" / name).read_text()


def test_stopped_once_nothing_more_is_sent_and_what_is_out_arrives(
    run, service, tmp_path, monkeypatch
) -> None:
    service.fault("latency=0.5")
    begun = BatchRun._submit

    def interrupt_after_three(self: BatchRun, *rest: Any) -> None:
        begun(self, *rest)
        if len(self._calls) == 3:
            while sum(call.sent for call in self._calls.values()) < 1:
                pass
            self.interrupt()

    monkeypatch.setattr(BatchRun, "_submit", interrupt_after_three)
    assert run(rows(30)) == 130
    assert 1 <= service.log.billed <= 3
    kept = len(list((tmp_path / "data" / "store").glob("??/*.png")))
    assert kept == service.log.billed
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    service.fault("")
    assert run(rows(30)) == 0
    assert service.log.billed == 30


def test_a_control_character_of_a_row_does_not_reach_the_terminal(run, capsys) -> None:
    assert run('{"id": "\\u001b[31ma", "prompt": "", "size": "\\u001b]0;x\\u0007"}\n',
               name="rows.jsonl") == 2  # fmt: skip
    assert "\x1b" not in capsys.readouterr().err
