"""No error that a node shows names the endpoint or holds a part of the key, whatever goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from canary import KEY
from client_harness import OneProfile, drawn, generate, outcome, profile_for
from mai_image.mai.auth import KeyCredential, Secret
from mai_image.mai.client import Client
from mai_image.mai.errors import MaiError
from mai_image.mai.http import HttpAnswer, Redactor
from mai_image.mai.profiles import Profile
from mai_image.mai.types import Result
from scripted_server import Connection, ReceivedRequest, Scripted, image_body, refuse

pytestmark = pytest.mark.usefixtures("_quick")

Ask = Callable[[Profile], Result | MaiError]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """What becomes of one call with a profile."""
    clients: list[Client] = []

    def one(profile: Profile) -> Result | MaiError:
        folder = tmp_path / str(len(clients))
        clients.append(Client(folder, OneProfile(folder, profile)))
        return outcome(clients[-1].submit(generate(len(clients))))

    yield one
    for client in clients:
        client.close(grace=1)


def with_key(url: str, **changes: object) -> Profile:
    credential = KeyCredential(lambda: Secret(KEY), "a test")
    return profile_for(url, **{"credential": credential, "timeout": 2.0, **changes})


def hang_up(connection: Connection, request: ReceivedRequest) -> None:
    connection.hang_up()


def reset(connection: Connection, request: ReceivedRequest) -> None:
    connection.reset()


def half(connection: Connection, request: ReceivedRequest) -> None:
    connection.send(b"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\nab")
    connection.hang_up()


def no_http(connection: Connection, request: ReceivedRequest) -> None:
    connection.send(f"at {request.headers['host']}\r\n\r\n".encode())
    connection.hang_up()


def silent(connection: Connection, request: ReceivedRequest) -> None:
    connection.socket.recv(1)


def quoting(status: int) -> Callable[[Connection, ReceivedRequest], None]:
    """An error that says the address at which it was asked."""

    def behave(connection: Connection, request: ReceivedRequest) -> None:
        host = request.headers["host"]
        said = f"http://{host}/mai was not found at {host.upper()}"
        body = json.dumps({"error": {"code": f"No {host}", "message": said}}).encode()
        connection.answer(status, body, {"location": f"http://{host}/", "content-type": host})

    return behave


FAULTS = {
    "closed": hang_up,
    "reset": reset,
    "half an answer": half,
    "no HTTP": no_http,
    "no answer": silent,
    **{f"HTTP {status}": quoting(status) for status in (200, 302, 400, 401, 404, 500)},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_the_service_names_the_endpoint(fault: str, ask: Ask, server: Scripted) -> None:
    server.default = FAULTS[fault]
    error = ask(with_key(server.url, timeout=1.0))
    assert isinstance(error, MaiError)
    assert "127.0.0.1" not in str(error)
    assert str(server.port) not in str(error)
    if fault in ("closed", "reset", "half an answer", "no HTTP", "no answer"):
        assert "'test'" in str(error)


@pytest.mark.parametrize(
    ("endpoint", "hidden"),
    [
        ("http://127.0.0.1:9", ("127.0.0.1", ":9")),
        ("http://localhost:9", ("localhost", ":9")),
        ("http://[::1]:9", ("::1", ":9")),
        ("https://studio-name.invalid:4711/mai", ("studio-name", "4711")),
    ],
)
def test_an_endpoint_without_a_connection_is_not_named(
    endpoint: str, hidden: tuple[str, ...], ask: Ask
) -> None:
    error = ask(with_key(endpoint, connect_timeout=1.0))
    assert isinstance(error, MaiError)
    assert "'test'" in str(error)
    assert [name for name in hidden if name in str(error)] == []


def test_a_certificate_for_another_name_and_no_tls_at_all_name_nobody(
    ask: Ask, server: Scripted
) -> None:
    def no_tls(connection: Connection) -> bool:
        connection.send(b"no TLS here, 127.0.0.1\r\n")
        return False

    server.before = no_tls
    error = ask(with_key(server.url.replace("http://", "https://")))
    assert isinstance(error, MaiError)
    assert "TLS" in str(error)
    assert "127.0.0.1" not in str(error)


def test_a_proxy_that_refuses_names_neither_itself_nor_the_endpoint(
    ask: Ask, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.default = refuse(407, b"at studio-name.example")
    monkeypatch.setenv("HTTPS_PROXY", f"http://someone:secret-word@127.0.0.1:{server.port}")
    error = ask(with_key("https://studio-name.example"))
    assert isinstance(error, MaiError)
    assert "the proxy makes no connection (HTTP 407)" in str(error)
    for hidden in ("studio-name", "127.0.0.1", str(server.port), "secret-word", "someone"):
        assert hidden not in str(error)


WORDS = "first-wOrd-0123456789 second-wOrd-9876543210"

ESCAPES: dict[str, Callable[[str], str]] = {
    "as it is": lambda key: json.dumps(key)[1:-1],
    "slashes escaped": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "every letter escaped": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "upper case": lambda key: json.dumps(key.upper())[1:-1],
}


def parts(key: str) -> list[str]:
    """Every 12 characters of a key."""
    return [key[at : at + 12].lower() for at in range(len(key) - 11)]


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("key", [KEY, WORDS])
@pytest.mark.parametrize("spelling", ESCAPES)
@pytest.mark.parametrize("filling", [0, 470, 488, 500, 100_000])
def test_no_part_of_a_key_stands_in_an_error_wherever_its_text_is_cut(
    filling: int, spelling: str, key: str, status: int, ask: Ask, server: Scripted
) -> None:
    lead = "." * min(filling, 500)
    message = f"{lead}{ESCAPES[spelling](key)} and {ESCAPES[spelling](key[:15])}"
    more = ', "more": "' + "x" * filling + '"'
    body = f'{{"error": {{"code": "bad_key", "message": "{message}"}}{more}}}'.encode()
    server.default = refuse(status, body)
    profile = with_key(server.url, credential=KeyCredential(lambda: Secret(key), "a test"))
    error = ask(profile)
    assert isinstance(error, MaiError)
    said = f"{error} {vars(error)}".lower()
    assert [part for word in key.split() for part in parts(word) if part in said] == []


def test_an_image_whose_base64_is_escaped_holds_no_key_either(
    ask: Ask, server: Scripted, tmp_path: Path
) -> None:
    image = drawn("x") + b"\0\1" + KEY.encode()
    body = image_body(image).replace(b"/", b"\\/").replace(b"A", b"\\u0041")
    server.default = refuse(200, body)
    ask(with_key(server.url))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    "value", ["=1+1", "a;=b", "a b", "<b>", "a\x01b", "x" * 101, "é", "[hidden]"]
)
def test_an_id_and_a_code_are_plain_or_none(value: str) -> None:
    assert HttpAnswer(400, {"x-request-id": value}, b"").request_id is None


def test_a_code_that_is_a_sentence_is_read_as_one(ask: Ask, server: Scripted) -> None:
    body = {"error": {"code": "=cmd;@x", "message": "No luck."}}
    server.default = refuse(400, json.dumps(body).encode())
    error = ask(with_key(server.url))
    assert isinstance(error, MaiError)
    assert error.code is None
    assert '"=cmd;@x: No luck."' in error.what


def test_the_first_part_of_a_key_is_hidden_as_far_as_it_goes() -> None:
    redactor = Redactor([KEY], ["my-host.example:443", "my-host.example"])
    assert redactor.shown(f"{KEY[:20]}… {KEY[:5]} {KEY}!") == f"[hidden]… {KEY[:5]} [hidden]!"
    assert redactor.shown("at MY-HOST.example:443/x") == "at the endpoint/x"
    assert re.fullmatch(r"\[hidden\]", redactor.shown(KEY[:12].upper()))
