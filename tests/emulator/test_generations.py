"""What the generations endpoint takes and refuses: MAI_API.md's rows, over a real socket."""

from __future__ import annotations

import base64

import pytest

MINIMUM = (
    "Model does not support request parameter value supplied: '{}' must be at least 768 pixels."
)
ARGUMENT = "Model does not support request argument supplied: Invalid parameters: {}"


def too_many(width, height, maximum):
    return (
        f"Invalid dimensions {width}x{height}: total pixel count ({width * height}) "
        f"exceeds the maximum of {maximum}"
    )


REFUSED = [
    ({"prompt": None}, 400, "missing_required_parameter", "'prompt'"),
    ({"prompt": "  "}, 400, "missing_required_parameter", "'prompt'"),
    ({"prompt": 3}, 400, "unsupported_request_value", "'prompt' must be a string"),
    ({"prompt": "a" * 128_001}, 400, "unsupported_request_value", "32000 tokens"),
    ({"model": None}, 400, "missing_required_parameter", "'model'"),
    ({"model": ["MAI-Image-2.6"]}, 400, "unsupported_request_value", "'model'"),
    ({"model": "nonexistent"}, 404, "DeploymentNotFound", "nonexistent"),
    ({"seed": 1}, 400, "unsupported_request_argument", ARGUMENT.format("seed")),
    (
        {"response_format": "b64_json"},
        400,
        "unsupported_request_argument",
        ARGUMENT.format("response_format"),
    ),
    ({"negative_prompt": "x"}, 400, "unsupported_request_argument", "negative_prompt"),
    ({"seed": 1, "quality": "hd"}, 400, "unsupported_request_argument", "seed, quality"),
    ({"size": "1024x1024"}, 400, "unsupported_request_argument", ARGUMENT.format("size")),
    ({"colour": "red"}, 400, "unrecognized_request_argument", "colour"),
    ({"width": 767}, 400, "unsupported_request_value", MINIMUM.format("width")),
    ({"height": 767}, 400, "unsupported_request_value", MINIMUM.format("height")),
    ({"width": 767, "height": 1024}, 400, "unsupported_request_value", MINIMUM.format("width")),
    ({"width": -1}, 400, "unsupported_request_value", MINIMUM.format("width")),
    ({"width": 10**4000}, 400, "unsupported_request_value", "at most"),
    ({"width": "1024"}, 400, "unsupported_request_value", "'width' must be an integer"),
    ({"width": 1024.0}, 400, "unsupported_request_value", "'width' must be an integer"),
    ({"height": True}, 400, "unsupported_request_value", "'height' must be an integer"),
    (
        {"model": "MAI-Image-2.5", "width": 1033},
        400,
        "unsupported_request_value",
        too_many(1033, 1024, 1056768),
    ),
    (
        {"model": "MAI-Image-2e", "width": 1377, "height": 768},
        400,
        "unsupported_request_value",
        too_many(1377, 768, 1056768),
    ),
    (
        {"width": 1537, "height": 1536},
        400,
        "unsupported_request_value",
        too_many(1537, 1536, 2359296),
    ),
    (
        {"model": "MAI-Image-2.7", "width": 2049, "height": 2048},
        400,
        "unsupported_request_value",
        too_many(2049, 2048, 4194304),
    ),
    ({"web_grounding": "true"}, 400, "unsupported_request_value", "must be a boolean"),
    ({"auto_aspect_ratio": 1}, 400, "unsupported_request_value", "must be a boolean"),
    (
        {"model": "MAI-Image-2.5", "auto_aspect_ratio": False},
        400,
        "unsupported_request_argument",
        ARGUMENT.format("auto_aspect_ratio"),
    ),
    (
        {"model": "MAI-Image-2", "web_grounding": True},
        400,
        "unsupported_request_argument",
        ARGUMENT.format("web_grounding"),
    ),
    ({"prompt": "a blockprompt"}, 400, "content_safety_violation", "Input content violated"),
    ({"prompt": "BlockResult!"}, 400, "content_safety_violation", "MultiSeverity_ViolenceScore"),
    ({"prompt": "blocklistresult"}, 400, "content_safety_violation", "DallEBlockList"),
]


