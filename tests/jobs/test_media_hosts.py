"""From where an image may be fetched, and how an administrator adds a host."""

from __future__ import annotations

from pathlib import Path

import pytest
from mai_image.mai.errors import ProfileError
from mai_image.mai.profiles import Profiles, allowed_media_url

GOOD = "https://media.pixazo.ai/a/b.png?sig=x%2Fy"


@pytest.mark.parametrize(
    "url", [GOOD, "https://pub-582b7213209642b9b995c96c95a30381.r2.dev/x/y.png"]
)
def test_pixazos_own_hosts_are_allowed(url: str) -> None:
    assert allowed_media_url(url, (), loopback=False) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://media.pixazo.ai/a.png",
        "https://media.pixazo.ai:8443/a.png",
        "https://user:word@media.pixazo.ai/a.png",
        "https://media.pixazo.ai@evil.example/a.png",
        "https://media.pixazo.ai.evil.example/a.png",
        "https://evilpixazo.ai/a.png",
        "https://evil.example/media.pixazo.ai",
        "https://evil.example\\@media.pixazo.ai/a.png",
        "https://pub-0000000000000000000000000000000.r2.dev/a.png",
        "https://r2.dev/a.png",
        "https://127.0.0.1/a.png",
        "http://127.0.0.1/a.png",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "ftp://media.pixazo.ai/a",
        "https://media.pixazo.ai/a#b",
        "https://media.pixazo.ai/a b",
        "https://média.pixazo.ai/a",
        "",
        "x" * 10_000,
    ],
)
def test_every_other_address_is_refused(url: str) -> None:
    assert allowed_media_url(url, (), loopback=False) is None


def test_this_machine_is_allowed_only_where_the_endpoint_is_on_it_too() -> None:
    url = "http://127.0.0.1:8190/media/a.png"
    assert allowed_media_url(url, (), loopback=True) == url
    assert allowed_media_url(url, (), loopback=False) is None
    assert allowed_media_url("http://10.0.0.1/a.png", (), loopback=True) is None


def test_a_listed_host_and_the_hosts_below_a_listed_name_are_allowed_over_https() -> None:
    extra = ("cdn.example.com", "*.example.net")
    for url in ("https://cdn.example.com/a", "https://a.b.example.net/a"):
        assert allowed_media_url(url, extra, loopback=False) == url
    for url in (
        "https://a.cdn.example.com/a",
        "https://example.net/a",
        "https://xexample.net/a",
        "http://cdn.example.com/a",
    ):
        assert allowed_media_url(url, extra, loopback=False) is None


def read(tmp_path: Path, line: str, service: str = "pixazo") -> Profiles:
    endpoint = '\nendpoint = "https://r.services.ai.azure.com"' if service == "foundry" else ""
    (tmp_path / "profiles.toml").write_text(
        f'[profiles.p]\nservice = "{service}"{endpoint}\n'
        f'credential = {{ kind = "key_env", name = "KEY" }}\n{line}\n',
        encoding="utf-8",
    )
    return Profiles(tmp_path, {})


def test_a_pixazo_profile_takes_media_hosts_and_waits_longer(tmp_path: Path) -> None:
    profile = read(tmp_path, 'media_hosts = ["cdn.example.com", "*.example.net"]').get("p")
    assert profile.media_hosts == ("cdn.example.com", "*.example.net")
    assert (profile.endpoint, profile.timeout) == ("https://gateway.pixazo.ai", 600.0)
    assert read(tmp_path, "timeout = 30").get("p").timeout == 30.0


@pytest.mark.parametrize(
    "value",
    [
        '["https://cdn.example.com"]',
        '["*"]',
        '["*.com"]',
        '["CDN.example.com"]',
        "[5]",
        "7",
        '[""]',
    ],
)
def test_a_media_host_of_another_form_is_a_mistake_with_its_line(
    tmp_path: Path, value: str
) -> None:
    with pytest.raises(ProfileError, match="line 4: media_hosts must be a list of host names"):
        read(tmp_path, f"media_hosts = {value}").get("p")


def test_media_hosts_are_for_pixazo_only(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match='belongs to service "pixazo"'):
        read(tmp_path, 'media_hosts = ["a.example"]', "foundry").get("p")
