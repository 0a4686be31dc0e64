"""How a batch tells that it goes on: one line that changes in a terminal, else a line now and then.

A log, a mail of cron or a journal gets a line every half minute at most. With rich installed the
terminal's line has a bar. Nothing of what rows say reaches the terminal as a control sequence.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from .batch_plan import in_words

PLAIN_SECONDS = 30.0
"""Seconds between two lines without a terminal."""

TERMINAL_SECONDS = 0.25


@dataclass
class Tally:
    """What became of a batch's images so far, and what it may still cost."""

    total: int
    bought: int = 0
    there: int = 0
    stored: int = 0
    failed: int = 0
    to_buy: int = 0
    usd: float = 0.0
    limit_usd: float | None = None
    waiting: str = ""
    ending: str = ""
    seconds: float | None = None

    @property
    def done(self) -> int:
        """Images that were settled, one way or the other."""
        return self.bought + self.there + self.stored + self.failed

    def text(self) -> str:
        """One line for a person."""
        parts = [f"{self.done:,} of {self.total:,}"]
        parts += [f"{self.stored:,} from the store"] if self.stored else []
        parts += [f"{self.there:,} there before"] if self.there else []
        parts += [f"{self.failed:,} failed"] if self.failed else []
        parts.append(f"${self.usd:,.2f}")
        if self.limit_usd is not None:
            parts.append(f"${max(0.0, self.limit_usd - self.usd):,.2f} left")
        if self.ending:
            parts.append(self.ending)
        elif self.seconds is not None and self.done < self.total:
            parts.append(f"{in_words(self.seconds)} to go")
        parts += [self.waiting] if self.waiting else []
        return " · ".join(parts)


class BatchDisplay(Protocol):
    """Shows a tally while it changes, and lines that stay."""

    def show(self, tally: Tally) -> None:
        """The tally as it is now."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class PlainDisplay:
    """Lines on standard error; with `quiet` only what `say` is told."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._next = 0.0
        self._width = 0

    def show(self, tally: Tally) -> None:
        """A new line, or in a terminal the same one."""
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        self._next = now + (TERMINAL_SECONDS if self._terminal else PLAIN_SECONDS)
        text = tally.text()
        if self._terminal:
            _write(f"\r{text:{self._width}}")
            self._width = len(text)
        else:
            _write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def say(self, text: str) -> None:
        """A line of its own."""
        _write(f"\r{'':{self._width}}\r{text}\n" if self._width else f"{text}\n")
        self._width = 0

    def close(self) -> None:
        """Take the line that changes away."""
        if self._width:
            _write(f"\r{'':{self._width}}\r")


class RichDisplay:
    """A bar by rich. ImportError where it isn't installed."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        columns: tuple[Any, ...] = (BarColumn(), TextColumn("{task.description}", markup=False))
        self._progress = Progress(*columns, console=_console(), transient=True)
        self._task = self._progress.add_task("", total=total)
        self._progress.start()

    def show(self, tally: Tally) -> None:
        """Move the bar."""
        with suppress(OSError):  # the terminal is gone
            self._progress.update(self._task, completed=tally.done, description=tally.text())

    def say(self, text: str) -> None:
        """A line above the bar."""
        with suppress(OSError):
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away."""
        with suppress(OSError):
            self._progress.stop()


def display_for(total: int, quiet: bool) -> BatchDisplay:
    """rich in a terminal where it is installed, else plain lines."""
    if sys.stderr.isatty() and not quiet:
        try:
            return RichDisplay(total)
        except ImportError:
            pass
    return PlainDisplay(quiet=quiet)


def harmless(text: str) -> str:
    """A text of a row for the terminal: what isn't printable becomes "?", lines become one."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):  # the terminal is gone: the images still come
        pass
