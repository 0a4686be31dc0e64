"""The service in a thread of its own: its routes, and the answer to each request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path

from aiohttp import web

from . import entra, fal, foundry, openrouter, pixazo, resource_manager
from .access import check_host
from .answers import Answer, Envelope, error_answer, send
from .azure_account import AzureAccount
from .directives import parse_fault, parse_job
from .entra import entra_envelope
from .fal import fal_envelope
from .foundry import foundry_envelope
from .jobs import MEDIA_PATH, STATUS_PATH
from .openrouter import openrouter_envelope
from .options import Options
from .pixazo import pixazo_envelope
from .record import RequestLog
from .refusals import Refusal, body_too_large, refusal_of_status
from .resource_manager import ACCOUNT_PATH, ACCOUNTS_PATH, manager_envelope
from .state import ServedRequest, State

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 0.2
"""How long requests under way may take to end when the service stops."""

JOIN_SECONDS = 10.0

STATE = web.AppKey("state", State)

_ORDER = "/microsoft-mai-image-2-5/v1/microsoft-mai-image-2-5-request"
_EDIT_ORDER = "/microsoft-mai-image-2-5-edit/v1/microsoft-mai-image-2-5-edit-request"
_FAL_JOB = f"{fal.APP}/requests/{{job}}"
_ENDPOINTS = "/api/v1/images/models/{owner}/{model}/endpoints"
_DISCOVERY = "/{tenant}/v2.0/.well-known/openid-configuration"

Handler = Callable[[ServedRequest], Awaitable[Answer]]
Route = tuple[str, str, Handler, Envelope]


async def _answer_not_found(request: ServedRequest) -> Answer:
    raise refusal_of_status(404)


IMAGE_ROUTES: tuple[Route, ...] = (
    ("POST", "/mai/v1/images/generations", foundry.answer_generation, foundry_envelope),
    ("POST", "/mai/v1/images/edits", foundry.answer_edit, foundry_envelope),
)
"""All that the built-in emulator plays."""

_DEPLOYMENT = f"{ACCOUNT_PATH}/deployments/{{name}}"

MANAGER_ROUTES: tuple[Route, ...] = (
    ("GET", "/subscriptions", resource_manager.answer_subscriptions, manager_envelope),
    ("GET", "/tenants", resource_manager.answer_tenants, manager_envelope),
    ("GET", ACCOUNTS_PATH, resource_manager.answer_accounts, manager_envelope),
    (
        "GET",
        f"{ACCOUNT_PATH}/deployments",
        resource_manager.answer_deployments,
        manager_envelope,
    ),
    ("GET", f"{ACCOUNT_PATH}/models", resource_manager.answer_models, manager_envelope),
    ("GET", _DEPLOYMENT, resource_manager.answer_deployment, manager_envelope),
    ("PUT", _DEPLOYMENT, resource_manager.answer_new_deployment, manager_envelope),
)
"""Azure's resource manager."""

NOT_FOUND: Route = ("*", "/{path:.*}", _answer_not_found, foundry_envelope)

ROUTES: tuple[Route, ...] = (
    *IMAGE_ROUTES,
    ("*", "/openai/{tail:.*}", foundry.answer_openai_path, foundry_envelope),
    ("POST", _ORDER, partial(pixazo.answer_order, edit=False), pixazo_envelope),
    ("POST", _EDIT_ORDER, partial(pixazo.answer_order, edit=True), pixazo_envelope),
    ("GET", f"{STATUS_PATH}{{job}}", pixazo.answer_status, pixazo_envelope),
    ("GET", f"{MEDIA_PATH}{{job}}.{{format}}", pixazo.answer_media, pixazo_envelope),
    ("POST", f"{fal.APP}/text-to-image", partial(fal.answer_fal_order, edit=False), fal_envelope),
    ("POST", f"{fal.APP}/edit", partial(fal.answer_fal_order, edit=True), fal_envelope),
    ("GET", f"{_FAL_JOB}/status", fal.answer_fal_status, fal_envelope),
    ("GET", _FAL_JOB, fal.answer_fal_result, fal_envelope),
    ("PUT", f"{_FAL_JOB}/cancel", fal.answer_fal_cancel, fal_envelope),
    ("POST", "/api/v1/images", openrouter.answer_openrouter, openrouter_envelope),
    ("GET", _ENDPOINTS, openrouter.answer_openrouter_endpoints, openrouter_envelope),
    ("GET", _DISCOVERY, entra.answer_discovery, entra_envelope),
    ("POST", "/{tenant}/oauth2/v2.0/token", entra.answer_client_secret, entra_envelope),
    ("GET", entra.APP_SERVICE_PATH, entra.answer_app_service, entra_envelope),
    ("GET", entra.VIRTUAL_MACHINE_PATH, entra.answer_virtual_machine, entra_envelope),
    *MANAGER_ROUTES,
    NOT_FOUND,
)
"""Every service that is played. A further one is a module with handlers and lines here."""


def app(
    options: Options | None = None, clock: Callable[[], float] = time.monotonic
) -> web.Application:
    """The aiohttp application, for a server of one's own."""
    options = options or Options()
    found = web.Application(client_max_size=options.max_body, middlewares=[_check_host])
    found[STATE] = State(options, clock)
    if not options.built_in:
        found.router.add_get("/emulator/log", _show_log)
    if options.directives:
        # For `answer=url`: the name is a random one, and a client sends no key to such an address.
        found.router.add_get("/emulator/images/{name}", _show_image)
    for method, path, handler, envelope in _routes(options):
        found.router.add_route(method, path, _serve(handler, envelope))
    return found


def _routes(options: Options) -> tuple[Route, ...]:
    return (*IMAGE_ROUTES, NOT_FOUND) if options.built_in else ROUTES


