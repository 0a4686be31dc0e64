"""What a server says of its limits, out of all reason: the call ends with a text, nobody else is
locked out for long.
"""

from __future__ import annotations

import sqlite3
import time

import pytest
from client_harness import Harness, ask, failure, generate, image, outcome, until, whole_body
from mai_image.mai.errors import RateLimitError, StoreError
from mai_image.mai.rate_limit import RateLimiter
from mai_image.mai.types import Progress
from scripted_server import Connection, ReceivedRequest


@pytest.mark.parametrize("seconds", ["100000000", "1e15", "9" * 300])
@pytest.mark.parametrize("header", ["retry-after", "retry-after-ms"])
def test_a_refusal_for_years_is_an_error_in_words(harness: Harness, header: str, seconds: str):
    def refuse(connection: Connection, request: ReceivedRequest) -> None:
        connection.answer(429, b"{}", headers={header: seconds})

    harness.server.default = refuse
    error = failure(ask(harness.start(), [generate(1)])[0])
    assert isinstance(error, RateLimitError)
    assert "takes no requests until" in str(error)


@pytest.mark.parametrize("limit", ["0.001", "1e-9", "1e9", "-2", "nan"])
def test_a_mistaken_limit_in_a_header_slows_nothing(harness: Harness, limit: str):
    def say(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        headers = {"x-ratelimit-limit-requests": limit}
        connection.answer(200, whole_body(request), headers=headers)

    harness.server.default = say
    client = harness.start(requests_a_minute=None)
    began = time.monotonic()
    for number in range(4):
        image(ask(client, [generate(number)])[0])
    assert time.monotonic() - began < 20


def test_a_call_that_is_locked_out_says_so_and_fails_unsent(harness: Harness):
    path = harness.folder / "quota.sqlite"
    harness.make_limiter = lambda path: RateLimiter(
        path, tick=0.1, say_locked_after=0.2, fail_locked_after=1.0
    )
    client = harness.start()
    image(ask(client, [generate(0)])[0])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    heard: list[Progress] = []
    future = client.submit(generate(1), "test", heard.append)
    until(lambda: any(each.phase == "waiting" and each.reason for each in heard))
    error = failure(outcome(future))
    holder.execute("COMMIT")
    holder.close()
    assert isinstance(error, StoreError)
    assert str(path) in str(error)
    image(ask(client, [generate(1)])[0])
    assert len(harness.server.billed) == 2
