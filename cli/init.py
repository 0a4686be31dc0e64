"""A first profiles.toml: choices become a commented file that is checked before it is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..mai.auth import Secret, clean, harmless
from ..mai.errors import InputError, ProfileError
from ..mai.profiles import (
    FILE_NAME,
    KEY_KINDS,
    SERVICES,
    mistakes_in,
    normalize_endpoint,
    write_private,
)

NEXT = "Next: `mai-image doctor` checks it step by step, without buying an image."


_KINDS = {"key_env": "key_env", "key_file": "key_file", "key": "key_stdin", "entra": "entra"}
"""Each kind of credential, and the option that chooses it."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What one profile is to be. `kind` is "key_env", "key_file", "key" or "entra"; `where` the
    variable's name, the path or the key itself; budgets are USD."""

    endpoint: str
    kind: str
    where: Secret = field(default_factory=lambda: Secret(""))
    name: str = "main"
    service: str = "foundry"
    method: str = "default"
    client_id: str = ""
    tenant_id: str = ""
    deployments: tuple[tuple[str, str], ...] = ()
    tier: int | None = None
    requests_a_minute: float | None = None
    budget_day: float | None = None
    budget_month: float | None = None
    media_hosts: tuple[str, ...] = ()


def render(choices: Choices) -> str:
    """The file's text; ProfileError names what in it would be a mistake."""
    lines = [
        "# Where MAI Image calls, and as whom. A workflow names a profile and nothing else.",
        '# The first profile is "default". Changes are taken up at once, without a restart.',
        "# Written by `mai-image init`; the documentation explains every setting.",
        "",
        f"[profiles.{_key(choices.name)}]",
        f"service = {_text(choices.service)}",
        f"endpoint = {_text(choices.endpoint)}",
        "# Who calls:",
        f"credential = {_credential(choices)}",
        *_limits(choices),
        *_deployments(choices),
        *_budget(choices),
    ]
    text = "\n".join(lines) + "\n"
    _check(text)
    return text


def from_options(options: Mapping[str, Any], read_key: Callable[[], Secret]) -> Choices:
    """Choices from a command line's options by name; `read_key` gives the key for key_stdin.

    InputError where one is missing or can't be.
    """
    service = options["service"] or "foundry"
    kind = next((kind for kind, option in _KINDS.items() if options[option]), None)
    if kind is None:
        raise InputError(
            "init needs to know who calls.",
            "Give one of --key-env NAME, --key-file PATH, --key-stdin and --entra; or run it in a "
            "terminal without options: it asks then.",
        )
    if service == "foundry" and not options["endpoint"]:
        raise InputError(
            "init needs the endpoint.",
            "Give --endpoint https://NAME.services.ai.azure.com, as the resource's page shows it.",
        )
    return Choices(
        endpoint_of(options["endpoint"] or "", service),
        kind,
        _where(kind, options, read_key),
        options["name"],
        service,
        options["entra"] or "default",
        options["client_id"],
        options["tenant_id"],
        tuple(deployment_of(text) for text in options["deployment"]),
        options["tier"],
        options["rpm"],
        options["budget_day"],
        options["budget_month"],
        tuple(options["media_host"]),
    )


def _where(kind: str, options: Mapping[str, Any], read_key: Callable[[], Secret]) -> Secret:
    if kind == "key_env":
        problem = variable_problem(options["key_env"])
        if problem:
            raise InputError("--key-env isn't a variable's name.", problem)
        return Secret(options["key_env"])
    if kind == "key_file":
        return Secret(key_file(options["key_file"]))
    return clean(read_key()) if kind == "key" else Secret("")


def check_free(folder: Path, *, force: bool) -> None:
    """ProfileError where the folder has a profiles.toml already and `force` isn't given."""
    path = folder / FILE_NAME
    if path.exists() and not force:
        raise ProfileError(
            f"{path} is there already.",
            "Edit it, or give --force to replace it: what it holds is lost then.",
        )


