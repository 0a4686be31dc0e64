"""The first profiles.toml: what is asked, and what is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.cli.init import Settings, ask_settings, render_profile, write_profile
from mai_image.cli.questions import Questions
from mai_image.mai.auth import Secret
from mai_image.mai.errors import ProfileError
from mai_image.mai.profiles import Profile, Profiles
from mai_image.mai.types import Budget

ENDPOINT = "https://r.services.ai.azure.com"


def foundry(credential: Settings, **changes: Any) -> Settings:
    """A profile of Foundry with this credential."""
    return {"service": "foundry", "endpoint": ENDPOINT, "credential": credential, **changes}


def read(tmp_path: Path, settings: Settings, name: str = "main") -> Profile:
    write_profile(tmp_path / "profiles.toml", name, settings)
    return Profiles(tmp_path, {"KEY": "k1"}, interactive=True).get(name)


def test_every_setting_arrives_in_the_profile(tmp_path: Path) -> None:
    settings = foundry(
        {"kind": "key_env", "name": "KEY"},
        deployments={"MAI-Image-2.6": ["a", "b"], "*": ['odd "name"']},
        requests_a_minute=2.5,
        budget={"day": 5, "month": 50},
    )
    profile = read(tmp_path, settings, "my work")
    assert (profile.service, profile.endpoint) == ("foundry", ENDPOINT)
    assert profile.deployments_for("MAI-Image-2.6") == ("a", "b")
    assert profile.deployments_for("MAI-Image-2") == ('odd "name"',)
    assert (profile.requests_a_minute, profile.tier) == (2.5, None)
    assert (profile.budget.day, profile.budget.month) == (5, 50)
    assert "KEY" in profile.credential.describe()


@pytest.mark.parametrize("method", ["default", "environment", "managed_identity", "azure_cli"])
def test_every_way_to_sign_in_is_written(tmp_path: Path, method: str) -> None:
    profile = read(tmp_path, foundry({"kind": "entra", "method": method}))
    assert "Entra ID" in profile.credential.describe()


def test_ids_are_written_where_the_method_takes_them(tmp_path: Path) -> None:
    credential = {"kind": "entra", "method": "managed_identity", "client_id": "c-1"}
    assert "c-1" in read(tmp_path, foundry(credential)).credential.describe()
    with pytest.raises(ProfileError, match="client_id"):
        read(tmp_path, foundry({**credential, "method": "azure_cli"}))


@settings(max_examples=60)
@given(st.text(min_size=1, max_size=30))
def test_no_key_can_break_out_of_its_place(key: str) -> None:
    """Quotes, line breaks and TOML in a key stay in the key."""
    text = render_profile("main", foundry({"kind": "key", "value": Secret(key)}))
    assert text.count("\n[profiles.main]\n") == 1
    assert len([line for line in text.splitlines() if line.startswith("credential = ")]) == 1


def test_a_key_is_in_the_file_and_in_no_repr(tmp_path: Path) -> None:
    settings = foundry({"kind": "key", "value": Secret("canary-1")})
    assert "canary" not in repr(settings)
    assert "canary" not in repr(read(tmp_path, settings))
    assert "canary-1" in (tmp_path / "profiles.toml").read_text("utf-8")


def test_a_folder_that_cant_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileError, match="can't be written"):
        read(tmp_path / "file" / "deeper", foundry({"kind": "entra"}))


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

    def settings(self) -> Settings:
        return ask_settings(Questions(self.ask, self.ask_secret, self.seen.append))


def test_enter_takes_the_usual_answers(tmp_path: Path) -> None:
    person = Person(["", ENDPOINT + "/api/projects/p1", "", "", "", "", "", "", ""])
    settings = person.settings()
    assert settings["credential"] == {"kind": "key_env", "name": "AZURE_API_KEY"}
    profile = read(tmp_path, settings)
    assert (profile.endpoint, profile.tier, profile.budget) == (ENDPOINT, None, Budget())
    assert profile.deployments_for("MAI-Image-2.6") == ("MAI-Image-2.6",)


def test_pixazo_is_asked_less(tmp_path: Path) -> None:
    person = Person(["2", "", "1", "", "12", "5", ""])
    settings = person.settings()
    assert settings["credential"] == {"kind": "key_env", "name": "PIXAZO_API_KEY"}
    assert not any("eployment" in line or "Entra" in line for line in person.seen)
    profile = read(tmp_path, settings)
    assert (profile.service, profile.endpoint) == ("pixazo", "https://gateway.pixazo.ai")
    assert (profile.requests_a_minute, profile.budget) == (12, Budget(day=5))


def test_a_key_is_asked_without_an_echo_and_told_to_nobody() -> None:
    person = Person(["1", ENDPOINT, "3", "mine", "2", "", "", ""], ["", "canary-2"])
    settings = person.settings()
    assert settings["credential"] == {"kind": "key", "value": Secret("canary-2")}
    assert (settings["deployments"], settings["tier"]) == ({"*": ["mine"]}, 2)
    assert not any("canary" in line for line in person.seen)


def test_entra_asks_how_and_as_whom() -> None:
    person = Person(["1", ENDPOINT, "4", "3", "c-1", "", "", "", "", ""])
    credential = {"kind": "entra", "method": "managed_identity", "client_id": "c-1"}
    assert person.settings()["credential"] == credential


def test_an_answer_that_cant_be_used_is_asked_again_with_the_reason() -> None:
    key = "0123456789abcdef0123456789abcdef"
    lines = ["9", "x", "1", "http://r.example.com", "ftp://x", ENDPOINT, "1", key, "KEY"]
    person = Person([*lines, "", "7", "-1", "two", "1", "nan", "$5", ""])
    settings = person.settings()
    assert (settings["tier"], settings["budget"]["day"]) == (1, 5)
    assert settings["credential"] == {"kind": "key_env", "name": "KEY"}
    shown = "\n".join(person.seen)
    assert "plain http is for this machine only" in shown
    assert "Type a number from 1 to 4." in shown
    assert "NAME of an environment variable" in shown
    assert key not in shown
