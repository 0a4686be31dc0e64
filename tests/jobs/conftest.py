"""A gateway on this machine, and services of the client that poll it quickly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from client_harness import quick
from mai_image import emulator
from mai_image.emulator import Emulator
from mai_image.mai.client import Client
from mai_image.mai.errors import MaiError
from mai_image.mai.profiles import Profiles
from mai_image.mai.types import Progress, Result
from services import WITH_JOBS, generation, profile_text

POLL = 0.02


class Buyer:
    """One client on one folder, with a profile "test" that leads to the gateway."""

    def __init__(self, folder: Path, gateway: Emulator, service: str) -> None:
        self.folder, self.gateway, self.service = folder, gateway, service
        self.clients: list[Client] = []
        self.seen: list[Progress] = []
        self.configure()

    def configure(self, timeout: float = 20, key: str = "emulator", more: str = "") -> None:
        """Write profiles.toml."""
        self.folder.mkdir(exist_ok=True)
        text = profile_text(self.service, self.gateway.url, key=key, timeout=timeout)
        (self.folder / "profiles.toml").write_text(text + more, encoding="utf-8")

    @property
    def client(self) -> Client:
        """The running service, started if there is none."""
        if not self.clients:
            self.clients.append(Client(self.folder, Profiles(self.folder, {}), poll=POLL))
        return self.clients[-1]

    def restart(self) -> None:
        """End the service and start another one on the same folder."""
        self.client.close(grace=0)
        self.clients.append(Client(self.folder, Profiles(self.folder, {}), poll=POLL))

    def order(self, prompt: str = "a red fox", **more: Any) -> Future[Result]:
        """Ask for one image."""
        profile = more.pop("profile", "test")
        request = generation(self.service, prompt, **more)
        return self.client.submit(request, profile, self.seen.append)

    def buy(self, prompt: str = "a red fox", **more: Any) -> Result:
        """The image."""
        return self.order(prompt, **more).result(30)

    def fail(self, prompt: str = "a red fox", **more: Any) -> MaiError:
        """The error instead of an image."""
        with pytest.raises(MaiError) as caught:
            self.buy(prompt, **more)
        return caught.value

    @property
    def outcomes(self) -> list[object]:
        """The ledger's outcomes, oldest first."""
        return [row["outcome"] for row in reversed(self.client.ledger.rows())]

    @property
    def orders(self) -> int:
        """How many jobs were ordered."""
        return sum(entry.method == "POST" for entry in self.gateway.log.entries)

    def asked(self, part: str) -> int:
        """How many requests the gateway saw whose path has this part."""
        return sum(part in entry.path for entry in self.gateway.log.entries)


@pytest.fixture(scope="session")
def gateways() -> Iterator[Emulator]:
    """One gateway for all tests; its log is emptied by `gateway`."""
    with emulator.start() as client:
        yield client


@pytest.fixture
def gateway(gateways: Emulator) -> Emulator:
    gateways.log.clear()
    gateways.job("")
    gateways.fault("")
    return gateways


@pytest.fixture(params=WITH_JOBS)
def service(request: pytest.FixtureRequest) -> str:
    """Each service that answers with job ids."""
    return str(request.param)


@pytest.fixture
def buyer(tmp_path: Path, gateway: Emulator, service: str) -> Iterator[Buyer]:
    buyer = Buyer(tmp_path / "mai", gateway, service)
    yield buyer
    for client in buyer.clients:
        client.close(grace=0)


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits until something is true, for 5 s at most."""
    import time

    def wait(true: Callable[[], object]) -> None:
        end = time.monotonic() + 5
        while not true():
            assert time.monotonic() < end, "it never became true"
            time.sleep(0.005)

    return wait


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the waits that are there for the sake of a real service."""
    quick(monkeypatch)
