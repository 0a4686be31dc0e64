"""Who waits, who joins, what is withdrawn, what goes on; and the end of the process."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import pytest
from client_harness import (
    COST,
    ESTIMATE,
    Harness,
    ask,
    drawn,
    failure,
    generate,
    image,
    outcome,
    until,
)
from mai_image.mai.client import Client
from mai_image.mai.errors import Billed, BudgetError, CancelledCall
from mai_image.mai.ledger import Ledger, NewCall
from mai_image.mai.types import Budget, Progress
from scripted_server import Connection, ReceivedRequest

ONE = generate(0)


def one_a_minute(harness: Harness) -> Client:
    """A service whose second call waits for its turn for a minute."""
    return harness.start(requests_a_minute=1.0)


def waits(heard: list[Progress]) -> bool:
    return any(each.phase == "waiting" for each in heard)


def out(harness: Harness, count: int = 1) -> None:
    """Wait until the server has this many requests."""
    until(lambda: len(harness.server.requests) == count)


def test_the_same_request_twice_while_running_is_sent_once_and_paid_by_the_first(
    harness: Harness, gate: threading.Event
):
    client = harness.start()
    first = client.submit(ONE)
    out(harness)
    heard: list[Progress] = []
    second = client.submit(ONE, on_progress=heard.append)
    until(lambda: bool(heard))
    gate.set()
    assert image(outcome(first)).cost_usd == pytest.approx(COST)
    assert image(outcome(second)).cost_usd == 0.0
    assert first.result().image == second.result().image
    assert len(harness.server.requests) == 1
    assert len(harness.rows()) == 1


def test_both_who_wait_hear_of_a_failure(harness: Harness):
    gate = threading.Event()

    def fail_late(connection: Connection, request: ReceivedRequest) -> None:
        gate.wait(10)
        connection.answer(500)

    harness.server.default = fail_late
    client = harness.start()
    futures = [client.submit(ONE), client.submit(ONE)]
    out(harness)
    gate.set()
    assert all(failure(outcome(future)).billed is Billed.PERHAPS for future in futures)
    assert len(harness.server.requests) == 1


def test_a_cancelled_call_that_is_out_lands_in_store_and_ledger(
    harness: Harness, gate: threading.Event
):
    client = harness.start()
    future = client.submit(ONE)
    out(harness)
    assert future.cancel()
    gate.set()
    until(lambda: harness.outcomes() == ["delivered"])
    harness.balance([ONE])
    assert image(ask(client, [ONE])[0]).cost_usd == 0.0
    assert len(harness.server.requests) == 1


def test_a_cancelled_call_that_is_out_can_be_joined_again(harness: Harness, gate: threading.Event):
    client = harness.start()
    client.submit(ONE).cancel()
    first = client.submit(ONE)
    out(harness)
    first.cancel()
    again = client.submit(ONE)
    gate.set()
    assert image(outcome(again)).image == drawn(ONE.prompt)
    assert len(harness.server.requests) == 1


def test_a_cancelled_call_that_waits_for_its_turn_is_withdrawn(
    harness: Harness, gate: threading.Event
):
    client = one_a_minute(harness)
    client.submit(ONE)
    out(harness)
    heard: list[Progress] = []
    future = client.submit(generate("waits"), on_progress=heard.append)
    until(lambda: waits(heard))
    (wait,) = {each.rpm for each in heard if each.phase == "waiting"}
    assert wait == 1.0
    assert future.cancel()
    until(lambda: harness.outcomes() == ["in flight", "withdrawn"])
    gate.set()
    until(lambda: harness.outcomes() == ["delivered", "withdrawn"])
    assert harness.counted() == pytest.approx(COST)
    harness.stop()
    assert len(harness.server.requests) == 1
    harness.balance([ONE, generate("waits")])


def test_a_withdrawn_call_gives_its_money_back_to_the_budget(
    harness: Harness, gate: threading.Event
):
    client = harness.start(requests_a_minute=1.0, budget=Budget(day=2.5 * ESTIMATE))
    client.submit(ONE)
    out(harness)
    heard: list[Progress] = []
    waiting = client.submit(generate(1), on_progress=heard.append)
    until(lambda: waits(heard))
    assert isinstance(failure(outcome(client.submit(generate(2)))), BudgetError)
    waiting.cancel()
    until(lambda: harness.outcomes()[1] == "withdrawn")
    last: list[Progress] = []
    client.submit(generate(2), on_progress=last.append)
    until(lambda: waits(last))


def test_a_call_cancelled_while_its_row_is_written_leaves_no_row_in_flight(
    harness: Harness,
):
    """Else it would count in the budget, and block other processes, as long as this one lives."""
    writing, go_on = threading.Event(), threading.Event()

    class Slow(Ledger):
        def open(self, call: NewCall, budget: Budget, *rest: Any) -> str:
            row = super().open(call, budget, *rest)
            writing.set()
            go_on.wait(5)
            return row

    harness.make_ledger = Slow
    future = harness.start().submit(ONE)
    assert writing.wait(5)
    future.cancel()
    time.sleep(0.05)
    go_on.set()
    until(lambda: harness.outcomes() == ["withdrawn"])
    assert harness.server.connections == 0


class SlowCredential:
    """A token that takes long to be had, as Entra ID's can."""

    can_renew = False

    def __init__(self) -> None:
        self.asked = threading.Event()

    async def headers(self, *, renew: bool = False) -> dict[str, str]:
        self.asked.set()
        await asyncio.sleep(30)
        return {"api-key": "too late"}

    def is_there(self) -> bool:
        return True

    def describe(self) -> str:
        return "a slow credential"


