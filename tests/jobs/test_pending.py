"""A finished job whose image can't be had is never thrown away: the next run has it, unpaid.

Each run is a process of its own, against a gateway on a real socket that counts the orders.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image.mai.client import Client
from mai_image.mai.errors import AnswerError, Billed, MaiError, PendingError, StoreError
from mai_image.mai.profiles import Profiles
from mai_image.mai.types import Generate
from scripted_gateway import FAULTS, MEDIA_FAULTS, ScriptedGateway

RUN = """
import json, sys
from pathlib import Path
from mai_image.mai.client import Client
from mai_image.mai.errors import MaiError
from mai_image.mai.profiles import Profiles
from mai_image.mai.types import Generate
folder = Path(sys.argv[1])
client = Client(folder, Profiles(folder, {}), poll=0.02)
requests = {prompt: Generate("MAI-Image-2.5", prompt, 1024, 1024) for prompt in sys.argv[2:]}
calls = {prompt: client.submit(request, "test") for prompt, request in requests.items()}
ends = {}
for prompt, call in calls.items():
    try:
        ends[prompt] = ["delivered", call.result(120).image is not None and ""]
    except MaiError as error:
        ends[prompt] = [type(error).__name__, str(error)]
client.close()
print(json.dumps(ends))
"""


@pytest.fixture
def broken() -> Iterator[ScriptedGateway]:
    gateway = ScriptedGateway()
    yield gateway
    gateway.close()


@pytest.fixture
def folder(tmp_path: Path, broken: ScriptedGateway) -> Path:
    folder = tmp_path / "mai"
    folder.mkdir()
    set_timeout(folder, broken, 4)
    return folder


def set_timeout(folder: Path, gateway: ScriptedGateway, seconds: float) -> None:
    (folder / "profiles.toml").write_text(
        f'[profiles.test]\nservice = "pixazo"\nendpoint = "{gateway.url}"\ntimeout = {seconds}\n'
        'credential = { kind = "key", value = "emulator" }\n',
        encoding="utf-8",
    )


def run(folder: Path, *prompts: str) -> dict[str, list[str]]:
    """How the request for each prompt ended in a process of its own: type and text."""
    command = [sys.executable, "-c", RUN, str(folder), *prompts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    ends: dict[str, list[str]] = json.loads(done.stdout)
    return ends


def test_whatever_keeps_an_image_back_the_next_process_goes_on_with_its_job(
    folder: Path, broken: ScriptedGateway
) -> None:
    first = run(folder, *FAULTS)
    assert {prompt: end for prompt, (end, _) in first.items()} == dict.fromkeys(
        FAULTS, "PendingError"
    )
    silent = [text for _, text in first.values() if "it isn't bought twice" not in text]
    assert silent == []
    broken.mended = True
    set_timeout(folder, broken, 100)
    second = run(folder, *FAULTS)
    assert {prompt: end for prompt, (end, _) in second.items()} == dict.fromkeys(
        FAULTS, "delivered"
    )
    assert dict(broken.orders) == dict.fromkeys(FAULTS, 1)


def test_the_error_says_what_is_wrong_with_the_image(folder: Path, broken: ScriptedGateway) -> None:
    ends = run(folder, "media-403", "media-webp", "media-wrong-checksum", "no-address", "poll-500")
    texts = {prompt: text for prompt, (_, text) in ends.items()}
    assert "HTTP 403" in texts["media-403"]
    assert "WebP" in texts["media-webp"]
    assert "can't be read" in texts["media-wrong-checksum"]
    assert "names no image" in texts["no-address"]
    assert "status can't be had: HTTP 500" in texts["poll-500"]


def test_a_job_stays_open_however_often_its_image_cant_be_had(
    folder: Path, broken: ScriptedGateway
) -> None:
    prompts = ("media-404", "poll-404", "no-address", "media-cut")
    for _ in range(3):
        assert {end for end, _ in run(folder, *prompts).values()} == {"PendingError"}
    assert dict(broken.orders) == dict.fromkeys(prompts, 1)


def test_each_fetch_asks_the_gateway_for_the_address_again(
    folder: Path, broken: ScriptedGateway
) -> None:
    """An address may be signed and run out."""
    run(folder, "media-403")
    kinds = ["media" if "/media/" in path else "status" for path in broken.asked]
    assert kinds == ["status", "media"] * (len(kinds) // 2)
    assert len(kinds) >= 4


@pytest.mark.parametrize("word", ["FAILED", "ERROR"])
def test_a_job_ends_when_the_gateway_says_so(
    folder: Path, broken: ScriptedGateway, word: str
) -> None:
    assert run(folder, "poll-404")["poll-404"][0] == "PendingError"
    broken.end = json.dumps({"request_id": "poll-404", "status": word}).encode()
    assert run(folder, "poll-404")["poll-404"][0] == "ServiceError"
    assert broken.orders["poll-404"] == 1
    broken.end, broken.mended = None, True
    assert run(folder, "poll-404")["poll-404"][0] == "delivered"
    assert broken.orders["poll-404"] == 2


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    client = Client(folder, Profiles(folder, {}), poll=0.02)
    yield client
    client.close(grace=0)


def fail(client: Client, prompt: str) -> MaiError:
    with pytest.raises(MaiError) as caught:
        client.submit(Generate("MAI-Image-2.5", prompt, 1024, 1024), "test").result(30)
    return caught.value


def test_a_job_that_could_not_be_written_down_at_first_is_written_down_later(
    client: Client, broken: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt, full = next(iter(MEDIA_FAULTS)), [True]
    set_job = client.ledger.set_job

    def full_at_first(row: int, job_id: str) -> None:
        if full:
            full.pop()
            raise StoreError("The disk is full.")
        set_job(row, job_id)

    monkeypatch.setattr(client.ledger, "set_job", full_at_first)
    assert isinstance(fail(client, prompt), PendingError)
    broken.mended = True
    request = Generate("MAI-Image-2.5", prompt, 1024, 1024)
    assert client.submit(request, "test").result(30).width == 256
    assert broken.orders[prompt] == 1


def test_an_order_without_an_id_is_perhaps_billed(
    client: Client, broken: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broken, "order", lambda prompt: (202, b'{"status":"QUEUED"}'))
    error = fail(client, "a fox")
    assert isinstance(error, AnswerError)
    assert error.billed is Billed.PERHAPS
    assert broken.asked == []


def test_an_inline_image_without_an_id_that_cant_be_read_is_perhaps_billed(
    client: Client, broken: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"status":"PROCESSING","output":{"media_url":["data:image/png;base64,AAAA"]}}'
    monkeypatch.setattr(broken, "order", lambda prompt: (200, body))
    error = fail(client, "a fox")
    assert isinstance(error, AnswerError)
    assert error.billed is Billed.PERHAPS
    assert "buys another" in error.hint
    assert broken.asked == []


@pytest.mark.parametrize("status", [200, 201, 202])
def test_an_order_is_a_job_whatever_success_the_gateway_calls_it(
    client: Client, broken: ScriptedGateway, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    broken.mended = True
    body = b'{"request_id":"a1","status":"QUEUED"}'
    monkeypatch.setattr(broken, "order", lambda prompt: (status, body))
    request = Generate("MAI-Image-2.5", "a fox", 1024, 1024)
    assert client.submit(request, "test").result(30).request_id == "a1"
