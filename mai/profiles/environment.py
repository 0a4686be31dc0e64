"""The profile that environment variables make: groups of names, each a unit.

An endpoint is never combined with the key of another group: a key goes only where it was meant to.
The variables are read by a function that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..auth import AZURE_HEADER, Entra, Secret
from ..errors import ProfileError
from . import endpoints as hosts
from .profile import ANY_MODEL, Profile
from .profile_file import KeySource, Make


@dataclass(frozen=True, slots=True)
class Group:
    """Names that belong together; `deployment` serves every model."""

    endpoint: str
    key: str
    deployment: str | None = None


GROUPS = (
    Group("AZURE_ENDPOINT", "AZURE_API_KEY", "DEPLOYMENT_NAME"),
    Group("MAI_ENDPOINT", "MAI_KEY", "MAI_DEPLOYMENT"),
    Group("MAI_IMAGE_ENDPOINT", "MAI_IMAGE_API_KEY", "MAI_IMAGE_DEPLOYMENT"),
    Group("AZURE_AI_API_BASE", "AZURE_AI_API_KEY"),
    Group("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"),
)
"""First those of Microsoft's documentation, then those that other clients use."""

READ_BY_AZURE = (
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_PASSWORD",
    "IDENTITY_HEADER",
    "MSI_SECRET",
)
"""Secrets that azure-identity reads by itself; they are taken out of its texts."""

Read = Callable[[str], str | None]


def value(read: Read, name: str | None) -> str:
    """A variable's value without outer white space and quotes, empty if it isn't set."""
    text = (read(name) or "") if name else ""
    return text.strip().strip("\"'").strip()


def chosen(read: Read) -> Group | None:
    """The first group with an endpoint, or else the first with a key alone, or else None."""
    whole = (group for group in GROUPS if value(read, group.endpoint))
    half = (group for group in GROUPS if value(read, group.key))
    return next(whole, None) or next(half, None)


def skipped(read: Read) -> list[str]:
    """A sentence for each group with a key alone, where another group is whole."""
    used = chosen(read)
    if used is None or not value(read, used.endpoint):
        return []
    return [
        f"{group.key} is set without {group.endpoint}: it is not used; {used.endpoint} is."
        for group in GROUPS
        if value(read, group.key) and not value(read, group.endpoint)
    ]


def profile(read: Read, make: Make) -> Profile | None:
    """The environment's profile, None if no group is set; raises ProfileError for half a group.

    An endpoint without a key is called by Entra ID's default chain.
    """
    group = chosen(read)
    if group is None:
        return None
    endpoint = value(read, group.endpoint)
    if not endpoint:
        raise ProfileError(
            f"The environment variable {group.key} is set, but {group.endpoint} is not.",
            f"Set {group.endpoint} to the resource's endpoint, such as "
            "https://<resource>.services.ai.azure.com, and start ComfyUI again.",
        )
    try:
        address = hosts.endpoint(endpoint, administrator=False)
    except ProfileError as error:
        raise ProfileError(
            f"The environment variable {group.endpoint} can't be used. {error.what}", error.hint
        ) from None
    has_key = bool(value(read, group.key))
    source = KeySource("key_env", Secret(group.key), AZURE_HEADER) if has_key else Entra()
    deployment = value(read, group.deployment)
    return Profile(
        "default",
        "foundry",
        address,
        make(source),
        {ANY_MODEL: (deployment,)} if deployment else {},
    )
