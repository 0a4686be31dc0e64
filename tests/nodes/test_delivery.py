"""Order now, collect later: what a node orders, what it gives, and what it says of failures."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import torch
from client_harness import until
from comfy import model_management
from comfy_api.latest import _io
from comfy_execution.graph_utils import ExecutionBlocker
from mai_image.mai.errors import BlockedError, BudgetError, ConnectionLostError, ProfileError
from mai_image.mai.profiles import Profiles
from mai_image.mai.types import Generate
from mai_image.nodes.edit import MAIEdit
from mai_image.nodes.generate import MAIGenerate
from mai_image.nodes.results import Batch
from mai_image.nodes.run import run_requests, shared_client

ORDER = "order and go on"
SLOW = "[[latency 0.5]]"


def run(kind: Any = MAIGenerate, node_id: str = "1", **inputs: Any) -> Any:
    """Run a node as ComfyUI does: in an event loop of its own, with the node's id."""
    hidden = {_io.Hidden.unique_id: node_id}
    node = kind.PREPARE_CLASS_CLONE({"hidden_inputs": hidden})
    size = {"width": 768, "height": 768} if kind is MAIGenerate else {}
    given = {"prompt": f"a fox {SLOW}", "profile": "test", "delivery": ORDER, **size, **inputs}
    return asyncio.run(node.execute(**given))


def fingerprint(delivery: str = ORDER, node_id: str = "1") -> int:
    """How many of the node's orders have ended, as its fingerprint counts them."""
    node = MAIGenerate.PREPARE_CLASS_CLONE({"hidden_inputs": {_io.Hidden.unique_id: node_id}})
    found: tuple[int, int] = node.fingerprint_inputs(prompt="a fox", seed=0, delivery=delivery)
    return found[1]


def is_skipped(output: Any) -> bool:
    """Whether all that hangs on the node is skipped without a word."""
    quiet = [isinstance(each, ExecutionBlocker) and each.message is None for each in output.args]
    assert all(quiet) or not any(quiet)
    return all(quiet)


def orders() -> Any:
    """What the sidebar lists."""
    return shared_client.get().orders.runs()


def settled() -> None:
    """Wait until nothing that was ordered is under way."""
    until(lambda: not any(run.states["under way"] for run in orders()), 20)


def test_the_node_ends_before_its_images_are_there_and_what_hangs_on_it_is_skipped(emulator: Any):
    output = run(batch_size=4)
    assert is_skipped(output)
    assert len(output.args) == 3
    (order,) = orders()
    assert order.states["under way"] == 4
    settled()
    assert emulator.log.billed == 4


def test_the_next_run_collects_free(emulator: Any):
    run(batch_size=2)
    settled()
    output = run(batch_size=2)
    assert output.args[0].shape == (2, 768, 768, 3)
    info = json.loads(output.args[1])
    assert [image["from_store"] for image in info["images"]] == [True, True]
    assert info["cost_usd"] == 0
    assert emulator.log.billed == 2
    assert orders() == []


def test_what_is_in_the_store_is_given_at_once(emulator: Any):
    run(delivery="wait", batch_size=2)
    output = run(batch_size=2)
    assert output.args[0].shape[0] == 2
    assert orders() == []
    assert fingerprint() == 0


def test_only_what_is_missing_is_ordered(emulator: Any):
    run(delivery="wait")
    assert is_skipped(run(batch_size=3))
    assert orders()[0].states["under way"] == 2
    settled()
    assert run(batch_size=3).args[0].shape[0] == 3
    assert emulator.log.billed == 3


def test_a_run_while_the_order_is_under_way_orders_nothing_more(emulator: Any):
    run(batch_size=2)
    assert is_skipped(run(batch_size=2))
    (order,) = orders()
    assert order.states["under way"] == 2
    settled()
    assert emulator.log.billed == 2


def test_the_fingerprint_counts_the_nodes_orders_that_have_ended(emulator: Any):
    assert fingerprint() == 0
    run(batch_size=2)
    settled()
    assert fingerprint() == 2
    run(batch_size=2)
    assert fingerprint() == 2
    assert fingerprint(node_id="2") == 0
    assert fingerprint("wait") == 0


def test_two_nodes_that_order_the_same_image_pay_for_it_once(emulator: Any):
    run(node_id="1")
    run(node_id="2")
    settled()
    assert not is_skipped(run(node_id="1"))
    (left,) = orders()
    assert left.states["landed"] == 1
    assert not is_skipped(run(node_id="2"))
    assert orders() == []
    assert emulator.log.billed == 1


def test_a_failure_is_told_by_the_run_that_collects_and_only_then_bought_again(emulator: Any):
    prompt = "a fox [[fault answer=block-result first=1]]"
    run(prompt=prompt, batch_size=4)
    settled()
    (order,) = orders()
    assert (order.states["landed"], order.states["failed"]) == (3, 1)
    assert any("content filter" in text for text in order.failures)
    billed = len(emulator.log.entries)
    with pytest.raises(BlockedError, match=r"1 of 4 images failed[\s\S]*3 of 4 images are kept"):
        run(prompt=prompt, batch_size=4)
    assert len(emulator.log.entries) == billed
    assert orders() == []
    run(prompt=prompt, batch_size=4)
    settled()
    assert len(emulator.log.entries) == billed + 1


