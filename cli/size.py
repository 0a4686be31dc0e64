"""`mai-image size`: the best size for an aspect ratio, its price, and the way to a target."""

from __future__ import annotations

import argparse
import json

from ..mai.errors import SizeError
from ..mai.models import DEFAULT_MODEL
from ..mai.sizes import Size, best, off_by, ratio_of, scale_to_cover
from ..mai.types import Generate
from ..mai.validation import model_named


def add_size_options(parser: argparse.ArgumentParser) -> None:
    """The ratio, the model and the target."""
    parser.add_argument("aspect_ratio", help="such as 16:9")
    about = f"the model ({DEFAULT_MODEL})"
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help=about)
    parser.add_argument("--target", metavar="WxH", help="the size wanted in the end")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run_size(arguments: argparse.Namespace) -> int:
    """Print the best size with its price, how far off its ratio is, and the way to the target."""
    model = model_named(arguments.model)
    ratio = ratio_of(arguments.aspect_ratio)
    size = best(model, ratio)
    price = model.estimate(Generate(model.name, "", size.width, size.height))
    off_percent = float(off_by(size, ratio) - 1) * 100
    target = parse_size(arguments.target) if arguments.target else None
    scale = scale_to_cover(size, target) if target else None
    if arguments.json:
        facts = {
            "model": model.name,
            "width": size.width,
            "height": size.height,
            "ratio_off_percent": round(off_percent, 4),
            "usd": price,
            "price_known": model.price_known,
            "scale": None if scale is None else float(scale),
            "crop": None if target is None else [target.width, target.height],
        }
        print(json.dumps(facts, indent=1))
        return 0
    about = "" if model.price_known else "≈ "
    exact = f"{off_percent:.2f} % off {arguments.aspect_ratio}" if off_percent else "exact"
    print(f"{size}  {size.megapixels:.2f} MP  {exact}  {about}${price:.4f}  {model.name}")
    if scale is not None:
        print(f"enlarge by {scale:.4f}, then crop to {target}")
    return 0


def parse_size(text: str) -> Size:
    """Width and height in pixels from "1024x768"; SizeError for another text."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.strip().isdecimal() and height.strip().isdecimal()):
        raise SizeError(f"{text[:40]!r} is no size.", "Write width x height, such as 1024x1024.")
    return Size(int(width), int(height))
