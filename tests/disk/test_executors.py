"""Where blocking work runs: what becomes of it when its task is cancelled."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from mai_image.mai.disk import Executors, within


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


async def _in_time(seconds: float, after: float) -> str:
    return await within(seconds, asyncio.sleep(after, "done"))


def test_what_comes_within_its_time_is_given_and_what_takes_longer_is_ended() -> None:
    assert asyncio.run(_in_time(60, 0)) == "done"
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(_in_time(0.01, 60))


@pytest.mark.parametrize("steps", range(5))
def test_a_cancel_in_the_moment_of_the_outcome_isnt_lost(steps: int) -> None:
    async def work() -> bool:
        """Whether the task was cancelled, where it hadn't ended before."""
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(within(60, outcome))
        await asyncio.sleep(0)
        outcome.set_result("done")
        for _ in range(steps):
            await asyncio.sleep(0)
        was_over = task.done()
        task.cancel()
        await asyncio.wait({task})
        return was_over or task.cancelled()

    assert asyncio.run(work())


def test_what_fails_as_its_task_is_cancelled_leaves_no_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(within(60, outcome))
        await asyncio.sleep(0)
        outcome.set_exception(KeyError())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    gc.collect()
    assert not caplog.records
