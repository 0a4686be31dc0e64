"""What the edits endpoint takes and refuses, and the sizes that it gives back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.emulator.requests import size_for
from mai_image.mai.models import CATALOGUE, EDIT_PIXELS

ONE_TO_FIVE = "Invalid request. Error => Only 1 to 5 image files are supported for edit requests."
EXACTLY_ONE = "Exactly one image file must be attached for edit requests"
WRONG_NAME = "File must be attached in a form field with a name starting with 'image'."


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"prompt": ""}, "missing_required_parameter", "'prompt'"),
        ({"model": ""}, "missing_required_parameter", "'model'"),
        ({"width": "1024"}, "unsupported_request_argument", "Invalid parameters: width"),
        ({"height": "1024"}, "unsupported_request_argument", "Invalid parameters: height"),
        ({"seed": "1"}, "unsupported_request_argument", "Invalid parameters: seed"),
        ({"mask": "x"}, "unsupported_request_argument", "Invalid parameters: mask"),
        ({"sharpness": "1"}, "unrecognized_request_argument", "sharpness"),
        ({"web_grounding": "True"}, "unsupported_request_value", "'true' or 'false'"),
        ({"auto_aspect_ratio": "1"}, "unsupported_request_value", "'true' or 'false'"),
        (
            {"model": "MAI-Image-2.5", "web_grounding": "true"},
            "unsupported_request_argument",
            "web_grounding",
        ),
        ({"model": "MAI-Image-2"}, "OperationNotSupported", "MAI-Image-2"),
        ({"model": "MAI-Image-2e"}, "OperationNotSupported", "MAI-Image-2e"),
        ({"size": "big"}, "unsupported_request_value", "WIDTHxHEIGHT"),
        ({"size": "1024"}, "unsupported_request_value", "WIDTHxHEIGHT"),
        ({"size": "767x1024"}, "unsupported_request_value", "'width' must be at least 768"),
        ({"size": "1537x1536"}, "unsupported_request_value", "exceeds the maximum of 2359296"),
        ({"prompt": "blockprompt"}, "content_safety_violation", "mainline safety"),
    ],
)
def test_text_fields_that_the_service_refuses_are_refused(client, file, fields, code, words):
    answer = client.edit(file(64, 64), **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, code)
    assert words in error["message"]


@pytest.mark.parametrize(
    ("model", "count", "message"),
    [
        ("MAI-Image-2.6", 0, ONE_TO_FIVE),
        ("MAI-Image-2.6-Flash", 6, ONE_TO_FIVE),
        ("MAI-Image-2.5", 0, EXACTLY_ONE),
        ("MAI-Image-2.5-Pro", 2, EXACTLY_ONE),
    ],
)
def test_too_few_or_too_many_files_are_refused_with_the_model_s_words(
    client, file, model, count, message
):
    answer = client.edit(*[file(64, 64)] * count, model=model)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


@pytest.mark.parametrize("name", ["image[]", "images", "image1", "reference", "Image"])
def test_a_file_part_that_is_not_named_image_is_refused(client, file, name):
    answer = client.edit_parts([(name, ("a.png", file(64, 64), "image/png"))])
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, WRONG_NAME)


def test_an_image_sent_as_a_text_field_is_no_file(client):
    assert client.edit(image="data:image/png;base64,AAAA").status_code == 400


@pytest.mark.parametrize(
    ("kind", "media_type", "damage"),
    [
        ("WEBP", "image/webp", lambda data: data),
        ("PNG", "application/octet-stream", lambda data: data),
        ("PNG", "image/jpeg", lambda data: data),
        ("GIF", "image/png", lambda data: data),
        ("PNG", "image/png", lambda data: data[: len(data) // 2]),
        ("JPEG", "image/jpeg", lambda data: data[:100]),
        ("PNG", "image/png", lambda data: b""),
    ],
)
def test_only_whole_png_and_jpeg_files_are_taken(client, file, kind, media_type, damage):
    part = ("image", ("a", damage(file(300, 200, kind)), media_type))
    answer = client.edit_parts([part])
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


def test_a_json_body_is_refused(client):
    answer = client.http.post(
        "/mai/v1/images/edits", json={"model": "MAI-Image-2.6", "prompt": "x"}
    )
    assert answer.status_code == 400
    assert "multipart/form-data" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary here",
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nMAI',
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n\xff\xfe\r\n--x--\r\n',
        b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\nq\r\n--y--\r\n--x--",
        b"--x\r\n\r\na part without a name\r\n--x--\r\n",
    ],
)
def test_a_broken_form_is_a_400(client, body):
    answer = client.http.post(
        "/mai/v1/images/edits",
        content=body,
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 400


def test_a_body_over_the_limit_is_a_413(started, file):
    answer = started(max_body=1000).edit(file(400, 400, "PNG"), prompt="x" * 2000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "RequestEntityTooLarge")


@pytest.mark.parametrize(
    ("size_in", "size_out"),
    [((553, 311), (1360, 768)), ((311, 553), (768, 1360)), ((64, 64), (1024, 1024))],
)
def test_an_edit_has_about_1_megapixel_in_the_input_s_aspect(
    client, file, decode, size_in, size_out
):
    answer = client.edit(file(*size_in))
    assert decode(answer).size == size_out
    usage = answer.json()["usage"]
    assert usage["num_input_image_tokens"] == -(-size_in[0] * size_in[1] // 1024)


@given(st.integers(1, 20_000), st.integers(1, 20_000))
@settings(max_examples=200, deadline=None)
def test_every_aspect_gives_a_legal_size_of_about_1_megapixel(width, height):
    aspect = width / height
    w, h = size_for(aspect, CATALOGUE["MAI-Image-2.6"])
    assert w % 16 == h % 16 == 0
    assert min(w, h) >= 768
    assert 0.9 * EDIT_PIXELS <= w * h <= EDIT_PIXELS
    if 768 / 1360 <= aspect <= 1360 / 768:
        assert w / h == pytest.approx(aspect, rel=0.03)


def test_five_references_are_taken_in_their_order_and_the_first_counts(client, file):
    files = [file(100 + 10 * index, 100) for index in range(5)]
    assert client.edit(*files).status_code == 200
    logged = client.service.log.entries[-1].files
    assert [(part.field, part.width) for part in logged] == [
        ("image", 100),
        ("image", 110),
        ("image", 120),
        ("image", 130),
        ("image", 140),
    ]


def test_jpeg_alpha_grey_and_palette_inputs_are_edited(client, file, decode):
    for data, kind in [
        (file(80, 60, "JPEG"), "image/jpeg"),
        (file(80, 60, "PNG", "RGBA"), "image/png"),
        (file(80, 60, "PNG", "L"), "image/png"),
        (file(80, 60, "PNG", "P"), "image/png"),
    ]:
        image = decode(client.edit_parts([("image", ("a", data, kind))]))
        assert (image.mode, image.size) == ("RGB", (1168, 880))


@pytest.mark.parametrize(
    ("rule", "model", "outcome"),
    [
        ("by model", "MAI-Image-2.6", (1152, 768)),
        ("by model", "MAI-Image-2.5", (1024, 1024)),
        ("ignored", "MAI-Image-2.6", (1024, 1024)),
        ("accepted", "MAI-Image-2.5", (1152, 768)),
        ("refused", "MAI-Image-2.6", None),
    ],
)
def test_size_on_edits_is_accepted_ignored_or_refused(started, file, decode, rule, model, outcome):
    answer = started(edit_size=rule).edit(file(64, 64), model=model, size="1152x768")
    if outcome is None:
        assert answer.json()["error"]["code"] == "unsupported_request_argument"
        assert answer.json()["error"]["message"].endswith("Invalid parameters: size")
    else:
        assert decode(answer).size == outcome
