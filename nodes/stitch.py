"""MAI Stitch: set an edited crop back into the picture that it was cut out of."""

from __future__ import annotations

import torch
from comfy_api.latest import io
from torch import Tensor
from typing_extensions import override

from ..mai.errors import PictureError
from . import images as tensors
from . import mask_inputs, notes, schema, stitching
from .crop import StitchType
from .stitching import Stitch


class MAIStitch(io.ComfyNode):
    """The picture with the edit of its crop, all else bit for bit as it was."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MAIStitch",
            display_name="MAI Stitch",
            category=schema.CATEGORY,
            description="Set an edited crop of MAI Crop for Edit back into its image. The crop may "
            "come back in another size; a small shift or change of colour of its surroundings is "
            "undone. Everything outside the mask stays bit for bit as it was.",
            search_aliases=[
                "inpaint stitch",
                "crop and stitch",
                "uncrop",
                "paste by mask",
                "composite crop",
            ],
            inputs=[
                StitchType.Input("stitch", tooltip="The stitch output of MAI Crop for Edit."),
                io.Image.Input(
                    "image",
                    tooltip="The edited crop. For a batch of crops as many edits, or that many for "
                    "each crop in turn.",
                ),
                mask_inputs.match_color(),
            ],
            outputs=[
                io.Image.Output(
                    "image", display_name="image", tooltip="The image at its own size, [B,H,W,3]."
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @override
    def execute(cls, stitch: Stitch, image: Tensor, match_color: bool = True) -> io.NodeOutput:
        stitched, said = stitch_all(stitch, image, match_color)
        notes.tell("MAI Stitch", getattr(cls.hidden, "unique_id", None), said)
        return io.NodeOutput(stitched)


def stitch_all(stitch: Stitch, image: Tensor, match_color: bool) -> tuple[Tensor, list[str]]:
    """The pictures [B,H,W,3] with their edits, and sentences for the user.

    Of n crops and k x n edits, k in a row belong to each crop, as MAI Edit gives them.
    PictureError: any other number of edits.
    """
    edits = tensors.split(image)
    count = len(stitch.patches)
    if len(edits) % count:
        raise PictureError(
            f"MAI Stitch got {len(edits)} edited crops for {count} cut out.",
            "Give one for each crop; if the content filter took some, stitch one by one.",
        )
    each = len(edits) // count
    height, width = stitch.pictures[0].shape[:2]
    batch = torch.empty((len(edits), height, width, 3), dtype=torch.float32)
    sentences: list[str] = []
    for i, edit in enumerate(edits):
        stitching.copy(stitch.pictures[i // each], batch[i])
        _, said = stitching.paste(batch[i], stitch.patches[i // each], edit, match_color)
        sentences += [f"Image {i + 1}: {note}" if len(edits) > 1 else note for note in said]
    return batch, sentences
