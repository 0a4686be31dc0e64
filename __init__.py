"""MAI Image: Microsoft's hosted MAI image models as ComfyUI nodes, with your own Azure account."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> ComfyExtension:
    """What ComfyUI calls to get the nodes; outside ComfyUI nothing of it is imported."""
    from .nodes import MAIExtension

    return MAIExtension()
