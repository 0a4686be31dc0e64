"""A folder, a billing server, and no waits that only a real service needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_harness import Harness, quick


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    quick(monkeypatch)
    harness = Harness(tmp_path / "data")
    yield harness
    harness.close()
