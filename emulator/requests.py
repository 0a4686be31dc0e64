"""Requests, read strictly: JSON bodies, multipart forms, image files; and what they ask for."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import io
import json
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from aiohttp import web
from PIL import Image, UnidentifiedImageError

from ..mai.models import EDIT_PIXELS, PIXELS_PER_TOKEN, STEP, Model
from .refusals import bad_request, body_too_large

MAX_LOGGED = 60
"""Characters of an address that the log keeps: a data URI holds megabytes."""

_DATA_URI = re.compile(r"data:(image/[a-z]+);base64,")

FILE_TYPES = {"image/png": "PNG", "image/jpeg": "JPEG"}

MAX_PIXELS = 64_000_000
"""No limit is published; this one protects the machine."""

BYTES_PER_TOKEN = 4
"""Roughly, for English; the client's estimate assumes 1, so that it stays above the bill."""

ONE_MEGAPIXEL = 1024 * 1024
"""The pixels of an edit before rounding: gives 1360x768 for 553x311, as measured."""

AUTO_ASPECTS = (1.0, 16 / 9, 3 / 2, 4 / 3, 3 / 4, 2 / 3, 9 / 16)
"""What the emulator chooses from where the model may (the service's choice follows the prompt)."""


@dataclass(frozen=True)
class Upload:
    """One file part: `field` is its name in the form, `data` the file, and `size` (width, height)
    in pixels, (0, 0) before it was measured."""

    field: str
    filename: str
    media_type: str
    data: bytes = dataclasses.field(repr=False)
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Form:
    """A multipart form: text fields by name (the last of a name counts), files in their order."""

    fields: dict[str, object]
    files: tuple[Upload, ...]


@dataclass(frozen=True)
class Tokens:
    """What a request is billed for, counted apart from the client's own arithmetic."""

    text_in: int
    image_in: int
    image_out: int

    def cost(self, model: Model) -> float:
        """USD, by the catalogue's prices of 1M tokens."""
        price = model.price
        text, images = self.text_in * price.text_in, self.image_in * price.image_in
        return (text + images + self.image_out * price.image_out) / 1_000_000


@dataclass(frozen=True)
class ImageRequest:
    """A request for one image that passed every check, whichever service it came to.

    `size` is that of the image, (width, height) in pixels; `switches` names the options that are
    on; `references` are measured, and there are none for a generation. `transparent` asks for an
    image with alpha.
    """

    model: Model
    prompt: str
    size: tuple[int, int]
    switches: Sequence[str] = ()
    references: tuple[Upload, ...] = ()
    transparent: bool = False

    def tokens(self) -> Tokens:
        """An image has width * height / 1024 tokens (documented for the output, measured for
        references), here rounded up."""
        references = sum(_image_tokens(upload.size) for upload in self.references)
        return Tokens(text_tokens(self.prompt), references, _image_tokens(self.size))


