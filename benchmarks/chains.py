"""The ways that are compared: naive, ours, and the fastest that native codecs give by hand."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..mai.http import HttpAnswer
from ..mai.providers import PROVIDERS, base64_field
from ..mai.types import Edit, Generate, Result
from ..nodes.imaging import codec, fast_png
from ..nodes.imaging.png_process import png_process

MODEL = "MAI-Image-2.7"
SENT = 1024 * 1024
"""Pixels to which a reference is shrunk here; a model that takes 4 megapixels is measured by it."""

Pixels = npt.NDArray[np.uint8]


def painting(width: int, height: int) -> Pixels:
    """Soft shapes with fine grain: as PNG 1.4 bytes a pixel, as the service's images."""
    random = np.random.default_rng(width)
    coarse = random.normal(128, 60, (height // 64 + 1, width // 64 + 1, 3)).astype(np.float32)
    planes = [
        np.asarray(
            Image.fromarray(coarse[..., i]).resize((width, height), Image.Resampling.BICUBIC)
        )
        for i in range(3)
    ]
    grain = random.normal(0, 2.2, (height, width, 3)).astype(np.float32)
    return np.clip(np.stack(planes, axis=2) + grain, 0, 255).astype(np.uint8)


def cut_out(width: int, height: int) -> Pixels:
    """A painting [H,W,4] that is transparent around an oval with a soft edge."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(x / width - 0.5, y / height - 0.5)
    alpha = np.clip((0.45 - distance) * 2000, 0, 255).astype(np.uint8)
    return np.dstack([painting(width, height), alpha])


def png(pixels: Pixels, level: int = 6) -> bytes:
    """The file as an ordinary encoder writes it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def answer_of(image: bytes) -> bytes:
    """The body of a good answer."""
    usage = {"num_input_text_tokens": 9, "num_input_image_tokens": 0, "num_output_tokens": 1024}
    data = [{"b64_json": base64.b64encode(image).decode("ascii")}]
    return json.dumps({"created": 1, "data": data, "usage": usage}).encode("ascii")


def naive_answer(body: bytes) -> tuple[Tensor, ...]:
    """As most packs do it; alpha as core's Load Image does."""
    data = base64.b64decode(json.loads(body)["data"][0]["b64_json"])
    image = Image.open(io.BytesIO(data))
    colours = torch.from_numpy(np.array(image.convert("RGB")).astype(np.float32) / 255)[None]
    if image.mode != "RGBA":
        return (colours,)
    alpha = torch.from_numpy(np.array(image.getchannel("A")).astype(np.float32) / 255)
    return colours, 1.0 - alpha[None]


def our_answer(body: bytes) -> tuple[Tensor, Tensor]:
    """From the answer's bytes to what the node gives out; the store lies in between."""
    request = Generate(MODEL, "an image", 0, 0, auto_aspect_ratio=True)
    result = PROVIDERS["foundry"].read(request, HttpAnswer(200, {}, body))
    assert isinstance(result, Result)
    files = [result.image]
    del result  # a node keeps its facts only
    decoded = codec.decode_batch(files)
    return decoded.batch, decoded.mask


def _no_decoder() -> None:
    return None


@contextlib.contextmanager
def pillow_alone(standard_library: bool = False) -> Iterator[None]:
    """Without kornia_rs, and on demand without pydantic."""
    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(fast_png, "usable_decoder", _no_decoder))
        patches.enter_context(mock.patch.object(png_process, "is_ready", bool))
        if standard_library:
            patches.enter_context(mock.patch.object(base64_field, "pydantic_decoder", _no_decoder))
        yield


def floor_answer() -> tuple[str, Callable[[bytes], Tensor]]:
    """The fastest of what is installed, with its name: no check of anything."""
    unpack, unpack_name = _fastest_base64()
    unpng, png_name = _fastest_png()

    def chain(body: bytes) -> Tensor:
        start = body.index(b'"b64_json": "') + 13
        pixels = unpng(unpack(memoryview(body)[start : body.index(b'"', start)]))
        image = np.empty((1, *pixels.shape), np.float32)
        np.divide(pixels, np.float32(255), out=image[0], dtype=np.float32)
        return torch.from_numpy(image)

    return f"floor: {unpack_name}, {png_name}", chain


def _fastest_base64() -> tuple[Callable[[memoryview], bytes], str]:
    try:
        import pybase64
    except ImportError:
        return base64.b64decode, "base64"
    return lambda text: pybase64.b64decode(text, validate=True), "pybase64"


def _fastest_png() -> tuple[Callable[[bytes], Pixels], str]:
    def size(data: bytes) -> tuple[int, int]:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")

    decoder = fast_png.usable_decoder()
    if decoder is not None:
        return lambda data: decoder(
            data, size(data), fast_png.MODES[4 if data[25] == 6 else 3]
        ), "kornia_rs"
    try:
        import imagecodecs
    except ImportError:
        return lambda data: np.asarray(Image.open(io.BytesIO(data))), "Pillow"
    return lambda data: np.asarray(imagecodecs.png_decode(data)), "imagecodecs"


def naive_request(image: Tensor) -> bytes:
    """As core's nodes shrink and encode: through floats and back, Pillow's Lanczos, PNG level 6."""
    height, width = codec.shrunk_size(image.shape[0], image.shape[1], SENT)
    levels = np.clip(255.0 * image.numpy(), 0, 255).astype(np.uint8)
    small_image = Image.fromarray(levels)
    if (width, height) != small_image.size:
        small_image = small_image.resize((width, height), Image.Resampling.LANCZOS)
    small = torch.from_numpy(np.array(small_image).astype(np.float32) / 255)
    buffer = io.BytesIO()
    Image.fromarray((small.numpy() * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def naive_request_in_floats(image: Tensor) -> bytes:
    """The other usual way: torch's area filter on the floats."""
    height, width = codec.shrunk_size(image.shape[0], image.shape[1], SENT)
    planes = F.interpolate(image.movedim(-1, 0)[None], size=(height, width), mode="area")
    levels = (planes[0].movedim(0, -1).numpy() * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    return buffer.getvalue()


def our_request(image: Tensor) -> bytes:
    """As MAI Edit sends it."""
    return Edit(MODEL, "change it", (codec.encode_image(image, SENT),)).images[0].data


def floor_request() -> tuple[str, Callable[[Tensor], bytes]]:
    """Every n-th pixel's mean and a fast encoder, where they are installed."""
    try:
        import imagecodecs
    except ImportError:
        return "floor: not measured (no imagecodecs)", our_request

    def chain(image: Tensor) -> bytes:
        height, width = codec.shrunk_size(image.shape[0], image.shape[1], SENT)
        levels = np.rint(image.numpy() * np.float32(255)).astype(np.uint8)
        planes = torch.from_numpy(levels).permute(2, 0, 1)[None]
        if (height, width) != levels.shape[:2]:
            planes = F.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)
        small = np.ascontiguousarray(planes[0].permute(1, 2, 0).numpy())
        return bytes(imagecodecs.png_encode(small, level=1, strategy=3, filter=16))

    return "floor: numpy, torch, imagecodecs", chain
