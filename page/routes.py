"""The routes under /mai-image/. All but `settle` and `forget` change nothing.

price, plan                    arithmetic on public numbers: for everybody
list                           POST, as it brings a text: what the rows of a list cost; how many are
                               in the store only for who may see that
web/<file>                     the page's own modules: for everybody
accounts                       names of this server's profiles: see access.py
status, images, images/<key>…  this server's money and images: the same
checks                         whether the account works: the same
settle                         POST: a call that was perhaps billed was billed, or was free
forget                         POST: what a run ordered is given up
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from ..mai.errors import InputError, MaiError
from ..mai.sizes import Size
from ..mai.types import OPAQUE
from . import access, gallery, lists, orders, prices, settlement
from .access import ServerOptions
from .lists import ListReader

if TYPE_CHECKING:
    from ..mai.client import Client
    from ..mai.profiles import PageSettings
    from ..mai.store import Search
    from .checks import Checks

logger = logging.getLogger(__name__)

PREFIX = "/mai-image"

LONGEST = 100_000
"""Pixels of a side in a question: longer than any image, short enough to compute with at once."""

MOST_WORDS = 10
"""Of a search: more than anybody types, few enough to be quick."""

LONGEST_BODY = 200
"""Bytes of a request for a change; a usual one has 40 to 50."""

_KEY = r"{key:[0-9a-f]{64}}"

_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

_IMAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, max-age=3600",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}

UNREADABLE = "The store or the ledger can't be read; ComfyUI's log says why."
"""The reason itself names folders of the server; that of a studio's database names none."""

GONE = "This image is no longer in the store."

WEB_FOLDER = Path(__file__).resolve().parent.parent / "web"

_MODULE_TYPES = {".mjs": "text/javascript", ".css": "text/css"}
"""Said here: a browser refuses a module of another type, and some systems know none for .mjs."""

Handler = Callable[[web.Request], Awaitable[web.Response]]


def register(
    routes: web.RouteTableDef,
    client: Callable[[], Client],
    server: ServerOptions,
    read_list: ListReader = lists.no_lists,
) -> None:
    """Add the routes; `client` is asked for when the first request needs it, in a worker.

    `read_list` reads the lists of MAI Prompt List.
    """
    private = Private(client, server)
    routes.get(f"{PREFIX}/price")(_computed(price))
    routes.get(f"{PREFIX}/plan")(_computed(plan))
    routes.get(f"{PREFIX}/web/{{name:[a-z]+\\.(?:mjs|css)}}")(module)
    routes.post(f"{PREFIX}/list")(private.list_of(read_list))
    routes.get(f"{PREFIX}/accounts")(private.guarded(private.accounts))
    routes.get(f"{PREFIX}/status")(private.guarded(private.status))
    routes.get(f"{PREFIX}/checks")(private.guarded(private.checks))
    routes.post(f"{PREFIX}/settle")(private.guarded(private.settle, access.reason_to_refuse_change))
    routes.post(f"{PREFIX}/forget")(private.guarded(private.forget, access.reason_to_refuse_change))
    routes.get(f"{PREFIX}/images")(private.guarded(private.images))
    routes.get(f"{PREFIX}/images/{_KEY}")(private.guarded(private.image))
    routes.get(f"{PREFIX}/images/{_KEY}/thumbnail")(private.guarded(private.thumbnail))


def price(request: web.Request) -> dict[str, object]:
    """?kind=generate&model=…&width=…&height=…: prices.quote()."""
    return prices.quote(
        _text(request, "kind", "generate"),
        _text(request, "model"),
        _side(request, "width"),
        _side(request, "height"),
        auto_aspect_ratio=_flag(request, "auto_aspect_ratio"),
        web_grounding=_flag(request, "web_grounding"),
        background=_text(request, "background", OPAQUE),
    )


