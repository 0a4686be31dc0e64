"""The route `list`: what the rows of a list cost, and how many are in the store."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from mai_image.mai.bulk import Selection, Settings, select_rows
from mai_image.mai.client import Client
from mai_image.mai.store import Order
from mai_image.mai.types import Generate, request_key
from mai_image.page import routes
from mai_image.page.access import ServerOptions
from mai_image.page.lists import ListSettings
from mai_image.page.prices import quote
from page_helpers import result
from scripted_server import png

OWN = {"Host": "127.0.0.1:8188", "Origin": "http://127.0.0.1:8188",
       "Content-Type": "application/json"}  # fmt: skip

LIST = {"file": "", "text": "a fox\na hare\na lynx\n", "template": "", "start": 1, "rows": 64}

BUYER = {
    "kind": "generate",
    "model": "MAI-Image-2.6",
    "width": 1024,
    "height": 1024,
    "seed": 0,
    "batch_size": 1,
    "profile": "work",
    "taken": ["prompt"],
}


def read_list(settings: ListSettings) -> Selection:
    stream = io.BytesIO(settings.text.encode())
    kind = "csv" if "," in settings.text else "txt"
    return select_rows(stream, kind, Settings(out="{id}.png"), settings.start, settings.rows)


def send(
    client: Client,
    body: object,
    headers: Mapping[str, str] = OWN,
    listen: str = "127.0.0.1",
) -> tuple[int, dict[str, Any]]:
    """Ask the route: the status, and the answer's JSON."""

    async def ask() -> tuple[int, dict[str, Any]]:
        table = web.RouteTableDef()
        routes.register(table, lambda: client, ServerOptions(listen), read_list)
        app = web.Application(client_max_size=10**8)
        app.add_routes(table)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with (
            TestClient(TestServer(app)) as browser,
            browser.post("/mai-image/list", data=data, headers=headers) as answer,
        ):
            return answer.status, await answer.json()

    return asyncio.run(ask())


def facts(
    client: Client, listed: Mapping[str, object] | None = None, **buyer: object
) -> dict[str, Any]:
    status, said = send(client, {"list": {**LIST, **(listed or {})}, "buyer": {**BUYER, **buyer}})
    assert status == 200
    return said


def keep(client: Client, prompt: str, seed: int = 0) -> None:
    """Put an image into the store, as if it had been bought with the profile "work"."""
    request = Generate("MAI-Image-2.6", prompt, 1024, 1024, seed)
    identity = client.profiles.get("work").store_identity
    key = request_key(request, identity)
    client.store.put(key, result(png()), Order(prompt, "foundry", "work"))


ONE = round(float(str(quote("generate", "MAI-Image-2.6", 1024, 1024)["usd"])), 3)


def test_the_sum_is_the_price_of_a_row_times_the_rows(client: Client) -> None:
    said = facts(client)
    assert (said["rows"], said["total"], said["left"]) == (3, 3, 0)
    assert (said["to_buy"], said["free"]) == (3, 0)
    assert said["sum"] == said["full"] == pytest.approx(3 * ONE)
    assert facts(client, batch_size=4)["sum"] == pytest.approx(12 * ONE)
    assert facts(client, {"start": 2, "rows": 1})["sum"] == pytest.approx(ONE)


def test_what_is_in_the_store_costs_nothing(client: Client) -> None:
    keep(client, "a hare")
    said = facts(client)
    assert (said["to_buy"], said["free"]) == (2, 1)
    assert said["sum"] == pytest.approx(2 * ONE)
    assert said["full"] == pytest.approx(3 * ONE)


@pytest.mark.parametrize(
    "unknown", [{"seed": None}, {"prompt": None, "taken": []}, {"kind": "edit"}]
)
def test_nothing_is_said_of_the_store_where_the_request_is_not_known(
    client: Client, unknown: dict[str, object]
) -> None:
    keep(client, "a hare")
    assert facts(client, **unknown)["free"] is None


def test_who_may_not_see_the_store_gets_prices_alone(client: Client) -> None:
    keep(client, "a hare")
    question = {"list": LIST, "buyer": BUYER}
    for headers, listen in (
        ({**OWN, "Origin": "http://elsewhere.example"}, "127.0.0.1"),
        ({"Content-Type": "application/json"}, "127.0.0.1"),
        (OWN, "0.0.0.0"),
    ):
        status, said = send(client, question, headers, listen)
        assert (status, said["free"], said["rows"]) == (200, None, 3)


def test_rows_of_their_own_sizes_have_their_own_prices(client: Client) -> None:
    text = "prompt,size\na fox,1024x1024\na hare,1536x1536\n"
    said = facts(client, {"text": text}, taken=["prompt", "width", "height"])
    larger = round(float(str(quote("generate", "MAI-Image-2.6", 1536, 1536)["usd"])), 3)
    assert said["usd"] is None
    assert said["sum"] == pytest.approx(ONE + larger)


def test_a_row_that_the_model_cannot_make_is_named_by_its_line(client: Client) -> None:
    text = "prompt,size\na fox,1024x1024\na hare,2048x2048\n"
    said = facts(client, {"text": text}, model="MAI-Image-2", taken=["prompt", "width", "height"])
    assert any(problem.startswith("line 3:") for problem in said["problems"])


def test_mistakes_are_said_with_their_lines(client: Client) -> None:
    said = facts(client, {"text": "prompt,widht\na fox,1\n"})
    assert said["mistake_count"] == 1
    assert said["mistakes"][0][0] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"list": 1}',
        json.dumps({"list": {**LIST, "start": 0}}).encode(),
        json.dumps({"list": {**LIST, "rows": 65}}).encode(),
        json.dumps({"list": {**LIST, "text": None}}).encode(),
        json.dumps({"list": LIST, "buyer": {**BUYER, "width": "1024"}}).encode(),
        json.dumps({"list": LIST, "buyer": {**BUYER, "batch_size": 1e9}}).encode(),
        b"[" * 100_000,
        b"x" * 4_000_001,
    ],
)
def test_any_other_question_is_refused(client: Client, body: bytes) -> None:
    status, said = send(client, body)
    assert (status, bool(said["error"])) == (400, True)
