"""What is fuzzed of the page: its routes on a port of this machine, asked by raw sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import threading
from concurrent.futures import Future
from pathlib import Path

from aiohttp import web
from mai_image.mai.client import Client
from mai_image.mai.profiles import Profiles
from mai_image.page import routes
from mai_image.page.access import ServerOptions

_FOLDER = tempfile.TemporaryDirectory(prefix="mai-fuzz-page-")


class PageServer:
    """The page's routes on a port of this machine, with an empty store; a thread serves them."""

    def __init__(self) -> None:
        ready: Future[int] = Future()
        threading.Thread(target=self._serve, args=(ready,), daemon=True).start()
        self.port = ready.result()

    def _serve(self, ready: Future[int]) -> None:
        asyncio.run(self._run(ready))

    async def _run(self, ready: Future[int]) -> None:
        folder = Path(_FOLDER.name)
        client = Client(folder, Profiles(folder, {}))
        table = web.RouteTableDef()
        routes.register(table, lambda: client, ServerOptions("127.0.0.1"))
        app = web.Application()
        app.add_routes(table)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.set_result(runner.addresses[0][1])
        await asyncio.Event().wait()


_PAGE: list[PageServer] = []


def check_page(target: bytes, headers: dict[str, str]) -> None:
    """Every question is answered or refused: no server's error, nothing that a browser guesses."""
    if not _PAGE:
        _PAGE.append(PageServer())
    lines = [b"GET %b HTTP/1.1" % target, b"Connection: close"]
    lines += [f"{name}: {value}".encode() for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", _PAGE[0].port), timeout=30) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert 200 <= status < 500, answer[:2000]
    if b"application/json" in head:
        json.loads(body)
        assert b"nosniff" in head
    assert _FOLDER.name.encode() not in answer
