"""The aiohttp application: routes, the log's middleware, and the control endpoints.

A further service to play (a gateway, a token endpoint) is a module of its own with handlers, and a
line in `build`; credentials it issues go to `State.access`, what it bills to `State.log`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from . import foundry, oauth, pixazo, refusal
from .answers import Answer, of_refusal
from .jobs import MEDIA_PATH, STATUS_PATH
from .refusal import Refusal
from .sending import send
from .state import STATE, State, begin, entry_of, exchange_of, state_of

log = logging.getLogger(__name__)

CONTROL = "/emulator/"
_PIXAZO = "/microsoft-mai-image-2-5"
CLIENT_REQUEST_ID = "x-ms-client-request-id"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build(state: State) -> web.Application:
    """An application that answers for this state."""
    app = web.Application(middlewares=[_answer_all], client_max_size=state.options.max_body)
    app[STATE] = state
    app.on_response_prepare.append(_add_headers)
    app.router.add_post("/mai/v1/images/generations", foundry.generations)
    app.router.add_post("/mai/v1/images/edits", foundry.edits)
    app.router.add_route("*", "/openai/{tail:.*}", _openai)
    app.router.add_post(f"{_PIXAZO}/v1{_PIXAZO}-request", pixazo.generations)
    app.router.add_post(f"{_PIXAZO}-edit/v1{_PIXAZO}-edit-request", pixazo.edits)
    app.router.add_get(f"{STATUS_PATH}{{job}}", pixazo.status)
    app.router.add_get(f"{MEDIA_PATH}{{job}}.{{kind}}", pixazo.media)
    app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", oauth.discovery)
    app.router.add_post("/{tenant}/oauth2/v2.0/token", oauth.client_credentials)
    app.router.add_get(oauth.APP_SERVICE_PATH, oauth.app_service)
    app.router.add_get(oauth.IMDS_PATH, oauth.imds)
    app.router.add_get(f"{CONTROL}log", _log)
    app.router.add_get(f"{CONTROL}images/{{name}}", _image)
    return app


@web.middleware
async def _answer_all(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give each request a line in the log and an answer in the service's form."""
    if request.path.startswith(CONTROL):
        return await handler(request)
    entry = state_of(request).log.open(
        request.method, request.path, request.headers.get(CLIENT_REQUEST_ID)
    )
    begin(request, entry)
    begun = time.monotonic()
    try:
        return await handler(request)
    except Refusal as refused:
        return await _refuse(request, refused)
    except web.HTTPRequestEntityTooLarge:
        return await _refuse(
            request, Refusal(413, "RequestEntityTooLarge", "The request body is too large.")
        )
    except web.HTTPException:
        return await _refuse(request, refusal.not_found())
    except ConnectionError:
        log.debug("The client was gone before its request was read.")
        return web.Response()
    except Exception:
        log.exception("The emulator failed to answer %s %s.", request.method, request.path)
        return await _refuse(request, refusal.of_status(500))
    finally:
        entry.seconds = time.monotonic() - begun


async def _refuse(request: web.Request, refused: Refusal) -> web.StreamResponse:
    answer: Answer = of_refusal(refused)
    entry = entry_of(request)
    response, delivered = await send(request, answer, None)
    entry.status, entry.code, entry.delivered = refused.status, refused.code, delivered
    return response


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Request ids, the client's own id, and what the handlers added."""
    exchange = exchange_of(request)
    if exchange is None:
        return
    entry = exchange.entry
    response.headers["apim-request-id"] = entry.request_id
    response.headers["x-ms-request-id"] = entry.request_id
    if entry.client_request_id is not None:
        response.headers[CLIENT_REQUEST_ID] = entry.client_request_id
    for name, value in exchange.headers.items():
        response.headers.setdefault(name, value)


async def _openai(request: web.Request) -> web.StreamResponse:
    """MAI deployments aren't served under /openai/: by deployment path, or by model."""
    state_of(request).access.check(request.headers)
    if "/deployments/" in request.path:
        raise Refusal(404, "api_not_supported", "The API is not supported for this model.")
    raise Refusal(404, "unknown_model", "The model is unknown to this API.")


async def _log(request: web.Request) -> web.StreamResponse:
    return web.json_response(state_of(request).log.as_json())


async def _image(request: web.Request) -> web.StreamResponse:
    image = state_of(request).published(request.match_info["name"])
    if image is None:
        raise web.HTTPNotFound(text="This image isn't kept any longer.")
    return web.Response(body=image, content_type="image/png")
