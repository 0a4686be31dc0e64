"""MAI Crop for Edit and MAI Stitch: there and back again, for one image and for batches."""

from __future__ import annotations

import pytest
import torch
from mai_image.mai.errors import ImageError
from mai_image.mai.models import CATALOGUE
from mai_image.mai.sizes import validate_size
from mai_image.nodes import run
from mai_image.nodes.crop import MAICrop
from mai_image.nodes.stitch import MAIStitch
from torch import Tensor

MODEL = "MAI-Image-2.6"


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random images in every run and order."""
    torch.manual_seed(0)


def images(count: int, height: int = 900, width: int = 1300, channels: int = 3) -> Tensor:
    small = torch.rand((count, channels, height // 30, width // 30))
    scaled = torch.nn.functional.interpolate(small, (height, width), mode="bicubic")
    return scaled.permute(0, 2, 3, 1).clamp(0, 1)


def mask_of(*rects: tuple[int, int, int, int], height: int = 900, width: int = 1300) -> Tensor:
    """One mask for each (left, top, right, bottom)."""
    masks = torch.zeros(len(rects), height, width)
    for mask, (left, top, right, bottom) in zip(masks, rects, strict=True):
        mask[top:bottom, left:right] = 1
    return masks


def cropped(image: Tensor, mask: Tensor, **options: object) -> tuple[Tensor, Tensor, object]:
    with torch.inference_mode():
        return MAICrop.execute(image, mask, MODEL, **options).args


def stitched(stitch: object, image: Tensor) -> Tensor:
    with torch.inference_mode():
        return MAIStitch.execute(stitch, image).args[0]


@pytest.mark.parametrize("rect", [(600, 400, 640, 430), (300, 200, 700, 600), (0, 0, 1300, 900)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_crop_and_stitch_without_a_change_is_the_identity(
    rect: tuple[int, int, int, int], channels: int
) -> None:
    image = images(1, channels=channels)
    crop, crop_mask, stitch = cropped(image, mask_of(rect))
    validate_size(CATALOGUE[MODEL], crop.shape[2], crop.shape[1])
    assert crop_mask.shape == crop.shape[:3]
    assert crop_mask.max() == 1
    assert torch.equal(stitched(stitch, crop), image[..., :3].expand(-1, -1, -1, 3))


def test_the_crop_mask_marks_on_the_crop_what_the_mask_marks_on_the_image() -> None:
    image = torch.zeros(1, 900, 1300, 3)
    image[0, 300:500, 400:600] = 1
    crop, crop_mask, _ = cropped(image, mask_of((400, 300, 600, 500)), mask_grow=0, mask_feather=0)
    assert (crop[..., 0] - crop_mask).abs().mean() < 0.005


def test_a_batch_with_a_mask_for_each_image_has_crops_of_one_size_and_boxes_of_its_own() -> None:
    image = images(3)
    masks = mask_of((100, 100, 150, 150), (600, 300, 1000, 500), (1200, 800, 1300, 900))
    crop, _, stitch = cropped(image, masks)
    assert crop.shape[0] == 3
    boxes = [patch.frame.box for patch in stitch.patches]
    assert len({(box.width, box.height) for box in boxes}) > 1
    assert torch.equal(stitched(stitch, crop), image)
    black = stitched(stitch, torch.zeros_like(crop))
    for edited, before, mask in zip(black, image, masks, strict=True):
        assert edited[mask == 1].max() < 0.2
        masked_rows = mask.any(1).nonzero()
        far = [*range(int(masked_rows[0]) - 20), *range(int(masked_rows[-1]) + 20, 900)]
        assert torch.equal(edited[far], before[far])


def test_one_mask_serves_every_image_of_a_batch() -> None:
    image = images(2)
    crop, _, stitch = cropped(image, mask_of((600, 300, 1000, 500)))
    assert torch.equal(stitched(stitch, crop), image)


def test_several_edits_of_each_crop_give_as_many_images_in_turn() -> None:
    image = images(2)
    crop, _, stitch = cropped(image, mask_of((600, 300, 1000, 500)))
    both = stitched(stitch, crop.repeat_interleave(2, 0))
    assert torch.equal(both, image.repeat_interleave(2, 0))


def test_a_number_of_edits_that_does_not_fit_the_crops_is_refused() -> None:
    crop, _, stitch = cropped(images(2), mask_of((600, 300, 1000, 500)))
    with pytest.raises(ImageError, match="3 edited crops for 2"):
        stitched(stitch, crop[[0, 1, 1]])


def test_an_enlarged_edit_is_set_back_where_the_crop_was() -> None:
    image = images(1)
    crop, _, stitch = cropped(image, mask_of((300, 200, 700, 600)))
    large = torch.nn.functional.interpolate(
        crop.permute(0, 3, 1, 2), scale_factor=2, mode="bicubic"
    ).permute(0, 2, 3, 1)
    assert (stitched(stitch, large) - image).abs().max() < 0.02


def test_a_mask_of_another_size_is_scaled_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    image = images(2)
    mask = torch.zeros(1, 90, 130)
    mask[0, 30:50, 60:100] = 1
    crop, _, stitch = cropped(image, mask)
    assert torch.equal(stitched(stitch, crop), image)
    (note,) = [record.getMessage() for record in caplog.records if "nodes" in record.name]
    assert note.startswith("MAI Crop for Edit: ")
    assert "the mask was scaled" in note


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(ImageError, match="The mask is empty"):
        cropped(images(1), torch.zeros(1, 64, 64))


def test_notes_appear_on_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str]] = []

    class Page:
        client_id = "page"

        def send_progress_text(self, text: str, node_id: str, sid: str | None = None) -> None:
            sent.append((text, node_id))

    monkeypatch.setattr(run.PromptServer, "instance", Page(), raising=False)
    run.show_notes("MAI Stitch", "7", ["One.", "Two."])
    run.show_notes("MAI Stitch", "7", [])
    assert sent == [("One.\nTwo.", "7")]


def test_the_two_nodes_inputs_and_outputs_are_those_of_the_contract() -> None:
    crop, stitch = MAICrop.define_schema(), MAIStitch.define_schema()
    assert [one.id for one in crop.inputs] == [
        "image", "mask", "model", "context", "mask_grow", "mask_feather"
    ]  # fmt: skip
    assert [one.id for one in crop.outputs] == ["crop", "crop_mask", "stitch"]
    assert [one.id for one in stitch.inputs] == ["stitch", "image", "match_color"]
    assert [one.id for one in stitch.outputs] == ["image"]
    assert crop.outputs[2].io_type == stitch.inputs[0].io_type == "MAI_STITCH"
    for one in (*crop.inputs, *crop.outputs, *stitch.inputs, *stitch.outputs):
        assert one.tooltip
