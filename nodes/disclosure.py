"""What a saved image says of its origin: the node's choice, its info, and the way it came."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..mai.formats import COMPOSITE, GENERATED, Mark, parse_json

FROM_INFO, AI_GENERATED = "from info", "AI-generated"
AI_COMPOSITE, NO_MARK = "composite with AI-generated parts", "none"

DISCLOSURES = (FROM_INFO, AI_GENERATED, AI_COMPOSITE, NO_MARK)

_FAMILY = "MAI-Image-"

_MAKERS = frozenset({"MAIGenerate", "MAIEdit"})
_STITCH = "MAIStitch"
_LOADERS = ("loadimage", "loadvideo")
"""In the names of nodes that read images from files, whatever pack they are of."""

_NO_PIXELS = frozenset({"MASK", "INT", "FLOAT", "STRING", "BOOLEAN"})
"""Types of outputs by which no pixel comes into an image."""


@dataclass(frozen=True)
class Info:
    """What MAI nodes say of their images: "" and empty where it isn't said, or is no info."""

    source_type: str = ""
    model: str = ""
    prompt: str = field(default="", repr=False)
    images: tuple[object, ...] = ()

    @classmethod
    def parse(cls, text: object) -> Info:
        """The info of a MAI node's output. What isn't one says nothing."""
        try:
            facts = parse_json(text.encode("utf-8", "replace")) if isinstance(text, str) else None
        except ValueError:
            facts = None
        if not isinstance(facts, dict) or not isinstance(facts.get("model"), str):
            return cls()
        prompt, images = facts.get("prompt"), facts.get("images")
        return cls(
            COMPOSITE if facts.get("digital_source_type") == COMPOSITE else GENERATED,
            facts["model"],
            prompt if isinstance(prompt, str) else "",
            tuple(images) if isinstance(images, list) else (),
        )


@dataclass(frozen=True)
class Way:
    """Over which nodes of the graph an image came: `made` by MAI nodes, of which there may be
    `several`, and `mixed`: stitched, edited in parts, or over loaded ones. `model` and `prompt` are
    what these nodes' widgets say, where all of them say the same."""

    made: bool = False
    mixed: bool = False
    several: bool = False
    model: str = ""
    prompt: str = field(default="", repr=False)


def way_of(graph: object, node_id: str | None) -> Way:
    """The way of the images that the node `node_id` of a graph (ComfyUI's prompt) gets.

    Followed back to the nodes that make or load images; masks, numbers and texts don't count.
    """
    if not isinstance(graph, Mapping):
        return Way()
    makers: list[Mapping[str, Any]] = []
    mixed = False
    seen: set[str] = set()
    left = [node_id or ""]
    while left:
        name = left.pop()
        node = graph.get(name)
        if name in seen or not isinstance(node, Mapping):
            continue
        seen.add(name)
        kind, given = str(node.get("class_type")), node.get("inputs")
        inputs = given if isinstance(given, Mapping) else {}
        is_loader = any(word in kind.lower().replace(" ", "") for word in _LOADERS)
        mixed = mixed or is_loader or kind == _STITCH
        if kind in _MAKERS:
            makers.append(inputs)
            mixed = mixed or isinstance(inputs.get("mask"), list)
        elif not is_loader:
            left += _image_sources(inputs, graph, only="images" if name == node_id else "")
    model, prompt = (_shared(makers, name) for name in ("model", "prompt"))
    return Way(bool(makers), mixed and bool(makers), len(makers) > 1, model, prompt)


def _image_sources(inputs: Mapping[str, Any], graph: Mapping[str, Any], only: str) -> list[str]:
    """The nodes of which an image's pixels may come by these inputs; `only` by that one."""
    links = [
        (str(value[0]), value[1])
        for name, value in inputs.items()
        if isinstance(value, list) and len(value) == 2 and (not only or name == only)
    ]
    return [name for name, slot in links if _type_of(graph.get(name), slot) not in _NO_PIXELS]


def _type_of(node: object, slot: object) -> str:
    """The type of a node's output, such as IMAGE; "" where ComfyUI doesn't know it."""
    kind = str(node.get("class_type")) if isinstance(node, Mapping) else ""
    known = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {})  # ComfyUI's own module
    types = getattr(known.get(kind), "RETURN_TYPES", None) or ()
    return str(types[slot]) if isinstance(slot, int) and 0 <= slot < len(types) else ""


def _shared(makers: list[Mapping[str, Any]], name: str) -> str:
    """What all of these nodes have in a widget, "" where they differ or it comes by a link."""
    values = [maker.get(name) for maker in makers]
    first = values[0] if values else ""
    return first if isinstance(first, str) and all(value == first for value in values) else ""


def choose_mark(disclosure: str, info: Info, way: Way, with_prompt: bool) -> Mark | None:
    """The mark of an image that was encoded anew; None: nothing is said of it.

    Which of several nodes made it isn't known: then only what they share is said of the model.
    """
    source_type = {
        AI_GENERATED: GENERATED,
        AI_COMPOSITE: COMPOSITE,
        NO_MARK: "",
        FROM_INFO: COMPOSITE if way.mixed else info.source_type or (GENERATED if way.made else ""),
    }[disclosure]
    if not source_type:
        return None
    is_known = info.model and not way.several
    model, prompt = (info.model, info.prompt) if is_known else (way.model, way.prompt)
    version = model.removeprefix(_FAMILY) if model.startswith(_FAMILY) else ""
    return Mark(source_type, model, version, prompt if with_prompt else "")
