"""A key appears nowhere, whatever a server says back and wherever a crash report looks."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import struct
import sys
import tempfile
import threading
import traceback
import zlib
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from canary import (
    KEY,
    PIXAZO,
    SPELLINGS,
    WAYS,
    Records,
    Way,
    error_body,
    everything_of,
    files_that_show_it,
    shows,
)
from client_harness import drawn, edit, generate, until
from mai_image.mai.auth import Secret
from mai_image.mai.client import Client
from mai_image.mai.errors import MaiError
from mai_image.mai.http import HttpAnswer
from mai_image.mai.types import Progress, Result
from scripted_server import Behaviour, Connection, ReceivedRequest, Scripted, image_body, refuse

pytestmark = pytest.mark.usefixtures("_quick")

BUILD = "httpx.AsyncClient.build_request"

STATUSES = (201, 302, 400, 401, 402, 403, 404, 413, 422, 429, 499, 500, 502, 503, 504)


class Caught:
    """A service with a canary, and all that comes out of it."""

    def __init__(self, way: Way, folder: Path, server: Scripted) -> None:
        self.folder = folder
        self.profiles = way.profiles(folder, server.url)
        self.client = Client(folder, self.profiles, poll=0.01)
        self.said: list[str] = []
        self.count = 0

    def ask(self, *, edits: bool = False, **changes: object) -> Result | MaiError:
        """One call; its outcome, error report and progress are added to what was said."""
        self.count += 1
        request = edit(self.count) if edits else generate(self.count, **changes)
        future = self.client.submit(request, "default", self._hear)
        try:
            result = future.result(20)
        except MaiError as error:
            self.said.append(everything_of(error))
            return error
        self.said.append(repr(result))
        return result

    def _hear(self, progress: Progress) -> None:
        self.said.append(repr(progress))

    def close(self) -> None:
        """End the service."""
        self.client.close(grace=2)


@pytest.fixture
def caught(tmp_path: Path, server: Scripted) -> Iterator[Caught]:
    caught = Caught(WAYS[0], tmp_path / "data", server)
    yield caught
    caught.close()


def was_sent(server: Scripted) -> bool:
    """Whether the canary reached the server: otherwise a test would prove nothing."""
    return any(KEY in str(request.headers) for request in server.requests)


def test_the_search_finds_the_key_in_every_spelling() -> None:
    assert [name for name, spell in SPELLINGS.items() if not shows(f"x {spell(KEY)} y")] == []
    assert not shows("The service does not accept the profile's key or token. (HTTP 401)")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_error_that_quotes_the_key_is_shown_without_it(
    spelling: str, caught: Caught, server: Scripted, records: Records
) -> None:
    """In the body and in headers, in every status that has a meaning."""
    spelled = SPELLINGS[spelling](KEY)
    one_line = spelled.encode("ascii", "ignore").decode().replace("\r", "").replace("\n", "")
    headers = {"apim-request-id": one_line, "content-type": one_line, "x-echo": one_line}
    for status in (400, 401, 500):
        server.script = [refuse(status, error_body(spelled), headers)]
        error = caught.ask()
        assert isinstance(error, MaiError)
        assert error.status == status
    server.script = [refuse(200, spelled.encode(), headers)]
    assert isinstance(caught.ask(), MaiError)
    assert was_sent(server)
    assert not shows("\n".join(caught.said))
    assert not shows(records.text)
    assert files_that_show_it(caught.folder) == []


@pytest.mark.parametrize("status", STATUSES)
def test_no_status_lets_an_echo_through(status: int, caught: Caught, server: Scripted) -> None:
    for body in (
        error_body(KEY),
        f"<html>{KEY}</html>".encode(),
        json.dumps({"error": KEY, "message": KEY}).encode(),
        json.dumps({"message": KEY, "code": KEY}).encode(),
    ):
        headers = {"x-request-id": KEY, "location": KEY, "retry-after": "86400"}
        server.script = [refuse(status, body, headers)]
        assert isinstance(caught.ask(edits=True), MaiError)
    assert was_sent(server)
    assert not shows("\n".join(caught.said))


def raw(data: bytes) -> Behaviour:
    def behave(connection: Connection, request: ReceivedRequest) -> None:
        connection.send(data)
        connection.hang_up()

    return behave


@pytest.mark.parametrize(
    "answer",
    [
        f"HTTP/1.1 {KEY}\r\n\r\n",
        f"{KEY}\r\n\r\n",
        f"HTTP/1.1 200 {KEY}\r\ncontent-length: 9\r\n\r\nab",
        f"HTTP/1.1 400 {KEY}\r\n{KEY}: x\r\ncontent-length: 0\r\n\r\n",
        f"HTTP/1.1 400 X\r\nx y: {KEY}\r\n\r\n",
        f"HTTP/1.1 400 X\r\ncontent-length: {KEY}\r\n\r\n",
        f"HTTP/1.1 400 X\r\ntransfer-encoding: {KEY}\r\n\r\n",
        f"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n{KEY}\r\n",
        f"HTTP/1.1 200 X\r\ncontent-length: 999\r\n\r\n{KEY}",
        f"HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\ncontent-length: 34\r\n\r\n{KEY}",
        f"HTTP/1.1 200 X\r\ncontent-encoding: {KEY}\r\ncontent-length: 0\r\n\r\n",
    ],
)
def test_broken_http_with_the_key_in_it_is_an_error_and_a_log_without(
    answer: str, caught: Caught, server: Scripted, records: Records
) -> None:
    server.script = [raw(answer.encode())]
    assert isinstance(caught.ask(), MaiError)
    assert was_sent(server)
    assert "httpcore.http11" in records.names
    assert not shows("\n".join(caught.said))
    assert not shows(records.text)


def test_a_status_line_with_the_key_is_in_no_log_of_a_good_answer(
    caught: Caught, server: Scripted, records: Records
) -> None:
    def behave(connection: Connection, request: ReceivedRequest) -> None:
        body = image_body(drawn("x"))
        head = f"HTTP/1.1 200 {KEY}\r\nx-key: {KEY}\r\nset-cookie: k={KEY}\r\n"
        connection.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    server.default = behave
    assert isinstance(caught.ask(), Result)
    assert {"httpx", "httpcore.http11"} <= records.names
    assert "[hidden]" in records.text
    assert not shows(records.text)
    caught.ask()
    assert all("cookie" not in request.headers for request in server.requests)


def chunk_of(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_an_image_with_the_key_written_in_it_is_not_kept(caught: Caught, server: Scripted) -> None:
    """Whoever may see the images of this server may not see its key."""
    image = drawn("x")
    for lead in range(3):
        text = b"x" * lead + b"Comment\0" + KEY.encode()
        for filling in (b"", chunk_of(b"tIME", bytes(range(256)) * 400)):
            body = image_body(image[:33] + filling + chunk_of(b"tEXt", text) + image[33:])
            server.script = [refuse(200, body)]
            assert isinstance(caught.ask(), MaiError)
    assert not list(caught.folder.rglob("*.png"))
    assert files_that_show_it(caught.folder) == []
    server.default = refuse(200, image_body(image))
    assert isinstance(caught.ask(), Result)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_of_configuring_a_key_sends_it_and_shows_it_nowhere(
    way: Way, tmp_path: Path, server: Scripted, records: Records
) -> None:
    logging.getLogger("asyncio").setLevel(logging.DEBUG)
    caught = Caught(way, tmp_path / "data", server)
    caught.client.run(debug_the_loop()).result(5)
    try:
        echo = {"x-request-id": KEY, "www-authenticate": f"Bearer {KEY}"}
        server.script = [refuse(401, error_body(KEY), echo)] * 2
        assert isinstance(caught.ask(), MaiError)
        server.script = [raw(KEY.encode())]
        assert isinstance(caught.ask(), MaiError)
        server.default = refuse(200, image_body(drawn("x")), echo)
        assert isinstance(caught.ask(), Result)
        profile = caught.profiles.get("default")
        caught.said += [repr(profile), repr(vars(caught.profiles)), repr(vars(caught.client))]
        caught.said += [profile.credential.describe(), repr(caught.profiles.warnings())]
        caught.said.append(repr(vars(profile.credential)))
    finally:
        caught.close()
        logging.getLogger("asyncio").setLevel(logging.NOTSET)
    assert was_sent(server)
    assert "asyncio" in records.names
    assert not shows("\n".join(caught.said))
    assert not shows(records.text)
    assert files_that_show_it(caught.folder) == []


def test_pixazos_key_is_shown_nowhere_either(
    tmp_path: Path, server: Scripted, records: Records
) -> None:
    """In the answer that begins a job, in its id, in its status and at the image's address."""
    caught = Caught(PIXAZO, tmp_path / "data", server)
    echo = {"x-request-id": KEY, "x-echo": KEY}
    queued = {"request_id": "job-1", "status": "QUEUED", "polling_url": f"https://x.invalid/{KEY}"}
    failed = {"status": "FAILED", "error": f"key {KEY}", "output": {"media_url": KEY}}
    away = {"status": "COMPLETED", "output": {"media_url": f"https://x.invalid/{KEY}"}}
    answers: list[list[tuple[int, object]]] = [
        [(401, {"error": KEY})],
        [(402, {"message": KEY})],
        [(200, {"request_id": KEY, "status": KEY})],
        [(200, {**queued, "error": KEY}), (200, failed)],
        [(200, {**queued, "request_id": "job-2"}), (200, away)],
        [(200, {**queued, "request_id": "job-3"}), (500, {"error": {"message": KEY}})],
    ]
    try:
        for script in answers:
            server.script = [refuse(status, json.dumps(body).encode(), echo)
                             for status, body in script]  # fmt: skip
            server.default = refuse(404, KEY.encode(), echo)
            assert isinstance(caught.ask(model="MAI-Image-2.5"), MaiError)
    finally:
        caught.close()
    assert len(server.requests) >= 9
    assert all(KEY in str(request.headers) for request in server.requests)
    assert not shows("\n".join(caught.said))
    assert not shows(records.text)
    assert files_that_show_it(caught.folder) == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_no_frame_of_any_thread_or_task_shows_the_key_while_a_call_is_out(
    way: Way, tmp_path: Path, server: Scripted
) -> None:
    """What a crash report with local variables would hold at that moment."""
    gate = threading.Event()

    def hold(connection: Connection, request: ReceivedRequest) -> None:
        gate.wait(10)
        connection.answer(200, image_body(drawn("x")))

    server.default = hold
    caught = Caught(way, tmp_path / "data", server)
    future = caught.client.submit(generate("held"))
    try:
        until(lambda: bool(server.requests))
        frames = caught.client.run(frames_of_tasks())
        report = frames.result(5) + frames_of_threads("mai-image")
        with tempfile.TemporaryFile("w+") as dump:
            faulthandler.dump_traceback(dump, all_threads=True)
            dump.seek(0)
            report += dump.read()
    finally:
        gate.set()
        future.result(10)
        caught.close()
    assert was_sent(server)
    assert "_Exchange" in report
    assert not shows(report)


