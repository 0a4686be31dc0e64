"""A masked edit of a file: what comes back is set into the image where the mask is white.

Everything else stays bit for bit as it was, at the image's own size. This is the plain form of what
the node MAI Edit does: the whole image is sent, and nothing is registered or matched in colour.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ..mai.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

_DECODED = ("PNG", "JPEG")


def check_mask(mask: Path, image: Path) -> None:
    """ImageError: Pillow is missing, or the mask can't be read, has another size, or is all black.

    Only the mask is decoded.
    """
    drawn, size = _grey(mask), _opened(image).size
    if drawn.size != size:
        raise ImageError(
            f"The mask {mask.name} has {drawn.width} x {drawn.height} pixels, the image "
            f"{image.name} has {size[0]} x {size[1]}.",
            "Save the mask at the image's own size.",
        )
    if drawn.getbbox() is None:
        raise ImageError(f"The mask {mask.name} is all black.", "Paint white what is to change.")


def set_back(edited: bytes, image: Path, mask: Path) -> bytes:
    """The image with `edited` where the mask is white, as PNG. ImageError, OSError."""
    from PIL import Image

    original = _opened(image)
    original = original.convert("RGBA" if original.has_transparency_data else "RGB")
    with Image.open(io.BytesIO(edited), formats=_DECODED) as came:
        fitted = came.convert(original.mode).resize(original.size, Image.Resampling.LANCZOS)
    original.paste(fitted, (0, 0), _grey(mask))
    stream = io.BytesIO()
    original.save(stream, "PNG")
    return stream.getvalue()


def _grey(path: Path) -> Image:
    image = _opened(path)
    try:
        return image.convert("L")
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable(path, error) from None


def _opened(path: Path) -> Image:
    """The file, upright, as the service gets it."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ImageError("A mask needs Pillow.", "Install it: `pip install pillow`.") from None
    try:
        with Image.open(path, formats=_DECODED) as image:
            return ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> ImageError:
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f"{path} can't be read: {error.strerror}.", "Check the path.")
    return ImageError(
        f"{path.name} can't be decoded ({type(error).__name__}).", "Save it as PNG or JPEG."
    )
