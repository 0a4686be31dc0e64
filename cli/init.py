"""`mai-image init`: writes a first profiles.toml from options, or from a person's answers.

Both become Choices, and these a commented file. It is checked before it is written, by the reader
that reads it later.
"""

from __future__ import annotations

import argparse
import getpass
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..mai.auth import METHODS, Secret, quote_unless_key, strip_key
from ..mai.errors import InputError, ProfileError
from ..mai.profiles import (
    FILE_NAME,
    KEY_KINDS,
    MAX_TIER,
    SERVICES,
    mistakes_in,
    normalize_endpoint,
    write_private,
)
from .command import locate_folder
from .questions import Questions

NEXT = "Next: `mai-image doctor` checks it step by step, without buying an image."

SERVICE_TITLES = {"foundry": "Microsoft Foundry, your own Azure resource", "pixazo": "Pixazo"}

CREDENTIAL_KINDS = {
    "key_env": "a key in an environment variable",
    "key_file": "a key in a file of its own (a mounted secret)",
    "key": "a key in profiles.toml itself, which only you can read",
    "entra": "Entra ID: az login, a managed identity, a client's secret",
}
"""The kinds of credential, as profiles.toml names them. Pixazo has no Entra ID."""


ABOUT_ENDPOINT = {
    "foundry": "The endpoint stands on the resource's page, such as "
    "https://NAME.services.ai.azure.com",
    "pixazo": "Enter takes Pixazo's own gateway.",
}

MOST = 100_000
"""The largest budget in USD and the most requests a minute that profiles.toml takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What one profile is to be.

    `credential_kind` is one of CREDENTIAL_KINDS. `key_source` is a variable's name, a path or the
    key itself, by that kind. `method`, `client_id` and `tenant_id` are for Entra ID. `deployments`
    are pairs of a model, "*" for any, and a deployment's name. Budgets are in USD.
    """

    name: str
    service: str
    endpoint: str
    credential_kind: str
    key_source: Secret = field(default_factory=lambda: Secret(""))
    method: str = "default"
    client_id: str = ""
    tenant_id: str = ""
    deployments: tuple[tuple[str, str], ...] = ()
    tier: int | None = None
    requests_a_minute: float | None = None
    budget_day: float | None = None
    budget_month: float | None = None
    media_hosts: tuple[str, ...] = ()


def add_init_options(parser: argparse.ArgumentParser) -> None:
    """One option for each of the Choices; those of the credential are named by its kind."""
    add = parser.add_argument
    add("--name", default="main", help="the profile's name (main)")
    add("--service", choices=tuple(SERVICE_TITLES), help="who makes the images (foundry)")
    add("--endpoint", metavar="URL", help="as the resource's page shows it; Pixazo needs none")
    who = parser.add_mutually_exclusive_group().add_argument
    who("--key-env", metavar="NAME", help="the variable that holds the key")
    who("--key-file", metavar="PATH", help="the file that holds the key, alone")
    who("--key-stdin", dest="key", action="store_true", help="read the key from standard input")
    who("--entra", nargs="?", const="default", choices=tuple(METHODS), help="no key: Entra ID")
    add("--client-id", default="", metavar="ID", help="which identity, where there are several")
    add("--tenant-id", default="", metavar="ID", help="which tenant")
    add("--deployment", action="append", default=[], metavar="[MODEL=]NAME",
        help="a deployment that isn't named like its model")  # fmt: skip
    add("--tier", type=int, help="Foundry's quota tier, 1 to 6")
    add("--rpm", type=float, metavar="N", help="requests a minute, in place of a tier")
    add("--budget-day", type=float, metavar="USD", help="the most to spend a day")
    add("--budget-month", type=float, metavar="USD", help="the most to spend a month")
    add(
        "--media-host", action="append", default=[], metavar="HOST", help="may have Pixazo's images"
    )
    add("--force", action="store_true", help="replace a profiles.toml that is there")


def run_init(arguments: argparse.Namespace) -> int:
    """Ask a person at a terminal who gave no option; else take the options alone."""
    folder, reason = locate_folder(arguments)
    _check_no_file(folder / FILE_NAME, arguments.force)
    print(f"folder: {folder} ({reason})")
    decisive = ("service", "endpoint", *CREDENTIAL_KINDS)
    if any(getattr(arguments, name) for name in decisive) or not sys.stdin.isatty():
        choices = _read_options(arguments)
    else:
        choices = ask_choices(arguments.name, Questions(input, getpass.getpass, print))
    path = write_profile(choices, folder, force=arguments.force)
    print(f"{path} is written; only you can read it.\n{NEXT}")
    return 0


