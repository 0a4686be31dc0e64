"""Requests become the HTTP that the service documents, its answers become results or errors."""

from __future__ import annotations

import base64
import dataclasses
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mai_image.mai.errors import (
    AnswerError,
    AuthenticationError,
    BadRequestError,
    Billed,
    BlockedError,
    CallTimeoutError,
    ForbiddenError,
    MaiError,
    NotFoundError,
    RateLimitError,
    ServiceError,
    UnavailableError,
    UnreadableError,
)
from mai_image.mai.http import HttpAnswer, HttpRequest
from mai_image.mai.models import CATALOGUE
from mai_image.mai.providers import PROVIDERS, refusal
from mai_image.mai.types import Edit, Generate, Reference, Request, Result, Usage
from scripted_server import error_body, image_body, png

ENDPOINT = "https://r.services.ai.azure.com"
GENERATE = Generate("MAI-Image-2.6", "a cat", 1024, 768, seed=7)
REFERENCES = (
    Reference(b"one", "image/png", 10, 10),
    Reference(b"two", "image/jpeg", 20, 20),
)
EDIT = Edit("MAI-Image-2.6", "a hat", REFERENCES, seed=7)
USAGE = {"num_output_tokens": 768, "num_input_text_tokens": 10, "num_input_image_tokens": 3}


FOUNDRY = PROVIDERS["foundry"]


def build(request: Request, endpoint: str, deployment: str, call_id: str = "id") -> HttpRequest:
    return FOUNDRY.build(request, endpoint, deployment, call_id)


def read(answer: HttpAnswer, request: Request) -> Result:
    found = FOUNDRY.read(request, answer)
    assert isinstance(found, Result)
    return found


def answer(status: int = 200, body: bytes = b"", **headers: str) -> HttpAnswer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status, names, body, 1.5)


def good(image: bytes | None = None, usage: dict[str, int] | None = None) -> HttpAnswer:
    return answer(200, image_body(image or png(1024, 768), usage), apim_request_id="abc")


def test_generation_sends_deployment_prompt_and_size_and_nothing_else():
    request = build(GENERATE, ENDPOINT, "my-deployment")
    assert request.method == "POST"
    assert request.url == f"{ENDPOINT}/mai/v1/images/generations"
    expected = {"model": "my-deployment", "prompt": "a cat", "width": 1024, "height": 768}
    assert request.json == expected
    assert not request.files


def test_options_are_sent_only_where_they_are_on():
    request = Generate("MAI-Image-2.6", "x", 1024, 768, 0, True, True)
    sent = build(request, ENDPOINT, "d")
    expected = {"model": "d", "prompt": "x", "auto_aspect_ratio": True, "web_grounding": True}
    assert sent.json == expected


def test_edit_sends_every_file_as_image_in_order():
    request = build(EDIT, ENDPOINT, "d")
    assert request.url == f"{ENDPOINT}/mai/v1/images/edits"
    assert request.json is None
    assert dict(request.fields) == {"model": "d", "prompt": "a hat"}
    sent = [(part.field_name, part.data, part.media_type) for part in request.files]
    assert sent == [("image", b"one", "image/png"), ("image", b"two", "image/jpeg")]


def test_edit_sends_size_and_options_only_when_asked():
    request = Edit("MAI-Image-2.6", "x", REFERENCES, 0, (1024, 768), True, True)
    fields = dict(build(request, ENDPOINT, "d").fields)
    assert fields["size"] == "1024x768"
    assert fields["auto_aspect_ratio"] == fields["web_grounding"] == "true"


def test_a_background_is_sent_only_where_it_is_transparent():
    opaque = Generate("MAI-Image-2.7", "x", 1024, 768)
    assert "background" not in build(opaque, ENDPOINT, "d").json
    clear = replace(opaque, background="transparent")
    assert build(clear, ENDPOINT, "d").json["background"] == "transparent"
    edit = Edit("MAI-Image-2.7", "x", REFERENCES, background="transparent")
    assert dict(build(edit, ENDPOINT, "d").fields)["background"] == "transparent"


def test_image_comes_back_as_the_bytes_that_were_sent():
    image = png(1024, 768)
    result = read(good(image, USAGE), GENERATE)
    assert result.image == image
    assert (result.width, result.height) == (1024, 768)
    assert result.request_id == "abc"
    assert result.usage == Usage(10, 3, 768)
    assert result.cost_usd == pytest.approx((10 * 5 + 3 * 8 + 768 * 38) / 1e6)
    assert result.notes == ()


def test_usage_at_the_top_level_counts():
    body = json.loads(image_body(png(1024, 768)))
    result = read(answer(body=json.dumps({**body, "num_output_tokens": 768}).encode()), GENERATE)
    assert result.usage == Usage(0, 0, 768)


