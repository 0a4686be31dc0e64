"""What is refused on this machine, before anything is sent or paid for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .errors import ImageError, OptionError, PromptError
from .models import AUTO_ASPECT_RATIO, BACKGROUND, CATALOGUE, DEFAULT_MODEL, WEB_GROUNDING, Model
from .sizes import Size, snap, validate_size
from .types import OPAQUE, TRANSPARENT, Edit, Generate, Request


def validate_request(request: Request) -> Model:
    """The model of a request that can be sent; InputError for one that can't."""
    model = model_named(request.model)
    validate_prompt(request.prompt)
    validate_options(model, request.auto_aspect_ratio, request.web_grounding, request.background)
    if isinstance(request, Edit):
        validate_references(model, len(request.images))
    size = request.requested_size
    if size is not None:
        validate_size(model, *size)
    return model


def snap_request(request: Request) -> tuple[Request, tuple[str, ...]]:
    """A valid request with the size that will come back, and a note where that is another one.

    The service rounds each side down to a multiple of 16. Done before it is sent, a size has one
    key in the store, however it was written.
    """
    asked = request.requested_size
    if asked is None or (size := snap(*asked)) == asked:
        return request, ()
    note = f"{Size(*asked)} comes back as {size}: the service makes multiples of 16 only."
    if isinstance(request, Generate):
        return replace(request, width=size.width, height=size.height), (note,)
    return replace(request, size=(size.width, size.height)), (note,)


def model_named(name: str) -> Model:
    """The catalogue's model of that name; OptionError says how to add one that isn't there."""
    model = CATALOGUE.get(name)
    if model is None:
        raise OptionError(
            f"There is no model {name[:60]!r} in this server's catalogue.",
            f"Choose one of {', '.join(CATALOGUE)}. Or add it: a table "
            '[models."NAME"] in profiles.toml, as docs/profiles.md shows, and a new start.',
        )
    return model


def validate_prompt(prompt: str) -> None:
    """PromptError for a prompt that is empty or can't be written as UTF-8."""
    if not prompt.strip():
        raise PromptError("The prompt is empty.", "Write what the image should show.")
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PromptError(
            f"The prompt has half a character at position {error.start + 1}.",
            "Type that character again; it was cut in two where the text came from.",
        ) from None


OPTIONS_OFF: Mapping[str, object] = {
    AUTO_ASPECT_RATIO: False,
    WEB_GROUNDING: False,
    BACKGROUND: OPAQUE,
}
"""Each option's value that asks for nothing, which every model takes."""

_SHOWN = {BACKGROUND: f"{TRANSPARENT} background"}


def options_on(auto_aspect_ratio: bool, web_grounding: bool, background: str) -> list[str]:
    """The options that ask for something."""
    values = (auto_aspect_ratio, web_grounding, background)
    named = zip(OPTIONS_OFF.items(), values, strict=True)
    return [name for (name, off), value in named if value != off]


def validate_options(
    model: Model, auto_aspect_ratio: bool, web_grounding: bool, background: str = OPAQUE
) -> None:
    """OptionError for an option that the model doesn't have, or that nobody has."""
    if background not in (OPAQUE, TRANSPARENT):
        raise OptionError(
            f"There is no background {str(background)[:40]!r}.",
            f"Choose {OPAQUE} or {TRANSPARENT}.",
        )
    wanted = options_on(auto_aspect_ratio, web_grounding, background)
    wrong = [name for name in wanted if name not in model.options]
    if not wrong:
        return
    able = CATALOGUE.names_with(set(wanted))
    off = f"Set background to {OPAQUE}" if wrong == [BACKGROUND] else "Switch it off"
    raise OptionError(
        f"{model.name} has no {' and no '.join(_SHOWN.get(name, name) for name in wrong)}.",
        f"{off}, or choose {', '.join(able)}." if able else f"{off}.",
    )


def validate_references(model: Model, count: int) -> None:
    """ImageError for more or fewer references than the model takes."""
    if not model.can_edit:
        raise OptionError(
            f"{model.name} makes images from text only.",
            f"Choose a model that edits, such as {DEFAULT_MODEL}.",
        )
    if 1 <= count <= model.max_references:
        return
    takes = "1" if model.max_references == 1 else f"1 to {model.max_references}"
    raise ImageError(
        f"{model.name} takes {takes} reference image{'s' * (takes != '1')}, there are {count}.",
        "Disconnect some, or send fewer in a batch (each image of a batch on image_2 and later "
        f"is a reference of its own); {DEFAULT_MODEL} takes the most."
        if count
        else "Connect an image to image_1.",
    )
