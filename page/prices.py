"""What a node's next run costs and what is wrong with its settings, before it is queued.

The one place where the page gets a price or a size from: all of it is computed by mai's own
arithmetic, none of it in JavaScript.
"""

from __future__ import annotations

from dataclasses import replace

from ..mai import sizes
from ..mai.errors import InputError, OptionError
from ..mai.models import CATALOGUE, Model, estimate_usage
from ..mai.sizes import Size, asked_ratio, plan_size
from ..mai.types import OPAQUE, Edit, Generate, Request, Usage
from ..mai.validation import (
    OPTIONS_OFF,
    model_named,
    options_on,
    snap_request,
    validate_options,
)


def quote(
    kind: str,
    model_name: str,
    width: int | None = None,
    height: int | None = None,
    *,
    auto_aspect_ratio: bool = False,
    web_grounding: bool = False,
    background: str = OPAQUE,
) -> dict[str, object]:
    """The price of one image in USD, and what keeps a paid node's settings from being run.

    `kind` is "generate" or "edit". A side in pixels is None where it comes from another node and
    isn't known before the run.

    `bound` is "exact", "at least" (a size that isn't known counts as the smallest one), "at most"
    (the model chooses the size) or "about" (an edit counts as its largest image, its references
    aren't counted; or the price isn't published, or the estimate has no upper bound).
    `problems` are sentences; `nearest` is the [width, height] that mends a wrong size, else None;
    `off` has the options that this model lacks, each with the value that switches it off.
    `notes` say what comes back where it isn't what was asked for.
    `retired` is None, or of a retired model the day `on`, the `successor` that the catalogue names,
    the model to `use` instead, and the [width, height] `size` to change to where that one can't
    make this one; each may be None.
    The prompt's tokens, a hundredth of a cent or two, are left out.
    """
    try:
        model = model_named(model_name)
    except OptionError as error:
        # Not its hint, which is about this server's files.
        return _answer(problems=[error.what])
    problems = []
    try:
        validate_options(model, auto_aspect_ratio, web_grounding, background)
    except OptionError as error:
        problems.append(_sentences(error))
    on = options_on(auto_aspect_ratio, web_grounding, background)
    request, bound = _request(kind, model, width, height, auto_aspect_ratio)
    request = replace(request, web_grounding=web_grounding)
    size, nearest = request.requested_size, None
    if size and (wrong := sizes.size_problems(model, *size)):
        problems.append(f"{model.name} can't make {Size(*size)}: {'; '.join(wrong)}.")
        nearest = sizes.nearest_legal(model, *size)
    if not model.is_bound(request):
        bound = "about"
    sent, notes = snap_request(request)
    usage = Usage(image_out=estimate_usage(model, sent).image_out)
    return _answer(
        usd=None if nearest else round(model.cost(usage), 6),
        bound=bound,
        problems=problems,
        nearest=nearest,
        off={name: OPTIONS_OFF[name] for name in on if name not in model.options},
        notes=[] if nearest else list(notes),
        retired=_retirement(kind, model, width, height),
    )


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
        chosen = model_named(model)
    except OptionError as error:
        return {"problems": [error.what]}
    try:
        ratio = asked_ratio(aspect_ratio, target_width, target_height, image)
        facts = plan_size(chosen, ratio, target_width, target_height).facts()
    except InputError as error:
        return {"problems": [_sentences(error)]}
    return {**facts, "problems": []}


def _request(
    kind: str, model: Model, width: int | None, height: int | None, auto: bool
) -> tuple[Request, str]:
    """A request that costs what the node's does, as far as it is known, and how far that is."""
    if kind == "edit":
        request = Edit(model.name, "", (), auto_aspect_ratio=auto)
        return request, "about"
    if auto:
        return Generate(model.name, "", 0, 0, auto_aspect_ratio=True), "at most"
    if width is None or height is None:
        return Generate(model.name, "", model.min_side, model.min_side), "at least"
    return Generate(model.name, "", width, height), "exact"


def _answer(**facts: object) -> dict[str, object]:
    """A quote with these facts, and with all others as they are where nothing is known."""
    unknown: dict[str, object] = {
        "usd": None,
        "bound": "exact",
        "problems": [],
        "nearest": None,
        "off": {},
        "notes": [],
        "retired": None,
    }
    return unknown | facts


def _retirement(
    kind: str, model: Model, width: int | None, height: int | None
) -> dict[str, object] | None:
    """What the page says of a retired model, and what its button sets."""
    if not model.is_retired or model.retired is None:
        return None
    use = _living_successor(model)
    if use is not None and kind == "edit" and not use.can_edit:
        use = None
    size = None
    if use is not None and kind != "edit" and width is not None and height is not None:
        fits = not sizes.size_problems(use, width, height)
        size = None if fits else sizes.nearest_legal(use, width, height)
    return {
        "on": model.retired.isoformat(),
        "successor": model.successor or None,
        "use": use.name if use else None,
        "size": size,
    }


def _living_successor(model: Model) -> Model | None:
    """The first model after this one that isn't retired; a user's own rows may form a circle."""
    passed = {model.name}
    while (following := CATALOGUE.get(model.successor)) and following.name not in passed:
        if not following.is_retired:
            return following
        passed.add(following.name)
        model = following
    return None


def _sentences(error: InputError) -> str:
    return f"{error.what} {error.hint}"
