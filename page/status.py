"""What the sidebar tab shows of money and calls: sums, budgets, calls under way, doubtful ones."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime

from ..mai.client import Client
from ..mai.errors import ProfileError
from ..mai.ledger import Outcome, PerhapsBilled, Periods, Spend, Sum
from ..mai.profiles import EMULATOR, Profiles
from ..mai.types import Budget

PERHAPS_BILLED = 20
"""The newest of the calls that were perhaps billed; `mai-image spend` lists all."""


def status(client: Client) -> dict[str, object]:
    """All of it as plain values, amounts in USD; blocks on the ledger. Raises StoreError.

    It holds names of profiles and models, and no prompt, endpoint, credential or path.
    """
    # What the emulator drew costs nothing: it would only hide how many calls were paid for.
    spend = client.ledger.spend(but_profile=EMULATOR)
    emulated = client.ledger.spend(EMULATOR)
    doubtful = spend.perhaps_billed
    # Of machines that share a ledger the sums are the studio's.
    here = client.ledger.spend_here(but_profile=EMULATOR) if client.ledger.shared else None
    return {
        "now": time.time(),
        "today": _sum(spend.today),
        "month": _sum(spend.month),
        "here": here and {"today": _sum(here[0]), "month": _sum(here[1])},
        "models": [
            {"model": model, "today": _sum(sums.today), "month": _sum(sums.month)}
            for model, sums in spend.by_model.items()
            if sums.month.calls
        ],
        "profiles": _profiles(client.profiles, spend),
        "calls": [asdict(call) for call in client.in_flight()],
        "in_flight": _sum(spend.in_flight),
        "emulated": {"today": _sum(emulated.today), "month": _sum(emulated.month)},
        "account": client.profiles.names() != [EMULATOR],
        "spent": _sum(spend.spent.month),
        "blocked": _sum(spend.blocked.month),
        "lost": _sum(spend.lost.month),
        "perhaps_billed": [_perhaps(call) for call in doubtful[:PERHAPS_BILLED]],
        "perhaps_billed_count": len(doubtful),
    }


def _sum(amount: Sum) -> dict[str, object]:
    return {"usd": round(amount.usd, 6), "calls": amount.calls}


def _profiles(profiles: Profiles, spend: Spend) -> list[dict[str, object]]:
    """Every profile that spent something this month or has a budget.

    `known` is false for a name that only the ledger knows: its profile is gone, and what it spent
    counts in the sums. It has no budget: "default", which stands for the first profile where none
    has that name, would show that one's a second time.
    """
    known = profiles.names()
    rows: list[dict[str, object]] = []
    for name in dict.fromkeys([*known, *spend.by_profile]):
        sums = spend.by_profile.get(name, Periods())
        budget = _budget(profiles, name) if name in known else Budget()
        if sums.month.calls or budget != Budget():
            row: dict[str, object] = {"profile": name, "known": name in known}
            row |= {"today": _sum(sums.today), "month": _sum(sums.month)}
            row |= {"day_budget": budget.day, "month_budget": budget.month}
            rows.append(row)
    return rows


def _budget(profiles: Profiles, name: str) -> Budget:
    """The profile's budget; none for a mistaken profile."""
    try:
        return profiles.get(name).budget
    except ProfileError:
        return Budget()


def _perhaps(call: PerhapsBilled) -> dict[str, object]:
    return {
        "call": call.row,
        "at": datetime.fromtimestamp(call.opened_at).astimezone().isoformat(timespec="seconds"),
        "profile": call.profile,
        "model": call.model,
        "usd": round(call.usd, 6),
        "request_id": call.request_id,
        "status": call.status,
        "code": call.code,
        "blocked": call.outcome == Outcome.BLOCKED,
    }
