"""From MAI Edit's inputs to its messages, and from the pictures that came to its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..mai.checks import check_references
from ..mai.messages import Edit, Reference, Result
from ..mai.models import Model
from . import images as tensors
from . import masked
from .masked import Plan

SOCKETS = tuple(f"image_{i}" for i in range(1, 6))


@dataclass(frozen=True)
class Area:
    """What of a picture is edited: the mask [B,H,W] or None, and how the part around it is cut."""

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
    """The plans of all pictures of image_1, and the references that go along with each."""

    model: Model
    plans: tuple[Plan, ...]
    crops: tuple[tuple[Reference, ...], ...]
    shared: tuple[Reference, ...]

    def messages(
        self,
        prompt: str,
        seed: int,
        batch_size: int,
        auto_aspect_ratio: bool,
        web_grounding: bool,
    ) -> list[Edit]:
        """One message a crop: picture by picture, then copy by copy, then area by area.

        Copy j of picture i carries the seed + i * batch_size + j, each of its areas the same.
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
        """Set the pictures that came, in the order of `messages`, back; None was blocked."""
        returned = [_decode(result) for result in results]
        as_returned, notes = tensors.join([one for one in returned if one is not None])
        left = iter(returned)
        images: list[Tensor] = []
        facts: list[dict[str, object]] = []
        for plan in (plan for plan in self.plans for _ in range(batch_size)):
            edits = [next(left) for _ in plan.crops]
            if all(edit is None for edit in edits):
                continue
            done = masked.finish(plan, edits, match_color, output_size)
            facts.append({"index": len(images), "areas": done.drift})
            notes += done.notes
            images.append(done.image)
        batch, fitted = tensors.join(images)
        return Edited(batch, as_returned, facts, list(dict.fromkeys(notes + fitted)))


def prepare(images: Mapping[str, Tensor], model: Model, area: Area) -> Job:
    """The job for what is connected.

    Sockets count in the order image_1 to image_5. Every picture of a batch on another socket than
    image_1 is a reference of its own. PictureError: nothing on image_1, more pictures than the
    model takes, a tensor that is no picture, or a mask that selects nothing.
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
    plans = tuple(
        masked.plan(
            picture, mask, model, area.region, area.context, area.mask_grow, area.mask_feather
        )
        for picture, mask in masked.pair(first, area.mask)
    )
    return Job(
        model,
        plans,
        tuple(tuple(tensors.encode(crop, model.max_pixels) for crop in p.crops) for p in plans),
        tuple(tensors.encode(picture, model.max_pixels) for picture in rest),
    )


def _decode(result: Result | None) -> Tensor | None:
    return None if result is None else tensors.decode(result.image)[0]
