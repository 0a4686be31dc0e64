"""Object stores for the tests that need one: each test has an empty place in one of each kind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from mai_image.demo.browser import Missing
from object_stores import ENGINES, Engine


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
