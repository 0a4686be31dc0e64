"""Alpha from the API into the graph: exact, and always the size of the images."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from comfy_api.latest import _io
from mai_image.mai.errors import OptionError
from mai_image.mai.models import CATALOGUE
from mai_image.nodes.edit import MAIEdit
from mai_image.nodes.generate import MAIGenerate
from mai_image.nodes.imaging.codec import DecodedImage, decode_batch
from mai_image.nodes.imaging.masked_edit import MaskSettings, finish_image, plan_image
from mai_image.nodes.imaging.transparency import MASK_OF_ALPHA
from PIL import Image
from torch import Tensor

Bytes = npt.NDArray[np.uint8]

LEVELS = np.arange(256, dtype=np.uint8)
M27 = CATALOGUE["MAI-Image-2.7"]


def saved(image: Tensor) -> Bytes:
    """What core's Save Image writes."""
    return np.clip(255.0 * image.numpy(), 0, 255).astype(np.uint8)


def joined(image: Tensor, mask: Tensor) -> Tensor:
    """Core's Join Image with Alpha."""
    return torch.cat((image[..., :3], (1.0 - mask).unsqueeze(-1)), dim=-1)


def composited(destination: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """Core's Image Composite Masked, of one size."""
    weight = mask.unsqueeze(-1)
    return weight * source + (torch.ones_like(weight) - weight) * destination


def rgba(height: int, width: int, seed: int = 0) -> Bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[..., 3].flat[:256] = LEVELS[: height * width]
    return pixels


def file_of(pixels: Bytes | Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def generate(**inputs: Any) -> tuple[Any, ...]:
    given = {"prompt": "a fox", "profile": "test", "width": 768, "height": 768, **inputs}
    return tuple(asyncio.run(MAIGenerate.execute(**given)).args)


def edit(image: Tensor, **inputs: Any) -> tuple[Any, ...]:
    given = {"prompt": "cut it out", "profile": "test", "background": "transparent", **inputs}
    return tuple(asyncio.run(MAIEdit.execute(images={"image_1": image}, **given)).args)


def test_every_alpha_comes_back_through_each_of_core_s_ways() -> None:
    mask = torch.from_numpy(MASK_OF_ALPHA).reshape(1, 16, 16)
    inverted = 1.0 - mask  # Invert Mask
    white, black = torch.ones(1, 16, 16, 3), torch.zeros(1, 16, 16, 3)
    wanted = LEVELS.reshape(16, 16)
    assert np.array_equal(saved(joined(white, mask))[0, ..., 3], wanted)
    assert np.array_equal(saved(joined(white, 1.0 - inverted))[0, ..., 3], wanted)
    assert np.array_equal(saved(inverted)[0], wanted)
    assert np.array_equal(saved(composited(black, white, inverted))[0, ..., 0], wanted)
    assert np.array_equal(saved(composited(white, black, mask))[0, ..., 0], wanted)
    assert (MASK_OF_ALPHA[0], MASK_OF_ALPHA[255]) == (1, 0)


def test_the_mask_is_the_nearest_float_wherever_that_is_exact() -> None:
    nearest = np.float32(1) - LEVELS / np.float32(255)
    differs = nearest != MASK_OF_ALPHA
    assert int(differs.sum()) == 95
    below = np.nextafter(nearest, np.float32(0))
    assert np.array_equal(MASK_OF_ALPHA[differs], below[differs])


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (300, 401)])
def test_a_file_with_alpha_comes_back_bit_for_bit(size: tuple[int, int]) -> None:
    pixels = rgba(*size)
    done = decode_batch([file_of(pixels)])
    assert np.array_equal(saved(joined(done.batch, done.mask))[0], pixels)


@pytest.mark.parametrize("mode", ["LA", "P", "L", "RGB", "I;16"])
def test_every_kind_of_transparency_that_a_png_knows_is_in_the_mask(mode: str) -> None:
    pixels = rgba(16, 16)
    image, options = Image.fromarray(pixels), {}
    if mode == "P":
        image = image.convert("RGB").quantize(4)
        options = {"transparency": bytes([0, 255, 128, 3])}
    elif mode == "LA":
        image = image.convert("LA")
    elif mode == "I;16":
        image = Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257)
        options = {"transparency": 257}
    else:
        image = image.convert(mode)
        options = {"transparency": image.getpixel((3, 2))}
    done = decode_batch([file_of(image, **options)])
    if mode == "I;16":
        assert np.flatnonzero(done.mask.numpy()).tolist() == [1]
        return
    with Image.open(io.BytesIO(file_of(image, **options))) as opened:
        wanted = np.asarray(opened.convert("RGBA"))
    assert np.array_equal(saved(joined(done.batch, done.mask))[0], wanted)


def test_a_batch_of_files_with_and_without_alpha_has_zeros_for_those_without() -> None:
    clear = rgba(40, 50)
    done = decode_batch([file_of(clear[..., :3].copy()), file_of(clear)])
    assert done.mask.shape == done.batch.shape[:3] == (2, 40, 50)
    assert not done.mask[0].any()
    assert np.array_equal(saved(1 - done.mask[1]), clear[..., 3])


