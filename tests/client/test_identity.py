"""Whose images the store serves: those of the same service at the same resource or gateway."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from client_harness import SIDE, drawn, generate, image, profile_for
from mai_image.mai.client import Client
from mai_image.mai.http import Transport
from mai_image.mai.profiles import Profile, Profiles
from mai_image.mai.types import Generate
from scripted_server import image_body, usage_of

WRITTEN = Path(__file__).parents[1] / "data" / "version_0_1"

AZURE = "https://one.services.ai.azure.com"


class Everywhere(Profiles):
    """A profile's name is its endpoint."""

    def get(self, name: str) -> Profile:
        return dataclasses.replace(profile_for(name), name=name)


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def client(tmp_path: Path, asked: list[str]) -> Iterator[Client]:
    """A client on a store of version 0.1; every host paints what it is asked for."""

    def paint(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        prompt = json.loads(request.content)["prompt"]
        body = image_body(drawn(prompt), usage_of(SIDE, SIDE))
        return httpx.Response(200, stream=httpx.ByteStream(body))

    folder = shutil.copytree(WRITTEN, tmp_path / "data")
    transport = Transport(httpx.MockTransport(paint))
    client = Client(folder, Everywhere(folder, {}), transport=transport)
    yield client
    client.close(grace=1)


def buy(client: Client, endpoint: str) -> bool:
    """Whether the image came from the store."""
    return image(client.submit(generate("a fox"), endpoint).result(10)).from_store


def test_what_a_gateway_painted_is_never_served_for_another_host(
    client: Client, asked: list[str]
) -> None:
    assert not buy(client, "https://gateway.example.com/mai")
    assert not buy(client, AZURE)
    assert not buy(client, "https://two.services.ai.azure.com")
    assert len(asked) == 3
    assert buy(client, AZURE)
    assert buy(client, "https://gateway.example.com/mai")
    assert len(asked) == 3


def test_the_hosts_of_one_azure_resource_are_one(client: Client) -> None:
    assert not buy(client, AZURE)
    assert buy(client, "https://one.cognitiveservices.azure.com")


def test_an_image_of_version_0_1_serves_every_profile_of_its_service(
    client: Client, asked: list[str]
) -> None:
    """It doesn't say where it was made."""
    expected = json.loads((WRITTEN / "expected.json").read_bytes())
    fields = next(
        one["fields"]
        for one in expected["requests"]
        if one["picture"] and (one["service"], one["kind"]) == ("foundry", "generate")
    )
    request = Generate(**fields)
    for endpoint in (AZURE, "https://gateway.example.com"):
        assert image(client.submit(request, endpoint).result(10)).from_store
    assert asked == []
