"""`python -m mai_image.cli` is `mai-image`."""

from __future__ import annotations

import sys

from . import main

sys.exit(main())
