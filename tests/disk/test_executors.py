"""Where blocking work runs: what becomes of it when its task is cancelled."""

from __future__ import annotations

import asyncio
import threading

import pytest
from mai_image.mai.disk import Executors


def test_a_job_that_fails_after_its_task_was_cancelled_leaves_no_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> None:
        begun.set()
        go_on.wait(10)
        raise KeyError

    async def work() -> None:
        executors = Executors()
        task = asyncio.create_task(executors.in_order(fail))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        executors.close()

    asyncio.run(work())
    assert not caplog.records
