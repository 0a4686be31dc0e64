"""From MAI Edit's inputs to its requests, and from the images that came to its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...mai.models import Model
from ...mai.types import Edit, Reference, Result
from ...mai.validation import validate_references
from ..options import SAME_AS_INPUT, SOCKETS
from . import codec as tensors
from . import masked_edit as masked
from .masked_edit import Plan


@dataclass(frozen=True)
class Area:
    """What of an image is edited: the mask [B,H,W] or None, and how the part around it is cut."""

    mask: Tensor | None = field(repr=False)
    region: str
    context: float
    mask_grow: int
    mask_feather: int


@dataclass(frozen=True)
class Edited:
    """MAI Edit's outputs: both [B,H,W,3]; `facts` on each edited area and `notes` for `info`."""

    images: Tensor = field(repr=False)
    as_returned: Tensor = field(repr=False)
    facts: list[dict[str, object]]
    notes: list[str]


@dataclass(frozen=True)
class Job:
    """The plans of all images of image_1, and the references that go along with each."""

    model: Model
    plans: tuple[Plan, ...]
    crops: tuple[tuple[Reference, ...], ...]
    shared: tuple[Reference, ...]

    def requests(
        self,
        prompt: str,
        seed: int,
        batch_size: int,
        auto_aspect_ratio: bool,
        web_grounding: bool,
    ) -> list[Edit]:
        """One request a crop: image by image, then copy by copy, then area by area.

        Copy j of image i carries the seed + i * batch_size + j, each of its areas the same.
        """
        return [
            Edit(
                self.model.name,
                prompt,
                (crop, *self.shared),
                seed + i * batch_size + j,
                auto_aspect_ratio=auto_aspect_ratio,
                web_grounding=web_grounding,
            )
            for i, crops in enumerate(self.crops)
            for j in range(batch_size)
            for crop in crops
        ]

    def finish(
        self,
        results: Sequence[Result | None],
        batch_size: int,
        match_color: bool,
        output_size: str,
    ) -> Edited:
        """Set the images that came, in the order of `requests`, back; None was blocked."""
        as_returned, returned, notes = _decoded(results)
        edits = self._edits(returned, batch_size)
        batch = self._canvas(len(edits), output_size)
        images: list[Tensor] = []
        facts: list[dict[str, object]] = []
        for index, (plan, edited) in enumerate(edits):
            out = None if batch is None else batch[index]
            done = masked.finish(plan, edited, match_color, output_size, out)
            facts.append({"index": index, "areas": done.drift})
            notes += done.notes
            images.append(done.image)
        if batch is None:
            batch, fitted = tensors.join(images)
            notes += fitted
        return Edited(batch, as_returned, facts, list(dict.fromkeys(notes)))

    def _edits(
        self, returned: Sequence[Tensor | None], batch_size: int
    ) -> list[tuple[Plan, list[Tensor | None]]]:
        """Each output image's plan with what came for it; left out where nothing came."""
        left = iter(returned)
        every = [
            (plan, [next(left) for _ in plan.crops])
            for plan in self.plans
            for _ in range(batch_size)
        ]
        return [(plan, edits) for plan, edits in every if any(e is not None for e in edits)]

    def _canvas(self, count: int, output_size: str) -> Tensor | None:
        """One tensor for all output images, where they have the input's size."""
        first = self.plans[0]
        if not first.masked and output_size != SAME_AS_INPUT:
            return None
        height, width = first.image.shape[:2]
        return torch.empty((count, height, width, 3))


def prepare(images: Mapping[str, Tensor], model: Model, area: Area) -> Job:
    """The job for what is connected.

    Sockets count in the order image_1 to image_5. Every image of a batch on another socket than
    image_1 is a reference of its own. ImageError: nothing on image_1, more images than the
    model takes, a tensor that is no image, or a mask that selects nothing.
    """
    connected = [name for name in SOCKETS if images.get(name) is not None]
    if "image_1" not in connected:
        validate_references(model, 0)
    first = tensors.split(images["image_1"], "image_1")
    rest = [
        image
        for name in connected
        if name != "image_1"
        for image in tensors.split(images[name], name)
    ]
    validate_references(model, 1 + len(rest))
    plans = tuple(
        masked.plan(
            image, mask, model, area.region, area.context, area.mask_grow, area.mask_feather
        )
        for image, mask in masked.pair(first, area.mask)
    )
    return Job(
        model,
        plans,
        tuple(tuple(tensors.encode(crop, model.max_pixels) for crop in p.crops) for p in plans),
        tuple(tensors.encode(image, model.max_pixels) for image in rest),
    )


def _decoded(
    results: Sequence[Result | None],
) -> tuple[Tensor, list[Tensor | None], list[str]]:
    """All that came as one IMAGE, each of it as it came, and sentences on what had to be fitted.

    Views of the one tensor, where nothing was fitted.
    """
    images = [tensors.decode(result.image)[0] for result in results if result is not None]
    together, notes = tensors.join(images)
    left = iter(images if notes else together.unbind(0))
    return together, [None if result is None else next(left) for result in results], notes
