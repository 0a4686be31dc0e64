"""The service in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

from aiohttp import web

from .application import build
from .directives import parse_job
from .options import Options
from .record import Log
from .state import State

SHUTDOWN_SECONDS = 0.2
"""How long requests under way may take to end when the service stops."""

JOIN_SECONDS = 10.0


class Emulator:
    """A running service. `url` is its origin, `log` what it saw and would have billed.

    With a `certificate` for localhost (a PEM file with its key) it listens on a second port too,
    over https: `authority` is that origin, for Entra ID's tokens.
    Ends with `stop`, as a context manager, or with the process. All methods are for any thread.
    """

    def __init__(
        self,
        host: str,
        port: int,
        options: Options,
        clock: Callable[[], float],
        certificate: Path | None = None,
    ) -> None:
        self.options = options
        self.authority = ""
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._state = State(options, clock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(host, port), name="mai-emulator", daemon=True
        )
        self._thread.start()
        self.port = self._ready.result()
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}"

    @property
    def log(self) -> Log:
        """The requests seen, and the bill."""
        return self._state.log

    def fault(self, text: str) -> None:
        """Change the server-wide fault; "" for none. Raises directives.DirectiveError."""
        self._state.faults.set(text)

    def job(self, text: str) -> None:
        """Change what every job of the gateway does; "" for nothing special. See job_words.py."""
        self._state.job = parse_job(text)

    def token_fault(self, text: str) -> None:
        """Change the fault that every request for a token gets; "" for none."""
        self._state.token_faults.set(text)

    def latency(self, seconds: float) -> None:
        """Change the time from a good request to its answer."""
        self._state.latency = seconds

    def grant(self, token: str, seconds: float = math.inf) -> None:
        """Accept a Bearer token for so many seconds of the emulator's clock."""
        self._state.access.grant(token, seconds)

    def revoke(self, token: str) -> None:
        """Accept a Bearer token no longer."""
        self._state.access.revoke(token)

    def stop(self) -> None:
        """End the service and wait until its port is free; again does nothing."""
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            # The loop may close between the look and the call.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(JOIN_SECONDS)

    def __enter__(self) -> Emulator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, host: str, port: int) -> None:
        try:
            asyncio.run(self._serve(host, port))
        except (OSError, OverflowError) as error:
            if self._ready.done():
                raise
            self._ready.set_exception(OSError(f"can't listen on {host} port {port}: {error}"))
        finally:
            self._state.close()
            if not self._ready.done():
                self._ready.set_exception(RuntimeError("the emulator ended before it listened"))

    async def _serve(self, host: str, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        runner = web.AppRunner(
            build(self._state),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            if self._tls is not None:
                await web.TCPSite(runner, host, 0, ssl_context=self._tls).start()
                self.authority = f"https://localhost:{runner.addresses[1][1]}"
            self._ready.set_result(runner.addresses[0][1])
            await self._stopping.wait()
        finally:
            await runner.cleanup()
