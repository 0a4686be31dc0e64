"""The service's rules of money: what is bought, what is free, what is refused and repeated."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from client_harness import (
    COST,
    ESTIMATE,
    Harness,
    ask,
    batch,
    draw,
    drawn,
    edit,
    failure,
    generate,
    image,
    outcome,
    prompt_of,
    until,
)
from mai_image.mai.auth import KeyCredential, Secret
from mai_image.mai.client import Client
from mai_image.mai.errors import (
    Billed,
    BudgetError,
    ProfileError,
    PromptError,
    SizeError,
)
from mai_image.mai.ledger import nano, usd
from mai_image.mai.profiles import Profile, Profiles
from mai_image.mai.types import Budget, Progress
from scripted_server import error_body, refuse

ONE = generate(0)


def test_an_image_comes_as_the_server_drew_it_with_its_cost_and_is_kept(harness: Harness):
    found = image(ask(harness.start(), [ONE])[0])
    assert found.image == drawn(ONE.prompt)
    assert found.cost_usd == pytest.approx(COST)
    assert not found.from_store
    harness.balance([ONE])
    (row,) = harness.rows("delivered")
    assert row["cost_usd"] == pytest.approx(COST)
    assert row["deployment"] == ONE.model
    assert row["status"] == 200


def test_the_same_request_after_a_restart_is_free_and_sends_no_byte(harness: Harness):
    first = image(ask(harness.start(), [ONE])[0])
    connections = harness.server.connections
    second = image(ask(harness.restart(), [ONE])[0])
    assert (second.image, second.from_store, second.cost_usd) == (first.image, True, 0.0)
    assert harness.server.connections == connections
    assert len(harness.rows()) == 1


def test_an_image_of_the_store_needs_neither_budget_nor_a_server(harness: Harness):
    ask(harness.start(), [ONE])
    harness.server.close()
    assert image(ask(harness.restart(budget=Budget(day=0.0)), [ONE])[0]).from_store


@pytest.mark.parametrize(
    "changed",
    [
        dataclasses.replace(ONE, seed=1),
        dataclasses.replace(ONE, prompt="another"),
        dataclasses.replace(ONE, width=784),
        dataclasses.replace(ONE, model="MAI-Image-2.5"),
        dataclasses.replace(ONE, web_grounding=True),
    ],
    ids=["seed", "prompt", "size", "model", "option"],
)
def test_whatever_makes_another_image_is_bought(harness: Harness, changed: object):
    ask(harness.start(), [ONE, changed])  # type: ignore[list-item]
    assert len(harness.server.billed) == 2


def test_other_reference_bytes_buy_another_image_and_the_same_bytes_do_not(harness: Harness):
    client = harness.start()
    ask(client, [edit(0, shade=1)])
    assert not image(ask(client, [edit(0, shade=2)])[0]).from_store
    assert image(ask(client, [edit(0, shade=1)])[0]).from_store
    assert len(harness.server.billed) == 2


def test_the_seed_is_never_sent(harness: Harness):
    ask(harness.start(), [dataclasses.replace(ONE, seed=77)])
    assert "seed" not in harness.server.requests[0].json


def test_over_the_budget_nothing_is_sent_and_the_error_has_the_sums(harness: Harness):
    client = harness.start(budget=Budget(day=1.5 * ESTIMATE, month=100.0))
    ask(client, [ONE])
    error = failure(ask(client, [generate(1)])[0])
    assert isinstance(error, BudgetError)
    spent, this = usd(nano(COST)), usd(nano(ESTIMATE))
    for part in (f"{spent} spent", "$0.00 in flight", f"{this} for this one", "a day"):
        assert part in str(error), part
    assert len(harness.server.requests) == 1
    assert len(harness.rows()) == 1


def test_a_strict_budget_sends_nothing_whose_cost_has_no_bound(harness: Harness):
    client = harness.start(budget=Budget(strict=True))
    error = failure(ask(client, [generate("grounded", web_grounding=True)])[0])
    assert isinstance(error, BudgetError)
    assert not harness.server.requests
    assert image(ask(client, [ONE])[0])


def test_the_month_s_budget_holds_as_well(harness: Harness):
    client = harness.start(budget=Budget(month=1.5 * ESTIMATE))
    ask(client, [ONE])
    assert "a month" in str(failure(ask(client, [generate(1)])[0]))
    assert len(harness.server.requests) == 1


def test_what_the_machine_refuses_is_never_written_down(harness: Harness):
    client = harness.start()
    wrong = [dataclasses.replace(ONE, prompt=" "), dataclasses.replace(ONE, width=767)]
    found = [failure(each) for each in ask(client, wrong)]
    assert [type(each) for each in found] == [PromptError, SizeError]
    assert harness.rows() == []
    assert harness.server.connections == 0


def test_a_call_that_was_throttled_is_billed_once(harness: Harness):
    harness.server.script = [refuse(429, b"", {"retry-after-ms": "20"})]
    assert image(ask(harness.start(), [ONE])[0]).cost_usd == pytest.approx(COST)
    assert len(harness.server.requests) == 2
    harness.balance([ONE])
    assert harness.outcomes() == ["delivered"]


def test_a_refused_call_shows_that_it_is_being_repeated(harness: Harness):
    closed = error_body("client_connection_closed", "Closed before request was sent.")
    harness.server.script = [refuse(499, closed)]
    heard: list[Progress] = []
    assert image(outcome(harness.start().submit(ONE, on_progress=heard.append)))
    phases = [each.phase for each in heard if each.phase != "waiting"]
    assert phases == ["sent", "retrying", "sent"]
    assert "499" in next(each.reason for each in heard if each.phase == "retrying")


SIZE_REFUSED = error_body(
    "unsupported_request_argument",
    "Model does not support request argument supplied: Invalid parameters: size",
)


def test_a_400_that_names_the_size_of_an_edit_is_repeated_once_without_it(harness: Harness):
    request = edit(0, size=(1024, 768))
    harness.server.script = [refuse(400, SIZE_REFUSED)]
    assert image(ask(harness.start(), [request])[0]).cost_usd == pytest.approx(COST)
    with_size, without = (b'name="size"' in request.body for request in harness.server.requests)
    assert (with_size, without) == (True, False)
    harness.balance([request])
    assert harness.outcomes() == ["delivered"]


def test_the_image_of_an_edit_whose_size_was_refused_is_kept_under_what_was_asked(harness: Harness):
    request = edit(0, size=(1024, 768))
    harness.server.script = [refuse(400, SIZE_REFUSED)]
    client = harness.start()
    ask(client, [request])
    assert image(ask(client, [request])[0]).from_store
    assert len(harness.server.requests) == 2


def test_a_second_400_about_the_size_is_final(harness: Harness):
    harness.server.default = refuse(400, SIZE_REFUSED)
    assert failure(ask(harness.start(), [edit(0, size=(1024, 768))])[0]).status == 400
    assert len(harness.server.requests) == 2
    assert harness.outcomes() == ["refused"]


def test_a_400_of_an_edit_without_size_is_not_repeated(harness: Harness):
    harness.server.default = refuse(400, SIZE_REFUSED)
    assert failure(ask(harness.start(), [edit(0)])[0]).status == 400
    assert len(harness.server.requests) == 1


def test_deployments_of_one_model_share_its_calls(harness: Harness, gate: threading.Event):
    """At one a minute each, two calls go out at once on two deployments."""
    client = harness.start(requests_a_minute=1.0, deployments={"*": ("east", "west")})
    futures = [client.submit(request) for request in batch(2)]
    until(lambda: len(harness.server.requests) == 2)
    gate.set()
    assert all(image(outcome(future)) for future in futures)
    assert {request.json["model"] for request in harness.server.requests} == {"east", "west"}
    assert {row["deployment"] for row in harness.rows()} == {"east", "west"}


class WithEmulator(Profiles):
    """Profiles whose emulator has no limit that makes a test wait."""

    def get(self, name: str) -> Profile:
        """The profile of that name."""
        return dataclasses.replace(super().get(name), requests_a_minute=6000.0)


def test_an_emulated_image_costs_nothing_and_its_server_starts_once(harness: Harness):
    launched: list[str] = []

    def launch() -> str:
        launched.append(harness.server.url)
        return harness.server.url

    client = Client(harness.folder, WithEmulator(harness.folder, {}), launch_emulator=launch)
    harness.clients.append(client)
    futures = [client.submit(request, "emulator") for request in batch(2)]
    found = [image(outcome(future)) for future in futures]
    assert [each.cost_usd for each in found] == [0.0, 0.0]
    assert all("emulated" in each.notes[-1] for each in found)
    assert len(launched) == 1
    assert harness.counted() == 0.0
    assert harness.outcomes() == ["delivered"] * 2


def test_without_an_emulator_its_profile_says_how_to_start_one(harness: Harness):
    client = Client(harness.folder, Profiles(harness.folder, {}))
    harness.clients.append(client)
    error = failure(outcome(client.submit(ONE, "emulator")))
    assert isinstance(error, ProfileError)
    assert "mai-image emulator" in str(error)


def test_without_a_profile_nothing_is_sent(harness: Harness):
    client = Client(harness.folder, Profiles(harness.folder, {}))
    harness.clients.append(client)
    assert isinstance(failure(outcome(client.submit(ONE))), ProfileError)
    assert harness.rows() == []


def test_the_key_is_in_the_header_and_in_no_file(harness: Harness):
    key = "canary-0123456789abcdef"
    client = harness.start(credential=KeyCredential(lambda: Secret(key), "a test"))
    ask(client, [ONE])
    harness.stop()
    assert harness.server.requests[0].headers["api-key"] == key
    files = [path for path in harness.folder.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not [path for path in files if key.encode() in path.read_bytes()]


def test_a_batch_that_fails_in_part_keeps_the_rest(harness: Harness):
    """Without the node: each request has its own end, and the next run buys one."""
    requests = batch(4)
    harness.server.script = [draw, draw, refuse(500, bill=True)]
    found = ask(harness.start(), requests)
    assert [failure(each).billed for each in found if isinstance(each, Exception)] == [
        Billed.PERHAPS
    ]
    (missing,) = (m for m, each in zip(requests, found, strict=True) if isinstance(each, Exception))
    assert all(image(each) for each in ask(harness.restart(), requests))
    assert [prompt_of(request) for request in harness.server.requests[4:]] == [missing.prompt]
    harness.balance(requests)


def test_of_twelve_calls_at_once_each_gets_the_image_of_its_own_prompt(harness: Harness):
    requests = batch(12)
    found = [image(each).image for each in ask(harness.start(), requests)]
    assert found == [drawn(request.prompt) for request in requests]
    assert len(set(found)) == 12
