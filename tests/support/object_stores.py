"""Real object stores on this machine: a folder, Azurite (Azure) and moto's server (S3).

Each can be stopped and comes back with what it had. `ENGINES` has them by name; one that can't be
had here raises Missing when it is started.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import email.utils
import hashlib
import hmac
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from mai_image.demo.browser import Missing, installed
from mai_image.mai.store import ObjectStore

AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""Azurite's own, which every copy of it has (learn.microsoft.com/azure/storage/common)."""

PACKAGES = Path(__file__).parents[1] / "store"


class Engine:
    """An object store: where it is, and the variables that it is called with."""

    address: str
    variables: Mapping[str, str]
    port = 0

    def at(self, name: str) -> Engine:
        """An empty place in it."""
        place = copy.copy(self)
        place.address = f"{self.address}/{name}"
        return place

    def objects(self) -> ObjectStore:
        """It, as the product speaks to it."""
        return ObjectStore(self.address, self.variables.get)

    def stop(self) -> None:
        """From now on it can't be used."""
        raise NotImplementedError

    def resume(self) -> None:
        """It is back, with all that it had."""
        raise NotImplementedError

    def close(self) -> None:
        """It is no longer needed."""


class Folder(Engine):
    """A folder that all machines have."""

    variables: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self.path = folder / "images"
        self._away = folder / "away"
        self.path.mkdir(parents=True, exist_ok=True)
        self.address = str(self.path)

    def stop(self) -> None:
        """As a share that is no longer mounted."""
        self.path.rename(self._away)
        self.path.mkdir(parents=True, exist_ok=True)

    def resume(self) -> None:
        """Mounted again; what was written meanwhile is hidden."""
        if self._away.is_dir():
            shutil.rmtree(self.path)
            self._away.rename(self.path)


class Server(Engine):
    """A process that serves HTTP on a port of the loopback."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        """It takes connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(10)

    def _until_it_answers(self, port: int) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.05)
        self.close()
        raise Missing("its server didn't start")


class Azurite(Server):
    """Microsoft's emulator of Azure Blob Storage, from npm."""

    def __init__(self, folder: Path, certificates: Path | None = None) -> None:
        """`certificates` has those of docs/studio/certificates.sh for "azurite": it speaks TLS."""
        port, node = free_port(), shutil.which("node")
        if node is None:
            raise Missing("no node on this machine: install Node.js")
        package = os.environ.get("AZURITE") or installed("azurite", PACKAGES)
        script = Path(package) / "dist" / "src" / "blob" / "main.js"
        data = folder / "azurite"
        data.mkdir(parents=True)
        options = ["--blobPort", str(port), "--location", str(data), "--silent"]
        options += ["--skipApiVersionCheck", "--disableTelemetry"]
        url, trust = f"http://127.0.0.1:{port}", None
        if certificates is not None:
            options += ["--cert", str(certificates / "azurite.pem")]
            options += ["--key", str(certificates / "azurite.key")]
            url = f"https://localhost:{port}"
            trust = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        super().__init__([node, str(script), *options])
        self.port = port
        self._until_it_answers(port)
        self.address = f"{url}/{AZURITE_ACCOUNT}/studio/mai"
        self.variables = {"AZURE_STORAGE_ACCOUNT_KEY": AZURITE_KEY}
        make_container(url, "studio", trust)


class Moto(Server):
    """moto's server, which speaks S3."""

    def __init__(self, folder: Path) -> None:
        try:
            import moto  # noqa: F401
        except ImportError:
            raise Missing("no moto: pip install 'moto[server,s3]'") from None
        port = free_port()
        super().__init__([sys.executable, "-m", "moto.server", "-p", str(port)])
        self.port = port
        self._until_it_answers(port)
        self.address = "s3://studio/mai"
        self.variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "a-test",
            "AWS_SECRET_ACCESS_KEY": "a-test",
            "AWS_REGION": "us-east-1",
        }
        bucket = urllib.request.Request(f"http://127.0.0.1:{port}/studio", method="PUT")
        urllib.request.urlopen(bucket, timeout=30).close()


ENGINES: Mapping[str, type[Folder | Azurite | Moto]] = {
    "folder": Folder,
    "azurite": Azurite,
    "moto": Moto,
}


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_container(url: str, name: str, trust: ssl.SSLContext | None = None) -> None:
    """Make a container of Azurite, signed as Azure's documentation of Shared Key says."""
    date = email.utils.formatdate(usegmt=True)
    kind, version = "application/octet-stream", "2021-08-06"
    text = (
        f"PUT\n\n\n\n\n{kind}\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n"
        f"/{AZURITE_ACCOUNT}/{AZURITE_ACCOUNT}/{name}\nrestype:container"
    )
    key = base64.b64decode(AZURITE_KEY)
    signature = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    request = urllib.request.Request(
        f"{url}/{AZURITE_ACCOUNT}/{name}?restype=container",
        data=b"",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": version,
            "Content-Type": kind,
            "Content-Length": "0",
            "Authorization": f"SharedKey {AZURITE_ACCOUNT}:{signature}",
        },
    )
    for _ in range(50):  # its port is open a moment before it serves
        try:
            urllib.request.urlopen(request, timeout=10, context=trust).close()
            return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise Missing("Azurite makes no container")
