"""What the service knows of its models beside the catalogue's sizes and prices."""

from __future__ import annotations

from datetime import date, datetime, timezone

from ..mai.models import Model

BACKGROUND_MODELS = frozenset({"MAI-Image-2.7", "MAI-Image-2.7-Flash"})
"""Models that take `background` (measured once)."""

CREDENTIALS_MODELS = frozenset(
    {"MAI-Image-2e", "MAI-Image-2.5", "MAI-Image-2.5-Flash", "MAI-Image-2.5-Pro"}
)
"""Models whose images carry content credentials, says Microsoft's page."""

RETIRED: dict[str, date] = {
    "MAI-Image-2": date(2026, 8, 15),
    "MAI-Image-2e": date(2026, 8, 15),
    "MAI-Image-2.5": date(2026, 10, 1),
    "MAI-Image-2.5-Flash": date(2026, 10, 1),
    "MAI-Image-2.5-Pro": date(2026, 10, 1),
}
"""Microsoft's retirement table, as of November 2026."""


def options_of(model: Model) -> frozenset[str]:
    """The fields of a request that this model has and others don't."""
    switches = frozenset({"auto_aspect_ratio", "web_grounding"} if model.options else ())
    return switches | frozenset({"background"} if model.name in BACKGROUND_MODELS else ())


def is_retired(model: Model) -> bool:
    """Whether Microsoft has retired the model by today."""
    end = RETIRED.get(model.name)
    return end is not None and datetime.now(timezone.utc).date() >= end
