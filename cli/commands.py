"""The same service from a shell: `mai-image generate`, `edit`, `spend`, `init`, `doctor` …"""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..mai import sizes
from ..mai.auth import METHODS, Secret
from ..mai.client import Client
from ..mai.errors import InputError, MaiError, SizeError
from ..mai.models import DEFAULT_MODEL
from ..mai.profiles import EMULATOR, Profiles, usual_folder
from ..mai.types import Edit, Generate, Progress, Request
from ..mai.validation import model_named
from . import image_files as image_files
from . import init as setup
from . import reports as report
from .doctor import Step, consult
from .questions import Interview

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_CANCELLED = 130

PACK = (Path(__file__).parent.parent.absolute(), Path(__file__).resolve().parent.parent)
"""Where this file lies, as it was found and as it is: a clone may be linked into custom_nodes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 (failed), 2 (bad input), or doctor's own."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["emulator"]:
        from ..emulator import main as emulate

        return emulate(words[1:])
    try:
        arguments = _parser().parse_args(words)
        logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.WARNING)
        return int(arguments.run(arguments))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else EXIT_FAILED
    except MaiError as error:
        print(f"mai-image: {error}", file=sys.stderr)
        return EXIT_INPUT if isinstance(error, InputError) else EXIT_FAILED
    except OSError as error:
        print(f"mai-image: {error}", file=sys.stderr)
        return EXIT_FAILED
    except (KeyboardInterrupt, EOFError):
        print("mai-image: cancelled; what was already out is kept when it lands", file=sys.stderr)
        return EXIT_CANCELLED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mai-image", description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="log what happens, without secrets")
    _add_folder(parser, None)
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(
        name: str, run: Callable[[argparse.Namespace], int], about: str, epilog: str = ""
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about, epilog=epilog)
        command.set_defaults(run=run)
        _add_folder(command, argparse.SUPPRESS)
        return command

    _generate_options(add("generate", _generate, "make images from text"))
    _edit_options(add("edit", _edit, "change an image, with references"))
    _size_options(add("size", _size, "the best size for an aspect ratio"))
    _spend_options(add("spend", _spend, "what was spent, and what is perhaps billed"))
    _init_options(add("init", _init, "write a first profiles.toml; asks where no option says it"))
    codes = ", ".join(f"{step.value} {step.name.lower()}" for step in Step)
    about = "find the first thing that is wrong with a profile, without buying an image"
    _doctor_options(add("doctor", _doctor, about, f"exit codes: 0 all well, {codes}"))
    commands.add_parser("emulator", help="run a MAI service on this machine, free, for building")
    return parser


def _add_folder(parser: argparse.ArgumentParser, default: object) -> None:
    about = "where profiles.toml, store and ledger lie (the ComfyUI's around this pack, or yours)"
    parser.add_argument("--folder", type=Path, default=default, metavar="PATH", help=about)


def _generate_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("prompt")
    command.add_argument("--size", default="1024x1024", metavar="WxH", help="pixels (1024x1024)")
    _paid_options(command)


def _edit_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("prompt")
    command.add_argument("images", nargs="+", type=Path, help="PNG or JPEG; the first is edited")
    command.add_argument("--size", metavar="WxH", help="ask for this size (not every model can)")
    _paid_options(command)


def _paid_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--model", default=DEFAULT_MODEL, metavar="NAME", help=DEFAULT_MODEL)
    add("--seed", type=int, default=0, help="a new seed buys a new image (0)")
    add("--count", type=int, default=1, help="images, each paid for (1)")
    add("--profile", default="default", help="a profile's name (default)")
    add("--auto-aspect-ratio", action="store_true", help="the model picks a shape")
    add("--web-grounding", action="store_true", help="look things up first")
    add("--out", type=Path, default=Path(), metavar="PATH", help="file or folder")
    add("--json", action="store_true", help="print what came as JSON")


def _size_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("aspect_ratio", help="such as 16:9")
    command.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help=DEFAULT_MODEL)
    command.add_argument("--target", metavar="WxH", help="the size wanted in the end")


def _spend_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", help="only this profile")
    command.add_argument("--csv", type=Path, metavar="FILE", help="write every call to a CSV file")


def _init_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--name", default="main", help="the profile's name (main)")
    add("--service", choices=("foundry", "pixazo"), help="foundry, or pixazo")
    add("--endpoint", metavar="URL", help="as the resource's page shows it (Pixazo: its gateway)")
    who = command.add_mutually_exclusive_group()
    who.add_argument("--key-env", metavar="NAME", help="the variable that holds the key")
    who.add_argument("--key-file", metavar="PATH", help="the file that holds the key, alone")
    who.add_argument("--key-stdin", action="store_true", help="read the key from standard input")
    who.add_argument("--entra", nargs="?", const="default", choices=tuple(METHODS), help="Entra ID")
    add("--client-id", default="", metavar="ID", help="which identity, where there are several")
    add("--tenant-id", default="", metavar="ID", help="which tenant")
    add("--deployment", action="append", default=[], metavar="[MODEL=]NAME", help="its deployment")
    add("--tier", type=int, help="Foundry's quota tier, 1 to 6")
    add("--rpm", type=float, metavar="N", help="requests a minute, in place of a tier")
    add("--budget-day", type=float, metavar="USD", help="the most to spend a day")
    add("--budget-month", type=float, metavar="USD", help="the most to spend a month")
    add("--media-host", action="append", default=[], metavar="HOST", help="of Pixazo's images")
    add("--force", action="store_true", help="replace a profiles.toml that is there")


def _doctor_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", help="only this profile (all configured ones)")
    command.add_argument("--spend", action="store_true", help="buy one image as the last step")


def _folder(arguments: argparse.Namespace) -> tuple[Path, str]:
    """The folder to use, and why."""
    if arguments.folder is not None:
        return arguments.folder.expanduser().absolute(), "as --folder says"
    return usual_folder(PACK)


def _client(arguments: argparse.Namespace) -> Client:
    folder, _ = _folder(arguments)
    return Client(folder, Profiles(folder, interactive=True), launch_emulator=_launch_emulator)


def _launch_emulator() -> str:
    from ..emulator import start

    return start().url


def _size_of(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (cross and width.strip().isdecimal() and height.strip().isdecimal()):
        raise SizeError(f"{text[:40]!r} is no size.", "Write width x height, such as 1024x1024.")
    return int(width), int(height)


def _generate(arguments: argparse.Namespace) -> int:
    size = _size_of(arguments.size)
    options = (arguments.auto_aspect_ratio, arguments.web_grounding)
    seeds = range(arguments.seed, arguments.seed + arguments.count)
    model, prompt = arguments.model, arguments.prompt
    return _buy(arguments, [Generate(model, prompt, *size, seed, *options) for seed in seeds])


def _edit(arguments: argparse.Namespace) -> int:
    size = _size_of(arguments.size) if arguments.size else None
    options = (arguments.auto_aspect_ratio, arguments.web_grounding)
    seeds = range(arguments.seed, arguments.seed + arguments.count)
    model, prompt = arguments.model, arguments.prompt
    images = tuple(image_files.reference(path, model) for path in arguments.images)
    return _buy(arguments, [Edit(model, prompt, images, seed, size, *options) for seed in seeds])


def _buy(arguments: argparse.Namespace, requests: Sequence[Request]) -> int:
    """Run all requests side by side; what came is written even where some failed."""
    if not requests:
        raise InputError("--count must be at least 1.", "Ask for one image or more.")
    failures, facts = [], []
    client = _client(arguments)
    try:
        say = _say if sys.stderr.isatty() else None
        futures = [client.submit(request, arguments.profile, say) for request in requests]
        for i, future in enumerate(futures):
            try:
                result = future.result()
                path = image_files.save(result, arguments.out, requests[i], i, len(requests))
            except MaiError as error:
                failures.append(error)
                print(f"mai-image: image {i + 1}: {error}", file=sys.stderr)
                continue
            facts.append(report.facts(path, result))
            if not arguments.json:
                print(report.bought(path, result))
    finally:
        client.close()
    if arguments.json:
        print(json.dumps(facts, indent=1))
    if failures and facts:
        print("What came is kept: run it again to fetch only the rest.", file=sys.stderr)
    wrong = bool(failures) and all(isinstance(error, InputError) for error in failures)
    return EXIT_INPUT if wrong else EXIT_FAILED if failures else 0


def _say(progress: Progress) -> None:
    print(report.progress(progress), file=sys.stderr)


def _size(arguments: argparse.Namespace) -> int:
    model = model_named(arguments.model)
    size = sizes.best(model, sizes.ratio_of(arguments.aspect_ratio))
    price = model.estimate(Generate(model.name, "", size.width, size.height))
    print(f"{size.width} x {size.height}  {size.megapixels:.2f} MP  ${price:.4f}  {model.name}")
    if arguments.target:
        target = sizes.Size(*_size_of(arguments.target))
        scale = sizes.scale_to_cover(size, target)
        print(f"enlarge by {scale:.4f}, then crop to {target.width} x {target.height}")
    return 0


def _spend(arguments: argparse.Namespace) -> int:
    client = _client(arguments)
    try:
        if arguments.csv:
            with arguments.csv.open("w", newline="", encoding="utf-8") as stream:
                count = client.ledger.export_csv(stream)
            print(f"{count} calls written to {arguments.csv}")
        else:
            print(report.render(client.ledger.spend(arguments.profile)))
    finally:
        client.close()
    return 0


def _init(arguments: argparse.Namespace) -> int:
    folder, why = _folder(arguments)
    setup.check_free(folder, force=arguments.force)
    print(f"folder: {folder} ({why})")
    given = (arguments.service, arguments.endpoint, arguments.entra, arguments.key_env)
    if any(given) or arguments.key_file or arguments.key_stdin or not sys.stdin.isatty():
        choices = setup.from_options(vars(arguments), lambda: Secret(sys.stdin.readline()))
    else:
        choices = Interview(input, getpass.getpass, print).choices(arguments.name)
    path = setup.write(folder, setup.render(choices), force=arguments.force)
    print(f"{path} is written; only you can read it.\n{setup.NEXT}")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    folder, why = _folder(arguments)
    print(f"folder: {folder} ({why})")
    client = _client(arguments)
    try:
        for warning in client.profiles.warnings():
            print(f"  ! {warning}")
        names = [name for name in client.profiles.names() if name != EMULATOR] or ["default"]
        names = [arguments.profile] if arguments.profile else names
        codes = [_examine(client, name, arguments.spend) for name in names]
    finally:
        client.close()
    return next((code for code in codes if code), 0)


def _examine(client: Client, name: str, spend: bool) -> int:
    print(name)
    for finding in consult(client, name, spend=spend):
        mark = "ok    " if finding.ok else "wrong "
        text = finding.text.replace("\n", "\n      ")
        print(f"  {mark}{finding.step.name.lower()}: {text}")
        if not finding.ok:
            return int(finding.step)
    return 0
