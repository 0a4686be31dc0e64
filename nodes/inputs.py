"""The inputs and outputs that several nodes share, written once."""

from __future__ import annotations

from collections.abc import Sequence

from comfy_api.latest import io

from ..mai.errors import OptionError
from ..mai.models import DEFAULT_MODEL
from . import results as batches

CATEGORY = "image/MAI"

MAX_SEED = 0xFFFF_FFFF_FFFF_FFFF
"""ComfyUI's seeds are unsigned 64-bit numbers."""

MAX_BATCH = 64
"""Each image of a batch is a paid request: about $2.50 at the default model and size."""


def prompt(tooltip: str) -> io.String.Input:
    """The prompt, several lines."""
    return io.String.Input("prompt", multiline=True, default="", tooltip=tooltip)


def model(names: Sequence[str]) -> io.Combo.Input:
    """A choice of the catalogue's models."""
    return io.Combo.Input(
        "model",
        options=list(names),
        default=DEFAULT_MODEL,
        tooltip="The model; your profile says which deployment of yours it is.",
    )


def seed() -> io.Int.Input:
    """The seed: not sent, but part of what a kept image is found by."""
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=MAX_SEED,
        control_after_generate=True,
        tooltip="The service has no seed. A new number buys a new image; a number that was run "
        "before with the same inputs gives its image from the store, free.",
    )


def batch_size() -> io.Int.Input:
    """How many images, each a request of its own."""
    return io.Int.Input(
        "batch_size",
        default=1,
        min=1,
        max=MAX_BATCH,
        tooltip="How many images. Each is a paid request; they run side by side.",
    )


def check_batch_size(count: int) -> None:
    """OptionError for a count that came over a link, past the widget's limits."""
    if not 1 <= count <= MAX_BATCH:
        raise OptionError(
            f"batch_size is {count}; it can be from 1 to {MAX_BATCH}.",
            "Check the node that gives this number. Each image is a paid request.",
        )


def profile() -> io.String.Input:
    """The profile's name: all that a workflow says of an account."""
    return io.String.Input(
        "profile",
        default="default",
        tooltip="The name of a profile on this server: endpoint, key and budget stay there. "
        '"emulator" makes test images without an account.',
        optional=True,
        advanced=True,
    )


def auto_aspect_ratio(tooltip: str) -> io.Boolean.Input:
    """The 2.6 option of that name."""
    return io.Boolean.Input(
        "auto_aspect_ratio", default=False, tooltip=tooltip, optional=True, advanced=True
    )


def web_grounding() -> io.Boolean.Input:
    """The 2.6 option of that name."""
    return io.Boolean.Input(
        "web_grounding",
        default=False,
        tooltip="Let the model look things up on the web first: about twice as slow, and it times "
        "out more often. MAI-Image-2.6 and 2.6-Flash only.",
        optional=True,
        advanced=True,
    )


def if_blocked() -> io.Combo.Input:
    """What happens when the content filter stops an image."""
    return io.Combo.Input(
        "if_blocked",
        options=["stop", "skip"],
        default="stop",
        tooltip="When the content filter stops an image: stop the graph with an error, or skip "
        "that image and go on with the others.",
        optional=True,
        advanced=True,
    )


def info_output() -> io.String.Output:
    """The JSON that says what was bought."""
    return io.String.Output(
        "info",
        display_name="info",
        tooltip="JSON: model, sizes, request ids, tokens, cost in USD, from the store or not.",
    )


def all_blocked(batch: batches.Batch, profile: str, image_outputs: int) -> io.NodeOutput:
    """Nothing is left of a batch under `if_blocked` = skip: what uses the images does not run.

    A blocker without a request is the quiet one: `block_execution` with a request would show as an
    error in the page. `info` still says what was blocked and why.
    """
    from comfy_execution.graph_utils import ExecutionBlocker

    quiet = ExecutionBlocker(None)
    return io.NodeOutput(*([quiet] * image_outputs), batches.info(batch, profile))
