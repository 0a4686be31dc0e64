"""Another process is stopped inside a transaction of the quota: never silent, never for ever."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mai_image.mai.errors import StoreError
from mai_image.mai.rate_limit import Deployment, RateLimiter

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGSTOP")

FAST = Deployment("fast", 6000.0)

HOLD = """
import os, signal, sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("BEGIN IMMEDIATE")
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
file.execute("COMMIT")
print("let go", flush=True)
"""


class StoppedProcess:
    """A process that holds the file, stopped until `go_on`."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", HOLD, str(path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"held\n"
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "quota.sqlite"
    asyncio.run(RateLimiter(path).acquire([FAST]))
    return path


@pytest.fixture
def stopped(path: Path) -> Iterator[StoppedProcess]:
    process = StoppedProcess(path)
    yield process
    process.end()


def limiter_for(path: Path, fail_after: float = 60.0) -> RateLimiter:
    return RateLimiter(path, tick=0.2, say_locked_after=0.3, fail_locked_after=fail_after)


def test_who_waits_hears_who_holds_the_file_and_gets_its_slot_when_it_goes_on(
    path: Path, stopped: StoppedProcess
) -> None:
    heard: list[str] = []

    async def body() -> Deployment:
        limiter = limiter_for(path)
        asked = asyncio.create_task(limiter.acquire([FAST], on_locked=heard.append))
        while len(heard) < 3:
            await asyncio.sleep(0.05)
        assert not asked.done()
        stopped.go_on()
        return await asyncio.wait_for(asked, 10)

    assert asyncio.run(asyncio.wait_for(body(), 30)) == FAST
    assert all("process" in holder for holder in heard)


def test_a_short_lock_is_not_worth_a_word(path: Path, stopped: StoppedProcess) -> None:
    heard: list[str] = []

    async def body() -> None:
        limiter = RateLimiter(path, say_locked_after=30.0)
        asked = asyncio.create_task(limiter.acquire([FAST], on_locked=heard.append))
        await asyncio.sleep(0.5)
        stopped.go_on()
        await asyncio.wait_for(asked, 20)

    asyncio.run(body())
    assert heard == []


def test_after_the_limit_everyone_fails_with_the_file_the_holder_and_what_to_do(
    path: Path, stopped: StoppedProcess
) -> None:
    async def body() -> list[object]:
        limiter = limiter_for(path, fail_after=0.8)
        asked = [limiter.acquire([FAST]) for _ in range(3)]
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30)

    started = time.monotonic()
    errors = asyncio.run(body())
    assert time.monotonic() - started >= 0.75
    for error in errors:
        assert isinstance(error, StoreError)
        text = str(error)
        assert str(path) in text
        assert "process" in text
        assert "End or continue that process, then queue again" in text
        assert "Nothing was sent" in text
        assert "rights" not in text


def test_a_call_that_failed_leaves_no_ticket_and_the_next_one_is_served(
    path: Path, stopped: StoppedProcess
) -> None:
    held = Deployment("held", 6000.0)

    async def body() -> None:
        limiter = limiter_for(path, fail_after=0.5)
        with pytest.raises(StoreError):
            await limiter.acquire([held])
        with pytest.raises(StoreError):
            await limiter.acquire([held])
        stopped.go_on()
        assert await asyncio.wait_for(limiter.acquire([held]), 20) == held

    asyncio.run(body())
    assert rows(path, "SELECT count(*) FROM tickets") == [(0,)]


def test_a_call_that_waited_before_the_lock_takes_its_ticket_back_after_it(path: Path) -> None:
    async def body() -> None:
        limiter = limiter_for(path, fail_after=0.5)
        limiter.cool_down(FAST, 30.0)
        asked = asyncio.create_task(limiter.acquire([FAST]))
        await asyncio.sleep(0.3)
        assert rows(path, "SELECT count(*) FROM tickets") == [(1,)]
        stopped = StoppedProcess(path)
        try:
            with pytest.raises(StoreError):
                await asyncio.wait_for(asked, 20)
            stopped.go_on()
            await until_rows(path, "SELECT count(*) FROM tickets", [(0,)])
        finally:
            stopped.end()

    asyncio.run(body())


def test_what_is_reported_meanwhile_reaches_the_others_though_nobody_here_waits(
    path: Path, stopped: StoppedProcess
) -> None:
    unknown, refused = Deployment("unknown"), Deployment("refused", 60.0)

    async def body() -> None:
        limiter = limiter_for(path)
        limiter.learn(unknown, 7.0)
        limiter.cool_down(refused, 1000.0)
        await asyncio.sleep(0.3)
        stopped.go_on()
        await until_rows(path, "SELECT count(*) FROM deployments", [(3,)])

    asyncio.run(body())
    stored = dict(rows(path, "SELECT name, pacing FROM deployments"))
    assert json.loads(stored["unknown"])["server_limit"] == 7.0
    assert json.loads(stored["refused"])["cooldown_until"] > 0


def test_a_withdrawal_meanwhile_is_not_lost_and_does_not_keep_the_event_loop(path: Path) -> None:
    async def body() -> float:
        limiter = limiter_for(path)
        limiter.cool_down(FAST, 30.0)
        asked = [asyncio.create_task(limiter.acquire([FAST])) for _ in range(60)]
        await asyncio.sleep(0.3)
        stopped = StoppedProcess(path)
        try:
            await asyncio.sleep(0.5)
            for task in asked:
                task.cancel()
            started = time.perf_counter()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            kept = time.perf_counter() - started
            await asyncio.gather(*asked, return_exceptions=True)
            stopped.go_on()
            await until_rows(path, "SELECT count(*) FROM tickets", [(0,)])
        finally:
            stopped.end()
        return kept

    assert asyncio.run(body()) < 0.6, "each withdrawal tried the file"


def test_a_process_that_was_stopped_itself_does_not_take_that_for_a_lock(path: Path) -> None:
    """A suspended laptop: the clock has gone on for an hour when the next try is made."""
    ahead = 0.0

    async def body() -> None:
        nonlocal ahead
        limiter = RateLimiter(path, clock=lambda: time.perf_counter() + ahead)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        asked = asyncio.create_task(limiter.acquire([FAST]))
        await asyncio.sleep(0.2)
        ahead = 3600.0
        await asyncio.sleep(0.2)
        assert not asked.done()
        holder.execute("COMMIT")
        holder.close()
        assert await asyncio.wait_for(asked, 20) == FAST

    asyncio.run(body())


def rows(path: Path, query: str) -> list[Any]:
    file = sqlite3.connect(path)
    try:
        return file.execute(query).fetchall()
    finally:
        file.close()


async def until_rows(path: Path, query: str, wanted: list[object]) -> None:
    end = time.monotonic() + 20
    while rows(path, query) != wanted:
        assert time.monotonic() < end, rows(path, query)
        await asyncio.sleep(0.05)
