"""The user's own models: from profiles.toml into every list, price and request."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image import emulator
from mai_image.cli import main
from mai_image.mai.errors import ProfileError
from mai_image.mai.models import CATALOGUE, Price
from mai_image.mai.own_models import read_own_models
from mai_image.mai.profiles import Profiles
from mai_image.mai.sizes import Size, best, ratio_of
from mai_image.mai.types import Generate
from mai_image.mai.validation import validate_request

ROOT = Path(__file__).resolve().parent.parent

EXAMPLE = """
[models."MAI-Image-3"]
max_pixels = 9437184
references = 5
options = ["background"]
price = { text_in = 5, image_in = 8, image_out = 34 }   # USD per 1M tokens
requests_a_minute = [2, 4, 6, 8, 10, 12]
retired = "2127-03-01"
successor = "MAI-Image-4"
"""


@pytest.fixture(autouse=True)
def catalogue() -> Iterator[None]:
    """Leaves the catalogue as it was."""
    yield
    CATALOGUE.take_own(())


def take(folder: Path, text: str) -> list[str]:
    path = folder / "profiles.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return read_own_models(path)


def test_a_new_model_is_all_that_its_table_says(tmp_path: Path) -> None:
    assert take(tmp_path, EXAMPLE) == []
    model = CATALOGUE["MAI-Image-3"]
    assert (model.max_pixels, model.edit_pixels, model.max_references) == (9437184, 9437184, 5)
    assert model.options == {"background"}
    assert (model.price, model.price_known) == (Price(5, 8, 34), True)
    assert model.rpm_by_tier == (2, 4, 6, 8, 10, 12)
    assert (model.state, model.is_retired) == ("preview", False)
    assert model.retirement_note() == (
        "MAI-Image-3 will be retired on 2127-03-01; its successor is MAI-Image-4."
    )
    assert best(model, ratio_of("1:1")) == Size(3072, 3072)
    assert "MAI-Image-3" in CATALOGUE.edit_names
    assert "MAI-Image-3" in CATALOGUE.names_with({"background"})
    request = Generate("MAI-Image-3", "a hat", 3072, 3072, background="transparent")
    assert validate_request(request) is model
    assert model.estimate(request) == pytest.approx(9216 * 34 / 1e6, rel=0.01)


def test_a_new_model_needs_its_pixels_alone_and_counts_at_the_dearest_price(
    tmp_path: Path,
) -> None:
    assert take(tmp_path, "[models.new]\nmax_pixels = 1048576\n") == []
    model = CATALOGUE["new"]
    assert (model.can_edit, model.options, model.rpm_by_tier) == (False, frozenset(), ())
    request = Generate("new", "a hat", 1024, 1024)
    assert not model.is_bound(request)
    assert all(model.estimate(request) >= CATALOGUE[name].estimate(request) for name in CATALOGUE)


def test_a_known_model_changes_only_where_its_table_says_so(tmp_path: Path) -> None:
    before = CATALOGUE["MAI-Image-2.7-Flash"]
    assert (
        take(
            tmp_path,
            '[models."MAI-Image-2.7-Flash"]\n'
            "price = { text_in = 1, image_in = 2, image_out = 15 }\n"
            "requests_a_minute = [4]\n",
        )
        == []
    )
    after = CATALOGUE["MAI-Image-2.7-Flash"]
    assert (after.price, after.price_known, after.rpm_by_tier) == (Price(1, 2, 15), True, (4,))
    assert (after.max_pixels, after.options) == (before.max_pixels, before.options)
    assert take(tmp_path, "") == []
    assert CATALOGUE["MAI-Image-2.7-Flash"] == before


def test_a_model_that_is_said_to_be_retired_stands_last_and_one_that_isnt_does_not(
    tmp_path: Path,
) -> None:
    take(
        tmp_path,
        '[models."MAI-Image-2.6"]\nretired = 2026-11-01\n'
        '[models."MAI-Image-2.5"]\nretired = "2127-01-01"\n',
    )
    states = [model.is_retired for model in CATALOGUE.values()]
    assert states == sorted(states)
    assert CATALOGUE["MAI-Image-2.6"].is_retired
    assert not CATALOGUE["MAI-Image-2.5"].is_retired


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("references = 5", "line 1: the model 'X' is new, so it needs max_pixels"),
        ("max_pixels = 1", "line 2: max_pixels must be a whole number from 65536 to 67108864."),
        ("max_pixels = 1e6", "line 2: max_pixels must be a whole number"),
        ("max_pixels = 70000", "line 2: max_pixels is less than 768 x 768"),
        ("max_pixels = 600000\nmin_side = 800", "line 3: max_pixels is less than 800 x 800"),
        ("max_pixels = 600000\nreferences = 99", "line 3: references must be a whole number from"),
        ("max_pixels = 600000\noptions = ['magic']", "line 3: options must be a list of"),
        ("max_pixels = 600000\noptions = 'background'", "line 3: options must be a list of"),
        ("max_pixels = 600000\nprice = 5", "line 3: price must be a table with text_in"),
        ("max_pixels = 600000\nprice = { text_in = 5 }", "has no image_in: it must be a number"),
        (
            "max_pixels = 600000\n[models.X.price]\ntext_in = -1\nimage_in = 1\nimage_out = 1",
            "line 4: text_in must be a number from 0 to 100000, USD per 1M tokens.",
        ),
        (
            "max_pixels = 600000\nprice = { text_in = 5, image_in = 5, image_out = 5, tax = 1 }",
            "line 3: [models.X.price] has an unknown key 'tax'",
        ),
        ("max_pixels = 600000\nrequests_a_minute = []", "line 3: requests_a_minute must be a list"),
        ("max_pixels = 600000\nrequests_a_minute = [0]", "line 3: requests_a_minute must be a"),
        ("max_pixels = 600000\nretired = 'soon'", 'line 3: retired must be a day, such as "2027'),
        ("max_pixels = 600000\nretired = 1979-05-27T07:32:00Z", "line 3: retired must be a day"),
        ("max_pixels = 600000\nsuccessor = '../x'", "line 3: successor must be 1 to 64 letters"),
        ("max_pixels = 600000\nedit_pixels = 600000", "line 3: edit_pixels needs references"),
        (
            "max_pixels = 600000\nreferences = 1\nedit_pixels = 700000",
            "line 4: edit_pixels must be at most 600000",
        ),
        ("max_pixel = 600000", "line 2: [models.X] has an unknown key 'max_pixel': did you mean"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_takes_nothing_away(
    tmp_path: Path, text: str, mistake: str
) -> None:
    built_in = dict(CATALOGUE)
    mistakes = take(tmp_path, f"[models.X]\n{text}\n")
    assert any(mistake in said for said in mistakes), mistakes
    assert dict(CATALOGUE) == built_in
    with pytest.raises(ProfileError) as caught:
        Profiles(tmp_path, {}).get("default")
    assert mistakes[0] in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/b", "", " x", "x" * 65, "*", "a\\nb", "a\\u0000"])
def test_a_model_cannot_be_called_what_no_file_can(tmp_path: Path, name: str) -> None:
    (mistake,) = take(tmp_path, f'[models."{name}"]\nmax_pixels = 1048576\n')
    assert mistake.startswith("line 1: the model name ")
    assert name not in CATALOGUE


def test_a_known_name_in_other_capitals_is_a_mistake(tmp_path: Path) -> None:
    (mistake,) = take(tmp_path, '[models."mai-image-2.7"]\nreferences = 1\n')
    assert "differs from 'MAI-Image-2.7' by capitals only" in mistake


def test_a_mistake_in_one_model_leaves_the_others(tmp_path: Path) -> None:
    mistakes = take(tmp_path, EXAMPLE + "[models.bad]\n")
    assert len(mistakes) == 1
    assert "MAI-Image-3" in CATALOGUE
    assert "bad" not in CATALOGUE


def test_models_that_are_no_table_are_a_mistake(tmp_path: Path) -> None:
    assert take(tmp_path, "models = 5\n") == ["line 1: models must be a table."]


PROFILE = """
[profiles.work]
endpoint = "https://r.services.ai.azure.com"
credential = { kind = "key", value = "k" }
tier = 3
deployments = { "MAI-Image-3" = "three", "MAI-Image-2.7" = "seven" }
"""


def test_a_profile_may_have_deployments_of_a_new_model(tmp_path: Path) -> None:
    assert take(tmp_path, PROFILE + EXAMPLE) == []
    profile = Profiles(tmp_path, {}).get("work")
    assert profile.deployments_for("MAI-Image-3") == ("three",)
    assert profile.rpm(CATALOGUE["MAI-Image-3"]) == 6


def test_a_profile_may_not_have_deployments_of_a_model_that_nobody_knows(tmp_path: Path) -> None:
    take(tmp_path, PROFILE)
    with pytest.raises(ProfileError, match="unknown key 'MAI-Image-3'"):
        Profiles(tmp_path, {}).get("work")


def test_the_models_command_lists_all_with_the_profiles_deployments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "profiles.toml").write_text(PROFILE + EXAMPLE, encoding="utf-8")
    assert main(["--folder", str(tmp_path), "models", "--json"]) == 0
    listed = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert list(listed) == list(CATALOGUE)
    three, seven, old = (listed[f"MAI-Image-{version}"] for version in ("3", "2.7", "2.5"))
    assert (three["deployments"], seven["deployments"]) == (["three"], ["seven"])
    assert listed["MAI-Image-2.6"]["deployments"] == []
    assert (old["state"], old["retired"], old["successor"]) == (
        "retired",
        "2026-10-01",
        "MAI-Image-2.6",
    )
    assert seven["requests_a_minute"] is None
    assert three["price_usd_1024"] == pytest.approx(0.034816)
    assert main(["--folder", str(tmp_path), "models"]) == 0
    text = capsys.readouterr().out
    assert "MAI-Image-2.5  (retired on 2026-10-01, successor MAI-Image-2.6)" in text
    assert "≈ $" in text
    assert "deployments: seven" in text


def test_the_models_command_needs_no_account(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--folder", str(tmp_path), "models"]) == 0
    assert "MAI-Image-2.7" in capsys.readouterr().out
    assert main(["--folder", str(tmp_path), "models", "--profile", "none"]) == 1


def test_the_command_line_buys_images_of_a_new_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "profiles.toml").write_text(EXAMPLE, encoding="utf-8")
    read_own_models(tmp_path / "profiles.toml")
    monkeypatch.chdir(tmp_path)
    with emulator.start() as service:
        profile = PROFILE.replace("https://r.services.ai.azure.com", service.url)
        profile = profile.replace('"k"', '"emulator"').replace('"three"', '"MAI-Image-3"')
        (tmp_path / "profiles.toml").write_text(profile + EXAMPLE, encoding="utf-8")
        words = ["generate", "a hat", "--model", "MAI-Image-3", "--size", "768x1365"]
        assert main(["--folder", str(tmp_path), *words]) == 0
        (entry,) = service.log.entries
    assert (entry.fields["width"], entry.fields["height"]) == (768, 1360)
    said = capsys.readouterr().out
    assert "768 x 1365 comes back as 768 x 1360" in said


def test_the_emulator_takes_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(EXAMPLE, encoding="utf-8")
    _, options = emulator.command.parse_command(["--profiles", str(tmp_path / "mine.toml")])
    assert options.deployments["MAI-Image-3"] == "MAI-Image-3"


def test_the_emulator_says_what_is_wrong_with_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text("[models.X]\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        emulator.command.parse_command(["--profiles", str(tmp_path / "mine.toml")])
    assert "line 1: the model 'X' is new" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        emulator.command.parse_command(["--profiles", str(tmp_path / "none.toml")])
    assert "there is no file" in capsys.readouterr().err


def test_a_file_without_models_is_not_even_parsed(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(PROFILE.split("deployments")[0], encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; from mai_image.mai.own_models import "
        "read_own_models; read_own_models(Path(sys.argv[1])); "
        "print('mai_image.mai.profiles' in sys.modules)"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "profiles.toml")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_retired_model_says_when_and_what_follows() -> None:
    assert CATALOGUE["MAI-Image-2.5"].retirement_note() == (
        "MAI-Image-2.5 was retired on 2026-10-01; its successor is MAI-Image-2.6."
    )
    assert CATALOGUE["MAI-Image-2.7"].retirement_note() == ""
    for model in CATALOGUE.values():
        if model.is_retired:
            assert not CATALOGUE[model.successor].is_retired
