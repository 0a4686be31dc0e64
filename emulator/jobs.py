"""The jobs of the Pixazo gateway: what was ordered, in which state it is, and its image."""

from __future__ import annotations

import base64
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone

from .directives import Fault
from .job_words import JobWords
from .options import Options

MAX_JOBS = 256
"""Jobs that are kept, with their images."""

FOREIGN = "https://media.example.com/image.png"
"""Where an image is for `media=foreign`; nothing is ever asked there."""

STATUS_PATH = "/v2/requests/status/"
MEDIA_PATH = "/media/"


@dataclass
class Job:
    """One order. `begun` is in seconds of the emulator's clock, `image` the file."""

    words: JobWords
    queued: float
    processing: float
    begun: float
    image: bytes = field(repr=False)
    media_type: str
    poll_fault: Fault | None = None
    media_fault: Fault | None = None
    polls: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def status(self, now: float) -> str:
        """QUEUED, PROCESSING, then what the words say."""
        age = now - self.begun
        if age < self.queued:
            return "QUEUED"
        if age < self.queued + self.processing:
            return "PROCESSING"
        return self.words.end.upper()


class Jobs:
    """The newest jobs of one emulator. Used in the server's thread only."""

    def __init__(self, options: Options, clock: Callable[[], float]) -> None:
        self._options, self._clock = options, clock
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def begin(
        self,
        words: JobWords,
        image: bytes,
        media_type: str,
        faults: tuple[Fault | None, Fault | None],
    ) -> Job:
        """Take an order; `faults` are those of its polls and of its image."""
        options = self._options
        job = Job(
            words,
            options.queued if words.queued is None else words.queued,
            options.processing if words.processing is None else words.processing,
            self._clock(),
            image,
            media_type,
            *faults,
        )
        self._jobs[job.id] = job
        while len(self._jobs) > MAX_JOBS:
            self._jobs.popitem(last=False)
        return job

    def find(self, name: str) -> Job | None:
        """The job with this id."""
        return self._jobs.get(name)

    def report(self, job: Job, origin: str) -> dict[str, object]:
        """What the gateway says of a job; `origin` is this server's."""
        status = job.status(self._clock())
        ended = status not in ("QUEUED", "PROCESSING")
        moment = datetime.now(timezone.utc).isoformat()
        report: dict[str, object] = {
            "request_id": job.id,
            "status": status,
            "error": None,
            "output": None,
            "polling_url": f"{origin}{STATUS_PATH}{job.id}",
            "created_at": job.created.isoformat(),
            "updated_at": moment,
            "completed_at": moment if ended else None,
        }
        if status == "COMPLETED":
            report["output"] = output(job, origin)
        elif ended:
            report["error"] = job.words.reason or "The model could not make the image."
        return report


def output(job: Job, origin: str, inline: bool = False) -> dict[str, object]:
    """Where the image is, or with `inline` the image itself."""
    kind = "data" if inline else job.words.media
    url = f"{origin}{MEDIA_PATH}{job.id}.{job.media_type.partition('/')[2]}"
    if kind == "data":
        encoded = base64.b64encode(job.image).decode("ascii")
        url = f"data:{job.media_type};base64,{encoded}"
    elif kind == "foreign":
        url = FOREIGN
    listed: object = url if kind == "url" else [] if kind == "none" else [url]
    return {"media_url": listed, "media_type": job.media_type}
