"""A gateway's job that was ordered for later: it goes on unwaited for, and is paid once."""

from __future__ import annotations

from typing import Any

from mai_image.mai.in_flight import OrderedImage, Siblings
from mai_image.mai.providers import PROVIDERS
from mai_image.mai.types import Generate

SLOW = "a fox [[job queued=0.3 processing=0.3]]"
LONG = "a fox [[job processing=1.6]]"


def request_for(buyer: Any, prompt: str) -> Generate:
    return Generate(PROVIDERS[buyer.service].test_model, prompt, 1024, 1024)


def order(buyer: Any, prompt: str = SLOW) -> OrderedImage:
    """Order an image as a node does."""
    client, request = buyer.client, request_for(buyer, prompt)
    (stored,) = client.look_up([request], "test")
    (image,) = client.orders.add("run", "1", "test", {stored.key: request})
    siblings = Siblings()
    future = siblings.submit(client, request, "test", image.hear)
    client.orders.follow(image, future, siblings)
    return image


def test_an_ordered_job_lands_in_the_store(buyer: Any, until: Any) -> None:
    image = order(buyer)
    until(lambda: image.state == "landed")
    assert buyer.client.look_up([request_for(buyer, SLOW)], "test")[0].kept
    assert (buyer.orders, buyer.gateway.log.billed) == (1, 1)


def test_an_ordered_job_is_taken_up_by_the_run_after_a_restart(buyer: Any, until: Any) -> None:
    order(buyer)
    until(lambda: len(buyer.gateway.log.entries) > 1)
    buyer.restart()
    (run,) = buyer.client.orders.runs()
    assert (run.earlier, dict(run.states)) == (True, {"left": 1})
    image = order(buyer)
    until(lambda: image.state == "landed")
    assert (buyer.orders, buyer.gateway.log.billed) == (1, 1)


def test_a_job_that_takes_too_long_is_to_be_ordered_again_and_says_why(
    buyer: Any, until: Any
) -> None:
    buyer.configure(timeout=1)
    image = order(buyer, LONG)
    until(lambda: image.state == "left")
    (run,) = buyer.client.orders.runs()
    ((reason, count),) = run.failures.items()
    assert "isn't bought twice" in reason
    assert count == 1
    buyer.configure(timeout=20)
    again = order(buyer, LONG)
    until(lambda: again.state == "landed")
    assert (buyer.orders, buyer.gateway.log.billed) == (1, 1)
