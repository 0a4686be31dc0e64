"""The store's images as a history: searched by words, model and date, page by page."""

from __future__ import annotations

from pathlib import Path

import pytest
from mai_image.mai.client import Client
from mai_image.mai.store import Order
from mai_image.mai.types import Usage
from mai_image.page.gallery import MOST
from page_helpers import Ask, result
from scripted_server import png

IMAGE = png()


def keep(
    client: Client, name: str, prompt: str = "", profile: str = "work", **facts: object
) -> str:
    key = name.encode().hex().ljust(64, "0")
    settings = facts.pop("settings", None)
    order = Order(prompt or name, "foundry", profile, settings=settings)  # type: ignore[arg-type]
    client.store.put(key, result(IMAGE, **facts), order)
    return key


def found(ask: Ask, query: str, **how: object) -> list[str]:
    images = ask(f"images?{query}", **how).json["images"]
    return [bytes.fromhex(one["key"]).rstrip(b"\0").decode() for one in images]  # type: ignore[attr-defined]


def allow(folder: Path, settings: str) -> None:
    with (folder / "profiles.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[page]\n{settings}\n")


def test_every_word_must_stand_in_the_prompt_or_the_models_name(ask: Ask, client: Client) -> None:
    keep(client, "fox", "A red FOX in Ÿpres")
    keep(client, "hen", "a red hen", model="MAI-Image-2.7")
    assert found(ask, "words=RED") == ["hen", "fox"]
    assert found(ask, "words=red+ÿPRES") == ["fox"]
    assert found(ask, "words=red+2.7") == ["hen"]
    assert found(ask, "words=red+%25") == []
    assert found(ask, "words='+OR+1%3D1+--") == []


def test_model_and_dates_narrow_the_search(ask: Ask, client: Client) -> None:
    keep(client, "one")
    keep(client, "two", model="MAI-Image-2.7")
    assert found(ask, "model=MAI-Image-2.7") == ["two"]
    assert ask("images?model=MAI-Image-2.7").json["models"] == ["MAI-Image-2.6", "MAI-Image-2.7"]
    assert found(ask, "since=4102444800") == []
    assert found(ask, "until=1000000000") == []
    assert found(ask, "since=1000000000&until=4102444800") == ["two", "one"]
    assert ask("images?since=yesterday").status == 400


def test_emulated_images_can_be_had_apart(ask: Ask, client: Client) -> None:
    keep(client, "drawn", profile="emulator")
    keep(client, "bought")
    assert found(ask, "from=emulated") == ["drawn"]
    assert found(ask, "from=paid") == ["bought"]
    assert found(ask, "") == ["bought", "drawn"]


def test_an_emulated_image_says_what_a_real_one_costs(ask: Ask, client: Client) -> None:
    keep(client, "drawn", profile="emulator", cost_usd=0.0, usage=Usage(10, 0, 1024))
    (image,) = ask("images").json["images"]  # type: ignore[misc]
    assert image["cost_usd"] == 0
    assert image["real_usd"] > 0.01


@pytest.mark.parametrize("query", ["", "words=image"])
def test_pages_follow_each_other_without_a_gap(query: str, ask: Ask, client: Client) -> None:
    names = [f"image {number}" for number in range(7)]
    for name in names:
        keep(client, name)
    seen, before = [], ""
    for _ in range(4):
        answer = ask(f"images?count=2&{query}{before}").json
        seen += [image["key"] for image in answer["images"]]  # type: ignore[attr-defined]
        before = f"&before={answer['after']}"
    assert answer["after"] is None
    assert [bytes.fromhex(key).rstrip(b"\0").decode() for key in seen] == names[::-1]
    assert MOST < 100


def test_a_prompt_that_may_not_be_shown_cannot_be_found_either(
    ask: Ask, client: Client, folder: Path
) -> None:
    keep(client, "open", "a secret harbour")
    keep(client, "hidden", "a secret garden", profile="quiet")
    assert found(ask, "words=secret") == ["open"]
    assert found(ask, "words=2.6") == ["hidden", "open"]
    assert found(ask, "words=secret", multi_user=True) == []
    allow(folder, "show_prompts = false")
    assert found(ask, "words=secret") == []
    assert ask("images").json["with_prompts"] is False


def test_an_image_that_is_forgotten_is_not_found(ask: Ask, client: Client) -> None:
    key = keep(client, "gone", "a red fox")
    client.store.forget(key)
    assert found(ask, "words=fox") == []


def test_a_lost_index_is_filled_and_searched_again(ask: Ask, client: Client) -> None:
    keep(client, "fox", "a red fox")
    client.store.close_file()
    for file in client.store.folder.glob("index.sqlite*"):
        file.unlink()
    assert found(ask, "words=fox") == ["fox"]


def test_what_a_node_was_set_to_comes_with_the_image(ask: Ask, client: Client) -> None:
    settings = {
        "kind": "generate",
        "seed": 7,
        "auto_aspect_ratio": False,
        "web_grounding": True,
        "background": "opaque",
    }
    keep(client, "made", settings=settings, asked=(1024, 768))
    keep(client, "edited", settings={**settings, "kind": "edit", "seed": 8})
    edited, made = ask("images").json["images"]  # type: ignore[misc]
    assert made["settings"] == {**settings, "size": [1024, 768]}
    assert (edited["settings"]["kind"], edited["settings"]["seed"]) == ("edit", 8)
    assert made["profile_known"] is True


def test_of_an_image_of_an_earlier_version_what_is_known_is_told(ask: Ask, client: Client) -> None:
    keep(client, "old", asked=(64, 48), profile="gone")
    keep(client, "edited", usage=Usage(10, 500, 576))
    keep(client, "odd", settings={"kind": ["x"], "seed": "7", "background": "opaque"})
    odd, edited, old = ask("images").json["images"]  # type: ignore[misc]
    assert old["settings"] == {"kind": "generate", "size": [64, 48]}
    assert old["profile_known"] is False
    assert edited["settings"] == {"kind": "edit"}
    assert odd["settings"] == {"kind": "generate", "background": "opaque"}
