"""What the graph sees: one file a node."""

from __future__ import annotations

from comfy.cli_args import args
from comfy_api.latest import ComfyExtension, io
from server import PromptServer
from typing_extensions import override

from ..page import routes
from ..page.access import Server
from . import run as running
from .crop import MAICrop
from .edit import MAIEdit
from .generate import MAIGenerate
from .size_helper import MAISizeHelper
from .stitch import MAIStitch


class MAIExtension(ComfyExtension):
    """The pack's nodes."""

    @override
    async def on_load(self) -> None:
        running.land_calls_on_terminate()
        server = Server(args.listen, args.multi_user)
        routes.register(PromptServer.instance.routes, running.client, server)

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [MAIGenerate, MAIEdit, MAISizeHelper, MAICrop, MAIStitch]
