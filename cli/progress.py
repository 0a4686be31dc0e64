"""How a purchase tells that it goes on: a line that changes in a terminal, else one now and then.

A log, a mail of cron or a journal gets a line every half minute at most. With rich installed the
terminal's line has a bar. Nothing of what rows say reaches the terminal as a control sequence.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from ..mai.types import Progress

PLAIN_SECONDS = 30.0
"""Seconds between two lines without a terminal."""

TERMINAL_SECONDS = 0.25


@dataclass
class Tally:
    """What became of the images so far, and what they may still cost."""

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

    def facts(self) -> dict[str, int | float]:
        """What became of the images, for programs."""
        return {
            "images": self.total,
            "bought": self.bought,
            "from_store": self.stored,
            "in_folder": self.there,
            "failed": self.failed,
            "usd": round(self.usd, 6),
        }

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


class Display(Protocol):
    """Shows a tally while it changes, and lines that stay."""

    def show(self, tally: Tally) -> None:
        """The tally as it is now."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def pause(self) -> AbstractContextManager[None]:
        """Leave the terminal to others, who print to standard output."""

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
            text = text[: shutil.get_terminal_size().columns - 1]  # a longer one would be two lines
            _write(f"\r{text:{self._width}}")
            self._width = len(text)
        else:
            _write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def say(self, text: str) -> None:
        """A line of its own."""
        _write(f"\r{'':{self._width}}\r{text}\n" if self._width else f"{text}\n")
        self._width = 0

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Take the line that changes away for a moment."""
        self.close()
        yield

    def close(self) -> None:
        """Take the line that changes away."""
        if self._width:
            _write(f"\r{'':{self._width}}\r")
            self._width = 0


class RichDisplay:
    """A bar by rich. ImportError where it isn't installed."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        columns: tuple[Any, ...] = (BarColumn(), TextColumn("{task.description}", markup=False))
        self._progress = Bar(
            *columns,
            console=_console(),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
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

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Take the bar away for a moment."""
        self.close()
        yield
        with suppress(OSError):
            self._progress.start()

    def close(self) -> None:
        """Take the bar away."""
        with suppress(OSError):
            self._progress.stop()


def display_for(total: int, quiet: bool) -> Display:
    """rich in a terminal where it is installed, else plain lines."""
    if sys.stderr.isatty() and not quiet:
        try:
            return RichDisplay(total)
        except ImportError:
            pass
    return PlainDisplay(quiet=quiet)


def what_waits(calls: Iterable[Progress]) -> str:
    """Why nothing goes on, where all that isn't sent waits for a slot; "" where nothing waits."""
    known = list(calls)
    ends = [each.until for each in known if each.phase == "waiting" and each.until]
    if ends:
        return f"next slot in {max(0.0, min(ends) - time.monotonic()):.0f} s"
    reasons = [each.reason for each in known if each.phase == "retrying" and each.reason]
    return f"{harmless(reasons[0])}, trying again" if reasons else ""


def in_words(seconds: float) -> str:
    """A length of time for a person: "2 h 05 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02} s" if minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} days {hours % 24} h"


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
