"""Where to call and as whom: profiles.toml and the environment -> Profile.

`Profiles` reads one folder's profiles.toml and gives a `Profile` for a name: a service, an endpoint
that was checked and the one credential that belongs to it. docs/profiles.md explains the file.
A new service gets an entry in services.py. The endpoint functions say which hosts may get a key
and from which an image may be fetched; the folder functions where everything lies.
"""

from __future__ import annotations

from .endpoints import allowed_media_url, describe_host, is_loopback_host, normalize_endpoint
from .environment import emulator_directives
from .folders import data_folder, usual_folder, write_private
from .profile import ANY_MODEL, Profile
from .profiles import FILE_NAME, MAX_FILE_BYTES, Profiles
from .services import SERVICES, Service
from .shared import Shared
from .toml_file import (
    CLOSED,
    EMULATOR,
    KEY_KINDS,
    MAX_TIER,
    PageSettings,
    mistakes_in,
    models_in,
)

__all__ = [
    "ANY_MODEL",
    "CLOSED",
    "EMULATOR",
    "FILE_NAME",
    "KEY_KINDS",
    "MAX_FILE_BYTES",
    "MAX_TIER",
    "SERVICES",
    "PageSettings",
    "Profile",
    "Profiles",
    "Service",
    "Shared",
    "allowed_media_url",
    "data_folder",
    "describe_host",
    "emulator_directives",
    "is_loopback_host",
    "mistakes_in",
    "models_in",
    "normalize_endpoint",
    "usual_folder",
    "write_private",
]
