"""The sidebar's numbers: what the ledger says, and nothing that could be misused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from mai_image.mai.client import Client
from mai_image.mai.database import DatabaseGone
from mai_image.mai.in_flight import InFlightCall
from mai_image.mai.ledger import NewCall, Outcome
from mai_image.mai.profiles import Profiles
from mai_image.mai.types import Budget, Generate, Progress
from mai_image.page.status import status as status_of
from page_helpers import Ask


def call(number: int, profile: str = "work", model: str = "MAI-Image-2.6") -> NewCall:
    return NewCall(f"{number:064x}", profile, "foundry", model, "generate", 0.04)


def spend(client: Client, number: int, outcome: Outcome, cost: float | None, **of: str) -> None:
    row = client.ledger.open(call(number, **of), Budget())
    client.ledger.mark_sent(row, "secret-deployment")
    client.ledger.close(row, outcome, cost_usd=cost, request_id=f"r-{number}")


def test_sums_are_the_ledgers_by_model_and_by_profile(ask: Ask, client: Client) -> None:
    spend(client, 1, Outcome.DELIVERED, 0.03)
    spend(client, 2, Outcome.DELIVERED, 0.5, model="MAI-Image-2.7")
    spend(client, 3, Outcome.REFUSED, None)
    status = ask("status").json
    assert status["today"] == status["month"] == {"usd": 0.53, "calls": 2}
    assert [row["model"] for row in status["models"]] == [  # type: ignore[attr-defined]
        "MAI-Image-2.7",
        "MAI-Image-2.6",
    ]
    (work,) = status["profiles"]  # type: ignore[misc]
    assert work["today"] == {"usd": 0.53, "calls": 2}
    assert (work["day_budget"], work["month_budget"]) == (5, 50)


def test_a_call_that_was_perhaps_billed_is_listed_with_its_request_id(
    ask: Ask, client: Client
) -> None:
    spend(client, 7, Outcome.PERHAPS_BILLED, None)
    status = ask("status").json
    (doubtful,) = status["perhaps_billed"]  # type: ignore[misc]
    assert status["perhaps_billed_count"] == 1
    assert doubtful["usd"] == 0.04
    assert doubtful["request_id"] == "r-7"


def test_what_was_spent_blocked_and_lost_stands_apart(ask: Ask, client: Client) -> None:
    spend(client, 1, Outcome.DELIVERED, 0.03)
    spend(client, 2, Outcome.BLOCKED, None)
    spend(client, 3, Outcome.NOT_KEPT, 0.02)
    status = ask("status").json
    assert status["spent"] == {"usd": 0.03, "calls": 1}
    assert status["blocked"] == {"usd": 0.04, "calls": 1}
    assert status["lost"] == {"usd": 0.02, "calls": 1}
    assert status["month"] == {"usd": 0.09, "calls": 3}


def test_a_profile_that_is_gone_keeps_its_line_without_a_budget(ask: Ask, client: Client) -> None:
    for number, name in enumerate(("removed", "default", "")):
        spend(client, number, Outcome.DELIVERED, 0.03, profile=name)
    rows = {row["profile"]: row for row in ask("status").json["profiles"]}  # type: ignore[attr-defined]
    assert set(rows) == {"work", "removed", "default", ""}
    for name in ("removed", "default", ""):
        assert (rows[name]["day_budget"], rows[name]["month_budget"]) == (None, None)
        assert rows[name]["known"] is False
    assert rows["work"]["known"] is True


def test_emulated_calls_are_in_no_sum_but_their_own(ask: Ask, client: Client) -> None:
    spend(client, 1, Outcome.DELIVERED, 0.03)
    spend(client, 2, Outcome.DELIVERED, 0.0, profile="emulator", model="MAI-Image-2.7")
    spend(client, 3, Outcome.PERHAPS_BILLED, None, profile="emulator")
    client.ledger.open(call(4, profile="emulator"), Budget())
    status = ask("status").json
    assert status["today"] == status["month"] == status["spent"] == {"usd": 0.03, "calls": 1}
    assert status["in_flight"] == {"usd": 0.0, "calls": 0}
    assert [row["model"] for row in status["models"]] == ["MAI-Image-2.6"]  # type: ignore[attr-defined]
    assert [row["profile"] for row in status["profiles"]] == ["work"]  # type: ignore[attr-defined]
    assert status["perhaps_billed_count"] == 0
    assert status["emulated"]["month"]["calls"] == 2  # type: ignore[call-overload,index]


def test_a_call_that_waits_shows_the_time_to_its_slot(
    ask: Ask, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Generate("MAI-Image-2.6", "a secret prompt", 1024, 1024)
    waiting = InFlightCall("0" * 64, request, client.profiles.get("work"))
    waiting.report(Progress("waiting", time.monotonic() + 30, 2.0))
    monkeypatch.setattr(client, "in_flight", lambda: [waiting.status()])
    answer = ask("status")
    (status,) = answer.json["calls"]  # type: ignore[misc]
    assert 25 < status["seconds"] <= 30
    assert (status["phase"], status["rpm"], status["profile"]) == ("waiting", 2.0, "work")
    assert b"a secret prompt" not in answer.body


def test_no_answer_holds_a_key_an_endpoint_a_deployment_or_a_path(
    ask: Ask, client: Client, folder: Path
) -> None:
    spend(client, 1, Outcome.DELIVERED, 0.03)
    spend(client, 2, Outcome.PERHAPS_BILLED, None)
    for path in ("status", "images"):
        text = ask(path).body.decode()
        for secret in ("canary-key", "secret-endpoint", "secret-deployment", str(folder)):
            assert secret not in text


def test_a_ledger_that_cannot_be_read_is_a_503_that_names_no_folder(
    ask: Ask, client: Client, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client.ledger.close_file()
    (folder / "ledger.sqlite").write_bytes(b"this is no database at all" * 100)
    answer = ask("status")
    assert answer.status == 503
    assert str(folder) not in answer.body.decode()
    assert str(folder) in caplog.text


def test_of_machines_that_share_a_ledger_this_ones_sums_stand_beside_the_studios(
    tmp_path: Path, postgres: str
) -> None:
    clients = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        text = f'[shared]\ndatabase = "{postgres}"\nmachine = "{name}"\n'
        (tmp_path / name / "profiles.toml").write_text(text)
        clients.append(Client(tmp_path / name, Profiles(tmp_path / name, {})))
    spend(clients[0], 1, Outcome.DELIVERED, 0.03)
    spend(clients[1], 2, Outcome.DELIVERED, 0.5)
    said = status_of(clients[0])
    assert said["month"] == {"usd": 0.53, "calls": 2}
    assert said["here"] == {
        "today": {"usd": 0.03, "calls": 1},
        "month": {"usd": 0.03, "calls": 1},
    }
    for each in clients:
        each.close()


def test_a_machine_alone_has_no_sums_beside_its_own(ask: Ask) -> None:
    assert ask("status").json["here"] is None


def test_a_studios_database_that_is_gone_is_named_without_its_host(
    ask: Ask, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise DatabaseGone("The studio's database doesn't answer.", "Look at db.lan.", "db.lan")

    monkeypatch.setattr(client.ledger, "spend", gone)
    answer = ask("status")
    assert answer.status == 503
    assert answer.json == {"error": "The studio's database doesn't answer.", "hint": ""}
