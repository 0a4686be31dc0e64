"""A job is taken up again: after a deadline, a restart, a crash, by another process and account."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from mai_image.mai.errors import BudgetError, CancelledCall, PendingError
from services import profile_text

SLOW = "a fox [[job queued=0.3 processing=0.3]]"


def orders(buyer) -> int:
    return buyer.orders


def test_a_job_that_takes_too_long_is_taken_up_by_the_next_run(buyer) -> None:
    buyer.configure(timeout=2)
    prompt = "a fox [[job processing=2.6]]"
    error = buyer.fail(prompt)
    assert isinstance(error, PendingError)
    assert "processing" in error.what
    assert "isn't bought twice" in error.hint
    assert buyer.outcomes == ["in flight"]
    assert "an earlier run ordered it" in str(buyer.buy(prompt).notes)
    assert (orders(buyer), buyer.gateway.log.billed) == (1, 1)
    assert buyer.outcomes == ["delivered"]


def test_a_job_is_taken_up_after_a_restart(buyer, until) -> None:
    future = buyer.order(SLOW)
    until(lambda: buyer.asked("/status"))
    began = time.monotonic()
    buyer.restart()
    assert time.monotonic() - began < 2
    with pytest.raises(CancelledCall, match="go on with the same job"):
        future.result(5)
    assert buyer.outcomes == ["in flight"]
    assert buyer.buy(SLOW).width == 1024
    assert (orders(buyer), buyer.outcomes) == (1, ["delivered"])


def test_an_ending_service_doesnt_wait_for_a_job(buyer, until) -> None:
    buyer.order("a fox [[job processing=60]]")
    until(lambda: buyer.asked("/status"))
    began = time.monotonic()
    buyer.client.close(grace=30)
    assert time.monotonic() - began < 2


CHILD = """
import sys
from pathlib import Path
from mai_image.mai.types import Generate
from mai_image.mai.profiles import Profiles
from mai_image.mai.providers import PROVIDERS
from mai_image.mai.client import Client
folder = Path(sys.argv[1])
client = Client(folder, Profiles(folder, {}), poll=0.02)
model = PROVIDERS[client.profiles.get("test").service].test_model
client.submit(Generate(model, sys.argv[2], 1024, 1024), "test").result()
"""


def child(buyer, prompt: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(buyer.folder), prompt])


def test_a_job_of_a_killed_process_is_taken_up(buyer, until) -> None:
    prompt = "a fox [[job processing=1.5]]"
    process = child(buyer, prompt)
    try:
        deadline = time.monotonic() + 20
        while not buyer.asked("/status"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert buyer.outcomes == ["in flight"]
    assert buyer.buy(prompt).width == 1024
    assert (orders(buyer), buyer.outcomes) == (1, ["delivered"])


def test_a_job_of_a_living_process_is_waited_for_and_bought_once(buyer) -> None:
    prompt = "a fox [[job processing=1.2]]"
    process = child(buyer, prompt)
    try:
        deadline = time.monotonic() + 20
        while not buyer.asked("/status"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert buyer.buy(prompt).from_store
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    # One that came between the other's image and its row is withdrawn.
    delivered = [outcome for outcome in buyer.outcomes if outcome != "withdrawn"]
    assert (orders(buyer), delivered) == (1, ["delivered"])


def test_a_job_that_a_living_process_gave_up_can_be_taken_up_by_another(buyer) -> None:
    buyer.configure(timeout=2)
    prompt = "a fox [[job processing=2.3]]"
    assert isinstance(buyer.fail(prompt), PendingError)
    process = child(buyer, prompt)
    try:
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert (orders(buyer), buyer.outcomes) == (1, ["delivered"])


def test_a_cancelled_wait_lets_the_job_land_in_the_store(buyer, until) -> None:
    prompt = "a fox [[job processing=0.6]]"
    future = buyer.order(prompt)
    until(lambda: buyer.asked("/status"))
    assert future.cancel()
    until(lambda: buyer.outcomes == ["delivered"])
    assert buyer.buy(prompt).width == 1024
    assert (orders(buyer), buyer.outcomes) == (1, ["delivered"])


def test_an_image_on_a_host_that_isnt_listed_waits_for_the_administrator(buyer) -> None:
    prompt = "a fox [[job media=foreign]]"
    error = buyer.fail(prompt)
    assert isinstance(error, PendingError)
    assert "'media.example.com'" in error.what
    assert "media_hosts" in error.hint
    assert buyer.outcomes == ["in flight"]
    assert (orders(buyer), buyer.asked("/media/")) == (1, 0)
    assert isinstance(buyer.fail(prompt), PendingError)
    assert orders(buyer) == 1


def test_an_image_that_cant_be_fetched_now_is_fetched_by_the_next_run(buyer) -> None:
    prompt = "a fox [[media reset=answer first=4]]"
    error = buyer.fail(prompt)
    assert isinstance(error, PendingError)
    assert "can't be fetched" in error.what
    assert buyer.buy(prompt).width == 1024
    assert (orders(buyer), buyer.outcomes) == (1, ["delivered"])


def test_a_key_that_is_refused_for_a_poll_leaves_the_job_open(buyer) -> None:
    prompt = "a fox [[poll status=401 first=1]]"
    error = buyer.fail(prompt)
    assert isinstance(error, PendingError)
    assert (error.status, buyer.outcomes) == (401, ["in flight"])
    assert buyer.buy(prompt).width == 1024
    assert orders(buyer) == 1


def test_a_job_is_asked_for_with_the_account_that_bought_it(buyer) -> None:
    """The other profile's key isn't accepted: it must not be the one that polls."""
    buyer.configure(timeout=2)
    prompt = "a fox [[job processing=2.3]]"
    assert isinstance(buyer.fail(prompt), PendingError)
    other = profile_text(buyer.service, buyer.gateway.url, name="other", key="wrong")
    buyer.configure(timeout=20, more=other)
    assert buyer.buy(prompt, profile="other").width == 1024
    assert orders(buyer) == 1


def test_an_open_job_counts_in_the_budget(buyer) -> None:
    buyer.configure(timeout=2, more="[profiles.test.budget]\nday = 0.06\n")
    assert isinstance(buyer.fail("a fox [[job processing=60]]"), PendingError)
    assert isinstance(buyer.fail("another fox"), BudgetError)


def test_an_image_that_landed_before_its_row_was_closed_is_delivered(buyer, monkeypatch) -> None:
    """The process dies between the store and the ledger: nothing is left to resume."""
    closed, rows = buyer.client.ledger.close, []
    monkeypatch.setattr(buyer.client.ledger, "close", lambda row, *args, **more: rows.append(row))
    buyer.buy()
    monkeypatch.setattr(buyer.client.ledger, "close", closed)
    buyer.client.ledger.leave_job(rows[0])
    assert buyer.outcomes == ["in flight"]
    buyer.restart()
    assert buyer.outcomes == ["delivered"]
    assert buyer.buy().from_store
