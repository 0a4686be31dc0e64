"""The environment's variables and the profile that they make. No other file reads them, but those
of the network (mai/auth/network_settings.py).

An endpoint is never combined with the key of another group of variables: a key goes only where it
was meant to go.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..auth import Secret
from ..errors import ProfileError
from .endpoints import normalize_endpoint
from .profile import ANY_MODEL
from .services import FAL, FOUNDRY, OPENROUTER, SERVICES
from .toml_file import EntraSettings, ProfileSettings, VariableKey

ReadVariable = Callable[[str], str | None]
"""Gives a variable's value. The mapping isn't handed on: its repr would show every key in it."""


@dataclass(frozen=True, slots=True)
class VariableGroup:
    """Names that belong together; `deployment` serves every model.

    `endpoint` is "" for a `service` that has one address for all users: its key alone is enough.
    """

    endpoint: str
    key: str
    deployment: str = ""
    service: str = FOUNDRY.name

    def is_complete(self, read: ReadVariable) -> bool:
        """Whether these variables are enough to call the service."""
        return bool(value(read, self.endpoint or self.key))

    @property
    def needed(self) -> str:
        """The variable that makes the group complete."""
        return self.endpoint or self.key


GROUPS = (
    VariableGroup("AZURE_ENDPOINT", "AZURE_API_KEY", "DEPLOYMENT_NAME"),
    VariableGroup("MAI_ENDPOINT", "MAI_KEY", "MAI_DEPLOYMENT"),
    VariableGroup("MAI_IMAGE_ENDPOINT", "MAI_IMAGE_API_KEY", "MAI_IMAGE_DEPLOYMENT"),
    VariableGroup("AZURE_AI_API_BASE", "AZURE_AI_API_KEY"),
    VariableGroup("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"),
    VariableGroup("", FAL.key_variable, service=FAL.name),
    VariableGroup("", OPENROUTER.key_variable, service=OPENROUTER.name),
)
"""First those of Microsoft's documentation, then those that other clients use, then gateways."""

READ_BY_AZURE = (
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_PASSWORD",
    "IDENTITY_HEADER",
    "MSI_SECRET",
)
"""Secrets that azure-identity reads by itself; they are taken out of its texts."""


READ_FOR_STORAGE = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_SAS_KEY",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
)
"""Of the images of [shared]: whether Azure has a key, and where S3 is. obstore reads them too."""


EMULATOR_DIRECTIVES = "MAI_IMAGE_EMULATOR_DIRECTIVES"
"""With 1, a prompt can order faults from the built-in emulator, also one of a shared workflow."""


def emulator_directives(environ: Mapping[str, str] | None = None) -> bool:
    """Whether prompts order faults from the built-in emulator: only where it is said plainly."""
    return value(reader(environ), EMULATOR_DIRECTIVES) == "1"


USER = "MAI_IMAGE_USER"
"""Who buys, as the books show it, where the operating system's user says too little."""


def named_user(read: ReadVariable) -> str:
    """The name in MAI_IMAGE_USER, fit for a table; "" where it isn't set."""
    return "".join(letter for letter in value(read, USER) if letter.isprintable())[:64].strip()


def reader(environ: Mapping[str, str] | None) -> ReadVariable:
    """What reads the variables of `environ`, or of this process where it is None."""
    mapping = os.environ if environ is None else environ
    return lambda name: mapping.get(name)


def value(read: ReadVariable, name: str) -> str:
    """A variable's value without outer white space and quotes, empty if it isn't set."""
    return (read(name) or "").strip().strip("\"'").strip() if name else ""


def chosen_group(read: ReadVariable) -> VariableGroup | None:
    """The first group that is complete, or else the first with a key alone, or else None."""
    complete = (group for group in GROUPS if group.is_complete(read))
    key_alone = (group for group in GROUPS if value(read, group.key))
    return next(complete, None) or next(key_alone, None)


def unused_keys(read: ReadVariable) -> list[str]:
    """A sentence for each key that isn't used, where another group is complete."""
    used = chosen_group(read)
    if used is None or not used.is_complete(read):
        return []
    unused = [
        group
        for group in GROUPS
        if group is not used and value(read, group.key) and not value(read, group.endpoint)
    ]
    return [
        f"{group.key} is set without {group.endpoint}: it is not used; {used.needed} is."
        if group.endpoint
        else f"{group.key} is set too: it is not used; {used.needed} is."
        for group in unused
    ]


def profile_settings(read: ReadVariable) -> ProfileSettings | None:
    """What a profile of these variables would say in the file; None if no group is set.

    An endpoint without a key is called by Entra ID's default chain. ProfileError for a key without
    an endpoint, and for an endpoint that can't be used.
    """
    group = chosen_group(read)
    if group is None:
        return None
    key = VariableKey.model_construct(kind="key_env", name=Secret(group.key))
    text = value(read, group.endpoint)
    if own := SERVICES[group.service].endpoint:
        return ProfileSettings.model_construct(
            service=group.service, endpoint=own, credential=key, deployments={}
        )
    if not text:
        raise ProfileError(
            f"The environment variable {group.key} is set, but {group.endpoint} is not.",
            f"Set {group.endpoint} to the resource's endpoint, such as "
            "https://<resource>.services.ai.azure.com, and start ComfyUI again.",
        )
    try:
        endpoint = normalize_endpoint(text, administrator=False, service=FOUNDRY.name)
    except ProfileError as error:
        raise ProfileError(
            f"The environment variable {group.endpoint} can't be used. {error.what}", error.hint
        ) from None
    has_key, deployment = bool(value(read, group.key)), value(read, group.deployment)
    return ProfileSettings.model_construct(
        endpoint=endpoint,
        credential=key if has_key else EntraSettings.model_construct(kind="entra"),
        deployments={ANY_MODEL: [deployment]} if deployment else {},
    )