def test_a_blocked_image_is_left_out_of_what_is_collected_if_the_node_says_so(emulator: Any):
    prompt = "a hare [[fault answer=block-result first=1]]"
    run(prompt=prompt, batch_size=4, if_blocked="skip")
    settled()
    output = run(prompt=prompt, batch_size=4, if_blocked="skip")
    assert output.args[0].shape[0] == 3
    assert len(json.loads(output.args[1])["blocked"]) == 1
    assert len(emulator.log.entries) == 4


@pytest.fixture
def tight(emulator: Any, tmp_path: Any) -> Any:
    """A budget that pays for two images."""
    file = tmp_path / "mai" / "profiles.toml"
    file.write_text(file.read_text("utf-8") + "budget = { day = 0.05 }\n", "utf-8")
    shared_client.get().profiles = Profiles(tmp_path / "mai", {})
    return emulator


def test_a_budget_refuses_before_the_node_ends(tight: Any):
    with pytest.raises(BudgetError, match="Nothing was sent"):
        run(batch_size=4)
    assert orders() == []
    run(batch_size=2)
    with pytest.raises(BudgetError):
        run(seed=100)
    (order,) = orders()
    assert order.states["under way"] == 2
    settled()
    assert tight.log.billed == 2


def test_a_refused_item_of_a_list_is_told_for_all_of_them(tight: Any, prompt_id: None):
    async def items() -> list[Any]:
        requests = [Generate("MAI-Image-2.7", f"a fox {SLOW}", 768, 768, i) for i in range(4)]
        runs = [run_requests([each], "test", "1", "stop", ORDER) for each in requests]
        return await asyncio.gather(*runs, return_exceptions=True)

    ended = asyncio.run(items())
    assert [each.ordered for each in ended if isinstance(each, Batch)] == [1, 1]
    assert sum(isinstance(each, BudgetError) for each in ended) == 2
    settled()
    (order,) = orders()
    assert dict(+order.states) == {"landed": 2}


def test_a_profile_that_is_not_there_refuses_before_the_node_ends(emulator: Any):
    with pytest.raises(ProfileError):
        run(profile="nowhere")
    assert orders() == []


def test_an_interrupt_withdraws_no_order(emulator: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model_management, "processing_interrupted", lambda: True)
    with pytest.raises(model_management.InterruptProcessingException):
        run(batch_size=2)
    monkeypatch.undo()
    settled()
    assert not is_skipped(run(batch_size=2))
    assert emulator.log.billed == 2


def test_a_node_that_is_ended_while_it_orders_has_ordered(emulator: Any):
    """As where another node of the prompt fails."""

    async def scenario() -> None:
        requests = [Generate("MAI-Image-2.7", f"a fox {SLOW}", 768, 768, i) for i in range(2)]
        task = asyncio.ensure_future(run_requests(requests, "test", "1", "stop", ORDER))
        while not orders():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(scenario())
    settled()
    assert dict(+orders()[0].states) == {"landed": 2}
    assert not is_skipped(run(batch_size=2))
    assert emulator.log.billed == 2


def test_wait_takes_no_notice_of_orders_and_collects_them(emulator: Any):
    run(batch_size=2)
    output = run(batch_size=2, delivery="wait")
    assert output.args[0].shape[0] == 2
    assert orders() == []
    assert emulator.log.billed == 2


def test_an_order_that_the_user_gives_up_is_no_longer_listed(emulator: Any):
    run(batch_size=2)
    (order,) = orders()
    assert shared_client.get().orders.forget(order.run) == 2
    assert orders() == []
    until(lambda: fingerprint() == 2)


def test_a_masked_edit_is_collected_and_set_back(emulator: Any):
    image = torch.rand(1, 900, 900, 3)
    mask = torch.zeros(1, 900, 900)
    mask[:, 100:300, 100:300] = 1
    given = {"kind": MAIEdit, "images": {"image_1": image}, "mask": mask, "match_color": False}
    assert is_skipped(run(**given))
    settled()
    output = run(**given)
    assert output.args[0].shape == image.shape
    assert torch.equal(output.args[0][:, 400:], image[:, 400:])
    assert not torch.equal(output.args[0][:, 150:250, 150:250], image[:, 150:250, 150:250])
    assert emulator.log.billed == 1


def test_a_lost_connection_is_told_once(emulator: Any):
    prompt = "a fox [[fault reset=answer]]"
    run(prompt=prompt)
    settled()
    with pytest.raises(ConnectionLostError):
        run(prompt=prompt)
    assert len(emulator.log.entries) == 1
