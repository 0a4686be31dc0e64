"""Starts and ends buyer.py."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from client_harness import Harness

SCRIPT = Path(__file__).with_name("buyer.py")


def buyer(
    harness: Harness, prompts: list[int], command: Sequence[str] = (), **job: object
) -> subprocess.Popen[str]:
    """A process that buys these images into the harness's folder; `command` goes before it."""
    facts = {"folder": str(harness.folder), "url": harness.server.url, "prompts": prompts, **job}
    return subprocess.Popen(
        [*command, sys.executable, str(SCRIPT), json.dumps(facts)],
        stdout=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str], seconds: float = 30.0) -> list[object] | None:
    """What the process printed, None if it was killed."""
    try:
        printed, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
    if process.returncode:
        return None
    found = json.loads(printed)
    assert isinstance(found, list)
    return found
