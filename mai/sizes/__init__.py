"""Sizes in pixels: what a model can make, the best size for a ratio, and the way to a target.

The arithmetic is on whole numbers and fractions alone, in arithmetic.py; `plan_size` there on top
says how a size becomes the one that is wanted in the end, as Size Helper answers it. A size that
can't be made is a SizeError with the nearest one that can.
"""

from __future__ import annotations

from .arithmetic import (
    LARGEST_DENOMINATOR,
    NEARNESS,
    PRESETS,
    Size,
    best,
    nearest_legal,
    off_by,
    ratio_of,
    scale_to_cover,
    size_problems,
    snap,
    validate_size,
)
from .plan import (
    ASPECT_RATIOS,
    FROM_IMAGE,
    FROM_TARGET,
    MAX_TARGET,
    SizePlan,
    asked_ratio,
    plan_size,
    ratio_text,
    target_of,
)

__all__ = [
    "ASPECT_RATIOS",
    "FROM_IMAGE",
    "FROM_TARGET",
    "LARGEST_DENOMINATOR",
    "MAX_TARGET",
    "NEARNESS",
    "PRESETS",
    "Size",
    "SizePlan",
    "asked_ratio",
    "best",
    "nearest_legal",
    "off_by",
    "plan_size",
    "ratio_of",
    "ratio_text",
    "scale_to_cover",
    "size_problems",
    "snap",
    "target_of",
    "validate_size",
]
