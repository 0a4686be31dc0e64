"""Tensors and pixels, without network: files to IMAGE and back, masks, crops, and their blending.

Nodes import what they need from the modules: `codec` for files, `mask` and `regions` for what is
edited, `masked_edit` and `paste` for the edit itself. This file imports none of them, as ComfyUI's
start must not wait for the code that only a masked edit needs.
"""

from __future__ import annotations

__all__: list[str] = []
