"""ComfyUI's own HTTP and websocket API, as a script that queues prompts uses it."""

from __future__ import annotations

import asyncio
import json
import struct
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp

Graph = dict[str, Any]
"""A workflow in API format: node id -> {"class_type": …, "inputs": {…}}."""

ENDS = {
    "execution_success": "success",
    "execution_error": "error",
    "execution_interrupted": "interrupted",
}

TEXT_FRAME = 3
"""BinaryEventTypes.TEXT of ComfyUI's protocol.py: progress text."""


class Refused(Exception):
    """ComfyUI did not take the prompt; `answer` is what it said, parsed."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        super().__init__(_reasons(answer))


@dataclass(frozen=True)
class Event:
    """One websocket message; `at` is time.monotonic() when it arrived."""

    type: str
    data: dict[str, Any]
    at: float


@dataclass
class Finished:
    """How a prompt ended: "success", "error" or "interrupted", with what ComfyUI kept of it.

    `outputs` is node id -> what the page shows for it (images, text); `error` is the node that
    failed and its message, "" where none did; `seconds` from the start to the end and `ended_at`,
    by time.monotonic(), as they were announced; `cached` are the nodes that were not run again.
    """

    status: str
    outputs: dict[str, Any]
    error: str = ""
    seconds: float = 0.0
    ended_at: float = 0.0
    cached: tuple[str, ...] = ()
    events: list[Event] = field(default_factory=list)

    def files(self) -> list[tuple[str, str]]:
        """(subfolder, file name) of every image that was saved, in the order of the nodes."""
        return [
            (image["subfolder"], image["filename"])
            for output in self.outputs.values()
            for image in output.get("images", ())
            if image.get("type") == "output"
        ]

    def text(self, node_id: str) -> str:
        """What a Preview as Text node shows."""
        return "".join(self.outputs[node_id]["text"])


class ComfyUIClient:
    """One connection to a running ComfyUI; an asynchronous context manager."""

    def __init__(self, url: str) -> None:
        self.events: list[Event] = []
        self._url = url
        self._id = uuid.uuid4().hex
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> ComfyUIClient:
        self._session = aiohttp.ClientSession(self._url, trust_env=False)
        self._socket = await self._session.ws_connect(f"/ws?clientId={self._id}", max_msg_size=0)
        self._listener = asyncio.ensure_future(self._listen())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)
        await self._socket.close()
        await self._session.close()

    async def queue(self, graph: Graph) -> str:
        """Queue a prompt and give its id; Refused where ComfyUI finds a fault in it."""
        body = {"prompt": graph, "client_id": self._id}
        async with self._session.post("/prompt", json=body) as answer:
            said: dict[str, Any] = await answer.json()
            if answer.status != 200 or said.get("node_errors"):
                raise Refused(said)
            prompt_id: str = said["prompt_id"]
            return prompt_id

    async def interrupt(self) -> float:
        """Press cancel; gives time.monotonic() of that moment."""
        pressed = time.monotonic()
        async with self._session.post("/interrupt", json={}) as answer:
            answer.raise_for_status()
        return pressed

    async def wait(self, wanted: Callable[[Event], bool], seconds: float = 60.0) -> Event:
        """The first event, past ones included, that is `wanted`; TimeoutError after `seconds`."""
        return await asyncio.wait_for(self._first(wanted), seconds)

    async def finish(self, prompt_id: str, seconds: float = 300.0) -> Finished:
        """Wait until the prompt has ended, in whichever way."""
        end = await self.wait(
            lambda event: event.type in ENDS and event.data.get("prompt_id") == prompt_id, seconds
        )
        mine = [event for event in self.events if event.data.get("prompt_id") == prompt_id]
        cached = [event.data["nodes"] for event in mine if event.type == "execution_cached"]
        return Finished(
            status=ENDS[end.type],
            outputs=(await self._history(prompt_id))["outputs"],
            error=_failure(end.data),
            seconds=end.at - mine[0].at,
            ended_at=end.at,
            cached=tuple(node for nodes in cached for node in nodes),
            events=mine,
        )

    async def run(self, graph: Graph, seconds: float = 300.0) -> Finished:
        """Queue a prompt and wait until it has ended."""
        return await self.finish(await self.queue(graph), seconds)

    async def get(self, path: str) -> Any:
        """The JSON under a path such as /object_info."""
        async with self._session.get(path) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def status(self, path: str) -> int:
        """The status of the answer to a GET."""
        async with self._session.get(path) as answer:
            return answer.status

    async def image(self, subfolder: str, filename: str) -> bytes:
        """The bytes of a saved image, as the page would fetch them."""
        where = {"subfolder": subfolder, "filename": filename, "type": "output"}
        async with self._session.get("/view", params=where) as answer:
            answer.raise_for_status()
            return await answer.read()

    def texts(self, node_id: str) -> list[str]:
        """The progress texts that a node has shown so far."""
        shown = [event.data for event in self.events if event.type == "progress_text"]
        return [data["text"] for data in shown if data["node_id"] == node_id]

    async def _first(self, wanted: Callable[[Event], bool]) -> Event:
        seen = 0
        while True:
            async with self._changed:
                while len(self.events) == seen:
                    await self._changed.wait()
                fresh, seen = self.events[seen:], len(self.events)
            for event in fresh:
                if wanted(event):
                    return event

    async def _history(self, prompt_id: str) -> dict[str, Any]:
        """ComfyUI announces the end of a prompt a moment before it is in the history."""
        for _ in range(100):
            history: dict[str, Any] = await self.get(f"/history/{prompt_id}")
            if prompt_id in history:
                kept: dict[str, Any] = history[prompt_id]
                return kept
            await asyncio.sleep(0.05)
        raise TimeoutError(f"Prompt {prompt_id} has ended, but is not in ComfyUI's history.")

    async def _listen(self) -> None:
        async for message in self._socket:
            event = _event(message.type, message.data)
            if event is not None:
                async with self._changed:
                    self.events.append(event)
                    self._changed.notify_all()


def _event(kind: aiohttp.WSMsgType, data: Any) -> Event | None:
    now = time.monotonic()
    if kind is aiohttp.WSMsgType.TEXT:
        said = json.loads(data)
        return Event(said["type"], said.get("data") or {}, now)
    if kind is aiohttp.WSMsgType.BINARY and len(data) > 8:
        frame, length = struct.unpack_from(">II", data)
        if frame == TEXT_FRAME:
            node_id = data[8 : 8 + length].decode("utf-8")
            text = data[8 + length :].decode("utf-8")
            return Event("progress_text", {"node_id": node_id, "text": text}, now)
    return None


def _failure(end: dict[str, Any]) -> str:
    if "exception_message" not in end:
        return ""
    return f"{end.get('node_type')} {end.get('node_id')}: {end['exception_message']}".strip()


def _reasons(answer: dict[str, Any]) -> str:
    error = answer.get("error") or {}
    reasons = [f"{error.get('message', 'refused')} {error.get('details', '')}".strip()]
    for node_id, node in (answer.get("node_errors") or {}).items():
        for reason in node.get("errors", ()):
            where = f"{node.get('class_type', 'node')} {node_id}"
            reasons.append(f"{where}: {reason.get('message')} {reason.get('details', '')}".strip())
    return "; ".join(reasons)
