"""What was ordered and isn't collected yet, for the sidebar, and how the user gives it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..mai.errors import InputError
from ..mai.formats import parse_json

if TYPE_CHECKING:
    from ..mai.in_flight import OrderedRun, Orders

LONGEST_RUN = 100
"""Characters of a prompt's id; ComfyUI's have 36."""


def list_orders(orders: Orders) -> list[dict[str, object]]:
    """The runs that ordered images, the newest first, as plain values. Raises StoreError.

    It holds names of models and what went wrong, and no prompt.
    """
    return [_plain(run) for run in orders.runs()]


def _plain(run: OrderedRun) -> dict[str, object]:
    return {
        "run": run.run,
        "at": run.at,
        "earlier": run.earlier,
        "models": run.models,
        "under_way": run.states["under way"],
        "landed": run.states["landed"],
        "failed": run.states["failed"],
        "left": run.states["left"],
        "reasons": [{"text": text, "count": count} for text, count in run.failures.items()],
    }


def parse_forgetting(body: bytes) -> str:
    """The id of the prompt whose orders are to be forgotten: {"run": "…"}; else InputError."""
    try:
        asked = parse_json(body)
    except ValueError:
        asked = None
    run = asked.get("run") if isinstance(asked, dict) and len(asked) == 1 else None
    if not isinstance(run, str) or len(run) > LONGEST_RUN:
        raise InputError("What is to be forgotten is named by its run.", "")
    return run


def forget(orders: Orders, run: str) -> dict[str, object]:
    """Take a run's orders off the list; InputError where there are none. Blocks."""
    count = orders.forget(run)
    if not count:
        raise InputError("This order is no longer there.", "")
    return {"run": run, "images": count}
