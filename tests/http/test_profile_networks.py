"""A profile's own proxy, authorities and client certificate, and the environment's: the emulator
behind a proxy with a login, a gateway that wants a header, a private CA, and mTLS."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from between import Between, basic
from mai_image import emulator
from mai_image.cli import main
from mai_image.emulator import Emulator
from private_authority import Authority

PASSWORD = "canary-password-0123456789"
FAR = "https://studio.services.ai.azure.com"
VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")

EXIT_NAME, EXIT_CONNECTION, EXIT_AUTHENTICATION, EXIT_PROFILE = 5, 6, 7, 3

pytestmark = pytest.mark.usefixtures("_clean", "_no_dns")


@pytest.fixture
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def _no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy a name needn't be known here; doctor asks for it all the same."""

    async def known(host: str) -> str:
        return "192.0.2.1"

    monkeypatch.setattr("mai_image.mai.examination.resolve", known)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "A stranger")


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    with emulator.start() as service:
        yield service


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Examines a profile with these settings: its exit code and what it said."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)

    def examine(endpoint: str, *settings: str) -> tuple[int, str]:
        lines = [
            "[profiles.p]",
            f'endpoint = "{endpoint}"',
            'deployments = "MAI-Image-2.7"',
            "connect_timeout = 5",
            *settings,
        ]
        if not any(line.startswith("credential") for line in settings):
            lines.append('credential = { kind = "key", value = "emulator" }')
        (folder / "profiles.toml").write_text("\n".join(lines), encoding="utf-8")
        code = main(["doctor", "--folder", str(folder)])
        captured = capsys.readouterr()
        said = captured.out + captured.err
        assert PASSWORD not in said
        return code, said

    return examine


@contextlib.contextmanager
def gateway(service: Emulator, authority: Authority, **options: bool) -> Iterator[Between]:
    """The emulator behind https with a certificate of the private CA."""
    with Between(service.port, tls=authority.server_context(**options)) as found:
        found.adds["Host"] = f"127.0.0.1:{service.port}"
        yield found


def test_an_authority_of_ones_own_is_trusted_where_the_profile_names_it(
    doctor, service, authority, stranger
) -> None:
    with gateway(service, authority) as private:
        code, said = doctor(private.url)
        assert (code, "the certificate isn't trusted" in said) == (EXIT_CONNECTION, True)
        assert doctor(private.url, f'ca_file = "{stranger.path}"')[0] == EXIT_CONNECTION
        assert doctor(private.url, f'ca_file = "{authority.path}"')[0] == 0


