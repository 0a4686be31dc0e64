"""MAI Edit: which pictures go out, in what order and form, and what comes back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import torch
from mai_image.mai.errors import OptionError, PictureError, PromptError
from mai_image.nodes.edit import MAIEdit


def edit(images: dict[str, torch.Tensor], **inputs: Any) -> Any:
    """Run the node as ComfyUI does: in an event loop of its own."""
    given = {"prompt": "add a hat", "profile": "test", **inputs}
    return asyncio.run(MAIEdit.execute(images, **given))


def picture(height: int = 96, width: int = 128, channels: int = 3, count: int = 1) -> torch.Tensor:
    return torch.rand((count, height, width, channels), generator=torch.manual_seed(1))


def sent(emulator: Any) -> list[list[tuple[int, int]]]:
    """The sizes of each request's files, in the order in which they came."""
    return [[(file.width, file.height) for file in entry.files] for entry in emulator.log.entries]


def test_references_go_out_in_the_order_of_their_sockets(emulator: Any):
    images = {f"image_{i}": picture(100 + i, 200) for i in (5, 3, 1, 4, 2)}
    edit(images)
    assert sent(emulator) == [[(200, 101), (200, 102), (200, 103), (200, 104), (200, 105)]]


def test_every_file_is_a_png_part_named_image(emulator: Any):
    edit({"image_1": picture(), "image_2": picture()})
    (entry,) = emulator.log.entries
    assert [(file.field, file.media_type) for file in entry.files] == [("image", "image/png")] * 2


def test_a_batch_on_image_1_is_edited_image_by_image_with_the_other_sockets_along(emulator: Any):
    output = edit({"image_1": picture(count=3), "image_2": picture(50, 60)}, seed=10)
    assert output.args[0].shape[0] == 3
    assert sent(emulator) == [[(128, 96), (60, 50)]] * 3
    assert [image["seed"] for image in json.loads(output.args[-1])["images"]] == [10, 11, 12]


def test_batch_size_makes_so_many_of_each_picture(emulator: Any):
    output = edit({"image_1": picture(count=2)}, batch_size=2)
    assert output.args[0].shape[0] == 4
    assert emulator.log.billed == 4


def test_each_picture_of_a_batch_on_another_socket_is_a_reference(emulator: Any):
    edit({"image_1": picture(), "image_2": picture(50, 60, count=3)})
    assert sent(emulator) == [[(128, 96), (60, 50), (60, 50), (60, 50)]]


def test_more_pictures_than_the_model_takes_are_refused(emulator: Any):
    with pytest.raises(PictureError, match="1 to 5 reference pictures, there are 6"):
        edit({"image_1": picture(), "image_2": picture(count=5)})
    with pytest.raises(PictureError, match="takes 1 reference picture, there are 2"):
        edit({"image_1": picture(), "image_2": picture()}, model="MAI-Image-2.5")
    assert not emulator.log.entries


def test_without_image_1_nothing_is_sent(emulator: Any):
    with pytest.raises(PictureError, match="image_1"):
        edit({})
    with pytest.raises(PictureError, match="image_1"):
        edit({"image_2": picture()})
    assert not emulator.log.entries


def test_a_model_without_edits_is_refused(emulator: Any):
    with pytest.raises(OptionError, match="from text only"):
        edit({"image_1": picture()}, model="MAI-Image-2e")
    assert not emulator.log.entries


def test_an_empty_prompt_is_refused(emulator: Any):
    with pytest.raises(PromptError):
        edit({"image_1": picture()}, prompt=" ")
    assert not emulator.log.entries


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_one_three_and_four_channels_are_sent(emulator: Any, channels: int):
    output = edit({"image_1": picture(channels=channels)})
    assert output.args[0].shape[-1] == 3


@pytest.mark.parametrize("value", [float("nan"), -5.0, 7.0, float("inf"), float("-inf")])
def test_values_outside_0_to_1_are_sent_clipped(emulator: Any, value: float):
    images = picture()
    images[:, 10:20] = value
    assert edit({"image_1": images}).args[0].shape[0] == 1


def test_a_picture_over_the_limit_is_shrunk_in_its_aspect(emulator: Any):
    edit({"image_1": picture(2000, 3000)}, model="MAI-Image-2.5")
    ((size,),) = sent(emulator)
    assert size[0] * size[1] <= 1_056_768
    assert size[0] / size[1] == pytest.approx(1.5, rel=0.002)


def test_a_picture_at_the_limit_is_sent_as_it_is(emulator: Any):
    edit({"image_1": picture(1536, 1536)})
    assert sent(emulator) == [[(1536, 1536)]]


def test_other_reference_pixels_buy_another_picture(emulator: Any):
    edit({"image_1": picture()})
    edit({"image_1": picture()})
    assert emulator.log.billed == 1
    edit({"image_1": 1 - picture()})
    assert emulator.log.billed == 2


def test_the_inputs_are_never_changed(emulator: Any):
    images = picture() * 3 - 1
    before = images.clone()
    edit({"image_1": images})
    assert torch.equal(images, before)
