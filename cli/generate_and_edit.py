"""`mai-image generate` and `mai-image edit`: the commands that buy images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..mai.bulk import MAX_COUNT
from ..mai.errors import ImageError, InputError
from ..mai.formats import inspect
from ..mai.models import DEFAULT_MODEL
from ..mai.types import OPAQUE, TRANSPARENT, Edit, Generate, Request, Result
from .image_files import read_reference, save_image, write_image
from .masks import check_mask, set_back
from .purchase import add_consent_options, buy
from .size import parse_size

STREAM = Path("-")
"""Standard input as a prompt, standard output as a file."""


def add_generate_options(parser: argparse.ArgumentParser) -> None:
    """The prompt, the size, and what every purchase takes."""
    parser.add_argument("prompt", help="what the image shows; - reads it from standard input")
    parser.add_argument("--size", default="1024x1024", metavar="WxH", help="pixels (1024x1024)")
    _add_buying_options(parser)


def run_generate(arguments: argparse.Namespace) -> int:
    """Buy images from text."""
    size = parse_size(arguments.size)
    prompt = _read_prompt(arguments.prompt)
    return _buy(Generate(arguments.model, prompt, size.width, size.height), arguments)


def add_edit_options(parser: argparse.ArgumentParser) -> None:
    """The prompt, the files, the size, and what every purchase takes."""
    parser.add_argument("prompt", help="what is to change; - reads it from standard input")
    parser.add_argument("images", nargs="+", type=Path, help="PNG or JPEG; the first is edited")
    parser.add_argument("--size", metavar="WxH", help="ask for this size (not every model can)")
    parser.add_argument("--mask", type=Path, metavar="FILE",
        help="an image as large as the first: what is white is edited, the rest stays")  # fmt: skip
    parser.add_argument(
        "--keep-metadata",
        action="store_true",
        help="send the files as they are, with camera, place and comments",
    )
    _add_buying_options(parser)


def run_edit(arguments: argparse.Namespace) -> int:
    """Buy edits of the files."""
    size = parse_size(arguments.size) if arguments.size else None
    keep = arguments.keep_metadata
    images = tuple(read_reference(path, arguments.model, keep) for path in arguments.images)
    request = Edit(arguments.model, _read_prompt(arguments.prompt), images, size=size)
    if arguments.mask is None:
        return _buy(request, arguments)
    check_mask(arguments.mask, arguments.images[0])
    return _buy(request, arguments, lambda image: _mask_result(image, arguments))


def _add_buying_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", default=DEFAULT_MODEL, metavar="NAME", help=f"the model ({DEFAULT_MODEL})")
    add("--seed", type=int, default=0, help="a new seed buys a new image (0)")
    add("--count", type=int, default=1, help="images, each paid for (1)")
    add("--profile", default="default", help="a profile's name (default)")
    add("--auto-aspect-ratio", action="store_true", help="the model chooses the shape")
    add("--web-grounding", action="store_true", help="the model looks things up first")
    add(
        "--background",
        choices=(OPAQUE, TRANSPARENT),
        default=OPAQUE,
        help="transparent: with alpha",
    )
    add("--out", type=Path, default=Path(), metavar="PATH",
        help="a folder, a file that ends in .png, .jpg, .jpeg or .webp, or - for standard output"
        )  # fmt: skip
    add_consent_options(parser)
    add("--json", action="store_true", help="print what came as JSON")


def _read_prompt(text: str) -> str:
    """The prompt, from standard input for "-"; InputError where that holds no text."""
    if text != str(STREAM):
        return text
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise InputError("Standard input isn't text.", "Pipe the prompt in as UTF-8.") from None


def _buy(
    request: Request,
    arguments: argparse.Namespace,
    change: Callable[[Result], Result] = lambda result: result,
) -> int:
    """Buy as many as are asked for, and save what `change` makes of each."""
    if not 1 <= arguments.count <= MAX_COUNT:
        raise InputError(
            f"--count must be at least 1, and at most {MAX_COUNT}.",
            "For more images write a file of rows: `mai-image batch`.",
        )
    request = replace(
        request,
        auto_aspect_ratio=arguments.auto_aspect_ratio,
        web_grounding=arguments.web_grounding,
        background=arguments.background,
    )
    requests = [replace(request, seed=arguments.seed + i) for i in range(arguments.count)]
    to_stream = arguments.out == STREAM
    if to_stream:
        _check_stream(arguments)

    def save(result: Result, each: Request, number: int, keeps_prompt: bool) -> dict[str, Any]:
        changed = change(result)
        if to_stream:
            return write_image(changed)
        return save_image(changed, each, arguments.out, number, len(requests), keeps_prompt)

    return buy(requests, save, arguments, shows_lines=not (to_stream or arguments.json))


def _check_stream(arguments: argparse.Namespace) -> None:
    """InputError where the image can't go to standard output."""
    if arguments.count > 1 or arguments.json:
        raise InputError(
            "--out - writes one image to standard output.",
            "Leave --count and --json away, or name a folder.",
        )
    if sys.stdout.isatty():
        raise InputError(
            "Standard output is a terminal, which can't show an image.",
            "Redirect it: --out - > image.png",
        )


def _mask_result(result: Result, arguments: argparse.Namespace) -> Result:
    """The first file with the edit where the mask is white; ImageError."""
    image = arguments.images[0]
    try:
        data = set_back(result.image, image, arguments.mask)
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"The mask can't be used: {error}", "Save it as PNG.") from None
    size = inspect(data)
    return replace(
        result, image=data, media_type=size.media_type, width=size.width, height=size.height
    )
