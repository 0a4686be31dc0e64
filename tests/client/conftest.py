"""A folder, a billing server, and a gate at which its answers wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_harness import Harness, draw_after, quick


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    quick(monkeypatch)
    harness = Harness(tmp_path / "data")
    yield harness
    harness.close()


@pytest.fixture
def gate(harness: Harness) -> Iterator[threading.Event]:
    """The server bills at once and answers when this is set."""
    gate = threading.Event()
    harness.server.default = draw_after(lambda: gate.wait(10))
    yield gate
    gate.set()
