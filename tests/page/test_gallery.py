"""The last pictures: facts, thumbnails, files, and whose prompts are shown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from asking import Ask, result
from mai_image.mai.service import Service
from mai_image.page.gallery import MOST, SIDE
from PIL import Image
from scripted import png

KEYS = [f"{number:064x}" for number in range(MOST + 5)]


def keep(service: Service, number: int = 0, profile: str = "work", **facts: object) -> str:
    image = facts.pop("image", None) or png(shade=number % 200)
    service.store.put(
        KEYS[number],
        result(image, **facts),
        prompt="a harbour at night",
        service=str(facts.get("service", "foundry")),
        profile=profile,
    )
    return KEYS[number]


def allow(folder: Path, settings: str) -> None:
    with (folder / "profiles.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[page]\n{settings}\n")


def prompts(ask: Ask, **how: object) -> list[object]:
    pictures = ask("pictures", **how).json["pictures"]
    return [picture.get("prompt") for picture in pictures]  # type: ignore[attr-defined]


def test_the_newest_pictures_come_first_with_their_facts(ask: Ask, service: Service) -> None:
    keep(service, 1)
    keep(service, 2)
    first, second = ask("pictures").json["pictures"]  # type: ignore[misc]
    assert [first["key"], second["key"]] == [KEYS[2], KEYS[1]]
    assert (first["model"], first["cost_usd"], first["width"]) == ("MAI-Image-2.6", 0.0219, 64)
    assert first["prompt"] == "a harbour at night"
    assert set(first) == {
        *("key", "width", "height", "model", "profile", "cost_usd", "seconds", "arrived_at"),
        *("emulated", "prompt"),
    }


def test_a_count_is_kept_to_and_has_an_end(ask: Ask, service: Service) -> None:
    for number in range(3):
        keep(service, number)
    assert len(ask("pictures?count=2").json["pictures"]) == 2  # type: ignore[arg-type]
    assert ask("pictures?count=99999").status == 200
    assert ask("pictures?count=x").status == 400


def test_a_profile_that_keeps_no_prompts_now_shows_none_of_before(
    ask: Ask, service: Service
) -> None:
    keep(service, 0, profile="work")
    keep(service, 1, profile="quiet")
    assert prompts(ask) == [None, "a harbour at night"]


def test_prompts_are_shown_on_this_machine_alone_unless_the_file_says_otherwise(
    ask: Ask, service: Service, folder: Path
) -> None:
    keep(service)
    assert prompts(ask, multi_user=True) == [None]
    allow(folder, "allow_remote = true")
    assert prompts(ask, listen="0.0.0.0") == [None]
    allow(folder, "")  # a second [page] is a mistake: all is closed again
    assert ask("pictures", listen="0.0.0.0").status == 403


@pytest.mark.parametrize("shown", ["true", "false"])
def test_the_file_decides_on_prompts_everywhere(
    shown: str, ask: Ask, service: Service, folder: Path
) -> None:
    keep(service)
    allow(folder, f"allow_remote = true\nshow_prompts = {shown}")
    wanted = ["a harbour at night"] if shown == "true" else [None]
    assert prompts(ask, listen="0.0.0.0") == wanted
    assert prompts(ask) == wanted


def test_a_picture_comes_as_the_bytes_that_the_service_sent(ask: Ask, service: Service) -> None:
    data = png(100, 50)
    answer = ask(f"pictures/{keep(service, 0, image=data)}")
    assert answer.body == data
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_no_picture_for_a_browser_is_not_served(ask: Ask, service: Service) -> None:
    key = keep(service, 0, image=b"<script>alert(1)</script>", media_type="text/html")
    assert ask(f"pictures/{key}").status == 404
    assert ask(f"pictures/{key}/thumbnail").status == 404


def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape(ask: Ask, service: Service) -> None:
    answer = ask(f"pictures/{keep(service, 0, image=png(1600, 800))}/thumbnail")
    assert answer.headers["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.body)) as small:
        assert small.size == (SIDE, SIDE // 2)


def test_a_thumbnail_of_damaged_pixels_is_a_404(ask: Ask, service: Service) -> None:
    key = keep(service, 0, image=png(400, 400)[:200])
    assert ask(f"pictures/{key}/thumbnail").status == 404


def test_a_picture_that_is_not_there_is_a_404_with_a_sentence(ask: Ask) -> None:
    answer = ask(f"pictures/{KEYS[9]}")
    assert answer.status == 404
    assert str(answer.json["error"]).endswith(".")


def test_what_the_built_in_emulator_drew_is_called_emulated(ask: Ask, service: Service) -> None:
    keep(service, 0, profile="emulator")
    keep(service, 1, profile="work")
    pictures = ask("pictures").json["pictures"]
    assert [picture["emulated"] for picture in pictures] == [False, True]  # type: ignore[attr-defined]