def test_an_image_of_another_size_has_its_mask_scaled_with_it() -> None:
    half = np.zeros((80, 80, 4), np.uint8)
    half[:, 40:] = (200, 100, 50, 255)
    done = decode_batch([file_of(rgba(40, 40)), file_of(half)])
    assert done.mask.shape == (2, 40, 40)
    assert (done.mask[1, :, :18] == 1).all()
    assert (done.mask[1, :, 22:] == 0).all()
    # The black under what is transparent doesn't darken the edge.
    seen = done.mask[1] < 0.9
    assert done.batch[1][seen].sub(torch.tensor([200, 100, 50]) / 255).abs().max() < 0.02


def test_a_transparent_image_is_that_of_the_file(emulator: Any, tmp_path: Any) -> None:
    images, info, mask = generate(background="transparent")
    (stored,) = (tmp_path / "mai" / "store").rglob("*.png")
    with Image.open(stored) as file:
        assert file.mode == "RGBA"
        assert np.array_equal(saved(joined(images, mask))[0], np.asarray(file))
    assert 0 < mask.mean() < 1
    assert json.loads(info)["count"] == 1


def test_an_opaque_image_has_a_mask_of_zeros_of_its_size(emulator: Any) -> None:
    images, _, mask = generate()
    assert mask.shape == images.shape[:3]
    assert mask.dtype == torch.float32
    assert not mask.any()
    assert "background" not in emulator.log.entries[0].fields or (
        emulator.log.entries[0].fields["background"] == "opaque"
    )


@pytest.mark.parametrize("model", ["MAI-Image-2.6", "MAI-Image-2.5"])
def test_a_model_without_it_refuses_and_names_those_that_have_it(emulator: Any, model: str) -> None:
    with pytest.raises(OptionError, match=r"MAI-Image-2\.7, MAI-Image-2\.7-Flash"):
        generate(model=model, background="transparent")
    with pytest.raises(OptionError, match=r"MAI-Image-2\.7, MAI-Image-2\.7-Flash"):
        edit(torch.rand(1, 64, 64, 3), model=model)
    assert not emulator.log.entries


def test_where_all_are_blocked_the_mask_blocks_too(emulator: Any) -> None:
    images, _, mask = generate(prompt="blockprompt", if_blocked="skip")
    assert isinstance(images, _io.ExecutionBlocker)
    assert isinstance(mask, _io.ExecutionBlocker)


@pytest.mark.parametrize("output_size", ["same as input", "as returned"])
@pytest.mark.parametrize("came", ["1mp", "input", "largest"])
def test_the_mask_of_an_edit_has_the_size_of_its_images(
    emulator: Any, output_size: str, came: str
) -> None:
    prompt = f"cut it out [[edit output={came}]]"
    images, returned, _, mask = edit(torch.rand(1, 400, 600, 3), prompt=prompt,
                                     output_size=output_size)  # fmt: skip
    assert mask.shape == images.shape[:3]
    assert mask.any()
    assert (images.shape == returned.shape) == (output_size == "as returned")


def test_a_reference_with_alpha_changes_neither_size_nor_mask(emulator: Any) -> None:
    images, _, _, mask = edit(torch.rand(1, 768, 768, 4), background="opaque")
    assert images.shape == (1, 768, 768, 3)
    assert not mask.any()


@pytest.mark.parametrize("came", ["1mp", "input", "largest"])
def test_a_masked_edit_is_opaque_outside_its_mask(emulator: Any, came: str) -> None:
    image, selected = torch.rand(1, 900, 1200, 3), torch.zeros(1, 900, 1200)
    selected[:, 300:600, 400:800] = 1
    images, _, _, mask = edit(image, prompt=f"go [[edit output={came}]]", mask=selected,
                              mask_grow=0, mask_feather=0)  # fmt: skip
    assert mask.shape == images.shape[:3] == (1, 900, 1200)
    kept = selected[0] == 0
    assert not mask[0][kept].any()
    assert torch.equal(images[0][kept], image[0][kept])


def test_inside_the_mask_it_is_the_edit_s_own_and_feathered_as_the_colours_are() -> None:
    image, selected = torch.full((896, 1008, 3), 0.25), torch.zeros(896, 1008)
    selected[200:700, 200:700] = 1
    plan = plan_image(image, selected, M27, MaskSettings(mask_grow=0, mask_feather=16))
    (crop,) = plan.crops
    own = torch.from_numpy(MASK_OF_ALPHA)[torch.arange(crop.shape[1]) % 256]
    own = own.expand(crop.shape[:2]).contiguous()
    out, mask = torch.empty(896, 1008, 3), torch.zeros(896, 1008)
    finish_image(plan, [DecodedImage(torch.ones_like(crop), own)], out, False, mask)
    (patch,) = plan.patches
    box = patch.frame.box.slices
    weight = torch.from_numpy(patch.alpha) / 255
    assert torch.allclose(mask[box], weight * own, atol=1e-6)
    assert torch.equal(mask[box][weight == 1], own[weight == 1])
    assert torch.allclose((out[box][..., 0] - 0.25) / 0.75, weight, atol=1e-5)


def test_an_edit_that_only_takes_the_background_away_still_has_its_mask() -> None:
    image, selected = torch.rand(800, 800, 3), torch.zeros(800, 800)
    selected[100:700, 100:700] = 1
    plan = plan_image(image, selected, M27, MaskSettings(mask_grow=0, mask_feather=0))
    (crop,) = plan.crops
    out, mask = torch.empty(800, 800, 3), torch.zeros(800, 800)
    finish_image(plan, [DecodedImage(crop, torch.ones(crop.shape[:2]))], out, True, mask)
    assert torch.equal(mask, selected)
    assert torch.allclose(out, image, atol=1e-6)
