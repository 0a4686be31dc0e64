"""Answers of a resource manager that is broken or hostile: nothing hangs, leaks or is believed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure_login import ARM_TOKEN, log_in
from mai_image.cli import main
from mai_image.mai.auth import KeyCredential, Secret
from mai_image.mai.profiles import Profiles
from scripted_manager import ACCOUNT, ENDPOINT, GOOD, ID, Manager
from scripted_server import Connection

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the program az is a script here")

ODD: list[object] = [None, True, -1.5, "x" * 5000, [], {"a": [None]}, "\x1b[31m\n../..😀"]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    log_in(tmp_path, monkeypatch, None)
    manager = Manager()
    yield manager
    manager.server.close()


@pytest.fixture
def run(manager: Manager, tmp_path: Path) -> Callable[..., int]:
    where = ["--folder", str(tmp_path / "data"), "--resource-manager", manager.server.url]
    return lambda *words: main(["init", *where, "--azure", "--yes", *words])


def test_requests_in_ten_seconds_become_requests_a_minute(run, tmp_path) -> None:
    assert run() == 0
    profile = Profiles(tmp_path / "data", {}).get("default")
    assert (profile.requests_a_minute, profile.endpoint) == (6, ENDPOINT)


def change(value: object, path: list[object], odd: object) -> object:
    """A copy of a JSON value with another one at a place."""
    if not path:
        return odd
    first, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)  # type: ignore[call-overload]
    copy[first] = change(copy[first], rest, odd)
    return copy


def places(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@pytest.mark.parametrize("part", GOOD)
def test_a_value_of_a_wrong_type_is_a_sentence_or_left_out(
    run, manager, part, capsys, monkeypatch
) -> None:
    token = KeyCredential(lambda: Secret("a-token"), "a test")  # starting az takes too long here
    monkeypatch.setattr(Profiles, "sign_in", lambda *_: token)
    for place in places(GOOD[part]):
        for odd in ODD:
            manager.answers[part] = change(GOOD[part], list(place), odd)
            assert run("--force") in (0, 1)
            captured = capsys.readouterr()
            shown = captured.out + captured.err
            assert "Traceback" not in shown
            assert "\x1b" not in shown
            assert len(shown) < 8000


LOOPS = {
    "the same page": lambda url: f"{url}/subscriptions?api-version=2022-12-01",
    "another host": lambda url: "https://evil.example/subscriptions",
    "another port": lambda url: "http://127.0.0.1:1/subscriptions",
    "https": lambda url: url.replace("http:", "https:") + "/subscriptions",
    "a login": lambda url: url.replace("//", "//user@") + "/subscriptions",
    "a longer host": lambda url: f"{url}.evil.example/subscriptions",
    "no address": lambda url: "javascript:alert(1)",
    "a relative one": lambda url: "//evil.example/subscriptions",
    "a backslash": lambda url: url + "\\@evil.example/",
    "a number": lambda url: 7,
    "a list": lambda url: [url],
}


@pytest.mark.parametrize("link", LOOPS.values(), ids=LOOPS.keys())
def test_a_next_page_that_leads_elsewhere_or_nowhere_is_refused(run, manager, link, capsys):
    page = {**GOOD["subscriptions"], "nextLink": link(manager.server.url)}  # type: ignore[dict-item]
    manager.answers["subscriptions"] = page
    assert run() == 1
    said = capsys.readouterr().err
    assert "leads to another host" in said or "has no end" in said
    assert len(manager.paths) == 1


def test_pages_that_lead_on_for_ever_end(run, manager, capsys) -> None:
    def behave(connection: Connection) -> None:
        link = f"{manager.server.url}/subscriptions?page={len(manager.paths)}"
        connection.answer(200, json.dumps({"value": [], "nextLink": link}).encode())

    manager.raw["subscriptions"] = behave
    assert run() == 1
    assert "has no end" in capsys.readouterr().err
    assert len(manager.paths) <= 200


BODIES = {
    "nothing": b"",
    "no JSON": b"<html>proxy</html>",
    "deep": b'{"value":' + b"[" * 100_000,
    "many": b'{"value":[' + b"{}," * 300_000 + b"{}]}",
    "large": b'{"value":[],"x":"' + b"y" * (9 * 2**20) + b'"}',
    "a list": b"[]",
    "a huge number": b'{"value":' + b"9" * 100_000 + b"}",
    "odd bytes": b"\xff\xfe\x00{",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_isnt_a_list_is_a_sentence(run, manager, body, capsys) -> None:
    manager.raw["subscriptions"] = lambda connection: connection.answer(200, body)
    assert run() == 1
    assert "The answer of Azure's resource manager" in capsys.readouterr().err


def test_a_redirect_isnt_followed(run, manager, capsys) -> None:
    manager.raw["subscriptions"] = lambda connection: connection.answer(
        302, b"", {"location": f"{manager.server.url}/elsewhere"}
    )
    assert run() == 1
    assert len(manager.paths) == 1


def test_a_token_that_comes_back_is_never_shown(run, manager, capsys, caplog) -> None:
    caplog.set_level("DEBUG")
    error = {"error": {"code": ARM_TOKEN, "message": f"bad token {ARM_TOKEN} \x1b[2J"}}
    body = json.dumps(error).encode()
    manager.raw["subscriptions"] = lambda connection: connection.answer(403, body)
    assert run() == 1
    captured = capsys.readouterr()
    assert manager.tokens == [f"Bearer {ARM_TOKEN}"]
    assert ARM_TOKEN not in captured.out + captured.err + caplog.text
    assert "\x1b" not in captured.err


def test_a_short_wait_is_kept_and_then_asked_again(run, manager) -> None:
    def behave(connection: Connection) -> None:
        del manager.raw["subscriptions"]
        connection.answer(429, b"{}", {"retry-after": "0"})

    manager.raw["subscriptions"] = behave
    assert run() == 0


def test_a_connection_that_ends_is_a_sentence(run, manager, capsys) -> None:
    manager.raw["accounts"] = lambda connection: connection.hang_up()
    assert run() == 1
    assert "gave no usable answer" in capsys.readouterr().err
    manager.server.close()
    assert run() == 1
    assert "No connection to" in capsys.readouterr().err


HOSTILE_NAMES = ["x; touch hacked", "$(touch hacked)", "`touch hacked`", "a'b", 'a"b', "-rf"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_name_can_break_out_of_a_command_to_copy(run, manager, name, capsys) -> None:
    group = name.replace(" ", "_")
    account = ACCOUNT.replace("/g/", f"/{group}/")
    item = {**GOOD["accounts"]["value"][0], "id": account}  # type: ignore[index]
    manager.answers["accounts"] = {"value": [item]}
    manager.answers["deployments"] = {"value": []}
    model = {"format": "Microsoft", "name": "MAI-Image-2.7", "version": name}
    manager.answers["models"] = {"value": [model]}
    assert run() == 1
    said = capsys.readouterr().err
    for text in (group, name):
        if text != "-rf":
            assert f" {text} " not in said


def test_an_endpoint_on_this_machine_is_believed_of_this_machine_alone() -> None:
    from mai_image.cli.azure_items import Subscription, read_resource

    item = {**GOOD["accounts"]["value"][0]}  # type: ignore[index]
    item["properties"] = {"endpoint": "http://127.0.0.1:80/"}
    subscription = Subscription(ID, "S", "t")
    far = read_resource(item, subscription, loopback=False)
    near = read_resource(item, subscription, loopback=True)
    assert far is not None
    assert near is not None
    assert (far.endpoint, near.endpoint) == ("", "http://127.0.0.1")
