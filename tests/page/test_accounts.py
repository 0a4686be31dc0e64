"""accounts: which profiles are set up, by name alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mai_image.mai.profiles import Profiles
from mai_image.page.accounts import accounts
from page_helpers import Ask

ENDPOINT = "https://secret-endpoint.services.ai.azure.com"


def profile(name: str, credential: str, more: str = "") -> str:
    return f"""
[profiles.{name}]
endpoint = "{ENDPOINT}"
credential = {{ {credential} }}
{more}
"""


def found(folder: Path, text: str = "", **environ: str) -> dict[str, Any]:
    if text:
        (folder / "profiles.toml").write_text(text, encoding="utf-8")
    return accounts(Profiles(folder, environ))


def test_without_a_file_or_a_variable_there_is_none(tmp_path: Path) -> None:
    assert found(tmp_path) == {"profiles": [], "default": None}


def test_a_key_that_is_there_is_ready_whatever_its_kind(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a-key-in-a-file")
    text = (
        profile("file", 'kind = "key_file", path = "key"')
        + profile("variable", 'kind = "key_env", name = "MY_KEY"')
        + profile("text", 'kind = "key", value = "a-key"')
        + profile("entra", 'kind = "entra"')
    )
    answer = found(tmp_path, text, MY_KEY="a-key-in-a-variable")
    assert answer["default"] == "file"
    assert answer["profiles"] == [
        {"name": name, "ready": True, "unpriced": []}
        for name in ("file", "variable", "text", "entra")
    ]


@pytest.mark.parametrize(
    "credential",
    ['kind = "key_file", path = "nowhere"', 'kind = "key_env", name = "NOT_SET"'],
)
def test_a_key_that_cannot_be_read_is_not_ready(tmp_path: Path, credential: str) -> None:
    answer = found(tmp_path, profile("work", credential))
    assert answer["profiles"] == [{"name": "work", "ready": False, "unpriced": []}]


def test_a_profile_with_a_mistake_is_named_and_not_ready(tmp_path: Path) -> None:
    text = profile("work", 'kind = "key", value = "a-key"') + profile(
        "broken", 'kind = "key", value = "a-key"', "tier = 99"
    )
    states = {row["name"]: row["ready"] for row in found(tmp_path, text)["profiles"]}
    assert states == {"work": True, "broken": False}


def test_variables_make_the_profile_that_default_means(tmp_path: Path) -> None:
    answer = found(tmp_path, AZURE_ENDPOINT=ENDPOINT, AZURE_API_KEY="a-key")
    row = {"name": "default", "ready": True, "unpriced": []}
    assert answer == {"profiles": [row], "default": "default"}


@pytest.mark.parametrize(
    ("variable", "unpriced"), [("OPENROUTER_API_KEY", True), ("FAL_KEY", False)]
)
def test_a_model_of_which_the_service_publishes_no_price_is_named(
    tmp_path: Path, variable: str, unpriced: bool
) -> None:
    (row,) = found(tmp_path, **{variable: "a-key"})["profiles"]
    assert "MAI-Image-2.7" not in row["unpriced"]
    assert ("MAI-Image-2.6" in row["unpriced"]) is unpriced


def test_a_key_without_an_endpoint_is_not_ready(tmp_path: Path) -> None:
    answer = found(tmp_path, AZURE_API_KEY="a-key")
    row = {"name": "default", "ready": False, "unpriced": []}
    assert answer == {"profiles": [row], "default": None}


def test_the_route_tells_names_and_neither_endpoint_key_nor_path(ask: Ask, folder: Path) -> None:
    answer = ask("accounts")
    assert answer.json == {
        "profiles": [{"name": name, "ready": True, "unpriced": []} for name in ("work", "quiet")],
        "default": "work",
    }
    for secret in ("secret-endpoint", "canary-key", str(folder), "profiles.toml"):
        assert secret.encode() not in answer.body
