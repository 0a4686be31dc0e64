"""What Azure's resource manager lists: subscriptions, AI resources, deployments, models.

Each is read out of JSON that may be anything: an item that lacks what it must have is no item. The
names are for people and for commands to copy, so `printable` and `quoted` come before both.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from ..mai.errors import ProfileError
from ..mai.models import CATALOGUE
from ..mai.profiles import is_loopback_host, normalize_endpoint

MODEL_FORMAT = "Microsoft"
MODEL_PREFIX = "mai-image"
"""The models that this pack can call, by the beginning of their names in lower case."""

FOUNDRY_KIND = "aiservices"

SHOWN = 80
"""Characters of a name that are shown."""

ENDED = ("failed", "canceled", "disabled", "deleting")
"""Azure's words for a deployment or an operation that comes to nothing."""

SOVEREIGN_DOMAINS = (".azure.us", ".azure.cn")

_SUBSCRIPTION_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_ACCOUNT_ID = re.compile(
    r"/subscriptions/([A-Za-z0-9-]{1,64})/resourceGroups/([^/?#%\\\s]{1,90})"
    r"/providers/Microsoft\.CognitiveServices/accounts/([A-Za-z0-9._-]{1,64})",
    re.IGNORECASE,
)
_DEPLOYMENT_NAME = re.compile(r"[^/?#%\\\x00-\x1f\x7f]{1,64}")


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription; `usable` is False for one that is disabled or deleted."""

    id: str
    name: str
    tenant: str
    usable: bool = True


@dataclass(frozen=True, slots=True)
class FoundryResource:
    """One AI resource. `endpoint` is "" where none that may get a key is named."""

    id: str
    name: str
    group: str
    location: str
    endpoint: str
    subscription: Subscription

    def az(self, command: str, *options: str) -> str:
        """A command of the Azure CLI on this resource, to copy."""
        where = f"--name {quoted(self.name)} --resource-group {quoted(self.group)}"
        words = ["az cognitiveservices account", command, where, *options]
        return " ".join([*words, f"--subscription {self.subscription.id}"])


@dataclass(frozen=True, slots=True)
class ImageDeployment:
    """One deployment of a MAI image model. `rpm` are requests a minute, None where unknown;
    `state` is Azure's word for how far it is made."""

    name: str
    model: str
    version: str
    rpm: float | None
    state: str

    @property
    def is_ready(self) -> bool:
        """Whether it can be called."""
        return self.state.lower() in ("succeeded", "")

    @property
    def is_coming(self) -> bool:
        """Whether it is still being made."""
        return not self.is_ready and self.state.lower() not in ENDED

    @property
    def is_known(self) -> bool:
        """Whether the catalogue has its model, which a profile needs."""
        return self.model in CATALOGUE

    def __str__(self) -> str:
        name = "" if self.name == self.model else f"{printable(self.name)}: "
        facts = [f"version {printable(self.version)}"] if self.version else []
        known = "requests a minute not known"
        facts.append(known if self.rpm is None else f"{self.rpm:g} requests a minute")
        if not self.is_ready:
            facts.append(printable(self.state).lower())
        if not self.is_known:
            facts.append("not in this version's catalogue")
        elif CATALOGUE[self.model].is_retired:
            facts.append("retired")
        return f"{name}{printable(self.model)}  {', '.join(facts)}"


@dataclass(frozen=True, slots=True)
class DeployableModel:
    """A model that a resource can deploy; `retires` is the last day, where Azure says one."""

    name: str
    version: str
    skus: tuple[str, ...]
    retires: date | None
    is_default: bool = False


