"""Who calls the service: a key or Entra ID, as the headers of one request.

A `Credential` gives these headers. `KeyCredential` reads its key anew for every call;
`EntraCredential` shares one token of azure-identity, signed in by one of `METHODS`. `Secret`,
`Sealed` and `Headers` hold what must not be shown, and `redacted_loggers` keeps it out of logs.
"""

from __future__ import annotations

from .entra import METHODS, SCOPE, Build, Entra, EntraCredential, azure_identity
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
from .secrets import Headers, Sealed, Secret, redacted_loggers

__all__ = [
    "AZURE_HEADER",
    "GATEWAY_HEADER",
    "METHODS",
    "SCOPE",
    "Build",
    "Credential",
    "Entra",
    "EntraCredential",
    "Headers",
    "KeyCredential",
    "Sealed",
    "Secret",
    "azure_identity",
    "header_problem",
    "key_from_file",
    "key_from_variable",
    "quote_unless_key",
    "redacted_loggers",
    "strip_key",
]
