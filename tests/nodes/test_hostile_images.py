"""What strange images become in a node: an IMAGE, or an error that says what came."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch
from mai_image.mai.errors import AnswerError, MaiError, UnreadableError
from mai_image.mai.types import Generate, Result
from mai_image.nodes.generate import MAIGenerate
from mai_image.nodes.results import Batch


def generate(prompt: str) -> Any:
    inputs = {"prompt": prompt, "profile": "test", "width": 768, "height": 768}
    return asyncio.run(MAIGenerate.execute(**inputs))


@pytest.mark.parametrize("kind", ["jpeg", "alpha", "grey", "palette", "16-bit"])
def test_every_kind_of_image_is_an_image_of_three_channels(emulator: Any, kind: str):
    image = generate(f"a fox [[fault answer={kind}]]").args[0]
    assert image.shape == (1, 768, 768, 3)
    assert image.dtype == torch.float32
    assert 0.0 <= image.min() < image.max() <= 1.0


@pytest.mark.parametrize("kind", ["garbage", "html", "url"])
def test_what_is_no_image_is_an_answer_error_that_may_be_billed(emulator: Any, kind: str):
    with pytest.raises(AnswerError, match="perhaps billed"):
        generate(f"a fox [[fault answer={kind}]]")


@pytest.mark.parametrize(
    "kind",
    ["bomb", "not-a-picture", "truncated-picture", "bad-base64", "webp", "wrong-crc", "list"],
)
def test_an_image_that_cant_be_read_is_kept_and_never_bought_again_by_itself(
    emulator: Any, kind: str
):
    prompt = f"a fox [[fault answer={kind}]]"
    with pytest.raises(UnreadableError, match="store/unreadable/") as first:
        generate(prompt)
    sent = len(emulator.log.entries)
    with pytest.raises(UnreadableError) as second:
        generate(prompt)
    assert str(second.value) == str(first.value)
    assert len(emulator.log.entries) == sent


def test_an_answer_that_is_too_large_ends_the_call_and_the_next_one_works(emulator: Any):
    with pytest.raises(MaiError):
        generate("a fox [[fault answer=huge]]")
    assert generate("a fox").args[0].shape == (1, 768, 768, 3)


def test_a_batch_has_no_more_pixels_than_its_model_can_make():
    """One may be four times the largest; eight of those would be gigabytes of tensor."""
    request = Generate("MAI-Image-2.6", "a fox", 768, 768)
    large = Result(b"x", "image/png", 3072, 3072, "MAI-Image-2.6")
    Batch([request], [large]).take_files()
    batch = Batch([request] * 8, [large] * 8)
    with pytest.raises(AnswerError, match="75 megapixels together"):
        batch.take_files()
    assert all(image.image for image in batch.images), "nothing is lost"
