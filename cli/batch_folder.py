"""The folder of a batch: its images, results.jsonl and errors.jsonl, also those of earlier runs.

    results.jsonl   a line for each image that is in the folder
    errors.jsonl    a line for each row that failed, with its own columns: a file for the next run

While a run goes on, whole lines are appended; at its end both are written anew, each row once and
in the order of the file. So a job that is killed leaves lines that the next one can use: the worst
is a row that stands in errors.jsonl although it has come meanwhile.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ..mai.bulk import FACTS, Row, same_file
from ..mai.disk import hold_folder, replace, write_durable
from ..mai.errors import Billed, BlockedError, InputError, MaiError, StoreError
from .wording import in_options

if TYPE_CHECKING:
    from .batch_plan import BatchImage

logger = logging.getLogger(__name__)

RESULTS, ERRORS, SHEET = "results.jsonl", "errors.jsonl", "index.html"

_BEGINNING = b'{"id": '
"""What each line of results.jsonl begins with."""

_KINDS: dict[str, type | tuple[type, ...]] = {
    "file": str, "key": str, "bytes": int, "line": int, "n": int,
    "usd": (int, float, type(None)), "notes": list,
}  # fmt: skip
"""What each line of results.jsonl has at least."""

_TYPES = {"image/png": (".png",), "image/jpeg": (".jpg", ".jpeg"), "image/webp": (".webp",)}
_TEMPORARY_LENGTH = 32
"""Hex digits in the name of a file that is being written: PROCESS-DIGITS.tmp."""


class SavingError(StoreError):
    """An image that came can't be saved where it belongs; the store has it."""


class _Saved(NamedTuple):
    """An image that an earlier line of results.jsonl names."""

    mark: str
    size: int
    line: str


