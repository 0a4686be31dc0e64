"""`python -m mai_image.emulator`."""

from __future__ import annotations

import sys

from . import main

sys.exit(main())
