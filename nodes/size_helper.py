"""MAI Size Helper: the best size for a ratio, and how it becomes the size wanted in the end."""

from __future__ import annotations

import json

import torch
from comfy_api.latest import io
from typing_extensions import override

from ..mai.models import CATALOGUE, DEFAULT_MODEL
from ..mai.sizes import (
    ASPECT_RATIOS,
    FROM_IMAGE,
    MAX_TARGET,
    PRESETS,
    Size,
    asked_ratio,
    plan_size,
)
from ..mai.validation import model_named
from . import inputs
from .imaging.codec import split_batch


class MAISizeHelper(io.ComfyNode):
    """The size that a model makes best for an aspect ratio, and the scale to a target."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MAISizeHelper",
            display_name="MAI Size Helper",
            category=inputs.CATEGORY,
            description="The width and height that a MAI model makes best for an aspect ratio, and "
            "the scale from there to the size that you want in the end. Buys nothing.",
            search_aliases=[
                "resolution",
                "aspect ratio",
                "size",
                "azure",
                "foundry",
                "dimensions",
                "microsoft",
            ],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=list(CATALOGUE),
                    default=DEFAULT_MODEL,
                    tooltip="The model that will make the image: each has its own limit of pixels.",
                ),
                io.Combo.Input(
                    "aspect_ratio",
                    options=list(ASPECT_RATIOS),
                    default=PRESETS[0],
                    tooltip='Width to height. "from target" takes it from target_width and '
                    'target_height, "from image" from the image at image.',
                ),
                _target("target_width", "Width", "target_height"),
                _target("target_height", "Height", "target_width"),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip='The image whose aspect ratio is taken with "from image".',
                ),
            ],
            outputs=[
                io.Int.Output("width", tooltip="Width for MAI Generate, in pixels."),
                io.Int.Output("height", tooltip="Height for MAI Generate, in pixels."),
                io.Int.Output("target_width", tooltip="Width wanted in the end, in pixels."),
                io.Int.Output("target_height", tooltip="Height wanted in the end, in pixels."),
                io.Float.Output(
                    "scale",
                    tooltip="Factor by which the generated image must be enlarged to cover the "
                    "target; what is too much is then cut off.",
                ),
                io.String.Output(
                    "info",
                    tooltip="JSON: size, ratio and its error, megapixels, tokens, price, scale, "
                    "what is cut, notes.",
                ),
            ],
        )

    @classmethod
    @override
    def validate_inputs(cls, model: str = DEFAULT_MODEL) -> bool | str:
        return inputs.validate_model(model)

    @classmethod
    @override
    @inputs.within_limits
    def execute(
        cls,
        model: str = DEFAULT_MODEL,
        aspect_ratio: str = PRESETS[0],
        target_width: int = 0,
        target_height: int = 0,
        image: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        size = None
        if image is not None and aspect_ratio == FROM_IMAGE:
            height, width, _ = split_batch(image)[0].shape
            size = Size(width, height)
        ratio = asked_ratio(aspect_ratio, target_width, target_height, size)
        made = plan_size(model_named(model), ratio, target_width, target_height)
        info = json.dumps(made.facts(), ensure_ascii=False, indent=1)
        return io.NodeOutput(*made.size, *made.target, made.scale, info)


def _target(name: str, side: str, other: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=0,
        min=0,
        max=MAX_TARGET,
        tooltip=f"{side} wanted in the end, in pixels. 0: it follows from {other}; both 0: the "
        "generated size.",
    )
