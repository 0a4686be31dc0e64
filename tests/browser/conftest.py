"""A real ComfyUI whose page the tests drive; without one, or a browser, they are skipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import front_ends
import pytest
from mai_image import emulator
from mai_image.demo import browser
from mai_image.demo.find import ROOT, NotUsable, locate
from mai_image.demo.launch import ComfyUIServer
from mai_image.demo.service import environ_for

HERE = Path(__file__).resolve().parent

NO_ACCOUNT = {**environ_for(""), "AZURE_ENDPOINT": None, "AZURE_API_KEY": None}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(HERE)]
    reason = _why_not() if here else None
    for item in here:
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def _why_not() -> str | None:
    try:
        if locate() is None:
            return "no ComfyUI on this machine: set COMFYUI_PATH to its folder"
        browser.environ()
    except (NotUsable, browser.Missing) as error:
        return str(error)
    return None


@pytest.fixture(scope="session", params=front_ends.versions())
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ComfyUIServer]:
    """A running ComfyUI with nothing but this pack; its profile "default" is an emulator."""
    with emulated_on(request.param, tmp_path_factory) as with_page:
        yield with_page


@pytest.fixture(scope="session")
def with_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIServer]:
    """The same, with the first of the pages alone."""
    with emulated_on(front_ends.versions()[0], tmp_path_factory) as with_page:
        yield with_page


@contextmanager
def emulated_on(version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIServer]:
    """A ComfyUI with that page and an emulator; skips the test where the page can't be had."""
    comfyui = locate()
    assert comfyui is not None
    try:
        front_end = front_ends.folder_of(version, comfyui)
    except front_ends.NotHad as reason:
        pytest.skip(str(reason))
    with emulator.start() as service:
        environ = environ_for(service.url)
        with server_for(environ, tmp_path_factory, front_end) as with_page:
            yield with_page


@pytest.fixture(scope="session")
def without_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIServer]:
    """A running ComfyUI whose only profile is the built-in emulator."""
    with server_for(NO_ACCOUNT, tmp_path_factory) as running:
        yield running


@pytest.fixture
def of_a_new_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIServer]:
    """The same for one test alone, which may connect an account."""
    with server_for(NO_ACCOUNT, tmp_path_factory) as running:
        yield running


def server_for(
    environ: Mapping[str, str | None],
    tmp_path_factory: pytest.TempPathFactory,
    front_end: Path | None = None,
) -> ComfyUIServer:
    """A ComfyUI with nothing but this pack and a user folder of its own; to be started."""
    comfyui = locate()
    assert comfyui is not None
    return ComfyUIServer(
        comfyui,
        output=tmp_path_factory.mktemp("output"),
        packages=ROOT / ".venv" / "comfyui-packages",
        environ=environ,
        front_end=front_end,
    )
