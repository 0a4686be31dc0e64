"""fal and OpenRouter as the emulator plays them: strict about keys, fields and sizes."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from mai_image import emulator
from mai_image.emulator import Emulator, Options
from scripted_server import png

TEXT = "/microsoft/mai-image-2.7/text-to-image"
EDIT = "/microsoft/mai-image-2.7/edit"
IMAGES = "/api/v1/images"
URI = f"data:image/png;base64,{base64.b64encode(png(800, 800)).decode()}"
REFERENCE = {"type": "image_url", "image_url": {"url": URI}}


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    with emulator.start() as service:
        yield service


@pytest.fixture
def played(shared: Emulator) -> Emulator:
    shared.log.clear()
    return shared


def call(played: Emulator, path: str, body: Any = None, method: str = "", key: str = "") -> Any:
    """Status and JSON of an answer."""
    key = key or ("Bearer emulator" if path.startswith("/api") else "Key emulator")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        played.url + path,
        data,
        {"Authorization": key, "Content-Type": "application/json"},
        method=method or ("GET" if data is None else "POST"),
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


WRONG_AT_FAL = [
    ({}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": "x", "seed": 1}, "seed"),
    ({"prompt": "x", "num_images": 1}, "num_images"),
    ({"prompt": "x", "background": "transparent"}, "background"),
    ({"prompt": "x", "image_size": "huge"}, "image_size"),
    ({"prompt": "x", "image_size": {"width": 767, "height": 1024}}, "image_size"),
    ({"prompt": "x", "image_size": {"width": 2049, "height": 2048}}, "image_size"),
    ({"prompt": "x", "image_size": {"width": 1024}}, "image_size"),
    ({"prompt": "x", "image_size": {"width": 1024.5, "height": 1024}}, "image_size"),
    ({"prompt": "x", "output_format": "gif"}, "output_format"),
    ({"prompt": "x", "image_urls": [URI]}, "image_urls"),
]


@pytest.mark.parametrize(("body", "field"), WRONG_AT_FAL)
def test_fal_names_the_field_that_is_wrong_and_bills_nothing(
    played: Emulator, body: Any, field: str
) -> None:
    status, answer = call(played, TEXT, body)
    assert status == 422
    assert answer["detail"][0]["loc"] == ["body", field]
    assert played.log.billed == 0


@pytest.mark.parametrize("urls", [None, [], [URI] * 6, ["https://x.example/a.png"], [5]])
def test_fals_edit_takes_one_to_five_data_uris(played: Emulator, urls: Any) -> None:
    status, answer = call(played, EDIT, {"prompt": "x", "image_urls": urls})
    assert (status, answer["detail"][0]["loc"]) == (422, ["body", "image_urls"])


def test_a_job_of_fal_goes_through_its_states_and_is_billed_rounded_up() -> None:
    now = [0.0]
    options = Options(queued=5, processing=5)
    with emulator.Emulator(options=options, clock=lambda: now[0]) as played:
        size = {"width": 1366, "height": 768}
        status, receipt = call(played, TEXT, {"prompt": "x", "image_size": size})
        assert (status, receipt["status"], receipt["queue_position"]) == (200, "IN_QUEUE", 0)
        own = receipt["response_url"].removeprefix(played.url)
        for at, word in ((1, "IN_QUEUE"), (6, "IN_PROGRESS")):
            now[0] = at
            assert call(played, f"{own}/status")[1]["status"] == word
            assert call(played, own)[0] == 400
        assert call(played, f"{own}/cancel", method="PUT")[0] == 400
        now[0] = 11
        assert call(played, f"{own}/status")[1]["status"] == "COMPLETED"
        (image,) = call(played, own)[1]["images"]
        assert (image["width"], image["height"]) == (1360, 768)
        assert played.log.billed_usd == 0.0347
        request = urllib.request.Request(image["url"], headers={"Authorization": "Key emulator"})
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request)
        with urllib.request.urlopen(image["url"]) as file:
            assert file.read(4) == b"\x89PNG"


def test_a_job_of_fal_is_dropped_in_the_queue_alone(played: Emulator) -> None:
    _, receipt = call(played, TEXT, {"prompt": "x [[job queued=60]]"})
    own = receipt["response_url"].removeprefix(played.url)
    assert played.log.billed == 1
    status, answer = call(played, f"{own}/cancel", method="PUT")
    assert (status, answer["status"]) == (202, "CANCELLATION_REQUESTED")
    assert (played.log.billed, played.log.billed_usd) == (0, pytest.approx(0.0))
    assert call(played, f"{own}/status")[0] == 404
    assert call(played, f"{own}/cancel", method="PUT")[0] == 400


@pytest.mark.parametrize("key", ["Key wrong", "Bearer emulator", "emulator", "key emulator"])
def test_fal_wants_its_key_everywhere(played: Emulator, key: str) -> None:
    own = "/microsoft/mai-image-2.7/requests/x"
    assert call(played, TEXT, {"prompt": "x"}, key=key)[0] == 401
    for path in (own, f"{own}/status"):
        assert call(played, path, key=key)[0] == 401
    assert call(played, f"{own}/cancel", method="PUT", key=key)[0] == 401


SLUG = "microsoft/mai-image-2.7"
WRONG_AT_OPENROUTER = [
    ({}, 400, "model"),
    ({"model": "microsoft/mai-image-2.5", "prompt": "x"}, 404, "endpoints"),
    ({"model": SLUG}, 400, "prompt"),
    ({"model": SLUG, "prompt": "x", "seed": 1}, 400, "seed"),
    ({"model": SLUG, "prompt": "x", "n": 2}, 400, "n"),
    ({"model": SLUG, "prompt": "x", "size": "767x1024"}, 400, "width"),
    ({"model": SLUG, "prompt": "x", "size": "2049x2048"}, 400, "2049x2048"),
    ({"model": SLUG, "prompt": "x", "size": "1024x1024", "resolution": "1K"}, 400, "size"),
    ({"model": SLUG, "prompt": "x", "aspect_ratio": "5:4"}, 400, "aspect_ratio"),
    ({"model": SLUG, "prompt": "x", "resolution": "4K"}, 400, "resolution"),
    ({"model": SLUG, "prompt": "x", "background": "auto"}, 400, "background"),
    ({"model": SLUG, "prompt": "x", "input_references": [REFERENCE] * 6}, 400, "references"),
    ({"model": SLUG, "prompt": "x", "input_references": [URI]}, 400, "image_url"),
    ({"model": "microsoft/mai-image-2.6", "prompt": "x", "size": "1024x1024"}, 400, "size"),
    ({"model": "microsoft/mai-image-2.6", "prompt": "x", "background": "opaque"}, 400, "backgr"),
    ({"model": "microsoft/mai-image-2.6", "prompt": "x", "resolution": "2K"}, 400, "resolution"),
]


@pytest.mark.parametrize(("body", "status", "said"), WRONG_AT_OPENROUTER)
def test_openrouter_says_what_is_wrong_and_bills_nothing(
    played: Emulator, body: Any, status: int, said: str
) -> None:
    found, answer = call(played, IMAGES, body)
    assert (found, answer["error"]["code"]) == (status, status)
    assert said in answer["error"]["message"]
    assert played.log.billed == 0


def test_openrouter_says_what_was_charged(played: Emulator) -> None:
    _, answer = call(
        played, IMAGES, {"model": SLUG, "prompt": "x", "input_references": [REFERENCE]}
    )
    assert answer["usage"]["cost"] == played.log.billed_usd > 0
    assert answer["data"][0]["media_type"] == "image/png"


@pytest.mark.parametrize("key", ["Bearer wrong", "Key emulator", "emulator"])
def test_openrouter_wants_its_key(played: Emulator, key: str) -> None:
    assert call(played, IMAGES, {"model": SLUG, "prompt": "x"}, key=key)[0] == 401


def test_openrouter_lists_what_a_model_takes(played: Emulator) -> None:
    for slug, has_size in ((SLUG, True), ("microsoft/mai-image-2.6", False)):
        _, answer = call(played, f"{IMAGES}/models/{slug}/endpoints")
        (endpoint,) = answer["data"]["endpoints"]
        assert ("size" in endpoint["supported_parameters"]) is has_size


def test_an_empty_account_is_a_402_at_both() -> None:
    with emulator.start(options=Options(balance=0.0)) as played:
        assert call(played, TEXT, {"prompt": "x"})[0] == 402
        assert call(played, IMAGES, {"model": SLUG, "prompt": "x"})[0] == 402
        assert played.log.billed == 0
