"""`mai-image open`: the page of a ComfyUI that runs on this machine, in the browser."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..mai.auth import Headers
from ..mai.errors import ConnectError, InputError, MaiError
from ..mai.http import HttpRequest, NotSentError, Transport

COMFYUI = "http://127.0.0.1:8188"
"""Where ComfyUI listens unless it is told otherwise."""


@dataclass(frozen=True)
class _Page:
    """The ComfyUI that is asked; see `mai.http`'s Target."""

    endpoint: str
    name: str = "ComfyUI"
    timeout: float = 10.0
    connect_timeout: float = 5.0

    @property
    def on_loopback(self) -> bool:
        return urlsplit(self.endpoint).hostname in ("localhost", "127.0.0.1", "::1")


def add_open_options(parser: argparse.ArgumentParser) -> None:
    """The page's address."""
    parser.add_argument("--url", default=COMFYUI, help=f"where ComfyUI listens ({COMFYUI})")
    parser.add_argument("--json", action="store_true", help="print the address, and open nothing")


def run_open(arguments: argparse.Namespace) -> int:
    """Open the page, where a ComfyUI answers."""
    address = arguments.url.rstrip("/")
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise InputError(f"{address[:80]!r} is no address.", f"Write it as {COMFYUI}.")
    version = asyncio.run(_version_of(_Page(address)))
    if arguments.json:
        print(json.dumps({"url": address, "comfyui": version}, indent=1))
    elif webbrowser.open(address):
        print(f"{address}  ComfyUI {version}")
    else:
        print(f"No browser can be started here. Open {address} in yours.", file=sys.stderr)
    return 0


async def _version_of(page: _Page) -> str:
    """ComfyUI's version; ConnectError where none answers."""
    transport = Transport()
    request = HttpRequest("GET", f"{page.endpoint}/system_stats")
    try:
        answer = await transport.exchange(request, Headers(), page)
        with suppress(ValueError, KeyError, TypeError):
            return str(json.loads(answer.body)["system"]["comfyui_version"])
        problem = f"What answers at {page.endpoint} is no ComfyUI."
    except (NotSentError, MaiError):
        problem = f"No ComfyUI answers at {page.endpoint}."
    finally:
        await transport.close()
    raise ConnectError(problem, "Start it (`python main.py`), or say where it listens by --url.")
