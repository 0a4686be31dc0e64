"""The calls of a ledger that a machine had for itself, brought into the one that it shares now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from ..database import SqlDatabase, repeat_if_rolled_back, upsert
from .tables import CALLS, ImagePlace, add_to_sum

AT_ONCE = 100
"""Rows in one transaction, which a server undoes where it stands still for seconds."""


@dataclass(frozen=True, slots=True)
class PushedCalls:
    """How many calls were brought now, were there already, and are in flight and stay."""

    brought: int = 0
    there: int = 0
    in_flight: int = 0


def push_calls(
    source: SqlDatabase, target: SqlDatabase, buyer: Mapping[str, object], dry_run: bool
) -> PushedCalls:
    """Write all closed calls of `source` into `target`, with what they count.

    A call is known by its token: bringing it again changes nothing. `buyer` is the machine and the
    user of rows that name none.
    """
    brought = there = 0
    for rows in _closed_calls(source):
        new = _new_tokens(target, rows) if dry_run else _take_in(target, rows, buyer)
        brought += len(new)
        there += len(rows) - len(new)
    with source.transaction(read_only=True) as sql:
        query = select(func.count()).select_from(CALLS).where(CALLS.c.outcome.is_(None))
        in_flight = sql.execute(query).scalar_one()
    return PushedCalls(brought, there, in_flight)


def _closed_calls(source: SqlDatabase) -> Iterator[Sequence[Row[Any]]]:
    """All calls that have ended, some at a time, the oldest first."""
    last = 0
    while True:
        page = select(CALLS).where(CALLS.c.outcome.is_not(None) & (CALLS.c.id > last))
        with source.transaction(read_only=True) as sql:
            rows = sql.execute(page.order_by(CALLS.c.id).limit(AT_ONCE)).all()
        if not rows:
            return
        yield rows
        last = rows[-1].id


@repeat_if_rolled_back
def _new_tokens(target: SqlDatabase, rows: Sequence[Row[Any]]) -> set[str]:
    """The tokens that `target` doesn't have."""
    tokens = {row.token for row in rows}
    with target.transaction(read_only=True) as sql:
        known = sql.execute(select(CALLS.c.token).where(CALLS.c.token.in_(tokens)))
        return tokens - set(known.scalars())


@repeat_if_rolled_back
def _take_in(
    target: SqlDatabase, rows: Sequence[Row[Any]], buyer: Mapping[str, object]
) -> set[str]:
    """Write the calls that `target` doesn't have, and their sums; gives their tokens."""
    with target.transaction() as sql:
        statement = upsert(sql, CALLS).values([_as_brought(row, buyer) for row in rows])
        statement = statement.on_conflict_do_nothing(index_elements=["token"])
        new = set(sql.execute(statement.returning(CALLS.c.token)).scalars())
        _count(sql, [row for row in rows if row.token in new])
    return new


def _as_brought(row: Row[Any], buyer: Mapping[str, object]) -> dict[str, object]:
    values = {name: value for name, value in row._mapping.items() if name != "id"}
    named = {name: values[name] or given for name, given in buyer.items()}
    return {**values, **named, "owner": None, "recovered": 0, "image": int(ImagePlace.ALONE)}


def _count(sql: Connection, rows: Sequence[Row[Any]]) -> None:
    """Add up what the rows count, in one order of the sums: no two of us wait in a circle."""
    nano: Counter[tuple[str, str, str, str]] = Counter()
    calls: Counter[tuple[str, str, str, str]] = Counter()
    examples: dict[tuple[str, str, str, str], Row[Any]] = {}
    for row in rows:
        place = (row.profile, row.day, row.model, row.outcome)
        nano[place] += row.counted_nano
        calls[place] += row.counted_calls
        examples[place] = row
    for place, row in sorted(examples.items(), key=lambda item: item[0]):
        add_to_sum(sql, row, row.outcome, nano[place], calls[place])
