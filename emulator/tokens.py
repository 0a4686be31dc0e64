"""What a request uses and costs, counted apart from the client's own arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..mai.models import PIXELS_PER_TOKEN, Model

BYTES_PER_TOKEN = 4
"""Roughly, for English; the client's estimate assumes 3, so that it stays above the bill."""


@dataclass(frozen=True)
class Tokens:
    """Of the prompt, of the references, of the image."""

    text_in: int
    image_in: int
    image_out: int

    def cost(self, model: Model) -> float:
        """USD, by the catalogue's prices of 1M tokens."""
        price = model.price
        text, images = self.text_in * price.text_in, self.image_in * price.image_in
        return (text + images + self.image_out * price.image_out) / 1_000_000


def count(prompt: str, references: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tokens:
    """The tokens of a request; sizes are (width, height) in pixels.

    An image has width * height / 1024 (documented for the output, measured for references), here
    rounded up.
    """
    images = sum(image_tokens(width * height) for width, height in references)
    return Tokens(text_tokens(prompt), images, image_tokens(size[0] * size[1]))


def image_tokens(pixels: int) -> int:
    """The tokens of one image."""
    return -(-pixels // PIXELS_PER_TOKEN)


def text_tokens(text: str) -> int:
    """About as many as the service would count; at least 1."""
    return max(1, -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN))