def test_without_usage_the_cost_is_an_estimate_and_says_so():
    result = read(good(), GENERATE)
    assert result.usage is None
    assert result.cost_usd == pytest.approx(768 * 38 / 1e6, rel=0.01)
    assert "estimate" in result.notes[0]


def test_image_of_another_size_is_kept_with_a_note():
    result = read(good(png(1008, 768), USAGE), GENERATE)
    assert (result.width, result.height) == (1008, 768)
    assert result.notes == ("asked for 1024x768, the service sent 1008x768",)


def test_answer_of_another_model_is_noted():
    body = {**json.loads(image_body(png(1024, 768), USAGE)), "model": "MAI-Image-2e"}
    result = read(answer(body=json.dumps(body).encode()), GENERATE)
    assert "MAI-Image-2e" in result.notes[0]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


ODD_BODIES = {
    "nothing": b"",
    "html": b"<html>hi</html>",
    "a list": b"[]",
    "null": b"null",
    "a number": b"5",
    "no data": b"{}",
    "data is null": b'{"data": null}',
    "data is an object": b'{"data": {"b64_json": "x"}}',
    "a string in data": b'{"data": ["x"]}',
    "no image": b'{"data": [{}]}',
    "image is null": b'{"data": [{"b64_json": null}]}',
    "image is a number": b'{"data": [{"b64_json": 5}]}',
    "empty image": b'{"data": [{"b64_json": ""}]}',
    "url instead": b'{"data": [{"url": "https://x/y.png"}]}',
    "deep json": b"[" * 100_000,
    "wrong encoding": b'{"data": "\xff\xfe"}',
}


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES.keys())
def test_odd_answer_is_an_answer_error_that_may_be_billed(body: bytes):
    with pytest.raises(AnswerError) as caught:
        read(answer(body=body, content_type="text/html; charset=x"), GENERATE)
    assert type(caught.value) is AnswerError
    assert caught.value.billed is Billed.PERHAPS
    assert caught.value.hint


UNREADABLE = {
    "not base64": b"!!!!",
    "cut base64": b64(png(16, 16))[:-3].encode(),
    "cut image": png(16, 16)[:-9],
    "wrong checksum": png(16, 16)[:-20] + b"x" + png(16, 16)[-19:],
    "gif": b"GIF89a" + bytes(99),
    "webp": b"RIFF\x10\0\0\0WEBPVP8L" + bytes(9),
}


@pytest.mark.parametrize(
    "body",
    [image_body(png(16, 16))[:-10], image_body(png(64, 64))[:-60], png(16, 16), b"RIFFxxxxWEBP"],
    ids=["cut JSON", "JSON cut in the image", "a bare PNG", "a bare WebP"],
)
def test_an_answer_with_an_image_that_is_no_json_is_handed_over_whole(body: bytes):
    with pytest.raises(UnreadableError) as caught:
        read(answer(body=body), GENERATE)
    assert caught.value.received == body


@pytest.mark.parametrize(
    "body", [b'{"data": [{"b64_json": ""', b'{"data": [{"b64_json": "', b"<html>", b""]
)
def test_an_answer_without_an_image_that_is_no_json_is_perhaps_billed(body: bytes):
    with pytest.raises(AnswerError) as caught:
        read(answer(body=body), GENERATE)
    assert caught.value.billed is Billed.PERHAPS


