"""The page's own modules, fetched when the first node of the pack is there.

Under WEB_DIRECTORY ComfyUI has the page import every .js before it is ready, and lets browsers
guess how long they may keep any other file: after an update of the pack, new modules would meet old
ones. So web/main.js has the others come from here.
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).resolve().parent.parent / "web"

PATH = r"web/{name:[a-z]+\.(?:mjs|css)}"

_TYPES = {".mjs": "text/javascript", ".css": "text/css"}
"""Said here: a browser refuses a module of another type, and some systems know none for .mjs."""


async def module(request: web.Request) -> web.StreamResponse:
    """A file of web/, which a browser asks for again with every load of the page; 404 if none."""
    file = FOLDER / request.match_info["name"]
    if not file.is_file():
        raise web.HTTPNotFound
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    headers["Content-Type"] = f"{_TYPES[file.suffix]}; charset=utf-8"
    return web.FileResponse(file, headers=headers)
