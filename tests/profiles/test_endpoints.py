"""Endpoints: every pasted form is reduced, and nothing that only looks like Azure passes."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.errors import ProfileError
from mai_image.mai.profiles import is_loopback_host, normalize_endpoint

AZURE_SUFFIXES = (
    ".services.ai.azure.com",
    ".cognitiveservices.azure.com",
    ".openai.azure.com",  # becomes the first
)

ORIGIN = "https://r-1.services.ai.azure.com"


def endpoint_of(pasted: str, *, administrator: bool = True, service: str = "foundry") -> str:
    return normalize_endpoint(pasted, administrator=administrator, service=service)


def is_azure(host: str) -> bool:
    resource, _, parent = host.partition(".")
    return bool(resource) and f".{parent}" in AZURE_SUFFIXES


@pytest.mark.parametrize(
    "pasted",
    [
        "https://r-1.services.ai.azure.com",
        "https://r-1.services.ai.azure.com/",
        "https://r-1.services.ai.azure.com//",
        "https://r-1.services.ai.azure.com/api/projects/x",
        "https://r-1.services.ai.azure.com/api/projects/my%20project/",
        "https://r-1.services.ai.azure.com/openai/v1/",
        "https://r-1.services.ai.azure.com/mai/v1/images/generations",
        "https://r-1.services.ai.azure.com/mai/v1/images/edits?api-version=2025-04-01-preview",
        "https://r-1.services.ai.azure.com:443/models?api-version=preview",
        "HTTPS://R-1.Services.AI.Azure.COM/MAI",
        "HTTPS://r-1.services.ai.azure.com:443",
        "r-1.services.ai.azure.com",
        "//r-1.services.ai.azure.com/x",
        "r-1.services.ai.azure.com:443/openai",
        "  https://r-1.services.ai.azure.com \r\n",
        '"https://r-1.services.ai.azure.com/"',
        "'r-1.services.ai.azure.com'",
        "<https://r-1.services.ai.azure.com>",
        "“https://r-1.services.ai.azure.com”",
        "https://r-1.openai.azure.com/",
        "https://r-1.openai.azure.com/openai/deployments/d/images/generations?api-version=2025-04-01",
    ],
)
@pytest.mark.parametrize("administrator", [True, False])
def test_every_pasted_azure_form_becomes_the_origin(pasted: str, administrator: bool) -> None:
    assert endpoint_of(pasted, administrator=administrator) == ORIGIN


def test_cognitiveservices_stays_what_it_is() -> None:
    pasted = "https://r.cognitiveservices.azure.com/mai/v1/images/generations"
    assert endpoint_of(pasted, administrator=False) == "https://r.cognitiveservices.azure.com"


LOOKALIKES = [
    "https://evil.com/x.services.ai.azure.com",
    "https://evil.com/https://x.services.ai.azure.com",
    "https://x.services.ai.azure.com.evil.com",
    "https://x.services.ai.azure.com.",
    "https://x.services.ai.azure.com./",
    "https://xservices.ai.azure.com",
    "https://services.ai.azure.com",
    "https://.services.ai.azure.com",
    "https://a.b.services.ai.azure.com",
    "https://x.services.ai.azure.co",
    "https://x.services.ai.azure.com@evil.com",
    "https://x.services.ai.azure.com:443@evil.com",
    "https://user:pass@x.services.ai.azure.com",
    "https://@x.services.ai.azure.com",
    "https://evil.com\\x.services.ai.azure.com",
    "https://evil.com\\@x.services.ai.azure.com",
    "https://x.services.ai.azure.com\\@evil.com",
    "https://evil.com#.services.ai.azure.com",
    "https://evil.com?.services.ai.azure.com",
    "https://evil.com%2f.services.ai.azure.com",
    "https://evil.com%00.services.ai.azure.com",
    "https://x%2eservices.ai.azure.com",
    "https://x.services.ai.azure.com%40evil.com",
    "https://x。services。ai。azure。com",
    "https://x．services.ai.azure.com",
    "https://ⅹ.services.ai.azure.com",
    "https://xn--x-1ga.services.ai.azure.com",
    "https://x.services.ai.azurе.com",
    "https://x.services.ai.azure.com\u200b",
    "https://x\u00ad.services.ai.azure.com",
    "https://evil.com\t.services.ai.azure.com",
    "https://evil.com\n.services.ai.azure.com",
    "https://evil.com\r\nHost: x.services.ai.azure.com",
    "https://evil.com\x00.services.ai.azure.com",
    "https://evil.com .services.ai.azure.com",
    "https:///x.services.ai.azure.com",
    "https:/x.services.ai.azure.com",
    "https:x.services.ai.azure.com",
    "https://https://x.services.ai.azure.com",
    "https://-x.services.ai.azure.com",
    "https://x_y.services.ai.azure.com",
    "https://1.2.3.4",
    "https://[::ffff:1.2.3.4]",
    "https://2130706433",
    "https://0x7f.1",
    "http://127.1",
    "http://127.0.0.1.evil.com",
    "http://localhost.evil.com",
    "http://localhost.",
    "http://0.0.0.0:80",
    "http://[::1%25eth0]",
    "http://[::ffff:127.0.0.1]",
    "http://localhost@evil.com",
    "http://x.services.ai.azure.com",
    "http://x.services.ai.azure.com:443",
    "https://x.services.ai.azure.com:80",
    "https://x.services.ai.azure.com:8443",
    "https://x.services.ai.azure.com:",
    "https://x.services.ai.azure.com:0",
    "https://x.services.ai.azure.com:99999",
    "https://x.services.ai.azure.com:٤٤٣",
    "https://x.services.ai.azure.com#top",
    "https://x.services.ai.azure.com?key=abc",
    "https://x.services.ai.azure.com?api-version=1&code=abc",
    "ftp://x.services.ai.azure.com",
    "file:///etc/passwd",
    "javascript:alert(1)//x.services.ai.azure.com",
    "https://gateway.example.com/mai",
    "",
    "   ",
    "https://",
    "://",
    "/",
    "https://" + "a" * 5000 + ".services.ai.azure.com",
]


@pytest.mark.parametrize("pasted", LOOKALIKES)
def test_the_environment_never_names_a_host_that_only_looks_like_azure(pasted: str) -> None:
    with pytest.raises(ProfileError) as caught:
        endpoint_of(pasted, administrator=False)
    assert caught.value.hint


@pytest.mark.parametrize("pasted", LOOKALIKES)
def test_no_lookalike_becomes_azure_for_the_administrator_either(pasted: str) -> None:
    try:
        endpoint = endpoint_of(pasted, administrator=True)
    except ProfileError:
        return
    host = urlsplit(endpoint).hostname or ""
    assert not host.endswith(".azure.com") or not is_azure(host)
    assert endpoint.startswith("https://")


@pytest.mark.parametrize(
    ("pasted", "endpoint"),
    [
        ("https://gw.example.com/ai/Mai/", "https://gw.example.com/ai/Mai"),
        ("https://GW.example.com:8443/a", "https://gw.example.com:8443/a"),
        ("gw.example.com:443", "https://gw.example.com"),
        ("https://gw.example.com/a/mai/v1/images/generations", "https://gw.example.com/a"),
        ("https://gw.example.com/a/mai/v1/images/edits/", "https://gw.example.com/a"),
        ("https://gw.example.com/a/mai/v1", "https://gw.example.com/a"),
        ("https://gw.example.com/mai", "https://gw.example.com/mai"),
        ("https://10.0.0.7/mai", "https://10.0.0.7/mai"),
        ("https://[fd00::7]:444/mai", "https://[fd00::7]:444/mai"),
    ],
)
def test_the_administrators_gateway_is_used_as_configured(pasted: str, endpoint: str) -> None:
    assert endpoint_of(pasted, administrator=True) == endpoint
    with pytest.raises(ProfileError, match="not an Azure host"):
        endpoint_of(pasted, administrator=False)


@pytest.mark.parametrize(
    "pasted",
    [
        "http://gw.example.com",
        "https://gw.example.com?subscription-key=x",
        "https://gw.example.com/a#b",
        "https://gw.example.com/a/../b",
        "https://gw.example.com/./b",
        "https://gw.example.com//b",
        "https://gw.example.com/%2e%2e/b",
        "https://gw.example.com/a b",
        "https://me@gw.example.com",
    ],
)
def test_a_gateway_needs_https_and_a_plain_path(pasted: str) -> None:
    with pytest.raises(ProfileError):
        endpoint_of(pasted, administrator=True)


@pytest.mark.parametrize(
    ("pasted", "endpoint"),
    [
        ("http://127.0.0.1:8123", "http://127.0.0.1:8123"),
        ("127.0.0.1:8123/", "http://127.0.0.1:8123"),
        ("localhost:8123/mai/v1/images/generations", "http://localhost:8123"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://[0:0::0:1]:81", "http://[::1]:81"),
        ("https://localhost:443/x", "https://localhost/x"),
    ],
)
def test_this_machine_may_be_called_over_plain_http(pasted: str, endpoint: str) -> None:
    assert endpoint_of(pasted, administrator=False) == endpoint
    assert is_loopback_host(httpx.URL(endpoint).host)


def test_pixazo_is_reduced_to_its_origin_and_belongs_to_its_service() -> None:
    pasted = "https://gateway.pixazo.ai/microsoft-mai-image-2-5/v1/"
    assert endpoint_of(pasted, administrator=True, service="pixazo") == "https://gateway.pixazo.ai"
    with pytest.raises(ProfileError, match="belongs to the service 'pixazo'"):
        endpoint_of(pasted, administrator=True)
    with pytest.raises(ProfileError, match="belongs to the service 'foundry'"):
        endpoint_of(ORIGIN, administrator=True, service="pixazo")


def test_a_key_pasted_as_the_endpoint_is_not_quoted() -> None:
    key = "canary4f2b9c8d7e6a5f4b3c2d1e0f9a8b7c6d"
    for pasted in (key, f"http://{key}", f"https://{key}@x.com", f"https://u:{key}@h/{key}"):
        with pytest.raises(ProfileError) as caught:
            endpoint_of(pasted, administrator=False)
        assert key not in str(caught.value)


PIECES = [
    *("https://", "http://", "//", "/", "\\", "@", ":", "#", "?", "%2e", "%00", "%40", ";", "."),
    *("x", "evil.com", ".services.ai.azure.com", "services.ai.azure.com", ".openai.azure.com"),
    *("localhost", "127.0.0.1", "[::1]", "443", "80", "。", "\t", "\n", " ", "\u200b", "xn--a"),
    *("..", "a", "A", "-", "_", "[", "]", "&", "=", "api-version=1"),
]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join) | st.text(max_size=40))
def test_what_a_client_would_connect_to_is_what_was_checked(pasted: str) -> None:
    for administrator in (True, False):
        try:
            endpoint = endpoint_of(pasted, administrator=administrator)
        except ProfileError:
            continue
        request = httpx.URL(endpoint + "/mai/v1/images/generations")
        split = urlsplit(endpoint + "/mai/v1/images/generations")
        host = request.raw_host.decode()
        assert host == split.hostname
        assert request.scheme == split.scheme
        assert not request.userinfo
        assert not request.query
        assert not request.fragment
        azure, here = is_azure(host), is_loopback_host(host)
        assert administrator or azure or here
        assert request.scheme == "https" or here
        if azure:
            assert request.port is None
            assert request.path == "/mai/v1/images/generations"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_reducing_twice_changes_nothing(pasted: str) -> None:
    try:
        once = endpoint_of(pasted, administrator=True)
    except ProfileError:
        return
    assert endpoint_of(once, administrator=True) == once


@settings(max_examples=200, deadline=None)
@given(st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True), st.integers(0, 2))
def test_every_resource_of_azure_is_accepted(name: str, which: int) -> None:
    if name.startswith("xn--"):
        return
    endpoint = endpoint_of(name + AZURE_SUFFIXES[which] + "/x", administrator=False)
    suffix = AZURE_SUFFIXES[which % 2]
    assert endpoint == f"https://{name}{suffix}"


def test_an_endpoint_has_2048_characters_at_most() -> None:
    longest = "https://gateway.example.com/".ljust(2048, "a")
    assert normalize_endpoint(longest, administrator=True, service="foundry") == longest
    with pytest.raises(ProfileError):
        normalize_endpoint(longest + "a", administrator=True, service="foundry")
