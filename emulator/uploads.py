"""The images of an edit: whether they are what they claim, and how large."""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from . import refusal
from .reading import Upload

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG"}

MAX_PIXELS = 64_000_000
"""No limit is published; this one protects the machine."""


def measure(upload: Upload) -> tuple[int, int]:
    """Width and height in pixels of a whole PNG or JPEG. Raises the 400s, whose texts are the
    emulator's own: only that nothing but PNG and JPEG is taken is documented."""
    wanted = FORMATS.get(upload.media_type)
    if wanted is None:
        raise refusal.bad_request(
            "Invalid request. Error => Image files must be image/png or image/jpeg, not "
            f"{upload.media_type or 'without a content type'}."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(upload.data), formats=[wanted]) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise refusal.bad_request("Invalid request. Error => Image file is too large.")
                image.load()
                return image.width, image.height
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        raise refusal.bad_request(
            f"Invalid request. Error => Image file is not a valid {wanted}."
        ) from None
