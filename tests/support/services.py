"""Every provider as a profile of the emulator, which plays them all.

What holds for every service is tested over these lists: a further provider is in them as soon as it
stands in PROVIDERS, and passes once the emulator plays it.
"""

from __future__ import annotations

from typing import Any

from mai_image.mai.profiles import SERVICES
from mai_image.mai.providers import PROVIDERS, JobProvider
from mai_image.mai.types import Edit, Generate, Reference
from scripted_server import png

EVERY = tuple(PROVIDERS)
"""The names of all services."""

WITH_JOBS = tuple(name for name in EVERY if isinstance(PROVIDERS[name], JobProvider))
"""Those that answer with job ids."""

CANCELLING = tuple(
    name
    for name in WITH_JOBS
    if PROVIDERS[name].build_cancel("http://127.0.0.1", "job-1") is not None  # type: ignore[attr-defined]
)
"""Those of them that drop a job which hasn't begun."""


def profile_text(
    service: str, url: str, name: str = "test", key: str = "emulator", **settings: object
) -> str:
    """A profile that calls the emulator at `url` as this service."""
    endpoint = f"{url}{SERVICES[service].base_path}"
    lines = [f"[profiles.{name}]", f'service = "{service}"', f'endpoint = "{endpoint}"']
    lines.append(f'credential = {{ kind = "key", value = "{key}" }}')
    lines += [f"{setting} = {value}" for setting, value in settings.items()]
    return "\n".join(lines) + "\n"


def generation(service: str, prompt: str = "a red fox", **more: Any) -> Generate:
    """A request that the service takes."""
    return Generate(PROVIDERS[service].test_model, prompt, 1024, 1024, **more)


def edit_of(service: str, prompt: str = "make it night", count: int = 1) -> Edit:
    """An edit that the service takes."""
    references = (Reference(png(800, 800), "image/png", 800, 800),) * count
    return Edit(PROVIDERS[service].test_model, prompt, references)
