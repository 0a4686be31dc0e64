"""Which service a run of the demo calls: the emulator on this machine, or the user's account."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import emulator
from .find import NotUsable
from .launch import free_port

LATENCY = 1.5
"""Seconds that the emulator takes for an image: long enough to see calls run side by side."""

_ACCOUNT_NAMES = (
    "DEPLOYMENT_NAME",
    "MAI_ENDPOINT",
    "MAI_KEY",
    "MAI_DEPLOYMENT",
    "MAI_IMAGE_ENDPOINT",
    "MAI_IMAGE_API_KEY",
    "MAI_IMAGE_DEPLOYMENT",
    "AZURE_AI_API_BASE",
    "AZURE_AI_API_KEY",
    "AZURE_OPENAI_ENDPOINT",
    "AZURE_OPENAI_API_KEY",
    "FAL_KEY",
    "OPENROUTER_API_KEY",
)
"""Every other name from which a profile could be read: an emulated run must see no account."""


def environ_for(url: str, key: str = emulator.DEFAULT_KEY) -> Mapping[str, str | None]:
    """The environment that makes `url` on this machine the only account (None: take it out)."""
    hosts = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "", "127.0.0.1"]
    direct = ",".join(host for host in hosts if host)
    return {
        **dict.fromkeys(_ACCOUNT_NAMES),
        "AZURE_ENDPOINT": url,
        "AZURE_API_KEY": key,
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


@dataclass(frozen=True)
class Running:
    """An emulator that listens: its address, how to stop it, its process id if it has its own."""

    url: str
    stop: Callable[[], None]
    pid: int | None = None


def start() -> Running:
    """An emulator in a thread of this process."""
    running = emulator.start(options=emulator.Options(latency=LATENCY))
    return Running(running.url, running.stop)


def start_detached(log: Path) -> Running:
    """An emulator in a process of its own, which outlives this one; it prints to `log`."""
    port = free_port()
    command = [sys.executable, "-m", "mai_image.emulator", "--port", str(port)]
    command += ["--key", emulator.DEFAULT_KEY]  # which `environ_for` names
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--latency", str(LATENCY)],
            # Not in the clone: its folders nodes/ and mai/ would be importable there.
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Running(f"http://127.0.0.1:{port}", process.kill, process.pid)
    for _ in range(100):
        if process.poll() is None and _listens(running.url):
            return running
        time.sleep(0.1)
    process.kill()
    raise NotUsable(f"The emulator did not start: {log.read_text(errors='replace').strip()}")


def _listens(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
