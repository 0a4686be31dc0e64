"""What an image costs in one prompt of few and of a thousand, in a real ComfyUI.

`python -m mai_image.benchmarks.prompt [--plan 10x1,100x1,16x64]`: NODESxBATCH each, all nodes in
one prompt, on a service that answers at once. Beside it, a prompt with as many of ComfyUI's own
nodes, which say what ComfyUI itself takes for a node.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from ..demo.client import ComfyUIClient, Graph
from ..demo.find import ROOT, ComfyUI, NotUsable, locate
from ..demo.launch import ComfyUIServer
from ..demo.service import environ_for
from . import batch, measure

SIDE = 768
TENSOR = SIDE * SIDE * 12 / 1e6
PLAN = "1x1,10x1,100x1,16x8,16x64"
FULL = f"{PLAN},1000x1"
SECONDS = 900.0


@dataclass(frozen=True)
class Taken:
    """Of one prompt: seconds, and megabytes above what the process held before, at most."""

    seconds: float
    peak: float


def paid(nodes: int, count: int) -> Graph:
    """Nodes that make `count` images each, none of which was made before."""
    graph: Graph = {}
    for number in range(nodes):
        graph[f"{number}"] = _node(
            "MAIGenerate",
            prompt=f"a lake {uuid.uuid4()}",
            model="MAI-Image-2.6",
            width=SIDE,
            height=SIDE,
            seed=1,
            batch_size=count,
            profile="default",
        )
        graph[f"{number}-end"] = _node("PreviewAny", source=[f"{number}", 1])
    return graph


def own(nodes: int) -> Graph:
    """As many nodes of ComfyUI's that do next to nothing, and as many ends."""
    graph: Graph = {}
    for number in range(nodes):
        graph[f"{number}"] = _node("PrimitiveString", value=f"{uuid.uuid4()}")
        graph[f"{number}-end"] = _node("PreviewAny", source=[f"{number}", 0])
    return graph


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def run(server: ComfyUIServer, graph: Graph) -> Taken:
    """Run a prompt to its end."""
    before = measure.status("VmRSS", server.pid)
    measure.forget_most(server.pid)
    ended = asyncio.run(_run(server.url, graph))
    if ended.status != "success":
        raise NotUsable(f"The prompt ended with {ended.status}: {ended.error}")
    return Taken(ended.seconds, measure.status("VmHWM", server.pid) - before)


async def _run(url: str, graph: Graph) -> Any:
    async with ComfyUIClient(url) as client:
        return await client.run(graph, SECONDS)


def report(comfyui: ComfyUI, plan: Sequence[tuple[int, int]]) -> str:
    """A line for each prompt."""
    head = f"  {'nodes':>8}{'images':>8}{'ms an image':>13}{'ComfyUI alone':>15}{'MB an image':>13}"
    lines = [f"Prompts in ComfyUI {comfyui.version}, {SIDE} x {SIDE}, no latency", head]
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(batch, "SIDE", SIDE),
        batch.server() as url,
        ComfyUIServer(
            comfyui,
            output=Path(folder),
            packages=ROOT / ".venv" / "comfyui-packages",
            environ=environ_for(url),
        ) as server,
    ):
        run(server, paid(1, 4))  # the first calls of all, one after the other
        for nodes, count in plan:
            images, alone = nodes * count, run(server, own(nodes))
            taken = run(server, paid(nodes, count))
            each, bare = taken.seconds * 1000 / images, alone.seconds * 1000 / images
            lines.append(
                f"  {nodes:8}{images:8}{each:13.1f}{bare:15.1f}{taken.peak / images:13.1f}"
            )
    note = f"  ({TENSOR:.1f} MB of an image are the tensor, which ComfyUI keeps)"
    return "\n".join([*lines, note, ""])


def main(argv: Sequence[str] | None = None) -> int:
    """Print it, or why it can't be measured here."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--plan", default=PLAN, help=f"NODESxBATCH, …; default {PLAN}")
    parser.add_argument("--full", action="store_true", help="a thousand nodes too: some minutes")
    arguments = parser.parse_args(argv)
    words = (FULL if arguments.full else arguments.plan).split(",")
    plan = [(int(nodes), int(count)) for nodes, _, count in (word.partition("x") for word in words)]
    try:
        comfyui = locate()
        if comfyui is None:
            print("Prompts aren't measured: there is no ComfyUI here (COMFYUI_PATH names one).\n")
            return 0
        print(report(comfyui, plan))
    except NotUsable as error:
        print(f"Prompts aren't measured: {error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