def write(folder: Path, text: str, *, force: bool = False) -> Path:
    """Puts the text into the folder's profiles.toml, for this user only (0600); gives its path.

    ProfileError where there is one already and `force` isn't given, or it can't be written.
    """
    check_free(folder, force=force)
    path = folder / FILE_NAME
    try:
        write_private(path, text)
    except OSError as error:
        raise ProfileError(
            f"{path} can't be written: {error.strerror or error}.",
            "Check that you own the folder and may write there, or give another one by --folder.",
        ) from None
    return path


def variable_problem(name: str) -> str | None:
    """Why a text can't be the name of a key's variable, as a sentence, or None."""
    if not name.isidentifier() or not name.isascii() or harmless(name) != repr(name):
        return (
            "Give the NAME of an environment variable, such as AZURE_API_KEY: letters, digits and "
            "underscores. The key itself goes elsewhere."
        )
    return None


def key_file(path: str) -> str:
    """A key file's path as it stands in profiles.toml, wherever the command was run."""
    return str(Path(path).expanduser().absolute())


def endpoint_of(text: str, service: str) -> str:
    """The endpoint as it is called; Pixazo's own where none is given. ProfileError otherwise."""
    usual = SERVICES[service].endpoint
    if usual is not None and not text.strip():
        return usual
    return normalize_endpoint(text, administrator=True, service=service)


def deployment_of(text: str) -> tuple[str, str]:
    """A model and its deployment from "MODEL=NAME", or any model and NAME. InputError otherwise."""
    model, equals, name = text.partition("=")
    pair = (model.strip(), name.strip()) if equals else ("*", text.strip())
    if not all(pair):
        raise InputError(
            f"{text[:60]!r} is no deployment.", "Write NAME, or MODEL=NAME for one model."
        )
    return pair


def _check(text: str) -> None:
    mistakes = mistakes_in(text)
    if mistakes:
        said = "\n".join(mistakes)
        raise ProfileError(f"This can't be a profile:\n{said}", "Give it in another form.")


def _credential(choices: Choices) -> str:
    if choices.kind == "entra":
        parts = [("kind", "entra"), ("method", choices.method)]
        parts += [("client_id", choices.client_id), ("tenant_id", choices.tenant_id)]
    else:
        parts = [("kind", choices.kind), (KEY_KINDS[choices.kind], choices.where.reveal())]
    return "{ " + ", ".join(f"{key} = {_text(value)}" for key, value in parts if value) + " }"


def _limits(choices: Choices) -> list[str]:
    lines = ["# Requests a minute; without them the pace is learned from refusals:"]
    if choices.tier is not None:
        lines.append(f"tier = {choices.tier}")
    if choices.requests_a_minute is not None:
        lines.append(f"requests_a_minute = {choices.requests_a_minute:g}")
    if len(lines) == 1:
        lines.append("# requests_a_minute = 2")
    if choices.media_hosts:
        listed = ", ".join(_text(host) for host in choices.media_hosts)
        lines.append(f"media_hosts = [{listed}]")
    return lines


def _deployments(choices: Choices) -> list[str]:
    if choices.service != "foundry":
        return []
    table = f"[profiles.{_key(choices.name)}.deployments]"
    lines = ["", "# Deployments, where they aren't named like their models:"]
    if not choices.deployments:
        return [*lines, f"# {table}", '# "MAI-Image-2.6" = "my-deployment"']
    named: dict[str, list[str]] = {}
    for model, name in choices.deployments:
        named.setdefault(model, []).append(_text(name))
    return [*lines, table, *(f"{_text(m)} = [{', '.join(names)}]" for m, names in named.items())]


def _budget(choices: Choices) -> list[str]:
    table = f"[profiles.{_key(choices.name)}.budget]"
    lines = ["", "# USD; a call that would pass it isn't sent:"]
    amounts = {"day": choices.budget_day, "month": choices.budget_month}
    given = [f"{period} = {usd:g}" for period, usd in amounts.items() if usd is not None]
    return [*lines, table, *given] if given else [*lines, f"# {table}", "# day = 5", "# month = 50"]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for the delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
