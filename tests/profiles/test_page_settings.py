"""[page] of profiles.toml: closed unless it says otherwise in so many words."""

from __future__ import annotations

from pathlib import Path

import pytest
from mai_image.mai.profiles import CLOSED, PageSettings, Profiles


def settings(folder: Path, text: str) -> PageSettings:
    (folder / "profiles.toml").write_text(text, encoding="utf-8")
    return Profiles(folder, {}).page()


def test_without_a_file_or_a_table_everything_is_closed(tmp_path: Path) -> None:
    assert Profiles(tmp_path, {}).page() == CLOSED
    assert settings(tmp_path, "[store]\nlimit_gb = 1") == CLOSED
    assert (CLOSED.allow_remote, CLOSED.show_prompts) == (False, None)


def test_the_table_opens_what_it_names(tmp_path: Path) -> None:
    assert settings(tmp_path, "[page]\nallow_remote = true") == PageSettings(allow_remote=True)
    assert settings(tmp_path, "[page]\nshow_prompts = false") == PageSettings(show_prompts=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[page]\nallow_remote = "true"', "line 2: allow_remote must be true or false"),
        ("[page]\nallow_remotes = true", "line 2: [page] has an unknown key 'allow_remotes'"),
        ("page = true", "page must be a table"),
    ],
)
def test_a_mistake_opens_nothing_and_is_told_with_its_line(
    text: str, said: str, tmp_path: Path
) -> None:
    assert settings(tmp_path, text).allow_remote is False
    with pytest.raises(Exception, match="has a mistake") as caught:
        Profiles(tmp_path, {}).get("work")
    assert said in str(caught.value)


def test_a_change_of_the_file_is_seen_at_once(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path, {})
    assert not profiles.page().allow_remote
    (tmp_path / "profiles.toml").write_text("[page]\nallow_remote = true", encoding="utf-8")
    assert profiles.page().allow_remote