def test_ssl_cert_file_is_read_too(doctor, service, authority, monkeypatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    with gateway(service, authority) as private:
        assert doctor(private.url)[0] == 0


def test_a_path_begins_at_the_files_folder(doctor, service, authority, tmp_path) -> None:
    (tmp_path / "data" / "ca.pem").write_bytes(authority.path.read_bytes())
    with gateway(service, authority) as private:
        assert doctor(private.url, 'ca_file = "ca.pem"')[0] == 0


def test_a_server_that_demands_a_certificate_gets_the_profiles(
    doctor, service, authority, stranger
) -> None:
    trusted = f'ca_file = "{authority.path}"'
    with gateway(service, authority, demands_client=True) as private:
        assert doctor(private.url, trusted)[0] == EXIT_CONNECTION
        other = f'client_certificate = "{stranger.client}"'
        assert doctor(private.url, trusted, other)[0] == EXIT_CONNECTION
        own = f'client_certificate = "{authority.client}"'
        assert doctor(private.url, trusted, own)[0] == 0


def test_a_gateway_that_wants_a_header_puts_the_services_key_in_its_place(doctor, service) -> None:
    """As API Management does."""
    wants = {"Ocp-Apim-Subscription-Key": "subscription-1"}
    adds = {"api-key": "emulator", "Host": f"127.0.0.1:{service.port}"}
    with Between(service.port, wants=wants, adds=adds) as management:
        key = 'credential = { kind = "key", value = "subscription-1" }'
        header = 'header = "Ocp-Apim-Subscription-Key"'
        assert doctor(management.url, key)[0] == EXIT_AUTHENTICATION
        assert doctor(management.url, key, header)[0] == 0


@contextlib.contextmanager
def proxied(service: Emulator, authority: Authority) -> Iterator[tuple[Between, Between]]:
    """A proxy that wants a login; whatever it is asked for, it leads to the emulator by https."""
    wants = {"Proxy-Authorization": basic("user", PASSWORD)}
    with (
        gateway(service, authority) as there,
        Between(int(there.host.rpartition(":")[2]), wants=wants) as proxy,
    ):
        yield proxy, there


def test_a_profiles_proxy_is_gone_through_with_its_login(doctor, service, authority) -> None:
    trusted = f'ca_file = "{authority.path}"'
    with proxied(service, authority) as (proxy, _):
        code, said = doctor(FAR, trusted, f'proxy = "{proxy.url}"')
        assert (code, "the proxy makes no connection (HTTP 407)" in said) == (EXIT_CONNECTION, True)
        login = proxy.url.replace("//", f"//user:{PASSWORD}@")
        assert doctor(FAR, trusted, f'proxy = "{login}"')[0] == 0
        assert set(proxy.seen) == {"CONNECT studio.services.ai.azure.com:443"}


def test_a_name_that_the_proxy_alone_knows_is_left_to_it(
    doctor, service, authority, monkeypatch
) -> None:
    async def unknown(host: str) -> str:
        raise OSError("Name or service not known")

    monkeypatch.setattr("mai_image.mai.examination.resolve", unknown)
    trusted = f'ca_file = "{authority.path}"'
    assert doctor(FAR, trusted)[0] == EXIT_NAME
    with proxied(service, authority) as (proxy, _):
        login = proxy.url.replace("//", f"//user:{PASSWORD}@")
        code, said = doctor(FAR, trusted, f'proxy = "{login}"')
        assert (code, "the proxy may know it" in said) == (0, True)
        monkeypatch.setenv("HTTPS_PROXY", login)
        assert doctor(FAR, trusted)[0] == 0
        assert doctor(FAR, trusted, 'proxy = "none"')[0] == EXIT_NAME


def test_the_environments_proxy_is_gone_through_unless_the_profile_says_none(
    doctor, service, authority, monkeypatch
) -> None:
    trusted = f'ca_file = "{authority.path}"'
    with proxied(service, authority) as (proxy, there):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//user:{PASSWORD}@"))
        assert doctor(FAR, trusted)[0] == 0
        seen = len(proxy.seen)
        assert doctor(there.url, trusted, 'proxy = "none"')[0] == 0
        monkeypatch.setenv("NO_PROXY", "studio.services.ai.azure.com")
        assert doctor(FAR, trusted)[0] == EXIT_CONNECTION
        assert doctor(FAR, trusted, 'proxy = "none"')[0] == EXIT_CONNECTION
        assert len(proxy.seen) == seen


@pytest.mark.parametrize(
    "settings",
    [
        'proxy = "ftp://user:{password}@h.example:1"',
        'proxy = "http://user:{password}@[::1"',
        'proxy = "http://h.example:99999"',
        'proxy = " "',
        "proxy = 8080",
        'ca_file = ""',
        "ca_file = true",
        'client_certificate = ["a"]',
    ],
)
def test_a_setting_that_cant_be_is_a_mistake_of_the_file(doctor, settings) -> None:
    code, said = doctor(FAR, settings.format(password=PASSWORD))
    assert code == EXIT_PROFILE
    assert settings.partition(" ")[0] in said


@pytest.mark.parametrize("setting", ["ca_file", "client_certificate"])
@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_that_cant_be_used_is_named_by_its_setting(
    doctor, tmp_path, setting, content
) -> None:
    path = tmp_path / "x.pem"
    if content is not None:
        path.write_bytes(content)
    code, said = doctor(FAR, f'{setting} = "{path}"')
    assert code == EXIT_CONNECTION
    assert f"its {setting} names" in said
    assert "Nothing was sent" in said


def test_a_certificate_without_its_key_is_named(doctor, authority) -> None:
    code, said = doctor(FAR, f'client_certificate = "{authority.path}"')
    assert code == EXIT_CONNECTION
    assert "isn't a certificate with its key" in said


def test_a_proxy_on_another_machine_gets_no_key_for_an_endpoint_on_this_one(
    doctor, service
) -> None:
    code, said = doctor(service.url, 'proxy = "http://proxy.example:8080"')
    assert code == EXIT_PROFILE
    assert "the key would leave this machine" in said


def test_a_client_certificate_is_for_https(doctor, service, authority) -> None:
    code, said = doctor(service.url, f'client_certificate = "{authority.client}"')
    assert code == EXIT_PROFILE
    assert "https" in said


def test_a_variable_that_is_wrong_but_not_needed_is_named(
    doctor, service, authority, monkeypatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with proxied(service, authority) as (proxy, _):
        login = proxy.url.replace("//", f"//user:{PASSWORD}@")
        code, said = doctor(FAR, f'ca_file = "{authority.path}"', f'proxy = "{login}"')
    assert code == 0
    assert "REQUESTS_CA_BUNDLE names no file" in said
