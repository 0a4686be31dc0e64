"""What was ordered, on the disk, so that a start after a crash can say what became of it.

Each process that orders has a folder of its own, which it holds for as long as it lives. One that
nobody holds belonged to a process that ended: whoever starts next takes it over.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ..disk import hold_folder, make_folder, read_file, write_durable
from ..formats import parse_json

logger = logging.getLogger(__name__)

NAME = "orders.json"

Entry = dict[str, object]
"""One order as plain values: no prompt, no endpoint."""


class OrderFiles:
    """The orders of this process below `folder`, and those that dead ones left there. Blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: Path | None = None
        self._held = ExitStack()

    def save(self, entries: Sequence[Entry]) -> None:
        """Write all orders of this process. What can't be written is lost by a crash alone."""
        try:
            if self._own is None:
                if not entries:
                    return
                own = self._folder / secrets.token_hex(8)
                make_folder(own)
                self._held.enter_context(hold_folder(own))
                self._own = own
            write_durable(self._own / NAME, json.dumps(entries).encode())
        except OSError as error:
            logger.warning("What was ordered can't be written down: %s", error)

    def read_left(self) -> tuple[list[Entry], ExitStack]:
        """The orders of processes that ended; closing the stack removes their folders.

        To be closed when they are saved as this process's own.
        """
        entries: list[Entry] = []
        done = ExitStack()
        for folder in sorted(self._folder.glob("*/")):
            if folder == self._own or not (folder / NAME).is_file():
                continue
            try:
                done.enter_context(hold_folder(folder))
            except (TimeoutError, OSError):
                continue  # its process lives
            try:
                entries += _parse(read_file(folder / NAME))
            except (OSError, ValueError) as error:
                logger.warning("What was ordered before can't be read: %s", error)
            done.callback(shutil.rmtree, folder, ignore_errors=True)
        return entries, done

    def close(self) -> None:
        """Let the next process take these orders over."""
        self._held.close()
        self._own = None


def _parse(data: bytes) -> list[Entry]:
    """ValueError: this is no list of orders."""
    found = parse_json(data)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError("no list of orders")
    return found
