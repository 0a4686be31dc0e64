"""MAI Prompt List: the rows of a list become lists of prompts, sizes, seeds and names."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import folder_paths
from comfy_api.latest import io
from typing_extensions import override

from ..mai.errors import InputError
from . import inputs
from .inputs import LIST_TEXT
from .run import show_notes

if TYPE_CHECKING:
    from ..mai.bulk import Selection
    from ..page.lists import ListSettings
    from .list_file import PromptList

logger = logging.getLogger(__name__)

NAME = "MAI Prompt List"

ENDINGS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".txt")

IMAGE_OUTPUT = 6
"""The place of image_1 among the outputs."""

NEXT_ROWS, SAME_ROWS = "next rows", "same rows"


class MAIPromptList(io.ComfyNode):
    """Rows of a CSV, JSONL or text file as lists, at most 64 a run."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MAIPromptList",
            display_name=NAME,
            category=inputs.CATEGORY,
            description="Rows of a list, CSV, JSONL or a prompt a line, for MAI Generate, MAI Edit "
            "and Save Image: each row is one image. The model is that of the node that buys it. "
            "Buys nothing.",
            search_aliases=[
                "csv",
                "jsonl",
                "batch prompts",
                "prompts from file",
                "spreadsheet",
                "load prompts",
                "bulk",
            ],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=[LIST_TEXT, *list_files()],
                    default=LIST_TEXT,
                    tooltip="A list in ComfyUI's input folder: CSV with a header, JSONL, or TXT "
                    "with a prompt a line; or the text below.",
                ),
                io.String.Input(
                    "text",
                    multiline=True,
                    default="",
                    tooltip="The list itself, if no file is chosen: a prompt a line, or CSV or "
                    "JSONL.",
                ),
                io.String.Input(
                    "template",
                    multiline=True,
                    default="",
                    tooltip="The prompt of every row: a column's name in braces stands for the "
                    "row's cell. One with the column prompt in it stands around each row's own "
                    "prompt; another one is for rows without a prompt.",
                ),
                io.Int.Input(
                    "start",
                    default=1,
                    min=1,
                    max=10_000_000,
                    tooltip="The first row of this run, counted from 1.",
                ),
                io.Int.Input(
                    "rows",
                    default=inputs.MAX_BATCH,
                    min=1,
                    max=inputs.MAX_BATCH,
                    tooltip="How many rows a run, at most 64. The command line's mai-image batch "
                    "runs thousands unattended.",
                ),
                io.Combo.Input(
                    "after_run",
                    options=[NEXT_ROWS, SAME_ROWS],
                    default=NEXT_ROWS,
                    tooltip="What the page does with start after a Run: move it on to the next "
                    "rows, as long as there are any, or leave it.",
                    optional=True,
                ),
            ],
            outputs=[
                io.String.Output("prompt", is_output_list=True, tooltip="The prompt of each row."),
                io.Int.Output(
                    "width",
                    is_output_list=True,
                    tooltip="Pixels, of the columns width or size; 1024 if they are empty.",
                ),
                io.Int.Output(
                    "height",
                    is_output_list=True,
                    tooltip="Pixels, of the columns height or size; 1024 if they are empty.",
                ),
                io.Int.Output("seed", is_output_list=True, tooltip="0 if the column is empty."),
                io.String.Output(
                    "name",
                    is_output_list=True,
                    tooltip="For Save Image's filename_prefix: the column out, else id, else the "
                    "number of the line. It never leads out of the output folder.",
                ),
                io.Int.Output(
                    "index", is_output_list=True, tooltip="The number of each row, from 1."
                ),
                io.Image.Output(
                    "image_1",
                    is_output_list=True,
                    tooltip="The image that the column image_1 names, PNG or JPEG, from the list's "
                    "own folder. Rows without one are skipped by what needs it.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    @override
    async def validate_inputs(
        cls, file: str | None = None, text: str | None = None, template: str | None = None
    ) -> bool | str:
        if file is None or text is None or template is None:
            return True  # linked: it is known when the graph runs
        try:
            await asyncio.to_thread(_list(file, text, template, 1, 1).select)
        except InputError as error:
            return _SaidOnce(f"{error.what} {error.hint}".strip())
        return True

    @classmethod
    @override
    async def fingerprint_inputs(
        cls,
        file: str | None = None,
        text: str | None = None,
        template: str | None = None,
        start: int | None = None,
        rows: int | None = None,
        after_run: str | None = None,
    ) -> str:
        found = _list(file or LIST_TEXT, text or "", template or "", start or 1, rows or 1)
        return await asyncio.to_thread(found.fingerprint)

    @classmethod
    @override
    @inputs.within_limits
    async def execute(
        cls,
        file: str = LIST_TEXT,
        text: str = "",
        template: str = "",
        start: int = 1,
        rows: int = inputs.MAX_BATCH,
        after_run: str = NEXT_ROWS,
    ) -> io.NodeOutput:
        chosen = await asyncio.to_thread(_list(file, text, template, start, rows).select)
        node_id = getattr(cls.hidden, "unique_id", None)
        is_linked = _is_linked(getattr(cls.hidden, "prompt", None), node_id)
        images, image_notes = await asyncio.to_thread(_images, chosen, is_linked)
        show_notes(NAME, node_id, [*_notes(chosen), *image_notes])
        sizes = [row.size or (1024, 1024) for row in chosen.rows]
        return io.NodeOutput(
            [row.prompts[0] for row in chosen.rows],
            [width for width, _ in sizes],
            [height for _, height in sizes],
            [row.seed for row in chosen.rows],
            [os.path.splitext(row.files[0])[0] for row in chosen.rows],
            [start + i for i in range(len(chosen.rows))],
            images,
        )


class _SaidOnce(str):
    """A sentence for ComfyUI, which puts it behind the name of every input that validate_inputs
    names: the whole list of mistakes stands behind the first one alone."""

    _said = False

    @override
    def __str__(self) -> str:
        if self._said:
            return "see above"
        self._said = True
        return str.__str__(self)


def list_files() -> list[str]:
    """The lists at the top of the input folder."""
    try:
        with os.scandir(folder_paths.get_input_directory()) as entries:
            return sorted(
                each.name
                for each in entries
                if each.name.lower().endswith(ENDINGS) and each.is_file()
            )
    except OSError:
        return []


def read_list(settings: ListSettings) -> Selection:
    """A list as the page asks for it: its rows, and all that is wrong with it."""
    return _list(
        settings.file, settings.text, settings.template, settings.start, settings.rows
    ).look()


def _list(file: str, text: str, template: str, start: int, rows: int) -> PromptList:
    from .list_file import PromptList  # not at ComfyUI's start

    return PromptList(file, text, template, start, rows)


def _images(chosen: Selection, is_linked: bool) -> tuple[list[Any], list[str]]:
    """What image_1 gives: nothing is read that nobody uses."""
    from comfy_execution.graph_utils import ExecutionBlocker

    from .list_file import load_images

    quiet = ExecutionBlocker(None)
    if not is_linked:
        return [quiet] * len(chosen.rows), []
    if not any(row.images for row in chosen.rows):
        raise InputError(
            "image_1 is connected, but none of these rows has one.",
            "Give the list a column image_1 with names of PNG or JPEG files in its folder.",
        )
    loaded = load_images(chosen.rows)
    return [quiet if image is None else image for image in loaded.images], loaded.notes


def _is_linked(prompt: object, node_id: str | None) -> bool:
    """Whether a node of this run uses image_1; also where nobody can know."""
    if not isinstance(prompt, Mapping) or node_id is None:
        return True
    wanted = [str(node_id), IMAGE_OUTPUT]
    nodes = [node for node in prompt.values() if isinstance(node, Mapping)]
    return any(
        isinstance(value, list) and [str(value[0]), *value[1:]] == wanted
        for node in nodes
        for value in node.get("inputs", {}).values()
        if value
    )


def _notes(chosen: Selection) -> list[str]:
    """What the node says of this run."""
    last = chosen.start + len(chosen.rows) - 1
    parts = [f"rows {chosen.start:,} to {last:,} of {chosen.total:,}"]
    if chosen.left:
        parts.append(f"{chosen.left:,} left: the next run begins with start {last + 1}")
    notes = [" · ".join(parts)]
    if chosen.unread:
        columns = ", ".join(chosen.unread)
        notes.append(f"Columns that aren't read here: {columns}. Set them on the node that buys.")
    return notes