def plan(request: web.Request) -> dict[str, object]:
    """?model=…&aspect_ratio=…&target_width=…&target_height=…: what MAI Size Helper will answer.

    `image_width` and `image_height` are those of the image at `image`.
    """
    width, height = _side(request, "image_width"), _side(request, "image_height")
    return prices.size_plan(
        _text(request, "model"),
        _text(request, "aspect_ratio"),
        _side(request, "target_width") or 0,
        _side(request, "target_height") or 0,
        Size(width, height) if width and height else None,
    )


async def module(request: web.Request) -> web.StreamResponse:
    """A file of web/, which a browser asks for again with every load of the page; 404 if none.

    Under WEB_DIRECTORY ComfyUI has the page import every .js before it is ready, and lets browsers
    guess how long they may keep any other file: after an update of the pack, new modules would meet
    old ones. So web/main.js has the others come from here.
    """
    file = WEB_FOLDER / request.match_info["name"]
    if not file.is_file():
        raise web.HTTPNotFound
    content_type = f"{_MODULE_TYPES[file.suffix]}; charset=utf-8"
    headers = {**_HEADERS, "Cache-Control": "no-cache", "Content-Type": content_type}
    return web.FileResponse(file, headers=headers)


class Private:
    """The answers that are for the user of this machine, unless the administrator allows more."""

    def __init__(self, client: Callable[[], Client], server: ServerOptions) -> None:
        self._get_client = client
        self._server = server
        self._thumbnails: gallery.Thumbnails | None = None
        self._checks: Checks | None = None

    async def accounts(self, client: Client, request: web.Request) -> web.Response:
        """The profiles' names and whether each can be called with: accounts.accounts()."""
        from .accounts import accounts

        return _json(await asyncio.to_thread(accounts, client.profiles))

    async def status(self, client: Client, request: web.Request) -> web.Response:
        """Sums, budgets, calls under way: status.status()."""
        from .status import status

        return _json(await asyncio.to_thread(status, client))

    async def checks(self, client: Client, request: web.Request) -> web.Response:
        """Which of doctor's free checks are well: checks.Checks.get()."""
        from .checks import Checks

        self._checks = self._checks or Checks()
        return _json(await asyncio.to_thread(self._checks.get, client))

    async def settle(self, client: Client, request: web.Request) -> web.Response:
        """{"call": 12, "verdict": "billed"}: closes a call that was perhaps billed."""
        call, billed = settlement.parse_settlement(await _short_body(request))
        return _json(await asyncio.to_thread(settlement.settle, client.ledger, call, billed))

    async def forget(self, client: Client, request: web.Request) -> web.Response:
        """{"run": "…"}: nobody collects what this prompt ordered; what waits is withdrawn."""
        run = orders.parse_forgetting(await _short_body(request))
        return _json(await asyncio.to_thread(orders.forget, client.orders, run))

    def list_of(self, read_list: ListReader) -> Handler:
        """{"list": {…}, "buyer": {…}}: lists.describe_list()."""

        async def answer(request: web.Request) -> web.Response:
            try:
                if not 0 < (request.content_length or 0) <= lists.LONGEST_QUESTION:
                    raise InputError("This list is too long to be looked at here.", "")
                settings, buyer = lists.parse_question(await request.read())
                is_free = await self._is_free(request)
                return _json(
                    await asyncio.to_thread(
                        lambda: lists.describe_list(read_list(settings), buyer, is_free)
                    )
                )
            except InputError as error:
                return _error(error.what, 400, error.hint)

        return answer

    async def _is_free(self, request: web.Request) -> lists.IsFree | None:
        """What looks into the store, for who may see it."""
        try:
            client = await asyncio.to_thread(self._get_client)
            settings = await asyncio.to_thread(client.profiles.page)
        except MaiError:
            return None
        refused = access.reason_to_refuse_change(request, self._server, settings)
        return None if refused else client.is_free

    async def images(self, client: Client, request: web.Request) -> web.Response:
        """?words=…&model=…&since=…&until=…&from=…&count=24&before=…: gallery.history().

        `from` is "paid" or "emulated", `since` and `until` are seconds since 1970.
        """
        with_prompts = access.shows_prompts(self._server, client.profiles.page())
        count = _side(request, "count") or 24
        found = await asyncio.to_thread(
            gallery.history,
            client.store,
            client.profiles,
            _search(request),
            count,
            _number(request, "before"),
            with_prompts,
        )
        return _json(found)

    async def image(self, client: Client, request: web.Request) -> web.Response:
        """An image's file as the service sent it."""
        key = request.match_info["key"]
        found = await asyncio.to_thread(gallery.image, client.store, key)
        return _image(*found) if found else _error(GONE, 404)

    async def thumbnail(self, client: Client, request: web.Request) -> web.Response:
        """A small JPEG of an image."""
        if self._thumbnails is None:
            self._thumbnails = gallery.Thumbnails(client.store)
        found = await asyncio.to_thread(self._thumbnails.get, request.match_info["key"])
        return _image(found, "image/jpeg") if found else _error(GONE, 404)

    def guarded(
        self,
        answer: Callable[[Client, web.Request], Awaitable[web.Response]],
        reason_to_refuse: Callable[
            [web.Request, ServerOptions, PageSettings], str | None
        ] = access.reason_to_refuse,
    ) -> Handler:
        """What answers those who may ask; the others, and failures, get a sentence."""

        async def handler(request: web.Request) -> web.Response:
            try:
                client = await asyncio.to_thread(self._get_client)
                settings = await asyncio.to_thread(client.profiles.page)
                reason = reason_to_refuse(request, self._server, settings)
                return _error(reason, 403) if reason else await answer(client, request)
            except InputError as error:
                return _error(error.what, 400, error.hint)
            except MaiError as error:
                logger.warning("The page could not be answered: %s", error)
                # Not at the top: it needs SQLAlchemy, which is loaded where a database can be gone.
                from ..mai.database import DatabaseGone

                gone = isinstance(error, DatabaseGone)
                return _error(error.what if gone else UNREADABLE, 503)

        return handler


