"""What an emulator can be asked to be: one frozen dataclass, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..mai.models import BY_NAME, MODEL_NAMES
from .directives import parse_changes, parse_fault, parse_job

DEFAULT_KEY = "emulator"
"""The API key that is accepted unless another is set: no secret, it opens nothing but this."""

COUNTING = ("fixed window", "sliding window", "token bucket")
USAGE = ("usage", "top level", "absent")
EDIT_SIZE = ("by model", "accepted", "refused", "ignored")

MAX_BODY_BYTES = 128 * 2**20
"""No limit is published; five PNGs at the largest model's size stay well under this."""


def _every_model() -> dict[str, str]:
    return {name: name for name in MODEL_NAMES}


@dataclass(frozen=True)
class Options:
    """How strict, how slow and how faulty the service is.

    - `key`, `key_header`: the API key and the header that carries it; `tokens`: Bearer tokens that
      are accepted for ever (others are granted while it runs). None of them is in the repr.
    - `deployments`: deployment name -> catalogue name; by default each model under its own name.
    - `rpm`: requests a minute of each deployment, None for no limit; `rpm_by_deployment` overrides
      it by name. `counting`: one of COUNTING; `window`: seconds that a window lasts (6 with a rpm
      of 60 is "6 in 6 s"); `burst`: size of the token bucket, None for rpm itself;
      `count_refused`: whether a refused request uses up quota too.
    - `latency`: seconds from a good request to its answer.
    - `fault`, `edits`: the directive (see directives.py) that every image request gets.
    - `usage`: where the token counts stand: "usage" (today's form), "top level" (early versions'
      num_output_tokens), or "absent".
    - `edit_size`: what `size` does on edits; "by model" is as measured: accepted on 2.6 and later,
      ignored on 2.5.
    - `queued`, `processing`: seconds that a job of the Pixazo gateway is in each state; `job`: the
      directive (see directives.py) that every job gets; `balance`: USD after which the gateway
      answers 402, None for no end.
    - `token_life`: seconds for which a token that the emulator grants is accepted;
      `token_expires_in`: the life that its answer names, None for the true one; `token_fault`: the
      directive that every request for a token gets; `client_secret`, `identity_header`: what such
      a request must bring.

    Raises ValueError for what can't be.
    """

    key: str = field(default=DEFAULT_KEY, repr=False)
    key_header: str = "api-key"
    tokens: tuple[str, ...] = field(default=(), repr=False)
    deployments: Mapping[str, str] = field(default_factory=_every_model)
    rpm: float | None = None
    rpm_by_deployment: Mapping[str, float] = field(default_factory=dict)
    counting: str = "sliding window"
    window: float = 60.0
    burst: float | None = None
    count_refused: bool = False
    latency: float = 0.0
    fault: str = ""
    edits: str = ""
    usage: str = "usage"
    edit_size: str = "by model"
    max_body: int = MAX_BODY_BYTES
    queued: float = 0.0
    processing: float = 0.0
    job: str = ""
    balance: float | None = None
    token_life: float = 3600.0
    token_expires_in: float | None = None
    token_fault: str = ""
    client_secret: str = field(default=DEFAULT_KEY, repr=False)
    identity_header: str = field(default=DEFAULT_KEY, repr=False)

    def __post_init__(self) -> None:
        _one_of("counting", self.counting, COUNTING)
        _one_of("usage", self.usage, USAGE)
        _one_of("edit_size", self.edit_size, EDIT_SIZE)
        if not self.key:
            raise ValueError("The emulator's key must not be empty.")
        if min(self.latency, self.queued, self.processing) < 0 or self.window <= 0:
            raise ValueError("The latency must be 0 s or more, the window longer than 0 s.")
        if self.token_life <= 0:
            raise ValueError("A token must live longer than 0 s.")
        for rpm in (self.rpm, *self.rpm_by_deployment.values()):
            if rpm is not None and rpm <= 0:
                raise ValueError(f"{rpm:g} requests a minute is no limit that lets anything pass.")
        if self.burst is not None and self.burst < 1:
            raise ValueError("A token bucket must hold at least 1 request.")
        for model in self.deployments.values():
            _one_of("model of a deployment", model, MODEL_NAMES)
        for name in self.rpm_by_deployment:
            _one_of("deployment with requests a minute", name, tuple(self.deployments))
        parse_fault(self.fault)
        parse_fault(self.token_fault)
        parse_changes(self.edits)
        parse_job(self.job)

    def rpm_of(self, deployment: str) -> float | None:
        """Requests a minute of one deployment, None for no limit."""
        return self.rpm_by_deployment.get(deployment, self.rpm)

    def model_of(self, deployment: str) -> str | None:
        """The catalogue name behind a deployment's name, None where there is no such deployment."""
        name = self.deployments.get(deployment)
        return name if name in BY_NAME else None


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"The {what} can't be {value!r}; it is one of: {', '.join(allowed)}.")
