"""A queue in fal's form that isn't the emulator: its own addresses, and what a hostile one says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from client_harness import quick
from mai_image.mai.client import Client
from mai_image.mai.errors import MaiError, PendingError
from mai_image.mai.profiles import Profiles
from mai_image.mai.types import Generate, Result
from scripted_server import png

KEY = "canary-5b1e7a90"
IMAGE = png(1024, 1024)


class Queue:
    """Answers POST with `receipt`, and each GET or PUT by its path from `answers`."""

    def __init__(self) -> None:
        self.receipt: dict[str, object] = {}
        self.answers: dict[str, tuple[int, object]] = {}
        self.seen: list[tuple[str, str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.reply(200, outer.receipt)

            def do_GET(self) -> None:
                self.reply(*outer.answers.get(self.path, (404, {"detail": "Request not found"})))

            do_PUT = do_GET

            def reply(self, status: int, body: object) -> None:
                key = self.headers.get("authorization", "")
                outer.seen.append((self.command, self.path, key))
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def finish(self, job: str) -> None:
        """A job whose own addresses are `job`, and that is done."""
        self.receipt = {
            "request_id": "r1",
            "status_url": f"{self.url}{job}/how",
            "response_url": f"{self.url}{job}/what",
            "cancel_url": f"{self.url}{job}/stop",
        }
        self.answers[f"{job}/how"] = (200, {"status": "COMPLETED"})
        self.answers[f"{job}/what"] = (200, {"images": [{"url": f"{self.url}/files/a.png"}]})
        self.answers["/files/a.png"] = (200, IMAGE)


@pytest.fixture
def queue() -> Iterator[Queue]:
    queue = Queue()
    yield queue
    queue.close()


@pytest.fixture
def elsewhere() -> Iterator[Queue]:
    other = Queue()
    yield other
    other.close()


@pytest.fixture
def folder(tmp_path: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Path:
    quick(monkeypatch)
    folder = tmp_path / "mai"
    folder.mkdir(mode=0o700)
    (folder / "profiles.toml").write_text(
        f'[profiles.test]\nservice = "fal"\nendpoint = "{queue.url}"\ntimeout = 1\n'
        f'credential = {{ kind = "key", value = "{KEY}" }}\n',
        encoding="utf-8",
    )
    return folder


def buy(folder: Path) -> Result | MaiError:
    client = Client(folder, Profiles(folder, {}), poll=0.02)
    try:
        return client.submit(Generate("MAI-Image-2.7", "a fox", 1024, 1024), "test").result(30)
    except MaiError as error:
        return error
    finally:
        client.close(grace=0)


def test_a_job_is_asked_for_at_the_addresses_of_its_order(folder: Path, queue: Queue) -> None:
    queue.finish("/jobs/7")
    result = buy(folder)
    assert isinstance(result, Result), result
    assert result.request_id == "r1"
    assert [path for _, path, _ in queue.seen[1:]] == [
        "/jobs/7/how",
        "/jobs/7/what",
        "/files/a.png",
    ]


def test_the_key_goes_along_but_to_the_image(folder: Path, queue: Queue) -> None:
    queue.finish("/jobs/7")
    buy(folder)
    assert [key for *_, key in queue.seen] == [f"Key {KEY}"] * 3 + [""]


def test_an_odd_address_is_still_known_after_a_restart(folder: Path, queue: Queue) -> None:
    queue.finish("/jobs/7")
    queue.answers["/jobs/7/how"] = (200, {"status": "IN_PROGRESS"})
    assert isinstance(buy(folder), PendingError)
    queue.answers["/jobs/7/how"] = (200, {"status": "COMPLETED", "request_id": "r1"})
    assert isinstance(buy(folder), Result)
    assert sum(method == "POST" for method, *_ in queue.seen) == 1


def test_no_address_of_an_answer_leads_the_key_elsewhere(
    folder: Path, queue: Queue, elsewhere: Queue
) -> None:
    own = "/microsoft/mai-image-2.7/requests/r1"
    queue.finish(own)
    queue.answers[f"{own}/status"] = queue.answers[f"{own}/how"]
    queue.answers[own] = queue.answers[f"{own}/what"]
    queue.receipt = {
        "request_id": "r1",
        "status_url": f"{elsewhere.url}/status",
        "response_url": f"{queue.url}@{elsewhere.url.removeprefix('http://')}/result",
        "cancel_url": f"{queue.url}/../cancel",
    }
    assert isinstance(buy(folder), Result)
    assert elsewhere.seen == []


@pytest.mark.parametrize(
    "answer",
    [
        (422, {"detail": [{"loc": ["body", "prompt"], "msg": "x", "type": "image_load_error"}]}),
        (422, {"detail": "nothing was made"}),
        (200, {"detail": [{"loc": ["body"], "msg": "y", "type": "no_media_generated"}]}),
    ],
)
def test_a_result_that_says_why_there_is_none_ends_the_job(
    folder: Path, queue: Queue, answer: tuple[int, object]
) -> None:
    queue.finish("/jobs/7")
    queue.answers["/jobs/7/what"] = answer
    error = buy(folder)
    assert isinstance(error, MaiError)
    assert not isinstance(error, PendingError)
    assert error.billed.value == "perhaps billed"


@pytest.mark.parametrize(
    "body",
    [b"[" * 200_000, b'{"images":' + b"[" * 50_000, b"\x00" * 100, b"", b"null", b'"COMPLETED"',
     b'{"status":{"a":1}}', b'{"images":[{"url":5},null,7]}', b'{"images":{"url":"x"}}'],
    ids=range(9),
)  # fmt: skip
@pytest.mark.parametrize("path", ["how", "what"])
def test_what_cant_be_read_leaves_the_job_open(
    folder: Path, queue: Queue, path: str, body: bytes
) -> None:
    queue.finish("/jobs/7")
    queue.answers[f"/jobs/7/{path}"] = (200, body)
    assert isinstance(buy(folder), PendingError)
    queue.finish("/jobs/7")
    assert isinstance(buy(folder), Result)
    assert sum(method == "POST" for method, *_ in queue.seen) == 1
