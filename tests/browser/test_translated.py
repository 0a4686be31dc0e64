"""What the server says, read on the real page in another language than its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mai_image.demo import browser
from mai_image.demo.launch import Server

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
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What translated.mjs saw, and what it should have read."""
    renderer, language = request.param
    folder = tmp_path_factory.mktemp("translated")
    printed = browser.run("translated.mjs", server.url, renderer, language, str(folder))
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
    assert seen["failed"]["node"] == texts[-1]


def test_an_error_is_shown_in_the_pages_language_and_reported_in_english_too(
    seen: dict[str, Any],
) -> None:
    failed, says = seen["failed"], seen["says"]
    assert failed["message"].startswith(says["failed"])
    assert says["blocked"] in failed["message"]
    assert says["blocked"] in failed["page"].replace("\n", "")
    assert "2 of 2 images failed." in failed["report"]
    assert "request id " in failed["report"]
