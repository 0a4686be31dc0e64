"""A damaged quota file stops no call: it is put aside and begun anew, also in the middle of use."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from mai_image.mai.rate_limit import Deployment, Pacing, RateLimiter, Timings

FAST = Deployment("fast", 6000.0)
PAGE = 4096


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment may be called again at once."""
    monkeypatch.setattr(Pacing, "timings", Timings(0.0, 0.0, 0.0, 0.0, backoff=0.05))


Spoil = Callable[[bytes], bytes]

SPOILT: dict[str, Spoil] = {
    "noise": lambda page: random.Random(7).randbytes(len(page)),
    "zeros": lambda page: bytes(len(page)),
    "ones": lambda page: b"\xff" * len(page),
    "half": lambda page: page[: len(page) // 2] + b"\xa5" * (len(page) - len(page) // 2),
    "swapped": lambda page: page[len(page) // 2 :] + page[: len(page) // 2],
}


def fill(path: Path) -> RateLimiter:
    """A limiter in the middle of its use, with some pages of deployments behind it."""
    limiter = RateLimiter(path)

    async def use() -> None:
        for number in range(40):
            await limiter.acquire([Deployment(f"deployment {number}".ljust(300, "x"), 6000.0)])
        await limiter.acquire([FAST])

    asyncio.run(use())
    settle(path)
    return limiter


def settle(path: Path) -> None:
    """Move everything from the log into the file, where a limiter that uses it sees a change."""
    file = sqlite3.connect(path)
    file.execute("INSERT INTO processes VALUES ('another', 0)")
    file.commit()
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()


def write_page(path: Path, number: int, spoil: Spoil) -> None:
    with path.open("r+b") as file:
        file.seek(number * PAGE)
        page = file.read(PAGE)
        file.seek(number * PAGE)
        file.write(spoil(page))


def slot(limiter: RateLimiter) -> Deployment:
    return asyncio.run(asyncio.wait_for(limiter.acquire([FAST]), 20))


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("when", ["in the middle", "at the start"])
def test_whichever_page_is_damaged_a_slot_is_given(tmp_path: Path, how: str, when: str) -> None:
    whole = tmp_path / "whole" / "quota.sqlite"
    fill(whole)
    pages = whole.stat().st_size // PAGE
    assert pages >= 8
    for number in range(pages):
        path = tmp_path / str(number) / "quota.sqlite"
        path.parent.mkdir()
        shutil.copy(whole, path)
        limiter = RateLimiter(path)
        if when == "in the middle":
            assert slot(limiter) == FAST
            settle(path)
        write_page(path, number, SPOILT[how])
        assert slot(limiter) == FAST
        assert slot(RateLimiter(path)) == FAST


@pytest.mark.parametrize("offset", range(100))
def test_no_byte_of_the_header_stops_a_call(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "quota.sqlite"
    asyncio.run(RateLimiter(path).acquire([FAST]))
    settle(path)
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)
    assert slot(RateLimiter(path)) == FAST


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE tickets",
        "DROP TABLE deployments",
        "UPDATE deployments SET pacing = '[1]'",
        "UPDATE deployments SET pacing = x'80ff'",
        'UPDATE deployments SET pacing = \'{"updated_at": "soon"}\'',
        "UPDATE deployments SET pacing = '{\"sent\": [null]}'",
        "UPDATE deployments SET pacing = '{\"not_before\": NaN}'",
        "UPDATE deployments SET pacing = '{\"not_before\": Infinity}'",
        "UPDATE deployments SET pacing = '{\"limit\": -3}'",
        "INSERT INTO tickets VALUES (0, 1, 'another', 'no list')",
        "INSERT INTO tickets VALUES (0, 1, 'another', '[]')",
        "INSERT INTO tickets VALUES (0, 1, 'another', x'ff')",
    ],
)
def test_contents_that_cannot_be_stop_no_call(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "quota.sqlite"
    limiter = RateLimiter(path)
    asyncio.run(limiter.acquire([FAST]))
    with sqlite3.connect(path) as file:
        file.execute("INSERT INTO processes SELECT 'another', alive_at FROM processes")
        file.execute(statement)
    file.close()
    assert slot(limiter) == FAST
    assert slot(RateLimiter(path)) == FAST


def test_calls_that_wait_keep_their_order_over_a_damage(tmp_path: Path) -> None:
    path = tmp_path / "quota.sqlite"
    limiter, held = RateLimiter(path), Deployment("held", 600.0)
    order: list[int] = []

    async def wait(number: int) -> None:
        await limiter.acquire([held])
        order.append(number)

    async def body() -> None:
        await limiter.acquire([held])
        limiter.cool_down(held, 1.0)
        waiting = [asyncio.create_task(wait(number)) for number in range(5)]
        await asyncio.sleep(0.3)
        settle(path)
        for page in range(path.stat().st_size // PAGE):
            write_page(path, page, SPOILT["noise"])
        await asyncio.wait_for(asyncio.gather(*waiting), 20)

    asyncio.run(body())
    assert order == list(range(5))
    assert path.with_name("quota.sqlite.damaged").exists()


def test_of_two_processes_that_find_the_damage_only_one_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "quota.sqlite"
    one, other = fill(path), RateLimiter(path)
    assert slot(other) == FAST
    settle(path)
    for page in range(path.stat().st_size // PAGE):
        write_page(path, page, SPOILT["noise"])
    assert slot(one) == FAST
    one.cool_down(FAST, 0.5)
    assert slot(other) == FAST
    with sqlite3.connect(path) as file:
        (pacing,) = file.execute("SELECT pacing FROM deployments").fetchone()
    file.close()
    assert '"refused_at": -Infinity' not in pacing, "the refusal that one wrote was put aside"
