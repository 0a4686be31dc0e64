"""What the service saw and what it would have billed. Headers, and so keys, are never kept."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from dataclasses import asdict, dataclass, field

MAX_ENTRIES = 10_000


@dataclass
class LoggedFile:
    """One file part of a request; `width` and `height` are pixels, 0 where it can't be read."""

    field: str
    filename: str
    media_type: str
    bytes: int
    width: int = 0
    height: int = 0


@dataclass
class LogEntry:
    """One request. `status` is None until it is answered; `delivered` says that all of the answer
    was sent; `size` is that of the image; `time` is Unix time, `seconds` until the answer's end.
    """

    number: int
    time: float
    method: str
    path: str
    request_id: str
    client_request_id: str | None = None
    deployment: str | None = None
    model: str | None = None
    fields: dict[str, object] = field(default_factory=dict)
    files: list[LoggedFile] = field(default_factory=list)
    fault: str | None = None
    status: int | None = None
    code: str | None = None
    size: tuple[int, int] | None = None
    billed: bool = False
    billed_usd: float = 0.0
    delivered: bool = False
    seconds: float | None = None


class RequestLog:
    """The newest requests, oldest first; safe to read from any thread.

    `billed` (requests) and `billed_usd` (by the catalogue's prices) count every request since the
    start or the last `clear`, also those that are no longer kept one by one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LogEntry] = deque(maxlen=MAX_ENTRIES)
        self._count = 0
        self.billed = 0
        self.billed_usd = 0.0

    def open(self, method: str, path: str, client_request_id: str | None) -> LogEntry:
        """A new entry, with a request id of its own."""
        with self._lock:
            self._count += 1
            entry = LogEntry(
                self._count, time.time(), method, path, str(uuid.uuid4()), client_request_id
            )
            self._entries.append(entry)
        return entry

    def bill(self, entry: LogEntry, usd: float) -> None:
        """Charge for a request: once, when its image is begun."""
        with self._lock:
            entry.billed = True
            entry.billed_usd = usd
            self.billed += 1
            self.billed_usd += usd

    def give_back(self, entry: LogEntry) -> None:
        """Charge nothing for a request whose image wasn't begun after all."""
        with self._lock:
            self.billed -= entry.billed
            self.billed_usd -= entry.billed_usd
            entry.billed, entry.billed_usd = False, 0.0

    def clear(self) -> None:
        """Forget all requests and sums."""
        with self._lock:
            self._entries.clear()
            self._count = self.billed = 0
            self.billed_usd = 0.0

    @property
    def entries(self) -> tuple[LogEntry, ...]:
        """The requests that are kept."""
        with self._lock:
            return tuple(self._entries)

    def as_json(self) -> dict[str, object]:
        """For GET /emulator/log."""
        with self._lock:
            return {
                "count": self._count,
                "billed": self.billed,
                "billed_usd": self.billed_usd,
                "requests": [asdict(entry) for entry in self._entries],
            }
