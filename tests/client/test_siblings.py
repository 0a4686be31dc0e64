"""Calls that end together: which errors end them, and which calls they leave alone."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from mai_image.mai.errors import (
    AuthenticationError,
    BadRequestError,
    Billed,
    BlockedError,
    BudgetError,
    ConfigurationError,
    ConnectError,
    CredentialError,
    ForbiddenError,
    MaiError,
    NotFoundError,
    PaymentError,
    ProfileError,
    RateLimitError,
    StoreError,
)
from mai_image.mai.in_flight import Siblings
from mai_image.mai.types import Generate, Progress, Request, Result

REQUEST = Generate("MAI-Image-2.6", "a fox", 768, 768)


class Calls:
    """A client whose calls do what a test says."""

    def __init__(self) -> None:
        self.futures: list[Future[Result]] = []
        self.listeners: list[object] = []

    def submit(self, request: Request, profile: str, on_progress: object) -> Future[Result]:
        self.futures.append(Future())
        self.listeners.append(on_progress)
        return self.futures[-1]

    def say(self, number: int, phase: str) -> None:
        self.listeners[number](Progress(phase))  # type: ignore[operator]


@pytest.fixture
def calls() -> Calls:
    return Calls()


def submit(siblings: Siblings, calls: Calls, *phases: str) -> list[Future[Result]]:
    futures = [siblings.submit(calls, REQUEST, "test") for _ in phases]
    for number, phase in enumerate(phases):
        if phase:
            calls.say(number, phase)
    return futures


@pytest.mark.parametrize(
    "kind",
    [
        AuthenticationError,
        BudgetError,
        ConfigurationError,
        CredentialError,
        ForbiddenError,
        NotFoundError,
        PaymentError,
        ProfileError,
        StoreError,
    ],
)
def test_a_refusal_of_all_withdraws_those_that_wait(calls: Calls, kind: type[MaiError]) -> None:
    siblings, error = Siblings(), kind("no")
    futures = submit(siblings, calls, "", "waiting", "retrying", "joined")
    futures[0].set_exception(error)
    assert siblings.refusal is error
    assert all(future.cancelled() for future in futures[1:])


@pytest.mark.parametrize("kind", [BadRequestError, BlockedError, ConnectError, RateLimitError])
def test_an_error_of_one_call_leaves_the_others(calls: Calls, kind: type[MaiError]) -> None:
    siblings = Siblings()
    futures = submit(siblings, calls, "sent", "waiting")
    futures[0].set_exception(kind("no"))
    assert siblings.refusal is None
    assert not futures[1].done()


def test_an_error_after_the_work_was_done_is_no_refusal(calls: Calls) -> None:
    siblings = Siblings()
    futures = submit(siblings, calls, "processing", "waiting")
    futures[0].set_exception(NotFoundError("the image is gone", billed=Billed.PERHAPS))
    assert siblings.refusal is None
    assert not futures[1].done()


@pytest.mark.parametrize("phase", ["sent", "queued", "processing"])
def test_what_the_service_has_goes_on(calls: Calls, phase: str) -> None:
    siblings = Siblings()
    futures = submit(siblings, calls, "sent", phase)
    futures[0].set_exception(PaymentError("no"))
    assert not futures[1].done()
    calls.say(1, "waiting")
    assert futures[1].cancelled(), "refused by the rate limit, it would wait for another slot"


def test_a_call_that_may_come_from_the_store_is_left_until_it_waits(calls: Calls) -> None:
    siblings = Siblings()
    futures = submit(siblings, calls, "sent", "", "")
    futures[0].set_exception(PaymentError("no"))
    assert not futures[1].done()
    calls.say(2, "waiting")
    assert futures[2].cancelled()
    assert not futures[1].done()


def test_after_a_refusal_nothing_more_is_submitted(calls: Calls) -> None:
    siblings = Siblings()
    submit(siblings, calls, "sent")[0].set_exception(PaymentError("no"))
    assert siblings.submit(calls, REQUEST, "test").cancelled()
    assert len(calls.futures) == 1


def test_the_first_refusal_stays_the_reason(calls: Calls) -> None:
    siblings, first = Siblings(), PaymentError("first")
    futures = submit(siblings, calls, "sent", "sent")
    futures[0].set_exception(first)
    futures[1].set_exception(ForbiddenError("second"))
    assert siblings.refusal is first
