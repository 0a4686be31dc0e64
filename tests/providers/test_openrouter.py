"""OpenRouter's wire format: what is sent, what is left out when refused, what answers mean."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from mai_image.mai.errors import (
    Billed,
    BlockedError,
    OptionError,
    PaymentError,
    ServiceError,
    UnreadableError,
)
from mai_image.mai.http import HttpAnswer
from mai_image.mai.models import CATALOGUE
from mai_image.mai.providers import PROVIDERS
from mai_image.mai.types import TRANSPARENT, Edit, Generate, Reference, Request, Result
from scripted_server import image_body, png

ROUTER = PROVIDERS["openrouter"]
END = "https://openrouter.ai/api/v1"
FOX = Generate("MAI-Image-2.7", "a fox", 2048, 2048, seed=7)
HAT = Edit("MAI-Image-2.6-Flash", "a hat", (Reference(b"one", "image/png", 1024, 1024),) * 5)


def answer(body: object, status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def sent(request: Request) -> dict[str, object]:
    wired = ROUTER.build(request, END, "", "")
    assert (wired.method, wired.url) == ("POST", f"{END}/images")
    return dict(wired.json or {})


def refusal_of(*names: str) -> HttpAnswer:
    text = f"Unsupported parameter: {', '.join(names)}"
    return answer({"error": {"code": 400, "message": text}}, 400)


def after(request: Request, *refusals: str) -> Request:
    for name in refusals:
        reduced = ROUTER.without_refused_field(request, refusal_of(name))
        assert reduced is not None
        request = reduced
    return request


def test_a_generation_has_model_prompt_and_size_and_no_seed() -> None:
    assert sent(FOX) == {
        "model": "microsoft/mai-image-2.7",
        "prompt": "a fox",
        "size": "2048x2048",
        "output_format": "png",
    }
    assert sent(replace(FOX, background=TRANSPARENT))["background"] == "transparent"


def test_an_edit_has_every_reference_and_a_size_only_if_one_is_asked_for() -> None:
    body = sent(HAT)
    one = {"type": "image_url", "image_url": {"url": "data:image/png;base64,b25l"}}
    assert body["input_references"] == [one] * 5
    assert body["model"] == "microsoft/mai-image-2.6-flash"
    assert "size" not in body
    assert sent(replace(HAT, size=(1024, 768)))["size"] == "1024x768"


@pytest.mark.parametrize(
    "request_",
    [
        replace(FOX, model="MAI-Image-2.5"),
        replace(FOX, model="MAI-Image-2.7-Flash"),
        replace(FOX, model="MAI-Image-2.6", auto_aspect_ratio=True),
        replace(HAT, web_grounding=True),
    ],
)
def test_what_openrouter_lacks_is_refused_before_anything_is_sent(
    request_: Generate | Edit,
) -> None:
    with pytest.raises(OptionError, match="OpenRouter has"):
        ROUTER.validate(request_)


@pytest.mark.parametrize(
    ("model", "size", "ratio", "tier"),
    [
        ("MAI-Image-2.7", (2048, 2048), "1:1", "2K"),
        ("MAI-Image-2.7", (2048, 1152), "16:9", "1K"),
        ("MAI-Image-2.7", (768, 768), "1:1", "1K"),
        ("MAI-Image-2.6", (1536, 1536), "1:1", "1.5K"),
        ("MAI-Image-2.6", (768, 1152), "2:3", "1K"),
    ],
)
def test_a_refused_size_goes_as_the_nearest_ratio_and_no_larger_resolution(
    model: str, size: tuple[int, int], ratio: str, tier: str
) -> None:
    request = replace(FOX, model=model, width=size[0], height=size[1])
    body = sent(after(request, "size"))
    assert (body["aspect_ratio"], body["resolution"]) == (ratio, tier)
    assert "size" not in body


def test_what_isnt_needed_is_left_out_one_by_one_and_no_refusal_goes_round_in_circles() -> None:
    request = after(FOX, "output_format", "size", "resolution")
    assert set(sent(request)) == {"model", "prompt", "aspect_ratio"}
    for name in ("output_format", "size", "resolution", "aspect_ratio", "background", "prompt"):
        assert ROUTER.without_refused_field(request, refusal_of(name)) is None


def test_a_shape_that_no_ratio_is_near_is_not_sent_as_one() -> None:
    wide = replace(FOX, model="MAI-Image-2.6", width=3072, height=768)
    assert ROUTER.without_refused_field(wide, refusal_of("size")) is None


@pytest.mark.parametrize(
    ("status", "text"),
    [(400, "Provider returned error"), (500, "size"), (422, "size"), (403, "size"),
     (400, "content_safety_violation: size")],
)  # fmt: skip
def test_nothing_is_sent_again_that_may_have_been_billed(status: int, text: str) -> None:
    refused = answer({"error": {"code": status, "message": text}}, status)
    assert ROUTER.without_refused_field(FOX, refused) is None


def test_the_notes_say_how_far_a_ratio_is_off() -> None:
    request = after(replace(FOX, width=1360, height=768), "size")
    result = ROUTER.read(request, answer(image_body(png(1376, 768), {"cost": 0.04})))
    assert isinstance(result, Result)
    assert result.notes == (
        "asked for 1360 x 768, sent as aspect ratio 16:9 at 1K, 0.4 % off",
        "asked for 1360x768, the service sent 1376x768",
    )


def body_with(usage: object) -> HttpAnswer:
    whole = json.loads(image_body(png(2048, 2048), {}))
    return answer({**whole, "usage": usage})


ESTIMATE = CATALOGUE["MAI-Image-2.7"].estimate(FOX)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.14}, 0.14),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.1}}, 0.11),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.1}}, 0.1),
        ({"cost": 0.14, "cost_details": {"upstream_inference_cost": 0.1}}, 0.14),
        (None, ESTIMATE),
        ([], ESTIMATE),
        ({}, ESTIMATE),
        ({"cost": 0}, ESTIMATE),
        ({"cost": -1}, ESTIMATE),
        ({"cost": True}, ESTIMATE),
        ({"cost": "0.14"}, ESTIMATE),
        ({"cost": 1e9}, ESTIMATE),
        ({"cost": float("nan")}, ESTIMATE),
        ({"cost": float("inf")}, ESTIMATE),
    ],
)
def test_the_cost_is_what_the_answer_says_was_charged_or_the_estimate(
    usage: object, cost: float
) -> None:
    result = ROUTER.read(FOX, body_with(usage))
    assert isinstance(result, Result)
    assert result.cost_usd == pytest.approx(cost)
    assert ("it is an estimate" in str(result.notes)) == (cost == ESTIMATE)


def error_of(body: object, status: int = 200) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        ROUTER.read(FOX, answer(body, status))
    return caught.value


def test_a_charge_without_an_image_is_counted() -> None:
    error = error_of({"data": [], "usage": {"cost": 0.2}})
    assert isinstance(error, BlockedError)
    assert (error.billed, error.cost_usd) == (Billed.PERHAPS, 0.2)
    damaged = error_of({"data": [{"b64_json": "AAA"}], "usage": {"cost": 0.2}})
    assert isinstance(damaged, UnreadableError)
    assert damaged.cost_usd == 0.2


def test_no_credits_are_explained_and_free() -> None:
    error = error_of({"error": {"code": 402, "message": "Insufficient credits"}}, 402)
    assert isinstance(error, PaymentError)
    assert error.billed is Billed.NO
    assert "openrouter.ai/settings/credits" in error.hint


def test_a_providers_content_filter_behind_the_gateway_is_a_block() -> None:
    raw = json.dumps({"error": {"code": "content_safety_violation"}})
    body = {"error": {"code": 400, "message": "Provider returned error", "metadata": {"raw": raw}}}
    error = error_of(body, 400)
    assert isinstance(error, BlockedError)
    assert error.billed is Billed.PERHAPS


def test_a_prompt_that_the_gateways_own_moderation_flags_is_a_block() -> None:
    said = "Your chosen model requires moderation and your input was flagged"
    error = error_of({"error": {"code": 403, "message": said}}, 403)
    assert isinstance(error, BlockedError)


def test_no_hint_speaks_of_an_option_that_the_gateway_lacks() -> None:
    assert "web_grounding" not in str(error_of({"error": {"code": 408, "message": "late"}}, 408))


def test_the_free_check_has_no_prompt() -> None:
    probe = ROUTER.probe(END)
    assert (probe.method, probe.url) == ("POST", f"{END}/images")
    assert "prompt" not in (probe.json or {})
