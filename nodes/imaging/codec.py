"""Image files to IMAGE tensors and back: pure functions.

An IMAGE is a tensor [B,H,W,C], float32 in 0..1. What is sent is PNG, 8-bit RGB; what comes back is
PNG or, rarely, JPEG.
"""

from __future__ import annotations

import contextlib
import io
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from ...mai.errors import AnswerError, ImageError
from ...mai.formats import ImageHeader, inspect
from ...mai.types import Reference
from .fast_png import MAX_PIXELS, decode_plain, is_small
from .png_process import Unavailable, png_process
from .resample import covering, resample_mask, resample_visible
from .transparency import rounded_mask, write_mask

PNG_STRATEGY = zlib.Z_RLE
"""Runs of bytes only: faster than zlib's level 1 and most often smaller (benchmarks/README.md)."""

DECODERS = 2
"""Files of a batch that are decoded at once: Pillow lets other threads run meanwhile."""

STRIP_PIXELS = 1 << 16
"""Pixels of a tensor converted at a time: their 0.8 MB stay in a core's cache through all steps,
and a large image needs no second copy in float32."""

_DECODE_FAILURES = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for a file that is damaged, or that is built to use up memory."""

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


class DecodedImage(NamedTuple):
    """One image [H,W,3], and its MASK [H,W] (1 = transparent): None for a file without alpha."""

    image: Tensor
    mask: Tensor | None


@dataclass(frozen=True)
class DecodedBatch:
    """`batch` is an IMAGE [n,H,W,3], `mask` the MASK [n,H,W] of the same size, 1 where an image is
    transparent and 0 all over where its file has no alpha. `images` are the images as they came,
    views of both where they have that size. `notes` are sentences on the images that had to be
    fitted into the batch."""

    batch: Tensor = field(repr=False)
    mask: Tensor = field(repr=False)
    images: list[DecodedImage] = field(repr=False)
    notes: list[str]


def decode_image(data: bytes) -> Tensor:
    """A PNG or JPEG file as IMAGE [1,H,W,3]: the colours of `decode_batch`."""
    return decode_batch([data]).batch


def decode_batch(files: list[bytes]) -> DecodedBatch:
    """PNG or JPEG files as one IMAGE and one MASK.

    The files are taken out of the list on the way, so that no image is in memory twice.

    8-bit RGB and RGBA are exact: SaveImage's conversion gives back the colours of the file, and
    its alpha behind Join Image with Alpha; colours under transparent alpha stay. Greyscale (16-bit
    too), palette and CMYK become RGB; of 16-bit RGB the upper 8 bits are kept; of an animation it
    is the first frame; an EXIF orientation is applied; a colour profile is not.

    The first file sets the size. One of another size (`auto_aspect_ratio` lets the service choose)
    is scaled, with its ratio kept, until it covers that size, and cut at the centre. ValueError: no
    files; AnswerError: another format, a damaged or truncated file, more than 64 megapixels
    (checked before a pixel is decoded).
    """
    if not files:
        raise ValueError("There is no image to make a batch of.")
    first = _open(files[0])
    height, width = first.height, first.width
    batch = torch.from_numpy(np.empty((len(files), height, width, 3), np.float32))
    # The zeros take memory only where somebody writes to them: most images have no alpha.
    mask = torch.from_numpy(np.zeros((len(files), height, width), np.float32))

    def place(index: int) -> DecodedImage:
        pixels = first if index == 0 else _open(files[index])
        files[index] = b""
        if (pixels.height, pixels.width) == (height, width):
            return pixels.write(batch[index], mask[index])
        image = pixels.read()
        _write_covering(image, batch[index], mask[index])
        return image

    indices = range(len(files))
    with ThreadPoolExecutor(DECODERS) as threads:
        images = list(threads.map(place, indices) if len(files) > 1 else map(place, indices))
    files.clear()
    notes = [
        f"Image {number} is {image.shape[1]} x {image.shape[0]}; it was scaled and cut at the "
        f"centre to {width} x {height}, the size of image 1."
        for number, (image, _) in enumerate(images, 1)
        if image.shape[:2] != (height, width)
    ]
    return DecodedBatch(batch, mask, images, notes)


def _write_covering(decoded: DecodedImage, image_out: Tensor, mask_out: Tensor) -> None:
    """Scale an image until it covers [H,W,3] and [H,W], in the levels that a file has."""
    height, width = image_out.shape[:2]
    image, mask = decoded
    window = covering(image, height, width)
    scaled = resample_visible(image, mask, window, height, width)
    _to_unit(to_levels(scaled).numpy(), image_out)
    if mask is not None:
        mask_out.copy_(rounded_mask(resample_mask(mask, window, height, width)))


def split_batch(images: Tensor, name: str = "image") -> list[Tensor]:
    """The images [H,W,C] of an IMAGE [B,H,W,C], as views; `name` is the input's, for errors.

    ImageError: it isn't an IMAGE, or it is empty.
    """
    if not isinstance(images, Tensor):
        raise ImageError(
            f"The input {name} takes an IMAGE, not {type(images).__name__}.",
            "Connect the IMAGE output of a node.",
        )
    shape = list(images.shape)
    if len(shape) == 3:
        raise ImageError(
            f"The input {name} takes an IMAGE [B,H,W,C]; the shape {shape} is that of a MASK.",
            "Put the node Convert Mask to Image between them.",
        )
    if len(shape) != 4:
        raise ImageError(
            f"The input {name} takes an IMAGE [B,H,W,C]; this tensor has the shape {shape}.",
            "Check the node that makes it.",
        )
    if 0 in shape:
        raise ImageError(
            f"The IMAGE at the input {name} is empty: its shape is {shape}.",
            "Check the node that makes it; a crop or a filter may have left nothing.",
        )
    return list(images.unbind(0))


def encode_image(image: Tensor, max_pixels: int) -> Reference:
    """One image [H,W,C] as PNG, 8-bit RGB, for sending; the tensor itself is not changed.

    C is 1 (grey becomes RGB), 3, or 4: alpha is dropped and the colours under it stay, as the
    service does itself, since compositing would put a colour into the image that nobody chose.
    Floats of any width: cut to 0..1, NaN and -inf are 0, +inf is 1, rounded to the nearest of 256
    levels. uint8 is taken as 0..255, bool as 0 and 1. An image of more than `max_pixels` is shrunk
    with its ratio kept, its sides rounded down (never below 1); none is enlarged. ImageError:
    another shape, channel count or type, or an empty image.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be 1 or more, not {max_pixels}.")
    _check_image(image)
    with torch.inference_mode():
        levels = to_levels(image)
        height, width = shrunk_size(levels.shape[0], levels.shape[1], max_pixels)
        levels = _resize(levels, height, width).expand(-1, -1, 3)
        file = Image.fromarray(np.ascontiguousarray(levels.numpy()))
    buffer = io.BytesIO()
    file.save(buffer, "PNG", compress_level=1, compress_type=PNG_STRATEGY)
    return Reference(buffer.getvalue(), "image/png", width, height)


