"""An asyncio event loop whose clock jumps to the next timer: hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Skip(selectors.DefaultSelector):
    """Instead of waiting, moves the clock on."""

    now = 0.0

    def __init__(self, before_skip: list[Callable[[], None]]) -> None:
        super().__init__()
        self._before_skip = before_skip

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout != 0:
            for look in self._before_skip:
                look()
            ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("Everything waits and nothing is due: the run stands still.")
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0.0 and advances only while every task waits.

    What is run in an executor takes no time: it runs at once. `before_skip` are called before the
    clock goes on, and may wake a task by `call_soon_threadsafe`.
    """

    def __init__(self) -> None:
        self.before_skip: list[Callable[[], None]] = []
        self._skip = _Skip(self.before_skip)
        super().__init__(self._skip)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._skip.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *arguments: Any
    ) -> asyncio.Future[T]:
        """The outcome of `func`, in this thread."""
        future = self.create_future()
        try:
            future.set_result(func(*arguments))
        except Exception as error:  # noqa: BLE001  whoever waits gets it
            future.set_exception(error)
        return future


def run(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run `main` to its end on a new virtual loop, which is closed then."""
    try:
        return loop.run_until_complete(main)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