def _read_options(arguments: argparse.Namespace) -> Choices:
    """The options as Choices; InputError where one is missing or can't be."""
    service = arguments.service or "foundry"
    kind = next((kind for kind in CREDENTIAL_KINDS if getattr(arguments, kind)), None)
    if kind is None:
        raise InputError(
            "init needs to know who calls.",
            "Give one of --key-env NAME, --key-file PATH, --key-stdin and --entra; or run it in a "
            "terminal without options: it asks then.",
        )
    if service == "foundry" and not arguments.endpoint:
        raise InputError(
            "init needs the endpoint.",
            "Give --endpoint https://NAME.services.ai.azure.com, as the resource's page shows it.",
        )
    source = sys.stdin.readline() if kind == "key" else getattr(arguments, kind)
    return Choices(
        name=arguments.name,
        service=service,
        endpoint=_parse_endpoint(arguments.endpoint or "", service),
        credential_kind=kind,
        key_source=_parse_key_source(kind, source),
        method=arguments.entra or "default",
        client_id=arguments.client_id,
        tenant_id=arguments.tenant_id,
        deployments=tuple(_parse_deployment(text) for text in arguments.deployment),
        tier=arguments.tier,
        requests_a_minute=arguments.rpm,
        budget_day=arguments.budget_day,
        budget_month=arguments.budget_month,
        media_hosts=tuple(arguments.media_host),
    )


def ask_choices(name: str, questions: Questions) -> Choices:
    """A person's answers, for a profile of this name."""
    service = questions.choice("Which service?", SERVICE_TITLES)
    questions.show(ABOUT_ENDPOINT[service])
    endpoint = questions.parsed("Endpoint: ", lambda text: _parse_endpoint(text, service))
    kinds = dict(CREDENTIAL_KINDS)
    if service == "pixazo":
        del kinds["entra"]
    kind = questions.choice("Who calls?", kinds)
    method, ids = _ask_sign_in(questions) if kind == "entra" else ("default", {})
    key_source = _ask_key_source(kind, service, questions)
    deployment, tier = "", None
    if service == "foundry":
        deployment = questions.line("Your deployment's name (Enter: it is named like its model): ")
        tier = questions.number("Quota tier 1 to 6 (Enter: not known): ", MAX_TIER, integer=True)
    rpm = None
    if tier is None:
        rpm = questions.number("Requests a minute (Enter: learn it): ", MOST)
    return Choices(
        name=name,
        service=service,
        endpoint=endpoint,
        credential_kind=kind,
        key_source=key_source,
        method=method,
        client_id=ids.get("client_id", ""),
        tenant_id=ids.get("tenant_id", ""),
        deployments=(_parse_deployment(deployment),) if deployment else (),
        tier=None if tier is None else int(tier),
        requests_a_minute=rpm,
        budget_day=questions.number("Most USD a day (Enter: no limit): ", MOST),
        budget_month=questions.number("Most USD a month (Enter: no limit): ", MOST),
    )


def _ask_sign_in(questions: Questions) -> tuple[str, dict[str, str]]:
    """A method of Entra ID, and the ids that it takes, empty where they aren't needed."""
    method = questions.choice("How?", {name: about.class_name for name, about in METHODS.items()})
    names = sorted(METHODS[method].settings)
    return method, {name: questions.line(f"{name} (Enter: none): ") for name in names}


def _ask_key_source(kind: str, service: str, questions: Questions) -> Secret:
    if kind == "entra":
        return Secret("")
    usual = SERVICES[service].key_variable if kind == "key_env" else ""
    question = {
        "key_env": f"The variable's name [{usual}]: ",
        "key_file": "The file's path: ",
        "key": "The key (it isn't shown): ",
    }[kind]

    def parse(text: str) -> Secret:
        if not (text or usual):
            raise ValueError("Type something; Ctrl+C ends without writing a file.")
        return _parse_key_source(kind, text or usual)

    return questions.parsed(question, parse, secret=kind == "key")


def _parse_endpoint(text: str, service: str) -> str:
    """The endpoint as it is called; a gateway's own where none is given. ProfileError otherwise."""
    usual = SERVICES[service].endpoint
    if usual is not None and not text.strip():
        return usual
    return normalize_endpoint(text, administrator=True, service=service)


def _parse_key_source(kind: str, text: str) -> Secret:
    """What profiles.toml says of the key; InputError for what can't be a variable's name."""
    if kind == "key":
        return strip_key(Secret(text))
    if kind == "key_file":
        # The profile must find the file wherever this command was run.
        return Secret(str(Path(text).expanduser().absolute()))
    if kind == "entra":
        return Secret("")
    if not text.isidentifier() or not text.isascii() or quote_unless_key(text) != repr(text):
        raise InputError(
            "This isn't a variable's name.",
            "Give the NAME of an environment variable, such as AZURE_API_KEY: letters, digits and "
            "underscores. The key itself goes elsewhere.",
        )
    return Secret(text)


