"""The emulator that a client starts for itself: whether its prompts order faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from mai_image.cli import main
from mai_image.mai.profiles import emulator_directives

FAULTY = "a fox [[fault status=500]]"


@pytest.mark.parametrize("value", ["", "0", "true", "yes", "on", "2", "11", "false"])
def test_directives_are_off_unless_the_variable_is_1(value: str) -> None:
    assert not emulator_directives({"MAI_IMAGE_EMULATOR_DIRECTIVES": value})
    assert not emulator_directives({})
    assert emulator_directives({"MAI_IMAGE_EMULATOR_DIRECTIVES": " 1 "})


@pytest.mark.parametrize("switched", [True, False])
def test_a_directive_in_a_prompt_counts_only_where_it_is_switched_on(
    switched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAI_IMAGE_EMULATOR_DIRECTIVES", "1" if switched else "")
    words = ["generate", FAULTY, "--profile", "emulator", "--size", "768x768"]
    code = main([*words, "--out", str(tmp_path / "fox.png"), "--folder", str(tmp_path / "data")])
    assert (code == 0) is not switched
    assert (tmp_path / "fox.png").exists() is not switched
