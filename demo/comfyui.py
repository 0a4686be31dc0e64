"""Runs a workflow in a ComfyUI that was started for it."""

from __future__ import annotations

from .client import ComfyUIClient, Finished, Refused
from .find import NotUsable
from .graph import Graph, GraphRun, Ran, title
from .launch import ComfyUIServer


async def run(server: ComfyUIServer, graph: Graph) -> GraphRun:
    """Queue the workflow and wait; NotUsable with ComfyUI's own words where it fails."""
    async with ComfyUIClient(server.url) as client:
        try:
            finished = await client.run(graph)
        except Refused as error:
            raise NotUsable(f"ComfyUI refused the workflow: {error}") from error
    if finished.status != "success":
        raise NotUsable(f"The workflow was not finished ({finished.status}). {finished.error}")
    texts = [text for output in finished.outputs.values() for text in output.get("text", ())]
    files = [server.output / subfolder / name for subfolder, name in finished.files()]
    return GraphRun(_ran(graph, finished), tuple(files), tuple(texts), finished.seconds)


def _ran(graph: Graph, finished: Finished) -> tuple[Ran, ...]:
    """Each node from its start to the moment that ComfyUI's progress calls it finished."""
    ran = []
    for event in finished.events:
        node_id = event.data.get("node") if event.type == "executing" else None
        if node_id is not None:
            node = graph[node_id]
            seconds = _end(finished, node_id) - event.at
            ran.append(Ran(title(node), node["class_type"], seconds))
    return tuple(ran)


def _end(finished: Finished, node_id: str) -> float:
    for event in finished.events:
        state = event.data.get("nodes") if event.type == "progress_state" else None
        if state and state.get(node_id, {}).get("state") == "finished":
            return event.at
    return finished.ended_at