def _parse_deployment(text: str) -> tuple[str, str]:
    """A model and its deployment from "MODEL=NAME", or "*" and NAME. InputError otherwise."""
    model, equals, name = text.partition("=")
    pair = (model.strip(), name.strip()) if equals else ("*", text.strip())
    if not all(pair):
        raise InputError(
            f"{text[:60]!r} is no deployment.", "Write NAME, or MODEL=NAME for one model."
        )
    return pair


def write_profile(choices: Choices, folder: Path, *, force: bool = False) -> Path:
    """Write the folder's profiles.toml, for this user only (0600); gives its path.

    ProfileError: the choices hold a mistake, the file is there already and `force` isn't given, or
    it can't be written.
    """
    path = folder / FILE_NAME
    text = render_profile(choices)
    _check_no_file(path, force)
    try:
        write_private(path, text)
    except OSError as error:
        raise ProfileError(
            f"{path} can't be written: {error.strerror or error}.",
            "Check that you own the folder and may write there, or give another one by --folder.",
        ) from None
    return path


def _check_no_file(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise ProfileError(
            f"{path} is there already.",
            "Edit it, or give --force to replace it: what it holds is lost then.",
        )


def render_profile(choices: Choices) -> str:
    """The file's text; ProfileError names what in it would be a mistake."""
    lines = [
        "# Where MAI Image calls, and as whom. A workflow names a profile and nothing else.",
        '# The first profile is "default". Changes are taken up at once, without a restart.',
        "# Written by `mai-image init`; the documentation explains every setting.",
        "",
        f"[profiles.{_toml_key(choices.name)}]",
        f"service = {_toml_string(choices.service)}",
        f"endpoint = {_toml_string(choices.endpoint)}",
        *_section("Who calls:", [f"credential = {_credential(choices)}"]),
        *_rate_limit(choices),
        *_media_hosts(choices),
        *_deployments(choices),
        *_budget(choices),
    ]
    text = "\n".join(lines) + "\n"
    mistakes = mistakes_in(text)
    if mistakes:
        listed = "\n".join(mistakes)
        raise ProfileError(f"This can't be a profile:\n{listed}", "Give it in another form.")
    return text


def _section(comment: str, lines: Sequence[str], example: Sequence[str] = ()) -> list[str]:
    """The lines below a comment; where there are none the example, as a comment too."""
    return ["", f"# {comment}", *(lines or [f"# {line}" for line in example])]


def _credential(choices: Choices) -> str:
    kind = choices.credential_kind
    settings = {"kind": kind}
    if kind == "entra":
        settings["method"] = choices.method
        settings["client_id"] = choices.client_id
        settings["tenant_id"] = choices.tenant_id
    else:
        settings[KEY_KINDS[kind]] = choices.key_source.reveal()
    given = [f"{name} = {_toml_string(value)}" for name, value in settings.items() if value]
    return "{ " + ", ".join(given) + " }"


def _rate_limit(choices: Choices) -> list[str]:
    comment = "Requests a minute; without them the limit is learned from the service's refusals:"
    settings = {"tier": choices.tier, "requests_a_minute": choices.requests_a_minute}
    return _section(comment, _numbers(settings), ["requests_a_minute = 2"])


def _media_hosts(choices: Choices) -> list[str]:
    if not choices.media_hosts:
        return []
    names = ", ".join(_toml_string(name) for name in choices.media_hosts)
    comment = "Where images are fetched from, besides the service's own hosts:"
    return _section(comment, [f"media_hosts = [{names}]"])


def _deployments(choices: Choices) -> list[str]:
    if choices.service != "foundry":
        return []
    table = f"[profiles.{_toml_key(choices.name)}.deployments]"
    by_model: dict[str, list[str]] = {}
    for model, name in choices.deployments:
        by_model.setdefault(model, []).append(_toml_string(name))
    lines = [f"{_toml_string(model)} = [{', '.join(names)}]" for model, names in by_model.items()]
    return _section(
        "Deployments, where they aren't named like their models:",
        [table, *lines] if lines else [],
        [table, '"MAI-Image-2.6" = "my-deployment"'],
    )


def _budget(choices: Choices) -> list[str]:
    table = f"[profiles.{_toml_key(choices.name)}.budget]"
    lines = _numbers({"day": choices.budget_day, "month": choices.budget_month})
    return _section(
        "USD; a call that would pass it isn't sent:",
        [table, *lines] if lines else [],
        [table, "day = 5", "month = 50"],
    )


def _numbers(settings: Mapping[str, float | None]) -> list[str]:
    return [f"{name} = {value:g}" for name, value in settings.items() if value is not None]


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml_string(name)


def _toml_string(value: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for the delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
