"""The jobs of the Pixazo gateway: their states over time, and where their image is."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone

from .directives import Directives, JobDirective

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
        place = "data" if inline else self.directive.media
        url = f"{self.origin}{MEDIA_PATH}{self.id}.{self.media_type.partition('/')[2]}"
        if place == "data":
            url = f"data:{self.media_type};base64,{base64.b64encode(self.image).decode('ascii')}"
        elif place == "foreign":
            url = FOREIGN
        urls: object = url if place == "url" else [] if place == "none" else [url]
        return {"media_url": urls, "media_type": self.media_type}
