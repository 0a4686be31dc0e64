"""The last images: facts, thumbnails, files, and whose prompts are shown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from mai_image.mai.client import Client
from mai_image.mai.store import Order
from mai_image.page.gallery import MOST, SIDE
from page_helpers import Ask, result
from PIL import Image
from scripted_server import png

KEYS = [f"{number:064x}" for number in range(MOST + 5)]


def keep(client: Client, number: int = 0, profile: str = "work", **facts: object) -> str:
    image = facts.pop("image", None) or png(shade=number % 200)
    client.store.put(
        KEYS[number],
        result(image, **facts),
        Order("a harbour at night", str(facts.get("service", "foundry")), profile),
    )
    return KEYS[number]


def allow(folder: Path, settings: str) -> None:
    with (folder / "profiles.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[page]\n{settings}\n")


def prompts(ask: Ask, **how: object) -> list[object]:
    images = ask("images", **how).json["images"]
    return [image.get("prompt") for image in images]  # type: ignore[attr-defined]


def test_the_newest_images_come_first_with_their_facts(ask: Ask, client: Client) -> None:
    keep(client, 1)
    keep(client, 2)
    first, second = ask("images").json["images"]  # type: ignore[misc]
    assert [first["key"], second["key"]] == [KEYS[2], KEYS[1]]
    assert (first["model"], first["cost_usd"], first["width"]) == ("MAI-Image-2.6", 0.0219, 64)
    assert first["prompt"] == "a harbour at night"
    assert set(first) == {
        *("key", "width", "height", "model", "profile", "cost_usd", "seconds", "arrived_at"),
        *("emulated", "real_usd", "prompt", "settings", "profile_known"),
    }


def test_a_count_is_kept_to_and_has_an_end(ask: Ask, client: Client) -> None:
    for number in range(3):
        keep(client, number)
    assert len(ask("images?count=2").json["images"]) == 2  # type: ignore[arg-type]
    assert ask("images?count=99999").status == 200
    assert ask("images?count=x").status == 400


def test_a_profile_that_keeps_no_prompts_now_shows_none_of_before(ask: Ask, client: Client) -> None:
    keep(client, 0, profile="work")
    keep(client, 1, profile="quiet")
    assert prompts(ask) == [None, "a harbour at night"]


def test_prompts_are_shown_on_this_machine_alone_unless_the_file_says_otherwise(
    ask: Ask, client: Client, folder: Path
) -> None:
    keep(client)
    assert prompts(ask, multi_user=True) == [None]
    allow(folder, "allow_remote = true")
    assert prompts(ask, listen="0.0.0.0") == [None]
    allow(folder, "")  # a second [page] is a mistake: all is closed again
    assert ask("images", listen="0.0.0.0").status == 403


@pytest.mark.parametrize("shown", ["true", "false"])
def test_the_file_decides_on_prompts_everywhere(
    shown: str, ask: Ask, client: Client, folder: Path
) -> None:
    keep(client)
    allow(folder, f"allow_remote = true\nshow_prompts = {shown}")
    wanted = ["a harbour at night"] if shown == "true" else [None]
    assert prompts(ask, listen="0.0.0.0") == wanted
    assert prompts(ask) == wanted


def test_an_image_comes_as_the_bytes_that_the_service_sent(ask: Ask, client: Client) -> None:
    data = png(100, 50)
    answer = ask(f"images/{keep(client, 0, image=data)}")
    assert answer.body == data
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_no_image_for_a_browser_is_not_served(ask: Ask, client: Client) -> None:
    key = keep(client, 0, image=b"<script>alert(1)</script>", media_type="text/html")
    assert ask(f"images/{key}").status == 404
    assert ask(f"images/{key}/thumbnail").status == 404


def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape(ask: Ask, client: Client) -> None:
    answer = ask(f"images/{keep(client, 0, image=png(1600, 800))}/thumbnail")
    assert answer.headers["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.body)) as small:
        assert small.size == (SIDE, SIDE // 2)


def test_a_thumbnail_of_damaged_pixels_is_a_404(ask: Ask, client: Client) -> None:
    key = keep(client, 0, image=png(400, 400)[:200])
    assert ask(f"images/{key}/thumbnail").status == 404


def test_an_image_that_is_not_there_is_a_404_with_a_sentence(ask: Ask) -> None:
    answer = ask(f"images/{KEYS[9]}")
    assert answer.status == 404
    assert str(answer.json["error"]).endswith(".")


def test_what_the_built_in_emulator_drew_is_called_emulated(ask: Ask, client: Client) -> None:
    keep(client, 0, profile="emulator")
    keep(client, 1, profile="work")
    images = ask("images").json["images"]
    assert [image["emulated"] for image in images] == [False, True]  # type: ignore[attr-defined]
