"""What the page may show of this server's images and money: the table [page] of profiles.toml."""

from __future__ import annotations

from dataclasses import dataclass

from .tables import Table


@dataclass(frozen=True, slots=True)
class PageSettings:
    """`allow_remote`: also when ComfyUI can be reached from other machines.

    `show_prompts`: images with their prompts; None shows prompts only where nobody but the user
    of this machine can look.
    """

    allow_remote: bool = False
    show_prompts: bool | None = None


CLOSED = PageSettings()
"""What holds where the file says nothing, or can't be read."""


def read(table: Table) -> PageSettings:
    """The settings of [page]; mistakes are noted in the table's problems."""
    prompts = table.raw("show_prompts")
    settings = PageSettings(
        allow_remote=table.flag("allow_remote", False),
        show_prompts=None if prompts is None else table.flag("show_prompts", False),
    )
    table.close()
    return settings
