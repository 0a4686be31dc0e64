"""What stands between a client and a service: proxies and gateways on this machine."""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Between:
    """A server that passes requests on to `port` of this machine; `url` is where it listens.

    `wants` are headers without which it refuses, `adds` those that it puts in their place, as
    API Management does. With `tls` it speaks https.
    """

    def __init__(
        self,
        port: int,
        *,
        wants: Mapping[str, str] | None = None,
        adds: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port, self.wants, self.adds = port, dict(wants or {}), dict(adds or {})
        self.seen: list[str] = []
        """Method and target of every request that came, also of those that were refused."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            # The handshake is the handler's thread's: a client that fails it holds nobody up.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        self.host = f"{host}:{self._server.server_port}"
        self.url = f"{scheme}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def __enter__(self) -> Between:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # a handshake that failed, a client that left
                    super().handle()

            def do_GET(self) -> None:
                self._pass_on()

            def do_POST(self) -> None:
                self._pass_on()

            def do_PUT(self) -> None:
                self._pass_on()

            def do_CONNECT(self) -> None:
                between.seen.append(f"CONNECT {self.path}")
                if self._refused(407):
                    return
                with socket.create_connection(("127.0.0.1", between.port)) as there:
                    self.send_response(200)
                    self.end_headers()
                    _pump(self.connection, there)
                self.close_connection = True

            def _refused(self, status: int) -> bool:
                right = all(self.headers.get(n) == value for n, value in between.wants.items())
                if not right:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.send_header("Connection", "close")
                    self.end_headers()
                    self.close_connection = True
                return not right

            def _pass_on(self) -> None:
                between.seen.append(f"{self.command} {self.path}")
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if self._refused(407 if self.path.startswith("http") else 401):
                    return
                # As a proxy it gets the whole address, as a gateway the path alone.
                path = "/" + self.path.partition("://")[2].partition("/")[2]
                path = path if "://" in self.path else self.path
                dropped = {"host", *map(str.lower, between.wants)}
                kept = {n: v for n, v in self.headers.items() if n.lower() not in dropped}
                there = http.client.HTTPConnection("127.0.0.1", between.port, timeout=10)
                there.request(self.command, path, body, {**kept, **between.adds})
                answer = there.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                there.close()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def basic(user: str, password: str) -> str:
    """The header of a login."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until one side ends."""
    pairs = {one: other, other: one}
    while True:
        ready, _, _ = select.select(list(pairs), [], [], 10)
        for side in ready:
            data = side.recv(65536)
            if not data:
                return
            pairs[side].sendall(data)
        if not ready:
            return
