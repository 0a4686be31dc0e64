"""What an emulator can be asked to be: one frozen dataclass, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..mai.models import CATALOGUE
from .directives import OUTPUTS, parse_changes, parse_fault, parse_job

DEFAULT_KEY = "emulator"
"""The API key of `Options` that name none, for tests: no secret. Neither the command nor ComfyUI
uses it; each makes a key of its own."""

MAX_BODY_BYTES = 128 * 2**20
"""No limit is published; five PNGs at the largest model's size stay well under this."""


def _option(about: str, default: object, **argument: object) -> Any:
    """A field that is an option of the command too: its help, and what argparse wants to know."""
    return field(default=default, metadata={"help": about, **argument})


@dataclass(frozen=True)
class Options:
    """How strict, how slow and how faulty the service is. Raises ValueError for what can't be.

    - `tokens` are accepted for ever; others are granted while the service runs.
    - `deployments`: deployment name -> catalogue name. `rpm_by_deployment` overrides `rpm` by
      deployment name; None is no limit.
    - A rpm of 60 with a `window` of 6 is "6 in 6 s".
    - `usage`: today's form, early versions' num_output_tokens at the top level, or nothing.
    - `edit_size` "by model" is as measured: accepted on 2.6 and later, ignored on 2.5.
    - `edit_output`: 1 megapixel is measured on 2.5; what 2.6 and 2.7 do isn't known.
    - `token_expires_in`: the life that a token's answer names, None for the true one.
    - `client_secret`, `identity_header`: what a request for a token must bring.
    - `built_in`: it serves a client of its own process, so it plays the image endpoints alone, for
      its key alone: no tokens, no gateway, no log. `directives`: whether a prompt or a header can
      order faults; off, a prompt is nothing but a prompt.
    """

    key: str = field(default=DEFAULT_KEY, repr=False)
    key_header: str = "api-key"
    tokens: tuple[str, ...] = field(default=(), repr=False)
    deployments: Mapping[str, str] = field(
        default_factory=lambda: {name: name for name in CATALOGUE}
    )
    rpm: float | None = None
    rpm_by_deployment: Mapping[str, float] = field(default_factory=dict)
    counting: str = _option(
        "how requests a minute are counted (default: sliding window)",
        "sliding window",
        choices=("fixed window", "sliding window", "token bucket"),
    )
    window: float = _option("seconds that a window lasts (60)", 60.0, type=float)
    burst: float | None = _option(
        "size of the token bucket (default: requests a minute)", None, type=float
    )
    count_refused: bool = _option("refused requests use up quota too", False, action="store_true")
    latency: float = _option("seconds from a good request to its answer (0)", 0.0, type=float)
    fault: str = _option("a fault for every image request, such as 'status=503 first=2'", "")
    edits: str = _option("a change to every edit, such as 'shift=4,-3'", "")
    usage: str = _option(
        "where answers have their token counts",
        "usage",
        choices=("usage", "top level", "absent"),
    )
    edit_size: str = _option(
        "what size does on edits (default: by model)",
        "by model",
        choices=("by model", "accepted", "refused", "ignored"),
    )
    edit_output: str = _option(
        "how large edits come back: about 1 MP, as the first image, or as the model can (1mp)",
        "1mp",
        choices=OUTPUTS,
    )
    retired: str = _option(
        "how deployments of retired models answer (default: as if they still lived)",
        "answer",
        choices=("answer", "404", "410"),
    )
    content_credentials: bool = _option(
        "images of 2e and the 2.5 family carry content credentials (a placeholder)",
        False,
        action="store_true",
    )
    max_body: int = MAX_BODY_BYTES
    queued: float = _option("seconds that a gateway's job is queued (2)", 0.0, type=float)
    processing: float = _option("seconds that it is processed (5)", 0.0, type=float)
    job: str = _option("what every such job does, such as 'end=failed'", "")
    balance: float | None = _option(
        "USD after which the gateway answers 402 (default: no end)", None, type=float
    )
    token_life: float = _option("seconds that a token is good (3600)", 3600.0, type=float)
    token_expires_in: float | None = None
    token_fault: str = _option("a fault for every request for a token", "")
    manager_fault: str = _option("a fault for every request to the resource manager", "")
    page_size: int = _option("items in one answer of the resource manager (100)", 100, type=int)
    client_secret: str = field(default=DEFAULT_KEY, repr=False)
    identity_header: str = field(default=DEFAULT_KEY, repr=False)
    built_in: bool = False
    directives: bool = True

    def __post_init__(self) -> None:
        for option in fields(self):
            if "choices" in option.metadata:
                _one_of(option.name, getattr(self, option.name), option.metadata["choices"])
        if not self.key:
            raise ValueError("The emulator's key must not be empty.")
        if min(self.latency, self.queued, self.processing) < 0 or self.window <= 0:
            raise ValueError("The latency must be 0 s or more, the window longer than 0 s.")
        if self.token_life <= 0:
            raise ValueError("A token must live longer than 0 s.")
        for rpm in (self.rpm, *self.rpm_by_deployment.values()):
            if rpm is not None and rpm <= 0:
                raise ValueError(f"{rpm:g} requests a minute is no limit that lets anything pass.")
        if self.page_size < 1:
            raise ValueError("An answer of the resource manager must have at least 1 item.")
        if self.burst is not None and self.burst < 1:
            raise ValueError("A token bucket must hold at least 1 request.")
        for model in self.deployments.values():
            _one_of("model of a deployment", model, tuple(CATALOGUE))
        for name in self.rpm_by_deployment:
            _one_of("deployment with requests a minute", name, tuple(self.deployments))
        parse_fault(self.fault)
        parse_fault(self.token_fault)
        parse_fault(self.manager_fault)
        parse_changes(self.edits)
        parse_job(self.job)


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"The {what} can't be {value!r}; it is one of: {', '.join(allowed)}.")
