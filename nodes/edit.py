"""MAI Edit: one to five images and a prompt become new images, whole or inside a mask."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import torch
from comfy_api.latest import io
from typing_extensions import override

from ..mai.formats import COMPOSITE, GENERATED
from ..mai.models import CATALOGUE, DEFAULT_MODEL
from ..mai.types import OPAQUE
from ..mai.validation import model_named, validate_options, validate_prompt
from . import inputs
from .results import blocked_output, info_json
from .run import fingerprint, run_requests
from .skipped import skips_failures


class MAIEdit(io.ComfyNode):
    """References and a prompt become images; a batch on image_1 is edited image by image."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MAIEdit",
            display_name="MAI Edit",
            category=inputs.CATEGORY,
            description="Edit an image with Microsoft's hosted MAI image models, with up to four "
            "more images as references. With a mask only what it selects changes: the part "
            "around it is sent, and set back at full resolution.",
            search_aliases=[
                # Of nodes that match alike the page lists the one with the shorter name first; who
                # looks for the service alone starts with MAI Generate.
                "edit with azure",
                "edit with foundry",
                "edit with microsoft",
                "image to image",
                "i2i",
                "inpaint",
                "mask edit",
                "masked edit",
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
                        names=list(inputs.IMAGE_SOCKETS),
                        min=1,
                    ),
                    tooltip="The image to edit on image_1, references on the others. Alpha is "
                    "dropped; what is over the model's limit is shrunk before it is sent.",
                ),
                inputs.prompt_input(
                    "What to change, for example: put the cup of the second image on the "
                    "table of the first."
                ),
                inputs.model_input(CATALOGUE.edit_names),
                inputs.seed_input(),
                inputs.batch_size_input(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White is edited; everything else stays bit for bit as it was. One "
                    "mask for all images of image_1, or one for each; another size is scaled. "
                    "Areas that are far apart are edited one by one, each a paid request.",
                ),
                io.Combo.Input(
                    "output_size",
                    options=[inputs.SAME_AS_INPUT, inputs.AS_RETURNED],
                    default=inputs.SAME_AS_INPUT,
                    tooltip="Same as input: scaled to the size of image_1, its ratio kept, what "
                    "sticks out cut off. As returned: left as it came; 2.5 gives about 1 "
                    "megapixel, later models may give more. With a mask it is always the input's "
                    "size.",
                    optional=True,
                ),
                io.Combo.Input(
                    "region",
                    options=[inputs.AROUND_MASK, inputs.WHOLE_IMAGE],
                    default=inputs.AROUND_MASK,
                    tooltip="With a mask: send the part around it, so that a large image keeps its "
                    "full resolution there, or the whole image, if the model must see all of it.",
                    optional=True,
                    advanced=True,
                ),
                inputs.mask_grow_input(optional=True),
                inputs.mask_feather_input(optional=True),
                inputs.context_input(optional=True),
                inputs.match_color_input(optional=True),
                *inputs.call_options("The model chooses the image's shape."),
            ],
            outputs=[
                io.Image.Output("images", tooltip="The edited images."),
                io.Image.Output("as_returned", tooltip="As the service sent them."),
                inputs.info_output(),
                inputs.mask_output(
                    "1 where images is transparent, as of Load Image, and always of their size; 0 "
                    "outside of what was edited."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @override
    def validate_inputs(cls, model: str = DEFAULT_MODEL, images: object = None) -> bool | str:
        # `images` is named because ComfyUI always passes inputs that grow.
        return inputs.validate_model(model, edits=True)

    @classmethod
    @override
    def fingerprint_inputs(
        cls, if_blocked: str = inputs.STOP, delivery: str = inputs.WAIT, **others: object
    ) -> tuple[int, int]:
        return fingerprint(getattr(cls.hidden, "unique_id", None), if_blocked, delivery)

    @classmethod
    @override
    @skips_failures(image_outputs=2)
    @inputs.within_limits
    async def execute(
        cls,
        images: Mapping[str, torch.Tensor],
        prompt: str,
        model: str = DEFAULT_MODEL,
        seed: int = 0,
        batch_size: int = 1,
        mask: torch.Tensor | None = None,
        output_size: str = inputs.SAME_AS_INPUT,
        region: str = inputs.AROUND_MASK,
        mask_grow: int = inputs.MASK_GROW,
        mask_feather: int = inputs.MASK_FEATHER,
        context: float = inputs.CONTEXT,
        match_color: bool = True,
        profile: str = "default",
        auto_aspect_ratio: bool = False,
        web_grounding: bool = False,
        if_blocked: str = "stop",
        background: str = OPAQUE,
        delivery: str = inputs.WAIT,
    ) -> io.NodeOutput:
        chosen = model_named(model)
        validate_prompt(prompt)
        validate_options(chosen, auto_aspect_ratio, web_grounding, background)

        # Imported by the first edit: ComfyUI's start should not wait for it.
        from .imaging.masked_edit import MaskSettings, plan_edit

        settings = MaskSettings(region, context, mask_grow, mask_feather)
        edit = await asyncio.to_thread(plan_edit, images, mask, chosen, settings)
        requests = edit.requests(
            prompt, seed, batch_size, auto_aspect_ratio, web_grounding, background
        )
        batch = await run_requests(
            requests, profile, getattr(cls.hidden, "unique_id", None), if_blocked, delivery
        )
        if not batch.images:
            return blocked_output(batch, profile, image_outputs=2)
        edited = await asyncio.to_thread(
            edit.finish, batch.results, batch_size, match_color, output_size
        )
        source_type = COMPOSITE if edit.is_masked else GENERATED
        info = info_json(batch, profile, edited.notes, source_type, edits=edited.facts)
        return io.NodeOutput(edited.images, edited.as_returned, info, edited.mask)
