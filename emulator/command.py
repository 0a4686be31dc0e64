"""`mai-image emulator`: the service in the foreground, and how to point a client at it."""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from ..mai.models import CATALOGUE
from ..mai.own_models import read_own_models
from .access import names_this_machine
from .entra import APP_SERVICE_PATH
from .options import Options
from .server import Emulator, start

DEFAULT_PORT = 8190
"""Beside ComfyUI's 8188, so that the environment of another shell stays right."""

COMMAND_OPTIONS = [option for option in fields(Options) if "help" in option.metadata]

EPILOG = """\
A directive asks for faults and changed edits: status=500, answer=truncated-base64, cut=50%,
reset=answer, drip=20000, first=2, … It works server-wide (--fault, --edit), in the header
x-emulator-fault, and inside a prompt: [[fault status=429 retry-after=3 first=1]], [[latency 2]],
[[edit shift=4,-3]]. The prompt words blockprompt, blockresult and emptyresult play the content
filter; what the service did work for is billed. emulator/directives.py has the whole list.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until interrupted. 0 after that, 1 where the address can't be had, 2 for bad options."""
    arguments, options = parse_command(argv)
    try:
        service = start(arguments.port, arguments.host, options, certificate=arguments.certificate)
    except OSError as error:
        sys.stderr.write(
            f"The emulator {error}.\nAnother program may use the port: --port 0 takes a free one.\n"
        )
        return 1
    with service:
        if arguments.json:
            facts = {"url": service.url, "key": service.options.key}
            sys.stdout.write(
                json.dumps({**facts, "deployments": service.options.deployments}) + "\n"
            )
        else:
            sys.stdout.write(introduction(service, arguments.host) + "\n")
        sys.stdout.flush()
        # In short waits, which Windows needs to notice Ctrl+C.
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(1.0)
    return 0


def parse_command(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, Options]:
    """The command line: host, port and certificate, and the service's options.

    Ends the process with the usage and exit code 2 for what can't be.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.profiles is not None:
        if not arguments.profiles.is_file():
            parser.error(f"there is no file {arguments.profiles}.")
        if mistakes := read_own_models(arguments.profiles):
            parser.error("\n".join([f"{arguments.profiles} has mistakes:", *mistakes]))
    values = vars(arguments)
    given = {option.name: values[option.name] for option in COMMAND_OPTIONS}
    if arguments.deployment:
        given["deployments"] = dict(arguments.deployment)
    try:
        rates = dict(_rate(text) for text in arguments.rpm)
        general = rates.pop("", None)
        given["key"] = given["client_secret"] = given["identity_header"] = arguments.key
        tokens = tuple(arguments.token)
        return arguments, Options(tokens=tokens, rpm=general, rpm_by_deployment=rates, **given)
    except ValueError as error:
        parser.error(str(error))


def introduction(service: Emulator, host: str) -> str:
    """What a user needs to call the service: address, key, environment, deployments."""
    options = service.options
    word = "set" if sys.platform == "win32" else "export"
    lines = [
        f"MAI image emulator at {service.url} (key: {options.key}). Nothing here costs money.",
        "",
        f"  {word} AZURE_ENDPOINT={service.url}",
        f"  {word} AZURE_API_KEY={options.key}",
    ]
    if all(name not in options.deployments for name in CATALOGUE):
        lines.append(f"  {word} DEPLOYMENT_NAME={next(iter(options.deployments), '')}")
    lines += [
        "",
        "As the Pixazo gateway, in profiles.toml:",
        f'  service = "pixazo", endpoint = "{service.url}"',
        "As a managed identity, for Entra ID:",
        f"  {word} IDENTITY_ENDPOINT={service.url}{APP_SERVICE_PATH}",
        f"  {word} IDENTITY_HEADER={options.identity_header}",
    ]
    if service.authority:
        lines += [
            "As Entra ID for a client's secret:",
            f"  {word} AZURE_AUTHORITY_HOST={service.authority}",
            f"  {word} AZURE_CLIENT_SECRET={options.client_secret}",
        ]
    lines += ["", "Deployments:"]
    lines += [
        f"  {name}" if name == model else f"  {name} -> {model}"
        for name, model in options.deployments.items()
    ]
    lines += [
        "",
        "Requests and what they would have cost, for who has the key:",
        f'  curl -H "{options.key_header}: {options.key}" {service.url}/emulator/log',
    ]
    if not names_this_machine(host):
        lines.append("Other machines can reach it: whoever has the key there can read all prompts.")
    lines.append("Ctrl+C ends it.")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mai-image emulator",
        description="A MAI image service on this machine, as strict as the real one and free.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--port", type=int, default=DEFAULT_PORT, help=f"0: a free one (default {DEFAULT_PORT})")
    add("--certificate", type=Path, help="PEM file for localhost: speak https too, for Entra ID")
    add("--key", default=secrets.token_hex(16), help="API key that is accepted, and that opens "
        "the log (default: a new one each time, which is printed)")  # fmt: skip
    add("--token", action="append", default=[], help="Bearer token that is accepted as well")
    add("--deployment", action="append", default=[], metavar="NAME=MODEL", type=_deployment,
        help="a deployment of this name (default: each model under its own)")  # fmt: skip
    add("--rpm", action="append", default=[], metavar="[NAME=]N",
        help="requests a minute of every deployment, or of one (default: no limit)")  # fmt: skip
    add("--profiles", type=Path, metavar="FILE", help="profiles.toml whose [models] exist too")
    add("--json", action="store_true", help="print address, key and deployments as a line of JSON")
    for option in COMMAND_OPTIONS:
        flag = "edit" if option.name == "edits" else option.name.replace("_", "-")
        add(f"--{flag}", dest=option.name, default=option.default, **option.metadata)
    parser.set_defaults(queued=2.0, processing=5.0)
    return parser


def _deployment(text: str) -> tuple[str, str]:
    name, _, model = text.rpartition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=MODEL.")
    return name, model


def _rate(text: str) -> tuple[str, float]:
    """Deployment and requests a minute, of "NAME=6"; the deployment is "" for "6"."""
    name, _, number = text.rpartition("=")
    return name, float(number)
