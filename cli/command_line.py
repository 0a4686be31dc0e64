"""From the words of a command line to one command, and from its errors to an exit code."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

from ..mai.errors import InputError, MaiError
from ..mai.jobs import POLL
from ..mai.models import CATALOGUE
from .batch import EXIT_CODES_OF_BATCH, add_batch_options, run_batch
from .command import EXIT_CANCELLED, EXIT_FAILED, EXIT_INPUT, read_catalogue
from .doctor import EXIT_CODES, add_doctor_options, run_doctor
from .generate_and_edit import add_edit_options, add_generate_options, run_edit, run_generate
from .init import add_init_options, run_init
from .inspect_file import add_inspect_options, run_inspect
from .mark import add_mark_options, run_mark
from .model_list import add_model_list_options, run_model_list
from .open_page import add_open_options, run_open
from .size import add_size_options, run_size
from .spend import add_spend_options, run_spend
from .store import add_store_options, run_store
from .wording import in_options

VERSION = "0.1.0"
"""As in pyproject.toml, which a clone in custom_nodes has and an installed pack hasn't."""


def main(argv: Sequence[str] | None = None, *, poll_seconds: float = POLL) -> int:
    """Run one command; the exit code is 0, 1 (failed), 2 (bad input), or doctor's own.

    `argv` are the words after the program's name, by default those of this process.
    `poll_seconds` pass between two polls of a gateway's job.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file on Windows takes the characters of an old code page only, without "≈".
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if words[:1] == ["emulator"]:
        from ..emulator import main as run_emulator

        return run_emulator(words[1:])
    try:
        arguments = _parser().parse_args(words)
        arguments.poll_seconds = poll_seconds
        _log(verbose=arguments.verbose)
        read_catalogue(arguments)
        model = CATALOGUE.find(getattr(arguments, "model", ""))
        if model is not None:
            arguments.model = model.name
        return _run(arguments)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else EXIT_FAILED
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except MaiError as error:
        print(f"mai-image: {in_options(str(error))}", file=sys.stderr)
        return EXIT_INPUT if isinstance(error, InputError) else EXIT_FAILED
    except OSError as error:
        print(f"mai-image: {_about_file(error)}", file=sys.stderr)
        return EXIT_FAILED
    except (KeyboardInterrupt, EOFError):
        print(
            "mai-image: cancelled; images of requests that were already sent are kept in the "
            "store when they arrive",
            file=sys.stderr,
        )
        return EXIT_CANCELLED


def _about_file(error: OSError) -> str:
    what = f"{error.filename or 'A file'} can't be used: {error.strerror or error}."
    return f"{what}\nCheck the path, and that you may read or write there."


def _log(*, verbose: bool) -> None:
    """What happens, with --verbose; else warnings, for a person."""
    if verbose:
        logging.basicConfig(level=logging.DEBUG)
        return
    logging.basicConfig(level=logging.WARNING, format="mai-image: %(message)s")
    # It tells each way to sign in that failed, which the error itself does in short.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)


def _run(arguments: argparse.Namespace) -> int:
    """Run the command; with --json print its facts, and what it says to standard error."""
    if not ("facts" in arguments and arguments.json):
        return int(arguments.run(arguments))
    arguments.facts = {}
    with redirect_stdout(sys.stderr):
        code = int(arguments.run(arguments))
    print(json.dumps({**arguments.facts, "code": code}, indent=1))
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mai-image",
        description="Microsoft's hosted MAI image models from a shell, with your own account.",
    )
    parser.add_argument("--version", action="version", version=f"mai-image {VERSION}")
    parser.add_argument("--verbose", action="store_true", help="log what happens, without secrets")
    _add_folder_option(parser, None)
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(
        name: str, about: str, run: Callable[[argparse.Namespace], int], epilog: str = ""
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about, epilog=epilog)
        command.set_defaults(run=run)
        _add_folder_option(command, argparse.SUPPRESS)
        return command

    def add_telling(
        name: str, about: str, run: Callable[[argparse.Namespace], int], epilog: str = ""
    ) -> argparse.ArgumentParser:
        """A command that speaks to a person; for programs it puts facts into `arguments.facts`."""
        command = add(name, about, run, epilog)
        command.add_argument("--json", action="store_true", help="print what came of it as JSON")
        command.set_defaults(facts=None)
        return command

    add_generate_options(add("generate", "make images from text", run_generate))
    add_edit_options(add("edit", "change an image, with references", run_edit))
    about = "make the images of a whole file of rows, unattended, and go on where it ended"
    add_batch_options(add("batch", about, run_batch, EXIT_CODES_OF_BATCH))
    add_size_options(add("size", "the best size for an aspect ratio", run_size))
    about = "what each model can do and costs, and which of them the profile has"
    add_model_list_options(add("models", about, run_model_list))
    add_spend_options(add("spend", "what was spent, and what is perhaps billed", run_spend))
    add_store_options(
        add_telling("store", "forget an image; prune and push those of a studio", run_store)
    )
    about = "say in images' files that they are AI-generated, without touching a pixel"
    add_mark_options(add_telling("mark", about, run_mark))
    about = "what a file says of its origin, and what the store knows of it"
    add_inspect_options(add("inspect", about, run_inspect))
    about = "write a first profiles.toml; asks where no option says it"
    add_init_options(add_telling("init", about, run_init))
    about = "find the first thing that is wrong with a profile, without buying an image"
    add_doctor_options(add_telling("doctor", about, run_doctor, EXIT_CODES))
    about = "open the page of a ComfyUI that runs here"
    add_open_options(add("open", about, run_open))
    commands.add_parser("emulator", help="run a MAI service on this machine, free, for building")
    return parser


def _add_folder_option(parser: argparse.ArgumentParser, default: object) -> None:
    about = "where profiles.toml, store and ledger lie (the ComfyUI's around this pack, or yours)"
    parser.add_argument("--folder", type=Path, default=default, metavar="PATH", help=about)
