"""MAI Edit: which images go out, in what order and form, and what comes back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import torch
from mai_image.mai.errors import ImageError, OptionError, PromptError
from mai_image.nodes.edit import MAIEdit


def edit(images: dict[str, torch.Tensor], **inputs: Any) -> Any:
    """Run the node as ComfyUI does: in an event loop of its own."""
    given = {"prompt": "add a hat", "profile": "test", **inputs}
    return asyncio.run(MAIEdit.execute(images, **given))


def image(height: int = 96, width: int = 128, channels: int = 3, count: int = 1) -> torch.Tensor:
    return torch.rand((count, height, width, channels), generator=torch.manual_seed(1))


def sent(emulator: Any) -> list[list[tuple[int, int]]]:
    """The sizes of each request's files, in the order in which they came."""
    return [[(file.width, file.height) for file in entry.files] for entry in emulator.log.entries]


def test_references_go_out_in_the_order_of_their_sockets(emulator: Any):
    images = {f"image_{i}": image(100 + i, 200) for i in (5, 3, 1, 4, 2)}
    edit(images)
    assert sent(emulator) == [[(200, 101), (200, 102), (200, 103), (200, 104), (200, 105)]]


def test_every_file_is_a_png_part_named_image(emulator: Any):
    edit({"image_1": image(), "image_2": image()})
    (entry,) = emulator.log.entries
    assert [(file.field, file.media_type) for file in entry.files] == [("image", "image/png")] * 2


def test_a_batch_on_image_1_is_edited_image_by_image_with_the_other_sockets_along(emulator: Any):
    output = edit({"image_1": image(count=3), "image_2": image(50, 60)}, seed=10)
    assert output.args[0].shape[0] == 3
    assert sent(emulator) == [[(128, 96), (60, 50)]] * 3
    assert [entry["seed"] for entry in json.loads(output.args[2])["images"]] == [10, 11, 12]


def test_batch_size_makes_so_many_of_each_image(emulator: Any):
    output = edit({"image_1": image(count=2)}, batch_size=2)
    assert output.args[0].shape[0] == 4
    assert emulator.log.billed == 4


def test_each_image_of_a_batch_on_another_socket_is_a_reference(emulator: Any):
    edit({"image_1": image(), "image_2": image(50, 60, count=3)})
    assert sent(emulator) == [[(128, 96), (60, 50), (60, 50), (60, 50)]]


def test_more_images_than_the_model_takes_are_refused(emulator: Any):
    with pytest.raises(ImageError, match="1 to 5 reference images, there are 6"):
        edit({"image_1": image(), "image_2": image(count=5)})
    with pytest.raises(ImageError, match="takes 1 reference image, there are 2"):
        edit({"image_1": image(), "image_2": image()}, model="MAI-Image-2.5")
    assert not emulator.log.entries


def test_without_image_1_nothing_is_sent(emulator: Any):
    with pytest.raises(ImageError, match="image_1"):
        edit({})
    with pytest.raises(ImageError, match="image_1"):
        edit({"image_2": image()})
    assert not emulator.log.entries


def test_a_model_without_edits_is_refused(emulator: Any):
    with pytest.raises(OptionError, match="from text only"):
        edit({"image_1": image()}, model="MAI-Image-2e")
    assert not emulator.log.entries


def test_an_empty_prompt_is_refused(emulator: Any):
    with pytest.raises(PromptError):
        edit({"image_1": image()}, prompt=" ")
    assert not emulator.log.entries


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_one_three_and_four_channels_are_sent(emulator: Any, channels: int):
    output = edit({"image_1": image(channels=channels)})
    assert output.args[0].shape[-1] == 3


@pytest.mark.parametrize("value", [float("nan"), -5.0, 7.0, float("inf"), float("-inf")])
def test_values_outside_0_to_1_are_sent_clipped(emulator: Any, value: float):
    images = image()
    images[:, 10:20] = value
    assert edit({"image_1": images}).args[0].shape[0] == 1


def test_an_image_over_the_limit_is_shrunk_in_its_aspect(emulator: Any):
    edit({"image_1": image(2000, 3000)}, model="MAI-Image-2.5")
    ((size,),) = sent(emulator)
    assert size[0] * size[1] <= 1_056_768
    assert size[0] / size[1] == pytest.approx(1.5, rel=0.002)


