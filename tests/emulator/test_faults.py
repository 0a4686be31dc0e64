"""Faults over a real socket: what the client meets, and what is billed."""

from __future__ import annotations

import base64
import binascii
import io
import json
import struct
import time
import zlib
from email.utils import parsedate_to_datetime

import httpx
import pytest
from PIL import Image

SMALL = {"width": 768, "height": 768}
HEADER = "x-emulator-fault"


FREE = (302, 400, 401, 402, 403, 404, 410, 413, 418, 429, 499)
AFTER_WORK = (408, 500, 502, 503, 504)


@pytest.mark.parametrize("status", [*FREE, *AFTER_WORK])
def test_a_status_comes_with_its_envelope_and_is_billed_where_work_was_done(client, status):
    answer = client.generate({HEADER: f"status={status}"})
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message", "details"}
    assert client.service.log.billed == (status in AFTER_WORK)
    assert client.service.log.entries[-1].status == status


@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        ("status=503 retry-after=1", 0),
        ("status=503 retry-after-date=1", 0),
        ("status=503 body=html", 1),
        ("status=499 message=The_connection_was_closed.", 1),
        ("status=499 body=empty", 1),
        ("status=400 code=content_filter", 1),
        ("status=400 code=unsupported_request_value", 0),
        ("answer=block-prompt", 1),
        ("answer=block-result", 1),
        ("answer=prompt-too-long", 1),
        ("answer=empty-data", 1),
        ("answer=empty-data usage=absent", 1),
        ("answer=error-body", 1),
        ("answer=block-prompt billed=no", 0),
    ],
)
def test_the_bill_follows_what_the_service_says_that_it_did(client, fault, billed):
    client.generate({HEADER: fault}, **SMALL)
    assert client.service.log.billed == billed


def test_a_prompt_that_is_too_long_costs_its_tokens_and_no_image(client):
    answer = client.generate(prompt="x" * 128_004)
    assert (answer.status_code, "32000 tokens" in answer.text) == (400, True)
    assert client.service.log.billed == 1
    assert client.service.log.billed_usd == pytest.approx(32_001 * 5 / 1_000_000)
    asked_for = client.generate({HEADER: "answer=prompt-too-long"})
    assert asked_for.json() == answer.json()


def test_a_499_has_the_service_s_words(client):
    error = client.generate({HEADER: "status=499"}).json()["error"]
    assert error["code"] == "client_connection_closed"
    assert error["message"] == "Client has closed connection before request was sent."


def test_a_status_can_be_billed_and_have_a_code_of_its_own(client):
    answer = client.generate({HEADER: "status=500 code=Odd billed=yes"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "Odd")
    assert client.service.log.billed == 1


@pytest.mark.parametrize(
    ("body", "content_type", "start"),
    [("html", "text/html; charset=utf-8", b"<!DOCTYPE"), ("empty", "application/json", b"")],
)
def test_an_error_may_have_another_body(client, body, content_type, start):
    answer = client.generate({HEADER: f"status=502 body={body}"})
    assert answer.headers["content-type"] == content_type
    assert answer.content.startswith(start)
    assert bool(answer.content) == bool(start)


def test_retry_after_is_sent_in_seconds_or_as_a_date(client):
    seconds = client.generate({HEADER: "status=429 retry-after=1.5"})
    assert seconds.headers["retry-after"] == "1.5"
    date = client.generate({HEADER: "status=503 retry-after-date=60"}).headers["retry-after"]
    assert parsedate_to_datetime(date).timestamp() == pytest.approx(time.time() + 60, abs=3)


def test_a_redirect_has_a_location(client):
    answer = client.generate({HEADER: "status=302 location=http://127.0.0.1:1/"})
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:1/")


def test_a_fault_for_the_first_requests_counts_those_with_the_same_prompt(client):
    def statuses(prompt, count):
        return [client.generate(prompt=prompt, **SMALL).status_code for _ in range(count)]

    assert statuses("one [[fault status=500 first=2]]", 3) == [500, 500, 200]
    assert statuses("two [[fault status=500 first=2]]", 3) == [500, 500, 200]


def test_a_server_wide_fault_can_be_set_and_taken_away(started):
    client = started(fault="status=503 first=1")
    assert [client.generate(**SMALL).status_code for _ in range(2)] == [503, 200]
    client.service.fault("status=504")
    assert client.generate(**SMALL).status_code == 504
    client.service.fault("")
    assert client.generate(**SMALL).status_code == 200


def test_the_fault_nearest_to_the_request_strikes(started):
    client = started(fault="status=503")
    assert client.generate(prompt="x [[fault status=504]]").status_code == 504
    assert (
        client.generate({HEADER: "status=502"}, prompt="x [[fault status=504]]").status_code == 502
    )


@pytest.mark.parametrize("when", ["headers", "body", "answer", "middle"])
def test_a_reset_breaks_the_connection_and_bills_what_was_made(client, when):
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError)):
        client.generate({HEADER: f"reset={when}"}, **SMALL)
    assert client.service.log.billed == (1 if when in ("answer", "middle") else 0)
    assert client.service.log.entries[-1].delivered is False


