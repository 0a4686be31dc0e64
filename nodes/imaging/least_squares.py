"""A linear fit that a changed part of the image doesn't disturb: least trimmed squares.

Used where pixels around a mask are compared: most of them show the same thing before and after the
edit, some belong to the change. The fit follows the pixels that agree best (Rousseeuw and Van
Driessen 2006) and leaves the others out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

TRUSTED = 0.7
"""Share of the rows that is fitted: the others may belong to the change."""

STEPS, TRIMMED_STEPS = 6, 4
"""Steps in all, and those that fit the trusted rows only. The last steps take in all rows whose
error is at most twice the largest of the trusted ones."""

SMALLEST_LIMIT = 1e-4
"""Rows with an error below this (colours are 0..1) are never left out."""


def trimmed_fit(
    design: Floats, wanted: Floats, neutral: Floats, ridge: float | Floats
) -> npt.NDArray[np.float64]:
    """The solution [k,m] for which `design` [n,k] @ solution is nearest to `wanted` [n,m].

    `neutral` [k,m] is the solution that changes nothing: the search starts there, with a constant
    difference allowed for, and `ridge` (one number, or one for each of k) pulls towards it what
    the rows don't determine.
    """
    difference = wanted - design @ neutral.astype(design.dtype)
    errors = np.abs(difference - np.median(difference, 0)).mean(1)
    solution: Floats = neutral.astype(np.float64)
    trusted = int(len(errors) * TRUSTED)
    pull = np.eye(design.shape[1]) * ridge
    for step in range(STEPS):
        largest_trusted = float(np.partition(errors, trusted)[trusted])
        limit = largest_trusted * (1 if step < TRIMMED_STEPS else 2)
        fitted = errors <= max(limit, SMALLEST_LIMIT)
        chosen = design[fitted]
        normal = (chosen.T @ chosen).astype(np.float64) / len(chosen)
        target = (chosen.T @ difference[fitted]).astype(np.float64) / len(chosen)
        correction = np.linalg.solve(normal + pull, target)
        solution = neutral + correction
        errors = np.abs(difference - design @ correction.astype(design.dtype)).mean(1)
    return solution.astype(np.float64)


def smallest_errors(errors: Floats) -> npt.NDArray[np.intp]:
    """The indices of the TRUSTED share of the rows, those with the smallest errors [n]."""
    count = max(1, int(len(errors) * TRUSTED))
    return np.argpartition(errors, count - 1)[:count]
