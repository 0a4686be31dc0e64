"""Runs a workflow in a ComfyUI that was started for it."""

from __future__ import annotations

from .client import Client, Finished, Refused
from .find import NotUsable
from .graph import Graph, Outcome, Ran, title
from .launch import Server


async def run(server: Server, graph: Graph) -> Outcome:
    """Queue the workflow and wait; NotUsable with ComfyUI's own words where it fails."""
    async with Client(server.url) as client:
        try:
            finished = await client.run(graph)
        except Refused as error:
            raise NotUsable(f"ComfyUI refused the workflow: {error}") from error
    if finished.status != "success":
        raise NotUsable(f"The workflow ended with {finished.status}: {finished.error}".strip())
    texts = [text for output in finished.outputs.values() for text in output.get("text", ())]
    files = [server.output / subfolder / name for subfolder, name in finished.files()]
    return Outcome(_ran(graph, finished), tuple(files), tuple(texts), finished.seconds)


def _ran(graph: Graph, finished: Finished) -> tuple[Ran, ...]:
    """Each node from the moment that ComfyUI started it to the start of the next."""
    starts = [event for event in finished.events if event.type == "executing"]
    ran = []
    for event, following in zip(starts, [*starts[1:], finished.events[-1]], strict=True):
        node_id = event.data.get("node")
        if node_id is not None:
            node = graph[node_id]
            ran.append(Ran(title(node), node["class_type"], following.at - event.at))
    return tuple(ran)
