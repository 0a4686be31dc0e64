"""What an answer says that it costs: the tokens that it counted, and the model that it names."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from ..models import CATALOGUE, Model
from ..types import Request, Usage

logger = logging.getLogger(__name__)

MAX_TOKENS = 10_000_000
"""More than any one image can have: the largest one has 4096, a prompt 32,000 (mai/models.py)."""

_COUNTS = ("num_input_text_tokens", "num_input_image_tokens", "num_output_tokens")


@dataclass(frozen=True, slots=True)
class Charge:
    """What one image costs, in USD; `usage` is None where it is an estimate. `notes` are sentences
    for the user."""

    cost_usd: float
    usage: Usage | None
    notes: tuple[str, ...] = ()


def charge_of(request: Request, body: Mapping[str, object]) -> Charge:
    """The cost of the image in an answer, by the dearer model where it names another one."""
    usage, note = _usage(body)
    if usage is None or not usage.image_out:
        usage = None
        note = note or "the service counted no tokens: the cost is an estimate"
    asked, answered = CATALOGUE[request.model], _other_model(request, body)
    notes = () if answered is None else (_note_model(asked.name, answered.name),)
    if note:
        notes = (*notes, note)
    return Charge(_cost(request, usage, asked, answered), usage, notes)


def counted_cost(request: Request, body: Mapping[str, object]) -> float | None:
    """USD for what the service counted in an answer without an image; None where it counted
    nothing that can be believed."""
    usage, _ = _usage(body)
    if usage is None or usage == Usage():
        return None
    return _cost(request, usage, CATALOGUE[request.model], _other_model(request, body))


def _cost(request: Request, usage: Usage | None, asked: Model, answered: Model | None) -> float:
    """The dearer of both models' prices: which of them is on the bill isn't known."""
    models = [asked] if answered is None else [asked, answered]
    return max(model.cost(usage) if usage else model.estimate(request) for model in models)


def _usage(body: Mapping[str, object]) -> tuple[Usage | None, str]:
    """Token counts, or None and why they aren't believed.

    Early versions put `num_output_tokens` at the top level, some count nothing at all. A count that
    is there and can't be right makes all of them doubtful.
    """
    nested = body.get("usage")
    source: Mapping[str, object] = nested if isinstance(nested, dict) else body
    given = [source.get(name) for name in _COUNTS]
    if all(value is None for value in given):
        return None, ""
    counts = [0 if value is None else _count(value) for value in given]
    text_in, image_in, image_out = counts
    if text_in is None or image_in is None or image_out is None:
        return None, "the service's token counts can't be right: the cost is an estimate"
    return Usage(text_in, image_in, image_out), ""


def _count(value: object) -> int | None:
    """A whole number that a count can be, else None; parse_json gives every number as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value <= MAX_TOKENS and value == int(value) else None


def _other_model(request: Request, body: Mapping[str, object]) -> Model | None:
    """The model of the catalogue that an answer names, where it isn't the one asked for."""
    name = body.get("model")
    word = name.strip().casefold() if isinstance(name, str) else ""
    for model in CATALOGUE.values():
        full = model.name.casefold()
        if word in (full, f"{full}-{model.version}") and model.name != request.model:
            return model
    return None


def _note_model(asked: str, answered: str) -> str:
    _warn_of_model(asked, answered)
    return (
        f"the deployment answers as {answered}, the node asked for {asked}: the cost is that of "
        "the dearer one"
    )


@functools.cache
def _warn_of_model(asked: str, answered: str) -> None:
    """Once for each pair; a batch would fill the log otherwise."""
    logger.warning(
        "A deployment for %s answers as %s: check in the profile which deployment is of which "
        "model. Its images are counted at the dearer model's price.",
        asked,
        answered,
    )
