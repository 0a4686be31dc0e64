"""What every test shares: the clone's own folders never shadow other people's modules."""

from __future__ import annotations

import sys
from pathlib import Path

# Its pytest plugin imports it for its summary otherwise, where Python 3.11 can fail at it.
import hypothesis  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent

# `python -m pytest` puts the clone on the path, where its nodes/ would hide ComfyUI's `nodes`.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
