"""The scripts of docs/python.md do what the page says."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image import emulator
from mai_image.emulator import Emulator

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text("utf-8"), re.DOTALL
)

PROFILE = """
[profiles.work]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
"""


@pytest.fixture
def service() -> Iterator[Emulator]:
    with emulator.start() as started:
        yield started


def test_the_scripts_buy_save_and_edit_and_are_free_the_second_time(
    service: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    data = tmp_path / "share" / "mai-image"
    data.mkdir(parents=True, mode=0o700)
    (data / "profiles.toml").write_text(PROFILE.format(url=service.url), encoding="utf-8")
    (data / "profiles.toml").chmod(0o600)
    monkeypatch.setattr("mai_image.mai.profiles.usual_folder", lambda packs: (data, "a test"))
    monkeypatch.chdir(tmp_path)
    buy, edit = SCRIPTS
    assert len([line for line in buy.splitlines() if line and "import" not in line]) <= 10
    for _ in range(2):
        # The second script goes on where the first one has its client still open.
        whole = buy.replace("client.close()\n", "") + edit + "client.close()\n"
        (tmp_path / "script.py").write_text(whole, encoding="utf-8")
        runpy.run_path(str(tmp_path / "script.py"))
    assert service.log.billed == 3
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["chair_0.png", "chair_1.png"]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert [line.split()[-1] for line in said] == ["False", "False", "True", "True"]
