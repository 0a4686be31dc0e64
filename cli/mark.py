"""`mai-image mark`: write the standard mark into images that were saved elsewhere."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from ..mai.disk import replace, sync_folder, temporary_files
from ..mai.errors import ImageError, InputError
from ..mai.formats import COMPOSITE, GENERATED, Mark, find_manifest, write_mark
from .command import EXIT_FAILED

FAMILY = "MAI-Image-"
"""With what the models' names begin; a version follows."""


def add_mark_options(parser: argparse.ArgumentParser) -> None:
    """The files, and what the mark says of them."""
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="PNG, JPEG or WebP; changed in place")
    add("--composite", action="store_true", help="only parts of the images are AI-generated")
    add("--model", default="", metavar="NAME", help="the model that made them (not said)")
    add("--prompt", default="", metavar="TEXT", help="the prompt they were made with (not said)")


def run_mark(arguments: argparse.Namespace) -> int:
    """Mark each file that can be marked, and say of each what became of it."""
    source_type = COMPOSITE if arguments.composite else GENERATED
    version = arguments.model.removeprefix(FAMILY) if arguments.model.startswith(FAMILY) else ""
    mark = Mark(source_type, arguments.model, version, arguments.prompt)
    failed = 0
    files: list[dict[str, object]] = []
    if arguments.facts is not None:
        arguments.facts["files"] = files
    for path in arguments.files:
        try:
            changed = mark_in_place(path, mark)
        except InputError as error:
            failed += 1
            files.append({"path": str(path), "marked": False, "error": str(error)})
            print(f"mai-image: {path}: {error}", file=sys.stderr)
            continue
        files.append({"path": str(path), "marked": True, "changed": changed})
        print(f"{path}  {'marked' if changed else 'was marked before'}: {source_type}")
    return EXIT_FAILED if failed else 0


def mark_in_place(path: Path, mark: Mark) -> bool:
    """Write the mark into a file, which is replaced as a whole; False: it says so already.

    ImageError: it can't be read or written, is of another format, or has a manifest.
    """
    data = read_image_file(path)
    manifest = find_manifest(data)
    if manifest is not None:
        raise ImageError(
            "It has content credentials, which say where it comes from, and any change of the file "
            "would break their signature.",
            "It needs no mark: leave it as it is.",
        )
    marked = write_mark(data, mark)
    if marked == data:
        return False
    target = path.resolve()
    try:
        with temporary_files(target.parent, marked) as (new,):
            shutil.copymode(target, new)
            replace(new, target)
        sync_folder(target.parent)
    except OSError as error:
        raise ImageError(f"It can't be written: {error.strerror}.", "Check its folder.") from None
    return True


def read_image_file(path: Path) -> bytes:
    """The file's bytes; ImageError: it can't be read, or is none, but a pipe or a device."""
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise ImageError("It is no file.", "Give the image itself.")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"It can't be read: {error.strerror}.", "Check the path.") from None
