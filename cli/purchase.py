"""Images bought side by side: the price before, a line while they come, the sum after."""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import closing, suppress
from functools import partial
from typing import Any

from ..mai.client import Client, Quote
from ..mai.errors import Billed, InputError, MaiError
from ..mai.in_flight import Siblings
from ..mai.types import Progress, Request, Result
from .command import EXIT_FAILED, EXIT_INPUT, open_client
from .image_files import describe_image
from .progress import Display, Tally, display_for, what_waits
from .wording import in_options

CONFIRM_OVER_USD = 5.0
"""What a person at a terminal is asked about, where --confirm-over doesn't say it."""

LOOK = 0.25
"""Seconds between two looks at what is under way."""


Saver = Callable[[Result, Request, int, bool], dict[str, Any]]
"""Saves image number n, from 1, and gives its facts for programs; MaiError, OSError. The last is
whether the profile allows prompts in files."""


def add_consent_options(parser: argparse.ArgumentParser) -> None:
    """From which price on a person is asked."""
    about = f"ask before more than this is spent ({CONFIRM_OVER_USD:g}; on a terminal)"
    parser.add_argument("--confirm-over", type=float, metavar="USD", help=about)
    parser.add_argument("--yes", action="store_true", help="buy without being asked")


def buy(
    requests: Sequence[Request],
    save: Saver,
    arguments: argparse.Namespace,
    *,
    shows_lines: bool,
) -> int:
    """Buy all of them; those that came are saved even if others failed. Gives the exit code.

    `shows_lines` prints a line for each image to standard output. A refusal that all would get
    withdraws those that wait for a slot.
    """
    with open_client(arguments) as client:
        quote = client.quote(requests, arguments.profile)
        _require_consent(quote, arguments)
        client.check_affordable(requests, arguments.profile)
        print(_price(quote), file=sys.stderr)
        with closing(display_for(len(requests), quiet=False)) as display:
            purchase = _Purchase(len(requests), display, show_lines=shows_lines)
            purchase.run(client, requests, save, arguments.profile)
    if arguments.json:
        print(json.dumps(purchase.saved, indent=1))
    return purchase.end()


def _price(quote: Quote) -> str:
    """One line: "4 images: 3 to buy for $0.1047 at most, 1 free from the store"."""
    images = f"{quote.images} image" + "s" * (quote.images != 1)
    free = quote.images - quote.bought
    if not quote.bought:
        return f"{images}: free, from the store"
    if not quote.usd:
        return f"{images}: free, from the emulator"
    price = f"about ${quote.usd:.4f}" if quote.why_unbounded else f"${quote.usd:.4f} at most"
    lines = [f"{images}: {quote.bought} to buy for {price}" + f", {free} free" * (free > 0)]
    if quote.why_unbounded:
        lines.append(f"It may be more, as {quote.why_unbounded}.")
    return "\n".join(lines)


def _require_consent(quote: Quote, arguments: argparse.Namespace) -> None:
    """Ask above the limit: Ctrl-C for a no, InputError where the limit was given and nobody is
    there."""
    limit = CONFIRM_OVER_USD if arguments.confirm_over is None else arguments.confirm_over
    if not (math.isfinite(limit) and limit >= 0):
        raise InputError("--confirm-over must be an amount of USD, 0 or more.", "Write it as 2.50.")
    if arguments.yes or quote.usd <= limit:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(f"{_price(quote)}. Buy? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise KeyboardInterrupt
    elif arguments.confirm_over is not None:
        raise InputError(
            f"This may cost ${quote.usd:.2f}, more than --confirm-over allows, and nobody can be "
            "asked here. Nothing was sent.",
            "Give --yes, or a larger amount.",
        )


class _Purchase:
    """Requests that are out together, and what became of them."""

    def __init__(self, count: int, display: Display, *, show_lines: bool) -> None:
        self.saved: list[dict[str, Any]] = []
        self._failures: list[MaiError] = []
        self._display = display
        self._show_lines = show_lines
        self._tally = Tally(count)
        self._heard: dict[int, Progress] = {}
        self._untold = 0

    def run(self, client: Client, requests: Sequence[Request], save: Saver, profile: str) -> None:
        """Ask for all, and save what comes in the order of the requests."""
        siblings = Siblings()

        futures = [
            siblings.submit(client, request, profile, partial(self._heard.__setitem__, number))
            for number, request in enumerate(requests, start=1)
        ]
        keeps = client.profiles.keeps_prompts(profile)
        for number, (request, future) in enumerate(zip(requests, futures, strict=True), start=1):
            try:
                facts = save(self._outcome(future, number), request, number, keeps)
            except CancelledError:  # withdrawn, because the refusal of another one is its own too
                self._tally.failed += 1
                self._untold += 1
            except MaiError as error:
                self._take_error(number, error, siblings)
            else:
                self._take(facts)

    def _outcome(self, future: Future[Result], number: int) -> Result:
        """What a request came to; the line is kept up to date meanwhile."""
        while not future.done():
            with suppress(concurrent.futures.TimeoutError, CancelledError):
                future.exception(LOOK)
            self._tally.waiting = what_waits(list(self._heard.values()))
            self._display.show(self._tally)
        self._heard.pop(number, None)
        return future.result()

    def _take(self, facts: dict[str, Any]) -> None:
        self.saved.append(facts)
        self._tally.usd += facts["cost_usd"] or 0.0
        if facts["from_store"]:
            self._tally.stored += 1
        else:
            self._tally.bought += 1
        if self._show_lines:
            with self._display.pause():
                print(describe_image(facts), flush=True)

    def _take_error(self, number: int, error: MaiError, siblings: Siblings) -> None:
        self._tally.failed += 1
        if error.billed is not Billed.NO:
            self._tally.usd += error.cost_usd or 0.0
        refused = siblings.refusal is not None and error.what == siblings.refusal.what
        if refused and any(told.what == error.what for told in self._failures):
            self._untold += 1
            return
        self._failures.append(error)
        self._display.say(f"mai-image: image {number}: {in_options(str(error))}")

    def end(self) -> int:
        """Say the sum; the exit code."""
        failures = self._failures
        if self._untold:
            text = f"mai-image: {self._untold} more did not come for the same reason."
            print(text, file=sys.stderr)
        if failures and self.saved:
            print("What came is kept: run it again to fetch only the rest.", file=sys.stderr)
        print(_sum(self.saved, self._tally), file=sys.stderr)
        if not failures:
            return 0
        bad_input = all(isinstance(error, InputError) for error in failures)
        return EXIT_INPUT if bad_input else EXIT_FAILED


def _sum(saved: Sequence[Mapping[str, Any]], tally: Tally) -> str:
    """One line: "3 of 4 images, $0.1047"."""
    parts = [f"{len(saved)} of {tally.total} image" + "s" * (tally.total != 1)]
    parts += [f"{tally.stored} from the store"] if tally.stored else []
    return f"{', '.join(parts)}, ${tally.usd:.4f}"
