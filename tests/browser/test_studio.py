"""The sidebar tab on a machine of a studio: both sums, and a database that is gone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from mai_image import emulator
from mai_image.demo import browser
from mai_image.demo.find import ROOT, locate
from mai_image.demo.launch import ComfyUIServer
from mai_image.demo.service import environ_for
from mai_image.mai.client import Client
from mai_image.mai.profiles import Profiles
from mai_image.mai.types import Generate
from postgres_engine import PostgresEngine

MACHINE = """
[profiles.work]
service = "foundry"
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000
budget = {{ day = 1.0 }}

[shared]
database = "{database}"
images = "{images}"
machine = "{name}"
"""

PACKAGES = ("psycopg", "psycopg-binary", "obstore", "typing_extensions")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with what [shared] needs, for a ComfyUI of the same Python that lacks it."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in PACKAGES:
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            pytest.skip(f"no {name}: pip install 'mai-image[studio]'")
        for part in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            (folder / part).symlink_to(Path(str(found.locate_file(part))))
    comfyui = locate()
    assert comfyui is not None
    look = f"import sys; sys.path.append({str(folder)!r}); import psycopg, obstore"
    done = subprocess.run([str(comfyui.python), "-c", look], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("ComfyUI's Python has neither psycopg nor obstore, and can't use those here")
    return folder


@pytest.fixture
def studio(own_postgres: PostgresEngine, packages: Path, tmp_path: Path) -> Iterator[ComfyUIServer]:
    """A ComfyUI as one machine; another one has bought two images, and it one."""
    with emulator.start() as service:

        def write(folder: Path, name: str) -> None:
            folder.mkdir(parents=True)
            text = MACHINE.format(
                url=service.url, database=own_postgres.url(), images=tmp_path / "images", name=name
            )
            (folder / "profiles.toml").write_text(text, encoding="utf-8")

        write(tmp_path / "render-2", "render-2")
        buy(tmp_path / "render-2", "a fox", "a cat")
        user = tmp_path / "user"
        write(user / "__mai", "render-1")
        buy(user / "__mai", "a harbour", "a fox")
        comfyui = locate()
        assert comfyui is not None
        of_profile = {"AZURE_ENDPOINT": None, "AZURE_API_KEY": None, "PYTHONPATH": str(packages)}
        with ComfyUIServer(
            comfyui,
            output=tmp_path / "output",
            packages=ROOT / ".venv" / "comfyui-packages",
            environ={**environ_for(""), **of_profile},
            user=user,
        ) as running:
            yield running


def buy(folder: Path, *prompts: str) -> None:
    client = Client(folder, Profiles(folder))
    for prompt in prompts:
        client.submit(Generate("MAI-Image-2.6", prompt, 768, 768), "work").result(60)
    client.close()


def test_the_tab_shows_the_sums_of_the_studio_and_of_this_machine(
    studio: ComfyUIServer, own_postgres: PostgresEngine, tmp_path: Path
) -> None:
    seen = look(studio, "there", tmp_path)
    assert "Today, the studio $0.07 · calls: 3" in seen["sums"]
    assert "Today, this machine $0.02 · calls: 1" in seen["sums"]
    assert "This month, the studio $0.07 · calls: 3" in seen["sums"]
    assert (seen["images"], seen["alert"], seen["problems"]) == (2, "", [])
    own_postgres.kill()
    gone = look(studio, "gone", tmp_path)
    assert "studio's database" in gone["alert"]
    assert gone["images"] == 2


def look(server: ComfyUIServer, database: str, folder: Path) -> dict[str, Any]:
    """What studio.mjs saw."""
    seen: dict[str, Any] = json.loads(
        browser.run_script("studio.mjs", server.url, database, str(folder))
    )
    return seen
