"""A hostile server: a call ends in an image or an error of the tree, in bounded time and memory.

What tests/http/test_transport.py holds (redirects, drip, 64 MiB, cuts, proxies) isn't repeated.
"""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from canary import KEY
from client_harness import (
    OneProfile,
    draw,
    drawn,
    generate,
    image,
    outcome,
    profile_for,
    prompt_of,
)
from mai_image.mai.auth import Headers, KeyCredential, Secret
from mai_image.mai.client import Client
from mai_image.mai.errors import (
    AnswerError,
    AuthenticationError,
    Billed,
    ConnectionLostError,
    MaiError,
    ProfileError,
    ServiceError,
)
from mai_image.mai.formats import MAX_JSON_ITEMS, parse_json
from mai_image.mai.http import HttpRequest, transport
from mai_image.mai.profiles import Profile
from scripted_server import (
    Behaviour,
    Connection,
    ReceivedRequest,
    Scripted,
    image_body,
    refuse,
    response,
)

pytestmark = pytest.mark.usefixtures("_quick")


class Hurried(OneProfile):
    """The one profile, whose calls end after half a second; those of "patient" have time."""

    def get(self, name: str) -> Profile:
        """The profile with the name's patience."""
        return replace(self.profile, timeout=10.0 if name == "patient" else 0.5)


@pytest.fixture
def client(tmp_path: Path, server: Scripted) -> Iterator[Client]:
    """A service that sends the canary to the hostile server."""
    key = KeyCredential(lambda: Secret(KEY), "a test")
    profile = profile_for(server.url, credential=key)
    client = Client(tmp_path, Hurried(tmp_path, profile))
    yield client
    client.close(grace=1)


def end_of(client: Client, text: object = 0) -> MaiError:
    """The error in which a call ends: after half a second, and what a busy machine adds."""
    started = time.monotonic()
    found = outcome(client.submit(generate(text)))
    assert isinstance(found, MaiError), found
    assert time.monotonic() - started < 10.0
    return found


def endless(head: bytes, piece: bytes) -> Behaviour:
    def behave(connection: Connection, request: ReceivedRequest) -> None:
        connection.send(head)
        while True:
            connection.send(piece * 100)

    return behave


def once(data: bytes) -> Behaviour:
    def behave(connection: Connection, request: ReceivedRequest) -> None:
        connection.send(data)
        connection.hang_up()

    return behave


def trickle(head: bytes, piece: bytes) -> Behaviour:
    def behave(connection: Connection, request: ReceivedRequest) -> None:
        connection.send(head)
        for _ in range(400):
            connection.send(piece)
            time.sleep(0.01)

    return behave


OK = b"HTTP/1.1 200 X\r\n"
BODY = image_body(drawn("x"))

