"""The ticks of the account: they follow what the user does and name nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image import emulator
from mai_image.mai.client import Client
from mai_image.mai.profiles import Profiles
from mai_image.page import checks
from page_helpers import Ask

STEPS = ("profile", "credential", "connection", "accepted", "deployment")

KEY = "canary-key-4f2b9c8d7e6a"


@pytest.fixture
def url() -> Iterator[str]:
    with emulator.start() as service:
        yield service.url


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client without a profile."""
    made = Client(tmp_path, Profiles(tmp_path, {}))
    yield made
    made.close(grace=0)


def write(folder: Path, *lines: str) -> None:
    """A profiles.toml with these lines in its one profile."""
    (folder / "profiles.toml").write_text("\n".join(["[profiles.work]", *lines]), "utf-8")


def ticks(client: Client) -> list[bool | None]:
    steps = checks.examine(client)["steps"]
    assert isinstance(steps, dict)
    assert tuple(steps) == STEPS
    return list(steps.values())


def test_the_ticks_follow_what_the_user_does(client: Client, tmp_path: Path, url: str) -> None:
    assert ticks(client) == [False, None, None, None, None]
    write(tmp_path, f'endpiont = "{url}"')
    assert ticks(client) == [False, None, None, None, None]
    endpoint = f'endpoint = "{url}"'
    write(tmp_path, endpoint, 'credential = { kind = "key_env", name = "NOT_SET" }')
    assert ticks(client) == [True, False, None, None, None]
    nowhere = 'endpoint = "http://127.0.0.1:9"'
    write(tmp_path, nowhere, f'credential = {{ kind = "key", value = "{KEY}" }}')
    assert ticks(client) == [True, True, False, None, None]
    write(tmp_path, endpoint, 'credential = { kind = "key", value = "bad" }')
    assert ticks(client) == [True, True, True, False, None]
    write(tmp_path, endpoint, 'credential = { kind = "key", value = "emulator" }')
    assert ticks(client) == [True, True, True, True, True]
    good = 'credential = { kind = "key", value = "emulator" }'
    write(tmp_path, endpoint, good, 'deployments = "absent"')
    assert ticks(client) == [True, True, True, True, False]


def test_the_first_profile_is_named_and_nothing_else(
    ask: Ask, client: Client, tmp_path: Path
) -> None:
    write(
        tmp_path,
        'endpoint = "http://127.0.0.1:9"',
        f'credential = {{ kind = "key", value = "{KEY}" }}',
    )
    answer = ask("checks")
    assert answer.json["profile"] == "work"
    text = answer.body.decode()
    for secret in (KEY, "127.0.0.1", str(tmp_path), "http"):
        assert secret not in text


def test_many_pages_cause_one_examination(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    times = []
    monkeypatch.setattr(checks, "examine", lambda client: times.append(1) or {"profile": None})
    kept = checks.Checks()
    assert [kept.get(client) for _ in range(5)] == [{"profile": None}] * 5
    assert len(times) == 1
    monkeypatch.setattr(checks, "PAUSE", 0.0)
    kept.get(client)
    assert len(times) == 2


def test_the_status_says_whether_any_account_is_set_up(ask: Ask, tmp_path: Path) -> None:
    assert ask("status").json["account"] is False
    write(tmp_path, 'endpoint = "http://127.0.0.1:9"', 'credential = { kind = "key", value = "x" }')
    assert ask("status").json["account"] is True
