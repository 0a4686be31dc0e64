"""What the store's index knows of an image besides its size, to find it by prompt, model and date.

Every image gets its row when it is kept. A store whose index is new, or of a version before this
one, is described from the sidecars bit by bit, the newest first, by whoever searches it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

TABLES = (
    "CREATE TABLE details (kept INTEGER PRIMARY KEY, arrived INTEGER NOT NULL,"
    " model TEXT NOT NULL, profile TEXT NOT NULL, prompt TEXT NOT NULL)",
    "CREATE INDEX by_model ON details (model)",
    "CREATE TRIGGER details_removed AFTER DELETE ON images BEGIN"
    " DELETE FROM details WHERE kept = OLD.kept; END",
    "CREATE TRIGGER details_moved AFTER UPDATE OF kept ON images BEGIN"
    " DELETE FROM details WHERE kept = OLD.kept; END",
    "ALTER TABLE facts ADD COLUMN undescribed INTEGER NOT NULL DEFAULT 0",
    "UPDATE facts SET undescribed = (SELECT coalesce(max(kept) + 1, 0) FROM images)",
)
"""`kept` is the image's number in the table `images`, `arrived` in seconds since 1970, `prompt` is
folded for comparison and empty where it isn't kept. Images whose number is below `undescribed` have
no row yet."""

LONGEST_PROMPT = 20_000
"""Characters of a prompt that can be searched; a longer one is found by its beginning."""


@dataclass(frozen=True, slots=True)
class Details:
    """What an image can be found by."""

    arrived: int = 0
    model: str = ""
    profile: str = ""
    prompt: str = ""

    @classmethod
    def of(cls, sidecar: dict[str, Any]) -> Details:
        """Those of a valid sidecar."""
        try:
            arrived = int(datetime.fromisoformat(sidecar["arrived_at"]).timestamp())
        except (ValueError, OverflowError, OSError):
            arrived = 0
        prompt = _fold(sidecar.get("prompt", ""))[:LONGEST_PROMPT]
        return cls(arrived, sidecar["model"], sidecar["profile"], prompt)


@dataclass(frozen=True, slots=True)
class Search:
    """Which images are wanted; what is left out allows all of them.

    Each of `words` stands in the prompt or in the model's name. `since` and `until` are seconds
    since 1970, the latter not included. `profile` is whose images alone, `but_profile` whose not.
    Prompts of the profiles in `unread` aren't looked at, and none at all without `prompts`.
    """

    words: tuple[str, ...] = ()
    model: str | None = None
    since: int | None = None
    until: int | None = None
    profile: str | None = None
    but_profile: str | None = None
    prompts: bool = True
    unread: frozenset[str] = frozenset()

    @property
    def wants_all(self) -> bool:
        """Whether every image is wanted, so that no details are needed."""
        sought = (self.model, self.since, self.until, self.profile, self.but_profile)
        return not self.words and all(each is None for each in sought)


@dataclass(frozen=True, slots=True)
class Found:
    """One page of images: their sidecars, the newest first.

    `after` is where the next page begins, None at the end. `undescribed` are images of a new index
    that can't be found yet: searching again goes on with them.
    """

    sidecars: list[dict[str, Any]] = field(default_factory=list)
    after: int | None = None
    undescribed: int = 0


def add_details(sql: sqlite3.Connection, key: str, details: Details) -> None:
    """Describe an image that is in the index; nothing where it no longer is."""
    sql.execute(
        "INSERT OR REPLACE INTO details SELECT kept, ?, ?, ?, ? FROM images WHERE key = ?",
        (details.arrived, details.model, details.profile, details.prompt, key),
    )


def find_images(
    sql: sqlite3.Connection, wanted: Search, count: int, before: int | None
) -> list[tuple[int, str]]:
    """(number, key) of described images with a number below `before`, the newest first."""
    conditions, values = _conditions(wanted, before)
    return sql.execute(
        "SELECT details.kept, images.key FROM details CROSS JOIN images"
        " ON images.kept = details.kept"
        f" WHERE {' AND '.join(conditions)} ORDER BY details.kept DESC LIMIT ?",
        (*values, count),
    ).fetchall()


def models_found(sql: sqlite3.Connection) -> list[str]:
    """Every model that an image is of, by name; as quick with 100,000 images as with 10."""
    rows = sql.execute(
        "WITH RECURSIVE each(model) AS (SELECT min(model) FROM details UNION ALL"
        " SELECT (SELECT min(model) FROM details WHERE model > each.model) FROM each"
        " WHERE each.model IS NOT NULL) SELECT model FROM each WHERE model IS NOT NULL"
    )
    return [model for (model,) in rows]


def undescribed_images(sql: sqlite3.Connection, count: int) -> list[tuple[int, str]]:
    """(number, key) of images that have no details yet, the newest first."""
    return sql.execute(
        "SELECT kept, key FROM images WHERE kept < (SELECT undescribed FROM facts)"
        " ORDER BY kept DESC LIMIT ?",
        (count,),
    ).fetchall()


def count_undescribed(sql: sqlite3.Connection) -> int:
    """How many images have no details yet."""
    row = sql.execute(
        "SELECT count(*) FROM images WHERE kept < (SELECT undescribed FROM facts)"
    ).fetchone()
    return int(row[0])


def set_described(sql: sqlite3.Connection, down_to: int) -> None:
    """All images from that number on have their details."""
    sql.execute("UPDATE facts SET undescribed = min(undescribed, ?)", (down_to,))


def _conditions(wanted: Search, before: int | None) -> tuple[list[str], list[object]]:
    """The conditions of a query and the values of their question marks."""
    conditions, values = ["1"], []
    sought: Sequence[tuple[str, object]] = (
        ("details.kept < ?", before),
        ("model = ?", wanted.model),
        ("arrived >= ?", wanted.since),
        ("arrived < ?", wanted.until),
        ("profile = ?", wanted.profile),
        ("profile <> ?", wanted.but_profile),
    )
    for condition, value in sought:
        if value is not None:
            conditions.append(condition)
            values.append(value)
    readable = "1" if wanted.prompts else "0"
    marks = ", ".join("?" for _ in wanted.unread)
    if marks:
        readable += f" AND profile NOT IN ({marks})"
    # The longest first: it is the rarest, and the others are then looked for in fewer prompts.
    for word in sorted(map(_fold, wanted.words), key=len, reverse=True):
        conditions.append(f"(instr(lower(model), ?) > 0 OR (instr(prompt, ?) > 0 AND {readable}))")
        values += [word, word, *wanted.unread]
    return conditions, values


def _fold(text: str) -> str:
    """A text as it is compared; a character that no file can hold becomes a question mark."""
    return text.casefold().encode("utf-8", "replace").decode("utf-8")
