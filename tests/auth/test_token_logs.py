"""No token reaches a log or an error, however a token endpoint's answer is broken."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import threading
from collections.abc import Iterator

import pytest
from mai_image.mai.auth import Entra, EntraCredential, azure_identity
from mai_image.mai.auth.entra import LOGGERS, LONGEST_LIFE
from mai_image.mai.auth.secrets import hide_tokens, keep_tokens_out
from mai_image.mai.errors import CredentialError

JWT = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"
OPAQUE = "canary0pa9ue-Tok3n/with+signs=="
WHOLE = json.dumps({"access_token": JWT, "refresh_token": OPAQUE, "expires_on": "1", "a": "b"})

ANSWERS = {
    "cut behind the token": WHOLE[:-1],
    "cut in the token": WHOLE[: WHOLE.index(JWT) + 60],
    "cut in an opaque token": f'{{"refresh_token": "{OPAQUE[:-3]}',
    "no JSON": f"access_token={JWT}&refresh_token={OPAQUE}",
    "a list": f"[{WHOLE}]",
    "quoted twice": json.dumps(WHOLE),
    "an error": json.dumps({"error": "x", "error_description": f"Bearer {JWT} is bad", "x": JWT}),
}


class Endpoint(http.server.BaseHTTPRequestHandler):
    """A managed identity's endpoint that answers what a test says."""

    text = ""
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(self.text)))
        self.end_headers()
        self.wfile.write(self.text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Endpoint]]:
    class Own(Endpoint):
        pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "x")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("azure.core.pipeline.policies.RetryPolicy.sleep", lambda *_: None)
    yield Own
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("level", [logging.WARNING, logging.DEBUG])
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("method", ["managed_identity", "default"])
def test_an_answer_that_cant_be_read_shows_no_token(
    answer: str, method: str, level: int, endpoint: type[Endpoint], caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.text = ANSWERS[answer]
    caplog.set_level(level)
    credential = EntraCredential(Entra(method), azure_identity(print), wait=20.0)
    with pytest.raises(CredentialError) as caught:
        asyncio.run(credential.headers())
    assert endpoint.asked
    said = f"{caplog.text} {caught.value} {[record.__dict__ for record in caplog.records]}"
    assert JWT[:20] not in said
    assert OPAQUE[:12] not in said


@pytest.mark.parametrize("name", [*LOGGERS, "azure.identity._internal.decorators", "urllib3.util"])
def test_a_token_stands_in_no_record_once_the_loggers_are_guarded(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger(name)
    keep_tokens_out(LOGGERS)
    keep_tokens_out(LOGGERS)
    caplog.set_level(logging.DEBUG, logger=name)
    logger.warning("got %s and %r", f"client_secret={OPAQUE}", {"assertion": OPAQUE})
    logger.warning("odd %d", JWT)
    try:
        raise ValueError(f'cut: {{"access_token":"{OPAQUE}')
    except ValueError:
        logger.exception("failed", stack_info=True)
    assert len(caplog.records) == 3
    said = f"{caplog.text} {[record.__dict__ for record in caplog.records]}"
    assert "ValueError" in caplog.text
    assert JWT[:20] not in said
    assert OPAQUE[:12] not in said


@pytest.mark.parametrize(
    "text",
    [
        "No Entra ID token: tried, without success:",
        "ManagedIdentityCredential.get_token failed: no response from the IMDS endpoint.",
        "The bearer token was refused.",
        "POST https://login.example/oauth2/token 400",
    ],
)
def test_a_text_without_a_token_stays_as_it_is(text: str) -> None:
    assert hide_tokens(text) == text


@pytest.mark.parametrize("life", [1e18, 1e300, float("inf"), float("nan")])
def test_a_token_that_says_it_lives_for_ever_is_asked_for_again_after_a_day(life: float) -> None:
    class Source:
        asked = 0

        def __call__(self, entra: Entra) -> Source:
            return self

        def get_token(self, *scopes: str) -> object:
            self.asked += 1
            return type("Token", (), {"token": f"token-{self.asked}", "expires_on": life})

    now = [1000.0]
    source = Source()
    credential = EntraCredential(Entra(), source, clock=lambda: now[0])
    assert asyncio.run(credential.headers()) == {"Authorization": "Bearer token-1"}
    assert asyncio.run(credential.headers()) == {"Authorization": "Bearer token-1"}
    now[0] += LONGEST_LIFE
    assert asyncio.run(credential.headers()) == {"Authorization": "Bearer token-2"}
