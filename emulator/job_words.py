"""What a job of the Pixazo gateway is to do: the directive `job` and its parts.

`job` takes
    queued=S, processing=S      seconds in each state (default: the server's)
    end=completed|failed|error  how it ends (default completed)
    reason=WORDS                the text of a job that failed; underscores become spaces
    media=url|list|data|foreign|none    where the image is: an address on this server as a text or
                                in a list (default), a data URI, an address elsewhere, nowhere
    forget=K                    the job is unknown (404) from poll number K on
    id=yes|no                   whether the order's answer names the job (default yes)
`poll` and `media` take the words of `fault`, for each status request and each fetch of the image;
their first=K counts by job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import values

ENDS = ("completed", "failed", "error")
MEDIA = ("url", "list", "data", "foreign", "none")


@dataclass(frozen=True)
class JobWords:
    """A parsed `job`; None is the server's own."""

    queued: float | None = None
    processing: float | None = None
    end: str = "completed"
    reason: str = ""
    media: str = "list"
    forget: int | None = None
    id: bool = True


WORDS: Mapping[str, Callable[[str], object]] = {
    "queued": values.seconds,
    "processing": values.seconds,
    "end": values.choice(*ENDS),
    "reason": lambda text: text.replace("_", " "),
    "media": values.choice(*MEDIA),
    "forget": values.whole(1, 1_000_000),
    "id": lambda text: values.choice("yes", "no")(text) == "yes",
}
