"""Images bought with Entra ID: tokens from the emulated endpoints, used by the whole client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import make_certificate
from mai_image import emulator
from mai_image.emulator import Emulator
from mai_image.mai.client import Client
from mai_image.mai.errors import AuthenticationError, CredentialError, MaiError
from mai_image.mai.profiles import Profiles
from mai_image.mai.types import Generate, Result

TENANT = "22222222-2222-2222-2222-222222222222"
CLIENT = "33333333-3333-3333-3333-333333333333"

Buy = Callable[..., Result]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No identity but the emulated one, nor a command that could give one."""
    for name in (
        "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_AUTHORITY_HOST",
        "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "AZURE_FEDERATED_TOKEN_FILE", "AZURE_USERNAME", "IMDS_ENDPOINT", "AZURE_TOKEN_CREDENTIALS",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "localhost,127.0.0.1")
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def client(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Emulator]]:
    """Starts an emulator and points the environment at it."""
    started: list[Emulator] = []

    def start(**options: object) -> Emulator:
        wanted = emulator.Options(**options)  # type: ignore[arg-type]
        found = emulator.start(options=wanted, certificate=certificate)
        started.append(found)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", found.authority)
        monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
        monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
        monkeypatch.setenv("AZURE_CLIENT_SECRET", "emulator")
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{found.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "emulator")
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", found.url)
        return found

    yield start
    for found in started:
        found.stop()


@pytest.fixture
def buy(tmp_path: Path) -> Iterator[Callable[..., Buy]]:
    """Makes a buyer whose profile signs in by `method`."""
    clients: list[Client] = []

    def buyer(found: Emulator, method: str = "managed_identity", **options: float) -> Buy:
        folder = tmp_path / f"mai{len(clients)}"
        folder.mkdir()
        (folder / "profiles.toml").write_text(
            f'[profiles.work]\nendpoint = "{found.url}"\nrequests_a_minute = 6000\n'
            f'credential = {{ kind = "entra", method = "{method}" }}\n'
        )
        clients.append(Client(folder, Profiles(folder, **options)))  # type: ignore[arg-type]

        def one(seed: int = 0) -> Result:
            message = Generate("MAI-Image-2.6", "a red fox", 768, 768, seed)
            return clients[-1].submit(message, "work").result(60)

        return one

    yield buyer
    for one in clients:
        one.close(grace=0)


def images(found: Emulator) -> list[int | None]:
    """The statuses of the image requests."""
    return [entry.status for entry in found.log.entries if "/images/" in entry.path]


def tokens(found: Emulator) -> int:
    """How often a token was asked for."""
    return sum("token" in entry.path for entry in found.log.entries)


def failure(buy: Buy, seed: int = 0) -> MaiError:
    with pytest.raises(MaiError) as caught:
        buy(seed)
    return caught.value


@pytest.mark.parametrize("method", ["managed_identity", "environment", "default"])
def test_images_are_bought_with_one_token(client, buy, method: str) -> None:
    found = client()
    one = buy(found, method)
    assert [one(seed).width for seed in range(3)] == [768] * 3
    assert (tokens(found), found.log.billed) == (1, 3)


def test_a_virtual_machines_identity_works_too(client, buy, monkeypatch) -> None:
    found = client()
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    monkeypatch.delenv("IDENTITY_HEADER")
    assert buy(found)().width == 768
    assert any("/metadata/identity/" in entry.path for entry in found.log.entries)


def test_an_ended_token_is_renewed_before_it_is_used(client, buy) -> None:
    found = client(token_life=1.0)
    one = buy(found)
    one(0)
    time.sleep(1.1)
    one(1)
    assert images(found) == [200, 200]
    assert tokens(found) >= 2


def test_a_token_that_is_refused_before_its_end_is_renewed_once(client, buy) -> None:
    found = client(token_life=2.0, token_expires_in=3600.0)
    one = buy(found)
    one(0)
    time.sleep(2.1)
    assert one(1).width == 768
    assert images(found) == [200, 401, 200]
    assert (tokens(found), found.log.billed) == (2, 2)


def test_a_token_that_is_never_accepted_is_an_error_after_one_renewal(client, buy) -> None:
    found = client(token_life=0.000001, token_expires_in=3600.0)
    error = failure(buy(found))
    assert isinstance(error, AuthenticationError)
    assert images(found) == [401, 401]
    assert found.log.billed == 0


@pytest.mark.parametrize(
    "fault", ["status=404", "status=401", "answer=html", "answer=garbage", "answer=wrong-shape"]
)
def test_without_a_token_nothing_is_sent(client, buy, monkeypatch, fault: str) -> None:
    monkeypatch.setattr("azure.core.pipeline.policies.RetryPolicy.sleep", lambda *_: None)
    found = client(token_fault=fault)
    for method in ("environment", "managed_identity"):
        error = failure(buy(found, method))
        assert isinstance(error, CredentialError)
        assert "No Entra ID token" in error.what
        assert error.hint
    assert images(found) == []


def test_a_black_hole_is_waited_for_no_longer_than_said_and_names_what_was_tried(
    client, buy
) -> None:
    found = client(token_fault="latency=30")
    one = buy(found, "managed_identity", wait=0.4)
    began = time.monotonic()
    error = failure(one)
    assert time.monotonic() - began < 5
    assert "no answer within 0.4 s. Tried: ManagedIdentityCredential" in error.what
    assert images(found) == []


def test_a_slow_token_is_waited_for(client, buy) -> None:
    found = client(token_fault="latency=0.5")
    assert buy(found)().width == 768


def test_a_failing_endpoint_costs_nothing_once_it_works_again(client, buy, monkeypatch) -> None:
    monkeypatch.setattr("mai_image.mai.auth.entra.REMEMBER", 0.0)
    found = client(token_fault="status=400")
    one = buy(found)
    assert isinstance(failure(one), CredentialError)
    found.token_fault("")
    assert one().width == 768
    assert found.log.billed == 1
