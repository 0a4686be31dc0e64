"""The client from a shell: the command mai-image."""

from __future__ import annotations

from .commands import main

__all__ = ["main"]
