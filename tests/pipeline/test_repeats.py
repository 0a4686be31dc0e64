"""When a paid call is sent again and when never, over real sockets that keep the bill."""

from __future__ import annotations

import re

import pytest
from client_harness import COST, Harness, ask, batch, failure, generate, image
from mai_image.mai.errors import AuthenticationError, Billed, ConnectError, RateLimitError
from mai_image.mai.pipeline import MAX_REFUSALS, MAX_REPEATS
from mai_image.mai.rate_limit import Pacing, Timings
from scripted_server import error_body, refuse

CLOSED = error_body("client_connection_closed", "closed before request was sent")


class Renewable:
    """A credential whose first token the server may refuse."""

    can_renew = True

    def __init__(self) -> None:
        self.renewals = 0

    async def headers(self, *, renew: bool = False) -> dict[str, str]:
        self.renewals += renew
        return {"authorization": f"Bearer token-{self.renewals}"}

    def is_there(self) -> bool:
        return True

    def describe(self) -> str:
        return "a test token"


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [(499, CLOSED, {}), (503, b"", {"retry-after": "0"})],
)
def test_what_was_surely_not_begun_is_sent_again(
    harness: Harness, status: int, body: bytes, headers: dict[str, str]
):
    harness.server.script = [refuse(status, body, headers)] * 2
    assert image(ask(harness.start(), batch(1))[0])
    assert len(harness.server.requests) == 3
    harness.balance(batch(1))


@pytest.mark.parametrize(
    "status", [400, 402, 403, 404, 408, 413, 499, 500, 501, 502, 503, 504, 507]
)
def test_no_other_status_is_ever_sent_again(harness: Harness, status: int):
    harness.server.script = [refuse(status, b"oops")]
    assert failure(ask(harness.start(), batch(1))[0]).status == status
    assert len(harness.server.requests) == 1


def test_repeats_are_bounded(harness: Harness):
    harness.server.default = refuse(499, CLOSED)
    assert failure(ask(harness.start(), batch(1))[0]).status == 499
    assert len(harness.server.requests) == MAX_REPEATS + 1


def test_refusals_are_bounded(harness: Harness):
    harness.server.default = refuse(429, b"", {"retry-after-ms": "1"})
    assert failure(ask(harness.start(), batch(1))[0]).status == 429
    assert len(harness.server.requests) == MAX_REFUSALS


def test_a_pause_of_hours_is_told_to_everybody_and_ends_the_calls(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Pacing, "timings", Timings())
    harness.server.default = refuse(429, b"", {"retry-after": "3600"})
    found = [failure(each) for each in ask(harness.start(requests_a_minute=None), batch(16))]
    assert len(harness.server.requests) <= 3
    assert {type(each) for each in found} == {RateLimitError}
    assert all(re.search(r"until \d{4}-\d\d-\d\d \d\d:\d\d", each.what) for each in found)
    assert not any("again and again" in each.what for each in found)
    assert all(each.billed is Billed.NO for each in found)

    since = len(harness.server.requests)
    assert isinstance(failure(ask(harness.restart(), batch(1))[0]), RateLimitError)
    assert len(harness.server.requests) == since
    assert set(harness.outcomes()) <= {"refused", "withdrawn"}


def test_401_renews_the_token_once(harness: Harness):
    credential = Renewable()
    harness.server.script = [refuse(401)]
    found = image(ask(harness.start(credential=credential), batch(1))[0])
    assert found.cost_usd == pytest.approx(COST)
    harness.balance(batch(1))
    sent = [request.headers["authorization"] for request in harness.server.requests]
    assert sent == ["Bearer token-0", "Bearer token-1"]


def test_a_second_401_is_final(harness: Harness):
    credential = Renewable()
    harness.server.default = refuse(401)
    assert failure(ask(harness.start(credential=credential), batch(1))[0]).status == 401
    assert (len(harness.server.requests), credential.renewals) == (2, 1)


def test_401_with_a_key_is_final(harness: Harness):
    harness.server.default = refuse(401)
    assert isinstance(failure(ask(harness.start(), batch(1))[0]), AuthenticationError)
    assert len(harness.server.requests) == 1
    assert harness.outcomes() == ["refused"]


def test_without_a_connection_a_call_is_tried_again_and_costs_nothing(harness: Harness):
    harness.server.close()
    error = failure(ask(harness.start(), [generate(0)])[0])
    assert isinstance(error, ConnectError)
    assert f"after {MAX_REPEATS + 1} attempts" in error.what
    assert error.billed is Billed.NO
    assert harness.outcomes() == ["refused"]
