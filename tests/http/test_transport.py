"""When a paid call is sent again and when never, over real sockets that keep the bill."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mai_image.mai.auth import KeyCredential, Secret
from mai_image.mai.errors import (
    AnswerError,
    Billed,
    CallTimeoutError,
    ConnectError,
    ConnectionLostError,
    MaiError,
)
from mai_image.mai.http import (
    FilePart,
    HttpAnswer,
    HttpRequest,
    Transport,
    retry_after,
)
from mai_image.mai.http import transport as transport_module
from mai_image.mai.profiles import Profile
from mai_image.mai.retry import MAX_REFUSALS, MAX_REPEATS
from scripted_server import (
    Connection,
    ReceivedRequest,
    Scripted,
    error_body,
    image_body,
    png,
    refuse,
    response,
)

KEY = "canary-key-0123456789"


@pytest.fixture
def server() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "backoff", lambda attempt: 0.01)


class Renewable:
    """A credential whose first token the server may refuse."""

    can_renew = True

    def __init__(self) -> None:
        self.renewals = 0

    async def headers(self, *, renew: bool = False) -> dict[str, str]:
        self.renewals += renew
        return {"authorization": f"Bearer token-{self.renewals}"}

    def describe(self) -> str:
        return "a test token"


def profile_for(server: Scripted, **changes: object) -> Profile:
    key = KeyCredential(lambda: Secret(KEY), "a test")
    profile = Profile("test", "foundry", server.url, key, timeout=5.0)
    return dataclasses.replace(profile, **changes)  # type: ignore[arg-type]


class Caller:
    """Counts what the transport asks of a call."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.turns = 0
        self.refusals: list[float | None] = []
        self.pauses: list[tuple[float, str]] = []

    async def turn(self) -> HttpRequest:
        self.turns += 1
        return self.request

    async def refused(self, answer: HttpAnswer, seconds: float | None) -> None:
        self.refusals.append(seconds)

    async def retrying(self, seconds: float, reason: str) -> None:
        self.pauses.append((seconds, reason))


def call(profile: Profile, request: HttpRequest | None = None) -> tuple[HttpAnswer, Caller]:
    body = {"model": "d", "prompt": "x"}
    path = "/mai/v1/images/generations"
    caller = Caller(request or HttpRequest("POST", profile.endpoint + path, json=body))

    async def run() -> HttpAnswer:
        transport = Transport()
        try:
            return await transport.send(profile, caller)
        finally:
            await transport.close()

    return asyncio.run(run()), caller


def test_request_carries_the_key_and_the_json(server: Scripted):
    answer, caller = call(profile_for(server))
    assert answer.status == 200
    assert caller.turns == 1
    (request,) = server.requests
    assert request.headers["api-key"] == KEY
    assert request.json == {"model": "d", "prompt": "x"}


def test_multipart_repeats_the_field_image(server: Scripted):
    parts = tuple(FilePart("image", f"{i}.png", bytes([i]) * 9, "image/png") for i in range(3))
    request = HttpRequest("POST", server.url + "/x", fields={"prompt": "é"}, files=parts)
    call(profile_for(server), request)
    body = server.requests[0].body
    assert body.count(b'name="image"; filename=') == 3
    assert body.index(bytes([0]) * 9) < body.index(bytes([1]) * 9) < body.index(bytes([2]) * 9)
    assert "é".encode() in body


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (408, b"", {}),
        (499, error_body("client_connection_closed", "closed before request was sent"), {}),
        (503, b"", {"retry-after": "0"}),
    ],
)
def test_what_was_surely_not_begun_is_sent_again(
    server: Scripted, status: int, body: bytes, headers: dict[str, str]
):
    server.script = [refuse(status, body, headers)] * 2
    answer, caller = call(profile_for(server))
    assert answer.status == 200
    assert caller.turns == 3
    assert len(server.billed) == 1


