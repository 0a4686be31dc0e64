"""A job that nobody wants is cancelled where it hasn't begun; what may be billed is never free."""

from __future__ import annotations

import pytest
from services import CANCELLING

QUEUED = "a fox [[job queued=60]]"


@pytest.fixture(params=CANCELLING)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def begun(buyer, until, prompt: str):
    """A future whose job is polled."""
    future = buyer.order(prompt)
    until(lambda: buyer.asked("/status"))
    return future


def test_a_queued_job_that_nobody_wants_is_cancelled_and_free(buyer, until) -> None:
    assert begun(buyer, until, QUEUED).cancel()
    until(lambda: buyer.outcomes == ["withdrawn"])
    assert (buyer.asked("/cancel"), buyer.gateway.log.billed) == (1, 0)
    spend = buyer.client.ledger.spend()
    assert (spend.total.usd, spend.in_flight.usd) == (0.0, 0.0)


def test_a_wait_of_an_hour_between_polls_keeps_no_cancel_away(buyer, until, monkeypatch) -> None:
    future = buyer.order(QUEUED)
    buyer.client._pipeline._jobs.poll = 3600.0
    until(lambda: buyer.asked("/text-to-image"))
    until(lambda: buyer.client.in_flight() and buyer.client.in_flight()[0].phase == "queued")
    assert future.cancel()
    until(lambda: buyer.asked("/cancel"))


def test_a_job_that_has_begun_is_followed_to_its_image(buyer, until) -> None:
    prompt = "a fox [[job processing=0.5]]"
    assert begun(buyer, until, prompt).cancel()
    until(lambda: buyer.outcomes == ["delivered"])
    assert buyer.buy(prompt).width == 1024
    assert (buyer.asked("/cancel"), buyer.orders) == (0, 1)


def test_a_job_that_somebody_else_waits_for_goes_on(buyer, until) -> None:
    prompt = "a fox [[job queued=0.5]]"
    first, second = buyer.order(prompt), buyer.order(prompt)
    until(lambda: buyer.asked("/status"))
    assert first.cancel()
    assert second.result(20).width == 1024
    assert (buyer.asked("/cancel"), buyer.orders) == (0, 1)


@pytest.mark.parametrize(
    "refusal",
    ["status=400", "status=403", "status=404", "status=409", "status=500", "status=302",
     "reset=answer", "answer=garbage"],
)  # fmt: skip
def test_a_cancel_that_fails_leaves_the_job_to_its_image(buyer, until, refusal) -> None:
    """A lost or unreadable answer may have been a yes: the status decides."""
    prompt = f"a fox [[job queued=0.6]] [[cancel {refusal}]]"
    assert begun(buyer, until, prompt).cancel()
    until(lambda: buyer.outcomes in (["delivered"], ["withdrawn"]))
    assert buyer.asked("/cancel") == 1
    assert (buyer.outcomes == ["delivered"]) == (buyer.gateway.log.billed == 1)


def test_who_asks_again_after_a_cancel_gets_an_image_of_a_new_order(buyer, until) -> None:
    prompt = "a fox [[job queued=0.7]]"
    assert begun(buyer, until, prompt).cancel()
    until(lambda: buyer.asked("/cancel"))
    assert buyer.buy(prompt).width == 1024
    assert (buyer.orders, buyer.gateway.log.billed) == (2, 1)
    assert buyer.outcomes == ["withdrawn", "delivered"]


def test_a_job_is_left_to_the_next_run_when_the_program_ends(buyer, until) -> None:
    prompt = "a fox [[job queued=0.6]]"
    begun(buyer, until, prompt)
    buyer.restart()
    assert (buyer.asked("/cancel"), buyer.outcomes) == (0, ["in flight"])
    assert buyer.buy(prompt).width == 1024
    assert buyer.orders == 1
