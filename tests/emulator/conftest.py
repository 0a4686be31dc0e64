"""A running emulator and a small client of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from mai_image import emulator
from mai_image.emulator import Emulator
from PIL import Image

GENERATIONS = "/mai/v1/images/generations"
EDITS = "/mai/v1/images/edits"


class Client:
    """Requests to one emulator, with its key unless other headers are given."""

    def __init__(self, service: Emulator) -> None:
        self.service = service
        self.http = httpx.Client(
            base_url=service.url,
            headers={"api-key": "emulator"},
            timeout=20,
            trust_env=False,
            verify=False,  # loading the certificates takes longer than most of these tests
        )

    def generate(self, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = {"model": "MAI-Image-2.6", "prompt": "a red fox", **fields}
        wanted = {name: value for name, value in body.items() if value is not None}
        return self.http.post(GENERATIONS, json=wanted, headers=headers)

    def edit(
        self, *files: bytes, headers: dict[str, str] | None = None, **fields: str
    ) -> httpx.Response:
        parts = [("image", (f"{i}.png", data, "image/png")) for i, data in enumerate(files)]
        return self.edit_parts(parts, headers, **fields)

    def edit_parts(
        self,
        parts: list[tuple[str, tuple[str, bytes, str]]],
        headers: dict[str, str] | None = None,
        **fields: str,
    ) -> httpx.Response:
        data = {"model": "MAI-Image-2.6", "prompt": "make it night", **fields}
        sent = [(name, (None, value)) for name, value in data.items()]
        return self.http.post(EDITS, files=[*sent, *parts], headers=headers)


def image_bytes(answer: httpx.Response) -> bytes:
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["data"][0]["b64_json"], validate=True)


@pytest.fixture(scope="session")
def decode() -> Callable[[httpx.Response], Image.Image]:
    """The image of a good answer."""

    def of(answer: httpx.Response) -> Image.Image:
        image = Image.open(io.BytesIO(image_bytes(answer)))
        image.load()
        return image

    return of


@pytest.fixture(scope="session")
def file() -> Callable[..., bytes]:
    """An image file of a size: a gradient with a white square left of the middle."""

    def of(width: int, height: int, form: str = "PNG", mode: str = "RGB") -> bytes:
        image = Image.linear_gradient("L").resize((width, height)).convert(mode)
        image.paste(
            {"P": 0, "L": 255}.get(mode, "white"),
            (width // 8, height // 8, width // 4, height // 4),
        )
        buffer = io.BytesIO()
        image.save(buffer, form)
        return buffer.getvalue()

    return of


@pytest.fixture(scope="session")
def shared() -> Iterator[Emulator]:
    with emulator.start() as service:
        yield service


@pytest.fixture
def client(shared: Emulator) -> Iterator[Client]:
    """A client of an emulator with no options, whose log is empty."""
    shared.log.clear()
    client = Client(shared)
    yield client
    client.http.close()


@pytest.fixture
def started() -> Iterator[Callable[..., Client]]:
    """Starts further emulators: started(clock=None, **options)."""
    clients: list[Client] = []

    def start(clock: Callable[[], float] | None = None, **options: Any) -> Client:
        wanted = emulator.Options(**options)
        service = emulator.start(options=wanted, **({"clock": clock} if clock else {}))
        clients.append(Client(service))
        return clients[-1]

    yield start
    for client in clients:
        client.http.close()
        client.service.stop()
