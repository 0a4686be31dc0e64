"""Who calls the service: a key or Entra ID, as the headers of one request.

A `Credential` gives these headers. `KeyCredential` reads its key anew for every call;
`EntraCredential` shares one token of azure-identity, signed in by one of `METHODS`. `Secret`,
`Sealed` and `Headers` hold what must not be shown, and `redacted_loggers` keeps it out of logs.
What signs in, and what calls, needs the network: network_settings.py says which variable of the
environment (a proxy, a certificate file) keeps both from it; `Network` are a profile's own.
"""

from __future__ import annotations

from .entra import (
    DATABASE,
    METHODS,
    SCOPE,
    SOVEREIGN_SCOPES,
    STORAGE,
    Build,
    Entra,
    EntraCredential,
    azure_identity,
)
from .keys import (
    AZURE_HEADER,
    GATEWAY_HEADER,
    Credential,
    KeyCredential,
    header_problem,
    key_from_file,
    key_from_variable,
    quote_unless_key,
    strip_key,
)
from .network_settings import (
    NO_PROXY_AT_ALL,
    Network,
    certificate_folder_mistake,
    proxy_mistake,
    setting_mistakes,
    unusable_settings,
)
from .secrets import Headers, Sealed, Secret, redacted_loggers

__all__ = [
    "AZURE_HEADER",
    "DATABASE",
    "GATEWAY_HEADER",
    "METHODS",
    "NO_PROXY_AT_ALL",
    "SCOPE",
    "SOVEREIGN_SCOPES",
    "STORAGE",
    "Build",
    "Credential",
    "Entra",
    "EntraCredential",
    "Headers",
    "KeyCredential",
    "Network",
    "Sealed",
    "Secret",
    "azure_identity",
    "certificate_folder_mistake",
    "header_problem",
    "key_from_file",
    "key_from_variable",
    "proxy_mistake",
    "quote_unless_key",
    "redacted_loggers",
    "setting_mistakes",
    "strip_key",
    "unusable_settings",
]
