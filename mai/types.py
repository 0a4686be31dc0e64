"""What travels between the nodes, the client and the providers: frozen dataclasses only."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import ClassVar
from uuid import UUID

KEY_VERSION = 1
"""Part of every request's key: raised when what a key covers changes."""

OPAQUE, TRANSPARENT = "opaque", "transparent"
"""What the background of an image can be; of a transparent one the PNG has an alpha channel."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One image of an edit, as the bytes that are sent.

    `data` is a whole PNG or JPEG file, `media_type` its MIME type, `width` and `height` its pixels.
    """

    data: bytes = field(repr=False)
    media_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Generate:
    """Text to image: one request is one image.

    `model` is a name of the catalogue, `width` and `height` are pixels. `seed` is never sent (the
    service refuses it): it is part of the request's key, so a new seed buys a new image.
    `background` is OPAQUE or TRANSPARENT.
    """

    kind: ClassVar[str] = "generate"

    model: str
    prompt: str
    width: int
    height: int
    seed: int = 0
    auto_aspect_ratio: bool = False
    web_grounding: bool = False
    background: str = OPAQUE

    @property
    def requested_size(self) -> tuple[int, int] | None:
        """Width and height in pixels; None where the model chooses them."""
        return None if self.auto_aspect_ratio else (self.width, self.height)


@dataclass(frozen=True, slots=True)
class Edit:
    """References and a prompt to one image.

    `images` are sent in this order ("first image", "second image" in the prompt). `size` is
    (width, height) in pixels, sent only where it is not None. `background` is OPAQUE or
    TRANSPARENT.
    """

    kind: ClassVar[str] = "edit"

    model: str
    prompt: str
    images: tuple[Reference, ...]
    seed: int = 0
    size: tuple[int, int] | None = None
    auto_aspect_ratio: bool = False
    web_grounding: bool = False
    background: str = OPAQUE

    @property
    def requested_size(self) -> tuple[int, int] | None:
        """Width and height in pixels; None where the model chooses them."""
        return None if self.auto_aspect_ratio else self.size


Request = Generate | Edit


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the service counted for one image."""

    text_in: int = 0
    image_in: int = 0
    image_out: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """One image that arrived.

    `image` is the file as the service sent it (PNG, rarely JPEG), `width` and `height` are read
    from it. `asked` is the size in the request, None where the service chose. `cost_usd` is by the
    catalogue's prices, 0.0 for an image from the store, None where no usage is known. `seconds`
    is the time of the call that bought it; `notes` are sentences for the user. `key` is that under
    which the store has it.
    """

    image: bytes = field(repr=False)
    media_type: str
    width: int
    height: int
    model: str
    asked: tuple[int, int] | None = None
    request_id: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    from_store: bool = False
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    key: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a call is doing now.

    `phase` is "waiting" (for its place in the quota), "joined" (the same request is running),
    "sent", "retrying", or of a job "queued" or "processing". `until` is the `time.monotonic()`
    second at which the wait ends, None where it isn't known; `rpm` the requests a minute that make
    it wait; `reason` why it retries, or what keeps a job's status from being known.
    """

    phase: str
    until: float | None = None
    rpm: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be spent, in USD, in a calendar day and month; None is no limit.

    `strict` refuses every call whose estimate is no upper bound.
    """

    day: float | None = None
    month: float | None = None
    strict: bool = False


def request_key(request: Request, identity: str) -> str:
    """The SHA-256 (64 hex digits) under which a request's image is kept.

    `identity` is whose images they are: a profile's `store_identity`. The key covers it, the model,
    the prompt, size or options, every reference's bytes and the seed: all that makes an image
    another one, and no account, deployment or credential.
    """
    facts: dict[str, object] = {
        "version": KEY_VERSION,
        "service": identity,
        "kind": request.kind,
        "model": request.model,
        "prompt": request.prompt,
        "seed": request.seed,
        "auto_aspect_ratio": request.auto_aspect_ratio,
        "web_grounding": request.web_grounding,
    }
    if isinstance(request, Generate):
        facts["size"] = None if request.auto_aspect_ratio else [request.width, request.height]
    else:
        facts["size"] = None if request.size is None else list(request.size)
        facts["images"] = [hashlib.sha256(image.data).hexdigest() for image in request.images]
    if request.background != OPAQUE:  # else the key is that of a time without this option
        facts["background"] = request.background
    canonical = json.dumps(facts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def client_request_id(key: str) -> str:
    """The id by which Microsoft's support finds a call of this key that brought no answer.

    It is sent with every attempt, in Azure's header for it, and the same for the same request.
    """
    return str(UUID(key[:32]))
