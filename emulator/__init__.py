"""A MAI image service on this machine: for building graphs, and for tests, without spending.

It speaks HTTP only and takes nothing of the client but the catalogue of models. Importing this
package is cheap: aiohttp and Pillow are imported by the first `start`, `app` or `main`.

    with emulator.start(options=emulator.Options(latency=2.0)) as service:
        print(service.url)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .options import DEFAULT_KEY, Options

if TYPE_CHECKING:
    from aiohttp import web

    from .server import Emulator

__all__ = ["DEFAULT_KEY", "Options", "app", "main", "start"]

_DEFAULTS = Options()


def start(
    port: int = 0,
    host: str = "127.0.0.1",
    options: Options = _DEFAULTS,
    clock: Callable[[], float] = time.monotonic,
    certificate: Path | None = None,
) -> Emulator:
    """Run the service in a thread of its own and return when it listens.

    Port 0 takes a free one. `clock` (seconds) counts requests a minute and the life of tokens.
    `certificate` is a PEM file with key and certificate for localhost: with it a second port speaks
    https, which azure-identity wants of Entra ID. Raises OSError where an address can't be had, or
    the file can't be read. Nothing is printed.
    """
    from .server import Emulator

    return Emulator(host, port, options, clock, certificate)


def app(options: Options = _DEFAULTS) -> web.Application:
    """The aiohttp application, for a server of one's own."""
    from .application import build
    from .state import State

    return build(State(options))


def main(argv: Sequence[str] | None = None) -> int:
    """`mai-image emulator`: run in the foreground until interrupted; the exit code."""
    from .command import main as command

    return command(argv)
