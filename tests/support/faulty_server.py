"""A server of this machine that fails in one way after another, in front of one that doesn't."""

from __future__ import annotations

import contextlib
import socket
import threading

FAULTS = {
    "busy": ("503 Server Busy", "ServerBusy"),
    "slow down": ("503 Slow Down", "SlowDown"),
    "broken": ("500 Internal Server Error", "InternalError"),
    "key revoked": ("403 Forbidden", "AuthenticationFailed"),
    "container deleted": ("404 Not Found", "ContainerNotFound"),
    "bucket deleted": ("404 Not Found", "NoSuchBucket"),
    "cut": ("", ""),
    "refused": ("", ""),
}
"""What is answered to every request; "cut" takes the beginning of one and closes the connection,
"refused" doesn't let anybody in."""


class FaultyServer:
    """Forwards to `target`, a port of this machine, as long as `fault` is ""."""

    def __init__(self, target: int) -> None:
        self.fault = ""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.fault == "refused":
            client.close()
            return
        with contextlib.suppress(OSError), client:
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=_forward, args=(server, client), daemon=True).start()
            with server:
                while data := client.recv(65536):
                    if self.fault:
                        client.sendall(_answer(*FAULTS[self.fault]))
                        return
                    server.sendall(data)


def _forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


def _answer(status: str, code: str) -> bytes:
    if not status:
        return b""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>"
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
