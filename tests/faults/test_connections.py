"""Connections that fail before, during and after a request."""

from __future__ import annotations

import socket
import threading
import time

from mai_image.mai.errors import BudgetError, ConnectError, ConnectionLostError, MaiError
from mai_image.mai.messages import Reference
from mai_image.mai.profiles import Budget
from rig import (
    ESTIMATE,
    Rig,
    ask,
    batch,
    draw,
    draw_after,
    edit,
    failure,
    outcome,
    picture,
    until,
)
from scripted import Connection, Request, png


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def draw_and_hang_up(connection: Connection, request: Request) -> None:
    draw(connection, request)
    connection.hang_up()


def test_refused_connections_bill_nothing_and_the_next_run_buys_all(rig: Rig):
    messages = batch(3)
    nowhere = rig.start(endpoint=f"http://127.0.0.1:{closed_port()}")
    for found in ask(nowhere, messages):
        assert isinstance(failure(found), ConnectError)
    rig.stop()
    rig.balance(messages)
    assert rig.outcomes() == ["refused"] * 3
    assert rig.counted() == 0.0

    assert all(picture(found) for found in ask(rig.start(), messages))
    rig.balance(messages)
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

    messages = batch(4)
    rig.server.before = reset_first
    found = ask(rig.start(), messages)
    lost = [each for each in found if isinstance(each, MaiError)]
    assert len(lost) <= 1
    assert all(isinstance(each, ConnectionLostError) for each in lost)
    rig.stop()
    rig.balance(messages, phantom=len(lost))

    bought = len(rig.server.billed)
    assert all(picture(each) for each in ask(rig.start(), messages))
    assert len(rig.server.billed) - bought == len(lost)
    rig.balance(messages, phantom=len(lost))


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
    messages = [edit(0, images=(large,)), edit(1), edit(2)]
    assert all(picture(found) for found in ask(rig.start(), messages))
    rig.stop()
    rig.balance(messages)
    assert len(rig.server.billed) == 3
    assert rig.outcomes() == ["delivered"] * 3


def test_kept_connection_that_the_server_closed_is_not_a_failure(rig: Rig):
    """A front end closes idle connections: the next call opens a new one."""
    service = rig.start()
    rig.server.default = draw_and_hang_up
    for message in batch(3):
        assert picture(ask(service, [message])[0])
        rig.server.quiet()
    rig.balance(batch(3))
    assert len(rig.server.billed) == rig.server.connections == 3


def test_parallel_calls_never_pass_the_budget_together(rig: Rig):
    """Twelve at once, money for five: five are sent, and each refusal names the sums."""
    messages = batch(12)
    budget = 5.5 * ESTIMATE
    gate = threading.Event()
    rig.server.default = draw_after(lambda: gate.wait(5))
    service = rig.start(budget=Budget(day=budget))
    futures = [service.submit(message) for message in messages]
    until(lambda: sum(future.done() for future in futures) == 7)
    gate.set()
    found = [outcome(future) for future in futures]
    refused = [each for each in found if isinstance(each, BudgetError)]
    assert len(refused) == 7
    assert all("in flight" in str(each) for each in refused)
    rig.stop()
    assert len(rig.server.requests) == 5
    rig.balance(messages)
    assert rig.counted() <= budget


def test_what_the_budget_refused_is_all_that_the_next_run_buys(rig: Rig):
    messages = batch(5)
    ask(rig.start(budget=Budget(day=2.5 * ESTIMATE)), messages)
    assert len(rig.server.billed) == 2
    assert all(picture(found) for found in ask(rig.restart(), messages))
    rig.stop()
    assert len(rig.server.billed) == 5
    rig.balance(messages)
