"""A deployment that `mai-image init --create` makes: Azure takes its time, or says no."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure_login import ARM_TOKEN, log_in
from mai_image.cli import main, resource_manager
from mai_image.mai.profiles import Profiles
from scripted_manager import ID, Manager
from scripted_server import Connection, ReceivedRequest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the program az is a script here")

MODEL = {"format": "Microsoft", "name": "MAI-Image-2.7", "version": "2026-11-17"}
OPERATION = f"/subscriptions/{ID}/operations/1?api-version=2024-10-01"

Answer = tuple[int, object]


def deployment(state: str, model: str = "MAI-Image-2.7") -> dict[str, object]:
    """The deployment as Azure shows it."""
    about = {**MODEL, "name": model}
    return {"name": model, "properties": {"model": about, "provisioningState": state}}


def error(code: str, message: str = "said so") -> dict[str, object]:
    """Azure's envelope of an error."""
    return {"error": {"code": code, "message": message}}


NOT_YET: Answer = (404, error("ResourceNotFound"))
READY: Answer = (200, deployment("Succeeded"))


class Maker(Manager):
    """A resource without deployments. `put` answers the order, with `headers`; `looks` and
    `operation` answer one after another, the last one for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.answers["deployments"] = {"value": []}
        self.answers["models"] = {"value": [MODEL]}
        self.put: Answer = (201, deployment("Creating"))
        self.headers: dict[str, str] = {}
        self.looks: list[Answer] = [READY]
        self.operation: list[Answer] = []
        self.orders = 0

    def behave(self, connection: Connection, request: ReceivedRequest) -> None:
        if request.method == "PUT":
            self.orders += 1
            self._say(connection, [self.put], self.headers)
        elif request.path == OPERATION:
            self._say(connection, self.operation)
        elif "/deployments/" in request.path:
            self._say(connection, self.looks if self.orders else [NOT_YET])
        else:
            super().behave(connection, request)
            return
        self.tokens.append(request.headers.get("authorization", ""))

    def _say(
        self, connection: Connection, answers: list[Answer], headers: dict[str, str] | None = None
    ) -> None:
        status, value = answers.pop(0) if len(answers) > 1 else answers[0]
        connection.answer(status, b"" if value is None else json.dumps(value).encode(), headers)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    log_in(tmp_path, monkeypatch, None)
    monkeypatch.setattr(resource_manager, "POLL_SECONDS", 0.01)
    manager = Maker()
    yield manager
    manager.server.close()


@pytest.fixture
def run(manager: Maker, tmp_path: Path) -> Callable[..., int]:
    where = ["--folder", str(tmp_path / "data"), "--resource-manager", manager.server.url]
    return lambda *words: main(["init", *where, "--azure", "--yes", *words])


SLOW: dict[str, tuple[Answer, list[Answer]]] = {
    "not listed at first": ((201, deployment("Creating")), [NOT_YET, NOT_YET, READY]),
    "accepted without a word": ((202, None), [NOT_YET, READY]),
    "accepted with null": ((202, "null"), [READY]),
    "a moment of failure": ((201, deployment("Creating")), [(500, {}), (503, None), READY]),
    "too many requests": ((201, deployment("Creating")), [(429, error("TooManyRequests")), READY]),
}


@pytest.mark.parametrize("case", SLOW.values(), ids=SLOW.keys())
def test_a_deployment_that_takes_its_time_is_waited_for(run, manager, tmp_path, case) -> None:
    manager.put, manager.looks = case
    assert run("--create", "2.7") == 0
    assert manager.orders == 1
    made = Profiles(tmp_path / "data", {}).get("default")
    assert made.deployments == {"MAI-Image-2.7": ("MAI-Image-2.7",)}


@pytest.mark.parametrize("header", ["azure-asyncoperation", "location"])
def test_why_an_operation_failed_is_said(run, manager, capsys, header) -> None:
    manager.headers = {header: manager.server.url + OPERATION}
    failed = {"status": "Failed", **error("InsufficientQuota", "1 is more than 0")}
    manager.operation = [(202, None), (200, {"status": "Running"}), (200, failed)]
    manager.looks = [NOT_YET]
    assert run("--create", "2.7") == 1
    said = capsys.readouterr().err
    assert "The quota for this model is used up" in said
    assert "1 is more than 0" in said


def test_the_address_of_an_operation_elsewhere_gets_no_token(run, manager) -> None:
    elsewhere = Manager()
    manager.headers = {"azure-asyncoperation": elsewhere.server.url + OPERATION}
    assert run("--create", "2.7") == 0
    assert elsewhere.paths == []
    assert set(manager.tokens) == {f"Bearer {ARM_TOKEN}"}
    elsewhere.server.close()


REFUSED: dict[str, tuple[Answer, str]] = {
    "another change": ((409, error("RequestConflict")), "Wait a minute"),
    "a lock": ((409, error("ScopeLocked")), "az lock list"),
    "a policy": ((403, error("RequestDisallowedByPolicy")), "policies"),
    "no role": ((403, error("AuthorizationFailed")), "Cognitive Services Contributor"),
    "no quota": ((409, error("QuotaExceeded")), "az cognitiveservices usage list"),
    "a failure": ((500, error("InternalServerError")), "Wait a minute"),
    "a failed one": ((201, deployment("Failed")), "deployment delete"),
    "a disabled one": ((201, deployment("Disabled")), "deployment delete"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_says_what_to_do(run, manager, tmp_path, capsys, case) -> None:
    manager.put, said = case
    manager.looks = [manager.put if manager.put[0] == 201 else NOT_YET]
    assert run("--create", "2.7") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "data" / "profiles.toml").exists()


@pytest.mark.parametrize("words", [[], ["--create", "2.7"]])
def test_one_that_is_being_made_is_waited_for_and_not_made_again(run, manager, words) -> None:
    manager.answers["deployments"] = {"value": [deployment("Creating")]}
    manager.orders = 1  # by an earlier run
    assert run(*words) == 0
    assert manager.orders == 1


@pytest.mark.parametrize(
    ("model", "said"), [("MAI-Image-2.5", "retired"), ("MAI-Image-9", "not in this version's")]
)
def test_a_deployment_that_answers_no_more_or_isnt_known_makes_no_profile(
    run, manager, tmp_path, capsys, model, said
) -> None:
    manager.answers["deployments"] = {"value": [deployment("Succeeded", model)]}
    assert run() == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert "--create MAI-Image-2.7" in shown
    assert run("--create", "2.7") == 0
    profile = Profiles(tmp_path / "data", {}).get("default")
    assert profile.deployments["MAI-Image-2.7"] == ("MAI-Image-2.7",)
