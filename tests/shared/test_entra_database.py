"""`entra = true`: a token of Entra ID is the password of a studio's database."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_helpers import FREE, call
from mai_image.mai.auth import Entra
from mai_image.mai.database import DatabaseGone, DatabaseServer
from mai_image.mai.ledger import Ledger
from mai_image.mai.profiles import Profiles
from postgres_engine import PostgresEngine, binaries

FIRST, SECOND = "canary-token-first-0123456789", "canary-token-second-0123456789"


class Source:
    """Plays azure-identity: gives `token`, which is valid for `seconds`."""

    def __init__(self) -> None:
        self.token, self.seconds = FIRST, 3600.0
        self.scopes: list[str] = []
        self.silent: threading.Event | None = None

    def __call__(self, entra: Entra) -> Source:
        return self

    def get_token(self, *scopes: str) -> object:
        """As a TokenCredential's."""
        from azure.core.credentials import AccessToken

        if self.silent is not None:
            self.silent.wait(60)
        self.scopes += scopes
        return AccessToken(self.token, int(time.time() + self.seconds))


@pytest.fixture
def engine() -> Iterator[PostgresEngine]:
    access = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    engine = PostgresEngine(binaries(), access=access)
    try:
        engine.start()
        engine.run_sql(f"ALTER ROLE postgres PASSWORD '{FIRST}'")
        yield engine
    finally:
        engine.close()


@pytest.fixture
def source() -> Source:
    pytest.importorskip("azure.core", reason="no azure-identity: pip install azure-identity")
    return Source()


@pytest.fixture
def ledger(engine: PostgresEngine, source: Source, tmp_path: Path) -> Iterator[Ledger]:
    text = f'[shared]\ndatabase = "{engine.url()}"\nentra = true\n'
    (tmp_path / "profiles.toml").write_text(text)
    shared = Profiles(tmp_path, {}, build=source).shared()
    assert shared is not None
    ledger = Ledger(DatabaseServer(shared.database, shared.password))
    yield ledger
    ledger.close_file()


def _part(engine: PostgresEngine) -> None:
    """End every connection of the ledger's."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    engine.run_sql(f"{query} WHERE application_name = 'mai-image'")


def test_a_token_for_databases_is_the_password_and_is_asked_for_again_when_it_has_ended(
    ledger: Ledger, engine: PostgresEngine, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source.seconds = 2
    ledger.open(call(), FREE)
    assert set(source.scopes) == {"https://ossrdbms-aad.database.windows.net/.default"}
    _part(engine)
    source.token, source.seconds = SECOND, 3600
    engine.run_sql(f"ALTER ROLE postgres PASSWORD '{SECOND}'")
    time.sleep(2.1)
    before = len(source.scopes)
    assert ledger.spend().in_flight.calls == 1
    _part(engine)
    assert ledger.spend().in_flight.calls == 1
    assert len(source.scopes) == before + 1, "a valid token serves the next connection too"
    assert FIRST not in caplog.text
    assert SECOND not in caplog.text


def test_a_token_that_is_refused_is_in_no_error_and_in_no_log(
    ledger: Ledger, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source.token = SECOND
    with pytest.raises(DatabaseGone, match="doesn't accept this machine's role") as raised:
        ledger.open(call(), FREE)
    error: BaseException | None = raised.value
    while error is not None:
        assert SECOND not in f"{error} {error!r} {getattr(error, 'detail', '')}"
        error = error.__cause__
    assert SECOND not in caplog.text


def test_a_token_that_doesnt_come_is_not_waited_for(ledger: Ledger, source: Source) -> None:
    """The next one who asks waits for the same request."""
    source.silent = threading.Event()
    begun = time.monotonic()
    with pytest.raises(DatabaseGone, match="didn't come in time"):
        ledger.open(call(), FREE)
    assert time.monotonic() - begun < 5 + 3.5, "promised are 5 s; the rest is for a busy machine"
    source.silent.set()
    time.sleep(1.1)  # it isn't asked again at once
    assert ledger.open(call(), FREE)
