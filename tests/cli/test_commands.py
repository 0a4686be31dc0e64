"""The command line against the emulator, in this process: outputs, files and exit codes."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mai_image import emulator
from mai_image.cli import main
from mai_image.emulator import Emulator
from mai_image.mai.client import Client
from scripted_server import png

PROFILES = """
[profiles.work]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000

[profiles.pix]
service = "pixazo"
endpoint = "{url}"
credential = {{ kind = "key", value = "{key}" }}
"""

Run = Callable[..., int]


@pytest.fixture(scope="module")
def emulators() -> Iterator[Emulator]:
    with emulator.start() as client:
        yield client


@pytest.fixture
def client(emulators: Emulator) -> Emulator:
    emulators.log.clear()
    emulators.fault("")
    return emulators


@pytest.fixture
def folder(tmp_path: Path, client: Emulator) -> Path:
    """A data folder whose profiles lead to the emulator."""
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    path = made / "profiles.toml"
    path.write_text(PROFILES.format(url=client.url, key="emulator"), encoding="utf-8")
    path.chmod(0o600)
    return made


@pytest.fixture
def run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder of its own, on the data folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["--folder", str(folder), *words], poll_seconds=0.02)


def test_generate_writes_images_and_says_what_they_cost(run, tmp_path, capsys) -> None:
    assert run("generate", "a red fox", "--count", "2", "--seed", "5", "--out", "images") == 0
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == ["a-red-fox_5.png", "a-red-fox_6.png"]
    assert capsys.readouterr().out.count("1024 x 1024  $0.0") == 2


def test_the_same_command_again_is_free_and_overwrites_nothing(run, client, tmp_path, capsys):
    for _ in range(2):
        assert run("generate", "a red fox") == 0
    assert "free, from the store" in capsys.readouterr().out
    assert client.log.billed == 1
    first, second = sorted(tmp_path.glob("*.png"))
    assert first.read_bytes() == second.read_bytes()


def test_json_is_a_list_that_programs_can_read(run, capsys) -> None:
    assert run("generate", "a red fox", "--size", "768x768", "--json", "--out", "fox.png") == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert (facts["path"], facts["width"], facts["from_store"]) == ("fox.png", 768, False)
    assert "image" not in facts


def test_several_images_in_one_named_file_get_numbers(run, tmp_path) -> None:
    assert run("generate", "a red fox", "--count", "2", "--out", "fox.png") == 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["fox_1.png", "fox_2.png"]


def test_a_name_with_a_dot_is_a_folder_unless_it_ends_like_an_image(run, tmp_path) -> None:
    assert run("generate", "a red fox", "--count", "2", "--out", "run.2026") == 0
    names = sorted(path.name for path in (tmp_path / "run.2026").iterdir())
    assert names == ["a-red-fox_0.png", "a-red-fox_1.png"]


def test_a_folder_is_a_folder_whatever_its_name(run, tmp_path) -> None:
    (tmp_path / "fox.png").mkdir()
    assert run("generate", "a red fox", "--out", "fox.png") == 0
    assert (tmp_path / "fox.png" / "a-red-fox_0.png").is_file()


def test_a_file_that_the_user_names_is_replaced(run, tmp_path) -> None:
    (tmp_path / "fox.PNG").write_text("an old file")
    assert run("generate", "a red fox", "--out", "fox.PNG") == 0
    assert (tmp_path / "fox.PNG").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["fox.jpg", "fox.jpeg", "fox.webp"])
def test_an_image_of_another_type_gets_its_own_ending_and_says_so(
    run, tmp_path, capsys, name
) -> None:
    assert run("generate", "a red fox", "--out", name) == 0
    assert f"saved as fox.png, not as {name}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob("fox*")] == ["fox.png"]
    assert (tmp_path / "fox.png").read_bytes().startswith(b"\x89PNG")


def test_a_jpeg_is_not_saved_as_a_png_and_replaces_no_other_file(run, client, tmp_path, capsys):
    client.fault("answer=jpeg")
    (tmp_path / "fox.jpg").write_text("another image")
    assert run("generate", "a red fox", "--out", "fox.png", "--json") == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["path"] == "fox_1.jpg"
    assert facts["notes"] == ["the service sent a JPEG: saved as fox_1.jpg, not as fox.png"]
    assert (tmp_path / "fox_1.jpg").read_bytes().startswith(b"\xff\xd8")
    assert (tmp_path / "fox.jpg").read_text() == "another image"
    assert not (tmp_path / "fox.png").exists()


def test_several_images_of_another_type_keep_their_numbers(run, tmp_path, capsys) -> None:
    assert run("generate", "a red fox", "--count", "2", "--out", "fox.jpg") == 0
    assert sorted(path.name for path in tmp_path.glob("fox*")) == ["fox_1.png", "fox_2.png"]
    assert "saved as fox_2.png, not as fox_2.jpg" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generate", "a fox", "--size", "100x100"], "nearest size"),
        (["generate", "a fox", "--size", "big"], "no size"),
        (["generate", " "], "prompt is empty"),
        (["generate", "a fox", "--model", "MAI-Image-9"], "no model"),
        (["generate", "a fox", "--count", "0"], "--count must be at least 1"),
        (["generate", "a fox", "--model", "MAI-Image-2", "--web-grounding"], "--web-grounding"),
        (
            ["generate", "a fox", "--model", "MAI-Image-2.6", "--background", "transparent"],
            "no transparent background",
        ),
        (["generate", "a fox", "--profile", "pix"], "Pixazo has no MAI-Image-2.7"),
        (["edit", "night", "none.png"], "can't be read"),
        (["edit", "night", "text.png"], "no whole PNG or JPEG"),
        (["size", "wide"], "not an aspect ratio"),
    ],
)
def test_bad_input_is_a_sentence_and_code_2_and_sends_nothing(
    run, client, tmp_path, capsys, words, said
) -> None:
    (tmp_path / "text.png").write_text("hello")
    assert run(*words) == 2
    assert said in capsys.readouterr().err
    assert client.log.entries == ()


@pytest.mark.parametrize("words", [["paint"], ["generate"], ["generate", "a", "--seed", "x"]])
def test_bad_usage_is_code_2_too(words, capsys) -> None:
    assert main(words) == 2
    assert "usage:" in capsys.readouterr().err


def test_help_is_code_0(capsys) -> None:
    assert main(["--help"]) == 0
    assert "doctor" in capsys.readouterr().out


def test_a_failure_of_the_service_is_code_1_and_keeps_what_came(run, client, capsys) -> None:
    client.fault("status=400 code=content_safety_violation first=1")
    assert run("generate", "a red fox", "--count", "2") == 1
    captured = capsys.readouterr()
    assert captured.out.count("1024 x 1024") == 1
    assert "content filter" in captured.err
    assert "run it again to fetch only the rest" in captured.err
    assert run("generate", "a red fox", "--count", "2") == 0
    assert client.log.billed == 3


def test_an_unknown_profile_is_code_1(run, capsys) -> None:
    assert run("generate", "a fox", "--profile", "wrok") == 1
    assert "Did you mean 'work'" in capsys.readouterr().err


def test_an_image_that_cant_be_written_is_kept(run, client, tmp_path, capsys) -> None:
    (tmp_path / "taken").write_text("a file")
    assert run("generate", "a red fox", "--out", "taken/deeper") == 1
    assert "costs nothing" in capsys.readouterr().err
    assert run("generate", "a red fox") == 0
    assert client.log.billed == 1


def test_edit_sends_the_files_in_their_order(run, client, tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(png(800, 800))
    (tmp_path / "b.png").write_bytes(png(768, 900))
    assert run("edit", "make it night", "a.png", "b.png", "--out", "night.png") == 0
    (entry,) = client.log.entries
    assert [(file.width, file.height) for file in entry.files] == [(800, 800), (768, 900)]
    assert (tmp_path / "night.png").exists()


def test_a_reference_over_the_models_limit_is_refused(run, tmp_path, capsys) -> None:
    (tmp_path / "a.png").write_bytes(png(2100, 2000))
    assert run("edit", "night", "a.png") == 2
    assert "Shrink it first" in capsys.readouterr().err


def test_pixazo_images_come_through_the_same_command(run, client, capsys) -> None:
    words = ["generate", "a red fox", "--profile", "pix", "--model", "MAI-Image-2.5"]
    assert run(*words, "--size", "1360x768") == 0
    assert "sent as aspect ratio 16:9" in capsys.readouterr().out
    assert client.log.billed == 1


def test_size_tells_pixels_price_and_enlargement(run, capsys) -> None:
    assert run("size", "16:9", "--target", "3840x2160", "--model", "MAI-Image-2.6") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2048 x 1152  2.36 MP  exact  $0.08")
    assert lines[1] == "enlarge by 1.8750, then crop to 3840 x 2160"


def test_spend_shows_the_sums_and_exports_every_call(run, tmp_path, capsys) -> None:
    run("generate", "a red fox")
    assert run("spend") == 0
    assert "MAI-Image-2.7" in capsys.readouterr().out
    assert run("spend", "--csv", "calls.csv") == 0
    assert "1 calls written" in capsys.readouterr().out
    assert "delivered" in (tmp_path / "calls.csv").read_text()
    assert run("spend", "--csv", "none/calls.csv") == 1


EXIT_CODES = {
    "profile": 3, "credential": 4, "name": 5, "connection": 6, "authentication": 7, "deployment": 8,
}  # fmt: skip
"""Doctor's, by the step that failed."""


