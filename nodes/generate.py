"""MAI Generate: a prompt becomes images."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from comfy_api.latest import io
from typing_extensions import override

from ..mai.models import CATALOGUE, DEFAULT_MODEL, STEP
from ..mai.types import OPAQUE, Generate
from ..mai.validation import snap_request, validate_request
from . import inputs
from .imaging.codec import decode_batch, prepare_decoder
from .results import blocked_output, info_json
from .run import fingerprint, run_requests
from .skipped import skips_failures


class MAIGenerate(io.ComfyNode):
    """A prompt becomes a batch of images: one request an image, all side by side."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MAIGenerate",
            display_name="MAI Generate",
            category=inputs.CATEGORY,
            description="Make images from text with Microsoft's hosted MAI image models, paid "
            "for by your own Azure account. A seed that was run before gives its image again, "
            "free.",
            search_aliases=[
                "azure",
                "foundry",
                "microsoft",
                "text to image",
                "t2i",
                "dall-e",
                "mai-image",
                "image generation",
            ],
            inputs=[
                inputs.prompt_input("What the image should show, in any language."),
                inputs.model_input(tuple(CATALOGUE)),
                io.Int.Input(
                    "width",
                    default=1024,
                    min=0,
                    max=16384,
                    step=STEP,
                    tooltip="Pixels: a multiple of 16, at least 768. MAI Size Helper picks one.",
                ),
                io.Int.Input(
                    "height",
                    default=1024,
                    min=0,
                    max=16384,
                    step=STEP,
                    tooltip="Pixels: a multiple of 16, at least 768. Width x height has a limit "
                    "by model.",
                ),
                inputs.seed_input(),
                inputs.batch_size_input(),
                *inputs.call_options(
                    "The model chooses the image's shape; width and height are not sent."
                ),
            ],
            outputs=[
                io.Image.Output("images", tooltip="The images, [B,H,W,3]."),
                inputs.info_output(),
                inputs.mask_output(
                    "1 where an image is transparent, as of Load Image; all 0 of opaque ones."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @override
    def validate_inputs(cls, model: str = DEFAULT_MODEL) -> bool | str:
        return inputs.validate_model(model)

    @classmethod
    @override
    def fingerprint_inputs(
        cls, if_blocked: str = inputs.STOP, delivery: str = inputs.WAIT, **others: object
    ) -> tuple[int, int]:
        return fingerprint(getattr(cls.hidden, "unique_id", None), if_blocked, delivery)

    @classmethod
    @override
    @skips_failures(image_outputs=1)
    @inputs.within_limits
    async def execute(
        cls,
        prompt: str,
        model: str = DEFAULT_MODEL,
        width: int = 1024,
        height: int = 1024,
        seed: int = 0,
        batch_size: int = 1,
        profile: str = "default",
        auto_aspect_ratio: bool = False,
        web_grounding: bool = False,
        if_blocked: str = "stop",
        background: str = OPAQUE,
        delivery: str = inputs.WAIT,
    ) -> io.NodeOutput:
        asked = Generate(
            model, prompt, width, height, seed, auto_aspect_ratio, web_grounding, background
        )
        validate_request(asked)
        request, notes = snap_request(asked)
        requests = [replace(request, seed=seed + i) for i in range(batch_size)]
        prepare_decoder(asked.width, asked.height)
        batch = await run_requests(
            requests, profile, getattr(cls.hidden, "unique_id", None), if_blocked, delivery
        )
        if not batch.images:
            return blocked_output(batch, profile, image_outputs=1)
        decoded = await asyncio.to_thread(decode_batch, batch.take_files())
        info = info_json(batch, profile, [*notes, *decoded.notes])
        return io.NodeOutput(decoded.batch, info, decoded.mask)
