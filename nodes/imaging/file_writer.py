"""Images as files to keep: PNG, WebP, JPEG or AVIF with their mark and ComfyUI's graph."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, features
from torch import Tensor

from ...mai.errors import ImageError, InputError
from ...mai.formats import (
    AVIF,
    JPEG,
    PNG,
    WEBP,
    Mark,
    add_workflow,
    build_packet,
    write_mark,
)
from .codec import to_levels
from .mask import levels_of
from .png_writer import write_png

Bytes = npt.NDArray[np.uint8]

FORMATS = {"png": PNG, "webp": WEBP, "jpeg": JPEG, "avif": AVIF}
"""What the node calls each format."""

ENDINGS = {"png": ".png", "webp": ".webp", "jpeg": ".jpg", "avif": ".avif"}

HOLDS_WORKFLOW = frozenset({"png", "webp", "avif"})
"""In files of these formats the page looks for a workflow."""

LOSSLESS = frozenset({"png", "webp"})

_COLOURS = (1, 3, 4)
"""Channels of an IMAGE: grey, RGB, RGBA."""

_MODEL_TAG, _MAKE_TAG = 0x0110, 0x010F
"""EXIF's tags in which core and the page keep the prompt, and downwards all else."""


@dataclass(frozen=True)
class FileForm:
    """How images are written: a format of FORMATS, quality 1 to 100, lossless where it can be."""

    name: str
    quality: int = 90
    lossless: bool = False

    def check(self) -> None:
        """InputError: the installed Pillow can't write it, or it can't be lossless."""
        if self.lossless and self.name not in LOSSLESS:
            raise InputError(
                f"{self.name.upper()} can't keep every pixel as it is.",
                "Turn lossless off, or choose webp or png.",
            )
        if self.name in ("webp", "avif") and not features.check(self.name):
            raise InputError(
                f"The installed Pillow can't write {self.name.upper()}.",
                "Choose png or jpeg, or install a newer one: `python -m pip install -U pillow` "
                "with the Python that runs ComfyUI.",
            )


@dataclass(frozen=True)
class Said:
    """What is said in a file besides its pixels: its mark, and the graph's texts by name."""

    mark: Mark | None = None
    graph: Mapping[str, str] = field(default_factory=dict)


def saved_levels(image: Tensor, mask: Tensor | None, form: FileForm) -> Bytes:
    """The pixels [H,W,C] to write of an image [H,W,C] and a MASK [h,w], 1 where it is transparent.

    C becomes 3, or 4 where there is a mask or the image has alpha of its own. ImageError: another
    shape, or transparency in a JPEG.
    """
    if image.ndim != 3 or image.shape[2] not in _COLOURS or 0 in image.shape:
        raise ImageError(
            f"An image has the shape [H,W,C]; this is {list(image.shape)}.",
            "Connect an IMAGE [B,H,W,C]; a MASK goes through the node Convert Mask to Image.",
        )
    height, width = image.shape[:2]
    with torch.inference_mode():
        colours = to_levels(image).numpy()
        colours = np.broadcast_to(colours, (height, width, 3))
        if mask is not None:
            alpha = 255 - levels_of(mask, height, width)
        elif image.shape[2] == 4:
            alpha = to_levels(image[..., 3:]).numpy()[..., 0]
        else:
            return np.ascontiguousarray(colours)
    if form.name != "jpeg":
        return np.dstack((colours, alpha))
    if alpha.min() < 255:
        raise ImageError(
            "A JPEG can't be transparent, and this image is.",
            "Choose png, webp or avif, or disconnect the mask.",
        )
    return np.ascontiguousarray(colours)


def encode_file(levels: Bytes, form: FileForm, said: Said) -> bytes:
    """The file of pixels [H,W,3 or 4]; a JPEG holds no graph. ImageError: the format can't hold
    them."""
    if form.name == "png":
        return mark_file(write_png(levels), said)
    buffer = io.BytesIO()
    image = Image.fromarray(levels)
    options: dict[str, object] = {"quality": form.quality}
    if form.name in HOLDS_WORKFLOW and said.graph:
        options["exif"] = _exif(said.graph)
    if form.name == "webp":
        # "exact": colours stay where nothing of them is seen.
        options |= {"lossless": form.lossless, "exact": form.lossless}
    if form.name == "avif" and said.mark is not None:
        options["xmp"] = build_packet(said.mark)
    try:
        image.save(buffer, form.name.upper(), **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise ImageError(
            f"A {form.name.upper()} of {image.width} x {image.height} can't be written ({error}).",
            "webp holds 16,383 pixels a side, jpeg 65,500, avif less than 65,536: choose png.",
        ) from None
    data = buffer.getvalue()
    return data if said.mark is None or form.name == "avif" else write_mark(data, said.mark)


def mark_file(data: bytes, said: Said) -> bytes:
    """A PNG or JPEG with what is said of it; its pixels are not encoded again."""
    marked = data if said.mark is None else write_mark(data, said.mark)
    return add_workflow(marked, said.graph) if data.startswith(b"\x89PNG") else marked


def graph_texts(prompt: object, extra: Mapping[str, object] | None) -> dict[str, str]:
    """What core's Save Image writes of a graph: JSON texts by name, "prompt" and "workflow"."""
    texts = {} if prompt is None else {"prompt": json.dumps(prompt)}
    return texts | {name: json.dumps(value) for name, value in (extra or {}).items()}


def _exif(graph: Mapping[str, str]) -> Image.Exif:
    exif, tag = Image.Exif(), _MAKE_TAG
    for name, text in graph.items():
        if name == "prompt":
            exif[_MODEL_TAG] = f"prompt:{text}"
        else:
            exif[tag] = f"{name}:{text}"
            tag -= 1
    return exif
