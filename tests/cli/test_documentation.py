"""docs/command-line.md names every command and every option that --help names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mai_image.cli import main

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "command-line.md").read_text("utf-8")

SECTIONS = dict(re.findall(r"(?m)^## (\w+)\n((?s:.*?))(?=^## |\Z)", TEXT))
"""The text under each heading that is one word."""

FOR_ALL = {"--help", "--folder"}


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out


def test_every_command_has_a_section(capsys) -> None:
    commands = re.findall(r"(?m)^    (\w+)", help_of(capsys))
    assert len(commands) == 11
    assert set(SECTIONS) == set(commands)


@pytest.mark.parametrize(
    "command",
    ["generate", "edit", "batch", "size", "models", "spend", "store", "init", "doctor", "open"],
)
def test_every_option_is_explained_and_there_is_no_other(command, capsys) -> None:
    options = set(re.findall(r"--[a-z-]+", help_of(capsys, command))) - FOR_ALL
    shown = SECTIONS[command] + (SECTIONS["generate"] if command == "edit" else "")
    assert set(re.findall(r"--[a-z-]+[a-z]", shown)) == options


def test_doctors_exit_codes_are_those_of_its_help(capsys) -> None:
    said = " ".join(help_of(capsys, "doctor").split())
    steps = re.findall(r"(?m)^\| (\d+) \| (\w+):", SECTIONS["doctor"])
    assert len(steps) == 8
    assert said.endswith(", ".join(f"{code} {step}" for code, step in steps))
