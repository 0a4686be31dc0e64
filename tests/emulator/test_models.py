"""What differs between models: the background of 2.7, retirement, how large edits come back."""

from __future__ import annotations

import pytest
from PIL import Image

NEW = "MAI-Image-2.7"
SMALL = {"width": 768, "height": 768}


def test_2_7_makes_images_of_2048_squared_and_no_larger(client, decode):
    image = decode(client.generate(model=NEW, width=2048, height=2048))
    assert (image.size, image.mode) == ((2048, 2048), "RGB")
    refused = client.generate(model=NEW, width=2048, height=2064)
    assert refused.status_code == 400
    assert "exceeds the maximum of 4194304" in refused.text


def test_2_7_takes_up_to_five_references(client, file):
    assert client.edit(*[file(64, 64)] * 5, model=NEW).status_code == 200
    assert client.edit(*[file(64, 64)] * 6, model=NEW).status_code == 400


@pytest.mark.parametrize("kind", ["generation", "edit"])
def test_a_transparent_background_is_a_soft_edged_subject_over_colours(client, decode, file, kind):
    if kind == "edit":
        answer = client.edit(file(1024, 768), model=NEW, background="transparent")
    else:
        answer = client.generate(model=NEW, width=1024, height=768, background="transparent")
    image = decode(answer)
    alpha = image.getchannel("A")
    assert (image.mode, alpha.getpixel((0, 0))) == ("RGBA", 0)
    assert alpha.getpixel((image.width // 2, image.height // 2)) == 255
    assert sum(count > 0 for count in alpha.histogram()) > 100
    hidden = Image.composite(
        Image.new("RGB", image.size), image.convert("RGB"), alpha.point(lambda a: 255 if a else 0)
    )
    assert hidden.getbbox() is not None


def test_an_opaque_background_is_the_image_without_the_option(client, decode):
    opaque = decode(client.generate(model=NEW, background="opaque", **SMALL))
    assert opaque.mode == "RGB"
    assert opaque.tobytes() == decode(client.generate(model=NEW, **SMALL)).tobytes()


@pytest.mark.parametrize(
    ("model", "background"),
    [
        (NEW, "auto"),
        (NEW, ""),
        (NEW, "Transparent"),
        (NEW, True),
        (NEW, ["transparent"]),
        ("MAI-Image-2.6", "transparent"),
        ("MAI-Image-2.5", "opaque"),
        ("MAI-Image-2e", "transparent"),
    ],
)
def test_other_backgrounds_and_other_models_are_refused(client, file, model, background):
    answers = [client.generate(model=model, background=background)]
    if isinstance(background, str) and model != "MAI-Image-2e":
        answers.append(client.edit(file(64, 64), model=model, background=background))
    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "unsupported_request_argument")
        assert "background" in error["message"]
    assert client.service.log.billed == 0


def test_a_retired_model_answers_unless_the_option_says_otherwise(client, decode):
    assert decode(client.generate(model="MAI-Image-2", **SMALL)).size == (768, 768)


@pytest.mark.parametrize(("retired", "code"), [("404", "DeploymentNotFound"), ("410", None)])
def test_retired_models_can_be_gone(started, file, retired, code):
    client = started(retired=retired)
    for model in ("MAI-Image-2", "MAI-Image-2e", "MAI-Image-2.5", "MAI-Image-2.5-Pro"):
        answer = client.generate(model=model)
        assert answer.status_code == int(retired)
        assert code in (None, answer.json()["error"]["code"])
    assert client.edit(file(64, 64), model="MAI-Image-2.5-Flash").status_code == int(retired)
    assert client.generate(model="MAI-Image-2.6", **SMALL).status_code == 200
    assert client.service.log.billed == 1


@pytest.mark.parametrize(
    ("model", "size", "output", "made"),
    [
        (NEW, (553, 311), "1mp", (1360, 768)),
        (NEW, (1600, 1600), "1mp", (1024, 1024)),
        (NEW, (1600, 1200), "input", (1600, 1200)),
        (NEW, (1610, 1210), "input", (1600, 1200)),
        (NEW, (4000, 4000), "input", (2048, 2048)),
        (NEW, (600, 600), "input", (768, 768)),
        (NEW, (600, 600), "largest", (2048, 2048)),
        ("MAI-Image-2.6", (2000, 2000), "input", (1536, 1536)),
        ("MAI-Image-2.6", (600, 600), "largest", (1536, 1536)),
        ("MAI-Image-2.5", (2000, 2000), "input", (1024, 1024)),
    ],
)
@pytest.mark.parametrize("way", ["option", "directive"])
def test_an_edit_comes_back_at_one_megapixel_as_it_went_in_or_as_large_as_can_be(
    client, started, decode, file, model, size, output, made, way
):
    where = started(edit_output=output) if way == "option" else client
    headers = {"x-emulator-edit": f"output={output}"} if way == "directive" else None
    answer = where.edit(file(*size), model=model, headers=headers)
    assert decode(answer).size == made
    assert answer.json()["usage"]["num_output_tokens"] == made[0] * made[1] // 1024


def test_an_edits_aspect_and_output_go_together(client, decode, file):
    headers = {"x-emulator-edit": "aspect=1:1 output=largest"}
    assert decode(client.edit(file(900, 600), model=NEW, headers=headers)).size == (2048, 2048)


def test_the_output_changes_nothing_else_of_an_edit(client, file):
    """The same request paints the same image, however its size was asked for."""
    data = file(1024, 1024)
    plain = client.edit(data).json()["data"]
    assert client.edit(data, headers={"x-emulator-edit": "output=1mp"}).json()["data"] == plain
    assert client.edit(data, headers={"x-emulator-edit": "output=input"}).json()["data"] == plain


def test_a_transparent_image_can_be_sent_as_every_other_file(client):
    for form in ("jpeg", "webp", "grey", "palette", "16-bit", "alpha"):
        fault = {"x-emulator-fault": f"answer={form}"}
        answer = client.generate(fault, model=NEW, background="transparent", **SMALL)
        assert answer.status_code == 200


@pytest.mark.parametrize("prompt", [f"object {index}" for index in range(12)])
def test_a_transparent_image_is_one_object_in_its_middle(client, decode, prompt):
    """Without a caption: it is to be laid over images that have one."""
    image = decode(client.generate(model=NEW, background="transparent", prompt=prompt))
    alpha = image.getchannel("A")
    left, top, right, bottom = alpha.getbbox()
    assert alpha.getpixel((512, 500)) == 255
    assert abs(left + right - 1024) < 30
    assert 500 < bottom - top < 900
    assert alpha.crop((0, 960, 1024, 1024)).getextrema() == (0, 0)