@pytest.mark.parametrize(("fields", "status", "code", "words"), REFUSED)
def test_what_the_service_refuses_is_refused_in_its_envelope(client, fields, status, code, words):
    answer = client.generate(**fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert words in error["message"]
    assert error["details"] == error["message"]
    after_work = code == "content_safety_violation" or words == "32000 tokens"
    assert client.service.log.billed == after_work


@pytest.mark.parametrize(
    ("model", "requested", "made"),
    [
        ("MAI-Image-2.6", (1024, 1024), (1024, 1024)),
        ("MAI-Image-2.5", (1366, 768), (1360, 768)),
        ("MAI-Image-2.5", (768, 1365), (768, 1360)),
        ("MAI-Image-2", (1032, 1024), (1024, 1024)),
        ("MAI-Image-2e", (1376, 768), (1376, 768)),
        ("MAI-Image-2.6-Flash", (3072, 768), (3072, 768)),
        ("MAI-Image-2.7", (1600, 1600), (1600, 1600)),
    ],
)
def test_sides_are_silently_rounded_down_to_16(client, decode, model, requested, made):
    answer = client.generate(model=model, width=requested[0], height=requested[1])
    image = decode(answer)
    body = answer.json()
    assert (image.size, image.mode, image.format) == (made, "RGB", "PNG")
    assert body["size"] == f"{made[0]}x{made[1]}"
    assert body["usage"]["num_output_tokens"] == made[0] * made[1] // 1024
    assert body["usage"]["num_input_image_tokens"] == 0
    assert body["usage"]["num_input_text_tokens"] > 0
    assert body["model"] == model


def test_no_width_and_height_give_1024(client, decode):
    assert decode(client.generate()).size == (1024, 1024)


def test_n_is_ignored_and_one_image_comes_back(client):
    assert len(client.generate(n=4).json()["data"]) == 1


def test_options_of_2_6_are_taken_as_booleans(client, decode):
    answer = client.generate(auto_aspect_ratio=True, web_grounding=True)
    width, height = decode(answer).size
    assert width * height <= 1_056_768
    assert min(width, height) >= 768


def test_an_image_of_8_bits_without_alpha_has_png_colour_type_2(client):
    data = base64.b64decode(client.generate().json()["data"][0]["b64_json"])
    assert data[24:26] == bytes([8, 2])


def test_emptyresult_is_a_200_without_data_that_is_billed(client):
    answer = client.generate(prompt="emptyresult")
    assert (answer.status_code, answer.json()["data"]) == (200, [])
    assert answer.json()["usage"]["num_output_tokens"] == 1024
    assert client.service.log.billed == 1


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"{", "application/json", "not valid JSON"),
        (b"[" * 100_000, "application/json", "not valid JSON"),
        (b"[]", "application/json", "not a JSON object"),
        (b"\xff\xfe\xfa", "application/json", "not valid JSON"),
        (b"model=x", "application/x-www-form-urlencoded", "application/json"),
        (b"--x--", "multipart/form-data; boundary=x", "application/json"),
        (b"", "application/json", "'model'"),
    ],
)
def test_only_json_objects_are_taken(client, body, content_type, words):
    answer = client.http.post(
        "/mai/v1/images/generations", content=body, headers={"content-type": content_type}
    )
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_a_lone_surrogate_in_the_prompt_is_painted_like_anything_else(client, decode):
    answer = client.http.post(
        "/mai/v1/images/generations",
        content=b'{"model": "MAI-Image-2.6", "prompt": "fox \\ud800"}',
        headers={"content-type": "application/json"},
    )
    assert decode(answer).size == (1024, 1024)


@pytest.mark.parametrize(
    ("form", "expected"),
    [("top level", {"num_output_tokens": 576}), ("absent", {})],
)
def test_usage_may_stand_at_top_level_or_be_absent(started, form, expected):
    body = started(usage=form).generate(width=768, height=768).json()
    counted = {name: value for name, value in body.items() if "usage" in name or "tokens" in name}
    assert counted == expected


def test_a_deployment_has_a_name_of_its_own_and_the_limits_of_its_model(started):
    client = started(deployments={"my images": "MAI-Image-2.5"})
    assert client.generate(model="MAI-Image-2.5").status_code == 404
    assert client.generate(model="my images", width=1040, height=1024).status_code == 400
    assert client.generate(model="my images").json()["model"] == "MAI-Image-2.5"
