"""What a call without an image may cost: Microsoft's list, and nothing on trust."""

from __future__ import annotations

import itertools
import json
import logging

import pytest
from mai_image.mai.errors import AnswerError, Billed, BlockedError, CallTimeoutError, ServiceError
from mai_image.mai.http import HttpAnswer
from mai_image.mai.models import CATALOGUE
from mai_image.mai.providers import PROVIDERS, refusal, was_not_begun
from mai_image.mai.types import Edit, Generate, Reference, Result, Usage
from scripted_server import error_body, image_body, png

GENERATE = Generate("MAI-Image-2.6", "a cat", 1024, 768, seed=7)
EDIT = Edit("MAI-Image-2.5", "a hat", (Reference(b"one", "image/png", 1024, 1024),), seed=7)
USAGE = {"num_output_tokens": 768, "num_input_text_tokens": 10, "num_input_image_tokens": 3}
BEFORE = "Client has closed connection before request was sent."


def answer(status: int, body: bytes = b"", **headers: str) -> HttpAnswer:
    return HttpAnswer(status, {name.replace("_", "-"): headers[name] for name in headers}, body)


def read(body: dict[str, object], request: Generate | Edit = GENERATE) -> Result:
    found = PROVIDERS["foundry"].read(request, answer(200, json.dumps(body).encode()))
    assert isinstance(found, Result)
    return found


def error_of(body: dict[str, object], request: Generate = GENERATE) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        read(body, request)
    return caught.value


def with_image(**more: object) -> dict[str, object]:
    body: dict[str, object] = json.loads(image_body(png(1024, 768), USAGE))
    return {**body, **more}


FREE = {
    "401": answer(401),
    "402": answer(402),
    "403": answer(403, b"<html>"),
    "404": answer(404, error_body("DeploymentNotFound", "x")),
    "410": answer(410),
    "429": answer(429),
    "503 with a time": answer(503, retry_after="5"),
    "503 with a date": answer(503, retry_after="Fri, 20 Nov 2026 12:00:00 GMT"),
    "499 not sent on": answer(499, error_body("client_connection_closed", BEFORE)),
    "value": answer(400, error_body("unsupported_request_value", "'width' must be at least 768")),
    "argument": answer(400, error_body("unsupported_request_argument", "Invalid parameters: n")),
    "new unsupported": answer(400, error_body("unsupported_request_thing", "")),
    "unrecognized": answer(400, error_body("unrecognized_request_argument", "n2")),
    "missing": answer(400, error_body("missing_required_parameter", "prompt")),
    "dimensions": answer(
        400, error_body("", "Invalid dimensions 2048x2048: total pixel count (9)")
    ),
    "six files": answer(400, error_body("", "Only 1 to 5 image files are supported for edits.")),
    "no file": answer(400, error_body("", "File must be attached in a form field with a name")),
    "one file": answer(400, error_body("", "Exactly one image file must be attached")),
}

PERHAPS = {
    "408": answer(408, error_body("Timeout", "The operation was timeout.")),
    "408 with a time": answer(408, retry_after="5"),
    "499": answer(499),
    "499 by its code alone": answer(499, error_body("client_connection_closed", "closed")),
    "503": answer(503),
    "503 with an odd time": answer(503, retry_after="soon"),
    "500": answer(500),
    "504": answer(504, retry_after="5"),
    "413": answer(413),
    "422": answer(422, error_body("x", "'width' is odd")),
    "409": answer(409),
    "302": answer(302),
    "204": answer(204),
    "400 html": answer(400, b"<html>'width' in a page</html>"),
    "400 empty": answer(400),
    "400 of nothing known": answer(400, error_body("BadRequest", "Something is wrong.")),
    "input limit": answer(400, error_body("BadRequest", "The input limit was reached.")),
    "tokens": answer(400, error_body("unsupported_request_value", "'prompt' has 32001 tokens")),
    "context": answer(400, error_body("context_length_exceeded", "'prompt' ...")),
    "too long": answer(400, error_body("", "Prompt is too long")),
    "at most": answer(400, error_body("", "'prompt' must have at most 32000 letters")),
    "blocked": answer(400, error_body("content_safety_violation", "'width' Input content")),
    "blocked, 403": answer(403, error_body("content_filter", "x")),
}


@pytest.mark.parametrize("given", FREE.values(), ids=FREE.keys())
def test_a_refusal_before_any_work_is_free_and_says_nothing_of_paying(given: HttpAnswer) -> None:
    error = refusal(given)
    assert error.billed is Billed.NO
    assert "paid for twice" not in str(error)
    assert "charge" not in str(error)


@pytest.mark.parametrize("given", PERHAPS.values(), ids=PERHAPS.keys())
def test_every_other_refusal_is_perhaps_billed_and_says_so_once(given: HttpAnswer) -> None:
    error = refusal(given)
    assert error.billed is Billed.PERHAPS
    assert ("may charge" in str(error)) + ("perhaps billed" in str(error)) == 1
    assert str(error).count("The ledger lists it") == 1
    assert "twice" not in error.hint
    assert not was_not_begun(given)


def test_only_what_the_service_did_not_begin_may_be_sent_again() -> None:
    again = {name for name, given in {**FREE, **PERHAPS}.items() if was_not_begun(given)}
    assert again == {"429", "503 with a time", "503 with a date", "499 not sent on"}


def test_a_408_may_be_charged_and_is_not_repeated() -> None:
    error = refusal(PERHAPS["408"])
    assert isinstance(error, CallTimeoutError)
    assert "perhaps billed, so it was not repeated" in str(error)


