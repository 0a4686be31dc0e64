"""Signing in goes through the profile's proxy, for the audience of its endpoint's cloud."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from between import Between
from certificates import make_certificate
from mai_image import emulator
from mai_image.mai.auth import Entra
from mai_image.mai.profiles import Profiles


def profiles(folder: Path, endpoint: str, *settings: str, **options: Any) -> Profiles:
    lines = ["[profiles.a]", f'endpoint = "{endpoint}"', *settings]
    lines.append('credential = { kind = "entra", method = "environment" }')
    (folder / "profiles.toml").write_text("\n".join(lines))
    return Profiles(folder, **options)


def test_a_client_signs_in_through_the_profiles_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with emulator.start(certificate=certificate) as service:
        port = urlsplit(service.authority).port or 0
        for name, value in {
            "REQUESTS_CA_BUNDLE": str(certificate),
            "AZURE_AUTHORITY_HOST": service.authority,
            "AZURE_TENANT_ID": "22222222-2222-2222-2222-222222222222",
            "AZURE_CLIENT_ID": "33333333-3333-3333-3333-333333333333",
            "AZURE_CLIENT_SECRET": "emulator",
        }.items():
            monkeypatch.setenv(name, value)
        with Between(port) as proxy:
            own = profiles(tmp_path, "https://r.services.ai.azure.com", f'proxy = "{proxy.url}"')
            headers = asyncio.run(own.get("a").credential.headers())
            assert headers["Authorization"].startswith("Bearer emulator-")
            assert set(proxy.seen) == {f"CONNECT localhost:{port}"}


@pytest.mark.parametrize(
    ("endpoint", "audience"),
    [
        ("https://r.services.ai.azure.com", "https://cognitiveservices.azure.com"),
        ("https://gateway.example.com/mai", "https://cognitiveservices.azure.com"),
        ("https://r.cognitiveservices.azure.us", "https://cognitiveservices.azure.us"),
        ("https://r.cognitiveservices.azure.cn", "https://cognitiveservices.azure.cn"),
    ],
)
def test_the_token_is_for_the_services_of_the_endpoints_cloud(
    tmp_path: Path, endpoint: str, audience: str
) -> None:
    asked = []

    class Source:
        def get_token(self, scope: str) -> None:
            asked.append(scope)
            raise ValueError

    def build(entra: Entra) -> Source:
        return Source()

    credential = profiles(tmp_path, endpoint, build=build).get("a").credential
    with pytest.raises(Exception, match="No Entra ID token"):
        asyncio.run(credential.headers())
    assert asked == [f"{audience}/.default"]
