"""The services that make images, each behind the protocol `Provider`.

A provider is pure: it turns a request into HTTP and an HTTP answer into an image, a job or an
error; it opens no connection and knows neither disk nor credential. Others take one from
`PROVIDERS` by the profile's service. docs/providers.md says how to add one: a module like
openrouter.py (or fal.py for one that answers with job ids), named here and in
mai/profiles/services.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from .answers import refusal, was_not_begun
from .fal import Fal
from .foundry import Foundry
from .openrouter import OpenRouter
from .pixazo import Pixazo
from .provider import Job, JobProvider, Provider, round_up, service_id

PROVIDERS: Mapping[str, Provider] = {
    "foundry": Foundry(),
    "pixazo": Pixazo(),
    "fal": Fal(),
    "openrouter": OpenRouter(),
}
"""By the name of the service, as it stands in profiles.toml."""

__all__ = [
    "PROVIDERS",
    "Job",
    "JobProvider",
    "Provider",
    "refusal",
    "round_up",
    "service_id",
    "was_not_begun",
]
