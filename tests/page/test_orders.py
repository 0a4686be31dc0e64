"""What was ordered, as the sidebar lists it, and the request that gives it up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import Future

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from mai_image.mai.client import Client
from mai_image.mai.errors import BlockedError
from mai_image.mai.in_flight import Siblings
from mai_image.mai.types import Generate, Result
from mai_image.page import routes
from mai_image.page.access import ServerOptions
from page_helpers import Ask

HOST = "127.0.0.1:8188"
OWN = {"Host": HOST, "Origin": f"http://{HOST}", "Content-Type": "application/json"}


@pytest.fixture
def futures(client: Client) -> list[Future[Result]]:
    """Those of three images that a run ordered."""
    requests = {
        f"{i:064x}": Generate("MAI-Image-2.6", "a secret prompt", 1024, 1024, i) for i in range(3)
    }
    futures: list[Future[Result]] = []
    for image in client.orders.add("run-1", "7", "work", requests):
        futures.append(Future())
        client.orders.follow(image, futures[-1], Siblings())
    return futures


def send(
    client: Client, body: object, headers: Mapping[str, str] = OWN, listen: str = "127.0.0.1"
) -> tuple[int, dict[str, object]]:
    """Give up an order: the status, and the answer's JSON."""

    async def ask() -> tuple[int, dict[str, object]]:
        table = web.RouteTableDef()
        routes.register(table, lambda: client, ServerOptions(listen))
        app = web.Application()
        app.add_routes(table)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with (
            TestClient(TestServer(app)) as browser,
            browser.post("/mai-image/forget", data=data, headers=headers) as answer,
        ):
            return answer.status, await answer.json()

    return asyncio.run(ask())


def test_a_run_is_listed_with_what_became_of_its_images(
    ask: Ask, futures: list[Future[Result]]
) -> None:
    futures[0].set_result(Result(b"", "image/png", 1, 1, "MAI-Image-2.6"))
    futures[1].set_exception(BlockedError("The content filter blocked it.", "Change the prompt."))
    answer = ask("status")
    (run,) = answer.json["orders"]  # type: ignore[misc]
    assert (run["run"], run["models"], run["earlier"]) == ("run-1", ["MAI-Image-2.6"], False)
    assert (run["landed"], run["under_way"], run["failed"], run["left"]) == (1, 1, 1, 0)
    assert run["reasons"] == [
        {"text": "The content filter blocked it. Change the prompt.", "count": 1}
    ]
    assert b"secret prompt" not in answer.body


def test_a_run_is_given_up_once(client: Client, futures: list[Future[Result]]) -> None:
    assert send(client, {"run": "run-1"}) == (200, {"run": "run-1", "images": 3})
    assert all(future.cancelled() for future in futures)
    assert client.orders.runs() == []
    status, answer = send(client, {"run": "run-1"})
    assert (status, answer["error"]) == (400, "This order is no longer there.")


@pytest.mark.parametrize(
    "changes",
    [
        {"Origin": "https://evil.example"},
        {"Origin": None},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example:8188", "Origin": "http://evil.example:8188"},
        {"Content-Type": "text/plain"},
        {"X-Forwarded-For": "203.0.113.9"},
    ],
)
def test_a_page_of_another_site_gives_up_nothing(
    changes: dict[str, str | None], client: Client, futures: list[Future[Result]]
) -> None:
    headers = {name: value for name, value in {**OWN, **changes}.items() if value is not None}
    assert send(client, {"run": "run-1"}, headers)[0] == 403
    assert send(client, {"run": "run-1"}, listen="0.0.0.0")[0] == 403
    assert not any(future.cancelled() for future in futures)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"run": 1}', b'{"run": ["run-1"]}', b'{"run": "run-2"}',
     b'{"run": "run-1", "more": 1}', b'{"run": "' + b"x" * 101 + b'"}',
     b" " * 500 + b'{"run": "run-1"}'],
)  # fmt: skip
def test_anything_but_a_run_that_is_listed_changes_nothing(
    body: bytes, client: Client, futures: list[Future[Result]]
) -> None:
    status, answer = send(client, body)
    assert status == 400
    assert str(answer["error"]).endswith(".")
    assert len(client.orders.runs()) == 1
