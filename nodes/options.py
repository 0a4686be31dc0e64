"""What the inputs of edits offer, known without the code that does the work: ComfyUI's start waits
for the nodes' inputs, and the rest is imported by the first run."""

from __future__ import annotations

SOCKETS = tuple(f"image_{i}" for i in range(1, 6))
"""Of MAI Edit, in the order in which their images are sent."""

AROUND_MASK, WHOLE_IMAGE = "around mask", "whole image"
CONTEXT = 1.5
"""Half of the mask's longer side on every side: the mask is then a quarter of a square box."""

MASK_GROW, MASK_FEATHER = 16, 16
"""Pixels. Equal, so that the mask itself is wholly edited and the blend lies just around it."""

SAME_AS_INPUT, AS_RETURNED = "same as input", "as returned"
