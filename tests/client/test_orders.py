"""What was ordered and not collected: its list survives the process, and nothing else does."""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future

import pytest
from client_harness import Harness, OneProfile, draw_after, generate, until
from mai_image.mai.client import Client
from mai_image.mai.errors import Billed, BlockedError, CancelledCall, ConnectionLostError
from mai_image.mai.in_flight import OrderedImage, OrderedRun, Siblings
from mai_image.mai.ledger import NewCall, Outcome
from mai_image.mai.types import Budget, Result


def order(
    client: Client, harness: Harness, *numbers: int, run: str = "run", node: str = "1"
) -> list[OrderedImage]:
    """Order the test images of these numbers as a node does."""
    wanted = {harness.key(generate(number)): generate(number) for number in numbers}
    images = client.orders.add(run, node, "test", wanted)
    siblings = Siblings()
    for image in images:
        future = siblings.submit(client, wanted[image.key], "test", image.hear)
        client.orders.follow(image, future, siblings)
    return images


def one_run(client: Client) -> OrderedRun:
    (found,) = client.orders.runs()
    return found


def lose(client: Client, key: str, outcome: Outcome = Outcome.PERHAPS_BILLED) -> None:
    """A call of this request that was perhaps billed."""
    row = client.ledger.open(
        NewCall(key, "test", "foundry", "MAI-Image-2.6", "generate", 0.04), Budget()
    )
    client.ledger.mark_sent(row, "deployment")
    client.ledger.close(row, outcome)


def left_behind(client: Client, harness: Harness, *numbers: int) -> None:
    """Orders of which the process says nothing more: as if it had been killed at once."""
    wanted = {harness.key(generate(number)): generate(number) for number in numbers}
    client.orders.add("run", "1", "test", wanted)


def test_what_has_landed_is_known_after_a_restart(harness: Harness) -> None:
    client = harness.start()
    order(client, harness, 1, 2)
    until(lambda: one_run(client).states["landed"] == 2)
    again = one_run(harness.restart())
    assert (again.run, again.earlier, dict(again.states)) == ("run", True, {"landed": 2})


def test_what_was_not_sent_is_to_be_ordered_again(harness: Harness) -> None:
    left_behind(harness.start(), harness, 1, 2)
    run = one_run(harness.restart())
    assert (dict(run.states), dict(run.failures)) == ({"left": 2}, {})


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(Outcome.PERHAPS_BILLED, ConnectionLostError), (Outcome.BLOCKED, BlockedError)],
)
def test_what_was_perhaps_billed_failed(
    outcome: Outcome, kind: type[Exception], harness: Harness
) -> None:
    client = harness.start()
    left_behind(client, harness, 1)
    key = harness.key(generate(1))
    lose(client, key, outcome)
    found = harness.restart().orders.find("1", [key])[key]
    assert found.state == "failed"
    assert isinstance(found.error, kind)
    assert found.error.billed is Billed.PERHAPS  # type: ignore[attr-defined]


def test_an_older_loss_of_the_same_request_is_not_told_again(harness: Harness) -> None:
    client = harness.start()
    lose(client, harness.key(generate(1)))
    left_behind(client, harness, 1)
    assert dict(one_run(harness.restart()).states) == {"left": 1}


def test_the_orders_of_a_process_that_lives_are_its_own(harness: Harness) -> None:
    first = harness.start()
    left_behind(first, harness, 1)
    second = harness.start()
    assert second.orders.runs() == []
    first.close(grace=0)
    third = harness.start()
    assert one_run(third).run == "run"
    assert second.orders.runs() == []


def test_orders_survive_two_restarts_and_are_gone_when_they_are_collected(
    harness: Harness,
) -> None:
    left_behind(harness.start(), harness, 1)
    assert one_run(harness.restart()).run == "run"
    client = harness.restart()
    key = harness.key(generate(1))
    client.orders.remove(client.orders.find("1", [key]).values())
    assert client.orders.runs() == []
    assert harness.restart().orders.runs() == []


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "{}", '[{"key": 1}]', '[{"key": "k", "node": "1"}]', "[" * 100_000]
)
def test_a_damaged_list_is_no_obstacle(text: str, harness: Harness) -> None:
    folder = harness.folder / "orders" / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "orders.json").write_text(text, "utf-8")
    client = harness.start()
    assert client.orders.runs() == []
    left_behind(client, harness, 1)
    assert one_run(harness.restart()).run == "run"


def test_the_list_holds_no_prompt_and_is_the_users_only(harness: Harness) -> None:
    left_behind(harness.start(), harness, 1)
    (file,) = (harness.folder / "orders").glob("*/orders.json")
    assert file.stat().st_mode & 0o077 == 0
    (entry,) = json.loads(file.read_text("utf-8"))
    assert set(entry) == {"key", "node", "run", "profile", "model", "at", "old_loss"}
    assert generate(1).prompt not in file.read_text("utf-8")


def test_a_client_that_orders_nothing_makes_no_folder(harness: Harness) -> None:
    client = harness.start()
    assert client.orders.runs() == []
    assert client.orders.is_empty()
    assert not (harness.folder / "orders").exists()


def test_a_landed_order_keeps_no_image_in_memory(harness: Harness) -> None:
    client = harness.start()
    (image,) = order(client, harness, 1)
    until(lambda: image.state == "landed")
    assert image.future is None


def test_a_landed_image_is_not_evicted_before_it_is_collected(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OneProfile, "store_limit_bytes", lambda self: 1)
    client = harness.start()
    images = order(client, harness, 1, 2)
    until(lambda: all(image.state == "landed" for image in images))
    until(lambda: not client.in_flight())
    client.submit(generate(3)).result(20)
    assert harness.kept([generate(1), generate(2)]) == [generate(1), generate(2)]
    client.orders.remove(images)
    client.submit(generate(4)).result(20)
    assert harness.kept([generate(1), generate(2)]) == []


def test_what_is_forgotten_before_it_is_sent_costs_nothing(harness: Harness) -> None:
    client = harness.start(requests_a_minute=1.0)
    gate = threading.Event()
    harness.server.default = draw_after(gate.wait)
    images = order(client, harness, 1, 2, 3)
    until(lambda: len(harness.server.billed) == 1)
    until(lambda: all(image.heard for image in images))
    assert client.orders.forget("run") == 3
    assert client.orders.runs() == []
    gate.set()
    until(lambda: not client.in_flight())
    assert len(harness.server.billed) == 1
    assert client.orders.ended("1") == 3
    assert client.orders.forget("run") == 0


def test_a_refusal_is_the_failure_of_all_that_waited_with_the_call_that_got_it(
    harness: Harness,
) -> None:
    refusal = ConnectionLostError("No.", billed=Billed.NO)
    client = harness.start()
    siblings = Siblings()
    siblings.refusal = refusal
    key = harness.key(generate(1))
    (image,) = client.orders.add("run", "1", "test", {key: generate(1)})
    future = siblings.submit(client, generate(1), "test", image.hear)
    client.orders.follow(image, future, siblings)
    assert (image.state, image.error) == ("failed", refusal)
    client.orders.tell(refusal)
    assert client.orders.is_empty()


def test_a_call_that_the_programs_end_withdrew_is_to_be_ordered_again(harness: Harness) -> None:
    client = harness.start()
    key = harness.key(generate(1))
    (image,) = client.orders.add("run", "1", "test", {key: generate(1)})
    future: Future[Result] = Future()
    client.orders.follow(image, future, Siblings())
    future.set_exception(CancelledCall("The program is ending."))
    assert image.state == "left"