async def debug_the_loop() -> None:
    """Let asyncio report each slow step of this loop, with its coroutine."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0


async def frames_of_tasks() -> str:
    """Every task of this loop with the local variables of each frame, awaited ones too."""
    report = []
    for task in asyncio.all_tasks():
        report.append(repr(task))
        awaited: object = task.get_coro()
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None)
            if frame is not None:
                summary = traceback.StackSummary.extract(
                    [(frame, frame.f_lineno)], capture_locals=True
                )
                report += summary.format()
            awaited = getattr(awaited, "cr_await", None)
    return "\n".join(report)


def frames_of_threads(prefix: str) -> str:
    """The local variables of every frame of the threads whose names begin so."""
    ids = {thread.ident for thread in threading.enumerate() if thread.name.startswith(prefix)}
    report = ""
    for ident, frame in sys._current_frames().items():
        if ident in ids:
            stack = traceback.walk_stack(frame)
            report += "".join(traceback.StackSummary.extract(stack, capture_locals=True).format())
    return report


def test_an_unforeseen_failure_in_the_middle_of_a_call_shows_no_key(
    caught: Caught, server: Scripted, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    ours = "mai_image.mai.http.transport"
    for target in (f"{ours}.HttpAnswer", f"{ours}.ConnectionLostError", BUILD):
        server.script = [raw(b"x")] if target.endswith("LostError") else []
        with monkeypatch.context() as patch:
            patch.setattr(target, fail)
            future: Future[Result] = caught.client.submit(generate(target))
            error = future.exception(10)
        assert isinstance(error, ZeroDivisionError)
        caught.said.append(everything_of(error))
    assert was_sent(server)
    assert "unforeseen" in records.text
    assert not shows("\n".join(caught.said))
    assert not shows(records.text)


def test_an_answer_shows_neither_headers_nor_body() -> None:
    answer = HttpAnswer(400, {"x": KEY}, KEY.encode())
    assert not shows(repr(answer) + repr(Secret(KEY)) + str(Secret(KEY)))
