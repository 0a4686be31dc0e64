"""What the security tests share: a hostile server, quick retries, records of all that is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from canary import Records
from client_harness import quick
from scripted_server import Scripted


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server that a test makes hostile."""
    server = Scripted()
    yield server
    server.close()


@pytest.fixture
def records() -> Iterator[Records]:
    """Everything that any library logs at DEBUG while the test runs."""
    records = Records()
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(records)
    yield records
    root.removeHandler(records)
    root.setLevel(level)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
