"""The page's routes on an aiohttp server of their own, without ComfyUI."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from mai_image.mai.client import Client
from mai_image.mai.profiles import Profiles
from mai_image.page import routes
from mai_image.page.access import ServerOptions
from page_helpers import Answer, Ask

PROFILES = """
[profiles.work]
endpoint = "https://secret-endpoint.services.ai.azure.com"
credential = { kind = "key", value = "canary-key-4f2b9c8d7e6a" }
budget = { day = 5, month = 50 }

[profiles.quiet]
endpoint = "https://secret-endpoint.services.ai.azure.com"
credential = { kind = "key", value = "canary-key-4f2b9c8d7e6a" }
keep_prompts = false
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "profiles.toml").write_text(PROFILES, encoding="utf-8")
    return tmp_path


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    made = Client(folder, Profiles(folder, {}))
    yield made
    made.close(grace=0)


@pytest.fixture
def ask(client: Client) -> Ask:
    """GET a path: ask("status", listen="0.0.0.0", headers={…})."""

    async def get(path: str, server: ServerOptions, headers: Mapping[str, str]) -> Answer:
        table = web.RouteTableDef()
        routes.register(table, lambda: client, server)
        app = web.Application()
        app.add_routes(table)
        async with (
            TestClient(TestServer(app)) as browser,
            browser.get(f"/mai-image/{path}", headers=headers) as answer,
        ):
            body = await answer.read()
            is_json = answer.content_type == "application/json"
            json = await answer.json() if is_json else {}
            return Answer(answer.status, answer.headers.copy(), body, json)

    def asked(
        path: str,
        listen: str = "127.0.0.1",
        multi_user: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return asyncio.run(get(path, ServerOptions(listen, multi_user), headers or {}))

    return asked