@web.middleware
async def _check_host(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse what was led to this machine by another site's name, before anything else."""
    listening = request.transport and request.transport.get_extra_info("sockname")
    try:
        hosts = request.headers.getall("Host", [""])
        if listening:
            check_host(hosts[0] if len(hosts) == 1 else "", request.scheme, listening[:2])
    except Refusal as error:
        return _refused(error)
    return await handler(request)


def _refused(error: Refusal) -> web.Response:
    return web.json_response(foundry_envelope(error), status=error.status)


def _serve(
    handler: Handler, envelope: Envelope
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Give each request a line in the log and an answer in the service's form."""

    async def serve(http: web.Request) -> web.StreamResponse:
        request = ServedRequest(http.app[STATE], http)
        entry = request.entry
        begun = time.monotonic()
        try:
            answer = await _answer(handler, request, envelope)
            entry.status = answer.status
            response, entry.delivered = await send(http, answer, request.headers)
            return response
        except ConnectionError:
            logger.debug("The connection ended before the request was read.")
            return web.Response()
        finally:
            entry.seconds = time.monotonic() - begun

    return serve


async def _answer(handler: Handler, request: ServedRequest, envelope: Envelope) -> Answer:
    """The handler's answer, or the error that ended it. Raises ConnectionError."""
    try:
        return await handler(request)
    except ConnectionError:
        raise
    except Refusal as error:
        refused = error
    except web.HTTPRequestEntityTooLarge:
        refused = body_too_large()
    except Exception:
        http = request.http
        logger.exception("The emulator failed to answer %s %s.", http.method, http.path)
        refused = refusal_of_status(500)
    request.entry.code = refused.code
    return error_answer(refused, envelope)


async def _show_log(http: web.Request) -> web.StreamResponse:
    """The requests, with their prompts: for who has the key, a token isn't enough."""
    state = http.app[STATE]
    try:
        state.access.check_key(http.headers)
    except Refusal as error:
        return _refused(error)
    return web.json_response(state.log.as_json())


async def _show_image(http: web.Request) -> web.StreamResponse:
    image = http.app[STATE].published.get(http.match_info["name"])
    if image is None:
        raise web.HTTPNotFound(text="This image isn't kept any longer.")
    return web.Response(body=image, content_type="image/png")


class Emulator:
    """The service in a thread of its own, which listens once this is made. Prints nothing.

    Port 0 takes a free one. `clock` (seconds) counts requests a minute and the life of tokens.
    `certificate` is a PEM file with key and certificate for localhost: with it a second port speaks
    https, which azure-identity wants of Entra ID; `authority` is its origin. `url` is the origin
    over http, `log` what it saw and would have billed.
    Ends with `stop`, as a context manager, or with the process. All methods are for any thread.
    Raises OSError where an address can't be had, or the file can't be read.
    """

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        options: Options | None = None,
        clock: Callable[[], float] = time.monotonic,
        certificate: Path | None = None,
    ) -> None:
        # Made now, not with the class: the catalogue may have got the user's own models since.
        self.options = options or Options()
        self.authority = ""
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._app = app(self.options, clock)
        self._state = self._app[STATE]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(host, port), name="mai-emulator", daemon=True
        )
        self._thread.start()
        self.port = self._ready.result()
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}"

    @property
    def azure(self) -> AzureAccount:
        """What a login sees at the resource manager; may be changed between two requests."""
        return self._state.azure

    @property
    def log(self) -> RequestLog:
        """The requests seen, and the bill."""
        return self._state.log

    def fault(self, text: str) -> None:
        """Change the server-wide fault; "" for none. Raises DirectiveError."""
        self._state.server = replace(self._state.server, fault=parse_fault(text))
        self._state.fault_counts.restart("server")

    def job(self, text: str) -> None:
        """Change what every job of the gateway does; "" for nothing special."""
        self._state.server = replace(self._state.server, job=parse_job(text))

    def token_fault(self, text: str) -> None:
        """Change the fault that every request for a token gets; "" for none."""
        self._state.token_fault = parse_fault(text)
        self._state.fault_counts.restart("token")

    def manager_fault(self, text: str) -> None:
        """Change the fault that every request to the resource manager gets; "" for none."""
        self._state.manager_fault = parse_fault(text)
        self._state.fault_counts.restart("manager")

    def latency(self, seconds: float) -> None:
        """Change the time from a good request to its answer."""
        self._state.server = replace(self._state.server, latency=seconds)

    def grant(self, token: str, seconds: float = math.inf, *, manager: bool = False) -> None:
        """Accept a Bearer token for so many seconds of the emulator's clock: at the image
        endpoints, or with `manager` at the resource manager."""
        self._state.access.grant(token, seconds, manager=manager)

    def revoke(self, token: str) -> None:
        """Accept a Bearer token no longer."""
        self._state.access.revoke(token)

    def stop(self) -> None:
        """End the service and wait until its port is free; again does nothing."""
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            # The loop may close between the look and the call.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(JOIN_SECONDS)

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, host: str, port: int) -> None:
        try:
            asyncio.run(self._listen(host, port))
        except (OSError, OverflowError) as error:
            if self._ready.done():
                raise
            self._ready.set_exception(OSError(f"can't listen on {host} port {port}: {error}"))
        finally:
            self._state.close()
            if not self._ready.done():
                self._ready.set_exception(RuntimeError("the emulator ended before it listened"))

    async def _listen(self, host: str, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        runner = web.AppRunner(
            self._app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            if self._tls is not None:
                await web.TCPSite(runner, host, 0, ssl_context=self._tls).start()
                self.authority = f"https://localhost:{runner.addresses[1][1]}"
            self._ready.set_result(runner.addresses[0][1])
            await self._stopping.wait()
        finally:
            await runner.cleanup()


start = Emulator
