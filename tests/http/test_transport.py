"""One exchange over real sockets: what is sent, what is read, and how far a request got."""

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
from mai_image.mai.auth import Headers, KeyCredential, Secret
from mai_image.mai.errors import (
    AnswerError,
    Billed,
    CallTimeoutError,
    ConnectionLostError,
    MaiError,
    ProfileError,
)
from mai_image.mai.http import (
    FormFile,
    HttpAnswer,
    HttpRequest,
    NotSentError,
    Transport,
    header_number,
    retry_after,
)
from mai_image.mai.profiles import Profile
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


def profile_for(server: Scripted, **changes: object) -> Profile:
    key = KeyCredential(lambda: Secret(KEY), "a test")
    profile = Profile("test", "foundry", server.url, key, timeout=5.0)
    return dataclasses.replace(profile, **changes)  # type: ignore[arg-type]


def call(profile: Profile, request: HttpRequest | None = None) -> HttpAnswer:
    """One exchange, with the profile's credential."""
    body = {"model": "d", "prompt": "x"}
    path = "/mai/v1/images/generations"
    sent = request or HttpRequest("POST", profile.endpoint + path, json=body)

    async def run() -> HttpAnswer:
        transport = Transport()
        try:
            headers = Headers(await profile.credential.headers())
            return await transport.exchange(sent, headers, profile)
        finally:
            await transport.close()

    return asyncio.run(run())


def test_request_carries_the_key_and_the_json(server: Scripted):
    answer = call(profile_for(server))
    assert answer.status == 200
    (request,) = server.requests
    assert request.headers["api-key"] == KEY
    assert request.json == {"model": "d", "prompt": "x"}


def test_multipart_repeats_the_field_image(server: Scripted):
    files = tuple(FormFile("image", f"{i}.png", bytes([i]) * 9, "image/png") for i in range(3))
    request = HttpRequest("POST", server.url + "/x", fields={"prompt": "é"}, files=files)
    call(profile_for(server), request)
    body = server.requests[0].body
    assert body.count(b'name="image"; filename=') == 3
    assert body.index(bytes([0]) * 9) < body.index(bytes([1]) * 9) < body.index(bytes([2]) * 9)
    assert "é".encode() in body


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server: Scripted, status: int):
    other = Scripted()
    server.script = [refuse(status, b"", {"location": other.url + "/mai/v1/images/generations"})]
    answer = call(profile_for(server))
    other.close()
    assert answer.status == status
    assert other.connections == 0


def test_without_a_connection_nothing_is_sent(server: Scripted):
    server.close()
    with pytest.raises(NotSentError):
        call(profile_for(server, endpoint="http://127.0.0.1:9"))


def test_to_a_name_that_does_not_resolve_nothing_is_sent(server: Scripted):
    profile = profile_for(server, endpoint="https://nowhere.invalid", connect_timeout=2.0)
    with pytest.raises(NotSentError):
        call(profile)


def test_a_credential_goes_to_its_own_endpoint_alone(server: Scripted):
    request = HttpRequest("POST", "http://127.0.0.1:9/x", json={})
    with pytest.raises(ProfileError):
        call(profile_for(server), request)
    assert server.connections == 0


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


def test_a_request_that_is_cut_in_its_middle_is_not_sent(server: Scripted):
    """The service can't have begun a request of which it never got the end."""

    def reset_early(connection: Connection) -> bool:
        connection.socket.recv(1000)
        time.sleep(0.05)
        connection.reset()
        return False

    server.before = reset_early
    file = FormFile("image", "a.png", bytes(30_000_000), "image/png")
    request = HttpRequest("POST", server.url + "/x", fields={"prompt": "p"}, files=(file,))
    with pytest.raises(NotSentError):
        call(profile_for(server), request)
    assert server.billed == []


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
    assert "127.0.0.1" not in str(caught.value)
    assert str(caught.value).count("twice") == 1
    assert len(server.requests) == len(server.billed) == 1


def test_answer_that_never_comes_ends_after_the_timeout_and_is_perhaps_billed(server: Scripted):
    def silent(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        time.sleep(1.5)

    server.default = silent
    with pytest.raises(CallTimeoutError) as caught:
        call(profile_for(server, timeout=0.3))
    assert caught.value.billed is Billed.PERHAPS
    assert "127.0.0.1" not in str(caught.value)
    assert str(caught.value).count("twice") == 1
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


def test_a_key_that_the_service_echoes_is_redacted(server: Scripted):
    server.default = refuse(400, error_body("x", f"bad key {KEY}"))
    answer = call(profile_for(server))
    assert KEY.encode() not in answer.body
    assert b"[hidden]" in answer.body


def test_loopback_never_goes_through_a_proxy(server: Scripted, monkeypatch: pytest.MonkeyPatch):
    proxy = Scripted()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    answer = call(profile_for(server))
    proxy.close()
    assert answer.status == 200
    assert proxy.connections == 0


def test_a_proxy_of_the_environment_is_used_for_other_hosts(monkeypatch: pytest.MonkeyPatch):
    proxy = Scripted(default=refuse(502))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    profile = profile_for(proxy, endpoint="https://r.services.ai.azure.com")
    with pytest.raises(NotSentError):
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
        headers = Headers(await profile.credential.headers())
        exchanges = (transport.exchange(request, headers, profile) for _ in range(30))
        await asyncio.gather(*exchanges)
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


ODD_TIMES = st.sampled_from(
    ["nan", "-inf", "1e400", "-0", "1_0", "Mon, 01 Jan 0001 00:00:00 +2359",
     "Fri, 31 Dec 9999 23:59:59 -2359", "Fri, 31 Dec 99999 23:59:59 GMT", "1, 2", "\u0665"]
)  # fmt: skip


@given(st.text(max_size=60) | ODD_TIMES, st.sampled_from(["retry-after", "retry-after-ms"]))
def test_a_time_in_a_header_is_read_as_a_number_of_seconds_or_not_at_all(text: str, name: str):
    for seconds in (retry_after({name: text}), header_number({name: text}, name)):
        assert seconds is None or 0 <= seconds < float("inf")
