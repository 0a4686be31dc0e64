"""A process that was stopped beyond its timeout (SIGSTOP, a suspended laptop) still reads an answer
that came meanwhile; a server that only drips gains no time by that."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_server import Behaviour, Connection, ReceivedRequest, Scripted, response

SCRIPT = Path(__file__).parents[1] / "support" / "caller.py"
TIMEOUT = 1.5

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")


@pytest.fixture
def server() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.close()


def stopped(server: Scripted, behave: Behaviour, times: int = 1) -> str:
    """What a process prints that was stopped beyond its timeout while `behave` answered it."""
    stop, go = threading.Event(), threading.Event()

    def answer(connection: Connection, request: ReceivedRequest) -> None:
        stop.set()
        assert go.wait(10)
        behave(connection, request)

    server.default = answer
    command = [sys.executable, str(SCRIPT), server.url, str(TIMEOUT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert stop.wait(20)
            for _ in range(times):
                os.kill(process.pid, signal.SIGSTOP)
                go.set()
                time.sleep(TIMEOUT + 0.5)
                os.kill(process.pid, signal.SIGCONT)
                time.sleep(0.01)
            printed, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    return printed.strip()


def whole(size: int) -> tuple[Behaviour, str]:
    """An answer of so many bytes, and what the process prints for it."""
    body = random.Random(size).randbytes(size)

    def behave(connection: Connection, request: ReceivedRequest) -> None:
        connection.answer(200, body)

    return behave, f"200 {hashlib.sha256(body).hexdigest()}"


@pytest.mark.parametrize("size", [10, 200_000, 2_000_000, 12_000_000])
def test_an_answer_that_came_while_the_process_was_stopped_is_read(
    server: Scripted, size: int
) -> None:
    behave, expected = whole(size)
    assert stopped(server, behave) == expected


def test_an_answer_is_read_by_a_process_that_is_stopped_again(server: Scripted) -> None:
    behave, expected = whole(4_000_000)
    assert stopped(server, behave, times=2) == expected


def test_an_answer_whose_connection_was_closed_after_it_is_read(server: Scripted) -> None:
    behave, expected = whole(20_000)

    def and_close(connection: Connection, request: ReceivedRequest) -> None:
        behave(connection, request)
        connection.hang_up()

    assert stopped(server, and_close) == expected


def test_what_didnt_arrive_is_said_to_be_missing(server: Scripted) -> None:
    def half(connection: Connection, request: ReceivedRequest) -> None:
        connection.send(response(200, bytes(200_000))[:100_000])
        time.sleep(TIMEOUT + 3)

    printed = stopped(server, half)
    said = "CallTimeoutError: No whole answer from the endpoint of profile 'test' within 1.5 s; "
    assert printed.startswith(said)
    assert "bytes of it had arrived" in printed


def test_a_dripping_server_gains_no_time_by_a_stop(server: Scripted) -> None:
    def drip(connection: Connection, request: ReceivedRequest) -> None:
        connection.send(b"HTTP/1.1 200 X\r\ncontent-length: 100000\r\n\r\n")
        for _ in range(1000):
            connection.send(b"x" * 20)
            time.sleep(0.02)

    started = time.monotonic()
    assert stopped(server, drip).startswith("CallTimeoutError")
    assert time.monotonic() - started < 15  # of 20 seconds of dripping
