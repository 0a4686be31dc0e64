"""A PostgreSQL that speaks TLS, with certificates of the test's own authority."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from mai_image.mai.database import DatabaseGone, DatabaseServer, Schema, database_at
from postgres_engine import PostgresEngine, binaries, debian_binaries

pytest.importorskip("cryptography", reason="no cryptography: pip install cryptography")

import contextlib

from certificates import Authority

SCHEMA = Schema(
    "Notes",
    1,
    "OFF",
    "",
    tables=sqlalchemy.MetaData(),
    part="notes",
)


def own_address() -> str:
    """This machine's address that isn't a loopback; skips the test where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            address = str(probe.getsockname()[0])
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        pytest.skip("this machine has no address but its loopback")
    return address


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def engine(authority: Authority) -> Iterator[PostgresEngine]:
    """It lets nobody in without TLS, and asks for a password."""
    access = "local all all trust\nhostssl all all 0.0.0.0/0 scram-sha-256\n"
    engine = PostgresEngine(debian_binaries(), {"ssl": "on", "listen_addresses": "*"}, access)
    names = ["localhost", "127.0.0.1"]
    with contextlib.suppress(pytest.skip.Exception):
        names.append(own_address())
    engine.add_file("server.key", authority.key)
    engine.add_file("server.crt", authority.certificate(names))
    try:
        engine.start()
        engine.run_sql("ALTER ROLE postgres PASSWORD 'right'")
        yield engine
    finally:
        engine.close()


def look(url: str, ca_file: Path | None = None, password: str = "right") -> bool:
    """Whether the connection is encrypted; DatabaseGone where there is none."""
    server = DatabaseServer(url, lambda: password, ca_file=ca_file)
    try:
        with database_at(server, SCHEMA).transaction(read_only=True) as sql:
            query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            return bool(sql.exec_driver_sql(query).scalar_one())
    finally:
        server.close()


def test_a_server_of_the_named_authority_is_trusted(
    engine: PostgresEngine, authority: Authority
) -> None:
    assert look(f"{engine.url(host='localhost')}?sslmode=verify-full", authority.file)


def test_another_machine_is_verified_without_being_asked(
    engine: PostgresEngine, authority: Authority
) -> None:
    url = engine.url(host=own_address())
    assert look(url, authority.file)
    with pytest.raises(DatabaseGone, match="certificate that isn't trusted here"):
        look(url)


def test_a_server_of_another_authority_is_refused(engine: PostgresEngine, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    url = f"{engine.url(host='localhost')}?sslmode=verify-full"
    for ca_file in (other.file, None):
        with pytest.raises(DatabaseGone, match="certificate that isn't trusted here"):
            look(url, ca_file)


def test_a_certificate_for_another_host_is_refused(authority: Authority) -> None:
    engine = PostgresEngine(debian_binaries(), {"ssl": "on"})
    engine.add_file("server.key", authority.key)
    engine.add_file("server.crt", authority.certificate(["db.example"]))
    try:
        engine.start()
        with pytest.raises(DatabaseGone, match="certificate of another host"):
            look(f"{engine.url(host='localhost')}?sslmode=verify-full", authority.file)
    finally:
        engine.close()


def test_a_server_without_tls_is_refused_unless_it_is_this_machine_or_the_url_says_so() -> None:
    address = own_address()
    access = "local all all trust\nhost all all 0.0.0.0/0 trust\n"
    engine = PostgresEngine(binaries(), {"listen_addresses": "*"}, access)
    try:
        engine.start()
        with pytest.raises(DatabaseGone, match="doesn't speak TLS"):
            look(engine.url(host=address))
        assert not look(f"{engine.url(host=address)}?sslmode=disable")
        assert not look(engine.url())
    finally:
        engine.close()


def test_a_wrong_password_is_a_sentence_without_it(
    engine: PostgresEngine, authority: Authority
) -> None:
    with pytest.raises(DatabaseGone, match="doesn't accept this machine's role") as raised:
        look(f"{engine.url(host='localhost')}?sslmode=verify-full", authority.file, "wrong-one")
    assert "wrong-one" not in f"{raised.value} {raised.value.detail}"


def test_a_file_of_authorities_that_is_not_there_is_a_sentence(
    engine: PostgresEngine, tmp_path: Path
) -> None:
    with pytest.raises(DatabaseGone, match="file of certificates can't be read"):
        look(f"{engine.url(host='localhost')}?sslmode=verify-full", tmp_path / "none.pem")
