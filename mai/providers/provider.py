"""What the pipeline needs of a service that makes images: pure functions, without a connection."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from ..errors import ServiceError
from ..http import HttpAnswer, HttpRequest
from ..types import Request, Result


@dataclass(frozen=True, slots=True)
class Job:
    """What a service says of a job that makes an image.

    `phase` is "queued", "processing", "completed", "failed", "error" or "cancelled". `media` are
    addresses or data URIs of images, `reason` is the service's text for a job that failed; `job_id`
    is None where it gives none. It is what the ledger keeps: behind a space may stand what the
    provider needs to find the job again.
    """

    phase: str
    job_id: str | None = None
    media: tuple[str, ...] = field(default=(), repr=False)
    reason: str = ""


def service_id(job_id: str) -> str:
    """The service's own id of a job, out of what the ledger keeps."""
    return job_id.partition(" ")[0]


def round_up(usd: float, step: float) -> float:
    """A price, rounded up to a multiple of `step` USD; as it is where that is 0."""
    return round(math.ceil(round(usd / step, 6)) * step, 10) if step else usd


class Provider(Protocol):
    """One service: from a request to HTTP, and from an HTTP answer to an image or an error."""

    test_model: ClassVar[str]
    """The model of which `mai-image doctor --spend` buys one image."""

    models: ClassVar[tuple[str, ...]]
    """The models that it has; () for any of the catalogue."""

    price_step: ClassVar[float]
    """USD: what a call costs is rounded up to a multiple of this; 0 where it isn't rounded."""

    def validate(self, request: Request) -> None:
        """Raise InputError for a request that this service can't fulfil."""

    def build(
        self, request: Request, endpoint: str, deployment: str, client_request_id: str
    ) -> HttpRequest:
        """The HTTP request, without its credential."""

    def read(self, request: Request, answer: HttpAnswer) -> Result | Job:
        """The image of an answer, or the job that will make it. ServiceError: neither."""

    def error_for(self, answer: HttpAnswer) -> ServiceError:
        """The error that a refusal stands for."""

    def without_refused_field(self, request: Request, answer: HttpAnswer) -> Request | None:
        """The request without the optional field that this answer refuses; None: there is none."""

    def probe(self, endpoint: str, deployment: str | None = None) -> HttpRequest:
        """A request that buys nothing, but is refused unless credential and deployment are good."""


@runtime_checkable
class JobProvider(Provider, Protocol):
    """A service that answers with a job id: the job is polled, and its image is fetched."""

    def build_poll(self, endpoint: str, job_id: str) -> HttpRequest:
        """The request for a job's status."""

    def read_job(self, answer: HttpAnswer) -> Job:
        """What a status says of its job. AnswerError: it can't be read."""

    def build_result(self, endpoint: str, job_id: str) -> HttpRequest | None:
        """The request for what a completed job made; None: its status says that already."""

    def read_result(self, answer: HttpAnswer) -> Job | None:
        """The completed or failed job of that request's answer; None: it decides nothing."""

    def build_cancel(self, endpoint: str, job_id: str) -> HttpRequest | None:
        """The request to drop a job that hasn't begun; None: the service has none."""

    def read_data_uri(self, uri: str) -> bytes | None:
        """The image in a data URI, None for an address. AnswerError: damaged base64."""

    def read_image(
        self, request: Request, image: bytes, job_id: str | None, seconds: float
    ) -> Result:
        """The result of a finished job. AnswerError: the bytes are no image."""

    def job_error(self, job: Job) -> ServiceError:
        """The error for a job that failed."""
