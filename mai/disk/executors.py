"""Where blocking work runs, so that the client's event loop waits for no disk and no decoder; and
how long it waits for anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Executors:
    """Two thread pools of one event loop.

    A job that has begun is waited for even when the task that asked for it is cancelled: a row or
    a file that is half written must not be left alone. At the interpreter's end no thread starts
    any more; the job then runs in the event loop itself.
    """

    def __init__(self) -> None:
        self._ordered = ThreadPoolExecutor(1, "mai-image-ordered")
        self._parallel = ThreadPoolExecutor(2, "mai-image-parallel")

    async def in_order(self, job: Callable[[], T]) -> T:
        """Run a job of the store's or the ledger's: one at a time, in the order of the calls."""
        return await _run(self._ordered, job)

    async def in_parallel(self, job: Callable[[], T]) -> T:
        """Run a job on the bytes of one image."""
        return await _run(self._parallel, job)

    async def uninterrupted(self, job: Callable[[], T]) -> T:
        """The same for what was paid for: a cancel of the waiting task doesn't take its outcome."""
        task = asyncio.ensure_future(_run(self._parallel, job))
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled():
                    raise
        return task.result()

    def close(self) -> None:
        """Start no more threads; jobs that run go on."""
        self._ordered.shutdown(wait=False)
        self._parallel.shutdown(wait=False)


async def in_thread(job: Callable[[], T]) -> T:
    """Run a job in a thread of the event loop's own pool."""
    return await _run(None, job)


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The outcome of `work`; asyncio.TimeoutError after so many seconds, and it is cancelled.

    asyncio.wait_for loses a cancel that comes in the moment of the outcome (up to Python 3.11):
    what should end would go on.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            raise asyncio.TimeoutError
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        ignore_error(task)


def ignore_error(ended: asyncio.Future[Any]) -> None:
    """Keep asyncio from logging the error of a future that has ended and nobody waits for."""
    if not ended.cancelled():
        ended.exception()


async def _run(executor: ThreadPoolExecutor | None, job: Callable[[], T]) -> T:
    try:
        pending = asyncio.get_running_loop().run_in_executor(executor, job)
    except RuntimeError:
        return job()
    try:
        return await asyncio.shield(pending)
    except asyncio.CancelledError:
        await asyncio.wait([pending])
        ignore_error(pending)
        raise
