"""TODO."""

from __future__ import annotations

from .budgets import nano, usd
from .ledger import Call, Job, Ledger, Outcome
from .ledger_schema import SCHEMA
from .spend import PerhapsBilled, Periods, Spend, Sum

__all__ = [
    "SCHEMA",
    "Call",
    "Job",
    "Ledger",
    "Outcome",
    "PerhapsBilled",
    "Periods",
    "Spend",
    "Sum",
    "nano",
    "usd",
]
