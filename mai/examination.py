"""Whether a profile can be used: the checks of `mai-image doctor` that buy nothing.

Each service is sent a harmless request whose refusal shows what is right and what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

from .auth import Headers, setting_mistakes
from .database import DatabaseGone
from .errors import ConnectError, MaiError, StoreError
from .http import HttpAnswer, HttpRequest, NotSentError, Transport, resolve
from .ledger import Ledger
from .models import DEFAULT_MODEL
from .profiles import SERVICES, Profile, Profiles
from .providers import PROVIDERS, Provider
from .store import SharedStore, Store, check_images


class Step(IntEnum):
    """What is checked, in order. The value is the exit code of `mai-image doctor` if it fails."""

    PROFILE = 3
    CREDENTIAL = 4
    NAME = 5
    CONNECTION = 6
    AUTHENTICATION = 7
    DEPLOYMENT = 8
    IMAGE = 9
    DATABASE = 10
    STORE = 11


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `error` is why the step failed, None where all is well.

    Both name endpoints, hosts and files: they are for a terminal.
    """

    step: Step
    text: str
    error: MaiError | None = None


class Connected(Protocol):
    """What a client has that the checks need."""

    profiles: Profiles
    transport: Transport
    store: Store

    def ready(self, profile: Profile) -> Profile:
        """The profile with the emulator's address filled in."""
        ...

    def run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Runs a coroutine in the client's loop."""
        ...


CLOCK_APART = 60.0
"""Seconds between two clocks that are worth a remark; nothing depends on them."""


def examine_database(ledger: Ledger) -> Iterator[Finding]:
    """What the database that machines share is like; nothing where the ledger is a file. Blocks."""
    try:
        facts = ledger.look_at_server()
    except DatabaseGone as error:
        text = f"{error}\n{error.detail}" if error.detail else str(error)
        yield Finding(Step.DATABASE, text, error)
        return
    except MaiError as error:
        yield Finding(Step.DATABASE, str(error), error)
        return
    if facts is None:
        return
    tls = "by TLS" if facts.encrypted else "without TLS"
    milliseconds = 1000 * facts.round_trip
    yield Finding(Step.DATABASE, f"{facts.product} answers in {milliseconds:.0f} ms, {tls}")
    if facts.refused:
        refusal = StoreError(
            f"Its role may not read and write {', '.join(facts.refused)}.",
            "The role must own the tables in its schema: docs/studio.md has the SQL.",
        )
        yield Finding(Step.DATABASE, str(refusal), refusal)
        return
    yield Finding(Step.DATABASE, f"its role has its rights; the ledger has version {facts.version}")
    apart = f"{abs(facts.clock_ahead):.1f} s {'ahead' if facts.clock_ahead > 0 else 'behind'}"
    remark = ": the database's counts" if abs(facts.clock_ahead) > CLOCK_APART else ""
    yield Finding(Step.DATABASE, f"its clock is {apart} of this machine's{remark}")


def examine_store(client: Connected) -> Iterator[Finding]:
    """Whether the images that machines share can be written and read; nothing where none are.

    Blocks.
    """
    store = client.store
    if not isinstance(store, SharedStore):
        return
    try:
        yield Finding(Step.STORE, client.run(check_images(store.images)).result())
    except MaiError as error:
        yield Finding(Step.STORE, str(error), error)
    if waiting := store.waiting():
        yield Finding(Step.STORE, f"{waiting} images of this machine are still to be brought there")


class Examination:
    """The steps on one profile: a method each, which says what it found or raises a MaiError.

    `profile` is there once the step PROFILE was well. Blocks: on the disk, on the network, on
    whatever gives the credential.
    """

    profile: Profile
    _provider: Provider
    _answer: HttpAnswer

    def __init__(self, client: Connected, name: str) -> None:
        self._client = client
        self._name = name

    def findings(self) -> Iterator[Finding]:
        """Each step's finding, up to the first that fails."""
        for step, check in self._steps():
            try:
                yield Finding(step, check())
            except MaiError as error:
                yield Finding(step, str(error), error)
                return

    def _steps(self) -> Iterator[tuple[Step, Callable[[], str]]]:
        """A generator, because later steps depend on the profile that the first one reads."""
        yield Step.PROFILE, self._read_profile
        yield Step.CREDENTIAL, self._get_credential
        yield Step.CONNECTION, self._read_network_settings
        yield Step.NAME, self._resolve_name
        yield Step.CONNECTION, self._connect
        yield Step.AUTHENTICATION, self._authenticate
        if SERVICES[self.profile.service].has_deployments:
            named = self.profile.deployments or {DEFAULT_MODEL: (DEFAULT_MODEL,)}
            for model, deployments in named.items():
                for deployment in deployments:
                    yield Step.DEPLOYMENT, partial(self._find_deployment, model, deployment)

    def _read_profile(self) -> str:
        self.profile = self._client.ready(self._client.profiles.get(self._name))
        self._provider = PROVIDERS[self.profile.service]
        return f"{self.profile.service}, {self.profile.endpoint}"

    def _get_credential(self) -> str:
        self._client.run(self.profile.credential.headers()).result()
        return self.profile.credential.describe()

    def _read_network_settings(self) -> str:
        async def prepare() -> None:
            self._client.transport.prepare(self.profile)

        self._client.run(prepare()).result()
        said = "this machine's proxy and certificate settings can be used"
        odd = [] if self.profile.on_loopback else list(setting_mistakes())
        return f"{said}; not needed here, and to be corrected: {'; '.join(odd)}" if odd else said

    def _resolve_name(self) -> str:
        host = urlsplit(self.profile.endpoint).hostname or ""
        try:
            return f"{host} is {self._client.run(resolve(host)).result()}"
        except OSError as error:
            if self.profile.network.has_proxy and not self.profile.on_loopback:
                return f"{host} isn't known to this machine: the proxy may know it"
            raise MaiError(
                f"The name {host} can't be resolved ({error}).",
                "Check the endpoint's spelling, the network, and for a private endpoint its DNS "
                "zone; or name the proxy through which calls have to go.",
            ) from None

    def _connect(self) -> str:
        self._answer = self._send(self._provider.probe(self.profile.endpoint))
        return f"{self.profile.endpoint} answers in {self._answer.seconds:.1f} s"

    def _authenticate(self) -> str:
        """Reads the answer that showed the connection: it also says whether the key is known."""
        status = self._answer.status
        if status in (401, 402, 403) or status >= 500 or 300 <= status < 400:
            error = self._provider.error_for(self._answer)
            # Not the error itself: of a 5xx it says "perhaps billed", and no image was ordered.
            raise MaiError(f"{error.what} {error.hint}", status=status)
        return "the service accepts the credential"

    def _find_deployment(self, model: str, deployment: str) -> str:
        about = "any model" if model == "*" else model
        answer = self._send(self._provider.probe(self.profile.endpoint, deployment))
        if answer.status == 404:
            raise MaiError(f"{deployment} for {about}: {self._provider.error_for(answer)}")
        return f"{deployment} is there, for {about}"

    def _send(self, request: HttpRequest) -> HttpAnswer:
        """One exchange with the profile's credential, never repeated."""

        async def exchange() -> HttpAnswer:
            headers = Headers(await self.profile.credential.headers())
            return await self._client.transport.exchange(request, headers, self.profile)

        try:
            answer: HttpAnswer = self._client.run(exchange()).result()
            return answer
        except NotSentError as error:
            raise ConnectError(
                f"No connection to {self.profile.endpoint} ({error}).",
                "Check the endpoint's spelling, the network and the proxy settings.",
            ) from None
