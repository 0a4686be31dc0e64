"""Every answer that the service is known to give, and those that it should never give.

Each strikes one call of a batch of four. The books must agree with the bill, the other three
images must be kept, and the next run must buy exactly what is missing.
"""

from __future__ import annotations

import dataclasses
import json

import pytest
from client_harness import (
    COST,
    ESTIMATE,
    Harness,
    ask,
    batch,
    draw,
    edit,
    failure,
    image,
    prompt_of,
    whole_body,
)
from fault_cases import INPUT_BLOCK, TABLE, Fault, cut
from mai_image.mai.errors import BlockedError, BudgetError, MaiError, UnreadableError
from mai_image.mai.ledger import DOUBTFUL
from mai_image.mai.types import Budget, Request
from scripted_server import (
    Behaviour,
    Connection,
    ReceivedRequest,
    Scripted,
    error_body,
    refuse,
)


def messages_for(fault: Fault) -> list[Request]:
    return [edit(i) for i in range(4)] if fault.edits else batch(4)


def asked_again(server: Scripted, since: int) -> list[str]:
    return sorted(prompt_of(request) for request in server.requests[since:])


def test_the_table_has_more_faults_than_asked_for():
    assert len({fault.name for fault in TABLE}) == len(TABLE) >= 30


@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: fault.name)
def test_one_faulty_call_of_a_batch(harness: Harness, fault: Fault):
    requests = messages_for(fault)
    harness.server.script = [fault.behave]
    first = ask(harness.start(timeout=fault.timeout), requests)
    missing = [m for m, found in zip(requests, first, strict=True) if isinstance(found, MaiError)]
    harness.stop()
    harness.server.quiet()

    assert len(missing) == (fault.ends is not None)
    for found in first:
        if isinstance(found, MaiError):
            assert fault.ends is not None
            assert isinstance(found, fault.ends)
    doubtful = [row for row in harness.rows() if row["outcome"] in DOUBTFUL]
    assert len(doubtful) == fault.perhaps
    blocked = harness.rows("blocked, perhaps billed")
    assert len(blocked) == (fault.ends is BlockedError)
    assert len(harness.server.requests) == 4 + (fault.ends is None and fault.name != "slow answer")
    harness.balance(requests, phantom=fault.phantom, lost=fault.unreadable)

    since = len(harness.server.requests)
    second = ask(harness.start(), requests)
    if fault.unreadable:
        assert [type(found) for found in second].count(UnreadableError) == 1
        assert len(harness.server.requests) == since
        harness.restart().store.forget(harness.key(missing[0]))
        second = ask(harness.restart(), requests)
    assert all(image(found) for found in second)
    assert asked_again(harness.server, since) == sorted(request.prompt for request in missing)
    harness.stop()
    harness.balance(requests, phantom=fault.phantom, lost=fault.unreadable)

    since = len(harness.server.requests)
    assert all(image(found).cost_usd == 0.0 for found in ask(harness.start(), requests))
    assert len(harness.server.requests) == since


LASTING = [
    fault
    for fault in TABLE
    if fault.name in ("429 with Retry-After", "499 closed", "503 with Retry-After", "401")
]


@pytest.mark.parametrize("fault", LASTING, ids=lambda fault: fault.name)
def test_what_may_be_repeated_is_not_repeated_for_ever(harness: Harness, fault: Fault):
    requests = batch(1)
    harness.server.default = fault.behave
    for found in ask(harness.start(), requests):
        assert failure(found).billed.value == "not billed"
    assert len(harness.server.requests) <= 10
    harness.stop()
    harness.balance(requests)
    assert harness.counted() == 0.0

    harness.server.default = draw
    assert all(image(found) for found in ask(harness.start(), requests))
    harness.balance(requests)
    assert len(harness.server.billed) == 1


def test_perhaps_billed_calls_count_against_the_budget(harness: Harness):
    """Of a budget for three images two are perhaps gone: one more is bought, not three."""
    requests = batch(3)
    harness.profile = dataclasses.replace(harness.profile, budget=Budget(day=3.5 * ESTIMATE))
    harness.server.script = [cut(0.5), refuse(500, bill=True)]
    first = ask(harness.start(), requests)
    assert sum(isinstance(found, MaiError) for found in first) == 2
    again = ask(harness.restart(), requests)
    refused = [found for found in again if isinstance(found, BudgetError)]
    assert len(refused) == 2
    assert "Nothing was sent" in str(refused[0])
    harness.stop()
    harness.balance(requests)
    assert len(harness.server.requests) == 3
    assert len(harness.server.billed) * COST <= (harness.profile.budget.day or 0)


@pytest.mark.parametrize(
    "blocked",
    [
        refuse(400, error_body("content_safety_violation", INPUT_BLOCK), bill=True),
        refuse(200, b'{"created":1,"data":[]}', bill=True),
        refuse(408, bill=True),
    ],
    ids=["content filter", "empty answer", "408"],
)
def test_a_budget_counts_charged_refusals(harness: Harness, blocked: Behaviour):
    """Each is charged though it brings nothing, and none is sent again by itself."""
    harness.server.default = blocked
    found = ask(harness.start(budget=Budget(day=2.5 * ESTIMATE)), batch(9))
    assert len(harness.server.billed) == len(harness.server.requests) == 2
    assert sum(isinstance(each, BudgetError) for each in found) == 7
    others = [each for each in found if not isinstance(each, BudgetError)]
    assert all("charge" in str(each) or "billed" in str(each) for each in others)
    harness.balance(batch(9))


@pytest.mark.parametrize(("usage", "cost"), [(True, 0.001), (False, ESTIMATE)])
def test_an_empty_answer_costs_what_it_counted_or_its_estimate(
    harness: Harness, usage: bool, cost: float
):
    counted = {"num_input_text_tokens": 200, "num_output_tokens": 0}
    answer = {"data": [], **({"usage": counted} if usage else {})}
    harness.server.default = refuse(200, json.dumps(answer).encode(), bill=True)
    assert isinstance(ask(harness.start(), batch(1))[0], BlockedError)
    harness.stop()
    assert harness.outcomes() == ["blocked, perhaps billed"]
    assert harness.counted() == pytest.approx(cost)


@pytest.mark.parametrize("usage", [True, False], ids=["counted", "uncounted"])
def test_an_image_is_never_cheaper_in_the_ledger_than_on_the_bill(harness: Harness, usage: bool):
    """Ten tokens of text are on the bill of the shortest prompt; without usage estimates count."""
    requests = batch(4)

    def behave(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        answer = json.loads(whole_body(request))
        connection.answer(200, json.dumps({"data": answer["data"]}).encode())

    harness.server.default = draw if usage else behave
    assert all(image(found) for found in ask(harness.start(), requests))
    harness.stop()
    assert harness.counted() >= 4 * COST - 1e-9
    assert ESTIMATE >= COST
