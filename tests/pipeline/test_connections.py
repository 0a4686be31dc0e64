"""Connections that fail before, during and after a request."""

from __future__ import annotations

import socket
import threading
import time

from client_harness import (
    ESTIMATE,
    Harness,
    ask,
    batch,
    draw,
    draw_after,
    edit,
    failure,
    image,
    outcome,
    until,
)
from mai_image.mai.errors import BudgetError, ConnectError, ConnectionLostError, MaiError
from mai_image.mai.types import Budget, Reference
from scripted_server import Connection, ReceivedRequest, png


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def draw_and_hang_up(connection: Connection, request: ReceivedRequest) -> None:
    draw(connection, request)
    connection.hang_up()


def test_refused_connections_bill_nothing_and_the_next_run_buys_all(harness: Harness):
    requests = batch(3)
    nowhere = harness.start(endpoint=f"http://127.0.0.1:{closed_port()}")
    for found in ask(nowhere, requests):
        assert isinstance(failure(found), ConnectError)
    harness.stop()
    harness.balance(requests)
    assert harness.outcomes() == ["refused"] * 3
    assert harness.counted() == 0.0

    assert all(image(found) for found in ask(harness.start(), requests))
    harness.balance(requests)
    assert len(harness.server.billed) == 3


def test_reset_before_the_request_is_repeated_or_perhaps_billed(harness: Harness):
    """Unavoidably either: a small request may lie in the socket whole when the reset comes, or not.

    What is asserted is that the ledger and the bill agree on whichever it was.
    """
    faulty: list[bool] = []

    def reset_first(connection: Connection) -> bool:
        if faulty:
            return True
        faulty.append(True)
        connection.reset()
        return False

    requests = batch(4)
    harness.server.before = reset_first
    found = ask(harness.start(), requests)
    lost = [each for each in found if isinstance(each, MaiError)]
    assert len(lost) <= 1
    assert all(isinstance(each, ConnectionLostError) for each in lost)
    harness.stop()
    harness.balance(requests, phantom=len(lost))

    bought = len(harness.server.billed)
    assert all(image(each) for each in ask(harness.start(), requests))
    assert len(harness.server.billed) - bought == len(lost)
    harness.balance(requests, phantom=len(lost))


def test_reset_during_a_large_request_is_repeated_and_billed_once(harness: Harness):
    """The service never had the whole request, so it can't have begun it."""
    faulty: list[bool] = []

    def reset_early(connection: Connection) -> bool:
        if faulty:
            return True
        faulty.append(True)
        connection.socket.recv(1000)
        time.sleep(0.05)
        connection.reset()
        return False

    harness.server.before = reset_early
    large = Reference(png(64, 64) + bytes(20_000_000), "image/png", 64, 64)
    requests = [edit(0, images=(large,)), edit(1), edit(2)]
    assert all(image(found) for found in ask(harness.start(), requests))
    harness.stop()
    harness.balance(requests)
    assert len(harness.server.billed) == 3
    assert harness.outcomes() == ["delivered"] * 3


def test_kept_connection_that_the_server_closed_is_not_a_failure(harness: Harness):
    """A front end closes idle connections: the next call opens a new one."""
    client = harness.start()
    harness.server.default = draw_and_hang_up
    for request in batch(3):
        assert image(ask(client, [request])[0])
        harness.server.quiet()
    harness.balance(batch(3))
    assert len(harness.server.billed) == harness.server.connections == 3


def test_parallel_calls_never_pass_the_budget_together(harness: Harness):
    """Twelve at once, money for five: five are sent, and each refusal names the sums."""
    requests = batch(12)
    budget = 5.5 * ESTIMATE
    gate = threading.Event()
    harness.server.default = draw_after(lambda: gate.wait(5))
    client = harness.start(budget=Budget(day=budget))
    futures = [client.submit(request) for request in requests]
    until(lambda: sum(future.done() for future in futures) == 7)
    gate.set()
    found = [outcome(future) for future in futures]
    refused = [each for each in found if isinstance(each, BudgetError)]
    assert len(refused) == 7
    assert all("in flight" in str(each) for each in refused)
    harness.stop()
    assert len(harness.server.requests) == 5
    harness.balance(requests)
    assert harness.counted() <= budget


def test_what_the_budget_refused_is_all_that_the_next_run_buys(harness: Harness):
    requests = batch(5)
    ask(harness.start(budget=Budget(day=2.5 * ESTIMATE)), requests)
    assert len(harness.server.billed) == 2
    assert all(image(found) for found in ask(harness.restart(), requests))
    harness.stop()
    assert len(harness.server.billed) == 5
    harness.balance(requests)
