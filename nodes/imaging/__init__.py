"""TODO."""

from __future__ import annotations

from .cropping import stitch_all
from .editing import Job
from .paste import Stitch
from .rectangle import Rect
from .resample import Window, resample, whole

__all__ = ["Job", "Rect", "Stitch", "Window", "resample", "stitch_all", "whole"]
