"""The questions of `mai-image init`: each is asked again until its answer can be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ..mai.auth import METHODS, Secret
from ..mai.errors import MaiError
from ..mai.profiles import MAX_TIER
from . import init as setup

T = TypeVar("T")

SERVICES = (("foundry", "Microsoft Foundry, your own Azure resource"), ("pixazo", "Pixazo"))

KINDS = (
    ("key_env", "a key in an environment variable"),
    ("key_file", "a key in a file of its own (a mounted secret)"),
    ("key", "a key in profiles.toml itself, which only you can read"),
    ("entra", "Entra ID: az login, a managed identity, a client's secret"),
)

USUAL_VARIABLE = {"foundry": "AZURE_API_KEY", "pixazo": "PIXAZO_API_KEY"}


class Interview:
    """Asks a person. `ask` shows a question and gives a line, `ask_secret` the same without an
    echo, `tell` shows a line."""

    def __init__(
        self,
        ask: Callable[[str], str],
        ask_secret: Callable[[str], str],
        tell: Callable[[str], None],
    ) -> None:
        self._ask, self._ask_secret, self._tell = ask, ask_secret, tell

    def choices(self, name: str) -> setup.Choices:
        """All the answers, for a profile of this name."""
        service = self._choose("Which service?", SERVICES)
        self._tell(
            "The endpoint stands on the resource's page, such as https://NAME.services.ai.azure.com"
            if service == "foundry"
            else "Enter takes Pixazo's own gateway."
        )
        endpoint = self._until("Endpoint: ", lambda text: setup.endpoint_of(text, service))
        kind = self._choose("Who calls?", KINDS if service == "foundry" else KINDS[:-1])
        method, client_id, tenant_id = self._sign_in() if kind == "entra" else ("default", "", "")
        where = Secret("") if kind == "entra" else self._where(kind, service)
        deployment, tier = "", None
        if service == "foundry":
            deployment = self._line("Your deployment's name (Enter: it is named like its model): ")
            tier = self._number("Quota tier 1 to 6 (Enter: not known): ", MAX_TIER, whole=True)
        rpm = None
        if tier is None:
            rpm = self._number("Requests a minute (Enter: learn it): ", 100_000)
        return setup.Choices(
            endpoint,
            kind,
            where,
            name,
            service,
            method,
            client_id,
            tenant_id,
            (setup.deployment_of(deployment),) if deployment else (),
            None if tier is None else int(tier),
            rpm,
            self._number("Most USD a day (Enter: no limit): ", 100_000),
            self._number("Most USD a month (Enter: no limit): ", 100_000),
        )

    def _where(self, kind: str, service: str) -> Secret:
        if kind == "key":
            return self._until("The key (it isn't shown): ", _secret, secret=True)
        if kind == "key_file":
            return Secret(setup.key_file(self._until("The file's path: ", _given)))
        usual = USUAL_VARIABLE[service]
        return Secret(
            self._until(f"The variable's name [{usual}]: ", lambda text: _variable(text or usual))
        )

    def _sign_in(self) -> tuple[str, str, str]:
        """Method, client id and tenant id, the ids empty where they aren't needed."""
        method = self._choose("How?", [(name, about.class_name) for name, about in METHODS.items()])
        ids = {
            name: self._line(f"{name} (Enter: none): ") for name in sorted(METHODS[method].settings)
        }
        return method, ids.get("client_id", ""), ids.get("tenant_id", "")

    def _choose(self, question: str, options: Sequence[tuple[str, str]]) -> str:
        self._tell(question)
        for number, (_, about) in enumerate(options, start=1):
            self._tell(f"  {number}  {about}")

        def read(text: str) -> str:
            text = text or "1"
            if not text.isdecimal() or not 1 <= int(text) <= len(options):
                raise ValueError(f"Type a number from 1 to {len(options)}.")
            return options[int(text) - 1][0]

        return self._until("Number [1]: ", read)

    def _number(self, question: str, most: float, whole: bool = False) -> float | None:
        def read(text: str) -> float | None:
            if not text:
                return None
            try:
                value = float(text.lstrip("$"))
            except ValueError:
                value = -1.0
            if not 0 < value <= most or (whole and value != int(value)):
                raise ValueError(f"Type a number up to {most:g}, or nothing.")
            return value

        return self._until(question, read)

    def _line(self, question: str) -> str:
        return self._ask(question).strip()

    def _until(self, question: str, read: Callable[[str], T], secret: bool = False) -> T:
        """What `read` makes of a line; its error is shown, and the question asked again."""
        while True:
            text = (self._ask_secret if secret else self._ask)(question).strip()
            try:
                return read(text)
            except (ValueError, MaiError) as error:
                self._tell(str(error))


def _given(text: str) -> str:
    if not text:
        raise ValueError("Type something; Ctrl+C ends without writing a file.")
    return text


def _secret(text: str) -> Secret:
    return Secret(_given(text))


def _variable(text: str) -> str:
    problem = setup.variable_problem(text)
    if problem:
        raise ValueError(problem)
    return text
