"""What the tables of profiles.toml have in common: their form, and how a setting is described.

A field's description ends the sentence "<key> must be …", which is all that is said of a mistake:
pydantic's own texts quote values, and a value may be a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_NAME = 64
"""Characters of a profile's, a model's or a deployment's name; Azure's own limit for the last."""


class TomlTable(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


def number(low: float, high: float, default: float | None = None) -> Any:
    """A setting that is a number within limits."""
    return Field(default, ge=low, le=high, description=f"a number from {low:g} to {high:g}")


def whole_number(low: int, high: int) -> Any:
    """A setting that is a whole number within limits, or isn't set."""
    return Field(None, ge=low, le=high, description=f"a whole number from {low} to {high}")


def flag(default: bool | None) -> Any:
    """A setting that is on or off."""
    return Field(default, description="true or false, without quotes")


def one_of(words: Iterable[str], default: str) -> Any:
    """A setting that is one of some words."""
    return Field(default, pattern=any_of(words), description=" or ".join(words))


def any_of(words: Iterable[str]) -> str:
    """The regular expression of some words."""
    return f"^({'|'.join(map(re.escape, words))})$"


def only_if(is_right: Callable[[str], bool]) -> AfterValidator:
    """For a setting that is a text of a certain kind."""

    def check(text: str) -> str:
        if is_right(text):
            return text
        raise ValueError

    return AfterValidator(check)


def is_plain_name(name: str) -> bool:
    """Whether this is 1 to 64 letters, digits, spaces and . _ - only: safe in any text and file."""
    return (
        0 < len(name) <= MAX_NAME
        and name == name.strip()
        and all(letter.isalnum() or letter in " ._-" for letter in name)
    )
