"""Files in ComfyUI's output folder: core's names and counters, and no file is ever replaced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import folder_paths

from ..mai.bulk import path_below
from ..mai.disk import remove_stale, write_new
from ..mai.errors import InputError, StoreError
from .imaging.file_writer import ENDINGS

_MOST_TRIES = 100_000
"""Names that are taken, one after the other: core counts none behind %batch_num%."""


_ENDS = (*ENDINGS.values(), ".json")

_writing = Lock()
"""Nodes of one graph may save at the same time: each takes a number of its own, as core's do, also
for files of another format."""


def clean_prefix(prefix: str) -> str:
    """The filename_prefix as a path below the output folder, on every system; InputError."""
    return path_below(prefix)


@dataclass
class OutputFiles:
    """The names of one batch's files: NAME_00001_ and so on, in a subfolder of the output folder.

    `counter` is the next number. Files of another ending, and core's own, count too.
    """

    folder: Path
    subfolder: str
    name: str
    counter: int

    @classmethod
    def after(cls, prefix: str, width: int, height: int) -> OutputFiles:
        """Names of this prefix that follow those in the folder, which is made where it is missing.

        InputError: the prefix leads out of the output folder, or is no usable name.
        StoreError: the folder can't be made or read.
        """
        output = folder_paths.get_output_directory()
        try:
            folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
                clean_prefix(prefix), output, width, height
            )
        except OSError as error:
            raise _not_written(Path(output), error) from None
        remove_stale(Path(folder))
        return cls(Path(folder), subfolder, name, counter)

    def write(self, number: int, contents: dict[str, bytes]) -> str:
        """Write the files of image `number` of the batch, by ending, under the next free number.

        Gives the name without ending. All of them are written, or none. StoreError: they can't be.
        """
        name = self.name.replace("%batch_num%", str(number))
        for _ in range(_MOST_TRIES):
            stem = f"{name}_{self.counter:05}_"
            self.counter += 1
            files = {f"{stem}{end}": data for end, data in contents.items()}
            try:
                with _writing:
                    if any((self.folder / f"{stem}{end}").exists() for end in _ENDS):
                        continue
                    write_new(self.folder, files)
            except FileExistsError:
                continue
            except OSError as error:
                raise _not_written(self.folder, error) from error
            return stem
        raise InputError(f"No name like {name} is free.", "Choose another filename_prefix.")


def _not_written(folder: Path, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    return StoreError(
        f"The image can't be written to {folder}: {reason}.",
        "Mend that and queue again: MAI images come from the store, free. What was saved before "
        "it is there.",
    )
