"""What was bought and what was spent, as lines for a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ..mai.ledger import Periods, Spend, Sum
from ..mai.types import Progress, Result

_SHOWN = 10
"""How many perhaps-billed calls are listed; the CSV has them all."""


def render(spend: Spend) -> str:
    """Today, this month, by model and profile, in flight, and what is perhaps billed."""
    lines = [
        f"today       {_sum(spend.today)}",
        f"this month  {_sum(spend.month)}",
        f"ever        {_sum(spend.total)}",
    ]
    if spend.in_flight.calls:
        lines.append(f"in flight   {_sum(spend.in_flight)}, estimated")
    lines += _table("model", spend.by_model) + _table("profile", spend.by_profile)
    return "\n".join(lines + _perhaps(spend))


def _sum(total: Sum) -> str:
    return f"${total.usd:9.4f}  {total.calls:5d} call{'s' * (total.calls != 1)}"


def _table(title: str, rows: Mapping[str, Periods]) -> list[str]:
    if not rows:
        return []
    width = max(len(title), *(len(name) for name in rows))
    head = f"{title:{width}}      today      month       ever"
    return [
        "",
        head,
        *(
            f"{name:{width}} {row.today.usd:10.4f} {row.month.usd:10.4f} {row.total.usd:10.4f}"
            for name, row in sorted(rows.items())
        ),
    ]


def _perhaps(spend: Spend) -> list[str]:
    if not spend.perhaps_billed:
        return []
    lines = ["", f"perhaps billed ({len(spend.perhaps_billed)}), counted by their estimates:"]
    for call in spend.perhaps_billed[:_SHOWN]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(call.opened_at))
        status = f"HTTP {call.status}" if call.status else "no answer"
        lines.append(
            f"  {when}  {call.profile}  {call.model}  ${call.usd:.4f}  {status}  "
            f"request id {call.request_id or 'unknown'}"
        )
    if len(spend.perhaps_billed) > _SHOWN:
        lines.append("  … `mai-image spend --csv FILE` lists all")
    return lines


def bought(path: Path, result: Result) -> str:
    """One image: where it is, its size and price, and what is to be said of it."""
    cost = "free, from the store" if result.from_store else f"${result.cost_usd or 0:.4f}"
    notes = "".join(f"\n  {note}" for note in result.notes)
    return f"{path}  {result.width} x {result.height}  {cost}{notes}"


def facts(path: Path, result: Result) -> dict[str, object]:
    """The same for programs."""
    known = asdict(result)
    del known["image"]
    return {"path": str(path), **known}


def progress(state: Progress) -> str:
    """What a call is doing now."""
    wait = f" {max(0.0, state.until - time.monotonic()):.0f} s" if state.until else ""
    return f"{state.phase}{wait}" + (f", {state.reason}" if state.reason else "")
