"""What all commands share: the exit codes, the folder of the data, and the client that works on it.

`arguments` is what argparse made of the command line.
"""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from ..mai.client import Client
from ..mai.errors import ProfileError
from ..mai.own_models import read_own_models
from ..mai.profiles import FILE_NAME, Profiles, emulator_directives, usual_folder

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_CANCELLED = 130

PACK = (Path(__file__).parent.parent.absolute(), Path(__file__).resolve().parent.parent)
"""Where this pack lies, as it was found and as it is: a clone may be linked into custom_nodes."""


def locate_folder(arguments: argparse.Namespace) -> tuple[Path, str]:
    """The folder of profiles.toml, store and ledger, and why it is this one.

    ProfileError: the environment names a ComfyUI that isn't there.
    """
    if arguments.folder is not None:
        return Path(os.path.expanduser(arguments.folder)).absolute(), "as --folder says"
    return usual_folder(PACK)


def read_catalogue(arguments: argparse.Namespace) -> None:
    """Take the models of the folder's profiles.toml into the catalogue.

    A mistake in the file is told by the commands that use a profile.
    """
    with suppress(ProfileError):
        folder, _ = locate_folder(arguments)
        read_own_models(folder / FILE_NAME)


@contextmanager
def open_client(arguments: argparse.Namespace) -> Iterator[Client]:
    """A client that works on the folder; it is closed at the end."""
    folder, _ = locate_folder(arguments)
    key = secrets.token_hex(16)
    client = Client(
        folder,
        Profiles(folder, interactive=True, emulator_key=key),
        launch_emulator=partial(_launch_emulator, key),
        poll=arguments.poll_seconds,
    )
    try:
        yield client
    finally:
        client.close()


def _launch_emulator(key: str) -> str:
    """Start the built-in emulator, which nobody but this process can call; gives its address."""
    # Imported here because it needs aiohttp and Pillow.
    from ..emulator import Options, start

    return start(options=Options(key=key, built_in=True, directives=emulator_directives())).url
