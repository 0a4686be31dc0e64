"""A route that changes something: a call that was perhaps billed is settled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from mai_image.mai.client import Client
from mai_image.mai.ledger import NewCall, Outcome
from mai_image.mai.types import Budget
from mai_image.page import routes
from mai_image.page.access import ServerOptions

HOST = "127.0.0.1:8188"
OWN = {"Host": HOST, "Origin": f"http://{HOST}", "Content-Type": "application/json"}


@pytest.fixture
def call(client: Client) -> int:
    """The number of a call that was perhaps billed."""
    row = client.ledger.open(
        NewCall("7" * 64, "work", "foundry", "MAI-Image-2.6", "generate", 0.04), Budget()
    )
    client.ledger.mark_sent(row, "deployment")
    client.ledger.close(row, Outcome.PERHAPS_BILLED)
    return client.ledger.doubtful()[0].row


def send(
    client: Client,
    body: object,
    headers: Mapping[str, str] = OWN,
    listen: str = "127.0.0.1",
    method: str = "POST",
) -> tuple[int, dict[str, object]]:
    """Ask for a settlement: the status, and the answer's JSON."""

    async def ask() -> tuple[int, dict[str, object]]:
        table = web.RouteTableDef()
        routes.register(table, lambda: client, ServerOptions(listen))
        app = web.Application()
        app.add_routes(table)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with (
            TestClient(TestServer(app)) as browser,
            browser.request(method, "/mai-image/settle", data=data, headers=headers) as answer,
        ):
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else {}

    return asyncio.run(ask())


def counted(client: Client) -> tuple[float, int]:
    return client.ledger.spend().total.usd, len(client.ledger.doubtful())


@pytest.mark.parametrize(("verdict", "usd"), [("billed", 0.04), ("free", 0.0)])
def test_the_own_page_settles_a_call(verdict: str, usd: float, client: Client, call: int) -> None:
    assert send(client, {"call": call, "verdict": verdict}) == (200, {"call": call, "usd": usd})
    assert counted(client) == (usd, 0)


def test_a_call_is_settled_once(client: Client, call: int) -> None:
    assert send(client, {"call": call, "verdict": "free"})[0] == 200
    status, answer = send(client, {"call": call, "verdict": "billed"})
    assert status == 400
    assert "perhaps billed" in str(answer["error"])
    assert counted(client) == (0.0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": ""},
        {"Origin": None},
        {"Referer": "https://evil.example/"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Host": "evil.example:8188", "Origin": "http://evil.example:8188"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "text/plain; application/json"},
        {"X-Forwarded-For": "203.0.113.9"},
    ],
)
def test_a_page_of_another_site_settles_nothing(
    changes: dict[str, str | None], client: Client, call: int
) -> None:
    headers = {name: value for name, value in {**OWN, **changes}.items() if value is not None}
    status, answer = send(client, {"call": call, "verdict": "free"}, headers)
    assert status == 403
    assert str(answer["error"]).endswith(".")
    assert counted(client) == (0.04, 1)


def test_who_may_not_see_the_calls_settles_none(client: Client, call: int) -> None:
    assert send(client, {"call": call, "verdict": "free"}, listen="0.0.0.0")[0] == 403
    assert counted(client) == (0.04, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"call": 1}',
        b'{"call": 1, "verdict": "billed", "profile": "work"}',
        b'{"call": "1", "verdict": "billed"}',
        b'{"call": true, "verdict": "billed"}',
        b'{"call": 1.0, "verdict": "billed"}',
        b'{"call": -1, "verdict": "billed"}',
        b'{"call": 99999999999999999999, "verdict": "billed"}',
        b'{"call": 1, "verdict": "refunded"}',
        b'{"call": 1, "verdict": ["free"]}',
        b'{"call": 424242, "verdict": "free"}',
        b" " * 500 + b'{"call": 1, "verdict": "free"}',
    ],
)
def test_anything_but_a_settlement_changes_nothing(body: bytes, client: Client, call: int) -> None:
    status, answer = send(client, body)
    assert status == 400
    assert str(answer["error"]).endswith(".")
    assert counted(client) == (0.04, 1)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_no_other_method_settles(method: str, client: Client, call: int) -> None:
    assert send(client, {"call": call, "verdict": "free"}, method=method)[0] == 405
    assert counted(client) == (0.04, 1)
