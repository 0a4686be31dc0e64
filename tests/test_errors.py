"""How errors are shown: ComfyUI writes a type's full name before its text."""

from __future__ import annotations

import traceback

import pytest
from mai_image.mai import errors
from mai_image.mai.database import BusyError


def kinds(kind: type[errors.MaiError] = errors.MaiError) -> list[type[errors.MaiError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in kinds(below))]


def shown(kind: type[errors.MaiError]) -> str:
    """A type's name as ComfyUI's execution.full_type_name writes it."""
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return module + kind.__qualname__


def test_every_error_is_shown_in_words_and_not_by_a_name_of_the_code() -> None:
    for kind in kinds():
        assert "Error" not in shown(kind)
        assert "." not in shown(kind)
        assert shown(kind)[0].isupper()


def test_an_error_of_another_room_is_shown_as_the_kind_it_belongs_to() -> None:
    assert shown(BusyError) == shown(errors.StoreError) == "Store not usable"


def test_a_log_begins_with_the_words_and_the_sentence() -> None:
    error = errors.BudgetError("The budget doesn't allow this.", "Raise it.")
    first = traceback.format_exception_only(error)[0].splitlines()[0]
    assert first == "Over budget: The budget doesn't allow this."


@pytest.mark.parametrize(
    ("what", "status", "code", "facts"),
    [
        ("No.", 401, "401", "(HTTP 401)"),
        ("No.", 401, "invalid_key", "(HTTP 401, invalid_key)"),
        ("The service failed (HTTP 503).", 503, "503", ""),
        ("The service failed (HTTP 503).", 503, "busy", "(busy)"),
    ],
)
def test_a_status_is_told_once(what: str, status: int, code: str, facts: str) -> None:
    text = str(errors.ServiceError(what, status=status, code=code))
    assert text == "\n".join(filter(None, [what, facts]))
