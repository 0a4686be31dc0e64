"""Who gets answers about money and images, and who gets a sentence instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_helpers import Ask

PRIVATE = (
    "accounts",
    "status",
    "checks",
    "images",
    "images?words=x",
    f"images/{'0' * 64}",
    f"images/{'0' * 64}/thumbnail",
)


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
    assert "[page] hosts = " in str(answer.json["error"])
    assert "allow_remote = true" in str(answer.json["error"])


HOSTS = 'hosts = ["Studio.lan:8188", "192.168.1.5", "proxy.lan:443", "[fe80::1]:8188"]'


@pytest.mark.parametrize("listen", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("studio.lan:8188", 200),
        ("STUDIO.LAN:8188", 200),
        ("studio.lan:8189", 403),
        ("studio.lan", 403),
        ("192.168.1.5:8188", 200),
        ("192.168.1.5", 200),
        ("192.168.1.6", 403),
        ("proxy.lan", 200),
        ("proxy.lan:443", 200),
        ("proxy.lan:8188", 403),
        ("[fe80::1]:8188", 200),
        ("[fe80::2]:8188", 403),
        ("127.0.0.1:8188", 200),
        ("evil.example:8188", 403),
        ("studio.lan.evil.example:8188", 403),
        ("evil@studio.lan:8188", 403),
        ("studio.lan:8188@evil.example", 403),
        ("studio.lan:8188/", 403),
        ("", 403),
    ],
)
def test_hosts_names_by_what_the_page_may_be_called(
    listen: str, host: str, status: int, ask: Ask, folder: Path
) -> None:
    allow(folder, HOSTS)
    assert ask("status", listen=listen, headers={"Host": host}).status == status


@pytest.mark.parametrize("listen", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("192.168.1.5:8188", 200),
        ("[fe80::1]:8188", 200),
        ("127.0.0.1:8188", 200),
        ("comfy.lan:8188", 403),
        ("evil.example:8188", 403),
        ("192.168.1.5.evil.example", 403),
        ("3232235781:8188", 403),
        ("0x7f.1:8188", 403),
    ],
)
def test_allow_remote_means_addresses_in_numbers_alone(
    listen: str, host: str, status: int, ask: Ask, folder: Path
) -> None:
    """A name can be led here by the site that owns it; an address can't."""
    allow(folder, "allow_remote = true")
    assert ask("status", listen=listen, headers={"Host": host}).status == status


@pytest.mark.parametrize("settings", ["", "allow_remote = true", HOSTS])
@pytest.mark.parametrize(
    "mark",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-Proto": "https"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"X-Real-IP": "203.0.113.9"},
        {"Connection": "upgrade"},
        {"Connection": "close", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"},
    ],
)
def test_loopback_is_no_proof_of_what_came_through_a_proxy(
    mark: dict[str, str], settings: str, ask: Ask, folder: Path
) -> None:
    allow(folder, settings)
    assert ask("status", headers={"Host": "127.0.0.1:8188", **mark}).status == 403
    named = ask("status", headers={"Host": "studio.lan:8188", **mark}).status
    assert named == (200 if settings == HOSTS else 403)


@pytest.mark.parametrize("name", ["Origin", "Referer"])
def test_a_page_whose_address_the_proxy_hides_from_host_gets_nothing(
    name: str, ask: Ask, folder: Path
) -> None:
    allow(folder, HOSTS)
    for page in ("http://studio.lan:8188", "http://evil.example", "http://127.0.0.1:8188/"):
        answer = ask("status", headers={"Host": "127.0.0.1:8188", name: page})
        assert answer.status == (200 if "127.0.0.1" in page else 403)


def test_a_page_on_a_standard_port_is_the_same_with_and_without_it(ask: Ask, folder: Path) -> None:
    allow(folder, HOSTS)
    for host in ("proxy.lan", "proxy.lan:443"):
        for page in ("https://proxy.lan", "https://proxy.lan:443/?x=1"):
            assert ask("status", headers={"Host": host, "Referer": page}).status == 200
    assert (
        ask("status", headers={"Host": "proxy.lan:443", "Origin": "http://proxy.lan"}).status == 403
    )


def test_a_mistake_in_the_file_allows_nothing(ask: Ask, folder: Path) -> None:
    allow(folder, "allow_remote = true\nallow_everything = 1\n[page]")
    assert ask("status", listen="0.0.0.0").status == 403


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8188", "127.0.0.1.evil.example"])
def test_a_name_that_was_led_to_this_machine_gets_nothing(path: str, host: str, ask: Ask) -> None:
    """DNS rebinding: the browser believes that the page of that site is asking its own server."""
    assert ask(path, headers={"Host": host}).status == 403


@pytest.mark.parametrize("allowed", ["", "allow_remote = true", 'hosts = ["127.0.0.1:8188"]'])
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
