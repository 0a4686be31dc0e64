"""A proxy before a PostgreSQL: a slow link, and one that breaks where it hurts most."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time


class CuttingProxy:
    """Forwards to a port of this machine, each way with `delay` seconds.

    With `cut_at` the next message that holds these bytes goes through, its answer is awaited, and
    then the connection ends before the answer is forwarded: what was asked for is done, and who
    asked can't know. With `late` the connection ends at once, and the message goes through after
    so many seconds.
    """

    def __init__(self, port: int, delay: float = 0.0) -> None:
        self.delay = delay
        self.cut_at = b""
        self.late = 0.0
        self.cuts = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, url: str) -> str:
        """The URL of a database, through the proxy."""
        return url.replace(f":{self._target}/", f":{self.port}/")

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answer = threading.Event()
            for source, target, is_client in ((client, server, True), (server, client, False)):
                arguments = (source, target, is_client, answer)
                threading.Thread(target=self._forward, args=arguments, daemon=True).start()

    def _forward(
        self, source: socket.socket, target: socket.socket, is_client: bool, cut: threading.Event
    ) -> None:
        on_the_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        arrive = threading.Thread(target=_deliver, args=(on_the_way, target), daemon=True)
        arrive.start()
        with contextlib.suppress(OSError), source, target:
            while data := source.recv(65536):
                if is_client and self.cut_at and self.cut_at in data:
                    self.cut_at = b""
                    self.cuts += 1
                    if self.late:
                        source.shutdown(socket.SHUT_RDWR)
                        time.sleep(self.late)
                    cut.set()
                elif not is_client and cut.is_set():
                    source.shutdown(socket.SHUT_RDWR)
                    target.shutdown(socket.SHUT_RDWR)
                    return
                on_the_way.put((time.monotonic() + self.delay, data))
            on_the_way.put((time.monotonic() + self.delay, b""))
            arrive.join()


def _deliver(on_the_way: queue.SimpleQueue[tuple[float, bytes]], target: socket.socket) -> None:
    """Sends each message when it has been on its way for long enough; later ones don't wait for
    earlier ones to arrive."""
    while True:
        due, data = on_the_way.get()
        if not data:
            return
        time.sleep(max(0.0, due - time.monotonic()))
        with contextlib.suppress(OSError):
            target.sendall(data)
