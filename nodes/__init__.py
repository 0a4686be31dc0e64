"""What the graph sees: one file a node.

`inputs` holds what several nodes ask for, `run` waits for the client, `results` says what came of
it, and `imaging` works on pixels. ComfyUI gets the nodes from `MAIExtension`.
"""

from __future__ import annotations

import logging

from comfy.cli_args import args
from comfy_api.latest import ComfyExtension, io
from server import PromptServer
from typing_extensions import override

from ..mai.errors import name_command
from ..mai.own_models import read_own_models
from ..page import routes
from ..page.access import ServerOptions
from .crop import MAICrop
from .edit import MAIEdit
from .generate import MAIGenerate
from .prompt_list import MAIPromptList, read_list
from .run import command_line_here, data_path, finish_calls_on_terminate, shared_client
from .save_image import MAISaveImage
from .size_helper import MAISizeHelper
from .stitch import MAIStitch

__all__ = ["MAIExtension"]

logger = logging.getLogger(__name__)


class MAIExtension(ComfyExtension):
    """The pack's nodes."""

    @override
    async def on_load(self) -> None:
        finish_calls_on_terminate()
        name_command(command_line_here())
        for mistake in read_own_models(data_path() / "profiles.toml"):
            logger.warning("profiles.toml has a mistake: %s", mistake)
        server = ServerOptions(args.listen, args.multi_user)
        routes.register(PromptServer.instance.routes, shared_client.get, server, read_list)

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            MAIGenerate,
            MAIEdit,
            MAISizeHelper,
            MAICrop,
            MAIStitch,
            MAIPromptList,
            MAISaveImage,
        ]
