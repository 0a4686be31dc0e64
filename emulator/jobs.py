"""The jobs of the gateways Pixazo and fal: their states over time, and where their image is."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone

from .directives import Directives, JobDirective
from .record import LogEntry

FOREIGN = "https://media.example.com/image.png"
"""Where an image is for `media=foreign`; nothing is ever requested there."""

STATUS_PATH = "/v2/requests/status/"
MEDIA_PATH = "/media/"


@dataclass
class GatewayJob:
    """One order. `begun`, `queued` and `processing` are seconds of the emulator's clock, `origin`
    is the emulator's, `image` the file."""

    directives: Directives
    begun: float
    queued: float
    processing: float
    origin: str
    image: bytes = field(repr=False)
    media_type: str
    polls: int = 0
    cancelled: bool = False
    order: LogEntry | None = None
    """The order's line in the log: what it was billed is given back when it is cancelled."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def directive(self) -> JobDirective:
        """What the job is to do."""
        return self.directives.job or JobDirective()

    @property
    def polling_url(self) -> str:
        """Where its status is."""
        return f"{self.origin}{STATUS_PATH}{self.id}"

    def status(self, now: float) -> str:
        """QUEUED, PROCESSING, then what the directive says."""
        age = now - self.begun
        if age < self.queued:
            return "QUEUED"
        if age < self.queued + self.processing:
            return "PROCESSING"
        return self.directive.end.upper()

    @property
    def image_url(self) -> str:
        """Where its image is."""
        return f"{self.origin}{MEDIA_PATH}{self.id}.{self.media_type.partition('/')[2]}"

    def place(self, inline: bool = False) -> str | None:
        """The image's address, or a data URI, as the directive says; None: nowhere."""
        place = "data" if inline else self.directive.media
        if place == "data":
            encoded = base64.b64encode(self.image).decode("ascii")
            return f"data:{self.media_type};base64,{encoded}"
        return {"foreign": FOREIGN, "none": None}.get(place, self.image_url)

    def report(self, now: float) -> dict[str, object]:
        """What the gateway answers to a poll."""
        status = self.status(now)
        ended = status not in ("QUEUED", "PROCESSING")
        failed = ended and status != "COMPLETED"
        updated = datetime.now(timezone.utc).isoformat()
        return {
            "request_id": self.id,
            "status": status,
            "error": (self.directive.reason or "The model could not make the image.")
            if failed
            else None,
            "output": self.output() if status == "COMPLETED" else None,
            "polling_url": self.polling_url,
            "created_at": self.created.isoformat(),
            "updated_at": updated,
            "completed_at": updated if ended else None,
        }

    def output(self, inline: bool = False) -> dict[str, object]:
        """Where the image is, or with `inline` the image itself."""
        url = self.place(inline)
        urls: object = [] if url is None else [url]
        if self.directive.media == "url" and not inline:
            urls = url
        return {"media_url": urls, "media_type": self.media_type}
