"""What an order at the Pixazo gateway may ask, as functions of plain values.

Each raises the refusal that the gateway would answer; only the 400's first text is documented.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..mai.models import BY_NAME
from . import rules
from .reading import Upload
from .refusal import GatewayRefusal
from .uploads import measure

MODEL = "MAI-Image-2.5"
PROMPT = (3, 5000)
IMAGES = (1, 4)
FORMATS = ("jpeg", "png", "webp")
GENERATION_RATIOS = (
    "auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16",
)  # fmt: skip
EDIT_RATIOS = ("auto", "1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3")
KNOWN = ("prompt", "num_images", "aspect_ratio", "output_format", "sync_mode")

_DATA_URI = re.compile(r"data:(image/[a-z]+);base64,")
_LOGGED = 60
"""Characters of an address that the log keeps: a data URI holds megabytes."""


@dataclass(frozen=True)
class Order:
    """An order that passed. `ratio` is width / height, None where the image or the model
    chooses; `uploads` are the files of its data URIs."""

    prompt: str
    ratio: float | None
    output_format: str
    sync_mode: bool
    uploads: tuple[Upload, ...] = field(default=(), repr=False)


def order(fields: Mapping[str, object], edit: bool) -> Order:
    """The order in a request's body."""
    known = (*KNOWN, "image_urls") if edit else KNOWN
    strange = [name for name in fields if name not in known]
    if strange:
        raise refused(f"Unknown parameters: {', '.join(strange)[:200]}.")
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not PROMPT[0] <= len(prompt) <= PROMPT[1]:
        raise refused("prompt must be a text of 3 to 5000 characters.")
    images = fields.get("num_images", 1)
    if isinstance(images, bool) or not isinstance(images, int) or not 1 <= images <= IMAGES[1]:
        raise refused("num_images must be a whole number from 1 to 4.")
    sync_mode = fields.get("sync_mode", False)
    if not isinstance(sync_mode, bool):
        raise refused("sync_mode must be true or false.")
    ratio = _one_of(fields, "aspect_ratio", EDIT_RATIOS if edit else GENERATION_RATIOS, "auto")
    output_format = _one_of(fields, "output_format", FORMATS, "jpeg")
    width, _, height = ratio.partition(":")
    return Order(
        prompt,
        None if ratio == "auto" else int(width) / int(height),
        output_format,
        sync_mode,
        (_upload(fields.get("image_urls")),) if edit else (),
    )


def measured(order: Order) -> tuple[tuple[int, int], ...]:
    """The sizes of the order's images."""
    return tuple(measure(upload) for upload in order.uploads)


def size(order: Order, sizes: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """The size of the image that is made: about 1 megapixel."""
    ratio = order.ratio
    if ratio is None and sizes:
        ratio = sizes[0][0] / sizes[0][1]
    elif ratio is None:
        choice = hashlib.sha256(order.prompt.encode("utf-8", "surrogatepass")).digest()[0]
        ratio = rules.AUTO_ASPECTS[choice % len(rules.AUTO_ASPECTS)]
    return rules.edit_size(ratio, BY_NAME[MODEL])


def shortened(fields: Mapping[str, object]) -> dict[str, object]:
    """The body for the log: of each address only its beginning."""
    short = dict(fields)
    urls = short.get("image_urls")
    if isinstance(urls, list):
        short["image_urls"] = [str(url)[:_LOGGED] for url in urls]
    return short


def refused(message: str) -> GatewayRefusal:
    """The 400 for an order that can't be taken."""
    return GatewayRefusal(400, "Bad Request", message)


def _one_of(fields: Mapping[str, object], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise refused(f"{name} must be one of {', '.join(allowed)}.")
    return value


def _upload(urls: object) -> Upload:
    if not isinstance(urls, list) or len(urls) != 1 or not isinstance(urls[0], str):
        raise refused("image_urls must hold exactly one address.")
    head = _DATA_URI.match(urls[0])
    if head is None:
        raise refused("The emulator fetches nothing: image_urls must be a data: address.")
    try:
        data = base64.b64decode(urls[0][head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise refused("image_urls holds base64 that can't be read.") from None
    return Upload("image_urls", "", head[1], data)
