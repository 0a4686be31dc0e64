"""A ledger on each engine, and the clock that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_helpers import Clock, ledger_at
from mai_image.mai.ledger import Ledger


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger lies: a file's path, or the URL of a fresh database."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.sqlite")
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def ledger(place: str, clock: Clock) -> Iterator[Ledger]:
    ledger = ledger_at(place, clock)
    yield ledger
    ledger.close_file()
