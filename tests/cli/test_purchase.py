"""What a person at a terminal, and a pipe, make of `generate` and `edit`: price, name, mask."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tomllib
from mai_image import emulator
from mai_image.cli import main
from mai_image.cli.wording import in_options
from mai_image.emulator import Emulator
from mai_image.mai.errors import InputError
from mai_image.mai.models import CATALOGUE
from mai_image.mai.validation import validate_options, validate_references
from PIL import Image
from scripted_server import png

PROFILES = """
[profiles.work]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000

[profiles.private]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000
keep_prompts = false
"""

ROOT = Path(__file__).resolve().parents[2]

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
def folder(tmp_path: Path, service: Emulator) -> Path:
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    path = made / "profiles.toml"
    path.write_text(PROFILES.format(url=service.url), encoding="utf-8")
    path.chmod(0o600)
    return made


@pytest.fixture
def run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder of its own."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return lambda *words: main(["--folder", str(folder), *words], poll_seconds=0.02)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_command_it_shows_its_help(capsys) -> None:
    assert main([]) == 0
    assert "generate" in capsys.readouterr().out


def test_the_version_is_that_of_the_project(capsys) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mai-image {project['version']}\n"


@pytest.mark.parametrize("name", ["mai-image-2.6-flash", "2.6-Flash", "MAI-IMAGE-2.6-FLASH"])
def test_a_model_may_be_named_in_any_case_and_short(run, service, name) -> None:
    assert run("generate", "a fox", "--model", name) == 0
    assert service.log.entries[-1].model == "MAI-Image-2.6-Flash"


def test_the_price_is_said_before_and_the_sum_after(run, capsys) -> None:
    run("generate", "a fox")
    capsys.readouterr()
    assert run("generate", "a fox", "--count", "3") == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("3 images: 2 to buy for $0.0")
    assert said[0].endswith(" at most, 1 free")
    assert said[-1].startswith("3 of 3 images, 1 from the store, $0.0")


def test_what_comes_from_the_store_is_said_to_be_free(run, capsys) -> None:
    run("generate", "a fox")
    capsys.readouterr()
    assert run("generate", "a fox", "--confirm-over", "0") == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "1 image: free, from the store"
    assert said[-1] == "1 of 1 image, 1 from the store, $0.0000"


@pytest.mark.parametrize(("answer", "code", "sent"), [("y", 0, 2), ("n", 130, 0), ("", 130, 0)])
def test_a_person_is_asked_above_the_amount(run, service, monkeypatch, answer, code, sent) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert run("generate", "a fox", "--count", "2", "--confirm-over", "0.01") == code
    assert len(service.log.entries) == sent


def test_a_limit_that_was_given_holds_where_nobody_can_be_asked(run, service, capsys) -> None:
    assert run("generate", "a fox", "--confirm-over", "0.01") == 2
    assert "Nothing was sent" in capsys.readouterr().err
    assert not service.log.entries
    assert run("generate", "a fox", "--confirm-over", "0.01", "--yes") == 0


def test_a_file_is_called_by_the_prompt(run) -> None:
    assert run("generate", "A lighthouse, at dawn!", "--seed", "7") == 0
    assert run("generate", "灯台 / ../..", "--seed", "1") == 0
    assert run("generate", "w" * 300) == 0
    assert sorted(path.name for path in Path().iterdir()) == [
        "a-lighthouse-at-dawn_7.png", f"{'w' * 48}_0.png", "灯台_1.png",
    ]  # fmt: skip


def test_a_profile_that_keeps_no_prompts_has_none_in_a_name(run) -> None:
    assert run("generate", "a secret", "--profile", "private") == 0
    assert [path.name for path in Path().iterdir()] == ["MAI-Image-2.7_0.png"]


def test_a_mask_keeps_every_pixel_that_it_does_not_cover(run, capsys) -> None:
    image = Image.effect_noise((640, 512), 80).convert("RGB")
    image.save("photo.png")
    mask = Image.new("L", image.size)
    mask.paste(255, (200, 100, 400, 300))
    mask.save("mask.png")
    assert run("edit", "a door", "photo.png", "--mask", "mask.png", "--out", "new.png") == 0
    edited = Image.open("new.png")
    assert edited.size == image.size
    assert "640 x 512" in capsys.readouterr().out
    outside = Image.eval(mask, lambda level: 255 - level)
    black = Image.new("RGB", image.size)
    assert (
        Image.composite(edited, black, outside).tobytes()
        == Image.composite(image, black, outside).tobytes()
    )
    assert edited.crop((200, 100, 400, 300)).tobytes() != image.crop((200, 100, 400, 300)).tobytes()


def test_a_mask_of_another_size_is_refused_before_anything_is_sent(run, service, capsys) -> None:
    Image.new("RGB", (512, 512)).save("photo.png")
    Image.new("L", (256, 256), 255).save("mask.png")
    assert run("edit", "a door", "photo.png", "--mask", "mask.png") == 2
    assert "256 x 256" in capsys.readouterr().err
    assert not service.log.entries


def piped(folder: Path, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "mai_image.cli", "--folder", str(folder), *words]
    return subprocess.run(command, input=given, capture_output=True, check=False, cwd=folder)


def test_a_prompt_comes_in_and_an_image_goes_out_by_pipes(folder, service) -> None:
    done = piped(folder, "generate", "-", "--out", "-", given=b"a fox\n")
    assert done.returncode == 0
    image = Image.open(io.BytesIO(done.stdout))
    image.load()
    assert image.size == (1024, 1024)
    assert b"1 of 1 image" in done.stderr
    again = piped(folder, "generate", "a fox", "--out", "-", given=b"not read")
    assert again.stdout == done.stdout
    assert len(service.log.entries) == 1


@pytest.mark.parametrize("more", [("--count", "2"), ("--json",)])
def test_standard_output_takes_one_image(folder, service, more) -> None:
    done = piped(folder, "generate", "a fox", "--out", "-", *more)
    assert (done.returncode, done.stdout) == (2, b"")
    assert not service.log.entries


def test_a_pipe_without_a_prompt_is_bad_input(folder) -> None:
    assert piped(folder, "generate", "-").returncode == 2
    assert piped(folder, "generate", "-", given=b"\xff\xfe\x00").returncode == 2


def test_only_facts_go_to_standard_output_with_json(folder) -> None:
    done = piped(folder, "generate", "a fox", "--count", "2", "--json")
    assert [Path(facts["path"]).name for facts in json.loads(done.stdout)] == [
        "a-fox_0.png",
        "a-fox_1.png",
    ]


def test_without_a_terminal_six_images_take_few_lines(folder) -> None:
    done = piped(folder, "generate", "a fox", "--count", "6")
    assert len(done.stdout.splitlines()) == 6
    assert len(done.stderr.splitlines()) <= 3


def test_errors_speak_of_options_and_files() -> None:
    model = CATALOGUE["MAI-Image-2.5"]
    with pytest.raises(InputError) as options:
        validate_options(model, True, True)
    with pytest.raises(InputError) as references:
        validate_references(model, 3)
    for error in (options, references):
        said = in_options(str(error.value))
        assert not any(
            word in said for word in ("node", "Connect", "onnect", "auto_aspect", "image_2")
        )
    assert "--model" in in_options(str(options.value))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "10x10"], "give --size 768x768"),
        (["--model", "nope"], "Give --model one of"),
        (["--mask", "nowhere.png"], "can't be read: No such file"),
        (["--count", "99999999"], "batch"),
    ],
)
def test_what_cant_be_is_said_in_options_and_files(
    folder, tmp_path, run, capsys, words, said
) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(png(768, 768))
    what = ["edit", "night", str(image)] if words[0] == "--mask" else ["generate", "a fox"]
    assert run(*what, "--profile", "emulator", *words) == 2
    shown = capsys.readouterr().err
    assert said in shown
    for word in ("server", "set width", "node"):
        assert word not in shown


def test_who_has_no_account_is_told_the_option(tmp_path, monkeypatch, capsys) -> None:
    for name in [name for name in os.environ if name.startswith(("AZURE_", "MAI_", "FAL_"))]:
        monkeypatch.delenv(name)
    for words in (["doctor"], ["generate", "a fox"]):
        assert main([*words, "--folder", str(tmp_path)]) != 0
        captured = capsys.readouterr()
        shown = captured.out + captured.err
        assert "--profile emulator" in shown
        assert "on this server" not in shown


def test_the_size_says_how_far_off_it_is(run, capsys) -> None:
    assert run("size", "16:9") == 0
    assert " % off 16:9" in capsys.readouterr().out
    assert run("size", "1:1") == 0
    assert "exact" in capsys.readouterr().out
    assert run("size", "16:9", "--target", "3840x2160", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["crop"] == [3840, 2160]
    assert 0 < facts["ratio_off_percent"] < 1


def test_open_says_where_no_comfyui_answers(run, service, capsys) -> None:
    assert run("open", "--url", "http://127.0.0.1:9") == 1
    assert "No ComfyUI answers" in capsys.readouterr().err
    assert run("open", "--url", service.url) == 1
    assert "is no ComfyUI" in capsys.readouterr().err
    assert run("open", "--url", "comfyui") == 2