def to_levels(image: Tensor) -> Tensor:
    """[H,W,C] of floats, uint8 or bool to a new uint8 [H,W,1 or 3] in main memory.

    Floats are cut to 0..1 (NaN and -inf are 0, +inf is 1) and rounded to the nearest of 256 levels;
    half floats are widened first. By numpy, in one thread, which stays fast on a busy machine
    (benchmarks/README.md).
    """
    colours = image[..., :3].detach()
    height, width, channels = colours.shape
    levels = np.empty((height, width, channels), np.uint8)
    step = max(1, STRIP_PIXELS // width)
    dtype = np.float64 if colours.dtype == torch.float64 else np.float32
    scratch = np.empty((min(step, height), width, channels), dtype)
    with np.errstate(all="ignore"):
        for top in range(0, height, step):
            strip = colours[top : top + step].cpu()
            if strip.dtype == torch.uint8:
                levels[top : top + step] = strip.numpy()
                continue
            wide = strip if strip.dtype in (torch.float32, torch.float64) else strip.float()
            unit = scratch[: len(wide)]
            np.multiply(wide.numpy(), 255, out=unit)
            np.fmax(unit, 0, out=unit)  # of NaN and 0 it is 0
            np.minimum(unit, 255, out=unit)
            np.rint(unit, out=unit)
            np.copyto(levels[top : top + step], unit, casting="unsafe")
    return torch.from_numpy(levels)


def shrunk_size(height: int, width: int, max_pixels: int) -> tuple[int, int]:
    """Height and width with the ratio kept and at most `max_pixels`; unchanged if they fit."""
    if height * width <= max_pixels:
        return height, width
    if height > width:
        return shrunk_size(width, height, max_pixels)[::-1]
    # isqrt(a * b // c) is the rounded down root of a * b / c, exactly, so h * w <= max_pixels.
    short = max(1, math.isqrt(height * max_pixels // width))
    return short, min(math.isqrt(width * max_pixels // height), max_pixels // short)


def _check_image(image: Tensor) -> None:
    if not isinstance(image, Tensor) or image.ndim != 3:
        found = list(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ImageError(
            f"An image has the shape [H,W,C]; this is {found}.",
            "Connect an IMAGE [B,H,W,C]; a MASK goes through the node Convert Mask to Image.",
        )
    height, width, channels = image.shape
    if height == 0 or width == 0:
        raise ImageError(
            f"The image is empty: {width} x {height} pixels.",
            "Check the node that makes it; a crop may have left nothing.",
        )
    if channels not in (1, 3, 4):
        raise ImageError(
            f"An image with {channels} channels can't be sent.",
            "Give 1 (grey), 3 (RGB) or 4 (RGBA) channels.",
        )
    if not (image.is_floating_point() or image.dtype in (torch.uint8, torch.bool)):
        raise ImageError(
            f"An image of type {image.dtype} can't be sent.",
            "Give floats in 0..1, as every IMAGE has.",
        )


def _resize(levels: Tensor, height: int, width: int) -> Tensor:
    """uint8 [H,W,C] to another size, bicubic with antialiasing (45 dB against Lanczos)."""
    if levels.shape[:2] == (height, width):
        return levels
    planes = levels.permute(2, 0, 1).unsqueeze(0)
    if width == 1:
        # torch 2.13's uint8 kernel gives wrong pixels where the new width is 1 (up to 141 of 255).
        planes = planes.float()
    resized = F.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)
    image = resized[0].permute(1, 2, 0)
    return image if width > 1 else image.round().clamp(0, 255).to(torch.uint8)


class _Decoding(NamedTuple):
    """A file whose pixels come in `strips`: the first row of each, and its pixels [rows,W,C]."""

    height: int
    width: int
    channels: int
    strips: Iterable[tuple[int, Pixels]]

    def read(self) -> DecodedImage:
        """The image in memory of its own."""
        image = torch.from_numpy(np.empty((self.height, self.width, 3), np.float32))
        mask = torch.from_numpy(np.zeros((self.height, self.width), np.float32))
        return self.write(image, mask)

    def write(self, image: Tensor, mask: Tensor) -> DecodedImage:
        """The image in these tensors [H,W,3] and [H,W]; the mask is left alone without alpha."""
        for top, strip in self.strips:
            rows = slice(top, top + len(strip))
            if not len(strip):
                _touch(image)
            elif self.channels == 3:
                _to_unit(strip, image[rows])
            else:
                _write_rgba(strip, image[rows], mask[rows])
        return DecodedImage(image, mask if self.channels == 4 else None)


def _write_rgba(pixels: Pixels, image: Tensor, mask: Tensor) -> None:
    """RGBA [H,W,4] into [H,W,3] and [H,W]. Each channel of a strip is copied alone, which takes a
    quarter of the time, and what is divided then is in one piece."""
    step = max(1, STRIP_PIXELS // pixels.shape[1])
    colours = np.empty((min(step, len(pixels)), pixels.shape[1], 3), pixels.dtype)
    for top in range(0, len(pixels), step):
        strip = pixels[top : top + step]
        for channel in range(3):
            colours[: len(strip), :, channel] = strip[..., channel]
        _to_unit(colours[: len(strip)], image[top : top + step])
        write_mask(strip[..., 3].astype(np.uint8), mask[top : top + step])


PAGE = 4096 // 4
"""Floats of a page of memory."""


def _touch(image: Tensor) -> None:
    """Take the memory of a new tensor now, which is half of the time that writing to it takes."""
    image.view(-1)[::PAGE] = 0


def _open(data: bytes) -> _Decoding:
    """A file's pixels, upright, uint8 (uint16 for 16-bit greyscale), RGBA where it has alpha."""
    header = inspect(data)
    needed = header.pixel_data(data)
    turned = bool(header.exif) and _is_turned(header.exif)
    plain = header.plain_channels > 0 and not turned
    if plain and not is_small(header) and png_process.is_ready():
        size = (header.height, header.width, header.plain_channels)
        return _Decoding(*size, _strips_of_process(needed, header))
    pixels: Pixels | None = decode_plain(needed, header) if plain else None
    if pixels is None:
        pixels = _decode_by_pillow(needed, header)
    height, width, channels = pixels.shape
    return _Decoding(height, width, channels, [(0, pixels)])


def _is_turned(exif: bytes) -> bool:
    """Whether EXIF says that the image isn't upright; what can't be read says nothing."""
    found = Image.Exif()
    with contextlib.suppress(*_DECODE_FAILURES):
        found.load(b"Exif\0\0" + exif)
        return found.get(ExifTags.Base.Orientation) in range(2, 9)
    return False


def prepare_decoder(width: int, height: int) -> None:
    """Start what decodes images of this size fast, while the service still paints them."""
    if width * height > min(MAX_PIXELS.values()):
        png_process.is_ready()


def _strips_of_process(data: bytes, header: ImageHeader) -> Iterator[tuple[int, Pixels]]:
    """The strips of another process; where it fails Pillow begins anew, or names the fault."""
    try:
        yield from png_process.strips(data, header)
    except Unavailable:
        yield 0, _decode_by_pillow(data, header)


def _decode_by_pillow(data: bytes, header: ImageHeader) -> Pixels:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            if image.size != (header.width, header.height):
                raise ValueError("it gives its size twice, differently")
            image.load()
            _turn_upright(image)
            return _colours(image)
    except _DECODE_FAILURES as error:
        raise AnswerError(
            f"The image that came back can't be decoded ({type(error).__name__}: {error}).",
            "The file is in the store as it came; change the seed to ask for a new one.",
        ) from error


def _turn_upright(image: Image.Image) -> None:
    """Turn it as its EXIF orientation says; EXIF that can't be read says nothing."""
    with contextlib.suppress(*_DECODE_FAILURES):
        ImageOps.exif_transpose(image, in_place=True)


def _colours(image: Image.Image) -> Pixels:
    """RGB [H,W,3], or RGBA [H,W,4] where the file says anything of transparency."""
    key = image.info.get("transparency")
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.uint16)[..., np.newaxis]
        if key is None:
            return np.repeat(grey, 3, axis=2)
        opaque = np.where(grey == key, np.uint16(0), np.uint16(255))
        return np.concatenate((grey, grey, grey, opaque), axis=2)
    if image.mode in ("RGB", "RGBA") and key is None:
        return np.asarray(image)
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _to_unit(pixels: Pixels, out: Tensor) -> Tensor:
    """uint8 or uint16 to 0..1 into `out`; a product with 1/255 would not give back every level."""
    top = 255 if pixels.dtype == np.uint8 else 65535
    np.divide(pixels, np.float32(top), out=out.numpy(), dtype=np.float32)
    return out
