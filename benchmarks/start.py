"""What the pack adds to ComfyUI's start: `python -m mai_image.benchmarks.start [--repeat 5]`.

In the Python of a ComfyUI on this machine (COMFYUI_PATH, else ~/comfy/ComfyUI), after all that
ComfyUI imports itself; a whole start with the pack and without is measured with --whole.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..demo.find import ROOT, ComfyUI, NotUsable, locate
from ..demo.launch import ComfyUIServer

AIM = 60.0
"""Milliseconds."""

_IMPORT = """
import sys, json, time, importlib.util
folder, pack = sys.argv[1:3]
sys.argv = ["main.py", "--cpu"]
sys.path.insert(0, folder)
import comfy.options
comfy.options.enable_args_parsing()
import nodes, server, comfy_api.latest
before = set(sys.modules)
own, starts, depth = {}, [], []
real = importlib._bootstrap._load_unlocked
def timed(spec):
    began = time.perf_counter()
    depth.append(0.0)
    try:
        return real(spec)
    finally:
        taken = time.perf_counter() - began
        own[spec.name] = taken - depth.pop()
        if depth:
            depth[-1] += taken
if len(sys.argv) and pack.endswith("#modules"):
    importlib._bootstrap._load_unlocked = timed
    pack = pack[: -len("#modules")]
spec = importlib.util.spec_from_file_location(
    "the_pack", pack + "/__init__.py", submodule_search_locations=[pack])
module = importlib.util.module_from_spec(spec)
sys.modules["the_pack"] = module
began, cpu = time.perf_counter(), time.process_time()
spec.loader.exec_module(module)
import the_pack.nodes
print(json.dumps({
    "ms": (time.perf_counter() - began) * 1000, "cpu": (time.process_time() - cpu) * 1000,
    "loaded": sorted(set(sys.modules) - before), "own": own}))
"""


def run_once(comfyui: ComfyUI, modules: bool = False) -> dict[str, object]:
    """Milliseconds of the pack's import, on the clock and of the processor, and what it loaded."""
    pack = f"{ROOT}#modules" if modules else str(ROOT)
    command = [str(comfyui.python), "-c", _IMPORT, str(comfyui.folder), pack]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=comfyui.folder)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(comfyui: ComfyUI, repeat: int) -> str:
    """The import's time, and the modules that take longest."""
    runs = [run_once(comfyui) for _ in range(repeat)]
    walls = [float(str(run["ms"])) for run in runs]
    cpus = [float(str(run["cpu"])) for run in runs]
    loaded = runs[0]["loaded"]
    assert isinstance(loaded, list)
    later = [name for name in ("httpx", "azure", "sqlite3", "the_pack.emulator") if name in loaded]
    mark = "  MISSED" if min(statistics.median(walls), statistics.median(cpus)) > AIM else ""
    lines = [
        f"Import of the pack in ComfyUI {comfyui.version}: {statistics.median(walls):.0f} ms "
        f"({statistics.median(cpus):.0f} ms of the processor, at best {min(walls):.0f} ms), "
        f"aim {AIM:.0f} ms{mark}",
        f"  {len(loaded)} modules; of what should wait: {', '.join(later) or 'none'}",
    ]
    own = run_once(comfyui, modules=True)["own"]
    assert isinstance(own, dict)
    for name, seconds in sorted(own.items(), key=lambda item: -item[1])[:12]:
        lines.append(f"  {name:34}{seconds * 1000:7.1f} ms")
    return "\n".join([*lines, ""])


def whole(comfyui: ComfyUI, repeat: int) -> str:
    """Seconds until ComfyUI answers, with the pack and without, in turn."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2 * repeat):
            with_pack = number % 4 in (0, 3)  # with, without, without, with, …
            server = ComfyUIServer(
                comfyui,
                output=Path(folder),
                packages=ROOT / ".venv" / "comfyui-packages",
                with_pack=with_pack,
            )
            try:
                taken[with_pack].append(server.start())
            finally:
                server.stop()
    more = statistics.median(a - b for a, b in zip(taken[True], taken[False], strict=True))
    return (
        f"A whole start, {repeat} each: with the pack {_spread(taken[True])}, without "
        f"{_spread(taken[False])}; the pack adds {more * 1000:.0f} ms (median of the pairs)\n"
    )


def _spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Print it, or why it can't be measured here."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--whole", action="store_true", help="a whole start of ComfyUI too")
    arguments = parser.parse_args(argv)
    try:
        comfyui = locate()
    except NotUsable as error:
        comfyui = None
        print(error)
    if comfyui is None:
        print("ComfyUI's start isn't measured: there is none here (COMFYUI_PATH names one).\n")
        return 0
    print(report(comfyui, arguments.repeat))
    if arguments.whole:
        print(whole(comfyui, arguments.repeat))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
