"""The page's routes behind a real nginx: what it passes on decides, as docs/profiles.md says."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from mai_image.mai.client import Client
from mai_image.page import routes
from mai_image.page.access import ServerOptions

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="no nginx on this machine: it comes as the package nginx"
)

CONFIGURATION = """
daemon off;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{target}; {lines} }}
    }}
}}
"""

WEBSOCKETS = 'proxy_http_version 1.1; proxy_set_header Connection "upgrade";'
AS_USUAL = ("", "proxy_http_version 1.1;", WEBSOCKETS)
HOST = "proxy_set_header Host $http_host;"
ADDRESS = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


@contextlib.asynccontextmanager
async def proxied(client: Client, folder: Path, lines: str) -> AsyncIterator[str]:
    """ComfyUI's part on loopback, and the address of an nginx before it."""
    table, app = web.RouteTableDef(), web.Application()
    routes.register(table, lambda: client, ServerOptions("127.0.0.1"))
    app.add_routes(table)
    async with TestServer(app) as server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        text = CONFIGURATION.format(port=port, target=server.port, lines=lines)
        (folder / "nginx.conf").write_text(text, encoding="utf-8")
        command = ("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"))
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        try:
            await _until_it_listens(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            await process.wait()


async def _until_it_listens(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nginx does not listen")


def statuses(client: Client, folder: Path, lines: str, *asked: dict[str, str]) -> list[int]:
    """The status that each request's headers get of /mai-image/status through the proxy."""

    async def ask() -> list[int]:
        found = []
        async with proxied(client, folder, lines) as url, aiohttp.ClientSession() as session:
            for headers in asked:
                address = f"{url}/mai-image/status"
                async with session.get(address, headers={**BROWSER, **headers}) as answer:
                    found.append(answer.status)
        return found

    return asyncio.run(ask())


def allow(folder: Path, settings: str) -> None:
    with (folder / "profiles.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[page]\n{settings}\n")


FROM_A_PAGE = {"Host": "studio.lan", "Referer": "http://studio.lan/"}


@pytest.mark.parametrize("lines", AS_USUAL)
@pytest.mark.parametrize("settings", ["", "allow_remote = true", 'hosts = ["studio.lan"]'])
def test_a_proxy_that_passes_nothing_on_gets_nothing(
    lines: str, settings: str, client: Client, folder: Path, tmp_path: Path
) -> None:
    allow(folder, settings)
    asked = ({"Host": "studio.lan"}, FROM_A_PAGE, {"Host": "evil.example"})
    assert statuses(client, tmp_path, lines, *asked) == [403, 403, 403]


@pytest.mark.parametrize("lines", AS_USUAL)
@pytest.mark.parametrize("address", ["", ADDRESS])
def test_a_proxy_that_passes_on_the_host_gets_what_hosts_allows(
    lines: str, address: str, client: Client, folder: Path, tmp_path: Path
) -> None:
    allow(folder, 'hosts = ["studio.lan"]')
    asked = (
        {"Host": "studio.lan"},
        FROM_A_PAGE,
        {"Host": "studio.lan", "Origin": "http://studio.lan"},
        {"Host": "studio.lan", "Origin": "http://evil.example"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
    )
    found = statuses(client, tmp_path, lines + HOST + address, *asked)
    assert found == [200, 200, 200, 403, 403, 403]


def test_what_the_documentation_tells_a_proxy_to_pass_on_is_enough(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "profiles.md").read_text("utf-8")
    (block,) = re.findall(r"(?s)```nginx\nlocation / \{(.*?)\}\n```", document)
    lines = block.replace("proxy_pass http://127.0.0.1:8188;", "")
    assert lines != block
    allow(folder, 'hosts = ["studio.lan"]')
    asked = (FROM_A_PAGE, {"Host": "evil.example"}, {"Host": "127.0.0.1:8188"})
    assert statuses(client, tmp_path, lines, *asked) == [200, 403, 403]


def test_without_hosts_a_proxy_gets_nothing_whatever_it_passes_on(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    asked = ({"Host": "studio.lan"}, FROM_A_PAGE, {"Host": "127.0.0.1"})
    assert statuses(client, tmp_path, HOST + ADDRESS, *asked) == [403, 403, 403]
