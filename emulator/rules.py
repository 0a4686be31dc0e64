"""What a request may ask: the checks of MAI_API.md's H rows as functions of plain values.

Each raises the Refusal that the service would answer. Nothing here knows HTTP, files or time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..mai.models import BY_NAME, EDIT_PIXELS, PIXELS_2X, PROMPT_TOKENS, STEP, Model
from . import refusal
from .options import Options
from .tokens import text_tokens

DEFAULT_SIDE = 1024
MAX_DIGITS_SIDE = 100_000
"""Far over any model's limit: keeps the product in an error text short."""

ONE_MEGAPIXEL = 1024 * 1024
"""The pixels of an edit before rounding: gives 1360x768 for 553x311, as measured."""

AUTO_ASPECTS = (1.0, 16 / 9, 3 / 2, 4 / 3, 3 / 4, 2 / 3, 9 / 16)
"""What auto_aspect_ratio chooses from (the service's own choice follows the prompt)."""

SWITCHES = ("auto_aspect_ratio", "web_grounding")

FOREIGN = frozenset(
    (
        "size",
        "seed",
        "response_format",
        "negative_prompt",
        "quality",
        "background",
        "output_format",
        "mask",
        "stream",
        "user",
        "style",
        "moderation",
        "output_compression",
        "partial_images",
        "input_fidelity",
        "strength",
        "guidance_scale",
        "steps",
        "aspect_ratio",
    )
)
"""Parameters of other image APIs: refused as unsupported; any other name as unrecognized. The first
four (three and `size`) are known to be refused so."""


@dataclass(frozen=True)
class Wish:
    """A request that passed: `size` is what the image will have, None where an edit's depends on
    its first reference; `auto` and `grounding` are the options of 2.6 and later."""

    kind: str
    model: Model
    prompt: str
    size: tuple[int, int] | None
    auto: bool = False
    grounding: bool = False


def deployment(fields: Mapping[str, object], options: Options) -> tuple[str, Model]:
    """The deployment that a request names, and its model."""
    name = fields.get("model")
    if name is None or name == "":
        raise refusal.missing("model")
    if not isinstance(name, str):
        raise refusal.bad_value("'model' must be a string.")
    known = options.model_of(name)
    if known is None:
        raise refusal.no_deployment(name)
    return name, BY_NAME[known]


def prompt(fields: Mapping[str, object]) -> str:
    """The prompt: a string with something in it, within the model's context."""
    text = fields.get("prompt")
    if text is None or text == "":
        raise refusal.missing("prompt")
    if not isinstance(text, str):
        raise refusal.bad_value("'prompt' must be a string.")
    if not text.strip():
        raise refusal.missing("prompt")
    if text_tokens(text) > PROMPT_TOKENS:
        raise refusal.bad_value(f"'prompt' must be at most {PROMPT_TOKENS} tokens.")
    return text


def generation(fields: Mapping[str, object], model: Model) -> Wish:
    """A text-to-image request. `n` is ignored, whatever it says."""
    text = prompt(fields)
    _arguments(fields, {"model", "prompt", "width", "height", "n", *_switches(model)})
    auto, grounding = (_boolean(fields, name) for name in SWITCHES)
    width, height = _side(fields, "width", model), _side(fields, "height", model)
    return Wish("generation", model, text, _fits(width, height, model), auto, grounding)


def edit(fields: Mapping[str, object], model: Model, size_rule: str) -> Wish:
    """An edit's text fields. `size_rule` is Options.edit_size; references are checked apart."""
    if not model.can_edit:
        raise refusal.Refusal(
            400,
            "OperationNotSupported",
            f"The model {model.name} has no image edits: choose another model.",
        )
    text = prompt(fields)
    rule = size_rule
    if rule == "by model":
        rule = "accepted" if model.max_pixels > PIXELS_2X else "ignored"
    known = {"model", "prompt", "n", *_switches(model)}
    _arguments(fields, known if rule == "refused" else known | {"size"}, {"width", "height"})
    auto, grounding = (_flag(fields, name) for name in SWITCHES)
    size = _size(fields["size"], model) if rule == "accepted" and "size" in fields else None
    return Wish("edit", model, text, size, auto, grounding)


def references(names: Sequence[str], model: Model) -> None:
    """The names of an edit's file parts: each exactly `image`, as many as the model takes."""
    if any(name != "image" for name in names):
        raise refusal.bad_request(
            "File must be attached in a form field with a name starting with 'image'."
        )
    if 1 <= len(names) <= model.max_references:
        return
    if model.max_references == 1:
        raise refusal.bad_request("Exactly one image file must be attached for edit requests")
    raise refusal.bad_request(
        f"Invalid request. Error => Only 1 to {model.max_references} image files are supported "
        "for edit requests."
    )


def edit_size(aspect: float, model: Model) -> tuple[int, int]:
    """About 1 megapixel in an aspect (width / height): 553 / 311 gives (1360, 768), as measured."""
    longest = EDIT_PIXELS / model.min_side
    width = min(max(math.sqrt(ONE_MEGAPIXEL * aspect), model.min_side), longest)
    height = min(max(width / aspect, model.min_side), EDIT_PIXELS / width)
    width = min(max(height * aspect, model.min_side), EDIT_PIXELS / height, longest)
    return round_down(int(width + 1e-6)), round_down(int(height + 1e-6))


def round_down(side: int) -> int:
    """A side as the service makes it: silently the next lower multiple of 16."""
    return side // STEP * STEP


def _switches(model: Model) -> tuple[str, ...]:
    return SWITCHES if model.options else ()


def _arguments(
    fields: Mapping[str, object], known: set[str], foreign: set[str] | None = None
) -> None:
    others = [name for name in fields if name not in known]
    strange = FOREIGN | set(SWITCHES) | (foreign or set())
    unsupported = [name for name in others if name in strange]
    if unsupported:
        raise refusal.unsupported(unsupported)
    if others:
        raise refusal.unrecognized(others)


def _boolean(fields: Mapping[str, object], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise refusal.bad_value(f"'{name}' must be a boolean.")
    return value


def _flag(fields: Mapping[str, object], name: str) -> bool:
    value = fields.get(name, "false")
    if value not in ("true", "false"):
        raise refusal.bad_value(f"'{name}' must be 'true' or 'false'.")
    return value == "true"


def _side(fields: Mapping[str, object], name: str, model: Model) -> int:
    value = fields.get(name, DEFAULT_SIDE)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refusal.bad_value(f"'{name}' must be an integer.")
    return _long_enough(value, name, model)


def _long_enough(side: int, name: str, model: Model) -> int:
    if side < model.min_side:
        raise refusal.bad_value(f"'{name}' must be at least {model.min_side} pixels.")
    if side > MAX_DIGITS_SIDE:
        raise refusal.bad_value(f"'{name}' must be at most {MAX_DIGITS_SIDE} pixels.")
    return side


def _size(value: object, model: Model) -> tuple[int, int]:
    width, times, height = str(value).partition("x")
    digits = all(side.isascii() and side.isdigit() and len(side) < 10 for side in (width, height))
    if not times or not digits:
        raise refusal.bad_value("'size' must be WIDTHxHEIGHT.")
    return _fits(
        _long_enough(int(width), "width", model), _long_enough(int(height), "height", model), model
    )


def _fits(width: int, height: int, model: Model) -> tuple[int, int]:
    if width * height > model.max_pixels:
        raise refusal.too_many_pixels(width, height, model.max_pixels)
    return round_down(width), round_down(height)
