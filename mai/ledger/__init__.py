"""TODO."""

from __future__ import annotations

from .budgets import nano, usd
from .ledger import Job, Ledger, NewCall, Outcome
from .ledger_schema import SCHEMA
from .spend import PerhapsBilled, Periods, Spend, Sum

__all__ = [
    "SCHEMA",
    "Job",
    "Ledger",
    "NewCall",
    "Outcome",
    "PerhapsBilled",
    "Periods",
    "Spend",
    "Sum",
    "nano",
    "usd",
]
