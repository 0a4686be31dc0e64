"""`mai-image doctor`: checks a profile step by step; the first failure says what to do.

No step buys anything but the last one, which is only done where the user asks for it. Each service
is sent a harmless request whose refusal shows what is right and what is wrong.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial
from urllib.parse import urlsplit

from ..mai.auth import Headers
from ..mai.client import Client
from ..mai.errors import ConnectError, MaiError
from ..mai.http import HttpAnswer, HttpRequest, NotSentError, resolve
from ..mai.models import CATALOGUE, DEFAULT_MODEL, Model
from ..mai.profiles import ANY_MODEL, EMULATOR, SERVICES, Profile
from ..mai.providers import PROVIDERS, Provider
from ..mai.types import Generate
from .command import locate_folder, open_client
from .model_list import unpublished_price


class Step(IntEnum):
    """What is checked, in order. The value is the exit code of `mai-image doctor` if it fails."""

    PROFILE = 3
    CREDENTIAL = 4
    NAME = 5
    CONNECTION = 6
    AUTHENTICATION = 7
    DEPLOYMENT = 8
    IMAGE = 9


EXIT_CODES = "exit codes: 0 all well, " + ", ".join(f"{s.value} {s.name.lower()}" for s in Step)


def add_doctor_options(parser: argparse.ArgumentParser) -> None:
    """The profile, and whether to buy an image."""
    parser.add_argument("--profile", help="only this profile (all configured ones)")
    parser.add_argument("--spend", action="store_true", help="buy one image as the last step")


def run_doctor(arguments: argparse.Namespace) -> int:
    """Print what each step finds; gives the value of the first step that failed, or 0."""
    folder, reason = locate_folder(arguments)
    print(f"folder: {folder} ({reason})")
    with open_client(arguments) as client:
        for warning in [*client.profiles.warnings(), *client.store.warnings()]:
            print(f"  ! {warning}")
        names = [name for name in client.profiles.names() if name != EMULATOR] or ["default"]
        if arguments.profile:
            names = [arguments.profile]
        codes = [_Examination(client, name).run(arguments.spend) for name in names]
    return next((code for code in codes if code), 0)


class _Examination:
    """The steps on one profile: a method each, which says what it found or raises a MaiError."""

    _profile: Profile
    _provider: Provider
    _answer: HttpAnswer

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    def run(self, spend: bool) -> int:
        """Print what each step finds, up to the first that fails; gives its value, or 0."""
        print(self._name)
        for step, check in self._steps(spend):
            code, mark = 0, "ok   "
            try:
                text = check()
            except MaiError as error:
                code, mark, text = int(step), "wrong", str(error)
            text = text.replace("\n", "\n      ")
            print(f"  {mark} {step.name.lower()}: {text}")
            if code:
                return code
            if step is Step.PROFILE:
                for note in _notes(self._profile):
                    print(f"  note  profile: {note}")
        return 0

    def _steps(self, spend: bool) -> Iterator[tuple[Step, Callable[[], str]]]:
        """A generator, because later steps depend on the profile that the first one reads."""
        yield Step.PROFILE, self._read_profile
        yield Step.CREDENTIAL, self._get_credential
        yield Step.CONNECTION, self._read_network_settings
        yield Step.NAME, self._resolve_name
        yield Step.CONNECTION, self._connect
        yield Step.AUTHENTICATION, self._authenticate
        if SERVICES[self._profile.service].has_deployments:
            named = self._profile.deployments or {DEFAULT_MODEL: (DEFAULT_MODEL,)}
            for model, deployments in named.items():
                for deployment in deployments:
                    yield Step.DEPLOYMENT, partial(self._find_deployment, model, deployment)
        if spend:
            yield Step.IMAGE, self._buy_image

    def _read_profile(self) -> str:
        self._profile = self._client.ready(self._client.profiles.get(self._name))
        self._provider = PROVIDERS[self._profile.service]
        return f"{self._profile.service}, {self._profile.endpoint}"

    def _get_credential(self) -> str:
        self._client.run(self._profile.credential.headers()).result()
        return self._profile.credential.describe()

    def _read_network_settings(self) -> str:
        async def prepare() -> None:
            self._client.transport.prepare(self._profile)

        self._client.run(prepare()).result()
        return "this machine's proxy and certificate settings can be used"

    def _resolve_name(self) -> str:
        host = urlsplit(self._profile.endpoint).hostname or ""
        try:
            return f"{host} is {self._client.run(resolve(host)).result()}"
        except OSError as error:
            raise MaiError(
                f"The name {host} can't be resolved ({error}).",
                "Check the endpoint's spelling, the network, and for a private endpoint its DNS "
                "zone. Behind a proxy that resolves names itself this step may fail although calls "
                "work.",
            ) from None

    def _connect(self) -> str:
        self._answer = self._send(self._provider.probe(self._profile.endpoint))
        return f"{self._profile.endpoint} answers in {self._answer.seconds:.1f} s"

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
        answer = self._send(self._provider.probe(self._profile.endpoint, deployment))
        if answer.status == 404:
            raise MaiError(f"{deployment} for {about}: {self._provider.error_for(answer)}")
        return f"{deployment} is there, for {about}"

    def _buy_image(self) -> str:
        prompt = "a lighthouse at dawn"
        request = Generate(self._provider.test_model, prompt, 768, 768, seed=time.time_ns())
        result = self._client.submit(request, self._profile.name).result()
        return f"{result.seconds:.0f} s, ${result.cost_usd or 0:.4f}"

    def _send(self, request: HttpRequest) -> HttpAnswer:
        """One exchange with the profile's credential, never repeated."""

        async def exchange() -> HttpAnswer:
            headers = Headers(await self._profile.credential.headers())
            return await self._client.transport.exchange(request, headers, self._profile)

        try:
            return self._client.run(exchange()).result()
        except NotSentError as error:
            raise ConnectError(
                f"No connection to {self._profile.endpoint} ({error}).",
                "Check the endpoint's spelling, the network and the proxy settings.",
            ) from None


def _notes(profile: Profile) -> Iterator[str]:
    """What isn't known of the models that a profile can call, and which of them are retired."""
    service = SERVICES[profile.service]
    models = _callable_models(profile)
    if service.catalogue_prices:
        yield from (unpublished_price(model) for model in models if not model.price_known)
    else:
        yield f"{service.name} has prices of its own, which aren't known: counted at Microsoft's"
    learned = [model.name for model in models if profile.rpm(model) is None]
    if learned:
        names = "" if len(learned) == len(models) > 1 else f"{', '.join(learned)}: "
        yield f"{names}requests a minute aren't known: learned from the answers"
    yield from (model.retirement_note() for model in models if model.is_retired)


def _callable_models(profile: Profile) -> list[Model]:
    """The models that its deployments name; where one may be any model, all that aren't retired."""
    named = set(profile.deployments)
    if named and ANY_MODEL not in named:
        return [model for name, model in CATALOGUE.items() if name in named]
    return [model for model in CATALOGUE.values() if model.name in named or not model.is_retired]
