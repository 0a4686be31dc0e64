"""What these tests share."""

from __future__ import annotations

import pytest
from client_harness import quick


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the waits that are there for the sake of a real service."""
    quick(monkeypatch)
