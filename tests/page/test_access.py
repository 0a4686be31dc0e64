"""Who gets answers about money and images, and who gets a sentence instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_helpers import Ask

PRIVATE = ("status", "images", f"images/{'0' * 64}", f"images/{'0' * 64}/thumbnail")


def allow(folder: Path, settings: str) -> None:
    with (folder / "profiles.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[page]\n{settings}\n")


@pytest.mark.parametrize("listen", ["127.0.0.1", "localhost", "::1", "127.0.0.1,::1"])
def test_the_user_of_this_machine_gets_answers(listen: str, ask: Ask) -> None:
    assert ask("status", listen=listen).status == 200
    assert ask("status", listen=listen, headers={"Host": "localhost:8188"}).status == 200


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize("listen", ["0.0.0.0", "0.0.0.0,::", "127.0.0.1,192.168.1.5", "comfy.lan"])
def test_all_of_it_is_off_when_comfyui_listens_beyond_loopback(
    path: str, listen: str, ask: Ask
) -> None:
    answer = ask(path, listen=listen)
    assert answer.status == 403
    assert "allow_remote = true" in str(answer.json["error"])


def test_the_administrator_can_allow_a_network(ask: Ask, folder: Path) -> None:
    allow(folder, "allow_remote = true")
    answer = ask("status", listen="0.0.0.0", headers={"Host": "comfy.lan:8188"})
    assert answer.status == 200


def test_a_mistake_in_the_file_allows_nothing(ask: Ask, folder: Path) -> None:
    allow(folder, "allow_remote = true\nallow_everything = 1\n[page]")
    assert ask("status", listen="0.0.0.0").status == 403


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8188", "127.0.0.1.evil.example"])
def test_a_name_that_was_led_to_this_machine_gets_nothing(path: str, host: str, ask: Ask) -> None:
    """DNS rebinding: the browser believes that the page of that site is asking its own server."""
    assert ask(path, headers={"Host": host}).status == 403


@pytest.mark.parametrize("allowed", ["", "allow_remote = true"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
    ],
)
def test_a_page_of_another_site_gets_nothing(
    headers: dict[str, str], allowed: str, ask: Ask, folder: Path
) -> None:
    allow(folder, allowed)
    assert ask("status", headers={"Host": "127.0.0.1:8188", **headers}).status == 403


def test_the_own_page_gets_answers(ask: Ask) -> None:
    headers = {
        "Host": "127.0.0.1:8188",
        "Origin": "http://127.0.0.1:8188",
        "Sec-Fetch-Site": "same-origin",
    }
    assert ask("status", headers=headers).status == 200


def test_what_comes_through_a_proxy_counts_as_from_outside(ask: Ask) -> None:
    assert ask("status", headers={"X-Forwarded-For": "203.0.113.9"}).status == 403


def test_no_private_route_has_another_method_or_an_odd_key(ask: Ask) -> None:
    for key in ("..%2f..%2fledger.sqlite", "A" * 64, "0" * 63, "0" * 65):
        assert ask(f"images/{key}").status == 404
