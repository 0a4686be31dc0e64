"""The first profiles.toml: what is asked, and what is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.cli.init import Choices, ask_choices, render_profile, write_profile
from mai_image.cli.questions import Questions
from mai_image.mai.auth import Secret
from mai_image.mai.errors import ProfileError
from mai_image.mai.profiles import Profiles

ENDPOINT = "https://r.services.ai.azure.com"


def choose(kind: str, key_source: str = "", **changes: Any) -> Choices:
    """A profile of Foundry with this kind of credential."""
    return Choices(
        **{
            "name": "main",
            "service": "foundry",
            "endpoint": ENDPOINT,
            "credential_kind": kind,
            "key_source": Secret(key_source),
            **changes,
        }
    )


def read(tmp_path: Path, choices: Choices) -> Profiles:
    write_profile(choices, tmp_path, force=True)
    return Profiles(tmp_path, {"KEY": "k1"}, interactive=True)


def test_every_choice_arrives_in_the_profile(tmp_path: Path) -> None:
    choices = choose(
        "key_env",
        "KEY",
        name="my work",
        deployments=(("MAI-Image-2.6", "a"), ("MAI-Image-2.6", "b"), ("*", 'odd "name"')),
        requests_a_minute=2.5,
        budget_day=5,
        budget_month=50,
    )
    profile = read(tmp_path, choices).get("my work")
    assert (profile.service, profile.endpoint) == ("foundry", ENDPOINT)
    assert profile.deployments_for("MAI-Image-2.6") == ("a", "b")
    assert profile.deployments_for("MAI-Image-2") == ('odd "name"',)
    assert (profile.requests_a_minute, profile.tier) == (2.5, None)
    assert (profile.budget.day, profile.budget.month) == (5, 50)
    assert "KEY" in profile.credential.describe()


@pytest.mark.parametrize("method", ["default", "environment", "managed_identity", "azure_cli"])
def test_every_way_to_sign_in_is_written(tmp_path: Path, method: str) -> None:
    profile = read(tmp_path, choose("entra", method=method)).get("main")
    assert "Entra ID" in profile.credential.describe()


def test_ids_are_written_where_the_method_takes_them(tmp_path: Path) -> None:
    choices = choose("entra", method="managed_identity", client_id="c-1")
    assert "c-1" in read(tmp_path, choices).get("main").credential.describe()
    with pytest.raises(ProfileError, match="client_id"):
        render_profile(choose("entra", method="azure_cli", client_id="c-1"))


@settings(max_examples=60)
@given(st.text(min_size=1, max_size=30))
def test_no_key_can_break_out_of_its_place(key: str) -> None:
    """Quotes, line breaks and TOML in a key stay in the key."""
    try:
        text = render_profile(choose("key", key))
    except (ProfileError, UnicodeEncodeError):
        return
    assert text.count("\n[profiles.main]\n") == 1
    assert len([line for line in text.splitlines() if line.startswith("credential = ")]) == 1


def test_a_key_is_in_the_file_and_in_no_repr(tmp_path: Path) -> None:
    choices = choose("key", "canary-1")
    assert "canary" not in repr(choices)
    assert "canary" not in repr(read(tmp_path, choices).get("main"))
    assert "canary-1" in (tmp_path / "profiles.toml").read_text("utf-8")


def test_a_folder_that_cant_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileError, match="can't be written"):
        write_profile(choose("entra"), tmp_path / "file" / "deeper")


class Person:
    """Types the given lines, and keeps every question and line that was shown."""

    def __init__(self, lines: Iterable[str], secrets: Iterable[str] = ()) -> None:
        self._lines, self._secrets = iter(lines), iter(secrets)
        self.seen: list[str] = []

    def ask(self, question: str) -> str:
        self.seen.append(question)
        return next(self._lines)

    def ask_secret(self, question: str) -> str:
        self.seen.append(question)
        return next(self._secrets)

    def choices(self) -> Choices:
        return ask_choices("main", Questions(self.ask, self.ask_secret, self.seen.append))


def test_enter_takes_the_usual_answers(tmp_path: Path) -> None:
    person = Person(["", ENDPOINT + "/api/projects/p1", "", "", "", "", "", "", ""])
    choices = person.choices()
    assert choices == choose("key_env", "AZURE_API_KEY")
    assert read(tmp_path, choices).get("main").endpoint == ENDPOINT


def test_pixazo_is_asked_less(tmp_path: Path) -> None:
    person = Person(["2", "", "1", "", "12", "5", ""])
    choices = person.choices()
    assert (choices.service, choices.endpoint) == ("pixazo", "https://gateway.pixazo.ai")
    assert choices.key_source == Secret("PIXAZO_API_KEY")
    assert (choices.requests_a_minute, choices.budget_day) == (12, 5)
    assert not any("eployment" in line or "Entra" in line for line in person.seen)
    assert read(tmp_path, choices).get("main").requests_a_minute == 12


def test_a_key_is_asked_without_an_echo_and_told_to_nobody() -> None:
    person = Person(["1", ENDPOINT, "3", "mine", "2", "", "", ""], ["", "canary-2"])
    choices = person.choices()
    assert choices.key_source == Secret("canary-2")
    assert (choices.deployments, choices.tier) == ((("*", "mine"),), 2)
    assert not any("canary" in line for line in person.seen)


def test_entra_asks_how_and_as_whom() -> None:
    person = Person(["1", ENDPOINT, "4", "3", "c-1", "", "", "", "", ""])
    choices = person.choices()
    assert (choices.credential_kind, choices.method, choices.client_id) == (
        "entra",
        "managed_identity",
        "c-1",
    )


def test_an_answer_that_cant_be_used_is_asked_again_with_the_reason() -> None:
    key = "0123456789abcdef0123456789abcdef"
    lines = ["9", "x", "1", "http://r.example.com", "ftp://x", ENDPOINT, "1", key, "KEY"]
    person = Person([*lines, "", "7", "-1", "two", "1", "nan", "$5", ""])
    choices = person.choices()
    assert (choices.tier, choices.budget_day, choices.key_source) == (1, 5.0, Secret("KEY"))
    shown = "\n".join(person.seen)
    assert "plain http is for this machine only" in shown
    assert "Type a number from 1 to 2." in shown
    assert "NAME of an environment variable" in shown
    assert key not in shown
