"""`mai-image store`: give up an image, and what is done by hand with the images of a studio."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, TypeVar

from ..mai.client import Client
from ..mai.errors import InputError
from ..mai.ledger import ImagePlace, Ledger
from ..mai.store import SharedStore, prune, push
from .command import locate_folder, open_client
from .progress import PlainDisplay

T = TypeVar("T")

LEDGER_FILE = "ledger.sqlite"
"""A machine's own ledger in its folder (see `Client`)."""

_AGE = re.compile(r"(\d{1,5})(h|d|w)")
_AGE_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

_SIZE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(MB|GB|TB)", re.IGNORECASE)
_SIZE_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class _Progress:
    """How far a command has come with its images."""

    done: int
    total: int

    def text(self) -> str:
        return f"{self.done:,} of {self.total:,} images"


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """The actions, and what each takes."""
    parser.add_argument(
        "action",
        choices=["forget", "prune", "push"],
        help="forget: delete an image, so that it is bought anew; prune: delete old images of the "
        "store that the studio shares; push: bring this machine's images and ledger there",
    )
    parser.add_argument("key", nargs="?", help="forget: the image's key, or its first 8 digits")
    parser.add_argument(
        "--older-than", metavar="AGE", help="prune: what came longer ago, such as 90d, 12w or 36h"
    )
    parser.add_argument(
        "--limit", metavar="SIZE", help="prune: the oldest, until the rest is no more than 500GB"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="prune, push: only say what would be done"
    )


def run_store(arguments: argparse.Namespace) -> int:
    """Do the one action; gives the exit code."""
    _check_options(arguments)
    with open_client(arguments) as client:
        actions = {"forget": _forget, "prune": _prune, "push": _push}
        facts = actions[arguments.action](client, arguments)
    if arguments.facts is not None:
        arguments.facts.update(action=arguments.action, **facts)
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    """Raises InputError for an option of another action, and for one that is missing."""
    action = arguments.action
    if (arguments.key is None) == (action == "forget"):
        takes = "takes one key" if action == "forget" else "takes no key"
        raise InputError(f"`mai-image store {action}` {takes}.", "`mai-image store --help`")
    bounded = arguments.older_than is not None or arguments.limit is not None
    if bounded != (action == "prune"):
        raise InputError(
            "`mai-image store prune` needs --older-than or --limit, and no other action takes them."
        )
    if arguments.dry_run and action == "forget":
        raise InputError("`mai-image store forget` takes no --dry-run.")


def _forget(client: Client, arguments: argparse.Namespace) -> dict[str, object]:
    """Delete one image, readable or not: here, and where it is shared."""
    store, key = client.store, arguments.key
    found = store.find(key)
    if not found and isinstance(store, SharedStore) and len(key) == 64:
        found = [key]  # this machine may never have had it
    if len(found) != 1:
        raise InputError(
            f"{len(found) or 'No'} images of the store have a key that begins with {key!r}.",
            "Give the whole key, as the error of the node or the image's sidecar names it.",
        )
    if isinstance(store, SharedStore):
        client.run(store.forget_shared(found[0])).result()
        client.ledger.set_image(found[0], ImagePlace.ALONE)
    store.forget(found[0])
    print(f"{found[0]} is forgotten: the next run of its request buys the image anew")
    return {"key": found[0]}


def _prune(client: Client, arguments: argparse.Namespace) -> dict[str, object]:
    """Delete old images of the shared store, or say which it would be."""
    images = _shared(client).images
    older_than = None if arguments.older_than is None else _parse_age(arguments.older_than)
    limit_bytes = None if arguments.limit is None else _parse_bytes(arguments.limit)
    pruned = _do(
        client,
        lambda report: prune(
            images,
            older_than=older_than,
            limit_bytes=limit_bytes,
            dry_run=arguments.dry_run,
            report=report,
        ),
    )
    done = "would be deleted" if arguments.dry_run else "deleted"
    print(f"{pruned.images} images ({_show_size(pruned.bytes)}) {done}")
    print(f"{pruned.images_left} images ({_show_size(pruned.bytes_left)}) left")
    return asdict(pruned)


def _push(client: Client, arguments: argparse.Namespace) -> dict[str, object]:
    """Bring this machine's images and calls to the shared ones, or say what it would be."""
    if not client.ledger.shared:
        _shared(client)
    done = "would be brought" if arguments.dry_run else "brought"
    facts: dict[str, object] = {}
    shared: set[str] = set()
    if isinstance(client.store, SharedStore):
        store = client.store
        images = _do(client, lambda report: push(store, dry_run=arguments.dry_run, report=report))
        shared = set(store.keys()) - set(images.damaged)
        damaged = len(images.damaged)
        facts["images"] = {**asdict(images), "damaged": damaged}
        print(f"{images.brought} images {done}, {images.there} were there")
        if damaged:
            print(f"{damaged} images of this machine are damaged and stay where they are")
    file = locate_folder(arguments)[0] / LEDGER_FILE
    if client.ledger.shared and file.is_file():
        own = Ledger(file)
        calls = own.push_to(client.ledger, dry_run=arguments.dry_run)
        own.close_file()
        facts["calls"] = asdict(calls)
        print(f"{calls.brought} calls of the ledger {done}, {calls.there} were there")
        if calls.in_flight:
            print(f"{calls.in_flight} calls are in flight in {file.name} and stay there")
    if not arguments.dry_run:
        client.ledger.set_shared(list(shared))
    return facts


def _do(client: Client, work: Callable[[Callable[[int, int], None]], Coroutine[Any, Any, T]]) -> T:
    """What the work gives, which is shown going on; Ctrl-C ends it."""
    display = PlainDisplay()
    future = client.run(work(lambda done, total: display.show(_Progress(done, total))))
    try:
        return future.result()
    finally:
        future.cancel()
        display.close()


def _shared(client: Client) -> SharedStore:
    if isinstance(client.store, SharedStore):
        return client.store
    raise InputError(
        "This machine shares no images.",
        "Set images under [shared] in profiles.toml: docs/studio.md.",
    )


def _parse_age(text: str) -> timedelta:
    """A time such as 90d; raises InputError."""
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise InputError(f"{text!r} is no age.", "Write hours, days or weeks: 36h, 90d, 12w.")
    return int(found[1]) * _AGE_UNITS[found[2]]


def _parse_bytes(text: str) -> int:
    """A size in bytes, such as 500GB; raises InputError."""
    found = _SIZE.fullmatch(text.strip().replace(" ", ""))
    if found is None:
        raise InputError(f"{text!r} is no size.", "Write MB, GB or TB: 500GB, 1.5TB.")
    return int(float(found[1]) * _SIZE_UNITS[found[2].upper()])


def _show_size(count: int) -> str:
    unit = next((name for name in ("TB", "GB") if count >= _SIZE_UNITS[name]), "MB")
    return f"{count / _SIZE_UNITS[unit]:.1f} {unit}"
