"""`images` in [shared]: where it leads, and what is refused before anything is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from mai_image.mai.errors import ConfigurationError, StoreError
from mai_image.mai.store import ObjectStore
from mai_image.mai.store.address import parse_address

SECRET = "s3cr3t-signature"


@pytest.mark.parametrize(
    ("text", "kind", "container", "prefix", "account"),
    [
        ("https://acc.blob.core.windows.net/box/mai", "azure", "box", "mai", "acc"),
        ("https://acc.blob.core.windows.net/box", "azure", "box", "", "acc"),
        ("https://acc.blob.core.chinacloudapi.cn/box/a/b/", "azure", "box", "a/b", "acc"),
        ("http://127.0.0.1:10000/devstoreaccount1/box/mai", "azure", "box", "mai",
         "devstoreaccount1"),
        ("https://azurite:10000/devstoreaccount1/box", "azure", "box", "", "devstoreaccount1"),
        ("s3://bucket/mai", "s3", "bucket", "mai", ""),
        ("gs://bucket/a/b", "google", "bucket", "a/b", ""),
    ],
)  # fmt: skip
def test_an_address_leads_to_a_container_and_a_folder_in_it(
    text: str, kind: str, container: str, prefix: str, account: str
) -> None:
    found = parse_address(text)
    assert (found.kind, found.container, found.prefix, found.account) == (
        kind, container, prefix, account,
    )  # fmt: skip
    assert str(found) == text.rstrip("/")


def test_everything_without_a_scheme_is_a_folder(tmp_path: Path) -> None:
    assert parse_address(str(tmp_path)).container == str(tmp_path)
    assert parse_address("~/images").container == str(Path("~/images").expanduser())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"https://acc.blob.core.windows.net/box?sig={SECRET}", "more than an address"),
        (f"https://me:{SECRET}@acc.blob.core.windows.net/box", "more than an address"),
        (f"s3://{SECRET}@bucket/mai", "more than an address"),
        (f"s3://bucket/mai#{SECRET}", "more than an address"),
        ("http://acc.blob.core.windows.net/box", "unprotected"),
        ("http://10.0.0.7:10000/acc/box", "unprotected"),
        ("https://acc.blob.core.windows.net", "names no container"),
        ("http://127.0.0.1:10000/devstoreaccount1", "names no container"),
        ("https://bucket.s3.amazonaws.com/mai", "no address of Azure's"),
        ("az://acc/box", "can't begin with az://"),
        ("file:///mnt/mai", "can't begin with file://"),
        ("images", "no whole path"),
        ("~nobody-of-that-name/images", "no whole path"),
        ("https://[::1", "is no address"),
    ],
)
def test_what_is_no_address_is_refused_without_its_secrets(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as refused:
        parse_address(text)
    assert SECRET not in str(refused.value)


def test_s3_without_tls_is_for_this_machine_alone() -> None:
    objects = ObjectStore("s3://bucket/mai", {"AWS_ENDPOINT_URL": "http://10.0.0.7:9000"}.get)
    with pytest.raises(ConfigurationError, match="AWS_ENDPOINT_URL is http://"):
        asyncio.run(objects.read("a"))


def test_a_google_store_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """No emulator of it can be had here: it is opened, and what it asks for isn't there."""
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match="gs://bucket/mai can't be used now"):
        asyncio.run(ObjectStore("gs://bucket/mai").read("a"))


def test_azure_without_a_key_is_asked_with_a_token_of_entra_id() -> None:
    asked: list[str] = []

    async def token() -> str:
        asked.append("token")
        raise StoreError("No Entra ID token: nobody is signed in.", "Run az login.")

    azure = "http://127.0.0.1:1/account/box"
    with pytest.raises(StoreError, match="nobody is signed in"):
        asyncio.run(ObjectStore(azure, token=token).read("a"))
    assert asked == ["token"]
    key = {"AZURE_STORAGE_ACCOUNT_KEY": "bm9uZQ=="}
    with pytest.raises(StoreError, match="can't be used now"):
        asyncio.run(ObjectStore(azure, key.get, token=token).read("a"))
    assert asked == ["token"]


def test_a_signature_is_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"sv=2021-08-06&sig={SECRET}")
    objects = ObjectStore("http://127.0.0.1:1/account/box")
    with pytest.raises(StoreError) as refused:
        asyncio.run(objects.read("a"))
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(refused.value.__cause__)
