"""A batch that can't succeed ends with its first refusal, and waits for no slot."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import comfy_execution.utils
import pytest
from mai_image.mai.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetError,
    CredentialError,
    ForbiddenError,
    MaiError,
    NotFoundError,
    ProfileError,
)
from mai_image.mai.types import Generate
from mai_image.nodes.run import run_requests

PROFILES = """
[profiles.slow]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 2

[profiles.wrong_key]
endpoint = "{url}"
credential = {{ kind = "key", value = "not-the-key" }}
requests_a_minute = 2
deployments = {{ "MAI-Image-2.6" = "other" }}

[profiles.no_key]
endpoint = "{url}"
credential = {{ kind = "key_env", name = "NO_SUCH_VARIABLE" }}
requests_a_minute = 2

[profiles.poor]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 2
budget = {{ day = 0.1 }}
"""

BURST = 2
"""Calls that two requests a minute let go at once."""

SOON = 20.0
"""Seconds, far less than the first wait for a slot: 30 s."""


@pytest.fixture
def profiles_toml() -> str:
    return PROFILES


@pytest.fixture
def bought(emulator: Any) -> Any:
    """The emulator's log, of nodes whose profiles allow two requests a minute."""
    return emulator.log


@pytest.fixture
def prompt_id(monkeypatch: pytest.MonkeyPatch) -> ContextVar[str]:
    """Says, as ComfyUI does, which prompt the node of this task belongs to."""
    current: ContextVar[str] = ContextVar("prompt_id")
    monkeypatch.setattr(
        comfy_execution.utils,
        "get_executing_context",
        lambda: SimpleNamespace(prompt_id=current.get(), node_id="1", list_index=None),
        raising=False,
    )
    return current


def requests(prompt: str, count: int) -> list[Generate]:
    return [Generate("MAI-Image-2.6", prompt, 768, 768, seed) for seed in range(count)]


async def refused(asked: list[Generate], profile: str, if_blocked: str = "stop") -> MaiError:
    """The error of a node, which must come soon."""
    with pytest.raises(MaiError) as caught:
        await asyncio.wait_for(run_requests(asked, profile, None, if_blocked), SOON)
    return caught.value


@pytest.mark.parametrize(
    ("profile", "prompt", "kind"),
    [
        ("slow", "[[fault status=401]]", AuthenticationError),
        ("slow", "[[fault status=403]]", ForbiddenError),
        ("slow", "[[fault status=404]]", NotFoundError),
        ("wrong_key", "a fox", AuthenticationError),
        ("no_key", "a fox", CredentialError),
        ("missing", "a fox", ProfileError),
        ("poor", "a fox", BudgetError),
    ],
)
@pytest.mark.parametrize("if_blocked", ["stop", "skip"])
def test_64_calls_end_with_the_first_refusal_after_a_burst_at_most(
    bought: Any, profile: str, prompt: str, kind: type[MaiError], if_blocked: str
) -> None:
    error = asyncio.run(refused(requests(prompt, 64), profile, if_blocked))
    assert type(error) is kind
    assert "withdrawn" not in str(error)
    assert len(bought.entries) <= BURST


def test_a_credential_that_cannot_be_had_uses_no_slot(bought: Any) -> None:
    async def body() -> None:
        await refused(requests("a fox", 8), "no_key")
        began = time.monotonic()
        await run_requests(requests("a fox", BURST), "slow", None, "stop")
        assert time.monotonic() - began < SOON

    asyncio.run(body())
    assert bought.billed == BURST


def test_what_is_sent_is_not_hurt_and_lands_in_the_store(bought: Any) -> None:
    sent = requests("a hare [[latency 3]]", 1)

    async def body() -> None:
        error = await refused([*sent, *requests("[[fault status=404]]", 6)], "slow")
        assert isinstance(error, NotFoundError)
        assert "1 more may come" in str(error)
        batch = await asyncio.wait_for(run_requests(sent, "slow", None, "stop"), SOON)
        assert len(batch.images) == 1

    asyncio.run(body())
    assert bought.billed == 1


def test_the_refusal_that_ended_the_batch_stands_first(bought: Any) -> None:
    prompts = ["[[fault status=400]]", "[[fault status=401]]", "a fox", "a hare"]
    asked = [request for prompt in prompts for request in requests(prompt, 1)]
    error = asyncio.run(refused(asked, "slow"))
    assert isinstance(error, AuthenticationError)
    assert "4 of 4 images failed" in str(error)


def test_an_error_of_one_call_alone_ends_no_other(bought: Any) -> None:
    asked = [*requests("[[fault status=400]]", 1), *requests("a fox [[latency 1]]", 1)]
    error = asyncio.run(refused(asked, "slow"))
    assert isinstance(error, BadRequestError)
    assert "1 of 2 images are kept" in str(error)
    assert bought.billed == 1


def test_all_nodes_of_a_prompt_end_with_the_refusal_of_one(
    bought: Any, prompt_id: ContextVar[str]
) -> None:
    async def body() -> None:
        prompt_id.set("one")
        nodes = [refused(requests(f"{i} [[fault status=401]]", 1), "slow") for i in range(40)]
        errors = await asyncio.gather(*nodes)
        assert {type(error) for error in errors} == {AuthenticationError}

    asyncio.run(body())
    assert len(bought.entries) <= BURST


def test_a_node_that_begins_after_the_refusal_sends_nothing(
    bought: Any, prompt_id: ContextVar[str]
) -> None:
    async def body() -> None:
        prompt_id.set("one")
        await refused(requests("[[fault status=401]]", 1), "slow")
        error = await refused(requests("a fox", 3), "slow")
        assert isinstance(error, AuthenticationError)

    asyncio.run(body())
    assert len(bought.entries) == 1


def test_another_prompt_and_another_profile_go_on(bought: Any, prompt_id: ContextVar[str]) -> None:
    async def body() -> None:
        prompt_id.set("one")
        await refused(requests("a fox", 3), "no_key")
        await run_requests(requests("a fox", 1), "slow", None, "stop")
        await refused(requests("[[fault status=404]]", 1), "slow")

    async def again() -> None:
        prompt_id.set("one")
        assert (await run_requests(requests("a fox", 1), "slow", None, "stop")).images

    async def other() -> None:
        await body()
        prompt_id.set("two")
        assert (await run_requests(requests("a fox", 1), "slow", None, "stop")).images

    asyncio.run(other())
    asyncio.run(again())
    assert bought.billed == 1


def test_images_of_the_store_need_no_slot_and_come_though_all_others_are_refused(
    bought: Any,
) -> None:
    asyncio.run(run_requests(requests("a fox", 1), "slow", None, "stop"))
    error = asyncio.run(
        refused([*requests("a fox", 1), *requests("[[fault status=401]]", 5)], "slow")
    )
    assert isinstance(error, AuthenticationError)
    assert "1 of 6 images are kept" in str(error)
