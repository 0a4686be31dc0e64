"""Checks of a profile, one step after the other, that buy nothing; the first failure says what to do.

What it sends is a generation without a prompt: the service refuses it (400) after it has looked at
the key and the deployment, so each of the two shows by another status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import urlsplit

from .errors import MaiError
from .foundry import GENERATIONS
from .models import BY_NAME
from .profiles import Profile
from .refusals import error_for
from .transport import Transport, resolve
from .wire import HttpRequest


class Step(IntEnum):
    """What is checked, in order. The value is the exit code of `mai-image doctor` if it fails."""

    PROFILE = 3
    CREDENTIAL = 4
    NAME = 5
    CONNECTION = 6
    AUTHENTICATION = 7
    DEPLOYMENT = 8
    PICTURE = 9


@dataclass(frozen=True)
class Finding:
    """One step's outcome in words; `ok` False ends the examination."""

    step: Step
    ok: bool
    text: str


async def examine(profile: Profile, transport: Transport) -> AsyncIterator[Finding]:
    """The findings from the credential to the deployments, up to the first that isn't ok."""
    for check in (_credential, _name, _service, _deployments):
        async for finding in check(profile, transport):
            yield finding
            if not finding.ok:
                return


async def _credential(profile: Profile, transport: Transport) -> AsyncIterator[Finding]:
    try:
        await profile.credential.headers()
    except MaiError as error:
        yield Finding(Step.CREDENTIAL, False, str(error))
    else:
        yield Finding(Step.CREDENTIAL, True, profile.credential.describe())


async def _name(profile: Profile, transport: Transport) -> AsyncIterator[Finding]:
    host = urlsplit(profile.endpoint).hostname or ""
    try:
        address = await resolve(host)
    except OSError as error:
        yield Finding(
            Step.NAME,
            False,
            f"The name {host} can't be resolved ({error}).\nCheck the endpoint's spelling, the "
            "network, and for a private endpoint its DNS zone. Behind a proxy that resolves names "
            "itself this step may fail although calls work.",
        )
    else:
        yield Finding(Step.NAME, True, f"{host} is {address}")


async def _service(profile: Profile, transport: Transport) -> AsyncIterator[Finding]:
    """Connection and authentication show in one exchange."""
    try:
        answer = await transport.fetch(_empty(profile, {}), profile)
    except MaiError as error:
        yield Finding(Step.CONNECTION, False, str(error))
        return
    yield Finding(Step.CONNECTION, True, f"{profile.endpoint} answers in {answer.seconds:.1f} s")
    if answer.status in (401, 402, 403) or answer.status >= 500 or 300 <= answer.status < 400:
        yield Finding(Step.AUTHENTICATION, False, str(error_for(answer)))
    else:
        yield Finding(Step.AUTHENTICATION, True, "the service accepts the credential")


async def _deployments(profile: Profile, transport: Transport) -> AsyncIterator[Finding]:
    for model, deployment in _named(profile):
        try:
            answer = await transport.fetch(_empty(profile, {"model": deployment}), profile)
        except MaiError as error:
            yield Finding(Step.DEPLOYMENT, False, str(error))
            return
        if answer.status == 404:
            yield Finding(Step.DEPLOYMENT, False, f"{deployment} for {model}: {error_for(answer)}")
            return
        yield Finding(Step.DEPLOYMENT, True, f"{deployment} is there, for {model}")


def _named(profile: Profile) -> list[tuple[str, str]]:
    """(model, deployment) of every deployment that the profile names; else the default model's."""
    named = [
        ("any model" if model == "*" else model, deployment)
        for model, deployments in profile.deployments.items()
        for deployment in deployments
    ]
    default = next(iter(BY_NAME))
    return named or [(default, name) for name in profile.deployments_for(default)]


def _empty(profile: Profile, body: dict[str, object]) -> HttpRequest:
    return HttpRequest("POST", profile.endpoint + GENERATIONS, json=body)
