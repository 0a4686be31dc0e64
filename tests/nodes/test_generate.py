"""MAI Generate: what it refuses, what it sends, what it gives back."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfy import model_management
from comfy_api.latest import _io
from mai_image.mai.errors import (
    BlockedError,
    MaiError,
    OptionError,
    ProfileError,
    PromptError,
    SizeError,
    UnavailableError,
)
from mai_image.nodes.generate import MAIGenerate
from PIL import Image


def generate(**inputs: Any) -> Any:
    """Run the node as ComfyUI does: in an event loop of its own."""
    given = {"prompt": "a fox", "profile": "test", "width": 768, "height": 768, **inputs}
    return asyncio.run(MAIGenerate.execute(**given))


def info_of(output: Any) -> Any:
    return json.loads(output.args[1])


def test_an_image_is_a_float_tensor_of_three_channels(emulator: Any):
    images = generate(width=1360).args[0]
    assert images.shape == (1, 768, 1360, 3)
    assert images.dtype == torch.float32
    assert 0.0 <= images.min() <= images.max() <= 1.0


def test_a_batch_is_that_many_requests_with_seeds_counting_up(emulator: Any):
    output = generate(batch_size=3, seed=40)
    assert output.args[0].shape[0] == 3
    assert emulator.log.billed == 3
    assert [image["seed"] for image in info_of(output)["images"]] == [40, 41, 42]


def test_the_seed_never_goes_over_the_wire(emulator: Any):
    generate(seed=123456789)
    (entry,) = emulator.log.entries
    assert "seed" not in entry.fields


def test_the_pixels_are_those_of_the_file_that_came(emulator: Any, tmp_path: Path):
    output = generate(seed=3)
    (stored,) = (tmp_path / "mai" / "store").rglob("*.png")
    sent = np.asarray(Image.open(stored))
    saved = np.clip(255.0 * output.args[0][0].numpy(), 0, 255).astype(np.uint8)
    assert np.array_equal(saved, sent)


def test_the_same_inputs_again_are_free(emulator: Any):
    first = generate(seed=9)
    again = generate(seed=9)
    assert emulator.log.billed == 1
    assert torch.equal(first.args[0], again.args[0])
    info = info_of(again)
    assert info["cost_usd"] == 0
    assert info["images"][0]["from_store"] is True


def test_info_says_what_was_bought(emulator: Any):
    info = info_of(generate(seed=5))
    (image,) = info["images"]
    assert info["model"] == "MAI-Image-2.7"
    assert info["profile"] == "test"
    assert image["size_asked"] == image["size_received"] == [768, 768]
    assert image["usage"]["image_out"] == 576
    assert image["cost_usd"] == pytest.approx(576 * 34 / 1e6, rel=0.05)
    assert image["request_id"]
    assert image["seconds"] > 0
    assert image["from_store"] is False


@pytest.mark.parametrize(
    ("width", "height", "nearest"),
    [
        (767, 1024, "768 x 1024"),
        (16, 16, "768 x 768"),
        (4096, 4096, "2048 x 2048"),
        (0, 0, "2048 x 2048"),
    ],
)
def test_a_size_that_cannot_be_is_refused_with_the_nearest_one(
    emulator: Any, width: int, height: int, nearest: str
):
    with pytest.raises(SizeError, match=nearest):
        generate(width=width, height=height)
    assert not emulator.log.entries


def test_a_size_of_the_documentation_is_snapped_down_and_bought_once(emulator: Any):
    first = generate(width=768, height=1365, seed=3)
    again = generate(width=768, height=1360, seed=3)
    assert emulator.log.billed == 1
    assert first.args[0].shape == again.args[0].shape == (1, 1360, 768, 3)
    info = info_of(first)
    assert info["images"][0]["size_asked"] == [768, 1360]
    assert any("768 x 1365 comes back as 768 x 1360" in note for note in info["notes"])
    assert info_of(again)["notes"] == []


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t", "\u3000"])
def test_an_empty_prompt_is_refused_locally(emulator: Any, prompt: str):
    with pytest.raises(PromptError):
        generate(prompt=prompt)
    assert not emulator.log.entries


def test_half_a_character_is_refused_locally(emulator: Any):
    with pytest.raises(PromptError, match="position 3"):
        generate(prompt="ab\ud83d")
    assert not emulator.log.entries


@pytest.mark.parametrize("option", ["auto_aspect_ratio", "web_grounding"])
def test_an_option_that_the_model_has_not_is_refused(emulator: Any, option: str):
    with pytest.raises(OptionError, match=option):
        generate(model="MAI-Image-2.5", **{option: True})
    assert not emulator.log.entries


def test_auto_aspect_ratio_sends_no_size_and_any_size_may_come(emulator: Any):
    output = generate(model="MAI-Image-2.6", auto_aspect_ratio=True, width=5, height=7)
    (entry,) = emulator.log.entries
    assert "width" not in entry.fields
    assert info_of(output)["images"][0]["size_asked"] is None


def test_a_profile_that_is_not_configured_is_an_error_that_names_those_that_are(emulator: Any):
    with pytest.raises(ProfileError, match=r"tset.*\n.*test"):
        generate(profile="tset")


def test_the_profile_emulator_works_without_an_account_and_costs_nothing(emulator: Any):
    output = generate(profile="emulator")
    info = info_of(output)
    assert info["cost_usd"] == 0
    assert "would have cost" in info["images"][0]["notes"][0]


def test_a_blocked_image_stops(emulator: Any):
    with pytest.raises(BlockedError) as caught:
        generate(prompt="a fox blockprompt")
    assert "seed" in caught.value.hint


def test_skip_leaves_blocked_images_out_and_keeps_the_rest(emulator: Any):
    output = generate(
        prompt="a vixen [[fault answer=block-result first=1]]", batch_size=3, if_blocked="skip"
    )
    info = info_of(output)
    assert output.args[0].shape[0] == 2
    assert len(info["blocked"]) == 1
    assert info["count"] == 2


def test_skip_with_nothing_left_blocks_what_follows_quietly(emulator: Any):
    output = generate(prompt="blockprompt", batch_size=2, if_blocked="skip")
    assert isinstance(output.args[0], _io.ExecutionBlocker)
    assert output.args[0].message is None
    assert len(info_of(output)["blocked"]) == 2


def test_a_batch_of_which_one_fails_says_what_is_kept_and_the_next_run_fetches_only_that(
    emulator: Any,
):
    prompt = "a fox [[fault status=400 first=1]]"
    with pytest.raises(MaiError) as caught:
        generate(prompt=prompt, batch_size=4)
    text = str(caught.value)
    assert "1 of 4 images failed" in text
    assert "3 of 4 images are kept; queue again to fetch only the missing one" in text
    assert emulator.log.billed == 3
    output = generate(prompt=prompt, batch_size=4)
    assert output.args[0].shape[0] == 4
    assert emulator.log.billed == 4


def test_a_call_that_may_have_been_billed_says_so(emulator: Any):
    with pytest.raises(UnavailableError, match="perhaps billed"):
        generate(prompt="a fox [[fault status=500]]")
    assert len(emulator.log.entries) == 1


def test_two_prompts_one_after_the_other_have_loops_of_their_own(emulator: Any):
    assert generate(seed=1).args[0].shape == generate(seed=2).args[0].shape
    assert emulator.log.billed == 2


def test_a_cancel_ends_the_wait_within_half_a_second(emulator: Any):
    async def run() -> float:
        task = asyncio.ensure_future(
            MAIGenerate.execute(
                prompt="a fox [[latency 3]]", profile="test", width=768, height=768, seed=77
            )
        )
        await asyncio.sleep(0.5)
        model_management.interrupt_current_processing(True)
        started = time.monotonic()
        try:
            with pytest.raises(model_management.InterruptProcessingException):
                await task
        finally:
            model_management.interrupt_current_processing(False)
        return time.monotonic() - started

    assert asyncio.run(run()) < 0.5


def test_a_cancelled_prompt_s_image_lands_and_is_free_the_next_time(emulator: Any):
    inputs = {"prompt": "a fox [[latency 1]]", "profile": "test", "width": 768, "height": 768}

    async def run() -> None:
        task = asyncio.ensure_future(MAIGenerate.execute(**inputs))
        await asyncio.sleep(0.4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    output = generate(**inputs)
    assert emulator.log.billed == 1
    assert output.args[0].shape == (1, 768, 768, 3)
