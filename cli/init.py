"""`mai-image init`: writes a first profiles.toml from options, a person's answers, or an account.

All become Settings, and these a commented file. It is checked before it is written, by the reader
that reads it later.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..mai.auth import METHODS, Network, Secret, quote_unless_key, strip_key
from ..mai.errors import ConfigurationError, InputError, ProfileError
from ..mai.profiles import (
    FILE_NAME,
    KEY_KINDS,
    MAX_TIER,
    SERVICES,
    Profiles,
    Service,
    is_loopback_host,
    mistakes_in,
    normalize_endpoint,
    write_private,
)
from .command import locate_folder
from .init_azure import add_azure_options, find_account, sign_in_method
from .init_refresh import run_refresh
from .questions import Questions

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

_PORTALS = ("portal.azure.com", "ai.azure.com", "learn.microsoft.com", "management.azure.com")
"""Addresses that stand in a browser's address bar beside the endpoint that is meant."""

WAYS = {
    "azure": "in Azure: sign in with Entra ID (az login, …), and init finds them",
    "typed": "somewhere else, or type endpoint and key",
}

SERVICE_TITLES = {
    "foundry": "Microsoft Foundry, your own Azure resource",
    "pixazo": "Pixazo",
    "fal": "fal",
    "openrouter": "OpenRouter",
}

CREDENTIAL_KINDS = {
    "key_env": "a key in an environment variable",
    "key_file": "a key in a file of its own (a mounted secret)",
    "key": "a key in profiles.toml itself, which only you can read",
    "entra": "Entra ID: az login, a managed identity, a client's secret",
}
"""The kinds of credential, as profiles.toml names them."""

KEY_QUESTIONS = {
    "key_env": "The variable's name [{usual}]: ",
    "key_file": "The file's path: ",
    "key": "The key (it isn't shown): ",
}

OPTION_NAMES = {
    "tier": "--tier",
    "requests_a_minute": "--rpm",
    "day": "--budget-day",
    "month": "--budget-month",
    "media_hosts": "--media-host",
    "deployments": "--deployment",
    "proxy": "--proxy",
    "ca_file": "--ca-file",
    "client_certificate": "--client-certificate",
}
"""The options of settings that aren't named alike."""

NETWORK_SETTINGS = ("proxy", "ca_file", "client_certificate")

NOT_FOR_REFRESH = ("service", "endpoint", "key_env", "key_file", "tier", "rpm", "budget_day",
                    "budget_month", "media_host", "deployment", *NETWORK_SETTINGS)  # fmt: skip
"""Options of settings, which --refresh takes from the account or leaves as they are."""

MOST = 100_000
"""The largest budget in USD and the most requests a minute that profiles.toml takes."""

Settings = Mapping[str, Any]
"""A profile's settings by the names and in the form of profiles.toml; a key in it is a Secret.

A setting that is None, empty or not there isn't written.
"""


def add_init_options(parser: argparse.ArgumentParser) -> None:
    """One option for each of the settings; those of the credential are named by its kind."""
    add = parser.add_argument
    add("--name", help="the profile's name (main); with --refresh only this one")
    add("--service", choices=SERVICES, help="who makes the images (foundry)")
    add("--endpoint", metavar="URL", help="as the resource's page shows it; Pixazo needs none")
    who = parser.add_mutually_exclusive_group().add_argument
    who("--key-env", metavar="NAME", help="the variable that holds the key")
    who("--key-file", metavar="PATH", help="the file that holds the key, alone")
    who("--key-stdin", dest="key", action="store_true", help="read the key from standard input")
    who("--entra", nargs="?", const="default", choices=METHODS, help="no key: Entra ID")
    add("--client-id", metavar="ID", help="which identity, where there are several")
    add("--tenant-id", metavar="ID", help="which tenant")
    add("--deployment", action="append", default=[], metavar="[MODEL=]NAME",
        help="a deployment that isn't named like its model")  # fmt: skip
    add("--tier", type=int, help="Foundry's quota tier, 1 to 6")
    add("--rpm", type=float, metavar="N", help="requests a minute, in place of a tier")
    add("--budget-day", type=float, metavar="USD", help="the most to spend a day")
    add("--budget-month", type=float, metavar="USD", help="the most to spend a month")
    add("--media-host", action="append", metavar="HOST", help="may have Pixazo's images")
    add("--proxy", metavar="URL", help="the way to the service; none: no proxy at all")
    add("--ca-file", metavar="PATH", help="PEM file with an authority to trust besides the usual")
    add("--client-certificate", metavar="PATH", help="PEM file with a certificate and its key")
    add_azure_options(parser)
    add("--refresh", action="store_true", help="take over what has changed in the Azure account")
    add("--force", action="store_true", help="replace a profiles.toml that is there")


