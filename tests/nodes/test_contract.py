"""The permanent contract: a workflow stores widget values by position, so nothing may move.

contract.json is the snapshot. Append to it; never change what stands in it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mai_image import comfy_entrypoint

SNAPSHOT = Path(__file__).with_name("contract.json")


def contract() -> dict[str, Any]:
    """Every node's id, name, inputs in order and outputs, as ComfyUI announces them."""
    extension = asyncio.run(comfy_entrypoint())
    nodes = asyncio.run(extension.get_node_list())
    return {node.GET_SCHEMA().node_id: _node(node.GET_NODE_INFO_V1()) for node in nodes}


def _node(info: dict[str, Any]) -> dict[str, Any]:
    inputs = [
        {"name": name, "kind": kind, **_input(*info["input"][kind][name])}
        for kind in ("required", "optional")
        for name in info["input_order"].get(kind, ())
    ]
    outputs = [
        {"name": name, "type": kind}
        for name, kind in zip(info["output_name"], info["output"], strict=True)
    ]
    return {"display_name": info["display_name"], "inputs": inputs, "outputs": outputs}


def _input(kind: Any, options: dict[str, Any]) -> dict[str, Any]:
    kept = ("default", "min", "max", "step", "options", "advanced", "multiline")
    facts = {name: options[name] for name in kept if options.get(name) is not None}
    if isinstance(kind, list):
        facts["options"], kind = kind, "COMBO"
    if "template" in options:
        template = options["template"]
        facts["sockets"] = template.get("names")
        facts["least"] = template.get("min")
    return {"type": kind, **facts}


@pytest.fixture(scope="module")
def current() -> dict[str, Any]:
    now: dict[str, Any] = json.loads(json.dumps(contract()))
    return now


def test_the_nodes_are_those_of_the_snapshot(current: dict[str, Any]) -> None:
    assert current == json.loads(SNAPSHOT.read_text("utf-8"))


def test_a_fresh_seed_stays_so_that_a_second_run_buys_nothing() -> None:
    nodes = asyncio.run(asyncio.run(comfy_entrypoint()).get_node_list())
    infos = [node.GET_NODE_INFO_V1()["input"]["required"] for node in nodes]
    seeds = [inputs["seed"][1] for inputs in infos if "seed" in inputs]
    assert [json.loads(json.dumps(seed))["control_after_generate"] for seed in seeds] == [
        "fixed",
        "fixed",
    ]


def test_no_input_holds_an_address_or_a_secret(current: dict[str, Any]) -> None:
    names = {entry["name"] for node in current.values() for entry in node["inputs"]}
    words = ("key", "token", "secret", "endpoint", "url", "password")
    assert not [name for name in names if any(word in name for word in words)]
