"""TODO."""

from __future__ import annotations

from .base64_field import PLACE, lift, unpack
from .foundry import GENERATIONS, build, read
from .pixazo_refusals import error_for, failure
from .refusals import names_size, was_never_sent_on

__all__ = [
    "GENERATIONS",
    "PLACE",
    "build",
    "error_for",
    "failure",
    "lift",
    "names_size",
    "read",
    "unpack",
    "was_never_sent_on",
]
