"""How errors are shown: ComfyUI writes a type's full name before its text."""

from __future__ import annotations

from mai_image.mai import errors


def test_every_error_is_shown_by_the_packs_name_and_not_by_its_folder() -> None:
    kinds = [errors.MaiError, errors.BudgetError, errors.BlockedError, errors.SizeError]
    assert {kind.__module__ for kind in kinds} == {"mai_image"}
    assert f"{errors.BudgetError.__module__}.{errors.BudgetError.__qualname__}" == (
        "mai_image.BudgetError"
    )
