"""Checks of a profile that buy nothing, one after the other; the first failure says what to do.

Foundry is sent a generation without a prompt: the service refuses it (400) after it has looked at
the key and the deployment, so each of the two shows by another status. Pixazo is asked for the
status of a job that can't exist, which it answers only to a key that it knows.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import urlsplit

from ..mai.client import Client
from ..mai.errors import MaiError
from ..mai.http import HttpAnswer, HttpRequest, Transport, resolve
from ..mai.models import BY_NAME, DEFAULT_MODEL
from ..mai.profiles import Profile
from ..mai.providers import GENERATIONS, pixazo, pixazo_refusals
from ..mai.providers.refusals import error_for
from ..mai.types import Generate

NO_JOB = "00000000-0000-0000-0000-000000000000"
"""The id of no job."""


class Step(IntEnum):
    """What is checked, in order. The value is the exit code of `mai-image doctor` if it fails."""

    PROFILE = 3
    CREDENTIAL = 4
    NAME = 5
    CONNECTION = 6
    AUTHENTICATION = 7
    DEPLOYMENT = 8
    IMAGE = 9


@dataclass(frozen=True)
class Finding:
    """One step's outcome in words; `ok` False ends the examination."""

    step: Step
    ok: bool
    text: str


def consult(client: Client, name: str, *, spend: bool = False) -> Iterator[Finding]:
    """The findings on the profile of that name, up to the first that isn't ok.

    With `spend` the last one buys an image.
    """
    try:
        profile = client.ready(client.profiles.get(name))
    except MaiError as error:
        yield Finding(Step.PROFILE, False, str(error))
        return
    yield Finding(Step.PROFILE, True, f"{profile.service}, {profile.endpoint}")

    async def steps() -> list[Finding]:
        return [finding async for finding in examine(profile, client.transport)]

    findings = client.run(steps()).result()
    yield from findings
    if spend and all(finding.ok for finding in findings):
        yield _bought(client, profile)


def _bought(client: Client, profile: Profile) -> Finding:
    model = pixazo.MODEL if profile.service == "pixazo" else DEFAULT_MODEL
    request = Generate(model, "a lighthouse at dawn", 768, 768, seed=time.time_ns())
    try:
        result = client.submit(request, profile.name).result()
    except MaiError as error:
        return Finding(Step.IMAGE, False, str(error))
    return Finding(Step.IMAGE, True, f"{result.seconds:.0f} s, ${result.cost_usd or 0:.4f}")


async def examine(profile: Profile, transport: Transport) -> AsyncIterator[Finding]:
    """The findings from the credential to the deployments, up to the first that isn't ok."""
    last = (_gateway,) if profile.service == "pixazo" else (_client, _deployments)
    for check in (_credential, _name, *last):
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


async def _client(profile: Profile, transport: Transport) -> AsyncIterator[Finding]:
    """Connection and authentication show in one exchange."""
    try:
        answer = await transport.fetch(_empty(profile, {}), profile)
    except MaiError as error:
        yield Finding(Step.CONNECTION, False, str(error))
        return
    for finding in _answered(profile, answer):
        yield finding


async def _gateway(profile: Profile, transport: Transport) -> AsyncIterator[Finding]:
    """The same of Pixazo."""
    try:
        answer = await transport.fetch(pixazo.ask(profile.endpoint, NO_JOB), profile)
    except MaiError as error:
        yield Finding(Step.CONNECTION, False, str(error))
        return
    for finding in _answered(profile, answer):
        yield finding


def _answered(profile: Profile, answer: HttpAnswer) -> Iterator[Finding]:
    """What the status of a harmless request says."""
    yield Finding(Step.CONNECTION, True, f"{profile.endpoint} answers in {answer.seconds:.1f} s")
    if answer.status in (401, 402, 403) or answer.status >= 500 or 300 <= answer.status < 400:
        of_gateway = profile.service == "pixazo"
        error = pixazo_refusals.error_for(answer) if of_gateway else error_for(answer)
        text = f"{error.what} {error.hint}\n(HTTP {answer.status})"
        yield Finding(Step.AUTHENTICATION, False, text)
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