def test_a_call_cancelled_while_its_credential_is_had_buys_nothing(harness: Harness):
    """It counts as sent only once the credential is there, and a slot."""
    credential = SlowCredential()
    future = harness.start(credential=credential).submit(ONE)
    assert credential.asked.wait(5)
    future.cancel()
    until(lambda: harness.outcomes() == ["withdrawn"])
    assert harness.server.connections == 0
    assert harness.counted() == 0.0


def test_when_one_of_two_who_wait_is_cancelled_the_other_still_gets_it(
    harness: Harness, gate: threading.Event
):
    client = one_a_minute(harness)
    client.submit(ONE)
    out(harness)
    heard: list[Progress] = []
    first = client.submit(generate(1))
    second = client.submit(generate(1), on_progress=heard.append)
    until(lambda: waits(heard))
    first.cancel()
    time.sleep(0.05)
    assert harness.outcomes() == ["in flight", "in flight"]
    assert not second.done()
    second.cancel()
    until(lambda: harness.outcomes() == ["in flight", "withdrawn"])


def test_who_remains_of_two_pays(harness: Harness, gate: threading.Event):
    """The cost is shown once, by the first who still waits."""
    client = harness.start()
    first, second, third = (client.submit(ONE) for _ in range(3))
    out(harness)
    first.cancel()
    gate.set()
    assert image(outcome(second)).cost_usd == pytest.approx(COST)
    assert image(outcome(third)).cost_usd == 0.0


def test_a_failing_listener_costs_no_image(harness: Harness, caplog: pytest.LogCaptureFixture):
    def broken(progress: Progress) -> None:
        raise RuntimeError("a bug of the page")

    with caplog.at_level(logging.CRITICAL, "mai_image"):
        future = harness.start().submit(ONE, on_progress=broken)
        assert image(outcome(future)).image == drawn(ONE.prompt)
    harness.balance([ONE])


def test_a_failing_listener_of_one_who_joins_costs_nobody_the_image(
    harness: Harness, gate: threading.Event
):
    def broken(progress: Progress) -> None:
        raise RuntimeError("a bug of the page")

    client = harness.start()
    first = client.submit(ONE)
    out(harness)
    second = client.submit(ONE, on_progress=broken)
    gate.set()
    assert image(outcome(first))
    assert image(outcome(second))


def test_close_lands_what_is_out_and_withdraws_what_waits(harness: Harness, gate: threading.Event):
    client = one_a_minute(harness)
    sent = client.submit(ONE)
    out(harness)
    heard: list[Progress] = []
    waiting = client.submit(generate(1), on_progress=heard.append)
    until(lambda: waits(heard))
    threading.Timer(0.2, gate.set).start()
    client.close(grace=10)
    assert image(outcome(sent)).image == drawn(ONE.prompt)
    error = failure(outcome(waiting))
    assert isinstance(error, CancelledCall)
    assert error.billed is Billed.NO
    assert harness.outcomes() == ["delivered", "withdrawn"]
    harness.balance([ONE, generate(1)])


def test_close_waits_no_longer_than_its_grace_and_says_perhaps_billed(
    harness: Harness, gate: threading.Event
):
    client = harness.start()
    future = client.submit(ONE)
    out(harness)
    started = time.monotonic()
    client.close(grace=0.2)
    assert time.monotonic() - started < 2.5
    assert failure(outcome(future)).billed is Billed.PERHAPS
    harness.balance([ONE])
    assert harness.outcomes() == ["perhaps billed"]


def test_close_takes_the_profile_s_grace(harness: Harness, gate: threading.Event):
    client = harness.start(shutdown_grace=0.1)
    client.submit(ONE)
    out(harness)
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 2.5
    assert harness.outcomes() == ["perhaps billed"]


def test_after_close_nothing_is_taken_any_more_and_nobody_waits_for_ever(harness: Harness):
    client = harness.start()
    client.close()
    client.close()
    error = failure(outcome(client.submit(ONE), seconds=2))
    assert isinstance(error, CancelledCall)
    assert harness.server.connections == 0


def test_what_landed_at_the_end_is_free_after_the_restart(harness: Harness, gate: threading.Event):
    client = harness.start()
    client.submit(ONE).cancel()
    client.submit(ONE)
    out(harness)
    threading.Timer(0.1, gate.set).start()
    client.close(grace=10)
    assert image(ask(harness.start(), [ONE])[0]).cost_usd == 0.0
    assert len(harness.server.requests) == 1


def test_a_second_close_waits_for_what_the_first_lets_land(
    harness: Harness, gate: threading.Event
) -> None:
    client = harness.start()
    waiting = client.submit(ONE)
    until(lambda: len(harness.server.billed) == 1)
    first = threading.Thread(target=client.close)
    first.start()
    second = threading.Thread(target=client.close)
    second.start()
    second.join(0.3)
    assert second.is_alive()
    gate.set()
    first.join(10)
    second.join(10)
    assert not second.is_alive()
    assert waiting.result(1).width > 0
