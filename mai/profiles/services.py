"""What a profile must know of each service: the only table to extend for another provider."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..auth import AZURE_HEADER, GATEWAY_HEADER


@dataclass(frozen=True, slots=True)
class Service:
    """One hosted service, as a profile sees it.

    `hosts` are the service's own hosts, called over https on port 443 alone; "*." stands for one
    label, the name of a user's resource. `endpoint` is where the service is called if a profile
    names no endpoint, None where every user has one of their own. `timeout` is the usual time for
    one call in seconds. `media_hosts` are the hosts from which the service's images are fetched,
    where they don't come with its answers; there "*." stands for any number of labels.
    `pasted_path` is what users paste behind a gateway's address and the provider adds itself.
    `base_path` is where the API begins on the service's own hosts. `key_scheme` is the word before
    the key in the header Authorization.
    `priced_models` are those that it bills by the catalogue's prices, so that estimates can be
    upper bounds; None: all.
    """

    name: str
    hosts: tuple[str, ...]
    key_header: str
    key_variable: str
    timeout: float
    endpoint: str | None = None
    has_deployments: bool = False
    has_entra: bool = False
    media_hosts: tuple[str, ...] = ()
    pasted_path: re.Pattern[str] = re.compile("$")
    base_path: str = ""
    key_scheme: str = ""
    priced_models: frozenset[str] | None = None

    def has_price(self, model: str) -> bool:
        """Whether it bills a model by the catalogue's price."""
        return self.priced_models is None or model in self.priced_models


FOUNDRY = Service(
    "foundry",
    # The last one is given to users, but doesn't serve /mai: endpoints.py replaces it by the first.
    hosts=("*.services.ai.azure.com", "*.cognitiveservices.azure.com", "*.openai.azure.com"),
    key_header=AZURE_HEADER,
    key_variable="AZURE_API_KEY",
    timeout=300.0,  # the slowest measured call took 106 s; other clients wait 120 to 600 s
    has_deployments=True,
    has_entra=True,
    pasted_path=re.compile(r"/mai/v1(?:/images(?:/(?:generations|edits))?)?$"),
)

PIXAZO = Service(
    "pixazo",
    hosts=("gateway.pixazo.ai",),
    key_header=GATEWAY_HEADER,
    key_variable="PIXAZO_API_KEY",
    timeout=600.0,  # its jobs may queue; to stop waiting loses nothing, as the next run resumes
    endpoint="https://gateway.pixazo.ai",
    # Its own hosts, and the bucket that holds the images of its documentation and of public
    # clients' answers.
    media_hosts=("*.pixazo.ai", "pub-582b7213209642b9b995c96c95a30381.r2.dev"),
    priced_models=frozenset(),  # it takes credits of its own, at prices that its pages don't say
)

FAL = Service(
    "fal",
    hosts=("queue.fal.run",),
    key_header="Authorization",
    key_scheme="Key",
    key_variable="FAL_KEY",
    timeout=600.0,  # its jobs may queue, as Pixazo's
    endpoint="https://queue.fal.run",
    media_hosts=("*.fal.media",),
    pasted_path=re.compile(r"/microsoft/mai-image-2\.7(?:/(?:text-to-image|edit))?$"),
)

OPENROUTER = Service(
    "openrouter",
    hosts=("openrouter.ai",),
    key_header="Authorization",
    key_scheme="Bearer",
    key_variable="OPENROUTER_API_KEY",
    timeout=300.0,
    endpoint="https://openrouter.ai/api/v1",
    base_path="/api/v1",
    pasted_path=re.compile(r"/images$"),
    priced_models=frozenset({"MAI-Image-2.7"}),  # its page: Microsoft's prices, without a mark-up
)

SERVICES = {service.name: service for service in (FOUNDRY, PIXAZO, FAL, OPENROUTER)}
"""Every service that a profile can name."""
