"""TODO."""

from __future__ import annotations

from .entra import HINTS, METHODS, SCOPE, Build, Entra, azure_identity
from .keys import (
    AZURE_HEADER,
    GATEWAY_HEADER,
    Credential,
    Headers,
    KeyCredential,
    Sealed,
    Secret,
    clean,
    from_file,
    from_variable,
    harmless,
    header_problem,
)
from .tokens import EntraCredential

__all__ = [
    "AZURE_HEADER",
    "GATEWAY_HEADER",
    "HINTS",
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
    "clean",
    "from_file",
    "from_variable",
    "harmless",
    "header_problem",
]
