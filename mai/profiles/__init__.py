"""TODO."""

from __future__ import annotations

from ..types import Budget
from .endpoints import is_loopback_host
from .page_settings import CLOSED, PageSettings
from .profile_example import EXAMPLE
from .profile_file import KEY_KINDS, MAX_TIER, Contents, KeySource, Reader
from .profiles import (
    EMULATOR,
    FILE_NAME,
    Profile,
    Profiles,
    data_folder,
    usual_folder,
    write_private,
)
from .tables import Document

__all__ = [
    "CLOSED",
    "EMULATOR",
    "EXAMPLE",
    "FILE_NAME",
    "KEY_KINDS",
    "MAX_TIER",
    "Budget",
    "Contents",
    "Document",
    "KeySource",
    "PageSettings",
    "Profile",
    "Profiles",
    "Reader",
    "data_folder",
    "is_loopback_host",
    "usual_folder",
    "write_private",
]
