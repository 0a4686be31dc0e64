"""What one row of a file asks for, and all that is wrong with it.

A row's own cell counts first, then the setting that holds for all rows. `Row` is what can be asked
of a model as far as the file alone shows it; images are named, not read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ..errors import MaiError, SizeError
from ..models import CATALOGUE, DEFAULT_MODEL, Model
from ..sizes import Size, size_problems, validate_size
from ..types import OPAQUE
from ..validation import model_named, validate_options, validate_prompt, validate_references
from .file_names import is_image_name, leaves_folder, path_below, same_file, with_number
from .reading import Record, RowMistake
from .templates import fill, hint_at, names_in

T = TypeVar("T")

IMAGE_COLUMNS = tuple(f"image_{i}" for i in range(1, 6))

COLUMNS = (
    "id", "prompt", "model", "width", "height", "size", "seed", "count", *IMAGE_COLUMNS, "mask",
    "background", "auto_aspect_ratio", "web_grounding", "profile", "out",
)  # fmt: skip
"""The columns that mean something; others are for templates."""

MAX_COUNT = 1000
"""Images of one row."""

MAX_SEED = 2**64 - 1
"""As in the nodes."""

SQUARE = Size(1024, 1024)
"""Pixels of an image from text whose row names no size."""

FILE_NAME_TEMPLATE = "{id}_{n}.png"

_YES = frozenset({"true", "yes", "y", "on", "1", "wahr", "vrai", "verdadero", "vero"})
_NO = frozenset({"false", "no", "n", "off", "0", "falsch", "faux", "falso"})
"""Also as a spreadsheet in German, French, Spanish or Italian writes its truth values."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds where a row says nothing.

    `prompt` is a template: one with {prompt} is filled in with each row's own prompt, another one
    stands for rows without a prompt. `out` is a template below the folder of the images. `images`
    is the folder from which paths of images count, and which none of them leaves where they are
    `confined`; `reserved` are patterns of names that no output may begin with.

    Of the columns in COLUMNS only those in `reads` mean something; the others are for templates
    alone. Without "model" a size is right that any model can make.
    """

    prompt: str = ""
    model: str = DEFAULT_MODEL
    size: Size | None = None
    seed: int = 0
    count: int = 1
    profile: str = "default"
    background: str = OPAQUE
    auto_aspect_ratio: bool = False
    web_grounding: bool = False
    out: str = FILE_NAME_TEMPLATE
    images: Path = Path()
    confined: bool = False
    reserved: tuple[str, ...] = ()
    reads: frozenset[str] = frozenset(COLUMNS)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `cells` are its own texts; `prompts` and `files` are those of its images, by n.

    Image n has seed + n. `model` is "" where the rows' column isn't read, `size` is None where
    nobody names one. `files` are paths with "/" below the folder of the images. `line` is the
    row's in its first file, also where it comes out of a list of failed rows.
    """

    line: int
    id: str
    cells: Mapping[str, str]
    model: str
    size: Size | None
    seed: int
    profile: str
    images: tuple[Path, ...]
    mask: Path | None
    background: str
    auto_aspect_ratio: bool
    web_grounding: bool
    prompts: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many images."""
        return len(self.prompts)


class RowCheck:
    """Makes rows of records and keeps what only the whole file shows: ids, outputs, columns.

    `mistakes` are all of the file so far. `build` alone is for a second pass over a file that was
    checked: it remembers nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.mistakes: list[RowMistake] = []
        self._ids: dict[str, int] = {}
        self._outputs: dict[str, int] = {}
        self._folders: dict[str, int] = {}
        self._unknown: dict[str, int] = {}
        self._used = names_in(settings.prompt) | names_in(settings.out)

    def check(self, record: Record | RowMistake) -> Row | None:
        """The row of a record; None with one mistake or more."""
        if isinstance(record, RowMistake):
            self.mistakes.append(record)
            return None
        row, found = self.build(record)
        self._note_columns(record)
        found += self._repeated(row, record.line)
        self.mistakes += [RowMistake(record.line, text) for text in found]
        return None if found else row

    def finish(self) -> list[RowMistake]:
        """All mistakes in the order of their lines, those of unknown columns with them."""
        for name, line in self._unknown.items():
            if name not in self._used:
                text = (
                    f"The column {name[:60]!r} is neither known nor used by a template. "
                    f"{hint_at(name, COLUMNS)}".rstrip()
                )
                self.mistakes.append(RowMistake(line, text))
        self._unknown.clear()
        self.mistakes.sort(key=lambda mistake: mistake.line)
        return self.mistakes

    def build(self, record: Record) -> tuple[Row, list[str]]:
        """The row of a record, and what is wrong with it by itself, as sentences."""
        reader = _RowReader(record, self._settings)
        return reader.read(), reader.found

    def _note_columns(self, record: Record) -> None:
        for name, value in record.cells.items():
            if name not in COLUMNS:
                self._unknown.setdefault(name, record.header or record.line)
            elif name in ("prompt", "out") and "{" in value:
                self._used |= names_in(value)

    def _repeated(self, row: Row, line: int) -> list[str]:
        found = []
        first = self._ids.setdefault(row.id, line)
        if first != line:
            made = "" if row.cells.get("id", "").strip() else ", made from the line's number,"
            found.append(f"The id {row.id[:60]!r}{made} stands on line {first} already.")
            return found  # its outputs are mostly the same too
        for file in row.files:
            first = self._outputs.setdefault(same_file(file), line)
            if first != line:
                found.append(f"The output {file!r} is that of line {first} already.")
                break
            if other := self._file_as_folder(line, file):
                found.append(f"The output {file!r} and that of line {other} can't both be there: "
                             "one is a folder of the other's name.")  # fmt: skip
                break
        if len(set(map(same_file, row.files))) < len(row.files):
            found.append(f"Several images of this row have the output {row.files[0]!r}: use {{n}}.")
        return found

    def _file_as_folder(self, line: int, file: str) -> int:
        """The line of an output whose file is a folder of this one, or the reverse; else 0."""
        parts = file.split("/")[:-1]
        folders = ["/".join(parts[: i + 1]) for i, part in enumerate(parts) if is_image_name(part)]
        for folder in map(same_file, folders):
            self._folders.setdefault(folder, line)
            if folder in self._outputs:
                return self._outputs[folder]
        return self._folders.get(same_file(file), 0)


