"""A command whose images are all refused ends with the first refusal, and waits for no slot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mai_image import emulator
from mai_image.cli import main
from mai_image.emulator import Emulator

PROFILES = """
[profiles.slow]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 2

[profiles.no_key]
endpoint = "{url}"
credential = {{ kind = "key_env", name = "NO_SUCH_VARIABLE" }}
requests_a_minute = 2

[profiles.poor]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 2
budget = {{ day = 0.1 }}

[profiles.gateway]
service = "pixazo"
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 2
"""

BURST = 2
"""Calls that two requests a minute let go at once."""

SOON = 25.0
"""Seconds, less than the first wait for a slot: 30 s."""

Generate = Callable[..., int]


@pytest.fixture(scope="module")
def emulators() -> Iterator[Emulator]:
    with emulator.start() as started:
        yield started


@pytest.fixture
def bought(emulators: Emulator) -> Emulator:
    emulators.log.clear()
    emulators.fault("")
    return emulators


@pytest.fixture
def generate(tmp_path: Path, bought: Emulator, monkeypatch: pytest.MonkeyPatch) -> Generate:
    """Runs `generate` in an empty folder; it must end long before the first wait for a slot."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    path = folder / "profiles.toml"
    path.write_text(PROFILES.format(url=bought.url), encoding="utf-8")
    path.chmod(0o600)
    monkeypatch.chdir(tmp_path)

    def run(prompt: str, profile: str, count: int, *options: str) -> int:
        began = time.monotonic()
        words = ("generate", prompt, "--profile", profile, "--count", str(count), *options)
        code = main(["--folder", str(folder), *words], poll_seconds=0.02)
        assert time.monotonic() - began < SOON
        return code

    return run


@pytest.mark.parametrize(
    ("profile", "fault", "said"),
    [
        ("slow", "status=401", "401"),
        ("slow", "status=403", "403"),
        ("slow", "status=404", "404"),
        ("gateway", "status=402", "402"),
        ("no_key", "", "NO_SUCH_VARIABLE"),
        ("poor", "", "budget"),
    ],
)
def test_64_images_fail_at_once_and_are_reported_in_few_lines(
    generate: Generate, bought: Emulator, capsys, profile: str, fault: str, said: str
) -> None:
    bought.fault(fault)
    model = "MAI-Image-2.5" if profile == "gateway" else "MAI-Image-2.6"
    assert generate("a red fox", profile, 64, "--model", model) == 1
    text = capsys.readouterr().err
    assert said in text
    assert len(text.splitlines()) < 20
    assert "withdrawn" not in text
    assert len(bought.log.entries) <= BURST


def test_what_was_not_sent_is_counted_with_the_reason(
    generate: Generate, bought: Emulator, capsys
) -> None:
    bought.fault("status=401")
    generate("a red fox", "slow", 64)
    text = capsys.readouterr().err
    refused = text.count("mai-image: image ")
    assert refused <= BURST
    assert f"{64 - refused} more did not come for the same reason" in text


def test_images_that_were_paid_for_before_are_still_saved(
    generate: Generate, bought: Emulator, tmp_path: Path
) -> None:
    assert generate("a red fox", "slow", 1, "--seed", "5") == 0
    assert generate("a red fox", "slow", 1, "--seed", "1", "--out", "first") == 0
    assert generate("a red fox", "no_key", 8, "--out", "again") == 1
    assert bought.log.billed == 2
    saved = sorted(path.name for path in (tmp_path / "again").iterdir())
    assert saved == ["a-red-fox_1.png", "a-red-fox_5.png"]


def test_a_batch_that_the_budget_cannot_pay_sends_nothing_and_says_what_it_could(
    generate: Generate, bought: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate("a red fox", "poor", 8, "--model", "MAI-Image-2.6", "--size", "768x768") == 1
    text = capsys.readouterr().err
    assert "$0.10 left today. Nothing was sent." in text
    assert "The budget pays for 4 of the 8 images." in text
    assert len(bought.log.entries) == 0
