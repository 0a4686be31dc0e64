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
            _print_spend(client.ledger.spend(arguments.profile))
    return 0


def _print_spend(spend: Spend) -> None:
    print(f"today       {_amount(spend.today)}")
    print(f"this month  {_amount(spend.month)}")
    print(f"ever        {_amount(spend.total)}")
    if spend.in_flight.calls:
        print(f"in flight   {_amount(spend.in_flight)}, estimated")
    _print_table("model", spend.by_model)
    _print_table("profile", spend.by_profile)
    calls = spend.perhaps_billed
    if calls:
        print(f"\nperhaps billed ({len(calls)}), counted by their estimates:")
    for call in calls[:MOST_LISTED]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(call.opened_at))
        status = f"HTTP {call.status}" if call.status else "no answer"
        print(
            f"  {when}  {call.profile}  {call.model}  ${call.usd:.4f}  {status}  "
            f"request id {call.request_id or 'unknown'}"
        )
    if len(calls) > MOST_LISTED:
        print("  … `mai-image spend --csv FILE` lists all")


def _amount(total: Sum) -> str:
    return f"${total.usd:9.4f}  {total.calls:5d} call{'s' * (total.calls != 1)}"


def _print_table(title: str, rows: Mapping[str, Periods]) -> None:
    if not rows:
        return
    width = max(len(title), *(len(name) for name in rows))
    print(f"\n{title:{width}}      today      month       ever")
    for name, row in sorted(rows.items()):
        amounts = (row.today.usd, row.month.usd, row.total.usd)
        print(f"{name:{width}} " + " ".join(f"{usd:10.4f}" for usd in amounts))
