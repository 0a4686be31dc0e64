"""What the tests of the page's routes ask with, and the images that they keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mai_image.mai.types import Result, Usage


@dataclass
class Answer:
    """One answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: dict[str, object]


Ask = Callable[..., Answer]


def result(image: bytes, media_type: str = "image/png", **facts: object) -> Result:
    defaults: dict[str, object] = {
        "width": 64,
        "height": 48,
        "model": "MAI-Image-2.6",
        "usage": Usage(10, 0, 576),
        "cost_usd": 0.0219,
        "seconds": 12.5,
    }
    return Result(image, media_type, **{**defaults, **facts})  # type: ignore[arg-type]
