"""SECURITY.md lists every route, environment variable and host that the shipped code knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web
from mai_image import emulator
from mai_image.mai.errors import ProfileError
from mai_image.mai.profiles import (
    SERVICES,
    Profiles,
    data_folder,
    emulator_directives,
    usual_folder,
)
from mai_image.page import routes
from mai_image.page.access import ServerOptions

ROOT = Path(__file__).resolve().parents[2]

TEXT = (ROOT / "SECURITY.md").read_text("utf-8")


def table(heading: str) -> set[str]:
    """All that stands in backticks in the first column of the tables below a heading."""
    section = re.split(r"(?m)^##+ ", TEXT.partition(f"### {heading}\n")[2])[0]
    cells = re.findall(r"(?m)^\| (`.*?) \|", section)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def paths(router: web.UrlDispatcher) -> set[str]:
    return {resource.canonical for resource in router.resources()}


def page_routes() -> set[str]:
    definitions, app = web.RouteTableDef(), web.Application()
    routes.register(definitions, lambda: pytest.fail("nobody asked"), ServerOptions("127.0.0.1"))
    app.add_routes(definitions)
    return paths(app.router)


def emulator_routes(**options: bool) -> set[str]:
    return paths(emulator.app(emulator.Options(**options)).router)  # type: ignore[arg-type]


def test_every_route_stands_in_the_table_and_nothing_else() -> None:
    assert table("Routes") == page_routes() | emulator_routes()


def test_the_built_in_emulator_has_the_routes_that_are_marked_so() -> None:
    marked = {
        re.findall(r"`([^`]+)`", line)[0]
        for line in TEXT.splitlines()
        if line.startswith("| `/") and "built in" in line
    }
    assert emulator_routes(built_in=True) == marked
    assert emulator_routes(built_in=True, directives=False) == marked - {"/emulator/images/{name}"}


class Watched(Mapping[str, str]):
    """An environment without any variable, which notes what is asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_every_variable_that_is_asked_for_stands_in_the_table(tmp_path: Path) -> None:
    watched = Watched()
    profiles = Profiles(tmp_path, watched)
    with pytest.raises(ProfileError):
        profiles.get("default")
    profiles.warnings()
    emulator_directives(watched)
    usual_folder([], watched)
    for platform in ("win32", "darwin", "linux"):
        data_folder(watched, platform)
    assert len(watched.asked) > 12
    assert watched.asked - table("Environment variables") == set()


NAME = re.compile(r"[A-Z]{2,}(?:_[A-Z0-9]+)+|SSLKEYLOGFILE|LOCALAPPDATA")


def test_every_variable_that_the_code_names_stands_in_the_table() -> None:
    """In the two rooms that read the environment: tests/test_structure.py keeps others from it."""
    named = {
        node.value
        for room in ("profiles", "auth")
        for path in (ROOT / "mai" / room).glob("*.py")
        if path.name != "__init__.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if NAME.fullmatch(node.value)
    }
    assert {"HTTPS_PROXY", "AZURE_API_KEY", "COMFYUI_PATH"} <= named
    assert named - table("Environment variables") == set()


def test_every_host_of_a_service_stands_in_the_table() -> None:
    hosts = {host for one in SERVICES.values() for host in (*one.hosts, *one.media_hosts)}
    assert hosts - table("Hosts") == set()


def test_a_variable_that_is_named_is_read_and_links_lead_somewhere() -> None:
    shipped = [
        path.read_text("utf-8")
        for room in ("cli", "emulator", "mai", "nodes", "page")
        for path in (ROOT / room).rglob("*.py")
    ]
    of_azure_identity = {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_CERTIFICATE_PATH"}
    names = {name for name in table("Environment variables") if NAME.fullmatch(name)}
    unread = {name for name in names if not any(name in text for text in shipped)}
    assert unread - of_azure_identity == set()
    for document in (ROOT / "SECURITY.md", ROOT / "docs" / "review.md"):
        for link in re.findall(r"\]\(([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / link).is_file(), link
