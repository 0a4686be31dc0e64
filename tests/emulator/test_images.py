"""The images: the same for the same request, marked, readable, and changed as directed."""

from __future__ import annotations

import io
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.emulator.images import font_for, text_width, wrap
from PIL import Image, ImageChops, ImageStat

SMALL = {"width": 768, "height": 768}
NO_MARK = "tint=0 mark=none"
NONCE = "x-ms-client-request-id"


def b64(answer):
    return answer.json()["data"][0]["b64_json"]


def test_the_same_request_gives_the_same_bytes_from_any_emulator(client, started):
    first = b64(client.generate(**SMALL))
    assert b64(client.generate(**SMALL)) == first
    assert b64(started().generate(**SMALL)) == first


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a blue fox"},
        {"model": "MAI-Image-2.6-Flash"},
        {"width": 784},
        {"web_grounding": True},
    ],
)
def test_another_request_gives_another_image(client, change):
    assert b64(client.generate(**{**SMALL, **change})) != b64(client.generate(**SMALL))


def test_a_client_s_request_id_tells_equal_requests_apart(client):
    first = b64(client.generate({NONCE: "1"}, **SMALL))
    assert b64(client.generate({NONCE: "2"}, **SMALL)) != first
    assert b64(client.generate({NONCE: "1"}, **SMALL)) == first


def test_the_same_edit_gives_the_same_bytes_and_other_references_another(client, file):
    a, b = file(90, 90), file(90, 91)
    assert b64(client.edit(a, b)) == b64(client.edit(a, b))
    assert len({b64(client.edit(a, b)), b64(client.edit(b, a)), b64(client.edit(a))}) == 3


def bright(image, box):
    """How many pixels of a box are white, as the letters are."""
    grey = image.crop(box).convert("L").point(lambda value: 255 if value > 235 else 0)
    return grey.histogram()[255]


@pytest.mark.parametrize("prompt", ["a red fox in the snow", "雪の中の赤い狐 🦊 مرحبا", "a" * 9000])
def test_the_mark_is_painted_and_grows_with_the_prompt(client, decode, prompt):
    image = decode(client.generate(prompt=prompt))
    short = decode(client.generate(prompt="."))
    panel = (40, 540, 984, 1000)
    dark = image.crop((40, 980, 984, 990))
    assert ImageStat.Stat(dark).mean < [90, 90, 90]
    assert bright(image, panel) > bright(short, panel) + 300
    assert ImageStat.Stat(image.crop(panel).convert("L")).var[0] > 100


def test_an_edit_is_the_first_reference_tinted_with_a_mark_in_the_middle(client, decode, file):
    source = Image.open(io.BytesIO(file(1024, 1024)))
    image = decode(client.edit(file(1024, 1024), file(64, 64)))
    border = (0, 0, 1024, 200)
    difference = ImageChops.difference(source.crop(border), image.crop(border))
    assert 1 < max(ImageStat.Stat(difference).mean) < 60
    assert bright(image, (180, 300, 840, 700)) > 500


@pytest.mark.parametrize("way", ["server", "header", "prompt"])
def test_an_edit_without_tint_and_mark_is_the_reference(started, decode, file, way):
    client = started(edits=NO_MARK if way == "server" else "")
    headers = {"x-emulator-edit": NO_MARK} if way == "header" else None
    prompt = f"x [[edit {NO_MARK}]]" if way == "prompt" else "x"
    data = file(1024, 1024)
    image = decode(client.edit(data, headers=headers, prompt=prompt))
    assert image.tobytes() == Image.open(io.BytesIO(data)).tobytes()


def edited(client, decode, data, changes):
    return decode(client.edit(data, headers={"x-emulator-edit": f"{NO_MARK} {changes}".strip()}))


def test_a_shift_moves_every_pixel_and_keeps_the_border(client, decode, file):
    data = file(1024, 1024)
    plain = edited(client, decode, data, "")
    moved = edited(client, decode, data, "shift=7,-5")
    assert moved.crop((7, 0, 1024, 1019)).tobytes() == plain.crop((0, 5, 1017, 1024)).tobytes()
    assert moved.crop((0, 0, 7, 1019)).tobytes() == plain.crop((0, 0, 7, 1019)).tobytes()


def test_recolour_multiplies_each_channel(client, decode, file):
    data = file(1024, 1024)
    plain = edited(client, decode, data, "").getpixel((900, 600))
    assert edited(client, decode, data, "recolour=0.5,1,2").getpixel((900, 600)) == (
        round(plain[0] * 0.5),
        plain[1],
        min(255, plain[2] * 2),
    )


def test_rescale_enlarges_around_the_centre(client, decode, file):
    image = edited(client, decode, file(1024, 1024), "rescale=1.25")
    # The white square's far corner at 256 goes to 512 - 256 * 1.25 = 192.
    assert image.size == (1024, 1024)
    assert image.getpixel((180, 180)) == (255, 255, 255)
    assert image.getpixel((200, 180)) != (255, 255, 255)


def test_another_aspect_can_come_back_than_went_in(client, decode, file):
    assert edited(client, decode, file(1024, 1024), "aspect=16:9").size == (1360, 768)


@given(st.text(max_size=300), st.integers(40, 900), st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_wrapped_lines_fit_and_are_no_more_than_allowed(text, width, most):
    font = font_for(text, 20)
    lines = wrap(text, font, width, most)
    assert 1 <= len(lines) <= most
    for line in lines[:-1]:
        assert text_width(line, font) <= width or len(line) == 1


def test_images_are_painted_beside_the_event_loop(client):
    """The log answers between an image's begin (its bill) and its end (its status)."""
    log = client.service.log
    large = {"x-emulator-fault": "size=3500x3500"}
    worker = threading.Thread(target=client.generate, args=(large,))
    worker.start()
    while log.billed == 0:
        time.sleep(0.001)
    seen = client.http.get("/emulator/log").json()["requests"][-1]
    worker.join()
    assert (seen["billed"], seen["status"]) == (True, None)
    assert log.entries[-1].status == 200