@pytest.mark.parametrize("received", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_image_that_cant_be_read_is_paid_for_and_handed_over(received: bytes):
    is_image = received[:1] in (b"\x89", b"G", b"R")
    text = b64(received) if is_image else received.decode()
    body = json.dumps({"data": [{"b64_json": text}]}).encode()
    with pytest.raises(UnreadableError) as caught:
        read(answer(body=body), GENERATE)
    assert caught.value.billed is Billed.YES
    assert caught.value.received == received


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_usage_of_any_shape_never_crashes(odd: object):
    body = {**json.loads(image_body(png(16, 16))), "usage": {"num_output_tokens": odd}}
    result = read(answer(body=json.dumps(body).encode()), GENERATE)
    assert result.cost_usd is not None
    assert result.cost_usd >= 0


@given(st.integers(0, 999), st.binary(max_size=300))
def test_any_answer_is_an_image_or_an_error_of_the_tree(status: int, body: bytes):
    with pytest.raises(MaiError):
        read(answer(status, body), GENERATE)


REFUSALS: list[tuple[int, bytes, type[ServiceError], str]] = [
    (
        400,
        error_body(
            "unsupported_request_value",
            "Model does not support request parameter value supplied: "
            "'width' must be at least 768 pixels.",
        ),
        BadRequestError,
        "Size Helper",
    ),
    (
        400,
        error_body(
            "", "Invalid dimensions 2048x2048: total pixel count (4194304) exceeds the maximum"
        ),
        BadRequestError,
        "Size Helper",
    ),
    (
        400,
        error_body(
            "unsupported_request_argument",
            "Model does not support request argument supplied: Invalid parameters: seed",
        ),
        BadRequestError,
        "option",
    ),
    (400, error_body("unrecognized_request_argument", "n2"), BadRequestError, "option"),
    (400, error_body("missing_required_parameter", "prompt"), BadRequestError, "prompt"),
    (
        400,
        error_body(
            "", "Invalid request. Error => Only 1 to 5 image files are supported for edit requests."
        ),
        BadRequestError,
        "1 to 5",
    ),
    (
        400,
        error_body("", "Exactly one image file must be attached for edit requests"),
        BadRequestError,
        "one reference",
    ),
    (
        400,
        error_body("content_safety_violation", "Input content violated mainline safety policies."),
        BlockedError,
        "prompt or the references",
    ),
    (
        400,
        error_body(
            "content_safety_violation",
            "Response content blocked by label 'MultiSeverity_ViolenceScore'.",
        ),
        BlockedError,
        "seed",
    ),
    (400, error_body("contentFilter", "x"), BlockedError, "seed"),
    (400, error_body("content_policy_violation", "x"), BlockedError, "seed"),
    (400, error_body("moderation_blocked", "x"), BlockedError, "seed"),
    (
        400,
        b'{"error":{"message":"m","innererror":{"code":"ResponsibleAIPolicyViolation"}}}',
        BlockedError,
        "seed",
    ),
    (400, b"<html>Bad Request</html>", BadRequestError, "doctor"),
    (400, b"", BadRequestError, "doctor"),
    (401, error_body("401", "Access denied due to invalid key"), AuthenticationError, "key"),
    (403, error_body("AuthorizationFailed", "no role"), ForbiddenError, "role"),
    (404, error_body("DeploymentNotFound", "The API deployment"), NotFoundError, "deployment"),
    (404, error_body("unknown_model", "x"), NotFoundError, "services.ai.azure.com"),
    (408, error_body("Timeout", "The operation was timeout."), CallTimeoutError, "web_grounding"),
    (410, b"", BadRequestError, "doctor"),
    (413, b"", BadRequestError, "smaller"),
    (429, error_body("429", "Rate limit"), RateLimitError, "quota"),
    (499, error_body("client_connection_closed", "x"), UnavailableError, "again"),
    (500, b"", UnavailableError, "queue again"),
    (502, b"<html>Bad Gateway</html>", UnavailableError, "queue again"),
    (503, b"", UnavailableError, "queue again"),
    (504, b"", UnavailableError, "queue again"),
    (307, b"", ServiceError, "endpoint"),
    (418, b'{"error": "teapot", "message": "short"}', BadRequestError, "doctor"),
]


@pytest.mark.parametrize(("status", "body", "kind", "hint"), REFUSALS)
def test_each_refusal_is_its_own_error_with_a_hint(
    status: int, body: bytes, kind: type[ServiceError], hint: str
):
    error = refusal(answer(status, body, x_ms_request_id="id-1"))
    assert type(error) is kind
    assert hint in error.hint
    assert error.status == status
    assert "id-1" in str(error)


def test_a_400_about_the_size_of_an_edit_is_told_from_one_about_dimensions():
    request = dataclasses.replace(EDIT, size=(1024, 768))

    def without(code: str, message: str) -> Request | None:
        return FOUNDRY.without_refused_field(request, answer(400, error_body(code, message)))

    assert without("unsupported_request_argument", "Invalid parameters: size") == EDIT
    assert without("unsupported_request_argument", "Invalid parameters: web_grounding") is None
    assert without("", "Invalid dimensions: the size is too large") is None


def test_the_probe_names_the_deployment_and_no_prompt():
    assert FOUNDRY.probe(ENDPOINT).json == {}
    assert FOUNDRY.probe(ENDPOINT, "d").json == {"model": "d"}


def test_a_long_or_odd_message_is_cut_and_made_printable():
    error = refusal(answer(400, error_body("x", "a\x1b[31m\n" + "b" * 5000)))
    assert "\x1b" not in str(error)
    assert len(str(error)) < 1500


def test_the_estimate_of_a_model_is_the_price_that_its_list_gives():
    prices = {m.name: m.estimate(Generate(m.name, "", 1024, 1024)) for m in CATALOGUE.values()}
    for name, usd in (
        ("MAI-Image-2.6", 0.039),
        ("MAI-Image-2.6-Flash", 0.0195),
        ("MAI-Image-2.5", 0.048),
        ("MAI-Image-2.5-Flash", 0.020),
        ("MAI-Image-2.5-Pro", 0.109),
        ("MAI-Image-2e", 0.020),
        ("MAI-Image-2", 0.034),
    ):
        assert prices[name] == pytest.approx(usd, abs=0.0006)
    large = next(m for m in CATALOGUE.values() if m.name == "MAI-Image-2.6")
    assert large.estimate(Generate(large.name, "", 1536, 1536)) == pytest.approx(0.088, abs=0.0006)
