"""What the graph sees: one file a node.

`inputs` holds what several nodes ask for, `run` waits for the client, `results` says what came of
it, and `imaging` works on pixels. ComfyUI gets the nodes from `MAIExtension`.
"""

from __future__ import annotations

from comfy.cli_args import args
from comfy_api.latest import ComfyExtension, io
from server import PromptServer
from typing_extensions import override

from ..page import routes
from ..page.access import Server
from .crop import MAICrop
from .edit import MAIEdit
from .generate import MAIGenerate
from .run import finish_calls_on_terminate, shared_client
from .size_helper import MAISizeHelper
from .stitch import MAIStitch

__all__ = ["MAIExtension"]


class MAIExtension(ComfyExtension):
    """The pack's nodes."""

    @override
    async def on_load(self) -> None:
        finish_calls_on_terminate()
        server = Server(args.listen, args.multi_user)
        routes.register(PromptServer.instance.routes, shared_client.get, server)

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [MAIGenerate, MAIEdit, MAISizeHelper, MAICrop, MAIStitch]
