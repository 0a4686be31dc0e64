"""nodes/imaging/codec.py: what goes to the service and what comes back, to the last level."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.errors import AnswerError, ImageError
from mai_image.nodes.imaging import codec
from PIL import Image, ImageFile
from torch import Tensor

ORIENTATION = 0x0112
Bytes = npt.NDArray[np.uint8]


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Bytes:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, channels), dtype=np.uint8)


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(pixels: Bytes, **options: object) -> bytes:
    return file_of(Image.fromarray(pixels), **options)


def as_save_image_writes(image: Tensor) -> Bytes:
    """ComfyUI's SaveImage: `np.clip(255. * i, 0, 255).astype(np.uint8)`."""
    return np.clip(255.0 * image.numpy(), 0, 255).astype(np.uint8)


def decoded(reference: object) -> Bytes:
    image = Image.open(io.BytesIO(reference.data))  # type: ignore[attr-defined]
    assert image.mode == "RGB"
    return np.asarray(image)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width: int, height: int, depth: int, colour: int, interlace: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# Decoding


def test_every_one_of_the_256_levels_survives_decoding_and_save_image() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    image = codec.decode_image(png(levels))
    assert image.shape == (1, 16, 16, 3)
    assert image.dtype == torch.float32
    assert (image.min().item(), image.max().item()) == (0.0, 1.0)
    assert np.array_equal(as_save_image_writes(image)[0], levels)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 999))
def test_an_rgb_png_is_decoded_exactly(height: int, width: int, seed: int) -> None:
    pixels = noise(height, width, seed=seed)
    assert np.array_equal(as_save_image_writes(codec.decode_image(png(pixels)))[0], pixels)


