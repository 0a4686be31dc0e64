"""A folder, a billing server, and no waits that only a real service needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_harness import Rig, quick


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    quick(monkeypatch)
    rig = Rig(tmp_path / "data")
    yield rig
    rig.close()