async def read_json(http: web.Request) -> dict[str, object]:
    """The body's JSON object; an empty body is one without parameters. Raises the 400s."""
    body = await http.read()
    if not body:
        return {}
    if http.content_type != "application/json":
        raise bad_request(
            f"Image generations take a body of application/json, not {http.content_type}."
        )
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request("The body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise bad_request("The body is not a JSON object.")
    return value


async def read_form(http: web.Request, max_bytes: int) -> Form:
    """The body's form; an empty body is one without parameters. Raises the 400s and the 413."""
    if not http.can_read_body:
        return Form({}, ())
    if http.content_type != "multipart/form-data":
        raise bad_request(
            f"Image edits take a body of multipart/form-data, not {http.content_type}."
        )
    try:
        return await _parts(await http.multipart(), max_bytes)
    except (ValueError, KeyError, AssertionError, RuntimeError, aiohttp.http.HttpProcessingError):
        raise bad_request("The multipart body can't be read.") from None


async def _parts(reader: aiohttp.MultipartReader, max_bytes: int) -> Form:
    fields: dict[str, object] = {}
    files: list[Upload] = []
    left = max_bytes
    while (part := await reader.next()) is not None:
        if not isinstance(part, aiohttp.BodyPartReader) or part.name is None:
            raise ValueError("a part without a name")
        data = await _part_data(part, left)
        left -= len(data)
        if part.filename is None:
            fields[part.name] = data.decode("utf-8")
        else:
            media_type = part.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            files.append(Upload(part.name, part.filename, media_type, data))
    return Form(fields, tuple(files))


async def _part_data(part: aiohttp.BodyPartReader, limit: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(2**16):
        data += chunk
        if len(data) > limit:
            raise body_too_large()
    return bytes(data)


def upload_of_uri(name: str, uri: object) -> Upload:
    """The file in a data URI that stands in the field `name`. Raises the 400s."""
    head = _DATA_URI.match(uri) if isinstance(uri, str) else None
    if head is None or not isinstance(uri, str):
        raise bad_request(f"The emulator fetches nothing: {name} must hold data: addresses.")
    try:
        data = base64.b64decode(uri[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise bad_request(f"{name} holds base64 that can't be read.") from None
    return Upload(name, "", head[1], data)


def shortened(value: object) -> Any:
    """A JSON value for the log: of each text only its beginning, where it is a data URI."""
    if isinstance(value, dict):
        return {name: shortened(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shortened(one) for one in value[:MAX_LOGGED]]
    if isinstance(value, str) and value.startswith("data:"):
        return value[:MAX_LOGGED]
    return value


def measured(upload: Upload) -> Upload:
    """An upload with its size, if it is a complete PNG or JPEG.

    Raises the 400s, whose texts are the emulator's own: only that nothing but PNG and JPEG is
    taken is documented.
    """
    wanted = FILE_TYPES.get(upload.media_type)
    if wanted is None:
        raise bad_request(
            "Image files must be image/png or image/jpeg, not "
            f"{upload.media_type or 'without a content type'}."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(upload.data), formats=[wanted]) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise bad_request("Image file is too large.")
                image.load()
                return replace(upload, size=image.size)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        raise bad_request(f"Image file is not a valid {wanted}.") from None


def aspect_for(prompt: str) -> float:
    """Width / height where the model chooses it: always the same for a prompt."""
    choice = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()[0]
    return AUTO_ASPECTS[choice % len(AUTO_ASPECTS)]


def aspect_of(upload: Upload) -> float:
    """Width / height of a reference."""
    return upload.size[0] / upload.size[1]


def output_pixels(output: str, upload: Upload, model: Model) -> int:
    """How many pixels an edit of a reference has; `output` is one of directives.OUTPUTS."""
    if output == "1mp":
        return ONE_MEGAPIXEL
    pixels = upload.size[0] * upload.size[1] if output == "input" else model.max_pixels
    return min(pixels, model.max_pixels)


def size_for(aspect: float, model: Model, pixels: int = ONE_MEGAPIXEL) -> tuple[int, int]:
    """About so many pixels in an aspect (width / height), each side at least the model's shortest.

    1 megapixel in 553 / 311 gives (1360, 768), as measured.
    """
    most = max(EDIT_PIXELS, pixels)
    longest = most / model.min_side
    width = min(max(math.sqrt(pixels * aspect), model.min_side), longest)
    height = min(max(width / aspect, model.min_side), most / width)
    width = min(max(height * aspect, model.min_side), most / height, longest)
    return round_down(int(width + 1e-6)), round_down(int(height + 1e-6))


def round_down(side: int) -> int:
    """A side as the service makes it: silently the next lower multiple of 16."""
    return side // STEP * STEP


def text_tokens(text: str) -> int:
    """About as many as the service would count; at least 1."""
    return max(1, -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN))


def _image_tokens(size: tuple[int, int]) -> int:
    return -(-size[0] * size[1] // PIXELS_PER_TOKEN)
