"""Questions to a person at a terminal: each is asked again until its answer can be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..mai.errors import MaiError

T = TypeVar("T")
N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Questions:
    """Asks a person.

    `ask` shows a question and gives the line that is typed, `ask_secret` does so without showing
    what is typed, `show` shows a line.
    """

    ask: Callable[[str], str]
    ask_secret: Callable[[str], str]
    show: Callable[[str], None]

    def parsed(self, question: str, parse: Callable[[str], T], *, secret: bool = False) -> T:
        """What `parse` makes of a line; its ValueError or MaiError is shown to the person."""
        while True:
            text = (self.ask_secret if secret else self.ask)(question).strip()
            try:
                return parse(text)
            except (ValueError, MaiError) as error:
                self.show(str(error))

    def choice(self, question: str, options: Mapping[str, str]) -> str:
        """One of the names in `options`, which are shown by their descriptions and numbers."""
        names = list(options)
        self.show(question)
        for number, about in enumerate(options.values(), start=1):
            self.show(f"  {number}  {about}")

        def parse(text: str) -> str:
            text = text or "1"
            if not text.isdecimal() or not 1 <= int(text) <= len(names):
                raise ValueError(f"Type a number from 1 to {len(names)}.")
            return names[int(text) - 1]

        return self.parsed("Number [1]: ", parse)

    def agreed(self, question: str) -> bool:
        """Whether a person says yes; nothing typed is no."""
        return self.ask(f"{question} [y/N]: ").strip().lower() in ("y", "yes")

    def number(
        self, question: str, most: int, number_type: type[N], least: float = 0.0
    ) -> N | None:
        """A number above 0, from `least` and up to `most`; None where nothing is typed."""

        def parse(text: str) -> N | None:
            if not text:
                return None
            try:
                value = number_type(text.lstrip("$"))
            except ValueError:
                value = number_type(-1)
            if not (0 < value <= most and value >= least):
                low = f"from {least:g} " if least else ""
                raise ValueError(f"Type a number {low}up to {most}, or nothing.")
            return value

        return self.parsed(question, parse)