class BatchFolder:
    """The folder `root`. `again` sends what was blocked before once more.

    Nothing is written before `begin`. One thread calls it, but for `save_image`.
    """

    def __init__(self, root: Path, *, again: bool = False) -> None:
        self.root = root
        self._again = again
        self._saved: dict[str, _Saved] = {}
        self._usable: set[str] = set()
        self._old_errors: dict[str, str] = {}
        self._errors: dict[str, dict[str, Any]] = {}
        self._blocked: dict[str, dict[str, Any]] = {}
        self._done: set[str] = set()
        self._files = ExitStack()
        umask = os.umask(0)
        os.umask(umask)
        self._mode = 0o666 & ~umask
        self._read()

    def _read(self) -> None:
        for line, facts in _json_lines(self.root / RESULTS):
            if all(isinstance(facts.get(name), kind) for name, kind in _KINDS.items()):
                saved = _Saved(facts["key"], facts["bytes"], line)
                self._saved[same_file(facts["file"])] = saved
        for line, facts in _json_lines(self.root / ERRORS):
            identity = facts.get("id")
            if isinstance(identity, str):
                self._old_errors[identity] = line
                self._note_blocked(facts)

    def _note_blocked(self, facts: dict[str, Any]) -> None:
        marks = facts.get("error_key", facts.get("key"))
        known = {name: facts.get(f"error_{name}", facts.get(name)) for name in FACTS}
        if not self._again and isinstance(marks, list):
            self._blocked.update((mark, known) for mark in marks if isinstance(mark, str))

    def has(self, image: BatchImage) -> bool:
        """Whether the image was saved by an earlier run and is still there."""
        saved = self._saved.get(same_file(image.file))
        if saved is None or saved.mark != image.mark:
            return False
        try:
            path = self.root / json.loads(saved.line)["file"]
            return bool(path.stat().st_size == saved.size)
        except OSError:
            return False

    def was_blocked(self, image: BatchImage) -> bool:
        """Whether the filter has stopped this very request before, in this run or an earlier."""
        return image.mark in self._blocked

    def refuse_foreign(self) -> None:
        """InputError where a list or a sheet is in the way that no run of a batch has written."""
        if self._saved or _is_begun(self.root / RESULTS):
            return
        pages = sorted(path.name for path in self.root.glob("index_[0-9]*.html"))
        for name in (RESULTS, ERRORS, SHEET, *pages):
            if os.path.lexists(self.root / name):
                raise _in_the_way(self.root / name)

    def refuse_strange(self, image: BatchImage) -> None:
        """InputError where a file is in the way that no run of a batch has saved."""
        path = self.root / image.file
        if same_file(image.file) not in self._saved:
            for each in (path, path.with_suffix(".png")):
                if os.path.lexists(each):
                    raise _in_the_way(each)

    def refuse_unusable(self, image: BatchImage) -> None:
        """InputError where the image's folder can't be made: a file has its name, or a link on the
        way leads out of the batch's folder."""
        name = image.file.rpartition("/")[0]
        if name in self._usable:
            return
        folder = self.root / name
        there = next(filter(os.path.lexists, (folder, *folder.parents)), None)
        if there is not None and not there.is_dir():  # nor is a link that leads to itself
            raise _in_the_way(there)
        if not folder.resolve().is_relative_to(self.root.resolve()):
            raise InputError(
                f"The output {image.file!r} is out of the folder, as a symbolic link leads there.",
                "Choose another name, or remove the link.",
            )
        self._usable.add(name)

    def begin(self, folders: Iterable[str]) -> None:
        """Clear what a killed run left half written in these folders, and open both lists."""
        self.root.mkdir(parents=True, exist_ok=True)
        for name in {"", *folders}:
            for path in (self.root / name).glob("*.tmp"):
                process, _, digits = path.stem.partition("-")
                if process.isdigit() and len(digits) == _TEMPORARY_LENGTH:
                    with suppress(OSError):
                        path.unlink()
        try:
            self._write_results()
            self._write(ERRORS, self._old_errors.values())
            self._results_file = self._files.enter_context((self.root / RESULTS).open("ab", 0))
            self._errors_file = self._files.enter_context((self.root / ERRORS).open("ab", 0))
        except OSError as error:
            raise _unusable(self.root, error) from None

    def save_image(self, image: BatchImage, data: bytes, media_type: str) -> tuple[str, list[str]]:
        """Write an image whole, unless it is there; gives its path below the folder, and notes.

        SavingError: it can't be written, or another file is in the way.
        """
        file, notes = _typed_name(image.file, media_type)
        path = self.root / file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
                return file, notes
            if os.path.lexists(path) and same_file(file) not in self._saved:
                raise SavingError(_in_the_way(path).what, _KEPT)
            write_durable(path, data)
            path.chmod(self._mode)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SavingError(f"The image can't be written to {path}: {reason}.", _KEPT) from None
        return file, notes

    def add_result(self, image: BatchImage, facts: dict[str, Any], size: int) -> None:
        """Note an image that is in the folder now; `facts` have its file."""
        facts = {**facts, "key": image.mark, "bytes": size}
        line = json.dumps(facts, ensure_ascii=False)
        self._saved[same_file(facts["file"])] = _Saved(image.mark, size, line)
        self._append(self._results_file, line)

    def add_error(self, row: Row, n: int, mark: str, error: MaiError) -> None:
        """Note that image `n` of a row failed; a further one of it is added to what is known."""
        perhaps_billed = error.billed is not Billed.NO
        message = in_options(str(error))
        code = error.code or type(error).__name__
        known = self._errors.get(row.id)
        if known is not None:
            known["n"].append(n)
            known["perhaps_billed"] = known["perhaps_billed"] or perhaps_billed
        else:
            known = {
                "line": row.line,
                "code": code,
                "message": message,
                "perhaps_billed": perhaps_billed,
                "n": [n],
                "key": [],
                "cells": dict(row.cells),
                "paths": _absolute(row),
            }
        if isinstance(error, BlockedError):
            known["key"].append(mark)
            blocked = {"code": code, "message": message, "perhaps_billed": perhaps_billed}
            self._blocked.setdefault(mark, blocked)
        if row.id not in self._errors:
            self._errors[row.id] = known
            if row.id not in self._old_errors:
                self._append(self._errors_file, _error_line(row.id, known))

    def _append(self, file: BinaryIO, line: str) -> None:
        """A line for a run that is killed: `finish` writes them all, or says why it can't."""
        with suppress(OSError):
            file.write(_encoded(line))

    def blocked_error(self, image: BatchImage) -> BlockedError:
        """The error of a request that was blocked before, which cost nothing now."""
        known = self._blocked[image.mark]
        return BlockedError(
            str(known.get("message") or "The filter stopped it.").partition("\n")[0],
            "It was blocked before and is not sent again: change the row, or give errors.jsonl as "
            "the file.",
            code=str(known.get("code") or "BlockedError"),
            billed=Billed.NO,
        )

    def set_done(self, row_id: str) -> None:
        """All images of a row were tried: what an earlier run said of it no longer counts."""
        self._done.add(row_id)

    def finish(self, complete: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Write both lists anew; gives what they say, in the order of the file.

        `complete`: the whole file was gone through; else earlier errors of rows that it didn't
        come to stay.
        """
        self._files.close()
        results = self._write_results()
        stay = {} if complete else self._old_errors
        lines = {key: line for key, line in stay.items() if key not in self._done}
        lines.update((key, _error_line(key, known)) for key, known in self._errors.items())
        facts = sorted(map(json.loads, lines.values()), key=_order_of_errors)
        self._write(ERRORS, (json.dumps(each, ensure_ascii=False) for each in facts))
        return results, facts

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write another file of the folder whole; one that isn't `durable` can be made again."""
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        if durable:
            write_durable(path, data)
            path.chmod(self._mode)
        else:
            temporary = path.with_suffix(".tmp")
            temporary.write_bytes(data)
            replace(temporary, path)

    def _write_results(self) -> list[dict[str, Any]]:
        """results.jsonl, without images that are gone; its facts in their order."""
        facts = [json.loads(saved.line) for saved in self._saved.values()]
        there = [each for each in facts if os.path.lexists(self.root / each["file"])]
        there.sort(key=lambda each: (each.get("line", 0), str(each.get("id")), each.get("n", 0)))
        self._write(RESULTS, (json.dumps(each, ensure_ascii=False) for each in there))
        return there

    def _write(self, name: str, lines: Iterable[str]) -> None:
        """A list, if it says anything else than it does."""
        data = b"".join(map(_encoded, lines))
        path = self.root / name
        if not path.is_file() or path.read_bytes() != data:
            self.write(name, data)


def held(root: Path) -> ExitStack:
    """Keeps other batches out of the folder until it is closed; MaiError where one works there."""
    stack = ExitStack()
    is_new = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        stack.enter_context(hold_folder(root))
        if is_new:
            stack.callback(_remove_if_empty, root)
    except TimeoutError:
        raise MaiError(
            f"Another batch works in {root} now. Nothing was sent.",
            "Wait for its end, or name another folder with --out.",
        ) from None
    except OSError as error:
        raise _unusable(root, error) from None
    return stack


def _remove_if_empty(root: Path) -> None:
    with suppress(OSError):
        root.rmdir()


def _unusable(root: Path, error: OSError) -> InputError:
    return InputError(
        f"The folder {root} can't be used: {error.strerror or error}.",
        "Name another one with --out.",
    )


_KEPT = "The image is kept in the store: run the file again with another --out, which is free."


def _in_the_way(path: Path) -> InputError:
    return InputError(
        f"The file {path} is there already, and no batch has saved it.",
        "Move it, or name another --out.",
    )


def _typed_name(file: str, media_type: str) -> tuple[str, list[str]]:
    """The path with the ending of the image's own type, and what is to be said of it."""
    endings = _TYPES.get(media_type, (".png",))
    stem, _, ending = file.rpartition(".")
    if f".{ending.lower()}" in endings:
        return file, []
    sent = media_type.removeprefix("image/").upper()
    return f"{stem}{endings[0]}", [f"the service sent a {sent}: it isn't called .{ending}"]


def _absolute(row: Row) -> dict[str, str]:
    """The row's paths of files, so that they hold from any folder."""
    names = [name for name in row.cells if name.startswith("image_") and row.cells[name].strip()]
    found = dict(zip(sorted(names), (str(path.absolute()) for path in row.images), strict=False))
    if row.mask is not None:
        found["mask"] = str(row.mask.absolute())
    return found


def _error_line(row_id: str, known: dict[str, Any]) -> str:
    """A failed row as JSON: its own columns, and the facts beside them."""
    cells = {**known["cells"], **known["paths"]}
    facts = {(f"error_{name}" if name in cells else name): known[name] for name in FACTS}
    return json.dumps({"id": row_id, **facts, **(cells | {"id": row_id})}, ensure_ascii=False)


def _order_of_errors(facts: dict[str, Any]) -> int:
    line = facts.get("error_line", facts.get("line"))
    return line if isinstance(line, int) else 0


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a list that are whole; what a killed process left half written is passed by."""
    try:
        stream = path.open("rb")
    except OSError:
        return
    with stream:
        for data in stream:
            try:
                line = data.decode("utf-8").strip()
                facts = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(facts, dict):
                yield line, facts


def _is_begun(path: Path) -> bool:
    """Whether results.jsonl is that of a batch that has saved nothing yet: empty, or cut off in its
    first line."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    is_whole = b"\n" in data or any(_json_lines(path))
    return not is_whole and _BEGINNING.startswith(data[: len(_BEGINNING)])


def _encoded(line: str) -> bytes:
    return f"{line}\n".encode("utf-8", "backslashreplace")