class _RowReader:
    """Reads one record; `found` are its mistakes."""

    def __init__(self, record: Record, settings: Settings) -> None:
        self._record = record
        self._settings = settings
        self._cells = record.cells
        self.found: list[str] = []

    def read(self) -> Row:
        """The row, which is of use only if nothing was found."""
        settings = self._settings
        model = self._model()
        row = Row(
            line=self._record.first_line or self._record.line,
            id=self._text("id") or str(self._record.line),
            cells=self._cells,
            model=model.name if model else "",
            size=self._size(),
            seed=self._number("seed", settings.seed, 0, MAX_SEED),
            profile=self._text("profile") or settings.profile,
            images=tuple(self._images()),
            mask=self._path("mask"),
            background=self._text("background").lower() or settings.background,
            auto_aspect_ratio=self._truth("auto_aspect_ratio", settings.auto_aspect_ratio),
            web_grounding=self._truth("web_grounding", settings.web_grounding),
            prompts=(),
            files=(),
        )
        count = self._number("count", settings.count, 1, MAX_COUNT)
        if row.seed + count - 1 > MAX_SEED:
            self.found.append(f"The seeds would go beyond {MAX_SEED}.")
        row = self._filled(row, count)
        if row.mask is not None and not row.images:
            self.found.append("A mask needs the image that it is for, in image_1.")
        if model is not None:
            self._validate(row, model)
        else:
            self._validate_any(row)
        return row

    def _model(self) -> Model | None:
        if "model" not in self._settings.reads:
            return None
        name = self._text("model") or self._settings.model
        return self._try(lambda: CATALOGUE.find(name) or model_named(name))

    def _validate_any(self, row: Row) -> None:
        """A size that no model can make is a mistake whichever will be chosen."""
        size = row.size
        if size is not None and all(size_problems(model, *size) for model in CATALOGUE.values()):
            self._try(lambda: validate_size(CATALOGUE[DEFAULT_MODEL], *size))

    def _validate(self, row: Row, model: Model) -> None:
        """What the model takes and what not."""
        self._try(
            lambda: validate_options(
                model, row.auto_aspect_ratio, row.web_grounding, row.background
            )
        )
        if row.images:
            self._try(lambda: validate_references(model, len(row.images)))
        size = row.size or (None if row.images else SQUARE)
        if size is not None and not row.auto_aspect_ratio:
            self._try(lambda: validate_size(model, *size))

    def _filled(self, row: Row, count: int) -> Row:
        """The row with the prompts and files of its images."""
        prompts, files = [], []
        for n in range(count):
            values = self._values(row, n)
            prompt = self._try(lambda values=values: self._prompt(values))  # type: ignore[misc]
            file = self._try(lambda values=values, n=n: self._file(values, n, count))  # type: ignore[misc]
            if prompt is None or file is None:
                break
            prompts.append(prompt)
            files.append(file)
        return replace(row, prompts=tuple(prompts), files=tuple(files))

    def _values(self, row: Row, n: int) -> dict[str, str]:
        """What templates may use: the row's own cells, and what is made of them."""
        size = row.size or SQUARE
        made = {
            "id": row.id,
            "line": self._cells.get("line", "").strip() or str(row.line),
            "n": str(n),
            "seed": str(row.seed + n),
            "model": row.model,
            "width": str(size.width),
            "height": str(size.height),
            "profile": row.profile,
        }
        unknown = {"model", "profile"} - self._settings.reads
        return {
            **{name: value.strip() for name, value in self._cells.items()},
            **{name: value for name, value in made.items() if name not in unknown},
        }

    def _prompt(self, values: dict[str, str]) -> str:
        own, template = self._cells.get("prompt", ""), self._settings.prompt
        if own.strip():
            own = fill(own, {name: value for name, value in values.items() if name != "prompt"})
        if template and (not own.strip() or "prompt" in names_in(template)):
            own = fill(template, {**values, "prompt": own.strip()})
        validate_prompt(own)
        return own

    def _file(self, values: dict[str, str], n: int, count: int) -> str:
        template = self._text("out") or self._settings.out
        path = fill(template, values)
        if not is_image_name(path.strip()):
            template = f"{template}/{FILE_NAME_TEMPLATE}"
            path = fill(template, values)
        path = path_below(path, self._settings.reserved)
        return with_number(path, n) if count > 1 and "n" not in names_in(template) else path

    def _size(self) -> Size | None:
        width, height = self._text("width"), self._text("height")
        text = self._text("size")
        if text and (width or height):
            self.found.append("Give either size or width and height.")
            return None
        if bool(width) != bool(height):
            missing = "height" if width else "width"
            self.found.append(f"The {missing} is missing.")
            return None
        if width:
            size = Size(self._number("width", 0, 1, 10**6), self._number("height", 0, 1, 10**6))
            return size if size.width and size.height else None
        return self._try(lambda: size_named(text)) if text else self._settings.size

    def _images(self) -> Iterator[Path]:
        last = 0
        for i, column in enumerate(IMAGE_COLUMNS, start=1):
            path = self._path(column)
            if path is None:
                continue
            if last != i - 1:
                self.found.append(f"There is an {column}, but no image_{i - 1}.")
            last = i
            yield path

    def _path(self, column: str) -> Path | None:
        text = self._text(column)
        if not text:
            return None
        if self._settings.confined and not self._is_inside(text):
            self.found.append(f"The file {text[:200]!r} of {column} is out of the list's folder.")
            return None
        path = self._settings.images / os.path.expanduser(text)
        try:
            is_file = path.is_file()
        except (OSError, ValueError):
            is_file = False
        if not is_file:
            self.found.append(f"The file {text[:200]!r} of {column} isn't there.")
        return path

    def _is_inside(self, text: str) -> bool:
        """Whether a path stays in the folder of the images, also over symbolic links."""
        if leaves_folder(text):
            return False
        folder = self._settings.images.resolve()
        try:
            return (folder / text).resolve().is_relative_to(folder)
        except (OSError, RuntimeError, ValueError):  # a circle of links, a name that none can be
            return False

    def _number(self, column: str, otherwise: int, least: int, most: int) -> int:
        text = self._text(column)
        if not text:
            return otherwise
        whole, _, zeros = text.partition(".")
        if len(whole) < 25 and whole.isascii() and whole.isdigit() and not zeros.strip("0"):
            value = int(whole)
            if least <= value <= most:
                return value
        self.found.append(
            f"The {column} must be a whole number from {least:,} to {most:,}, not {_shown(text)}."
        )
        return otherwise

    def _truth(self, column: str, otherwise: bool) -> bool:
        text = self._text(column).lower()
        if text and text not in _YES | _NO:
            self.found.append(f"{column} must be true or false, not {_shown(text)}.")
        return text in _YES if text else otherwise

    def _text(self, column: str) -> str:
        if column not in self._settings.reads:
            return ""
        return self._cells.get(column, "").strip()

    def _try(self, action: Callable[[], T]) -> T | None:
        """What the action gives; None where it raised an error, which is then found."""
        try:
            return action()
        except MaiError as error:
            self.found.append(" ".join(f"{error.what} {error.hint}".split()))
            return None


def size_named(text: str) -> Size:
    """Width and height in pixels from "1024x768" or "1024 × 768"; SizeError for another text."""
    width, cross, height = text.lower().replace("×", "x").partition("x")
    width, height = width.strip(), height.strip()
    for side in (width, height):
        if not (cross and side.isascii() and side.isdigit() and len(side) < 7):
            raise SizeError(f"{_shown(text)} is no size.", "Write width x height: 1024x1024.")
    return Size(int(width), int(height))


def _shown(text: str) -> str:
    return repr(text[:40] + "…" if len(text) > 40 else text)
