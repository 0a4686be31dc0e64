"""Pictures as files of a user: references that are read, and results that are written."""

from __future__ import annotations

from pathlib import Path

from .checks import model_named
from .errors import MaiError, PictureError, StoreError
from .formats import inspect
from .messages import Message, Reference, Result


def reference(path: Path, model: str) -> Reference:
    """The file as it is sent; PictureError for one that can't be read or is too large."""
    try:
        data = path.read_bytes()
        picture = inspect(data)
    except OSError as error:
        raise PictureError(f"{path} can't be read: {error.strerror}.", "Check the path.") from None
    except MaiError:
        raise PictureError(
            f"{path} is no whole PNG or JPEG.", "Save it as PNG or JPEG first."
        ) from None
    limit = model_named(model).max_pixels
    if picture.width * picture.height > limit:
        raise PictureError(
            f"{path} has {picture.width} x {picture.height} pixels, {model} takes {limit:,}.",
            "Shrink it first; the node MAI Edit does that by itself.",
        )
    return Reference(data, picture.media_type, picture.width, picture.height)


def save(result: Result, out: Path, message: Message, index: int, count: int) -> Path:
    """Write picture number `index` of `count` (from 0) into the folder or as the file `out`.

    A file is named model_seed and never overwritten in a folder; one that is named by the user is,
    with the number appended where there are several. StoreError where it can't be written: the
    picture is kept in the store all the same.
    """
    try:
        path = _path(result, out, message, index, count)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(result.image)
    except OSError as error:
        raise StoreError(
            f"The picture can't be written to {out}: {error.strerror or error}.",
            "It is kept: run the same command with another --out, which costs nothing.",
        ) from None
    return path


def _path(result: Result, out: Path, message: Message, index: int, count: int) -> Path:
    if out.suffix and not out.is_dir():
        return out if count == 1 else out.with_stem(f"{out.stem}_{index + 1}")
    extension = ".jpg" if result.media_type == "image/jpeg" else ".png"
    path, number = out / f"{message.model}_{message.seed}{extension}", 1
    while path.exists():
        path = out / f"{message.model}_{message.seed}_{number}{extension}"
        number += 1
    return path