def doctor_lines(run: Run, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = run("doctor", *words)
    return code, capsys.readouterr().out


def test_doctor_finds_everything_well_and_buys_nothing(run, folder, client, capsys) -> None:
    code, said = doctor_lines(run, capsys)
    assert (code, client.log.billed) == (0, 0)
    assert said.splitlines()[0] == f"folder: {folder} (as --folder says)"
    assert "MAI-Image-2.7 is there" in said
    assert said.count("the service accepts the credential") == 2
    assert "wrong" not in said


def test_doctor_buys_one_image_where_it_is_told_to(run, client, capsys) -> None:
    for profile in ("work", "pix"):
        code, said = doctor_lines(run, capsys, "--profile", profile, "--spend")
        assert code == 0
        assert "image: " in said
    assert client.log.billed == 2


@pytest.mark.parametrize(
    ("change", "profile", "step"),
    [
        (lambda text: text.replace('value = "emulator"', 'value = "bad"'), "work",
         "authentication"),
        (lambda text: text.replace('value = "emulator"', 'value = "bad"'), "pix",
         "authentication"),
        (lambda text: text.replace('kind = "key", value', 'kind = "key_env", name'), "pix",
         "credential"),
        (lambda text: text.replace("endpoint =", "endpiont ="), "work", "profile"),
        (lambda text: text, "none", "profile"),
        (lambda text: text + "[[[", "work", "profile"),
        (lambda text: text.replace("[profiles.work]",
                                   '[profiles.work]\ndeployments = "absent"'), "work",
         "deployment"),
    ],
)  # fmt: skip
def test_doctors_code_names_the_first_step_that_is_wrong(
    run, folder, capsys, change, profile, step
) -> None:
    path = folder / "profiles.toml"
    path.write_text(change(path.read_text("utf-8")), encoding="utf-8")
    code, said = doctor_lines(run, capsys, "--profile", profile)
    assert code == EXIT_CODES[step]
    assert f"wrong {step}: " in said


def test_doctor_names_a_service_that_doesnt_listen(run, folder, capsys) -> None:
    text = PROFILES.format(url="http://127.0.0.1:9", key="x")
    (folder / "profiles.toml").write_text(text, encoding="utf-8")
    for profile in ("work", "pix"):
        code, said = doctor_lines(run, capsys, "--profile", profile)
        assert code == EXIT_CODES["connection"]
        assert "perhaps billed" not in said


def test_doctor_warns_of_a_store_that_is_smaller_than_a_batch(run, folder, capsys) -> None:
    assert "limit_gb" not in doctor_lines(run, capsys, "--profile", "work")[1]
    path = folder / "profiles.toml"
    path.write_text(path.read_text("utf-8") + "\n[store]\nlimit_gb = 0.1\n", encoding="utf-8")
    code, said = doctor_lines(run, capsys, "--profile", "work")
    assert code == 0
    assert "! limit_gb of [store] is 0.1" in said


@pytest.mark.parametrize(
    ("name", "value"), [("SSL_CERT_FILE", "/nowhere/x.pem"), ("HTTPS_PROXY", "http://h:port")]
)
def test_doctor_names_a_network_setting_that_cant_be_used(
    run, folder, monkeypatch, capsys, name, value
) -> None:
    monkeypatch.setenv(name, value)
    text = PROFILES.format(url="https://r.services.ai.azure.com", key="x")
    (folder / "profiles.toml").write_text(text, encoding="utf-8")
    code, said = doctor_lines(run, capsys, "--profile", "work")
    assert code == EXIT_CODES["connection"]
    assert f"{name} " in said
    assert "unset it" in said


def test_doctor_without_a_profile_says_how_to_make_one(run, folder, monkeypatch, capsys) -> None:
    for name in list(os.environ):
        if name.startswith(("AZURE", "MAI_")):
            monkeypatch.delenv(name)
    (folder / "profiles.toml").unlink()
    code, said = doctor_lines(run, capsys)
    assert code == EXIT_CODES["profile"]
    assert "mai-image init" in said


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_doctor_warns_of_a_key_that_others_can_read(run, folder, capsys) -> None:
    (folder / "profiles.toml").chmod(0o644)
    assert "chmod 600" in doctor_lines(run, capsys)[1]


def test_no_output_of_doctor_holds_the_key(run, folder, capsys, caplog) -> None:
    key = "canary-77aa01"
    path = folder / "profiles.toml"
    path.write_text(path.read_text("utf-8").replace('"emulator"', f'"{key}"'), encoding="utf-8")
    caplog.set_level("DEBUG")
    run("doctor")
    captured = capsys.readouterr()
    assert key not in captured.out + captured.err + caplog.text


INIT = ["init", "--force", "--endpoint"]


def test_init_writes_a_file_that_doctor_likes(run, folder, client, monkeypatch, capsys) -> None:
    monkeypatch.setenv("TEST_MAI_KEY", "emulator")
    assert run(*INIT, client.url, "--key-env", "TEST_MAI_KEY", "--rpm", "60") == 0
    said = capsys.readouterr().out
    assert "Next: `mai-image doctor`" in said.splitlines()[-1]
    assert run("doctor") == 0
    if os.name != "nt":
        assert (folder / "profiles.toml").stat().st_mode & 0o777 == 0o600


def test_init_for_pixazo_needs_no_endpoint(run, folder) -> None:
    words = ["--service", "pixazo", "--key-env", "PIXAZO_API_KEY", "--media-host", "m.example.com"]
    assert run("init", "--force", *words) == 0
    text = (folder / "profiles.toml").read_text("utf-8")
    assert 'endpoint = "https://gateway.pixazo.ai"' in text
    assert 'media_hosts = ["m.example.com"]' in text


def test_each_setting_that_init_writes_is_below_its_own_comment(run, folder) -> None:
    words = ["--service", "pixazo", "--key-env", "PIXAZO_API_KEY", "--media-host", "m.example.com"]
    assert run("init", "--force", *words, "--rpm", "12") == 0
    lines = (folder / "profiles.toml").read_text("utf-8").splitlines()
    above = dict(zip(lines[1:], lines[:-1], strict=True))
    assert "Requests a minute" in above["requests_a_minute = 12"]
    assert "images are fetched" in above['media_hosts = ["m.example.com"]']
    assert "Who calls" in above['credential = { kind = "key_env", name = "PIXAZO_API_KEY" }']


def test_init_replaces_no_file_that_came_while_it_asked(run, folder, capsys, monkeypatch) -> None:
    path = folder / "profiles.toml"

    class SlowTyping(io.StringIO):
        def readline(self, *_: object) -> str:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("# another one's", encoding="utf-8")
            return "a-key\n"

    path.unlink(missing_ok=True)
    monkeypatch.setattr(sys, "stdin", SlowTyping())
    words = ["--endpoint", "https://r.services.ai.azure.com", "--key-stdin"]
    assert run("init", *words) == 1
    assert "is there already" in capsys.readouterr().err
    assert path.read_text("utf-8") == "# another one's"


def test_init_replaces_no_file_without_force(run, folder, capsys) -> None:
    before = (folder / "profiles.toml").read_bytes()
    words = ["--endpoint", "https://r.services.ai.azure.com", "--entra"]
    assert run("init", *words) == 1
    assert "--force" in capsys.readouterr().err
    assert (folder / "profiles.toml").read_bytes() == before


def test_init_reads_a_key_from_standard_input_and_never_shows_it(
    run, folder, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("  canary-13579\n"))
    assert run(*INIT, "https://r.services.ai.azure.com", "--key-stdin") == 0
    captured = capsys.readouterr()
    assert "canary" not in captured.out + captured.err
    assert 'value = "canary-13579"' in (folder / "profiles.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["--endpoint", "https://r.services.ai.azure.com"], 2),
        (["--entra"], 2),
        (["--key-env", "0123456789abcdef0123456789abcdef", "--endpoint", "r.example"], 2),
        (["--key-env", "KEY", "--entra"], 2),
        (["--entra", "magic", "--endpoint", "r.example"], 2),
        (["--endpoint", "http://r.example.com", "--entra"], 1),
        (["--endpoint", "https://r.services.ai.azure.com", "--entra", "--tier", "9"], 1),
        (["--endpoint", "https://r.services.ai.azure.com", "--entra", "--name", "emulator"], 1),
        (["--endpoint", "https://r.services.ai.azure.com", "--entra", "--deployment", "X=y"], 1),
        (["--endpoint", "https://r.services.ai.azure.com", "--entra", "--deployment", "="], 2),
        (["--service", "pixazo", "--entra"], 1),
    ],
)
def test_init_refuses_what_cant_be_and_leaves_the_file(
    run, folder, monkeypatch, capsys, words, code
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    before = (folder / "profiles.toml").read_bytes()
    assert run("init", "--force", *words) == code
    captured = capsys.readouterr()
    assert captured.err
    assert "0123456789abcdef" not in captured.err + captured.out
    assert (folder / "profiles.toml").read_bytes() == before


def test_the_folder_can_be_said_after_the_command_too(folder, capsys) -> None:
    assert main(["spend", "--folder", str(folder)]) == 0


def test_doctor_uses_the_comfyui_that_the_environment_names(tmp_path, monkeypatch, capsys) -> None:
    for name in ("main.py", "nodes.py"):
        (tmp_path / name).touch()
    data = tmp_path / "user" / "__mai"
    data.mkdir(parents=True)
    (data / "profiles.toml").write_text("[[[", encoding="utf-8")
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    assert main(["doctor"]) == EXIT_CODES["profile"]
    said = capsys.readouterr().out
    assert said.splitlines()[0] == (f"folder: {data} (of the ComfyUI that COMFYUI_PATH names)")
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "none"))
    assert main(["doctor"]) == 1
    assert "no ComfyUI" in capsys.readouterr().err


