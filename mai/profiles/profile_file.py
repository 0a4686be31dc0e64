"""The format of profiles.toml: text to profiles, and every mistake with its line.

[profiles.<name>] holds service, endpoint, credential, header, deployments, requests_a_minute or
tier, budget, timeout, connect_timeout, shutdown_grace, keep_prompts and media_hosts; [store] holds
limit_gb.
`mai-image init` writes one from `profile_example.EXAMPLE`, which explains each of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..auth import AZURE_HEADER, GATEWAY_HEADER, METHODS, Credential, Entra, Secret, header_problem
from ..errors import ProfileError
from ..models import MODEL_NAMES
from ..types import Budget
from . import endpoints as hosts
from . import page_settings
from .page_settings import PageSettings
from .profile import (
    ANY_MODEL,
    CONNECT_TIMEOUT,
    JOB_TIMEOUT,
    SHUTDOWN_GRACE,
    TIMEOUT,
    Profile,
)
from .tables import Document, Problem, Table, short, suggestion

EMULATOR = "emulator"
"""The profile that is always there; no file can redefine it."""

USUAL_TIMEOUT = {"foundry": TIMEOUT, "pixazo": JOB_TIMEOUT}

SERVICES = tuple(USUAL_TIMEOUT)

KEY_KINDS = {"key": "value", "key_env": "name", "key_file": "path"}
"""Each kind of key, and the setting that says where it is."""

MAX_NAME = 64
"""Letters of a profile's or a deployment's name; Azure's own limit for deployments."""

MAX_TIER = 6
"""Quota tiers of Microsoft Foundry: 1 to 6."""

NAME_RULE = f"1 to {MAX_NAME} letters, digits, spaces and . _ - only"

NOT_INTERACTIVE = (
    "a device code can be typed in at the command line only; for ComfyUI use method default, "
    "environment, managed_identity or azure_cli."
)

NO_CREDENTIAL = (
    'has no credential: add credential = { kind = "key_env", name = "AZURE_API_KEY" } or '
    'credential = { kind = "entra" }.'
)


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a key is: `where` is the key itself, a variable's name or a path, by its kind."""

    kind: str
    where: Secret
    header: str


Make = Callable[[KeySource | Entra], Credential]


@dataclass(slots=True)
class Contents:
    """What a file says: good profiles, the mistakes of the others by name, those of the whole."""

    names: list[str] = field(default_factory=list)
    profiles: dict[str, Profile] = field(default_factory=dict)
    mistakes: dict[str, list[Problem]] = field(default_factory=dict)
    whole: list[Problem] = field(default_factory=list)
    store_limit_gb: float | None = None
    page: PageSettings = page_settings.CLOSED
    holds_key: bool = False


class Reader:
    """Reads a file's text. `make` makes the credentials; a device code needs `interactive`."""

    def __init__(self, make: Make, folder: Path, interactive: bool) -> None:
        self._make = make
        self._folder = folder
        self._interactive = interactive
        self._contents = Contents()

    def read(self, text: str) -> Contents:
        """The file's contents; never raises for what it says."""
        document = Document(text)
        self._contents = contents = Contents(whole=document.problems)
        if document.problems:
            contents.names = [name for name in document.tables("profiles") if is_name(name)]
            return contents
        top = Table(document, (), document.tree, contents.whole)
        profiles, store, page = top.table("profiles"), top.table("store"), top.table("page")
        top.close()
        if store is not None:
            contents.store_limit_gb = store.number("limit_gb", 0.001, 100_000)
            store.close()
        if page is not None:
            contents.page = page_settings.read(page)
        for name in profiles.keys if profiles is not None else ():
            entry = profiles.table(name) if profiles is not None else None
            if entry is not None:
                self._entry(name, entry)
        return contents

    def _entry(self, name: str, entry: Table) -> None:
        """One [profiles.name]: into the good ones, or its mistakes in the order of lines."""
        contents = self._contents
        if not is_name(name):
            taken = name.lower() == EMULATOR
            entry.wrong(
                f"the profile name {short(name)} "
                + ("is taken by the built-in emulator." if taken else f"must be {NAME_RULE}.")
            )
            return
        contents.names.append(name)
        problems: list[Problem] = []
        entry.problems = problems
        profile = self._profile(name, entry)
        entry.close()
        if profile is None or problems:
            contents.mistakes[name] = sorted(problems, key=lambda problem: problem.line or 0)
        else:
            contents.profiles[name] = profile

    def _profile(self, name: str, entry: Table) -> Profile | None:
        service = entry.choice("service", SERVICES, "foundry") or "foundry"
        endpoint = _endpoint(entry, service)
        credential = self._credential(entry, service)
        deployments = _deployments(entry)
        tier = entry.number("tier", 1, MAX_TIER, whole=True)
        if service == "pixazo" and (deployments or tier):
            entry.wrong('deployments and tier belong to service "foundry"; Pixazo has none.')
        media_hosts = _media_hosts(entry, service)
        requests = entry.number("requests_a_minute", 0.01, 100_000)
        connect = entry.number("connect_timeout", 0.1, 120)
        timeout = entry.number("timeout", 1, 3600)
        grace = entry.number("shutdown_grace", 0, 600)
        budget, keep_prompts = _budget(entry), entry.flag("keep_prompts", True)
        if endpoint is None or credential is None:
            return None
        return Profile(
            name,
            service,
            endpoint,
            credential,
            deployments,
            requests_a_minute=requests,
            tier=None if tier is None else int(tier),
            budget=budget,
            connect_timeout=CONNECT_TIMEOUT if connect is None else connect,
            timeout=USUAL_TIMEOUT[service] if timeout is None else timeout,
            shutdown_grace=SHUTDOWN_GRACE if grace is None else grace,
            keep_prompts=keep_prompts,
            media_hosts=media_hosts,
        )

    def _credential(self, entry: Table, service: str) -> Credential | None:
        header = entry.text("header", hidden=True)
        if header is not None and (problem := header_problem(header)):
            entry.wrong(f"header {problem}", "header")
        if entry.raw("credential") is None:
            entry.wrong(f"the profile {NO_CREDENTIAL}")
            return None
        table = entry.table("credential", hidden=True)
        if table is None:
            return None
        kinds = (*KEY_KINDS, "entra") if service == "foundry" else tuple(KEY_KINDS)
        kind = table.choice("kind", kinds, None)
        if kind is None:
            return None
        source = _entra(table) if kind == "entra" else self._key(table, kind, service, header)
        table.close()
        if isinstance(source, Entra):
            if header is not None:
                entry.wrong("header is for keys; Entra ID always uses Authorization.", "header")
            if source.method == "device_code" and not self._interactive:
                table.wrong(NOT_INTERACTIVE, "method")
        return None if source is None else self._make(source)

    def _key(self, table: Table, kind: str, service: str, header: str | None) -> KeySource | None:
        """A key's place; a relative path starts at the folder of profiles.toml."""
        where = table.text(KEY_KINDS[kind], required=True)
        if where is None:
            return None
        if kind == "key":
            self._contents.holds_key = True
        elif kind == "key_file":
            where = str(self._folder / os.path.expanduser(where.strip()))
        usual = AZURE_HEADER if service == "foundry" else GATEWAY_HEADER
        return KeySource(kind, Secret(where.strip()), header or usual)


