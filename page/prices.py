"""What a node's next run costs and what is wrong with its settings, before it is queued.

The one place where the page gets a price or a size from: all of it is computed by mai's own
arithmetic, none of it in JavaScript.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..mai import sizes
from ..mai.errors import InputError, OptionError
from ..mai.models import Model, estimate_usage
from ..mai.size_plan import asked_ratio, plan_size
from ..mai.sizes import Size
from ..mai.types import Edit, Generate, Request, Usage
from ..mai.validation import model_named, validate_options


@dataclass(frozen=True, slots=True)
class Settings:
    """A paid node's settings as far as the page knows them.

    `kind` is "generate" or "edit". A side in pixels is None where it comes from another node and
    isn't known before the run.
    """

    kind: str
    model: str
    width: int | None = None
    height: int | None = None
    auto_aspect_ratio: bool = False
    web_grounding: bool = False


def quote(settings: Settings) -> dict[str, object]:
    """The price of one image in USD, and what keeps the settings from being run.

    `bound` is "exact", "at least" (a size that isn't known counts as the smallest one, and an
    edit's references aren't counted), "at most" (the model chooses the size) or "about" (both).
    `problems` are sentences; `nearest` is the [width, height] that mends a wrong size, else None.
    The prompt's tokens, a hundredth of a cent or two, are left out.
    """
    try:
        model = model_named(settings.model)
    except OptionError as error:
        return {"usd": None, "bound": "exact", "problems": [_sentences(error)], "nearest": None}
    problems = _option_problems(model, settings)
    size, bound = _size(model, settings)
    nearest = None
    if size is not None and _sized(settings) and (wrong := sizes.size_problems(model, *size)):
        problems.append(f"{model.name} can't make {size}: {'; '.join(wrong)}.")
        nearest = sizes.nearest_legal(model, *size)
    return {
        "usd": None if nearest else round(_image_usd(model, _message(settings, size)), 6),
        "bound": bound,
        "problems": problems,
        "nearest": list(nearest) if nearest else None,
    }


def size_plan(
    model: str,
    aspect_ratio: str,
    target_width: int,
    target_height: int,
    image: Size | None = None,
) -> dict[str, object]:
    """What MAI Size Helper will answer, as plain values; `image` is the size of its image.

    `problems` are sentences: with any, there is nothing else, as the node would fail with them.
    """
    try:
        ratio = asked_ratio(aspect_ratio, target_width, target_height, image)
        facts = plan_size(model_named(model), ratio, target_width, target_height).facts()
    except InputError as error:
        return {"problems": [_sentences(error)]}
    return {**facts, "problems": []}


def _sized(settings: Settings) -> bool:
    """Whether width and height are sent."""
    return settings.kind == "generate" and not settings.auto_aspect_ratio


def _size(model: Model, settings: Settings) -> tuple[Size | None, str]:
    if settings.auto_aspect_ratio:
        return None, "at most" if settings.kind == "generate" else "about"
    if settings.kind == "edit":
        return None, "at least"
    if settings.width is None or settings.height is None:
        return Size(model.min_side, model.min_side), "at least"
    return Size(settings.width, settings.height), "exact"


def _message(settings: Settings, size: Size | None) -> Request:
    auto = settings.auto_aspect_ratio
    if settings.kind == "edit":
        return Edit(settings.model, "", (), auto_aspect_ratio=auto)
    return Generate(settings.model, "", *(size or Size(0, 0)), auto_aspect_ratio=auto)


def _image_usd(model: Model, request: Request) -> float:
    """USD for the image alone, as MAI Size Helper gives it."""
    return model.cost(Usage(image_out=estimate_usage(model, request).image_out))


def _option_problems(model: Model, settings: Settings) -> list[str]:
    try:
        validate_options(model, settings.auto_aspect_ratio, settings.web_grounding)
    except OptionError as error:
        return [_sentences(error)]
    return []


def _sentences(error: InputError) -> str:
    return f"{error.what} {error.hint}"
