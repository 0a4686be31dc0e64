"""fal's wire format: what is sent, what is refused before, and what answers mean."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from mai_image.mai.errors import (
    AnswerError,
    Billed,
    BlockedError,
    ForbiddenError,
    OptionError,
    PaymentError,
    ServiceError,
)
from mai_image.mai.http import HttpAnswer
from mai_image.mai.providers import PROVIDERS, Job, JobProvider
from mai_image.mai.types import TRANSPARENT, Edit, Generate, Reference
from scripted_server import png

FAL = PROVIDERS["fal"]
assert isinstance(FAL, JobProvider)

END = "https://queue.fal.run"
OWN = f"{END}/microsoft/mai-image-2.7/requests/r1"
FOX = Generate("MAI-Image-2.7", "a fox", 1360, 768, seed=7)
HAT = Edit("MAI-Image-2.7", "a hat", (Reference(b"one", "image/png", 1024, 1024),) * 5)


def answer(body: object, status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def receipt(**more: object) -> HttpAnswer:
    return answer({"request_id": "r1", "status": "IN_QUEUE", **more})


def test_a_generation_has_its_prompt_and_size_and_no_seed() -> None:
    request = FAL.build(FOX, END, "", "")
    assert (request.method, request.url) == ("POST", f"{END}/microsoft/mai-image-2.7/text-to-image")
    size = {"width": 1360, "height": 768}
    assert request.json == {"prompt": "a fox", "image_size": size, "output_format": "png"}


def test_an_edit_has_every_reference_as_a_data_uri_and_a_size_only_if_one_is_asked_for() -> None:
    request = FAL.build(HAT, END, "", "")
    assert request.url == f"{END}/microsoft/mai-image-2.7/edit"
    assert request.json is not None
    assert request.json["image_urls"] == ["data:image/png;base64,b25l"] * 5
    assert "image_size" not in request.json
    sized = FAL.build(replace(HAT, size=(800, 768)), END, "", "").json
    assert sized is not None
    assert sized["image_size"] == {"width": 800, "height": 768}


@pytest.mark.parametrize(
    "request_",
    [
        replace(FOX, model="MAI-Image-2.6"),
        replace(FOX, model="MAI-Image-2.7-Flash"),
        replace(FOX, background=TRANSPARENT),
        replace(FOX, auto_aspect_ratio=True),
        replace(HAT, web_grounding=True),
    ],
)
def test_what_fal_lacks_is_refused_before_anything_is_sent(request_: Generate | Edit) -> None:
    with pytest.raises(OptionError, match="fal has"):
        FAL.validate(request_)


def addresses(job: object) -> list[tuple[str, str]]:
    assert isinstance(job, Job)
    assert job.job_id is not None
    builds = (FAL.build_poll, FAL.build_result, FAL.build_cancel)
    return [(one.method, one.url) for one in (build(END, job.job_id) for build in builds)]  # type: ignore[union-attr]


USUAL = [("GET", f"{OWN}/status"), ("GET", OWN), ("PUT", f"{OWN}/cancel")]


def test_a_jobs_addresses_are_those_of_fals_pages() -> None:
    job = FAL.read(FOX, receipt())
    assert job == Job("queued", "r1")
    assert addresses(job) == USUAL
    links = {"status_url": f"{OWN}/status", "response_url": OWN, "cancel_url": f"{OWN}/cancel"}
    assert FAL.read(FOX, receipt(**links)) == Job("queued", "r1")


def test_a_gateways_own_addresses_are_taken_below_the_endpoint_alone() -> None:
    own = {"status_url": f"{END}/a/1", "response_url": f"{END}/b/1", "cancel_url": f"{END}/c/1"}
    assert addresses(FAL.read(FOX, receipt(**own))) == [
        ("GET", f"{END}/a/1"), ("GET", f"{END}/b/1"), ("PUT", f"{END}/c/1"),
    ]  # fmt: skip
    for bad in ("https://evil.example/a", f"{END}.evil.example/a", f"{END}@evil.example/a",
                f"{END}/../a", "http://queue.fal.run/a", 5, "", f"{END}/a b"):  # fmt: skip
        wrong = dict.fromkeys(own, bad)
        assert addresses(FAL.read(FOX, receipt(**wrong))) == USUAL, bad


@pytest.mark.parametrize(
    ("body", "phase"),
    [
        ({"status": "IN_QUEUE"}, "queued"),
        ({"status": "IN_PROGRESS"}, "processing"),
        ({"status": "SOMETHING_NEW"}, "processing"),
        ({"status": "COMPLETED"}, "completed"),
        ({"status": "COMPLETED", "error": None}, "completed"),
        ({"status": "COMPLETED", "error": "it broke"}, "failed"),
        ({"status": "COMPLETED", "error": "Request was cancelled"}, "cancelled"),
        ({"status": "CANCELED"}, "cancelled"),
        ({"images": [{"url": "https://v3.fal.media/a.png"}]}, "completed"),
    ],
)
def test_a_status_names_the_jobs_phase(body: object, phase: str) -> None:
    assert FAL.read_job(answer(body)).phase == phase


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", {}, {"status": 5}, {"x": 1}])
def test_a_status_without_a_job_is_unusable(body: object) -> None:
    with pytest.raises(AnswerError):
        FAL.read_job(answer(body))


@pytest.mark.parametrize(
    ("status", "body", "phase"),
    [
        (200, {"images": [{"url": "https://v3.fal.media/a.png"}]}, "completed"),
        (200, {"images": []}, "completed"),
        (200, {"detail": "nothing"}, "failed"),
        (422, {"detail": [{"loc": ["body"], "msg": "x", "type": "y"}]}, "failed"),
        (422, {"detail": "Request was cancelled by the user"}, "cancelled"),
        (400, {"detail": "Request was cancelled"}, "cancelled"),
    ],
)
def test_a_result_has_media_or_says_how_the_job_ended(
    status: int, body: object, phase: str
) -> None:
    job = FAL.read_result(answer(body, status))
    assert job is not None
    assert job.phase == phase


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, {"detail": "Request is still in progress"}), (404, {"detail": "x"}), (500, b""),
     (422, b"<html>"), (503, {"detail": "x"})],
)  # fmt: skip
def test_a_result_that_decides_nothing_is_asked_for_again(status: int, body: object) -> None:
    assert FAL.read_result(answer(body, status)) is None


def test_the_price_is_that_of_the_image_that_came_rounded_up() -> None:
    result = FAL.read_image(FOX, png(1360, 768), "r1", 1.0)
    # 1020 output tokens at $34, and 5 + 16 for the prompt at $5, a million: 0.034785
    assert result.cost_usd == 0.0348
    assert "the most that they come to" in result.notes[-1]
    smaller = FAL.read_image(FOX, png(768, 768), "r1", 1.0)
    assert smaller.cost_usd == 0.0197
    assert smaller.notes[0] == "asked for 1360x768, the service sent 768x768"


def refused(status: int, body: object) -> ServiceError:
    return FAL.error_for(answer(body, status))


def wrong(field: str, kind: str) -> object:
    return {"detail": [{"loc": ["body", field], "msg": "No.", "type": kind}]}


def test_a_refusal_that_names_a_field_is_free() -> None:
    for field in ("image_size", "image_urls", "output_format"):
        error = refused(422, wrong(field, "int_type"))
        assert error.billed is Billed.NO
        assert '"No."' in error.what
    assert refused(422, {"detail": "No."}).billed is Billed.PERHAPS
    assert refused(422, b"").billed is Billed.PERHAPS


def test_a_blocked_prompt_is_perhaps_billed() -> None:
    error = refused(422, wrong("prompt", "content_policy_violation"))
    assert isinstance(error, BlockedError)
    assert error.billed is Billed.PERHAPS


def test_an_empty_balance_is_explained_whichever_status_says_it() -> None:
    for status in (402, 403):
        error = refused(status, {"detail": "User is locked. Reason: Exhausted balance."})
        assert isinstance(error, PaymentError)
        assert error.billed is Billed.NO
        assert "fal.ai/dashboard/billing" in error.hint
    assert isinstance(refused(403, {"detail": "No access"}), ForbiddenError)


def test_an_order_without_an_id_is_perhaps_billed() -> None:
    for body in ({}, {"status": "IN_QUEUE"}, {"request_id": "a b"}, {"request_id": "../x"}):
        with pytest.raises(ServiceError) as caught:
            FAL.read(FOX, answer(body))
        assert caught.value.billed is Billed.PERHAPS
