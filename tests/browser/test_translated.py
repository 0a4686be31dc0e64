"""What the server says, read on the real page in another language than its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mai_image.demo import browser
from mai_image.demo.launch import ComfyUIServer

SAYS = {
    "zh": {
        "note": "目标小于生成的尺寸",
        "target": "请同时设置 target_width 和 target_height",
        "size": "MAI-Image-2.6 无法生成 2048 x 1536：3,145,728 像素超过上限 2,359,296",
        "rounded": "768 x 1365 会返回为 768 x 1360",
        "progress": "已发送 2/2",
        "failed": "2 张图片中有 2 张失败。",
        "blocked": "内容过滤器拦截了提示词或参考图。",
    },
    "ja": {
        "note": "目標が生成サイズより小さい",
        "target": "target_width と target_height の両方を設定するか",
        "size": "MAI-Image-2.6 は 2048 x 1536 を作れません：3,145,728 ピクセルは上限の 2,359,296",
        "rounded": "768 x 1365 は 768 x 1360 で返ってきます",
        "progress": "送信 2/2",
        "failed": "2 枚中 2 枚の画像が失敗しました。",
        "blocked": "プロンプトか参照画像をコンテンツフィルターがブロックしました。",
    },
}
MODULES = {"zh": "chinese", "ja": "japanese"}


@pytest.fixture(scope="module", params=[("canvas", "zh"), ("vue", "ja")], ids="-".join)
def seen(
    request: pytest.FixtureRequest, server: ComfyUIServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What translated.mjs saw, and what it should have read."""
    renderer, language = request.param
    folder = tmp_path_factory.mktemp("translated")
    printed = browser.run_script("translated.mjs", server.url, renderer, language, str(folder))
    return {**json.loads(printed), "says": SAYS[language], "module": MODULES[language]}


def test_only_the_catalogue_of_the_pages_language_is_loaded(seen: dict[str, Any]) -> None:
    assert seen["catalogues"] == [f"/mai-image/web/{seen['module']}.mjs"]
    assert seen["problems"] == []


def test_size_helper_says_its_notes_and_problems_in_the_pages_language(
    seen: dict[str, Any],
) -> None:
    assert seen["says"]["note"] in seen["helper"]["note"]
    assert seen["says"]["target"] in seen["helper"]["problem"]


def test_a_notice_is_in_the_pages_language(seen: dict[str, Any]) -> None:
    assert seen["says"]["size"] in seen["notice"]["problem"]
    assert seen["says"]["rounded"] in seen["notice"]["note"]


def test_the_text_on_a_node_that_runs_is_in_the_pages_language(seen: dict[str, Any]) -> None:
    texts = seen["failed"]["texts"]
    assert any(text.startswith(seen["says"]["progress"]) for text in texts)
    assert not [text for text in texts if "sent" in text or "blocked" in text]
    assert seen["says"]["blocked"] in seen["failed"]["node"]


def test_an_error_is_shown_in_the_pages_language_and_reported_in_english_too(
    seen: dict[str, Any],
) -> None:
    failed, says = seen["failed"], seen["says"]
    assert failed["message"].startswith(says["failed"])
    assert says["blocked"] in failed["message"]
    assert says["blocked"] in failed["page"].replace("\n", "")
    assert "2 of 2 images failed." in failed["report"]
    assert "request id " in failed["report"]


ENGLISH = {
    "several sentences": "The prompt is empty. Write what the image should show.",
    "lines with numbers": "2 of 4 images failed.\nImages 1, 3: The prompt is empty.",
    "a sentence that nobody knows": "Nobody knows this. Nothing was sent.",
    "a service's words": 'The service refused the request. It said: "No. Never" Queue again.',
    "clauses": "X can't make 1 x 2: the width is 1, less than 768; the height is 2, less than 768.",
    "values side by side": "The ledger /my files/a.sqlite can't be written: the disk is full.",
    "no text at all": "· \n 12 s · $0.088",
}
GERMAN = {
    "several sentences": "Der Prompt ist leer. Schreiben, was das Bild zeigen soll.",
    "lines with numbers": "2 von 4 Bildern sind gescheitert.\nBilder 1, 3: Der Prompt ist leer.",
    "a sentence that nobody knows": "Nobody knows this. Nichts wurde gesendet.",
    "a service's words": "Der Dienst lehnt die Anfrage ab. Es sagte: „No. Never“. "
    "Noch einmal ausführen.",
    "clauses": "X kann 1 x 2 nicht machen: width ist 1, weniger als 768; "
    "height ist 2, weniger als 768.",
    "values side by side": "Das Kassenbuch /my files/a.sqlite lässt sich nicht schreiben: "
    "Der Datenträger ist voll.",
    "no text at all": "· \n 12 s · $0.088",
}


@pytest.fixture(scope="module")
def says() -> dict[str, Any]:
    """What says.mjs found: the English texts, and the German ones, which stay as they are."""
    texts = {"de": [*ENGLISH.values(), *GERMAN.values()]}
    found: dict[str, Any] = json.loads(browser.run_script("says.mjs", json.dumps(texts)))
    return found


def test_every_sentence_of_a_catalogue_is_found_and_not_taken_for_another(
    says: dict[str, Any],
) -> None:
    assert says["lost"] == []


def test_texts_of_several_sentences_are_translated_as_far_as_they_are_known(
    says: dict[str, Any],
) -> None:
    assert says["said"]["de"][: len(ENGLISH)] == list(GERMAN.values())


def test_what_is_translated_stays_as_it_is(says: dict[str, Any]) -> None:
    assert says["said"]["de"][len(ENGLISH) :] == list(GERMAN.values())


def test_long_texts_of_a_hostile_server_are_read_quickly(says: dict[str, Any]) -> None:
    assert says["seconds"] < 10
