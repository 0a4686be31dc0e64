"""docs/studio.md and its files: what an administrator copies from them works here too."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from mai_image.cli import main
from mai_image.demo.browser import Missing
from mai_image.mai.database import DatabaseServer
from mai_image.mai.errors import StoreError
from mai_image.mai.ledger import Ledger
from mai_image.mai.profiles import Profiles
from mai_image.mai.store import ObjectStore
from object_stores import Azurite
from postgres_engine import PostgresEngine, debian_binaries

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "docs" / "studio"
PAGE = (ROOT / "docs" / "studio.md").read_text("utf-8")
COMPOSE = yaml.safe_load((FILES / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
ENV = {
    "AZURE_API_KEY": "a-key",
    "MAI_DATABASE_PASSWORD": "a-password",
    "POSTGRES_PASSWORD": "another",
}
"""The lines that the page asks for."""

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here")


def test_compose_has_a_postgres_an_azurite_and_two_machines() -> None:
    assert set(SERVICES) == {
        "certificates", "database", "azurite", "container", "machine-1", "machine-2",
    }  # fmt: skip
    one, other = SERVICES["machine-1"], SERVICES["machine-2"]
    assert one["hostname"] != other["hostname"]
    assert one["ports"] != other["ports"]
    assert all(port.startswith("127.0.0.1:") for port in [*one["ports"], *other["ports"]])


def test_every_file_and_volume_and_service_that_compose_names_is_there() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("./"):
                assert (FILES / source).is_file(), source
            else:
                assert source in COMPOSE["volumes"], source
    build = SERVICES["machine-1"]["build"]
    assert (FILES / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_the_page_asks_for_each_variable_that_compose_needs() -> None:
    needed = set(re.findall(r"\$\{(\w+)", (FILES / "compose.yaml").read_text("utf-8")))
    assert needed == set(ENV)
    assert all(f"`{name}=…`" in PAGE for name in needed)


def test_the_profiles_of_compose_can_be_used_and_name_its_services(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_bytes((FILES / "profiles.toml").read_bytes())
    variables = {**SERVICES["machine-1"]["environment"], **ENV}
    profiles = Profiles(tmp_path, variables)
    assert profiles.names()[0] == "studio"
    assert profiles.get("studio").credential.is_there()
    shared = profiles.shared()
    assert shared is not None
    assert shared.password is not None
    assert shared.password() == ENV["MAI_DATABASE_PASSWORD"]
    assert urlsplit(shared.database).hostname in SERVICES
    assert urlsplit(shared.images).hostname in SERVICES
    assert str(shared.ca_file) == "/certificates/ca.pem"
    asyncio.run(_has_key(profiles))


async def _has_key(profiles: Profiles) -> None:
    assert profiles.storage_variable("AZURE_STORAGE_ACCOUNT_KEY")


def test_every_shared_that_the_page_shows_can_be_read(tmp_path: Path) -> None:
    shown = re.findall(r"(?s)```toml\n(.*?)```", PAGE)
    assert shown
    for text in shown:
        (tmp_path / "profiles.toml").write_text(text, "utf-8")
        assert Profiles(tmp_path, {}).shared() is not None


def test_the_role_has_what_the_ledger_needs_and_no_more(
    postgres: str, postgres_engine: PostgresEngine
) -> None:
    database = urlsplit(postgres).path.strip("/")
    postgres_engine.run_sql("DROP ROLE IF EXISTS mai")
    postgres_engine.run_sql((FILES / "role.sql").read_text("utf-8"), database)
    try:
        ledger = Ledger(DatabaseServer(postgres_engine.url(database, role="mai")))
        assert ledger.rows() == []
        ledger.close_file()
        may = "SELECT has_database_privilege('mai', current_database(), 'CREATE'),"
        may += " has_schema_privilege('mai', 'public', 'USAGE'), rolsuper, rolcreaterole,"
        may += " rolcreatedb FROM pg_roles WHERE rolname = 'mai'"
        (rights,) = postgres_engine.run_sql(may, database)
        assert not any(rights)
    finally:
        postgres_engine.run_sql("DROP OWNED BY mai", database)


def start_azurite(folder: Path, certificates: Path) -> Azurite:
    """An object store that speaks TLS; where there is none, the test is skipped."""
    try:
        return Azurite(folder, certificates)
    except Missing as reason:
        pytest.skip(f"no azurite: {reason}")


@needs_openssl
def test_azurite_with_the_certificates_is_trusted_by_ca_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = make_certificates(tmp_path)
    azurite = start_azurite(tmp_path, certificates)
    for name, value in azurite.variables.items():
        monkeypatch.setenv(name, value)
    try:
        asyncio.run(_write_and_read(azurite, certificates / "ca.pem"))
    finally:
        azurite.close()


async def _write_and_read(azurite: Azurite, ca_file: Path) -> None:
    trusting = ObjectStore(azurite.address, azurite.variables.get, ca_file=ca_file)
    assert await trusting.create("a", b"b")
    assert await trusting.read("a") == b"b"
    with pytest.raises(StoreError):
        await azurite.objects().read("a")


@needs_openssl
def test_what_compose_starts_works_together_and_doctor_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The certificates, the database with its role and password, and the images; without Docker."""
    certificates = make_certificates(tmp_path)
    azurite = start_azurite(tmp_path, certificates)
    try:
        database = start_database(certificates)
        try:
            text = (FILES / "profiles.toml").read_text("utf-8")
            here = f"localhost:{database.port}/mai?sslmode=verify-full"
            text = text.replace("@database/mai", f"@{here}")
            text = text.replace("azurite:10000", f"localhost:{azurite.port}")
            text = text.replace("/certificates", str(certificates))
            (tmp_path / "profiles.toml").write_text(text, "utf-8")
            for name, value in {**SERVICES["machine-1"]["environment"], **ENV}.items():
                monkeypatch.setenv(name, value)
            main(["--folder", str(tmp_path), "doctor", "--profile", "emulator"])
        finally:
            database.close()
    finally:
        azurite.close()
    said = capsys.readouterr().out
    assert "ok    database: " in said
    assert "ok    store: https://localhost:" in said
    assert "wrong" not in said


