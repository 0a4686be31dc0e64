"""Azure's resource manager, as a login sees it: lists in pages, and a new deployment.

It is asked through the pack's own transport: proxies, redaction and limits are the same as for
images. The token goes to the one host that was named, and a page that leads elsewhere is refused.
Reading costs nothing; a deployment costs nothing either until an image is made.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from ..mai.auth import Credential, Headers, Network
from ..mai.errors import MaiError, ProfileError, ServiceError
from ..mai.formats import parse_json
from ..mai.http import HttpAnswer, HttpRequest, NotSentError, Transport, retry_after
from ..mai.profiles import is_loopback_host, normalize_endpoint
from .azure_items import (
    ENDED,
    DeployableModel,
    FoundryResource,
    ImageDeployment,
    Subscription,
    printable,
    quoted,
    read_deployment,
    read_model,
    read_resource,
    read_subscription,
    read_tenant,
)

PUBLIC = "https://management.azure.com"

CLOUDS = {
    "AzureCloud": PUBLIC,
    "AzureChinaCloud": "https://management.chinacloudapi.cn",
    "AzureUSGovernment": "https://management.usgovcloudapi.net",
}
"""The resource managers of the clouds, by the names that the Azure CLI has for them."""

SUBSCRIPTIONS_VERSION = "2022-12-01"
ACCOUNTS_VERSION = "2024-10-01"
"""The api-versions whose answers are read here (Microsoft's reference)."""

SKU = "GlobalStandard"
"""The only kind of deployment that MAI image models have."""

MOST_BYTES = 8 * 2**20
"""Of one answer: a page of a few hundred items has less than one megabyte."""

MOST_PAGES = 200
MOST_ITEMS = 20_000
MOST_RESOURCES = 500
"""Resources whose deployments are listed, one request each."""

LONGEST_LIST = 180.0
"""Seconds for all pages of a list; each page has its own timeout besides."""

TRIES = 3
LONGEST_PAUSE = 10.0
"""Seconds of a Retry-After that are waited for."""

AT_ONCE = 8
"""Subscriptions or resources that are asked for side by side."""

CREATION_SECONDS = 180.0
POLL_SECONDS = 2.0

T = TypeVar("T")
S = TypeVar("S")


class ManagerError(MaiError, shown_as="Azure not readable"):
    """The resource manager refuses, can't be reached, or answers what can't be used."""


@dataclass(frozen=True, slots=True)
class ManagerHost:
    """One resource manager, as the transport wants its targets; times are in seconds."""

    endpoint: str
    on_loopback: bool
    network: Network = field(default_factory=Network)
    name: str = "Azure's resource manager"
    timeout: float = 60.0
    connect_timeout: float = 10.0

    @property
    def scope(self) -> str:
        """Whom a token must be for. A host that isn't a cloud's own is taken for the public one."""
        known = self.endpoint if self.endpoint in CLOUDS.values() else PUBLIC
        return f"{known}/.default"


def parse_manager(text: str | None, network: Network) -> ManagerHost:
    """The resource manager that an option names, the public cloud's without it. ProfileError.

    `network` is the way to the profile's service. A private endpoint is called without a proxy and
    may demand a certificate; neither holds for a cloud's own resource manager.
    """
    by_name = {name.lower(): url for name, url in CLOUDS.items()}
    named = by_name.get((text or "AzureCloud").strip().lower(), text or "")
    try:
        endpoint = normalize_endpoint(named, administrator=True, service="foundry")
        host = urlsplit(endpoint).hostname or ""
        if "." not in host and not is_loopback_host(host):
            raise ProfileError("Its host has no dot in it.")
    except ProfileError as error:
        raise ProfileError(
            f"--resource-manager isn't an address that can be called. {error.what}",
            f"Give an https address, such as {', '.join(CLOUDS.values())}; http is for this "
            "machine only.",
        ) from None
    proxy = network.proxy if network.proxy_address else None
    certificate = None if endpoint in CLOUDS.values() else network.client_certificate
    own = Network(proxy, network.ca_file, certificate)
    return ManagerHost(endpoint, is_loopback_host(host), own)


@dataclass(slots=True)
class Survey:
    """What a login sees: resources with their deployments, and why some could not be read."""

    found: list[tuple[FoundryResource, list[ImageDeployment]]] = field(default_factory=list)
    problems: list[ManagerError] = field(default_factory=list)


class ResourceManager:
    """Asks one resource manager with one credential; a context manager. All methods block.

    Every method raises ManagerError or CredentialError. `pause` waits for some seconds.
    """

    def __init__(
        self,
        host: ManagerHost,
        credential: Credential,
        *,
        transport: Transport | None = None,
        pause: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        self.host = host
        self._credential = credential
        self._transport = transport or Transport()
        self._pause = pause
        self._loop = asyncio.new_event_loop()
        self._slots = asyncio.Semaphore(AT_ONCE)

    def __enter__(self) -> ResourceManager:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._transport.close())
        self._loop.close()

    def sign_in(self) -> None:
        """Get a token, so that what is wrong with a login is said before anything is asked."""
        self._run(self._credential.headers())

    def subscriptions(self) -> list[Subscription]:
        """All that the login sees."""
        path = f"/subscriptions?api-version={SUBSCRIPTIONS_VERSION}"
        return self._run(self._list(path, read_subscription))

    def tenants(self) -> list[tuple[str, str]]:
        """Ids and names of the login's tenants; empty where they can't be listed."""
        try:
            path = f"/tenants?api-version={SUBSCRIPTIONS_VERSION}"
            return self._run(self._list(path, read_tenant))
        except ManagerError:
            return []

    def survey(self, subscriptions: Sequence[Subscription]) -> Survey:
        """The AI resources of subscriptions, with their deployments of MAI image models."""
        return self._run(self._survey(subscriptions))

    def deployments(self, resource: FoundryResource) -> list[ImageDeployment]:
        """A resource's deployments of MAI image models."""
        return self._run(self._deployments(resource))

    def models(self, resource: FoundryResource) -> list[DeployableModel]:
        """The MAI image models that a resource can deploy."""
        path = f"{_path(resource)}/models?api-version={ACCOUNTS_VERSION}"
        return self._run(self._list(path, read_model, resource.subscription))

    def wait_for(self, resource: FoundryResource, name: str) -> ImageDeployment:
        """A deployment that is being made, once it can be called."""
        return self._run(self._until_ready(resource, name))

    def has_deployment(self, resource: FoundryResource, name: str) -> bool:
        """Whether a name is taken, by a deployment of any model."""
        url = self.host.endpoint + _deployment_path(resource, name)
        try:
            self._run(self._get(url, resource.subscription))
        except ManagerError as error:
            if error.status == 404:
                return False
            raise
        return True

    def create(
        self, resource: FoundryResource, name: str, model: DeployableModel
    ) -> ImageDeployment:
        """Make a deployment and wait until it can be called."""
        return self._run(self._create(resource, name, model))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    async def _survey(self, subscriptions: Sequence[Subscription]) -> Survey:
        result = Survey()
        resources = await self._each(subscriptions, self._resources, result.problems)
        flat = [resource for _, some in resources for resource in some]
        if len(flat) > MOST_RESOURCES:
            text = f"Only {MOST_RESOURCES} of {len(flat)} AI resources are looked into."
            result.problems.append(ManagerError(text, "Give --subscription NAME."))
            flat = flat[:MOST_RESOURCES]
        result.found = await self._each(flat, self._deployments, result.problems)
        return result

    async def _each(
        self,
        things: Sequence[S],
        ask: Callable[[S], Coroutine[Any, Any, T]],
        problems: list[ManagerError],
    ) -> list[tuple[S, T]]:
        """What is found for each of several things, some at a time; errors are added."""

        async def one(thing: S) -> T | ManagerError:
            async with self._slots:
                try:
                    return await ask(thing)
                except ManagerError as error:
                    return error

        outcomes = await asyncio.gather(*(one(thing) for thing in things))
        found = []
        for thing, outcome in zip(things, outcomes, strict=True):
            if isinstance(outcome, ManagerError):
                problems.append(outcome)
            else:
                found.append((thing, outcome))
        return found

    async def _resources(self, subscription: Subscription) -> list[FoundryResource]:
        path = (
            f"/subscriptions/{subscription.id}/providers/Microsoft.CognitiveServices/accounts"
            f"?api-version={ACCOUNTS_VERSION}"
        )
        loopback = self.host.on_loopback

        def read(item: object) -> FoundryResource | None:
            return read_resource(item, subscription, loopback=loopback)

        return await self._list(path, read, subscription)

    async def _deployments(self, resource: FoundryResource) -> list[ImageDeployment]:
        path = f"{_path(resource)}/deployments?api-version={ACCOUNTS_VERSION}"
        return await self._list(path, read_deployment, resource.subscription)

    async def _list(
        self,
        path: str,
        read: Callable[[object], T | None],
        subscription: Subscription | None = None,
    ) -> list[T]:
        """The items of a list through all its pages; those that can't be read are left out."""
        found: list[T] = []
        seen: set[str] = set()
        url: str | None = self.host.endpoint + path
        ends = time.monotonic() + LONGEST_LIST
        while url is not None:
            too_long = len(found) > MOST_ITEMS or time.monotonic() > ends
            if url in seen or len(seen) >= MOST_PAGES or too_long:
                raise _unusable("has no end: its pages lead in a circle, or on for ever")
            seen.add(url)
            body = await self._get(url, subscription)
            items = body.get("value")
            if not isinstance(items, list):
                raise _unusable("isn't a list")
            found += [one for one in map(read, items) if one is not None]
            url = self._next_page(body.get("nextLink"))
        return found

    def _next_page(self, link: object) -> str | None:
        """The address of the next page; ManagerError where it isn't on the same host."""
        if link is None or link == "":
            return None
        if (address := self._own_address(link)) is not None:
            return address
        raise _unusable("leads to another host for its next page, which gets no token")

    def _own_address(self, link: object) -> str | None:
        """An address out of an answer, None where it isn't below the one that gets the token."""
        if isinstance(link, str) and _is_plain(link):
            origin = "://".join(urlsplit(self.host.endpoint)[:2])
            if _origin(link) == _origin(origin):
                parts = urlsplit(link)
                again = f"{origin}{parts.path}" + (f"?{parts.query}" if parts.query else "")
                if again.startswith(f"{self.host.endpoint}/"):
                    return again
        return None

    async def _create(
        self, resource: FoundryResource, name: str, model: DeployableModel
    ) -> ImageDeployment:
        url = self.host.endpoint + _deployment_path(resource, name)
        wanted = {"format": "Microsoft", "name": model.name, "version": model.version}
        body = {"sku": {"name": SKU, "capacity": 1}, "properties": {"model": wanted}}
        answer, item = await self._answer("PUT", url, resource.subscription, body)
        if item and read_deployment(item) is None:
            raise _unusable("isn't the deployment that was asked for")
        named = answer.headers.get("azure-asyncoperation") or answer.headers.get("location")
        return await self._until_ready(resource, name, self._own_address(named))

    async def _until_ready(
        self, resource: FoundryResource, name: str, operation: str | None = None
    ) -> ImageDeployment:
        """A deployment once it can be called; `operation` is where Azure says how its making goes.

        It may not be listed at once; only Azure's word, or the end of the time, ends the wait.
        """
        url, subscription = (
            self.host.endpoint + _deployment_path(resource, name),
            resource.subscription,
        )
        ends, state = time.monotonic() + CREATION_SECONDS, "Accepted"
        while True:
            if operation is not None:
                await self._look(operation, subscription)
            made = read_deployment(await self._look(url, subscription))
            if made is not None and made.is_ready:
                return made
            state = made.state if made is not None else state
            if state.lower() in ENDED or time.monotonic() > ends:
                shown = f"--deployment-name {quoted(name)}"
                again = "run this command again to go on waiting."
                if state.lower() in ENDED:
                    again = f"delete it by `{resource.az('deployment delete', shown)}`."
                raise ManagerError(
                    f"The deployment {printable(name)!r} isn't ready: Azure says "
                    f"{printable(state)!r}.",
                    f"Look at it by `{resource.az('deployment show', shown)}`, or {again}",
                )
            await self._pause(POLL_SECONDS)

    async def _look(self, url: str, subscription: Subscription) -> dict[str, Any]:
        """The object that is answered; {} where it isn't there yet, and for trouble that passes."""
        try:
            return await self._get(url, subscription)
        except ManagerError as error:
            if error.status is None or error.status in (404, 429) or error.status >= 500:
                return {}
            raise

    async def _get(self, url: str, subscription: Subscription | None) -> dict[str, Any]:
        """The object at an address."""
        return (await self._answer("GET", url, subscription))[1]

    async def _answer(
        self,
        method: str,
        url: str,
        subscription: Subscription | None,
        body: dict[str, object] | None = None,
    ) -> tuple[HttpAnswer, dict[str, Any]]:
        """The answer and its object; a refusal with a short Retry-After is tried again."""
        for attempt in range(TRIES):
            answer = await self._send(HttpRequest(method, url, json=body))
            wait = retry_after(answer.headers)
            again = answer.status == 429 or (answer.status >= 500 and method == "GET")
            if not again or wait is None or wait > LONGEST_PAUSE or attempt == TRIES - 1:
                break
            await self._pause(wait)
        value = _parsed(answer)
        table = value if isinstance(value, dict) else {}
        if answer.status not in (200, 201, 202, 204) or _has_failed(table):
            raise _refused(answer, value, subscription, creates=method == "PUT")
        if answer.status in (200, 201) and value is not table:
            raise _unusable("isn't what its documentation says")
        return answer, table  # empty where it is only accepted: what comes of it is to be asked for

    async def _send(self, request: HttpRequest) -> HttpAnswer:
        headers = Headers(await self._credential.headers())
        try:
            return await self._transport.exchange(request, headers, self.host)
        except NotSentError as error:
            raise ManagerError(
                f"No connection to {self.host.endpoint} ({error}).",
                "Check the network and the proxy settings; in another cloud give "
                "--resource-manager.",
            ) from None
        except ServiceError as error:
            raise ManagerError(
                f"Azure's resource manager gave no usable answer. {error.what}",
                "Run the command again.",
            ) from None


def _path(resource: FoundryResource) -> str:
    return quote(resource.id, safe="/()")


def _deployment_path(resource: FoundryResource, name: str) -> str:
    path = f"{_path(resource)}/deployments/{quote(name, safe='')}"
    return f"{path}?api-version={ACCOUNTS_VERSION}"


def _has_failed(body: dict[str, Any]) -> bool:
    """Whether it is an operation that came to nothing, which is told with HTTP 200."""
    status = body.get("status")
    return isinstance(status, str) and status.lower() in ENDED


def _is_plain(url: str) -> bool:
    """Whether every program reads an address alike: no white space, backslash, other alphabet."""
    return url.isascii() and url.isprintable() and not {" ", "\\"} & set(url)


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an address; None for one with a login or an odd port."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:
        return None
    if "@" in parts.netloc or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port


def _parsed(answer: HttpAnswer) -> object:
    """The value of an answer's JSON, None for what isn't JSON."""
    if len(answer.body) > MOST_BYTES:
        raise _unusable(f"is larger than {MOST_BYTES // 2**20} MiB")
    try:
        return answer.redactor.parsed(parse_json(answer.body))
    except (ValueError, RecursionError):
        return None


def _unusable(what: str) -> ManagerError:
    return ManagerError(
        f"The answer of Azure's resource manager {what}.",
        "Check --resource-manager and the proxies between; nothing was changed.",
    )


def _refused(
    answer: HttpAnswer, value: object, subscription: Subscription | None, *, creates: bool
) -> ManagerError:
    """The error of a refusal, with the command that mends it."""
    error = value.get("error") if isinstance(value, dict) else None
    table = error if isinstance(error, dict) else {}
    code, said = table.get("code"), table.get("message")
    code = printable(code) if isinstance(code, str) else ""
    text = answer.redactor.shown(said) if isinstance(said, str) else ""
    where = f" (subscription {_shown(subscription)})" if subscription else ""
    what, hint = _explain(answer.status, code, subscription, creates)
    quoted_text = f" It says: {_sentence(text)}" if text else ""
    return ManagerError(
        f"{what}{where}.{quoted_text}", hint, status=answer.status, code=code or None
    )


def _explain(
    status: int, code: str, subscription: Subscription | None, creates: bool
) -> tuple[str, str]:
    """What a refusal means, without its full stop, and what to do."""
    tenant = subscription.tenant if subscription else ""
    login = f"az login --tenant {shlex.quote(tenant)}" if tenant else "az login"
    scope = f"/subscriptions/{subscription.id}" if subscription else "/subscriptions/ID"
    if status == 401:
        return (
            "Azure's resource manager doesn't accept this login",
            f"Run `{login}`, then this command again; for another cloud give --resource-manager.",
        )
    if code == "RequestDisallowedByPolicy":
        return (
            "A policy of your organisation forbids it",
            "Ask who keeps its Azure policies; another region or resource may be allowed.",
        )
    if status == 403:
        role = "Cognitive Services Contributor" if creates else "Cognitive Services User"
        return (
            f"This login has no role that lets it {'deploy' if creates else 'read'}",
            f'Have an owner run `az role assignment create --assignee YOU --role "{role}" '
            f"--scope {scope}`.",
        )
    if code == "MissingSubscriptionRegistration":
        return (
            "AI services aren't switched on yet",
            "Run `az provider register --namespace Microsoft.CognitiveServices --subscription "
            f"{subscription.id if subscription else 'ID'}`.",
        )
    if "quota" in code.lower():
        return (
            "The quota for this model is used up",
            "Look at it by `az cognitiveservices usage list --location REGION`, or delete another "
            "deployment.",
        )
    if code == "ScopeLocked":
        return "A lock forbids it", "See `az lock list`; who set it can take it away."
    if status == 409:
        return "Another change is under way there", "Wait a minute, then run this command again."
    if status == 429:
        what = "Azure's resource manager has too many requests"
        return what, "Wait a minute, then run this command again."
    if status >= 500:
        return "Azure's resource manager failed", "Wait a minute, then run this command again."
    return (
        "Azure's resource manager refuses",
        "Run `az account show` to see who is signed in where, then this command again.",
    )


def _shown(subscription: Subscription) -> str:
    return printable(subscription.name) or subscription.id


def _sentence(text: str) -> str:
    line = "".join(letter if letter.isprintable() else " " for letter in text[:200])
    return " ".join(line.split()) + ("…" if len(text) > 200 else "")
