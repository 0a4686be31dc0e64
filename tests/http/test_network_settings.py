"""Proxies and certificate files that can't be used: said before anything is sent."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image.mai.auth import Headers, KeyCredential, Secret
from mai_image.mai.errors import Billed, ConfigurationError
from mai_image.mai.http import HttpAnswer, HttpRequest, NotSentError, Transport
from mai_image.mai.profiles import Profile
from scripted_server import Scripted

PASSWORD = "canary-password-0123456789"
FAR = "https://r.services.ai.azure.com"
NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
VARIABLES = (
    *NAMES, *(name.lower() for name in NAMES),
    "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("_clean")


@pytest.fixture
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "socksio", None)  # as where the package isn't installed


@pytest.fixture
def server() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.close()


def profile(endpoint: str = FAR) -> Profile:
    key = KeyCredential(lambda: Secret("canary-key-0123456789"), "a test")
    return Profile("test", "foundry", endpoint, key, timeout=5.0, connect_timeout=1.0)


def exchange(to: Profile) -> HttpAnswer:
    async def run() -> HttpAnswer:
        transport = Transport()
        try:
            headers = Headers(await to.credential.headers())
            request = HttpRequest("POST", f"{to.endpoint}/x", json={})
            return await transport.exchange(request, headers, to)
        finally:
            await transport.close()

    return asyncio.run(run())


def refused(to: Profile) -> ConfigurationError:
    """The error of both ways to find out, which say the same."""
    with pytest.raises(ConfigurationError) as prepared:
        Transport().prepare(to)
    with pytest.raises(ConfigurationError) as exchanged:
        exchange(to)
    assert str(prepared.value) == str(exchanged.value)
    error = prepared.value
    assert error.billed is Billed.NO
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


ODD_PROXIES = {
    "socks without its package": f"socks5://user:{PASSWORD}@127.0.0.1:1080",
    "a scheme of no proxy": f"ftp://user:{PASSWORD}@127.0.0.1:1080",
    "an old kind of socks": f"socks4://user:{PASSWORD}@127.0.0.1:1080",
    "a port of letters": f"http://user:{PASSWORD}@127.0.0.1:port",
    "a password with a slash": f"http://user:{PASSWORD}/x@127.0.0.1:8080",
    "half an address in brackets": f"http://user:{PASSWORD}@[::1",
    "a control character": f"http://user:{PASSWORD}@127.0.0.1\t:8080",
}


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("value", ODD_PROXIES.values(), ids=ODD_PROXIES.keys())
def test_a_proxy_that_cant_be_used_is_named_without_its_password(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    error = refused(profile())
    assert name in error.what
    assert "NO_PROXY" not in error.what
    assert PASSWORD not in str(error)
    assert "unset it" in error.hint


def test_a_socks_proxy_names_the_package_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5h://127.0.0.1:1080")
    assert "pip install httpx[socks]" in refused(profile()).what


@pytest.mark.parametrize("host", ["[::1", "[::1]", "a.example:b"])
def test_a_host_of_no_proxy_that_cant_be_read_is_named(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", f"localhost,{host}")
    assert "no_proxy" in refused(profile()).what


@pytest.mark.parametrize("port", ["99999", "0"])
def test_a_port_that_no_socket_takes_never_ends_in_a_raw_error(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{port}")
    with pytest.raises((ConfigurationError, NotSentError)) as caught:
        exchange(profile())
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"])
def test_a_certificate_file_or_folder_that_isnt_there_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "gone" / "x.pem"))
    assert name in refused(profile()).what


@pytest.mark.parametrize("content", [b"", b"not a certificate", b"\0" * 99])
def test_a_file_without_certificates_is_named(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.pem").write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "x.pem"))
    assert "SSL_CERT_FILE" in refused(profile()).what
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path))
    assert "SSL_CERT_FILE" in refused(profile()).what


def test_settings_that_can_be_used_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:8080")
    monkeypatch.setenv("NO_PROXY", "localhost,.example,::1,10.0.0.0/8,127.0.0.1")
    transport = Transport()
    transport.prepare(profile())
    asyncio.run(transport.close())


def test_this_machine_is_called_whatever_the_proxies_are(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    assert exchange(profile(server.url)).status == 200


def test_an_error_names_no_host_of_the_profile(server: Scripted) -> None:
    endpoint = "https://nowhere-canary.invalid"
    with pytest.raises(NotSentError) as caught:
        exchange(dataclasses.replace(profile(endpoint), connect_timeout=2.0))
    assert "canary" not in str(caught.value)
