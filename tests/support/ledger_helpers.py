"""What the ledger's tests share: calls to write down, a clock to set, processes to kill."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import sqlalchemy
from mai_image.mai.database import DatabaseServer, database_at
from mai_image.mai.ledger import Ledger, NewCall, Outcome
from mai_image.mai.ledger.tables import SCHEMA
from mai_image.mai.types import Budget

KEY = "a" * 64
FREE = Budget()
NOON = 1_794_225_600.0
"""A day in the middle of a month, in every time zone."""

DAY = 86_400.0
DELIVERED, REFUSED, BLOCKED = Outcome.DELIVERED, Outcome.REFUSED, Outcome.BLOCKED
PERHAPS, WITHDRAWN = Outcome.PERHAPS_BILLED, Outcome.WITHDRAWN
NOT_KEPT = Outcome.NOT_KEPT


def call(
    estimate: float = 0.04, profile: str = "work", key: str = KEY, model: str = "m"
) -> NewCall:
    return NewCall(key, profile, "foundry", model, "generate", estimate)


def sent(ledger: Ledger, estimate: float = 0.04, key: str = KEY) -> str:
    """The token of a call that may be at the service."""
    row = ledger.open(call(estimate, key=key), FREE)
    ledger.mark_sent(row)
    return row


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def only(ledger: Ledger) -> dict[str, object]:
    """The one row that there is."""
    (row,) = ledger.rows()
    return row


def where_is(place: str) -> Path | DatabaseServer:
    """A file's path, or the server at a URL."""
    return DatabaseServer(place) if "://" in place else Path(place)


def ledger_at(place: str, *arguments: Any, **options: Any) -> Ledger:
    """The ledger in the file, or in the database, at `place`."""
    return Ledger(where_is(place), *arguments, **options)


def run_sql(place: str, statement: str, **values: object) -> None:
    """Changes what a ledger holds, past the ledger."""
    with database_at(where_is(place), SCHEMA).transaction() as sql:
        sql.execute(sqlalchemy.text(statement), values)


HEAD = """
import sys, time
from pathlib import Path
from mai_image.mai.database import DatabaseServer
from mai_image.mai.errors import BudgetError
from mai_image.mai.ledger import Ledger, NewCall, Outcome
from mai_image.mai.types import Budget
place = sys.argv[1]
ledger = Ledger(DatabaseServer(place) if "://" in place else Path(place))
def opened(estimate=0.04, key="a" * 64, budget=Budget()):
    return ledger.open(NewCall(key, "work", "foundry", "m", "generate", estimate), budget)
def sent(estimate=0.04, key="a" * 64):
    row = opened(estimate, key)
    ledger.mark_sent(row)
    return row
"""


def child(body: str, place: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own with a ledger; it prints, and waits for a line where it says input()."""
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + textwrap.dedent(body), place, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def lines_of(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def say(process: subprocess.Popen[str]) -> None:
    """Let a process go on that waits for a line."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=30)
