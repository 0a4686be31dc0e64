"""if_blocked "skip failures": an item that fails costs no other; the next run tries it again."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import comfy_execution.utils
import pytest
import torch
from mai_image.mai.errors import AuthenticationError, CredentialError, MaiError
from mai_image.nodes.edit import MAIEdit
from mai_image.nodes.generate import MAIGenerate

PROFILES = """
[profiles.quick]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000

[profiles.slow]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 2

[profiles.no_key]
endpoint = "{url}"
credential = {{ kind = "key_env", name = "NO_SUCH_VARIABLE" }}

[profiles.poor]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000
budget = {{ day = 0.05 }}
"""

NODE = "7"

Outcome = Any


@pytest.fixture
def profiles_toml() -> str:
    return PROFILES


@pytest.fixture
def bought(emulator: Any) -> Any:
    """The emulator's log."""
    return emulator.log


@pytest.fixture(autouse=True)
def one_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """All items belong to one prompt and one node, as of a list in ComfyUI."""
    monkeypatch.setattr(
        comfy_execution.utils,
        "get_executing_context",
        lambda: SimpleNamespace(prompt_id="one", node_id=NODE, list_index=None),
        raising=False,
    )
    for node in (MAIGenerate, MAIEdit):
        monkeypatch.setattr(node, "hidden", SimpleNamespace(unique_id=NODE), raising=False)


def run_list(*prompts: str, profile: str = "quick", **more: Any) -> list[Outcome]:
    """MAI Generate with a list of prompts, begun as ComfyUI begins them: outputs, or errors."""
    settings = {"width": 768, "height": 768, "if_blocked": "skip failures", **more}

    async def body() -> list[Outcome]:
        tasks = []
        for prompt in prompts:
            task = MAIGenerate.execute(
                prompt=prompt, model="MAI-Image-2.6", profile=profile, **settings
            )
            tasks.append(asyncio.create_task(task))
            await asyncio.sleep(0)
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(body())


def came(outcome: Outcome) -> bool:
    return not isinstance(outcome, BaseException) and isinstance(outcome.result[0], torch.Tensor)


def info(outcome: Outcome) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(outcome.result[1])
    return facts


def fingerprint() -> Any:
    return MAIGenerate.fingerprint_inputs(if_blocked="skip failures")


def test_an_item_that_fails_is_blocked_and_info_says_why(bought: Any) -> None:
    outcomes = run_list("a fox", "a hare [[fault status=500]]", "a lynx blockprompt", "a deer")
    assert list(map(came, outcomes)) == [True, False, False, True]
    assert all(output.message is None for output in (outcomes[1].result[0], outcomes[1].result[2]))
    (failed,) = info(outcomes[1])["failed"]
    assert (failed["index"], failed["perhaps_billed"]) == (0, True)
    assert "500" in failed["reason"]
    assert info(outcomes[2])["blocked"]
    assert "failed" not in info(outcomes[2])
    assert "failed" not in info(outcomes[0])


@pytest.mark.parametrize(
    "wrong", [{"width": 100}, {"width": 20_000}, {"background": "transparent"}]
)
def test_what_the_node_itself_refuses_is_skipped_too(bought: Any, wrong: dict[str, Any]) -> None:
    (outcome,) = run_list("a fox", **wrong)
    assert info(outcome)["failed"][0]["reason"]
    assert not bought.entries


def test_of_a_batch_in_one_item_the_images_that_came_are_given(bought: Any) -> None:
    (outcome,) = run_list("a fox [[fault status=500 first=1]]", batch_size=3)
    assert outcome.result[0].shape[0] == 2
    assert len(info(outcome)["failed"]) == 1


def test_the_next_run_is_another_one_until_nothing_fails(bought: Any) -> None:
    first = fingerprint()
    run_list("a fox", "a hare [[fault status=500 first=1]]")
    second = fingerprint()
    assert list(map(came, run_list("a fox", "a hare [[fault status=500 first=1]]"))) == [True] * 2
    assert first != second == fingerprint()
    assert len(bought.entries) == 3
    assert MAIGenerate.fingerprint_inputs(if_blocked="stop") == MAIGenerate.fingerprint_inputs()


def test_what_the_filter_stopped_is_neither_sent_again_nor_a_reason_to_run_again(
    bought: Any,
) -> None:
    before = fingerprint()
    run_list("a fox blockprompt")
    assert fingerprint() == before
    (again,) = run_list("a fox blockprompt")
    assert info(again)["blocked"]
    assert len(bought.entries) == 1
    run_list("a fox blockprompt", if_blocked="skip")
    assert len(bought.entries) == 2, "who asks otherwise gets it sent"


def test_a_refusal_that_all_get_is_the_nodes_error_if_none_came(bought: Any) -> None:
    outcomes = run_list(*[f"{i} [[fault status=401]]" for i in range(64)], profile="slow")
    errors = [each for each in outcomes if isinstance(each, BaseException)]
    assert errors
    assert {type(error) for error in errors} == {AuthenticationError}
    assert len(bought.entries) <= 2


def test_no_key_is_the_nodes_error(bought: Any) -> None:
    outcomes = run_list("a fox", "a hare", "a lynx", profile="no_key")
    assert any(isinstance(each, CredentialError) for each in outcomes)


def test_after_a_refusal_what_is_sent_or_stored_still_comes(bought: Any) -> None:
    run_list("a fox")
    outcomes = run_list("a hare [[fault status=403]]", "a lynx [[latency 1]]", "a fox")
    assert list(map(came, outcomes)) == [False, True, True]


def test_an_empty_budget_costs_no_image_that_it_paid_for(bought: Any) -> None:
    outcomes = run_list(*[f"a fox {i}" for i in range(6)], profile="poor")
    assert 1 <= sum(map(came, outcomes)) == bought.billed < 6
    assert not [each for each in outcomes if isinstance(each, BaseException)]
    assert any("budget" in info(each)["failed"][0]["reason"] for each in outcomes if not came(each))


def test_one_wrong_item_alone_is_no_error_of_the_node(bought: Any) -> None:
    (outcome,) = run_list("a fox [[fault status=500]]")
    assert not came(outcome)
    assert not isinstance(outcome, BaseException)


def test_other_choices_raise_as_ever(bought: Any) -> None:
    for choice in ("stop", "skip"):
        (outcome,) = run_list("a fox [[fault status=500]]", if_blocked=choice)
        assert isinstance(outcome, MaiError)


def test_an_edit_that_fails_blocks_both_of_its_image_outputs(bought: Any) -> None:
    image = torch.zeros((1, 768, 768, 3))
    outcome = asyncio.run(
        MAIEdit.execute(
            images={"image_1": image},
            prompt="a fox [[fault status=500]]",
            model="MAI-Image-2.6",
            profile="quick",
            if_blocked="skip failures",
        )
    )
    images, returned, facts, mask = outcome.result
    assert all(each.message is None for each in (images, returned, mask))
    assert json.loads(facts)["failed"]
