"""Images as files of the user: references that are read, and results that are saved."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..mai.errors import ImageError, MaiError, StoreError
from ..mai.formats import inspect
from ..mai.types import Reference, Request, Result
from ..mai.validation import model_named
from .metadata import UPRIGHT, turn_upright, without_metadata

FILE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
"""The endings by which `--out` names a file, and the image type that each stands for."""


SLUG_LENGTH = 48
"""Characters of a prompt in a file's name, of up to 4 bytes: systems take 255 bytes."""


def read_reference(path: Path, model: str, keep_metadata: bool = False) -> Reference:
    """The file as it is sent: upright and without metadata, unless that is kept.

    ImageError: it can't be read or is too large, or is turned and Pillow isn't there to turn it.
    """
    try:
        data = path.read_bytes()
        orientation = UPRIGHT
        if not keep_metadata:
            data, orientation = without_metadata(data)
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
    if orientation != UPRIGHT:
        data = turn_upright(data, orientation, path)
        image = inspect(data)
    return Reference(data, image.media_type, image.width, image.height)


def save_image(
    result: Result, request: Request, out: Path, number: int, count: int, keeps_prompt: bool = True
) -> dict[str, Any]:
    """Save image `number` (from 1) of `count` as the file or into the folder `out`.

    Gives the facts for programs: the path and all of the result but its bytes.

    `out` names a file if it has an ending of FILE_TYPES and isn't a folder; several images get
    their numbers before the ending. That file is replaced if it is there. An image of another type
    gets its own ending instead, and a note that says so. In a folder a file is called by the prompt
    and the seed, or where `keeps_prompt` is False by the model. A name that the user didn't give
    never replaces a file.

    StoreError: the file can't be written. The image is kept in the store all the same.
    """
    try:
        name = f"{(keeps_prompt and _slug(request.prompt)) or request.model}_{request.seed}"
        path, notes = _choose_path(result, name, out, number, count)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(result.image)
    except OSError as error:
        raise StoreError(
            f"The image can't be written to {out}: {error.strerror or error}.",
            "It is kept: run the same command with another --out, which costs nothing.",
        ) from None
    return _facts(str(path), result, notes)


def write_image(result: Result) -> dict[str, Any]:
    """Write the file to standard output; gives its facts as `save_image` does."""
    sys.stdout.buffer.write(result.image)
    sys.stdout.buffer.flush()
    return _facts("-", result)


def _facts(path: str, result: Result, notes: Sequence[str] = ()) -> dict[str, Any]:
    facts = {"path": path, **asdict(result), "notes": [*result.notes, *notes]}
    del facts["image"]
    return facts


def describe_image(facts: Mapping[str, Any]) -> str:
    """For a person: where it was saved, its size and price, and the notes, a line each."""
    cost = "free, from the store" if facts["from_store"] else f"${facts['cost_usd'] or 0:.4f}"
    first = f"{facts['path']}  {facts['width']} x {facts['height']}  {cost}"
    return "\n  ".join([first, *facts["notes"]])


def _choose_path(
    result: Result, name: str, out: Path, number: int, count: int
) -> tuple[Path, list[str]]:
    """The file to write, and what is to be said about its name."""
    ending = ".jpg" if result.media_type == "image/jpeg" else ".png"
    named_type = FILE_TYPES.get(out.suffix.lower())
    if named_type is None or out.is_dir():
        return _unused(out / f"{name}{ending}"), []
    named = out if count == 1 else out.with_stem(f"{out.stem}_{number}")
    if named_type == result.media_type:
        return named, []
    path = _unused(named.with_suffix(ending))
    sent = result.media_type.removeprefix("image/").upper()
    return path, [f"the service sent a {sent}: saved as {path.name}, not as {named.name}"]


def _slug(prompt: str) -> str:
    """The prompt's first words as a part of a file's name: "a-lighthouse-at-dawn"."""
    text = unicodedata.normalize("NFKC", prompt).lower()
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text)
    words = "".join(kept).split()
    slug = words[0][:SLUG_LENGTH] if words else ""
    for word in words[1:]:
        if len(slug) + 1 + len(word) > SLUG_LENGTH:
            break
        slug += f"-{word}"
    return slug


def _unused(path: Path) -> Path:
    """The path, or the first of path_1, path_2 and so on that isn't there yet."""
    free, number = path, 0
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}_{number}")
    return free
