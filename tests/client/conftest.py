"""A folder, a billing server, and a gate at which its answers wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_harness import Rig, draw_after, quick


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    quick(monkeypatch)
    rig = Rig(tmp_path / "data")
    yield rig
    rig.close()


@pytest.fixture
def gate(rig: Rig) -> Iterator[threading.Event]:
    """The server bills at once and answers when this is set."""
    gate = threading.Event()
    rig.server.default = draw_after(lambda: gate.wait(10))
    yield gate
    gate.set()
