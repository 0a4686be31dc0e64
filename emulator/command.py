"""`mai-image emulator`: the service in the foreground, and how to point a client at it."""

from __future__ import annotations

import argparse
import ipaddress
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ..mai.models import MODEL_NAMES
from .entra import APP_SERVICE_PATH
from .options import COUNTING, DEFAULT_KEY, EDIT_SIZE, USAGE, Options
from .server import Emulator, start

DEFAULT_PORT = 8190
"""Beside ComfyUI's 8188, so that the environment of another shell stays right."""

EPILOG = """\
A directive asks for faults and changed edits: status=500, answer=truncated-base64, cut=50%,
reset=answer, drip=20000, first=2, … It works server-wide (--fault, --edit), in the header
x-emulator-fault, and inside a prompt: [[fault status=429 retry-after=3 first=1]], [[latency 2]],
[[edit shift=4,-3]]. The prompt words blockprompt, blockresult and emptyresult play the content
filter. emulator/directives.py has the whole list.
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
        sys.stdout.write(introduction(service, arguments.host) + "\n")
        sys.stdout.flush()
        _wait()
    return 0


def parse_command(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, Options]:
    """The command line: host, port and certificate, and the service's options.

    Ends the process with the usage and exit code 2 for what can't be.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    values = vars(arguments).copy()
    for name in ("host", "port", "certificate"):
        del values[name]
    try:
        named = dict(_named(text) for text in values.pop("deployment"))
        values.update(_rates(values.pop("rpm")), deployments=named or Options().deployments)
        return arguments, Options(**{**values, "tokens": tuple(values["tokens"])})
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
    if all(name not in options.deployments for name in MODEL_NAMES):
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
    lines += ["", f"Requests and what they would have cost: {service.url}/emulator/log"]
    if not _is_loopback(host):
        lines.append("Other machines can reach it: prompts and images are open to all of them.")
    lines.append("Ctrl+C ends it.")
    return "\n".join(lines)


def _wait() -> None:
    """Sleep until Ctrl+C; in short waits, which Windows needs to notice it."""
    never = threading.Event()
    try:
        while not never.wait(1.0):
            pass
    except KeyboardInterrupt:
        return


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    add("--key", default=DEFAULT_KEY, help=f"API key that is accepted (default {DEFAULT_KEY})")
    add("--token", action="append", default=[], dest="tokens", metavar="TOKEN",
        help="Bearer token that is accepted as well")  # fmt: skip
    add("--deployment", action="append", default=[], metavar="NAME=MODEL",
        help="a deployment of this name (default: each model under its own)")  # fmt: skip
    add("--rpm", action="append", default=[], metavar="[NAME=]N",
        help="requests a minute of every deployment, or of one (default: no limit)")  # fmt: skip
    add("--counting", choices=COUNTING, default="sliding window", help="how they are counted")
    add("--window", type=float, default=60.0, help="seconds that a window lasts")
    add("--burst", type=float, help="size of the token bucket (default: requests a minute)")
    add("--count-refused", action="store_true", help="refused requests use up quota too")
    add("--latency", type=float, default=0.0, help="seconds from a request to its answer")
    add("--fault", default="", help="a fault for every image request, such as 'status=503 first=2'")
    add("--edit", default="", dest="edits", help="a change to every edit, such as 'shift=4,-3'")
    add("--usage", choices=USAGE, default="usage", help="where answers have their token counts")
    add("--queued", type=float, default=2.0, help="seconds that a gateway's job is queued (2)")
    add("--processing", type=float, default=5.0, help="seconds that it is processed (5)")
    add("--job", default="", help="what every such job does, such as 'end=failed'")
    add("--balance", type=float, help="USD after which the gateway answers 402 (default: no end)")
    add("--certificate", type=Path, help="PEM file for localhost: speak https too, for Entra ID")
    add("--token-life", type=float, default=3600.0, help="seconds that a token is good (3600)")
    add("--token-fault", default="", help="a fault for every request for a token")
    add("--edit-size", choices=EDIT_SIZE, default="by model", help="what size does on edits")
    return parser


def _named(text: str) -> tuple[str, str]:
    name, equals, model = text.rpartition("=")
    if not equals or not name:
        raise ValueError(f"--deployment takes NAME=MODEL, not {text!r}.")
    return name, model


def _rates(texts: Sequence[str]) -> dict[str, object]:
    """Options.rpm and rpm_by_deployment, from "6" and "NAME=6"."""
    rpm: float | None = None
    by_name: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        if equals:
            by_name[name] = float(number)
        else:
            rpm = float(number)
    return {"rpm": rpm, "rpm_by_deployment": by_name}
