"""The inputs and outputs that several nodes share, and what their options are called.

ComfyUI's start imports this file; it imports nothing of the code that does the work.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from comfy_api.latest import io

from ..mai.errors import InputError, OptionError
from ..mai.models import AUTO_ASPECT_RATIO, BACKGROUND, CATALOGUE, DEFAULT_MODEL, WEB_GROUNDING
from ..mai.types import OPAQUE, TRANSPARENT
from ..mai.validation import model_named, validate_references

P = ParamSpec("P")
T = TypeVar("T")

CATEGORY = "image/MAI"

MAX_SEED = 0xFFFF_FFFF_FFFF_FFFF
"""ComfyUI's seeds are unsigned 64-bit numbers."""

MAX_BATCH = 64
"""Each image of a batch is a paid request: about $2.50 at the default model and size."""

IMAGE_SOCKETS = tuple(f"image_{i}" for i in range(1, 6))
"""Of MAI Edit, in the order in which their images are sent."""

STOP, SKIP, SKIP_FAILURES = "stop", "skip", "skip failures"
WAIT, ORDER = "wait", "order and go on"
AROUND_MASK, WHOLE_IMAGE = "around mask", "whole image"
SAME_AS_INPUT, AS_RETURNED = "same as input", "as returned"

LIST_TEXT = "the text below"
"""In place of a file's name: MAI Prompt List's own text box."""

CONTEXT = 1.5
"""Half of the mask's longer side on every side: the mask is then a quarter of a square box."""

MASK_GROW, MASK_FEATHER = 16, 16
"""Pixels. Equal, so that the mask itself is fully edited and the blend lies just around it."""

MAX_MASK_PIXELS = 1024
"""For growing and feathering."""


def prompt_input(tooltip: str) -> io.String.Input:
    return io.String.Input("prompt", multiline=True, default="", tooltip=tooltip)


def model_input(names: Sequence[str]) -> io.Combo.Input:
    return io.Combo.Input(
        "model",
        options=list(names),
        default=DEFAULT_MODEL,
        tooltip="The model; your profile says which deployment of yours it is.",
    )


def validate_model(name: str, edits: bool = False) -> bool | str:
    """What a node's validate_inputs says of its model: True, or why not and what to do.

    A node that names the input there gets its own say before ComfyUI's "Value not in list".
    """
    try:
        model = model_named(name)
        if edits:
            validate_references(model, 1)
    except OptionError as error:
        return f"{error.what} {error.hint}"
    return True


def seed_input() -> io.Int.Input:
    """The seed: not sent, but part of what a stored image is found by.

    On a fresh node it stays as it is after a run: with a new one each Run would buy again.
    """
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=MAX_SEED,
        control_after_generate=io.ControlAfterGenerate.fixed,
        tooltip="The service has no seed. A new number buys a new image; a number that was run "
        "before with the same inputs gives its image from the store, free.",
    )


def batch_size_input() -> io.Int.Input:
    return io.Int.Input(
        "batch_size",
        default=1,
        min=1,
        max=MAX_BATCH,
        tooltip="How many images. Each is a paid request; they run side by side.",
    )


def call_options(auto_aspect_ratio_tooltip: str) -> list[io.Input]:
    """What every node that buys images lets its user set of the calls, the last inputs of each.

    The profile's name is all that a workflow says of an account.
    """
    return [
        io.String.Input(
            "profile",
            default="default",
            tooltip="The name of a profile on this server: endpoint, key and budget stay there. "
            '"emulator" makes test images without an account.',
            optional=True,
        ),
        io.Boolean.Input(
            "auto_aspect_ratio",
            default=False,
            tooltip=f"{auto_aspect_ratio_tooltip} {_only(AUTO_ASPECT_RATIO)}",
            optional=True,
            advanced=True,
        ),
        io.Boolean.Input(
            "web_grounding",
            default=False,
            tooltip="Let the model look things up on the web first: about twice as slow, and it "
            f"times out more often. {_only(WEB_GROUNDING)}",
            optional=True,
            advanced=True,
        ),
        io.Combo.Input(
            "if_blocked",
            options=[STOP, SKIP, SKIP_FAILURES],
            default=STOP,
            tooltip="When the content filter stops an image: stop the graph with an error, or skip "
            "that image and go on with the others. Skip failures does so with every image that "
            "fails, whatever the reason, which info says: so a list's rows don't lose each other.",
            optional=True,
            advanced=True,
        ),
        io.Combo.Input(
            "background",
            options=[OPAQUE, TRANSPARENT],
            default=OPAQUE,
            tooltip="Transparent: the object alone, with soft edges; where there is nothing, mask "
            f"is white. Join Image with Alpha makes a PNG with alpha of both. {_only(BACKGROUND)}",
            optional=True,
            advanced=True,
        ),
        io.Combo.Input(
            "delivery",
            options=[WAIT, ORDER],
            default=WAIT,
            tooltip="Wait: the node ends when its images are there. Order and go on: it ends at "
            "once, and what uses its images is skipped; the tab MAI shows what is under way and "
            "runs the workflow again when it has landed, then free.",
            optional=True,
            advanced=True,
        ),
    ]