@pytest.mark.parametrize("status", [400, 402, 403, 404, 413, 499, 500, 501, 502, 503, 504, 507])
def test_no_other_status_is_ever_sent_again(server: Scripted, status: int):
    server.script = [refuse(status, b"oops", bill=True)]
    answer, caller = call(profile_for(server))
    assert (answer.status, caller.turns, len(server.requests)) == (status, 1, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server: Scripted, status: int):
    other = Scripted()
    server.script = [refuse(status, b"", {"location": other.url + "/mai/v1/images/generations"})]
    answer, _ = call(profile_for(server))
    other.close()
    assert answer.status == status
    assert other.connections == 0


def test_repeats_are_bounded(server: Scripted):
    server.default = refuse(408)
    answer, _ = call(profile_for(server))
    assert answer.status == 408
    assert len(server.requests) == MAX_REPEATS + 1


def test_429_waits_for_a_new_turn_and_is_bounded(server: Scripted):
    server.default = refuse(429, b"", {"retry-after": "7"})
    answer, caller = call(profile_for(server))
    assert answer.status == 429
    assert caller.refusals == [7.0] * MAX_REFUSALS
    assert caller.turns == MAX_REFUSALS


def test_a_wait_of_hours_ends_the_call(server: Scripted):
    server.default = refuse(429, b"", {"retry-after": "86400"})
    answer, caller = call(profile_for(server))
    assert answer.status == 429
    assert caller.turns == 1


def test_401_renews_the_token_once(server: Scripted):
    credential = Renewable()
    server.script = [refuse(401)]
    answer, _ = call(profile_for(server, credential=credential))
    assert answer.status == 200
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer token-0", "Bearer token-1"]


def test_a_second_401_is_final(server: Scripted):
    credential = Renewable()
    server.default = refuse(401)
    answer, _ = call(profile_for(server, credential=credential))
    assert (answer.status, len(server.requests), credential.renewals) == (401, 2, 1)


def test_401_with_a_key_is_final(server: Scripted):
    server.default = refuse(401)
    answer, _ = call(profile_for(server))
    assert (answer.status, len(server.requests)) == (401, 1)


def test_refused_connection_is_tried_again_and_costs_nothing(server: Scripted):
    server.close()
    with pytest.raises(ConnectError) as caught:
        call(profile_for(server, endpoint="http://127.0.0.1:9"))
    assert caught.value.billed is Billed.NO


def test_name_that_does_not_resolve_is_a_connect_error(server: Scripted):
    profile = profile_for(server, endpoint="https://nowhere.invalid", connect_timeout=2.0)
    with pytest.raises(ConnectError, match=r"nowhere\.invalid"):
        call(profile)


