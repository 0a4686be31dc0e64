"""Pixazo's wire format: what is sent, what is refused before, and what answers mean."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.errors import (
    AnswerError,
    AuthenticationError,
    BadRequestError,
    Billed,
    BlockedError,
    ImageError,
    MaiError,
    OptionError,
    PaymentError,
    PromptError,
    ServiceError,
    SizeError,
)
from mai_image.mai.http import HttpAnswer
from mai_image.mai.models import CATALOGUE
from mai_image.mai.providers import PROVIDERS, Job, pixazo
from mai_image.mai.sizes import Size, off_by, ratio_of, size_problems
from mai_image.mai.types import Edit, Generate, Reference
from scripted_server import png

PIXAZO = PROVIDERS["pixazo"]
assert isinstance(PIXAZO, pixazo.Pixazo)

END = "https://gateway.pixazo.ai"
FOX = Generate("MAI-Image-2.5", "a red fox", 1024, 1024, seed=7)
IMAGE = Reference(b"\x89PNG bytes", "image/png", 800, 600)
NIGHT = Edit("MAI-Image-2.5", "make it night", (IMAGE,), seed=7)


def answer(body: object, status: int = 200, **headers: str) -> HttpAnswer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status, headers, data, 0.5)


def test_a_generation_sends_the_documented_fields_and_no_seed() -> None:
    request = PIXAZO.build(FOX, END, "", "")
    assert (request.method, request.url) == (
        "POST",
        f"{END}/microsoft-mai-image-2-5/v1/microsoft-mai-image-2-5-request",
    )
    assert request.json == {
        "prompt": "a red fox",
        "num_images": 1,
        "aspect_ratio": "1:1",
        "output_format": "png",
        "sync_mode": False,
    }


def test_an_edit_sends_its_image_as_a_data_uri_and_keeps_its_ratio() -> None:
    request = PIXAZO.build(NIGHT, END, "", "")
    assert (
        request.url == f"{END}/microsoft-mai-image-2-5-edit/v1/microsoft-mai-image-2-5-edit-request"
    )
    assert request.json is not None
    assert request.json["aspect_ratio"] == "auto"
    (uri,) = request.json["image_urls"]  # type: ignore[misc]
    assert uri == "data:image/png;base64," + base64.b64encode(IMAGE.data).decode()


@pytest.mark.parametrize(
    ("size", "ratio"),
    [
        ((1024, 1024), "1:1"),
        ((1360, 768), "16:9"),
        ((768, 1360), "9:16"),
        ((1152, 768), "3:2"),
        ((1024, 768), "4:3"),
        ((1024, 832), "5:4"),
        ((832, 1024), "4:5"),
        ((1040, 1008), "1:1"),
    ],
)
def test_a_size_becomes_the_nearest_ratio(size: tuple[int, int], ratio: str) -> None:
    assert pixazo.ratio_for(replace(FOX, width=size[0], height=size[1])) == ratio


@settings(max_examples=60)
@given(st.integers(48, 86), st.integers(48, 86))
def test_every_size_of_the_model_has_a_ratio_and_no_other_is_nearer(a: int, b: int) -> None:
    request = replace(FOX, width=a * 16, height=b * 16)
    size = Size(request.width, request.height)
    if size_problems(CATALOGUE["MAI-Image-2.5"], *size):
        return
    PIXAZO.validate(request)
    chosen = off_by(size, ratio_of(pixazo.ratio_for(request)))
    assert chosen <= Fraction(6, 5)
    assert chosen == min(off_by(size, ratio_of(one)) for one in pixazo.GENERATION_RATIOS)


def test_an_edits_size_becomes_a_ratio_of_the_shorter_list() -> None:
    assert pixazo.ratio_for(replace(NIGHT, size=(1280, 1024))) == "4:3"


@pytest.mark.parametrize(
    ("impossible", "kind", "word"),
    [
        (replace(FOX, model="MAI-Image-2.6"), OptionError, "no MAI-Image-2.6, only MAI-Image-2.5"),
        (replace(FOX, auto_aspect_ratio=True), OptionError, "auto_aspect_ratio"),
        (replace(FOX, web_grounding=True), OptionError, "web_grounding"),
        (replace(FOX, background="transparent"), OptionError, "transparent background"),
        (replace(FOX, prompt="ox"), PromptError, "3 to 5,000 characters"),
        (replace(FOX, prompt="  ox  "), PromptError, "3 to 5,000 characters"),
        (replace(FOX, prompt="x" * 5001), PromptError, "has 5,001"),
        (replace(FOX, width=3072, height=768), SizeError, "nearest is 21:9"),
        (replace(FOX, width=0, height=768), SizeError, "none is near"),
        (replace(NIGHT, images=(IMAGE, IMAGE)), ImageError, "exactly one reference"),
        (replace(NIGHT, images=()), ImageError, "exactly one reference"),
        (replace(NIGHT, size=(2000, 800)), SizeError, "nearest is 16:9"),
    ],
)
def test_what_the_gateway_cant_do_is_refused_with_a_sentence(
    impossible: Generate | Edit, kind: type[MaiError], word: str
) -> None:
    with pytest.raises(kind) as caught:
        PIXAZO.validate(impossible)
    assert word in caught.value.what
    assert caught.value.hint
    assert caught.value.billed is Billed.NO


@pytest.mark.parametrize("length", [3, 5000])
def test_prompts_at_both_ends_of_the_range_pass(length: int) -> None:
    request = replace(FOX, prompt="x" * length)
    PIXAZO.validate(request)
    sent = PIXAZO.build(request, END, "", "").json
    assert sent is not None
    assert sent["prompt"] == request.prompt


def test_a_202_gives_the_jobs_id() -> None:
    job = PIXAZO.read_job(
        answer({"request_id": "a1-b2", "status": "QUEUED", "polling_url": "x"}, 202)
    )
    assert (job.phase, job.job_id, job.media) == ("queued", "a1-b2", ())


@pytest.mark.parametrize(
    "bad", ["../../x", "a/b", "", "a?b", " ", ".", "x" * 129, 7, None, "a\r\nb"]
)
def test_an_id_that_could_change_the_address_is_none(bad: object) -> None:
    assert PIXAZO.read_job(answer({"request_id": bad, "status": "QUEUED"}, 202)).job_id is None


def test_the_status_address_is_made_from_the_endpoint_not_from_the_answer() -> None:
    assert PIXAZO.build_poll(END, "a1-b2").url == f"{END}/v2/requests/status/a1-b2"


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("QUEUED", "queued"),
        ("PROCESSING", "processing"),
        ("processing", "processing"),
        ("STARTING", "processing"),
        ("COMPLETED", "completed"),
        ("FAILED", "failed"),
        ("ERROR", "error"),
    ],
)
def test_every_status_has_its_phase(word: str, phase: str) -> None:
    assert PIXAZO.read_job(answer({"request_id": "a", "status": word})).phase == phase


@pytest.mark.parametrize(
    "body",
    [
        {"status": "COMPLETED", "output": {"media_url": ["https://m.pixazo.ai/1.png"]}},
        {"status": "COMPLETED", "output": {"media_url": "https://m.pixazo.ai/1.png"}},
        {"status": "COMPLETED", "media_url": ["https://m.pixazo.ai/1.png", 5, ""]},
        {"output": {"media_url": ["https://m.pixazo.ai/1.png"]}},
    ],
)
def test_the_images_address_is_found_in_each_form(body: dict[str, object]) -> None:
    job = PIXAZO.read_job(answer(body))
    assert (job.phase, job.media) == ("completed", ("https://m.pixazo.ai/1.png",))


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'"x"', b"{}", b"{" * 5000, b"null"])
def test_an_answer_of_another_shape_is_an_answer_error(body: bytes) -> None:
    with pytest.raises(AnswerError):
        PIXAZO.read_job(answer(body))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: json_values | st.sampled_from(["QUEUED", "COMPLETED", "x"])
            for name in ("request_id", "status", "output", "media_url", "error")
        },
    )
)
def test_no_json_object_raises_anything_but_an_answer_error(body: dict[str, object]) -> None:
    try:
        job = PIXAZO.read_job(answer(body))
    except AnswerError:
        return
    assert job.phase in ("queued", "processing", "completed", "failed", "error")


def test_a_result_says_how_far_the_ratio_and_the_size_are_off() -> None:
    request = replace(FOX, width=1040, height=816)
    result = PIXAZO.read_image(request, png(1024, 816), "a1", 12.0)
    assert (result.width, result.height, result.asked) == (1024, 816, (1040, 816))
    assert (result.request_id, result.seconds, result.usage) == ("a1", 12.0, None)
    assert result.cost_usd == CATALOGUE["MAI-Image-2.5"].estimate(request)
    assert any("aspect ratio 5:4" in note for note in result.notes)
    wide = PIXAZO.read_image(replace(FOX, width=1360, height=768), png(1360, 768), "a1", 12.0)
    assert any("1360 x 768, sent as aspect ratio 16:9, 0.4 % off" in note for note in wide.notes)
    assert not any("the service sent" in note for note in wide.notes)


def test_a_size_that_came_as_asked_needs_only_the_note_on_the_price() -> None:
    assert len(PIXAZO.read_image(FOX, png(), "a1", 1.0).notes) == 1


def test_a_data_uri_is_decoded_and_an_address_is_not() -> None:
    uri = "data:image/png;base64," + base64.b64encode(b"abc").decode()
    assert PIXAZO.read_data_uri(uri) == b"abc"
    assert PIXAZO.read_data_uri("https://m.pixazo.ai/1.png") is None


@pytest.mark.parametrize(
    "uri", ["data:image/png;base64,a", "data:text/html;base64,YWJj", "data:,x", "DATA:image/png;x"]
)
def test_a_damaged_or_foreign_data_uri_is_an_answer_error(uri: str) -> None:
    with pytest.raises(AnswerError):
        PIXAZO.read_data_uri(uri)


@pytest.mark.parametrize(
    ("status", "kind", "word"),
    [
        (400, BadRequestError, "Model not found"),
        (401, AuthenticationError, "Pixazo account"),
        (402, PaymentError, "Top up"),
        (403, ServiceError, "subscription"),
        (429, ServiceError, "requests_a_minute"),
    ],
)
def test_a_refusal_speaks_of_pixazo_and_is_not_billed(
    status: int, kind: type[MaiError], word: str
) -> None:
    error = PIXAZO.error_for(answer({"error": "Model not found", "message": "No."}, status))
    assert isinstance(error, kind)
    assert word in str(error)
    assert "az login" not in str(error)
    assert error.billed is Billed.NO


def test_a_500_on_the_order_is_perhaps_billed() -> None:
    assert PIXAZO.error_for(answer(b"", 500)).billed is Billed.PERHAPS


def job(phase: str, reason: str = "") -> Job:
    return Job(phase, "a1", (), reason)


def test_an_error_is_not_charged_and_a_failure_perhaps() -> None:
    assert PIXAZO.job_error(job("error", "boom")).billed is Billed.NO
    assert PIXAZO.job_error(job("failed", "boom")).billed is Billed.PERHAPS
    assert '"boom"' in str(PIXAZO.job_error(job("failed", "boom")))


@pytest.mark.parametrize(
    "text", ["NSFW content detected", "content_policy_violation", "moderation"]
)
def test_a_job_that_the_filter_stopped_is_a_block(text: str) -> None:
    error = PIXAZO.job_error(job("error", text))
    assert isinstance(error, BlockedError)
    assert error.billed is Billed.NO
    assert isinstance(PIXAZO.job_error(job("failed", text)), BlockedError)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"code": "Odd", "message": "the oven is cold"}}, ServiceError),
        ({"error": "Odd", "message": "the oven is cold"}, ServiceError),
        ({"status": "FAILED", "error": "the oven is cold"}, ServiceError),
        ({"error": "content_policy_violation", "message": "the oven is cold"}, BlockedError),
    ],
)
def test_an_error_inside_a_200_keeps_what_the_gateway_said(
    body: dict[str, object], kind: type[ServiceError]
) -> None:
    with pytest.raises(kind) as caught:
        PIXAZO.read(FOX, answer(body, 200))
    assert "the oven is cold" in str(caught.value)
    assert caught.value.billed is Billed.PERHAPS


def test_a_poll_that_answers_with_an_error_ends_no_job() -> None:
    with pytest.raises(AnswerError):
        PIXAZO.read_job(answer({"error": "Odd", "message": "the oven is cold"}, 200))
