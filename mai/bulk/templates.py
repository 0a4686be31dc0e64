"""Texts with {column} in them: `fill` puts each column's value in its place, once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from ..errors import InputError

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]{1,100})\}")
"""A doubled brace stands for itself; a name has at most 100 characters."""


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with the values of the columns that it names; what they hold isn't filled again.

    Names are lower-case. Braces around what can't be a name ("{red|blue}") are left as they are,
    and so are empty ones. InputError: there is no column of that name.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        name = _name(match[1])
        if name in values:
            return values[name]
        if not _could_be_name(name):
            return match[0]
        raise InputError(
            f"There is no column {match[1][:60]!r} for {{{match[1][:60]}}}.",
            f"{hint_at(name, values)}Write {{{{ and }}}} for braces that stand for themselves.",
        )

    return _PLACE.sub(value, template)


def names_in(template: str) -> set[str]:
    """The names of all columns that a template may use, lower-case."""
    return {_name(match[1]) for match in _PLACE.finditer(template) if match[1] is not None}


def hint_at(name: str, names: Iterable[str]) -> str:
    """A sentence that asks whether the nearest of the names was meant; "" without a near one."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.7)
    return f"Did you mean {near[0]!r}? " if near else ""


def _name(text: str) -> str:
    return text.strip().lower()


def _could_be_name(name: str) -> bool:
    return name.translate({ord(each): None for each in "_- "}).isalnum()
