"""`mai-image spend`: what was spent, which calls were perhaps billed, and what the invoice says."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..mai.errors import InputError
from ..mai.ledger import Ledger, PerhapsBilled, Periods, Spend, Sum
from .command import open_client

MOST_LISTED = 10
"""How many perhaps-billed calls are listed; --doubtful lists them all."""


def add_spend_options(parser: argparse.ArgumentParser) -> None:
    """The profile, the CSV file, and what settles a doubtful call."""
    parser.add_argument("--profile", help="only this profile")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--csv", type=Path, metavar="FILE", help="write every call to a CSV file")
    instead.add_argument(
        "--doubtful",
        action="store_true",
        help="list every call that was perhaps billed, with its request id, to compare with the "
        "invoice",
    )
    instead.add_argument(
        "--settle",
        nargs=2,
        metavar=("NUMBER", "billed|free"),
        help="close a doubtful call by hand, as the invoice says",
    )


def run_spend(arguments: argparse.Namespace) -> int:
    """Print the ledger's sums or its doubtful calls, settle one, or write all to a CSV file."""
    with open_client(arguments) as client:
        ledger = client.ledger
        if arguments.csv:
            with arguments.csv.open("w", newline="", encoding="utf-8") as stream:
                count = ledger.export_csv(stream)
            print(f"{count} calls written to {arguments.csv}")
        elif arguments.settle:
            _settle(ledger, *arguments.settle)
        elif arguments.doubtful:
            _print_doubtful(ledger.doubtful(arguments.profile))
        else:
            _print_spend(ledger.spend(arguments.profile))
    return 0


def _settle(ledger: Ledger, number: str, verdict: str) -> None:
    if not number.isdecimal() or verdict not in ("billed", "free"):
        raise InputError(
            f"`--settle {number} {verdict}` isn't a number and a verdict.",
            "Write for example `mai-image spend --settle 12 billed` or `--settle 12 free`.",
        )
    call = ledger.settle(int(number), billed=verdict == "billed")
    counted = f"${call.usd:.4f}" if verdict == "billed" else "nothing"
    print(f"call {call.row} is settled as {verdict}: it counts {counted}")


def _print_spend(spend: Spend) -> None:
    print(f"today       {_amount(spend.today)}")
    print(f"this month  {_amount(spend.month)}")
    print(f"ever        {_amount(spend.total)}")
    _print_table(
        "of that",
        {
            "spent": spend.spent,
            "blocked (perhaps billed)": spend.blocked,
            "lost (perhaps billed)": spend.lost,
        },
    )
    print(f"\nin flight   {_amount(spend.in_flight)}, estimated, in none of the sums above")
    _print_table("model", dict(sorted(spend.by_model.items())))
    _print_table("profile", dict(sorted(spend.by_profile.items())))
    calls = spend.perhaps_billed
    if calls:
        print()
        _print_doubtful(calls[:MOST_LISTED], len(calls))


def _print_doubtful(calls: Sequence[PerhapsBilled], count: int | None = None) -> None:
    """Each call with the number by which --settle knows it."""
    if not calls:
        print("no call is doubtful")
        return
    print(f"perhaps billed ({count or len(calls)}), counted by their estimates:")
    for call in calls:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(call.opened_at))
        status = f"HTTP {call.status}" if call.status else "no answer"
        request_id = call.request_id or f"unknown, client request id {call.client_request_id}"
        print(
            f"  {call.row:5d}  {when}  {call.profile}  {call.model}  ${call.usd:.4f}  "
            f"{call.outcome}  {status}  request id {request_id}"
        )
    if count and count > len(calls):
        print("  … `mai-image spend --doubtful` lists all")
    print(
        "Compare them with the invoice; `mai-image spend --settle NUMBER billed` or `free` "
        "closes one."
    )


def _amount(total: Sum) -> str:
    return f"${total.usd:9.4f}  {total.calls:5d} call{'s' * (total.calls != 1)}"


def _print_table(title: str, rows: Mapping[str, Periods]) -> None:
    if not rows:
        return
    width = max(len(title), *(len(name) for name in rows))
    print(f"\n{title:{width}}      today      month       ever")
    for name, row in rows.items():
        amounts = (row.today.usd, row.month.usd, row.total.usd)
        print(f"{name:{width}} " + " ".join(f"{usd:10.4f}" for usd in amounts))
