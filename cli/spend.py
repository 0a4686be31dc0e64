"""`mai-image spend`: what was spent, and which calls were perhaps billed."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

from ..mai.ledger import Periods, Spend, Sum
from .command import open_client

MOST_LISTED = 10
"""How many perhaps-billed calls are listed; the CSV has them all."""


def add_spend_options(parser: argparse.ArgumentParser) -> None:
    """The profile and the CSV file."""
    parser.add_argument("--profile", help="only this profile")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every call to a CSV file")


def run_spend(arguments: argparse.Namespace) -> int:
    """Print the ledger's sums, or write its calls to a CSV file."""
    with open_client(arguments) as client:
        if arguments.csv:
            with arguments.csv.open("w", newline="", encoding="utf-8") as stream:
                count = client.ledger.export_csv(stream)
            print(f"{count} calls written to {arguments.csv}")
        else:
            print("\n".join(_lines(client.ledger.spend(arguments.profile))))
    return 0


def _lines(spend: Spend) -> list[str]:
    lines = [
        f"today       {_amount(spend.today)}",
        f"this month  {_amount(spend.month)}",
        f"ever        {_amount(spend.total)}",
    ]
    if spend.in_flight.calls:
        lines.append(f"in flight   {_amount(spend.in_flight)}, estimated")
    return [
        *lines,
        *_table("model", spend.by_model),
        *_table("profile", spend.by_profile),
        *_perhaps_billed(spend),
    ]


def _amount(total: Sum) -> str:
    return f"${total.usd:9.4f}  {total.calls:5d} call{'s' * (total.calls != 1)}"


def _table(title: str, rows: Mapping[str, Periods]) -> list[str]:
    if not rows:
        return []
    width = max(len(title), *(len(name) for name in rows))
    lines = ["", f"{title:{width}}      today      month       ever"]
    for name, row in sorted(rows.items()):
        amounts = (row.today.usd, row.month.usd, row.total.usd)
        lines.append(f"{name:{width}} " + " ".join(f"{usd:10.4f}" for usd in amounts))
    return lines


def _perhaps_billed(spend: Spend) -> list[str]:
    calls = spend.perhaps_billed
    if not calls:
        return []
    lines = ["", f"perhaps billed ({len(calls)}), counted by their estimates:"]
    for call in calls[:MOST_LISTED]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(call.opened_at))
        status = f"HTTP {call.status}" if call.status else "no answer"
        lines.append(
            f"  {when}  {call.profile}  {call.model}  ${call.usd:.4f}  {status}  "
            f"request id {call.request_id or 'unknown'}"
        )
    if len(calls) > MOST_LISTED:
        lines.append("  … `mai-image spend --csv FILE` lists all")
    return lines
