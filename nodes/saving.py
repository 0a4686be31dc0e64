"""The work of MAI Save Image: one batch of images to files, in a thread of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..mai.errors import ImageError, MaiError, OptionError
from ..mai.formats import GENERATED, Mark, find_manifest, read_mark
from .disclosure import DISCLOSURES, FROM_INFO, Info, Way, choose_mark, way_of
from .imaging.codec import split_batch
from .imaging.file_writer import (
    ENDINGS,
    FORMATS,
    HOLDS_WORKFLOW,
    Bytes,
    FileForm,
    Said,
    encode_file,
    graph_texts,
    mark_file,
    saved_levels,
)
from .imaging.mask import pair_masks
from .originals import Originals
from .output_files import OutputFiles

if TYPE_CHECKING:
    from .run import SharedClient

SIDECAR = ".json"


@dataclass(frozen=True)
class Graph:
    """ComfyUI's prompt and extra_pnginfo, the node's own id in them, and whether they are kept
    with the images."""

    prompt: object
    extra: Mapping[str, object] | None
    node_id: str | None
    is_kept: bool

    @property
    def texts(self) -> dict[str, str]:
        """What goes into files, by name."""
        return graph_texts(self.prompt, self.extra) if self.is_kept else {}

    @property
    def sidecar(self) -> bytes:
        """A JSON file that the page opens; empty where there is no graph, or it isn't kept."""
        workflow = (self.extra or {}).get("workflow") or self.prompt
        return json.dumps(workflow).encode() if self.is_kept and workflow else b""


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """OptionError for what no list offers: ComfyUI lets anything come over a link."""
    if value not in choices:
        raise OptionError(
            f"MAI Save Image has no {name} {str(value)[:60]!r}.",
            f"Choose one of {', '.join(choices)}.",
        )


@dataclass(frozen=True)
class _Encoded:
    """A file's bytes, and whether they are signed by the service, or hold the graph."""

    data: bytes = field(repr=False)
    is_signed: bool = False
    holds_graph: bool = False


class Saving:
    """The files of a batch: `files` are those that were written, as the page is told of them."""

    def __init__(
        self,
        images: Tensor,
        mask: Tensor | None,
        form: FileForm,
        prefix: str,
        info: str | None,
        disclosure: str,
        graph: Graph,
    ) -> None:
        _check_choice("format", form.name, tuple(FORMATS))
        _check_choice("disclosure", disclosure, DISCLOSURES)
        form.check()
        self._pairs = pair_masks(split_batch(images, "images"), mask)
        self._form, self._prefix, self._graph = form, prefix, graph
        self._info = Info.parse(info)
        self._disclosure = disclosure
        self._way = way_of(graph.prompt, graph.node_id)
        self._mark = choose_mark(self._disclosure, self._info, self._way, graph.is_kept)
        self.files: list[dict[str, Any]] = []
        self._signed: list[int] = []
        self._beside: list[str] = []

    @property
    def count(self) -> int:
        return len(self._pairs)

    def prepare(self, client: SharedClient) -> None:
        """Find the names and the store; every other method comes after this one. Blocks."""
        height, width = self._pairs[0][0].shape[:2]
        self._names = OutputFiles.after(self._prefix, width, height)
        self._originals = None
        if self._info.images:
            try:
                self._originals = Originals(client.get().store, self._info.images, self._form)
            except MaiError:  # without a store every image is encoded
                return

    def save(self, number: int) -> None:
        """Write image `number`, from 0, and its sidecar where it needs one. Blocks."""
        levels = saved_levels(*self._pairs[number], self._form)
        file = self._original(levels) or self._encode(levels)
        contents = {ENDINGS[self._form.name]: file.data}
        if not file.holds_graph and self._graph.sidecar:
            # Before the image: whoever sees that finds its workflow.
            contents = {SIDECAR: self._graph.sidecar, **contents}
        stem = self._names.write(number, contents)
        name = f"{stem}{ENDINGS[self._form.name]}"
        self.files.append({"filename": name, "subfolder": self._names.subfolder, "type": "output"})
        if SIDECAR in contents:
            self._beside.append(f"{stem}{SIDECAR}")
        if file.is_signed:
            self._signed.append(number)

    def notes(self) -> list[str]:
        """What is worth knowing of the files that were written, as sentences."""
        notes = []
        numbers = ", ".join(str(number + 1) for number in self._signed)
        if self._signed and self.count == 1:
            notes.append("The image was saved as the service sent it, with content credentials.")
        elif self._signed:
            notes.append(f"Saved as the service sent them, with content credentials: {numbers}.")
        if self._beside:
            notes.append(f"The workflow is in {', '.join(self._beside[:3])}.")
        if self._mark is None and self._disclosure == FROM_INFO and len(self._signed) < self.count:
            notes.append("Not marked as AI-generated: connect info, or choose a disclosure.")
        return notes

    def _encode(self, levels: Bytes) -> _Encoded:
        said = Said(self._mark, self._graph.texts)
        data = encode_file(levels, self._form, said)
        return _Encoded(data, holds_graph=self._form.name in HOLDS_WORKFLOW)

    def _original(self, levels: Bytes) -> _Encoded | None:
        """The file that the service sent of these pixels: whole where it has a manifest, which one
        byte more would break, else with the mark in it, unless it has one of its own. None: there
        is none, or nothing can be added to it."""
        data = None if self._originals is None else self._originals.find(levels)
        if data is None:
            return None
        try:
            if find_manifest(data) is not None:
                return _Encoded(data, is_signed=True)
            own, mark = read_mark(data), self._mark_of_whole()
            if own is not None and mark is not None and own.source_type != mark.source_type:
                mark = None
            marked = mark_file(data, Said(mark, self._graph.texts))
        except ImageError:
            return None
        return _Encoded(marked, holds_graph=self._form.name in HOLDS_WORKFLOW)

    def _mark_of_whole(self) -> Mark | None:
        """The mark of an image that info names: the model's as a whole, also of a masked edit's
        node, whatever else the graph holds."""
        if self._mark is None or self._disclosure != FROM_INFO:
            return self._mark
        info = replace(self._info, source_type=GENERATED)
        return choose_mark(self._disclosure, info, Way(), self._graph.is_kept)