def test_an_interrupt_is_code_130(run, monkeypatch, capsys) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "submit", interrupted)
    assert run("generate", "a red fox") == 130
    assert "cancelled" in capsys.readouterr().err


def notes_of(said: str) -> list[str]:
    return [line.split(": ", 1)[1] for line in said.splitlines() if line.startswith("  note  ")]


def test_doctor_says_which_prices_and_quotas_are_not_known(run, folder, capsys) -> None:
    _, said = doctor_lines(run, capsys, "--profile", "work")
    assert notes_of(said) == [
        "price of MAI-Image-2.7-Flash isn't published: counted at 2.7's",
    ]
    path = folder / "profiles.toml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("requests_a_minute = 6000", "tier = 2"), encoding="utf-8")
    _, said = doctor_lines(run, capsys, "--profile", "work")
    assert notes_of(said)[1:] == [
        "MAI-Image-2.7, MAI-Image-2.7-Flash: requests a minute aren't known: "
        "learned from the answers",
    ]
    _, said = doctor_lines(run, capsys, "--profile", "pix")
    assert notes_of(said) == [
        "pixazo has prices of its own, which aren't known: counted at Microsoft's",
        "MAI-Image-2.5: requests a minute aren't known: learned from the answers",
        "MAI-Image-2.5 was retired on 2026-10-01; its successor is MAI-Image-2.6.",
    ]


def test_doctor_speaks_of_the_models_that_the_profile_has_a_deployment_of(
    run, folder, capsys
) -> None:
    path = folder / "profiles.toml"
    deployments = '[profiles.work]\ndeployments = { "MAI-Image-2.5" = "old" }'
    path.write_text(path.read_text("utf-8").replace("[profiles.work]", deployments), "utf-8")
    _, said = doctor_lines(run, capsys, "--profile", "work")
    assert notes_of(said) == [
        "MAI-Image-2.5 was retired on 2026-10-01; its successor is MAI-Image-2.6."
    ]


def test_the_list_of_models_fits_a_terminal_and_explains_its_signs(run, capsys) -> None:
    assert run("models") == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) < 80
    assert said.count("requests a minute by tier: ?") == 2
    assert "?  not known: requests a minute are learned from the answers" in said
    assert "≈  price of MAI-Image-2.7-Flash isn't published: counted at 2.7's" in said


def test_a_list_goes_into_a_file_whose_code_page_lacks_a_sign(run, monkeypatch) -> None:
    """As a file on Windows does."""
    file = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", file)
    assert run("models") == 0
    file.flush()
    assert b"? $0.0348" in file.buffer.getvalue()  # type: ignore[attr-defined]
