"""How the ledger's file is laid out.

`counted_nano` is what a row adds to the sums, in nano-dollars: 0 while it is in flight (`outcome`
is NULL then), its cost or estimate after. `day` is the local calendar's when it was opened.
`out` is 1 while the call may be at the service. `recovered` marks a row that another process
closed, believing its owner dead.
"""

from __future__ import annotations

from ..disk import Schema

SCHEMA = Schema(
    name="The ledger",
    version=1,
    statements=(
        "CREATE TABLE calls (id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " opened_at REAL NOT NULL, day TEXT NOT NULL, closed_at REAL, outcome TEXT,"
        " key TEXT NOT NULL, profile TEXT NOT NULL, service TEXT NOT NULL, model TEXT NOT NULL,"
        " kind TEXT NOT NULL, deployment TEXT, out INTEGER NOT NULL,"
        " estimate_usd REAL NOT NULL, cost_usd REAL,"
        " text_in INTEGER, image_in INTEGER, image_out INTEGER, request_id TEXT, job_id TEXT,"
        " status INTEGER, code TEXT, machine TEXT NOT NULL, pid INTEGER NOT NULL,"
        " started TEXT NOT NULL, estimate_nano INTEGER NOT NULL,"
        " counted_nano INTEGER NOT NULL DEFAULT 0, counted_calls INTEGER NOT NULL DEFAULT 0,"
        " recovered INTEGER NOT NULL DEFAULT 0)",
        "CREATE INDEX in_flight ON calls (key) WHERE outcome IS NULL",
        "CREATE INDEX uncertain ON calls (id) WHERE outcome = 'perhaps billed'",
        "CREATE TABLE days (profile TEXT NOT NULL, day TEXT NOT NULL, model TEXT NOT NULL,"
        " nano INTEGER NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (profile, day, model))"
        " WITHOUT ROWID",
        "CREATE TRIGGER counted AFTER UPDATE OF counted_nano, counted_calls ON calls BEGIN"
        " INSERT INTO days VALUES (NEW.profile, NEW.day, NEW.model,"
        " NEW.counted_nano - OLD.counted_nano, NEW.counted_calls - OLD.counted_calls)"
        " ON CONFLICT (profile, day, model) DO UPDATE SET"
        " nano = nano + excluded.nano, calls = calls + excluded.calls; END",
    ),
    full_sync=True,
    if_damaged="Nothing was sent, as budgets can't be checked without it. Stop every ComfyUI that "
    "uses this folder, then restore the file from a backup, or repair it (sqlite3 FILE .recover), "
    "or rename it: a new ledger starts then, and its budgets start from zero.",
)
