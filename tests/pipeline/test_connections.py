"""Connections that fail before, during and after a request."""

from __future__ import annotations

import socket
import threading
import time

from client_harness import (
    ESTIMATE,
    Rig,
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


def test_refused_connections_bill_nothing_and_the_next_run_buys_all(rig: Rig):
    requests = batch(3)
    nowhere = rig.start(endpoint=f"http://127.0.0.1:{closed_port()}")
    for found in ask(nowhere, requests):
        assert isinstance(failure(found), ConnectError)
    rig.stop()
    rig.balance(requests)
    assert rig.outcomes() == ["refused"] * 3
    assert rig.counted() == 0.0

    assert all(image(found) for found in ask(rig.start(), requests))
    rig.balance(requests)
    assert len(rig.server.billed) == 3


def test_reset_before_the_request_is_repeated_or_perhaps_billed(rig: Rig):
    """Unavoidably either: a small request may lie in the socket whole when the reset comes, or not.

    What is asserted is that the ledger and the bill agree on whichever it was.
    """
    struck: list[bool] = []

    def reset_first(connection: Connection) -> bool:
        if struck:
            return True
        struck.append(True)
        connection.reset()
        return False

    requests = batch(4)
    rig.server.before = reset_first
    found = ask(rig.start(), requests)
    lost = [each for each in found if isinstance(each, MaiError)]
    assert len(lost) <= 1
    assert all(isinstance(each, ConnectionLostError) for each in lost)
    rig.stop()
    rig.balance(requests, phantom=len(lost))

    bought = len(rig.server.billed)
    assert all(image(each) for each in ask(rig.start(), requests))
    assert len(rig.server.billed) - bought == len(lost)
    rig.balance(requests, phantom=len(lost))


def test_reset_during_a_large_request_is_repeated_and_billed_once(rig: Rig):
    """The service never had the whole request, so it can't have begun it."""
    struck: list[bool] = []

    def reset_early(connection: Connection) -> bool:
        if struck:
            return True
        struck.append(True)
        connection.socket.recv(1000)
        time.sleep(0.05)
        connection.reset()
        return False

    rig.server.before = reset_early
    large = Reference(png(64, 64) + bytes(20_000_000), "image/png", 64, 64)
    requests = [edit(0, images=(large,)), edit(1), edit(2)]
    assert all(image(found) for found in ask(rig.start(), requests))
    rig.stop()
    rig.balance(requests)
    assert len(rig.server.billed) == 3
    assert rig.outcomes() == ["delivered"] * 3


def test_kept_connection_that_the_server_closed_is_not_a_failure(rig: Rig):
    """A front end closes idle connections: the next call opens a new one."""
    client = rig.start()
    rig.server.default = draw_and_hang_up
    for request in batch(3):
        assert image(ask(client, [request])[0])
        rig.server.quiet()
    rig.balance(batch(3))
    assert len(rig.server.billed) == rig.server.connections == 3


def test_parallel_calls_never_pass_the_budget_together(rig: Rig):
    """Twelve at once, money for five: five are sent, and each refusal names the sums."""
    requests = batch(12)
    budget = 5.5 * ESTIMATE
    gate = threading.Event()
    rig.server.default = draw_after(lambda: gate.wait(5))
    client = rig.start(budget=Budget(day=budget))
    futures = [client.submit(request) for request in requests]
    until(lambda: sum(future.done() for future in futures) == 7)
    gate.set()
    found = [outcome(future) for future in futures]
    refused = [each for each in found if isinstance(each, BudgetError)]
    assert len(refused) == 7
    assert all("in flight" in str(each) for each in refused)
    rig.stop()
    assert len(rig.server.requests) == 5
    rig.balance(requests)
    assert rig.counted() <= budget


def test_what_the_budget_refused_is_all_that_the_next_run_buys(rig: Rig):
    requests = batch(5)
    ask(rig.start(budget=Budget(day=2.5 * ESTIMATE)), requests)
    assert len(rig.server.billed) == 2
    assert all(image(found) for found in ask(rig.restart(), requests))
    rig.stop()
    assert len(rig.server.billed) == 5
    rig.balance(requests)
