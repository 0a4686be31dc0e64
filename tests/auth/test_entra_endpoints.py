"""azure-identity itself against token endpoints on this machine: managed identity and a client's
secret over https, as profiles ask for them; expiry, renewal, refusal, silence and hostile texts."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from certificates import make_certificate
from mai_image.mai.auth import SCOPE, Credential, Entra, EntraCredential, azure_identity, entra
from mai_image.mai.errors import CredentialError
from mai_image.mai.profiles import Profiles

TENANT = "22222222-2222-2222-2222-222222222222"
CLIENT = "33333333-3333-3333-3333-333333333333"
SECRET = "canary-client-secret"
HEADER = "canary-identity-header"

Answer = tuple[int, object]


class TokenServer:
    """Plays Entra ID and the managed-identity endpoint; `answer` may replace a token's answer."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.requests: list[tuple[str, dict[str, list[str]], dict[str, str]]] = []
        self.answer: Callable[[int], Answer] = self.token
        self.life = 3600
        self.gate = threading.Event()
        self.gate.set()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        scheme, host = ("https", "localhost") if certificate else ("http", "127.0.0.1")
        self.url = f"{scheme}://{host}:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def token(self, number: int) -> Answer:
        """The number-th token."""
        ends = int(time.time()) + self.life
        token = {"access_token": f"token-{number}", "token_type": "Bearer", "resource": "x"}
        return 200, token | {"expires_in": self.life, "expires_on": str(ends)}

    def stop(self) -> None:
        self.gate.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(5)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if url.path.endswith("/.well-known/openid-configuration"):
                    base = f"{server.url}/{TENANT}"
                    names = ("issuer", "authorization_endpoint", "device_authorization_endpoint")
                    known = {name: f"{base}/{name}" for name in names}
                    known["issuer"] = f"{base}/v2.0"
                    self.send(200, known | {"token_endpoint": f"{base}/oauth2/v2.0/token"})
                else:
                    self.give(url.path, parse_qs(url.query))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.give(urlsplit(self.path).path, parse_qs(body))

            def give(self, path: str, fields: dict[str, list[str]]) -> None:
                server.requests.append((path, fields, dict(self.headers)))
                number = len(server.requests)
                server.gate.wait(10)
                self.send(*server.answer(number))

            def send(self, status: int, answer: object) -> None:
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which azure-identity finds nothing and no proxy stands in between."""
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "MSI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("IMDS_ENDPOINT", "IDENTITY_SERVER_THUMBPRINT", "AZURE_TOKEN_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "localhost,127.0.0.1")


@pytest.fixture
def identity(clean: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    """The managed-identity endpoint, as an app service has it."""
    server = TokenServer()
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", HEADER)
    yield server
    server.stop()


@pytest.fixture
def authority(
    clean: None, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TokenServer]:
    """Entra ID with a client and its secret, over https."""
    server = TokenServer(certificate)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", server.url)
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
    yield server
    server.stop()


def credential(folder: Path, settings: str, **options: Any) -> Credential:
    (folder / "profiles.toml").write_text(
        '[profiles.a]\nendpoint = "https://r.services.ai.azure.com"\n'
        f'credential = {{ kind = "entra", {settings} }}\n'
    )
    return Profiles(folder, **options).get("a").credential


def bearer(source: Credential, renew: bool = False) -> str:
    return asyncio.run(source.headers(renew=renew))["Authorization"]


def refusal(source: Credential) -> str:
    with pytest.raises(CredentialError) as caught:
        bearer(source)
    return str(caught.value)


def test_a_managed_identity_gives_a_token_for_the_services_audience(
    identity: TokenServer, tmp_path: Path
) -> None:
    source = credential(tmp_path, f'method = "managed_identity", client_id = "{CLIENT}"')
    assert bearer(source) == bearer(source) == "Bearer token-1"
    path, fields, headers = identity.requests[0]
    assert path == "/msi/token"
    assert fields["resource"] == [SCOPE.removesuffix("/.default")]
    assert fields["client_id"] == [CLIENT]
    assert headers["X-IDENTITY-HEADER"] == HEADER
    assert len(identity.requests) == 1


def test_a_401_gets_another_token_though_azure_identity_still_holds_the_first(
    identity: TokenServer, tmp_path: Path
) -> None:
    source = credential(tmp_path, 'method = "managed_identity"')
    assert bearer(source) == "Bearer token-1"
    assert bearer(source, renew=True) == "Bearer token-2"
    assert bearer(source) == "Bearer token-2"


def test_an_ended_token_is_replaced(identity: TokenServer, tmp_path: Path) -> None:
    identity.life = 1
    source = credential(tmp_path, 'method = "managed_identity"')
    assert bearer(source) == "Bearer token-1"
    time.sleep(1.1)
    assert bearer(source) == "Bearer token-2"


def test_the_default_chain_finds_the_managed_identity(
    identity: TokenServer, tmp_path: Path
) -> None:
    assert bearer(credential(tmp_path, 'method = "default"')) == "Bearer token-1"


@pytest.mark.parametrize("method", ["environment", "default"])
def test_a_clients_secret_buys_a_token_over_https_without_asking_microsoft(
    authority: TokenServer, tmp_path: Path, method: str
) -> None:
    source = credential(tmp_path, f'method = "{method}"')
    assert bearer(source) == "Bearer token-1"
    path, fields, _ = authority.requests[0]
    assert path == f"/{TENANT}/oauth2/v2.0/token"
    assert fields["grant_type"] == ["client_credentials"]
    assert (fields["client_id"], fields["client_secret"]) == ([CLIENT], [SECRET])
    assert fields["scope"] == [SCOPE]
    assert bearer(source, renew=True) == "Bearer token-2"


def filters_of_azure_loggers() -> list[object]:
    names = [name for name in logging.root.manager.loggerDict if name.startswith("azure.identity")]
    return [found for name in names for found in logging.getLogger(name).filters]


def test_no_log_at_debug_holds_a_secret_or_a_token(
    authority: TokenServer,
    identity: TokenServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = filters_of_azure_loggers()  # of another test's request that still waits
    caplog.set_level(logging.DEBUG)
    for method in ("environment", "managed_identity", "default"):
        assert bearer(credential(tmp_path, f'method = "{method}"')).startswith("Bearer token-")
    assert len(caplog.records) > 5
    for secret in (SECRET, HEADER, "token-1"):
        assert secret not in caplog.text
    assert all(each in before for each in filters_of_azure_loggers())


def test_an_untrusted_authority_gets_no_secret(
    authority: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.setattr("azure.core.pipeline.policies.RetryPolicy.sleep", lambda *_: None)
    assert "EnvironmentCredential" in refusal(credential(tmp_path, 'method = "environment"'))
    assert authority.requests == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REQUESTS_CA_BUNDLE", "/nowhere/x.pem"),
        ("HTTPS_PROXY", "socks5://user:canary-pass@127.0.0.1:1"),
        ("https_proxy", "http://user:canary-pass@[::1"),
        ("HTTPS_PROXY", "http://user:canary/pass@127.0.0.1:1"),
    ],
)
def test_a_network_setting_that_cant_be_used_is_named_without_its_password(
    authority: TokenServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    value: str,
) -> None:
    caplog.set_level(logging.INFO)
    for proxies in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(proxies)
    monkeypatch.setattr("azure.core.pipeline.policies.RetryPolicy.sleep", lambda *_: None)
    monkeypatch.setenv(name, value)
    said = refusal(credential(tmp_path, 'method = "environment"'))
    assert f"{name} " in said
    assert "canary" not in said + caplog.text
    assert authority.requests == []


def test_a_refused_secret_is_an_error_that_never_shows_it(
    authority: TokenServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = {"error": "invalid_client", "error_description": f"AADSTS7000215: {SECRET} is wrong."}
    authority.answer = lambda number: (401, said)
    caplog.set_level(logging.DEBUG)
    source = credential(tmp_path, 'method = "environment"')
    text = refusal(source)
    assert "AADSTS7000215: … is wrong." in text
    assert "AZURE_CLIENT_SECRET" in text
    assert SECRET not in text + caplog.text + repr(source)
    assert refusal(source) == text
    assert len(authority.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>proxy</html>",
        b"",
        b"[]",
        {"access_token": "a b\r\nX: y", "expires_in": 3600, "token_type": "Bearer"},
        {"access_token": "", "expires_in": 3600, "token_type": "Bearer"},
        {"access_token": None, "expires_in": "soon"},
        {"token": "x"},
    ],
)
def test_a_token_endpoint_that_answers_nonsense_is_a_credential_error(
    authority: TokenServer, tmp_path: Path, answer: object
) -> None:
    authority.answer = lambda number: (200, answer)
    assert "No Entra ID token" in refusal(credential(tmp_path, 'method = "environment"'))


def test_a_silent_token_endpoint_is_waited_for_no_longer_than_said(
    identity: TokenServer, tmp_path: Path
) -> None:
    identity.gate.clear()
    source = credential(tmp_path, 'method = "managed_identity"', wait=0.3)
    began = time.monotonic()
    assert "no answer within 0.3 s. Tried: ManagedIdentityCredential." in refusal(source)
    for _ in range(15):
        assert "no answer" in refusal(source)
    assert time.monotonic() - began < 2
    identity.gate.set()


def test_a_token_that_is_about_to_end_is_kept_while_the_endpoint_is_down(
    identity: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entra, "MARGIN_WAIT", 0.2)
    identity.life = 20
    now = time.time()
    source = EntraCredential(Entra("managed_identity"), azure_identity(print), clock=lambda: now)
    assert bearer(source) == "Bearer token-1"
    identity.gate.clear()
    now += 12
    assert bearer(source) == "Bearer token-1"
    identity.gate.set()


def test_an_unset_environment_says_which_variables_to_set(clean: None, tmp_path: Path) -> None:
    said = refusal(credential(tmp_path, 'method = "environment"'))
    assert "EnvironmentCredential" in said
    assert "Set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET" in said


def test_a_profiles_entra_credential_outlives_a_change_of_its_file(
    identity: TokenServer, tmp_path: Path
) -> None:
    text = (
        '[profiles.a]\nendpoint = "r.services.ai.azure.com"\n'
        'credential = { kind = "entra", method = "managed_identity" }\n'
    )
    path = tmp_path / "profiles.toml"
    path.write_text(text)
    profiles = Profiles(tmp_path)
    before = profiles.get("a")
    path.write_text(text + "timeout = 60\n")
    after = profiles.get("a")
    assert (before.timeout, after.timeout) == (300, 60)
    assert before.credential is after.credential
