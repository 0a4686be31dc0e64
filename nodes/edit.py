"""MAI Edit: one to five pictures and a prompt become new pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import torch
from comfy_api.latest import io
from typing_extensions import override

from ..mai.checks import check, check_options, check_prompt, check_references, model_named
from ..mai.messages import Edit, Reference
from ..mai.models import DEFAULT_MODEL, EDIT_MODEL_NAMES, Model
from . import images as tensors
from . import running, schema

SOCKETS = tuple(f"image_{i}" for i in range(1, 6))


class MAIEdit(io.ComfyNode):
    """References and a prompt become pictures; a batch on image_1 is edited image by image."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MAIEdit",
            display_name="MAI Edit",
            category=schema.CATEGORY,
            description="Edit a picture with Microsoft's hosted MAI image models, with up to four "
            "more pictures as references. What comes back has about 1 megapixel in the shape of "
            "image_1.",
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
                    tooltip="The picture to edit on image_1, references on the others. Alpha is "
                    "dropped; what is over the model's limit is shrunk before it is sent.",
                ),
                schema.prompt(
                    "What to change, for example: put the cup of the second image on the "
                    "table of the first."
                ),
                schema.model(EDIT_MODEL_NAMES),
                schema.seed(),
                schema.batch_size(),
                schema.profile(),
                schema.auto_aspect_ratio(
                    "The model chooses the picture's shape. MAI-Image-2.6 and 2.6-Flash only."
                ),
                schema.web_grounding(),
                schema.if_blocked(),
            ],
            outputs=[
                io.Image.Output("images", display_name="images", tooltip="The edited pictures."),
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
        profile: str = "default",
        auto_aspect_ratio: bool = False,
        web_grounding: bool = False,
        if_blocked: str = "stop",
    ) -> io.NodeOutput:
        chosen = model_named(model)
        check_prompt(prompt)
        check_options(chosen, auto_aspect_ratio, web_grounding)
        sets = await asyncio.to_thread(reference_sets, images, chosen)
        messages = [
            Edit(
                model,
                prompt,
                references,
                seed + i * batch_size + j,
                auto_aspect_ratio=auto_aspect_ratio,
                web_grounding=web_grounding,
            )
            for i, references in enumerate(sets)
            for j in range(batch_size)
        ]
        check(messages[0])
        batch = await running.run(
            messages, profile, getattr(cls.hidden, "unique_id", None), if_blocked
        )
        if not batch.pictures:
            return schema.all_blocked(batch, profile, image_outputs=2)
        decoded, notes = await asyncio.to_thread(
            tensors.decode_batch, [result.image for result in batch.pictures]
        )
        return io.NodeOutput(decoded, decoded, running.info(batch, profile, notes))


def reference_sets(images: Mapping[str, torch.Tensor], model: Model) -> list[tuple[Reference, ...]]:
    """The references of each edit: one picture of image_1, then all that the other sockets hold.

    Sockets count in the order image_1 to image_5. Every picture of a batch on another socket than
    image_1 is a reference of its own. PictureError: more pictures than the model takes, or a
    tensor that is no picture.
    """
    connected = [name for name in SOCKETS if images.get(name) is not None]
    if "image_1" not in connected:
        check_references(model, 0)
    first = tensors.split(images["image_1"], "image_1")
    rest = [
        picture
        for name in connected
        if name != "image_1"
        for picture in tensors.split(images[name], name)
    ]
    check_references(model, 1 + len(rest))
    shared = [tensors.encode(picture, model.max_pixels) for picture in rest]
    return [(tensors.encode(picture, model.max_pixels), *shared) for picture in first]
