"""The services that make images, each behind the protocol `Provider`.

A provider is pure: it turns a request into HTTP and an HTTP answer into an image, a job or an
error; it opens no connection and knows neither disk nor credential. Others take one from
`PROVIDERS` by the profile's service. To add a service, write a module like foundry.py (or
pixazo.py for one that answers with job ids) and name it here and in mai/profiles/services.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from .answers import refusal, was_not_begun
from .foundry import Foundry
from .pixazo import Pixazo
from .provider import Job, JobProvider, Provider

PROVIDERS: Mapping[str, Provider] = {"foundry": Foundry(), "pixazo": Pixazo()}
"""By the name of the service, as it stands in profiles.toml."""

__all__ = ["PROVIDERS", "Job", "JobProvider", "Provider", "refusal", "was_not_begun"]
