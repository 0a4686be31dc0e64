"""The client from a shell: the command `mai-image`.

One module a command: `generate_and_edit`, `batch`, `size`, `spend`, `store`, `init` and `doctor`.
`init_azure` finds a login's account by `resource_manager`, whose items `azure_items` reads;
`account_changes` is what a profile and its account differ in, `init_refresh` takes it over.
`command_line` reads a command line and runs the command that it names; `command` is what all
commands share.
`questions` and `image_files` are what only a terminal needs. A batch is planned in `batch_plan`,
bought in `batch_run`, saved in `batch_folder` and shown in `contact_sheet`.
Others use `main` alone.
"""

from __future__ import annotations

from .command_line import main

__all__ = ["main"]
