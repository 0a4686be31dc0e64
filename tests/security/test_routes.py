"""What the pack adds to ComfyUI's server: questions whose paths name nothing but images, and two
changes."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from canary import KEY, WAYS, shows
from client_harness import generate, outcome
from mai_image.mai.client import Client
from mai_image.page import routes
from mai_image.page.access import ServerOptions
from scripted_server import Scripted

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def application(tmp_path: Path, server: Scripted) -> web.Application:
    """A server with the pack's routes, and a service that has used a canary."""
    client = Client(tmp_path, WAYS[0].profiles(tmp_path, server.url))
    outcome(client.submit(generate(0)))
    table = web.RouteTableDef()
    routes.register(table, lambda: client, ServerOptions("127.0.0.1"))
    application = web.Application()
    application.add_routes(table)

    async def close(_: web.Application) -> None:
        client.close(grace=1)

    application.on_cleanup.append(close)
    return application


def test_every_route_below_the_packs_own_name_is_a_get_but_three(
    application: web.Application,
) -> None:
    found = {(route.method, route.resource.canonical) for route in application.router.routes()
             if route.resource is not None}  # fmt: skip
    assert len(found) >= 6
    changing = {(method, path) for method, path in found if method not in ("GET", "HEAD")}
    assert changing == {
        ("POST", "/mai-image/settle"),
        ("POST", "/mai-image/forget"),
        ("POST", "/mai-image/list"),
    }
    assert all(path.startswith("/mai-image/") for _, path in found)


def test_a_path_holds_nothing_but_an_images_key_or_a_modules_name(
    application: web.Application,
) -> None:
    allowed = {"key": "[0-9a-f]{64}", "name": r"[a-z]+\.(?:mjs|css)"}
    for resource in application.router.resources():
        pattern = resource.get_info().get("pattern")
        if pattern is None:
            continue
        assert pattern.groups == 1
        ((name, part),) = re.findall(
            r"\(\?P<(\w+)>(.*)\)", pattern.pattern.removesuffix("/thumbnail")
        )
        assert part == allowed[name]
        for odd in ("..", "../profiles.toml", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"):
            assert pattern.fullmatch(resource.canonical.replace(f"{{{name}}}", odd)) is None


def test_no_other_file_adds_a_route() -> None:
    adding = {"get", "post", "put", "delete", "patch", "view", "static", "route", "head",
              "add_get", "add_post", "add_route", "add_routes", "add_static"}  # fmt: skip
    for path in sorted([*(ROOT / "nodes").glob("*.py"), *(ROOT / "page").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of_routes = "route" in ast.unparse(node.func.value).lower()
                if of_routes and node.func.attr in adding:
                    assert path.name == "routes.py"
                    assert node.func.attr in ("get", "post")


QUESTIONS = (
    "status",
    "images",
    "images?count=99999999999999999999",
    "images?words=%00%25_%27%22&model=..%2f&since=0&until=9007199254740992&before=1",
    "images?before=99999999999999999999",
    f"images?words={KEY[:4]}",
    "checks",
    "settle",
    "forget",
    "images?profile=../../profiles.toml&key=x",
    "price?kind=generate&model=MAI-Image-2.6&width=1024&height=1024",
    "price?kind=generate&model=../profiles.toml",
    "price",
    "plan?model=MAI-Image-2.6&aspect_ratio=1:1&target_width=99&target_height=x",
    "plan",
    f"images/{'0' * 64}",
    f"images/{'0' * 64}/thumbnail",
    "images/..%2f..%2fprofiles.toml",
    "images/../profiles.toml",
    "profiles.toml",
    "..%2fprofiles.toml",
    f"status?key={KEY[:4]}",
)


def test_no_answer_of_any_route_holds_a_key_or_a_path(
    application: web.Application, tmp_path: Path
) -> None:
    async def ask() -> list[tuple[str, int, str]]:
        async with TestClient(TestServer(application)) as client:
            answers = []
            for question in QUESTIONS:
                answer = await client.get(f"/mai-image/{question}")
                answers.append((question, answer.status, await answer.text()))
            for method in ("POST", "PUT", "DELETE", "PATCH"):
                answer = await client.request(method, "/mai-image/status", json={"key": "x"})
                answers.append((method, answer.status, await answer.text()))
            return answers

    answers = asyncio.run(ask())
    assert [(question, status) for question, status, _ in answers if status >= 500] == []
    assert {status for question, status, _ in answers if question.isupper()} == {405}
    texts = "\n".join(text for _, _, text in answers)
    assert '"today"' in texts
    assert not shows(texts)
    assert str(tmp_path) not in texts
    assert "profiles.toml" not in texts.replace("../profiles.toml", "")
    assert "127.0.0.1:" not in texts