@pytest.mark.parametrize(("cut", "share"), [("cut=1", None), ("cut=50%", 0.5), ("cut=99%", 0.99)])
def test_a_cut_answer_ends_after_so_many_bytes(client, cut, share):
    total = int(client.generate(**SMALL).headers["content-length"])
    body = {"model": "MAI-Image-2.6", "prompt": "a red fox", **SMALL}
    got = bytearray()

    def read():
        path = "/mai/v1/images/generations"
        with client.http.stream("POST", path, json=body, headers={HEADER: cut}) as answer:
            assert (answer.status_code, int(answer.headers["content-length"])) == (200, total)
            for chunk in answer.iter_raw():
                got.extend(chunk)

    with pytest.raises(httpx.RemoteProtocolError):
        read()
    assert len(got) == (1 if share is None else int(total * share))
    assert client.service.log.billed == 2


def test_the_connection_works_again_after_a_fault(client):
    with pytest.raises(httpx.HTTPError):
        client.generate({HEADER: "reset=answer"}, **SMALL)
    assert client.generate(**SMALL).status_code == 200


def test_a_dripping_answer_takes_its_time(client):
    begun = time.monotonic()
    answer = client.generate({HEADER: "answer=not-a-picture drip=5000"})
    assert time.monotonic() - begun >= len(answer.content) / 5000 * 0.9
    assert answer.status_code == 200


def test_latency_is_set_by_option_header_or_prompt(started):
    client = started(latency=30.0)

    def seconds(headers=None, **fields):
        begun = time.monotonic()
        assert client.generate(headers, **SMALL, **fields).status_code == 200
        return time.monotonic() - begun

    assert 0.2 <= seconds({"x-emulator-latency": "0.2"}) < 5
    assert 0.3 <= seconds(prompt="x [[latency 0.3]]") < 5
    client.service.latency(0.0)
    assert seconds({HEADER: "latency=0.2"}) >= 0.2
    assert seconds() < 5


def test_a_refused_request_is_answered_without_latency(started):
    client = started(latency=30.0)
    begun = time.monotonic()
    assert client.generate(seed=1).status_code == 400
    assert time.monotonic() - begun < 5


def test_a_client_that_goes_away_has_bought_the_image(started):
    client = started(latency=0.3)
    with pytest.raises(httpx.ReadTimeout):
        client.http.post(
            "/mai/v1/images/generations",
            json={"model": "MAI-Image-2.6", "prompt": "x", **SMALL},
            timeout=0.1,
        )
    log = client.service.log
    deadline = time.monotonic() + 5
    while log.billed == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert log.billed == 1
    assert log.entries[-1].delivered is False


def test_stopping_does_not_wait_for_the_latency(started):
    client = started(latency=60.0)
    with pytest.raises(httpx.ReadTimeout):
        client.http.post(
            "/mai/v1/images/generations",
            json={"model": "MAI-Image-2.6", "prompt": "x"},
            timeout=0.1,
        )
    begun = time.monotonic()
    client.service.stop()
    assert time.monotonic() - begun < 5
    with pytest.raises(httpx.ConnectError):
        client.generate()


def broken(client, kind):
    return client.generate({HEADER: f"answer={kind}"}, **SMALL)


def payload(answer):
    return base64.b64decode(answer.json()["data"][0]["b64_json"], validate=True)


@pytest.mark.parametrize("kind", ["garbage", "html", "empty-body", "cut-json"])
def test_a_200_may_be_no_json(client, kind):
    answer = broken(client, kind)
    assert answer.status_code == 200
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        answer.json()
    assert client.service.log.billed == 1


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("empty-data", lambda body: body["data"] == []),
        ("no-picture", lambda body: body["data"] == [{}]),
        ("wrong-shape", lambda body: "data" not in body),
        ("list", lambda body: isinstance(body, list)),
    ],
)
def test_a_200_may_be_json_of_another_shape(client, kind, shape):
    assert shape(broken(client, kind).json())


def test_an_empty_200_may_come_without_usage(client):
    answer = client.generate({HEADER: "answer=empty-data usage=absent"}, **SMALL)
    assert (answer.status_code, answer.json()["data"]) == (200, [])
    assert "usage" not in answer.json()


