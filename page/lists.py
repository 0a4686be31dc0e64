"""What the rows of MAI Prompt List cost at the node that buys them, and how many are paid for.

The list is read where its node runs; here its rows are priced, one by one, as `prices` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..mai.bulk import Row, Selection
from ..mai.errors import InputError, MaiError
from ..mai.types import OPAQUE, Generate
from .prices import quote

LONGEST_QUESTION = 4_000_000
"""Bytes, of a list that is typed into the node and of its settings."""

MOST_LOOKED_UP = 256
"""Images of a run that are looked for in the store: each is a look at the disk."""

SHOWN = 20
"""Mistakes that stand on the node."""

SQUARE = (1024, 1024)
"""Pixels of a row that names no size."""

MAX_SIDE = 100_000

IsFree = Callable[[Generate, str], bool]
"""Whether a request costs nothing with a profile; MaiError where that can't be said."""


@dataclass(frozen=True)
class ListSettings:
    """The widgets of MAI Prompt List."""

    file: str
    text: str
    template: str
    start: int
    rows: int


ListReader = Callable[[ListSettings], Selection]
"""Reads a list; InputError where it can't."""


@dataclass(frozen=True)
class Buyer:
    """The settings of the node that buys. `kind` is "generate" or "edit", "" where there is none;
    None is known only when the graph runs. `taken` are the inputs that the list gives."""

    kind: str
    model: str
    prompt: str | None
    width: int | None
    height: int | None
    seed: int | None
    batch_size: int
    profile: str | None
    auto_aspect_ratio: bool
    web_grounding: bool
    background: str
    taken: frozenset[str]

    def at(self, row: Row) -> Buyer:
        """The same with what the list gives for a row."""
        width, height = row.size or SQUARE
        values = {"prompt": row.prompts[0], "width": width, "height": height, "seed": row.seed}
        given = {name: value for name, value in values.items() if name in self.taken}
        return replace(self, **given)  # type: ignore[arg-type]

    def quote(self) -> dict[str, Any]:
        """The price of one image: `prices.quote`."""
        return quote(
            self.kind,
            self.model,
            self.width,
            self.height,
            auto_aspect_ratio=self.auto_aspect_ratio,
            web_grounding=self.web_grounding,
            background=self.background,
        )

    def free_images(self, is_free: IsFree | None) -> int | None:
        """How many of its images cost nothing; None where that isn't known before the run."""
        values = (self.prompt, self.width, self.height, self.seed, self.profile)
        if is_free is None or self.kind != "generate" or None in values:
            return None
        asked = Generate(
            self.model,
            self.prompt or "",
            self.width or 0,
            self.height or 0,
            self.seed or 0,
            self.auto_aspect_ratio,
            self.web_grounding,
            self.background,
        )
        try:
            return sum(
                is_free(replace(asked, seed=asked.seed + i), self.profile or "")
                for i in range(self.batch_size)
            )
        except MaiError:
            return None


def no_lists(settings: ListSettings) -> Selection:
    """Where nobody reads lists."""
    raise InputError("Lists can't be read here.", "")


def parse_question(body: bytes) -> tuple[ListSettings, Buyer]:
    """A page's question: {"list": {…}, "buyer": {…}}. InputError: it is something else."""
    try:
        asked = json.loads(body)
        settings, buyer = asked["list"], asked.get("buyer") or {}
        found = ListSettings(
            file=_text(settings["file"]),
            text=_text(settings["text"]),
            template=_text(settings["template"]),
            start=_number(settings["start"], 1, 10_000_000),
            rows=_number(settings["rows"], 1, 64),
        )
        return found, _buyer(buyer)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError("A question on a list names the list and who buys it.", "") from None


def _buyer(said: Mapping[str, Any]) -> Buyer:
    def side(name: str, most: int = MAX_SIDE) -> int | None:
        return None if said.get(name) is None else _number(said[name], 0, most)

    def text(name: str) -> str | None:
        return None if said.get(name) is None else _text(said[name])

    return Buyer(
        kind=text("kind") or "",
        model=text("model") or "",
        prompt=text("prompt"),
        width=side("width"),
        height=side("height"),
        seed=side("seed", 2**64 - 1),
        batch_size=_number(said.get("batch_size") or 1, 1, 64),
        profile=text("profile"),
        auto_aspect_ratio=said.get("auto_aspect_ratio") is True,
        web_grounding=said.get("web_grounding") is True,
        background=text("background") or OPAQUE,
        taken=frozenset(_text(each) for each in said.get("taken", ())),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object, least: int, most: int) -> int:
    if not isinstance(value, (int, float)) or not least <= value <= most:
        raise TypeError
    return int(value)


def describe_list(chosen: Selection, buyer: Buyer, is_free: IsFree | None) -> dict[str, object]:
    """A quote as `prices.quote` gives it, for all rows of a run together.

    `usd` is the price of one image, None where rows differ; `sum` is the USD of those `to_buy`,
    `free` how many others of all `images` cost nothing, None where that isn't known, and `full` the
    USD if none did. `mistakes` are [line,
    sentence], the first ones of `mistake_count`; `total` and `left` are rows of the list.
    """
    facts: dict[str, object] = {
        "start": chosen.start,
        "rows": len(chosen.rows),
        "total": chosen.total,
        "left": chosen.left,
        "mistakes": [[each.line, each.what] for each in chosen.mistakes[:SHOWN]],
        "mistake_count": len(chosen.mistakes),
        "unread": list(chosen.unread),
    }
    if not buyer.kind or not chosen.rows:
        return facts
    return {**facts, **_prices(chosen, buyer, is_free)}


def _prices(chosen: Selection, buyer: Buyer, is_free: IsFree | None) -> dict[str, object]:
    images = len(chosen.rows) * buyer.batch_size
    is_free = is_free if images <= MOST_LOOKED_UP else None
    quotes: dict[tuple[int | None, int | None], dict[str, Any]] = {}
    problems: list[str] = []
    total, full, free = 0.0, 0.0, 0 if is_free else None
    for row in chosen.rows:
        one = buyer.at(row)
        size = (one.width, one.height)
        if size not in quotes:
            quotes[size] = one.quote()
            problems += [f"line {row.line}: {each}" for each in quotes[size]["problems"]]
        stored = one.free_images(is_free)
        free = None if free is None or stored is None else free + stored
        price = round(quotes[size]["usd"] or 0.0, 3)
        total += price * (buyer.batch_size - (stored or 0))
        full += price * buyer.batch_size
    first = next(iter(quotes.values()))
    prices = {each["usd"] for each in quotes.values()}
    bounds = {each["bound"] for each in quotes.values()}
    return {
        **first,
        "usd": first["usd"] if len(prices) == 1 else None,
        "bound": first["bound"] if len(bounds) == 1 else "about",
        "problems": problems[:SHOWN] if len(quotes) > 1 else first["problems"],
        "nearest": None,
        "images": images,
        "sum": round(total, 6),
        "full": round(full, 6),
        "to_buy": images - (free or 0),
        "free": free,
    }
