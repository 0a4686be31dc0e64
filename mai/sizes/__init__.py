"""Which sizes a model makes, and which of them is best for a ratio or a target.

`Size` is a width and height in pixels. `validate_size`, `size_problems`, `snap` and `nearest_legal`
say what a model can make; `best` finds its size for a ratio (`ratio_of` reads one, `off_by` says
how far a size is from it); `plan_size` answers for Size Helper, with the scale and crop from there
to a target. All of it is exact arithmetic: nothing is sent.
"""

from .plan import (
    ASPECT_RATIOS,
    FROM_IMAGE,
    MAX_TARGET,
    SizePlan,
    asked_ratio,
    plan_size,
)
from .sizes import (
    PRESETS,
    Size,
    best,
    nearest_legal,
    off_by,
    ratio_of,
    scale_to_cover,
    shortest_side,
    size_problems,
    snap,
    validate_size,
)

__all__ = [
    "ASPECT_RATIOS",
    "FROM_IMAGE",
    "MAX_TARGET",
    "PRESETS",
    "Size",
    "SizePlan",
    "asked_ratio",
    "best",
    "nearest_legal",
    "off_by",
    "plan_size",
    "ratio_of",
    "scale_to_cover",
    "shortest_side",
    "size_problems",
    "snap",
    "validate_size",
]
