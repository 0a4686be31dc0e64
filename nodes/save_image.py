"""MAI Save Image: images become files that say that a model made them."""

from __future__ import annotations

import asyncio

from comfy import model_management
from comfy.cli_args import args
from comfy_api.latest import io
from torch import Tensor
from typing_extensions import override

from ..mai.errors import InputError
from . import inputs
from .disclosure import DISCLOSURES, FROM_INFO
from .run import shared_client, show_bar, show_notes

FORMAT_NAMES = ("png", "webp", "jpeg", "avif")


class MAISaveImage(io.ComfyNode):
    """Save images: untouched ones as the service sent them, all others with a standard mark."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MAISaveImage",
            display_name="MAI Save Image",
            category=inputs.CATEGORY,
            description="Save images so that their files say that they are AI-generated. An image "
            "that nothing has changed keeps the bytes that the service sent, with its content "
            "credentials; every other one gets the standard mark of IPTC.",
            search_aliases=[
                "save with content credentials",
                "c2pa",
                "xmp",
                "iptc",
                "ai disclosure",
                "ai act",
                "save webp",
                "save jpeg",
                "save avif",
            ],
            inputs=[
                io.Image.Input("images", tooltip="The images to save. They are passed on as well."),
                io.String.Input(
                    "info",
                    optional=True,
                    force_input=True,
                    tooltip="The info of the MAI node that made the images: how they were made, "
                    "and which images of the store they are.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Written as alpha: 1 is transparent, as of Load Image. One mask for "
                    "all images, or one for each.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="MAI",
                    tooltip="How the files' names begin, below the output folder: "
                    "folder/name, %date:yyyy-MM-dd%, %width%, %MAI Generate.seed%, %batch_num%.",
                ),
                io.Combo.Input(
                    "format",
                    options=list(FORMAT_NAMES),
                    default="png",
                    tooltip="Only png keeps untouched images as the service sent them.",
                ),
                io.Int.Input(
                    "quality",
                    default=90,
                    min=1,
                    max=100,
                    tooltip="Of webp, jpeg and avif: 100 is the best and the largest. png has "
                    "none, it keeps every pixel.",
                    optional=True,
                    advanced=True,
                ),
                io.Boolean.Input(
                    "lossless",
                    default=False,
                    tooltip="webp: keep every pixel as it is; quality is then how hard it is "
                    "packed. png is always lossless, jpeg and avif can't be.",
                    optional=True,
                    advanced=True,
                ),
                io.Boolean.Input(
                    "embed_workflow",
                    default=True,
                    tooltip="Put prompt and workflow into the file, so that dragging it onto the "
                    "page opens the graph; of a jpeg, and beside content credentials, into a .json "
                    "of the same name. Turn it off for files that leave the house.",
                    optional=True,
                    advanced=True,
                ),
                io.Combo.Input(
                    "disclosure",
                    options=list(DISCLOSURES),
                    default=FROM_INFO,
                    tooltip="What the mark says. From info: what info and the graph say, composite "
                    "for masked edits, MAI Stitch and images over loaded ones. None: no mark.",
                    optional=True,
                    advanced=True,
                ),
            ],
            outputs=[io.Image.Output("images", tooltip="The images, as they came.")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    @override
    def validate_inputs(cls, filename_prefix: str | None = "MAI") -> bool | str:
        """Before anything is bought: a name that can't be written; None comes through a link."""
        from .output_files import clean_prefix

        if filename_prefix is None:
            return True
        try:
            clean_prefix(filename_prefix)
        except InputError as error:
            return f"{error.what} {error.hint}"
        return True

    @classmethod
    @override
    @inputs.within_limits
    async def execute(
        cls,
        images: Tensor,
        info: str | None = None,
        mask: Tensor | None = None,
        filename_prefix: str = "MAI",
        format: str = "png",
        quality: int = 90,
        lossless: bool = False,
        embed_workflow: bool = True,
        disclosure: str = FROM_INFO,
    ) -> io.NodeOutput:
        # Imported by the first save: ComfyUI's start should not wait for it.
        from .imaging.file_writer import FileForm
        from .saving import Graph, Saving

        node_id = getattr(cls.hidden, "unique_id", None)
        graph = Graph(
            getattr(cls.hidden, "prompt", None),
            getattr(cls.hidden, "extra_pnginfo", None),
            node_id,
            embed_workflow and not args.disable_metadata,
        )
        form = FileForm(format, quality, lossless)
        saving = Saving(images, mask, form, filename_prefix, info, disclosure, graph)
        await asyncio.to_thread(saving.prepare, shared_client)
        for done in range(saving.count):
            if model_management.processing_interrupted():
                raise model_management.InterruptProcessingException()
            await asyncio.to_thread(saving.save, done)
            await show_bar(done + 1, saving.count, node_id)
        show_notes("MAI Save Image", node_id, saving.notes())
        return io.NodeOutput(images, ui={"images": saving.files})
