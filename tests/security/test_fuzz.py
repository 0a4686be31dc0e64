"""A few hundred cases of each fuzz target; `tasks.py fuzz` runs as many as one likes."""

from __future__ import annotations

import ast

import fuzzing
import pytest

CASES = 400


@pytest.mark.parametrize("name", fuzzing.TARGETS)
def test_nothing_but_errors_of_the_tree_comes_of(name: str) -> None:
    fuzzing.run_cases(name, int(CASES * fuzzing.TARGETS[name].share) + 40, seed=14)


def test_a_failing_input_is_shrunk_and_can_be_written_to_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses_long(rows: list[object]) -> None:
        assert len(rows) < 2

    target = fuzzing.TARGETS["csv"]
    broken = fuzzing.Target(target.inputs, refuses_long, target.share)
    monkeypatch.setitem(fuzzing.TARGETS, "csv", broken)
    with pytest.raises(fuzzing.FoundInput) as found:
        fuzzing.run_cases("csv", 200, seed=1)
    assert found.value.arguments == ([("", ""), ("", "")],)
    assert ast.literal_eval(repr(found.value.arguments)) == found.value.arguments
    with pytest.raises(AssertionError):
        fuzzing.check_once("csv", found.value.arguments)
