"""A real ComfyUI, started once for all tests of this folder, and an emulator behind it.

Without a ComfyUI every test here is skipped with the reason. COMFYUI_PATH chooses another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mai_image import emulator
from mai_image.demo.find import ROOT, ComfyUI, NotUsable, locate
from mai_image.demo.launch import ComfyUIServer
from mai_image.demo.service import environ_for

HERE = Path(__file__).resolve().parent

LATENCY = 0.2
"""Seconds that the emulator takes for an image, unless a prompt asks for more."""

Node = dict[str, Any]

PROFILES = """
[profiles.work]
service = "foundry"
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000
{more}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(HERE)]
    reason = _why_not() if here else None
    for item in here:
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def _why_not() -> str | None:
    try:
        found = locate()
    except NotUsable as error:
        return str(error)
    return None if found else "no ComfyUI on this machine: set COMFYUI_PATH to its folder"


@pytest.fixture(scope="session")
def comfyui() -> ComfyUI:
    found = locate()
    assert found is not None
    return found


@pytest.fixture(scope="session")
def session_service() -> Iterator[emulator.Emulator]:
    with emulator.start(options=emulator.Options(latency=LATENCY)) as running:
        yield running


@pytest.fixture
def service(session_service: emulator.Emulator) -> emulator.Emulator:
    """The emulator that the server's profile "default" calls; its log starts empty."""
    session_service.log.clear()
    return session_service


@pytest.fixture(scope="session")
def server(
    comfyui: ComfyUI,
    session_service: emulator.Emulator,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ComfyUIServer]:
    """The running ComfyUI. Its store outlives a test: use the fixture `prompt` for fresh images."""
    with ComfyUIServer(
        comfyui,
        output=tmp_path_factory.mktemp("output"),
        packages=ROOT / ".venv" / "comfyui-packages",
        environ=environ_for(session_service.url),
        inputs=sorted((ROOT / "example_workflows" / "inputs").iterdir()),
    ) as running:
        yield running


@pytest.fixture
def slow() -> Iterator[emulator.Emulator]:
    """An emulator of its own, whose images take long enough to be interrupted."""
    with emulator.start(options=emulator.Options(latency=1.5)) as running:
        yield running


@pytest.fixture
def boot(
    comfyui: ComfyUI, slow: emulator.Emulator, tmp_path: Path
) -> Iterator[Callable[..., ComfyUIServer]]:
    """Starts a ComfyUI on the one user folder of the test; as often as it is called."""
    servers: list[ComfyUIServer] = []

    def start(more: str = "") -> ComfyUIServer:
        folder = tmp_path / "user" / "__mai"
        folder.mkdir(parents=True, exist_ok=True)
        text = PROFILES.format(url=slow.url, more=more)
        (folder / "profiles.toml").write_text(text, encoding="utf-8")
        server = ComfyUIServer(
            comfyui,
            output=tmp_path / "output",
            packages=ROOT / ".venv" / "comfyui-packages",
            environ={**environ_for(slow.url), "AZURE_ENDPOINT": None, "AZURE_API_KEY": None},
            user=tmp_path / "user",
        )
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def prompt(request: pytest.FixtureRequest) -> str:
    """A prompt that no other test has asked for, so that nothing comes from the store."""
    return f"a quiet harbour, for {request.node.name}"


@pytest.fixture(scope="session")
def generate() -> Callable[..., Node]:
    """Makes a MAI Generate node: generate(prompt, batch_size=2)."""

    def node(prompt: str, **inputs: Any) -> Node:
        defaults = {
            "model": "MAI-Image-2.6",
            "width": 768,
            "height": 768,
            "seed": 0,
            "batch_size": 1,
            "profile": "default",
            "auto_aspect_ratio": False,
            "web_grounding": False,
            "if_blocked": "stop",
        }
        return {"class_type": "MAIGenerate", "inputs": {"prompt": prompt, **defaults, **inputs}}

    return node


@pytest.fixture(scope="session")
def save() -> Callable[[str], Node]:
    """Makes a Save Image node for the first output of another node: save("1")."""

    def node(source: str) -> Node:
        inputs = {"images": [source, 0], "filename_prefix": "test"}
        return {"class_type": "SaveImage", "inputs": inputs}

    return node
