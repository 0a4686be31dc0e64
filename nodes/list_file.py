"""The list of MAI Prompt List: a file of the input folder or the node's own text, read and checked.

Neither the file nor an image that it names can lie outside of the input folder: a list comes from
other people.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import folder_paths
from torch import Tensor

from ..mai.bulk import Row, Selection, Settings, format_of, names_in, select_rows
from ..mai.errors import ImageError, InputError, MaiError
from ..mai.formats import inspect
from .inputs import LIST_TEXT

READS = frozenset({"id", "prompt", "width", "height", "size", "seed", "image_1", "out"})
"""The columns that mean something here; the others are settings of the nodes that buy."""

MAX_BYTES = 200_000_000
"""Of a list: it is read at each run. The command line takes longer ones."""

MAX_PIXELS = 300_000_000
"""Of all images of a run: 3.6 GB as tensors."""

MOST_MISTAKES = 500
"""Lines that are shown; the number of all is said."""

_HEAD = 4096


@dataclass(frozen=True)
class PromptList:
    """The settings of the node; `rows` are counted from 1."""

    file: str
    text: str
    template: str
    start: int
    rows: int

    @cached_property
    def path(self) -> Path | None:
        """The file, None of the node's own text. InputError: it isn't in the input folder."""
        if self.file == LIST_TEXT:
            return None
        folder = os.path.realpath(folder_paths.get_input_directory())
        try:
            found = os.path.realpath(os.path.join(folder, self.file))
            inside = os.path.commonpath((folder, found)) == folder and os.path.isfile(found)
        except (ValueError, OSError):
            inside = False
        if not inside:
            raise InputError(
                f"The list {self.file[:200]!r} isn't in ComfyUI's input folder.",
                "Choose another one, or put it there.",
            )
        return Path(found)

    def select(self) -> Selection:
        """The rows of this run. InputError: all that is wrong with the whole list."""
        selection = self.look()
        if selection.mistakes:
            raise _mistaken(selection)
        if not selection.rows:
            raise InputError(
                f"The list has {selection.total:,} rows, so none begins at row {self.start:,}.",
                "Set start to 1.",
            )
        return selection

    def look(self) -> Selection:
        """The rows of this run and all mistakes of the list. InputError: it can't be read."""
        folder = self.path.parent if self.path else Path(folder_paths.get_input_directory())
        settings = Settings(
            prompt=self.template, out="{id}.png", images=folder, confined=True, reads=READS
        )
        with self._opened() as stream:
            head = stream.read(_HEAD)
            stream.seek(0)
            name = self.path.name if self.path else ""
            kind = format_of(name, head, {"prompt", *names_in(self.template)} - {"line", "n"})
            return select_rows(stream, kind, settings, self.start, self.rows)

    def fingerprint(self) -> str:
        """Another text whenever the file or an image that is used has changed."""
        found = hashlib.sha256()
        try:
            with self._opened() as stream:
                while block := stream.read(1 << 20):
                    found.update(block)
            for path in (path for row in self.look().rows for path in row.images):
                facts = path.stat()
                found.update(
                    f"{path}|{facts.st_mtime_ns}|{facts.st_size}\n".encode("utf-8", "replace")
                )
        except (MaiError, OSError):
            return ""  # the run says why
        return found.hexdigest()

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if self.path is None:
            yield io.BytesIO(self.text.encode("utf-8", "replace"))
            return
        try:
            with self.path.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size > MAX_BYTES:
                    raise InputError(
                        f"The list has {size / 1e6:,.0f} MB; the most is {MAX_BYTES / 1e6:,.0f}.",
                        "`mai-image batch` takes longer ones.",
                    )
                yield stream
        except OSError as error:
            raise InputError(
                f"The list {self.file[:200]!r} can't be read ({type(error).__name__}).",
                "Check that it is there and that ComfyUI may read it.",
            ) from None


def _mistaken(selection: Selection) -> InputError:
    count = len(selection.mistakes)
    shown = [f"line {each.line}: {each.what}" for each in selection.mistakes[:MOST_MISTAKES]]
    more = [f"… and {count - MOST_MISTAKES:,} more"] if count > MOST_MISTAKES else []
    first = "The list has a mistake:" if count == 1 else f"The list has {count:,} mistakes:"
    return InputError("\n".join([first, *shown, *more]), "")


@dataclass(frozen=True)
class RowImages:
    """The IMAGE [1,H,W,3] of each row, None where it has none; `notes` are sentences."""

    images: list[Tensor | None]
    notes: list[str]


def load_images(rows: Sequence[Row]) -> RowImages:
    """The images of image_1; a file that several rows name is read once.

    A row whose file can't be used has none. ImageError: all together are too large.
    """
    from .imaging.codec import decode_image

    known: dict[Path, Tensor | None] = {}
    notes: list[str] = []
    pixels = 0
    for row in rows:
        if not row.images or row.images[0] in known:
            continue
        path = row.images[0]
        try:
            data = path.read_bytes()
            header = inspect(data)
            pixels += header.width * header.height
            if pixels > MAX_PIXELS:
                break
            known[path] = decode_image(data)
        except (MaiError, OSError):
            known[path] = None
            notes.append(f"line {row.line}: {path.name!r} is no whole PNG or JPEG.")
    if pixels > MAX_PIXELS:
        raise ImageError(
            f"The images of these rows have more than {MAX_PIXELS / 1e6:,.0f} megapixels together.",
            "Ask for fewer rows a run.",
        )
    images = [known.get(row.images[0]) if row.images else None for row in rows]
    without = sum(not row.images for row in rows)
    if without:
        notes.append(f"{without} rows have no image_1: what needs it skips them.")
    return RowImages(images, notes)
