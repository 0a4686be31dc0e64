"""What is refused on this machine, before anything is sent or paid for."""

from __future__ import annotations

from .errors import ImageError, OptionError, PromptError
from .models import BY_NAME, CATALOGUE, DEFAULT_MODEL, Model
from .sizes import validate_size
from .types import Edit, Request


def validate_request(request: Request) -> Model:
    """The model of a request that can be sent; InputError for one that can't."""
    model = model_named(request.model)
    validate_prompt(request.prompt)
    validate_options(model, request.auto_aspect_ratio, request.web_grounding)
    if isinstance(request, Edit):
        validate_references(model, len(request.images))
    if request.requested_size is not None:
        validate_size(model, *request.requested_size)
    return model


def model_named(name: str) -> Model:
    """The catalogue's model of that name; OptionError names those that there are."""
    model = BY_NAME.get(name)
    if model is None:
        raise OptionError(
            f"There is no model {name[:60]!r}.", f"Choose one of {', '.join(BY_NAME)}."
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


def validate_options(model: Model, auto_aspect_ratio: bool, web_grounding: bool) -> None:
    """OptionError for an option that the model doesn't have."""
    asked = {"auto_aspect_ratio": auto_aspect_ratio, "web_grounding": web_grounding}
    wrong = [name for name, on in asked.items() if on and not model.options]
    if wrong:
        able = ", ".join(other.name for other in CATALOGUE if other.options)
        raise OptionError(
            f"{model.name} has no {' and no '.join(wrong)}.", f"Switch it off, or choose {able}."
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
