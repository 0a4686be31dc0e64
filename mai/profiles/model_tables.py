"""[models."NAME"]: a model that the catalogue lacks, or changes to one that it has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from ..models import BUILT_IN, MIN_SIDE, OPTIONS, Model, Price
from .toml_table import TomlTable, any_of, is_plain_name, only_if, whole_number

PIXELS = (256 * 256, 8192 * 8192)
"""The smallest and the largest image that a model may be said to make."""

MAX_REFERENCES = 16

TIERS = 6
"""Quota tiers of Microsoft Foundry."""


def _day(value: object) -> date:
    """A day, as TOML writes days or in quotes."""
    if isinstance(value, str):
        return date.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise ValueError


PlainName = Annotated[str, only_if(is_plain_name)]
_NAME = Field(None, description="1 to 64 letters, digits, spaces and . _ - in quotes")
_PRICE: Any = Field(ge=0, le=100_000, description="a number from 0 to 100000, USD per 1M tokens")


class PriceSettings(TomlTable):
    """USD per 1M tokens."""

    text_in: float = _PRICE
    image_in: float = _PRICE
    image_out: float = _PRICE


class ModelSettings(TomlTable):
    """[models."NAME"]; what isn't set stays as the catalogue has it."""

    max_pixels: int | None = whole_number(*PIXELS)
    references: int | None = whole_number(0, MAX_REFERENCES)
    options: list[Annotated[str, Field(pattern=any_of(OPTIONS))]] | None = Field(
        None, description=f"a list of {', '.join(f'{name!r}' for name in OPTIONS)}, or of some"
    )
    price: PriceSettings | None = Field(
        None, description="a table with text_in, image_in and image_out in USD per 1M tokens"
    )
    requests_a_minute: list[Annotated[float, Field(ge=0.01, le=100_000)]] | None = Field(
        None,
        min_length=1,
        max_length=TIERS,
        description=f"a list of 1 to {TIERS} numbers, one for each tier from tier 1 on",
    )
    retired: Annotated[date, PlainValidator(_day)] | None = Field(
        None, description='a day, such as "2027-03-01"'
    )
    successor: PlainName | None = _NAME
    version: PlainName | None = _NAME
    min_side: int | None = whole_number(64, 4096)
    edit_pixels: int | None = whole_number(*PIXELS)


_KNOWN = {model.name: model for model in BUILT_IN}

_DEAREST = Price(
    max(model.price.text_in for model in BUILT_IN),
    max(model.price.image_in for model in BUILT_IN),
    max(model.price.image_out for model in BUILT_IN),
)


def to_model(name: str, settings: ModelSettings) -> Model:
    """The model of a table without contradictions.

    A new one is text to image only, without options, and counts at the dearest known price, unless
    the table says more. An edit comes back at any size that the model makes, unless that is known.
    """
    model = _KNOWN.get(name) or Model(
        name, "", settings.max_pixels or 0, _DEAREST, min_side=MIN_SIDE, price_known=False
    )
    changes: dict[str, Any] = {
        key: value
        for key in ("max_pixels", "min_side", "version", "retired", "successor")
        if (value := getattr(settings, key)) is not None
    }
    if settings.references is not None:
        changes["max_references"] = settings.references
    if settings.options is not None:
        changes["options"] = frozenset(settings.options)
    if settings.price is not None:
        price = settings.price
        changes["price"] = Price(price.text_in, price.image_in, price.image_out)
        changes["price_known"] = True
    if settings.requests_a_minute is not None:
        changes["rpm_by_tier"] = tuple(settings.requests_a_minute)
    changed = replace(model, **changes)
    return replace(changed, edit_pixels=_edit_pixels(model, changed, settings.edit_pixels))


def _edit_pixels(before: Model, model: Model, asked: int | None) -> int:
    """The largest size of an edit: as asked, else as it was where that was less than the limit."""
    if not model.can_edit:
        return 0
    if asked is not None:
        return asked
    known = 0 < before.edit_pixels < before.max_pixels
    return min(before.edit_pixels, model.max_pixels) if known else model.max_pixels


def model_contradictions(name: str, settings: ModelSettings) -> Iterator[tuple[str, str]]:
    """Settings that can't stand together, each with a sentence."""
    if name not in _KNOWN and settings.max_pixels is None:
        yield (
            "max_pixels",
            f"the model {name!r} is new, so it needs max_pixels, such as max_pixels = 4194304.",
        )
        return
    model = to_model(name, settings)
    if math.isqrt(model.max_pixels) < -(-model.min_side // 16) * 16:
        least = f"{model.min_side} x {model.min_side}"
        key = "max_pixels" if settings.min_side is None else "min_side"
        yield key, f"max_pixels is less than {least}, the smallest image that {name!r} makes."
    if model.edit_pixels > model.max_pixels:
        yield "edit_pixels", f"edit_pixels must be at most {model.max_pixels}, its max_pixels."
    if settings.edit_pixels is not None and not model.can_edit:
        yield "edit_pixels", f"edit_pixels needs references: {name!r} has none, so it has no edits."
