"""What differs between a profile and the Azure account that it calls: for doctor and for refresh.

Only lists are read, which costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from urllib.parse import urlsplit

from ..mai.auth import Entra, EntraCredential
from ..mai.errors import ProfileError
from ..mai.models import CATALOGUE
from ..mai.profiles import ANY_MODEL, SERVICES, Profile, Profiles
from .azure_items import DeployableModel, FoundryResource, ImageDeployment, printable
from .init_azure import account_rates
from .resource_manager import CLOUDS, ManagerError, ResourceManager, parse_manager

NOTICE = timedelta(days=60)
"""How long before a model's end it is told."""


@dataclass(frozen=True, slots=True)
class AccountChange:
    """One difference, in a sentence. Of the rest only what concerns it is set: a `gone` or a new
    `deployment` of a model, a model's requests a minute, or the day from which it is retired."""

    text: str
    model: str
    deployment: str = ""
    gone: bool = False
    rpm: float | None = None
    retires: date | None = None


@dataclass(frozen=True, slots=True)
class AccountState:
    """The resource that a profile calls, its deployments, and what it could deploy."""

    resource: FoundryResource
    deployments: Sequence[ImageDeployment]
    models: Sequence[DeployableModel]


def can_compare(profile: Profile, asked: bool, manager: str | None) -> bool:
    """Whether a profile's account can be asked: one with Entra ID, or any where it is `asked` for.

    An endpoint on this machine has an account only where its resource manager is named.
    """
    has_login = asked or isinstance(profile.credential, EntraCredential)
    here = profile.emulated or (profile.on_loopback and not manager)
    return SERVICES[profile.service].has_entra and has_login and not here


def read_account(
    profiles: Profiles, profile: Profile, method: str, manager: str | None
) -> AccountState:
    """What the account has now; `method` signs in where the profile has a key. A MaiError."""
    host = parse_manager(manager or _cloud_of(profile.endpoint), profile.network)
    credential = profile.credential
    if isinstance(credential, EntraCredential):
        login = credential.for_scope(host.scope)
    else:
        login = profiles.sign_in(Entra(method or "default", scope=host.scope))
    with ResourceManager(host, login) as azure:
        azure.sign_in()
        survey = azure.survey([one for one in azure.subscriptions() if one.usable])
        for resource, deployments in survey.found:
            if _is_called(profile, resource):
                try:
                    models = azure.models(resource)
                except ManagerError:  # of use for the days of retirement alone
                    models = []
                return AccountState(resource, deployments, models)
    if survey.problems:
        raise survey.problems[0]
    raise ProfileError(
        "No resource that this login sees has the profile's endpoint.",
        "For a gateway before a resource that is as it should be; else run `az login --tenant ID` "
        "for the tenant of the resource.",
    )


def _cloud_of(endpoint: str) -> str | None:
    host = urlsplit(endpoint).hostname or ""
    ends = {".azure.us": "AzureUSGovernment", ".azure.cn": "AzureChinaCloud"}
    return next((CLOUDS[name] for end, name in ends.items() if host.endswith(end)), None)


def _is_called(profile: Profile, resource: FoundryResource) -> bool:
    """Whether a profile's endpoint is one of a resource's; its domains are one."""
    if not resource.endpoint:
        return False
    if profile.on_loopback:
        return profile.endpoint == resource.endpoint
    other = replace(profile, endpoint=resource.endpoint)
    return other.store_identity == profile.store_identity


def account_changes(
    profile: Profile, account: AccountState, today: date | None = None
) -> list[AccountChange]:
    """Everything that differs, in the order in which it matters."""
    return [
        *_gone(profile, account),
        *_new(profile, account),
        *_rates(profile, account),
        *_retiring(account, today or date.today()),
    ]


def _gone(profile: Profile, account: AccountState) -> Iterator[AccountChange]:
    by_name = {one.name.lower(): one for one in account.deployments}
    for model, names in profile.deployments.items():
        for name in names:
            found, about = by_name.get(name.lower()), "" if model == ANY_MODEL else f" of {model}"
            if found is None:
                text = f"the deployment {printable(name)}{about} is gone"
            elif model not in (ANY_MODEL, found.model):
                text = f"the deployment {printable(name)} has {found.model} now, not {model}"
            else:
                continue
            yield AccountChange(text, model, name, gone=True)


def _new(profile: Profile, account: AccountState) -> Iterator[AccountChange]:
    for one in account.deployments:
        if not (one.is_ready and one.is_known):
            continue
        if one.name.lower() not in [name.lower() for name in _named(profile, one.model)]:
            text = f"the account has {one}, which the profile doesn't name"
            yield AccountChange(text, one.model, one.name)


def _named(profile: Profile, model: str) -> Sequence[str]:
    """The deployments that the profile names for a model; its own name where it names none."""
    if not profile.deployments:
        return (model,)
    return profile.deployments.get(model) or profile.deployments.get(ANY_MODEL) or ()


def _rates(profile: Profile, account: AccountState) -> Iterator[AccountChange]:
    used = [one for one in account.deployments if one.is_ready and one.is_known]
    for model, rpm in account_rates(used).items():
        before = profile.rpm(CATALOGUE[model])
        if before is None:
            text = f"{model} has {rpm:g} requests a minute; the profile doesn't say"
        elif abs(before - rpm) > 0.005:
            word = "raised" if rpm > before else "lowered"
            text = f"the quota of {model} was {word}: {rpm:g} requests a minute, not {before:g}"
        else:
            continue
        yield AccountChange(text, model, rpm=rpm)


def _retiring(account: AccountState, today: date) -> Iterator[AccountChange]:
    """Models of the account's deployments that end within the notice, or have ended."""
    seen = set()
    for one in account.deployments:
        if one.model in seen or not one.is_known:
            continue
        seen.add(one.model)
        same = [
            model.retires
            for model in account.models
            if (model.name, model.version) == (one.model, one.version)
        ]
        known = CATALOGUE[one.model]
        day = next((day for day in same if day is not None), known.retired)
        if day is None or day > today + NOTICE:
            continue
        verb = "retires" if day > today else "was retired"
        after = f"; deploy {known.successor} in time" if known.successor else ""
        text = f"{one.model} {verb} on {day.isoformat()}{after}"
        yield AccountChange(text, one.model, retires=day)
