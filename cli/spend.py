"""`mai-image spend`: what was spent, which calls were perhaps billed, and what the invoice says."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import TextIO

from ..mai.errors import InputError
from ..mai.ledger import (
    SHARES,
    Ledger,
    PerhapsBilled,
    Periods,
    Share,
    Spend,
    Sum,
    write_shares_csv,
)
from .command import open_client

TO_TERMINAL = "-"
"""The name of no file: print it."""

MOST_LISTED = 10
"""How many perhaps-billed calls are listed; --doubtful lists them all."""


def add_spend_options(parser: argparse.ArgumentParser) -> None:
    """The profile, what to divide the sums by, how to write them, and what settles a call."""
    parser.add_argument("--profile", help="only this profile")
    parser.add_argument("--by", choices=SHARES, help="who or what the money went to")
    parser.add_argument(
        "--since",
        metavar="DAY",
        help="only calls since this day (2026-11-20), or of so many last days (30d)",
    )
    parser.add_argument("--json", action="store_true", help="print the sums as JSON")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--csv",
        nargs="?",
        const=TO_TERMINAL,
        metavar="FILE",
        help="write every call, or with --by the sums, to a CSV file; without FILE print them",
    )
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
    since = first_day(arguments.since)
    with open_client(arguments) as client:
        ledger = client.ledger
        if arguments.settle:
            call = _settle(ledger, *arguments.settle)
            _say(arguments, asdict(call), _settled(call, arguments.settle[1]))
        elif arguments.doubtful and arguments.json:
            calls = ledger.doubtful(arguments.profile)
            print(json.dumps([asdict(call) for call in calls], indent=2))
        elif arguments.doubtful:
            _print_doubtful(ledger.doubtful(arguments.profile))
        elif arguments.by or (since is not None and not arguments.csv):
            by = arguments.by or "model"
            _write_shares(arguments, by, since, ledger.spend_by(by, since, arguments.profile))
        elif arguments.csv:
            with _open(arguments.csv) as stream:
                count = ledger.export_csv(stream, since, arguments.profile)
            if arguments.csv != TO_TERMINAL:
                facts = {"file": arguments.csv, "calls": count}
                _say(arguments, facts, f"{count} calls written to {arguments.csv}")
        elif arguments.json:
            print(json.dumps(asdict(ledger.spend(arguments.profile)), indent=2))
        else:
            _print_spend(ledger.spend(arguments.profile))
    return 0


def _say(arguments: argparse.Namespace, facts: Mapping[str, object], text: str) -> None:
    """One line for a person, or its facts for programs."""
    print(json.dumps(facts, indent=2) if arguments.json else text)


def first_day(since: str | None) -> str | None:
    """The first local day of "2026-11-20", or of "30d": today and 29 days before it.

    InputError for what is neither.
    """
    if since is None:
        return None
    days = since.removesuffix("d")
    try:
        if days != since and days.isdecimal() and int(days) > 0:
            return (date.today() - timedelta(days=int(days) - 1)).isoformat()
        return date.fromisoformat(since).isoformat()
    except (ValueError, OverflowError):
        pass
    raise InputError(
        f"`--since {since}` is no day.", "Write for example --since 2026-11-20, or --since 30d."
    )


@contextmanager
def _open(name: str) -> Iterator[TextIO]:
    """The file to write a CSV into, or the terminal."""
    if name == TO_TERMINAL:
        yield sys.stdout
        return
    with Path(name).open("w", newline="", encoding="utf-8") as stream:
        yield stream


def _write_shares(
    arguments: argparse.Namespace, by: str, since: str | None, found: Sequence[Share]
) -> None:
    """The sums as a table, as JSON or as CSV."""
    if arguments.json:
        rows = [asdict(share) for share in found]
        print(json.dumps({"by": by, "since": since, "shares": rows}, indent=2))
    elif arguments.csv:
        with _open(arguments.csv) as stream:
            write_shares_csv(by, found, stream)
    else:
        _print_shares(by, found)


def _print_shares(by: str, found: Sequence[Share]) -> None:
    names = [share.name or "(not known)" for share in found]
    width = max(map(len, [by, *names]))
    print(f"{by:{width}}        USD  calls  of that perhaps billed")
    for name, share in zip(names, found, strict=True):
        print(f"{name:{width}} {share.usd:10.4f} {share.calls:6d} {share.perhaps_usd:10.4f}")


def _settle(ledger: Ledger, number: str, verdict: str) -> PerhapsBilled:
    if not number.isdecimal() or len(number) > 18 or verdict not in ("billed", "free"):
        raise InputError(
            f"`--settle {number} {verdict}` isn't a number and a verdict.",
            "Write for example `mai-image spend --settle 12 billed` or `--settle 12 free`.",
        )
    return ledger.settle(int(number), billed=verdict == "billed")


def _settled(call: PerhapsBilled, verdict: str) -> str:
    counted = f"${call.usd:.4f}" if verdict == "billed" else "nothing"
    return f"call {call.row} is settled as {verdict}: it counts {counted}"


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
