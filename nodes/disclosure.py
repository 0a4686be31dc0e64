"""What a saved image says of its origin: the node's choice, its info, and the way it came."""

from __future__ import annotations

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
_LOADERS = "LoadImage"
"""With what the names of nodes begin that read an image from a file."""


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
    """Over which nodes of the graph an image came: `made` by MAI nodes, and `mixed` with loaded
    ones or stitched. `model` and `prompt` are those of such a node, as far as its widgets say."""

    made: bool = False
    mixed: bool = False
    model: str = ""
    prompt: str = field(default="", repr=False)


def way_of(graph: object, node_id: str | None) -> Way:
    """The way of the images that the node `node_id` of a graph (ComfyUI's prompt) gets.

    Followed back to the nodes that make or load images; masks don't count.
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
        kind = str(node.get("class_type"))
        if kind in _MAKERS:
            makers.append(node.get("inputs") or {})
        mixed = mixed or kind == _STITCH or kind.startswith(_LOADERS)
        if kind not in _MAKERS and not kind.startswith(_LOADERS):
            left += _image_sources(node, graph, only="images" if name == node_id else "")
    said = [makers[0].get(name) if makers else "" for name in ("model", "prompt")]
    model, prompt = (value if isinstance(value, str) else "" for value in said)
    return Way(bool(makers), mixed and bool(makers), model, prompt)


def _image_sources(node: Mapping[str, Any], graph: Mapping[str, Any], only: str) -> list[str]:
    """The nodes that one gets anything of but a loaded file's mask; `only` of that input."""
    inputs = node.get("inputs")
    if not isinstance(inputs, Mapping):
        return []
    links = [
        (str(value[0]), value[1])
        for name, value in inputs.items()
        if isinstance(value, list) and len(value) == 2 and (not only or name == only)
    ]
    return [name for name, slot in links if not (slot and _is_loader(graph.get(name)))]


def _is_loader(node: object) -> bool:
    return isinstance(node, Mapping) and str(node.get("class_type")).startswith(_LOADERS)


def choose_mark(disclosure: str, info: Info, way: Way, with_prompt: bool) -> Mark | None:
    """The mark of an image that was encoded anew; None: nothing is said of it."""
    source_type = {
        AI_GENERATED: GENERATED,
        AI_COMPOSITE: COMPOSITE,
        NO_MARK: "",
        FROM_INFO: COMPOSITE if way.mixed else info.source_type or (GENERATED if way.made else ""),
    }[disclosure]
    if not source_type:
        return None
    model, prompt = (info.model, info.prompt) if info.model else (way.model, way.prompt)
    version = model.removeprefix(_FAMILY) if model.startswith(_FAMILY) else ""
    return Mark(source_type, model, version, prompt if with_prompt else "")
