"""fal and OpenRouter as profiles: one key in the environment, or a table of profiles.toml."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from mai_image.mai.errors import ProfileError
from mai_image.mai.profiles import Profiles, allowed_media_url, normalize_endpoint
from mai_image.mai.types import Generate

KEY = "canary-5b1e7a90"
AZURE = {"AZURE_ENDPOINT": "https://r.services.ai.azure.com", "AZURE_API_KEY": "a-key"}
GATEWAYS = {
    "fal": ("FAL_KEY", "https://queue.fal.run", f"Key {KEY}"),
    "openrouter": ("OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", f"Bearer {KEY}"),
}


def headers(profiles: Profiles, name: str = "default") -> dict[str, str]:
    return asyncio.run(profiles.get(name).credential.headers())


@pytest.mark.parametrize("service", GATEWAYS)
def test_a_gateways_key_alone_makes_the_profile_default(tmp_path: Path, service: str) -> None:
    variable, endpoint, sent = GATEWAYS[service]
    profiles = Profiles(tmp_path, {variable: KEY})
    profile = profiles.get("default")
    assert (profile.service, profile.endpoint) == (service, endpoint)
    assert headers(profiles) == {"Authorization": sent}
    assert profiles.names() == ["default", "emulator"]
    assert profiles.warnings() == []
    assert profile.credential.is_there()
    assert KEY not in repr(profile)


@pytest.mark.parametrize("service", GATEWAYS)
def test_a_key_that_was_pasted_with_the_word_before_it_is_sent_with_one_word(
    tmp_path: Path, service: str
) -> None:
    variable, _, sent = GATEWAYS[service]
    assert headers(Profiles(tmp_path, {variable: f'"{sent}"'})) == {"Authorization": sent}


def test_an_azure_resource_goes_before_a_gateway_and_fal_before_openrouter(tmp_path: Path) -> None:
    both = {"FAL_KEY": KEY, "OPENROUTER_API_KEY": KEY}
    assert Profiles(tmp_path, {**both, **AZURE}).get("default").service == "foundry"
    profiles = Profiles(tmp_path, both)
    assert profiles.get("default").service == "fal"
    assert profiles.warnings() == ["OPENROUTER_API_KEY is set too: it is not used; FAL_KEY is."]


def test_a_complete_gateway_goes_before_a_key_without_its_endpoint(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path, {"FAL_KEY": KEY, "AZURE_API_KEY": "a-key"})
    assert profiles.get("default").service == "fal"
    (warning,) = profiles.warnings()
    assert "AZURE_API_KEY is set without AZURE_ENDPOINT" in warning


def test_without_any_account_the_error_names_every_way(tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        Profiles(tmp_path, {}).get("default")
    for name in ("AZURE_ENDPOINT", "FAL_KEY", "OPENROUTER_API_KEY", "mai-image init", "emulator"):
        assert name in str(caught.value)


def written(tmp_path: Path, lines: str, environ: dict[str, str] | None = None) -> Profiles:
    credential = f'credential = {{ kind = "key", value = "{KEY}" }}'
    (tmp_path / "profiles.toml").write_text(f"[profiles.p]\n{lines}\n{credential}\n")
    return Profiles(tmp_path, environ or {})


@pytest.mark.parametrize("service", GATEWAYS)
def test_a_profile_needs_a_service_and_a_key(tmp_path: Path, service: str) -> None:
    profiles = written(tmp_path, f'service = "{service}"')
    _, endpoint, sent = GATEWAYS[service]
    assert profiles.get("p").endpoint == endpoint
    assert headers(profiles, "p") == {"Authorization": sent}


def test_a_header_of_its_own_has_the_key_alone(tmp_path: Path) -> None:
    profiles = written(tmp_path, 'service = "fal"\nheader = "x-key"')
    assert headers(profiles, "p") == {"x-key": KEY}


@pytest.mark.parametrize(
    ("service", "pasted", "called"),
    [
        ("fal", "https://queue.fal.run/", "https://queue.fal.run"),
        ("fal", "queue.fal.run/microsoft/mai-image-2.7/edit", "https://queue.fal.run"),
        ("fal", "http://127.0.0.1:9/microsoft/mai-image-2.7/edit", "http://127.0.0.1:9"),
        ("fal", "https://g.example/fal", "https://g.example/fal"),
        ("openrouter", "https://openrouter.ai", "https://openrouter.ai/api/v1"),
        ("openrouter", "https://openrouter.ai/api/v1/images", "https://openrouter.ai/api/v1"),
        ("openrouter", "http://127.0.0.1:9/api/v1", "http://127.0.0.1:9/api/v1"),
        ("openrouter", "http://127.0.0.1:9/api/v1/images/", "http://127.0.0.1:9/api/v1"),
        ("openrouter", "https://g.example/o", "https://g.example/o"),
    ],
)
def test_an_endpoint_stands_for_the_base_address(service: str, pasted: str, called: str) -> None:
    assert normalize_endpoint(pasted, administrator=True, service=service) == called


@pytest.mark.parametrize(
    ("service", "endpoint"),
    [("fal", "http://queue.fal.run"), ("fal", "https://queue.fal.run:8443"),
     ("openrouter", "http://openrouter.ai/api/v1"), ("fal", "https://openrouter.ai"),
     ("openrouter", "http://g.example"), ("foundry", "https://queue.fal.run")],
)  # fmt: skip
def test_a_key_goes_over_https_to_its_own_service_alone(service: str, endpoint: str) -> None:
    with pytest.raises(ProfileError):
        normalize_endpoint(endpoint, administrator=True, service=service)


def test_fals_images_lie_on_its_media_hosts_alone() -> None:
    def allowed(url: str, *, loopback: bool = False) -> bool:
        return allowed_media_url(url, (), loopback=loopback, service="fal") is not None

    assert allowed("https://v3.fal.media/files/a.png")
    assert allowed("https://v3b.x.fal.media/files/a.png")
    assert allowed("http://127.0.0.1:9/a.png", loopback=True)
    for url in ("https://fal.media.evil.example/a.png", "http://v3.fal.media/a.png",
                "https://evilfal.media/a.png", "https://media.pixazo.ai/a.png",
                "https://queue.fal.run/a.png", "http://127.0.0.1:9/a.png",
                "https://v3.fal.media:8443/a.png", "https://v3.fal.media@evil.example/a",
                ):  # fmt: skip
        assert not allowed(url), url


def test_a_price_that_isnt_known_is_no_bound(tmp_path: Path) -> None:
    for model, known in (("MAI-Image-2.7", True), ("MAI-Image-2.6", False)):
        request = Generate(model, "a fox", 1024, 1024)
        profile = written(tmp_path, 'service = "openrouter"').get("p")
        assert (profile.why_unbounded(request) == "") is known


def test_neither_takes_deployments_tiers_or_entra(tmp_path: Path) -> None:
    for lines in ('deployments = "d"', "tier = 1"):
        with pytest.raises(ProfileError, match="can't be set"):
            written(tmp_path, f'service = "fal"\n{lines}').get("p")
