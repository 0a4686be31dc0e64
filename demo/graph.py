"""A workflow in API format: its order, how many images it makes, and what they cost at most."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from ..mai.models import CATALOGUE, Model
from ..mai.types import Edit, Generate, Reference

Graph = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """One node that was run: its title and how long it took."""

    title: str
    class_type: str
    seconds: float


@dataclass(frozen=True)
class GraphRun:
    """What a run of a graph gave: the nodes in the order of their end, saved files, shown texts."""

    ran: tuple[Ran, ...]
    files: tuple[Path, ...]
    texts: tuple[str, ...]
    seconds: float


def load(file: Path) -> Graph:
    """Read a workflow in API format."""
    graph: Graph = json.loads(file.read_text(encoding="utf-8"))
    return graph


def title(node: dict[str, Any]) -> str:
    """What the page would show above the node."""
    named: str = node.get("_meta", {}).get("title", node["class_type"])
    return named


def links(node: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    """(input, node id, output's number) of every input that another node feeds."""
    for name, value in node["inputs"].items():
        if isinstance(value, list):
            yield name, str(value[0]), int(value[1])


def order(graph: Graph) -> list[str]:
    """Node ids so that every node comes after those that feed it; ValueError for a circle."""
    waits_for = {node_id: [source for _, source, _ in links(graph[node_id])] for node_id in graph}
    try:
        return list(TopologicalSorter(waits_for).static_order())
    except CycleError as error:
        raise ValueError(f"The graph runs in a circle: {error.args[1]}") from error


def files_to_load(graph: Graph) -> list[str]:
    """The file names that the graph's LoadImage nodes ask for."""
    nodes = [node for node in graph.values() if node["class_type"] == "LoadImage"]
    return [node["inputs"]["image"] for node in nodes]


def take_models(graph: Graph, models: Sequence[str], instead: str) -> None:
    """Put `instead` in the place of every model that isn't one of these; () are all."""
    for node in graph.values():
        if models and node["inputs"].get("model", instead) not in models:
            node["inputs"]["model"] = instead


def most_expensive(graph: Graph) -> tuple[int, float]:
    """(images, USD) that a run buys at most: every size that isn't known yet at its largest."""
    images = usd = 0.0
    for node in graph.values():
        count = _batch(graph, node)
        images += count
        usd += count * _price(node)
    return int(images), usd


def _batch(graph: Graph, node: dict[str, Any]) -> int:
    inputs = node["inputs"]
    if node["class_type"] == "MAIGenerate":
        return int(inputs["batch_size"])
    if node["class_type"] != "MAIEdit":
        return 0
    source = inputs["images.image_1"]
    first = _batch(graph, graph[str(source[0])]) if isinstance(source, list) else 1
    return max(1, first) * int(inputs["batch_size"])


def _price(node: dict[str, Any]) -> float:
    inputs = node["inputs"]
    if node["class_type"] not in ("MAIGenerate", "MAIEdit"):
        return 0.0
    model: Model = CATALOGUE[inputs["model"]]
    side = int(model.max_pixels**0.5)
    if node["class_type"] == "MAIGenerate":
        return model.estimate(Generate(model.name, inputs["prompt"], side, side))
    references = sum(1 for name in inputs if name.startswith("images."))
    largest = Reference(b"", "image/png", side, side)
    return model.estimate(Edit(model.name, inputs["prompt"], (largest,) * references))
