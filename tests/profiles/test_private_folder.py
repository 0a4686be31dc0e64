"""A folder that was made by hand: other users of this machine can't read it for long."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image.mai.errors import ProfileError
from mai_image.mai.profiles import Profiles

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")

TEXT = """
[profiles.work]
endpoint = "https://r.services.ai.azure.com"
credential = { kind = "key", value = "k" }
[page]
allow_remote = true
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def by_hand(folder: Path, folder_mode: int = 0o755, file_mode: int = 0o644) -> Path:
    """A folder with profiles.toml and a store, as `mkdir` and an editor make them."""
    (folder / "store" / "0a").mkdir(parents=True)
    for path in ("profiles.toml", "gateway.key", "ledger.sqlite-wal", "store/0a/x.json"):
        (folder / path).write_text(TEXT if path == "profiles.toml" else "{}", encoding="utf-8")
        (folder / path).chmod(file_mode)
    for path in (folder / "store" / "0a", folder / "store", folder):
        path.chmod(folder_mode)
    return folder


@pytest.mark.parametrize("folder_mode", [0o755, 0o777, 0o750, 0o701])
def test_the_packs_own_folder_and_all_in_it_become_private(
    folder_mode: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = by_hand(tmp_path / "__mai", folder_mode)
    profiles = Profiles(folder, {})
    assert profiles.get("work").name == "work"
    modes = {path.relative_to(folder).as_posix(): mode(path) for path in folder.rglob("*")}
    assert mode(folder) == 0o700
    assert {found for name, found in modes.items() if "." in name} == {0o600}
    assert {found for name, found in modes.items() if "." not in name} == {0o700}
    assert "could read" in caplog.text
    assert any("chmod 700" in warning for warning in profiles.warnings())


def test_a_private_folder_is_not_spoken_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = by_hand(tmp_path / "__mai", 0o700, 0o600)
    assert Profiles(folder, {}).warnings() == []
    assert not caplog.records


def test_a_file_that_is_opened_later_is_closed_with_the_next_look(tmp_path: Path) -> None:
    folder = by_hand(tmp_path / "__mai", 0o700, 0o600)
    profiles = Profiles(folder, {})
    profiles.get("work")
    (folder / "profiles.toml").chmod(0o666)
    profiles.get("work")
    assert mode(folder / "profiles.toml") == 0o600
    folder.chmod(0o755)
    profiles.get("work")
    assert mode(folder) == 0o700


def test_a_folder_that_holds_other_things_too_stays_as_it_is(tmp_path: Path) -> None:
    """--folder may name any folder, even one that many programs share."""
    folder = by_hand(tmp_path / "shared")
    other = folder / "notes.txt"
    other.write_text("for everybody", encoding="utf-8")
    other.chmod(0o644)
    Profiles(folder, {}).get("work")
    assert (mode(folder), mode(other)) == (0o755, 0o644)
    assert mode(folder / "profiles.toml") == mode(folder / "ledger.sqlite-wal") == 0o600
    assert mode(folder / "store") == 0o700


def test_what_a_link_leads_to_stays_as_it_is(tmp_path: Path) -> None:
    folder = by_hand(tmp_path / "__mai")
    (folder / "profiles.toml").rename(tmp_path / "elsewhere.toml")
    (folder / "profiles.toml").symlink_to(tmp_path / "elsewhere.toml")
    profiles = Profiles(folder, {})
    profiles.get("work")
    assert mode(tmp_path / "elsewhere.toml") == 0o644
    assert any("chmod 600" in warning for warning in profiles.warnings())


@pytest.fixture
def another_user() -> Iterator[Path]:
    """A folder of root's that everybody can reach, and this process as somebody else."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    by_hand(folder / "__mai")
    os.seteuid(12345)
    try:
        yield folder / "__mai"
    finally:
        os.seteuid(0)
        shutil.rmtree(folder)


def test_a_folder_of_another_user_that_others_can_read_is_refused(another_user: Path) -> None:
    profiles = Profiles(another_user, {})
    with pytest.raises(ProfileError) as caught:
        profiles.get("work")
    assert "Other users of this machine can read the folder" in str(caught.value)
    assert "chmod 700" in str(caught.value)
    assert not profiles.page().allow_remote
    assert mode(another_user) == 0o755
