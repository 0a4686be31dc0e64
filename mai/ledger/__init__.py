"""Every call, what it cost, and whether a budget allows one more.

The pipeline writes each call down before it is sent (`Ledger.open` with a `NewCall` and a budget),
marks it sent, and closes it with its `Outcome`; those in DOUBTFUL were perhaps billed. Whoever
waited for such a call of another process gets LostElsewhere with that `EndedCall`; a call of a
service with job ids can be found again as an `OpenJob`. While calls are in flight,
`Ledger.keep_alive` is called every BEAT_SECONDS. The ledger is a file, or lies on the server that a
studio's machines share: what can't be booked while that is gone is kept, and booked later. `Spend`
holds the sums, as `Sum` and `Periods`, and lists the calls that were `PerhapsBilled`; a `Share` is
what one of SHARES took. Money is summed in whole nano-dollars: `nano` makes them, `usd` writes
them.
"""

from __future__ import annotations

from .budgets import nano, usd
from .ledger import EndedCall, Ledger, LostElsewhere, NewCall, OpenJob, SharedBefore
from .owners import BEAT_SECONDS
from .push import PushedCalls
from .spend import SHARES, PerhapsBilled, Periods, Share, Spend, Sum, write_shares_csv
from .tables import DOUBTFUL, ImagePlace, Outcome

__all__ = [
    "BEAT_SECONDS",
    "DOUBTFUL",
    "SHARES",
    "EndedCall",
    "ImagePlace",
    "Ledger",
    "LostElsewhere",
    "NewCall",
    "OpenJob",
    "Outcome",
    "PerhapsBilled",
    "Periods",
    "PushedCalls",
    "Share",
    "SharedBefore",
    "Spend",
    "Sum",
    "nano",
    "usd",
    "write_shares_csv",
]
