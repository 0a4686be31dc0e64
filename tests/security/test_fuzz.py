"""A few hundred cases of each fuzz target; tests/security/fuzz.py runs as many as one likes."""

from __future__ import annotations

import fuzzing
import pytest
from hypothesis import HealthCheck, settings

CASES = 400


@pytest.mark.parametrize("name", fuzzing.TARGETS)
def test_nothing_but_errors_of_the_tree_comes_of(name: str) -> None:
    target, share = fuzzing.TARGETS[name]
    settings(
        max_examples=int(CASES * share) + 40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(target)()
