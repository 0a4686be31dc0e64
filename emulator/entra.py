"""Entra ID as far as this service needs it: tokens for a client's secret and a managed identity.

- POST /{tenant}/oauth2/v2.0/token, grant client_credentials, and the discovery that MSAL does
  first. azure-identity wants https for it: see `certificate` of `emulator.start`.
- GET /msi/token, as App Service gives it (IDENTITY_ENDPOINT and IDENTITY_HEADER).
- GET /metadata/identity/oauth2/token, as virtual machines give it: the variable
  AZURE_POD_IDENTITY_AUTHORITY_HOST leads azure-identity here instead of 169.254.169.254.

A token is for the AI services (the image endpoints) or for the resource manager, and is accepted
there alone until its end. Secrets are never in the log.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

from .access import same_secret
from .answers import Answer, json_answer
from .refusals import Refusal
from .state import ServedRequest

RESOURCE = "https://cognitiveservices.azure.com"
"""The audience of Azure AI services (Microsoft's documentation of the MAI API)."""

MANAGERS = (
    "https://management.azure.com",
    "https://management.core.windows.net",
    "https://management.chinacloudapi.cn",
    "https://management.usgovcloudapi.net",
)
"""The audiences of the resource manager: the public cloud's, its older one, sovereign clouds'."""

APP_SERVICE_PATH = "/msi/token"
VIRTUAL_MACHINE_PATH = "/metadata/identity/oauth2/token"


def entra_envelope(refused: Refusal) -> object:
    """The JSON of an error."""
    return {"error": refused.code, "error_description": refused.message}


async def answer_discovery(request: ServedRequest) -> Answer:
    """GET /{tenant}/v2.0/.well-known/openid-configuration."""
    base = f"{request.origin}/{request.http.match_info['tenant']}"
    known = {
        name: f"{base}/oauth2/v2.0/{name.partition('_')[0]}"
        for name in ("authorization_endpoint", "token_endpoint", "device_authorization_endpoint")
    }
    return json_answer(200, known | {"issuer": f"{base}/v2.0"})


async def answer_client_secret(request: ServedRequest) -> Answer:
    """POST /{tenant}/oauth2/v2.0/token."""
    form = {name: str(value) for name, value in (await request.http.post()).items()}
    request.entry.fields = {name: form[name] for name in ("grant_type", "scope") if name in form}
    if form.get("grant_type") != "client_credentials":
        message = "AADSTS70003: This grant is not supported here."
        raise Refusal(400, "unsupported_grant_type", message)
    if not same_secret(form.get("client_secret", ""), request.state.options.client_secret):
        raise Refusal(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
    scopes = form.get("scope", "").split()
    audience = scopes[0].removesuffix("/.default") if len(scopes) == 1 else ""
    if audience not in (RESOURCE, *MANAGERS) or not scopes[0].endswith("/.default"):
        message = "AADSTS70011: The provided value for scope is not valid."
        raise Refusal(400, "invalid_scope", message)
    return await _grant(request, audience)


async def answer_app_service(request: ServedRequest) -> Answer:
    """GET /msi/token."""
    header = request.http.headers.get("X-IDENTITY-HEADER", "")
    if not same_secret(header, request.state.options.identity_header):
        raise Refusal(401, "Unauthorized", "The identity header is wrong.")
    return await _grant_managed(request)


async def answer_virtual_machine(request: ServedRequest) -> Answer:
    """GET /metadata/identity/oauth2/token."""
    if request.http.headers.get("Metadata", "").lower() != "true":
        raise Refusal(400, "invalid_request", "Required metadata header missing.")
    return await _grant_managed(request)


async def _grant_managed(request: ServedRequest) -> Answer:
    query = request.http.query
    request.entry.fields = dict(query)
    audience = query.get("resource", "").rstrip("/")
    if audience not in (RESOURCE, *MANAGERS):
        raise Refusal(400, "invalid_resource", "AADSTS500011: Unknown resource.")
    return await _grant(request, audience)


async def _grant(request: ServedRequest, audience: str) -> Answer:
    """A new token, unless a fault says otherwise: a fault's token is never accepted."""
    state = request.state
    fault = state.fault_counts.choose({"token": state.token_fault})
    if fault is not None and fault.is_error and fault.code is None:
        fault = replace(fault, code="temporarily_unavailable")
    await request.apply_fault(fault)
    if fault is not None and fault.answer == "wrong-shape":
        return json_answer(200, {"token": 1}, fault)
    token = f"emulator-{uuid.uuid4().hex}"
    if fault is None or fault.answer is None:
        state.access.grant(token, state.options.token_life, manager=audience in MANAGERS)
    named = state.options.token_expires_in
    life = int(state.options.token_life if named is None else named)
    granted = {
        "access_token": token,
        "token_type": "Bearer",
        "resource": audience,
        "expires_in": life,
        "expires_on": str(int(time.time()) + life),
    }
    return json_answer(200, granted, fault)
