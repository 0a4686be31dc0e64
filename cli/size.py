"""`mai-image size`: the best size for an aspect ratio, its price, and the way to a target."""

from __future__ import annotations

import argparse

from ..mai.errors import SizeError
from ..mai.models import DEFAULT_MODEL
from ..mai.sizes import Size, best, ratio_of, scale_to_cover
from ..mai.types import Generate
from ..mai.validation import model_named


def add_size_options(parser: argparse.ArgumentParser) -> None:
    """The ratio, the model and the target."""
    parser.add_argument("aspect_ratio", help="such as 16:9")
    about = f"the model ({DEFAULT_MODEL})"
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help=about)
    parser.add_argument("--target", metavar="WxH", help="the size wanted in the end")


def run_size(arguments: argparse.Namespace) -> int:
    """Print the best size with its price, and the way from it to the target."""
    model = model_named(arguments.model)
    size = best(model, ratio_of(arguments.aspect_ratio))
    price = model.estimate(Generate(model.name, "", size.width, size.height))
    about = "" if model.price_known else "≈ "
    print(f"{size}  {size.megapixels:.2f} MP  {about}${price:.4f}  {model.name}")
    if arguments.target:
        target = parse_size(arguments.target)
        print(f"enlarge by {scale_to_cover(size, target):.4f}, then crop to {target}")
    return 0


def parse_size(text: str) -> Size:
    """Width and height in pixels from "1024x768"; SizeError for another text."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.strip().isdecimal() and height.strip().isdecimal()):
        raise SizeError(f"{text[:40]!r} is no size.", "Write width x height, such as 1024x1024.")
    return Size(int(width), int(height))