HOSTILE: dict[str, Behaviour] = {
    "HTTP/0.9": once(BODY),
    "another protocol": once(b"SSH-2.0-server\r\n"),
    "nothing": once(b""),
    "endless status line": endless(b"HTTP/1.1 200 ", b"x" * 1000),
    "endless headers": endless(OK, b"a: b\r\n"),
    "one endless header": endless(OK + b"a: ", b"x" * 1000),
    "slow headers": trickle(OK, b"a: b\r\n"),
    "slow status line": trickle(b"", b"H"),
    "flood of 100 Continue": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "slow 100 Continue": trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "flood of 103 with headers": endless(b"", b"HTTP/1.1 103 Early\r\na: b\r\n\r\n"),
    "redirect to nowhere": once(
        b"HTTP/1.1 302 X\r\nlocation: http: //127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n"
    ),
    "101 switching": once(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nxxxx"),
    "length too long": once(OK + b"content-length: 9999999\r\n\r\n" + BODY),
    "length too short": once(OK + b"content-length: 20\r\n\r\n" + BODY),
    "negative length": once(OK + b"content-length: -1\r\n\r\n" + BODY),
    "two lengths": once(OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nabcdef"),
    "length of 30 digits": once(OK + b"content-length: " + b"9" * 30 + b"\r\n\r\nabc"),
    "length of words": once(OK + b"content-length: many\r\n\r\nabc"),
    "chunk of 16 digits": once(OK + b"transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"),
    "chunk of words": once(OK + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc"),
    "endless chunk extension": endless(OK + b"transfer-encoding: chunked\r\n\r\n1;", b"x" * 1000),
    "endless trailer": endless(
        OK + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"a: " + b"b" * 1000 + b"\r\n"
    ),
    "chunks of one byte, slowly": trickle(
        OK + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"
    ),
    "no length and no end": trickle(OK + b"\r\n", b" "),
    "unknown packing": once(response(200, b"x" * 100, {"content-encoding": "br"})),
    "packed twice": once(response(200, gzip.compress(BODY), {"content-encoding": "gzip, gzip"})),
    "packed badly": once(response(200, b"x" * 100, {"content-encoding": "gzip"})),
    "packed and cut": once(response(200, gzip.compress(BODY)[:-4], {"content-encoding": "gzip"})),
    "JSON of 20 million parts": once(response(200, b'{"data":[' + b"[]," * 300_000 + b"0]}")),
    "JSON nested too deep": once(response(200, b"[" * 100_000)),
    "JSON with a number of a million digits": once(
        response(200, b'{"data":[],"usage":{"num_output_tokens":' + b"9" * 1_000_000 + b"}}")
    ),
    "JSON with NaN": once(response(200, b'{"data":NaN,"usage":Infinity}')),
    "JSON with lone surrogates": once(
        response(400, b'{"error":{"message":"\\ud800","code":"\\udfff"}}')
    ),
    "UTF-16": once(response(200, BODY.decode().encode("utf-16"))[:2000]),
    "binary headers": once(
        b"HTTP/1.1 400 X\r\nx-request-id: \xff\xfe\x80\r\ncontent-length: 0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_ends_in_an_error_in_time(
    name: str, client: Client, server: Scripted
) -> None:
    server.default = HOSTILE[name]
    error = end_of(client)
    assert isinstance(error, ServiceError)
    assert len(str(error)) < 1500
    server.default = draw
    assert image(outcome(client.submit(generate("after"), "patient")))


def test_the_loop_goes_on_serving_others_while_a_server_floods(
    client: Client, server: Scripted
) -> None:
    def behave(connection: Connection, request: ReceivedRequest) -> None:
        if prompt_of(request) == "image flood":
            HOSTILE["flood of 100 Continue"](connection, request)
        draw(connection, request)

    server.default = behave
    flooded = client.submit(generate("flood"))
    assert image(outcome(client.submit(generate("good"), "patient")))
    assert isinstance(outcome(flooded), MaiError)


@pytest.mark.parametrize("packing", ["gzip", "deflate", "x-gzip"])
def test_a_packed_answer_is_unpacked_since_it_is_paid_for(
    packing: str, client: Client, server: Scripted
) -> None:
    body = image_body(drawn("x"))
    packed = zlib.compress(body) if packing == "deflate" else gzip.compress(body)
    server.default = refuse(200, packed, {"content-encoding": packing})
    assert image(outcome(client.submit(generate(0), "patient"))).image == drawn("x")


def test_a_packed_bomb_is_never_unpacked_beyond_the_limit(
    client: Client, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 KiB, as much as is read at once, would become 64 MiB before anybody could count."""
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 2**20)
    bomb = gzip.compress(bytes(60 * 2**20), 9)
    assert len(bomb) < 2**16
    server.default = refuse(200, bomb, {"content-encoding": "gzip"})
    assert image_free(client)
    tracemalloc.start()
    error = end_of(client, "bomb")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(error, AnswerError)
    assert "larger than 1 MiB" in str(error)
    assert error.billed is Billed.PERHAPS
    assert peak < 8 * 2**20


def image_free(client: Client) -> bool:
    """One call before memory is counted, so that what is imported late isn't counted."""
    return isinstance(end_of(client, "first"), MaiError)


def test_json_that_would_fill_the_memory_is_not_parsed() -> None:
    body = b"[" + b"[]," * MAX_JSON_ITEMS + b"0]"
    tracemalloc.start()
    with pytest.raises(ValueError, match="too many items"):
        parse_json(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    assert parse_json(b"[" + b"9" * 1_000_000 + b"]") == [float("inf")]
    numbers = json.dumps({"a": list(range(9))}).encode()
    assert parse_json(numbers) == {"a": [float(i) for i in range(9)]}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_reaches_nobody_and_takes_no_key_along(
    status: int, client: Client, server: Scripted
) -> None:
    other = Scripted()
    for target in (other.url, f"http://127.0.0.1:{other.port}", f"//127.0.0.1:{other.port}/x"):
        server.default = refuse(status, b"", {"location": target, "refresh": f"0; url={target}"})
        assert "redirects" in str(end_of(client, target))
    other.close()
    assert other.connections == 0
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{other}/x",
        "http://127.0.0.1:{port}.evil.example/x",
        "http://127.0.0.1:{port}@127.0.0.1:{other}/x",
        "http://127.0.0.1:{port}",
        "https://evil.example/",
    ],
)
def test_a_key_goes_to_no_other_address_than_its_profiles(
    url: str, client: Client, server: Scripted
) -> None:
    other = Scripted()
    address = url.format(port=server.port, other=other.port)
    profile = client.profiles.get("default")
    headers = Headers({"api-key": KEY})
    fetched = client.run(client.transport.exchange(HttpRequest("GET", address), headers, profile))
    with pytest.raises(ProfileError, match="no other address"):
        fetched.result(5)
    other.close()
    assert other.connections == server.connections == 0


def test_no_cookie_of_a_server_is_ever_sent_back(client: Client, server: Scripted) -> None:
    """A client is shared by all profiles: a cookie would tell one account's calls to another."""
    server.default = refuse(
        401, b"", {"set-cookie": "session=1; Path=/; Max-Age=9999", "set-cookie2": "a=b"}
    )
    for i in range(2):
        assert isinstance(end_of(client, i), AuthenticationError)
    assert [request.headers.get("cookie") for request in server.requests] == [None, None]


def test_a_challenge_is_not_answered_with_a_password_of_the_address_or_the_user(
    client: Client, server: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.default = refuse(401, b"", {"www-authenticate": 'Basic realm="x"'})
    assert isinstance(end_of(client), AuthenticationError)
    (request,) = server.requests
    assert request.headers["api-key"] == KEY
    assert "authorization" not in request.headers


def test_headers_that_authenticate_show_only_their_names() -> None:
    headers = Headers({"api-key": KEY})
    assert repr(headers) == str(headers) == "<Headers: api-key>"


def test_a_connection_that_ends_in_the_middle_says_so(client: Client, server: Scripted) -> None:
    server.default = once(OK + b"content-length: 50\r\n\r\n{")
    error = end_of(client)
    assert isinstance(error, ConnectionLostError)
    assert error.__cause__ is None
    assert error.__context__ is None
