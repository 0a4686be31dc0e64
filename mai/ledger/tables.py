"""The ledger's tables, in a SQLite file or on a studio's PostgreSQL.

SQLAlchemy Core speaks to both. The file is in WAL mode with synchronous=FULL, as PostgreSQL is by
default: a row is on the disk before its call is sent, so neither `kill -9` nor a power cut can hide
a call that may have been billed.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any

import sqlalchemy
from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, String, Table

from ..database import SERVER_ONLY, Schema, upsert


class Outcome(str, Enum):
    """How a call ended.

    REFUSED is every answer, and every failure, that surely isn't billed; WITHDRAWN is a call that
    was never sent. NOT_KEPT is an image that arrived and that the disk refused. SETTLED_BILLED and
    SETTLED_FREE are what the user found on the invoice.
    """

    DELIVERED = "delivered"
    NOT_KEPT = "delivered, not kept"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    BLOCKED = "blocked, perhaps billed"
    PERHAPS_BILLED = "perhaps billed"
    SETTLED_BILLED = "settled: billed"
    SETTLED_FREE = "settled: free"


FREE = (Outcome.REFUSED, Outcome.WITHDRAWN, Outcome.SETTLED_FREE)
"""Outcomes that count nothing; every other counts the call's cost, or its estimate."""

LOST = (Outcome.PERHAPS_BILLED, Outcome.NOT_KEPT)
"""Outcomes of calls that may be charged and brought nothing that lasts."""

DOUBTFUL = (Outcome.BLOCKED, *LOST)
"""Outcomes that the user can settle by the invoice."""


class ImagePlace(IntEnum):
    """Where the image of a call is, for other machines: on its machine alone, awaited in the store
    that they share, or there."""

    ALONE = 0
    AWAITED = 1
    SHARED = 2


METADATA = MetaData()

_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite counts up by itself in an INTEGER alone, whose numbers have 64 bits there."""

PLACED = sqlalchemy.text("image > 0")
"""Rows whose image other machines await or have: written so, a file uses by_image for it."""

CALLS = Table(
    "calls",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("token", String, nullable=False, unique=True),
    Column("owner", String),
    Column("opened_at", Float, nullable=False),
    Column("day", String, nullable=False),
    Column("closed_at", Float),
    Column("outcome", String),
    Column("key", String, nullable=False),
    Column("profile", String, nullable=False),
    Column("service", String, nullable=False),
    Column("model", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("deployment", String),
    Column("sent", Integer, nullable=False, server_default="0"),
    Column("estimate_usd", Float, nullable=False),
    Column("cost_usd", Float),
    Column("text_in", _NUMBER),
    Column("image_in", _NUMBER),
    Column("image_out", _NUMBER),
    Column("request_id", String),
    Column("job_id", String),
    Column("status", Integer),
    Column("code", String),
    Column("estimate_nano", BigInteger, nullable=False),
    Column("counted_nano", BigInteger, nullable=False, server_default="0"),
    Column("counted_calls", Integer, nullable=False, server_default="0"),
    Column("recovered", Integer, nullable=False, server_default="0"),
    Column("machine", String),
    Column("user", String),
    Column("image", Integer, nullable=False, server_default="0"),
    Index("by_outcome", "outcome"),
    Index("by_image", "key", sqlite_where=PLACED, postgresql_where=PLACED),
    Index("by_machine", "machine", "day"),
    sqlite_autoincrement=True,
)
"""One row a call. `token` names it for ever: `id` begins anew when the file is replaced. `owner` is
the program start that finishes it, NULL when a job waits for whoever takes it up. `outcome` is NULL
while the call is in flight. `sent` is 1 while it may be at the service. `counted_nano` is what the
row adds to SUMS, in nano-dollars: 0 while in flight, its cost or estimate after. `recovered` marks
a row that another process closed, as its owner was dead. `machine` and `user` say who bought, NULL
in rows of before version 3. `image` is an `ImagePlace`; by_image finds those that other machines
await or have. The index by_outcome finds the few calls that are in flight, and those that were
perhaps billed; by_machine what one machine of a studio bought."""

SUMS = Table(
    "sums",
    METADATA,
    Column("profile", String, primary_key=True),
    Column("day", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("outcome", String, primary_key=True),
    Column("nano", BigInteger, nullable=False),
    Column("calls", Integer, nullable=False),
)
"""What closed calls add up to, so that a budget is checked at the same cost with 100 calls and with
100,000. Kept by the ledger in the transaction that closes a call."""

OWNERS = Table(
    "owners",
    METADATA,
    Column("token", String, primary_key=True),
    Column("machine", String, nullable=False),
    Column("boot", String, nullable=False),
    Column("pid_namespace", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", String, nullable=False),
    Column("beat", _NUMBER, nullable=False),
)
"""Program starts that have calls in flight. In a file `beat` is a counter that grows every few
seconds as long as one lives; on a server it is STUDIO_CLOCK's time at its last sign of life."""

