"""MAI Edit: one to five images and a prompt become new images, whole or inside a mask."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from comfy_api.latest import io
from typing_extensions import override

from ..mai.models import DEFAULT_MODEL, EDIT_MODEL_NAMES
from ..mai.validation import model_named, validate_options, validate_prompt
from . import inputs as schema
from . import mask_inputs, options
from . import results as batches
from . import run as running
from .options import SOCKETS

if TYPE_CHECKING:
    from .imaging import Job


class MAIEdit(io.ComfyNode):
    """References and a prompt become images; a batch on image_1 is edited image by image."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MAIEdit",
            display_name="MAI Edit",
            category=schema.CATEGORY,
            description="Edit an image with Microsoft's hosted MAI image models, with up to four "
            "more images as references. With a mask only what it selects changes: the part "
            "around it is sent, and set back at full resolution.",
            search_aliases=[
                "azure",
                "foundry",
                "microsoft",
                "image to image",
                "i2i",
                "inpaint",
                "outpaint",
                "dall-e",
                "instruct edit",
                "reference",
            ],
            inputs=[
                io.Autogrow.Input(
                    "images",
                    template=io.Autogrow.TemplateNames(
                        io.Image.Input(
                            "image",
                            tooltip='"first image", "second image" … in the prompt, in this order.',
                        ),
                        names=list(SOCKETS),
                        min=1,
                    ),
                    tooltip="The image to edit on image_1, references on the others. Alpha is "
                    "dropped; what is over the model's limit is shrunk before it is sent.",
                ),
                schema.prompt(
                    "What to change, for example: put the cup of the second image on the "
                    "table of the first."
                ),
                schema.model(EDIT_MODEL_NAMES),
                schema.seed(),
                schema.batch_size(),
                mask_inputs.mask(),
                mask_inputs.output_size(),
                mask_inputs.region(),
                mask_inputs.mask_grow(optional=True),
                mask_inputs.mask_feather(optional=True),
                mask_inputs.context(optional=True),
                mask_inputs.match_color(optional=True),
                schema.profile(),
                schema.auto_aspect_ratio(
                    "The model chooses the image's shape. MAI-Image-2.6 and 2.6-Flash only."
                ),
                schema.web_grounding(),
                schema.if_blocked(),
            ],
            outputs=[
                io.Image.Output("images", display_name="images", tooltip="The edited images."),
                io.Image.Output(
                    "as_returned", display_name="as_returned", tooltip="As the service sent them."
                ),
                schema.info_output(),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @override
    async def execute(
        cls,
        images: Mapping[str, torch.Tensor],
        prompt: str,
        model: str = DEFAULT_MODEL,
        seed: int = 0,
        batch_size: int = 1,
        mask: torch.Tensor | None = None,
        output_size: str = options.SAME_AS_INPUT,
        region: str = options.AROUND_MASK,
        mask_grow: int = options.MASK_GROW,
        mask_feather: int = options.MASK_FEATHER,
        context: float = options.CONTEXT,
        match_color: bool = True,
        profile: str = "default",
        auto_aspect_ratio: bool = False,
        web_grounding: bool = False,
        if_blocked: str = "stop",
    ) -> io.NodeOutput:
        chosen = model_named(model)
        validate_prompt(prompt)
        validate_options(chosen, auto_aspect_ratio, web_grounding)
        schema.check_batch_size(batch_size)

        def prepare() -> Job:
            from .imaging import editing

            area = editing.Area(mask, region, context, mask_grow, mask_feather)
            return editing.prepare(images, chosen, area)

        job = await asyncio.to_thread(prepare)
        requests = job.requests(prompt, seed, batch_size, auto_aspect_ratio, web_grounding)
        batch = await running.run(
            requests, profile, getattr(cls.hidden, "unique_id", None), if_blocked
        )
        if not batch.images:
            return schema.all_blocked(batch, profile, image_outputs=2)
        edited = await asyncio.to_thread(
            job.finish, batch.results, batch_size, match_color, output_size
        )
        info = batches.info(batch, profile, edited.notes, edits=edited.facts)
        return io.NodeOutput(edited.images, edited.as_returned, info)
