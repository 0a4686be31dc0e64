"""`mai-image generate` and `mai-image edit`: the commands that buy images."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..mai.errors import InputError, MaiError
from ..mai.in_flight import Siblings
from ..mai.models import DEFAULT_MODEL
from ..mai.types import OPAQUE, TRANSPARENT, Edit, Generate, Progress, Request, Result
from .command import EXIT_FAILED, EXIT_INPUT, open_client
from .image_files import describe_image, read_reference, save_image
from .size import parse_size


def add_generate_options(parser: argparse.ArgumentParser) -> None:
    """The prompt, the size, and what every purchase takes."""
    parser.add_argument("prompt")
    parser.add_argument("--size", default="1024x1024", metavar="WxH", help="pixels (1024x1024)")
    _add_buying_options(parser)


def run_generate(arguments: argparse.Namespace) -> int:
    """Buy images from text."""
    size = parse_size(arguments.size)
    request = Generate(arguments.model, arguments.prompt, size.width, size.height)
    return _buy(request, arguments)


def add_edit_options(parser: argparse.ArgumentParser) -> None:
    """The prompt, the files, the size, and what every purchase takes."""
    parser.add_argument("prompt")
    parser.add_argument("images", nargs="+", type=Path, help="PNG or JPEG; the first is edited")
    parser.add_argument("--size", metavar="WxH", help="ask for this size (not every model can)")
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
    return _buy(Edit(arguments.model, arguments.prompt, images, size=size), arguments)


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
        help="a folder, or a file that ends in .png, .jpg, .jpeg or .webp")  # fmt: skip
    add("--json", action="store_true", help="print what came as JSON")


def _buy(request: Request, arguments: argparse.Namespace) -> int:
    """Buy all images side by side; those that came are saved even if others failed.

    A refusal that all would get withdraws those that wait for a slot.
    """
    if arguments.count < 1:
        raise InputError("--count must be at least 1.", "Ask for one image or more.")
    request = replace(
        request,
        auto_aspect_ratio=arguments.auto_aspect_ratio,
        web_grounding=arguments.web_grounding,
        background=arguments.background,
    )
    requests = [replace(request, seed=arguments.seed + i) for i in range(arguments.count)]
    listener = _show_progress if sys.stderr.isatty() else None
    siblings = Siblings()
    with open_client(arguments) as client:
        client.check_affordable(requests, arguments.profile)
        futures = [siblings.submit(client, each, arguments.profile, listener) for each in requests]
        saved, failures = _save_all(requests, futures, siblings, arguments)
    if arguments.json:
        print(json.dumps(saved, indent=1))
    if failures and saved:
        print("What came is kept: run it again to fetch only the rest.", file=sys.stderr)
    if not failures:
        return 0
    bad_input = all(isinstance(error, InputError) for error in failures)
    return EXIT_INPUT if bad_input else EXIT_FAILED


def _save_all(
    requests: Sequence[Request],
    futures: Sequence[Future[Result]],
    siblings: Siblings,
    arguments: argparse.Namespace,
) -> tuple[list[dict[str, Any]], list[MaiError]]:
    """Save what comes and print what doesn't; the facts of what was saved, and other reasons."""
    saved: list[dict[str, Any]] = []
    failures: list[MaiError] = []
    untold = 0
    for number, (request, future) in enumerate(zip(requests, futures, strict=True), start=1):
        try:
            facts = save_image(future.result(), request, arguments.out, number, len(requests))
        except CancelledError:  # withdrawn, because the refusal of another one is its own too
            untold += 1
        except MaiError as error:
            refused = siblings.refusal is not None and error.what == siblings.refusal.what
            if refused and any(told.what == error.what for told in failures):
                untold += 1
                continue
            failures.append(error)
            print(f"mai-image: image {number}: {error}", file=sys.stderr)
        else:
            saved.append(facts)
            if not arguments.json:
                print(describe_image(facts))
    if untold:
        text = f"mai-image: {untold} more did not come for the same reason."
        print(text, file=sys.stderr)
    return saved, failures


def _show_progress(progress: Progress) -> None:
    wait = f" {max(0.0, progress.until - time.monotonic()):.0f} s" if progress.until else ""
    reason = f", {progress.reason}" if progress.reason else ""
    print(f"{progress.phase}{wait}{reason}", file=sys.stderr)
