"""The services on this machine, for building graphs and for tests, without spending.

It plays Microsoft Foundry's MAI API, the gateways Pixazo, fal and OpenRouter, and of Azure Entra
ID's token endpoints and the resource manager. It speaks HTTP only and takes nothing of the client
but the catalogue of models. Importing this package is cheap: aiohttp and Pillow are imported with
the first use of `start`, `app`, `main` or `Emulator`.

    with emulator.start(options=emulator.Options(latency=2.0)) as service:
        print(service.url)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .directives import DirectiveError
from .options import DEFAULT_KEY, Options

if TYPE_CHECKING:
    from .command import main
    from .server import Emulator, app, start

__all__ = ["DEFAULT_KEY", "DirectiveError", "Emulator", "Options", "app", "main", "start"]


def __getattr__(name: str) -> object:
    """What needs aiohttp and Pillow, imported when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import command, server

    return command.main if name == "main" else getattr(server, name)