def run_init(arguments: argparse.Namespace) -> int:
    """Ask a person at a terminal who gave no option; else take the options alone."""
    folder, reason = locate_folder(arguments)
    path, name = folder / FILE_NAME, arguments.name or "main"
    if arguments.refresh:
        _refuse_settings(arguments)
        return run_refresh(arguments, folder)
    _refuse_to_replace(path, arguments.force)
    print(f"folder: {folder} ({reason})")
    asks = Questions(input, getpass.getpass, print) if sys.stdin.isatty() else None
    settings = _settings(arguments, folder, asks)
    _refuse_to_replace(path, arguments.force)  # the questions may have taken a while
    write_profile(path, name, settings)
    print(f"{path} is written; only you can read it.")
    notes = list(_notes_on(folder, name, settings))
    for note in notes:
        print(f"Note: {note}")
    if arguments.facts is not None:
        arguments.facts.update(file=str(path), profile=name, notes=notes)
    print("Next: `mai-image doctor` checks it step by step, without buying an image.")
    return 0


def _settings(arguments: argparse.Namespace, folder: Path, asks: Questions | None) -> Settings:
    """From the account where it is asked for, from the options, or from a person."""
    if arguments.azure is None and any(
        (arguments.subscription, arguments.resource, arguments.create)
    ):
        arguments.azure = ""
    decisive = ("service", "endpoint", *CREDENTIAL_KINDS)
    given = any(getattr(arguments, name) for name in decisive)
    if arguments.azure is None and (given or asks is None):
        return _read_options(arguments)
    if arguments.azure is not None:
        return _find_settings(arguments, folder, asks)
    assert asks is not None
    if asks.choice("Where are your models?", WAYS) == "azure":
        return _find_settings(arguments, folder, asks)
    return ask_settings(asks)


def _find_settings(arguments: argparse.Namespace, folder: Path, asks: Questions | None) -> Settings:
    """What the login's account gives, and what the options say besides."""
    if arguments.service not in (None, "foundry"):
        raise InputError("--azure finds Foundry's resources alone.", "Leave --service out.")
    budget = {"day": arguments.budget_day, "month": arguments.budget_month}
    _check_budget(budget)
    if arguments.deployment or arguments.media_host:
        raise InputError(
            "--azure finds the deployments, and their images come with the answers.",
            "Leave --deployment and --media-host out.",
        )
    if arguments.endpoint:
        arguments.endpoint = _parse_endpoint(arguments.endpoint, "foundry")
    limits = {"tier": arguments.tier, "requests_a_minute": arguments.rpm}
    paths = _network_settings(arguments)
    kind = next((kind for kind in CREDENTIAL_KINDS if getattr(arguments, kind)), None)
    credential = None if kind in (None, "entra") else _read_key(kind, arguments)
    network = _usable_network(arguments, paths)
    trial = {"service": "foundry", "endpoint": "https://name.services.ai.azure.com", **limits}
    trial |= {"credential": credential or {"kind": "entra"}, "budget": budget, **paths}
    _check_settings(render_profile(arguments.name or "main", trial))
    profiles = Profiles(folder, interactive=True, prompt=print)
    found = find_account(arguments, profiles, network, asks)
    method = arguments.entra or sign_in_method(arguments)
    ids = {name: getattr(arguments, name) for name in METHODS[method].settings}
    entra: Settings = {"kind": "entra", "method": method, **ids}
    if asks is not None and kind is None and not arguments.yes:
        kinds = {"entra": "Entra ID, as just now", "key_env": CREDENTIAL_KINDS["key_env"]}
        if asks.choice("Who calls for images?", kinds) == "key_env":
            credential = _ask_key(asks, SERVICES["foundry"], "key_env")
        budget = _ask_budget(asks) if not any(budget.values()) else budget
    given = {name: value for name, value in limits.items() if value is not None}
    if given:
        del found["requests_a_minute"]
    return {**found, "credential": credential or entra, "budget": budget, **given, **paths}


