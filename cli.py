"""The same service from a shell: `mai-image generate`, `edit`, `size`, `spend`, `doctor` …"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path

from .mai import sizes
from .mai.doctor import Step, examine
from .mai.errors import InputError, MaiError, PictureError, SizeError
from .mai.formats import inspect
from .mai.messages import Edit, Generate, Message, Progress, Reference, Result
from .mai.models import DEFAULT_MODEL, MODEL_NAMES
from .mai.profiles import Profiles, data_folder
from .mai.checks import model_named
from .mai.service import Service

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_CANCELLED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 (failed), 2 (bad input), or doctor's own."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["emulator"]:
        from .emulator import main as emulate

        return emulate(words[1:])
    arguments = _parser().parse_args(words)
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.WARNING)
    try:
        return int(arguments.run(arguments))
    except MaiError as error:
        print(f"mai-image: {error}", file=sys.stderr)
        return EXIT_INPUT if isinstance(error, InputError) else EXIT_FAILED
    except KeyboardInterrupt:
        print("mai-image: cancelled; what was already out is kept when it lands", file=sys.stderr)
        return EXIT_CANCELLED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mai-image", description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="log what happens, without secrets")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_generate(commands)
    _add_edit(commands)
    _add_size(commands)
    _add_spend(commands)
    _add_doctor(commands)
    commands.add_parser("emulator", help="run a MAI service on this machine, free, for building")
    return parser


Commands = argparse._SubParsersAction  # noqa: SLF001  argparse has no public name for it


def _add_generate(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("generate", help="make pictures from text")
    command.add_argument("prompt")
    command.add_argument("--size", default="1024x1024", metavar="WxH", help="pixels (1024x1024)")
    _add_paid_options(command)
    command.set_defaults(run=_generate)


def _add_edit(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("edit", help="change a picture, with references")
    command.add_argument("prompt")
    command.add_argument("images", nargs="+", type=Path, help="PNG or JPEG; the first is edited")
    command.add_argument("--size", metavar="WxH", help="ask for this size (not every model can)")
    _add_paid_options(command)
    command.set_defaults(run=_edit)


def _add_paid_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help=DEFAULT_MODEL)
    command.add_argument("--seed", type=int, default=0, help="a new seed buys a new picture (0)")
    command.add_argument("--count", type=int, default=1, help="pictures, each paid for (1)")
    command.add_argument("--profile", default="default", help="a profile's name (default)")
    command.add_argument("--auto-aspect-ratio", action="store_true", help="the model picks a shape")
    command.add_argument("--web-grounding", action="store_true", help="look things up first")
    command.add_argument("--out", type=Path, default=Path(), metavar="PATH", help="file or folder")
    command.add_argument("--json", action="store_true", help="print what came as JSON")


def _add_size(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("size", help="the best size for an aspect ratio")
    command.add_argument("aspect_ratio", help="such as 16:9")
    command.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help=DEFAULT_MODEL)
    command.add_argument("--target", metavar="WxH", help="the size wanted in the end")
    command.set_defaults(run=_size)


def _add_spend(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("spend", help="what was spent, and what is perhaps billed")
    command.add_argument("--profile", help="only this profile")
    command.add_argument("--csv", type=Path, metavar="FILE", help="write every call to a CSV file")
    command.set_defaults(run=_spend)


def _add_doctor(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "doctor",
        help="find the first thing that is wrong with a profile, without buying a picture",
        epilog="exit codes: 0 all well, "
        + ", ".join(f"{step.value} {step.name.lower()}" for step in Step),
    )
    command.add_argument("--profile", help="only this profile (all configured ones)")
    command.add_argument("--spend", action="store_true", help="buy one picture as the last step")
    command.set_defaults(run=_doctor)


def _service(folder: Path | None = None) -> Service:
    folder = folder or data_folder()
    return Service(folder, Profiles(folder, interactive=True), launch_emulator=_launch_emulator)


def _launch_emulator() -> str:
    from .emulator import start

    return start().url


def _size_of(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (cross and width.strip().isdecimal() and height.strip().isdecimal()):
        raise SizeError(f"{text[:40]!r} is no size.", "Write width x height, such as 1024x1024.")
    return int(width), int(height)


def _generate(arguments: argparse.Namespace) -> int:
    width, height = _size_of(arguments.size)
    return _buy(
        arguments,
        [
            Generate(
                arguments.model,
                arguments.prompt,
                width,
                height,
                arguments.seed + i,
                arguments.auto_aspect_ratio,
                arguments.web_grounding,
            )
            for i in range(arguments.count)
        ],
    )


def _edit(arguments: argparse.Namespace) -> int:
    size = _size_of(arguments.size) if arguments.size else None
    references = tuple(_reference(path, arguments.model) for path in arguments.images)
    return _buy(
        arguments,
        [
            Edit(
                arguments.model,
                arguments.prompt,
                references,
                arguments.seed + i,
                size,
                arguments.auto_aspect_ratio,
                arguments.web_grounding,
            )
            for i in range(arguments.count)
        ],
    )


def _reference(path: Path, model: str) -> Reference:
    try:
        data = path.read_bytes()
        picture = inspect(data)
    except OSError as error:
        raise PictureError(f"{path} can't be read: {error.strerror}.", "Check the path.") from None
    except MaiError:
        raise PictureError(
            f"{path} is no whole PNG or JPEG.", "Save it as PNG or JPEG first."
        ) from None
    limit = model_named(model).max_pixels
    if picture.width * picture.height > limit:
        raise PictureError(
            f"{path} has {picture.width} x {picture.height} pixels, {model} takes {limit:,}.",
            "Shrink it first; the node MAI Edit does that by itself.",
        )
    return Reference(data, picture.media_type, picture.width, picture.height)


def _buy(arguments: argparse.Namespace, messages: Sequence[Message]) -> int:
    """Run all messages side by side; what came is written even where some failed."""
    if not messages:
        raise InputError("--count must be at least 1.", "Ask for one picture or more.")
    service = _service()
    try:
        futures = [
            service.submit(message, arguments.profile, _say if sys.stderr.isatty() else None)
            for message in messages
        ]
        return _collect(arguments, messages, futures)
    finally:
        service.close()


def _say(progress: Progress) -> None:
    wait = f" {progress.until - time.monotonic():.0f} s" if progress.until else ""
    print(f"{progress.phase}{wait}", file=sys.stderr)


def _collect(
    arguments: argparse.Namespace, messages: Sequence[Message], futures: Sequence[Future[Result]]
) -> int:
    failures, facts = [], []
    for i, future in enumerate(futures):
        try:
            result = future.result()
        except MaiError as error:
            failures.append(f"image {i + 1}: {error}")
            continue
        path = _save(result, arguments.out, messages[i], i, len(messages))
        facts.append({"path": str(path), **_facts(result)})
        if not arguments.json:
            cost = "free, from the store" if result.from_store else f"${result.cost_usd or 0:.4f}"
            print(f"{path}  {result.width} x {result.height}  {cost}")
    if arguments.json:
        print(json.dumps(facts, indent=1))
    for failure in failures:
        print(f"mai-image: {failure}", file=sys.stderr)
    if failures and facts:
        print("What came is kept: run it again to fetch only the rest.", file=sys.stderr)
    return EXIT_FAILED if failures else 0


def _facts(result: Result) -> dict[str, object]:
    facts = asdict(result)
    del facts["image"]
    return facts


def _save(result: Result, out: Path, message: Message, index: int, count: int) -> Path:
    extension = ".jpg" if result.media_type == "image/jpeg" else ".png"
    if out.suffix and not out.is_dir():
        path = out if count == 1 else out.with_stem(f"{out.stem}_{index + 1}")
    else:
        path = out / f"{message.model}_{message.seed}{extension}"
        number = 1
        while path.exists():
            path = out / f"{message.model}_{message.seed}_{number}{extension}"
            number += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(result.image)
    return path


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
    from .mai.report import render

    service = _service()
    try:
        if arguments.csv:
            with arguments.csv.open("w", newline="", encoding="utf-8") as stream:
                count = service.ledger.export_csv(stream)
            print(f"{count} calls written to {arguments.csv}")
        else:
            print(render(service.ledger.spend(arguments.profile)))
    finally:
        service.close()
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    service = _service()
    try:
        for warning in service.profiles.warnings():
            print(f"  ! {warning}")
        names = [arguments.profile] if arguments.profile else service.profiles.names()
        configured = [name for name in names if name != "emulator"] or names[:1]
        codes = [_examine(service, name, arguments.spend) for name in configured]
        return next((code for code in codes if code), 0)
    finally:
        service.close()


def _examine(service: Service, name: str, spend: bool) -> int:
    print(name)
    try:
        profile = service.ready(service.profiles.get(name))
    except MaiError as error:
        return _failed(Step.PROFILE, str(error))
    print(f"  ok  profile: {profile.service}, {profile.endpoint}")

    async def steps() -> int:
        async for finding in examine(profile, service.transport):
            if not finding.ok:
                return _failed(finding.step, finding.text)
            print(f"  ok  {finding.step.name.lower()}: {finding.text}")
        return 0

    code = service.run(steps()).result()
    return code or (_buy_one(service, name) if spend else 0)


def _buy_one(service: Service, name: str) -> int:
    message = Generate(DEFAULT_MODEL, "a lighthouse at dawn", 768, 768, seed=time.time_ns())
    try:
        result = service.submit(message, name).result()
    except MaiError as error:
        return _failed(Step.PICTURE, str(error))
    print(f"  ok  picture: {result.seconds:.0f} s, ${result.cost_usd or 0:.4f}")
    return 0


def _failed(step: Step, text: str) -> int:
    print(f"  ✗   {step.name.lower()}: " + text.replace("\n", "\n      "))
    return int(step)


if __name__ == "__main__":
    sys.exit(main())