def test_connection_reset_before_the_request_is_read_by_the_service_counts_as_sent(
    server: Scripted,
):
    """A small body is in the socket at once: nobody can tell that the service did not read it."""

    def reset(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        connection.reset()

    server.script = [reset]
    with pytest.raises(ConnectionLostError) as caught:
        call(profile_for(server))
    assert caught.value.billed is Billed.PERHAPS
    assert len(server.requests) == 1


def test_reset_in_the_middle_of_a_large_request_is_safe_to_repeat(server: Scripted):
    """The service can't have begun a request of which it never got the end."""
    resets = []

    def reset_early(connection: Connection) -> bool:
        if not resets:
            resets.append(connection.socket.recv(1000))
            time.sleep(0.05)
            connection.reset()
            return False
        return True

    server.before = reset_early
    part = FilePart("image", "a.png", bytes(30_000_000), "image/png")
    request = HttpRequest("POST", server.url + "/x", fields={"prompt": "p"}, files=(part,))
    answer, caller = call(profile_for(server), request)
    assert answer.status == 200
    assert caller.turns == 2
    assert len(server.billed) == 1


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_answer_cut_anywhere_is_never_sent_again(server: Scripted, share: float, how: str):
    whole = response(200, image_body(png()))

    def cut(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        connection.send(whole[: int(len(whole) * share)])
        if how == "reset":
            connection.reset()
        else:
            connection.hang_up()
        raise OSError

    server.script = [cut]
    with pytest.raises(ConnectionLostError) as caught:
        call(profile_for(server))
    assert caught.value.billed is Billed.PERHAPS
    assert len(server.requests) == len(server.billed) == 1


def test_answer_that_never_comes_ends_after_the_timeout_and_is_perhaps_billed(server: Scripted):
    def silent(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        time.sleep(1.5)

    server.default = silent
    with pytest.raises(CallTimeoutError) as caught:
        call(profile_for(server, timeout=0.3))
    assert caught.value.billed is Billed.PERHAPS
    assert len(server.requests) == 1


def test_slow_drip_ends_after_the_whole_timeout(server: Scripted):
    def drip(connection: Connection, request: ReceivedRequest) -> None:
        connection.send(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n")
        for _ in range(100):
            connection.send(b" ")
            time.sleep(0.05)

    server.default = drip
    started = time.monotonic()
    with pytest.raises(CallTimeoutError):
        call(profile_for(server, timeout=0.4))
    assert time.monotonic() - started < 2.0


def test_answer_over_64_mib_is_not_read_to_its_end(server: Scripted):
    sent = []

    def flood(connection: Connection, request: ReceivedRequest) -> None:
        connection.send(b"HTTP/1.1 200 X\r\ncontent-length: 1000000000\r\n\r\n")
        while True:
            connection.send(bytes(1 << 20))
            sent.append(1)

    server.default = flood
    with pytest.raises(AnswerError, match="64 MiB"):
        call(profile_for(server))
    assert len(sent) < 100


def test_garbage_instead_of_http_is_perhaps_billed(server: Scripted):
    server.default = lambda connection, request: connection.send(b"\x00\x01garbage\r\n\r\n")
    with pytest.raises(MaiError) as caught:
        call(profile_for(server))
    assert caught.value.billed is Billed.PERHAPS
    assert len(server.requests) == 1


def test_a_key_that_the_service_echoes_is_blotted_out(server: Scripted):
    server.default = refuse(400, error_body("x", f"bad key {KEY}"))
    answer, _ = call(profile_for(server))
    assert KEY.encode() not in answer.body
    assert b"[hidden]" in answer.body


def test_loopback_never_goes_through_a_proxy(server: Scripted, monkeypatch: pytest.MonkeyPatch):
    proxy = Scripted()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    answer, _ = call(profile_for(server))
    proxy.close()
    assert answer.status == 200
    assert proxy.connections == 0


def test_a_proxy_of_the_environment_is_used_for_other_hosts(monkeypatch: pytest.MonkeyPatch):
    proxy = Scripted(default=refuse(502))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    profile = profile_for(proxy, endpoint="https://r.services.ai.azure.com")
    with pytest.raises(ConnectError):
        call(profile)
    proxy.close()
    assert proxy.requests[0].method == "CONNECT"
    assert KEY not in str(proxy.requests)


def test_calls_side_by_side_do_not_wait_for_each_other(server: Scripted):
    def slow(connection: Connection, request: ReceivedRequest) -> None:
        time.sleep(0.3)
        connection.answer(200, b"{}")

    server.default = slow
    profile = profile_for(server)
    request = HttpRequest("POST", server.url + "/x", json={})

    async def run() -> float:
        transport = Transport()
        started = time.monotonic()
        await asyncio.gather(*(transport.send(profile, Caller(request)) for _ in range(30)))
        await transport.close()
        return time.monotonic() - started

    assert asyncio.run(run()) < 30 * 0.3 / 3


NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=30), usegmt=True)}, 30.0),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=30), usegmt=True)}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "x", "retry-after": "4"}, 4.0),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None):
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=60))
def test_retry_after_never_crashes(text: str):
    seconds = retry_after({"retry-after": text})
    assert seconds is None or seconds >= 0