def _computed(compute: Callable[[web.Request], dict[str, object]]) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        try:
            return _json(compute(request))
        except InputError as error:
            return _error(error.what, 400, error.hint)

    return handler


async def _short_body(request: web.Request) -> bytes:
    """What a request for a change says, read only where it is as short as such a one is."""
    if not 0 < (request.content_length or 0) <= LONGEST_BODY:
        raise InputError("A request for a change is short.", "")
    return await request.read()


def _json(data: dict[str, object]) -> web.Response:
    return web.json_response(data, headers=_HEADERS)


def _image(data: bytes, media_type: str) -> web.Response:
    return web.Response(body=data, content_type=media_type, headers=_IMAGE_HEADERS)


def _error(what: str, status_code: int, hint: str = "") -> web.Response:
    return web.json_response({"error": what, "hint": hint}, status=status_code, headers=_HEADERS)


def _text(request: web.Request, name: str, default: str = "") -> str:
    return request.query.get(name, default)[:100]


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name) == "true"


def _side(request: web.Request, name: str) -> int | None:
    """Pixels, or a count, of the query: a whole number up to LONGEST, None where it isn't given."""
    return _number(request, name, LONGEST)


def _number(request: web.Request, name: str, most: int = 2**53) -> int | None:
    """A whole number of the query, None where it isn't given; InputError where it isn't one."""
    text = request.query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= most):
        raise InputError(f"{name} must be a whole number up to {most}.", "")
    return int(text)


def _search(request: web.Request) -> Search:
    """The images that a query asks for."""
    from ..mai.profiles import EMULATOR
    from ..mai.store import Search

    origin = _text(request, "from")
    return Search(
        words=tuple(_text(request, "words").split()[:MOST_WORDS]),
        model=_text(request, "model") or None,
        since=_number(request, "since"),
        until=_number(request, "until"),
        profile=EMULATOR if origin == "emulated" else None,
        but_profile=EMULATOR if origin == "paid" else None,
    )