def printable(text: str) -> str:
    """A name as a terminal may show it: on one line, without control characters, cut."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text[: SHOWN + 1])
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"


def quoted(text: str) -> str:
    """A name as a shell takes it."""
    return shlex.quote(printable(text))


def read_subscription(item: object) -> Subscription | None:
    """One item of /subscriptions."""
    found = _texts(item, "subscriptionId", "displayName", "tenantId", "state")
    if not _SUBSCRIPTION_ID.fullmatch(found["subscriptionId"]):
        return None
    usable = found["state"].lower() not in ("disabled", "deleted")
    tenant = found["tenantId"] if _SUBSCRIPTION_ID.fullmatch(found["tenantId"]) else ""
    return Subscription(found["subscriptionId"], found["displayName"], tenant, usable)


def read_tenant(item: object) -> tuple[str, str] | None:
    """One item of /tenants: its id and its name."""
    found = _texts(item, "tenantId", "displayName")
    if not _SUBSCRIPTION_ID.fullmatch(found["tenantId"]):
        return None
    return found["tenantId"], found["displayName"]


def read_resource(
    item: object, subscription: Subscription, *, loopback: bool
) -> FoundryResource | None:
    """One item of …/accounts, if it is an AI resource of this subscription.

    With `loopback`, where the resource manager is on this machine, so may the endpoint be.
    """
    found = _texts(item, "id", "kind", "location")
    parts = _ACCOUNT_ID.fullmatch(found["id"])
    if parts is None or found["kind"].lower() != FOUNDRY_KIND:
        return None
    if parts[1].lower() != subscription.id.lower() or not found["id"].isprintable():
        return None
    if {".", ".."} & {parts[2], parts[3]}:
        return None
    endpoint = _endpoint(_table(item, "properties"), loopback)
    return FoundryResource(
        found["id"], parts[3], parts[2], found["location"], endpoint, subscription
    )


def read_deployment(item: object) -> ImageDeployment | None:
    """One item of …/deployments, if its model makes images and can be called by this pack."""
    name = _texts(item, "name")["name"]
    properties = _table(item, "properties")
    model = _texts(properties.get("model"), "format", "name", "version")
    if not is_image_model(model["format"], model["name"]):
        return None
    if not _DEPLOYMENT_NAME.fullmatch(name) or name != name.strip() or not name.isprintable():
        return None
    state = _texts(properties, "provisioningState")["provisioningState"]
    rpm = _requests_a_minute(properties.get("rateLimits"))
    return ImageDeployment(name, catalogue_name(model["name"]), model["version"], rpm, state)


def read_model(item: object) -> DeployableModel | None:
    """One item of …/models, if this pack can call it."""
    found = _texts(item, "format", "name", "version")
    if not is_image_model(found["format"], found["name"]) or not found["version"]:
        return None
    skus = tuple(_texts(sku, "name")["name"] for sku in _list(_table(item).get("skus")))
    day = _texts(_table(item, "deprecation"), "inference")["inference"]
    is_default = _table(item).get("isDefaultVersion") is True
    name = catalogue_name(found["name"])
    return DeployableModel(name, found["version"], skus, _day(day), is_default)


def is_image_model(model_format: str, name: str) -> bool:
    """Whether a model is one of Microsoft's own image models."""
    return model_format.lower() == MODEL_FORMAT.lower() and name.lower().startswith(MODEL_PREFIX)


def catalogue_name(name: str) -> str:
    """A model's name as the catalogue has it, whatever its case; else as it is."""
    return next((known for known in CATALOGUE if known.lower() == name.lower()), name)


def _endpoint(properties: dict[str, Any], loopback: bool) -> str:
    """The address to call: the canonical one, else any of Azure's; "" where there is none.

    A key will go there, so no other host is believed, whoever names it.
    """
    named = [properties.get("endpoint"), *_table(properties, "endpoints").values()]
    usable = list(_usable_endpoints(named, loopback))
    canonical = (one for one in usable if one.endswith(".services.ai.azure.com"))
    return next(canonical, usable[0] if usable else "")


def _usable_endpoints(named: Sequence[object], loopback: bool) -> Iterator[str]:
    for text in named:
        if not isinstance(text, str):
            continue
        try:
            # Not as the administrator: only Azure's own hosts, or this machine.
            endpoint = normalize_endpoint(text, administrator=False, service="foundry")
        except ProfileError:
            endpoint = _sovereign_endpoint(text)
        here = is_loopback_host(urlsplit(endpoint).hostname or "")
        if endpoint and (loopback or not here):
            yield endpoint


def _sovereign_endpoint(text: str) -> str:
    """The address of a resource in another of Azure's clouds, "" for any other."""
    try:
        endpoint = normalize_endpoint(text, administrator=True, service="foundry")
    except ProfileError:
        return ""
    host = endpoint.removeprefix("https://")
    return endpoint if host.endswith(SOVEREIGN_DOMAINS) and "/" not in host else ""


def _requests_a_minute(limits: object) -> float | None:
    """The least of the limits on requests, each `count` in `renewalPeriod` seconds."""
    found = []
    for limit in _list(limits):
        one = _table(limit)
        count, seconds = one.get("count"), one.get("renewalPeriod")
        if one.get("key") == "request" and _is_positive(count) and _is_positive(seconds):
            found.append(count * 60 / seconds)
    rpm = min(found, default=0.0)
    return round(rpm, 2) if 0.01 <= rpm <= 100_000 else None


def _is_positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, float) and 0 < value < 1e9


def _day(text: str) -> date | None:
    """A day out of a date or a time as Azure writes them."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _texts(item: object, *names: str) -> dict[str, str]:
    """Fields of an item that must be texts; "" where they aren't."""
    table = _table(item)
    found = {name: table.get(name) for name in names}
    return {name: value if isinstance(value, str) else "" for name, value in found.items()}


def _table(item: object, name: str = "") -> dict[str, Any]:
    value = item.get(name) if name and isinstance(item, dict) else item
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