def test_an_image_at_the_limit_is_sent_as_it_is(emulator: Any):
    edit({"image_1": image(1536, 1536)})
    assert sent(emulator) == [[(1536, 1536)]]


def test_other_reference_pixels_buy_another_image(emulator: Any):
    edit({"image_1": image()})
    edit({"image_1": image()})
    assert emulator.log.billed == 1
    edit({"image_1": 1 - image()})
    assert emulator.log.billed == 2


def test_the_inputs_are_never_changed(emulator: Any):
    images = image() * 3 - 1
    before = images.clone()
    edit({"image_1": images})
    assert torch.equal(images, before)


def masked(height: int, width: int, box: tuple[int, int, int, int]) -> torch.Tensor:
    mask = torch.zeros((1, height, width))
    left, top, right, bottom = box
    mask[0, top:bottom, left:right] = 1
    return mask


def outside(mask: torch.Tensor, grow: int) -> torch.Tensor:
    """Where not even the grown mask is."""
    grown = torch.nn.functional.max_pool2d(mask, 2 * grow + 1, stride=1, padding=grow)
    return grown[0] == 0


def test_outside_the_mask_every_value_is_the_input_s(emulator: Any):
    images = image(900, 1300) * 3 - 1
    images[0, 5, 5] = float("nan")
    mask = masked(900, 1300, (400, 300, 600, 500))
    output = edit({"image_1": images}, mask=mask)
    kept = outside(mask, 16)
    edited = output.args[0][0]
    assert edited.shape == (900, 1300, 3)
    assert torch.equal(edited[kept].nan_to_num(-9), images[0][kept].nan_to_num(-9))
    assert not torch.equal(edited[~kept], images[0][~kept])


def test_a_masked_12_megapixel_image_costs_one_edit_of_about_1_megapixel(emulator: Any):
    mask = masked(3000, 4000, (1800, 1200, 2100, 1500))
    output = edit({"image_1": image(3000, 4000)}, mask=mask)
    assert output.args[0].shape == (1, 3000, 4000, 3)
    (entry,) = emulator.log.entries
    (file,) = entry.files
    assert file.width * file.height <= 2_359_296
    assert min(file.width, file.height) >= 768
    assert file.width % 16 == file.height % 16 == 0


def test_info_says_how_far_the_edit_drifted_in_each_area(emulator: Any):
    mask = masked(800, 800, (300, 300, 400, 400))
    output = edit({"image_1": image(800, 800)}, mask=mask)
    (edited,) = json.loads(output.args[2])["edits"]
    (area,) = edited["areas"]
    assert area["mean_abs_difference"] >= 0
    assert len(area["shift_px"]) == 2


def test_each_image_of_a_batch_has_its_own_mask(emulator: Any):
    images = image(400, 400, count=2)
    masks = torch.cat([masked(400, 400, (10, 10, 60, 60)), masked(400, 400, (300, 300, 390, 390))])
    output = edit({"image_1": images}, mask=masks, mask_grow=0, mask_feather=0)
    for i in range(2):
        kept = masks[i] == 0
        assert torch.equal(output.args[0][i][kept], images[i][kept])
        assert not torch.equal(output.args[0][i][~kept], images[i][~kept])


def test_an_empty_mask_is_refused_before_anything_is_sent(emulator: Any):
    with pytest.raises(ImageError, match="mask is empty"):
        edit({"image_1": image()}, mask=torch.zeros((1, 96, 128)))
    assert not emulator.log.entries


def test_without_a_mask_the_edit_has_the_input_s_size(emulator: Any):
    output = edit({"image_1": image(311, 553)})
    assert output.args[0].shape == (1, 311, 553, 3)
    assert output.args[1].shape == (1, 768, 1360, 3)


def test_as_returned_leaves_the_size_as_it_came(emulator: Any):
    output = edit({"image_1": image(311, 553)}, output_size="as returned")
    assert torch.equal(output.args[0], output.args[1])
    assert output.args[0].shape == (1, 768, 1360, 3)


def test_an_image_whose_edit_is_blocked_is_left_out_under_skip(emulator: Any):
    prompt = "add a hat [[fault answer=block-result first=1]]"
    output = edit({"image_1": image(count=2)}, prompt=prompt, if_blocked="skip")
    assert output.args[0].shape[0] == output.args[1].shape[0] == 1
