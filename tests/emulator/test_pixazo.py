"""The Pixazo gateway as the emulator plays it: orders, states over time, images, refusals."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

ORDER = "/microsoft-mai-image-2-5/v1/microsoft-mai-image-2-5-request"
EDIT = "/microsoft-mai-image-2-5-edit/v1/microsoft-mai-image-2-5-edit-request"
KEY = {"Ocp-Apim-Subscription-Key": "emulator"}


@pytest.fixture
def gateway(client):
    client.http.headers.pop("api-key")
    client.http.headers.update(KEY)
    return client.http


def order(http, path=ORDER, **fields):
    fields_sent = {"prompt": "a red fox", "output_format": "png", **fields}
    return http.post(path, json={name: v for name, v in fields_sent.items() if v is not None})


def follow(http, answer):
    assert answer.status_code == 202, answer.text
    return http.get(answer.json()["polling_url"])


def size_of(data):
    return Image.open(io.BytesIO(data)).size


def test_an_order_is_a_job_whose_image_is_fetched_without_a_key(gateway, client):
    answer = order(gateway, aspect_ratio="16:9")
    assert set(answer.json()) == {"request_id", "status", "polling_url"}
    report = follow(gateway, answer).json()
    assert (report["status"], report["error"]) == ("COMPLETED", None)
    (url,) = report["output"]["media_url"]
    assert gateway.get(url).status_code == 400
    gateway.headers.pop("Ocp-Apim-Subscription-Key")
    assert size_of(gateway.get(url).content) == (1360, 768)
    assert client.service.log.billed == 1


@pytest.mark.parametrize("headers", [{}, {"api-key": "emulator"}, {**KEY, "api-key": "emulator"}])
def test_orders_and_polls_want_one_key_in_its_own_header(client, headers):
    client.http.headers.pop("api-key")
    wanted = 400 if "Ocp-Apim-Subscription-Key" in headers else 401
    posted = client.http.post(ORDER, json={"prompt": "a red fox"}, headers=headers)
    polled = client.http.get("/v2/requests/status/x", headers=headers)
    assert [posted.status_code, polled.status_code] == [wanted, wanted]
    assert set(posted.json()) == {"error", "message"}


def test_a_job_goes_through_its_states_by_the_clock(started):
    now = [0.0]
    client = started(clock=lambda: now[0], queued=5.0, processing=10.0)
    client.http.headers.pop("api-key")
    client.http.headers.update(KEY)
    answer = order(client.http)
    seen = []
    for at in (0.0, 4.9, 5.0, 14.9, 15.0):
        now[0] = at
        seen.append(follow(client.http, answer).json()["status"])
    assert seen == ["QUEUED", "QUEUED", "PROCESSING", "PROCESSING", "COMPLETED"]


@pytest.mark.parametrize(("end", "billed"), [("failed", 1), ("error", 0)])
def test_a_job_that_fails_says_why_and_only_error_is_free(gateway, client, end, billed):
    report = follow(gateway, order(gateway, prompt=f"[[job end={end} reason=too_odd]]")).json()
    assert (report["status"], report["error"], report["output"]) == (end.upper(), "too odd", None)
    assert client.service.log.billed == billed


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"prompt": "ox"}, "3 to 5000"),
        ({"prompt": None}, "3 to 5000"),
        ({"prompt": "x" * 5001}, "3 to 5000"),
        ({"aspect_ratio": "1:2"}, "aspect_ratio"),
        ({"num_images": 5}, "num_images"),
        ({"num_images": True}, "num_images"),
        ({"output_format": "gif"}, "output_format"),
        ({"sync_mode": "yes"}, "sync_mode"),
        ({"width": 1024}, "width"),
        ({"seed": 1}, "seed"),
    ],
)
def test_an_order_that_isnt_documented_is_a_400_that_names_it(gateway, client, fields, word):
    answer = order(gateway, **fields)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert word in answer.json()["message"]
    assert client.service.log.billed == 0


@pytest.mark.parametrize(
    "urls",
    [None, [], ["x", "y"], "data:,", ["https://a.example/b.png"], ["data:image/png;base64,!"]],
)
def test_an_edit_wants_exactly_one_image_that_it_can_read(gateway, urls):
    assert order(gateway, EDIT, image_urls=urls).status_code == 400


def test_an_edit_keeps_the_ratio_of_its_image_unless_the_order_names_one(gateway, file):
    uri = "data:image/png;base64," + base64.b64encode(file(553, 311)).decode()
    sizes = []
    for ratio in (None, "1:1"):
        answer = order(gateway, EDIT, image_urls=[uri], aspect_ratio=ratio, sync_mode=True)
        (inline,) = answer.json()["output"]["media_url"]
        sizes.append(size_of(base64.b64decode(inline.partition(",")[2])))
    assert sizes == [(1360, 768), (1024, 1024)]


def test_the_log_keeps_only_the_beginning_of_a_data_uri(gateway, client, file):
    uri = "data:image/png;base64," + base64.b64encode(file(800, 800)).decode()
    order(gateway, EDIT, image_urls=[uri])
    (logged,) = client.service.log.entries[-1].fields["image_urls"]
    assert len(logged) < 100 < len(uri)


def test_a_used_up_balance_is_a_402(started):
    client = started(balance=0.06)
    client.http.headers.pop("api-key")
    client.http.headers.update(KEY)
    assert [order(client.http).status_code for _ in range(2)] == [202, 402]
    assert order(client.http).json()["error"] == "Insufficient Balance"


def test_an_unknown_job_is_a_404_and_a_job_can_be_forgotten(gateway):
    assert gateway.get("/v2/requests/status/none").status_code == 404
    answer = order(gateway, prompt="a fox [[job forget=2]]")
    assert [follow(gateway, answer).status_code for _ in range(3)] == [200, 404, 404]


def test_faults_strike_orders_polls_and_images_apart(gateway, client):
    answer = order(gateway, prompt="a fox [[poll status=503 first=1 retry-after=2]]")
    refused = follow(gateway, answer)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert set(refused.json()) == {"error", "message"}
    assert follow(gateway, answer).status_code == 200
    assert order(gateway, prompt="a fox [[fault status=500 billed=yes]]").status_code == 500
    assert client.service.log.billed == 2


@pytest.mark.parametrize(
    ("media", "check"),
    [
        ("url", lambda found: found.startswith("http://127.0.0.1:")),
        ("list", lambda found: found[0].startswith("http://127.0.0.1:")),
        ("data", lambda found: found[0].startswith("data:image/png;base64,")),
        ("foreign", lambda found: found == ["https://media.example.com/image.png"]),
        ("none", lambda found: found == []),
    ],
)
def test_the_image_can_be_in_each_place(gateway, media, check):
    report = follow(gateway, order(gateway, prompt=f"a fox [[job media={media}]]")).json()
    assert check(report["output"]["media_url"])


def test_what_every_job_does_can_be_changed_while_the_emulator_runs(started):
    client = started(job="end=failed")
    client.http.headers.pop("api-key")
    client.http.headers.update(KEY)
    assert follow(client.http, order(client.http)).json()["status"] == "FAILED"
    client.service.job("end=error")
    assert follow(client.http, order(client.http)).json()["status"] == "ERROR"
    client.service.job("")
    assert follow(client.http, order(client.http)).json()["status"] == "COMPLETED"
