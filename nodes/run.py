"""What every paid node shares: the service, the wait for it, progress, cancel, blocked images."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import folder_paths
from comfy import model_management
from comfy_api.latest import ComfyAPI
from server import PromptServer

from ..mai.errors import BlockedError, MaiError
from ..mai.types import Progress, Request, Result
from .results import Batch, raise_failures

if TYPE_CHECKING:
    from ..mai.client import Client

logger = logging.getLogger(__name__)

POLL = 0.1
"""Seconds between looks for a cancel: ComfyUI does not wake a node that awaits."""

MANY, SLOWEST = 50, 0.5
"""Of more waiting nodes than MANY each looks less often, but every SLOWEST seconds: a thousand that
looked ten times a second would take most of a core."""

_waiting = 0

_client: Client | None = None
_client_lock = threading.Lock()


def client() -> Client:
    """The one service of this process; its files lie in ComfyUI's system user directory.

    Imported here: httpx, SQLite and all that speaks with a service would add to ComfyUI's start.
    """
    global _client
    with _client_lock:
        if _client is None:
            _client = _start()
        return _client


def _start() -> Client:
    try:
        return _import_and_start()
    except ModuleNotFoundError as error:
        raise MaiError(
            f"The Python package {error.name} isn't installed.",
            "Run `python -m pip install -r requirements.txt` in the pack's folder with the Python "
            "that runs ComfyUI, then start ComfyUI again.",
        ) from error


def _import_and_start() -> Client:
    from ..mai.client import Client
    from ..mai.profiles import Profiles

    folder = Path(folder_paths.get_system_user_directory("mai"))
    return Client(folder, Profiles(folder), launch_emulator=_launch_emulator)


def _launch_emulator() -> str:
    from ..emulator import start

    emulator = start()
    atexit.register(emulator.stop)
    return emulator.url


def land_calls_on_terminate() -> None:
    """Let SIGTERM wait for paid calls as leaving by Ctrl-C does, where nobody else handles it.

    Without a handler SIGTERM (docker stop, systemd) ends Python at once and loses images that
    are already paid for.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if os.name == "posix" and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    # A Ctrl-C on top of it must not cut short the wait for what is paid.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _client is not None:
        _client.close()
    os.kill(os.getpid(), number)


async def run(
    requests: Sequence[Request], profile: str, node_id: str | None, if_blocked: str
) -> Batch:
    """Ask for all requests at once and wait until each has its image or its error.

    Raises InterruptProcessingException within SLOWEST seconds of a cancel, and one MaiError for all
    that failed; `if_blocked` "skip" lets blocked images pass. Calls that are out go on without
    the node, and their images are kept.
    """
    global _waiting
    watch = _Watch(len(requests), node_id)
    futures = [
        client().submit(request, profile, watch.listener(i)) for i, request in enumerate(requests)
    ]
    _waiting += 1  # only ever in the thread that runs prompts
    try:
        await _wait(futures, watch)
    finally:
        _waiting -= 1
        for future in futures:
            future.cancel()
    batch = Batch(requests)
    for i, future in enumerate(futures):
        error = future.exception()
        batch.results.append(None if error else future.result())
        if isinstance(error, MaiError):
            batch.errors[i] = error
        elif error is not None:
            raise error
    watch.done(batch)
    raise_failures(batch, if_blocked)
    return batch


async def _wait(futures: Sequence[Future[Result]], watch: _Watch) -> None:
    pending = {asyncio.ensure_future(asyncio.wrap_future(future)) for future in futures}
    try:
        while pending:
            pause = min(POLL * max(1.0, _waiting / MANY), SLOWEST)
            done, pending = await asyncio.wait(pending, timeout=pause)
            for waited in done:
                # An error that nobody has read asyncio logs a second time, with its traceback.
                _ = waited.cancelled() or waited.exception()
            if model_management.processing_interrupted():
                raise model_management.InterruptProcessingException()
            await watch.show(sum(future.done() for future in futures))
    finally:
        for task in pending:
            task.cancel()


class _Watch:
    """The node's progress text and bar, fed from the service's thread."""

    def __init__(self, count: int, node_id: str | None) -> None:
        self._count, self._node_id = count, node_id
        self._states: list[Progress | None] = [None] * count
        self._started = time.monotonic()
        self._shown: tuple[str, int] = ("", -1)

    def listener(self, index: int) -> _Listener:
        """What the service calls for request number `index`."""
        return _Listener(self._states, index)

    async def show(self, done: int) -> None:
        """Send what changed to the page: at most one text a second, the bar per image."""
        if self._node_id is None:
            return
        text = describe(self._states, done, time.monotonic() - self._started)
        if text != self._shown[0]:
            PromptServer.instance.send_progress_text(text, self._node_id)
        # Each step of a bar sends the state of every node of the prompt; of one image there is
        # no step between none and all.
        if done != self._shown[1] and self._count > 1:
            await ComfyAPI().execution.set_progress(done, self._count, self._node_id)
        self._shown = (text, done)

    def done(self, batch: Batch) -> None:
        """Leave cost and seconds on the node, and how many images did not come."""
        if self._node_id is None:
            return
        cost = sum(result.cost_usd or 0.0 for result in batch.images)
        counts = {
            "from the store": sum(result.from_store for result in batch.images),
            "blocked": sum(isinstance(error, BlockedError) for error in batch.errors.values()),
            "failed": sum(not isinstance(error, BlockedError) for error in batch.errors.values()),
        }
        parts = [f"${cost:.3f}"] if batch.images else []
        parts.append(f"{time.monotonic() - self._started:.0f} s")
        parts += [f"{count} {what}" for what, count in counts.items() if count]
        PromptServer.instance.send_progress_text(" · ".join(parts), self._node_id)


@dataclass(frozen=True)
class _Listener:
    states: list[Progress | None]
    index: int

    def __call__(self, progress: Progress) -> None:
        self.states[self.index] = progress


_JOB_PHASES = ("queued", "processing")
"""What a gateway says of a job that is under way."""


def describe(states: Sequence[Progress | None], done: int, seconds: float) -> str:
    """One line on what the calls are doing: "sent 2 of 4 · 14 s"."""
    phases = [state.phase if state else "" for state in states]
    count, now = len(states), time.monotonic()
    sent = sum(phase in ("sent", "joined", *_JOB_PHASES) for phase in phases)
    parts = [f"sent {sent} of {count}"]
    if done and count > 1:
        parts.append(f"{done} done")
    waits = [state for state in states if state and state.phase == "waiting" and state.until]
    if waits:
        first = min(waits, key=lambda state: state.until or now)
        if first.rpm:
            parts.append(f"{first.rpm:g} requests a minute")
        parts.append(f"your turn in {max(0.0, (first.until or now) - now):.0f} s")
    for phase in _JOB_PHASES:
        if phase in phases:
            parts.append(f"{phases.count(phase)} {phase}" if count > 1 else phase)
    polls = [state.reason for state in states if state and state.phase in _JOB_PHASES]
    parts += [reason for reason in polls if reason][:1]
    retries = [state for state in states if state and state.phase == "retrying"]
    if retries:
        parts.append(f"{retries[0].reason}, trying again")
    return " · ".join([*parts, f"{seconds:.0f} s"])
