"""Entra ID's ways to sign in, and what azure-identity is told and says.

azure-identity is imported when the first token is asked for: it costs up to 0.6 s.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

SCOPE = "https://cognitiveservices.azure.com/.default"
"""The audience of Azure AI services (Microsoft's documentation of the MAI API)."""

DEVICE_WAIT = 900.0
"""Seconds for a person to type a device code; Entra's codes are good for 15 minutes."""

CONNECT_SECONDS = 10
READ_SECONDS = 20
"""For azure-identity's own connections, whose default of 300 s outlasts every wait for a token."""

METHODS: dict[str, tuple[str, frozenset[str]]] = {
    "default": ("DefaultAzureCredential", frozenset({"client_id"})),
    "environment": ("EnvironmentCredential", frozenset()),
    "managed_identity": ("ManagedIdentityCredential", frozenset({"client_id"})),
    "azure_cli": ("AzureCliCredential", frozenset({"tenant_id"})),
    "device_code": ("DeviceCodeCredential", frozenset({"client_id", "tenant_id"})),
}
"""Each method's class in azure-identity, and which settings it takes."""

HINTS = {
    "default": "Run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, "
    "or give the machine a managed identity, or use a key instead.",
    "environment": "Set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or "
    "AZURE_CLIENT_CERTIFICATE_PATH) where ComfyUI is started, and check that they belong together.",
    "managed_identity": "Check that this machine has a managed identity, and that client_id names "
    "it if it is a user-assigned one.",
    "azure_cli": "Run `az login` (with --tenant if the resource is in another tenant) as the user "
    "that runs ComfyUI.",
    "device_code": "Run the command again and type the code into the page within 15 minutes.",
}


@dataclass(frozen=True, slots=True)
class Entra:
    """How to sign in. `discovery` False: the authority is not to be looked up at Microsoft."""

    method: str = "default"
    client_id: str | None = None
    tenant_id: str | None = None
    discovery: bool = True

    @property
    def tried(self) -> str:
        """The class of azure-identity that this is."""
        return METHODS[self.method][0]


class TokenProvider(Protocol):
    """What is used of an azure-identity credential; `get_token_info` too, where there is one."""

    def get_token(self, *scopes: str) -> Any:
        """An object with `token` and `expires_on` (Unix seconds); raises what it likes."""


Build = Callable[[Entra], TokenProvider]
"""Makes what gives the tokens: azure-identity's credential, or a test's."""

Redact = Callable[[str], str]
"""Takes known secrets out of a text."""


def explain(error: Exception, entra: Entra, redact: Redact) -> str:
    """azure-identity's text cut down to a line for each credential that it tried."""
    text = redact(str(error))
    tried = re.findall(r"^\s*(\w+Credential): *(.*)$", text, re.MULTILINE)
    if tried:
        lines = [f"{name}: {_sentence(why)}" for name, why in tried[:12]]
        return "tried, without success:\n" + "\n".join(lines)
    return f"{entra.tried}: {_sentence(text) or type(error).__name__}"


def _sentence(text: str) -> str:
    """The first sentence of a text, printable, 200 characters at most."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    found = re.match(r".{15,199}?[.!](?=\s|$)", line)
    return found[0] if found else line[:200]


def names(provider: TokenProvider | None, entra: Entra) -> str:
    """The credentials of a chain, or the one that there is."""
    chain = getattr(provider, "credentials", None)
    if not isinstance(chain, (tuple, list)):
        return entra.tried
    parts = [getattr(one, "_credential_name", None) or type(one).__name__ for one in chain]
    return f"{entra.tried} ({', '.join(parts)})"


class _Redactor(logging.Filter):
    """Takes secrets out of azure-identity's records: it logs what a token endpoint answered."""

    def __init__(self, redact: Redact) -> None:
        super().__init__()
        self._redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass, without its traceback, which repeats the answer."""
        record.msg, record.args = self._redact(record.getMessage()), ()
        record.exc_info = record.exc_text = None
        return True


def azure_identity(prompt: Callable[[str], None], redact: Redact = str) -> Build:
    """What makes the real credentials; `prompt` shows a device code's message to the user."""
    redactor = _Redactor(redact)

    def build(entra: Entra) -> TokenProvider:
        import azure.identity

        for name in list(logging.root.manager.loggerDict):
            if name.startswith("azure.identity"):
                logging.getLogger(name).addFilter(redactor)
        make = getattr(azure.identity, entra.tried)
        provider: TokenProvider = make(**_options(entra, prompt))
        return provider

    return build


def _options(entra: Entra, prompt: Callable[[str], None]) -> dict[str, Any]:
    """The arguments of azure-identity's class."""
    options: dict[str, Any] = {}
    if entra.method != "azure_cli":
        options.update(connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
        if not entra.discovery:
            options["disable_instance_discovery"] = True
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
