"""Entra ID as far as this service needs it: tokens for a client's secret and a managed identity.

- POST /{tenant}/oauth2/v2.0/token, grant client_credentials, and the discovery that MSAL does
  first. azure-identity wants https for it: see `certificate` of `emulator.start`.
- GET /msi/token, as App Service gives it (IDENTITY_ENDPOINT and IDENTITY_HEADER).
- GET /metadata/identity/oauth2/token, as virtual machines give it: the variable
  AZURE_POD_IDENTITY_AUTHORITY_HOST leads azure-identity here instead of 169.254.169.254.

The tokens are accepted by the image endpoints until their end. Secrets are never in the log.
"""

from __future__ import annotations

import asyncio
import hmac
import time
import uuid
from collections.abc import Mapping

from aiohttp import web

from .answers import GARBAGE, HTML, JSON, PAGE, Answer, of_fault, of_json
from .directives import Fault
from .sending import send
from .state import State, entry_of, state_of

RESOURCE = "https://cognitiveservices.azure.com"
"""The audience of Azure AI services (Microsoft's documentation of the MAI API)."""

APP_SERVICE_PATH = "/msi/token"
IMDS_PATH = "/metadata/identity/oauth2/token"

_SPOILT = {
    "garbage": GARBAGE,
    "html": PAGE,
    "empty-body": b"",
    "list": b"[]",
    "wrong-shape": b'{"token": 1}',
    "cut-json": b'{"access_token": "emula',
}


async def discovery(request: web.Request) -> web.StreamResponse:
    """GET /{tenant}/v2.0/.well-known/openid-configuration."""
    base = f"{request.url.origin()}/{request.match_info['tenant']}"
    known = {
        name: f"{base}/oauth2/v2.0/{name.partition('_')[0]}"
        for name in ("authorization_endpoint", "token_endpoint", "device_authorization_endpoint")
    }
    return await _send(request, of_json(200, known | {"issuer": f"{base}/v2.0"}), None)


async def client_credentials(request: web.Request) -> web.StreamResponse:
    """POST /{tenant}/oauth2/v2.0/token."""
    form = {name: str(value) for name, value in (await request.post()).items()}
    entry_of(request).fields = {
        name: form[name] for name in ("grant_type", "scope") if name in form
    }
    options = state_of(request).options
    if form.get("grant_type") != "client_credentials":
        problem = (400, "unsupported_grant_type", "AADSTS70003: This grant is not supported here.")
    elif not _same(form.get("client_secret", ""), options.client_secret):
        problem = (401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
    elif form.get("scope", "").split() != [f"{RESOURCE}/.default"]:
        problem = (400, "invalid_scope", "AADSTS70011: The provided value for scope is not valid.")
    else:
        return await _grant(request)
    return await _refuse(request, *problem)


async def app_service(request: web.Request) -> web.StreamResponse:
    """GET /msi/token."""
    header = request.headers.get("X-IDENTITY-HEADER", "")
    if not _same(header, state_of(request).options.identity_header):
        return await _refuse(request, 401, "Unauthorized", "The identity header is wrong.")
    return await _managed(request)


async def imds(request: web.Request) -> web.StreamResponse:
    """GET /metadata/identity/oauth2/token."""
    if request.headers.get("Metadata", "").lower() != "true":
        return await _refuse(request, 400, "invalid_request", "Required metadata header missing.")
    return await _managed(request)


async def _managed(request: web.Request) -> web.StreamResponse:
    entry_of(request).fields = dict(request.query)
    if request.query.get("resource", "").rstrip("/") != RESOURCE:
        return await _refuse(request, 400, "invalid_resource", "AADSTS500011: Unknown resource.")
    return await _grant(request)


async def _grant(request: web.Request) -> web.StreamResponse:
    """A new token, unless a fault says otherwise: a fault's token is never accepted."""
    state = state_of(request)
    fault = state.token_faults.choose(state.token_faults.asked(""), early=False)
    token = f"emulator-{uuid.uuid4().hex}"
    if fault is None or (fault.status is None and fault.answer is None):
        state.access.grant(token, state.options.token_life)
    return await _send(request, of_json(200, _granted(state, token)), fault)


def _granted(state: State, token: str) -> Mapping[str, object]:
    told = state.options.token_told
    life = int(state.options.token_life if told is None else told)
    return {
        "access_token": token,
        "token_type": "Bearer",
        "resource": RESOURCE,
        "expires_in": life,
        "expires_on": str(int(time.time()) + life),
    }


async def _refuse(request: web.Request, status: int, code: str, text: str) -> web.StreamResponse:
    return await _send(request, _error(status, code, text), None)


def _error(status: int, code: str, text: str) -> Answer:
    return of_json(status, {"error": code, "error_description": text})


async def _send(request: web.Request, answer: Answer, fault: Fault | None) -> web.StreamResponse:
    entry = entry_of(request)
    if fault is not None:
        entry.fault = repr(fault)
        await asyncio.sleep(fault.latency)
        if fault.status is not None and fault.body == "envelope":
            answer = _error(fault.status, fault.code or "temporarily_unavailable", "As asked for.")
        elif fault.status is not None:
            answer = of_fault(fault.status, fault.body, fault.code)
        elif fault.answer is not None:
            kind = HTML if fault.answer == "html" else JSON
            answer = Answer(200, _SPOILT.get(fault.answer, b""), kind)
    entry.status = answer.status
    response, entry.delivered = await send(request, answer, fault)
    return response


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))
