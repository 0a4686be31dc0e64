"""Hears from PostgreSQL that another machine changed the queue, so that nobody has to ask often."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..database import DatabaseServer
from .queue import CHANNEL

logger = logging.getLogger(__name__)

CHECK = 1.0
"""Seconds between two looks whether anybody still listens."""
CONNECT_AGAIN = 1.0
"""Seconds until a lost connection is made again: what was said meanwhile is lost, and costs those
who wait the time to their next look."""


class Bell:
    """One connection that listens, in a thread of its own, as long as `is_needed()`.

    `ring` is called in that thread when `owner` (True) or everybody is to look at the queue.
    """

    def __init__(
        self,
        server: DatabaseServer,
        owner: str,
        ring: Callable[[bool], None],
        is_needed: Callable[[], bool],
    ) -> None:
        self._server = server
        self._owner = owner
        self._ring = ring
        self._is_needed = is_needed
        self._thread: threading.Thread | None = None

    def listen(self) -> None:
        """Have a thread listen, if none does yet."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="mai-image-bell", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._is_needed():
            try:
                self._hear()
            except Exception as error:  # noqa: BLE001  without a bell the limiter looks by itself
                logger.debug("Not listening to the studio's database: %s", type(error).__name__)
                pause = threading.Event()
                pause.wait(CONNECT_AGAIN)

    def _hear(self) -> None:
        with self._server.connect() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self._ring(False)
            while self._is_needed():
                for notice in connection.notifies(timeout=CHECK):
                    if notice.payload in ("", self._owner):
                        self._ring(bool(notice.payload))
