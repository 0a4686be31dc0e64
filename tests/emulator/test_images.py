"""The images: the same for the same request, marked, worth looking at, and changed as directed."""

from __future__ import annotations

import io
import threading
import time

import pytest
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


def mean(image, box=None):
    """The mean difference from black, of the most different channel."""
    return max(ImageStat.Stat(image.crop(box or (0, 0, *image.size))).mean)


def corner(image):
    """Where the caption stands."""
    unit = min(image.size)
    width, height = image.size
    return (width - unit // 3, height - unit // 16, width - unit // 40, height - unit // 40)


def picture(seed=0, size=(1024, 768)):
    """A file with something else in every corner, and no grey."""
    image = Image.new("RGB", (4, 3))
    for place in range(12):
        image.putpixel((place % 4, place // 4), ((place * 23 + seed) % 256, 200 - place * 12, 60))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


@pytest.mark.parametrize("size", [(768, 768), (1360, 768), (768, 2048), (2048, 2048)])
def test_a_caption_stands_in_the_corner_and_nowhere_else(client, decode, size):
    fields = {"width": size[0], "height": size[1], "model": "MAI-Image-2.7"}
    image = decode(client.generate(**fields))
    white = image.crop(corner(image)).convert("L").point(lambda level: 255 * (level > 240))
    share = mean(white) / 255
    assert image.size == size
    assert 0.03 < share < 0.6
    assert min(ImageStat.Stat(image.crop(corner(image))).extrema)[0] < 90


@pytest.mark.parametrize("prompt", ["雪の中の赤い狐 🦊 مرحبا", "a" * 9000, "."])
def test_any_prompt_gets_an_image_with_colours_and_detail(client, decode, prompt):
    image = decode(client.generate(prompt=prompt, **SMALL))
    assert len(image.getcolors(2**20)) > 500
    assert max(ImageStat.Stat(image).stddev) > 15


def test_different_prompts_show_different_things_and_the_seed_another_view_of_one(client, decode):
    def seen(prompt, nonce):
        image = decode(client.generate({NONCE: nonce}, prompt=prompt, **SMALL))
        return image.resize((12, 12), Image.Resampling.BOX)

    prompts = [seen(f"prompt {index}", "1") for index in range(8)]
    views = [seen("prompt 0", str(index)) for index in range(8)]
    apart = [mean(ImageChops.difference(prompts[0], other)) for other in prompts[1:]]
    near = [mean(ImageChops.difference(views[0], other)) for other in views[1:]]
    assert min(near) > 0
    assert sorted(near)[3] < sorted(apart)[3]


def test_an_edit_is_clearly_changed_and_still_the_same_image(client, decode):
    data = picture()
    image = decode(client.edit(data))
    source = opened(data).resize(image.size)
    difference = ImageChops.difference(source, image)
    border = (0, 0, image.width, image.height // 5)
    middle = (
        image.width // 2 - 60,
        image.height // 2 - 60,
        image.width // 2 + 60,
        image.height // 2 + 60,
    )
    assert 3 < mean(difference, border) < 60
    assert mean(difference, middle) > 25


def test_an_edit_shows_every_further_reference(client, decode):
    files = [picture(), *(picture(seed, (300, 300)) for seed in (0, 60, 120, 180))]
    plain = decode(client.edit(files[0]))
    shown = [decode(client.edit(*files[:count])) for count in range(2, 6)]
    bottom = (0, int(plain.height * 0.78), int(plain.width * 0.62), int(plain.height * 0.98))
    frames = [
        sum(image.crop(bottom).convert("L").point(lambda level: level > 244).histogram()[1:])
        for image in shown
    ]
    assert frames == sorted(set(frames))
    assert frames[0] > 1000


def padded(left, top, right, bottom, size=(600, 600)):
    """An image with grey borders, as ComfyUI's Pad Image for Outpainting makes them."""
    inside = opened(picture(size=size))
    whole = Image.new("RGB", (left + size[0] + right, top + size[1] + bottom), (128, 128, 128))
    whole.paste(inside, (left, top))
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("borders", "size"),
    [
        ((200, 0, 200, 0), (1000, 600)),
        ((0, 300, 0, 0), (600, 900)),
        ((150, 0, 0, 150), (750, 750)),
        ((400, 0, 0, 0), (1000, 600)),
        ((40, 40, 40, 40), (680, 680)),
    ],
)
def test_grey_borders_are_painted_over_and_the_old_image_stays(client, decode, borders, size):
    data = padded(*borders)
    image = decode(client.edit(data))
    source = opened(data)
    image = image.resize(source.size, Image.Resampling.BICUBIC)
    left, top, right, _ = borders
    inside = (left + 20, top + 20, size[0] - right - 20, top + 400)
    assert mean(ImageChops.difference(source, image), inside) < 3
    grey = ImageChops.difference(image, Image.new("RGB", image.size, (128, 128, 128)))
    channels = grey.split()
    farthest = ImageChops.lighter(ImageChops.lighter(*channels[:2]), channels[2])
    flat = farthest.point(lambda level: 255 * (level < 6))
    assert mean(flat) < 255 * 0.02


def test_a_painted_border_meets_the_old_image(client, decode):
    """A client compares the two beside the border: there must be no step."""
    image = decode(client.edit(padded(200, 0, 200, 0), model="MAI-Image-2.7"))
    for edge in (0.2, 0.8):
        x = round(image.width * edge)
        for y in range(40, image.height - 120, 40):
            beside = [image.getpixel((x + step, y)) for step in (-8, 8)]
            assert all(abs(a - b) < 24 for a, b in zip(*beside, strict=True))


def test_grey_that_is_no_border_is_no_padding(client, decode):
    image = Image.new("RGB", (800, 800), (128, 128, 128))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    assert decode(client.edit(buffer.getvalue())).size == (1024, 1024)


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


@pytest.mark.parametrize("size", ["1x1", "1x900", "2000x3", "16x16", "63x64", "100x3000"])
@pytest.mark.parametrize("way", ["generate", "transparent", "edit"])
def test_any_size_can_be_painted(client, decode, file, size, way):
    headers = {"x-emulator-fault": f"size={size}"}
    if way == "edit":
        answer = client.edit(file(100, 100), file(3, 500), headers=headers)
    elif way == "transparent":
        answer = client.generate(headers, model="MAI-Image-2.7", background="transparent")
    else:
        answer = client.generate(headers)
    assert decode(answer).size == tuple(int(side) for side in size.split("x"))


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