def _only(option: str) -> str:
    """Which models have an option of the requests, as a sentence."""
    names = CATALOGUE.names_with({option})
    return f"{' and '.join(names)} only." if names else "No model of this server has it."


def info_output() -> io.String.Output:
    return io.String.Output(
        "info",
        tooltip="JSON: model, sizes, request ids, tokens, cost in USD, from the store or not.",
    )


def mask_output(tooltip: str) -> io.Mask.Output:
    return io.Mask.Output("mask", tooltip=tooltip)


# The inputs of a masked edit. On MAI Edit they are optional and advanced; on the crop nodes they
# are what the node is about.


def mask_grow_input(optional: bool = False) -> io.Int.Input:
    return io.Int.Input(
        "mask_grow",
        default=MASK_GROW,
        min=-MAX_MASK_PIXELS,
        max=MAX_MASK_PIXELS,
        tooltip="Pixels of the image by which the mask is widened before anything else; a negative "
        "number shrinks it. Nothing beyond is ever touched.",
        optional=optional,
        advanced=optional,
    )


def mask_feather_input(optional: bool = False) -> io.Int.Input:
    return io.Int.Input(
        "mask_feather",
        default=MASK_FEATHER,
        min=0,
        max=MAX_MASK_PIXELS,
        tooltip="Pixels of the image over which the edit fades in, inwards from the edge of the "
        "grown mask. As much as mask_grow: the mask itself is wholly edited. 0: a hard edge.",
        optional=optional,
        advanced=optional,
    )


def context_input(optional: bool = False) -> io.Float.Input:
    return io.Float.Input(
        "context",
        default=CONTEXT,
        min=1.0,
        max=20.0,
        step=0.05,
        tooltip="How much around the mask the model sees: 1.5 adds half of the mask's longer side "
        "on every side, 1.0 nothing. The box is then widened to a size that the model can work "
        "with, at least 192 pixels.",
        optional=optional,
        advanced=optional,
    )


def match_color_input(optional: bool = False) -> io.Boolean.Input:
    return io.Boolean.Input(
        "match_color",
        default=True,
        tooltip="Bring the edit's colours to those of the image, as the ring around the mask shows "
        "them; turn it off where the edit is about colours beyond the mask.",
        optional=optional,
        advanced=optional,
    )


def within_limits(execute: Callable[P, T]) -> Callable[P, T]:
    """Decorates a node's execute: it gets no number outside of its widget's limits.

    ComfyUI checks them on widgets only; a number that comes over a link can be anything.
    InputError: one is too small, too large or no number at all.
    """
    signature = inspect.signature(execute)
    numbers: list[io.Int.Input | io.Float.Input] = []  # of this one node, found by its first run

    def check(*args: P.args, **kwargs: P.kwargs) -> None:
        given = signature.bind(*args, **kwargs).arguments
        if not numbers:
            found = given["cls"].define_schema().inputs
            numbers[:] = [
                each for each in found if isinstance(each, (io.Int.Input, io.Float.Input))
            ]
        for widget in numbers:
            value = given.get(widget.id)
            if not isinstance(value, (int, float)):
                continue
            low = -math.inf if widget.min is None else widget.min
            high = math.inf if widget.max is None else widget.max
            if not low <= value <= high:
                raise InputError(
                    f"{widget.id} is {value:g}, which its widget doesn't allow. Nothing was sent.",
                    f"It can be from {low:g} to {high:g}: change what is linked to it.",
                )

    if inspect.iscoroutinefunction(execute):

        @functools.wraps(execute)
        async def checked(*args: P.args, **kwargs: P.kwargs) -> Any:
            check(*args, **kwargs)
            return await execute(*args, **kwargs)

        return cast("Callable[P, T]", checked)

    @functools.wraps(execute)
    def checked_at_once(*args: P.args, **kwargs: P.kwargs) -> T:
        check(*args, **kwargs)
        return execute(*args, **kwargs)

    return checked_at_once