STUDIO_CLOCK = Table(
    "studio_clock",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("looked_at", Float, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    info={SERVER_ONLY: True},
)
"""One row: a clock by the server's time that stands still while nobody reaches the server."""

_TABLES_OF_VERSION_2 = (
    "CREATE TABLE calls (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, token VARCHAR NOT NULL,"
    " owner VARCHAR, opened_at FLOAT NOT NULL, day VARCHAR NOT NULL, closed_at FLOAT,"
    ' outcome VARCHAR, "key" VARCHAR NOT NULL, profile VARCHAR NOT NULL, service VARCHAR NOT NULL,'
    " model VARCHAR NOT NULL, kind VARCHAR NOT NULL, deployment VARCHAR,"
    " sent INTEGER DEFAULT '0' NOT NULL, estimate_usd FLOAT NOT NULL, cost_usd FLOAT,"
    " text_in INTEGER, image_in INTEGER, image_out INTEGER, request_id VARCHAR, job_id VARCHAR,"
    " status INTEGER, code VARCHAR, estimate_nano BIGINT NOT NULL,"
    " counted_nano BIGINT DEFAULT '0' NOT NULL, counted_calls INTEGER DEFAULT '0' NOT NULL,"
    " recovered INTEGER DEFAULT '0' NOT NULL, UNIQUE (token))",
    "CREATE TABLE sums (profile VARCHAR NOT NULL, day VARCHAR NOT NULL, model VARCHAR NOT NULL,"
    " outcome VARCHAR NOT NULL, nano BIGINT NOT NULL, calls INTEGER NOT NULL,"
    " PRIMARY KEY (profile, day, model, outcome))",
    "CREATE TABLE owners (token VARCHAR NOT NULL, machine VARCHAR NOT NULL, boot VARCHAR NOT NULL,"
    " pid_namespace VARCHAR NOT NULL, pid INTEGER NOT NULL, started VARCHAR NOT NULL,"
    " beat INTEGER NOT NULL, PRIMARY KEY (token))",
    "CREATE INDEX by_outcome ON calls (outcome)",
)

_KEPT_COLUMNS = (
    "id, opened_at, day, closed_at, outcome, key, profile, service, model, kind, deployment,"
    " estimate_usd, cost_usd, text_in, image_in, image_out, request_id, job_id, status, code,"
    " estimate_nano, counted_nano, counted_calls, recovered"
)

_FROM_VERSION_1 = (
    "DROP TRIGGER counted",
    "DROP INDEX in_flight",
    "DROP TABLE days",
    "ALTER TABLE calls RENAME TO calls_of_version_1",
    *_TABLES_OF_VERSION_2,
    f"INSERT INTO calls ({_KEPT_COLUMNS}, sent, token, owner)"
    f" SELECT {_KEPT_COLUMNS}, out, lower(hex(randomblob(16))),"
    " CASE WHEN pid > 0 THEN machine || '/' || pid || '/' || started END FROM calls_of_version_1",
    "INSERT INTO owners SELECT DISTINCT machine || '/' || pid || '/' || started, machine,"
    " substr(started, instr(started, '@') + 1), '', pid, started, 0"
    " FROM calls_of_version_1 WHERE outcome IS NULL AND pid > 0",
    "DROP TABLE calls_of_version_1",
    "INSERT INTO sums SELECT profile, day, model, outcome, sum(counted_nano), sum(counted_calls)"
    " FROM calls WHERE counted_calls OR counted_nano GROUP BY 1, 2, 3, 4",
)
"""Version 1 (pack 0.1) knew an owner by machine, pid and start, and summed by a trigger, which
would count twice what the ledger counts now."""

_FROM_VERSION_2 = (
    "ALTER TABLE calls ADD COLUMN machine VARCHAR",
    'ALTER TABLE calls ADD COLUMN "user" VARCHAR',
    "ALTER TABLE calls ADD COLUMN image INTEGER DEFAULT '0' NOT NULL",
    'CREATE INDEX by_image ON calls ("key") WHERE image = 1',
    "CREATE INDEX by_machine ON calls (machine, day)",
)
"""Version 2 didn't say who bought, and knew no shared images."""

_FROM_VERSION_3 = (
    "DROP INDEX by_image",
    'CREATE INDEX by_image ON calls ("key") WHERE image > 0',
)
"""Version 3 found no shared image by its key, only those that were awaited."""

SCHEMA = Schema(
    name="The ledger",
    version=4,
    tables=METADATA,
    part="ledger",
    upgrades={1: _FROM_VERSION_1, 2: _FROM_VERSION_2, 3: _FROM_VERSION_3},
    server_upgrades={3: _FROM_VERSION_3},
    synchronous="FULL",
    if_damaged="Nothing was sent, as budgets can't be checked without it. Stop every ComfyUI that "
    "uses this folder, then restore the file from a backup, or repair it (sqlite3 FILE .recover), "
    "or rename it: a new ledger starts then, and its budgets start from zero.",
)


def add_to_sum(
    sql: sqlalchemy.Connection,
    call: Any,
    outcome: str | None,
    nano: int,
    calls: int,
) -> None:
    """Add to the sum of a call's profile, day and model, under how the call ended."""
    if outcome is None or not (nano or calls):
        return
    row = {"profile": call.profile, "day": call.day, "model": call.model, "outcome": outcome}
    insert = upsert(sql, SUMS).values(**row, nano=nano, calls=calls)
    sql.execute(
        insert.on_conflict_do_update(
            index_elements=list(SUMS.primary_key),
            set_={
                "nano": SUMS.c.nano + insert.excluded.nano,
                "calls": SUMS.c.calls + insert.excluded.calls,
            },
        )
    )
