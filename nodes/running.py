"""What every paid node shares: the service, the wait for it, progress, cancel, blocked pictures."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import folder_paths
from comfy import model_management
from comfy_api.latest import ComfyAPI
from server import PromptServer

from ..mai.errors import Billed, BlockedError, MaiError
from ..mai.messages import Message, Progress, Result

if TYPE_CHECKING:
    from ..mai.service import Service

logger = logging.getLogger(__name__)

POLL = 0.1
"""Seconds between looks for a cancel: ComfyUI does not wake a node that awaits."""

_service: Service | None = None
_service_lock = threading.Lock()


def service() -> Service:
    """The one service of this process; its files lie in ComfyUI's system user directory.

    Imported here: httpx, SQLite and all that speaks with a service would add to ComfyUI's start.
    """
    global _service
    with _service_lock:
        if _service is None:
            from ..mai.profiles import Profiles
            from ..mai.service import Service

            folder = Path(folder_paths.get_system_user_directory("mai"))
            _service = Service(folder, Profiles(folder), launch_emulator=_launch_emulator)
        return _service


def _launch_emulator() -> str:
    from ..emulator import start

    emulator = start()
    atexit.register(emulator.stop)
    return emulator.url


def land_calls_on_terminate() -> None:
    """Let SIGTERM wait for paid calls as leaving by Ctrl-C does, where nobody else handles it.

    Without a handler SIGTERM (docker stop, systemd) ends Python at once and loses pictures that
    are already paid for.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if os.name == "posix" and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    if _service is not None:
        _service.close()
    os.kill(os.getpid(), number)


@dataclass
class Batch:
    """What came of a node's messages: pictures in order, and those that the filter blocked."""

    messages: Sequence[Message]
    results: list[Result | None] = field(default_factory=list)
    errors: dict[int, MaiError] = field(default_factory=dict)

    @property
    def pictures(self) -> list[Result]:
        """The pictures that came."""
        return [result for result in self.results if result is not None]


async def run(
    messages: Sequence[Message], profile: str, node_id: str | None, if_blocked: str
) -> Batch:
    """Ask for all messages at once and wait until each has its picture or its error.

    Raises InterruptProcessingException within POLL seconds of a cancel, and one MaiError for all
    that failed; `if_blocked` "skip" lets blocked pictures pass. Calls that are out go on without
    the node, and their pictures are kept.
    """
    watch = _Watch(len(messages), node_id)
    futures = [
        service().submit(message, profile, watch.listener(i)) for i, message in enumerate(messages)
    ]
    try:
        await _wait(futures, watch)
    finally:
        for future in futures:
            future.cancel()
    batch = Batch(messages)
    for i, future in enumerate(futures):
        error = future.exception()
        batch.results.append(None if error else future.result())
        if isinstance(error, MaiError):
            batch.errors[i] = error
        elif error is not None:
            raise error
    watch.done(batch)
    _raise_failures(batch, if_blocked)
    return batch


async def _wait(futures: Sequence[Future[Result]], watch: _Watch) -> None:
    pending = {asyncio.ensure_future(asyncio.wrap_future(future)) for future in futures}
    try:
        while pending:
            done, pending = await asyncio.wait(pending, timeout=POLL)
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
        """What the service calls for message number `index`."""
        return _Listener(self._states, index)

    async def show(self, done: int) -> None:
        """Send what changed to the page: at most one text a second, the bar per picture."""
        if self._node_id is None:
            return
        text = describe(self._states, done, time.monotonic() - self._started)
        if text != self._shown[0]:
            PromptServer.instance.send_progress_text(text, self._node_id)
        if done != self._shown[1]:
            await ComfyAPI().execution.set_progress(done, self._count, self._node_id)
        self._shown = (text, done)

    def done(self, batch: Batch) -> None:
        """Leave cost and seconds on the node, and how many pictures did not come."""
        if self._node_id is None:
            return
        cost = sum(result.cost_usd or 0.0 for result in batch.pictures)
        counts = {
            "from the store": sum(result.from_store for result in batch.pictures),
            "blocked": sum(isinstance(error, BlockedError) for error in batch.errors.values()),
            "failed": sum(not isinstance(error, BlockedError) for error in batch.errors.values()),
        }
        parts = [f"${cost:.3f}"] if batch.pictures else []
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


def _raise_failures(batch: Batch, if_blocked: str) -> None:
    """One error for all that failed, unless all of it may be skipped."""
    skip = if_blocked == "skip"
    failed = {
        i: error
        for i, error in batch.errors.items()
        if not (skip and isinstance(error, BlockedError))
    }
    if not failed:
        return
    first = next(iter(failed.values()))
    if len(batch.messages) == 1:
        raise first
    raise type(first)(
        _what_failed(batch, failed),
        _what_is_kept(len(batch.pictures), len(batch.messages)),
        status=first.status,
        code=first.code,
        request_id=first.request_id,
        billed=_worst(failed.values()),
    ) from first


def _what_failed(batch: Batch, failed: dict[int, MaiError]) -> str:
    reasons: dict[str, list[int]] = {}
    for i, error in failed.items():
        reasons.setdefault(f"{error.what} {error.hint}".strip(), []).append(i + 1)
    lines = [f"{len(failed)} of {len(batch.messages)} images failed."]
    for reason, numbers in reasons.items():
        names = ", ".join(map(str, numbers))
        lines.append(f"Image{'s' * (len(numbers) > 1)} {names}: {reason}")
    return "\n".join(lines)


def _what_is_kept(kept: int, count: int) -> str:
    if not kept:
        return "No image came, so none is kept; queue again when the reason is mended."
    missing = "the missing one" if count - kept == 1 else f"the {count - kept} missing ones"
    return f"{kept} of {count} images are kept; queue again to fetch only {missing}."


def _worst(errors: Iterable[MaiError]) -> Billed:
    return Billed.PERHAPS if any(e.billed is Billed.PERHAPS for e in errors) else Billed.NO


def info(batch: Batch, profile: str, notes: Sequence[str] = (), **more: object) -> str:
    """What a node says of its pictures, as JSON; `more` are facts of that node alone."""
    pictures = [
        {"index": i, "seed": batch.messages[i].seed, **_facts(result)}
        for i, result in enumerate(batch.results)
        if result is not None
    ]
    return json.dumps(
        {
            "model": batch.messages[0].model,
            "profile": profile,
            "count": len(pictures),
            "cost_usd": round(sum(result.cost_usd or 0.0 for result in batch.pictures), 6),
            "images": pictures,
            "blocked": [
                {"index": i, "reason": error.what} for i, error in sorted(batch.errors.items())
            ],
            "notes": list(notes),
            **more,
        },
        ensure_ascii=False,
        indent=1,
    )


def _facts(result: Result) -> dict[str, object]:
    return {
        "model": result.model,
        "size_asked": list(result.asked) if result.asked else None,
        "size_received": [result.width, result.height],
        "request_id": result.request_id,
        "usage": asdict(result.usage) if result.usage else None,
        "cost_usd": None if result.cost_usd is None else round(result.cost_usd, 6),
        "from_store": result.from_store,
        "seconds": round(result.seconds, 2),
        "notes": list(result.notes),
    }
