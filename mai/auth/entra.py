"""Entra ID: its ways to sign in, and tokens that all calls share.

azure-identity signs in, refreshes and keeps tokens. What it leaves to its user is done here:

- It blocks, up to 24 s where no credential is to be had, and so it runs in a thread and every wait
  is bounded.
- It has no lock, and the Azure CLI's credential keeps no token: a batch of 16 would start `az` 16
  times. Here one request at a time is shared by all who wait, and a failure is remembered.
- It gives the token that it keeps, even after a 401. Of what it offers against that, `claims` is
  refused by the Azure CLI's credential and ignored by older managed identities, and `enable_cae`
  is a second cache; only a new credential object brings another token by every method.

It is imported when the first token is needed: that takes up to 0.6 s.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ..disk import within
from ..errors import CredentialError
from .network_settings import hide_passwords, setting_mistakes
from .secrets import Redact, Sealed, Secret, hide_tokens, keep_tokens_out, redacted_loggers

logger = logging.getLogger(__name__)

SCOPE = "https://cognitiveservices.azure.com/.default"
"""The audience of Azure AI services (Microsoft's documentation of the MAI API)."""

DATABASE = "https://ossrdbms-aad.database.windows.net/.default"
"""The audience of Azure Database for PostgreSQL, whose password is a token (its documentation)."""

STORAGE = "https://storage.azure.com/.default"
"""The audience of Azure Blob Storage (its documentation of Entra ID)."""
SOVEREIGN_SCOPES = {
    ".azure.us": "https://cognitiveservices.azure.us/.default",
    ".azure.cn": "https://cognitiveservices.azure.cn/.default",
}
"""The same in the clouds of the US government and of China, by the end of an endpoint's host."""

WAIT = 30.0
"""Seconds for a token: the default chain was measured to need 24 s to fail."""

DEVICE_WAIT = 900.0
"""Seconds for a person to type a device code; Entra's codes are good for 15 minutes."""

CONNECT_SECONDS = 10
READ_SECONDS = 20
"""For azure-identity's own connections, whose default of 300 s outlasts every wait for a token."""

MARGIN = 300.0
"""Seconds before its end at which a token is renewed: azure-identity's own margin, and the time
that a call lasts at most by default."""

MARGIN_WAIT = 5.0
"""Seconds for a new token within that margin; after that the old one is used, so that an endpoint
which hangs fails no call before the token has really ended."""

LONGEST_LIFE = 86_400.0
"""Seconds: the longest that Entra's tokens live is a day. What says more is asked for anew then."""

REMEMBER = 15.0
"""Seconds for which a failure is given to everyone who asks, instead of trying again."""

RENEW_PAUSE = 10.0
"""Seconds after a renewal in which another 401 brings no further one: a batch of 16 whose token was
refused comes back with sixteen 401s."""


LOGGERS = ("azure", "msal", "msal_extensions", "urllib3", "requests", "httpx", "httpcore")
"""The packages that sign in and what they connect with. They record answers that can't be read."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")
_TRIED = re.compile(r"^[ \t]*(\w{1,80}Credential): *(.*)$", re.MULTILINE)
_SENTENCE = re.compile(r".{15,199}?[.!](?=\s|$)")


class SignInMethod(NamedTuple):
    """A credential of azure-identity: its class, the settings that it takes, help if it fails."""

    class_name: str
    settings: frozenset[str]
    hint: str


METHODS = {
    "default": SignInMethod(
        "DefaultAzureCredential",
        frozenset({"client_id"}),
        "Run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, "
        "or give the machine a managed identity, or use a key instead.",
    ),
    "environment": SignInMethod(
        "EnvironmentCredential",
        frozenset(),
        "Set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or "
        "AZURE_CLIENT_CERTIFICATE_PATH) where ComfyUI is started, and check that they belong "
        "together.",
    ),
    "managed_identity": SignInMethod(
        "ManagedIdentityCredential",
        frozenset({"client_id"}),
        "Check that this machine has a managed identity, and that client_id names it if it is a "
        "user-assigned one.",
    ),
    "azure_cli": SignInMethod(
        "AzureCliCredential",
        frozenset({"tenant_id"}),
        "Run `az login` (with --tenant if the resource is in another tenant) as the user that runs "
        "ComfyUI.",
    ),
    "device_code": SignInMethod(
        "DeviceCodeCredential",
        frozenset({"client_id", "tenant_id"}),
        "Run the command again and type the code into the page within 15 minutes.",
    ),
}
"""Every method by its name in profiles.toml."""


@dataclass(frozen=True, slots=True)
class Entra:
    """How to sign in, and for which audience.

    `discovery` False: Microsoft is not asked whether it knows the authority. `scope` is whom the
    token is for; `proxy` the address through which to sign in, where it isn't the environment's.
    The Azure CLI and a managed identity go their own way.
    """

    method: str = "default"
    client_id: str | None = None
    tenant_id: str | None = None
    discovery: bool = True
    scope: str = SCOPE
    proxy: Secret | None = None

    @property
    def class_name(self) -> str:
        """The class of azure-identity that signs in by this method."""
        return METHODS[self.method].class_name


Build = Callable[[Entra], Any]
"""Makes what gives the tokens: azure-identity's credential, or a test's with `get_token`."""


def azure_identity(prompt: Callable[[str], None]) -> Build:
    """What makes azure-identity's credentials; `prompt` shows a device code to the user."""

    def build(entra: Entra) -> Any:
        import azure.identity

        return getattr(azure.identity, entra.class_name)(**_options(entra, prompt))

    return build


def _options(entra: Entra, prompt: Callable[[str], None]) -> dict[str, Any]:
    """The arguments of azure-identity's class."""
    options: dict[str, Any] = {}
    if entra.method != "azure_cli":
        options.update(connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
        if not entra.discovery:
            options["disable_instance_discovery"] = True
        if entra.proxy is not None and entra.method != "managed_identity":
            # Not for http: that is a managed identity's address on this machine.
            options["proxies"] = {"https": entra.proxy.reveal()}
    if entra.tenant_id:
        options["tenant_id"] = entra.tenant_id
    if entra.client_id:
        name = "managed_identity_client_id" if entra.method == "default" else "client_id"
        options[name] = entra.client_id
    if entra.method == "device_code":
        options["timeout"] = int(DEVICE_WAIT)
        options["prompt_callback"] = lambda uri, code, until: prompt(
            f"To sign in, open {uri} and enter the code {code}."
        )
    return options


@dataclass(frozen=True, slots=True)
class _Token:
    """A token; times are Unix seconds."""

    value: str = field(repr=False)
    expires_at: float
    renew_at: float


_Outcome = _Token | str
"""What a request for a token brings: a token, or why there is none in words fit for the user."""


class EntraCredential(Sealed):
    """A bearer token in `Authorization`. One object serves every thread and event loop.

    `build` makes azure-identity's object and `clock` gives Unix seconds; `redact` replaces secrets
    in azure-identity's texts; `wait` is the seconds for a token.
    """

    def __init__(
        self,
        entra: Entra,
        build: Build,
        *,
        wait: float | None = None,
        clock: Callable[[], float] = time.time,
        redact: Redact = str,
    ) -> None:
        self._entra = entra
        self._build = build
        self._wait = wait or (DEVICE_WAIT if entra.method == "device_code" else WAIT)
        self._clock = clock
        self._redact: Redact = lambda text: hide_tokens(hide_passwords(redact(text)))
        self._lock = threading.Lock()
        self._provider: Any = None
        self._request: Future[_Outcome] | None = None
        self._token: _Token | None = None
        self._renewed_at = 0.0
        self._failure = ""
        self._failed_at = 0.0

    def for_scope(self, scope: str) -> EntraCredential:
        """The same identity with tokens for somebody else."""
        entra = replace(self._entra, scope=scope)
        return EntraCredential(
            entra, self._build, wait=self._wait, clock=self._clock, redact=self._redact
        )

    @property
    def can_renew(self) -> bool:
        """A device code can't be renewed without its user."""
        return self._entra.method != "device_code"

    def is_there(self) -> bool:
        """True: whether somebody is signed in is known only once a token is asked for."""
        return True

    def describe(self) -> str:
        """The method, and the identity where one is named."""
        identity = f" {self._entra.client_id}" if self._entra.client_id else ""
        return f"Entra ID ({self._entra.class_name}{identity})"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.describe()}>"

    async def headers(self, *, renew: bool = False) -> dict[str, str]:
        """The bearer header; with `renew` a token other than the last. Raises CredentialError."""
        token = self._valid_token(renew)
        if token is None or token.renew_at <= self._clock():
            wait = self._wait_for(token)
            token = self._chosen(token, await self._shared_request(renew, wait))
        return {"Authorization": f"Bearer {token.value}"}

    def token(self) -> str:
        """The token alone, for what isn't HTTP. Blocks; raises CredentialError."""
        token = self._valid_token(False)
        if token is None or token.renew_at <= self._clock():
            wait = self._wait_for(token)
            request = self._request_under_way(False)
            outcome: _Outcome
            try:
                outcome = request if isinstance(request, str) else request.result(wait)
            except FutureTimeoutError:
                outcome = self._given_up(request, wait)
            token = self._chosen(token, outcome)
        return token.value

    def _wait_for(self, token: _Token | None) -> float:
        """Seconds to wait for a new token, beside the one that is still valid."""
        return self._wait if token is None else min(MARGIN_WAIT, self._wait)

    def _chosen(self, token: _Token | None, outcome: _Outcome) -> _Token:
        """The new token, else the old one; CredentialError where there is neither."""
        if isinstance(outcome, _Token):
            return outcome
        if token is None:
            hint = METHODS[self._entra.method].hint
            raise CredentialError(f"No Entra ID token: {outcome}", hint)
        logger.warning("The Entra token could not be renewed yet; it is still valid.")
        return token

    def _valid_token(self, renew: bool) -> _Token | None:
        """The token that is there, if it has not ended. `renew` drops it as refused."""
        with self._lock:
            now = self._clock()
            if renew and now - self._renewed_at >= RENEW_PAUSE:
                self._token = None
            return self._token if self._token and now < self._token.expires_at else None

    async def _shared_request(self, renew: bool, wait: float) -> _Outcome:
        """Waits for the one request for a token, which is started if there is none."""
        request = self._request_under_way(renew)
        if isinstance(request, str):
            return request
        try:
            return await within(wait, asyncio.wrap_future(request))
        except asyncio.TimeoutError:
            return self._given_up(request, wait)

    def _request_under_way(self, renew: bool) -> Future[_Outcome] | str:
        """The one request for a token, or the failure of the last one, a moment ago."""
        with self._lock:
            if self._clock() < self._failed_at + REMEMBER:
                return self._failure
            if self._request is None:
                self._request = self._start(renew)
            return self._request

    def _given_up(self, request: Future[_Outcome] | str, wait: float) -> str:
        """The failure of a request that takes too long, which is remembered."""
        with self._lock:
            reason = f"no answer within {wait:g} s. Tried: {_tried(self._provider, self._entra)}."
            if not isinstance(request, str):
                self._end(request, reason)
        return reason

    def _start(self, renew: bool) -> Future[_Outcome]:
        if renew:
            self._provider = None
        request: Future[_Outcome] = Future()
        request.set_running_or_notify_cancel()  # one caller who gives up cancels nobody else
        threading.Thread(
            target=self._run, args=(request, renew), name="mai-entra-token", daemon=True
        ).start()
        return request

    def _run(self, request: Future[_Outcome], renew: bool) -> None:
        """The thread: one request for a token; its outcome is never an exception."""
        outcome = self._get_token()
        with self._lock:
            if renew:
                self._renewed_at = self._clock()
            self._end(request, outcome)
        request.set_result(outcome)

    def _end(self, request: Future[_Outcome], outcome: _Outcome) -> None:
        """Keeps an outcome. The next request after a failure has a new credential object.

        A token that comes after its request was given up is kept if none is there.
        """
        current = self._request is request
        if current:
            self._request = None
        if isinstance(outcome, _Token):
            if current or self._token is None:
                self._token, self._failed_at = outcome, 0.0
        elif current:
            self._failure, self._failed_at, self._provider = outcome, self._clock(), None

    def _get_token(self) -> _Outcome:
        """azure-identity's token; this blocks."""
        try:
            provider = self._provider or self._build(self._entra)
            self._provider = provider
            keep_tokens_out(LOGGERS)
            with redacted_loggers(_azure_loggers(), self._redact):
                info = getattr(provider, "get_token_info", provider.get_token)(self._entra.scope)
            return _checked(info, self._clock())
        except ImportError as error:
            return f"azure-identity can't be imported ({error.name}): `pip install azure-identity`."
        except Exception as error:  # noqa: BLE001 (azure-core, msal, requests, subprocess raise)
            logger.debug("No token from %s: %s", self._entra.class_name, type(error).__name__)
            return _explain(error, self._entra, self._redact)


def _checked(info: Any, now: float) -> _Outcome:
    """A token fit for a header, with the time to renew it: at half of a short life."""
    if not _TOKEN.fullmatch(str(info.token)):
        return "what the token endpoint gave isn't a token."
    expires_at = min(now + LONGEST_LIFE, float(info.expires_on))
    renew_at = expires_at - min(MARGIN, (expires_at - now) / 2)
    refresh_on = getattr(info, "refresh_on", None)
    if refresh_on is not None and refresh_on > now:
        renew_at = min(renew_at, refresh_on)
    return _Token(str(info.token), expires_at, renew_at)


def _azure_loggers() -> list[str]:
    """azure-identity's loggers, which record what a token endpoint answered."""
    return [name for name in list(logging.root.manager.loggerDict) if "azure.identity" in name]


def _tried(provider: Any, entra: Entra) -> str:
    """The credentials of a chain, or the one that there is."""
    chain = getattr(provider, "credentials", None)
    if not isinstance(chain, (tuple, list)):
        return entra.class_name
    names = [getattr(one, "_credential_name", None) or type(one).__name__ for one in chain]
    return f"{entra.class_name} ({', '.join(names)})"


def _explain(error: Exception, entra: Entra, redact: Redact) -> str:
    """azure-identity's text cut down to a line for each credential that it tried; before it what is
    wrong with the environment's proxies and certificate files."""
    text = redact(str(error))
    mistakes = "; ".join(setting_mistakes(socks="socks" in text.lower()))
    if mistakes:
        return f"{mistakes} (where ComfyUI is started). {_reasons(text, error, entra)}"
    return _reasons(text, error, entra)


def _reasons(text: str, error: Exception, entra: Entra) -> str:
    tried = _TRIED.findall(text)
    if tried:
        lines = [f"{name}: {_first_sentence(why)}" for name, why in tried[:12]]
        return "tried, without success:\n" + "\n".join(lines)
    return f"{entra.class_name}: {_first_sentence(text) or type(error).__name__}"


def _first_sentence(text: str) -> str:
    """The first sentence of a text, printable, 200 characters at most."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    found = _SENTENCE.match(line)
    return found[0] if found else line[:200]