@pytest.mark.parametrize(
    ("body", "usd"),
    [
        ({"data": []}, None),
        ({"data": [], "usage": None}, None),
        ({"data": [], "usage": {"num_output_tokens": 0}}, None),
        ({"data": [], "usage": {"num_output_tokens": 1e300}}, None),
        ({"data": [], "usage": USAGE}, CATALOGUE["MAI-Image-2.6"].cost(Usage(10, 3, 768))),
        ({"data": None, "usage": USAGE}, CATALOGUE["MAI-Image-2.6"].cost(Usage(10, 3, 768))),
        ({"usage": {"num_input_text_tokens": 9}}, CATALOGUE["MAI-Image-2.6"].cost(Usage(9))),
        (
            {"data": [], "usage": USAGE, "model": "MAI-Image-2.5-Pro"},
            CATALOGUE["MAI-Image-2.5-Pro"].cost(Usage(10, 3, 768)),
        ),
    ],
)
def test_an_empty_200_is_a_block_at_what_the_service_counted(
    body: dict[str, object], usd: float | None
) -> None:
    error = error_of(body)
    assert isinstance(error, BlockedError)
    assert error.billed is Billed.PERHAPS
    assert error.cost_usd == (usd if usd is None else pytest.approx(usd))
    assert ("at its estimate" in str(error)) == (usd is None)


def test_a_200_without_an_image_carries_what_was_counted_whatever_it_is() -> None:
    error = error_of({"data": [{"b64_json": "!!"}], "usage": USAGE})
    assert isinstance(error, AnswerError)
    assert error.cost_usd == pytest.approx(CATALOGUE["MAI-Image-2.6"].cost(Usage(10, 3, 768)))


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "Odd", "message": "the oven is cold"}},
        {"error": {"code": "Odd", "message": "the oven is cold"}, "data": []},
        {"error": "Odd", "message": "the oven is cold"},
        {"code": "Odd", "message": "the oven is cold"},
        {"data": [{"error": {"code": "Odd", "message": "the oven is cold"}}]},
    ],
)
def test_an_error_inside_a_200_shows_the_services_code_and_message(body: dict[str, object]) -> None:
    error = error_of(body)
    assert isinstance(error, AnswerError)
    assert error.code == "Odd"
    assert "the oven is cold" in str(error)
    assert error.billed is Billed.PERHAPS


@pytest.mark.parametrize(
    "error",
    [
        {"code": "content_safety_violation", "message": "x"},
        {"message": "m", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        "content_filter",
    ],
)
def test_a_content_filters_error_inside_a_200_is_a_block(error: object) -> None:
    assert isinstance(error_of({"error": error}), BlockedError)


def test_an_image_beside_an_error_is_an_image() -> None:
    assert read(with_image(error={"code": "x", "message": "y"})).image == png(1024, 768)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [pair for pair in itertools.permutations(CATALOGUE, 2) if pair[0] in tuple(CATALOGUE)[:3]],
)
def test_an_answer_of_another_model_costs_what_the_dearer_one_does(
    asked: str, answered: str
) -> None:
    request = Generate(asked, "a cat", 1024, 768)
    models = [CATALOGUE[asked], CATALOGUE[answered]]
    counted = read(with_image(model=answered), request)
    assert counted.cost_usd == max(model.cost(Usage(10, 3, 768)) for model in models)
    assert counted.model == asked
    assert f"answers as {answered}, the node asked for {asked}" in counted.notes[0]
    uncounted = read(with_image(model=answered, usage=None), request)
    assert uncounted.cost_usd == max(model.estimate(request) for model in models)


@pytest.mark.parametrize("name", ["mai-image-2.5-pro", "MAI-Image-2.5-Pro-2026-06-19"])
def test_another_model_is_known_by_other_spellings_of_its_name(name: str) -> None:
    found = read(with_image(model=name))
    assert found.cost_usd == CATALOGUE["MAI-Image-2.5-Pro"].cost(Usage(10, 3, 768))


@pytest.mark.parametrize("name", ["MAI-Image-2.6", "my-deployment", "", 5, None, ["MAI-Image-2"]])
def test_the_same_model_or_an_unknown_name_changes_nothing(name: object) -> None:
    found = read(with_image(model=name))
    assert found.cost_usd == CATALOGUE["MAI-Image-2.6"].cost(Usage(10, 3, 768))
    assert found.notes == ()


def test_another_model_is_warned_of_once_for_each_pair(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            read(with_image(model="MAI-Image-2e"), EDIT)
            read(with_image(model="MAI-Image-2"), EDIT)
    assert [record.args for record in caplog.records] == [
        ("MAI-Image-2.5", "MAI-Image-2e"),
        ("MAI-Image-2.5", "MAI-Image-2"),
    ]


@pytest.mark.parametrize("field", USAGE)
@pytest.mark.parametrize(
    "odd", [9e15, 1e308, 10_000_001, -1, 1.5, True, "768", [768], {}, float("nan"), float("inf")]
)
def test_a_count_that_no_image_has_makes_the_cost_an_estimate(field: str, odd: object) -> None:
    found = read(with_image(usage={**USAGE, field: odd}))
    assert found.usage is None
    assert found.cost_usd == CATALOGUE["MAI-Image-2.6"].estimate(GENERATE)
    assert found.notes == ("the service's token counts can't be right: the cost is an estimate",)


@pytest.mark.parametrize("count", [0, None])
def test_an_input_that_isnt_counted_has_no_tokens(count: object) -> None:
    found = read(with_image(usage={**USAGE, "num_input_image_tokens": count}))
    assert found.usage == Usage(10, 0, 768)
