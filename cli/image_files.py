"""Images as files of a user: references that are read, and results that are written."""

from __future__ import annotations

from pathlib import Path

from ..mai.errors import ImageError, MaiError, StoreError
from ..mai.image_formats import inspect
from ..mai.types import Reference, Request, Result
from ..mai.validation import model_named


def reference(path: Path, model: str) -> Reference:
    """The file as it is sent; ImageError for one that can't be read or is too large."""
    try:
        data = path.read_bytes()
        image = inspect(data)
    except OSError as error:
        raise ImageError(f"{path} can't be read: {error.strerror}.", "Check the path.") from None
    except MaiError:
        raise ImageError(
            f"{path} is no whole PNG or JPEG.", "Save it as PNG or JPEG first."
        ) from None
    limit = model_named(model).max_pixels
    if image.width * image.height > limit:
        raise ImageError(
            f"{path} has {image.width} x {image.height} pixels, {model} takes {limit:,}.",
            "Shrink it first; the node MAI Edit does that by itself.",
        )
    return Reference(data, image.media_type, image.width, image.height)


def save(result: Result, out: Path, request: Request, index: int, count: int) -> Path:
    """Write image number `index` of `count` (from 0) into the folder or as the file `out`.

    A file is named model_seed and never overwritten in a folder; one that is named by the user is,
    with the number appended where there are several. StoreError where it can't be written: the
    image is kept in the store all the same.
    """
    try:
        path = _path(result, out, request, index, count)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(result.image)
    except OSError as error:
        raise StoreError(
            f"The image can't be written to {out}: {error.strerror or error}.",
            "It is kept: run the same command with another --out, which costs nothing.",
        ) from None
    return path


def _path(result: Result, out: Path, request: Request, index: int, count: int) -> Path:
    if out.suffix and not out.is_dir():
        return out if count == 1 else out.with_stem(f"{out.stem}_{index + 1}")
    extension = ".jpg" if result.media_type == "image/jpeg" else ".png"
    path, number = out / f"{request.model}_{request.seed}{extension}", 1
    while path.exists():
        path = out / f"{request.model}_{request.seed}_{number}{extension}"
        number += 1
    return path