def _notes_on(folder: Path, name: str, settings: Settings) -> Iterator[str]:
    """What a profile that was written still needs."""
    credential = settings["credential"]
    if credential.get("method") == "device_code":
        yield "a device code is for the command line; ComfyUI needs another way to sign in."
    if credential["kind"] == "key_env" and not (
        Profiles(folder, interactive=True).get(name).credential.is_there()
    ):
        shown = " `az cognitiveservices account keys list` shows the resource's keys."
        where = shown if settings["service"] == "foundry" else ""
        yield f"{credential['name']} isn't set here; set it where ComfyUI is started.{where}"


def _refuse_settings(arguments: argparse.Namespace) -> None:
    """InputError: --refresh came with a setting, which it wouldn't use."""
    given = [name for name in NOT_FOR_REFRESH if getattr(arguments, name) not in (None, [])]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(
            f"--refresh takes what has changed from the account, not from {options}.",
            "Edit profiles.toml to change a setting yourself.",
        )


def _refuse_to_replace(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise ProfileError(
            f"{path} is there already.",
            "Edit it, or give --force to replace it: what it holds is lost then.",
        )


def _read_options(arguments: argparse.Namespace) -> Settings:
    """The options as settings; InputError where one is missing or can't be."""
    service = arguments.service or "foundry"
    kind = next((kind for kind in CREDENTIAL_KINDS if getattr(arguments, kind)), None)
    if kind is None:
        raise InputError(
            "init needs to know who calls.",
            "Give one of --key-env NAME, --key-file PATH, --key-stdin and --entra; or --azure, "
            "which finds all by `az login`; or run it in a terminal without options: it asks then.",
        )
    if not (arguments.endpoint or SERVICES[service].endpoint):
        raise InputError(
            "init needs the endpoint.",
            "Give --endpoint https://NAME.services.ai.azure.com, as the resource's page shows it; "
            "or --azure, which finds it.",
        )
    if arguments.deployment and not SERVICES[service].has_deployments:
        raise InputError(f"{service} has no deployments.", "Leave --deployment out.")
    budget = {"day": arguments.budget_day, "month": arguments.budget_month}
    _check_budget(budget)
    paths = _network_settings(arguments)
    _usable_network(arguments, paths)
    ids = {"client_id": arguments.client_id, "tenant_id": arguments.tenant_id}
    entra = {"kind": kind, "method": arguments.entra, **ids}
    return {
        "service": service,
        "endpoint": _parse_endpoint(arguments.endpoint or "", service),
        "credential": entra if kind == "entra" else _read_key(kind, arguments),
        "tier": arguments.tier,
        "requests_a_minute": arguments.rpm,
        "media_hosts": arguments.media_host,
        "deployments": _parse_deployments(arguments.deployment),
        "budget": budget,
        **paths,
    }


def _read_key(kind: str, arguments: argparse.Namespace) -> Settings:
    source = sys.stdin.readline() if kind == "key" else getattr(arguments, kind)
    return _parse_key(kind, source)


def _network_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The profile's own way to the service; paths as the file finds them from anywhere."""
    paths = {"ca_file": arguments.ca_file, "client_certificate": arguments.client_certificate}
    given = {
        name: str(Path(os.path.expanduser(path)).absolute()) if path else None
        for name, path in paths.items()
    }
    return {"proxy": Secret(arguments.proxy) if arguments.proxy else None, **given}


def _usable_network(arguments: argparse.Namespace, paths: Mapping[str, Any]) -> Network:
    """The profile's own way to the service; ConfigurationError for a file that can't be used."""
    files = (Path(paths[name]) if paths[name] else None for name in NETWORK_SETTINGS[1:])
    network = Network(paths["proxy"], *files)
    if (mistake := network.mistake(arguments.name or "main")) is not None:
        raise ConfigurationError(mistake.what, "Give another value; no file was written.")
    return network


def _check_budget(budget: Mapping[str, float | None]) -> None:
    """InputError for a day that may cost more than its month."""
    day, month = budget["day"], budget["month"]
    if day is not None and month is not None and day > month:
        raise InputError(
            f"A day's budget of ${day:g} is more than the month's of ${month:g}.",
            "Give a day's budget up to the month's, or one of them alone.",
        )


def ask_settings(questions: Questions) -> Settings:
    """A person's answers."""
    name = questions.choice("Which service?", SERVICE_TITLES)
    service = SERVICES[name]
    question = "Endpoint, as the resource's page shows it (https://NAME.services.ai.azure.com): "
    if service.endpoint:
        question = f"Endpoint [{service.endpoint}]: "
    settings: dict[str, Any] = {
        "service": name,
        "endpoint": questions.parsed(question, lambda text: _parse_endpoint(text, name)),
        "credential": _ask_credential(questions, service),
    }
    if service.has_deployments:
        settings["deployments"] = questions.parsed(
            "Your deployment's name (Enter: it is named like its model): ",
            lambda text: _parse_deployments([text] if text else []),
        )
        question = "Quota tier 1 to 6 (Enter: not known): "
        settings["tier"] = questions.number(question, MAX_TIER, int)
    if settings.get("tier") is None:
        question = "Requests a minute (Enter: learn it): "
        settings["requests_a_minute"] = questions.number(question, MOST, float)
    settings["budget"] = _ask_budget(questions)
    return settings


def _ask_budget(questions: Questions) -> dict[str, float | None]:
    day = questions.number("Most USD a day (Enter: no limit): ", MOST, float)
    question = "Most USD a month (Enter: no limit): "
    return {"day": day, "month": questions.number(question, MOST, float, least=day or 0.0)}


def _ask_credential(questions: Questions, service: Service) -> Settings:
    kinds = dict(CREDENTIAL_KINDS)
    if not service.has_entra:
        del kinds["entra"]
    kind = questions.choice("Who calls?", kinds)
    if kind == "entra":
        titles = {name: about.class_name for name, about in METHODS.items()}
        method = questions.choice("How?", titles)
        names = sorted(METHODS[method].settings)
        ids = {name: questions.parsed(f"{name} (Enter: none): ", str) for name in names}
        return {"kind": kind, "method": method, **ids}
    return _ask_key(questions, service, kind)


def _ask_key(questions: Questions, service: Service, kind: str) -> Settings:
    usual = service.key_variable if kind == "key_env" else ""

    def parse(text: str) -> Settings:
        if not (text or usual):
            raise ValueError("Type something; Ctrl+C ends without writing a file.")
        return _parse_key(kind, text or usual)

    question = KEY_QUESTIONS[kind].format(usual=usual)
    return questions.parsed(question, parse, secret=kind == "key")


def _parse_endpoint(text: str, service: str) -> str:
    """The endpoint as it is called; a gateway's own where none is given. A MaiError otherwise.

    A host without a dot is refused: it is a key or a resource's name more often than a gateway.
    """
    usual = SERVICES[service].endpoint
    if usual is not None and not text.strip():
        return usual
    plain = text.strip().strip("\"'").strip()
    if "." not in plain and "://" not in plain and quote_unless_key(plain) != repr(plain):
        raise InputError(
            "The endpoint looks like a key.",
            "Give the address of the resource as the endpoint, and the key by --key-env, "
            "--key-file or --key-stdin. If others could see it, make a new key.",
        )
    endpoint = normalize_endpoint(text, administrator=True, service=service)
    host = urlsplit(endpoint).hostname or ""
    if host in _PORTALS:
        raise InputError(
            f"{host} is a page for people, not the endpoint of a resource.",
            "Give what the resource's page calls its endpoint: https://NAME.services.ai.azure.com.",
        )
    if "." not in host and not is_loopback_host(host):
        raise InputError(
            "The endpoint is no whole address: its host has no dot in it.",
            "Write https://NAME.services.ai.azure.com, as the resource's page shows it. A gateway "
            "with such a name can be written into profiles.toml by hand.",
        )
    return endpoint


def _parse_key(kind: str, text: str) -> Settings:
    """The credential of a key; InputError for what can't be a variable's name."""
    source: str | Secret = text
    if kind == "key":
        if "://" in text:
            raise InputError("This is an address, not a key.", "Give one of the resource's keys.")
        source = strip_key(Secret(text))
        if not source.reveal():
            raise InputError("There is no key.", "Type it, or pipe it in: --key-stdin < FILE.")
    elif kind == "key_file":
        # The profile must find the file wherever this command was run.
        source = str(Path(os.path.expanduser(text)).absolute())
    elif not text.isidentifier() or not text.isascii() or quote_unless_key(text) != repr(text):
        raise InputError(
            "This isn't a variable's name.",
            "Give the NAME of an environment variable, such as AZURE_API_KEY: letters, digits and "
            "underscores. The key itself goes elsewhere.",
        )
    return {"kind": kind, KEY_KINDS[kind]: source}


def _parse_deployments(texts: Sequence[str]) -> dict[str, list[str]]:
    """Names by model, from "MODEL=NAME", or NAME alone for all models. InputError otherwise."""
    by_model: dict[str, list[str]] = {}
    for text in texts:
        model, name = text.split("=", 1) if "=" in text else ("*", text)
        if not (model.strip() and name.strip()):
            raise InputError(
                f"{text[:60]!r} is no deployment.", "Write NAME, or MODEL=NAME for one model."
            )
        by_model.setdefault(model.strip(), []).append(name.strip())
    return by_model


def write_profile(path: Path, name: str, settings: Settings) -> None:
    """Write a profiles.toml with this profile, for this user only (0600).

    ProfileError: the settings hold a mistake, or the file can't be written.
    """
    text = render_profile(name, settings)
    _check_settings(text)
    try:
        write_private(path, text)
    except OSError as error:
        raise ProfileError(
            f"{path} can't be written: {error.strerror or error}.",
            "Check that you own the folder and may write there, or give another one by --folder.",
        ) from None


def _check_settings(text: str) -> None:
    """ProfileError for a profile with a mistake, by the options that make its settings."""
    parts = [mistake.partition(" ") for mistake in mistakes_in(text)]
    mistakes = [OPTION_NAMES.get(name, name) + space + rest for name, space, rest in parts]
    if mistakes:
        listed = "\n".join(mistakes)
        raise ProfileError(f"This can't be a profile:\n{listed}", "Give it in another form.")


def render_profile(name: str, settings: Settings) -> str:
    """The file's text."""
    table = f"profiles.{_toml_key(name)}"
    lines = [
        "# Where MAI Image calls, and as whom. A workflow names a profile and nothing else.",
        '# The first profile is "default". Changes are taken up at once, without a restart.',
        "# Written by `mai-image init`; the documentation explains every setting.",
        "",
        f"[{table}]",
        *_toml_lines({name: settings[name] for name in ("service", "endpoint")}),
        *_section("Who calls:", {"credential": settings["credential"]}),
        *_section(
            "Requests a minute; without them the limit is learned from the service's refusals:",
            {name: settings.get(name) for name in ("tier", "requests_a_minute")},
            example={"requests_a_minute": 2},
        ),
        *_section(
            "The way to the service, where it isn't this machine's usual one:",
            {name: settings.get(name) for name in NETWORK_SETTINGS},
        ),
        *_section(
            "Where images are fetched from, besides the service's own hosts:",
            {"media_hosts": settings.get("media_hosts")},
        ),
    ]
    if SERVICES[settings["service"]].has_deployments:
        lines += _section(
            "Deployments, where they aren't named like their models:",
            settings.get("deployments", {}),
            example={"MAI-Image-2.6": "my-deployment"},
            table=f"{table}.deployments",
        )
    lines += _section(
        "USD; a call that would pass it isn't sent:",
        settings.get("budget", {}),
        example={"day": 5, "month": 50},
        table=f"{table}.budget",
    )
    return "\n".join(lines) + "\n"


def _section(
    comment: str, settings: Settings, *, example: Settings | None = None, table: str = ""
) -> list[str]:
    """The settings below a comment; where there are none the example, as a comment too."""
    lines, mark = _toml_lines(settings), ""
    if not lines:
        lines, mark = _toml_lines(example or {}), "# "
    if not lines:
        return []
    if table:
        lines.insert(0, f"[{table}]")
    return ["", f"# {comment}", *(mark + line for line in lines)]


def _toml_lines(settings: Settings) -> list[str]:
    given = {name: value for name, value in settings.items() if value not in (None, "", [])}
    return [f"{_toml_key(name)} = {_toml(value)}" for name, value in given.items()]


def _toml_key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _toml(name)


def _toml(value: object) -> str:
    if isinstance(value, Secret):
        return _toml(value.reveal())
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for the delete character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_toml_lines(value)) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f"{value:g}"
