"""[page] of profiles.toml: closed unless it says otherwise in so many words."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from mai_image.mai.errors import ProfileError
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


GOOD = """
[profiles.work]
endpoint = "https://r.services.ai.azure.com"
credential = { kind = "key", value = "k" }
keep_prompts = true

[page]
hosts = ["studio.lan:8188"]
allow_remote = true
show_prompts = true
"""

MISTAKES = {
    "TOML syntax": "\n[profiles.x\n",
    "a table twice": "\n[page]\n",
    "a setting twice": "show_prompts = true\n",
    "an unknown table": "\n[unknown]\nx = 1\n",
    "an unknown setting of the page": "show_promts = false\n",
    "an unknown setting of the store": "\n[store]\nlimit = 1\n",
    "a wrong type in the store": '\n[store]\nlimit_gb = "1"\n',
    "a wrong type in another profile": "\n[profiles.other]\ntier = true\n",
    "an unknown setting of another profile": "\n[profiles.other]\nkeep_promts = false\n",
    "a profile's name": '\n[profiles."a/b"]\ntier = 1\n',
    "a profile that is no table": "\n[profiles]\nx = 1\n",
    "a line that is too long": "\n# " + "x" * 3000,
    "a text that never ends": '\nx = """',
    "a control character": "\nx = '\x07'\n",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_any_mistake_in_the_file_closes_every_privacy_switch(mistake: str, tmp_path: Path) -> None:
    """Whoever mistyped a switch that closes must not be shown as open."""
    path = tmp_path / "profiles.toml"
    path.write_text(GOOD, encoding="utf-8")
    profiles = Profiles(tmp_path, {})
    assert profiles.get("work").keep_prompts
    assert profiles.keeps_prompts("work")
    assert profiles.page().show_prompts
    path.write_text(GOOD + MISTAKES[mistake], encoding="utf-8")
    assert profiles.page() == PageSettings(hosts=[], allow_remote=False, show_prompts=False)
    assert not any(profiles.keeps_prompts(name) for name in ("work", "gone", "emulator", "default"))
    with contextlib.suppress(ProfileError):  # one that can't be used keeps nothing either
        assert not profiles.get("work").keep_prompts


def test_every_switch_of_the_page_is_closed_where_nothing_is_said(tmp_path: Path) -> None:
    """A switch that is added has to be closed by a mistake too: `Profiles.page` and this test."""
    assert set(PageSettings.model_fields) == {"hosts", "allow_remote", "show_prompts"}
    assert not any(CLOSED.model_dump().values())


@pytest.mark.parametrize("data", [b"\xff\xfe", b"x" * 300_000])
def test_a_file_that_cannot_be_read_closes_them_too(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_bytes(data)
    profiles = Profiles(tmp_path, {})
    assert profiles.page() == PageSettings(show_prompts=False)
    assert not profiles.keeps_prompts("gone")


def test_a_profile_that_is_gone_keeps_its_prompts_and_one_that_says_no_shows_none(
    tmp_path: Path,
) -> None:
    (tmp_path / "profiles.toml").write_text(
        GOOD.replace("keep_prompts = true", "keep_prompts = false"), encoding="utf-8"
    )
    profiles = Profiles(tmp_path, {})
    assert not profiles.keeps_prompts("work")
    assert not profiles.keeps_prompts("default")
    assert profiles.keeps_prompts("gone")


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ('"http://studio.lan"', "line 2: hosts must be a list of host names"),
        ('["studio.lan", "studio.lan/x"]', "Number 2 of it isn't."),
        ('["*"]', "line 2: hosts must be"),
        ('["*.lan"]', "Number 1 of it isn't."),
        ('["studio.lan:99999"]', "line 2: hosts must be"),
        ('["me@studio.lan"]', "line 2: hosts must be"),
        ('[""]', "line 2: hosts must be"),
        ("[8188]", "line 2: hosts must be"),
        ("true", "line 2: hosts must be"),
        ('["::1"]', "line 2: hosts must be"),
        ('["127.1"]', "line 2: hosts must be"),
        ('[\n  "studio.lan",\n  "a b",\n]', "line 2: hosts must be"),
    ],
)
def test_a_mistake_in_hosts_is_told_with_its_line_and_opens_nothing(
    hosts: str, said: str, tmp_path: Path
) -> None:
    assert settings(tmp_path, f"[page]\nhosts = {hosts}\n") == PageSettings(show_prompts=False)
    with pytest.raises(ProfileError) as caught:
        Profiles(tmp_path, {}).get("work")
    assert said in str(caught.value)
    assert "line 2: " in str(caught.value)


def test_hosts_are_names_and_addresses_with_or_without_a_port(tmp_path: Path) -> None:
    found = settings(tmp_path, '[page]\nhosts = ["Studio.lan:8188", "10.0.0.5", "[fe80::1]:80"]\n')
    assert found.hosts == ["studio.lan:8188", "10.0.0.5", "[fe80::1]:80"]
    assert settings(tmp_path, '[page]\nhosts = "studio.lan"\n').hosts == ["studio.lan"]
