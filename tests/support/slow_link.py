"""A link to a server of this machine that takes its time: each packet arrives later."""

from __future__ import annotations

import asyncio
import threading


class SlowLink:
    """Listens on `port` of the loopback; a round trip takes `seconds` more than to `target`."""

    def __init__(self, target: int, seconds: float) -> None:
        self._target, self._delay = target, seconds / 2
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def close(self) -> None:
        """End it and its connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self._delay)  # what opening a connection takes
        ahead, back = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink in ((reader, back), (ahead, writer)):
            task = self._loop.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pass on what comes, in its order, each piece later."""
        while data := await source.read(65536):
            self._loop.call_later(self._delay, sink.write, data)
        self._loop.call_later(self._delay, sink.close)
