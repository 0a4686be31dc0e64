"""What every test shares: the clone's own folders never shadow other people's modules."""

from __future__ import annotations

import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

# Its pytest plugin imports it for its summary otherwise, where Python 3.11 can fail at it.
import hypothesis  # noqa: F401
import pytest
from mai_image.demo.browser import Missing
from object_stores import ENGINES, Engine
from postgres_engine import PostgresEngine, binaries

ROOT = Path(__file__).resolve().parent.parent

# `python -m pytest` puts the clone on the path, where its nodes/ would hide ComfyUI's `nodes`.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

# A shell starts what it runs in the background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Engine]]:
    """Those that are started, by name; they are closed at the end."""
    running: dict[str, Engine] = {}
    yield running
    for engine in running.values():
        engine.close()


@pytest.fixture(params=list(ENGINES))
def engine(
    request: pytest.FixtureRequest,
    engines: dict[str, Engine],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Engine]:
    """Each kind of object store, or skipped by name; with an empty place for this test."""
    name = request.param
    if name not in engines:
        try:
            engines[name] = ENGINES[name](tmp_path_factory.mktemp(name))
        except Missing as reason:
            pytest.skip(f"no {name}: {reason}")
    engine = engines[name].at(uuid.uuid4().hex)
    for variable, value in engine.variables.items():
        monkeypatch.setenv(variable, value)
    yield engine
    engine.resume()


@pytest.fixture(scope="session")
def postgres_engine() -> Iterator[PostgresEngine]:
    """A PostgreSQL for all tests that don't stop it; it starts in about two seconds."""
    engine = PostgresEngine(binaries())
    try:
        engine.start()
        yield engine
    finally:
        engine.close()


@pytest.fixture
def postgres(postgres_engine: PostgresEngine) -> str:
    """The URL of a fresh PostgreSQL database."""
    return postgres_engine.new_database()


@pytest.fixture
def own_postgres() -> Iterator[PostgresEngine]:
    """A PostgreSQL for one test alone, to freeze, kill and start again."""
    engine = PostgresEngine(binaries())
    try:
        engine.start()
        yield engine
    finally:
        engine.close()