def test_an_interlaced_png_is_decoded_exactly() -> None:
    # Adam7 of 2 x 2: pass 1 holds (0,0), pass 6 (0,1), pass 7 the second row.
    a, b, c, d = b"\x01\x02\x03", b"\x10\x20\x30", b"\x40\x50\x60", b"\xff\x00\x7f"
    data = raw_png(2, 2, 8, 2, 1, b"\0" + a + b"\0" + b + b"\0" + c + d)
    expected = np.frombuffer(a + b + c + d, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert np.array_equal(as_save_image_writes(codec.decode_image(data)), expected)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_other_png_modes_become_rgb_and_alpha_is_dropped(mode: str) -> None:
    pixels = noise(6, 5, 4)
    file = Image.fromarray(pixels).convert(mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = codec.decode_image(file_of(file))
    expected = pixels[..., :3] if mode == "RGBA" else np.asarray(file.convert("RGB"))
    assert np.array_equal(as_save_image_writes(image)[0], expected)


def test_a_palette_with_transparent_entries_keeps_its_colours() -> None:
    file = Image.fromarray(noise(8, 8)).quantize(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = codec.decode_image(file_of(file, transparency=bytes([0, 255, 128, 3])))
    assert np.array_equal(as_save_image_writes(image)[0], np.asarray(file.convert("RGB")))


def test_sixteen_bit_greyscale_keeps_its_precision() -> None:
    grey = np.array([[0, 1, 255, 256, 32768, 65535]], dtype=np.uint16)
    image = codec.decode_image(file_of(Image.fromarray(grey)))
    assert image.shape == (1, 1, 6, 3)
    assert torch.allclose(image[0, 0, :, 1].double(), torch.from_numpy(grey[0] / 65535))


def test_sixteen_bit_rgb_keeps_its_upper_eight_bits() -> None:
    row = struct.pack(">6H", 0x0000, 0x12FF, 0xFFFF, 0x8000, 0x7F80, 0x00FF)
    image = codec.decode_image(raw_png(2, 1, 16, 2, 0, b"\0" + row))
    expected = [[[0x00, 0x12, 0xFF], [0x80, 0x7F, 0x00]]]
    assert as_save_image_writes(image)[0].tolist() == expected


def test_an_animated_png_gives_its_first_frame() -> None:
    first, second = Image.fromarray(noise(4, 4)), Image.fromarray(noise(4, 4, seed=1))
    data = file_of(first, save_all=True, append_images=[second])
    assert np.array_equal(as_save_image_writes(codec.decode_image(data))[0], np.asarray(first))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_orientation_is_applied(orientation: int) -> None:
    upright = Image.new("RGB", (32, 16), "black")
    upright.paste((255, 0, 0), (0, 0, 16, 8))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that stores it turned
    stored = upright if orientation == 1 else upright.transpose(undo[orientation])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = codec.decode_image(file_of(stored, "JPEG", quality=95, exif=exif))
    assert image.shape == (1, 16, 32, 3)
    assert image[0, 2, 2, 0] > 0.9
    assert image[0, 13, 29].max() < 0.1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_that_cannot_be_read_leaves_the_image_as_it_is() -> None:
    pixels = noise(3, 4)
    data = png(pixels, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert np.array_equal(as_save_image_writes(codec.decode_image(data))[0], pixels)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_becomes_rgb_in_zero_to_one(mode: str) -> None:
    file = Image.new("RGB", (24, 16), (200, 100, 50)).convert(mode)
    image = codec.decode_image(file_of(file, "JPEG", quality=95))
    expected = torch.tensor(file.convert("RGB").getpixel((0, 0))) / 255
    assert image.shape == (1, 16, 24, 3)
    assert torch.allclose(image[0, 8, 12], expected, atol=0.02)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_file_is_an_answer_error_even_where_pillow_is_told_to_accept_it(
    kind: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = file_of(Image.fromarray(noise(64, 64)), kind)
    with pytest.raises(AnswerError):
        codec.decode_image(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "stream", [b"no zlib stream", zlib.compress(noise(10, 30).tobytes())[:200]]
)
def test_pixel_data_that_does_not_unpack_is_an_answer_error(stream: bytes) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    with pytest.raises(AnswerError, match="can't be decoded"):
        codec.decode_image(data)


@pytest.mark.parametrize("side", [8200, 30_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    with pytest.raises(AnswerError, match="pixels"):
        codec.decode_image(raw_png(side, side, 8, 2, 0, b"\0"))


def test_a_text_bomb_is_left_out_of_the_image() -> None:
    pixels = noise(2, 2)
    data = png(pixels)
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000), 9))
    assert np.array_equal(
        as_save_image_writes(codec.decode_image(data[:33] + bomb + data[33:])[0]), pixels
    )


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP", "TIFF"])
def test_another_format_is_an_answer_error(kind: str) -> None:
    with pytest.raises(AnswerError):
        codec.decode_image(file_of(Image.fromarray(noise(4, 4)), kind))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_file_gives_an_image_or_an_answer_error_and_nothing_else(
    data: st.DataObject,
) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG"]))
    good = bytearray(file_of(Image.fromarray(noise(12, 12)), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = codec.decode_image(bytes(good))
    except AnswerError:
        return
    assert image.ndim == 4
    assert image.shape[-1] == 3


# Batches


def test_a_batch_holds_each_image_exactly_and_in_order() -> None:
    arrays = [noise(9, 7, seed=seed) for seed in range(4)]
    decoded_batch = codec.decode_batch([png(pixels) for pixels in arrays])
    batch, notes = decoded_batch.batch, decoded_batch.notes
    assert batch.shape == (4, 9, 7, 3)
    assert notes == []
    assert np.array_equal(as_save_image_writes(batch), np.stack(arrays))


@pytest.mark.parametrize("size", [(50, 20), (20, 50), (10, 10), (200, 100), (41, 20)])
def test_an_image_of_another_size_is_fitted_without_distortion_and_noted(
    size: tuple[int, int],
) -> None:
    width, height = size
    other = Image.new("RGB", size, (0, 128, 255))
    square = max(2, min(size) // 2)
    left, top = (width - square) // 2, (height - square) // 2
    other.paste((255, 255, 255), (left, top, left + square, top + square))
    decoded_batch = codec.decode_batch([png(noise(20, 40)), file_of(other)])
    batch, notes = decoded_batch.batch, decoded_batch.notes
    assert batch.shape == (2, 20, 40, 3)
    (note,) = notes
    assert note.startswith(f"Image 2 is {width} x {height}")
    scale = max(40 / width, 20 / height)
    white = batch[1, :, :, 0] > 0.5
    assert abs(white.any(0).sum().item() - min(40, square * scale)) <= 2
    assert abs(white.any(1).sum().item() - min(20, square * scale)) <= 2


@settings(max_examples=40, deadline=None)
@given(sizes=st.tuples(*[st.integers(1, 60)] * 4))
def test_a_fitted_plain_image_covers_the_whole_frame(sizes: tuple[int, int, int, int]) -> None:
    width, height, other_width, other_height = sizes
    first = Image.new("RGB", (width, height), "black")
    second = Image.new("RGB", (other_width, other_height), (10, 128, 250))
    batch = codec.decode_batch([file_of(first), file_of(second)]).batch
    assert batch.shape == (2, height, width, 3)
    assert (as_save_image_writes(batch)[1] == [10, 128, 250]).all()


def test_sixteen_bit_greyscale_is_fitted_too() -> None:
    grey = Image.fromarray(np.full((5, 5), 40_000, dtype=np.uint16))
    batch = codec.decode_batch([png(noise(4, 8)), file_of(grey)]).batch
    assert (batch[1] == round(40_000 / 257) / 255).all()


def test_a_batchs_files_are_given_up_on_the_way() -> None:
    files = [png(noise(4, 8, seed=seed)) for seed in range(3)]
    codec.decode_batch(files)
    assert files == []


def test_an_empty_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="no image"):
        codec.decode_batch([])


def test_what_was_decoded_is_in_memory_once() -> None:
    file = png(noise(8, 9))
    done = codec.decode_batch([file, file])
    assert (done.batch.shape, done.notes) == ((2, 8, 9, 3), [])
    assert [one.image.data_ptr() for one in done.images] == [one.data_ptr() for one in done.batch]


def test_images_of_other_sizes_are_kept_as_they_came() -> None:
    sizes = [(40, 60), (60, 40)]
    arrays = [noise(*size) for size in sizes]
    done = codec.decode_batch([png(pixels) for pixels in arrays])
    assert done.batch.shape == (2, 40, 60, 3)
    assert len(done.notes) == 1
    for (image, _), pixels in zip(done.images, arrays, strict=True):
        assert np.array_equal(as_save_image_writes(image), pixels)


# Encoding


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    channels=st.sampled_from([1, 3, 4]),
    seed=st.integers(0, 999),
)
def test_encoding_rounds_every_value_to_the_nearest_level(
    height: int, width: int, channels: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand((height, width, channels), generator=generator) * 1.4 - 0.2
    before = image.clone()
    reference = codec.encode_image(image, height * width)
    nearest = np.rint(np.clip(image[..., :3].double().numpy(), 0, 1) * 255)
    sent = decoded(reference).astype(int)
    assert torch.equal(image, before)
    assert (reference.media_type, reference.width, reference.height) == ("image/png", width, height)
    assert sent.shape == (height, width, 3)
    exact = np.clip(image[..., :3].double().numpy(), 0, 1) * 255
    assert (np.abs(sent - exact) <= 0.5 + 1e-4).all()
    assert (sent != nearest).sum() <= max(3, 0.01 * sent.size)


def test_what_was_decoded_is_encoded_exactly() -> None:
    pixels = noise(17, 23)
    image = codec.decode_image(png(pixels))[0]
    assert np.array_equal(decoded(codec.encode_image(image, 10_000)), pixels)


def test_odd_values_become_the_level_that_the_docstring_names() -> None:
    values = [float("nan"), float("inf"), -float("inf"), -0.1, 1.1, 0.5, 3e38, -3e38]
    image = torch.tensor(values).reshape(1, 8, 1)
    levels = decoded(codec.encode_image(image, 100))[0, :, 0].tolist()
    assert levels == [0, 255, 0, 0, 255, 128, 255, 0]


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.bool]
)
def test_every_accepted_type_is_converted(dtype: torch.dtype) -> None:
    ends = torch.tensor([[[0, 0, 1]]]) * (255 if dtype == torch.uint8 else 1)
    assert decoded(codec.encode_image(ends.to(dtype), 100)).tolist() == [[[0, 0, 255]]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_floats_are_rounded_after_widening(dtype: torch.dtype) -> None:
    image = torch.rand((8, 8, 3), generator=torch.Generator().manual_seed(3)).to(dtype)
    expected = (image.float() * 255).round().byte().numpy()
    assert np.array_equal(decoded(codec.encode_image(image, 100)), expected)


def test_alpha_is_dropped_and_the_colours_under_it_stay() -> None:
    image = torch.tensor([[[1.0, 0.5, 0.0, 0.0], [0.2, 0.4, 0.6, 0.5]]])
    assert decoded(codec.encode_image(image, 100)).tolist() == [[[255, 128, 0], [51, 102, 153]]]


def test_grey_becomes_rgb() -> None:
    image = torch.tensor([[[0.0], [0.2], [1.0]]])
    assert decoded(codec.encode_image(image, 100)).tolist() == [[[0] * 3, [51] * 3, [255] * 3]]


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (torch.zeros(4, 4, 2), "2 channels"),
        (torch.zeros(4, 4, 5), "5 channels"),
        (torch.zeros(4, 4, 0), "0 channels"),
        (torch.zeros(0, 4, 3), "empty"),
        (torch.zeros(4, 0, 3), "empty"),
        (torch.zeros(4, 4), "shape"),
        (torch.zeros(1, 4, 4, 3), "shape"),
        (torch.zeros(4, 4, 3, dtype=torch.int64), "int64"),
        (torch.zeros(4, 4, 3, dtype=torch.complex64), "complex64"),
        ([[0.0]], "list"),
    ],
)
def test_what_is_no_image_is_refused(image: Tensor, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        codec.encode_image(image, 100)


def test_a_limit_of_no_pixels_is_an_error() -> None:
    with pytest.raises(ValueError, match="max_pixels"):
        codec.encode_image(torch.zeros(2, 2, 3), 0)


@pytest.mark.parametrize(
    "view",
    [
        lambda image: image.permute(1, 0, 2),
        lambda image: image[::2, 1::3],
        lambda image: image.flip(0)[:, :1].expand(-1, 9, -1),
        lambda image: image.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    ],
)
def test_views_of_any_strides_are_encoded(view: object) -> None:
    image = view(torch.rand(12, 10, 3, generator=torch.Generator().manual_seed(1)))  # type: ignore[operator]
    expected = (image * 255).round().byte().numpy()
    assert np.array_equal(decoded(codec.encode_image(image, 1000)), expected)


def test_inference_tensors_and_tensors_with_a_gradient_are_encoded() -> None:
    with torch.inference_mode():
        inference = torch.full((4, 4, 3), 0.2)
    assert (decoded(codec.encode_image(inference, 8)) == 51).all()
    gradient = torch.full((4, 4, 3), 0.2, requires_grad=True)
    assert (decoded(codec.encode_image(gradient, 8)) == 51).all()


def test_a_decoded_image_can_be_changed_outside_of_inference_mode() -> None:
    image = codec.decode_batch([png(noise(2, 2))]).batch
    image.mul_(0)
    assert image.sum() == 0


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand(37, 11, 3, generator=torch.Generator().manual_seed(5))
    whole = codec.encode_image(image, 1000).data
    monkeypatch.setattr(codec, "STRIP_PIXELS", 40)
    assert codec.encode_image(image, 1000).data == whole


# Shrinking


@settings(max_examples=200)
@given(height=st.integers(1, 20_000), width=st.integers(1, 20_000), limit=st.integers(1, 4_000_000))
def test_shrinking_keeps_the_ratio_fits_the_limit_and_never_enlarges(
    height: int, width: int, limit: int
) -> None:
    new_height, new_width = codec.shrunk_size(height, width, limit)
    assert 1 <= new_height <= height
    assert 1 <= new_width <= width
    assert new_height * new_width <= max(limit, 1)
    assert codec.shrunk_size(width, height, limit) == (new_width, new_height)
    if height * width <= limit:
        assert (new_height, new_width) == (height, width)
    elif min(new_height, new_width) > 1:
        assert abs(new_width - width * (limit / (width * height)) ** 0.5) <= 1
        assert abs(new_height - height * (limit / (width * height)) ** 0.5) <= 1


def smooth(height: int, width: int) -> Tensor:
    rows = torch.linspace(0, 6, height)[:, None, None]
    columns = torch.linspace(0, 5, width)[None, :, None]
    return torch.sin(rows) * torch.cos(columns + torch.arange(3)) * 0.4 + 0.5


@pytest.mark.parametrize(
    ("height", "width", "limit"),
    [
        (300, 400, 30_000),
        (400, 300, 119_999),
        (5000, 1, 300),
        (1, 5000, 300),
        (5000, 7, 300),
        (7, 5000, 300),
        (3000, 2, 1),
        (2, 2, 1),
    ],
)
def test_a_shrunk_image_is_the_antialiased_one_for_every_shape(
    height: int, width: int, limit: int
) -> None:
    image = smooth(height, width)
    reference = codec.encode_image(image, limit)
    planes = (image * 255).round().permute(2, 0, 1).unsqueeze(0).double()
    exact = torch.nn.functional.interpolate(
        planes, size=(reference.height, reference.width), mode="bicubic", antialias=True
    )
    expected = exact[0].permute(1, 2, 0).clamp(0, 255)
    assert reference.width * reference.height <= limit
    assert (torch.from_numpy(decoded(reference).copy()) - expected).abs().max() < 1.6


def test_fine_stripes_become_grey_and_not_moire() -> None:
    image = torch.zeros(512, 512, 1)
    image[:, ::2] = 1.0
    sent = decoded(codec.encode_image(image, 100 * 100)).astype(int)
    assert (np.abs(sent[5:-5, 5:-5] - 128) < 12).all()


# Splitting


def test_a_batch_is_split_into_views_of_its_images() -> None:
    batch = torch.rand(3, 4, 5, 3)
    parts = codec.split_batch(batch)
    assert [list(part.shape) for part in parts] == [[4, 5, 3]] * 3
    assert all(torch.equal(one, other) for one, other in zip(parts, batch, strict=True))
    assert parts[0].data_ptr() == batch.data_ptr()


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (torch.zeros(1, 8, 8), "MASK"),
        (torch.zeros(8, 8), "shape"),
        (torch.zeros(0, 8, 8, 3), "empty"),
        (torch.zeros(1, 0, 8, 3), "empty"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_image_is_refused_with_the_name_of_the_input(tensor: Tensor, why: str) -> None:
    with pytest.raises(ImageError, match=why) as caught:
        codec.split_batch(tensor, "image_2")
    assert "image_2" in str(caught.value)
