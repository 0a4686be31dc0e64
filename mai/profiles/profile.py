"""One profile: a service, an endpoint and a credential as a unit, with its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..auth import Credential, Network
from ..models import CATALOGUE, Model
from ..types import Budget, Request
from .endpoints import is_loopback
from .services import FOUNDRY, SERVICES

ANY_MODEL = "*"
"""The key of deployments that serve every model."""

CONNECT_TIMEOUT = 10.0
"""Seconds to reach the service."""

SHUTDOWN_GRACE = 20.0
"""Seconds for which the end of the process waits for images that are already paid for."""

MAX_IMAGES_PER_NODE = 64
"""About $2.20 at the default model and size: a linked batch must not order thousands."""


AZURE_DOMAINS = ("services.ai.azure.com", "cognitiveservices.azure.com", "openai.azure.com")
"""The domains under which one Azure resource answers by its name, the canonical one first."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Where to call and as whom.

    `service` is a name of SERVICES; `endpoint` an origin, or a gateway's address with its path,
    without a slash at its end; `deployments` are names by model, "*" for any model, and
    `requests_by_model` comes before `requests_a_minute`. Times are in seconds. `media_hosts` are
    hosts from which a gateway's images are fetched besides its own. `emulated` is the built-in
    emulator, whose endpoint is filled in on first use. `max_images_per_node` is how many images one
    node may order in one run of a graph. `network` is its own proxy and certificates.
    """

    name: str
    service: str
    endpoint: str
    credential: Credential
    deployments: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    requests_a_minute: float | None = None
    requests_by_model: Mapping[str, float] = field(default_factory=dict, hash=False)
    tier: int | None = None
    budget: Budget = field(default_factory=Budget)
    connect_timeout: float = CONNECT_TIMEOUT
    timeout: float = FOUNDRY.timeout
    shutdown_grace: float = SHUTDOWN_GRACE
    keep_prompts: bool = True
    emulated: bool = False
    media_hosts: tuple[str, ...] = ()
    max_images_per_node: int = MAX_IMAGES_PER_NODE
    network: Network = field(default_factory=Network)
    on_loopback: bool = field(init=False, repr=False)
    """Whether the endpoint is on this machine."""
    store_service: str = field(init=False, repr=False)
    """The service as it stands in the store: what this machine drew is never a paid image."""
    store_identity: str = field(init=False, repr=False)
    """Whose images the store has for this profile: the service's at this resource or gateway.

    What another one made of the same request is never served for it. The hosts of one Azure
    resource are one; this machine's services are one, whatever their ports.
    """

    def __post_init__(self) -> None:
        on_loopback = self.emulated or is_loopback(self.endpoint)
        service = f"{self.service}-loopback" if on_loopback else self.service
        identity = service if on_loopback else f"{service} {_account(self.endpoint)}"
        for name, value in (
            ("on_loopback", on_loopback),
            ("store_service", service),
            ("store_identity", identity),
        ):
            object.__setattr__(self, name, value)

    def deployments_for(self, model: str) -> tuple[str, ...]:
        """The deployments that serve a model: its own, else those for any, else its name."""
        return self.deployments.get(model) or self.deployments.get(ANY_MODEL) or (model,)

    def rpm(self, model: Model) -> float | None:
        """Requests a minute for a model's deployment: as configured, else the tier's, else None."""
        own = self.requests_by_model.get(model.name, self.requests_a_minute)
        if own is not None:
            return own
        if self.tier is not None and self.tier <= len(model.rpm_by_tier):
            return float(model.rpm_by_tier[self.tier - 1])
        return None

    def why_unbounded(self, request: Request) -> str:
        """A clause on why a valid request may cost more than its estimate; "" where it can't."""
        if self.emulated:
            return ""
        if not SERVICES[self.service].has_price(request.model):
            return f"{self.service} has prices of its own, which aren't known"
        return CATALOGUE[request.model].why_unbounded(request)


def _account(endpoint: str) -> str:
    """The host of an endpoint; of one Azure resource always the same."""
    host = (urlsplit(endpoint).hostname or "").rstrip(".")
    resource, _, domain = host.partition(".")
    return f"{resource}.{AZURE_DOMAINS[0]}" if domain in AZURE_DOMAINS else host
