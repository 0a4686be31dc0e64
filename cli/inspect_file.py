"""`mai-image inspect`: what an image's file says of itself, and what the store knows of it.

Nothing that a file names is ever fetched: neither a manifest that lies elsewhere nor what a
certificate is worth.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..mai.errors import ImageError
from ..mai.formats import (
    AVIF,
    Mark,
    as_service_sent,
    find_manifest,
    mark_of_packet,
    media_type_of,
    parse_json,
    read_mark,
    read_workflow,
)
from ..mai.store import Store
from .command import locate_folder
from .mark import read_image_file

OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
}
"""c2pa-python's settings: it would fetch what a file names."""

STORED = ("model", "prompt", "request_id", "cost_usd", "arrived_at", "key")
"""What the store is asked for, by the names of its sidecars."""


def add_inspect_options(parser: argparse.ArgumentParser) -> None:
    """The file, and JSON for programs."""
    parser.add_argument("file", type=Path, metavar="FILE", help="PNG, JPEG, WebP or AVIF")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run_inspect(arguments: argparse.Namespace) -> int:
    """Print the mark, the manifest, the workflow and the store's facts of one file."""
    facts = inspect_file(arguments.file, locate_folder(arguments)[0] / "store")
    print(json.dumps(facts, indent=1, ensure_ascii=False) if arguments.json else _as_text(facts))
    return 0


def inspect_file(path: Path, store: Path) -> dict[str, Any]:
    """What is known of a file: "type", "mark", "manifest", "workflow" and "store".

    ImageError: it can't be read, is damaged or no image of these formats.
    """
    data = read_image_file(path)
    media_type = media_type_of(data)
    if not media_type:
        raise ImageError(f"{path} is no PNG, JPEG, WebP or AVIF.", "Give the image itself.")
    packet, texts = _avif_texts(data) if media_type == AVIF else (b"", read_workflow(data))
    return {
        "file": str(path),
        "type": media_type,
        "mark": _find_mark(lambda: mark_of_packet(packet) if packet else read_mark(data)),
        "manifest": check_manifest(data, media_type, packet),
        "workflow": _find_workflow(texts, path),
        "store": _find_stored(data, store),
    }


def _find_mark(read: Callable[[], Mark | None]) -> dict[str, str] | None:
    """What the mark says, None where there is none; "error": the file's XMP can't be read."""
    try:
        mark = read()
    except ImageError as error:
        return {"error": error.what}
    return None if mark is None else {
        "digital_source_type": mark.source_type,
        "system": mark.system,
        "version": mark.version,
        "prompt": mark.prompt,
    }  # fmt: skip


def check_manifest(data: bytes, media_type: str, packet: bytes) -> dict[str, Any]:
    """The "state" of a file's content credentials: "none", "valid", "invalid", "not checked" where
    c2pa-python isn't installed, or "elsewhere"; with who signed it, what is wrong, or where it is.
    """
    manifest = find_manifest(data, packet)
    if manifest is None:
        return {"state": "none"}
    if not manifest.embedded:
        return {"state": "elsewhere", "address": manifest.remote}
    try:
        import c2pa
    except ImportError:
        return {"state": "not checked", "hint": "install c2pa-python, and it is checked"}
    try:
        context = c2pa.Context.from_dict(OFFLINE)
        with c2pa.Reader(media_type, io.BytesIO(data), context=context) as reader:
            state = reader.get_validation_state()
            active = reader.get_active_manifest() or {}
            results = reader.get_validation_results() or {}
    except c2pa.C2paError as error:
        return {"state": "invalid", "reasons": [str(error)]}
    codes = [one.get("code") for one in results.get("activeManifest", {}).get("failure", ())]
    signer = active.get("signature_info", {})
    found = {"signed_by": signer.get("issuer"), "certificate": signer.get("common_name")}
    if state not in ("Valid", "Trusted"):
        return {"state": "invalid", "reasons": codes, **found}
    return {"state": "valid", "trusted": state == "Trusted", **found}


def _avif_texts(data: bytes) -> tuple[bytes, dict[str, str]]:
    """The XMP and the graph of an AVIF, which Pillow reads; ImageError: it isn't there."""
    try:
        from PIL import Image

        with Image.open(io.BytesIO(data), formats=("AVIF",)) as image:
            packet, exif = image.info.get("xmp"), image.getexif()
    except (ImportError, LookupError, OSError, RuntimeError, SyntaxError, TypeError, ValueError):
        raise ImageError(
            "This AVIF can't be read: it is damaged, or Pillow 11.3 or newer isn't installed.",
            "Install it: `pip install -U pillow`.",
        ) from None
    named = (value.partition(":") for value in exif.values() if isinstance(value, str))
    texts = {name: text for name, _, text in named if name in ("prompt", "workflow")}
    return packet or b"", texts


def _find_workflow(texts: dict[str, str], path: Path) -> dict[str, Any] | None:
    """Where the graph is, and how many nodes it has: in the file, or in a .json beside it."""
    for name in ("workflow", "prompt"):
        if name in texts:
            return {"where": "in the file", "nodes": _count_nodes(texts[name].encode())}
    beside = path.with_suffix(".json")
    try:
        nodes = _count_nodes(beside.read_bytes())
    except OSError:
        return None
    return None if nodes is None else {"where": str(beside), "nodes": nodes}


def _count_nodes(text: bytes) -> int | None:
    """The nodes of a workflow, or of a prompt; None where it is neither."""
    try:
        graph = parse_json(text)
    except ValueError:
        return None
    if not isinstance(graph, dict):
        return None
    if isinstance(graph.get("nodes"), list):
        return len(graph["nodes"])
    nodes = [one for one in graph.values() if isinstance(one, dict) and "class_type" in one]
    return len(nodes) or None


def _find_stored(data: bytes, folder: Path) -> dict[str, Any] | None:
    """What the store knows of these bytes, or of those that the mark was put into."""
    digests = {hashlib.sha256(each).hexdigest() for each in (data, as_service_sent(data))}
    sidecar = Store(folder).find_content(digests)
    return sidecar and {name: sidecar.get(name) for name in STORED}


def _as_text(facts: dict[str, Any]) -> str:
    """For a person: a line for each thing."""
    mark, manifest = facts["mark"], facts["manifest"]
    workflow, stored = facts["workflow"], facts["store"]
    lines = [f"{facts['file']}  {facts['type']}"]
    lines.append(f"mark      {_listed(mark) if mark else 'none'}")
    more = {name: value for name, value in manifest.items() if name != "state"}
    lines.append(f"manifest  {manifest['state']}" + (f": {_listed(more)}" if more else ""))
    if manifest["state"] == "elsewhere":
        lines.append("          (it is never fetched from there)")
    count = workflow and workflow["nodes"]
    read = f"{count} nodes" if count else "no graph that can be read"
    nodes = f"{read}, {workflow['where']}" if workflow else "none"
    lines.append(f"workflow  {nodes}")
    lines.append(f"store     {_listed(stored) if stored else 'knows nothing of these bytes'}")
    return "\n".join(lines)


def _listed(values: dict[str, Any]) -> str:
    """Each name and value that says anything, with the price in USD."""
    parts = [
        f"{name.replace('_', ' ')}: {_shown(name, value)}"
        for name, value in values.items()
        if value not in (None, "", [])
    ]
    return ", ".join(parts)


def _shown(name: str, value: object) -> str:
    """A value as text, without what could steer the terminal."""
    if name == "cost_usd" and isinstance(value, (int, float)):
        return f"${value:.4f}"
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return "".join(c if c.isprintable() else " " for c in text)