def is_name(name: str) -> bool:
    """Whether a profile of the file may have this name."""
    return (
        0 < len(name) <= MAX_NAME
        and name == name.strip()
        and name.lower() != EMULATOR
        and all(letter.isalnum() or letter in " ._-" for letter in name)
    )


def _endpoint(entry: Table, service: str) -> str | None:
    pixazo = service == "pixazo" and entry.raw("endpoint") is None
    text = hosts.PIXAZO_ENDPOINT if pixazo else entry.text("endpoint", required=True)
    if text is None:
        return None
    try:
        return hosts.endpoint(text, administrator=True, service=service)
    except ProfileError as error:
        entry.wrong(f"{error.what} {error.hint}", "endpoint")
        return None


def _media_hosts(entry: Table, service: str) -> tuple[str, ...]:
    value = entry.raw("media_hosts")
    if value is None:
        return ()
    names = value if isinstance(value, list) else [value]
    if service != "pixazo":
        entry.wrong('media_hosts belongs to service "pixazo".', "media_hosts")
    elif not all(isinstance(name, str) and hosts.is_media_host(name) for name in names):
        entry.wrong(
            "media_hosts must be a list of host names in lower case, without https:// and path, "
            'such as ["media.example.com", "*.example.net"].',
            "media_hosts",
        )
    return tuple(name for name in names if isinstance(name, str))


def _entra(table: Table) -> Entra | None:
    method = table.choice("method", tuple(METHODS), "default")
    if method is None:
        return None
    ids: dict[str, str | None] = {}
    for key in sorted(METHODS[method].settings):
        value = table.text(key)
        if value is not None and not re.fullmatch(r"[A-Za-z0-9.-]{1,100}", value):
            table.wrong(f"{key} must be letters, digits, dots and hyphens, as Azure shows it.", key)
        ids[key] = value
    return Entra(method, ids.get("client_id"), ids.get("tenant_id"))


def _deployments(entry: Table) -> dict[str, tuple[str, ...]]:
    """Names by model; a text or a list instead of a table serves every model."""
    value = entry.raw("deployments")
    if isinstance(value, (str, list)):
        return {ANY_MODEL: _deployment_names(entry, "deployments", value)}
    table = entry.table("deployments")
    found: dict[str, tuple[str, ...]] = {}
    for model in table.keys if table is not None else ():
        assert table is not None
        value = table.raw(model)
        if isinstance(value, dict):
            table.wrong('a model\'s name needs quotes, such as "MAI-Image-2.6" = "…".', model)
        elif model != ANY_MODEL and model not in MODEL_NAMES:
            ends = suggestion(model, (*MODEL_NAMES, ANY_MODEL))
            table.wrong(f"there is no model {short(model)}: {ends}", model)
        else:
            found[model] = _deployment_names(table, model, value)
    return found


def _deployment_names(table: Table, key: str, value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    good = [
        name.strip()
        for name in names
        if isinstance(name, str) and name.isprintable() and 0 < len(name.strip()) <= MAX_NAME
    ]
    if not names or len(good) < len(names):
        table.wrong(
            f"{short(key)} must be a deployment's name of 1 to {MAX_NAME} letters in quotes, or a "
            'list of them, such as ["one", "two"].',
            key,
        )
    return tuple(dict.fromkeys(good))


def _budget(entry: Table) -> Budget:
    table = entry.table("budget")
    if table is None:
        return Budget()
    budget = Budget(table.number("day", 0, 100_000), table.number("month", 0, 100_000))
    table.close()
    return budget
