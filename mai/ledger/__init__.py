"""Every call, what it cost, and whether a budget allows one more.

The pipeline writes each call down before it is sent (`Ledger.open` with a `NewCall` and a budget),
marks it sent, and closes it with its `Outcome`. A call of a service with job ids can be found again
as an `OpenJob`. `Spend` holds the sums, as `Sum` and `Periods`, and lists the calls that were
`PerhapsBilled`. Money is summed in whole nano-dollars: `nano` makes them, `usd` writes them.
"""

from __future__ import annotations

from .budgets import nano, usd
from .ledger import Ledger, NewCall, OpenJob, Outcome
from .spend import PerhapsBilled, Periods, Spend, Sum

__all__ = [
    "Ledger",
    "NewCall",
    "OpenJob",
    "Outcome",
    "PerhapsBilled",
    "Periods",
    "Spend",
    "Sum",
    "nano",
    "usd",
]
