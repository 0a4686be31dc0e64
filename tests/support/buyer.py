"""A process of its own that buys images, and dies by SIGKILL where it is told to.

    python buyer.py '{"folder": …, "url": …, "prompts": […], "budget": null, "rpm": 6000,
                      "die": ["sent", 3], "heard": file, "go": file, "errors": file}'

It writes the phases that it hears of into the file `heard`, and prints JSON: for every prompt the
USD that its image cost, or the name of its error. Its clock is `clock` seconds ahead. With `go` it
says that it is ready by a file "ready" in its folder, and begins when the file `go` is there. With
`errors` it asks again for what a StoreError refused, and writes the error's sentence, and the
seconds that it took to come, into that file.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from client_harness import OneProfile, Outcome, generate, outcome, profile_for, quicken
from mai_image.mai.client import Client
from mai_image.mai.disk import files
from mai_image.mai.errors import MaiError, StoreError
from mai_image.mai.http import Transport
from mai_image.mai.ledger import ledger
from mai_image.mai.store import objects, store
from mai_image.mai.types import Budget, Progress

STEPS = (
    "before the row",
    "row written",
    "before marked sent",
    "marked sent",
    "sent",
    "answer begins",
    "half an answer",
    "arrived",
    "image on disk",
    "sidecar on disk",
    "image named",
    "sidecar named",
    "kept",
    "closed",
)
"""The steps of one call at which it can be killed, in their order."""


class Killer:
    """Counts the steps that the process takes and ends it at the one that it was told."""

    def __init__(self, step: str, number: int) -> None:
        self._step, self._left = step, number
        self._lock = threading.Lock()

    def pass_by(self, step: str) -> None:
        """One more call came to this step."""
        with self._lock:
            self._left -= step == self._step
            if self._left == 0:
                die()


def die() -> None:
    """End at once, as nothing can prevent: no handler runs, no buffer is written."""
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(9)


def watch(killer: Killer) -> None:
    """Let every step pass by the killer."""
    around(ledger.Ledger, "open", killer, "before the row", "row written")
    around(ledger.Ledger, "mark_sent", killer, "before marked sent", "marked sent")
    around(ledger.Ledger, "close", killer, "", "closed")
    around(store.Store, "put", killer, "arrived", "kept")
    around(objects.ObjectStore, "create", killer, "before an object", "")
    write, replace = files.write_temporary, store.replace

    def watched_write(folder: Path, data: bytes, mode: int) -> Path:
        path = write(folder, data, mode)
        killer.pass_by("image on disk" if data.startswith(b"\x89PNG") else "sidecar on disk")
        return path

    def watched_replace(source: Path, target: Path) -> None:
        replace(source, target)
        killer.pass_by("image named" if target.suffix == ".png" else "sidecar named")

    files.write_temporary = watched_write
    store.replace = watched_replace


class WatchedHttp(httpx.AsyncHTTPTransport):
    """httpx's own transport, whose every exchange passes by the killer."""

    STEPS = (
        ("send_request_body.complete", "sent"),
        ("receive_response_headers.complete", "answer begins"),
        ("receive_response_body.started", "half an answer"),
    )

    def __init__(self, killer: Killer) -> None:
        super().__init__()
        self._killer = killer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Watch what httpcore reports, after the client has heard of it."""
        trace = request.extensions["trace"]

        async def watched(event: str, info: dict[str, Any]) -> None:
            await trace(event, info)
            for end, step in self.STEPS:
                if event.endswith(end):
                    self._killer.pass_by(step)

        request.extensions["trace"] = watched
        return await super().handle_async_request(request)


def around(owner: type, name: str, killer: Killer, before: str, after: str) -> None:
    """Watch a method before and after it does its work."""
    method = getattr(owner, name)

    def watched(self: object, *rest: object, **named: object) -> object:
        killer.pass_by(before)
        found = method(self, *rest, **named)
        killer.pass_by(after)
        return found

    setattr(owner, name, watched)


def main() -> None:
    """Buy what the first argument says."""
    logging.disable()
    job = json.loads(sys.argv[1])
    quicken(setattr)
    known = time.time
    time.time = lambda: known() + job.get("clock", 0.0)
    transport = None
    if job.get("die"):
        killer = Killer(*job["die"])
        watch(killer)
        transport = Transport(WatchedHttp(killer))
    folder = Path(job["folder"])
    profile = profile_for(
        job["url"],
        requests_a_minute=job.get("rpm", 6000.0),
        budget=Budget(day=job.get("budget")),
    )
    client = Client(folder, OneProfile(folder, profile), transport=transport)

    def hear(progress: Progress) -> None:
        if job.get("heard"):
            with Path(job["heard"]).open("a", encoding="utf-8") as stream:
                stream.write(f"{os.getpid()} {progress.phase}\n")

    def ask(prompt: int) -> Outcome:
        until = time.monotonic() + job.get("seconds", 20.0)
        while True:
            begun = time.monotonic()
            found = outcome(client.submit(generate(prompt), on_progress=hear), until - begun)
            if not isinstance(found, StoreError) or not job.get("errors"):
                return found
            with Path(job["errors"]).open("a", encoding="utf-8") as stream:
                took = time.monotonic() - begun
                stream.write(json.dumps([found.what, took]) + "\n")
            time.sleep(0.2)

    if job.get("go"):
        (folder / "ready").touch()
        while not Path(job["go"]).exists():
            time.sleep(0.01)
    with ThreadPoolExecutor(len(job["prompts"]) or 1) as threads:
        found = list(threads.map(ask, job["prompts"]))
    client.close(grace=2)
    ends = [type(each).__name__ if isinstance(each, MaiError) else each.cost_usd for each in found]
    sys.stdout.write(json.dumps(ends))


if __name__ == "__main__":
    main()
