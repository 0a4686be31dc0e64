"""`mai-image init --azure` through a proxy with a login and a private CA, and then the profile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure_login import ARM_TOKEN, log_in
from between import Between, basic
from mai_image import emulator
from mai_image.cli import main
from mai_image.emulator.azure_account import SUBSCRIPTION
from private_authority import Authority

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the program az is a script here")

PASSWORD = "canary-password-0123456789"


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """All of the internet is the emulator, behind a proxy with a login and a private CA."""
    authority = Authority(tmp_path)
    wants = {"Proxy-Authorization": basic("user", PASSWORD)}
    with emulator.start(options=emulator.Options(rpm=6)) as service:
        log_in(tmp_path, monkeypatch, service)
        found = service.azure.subscriptions[SUBSCRIPTION].resources["emulator"]
        found.endpoint = ""
        host = {"Host": f"127.0.0.1:{service.port}"}
        with (
            Between(service.port, tls=authority.server_context(), adds=host) as there,
            Between(int(there.host.rpartition(":")[2]), wants=wants) as proxy,
        ):
            monkeypatch.setenv("TEST_PROXY", proxy.url.replace("//", f"//user:{PASSWORD}@"))
            monkeypatch.setenv("TEST_CA", str(authority.path))
            yield proxy


ENDPOINT = ["--endpoint", "https://studio.services.ai.azure.com"]
"""The emulator says that it is on this machine, which isn't believed of a far resource manager."""


def test_everything_goes_through_the_proxy_that_init_is_given(
    proxy, tmp_path, monkeypatch, capsys
) -> None:
    async def known(host: str) -> str:
        return "192.0.2.1"

    monkeypatch.setattr("mai_image.mai.examination.resolve", known)
    folder = ["--folder", str(tmp_path / "data")]
    words = ["--proxy", os.environ["TEST_PROXY"], "--ca-file", os.environ["TEST_CA"]]
    assert main(["init", *folder, "--azure", *words, *ENDPOINT]) == 0
    assert main(["doctor", *folder]) == 0
    assert {line.split()[1] for line in proxy.seen} == {
        "management.azure.com:443",
        "studio.services.ai.azure.com:443",
    }
    captured = capsys.readouterr()
    for secret in (PASSWORD, ARM_TOKEN):
        assert secret not in captured.out + captured.err
    assert "account: not compared" in captured.out  # its resource has another endpoint


def test_the_environments_proxy_and_authorities_are_taken_too(proxy, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", os.environ["TEST_PROXY"])
    monkeypatch.setenv("SSL_CERT_FILE", os.environ["TEST_CA"])
    assert main(["init", "--folder", str(tmp_path / "data"), "--azure", *ENDPOINT]) == 0
    assert set(proxy.seen) == {"CONNECT management.azure.com:443"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SSL_CERT_FILE", "/nowhere.pem", "SSL_CERT_FILE names no file"),
        ("HTTPS_PROXY", "http://user:canary@h:port", "HTTPS_PROXY isn't the address"),
    ],
)
def test_a_setting_of_the_network_that_cant_be_used_is_named(
    proxy, tmp_path, monkeypatch, capsys, name, value, said
) -> None:
    monkeypatch.setenv(name, value)
    assert main(["init", "--folder", str(tmp_path / "data"), "--azure"]) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert "canary" not in shown
    assert proxy.seen == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ca-file", "/nowhere.pem"], "its ca_file names no file"),
        (["--client-certificate", "/nowhere.pem"], "its client_certificate names no file"),
        (["--proxy", "ftp://user:canary@h"], "its proxy isn't the address of a proxy"),
    ],
)
def test_an_option_of_the_network_that_cant_be_used_is_named(
    proxy, tmp_path, capsys, words, said
) -> None:
    assert main(["init", "--folder", str(tmp_path / "data"), "--azure", *words]) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert "canary" not in shown
    assert not (tmp_path / "data" / "profiles.toml").exists()