def start_database(certificates: Path) -> PostgresEngine:
    """A PostgreSQL set up as compose.yaml does it, which speaks TLS alone; skips without one."""
    psql = shutil.which("psql") or pytest.skip("no psql: apt-get install postgresql-client")
    access = "local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
    files = {"ssl_cert_file": "database.pem", "ssl_key_file": "database.key"}
    database = PostgresEngine(debian_binaries(), {"ssl": "on", **files}, access)
    for name in files.values():
        database.add_file(name, (certificates / name).read_bytes())
    database.start()
    database.run_sql("CREATE DATABASE mai")
    place = {"PGHOST": str(database.folder), "PGPORT": str(database.port)}
    user = {"POSTGRES_USER": "postgres", "POSTGRES_DB": "mai", **ENV}
    role = [psql, "-U", "postgres", "-d", "mai", "-v", "ON_ERROR_STOP=1", "-f"]
    for command in ([*role, str(FILES / "role.sql")], ["sh", str(FILES / "password.sh")]):
        variables = {"PATH": os.environ["PATH"], **place, **user}
        subprocess.run(command, check=True, env=variables, capture_output=True)
    return database


def make_certificates(folder: Path) -> Path:
    made = folder / "certificates"
    script = str(FILES / "certificates.sh")
    subprocess.run(["sh", script, str(made), "database", "azurite"], check=True)
    return made


@needs_openssl
def test_certificates_are_made_once(tmp_path: Path) -> None:
    first = make_certificates(tmp_path)
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    make_certificates(tmp_path)
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    assert (first / "ca.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("script", ["azure.sh", "certificates.sh", "password.sh"])
def test_the_scripts_can_be_parsed(script: str) -> None:
    shell = shutil.which("bash") or pytest.skip("no bash here")
    subprocess.run([shell, "-n", str(FILES / script)], check=True)


def test_every_file_of_the_page_is_there_and_nothing_else() -> None:
    linked = set(re.findall(r"\]\(studio/([\w.]+)\)", PAGE))
    named = linked | set(re.findall(r"\./([\w.]+):", (FILES / "compose.yaml").read_text("utf-8")))
    there = {path.name for path in FILES.iterdir() if not path.name.startswith("Dockerfile")}
    assert named | {"compose.yaml"} == there
