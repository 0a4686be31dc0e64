"""`mai-image batch`: buys the images of a whole file of rows, unattended.

The file is checked and counted first (batch_plan), then bought (batch_run) into a folder that knows
what it has (batch_folder), which a contact sheet shows in the end.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from ..mai.bulk import (
    FORMATS,
    Row,
    RowCheck,
    RowMistake,
    Settings,
    format_of,
    is_image_name,
    names_in,
    read_records,
    size_named,
)
from ..mai.client import Client
from ..mai.errors import ImageError, InputError, MaiError
from ..mai.models import DEFAULT_MODEL
from ..mai.types import OPAQUE, TRANSPARENT, Result
from ..mai.validation import model_named
from .batch_folder import ERRORS, RESULTS, BatchFolder, SavingError, held
from .batch_plan import BatchImage, ImageBuilder, Plan, Planner, plan_lines
from .batch_run import BatchEnd, BatchRun, interruptible
from .command import EXIT_CANCELLED, EXIT_FAILED, EXIT_INPUT, open_client
from .contact_sheet import THUMBNAILS, draw_thumbnail, has_pillow, write_sheet
from .masks import set_back
from .progress import display_for, harmless
from .wording import in_options

EXIT_MONEY = 3

ASK_ABOVE_USD = 1.0
"""What a person at a terminal is asked about."""

MOST_BYTES = 2_000_000_000
"""Of a file: a million rows with long prompts."""

MOST_MISTAKES = 2_000
"""Lines of mistakes that are printed; the number of all is said."""

EXIT_CODES_OF_BATCH = (
    "exit codes: 0 all images are there, 1 some failed or the job was stopped, 2 the file or the "
    "options can't be used and nothing was sent, 3 stopped by a budget or --max-usd, 130 stopped "
    "by Ctrl+C or a signal"
)


def add_batch_options(parser: argparse.ArgumentParser) -> None:
    """The file, what holds for all rows, the folder, and the money."""
    add = parser.add_argument
    add(
        "file", metavar="FILE", help="CSV, JSONL, or text with a prompt a line; - is standard input"
    )
    add("--format", choices=FORMATS, help="what the file is (by its ending, or its beginning)")
    add("--out", default="batch", metavar="PATH",
        help="the folder of the images, or a template: shots/{category}/{id}_{n}.png")  # fmt: skip
    add("--prompt", default="", metavar="TEMPLATE",
        help="for rows without a prompt, or with {prompt} around each row's own")  # fmt: skip
    add("--model", default=DEFAULT_MODEL, metavar="NAME", help=f"the model ({DEFAULT_MODEL})")
    add("--size", metavar="WxH", help="pixels (1024x1024; an edit's are the model's choice)")
    add("--seed", type=int, default=0, help="the seed of a row's first image (0)")
    add("--count", type=int, default=1, help="images of each row (1)")
    add("--profile", default="default", help="a profile's name (default)")
    add(
        "--background",
        choices=(OPAQUE, TRANSPARENT),
        default=OPAQUE,
        help="transparent: with alpha",
    )
    add("--auto-aspect-ratio", action="store_true", help="the model chooses the shape")
    add("--web-grounding", action="store_true", help="the model looks things up first")
    add("--dry-run", action="store_true", help="check the file, say what it costs, and end")
    add("--yes", action="store_true", help="buy without being asked")
    add("--max-usd", type=float, metavar="N", help="spend no more than this in this run")
    add("--retry-blocked", action="store_true",
        help="send once more what the filter has stopped in an earlier run")  # fmt: skip
    add("--quiet", action="store_true", help="print only what failed")
    add("--json", action="store_true", help="print the plan, or the sums at the end, as JSON")


def run_batch(arguments: argparse.Namespace) -> int:
    """Check, count, ask, buy, and say what became of it."""
    root, settings = _read_settings(arguments)
    with ExitStack() as stack:
        stack.enter_context(interruptible(_cancel))
        stream, kind = stack.enter_context(_opened(arguments))
        client = stack.enter_context(open_client(arguments))
        if not arguments.dry_run:
            stack.enter_context(held(root))
        again = arguments.retry_blocked or _is_same(arguments.file, root / ERRORS)
        folder = BatchFolder(root, again=again)
        folder.refuse_foreign()
        planner = Planner(client, settings, folder)
        plan = planner.read(stream, kind)
        if again and not plan.rows and not arguments.retry_blocked:
            planner.mistakes.clear()  # an empty errors.jsonl says that nothing had failed
        if planner.mistakes:
            _print_mistakes(planner.mistakes, plan)
            return EXIT_INPUT
        if arguments.json and arguments.dry_run:
            print(json.dumps(plan.facts(), indent=1))
        elif not (arguments.quiet or arguments.json):
            print("\n".join(plan_lines(plan, arguments.max_usd)), flush=True)
        if arguments.dry_run:
            return 0
        _require_consent(plan, arguments)
        folder.begin(plan.folders)
        stream.seek(0)
        rows = _rows(stream, kind, settings)
        end, sheet = _buy(client, folder, plan, rows, arguments)
        _print_end(end, plan, folder, sheet, arguments)
        if end.perhaps_billed:
            client.close(grace=0)
    return _exit_code(end)


def _read_settings(arguments: argparse.Namespace) -> tuple[Path, Settings]:
    """The folder of the images, and what holds for all rows. InputError: an option is mistaken."""
    model_named(arguments.model)
    limit = arguments.max_usd
    if limit is not None and not (math.isfinite(limit) and limit >= 0):
        raise InputError("--max-usd must be an amount of USD, 0 or more.", "Write it as 2.50.")
    if not 1 <= arguments.count <= 1000:
        raise InputError("--count must be from 1 to 1,000.", "Give fewer images a row.")
    if arguments.seed < 0:
        raise InputError("--seed must be 0 or more.", "Choose another seed.")
    root, template = _split_out(arguments.out)
    source = Path(arguments.file)
    return root, Settings(
        prompt=arguments.prompt,
        model=arguments.model,
        size=size_named(arguments.size) if arguments.size else None,
        seed=arguments.seed,
        count=arguments.count,
        profile=arguments.profile,
        background=arguments.background,
        auto_aspect_ratio=arguments.auto_aspect_ratio,
        web_grounding=arguments.web_grounding,
        out=template,
        images=Path() if arguments.file == "-" else source.parent,
        reserved=(THUMBNAILS, "index*.html", RESULTS, ERRORS),
    )


def _split_out(out: str) -> tuple[Path, str]:
    """The folder, which is all before the first part with a template, and the template below it."""
    parts = out.replace("\\", "/").split("/") if sys.platform == "win32" else out.split("/")
    plain = next((i for i, part in enumerate(parts) if "{" in part), len(parts))
    if plain == len(parts) and is_image_name(parts[-1]) and not Path(out).is_dir():
        plain -= 1
    root = "/".join(parts[:plain])
    if parts[:plain] == [""]:
        root = "/"
    template = "/".join(parts[plain:])
    return Path(os.path.expanduser(root or ".")), template or Settings().out


@contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[tuple[BinaryIO, str]]:
    """A copy of the file, which nobody changes meanwhile, and its format."""
    with TemporaryFile() as copy:
        try:
            if arguments.file == "-":
                _copy(getattr(sys.stdin, "buffer", None) or _as_bytes(sys.stdin), copy)
            else:
                with Path(arguments.file).open("rb") as stream:
                    _copy(stream, copy)
        except OSError as error:
            raise InputError(
                f"{arguments.file} can't be read: {error.strerror or error}.", "Check the path."
            ) from None
        copy.seek(0)
        head = copy.read(4096)
        copy.seek(0)
        names = {"prompt", *names_in(arguments.prompt)} - {"line", "n"}
        yield copy, arguments.format or format_of(arguments.file, head, names)


def _copy(source: Any, target: Any) -> None:
    size = 0
    while data := source.read(1 << 20):
        size += len(data)
        if size > MOST_BYTES:
            raise InputError(f"The file is longer than {MOST_BYTES:,} bytes.", "Split it.")
        target.write(data)


def _as_bytes(stream: Any) -> BinaryIO:
    return io.BytesIO(stream.read().encode())


def _is_same(name: str, path: Path) -> bool:
    try:
        return name != "-" and Path(name).samefile(path)
    except OSError:
        return False


def _print_mistakes(mistakes: Sequence[RowMistake], plan: Plan) -> None:
    """All mistakes by line; the same one on neighbouring lines once."""
    lines: list[tuple[int, int, str]] = []
    last: dict[str, int] = {}
    for mistake in mistakes:
        i = last.get(mistake.what)
        if i is not None and lines[i][1] in (mistake.line, mistake.line - 1):
            lines[i] = (lines[i][0], mistake.line, mistake.what)
        else:
            last[mistake.what] = len(lines)
            lines.append((mistake.line, mistake.line, mistake.what))
    for first, end, what in lines[:MOST_MISTAKES]:
        where = f"line {first}" if first == end else f"lines {first}-{end}"
        print(f"{where}: {harmless(in_options(what))}", file=sys.stderr)
    if len(lines) > MOST_MISTAKES:
        print(f"… and {len(lines) - MOST_MISTAKES:,} more", file=sys.stderr)
    print(
        f"mai-image: {len(mistakes):,} mistake{'s' * (len(mistakes) != 1)} in {plan.rows:,} rows. "
        "Nothing was sent.",
        file=sys.stderr,
    )


def _require_consent(plan: Plan, arguments: argparse.Namespace) -> None:
    """InputError where nobody agreed to the price and nobody can be asked; Ctrl-C for a no."""
    if arguments.yes or arguments.max_usd is not None or not plan.usd:
        return
    if arguments.file == "-" or not sys.stdin.isatty():
        raise InputError(
            f"This buys {plan.bought:,} images for about ${plan.usd:,.2f}, and nobody can be asked "
            "here. Nothing was sent.",
            "Give --yes, or --max-usd with the most that it may cost.",
        )
    if plan.usd <= ASK_ABOVE_USD:
        return
    question = f"Buy {plan.bought:,} images for about ${plan.usd:,.2f}? [y/N] "
    print(question, end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt


def _cancel() -> None:
    raise KeyboardInterrupt


def _rows(stream: BinaryIO, kind: str, settings: Settings) -> Generator[Row, None, None]:
    """The rows once more. What is wrong with one now, as its image is gone, is told when it is
    built."""
    check = RowCheck(settings)
    for record in read_records(stream, kind):
        if not isinstance(record, RowMistake):
            yield check.build(record)[0]


def _buy(
    client: Client,
    folder: BatchFolder,
    plan: Plan,
    rows: Generator[Row, None, None],
    arguments: argparse.Namespace,
) -> tuple[BatchEnd, Path | None]:
    """Run it, and draw the contact sheet of what the folder has then."""
    pillow = has_pillow()

    def save(image: BatchImage, result: Result) -> dict[str, Any]:
        return _save(client, folder, image, result, pillow)

    builder = ImageBuilder(client)

    def images() -> Iterator[BatchImage | tuple[Row, MaiError]]:
        for row in rows:
            try:
                yield from builder.images_of(row)
            except MaiError as error:
                yield row, error

    display = display_for(plan.images, arguments.quiet)
    run = BatchRun(client, folder, plan, save, display, arguments.max_usd)
    with interruptible(run.interrupt):
        with closing(rows), closing(display):
            end = run.run(images())
        try:
            results, errors = folder.finish(complete=not end.stopped)
            sheet = write_sheet(folder, results, errors) if pillow else None
        except OSError as error:
            end.fail(f"lists and contact sheet can't be written: {error.strerror or error}")
            sheet = None
    return end, sheet


def _save(
    client: Client, folder: BatchFolder, image: BatchImage, result: Result, pillow: bool
) -> dict[str, Any]:
    """Save an image; its facts for results.jsonl, and its bytes' number."""
    data, media_type = result.image, result.media_type
    row = image.row
    if row.mask is not None:
        try:
            data, media_type = set_back(data, row.images[0], row.mask), "image/png"
        except (ImageError, OSError, ValueError, SyntaxError) as error:
            raise SavingError(f"The mask can't be used: {error}", "") from None
    file, notes = folder.save_image(image, data, media_type)
    if pillow:
        draw_thumbnail(folder, file, data)
    return {
        "id": row.id,
        "n": image.n,
        "file": file,
        "model": result.model,
        "size": f"{result.width}x{result.height}",
        "seed": image.request.seed,
        "usd": result.cost_usd,
        "seconds": round(result.seconds, 2),
        "request_id": result.request_id,
        "from_store": result.from_store,
        "line": row.line,
        "prompt": image.request.prompt if client.profiles.keeps_prompts(row.profile) else None,
        "notes": [*result.notes, *notes],
        "bytes": len(data),
    }