def test_usage_may_stand_at_the_top_level_and_count_too_much(client):
    at_the_top = client.generate({HEADER: "usage=top-level"}, **SMALL).json()
    assert at_the_top["num_output_tokens"] == 576
    counted = client.generate({HEADER: "tokens=9e15"}, **SMALL).json()
    assert counted["usage"]["num_output_tokens"] == 9_000_000_000_000_000


def test_a_200_may_hold_an_error(client):
    answer = broken(client, "error-body")
    assert (answer.status_code, "data" in answer.json()) == (200, False)
    assert answer.json()["error"]["message"].startswith("The server had an error")


def test_an_answer_may_name_another_model_and_is_billed_at_its_price(client):
    answer = client.generate({HEADER: "model=MAI-Image-2.5-Pro"}, **SMALL)
    assert answer.json()["model"] == "MAI-Image-2.5-Pro"
    assert client.service.log.billed_usd > 576 * 106 / 1_000_000
    assert client.generate({HEADER: "model=X"}, **SMALL).json()["model"] == "X"


def test_an_answer_may_say_any_limit_of_requests(client):
    answer = client.generate({HEADER: "limit-requests=0.001"}, **SMALL)
    assert (answer.status_code, answer.headers["x-ratelimit-limit-requests"]) == (200, "0.001")


@pytest.mark.parametrize("kind", ["truncated-base64", "bad-base64"])
def test_base64_may_be_broken(client, kind):
    with pytest.raises(binascii.Error):
        payload(broken(client, kind))


@pytest.mark.parametrize("kind", ["not-a-picture", "truncated-picture"])
def test_what_is_in_the_base64_may_be_no_complete_image(client, kind):
    data = payload(broken(client, kind))
    with pytest.raises(OSError, match=r"cannot identify|truncated"):
        Image.open(io.BytesIO(data)).load()


def chunks(data):
    """Name, data, and whether the checksum is right, of each chunk of a PNG."""
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        found.append((name, body, checksum == zlib.crc32(name + body)))
        at += 12 + length
    return found


def test_one_checksum_of_a_png_may_be_wrong(client):
    wrong = [name for name, _, right in chunks(payload(broken(client, "wrong-crc"))) if not right]
    assert wrong == [b"IDAT"]


def test_an_image_may_carry_content_credentials_after_its_header(client, started):
    plain = chunks(payload(client.generate(**SMALL)))
    marked = chunks(payload(client.generate({HEADER: "credentials=yes"}, **SMALL)))
    assert [name for name, _, _ in marked][:2] == [b"IHDR", b"caBX"]
    assert all(right for _, _, right in marked)
    assert marked[:1] + marked[2:] == plain
    carrying = started(content_credentials=True)
    for model, carries in (("MAI-Image-2.5", True), ("MAI-Image-2", False)):
        names = [name for name, _, _ in chunks(payload(carrying.generate(model=model, **SMALL)))]
        assert (b"caBX" in names) is carries


def test_a_bomb_claims_900_megapixels(client):
    data = payload(broken(client, "bomb"))
    assert data[16:24] == (30_000).to_bytes(4, "big") * 2
    assert len(data) < 10_000


@pytest.mark.parametrize(
    ("kind", "form", "mode"),
    [
        ("jpeg", "JPEG", "RGB"),
        ("webp", "WEBP", "RGB"),
        ("alpha", "PNG", "RGBA"),
        ("grey", "PNG", "L"),
        ("palette", "PNG", "P"),
        ("16-bit", "PNG", "I;16"),
    ],
)
def test_an_image_may_be_of_another_type(client, kind, form, mode):
    image = Image.open(io.BytesIO(payload(broken(client, kind))))
    image.load()
    assert (image.format, image.mode, image.size) == (form, mode, (768, 768))


def test_a_huge_answer_is_over_64_mebibytes(client):
    body = {"model": "MAI-Image-2.6", "prompt": "x", **SMALL}
    headers = {HEADER: "answer=huge"}
    with client.http.stream(
        "POST", "/mai/v1/images/generations", json=body, headers=headers
    ) as answer:
        assert int(answer.headers["content-length"]) > 64 * 2**20


def test_the_image_may_have_another_size_than_requested(client, decode):
    answer = client.generate({HEADER: "size=800x640"})
    assert decode(answer).size == (800, 640)
    assert answer.json()["size"] == "800x640"


def test_an_url_may_stand_instead_of_the_image(client):
    url = broken(client, "url").json()["data"][0]["url"]
    got = httpx.get(url, trust_env=False)
    assert got.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(got.content)).size == (768, 768)
    assert httpx.get(url[:-9] + "x.png", trust_env=False).status_code == 404