def _print_end(
    end: BatchEnd,
    plan: Plan,
    folder: BatchFolder,
    sheet: Path | None,
    arguments: argparse.Namespace,
) -> None:
    tally, lines = end.tally, []
    if end.stopped:
        lines.append(f"Stopped: {end.reason.removesuffix('.')}.")
        left = plan.images - tally.done
        lines.append(f"{left:,} images are left: the same command goes on where this one ended.")
    if end.perhaps_billed:
        names = [f"{harmless(each.row.id)[:40]} (n {each.n})" for each in end.perhaps_billed[:20]]
        more = len(end.perhaps_billed) - len(names)
        lines.append(
            f"Perhaps billed, as the service had them: {', '.join(names)}"
            + (f" and {more} more" if more else "")
            + ". `mai-image spend --doubtful` lists them."
        )
    if tally.failed:
        lines.append(f"{tally.failed:,} failed: see {folder.root / ERRORS}")
    for line in lines:
        print(f"mai-image: {line}", file=sys.stderr)
    if arguments.json:
        facts = {
            "stopped": end.stopped or None,
            **tally.facts(),
            "results": str(folder.root / RESULTS),
            "contact_sheet": None if sheet is None else str(sheet),
        }
        print(json.dumps(facts, indent=1))
    elif not arguments.quiet:
        print(f"{tally.text()}\nresults {folder.root / RESULTS}")
        if sheet is not None:
            print(f"contact sheet {sheet}")
        elif not has_pillow():
            print("no contact sheet: it needs Pillow (`pip install pillow`)")


def _exit_code(end: BatchEnd) -> int:
    if end.stopped == "cancelled":
        return EXIT_CANCELLED
    if end.stopped == "money":
        return EXIT_MONEY
    return EXIT_FAILED if end.stopped or end.tally.failed else 0
